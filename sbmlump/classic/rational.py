"""Rational expressions in lowest terms: from nodes to quotients of polynomials over Q and back.

Whatever is no rational operation (functions, powers with other exponents, named constants) is an atom, a further
variable. Sizes are bounded in advance by term counts; what is too large is left as it is (``None``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import flint

from sbmlump.expr.folding import MAX_BITS
from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["Fractions", "Quotient", "simplified"]

_MAX_ATOMS: Final = 60
_MAX_TERMS: Final = 600
_MAX_WORK: Final = 60_000
_MAX_EXPONENT: Final = 8
_MAX_FACTORED: Final = 120


@dataclass(frozen=True, slots=True)
class Quotient:
    """top / bottom, coprime polynomials; bottom is not 0."""

    top: flint.fmpq_mpoly
    bottom: flint.fmpq_mpoly


class Fractions:
    """Quotients of polynomials in the atoms of some expressions.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Their atoms become the variables.
    """

    def __init__(self, graph: Graph, roots: Sequence[Node]) -> None:
        self.graph = graph
        self._atoms = _atoms_of(graph, roots)
        self.fits = len(self._atoms) <= _MAX_ATOMS
        names = [f"v{i}" for i in range(max(1, len(self._atoms)))]
        self._context = flint.fmpq_mpoly_ctx.get(names, "degrevlex")
        self._one = self._context.constant(1)
        generators = self._context.gens()
        self._known: dict[Node, Quotient | None] = {
            node: Quotient(generator, self._one) for node, generator in zip(self._atoms, generators, strict=False)
        }
        self._place = {node: i for i, node in enumerate(self._atoms)}
        self._work = 0

    def constant(self, value: int) -> Quotient:
        """A number."""
        return Quotient(self._context.constant(value), self._one)

    def of(self, root: Node) -> Quotient | None:
        """``root`` in lowest terms; ``None`` if that is too large, or if it divides by 0."""
        if not self.fits:
            return None
        for node in self._open_below(root):
            self._known[node] = self._combined(node)
        return self._known[root]

    def variable(self, node: Node) -> flint.fmpq_mpoly:
        """The polynomial that is the atom ``node``."""
        quotient = self._known[node]
        assert quotient is not None
        return quotient.top

    def has(self, node: Node) -> bool:
        """Whether ``node`` is one of the atoms."""
        return node in self._place

    @property
    def atoms(self) -> tuple[Node, ...]:
        """The atoms, in the order of the variables."""
        return self._atoms

    def place(self, node: Node) -> int:
        """Position of an atom among the variables."""
        return self._place[node]

    def _open_below(self, root: Node) -> list[Node]:
        seen: set[Node] = set()
        stack = [root]
        while stack:
            node = stack.pop()
            if node not in seen and node not in self._known:
                seen.add(node)
                stack.extend(self.graph.args(node) if not _is_atom(self.graph, node) else ())
        return sorted(seen)

    def _combined(self, node: Node) -> Quotient | None:
        graph = self.graph
        number = graph.number_of(node)
        if number is not None:
            return Quotient(self._context.constant(flint.fmpq(number.numerator, number.denominator)), self._one)
        op, args = graph.op(node), graph.args(node)
        if op is Op.POW:
            base = self._known[args[0]]
            exponent = graph.number_of(args[1])
            return None if base is None or exponent is None else self.power(base, int(exponent))
        parts = [self._known[arg] for arg in args]
        result = parts[0]
        for part in parts[1:]:
            if result is None or part is None:
                return None
            if op is Op.ADD:
                result = self.plus(result, part)
            elif op is Op.MUL:
                result = self.times(result, part)
            else:
                result = self.over(result, part)
        return result

    # -- arithmetic ----------------------------------------------------------------------------------

    def plus(self, a: Quotient, b: Quotient) -> Quotient | None:
        """a + b."""
        if a.bottom == b.bottom:
            return self._reduced(a.top + b.top, a.bottom)
        if not self._affordable(len(a.top) * len(b.bottom) + len(b.top) * len(a.bottom)):
            return None
        return self._reduced(a.top * b.bottom + b.top * a.bottom, a.bottom * b.bottom)

    def times(self, a: Quotient, b: Quotient) -> Quotient | None:
        """a · b."""
        if not self._affordable(max(len(a.top) * len(b.top), len(a.bottom) * len(b.bottom))):
            return None
        return self._reduced(a.top * b.top, a.bottom * b.bottom)

    def over(self, a: Quotient, b: Quotient) -> Quotient | None:
        """a / b, ``None`` if b is 0."""
        return None if b.top == 0 else self.times(a, Quotient(b.bottom, b.top))

    def power(self, a: Quotient, exponent: int) -> Quotient | None:
        """a to an integer power."""
        if exponent < 0:
            if a.top == 0:
                return None
            a, exponent = Quotient(a.bottom, a.top), -exponent
        result: Quotient | None = self.constant(1)
        for _ in range(exponent):
            result = None if result is None else self.times(result, a)
        return result

    def _affordable(self, terms: int) -> bool:
        self._work += terms
        return terms <= _MAX_TERMS and self._work <= _MAX_WORK

    def _reduced(self, top: flint.fmpq_mpoly, bottom: flint.fmpq_mpoly) -> Quotient | None:
        if top == 0:
            return Quotient(top, self._one)
        common = top.gcd(bottom)
        if common != 1:
            top, bottom = top // common, bottom // common
        if bottom.is_constant():
            top, bottom = top / bottom.leading_coefficient(), self._one
        # a square of a square of a number is one term of any length
        longest = max(_coefficient_bits(top), _coefficient_bits(bottom))
        return None if longest > MAX_BITS else Quotient(top, bottom)

    # -- back ----------------------------------------------------------------------------------------

    def node(self, quotient: Quotient) -> Node:
        """As a node, both parts factored where they are small; the denominator gets coprime integer coefficients."""
        top, bottom = quotient.top, quotient.bottom
        scale = _content(bottom)
        above = self.polynomial_node(top / scale)
        below = self.polynomial_node(bottom / scale)
        return self.graph.div(above, below)

    def polynomial_node(self, polynomial: flint.fmpq_mpoly) -> Node:
        """A polynomial as a node."""
        graph = self.graph
        if polynomial == 0:
            return graph.number(0)
        if len(polynomial) == 1 or len(polynomial) > _MAX_FACTORED:
            return self._sum(polynomial)
        content, factors = polynomial.factor()
        parts = [graph.number(Fraction(int(content.p), int(content.q)))]
        negative = Fraction(1)
        for factor, exponent in factors:
            leading = _content(factor)
            factor = factor / leading
            negative *= Fraction(int(leading.p), int(leading.q)) ** int(exponent)
            parts.append(graph.pow(self._sum(factor), graph.number(int(exponent))))
        return graph.mul((graph.number(negative), *parts))

    def _sum(self, polynomial: flint.fmpq_mpoly) -> Node:
        graph = self.graph
        terms = []
        for exponents, coefficient in polynomial.terms():
            factors = [graph.number(Fraction(int(coefficient.p), int(coefficient.q)))]
            factors += [
                graph.pow(atom, graph.number(int(e))) for atom, e in zip(self._atoms, exponents, strict=False) if e
            ]
            terms.append(graph.mul(factors))
        # positive terms first reads better
        return graph.add(sorted(terms, key=lambda node: _is_negative(graph, node)))


def _coefficient_bits(polynomial: flint.fmpq_mpoly) -> int:
    """Bits of the leading coefficient, which tells how long coefficients get."""
    leading = polynomial.leading_coefficient()
    return max(int(leading.p).bit_length(), int(leading.q).bit_length())


def _content(polynomial: flint.fmpq_mpoly) -> flint.fmpq:
    """The rational that leaves coprime integer coefficients, most of them positive, when divided by."""
    coefficients = [Fraction(int(c.p), int(c.q)) for c in polynomial.coeffs()]
    top, bottom = 0, 1
    from math import gcd, lcm

    for value in coefficients:
        top = gcd(top, value.numerator)
        bottom = lcm(bottom, value.denominator)
    negative = sum(value < 0 for value in coefficients)
    sign = -1 if 2 * negative > len(coefficients) or (2 * negative == len(coefficients) and coefficients[0] < 0) else 1
    return flint.fmpq(sign * top, bottom)


def _is_negative(graph: Graph, node: Node) -> bool:
    number = graph.number_of(node) if graph.op(node) is not Op.MUL else graph.number_of(graph.args(node)[0])
    return number is not None and number < 0


def _is_atom(graph: Graph, node: Node) -> bool:
    op = graph.op(node)
    if op in (Op.NUMBER, Op.ADD, Op.MUL, Op.DIV):
        return False
    if op is Op.POW:
        exponent = graph.number_of(graph.args(node)[1])
        return exponent is None or exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT
    return True


def _atoms_of(graph: Graph, roots: Sequence[Node]) -> tuple[Node, ...]:
    seen: set[Node] = set()
    atoms: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if _is_atom(graph, node):
            atoms.add(node)
        else:
            stack.extend(graph.args(node))
    return tuple(sorted(atoms))


def simplified(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """Each root in lowest terms where it is small enough and that makes it shorter, else as it was."""
    result: list[Node] = []
    for root in roots:
        fractions = Fractions(graph, [root])
        quotient = fractions.of(root) if fractions.fits else None
        if quotient is None:
            result.append(root)
            continue
        new = fractions.node(quotient)
        result.append(new if _length(graph, new) <= _length(graph, root) else root)
    return result


def _length(graph: Graph, root: Node) -> int:
    """Number of operations and operands of the written-out expression, capped."""
    length: dict[Node, int] = {}
    for node in graph.reachable([root]):
        length[node] = min(10**9, 1 + sum(length[arg] for arg in graph.args(node)))
    return length[root]
