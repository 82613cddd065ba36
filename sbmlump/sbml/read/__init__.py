"""SBML to a system: look at the bytes, open, take the elements, give each its meaning."""
