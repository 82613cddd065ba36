"""Simulation of SBML files and comparison of a model with its reduction."""

from sbmlump.simulators.compare import (
    SIMULATORS,
    Definition,
    ErrorReport,
    QuantityError,
    compare,
    simulator_for,
    simulator_named,
)
from sbmlump.simulators.protocol import (
    IntegrationError,
    LoadedModel,
    QuantitySelection,
    Simulator,
    Tolerances,
    Trajectory,
    time_span_of_model,
)

__all__ = [
    "SIMULATORS",
    "Definition",
    "ErrorReport",
    "IntegrationError",
    "LoadedModel",
    "QuantityError",
    "QuantitySelection",
    "Simulator",
    "Tolerances",
    "Trajectory",
    "compare",
    "simulator_for",
    "simulator_named",
    "time_span_of_model",
]
