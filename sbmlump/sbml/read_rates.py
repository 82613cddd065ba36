"""Right-hand sides: reactions, rate rules, dilution in compartments that change size."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from fractions import Fraction

from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.sbml.mathml import rate_of
from sbmlump.sbml.read_record import RawModel, RawParticipant, RawQuantity
from sbmlump.sbml.read_roles import VariableRoles

__all__ = ["Sides", "cancelled", "is_concentration", "right_hand_sides"]

Sides = Callable[[RawParticipant], Node]
"""Stoichiometry of a participant as a node."""


def right_hand_sides(
    graph: Graph,
    raw: RawModel,
    roles: VariableRoles,
    fluxes: Mapping[str, Node],
    rate_rules: Mapping[str, Node],
    stoichiometry: Sides,
    varying: Container[str],
) -> dict[str, Node]:
    """dx/dt of every state, in terms of any ids of the model (nothing is inlined yet).

    A species that is a concentration gets Σ stoichiometry·conversion·flux / size, and -x·(d size/dt)/size where the
    size changes (``varying`` holds the compartments that may); a species that is an amount gets the sum alone.
    """
    terms = _reaction_terms(graph, raw, roles, fluxes, stoichiometry)
    sides: dict[str, Node] = {}
    for name in roles.states:
        if name in rate_rules:
            sides[name] = rate_rules[name]
            continue
        side = graph.from_terms(terms.get(name, {}))
        entry = raw.entries[name]
        if is_concentration(entry) and entry.quantity.compartment in varying:
            assert entry.quantity.compartment is not None
            size = graph.symbol(entry.quantity.compartment)
            growth = graph.div(graph.symbol(rate_of(entry.quantity.compartment)), size)
            side = graph.sub(side, graph.mul((graph.symbol(name), growth)))
        sides[name] = side
    return sides


def is_concentration(entry: RawQuantity) -> bool:
    """Whether the id of a species means a concentration."""
    return entry.quantity.kind == "species" and not entry.quantity.amount


def _reaction_terms(
    graph: Graph, raw: RawModel, roles: VariableRoles, fluxes: Mapping[str, Node], stoichiometry: Sides
) -> dict[str, dict[Node, Fraction]]:
    """For each changed species the coefficients of the distinct flux terms of its right-hand side."""
    terms: dict[str, dict[Node, Fraction]] = {name: {} for name in roles.changed}
    one = Fraction(1)
    signed_values: dict[Node, tuple[Fraction, Fraction]] = {}  # of a stoichiometry, for reactants and products
    scaled: dict[tuple[Node, str], Node] = {}  # flux and compartment -> flux / size
    for reaction in raw.reactions:
        flux = fluxes[reaction.id]
        for side, parts in enumerate((reaction.reactants, reaction.products)):
            for part in parts:
                mine = terms.get(part.species)
                if mine is None:
                    continue
                entry = raw.entries[part.species]
                term = flux
                if is_concentration(entry) and entry.quantity.compartment is not None:
                    key = (flux, entry.quantity.compartment)
                    if key not in scaled:
                        scaled[key] = _over(graph, flux, graph.symbol(entry.quantity.compartment))
                    term = scaled[key]
                factor = stoichiometry(part)
                conversion = entry.quantity.conversion_factor or raw.conversion_factor
                if conversion is not None:
                    term = graph.mul((term, graph.symbol(conversion)))
                values = signed_values.get(factor)
                if values is None:
                    coefficient = graph.number_of(factor)
                    if coefficient is None:
                        term, values = graph.mul((factor, term)), (-one, one)
                    else:
                        values = signed_values[factor] = (-coefficient, coefficient)
                signed = values[side]
                before = mine.get(term)  # most terms come once, and sums of Fractions are slow
                mine[term] = signed if before is None else before + signed
    return terms


def _over(graph: Graph, flux: Node, size: Node) -> Node:
    quotient = cancelled(graph, flux, size)
    return quotient if quotient is not None else graph.div(flux, size)


def cancelled(graph: Graph, node: Node, factor: Node) -> Node | None:
    """``node / factor`` where the factor cancels, else ``None``.

    Looks through sums, products, numerators and powers; sizes of compartments are not 0, so the result is equal.
    """
    done: dict[Node, Node | None] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        if current in done:
            stack.pop()
            continue
        wanted = _looked_at(graph, current, factor)
        missing = [arg for arg in wanted if arg not in done]
        if missing:
            stack.extend(missing)
            continue
        done[current] = _divided(graph, current, factor, done)
    return done[node]


def _looked_at(graph: Graph, node: Node, factor: Node) -> tuple[Node, ...]:
    op, args = graph.op(node), graph.args(node)
    if op is Op.ADD or (op is Op.MUL and factor not in args):
        return args
    return args[:1] if op is Op.DIV else ()


def _divided(graph: Graph, node: Node, factor: Node, done: Mapping[Node, Node | None]) -> Node | None:
    op, args = graph.op(node), graph.args(node)
    if node == factor:
        return graph.number(1)
    if op is Op.NUMBER:
        return node if graph.number_of(node) == 0 else None
    if op is Op.ADD:
        parts = [part for part in (done[arg] for arg in args) if part is not None]
        return graph.add(parts) if len(parts) == len(args) else None
    if op is Op.MUL:
        for i, arg in enumerate(args):
            part = graph.number(1) if arg == factor else done.get(arg)
            if part is not None:
                return graph.mul((*args[:i], part, *args[i + 1 :]))
        return None
    if op is Op.DIV:
        top = done[args[0]]
        return None if top is None else graph.div(top, args[1])
    if op is Op.POW and args[0] == factor and graph.number_of(args[1]) is not None:
        return graph.pow(factor, graph.sub(args[1], graph.number(1)))
    return None
