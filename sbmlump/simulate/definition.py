"""Observables that the original file does not hold as such."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.expr.graph import Graph, Node

__all__ = ["Definition"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Definition:
    """How an observable that the original file does not hold follows from what it holds.

    Attributes
    ----------
    needs : tuple of str
        Ids of the original file, each read as what it means there.
    value : callable
        From the times, shape (k,), and the values of ``needs``, each of shape (k,), to the observable, shape (k,).
    """

    needs: tuple[str, ...]
    value: Callable[[Array, Mapping[str, Array]], Array]

    @classmethod
    def linear(cls, coefficients: Mapping[str, float], offset: float = 0.0) -> Definition:
        """Σ coefficients[id] · id + offset."""
        fixed = dict(coefficients)

        def value(times: Array, columns: Mapping[str, Array]) -> Array:
            total = np.full_like(times, offset)
            for name, factor in fixed.items():
                total += factor * columns[name]
            return total

        return cls(tuple(fixed), value)

    @classmethod
    def of_node(cls, graph: Graph, node: Node) -> Definition:
        """The expression ``node`` over ids of the original file and time."""
        needs = tuple(sorted(graph.symbols([node])))
        evaluator = Evaluator(graph, [node], needs, {})

        def value(times: Array, columns: Mapping[str, Array]) -> Array:
            table = np.empty((len(times), len(needs)))
            for i, name in enumerate(needs):
                table[:, i] = columns[name]
            return evaluator.values(times, table)[:, 0]

        return cls(needs, value)
