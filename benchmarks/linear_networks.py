"""Linear networks of hundreds to thousands of nodes, exactly: one table, ``python benchmarks/linear_networks.py``.

A directed network grows from a fixed seed: each new node is joined to earlier ones that are drawn with probabilities
proportional to their degrees, in a random direction. The rate of a state is a weighted sum of the nodes that an edge
leads from to it, all weights being distinct; one node is observed. Each row runs the command
line in a process of its own, so that time and peak memory are the row's.

Columns: nodes, edges, reduced size or the reason why there is none, seconds of processor time (all threads), peak
memory, and the sentence of the certificate or the reason.
"""

from __future__ import annotations

import random
from fractions import Fraction

from sbmlump.model.graph import Graph, Node
from sbmlump.model.system import OdeSystem, Origin


def linear_network(nodes: int, seed: int, *, edges: int = 2, reverse: float = 0.5, distinct: bool = True) -> OdeSystem:
    """A degree-weighted, directed network of linear rates.

    Parameters
    ----------
    nodes : int
        States ``x_1`` to ``x_nodes``.
    seed : int
        Of network and weights.
    edges : int
        Of each new node to earlier ones.
    reverse : float
        Probability that an edge leads from the earlier node to the new one.
    distinct : bool
        Whether all weights differ; otherwise all are 1, which makes nodes alike.
    """
    draw = random.Random(seed)
    ends: list[int] = [0]  # every node as often as its degree, and the first once more
    pairs: set[tuple[int, int]] = set()
    for new in range(1, nodes):
        for old in {draw.choice(ends) for _ in range(edges)}:
            pairs.add((old, new) if draw.random() < reverse else (new, old))
            ends += [old, new]
    order = sorted(pairs)
    weights = draw.sample(range(1, 1000 * nodes), len(order)) if distinct else [1000] * len(order)
    graph = Graph()
    states = tuple(f"x_{i + 1}" for i in range(nodes))
    symbols = [graph.symbol(name) for name in states]
    terms: list[list[Node]] = [[] for _ in range(nodes)]
    for (source, target), weight in zip(order, weights, strict=True):
        terms[target].append(graph.scaled(Fraction(weight, 1000), symbols[source]))
    return OdeSystem(
        graph=graph,
        states=states,
        initial=tuple(graph.number(1 + i % 7) for i in range(nodes)),
        rhs=tuple(graph.add(each) for each in terms),
        constants=(),
        id=f"linear_network_{nodes}",
        name=f"Linear network of {nodes} nodes",
        origin=Origin(format="python"),
    )
