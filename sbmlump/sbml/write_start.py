"""How values at time 0 are written: as an attribute where a double says exactly the same, else by an assignment.

Beside an assignment (or a rule that gives a stoichiometry) stands the attribute with the nearest double: it means
nothing to readers that know SBML, and others, which pass over the formula, take it instead of 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.sbml.write_numbers import attribute_text
from sbmlump.sbml.write_roles import Role
from sbmlump.system import OdeSystem

__all__ = ["WrittenInitialValue", "doubles_at_start", "starts"]

_Id = TypeVar("_Id")


@dataclass(frozen=True, slots=True)
class WrittenInitialValue:
    """The value of one id at time 0: ``text`` for the attribute named ``attribute``, and an initial assignment where
    that is not all (the attribute is then the nearest double).
    """

    attribute: str
    text: str | None = None
    assignment: Node | None = None


def starts(system: OdeSystem, roles: Mapping[str, Role]) -> dict[str, WrittenInitialValue]:
    """Values at time 0 by id; ids without one (missing, or given by a rule) are absent.

    Raises
    ------
    UnsupportedModelError
        As :func:`doubles_at_start`.
    """
    graph = system.graph
    table: dict[str, WrittenInitialValue] = {}
    wanted: dict[str, Node] = {}
    for name, role in roles.items():
        if role.value is None:
            if role.what == "assigned" and role.quantity.kind == "species-reference":
                table[name] = WrittenInitialValue("stoichiometry")
                wanted[name] = graph.symbol(name)
            continue
        start = _start(graph, role, role.value)
        if start is not None:
            table[name] = start
            if start.assignment is not None:
                wanted[name] = start.assignment
    for name, text in doubles_at_start(system, wanted).items():
        table[name] = replace(table[name], text=text)
    return table


def doubles_at_start(system: OdeSystem, nodes: Mapping[_Id, Node]) -> dict[_Id, str]:
    """Attribute text of the double that each of ``nodes`` is at time 0; what has no finite one is absent.

    Parameters
    ----------
    system : OdeSystem
    nodes : mapping of key to Node
        Over any ids of the system, and time.

    Raises
    ------
    UnsupportedModelError
        With code ``circular-initial-value`` if initial values depend on each other in a circle.
    """
    if not nodes:
        return {}
    graph = system.graph
    try:
        known = system.at_start()
    except ValueError as error:
        raise UnsupportedModelError(Reason("circular-initial-value", f"{error}; break the circle")) from error
    mapping = {graph.symbol(name): value for name, value in known.items()} | {graph.time(): graph.number(0)}
    resolved = dict(zip(nodes, graph.substitute(list(nodes.values()), mapping), strict=True))
    closed = {key: node for key, node in resolved.items() if not graph.symbols([node])}
    numbers = values_of(graph, list(closed.values())).tolist()
    known_values = zip(closed, numbers, strict=True)
    return {key: repr(value).removesuffix(".0") for key, value in known_values if math.isfinite(value)}


def _start(graph: Graph, role: Role, value: Node) -> WrittenInitialValue | None:
    quantity = role.quantity
    if quantity.kind == "species":
        return _species(graph, role, value)
    if quantity.kind == "compartment" and quantity.spatial_dimensions == 0 and graph.number_of(value) == 1:
        return None  # a point has no size; readers take 1
    attribute = {"compartment": "size", "species-reference": "stoichiometry"}.get(quantity.kind, "value")
    return _plain(graph, attribute, value, role.computed)


def _plain(graph: Graph, attribute: str, value: Node, computed: bool) -> WrittenInitialValue:
    text = None if computed else _text(graph, value)
    return WrittenInitialValue(attribute, assignment=value) if text is None else WrittenInitialValue(attribute, text)


def _species(graph: Graph, role: Role, value: Node) -> WrittenInitialValue:
    """An amount or a concentration, as the original gave it if that can be seen."""
    quantity = role.quantity
    own = "initialAmount" if quantity.amount else "initialConcentration"
    if role.computed:
        return WrittenInitialValue(own, assignment=value)
    if quantity.amount != quantity.given_as_amount and quantity.compartment is not None:
        other = "initialConcentration" if quantity.amount else "initialAmount"
        text = _scaled(graph, value, quantity.compartment, by_size=not quantity.amount)
        if text is not None:
            return WrittenInitialValue(other, text)
    return _plain(graph, own, value, computed=False)


def _scaled(graph: Graph, value: Node, compartment: str, *, by_size: bool) -> str | None:
    """Text of value · size (``by_size``) or value / size, where that is a number whatever the size is."""
    size = graph.symbol(compartment)
    if by_size and graph.op(value) is Op.DIV and graph.args(value)[1] == size:
        return _text(graph, graph.args(value)[0])
    if not by_size and graph.op(value) is Op.MUL and size in graph.args(value):
        return _text(graph, graph.mul(arg for arg in graph.args(value) if arg != size))
    return "0" if graph.number_of(value) == 0 else None


def _text(graph: Graph, node: Node) -> str | None:
    """Attribute text of a number, an infinity or NaN."""
    number = graph.number_of(node)
    if number is not None:
        return attribute_text(number)
    sign, name = 1, node
    args = graph.args(node)
    if graph.op(node) is Op.MUL and len(args) == 2 and graph.number_of(args[0]) is not None:
        factor = graph.number_of(args[0])
        assert isinstance(factor, Fraction)
        sign, name = (1 if factor > 0 else -1), args[1]
    if graph.op(name) is not Op.CONSTANT:
        return None
    special = {"infinity": "INF" if sign > 0 else "-INF", "notanumber": "NaN"}
    return special.get(graph.name(name))
