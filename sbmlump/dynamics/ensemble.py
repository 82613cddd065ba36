"""Trajectories by the system's own right-hand side, from its own and from perturbed initial values, and their errors.

The relative error of a quantity is everywhere the same: the largest |difference| over the grid, by the largest
|original value| over the grid or, where that is more, by what counts as zero there (:func:`relative_error`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, Final, Literal

import numpy as np

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.dynamics.events import time_switches
from sbmlump.dynamics.rosenbrock import Runs, StepControl
from sbmlump.dynamics.solve import MAX_DENSE, StateReset, adjoints, integrate
from sbmlump.dynamics.time_span import TIME_SPAN, TimeSpan, VectorFieldSimulation, choose_time_span, likely_sizes
from sbmlump.dynamics.vector_field import Budget, VectorField, at_time_zero, field_of
from sbmlump.errors import LimitError, Reason, UnsupportedModelError
from sbmlump.linalg.rational import Span
from sbmlump.model.evaluate import Evaluator, values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.program import Program
from sbmlump.model.reduced import Elimination, ErrorEstimate, Observable, ReducedSystem, finite_or_none, starts_of
from sbmlump.model.sparse import distinct
from sbmlump.model.system import Event, OdeSystem, new_values, targets, time_bounds, values_are_old

__all__ = [
    "DRAFT",
    "STANDARD",
    "Ensemble",
    "EnsembleSettings",
    "Measurement",
    "NotIntegratedError",
    "ReferenceEnsemble",
    "Sample",
    "TrajectorySettings",
    "adjoint_of",
    "difference",
    "end_times",
    "ensemble_trajectories",
    "error_estimate",
    "estimate_of",
    "gradients",
    "guarded",
    "joined_samples",
    "largest_values",
    "measure",
    "perturbed_initial_values",
    "reduced_initial_values",
    "not_integrated",
    "reference_ensemble",
    "refuse_events",
    "refuse_resets",
    "refuse_untimed_events",
    "relative_error",
    "relative_errors",
    "run_ensemble",
    "time_grid",
    "time_span_of",
    "time_span_of_problem",
    "timed_problem",
    "trajectories",
    "values",
    "along",
    "without_poles",
    "within_bounds",
    "ReductionProblem",
    "TimedEvent",
    "pose",
]


# -- What an approximate reduction works on --------------------------------------------------------

# What an approximate reduction works on: the states that influence the observables, pinned rows, resets.


_TOGETHER: Final = 1e-9  # of a time: events closer than that may be one moment for an integrator


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event that fires at times known in advance."""

    event: Event
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Clamp:
    """Which argument of an expression is kept in its domain: the larger, or the smaller, of it and a limit is taken."""

    place: int
    limit: Node
    function: Literal["max", "min"]


@dataclass(frozen=True)
class ReductionProblem:
    """The part of a system that matters to the observables, as numbers.

    Attributes
    ----------
    system : OdeSystem
    observables : tuple of Observable
    kept : tuple of int
        The n states of `system` that influence an observable; all arrays have them as columns.
    pinned : tuple of mappings column → Fraction
        p independent rows whose span holds the gradient of every observable: the first rows of L.
    start : ndarray (n,)
        Initial state.
    events : tuple of TimedEvent
        Those that touch the kept states.
    remarks : tuple of str
    clamps : mapping of Node to Clamp
        Parts of right-hand sides that are not defined everywhere, with what keeps them in their domain where points may
        lie outside of it (see :func:`guarded` and :func:`without_poles`).
    bounds : mapping of Node to float
        Denominators, and the value to which they are kept.
    """

    system: OdeSystem
    observables: tuple[Observable, ...]
    kept: tuple[int, ...]
    pinned: tuple[Mapping[int, Fraction], ...]
    start: Array
    events: tuple[TimedEvent, ...] = ()
    remarks: tuple[str, ...] = ()
    clamps: Mapping[Node, Clamp] = field(default_factory=dict)
    bounds: Mapping[Node, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number n of states that matter."""
        return len(self.kept)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Ids of these states."""
        return tuple(self.system.states[j] for j in self.kept)

    @cached_property
    def guards(self) -> dict[Node, Node]:
        """What takes the place of the parts that are kept in their domain."""
        graph = self.system.graph
        found: dict[Node, Node] = {}
        for node in sorted(self.clamps):  # arguments have smaller numbers than what they stand in
            clamp = self.clamps[node]
            arguments = graph.substitute(list(graph.args(node)), found)
            arguments[clamp.place] = graph.call(clamp.function, (arguments[clamp.place], clamp.limit))
            found[node] = graph.rebuild(graph.op(node), tuple(arguments), graph.payload(node))
        return found

    def pinned_array(self) -> Array:
        """C, shape (p, n)."""
        out = np.zeros((len(self.pinned), self.size))
        for i, row in enumerate(self.pinned):
            for j, value in row.items():
                out[i, j] = float(value)
        return out

    def rhs(self) -> list[Node]:
        """Right-hand sides of the kept states, in kept states only.

        A state that a rate mentions may still not influence it, because a constant beside it is zero: constants that
        are zero are put in there, and where that is not enough (their differences are zero, say), all of them.
        """
        system, graph = self.system, self.system.graph
        roots = graph.substitute([system.rhs[j] for j in self.kept], self.guards)
        outside = set(system.states) - set(self.names)
        if outside.isdisjoint(graph.symbols(roots)):
            return roots
        values = system.constant_values
        zeros = {graph.symbol(name): node for name, node in values.items() if graph.number_of(node) == 0}
        roots = graph.substitute(roots, zeros)
        return [
            root if outside.isdisjoint(graph.symbols([root])) else bound
            for root, bound in zip(roots, self.bound, strict=True)
        ]

    @cached_property
    def bound(self) -> list[Node]:
        """Right-hand sides of the kept states with the values of all constants put in."""
        graph = self.system.graph
        rates = graph.substitute([self.system.rhs[j] for j in self.kept], self.guards)
        return graph.substitute(rates, self.system.specialised())

    @cached_property
    def _plain(self) -> VectorField:
        return field_of(self.system.graph, self.bound, self.names, {})

    def vector_field(self, free: Mapping[str, Array] | None = None) -> VectorField:
        """The right-hand side as a field; ``free`` holds values of constants that differ between runs."""
        if not free:
            return self._plain
        return field_of(self.system.graph, self.rhs(), self.names, self.system.constant_values, free)

    def stops(self, until: float) -> tuple[float, ...]:
        """Times up to ``until`` at which the right-hand side changes by itself, ascending; none of very many."""
        return stops_of(self.system, until) if self._plain.timed else ()

    def resets(self, until: float, timed: bool, free: Mapping[str, Array] | None = None) -> list[StateReset]:
        """What the events do up to ``until``, in order of time."""
        graph = self.system.graph
        found = []
        for one in self.events:
            new = new_values(one.event)
            roots = [new.get(name, graph.symbol(name)) for name in self.names]
            times = [t for t in one.times if t <= until]
            if graph.depends_on_time(roots) and not timed:
                # nothing but the reset depends on time, so there is no state for it: each reset has its own time
                for t in times:
                    at = graph.substitute(roots, {graph.time(): graph.number(Fraction(t))})
                    found.append(StateReset(t, _reset_field(self, at, timed, free)))
                continue
            reset = _reset_field(self, roots, timed, free)
            found += [StateReset(t, reset) for t in times]
        return sorted(found, key=lambda reset: reset.time)


def _reset_field(
    problem: ReductionProblem, roots: Sequence[Node], timed: bool, free: Mapping[str, Array] | None
) -> VectorField:
    """A reset as a field; in a field with time as a state, time stays what it is."""
    graph = problem.system.graph
    if not timed:
        return field_of(graph, roots, problem.names, problem.system.constant_values, free)
    clock = graph.symbol("sbmlump_clock")  # never leaves this module
    clocked = graph.substitute(roots, {graph.time(): clock})
    names = (*problem.names, "sbmlump_clock")
    return field_of(graph, [*clocked, clock], names, problem.system.constant_values, free)


def pose(system: OdeSystem, observables: Sequence[Observable], *, whole: bool = False) -> ReductionProblem:
    """Restrict ``system`` to what influences the observables, or take the ``whole`` of it.

    Raises
    ------
    UnsupportedModelError
        ``missing-value`` (a constant or an initial value), ``event-not-lumpable`` (an event that touches these states
        and is not triggered by time alone).
    """
    graph = system.graph
    bound = graph.substitute([*system.rhs, *(o.expression for o in observables)], system.specialised())
    system.require_values(bound)
    resets = [_reset_roots(system, event) for event in system.events]
    kept = tuple(range(system.size)) if whole else _influential(system, bound, resets)
    events, remarks = _events(system, kept)
    start = system.initial_state()[list(kept)] if kept else np.empty(0)
    unknown = [system.states[j] for j, value in zip(kept, start, strict=True) if not np.isfinite(value)]
    if unknown:
        raise UnsupportedModelError(
            [Reason("missing-value", f"the state {name} has no initial value", name) for name in unknown]
        )
    pinned = _pinned(system, [bound[system.size + i] for i in range(len(observables))], kept)
    if len(kept) < system.size:
        remarks.append(f"{system.size - len(kept)} of {system.size} states do not influence what is observed")
    problem = ReductionProblem(system, tuple(observables), kept, pinned, start, events, tuple(remarks))
    problem.__dict__["bound"] = [bound[j] for j in kept]  # known already
    return problem


def guarded(problem: ReductionProblem, sample: Sample, floor: float) -> ReductionProblem:
    """The same problem with powers and logarithms defined where their arguments become negative.

    A state that is lifted from fewer ones may lie a little below 0, where a logarithm and a power with an exponent that
    is not an integer have no value. Where such an argument was never negative along the runs, the larger of it and
    ``floor`` times its largest value takes its place: no run notices, and the slope beyond is zero.

    Parameters
    ----------
    problem : ReductionProblem
    sample : Sample
        Runs of the system itself.
    floor : float
    """
    graph, system = problem.system.graph, problem.system
    names, given = set(problem.names), system.specialised()
    partial_nodes = [
        node
        for node in graph.reachable(problem.rhs())
        if _has_gaps(graph, node, given, bool(sample.varied)) and names & graph.symbols([graph.args(node)[0]])
    ]
    if not partial_nodes:
        return problem
    arguments = list(dict.fromkeys(graph.args(node)[0] for node in partial_nodes))
    seen = along(problem, arguments, sample, sample.states)
    lowest, highest = seen.min(axis=(0, 1)), seen.max(axis=(0, 1))
    floors = {
        argument: graph.decimal(floor * (float(high) or 1.0))
        for argument, low, high in zip(arguments, lowest.tolist(), highest.tolist(), strict=True)
        if np.isfinite(high) and low >= -floor * high
    }
    clamps = {
        node: Clamp(0, floors[argument], "max") for node in partial_nodes if (argument := graph.args(node)[0]) in floors
    }
    return replace(problem, clamps=clamps) if clamps else problem


def without_poles(problem: ReductionProblem, samples: Sequence[Sample], share: float) -> ReductionProblem:
    """The same problem with denominators that stay away from zero.

    A state that is lifted from fewer ones may lie so far below 0 that a denominator, K + x say, has the other sign.
    From there the way back leads through a pole, where no integrator means anything; some step over it. A denominator
    with one sign along the runs is therefore never nearer to 0 than ``share`` of its smallest value there.

    Parameters
    ----------
    problem : ReductionProblem
    samples : sequence of Sample
        Runs of the system itself.
    share : float
    """
    graph, system = problem.system.graph, problem.system
    known, given = {*problem.names, *system.constant_values}, system.specialised()
    found: dict[Node, list[tuple[Node, int]]] = {}
    for node in graph.reachable([system.rhs[j] for j in problem.kept]):
        place = _denominator(graph, node, given)
        if place is None:
            continue
        mentioned = graph.symbols([graph.args(node)[place]])
        if mentioned <= known and not mentioned.isdisjoint(problem.names):
            found.setdefault(graph.args(node)[place], []).append((node, place))
    nodes = list(found)
    if not nodes:
        return problem
    seen = np.concatenate([along(problem, nodes, one, one.states).reshape(-1, len(nodes)) for one in samples])
    clamps, bounds = dict(problem.clamps), {}
    for node, low, high in zip(nodes, seen.min(axis=0).tolist(), seen.max(axis=0).tolist(), strict=True):
        bound = share * (low if low > 0 else high if high < 0 else 0.0)
        if bound == 0.0 or not np.isfinite(bound):
            continue
        (seen_as,) = graph.substitute([node], problem.guards)  # powers within it are defined at lifted points
        bounds[seen_as] = bound
        for owner, place in found[node]:
            clamps[owner] = Clamp(place, graph.decimal(bound), "max" if bound > 0 else "min")
    return replace(problem, clamps=clamps, bounds=bounds) if bounds else problem


def within_bounds(problem: ReductionProblem, sample: Sample, lifted: Array, near: float) -> Mask:
    """Whether no denominator comes to its bound, or ``near`` times as far, at points (r, m, n) or NaN; (r,)."""
    if not problem.bounds:
        return np.ones(len(lifted), dtype=np.bool_)
    bounds = near * np.array(list(problem.bounds.values()))
    seen = along(problem, list(problem.bounds), sample, lifted)
    return np.asarray((np.isnan(seen) | (seen * np.sign(bounds) > np.abs(bounds))).all(axis=(1, 2)))


def along(problem: ReductionProblem, nodes: Sequence[Node], sample: Sample, states: Array) -> Array:
    """Expressions at points (r, m, n) of the kept states at the times of a sample, (r, m, len(nodes))."""
    varied = {name: column[sample.numbers] for name, column in sample.varied.items()}
    return values(problem.system, nodes, sample.times, states, varied, problem.names)


def _denominator(graph: Graph, node: Node, given: Mapping[Node, Node]) -> int | None:
    """Which argument a quotient, or a power with a negative exponent, divides by."""
    if graph.op(node) is Op.DIV:
        return 1
    if graph.op(node) is Op.POW:
        number = graph.number_of(graph.substitute([graph.args(node)[1]], given)[0])
        return 0 if number is not None and number < 0 else None
    return None


def _has_gaps(graph: Graph, node: Node, given: Mapping[Node, Node], varied: bool) -> bool:
    """Whether the node is a logarithm or a power with an exponent that is not, or may not stay, an integer."""
    if graph.op(node) is Op.CALL:
        return graph.payload(node) == "ln"
    if graph.op(node) is not Op.POW:
        return False
    exponent = graph.args(node)[1]
    if varied and graph.symbols([exponent]):
        return True
    number = graph.number_of(graph.substitute([exponent], given)[0])
    return number is None or number.denominator != 1


def _reset_roots(system: OdeSystem, event: Event) -> list[Node]:
    graph = system.graph
    new = new_values(event)
    return graph.substitute([new.get(s, graph.symbol(s)) for s in system.states], system.specialised())


def _influential(system: OdeSystem, bound: Sequence[Node], resets: Sequence[Sequence[Node]]) -> tuple[int, ...]:
    """States reached from the observables along dependencies (of the rates and of the events)."""
    graph = system.graph
    n = system.size
    variables = [graph.symbol(name) for name in system.states]
    if graph.depends_on_time([*bound, *(node for reset in resets for node in reset)]):
        variables.append(graph.time())
    program = Program(graph, [*bound, *(node for reset in resets for node in reset)], variables)
    pattern = program.dependencies().first_columns(n)
    count = len(bound) - n
    reached = np.zeros(n, dtype=np.bool_)
    frontier = distinct(pattern.rows(np.arange(n, n + count)).indices)
    while len(frontier):
        reached[frontier] = True
        found = [frontier, *(n + count + k * n + frontier for k in range(len(resets)))]
        new = distinct(pattern.rows(np.concatenate(found)).indices)
        frontier = new[~reached[new]]
    return tuple(np.flatnonzero(reached).tolist())


def _events(system: OdeSystem, kept: tuple[int, ...]) -> tuple[tuple[TimedEvent, ...], list[str]]:
    names = {system.states[j] for j in kept}
    found: list[TimedEvent] = []
    dropped: list[str] = []
    reasons: list[Reason] = []
    for event in system.events:
        label = event.id or "without id"
        if names.isdisjoint(targets(event)):
            dropped.append(label)
            continue
        times = _firing_times(system, event)
        if isinstance(times, str):
            message = f"the event {label} cannot be carried over to an approximate reduction: {times}"
            reasons.append(Reason("event-not-lumpable", message, event.id))
        else:
            found.append(TimedEvent(event, times))
    reasons += _meeting(system, found)
    if reasons:
        raise UnsupportedModelError(reasons)
    remarks = [f"events without influence on what is observed are left out: {', '.join(dropped)}"] if dropped else []
    return tuple(found), remarks


def _meeting(system: OdeSystem, events: Sequence[TimedEvent]) -> list[Reason]:
    """Events that assign values of their trigger which another event may change at the same moment."""
    reasons: list[Reason] = []
    for one in events:
        if not values_are_old(system, one.event):
            continue
        others = [time for other in events if other is not one for time in other.times]
        times = [t for t in one.times if any(abs(t - time) <= _TOGETHER * max(t, time) for time in others)]
        if times:
            label = one.event.id or "without id"
            message = (
                f"the event {label} cannot be carried over to an approximate reduction: it assigns values of the "
                f"moment of its trigger, and other events happen at the same time {times[0]:g}"
            )
            reasons.append(Reason("event-not-lumpable", message, one.event.id))
    return reasons


def _firing_times(system: OdeSystem, event: Event) -> tuple[float, ...] | str:
    """When the event fires, if only time decides; else why that cannot be said."""
    graph = system.graph
    trigger = graph.substitute([event.trigger], system.specialised())[0]
    if graph.symbols([trigger]):
        return "its trigger depends on states"
    if event.priority is not None:
        return "it has a priority"
    delay = 0.0
    if event.delay is not None:
        bound = graph.substitute([event.delay], system.specialised())[0]
        if graph.symbols([bound]) or graph.depends_on_time([bound]):
            return "its delay is no constant"
        delay = float(values_of(graph, [bound])[0])
        if delay and values_are_old(system, event):
            return "it assigns values of the moment of its trigger after a delay"
        if delay and not event.persistent:
            return "it has a delay and is not persistent"
    bounds = time_bounds(graph, trigger)
    if bounds is None:
        return "its trigger compares more than time with constants"
    marks = sorted(set(values_of(graph, bounds)))
    times = tuple(t + delay for t in _rising(system, trigger, marks, event.initial_value))
    if 0.0 in times:  # runs begin at the initial values, which such an event would replace at once
        return "it happens at time 0; put what it sets into the initial values instead"
    return times


def _rising(system: OdeSystem, trigger: Node, marks: Sequence[float], initial: bool) -> list[float]:
    """Times ≥ 0 at which the trigger turns from false to true."""
    graph = system.graph
    inner = [0.0, *(mark for mark in marks if mark > 0)]
    probes: list[float] = []
    owners: list[float] = []
    for low, high in zip(inner, [*inner[1:], inner[-1] + max(1.0, 2 * inner[-1])], strict=True):
        probes += [low, 0.5 * (low + high)]
        owners += [low, low]
    program = Program(graph, [trigger], [graph.time()])
    from sbmlump.model.domains import FloatDomain

    domain = FloatDomain()
    truth = program.outputs(program.run(domain, np.array([probes])))[0] != 0
    before = np.concatenate([[initial], truth[:-1]])
    return [owner for owner, now, was in zip(owners, truth.tolist(), before.tolist(), strict=True) if now and not was]


def _pinned(system: OdeSystem, roots: Sequence[Node], kept: tuple[int, ...]) -> tuple[Mapping[int, Fraction], ...]:
    """Rows for affine observables; every state of any other observable is a row of its own."""
    graph = system.graph
    place = {graph.symbol(system.states[j]): i for i, j in enumerate(kept)}
    one = graph.number(1)
    rows: list[dict[int, Fraction]] = []
    for root in roots:
        terms = graph.linear_terms(root)
        if all(term in place or term == one for term in terms):
            rows.append({place[term]: c for term, c in terms.items() if term != one})
        else:
            mentioned = sorted(place[graph.symbol(name)] for name in graph.symbols([root]))
            rows += [{j: Fraction(1)} for j in mentioned]
    span: Span[int] = Span()
    return tuple(row for row in rows if span.add(row))


# -- Trajectories by the system's own right-hand side ----------------------------------------------


@dataclass(frozen=True, slots=True)
class TrajectorySettings:
    """How exactly trajectories are made, and what counts as zero in them.

    Attributes
    ----------
    relative_tolerance : float
        Errors of 1e-6 are the smallest that are told apart from those of the integration.
    steps : int
        Most steps of a run of an original: published models take up to some thousand, oscillators more.
    reduced_steps : int
        Of a reduced model: one that needs more than that has become stiffer than what it stands for.
    decades : float
        From the first to the last of the logarithmic times of a grid.
    early_decades, early_points : float
        Before the first of the logarithmic times: so many decades, and points in each, are looked at in the nominal
        run; a model that is followed for years may do what matters within seconds.
    before_motion : float
        Of the time at which the observables begin to move: the points from there on stay in the grid.
    negligible : float
        Of the largest value over all runs: what is smaller in one of them is zero within rounding, and dividing by it
        would make rounding errors count.
    end_times, end_times_large : int
        At which effects of disturbances are looked at, of small and of large systems.
    absolute_tolerance : float
        Of the size of each state, in ensembles.
    small : float
        Of the largest state: smaller ones are integrated as if they were as large as that.
    ensemble_steps : int
        Most steps of a run of an ensemble.
    most_stops : int
        Times at which the right-hand side jumps: each costs a start of the integrator and some output times. Beyond,
        a model switches as fast as others oscillate, and the integrator finds its way by its steps.
    after_stops : tuple of float
        Output times after each, as parts of the time to the next one: what it sets off may be short.
    patience : float
        Times the steps of the nominal run: perturbed initial values that need more are dropped where that is allowed,
        since a few of them would cost as much as all others.
    least_steps : int
        So many steps are always allowed.
    """

    relative_tolerance: float = 1e-7
    steps: int = 50_000
    reduced_steps: int = 10_000
    decades: float = 5.0
    early_decades: float = 9.0
    early_points: float = 12.0
    before_motion: float = 0.1
    negligible: float = 1e-12
    end_times: int = 25
    end_times_large: int = 8
    absolute_tolerance: float = 1e-9
    small: float = 1e-6
    ensemble_steps: int = 20_000
    most_stops: int = 100
    after_stops: tuple[float, ...] = (0.001, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75)
    patience: float = 10.0
    least_steps: int = 2_000


TRAJECTORIES: Final = TrajectorySettings()


# -- events that a method can follow ---------------------------------------------------------------


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


def refuse_resets(system: OdeSystem, names: Collection[str], why: str) -> None:
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
    return pose(system, (), whole=True)


# -- trajectories ----------------------------------------------------------------------------------


def time_grid(until: float, points: int = 80, stops: Sequence[float] = ()) -> Array:
    """0 and the union of logarithmic and uniform times up to ``until``; ``stops``, and times after each of them."""
    logarithmic = np.geomspace(until * 10.0**-TRAJECTORIES.decades, until, points)
    inside = np.array([stop for stop in stops if 0 < stop < until])
    gaps = np.diff(np.append(inside, until))
    after = inside[:, None] + gaps[:, None] * np.array(TRAJECTORIES.after_stops)
    times = np.unique(np.concatenate([logarithmic, np.linspace(0.0, until, points + 1), inside, after.ravel()]))
    keep = np.concatenate([[True], np.diff(times) > 1e-9 * until])
    return np.asarray(times[keep])


def stops_of(system: OdeSystem, until: float) -> tuple[float, ...]:
    """Times in (0, ``until``) at which a right-hand side changes by itself, ascending; none of very many."""
    found = time_switches(system).until(until)
    return found if len(found) <= TRAJECTORIES.most_stops else ()


def early_times(until: float) -> Array:
    """Times before the logarithmic ones of a grid, for what may happen within the fastest scales of a stiff model."""
    count = round(TRAJECTORIES.early_decades * TRAJECTORIES.early_points)
    last = until * 10.0**-TRAJECTORIES.decades
    return np.asarray(np.geomspace(last * 10.0**-TRAJECTORIES.early_decades, last, count, endpoint=False))


def first_motion(values: Array, times: Array) -> float:
    """The first time at which a quantity has moved by more than rest allows, by its range; infinite if none does.

    Parameters
    ----------
    values : array (m, p)
    times : array (m,)
    """
    reach = np.ptp(values, axis=0)
    moved = (np.abs(values - values[0]) > TIME_SPAN.at_rest * reach).any(axis=1)
    return float(times[int(np.argmax(moved))]) if moved.any() else np.inf


def trajectories(
    system: OdeSystem,
    starts: Array,
    times: Array,
    *,
    constants: Mapping[str, Array] | None = None,
    scale: Array | None = None,
    relative: float = TRAJECTORIES.relative_tolerance,
    steps: int = TRAJECTORIES.steps,
    budget: Budget | None = None,
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
    budget : Budget, optional
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
        If there is a budget and it is exhausted.
    """
    if not system.size:
        return np.zeros((len(starts), len(times), 0))
    vector_field = field_of(system.graph, system.rhs, system.states, system.constant_values, constants)
    size = _likely_size(system, starts) if scale is None else scale
    scale = np.maximum(size, 1e-3 * max(float(size.max(initial=0.0)), 1e-30))
    absolute = np.concatenate([1e-4 * relative * scale, [1e-9]]) if vector_field.timed else 1e-4 * relative * scale
    problem = timed_problem(system)
    resets = [] if problem is None else problem.resets(float(times[-1]), vector_field.timed, constants)
    stops = stops_of(system, float(times[-1])) if vector_field.timed else ()
    with np.errstate(all="ignore"):
        tolerances = StepControl(relative, absolute, steps, stops)
        runs = integrate(
            vector_field,
            at_time_zero(starts, vector_field.timed),
            times,
            resets=resets,
            tolerances=tolerances,
            budget=budget,
        )
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
    names: Sequence[str] | None = None,
) -> Array:
    """Expressions along runs: states (r, m, n) to (r, m, len(nodes)).

    Parameters
    ----------
    constants : mapping of str to array (r,), optional
        Constants whose values differ between the runs.
    names : sequence of str, optional
        Which states the columns of ``states`` are; those of the system in its order by default.

    Raises
    ------
    UnsupportedModelError
        ``missing-value`` of a constant.
    """
    varied = dict(constants or {})
    fixed = {name: node for name, node in system.constant_values.items() if name not in varied}
    columns = system.states if names is None else names
    system.require_values(nodes, {*columns, *varied})
    evaluator = Evaluator(system.graph, nodes, [*columns, *varied], fixed)
    found = np.empty((*states.shape[:2], len(nodes)))
    for i, path in enumerate(states):
        own = np.array([column[i] for column in varied.values()])
        found[i] = evaluator.values(times, np.concatenate([path, np.broadcast_to(own, (len(path), len(own)))], axis=1))
    return found


def time_span_of(system: OdeSystem, observables: Sequence[Observable], budget: Budget | None = None) -> TimeSpan:
    """The end time for a system and what is observed of it (see :mod:`sbmlump.dynamics.time_span`).

    The whole system is integrated, also what does not influence the observables.

    Raises
    ------
    UnsupportedModelError
        ``event-not-lumpable`` if an event is not triggered by time alone; ``missing-value``.
    """
    return time_span_of_problem(pose(system, observables, whole=True), budget)


def time_span_of_problem(problem: ReductionProblem, budget: Budget | None = None) -> TimeSpan:
    """The end time for the states of a problem and its pinned quantities, as far as the budget lets it be seen."""
    if not problem.size:
        reason = f"nothing is integrated; {TIME_SPAN.conventional:g} units of time by convention"
        return TimeSpan(TIME_SPAN.conventional, reason)
    vector_field = problem.vector_field()
    timed = vector_field.timed
    initial, rows = at_time_zero(problem.start[None], timed)[0], at_time_zero(problem.pinned_array(), timed)
    resets = problem.resets(np.inf, timed)
    changes = {*time_switches(problem.system).named, *(reset.time for reset in resets)}
    simulation = VectorFieldSimulation(vector_field, initial, rows, resets, budget)
    return choose_time_span(simulation, sorted(changes))


# -- ensembles -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ensemble:
    """How runs differ from the nominal one.

    ``count`` perturbed runs beside the nominal one; initial values times 1 ± ``spread``, and where they are zero,
    plus at most ``spread`` times the largest value of that state along the nominal run; parameters times
    1 ± ``parameters``. In the share ``resting`` of the runs, what is zero stays zero.
    """

    count: int = 24
    spread: float = 0.2
    parameters: float = 0.0
    resting: float = 0.0


def perturbed_initial_values(start: Array, size: Array, ensemble: Ensemble, generator: np.random.Generator) -> Array:
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
    share = ensemble.resting * np.arange(ensemble.count + 1)
    added[np.floor(share[1:]) > np.floor(share[:-1])] = 0.0  # evenly among the others: the first few runs stand for all
    return np.where(start == 0, added, start * factor)


def ensemble_trajectories(
    system: OdeSystem,
    times: Array,
    ensemble: Ensemble,
    seed: int,
    *,
    relative: float = TRAJECTORIES.relative_tolerance,
    budget: Budget | None = None,
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
    budget : Budget, optional
        Counts the work.

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
    first = trajectories(system, start[None, :], times, relative=relative, budget=budget)
    if not np.isfinite(first).all() or not ensemble.count:
        return start[None, :], first
    size = np.abs(first[0]).max(axis=0)
    others = perturbed_initial_values(start, size, ensemble, np.random.default_rng([seed, 0x57A7]))
    runs = trajectories(system, others, times, scale=size, relative=relative, budget=budget)
    good = np.isfinite(runs).all(axis=(1, 2))
    return np.vstack([start, others[good]]), np.concatenate([first, runs[good]])


def reduced_initial_values(reduction: ReducedSystem, starts: Array) -> tuple[Array, dict[str, Array]]:
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
    totals = reduction.map.totals if isinstance(reduction.map, Elimination) else {}
    totals = {name: node for name, node in totals.items() if name not in given}
    hanging = list(dict.fromkeys([*hanging, *given, *totals]))
    graph, known = original.graph, original.specialised()
    columns: dict[str, list[float]] = {name: [] for name in hanging}
    for x, y in zip(starts, lumped, strict=True):
        new = {
            name: sum((v * Fraction(repr(float(x[place[state]]))) for state, v in row.items()), Fraction(0))
            for name, row in given.items()
        }
        new |= {name: Fraction(repr(float(v))) for name, v in zip(system.states, y, strict=True)}
        new |= fixed
        put = {graph.symbol(name): graph.number(Fraction(repr(float(x[i])))) for name, i in place.items()}
        put[graph.time()] = graph.number(0)
        sums = values_of(graph, graph.substitute(list(totals.values()), {**known, **put}))
        new |= {name: Fraction(repr(float(v))) for name, v in zip(totals, sums, strict=True)}
        moved = system.with_values(new).constant_values
        numbers = values_of(system.graph, [moved[name] for name in hanging])
        for name, number in zip(hanging, numbers, strict=True):
            columns[name].append(float(number))
    table = {name: np.array(column) for name, column in columns.items()}
    return lumped, {name: column for name, column in table.items() if np.ptp(column) or len(starts) == 1}


# -- ensembles to learn from, with gradients -------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Runs of the full model.

    Attributes
    ----------
    vector_field : VectorField
    times : ndarray (m,)
    states : ndarray (r, m, n)
        Of the n kept states (without time where that is a state).
    scale : ndarray (n,)
        Largest magnitude of each state over all runs, at least 10⁻¹² of the
        largest of all states (see :class:`TrajectorySettings`); 1 where a state is always zero.
    resets : tuple of StateReset
    stops : tuple of float
        Times at which the right-hand side is discontinuous, or a short pulse begins (see :class:`StepControl`).
    numbers : ndarray of int (r,)
        Numbers of the runs in the vector field.
    steps : int
        Most steps that a run took, 0 where they were not counted.
    relative : float
        Tolerance of the integration.
    varied : mapping of str to array
        Values of constants that differ between runs, by the runs' numbers.
    dropped : int
        Perturbed initial values from which the system could not be integrated; they are not among the runs.
    """

    vector_field: VectorField
    times: Array
    states: Array
    scale: Array
    resets: tuple[StateReset, ...]
    numbers: Indices
    steps: int = 0
    relative: float = TRAJECTORIES.relative_tolerance
    varied: Mapping[str, Array] = field(default_factory=dict)
    dropped: int = 0
    stops: tuple[float, ...] = ()

    @property
    def starts(self) -> Array:
        """Initial states, (r, n)."""
        return self.states[:, 0]

    def most_steps(self, relative: float, most: int, least: int, patience: float) -> int:
        """Steps for a reduction: one that asks for far more than the original is not followed to the end.

        ``patience`` counts in the steps that the original would need at the tolerance ``relative``.
        """
        # the steps of a method of order four grow with the fourth root of the accuracy
        fair = self.steps * (self.relative / relative) ** 0.25
        return int(min(most, max(least, patience * fair))) if self.steps else most

    def with_time(self, states: Array) -> Array:
        """States with time appended where that is a state, (…, n) to (…, n or n + 1); times along axis −2."""
        if not self.vector_field.timed:
            return states
        clock = np.broadcast_to(self.times[:, None], (*states.shape[:-1], 1))
        return np.concatenate([states, clock], axis=-1)


def joined_samples(one: Sample, other: Sample, rows: Indices) -> Sample:
    """A sample with some runs of another one of the same call of :func:`run_ensemble` at its end."""
    return replace(
        one,
        states=np.concatenate([one.states, other.states[rows]]),
        numbers=np.concatenate([one.numbers, other.numbers[rows]]),
    )


class NotIntegratedError(LimitError):
    """The original cannot be integrated to an end time (``not-simulated``).

    Attributes
    ----------
    reached : float
        A time that the nominal run and enough of the perturbed ones reach.
    nominal : bool
        Whether already the nominal run does not reach the end time.
    """

    def __init__(self, reasons: Reason | Sequence[Reason], reached: float = 0.0, *, nominal: bool = False) -> None:
        super().__init__(reasons)
        self.reached, self.nominal = reached, nominal

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), nominal=self.nominal), (self.reasons, self.reached)


def run_ensemble(
    problem: ReductionProblem,
    until: float,
    ensembles: tuple[Ensemble, ...],
    seed: int,
    budget: Budget | None = None,
    *,
    droppable: float = 0.0,
    floor: float | None = None,
) -> tuple[Sample, ...]:
    """Simulate the nominal run and the perturbed ones of each ensemble; one sample an ensemble.

    The first sample begins with the nominal run. Draws of different ensembles are independent.

    Parameters
    ----------
    problem : ReductionProblem
    until : float
    ensembles : tuple of Ensemble
    seed : int
    budget : Budget, optional
    droppable : float
        This share of the perturbed initial values may be dropped where the system cannot be integrated from them, or
        only with far more steps than from its own.
    floor : float, optional
        As of :func:`guarded`, by the nominal run: perturbed runs that would leave the domain of a power by an error of
        the integration go on.

    Raises
    ------
    NotIntegratedError
        If the nominal run does not reach ``until``, or too many of the perturbed ones do not: which one, when and why.
    WorkLimitError
        If there is a budget and it is exhausted.
    """
    stops = problem.stops(until)
    usual = time_grid(until, 100, stops)
    times = np.union1d(usual, early_times(until))
    free = _perturbed_constants(problem, ensembles, seed)
    vector_field = problem.vector_field(free)
    resets = tuple(problem.resets(until, vector_field.timed, free))
    likely = likely_sizes(vector_field, at_time_zero(problem.start[None], vector_field.timed)[0])[: problem.size]
    first = _simulate(vector_field, problem.start[None, :], times, resets, np.array([0]), budget, likely, stops=stops)
    _check(problem, first.why, first.reached, until, "from the initial values of the file")
    begin = first_motion(first.states[0, :, : problem.size] @ problem.pinned_array().T, times)
    kept_times = np.isin(times, usual) | (times >= TRAJECTORIES.before_motion * begin)
    times, first = times[kept_times], replace(first, times=times[kept_times], states=first.states[:, kept_times])
    nominal = first.states[:, :, : problem.size]
    size = np.abs(nominal[0]).max(axis=0)
    if floor is not None:
        alone = Sample(vector_field, times, nominal, size, resets, np.array([0]), varied=free)
        vector_field = guarded(problem, alone, floor).vector_field(free)
    starts, count = [problem.start[None, :]], 1
    slices: list[slice] = []
    for position, ensemble in enumerate(ensembles):
        slices.append(slice(0 if position == 0 else count, count + ensemble.count))
        starts.append(
            perturbed_initial_values(problem.start, size, ensemble, np.random.default_rng([seed, position, 0xA11]))
        )
        count += ensemble.count
    everything = np.concatenate(starts)
    most = TRAJECTORIES.ensemble_steps
    if droppable and first.steps:
        most = int(min(most, max(TRAJECTORIES.least_steps, TRAJECTORIES.patience * first.steps)))
    others = _simulate(vector_field, everything[1:], times, resets, np.arange(1, count), budget, size, most, stops)
    # run by run, and nothing is copied that need not be: the runs of a large system are most of a gigabyte
    perturbed = others.states[:, :, : problem.size]
    largest = np.array([np.maximum(one.max(axis=0), -one.min(axis=0)) for one in (*nominal, *perturbed)])
    good = np.concatenate([[True], others.complete]) & np.isfinite(largest).all(axis=1)
    if int((~good).sum()) > droppable * (count - 1):
        where = "from a perturbed initial state (a smaller --spread may help)"
        reached = float(np.quantile(others.reached, droppable, method="lower"))
        _check(problem, others.why, others.reached, until, where, reached)
        message = f"model {problem.system.id} has no finite values up to {until:g} {where}"
        raise NotIntegratedError(Reason("not-simulated", message), reached)
    scale = largest[good].max(axis=0)
    scale = np.where(scale > 0, np.maximum(scale, TRAJECTORIES.negligible * scale.max(initial=0.0)), 1.0)
    steps = max(first.steps, others.steps)
    numbers = np.arange(count)
    samples = []
    for part in slices:
        kept = good[part]
        dropped = int((~kept).sum())
        if part.start:
            states = perturbed[part.start - 1 : part.stop - 1]
        else:
            states = np.concatenate([nominal, perturbed[: part.stop - 1]])
        own = states, numbers[part]
        whole = own if not dropped else (own[0][kept], own[1][kept])
        samples.append(
            Sample(
                vector_field, times, whole[0], scale, resets, whole[1], steps, varied=free, dropped=dropped, stops=stops
            )
        )
    return tuple(samples)


def _simulate(
    vector_field: VectorField,
    starts: Array,
    times: Array,
    resets: tuple[StateReset, ...],
    numbers: Indices,
    budget: Budget | None,
    size: Array,
    steps: int = TRAJECTORIES.ensemble_steps,
    stops: tuple[float, ...] = (),
) -> Runs:
    starts = at_time_zero(starts, vector_field.timed)
    # each state counts by its own size: of 1e7 molecules of one kind nothing follows for the accuracy of another
    absolute = TRAJECTORIES.absolute_tolerance * np.maximum(size, max(TRAJECTORIES.small * float(size.max()), 1e-30))
    if vector_field.timed:
        absolute = np.append(absolute, TRAJECTORIES.absolute_tolerance * times[-1])
    tolerances = StepControl(TRAJECTORIES.relative_tolerance, absolute, steps, stops)
    return integrate(vector_field, starts, times, resets=resets, run=numbers, tolerances=tolerances, budget=budget)


def _check(
    problem: ReductionProblem,
    why: tuple[str | None, ...],
    reached: Array,
    until: float,
    where: str,
    enough: float | None = None,
) -> None:
    for reason, time in zip(why, reached.tolist(), strict=True):
        if reason is not None:
            message = (
                f"model {problem.system.id} does not simulate to {until:g} {where}: at time {time:g}, {reason}; "
                "choose an earlier end time with --until"
            )
            raise NotIntegratedError(
                Reason("not-simulated", message), time if enough is None else enough, nominal=enough is None
            )


def _perturbed_constants(problem: ReductionProblem, ensembles: tuple[Ensemble, ...], seed: int) -> dict[str, Array]:
    """Values of parameters in each run; empty if they are the same in all."""
    if not any(ensemble.parameters for ensemble in ensembles):
        return {}
    system = problem.system
    kinds = {name: quantity.kind for name, quantity in system.quantities.items()}
    mentioned = system.graph.symbols(problem.rhs())
    names = [c.id for c in system.constants if c.id in mentioned]
    names = [name for name in names if kinds.get(name, "parameter") in ("parameter", "local-parameter")]
    nominal = values_of(system.graph, [system.constant_values[name] for name in names])
    columns = [nominal[None, :]]
    for position, ensemble in enumerate(ensembles):
        generator = np.random.default_rng([seed, position, 0xB22])
        factor = 1 + ensemble.parameters * generator.uniform(-1, 1, (ensemble.count, len(names)))
        columns.append(nominal * factor)
    table = np.concatenate(columns)
    return {name: table[:, j] for j, name in enumerate(names)}


def gradients(sample: Sample, pinned: Array, runs: int) -> tuple[Array, Indices]:
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
        In units of the model; NaN for a run whose propagators cannot be computed.
    ends : array of int (E,)
    """
    m, n = len(sample.times), sample.states.shape[2]
    ends = end_times(sample)
    size = sample.vector_field.size
    tips = np.zeros((len(ends), len(pinned), size))
    tips[:, :, :n] = pinned
    out = np.empty((runs, m, len(ends), len(pinned), n))
    for i in range(runs):
        try:
            out[i] = adjoint_of(sample, i, sample.states[i], ends, tips)[..., :n]
        except np.linalg.LinAlgError:
            out[i] = np.nan  # a propagator of this run is singular; the others have theirs
    return out, ends


def end_times(sample: Sample) -> Indices:
    """Indices of the times at which effects are looked at: half of them logarithmic, half uniform."""
    count = TRAJECTORIES.end_times if sample.states.shape[2] <= MAX_DENSE else TRAJECTORIES.end_times_large
    first = min(1e-3, 10 * float(sample.times[1] / sample.times[-1]))  # a grid that begins earlier has its reason
    early, even = np.geomspace(first, 1, count // 2), np.linspace(0, 1, count - count // 2 + 1)[1:]
    wanted = np.unique(np.concatenate([early, even])) * sample.times[-1] * (1 - 1e-12)
    return np.unique(np.searchsorted(sample.times, wanted).clip(1, len(sample.times) - 1))


def adjoint_of(sample: Sample, i: int, states: Array, ends: Indices, tips: Array) -> Array:
    """Adjoint along ``states`` (m, n) of run ``i``; resets become intervals of no length."""
    run = int(sample.numbers[i])
    states = sample.with_time(states)
    if not sample.resets:
        return adjoints(sample.vector_field, run, sample.times, states, None, ends, tips)
    return _with_resets(sample, run, states, ends, tips)


def _with_resets(sample: Sample, run: int, states: Array, ends: Indices, tips: Array) -> Array:
    """The grid with each reset put in twice, before and after."""
    times, rows = sample.times, states
    keep = np.ones(len(times), dtype=np.bool_)
    extra_times: list[float] = []
    extra: list[Array] = []
    for reset in sample.resets:
        at = int(np.searchsorted(times, reset.time))
        start = rows[at - 1]
        before = integrate(
            sample.vector_field, start[None], np.array([times[at - 1], reset.time]), run=np.array([run])
        ).states[0, -1]
        after = reset.new_state.rates(before[None], np.array([run]))[0]
        extra_times += [reset.time, reset.time]
        extra += [before, after]
        if at < len(times) and times[at] == reset.time:
            keep[at] = False
    order_times = np.concatenate([times[keep], extra_times])
    order_rows = np.concatenate([rows[keep], np.array(extra).reshape(-1, rows.shape[1])])
    order = np.argsort(order_times, kind="stable")
    grid, path = order_times[order], order_rows[order]
    back = np.searchsorted(grid, times, side="right") - 1
    whole = adjoints(sample.vector_field, run, grid, path, None, back[ends], tips, sample.resets)
    return whole[back]


# -- errors ----------------------------------------------------------------------------------------


def relative_error(difference: Array, original: Array, zero: Array | float = 0.0) -> Array:
    """The relative error of quantities.

    Parameters
    ----------
    difference : array
        Largest |difference| of each over the grid.
    original : array
        Largest |value| of the original over the grid.
    zero : array or float
        What counts as zero where that is not in ``original`` already: nothing is divided by less.
    """
    return np.asarray(difference / np.maximum(original, zero))


def largest_values(expected: Array, states: Array) -> Array:
    """Largest magnitude of each quantity in each run, at least what counts as zero.

    Parameters
    ----------
    expected : array (r, m, q)
        The quantities along the runs of the original.
    states : array
        Of these runs: a negligible part of the largest counts as zero for a quantity that is always zero.

    Returns
    -------
    ndarray (r, q)
    """
    sizes = np.abs(expected).max(axis=1)
    largest = sizes.max(axis=0, initial=0.0)
    if not (largest > 0).all():  # states of a large system are most of a gigabyte
        largest = np.where(largest > 0, largest, float(np.abs(states).max(initial=0.0)))
    return np.asarray(np.maximum(sizes, np.maximum(TRAJECTORIES.negligible * largest, 1e-300)))


def relative_errors(got: Array, expected: Array, sizes: Array) -> Array:
    """Relative error of each quantity in each run, (r, q), from (r, m, q); infinite where it is not defined."""
    with np.errstate(all="ignore"):
        errors = relative_error(np.abs(got - expected).max(axis=1), sizes)
    return np.where(np.isnan(errors), np.inf, errors)


@dataclass(frozen=True, slots=True)
class EnsembleSettings:
    """How an approximation is measured.

    Attributes
    ----------
    until : float or None
        End time; chosen from the observables if ``None``.
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
"""Six perturbed runs, 20 %, an end time chosen from the observables."""

DRAFT: Final = ErrorEstimate("not yet measured", 0.0, 0, 0.0, float("inf"), float("inf"))
"""Stands in a reduction until its error is measured."""


@dataclass(frozen=True)
class ReferenceEnsemble:
    """Runs of the original, made once and held against any number of reductions.

    Attributes
    ----------
    trial : EnsembleSettings
        With the end time that was used.
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
        """The end time."""
        return float(self.times[-1])


@dataclass(frozen=True, slots=True)
class Measurement:
    """Relative errors of each run (r,) and each observable (r, q): max |difference| / max |original| over time."""

    until: float
    errors: Array
    per_observable: Array
    names: tuple[str, ...]


def not_integrated(system: OdeSystem, until: float) -> LimitError:
    """What is said of a model that does not reach the end time (code ``not-simulated``)."""
    message = f"model {system.id} cannot be integrated to {until:g}; choose an earlier end time with --until"
    return LimitError(Reason("not-simulated", message))


def reference_ensemble(
    system: OdeSystem,
    observables: Sequence[Observable],
    trial: EnsembleSettings = STANDARD,
    budget: Budget | None = None,
) -> ReferenceEnsemble:
    """Simulate the original from its own and from perturbed initial values.

    Raises
    ------
    LimitError
        If it cannot be integrated from its own (code ``not-simulated``); if there is a budget and it is exhausted, or
        asked to stop.
    """
    until = trial.until if trial.until is not None else time_span_of(system, observables, budget).until
    times = time_grid(until)
    ensemble = Ensemble(trial.ensemble, trial.spread)
    starts, full = ensemble_trajectories(system, times, ensemble, trial.seed, budget=budget)
    if not np.isfinite(full[0]).all():
        raise not_integrated(system, until)
    expected = values(system, [one.expression for one in observables], times, full)
    return ReferenceEnsemble(replace(trial, until=until), tuple(observables), times, starts, full, expected)


def measure(
    reduction: ReducedSystem,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    *,
    relative: float = TRAJECTORIES.relative_tolerance,
    steps: int = TRAJECTORIES.reduced_steps,
    budget: Budget | None = None,
) -> Measurement:
    """Simulate the reduced system and compare the observables; what cannot be integrated is an infinite error.

    Parameters
    ----------
    reduction : ReducedSystem
    by : EnsembleSettings or ReferenceEnsemble
    relative, steps
        Tolerance and most steps of a run of the reduced system.
    budget : Budget, optional
        Counts the work.

    Raises
    ------
    LimitError
        If the original itself cannot be integrated (code ``not-simulated``); if there is a budget and it is exhausted
        (``work-limit``).
    """
    original, system = reduction.original, reduction.system
    reference = by if isinstance(by, ReferenceEnsemble) else reference_ensemble(original, reduction.observables, by)
    lumped, constants = reduced_initial_values(reduction, reference.starts)
    largest = np.abs(reduction.project(reference.states.reshape(-1, original.size))).max(axis=0, initial=0.0)
    small = trajectories(
        system,
        lumped,
        reference.times,
        constants=constants,
        scale=largest,
        relative=relative,
        steps=steps,
        budget=budget,
    )
    nodes = [system.definitions[one.id] for one in reference.observables]
    got = values(system, nodes, reference.times, small, constants)
    per = relative_errors(got, reference.expected, largest_values(reference.expected, reference.states))
    return Measurement(
        reference.until, per.max(axis=1, initial=0.0), per, tuple(one.id for one in reference.observables)
    )


def error_estimate(
    reduction: ReducedSystem,
    method: str,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    details: Mapping[str, Any] | None = None,
    *,
    budget: Budget | None = None,
) -> ErrorEstimate:
    """The measured error as a certificate.

    Raises
    ------
    LimitError
        As :func:`measure`.
    """
    trial = by.trial if isinstance(by, ReferenceEnsemble) else by
    return estimate_of(measure(reduction, by, budget=budget), method, trial, details)


def estimate_of(
    found: Measurement, method: str, trial: EnsembleSettings, details: Mapping[str, Any] | None = None
) -> ErrorEstimate:
    """A measurement as a certificate."""
    worst_each = found.per_observable.max(axis=0, initial=0.0)
    per = {name: finite_or_none(error) for name, error in zip(found.names, worst_each.tolist(), strict=True)}
    return ErrorEstimate(
        method,
        found.until,
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
    budget: Budget | None = None,
) -> float:
    """Largest relative difference of the observables of two reductions of one system, from its own initial values.

    Raises
    ------
    LimitError
        As :func:`measure`.
    """
    reference = by if isinstance(by, ReferenceEnsemble) else reference_ensemble(first.original, first.observables, by)
    found: list[Array] = []
    for one in (first, second):
        lumped, constants = reduced_initial_values(one, reference.starts[:1])
        small = trajectories(
            one.system, lumped, reference.times, constants=constants, steps=TRAJECTORIES.reduced_steps, budget=budget
        )
        nodes = [one.system.definitions[o.id] for o in reference.observables]
        found.append(values(one.system, nodes, reference.times, small, constants)[0])
    sizes = largest_values(reference.expected, reference.states)[:1]
    return float(relative_errors(found[0][None], found[1][None], sizes).max(initial=0.0))
