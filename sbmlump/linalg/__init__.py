"""Exact linear algebra: rows over Q and GF(p), polynomials, bases that a person can read."""
