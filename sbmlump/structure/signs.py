"""A sufficient test that states cannot become negative: gᵢ ≥ 0 on yᵢ = 0, all others being non-negative."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.structure.monomials import expand, monomial_node
from sbmlump.system import OdeSystem

__all__ = ["non_negative_rates", "sign_of"]

_POSITIVE_FUNCTIONS: Final = frozenset({"exp", "cosh", "abs"})
_MONOTONE: Final = frozenset({"tanh", "arctan", "sinh", "floor"})  # of the sign of their argument, 0 at 0


def non_negative_rates(system: OdeSystem) -> Mapping[str, bool]:
    """For each state, whether its rate is certainly not negative where it is 0 and no state is negative.

    True for all of them: no state that starts at 0 or above becomes negative. False means "not shown"; a state that an
    event sets must also be set to what is certainly not negative.
    The values of the constants are those in the file.
    """
    graph = system.graph
    bound = graph.substitute(system.rhs, system.specialised())
    zero = graph.number(0)
    states = set(system.states)
    outcome: dict[str, bool] = {}
    for name, rhs in zip(system.states, bound, strict=True):
        edge = graph.substitute([rhs], {graph.symbol(name): zero})[0]
        outcome[name] = _is_non_negative(graph, edge, states)
    for event in system.events:
        for name, node in (*event.assignments, *event.implied):
            if name in outcome:
                value = graph.substitute([node], system.specialised())[0]
                outcome[name] = outcome[name] and _is_non_negative(graph, value, states)
    return outcome


def _is_non_negative(graph: Graph, root: Node, states: Collection[str]) -> bool:
    collected = graph.from_terms(graph.linear_terms(root))
    if sign_of(graph, collected, states) in (0, 1):
        return True
    terms = expand(graph, collected, states)
    if terms is None:
        return False
    nodes = [graph.mul((coefficient, monomial_node(graph, monomial))) for monomial, coefficient in terms.items()]
    return all(sign_of(graph, node, states) in (0, 1) for node in nodes)


def sign_of(graph: Graph, root: Node, states: Collection[str]) -> int | None:
    """1 for ≥ 0, -1 for ≤ 0, 0 for = 0, ``None`` for unknown, where states and time are non-negative."""
    signs: dict[Node, int | None] = {}
    free: dict[Node, bool] = {}
    for node in graph.reachable([root]):
        op, args = graph.op(node), graph.args(node)
        number = graph.number_of(node)
        free[node] = op not in (Op.SYMBOL, Op.TIME) and all(free[arg] for arg in args)
        if number is not None:
            signs[node] = (number > 0) - (number < 0)
        elif op is Op.SYMBOL:
            signs[node] = 1 if graph.name(node) in states else None
        elif op is Op.TIME:
            signs[node] = 1
        elif free[node]:
            value = float(values_of(graph, [node])[0])
            signs[node] = None if np.isnan(value) else int(value > 0) - int(value < 0)
        else:
            signs[node] = _sign(graph, node, op, [signs[arg] for arg in args])
    return signs[root]


def _sign(graph: Graph, node: Node, op: Op, parts: list[int | None]) -> int | None:
    if op is Op.PIECEWISE:
        parts = [*parts[:-1:2], parts[-1]]
    if op in (Op.ADD, Op.PIECEWISE):
        distinct = set(parts) - {0}
        return 0 if not distinct else distinct.pop() if len(distinct) == 1 else None
    known = [part for part in parts if part is not None]
    if op in (Op.MUL, Op.DIV):
        if op is Op.MUL and 0 in known:
            return 0
        if len(known) < len(parts):
            return None
        sign = 1
        for part in known:
            sign *= part
        return sign
    if op is Op.POW:
        exponent = graph.number_of(graph.args(node)[1])
        even = exponent is not None and exponent.denominator == 1 and exponent.numerator % 2 == 0
        return 1 if parts[0] in (0, 1) or even else None
    if op is Op.CALL:
        name = graph.name(node)
        if name in _POSITIVE_FUNCTIONS:
            return 1
        if name in _MONOTONE:
            return parts[0]
        if name in ("min", "max"):
            distinct = set(parts)
            return distinct.pop() if len(distinct) == 1 else 1 if name == "max" and 1 in distinct else None
    return None
