"""Which sub-expressions get a name of their own in the written model.

An expression graph is small because equal sub-expressions are one node; written out as trees it may explode, or
be deeper than libSBML bears. A sub-expression that is large and used several times, or too deep, becomes a helper
parameter with an assignment rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.sbml.mathml_out import MAX_TERMS

__all__ = ["HELPER_PREFIX", "choose_helpers", "written_size"]

HELPER_PREFIX: Final = "sbmlump_expr_"

_MAX_DEPTH: Final = 440
"""Levels of graph; printing may add one level to each (a minus), and 900 is what libSBML checks in good time."""
_MAX_PAIRS: Final = 1_500
"""Levels of the tree that libSBML makes, in which a sum of n terms is n levels deep."""
_LARGE: Final = 1_000
"""Written nodes from which a shared sub-expression always gets a name."""
_LARGE_WHEN_SCARCE: Final = 20
_BUDGET: Final = 200_000
_LEAVES: Final = frozenset({Op.NUMBER, Op.SYMBOL, Op.TIME, Op.CONSTANT})


def choose_helpers(
    graph: Graph,
    sites: Sequence[Node],
    names: Mapping[Node, str],
    taken: Collection[str],
    always: Collection[Node] = frozenset(),
) -> dict[Node, str]:
    """Helper ids for sub-expressions of ``sites``, in an order in which each uses earlier ones only.

    Parameters
    ----------
    graph : Graph
    sites : sequence of Node
        Everything that will be written, once for each time it is written.
    names : mapping of Node to str
        Nodes that are written as an id already (wherever they are not sites of their own).
    taken : collection of str
        Ids that are in use.
    always : collection of Node
        Sub-expressions that get a name whatever their size.
    """
    opened = _opened(graph, sites, names)
    order = sorted(opened)
    uses = _uses(opened, sites)
    sizes = _sizes(opened, order, names)
    total = sum(sizes[site] for site in sites)
    scarce = total > _BUDGET and total > 4 * len(order)
    limit = _LARGE_WHEN_SCARCE if scarce else _LARGE
    chosen: list[Node] = []
    cut: dict[Node, _Extent] = {}
    for node in order:
        args = opened[node]
        op = graph.op(node)
        extent = _extent(op, [cut[arg] for arg in args])
        leaf = op in _LEAVES
        deep = extent.depth >= _MAX_DEPTH or extent.pairs >= _MAX_PAIRS
        size = extent.size
        if node in names:
            extent = _POINT
        elif not leaf and (deep or node in always or (size > limit and uses[node] > 1 and not _is_truth(graph, node))):
            chosen.append(node)
            extent = _POINT
        cut[node] = extent
    helpers: dict[Node, str] = {}
    number = 0
    used = set(taken)
    for node in chosen:
        number += 1
        while f"{HELPER_PREFIX}{number}" in used:
            number += 1
        helpers[node] = f"{HELPER_PREFIX}{number}"
    return helpers


def written_size(graph: Graph, root: Node) -> int:
    """Nodes that ``root`` has when it is written out as a tree."""
    order = graph.reachable([root])
    return _sizes({node: graph.args(node) for node in order}, order, {})[root]


class _Extent(NamedTuple):
    """How large an expression is where it is used.

    Attributes
    ----------
    size : int
        Written nodes.
    depth : int
        Levels as written.
    pairs : int
        Levels of libSBML's tree.
    terms, below : int
        For sums: terms when (a + b) + c is written as a + b + c, and ``pairs`` of the largest term; else 0.
    """

    size: int
    depth: int
    pairs: int
    terms: int = 0
    below: int = 0


_POINT: Final = _Extent(1, 1, 1)


def _extent(op: Op, args: Sequence[_Extent]) -> _Extent:
    if not args:
        return _POINT
    size = 1 + sum(arg.size for arg in args)
    depth = 1 + max(arg.depth for arg in args)
    below = max(arg.pairs for arg in args)
    if op is not Op.ADD:
        return _Extent(size, depth, below + min(len(args), 2 * MAX_TERMS))
    first, rest = args[0], args[1:]
    terms = len(args)
    if first.terms:
        terms = first.terms + len(rest)
        depth = max(first.depth, *(1 + arg.depth for arg in rest))
        below = max(first.below, *(arg.pairs for arg in rest))
    return _Extent(size, depth, below + min(terms, 2 * MAX_TERMS), terms, below)


def _opened(graph: Graph, sites: Sequence[Node], names: Mapping[Node, str]) -> dict[Node, tuple[Node, ...]]:
    """Every node that is printed somewhere, with its arguments; none for a name that is defined elsewhere."""
    opened = {site: graph.args(site) for site in sites}
    stack = [arg for args in opened.values() for arg in args]
    while stack:
        node = stack.pop()
        if node not in opened:
            opened[node] = () if node in names else graph.args(node)
            stack.extend(opened[node])
    return opened


def _uses(opened: Mapping[Node, tuple[Node, ...]], sites: Sequence[Node]) -> dict[Node, int]:
    uses = dict.fromkeys(opened, 0)
    for args in opened.values():
        for arg in args:
            uses[arg] += 1
    for site in sites:
        uses[site] += 1
    return uses


def _sizes(
    opened: Mapping[Node, tuple[Node, ...]], order: Sequence[Node], names: Mapping[Node, str]
) -> dict[Node, int]:
    """Written size of each node when opened, names counting as one."""
    sizes: dict[Node, int] = {}
    for node in order:
        sizes[node] = 1 + sum(1 if arg in names else sizes[arg] for arg in opened[node])
    return sizes


def _is_truth(graph: Graph, node: Node) -> bool:
    """Whether ``node`` is a truth value: not every simulator keeps one in a parameter."""
    op = graph.op(node)
    if op is Op.PIECEWISE:
        return any(_is_relation(graph, value) for value in graph.args(node)[::2])
    return _is_relation(graph, node)


def _is_relation(graph: Graph, node: Node) -> bool:
    return graph.op(node) is Op.CALL and graph.name(node) in RELATIONS | LOGIC
