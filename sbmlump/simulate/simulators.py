"""Simulators by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sbmlump.errors import Reason, UsageError
from sbmlump.simulate.protocol import Simulator
from sbmlump.simulate.roadrunner import RoadRunnerSimulator

__all__ = ["SIMULATORS", "simulator_named"]

SIMULATORS: Mapping[str, Callable[[], Simulator]] = MappingProxyType({"roadrunner": RoadRunnerSimulator})
"""What ``--simulator`` takes."""


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
