"""Formats other than SBML: ERODE/CLUE `.ode` files and more."""
