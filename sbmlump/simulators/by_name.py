"""Simulators by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sbmlump.errors import Reason, UsageError
from sbmlump.simulators.copasi import CopasiSimulator
from sbmlump.simulators.own import OwnSimulator, ScipySimulator
from sbmlump.simulators.protocol import ModelIndex, Simulator
from sbmlump.simulators.roadrunner import RoadRunnerSimulator

__all__ = ["COMPILE_LIMITS", "SIMULATORS", "CompileLimits", "simulator_for", "simulator_named"]


SIMULATORS: Mapping[str, Callable[[], Simulator]] = MappingProxyType(
    {"roadrunner": RoadRunnerSimulator, "copasi": CopasiSimulator, "scipy": ScipySimulator, "own": OwnSimulator}
)
"""What ``--simulator`` takes."""


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """The largest model that libRoadRunner compiles in seconds.

    Attributes
    ----------
    reactions : int
        It compiles about 10 s for these, and superlinearly beyond.
    operands : int
        With assignment rules written out, as it compiles them: 0.1 to 0.3 s for a thousand.
    """

    reactions: int = 2_500
    operands: int = 50_000


COMPILE_LIMITS: Final = CompileLimits()


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


def simulator_for(
    name: str, *models: ModelIndex, limits: CompileLimits = COMPILE_LIMITS
) -> tuple[str, tuple[str, ...]]:
    """``name``, or the name of a simulator that does not compile where that would take minutes, and why.

    Raises
    ------
    UsageError
        As :func:`simulator_named`.
    """
    simulator_named(name)
    reactions = max((index.reactions for index in models), default=0)
    operands = max((index.operands for index in models), default=0)
    if name != "roadrunner" or (reactions <= limits.reactions and operands <= limits.operands):
        return name, ()
    what = f"{reactions} reactions" if reactions > limits.reactions else f"formulas of {operands} operands"
    remark = f"simulated by sbmlump itself (CVODE): libRoadRunner would compile {what} for minutes."
    return OwnSimulator.name, (remark,)
