"""Stiff integration of an OdeSystem's own right-hand side, many runs at once, and its adjoints."""

from __future__ import annotations

from sbmlump.dynamics.rosenbrock import Runs, StepControl
from sbmlump.dynamics.solve import StateReset, integrate
from sbmlump.dynamics.vector_field import VectorField, field_of

__all__ = ["VectorField", "StateReset", "Runs", "StepControl", "field_of", "integrate"]
