"""Evaluation of right-hand sides as doubles: values and sparse Jacobians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from sbmlump.expr.domains import FloatDomain, OneProgramDomain
from sbmlump.expr.graph import Graph, Node
from sbmlump.expr.program import Program

__all__ = ["Evaluator", "values_of"]

_POINTS_AT_ONCE = 4096
_FLOAT = FloatDomain()


def values_of(graph: Graph, nodes: Sequence[Node]) -> NDArray[np.float64]:
    """Doubles of nodes that hold no symbol and no time, shape (len(nodes),)."""
    if not nodes:
        return np.empty(0)
    program = Program(graph, nodes, ())
    with np.errstate(all="ignore"):
        tape = program.run(_FLOAT, np.empty((0, 1)))
        return program.outputs(tape)[:, 0]


class Evaluator:
    """Roots as functions of (t, x), with the constants' values put in.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        r outputs.
    states : sequence of str
        Ids of the n variables.
    constants : mapping of str to Node
        Values (nodes without symbols) of all other symbols.
    """

    def __init__(
        self, graph: Graph, roots: Sequence[Node], states: Sequence[str], constants: Mapping[str, Node]
    ) -> None:
        mapping = {graph.symbol(name): node for name, node in constants.items()}
        bound = graph.substitute(roots, mapping)
        inputs = [*(graph.symbol(name) for name in states), graph.time()]
        self._program = Program(graph, bound, inputs)
        self._n = len(states)
        self._domain = OneProgramDomain()

    def values(self, t: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
        """Outputs, (r,) for one point or (k, r) for k points."""
        points, single = self._points(t, x)
        blocks = []
        with np.errstate(all="ignore"):
            for low in range(0, points.shape[1], _POINTS_AT_ONCE):
                block = points[:, low : low + _POINTS_AT_ONCE]
                blocks.append(self._program.outputs(self._program.run(self._domain, block)))
        out = np.concatenate(blocks, axis=1).T
        return out[0] if single else np.ascontiguousarray(out)

    def jacobian(self, t: float, x: ArrayLike) -> sp.csr_array:
        """∂outputs/∂x at one point, (r, n) sparse, with the structural pattern."""
        points, _ = self._points(t, np.asarray(x, dtype=np.float64))
        rows, columns, colour, colours = self._pattern
        weights = np.zeros((len(self._program.roots), colours))
        weights[np.arange(len(colour)), colour] = 1.0
        with np.errstate(all="ignore"):
            tape = self._program.run(self._domain, points)
            rates = self._program.pull_back(self._domain, tape, weights)
        data = rates[columns, colour[rows]]
        return sp.csr_array((data, (rows, columns)), shape=(len(self._program.roots), self._n))

    def _points(self, t: ArrayLike, x: ArrayLike) -> tuple[NDArray[np.float64], bool]:
        x = np.asarray(x, dtype=np.float64)
        single = x.ndim == 1
        table = np.atleast_2d(x)
        if table.shape[1] != self._n:
            raise ValueError(f"expected {self._n} values a state, got {table.shape[1]}")
        times = np.broadcast_to(np.asarray(t, dtype=np.float64), (table.shape[0],))
        return np.concatenate([table, times[:, None]], axis=1).T.copy(), single

    @cached_property
    def _pattern(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
        """Non-zero places and a colouring of the rows: rows of one colour share no column."""
        pattern = self._program.dependencies()[:, : self._n].tocsr()
        rows, columns = pattern.nonzero()
        colour = np.zeros(pattern.shape[0], dtype=np.int64)
        used: list[set[int]] = [set() for _ in range(self._n)]
        colours = 1
        for row in range(pattern.shape[0]):
            mine = pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]]
            taken: set[int] = set().union(*(used[j] for j in mine)) if len(mine) else set()
            pick = 0
            while pick in taken:
                pick += 1
            colour[row] = pick
            colours = max(colours, pick + 1)
            for j in mine:
                used[j].add(pick)
        return rows.astype(np.int64), columns.astype(np.int64), colour, colours
