"""Polynomials and rational functions out of an expression graph, and back.

One walk over the graph takes an expression apart; what it computes in is a *ring*: sparse polynomials whose
coefficients are expressions or doubles, polynomials over Q (FLINT), quotients of polynomials. A walk ends with
``None`` where an expression is not of the kind, or where it would become larger than the limits allow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import add, mul, truediv
from typing import Any, Final, Generic, TypeVar

import flint

from sbmlump.linalg.rational import add_to, content, fraction, of_fraction
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import MAX_BITS, Graph, Node, Op, bits

__all__ = [
    "IDENTITY_LIMITS",
    "ExpansionLimits",
    "Monomial",
    "Quotient",
    "RationalFunctions",
    "expand",
    "expand_doubles",
    "expand_over_q",
    "in_lowest_terms",
    "monomial_node",
    "polynomial_node",
    "root_of_linear",
    "simplified",
    "term_nodes",
    "like_terms_collected",
]


Monomial = tuple[tuple[str, int], ...]
"""(id, exponent) pairs in order of the ids; the empty tuple is 1."""


@dataclass(frozen=True, slots=True)
class ExpansionLimits:
    """How large an expression may become while it is expanded.

    Attributes
    ----------
    exponent : int
        Of a power that is multiplied out.
    terms : int or None
        Of a polynomial, and of a product before like terms are collected.
    degree : int or None
        Of a polynomial.
    work : int or None
        Terms computed for all nodes together.
    variables : int or None
    bits_a_term : int
        Of a coefficient over Q that cost as much work as one more term; ordinary coefficients have fewer.
    factored_terms : int
        Of a polynomial over Q that is written as a product of its factors; a longer one is written as a sum.
    """

    exponent: int = 12
    terms: int | None = None
    degree: int | None = None
    work: int | None = None
    variables: int | None = None
    bits_a_term: int = 1_024
    factored_terms: int = 120

    def allows(self, variables: int) -> bool:
        """Whether so many variables are within the limits."""
        return self.variables is None or variables <= self.variables


# a rate law of more terms is no longer one that a person, or a reader of SBML, takes for mass action
_READABLE: Final = ExpansionLimits(exponent=12, terms=2_000)
# fields of degree two; two million terms take some seconds and some hundred MB, the program is as good there
_QUADRATIC: Final = ExpansionLimits(exponent=2, degree=2, work=2_000_000)
# where an expansion would be larger, identities are tested at random points modulo primes, which costs what a run costs
IDENTITY_LIMITS: Final = ExpansionLimits(exponent=64, terms=20_000, work=200_000, variables=400)
# greatest common divisors of polynomials in many variables grow with their terms: a second or so at these sizes
_LOWEST_TERMS: Final = ExpansionLimits(exponent=8, terms=600, work=60_000, variables=60)
# what is of degree one in the end may be of a higher one on the way
_ONE_UNKNOWN: Final = ExpansionLimits(exponent=8, degree=7)


# -- the walk ----------------------------------------------------------------------------------------


C = TypeVar("C")
E = TypeVar("E")
P = TypeVar("P", bound=Sized)
Terms = dict[Monomial, C]
"""Monomial to coefficient."""


class _Ring(ABC, Generic[E]):
    """What expressions are computed in; ``None`` is what lies outside, or is too large."""

    def __init__(self, limits: ExpansionLimits) -> None:
        self.limits = limits
        self._work = 0

    @abstractmethod
    def number(self, value: Fraction) -> E | None: ...

    @abstractmethod
    def plus(self, parts: Sequence[E]) -> E | None: ...

    @abstractmethod
    def times(self, parts: Sequence[E]) -> E | None: ...

    def over(self, left: E, right: E) -> E | None:
        """No quotient, but for rings that say otherwise."""
        return None

    def power(self, base: E, exponent: int) -> E | None:
        """An integer power; of a negative exponent none, but for rings that say otherwise."""
        return self.times([base] * exponent) if exponent > 0 else None

    def other(self, node: Node, parts: Sequence[E]) -> E | None:
        """A function of something that varies is nothing of the kind, but for rings that say otherwise."""
        return None

    def affordable(self, terms: int, extra: int = 0) -> bool:
        """Whether so many terms more, and extra work for them, are within the limits."""
        self._work += terms + extra
        limits = self.limits
        return (limits.terms is None or terms <= limits.terms) and (limits.work is None or self._work <= limits.work)


def _folded(operation: Callable[[E, E], E | None], parts: Sequence[E]) -> E | None:
    """One after the other, until one is ``None``."""
    result: E | None = parts[0]
    for part in parts[1:]:
        result = None if result is None else operation(result, part)
    return result


def _value(graph: Graph, node: Node, ring: _Ring[E], known: Mapping[Node, E | None]) -> E | None:
    """Value of a node from those of its arguments."""
    number = graph.number_of(node)
    if number is not None:
        return ring.number(number)
    op, args = graph.op(node), graph.args(node)
    parts = [part for arg in args if (part := known[arg]) is not None]
    if not parts or len(parts) < len(args):
        return None
    if op is Op.ADD:
        return ring.plus(parts)
    if op is Op.MUL:
        return ring.times(parts)
    if op is Op.DIV:
        return ring.over(*parts)
    if op is Op.POW:
        exponent = graph.number_of(args[1])
        if exponent is None or exponent.denominator != 1 or abs(exponent) > ring.limits.exponent:
            return None
        return ring.power(parts[0], int(exponent))
    return ring.other(node, parts)


def _expanded(graph: Graph, roots: Sequence[Node], ring: _Ring[E], known: Mapping[Node, E]) -> list[E] | None:
    """Values of ``roots``, given those of variables and of what does not vary."""
    values: dict[Node, E] = {}
    for node in graph.reachable(roots):
        value = known[node] if node in known else _value(graph, node, ring, values)
        if value is None:
            return None
        values[node] = value
    return [values[root] for root in roots]


def _fixed(graph: Graph, roots: Sequence[Node], varies: Callable[[Node], bool]) -> list[Node]:
    """Nodes below ``roots`` that hold nothing that varies."""
    moving: dict[Node, bool] = {}
    for node in graph.reachable(roots):
        moving[node] = varies(node) or any(moving[arg] for arg in graph.args(node))
    return [node for node, moves in moving.items() if not moves]


# -- sparse polynomials ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Coefficients(Generic[C]):
    """Arithmetic of coefficients; one that ``vanishes`` is left out."""

    total: Callable[[Sequence[C]], C]
    product: Callable[[C, C], C]
    quotient: Callable[[C, C], C]
    vanishes: Callable[[C], bool]


class _Sparse(_Ring[Terms[C]]):
    """Σ coefficient · monomial as a dictionary."""

    def __init__(self, coefficients: _Coefficients[C], limits: ExpansionLimits) -> None:
        super().__init__(limits)
        self._coefficients = coefficients

    def number(self, value: Fraction) -> Terms[C] | None:
        """Numbers do not vary: they are given."""
        return None

    def plus(self, parts: Sequence[Terms[C]]) -> Terms[C] | None:
        collected: dict[Monomial, list[C]] = {}
        for part in parts:
            for monomial, coefficient in part.items():
                collected.setdefault(monomial, []).append(coefficient)
        return self._collected(collected)

    def times(self, parts: Sequence[Terms[C]]) -> Terms[C] | None:
        return _folded(self._product, parts)

    def over(self, left: Terms[C], right: Terms[C]) -> Terms[C] | None:
        """By what does not vary and is not 0."""
        if set(right) != {()}:
            return None
        return {monomial: self._coefficients.quotient(value, right[()]) for monomial, value in left.items()}

    def _product(self, left: Terms[C], right: Terms[C]) -> Terms[C] | None:
        limits = self.limits
        if limits.terms is not None and len(left) * len(right) > limits.terms:
            return None
        if limits.degree is not None and left and right and _degree(left) + _degree(right) > limits.degree:
            return None
        product = self._coefficients.product
        collected: dict[Monomial, list[C]] = {}
        for a, x in left.items():
            for b, y in right.items():
                collected.setdefault(_times(a, b), []).append(product(x, y))
        return self._collected(collected)

    def _collected(self, collected: Mapping[Monomial, Sequence[C]]) -> Terms[C] | None:
        if not self.affordable(len(collected)):
            return None
        totals = ((monomial, self._coefficients.total(parts)) for monomial, parts in collected.items())
        return {monomial: value for monomial, value in totals if not self._coefficients.vanishes(value)}


def _times(a: Monomial, b: Monomial) -> Monomial:
    if not a or not b:
        return a or b
    exponents = dict(a)
    for name, exponent in b:
        add_to(exponents, name, exponent)
    return tuple(sorted(exponents.items()))


def _degree(terms: Mapping[Monomial, object]) -> int:
    return max(sum(exponent for _, exponent in monomial) for monomial in terms)


def expand(
    graph: Graph,
    root: Node,
    variables: Collection[str],
    limits: ExpansionLimits = _READABLE,
    *,
    time_is_variable: bool = True,
) -> dict[Monomial, Node] | None:
    """Write ``root`` as Σ coefficient·monomial, the coefficients being free of ``variables``.

    Parameters
    ----------
    graph : Graph
    root : Node
    variables : collection of str
        Ids.
    limits : ExpansionLimits
    time_is_variable : bool
        Whether what depends on time is no polynomial; else time may stand in coefficients.

    Returns
    -------
    dict of Monomial to Node, or None
        ``None`` if ``root`` is no polynomial in the variables, or too large a one. A coefficient is never the number
        0, but it may still be an expression that vanishes.
    """

    def varies(node: Node) -> bool:
        op = graph.op(node)
        return (op is Op.SYMBOL and graph.name(node) in variables) or (op is Op.TIME and time_is_variable)

    def total(parts: Sequence[Node]) -> Node:
        return parts[0] if len(parts) == 1 else graph.from_terms(graph.linear_terms(graph.add(parts)))

    def vanishes(coefficient: Node) -> bool:
        return graph.number_of(coefficient) == 0

    ring = _Sparse(_Coefficients(total, lambda a, b: graph.mul((a, b)), graph.div, vanishes), limits)
    one = graph.number(1)
    known: dict[Node, dict[Monomial, Node]] = {
        node: {} if vanishes(node) else {(): node} for node in _fixed(graph, [root], varies)
    }
    known |= {graph.symbol(name): {((name, 1),): one} for name in graph.symbols([root]) if name in variables}
    found = _expanded(graph, [root], ring, known)
    return None if found is None else found[0]


def expand_doubles(
    graph: Graph, roots: Sequence[Node], variables: Collection[str], limits: ExpansionLimits = _QUADRATIC
) -> list[dict[Monomial, float]] | None:
    """``roots`` as polynomials in ``variables`` with doubles as coefficients, or ``None`` where they are not.

    By default polynomials of degree at most two.
    """

    def total(parts: Sequence[float]) -> float:
        result = 0.0
        for value in parts:  # not sum(), which rounds otherwise from Python 3.12 on
            result += value
        return result

    ring = _Sparse(_Coefficients(total, mul, truediv, lambda _: False), limits)
    fixed = _fixed(graph, roots, lambda node: graph.op(node) in (Op.SYMBOL, Op.TIME))
    known: dict[Node, dict[Monomial, float]] = {
        node: {(): value} if value else {}
        for node, value in zip(fixed, values_of(graph, fixed).tolist(), strict=True)  # functions of numbers, too
    }
    known |= {graph.symbol(name): {((name, 1),): 1.0} for name in variables}
    return _expanded(graph, roots, ring, known)


# -- polynomials over Q ------------------------------------------------------------------------------


def _context(variables: int) -> flint.fmpq_mpoly_ctx:
    return flint.fmpq_mpoly_ctx.get([f"v{i}" for i in range(max(1, variables))], "degrevlex")


class _OverQ(_Ring[Any]):
    """FLINT's polynomials; what is expanded in them has been found to be small."""

    def __init__(self, context: flint.fmpq_mpoly_ctx, limits: ExpansionLimits) -> None:
        super().__init__(limits)
        self.context = context

    def number(self, value: Fraction) -> flint.fmpq_mpoly:
        return self.context.constant(of_fraction(value))

    def plus(self, parts: Sequence[flint.fmpq_mpoly]) -> flint.fmpq_mpoly:
        return sum(parts, start=self.context.constant(0))

    def times(self, parts: Sequence[flint.fmpq_mpoly]) -> flint.fmpq_mpoly:
        return reduce(mul, parts)

    def power(self, base: flint.fmpq_mpoly, exponent: int) -> flint.fmpq_mpoly | None:
        """By FLINT, at once."""
        return base**exponent if exponent > 0 else None


@dataclass(frozen=True, slots=True)
class _Size:
    """Bounds of a polynomial over Q: number of terms, bits of a coefficient."""

    terms: int
    bits: int


class _SizeOverQ(_Ring[_Size]):
    """How large an expansion would be: a power of a power of a number is one term of any length."""

    def number(self, value: Fraction) -> _Size:
        return _Size(1, bits(value))

    def plus(self, parts: Sequence[_Size]) -> _Size | None:
        longest = max(part.bits for part in parts) + len(parts).bit_length()
        return self._within(sum(part.terms for part in parts), longest)

    def times(self, parts: Sequence[_Size]) -> _Size | None:
        terms = 1
        for part in parts:
            terms *= part.terms
        return self._within(terms, sum(part.bits for part in parts))

    def power(self, base: _Size, exponent: int) -> _Size | None:
        """As a product of so many."""
        return self._within(base.terms**exponent, base.bits * exponent) if exponent > 0 else None

    def _within(self, terms: int, length: int) -> _Size | None:
        extra = terms * (length // self.limits.bits_a_term)
        return _Size(terms, length) if self.affordable(terms, extra) else None


def expand_over_q(
    graph: Graph, roots: Sequence[Node], variables: Sequence[Node], limits: ExpansionLimits = IDENTITY_LIMITS
) -> list[flint.fmpq_mpoly] | None:
    """Expanded polynomials of ``roots`` over Q in ``variables``, or ``None`` where that would be too large.

    Every other symbol must have been replaced before. The sizes are bounded in advance by products of term counts, and
    by the bits of coefficients.
    """
    if not limits.allows(len(variables)):
        return None
    if _expanded(graph, roots, _SizeOverQ(limits), dict.fromkeys(variables, _Size(1, 1))) is None:
        return None
    context = _context(len(variables))
    return _expanded(graph, roots, _OverQ(context, limits), dict(zip(variables, context.gens(), strict=False)))


def term_nodes(graph: Graph, polynomial: flint.fmpq_mpoly, variables: Sequence[Node]) -> list[Node]:
    """The terms of a polynomial over Q as nodes; their sum is the polynomial."""
    return [
        graph.mul(
            (
                graph.number(fraction(coefficient)),
                *(graph.pow(x, graph.number(int(e))) for x, e in zip(variables, exponents, strict=False) if e),
            )
        )
        for exponents, coefficient in polynomial.terms()
    ]


# -- quotients ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quotient(Generic[P]):
    """top / bottom, polynomials; bottom is not 0."""

    top: P
    bottom: P


class _Quotients(_Ring[Quotient[P]]):
    """Quotients of polynomials that can be added and multiplied."""

    def __init__(
        self, one: P, added: Callable[[P, P], P | None], multiplied: Callable[[P, P], P | None], limits: ExpansionLimits
    ) -> None:
        super().__init__(limits)
        self.one = one
        self._added = added
        self._multiplied = multiplied

    def reduced(self, top: P, bottom: P) -> Quotient[P] | None:
        """The quotient, in lowest terms where the polynomials have greatest common divisors."""
        return Quotient(top, bottom)

    def plus(self, parts: Sequence[Quotient[P]]) -> Quotient[P] | None:
        return _folded(self._plus, parts)

    def times(self, parts: Sequence[Quotient[P]]) -> Quotient[P] | None:
        return _folded(self._times, parts)

    def over(self, left: Quotient[P], right: Quotient[P]) -> Quotient[P] | None:
        """left / right, ``None`` if that divides by 0."""
        return self._times(left, Quotient(right.bottom, right.top)) if len(right.top) else None

    def power(self, base: Quotient[P], exponent: int) -> Quotient[P] | None:
        """An integer power, ``None`` if that divides by 0."""
        if exponent < 0:
            if not len(base.top):
                return None
            base, exponent = Quotient(base.bottom, base.top), -exponent
        return self.times([Quotient(self.one, self.one), *[base] * exponent])

    def _plus(self, a: Quotient[P], b: Quotient[P]) -> Quotient[P] | None:
        if a.bottom == b.bottom:
            return self._of(self._added(a.top, b.top), a.bottom)
        if not self.affordable(len(a.top) * len(b.bottom) + len(b.top) * len(a.bottom)):
            return None
        left, right = self._multiplied(a.top, b.bottom), self._multiplied(b.top, a.bottom)
        total = None if left is None or right is None else self._added(left, right)
        return self._of(total, self._multiplied(a.bottom, b.bottom))

    def _times(self, a: Quotient[P], b: Quotient[P]) -> Quotient[P] | None:
        if not self.affordable(max(len(a.top) * len(b.top), len(a.bottom) * len(b.bottom))):
            return None
        return self._of(self._multiplied(a.top, b.top), self._multiplied(a.bottom, b.bottom))

    def _of(self, top: P | None, bottom: P | None) -> Quotient[P] | None:
        return None if top is None or bottom is None else self.reduced(top, bottom)


class RationalFunctions(_Quotients[flint.fmpq_mpoly]):
    """Quotients over Q in lowest terms, in the atoms of some expressions.

    Whatever is no rational operation (functions, powers with other exponents, named constants) is an atom, a further
    variable.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Their atoms become the variables.
    limits : ExpansionLimits
    """

    def __init__(self, graph: Graph, roots: Sequence[Node], limits: ExpansionLimits = _LOWEST_TERMS) -> None:
        self.graph = graph
        self.limits = limits
        self._known: dict[Node, Quotient[flint.fmpq_mpoly] | None] = {}
        self.atoms: tuple[Node, ...] = tuple(sorted(filter(self._is_atom, self._open_below(roots))))
        """In the order of the variables."""
        self.fits = limits.allows(len(self.atoms))
        self._place = {node: i for i, node in enumerate(self.atoms)}
        self._context = _context(len(self.atoms))
        super().__init__(self._context.constant(1), add, mul, limits)
        for node, variable in zip(self.atoms, self._context.gens(), strict=False):
            self._known[node] = Quotient(variable, self.one)

    def of(self, root: Node) -> Quotient[flint.fmpq_mpoly] | None:
        """``root`` in lowest terms; ``None`` if that is too large, or if it divides by 0."""
        if not self.fits:
            return None
        for node in sorted(self._open_below([root])):
            self._known[node] = _value(self.graph, node, self, self._known)
        return self._known[root]

    def variable(self, node: Node) -> flint.fmpq_mpoly:
        """The polynomial that is the atom ``node``."""
        quotient = self._known[node]
        assert quotient is not None
        return quotient.top

    def has(self, node: Node) -> bool:
        """Whether ``node`` is one of the atoms."""
        return node in self._place

    def place(self, node: Node) -> int:
        """Position of an atom among the variables."""
        return self._place[node]

    def _is_atom(self, node: Node) -> bool:
        op = self.graph.op(node)
        if op in (Op.NUMBER, Op.ADD, Op.MUL, Op.DIV):
            return False
        if op is Op.POW:
            exponent = self.graph.number_of(self.graph.args(node)[1])
            return exponent is None or exponent.denominator != 1 or abs(exponent) > self.limits.exponent
        return True

    def _open_below(self, roots: Sequence[Node]) -> set[Node]:
        """Nodes below ``roots`` without a value, not looking into atoms."""
        seen: set[Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in seen and node not in self._known:
                seen.add(node)
                stack.extend(() if self._is_atom(node) else self.graph.args(node))
        return seen

    # -- the ring ------------------------------------------------------------------------------------

    def number(self, value: Fraction) -> Quotient[flint.fmpq_mpoly]:
        """A rational number."""
        return Quotient(self._context.constant(of_fraction(value)), self.one)

    def reduced(self, top: flint.fmpq_mpoly, bottom: flint.fmpq_mpoly) -> Quotient[flint.fmpq_mpoly] | None:
        """In lowest terms, a constant denominator 1; ``None`` if coefficients become too long."""
        if top == 0:
            return Quotient(top, self.one)
        common = top.gcd(bottom)
        if common != 1:
            top, bottom = top // common, bottom // common
        if bottom.is_constant():
            top, bottom = top / bottom.leading_coefficient(), self.one
        # a square of a square of a number is one term of any length
        longest = max(bits(fraction(part.leading_coefficient())) for part in (top, bottom))
        return None if longest > MAX_BITS else Quotient(top, bottom)

    # -- back ----------------------------------------------------------------------------------------

    def node(self, quotient: Quotient[flint.fmpq_mpoly]) -> Node:
        """As a node, both parts factored where they are small; the denominator gets coprime integer coefficients."""
        scale = _content(quotient.bottom)
        return self.graph.div(self.polynomial_node(quotient.top / scale), self.polynomial_node(quotient.bottom / scale))

    def polynomial_node(self, polynomial: flint.fmpq_mpoly) -> Node:
        """A polynomial as a node."""
        graph = self.graph
        if polynomial == 0:
            return graph.number(0)
        if len(polynomial) == 1 or len(polynomial) > self.limits.factored_terms:
            return self._sum(polynomial)
        content, factors = polynomial.factor()
        scale = fraction(content)
        parts: list[Node] = []
        for factor, exponent in factors:
            leading = _content(factor)
            scale *= fraction(leading) ** int(exponent)
            parts.append(graph.pow(self._sum(factor / leading), graph.number(int(exponent))))
        return graph.mul((graph.number(scale), *parts))

    def _sum(self, polynomial: flint.fmpq_mpoly) -> Node:
        # positive terms first reads better
        terms = term_nodes(self.graph, polynomial, self.atoms)
        return self.graph.add(sorted(terms, key=lambda node: _is_negative(self.graph, node)))


def _content(polynomial: flint.fmpq_mpoly) -> flint.fmpq:
    """The rational that leaves coprime integer coefficients, most of them positive, when divided by."""
    coefficients = [fraction(coefficient) for coefficient in polynomial.coeffs()]
    negative = sum(value < 0 for value in coefficients)
    sign = -1 if 2 * negative > len(coefficients) or (2 * negative == len(coefficients) and coefficients[0] < 0) else 1
    return of_fraction(sign * content(coefficients))


def _is_negative(graph: Graph, node: Node) -> bool:
    number = graph.number_of(node) if graph.op(node) is not Op.MUL else graph.number_of(graph.args(node)[0])
    return number is not None and number < 0


def in_lowest_terms(graph: Graph, root: Node) -> Node:
    """``root`` as a quotient of factored polynomials without common factors; as it was where that is too large."""
    functions = RationalFunctions(graph, [root])
    quotient = functions.of(root)
    return root if quotient is None else functions.node(quotient)


def simplified(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """Each root in lowest terms where it is small enough and that makes it shorter, else as it was."""
    result: list[Node] = []
    for root in roots:
        new = in_lowest_terms(graph, root)
        result.append(new if _length(graph, new) <= _length(graph, root) else root)
    return result


def _length(graph: Graph, root: Node) -> int:
    """Number of operations and operands of the written-out expression, capped."""
    length: dict[Node, int] = {}
    for node in graph.reachable([root]):
        length[node] = min(10**9, 1 + sum(length[arg] for arg in graph.args(node)))
    return length[root]


# -- one unknown, everything else in the coefficients ------------------------------------------------


class _InOneUnknown(_Quotients[dict[Monomial, Node]]):
    """Quotients of polynomials in one unknown, not in lowest terms; coefficients are expressions as they come."""

    def __init__(self, graph: Graph, limits: ExpansionLimits) -> None:
        self.graph = graph
        self._polynomials = _Sparse(
            _Coefficients(graph.add, lambda a, b: graph.mul((a, b)), graph.div, lambda _: False), limits
        )
        super().__init__({(): graph.number(1)}, self._sum, self._product, limits)

    def number(self, value: Fraction) -> Quotient[dict[Monomial, Node]] | None:
        """Numbers do not vary: they are given."""
        return None

    def _sum(self, left: dict[Monomial, Node], right: dict[Monomial, Node]) -> dict[Monomial, Node] | None:
        # terms of the polynomial of higher degree come first
        return self._rising((left, right) if _degree(left) >= _degree(right) else (right, left), self._polynomials.plus)

    def _product(self, left: dict[Monomial, Node], right: dict[Monomial, Node]) -> dict[Monomial, Node] | None:
        return self._rising((left, right), self._polynomials.times)

    def _rising(
        self,
        parts: Sequence[dict[Monomial, Node]],
        operation: Callable[[Sequence[dict[Monomial, Node]]], dict[Monomial, Node] | None],
    ) -> dict[Monomial, Node] | None:
        terms = operation(parts)
        return None if terms is None else dict(sorted(terms.items()))

    def other(
        self, node: Node, parts: Sequence[Quotient[dict[Monomial, Node]]]
    ) -> Quotient[dict[Monomial, Node]] | None:
        """A piecewise whose conditions do not hold the unknown: coefficients become piecewise."""
        graph = self.graph
        if graph.op(node) is not Op.PIECEWISE:
            return None
        conditions = graph.args(node)[1::2]
        if any(set(part.top) != {()} for part in parts[1::2]) or any(part.bottom != self.one for part in parts):
            return None
        values = [part.top for part in (*parts[:-1:2], parts[-1])]
        zero = graph.number(0)
        chosen: dict[Monomial, Node] = {}
        for monomial in sorted({monomial for value in values for monomial in value}):
            *first, last = (value.get(monomial, zero) for value in values)
            chosen[monomial] = graph.piecewise(zip(first, conditions, strict=True), last)
        return Quotient(chosen, self.one)


def root_of_linear(graph: Graph, equation: Node, unknown: Node, limits: ExpansionLimits = _ONE_UNKNOWN) -> Node | None:
    """The value of ``unknown`` that makes ``equation`` 0, if the equation is of degree 1 in it, else ``None``.

    Rational expressions and piecewise ones are opened; the equation may be multiplied by a denominator for that.
    """
    one = graph.number(1)
    ring = _InOneUnknown(graph, limits)
    fixed = _fixed(graph, [equation], lambda node: node == unknown)
    known: dict[Node, Quotient[dict[Monomial, Node]]] = {node: Quotient({(): node}, ring.one) for node in fixed}
    known[unknown] = Quotient({((graph.name(unknown), 1),): one}, ring.one)
    quotients = _expanded(graph, [equation], ring, known)
    if quotients is None:
        return None
    terms = {
        sum(exponent for _, exponent in monomial): like_terms_collected(graph, coefficient)
        for monomial, coefficient in quotients[0].top.items()
    }
    degree = max((exponent for exponent, node in terms.items() if graph.number_of(node) != 0), default=0)
    if degree != 1:
        return None
    constant = terms.get(0, graph.number(0))
    return like_terms_collected(graph, graph.div(graph.neg(constant), terms[1]))


def like_terms_collected(graph: Graph, node: Node, most_sums: int = 1_000) -> Node:
    """A sum with like terms collected, so that what cancels is gone; at most so many sums within sums are opened."""
    return graph.from_terms(graph.linear_terms(node, most_sums))


# -- monomials as nodes ------------------------------------------------------------------------------


def monomial_node(graph: Graph, monomial: Monomial) -> Node:
    """The monomial as a node."""
    return graph.mul(graph.pow(graph.symbol(name), graph.number(exponent)) for name, exponent in monomial)


def polynomial_node(graph: Graph, terms: Mapping[Monomial, Node]) -> Node:
    """The inverse of :func:`expand`."""
    return graph.add(graph.mul((value, monomial_node(graph, monomial))) for monomial, value in terms.items())
