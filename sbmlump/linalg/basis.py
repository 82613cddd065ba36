"""A basis of a row space that a person can read: sparse non-negative integer rows where the space has them.

The space comes in reduced row echelon form over Q. Unit rows are single states and stay. The rest falls apart into
components that share no column; in each, the rays of the cone of non-negative vectors of the space are looked for by
linear programs (one for each kind of column), made exact, and a basis is chosen among them, small supports first: a
partition into disjoint pools is found whenever the space has one, because its pools are the only extreme rays. Where
the numbers stay long, short integer vectors of the space are looked for instead (LLL).
Sizes, not clocks, bound the work, so the result is the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Final

import flint
import numpy as np

from sbmlump.arrays import Indices
from sbmlump.linalg.connected import components
from sbmlump.linalg.finite_field import Residues, RowSpace, combined_residues
from sbmlump.linalg.rational import (
    Row,
    Span,
    as_fractions,
    combined,
    integer_multiple,
    null_space,
    own_column_inverse,
    right_inverse,
)
from sbmlump.model.domains import random_prime

__all__ = [
    "Basis",
    "BasisSettings",
    "choose_basis",
    "LatticeSettings",
    "integer_right_inverse",
    "short_integer_rows",
]


# -- Short integer vectors of a --------------------------------------------------------------------

# Short integer vectors of a row space whose reduced echelon form has entries too long to be of use.
#
# The echelon form of a space over Q consists of quotients of minors: with 60 rows of 20 digits, of numbers of more than
# a thousand digits. The space may have a basis of integer vectors that is far shorter, and few primes tell it: the
# integer vectors that lie in the space modulo M are a lattice, those of the space itself are the short ones among them
# as soon as M is long enough, and lattice reduction finds them without the echelon form ever being lifted. The lattice
# of all of these is primitive, so its basis has an integer right inverse, and that is made short in the same way.
#
# References
# ----------
# Lenstra, Lenstra, Lovász, Math. Ann. 261 (1982), doi 10.1007/BF01457454.
# van Hoeij and Novocin, Algorithmica 63 (2012), doi 10.1007/s00453-011-9520-x: column by column instead of all at once.
# Havas, Majewski, Matthews, Experiment. Math. 7 (1998), doi 10.1080/10586458.1998.10504362: short solutions of integer
# equations by lattice reduction.


@dataclass(frozen=True, slots=True)
class LatticeSettings:
    """What a lattice reduction may cost.

    Attributes
    ----------
    most_columns : int
        Of a component, of equal ones one. 121 columns and 60 rows with entries of 20 digits take 10 s; time grows with
        the fourth power.
    most_bits : int
        Of the modulus. Rows that need more have entries of more than a hundred digits.
    at_once : int
        Columns that are added between two reductions: fewer cost more calls, more start from worse bases.
    delta : float
        Of the condition of Lovász: vectors are at most a bit longer than with 0.99, in half the time.
    """

    most_columns: int = 150
    most_bits: int = 1024
    at_once: int = 8
    delta: float = 0.75


_LATTICE: Final = LatticeSettings()


def short_integer_rows(
    spaces: Sequence[tuple[Residues, int]], pivots: Sequence[int], settings: LatticeSettings = _LATTICE
) -> list[dict[int, int]] | None:
    """A basis, of short vectors, of all integer vectors of a space known modulo primes.

    Parameters
    ----------
    spaces : sequence of (array (m, n), prime)
        The reduced row echelon form modulo each prime. The last one does not take part: it confirms.
    pivots : sequence of int
        Its m pivot columns.
    settings : LatticeSettings

    Returns
    -------
    list of dict of column to int, or None
        ``None`` where the modulus is too short, or the work too much.
    """
    *used, (check, check_prime) = spaces
    m, n = check.shape
    modulus, table = combined_residues(used)
    of_column = {j: tuple(row[j] for row in table) for j in range(n)}
    # of equal columns one decides
    first = {residues: j for j, residues in reversed(of_column.items())} | {of_column[j]: j for j in pivots}
    if len(first) > settings.most_columns or modulus.bit_length() > settings.most_bits:
        return None
    free = sorted(set(first.values()) - set(pivots))
    order = [*pivots, *free]
    # the part of a vector on the pivots says what the rest of it is modulo M
    residues = flint.fmpz_mat([[table[i][j] for j in free] for i in range(m)])
    lattice = [[int(i == k) for k in range(m)] for i in range(m)]
    for low in range(0, len(free), settings.at_once):
        high = min(low + settings.at_once, len(free))
        rest = _balanced(flint.fmpz_mat([row[:m] for row in lattice]) * residues, modulus)
        longer = [row + values[low:high] for row, values in zip(lattice, rest, strict=True)]
        longer += [[0] * (m + low) + [modulus * (i == k) for k in range(high - low)] for i in range(high - low)]
        lattice = _reduced(longer, settings.delta)
    place = {j: k for k, j in enumerate(order)}
    source = [place[first[of_column[j]]] for j in range(n)]
    vectors = np.array([[value % check_prime for value in row] for row in lattice], dtype=np.int64)[:, source]
    space = RowSpace(n, check_prime)
    space.adopt(check, np.asarray(pivots, dtype=np.int64))
    inside = np.flatnonzero(~space.residual(vectors).any(axis=1))
    if len(inside) != m or RowSpace(n, check_prime).extend(vectors[inside]) != m:
        return None
    rows = [{j: lattice[i][k] for j, k in enumerate(source) if lattice[i][k]} for i in inside.tolist()]
    # a sign is free: as elsewhere, the first entry is positive
    rows = [row if row[min(row)] > 0 else {j: -value for j, value in row.items()} for row in rows]
    return sorted(rows, key=lambda row: (max(map(abs, row.values())), len(row), sorted(row.items())))


def integer_right_inverse(
    rows: Sequence[Mapping[int, int]], settings: LatticeSettings = _LATTICE
) -> list[dict[int, int]] | None:
    """Short integer vectors x_k with r_i·x_k = 1 where i = k, else 0.

    ``None`` if there are none or the work is too much. They exist if and only if ``rows`` generate all integer vectors
    of their space.
    """
    # of equal columns one will do
    distinct = {tuple(row.get(j, 0) for row in rows): j for j in sorted({j for row in rows for j in row}, reverse=True)}
    columns = sorted(distinct.values())
    m, n = len(rows), len(columns)
    bits = max((value.bit_length() for row in rows for value in row.values()), default=0)
    if n > settings.most_columns or bits > settings.most_bits:
        return None
    matrix = flint.fmpz_mat([[row.get(j, 0) for j in columns] for row in rows])
    weight = 1 << 4 * (bits + n)  # so long that no vector of the kernel of these rows is longer
    kernel = [[int(i == k) for k in range(n)] for i in range(n)]
    found: list[list[int]] = []
    for low in range(0, m, settings.at_once):
        high = min(low + settings.at_once, m)
        values = (flint.fmpz_mat(kernel) * matrix.transpose()).tolist()
        table = [x + [weight * int(v) for v in value[low:high]] for x, value in zip(kernel, values, strict=True)]
        reduced = _reduced(table, settings.delta)
        kernel = [x[:n] for x in reduced if not any(x[n:])]
        found += [x[:n] for x in reduced if any(x[n:])]
        if len(found) != high:
            return None
    # with respect to the rows, what was found is block triangular: made the identity, then short again
    products = matrix * flint.fmpz_mat(found).transpose()
    if abs(int(products.det())) != 1:
        return None
    inverse, denominator = products.inv().numer_denom()
    assert denominator == 1
    exact = inverse.transpose() * flint.fmpz_mat(found)
    short = exact.tolist() if not kernel else _shortened(exact, flint.fmpz_mat(kernel))
    return [{columns[k]: int(value) for k, value in enumerate(x) if value} for x in short]


def _shortened(vectors: flint.fmpz_mat, lattice: flint.fmpz_mat) -> list[list[int]]:
    """Each vector less the vector of the lattice near to it (Babai's rounding)."""
    gram = lattice * lattice.transpose()
    numerators, denominator = gram.solve(lattice * vectors.transpose()).numer_denom()
    down = 2 * int(denominator)
    nearest = [[(2 * int(value) + down // 2) // down for value in row] for row in numerators.tolist()]
    moved = vectors - flint.fmpz_mat(nearest).transpose() * lattice
    return [[int(value) for value in row] for row in moved.tolist()]


def _balanced(matrix: flint.fmpz_mat, modulus: int) -> list[list[int]]:
    half = modulus // 2
    return [[(int(value) + half) % modulus - half for value in row] for row in matrix.tolist()]


def _reduced(rows: list[list[int]], delta: float) -> list[list[int]]:
    return [[int(value) for value in row] for row in flint.fmpz_mat(rows).lll(delta=delta).tolist()]


# -- A basis of a row space that a person can read -------------------------------------------------


IntegerRow = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class BasisSettings:
    """How far readable rows of a component are looked for.

    Attributes
    ----------
    linear_program_work : int
        Rows · columns² up to which the cone of non-negative vectors is searched; about 10 s of HiGHS. Beyond it the
        echelon form is kept.
    linear_program_bits : int
        Of an entry: linear programs are solved in doubles, which end at 2^1024.
    zero : float
        Entries of a solution that are smaller than this, relative to the largest, are taken for 0; what follows from
        that is made exact and tested.
    long_entry_bits : int
        Of an entry from which on shorter vectors are looked for: more than 7 digits are no coefficients to be read.
    lattice_columns, lattice_bits : int
        Columns, and bits of all entries together, up to which one lattice reduction is done over Z; it takes about a
        second there, and grows fast.
    lattice_primes : tuple of int
        Numbers of primes of 31 bits with which larger components are tried in turn.
    inverse_bits : int
        Rows · bits of an entry, about the bits of an inverse on the pivots, from which on an integer right inverse is
        looked for, which is shorter.
    lattice : LatticeSettings
        For larger components and for integer right inverses.
    """

    linear_program_work: int = 4_000_000
    linear_program_bits: int = 1000
    zero: float = 1e-9
    long_entry_bits: int = 24
    lattice_columns: int = 48
    lattice_bits: int = 100_000
    lattice_primes: tuple[int, ...] = (6, 12, 24)
    inverse_bits: int = 1000
    lattice: LatticeSettings = LatticeSettings()


_BASIS: Final = BasisSettings()


@dataclass(frozen=True, slots=True)
class Basis:
    """Rows of L and of a right inverse.

    Attributes
    ----------
    rows : tuple of mappings column → Fraction
    lift : tuple of mappings column → Fraction
        Entry i: the states that row i lifts to (column i of L̄). Rows times lift is the identity.
    """

    rows: tuple[Row, ...]
    lift: tuple[Row, ...]

    @property
    def members(self) -> frozenset[int]:
        """Columns with an entry in some row."""
        return frozenset(column for row in self.rows for column in row)


def choose_basis(
    rows: Sequence[Row],
    pivots: Sequence[int],
    scale: Mapping[int, Fraction] | None = None,
    settings: BasisSettings = _BASIS,
) -> Basis:
    """Choose readable rows that span the same space, and a sparse right inverse.

    Parameters
    ----------
    rows : sequence of mappings
        Reduced row echelon form over Q; in a component, any basis that is invertible on the pivot columns will do.
    pivots : sequence of int
        Pivot column of each row.
    scale : mapping of column to Fraction, optional
        Factor that turns each column's state into an amount (the size of its compartment). Where the columns of
        a component differ in it, rows are made integer combinations of amounts.
    settings : BasisSettings
    """
    chosen: list[tuple[Row, Row]] = []
    groups = components(rows, pivots)
    for group in groups:
        members = [rows[i] for i in group]
        if len(members) == 1 and len(members[0]) == 1:
            column = pivots[group[0]]
            chosen.append(({column: Fraction(1)}, {column: Fraction(1)}))
            continue
        weights = _weights(members, scale or {})
        new = _readable(members, weights, settings)
        chosen.extend(zip(new, _lift_of(new, [pivots[i] for i in group], settings), strict=True))
    chosen.sort(key=lambda pair: (min(pair[0]), len(pair[0]), sorted(pair[0])))
    return Basis(tuple(row for row, _ in chosen), tuple(lift for _, lift in chosen))


def _weights(members: Sequence[Row], scale: Mapping[int, Fraction]) -> dict[int, Fraction]:
    """Amounts per unit of each column where the component mixes them, else 1 everywhere."""
    columns = {j for row in members for j in row}
    factors = {scale.get(j, Fraction(1)) for j in columns}
    if len(factors) == 1:
        return dict.fromkeys(columns, Fraction(1))
    return {j: scale.get(j, Fraction(1)) for j in columns}


def _readable(
    members: Sequence[Row], weights: Mapping[int, Fraction], settings: BasisSettings
) -> list[dict[int, Fraction]]:
    """Basis of one component in amounts, turned back into states."""
    alike = set(weights.values()) == {1}
    rays = [integer_multiple(row if alike else {j: value / weights[j] for j, value in row.items()}) for row in members]
    echelon = rays
    if not _is_partition(rays):
        found = _non_negative_rows(rays, settings)
        if found is not None:
            rays = found
        if _longest(rays) >= settings.long_entry_bits:
            short = _short_rows(rays, echelon, settings)
            if short is not None and _longest(short) < _longest(rays):
                rays = short
    return [as_fractions(row) if alike else _in_states(as_fractions(row), weights) for row in rays]


def _longest(rows: Iterable[IntegerRow]) -> int:
    """Bits of the largest entry."""
    return max((value.bit_length() for row in rows for value in row.values()), default=0)


def _short_rows(
    rows: Sequence[IntegerRow], echelon: Sequence[IntegerRow], settings: BasisSettings
) -> list[dict[int, int]] | None:
    """A basis, of short vectors, of all integer vectors in the space of ``rows``; ``None`` where that is too much work.

    ``echelon`` is the form in which the space was found.

    The integer vectors of the space are those that its orthogonal space N takes to 0. In the lattice of all (v, λNv)
    with a large λ these are the short ones.

    References
    ----------
    Lenstra, Lenstra, Lovász, Math. Ann. 261 (1982), doi 10.1007/BF01457454.
    Pohst, J. Symb. Comput. 4 (1987), doi 10.1016/S0747-7171(87)80061-5: kernels by lattice reduction.
    """
    columns = sorted({j for row in rows for j in row})
    bits = sum(value.bit_length() for row in rows for value in row.values())
    if len(columns) > settings.lattice_columns or bits > settings.lattice_bits:
        return _short_rows_modulo(echelon, columns, settings)
    m, n = len(rows), len(columns)
    if m == n:
        return None
    kernel, nullity = flint.fmpz_mat([[row.get(j, 0) for j in columns] for row in rows]).nullspace()
    normals = [
        integer_multiple({i: int(kernel[i, k]) for i in range(n) if kernel[i, k] != 0}) for k in range(int(nullity))
    ]
    weight = 1 << (_longest(rows) + n)
    table = [[int(i == k) for k in range(n)] + [weight * normal.get(i, 0) for normal in normals] for i in range(n)]
    reduced = flint.fmpz_mat(table).lll()
    short = [
        {columns[k]: int(reduced[i, k]) for k in range(n) if reduced[i, k] != 0}
        for i in range(n)
        if all(reduced[i, n + k] == 0 for k in range(len(normals)))
    ]
    if len(short) != m:
        return None
    return [integer_multiple(row) for row in short]


def _short_rows_modulo(
    rows: Sequence[IntegerRow], columns: Sequence[int], settings: BasisSettings
) -> list[dict[int, int]] | None:
    """As :func:`_short_rows`, for larger components: from echelon forms modulo primes.

    Rows without a column of their own are no echelon form: they have been made short when they were lifted.
    """
    if len(columns) == len(rows):
        return None
    users = Counter(j for row in rows for j in row)
    if not all(any(users[j] == 1 for j in row) for row in rows):
        return [dict(row) for row in rows]
    place = {j: k for k, j in enumerate(columns)}
    generator = np.random.default_rng(0x1A77)
    spaces: list[tuple[Indices, int]] = []
    leads: list[int] | None = None
    while len(spaces) < settings.lattice_primes[-1]:
        prime = random_prime(generator)
        space = RowSpace(len(columns), prime)
        table = np.zeros((len(rows), len(columns)), dtype=np.int64)
        for i, row in enumerate(rows):
            for j, value in row.items():
                table[i, place[j]] = value % prime
        space.extend(table)
        echelon, pivots = space.sorted_rows()
        if len(pivots) < len(rows) or (leads is not None and leads != pivots.tolist()):
            return None  # one prime in some ten thousand: then the rows stay as they are
        leads = pivots.tolist()
        spaces.append((echelon, prime))
        if len(spaces) in settings.lattice_primes:
            short = short_integer_rows(spaces, leads, settings.lattice)
            if short is not None:
                return [{columns[k]: value for k, value in row.items()} for row in short]
    return None


def _in_states(row: Row, weights: Mapping[int, Fraction]) -> dict[int, Fraction]:
    """A combination of amounts as one of states; left as it is where all its states count alike."""
    if len({weights[j] for j in row}) == 1:
        return dict(row)
    return {j: value * weights[j] for j, value in row.items()}


def _is_partition(rows: Iterable[IntegerRow]) -> bool:
    seen: set[int] = set()
    for row in rows:
        if any(value < 0 for value in row.values()) or not seen.isdisjoint(row):
            return False
        seen.update(row)
    return True


def _non_negative_rows(rows: Sequence[IntegerRow], settings: BasisSettings) -> list[dict[int, int]] | None:
    """Independent non-negative rows spanning the same space, or ``None`` if none were found."""
    m = len(rows)
    kinds = _column_kinds(rows)
    if m * len(kinds) ** 2 > settings.linear_program_work or _longest(rows) > settings.linear_program_bits:
        return None
    from sbmlump.linalg.linear_program import least_combination

    directions = list(kinds)
    table = np.array([[float(direction[i]) for direction in directions] for i in range(m)])
    multiplicity = np.array([float(kinds[direction]) for direction in directions])
    cost = table @ multiplicity
    candidates: dict[tuple[int, ...], list[int]] = {}
    for k in range(len(directions)):
        weights = least_combination(cost, table, k)
        if weights is None:
            return None  # no non-negative vector of the space touches this column
        image = table.T @ weights
        tiny = settings.zero * max(1.0, float(np.abs(image).max()))
        outside = [j for j in range(len(directions)) if image[j] <= tiny]
        exact = _combination_vanishing_on([directions[j] for j in outside], m)
        if exact is None:
            continue
        values = [sum(a * b for a, b in zip(exact, direction, strict=True)) for direction in directions]
        if any(value < 0 for value in values):
            values = [-value for value in values]
            exact = [-value for value in exact]
        if all(value >= 0 for value in values):
            candidates.setdefault(tuple(j for j, value in enumerate(values) if value), exact)
    return _independent(rows, candidates, multiplicity)


def _column_kinds(rows: Sequence[IntegerRow]) -> dict[tuple[int, ...], int]:
    """Columns grouped by direction (proportional with a positive factor): direction → sum of the factors."""
    columns: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        for j, value in row.items():
            columns.setdefault(j, [0] * len(rows))[i] = value
    kinds: dict[tuple[int, ...], int] = {}
    for j in sorted(columns):
        factor = gcd(*columns[j])
        direction = tuple(value // factor for value in columns[j])
        kinds[direction] = kinds.get(direction, 0) + factor
    return kinds


def _combination_vanishing_on(columns: Sequence[Sequence[int]], m: int) -> list[int] | None:
    """The integer combination of m rows that is zero on the given columns, if it is unique up to a factor."""
    conditions = [{i: value for i, value in enumerate(column) if value} for column in columns]
    basis, _ = null_space(conditions, m)
    if len(basis) != 1:
        return None
    weights = integer_multiple(basis[0])
    return [weights.get(i, 0) for i in range(m)]


def _independent(
    rows: Sequence[IntegerRow], candidates: Mapping[tuple[int, ...], Sequence[int]], multiplicity: np.ndarray
) -> list[dict[int, int]] | None:
    """Greedy choice of m independent combinations, small supports first."""
    order = sorted(candidates, key=lambda support: (float(multiplicity[list(support)].sum()), support))
    span: Span[int] = Span()
    chosen: list[dict[int, int]] = []
    for support in order:
        weights = {i: value for i, value in enumerate(candidates[support]) if value}
        if span.add({i: Fraction(value) for i, value in weights.items()}):
            chosen.append(weights)
            if len(chosen) == len(rows):
                return [integer_multiple(combined(rows, weights)) for weights in chosen]
    return None


def _lift_of(rows: Sequence[Row], pivots: Sequence[int], settings: BasisSettings) -> list[dict[int, Fraction]]:
    """A right inverse: by a column of its own for each row where there is one, else by the pivot columns."""
    lift = own_column_inverse(rows) or _integer_lift(rows, settings) or right_inverse(rows, pivots)
    assert lift is not None  # the rows are independent on the pivots
    return lift


def _integer_lift(rows: Sequence[Row], settings: BasisSettings) -> list[dict[int, Fraction]] | None:
    """A right inverse in integers, where the one on the pivots has entries of many hundred digits."""
    if any(value.denominator != 1 for row in rows for value in row.values()):
        return None
    integers = [{j: value.numerator for j, value in row.items()} for row in rows]
    if len(rows) * _longest(integers) < settings.inverse_bits:
        return None
    inverse = integer_right_inverse(integers, settings.lattice)
    return None if inverse is None else [as_fractions(column) for column in inverse]
