"""Symbolic solution of the algebraic equations of a time-scale approximation.

Equations 0 = F(z; y) are solved for the unknowns z over the field of rational functions of everything else: unknown
by unknown, each from an equation that is linear in it, the result put into the others. That solves linear systems
(by elimination without fractions, since every step is brought to lowest terms) and those non-linear ones in
which the unknowns follow from each other. What is left at the end may be one equation of degree two in one unknown,
whose root is chosen by its sign. Everything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import flint

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.linalg.groebner import BasisLimits, groebner_basis
from sbmlump.linalg.polynomial import Quotient, RationalFunctions
from sbmlump.model.graph import Graph, Node

__all__ = ["Branch", "Solution", "SolveSettings", "solve"]


_CODE: Final = "no-closed-form"
_Quotient = Quotient[flint.fmpq_mpoly]
Chooser = Callable[[str, Node, Node], tuple[bool, bool, str]]


@dataclass(frozen=True, slots=True)
class SolveSettings:
    """How far a closed form is looked for.

    Attributes
    ----------
    unknowns : int
    terms : int
        That putting one expression into another may give, before like terms are collected.
    groebner_symbols : mapping of int to int
        For so many coupled unknowns, the symbols beside them up to which a Gröbner basis is computed: with more its
        coefficients have no reader.
    groebner_terms : int
        Of one of its equations.
    groebner : BasisLimits
        Where its computation ends.
    """

    unknowns: int = 40
    terms: int = 20_000
    groebner_symbols: Mapping[int, int] = field(default_factory=lambda: {2: 10, 3: 0})
    groebner_terms: int = 40
    groebner: BasisLimits = field(default_factory=BasisLimits)


_SETTINGS: Final = SolveSettings()


@dataclass(frozen=True, slots=True)
class Branch:
    """A root of a quadratic equation that was chosen, and why."""

    unknown: str
    why: str


@dataclass(frozen=True)
class Solution:
    """Unknowns as expressions of everything else.

    Attributes
    ----------
    values : mapping of str to Node
    branches : tuple of Branch
        Empty where the solution is rational.
    """

    values: Mapping[str, Node]
    branches: tuple[Branch, ...] = field(default=())


def solve(
    graph: Graph,
    equations: Sequence[Node],
    unknowns: Sequence[str],
    choose: Chooser,
    *,
    positive: Collection[str] = (),
    defined: Callable[[Node], bool] = lambda _: True,
    settings: SolveSettings = _SETTINGS,
) -> Solution:
    """Solve 0 = equations for ``unknowns``.

    Where there is a choice, an unknown is taken from an equation in which its coefficient cannot vanish, A = total − C
    rather than A = K·C/B: the second has no value where B and C are 0. Only where that leads to no closed form is
    the order taken that keeps the expressions shortest.

    Parameters
    ----------
    equations : sequence of Node
        As many as unknowns.
    positive : collection of str
        Symbols whose values are positive; of all others no more is supposed than that they are not negative.
    defined : callable (root) → bool
        Whether a root, written in one way, has finite values where it is needed; else it is written in the other way.
    settings : SolveSettings
    choose : callable (unknown, root with +, root with −) → (plus, smaller, why)
        Asked where a quadratic equation is left; the roots are expressions of what is known. It says whether to
        take the root with +, whether that is the smaller one in magnitude, and why.

    Raises
    ------
    UnsupportedModelError
        ``no-closed-form`` if the equations are not rational in the unknowns, or of a higher degree;
        ``singular-fast-system`` if they do not determine the unknowns.
    """
    if len(unknowns) > settings.unknowns:
        raise _refusal(unknowns, f"there are more than {settings.unknowns} of them")
    for name in unknowns:
        _check_rational(graph, equations, name, unknowns)
    known = frozenset(graph.symbol(name) for name in positive)
    try:
        return _Solver(graph, equations, unknowns, known, defined, settings).run(choose)
    except UnsupportedModelError:
        return _Solver(graph, equations, unknowns, None, defined, settings).run(choose)


def _refusal(unknowns: Sequence[str], why: str) -> UnsupportedModelError:
    listed = ", ".join(unknowns[:6])
    message = (
        f"the equations of the fast quantities {listed} cannot be solved for them: {why}; SBML has no place for "
        "implicit equations that simulators agree on, so choose other fast quantities"
    )
    return UnsupportedModelError(Reason(_CODE, message, unknowns[0] if unknowns else None))


def _check_rational(graph: Graph, equations: Sequence[Node], name: str, unknowns: Sequence[str]) -> None:
    fractions = RationalFunctions(graph, equations)
    symbol = graph.symbol(name)
    for equation in equations:
        for atom in graph.reachable([equation]):
            if fractions.has(atom) and atom != symbol and name in graph.symbols([atom]):
                raise _refusal(unknowns, f"{name} stands inside a function")


class _Solver:
    """Elimination over quotients of polynomials.

    ``positive`` are the nodes that cannot vanish; ``None`` if it does not matter what is divided by.
    """

    def __init__(
        self,
        graph: Graph,
        equations: Sequence[Node],
        unknowns: Sequence[str],
        positive: AbstractSet[Node] | None,
        defined: Callable[[Node], bool],
        settings: SolveSettings,
    ) -> None:
        self._settings = settings
        self._graph = graph
        self._defined = defined
        self._positive = positive
        self._unknowns = list(unknowns)
        self._fractions = RationalFunctions(graph, [*equations, *(graph.symbol(name) for name in unknowns)])
        if not self._fractions.fits:
            raise _refusal(unknowns, "they involve too many symbols")
        self._open: list[flint.fmpq_mpoly] = []
        for equation in equations:
            quotient = self._fractions.of(equation)
            if quotient is None:
                raise _refusal(unknowns, "the expressions are too large")
            self._open.append(quotient.top)
        self._solved: list[tuple[str, _Quotient]] = []

    def run(self, choose: Chooser) -> Solution:
        """Unknown by unknown."""
        rest = list(self._unknowns)
        while rest:
            pick = self._linear_pick(rest)
            if pick is None:
                break
            equation, name = pick
            self._eliminate(equation, name)
            rest.remove(name)
        self._open = [polynomial for polynomial in self._open if polynomial != 0]
        if rest:
            return self._with_roots(rest, choose)
        return Solution(self._back({}))

    # -- linear steps --------------------------------------------------------------------------------

    def _linear_pick(self, rest: Sequence[str]) -> tuple[int, str] | None:
        """The equation and unknown, linear in it, that are cheapest to use; the coefficient must not be 0."""
        best: tuple[tuple[bool, int, int, int], int, str] | None = None
        for i, polynomial in enumerate(self._open):
            if polynomial == 0:
                continue
            degrees = polynomial.degrees()
            for order, name in enumerate(rest):
                if int(degrees[self._place(name)]) != 1:
                    continue
                slope = polynomial.derivative(self._place(name))
                mixed = sum(int(slope.degrees()[self._place(other)]) for other in rest)
                cost = (self._may_vanish(slope), mixed, len(slope) * len(polynomial), order)
                if best is None or cost < best[0]:
                    best = (cost, i, name)
        return None if best is None else best[1:]

    def _may_vanish(self, slope: flint.fmpq_mpoly) -> bool:
        """Whether a coefficient may be 0 although no quantity is negative: it is no sum that holds a positive term."""
        if self._positive is None or slope.is_constant():
            return False
        if len({int(c.p) > 0 for c in slope.coeffs()}) > 1:
            return True
        zero_able = [i for i, atom in enumerate(self._fractions.atoms) if atom not in self._positive]
        return not any(not any(exponents[i] for i in zero_able) for exponents in slope.monoms())

    def _place(self, name: str) -> int:
        return self._fractions.place(self._graph.symbol(name))

    def _eliminate(self, equation: int, name: str) -> None:
        """z = −rest/slope from one equation, put into the others (numerators only)."""
        polynomial = self._open.pop(equation)
        place = self._place(name)
        slope = polynomial.derivative(place)
        rest = polynomial - slope * self._fractions.variable(self._graph.symbol(name))
        self._solved.append((name, self._lowest(-rest, slope)))
        _, value = self._solved[-1]
        self._open = [self._put(other, place, value) for other in self._open]

    def _lowest(self, top: flint.fmpq_mpoly, bottom: flint.fmpq_mpoly) -> _Quotient:
        if top == 0:
            return self._fractions.number(Fraction(0))
        common = top.gcd(bottom)
        return Quotient(top // common, bottom // common)

    def _put(self, polynomial: flint.fmpq_mpoly, place: int, value: _Quotient) -> flint.fmpq_mpoly:
        """Numerator of the polynomial with the variable replaced, without the content that the denominators leave."""
        degree = int(polynomial.degrees()[place]) if polynomial != 0 else 0
        if not degree:
            return polynomial
        total = polynomial * 0
        for power, coefficient in enumerate(_coefficients(polynomial, place, degree)):
            size = len(coefficient) * max(1, len(value.top)) ** power * max(1, len(value.bottom)) ** (degree - power)
            if size > self._settings.terms:
                raise _refusal(self._unknowns, "the expressions become too large")
            total += coefficient * value.top**power * value.bottom ** (degree - power)
        return _without(total, value.bottom)

    # -- what is left --------------------------------------------------------------------------------

    def _with_roots(self, rest: Sequence[str], choose: Chooser) -> Solution:
        if len(self._open) < len(rest):
            message = (
                f"the equations of the fast quantities do not determine {', '.join(rest[:6])}; a total of them is "
                "conserved or they do not move: choose other fast quantities"
            )
            raise UnsupportedModelError(Reason("singular-fast-system", message, rest[0]))
        if len(rest) > 1:
            return self._by_groebner(rest, choose)
        (name,) = rest
        polynomial = self._relevant_factor(self._open[0], name)
        degree = int(polynomial.degrees()[self._place(name)])
        if degree != 2:
            raise _refusal(self._unknowns, f"an equation of degree {degree} in {name} remains")
        node, why = self._quadratic(polynomial, name, choose)
        return Solution(self._back({name: node}), (Branch(name, why),))

    def _relevant_factor(self, polynomial: flint.fmpq_mpoly, name: str) -> flint.fmpq_mpoly:
        """Without factors that do not hold the unknown, and without the factor that is the unknown itself.

        The root 0 belongs to the state in which nothing of it is there; it is never the attracting one while it is fed.
        """
        place = self._place(name)
        _, factors = polynomial.factor()
        wanted = [factor for factor, _ in factors if int(factor.degrees()[place]) > 0]
        symbol = self._fractions.variable(self._graph.symbol(name))
        inner = [factor for factor in wanted if factor != symbol and -factor != symbol]
        wanted = inner or wanted
        if len(wanted) != 1:
            raise _refusal(self._unknowns, f"the equation of {name} has several families of roots")
        return wanted[0]

    def _quadratic(self, polynomial: flint.fmpq_mpoly, name: str, choose: Chooser) -> tuple[Node, str]:
        graph = self._graph
        c, b, a = (self._fractions.polynomial_node(part) for part in _coefficients(polynomial, self._place(name), 2))
        root = graph.pow(
            graph.sub(graph.pow(b, graph.number(2)), graph.mul((graph.number(4), a, c))), graph.number(Fraction(1, 2))
        )
        below = graph.scaled(2, a)
        plus = graph.div(graph.sub(root, b), below)
        minus = graph.div(graph.neg(graph.add((b, root))), below)
        take_plus, smaller, why = choose(name, plus, minus)
        plain = plus if take_plus else minus
        # 2c/(−b ∓ √) is the same number as (−b ± √)/2a, but the smaller root loses no digits to a difference
        below = graph.neg(graph.add((b, root))) if take_plus else graph.sub(root, b)
        other = graph.div(graph.scaled(2, c), below)
        forms = (other, plain) if smaller else (plain, other)
        # one of them is 0/0 where c (or a) is 0 and b has the other sign
        return next((form for form in forms if self._defined(form)), forms[0]), why

    def _by_groebner(self, rest: Sequence[str], choose: Chooser) -> Solution:
        """A lexicographic Gröbner basis that is triangular with linear and at most one quadratic polynomial."""
        places = {self._place(name) for name in rest}
        others = {
            place for p in self._open for place, degree in enumerate(p.degrees()) if int(degree) and place not in places
        }
        settings = self._settings
        too_many = len(others) > settings.groebner_symbols.get(len(rest), -1)
        if too_many or max(len(p) for p in self._open) > settings.groebner_terms:
            raise _refusal(self._unknowns, f"{len(rest)} coupled non-linear equations remain")
        triangular = groebner_basis(self._open, [self._place(name) for name in rest], settings.groebner)
        if triangular is None:
            raise _refusal(self._unknowns, f"{len(rest)} coupled non-linear equations remain")
        self._open = triangular
        left = list(rest)
        while left:
            pick = self._linear_pick(left)
            if pick is None:
                break
            self._eliminate(*pick)
            left.remove(pick[1])
        if len(left) != 1:
            raise _refusal(self._unknowns, f"{len(rest)} coupled non-linear equations remain")
        self._open = [polynomial for polynomial in self._open if polynomial != 0]
        return self._with_roots(left, choose)

    def _back(self, known: Mapping[str, Node]) -> dict[str, Node]:
        """Expressions free of unknowns, the last one solved first."""
        graph = self._graph
        values = dict(known)
        symbols = {name: graph.symbol(name) for name in self._unknowns}
        rational: dict[str, _Quotient] = {}
        for name, quotient in reversed(self._solved):
            # one that was too large has no quotient; what mentions it has to take its expression
            rational_so_far = not known and all(n in rational for n in values if self._mentions(quotient, n))
            combined = self._substituted(quotient, rational) if rational_so_far else None
            if combined is not None:
                rational[name] = combined
                values[name] = self._fractions.node(combined)
                continue
            mapping = {symbols[other]: node for other, node in values.items()}
            values[name] = graph.substitute([self._fractions.node(quotient)], mapping)[0]
        return {name: values[name] for name in self._unknowns}

    def _mentions(self, quotient: _Quotient, name: str) -> bool:
        place = self._place(name)
        return any(part != 0 and int(part.degrees()[place]) > 0 for part in (quotient.top, quotient.bottom))

    def _substituted(self, quotient: _Quotient, known: Mapping[str, _Quotient]) -> _Quotient | None:
        """With the unknowns found so far replaced, in lowest terms; ``None`` if that is too large."""
        result: list[_Quotient] = []
        for polynomial in (quotient.top, quotient.bottom):
            part: _Quotient | None = Quotient(polynomial, self._fractions.one)
            for name, value in known.items():
                place = self._place(name)
                if part is None or part.top == 0 or not int(part.top.degrees()[place]):
                    continue
                degree = int(part.top.degrees()[place])
                total: _Quotient | None = self._fractions.number(Fraction(0))
                for power, coefficient in enumerate(_coefficients(part.top, place, degree)):
                    term: _Quotient | None = self._fractions.power(value, power)
                    term = None if term is None else self._fractions.times((Quotient(coefficient, part.bottom), term))
                    total = None if total is None or term is None else self._fractions.plus((total, term))
                part = total
            if part is None:
                return None
            result.append(part)
        return self._fractions.over(result[0], result[1])


def _coefficients(polynomial: flint.fmpq_mpoly, place: int, degree: int) -> list[flint.fmpq_mpoly]:
    """Coefficients of the powers 0 … degree of one variable."""
    context = polynomial.context()
    parts: list[dict[tuple[int, ...], flint.fmpq]] = [{} for _ in range(degree + 1)]
    for exponents, coefficient in polynomial.terms():
        power = int(exponents[place])
        key = tuple(0 if i == place else int(e) for i, e in enumerate(exponents))
        parts[power][key] = coefficient
    return [context.from_dict(part) for part in parts]


def _without(polynomial: flint.fmpq_mpoly, divisor: flint.fmpq_mpoly) -> flint.fmpq_mpoly:
    """The polynomial without factors that came in with a denominator."""
    while polynomial != 0 and not divisor.is_constant():
        common = polynomial.gcd(divisor)
        if common.is_constant():
            break
        polynomial = polynomial // common
    return polynomial
