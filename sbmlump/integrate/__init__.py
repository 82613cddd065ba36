"""Stiff integration of an OdeSystem's own right-hand side, many runs at once, and its adjoints."""

from __future__ import annotations

from sbmlump.integrate.fields import Field, field_of
from sbmlump.integrate.rosenbrock import Runs, Tolerances
from sbmlump.integrate.solve import Jump, integrate

__all__ = ["Field", "Jump", "Runs", "Tolerances", "field_of", "integrate"]
