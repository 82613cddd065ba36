"""Proofs that two systems agree, made by code that did not compute the reduction."""
