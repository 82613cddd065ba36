"""Integration of a field from several starts: which solver, and jumps at known times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate.fields import VectorField
from sbmlump.integrate.multistep import advance_large
from sbmlump.integrate.rosenbrock import Runs, StepControl, Watch, advance
from sbmlump.integrate.work import Meter

__all__ = ["MAX_DENSE", "Jump", "integrate", "piecewise"]

Array = NDArray[np.float64]
MAX_DENSE: Final = 120
"""Up to here all runs go through the batched method with dense linear algebra: at 87 states 25 runs take 20 ms a step
that way; the cubic growth makes one run at a time by a Krylov method faster from about 150 states on."""


@dataclass(frozen=True, slots=True)
class Jump:
    """At ``time`` the state x becomes ``reset.rates(x)`` (a field is a map with its Jacobian)."""

    time: float
    reset: VectorField


def integrate(
    field: VectorField,
    start: Array,
    times: Array,
    *,
    jumps: Sequence[Jump] = (),
    run: NDArray[np.int64] | None = None,
    tolerances: StepControl | None = None,
    watch: Watch | None = None,
    meter: Meter | None = None,
) -> Runs:
    """Integrate ``field`` from ``times[0]``, honouring jumps; failures are data of the result.

    Parameters
    ----------
    field : Field
    start : array (r, n)
    times : array (m,)
        Increasing. The state at the time of a jump is the one after it.
    jumps : sequence of Jump
        In the order of their times.
    run : array of int (r,), optional
        The number of each run (0 … r − 1 by default).
    tolerances : Tolerances
    watch : callable, optional
        See :func:`sbmlump.integrate.rosenbrock.advance`; not asked by the solver for large systems.
    meter : Meter, optional
        Counts the work.

    Raises
    ------
    WorkLimitError
        If there is a meter and its limit has been passed.
    """
    run = np.arange(len(start)) if run is None else run
    tolerances = tolerances or StepControl()
    inside = [jump for jump in jumps if times[0] < jump.time <= times[-1]]
    if not inside:
        return _segment(field, start, times, run, tolerances, watch, meter)

    def segment(x: Array, grid: Array, alive: NDArray[np.int64]) -> Runs:
        return _segment(field, x, grid, run[alive], tolerances, None, meter)

    def reset(i: int, x: Array, alive: NDArray[np.int64]) -> Array:
        return inside[i].reset.rates(x, run[alive])

    return piecewise(segment, start, times, [jump.time for jump in inside], reset)


def _segment(
    field: VectorField,
    start: Array,
    times: Array,
    run: NDArray[np.int64],
    tolerances: StepControl,
    watch: Watch | None,
    meter: Meter | None,
) -> Runs:
    if field.size <= MAX_DENSE:
        return advance(field, start, times, run, tolerances, watch, meter)
    return advance_large(field, start, times, run, tolerances, meter)


def piecewise(
    segment: Callable[[Array, Array, NDArray[np.int64]], Runs],
    start: Array,
    times: Array,
    jumps: Sequence[float],
    reset: Callable[[int, Array, NDArray[np.int64]], Array],
) -> Runs:
    """Integrate from jump to jump.

    Parameters
    ----------
    segment : callable (states, times, runs) → Runs
        Integrates without jumps.
    start : array (r, n)
    times : array (m,)
    jumps : sequence of float
        Times within ``times``, ascending.
    reset : callable (number of the jump, states, runs) → states
        What the jump does.
    """
    r, n = start.shape
    states = np.full((r, len(times), n), np.nan)
    states[:, 0] = start
    reached = np.full(r, float(times[0]))
    why: list[str | None] = [None] * r
    alive = np.arange(r)
    x, now = start, float(times[0])
    steps = 0
    for number, end in enumerate([*jumps, float(times[-1])]):
        wanted = np.flatnonzero((times > now) & (times <= end))
        grid = np.concatenate([[now], times[wanted], [end] if not len(wanted) or times[wanted[-1]] < end else []])
        if end > now:
            part = segment(x, grid, alive)
            states[alive[:, None], wanted[None, :]] = part.states[:, 1 : 1 + len(wanted)]
            reached[alive] = part.reached
            steps += part.steps
            for place, reason in zip(alive.tolist(), part.why, strict=True):
                why[place] = reason
            x = part.states[part.complete, -1]
            alive = alive[part.complete]
        now = end
        if number < len(jumps):
            x = reset(number, x, alive)
            at = np.flatnonzero(times == end)
            states[alive[:, None], at[None, :]] = x[:, None, :]
    return Runs(times, states, reached, tuple(why), steps)
