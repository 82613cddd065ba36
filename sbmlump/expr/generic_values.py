"""Values of expressions at one pseudo-random point of a prime field: a quick test whether two are the same.

Every symbol gets a fixed value derived from its id; a function that is not arithmetic gets a value derived from
its name and the values of its arguments, so only what follows from arithmetic counts as equal (and that the order and
the grouping of the arguments of ``and``, ``or``, ``min`` and ``max`` do not matter, that of several numbers in ``min``
and ``max`` one is left, and that exp(x) is e^x however e is spelled). Two expressions
with different values differ; equal values of different expressions have a probability of about degree/2^61.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Final

from sbmlump.expr.domains import nearest_double
from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["PRIME", "field_values", "symbol_value"]

PRIME: Final = 2**61 - 1
_GROUPED: Final = frozenset({"and", "or", "min", "max"})
"""Associative, commutative and idempotent: their arguments are a set."""
_EXTREMES: Final[Mapping[str, Callable[[Fraction, Fraction], Fraction]]] = {"min": min, "max": max}
"""Of their arguments that are numbers, one is left: a reader to which min has two arguments folds min(min(1, 2), x)."""
_COMMUTATIVE: Final = frozenset({"xor", "eq", "neq"})


def symbol_value(name: str) -> int:
    """Value of the symbol ``name``, in GF(2^61 − 1), never 0."""
    return _scrambled("symbol", name)


def field_values(
    graph: Graph, roots: Iterable[Node], symbols: Mapping[str, int] | None = None, *, as_doubles: bool = False
) -> dict[Node, int]:
    """Value in GF(2^61 − 1) of every node below ``roots``.

    Parameters
    ----------
    graph : Graph
    roots : iterable of Node
    symbols : mapping of id to int, optional
        Values of symbols; those that are absent have :func:`symbol_value`.
    as_doubles : bool
        Take every number for the double nearest to it, so that numbers that are one double are one number.
    """
    given = symbols or {}
    values: dict[Node, int] = {}
    grouped: dict[Node, _Group] = {}
    for node in graph.reachable(roots):
        op, args = graph.op(node), graph.args(node)
        if op is Op.SYMBOL:
            name = graph.name(node)
            known = given.get(name)
            values[node] = symbol_value(name) if known is None else known
        elif op is Op.NUMBER:
            number = graph.number_of(node)
            assert number is not None
            values[node] = _rational(_rounded(number) if as_doubles else number)
        elif op is Op.CALL and graph.name(node) in _GROUPED:
            group = grouped[node] = _group(graph, node, values, grouped)
            members = group.members
            if group.number is not None:
                members |= {_rational(_rounded(group.number) if as_doubles else group.number)}
            values[node] = _scrambled(op.name, graph.name(node), *map(str, sorted(members)))
        else:
            values[node] = _value(graph, node, [values[arg] for arg in args])
    return values


@dataclass(frozen=True, slots=True)
class _Group:
    """The arguments of an associative function: values in GF(2^61 − 1), and the one number that is left of several."""

    members: frozenset[int]
    number: Fraction | None


def _group(graph: Graph, node: Node, values: Mapping[Node, int], grouped: Mapping[Node, _Group]) -> _Group:
    """All arguments of ``node``, those of calls of the same function among its arguments included."""
    name = graph.name(node)
    extreme = _EXTREMES.get(name)
    members: set[int] = set()
    number: Fraction | None = None
    for arg in graph.args(node):
        other = graph.number_of(arg) if extreme is not None else None
        if arg in grouped and graph.name(arg) == name:
            members |= grouped[arg].members
            other = grouped[arg].number
        elif other is None:
            members.add(values[arg])
        if extreme is not None and other is not None:
            number = other if number is None else extreme(number, other)
    return _Group(frozenset(members), number)


def _value(graph: Graph, node: Node, args: Sequence[int]) -> int:
    op = graph.op(node)
    if op is Op.ADD:
        return sum(args) % PRIME
    if op is Op.MUL:
        product = 1
        for arg in args:
            product = product * arg % PRIME
        return product
    if op is Op.DIV and args[1]:
        return args[0] * pow(args[1], -1, PRIME) % PRIME
    if op is Op.POW:
        if args[0] == _EULER:  # by its value: a format without a word for e has exp(1) as the base
            return _exponential(args[1])
        exponent = graph.number_of(graph.args(node)[1])
        if exponent is not None and exponent.denominator == 1 and args[0]:
            return pow(args[0], int(exponent), PRIME)
    if op is Op.CALL:
        name = graph.name(node)
        if name in _COMMUTATIVE:
            args = sorted(args)
        elif name == "exp":
            return _exponential(args[0])
        elif name == "arctan" and args[0] == 1:  # pi where a format has no word for it
            return _scrambled(Op.CONSTANT.name, "pi") * pow(4, -1, PRIME) % PRIME
    return _scrambled(op.name, str(graph.payload(node)), *map(str, args))


def _exponential(argument: int) -> int:
    """exp(x) and e^x are one function, exp(1) and e one number."""
    if argument == 1:
        return _EULER
    return _scrambled(Op.CALL.name, "exp", str(argument))


def _rounded(value: Fraction) -> Fraction:
    double = nearest_double(value)
    return Fraction(double) if double - double == 0 else value  # beyond the range of doubles a number stays what it is


def _rational(value: Fraction) -> int:
    bottom = value.denominator % PRIME
    if not bottom:
        return _scrambled("number", str(value))
    if bottom == 1:
        return value.numerator % PRIME
    return value.numerator * pow(bottom, -1, PRIME) % PRIME


def _scrambled(*parts: str) -> int:
    digest = blake2b("\0".join(parts).encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big") % (PRIME - 1) + 1


_EULER: Final = _scrambled(Op.CONSTANT.name, "exponentiale")
