"""SBML in and out. Only this package imports libSBML."""
