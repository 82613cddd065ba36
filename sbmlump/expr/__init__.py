"""Expressions: hash-consed graph, levelled program, classes of kinetics, text."""
