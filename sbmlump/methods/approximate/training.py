"""Refinement of projections by least squares on the errors of trajectories: tournament, training, enrichment.

The candidate that is best before refinement is often not the best one after it: a tournament gives several of them a
few steps on few trajectories, then the best is trained on more. Where what it learnt does not hold for other initial
values, those at which it is worst are put into the training set.

All of L₂, L̄ and G move, within LL̄ = I, LG = 0 and the pinned rows. The derivative of every error at every end time with
respect to all of them comes from one backward recursion of the small system: a change δL, δL̄, δG changes the reduced
right-hand side by δL f(x̂) + LJ(x̂)(δL̄ y + δG ψ), ψ being what G multiplies, and the reduced adjoint carries that to the
end times.

A start that does not get through is followed as far as it goes: the time span of the objective grows as it improves.

References
----------
Levenberg, Quart. Appl. Math. 2 (1944), doi 10.1090/qam/10666; Marquardt, SIAM J. 11 (1963), doi 10.1137/0111030.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics import StepControl
from sbmlump.dynamics.compiled import kernels
from sbmlump.dynamics.ensemble import NotIntegratedError, Sample, joined_samples, largest_values
from sbmlump.dynamics.rosenbrock import DeviationObserver, advance
from sbmlump.dynamics.solve import Along, exponentials
from sbmlump.dynamics.vector_field import PRODUCT, StopRequestedError, WorkLimitError, at_time_zero
from sbmlump.linalg import DampingSettings, damped_steps
from sbmlump.methods.approximate.learning_runs import FurtherRuns
from sbmlump.methods.approximate.quadratic import QuadraticLift, with_products
from sbmlump.methods.approximate.search import Proposal, Search, largest_but_few, lifted_field, pinned_magnitudes
from sbmlump.methods.approximate.subspaces import Affine

__all__ = ["PATIENT", "TRAINING", "Descent", "Effort", "Training", "TrainingSettings", "Trial"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much refinement a size gets.

    Attributes
    ----------
    dampings : int
        Trials of a step.
    entrants : int
        Candidates that take part in the tournament.
    rounds : tuple of (steps, survivors)
        Of the tournament.
    polishing : int
        Further steps of the survivors on the same trajectories; the best of them is the winner.
    steps : int
        Steps on more trajectories.
    enrichments : int
        Rounds of enrichment at most.
    first, then : float
        Times the wanted error: a tournament ends where all that take part are farther away before, or after its first
        round if they came through before. (Of 98 tournaments of 80 models none of the 22 that led to something was, and
        half of the others were.)
    """

    dampings: int
    entrants: int
    rounds: tuple[tuple[int, int], ...]
    polishing: int
    steps: int
    enrichments: int
    first: float = np.inf
    then: float = np.inf


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Tournament, training and enrichment.

    Attributes
    ----------
    usual, thorough : Effort
        Without and with ``--refine``.
    coming : float
        Share of the time span that the best of those has to come through.
    runs : int
        Trajectories of the tournament; where the search has fewer, they are taken from the further ones.
    stride : int
        Every so many output times take part in the tournament.
    tournament_ends, ends : int
        End times of adjoints in the tournament and in training.
    most_numbers : int
        In the table of derivatives (32 MB): fewer end times where there would be more.
    block : int
        Numbers in the largest table of one block of trajectories (4 MB, what a processor keeps at hand: a third of the
        time of blocks of 64 MB).
    most_products : int
        In a lift of degree two to begin with.
    near : float
        Times the wanted error: an affine reduction that is farther away is not curved.
    pruning : float
        By how much the worst error may grow for a product that is left out.
    enriching_steps : int
        Steps after an enrichment.
    hardest : int
        Initial values that are added in a round.
    good : float
        Times the wanted error: refinement stops there.
    hopeless : float
        Times the wanted error: what is farther away after the tournament is not trained.
    worth_more_runs : float
        Times the wanted error: what is farther away from fewer runs is not learned again from more.
    worth_going_on : float
        The same of what has been learned from more: it is not enriched, or not made simpler.
    give_up : float
        Relative error beyond which a run is not followed further.
    accuracy, floor : float
        Relative tolerance of trials, and absolute one in units of each component.
    most_steps, least_steps : int
        Steps of the integration of a trial: most, and so many in any case.
    shorten, shortest, lengthen : float
        A step of which no damping is an improvement is tried again at a tenth of its length, down to a thousandth;
        after one that is, the next may be three times as long, up to a whole one.
    first_length : float
        Of the first step: far from a minimum whole ones lead astray.
    alike : float
        Of the progress of the best damping: a larger damping is taken where it makes all but so much of it.
    least_points : int
        Output times that all runs have to reach.
    sifting_runs : int
        Once all runs get through, the dampings of a step are tried on so many runs first, those that are farthest off.
    sifted : int
        Dampings that are then tried on all runs.
    worth_sifting : float
        From so many times as many runs on: with fewer it would cost as much as it saves.
    look_back : int
        Steps over which progress is judged.
    idle : int
        Steps in turn without progress (2 % less) that end a refinement.
    sharpness : float
        The errors are weighed by their own size so that their norm is of this power: the worst ones count most.
    least_weight : float
        Of the smallest errors beside the largest.
    """

    usual: Effort = Effort(6, 4, ((3, 2), (2, 1)), 8, 15, 1, first=30.0, then=6.0)
    thorough: Effort = Effort(12, 12, ((3, 6), (3, 2)), 6, 25, 3)
    coming: float = 0.7
    runs: int = 25
    stride: int = 2
    tournament_ends: int = 16
    ends: int = 32
    most_numbers: int = 4_000_000
    block: int = 500_000
    most_products: int = 60
    near: float = 10.0
    pruning: float = 0.05
    enriching_steps: int = 15
    hardest: int = 30
    good: float = 0.3
    hopeless: float = 30.0
    worth_more_runs: float = 2.0
    worth_going_on: float = 3.0
    give_up: float = 2.0
    accuracy: float = 1e-5
    floor: float = 1e-7
    most_steps: int = 400
    least_steps: int = 150
    shorten: float = 0.1
    shortest: float = 1e-3
    lengthen: float = 3.0
    first_length: float = 0.3
    alike: float = 0.1
    least_points: int = 3
    sifting_runs: int = 6
    sifted: int = 2
    worth_sifting: float = 3.0
    look_back: int = 3
    idle: int = 3
    sharpness: float = 4.0
    least_weight: float = 1e-2


TRAINING: Final = TrainingSettings()
PATIENT: Final = replace(TRAINING, usual=Effort(6, 6, ((3, 3), (2, 1)), 8, 15, 1), worth_more_runs=3.0)
"""Before thorough refinement, which goes on from what the usual one learnt: with it nothing is saved."""


# -- Levenberg-Marquardt on one set of trajectories ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """A projection with what its runs look like: reduced paths (r, m, k), errors (r, m, p), how far all came.

    Errors are those of the pinned components that the observables depend on. ``length`` is the part of a step that is
    tried next.
    """

    map: Affine
    paths: Array
    errors: Array
    alive: int
    steps: int = 0
    length: float = TRAINING.first_length

    def cost(self, upto: int) -> float:
        """Norm of the errors of the first points, the larger the error the more it counts."""
        if upto > self.alive:
            return np.inf
        power = TRAINING.sharpness
        return float(np.mean(np.abs(self.errors[:, :upto]) ** power) ** (1 / power))

    def worst(self) -> float:
        """Largest error; infinite where a run does not get through."""
        return float(np.abs(self.errors).max(initial=0.0)) if self.alive == self.errors.shape[1] else np.inf

    def rank(self) -> tuple[int, float]:
        """Smaller is better."""
        return -self.alive, self.cost(self.alive)


@dataclass(slots=True)
class _Course:
    """One refinement among those that are made side by side."""

    state: Trial
    history: list[float]
    changes: Array | None = None
    idle: int = 0
    done: bool = False


class Descent:
    """Refinement of candidates of one size on the trajectories of a search's training sample.

    Parameters
    ----------
    search : Search
    dampings : int
        Trials of a step.
    stride : int
        Every so many output times take part.
    end_times : int
        Of adjoints, at most.
    runs : int, optional
        Trajectories that take part at most.

    Attributes
    ----------
    reached : list of Trial
        How far refinement came, step by step: what there is where its work is used up.
    """

    def __init__(
        self, search: Search, dampings: int, stride: int = 1, end_times: int = TRAINING.ends, runs: int | None = None
    ) -> None:
        training = search.training
        self.search = search
        self._damping = DampingSettings(count=dampings)
        self.field = training.vector_field
        index = np.unique(np.concatenate([np.arange(0, len(training.times), stride), [len(training.times) - 1]]))
        self.rows = np.arange(len(training.states) if runs is None else min(runs, len(training.states)))
        self.end_times = end_times
        self.times = training.times[index]
        self.states = training.states[np.ix_(self.rows, index)]
        self.constants = search.constants[self.rows]
        self.numbers = training.numbers[self.rows]
        self.scale = training.scale
        self.pinned = search.problem.pinned_array()
        self.observed = search.readout.used
        self.wanted = self.states @ self.pinned[self.observed].T
        self.size = largest_values(self.wanted, self.states)
        self.reached: list[Trial] = []

    # -- simulation --------------------------------------------------------------------------------

    def states_of(
        self,
        maps: Sequence[Affine],
        give_up: Array | None = None,
        steps: int | None = None,
        rows: Indices | None = None,
    ) -> list[Trial]:
        """Simulate candidates side by side; runs that are off by more than ``give_up`` are not followed further.

        With ``rows``, from these of the runs alone.
        """
        if not maps:
            return []
        rows = np.arange(len(self.rows)) if rows is None else rows
        r, p = len(rows), self.pinned.shape[0]
        limits = np.full(len(maps), TRAINING.give_up) if give_up is None else give_up
        field = lifted_field(self.field, maps, self.constants[rows], self.numbers[rows])
        starts = np.concatenate([self.states[rows, 0] @ m.matrix.T for m in maps])
        magnitude = np.ones(maps[0].size)
        magnitude[:p] = pinned_magnitudes(self.states, self.pinned)
        if field.timed:
            starts = at_time_zero(starts, True)
            magnitude = np.append(magnitude, self.times[-1])
        observer = self._observer(limits, rows)
        most = TRAINING.most_steps if steps is None else steps
        tolerances = StepControl(TRAINING.accuracy, TRAINING.floor * magnitude, most, self.search.training.stops)
        runs = advance(field, starts, self.times, None, tolerances, observer, self.search.budget)
        paths = runs.states[:, :, : maps[0].size].reshape(len(maps), r, len(self.times), -1)
        errors = (paths[..., self.observed] - observer.wanted) / observer.sizes[:, None, :]
        finite = np.isfinite(paths).all(axis=3)
        finite &= np.abs(errors).max(axis=3, initial=0.0) <= limits[:, None, None]
        alive = np.where(finite.all(axis=2), len(self.times), np.argmin(finite, axis=2)).min(axis=1)
        return [
            Trial(m, path, error, int(a), runs.steps)
            for m, path, error, a in zip(maps, paths, errors, alive, strict=True)
        ]

    def _observer(self, limits: Array, rows: Indices) -> DeviationObserver:
        """Gives up what is off by more than the limit of its candidate."""
        read = np.zeros((self.pinned.shape[0], len(self.observed)))
        read[self.observed, np.arange(len(self.observed))] = 1.0
        return DeviationObserver(
            self.times,
            lambda _, y: y[:, self.observed],
            self.wanted[rows],
            self.size[rows],
            limits,
            (read, np.zeros(len(self.observed))),
        )

    def mean_features(self, state: Trial) -> Array:
        """Means of what the columns of G multiply along the reduced runs, (f,)."""
        return np.asarray(state.map.features(state.paths, self.constants).mean(axis=(0, 1)))

    # -- several refinements side by side ------------------------------------------------------------

    def improved(
        self,
        starts: Sequence[Trial],
        steps: int,
        target: float = 0.0,
        wanted: float | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> list[Trial]:
        """So many steps of each, or fewer where no progress is made; the trials of all are simulated together.

        ``target`` ends a refinement whose largest error is below it; ``wanted`` one that will not come below that.
        """
        courses = [_Course(state, []) for state in starts]
        for iteration in range(steps):
            active = [one for one in courses if not one.done]
            if not active:
                break
            progress(f"refining {active[0].state.map.size} states, step {iteration + 1}")
            trials: list[tuple[_Course, list[Affine], float]] = []
            for one in active:
                limit = self._limit(one, target, wanted, steps - iteration)
                moved = [] if limit is None else self._next(one)
                if limit is None or not moved:
                    one.done = True
                else:
                    trials.append((one, moved, limit))
            if not trials:
                break
            most = 0 if any(not np.isfinite(limit) for *_, limit in trials) else max(c.state.steps for c, *_ in trials)
            allowed = min(TRAINING.most_steps, max(TRAINING.least_steps, 2 * most)) if most else TRAINING.most_steps
            trials = [(one, self._sifted(one.state, moved, limit, allowed), limit) for one, moved, limit in trials]
            limits = np.concatenate([np.full(len(m), min(TRAINING.give_up, limit)) for _, m, limit in trials])
            tried = self.states_of([m for _, moved, _ in trials for m in moved], limits, allowed)
            for one, moved, _ in trials:
                self._take(one, tried[: len(moved)])
                tried = tried[len(moved) :]
            self.reached = [one.state for one in courses]
        return [one.state for one in courses]

    def _sifted(self, state: Trial, moved: list[Affine], limit: float, steps: int) -> list[Affine]:
        """The better trials by the runs that are farthest off now, in their order; all where there are few runs."""
        count = TRAINING.sifting_runs
        if len(moved) <= TRAINING.sifted or len(self.rows) < TRAINING.worth_sifting * count or not np.isfinite(limit):
            return moved
        hardest = np.sort(np.argsort(-np.abs(state.errors).max(axis=(1, 2)), kind="stable")[:count])
        tried = self.states_of(moved, np.full(len(moved), min(TRAINING.give_up, limit)), steps, hardest)
        order = np.argsort([trial.cost(state.alive) for trial in tried], kind="stable")[: TRAINING.sifted]
        return [moved[i] for i in np.sort(order).tolist()]

    def _next(self, one: _Course) -> list[Affine]:
        """What is tried next: so much of each change."""
        if one.changes is None:
            one.changes = self.changes(one.state)
        moved = [self.moved(one.state.map, one.state.length * change) for change in one.changes]
        return [projection for projection in moved if projection is not None]

    def _limit(self, one: _Course, target: float, wanted: float | None, left: int) -> float | None:
        """Error at which trials are given up, infinite while not all runs get through; ``None`` where it is over."""
        state = one.state
        if state.alive < TRAINING.least_points or one.idle >= TRAINING.idle:
            return None
        worst = state.worst()
        if not np.isfinite(worst):
            return np.inf
        if worst < target:
            return None
        if one.changes is None:
            one.history.append(worst)
        if wanted is not None and _hopeless(one.history, wanted, left):
            return None
        return 2.0 * worst + 1e-3

    def _take(self, one: _Course, tried: Sequence[Trial]) -> None:
        """Go on from the best trial: the one that comes farther, else the one with the smallest errors."""
        state = one.state
        old = state.cost(state.alive)
        farthest = min(tried, key=Trial.rank)
        if farthest.alive > state.alive and farthest.cost(state.alive) < 2 * old + 1e-3:
            one.state, one.changes, one.idle = farthest, None, 0
            return
        costs = [trial.cost(state.alive) for trial in tried]
        least = min(costs)
        if not least < old:
            one.state = replace(state, length=TRAINING.shorten * state.length)
            one.done = one.state.length < TRAINING.shortest
            return
        # the most damped of those that are about as good: what the trajectories do not tell stays as it is
        within = least + TRAINING.alike * (old - least)
        best, new = next((trial, cost) for trial, cost in zip(tried, costs, strict=True) if cost <= within)
        one.idle = one.idle + 1 if new > 0.98 * old else 0
        one.state, one.changes = replace(best, length=min(1.0, TRAINING.lengthen * state.length)), None

    # -- derivative ----------------------------------------------------------------------------------

    def changes(self, state: Trial) -> Array:
        """What is free changed by a whole step, one row for each damping; none where there is no derivative."""
        m = state.alive
        p, n, k = len(self.pinned), len(self.scale), state.map.size
        columns = (2 * k - p) * n + state.map.offset.size
        most = TRAINING.most_numbers // max(1, len(self.rows) * len(self.observed) * columns)
        count = max(2, min(self.end_times, m - 1, most))
        ends = np.unique(np.linspace(1, m - 1, count).round().astype(np.int64))
        self.search.budget.add(self._work(k, m, len(ends), columns))
        try:
            jacobian, residual = self.derivatives(state.map, state.paths, ends), state.errors[:, ends].reshape(-1)
            if not np.isfinite(jacobian).all():
                return np.empty((0, jacobian.shape[1]))
            weight = np.abs(residual) ** (TRAINING.sharpness / 2 - 1)
            top = float(weight.max(initial=0.0))
            weight = np.maximum(weight / top, TRAINING.least_weight) if top > 0 else np.ones_like(weight)
            return damped_steps(jacobian * weight[:, None], residual * weight, self._damping)
        except np.linalg.LinAlgError:
            return np.empty((0, columns))

    def _work(self, k: int, m: int, ends: int, columns: int) -> float:
        """Operations of a step: Jacobians along the runs, what they carry to the ends, and an eigenproblem."""
        r, p, n = len(self.rows), len(self.observed), len(self.scale)
        rows = r * ends * p
        least = min(rows, columns)
        along = r * m * (0.25 * self.field.step_work(k) + 1.5 * PRODUCT * ends * p * k * n)
        return float(along + 0.25 * PRODUCT * rows * columns * least + 0.8 * PRODUCT * least**3)

    def derivatives(self, one: Affine, paths: Array, ends: Indices) -> Array:
        """Derivatives of scaled errors by the free changes of (L₂, L̄, G), rows: runs × ends × pinned."""
        # where adjoints are added up as they are swept back, only what they are multiplied by is held
        held = 1 if kernels() is not None else len(ends) * len(self.observed)
        per_run = int(ends[-1]) * max(held * len(self.scale), one.size * self.field.size)
        block = max(1, TRAINING.block // per_run)
        parts = [
            self._block(one, paths, ends, np.arange(low, min(low + block, len(self.rows))))
            for low in range(0, len(self.rows), block)
        ]
        return np.concatenate(parts)

    def _block(self, one: Affine, paths: Array, ends: Indices, runs: Indices) -> Array:
        s = self.scale
        r, p, k, n = len(runs), len(self.observed), one.size, len(self.scale)
        last = int(ends[-1])
        times = self.times[: last + 1]
        h = np.diff(times)
        y = paths[runs, : last + 1]
        middle, w = 0.5 * (y[:, :-1] + y[:, 1:]), self.constants[runs]
        points = one.lifted(middle, w).reshape(-1, n)
        if self.field.timed:
            clock = np.tile(0.5 * (times[:-1] + times[1:]), r)[:, None]
            points = np.concatenate([points, clock], axis=1)
        numbers = np.repeat(self.numbers[runs], last)
        f = self.field.rates(points, numbers)[:, :n].reshape(r, last, n) / s
        rows = np.zeros((len(points), k, self.field.size))
        rows[:, :, :n] = one.matrix
        lj = self.field.left_products(points, numbers, rows)[:, :, :n].reshape(r, last, k, n)
        phi, psi = exponentials((lj @ one.slopes(middle, w)) * h[:, None, None], np.broadcast_to(h, (r, last)))
        tips = np.zeros((r, len(ends), p, k))
        tips[:, :, np.arange(p), self.observed] = 1.0 / self.size[runs][:, None, :]
        start = self.states[runs, 0] / s
        along = Along(phi, psi, lj * s, f, middle, one.features(middle, w), start)
        by_l, by_lift, by_offset = along.sums(ends, tips)
        return self._tangent(one, by_l, by_lift, by_offset)

    def _tangent(self, one: Affine, by_l: Array, by_lift: Array, by_offset: Array) -> Array:
        """Free changes only: dL̄ = −L̄ dL L̄ + QZ, dG = −L̄ dL G + QZ' with Q = I − L̄L."""
        matrix, lift, offset = self._scaled(one)
        p = len(self.pinned)
        along, across = lift.T @ by_lift, lift.T @ by_offset  # k rows: Q itself has n
        by_l = by_l - (along @ lift.T + across @ offset.T)
        parts = [by_l[:, :, p:], by_lift - matrix.T @ along, by_offset - matrix.T @ across]
        return np.concatenate([part.reshape(part.shape[0] * part.shape[1], -1) for part in parts], axis=1)

    def _scaled(self, one: Affine) -> tuple[Array, Array, Array]:
        """L, L̄ and G in units of each state's scale."""
        s = self.scale
        return one.matrix * s, one.lift / s[:, None], one.offset / s[:, None]

    def moved(self, one: Affine, change: Array) -> Affine | None:
        """The projection after a change, brought back onto the constraints: L̄ ← L̄(LL̄)⁻¹, G ← G − L̄LG."""
        s, p = self.scale, len(self.pinned)
        matrix, lift, offset = self._scaled(one)
        k, n = matrix.shape
        a, b = (k - p) * n, (k - p) * n + n * k
        q = np.eye(n) - lift @ matrix
        d_l = np.zeros((k, n))
        d_l[p:] = change[:a].reshape(k - p, n)
        d_lift = -lift @ d_l @ lift + q @ change[a:b].reshape(n, k)
        d_offset = -lift @ d_l @ offset + q @ change[b:].reshape(n, -1)
        matrix, lift, offset = matrix + d_l, lift + d_lift, offset + d_offset
        with np.errstate(all="ignore"):
            try:
                lift = lift @ np.linalg.inv(matrix @ lift)
            except np.linalg.LinAlgError:
                return None
            offset = offset - lift @ (matrix @ offset)
        if not (np.isfinite(matrix).all() and np.isfinite(lift).all() and np.isfinite(offset).all()):
            return None
        return self.search.normalised(
            replace(one, matrix=matrix / s, lift=lift * s[:, None], offset=offset * s[:, None])
        )


def _hopeless(course: Sequence[float], wanted: float, left: int) -> bool:
    """Whether the error, falling twice as fast as in the last steps, would still be above what is wanted."""
    if len(course) <= TRAINING.look_back or course[-1] <= wanted:
        return False
    rate = (course[-1] / course[-1 - TRAINING.look_back]) ** (2 / TRAINING.look_back)
    return bool(course[-1] * min(rate, 1.0) ** left > wanted)


def _named(one: Affine, start: Affine) -> Affine:
    label = start.label.removesuffix(_REFINED)
    return replace(one, label=label + _REFINED)


_REFINED: Final = ", refined"


# -- Tournament, training, enrichment --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CutShort:
    """A training whose work was used up: the largest error that it had reached, and what ended it."""

    worst: float
    error: WorkLimitError


class Training:
    """Refined reductions of each size, from candidates of one search.

    Parameters
    ----------
    search : Search
    further : callable
        Simulates more trajectories of the original, when they are asked for.
    progress : callable
    settings : TrainingSettings
    """

    def __init__(
        self,
        search: Search,
        further: Callable[[], FurtherRuns],
        progress: Callable[[str], None] = lambda _: None,
        settings: TrainingSettings = TRAINING,
    ) -> None:
        self.search = search
        self.settings = settings
        self._make_further = further
        self._further: FurtherRuns | None = None
        self._none_further = False
        self._progress = progress
        self._winners: dict[int, Affine] = {}  # of each size, refined on the usual trajectories
        self._without: set[int] = set()  # sizes whose usual tournament no candidate wins
        self._among_first: dict[int, float] = {}  # errors on the runs of tournaments, of winners that diverge elsewhere

    @property
    def further(self) -> FurtherRuns | None:
        """More trajectories; ``None`` where the original cannot be integrated from enough initial values."""
        if self._further is None and not self._none_further:
            self._progress("simulating the original from further initial values")
            try:
                self._further = self._make_further()
            except NotIntegratedError:
                self._none_further = True
        return self._further

    def begin_anew(self, search: Search) -> None:
        """Refine the candidates of another search of the same model, made from other trajectories."""
        self.search = search
        self._winners, self._without, self._among_first = {}, set(), {}

    @property
    def _usual(self) -> Search:
        """The search with the trajectories of tournaments."""
        if len(self.search.training.states) >= self.settings.runs:
            return self.search
        further = self.further
        return self.search if further is None else self.search.on(further.training)

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """The winner of a tournament of a few candidates, trained on the trajectories they were made from."""
        if self.search.training.resets:
            return []
        winner = self._tournament(self.search.entrants(size, self.settings.usual.entrants), self.settings.usual, wanted)
        if winner is None:
            self._without.add(size)
            return []
        self._winners[size] = winner
        worst = self._worst(self._usual, winner)
        if not np.isfinite(worst):  # it has not learnt from the run that it diverges on, where there are more
            first = np.arange(min(self.settings.runs, len(self._usual.training.states)))
            self._among_first[size] = largest_but_few(self._usual.errors([winner], first)[0])
        return [(winner, worst)]

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """That winner trained on more trajectories, where what it learnt from the fewer ones does not hold.

        ``near`` is the training error that refinement reached on the fewer ones.
        """
        near = min(near, self._among_first.get(size, np.inf))
        if near > self.settings.worth_more_runs * wanted or size not in self._winners:
            return
        yield from self._remembered(size, self._trained(self._winners[size], self.settings.usual, wanted))

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """The winner of a tournament of many, trained on more trajectories, then enriched."""
        if self.search.training.resets:
            return
        effort = self.settings.thorough
        entrants = self.search.entrants(size, effort.entrants)
        if size in self._winners:
            entrants = [self._winners[size], *entrants]
        winner = self._tournament(entrants, effort, wanted)
        if winner is None:
            return
        if wanted is not None:
            worst = self._worst(self._usual, winner)
            if worst > self.settings.hopeless * wanted:
                yield winner, worst
                return
        yield from self._remembered(size, self._trained(winner, effort, wanted))

    def curved(self, size: int, wanted: float | None = None, *, thorough: bool = False) -> Iterator[Proposal]:
        """Reductions with a lift of degree two, from the best affine one of this size.

        Products are zero at first; those that turn out not to be needed are left out again.
        """
        if self.search.training.resets:
            return
        settings = self.settings
        effort = settings.thorough if thorough else settings.usual
        if size not in self._winners:
            if size in self._without and not thorough:
                return
            winner = self._tournament(self.search.entrants(size, effort.entrants), effort, wanted)
            if winner is None:
                return
            self._winners[size] = winner
        start = self._winners[size]
        if wanted is not None and self._worst(self._usual, start) > settings.near * wanted:
            return
        target = settings.good * (wanted or 0.0)
        descent = Descent(self._usual, effort.dampings, settings.stride, settings.tournament_ends, settings.runs)
        lift = with_products(start, self.search.training.scale, settings.most_products)
        state = descent.states_of([lift])[0]
        state = descent.improved([state], effort.steps, target, wanted, self._progress)[0]
        if wanted is not None and state.worst() > settings.worth_going_on * wanted:
            return
        pruned = self._pruned(descent, state, target)
        if not pruned.products:  # what an affine lift does has been tried
            return
        yield from self._trained(pruned, effort, wanted)

    # -- steps -----------------------------------------------------------------------------------------

    def _remembered(self, size: int, proposals: Iterator[Proposal]) -> Iterator[Proposal]:
        """The proposals; the last one is what a lift of degree two would start from."""
        for one, worst in proposals:
            if np.isfinite(worst):
                self._winners[size] = one
            yield one, worst

    def _pruned(self, descent: Descent, state: Trial, floor: float) -> QuadraticLift:
        """Without as many products as can be left out together, those first whose loss is felt least."""
        one = state.map
        assert isinstance(one, QuadraticLift)  # a refined one is of the kind that it was
        means = descent.mean_features(state)[-len(one.products) :]
        allowed = max(floor, (1 + self.settings.pruning) * state.worst())
        places = range(len(one.products))
        alone = [trial.worst() for trial in descent.states_of([one.zeroed([place], means) for place in places])]
        order = [place for place in np.argsort(alone, kind="stable").tolist() if alone[place] <= allowed]
        together = descent.states_of([one.zeroed(order[: i + 1], means) for i in range(len(order))])
        count = max((i + 1 for i, trial in enumerate(together) if trial.worst() <= allowed), default=0)
        return one.zeroed(order[:count], means).without(order[:count])

    def _tournament(self, entrants: Sequence[Affine], effort: Effort, wanted: float | None) -> Affine | None:
        """A few steps of each on few trajectories, the better half of them goes on."""
        settings = self.settings
        descent = Descent(self._usual, effort.dampings, settings.stride, settings.tournament_ends, settings.runs)
        states = descent.states_of(entrants)
        if self._out_of_reach(states, wanted, effort.first):
            return None
        then = effort.then if any(np.isfinite(state.worst()) for state in states) else np.inf
        names = {id(state): state.map for state in states}
        target = settings.good * (wanted or 0.0)
        for steps, survivors in effort.rounds:
            better = descent.improved(states, steps, target, progress=self._progress)
            names = {id(new): names[id(old)] for old, new in zip(states, better, strict=True)}
            states = sorted(better, key=Trial.rank)[:survivors]
            if self._out_of_reach(states, wanted, then):
                return None
        states = [state for state in states if state.alive >= TRAINING.least_points]
        if not states:
            return None
        last = descent.improved(states, effort.polishing, target, wanted, self._progress)
        winner, start = min(zip(last, states, strict=True), key=lambda pair: pair[0].rank())
        return _named(winner.map, names[id(start)])

    def _out_of_reach(self, states: Sequence[Trial], wanted: float | None, times: float) -> bool:
        """Whether the best of them is that far from what is wanted, or ends early."""
        if wanted is None or not np.isfinite(times) or not states:
            return False
        best = min(states, key=Trial.rank)
        span = best.errors.shape[1]
        return best.alive < self.settings.coming * span or (best.alive == span and best.worst() > times * wanted)

    def _trained(self, start: Affine, effort: Effort, wanted: float | None) -> Iterator[Proposal]:
        """Trained on more trajectories; then with the hardest initial values of others, while that helps."""
        settings, further = self.settings, self.further
        if further is None:
            worst = self._worst(self.search, start)
            yield start, worst
            return
        target = settings.good * (wanted or 0.0)
        sample = further.training
        search = self.search.on(sample)
        best, limit = self._refined(search, start, effort.dampings, effort.steps, target, wanted)
        if limit is not None:
            yield best, limit.worst
            raise limit.error
        worst = self._worst(search, best)
        yield best, worst
        judged: tuple[int, int, float] | None = None
        left = np.empty(0, dtype=np.int64)
        for _ in range(effort.enrichments):
            if not np.isfinite(worst) or (wanted is not None and worst > settings.worth_going_on * wanted):
                return
            if judged is None:
                try:
                    left, judged = np.arange(len(further.pool.states)), self._judged(best, further.judges, wanted)
                except NotIntegratedError:
                    return  # there are no more runs to be had
            errors = self.search.on(further.pool).errors([best], left)[0]
            hardest = left[np.argsort(-errors, kind="stable")[: settings.hardest]]
            left = np.setdiff1d(left, hardest)
            sample = joined_samples(sample, further.pool, hardest)
            search = self.search.on(sample)
            new, limit = self._refined(search, best, effort.dampings, settings.enriching_steps, target, None)
            if limit is not None:
                yield new, limit.worst
                raise limit.error
            now = self._judged(new, further.judges, wanted)
            if not now < judged:
                return
            best, judged = new, now
            worst = self._worst(search, best)
            yield best, worst

    def _refined(
        self, search: Search, start: Affine, dampings: int, steps: int, target: float, wanted: float | None
    ) -> tuple[Affine, _CutShort | None]:
        """What was learnt, and whether the work was used up meanwhile."""
        descent = Descent(search, dampings)
        begin = descent.states_of([start])
        try:
            state, limit = descent.improved(begin, steps, target, wanted, self._progress)[0], None
        except StopRequestedError:
            raise
        except WorkLimitError as error:
            if not descent.reached:
                raise
            state = descent.reached[0]
            limit = _CutShort(state.worst(), error)
        return _named(state.map, start), limit

    def _worst(self, search: Search, one: Affine) -> float:
        """Its error on the training runs of a search, as candidates are ranked."""
        return largest_but_few(search.errors([one], np.arange(len(search.training.states)))[0])

    def _judged(self, one: Affine, judges: Sample, wanted: float | None) -> tuple[int, int, float]:
        """How it does on runs that train nothing: failures, runs above the wanted error, the worst of the others."""
        errors = self.search.on(judges).errors([one], np.arange(len(judges.states)))[0]
        known = errors[np.isfinite(errors)]
        above = 0 if wanted is None else int((errors > wanted).sum())
        return len(errors) - len(known), above, float(known.max(initial=0.0))
