"""How values at time 0 are written: as an attribute where a double says exactly the same, else by an assignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.sbml.write_numbers import attribute_text
from sbmlump.sbml.write_roles import Role

__all__ = ["Start", "starts"]


@dataclass(frozen=True, slots=True)
class Start:
    """The value of one id at time 0: ``text`` for the attribute named ``attribute``, or an initial assignment."""

    attribute: str
    text: str | None = None
    assignment: Node | None = None


def starts(graph: Graph, roles: Mapping[str, Role]) -> dict[str, Start]:
    """Values at time 0 by id; ids without one (missing, or given by a rule) are absent."""
    table: dict[str, Start] = {}
    for name, role in roles.items():
        if role.value is None:
            continue
        start = _start(graph, role, role.value, roles)
        if start is not None:
            table[name] = start
    return table


def _start(graph: Graph, role: Role, value: Node, roles: Mapping[str, Role]) -> Start | None:
    quantity = role.quantity
    if quantity.kind == "species":
        return _species(graph, role, value, roles)
    if quantity.kind == "compartment" and quantity.spatial_dimensions == 0 and graph.number_of(value) == 1:
        return None  # a point has no size; readers take 1
    attribute = {"compartment": "size", "species-reference": "stoichiometry"}.get(quantity.kind, "value")
    return _plain(graph, attribute, value, role.computed)


def _plain(graph: Graph, attribute: str, value: Node, computed: bool) -> Start:
    text = None if computed else _text(graph, value)
    return Start(attribute, assignment=value) if text is None else Start(attribute, text)


def _species(graph: Graph, role: Role, value: Node, roles: Mapping[str, Role]) -> Start:
    """An amount or a concentration, as the original gave it if that can be seen."""
    quantity = role.quantity
    own = "initialAmount" if quantity.amount else "initialConcentration"
    if role.computed:
        return Start(own, assignment=value)
    if quantity.amount != quantity.given_as_amount and quantity.compartment is not None:
        other = "initialConcentration" if quantity.amount else "initialAmount"
        text = _scaled(graph, value, quantity.compartment, roles, by_size=not quantity.amount)
        if text is not None:
            return Start(other, text)
    return _plain(graph, own, value, computed=False)


def _scaled(graph: Graph, value: Node, compartment: str, roles: Mapping[str, Role], *, by_size: bool) -> str | None:
    """Text of value · size (``by_size``) or value / size, where that is a number; only sizes that stay so count."""
    size = graph.symbol(compartment)
    if by_size and graph.op(value) is Op.DIV and graph.args(value)[1] == size:
        return _text(graph, graph.args(value)[0])
    if not by_size and graph.op(value) is Op.MUL and size in graph.args(value):
        return _text(graph, graph.mul(arg for arg in graph.args(value) if arg != size))
    number = graph.number_of(value)
    if number == 0:
        return "0"
    role = roles.get(compartment)
    known = graph.number_of(role.value) if role is not None and role.value is not None else None
    if number is None or not known:
        return None
    return attribute_text(number * known if by_size else number / known)


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
