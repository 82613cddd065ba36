"""The canonical reactions of a kinetic polynomial field: one for each monomial and what it does.

A polynomial field is that of a mass-action network if every negative term of dy_i contains y_i (Hárs and Tóth). Terms
of one monomial whose coefficients are rational multiples of one expression become one reaction, so A → B is found as a
conversion, not as a death and a birth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from math import gcd, lcm
from typing import Final

import numpy as np

from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.system import OdeSystem, Participant, Reaction

__all__ = ["canonical_reactions"]

Monomial = tuple[tuple[str, int], ...]
_MOST_TERMS: Final = 500
_MOST_POWER: Final = 6


def canonical_reactions(
    system: OdeSystem,
    rates: Mapping[int, Node],
    taken: Collection[str],
    fixed: Mapping[Node, Node],
) -> tuple[list[Reaction], set[int]]:
    """Reactions that give ``rates``, and the positions of states for which there are none.

    Parameters
    ----------
    system : OdeSystem
        The reduced system.
    rates : mapping of int to Node
        Amount per time by which state i changes besides what is explained already.
    taken : collection of str
        Ids that reactions must not have.
    fixed : mapping of Node to Node
        Values of constants: the signs of coefficients are those that they have there.
    """
    graph = system.graph
    names = set(system.states)
    refused: set[int] = set()
    columns: dict[Monomial, dict[int, Node]] = {}
    for i in sorted(rates):
        terms = _expand(graph, rates[i], names)
        own = system.states[i]
        if terms is None or not _is_kinetic(graph, terms, own, fixed):
            refused.add(i)
            continue
        for monomial, coefficient in terms.items():
            columns.setdefault(monomial, {})[i] = coefficient
    reactions: list[Reaction] = []
    used = set(taken)
    for monomial, column in sorted(columns.items()):
        for change, rate in _shared(graph, column):
            name = _name(monomial, used)
            used.add(name)
            flux = graph.mul((rate, *(graph.pow(graph.symbol(one), graph.number(e)) for one, e in monomial)))
            sides = [(system.states[i], v) for i, v in sorted(change.items())]
            reactions.append(
                Reaction(
                    name,
                    flux,
                    tuple(Participant(one, graph.number(-v)) for one, v in sides if v < 0),
                    tuple(Participant(one, graph.number(v)) for one, v in sides if v > 0),
                    reversible=False,
                )
            )
    return reactions, refused


def _is_kinetic(graph: Graph, terms: Mapping[Monomial, Node], own: str, fixed: Mapping[Node, Node]) -> bool:
    coefficients = graph.substitute(list(terms.values()), fixed)
    if graph.symbols(coefficients) or graph.depends_on_time(coefficients):
        # constants without a value, or kept for all values: the sign is that of the written factor
        return all(any(one == own for one, _ in m) or not _is_minus(graph, c) for m, c in terms.items())
    values = np.asarray(values_of(graph, coefficients))
    return all(
        bool(np.isfinite(value)) and (value >= 0 or any(one == own for one, _ in monomial))
        for monomial, value in zip(terms, values, strict=True)
    )


def _is_minus(graph: Graph, node: Node) -> bool:
    return any(value < 0 for value in graph.linear_terms(node).values())


def _shared(graph: Graph, column: Mapping[int, Node]) -> list[tuple[dict[int, Fraction], Node]]:
    """Coefficients of one monomial as (change of each state, common rate): proportional ones together."""
    groups: dict[tuple[tuple[Node, Fraction], ...], dict[int, Fraction]] = {}
    for i, coefficient in column.items():
        terms = sorted(graph.linear_terms(coefficient).items())
        if not terms:
            continue
        lead = terms[0][1]
        groups.setdefault(tuple((term, value / lead) for term, value in terms), {})[i] = lead
    made = []
    for key, change in groups.items():
        common = lcm(*(value.denominator for value in change.values()))
        scale = Fraction(gcd(*(int(value * common) for value in change.values())), common)
        rate = graph.from_terms({term: value * scale for term, value in key})
        made.append(({i: value / scale for i, value in change.items()}, rate))
    return made


def _name(monomial: Monomial, taken: Collection[str]) -> str:
    words = [name if e == 1 else f"{name}_{e}" for name, e in monomial] or ["source"]
    base = "from_" + "_".join(words)
    base = base if len(base) <= 60 else base[:56] + "_etc"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _expand(graph: Graph, root: Node, variables: Collection[str]) -> dict[Monomial, Node] | None:
    """``root`` as Σ coefficient · monomial of ``variables``; ``None`` if it is no polynomial, or a large one.

    Coefficients may hold constants, not time.
    """
    one = graph.number(1)
    table: dict[Node, dict[Monomial, Node] | None] = {}
    for node in graph.reachable([root]):
        op, args = graph.op(node), graph.args(node)
        if op is Op.SYMBOL:
            name = graph.name(node)
            table[node] = {((name, 1),): one} if name in variables else {(): node}
        elif op is Op.TIME:
            table[node] = None
        elif not args:
            table[node] = {(): node} if graph.number_of(node) != 0 else {}
        else:
            table[node] = _combined(graph, node, [table[arg] for arg in args])
    return table[root]


def _combined(graph: Graph, node: Node, parts: list[dict[Monomial, Node] | None]) -> dict[Monomial, Node] | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if all(set(part) <= {()} for part in known):
        return {(): node}
    op = graph.op(node)
    if op is Op.ADD:
        return _collected(graph, [item for part in known for item in part.items()])
    if op is Op.MUL:
        return _product(graph, known)
    if op is Op.DIV and set(known[1]) == {()}:
        return {monomial: graph.div(value, known[1][()]) for monomial, value in known[0].items()}
    exponent = graph.number_of(graph.args(node)[1]) if op is Op.POW else None
    if exponent is not None and exponent.denominator == 1 and 0 < exponent <= _MOST_POWER:
        return _product(graph, [known[0]] * int(exponent))
    return None


def _product(graph: Graph, parts: list[dict[Monomial, Node]]) -> dict[Monomial, Node] | None:
    result = parts[0]
    for part in parts[1:]:
        if len(result) * len(part) > _MOST_TERMS:
            return None
        items = [(_times(a, b), graph.mul((x, y))) for a, x in result.items() for b, y in part.items()]
        collected = _collected(graph, items)
        if collected is None:
            return None
        result = collected
    return result


def _times(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for name, exponent in right:
        powers[name] = powers.get(name, 0) + exponent
    return tuple(sorted(powers.items()))


def _collected(graph: Graph, items: list[tuple[Monomial, Node]]) -> dict[Monomial, Node] | None:
    sums: dict[Monomial, dict[Node, Fraction]] = {}
    for monomial, node in items:
        total = sums.setdefault(monomial, {})
        for term, value in graph.linear_terms(node).items():
            total[term] = total.get(term, Fraction(0)) + value
    if len(sums) > _MOST_TERMS:
        return None
    made = {monomial: graph.from_terms(total) for monomial, total in sums.items()}
    return {monomial: node for monomial, node in made.items() if graph.number_of(node) != 0}
