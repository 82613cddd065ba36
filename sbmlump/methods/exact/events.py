"""Events under a lumping: what they ask of the row space, and what becomes of them.

An event fires by its trigger and resets the state from x to R(x). A lumping y = Lx carries it over when the trigger,
delay and priority are functions of Lx and rowsp(L) is closed under the Jacobian of R. Where the values assigned belong
to an earlier moment than the rest of the state (a delay, or other events in between), the assigned part and the rest
have to be closed each by itself. The proof (:mod:`sbmlump.proof.events`) knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import (
    Event,
    OdeSystem,
    event_label,
    new_values,
    overwrites_others,
    refuse_two_moments,
    two_moments,
    values_are_old,
    with_trigger_values,
)

__all__ = ["event_resets", "event_seeds", "reduced_events"]


def _numeric_leaves(graph: Graph, condition: Node) -> list[Node]:
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


def event_seeds(system: OdeSystem) -> list[Node]:
    """Expressions whose gradients must lie in the row space.

    Where single values that an event leads to are made of two moments, these are all states: only the original event
    says both.
    """
    seeds: list[Node] = []
    for event in system.events:
        seeds += _numeric_leaves(system.graph, event.trigger)
        seeds += [node for node in (event.delay, event.priority) if node is not None]
        if two_moments(system, event):
            seeds += [system.graph.symbol(name) for name in system.states]
    return seeds


def event_resets(system: OdeSystem) -> list[tuple[Node, ...]]:
    """Maps of the state, one component a state, under whose Jacobians the row space must be closed."""
    graph = system.graph
    zero = graph.number(0)
    resets: list[tuple[Node, ...]] = []
    for event in system.events:
        new = new_values(event)
        if values_are_old(system, event) and not overwrites_others(system, event):
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
        If a lump would need values of two moments in one assignment (``event-not-lumpable``, ``event-resizes``).
    """
    refuse_two_moments(system)
    return tuple(_reduced_event(system, event, names, rows, mapping) for event in system.events)


def _reduced_event(
    system: OdeSystem,
    event: Event,
    names: Sequence[str],
    rows: Sequence[Mapping[int, Fraction]],
    mapping: Mapping[Node, Node],
) -> Event:
    graph = system.graph
    new = new_values(event)
    old = values_are_old(system, event)
    overwrites = overwrites_others(system, event)
    assignments: list[tuple[str, Node]] = []
    for name, row in zip(names, rows, strict=True):
        touched = [j for j in row if system.states[j] in new]
        if not touched:
            continue
        if old and not overwrites and len(touched) < len(row):
            message = f"{event_label(event)} would need values of two moments for the pool {name}"
            raise UnsupportedModelError(Reason("event-not-lumpable", message, event.id))
        parts = [
            graph.mul((graph.number(v), new.get(system.states[j], graph.symbol(system.states[j]))))
            for j, v in row.items()
        ]
        value = graph.substitute([graph.add(parts)], mapping)[0]
        value = graph.from_terms(graph.linear_terms(value))
        # a pool set to what it was at the trigger is not left alone: it may have changed since
        if old or value != graph.symbol(name):
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
        unscaled=(),
        use_trigger_values=with_trigger_values(system, event, [value for _, value in assignments]),
    )
