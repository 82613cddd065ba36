"""Simulation of SBML files and comparison of a model with its reduction."""

from sbmlump.simulators.by_name import SIMULATORS, simulator_for, simulator_named
from sbmlump.simulators.compare import Definition, ErrorReport, QuantityError, compare
from sbmlump.simulators.protocol import (
    IntegrationError,
    LoadedModel,
    QuantitySelection,
    Simulator,
    Tolerances,
    Trajectory,
)
from sbmlump.simulators.time_span import Horizon, choose_horizon

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
