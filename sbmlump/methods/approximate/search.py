"""Candidates of each size, ranked by their errors over the training runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics import StateReset, StepControl, compiled
from sbmlump.dynamics.ensemble import ReductionProblem, Sample, gradients, largest_values
from sbmlump.dynamics.rosenbrock import BatchField, DeviationObserver, Observer, Runs, advance, piecewise
from sbmlump.dynamics.solve import MAX_DENSE
from sbmlump.dynamics.vector_field import (
    PRODUCT,
    Budget,
    QuadraticField,
    VectorField,
    WorkLimitError,
    at_time_zero,
)
from sbmlump.methods.approximate.quadratic import QuadraticLift, product_slopes
from sbmlump.methods.approximate.subspaces import (
    BALANCING,
    Affine,
    Decomposition,
    Offset,
    Snapshots,
    decompositions,
    usable_columns,
)
from sbmlump.model.evaluate import Evaluator

if TYPE_CHECKING:
    from sbmlump.dynamics.kernels import Tables

__all__ = [
    "Ranked",
    "Readout",
    "Reset",
    "Search",
    "constants_of",
    "hardest_first",
    "largest_but_few",
    "measured_errors",
    "pinned_magnitudes",
    "reduced_resets",
    "LiftedField",
    "TabledField",
    "lifted_field",
    "SEARCH",
    "SIZES",
    "SearchSettings",
    "SizeSettings",
    "SizeSearch",
    "Measured",
    "Proposal",
    "Proposer",
    "best_up_to",
    "first_within",
    "smallest_within",
]


# -- Many candidate reductions as one field --------------------------------------------------------

# Many candidate reductions as one field: ẏ = L f(L̄y + c), a run for each candidate and start.
#
# For right-hand sides of degree two the reduced one is a table (k + k² + k³ numbers a run), so that a thousand
# runs cost a matrix product; larger tables, and others, go through the full program at the lifted points.


def lifted_field(field: VectorField, maps: Sequence[Affine], constants: Array, numbers: Indices) -> BatchField:
    """The reduced fields of candidates of one size as one field.

    Run i·r + j is candidate i from start j.

    Parameters
    ----------
    field : Field
        Of the full system.
    maps : sequence of Affine
        All with k states; all or none with products, and then with the same ones.
    constants : array (r, 1 + c)
        w of each start.
    numbers : array of int (r,)
        The runs of `field` that the starts belong to.
    """
    k = maps[0].size
    lifting = lifting_of(field, maps, constants, numbers)
    if (
        not isinstance(maps[0], QuadraticLift)
        and isinstance(field, QuadraticField)
        and len(maps) * len(constants) * k * (k + 1) + len(maps) * k**3 <= SEARCH.most_numbers
        and _tabled_work(k) <= lifting.step_work()
    ):
        return TabledField(field, maps, constants)
    return lifting


def lifting_of(field: VectorField, maps: Sequence[Affine], constants: Array, numbers: Indices) -> LiftedField:
    """The reduced fields through their lifted points, which they can tell."""
    curved = [one for one in maps if isinstance(one, QuadraticLift)]
    if curved:
        return QuadraticLiftField(field, curved, constants, numbers)
    return LiftedField(field, maps, constants, numbers)


@dataclass(frozen=True, slots=True)
class _Places:
    run: Indices
    numbers: Indices
    offset: Array
    matrix: Array
    blocks: tuple[tuple[int, slice], ...]


class LiftedField:
    """Through the lifted point: rates L f(x̂), Jacobian L J(x̂) L̄; the clock, if there is one, is carried along."""

    def __init__(self, field: VectorField, maps: Sequence[Affine], constants: Array, numbers: Indices) -> None:
        self._field = field
        timed = int(field.timed)
        self.size = maps[0].size + timed
        self.timed = field.timed
        self._starts = len(constants)
        self._numbers = numbers
        self._matrix = np.stack([_with_clock(m.matrix, timed) for m in maps])
        self._lift = np.stack([_with_clock(m.lift, timed) for m in maps])
        offsets = np.stack([constants @ m.offset.T for m in maps])
        self._offset = np.concatenate([offsets, np.zeros((*offsets.shape[:2], timed))], axis=2)
        self._now: _Places | None = None

    def tables(self) -> Tables | None:
        """For the compiled engine."""
        full = compiled.tables_of(self._field)
        return compiled.lifted_tables(full, self._matrix, self._lift, self._offset, self._numbers)

    def followed(self, steps: int) -> None:
        """So many steps were made with its tables, and with those of the full field."""
        if isinstance(self._field, compiled.Tabulated):
            self._field.followed(steps)

    def lifted(self, y: Array, run: Indices) -> Array:
        """x̂ of each point, (k, n)."""
        now = self._places(run)
        out = now.offset.copy()
        for c, part in now.blocks:
            out[part] += y[part] @ self._lift[c].T
        return out

    def rates(self, y: Array, run: Indices) -> Array:
        """ẏ at each point."""
        now = self._places(run)
        return self._onto(self._field.rates(self.lifted(y, run), now.numbers), now.blocks)

    def project(self, x: Array, which: Indices) -> Array:
        """L times each point, by the candidate it belongs to, (k, n) to (k, size)."""
        return self._onto(x, tuple(_blocks(which)))

    def _onto(self, x: Array, blocks: Sequence[tuple[int, slice]]) -> Array:
        out = np.empty((len(x), self.size))
        for c, part in blocks:
            out[part] = x[part] @ self._matrix[c].T
        return out

    def jacobians(self, y: Array, run: Indices) -> Array:
        """∂ẏ/∂y at each point."""
        now = self._places(run)
        rows = self._field.left_products(self.lifted(y, run), now.numbers, now.matrix)
        out = np.empty((len(y), self.size, self.size))
        for c, part in now.blocks:
            out[part] = rows[part] @ self._lift[c]
        return out

    def step_work(self) -> float:
        """Elementary operations of six rates and a Jacobian: of the full field, and the products with L and L̄."""
        k, n = self.size, self._field.size
        return self._field.step_work(k) + PRODUCT * (14 * n * k + n * k * k)

    def _places(self, run: Indices) -> _Places:
        """What belongs to these runs; an integrator asks many times for the same ones, by the same array."""
        if self._now is None or self._now.run is not run:
            which, start = np.divmod(run, self._starts)
            blocks = tuple(_blocks(which))
            self._now = _Places(run, self._numbers[start], self._offset[which, start], self._matrix[which], blocks)
        return self._now


def _blocks(which: Indices) -> Iterator[tuple[int, slice]]:
    """Stretches of equal numbers; runs stay in their order, so there are as many as candidates."""
    if not len(which):
        return
    edges = np.flatnonzero(np.diff(which)) + 1
    for low, high in zip([0, *edges.tolist()], [*edges.tolist(), len(which)], strict=True):
        yield int(which[low]), slice(low, high)


def _with_clock(table: Array, timed: int) -> Array:
    if not timed:
        return table
    out = np.zeros((table.shape[0] + 1, table.shape[1] + 1))
    out[:-1, :-1] = table
    out[-1, -1] = 1.0
    return out


class QuadraticLiftField(LiftedField):
    """Through a lifted point of degree two: rates L f(x̂), Jacobian L J(x̂) ∂x̂/∂y."""

    def __init__(self, field: VectorField, maps: Sequence[QuadraticLift], constants: Array, numbers: Indices) -> None:
        plain = [replace(m, offset=m.offset[:, : constants.shape[1]], products=()) for m in maps]
        super().__init__(field, plain, constants, numbers)
        self._states = maps[0].size
        self._factors = maps[0].factors()
        columns = np.stack([m.columns() for m in maps])
        self._columns = np.pad(columns, ((0, 0), (0, int(field.timed)), (0, 0)))
        self._totals = constants[:, 1:]

    def lifted(self, y: Array, run: Indices) -> Array:
        """x̂ of each point, (k, n)."""
        out = super().lifted(y, run)
        left, right = self._factors
        v = self._variables(y, run)
        products = v[:, left] * v[:, right]
        for c, part in self._places(run).blocks:
            out[part] += products[part] @ self._columns[c].T
        return out

    def jacobians(self, y: Array, run: Indices) -> Array:
        """∂ẏ/∂y at each point."""
        now = self._places(run)
        rows = self._field.left_products(self.lifted(y, run), now.numbers, now.matrix)
        slopes = product_slopes(self._variables(y, run), self._factors, self._states)
        out = np.empty((len(y), self.size, self.size))
        for c, part in now.blocks:
            out[part] = rows[part] @ self._lift[c]
            out[part, :, : self._states] += (rows[part] @ self._columns[c]) @ slopes[part]
        return out

    def tables(self) -> Tables | None:
        """For the compiled engine."""
        full = compiled.tables_of(self._field)
        products = self._columns, self._factors, self._totals, self._states
        return compiled.lifted_tables(full, self._matrix, self._lift, self._offset, self._numbers, products)

    def step_work(self) -> float:
        """What a step costs: what it does without products, and those with their slopes."""
        k, n, products = self.size, self._field.size, len(self._factors[0])
        return super().step_work() + PRODUCT * products * (14 * n + k * n + k * k)

    def _variables(self, y: Array, run: Indices) -> Array:
        """Reduced states and totals of each point, (k, states + totals)."""
        return np.concatenate([y[:, : self._states], self._totals[run % self._starts]], axis=1)


def _tabled_work(size: int) -> float:
    """Elementary operations of a step by tables: their cube grows faster than the lifted point and the full field."""
    return PRODUCT * 7 * size**3 + 14 * size * size


@dataclass(frozen=True, slots=True)
class _Chosen:
    run: Indices
    linear: Array
    constant: Array
    blocks: tuple[tuple[int, slice], ...]


class TabledField:
    """Degree two: ẏ = a + My + T(y ⊗ y), with a and M of each run and T of each candidate."""

    def __init__(self, field: QuadraticField, maps: Sequence[Affine], constants: Array) -> None:
        form = field.form
        k, r = maps[0].size, len(constants)
        self.size = k
        self.timed = False
        self._starts = r
        self._square = np.empty((len(maps), k * k, k))
        self._slope = np.empty((len(maps), k, k, k))
        self._constant = np.empty((len(maps) * r, k))
        self._linear = np.empty((len(maps) * r, k, k))
        self._now: _Chosen | None = None
        for i, one in enumerate(maps):
            lq = one.matrix @ form.products
            left, right = one.lift[form.left], one.lift[form.right]
            offset = constants @ one.offset.T
            part = slice(i * r, (i + 1) * r)
            self._constant[part] = form.values(offset) @ one.matrix.T
            linear = one.matrix @ (form.linear @ one.lift)
            if len(form.left):
                a, b = offset[:, None, form.left], offset[:, None, form.right]
                cross = (lq * a) @ right + (lq * b) @ left
                both = left[:, :, None] * right[:, None, :]
                square = (both.reshape(len(left), k * k).T @ lq.T).reshape(k, k, k)
            else:
                cross, square = np.zeros((r, k, k)), np.zeros((k, k, k))
            self._linear[part] = linear + cross
            self._square[i] = square.reshape(k * k, k)
            self._slope[i] = (square + square.transpose(1, 0, 2)).transpose(0, 2, 1)

    def tables(self) -> Tables | None:
        """For the compiled engine."""
        return compiled.candidate_tables(self._starts, self._constant, self._linear, self._square)

    def followed(self, steps: int) -> None:
        """So many steps were made with its tables: they are those of many candidates, and no code is made for them."""

    def rates(self, y: Array, run: Indices) -> Array:
        """ẏ at each point."""
        now = self._chosen(run)
        pairs = (y[:, :, None] * y[:, None, :]).reshape(len(y), -1)
        out = (now.linear @ y[:, :, None])[:, :, 0] + now.constant
        for c, part in now.blocks:
            out[part] += pairs[part] @ self._square[c]
        return np.asarray(out)

    def jacobians(self, y: Array, run: Indices) -> Array:
        """∂ẏ/∂y at each point."""
        k = self.size
        now = self._chosen(run)
        # Σ_i y_i (T_ij + T_ji): slope is (i, component, j)
        out = now.linear.copy()
        for c, part in now.blocks:
            out[part] += (y[part] @ self._slope[c].reshape(k, k * k)).reshape(-1, k, k)
        return out

    def step_work(self) -> float:
        """Elementary operations of six rates and a Jacobian."""
        return _tabled_work(self.size)

    def _chosen(self, run: Indices) -> _Chosen:
        """The tables of these runs; an integrator asks many times for the same ones, by the same array."""
        if self._now is None or self._now.run is not run:
            blocks = tuple(_blocks(run // self._starts))
            self._now = _Chosen(run, self._linear[run], self._constant[run], blocks)
        return self._now


# -- Candidates of each size, ranked ---------------------------------------------------------------


Reset = Callable[[Array, Indices], Array]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How candidates are compared.

    Attributes
    ----------
    most_numbers : int
        In the tables of all candidates of one size (320 MB); beyond, they go through the full program.
    steps : int
        Most steps of a run of a candidate where those of the original were not counted.
    least_steps : int
        So many steps any candidate may take.
    patience : float
        Times the steps that the original would need: a reduction that asks for more is of no use.
    same : float
        Relative distance of two projections that are taken for one: their errors agree to three digits, too.
    relative_tolerance : float
        Of the integration of candidates; as exact as 1e-7 in the sizes that were found, with 1.6 times fewer steps.
    coarse : float
        The same in the first rounds, where only the order counts.
    accuracy : float
        Relative tolerance, times the error that is wanted.
    give_up : float
        A candidate whose observable is off by its own magnitude is not followed further.
    few_runs : int
        Runs of the second round.
    first : int
        Candidates that the first round, on the nominal run, leaves over.
    second : int
        Candidates that the second round leaves over.
    far : float
        Times the wanted error: where all candidates of a size are farther away on the runs of a round, they are not
        followed on more, and refinement would not bring them there.
    integration : float
        Times the tolerance ``coarse``: smaller errors may be those of the integration, and rule out nothing.
    many_states : int
        From that size on fewer candidates are left over: a step grows with the cube of the size, and the
        variants of a large size differ little.
    fewer : int
        By how much fewer.
    large_times : int
        Times of the snapshots of a large system: the decomposition is of a table columns × columns.
    gradient_work : float
        Bounds the runs along which gradients are made, at least three: a few seconds.
    gradient_runs : int
        No more, of however many training runs.
    one_in : int
        Of so many training runs the worst one does not count: what is accepted may be farther off from 1 in 20 of the
        initial values that decide, and the search has to find it.
    """

    most_numbers: int = 40_000_000
    steps: int = 1500
    least_steps: int = 150
    patience: float = 1.5
    same: float = 1e-3
    relative_tolerance: float = 1e-6
    coarse: float = 1e-4
    accuracy: float = 1e-3
    give_up: float = 1.0
    few_runs: int = 4
    first: int = 30
    second: int = 8
    far: float = 20.0
    integration: float = 100.0
    many_states: int = 20
    fewer: int = 4
    large_times: int = 50
    gradient_work: float = 2.5e7
    gradient_runs: int = 25
    one_in: int = 40


SEARCH: Final = SearchSettings()


class Readout:
    """Observables from the pinned components of a reduced state."""

    def __init__(self, problem: ReductionProblem) -> None:
        graph = problem.system.graph
        c = problem.pinned_array()
        self._right = np.linalg.pinv(c) if len(c) else np.zeros((problem.size, 0))
        roots = [o.expression for o in problem.observables]
        self._evaluator = Evaluator(graph, roots, problem.names, problem.system.constant_values)
        points = np.concatenate([np.zeros((1, len(c))), np.eye(len(c)), 2 * np.eye(len(c)), np.ones((1, len(c)))])
        values = self._evaluator.values(0.0, points @ self._right.T)
        self._base, self._matrix = values[0], values[1 : 1 + len(c)] - values[0]
        affine = np.allclose(values[1 + len(c) : 1 + 2 * len(c)] - values[0], 2 * self._matrix, rtol=1e-9, atol=1e-300)
        affine = affine and np.allclose(values[-1] - values[0], self._matrix.sum(axis=0), rtol=1e-9, atol=1e-300)
        self._affine = bool(affine and np.isfinite(values).all() and not graph.depends_on_time(roots))

    @property
    def used(self) -> Indices:
        """Which pinned components the observables depend on, as far as that can be said."""
        return np.flatnonzero(self._matrix.any(axis=1)) if self._affine else np.arange(len(self._matrix))

    @property
    def linear(self) -> tuple[Array, Array] | None:
        """Coefficients of the pinned components, (p, o), and constants, (o,), where the observables are affine."""
        return (self._matrix, self._base) if self._affine else None

    def __call__(self, times: Array, pinned: Array) -> Array:
        """Values of the observables, (k, p) to (k, o), at k times."""
        if self._affine:
            return np.asarray(pinned @ self._matrix + self._base)
        return self._evaluator.values(times, pinned @ self._right.T)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate and its errors over the runs of a sample, (r,); infinite where it failed."""

    map: Affine
    errors: Array

    @property
    def worst(self) -> float:
        """Largest error, of many runs without the few worst ones."""
        return largest_but_few(self.errors)

    @property
    def median(self) -> float:
        """Median error."""
        return float(np.median(self.errors)) if len(self.errors) else 0.0


def largest_but_few(errors: Array) -> float:
    """The largest of the relative errors of runs, (r,), without the worst ones of many; infinite where one failed."""
    if not np.isfinite(errors).all():
        return np.inf
    few = len(errors) // SEARCH.one_in
    return float(np.partition(errors, -1 - few)[-1 - few]) if len(errors) else 0.0


def hardest_first(errors: Array, compared: int) -> Indices:
    """The order of runs by their errors: the nominal one, those that fail, the largest errors.

    The few that do not count among many come behind those on which candidates are compared and refined.

    Parameters
    ----------
    errors : array (r,)
        Relative ones, that of the nominal run first; infinite where a run fails.
    compared : int
        On so many of the first runs candidates are compared and refined.

    Returns
    -------
    ndarray of int (r,)
    """
    order = 1 + np.argsort(-errors[1:], kind="stable")
    failed, others = order[~np.isfinite(errors[order])], order[np.isfinite(errors[order])]
    few = len(errors) // SEARCH.one_in
    place = max(0, compared - 1 - len(failed))
    others = np.concatenate([others[few : few + place], others[:few], others[few + place :]])
    return np.concatenate([[0], failed, others])


def constants_of(totals: Array, scale: Array, starts: Array) -> Array:
    """w = (1, W x(0)/s) of each start, (r, 1 + c)."""
    return np.concatenate([np.ones((len(starts), 1)), (starts / scale) @ totals.T], axis=1)


def measured_errors(
    problem: ReductionProblem,
    readout: Readout,
    sample: Sample,
    maps: Sequence[Affine],
    constants: Array,
    rows: Indices,
    give_up: float = SEARCH.give_up,
    relative: float = SEARCH.relative_tolerance,
    budget: Budget | None = None,
) -> Array:
    """Largest relative error of the observables over [0, T], (candidates, runs); infinite where it is not reached.

    A reduction that asks for far more steps than the original is of no use, and is not followed to the end.
    """
    p = len(problem.pinned)
    times = sample.times
    wanted = [readout(times, path @ problem.pinned_array().T) for path in sample.states[rows]]
    reference = np.stack(wanted)
    size = largest_values(reference, sample.states[rows])
    field = lifted_field(sample.vector_field, maps, constants[rows], sample.numbers[rows])
    starts = np.concatenate([sample.starts[rows] @ m.matrix.T for m in maps])
    magnitude = np.stack([np.abs(starts[i :: len(rows)]).max(axis=0) for i in range(len(rows))]).max(axis=0)
    magnitude[:p] = pinned_magnitudes(sample.states, problem.pinned_array())
    magnitude[p:] = np.maximum(magnitude[p:], 1.0)
    if field.timed:
        starts = at_time_zero(starts, True)
        magnitude = np.append(magnitude, times[-1])
    observer = DeviationObserver(
        times, lambda t, y: readout(t, y[:, :p]), reference, size, np.full(len(maps), give_up), readout.linear
    )
    most = sample.most_steps(relative, SEARCH.steps, SEARCH.least_steps, SEARCH.patience)
    tolerances = StepControl(relative, 1e-2 * relative * magnitude, most, sample.stops)
    resets = reduced_resets(sample, maps, constants[rows], rows)

    def segment(x: Array, grid: Array, alive: Indices, observe: Observer | None) -> Runs:
        return advance(field, x, grid, alive, tolerances, observe, budget)

    done = piecewise(
        segment, starts, times, [time for time, _ in resets], lambda i, x, run: resets[i][1](x, run), observer
    )
    errors = np.full(len(starts), np.inf)
    errors[done.complete] = observer.errors(done.states)[done.complete]
    return errors.reshape(len(maps), len(rows))


def pinned_magnitudes(states: Array, pinned: Array) -> Array:
    """Largest magnitude of each pinned row L along runs, (p,): what absolute tolerances are parts of.

    For a row that is always zero, the largest of the states: no step can be controlled with no tolerance at all.

    Parameters
    ----------
    states : array (r, m, n)
    pinned : array (p, n)
    """
    found = np.abs(states @ pinned.T).max(axis=(0, 1), initial=0.0)
    largest = float(np.abs(states).max(initial=0.0))
    return np.asarray(np.where(found > 0, found, largest if largest > 0 else 1.0))


def reduced_resets(
    sample: Sample, maps: Sequence[Affine], constants: Array, rows: Indices
) -> list[tuple[float, Reset]]:
    """What each reset does to the reduced states: y ← y + L(R(x̂) − x̂)."""
    if not sample.resets:
        return []
    lifting = lifting_of(sample.vector_field, maps, constants, sample.numbers[rows])

    def of(reset: StateReset) -> Reset:
        def reduced(y: Array, run: Indices) -> Array:
            which, start = np.divmod(run, len(rows))
            x = lifting.lifted(y, run)
            moved = reset.new_state.rates(x, sample.numbers[rows][start]) - x
            return np.asarray(y + lifting.project(moved, which))

        return reduced

    return [(reset.time, of(reset)) for reset in sample.resets]


class Search:
    """All sizes from one set of snapshots and gradients."""

    def __init__(
        self,
        problem: ReductionProblem,
        training: Sample,
        totals: Array,
        progress: Callable[[str], None] = lambda _: None,
        wanted: float | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.problem = problem
        self.budget = Budget() if budget is None else budget
        self._progress = progress
        self._wanted = wanted
        self._relative = (
            SEARCH.relative_tolerance
            if wanted is None
            else min(max(SEARCH.accuracy * wanted, SEARCH.relative_tolerance), SEARCH.coarse)
        )
        self.training = training
        self.totals = totals
        self.readout = Readout(problem)
        self.constants = constants_of(totals, training.scale, training.starts)
        progress("gradients")
        self._decompositions = self._decompose()
        self._ranked: dict[int, list[Ranked]] = {}
        self._coarse: dict[int, list[Affine]] = {}  # in the order of the first round

    def _decompose(self) -> list[Decomposition]:
        problem, training = self.problem, self.training
        r, m, n = training.states.shape
        c = problem.pinned_array()
        most = min(r, SEARCH.gradient_runs)
        runs = int(np.clip(SEARCH.gradient_work // (m * max(n, 8) ** 2 * 25), 3, max(3, most))) if n <= MAX_DENSE else 1
        adjoint, _ = gradients(training, c, min(runs, r))
        pinned_size = np.abs(training.states @ c.T).max(axis=(0, 1))
        pinned_size[pinned_size == 0] = 1.0
        adjoint = adjoint / pinned_size[:, None]
        few = training.states
        if n > MAX_DENSE:  # the decomposition is of a table columns × columns: a few times are enough
            few = training.states[:, :: -(-m // SEARCH.large_times)]
            adjoint = adjoint[:, :: -(-m // SEARCH.large_times)]
        own = float(np.linalg.norm(c * training.scale / pinned_size[:, None], axis=1).max(initial=0.0))
        columns = usable_columns(adjoint.transpose(4, 0, 1, 2, 3).reshape(n, -1), training.scale, own)
        states = few.transpose(2, 0, 1).reshape(n, -1)
        constants = np.repeat(self.constants, few.shape[1], axis=0).T
        self.snapshots = Snapshots(states, constants, columns, c, self.totals, training.scale)
        norms = np.linalg.norm(columns * training.scale[:, None], axis=0)
        even = columns / np.maximum(norms, 1e-3 * norms.max(initial=1e-300))
        if n > MAX_DENSE:
            return decompositions(self.snapshots, ["totals" if len(self.totals) else "constant"], {"plain": columns})
        offsets: list[Offset] = ["totals", "fixed-totals", "none"] if len(self.totals) else ["constant", "none"]
        self.budget.add(0)  # not counted, but long: a request to stop is heard before it
        return decompositions(self.snapshots, offsets, {"plain": columns, "even": even})

    def candidates(self, size: int) -> list[Affine]:
        """Every candidate with ``size`` states, scaled so that each component stays within 1 in the training runs."""
        found = []
        alphas, betas = BALANCING.alphas, BALANCING.betas
        if self.problem.size > MAX_DENSE:
            alphas, betas = alphas[:1], betas[:1]
        for one in self._decompositions:
            for alpha in alphas:
                self.budget.add(0)
                for beta in betas:
                    try:
                        candidate = one.candidate(size, alpha, beta)
                    except np.linalg.LinAlgError:
                        continue  # this metric's decomposition does not converge
                    if candidate is not None:
                        found.append(self.normalised(candidate))
        return self._distinct(found)

    def left_out(self, directions: int) -> float:
        """The part of the singular values beyond so many directions beside the pinned rows, where it is least."""
        return min(one.left_out(directions) for one in self._decompositions)

    def _distinct(self, maps: list[Affine]) -> list[Affine]:
        """Without those that project as an earlier one does, to three digits."""
        if self.problem.size > MAX_DENSE:
            return maps
        s = self.training.scale
        kept: list[Affine] = []
        tables = np.empty((len(maps), self.problem.size * (self.problem.size + self.constants.shape[1])))
        for one in maps:
            whole = np.concatenate([one.lift @ (one.matrix * s), one.offset], axis=1) / s[:, None]
            table = whole.ravel()
            size = float(np.linalg.norm(table))
            near = np.linalg.norm(tables[: len(kept)] - table, axis=1) <= SEARCH.same * size
            if not near.any():
                tables[len(kept)] = table
                kept.append(one)
        return kept

    def normalised(self, one: Affine) -> Affine:
        """The same projection with its free components scaled to magnitude 1."""
        p = len(self.problem.pinned)
        size = np.abs(one.matrix[p:] @ self.snapshots.states).max(axis=1, initial=0.0)
        size[size == 0] = 1.0
        return one.rescaled(np.concatenate([np.ones(p), size]))

    def on(self, sample: Sample) -> Search:
        """The same decompositions, with errors measured on other runs."""
        other = copy.copy(self)
        other.training, other.constants = sample, constants_of(self.totals, self.training.scale, sample.starts)
        other._ranked, other._coarse = {}, {}
        return other

    def ranked(self, size: int) -> list[Ranked]:
        """The best candidates with ``size`` states, the best first, with their errors over all training runs.

        Of a size whose candidates are all far from what is wanted, with the errors on the runs that showed it.
        """
        if size not in self._ranked:
            self._progress(f"comparing reductions to {size} states")
            first = self._first_round(self.candidates(size))
            self._coarse[size] = [one.map for one in first]
            self._ranked[size] = first if self._far(first) else self._rank(self._coarse[size])
        return self._ranked[size]

    def entrants(self, size: int, count: int) -> list[Affine]:
        """At most ``count`` candidates of one size for refinement: the best ones over all training runs, then others.

        Each kind of offset in turn: the one that is best before refinement is often not the best after it. Candidates
        that were compared on the nominal run alone follow in that order; where none comes through at all, every so many
        of all.
        """
        found = [one.map for one in self.ranked(size)]
        seen = {id(one) for one in found}
        found += [one for one in self._coarse[size] if id(one) not in seen]
        if not found:
            everything = self.candidates(size)
            return everything[:: max(1, len(everything) // count)][:count]
        kinds: dict[str, int] = {}
        order: list[tuple[int, int]] = []
        for place, one in enumerate(found):
            kind = one.label.partition(",")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
            order.append((kinds[kind], place))
        return [found[place] for _, place in sorted(order)[:count]]

    def errors(
        self,
        maps: Sequence[Affine],
        rows: Indices,
        give_up: float = SEARCH.give_up,
        relative: float | None = None,
    ) -> Array:
        """Errors over some training runs."""
        accuracy = self._relative if relative is None else relative
        return measured_errors(
            self.problem, self.readout, self.training, maps, self.constants, rows, give_up, accuracy, self.budget
        )

    def _far(self, found: list[Ranked]) -> bool:
        """Whether the best one is too far from the wanted error to be of use."""
        if not found or self._wanted is None:
            return False
        return found[0].worst > max(SEARCH.far * self._wanted, SEARCH.integration * SEARCH.coarse)

    def _first_round(self, maps: list[Affine]) -> list[Ranked]:
        """The better ones on the nominal run, coarsely."""
        return self._best(maps, np.arange(1), SEARCH.first // self._share(maps))

    def _rank(self, maps: list[Affine]) -> list[Ranked]:
        """What the first round left over: the better ones on a few runs, the best ones on all."""
        r = len(self.training.states)
        few = self._best(maps, np.arange(min(SEARCH.few_runs, r)), SEARCH.second // self._share(maps))
        if not few or self._far(few):
            return few
        maps = [one.map for one in few]
        errors = self.errors(maps, np.arange(r))
        full = [Ranked(one, row) for one, row in zip(maps, errors, strict=True)]
        return sorted((one for one in full if np.isfinite(one.worst)), key=lambda one: one.worst)

    @staticmethod
    def _share(maps: list[Affine]) -> int:
        """By how much fewer candidates of this size are left over."""
        return 1 if not maps or maps[0].size <= SEARCH.many_states else SEARCH.fewer

    def _best(self, maps: list[Affine], rows: Indices, count: int) -> list[Ranked]:
        """The ``count`` candidates with the smallest worst errors on some runs; none that does not come through."""
        if not maps:
            return []
        errors = self.errors(maps, rows, relative=max(self._relative, SEARCH.coarse))
        order = np.argsort(errors.max(axis=1), kind="stable")[:count].tolist()
        return [Ranked(maps[i], errors[i]) for i in order if np.isfinite(errors[i].max())]


# -- The search for the smallest size that is accurate enough --------------------------------------

# The search for the smallest size that is accurate enough, or the most accurate one up to a size.
#
# What it looks at are *proposals*: reductions with their worst errors on the runs they were made from. Only
# measuring one
# (writing it and following the validation runs) says whether it is good enough. Neither error is monotone in the size.
# All work is counted; when what is allowed is used up, the search ends with the best that was found.


Proposal = tuple[Affine, float]
"""A reduction and its worst training error."""


@dataclass(frozen=True, slots=True)
class SizeSettings:
    """How the search goes from size to size.

    Attributes
    ----------
    most_tried : int
        Proposals of one size that are written and measured.
    worth_a_look : float
        Times the wanted error over the training runs: up to there a proposal is measured.
    failures_in_turn : int
        The error is not monotone in the size: so many sizes in turn may fail.
    near : float
        Times the wanted error: refinement may bring it there.
    promising : float
        Times the wanted error: what refinement mostly makes up for. Sizes that are so near are refined first, the
        smallest one first; of the others the largest one first.
    close : float
        Times the wanted error: where refinement on few runs came so near, more runs mostly do the rest. Sizes that are
        so near, and diverge from nowhere, are learnt again first, the smallest one first; of the others the nearest.
    climb : int
        So many sizes above the one that came nearest are refined next, whatever they look like before: nearest on the
        validation runs, or by refinement on the training runs.
    one_by_one : int
        Sizes from the smallest on that are gone through one by one.
    gap : int
        Sizes between two that were tried: more are halved, not gone through.
    enough : int
        Sizes below the largest one that thorough refinement looks at.
    """

    most_tried: int = 3
    worth_a_look: float = 3.0
    failures_in_turn: int = 2
    near: float = 20.0
    promising: float = 5.0
    close: float = 1.5
    climb: int = 2
    one_by_one: int = 6
    gap: int = 8
    enough: int = 2


SIZES: Final = SizeSettings()


class Measured(Protocol):
    """A reduction that was written and measured on runs it was not made from."""

    @property
    def worst(self) -> float:
        """Worst error there."""
        ...

    def keeps(self, wanted: float) -> bool:
        """Whether it is accepted for this error."""
        ...


M = TypeVar("M", bound=Measured)
M_co = TypeVar("M_co", bound=Measured, covariant=True)


class Proposer(Protocol[M_co]):
    """What the search asks of a model."""

    def proposals(self, size: int) -> Iterator[Proposal]:
        """Reductions of one size as the algorithm makes them, the best first."""
        ...

    def widened(self, size: int) -> bool:
        """Make candidates from more runs from now on, as those of one size do not hold elsewhere; whether there are."""
        ...

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """Refined ones, the best first."""
        ...

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """Refined from more runs, where refinement from the usual ones reached the training error ``near``."""
        ...

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Refined from more runs, more starts, to the end."""
        ...

    def curved(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Those with a lift of degree two."""
        ...

    def closer(self, one: Affine) -> Iterator[Proposal]:
        """The same rows lifted closer to the trajectories, for one that runs into a singularity."""
        ...

    def measured(self, one: Affine, training_worst: float) -> M_co:
        """Write and measure one."""
        ...


@dataclass(frozen=True)
class SizeSearch(Generic[M]):
    """How a search ended.

    Attributes
    ----------
    best : M or None
        What was found, or what came closest.
    accepted : bool
        Whether it is what was asked for.
    used_up : bool
        Whether the search ended because the work that was allowed was used up.
    """

    best: M | None
    accepted: bool
    used_up: bool = False


class _Pick(Generic[M]):
    """The last proposal that was accurate enough on the validation runs, else the best of the others."""

    def __init__(self, proposer: Proposer[M], wanted: float) -> None:
        self.wanted = wanted
        self.best: M | None = None
        self.accepted = False
        self.size: int | None = None  # the smallest one that was accepted
        self.seen: dict[int, float] = {}
        self.measured: dict[int, float] = {}  # the smallest validation error of a size
        self._proposer = proposer
        self._spare: Proposal | None = None  # the best by the training runs, for when none was measured
        self.latest: dict[int, float] = {}  # the validation error of what was measured last of a size
        self._pending: tuple[Proposal, int] | None = None  # what is being measured, and its size

    def accepts(self, proposals: Iterable[Proposal], size: int, *, remembered: bool = False) -> bool:
        """Whether one of the proposals, which come the best first, is accurate enough: it becomes the best.

        The training error of the first one is remembered in ``seen`` where that is asked for.
        """
        rescued = False
        for count, (one, worst) in enumerate(proposals):
            if remembered:
                self.seen.setdefault(size, worst)
            if np.isfinite(worst) and (self._spare is None or worst < self._spare[1]):
                self._spare = (one, worst)
            if worst > SIZES.worth_a_look * self.wanted:
                return False
            self._pending = (one, worst), size  # the work may end there
            tried = self._proposer.measured(one, worst)
            self._pending = None
            if self._takes(tried, size):
                return True
            if not rescued and not np.isfinite(tried.worst):
                rescued = True  # the others of this size differ little
                for other, its_worst in self._proposer.closer(one):
                    if its_worst <= SIZES.worth_a_look * self.wanted:
                        if self._takes(self._proposer.measured(other, its_worst), size):
                            return True
            if count + 1 >= SIZES.most_tried or worst > self.wanted:
                return False
        return False

    def _takes(self, tried: M, size: int) -> bool:
        """Whether a measured one is accepted; otherwise it is remembered where it comes closest."""
        if tried.keeps(self.wanted):
            self.best, self.accepted = tried, True
            self.size = size if self.size is None else min(size, self.size)
            return True
        self.latest[size] = tried.worst
        self.measured[size] = min(tried.worst, self.measured.get(size, np.inf))
        if not self.accepted and (self.best is None or tried.worst < self.best.worst):
            self.best = tried  # what was accepted stays, even where its worst error is the larger one
        return False

    def better(self, proposals: Iterable[Proposal]) -> None:
        """Take the first proposal instead of the accepted one if it is more accurate."""
        one = next(iter(proposals), None)
        if one is None or self.best is None:
            return
        tried = self._proposer.measured(*one)
        if tried.keeps(self.wanted) and tried.worst < self.best.worst:
            self.best = tried

    def settle(self, proposer: Proposer[M]) -> None:
        """Measure what was being measured when the work was used up."""
        if self._pending is None:
            return
        proposal, size = self._pending
        if self.size is None or size < self.size:
            self._takes(proposer.measured(*proposal), size)
        self._pending = None

    def found(self, proposer: Proposer[M], used_up: bool) -> SizeSearch[M]:
        """How it ended; ``proposer`` measures what was learnt last, and what else was never measured."""
        self.settle(proposer)
        if self.best is None and self._spare is not None:
            self.best = proposer.measured(*self._spare)
        return SizeSearch(self.best, self.accepted, used_up)


def first_within(proposer: Proposer[M], last: Proposer[M], wanted: float, least: int, most: int) -> SizeSearch[M]:
    """The first size from below that is accurate enough, every size tried in turn.

    Parameters
    ----------
    proposer : Proposer
        Its work is limited.
    last : Proposer
        The same one with enough work left to measure a single reduction, for the best of those that were not measured.
    wanted : float
        Largest error on the validation runs.
    least, most : int
        Sizes.
    """
    pick = _Pick(proposer, wanted)
    used_up = False
    try:
        for size in range(least, most + 1):
            if pick.accepts(proposer.proposals(size), size):
                break
    except WorkLimitError:
        used_up = True
    return pick.found(last, used_up)


def smallest_within(
    proposer: Proposer[M],
    last: Proposer[M],
    wanted: float,
    least: int,
    most: int,
    refine: Callable[[], Proposer[M]] | None = None,
    rest: Callable[[], None] | None = None,
    curved: int = 1,
    known: Sequence[int] = (),
    upwards: Callable[[], None] | None = None,
) -> SizeSearch[M]:
    """The smallest size that is accurate enough, with refinement where the algorithm alone comes near.

    First by the algorithm alone, from more runs where what it makes of few does not hold for others; then refined on
    few runs at the smaller sizes that come near, and downwards, size by size, until two in turn fail; then on more runs
    where that came near, which takes many times as long, and downwards again from what that reaches; then with a lift
    of degree two below that.

    Parameters
    ----------
    proposer, last, wanted, least, most
        As in :func:`first_within`.
    refine : callable, optional
        Gives the same one with more work, for thorough refinement: that begins where the search would end, so that it
        cannot do worse.
    rest : callable, optional
        Frees the part of the work that is kept for refinement; without it there is no such part.
    curved : int
        So many sizes below what was found with affine lifts are tried with lifts of degree two, until one fails.
    known : sequence of int
        Sizes that are tried in any case, before larger ones.
    upwards : callable, optional
        Frees part of what ``rest`` frees, for the sizes that have not been tried yet where none was accepted.
    """
    search = _Descent(proposer, wanted, least, most, known)
    used_up = False
    try:
        try:
            search.plain()
            search.widen()
        except WorkLimitError:
            if rest is None:
                raise
            if upwards is not None and not search.accepted:
                upwards()
                with suppress(WorkLimitError):
                    search.settle(proposer)
                    search.upwards()
        if rest is not None:
            rest()
        search.settle(proposer)
        search.descend()
        if refine is None:
            search.curves(curved)
    except WorkLimitError:
        used_up = True
    if refine is not None:
        try:
            search.go_on(refine())
            search.curves(curved)
        except WorkLimitError:
            used_up = True
    return search.found(last, used_up)


class _Descent(_Pick[M]):
    def __init__(self, proposer: Proposer[M], wanted: float, least: int, most: int, known: Sequence[int] = ()) -> None:
        super().__init__(proposer, wanted)
        self._least, self._most = least, most
        # of sizes that refinement did not do for: the training error, and that on the validation runs
        self._refined: dict[int, tuple[float, float]] = {}
        self._failed: set[int] = set()  # by the present kind of refinement
        self._untried = sorted({*sizes(least, most), *(size for size in known if least <= size <= most)})

    def go_on(self, proposer: Proposer[M]) -> None:
        """Thorough refinement at the sizes below what was found; at that size itself, for its accuracy."""
        self.settle(proposer)
        self._proposer = proposer
        before = self.size
        self._failed = set()
        self.downwards(lambda size: self.accepts(proposer.thorough(size, self.wanted), size))
        if before is not None and self.size == before:
            self.better(proposer.thorough(before))

    def curves(self, most: int) -> None:
        """Lifts of degree two below what was found, size by size."""
        top = self._most + 1 if self.size is None else self.size
        for size in range(top - 1, max(self._least, top - most) - 1, -1):
            if not self.accepts(self._proposer.curved(size, self.wanted), size):
                break

    def plain(self) -> None:
        """The algorithm alone: sizes one by one, later in doubling steps whose last gap is filled."""
        below = self._least - 1
        while self._untried:
            size = self._untried.pop(0)
            if self.accepts(self._proposer.proposals(size), size, remembered=True):
                self._fill(below, size)
                return
            below = size

    def widen(self) -> None:
        """Sizes whose candidates do on the runs they were made from, and not elsewhere: made anew from more runs."""
        smaller = [size for size in self.measured if self.size is None or size < self.size]
        only_there = [size for size in smaller if self.seen.get(size, np.inf) <= self.wanted < self.measured[size]]
        if not only_there or not self._proposer.widened(min(only_there)):
            return
        for size in sorted(only_there):
            before = self.seen.pop(size)  # whatever the new ones are like, refinement may begin here
            try:
                if self.accepts(self._proposer.proposals(size), size, remembered=True):
                    return
            finally:
                self.seen[size] = min(before, self.seen.get(size, before))

    def upwards(self) -> None:
        """The sizes that were left out, until one is accepted."""
        while self._untried and not self.accepted:
            size = self._untried.pop(0)
            if self.accepts(self._proposer.proposals(size), size, remembered=True):
                return

    def _fill(self, below: int, above: int) -> None:
        """Sizes between one that failed and one that was accepted: halved while there are many, then one by one."""
        while above - below - 1 > SIZES.gap:
            middle = (below + above) // 2
            if self.accepts(self._proposer.proposals(middle), middle, remembered=True):
                above = middle
            else:
                below = middle
        for size in range(below + 1, above):
            if self.accepts(self._proposer.proposals(size), size, remembered=True):
                return

    def downwards(self, attempt: _Attempt) -> None:
        """Sizes that came near, the promising ones from below, and from each that does down, until two in turn fail.

        Where nothing was found, those come first that do best on the validation runs: by the training runs, what
        diverges elsewhere may look best. Where none of them does, sizes above the one that came nearest; from there, or
        from what was found before, down.
        """
        top, failed = self._most + 1 if self.size is None else self.size, self._failed
        near = [size for size, worst in sorted(self.seen.items()) if size < top and worst <= SIZES.near * self.wanted]
        if self.size is None:
            near.sort(key=lambda size: (self.measured.get(size, np.inf), self.seen[size]))
        else:
            promising = SIZES.promising * self.wanted
            near.sort(key=lambda size: (0, size) if self.seen[size] <= promising else (1, -size))
        for size in near:
            if size in failed or (self.size is not None and size >= self.size):
                continue
            if attempt(size):
                self._below(attempt)
            else:
                failed.add(size)
        if self.size is None or self.size == top:
            for size in self._above_closest(top):
                if size not in failed and attempt(size):
                    break
                failed.add(size)
            self._below(attempt)

    def _below(self, attempt: _Attempt) -> None:
        """From what was found down, until two in turn fail."""
        failures, failed = 0, self._failed
        start = self._most if self.size is None else self.size - 1
        for size in range(start, self._least - 1, -1):
            if size not in failed and attempt(size):
                failures = 0
                continue
            failed.add(size)
            failures += 1
            if failures >= SIZES.failures_in_turn:
                break

    def _above_closest(self, top: int) -> range:
        """Sizes next to the one that came closest: on the validation runs, or refined on the training runs."""
        close = {size: worst for size, worst in self.measured.items() if worst <= SIZES.worth_a_look * self.wanted}
        if not close:
            reached = SIZES.promising * self.wanted
            close = {size: error for size, (error, _) in self._refined.items() if error <= reached}
        if not close:
            return range(0)
        closest = min(close, key=lambda size: (close[size], size))
        return range(closest + 1, min(closest + 1 + SIZES.climb, top))

    def descend(self) -> None:
        """Refinement on few runs, downwards; then on more runs, and downwards again from what that reaches."""
        self.downwards(self._refines)
        while self._relearns():
            self._below(self._refines)

    def _refines(self, size: int) -> bool:
        """Whether refinement on few runs reaches the wanted error; otherwise how near it came is remembered."""
        improved = self._proposer.improved(size, self.wanted)
        if self.accepts(improved, size):
            return True
        if improved:
            self._refined[size] = improved[0][1], self.latest.get(size, np.inf)
        return False

    def _relearns(self) -> bool:
        """Whether one of the sizes that refinement came near at does when it learns from more runs."""

        def order(one: tuple[int, float, float]) -> tuple[int, float]:
            size, error, elsewhere = one
            return (0, size) if error <= SIZES.close * self.wanted and np.isfinite(elsewhere) else (1, error)

        smaller = [(size, *errors) for size, errors in self._refined.items() if self.size is None or size < self.size]
        for size, error, _ in sorted(smaller, key=order):
            del self._refined[size]
            if any(self.accepts([one], size) for one in self._proposer.relearned(size, self.wanted, error)):
                return True
        return False


class _Attempt(Protocol):
    def __call__(self, size: int, /) -> bool: ...


def sizes(least: int, most: int) -> list[int]:
    """The first sizes one by one, then in doubling steps, ``most`` in any case."""
    found = list(range(least, min(least + SIZES.one_by_one, most + 1)))
    step = 2
    while found and found[-1] < most:
        found.append(min(found[-1] + step, most))
        step *= 2
    return found


def best_up_to(
    proposer: Proposer[M],
    last: Proposer[M],
    least: int,
    most: int,
    *,
    every_size: bool = True,
    polish: bool = True,
    curved: bool = False,
    refine: Callable[[], Proposer[M]] | None = None,
) -> SizeSearch[M]:
    """The most accurate reduction with at most ``most`` states, by the training runs.

    Parameters
    ----------
    proposer, last, least, most
        As in :func:`first_within`.
    every_size : bool
        Look at smaller sizes than ``most`` too.
    polish : bool
        Refine at the size ``most``.
    curved : bool
        Try lifts of degree two there, too.
    refine : callable, optional
        Gives the same one with more work, to refine thoroughly at the largest sizes; what comes of it is taken if it
        is the more accurate one on the validation runs.
    """
    used_up = False
    proposed: list[Proposal] = []
    try:
        for size in range(most, least - 1, -1) if every_size else (most,):
            extra = proposer.improved(size) if polish and size == most else []
            extra += list(proposer.curved(size)) if curved and size == most else []
            proposed += [*extra, *_first(proposer.proposals(size))]
    except WorkLimitError:
        used_up = True
    found = None
    # by the training runs, what diverges elsewhere may look best
    finite = [one for one in proposed if np.isfinite(one[1])]
    for proposal in sorted(finite, key=lambda one: one[1])[: SIZES.most_tried]:
        tried = last.measured(*proposal)
        found = tried if found is None or tried.worst < found.worst else found
        if np.isfinite(found.worst):
            break
    if refine is not None:
        thorough = refine()
        try:
            for size in range(most, max(least, most - SIZES.enough) - 1, -1):
                for one in _first(thorough.thorough(size)):
                    tried = thorough.measured(*one)
                    found = tried if found is None or tried.worst < found.worst else found
        except WorkLimitError:
            used_up = True
    return SizeSearch(found, found is not None, used_up)


def _first(proposals: Iterable[Proposal]) -> list[Proposal]:
    one = next(iter(proposals), None)
    return [] if one is None else [one]
