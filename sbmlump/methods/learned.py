"""Data-driven closure: lumps with equations of their own that are fitted to trajectories of the model.

The reduction map y = Lx is the user's, or that of the balanced lumping, whose first rows are the observables. The rates
of the lumps are regressed in weak form on a library of features of the lumps (and of conserved totals), sparsified, and
then trained on the trajectories themselves (:mod:`sbmlump.methods.closures`). Where a trajectory of another draw is
missed, training goes on with it. What is written is accepted by its errors from at least a hundred fresh initial
values.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NoReturn

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import qr

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics import (
    Budget,
    Ensemble,
    EnsembleSettings,
    ReductionProblem,
    Sample,
    WorkLimitError,
    ensemble_trajectories,
    measure,
    not_integrated,
    pose,
    reference_ensemble,
    run_ensemble,
    time_span_of,
)
from sbmlump.dynamics.ensemble import (
    DRAFT,
    STANDARD,
    Measurement,
    ReferenceEnsemble,
    estimate_of,
    refuse_events,
    values,
)
from sbmlump.errors import LimitError, Reason, UnsupportedModelError, UsageError
from sbmlump.files import write_atomically
from sbmlump.linalg.rational import Row, rank, right_inverse
from sbmlump.methods.approximate.learning_runs import conserved_totals
from sbmlump.methods.approximate.options import UnreachableError
from sbmlump.methods.approximate.search import Search, constants_of
from sbmlump.methods.approximate.subspaces import Affine
from sbmlump.methods.closures import (
    TINY,
    ClosureRun,
    ClosureTraining,
    Library,
    RateClosure,
    Resets,
    TrainingRuns,
    WeakForm,
    train,
)
from sbmlump.methods.exact.lump import initial_formulas
from sbmlump.methods.method import Clock, Progress, unheard
from sbmlump.model.graph import Node
from sbmlump.model.names import claim_id, lump_names
from sbmlump.model.reduced import (
    AffineLumping,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Observable,
    ReducedSystem,
    finite_or_none,
)
from sbmlump.model.system import Assigned, Constant, Event, OdeSystem, Quantity, with_trigger_values

__all__ = [
    "LearningSettings",
    "NeuralClosure",
    "NeuralTrainingSettings",
    "learn",
    "learn_neural",
    "load_neural",
    "neural_not_writable",
    "require_torch",
]


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How a small system is learned.

    Attributes
    ----------
    size : int
        States tried at most where none are asked for.
    error : float
        At which a size is good enough where none is asked for.
    thresholds : tuple of float
        Below which a term is dropped, as a share of the rate that is regressed; the last one drops rounding only.
    priors : tuple of float
        Weights, beside the rates along the trajectories, of the rates that the balanced projection has around them: 0
        is regression alone, a large one the projection alone.
    prior_points : int
        At which the rates of the projection are taken.
    prior_spread : float
        How far they are from the trajectories, in units of the largest value of each lump.
    most_features : int
        More are not fitted; 400 are 26 states.
    digits : int
        Of coefficients, as they are written: a fit knows fewer.
    negligible : float
        Entries of the map below this part of the largest, in units of each state's largest value, are 0.
    training_runs, further_runs : int
        Perturbed trajectories to learn from: those of the first training, and those among which enrichment looks for
        what is missed.
    spread : float
        How much wider the initial values of these are spread than those on which errors are measured.
    checks : int
        Fresh initial values on which a closure is accepted, at least.
    share : float
        Of them that may be above the wanted error; none may diverge.
    same : float
        Relative difference of the errors of two regressions that are taken for one.
    maps : int
        Variants of the balanced lumping that are tried for each size.
    given : int
        Conserved totals that may be factors of the features, those that matter most to the observables.
    few_runs : int
        Trajectories on which all regressions are compared.
    entrants, first_steps, first_runs : int
        Of these so many are trained, by so many steps on so many trajectories.
    finalists, steps : int
        The best of those are trained further.
    terms_below : tuple of float
        After training, terms below these parts of the rate are dropped as long as the wanted error holds.
    rounds, missed, more_steps : int
        Of enrichment: the worst of the further trajectories are added, and training goes on.
    hopeless : float
        Times the wanted error: what is farther away after the first steps is not trained further.
    good : float
        Times the wanted error, at which training ends.
    exact : float
        Times the wanted error: what regression alone brings there is not trained.
    accuracy, exact_accuracy : float
        Relative tolerance of the integration, times the wanted error or `error` if that is less: in training, and where
        it is asked whether a regression is exact.
    least_tolerance : float
        Of an integration.
    """

    size: int = 6
    error: float = 0.01
    thresholds: tuple[float, ...] = (1e-2, 1e-4, 1e-10)
    priors: tuple[float, ...] = (0.0, 0.1, 1e3)
    prior_points: int = 1500
    prior_spread: float = 0.1
    most_features: int = 400
    digits: int = 12
    negligible: float = 1e-9
    training_runs: int = 24
    further_runs: int = 48
    spread: float = 1.25
    checks: int = 100
    share: float = 0.05
    same: float = 1e-3
    maps: int = 6
    given: int = 4
    few_runs: int = 4
    entrants: int = 6
    first_steps: int = 6
    first_runs: int = 9
    finalists: int = 2
    steps: int = 20
    terms_below: tuple[float, ...] = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4)
    rounds: int = 2
    missed: int = 12
    more_steps: int = 12
    hopeless: float = 30.0
    good: float = 0.3
    exact: float = 0.01
    accuracy: float = 1e-3
    exact_accuracy: float = 1e-5
    least_tolerance: float = 1e-8


def learn(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    max_size: int | None = None,
    max_error: float | None = None,
    rational: bool = False,
    lumping: Sequence[Row] | None = None,
    work: float = 30.0,
    trial: EnsembleSettings = STANDARD,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
    settings: LearningSettings = LearningSettings(),
) -> ReducedSystem:
    """Learn a small system that follows the observables.

    Parameters
    ----------
    observables : sequence of Observable
        Linear combinations of states.
    max_size : int, optional
        At most so many states (6 by default).
    max_error : float, optional
        Take the smallest size of which at most one in twenty of the measured errors is above this, and none infinite.
        If absent, the smallest with 0.01, or else the best.
    rational : bool
        Try right-hand sides with denominators too.
    lumping : sequence of rows, optional
        L over all states, in the place of the balanced lumping; it stays as it is. The observables must be combinations
        of its rows; they are its first rows in what is learned.
    work : float
        Units of work that the search may do; published models of 13 states take 10 to 60.
    trial : EnsembleSettings
        End time, spread and seed of the initial values on which the error is measured: at least 100 of them.

    Raises
    ------
    UnsupportedModelError
        ``non-linear-observable``; ``event-not-lumpable`` if an event is not triggered by time alone.
    UsageError
        ``bad-option`` if the size is below the number of independent observables; ``bad-lumping``.
    LimitError
        ``target-not-reached`` if there are as many independent observables as states, or (with ``closure-limited``) no
        closure integrates to the
        end time; ``not-simulated``; ``work-limit`` if the work is used up before there is any closure.
    UnreachableError
        ``target-not-reached`` and ``closure-limited`` if no size meets `max_error`; carries the best closure.
    """
    begin = clock()
    pinned = _pinned(system, observables)
    if len(pinned) >= system.size:
        message = (
            f"the observables need all {system.size} states of model {system.id}; there is no smaller system to learn"
        )
        raise LimitError(Reason("target-not-reached", message))
    problem = pose(system, observables)
    least, most = len(problem.pinned), min(max_size or max(settings.size, len(pinned)), problem.size)
    if max_size is not None and max_size < least:
        message = f"{least} independent observables need at least {least} states, not {max_size}"
        raise UsageError(Reason("bad-option", message))
    if lumping is not None:
        least = most = _size_of_lumping(problem, lumping, max_size)
    until = trial.until if trial.until is not None else time_span_of(system, observables).until
    wanted = settings.error if max_error is None else max_error
    job = _Job(
        problem,
        replace(trial, until=until),
        wanted,
        rational,
        Budget(work, stoppable=True),
        progress,
        settings,
        lumping,
    )
    best, used_up = job.run(least, most)
    if best is None or not np.isfinite(best.worst):
        short = _no_closure(job, most, used_up)
        raise LimitError(short if best is None and used_up else [short, _limited(job)])
    reduction = replace(best.reduction, seconds={"lump": clock() - begin})
    if best.accepted:
        return reduction
    reasons = _why_not(job, best, most, used_up)
    if max_error is not None:
        raise UnreachableError(reasons, reduction)
    return replace(reduction, remarks=(*reduction.remarks, *(one.message for one in reasons)))


def _no_closure(job: _Job, most: int, used_up: bool) -> Reason:
    if used_up:
        message = (
            f"no closure was learned before the {job.limit:g} units of work that are allowed were used up; choose "
            "an earlier end time (--until), or allow more work (--work)"
        )
        return Reason("work-limit", message)
    message = f"no learned system of at most {most} states integrates to the end time from all initial values"
    return Reason(
        "target-not-reached", f"{message}; allow more with --max-size, or choose an earlier end time (--until)"
    )


def _why_not(job: _Job, best: _Measured, most: int, used_up: bool) -> list[Reason]:
    """What was not reached, and why."""
    size = best.reduction.system.size
    have = (
        f"the best has {size} states and errors of up to {best.worst:.3g} "
        f"({best.share:.0%} of {len(best.measurement.errors)} initial values are above)"
    )
    spent = " before the work that is allowed was used up (--work)" if used_up else ""
    message = f"no learned system of at most {most} states has an error of at most {job.wanted:g}{spent}: {have}"
    reasons = [
        Reason("target-not-reached", f"{message}; allow more states (--max-size) or a larger error (--max-error)")
    ]
    return [*reasons, _limited(job)]


def _limited(job: _Job) -> Reason:
    """Why a closure with equations of its own is not better."""
    job.budget.limit = float("inf")  # what is said of the search is not part of it
    missed, tried = job.left_over()
    outside = job.outside(tried)
    held = ""
    if outside is not None:
        held = f", and they leave out {outside:.2g} of what moves the observables (by the balanced lumping)"
    message = (
        f"with {tried} lumps, the most that were tried, regression leaves a part of {missed:.2g} of their rates{held}: "
        "that hangs on other states, or is no polynomial of degree two, and adds up along a trajectory. The method "
        "approximate evaluates the model's own rates at the lifted state and looks at any number of states"
    )
    return Reason("closure-limited", message)


def _size_of_lumping(problem: ReductionProblem, lumping: Sequence[Row], max_size: int | None) -> int:
    """The number of rows of a lumping that holds the observables.

    Raises
    ------
    UsageError
        ``bad-lumping``, ``bad-option``.
    """
    rows = [dict(row) for row in lumping]
    observed = [{problem.kept[j]: v for j, v in row.items()} for row in problem.pinned]
    if rank([*rows, *observed], problem.system.size) > len(rows):
        message = "an observable is no combination of the lumps; add a lump that is"
        raise UsageError(Reason("bad-lumping", message))
    if max_size is not None and len(rows) > max_size:
        message = f"the lumping has {len(rows)} lumps; --max-size {max_size} is too small"
        raise UsageError(Reason("bad-option", message))
    return len(rows)


@dataclass(frozen=True)
class _Measured:
    """A closure that was written, and its errors from fresh initial values."""

    closure: RateClosure
    library: Library
    reduction: ReducedSystem
    measurement: Measurement
    share: float
    accepted: bool

    @property
    def worst(self) -> float:
        """Largest error."""
        return float(self.measurement.errors.max())

    @property
    def order(self) -> tuple[bool, int, float]:
        """Sorts the better ones first: accepted, then the fewer diverge, then by the error of nineteen in twenty."""
        errors = self.measurement.errors
        diverged = int((~np.isfinite(errors)).sum())
        return not self.accepted, diverged, float(np.quantile(errors, 0.95, method="lower"))


@dataclass(frozen=True)
class _Totals:
    """Conserved totals that features may use.

    Attributes
    ----------
    rows : ndarray (c, n)
        They act on x / scale.
    middle, deviation : ndarray (c,)
        u = (total − middle) / deviation.
    """

    rows: Array
    middle: Array
    deviation: Array

    def of(self, starts: Array, scale: Array) -> Array:
        """u for initial values (r, n), shape (r, c)."""
        return np.asarray(((starts / scale) @ self.rows.T - self.middle) / self.deviation)


class _Job:
    """One model, what is learned from and measured on, and the search for the smallest closure."""

    def __init__(
        self,
        problem: ReductionProblem,
        trial: EnsembleSettings,
        wanted: float,
        rational: bool,
        budget: Budget,
        progress: Progress,
        settings: LearningSettings,
        lumping: Sequence[Row] | None,
    ) -> None:
        assert trial.until is not None
        self.problem, self.trial, self.wanted, self.rational = problem, trial, wanted, rational
        self.budget, self.settings = budget, settings
        self.limit = budget.limit  # the last measurement of a search may go beyond it
        self._progress = progress
        self._lumping = lumping
        self._largest = Library(len(problem.pinned), 0)
        self.until: float = trial.until
        # wider than what is measured, but never as wide as to change a sign
        self._spread = min(settings.spread * trial.spread, 0.5 * (1.0 + trial.spread))
        self.event_of_reset = _events_of_resets(problem, self.until)
        progress("simulating the original")
        self.training = run_ensemble(
            problem, self.until, (Ensemble(settings.training_runs, self._spread),), trial.seed, budget
        )[0]
        self.scale = self.training.scale
        self.timed = self.training.vector_field.timed
        pinned = problem.pinned_array()
        largest = np.abs(self.training.states @ pinned.T).max(axis=(0, 1))
        self.pinned_scale = np.where(largest > 0, largest, 1.0)
        self.observed = pinned / self.pinned_scale[:, None]
        self.all_totals = conserved_totals(problem, self.scale)
        self.search = Search(problem, self.training, self.all_totals, progress, wanted, budget)
        self.totals = self._relevant()
        self.runs = self._training_runs(self.training)
        r, m, n = self.training.states.shape
        points = self.training.with_time(self.training.states).reshape(r * m, -1)
        rates = self.training.vector_field.rates(points, np.repeat(self.training.numbers, m))[:, :n]
        self.weak = WeakForm(self.runs, rates.reshape(r, m, n))

    def _training_runs(self, sample: Sample) -> TrainingRuns:
        resets = Resets.along(sample, self.event_of_reset, self.budget)
        return TrainingRuns(sample, self.totals.of(sample.starts, self.scale), self.observed, resets)

    def _relevant(self) -> _Totals:
        """The combinations of conserved totals that move the observables most, apart from those that never vary."""
        totals = self.all_totals
        if len(totals):
            effects = (self.search.snapshots.gradients * self.scale[:, None]).T @ totals.T
            _, sizes, right = np.linalg.svd(effects, full_matrices=False)
            keep = sizes > 1e-6 * max(float(np.linalg.norm(self.search.snapshots.gradients)), TINY)
            totals = right[: self.settings.given][keep[: self.settings.given]] @ totals
        values_of_runs = (self.training.starts / self.scale) @ totals.T
        middle = 0.5 * (values_of_runs.max(axis=0) + values_of_runs.min(axis=0))
        deviation = 0.5 * np.ptp(values_of_runs, axis=0)
        varied = deviation > 1e-9 * np.maximum(np.abs(middle), TINY)
        return _Totals(totals[varied], middle[varied], deviation[varied])

    @cached_property
    def further(self) -> TrainingRuns:
        """Trajectories of another draw, for enrichment."""
        draws = (Ensemble(0), Ensemble(self.settings.further_runs, self._spread))
        return self._training_runs(run_ensemble(self.problem, self.until, draws, self.trial.seed, self.budget)[-1])

    @cached_property
    def reference(self) -> ReferenceEnsemble:
        """The nominal trajectory and those from fresh initial values, on which closures are measured."""
        count = max(self.settings.checks, self.trial.ensemble)
        draws = (Ensemble(0), Ensemble(0), Ensemble(count, self.trial.spread))
        sample = run_ensemble(self.problem, self.until, draws, self.trial.seed, self.budget)[-1]
        states = np.concatenate([self.training.states[:1], sample.states])
        system, problem = self.problem.system, self.problem
        whole = np.zeros((*states.shape[:2], system.size))  # no lump and no observable holds the other states
        whole[:, :, list(problem.kept)] = states
        nodes = [one.expression for one in problem.observables]
        expected = values(system, nodes, sample.times, states, names=problem.names)
        trial = replace(self.trial, ensemble=count)
        return ReferenceEnsemble(trial, problem.observables, sample.times, whole[:, 0], whole, expected)

    def left_over(self) -> tuple[float, int]:
        """The part of the lumps' rates that regression leaves at the largest size that was tried; and that size."""
        found = [self.weak.left_over(self._largest, one) for one in self._regressed(self._largest)]
        return min(found, default=1.0), self._largest.size

    def outside(self, size: int) -> float | None:
        """The part of the singular values of the balanced lumping that so many lumps leave out, if they are its own."""
        return None if self._lumping is not None else self.search.left_out(size - len(self.observed))

    # -- search ------------------------------------------------------------------------------------

    def run(self, least: int, most: int) -> tuple[_Measured | None, bool]:
        """The smallest accepted closure, or the best one; and whether the work was used up."""
        best: _Measured | None = None
        trained: _Trained | None = None
        try:
            for size in range(least, most + 1):
                library = Library(size, len(self.totals.rows) + int(self.timed), self.timed, self.until)
                if library.features > self.settings.most_features:
                    break
                self._largest = library
                for one in self._sized(library):
                    trained = one if trained is None or one.order < trained.order else trained
                    tried = self.measured(one, self.budget)
                    best = tried if best is None or tried.order < best.order else best
                if best is not None and best.accepted:
                    break
        except WorkLimitError:
            if best is None and trained is not None:
                # measuring the one closure that is given is not part of the search
                self.budget.limit = float("inf")
                best = self.measured(trained, None)
            return best, True
        return best, False

    def measured(self, one: _Trained, budget: Budget | None) -> _Measured:
        """Write a closure and measure it from fresh initial values."""
        self._progress(f"measuring {one.closure.size} states")
        draft = _ClosureWriter(self, one.closure, one.library).reduction()
        found = measure(draft, self.reference, budget=budget)
        share = float((found.errors > self.wanted).mean())
        accepted = bool(np.isfinite(found.errors).all()) and share <= self.settings.share
        details: dict[str, Any] = {
            "candidate": one.closure.label,
            "terms": one.closure.terms,
            "rational": one.closure.rational,
            "training_runs": one.runs,
            "training_worst_error": finite_or_none(one.worst),
            "wanted_error": self.wanted,
            "fresh": {
                "initial_values": len(found.errors),
                "worst": finite_or_none(float(found.errors.max())),
                "median": finite_or_none(float(np.median(found.errors))),
                "above": int((~(found.errors <= self.wanted)).sum()),
                "diverged": int((~np.isfinite(found.errors)).sum()),
            },
            "seed": self.trial.seed,
            "work": round(self.budget.spent, 1),
        }
        method = f"learned, measured from {len(found.errors)} initial values that were not used to learn"
        certificate = estimate_of(found, method, self.reference.trial, details)
        return _Measured(one.closure, one.library, replace(draft, certificate=certificate), found, share, accepted)

    def _sized(self, library: Library) -> Iterator[_Trained]:
        """Trained closures of one size that are worth to be measured."""
        self._progress(f"regressing {library.size} states")
        settings = self.settings
        closures = list(self._regressed(library))
        if not closures:
            return
        rows = np.arange(len(self.training.states))
        few = self._training(library, rows[: settings.few_runs])
        starts = _distinct(few.courses(closures), settings.same)[: settings.entrants]
        target = settings.good * self.wanted
        whole = self._on(library, self.runs, exact=True)
        courses = sorted(whole.courses(starts), key=lambda one: one.order)
        if not courses[0].complete or courses[0].worst > settings.exact * self.wanted:
            whole = self._on(library, self.runs)
            some = self._training(library, rows[: settings.first_runs])
            first = train(some, starts, settings.first_steps, target, self._progress)
            courses = whole.courses([one.closure for one in first[: settings.finalists]])
            courses = sorted(courses, key=lambda one: one.order)
            if first[0].complete and first[0].worst <= settings.hopeless * self.wanted:
                finalists = [one.closure for one in courses]
                courses = train(whole, finalists, settings.steps, target, self._progress)
        best = courses[0]
        if not best.complete:
            return
        if best.worst <= target:
            best = self._pruned(whole, best, target)
        if best.worst <= settings.hopeless * self.wanted:
            yield self._enriched(library, best, target)
        else:
            yield _Trained(best.closure, library, best.worst, len(rows))

    def _pruned(self, job: ClosureTraining, course: ClosureRun, target: float) -> ClosureRun:
        """With fewer terms, as long as the error stays below the target, or as small where it is far below."""
        settings = self.settings
        # an exact closure stays one
        exact = course.worst <= settings.exact * self.wanted
        allowed = (1 + job.settings.progress) * course.worst if exact else target
        for share in settings.terms_below:
            fewer = job.without_small_terms(course, share)
            if fewer.terms == course.closure.terms:
                continue
            tried = train(job, [fewer], settings.first_steps, allowed, self._progress)[0]
            if tried.complete and tried.worst <= allowed:
                return tried
        return course

    def _enriched(self, library: Library, course: ClosureRun, target: float) -> _Trained:
        """Training goes on with what is missed of further trajectories, as long as that helps them."""
        settings = self.settings
        further = self._on(library, self.further)

        def missed(closure: RateClosure) -> tuple[tuple[int, float], Array]:
            errors = further.courses([closure], give_up=1e3)[0].worst_each
            return (int((~(errors <= self.wanted)).sum()), float(np.median(errors))), errors

        best, (score, errors) = course, missed(course.closure)
        runs, count = self.runs, len(self.training.states)
        for _ in range(settings.rounds):
            if not score[0]:
                break
            worst = np.argsort(-np.nan_to_num(errors, nan=np.inf), kind="stable")[: settings.missed]
            runs = runs.and_some(self.further, worst)
            (tried,) = train(self._on(library, runs), [best.closure], settings.more_steps, target, self._progress)
            new, errors = missed(tried.closure)
            if not tried.complete or new >= score:
                break
            best, score, count = tried, new, len(runs.given)
        return _Trained(best.closure, library, best.worst, count)

    def _training(self, library: Library, rows: Indices) -> ClosureTraining:
        return self._on(library, self.runs.some(rows))

    def _on(self, library: Library, runs: TrainingRuns, *, exact: bool = False) -> ClosureTraining:
        accuracy = self.settings.exact_accuracy if exact else self.settings.accuracy
        relative = max(accuracy * min(self.wanted, self.settings.error), self.settings.least_tolerance)
        return ClosureTraining(library, runs, self.budget, relative=relative, fixed_map=self._lumping is not None)

    # -- what training starts from -------------------------------------------------------------------

    def _regressed(self, library: Library) -> Iterator[RateClosure]:
        """Closures of each map, each prior and each threshold, by weak regression."""
        settings = self.settings
        seen: list[Array] = []
        for number, one in enumerate(self._maps(library.size)):
            matrix = self._scaled(one.matrix)
            same = any(np.allclose(matrix * self.scale, other * self.scale) for other in seen)
            seen.append(matrix)
            jumps = self.runs.resets.jumps(library, matrix, self.runs.given, self.weak.settings)
            for weight in settings.priors:
                prior = self._prior(library, one, number) if weight else None
                if (weight and prior is None) or (not weight and same):
                    continue  # without a prior only L matters
                thresholds = settings.thresholds if not weight else settings.thresholds[-1:]
                for rational in (False, True) if self.rational and not weight else (False,):
                    self.budget.add(self.weak.work(library) * (1 + 2 * library.size * rational))
                    fits = self.weak.regressed(
                        library,
                        matrix,
                        thresholds,
                        rational=rational,
                        prior=None if prior is None else (*prior, weight),
                    )
                    for threshold, (top, bottom) in zip(thresholds, fits, strict=True):
                        label = f"{one.label or 'given map'}; prior {weight:g}, threshold {threshold:g}"
                        found = RateClosure(matrix, top, bottom, top != 0, bottom != 0, jumps, label)
                        if all(np.isfinite(part).all() for part in (matrix, top, bottom, jumps)):
                            yield found

    def _maps(self, size: int) -> list[Affine]:
        """Variants of the balanced lumping, or the user's."""
        if self._lumping is not None:
            return [self._users_map()]
        found = self.search.candidates(size)
        if len(found) <= self.settings.maps:
            return found
        chosen = np.linspace(0, len(found) - 1, self.settings.maps).round().astype(np.int64)
        return [found[i] for i in chosen.tolist()]

    @cached_property
    def given_rows(self) -> tuple[Row, ...]:
        """Rows of the user's lumping over the states that matter: the observables, then what is independent of them."""
        problem = self.problem
        place = {j: i for i, j in enumerate(problem.kept)}
        rows: list[Row] = [dict(row) for row in problem.pinned]
        for row in self._lumping or ():
            mine = {place[j]: value for j, value in row.items() if j in place}
            if mine and rank([*rows, mine], problem.size) > len(rows):
                rows.append(mine)
        return tuple(rows)

    def _users_map(self) -> Affine:
        matrix = np.zeros((len(self.given_rows), self.problem.size))
        for i, row in enumerate(self.given_rows):
            for j, value in row.items():
                matrix[i, j] = float(value)
        lift = np.linalg.pinv(matrix * self.scale) * self.scale[:, None]
        return Affine(matrix, lift, np.zeros((self.problem.size, 1 + len(self.all_totals))))

    def scales(self, size: int) -> Array:
        """Largest value of each lump; the balanced lumping has lumps of size 1 beside the observables."""
        scale = np.ones(size)
        if self._lumping is not None:
            largest = np.abs(self.training.states @ self._users_map().matrix.T).max(axis=(0, 1))
            scale = np.where(largest > 0, largest, 1.0)
        scale[: len(self.pinned_scale)] = self.pinned_scale
        return scale

    def _scaled(self, matrix: Array) -> Array:
        return np.asarray(matrix / self.scales(len(matrix))[:, None])

    def _prior(self, library: Library, one: Affine, number: int) -> tuple[Array, Array] | None:
        """Points around the trajectories, and the rates there of ẏ = L f(L̄y + c): z (N, 1 + k + c), ẏ (N, k)."""
        settings, sample = self.settings, self.training
        matrix = self._scaled(one.matrix)
        r, m, _ = sample.states.shape
        generator = np.random.default_rng([self.trial.seed, library.size, number, 0xC7])
        chosen = generator.choice(r * m, min(settings.prior_points, r * m), replace=False)
        run, moment = np.divmod(chosen, m)
        y = sample.states[run, moment] @ matrix.T
        y = y + settings.prior_spread * generator.uniform(-1, 1, y.shape)
        scale = self.scales(library.size)
        constants = constants_of(self.all_totals, self.scale, sample.starts)[run]
        x = (y * scale) @ one.lift.T + constants @ one.offset.T
        given = self.runs.given[run]
        if self.timed:
            clock = sample.times[moment][:, None]
            x, given = np.concatenate([x, clock], axis=1), np.concatenate([given, clock / self.until], axis=1)
        self.budget.add(len(x) * sample.vector_field.rate_work())
        with np.errstate(all="ignore"):
            rates = sample.vector_field.rates(x, sample.numbers[run])[:, : matrix.shape[1]] @ matrix.T
        good = np.isfinite(rates).all(axis=1)
        if not good.any():
            return None
        return library.factors(y, given)[good], rates[good]


def _distinct(courses: Sequence[ClosureRun], same: float) -> list[RateClosure]:
    """Closures, the best first, without those that do as the one before does: maps may span the same space."""
    found: list[RateClosure] = []
    last = (0, -1.0)
    for one in sorted(courses, key=lambda course: course.order):
        alive, cost = one.order
        if alive != last[0] or abs(cost - last[1]) > same * cost:
            found.append(one.closure)
        last = alive, cost
    return found


@dataclass(frozen=True)
class _Trained:
    """A closure, its largest error over the trajectories it was trained on, and how many those are."""

    closure: RateClosure
    library: Library
    worst: float
    runs: int

    @property
    def order(self) -> float:
        """Sorts the better ones first."""
        return self.worst


def _events_of_resets(problem: ReductionProblem, until: float) -> tuple[int, ...]:
    """The number of the event of each reset, in the order in which a problem gives the resets."""
    found = [(time, number) for number, one in enumerate(problem.events) for time in one.times if time <= until]
    return tuple(number for _, number in sorted(found, key=lambda pair: pair[0]))


# -- a closure as a system of expressions ------------------------------------------------------------


class _ClosureWriter:
    """ẏ = Kφ(y, u) in units of the model; initial values of the original are constants ``…_at_start``."""

    def __init__(self, job: _Job, closure: RateClosure, library: Library) -> None:
        self.job, self.closure, self.library = job, closure, library
        problem = job.problem
        self.system: OdeSystem = problem.system
        self.graph = self.system.graph
        kept = problem.kept
        own = job.given_rows  # the observables, or all of the user's lumping
        self.rows: list[dict[int, Fraction]] = [{kept[j]: v for j, v in row.items()} for row in own]
        self.rows += [self._decimals(row) for row in closure.matrix[len(own) :]]
        self.scale = job.scales(library.size)
        self.total_rows = [self._decimals(row / job.scale) for row in job.totals.rows]
        observed = {o.id for o in problem.observables}
        self.names = lump_names(self.system, self.rows, observed)
        taken = {*self.system.taken_ids, *observed, *self.names}
        self.total_names = [claim_id(f"total_{i + 1}", taken) for i in range(len(self.total_rows))]
        self.given_names = [claim_id(f"{name}_scaled", taken) for name in self.total_names]
        members = sorted({j for row in (*self.rows, *self.total_rows) for j in row})
        self.start_names = {j: claim_id(f"{self.system.states[j]}_at_start", taken) for j in members}
        self._digits = job.settings.digits

    def _decimals(self, row: Array) -> dict[int, Fraction]:
        """A row over the states of the problem as exact short decimals."""
        settings, kept = self.job.settings, self.job.problem.kept
        sizes = np.abs(row * self.job.scale)
        keep = np.flatnonzero(sizes > settings.negligible * sizes.max(initial=0.0))
        return {kept[j]: Fraction(f"{float(row[j]):.{settings.digits}g}") for j in keep.tolist()}

    def reduction(self) -> ReducedSystem:
        """The system with its map; its error is not yet measured."""
        graph, system, problem = self.graph, self.system, self.job.problem
        y = [graph.symbol(name) for name in self.names]
        z = [graph.number(1), *y, *(graph.symbol(name) for name in self.given_names)]
        units = np.concatenate([[1.0], self.scale, np.ones(len(self.given_names))])
        if self.library.timed:
            z.append(graph.time())
            units = np.append(units, self.library.until)
        rhs = [self._rate(i, z, units) for i in range(self.library.size)]
        events = tuple(self._event(number, z, units) for number in range(len(problem.events)))
        lift = _right_inverse(self.rows, system.size)
        assigned = self._observed(y, lift)
        constants = self._constants()
        quantities = self._quantities([*self.names, *(a.id for a in assigned)])
        compartments = {q.compartment for q in quantities.values()}
        kept = tuple(c for c in system.constants if c.id in compartments)
        small = OdeSystem(
            graph,
            tuple(self.names),
            tuple(self._combination(row) for row in self.rows),
            tuple(rhs),
            (*kept, *constants),
            tuple(assigned),
            events=events,
            id=system.id,
            name=system.name,
            quantities=quantities,
            origin=system.origin,
        )
        lumps = tuple(
            Lump(name, {system.states[j]: v for j, v in sorted(row.items())})
            for name, row in zip(self.names, self.rows, strict=True)
        )
        matrix, back = LumpingMatrix(system.states, tuple(self.rows)), LumpingMatrix(system.states, lift)
        totals = tuple(zip(self.total_names, self.total_rows, strict=True))
        lumping = AffineLumping(matrix, back, {}, totals) if totals else LinearLumping(matrix, back)
        return ReducedSystem(
            system, small, problem.observables, lumps, lumping, DRAFT, "learned", remarks=problem.remarks
        )

    def _number(self, value: float) -> Node:
        return self.graph.number(Fraction(f"{value:.{self._digits}g}"))

    def _rate(self, i: int, z: Sequence[Node], units: Array) -> Node:
        graph, one = self.graph, self.closure
        top = self._polynomial(one.top[i] * self.scale[i], z, units)
        if not one.bottom[i].any():
            return top
        return graph.div(top, graph.add((graph.number(1), self._polynomial(one.bottom[i], z, units))))

    def _polynomial(self, coefficients: Array, z: Sequence[Node], units: Array) -> Node:
        graph, library = self.graph, self.library
        terms = []
        for place in np.flatnonzero(coefficients).tolist():
            a, b = int(library.first[place]), int(library.second[place])
            value = float(coefficients[place]) / float(units[a]) / float(units[b])
            factors = [z[a], z[b]] if a != b else [graph.pow(z[a], graph.number(2))]
            terms.append(graph.mul((self._number(value), *factors)))
        return graph.add(terms)

    def _event(self, number: int, z: Sequence[Node], units: Array) -> Event:
        """y ← y + what the reset adds; the trigger is one of time alone."""
        graph, system = self.graph, self.system
        event = self.job.problem.events[number].event
        known = system.specialised()
        assignments = []
        resets = [i for i, event_number in enumerate(self.job.event_of_reset) if event_number == number]
        for i, name in enumerate(self.names):
            jump = self.closure.jumps[resets[0], i] if resets else np.zeros(len(z))
            if not jump.any():
                continue
            terms = [
                graph.mul((self._number(float(jump[b]) * float(self.scale[i]) / float(units[b])), z[b]))
                for b in np.flatnonzero(jump).tolist()
            ]
            total = graph.add((graph.symbol(name), *terms))
            assignments.append((name, graph.from_terms(graph.linear_terms(total))))
        return replace(
            event,
            trigger=graph.substitute([event.trigger], known)[0],
            delay=None if event.delay is None else graph.substitute([event.delay], known)[0],
            assignments=tuple(assignments),
            implied=(),
            unscaled=(),
            use_trigger_values=with_trigger_values(system, event, [value for _, value in assignments]),
        )

    def _combination(self, row: Row) -> Node:
        return self.graph.weighted_sum(dict(sorted(row.items())), lambda j: self.graph.symbol(self.start_names[j]))

    def _constants(self) -> list[Constant]:
        graph, totals = self.graph, self.job.totals
        start = initial_formulas(self.system)
        known = self.system.specialised()
        found = []
        for j, name in self.start_names.items():
            (node,) = graph.substitute([start[j]], known)
            found.append(Constant(name, node, computed=graph.number_of(node) is None))
        for i, (name, given) in enumerate(zip(self.total_names, self.given_names, strict=True)):
            symbol = graph.symbol(name)
            found.append(Constant(name, self._combination(self.total_rows[i]), computed=True))
            off = graph.sub(symbol, self._number(float(totals.middle[i])))
            found.append(Constant(given, graph.mul((self._number(1 / float(totals.deviation[i])), off)), computed=True))
        return found

    def _observed(self, y: Sequence[Node], lift: Sequence[Row]) -> list[Assigned]:
        """Assignment rules of observables that are no lumps."""
        graph, system, problem = self.graph, self.system, self.job.problem
        back = {graph.symbol(state): graph.number(0) for state in system.states}
        image: dict[int, list[Node]] = {}
        for symbol, row in zip(y, lift, strict=True):
            for j, value in row.items():
                image.setdefault(j, []).append(graph.scaled(value, symbol))
        back |= {graph.symbol(system.states[j]): graph.add(parts) for j, parts in image.items()}
        bound = graph.substitute([o.expression for o in problem.observables], system.specialised())
        nodes = [graph.from_terms(graph.linear_terms(node)) for node in graph.substitute(bound, back)]
        return [
            Assigned(o.id, node) for o, node in zip(problem.observables, nodes, strict=True) if o.id not in self.names
        ]

    def _quantities(self, ids: Sequence[str]) -> dict[str, Quantity]:
        system = self.system
        found = system.quantities_of([*ids, *self.total_names, *self.given_names])
        for j, name in self.start_names.items():
            original = system.quantities.get(system.states[j])
            text = f"initial value of {system.states[j]}"
            units = original.units if original is not None and original.kind != "species" else None
            found[name] = Quantity(name, "parameter", name=text, units=units, written_constant=True)
        return found


def _pinned(system: OdeSystem, observables: Sequence[Observable]) -> list[Row]:
    """Independent rows that give the observables."""
    graph = system.graph
    index = system.state_index
    rows: list[Row] = []
    for one in observables:
        row: dict[int, Fraction] = {}
        for term, value in graph.linear_terms(one.expression).items():
            if graph.number_of(term) is not None:
                continue
            if not system.is_symbol(term) or graph.name(term) not in index:
                message = f"the observable {one.text} is no linear combination of states; learned maps are linear"
                raise UnsupportedModelError(Reason("non-linear-observable", message, one.id))
            row[index[graph.name(term)]] = value
        if row and rank([*rows, row], system.size) > len(rows):
            rows.append(row)
    if not rows:
        raise UsageError(Reason("no-observable", "a learned system needs an observable that depends on states"))
    return rows


def _right_inverse(rows: Sequence[Row], width: int) -> tuple[dict[int, Fraction], ...]:
    """Exact right inverse on as many well conditioned columns as there are rows."""
    dense = np.zeros((len(rows), width))
    for i, row in enumerate(rows):
        for j, value in row.items():
            dense[i, j] = float(value)
    size = np.maximum(np.abs(dense).max(axis=1, keepdims=True), TINY)
    _, _, order = qr(dense / size, pivoting=True, mode="economic")
    columns = sorted(int(j) for j in order[: len(rows)])
    inverse = right_inverse(rows, columns)
    assert inverse is not None
    return tuple(inverse)


# -- a small neural closure --------------------------------------------------------------------------
# A map ℒ with pinned observables and a vector field g, both trained on trajectories: y = (observables / spread,
# encoder(x / scale)) and dy/dτ = field(y), with τ = t / end time.
#
# It is an extra that needs PyTorch (``pip install sbmlump[neural]``). The result is a file of weights beside the SBML;
# it is not written as SBML, whose mathematics has no place for a network (and an expression of thousands of tanh would
# be no model).


@dataclass(frozen=True, slots=True)
class NeuralTrainingSettings:
    """How a neural closure is trained.

    Attributes
    ----------
    width : int
        Units of the hidden layers.
    steps : int
        Of the optimiser (Adam).
    batch : int
        Points of a step.
    learning_rate : float
    divergence : float
        A trajectory whose scaled state is larger has diverged.
    """

    width: int = 32
    steps: int = 3000
    batch: int = 4096
    learning_rate: float = 3e-3
    divergence: float = 1e6


@dataclass(frozen=True)
class NeuralClosure:
    """A trained closure.

    Attributes
    ----------
    states, observables : tuple of str
        Of the original, in the order of x; what the first components of y are.
    size, width : int
        Components of y; units of the hidden layers.
    horizon : float
        T of the training; the unit of τ.
    scale : ndarray (n,)
        Of each original state.
    spread : ndarray (o,)
        Of each observable.
    network : object
        A PyTorch module with ``encoder`` (x/scale → learned components) and ``field`` (y → dy/dτ).
    closure_error : float
        Mean squared closure error over the validation trajectories, relative to the mean square of the lumped rates.
    trajectory_error : float
        Largest relative error of an observable over the validation trajectories, each integrated from y(0) = ℒ(x(0));
        infinite if one diverges.
    """

    states: tuple[str, ...]
    observables: tuple[str, ...]
    size: int
    width: int
    horizon: float
    scale: Array
    spread: Array
    network: Any
    closure_error: float
    trajectory_error: float

    def save(self, path: str | Path) -> None:
        """Write everything to a file that :func:`load_neural` reads; the whole file appears, or nothing does.

        Raises
        ------
        OutputError
            See :func:`sbmlump.files.write_atomically`.
        """
        torch = require_torch()
        content = {
            "format": "sbmlump-neural-closure-1",
            "states": list(self.states),
            "observables": list(self.observables),
            "size": self.size,
            "width": self.width,
            "horizon": self.horizon,
            "scale": torch.tensor(self.scale),
            "spread": torch.tensor(self.spread),
            "closure_error": self.closure_error,
            "trajectory_error": self.trajectory_error,
            "weights": self.network.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(path, buffer.getvalue())

    def write(self, path: str | Path) -> NoReturn:
        """Refused: SBML cannot hold it.

        Raises
        ------
        UnsupportedModelError
            ``neural-not-writable``.
        """
        raise UnsupportedModelError(neural_not_writable(path))


def neural_not_writable(path: str | Path) -> Reason:
    """Why there is no SBML of a neural closure."""
    message = (
        f"a neural closure has no SBML form, so {path} does not hold it: SBML's mathematics has no place for a network"
    )
    return Reason("neural-not-writable", message)


def require_torch() -> Any:
    """The module ``torch``.

    Raises
    ------
    UsageError
        ``extra-missing`` if it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        message = (
            "the neural closure needs PyTorch, which is not installed: pip install 'sbmlump[neural]'; the method "
            "learned works without it"
        )
        raise UsageError(Reason("extra-missing", message)) from error
    return torch


def load_neural(path: str | Path) -> NeuralClosure:
    """Read what :meth:`NeuralClosure.save` wrote.

    Raises
    ------
    UsageError
        ``extra-missing`` without PyTorch; ``unreadable-file`` if the file is none of these.
    """
    torch = require_torch()
    try:
        content = torch.load(str(path), weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise UsageError(Reason("unreadable-file", f"cannot read {path}: {error}")) from error
    if not isinstance(content, dict) or content.get("format") != "sbmlump-neural-closure-1":
        raise UsageError(Reason("unreadable-file", f"{path} holds no neural closure of sbmlump"))
    network = _network(torch, len(content["states"]), len(content["observables"]), content["size"], content["width"])
    network.load_state_dict(content["weights"])
    return NeuralClosure(
        tuple(content["states"]),
        tuple(content["observables"]),
        content["size"],
        content["width"],
        content["horizon"],
        content["scale"].numpy(),
        content["spread"].numpy(),
        network,
        content["closure_error"],
        content["trajectory_error"],
    )


def learn_neural(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    size: int,
    training: NeuralTrainingSettings = NeuralTrainingSettings(),
    trial: EnsembleSettings = STANDARD,
) -> NeuralClosure:
    """Train ℒ(x) = (observables, network(x)) and g(y) on runs of the model.

    The closure error ‖J_ℒ f − g(ℒ)‖² is weighted by the mean square of each component's rate; a second term keeps the
    learned components at unit variance, which keeps the trivial minimiser (a constant ℒ) away.

    Parameters
    ----------
    observables : sequence of Observable
        Differentiable functions of the states; they need not be linear.
    size : int
        Components of y.
    training : NeuralTrainingSettings
    trial : EnsembleSettings
        End time, and the initial values of the validation trajectories; the training trajectories have others.

    Raises
    ------
    UsageError
        ``extra-missing`` without PyTorch; ``bad-option`` if `size` is below the number of observables.
    UnsupportedModelError
        ``event-not-lumpable`` if the model has events.
    LimitError
        ``not-simulated``.
    """
    torch = require_torch()
    refuse_events(system, "learned")
    if size < len(observables):
        raise UsageError(
            Reason("bad-option", f"{len(observables)} observables need at least as many states, not {size}")
        )
    reference = reference_ensemble(system, observables, trial)
    ensemble = Ensemble(2 * reference.trial.ensemble, LearningSettings().spread * reference.trial.spread)
    runs = ensemble_trajectories(system, reference.times, ensemble, reference.trial.seed + 1)[1]
    runs = runs[np.isfinite(runs).all(axis=(1, 2))]
    if not len(runs):
        raise not_integrated(system, reference.until)
    scale = np.maximum(np.abs(runs).max(axis=(0, 1)), TINY)
    pinned = values(system, [o.expression for o in observables], reference.times, runs)
    spread = np.maximum(pinned.std(axis=(0, 1)), TINY)
    torch.manual_seed(trial.seed)
    network = _network(torch, system.size, len(observables), size, training.width)
    tables = _tensors(torch, system, observables, reference, runs, scale, spread)
    optimiser = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    generator = torch.Generator().manual_seed(trial.seed)
    for _ in range(training.steps):
        optimiser.zero_grad()
        chosen = torch.randperm(len(tables[0]), generator=generator)[: training.batch]
        error, variance = _loss(torch, network, [table[chosen] for table in tables])
        (error + variance).backward()
        optimiser.step()
    with torch.no_grad():
        closure_error, _ = _loss(
            torch, network, _tensors(torch, system, observables, reference, reference.states, scale, spread)
        )
    off = _trajectory_error(torch, network, reference, scale, spread, training.divergence)
    return NeuralClosure(
        system.states,
        tuple(o.id for o in observables),
        size,
        training.width,
        reference.until,
        scale,
        spread,
        network,
        float(closure_error),
        off,
    )


def _network(torch: Any, n: int, fixed: int, size: int, width: int) -> Any:
    def block(inside: int, outside: int) -> Any:
        return torch.nn.Sequential(
            torch.nn.Linear(inside, width), torch.nn.Tanh(), torch.nn.Linear(width, max(outside, 1))
        )

    network = torch.nn.Module()
    network.free = size - fixed
    network.encoder = block(n, size - fixed)
    network.field = block(size, size)
    return network.double()


def _tensors(
    torch: Any,
    system: OdeSystem,
    observables: Sequence[Observable],
    reference: ReferenceEnsemble,
    runs: Array,
    scale: Array,
    spread: Array,
) -> list[Any]:
    """x/scale, its rate, observables/spread and their rates, with τ as the time; one row a point of a run."""
    r, m, n = runs.shape
    flat = runs.reshape(r * m, n)
    seen = values(system, [o.expression for o in observables], reference.times, runs).reshape(r * m, -1)
    flow = values(system, system.along_flow(o.expression for o in observables), reference.times, runs)
    rates = system.rates(np.tile(reference.times, r), flat)
    tables = (
        flat / scale,
        reference.until * rates / scale,
        seen / spread,
        reference.until * flow.reshape(r * m, -1) / spread,
    )
    return [torch.tensor(table, dtype=torch.float64) for table in tables]


def _loss(torch: Any, network: Any, tensors: Sequence[Any]) -> tuple[Any, Any]:
    x, dx, pinned, moved = tensors
    parts, rates = [pinned], [moved]
    variance = torch.zeros((), dtype=torch.float64)
    if network.free:
        learned, change = torch.func.jvp(network.encoder, (x,), (dx,))
        parts.append(learned)
        rates.append(change)
        variance = ((learned.std(dim=0) - 1.0) ** 2).sum()
    y, flow = torch.cat(parts, dim=1), torch.cat(rates, dim=1)
    size = flow.pow(2).mean(dim=0).clamp_min(1e-12)
    return ((network.field(y) - flow).pow(2).mean(dim=0) / size).mean(), variance


def _trajectory_error(
    torch: Any, network: Any, reference: ReferenceEnsemble, scale: Array, spread: Array, divergence: float
) -> float:
    """Largest relative error of the observables over the validation trajectories, from the vector field alone."""
    worst = 0.0
    fixed = len(spread)

    def rate(_: float, y: Array) -> Array:
        with torch.no_grad():
            return np.asarray(network.field(torch.tensor(y)).numpy())

    def away(_: float, y: Array) -> float:
        return divergence - float(np.abs(y).max())

    away.terminal = True  # type: ignore[attr-defined]  # how SciPy is told
    for start, expected in zip(reference.states[:, 0], reference.expected, strict=True):
        first = expected[0] / spread
        if network.free:
            with torch.no_grad():
                first = np.concatenate([first, network.encoder(torch.tensor(start / scale)).numpy()])
        run = solve_ivp(
            rate,
            (0.0, 1.0),
            first,
            method="LSODA",
            t_eval=reference.times / reference.until,
            rtol=1e-6,
            atol=1e-9,
            events=away,
        )
        if not run.success or run.y.shape[1] < len(reference.times):
            return float("inf")
        got = run.y[:fixed].T * spread
        size = np.maximum(np.abs(expected).max(axis=0), TINY)
        worst = max(worst, float((np.abs(got - expected) / size).max()))
    return worst
