"""Approximate reductions: the calls behind ``--method approximate`` and ``curve``."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from sbmlump.integrate.work import Meter
from sbmlump.lumping.approximate_candidates import Candidates
from sbmlump.lumping.approximate_job import Job
from sbmlump.lumping.approximate_options import (
    ALGORITHMS,
    DEFAULT_WORK,
    Algorithm,
    ApproximateOptions,
    UnreachableError,
    check_options,
)
from sbmlump.lumping.approximate_runs import LearningRuns, learning_runs
from sbmlump.lumping.search import Readout, constants_of, measured_errors
from sbmlump.reduced import Observable, ReducedSystem
from sbmlump.system import OdeSystem

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "ApproximateOptions",
    "DEFAULT_WORK",
    "CurvePoint",
    "CurveResult",
    "UnreachableError",
    "approximate",
    "check_options",
    "curve",
]

Progress = Callable[[str], None]
Clock = Callable[[], float]
_SOLVER_ACCURACY: Final = 2e-6  # errors below this are those of the integration: larger sizes show nothing new


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
    work: float = DEFAULT_WORK,
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
        algorithm,
        tolerance,
        max_size,
        max_error,
        until,
        ensemble,
        spread,
        perturb_parameters,
        seed,
        refine,
        non_negative,
        bound,
        work,
    )
    check_options(system, options)
    begin = clock()
    job = Job(system, observables, options, progress)
    ready = clock()
    reduction = job.run()
    seconds = {"simulate_training": ready - begin, "lump": clock() - begin}
    return replace(reduction, seconds=seconds)


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
    runs: LearningRuns | None = None
    for algorithm in algorithms:
        options = ApproximateOptions(
            algorithm,
            until=until,
            ensemble=ensemble,
            spread=spread,
            seed=seed,
            refine=refine and algorithm == "balanced",
        )
        check_options(system, options)
        if runs is None:
            runs = learning_runs(system, observables, options, Meter(), progress)
        candidates = Candidates(replace(runs, options=options), Meter(), progress)
        points += _one_curve(candidates, max_size, progress, clock)
    assert runs is not None
    return CurveResult(runs.until, runs.horizon_reason, tuple(points), {"runs": len(runs.checking.states)})


def _one_curve(candidates: Candidates, max_size: int | None, progress: Progress, clock: Clock) -> Iterator[CurvePoint]:
    runs, options = candidates.runs, candidates.options
    problem, algorithm = runs.problem, options.algorithm
    readout = Readout(problem)
    constants = constants_of(runs.totals, runs.training.scale, runs.checking.starts)
    rows = np.arange(len(runs.checking.states))
    most = problem.size if max_size is None else min(max_size, problem.size)
    best: tuple[float, float] = (math.inf, math.inf)
    for size in range(len(problem.pinned), most + 1):
        begin = clock()
        progress(f"{algorithm}, {size} states")
        if algorithm == "balanced" and best[0] <= _SOLVER_ACCURACY:
            yield CurvePoint(size, algorithm, best[0], best[1], 0.0)
            continue
        refined = candidates.improved(size) if options.refine and not runs.large else []
        for one, _ in [*refined, *itertools.islice(candidates.proposals(size), 1)]:
            errors = measured_errors(problem, readout, runs.checking, [one], constants, rows, 1e3)[0]
            found = (float(errors.max(initial=0.0)), float(np.median(errors)))
            best = min(best, found)
        yield CurvePoint(size, algorithm, best[0], best[1], clock() - begin)
