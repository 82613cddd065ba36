"""Brings the models of BioModels and ODEbase to the disk: whole, once, verified, and politely.

Independent of :mod:`sbmlump`; the two meet in the files of a store and in the command line.
"""
