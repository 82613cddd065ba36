"""Events under a lumping: what they ask of the row space, and what becomes of them.

An event fires by its trigger and jumps from x to R(x). A lumping y = Lx carries it over when the trigger, delay and
priority are functions of Lx and rowsp(L) is closed under the Jacobian of R. Where the values assigned belong to an
earlier moment than the rest of the state (a delay, or other events in between), the assigned part and the rest have
to be closed each by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.system import Event, OdeSystem

__all__ = ["event_resets", "event_seeds", "numeric_leaves", "reduced_events", "values_are_old"]


def numeric_leaves(graph: Graph, condition: Node) -> list[Node]:
    """Numeric expressions a condition is made of: both sides of every relation, left to right."""
    leaves: list[Node] = []
    stack = [condition]
    while stack:
        node = stack.pop()
        name = graph.name(node) if graph.op(node) is Op.CALL else None
        if name in LOGIC or name in RELATIONS:
            stack.extend(reversed(graph.args(node)))
        elif graph.op(node) is not Op.CONSTANT:
            leaves.append(node)
    return leaves


def values_are_old(system: OdeSystem, event: Event) -> bool:
    """Whether assigned values may be older than the state they are assigned in."""
    if not event.use_trigger_values:
        return False
    if event.delay is not None:
        return True
    mine = _targets(event)
    return any(not _targets(other) <= mine for other in system.events if other is not event)


def _targets(event: Event) -> set[str]:
    return {name for name, _ in (*event.assignments, *event.implied)}


def event_seeds(system: OdeSystem) -> list[Node]:
    """Expressions whose gradients must lie in the row space.

    Where an event resizes a compartment with values of an earlier moment, these are all states: the concentrations
    that change with it belong to the moment of execution, the new size to an earlier one, and only the original event
    says both.
    """
    seeds: list[Node] = []
    for event in system.events:
        seeds += numeric_leaves(system.graph, event.trigger)
        seeds += [node for node in (event.delay, event.priority) if node is not None]
        if event.implied and values_are_old(system, event):
            seeds += [system.graph.symbol(name) for name in system.states]
    return seeds


def event_resets(system: OdeSystem) -> list[tuple[Node, ...]]:
    """Maps of the state, one component a state, under whose Jacobians the row space must be closed."""
    graph = system.graph
    zero = graph.number(0)
    resets: list[tuple[Node, ...]] = []
    for event in system.events:
        new = dict((*event.assignments, *event.implied))
        if values_are_old(system, event):
            resets.append(tuple(zero if s in new else graph.symbol(s) for s in system.states))
            resets.append(tuple(new.get(s, zero) for s in system.states))
        else:
            resets.append(tuple(new.get(s, graph.symbol(s)) for s in system.states))
    return resets


def reduced_events(
    system: OdeSystem,
    names: Sequence[str],
    rows: Sequence[Mapping[int, Fraction]],
    mapping: Mapping[Node, Node],
) -> tuple[Event, ...]:
    """The events of the reduced system.

    Parameters
    ----------
    names : sequence of str
        Ids of the lumps.
    rows : sequence of mappings column → Fraction
        Rows of L.
    mapping : mapping of Node to Node
        Lift: symbols of original states to expressions of lumps.

    Raises
    ------
    UnsupportedModelError
        If a lump would need values of two moments in one assignment (``event-not-lumpable``).
    """
    return tuple(_reduced_event(system, event, names, rows, mapping) for event in system.events)


def _reduced_event(
    system: OdeSystem,
    event: Event,
    names: Sequence[str],
    rows: Sequence[Mapping[int, Fraction]],
    mapping: Mapping[Node, Node],
) -> Event:
    graph = system.graph
    new = dict((*event.assignments, *event.implied))
    old = values_are_old(system, event)
    assignments: list[tuple[str, Node]] = []
    for name, row in zip(names, rows, strict=True):
        touched = [j for j in row if system.states[j] in new]
        if not touched:
            continue
        if old and len(touched) < len(row):
            message = f"the event {event.id or '(without id)'} would need values of two moments for the pool {name}"
            raise UnsupportedModelError(Reason("event-not-lumpable", message, event.id))
        parts = [
            graph.mul((graph.number(v), new.get(system.states[j], graph.symbol(system.states[j]))))
            for j, v in row.items()
        ]
        value = graph.substitute([graph.add(parts)], mapping)[0]
        value = graph.from_terms(graph.linear_terms(value))
        if value != graph.symbol(name):
            assignments.append((name, value))

    def carried(node: Node | None) -> Node | None:
        return None if node is None else graph.substitute([node], mapping)[0]

    return replace(
        event,
        trigger=graph.substitute([event.trigger], mapping)[0],
        delay=carried(event.delay),
        priority=carried(event.priority),
        assignments=tuple(assignments),
        implied=(),
    )
