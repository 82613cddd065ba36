"""What an approximate reduction learns from and is measured on: the posed problem, its end time and its ensembles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.ensemble import (
    Ensemble,
    NotIntegratedError,
    ReductionProblem,
    Sample,
    guarded,
    joined_samples,
    pose,
    run_ensemble,
    time_span_of_problem,
    without_poles,
)
from sbmlump.dynamics.solve import MAX_DENSE
from sbmlump.dynamics.time_span import TimeSpan, round_below
from sbmlump.dynamics.vector_field import Budget, StopRequestedError, WorkLimitError
from sbmlump.errors import Reason, SbmlumpError, UsageError
from sbmlump.methods.approximate.options import ApproximateOptions
from sbmlump.methods.approximate.subspaces import singular_values
from sbmlump.methods.exact.lump import closure_problem
from sbmlump.methods.exact.space import invariant_dimension
from sbmlump.methods.method import Progress, kept_constants
from sbmlump.model.graph import Node
from sbmlump.model.reduced import Observable
from sbmlump.model.system import OdeSystem
from sbmlump.stopping import set_up_done

__all__ = ["conserved_totals", "FurtherRuns", "LearningRuns", "learning_runs"]


@dataclass(frozen=True, slots=True)
class LearningRunSettings:
    """How many runs are learned from.

    Attributes
    ----------
    most_totals : int
        Conserved totals that are looked for in a large system: each takes two sparse least-squares solutions.
    conserved : float
        Of the norm: what is left of a row where it is taken for conserved.
    validation : int
        Runs that a reduction is measured on first.
    fresh : int
        Runs that decide about what passed there: an error from one initial value in twenty shows among a hundred.
    resting : float
        Share of all perturbed runs in which what is zero stays zero, as it does where a user moves the other initial
        values only; in the others it is raised, as some substance is there in most experiments.
    floor : float
        Of its largest value: an argument of a power or logarithm that is never negative in the runs is lifted to no
        less.
    nearest : float
        Of its smallest magnitude in the runs: a denominator with one sign there is lifted to no less.
    least_share : float
        Of that where parameters are perturbed by nearly all of their values.
    near : float
        Times that: what comes so near to it between two outputs may reach it.
    droppable : float
        Share of the perturbed initial values that may be dropped where the original cannot be integrated from them.
    droppable_later : float
        The same of runs that are simulated later, of which there are more: by chance their share may be the larger one.
    shortened : int
        How often the end time is shortened where more cannot be, or where simulating takes more than its share.
    shorter : float
        What of the time that was reached is tried next.
    set_up : float
        Share of the work that choosing the end time may take, and that simulating the original may take.
    large : int
        From so many states on a single variant is made, instead of dozens that are compared.
    large_ensemble : int
        Most runs to learn from for these.
    large_validation : int
        Runs to measure on for these.
    more : int
        Further runs to refine on, which has far more freedom than the selection.
    pool : int
        Runs of which the hardest are added to those.
    pool_spread : float
        Their spread, times that of the others: what lies at the edge of the range is to be inside of what was learnt.
    judges : int
        Runs that train nothing and tell whether that was worth it.
    """

    most_totals: int = 24
    conserved: float = 1e-8
    validation: int = 10
    fresh: int = 100
    resting: float = 0.5
    floor: float = 1e-12
    nearest: float = 0.1
    least_share: float = 1e-3
    near: float = 2.0
    droppable: float = 0.3
    droppable_later: float = 0.5
    shortened: int = 3
    shorter: float = 0.7
    set_up: float = 0.25
    large: int = 300
    large_ensemble: int = 6
    large_validation: int = 3
    more: int = 72
    pool: int = 300
    pool_spread: float = 1.25
    judges: int = 100


LEARNING: Final = LearningRunSettings()


def conserved_totals(problem: ReductionProblem, scale: Array) -> Array:
    """Orthonormal rows (in units of ``scale``) of linear combinations of states that no rate changes.

    From the structure: each rate is a sum of terms (fluxes), equal terms are one; what every term leaves alone is
    conserved. Events that change a total end its being one.

    Returns
    -------
    array (c, n)
        Rows act on x / scale.
    """
    graph = problem.system.graph
    bound = problem.bound
    place: dict[Node, int] = {}
    n = problem.size
    entries: list[tuple[int, int, float]] = []
    for i, root in enumerate(bound):
        entries += [(i, place.setdefault(t, len(place)), float(c)) for t, c in graph.linear_terms(root).items()]
    if n > MAX_DENSE:
        return _sparse_totals(entries, n, len(place), scale)
    table = np.zeros((n, len(place)))
    for i, j, c in entries:
        table[i, j] += c
    table /= np.maximum(np.abs(table).max(axis=0, initial=0.0), 1e-300)
    resets = _reset_rows(problem)
    table = np.concatenate([table / scale[:, None], resets / scale[:, None]], axis=1)
    norms = np.linalg.norm(table, axis=0)
    table = table[:, norms > 0] / norms[norms > 0]
    u, s, _ = singular_values(table, full=True)
    rank = int((s > 1e-9 * s.max(initial=1e-300)).sum())
    return np.ascontiguousarray(u[:, rank:].T)


def _reset_rows(problem: ReductionProblem) -> Array:
    """Unit columns for states that events assign: no total holds them."""
    touched = {name for one in problem.events for name, _ in (*one.event.assignments, *one.event.implied)}
    columns = [j for j, name in enumerate(problem.names) if name in touched]
    out = np.zeros((problem.size, len(columns)))
    out[columns, np.arange(len(columns))] = 1.0
    return out


def _sparse_totals(entries: list[tuple[int, int, float]], n: int, terms: int, scale: Array) -> Array:
    """The same for large systems: what is left of random vectors when the range of S is projected out of them."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import lsqr

    rows, columns, data = ([e[k] for e in entries] for k in range(3))
    table = sp.csr_array((np.array(data), (rows, columns)), shape=(n, terms))
    table = (sp.diags_array(1.0 / scale) @ table).tocsr()
    norms = np.sqrt(np.asarray(table.multiply(table).sum(axis=0)).ravel())
    table = (table @ sp.diags_array(1.0 / np.where(norms > 0, norms, 1.0))).tocsr()
    rng = np.random.default_rng(0xC0)
    found = np.empty((0, n))
    for _ in range(LEARNING.most_totals):
        vector = rng.standard_normal(n)
        rest = vector - found.T @ (found @ vector)
        for _ in range(2):  # the second round removes what the first leaves of the range
            rest = rest - table @ lsqr(table, rest, atol=1e-13, btol=1e-13, iter_lim=2_000)[0]
        rest -= found.T @ (found @ rest)
        size = float(np.linalg.norm(rest))
        if size < 1e-6 * float(np.linalg.norm(vector)):
            break
        found = np.vstack([found, rest / size])
    kept = np.linalg.norm(table.T @ found.T, axis=0) < LEARNING.conserved if len(found) else np.zeros(0, dtype=np.bool_)
    return np.ascontiguousarray(found[kept])


@dataclass(frozen=True)
class FurtherRuns:
    """More trajectories of the original, all of one draw.

    Attributes
    ----------
    training : Sample
        To train on.
    others : callable
        Simulates the pool and the judges, when an enrichment asks for them.
    """

    training: Sample
    others: Callable[[], tuple[Sample, Sample]]

    @cached_property
    def _others(self) -> tuple[Sample, Sample]:
        return self.others()

    @property
    def pool(self) -> Sample:
        """Runs of a somewhat larger spread: the hardest of them are added to the training set."""
        return self._others[0]

    @property
    def judges(self) -> Sample:
        """Runs that train nothing: they tell whether an enrichment was worth it."""
        return self._others[1]


@dataclass(frozen=True)
class LearningRuns:
    """A problem with the runs of its full model.

    Attributes
    ----------
    problem : ReductionProblem
        With guards: powers and logarithms are defined at lifted points, too.
    bounded : ReductionProblem
        The same with denominators that stay away from zero: that of the fields of all samples, on which candidates are
        followed. It is written only where a run needs that.
    until : float
        End time, in the model's unit of time.
    horizon_reason : str
        Why this one.
    training, checking : Sample
        Runs to learn from, the nominal one first, and runs of another draw to measure on.
    totals : ndarray (c, n)
        Conserved totals, acting on x / scale.
    options : ApproximateOptions
    """

    problem: ReductionProblem
    bounded: ReductionProblem
    until: float
    horizon_reason: str
    training: Sample
    checking: Sample
    totals: Array
    options: ApproximateOptions

    @property
    def large(self) -> bool:
        """Whether a single variant is made, instead of dozens that are compared."""
        return self.problem.size > LEARNING.large

    @property
    def dropped(self) -> int:
        """Perturbed initial values from which the original cannot be integrated."""
        return self.training.dropped + self.checking.dropped

    @property
    def clock(self) -> int:
        """1 where time is a component of the field: its row is pinned and not counted."""
        return int(self.problem.vector_field().timed)

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
        return np.append(box, self.until) if self.problem.vector_field().timed else box

    @cached_property
    def exact_size(self) -> int | None:
        """Size of the exact lumping (modulo a prime); ``None`` where that cannot be said."""
        system = self.problem.system
        # what is to hold for other parameters has to do so for all of them
        keep = kept_constants(system, "all" if self.options.perturb_parameters else "none")
        try:
            closure = closure_problem(system, self.problem.observables, keep)
            return invariant_dimension(closure, self.options.seed)
        except SbmlumpError:
            return None

    @property
    def further_count(self) -> int:
        """How many trajectories :meth:`further` simulates at once."""
        later = LEARNING.pool + LEARNING.judges if self.options.perturb_parameters else 0
        return 1 + self.options.ensemble + LEARNING.more + later

    def further(self, budget: Budget) -> FurtherRuns:
        """Trajectories to refine on, those of :attr:`training` among them."""
        o = self.options
        none, usual = Ensemble(0), _perturbed(o, o.ensemble)
        more = replace(usual, count=LEARNING.more)
        wider = min(LEARNING.pool_spread * o.spread, max(o.spread, 1.0))
        pool = replace(usual, count=LEARNING.pool, spread=wider)
        judges = replace(usual, count=LEARNING.judges)
        # draws of their own: neither of those that validate nor of those that decide
        if o.perturb_parameters:  # runs of different parameters belong together if they are of one call
            first, _, others, _, *rest = self._simulated((usual, none, more, none, pool, judges), budget)
            later = (rest[0], rest[1])
            return FurtherRuns(joined_samples(first, others, np.arange(len(others.states))), lambda: later)
        first, _, others = self._simulated((usual, none, more), budget)

        def enriching() -> tuple[Sample, Sample]:
            *_, hard, judging = self._simulated((none, none, none, none, pool, judges), budget)
            return hard, judging

        return FurtherRuns(joined_samples(first, others, np.arange(len(others.states))), enriching)

    def fresh(self, budget: Budget) -> Sample:
        """Runs that decide, of a fourth draw: at least a hundred, unless too many have to be dropped.

        Raises
        ------
        NotIntegratedError
            If the original cannot be integrated from too many of them.
        """
        none = Ensemble(0)
        count = LEARNING.fresh
        for _ in range(LEARNING.shortened):
            sample = self._simulated((none, none, none, _perturbed(self.options, count)), budget)[-1]
            if len(sample.states) >= LEARNING.fresh:
                break
            count += 2 * (LEARNING.fresh - len(sample.states))
        # totals act on states in units of the scale of the training runs
        return replace(sample, scale=self.training.scale)

    def _simulated(self, ensembles: tuple[Ensemble, ...], budget: Budget) -> tuple[Sample, ...]:
        samples = run_ensemble(
            self.problem, self.until, ensembles, self.options.seed, budget, droppable=LEARNING.droppable_later
        )
        return _followed(samples, self.bounded)


def learning_runs(
    system: OdeSystem,
    observables: Sequence[Observable],
    options: ApproximateOptions,
    budget: Budget,
    progress: Progress,
) -> LearningRuns:
    """Pose the problem, choose the end time and simulate.

    An end time that nobody asked for is shortened, a few times, where the original cannot be integrated to it from
    enough of the perturbed initial values, or where that would take more than its share of the work.

    Raises
    ------
    UsageError
        ``constant-observable``.
    LimitError
        ``not-simulated``, ``work-limit``.
    UnsupportedModelError
        See :func:`sbmlump.dynamics.ensemble.pose`.
    """
    problem = pose(system, observables)
    if not problem.pinned:
        raise UsageError(Reason("constant-observable", "what is observed does not depend on any state"))
    progress("choosing the end time")
    chosen = span = _end_time(problem, options, budget)
    large = problem.size > LEARNING.large
    count = min(options.ensemble, LEARNING.large_ensemble) if large else options.ensemble
    checks = LEARNING.large_validation if large else LEARNING.validation
    ensembles = (_perturbed(options, count), _perturbed(options, checks))
    for attempt in itertools.count():
        last = options.until is not None or attempt == LEARNING.shortened
        share = 1.0 if last else LEARNING.set_up
        progress("simulating the original")
        try:
            with _part(budget, share) as own:
                training, checking = run_ensemble(
                    problem,
                    span.until,
                    ensembles,
                    options.seed,
                    own,
                    droppable=LEARNING.droppable,
                    floor=LEARNING.floor,
                )
            break
        except NotIntegratedError as error:
            if last or not error.reached > 0:
                raise
            span = _shortened(min(error.reached, span.until), "the original cannot be integrated farther")
        except StopRequestedError:  # an earlier end time would not help
            raise
        except WorkLimitError as error:
            if last:
                raise _too_much(system, chosen, 1 + count + checks, budget) from error
            span = _shortened(0.5 * span.until, "simulating the original takes too much of the work allowed")
    set_up_done()
    totals = conserved_totals(problem, training.scale)
    nominal = replace(training, states=training.states[:1], numbers=training.numbers[:1])
    lifted = guarded(problem, nominal, LEARNING.floor)
    # what varies with the parameters may be smaller in other runs
    share = LEARNING.nearest * max(1.0 - options.perturb_parameters, LEARNING.least_share)
    followed = without_poles(lifted, (training, checking), share)
    training, checking = _followed((training, checking), followed)
    return LearningRuns(lifted, followed, span.until, span.reason, training, checking, totals, options)


def _followed(samples: tuple[Sample, ...], problem: ReductionProblem) -> tuple[Sample, ...]:
    """The samples with the field of another problem, which is the same along the runs that its bounds are of."""
    if not problem.bounds or not samples:
        return samples
    field = problem.vector_field(samples[0].varied)  # of all runs of one call
    return tuple(replace(sample, vector_field=field) for sample in samples)


def _perturbed(options: ApproximateOptions, count: int) -> Ensemble:
    return Ensemble(count, options.spread, options.perturb_parameters, LEARNING.resting)


def _end_time(problem: ReductionProblem, options: ApproximateOptions, budget: Budget) -> TimeSpan:
    if options.until:
        return TimeSpan(options.until, "as asked for")
    with _part(budget, LEARNING.set_up) as own:
        return time_span_of_problem(problem, own)


def _shortened(reached: float, why: str) -> TimeSpan:
    until = round_below(LEARNING.shorter * reached)
    return TimeSpan(until, f"shortened: {why}")


def _too_much(system: OdeSystem, span: TimeSpan, runs: int, budget: Budget) -> WorkLimitError:
    message = (
        f"simulating model {system.id} to {span.until:g} ({span.reason}) from {runs} initial values takes more than "
        f"the {budget.limit:g} units of work that are allowed; choose an earlier end time (--until), a smaller "
        "--ensemble, or more work (--work)"
    )
    return WorkLimitError(Reason("work-limit", message))


@contextmanager
def _part(budget: Budget, share: float) -> Iterator[Budget]:
    """At most this share of all the work, of what is left of it; counted when it ends."""
    own = Budget(min(budget.limit - budget.spent, share * budget.limit), stoppable=budget.stoppable)
    try:
        yield own
    finally:
        budget.spent += own.spent
