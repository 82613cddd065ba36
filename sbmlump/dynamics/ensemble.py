"""Trajectories by the system's own right-hand side, from its own and from perturbed starts; only here they are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics import Jump, Runs, StepControl, VectorField, field_of, integrate
from sbmlump.dynamics.budget import Meter
from sbmlump.dynamics.problem import ReductionProblem, pose
from sbmlump.dynamics.solve import MAX_DENSE, adjoints
from sbmlump.errors import LimitError, Reason, UnsupportedModelError
from sbmlump.model.evaluate import Evaluator, values_of
from sbmlump.model.graph import Node
from sbmlump.model.reduced import ErrorEstimate, Observable, ReducedSystem, finite_or_none, starts_of
from sbmlump.model.system import OdeSystem

__all__ = [
    "default_horizon",
    "ensemble_runs",
    "refuse_events",
    "refuse_jumps",
    "refuse_untimed_events",
    "timed_problem",
    "reduced_start",
    "time_points",
    "trajectories",
    "values",
    "DRAFT",
    "STANDARD",
    "Measurement",
    "EnsembleSettings",
    "ReferenceEnsemble",
    "difference",
    "error_estimate",
    "estimate_of",
    "measure",
    "reference_ensemble",
    "Ensemble",
    "Sample",
    "adjoint_of",
    "end_times",
    "gradients",
    "perturbed_starts",
    "run_ensemble",
    "time_grid",
]


# -- Training and validation runs of a problem: perturbed starts, trajectories, gradi ------------

# Training and validation runs of a problem: perturbed starts, trajectories, gradients, conserved totals.


_RELATIVE: Final = 1e-7
_END_TIMES: Final = 25
_LARGE_ENDS: Final = 8


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


# -- What an approximate reduction learns from and is measured on: the posed problem, ------------

# What an approximate reduction learns from and is measured on: the posed problem, its horizon and its runs.


_LEAST_SCALE: Final = 1e-12


# -- Trajectories by the system's own right-hand side, from its own and from perturbe ------------


Array = NDArray[np.float64]
_DECADES: Final = 5.0
_REST: Final = 1e-3
_SMALLEST: Final = 1e-5
_MOST_ROUNDS: Final = 36
_FAR: Final = 1e3
_LONGER: Final = 10**0.5
_STEPS: Final = 50_000
_HORIZON_STEPS: Final = 1_500
_FAR_EVENT: Final = 1e4


def refuse_events(system: OdeSystem, method: str) -> None:
    """Refuse a system with events for a method that cannot carry them over.

    Raises
    ------
    UnsupportedModelError
        With code ``event-not-lumpable``, one reason an event.
    """
    if system.events:
        raise UnsupportedModelError(
            [
                Reason(
                    "event-not-lumpable",
                    f"the method {method} does not follow events; the model has the event {event.id or '(no id)'}",
                    event.id,
                )
                for event in system.events
            ]
        )


def refuse_untimed_events(system: OdeSystem, method: str) -> None:
    """Refuse a system with an event that is not triggered by time alone: its error could not be measured.

    Raises
    ------
    UnsupportedModelError
        With code ``event-not-lumpable``, one reason an event.
    """
    try:
        timed_problem(system)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            [
                replace(one, message=f"the method {method} follows events at known times only: {one.message}")
                if one.code == "event-not-lumpable"
                else one
                for one in error.reasons
            ]
        ) from error


def refuse_jumps(system: OdeSystem, names: Collection[str], why: str) -> None:
    """Refuse a system with an event that sets one of the states that are to follow the others.

    Raises
    ------
    UnsupportedModelError
        With code ``event-not-lumpable``.
    """
    for event in system.events:
        touched = sorted({name for name, _ in (*event.assignments, *event.implied)} & set(names))
        if touched:
            message = f"the event {event.id or '(no id)'} sets {touched[0]}, {why}; choose other fast quantities"
            raise UnsupportedModelError(Reason("event-not-lumpable", message, event.id))


def timed_problem(system: OdeSystem) -> ReductionProblem | None:
    """The events of a system with the times at which they happen; ``None`` without events.

    Raises
    ------
    UnsupportedModelError
        ``event-not-lumpable`` if an event is not triggered by time alone; ``missing-value``.
    """
    if not system.events:
        return None
    graph = system.graph
    everything = [Observable(name, graph.symbol(name), name) for name in system.states]
    return pose(system, everything)


def time_points(until: float, points: int = 80) -> Array:
    """0 and the union of logarithmic and uniform times up to ``until``."""
    logarithmic = np.geomspace(until * 10.0**-_DECADES, until, points)
    times = np.unique(np.concatenate([logarithmic, np.linspace(0.0, until, points + 1)]))
    keep = np.concatenate([[True], np.diff(times) > 1e-9 * until])
    return np.asarray(times[keep])


def trajectories(
    system: OdeSystem,
    starts: Array,
    times: Array,
    *,
    constants: Mapping[str, Array] | None = None,
    scale: Array | None = None,
    relative: float = 1e-7,
    steps: int = _STEPS,
    meter: Meter | None = None,
) -> Array:
    """Integrate from several starts, with the events that time triggers.

    Parameters
    ----------
    starts : array (r, n)
    times : array (m,)
        Increasing, the first one 0.
    constants : mapping of str to array (r,), optional
        Constants whose values differ between the runs.
    scale : array (n,), optional
        How large each state becomes; guessed from the starts if absent.
    relative : float
        Relative tolerance; the absolute one is 1e-4 of it, times the scale of each state.
    steps : int
        At most so many a run.
    meter : Meter, optional
        Counts the work.

    Returns
    -------
    ndarray (r, m, n)
        NaN beyond the time that a run reached.

    Raises
    ------
    UnsupportedModelError
        ``event-not-lumpable`` if an event is not triggered by time alone.
    WorkLimitError
        If there is a meter and its limit has been passed.
    """
    if not system.size:
        return np.zeros((len(starts), len(times), 0))
    field = field_of(system.graph, system.rhs, system.states, system.constant_values, constants)
    table = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1) if field.timed else starts
    size = _likely_size(system, starts) if scale is None else scale
    scale = np.maximum(size, 1e-3 * max(float(size.max(initial=0.0)), 1e-30))
    absolute = np.concatenate([1e-4 * relative * scale, [1e-9]]) if field.timed else 1e-4 * relative * scale
    problem = timed_problem(system)
    jumps = [] if problem is None else problem.jumps(float(times[-1]), field.timed, constants)
    with np.errstate(all="ignore"):
        tolerances = StepControl(relative, absolute, steps)
        runs = integrate(field, table, times, jumps=jumps, tolerances=tolerances, meter=meter)
    return runs.states[:, :, : system.size]


def _likely_size(system: OdeSystem, starts: Array) -> Array:
    """How large each state is at the start, or becomes within the fastest time of the system."""
    start = starts[0]
    rates = np.abs(np.nan_to_num(system.rates(0.0, start)))
    jacobian = np.nan_to_num(system.jacobian(0.0, start).toarray())
    fastest = float(np.abs(jacobian).sum(axis=0).max(initial=0.0))
    reach = rates / fastest if fastest > 0 else rates
    return np.asarray(np.maximum(np.abs(starts).max(axis=0), reach))


def values(
    system: OdeSystem,
    nodes: Sequence[Node],
    times: Array,
    states: Array,
    constants: Mapping[str, Array] | None = None,
) -> Array:
    """Expressions along runs: states (r, m, n) to (r, m, len(nodes))."""
    r, m, n = states.shape
    if not constants:
        evaluator = Evaluator(system.graph, nodes, system.states, system.constant_values)
        flat = evaluator.values(np.tile(times, r), states.reshape(r * m, n))
        return flat.reshape(r, m, len(nodes))
    names = list(constants)
    fixed = {name: node for name, node in system.constant_values.items() if name not in constants}
    evaluator = Evaluator(system.graph, nodes, [*system.states, *names], fixed)
    extra = np.stack([np.repeat(constants[name][:, None], m, axis=1) for name in names], axis=2)
    table = np.concatenate([states, extra], axis=2).reshape(r * m, n + len(names))
    return evaluator.values(np.tile(times, r), table).reshape(r, m, len(nodes))


def ensemble_runs(
    system: OdeSystem, times: Array, ensemble: Ensemble, seed: int, *, relative: float = 1e-7
) -> tuple[Array, Array]:
    """The run from the file's own initial values and runs from perturbed ones, drawn as for approximate reductions.

    Parameters
    ----------
    times : array (m,)
        Increasing, the first one 0.
    ensemble : Ensemble
        How many, and how far from the nominal start.
    seed : int
    relative : float
        Relative tolerance.

    Returns
    -------
    starts : ndarray (1 + r, n)
        The nominal one first; of the others those whose runs reach the end.
    states : ndarray (1 + r, m, n)
        The nominal run has NaN beyond the time it reached; there are no others then.

    Raises
    ------
    UnsupportedModelError
        If a state has no initial value (code ``missing-value``); ``event-not-lumpable`` as :func:`trajectories`.
    """
    start = system.initial_state()
    if np.isnan(start).any():
        names = [name for name, value in zip(system.states, start, strict=True) if np.isnan(value)]
        raise UnsupportedModelError(
            [Reason("missing-value", f"{name} has no initial value; it cannot be simulated", name) for name in names]
        )
    first = trajectories(system, start[None, :], times, relative=relative)
    if not np.isfinite(first).all() or not ensemble.count:
        return start[None, :], first
    size = np.abs(first[0]).max(axis=0)
    others = perturbed_starts(start, size, ensemble, np.random.default_rng([seed, 0x57A7]))
    rest = trajectories(system, others, times, scale=size, relative=relative)
    good = np.isfinite(rest).all(axis=(1, 2))
    return np.vstack([start, others[good]]), np.concatenate([first, rest[good]])


def reduced_start(reduction: ReducedSystem, starts: Array) -> tuple[Array, dict[str, Array]]:
    """Where the reduced system starts for other initial states of the original.

    Returns
    -------
    starts : ndarray (r, m)
        y(0) = Lx(0).
    constants : dict of str to ndarray (r,)
        Constants of the reduced system that hang on the initial state (totals).
    """
    system, original = reduction.system, reduction.original
    lumped = reduction.project(starts)
    given = starts_of(reduction)
    if not given:
        return lumped, {}
    place = original.state_index
    # a constant of the original keeps its value in all runs, also where it was computed from initial values
    own = {c.id for c in original.constants} & {c.id for c in system.constants} - set(given)
    hanging = [c.id for c in system.constants if c.id not in given and c.value is not None and c.computed]
    hanging = [name for name in hanging if name not in own]
    computed = [c.id for c in original.constants if c.id in own and c.computed and c.value is not None]
    fixed_values = values_of(original.graph, [original.constant_values[name] for name in computed])
    fixed = {name: Fraction(repr(float(v))) for name, v in zip(computed, fixed_values, strict=True) if np.isfinite(v)}
    hanging += list(given)
    columns: dict[str, list[float]] = {name: [] for name in hanging}
    for x, y in zip(starts, lumped, strict=True):
        new = {
            name: sum((v * Fraction(repr(float(x[place[state]]))) for state, v in row.items()), Fraction(0))
            for name, row in given.items()
        }
        new |= {name: Fraction(repr(float(v))) for name, v in zip(system.states, y, strict=True)}
        new |= fixed
        moved = system.with_values(new).constant_values
        numbers = values_of(system.graph, [moved[name] for name in hanging])
        for name, number in zip(hanging, numbers, strict=True):
            columns[name].append(float(number))
    table = {name: np.array(column) for name, column in columns.items()}
    return lumped, {name: column for name, column in table.items() if np.ptp(column) or len(starts) == 1}


def default_horizon(system: OdeSystem) -> float:
    """A horizon in the model's own time: as long as it takes to come to rest.

    From the fastest scale at the start the horizon grows threefold until nothing moves any more over its second half,
    something has outgrown the start a thousand times, or the integration becomes long (an oscillation). It reaches
    beyond events at known times that are not out of all proportion.

    Raises
    ------
    LimitError
        If the model cannot be integrated at all (code ``not-simulated``).
    """
    problem = timed_problem(system)
    late = [] if problem is None else [time for one in problem.events for time in one.times]
    until = _resting_time(system)
    beyond = [1.5 * time for time in late if until < 1.5 * time <= _FAR_EVENT * until]
    return max([until, *beyond])


def _resting_time(system: OdeSystem) -> float:
    if not system.size:
        return 1.0
    start = system.initial_state()
    likely = _likely_size(system, start[None, :])
    scale = np.maximum(likely, 1e-3 * max(float(likely.max(initial=0.0)), 1e-9))
    rates = np.abs(np.nan_to_num(system.rates(0.0, start)))
    speed = float((rates / scale).max(initial=0.0))
    until = 1e-1 / speed if speed > 0 else 1.0
    field = field_of(system.graph, system.rhs, system.states, system.constant_values)
    table = np.append(start, 0.0)[None, :] if field.timed else start[None, :]
    largest = float(scale.max())
    # what a state wavers by within the tolerance is no motion: its size counts from a hundred thousandth of the largest
    smallest = _SMALLEST * largest
    best: float | None = None
    for _ in range(_MOST_ROUNDS):
        times = np.array([0.0, 0.5 * until, 0.75 * until, until])
        with np.errstate(all="ignore"):
            runs = integrate(field, table, times, tolerances=StepControl(1e-6, 1e-1 * _REST * smallest, _HORIZON_STEPS))
        if not runs.complete[0]:
            break
        best = until
        if float(np.abs(runs.states[0, :, : system.size]).max()) > _FAR * largest:
            return until
        late = runs.states[0, 1:, : system.size]
        size = np.maximum(np.abs(runs.states[0, :, : system.size]).max(axis=0), smallest)
        if (np.ptp(late, axis=0) <= _REST * size).all():
            return until
        until *= _LONGER
    if best is None:
        raise LimitError(
            Reason(
                "not-simulated", "the model cannot be integrated from its initial values; give --until and check them"
            )
        )
    return best


# -- How far an approximate reduction is off, measured by simulating both systems fro ------------

# How far an approximate reduction is off, measured by simulating both systems from several initial states.


_SMALL: Final = 1e-12  # of the largest value over all runs: what is smaller in one of them counts as zero there
_REDUCED_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class EnsembleSettings:
    """How an approximation is measured.

    Attributes
    ----------
    until : float or None
        Horizon; chosen from the model if ``None``.
    ensemble : int
        Perturbed initial states beside the nominal one.
    spread : float
        Relative size of the perturbation; where an initial value is zero, of the largest value along the nominal run.
    seed : int
    """

    until: float | None = None
    ensemble: int = 6
    spread: float = 0.2
    seed: int = 0


STANDARD: Final = EnsembleSettings()
"""Six perturbed starts, 20 %, a horizon chosen from the model."""

DRAFT: Final = ErrorEstimate("not yet measured", 0.0, 0, 0.0, float("inf"), float("inf"))
"""Stands in a reduction until its error is measured."""


@dataclass(frozen=True)
class ReferenceEnsemble:
    """Runs of the original, made once and held against any number of reductions.

    Attributes
    ----------
    trial : Trial
        With the horizon that was used.
    observables : tuple of Observable
    times : ndarray (m,)
    starts : ndarray (r, n)
    states : ndarray (r, m, n)
    expected : ndarray (r, m, q)
        Values of the observables.
    """

    trial: EnsembleSettings
    observables: tuple[Observable, ...]
    times: Array
    starts: Array
    states: Array
    expected: Array

    def nominal(self) -> ReferenceEnsemble:
        """The run from the file's own initial values alone."""
        return replace(self, starts=self.starts[:1], states=self.states[:1], expected=self.expected[:1])

    @property
    def until(self) -> float:
        """The horizon."""
        return float(self.times[-1])


@dataclass(frozen=True, slots=True)
class Measurement:
    """Relative errors of each run (r,) and each observable (r, q): max |difference| / max |original| over time."""

    horizon: float
    errors: Array
    per_observable: Array
    names: tuple[str, ...]


def reference_ensemble(
    system: OdeSystem, observables: Sequence[Observable], trial: EnsembleSettings = STANDARD
) -> ReferenceEnsemble:
    """Simulate the original from its own and from perturbed initial values.

    Raises
    ------
    LimitError
        If it cannot be integrated from its own (code ``not-simulated``).
    """
    until = trial.until if trial.until is not None else default_horizon(system)
    times = time_points(until)
    starts, full = ensemble_runs(system, times, Ensemble(trial.ensemble, trial.spread), trial.seed)
    if not np.isfinite(full[0]).all():
        message = f"model {system.id} cannot be integrated to {until:g}; choose a shorter horizon with --until"
        raise LimitError(Reason("not-simulated", message))
    expected = values(system, [one.expression for one in observables], times, full)
    return ReferenceEnsemble(replace(trial, until=until), tuple(observables), times, starts, full, expected)


def measure(
    reduction: ReducedSystem,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    *,
    relative: float = 1e-7,
    steps: int = _REDUCED_STEPS,
    meter: Meter | None = None,
) -> Measurement:
    """Simulate the reduced system and compare the observables; what cannot be integrated is an infinite error.

    Parameters
    ----------
    reduction : ReducedSystem
    by : Trial or Yardstick
    relative, steps
        Tolerance and most steps of a run of the reduced system.
    meter : Meter, optional
        Counts the work.

    Raises
    ------
    LimitError
        If the original itself cannot be integrated (code ``not-simulated``); if there is a meter and its limit has been
        passed (``work-limit``).
    """
    original, system = reduction.original, reduction.system
    ruler = by if isinstance(by, ReferenceEnsemble) else reference_ensemble(original, reduction.observables, by)
    lumped, constants = reduced_start(reduction, ruler.starts)
    largest = np.abs(reduction.project(ruler.states.reshape(-1, original.size))).max(axis=0, initial=0.0)
    small = trajectories(
        system,
        lumped,
        ruler.times,
        constants=constants,
        scale=largest,
        relative=relative,
        steps=steps,
        meter=meter,
    )
    nodes = [system.definitions[one.id] for one in ruler.observables]
    got = values(system, nodes, ruler.times, small, constants)
    scale = _sizes(ruler)
    with np.errstate(all="ignore"):
        per = (np.abs(got - ruler.expected) / scale[:, None, :]).max(axis=1)
    per = np.where(np.isnan(per), np.inf, per)
    return Measurement(ruler.until, per.max(axis=1, initial=0.0), per, tuple(one.id for one in ruler.observables))


def error_estimate(
    reduction: ReducedSystem,
    method: str,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    details: Mapping[str, Any] | None = None,
    *,
    meter: Meter | None = None,
) -> ErrorEstimate:
    """The measured error as a certificate.

    Raises
    ------
    LimitError
        As :func:`measure`.
    """
    trial = by.trial if isinstance(by, ReferenceEnsemble) else by
    return estimate_of(measure(reduction, by, meter=meter), method, trial, details)


def estimate_of(
    found: Measurement, method: str, trial: EnsembleSettings, details: Mapping[str, Any] | None = None
) -> ErrorEstimate:
    """A measurement as a certificate."""
    worst_each = found.per_observable.max(axis=0, initial=0.0)
    per = {name: finite_or_none(error) for name, error in zip(found.names, worst_each.tolist(), strict=True)}
    return ErrorEstimate(
        method,
        found.horizon,
        len(found.errors),
        trial.spread,
        float(found.errors.max()),
        float(np.median(found.errors)),
        details={"nominal_error": finite_or_none(float(found.errors[0])), "per_observable": per, **(details or {})},
    )


def difference(
    first: ReducedSystem,
    second: ReducedSystem,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    *,
    meter: Meter | None = None,
) -> float:
    """Largest relative difference of the observables of two reductions of one system, from its own initial values.

    Raises
    ------
    LimitError
        As :func:`measure`.
    """
    ruler = by if isinstance(by, ReferenceEnsemble) else reference_ensemble(first.original, first.observables, by)
    found: list[Array] = []
    for one in (first, second):
        lumped, constants = reduced_start(one, ruler.starts[:1])
        small = trajectories(one.system, lumped, ruler.times, constants=constants, steps=_REDUCED_STEPS, meter=meter)
        nodes = [one.system.definitions[o.id] for o in ruler.observables]
        found.append(values(one.system, nodes, ruler.times, small, constants)[0])
    scale = _sizes(ruler)[0]
    return float((np.abs(found[0] - found[1]) / scale).max(initial=0.0))


def _sizes(ruler: ReferenceEnsemble) -> Array:
    """Largest magnitude of each observable in each run, (r, q); of one that is always zero a trace of the states'."""
    sizes = np.abs(ruler.expected).max(axis=1)
    largest = sizes.max(axis=0, initial=0.0)
    largest = np.where(largest > 0, largest, float(np.abs(ruler.states).max(initial=0.0)))
    return np.asarray(np.maximum(sizes, np.maximum(_SMALL * largest, 1e-300)))
