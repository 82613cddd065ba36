"""Whether two values are the same number: the one answer that every proof uses."""

from __future__ import annotations

import math
from typing import Final

from flint import ctx

from sbmlump.expr.balls import BallProgram, Missing
from sbmlump.expr.domains import nearest_double
from sbmlump.expr.graph import Graph, Node

__all__ = ["same_value"]

_TOLERANCE: Final = 1e-13  # relative, of irrational values: one side may be the double that a file holds for the other
_BITS: Final = 256


def same_value(left_graph: Graph, left: Node, right_graph: Graph, right: Node) -> bool:
    """Whether two expressions without symbols have the same value.

    Equal rationals are the same, and so are rationals with the same finite double, as files hold doubles; numbers
    beyond the doubles are compared exactly. Irrational values are the same up to a relative 1e-13, in ball arithmetic,
    which knows no largest number. Two values that do not exist are the same.
    """
    if left_graph is right_graph and left == right:
        return True
    a, b = left_graph.number_of(left), right_graph.number_of(right)
    if a is not None and b is not None:
        double = nearest_double(a)
        return a == b or (math.isfinite(double) and double == nearest_double(b))
    x = BallProgram(left_graph, [left], ()).run((), _BITS)[0]
    y = BallProgram(right_graph, [right], ()).run((), _BITS)[0]
    if isinstance(x, Missing) or isinstance(y, Missing):
        return x is y
    with ctx.workprec(_BITS):
        if not (x.is_finite() and y.is_finite()):
            return bool(x == y)
        return bool(abs(x - y) <= _TOLERANCE * abs(x).max(abs(y)))
