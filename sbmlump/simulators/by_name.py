"""Simulators by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from sbmlump.errors import Reason, UsageError
from sbmlump.simulators.copasi import CopasiSimulator
from sbmlump.simulators.model_index import ModelIndex
from sbmlump.simulators.own import OwnSimulator, ScipySimulator
from sbmlump.simulators.protocol import Simulator
from sbmlump.simulators.roadrunner import RoadRunnerSimulator

__all__ = ["MOST_COMPILED", "MOST_OPERANDS", "SIMULATORS", "simulator_for", "simulator_named"]


SIMULATORS: Mapping[str, Callable[[], Simulator]] = MappingProxyType(
    {"roadrunner": RoadRunnerSimulator, "copasi": CopasiSimulator, "scipy": ScipySimulator, "own": OwnSimulator}
)
"""What ``--simulator`` takes."""

MOST_COMPILED: Final = 2_500
"""Reactions: libRoadRunner compiles about 10 s for these, and superlinearly beyond."""
MOST_OPERANDS: Final = 50_000
"""Operands with assignment rules written out, as libRoadRunner compiles them: 0.1 to 0.3 s for a thousand."""


def simulator_named(name: str) -> Simulator:
    """The simulator called ``name``.

    Raises
    ------
    UsageError
        If there is none (code ``unknown-simulator``).
    """
    make = SIMULATORS.get(name)
    if make is None:
        message = f"There is no simulator {name!r}; choose one of: {', '.join(sorted(SIMULATORS))}."
        raise UsageError(Reason("unknown-simulator", message))
    return make()


def simulator_for(name: str, *models: ModelIndex) -> tuple[str, tuple[str, ...]]:
    """``name``, or the name of a simulator that does not compile where that would take minutes, and why.

    Raises
    ------
    UsageError
        As :func:`simulator_named`.
    """
    simulator_named(name)
    reactions = max((facts.reactions for facts in models), default=0)
    operands = max((facts.operands for facts in models), default=0)
    if name != "roadrunner" or (reactions <= MOST_COMPILED and operands <= MOST_OPERANDS):
        return name, ()
    what = f"{reactions} reactions" if reactions > MOST_COMPILED else f"formulas of {operands} operands"
    remark = f"simulated by sbmlump itself (CVODE): libRoadRunner would compile {what} for minutes."
    return OwnSimulator.name, (remark,)
