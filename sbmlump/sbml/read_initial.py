"""Values at time 0, and what is missing for them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from sbmlump.events import event_expressions
from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node
from sbmlump.sbml.read_rates import is_concentration
from sbmlump.sbml.read_record import Problems, RawModel, RawQuantity
from sbmlump.system import Constant, OdeSystem

if TYPE_CHECKING:
    from sbmlump.sbml.read_assemble import Assembly

__all__ = ["InitialValues", "initial_values", "missing_values", "unusable_values"]


@dataclass(frozen=True, slots=True)
class InitialValues:
    """Initial value of each state, and the constants with their values."""

    initial: Mapping[str, Node]
    constants: tuple[Constant, ...]


def initial_values(assembly: Assembly) -> InitialValues:
    """Values at time 0 over any ids, an initial assignment before an attribute.

    A state without a value gets ``notanumber``; :func:`missing_values` finds it.
    """
    raw, graph = assembly.raw, assembly.graph
    given = {name: assembly.number_of(rule, "the initial assignment") for name, rule in raw.initial.items()}
    resolved = assembly.resolver.resolve(list(given.values()), only_rates=True)
    given = dict(zip(given, resolved, strict=True))
    states = set(assembly.roles.states)
    initial: dict[str, Node] = {}
    constants: list[Constant] = []
    for name, entry in raw.entries.items():
        kind = entry.quantity.kind
        if kind == "species-reference" and name not in assembly.roles.used_references:
            continue
        value = given.get(name)
        if value is None:
            value = _from_attributes(graph, entry)
        if name in states:
            initial[name] = value if value is not None else graph.constant("notanumber")
        elif name in assembly.implicit:
            size = graph.symbol(entry.quantity.compartment or "")
            amount = None if value is None else _times_size(graph, value, size, entry, name in given)
            constants.append(Constant(assembly.implicit[name], amount, computed=name in given))
        elif name not in assembly.definitions:
            constants.append(Constant(name, value, computed=name in given))
    return InitialValues(initial, tuple(constants))


def _from_attributes(graph: Graph, entry: RawQuantity) -> Node | None:
    """What the attributes say of the value at time 0, as the id means it."""
    if entry.quantity.kind != "species":
        return None if entry.value is None else _number(graph, entry.value)
    compartment = entry.quantity.compartment
    if is_concentration(entry):
        if entry.concentration is not None:
            return graph.decimal(entry.concentration)
        if entry.amount is not None and compartment is not None:
            return graph.div(graph.decimal(entry.amount), graph.symbol(compartment))
        return None
    if entry.amount is not None:
        return graph.decimal(entry.amount)
    if entry.concentration is not None and compartment is not None:
        return graph.mul((graph.decimal(entry.concentration), graph.symbol(compartment)))
    return None


def _times_size(graph: Graph, value: Node, size: Node, entry: RawQuantity, computed: bool) -> Node:
    if not computed and entry.amount is not None:
        return graph.decimal(entry.amount)
    return graph.mul((value, size))


def _number(graph: Graph, value: float | Fraction) -> Node:
    return graph.number(value) if isinstance(value, Fraction) else graph.decimal(value)


def missing_values(system: OdeSystem, raw: RawModel, problems: Problems, unvalued: AbstractSet[str]) -> None:
    """Note every value that the dynamics need and the file does not give, but for the ids of ``unvalued``."""
    graph = system.graph
    nodes = [*system.rhs, *system.initial, *event_expressions(system.events)]
    given: dict[str, Node | None] = {constant.id: constant.value for constant in system.constants}
    given.update((a.id, a.value) for a in system.assigned)
    given.update((r.id, r.flux) for r in system.reactions)
    needed: set[str] = set()
    waiting = graph.symbols(nodes)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        node = given.get(name)
        if node is not None:
            waiting |= graph.symbols([node]) - needed
    nan = graph.constant("notanumber")
    without = [name for name in needed if name in given and given[name] is None]
    without += [name for name, node in zip(system.states, system.initial, strict=True) if node == nan]
    for name in sorted(set(without) - unvalued):
        entry = raw.entries.get(name)
        what = entry.quantity.kind.replace("-", " ") if entry else "quantity"
        text = f"{what} {name!r} has no value, and the dynamics need it; give it one"
        problems.add("missing-value", text, name, entry.line if entry else None)


def unusable_values(system: OdeSystem, raw: RawModel, problems: Problems) -> None:
    """Note circles among initial values, and compartments of size 0 that hold a concentration.

    The value or the rate of such a concentration would be divided by 0. What counts is the size at time 0, whether an
    attribute, an initial assignment or a rule gives it, and any size 0 that an event sets.
    """
    try:
        values = system.at_start()
    except ValueError as error:
        problems.add("circular-initial-value", f"{error}; break the circle")
        return
    emptied = {
        target: event.id or "an event"
        for event in system.events
        for target, node in event.assignments
        if system.graph.number_of(node) == 0
    }
    implicit = {one.id for one in system.assigned if one.implicit}
    sizes: dict[str, float] = {}
    for name, entry in raw.entries.items():
        compartment = entry.quantity.compartment
        if not is_concentration(entry) or compartment is None or compartment not in values:
            continue
        if name in system.state_index or name in implicit or _divides_at_start(raw, entry):
            if compartment not in sizes:
                sizes[compartment] = float(values_of(system.graph, [values[compartment]])[0])
            line = raw.entries[compartment].line
            if sizes[compartment] == 0:
                text = f"compartment {compartment!r} has size 0 at time 0 and holds the concentration {name!r}"
                problems.add("zero-size", f"{text}; give it another size", compartment, line)
            elif compartment in emptied:
                text = f"{emptied[compartment]} sets the size of {compartment!r} to 0, which holds the concentration"
                problems.add("zero-size", f"{text} {name!r}; give it another size", compartment, line)


def _divides_at_start(raw: RawModel, entry: RawQuantity) -> bool:
    """Whether the value of a concentration at time 0 is its amount by the size of its compartment."""
    given = entry.id in raw.initial or entry.id in raw.assignments
    return not given and entry.concentration is None and entry.amount is not None
