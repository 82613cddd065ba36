"""One approximate reduction: its runs, its candidates, and their way to a written and validated model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sbmlump.errors import LimitError, Reason, UsageError
from sbmlump.integrate.work import Meter
from sbmlump.lumping.affine import write_projection
from sbmlump.lumping.approximate_candidates import Candidates
from sbmlump.lumping.approximate_certificate import Try, certificate_of
from sbmlump.lumping.approximate_options import ApproximateOptions, UnreachableError
from sbmlump.lumping.approximate_runs import LearningRuns, learning_runs
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.size_search import Proposal, SizeSearch, best_up_to, first_within, smallest_within
from sbmlump.lumping.validate import validate
from sbmlump.reduced import Observable, ReducedSystem
from sbmlump.system import OdeSystem

__all__ = ["Job"]

Progress = Callable[[str], None]
_DEFAULT_ERROR: Final = 0.01


class _Proposer:
    """Candidates that are measured; with a meter, what that costs counts."""

    def __init__(self, candidates: Candidates, meter: Meter | None, progress: Progress) -> None:
        self.proposals: Callable[[int], Iterator[Proposal]] = candidates.proposals
        self.improved, self.relearned, self.thorough = candidates.improved, candidates.relearned, candidates.thorough
        self._runs = candidates.runs
        self._meter = meter
        self._progress = progress

    def measured(self, one: Affine, training_worst: float) -> Try:
        """Write a projection as a system and measure it on the validation runs."""
        runs = self._runs
        self._progress(f"validating {one.size} states")
        written = write_projection(
            runs.problem,
            one,
            runs.totals,
            runs.training.scale,
            keep_parameters=runs.options.perturb_parameters > 0,
        )
        validation = validate(runs.problem, one, written, runs.totals, runs.checking, self._meter)
        return Try(one, written, validation, training_worst)


class Job:
    """One model, its runs, and whatever the algorithms need.

    Attributes
    ----------
    runs : LearningRuns
    candidates : Candidates
    meter : Meter
        Work so far, and its limit.
    """

    def __init__(
        self, system: OdeSystem, observables: Sequence[Observable], options: ApproximateOptions, progress: Progress
    ) -> None:
        self.options = options
        self.meter = Meter(options.work)
        self._progress = progress
        self.runs: LearningRuns = learning_runs(system, observables, options, self.meter, progress)
        wanted = options.max_error
        if wanted is None and options.max_size is None:
            wanted = _DEFAULT_ERROR
        self.candidates = Candidates(self.runs, self.meter, progress, wanted)

    def run(self) -> ReducedSystem:
        """What the options ask for.

        Raises
        ------
        UsageError
            The observables alone need more states than allowed.
        UnreachableError
            The wanted error was not reached; carries the best reduction.
        LimitError
            No reduction comes through the runs (``no-reduction``).
        """
        o, runs = self.options, self.runs
        if o.tolerance is not None:
            return self._finished(self._last().measured(self.candidates.at_tolerance(o.tolerance), math.nan), False)
        least = len(runs.problem.pinned)
        if o.max_size is not None and least > o.max_size:
            message = f"the observables alone need {least} states; --max-size {o.max_size} is too small"
            raise UsageError(Reason("bad-option", message))
        most = min(runs.problem.size, o.max_size if o.max_size is not None else runs.problem.system.size - 1)
        if o.max_size is not None and o.max_error is None:
            found = self._best_up_to(least, most)
            if found.best is None:
                raise LimitError(Reason("no-reduction", self._nothing(most, found.used_up)))
            return self._finished(found.best, found.used_up)
        wanted = o.max_error if o.max_error is not None else _DEFAULT_ERROR
        exact = None if runs.large else runs.exact_size
        if exact is not None:
            most = min(most, max(least, exact))  # with as many states the exact lumping has no error
        found = self._within(wanted, least, most)
        if found.best is None:
            raise LimitError(Reason("no-reduction", self._nothing(most, found.used_up)))
        reduction = self._finished(found.best, found.used_up)
        if not found.accepted:
            raise UnreachableError(self._why(wanted, most, exact, found), reduction)
        return reduction

    # -- searches ------------------------------------------------------------------------------------

    def _within(self, wanted: float, least: int, most: int) -> SizeSearch[Try]:
        o = self.options
        proposer = _Proposer(self.candidates, self.meter, self._progress)
        if self.runs.large or o.algorithm != "balanced" or o.non_negative:
            return first_within(proposer, self._last(), wanted, least, most)
        return smallest_within(proposer, self._last(), wanted, least, most, self._more if o.refine else None)

    def _best_up_to(self, least: int, most: int) -> SizeSearch[Try]:
        o, large = self.options, self.runs.large
        balanced = o.algorithm == "balanced" and not o.non_negative and not large
        return best_up_to(
            _Proposer(self.candidates, self.meter, self._progress),
            self._last(),
            least,
            most,
            every_size=not large,
            polish=balanced and most == o.max_size,
            refine=self._more if o.refine and balanced else None,
        )

    def _last(self) -> _Proposer:
        """Measures without a limit but that of the steps: for the one reduction that is given."""
        return _Proposer(self.candidates, None, self._progress)

    def _more(self) -> _Proposer:
        """The same with as much work again."""
        self.meter.limit = self.meter.spent + self.options.work
        return _Proposer(self.candidates, self.meter, self._progress)

    # -- results -------------------------------------------------------------------------------------

    def _finished(self, tried: Try, used_up: bool) -> ReducedSystem:
        certificate = certificate_of(self.runs, tried, self.meter.spent, used_up)
        return tried.written.reduction(self.runs.problem, certificate, "approximate")

    def _nothing(self, most: int, used_up: bool) -> str:
        if used_up:
            return f"no reduction was found before {self._used()}; {_ADVICE}"
        return f"no reduction with at most {most} states comes through the runs"

    def _used(self) -> str:
        return f"the {self.meter.limit:g} units of work that a search may do were used up"

    def _why(self, wanted: float, most: int, exact: int | None, found: SizeSearch[Try]) -> list[Reason]:
        best = found.best
        assert best is not None
        have = f"the best found has {best.map.size} states and {best.worst:.3g}"
        reduces = exact is not None and exact < self.runs.problem.system.size
        known = f" (the exact lumping has {exact})" if reduces else ""
        if found.used_up:
            message = f"no reduction with an error of at most {wanted:g} was found before {self._used()}: {have}{known}"
            return [Reason("max-error-not-reached", f"{message}; {_ADVICE}")]
        message = (
            f"no reduction with at most {most} states{known} has an error of at most {wanted:g} on the validation "
            f"runs; {have}. Allow a larger error, a smaller --spread, a shorter horizon, or try --refine"
        )
        return [Reason("max-error-not-reached", message)]


_ADVICE: Final = "choose a shorter horizon (--until), allow at most so many states (--max-size), or more work (--work)"
