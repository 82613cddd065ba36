"""Values of expressions at one pseudo-random point of a prime field: a quick test whether two are the same.

Every symbol gets a fixed value derived from its id; a function that is not arithmetic gets a value derived from
its name and the values of its arguments, so only what follows from arithmetic counts as equal. Two expressions
with different values differ; equal values of different expressions have a probability of about degree/2^61.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from hashlib import blake2b
from typing import Final

from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["PRIME", "field_values", "symbol_value"]

PRIME: Final = 2**61 - 1


def symbol_value(name: str) -> int:
    """Value of the symbol ``name``, in GF(2^61 − 1), never 0."""
    return _scrambled("symbol", name)


def field_values(graph: Graph, roots: Iterable[Node]) -> dict[Node, int]:
    """Value in GF(2^61 − 1) of every node below ``roots``."""
    values: dict[Node, int] = {}
    for node in graph.reachable(roots):
        values[node] = _value(graph, node, [values[arg] for arg in graph.args(node)])
    return values


def _value(graph: Graph, node: Node, args: Sequence[int]) -> int:
    op = graph.op(node)
    if op is Op.ADD:
        return sum(args) % PRIME
    if op is Op.MUL:
        product = 1
        for arg in args:
            product = product * arg % PRIME
        return product
    if op is Op.NUMBER:
        number = graph.number_of(node)
        assert number is not None
        return _rational(number)
    if op is Op.SYMBOL:
        return symbol_value(graph.name(node))
    if op is Op.DIV and args[1]:
        return args[0] * pow(args[1], -1, PRIME) % PRIME
    if op is Op.POW:
        exponent = graph.number_of(graph.args(node)[1])
        if exponent is not None and exponent.denominator == 1 and args[0]:
            return pow(args[0], int(exponent), PRIME)
    return _scrambled(op.name, str(graph.payload(node)), *map(str, args))


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
