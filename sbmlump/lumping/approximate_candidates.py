"""Candidates of one size: what each algorithm proposes, and what refinement makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate.work import Meter
from sbmlump.lumping.approximate_options import ApproximateOptions
from sbmlump.lumping.approximate_runs import LearningRuns
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.epsilon_partition import Kind, bisect_epsilon, block_projection, epsilon_partition
from sbmlump.lumping.krylov import (
    JacobianSpan,
    approximate_rows,
    bisect_tolerance,
    jacobian_span,
    pinned_projection,
)
from sbmlump.lumping.refine import refine
from sbmlump.lumping.search import Readout, Search, constants_of, measured_errors
from sbmlump.lumping.size_search import MOST_TRIED, Proposal
from sbmlump.lumping.training import conserved_totals

__all__ = ["Candidates"]

Array = NDArray[np.float64]
Progress = Callable[[str], None]
_POLISHING_STEPS: Final = 12  # that even an unrefined reduction gets: they cost a few times as much as its selection
_REFINING_STEPS: Final = 25
_GOOD: Final = 0.3  # times the wanted error: refinement stops there
_MANY: Final = 1_000
_EVERY: Final = 15  # where no candidate comes through the runs, refinement starts from one in so many
_HOPELESS: Final = 30.0  # times the wanted error: another start will not bring it there either
_WORTH_MORE_RUNS: Final = 3.0  # times the wanted error


class Candidates:
    """Reductions of one problem, made when they are asked for.

    Parameters
    ----------
    runs : LearningRuns
    meter : Meter
        Counts what it costs to make and compare them.
    progress : callable
    wanted : float, optional
        The error that is aimed at; comparisons are as accurate as that needs.
    """

    def __init__(
        self, runs: LearningRuns, meter: Meter, progress: Progress = lambda _: None, wanted: float | None = None
    ) -> None:
        self.runs = runs
        self.options: ApproximateOptions = runs.options
        self._meter = meter
        self._progress = progress
        self._wanted = wanted
        self._search: Search | None = None
        self._wide: Search | None = None
        self._deep: Search | None = None
        self._span: JacobianSpan | None = None

    @property
    def search(self) -> Search:
        """Snapshots, gradients and decompositions."""
        if self._search is None:
            runs = self.runs
            self._search = Search(runs.problem, runs.training, runs.totals, self._progress, self._wanted, self._meter)
        return self._search

    @property
    def wide(self) -> Search:
        """The same decompositions, with errors on three times as many runs of another draw."""
        if self._wide is None:
            self._wide = self.search.on(self.runs.wider(self._meter))
        return self._wide

    @property
    def deep(self) -> Search:
        """Snapshots, gradients and decompositions from three times as many runs."""
        if self._deep is None:
            runs = self.runs
            sample = runs.deeper(self._meter)
            totals = conserved_totals(runs.problem, sample.scale)
            self._deep = Search(runs.problem, sample, totals, self._progress, self._wanted, self._meter)
        return self._deep

    @property
    def span(self) -> JacobianSpan:
        """Matrices that span the Jacobians (Algorithm 1)."""
        if self._span is None:
            self._span = jacobian_span(self.runs.problem.field(), self.runs.box(), self.options.seed)
        return self._span

    # -- as they come --------------------------------------------------------------------------------

    def proposals(self, size: int) -> Iterator[Proposal]:
        """Reductions of one size and their worst training errors, the best first."""
        if self.options.non_negative:
            from sbmlump.lumping.nonnegative import non_negative_projection

            runs = self.runs
            yield from self._with_errors(non_negative_projection(runs.problem, runs.training, size, self.options.seed))
        elif self.options.algorithm == "krylov":
            yield from self._with_errors(self._krylov(size))
        elif self.options.algorithm != "balanced":
            yield from self._with_errors(self._blocks(size))
        elif self.runs.large:
            yield from ((one, 0.0) for one in self.search.candidates(size))
        else:
            yield from ((one.map, one.worst) for one in self.search.ranked(size))

    def at_tolerance(self, tolerance: float) -> Affine:
        """What the published algorithm, or an ε-equivalence, gives for its own ε."""
        runs = self.runs
        if self.options.algorithm != "krylov":
            pinned, field, kind = runs.problem.pinned_array(), runs.problem.field(), self._kind()
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
        pinned, field = runs.problem.pinned_array(), runs.problem.field()
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
        errors = measured_errors(runs.problem, readout, sample, [one], constants, rows, 10.0, meter=self._meter)
        yield one, float(errors.max())

    # -- refined -------------------------------------------------------------------------------------

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """The best candidate of one size, refined a little, and its worst training error."""
        search = self.search
        starts = [one.map for one in search.ranked(size)[:1]] or search.candidates(size)[::_MANY][:MOST_TRIED]
        return self._refined(search, starts, _POLISHING_STEPS, wanted, bool(search.ranked(size)))

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """Refined from more runs, where what was learned from the fewer ones may not hold for others.

        ``near`` is the training error that refinement reached on the fewer ones.
        """
        if near > _WORTH_MORE_RUNS * wanted:
            return
        first: dict[str, Affine] = {}  # the best candidate with each kind of offset
        for one in self.search.ranked(size):
            first.setdefault(one.map.label.partition(",")[0], one.map)
        for start in list(first.values())[:MOST_TRIED]:
            yield from self._refined(self.wide, [start], _REFINING_STEPS, wanted, True)

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Refined from more runs and several starts, to the end; the best first."""
        ranked = [one.map for one in self.deep.ranked(size)[:MOST_TRIED]]
        starts = ranked or self.deep.candidates(size)[::_EVERY][:MOST_TRIED]
        found = self._refined(self.deep, starts, _REFINING_STEPS, wanted, bool(ranked))
        yield from ((self._in_totals_of_runs(one), worst) for one, worst in found)

    def _in_totals_of_runs(self, one: Affine) -> Affine:
        """A reduction whose offset is a function of totals in the units of other runs, which span the same."""
        runs = self.runs
        if not len(runs.totals):
            return one
        theirs, own = self.deep.totals / self.deep.training.scale, runs.totals / runs.training.scale
        weights = np.linalg.lstsq(own.T, theirs.T, rcond=None)[0].T  # theirs = weights · own
        return replace(one, offset=np.concatenate([one.offset[:, :1], one.offset[:, 1:] @ weights], axis=1))

    def _refined(
        self, search: Search, starts: list[Affine], steps: int, wanted: float | None, ranked: bool
    ) -> list[Proposal]:
        found = []
        rows = np.arange(len(search.training.states))
        for start in starts:
            better = refine(search, start, steps, _GOOD * (wanted or 0.0), self._progress, wanted)
            worst = float(search.errors([better], rows).max())
            if np.isfinite(worst):
                found.append((better, worst))
            if wanted is not None and (worst <= 0.5 * wanted or (ranked and worst > _HOPELESS * wanted)):
                break
        return sorted(found, key=lambda pair: pair[1])
