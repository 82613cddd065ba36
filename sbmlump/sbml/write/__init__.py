"""A system to SBML: what each quantity becomes, elements, mathematics, metadata, and the check of what was written."""
