"""How long to integrate when nobody says: the time scale on which the watched quantities do what they do.

From the fastest scale at time 0 the horizon grows tenfold, each run starting at time 0, until the watched quantities
have come to rest and still rest on a run ten times as long (then twice the time they needed), or oscillate (then five
periods), or the integration ends (then two thirds of the time that it reached).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.budget import Meter
from sbmlump.dynamics.rosenbrock import StepControl
from sbmlump.dynamics.solve import Jump, integrate
from sbmlump.dynamics.vector_field import VectorField

__all__ = ["Span", "choose_span"]


Array = NDArray[np.float64]
_POINTS: Final = 201
_RUNS: Final = 24
_STILL: Final = 2e-3
_CROSSINGS: Final = 8
_DEFAULT: Final = 100.0


@dataclass(frozen=True, slots=True)
class Span:
    """A horizon, in the model's unit of time, and why."""

    until: float
    reason: str


def choose_span(
    field: VectorField, start: Array, watched: Array, jumps: Sequence[Jump] = (), meter: Meter | None = None
) -> Span:
    """Choose a horizon.

    Parameters
    ----------
    field : Field
    start : array (n,)
    watched : array (o, n)
        Rows of the quantities that matter.
    jumps : sequence of Jump
        The horizon reaches beyond those that are not out of all proportion.
    meter : Meter, optional
        Counts the work.

    Raises
    ------
    WorkLimitError
        If there is a meter and its limit has been passed.
    """
    until = _first_scale(field, start)
    rested: float | None = None
    reached: float | None = None
    for _ in range(_RUNS):
        times = np.linspace(0.0, until, _POINTS)
        size = float(np.abs(start).max(initial=0.0)) or 1.0
        tolerances = StepControl(1e-5, 1e-9 * size, 5_000)
        runs = integrate(field, start[None], times, jumps=jumps, tolerances=tolerances, meter=meter)
        if runs.why[0] is not None:
            return _after_failure(float(runs.reached[0]), runs.why[0])
        values = runs.states[0] @ watched.T
        period = _period(times, values)
        if period is not None:
            return _beyond(Span(_nice(5 * period), f"what is observed oscillates with a period of {period:.2g}"), jumps)
        settled = _settled(times, values)
        if rested is not None and settled is not None and settled <= max(3 * rested, 0.02 * until):
            until = _nice(2 * rested)
            return _beyond(Span(until, f"what is observed is at rest after about {rested:.2g}"), jumps)
        rested = settled
        reached = until
        until *= 10.0
    return _beyond(Span(_DEFAULT if rested == 0 else _nice(reached or _DEFAULT), "no time scale shows"), jumps)


def _first_scale(field: VectorField, start: Array) -> float:
    rates = np.abs(field.rates(start[None], np.array([0]))[0])
    size = np.abs(start)
    size = np.where(size > 0, size, size.max(initial=0.0) or 1.0)
    moving = (rates > 0) & np.isfinite(rates)
    if field.timed:
        moving[-1] = False
    if not moving.any():
        return 1.0
    scale = float((size[moving] / rates[moving]).min())
    return float(10.0 ** round(math.log10(min(max(scale, 1e-9), 1e9))))


def _settled(times: Array, values: Array) -> float | None:
    """When all watched values have come within a small part of their range of their last ones; 0 if none moves."""
    spread = values.max(axis=0) - values.min(axis=0)
    moving = spread > 1e-9 * np.abs(values).max(axis=0)
    if not moving.any():
        return None
    away = (np.abs(values - values[-1]) > _STILL * spread)[:, moving].any(axis=1)
    last = int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0
    return float(times[last]) if last < len(times) // 2 else None


def _period(times: Array, values: Array) -> float | None:
    window = values[len(times) // 4 :]
    spread = window.max(axis=0) - window.min(axis=0)
    whole = values.max(axis=0) - values.min(axis=0)
    centred = window - 0.5 * (window.max(axis=0) + window.min(axis=0))
    crossings = (np.diff(np.signbit(centred).astype(np.int8), axis=0) != 0).sum(axis=0)
    crossings = np.where(spread > 0.01 * whole, crossings, 0)
    most = int(crossings.max(initial=0))
    return 2.0 * float(times[-1] - times[len(times) // 4]) / most if most >= _CROSSINGS else None


def _after_failure(failed: float, why: str) -> Span:
    """The largest round number of at most two thirds of the time that was reached."""
    if not failed > 0:
        return Span(_DEFAULT, f"the integration does not start ({why})")
    until = _nice(failed / 3)
    return Span(until, f"the integration ends at {failed:.3g} ({why})")


def _beyond(span: Span, jumps: Sequence[Jump]) -> Span:
    late = [jump.time for jump in jumps if span.until < 1.5 * jump.time <= 1e4 * span.until]
    if not late:
        return span
    until = _nice(1.5 * max(late))
    return Span(until, f"{span.reason}; an event happens at {max(late):g}")


def _nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten at or above ``value``."""
    decade = 10.0 ** math.floor(math.log10(value))
    for digit in (1.0, 2.0, 5.0, 10.0):
        if digit * decade >= value * (1 - 1e-9):
            return float(f"{digit * decade:.1e}")
    return float(f"{10 * decade:.1e}")
