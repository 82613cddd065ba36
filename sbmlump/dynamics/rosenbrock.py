"""A stiff Rosenbrock method over many runs at once, each with its own step size.

One evaluation of a program at a hundred points costs little more than at one, so an ensemble of initial states, or
of candidate reductions, is integrated as a batch: every round makes one step of every run that is not done.

References
----------
Hairer, Wanner, Solving Ordinary Differential Equations II, 2nd ed., section VI.4, doi 10.1007/978-3-642-05221-7:
the method RODAS of order 4(3), stiffly accurate and L-stable, with its continuous output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.vector_field import CALL, PRODUCT, Budget, StepWork

__all__ = ["BatchField", "Observer", "Runs", "StepControl", "advance"]


Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Observer = Callable[[Indices, Indices, Array], NDArray[np.bool_]]
"""Runs, indices of output times, states there: which of these runs are to be given up."""

_GAMMA: Final = 0.25
_A: Final[tuple[tuple[float, ...], ...]] = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
)
_C: Final[tuple[tuple[float, ...], ...]] = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
)
_D: Final = (
    (10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823, 1.025137723295662),
    (-0.6762803392801253, 6.087714651680015, 16.43084320892478, 24.76722511418386, -6.594389125716872),
)


@dataclass(frozen=True, slots=True)
class RosenbrockSettings:
    """How steps change, and what they cost.

    Attributes
    ----------
    safety : float
        Of the step that the error estimate allows (Hairer and Wanner).
    shrink : float
        A step becomes at most so much shorter.
    grow : float
        A step becomes at most so many times as long.
    calls : int
        Array routines of a round, for the budget.
    vectors : int
        Passes over the states of a run in a round, for the budget.
    """

    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 6.0
    calls: int = 100
    vectors: int = 150


ROSENBROCK: Final = RosenbrockSettings()


class BatchField(Protocol):
    """What the method asks of a field."""

    size: int
    timed: bool

    def rates(self, x: Array, run: Indices) -> Array:
        """Rates at k points, (k, n)."""
        ...

    def jacobians(self, x: Array, run: Indices) -> Array:
        """Jacobians at k points, (k, n, n)."""
        ...

    def step_work(self) -> StepWork:
        """What a step costs."""
        ...


@dataclass(frozen=True, slots=True)
class StepControl:
    """Error control and caps of an integration.

    ``absolute`` is one number or one a component, (n,); ``steps`` counts accepted and rejected ones of a run.
    """

    relative: float = 1e-7
    absolute: float | Array = 1e-12
    steps: int = 20_000


@dataclass(frozen=True, slots=True)
class Runs:
    """r runs at m times.

    Attributes
    ----------
    times : ndarray (m,)
    states : ndarray (r, m, n)
        NaN beyond the time that a run reached.
    reached : ndarray (r,)
    why : tuple of str or None
        For a run that did not get to the end: why.
    steps : int
        Most steps of a run, where they were counted.
    """

    times: Array
    states: Array
    reached: Array
    why: tuple[str | None, ...]
    steps: int = 0

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which runs got to the end, (r,)."""
        return np.array([reason is None for reason in self.why], dtype=np.bool_)


@dataclass(slots=True)
class _Batch:
    """The runs that are not done: positions in the result, run numbers, time, step, state, counters."""

    place: Indices
    run: Indices
    t: Array
    h: Array
    x: Array
    f: Array
    pointer: Indices
    count: Indices

    def keep(self, mask: NDArray[np.bool_]) -> None:
        for name in ("place", "run", "t", "h", "x", "f", "pointer", "count"):
            setattr(self, name, getattr(self, name)[mask])


def advance(
    vector_field: BatchField,
    initial: Array,
    times: Array,
    run: Indices | None = None,
    tolerances: StepControl | None = None,
    observer: Observer | None = None,
    budget: Budget | None = None,
) -> Runs:
    """Integrate from ``times[0]``.

    Parameters
    ----------
    vector_field : BatchField
    initial : array (r, n)
    times : array (m,)
        Increasing; the first is the time of ``initial``.
    run : array of int (r,), optional
        What the field is told of each; 0 … r − 1 by default.
    tolerances : Tolerances
    observer : callable, optional
        Asked at every output which runs are to be given up.
    budget : Budget, optional
        Counts the work.

    Raises
    ------
    WorkLimitError
        If there is a budget and its limit has been passed.
    """
    r, n = initial.shape
    states = np.full((r, len(times), n), np.nan)
    states[:, 0] = initial
    reached = np.full(r, float(times[0]))
    why: list[str | None] = [None] * r
    run = np.arange(r) if run is None else run
    tolerances = tolerances or StepControl()
    f = vector_field.rates(initial, run)
    h = _first_steps(initial, f, times, tolerances)
    batch = _Batch(
        np.arange(r),
        run,
        np.full(r, float(times[0])),
        h,
        initial.copy(),
        f,
        np.ones(r, dtype=np.int64),
        np.zeros(r, int),
    )
    good = np.asarray(np.isfinite(f).all(axis=1))
    for place in batch.place[~good].tolist():
        why[place] = "the right-hand side has no finite value at the start"
    batch.keep(good)
    if len(times) < 2:
        return Runs(times, states, reached, tuple(why))
    floor = 1e-14 * float(times[-1] - times[0])
    steps = 0
    work = _round_work(vector_field)
    while len(batch.place):
        steps += 1
        if budget is not None:
            budget.add(work.call + len(batch.place) * work.point)
        _round(vector_field, batch, times, tolerances, states, observer, why)
        _retire(batch, times, tolerances, floor, reached, why)
    return Runs(times, states, reached, tuple(why), steps)


def _round_work(vector_field: BatchField) -> StepWork:
    """The field's own work and that of the method: an inverse, six products with it, some dozens of array routines."""
    own, n = vector_field.step_work(), vector_field.size
    return StepWork(
        own.call + ROSENBROCK.calls * CALL, own.point + 4 * PRODUCT * n**3 + 12 * n * n + ROSENBROCK.vectors * n
    )


def _first_steps(initial: Array, f: Array, times: Array, tolerances: StepControl) -> Array:
    scale = np.asarray(tolerances.absolute) + tolerances.relative * np.abs(initial)
    with np.errstate(all="ignore"):
        speed = np.sqrt(np.mean((f / scale) ** 2, axis=1))
        size = np.sqrt(np.mean((initial / scale) ** 2, axis=1))
        h = np.where(speed > 0, 0.01 * np.maximum(size, 1.0) / speed, np.inf)
    span = float(times[-1] - times[0])
    return np.asarray(np.clip(np.nan_to_num(h, nan=1e-6 * span, posinf=1e-3 * span), 1e-12 * span, 1e-2 * span))


def _round(
    vector_field: BatchField,
    batch: _Batch,
    times: Array,
    tolerances: StepControl,
    states: Array,
    observer: Observer | None,
    why: list[str | None],
) -> None:
    """One step of every run in the batch."""
    n = vector_field.size
    last = float(times[-1])
    h = np.minimum(batch.h, last - batch.t)
    x, run = batch.x, batch.run
    with np.errstate(all="ignore"):
        matrices = -_jacobians(vector_field, x, run, tolerances)
        diagonal = np.arange(n)
        matrices[:, diagonal, diagonal] += (1.0 / (_GAMMA * h))[:, None]
        inverse = _inverses(matrices)
        u: list[Array] = []
        f = batch.f
        for i in range(5):
            if i:
                f = _rates(vector_field, _combination(x, _A[i], u), run, tolerances)
            u.append(_stage(inverse, f, i, u, h))
        # the last stages start where the method of lower order ends
        y = _combination(x, _A[4], u[:4]) + u[4]
        error = _stage(inverse, _rates(vector_field, y, run, tolerances), 5, u, h)
        new = y + error
        scale = np.asarray(tolerances.absolute) + tolerances.relative * np.maximum(np.abs(x), np.abs(new))
        size = np.sqrt(np.mean((error / scale) ** 2, axis=1))
        rates = _rates(vector_field, new, run, tolerances)
        bad = ~(np.isfinite(size) & np.isfinite(rates).all(axis=1))
        factor = np.where(bad, 0.1, np.clip(ROSENBROCK.safety * size**-0.25, ROSENBROCK.shrink, ROSENBROCK.grow))
        factor = np.where(np.isfinite(factor), factor, ROSENBROCK.grow)
    accepted = (size <= 1.0) & ~bad
    batch.count += 1
    if accepted.any():
        _emit(batch, accepted, h, new, u, times, states, observer, why)
    batch.t = np.where(accepted, np.where(h >= last - batch.t, last, batch.t + h), batch.t)
    batch.x = np.where(accepted[:, None], new, x)
    batch.f = np.where(accepted[:, None], rates, batch.f)
    batch.h = h * np.where(accepted, factor, np.minimum(factor, 1.0))


def _at_zero(x: Array, tolerances: StepControl) -> Array:
    """States with those that are negative within the absolute tolerance at 0."""
    return np.where((x < 0) & (x >= -np.asarray(tolerances.absolute)), 0.0, x)


def _rates(vector_field: BatchField, x: Array, run: Indices, tolerances: StepControl) -> Array:
    """Rates; where they are not defined, those of the states with what is negative within the tolerance at 0.

    A state that begins at 0 is a little below it in the stages of any step, however short, where its power is not
    defined.
    """
    f = vector_field.rates(x, run)
    bad = ~np.isfinite(f).all(axis=1)
    if bad.any():
        f = np.array(f)
        f[bad] = vector_field.rates(_at_zero(x[bad], tolerances), run[bad])
    return f


def _jacobians(vector_field: BatchField, x: Array, run: Indices, tolerances: StepControl) -> Array:
    """Jacobians; where they are infinite or not defined, those at states of at least the absolute tolerance.

    The slope of a root is infinite at 0. A matrix that is not finite even so is NaN throughout: the inverse of one with
    infinite entries would have rows of zeros, and a step in which nothing moves would pass for an exact one.
    """
    matrices = vector_field.jacobians(x, run)
    bad = ~np.isfinite(matrices).all(axis=(1, 2))
    if bad.any():
        matrices = np.array(matrices)
        least = np.broadcast_to(np.asarray(tolerances.absolute), x[bad].shape)
        matrices[bad] = vector_field.jacobians(np.where(np.abs(x[bad]) <= least, least, x[bad]), run[bad])
        matrices[~np.isfinite(matrices).all(axis=(1, 2))] = np.nan
    return matrices


def _combination(x: Array, weights: tuple[float, ...], u: list[Array]) -> Array:
    out = x.copy()
    for weight, part in zip(weights, u, strict=True):
        out += weight * part
    return out


def _stage(inverse: Array, f: Array, i: int, u: list[Array], h: Array) -> Array:
    right = f
    if i:
        coupled = _C[i][0] * u[0]
        for weight, part in zip(_C[i][1:], u[1:], strict=True):
            coupled = coupled + weight * part
        right = f + coupled / h[:, None]
    return np.asarray((inverse @ right[:, :, None])[:, :, 0])


def _inverses(matrices: Array) -> Array:
    try:
        return np.asarray(np.linalg.inv(matrices), dtype=np.float64)
    except np.linalg.LinAlgError:
        out = np.full_like(matrices, np.nan)  # a singular one rejects the step of its run only
        for i, matrix in enumerate(matrices):
            try:
                out[i] = np.linalg.inv(matrix)
            except np.linalg.LinAlgError:
                continue
        return out


def _emit(
    batch: _Batch,
    accepted: NDArray[np.bool_],
    h: Array,
    new: Array,
    u: list[Array],
    times: Array,
    states: Array,
    observer: Observer | None,
    why: list[str | None],
) -> None:
    """Write the output times that lie in the accepted steps, by the continuous output of the method."""
    last = len(times) - 1
    end = np.where(h >= times[-1] - batch.t, times[-1], batch.t + h)
    due = accepted & (batch.pointer <= last)
    due &= times[np.minimum(batch.pointer, last)] <= end
    if not due.any():
        return
    c3, c4 = (_combination(np.zeros_like(new), weights, u[:5]) for weights in _D)
    while due.any():
        rows = np.flatnonzero(due)
        index = batch.pointer[rows]
        s = ((times[index] - batch.t[rows]) / h[rows])[:, None]
        values = batch.x[rows] * (1 - s) + s * (new[rows] + (1 - s) * (c3[rows] + s * c4[rows]))
        values = np.where(s >= 1, new[rows], values)
        states[batch.place[rows], index] = values
        if observer is not None:
            for place in batch.place[rows][observer(batch.place[rows], index, values)].tolist():
                why[place] = why[place] or "given up"
        batch.pointer[rows] += 1
        due[rows] = (batch.pointer[rows] <= last) & (times[np.minimum(batch.pointer[rows], last)] <= end[rows])


def _retire(
    batch: _Batch, times: Array, tolerances: StepControl, floor: float, reached: Array, why: list[str | None]
) -> None:
    """Take out what is done or has failed."""
    reached[batch.place] = batch.t
    done = batch.t >= times[-1]
    slow = ~done & (batch.count >= tolerances.steps)
    tiny = ~done & (batch.h < np.maximum(floor * 1e-6, 4e-16 * np.abs(batch.t)))
    for mask, message in ((slow, f"more than {tolerances.steps} steps"), (tiny, "the step size went to zero")):
        for place in batch.place[mask].tolist():
            why[place] = why[place] or message
    stopped = np.array([why[place] is not None for place in batch.place.tolist()], dtype=np.bool_)
    if done.any() or stopped.any():
        batch.keep(~(done | stopped))
