"""Certain values of expressions at real points, in ball arithmetic.

A ball is an interval that surely holds the value. What two balls that do not meet say is beyond doubt, whatever the
rounding; a point at which nothing certain can be said (a ball over a jump, numbers too large) says nothing. Functions
have their real meaning: the logarithm of a negative number and a root of one are *undefined*.

References
----------
F. Johansson, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Trans. Comput. 66 (2017),
doi 10.1109/TC.2017.2690633.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from functools import reduce
from typing import Final, TypeAlias

from flint import arb, ctx, fmpq

from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op

__all__ = ["Ball", "BallProgram", "Missing", "ball_of"]


class Missing(Enum):
    """Why there is no ball."""

    UNDEFINED = "certainly no real value"
    UNKNOWN = "nothing certain at this precision"


Ball: TypeAlias = arb | Missing
"""A ball, or why there is none."""

_UNDEFINED: Final = Missing.UNDEFINED
_UNKNOWN: Final = Missing.UNKNOWN
_MOST_EXPONENT_BITS: Final = 64  # of a power or an exponential: beyond it the number is no use to anyone


def ball_of(value: Fraction) -> arb:
    """The ball of a rational at the precision in force."""
    return arb(fmpq(value.numerator, value.denominator))


class BallProgram:
    """Roots of a graph as functions of inputs, over balls.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
    inputs : sequence of Node
        Symbols and time; every symbol below the roots must be among them.
    """

    def __init__(self, graph: Graph, roots: Sequence[Node], inputs: Sequence[Node]) -> None:
        self._graph = graph
        self._roots = tuple(roots)
        self._inputs = tuple(inputs)
        given = set(inputs)
        self._nodes = [node for node in graph.reachable(roots) if node not in given]

    def __len__(self) -> int:
        """Operations that one evaluation takes."""
        return len(self._nodes)

    def run(self, point: Sequence[Ball], bits: int) -> list[Ball]:
        """Values of the roots at a point.

        Parameters
        ----------
        point : sequence of Ball
            In the order of the inputs.
        bits : int
            Precision of the arithmetic.
        """
        graph = self._graph
        value: dict[Node, Ball] = dict(zip(self._inputs, point, strict=True))
        with ctx.workprec(bits):
            for node in self._nodes:
                number = graph.number_of(node)
                if number is not None:
                    value[node] = ball_of(number)
                else:
                    value[node] = _known(self._value(node, [value[arg] for arg in graph.args(node)]))
        return [value[root] for root in self._roots]

    def _value(self, node: Node, args: Sequence[Ball]) -> Ball:
        graph = self._graph
        op = graph.op(node)
        if op is Op.PIECEWISE:
            return _piecewise(args)
        if op is Op.CONSTANT:
            return _constant(graph.name(node))
        name = graph.name(node) if op is Op.CALL else ""
        if name in LOGIC:
            return _logic(name, [_truth(arg) for arg in args])
        if _UNDEFINED in args:
            return _UNDEFINED
        balls = [arg for arg in args if isinstance(arg, arb)]
        if len(balls) < len(args):
            return _UNKNOWN
        if op is Op.ADD:
            return sum(balls[1:], balls[0])
        if op is Op.MUL:
            return reduce(lambda a, b: a * b, balls)
        if op is Op.DIV:
            return _quotient(balls[0], balls[1])
        if op is Op.POW:
            return _power(balls[0], balls[1], graph.number_of(graph.args(node)[1]))
        if name in RELATIONS:
            return _relation(name, balls[0], balls[1])
        return _FUNCTIONS[name](*balls)


def _known(ball: Ball) -> Ball:
    return _UNKNOWN if isinstance(ball, arb) and ball.is_nan() else ball


def _constant(name: str) -> Ball:
    if name == "notanumber":
        return _UNDEFINED
    values = {"pi": arb.pi, "exponentiale": arb.const_e, "infinity": arb.pos_inf}
    return values[name]() if name in values else arb(int(name == "true"))


def _truth(ball: Ball) -> bool | Missing:
    if isinstance(ball, Missing):
        return ball
    if ball.is_zero():
        return False
    return _UNKNOWN if ball.contains(0) else True


def _ball(truth: bool | Missing) -> Ball:
    return truth if isinstance(truth, Missing) else arb(int(truth))


def _piecewise(args: Sequence[Ball]) -> Ball:
    for value, condition in zip(args[:-1:2], args[1::2], strict=True):
        truth = _truth(condition)
        if isinstance(truth, Missing):
            return truth
        if truth:
            return value
    return args[-1]


def _logic(name: str, truths: Sequence[bool | Missing]) -> Ball:
    absorbing = {"and": False, "or": True}.get(name)
    if absorbing is not None and absorbing in truths:
        return _ball(absorbing)
    for missing in (_UNDEFINED, _UNKNOWN):
        if missing in truths:
            return missing
    if name == "not":
        return _ball(not truths[0])
    if name == "xor":
        return _ball(sum(truth is True for truth in truths) % 2 == 1)
    return _ball(not absorbing)


def _relation(name: str, a: arb, b: arb) -> Ball:
    """True and false where that is certain; equal numbers are certain only where both are exact."""
    if name in ("eq", "neq"):
        if not a.overlaps(b):
            return _ball(name == "neq")
        return _ball(name == "eq") if a == b else _UNKNOWN
    if name in ("gt", "geq"):
        a, b = b, a
    strict = name in ("lt", "gt")
    if a < b:
        return _ball(True)
    if a > b:
        return _ball(False)
    if a == b:
        return _ball(not strict)
    return _UNKNOWN


def _quotient(a: arb, b: arb) -> Ball:
    if b.is_zero():
        return _UNDEFINED
    return _UNKNOWN if b.contains(0) else a / b


def _power(base: arb, exponent: arb, number: Fraction | None) -> Ball:
    if number is not None and number.denominator == 1:
        size = int(number)
        if size < 0 and base.contains(0):
            return _UNDEFINED if base.is_zero() else _UNKNOWN
        return base**size if size.bit_length() <= _MOST_EXPONENT_BITS else _UNKNOWN
    if base > 0:
        return (exponent * base.log()).exp()
    whole = exponent.unique_fmpz() if exponent.is_exact() and exponent.is_integer() else None
    if whole is not None:
        return _power(base, exponent, Fraction(int(whole)))
    if base.is_zero():
        if exponent > 0:
            return arb(0)
        return _UNDEFINED if exponent < 0 else _UNKNOWN
    if base < 0:
        return _UNKNOWN if exponent.contains_integer() and number is None else _UNDEFINED
    return _UNKNOWN


def _logarithm(x: arb) -> Ball:
    if x > 0:
        return x.log()
    return _UNDEFINED if x <= 0 else _UNKNOWN


def _inside(function: Callable[[arb], arb], low: int | None, high: int | None) -> Callable[[arb], Ball]:
    """A function that has values between two bounds only, the bounds included."""

    def value(x: arb) -> Ball:
        if (low is not None and x < low) or (high is not None and x > high):
            return _UNDEFINED
        sure = (low is None or x >= low) and (high is None or x <= high)
        return function(x) if sure else _UNKNOWN

    return value


def _within(function: Callable[[arb], arb]) -> Callable[[arb], Ball]:
    """A function with values strictly between −1 and 1."""

    def value(x: arb) -> Ball:
        if x <= -1 or x >= 1:
            return _UNDEFINED
        return function(x) if -1 < x < 1 else _UNKNOWN

    return value


def _of_inverse(function: Callable[[arb], Ball]) -> Callable[[arb], Ball]:
    def value(x: arb) -> Ball:
        inverse = _quotient(arb(1), x)
        return inverse if isinstance(inverse, Missing) else function(inverse)

    return value


def _inverse_cotangent(x: arb) -> Ball:
    return arb.pi() / 2 if x.is_zero() else _of_inverse(lambda inverse: inverse.atan())(x)


def _over(function: Callable[[arb], arb]) -> Callable[[arb], Ball]:
    """One over a function."""
    return lambda x: _quotient(arb(1), function(x))


def _factorial(x: arb) -> Ball:
    if x.contains_integer() and not x > -1:
        return _UNDEFINED if x.is_exact() and x.is_integer() else _UNKNOWN
    return (x + 1).gamma()


def _truncated(a: arb, b: arb) -> Ball:
    ratio = _quotient(a, b)
    if isinstance(ratio, Missing):
        return ratio
    if ratio >= 0:
        return ratio.floor()
    return ratio.ceil() if ratio < 0 else _UNKNOWN


def _remainder(a: arb, b: arb) -> Ball:
    whole = _truncated(a, b)
    return whole if isinstance(whole, Missing) else a - b * whole


_FUNCTIONS: Final[Mapping[str, Callable[..., Ball]]] = {
    "exp": lambda x: x.exp(),
    "ln": _logarithm,
    "abs": abs,
    "floor": lambda x: x.floor(),
    "ceiling": lambda x: x.ceil(),
    "factorial": _factorial,
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tan": lambda x: _quotient(x.sin(), x.cos()),
    "sec": _over(lambda x: x.cos()),
    "csc": _over(lambda x: x.sin()),
    "cot": lambda x: _quotient(x.cos(), x.sin()),
    "sinh": lambda x: x.sinh(),
    "cosh": lambda x: x.cosh(),
    "tanh": lambda x: x.tanh(),
    "sech": _over(lambda x: x.cosh()),
    "csch": _over(lambda x: x.sinh()),
    "coth": lambda x: _quotient(x.cosh(), x.sinh()),
    "arcsin": _inside(lambda x: x.asin(), -1, 1),
    "arccos": _inside(lambda x: x.acos(), -1, 1),
    "arctan": lambda x: x.atan(),
    "arcsec": _of_inverse(_inside(lambda x: x.acos(), -1, 1)),
    "arccsc": _of_inverse(_inside(lambda x: x.asin(), -1, 1)),
    "arccot": _inverse_cotangent,
    "arcsinh": lambda x: x.asinh(),
    "arccosh": _inside(lambda x: x.acosh(), 1, None),
    "arctanh": _within(lambda x: x.atanh()),
    "arcsech": _of_inverse(_inside(lambda x: x.acosh(), 1, None)),
    "arccsch": _of_inverse(lambda x: x.asinh()),
    "arccoth": _of_inverse(_within(lambda x: x.atanh())),
    "min": lambda *x: reduce(lambda a, b: a.min(b), x),
    "max": lambda *x: reduce(lambda a, b: a.max(b), x),
    "quotient": _truncated,
    "rem": _remainder,
}
