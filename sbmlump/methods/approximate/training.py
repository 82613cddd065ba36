"""Training and validation runs of a problem: perturbed starts, trajectories, gradients, conserved totals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics import Jump, Runs, StepControl, VectorField, integrate
from sbmlump.dynamics.budget import Meter, WorkLimitError
from sbmlump.dynamics.solve import MAX_DENSE, adjoints
from sbmlump.dynamics.time_span import choose_span
from sbmlump.errors import LimitError, Reason, SbmlumpError, UsageError
from sbmlump.methods.approximate.options import ApproximateOptions
from sbmlump.methods.approximate.problem import ReductionProblem, pose
from sbmlump.methods.exact.lump import closure_problem
from sbmlump.methods.exact.space import invariant_dimension
from sbmlump.model.graph import Node
from sbmlump.model.reduced import Observable
from sbmlump.model.system import OdeSystem

__all__ = [
    "Ensemble",
    "Sample",
    "adjoint_of",
    "conserved_totals",
    "end_times",
    "gradients",
    "perturbed_starts",
    "run_ensemble",
    "time_grid",
    "LearningRuns",
    "learning_runs",
]


Array = NDArray[np.float64]
_RELATIVE: Final = 1e-7
_DECADES: Final = 5.0
_END_TIMES: Final = 25
_LARGE_ENDS: Final = 8
_MOST_LARGE_TOTALS: Final = 24
_LEAST_SCALE: Final = 1e-12
_CONSERVED: Final = 1e-8


def time_grid(until: float, points: int = 100) -> Array:
    """0 and the union of as many logarithmic and uniform times up to ``until``."""
    logarithmic = np.geomspace(until * 10.0**-_DECADES, until, points)
    uniform = np.linspace(0.0, until, points + 1)
    times = np.unique(np.concatenate([logarithmic, uniform]))
    keep = np.concatenate([[True], np.diff(times) > 1e-9 * until])
    return np.asarray(times[keep])


@dataclass(frozen=True, slots=True)
class Ensemble:
    """How runs differ from the nominal one.

    ``count`` perturbed runs beside the nominal one; initial values times 1 ± ``spread``, and where they are zero,
    plus at most ``spread`` times the largest value of that state along the nominal run; parameters times
    1 ± ``parameters``.
    """

    count: int = 24
    spread: float = 0.2
    parameters: float = 0.0


@dataclass(frozen=True)
class Sample:
    """Runs of the full model.

    Attributes
    ----------
    field : Field
    times : ndarray (m,)
    states : ndarray (r, m, n)
        Of the n kept states (without the clock of a field that has one).
    scale : ndarray (n,)
        Largest magnitude of each state over all runs, at least 10⁻¹² of the largest of all states (what is smaller is
        zero within rounding, and dividing by it would make rounding errors count); 1 where a state is always zero.
    jumps : tuple of Jump
    numbers : ndarray of int (r,)
        Numbers of the runs in the field.
    steps : int
        Most steps that a run took, 0 where they were not counted.
    relative : float
        Tolerance of the integration.
    varied : mapping of str to array
        Values of constants that differ between runs, by the runs' numbers.
    """

    field: VectorField
    times: Array
    states: Array
    scale: Array
    jumps: tuple[Jump, ...]
    numbers: NDArray[np.int64]
    steps: int = 0
    relative: float = _RELATIVE
    varied: Mapping[str, Array] = dataclass_field(default_factory=dict)

    @property
    def starts(self) -> Array:
        """Initial states, (r, n)."""
        return self.states[:, 0]

    def clocked(self, states: Array) -> Array:
        """States with the clock appended where the field has one, (…, n) to (…, n or n + 1); times along axis −2."""
        if not self.field.timed:
            return states
        clock = np.broadcast_to(self.times[:, None], (*states.shape[:-1], 1))
        return np.concatenate([states, clock], axis=-1)


def run_ensemble(
    problem: ReductionProblem, until: float, ensembles: tuple[Ensemble, ...], seed: int, meter: Meter | None = None
) -> tuple[Sample, ...]:
    """Simulate the nominal run and the perturbed ones of each ensemble; one sample an ensemble.

    The first sample begins with the nominal run. Draws of different ensembles are independent.

    Raises
    ------
    LimitError
        ``not-simulated`` if a run does not reach ``until``: which one, when and why; ``work-limit`` if there is a meter
        and its limit has been passed.
    """
    times = time_grid(until)
    free = _perturbed_constants(problem, ensembles, seed)
    field = problem.field(free)
    jumps = tuple(problem.jumps(until, field.timed, free))
    first = _simulate(field, problem.start[None, :], times, jumps, np.array([0]), meter)
    _check(problem, first.why, first.reached, until, "from the initial values of the file")
    size = np.abs(first.states[0, :, : problem.size]).max(axis=0)
    starts, count = [problem.start[None, :]], 1
    slices: list[slice] = []
    for position, ensemble in enumerate(ensembles):
        slices.append(slice(0 if position == 0 else count, count + ensemble.count))
        starts.append(perturbed_starts(problem.start, size, ensemble, np.random.default_rng([seed, position, 0xA11])))
        count += ensemble.count
    everything = np.concatenate(starts)
    rest = _simulate(field, everything[1:], times, jumps, np.arange(1, count), meter)
    _check(problem, rest.why, rest.reached, until, "from a perturbed initial state (a smaller --spread may help)")
    states = np.concatenate([first.states, rest.states])[:, :, : problem.size]
    scale = np.abs(states).max(axis=(0, 1))
    scale = np.where(scale > 0, np.maximum(scale, _LEAST_SCALE * scale.max(initial=0.0)), 1.0)
    steps = max(first.steps, rest.steps)
    numbers = np.arange(count)
    return tuple(Sample(field, times, states[part], scale, jumps, numbers[part], steps, varied=free) for part in slices)


def _simulate(
    field: VectorField,
    starts: Array,
    times: Array,
    jumps: tuple[Jump, ...],
    numbers: NDArray[np.int64],
    meter: Meter | None,
) -> Runs:
    if field.timed:
        starts = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1)
    size = np.maximum(np.abs(starts).max(initial=0.0), 1e-30)
    tolerances = StepControl(_RELATIVE, 1e-9 * float(size))
    return integrate(field, starts, times, jumps=jumps, run=numbers, tolerances=tolerances, meter=meter)


def _check(problem: ReductionProblem, why: tuple[str | None, ...], reached: Array, until: float, where: str) -> None:
    for reason, time in zip(why, reached.tolist(), strict=True):
        if reason is not None:
            message = (
                f"model {problem.system.id} does not simulate to {until:g} {where}: at time {time:g}, {reason}; "
                "choose a shorter horizon with --until"
            )
            raise LimitError(Reason("not-simulated", message))


def perturbed_starts(start: Array, size: Array, ensemble: Ensemble, generator: np.random.Generator) -> Array:
    """Initial values beside the nominal ones, drawn as :class:`Ensemble` says.

    Parameters
    ----------
    start : array (n,)
        The nominal ones.
    size : array (n,)
        Largest magnitude of each state along the nominal run.

    Returns
    -------
    ndarray (ensemble.count, n)
    """
    shape = (ensemble.count, len(start))
    factor = 1 + ensemble.spread * generator.uniform(-1, 1, shape)
    added = ensemble.spread * size * generator.uniform(0, 1, shape)
    return np.where(start == 0, added, start * factor)


def _perturbed_constants(problem: ReductionProblem, ensembles: tuple[Ensemble, ...], seed: int) -> dict[str, Array]:
    """Values of parameters in each run; empty if they are the same in all."""
    if not any(ensemble.parameters for ensemble in ensembles):
        return {}
    system = problem.system
    kinds = {name: quantity.kind for name, quantity in system.quantities.items()}
    mentioned = system.graph.symbols(problem.rhs())
    names = [c.id for c in system.constants if c.id in mentioned]
    names = [name for name in names if kinds.get(name, "parameter") in ("parameter", "local-parameter")]
    from sbmlump.model.evaluate import values_of

    values = values_of(system.graph, [system.constant_values[name] for name in names])
    columns = [values[None, :]]
    for position, ensemble in enumerate(ensembles):
        generator = np.random.default_rng([seed, position, 0xB22])
        factor = 1 + ensemble.parameters * generator.uniform(-1, 1, (ensemble.count, len(names)))
        columns.append(values * factor)
    table = np.concatenate(columns)
    return {name: table[:, j] for j, name in enumerate(names)}


# -- gradients ---------------------------------------------------------------------------------------


def gradients(sample: Sample, pinned: Array, runs: int) -> tuple[Array, NDArray[np.int64]]:
    """How a disturbance at each time moves the pinned quantities at later times.

    Parameters
    ----------
    sample : Sample
    pinned : array (p, n)
    runs : int
        The first so many runs are used.

    Returns
    -------
    adjoint : array (runs, m, E, p, n)
        In units of the model.
    ends : array of int (E,)
    """
    m, n = len(sample.times), sample.states.shape[2]
    ends = end_times(sample)
    size = sample.field.size
    tips = np.zeros((len(ends), len(pinned), size))
    tips[:, :, :n] = pinned
    out = np.empty((runs, m, len(ends), len(pinned), n))
    for i in range(runs):
        out[i] = adjoint_of(sample, i, sample.states[i], ends, tips)[..., :n]
    return out, ends


def end_times(sample: Sample) -> NDArray[np.int64]:
    """Indices of the times at which effects are looked at: half of them logarithmic, half uniform."""
    count = _END_TIMES if sample.states.shape[2] <= MAX_DENSE else _LARGE_ENDS
    early, even = np.geomspace(1e-3, 1, count // 2), np.linspace(0, 1, count - count // 2 + 1)[1:]
    wanted = np.unique(np.concatenate([early, even])) * sample.times[-1] * (1 - 1e-12)
    return np.unique(np.searchsorted(sample.times, wanted).clip(1, len(sample.times) - 1))


def adjoint_of(sample: Sample, i: int, states: Array, ends: NDArray[np.int64], tips: Array) -> Array:
    """Adjoint along ``states`` (m, n) of run ``i``; jumps become intervals of no length."""
    run = int(sample.numbers[i])
    states = sample.clocked(states)
    if not sample.jumps:
        return adjoints(sample.field, run, sample.times, states, None, ends, tips)
    return _with_jumps(sample, run, states, ends, tips)


def _with_jumps(sample: Sample, run: int, states: Array, ends: NDArray[np.int64], tips: Array) -> Array:
    """The grid with each jump put in twice, before and after."""
    times, rows = sample.times, states
    keep = np.ones(len(times), dtype=np.bool_)
    extra_times: list[float] = []
    extra: list[Array] = []
    for jump in sample.jumps:
        at = int(np.searchsorted(times, jump.time))
        start = rows[at - 1]
        before = integrate(sample.field, start[None], np.array([times[at - 1], jump.time]), run=np.array([run])).states[
            0, -1
        ]
        after = jump.reset.rates(before[None], np.array([run]))[0]
        extra_times += [jump.time, jump.time]
        extra += [before, after]
        if at < len(times) and times[at] == jump.time:
            keep[at] = False
    order_times = np.concatenate([times[keep], extra_times])
    order_rows = np.concatenate([rows[keep], np.array(extra).reshape(-1, rows.shape[1])])
    order = np.argsort(order_times, kind="stable")
    grid, path = order_times[order], order_rows[order]
    back = np.searchsorted(grid, times, side="right") - 1
    whole = adjoints(sample.field, run, grid, path, None, back[ends], tips, sample.jumps)
    return whole[back]


# -- conserved totals --------------------------------------------------------------------------------


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
    u, s, _ = np.linalg.svd(table, full_matrices=True)
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
    for _ in range(_MOST_LARGE_TOTALS):
        vector = rng.standard_normal(n)
        rest = vector - found.T @ (found @ vector)
        for _ in range(2):  # the second round removes what the first leaves of the range
            rest = rest - table @ lsqr(table, rest, atol=1e-13, btol=1e-13, iter_lim=2_000)[0]
        rest -= found.T @ (found @ rest)
        size = float(np.linalg.norm(rest))
        if size < 1e-6 * float(np.linalg.norm(vector)):
            break
        found = np.vstack([found, rest / size])
    kept = np.linalg.norm(table.T @ found.T, axis=0) < _CONSERVED if len(found) else np.zeros(0, dtype=np.bool_)
    return np.ascontiguousarray(found[kept])


# -- What an approximate reduction learns from and is measured on: the posed problem, ------------

# What an approximate reduction learns from and is measured on: the posed problem, its horizon and its runs.


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
        See :func:`sbmlump.methods.approximate.problem.pose`.
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
