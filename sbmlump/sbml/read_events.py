"""Events, with what follows for concentrations when an event resizes a compartment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbmlump.expr.graph import Graph, Node
from sbmlump.sbml.read_rates import cancelled, is_concentration
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
    written = {rule.target: node for rule, node in zip(rules, resolved, strict=True)}
    ratios = _size_ratios(assembly, raw, written)
    assignments = (
        (name, graph.mul((node, ratios[name])) if name in ratios else node) for name, node in written.items()
    )
    implied = ((name, graph.mul((graph.symbol(name), ratio))) for name, ratio in ratios.items() if name not in written)
    return Event(
        trigger=trigger,
        assignments=tuple(assignments),
        delay=delay,
        priority=priority,
        implied=tuple(implied),
        unscaled=tuple((name, node) for name, node in written.items() if name in ratios),
        **raw.details,
    )


def _size_ratios(assembly: Assembly, raw: RawEvent, values: dict[str, Node]) -> dict[str, Node]:
    """Old size / new size for each state that is a concentration in a compartment that the event resizes.

    All assignments of an event are made together, and the amounts stay: what is not assigned becomes x·old/new, and an
    assigned concentration sets the amount by the size before, so that it becomes value·old/new (SBML Test Suite, cases
    01779 and 01780). The size may be set itself, or be assigned by a rule from something that is set.
    """
    graph, resolver = assembly.graph, assembly.resolver
    if not values:
        return {}
    after = {graph.symbol(name): node for name, node in values.items()}
    sizes: dict[str, Node | None] = {}  # of compartments: the ratio, None where the event does not resize them
    ratios: dict[str, Node] = {}
    for name in assembly.roles.states:
        entry = assembly.raw.entries[name]
        compartment = entry.quantity.compartment
        if not is_concentration(entry) or compartment is None:
            continue
        if compartment not in sizes:
            before = resolver.resolve([graph.symbol(compartment)])[0]
            now = graph.substitute([before], after)[0]
            if now != before and graph.symbols([before]) & _concentrations(assembly):
                text = f"{raw.label} resizes {compartment!r}, whose size depends on a concentration"
                assembly.problems.add("event-resizes", text, raw.details["id"], raw.line)
            sizes[compartment] = None if now == before else _ratio(graph, before, now)
        ratio = sizes[compartment]
        if ratio is not None:
            ratios[name] = ratio
    return ratios


def _ratio(graph: Graph, before: Node, now: Node) -> Node:
    """before / now, cancelled: where a size is doubled the ratio is 1/2 and depends on no state."""
    grown = cancelled(graph, now, before)
    if grown is not None:
        return graph.div(graph.number(1), grown)
    shrunk = cancelled(graph, before, now)
    return shrunk if shrunk is not None else graph.div(before, now)


def _concentrations(assembly: Assembly) -> set[str]:
    return {name for name in assembly.roles.states if is_concentration(assembly.raw.entries[name])}
