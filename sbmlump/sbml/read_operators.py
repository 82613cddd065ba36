"""Every operator of SBML's MathML as a construction in the expression graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Final

from sbmlump.expr.graph import FUNCTIONS, LOGIC, RELATIONS, Graph, Node, Op

__all__ = ["OPERATORS", "MathError", "as_number", "as_truth"]

Operator = Callable[[Graph, Sequence[Node]], Node]


class MathError(Exception):
    """Mathematics that cannot be read: the code of the reason, and the end of a sentence that begins with the place."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def is_truth(graph: Graph, node: Node) -> bool:
    """Whether ``node`` has a truth value (a relation, a logical operator, true or false)."""
    op = graph.op(node)
    if op is Op.CALL:
        name = graph.name(node)
        return name in RELATIONS or name in LOGIC
    return op is Op.CONSTANT and graph.name(node) in ("true", "false")


def as_number(graph: Graph, node: Node) -> Node:
    """``node``, or 1 and 0 for true and false."""
    if not is_truth(graph, node):
        return node
    return graph.piecewise([(graph.number(1), node)], graph.number(0))


def as_truth(graph: Graph, node: Node) -> Node:
    """``node``, or whether it differs from 0 where it is a number."""
    if is_truth(graph, node):
        return node
    zero = graph.number(0)
    if graph.op(node) is Op.PIECEWISE:  # the inverse of as_number
        args = graph.args(node)
        if len(args) == 3 and args[0] == graph.number(1) and args[2] == zero:
            return args[1]
    return graph.call("neq", (node, zero))


def _numbers(graph: Graph, args: Sequence[Node]) -> list[Node]:
    return [as_number(graph, node) for node in args]


def _expect(name: str, args: Sequence[Node], low: int, high: int | None = None) -> None:
    if len(args) < low or (high is not None and len(args) > high):
        wanted = f"{low}" if high == low else f"{low} to {high}" if high is not None else f"at least {low}"
        raise MathError("wrong-arguments", f"gives {name} {len(args)} arguments instead of {wanted}")


def _plus(graph: Graph, args: Sequence[Node]) -> Node:
    return graph.add(_numbers(graph, args))


def _times(graph: Graph, args: Sequence[Node]) -> Node:
    return graph.mul(_numbers(graph, args))


def _minus(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("minus", args, 1, 2)
    numbers = _numbers(graph, args)
    return graph.neg(numbers[0]) if len(numbers) == 1 else graph.sub(numbers[0], numbers[1])


def _divide(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("divide", args, 2, 2)
    return graph.div(*_numbers(graph, args))


def _power(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("power", args, 2, 2)
    base, exponent = _numbers(graph, args)
    if graph.op(base) is Op.CONSTANT and graph.name(base) == "exponentiale":
        return graph.call("exp", (exponent,))
    return graph.pow(base, exponent)


def _root(graph: Graph, args: Sequence[Node]) -> Node:
    """``root(degree, x)``, degree 2 if not given."""
    _expect("root", args, 1, 2)
    numbers = _numbers(graph, args)
    degree = numbers[0] if len(numbers) == 2 else graph.number(2)
    return graph.pow(numbers[-1], graph.div(graph.number(1), degree))


def _log(graph: Graph, args: Sequence[Node]) -> Node:
    """``log(base, x)``, base 10 if not given; exact where the logarithm of a number is an integer."""
    _expect("log", args, 1, 2)
    numbers = _numbers(graph, args)
    base = numbers[0] if len(numbers) == 2 else graph.number(10)
    b, x = graph.number_of(base), graph.number_of(numbers[-1])
    if b is not None and x is not None:
        exact = _integer_logarithm(b, x)
        if exact is not None:
            return graph.number(exact)
    return graph.div(graph.call("ln", (numbers[-1],)), graph.call("ln", (base,)))


def _integer_logarithm(base: Fraction, value: Fraction) -> int | None:
    """The integer e with base^e = value, if there is one and base > 1 (floor(log10(1000)) must be 3)."""
    if base <= 1 or value <= 0:
        return None
    sign, rest = (1, value) if value >= 1 else (-1, 1 / value)
    for exponent in range(1100):  # a double holds no larger power of 2
        if rest <= 1:
            return sign * exponent if rest == 1 else None
        rest /= base
    return None


def _piecewise(graph: Graph, args: Sequence[Node]) -> Node:
    """``value, condition, value, condition, …[, otherwise]``."""
    pairs = [
        (as_number(graph, value), as_truth(graph, condition))
        for value, condition in zip(args[:-1:2], args[1::2], strict=True)
    ]
    return graph.piecewise(pairs, as_number(graph, args[-1]) if len(args) % 2 else None)


def _relation(name: str, graph: Graph, args: Sequence[Node]) -> Node:
    """Conjunction of the relation between neighbours (``neq`` takes two)."""
    _expect(name, args, 2, 2 if name == "neq" else None)
    numbers = _numbers(graph, args)
    pairs = [graph.call(name, pair) for pair in pairwise(numbers)]
    return pairs[0] if len(pairs) == 1 else graph.call("and", pairs)


def _logic(name: str, graph: Graph, args: Sequence[Node]) -> Node:
    """Logical operators; without arguments ``and`` is true, ``or`` and ``xor`` are false."""
    if name == "not":
        _expect(name, args, 1, 1)
    if not args:
        return graph.truth(name == "and")
    truths = [as_truth(graph, node) for node in args]
    return truths[0] if len(truths) == 1 and name != "not" else graph.call(name, truths)


def _implies(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("implies", args, 2, 2)
    premise, conclusion = (as_truth(graph, node) for node in args)
    return graph.call("or", (graph.call("not", (premise,)), conclusion))


def _function(name: str, graph: Graph, args: Sequence[Node]) -> Node:
    if name in ("min", "max"):
        _expect(name, args, 1)
    else:
        count = 2 if name in ("rem", "quotient") else 1
        _expect(name, args, count, count)
    return graph.call(name, _numbers(graph, args))


OPERATORS: Final[Mapping[str, Operator]] = {
    "plus": _plus,
    "minus": _minus,
    "times": _times,
    "divide": _divide,
    "power": _power,
    "root": _root,
    "log": _log,
    "piecewise": _piecewise,
    "implies": _implies,
    **{name: partial(_relation, name) for name in RELATIONS},
    **{name: partial(_logic, name) for name in LOGIC},
    **{name: partial(_function, name) for name in FUNCTIONS},
}
"""Name of the operator to its construction; each raises :class:`MathError` for a wrong number of arguments."""
