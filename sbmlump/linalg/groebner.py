"""Lexicographic Gröbner bases of polynomials in a few unknowns, over the rational functions of all other variables.

Coefficients are polynomials in the other variables, without common content, so that nothing is ever divided that does
not go in: what FLINT is quick at. FLINT's own algorithm (``buchberger_naive``) has whole numbers as coefficients; over
these the other variables are unknowns as well, with S-polynomials between their powers that are of no use here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import flint

__all__ = ["BasisLimits", "groebner_basis"]


@dataclass(frozen=True, slots=True)
class BasisLimits:
    """Where the search for a basis ends without one. Sizes, not clocks: the same result on every machine.

    Attributes
    ----------
    pairs : int
        S-polynomials that are reduced: two equations of degree two in two unknowns take about five, and what takes
        more than a few dozen has roots of a degree that has no closed form.
    terms : int
        Of a polynomial, those of its coefficients counted: longer ones have no reader.
    """

    pairs: int = 200
    terms: int = 5_000


Exponents = tuple[int, ...]


class _TooLargeError(Exception):
    """A limit was met."""


class _Basis:
    """Buchberger's algorithm.

    Every polynomial is a table from exponents of the unknowns to coefficients in the other variables.
    """

    def __init__(self, context: flint.fmpq_mpoly_ctx, places: Sequence[int], limits: BasisLimits) -> None:
        self._context = context
        self._places = places
        self._limits = limits
        self.members: list[dict[Exponents, flint.fmpq_mpoly]] = []

    def table(self, polynomial: flint.fmpq_mpoly) -> dict[Exponents, flint.fmpq_mpoly]:
        """Coefficients by the exponents of the unknowns."""
        parts: dict[Exponents, dict[Exponents, flint.fmpq]] = {}
        for exponents, coefficient in polynomial.terms():
            key = tuple(int(exponents[place]) for place in self._places)
            other = tuple(0 if i in self._places else int(e) for i, e in enumerate(exponents))
            parts.setdefault(key, {})[other] = coefficient
        return {key: self._context.from_dict(part) for key, part in parts.items()}

    def polynomial(self, table: dict[Exponents, flint.fmpq_mpoly]) -> flint.fmpq_mpoly:
        """The polynomial of a table."""
        total = self._context.from_dict({})
        for key, coefficient in table.items():
            exponents = [0] * self._context.nvars()
            for place, exponent in zip(self._places, key, strict=True):
                exponents[place] = exponent
            total += coefficient * self._context.from_dict({tuple(exponents): flint.fmpq(1)})
        return total

    def close(self, start: Sequence[flint.fmpq_mpoly]) -> None:
        """Add what S-polynomials leave, the lowest first."""
        for polynomial in start:
            self._add(self.table(polynomial))
        waiting = list(self._pairs(0))
        done = 0
        while waiting:
            waiting.sort(key=lambda pair: _lcm(*(max(self.members[k]) for k in pair)), reverse=True)
            i, j = waiting.pop()
            done += 1
            if done > self._limits.pairs:
                raise _TooLargeError
            before = len(self.members)
            self._add(self._s_polynomial(self.members[i], self.members[j]))
            waiting += self._pairs(before)

    def _pairs(self, first: int) -> Iterator[tuple[int, int]]:
        """Pairs with members from ``first`` on, but for those with coprime leading terms, which leave nothing."""
        leads = [max(member) for member in self.members]
        for j in range(first, len(leads)):
            for i in range(j):
                if any(a and b for a, b in zip(leads[i], leads[j], strict=True)):
                    yield i, j

    def _add(self, table: dict[Exponents, flint.fmpq_mpoly]) -> None:
        rest = self.reduced(table, self.members)
        if rest:
            self.members.append(rest)

    def _s_polynomial(
        self, a: dict[Exponents, flint.fmpq_mpoly], b: dict[Exponents, flint.fmpq_mpoly]
    ) -> dict[Exponents, flint.fmpq_mpoly]:
        top = _lcm(max(a), max(b))
        common = a[max(a)].gcd(b[max(b)])
        return _difference(b[max(b)] // common, _over(top, max(a)), a, a[max(a)] // common, _over(top, max(b)), b)

    def reduced(
        self, table: dict[Exponents, flint.fmpq_mpoly], by: Sequence[dict[Exponents, flint.fmpq_mpoly]]
    ) -> dict[Exponents, flint.fmpq_mpoly]:
        """What is left modulo the others: no term that a leading term divides, no content."""
        table = _primitive(table)
        leads = [(max(member), member) for member in by]
        below: Exponents | None = None  # terms above are reduced
        while True:
            open_terms = sorted((key for key in table if below is None or key < below), reverse=True)
            step = next(
                ((key, lead, member) for key in open_terms for lead, member in leads if _divides(lead, key)), None
            )
            if step is None:
                return table
            key, lead, member = step
            common = table[key].gcd(member[lead])
            zero = (0,) * len(key)
            table = _difference(member[lead] // common, zero, table, table[key] // common, _over(key, lead), member)
            if sum(map(len, table.values())) > self._limits.terms:
                raise _TooLargeError
            table = _primitive(table)
            below = key


def _difference(
    a: flint.fmpq_mpoly,
    up: Exponents,
    first: dict[Exponents, flint.fmpq_mpoly],
    b: flint.fmpq_mpoly,
    other_up: Exponents,
    second: dict[Exponents, flint.fmpq_mpoly],
) -> dict[Exponents, flint.fmpq_mpoly]:
    """a·z^up·first − b·z^other_up·second."""
    total = {_times(up, key): a * value for key, value in first.items()}
    for key, value in second.items():
        place = _times(other_up, key)
        rest = total[place] - b * value if place in total else -(b * value)
        if rest == 0:
            total.pop(place, None)
        else:
            total[place] = rest
    return total


def _primitive(table: dict[Exponents, flint.fmpq_mpoly]) -> dict[Exponents, flint.fmpq_mpoly]:
    """Without the common factor of all coefficients, the leading one with 1 in front."""
    if not table:
        return table
    common = reduce(lambda x, y: x.gcd(y), table.values())
    common *= (table[max(table)] // common).leading_coefficient()
    return {key: value // common for key, value in table.items()}


def _times(a: Exponents, b: Exponents) -> Exponents:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _over(a: Exponents, b: Exponents) -> Exponents:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _lcm(a: Exponents, b: Exponents) -> Exponents:
    return tuple(map(max, a, b))


def _divides(a: Exponents, b: Exponents) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))


def groebner_basis(
    polynomials: Sequence[flint.fmpq_mpoly], places: Sequence[int], limits: BasisLimits = BasisLimits()
) -> list[flint.fmpq_mpoly] | None:
    """The reduced lexicographic basis over the rational functions of the other variables, without denominators.

    Parameters
    ----------
    polynomials : sequence of fmpq_mpoly
        Of one context.
    places : sequence of int
        Of the unknowns among the variables of the context, the first one to be eliminated first.
    limits : BasisLimits

    Returns
    -------
    list of fmpq_mpoly or None
        The highest leading term first. ``None`` if there are infinitely many solutions, none, or a limit is met.

    References
    ----------
    Buchberger, doi 10.1016/j.jsc.2005.09.007 (translation of the thesis of 1965).
    """
    basis = _Basis(polynomials[0].context(), tuple(places), limits)
    try:
        basis.close(polynomials)
        leads = [max(member) for member in basis.members]
        minimal = [
            member
            for k, member in enumerate(basis.members)
            if not any(
                _divides(lead, leads[k]) and (lead != leads[k] or i < k) for i, lead in enumerate(leads) if i != k
            )
        ]
        least = [basis.reduced(member, [one for one in minimal if one is not member]) for member in minimal]
    except _TooLargeError:
        return None
    # a power of each unknown alone leads: finitely many solutions
    alone = {k for member in least for k in range(len(places)) if sum(map(bool, max(member))) == 1 and max(member)[k]}
    if len(alone) < len(places):
        return None
    return [basis.polynomial(member) for member in sorted(least, key=max, reverse=True)]
