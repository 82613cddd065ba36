"""What has to be identical for the events of a reduced system to be those of the original."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sbmlump.errors import Reason
from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.lumping.events import values_are_old
from sbmlump.system import Event, OdeSystem

__all__ = ["Pair", "event_pairs"]

Pair = tuple[str, Node, Node]
"""Label, expression of the original, expression of the reduced system (each in its own graph)."""


def event_pairs(
    original: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> tuple[list[Pair], list[Reason]]:
    """Pairs of expressions that must agree under y = Lx, and what differs already in form."""
    if len(original.events) != len(reduced.events):
        message = f"the original has {len(original.events)} events, the reduced model {len(reduced.events)}"
        return [], [Reason("event-differs", message)]
    pairs: list[Pair] = []
    reasons: list[Reason] = []
    for number, (before, after) in enumerate(zip(original.events, reduced.events, strict=True), 1):
        label = f"event {before.id or number}"
        if _flags(before) != _flags(after):
            reasons.append(Reason("event-differs", f"{label} has other settings than in the original", before.id))
            continue
        triggers = _matched(original.graph, before.trigger, reduced.graph, after.trigger)
        if triggers is None:
            reasons.append(Reason("event-differs", f"{label} has another trigger than in the original", before.id))
            continue
        pairs += [(label, a, b) for a, b in triggers]
        for a, b in ((before.delay, after.delay), (before.priority, after.priority)):
            if a is not None and b is not None:
                pairs.append((label, a, b))
        pairs += _resets(original, before, reduced, after, rows, label, reasons)
    return pairs, reasons


def _flags(event: Event) -> tuple[object, ...]:
    return (
        event.initial_value,
        event.persistent,
        event.use_trigger_values,
        event.delay is None,
        event.priority is None,
    )


def _matched(left: Graph, a: Node, right: Graph, b: Node) -> list[tuple[Node, Node]] | None:
    """Numeric leaves of two conditions of the same shape, pairwise; ``None`` if the shapes differ."""
    pairs: list[tuple[Node, Node]] = []
    stack = [(a, b)]
    while stack:
        a, b = stack.pop()
        kinds = _kind(left, a), _kind(right, b)
        if kinds[0] != kinds[1]:
            return None
        if kinds[0] == "number":
            pairs.append((a, b))
            continue
        if len(left.args(a)) != len(right.args(b)):
            return None
        stack.extend(zip(left.args(a), right.args(b), strict=True))
    return pairs


def _kind(graph: Graph, node: Node) -> str:
    op = graph.op(node)
    if op is Op.CALL and graph.name(node) in LOGIC | RELATIONS:
        return graph.name(node)
    if op is Op.CONSTANT and graph.name(node) in ("true", "false"):
        return graph.name(node)
    return "number"


def _resets(
    original: OdeSystem,
    before: Event,
    reduced: OdeSystem,
    after: Event,
    rows: Mapping[str, Mapping[str, Fraction]],
    label: str,
    reasons: list[Reason],
) -> list[Pair]:
    graph = original.graph
    new = dict((*before.assignments, *before.implied))
    given = dict((*after.assignments, *after.implied))
    stray = [name for name in given if name not in rows]
    if stray:
        reasons.append(Reason("event-differs", f"{label} assigns {stray[0]}, which is no lump", before.id))
    old = values_are_old(original, before)
    pairs: list[Pair] = []
    for name, row in rows.items():
        touched = [member for member in row if member in new]
        if old and touched and len(touched) < len(row):
            reasons.append(Reason("event-differs", f"{label} mixes values of two moments in {name}", before.id))
            continue
        parts = [graph.mul((graph.number(v), new.get(m, graph.symbol(m)))) for m, v in row.items()]
        pairs.append((label, graph.add(parts), given.get(name, reduced.graph.symbol(name))))
    return pairs
