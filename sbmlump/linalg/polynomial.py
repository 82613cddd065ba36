"""Expressions expanded into monomials of some variables, with coefficients that stay expressions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sbmlump.model.graph import Graph, Node, Op

__all__ = ["Monomial", "expand", "monomial_node"]


Monomial = tuple[tuple[str, int], ...]
"""(id, exponent) pairs in order of the ids; the empty tuple is 1."""

_MAX_TERMS: Final = 2_000
_MAX_EXPONENT: Final = 12


def expand(
    graph: Graph, root: Node, variables: Collection[str], *, time_is_variable: bool = True
) -> dict[Monomial, Node] | None:
    """Write ``root`` as Σ coefficient·monomial, the coefficients being free of ``variables``.

    Returns
    -------
    dict of Monomial to Node, or None
        ``None`` if ``root`` is no polynomial in the variables, or one of more than 2,000 terms. A coefficient is
        never the number 0, but it may still be an expression that vanishes.
    """
    one = graph.number(1)
    terms: dict[Node, dict[Monomial, Node] | None] = {}
    for node in graph.reachable([root]):
        op, args = graph.op(node), graph.args(node)
        if op is Op.SYMBOL:
            name = graph.name(node)
            terms[node] = {((name, 1),): one} if name in variables else {(): node}
            continue
        if op is Op.TIME:
            terms[node] = None if time_is_variable else {(): node}
            continue
        parts = [terms[arg] for arg in args]
        if all(part is not None and set(part) <= {()} for part in parts):
            terms[node] = {(): node} if graph.number_of(node) != 0 else {}
            continue
        terms[node] = _combined(graph, op, node, parts)
    return terms[root]


def _combined(
    graph: Graph, op: Op, node: Node, parts: list[dict[Monomial, Node] | None]
) -> dict[Monomial, Node] | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if op is Op.ADD:
        return _sum(graph, known)
    if op is Op.MUL:
        product: dict[Monomial, Node] | None = known[0]
        for part in known[1:]:
            product = _product(graph, product, part)
        return product
    if op is Op.DIV and set(known[1]) == {()}:
        return {m: graph.div(c, known[1][()]) for m, c in known[0].items()}
    if op is Op.POW:
        exponent = graph.number_of(graph.args(node)[1])
        if exponent is None or exponent.denominator != 1 or not 0 < exponent <= _MAX_EXPONENT:
            return None
        power: dict[Monomial, Node] | None = known[0]
        for _ in range(int(exponent) - 1):
            power = _product(graph, power, known[0])
        return power
    return None


def _sum(graph: Graph, parts: list[dict[Monomial, Node]]) -> dict[Monomial, Node] | None:
    collected: dict[Monomial, list[Node]] = {}
    for part in parts:
        for monomial, coefficient in part.items():
            collected.setdefault(monomial, []).append(coefficient)
    if len(collected) > _MAX_TERMS:
        return None
    return _tidy(graph, collected)


def _product(
    graph: Graph, left: Mapping[Monomial, Node] | None, right: Mapping[Monomial, Node]
) -> dict[Monomial, Node] | None:
    if left is None or len(left) * len(right) > _MAX_TERMS:
        return None
    collected: dict[Monomial, list[Node]] = {}
    for a, x in left.items():
        for b, y in right.items():
            collected.setdefault(_times(a, b), []).append(graph.mul((x, y)))
    return _tidy(graph, collected)


def _tidy(graph: Graph, collected: Mapping[Monomial, list[Node]]) -> dict[Monomial, Node]:
    tidied: dict[Monomial, Node] = {}
    for monomial, nodes in collected.items():
        node = nodes[0] if len(nodes) == 1 else graph.from_terms(graph.linear_terms(graph.add(nodes)))
        if graph.number_of(node) != 0:
            tidied[monomial] = node
    return tidied


def _times(a: Monomial, b: Monomial) -> Monomial:
    if not a or not b:
        return a or b
    exponents = dict(a)
    for name, exponent in b:
        exponents[name] = exponents.get(name, 0) + exponent
    return tuple(sorted(exponents.items()))


def monomial_node(graph: Graph, monomial: Monomial) -> Node:
    """The monomial as a node."""
    return graph.mul(graph.pow(graph.symbol(name), graph.number(exponent)) for name, exponent in monomial)
