"""Sizes of approximate reductions for every state of a model as the observable, from one set of trajectories.

What costs most is made once for a model: its end time, the trajectories to learn from and those that decide, the
propagators along some of them. For each observable remain a backward sweep of gradients, one balanced decomposition in
a few variants, and candidates, which are given up as soon as they are too far off. Nothing is refined. A size is
accepted for an error by the same criterion as in a single reduction: of a hundred initial values that took no part
in making or choosing it, the reduced system diverges from none, and is above the error from at most one in twenty.

What is not found with fewer states has the exact size, which keeps every error: no size is above it.

References
----------
As in :mod:`sbmlump.methods.approximate.subspaces`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics.ensemble import (
    NotIntegratedError,
    ReductionProblem,
    Sample,
    end_times,
    gradients,
    pose,
)
from sbmlump.dynamics.solve import exponentials, sweep_back
from sbmlump.dynamics.vector_field import Budget, VectorField, WorkLimitError
from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError
from sbmlump.methods.approximate.learning_runs import LearningRuns, conserved_totals, learning_runs
from sbmlump.methods.approximate.options import ApproximateOptions
from sbmlump.methods.approximate.search import SEARCH, Ranked, Search, constants_of, measured_errors
from sbmlump.methods.approximate.subspaces import (
    Affine,
    Decomposition,
    Offset,
    Snapshots,
    decompositions,
    usable_columns,
)
from sbmlump.methods.approximate.validate import VALIDATION, accepted, strict_failures
from sbmlump.methods.exact.per_species import StateSize, per_species_sizes
from sbmlump.methods.method import Progress, unheard
from sbmlump.model.reduced import FreshErrors, Observable
from sbmlump.model.system import OdeSystem

__all__ = ["EachSettings", "SizeAtError", "StateSizesAtErrors", "reduce_approximately_each"]


@dataclass(frozen=True, slots=True)
class EachSettings:
    """What is made for each observable, and what it may cost.

    Attributes
    ----------
    work_share : float
        Of the work that a single reduction may do: when an observable has taken so much, its search ends; what is
        being measured on fresh initial values then is measured to the end.
    shared_share : float
        Of that work: what each observable adds to the work that may be done for all of them, beside that of one.
    offsets : tuple of str
        How constants of a run enter the lift; without conserved totals the second alone.
    metrics : tuple of (alpha, beta)
        In which the decomposition is made (see :class:`~sbmlump.methods.approximate.subspaces.BalancingSettings`).
    gradient_runs : int
        Trajectories along which gradients are made, the nominal one among them.
    gradient_ends : int
        End times of disturbances; every so many of those that a single reduction looks at.
    snapshot_times : int
        Of each trajectory, about: a decomposition has as many directions as states, and neighbouring times say the
        same.
    dense : int
        Up to so many states propagators are made as matrices, shared by all observables; a matrix of 500 rows is 2 MB.
    dense_runs : int
        Trajectories along which they are made where there are more than ``many_states``.
    many_states : int
    propagator_bytes : int
        Of the matrices that are exponentiated at once.
    group_bytes : int
        Of what observables share that depend on the same states. Where they depend on many different sets of them,
        what was not used for the longest time is made again when it is needed.
    runs : int
        Trajectories that candidates are compared on, at most: nothing is refined, so few parameters are fitted to them.
    few_runs : int
        Runs of the second round.
    first, second : int
        Candidates of one size that the first round, on the nominal run, and the second one leave over.
    worth_a_look : float
        Times the largest error that is still open: up to there a candidate is followed over the runs it was made from.
    judged : int
        Candidates of one size that are measured on fresh initial values.
    beyond : float
        Relative error at a fresh initial value above which a candidate counts as diverged: off by its own magnitude.
    accuracy : float
        Relative tolerance of the integration there, times the smallest error.
    one_by_one : int
        Sizes from the smallest on that are gone through one by one.
    growth : float
        What follows one that failed is so many times as large: a size that fails costs little, as its candidates are
        given up early, while one that is far too large may cost all the work.
    screen : int
        Fresh initial values that are looked at first: most of what is not accepted shows there.
    """

    work_share: float = 0.06
    shared_share: float = 0.02
    offsets: tuple[Offset, ...] = ("totals", "constant")
    metrics: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1e-2, 0.0), (1e-2, 1e-3), (0.1, 1e-2))
    gradient_runs: int = 4
    gradient_ends: int = 12
    snapshot_times: int = 60
    dense: int = 600
    dense_runs: int = 1
    many_states: int = 120
    propagator_bytes: int = 64 << 20
    group_bytes: int = 400 << 20
    runs: int = 13
    few_runs: int = 4
    first: int = 6
    second: int = 2
    worth_a_look: float = 1.5
    judged: int = 2
    beyond: float = 1.0
    accuracy: float = 1e-3
    one_by_one: int = 6
    growth: float = 1.25
    screen: int = 20


STANDARD_EACH: Final = EachSettings()


@dataclass(frozen=True, slots=True)
class SizeAtError:
    """The smallest size that was found for an error.

    Attributes
    ----------
    error : float
        Largest relative error that was wanted.
    size : int
    map : Affine or None
        The projection, over the states that influence the observable; ``None`` where the exact lumping is meant.
    fresh : FreshErrors or None
        What it was accepted by; ``None`` for the exact lumping.
    """

    error: float
    size: int
    map: Affine | None = None
    fresh: FreshErrors | None = None

    @property
    def exact(self) -> bool:
        """Whether nothing smaller than the exact lumping was found."""
        return self.map is None


@dataclass(frozen=True, slots=True)
class StateSizesAtErrors:
    """What is left of a model when one state is observed.

    Attributes
    ----------
    state : str
    exact_size : int
        Of the smallest exact lumping, or the number of states of the model where that is not known.
    sizes : tuple of SizeAtError
        In the order of the errors; empty where ``failure`` says why.
    until : float or None
        End time, the same for all states; ``None`` where none was asked for and nothing was simulated.
    work : float
        Units of work, a share of what all observables have in common included.
    seconds : float
        CPU seconds, likewise.
    reasons : tuple of Reason
        Why nothing smaller than the exact lumping was looked for, or the search ended early.
    failure : SbmlumpError or None
        The error that a single reduction would raise.
    """

    state: str
    exact_size: int
    sizes: tuple[SizeAtError, ...]
    until: float | None = None
    work: float = 0.0
    seconds: float = 0.0
    reasons: tuple[Reason, ...] = ()
    failure: SbmlumpError | None = None

    def at(self, error: float) -> SizeAtError | None:
        """What was found for an error, if that was asked for."""
        return next((one for one in self.sizes if one.error == error), None)


def reduce_approximately_each(
    system: OdeSystem,
    states: Sequence[str] | None = None,
    options: ApproximateOptions | None = None,
    errors: Sequence[float] = (0.01, 0.05, 0.1),
    *,
    progress: Progress = unheard,
    settings: EachSettings = STANDARD_EACH,
) -> Iterator[StateSizesAtErrors]:
    """Sizes at some errors for each state as the only observable, by the balanced decomposition without refinement.

    Parameters
    ----------
    system : OdeSystem
    states : sequence of str, optional
        Which ones; all by default.
    options : ApproximateOptions
        ``until``, ``ensemble``, ``spread``, ``seed`` and ``work`` count; the defaults if absent.
    errors : sequence of float
        Largest relative errors.
    progress : callable
    settings : EachSettings

    Yields
    ------
    StateSizesAtErrors
        In the order of ``states``.

    Notes
    -----
    The end time is one for all: that at which all states, observed together, have done what they do.
    """
    options = ApproximateOptions() if options is None else options
    begin = time.process_time()
    wanted = tuple(dict.fromkeys(system.states if states is None else states))
    levels = tuple(sorted(set(errors)))
    progress("exact sizes")
    exact = _exact_sizes(system, wanted, options.seed)
    posed: dict[str, ReductionProblem] = {}
    untold: dict[str, SbmlumpError] = {}
    for name in wanted:
        try:
            posed[name] = pose(system, (Observable(name, system.graph.symbol(name), name),))
        except UnsupportedModelError as error:
            untold[name] = error
    shared: _Shared | None = None
    why: SbmlumpError | None = None
    # a state of which the exact lumping leaves one state or none needs no search
    searched = [name for name in posed if exact[name] > 1]
    if searched:
        try:
            members = Counter(posed[name].kept for name in searched)
            shared = _Shared(system, searched, members, options, settings, progress)
        except (LimitError, np.linalg.LinAlgError) as error:
            why = error if isinstance(error, LimitError) else _diverging(error)
            if isinstance(error, NotIntegratedError) and error.nominal and options.until is not None:
                untold.update(dict.fromkeys(searched, error))
    set_up = time.process_time() - begin, (0.0 if shared is None else shared.spent)
    for name in wanted:
        begin = time.process_time()
        if name in untold and not _only_events(untold[name]):
            found = StateSizesAtErrors(name, exact[name], (), failure=untold[name])
        elif name in untold or name not in searched or shared is None:
            reason = untold.get(name, why if name in searched else None)
            found = _exact_only(
                name, exact[name], levels, reason, options.until if shared is None else shared.runs.until
            )
        else:
            found = shared.sizes(posed[name], exact[name], levels)
        seconds = time.process_time() - begin + set_up[0] / len(wanted)
        yield replace(found, seconds=seconds, work=found.work + set_up[1] / len(wanted))


def _exact_sizes(system: OdeSystem, states: Sequence[str], seed: int) -> dict[str, int]:
    """Exact size of each state; where that cannot be said, the model itself is what keeps every error."""
    found = dict.fromkeys(states, system.size)
    try:
        for one in per_species_sizes(system, states, seed):
            if isinstance(one, StateSize):
                found[one.state] = one.size
    except UnsupportedModelError:
        pass  # the reason comes again, and is told, where the observable is posed
    return found


def _only_events(error: SbmlumpError) -> bool:
    return all(reason.code == "event-not-lumpable" for reason in error.reasons)


def _diverging(error: np.linalg.LinAlgError) -> LimitError:
    return LimitError(Reason("no-reduction", f"a decomposition does not converge ({error})"))


def _exact_only(
    name: str, size: int, levels: Sequence[float], why: SbmlumpError | None, until: float | None
) -> StateSizesAtErrors:
    reasons = () if why is None else (_instead(size, why),)
    return StateSizesAtErrors(name, size, tuple(SizeAtError(level, size) for level in levels), until, reasons=reasons)


def _instead(size: int, why: SbmlumpError) -> Reason:
    what = f"nothing smaller than {size} states, which keep every error, was looked for"
    return Reason("exact-instead", f"{what}: {why}")


# -- what all observables share ----------------------------------------------------------------------


class _Shared:
    """The trajectories of a model, and what belongs to observables that depend on the same states."""

    def __init__(
        self,
        system: OdeSystem,
        states: Sequence[str],
        members: Mapping[tuple[int, ...], int],
        options: ApproximateOptions,
        settings: EachSettings,
        progress: Progress,
    ) -> None:
        self.settings, self.options = settings, options
        self._progress = progress
        self._to_come = dict(members)  # observables of each group
        observables = [Observable(name, system.graph.symbol(name), name) for name in states]
        budget = Budget(options.work * (1 + settings.shared_share * len(states)))
        self.runs: LearningRuns = learning_runs(system, observables, options, budget, progress)
        progress("simulating the original from fresh initial values")
        own = Budget()
        self.fresh: Sample = self.runs.fresh(own)
        self.spent = budget.spent + own.spent
        self._groups: dict[tuple[int, ...], _Group] = {}

    def sizes(self, problem: ReductionProblem, exact: int, levels: Sequence[float]) -> StateSizesAtErrors:
        """Sizes for one observable."""
        name = problem.observables[0].id
        self._progress(f"reductions that keep {name}")
        budget = Budget(self.settings.work_share * self.options.work)
        descent: _SizesFromBelow | None = None
        reasons: tuple[Reason, ...] = ()
        try:
            group = self._group(problem)
            one = group.posed(problem)
            descent = _SizesFromBelow(_EachSearch(group, one, budget, max(levels)), group, levels)
            descent.run(min(exact - 1, problem.size))
        except WorkLimitError:
            message = f"the search ended after its {budget.limit:g} units of work; more work (--work) may find less"
            reasons = (Reason("work-limit", message),)
        except np.linalg.LinAlgError as error:
            reasons = (_instead(exact, _diverging(error)),)
        found = {} if descent is None else descent.found
        told = tuple(found.get(level) or SizeAtError(level, exact) for level in levels)
        return StateSizesAtErrors(name, exact, told, self.runs.until, budget.spent, reasons=reasons)

    def _group(self, problem: ReductionProblem) -> _Group:
        """That of an observable; those that are not used any more, or not for the longest time, make room."""
        self._to_come[problem.kept] -= 1
        group = self._groups.pop(problem.kept, None) or _Group(self, problem)
        if self._to_come[problem.kept]:
            self._groups[problem.kept] = group
        while sum(one.bytes for one in self._groups.values()) > self.settings.group_bytes:
            del self._groups[next(iter(self._groups))]
        return group


class _Group:
    """What belongs to all observables that depend on the same states."""

    def __init__(self, shared: _Shared, problem: ReductionProblem) -> None:
        self.settings = shared.settings
        whole = shared.runs.problem
        self._whole = shared.runs.bounded
        place = {j: i for i, j in enumerate(whole.kept)}
        columns = np.array([place[j] for j in problem.kept], dtype=np.int64)
        guarded = self.posed(problem)
        field = guarded.vector_field()
        resets = tuple(guarded.resets(shared.runs.until, field.timed))

        def part(sample: Sample) -> Sample:
            states = np.ascontiguousarray(sample.states[:, :, columns])
            return replace(sample, vector_field=field, states=states, scale=sample.scale[columns], resets=resets)

        self.training, self.checking, self.fresh = (
            part(sample) for sample in (shared.runs.training, shared.runs.checking, shared.fresh)
        )
        self.totals = conserved_totals(problem, self.training.scale)
        times = len(self.training.times)
        stride = max(1, round((times - 1) / self.settings.snapshot_times))
        self.times: Indices = np.unique([*range(0, times, stride), times - 1])
        ends = np.searchsorted(self.times, end_times(self.training))
        every = -(-len(ends) // self.settings.gradient_ends)
        self.ends: Indices = np.unique(ends[::-1][::every])
        runs = self.settings.gradient_runs if len(columns) <= self.settings.many_states else self.settings.dense_runs
        self.gradient_runs = min(runs, len(self.training.states))
        self._phi: Array | None = None

    @property
    def bytes(self) -> int:
        """What it takes of the memory, about."""
        samples = (self.training, self.checking, self.fresh)
        return sum(one.states.nbytes for one in samples) + (0 if self._phi is None else self._phi.nbytes)

    def posed(self, problem: ReductionProblem) -> ReductionProblem:
        """The problem kept in its domain as the whole model is."""
        guarded = replace(problem, clamps=self._whole.clamps)
        guarded.__dict__["guards"] = self._whole.guards  # the same, known already
        if not self._whole.clamps:
            guarded.__dict__["bound"] = problem.bound
        return guarded

    def gradients(self, pinned: Array) -> Array:
        """How disturbances at :attr:`times` move pinned quantities later, (runs, times, ends, p, n)."""
        n = pinned.shape[1]
        if self.training.resets or n > self.settings.dense:
            adjoint, _ = gradients(self.training, pinned, min(self.gradient_runs, 1 if n > self.settings.dense else 3))
            return np.asarray(adjoint[:, self.times])
        if self._phi is None:
            self._phi = self._propagators()
        tips = np.zeros((self.gradient_runs, len(self.ends), len(pinned), self._phi.shape[-1]))
        tips[..., :n] = pinned
        return sweep_back(self._phi, self.ends, tips)[..., :n]

    def _propagators(self) -> Array:
        """Φ over the intervals of :attr:`times`, (runs, intervals, n, n); NaN where one cannot be computed."""
        training = self.training
        field = training.vector_field
        grid = training.with_time(training.states[: self.gradient_runs])
        size = field.size
        out = np.empty((self.gradient_runs, len(self.times) - 1, size, size))
        block = max(1, self.settings.propagator_bytes // (8 * size * size))
        for i, path in enumerate(grid):
            for k, (low, high) in enumerate(zip(self.times[:-1].tolist(), self.times[1:].tolist(), strict=True)):
                phi = np.eye(size)
                for begin in range(low, high, block):
                    end = min(begin + block, high)
                    for step in _steps(
                        field, int(training.numbers[i]), training.times[begin : end + 1], path[begin : end + 1]
                    ):
                        phi = step @ phi
                out[i, k] = phi
        return out


def _steps(field: VectorField, run: int, times: Array, states: Array) -> Array:
    """Propagators of the intervals between some times, (m − 1, n, n)."""
    h = np.diff(times)
    rates = field.rates(states, np.full(len(states), run))
    middles = 0.5 * (states[:-1] + states[1:]) + h[:, None] * (rates[:-1] - rates[1:]) / 8
    z = field.jacobians(middles, np.full(len(middles), run)) * h[:, None, None]
    try:
        return exponentials(z, h)[0]
    except np.linalg.LinAlgError:
        return np.full(z.shape, np.nan)


class _EachSearch(Search):
    """Candidates for one observable: one decomposition in a few metrics, from what its group shares."""

    def __init__(self, group: _Group, problem: ReductionProblem, budget: Budget, wanted: float) -> None:
        self._group = group
        super().__init__(problem, group.training, group.totals, wanted=wanted, budget=budget)

    def _decompose(self) -> list[Decomposition]:
        problem, training, group = self.problem, self.training, self._group
        n = problem.size
        c = problem.pinned_array()
        adjoint = group.gradients(c)
        size = float(np.abs(training.states @ c.T).max(initial=0.0)) or 1.0
        own = float(np.linalg.norm(c * training.scale / size, axis=1).max(initial=0.0))
        columns = usable_columns(adjoint.transpose(4, 0, 1, 2, 3).reshape(n, -1) / size, training.scale, own)
        few = training.states[:, group.times]
        states = few.transpose(2, 0, 1).reshape(n, -1)
        constants = np.repeat(self.constants, few.shape[1], axis=0).T
        self.snapshots = Snapshots(states, constants, columns, c, self.totals, training.scale)
        offsets = [one for one in group.settings.offsets if one != "totals" or len(self.totals)]
        return decompositions(self.snapshots, offsets, {"plain": columns})

    def candidates(self, size: int) -> list[Affine]:
        """Every candidate with ``size`` states."""
        found = [
            self.normalised(candidate)
            for one in self._decompositions
            for alpha, beta in self._group.settings.metrics
            if (candidate := one.candidate(size, alpha, beta)) is not None
        ]
        return self._distinct(found)

    def contenders(self, size: int, most: float) -> list[Ranked]:
        """Candidates that stay within an error over all runs they were made from, the best first."""
        settings = self._group.settings
        r = min(settings.runs, len(self.training.states))
        maps = self.candidates(size)
        for runs, count in ((1, settings.first), (min(settings.few_runs, r), settings.second)):
            if not maps:
                return []
            worst = self.errors(maps, np.arange(runs), most, max(self._relative, SEARCH.coarse)).max(axis=1)
            order = np.argsort(worst, kind="stable")[:count].tolist()
            maps = [maps[i] for i in order if worst[i] <= most]
        if not maps:
            return []
        errors = self.errors(maps, np.arange(r), most)
        full = [Ranked(one, row) for one, row in zip(maps, errors, strict=True)]
        return sorted((one for one in full if one.worst <= most), key=lambda one: one.worst)


class _SizesFromBelow:
    """The sizes of one observable, from below."""

    def __init__(self, search: _EachSearch, group: _Group, levels: Sequence[float]) -> None:
        self._search, self._group = search, group
        self._levels = levels
        self.found: dict[float, SizeAtError] = {}
        self._judged: dict[int, list[tuple[Affine, Array]]] = {}

    def run(self, most: int) -> None:
        """Sizes one by one, later in growing steps whose gaps are halved, until every error is kept."""
        below = 0
        for size in self._sizes(most):
            waiting = [level for level in sorted(self._levels, reverse=True) if level not in self.found]
            # all errors that this size keeps, before the work may end at a smaller one
            for level in [level for level in waiting if self._accepts(size, level)]:
                self._narrow(below, size, level)
            if len(self.found) == len(self._levels):
                return
            below = size

    def _sizes(self, most: int) -> Iterator[int]:
        settings = self._group.settings
        size = 1
        while size < most:
            yield size
            size += 1 if size < settings.one_by_one else max(1, int((settings.growth - 1) * size))
        if most > 0:
            yield most

    def _narrow(self, below: int, above: int, level: float) -> None:
        while above - below > 1:
            middle = (below + above) // 2
            if self._accepts(middle, level):
                above = middle
            else:
                below = middle

    def _accepts(self, size: int, level: float) -> bool:
        """Whether a reduction to that size keeps an error: remembered if it is the smallest one."""
        for one, errors in self._errors(size):
            fresh = FreshErrors.of(errors, level)
            if accepted(fresh, fresh.above):
                known = self.found.get(level)
                if known is None or size < known.size:
                    self.found[level] = SizeAtError(level, size, one, fresh)
                return True
        return False

    def _errors(self, size: int) -> list[tuple[Affine, Array]]:
        """Candidates of one size with their errors from the fresh initial values, the best first."""
        if size not in self._judged:
            waiting = [level for level in self._levels if level not in self.found]
            most = self._group.settings.worth_a_look * max(waiting or self._levels)
            self._judged[size] = []
            for one in self._search.contenders(size, most)[: self._group.settings.judged]:
                errors = self._fresh_errors(one.map, max(waiting or self._levels))
                if errors is not None:
                    self._judged[size].append((one.map, errors))
                    best = FreshErrors.of(errors, min(self._levels))
                    if accepted(best, best.above):
                        break  # no other one can do better
        return self._judged[size]

    def _fresh_errors(self, one: Affine, level: float) -> Array | None:
        """Errors from the fresh initial values; ``None`` where a few of them tell that no error is kept.

        They are counted as work, but are not ended by its limit: what was found so far would be lost for them.
        """
        own = Budget()
        try:
            return self._decided(one, level, own)
        finally:
            self._search.budget.spent += own.spent

    def _decided(self, one: Affine, level: float, budget: Budget) -> Array | None:
        settings, fresh = self._group.settings, self._group.fresh
        few = self._measured(one, self._group.checking, np.arange(len(self._group.checking.states)), budget)
        if not np.isfinite(few).all() or int((few > level).sum()) > VALIDATION.few_above:
            return None
        count = len(fresh.states)
        most = VALIDATION.share_above * count
        found = np.empty(0)
        for low, high in ((0, min(settings.screen, count)), (settings.screen, count)):
            if low < high:
                found = np.concatenate([found, self._measured(one, fresh, np.arange(low, high), budget)])
            if not np.isfinite(found).all() or int((found > level).sum()) > most:
                return None
        failed = strict_failures(one, self._group.totals, self._group.training, budget)
        return None if failed else found

    def _measured(self, one: Affine, sample: Sample, rows: Indices, budget: Budget) -> Array:
        search, settings = self._search, self._group.settings
        constants = constants_of(self._group.totals, self._group.training.scale, sample.starts)
        errors = measured_errors(
            search.problem,
            search.readout,
            sample,
            [one],
            constants,
            rows,
            settings.beyond,
            float(np.clip(settings.accuracy * min(self._levels), VALIDATION.relative_tolerance, SEARCH.coarse)),
            budget,
        )
        return np.asarray(errors[0])
