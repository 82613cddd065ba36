"""ApproximateOptions reductions: the calls behind ``--method approximate`` and ``curve``."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.ensemble import NotIntegratedError, Sample
from sbmlump.dynamics.vector_field import Budget, StopRequestedError, WorkLimitError
from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError, UsageError, counted
from sbmlump.linalg import single_threaded
from sbmlump.methods.approximate.decaying import DecayingTotals, decaying_totals_of
from sbmlump.methods.approximate.learning_runs import FurtherRuns, LearningRuns, learning_runs
from sbmlump.methods.approximate.options import NON_NEGATIVE, ApproximateOptions, UnreachableError, check_options
from sbmlump.methods.approximate.search import (
    Proposal,
    Readout,
    Search,
    SizeSearch,
    best_up_to,
    constants_of,
    first_within,
    hardest_first,
    measured_errors,
    smallest_within,
)
from sbmlump.methods.approximate.subspaces import (
    LIFT,
    Affine,
    JacobianSpan,
    Kind,
    approximate_rows,
    bisect_epsilon,
    bisect_tolerance,
    block_projection,
    closer_lift,
    epsilon_partition,
    jacobian_span,
    pinned_projection,
)
from sbmlump.methods.approximate.training import PATIENT, TRAINING, Training
from sbmlump.methods.approximate.validate import Try, certificate_of, fails_strictly, validate
from sbmlump.methods.approximate.write import write_projection
from sbmlump.methods.exact.lump import lump_exactly
from sbmlump.methods.method import Clock, Progress, identity, kept_constants, unheard
from sbmlump.model.properties import written_sizes
from sbmlump.model.reduced import FreshErrors, Observable, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.stopping import stop_request

__all__ = [
    "CURVES",
    "CurvePoint",
    "CurveResult",
    "size_curve",
    "Job",
    "Candidates",
    "RefinementSettings",
    "reduce_approximately",
]


# -- candidates of one size --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RefinementSettings:
    """How far candidates are refined, and when a search asks for more.

    Attributes
    ----------
    default_error : float
        What is wanted where neither an error nor a size nor a tolerance is given.
    thorough : float
        Times the work that a search may do: so much more ``refine`` allows (BIOMD0000000103 has five states then with
        each of three seeds, BIOMD0000000488 two; as much again gave six, and three with two of the seeds).
    solver_accuracy : float
        Errors below this are those of the integration: larger sizes show nothing new.
    long_formulas : float
        Times the operations and operands of the original: beyond, it is said that the formulas are longer.
    plain_share : float
        Of the work that is left when the original has been simulated: what the sizes without refinement may take.
    upward_share : float
        The same where none of them was accepted yet: larger sizes first, as refinement of small ones may not do.
    """

    default_error: float = 0.01
    thorough: float = 4.0
    solver_accuracy: float = 2e-6
    long_formulas: float = 5.0
    plain_share: float = 0.5
    upward_share: float = 0.75


STANDARD_REFINEMENT: Final = RefinementSettings()


class Candidates:
    """Reductions of one problem, made when they are asked for.

    Parameters
    ----------
    runs : LearningRuns
    budget : Budget
        Counts what it costs to make and compare them.
    progress : callable
    wanted : float, optional
        The error that is aimed at; comparisons are as accurate as that needs.
    settings : RefinementSettings
    further : callable, optional
        Simulates more trajectories of the original; those of ``runs`` by default.

    Attributes
    ----------
    decaying : DecayingTotals or None
        Totals that decay as functions of time in some of them.
    """

    decaying: DecayingTotals | None = None

    def __init__(
        self,
        runs: LearningRuns,
        budget: Budget,
        progress: Progress = unheard,
        wanted: float | None = None,
        settings: RefinementSettings = STANDARD_REFINEMENT,
        further: Callable[[], FurtherRuns] | None = None,
    ) -> None:
        self.settings = settings
        self.runs = runs
        self.options: ApproximateOptions = runs.options
        self._budget = budget
        self._set_up = budget.spent  # what was done to simulate the training runs, and a little more
        self._further = partial(runs.further, budget) if further is None else further
        self._progress = progress
        self._wanted = wanted
        self._search: Search | None = None
        self._training: Training | None = None
        self._fresh: Sample | None = None
        self._span: JacobianSpan | None = None
        self._weights: Array | None = None

    @property
    def search(self) -> Search:
        """Snapshots, gradients and decompositions."""
        if self._search is None:
            runs = self.runs
            self._search = Search(runs.problem, runs.training, runs.totals, self._progress, self._wanted, self._budget)
        return self._search

    @property
    def training(self) -> Training:
        """Refinement of the candidates of the search."""
        if self._training is None:
            settings = PATIENT if self.options.refine else TRAINING
            self._training = Training(self.search, self._further, self._progress, settings)
        return self._training

    @property
    def wanted(self) -> float | None:
        """The error that is aimed at."""
        return self._wanted

    @property
    def fresh(self) -> Sample:
        """Runs that decide, made once for all sizes, when a candidate has passed on fewer.

        They are counted as work, but are not ended by its limit: what was found so far would be lost for them.
        """
        if self._fresh is None:
            self._progress("simulating the original from fresh initial values")
            own = Budget()
            try:
                self._fresh = self.runs.fresh(own)
            finally:
                self._budget.spent += own.spent
        return self._fresh

    @property
    def span(self) -> JacobianSpan:
        """Matrices that span the Jacobians (Algorithm 1)."""
        if self._span is None:
            self._span = jacobian_span(self.runs.problem.vector_field(), self.runs.box(), self.options.seed)
        return self._span

    def widened(self, size: int) -> bool:
        """Make the decompositions anew from more trajectories, and refine from there; whether there are more.

        What a decomposition of few trajectories leaves out may be what others need.
        """
        wider = self.wider(size)
        if wider is None:
            return False
        self.take(wider)
        return True

    def wider(self, size: int) -> Search | None:
        """The same search from more trajectories; none where there are none, or they would cost more than is left.

        Those come first on which the best candidate with ``size`` states is farthest off: on the first ones candidates
        are compared and refined. Of those that it comes through, so many as do not count come later.
        """
        runs, search, few = self.runs, self.search, len(self.runs.training.states)
        if runs.large or not self.options.balances or runs.further_count <= few:
            return None
        if self._budget.limit - self._budget.spent < self._set_up * runs.further_count / few:
            return None
        further = self.training.further
        if further is None or len(further.training.states) <= len(search.training.states):
            return None
        # totals act on states in units of the scale of the training runs
        sample = replace(further.training, scale=runs.training.scale)
        best = search.ranked(size)[:1]
        if best:
            errors = search.on(sample).errors([best[0].map], np.arange(len(sample.states)))[0]
            order = hardest_first(errors, self.training.settings.runs)
            sample = replace(sample, states=sample.states[order], numbers=sample.numbers[order])
        return Search(runs.problem, sample, runs.totals, self._progress, self._wanted, self._budget)

    def take(self, search: Search) -> None:
        """Go on with another search of the same model."""
        self._search = search
        self.training.begin_anew(search)

    # -- as they come --------------------------------------------------------------------------------

    def proposals(self, size: int) -> Iterator[Proposal]:
        """Reductions of one size and their worst training errors, the best first."""
        if self.options.non_negative:
            from sbmlump.methods.approximate.write import lump_weights, non_negative_projection

            runs = self.runs
            if self._weights is None:
                self._weights = lump_weights(runs.problem, runs.training)
            seed = self.options.seed
            yield from self._with_errors(
                non_negative_projection(runs.problem, runs.training, size, seed, self._weights, 1 + len(runs.totals))
            )
        elif self.options.algorithm == "krylov":
            yield from self._with_errors(self._krylov(size))
        elif not self.options.balances:
            yield from self._with_errors(self._blocks(size))
        elif self.runs.large:
            yield from ((one, 0.0) for one in self.search.candidates(size))
        else:
            yield from ((one.map, one.worst) for one in self.search.ranked(size))

    def at_tolerance(self, tolerance: float) -> Affine:
        """What the published algorithm, or an ε-equivalence, gives for its own ε."""
        runs = self.runs
        if self.options.algorithm != "krylov":
            pinned, field, kind = runs.problem.pinned_array(), runs.problem.vector_field(), self._kind()
            blocks = epsilon_partition(field, runs.training.scale, pinned, tolerance, kind, seed=self.options.seed)
            return block_projection(blocks, kind, runs.problem.start, pinned, tolerance, 1 + len(runs.totals))
        rows = approximate_rows(self.span, runs.clocked_pinned(), tolerance)
        assert rows is not None
        return self._from_rows(rows, tolerance)

    def _krylov(self, size: int) -> Affine:
        found = bisect_tolerance(self.span, self.runs.clocked_pinned(), size + self.runs.clock)
        return self._from_rows(found.rows, found.tolerance)

    def _blocks(self, size: int) -> Affine:
        """The finest ε-equivalence with at most ``size`` blocks."""
        runs, kind = self.runs, self._kind()
        pinned, field = runs.problem.pinned_array(), runs.problem.vector_field()
        blocks, tolerance = bisect_epsilon(field, runs.training.scale, pinned, size, kind, seed=self.options.seed)
        return block_projection(blocks, kind, runs.problem.start, pinned, tolerance, 1 + len(runs.totals))

    def _kind(self) -> Kind:
        return "forward" if self.options.algorithm == "forward-epsilon" else "backward"

    def _from_rows(self, rows: Array, tolerance: float) -> Affine:
        """Rows over the states only (time, where there is one, is one row and one column of its own)."""
        problem = self.runs.problem
        p = len(problem.pinned)
        if self.runs.clock:
            rows = np.concatenate([rows[:p], rows[p + 1 :]])[:, :-1]
        return pinned_projection(rows, problem.pinned_array(), tolerance, 1 + len(self.runs.totals))

    def _with_errors(self, one: Affine | None) -> Iterator[Proposal]:
        if one is None:
            return
        runs = self.runs
        sample = runs.training
        constants = constants_of(runs.totals, sample.scale, sample.starts)
        rows = np.arange(len(sample.states))
        readout = Readout(runs.problem)
        errors = measured_errors(runs.problem, readout, sample, [one], constants, rows, 10.0, budget=self._budget)
        yield one, float(errors.max())

    def closer(self, one: Affine) -> Iterator[Proposal]:
        """The same rows lifted closer to the trajectories; nothing for what is lifted by rules of its own."""
        runs = self.runs
        if runs.large or not self.options.balances or self.options.non_negative or type(one) is not Affine:
            return
        training = runs.training
        self._budget.add(LIFT.rounds * training.states.size * (one.size + 1) ** 2)
        constants = constants_of(runs.totals, training.scale, training.starts)
        yield from self._with_errors(closer_lift(one, training.states, constants, training.scale))

    # -- refined -------------------------------------------------------------------------------------

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """The best candidate of one size, refined a little, and its worst training error."""
        return self.training.improved(size, wanted)

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """Refined on more runs, where what was learned from the fewer ones may not hold for others."""
        return self.training.relearned(size, wanted, near)

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Refined from many starts on more runs, to the end."""
        return self.training.thorough(size, wanted)

    def curved(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Those with a lift of degree two."""
        return self.training.curved(size, wanted, thorough=self.options.refine)


class CandidatesWithTotals(Candidates):
    """Candidates with and without totals that decay; those with them have as many components more than their size."""

    def __init__(
        self,
        runs: LearningRuns,
        decaying: DecayingTotals,
        budget: Budget,
        progress: Progress = unheard,
        wanted: float | None = None,
        settings: RefinementSettings = STANDARD_REFINEMENT,
    ) -> None:
        super().__init__(runs, budget, progress, wanted, settings)
        self.decaying = decaying
        shared = cache(self._further)  # the trajectories of both kinds are the same
        self._plain = Candidates(runs, budget, progress, wanted, settings, shared)
        own = replace(runs, problem=decaying.problem)
        self._pinned = Candidates(own, budget, progress, wanted, settings, shared)

    def proposals(self, size: int) -> Iterator[Proposal]:
        """Reductions of one size and their worst training errors, the best first."""
        found = [self._marked(one.proposals(size + more), more) for one, more in self._kinds(size)]
        yield from heapq.merge(*found, key=lambda pair: pair[1])

    def closer(self, one: Affine) -> Iterator[Proposal]:
        """The same for one without totals that decay."""
        return self._plain.closer(one) if not one.decaying else iter(())

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """The best candidate of one size, refined a little, and its worst training error."""
        one, more = self._better(size)[0]
        return list(self._marked(one.improved(size + more, wanted), more))

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """The better kind refined from more runs."""
        one, more = self._better(size)[0]
        yield from self._marked(one.relearned(size + more, wanted, near), more)

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Refined from more runs and several starts, to the end; the better kind first."""
        for one, more in self._better(size):
            yield from self._marked(one.thorough(size + more, wanted), more)

    def curved(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """The better kind with a lift of degree two."""
        one, more = self._better(size)[0]
        yield from self._marked(one.curved(size + more, wanted), more)

    def widened(self, size: int) -> bool:
        """Make the decompositions of both kinds anew from more trajectories; of none, where that fails for one."""
        more = len(self.decaying.rows) if self.decaying is not None else 0
        pinned, plain = self._pinned.wider(size + more), self._plain.wider(size)
        if pinned is None or plain is None:
            return False
        self._pinned.take(pinned)
        self._plain.take(plain)
        return True

    def _kinds(self, size: int) -> list[tuple[Candidates, int]]:
        """Kinds of candidates that have room for that size, and the components that each has more."""
        more = len(self.decaying.rows) if self.decaying is not None else 0
        found = [(self._pinned, more), (self._plain, 0)]
        return found if size + more <= self.runs.problem.size else found[1:]

    def _better(self, size: int) -> list[tuple[Candidates, int]]:
        """The same, the one with the best candidate before refinement first."""
        best = {
            more: next((worst for _, worst in one.proposals(size + more)), math.inf) for one, more in self._kinds(size)
        }
        return sorted(self._kinds(size), key=lambda kind: best[kind[1]])

    @staticmethod
    def _marked(found: Iterable[Proposal], more: int) -> Iterator[Proposal]:
        for one, worst in found:
            yield (replace(one, decaying=more, label=f"decaying totals, {one.label}") if more else one), worst


def _candidates(
    runs: LearningRuns,
    budget: Budget,
    progress: Progress,
    wanted: float | None = None,
    settings: RefinementSettings = STANDARD_REFINEMENT,
) -> Candidates:
    """Candidates, also with totals that decay as known functions of time where there are any."""
    decaying = decaying_totals_of(runs)
    if decaying is None:
        return Candidates(runs, budget, progress, wanted, settings)
    return CandidatesWithTotals(runs, decaying, budget, progress, wanted, settings)


# -- one approximate reduction -----------------------------------------------------------------------


class _Proposer:
    """Candidates that are measured; with a budget, what that costs counts.

    A decomposition that does not converge loses the candidates that need it, and nothing else.
    """

    def __init__(self, candidates: Candidates, budget: Budget | None, progress: Progress) -> None:
        self._candidates = candidates
        self._runs = candidates.runs
        self._budget = budget
        self._progress = progress
        self._decaying = candidates.decaying

    def proposals(self, size: int) -> Iterator[Proposal]:
        """See :meth:`Candidates.proposals`."""
        return _converging(self._candidates.proposals(size))

    def widened(self, size: int) -> bool:
        """See :meth:`Candidates.widened`."""
        try:
            return self._candidates.widened(size)
        except np.linalg.LinAlgError:
            return False

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """See :meth:`Candidates.improved`."""
        try:
            return self._candidates.improved(size, wanted)
        except np.linalg.LinAlgError:
            return []

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """See :meth:`Candidates.relearned`."""
        return _converging(self._candidates.relearned(size, wanted, near))

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """See :meth:`Candidates.thorough`."""
        return _converging(self._candidates.thorough(size, wanted))

    def curved(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """See :meth:`Candidates.curved`."""
        return _converging(self._candidates.curved(size, wanted))

    def closer(self, one: Affine) -> Iterator[Proposal]:
        """See :meth:`Candidates.closer`."""
        return _converging(self._candidates.closer(one))

    def measured(self, one: Affine, training_worst: float) -> Try:
        """Write a projection as a system and measure it: on a few runs, and on many what passes there."""
        wanted = self._candidates.wanted
        tried = self._measured(one, training_worst)
        return tried if wanted is not None and not tried.may_keep(wanted) else self.decided(tried)

    def decided(self, tried: Try) -> Try:
        """The same measured on the fresh runs, as all that is given away is."""
        if tried.fresh is not None:
            return tried
        runs, wanted = self._runs, self._candidates.wanted
        sample = self._candidates.fresh
        self._progress(f"validating {tried.written.system.size} states on {len(sample.states)} fresh runs")
        # a search may lose what takes as long as all of it; the one that is given is followed to the end
        own = Budget() if self._budget is None else Budget(runs.options.work)
        try:
            decided = self._on_fresh_runs(tried, sample, own)
        except WorkLimitError:
            nothing = np.full(len(sample.states), np.inf)
            nowhere, paths = tried.validation, (len(sample.states), len(sample.times))
            reduced, seen = (np.full((*paths, one.shape[2]), np.nan) for one in (nowhere.reduced, nowhere.observed))
            nowhere = replace(nowhere, errors=nothing, reduced=reduced, observed=seen)
            decided = replace(tried, validation=nowhere, fresh=FreshErrors.of(nothing, wanted))
        if self._budget is not None:
            self._budget.spent += own.spent
        return decided

    def _on_fresh_runs(self, tried: Try, sample: Sample, budget: Budget) -> Try:
        decided = self._judged(tried, sample, budget)
        if not decided.validation.comes_near:
            return decided
        return self._judged(self._written(tried.map, tried.training_worst, budget, bounded=True), sample, budget)

    def _judged(self, tried: Try, sample: Sample, budget: Budget) -> Try:
        runs, wanted = self._runs, self._candidates.wanted
        problem, written, totals = runs.problem, tried.written, runs.totals
        unbounded = None if tried.bounded else runs.bounded
        validation = validate(problem, tried.map, written, totals, sample, budget, wanted=wanted, bounded=unbounded)
        decided = replace(tried, validation=validation, fresh=FreshErrors.of(validation.errors, wanted))
        if validation.comes_near or not (wanted is None or decided.keeps(wanted)):
            return decided
        failed = fails_strictly(problem, tried.map, written, totals, runs.training, budget, unbounded)
        if failed is None:
            return replace(decided, validation=replace(validation, comes_near=True))
        if failed:
            errors = np.sort(validation.errors)
            errors[-failed:] = np.inf
            decided = replace(
                decided, validation=replace(validation, errors=errors), fresh=FreshErrors.of(errors, wanted)
            )
        return decided

    def _measured(self, one: Affine, training_worst: float) -> Try:
        self._progress(f"validating {one.size - one.decaying} states")
        tried = self._written(one, training_worst, self._budget, bounded=False)
        if not tried.validation.comes_near:
            return tried
        return self._written(one, training_worst, self._budget, bounded=True)

    def _written(self, one: Affine, training_worst: float, budget: Budget | None, *, bounded: bool) -> Try:
        """As a system, with or without bounds of its denominators, measured on a few runs."""
        runs = self._runs
        problem = runs.bounded if bounded else runs.problem
        if self._decaying is not None and one.decaying:
            problem = replace(self._decaying.problem, clamps=problem.clamps)
        written = write_projection(
            problem, one, runs.totals, runs.training.scale, keep_parameters=runs.options.perturb_parameters > 0
        )
        if self._decaying is not None and one.decaying:
            written = self._decaying.solved(written)
        validation = validate(
            runs.problem,
            one,
            written,
            runs.totals,
            runs.checking,
            budget,
            wanted=self._candidates.wanted,
            bounded=None if bounded else runs.bounded,
        )
        return Try(one, written, validation, training_worst, bounded=bounded)


def _converging(proposals: Iterator[Proposal]) -> Iterator[Proposal]:
    """The proposals until a decomposition does not converge."""
    try:
        yield from proposals
    except np.linalg.LinAlgError:
        return


class Job:
    """One model, its runs, and whatever the algorithms need.

    Attributes
    ----------
    runs : LearningRuns
    candidates : Candidates
    budget : Budget
        Work so far, and its limit.
    """

    def __init__(
        self,
        system: OdeSystem,
        observables: Sequence[Observable],
        options: ApproximateOptions,
        progress: Progress,
        settings: RefinementSettings = STANDARD_REFINEMENT,
    ) -> None:
        self.options, self.settings = options, settings
        self.budget = Budget(options.work, stoppable=True)
        self._progress = progress
        self.runs: LearningRuns = learning_runs(system, observables, options, self.budget, progress)
        wanted = options.max_error
        if wanted is None and options.max_size is None:
            wanted = self.settings.default_error
        self.candidates = _candidates(self.runs, self.budget, progress, wanted, settings)

    def run(self) -> ReducedSystem:
        """What the options ask for.

        Raises
        ------
        UsageError
            The observables alone need more states than allowed.
        UnreachableError
            No reduction smaller than the exact one, or with as few states as allowed, is as accurate as was wanted;
            carries the best one.
        LimitError
            No reduction integrates to the end time (``no-reduction``).
        """
        o, runs = self.options, self.runs
        if o.tolerance is not None:
            return self._finished(self._last().measured(self.candidates.at_tolerance(o.tolerance), math.nan), False)
        least = len(runs.problem.pinned)
        if o.max_size is not None and least > o.max_size:
            message = f"the observables alone need {least} states; --max-size {o.max_size} is too small"
            raise UsageError(Reason("bad-option", message))
        exact = None if runs.large else runs.exact_size
        most = min(runs.problem.size, runs.problem.system.size - 1)
        if exact is not None:
            most = min(most, exact - 1)  # with as many states the exact lumping has no error
        if o.max_size is not None:
            most = min(most, o.max_size)
        if most < least:
            raise LimitError(Reason("no-reduction", f"the observables alone need {least} states"))
        if o.max_size is not None and o.max_error is None:
            found = self._best_up_to(least, most)
            if found.best is None:
                raise LimitError(Reason("no-reduction", self._nothing(most, found.used_up)))
            return self._finished(found.best, found.used_up)
        wanted = o.max_error if o.max_error is not None else self.settings.default_error
        found = self._smallest_within(wanted, least, most)
        if found.best is None:
            raise LimitError(Reason("no-reduction", self._nothing(most, found.used_up)))
        if not found.accepted and o.max_size is None:  # nothing of it is given away: the fresh runs would tell nothing
            raise UnreachableError(self._why(wanted, most, exact, found))
        # whatever a search believes: what is given away has passed on the fresh runs
        decided = self._last().decided(found.best)
        found = replace(found, best=decided, accepted=found.accepted and decided.keeps(wanted))
        if not found.accepted:
            best = self._finished(decided, found.used_up) if o.max_size is not None else None
            raise UnreachableError(self._why(wanted, most, exact, found), best)
        return self._finished(decided, found.used_up)

    # -- searches ------------------------------------------------------------------------------------

    def _smallest_within(self, wanted: float, least: int, most: int) -> SizeSearch[Try]:
        o, budget = self.options, self.budget
        proposer, last = _Proposer(self.candidates, budget, self._progress), self._last()
        if self.runs.large or not o.balances:
            return first_within(proposer, last, wanted, least, most)
        whole, begin = budget.limit, budget.spent
        budget.limit = begin + self.settings.plain_share * (whole - begin)

        curved = most if o.algorithm == "quadratic" else 1

        def rest() -> None:
            budget.limit = whole

        def upwards() -> None:
            budget.limit = max(budget.spent, begin + self.settings.upward_share * (whole - begin))

        # with the conserved totals of a run as constants, so many states say where it is
        known = [self.runs.problem.size - len(self.runs.totals)]
        more = self._more if o.refine else None
        return smallest_within(proposer, last, wanted, least, most, more, rest, curved, known, upwards)

    def _best_up_to(self, least: int, most: int) -> SizeSearch[Try]:
        o, large = self.options, self.runs.large
        balanced = o.balances and not large
        return best_up_to(
            _Proposer(self.candidates, self.budget, self._progress),
            self._last(),
            least,
            most,
            every_size=not large,
            polish=balanced and most == o.max_size,
            curved=balanced and o.algorithm == "quadratic",
            refine=self._more if o.refine and balanced else None,
        )

    def _last(self) -> _Proposer:
        """Measures without a limit but that of the steps: for the one reduction that is given."""
        return _Proposer(self.candidates, None, self._progress)

    def _more(self) -> _Proposer:
        """The same with more work."""
        self.budget.limit = self.budget.spent + self.settings.thorough * self.options.work
        return _Proposer(self.candidates, self.budget, self._progress)

    # -- results -------------------------------------------------------------------------------------

    def _finished(self, tried: Try, used_up: bool) -> ReducedSystem:
        decided = self._last().decided(tried)
        certificate = certificate_of(self.runs, decided, self.candidates.fresh, self.budget.spent, used_up)
        reduction = decided.written.reduction(self.runs.problem, certificate, "approximate")
        remarks = list(reduction.remarks)
        dropped = self.runs.dropped + self.candidates.fresh.dropped
        if dropped:
            remarks.append(
                f"the original cannot be integrated to {self.runs.until:g} from {dropped} of the perturbed initial "
                "values; nothing is said of these"
            )
        before, after = (sum(written_sizes(one.graph, one.rhs)) for one in (reduction.original, reduction.system))
        if after > self.settings.long_formulas * before:
            remarks.append(
                f"there are fewer states, but longer formulas: {after} operations and operands where the original has "
                f"{before}; simulating them takes longer. A larger --max-error or smaller --max-size gives shorter ones"
            )
        return replace(reduction, remarks=tuple(remarks))

    def _nothing(self, most: int, used_up: bool) -> str:
        if used_up:
            return f"no reduction was found before {self._used()}; {_ADVICE}"
        return f"no reduction with at most {most} states integrates to the end time on all runs"

    def _used(self) -> str:
        if (stopped := stop_request()) is not None:
            return stopped.message.partition("; ")[0]
        return f"the {self.budget.limit:g} units of work that a search may do are exhausted"

    def _why(self, wanted: float, most: int, exact: int | None, found: SizeSearch[Try]) -> list[Reason]:
        best = found.best
        assert best is not None
        have = f"the best found has {best.map.size - best.map.decaying} states and {best.worst:.3g}"
        reduces = exact is not None and exact < self.runs.problem.system.size
        known = f" (the exact lumping has {exact})" if reduces else ""
        if found.used_up:
            message = f"no reduction with an error of at most {wanted:g} was found before {self._used()}: {have}{known}"
            return [Reason("max-error-not-reached", f"{message}; {_ADVICE}")]
        message = (
            f"no reduction with at most {most} states{known} has an error of at most {wanted:g} on fresh initial "
            f"values; {have}. Allow a larger error, a smaller --spread, an earlier end time, or try --refine"
        )
        return [Reason("max-error-not-reached", message)]


_ADVICE: Final = (
    "choose an earlier end time (--until), allow at most so many states (--max-size), or more work (--work)"
)


# -- never worse than exact --------------------------------------------------------------------------


def reduce_approximately(
    system: OdeSystem,
    observables: Sequence[Observable],
    options: ApproximateOptions,
    progress: Progress,
    settings: RefinementSettings = STANDARD_REFINEMENT,
) -> ReducedSystem:
    """The smallest reduction that was found, or the exact lumping, which keeps every error.

    Whatever ends a search (no candidate is accurate enough, an original that cannot be simulated from enough initial
    values, exhausted work, a decomposition that does not converge) ends in the exact lumping with its proof, or in the
    model itself where that does not reduce, with the reason why there is nothing smaller.

    Raises
    ------
    UsageError
        A request that makes no sense.
    UnreachableError
        ``--max-size`` allows fewer states than the exact lumping has, and nothing as accurate was found.
    LimitError
        The model does not simulate to the end time that was asked for (``not-simulated``); with ``--max-size`` also
        ``no-reduction`` and ``work-limit``.
    UnsupportedModelError
        ``missing-value``: the model cannot be simulated.
    """
    try:
        # tables of a few dozen rows: threads that wait for each other cost more than they save
        with single_threaded():
            return Job(system, observables, options, progress, settings).run()
    except NotIntegratedError as error:
        if error.nominal and options.until is not None:
            raise
        failure: SbmlumpError = error
    except UnsupportedModelError as error:
        if any(reason.code != "event-not-lumpable" for reason in error.reasons):
            raise
        failure = error
    except LimitError as error:
        failure = error
    except np.linalg.LinAlgError as error:
        failure = LimitError(Reason("no-reduction", f"a decomposition does not converge ({error})"))
    exact, kept = _exactly(system, observables, options, progress)
    if options.max_size is not None and exact.system.size > options.max_size:
        raise failure
    why = str(failure)
    if (stopped := stop_request()) is not None:
        why = why.replace(stopped.message, stopped.message.partition("; ")[0])  # the rest is said once, beside this
    message = f"nothing smaller than {kept} was found, which keeps every error: {why}"
    return replace(exact, method="approximate", reasons=(*exact.reasons, Reason("exact-instead", message)))


def _exactly(
    system: OdeSystem, observables: Sequence[Observable], options: ApproximateOptions, progress: Progress
) -> tuple[ReducedSystem, str]:
    """What keeps every error, and its name: the exact lumping, or the model itself where there is none."""
    # what is to hold for other parameters has to be proved for all of them
    keep = kept_constants(system, "all" if options.perturb_parameters else "none")
    try:
        whole = lump_exactly(system, observables, keep=keep, seed=options.seed, progress=progress)
    except (LimitError, UnsupportedModelError) as error:
        whole = identity(system, observables, remarks=(f"there is no exact lumping either: {error}",))
    if whole.reducible and options.non_negative and not (whole.matrix.proper and whole.matrix.non_negative):
        whole = identity(system, observables)
    if whole.reducible:
        return whole, f"the exact lumping to {counted(whole.system.size, 'state')}"
    return whole, "the model itself"


CURVES: Final = ("balanced", "krylov", NON_NEGATIVE)
"""The lines of a curve where none is named."""


# -- curve -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One size of one algorithm; errors over the validation runs, infinite where a run failed."""

    size: int
    algorithm: str
    max_relative_error: float
    median_relative_error: float
    seconds: float
    min_relative_error: float = 0.0


@dataclass(frozen=True, slots=True)
class CurveResult:
    """Error against size."""

    until: float
    horizon_reason: str
    points: tuple[CurvePoint, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


def size_curve(
    system: OdeSystem,
    observables: Sequence[Observable],
    options: ApproximateOptions,
    algorithms: Sequence[str] = CURVES,
    *,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
) -> CurveResult:
    """Error of the best reduction of each size, for several algorithms, all from the same runs.

    ``at most N states`` is meant: a size at which nothing is better than a smaller one repeats that one's error.

    Parameters
    ----------
    options : ApproximateOptions
        Its ``max_size`` is the largest size of the curve; ``refine`` is for the balanced algorithm.
    algorithms : sequence of str
        Of :data:`~sbmlump.methods.approximate.options.ALGORITHMS`, and ``non-negative``: disjoint lumps without signs.

    Raises
    ------
    As :meth:`~sbmlump.methods.registry.Approximate.reduce`.
    """
    with single_threaded():
        return _curve(system, observables, options, algorithms, progress, clock)


def _curve(
    system: OdeSystem,
    observables: Sequence[Observable],
    options: ApproximateOptions,
    algorithms: Sequence[str],
    progress: Progress,
    clock: Clock,
) -> CurveResult:
    points: list[CurvePoint] = []
    runs: LearningRuns | None = None
    for algorithm in algorithms:
        refined = options.refine and algorithm in ("balanced", "quadratic")
        signs = algorithm == NON_NEGATIVE
        name = "balanced" if signs else algorithm
        each = replace(options, algorithm=name, max_size=None, refine=refined, non_negative=signs)
        check_options(system, each)
        try:
            runs = runs or learning_runs(system, observables, each, Budget(stoppable=True), progress)
        except StopRequestedError:
            break
        if stop_request() is not None:
            break
        candidates = _candidates(replace(runs, options=each), Budget(stoppable=True), progress)
        try:
            for point in _one_curve(candidates, algorithm, options.max_size, progress, clock):
                points += [point]  # what was yielded before a stop is kept
        except StopRequestedError:
            break
    if runs is None:
        return CurveResult(options.until or math.nan, "stopped before the original was simulated", ())
    return CurveResult(runs.until, runs.horizon_reason, tuple(points), {"runs": len(runs.checking.states)})


def _one_curve(
    candidates: Candidates, algorithm: str, max_size: int | None, progress: Progress, clock: Clock
) -> Iterator[CurvePoint]:
    runs, options = candidates.runs, candidates.options
    problem = runs.problem
    readout = Readout(problem)
    constants = constants_of(runs.totals, runs.training.scale, runs.checking.starts)
    rows = np.arange(len(runs.checking.states))
    most = problem.size if max_size is None else min(max_size, problem.size)
    best: tuple[float, float, float] = (math.inf, math.inf, math.inf)
    for size in range(len(problem.pinned), most + 1):
        begin = clock()
        if (stopped := stop_request()) is not None:
            raise StopRequestedError(stopped)
        progress(f"{algorithm}, {size} states")
        if algorithm == "balanced" and best[0] <= candidates.settings.solver_accuracy:
            yield CurvePoint(size, algorithm, best[0], best[1], 0.0, best[2])
            continue
        refined = candidates.improved(size) if options.refine and not runs.large else []
        refined += list(candidates.curved(size)) if algorithm == "quadratic" and not runs.large else []
        for one, _ in [*refined, *itertools.islice(candidates.proposals(size), 1)]:
            errors = measured_errors(problem, readout, runs.checking, [one], constants, rows, 1e3)[0]
            found = (float(errors.max(initial=0.0)), float(np.median(errors)), float(errors.min(initial=math.inf)))
            best = min(best, found)
        yield CurvePoint(size, algorithm, best[0], best[1], clock() - begin, best[2])
