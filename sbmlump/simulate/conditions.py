"""Branches that depend on states, as far as a simulation shows them.

When a condition on time alone changes is known beforehand (``switches``). When one on states does is known only from a
trajectory, and an integrator steps over a branch that holds for less than one of its steps. Of such a branch one thing
does show: two comparisons of one piecewise expression have changed from one point of the grid to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.system import OdeSystem

__all__ = ["NO_CONDITIONS", "Conditions", "conditions_of"]

Array = NDArray[np.float64]
_MOST: Final = 1000
"""Comparisons that are looked at, so that a model of many branches does not take longer here than its simulation."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Comparisons in the conditions of piecewise expressions.

    Attributes
    ----------
    graph : Graph
        Holds them, and nothing else.
    nodes : tuple of Node
        The comparisons.
    groups : tuple of tuple of int
        For each piecewise expression with several comparisons: their places in ``nodes``.
    needs : tuple of str
        States that stand in them.
    """

    graph: Graph
    nodes: tuple[Node, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    needs: tuple[str, ...] = ()

    def passed(self, times: Array, columns: Mapping[str, Array]) -> tuple[float, float] | None:
        """The first two neighbouring times between which a branch may have come and gone; None where there are none."""
        if not self.groups:
            return None
        table = np.empty((len(times), len(self.needs)))
        for i, name in enumerate(self.needs):
            table[:, i] = columns[name]
        truths = Evaluator(self.graph, self.nodes, self.needs, {}).values(times, table) > 0.5
        changed = truths[1:] != truths[:-1]
        several = np.any([changed[:, list(group)].sum(axis=1) > 1 for group in self.groups], axis=0)
        if not several.any():
            return None
        place = int(np.argmax(several))
        return float(times[place]), float(times[place + 1])


NO_CONDITIONS: Final = Conditions(Graph())


def conditions_of(system: OdeSystem | None) -> Conditions:
    """Conditions on states in the right-hand sides and assigned quantities of a system, with its constants' values."""
    if system is None:
        return NO_CONDITIONS
    source = system.graph
    roots = source.substitute([*system.rhs, *(one.value for one in system.assigned)], system.specialised())
    groups: list[list[Node]] = []
    for node in source.reachable(roots):
        if source.op(node) is Op.PIECEWISE:
            compared = _comparisons(source, source.args(node)[1::2])
            # those on time alone are met exactly by every run
            if len(compared) > 1 and source.symbols(compared):
                groups.append(compared)
    wanted = list(dict.fromkeys(node for group in groups for node in group))
    if not wanted or len(wanted) > _MOST:
        return NO_CONDITIONS
    graph = Graph()
    nodes = tuple(graph.transplant(source, wanted, {}))
    place = {node: i for i, node in enumerate(wanted)}
    needs = tuple(sorted(graph.symbols(nodes)))
    return Conditions(graph, nodes, tuple(tuple(place[node] for node in group) for group in groups), needs)


def _comparisons(graph: Graph, conditions: tuple[Node, ...]) -> list[Node]:
    """The comparisons that logical operators put together in ``conditions``."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    waiting = list(conditions)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if graph.op(node) is Op.CALL and graph.payload(node) in RELATIONS:
            found[node] = None
        elif graph.op(node) is Op.CALL and graph.payload(node) in LOGIC:
            waiting += graph.args(node)
    return list(found)
