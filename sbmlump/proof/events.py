"""What has to be identical for the events of a reduced system to be those of the original."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sbmlump.errors import Reason
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import (
    Event,
    OdeSystem,
    may_be_interrupted,
    new_values,
    overwrites_others,
    targets,
    two_moments,
    values_are_old,
    values_may_change,
)
from sbmlump.proof.identity import Pair

__all__ = ["event_pairs"]


def _pair(label: str, left: Node, right: Node) -> Pair:
    return Pair(f"the {label}", {left: Fraction(1)}, right, "event-differs")


def event_pairs(
    original: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> tuple[list[Pair], list[Reason]]:
    """Pairs of expressions that must agree under y = Lx, and what differs already in form."""
    matched = _matched_events(original, reduced, rows)
    if isinstance(matched, Reason):
        return [], [matched]
    pairs: list[Pair] = []
    reasons: list[Reason] = []
    for number, (before, after) in enumerate(matched, 1):
        label = f"event {before.id or number}"
        if _flags(before) != _flags(after):
            reasons.append(Reason("event-differs", f"{label} has other settings than in the original", before.id))
            continue
        triggers = _matched(original.graph, before.trigger, reduced.graph, after.trigger)
        if triggers is None:
            reasons.append(Reason("event-differs", f"{label} has another trigger than in the original", before.id))
            continue
        pairs += [_pair(label, a, b) for a, b in triggers]
        for a, b in ((before.delay, after.delay), (before.priority, after.priority)):
            if a is not None and b is not None:
                pairs.append(_pair(label, a, b))
        resets = _Resets(original, before, reduced, after, rows, label).pairs()
        if isinstance(resets, Reason):
            reasons.append(resets)
        else:
            pairs += resets
    return pairs, reasons


def _matched_events(
    original: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> list[tuple[Event, Event]] | Reason:
    """Events of both systems, in order; what sets nothing that is in a lump may be missing in the reduced one.

    Events without a priority that happen together have no order by the specification, but tools take that of the file.
    """
    before, after = list(original.events), list(reduced.events)
    if len(before) > len(after):
        members = {member for row in rows.values() for member in row}
        ids = {event.id for event in after}
        before = [event for event in before if event.id in ids or targets(event) & members]
    if len(before) != len(after):
        message = f"the original has {len(original.events)} events, the reduced model {len(reduced.events)}"
        return Reason("event-differs", message)
    named = [event.id for event in before], [event.id for event in after]
    if None not in named[0] and named[0] != named[1] and sorted(map(str, named[0])) == sorted(map(str, named[1])):
        return Reason("event-differs", "the events stand in another order than in the original")
    return list(zip(before, after, strict=True))


def _flags(event: Event) -> tuple[object, ...]:
    """What has to be the same; when values are taken is compared by what it means, see :class:`_Resets`."""
    return (
        event.initial_value,
        event.persistent,
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


class _Resets:
    """What one event does, in the original and in the reduced system, for values of two moments.

    With x at execution and x′ at the trigger the original sets its states to R(x, x′). Both are arbitrary states,
    independent of each other, wherever something may happen in between. A pair of expressions of one state stands for
    either moment, but for all of it to belong to one moment each lump has to be set as a whole, or not at all; what is
    not so is refused.
    """

    def __init__(
        self,
        original: OdeSystem,
        before: Event,
        reduced: OdeSystem,
        after: Event,
        rows: Mapping[str, Mapping[str, Fraction]],
        label: str,
    ) -> None:
        self._original, self._before = original, before
        self._reduced, self._after = reduced, after
        self._rows = rows
        self._label = label
        self._new = new_values(before)
        self._given = new_values(after)

    def pairs(self) -> list[Pair] | Reason:
        """Pairs that must agree, or why the events differ whatever the expressions are."""
        stray = [name for name in self._given if name not in self._rows]
        if stray:
            return self._differs(f"assigns {stray[0]}, which is no lump")
        before, after = self._before, self._after
        if two_moments(self._original, before):
            return self._of_two_moments()
        old = values_are_old(self._original, before)
        if not old and not values_are_old(self._reduced, after):
            return [self._pair(name, self._value(name)) for name in self._rows]
        if not old:
            return self._differs("takes values of the moment of its trigger that are others in the original")
        if two_moments(self._reduced, after):
            return self._differs("mixes values of two moments, unlike in the original")
        if not after.use_trigger_values and values_may_change(self._reduced, after):
            return self._differs("takes values of the moment of its execution, the original those of its trigger")
        return self._of_the_trigger()

    def _of_the_trigger(self) -> list[Pair] | Reason:
        """The original sets its states to values of the trigger, all others are as they are at the execution."""
        interrupted = may_be_interrupted(self._reduced, self._after)
        overwrites = overwrites_others(self._original, self._before)
        pairs: list[Pair] = []
        for name, row in self._rows.items():
            touched = [member for member in row if member in self._new]
            same = not interrupted or self._is_constant(name)  # the lump has one value at both moments
            if not touched:
                if name in self._given and not same:
                    return self._differs(f"sets {name} to a value of the moment of its trigger; the original leaves it")
                if name in self._given:
                    pairs.append(self._pair(name, self._value(name)))
                continue
            if len(touched) < len(row) and not overwrites:
                return self._differs(f"mixes values of two moments in {name}")
            if name not in self._given and not same:
                return self._differs(f"leaves {name}; the original sets it to a value of the moment of its trigger")
            pairs.append(self._pair(name, self._value(name)))
        return pairs

    def _of_two_moments(self) -> list[Pair] | Reason:
        """Amounts of one moment over sizes of another: all that takes part must be there in the reduced system, too."""
        singles = {next(iter(row)): name for name, row in self._rows.items() if list(row.values()) == [1]}
        names: dict[str, str] = {}
        for member in self._new:
            users = [name for name, row in self._rows.items() if member in row]
            if users != [singles.get(member)]:
                return self._differs(f"resizes the compartment of {member} with values of an earlier moment")
            names[member] = users[0]
        before, after = self._before, self._after
        for changes, counterparts in ((before.implied, after.implied), (before.unscaled, after.unscaled)):
            if {names[member] for member, _ in changes} != {name for name, _ in counterparts}:
                return self._differs("resizes compartments unlike in the original")
        if self._given.keys() != set(names.values()) or not after.use_trigger_values:
            return self._differs("sets other states, or takes its values at another moment, than in the original")
        new, given = dict(before.assignments) | dict(before.unscaled), dict(after.assignments) | dict(after.unscaled)
        pairs = [_pair(self._label, node, given[names[member]]) for member, node in new.items()]
        for member, _ in (*before.implied, *before.unscaled):
            sizes = _size(self._original, member), _size(self._reduced, names[member])
            if sizes[0] is None or sizes[1] is None:
                return self._differs(f"resizes the compartment of {member}, which the reduced model does not have")
            pairs.append(_pair(self._label, sizes[0], sizes[1]))
        return pairs

    def _value(self, name: str) -> Node:
        """What the original sets a lump to."""
        graph = self._original.graph
        row = self._rows[name].items()
        return graph.add(graph.mul((graph.number(v), self._new.get(m, graph.symbol(m)))) for m, v in row)

    def _pair(self, name: str, value: Node) -> Pair:
        return _pair(self._label, value, self._given.get(name, self._reduced.graph.symbol(name)))

    def _is_constant(self, name: str) -> bool:
        """Whether nothing changes a lump, neither its rate nor an event."""
        reduced = self._reduced
        moved = any(name in targets(event) for event in reduced.events)
        return not moved and reduced.rhs[reduced.state_index[name]] == reduced.graph.number(0)

    def _differs(self, what: str) -> Reason:
        return Reason("event-differs", f"{self._label} of the reduced model {what}", self._before.id)


def _size(system: OdeSystem, name: str) -> Node | None:
    quantity = system.quantities.get(name)
    return None if quantity is None or quantity.compartment is None else system.definitions.get(quantity.compartment)
