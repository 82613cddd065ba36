"""Events, with the resets of concentrations that follow when an event resizes a compartment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbmlump.expr.graph import Node
from sbmlump.sbml.read_rates import is_concentration
from sbmlump.sbml.read_record import RawEvent
from sbmlump.system import Event

if TYPE_CHECKING:
    from sbmlump.sbml.read_assemble import Assembly

__all__ = ["build_events"]


def build_events(assembly: Assembly) -> tuple[Event, ...]:
    """All events over states, constants and time."""
    return tuple(_event(assembly, raw) for raw in assembly.raw.events)


def _event(assembly: Assembly, raw: RawEvent) -> Event:
    """One event; without a trigger (Level 3 Version 2 allows it) it never fires."""
    graph, label = assembly.graph, raw.label
    name = raw.details["id"]
    if raw.trigger is not None:
        trigger = assembly.truth(raw.trigger, f"the trigger of {label}", name, raw.line)
    else:
        trigger = graph.truth(False)
    roots = [trigger]
    optional = [(raw.delay, "delay"), (raw.priority, "priority")]
    for program, what in optional:
        if program is not None:
            roots.append(assembly.number(program, f"the {what} of {label}", name, raw.line))
    rules = [rule for rule in raw.assignments if rule.target in assembly.roles.states]
    roots += [assembly.number(r.program, f"the assignment of {label} to {r.target!r}", r.target, r.line) for r in rules]
    resolved = iter(assembly.resolver.resolve(roots))
    trigger = next(resolved)
    delay, priority = (next(resolved) if program is not None else None for program, _ in optional)
    assignments = tuple((rule.target, node) for rule, node in zip(rules, resolved, strict=True))
    return Event(
        trigger=trigger,
        assignments=assignments,
        delay=delay,
        priority=priority,
        implied=_implied(assembly, raw, dict(assignments)),
        **raw.details,
    )


def _implied(assembly: Assembly, raw: RawEvent, values: dict[str, Node]) -> tuple[tuple[str, Node], ...]:
    """New concentrations of species whose compartment the event resizes: the amount stays, so x·old/new.

    The size may be set itself, or be assigned by a rule from something that is set.
    """
    graph, resolver = assembly.graph, assembly.resolver
    if not values:
        return ()
    after = {graph.symbol(name): node for name, node in values.items()}
    resets: list[tuple[str, Node]] = []
    for name in assembly.roles.states:
        entry = assembly.raw.entries[name]
        if not is_concentration(entry) or name in values or entry.quantity.compartment is None:
            continue
        before = resolver.resolve([graph.symbol(entry.quantity.compartment)])[0]
        now = graph.substitute([before], after)[0]
        if now == before:
            continue
        if any(other in graph.symbols([before]) for other in _concentrations(assembly)):
            text = f"{raw.label} resizes {entry.quantity.compartment!r}, whose size depends on a concentration"
            assembly.problems.add("event-resizes", text, raw.details["id"], raw.line)
        resets.append((name, graph.mul((graph.symbol(name), graph.div(before, now)))))
    return tuple(resets)


def _concentrations(assembly: Assembly) -> set[str]:
    return {name for name in assembly.roles.states if is_concentration(assembly.raw.entries[name])}
