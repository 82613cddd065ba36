"""Irrational constants: expressions without symbols that have no rational value (ln 2, π, √2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["with_double_constants"]


def with_double_constants(graph: Graph, roots: Sequence[Node]) -> tuple[list[Node], bool]:
    """Replace expressions without symbols that are not rational by the double they evaluate to."""
    if not _may_hold_one(graph):
        return list(roots), False
    variable: set[Node] = set()
    irrational: list[Node] = []
    nodes = graph.reachable(roots)
    for node in nodes:
        if graph.op(node) in (Op.SYMBOL, Op.TIME) or any(arg in variable for arg in graph.args(node)):
            variable.add(node)
            irrational.extend(arg for arg in graph.args(node) if arg not in variable and graph.op(arg) is not Op.NUMBER)
    irrational.extend(root for root in roots if root not in variable and graph.op(root) is not Op.NUMBER)
    if not irrational:
        return list(roots), False
    values = values_of(graph, irrational)
    mapping = {node: graph.decimal(float(value)) for node, value in zip(irrational, values, strict=True)}
    return graph.substitute(roots, mapping), True


def _may_hold_one(graph: Graph) -> bool:
    """Whether there is a named constant, or an operation on nothing but numbers, anywhere in the graph.

    Without one of these no expression of the graph is irrational; most models have none, and this asks arrays.
    """
    ops, pointers, flat = graph.arrays()
    if (ops == Op.CONSTANT).any():
        return True
    inner = np.flatnonzero(pointers[1:] > pointers[:-1])
    if not len(inner):
        return False
    others = np.add.reduceat((ops[flat] != Op.NUMBER).astype(np.int64), pointers[inner])
    return bool((others == 0).any())
