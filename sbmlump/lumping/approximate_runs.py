"""What an approximate reduction learns from and is measured on: the posed problem, its horizon and its runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason, SbmlumpError, UsageError
from sbmlump.integrate.horizon import choose_span
from sbmlump.integrate.work import Meter, WorkLimitError
from sbmlump.lumping.approximate_options import ApproximateOptions
from sbmlump.lumping.approximate_problem import ReductionProblem, pose
from sbmlump.lumping.exact import invariant_dimension
from sbmlump.lumping.reduction import closure_problem
from sbmlump.lumping.training import Ensemble, Sample, conserved_totals, run_ensemble
from sbmlump.reduced import Observable
from sbmlump.system import OdeSystem

__all__ = ["LearningRuns", "learning_runs"]

Array = NDArray[np.float64]
Progress = Callable[[str], None]
_VALIDATION: Final = 10
_LARGE: Final = 300
_LARGE_ENSEMBLE: Final = 6
_LARGE_VALIDATION: Final = 3
_WIDER: Final = 3  # times the ensemble: thorough refinement has far more freedom than the selection


@dataclass(frozen=True)
class LearningRuns:
    """A problem with the runs of its full model.

    Attributes
    ----------
    problem : Problem
    until : float
        Horizon, in the model's unit of time.
    horizon_reason : str
        Why this one.
    training, checking : Sample
        Runs to learn from, the nominal one first, and runs of another draw to measure on.
    totals : ndarray (c, n)
        Conserved totals, acting on x / scale.
    options : ApproximateOptions
    """

    problem: ReductionProblem
    until: float
    horizon_reason: str
    training: Sample
    checking: Sample
    totals: Array
    options: ApproximateOptions

    @property
    def large(self) -> bool:
        """Whether a single variant is made, instead of dozens that are compared."""
        return self.problem.size > _LARGE

    @property
    def clock(self) -> int:
        """1 where time is a component of the field: its row is pinned and not counted."""
        return int(self.problem.field().timed)

    def clocked_pinned(self) -> Array:
        """C with a row for time where time is a component of the field."""
        pinned = self.problem.pinned_array()
        if not self.clock:
            return pinned
        table = np.zeros((len(pinned) + 1, pinned.shape[1] + 1))
        table[:-1, :-1] = pinned
        table[-1, -1] = 1.0
        return table

    def box(self) -> Array:
        """Largest values of the components of the problem's own field."""
        box = np.where(self.training.scale > 0, self.training.scale, 1.0)
        return np.append(box, self.until) if self.problem.field().timed else box

    @cached_property
    def exact_size(self) -> int | None:
        """Size of the exact lumping (modulo a prime); ``None`` where that cannot be said."""
        try:
            closure = closure_problem(self.problem.system, self.problem.observables, frozenset())
            return invariant_dimension(closure, self.options.seed)
        except SbmlumpError:
            return None

    def deeper(self, meter: Meter) -> Sample:
        """Three times as many training runs, the nominal one first."""
        o = self.options
        more = Ensemble(_WIDER * o.ensemble, o.spread, o.perturb_parameters)
        checks = Ensemble(len(self.checking.states), o.spread, o.perturb_parameters)  # as wide a range of values
        return run_ensemble(self.problem, self.until, (more, checks), o.seed, meter)[0]

    def wider(self, meter: Meter) -> Sample:
        """Three times as many training runs, of a third draw."""
        o = self.options
        none, more = Ensemble(0), Ensemble(_WIDER * o.ensemble, o.spread, o.perturb_parameters)
        return run_ensemble(self.problem, self.until, (none, none, more), o.seed, meter)[-1]


def learning_runs(
    system: OdeSystem, observables: Sequence[Observable], options: ApproximateOptions, meter: Meter, progress: Progress
) -> LearningRuns:
    """Pose the problem, choose the horizon and simulate.

    Raises
    ------
    UsageError
        ``constant-observable``.
    LimitError
        ``not-simulated``, ``work-limit``.
    UnsupportedModelError
        See :func:`sbmlump.lumping.approximate_problem.pose`.
    """
    problem = pose(system, observables)
    if not problem.pinned:
        raise UsageError(Reason("constant-observable", "what is observed does not depend on any state"))
    try:
        until, why = _horizon(problem, options.until, meter)
    except WorkLimitError as error:
        message = (
            f"choosing a horizon for model {system.id} takes more than the {meter.limit:g} units of work allowed; "
            "give one (--until), or more work (--work)"
        )
        raise WorkLimitError(Reason("work-limit", message)) from error
    progress("simulating the original")
    large = problem.size > _LARGE
    count = min(options.ensemble, _LARGE_ENSEMBLE) if large else options.ensemble
    checks = _LARGE_VALIDATION if large else _VALIDATION
    p = options.perturb_parameters
    ensembles = (Ensemble(count, options.spread, p), Ensemble(checks, options.spread, p))
    try:
        training, checking = run_ensemble(problem, until, ensembles, options.seed, meter)
    except WorkLimitError as error:
        message = (
            f"simulating model {system.id} to {until:g} ({why}) from {1 + count + checks} starts takes more than the "
            f"{meter.limit:g} units of work that are allowed; choose a shorter horizon (--until), a smaller "
            "--ensemble, or more work (--work)"
        )
        raise WorkLimitError(Reason("work-limit", message)) from error
    totals = conserved_totals(problem, training.scale)
    return LearningRuns(problem, until, why, training, checking, totals, options)


def _horizon(problem: ReductionProblem, asked: float | None, meter: Meter) -> tuple[float, str]:
    if asked is not None:
        return asked, "as asked for"
    field = problem.field()
    start, watched = problem.start, problem.pinned_array()
    if field.timed:
        start = np.append(start, 0.0)
        watched = np.concatenate([watched, np.zeros((len(watched), 1))], axis=1)
    span = choose_span(field, start, watched, problem.jumps(math.inf, field.timed), meter)
    return span.until, span.reason
