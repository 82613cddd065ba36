"""Approximate reductions: the jobs behind ``--method approximate`` and ``curve``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import LimitError, Reason, UsageError
from sbmlump.integrate.horizon import choose_span
from sbmlump.lumping.affine import Written, write_projection
from sbmlump.lumping.approximate_problem import Problem, pose
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.epsilon_partition import Kind, bisect_epsilon, block_projection, epsilon_partition
from sbmlump.lumping.estimate import Bound, deviation, error_bound, estimate_errors
from sbmlump.lumping.krylov import (
    JacobianSpan,
    approximate_rows,
    bisect_tolerance,
    jacobian_span,
    pinned_projection,
)
from sbmlump.lumping.refine import refine
from sbmlump.lumping.search import Readout, Search, constants_of, measured_errors
from sbmlump.lumping.training import Ensemble, Sample, conserved_totals, run_ensemble
from sbmlump.lumping.validate import Validation, validate
from sbmlump.reduced import ErrorEstimate, Observable, ReducedSystem
from sbmlump.system import OdeSystem

__all__ = [
    "ALGORITHMS",
    "ApproximateOptions",
    "CurvePoint",
    "CurveResult",
    "UnreachableError",
    "approximate",
    "curve",
    "krylov_bound",
]

Array = NDArray[np.float64]
Algorithm = Literal["balanced", "krylov", "forward-epsilon", "backward-epsilon"]
Progress = Callable[[str], None]
Clock = Callable[[], float]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("balanced", "krylov", "forward-epsilon", "backward-epsilon")
_VALIDATION: Final = 10
_LARGE: Final = 300
_LARGE_ENSEMBLE: Final = 6
_REFINING: Final = 3  # refinement learns from so many times the ensemble: it has far more freedom than the selection
_TRIED: Final = 3
_WORTH_A_LOOK: Final = 3.0  # times the wanted error over the training runs
_POLISHING: Final = 6  # steps that even an unrefined reduction gets: they cost about as much as its selection
_RESCUED: Final = 3  # where no candidate comes through the runs, so many sizes are tried to be made to
_RESCUING: Final = 25
_HOPELESS: Final = 30.0  # times the wanted error: another start will not bring it there either
_DEFAULT_ERROR: Final = 0.01


class UnreachableError(LimitError):
    """No reduction within the limits is as accurate as was asked for; the best one is attached.

    Attributes
    ----------
    reduction : ReducedSystem or None
    """

    def __init__(self, reasons: Reason | Sequence[Reason], reduction: ReducedSystem | None = None) -> None:
        super().__init__(reasons)
        self.reduction = reduction

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons, self.reduction)


@dataclass(frozen=True, slots=True)
class ApproximateOptions:
    """What to look for and on which runs.

    Attributes
    ----------
    algorithm : str
        ``balanced`` or ``krylov`` (the published one).
    tolerance : float or None
        ε of the published Algorithm 4.
    max_size : int or None
        The best reduction with at most so many states.
    max_error : float or None
        The smallest reduction whose worst relative error over the validation runs is at most this. With neither this
        nor a size nor a tolerance, 0.01.
    until : float or None
        Horizon, in the model's unit of time; chosen from the observables if absent.
    ensemble : int
        Perturbed training runs beside the nominal one.
    spread : float
        Relative perturbation of initial values.
    perturb_parameters : float
        Relative perturbation of parameters.
    seed : int
    refine : bool
        Improve by Levenberg–Marquardt.
    non_negative : bool
        Disjoint lumps with non-negative weights: the lifted state stays non-negative.
    bound : bool
        Report the bound of the published Theorem 3 too.
    """

    algorithm: Algorithm = "balanced"
    tolerance: float | None = None
    max_size: int | None = None
    max_error: float | None = None
    until: float | None = None
    ensemble: int = 24
    spread: float = 0.2
    perturb_parameters: float = 0.0
    seed: int = 0
    refine: bool = False
    non_negative: bool = False
    bound: bool = False


def approximate(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    algorithm: Algorithm = "balanced",
    tolerance: float | None = None,
    max_size: int | None = None,
    max_error: float | None = None,
    until: float | None = None,
    ensemble: int = 24,
    spread: float = 0.2,
    perturb_parameters: float = 0.0,
    seed: int = 0,
    refine: bool = False,
    non_negative: bool = False,
    bound: bool = False,
    progress: Progress = lambda _: None,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """An approximate reduction and how far it is off.

    See :class:`ApproximateOptions` for the parameters.

    Returns
    -------
    ReducedSystem
        Its map is an :class:`~sbmlump.reduced.AffineLumping`, its certificate an
        :class:`~sbmlump.reduced.ErrorEstimate` measured on runs that were not used to make it.

    Raises
    ------
    UsageError
        A request that makes no sense (``bad-option``).
    UnreachableError
        The wanted error was not reached; carries the best reduction (exit code 4).
    LimitError
        The model does not simulate over the horizon (``not-simulated``), or no reduction works.
    UnsupportedModelError
        See :func:`sbmlump.lumping.approximate_problem.pose`.
    """
    options = ApproximateOptions(
        algorithm, tolerance, max_size, max_error, until, ensemble, spread, perturb_parameters, seed, refine,
        non_negative, bound,
    )
    check_options(system, options)
    begin = clock()
    job = _Job(system, observables, options, progress)
    ready = clock()
    reduction = job.run()
    seconds = {"simulate_training": ready - begin, "lump": clock() - begin}
    return replace(reduction, seconds=seconds)


def check_options(system: OdeSystem, options: ApproximateOptions) -> None:
    """Refuse requests that make no sense, all at once.

    Raises
    ------
    UsageError
    """
    wrong: list[str] = []
    o = options
    if o.algorithm not in ALGORITHMS:
        wrong.append(f"there is no algorithm {o.algorithm!r}; known: {', '.join(ALGORITHMS)}")
    if o.until is not None and not (o.until > 0 and math.isfinite(o.until)):
        wrong.append(f"the horizon must be positive, not {o.until:g} (--until)")
    if o.max_size is not None and o.max_size < 1:
        wrong.append(f"the largest size must be at least 1, not {o.max_size} (--max-size)")
    if o.max_size is not None and o.max_size >= system.size:
        wrong.append(f"the model has {system.size} states; --max-size must be smaller, not {o.max_size}")
    if o.max_error is not None and not (o.max_error > 0 and math.isfinite(o.max_error)):
        wrong.append(f"the error must be positive, not {o.max_error:g} (--max-error)")
    if o.tolerance is not None and not (o.tolerance >= 0 and math.isfinite(o.tolerance)):
        wrong.append(f"the tolerance must not be negative, not {o.tolerance:g} (--tolerance)")
    if o.tolerance is not None and o.algorithm == "balanced":
        wrong.append("--tolerance is the ε of the other algorithms; give --max-error or --max-size to the balanced one")
    if o.tolerance is not None and o.max_size is not None:
        wrong.append("give either --tolerance or --max-size: the one follows from the other")
    if o.ensemble < 0:
        wrong.append(f"the ensemble must not be negative, not {o.ensemble} (--ensemble)")
    if not 0 <= o.spread < 1:
        wrong.append(f"the spread must lie in [0, 1), not {o.spread:g} (--spread)")
    if not 0 <= o.perturb_parameters < 1:
        wrong.append(f"the perturbation of parameters must lie in [0, 1), not {o.perturb_parameters:g}")
    if o.refine and (o.algorithm != "balanced" or o.non_negative):
        wrong.append("--refine improves the balanced reduction only (it keeps neither orthonormality nor signs)")
    if o.non_negative and o.algorithm != "balanced":
        wrong.append("--non-negative is a variant of the balanced algorithm")
    if wrong:
        raise UsageError([Reason("bad-option", message) for message in wrong])


@dataclass(frozen=True)
class _Try:
    """A reduction that was written and validated."""

    map: Affine
    written: Written
    validation: Validation
    training_worst: float


class _Job:
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
        self._polish = True
        self._search: Search | None = None
        self._span: JacobianSpan | None = None

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
        if self._search is None:
            self._search = Search(self.problem, self.training, self.totals, self.progress)
        return self._search

    @property
    def span(self) -> JacobianSpan:
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
        pinned = self._clocked_pinned()
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

    def _clocked_pinned(self) -> Array:
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
        search = self.search
        if self.large:
            candidates = search.candidates(size)
            yield from ((one, 0.0) for one in candidates)
            return
        ranked = search.ranked(size)
        wanted = self.options.max_error
        if not self.options.refine:
            yield from self._polished(size, [(one.map, one.worst) for one in ranked])
            return
        starts = [one.map for one in ranked[:_TRIED]] or search.candidates(size)[::15][:_TRIED]
        target = 0.2 * (self.options.max_error or 0.0)
        improved = []
        for start in starts:
            better = refine(search, start, target=target, progress=self.progress)
            worst = float(search.errors([better], np.arange(len(self.training.states))).max())
            improved.append((better, worst))
            if worst <= 0.5 * (wanted or _DEFAULT_ERROR) or worst > _HOPELESS * (wanted or _DEFAULT_ERROR):
                break
        yield from sorted(improved, key=lambda pair: pair[1])

    def _polished(self, size: int, ranked: list[tuple[Affine, float]]) -> list[tuple[Affine, float]]:
        """With a few steps of refinement for the best one, where it is not good enough but may become so."""
        wanted = self.options.max_error
        if wanted is None and self.options.max_size is not None:
            worthwhile = size == self.options.max_size
        else:
            level = wanted if wanted is not None else _DEFAULT_ERROR
            few = size <= len(self.problem.pinned) + _RESCUED
            worthwhile = 0.7 * level < ranked[0][1] <= _HOPELESS * level if ranked else few
        if not worthwhile or not self._polish:
            return ranked
        start = ranked[0][0] if ranked else next(iter(self.search.candidates(size)), None)
        if start is None:
            return ranked
        steps = _POLISHING if ranked else _RESCUING
        better = refine(self.search, start, steps, 0.3 * (wanted or 0.0), self.progress)
        worst = float(self.search.errors([better], np.arange(len(self.training.states))).max())
        return sorted([(better, worst), *ranked], key=lambda pair: pair[1]) if np.isfinite(worst) else ranked

    # -- trying --------------------------------------------------------------------------------------

    def write(self, one: Affine, training_worst: float) -> _Try:
        """Write a projection as a system and measure it on the validation runs."""
        self.progress(f"validating {one.size} states")
        written = write_projection(
            self.problem, one, self.totals, self.training.scale, keep_parameters=self.options.perturb_parameters > 0
        )
        validation = validate(self.problem, written.system, written.starts, self.checking)
        return _Try(one, written, validation, training_worst)

    def run(self) -> ReducedSystem:
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
            blocks = epsilon_partition(
                field, self.training.scale, pinned, tolerance, kind, seed=self.options.seed
            )
            return self.finish(
                self.write(block_projection(blocks, kind, self.problem.start, pinned, tolerance, width), math.nan)
            )
        rows = approximate_rows(self.span, self._clocked_pinned(), tolerance)
        assert rows is not None
        return self.finish(self.write(self._from_rows(rows, tolerance), math.nan))

    def _best_up_to(self, least: int, most: int) -> _Try:
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
        best: _Try | None = None
        spare: tuple[Affine, float] | None = None  # the best that was not worth a validation
        for size in range(least, most + 1):
            for count, (one, worst) in enumerate(self.proposals(size)):
                if worst > _WORTH_A_LOOK * wanted:
                    spare = (one, worst) if spare is None or worst < spare[1] else spare
                    break
                tried = self.write(one, worst)
                if best is None or tried.validation.worst < best.validation.worst:
                    best = tried
                if tried.validation.worst <= wanted:
                    return self.finish(tried)
                if count + 1 >= _TRIED or worst > wanted:
                    break
        if best is None and spare is not None:
            best = self.write(*spare)
        if best is None:
            raise LimitError(Reason("no-reduction", f"no reduction with at most {most} states comes through the runs"))
        reduction = self.finish(best)
        message = (
            f"no reduction with at most {most} states has an error of at most {wanted:g} on the validation runs; the "
            f"best found has {reduction.system.size} states and {best.validation.worst:.3g}. Allow a larger error, "
            "a smaller --spread, a shorter horizon, or try --refine"
        )
        raise UnreachableError(Reason("max-error-not-reached", message), reduction)

    # -- certificate ---------------------------------------------------------------------------------

    def finish(self, tried: _Try) -> ReducedSystem:
        """The reduction with its certificate."""
        o = self.options
        validation = tried.validation
        constants = constants_of(self.totals, self.training.scale, self.checking.starts)
        runs = len(self.checking.states) if not self.large else 1
        estimates = estimate_errors(self.problem, tried.map, constants, self.checking, validation.reduced, runs)
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
            "refined": o.refine,
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

    def _lifted(self, one: Affine, constants: Array, reduced: Array) -> float:
        """Lowest value of the lifted state in units of each state's scale."""
        x = reduced @ one.lift.T + (constants @ one.offset.T)[:, None, :]
        x = x / self.training.scale
        return float(np.nanmin(x)) if np.isfinite(x).any() else math.nan


def _with_errors(job: _Job, one: Affine | None) -> Iterator[tuple[Affine, float]]:
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


# -- curve -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One size of one algorithm; errors over the validation runs, infinite where a run failed."""

    size: int
    algorithm: str
    max_relative_error: float
    median_relative_error: float
    seconds: float


@dataclass(frozen=True, slots=True)
class CurveResult:
    """Error against size."""

    until: float
    horizon_reason: str
    points: tuple[CurvePoint, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


def curve(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    algorithms: Sequence[Algorithm] = ("balanced", "krylov"),
    max_size: int | None = None,
    until: float | None = None,
    ensemble: int = 24,
    spread: float = 0.2,
    seed: int = 0,
    refine: bool = False,
    progress: Progress = lambda _: None,
    clock: Clock = time.perf_counter,
) -> CurveResult:
    """Error of the best reduction of each size, for several algorithms, all from the same runs.

    ``at most N states`` is meant: a size at which nothing is better than a smaller one repeats that one's error.

    Raises
    ------
    As :func:`approximate`.
    """
    points: list[CurvePoint] = []
    job: _Job | None = None
    for algorithm in algorithms:
        options = ApproximateOptions(
            algorithm, until=until, ensemble=ensemble, spread=spread,
            seed=seed, refine=refine and algorithm == "balanced",
        )
        check_options(system, options)
        if job is None:
            job = _Job(system, observables, options, progress)
            job._polish = False  # a curve shows what the decomposition gives
        job.options = options
        points += _one_curve(job, algorithm, max_size, clock)
    assert job is not None
    return CurveResult(job.until, job.horizon_reason, tuple(points), {"runs": len(job.checking.states)})


def _one_curve(job: _Job, algorithm: str, max_size: int | None, clock: Clock) -> Iterator[CurvePoint]:
    problem = job.problem
    readout = Readout(problem)
    constants = constants_of(job.totals, job.training.scale, job.checking.starts)
    rows = np.arange(len(job.checking.states))
    most = problem.size if max_size is None else min(max_size, problem.size)
    best: tuple[float, float] = (math.inf, math.inf)
    for size in range(len(problem.pinned), most + 1):
        begin = clock()
        job.progress(f"{algorithm}, {size} states")
        for one, _ in job.proposals(size):
            errors = measured_errors(problem, readout, job.checking, [one], constants, rows, 1e3)[0]
            found = (float(errors.max(initial=0.0)), float(np.median(errors)))
            best = min(best, found)
            break
        yield CurvePoint(size, algorithm, best[0], best[1], clock() - begin)
