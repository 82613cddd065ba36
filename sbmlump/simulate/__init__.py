"""Simulation of SBML files and comparison of a model with its reduction."""

from sbmlump.simulate.compare import Definition, ErrorReport, QuantityError, compare
from sbmlump.simulate.horizon import Horizon, choose_horizon
from sbmlump.simulate.protocol import (
    IntegrationError,
    LoadedModel,
    QuantitySelection,
    Simulator,
    Tolerances,
    Trajectory,
)
from sbmlump.simulate.simulators import SIMULATORS, simulator_for, simulator_named

__all__ = [
    "SIMULATORS",
    "Definition",
    "ErrorReport",
    "Horizon",
    "IntegrationError",
    "LoadedModel",
    "QuantityError",
    "QuantitySelection",
    "Simulator",
    "Tolerances",
    "Trajectory",
    "choose_horizon",
    "compare",
    "simulator_for",
    "simulator_named",
]
