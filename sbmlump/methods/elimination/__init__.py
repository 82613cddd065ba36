"""Elimination of states: conserved totals, quasi-steady states, reactions near equilibrium."""
