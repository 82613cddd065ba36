"""A stiff Rosenbrock method over many runs at once, each with its own step size.

One evaluation of a program at a hundred points costs little more than at one, so an ensemble of initial states, or
of candidate reductions, is integrated as a batch: every round makes one step of every run that is not done.

References
----------
Hairer, Wanner, Solving Ordinary Differential Equations II, 2nd ed., section VI.4, doi 10.1007/978-3-642-05221-7:
the method RODAS of order 4(3), stiffly accurate and L-stable, with its continuous output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.dynamics.arguments import Packed
from sbmlump.dynamics.compiled import Tabulated, entries, kernels, memory, owned, seats, tables_of
from sbmlump.dynamics.vector_field import PRODUCT, Budget
from sbmlump.model.sparse import ranges

if TYPE_CHECKING:
    from sbmlump.dynamics.kernels import Tables, WatchTables

__all__ = [
    "BatchField",
    "DeviationObserver",
    "Observer",
    "Runs",
    "StepControl",
    "advance",
    "between_stops",
    "piecewise",
]


Observer = Callable[[Indices, Indices, Array], Mask]
"""Runs, indices of output times, states there: which of these runs are to be given up.

A run may stand there several times, in the order of its outputs; it ends at the first one at which it is given up, and
what is said of later ones does not count.
"""


@dataclass(frozen=True)
class DeviationObserver:
    """Gives up the runs of which a quantity is off by too much, or has no value.

    Run i·s + j is candidate i from initial value j. Where the quantities are affine functions of the state, the
    compiled engine looks at them itself.

    Attributes
    ----------
    times : ndarray (m,)
    read : callable
        Values of the quantities, (k, o), at k times and states.
    wanted : ndarray (s, m, o)
        What they should be.
    sizes : ndarray (s, o)
        What errors are relative to.
    limits : ndarray (c,)
        Largest relative error of each candidate.
    linear : tuple of ndarrays (p, o) and (o,), optional
        Coefficients of the first p components of the state, and constants.
    """

    times: Array
    read: Callable[[Array, Array], Array]
    wanted: Array
    sizes: Array
    limits: Array
    linear: tuple[Array, Array] | None = None

    def __call__(self, places: Indices, index: Indices, values: Array) -> Mask:
        """See :data:`Observer`."""
        start = places % len(self.wanted)
        with np.errstate(all="ignore"):
            off = np.abs(self.read(self.times[index], values) - self.wanted[start, index])
            return np.asarray(~(off <= self.limits[places // len(self.wanted), None] * self.sizes[start]).all(axis=1))

    def errors(self, states: Array) -> Array:
        """The largest relative error of each run, (r,), from its states (r, m, n); NaN beyond its end."""
        r, m, n = states.shape
        values = self.read(np.tile(self.times, r), states.reshape(r * m, n)).reshape(-1, *self.wanted.shape)
        with np.errstate(all="ignore"):
            off = np.abs(values - self.wanted).max(axis=2, initial=0.0) / self.sizes
        return np.asarray(off.max(axis=2, initial=0.0).reshape(r))


@dataclass(frozen=True, slots=True)
class Tableau:
    """Coefficients of a Rosenbrock method of six stages, as Hairer and Wanner give them.

    Attributes
    ----------
    gamma : float
    a : tuple of tuples
        Where the stages are evaluated; the last two at the end of the method of lower order.
    c : tuple of tuples
        How earlier stages enter the right-hand sides of the linear systems.
    d : tuple of tuples
        Of the continuous output.
    """

    gamma: float
    a: tuple[tuple[float, ...], ...]
    c: tuple[tuple[float, ...], ...]
    d: tuple[tuple[float, ...], ...]


RODAS: Final = Tableau(
    gamma=0.25,
    a=(
        (),
        (1.544,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
    ),
    c=(
        (),
        (-5.6688,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
        (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
    ),
    d=(
        (10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823, 1.025137723295662),
        (-0.6762803392801253, 6.087714651680015, 16.43084320892478, 24.76722511418386, -6.594389125716872),
    ),
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
    retreat : float
        And by that where something had no finite value.
    least : float
        Of the time span: a step that would be shorter has failed.
    rounding : float
        Of the time: likewise.
    skip : float
        Of a time: how far after a discontinuity of the right-hand side a run begins anew, and ends before it.
    parts : int
        An observer of compiled runs is asked after each of so many parts of the outputs: what is followed in vain is a
        part at most, and a question costs as much as some steps.
    operations : float
        Elementary operations of compiled runs (about half a second) between two looks at interrupts and at the budget.
    squares, vectors : int
        Passes over a matrix and over the states of a run in a step, for the budget.
    overhead : float
        Elementary operations of a step however small, for the budget.
    worth : float
        What an operation of a step counts in the budget: by that a unit of work is about a second of the compiled
        engine.
    """

    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 6.0
    retreat: float = 0.1
    least: float = 1e-20
    rounding: float = 4e-16
    skip: float = 1e-12
    parts: int = 16
    operations: float = 5e8
    squares: int = 8
    vectors: int = 100
    overhead: float = 1000.0
    worth: float = 0.25


ROSENBROCK: Final = RosenbrockSettings()
_GIVEN_UP: Final = "given up"


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

    def step_work(self) -> float:
        """Elementary operations of six rates and a Jacobian."""
        ...


@dataclass(frozen=True, slots=True)
class StepControl:
    """Error control and caps of an integration.

    ``absolute`` is one number or one a component, (n,); ``steps`` counts accepted and rejected ones of a run, between
    two of the ``stops`` where there are any: times at which a right-hand side with a clock is discontinuous, or where a
    short pulse begins that a long step would pass over; the integration begins anew there.
    """

    relative: float = 1e-7
    absolute: float | Array = 1e-12
    steps: int = 20_000
    stops: tuple[float, ...] = ()


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
    def complete(self) -> Mask:
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

    def keep(self, mask: Mask) -> None:
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
    tolerances : StepControl
    observer : callable, optional
        Asked at every output which runs are to be given up.
    budget : Budget, optional
        Counts the work.

    Raises
    ------
    WorkLimitError
        If there is a budget and its limit has been passed.
    """
    numbers = np.arange(len(initial)) if run is None else run
    control = tolerances or StepControl()
    if not (control.stops and vector_field.timed):
        return _advance(vector_field, initial, times, numbers, control, observer, budget)
    plain = replace(control, stops=())

    def segment(x: Array, grid: Array, alive: Indices, watch: Observer | None) -> Runs:
        return _advance(vector_field, x, grid, numbers[alive], plain, watch, budget)

    return between_stops(segment, initial, times, control.stops, observer)


def _advance(
    vector_field: BatchField,
    initial: Array,
    times: Array,
    run: Indices,
    tolerances: StepControl,
    observer: Observer | None,
    budget: Budget | None,
) -> Runs:
    tables = tables_of(vector_field)
    r, n = initial.shape
    states = np.full((r, len(times), n), np.nan)
    states[:, 0] = initial
    reached = np.full(r, float(times[0]))
    why: list[str | None] = [None] * r
    f = vector_field.rates(initial, run)
    h = _first_steps(initial, f, times, tolerances)
    good = np.asarray(np.isfinite(f).all(axis=1))
    for place in np.flatnonzero(~good).tolist():
        why[place] = "the right-hand side has no finite value at the start"
    if len(times) < 2:
        return Runs(times, states, reached, tuple(why))
    work = _work_of_step(vector_field)
    if tables is not None:
        journey = _Journey(tables, run, initial, f, h, times, tolerances, states)
        journey.follow(np.flatnonzero(good), why, observer, work, budget)
        if isinstance(vector_field, Tabulated):
            vector_field.followed(journey.all_steps())
        return Runs(times, states, journey.reached(), tuple(why), journey.steps())
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
    batch.keep(good)
    steps = 0
    while len(batch.place):
        steps += 1
        if budget is not None:
            budget.add(len(batch.place) * work)
        _round(vector_field, batch, times, tolerances, states, reached, observer, why)
        _retire(batch, times, tolerances, reached, why)
    return Runs(times, states, reached, tuple(why), steps)


Segment = Callable[[Array, Array, Indices, Observer | None], Runs]
"""Initial states, times, numbers of the runs and their observer, to an integration without resets."""


def piecewise(
    segment: Segment,
    initial: Array,
    times: Array,
    stops: Sequence[float],
    after: Callable[[int, Array, Indices], Array],
    observer: Observer | None = None,
) -> Runs:
    """Integrate from state reset to state reset.

    Parameters
    ----------
    segment : callable
        See :data:`Segment`.
    initial : array (r, n)
    times : array (m,)
    stops : sequence of float
        Times of the resets within ``times``, ascending.
    after : callable (number of the reset, states, runs) → states
        The states after a reset.
    observer : callable, optional
        As of :func:`sbmlump.dynamics.rosenbrock.advance`, for the whole of the runs; at a reset it sees the states
        after it.
    """
    if not len(stops):
        return segment(initial, times, np.arange(len(initial)), observer)
    r, n = initial.shape
    states = np.full((r, len(times), n), np.nan)
    states[:, 0] = initial
    reached = np.full(r, float(times[0]))
    why: list[str | None] = [None] * r
    alive = np.arange(r)
    x, now = initial, float(times[0])
    steps = 0
    for number, end in enumerate([*stops, float(times[-1])]):
        if not len(alive):
            break
        resets = number < len(stops)
        wanted = np.flatnonzero((times > now) & ((times < end) if resets else (times <= end)))
        grid = np.concatenate([[now], times[wanted], [end] if not len(wanted) or times[wanted[-1]] < end else []])
        if end > now:
            part = segment(x, grid, alive, None if observer is None else _of_part(observer, alive, wanted))
            states[alive[:, None], wanted[None, :]] = part.states[:, 1 : 1 + len(wanted)]
            reached[alive] = part.reached
            steps += part.steps
            for place, reason in zip(alive.tolist(), part.why, strict=True):
                why[place] = reason
            x = part.states[part.complete, -1]
            alive = alive[part.complete]
        now = end
        if resets:
            x = after(number, x, alive)
            at = np.flatnonzero(times == end)
            states[alive[:, None], at[None, :]] = x[:, None, :]
            if observer is not None and len(at) and len(alive):
                observer(alive, np.full(len(alive), at[0]), x)
    return Runs(times, states, reached, tuple(why), steps)


def _of_part(observer: Observer, alive: Indices, wanted: Indices) -> Observer:
    """``observer`` for the runs and output times of one segment; its end is no output time where a reset follows."""

    def observe(places: Indices, index: Indices, values: Array) -> Mask:
        inside = index - 1 < len(wanted)
        bad = np.zeros(len(places), dtype=np.bool_)
        if inside.any():
            bad[inside] = observer(alive[places[inside]], wanted[index[inside] - 1], values[inside])
        return bad

    return observe


def between_stops(
    segment: Segment, initial: Array, times: Array, stops: Sequence[float], observer: Observer | None = None
) -> Runs:
    """Integrate a field with a clock from stop to stop, each piece from just after one to just before the next.

    On the stop itself the right-hand side is still that of before, and a step that ends there may be rounded beyond it.

    Parameters
    ----------
    segment : callable
        See :data:`Segment`.
    initial : array (r, n)
        The last component is the clock.
    times : array (m,)
    stops : sequence of float
        Times at which the right-hand side is discontinuous, ascending.
    observer : callable, optional
    """
    skip = ROSENBROCK.skip
    known = np.asarray(stops, dtype=np.float64)

    def at_stop(time: float) -> bool:
        return bool((np.abs(known - time) <= skip * abs(time)).any())

    def apart(x: Array, grid: Array, alive: Indices, watch: Observer | None) -> Runs:
        moved = grid.copy()
        moved[0] += skip * moved[0] if at_stop(moved[0]) else 0.0
        moved[-1] -= skip * moved[-1] if at_stop(moved[-1]) else 0.0
        begin = x.copy()
        begin[:, -1] = moved[0]
        return segment(begin, moved, alive, watch)

    inside = [stop for stop in known.tolist() if times[0] < stop < times[-1] and not stop >= times[-1] * (1 - 4 * skip)]
    return piecewise(apart, initial, times, inside, lambda _, x, __: x, observer)


class _Journey:
    """Runs in the compiled engine."""

    def __init__(
        self,
        tables: Tables,
        run: Indices,
        initial: Array,
        f: Array,
        h: Array,
        times: Array,
        tolerances: StepControl,
        states: Array,
    ) -> None:
        r, n = initial.shape
        self._module = kernels()
        self._tables = tables
        self._at, rows = self._module.layout(tables.at, squares=2)
        self._lanes, self._seats = memory(rows), seats(n)
        self._times = owned(times)
        self._tolerances = tolerances
        self._absolute = np.array(np.broadcast_to(np.asarray(tolerances.absolute, dtype=np.float64), (n,)))
        self._where = self._module.Where(
            owned(run, np.int64),
            np.full(r, float(times[0])),
            owned(h),
            np.array(initial, dtype=np.float64, order="C"),
            np.array(f, dtype=np.float64, order="C"),
            np.ones(r, dtype=np.int64),
            np.zeros(r, dtype=np.int64),
            np.zeros(r, dtype=np.int64),
            states,
            np.zeros((r, len(times)), dtype=np.int64),
        )
        method, settings = RODAS, ROSENBROCK
        self._method = self._module.RosenbrockTableau(
            method.gamma,
            _padded(method.a),
            _padded(method.c),
            _padded(method.d),
            settings.safety,
            settings.shrink,
            settings.grow,
            settings.retreat,
            settings.least,
            settings.rounding,
        )

    def reached(self) -> Array:
        """How far each run came, (r,)."""
        return np.asarray(self._where.t)

    def steps(self) -> int:
        """Most steps of a run."""
        return int(self._where.made.max(initial=0))

    def all_steps(self) -> int:
        """Steps of all runs together."""
        return int(self._where.made.sum())

    def follow(
        self, alive: Indices, why: list[str | None], observer: Observer | None, work: float, budget: Budget | None
    ) -> None:
        """Follow runs to their ends, and say why those end that do not get to the last time."""
        where, status, loaded = self._where, self._module.Status, entries()
        assert loaded is not None  # there are no tables without
        last = len(self._times) - 1
        watch = self._watch(observer)
        observer = None if watch.is_on else observer
        part = last if observer is None else -(-last // ROSENBROCK.parts)
        allowance = max(1, int(ROSENBROCK.operations / work))
        upto = min(part, last)
        seated, method, runs, watched = (Packed(one) for one in (self._seats, self._method, where, watch))
        while len(alive):
            seen, before = where.pointer[alive], where.made[alive]
            loaded.follow(
                self._tables.packed,
                self._at,
                self._lanes,
                seated,
                method,
                runs,
                alive,
                self._times,
                self._tolerances.relative,
                self._absolute,
                self._tolerances.steps,
                upto,
                allowance,
                watched,
            )
            under_way = where.status[alive] == status.UNDER_WAY
            if observer is not None:
                under_way &= ~self._given_up(alive, seen, observer, why)
            if budget is not None:
                budget.add(float((where.made[alive] - before).sum()) * work)
            ended = alive[~under_way]
            for kind, reason in (
                (status.MANY_STEPS, f"more than {self._tolerances.steps} steps"),
                (status.SHORT_STEPS, "the step size went to zero"),
                (status.GIVEN_UP, _GIVEN_UP),
            ):
                for place in ended[where.status[ended] == kind].tolist():
                    why[place] = why[place] or reason
            alive = alive[under_way]
            while upto < last and (where.pointer[alive] > upto).all():
                upto = min(upto + part, last)

    def _watch(self, observer: Observer | None) -> WatchTables:
        """The observer as tables, where it can be; else none."""
        if isinstance(observer, DeviationObserver) and observer.linear is not None:
            matrix, base = observer.linear
            parts = (matrix, base, observer.wanted, observer.sizes, observer.limits)
            made: WatchTables = self._module.WatchTables(1, *(owned(part) for part in parts))
            return made
        table = np.empty((0, 0))
        none: WatchTables = self._module.WatchTables(0, table, np.empty(0), np.empty((0, 0, 0)), table, np.empty(0))
        return none

    def _given_up(self, alive: Indices, seen: Indices, observer: Observer, why: list[str | None]) -> Mask:
        """Show the outputs since ``seen`` to the observer, and take those runs back that it gives up, (alive,)."""
        where = self._where
        fresh = where.pointer[alive] - seen
        out = np.zeros(len(alive), dtype=np.bool_)
        if not fresh.any():
            return out
        owner = np.repeat(np.arange(len(alive)), fresh)
        index = ranges(seen, fresh)
        places = alive[owner]
        bad = np.flatnonzero(observer(places, index, where.states[places, index]))
        given_up, first = np.unique(owner[bad], return_index=True)
        for i, at in zip(given_up.tolist(), index[bad[first]].tolist(), strict=True):
            place = int(alive[i])
            where.states[place, at + 1 :] = np.nan
            where.t[place] = self._times[at]
            where.made[place] = where.counts[place, at]
            why[place] = _GIVEN_UP
        out[given_up] = True
        return out


def _padded(rows: tuple[tuple[float, ...], ...]) -> Array:
    """Rows of different lengths, filled up with zeros to as many columns as rows or as the longest has."""
    out = np.zeros((len(rows), max(len(rows), *map(len, rows))))
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _work_of_step(vector_field: BatchField) -> float:
    """Elementary operations of a step of one run: the field's own, a factorisation and six solutions, some passes."""
    n = vector_field.size
    algebra = PRODUCT * n**3 + ROSENBROCK.squares * n * n + ROSENBROCK.vectors * n
    return ROSENBROCK.worth * (vector_field.step_work() + algebra + ROSENBROCK.overhead)


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
    reached: Array,
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
        matrices[:, diagonal, diagonal] += (1.0 / (RODAS.gamma * h))[:, None]
        inverse = _inverses(matrices)
        u: list[Array] = []
        f = batch.f
        for i in range(5):
            if i:
                f = _rates(vector_field, _combination(x, RODAS.a[i], u), run, tolerances)
            u.append(_stage(inverse, f, i, u, h))
        # the last stages start where the method of lower order ends
        y = _combination(x, RODAS.a[4], u[:4]) + u[4]
        error = _stage(inverse, _rates(vector_field, y, run, tolerances), 5, u, h)
        new = y + error
        scale = np.asarray(tolerances.absolute) + tolerances.relative * np.maximum(np.abs(x), np.abs(new))
        size = np.sqrt(np.mean((error / scale) ** 2, axis=1))
        rates = _rates(vector_field, new, run, tolerances)
        bad = ~(np.isfinite(size) & np.isfinite(rates).all(axis=1))
        factor = np.where(
            bad, ROSENBROCK.retreat, np.clip(ROSENBROCK.safety * size**-0.25, ROSENBROCK.shrink, ROSENBROCK.grow)
        )
        factor = np.where(np.isfinite(factor), factor, ROSENBROCK.grow)
    accepted = (size <= 1.0) & ~bad
    batch.count += 1
    if accepted.any():
        _emit(batch, accepted, h, new, u, times, states, reached, observer, why)
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
        coupled = RODAS.c[i][0] * u[0]
        for weight, part in zip(RODAS.c[i][1:], u[1:], strict=True):
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
    accepted: Mask,
    h: Array,
    new: Array,
    u: list[Array],
    times: Array,
    states: Array,
    reached: Array,
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
    c3, c4 = (_combination(np.zeros_like(new), weights, u[:5]) for weights in RODAS.d)
    while due.any():
        rows = np.flatnonzero(due)
        index = batch.pointer[rows]
        s = ((times[index] - batch.t[rows]) / h[rows])[:, None]
        values = batch.x[rows] * (1 - s) + s * (new[rows] + (1 - s) * (c3[rows] + s * c4[rows]))
        values = np.where(s >= 1, new[rows], values)
        states[batch.place[rows], index] = values
        given_up = np.zeros(len(rows), dtype=np.bool_)
        if observer is not None:
            given_up |= observer(batch.place[rows], index, values)
            for place, at in zip(batch.place[rows[given_up]].tolist(), times[index[given_up]].tolist(), strict=True):
                why[place] = _GIVEN_UP
                reached[place] = at
        batch.pointer[rows] += 1
        due[rows] = (batch.pointer[rows] <= last) & (times[np.minimum(batch.pointer[rows], last)] <= end[rows])
        due[rows[given_up]] = False


def _retire(batch: _Batch, times: Array, tolerances: StepControl, reached: Array, why: list[str | None]) -> None:
    """Take out what is done or has failed."""
    under_way = np.array([why[place] is None for place in batch.place.tolist()], dtype=np.bool_)
    reached[batch.place[under_way]] = batch.t[under_way]
    done = batch.t >= times[-1]
    slow = ~done & (batch.count >= tolerances.steps)
    least = ROSENBROCK.least * float(times[-1] - times[0])
    tiny = ~done & (batch.h < np.maximum(least, ROSENBROCK.rounding * np.abs(batch.t)))
    for mask, message in ((slow, f"more than {tolerances.steps} steps"), (tiny, "the step size went to zero")):
        for place in batch.place[mask].tolist():
            why[place] = why[place] or message
    stopped = np.array([why[place] is not None for place in batch.place.tolist()], dtype=np.bool_)
    if done.any() or stopped.any():
        batch.keep(~(done | stopped))
