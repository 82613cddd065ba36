"""Classes of right-hand sides: polynomial, rational, analytic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from sbmlump.errors import LimitError, Reason
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.system import OdeSystem

__all__ = [
    "Kinetics",
    "kinetics_of",
    "kinetics_of_system",
    "with_double_constants",
    "WritingLimits",
    "explodes",
    "require_writable",
    "written_sizes",
    "require_writable_system",
]


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


def kinetics_of_system(system: OdeSystem) -> Kinetics:
    """Class of the right-hand sides as functions of the states."""
    return kinetics_of(system.graph, system.rhs, frozenset(system.states))


# -- irrational constants ------------------------------------------------------------------------------
# Expressions without symbols that have no rational value, such as ln 2, π, √2.


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


# -- expressions written out as trees ------------------------------------------------------------------
# A graph holds each sub-expression once, so sixty sums of a thing and itself are sixty nodes; written in full they are
# 10^18 terms. Whoever walks expressions as trees (formats without names for sub-expressions, simulators that insert
# every rule where it is used) asks here first how large they are, which is computed without writing them out.


@dataclass(frozen=True, slots=True)
class WritingLimits:
    """Which expressions are written out in full.

    Attributes
    ----------
    nodes : int
        Accepted however small their graph is, some seconds of work: eight times the largest of 711 published models
        (126,000).
    ratio : int
        Written nodes for each node of the graph that are accepted beyond that: three times the largest ratio of those.
    """

    nodes: int = 1_000_000
    ratio: int = 200


_BEYOND: Final = 1 << 62  # sizes are not counted further: a machine word holds a sum of two


def written_sizes(graph: Graph, roots: Sequence[Node]) -> list[int]:
    """Nodes of each of ``roots`` written out as a tree; 2^62 stands for anything beyond."""
    return _sizes(graph, roots)[0]


def explodes(graph: Graph, roots: Sequence[Node], limits: WritingLimits = WritingLimits()) -> bool:
    """Whether ``roots`` together, written out as trees, are out of proportion to what the graph holds."""
    sizes, count = _sizes(graph, roots)
    return sum(sizes) > max(limits.nodes, limits.ratio * count)


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


def require_writable_system(system: OdeSystem, what: str) -> None:
    """Refuse a system with an expression that is out of proportion when it is written out as a tree.

    Parameters
    ----------
    system : OdeSystem
    what : str
        Where it is to be written, or who writes it out: ``an .ode file``.

    Raises
    ------
    LimitError
        Code ``too-large``, with the id of the largest.
    """
    named = [*zip(system.states, system.rhs, strict=True), *((one.id, one.value) for one in system.assigned)]
    named += [*zip(system.states, system.initial, strict=True), *system.constant_values.items()]
    named += [(name, node) for name, node in zip(system.states, system.initial_values, strict=True) if node is not None]
    named += [(one.id, one.value) for one in system.constants if one.value is not None]
    named += [(one.id, one.flux) for one in system.reactions]
    require_writable(system.graph, [node for _, node in named], [name for name, _ in named], what)
