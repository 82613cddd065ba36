"""Candidates of each size, ranked by their worst error over the training runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.integrate import Jump, StepControl
from sbmlump.integrate.rosenbrock import BatchField, Watch, advance
from sbmlump.integrate.solve import MAX_DENSE
from sbmlump.integrate.work import Meter
from sbmlump.lumping.approximate_problem import ReductionProblem
from sbmlump.lumping.balanced import ALPHAS, BETAS, Affine, Decomposition, Offset, Snapshots
from sbmlump.lumping.projected import LiftedField, lifted_field
from sbmlump.lumping.training import Sample, gradients

__all__ = ["Ranked", "Readout", "Reset", "Search", "constants_of", "measured_errors", "reduced_jumps"]

Array = NDArray[np.float64]
Reset = Callable[[Array, NDArray[np.int64]], Array]
_STEPS: Final = 1500
_LEAST_STEPS: Final = 150
_PATIENCE: Final = 1.5  # times the steps that the original would need
_SAME: Final = 1e-3
_RELATIVE: Final = 1e-6
_COARSE: Final = 1e-4
_ACCURACY: Final = 1e-3  # of the integration, times the error that is wanted
_GIVE_UP: Final = 1.0  # a candidate whose observable is off by its own magnitude is not followed further
_FIRST_STARTS: Final = 4
_FIRST: Final = 30
_SECOND: Final = 8
_MANY_STATES: Final = 20  # a step grows with the cube of the size, and the variants of a large size differ little
_FEWER: Final = 4
_LARGE_TIMES: Final = 50
_MAX_GRADIENT_WORK: Final = 2.5e7


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
        """Largest error."""
        return float(self.errors.max(initial=0.0))

    @property
    def median(self) -> float:
        """Median error."""
        return float(np.median(self.errors)) if len(self.errors) else 0.0


def constants_of(totals: Array, scale: Array, starts: Array) -> Array:
    """w = (1, W x(0)/s) of each start, (r, 1 + c)."""
    return np.concatenate([np.ones((len(starts), 1)), (starts / scale) @ totals.T], axis=1)


def measured_errors(
    problem: ReductionProblem,
    readout: Readout,
    sample: Sample,
    maps: Sequence[Affine],
    constants: Array,
    rows: NDArray[np.int64],
    give_up: float = _GIVE_UP,
    relative: float = _RELATIVE,
    meter: Meter | None = None,
) -> Array:
    """Largest relative error of the observables over [0, T], (candidates, runs); infinite where it is not reached.

    A reduction that asks for far more steps than the original is of no use, and is not followed to the end.
    """
    p = len(problem.pinned)
    times = sample.times
    wanted = [readout(times, path @ problem.pinned_array().T) for path in sample.states[rows]]
    reference = np.stack(wanted)
    size = np.maximum(np.abs(reference).max(axis=1), 1e-12 * max(float(np.abs(reference).max(initial=0.0)), 1e-300))
    field = lifted_field(sample.field, maps, constants[rows], sample.numbers[rows])
    starts = np.concatenate([sample.starts[rows] @ m.matrix.T for m in maps])
    magnitude = np.stack([np.abs(starts[i :: len(rows)]).max(axis=0) for i in range(len(rows))]).max(axis=0)
    pinned_size = np.abs(sample.states @ problem.pinned_array().T).max(axis=(0, 1), initial=0.0)
    magnitude[:p] = pinned_size
    magnitude[p:] = np.maximum(magnitude[p:], 1.0)
    if field.timed:
        starts = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1)
        magnitude = np.append(magnitude, times[-1])
    errors = np.zeros(len(starts))

    def watch(places: NDArray[np.int64], index: NDArray[np.int64], values: Array) -> NDArray[np.bool_]:
        start = places % len(rows)
        with np.errstate(all="ignore"):
            off = np.abs(readout(times[index], values[:, :p]) - reference[start, index]) / size[start]
        now = np.nan_to_num(off.max(axis=1, initial=0.0), nan=np.inf)
        errors[places] = np.maximum(errors[places], now)
        return np.asarray(now > give_up)

    # the steps of a method of order four grow with the fourth root of the accuracy
    fair = sample.steps * (sample.relative / relative) ** 0.25
    most = int(min(_STEPS, max(_LEAST_STEPS, _PATIENCE * fair))) if sample.steps else _STEPS
    tolerances = StepControl(relative, 1e-2 * relative * magnitude, most)
    jumps = reduced_jumps(sample, maps, constants[rows], rows)
    done = _advance(field, starts, times, tolerances, watch, jumps, meter)
    errors[~done] = np.inf
    return errors.reshape(len(maps), len(rows))


def _advance(
    field: BatchField,
    starts: Array,
    times: Array,
    tolerances: StepControl,
    watch: Watch,
    jumps: Sequence[tuple[float, Reset]],
    meter: Meter | None,
) -> NDArray[np.bool_]:
    """Integrate, piecewise if there are jumps; which runs came through."""
    if not jumps:
        return advance(field, starts, times, None, tolerances, watch, meter).complete
    r = len(starts)
    alive = np.arange(r)
    x, now = starts, float(times[0])
    for time, reset in [*jumps, (float(times[-1]), None)]:
        wanted = np.flatnonzero((times > now) & ((times < time) | ((times == time) & (reset is None))))
        grid = np.concatenate([[now], times[wanted], [] if len(wanted) and times[wanted[-1]] >= time else [time]])
        if time > now:
            part = advance(field, x, grid, alive, tolerances, _shifted(watch, alive, wanted), meter)
            x = part.states[part.complete, -1]
            alive = alive[part.complete]
        now = time
        if reset is not None and len(alive):
            x = reset(x, alive)
            at = np.flatnonzero(times == time)
            if len(at):
                watch(alive, np.full(len(alive), at[0]), x)
    complete = np.zeros(r, dtype=np.bool_)
    complete[alive] = True
    return complete


def _shifted(watch: Watch, alive: NDArray[np.int64], wanted: NDArray[np.int64]) -> Watch:
    """``watch`` in terms of the runs and output times of one piece."""

    def asked(places: NDArray[np.int64], index: NDArray[np.int64], values: Array) -> NDArray[np.bool_]:
        inside = index - 1 < len(wanted)
        bad = np.zeros(len(places), dtype=np.bool_)
        if inside.any():
            bad[inside] = watch(alive[places[inside]], wanted[index[inside] - 1], values[inside])
        return bad

    return asked


def reduced_jumps(
    sample: Sample, maps: Sequence[Affine], constants: Array, rows: NDArray[np.int64]
) -> list[tuple[float, Reset]]:
    """What each jump does to the reduced states: y ← y + L(R(x̂) − x̂)."""
    if not sample.jumps:
        return []
    lifting = LiftedField(sample.field, maps, constants, sample.numbers[rows])

    def of(jump: Jump) -> Reset:
        def reset(y: Array, run: NDArray[np.int64]) -> Array:
            which, start = np.divmod(run, len(rows))
            x = lifting.lifted(y, run)
            moved = jump.reset.rates(x, sample.numbers[rows][start]) - x
            return np.asarray(y + lifting.project(moved, which))

        return reset

    return [(jump.time, of(jump)) for jump in sample.jumps]


class Search:
    """All sizes from one set of snapshots and gradients."""

    def __init__(
        self,
        problem: ReductionProblem,
        training: Sample,
        totals: Array,
        progress: Callable[[str], None] = lambda _: None,
        wanted: float | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.problem = problem
        self.meter = Meter() if meter is None else meter
        self._progress = progress
        self._relative = _RELATIVE if wanted is None else min(max(_ACCURACY * wanted, _RELATIVE), _COARSE)
        self.training = training
        self.totals = totals
        self.readout = Readout(problem)
        self.constants = constants_of(totals, training.scale, training.starts)
        progress("gradients")
        self._decompositions = self._decompose()
        self._ranked: dict[int, list[Ranked]] = {}

    def _decompose(self) -> list[Decomposition]:
        problem, training = self.problem, self.training
        r, m, n = training.states.shape
        c = problem.pinned_array()
        runs = int(np.clip(_MAX_GRADIENT_WORK // (m * max(n, 8) ** 2 * 25), 3, r)) if n <= MAX_DENSE else 1
        adjoint, _ = gradients(training, c, min(runs, r))
        pinned_size = np.abs(training.states @ c.T).max(axis=(0, 1))
        pinned_size[pinned_size == 0] = 1.0
        adjoint = adjoint / pinned_size[:, None]
        few = training.states
        if n > MAX_DENSE:  # the decomposition is of a table columns × columns: a few times are enough
            few = training.states[:, :: -(-m // _LARGE_TIMES)]
            adjoint = adjoint[:, :: -(-m // _LARGE_TIMES)]
        columns = adjoint.transpose(4, 0, 1, 2, 3).reshape(n, -1)
        states = few.transpose(2, 0, 1).reshape(n, -1)
        constants = np.repeat(self.constants, few.shape[1], axis=0).T
        self.snapshots = Snapshots(states, constants, columns, c, self.totals, training.scale)
        norms = np.linalg.norm(columns * training.scale[:, None], axis=0)
        even = columns / np.maximum(norms, 1e-3 * norms.max(initial=1e-300))
        weightings: list[tuple[str, Array]] = [("plain", columns), ("even", even)]
        if n > MAX_DENSE:
            return [Decomposition(self.snapshots, "totals" if len(self.totals) else "constant", columns, "plain")]
        offsets: list[Offset] = ["totals", "fixed-totals", "none"] if len(self.totals) else ["constant", "none"]
        return [Decomposition(self.snapshots, offset, g, name) for offset in offsets for name, g in weightings]

    def candidates(self, size: int) -> list[Affine]:
        """Every candidate with ``size`` states, scaled so that each component stays within 1 in the training runs."""
        found = []
        alphas, betas = (ALPHAS, BETAS) if self.problem.size <= MAX_DENSE else (ALPHAS[:1], BETAS[:1])
        for one in self._decompositions:
            for alpha in alphas:
                for beta in betas:
                    candidate = one.candidate(size, alpha, beta)
                    if candidate is not None:
                        found.append(self.normalised(candidate))
        return self._distinct(found)

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
            near = np.linalg.norm(tables[: len(kept)] - table, axis=1) <= _SAME * size
            if not near.any():
                tables[len(kept)] = table
                kept.append(one)
        return kept

    def normalised(self, one: Affine) -> Affine:
        """The same projection with its free components scaled to magnitude 1."""
        p = len(self.problem.pinned)
        size = np.abs(one.matrix[p:] @ self.snapshots.states).max(axis=1, initial=0.0)
        size[size == 0] = 1.0
        matrix, lift = one.matrix.copy(), one.lift.copy()
        matrix[p:] /= size[:, None]
        lift[:, p:] *= size
        return replace(one, matrix=matrix, lift=lift)

    def on(self, sample: Sample) -> Search:
        """The same decompositions, with errors measured on other runs."""
        other = copy.copy(self)
        other.training, other.constants = sample, constants_of(self.totals, self.training.scale, sample.starts)
        other._ranked = {}
        return other

    def ranked(self, size: int) -> list[Ranked]:
        """The best candidates with ``size`` states, the best first, with their errors over all training runs."""
        if size not in self._ranked:
            self._progress(f"comparing reductions to {size} states")
            self._ranked[size] = self._rank(self.candidates(size))
        return self._ranked[size]

    def errors(
        self, maps: Sequence[Affine], rows: NDArray[np.int64], give_up: float = _GIVE_UP, relative: float | None = None
    ) -> Array:
        """Errors over some training runs."""
        accuracy = self._relative if relative is None else relative
        return measured_errors(
            self.problem, self.readout, self.training, maps, self.constants, rows, give_up, accuracy, self.meter
        )

    def _rank(self, maps: list[Affine]) -> list[Ranked]:
        """In three rounds: all on the nominal run and coarsely, the better ones on a few, the best ones on all."""
        r = len(self.training.states)
        share = 1 if not maps or maps[0].size <= _MANY_STATES else _FEWER
        maps = self._best(maps, np.arange(1), _FIRST // share)
        maps = self._best(maps, np.arange(min(_FIRST_STARTS, r)), _SECOND // share)
        if not maps:
            return []
        errors = self.errors(maps, np.arange(r))
        full = [Ranked(one, row) for one, row in zip(maps, errors, strict=True)]
        return sorted((one for one in full if np.isfinite(one.worst)), key=lambda one: one.worst)

    def _best(self, maps: list[Affine], rows: NDArray[np.int64], count: int) -> list[Affine]:
        """The ``count`` candidates with the smallest worst errors on some runs; none that does not come through."""
        if not maps:
            return []
        worst = self.errors(maps, rows, relative=max(self._relative, _COARSE)).max(axis=1)
        return [maps[i] for i in np.argsort(worst, kind="stable")[:count].tolist() if np.isfinite(worst[i])]
