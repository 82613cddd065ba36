"""Powers that COPASI overlooks in kinetic laws, so that they are written as parameters of their own.

COPASI 4.48 takes ``compartment * k * S * g^e`` for mass action with the constant ``k`` and drops ``g^e``, without a
word; likewise in both halves of a reversible law. Where the power is a parameter with an
assignment rule it reads the law as what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.system import Quantity

__all__ = ["overlooked_powers", "units_of_powers"]

_MOST_PARTS: Final = 1_000
"""Terms and factors of a law that are looked at: nobody takes a longer one for mass action, and where a law uses what
it is made of again and again, there is no end to them."""


def overlooked_powers(
    graph: Graph, fluxes: Iterable[tuple[Node, Collection[str]]], quantities: Mapping[str, Quantity]
) -> set[Node]:
    """Powers of an id that stand as a factor beside a compartment, in laws that could be mass action.

    Parameters
    ----------
    graph : Graph
    fluxes : iterable of (Node, collection of str)
        Kinetic law and reactants of each reaction.
    quantities : mapping of str to Quantity
        Says what is a compartment and what a species.
    """
    found: set[Node] = set()
    for flux, reactants in fluxes:
        for outside, factors in _products(graph, flux):
            names = {graph.name(one) for one in (*outside, *factors) if graph.op(one) is Op.SYMBOL}
            if not any(name in quantities and quantities[name].kind == "compartment" for name in names):
                continue
            for one in factors:
                base = _base(graph, one)
                if base is None or (base in reactants and base not in names):
                    continue  # S^n of a reactant by itself is read as what it is
                found.add(one)
    return found


def units_of_powers(graph: Graph, powers: Iterable[Node], quantities: Mapping[str, Quantity]) -> dict[Node, str]:
    """The unit of those ``powers`` whose base is dimensionless."""
    found: dict[Node, str] = {}
    for node in powers:
        base = _base(graph, node)
        if base is not None and base in quantities and quantities[base].units == "dimensionless":
            found[node] = "dimensionless"
    return found


def _base(graph: Graph, node: Node) -> str | None:
    """The id of which ``node`` is a power."""
    if graph.op(node) is not Op.POW:
        return None
    base = graph.args(node)[0]
    return graph.name(base) if graph.op(base) is Op.SYMBOL else None


def _products(graph: Graph, flux: Node) -> Iterator[tuple[tuple[Node, ...], tuple[Node, ...]]]:
    """For each term of a law the factors before its brackets (those are not overlooked) and its own."""
    stack: list[tuple[Node, tuple[Node, ...]]] = [(flux, ())]
    looked_at = 0
    while stack and looked_at < _MOST_PARTS:
        looked_at += 1
        node, outside = stack.pop()
        if graph.op(node) is Op.ADD:
            stack.extend((term, outside) for term in graph.args(node))
            continue
        factors = _flat(graph, node)
        sums = [one for one in factors if graph.op(one) is Op.ADD]
        if len(sums) == 1:  # c·(k·S·g − h·P·g)
            factors.remove(sums[0])
            stack.append((sums[0], (*outside, *factors)))
        elif not sums:
            yield outside, tuple(factors)


def _flat(graph: Graph, node: Node) -> list[Node]:
    """Factors of nested products."""
    found: list[Node] = []
    stack = [node]
    looked_at = 0
    while stack and looked_at < _MOST_PARTS:
        looked_at += 1
        one = stack.pop()
        if graph.op(one) is Op.MUL:
            stack.extend(graph.args(one))
        else:
            found.append(one)
    return found
