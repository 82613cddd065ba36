"""Linear algebra over GF(p) and the way back to Q.

Rows of a space are int64 residues in reduced row echelon form. Matrix products go through float64 BLAS on halves of
16 bits, which is exact and an order of magnitude faster than integer products.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import cache
from math import isqrt, prod

import numpy as np
from threadpoolctl import ThreadpoolController

from sbmlump.arrays import Indices
from sbmlump.model.sparse import SparseMatrix

__all__ = [
    "Confirmed",
    "RowSpace",
    "SparseResidues",
    "combined_residues",
    "has_residues",
    "matmul_mod",
    "rational_from_residue",
    "rows_from_residues",
    "single_threaded",
]


Residues = Indices


def matmul_mod(a: Residues, b: Residues, prime: int, least_terms: int = 64) -> Residues:
    """a @ b modulo ``prime``, exact, entries in [0, p).

    Doubles hold integers up to 2^53: primes of 23 bits take one BLAS product for every 128 inner indices, longer ones
    are split into halves of 16 bits, and so is what would take a product for fewer than ``least_terms`` inner indices:
    the split is faster there.
    """
    terms = (1 << 53) // (prime * prime)
    if terms >= least_terms:
        left, right = a.astype(np.float64), b.astype(np.float64)
        total = np.zeros((a.shape[0], b.shape[1]), dtype=np.int64)
        for low in range(0, a.shape[1], terms):
            total += (left[:, low : low + terms] @ right[low : low + terms]).astype(np.int64) % prime
        return np.asarray(total % prime)
    inner = a.shape[1]
    if inner > 1 << 20:  # 2^32 · 2^20 < 2^53: up to there sums of products of halves are exact in doubles
        half = inner // 2
        first = matmul_mod(a[:, :half], b[:half], prime)
        return np.asarray((first + matmul_mod(a[:, half:], b[half:], prime)) % prime)
    bits = 16
    mask = (1 << bits) - 1
    a1, a0 = (a >> bits).astype(np.float64), (a & mask).astype(np.float64)
    b1, b0 = (b >> bits).astype(np.float64), (b & mask).astype(np.float64)
    high = (a1 @ b1).astype(np.int64) % prime
    middle = ((a1 @ b0).astype(np.int64) + (a0 @ b1).astype(np.int64)) % prime
    low_part = (a0 @ b0).astype(np.int64)
    shift = 1 << bits
    return ((high * shift + middle) % prime * shift + low_part) % prime


class SparseResidues:
    """A sparse matrix over GF(p) that rows are multiplied by, one after the other.

    Parameters
    ----------
    rows, columns : ndarray of int64
        Places of the entries.
    values : ndarray of int64
        Residues modulo ``prime``, which lies below 2^31.
    shape : tuple of int
    """

    def __init__(self, rows: Residues, columns: Residues, values: Residues, shape: tuple[int, int], prime: int) -> None:
        self._prime = prime
        self.entries = len(values)
        # halves of 16 bits, as in matmul_mod: sums of a column's products stay below 2^63
        self._high, self._low = (
            SparseMatrix.of(half, columns, rows, shape[::-1]) for half in (values >> 16, values & 0xFFFF)
        )

    def after(self, row: Residues) -> Residues:
        """``row`` times the matrix."""
        high, low = self._high @ row, self._low @ row
        return np.asarray(((high % self._prime << 16) + low) % self._prime)


class RowSpace:
    """A growing row space over GF(p), kept in reduced row echelon form (first non-zero column is the pivot)."""

    def __init__(self, width: int, prime: int) -> None:
        self.prime = prime
        self.width = width
        self._rows: Residues = np.zeros((16, width), dtype=np.int64)
        self._unit = np.zeros(16, dtype=np.bool_)  # rows with a single entry
        self._count = 0
        self.pivots: Residues = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Residues:
        """(m, n), rows in the order they were found."""
        return self._rows[: self._count]

    def sorted_rows(self) -> tuple[Residues, Residues]:
        """Rows and pivots in canonical order: the unique reduced row echelon form."""
        order = np.argsort(self.pivots)
        return self.rows[order], self.pivots[order]

    def residual(self, vectors: Residues) -> Residues:
        """What is left of each row of ``vectors`` (b, n) modulo the space."""
        out = np.asarray(vectors % self.prime)
        unit = self._unit[: self._count]
        out[:, self.pivots[unit]] = 0  # most rows of a space are single columns: no product needed for those
        if not unit.all():
            dense = np.flatnonzero(~unit)
            change = matmul_mod(out[:, self.pivots[dense]], self._rows[dense], self.prime)
            out = (out - change) % self.prime
        return out

    def random_combinations(self, generator: np.random.Generator, count: int) -> Residues:
        """Combinations of all rows with random non-zero coefficients, (count, n)."""
        coefficients = generator.integers(1, self.prime, (count, self._count))
        unit = self._unit[: self._count]
        out = np.zeros((count, self.width), dtype=np.int64)
        if not unit.all():
            dense = np.flatnonzero(~unit)
            out = matmul_mod(coefficients[:, dense], self._rows[dense], self.prime)
        out[:, self.pivots[unit]] = coefficients[:, unit]
        return out

    def extend(self, vectors: Residues) -> int:
        """Add rows to the space; how many of them were new."""
        block = self.residual(vectors)
        block = block[block.any(axis=1)]
        columns = np.flatnonzero(block.any(axis=0))
        block = np.ascontiguousarray(block[:, columns])
        fresh, leads = _eliminate(block, self.prime)
        if len(fresh):
            new = np.zeros((len(fresh), self.width), dtype=np.int64)
            new[:, columns] = block[fresh]
            self._append(new, columns[leads])
        return len(fresh)

    def adopt(self, rows: Residues, pivots: Residues) -> None:
        """Take over rows that are in reduced row echelon form already; the space must be empty."""
        if self._count:
            raise ValueError("only an empty space can adopt rows as they are")
        if len(rows):
            self._append(np.asarray(rows, dtype=np.int64), np.asarray(pivots, dtype=np.int64))

    def _append(self, new: Residues, pivots: Residues) -> None:
        if self._count:
            old = self.rows
            touched = np.flatnonzero(old[:, pivots].any(axis=1))
            if len(touched):
                change = matmul_mod(old[np.ix_(touched, pivots)], new, self.prime)
                old[touched] = (old[touched] - change) % self.prime
                self._unit[touched] = np.count_nonzero(old[touched], axis=1) == 1
        needed = self._count + len(new)
        if needed > len(self._rows):
            grown = np.zeros((max(needed, min(2 * len(self._rows), self.width)), self.width), dtype=np.int64)
            grown[: self._count] = self.rows
            self._rows = grown
            self._unit = np.concatenate([self._unit, np.zeros(len(grown) - len(self._unit), dtype=np.bool_)])
        self._rows[self._count : needed] = new
        self._unit[self._count : needed] = np.count_nonzero(new, axis=1) == 1
        self._count = needed
        self.pivots = np.concatenate([self.pivots, pivots])


def _eliminate(block: Residues, prime: int) -> tuple[Residues, Residues]:
    """Bring ``block`` to reduced row echelon form in place; indices of its non-zero rows and their pivot columns."""
    fresh: list[int] = []
    leads: list[int] = []
    for i in range(len(block)):
        row = block[i]
        support = np.flatnonzero(row)
        if not len(support):
            continue
        lead = int(support[0])
        row *= pow(int(row[lead]), -1, prime)
        row %= prime
        others = np.flatnonzero(block[:, lead])
        others = others[others != i]
        if len(others):
            change = block[others, lead][:, None] * row[lead:]
            block[others, lead:] = (block[others, lead:] - change) % prime
        fresh.append(i)
        leads.append(lead)
    return np.array(fresh, dtype=np.int64), np.array(leads, dtype=np.int64)


def combined_residues(tables: Sequence[tuple[Residues, int]]) -> tuple[int, list[list[int]]]:
    """The product of distinct primes, and one matrix modulo it from one modulo each of them."""
    modulus = prod(prime for _, prime in tables)
    total = np.zeros(tables[0][0].shape, dtype=object)
    for table, prime in tables:
        other = modulus // prime
        total += table.astype(object) * (other * pow(other, -1, prime) % modulus)
    return modulus, (total % modulus).tolist()


class Confirmed:
    """Rationals from their residues modulo some primes; the last prime of several only confirms.

    The reconstruction alone takes one in about 500 residues that are no small rational for one. What the primes have
    in common is computed once.

    Parameters
    ----------
    primes : sequence of int
        Distinct; with a single one nothing is confirmed.
    """

    def __init__(self, primes: Sequence[int]) -> None:
        self._last = primes[-1] if len(primes) > 1 else None
        primes = primes[:-1] or primes
        self._modulus = prod(primes)
        others = [self._modulus // prime for prime in primes]
        self._weights = [
            other * pow(other, -1, prime) % self._modulus for other, prime in zip(others, primes, strict=True)
        ]

    def __call__(self, residues: Sequence[int]) -> Fraction | None:
        """The rational, if there is one so small that it is unlikely to be chance, and the last residue confirms it."""
        total = sum(weight * residue for weight, residue in zip(self._weights, residues, strict=False))
        value = rational_from_residue(total % self._modulus, self._modulus)
        if value is None or self._last is None or has_residues(value, [(residues[-1], self._last)]):
            return value
        return None


def rows_from_residues(tables: Sequence[tuple[Residues, int]]) -> list[dict[int, Fraction]] | None:
    """Rational rows that agree with all tables, each with its prime, of which the last only confirms.

    ``None`` if these primes do not suffice.
    """
    confirmed = Confirmed([prime for _, prime in tables])
    support = np.any([rows != 0 for rows, _ in tables], axis=0)
    found: list[dict[int, Fraction]] = [{} for _ in range(len(support))]
    known: dict[tuple[int, ...], Fraction] = {}  # most entries are the same few numbers
    for i, j in zip(*(axis.tolist() for axis in np.nonzero(support)), strict=True):
        residues = tuple(int(rows[i, j]) for rows, _ in tables)
        value = known.get(residues) or confirmed(residues)
        if value is None:
            return None
        found[i][j] = known[residues] = value
    return found


def has_residues(value: Fraction, residues: Sequence[tuple[int, int]]) -> bool:
    """Whether a rational has the given residues, each with its prime."""
    return not any(
        not value.denominator % prime or (value.numerator - residue * value.denominator) % prime
        for residue, prime in residues
    )


def rational_from_residue(residue: int, modulus: int, chance: int = 1 << 10) -> Fraction | None:
    """The rational n/d with n ≡ residue·d, if there is one so small that it is unlikely to be chance.

    Accepts |n|·d·``chance`` < modulus, so that a random residue passes with a probability of about 2/``chance``: by
    default about one in 500, which :class:`Confirmed` makes safe at the price of one more prime.

    References
    ----------
    P. S. Wang, A p-adic algorithm for univariate partial fractions, SYMSAC 1981; rational reconstruction by the
    extended Euclidean algorithm.
    """
    bound = modulus // chance
    limit = isqrt(modulus)
    r0, r1, s0, s1 = modulus, residue % modulus, 0, 1
    while r1:
        if r1 <= limit or r1 * abs(s1) < bound:
            if r1 * abs(s1) < bound:
                return Fraction(r1 if s1 > 0 else -r1, abs(s1))
            if abs(s1) > limit:
                return None
        quotient = r0 // r1
        r0, r1 = r1, r0 - quotient * r1
        s0, s1 = s1, s0 - quotient * s1
    return Fraction(0) if residue % modulus == 0 else None


# -- One BLAS thread for many small products -----------------------------------------------------


@cache
def _controller() -> ThreadpoolController:
    # finding the libraries takes milliseconds: once a process
    return ThreadpoolController()


def single_threaded() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread."""
    context: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return context
