"""Right-hand sides of degree at most two as sparse tables, read off the expression graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["QuadraticForm", "quadratic_form"]

Monomial = tuple[int, ...]
Polynomial = dict[Monomial, float]
Array = NDArray[np.float64]
_MAX_TERMS: Final = 2_000_000
_SQUARE: Final = 2


@dataclass(frozen=True, slots=True)
class QuadraticForm:
    """r components a + A·x + Q·(x_i x_j)_(i, j) over n variables, as doubles.

    Attributes
    ----------
    constant : ndarray (r,)
    linear : sparse (r, n)
    products : sparse (r, P)
        Coefficients of the P products ``x[left]·x[right]``.
    left, right : ndarray of int64 (P,)
    """

    constant: Array
    linear: sp.csr_array
    products: sp.csr_array
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    def values(self, x: Array) -> Array:
        """Components at k points, (k, n) to (k, r)."""
        columns = x.T
        out = self.linear @ columns + self.constant[:, None]
        if len(self.left):
            out += self.products @ (columns[self.left] * columns[self.right])
        return np.ascontiguousarray(out.T)


def quadratic_form(graph: Graph, roots: Sequence[Node], variables: Sequence[Node]) -> QuadraticForm | None:
    """``roots`` as polynomials of degree at most two in ``variables``, or ``None`` where they are not.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Without any symbol but those of ``variables``.
    variables : sequence of Node
    """
    place = {node: i for i, node in enumerate(variables)}
    nodes = graph.reachable(roots)
    fixed = _fixed_values(graph, nodes, place)
    value: dict[Node, Polynomial] = {}
    work = 0
    for node in nodes:
        found = _polynomial(graph, node, place, fixed, value)
        if found is None:
            return None
        work += len(found)
        if work > _MAX_TERMS:
            return None
        value[node] = found
    return _tables([value[root] for root in roots], len(variables))


def _fixed_values(graph: Graph, nodes: Sequence[Node], place: dict[Node, int]) -> dict[Node, float]:
    """Values of functions of numbers, such as ln(2)."""
    free: dict[Node, bool] = {}
    for node in nodes:
        free[node] = node in place or graph.op(node) in (Op.SYMBOL, Op.TIME) or any(free[a] for a in graph.args(node))
    wanted = [node for node in nodes if not free[node]]
    return dict(zip(wanted, values_of(graph, wanted).tolist(), strict=True))


def _polynomial(
    graph: Graph, node: Node, place: dict[Node, int], fixed: dict[Node, float], value: dict[Node, Polynomial]
) -> Polynomial | None:
    if node in place:
        return {(place[node],): 1.0}
    if node in fixed:
        return {(): fixed[node]} if fixed[node] else {}
    op, args = graph.op(node), graph.args(node)
    if op is Op.ADD:
        total: Polynomial = {}
        for arg in args:
            for monomial, c in value[arg].items():
                total[monomial] = total.get(monomial, 0.0) + c
        return total
    if op is Op.MUL:
        product: Polynomial | None = value[args[0]]
        for arg in args[1:]:
            product = _times(product, value[arg]) if product is not None else None
        return product
    if op is Op.POW and graph.number_of(args[1]) == _SQUARE:
        return _times(value[args[0]], value[args[0]])
    if op is Op.DIV and args[1] in fixed and fixed[args[1]]:
        return {monomial: c / fixed[args[1]] for monomial, c in value[args[0]].items()}
    return None


def _times(a: Polynomial, b: Polynomial) -> Polynomial | None:
    product: Polynomial = {}
    for m, c in a.items():
        for k, d in b.items():
            if len(m) + len(k) > _SQUARE:
                return None
            key = m + k if len(m) + len(k) < _SQUARE or (m + k)[0] <= (m + k)[1] else (m + k)[::-1]
            product[key] = product.get(key, 0.0) + c * d
    return product


def _tables(polynomials: Sequence[Polynomial], n: int) -> QuadraticForm:
    r = len(polynomials)
    constant = np.zeros(r)
    linear: list[tuple[int, int, float]] = []
    products: list[tuple[int, int, float]] = []
    pairs: dict[Monomial, int] = {}
    for i, polynomial in enumerate(polynomials):
        for monomial, c in polynomial.items():
            if not c:
                continue
            if not monomial:
                constant[i] = c
            elif len(monomial) == 1:
                linear.append((i, monomial[0], c))
            else:
                products.append((i, pairs.setdefault(monomial, len(pairs)), c))
    table = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    return QuadraticForm(
        constant, _sparse(linear, (r, n)), _sparse(products, (r, len(pairs))), table[:, 0], table[:, 1]
    )


def _sparse(entries: list[tuple[int, int, float]], shape: tuple[int, int]) -> sp.csr_array:
    rows, columns, data = ([e[k] for e in entries] for k in range(3))
    return sp.csr_array((np.array(data, dtype=np.float64), (rows, columns)), shape=shape)
