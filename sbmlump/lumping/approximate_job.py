"""One approximate reduction: its runs, its candidates, and their way to a written and validated model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import LimitError, Reason, UsageError
from sbmlump.integrate import Tolerances
from sbmlump.integrate.horizon import choose_span
from sbmlump.integrate.rosenbrock import advance
from sbmlump.lumping.affine import Written, write_projection
from sbmlump.lumping.approximate_options import ApproximateOptions, UnreachableError
from sbmlump.lumping.approximate_problem import Problem, pose
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.epsilon_partition import Kind, bisect_epsilon, block_projection, epsilon_partition
from sbmlump.lumping.estimate import Bound, closest_lift, deviation, error_bound, estimate_errors
from sbmlump.lumping.krylov import (
    JacobianSpan,
    approximate_rows,
    bisect_tolerance,
    jacobian_span,
    pinned_projection,
)
from sbmlump.lumping.projected import lifted_field
from sbmlump.lumping.refine import refine
from sbmlump.lumping.search import Readout, Search, constants_of, measured_errors
from sbmlump.lumping.training import Ensemble, Sample, conserved_totals, run_ensemble
from sbmlump.lumping.validate import Validation, validate
from sbmlump.reduced import ErrorEstimate, Observable, ReducedSystem
from sbmlump.system import OdeSystem

__all__ = ["Job", "Try", "krylov_bound"]

Array = NDArray[np.float64]
Progress = Callable[[str], None]
_VALIDATION: Final = 10
_LARGE: Final = 300
_LARGE_ENSEMBLE: Final = 6
_REFINING: Final = 3  # refinement learns from so many times the ensemble: it has far more freedom than the selection
_TRIED: Final = 3
_LIFTED_RUNS: Final = 10
_WORTH_A_LOOK: Final = 3.0  # times the wanted error over the training runs
_POLISHING_STEPS: Final = 12  # that even an unrefined reduction gets: they cost a few times as much as its selection
_REFINING_STEPS: Final = 25
_GOOD: Final = 0.3  # times the wanted error: refinement stops there
_PATIENCE: Final = 2  # the error is not monotone in the size: so many sizes in turn may fail
_NEAR: Final = 10.0  # times the wanted error: refinement may bring it there
_ONE_BY_ONE: Final = 6
_MANY: Final = 1_000
_EVERY: Final = 15  # where no candidate comes through the runs, refinement starts from one in so many
_HOPELESS: Final = 30.0  # times the wanted error: another start will not bring it there either
_DEFAULT_ERROR: Final = 0.01


@dataclass(frozen=True)
class Try:
    """A reduction that was written and validated."""

    map: Affine
    written: Written
    validation: Validation
    training_worst: float


class _Pick:
    """The first proposal that is accurate enough on the validation runs, and the best of the others."""

    def __init__(self, job: Job, wanted: float) -> None:
        self.wanted = wanted
        self.best: Try | None = None
        self.seen: dict[int, float] = {}
        self._job = job
        self._spare: tuple[Affine, float] | None = None  # the best that was not worth a validation

    def accepts(self, proposals: Iterator[tuple[Affine, float]], size: int | None = None) -> bool:
        """Whether one of the proposals, which come the best first, is accurate enough: it becomes the best.

        The training error of the first one is remembered where the size is given.
        """
        for count, (one, worst) in enumerate(proposals):
            if size is not None:
                self.seen.setdefault(size, worst)
            if worst > _WORTH_A_LOOK * self.wanted:
                self._spare = (one, worst) if self._spare is None or worst < self._spare[1] else self._spare
                return False
            tried = self._job.write(one, worst)
            if tried.validation.worst <= self.wanted:
                self.best = tried
                return True
            if self.best is None or tried.validation.worst < self.best.validation.worst:
                self.best = tried
            if count + 1 >= _TRIED or worst > self.wanted:
                return False
        return False

    def best_found(self) -> Try | None:
        """What came closest."""
        if self.best is None and self._spare is not None:
            self.best = self._job.write(*self._spare)
        return self.best


def _sizes(least: int, most: int) -> list[int]:
    """The first sizes one by one, then in doubling steps, ``most`` in any case."""
    found = list(range(least, min(least + _ONE_BY_ONE, most + 1)))
    step = 2
    while found and found[-1] < most:
        found.append(min(found[-1] + step, most))
        step *= 2
    return found


class Job:
    """One model, its runs, and whatever the algorithms need, made when it is asked for."""

    def __init__(
        self, system: OdeSystem, observables: Sequence[Observable], options: ApproximateOptions, progress: Progress
    ) -> None:
        self.options = options
        self.progress = progress
        self.problem: Problem = pose(system, observables)
        if not self.problem.pinned:
            raise UsageError(Reason("constant-observable", "what is observed does not depend on any state"))
        self.until, self.horizon_reason = self._horizon()
        progress("simulating the original")
        count = options.ensemble
        self.large = self.problem.size > _LARGE
        if self.large:
            count = min(count, _LARGE_ENSEMBLE)
        learning = count * (_REFINING if options.refine and not self.large else 1)
        p = options.perturb_parameters
        checks = _VALIDATION if not self.large else 3
        self.training, self.checking = run_ensemble(
            self.problem,
            self.until,
            (Ensemble(learning, options.spread, p), Ensemble(checks, options.spread, p)),
            options.seed,
        )
        self.totals = conserved_totals(self.problem, self.training.scale)
        self.polish = True
        self._search: Search | None = None
        self._span: JacobianSpan | None = None
        self._more: Sample | None = None

    def _horizon(self) -> tuple[float, str]:
        if self.options.until is not None:
            return self.options.until, "as asked for"
        field = self.problem.field()
        start, watched = self.problem.start, self.problem.pinned_array()
        if field.timed:
            start = np.append(start, 0.0)
            watched = np.concatenate([watched, np.zeros((len(watched), 1))], axis=1)
        span = choose_span(field, start, watched, self.problem.jumps(math.inf, field.timed))
        return span.until, span.reason

    @property
    def search(self) -> Search:
        """Snapshots, gradients and decompositions."""
        if self._search is None:
            wanted = self.options.max_error
            if wanted is None and self.options.max_size is None and self.polish:
                wanted = _DEFAULT_ERROR
            self._search = Search(self.problem, self.training, self.totals, self.progress, wanted)
        return self._search

    @property
    def span(self) -> JacobianSpan:
        """Matrices that span the Jacobians (Algorithm 1)."""
        if self._span is None:
            plain = self.problem.field()
            self._span = jacobian_span(plain, self._box(plain.timed), self.options.seed)
        return self._span

    def _box(self, timed: bool) -> Array:
        box = np.where(self.training.scale > 0, self.training.scale, 1.0)
        return np.append(box, self.until) if timed else box

    # -- candidates ----------------------------------------------------------------------------------

    def proposals(self, size: int) -> Iterator[tuple[Affine, float]]:
        """Reductions of one size and their worst training errors, the best first."""
        if self.options.non_negative:
            from sbmlump.lumping.nonnegative import non_negative_projection

            yield from _with_errors(self, non_negative_projection(self.problem, self.training, size, self.options.seed))
        elif self.options.algorithm == "krylov":
            yield from _with_errors(self, self._krylov(size))
        elif self.options.algorithm != "balanced":
            yield from _with_errors(self, self._blocks(size))
        else:
            yield from self._balanced(size)

    def _krylov(self, size: int) -> Affine | None:
        pinned = self.clocked_pinned()
        found = bisect_tolerance(self.span, pinned, size + self._clock)
        return self._from_rows(found.rows, found.tolerance)

    def _blocks(self, size: int) -> Affine:
        """The finest ε-equivalence with at most ``size`` blocks."""
        kind = self._kind()
        pinned, field = self.problem.pinned_array(), self.problem.field()
        blocks, tolerance = bisect_epsilon(field, self.training.scale, pinned, size, kind, seed=self.options.seed)
        return block_projection(blocks, kind, self.problem.start, pinned, tolerance, 1 + len(self.totals))

    def _kind(self) -> Kind:
        return "forward" if self.options.algorithm == "forward-epsilon" else "backward"

    @property
    def _clock(self) -> int:
        """1 where time is a component of the field: its row is pinned and not counted."""
        return int(self.training.field.timed)

    def clocked_pinned(self) -> Array:
        """C with a row for time where time is a component of the field."""
        pinned = self.problem.pinned_array()
        if not self._clock:
            return pinned
        table = np.zeros((len(pinned) + 1, pinned.shape[1] + 1))
        table[:-1, :-1] = pinned
        table[-1, -1] = 1.0
        return table

    def _from_rows(self, rows: Array, tolerance: float) -> Affine:
        """Rows over the states only (time, where there is one, is one row and one column of its own)."""
        p = len(self.problem.pinned)
        if self._clock:
            rows = np.concatenate([rows[:p], rows[p + 1 :]])[:, :-1]
        return pinned_projection(rows, self.problem.pinned_array(), tolerance, 1 + len(self.totals))

    def _balanced(self, size: int) -> Iterator[tuple[Affine, float]]:
        """What the decomposition gives; where one size is asked for, with what refinement makes of it."""
        if self.large:
            yield from ((one, 0.0) for one in self.search.candidates(size))
            return
        found = [(one.map, one.worst) for one in self.search.ranked(size)]
        if self.polish and (self.options.refine or (self.options.max_error is None and size == self.options.max_size)):
            found = sorted([*self._improved(size, None), *found], key=lambda pair: pair[1])
        yield from found

    def _improved(self, size: int, wanted: float | None) -> list[tuple[Affine, float]]:
        """Refined reductions of one size and their worst training errors, the best first.

        Without ``--refine`` only the best candidate is improved, and not to the end.
        """
        search, thorough = self.search, self.options.refine
        ranked = [one.map for one in search.ranked(size)[: _TRIED if thorough else 1]]
        starts = ranked or search.candidates(size)[:: _EVERY if thorough else _MANY][:_TRIED]
        found = []
        for start in starts:
            steps = _REFINING_STEPS if thorough else _POLISHING_STEPS
            better = refine(search, start, steps, _GOOD * (wanted or 0.0), self.progress, wanted)
            worst = float(search.errors([better], np.arange(len(self.training.states))).max())
            if np.isfinite(worst):
                found.append((better, worst))
            if wanted is not None and (worst <= 0.5 * wanted or (ranked and worst > _HOPELESS * wanted)):
                break
        return sorted(found, key=lambda pair: pair[1])

    # -- trying --------------------------------------------------------------------------------------

    def write(self, one: Affine, training_worst: float) -> Try:
        """Write a projection as a system and measure it on the validation runs."""
        self.progress(f"validating {one.size} states")
        written = write_projection(
            self.problem, one, self.totals, self.training.scale, keep_parameters=self.options.perturb_parameters > 0
        )
        validation = validate(self.problem, written.system, written.starts, self.checking)
        return Try(one, written, validation, training_worst)

    def run(self) -> ReducedSystem:
        """What the options ask for."""
        o = self.options
        least = len(self.problem.pinned)
        if o.tolerance is not None:
            return self._at_tolerance(o.tolerance)
        most = min(self.problem.size, o.max_size if o.max_size is not None else self.problem.system.size - 1)
        if o.max_size is not None and least > o.max_size:
            message = f"the observables alone need {least} states; --max-size {o.max_size} is too small"
            raise UsageError(Reason("bad-option", message))
        if o.max_size is not None and o.max_error is None:
            return self.finish(self._best_up_to(least, most))
        wanted = o.max_error if o.max_error is not None else _DEFAULT_ERROR
        return self._smallest_within(wanted, least, most)

    def _at_tolerance(self, tolerance: float) -> ReducedSystem:
        if self.options.algorithm != "krylov":
            pinned, width = self.problem.pinned_array(), 1 + len(self.totals)
            field, kind = self.problem.field(), self._kind()
            blocks = epsilon_partition(field, self.training.scale, pinned, tolerance, kind, seed=self.options.seed)
            return self.finish(
                self.write(block_projection(blocks, kind, self.problem.start, pinned, tolerance, width), math.nan)
            )
        rows = approximate_rows(self.span, self.clocked_pinned(), tolerance)
        assert rows is not None
        return self.finish(self.write(self._from_rows(rows, tolerance), math.nan))

    def _best_up_to(self, least: int, most: int) -> Try:
        """The error is not monotone in the size: the best of all sizes up to the limit, by the training runs."""
        best: tuple[Affine, float] | None = None
        sizes = range(most, least - 1, -1) if not self.large else (most,)
        for size in sizes:
            for one, worst in self.proposals(size):
                if best is None or worst < best[1]:
                    best = (one, worst)
                break
            if self.options.refine and best is not None and np.isfinite(best[1]) and size <= most - 2:
                break
        if best is None:
            raise LimitError(Reason("no-reduction", f"no reduction with at most {most} states comes through the runs"))
        return self.write(*best)

    def _smallest_within(self, wanted: float, least: int, most: int) -> ReducedSystem:
        pick = _Pick(self, wanted)
        if self.large or self.options.algorithm != "balanced" or self.options.non_negative:
            found = next((size for size in range(least, most + 1) if pick.accepts(self.proposals(size))), None)
        else:
            found = self._smallest_balanced(pick, least, most)
        if found is not None:
            assert pick.best is not None
            return self.finish(pick.best)
        best = pick.best_found()
        if best is None:
            raise LimitError(Reason("no-reduction", f"no reduction with at most {most} states comes through the runs"))
        reduction = self.finish(best)
        message = (
            f"no reduction with at most {most} states has an error of at most {wanted:g} on the validation runs; the "
            f"best found has {reduction.system.size} states and {best.validation.worst:.3g}. Allow a larger error, "
            "a smaller --spread, a shorter horizon, or try --refine"
        )
        raise UnreachableError(Reason("max-error-not-reached", message), reduction)

    def _smallest_balanced(self, pick: _Pick, least: int, most: int) -> int | None:
        """The smallest size that is accurate enough.

        First by the decomposition alone; then by refinement at the smaller sizes that come near; then by refinement
        downwards, size by size, until it fails. The error is not monotone in the size.
        """
        found = self._smallest_plain(pick, least, most)
        top = most + 1 if found is None else found
        near = [size for size, worst in sorted(pick.seen.items()) if size < top and worst <= _NEAR * pick.wanted]
        failed: set[int] = set()
        for size in near:
            if self._refines(pick, size):
                found = size
                break
            failed.add(size)
        failures = 0
        for size in range(most if found is None else found - 1, least - 1, -1):
            if size not in failed and self._refines(pick, size):
                found, failures = size, 0
                continue
            failures += 1
            if failures >= _PATIENCE:
                break
        return found

    def _smallest_plain(self, pick: _Pick, least: int, most: int) -> int | None:
        """The smallest size that the decomposition alone will do with: one by one, later in doubling steps."""
        below = least - 1
        for size in _sizes(least, most):
            if pick.accepts(self._plain(size), size):
                between = range(below + 1, size)
                return next((one for one in between if pick.accepts(self._plain(one), one)), size)
            below = size
        return None

    def _refines(self, pick: _Pick, size: int) -> bool:
        """Whether refinement reaches the wanted error; from more runs where it only does on those it learnt from."""
        improved = self._improved(size, pick.wanted)
        if pick.accepts(iter(improved)):
            return True
        if self.options.refine or not improved or improved[0][1] > _WORTH_A_LOOK * pick.wanted:
            return False
        wide = self.search.on(self._wider())
        rows = np.arange(len(wide.training.states))
        for start in self._different(size):
            better = refine(wide, start, _REFINING_STEPS, _GOOD * pick.wanted, self.progress, pick.wanted)
            if pick.accepts(iter([(better, float(wide.errors([better], rows).max()))])):
                return True
        return False

    def _different(self, size: int) -> list[Affine]:
        """The best candidate with each kind of offset."""
        first: dict[str, Affine] = {}
        for one in self.search.ranked(size):
            first.setdefault(one.map.label.partition(",")[0], one.map)
        return list(first.values())[:_TRIED]

    def _wider(self) -> Sample:
        """More training runs, again of their own draw."""
        if self._more is None:
            o = self.options
            none, more = Ensemble(0), Ensemble(_REFINING * o.ensemble, o.spread, o.perturb_parameters)
            self._more = run_ensemble(self.problem, self.until, (none, none, more), o.seed)[-1]
        return self._more

    def _plain(self, size: int) -> Iterator[tuple[Affine, float]]:
        return iter([(one.map, one.worst) for one in self.search.ranked(size)])

    # -- certificate ---------------------------------------------------------------------------------

    def finish(self, tried: Try) -> ReducedSystem:
        """The reduction with its certificate."""
        o = self.options
        validation = tried.validation
        constants = constants_of(self.totals, self.training.scale, self.checking.starts)
        runs = len(self.checking.states) if not self.large else 1
        lift = self._closest_lift(tried.map) if not self.large else None
        nominal = self.training.states[0]
        estimates = estimate_errors(
            self.problem, tried.map, constants, self.checking, validation.reduced, runs, lift, nominal
        )
        known = estimates[np.isfinite(estimates)]
        lifted = self._lifted(tried.map, constants, validation.reduced)
        details: dict[str, Any] = {
            "algorithm": o.algorithm,
            "candidate": tried.map.label,
            "form": tried.written.form,
            "horizon_reason": self.horizon_reason,
            "training_runs": len(self.training.states),
            "validation_runs": len(self.checking.states),
            "training_worst_error": _finite(tried.training_worst),
            "validation_errors": [_finite(e) for e in validation.errors.tolist()],
            "estimates": [_finite(e) for e in estimates.tolist()],
            "estimate_note": "first order, along the reduced runs: an estimate, not a bound",
            "lowest_lifted_state": _finite(lifted),
            "lifted_state_non_negative": bool(lifted >= -1e-9),
            "perturb_parameters": o.perturb_parameters,
            "seed": o.seed,
            "refined": tried.map.label.endswith("refined"),
        }
        if o.algorithm != "balanced":
            details["tolerance"] = float(tried.map.label.rpartition("=")[2])
        if o.bound:
            bound = krylov_bound(self.problem, tried.map, self.checking, self.until)
            details["bound"] = _finite(bound.value)
            details["bound_log10"] = _finite(bound.log10)
            details["bound_note"] = "Theorem 3 with the largest Jacobian norm seen on the runs; often of no use"
        certificate = ErrorEstimate(
            f"{o.algorithm}, measured on {len(self.checking.states)} runs that were not used to make the reduction",
            self.until,
            len(self.checking.states),
            o.spread,
            validation.worst,
            validation.median,
            float(known.max()) if len(known) else None,
            details,
        )
        return tried.written.reduction(self.problem, certificate, "approximate")

    def _closest_lift(self, one: Affine) -> tuple[Array, Array] | None:
        """A lift along which the estimate may linearise; that of the projection itself if it is the closer one."""
        rows = np.arange(min(_LIFTED_RUNS, len(self.training.states)))
        constants = constants_of(self.totals, self.training.scale, self.training.starts[rows])
        field = lifted_field(self.training.field, [one], constants, self.training.numbers[rows])
        starts = self.training.starts[rows] @ one.matrix.T
        if self.training.jumps:
            return None
        if field.timed:
            starts = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1)
        size = np.maximum(np.abs(starts).max(axis=0), 1e-6 * np.abs(starts).max(initial=1e-300))
        paths = advance(field, starts, self.training.times, None, Tolerances(1e-5, 1e-6 * size)).states
        paths = paths[:, :, : one.size]
        states = self.training.states[rows]
        pinned = self.problem.pinned_array()
        found = closest_lift(one, pinned, constants, states, paths)

        def distance(lift: Array, offset: Array) -> float:
            off = (paths @ lift.T + (constants @ offset.T)[:, None, :] - states) / self.training.scale
            return float(np.nanmean(off**2))

        return found if distance(*found) < 0.25 * distance(one.lift, one.offset) else None

    def _lifted(self, one: Affine, constants: Array, reduced: Array) -> float:
        """Lowest value of the lifted state in units of each state's scale."""
        x = reduced @ one.lift.T + (constants @ one.offset.T)[:, None, :]
        x = x / self.training.scale
        return float(np.nanmin(x)) if np.isfinite(x).any() else math.nan


def _with_errors(job: Job, one: Affine | None) -> Iterator[tuple[Affine, float]]:
    if one is None:
        return
    constants = constants_of(job.totals, job.training.scale, job.training.starts)
    rows = np.arange(len(job.training.states))
    readout = Readout(job.problem)
    yield one, float(measured_errors(job.problem, readout, job.training, [one], constants, rows, 10.0).max())


def krylov_bound(problem: Problem, one: Affine, sample: Sample, until: float) -> Bound:
    """The bound of Theorem 3 with η and C taken from the runs."""
    n = problem.size
    points = sample.clocked(sample.states)[:, ::4].reshape(-1, sample.field.size)
    numbers = np.repeat(sample.numbers, points.shape[0] // len(sample.numbers))
    lifted = points.copy()
    lifted[:, :n] = points[:, :n] @ one.matrix.T @ one.lift.T
    f, g = sample.field.rates(points, numbers)[:, :n], sample.field.rates(lifted, numbers)[:, :n]
    eta = float(np.nanmax(deviation(f, g, one.matrix)))
    few = points[:: max(1, len(points) // 100)]
    norms = np.linalg.norm(sample.field.jacobians(few, numbers[: len(few)]), 2, axis=(1, 2))
    return error_bound(eta, float(norms.max()), one.matrix, one.lift, until)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
