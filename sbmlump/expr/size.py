"""How large expressions are when they are written out as trees, computed without writing them out.

A graph holds each sub-expression once, so sixty sums of a thing and itself are sixty nodes; written in full they are
10^18 terms. Whoever walks expressions as trees (formats without names for sub-expressions, simulators that insert every
rule where it is used) asks here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sbmlump.errors import LimitError, Reason
from sbmlump.expr.graph import Graph, Node

__all__ = ["MAX_WRITTEN", "explodes", "require_writable", "written_sizes"]

MAX_WRITTEN: Final = 1_000_000
"""Nodes of expressions written in full that are borne however small their graph is (some seconds of work).

Eight times the largest of 711 published models (126,000).
"""
_MAX_RATIO: Final = 200
"""Written nodes for each node of the graph that are borne beyond that: three times the largest ratio of those."""
_BEYOND: Final = 1 << 62  # sizes are not counted further


def written_sizes(graph: Graph, roots: Sequence[Node]) -> list[int]:
    """Nodes of each of ``roots`` written out as a tree; 2^62 stands for anything beyond."""
    return _sizes(graph, roots)[0]


def explodes(graph: Graph, roots: Sequence[Node]) -> bool:
    """Whether ``roots`` together, written out as trees, are out of proportion to what the graph holds."""
    sizes, count = _sizes(graph, roots)
    return sum(sizes) > max(MAX_WRITTEN, _MAX_RATIO * count)


def require_writable(graph: Graph, roots: Sequence[Node], names: Sequence[str], what: str) -> None:
    """Refuse expressions that cannot be written out as trees.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
    names : sequence of str
        What each root defines, for the message.
    what : str
        Where they are to be written: ``an .ode file``.

    Raises
    ------
    LimitError
        Code ``too-large``, with the id of the largest.
    """
    if not explodes(graph, roots):
        return
    sizes = written_sizes(graph, roots)
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    shown = f"{sizes[largest]:,}" if sizes[largest] < 10**9 else "more than 10^9"
    message = (
        f"{names[largest]}: the expression has {shown} terms when it is written in full, more than {what} holds; "
        "write .xml, where parts of it get names of their own"
    )
    raise LimitError(Reason("too-large", message, names[largest]))


def _sizes(graph: Graph, roots: Sequence[Node]) -> tuple[list[int], int]:
    size: dict[Node, int] = {}
    for node in graph.reachable(roots):
        args = graph.args(node)
        size[node] = min(1 + sum([size[arg] for arg in args]), _BEYOND) if args else 1
    return [size[root] for root in roots], len(size)
