"""The other reductions of the field, each on an OdeSystem and each giving a ReducedSystem.

:mod:`~sbmlump.classic.method` lists them and applies several in turn.
"""
