"""What an approximate reduction works on: the states that influence the observables, pinned rows, resets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.solve import StateReset
from sbmlump.dynamics.vector_field import VectorField, field_of
from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.linalg.rational import Span
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Node
from sbmlump.model.program import Program
from sbmlump.model.reduced import Observable
from sbmlump.model.system import Event, OdeSystem, new_values, targets, time_bounds, values_are_old

__all__ = ["ReductionProblem", "TimedEvent", "pose"]


_TOGETHER: Final = 1e-9  # of a time: events closer than that may be one moment for an integrator

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event that fires at times known in advance."""

    event: Event
    times: tuple[float, ...]


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
    """

    system: OdeSystem
    observables: tuple[Observable, ...]
    kept: tuple[int, ...]
    pinned: tuple[Mapping[int, Fraction], ...]
    start: Array
    events: tuple[TimedEvent, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number n of states that matter."""
        return len(self.kept)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Ids of these states."""
        return tuple(self.system.states[j] for j in self.kept)

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
        roots = [system.rhs[j] for j in self.kept]
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
        rates = [self.system.rhs[j] for j in self.kept]
        return self.system.graph.substitute(rates, self.system.specialised())

    @cached_property
    def _plain(self) -> VectorField:
        return field_of(self.system.graph, self.bound, self.names, {})

    def vector_field(self, free: Mapping[str, Array] | None = None) -> VectorField:
        """The right-hand side as a field; ``free`` holds values of constants that differ between runs."""
        if not free:
            return self._plain
        return field_of(self.system.graph, self.rhs(), self.names, self.system.constant_values, free)

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
    missing = sorted(graph.symbols(bound) - set(system.states))
    if missing:
        raise UnsupportedModelError(
            [Reason("missing-value", f"the constant {name} has no value", name) for name in missing]
        )
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
    pattern = program.dependencies()[:, :n].tocsr()
    count = len(bound) - n
    reached = np.zeros(n, dtype=np.bool_)
    frontier = np.unique(pattern[n : n + count].indices)
    while len(frontier):
        reached[frontier] = True
        found = [pattern[frontier].indices]
        found += [pattern[n + count + k * n + frontier].indices for k in range(len(resets))]
        new = np.unique(np.concatenate(found))
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
