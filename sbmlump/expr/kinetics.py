"""Classes of right-hand sides: polynomial, rational, analytic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["Kinetics", "kinetics_of"]

Kinetics = Literal["polynomial", "rational", "analytic"]


def kinetics_of(graph: Graph, roots: Sequence[Node], variables: Collection[str]) -> Kinetics:
    """Class of ``roots`` as functions of ``variables`` (ids); all other symbols are constants.

    ``analytic`` means everything that is not rational, jumps and branches included. Time counts as a variable.
    """
    varies: dict[Node, bool] = {}
    rational = False
    for node in graph.reachable(roots):
        op = graph.op(node)
        args = graph.args(node)
        if op is Op.SYMBOL:
            varies[node] = graph.name(node) in variables
            continue
        if op is Op.TIME:
            varies[node] = True
            continue
        varies[node] = any(varies[arg] for arg in args)
        if not varies[node] or op in (Op.ADD, Op.MUL):
            continue
        if op is Op.DIV:
            rational = rational or varies[args[1]]
        elif op is Op.POW:
            exponent = graph.number_of(args[1])
            if exponent is None or exponent.denominator != 1:
                return "analytic"
            rational = rational or exponent < 0
        else:
            return "analytic"
    return "rational" if rational else "polynomial"
