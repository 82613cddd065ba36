"""Integration of a field from several starts: which solver, and jumps at known times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.budget import Meter
from sbmlump.dynamics.cvode import advance_large, backward_large
from sbmlump.dynamics.rosenbrock import Runs, StepControl, Watch, advance
from sbmlump.dynamics.vector_field import VectorField

__all__ = ["MAX_DENSE", "Jump", "integrate", "piecewise", "adjoints", "exponentials", "propagators", "sweep_back"]


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
        See :func:`sbmlump.dynamics.rosenbrock.advance`; not asked by the solver for large systems.
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


# -- Adjoints: how much a disturbance of the state at time t moves a quantity at a la ------------

# Adjoints: how much a disturbance of the state at time t moves a quantity at a later time.
#
# λ_e(t) = (∂z(t_e)/∂x(t))ᵀ solves λ' = −J(x(t))ᵀλ backwards from λ(t_e) = ∇z. For all end times together this is one
# backward recursion over the propagators of the intervals, Φ_i = ∂x(t_{i+1})/∂x(t_i), shared by all of them.
#
# The propagator of an interval is the exponential of its midpoint Jacobian (second order), by the Padé approximation
# (1, 2), which is L-stable: what decays within an interval is gone after it.


_POINTS: Final = 400
_LARGE_TOLERANCE: Final = 1e-4


def adjoints(
    field: VectorField,
    run: int,
    times: Array,
    states: Array,
    middles: Array | None,
    ends: NDArray[np.int64],
    gradients: Array,
    jumps: Sequence[Jump] = (),
) -> Array:
    """λ_e at every time of one run.

    Parameters
    ----------
    field : Field
    run : int
        Its number.
    times : array (m,)
    states : array (m, n)
    middles : array (m − 1, n) or None
        States in the middle of each interval; interpolated if absent.
    ends : array of int (E,)
        Indices of the end times, ascending.
    gradients : array (E, p, n)
        ∇z at each end time, for p quantities.
    jumps : sequence of Jump
        Their times must be among ``times``, which hold the state after the jump; the one before is taken from the
        last interval's end by the caller putting the same time twice.

    Returns
    -------
    array (m, E, p, n)
        Zero after its own end time.
    """
    if field.size > MAX_DENSE:
        return backward_large(field, run, times, states, ends, gradients, _LARGE_TOLERANCE)
    phi, _ = propagators(field, run, times, states, middles)
    for jump in jumps:
        at = np.flatnonzero(times == jump.time)
        if len(at) > 1:  # the interval of no length between before and after
            before = states[at[0]]
            phi[at[0]] = jump.reset.jacobians(before[None, :], np.array([run]))[0]
    return np.asarray(sweep_back(phi[None], ends, gradients[None])[0])


def propagators(
    field: VectorField, run: int, times: Array, states: Array, middles: Array | None = None
) -> tuple[Array, Array]:
    """Φ_i of each interval, and Ψ_i, what a constant force over it adds; both (m − 1, n, n)."""
    if middles is None:
        middles = _middles(field, run, times, states)
    n = field.size
    steps = np.diff(times)
    out = np.empty((2, len(steps), n, n))
    for low in range(0, len(steps), _POINTS):
        block = slice(low, low + _POINTS)
        z = field.jacobians(middles[block], np.full(len(middles[block]), run)) * steps[block, None, None]
        out[:, block] = exponentials(z, steps[block])
    return out[0], out[1]


def exponentials(z: Array, steps: Array) -> tuple[Array, Array]:
    """exp(z) and h·(exp(z) − 1)/z for stacks of matrices z = hJ, by the L-stable Padé approximation (1, 2)."""
    n = z.shape[-1]
    identity = np.eye(n)
    below = identity - (2 / 3) * z + (z @ z) / 6
    above = np.concatenate([identity + z / 3, (identity - z / 6) * steps[..., None, None]], axis=-1)
    both = np.linalg.solve(below, above)
    return both[..., :n], both[..., n:]


def _middles(field: VectorField, run: int, times: Array, states: Array) -> Array:
    rates = field.rates(states, np.full(len(states), run))
    h = np.diff(times)[:, None]
    return np.asarray(0.5 * (states[:-1] + states[1:]) + h * (rates[:-1] - rates[1:]) / 8)


def sweep_back(phi: Array, ends: NDArray[np.int64], gradients: Array) -> Array:
    """Backward recursion over propagators of r runs.

    Parameters
    ----------
    phi : array (r, m − 1, n, n)
    ends : array of int (E,)
        Ascending.
    gradients : array (r, E, p, n)

    Returns
    -------
    array (r, m, E, p, n)
    """
    r, count, p, n = gradients.shape
    m = phi.shape[1] + 1
    out = np.zeros((r, m, count, p, n))
    current = np.zeros((r, count, p, n))
    waiting = count
    for i in range(m - 1, -1, -1):
        if i < m - 1:
            current[:, waiting:] = (current[:, waiting:].reshape(r, -1, n) @ phi[:, i]).reshape(r, -1, p, n)
        while waiting and ends[waiting - 1] == i:
            waiting -= 1
            current[:, waiting] = gradients[:, waiting]
        out[:, i, waiting:] = current[:, waiting:]
    return out
