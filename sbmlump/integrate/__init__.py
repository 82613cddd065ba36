"""Stiff integration of an OdeSystem's own right-hand side, many runs at once, and its adjoints."""

from __future__ import annotations

from sbmlump.integrate.fields import VectorField, field_of
from sbmlump.integrate.rosenbrock import Runs, StepControl
from sbmlump.integrate.solve import Jump, integrate

__all__ = ["VectorField", "Jump", "Runs", "StepControl", "field_of", "integrate"]
