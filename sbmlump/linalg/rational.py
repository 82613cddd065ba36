"""Exact linear algebra over Q.

A row is a dictionary of column to Fraction without zeros; columns are numbers, ids or nodes, whatever the caller counts
in. What is dense (echelon forms, inverses) is done by FLINT; what meets many short rows is done on the dictionaries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, MutableMapping, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Generic, TypeVar

import flint

__all__ = [
    "Row",
    "Span",
    "add_multiple",
    "add_to",
    "as_fractions",
    "combined",
    "content",
    "dot",
    "echelon",
    "fraction",
    "integer_multiple",
    "kernel",
    "left_null_space",
    "null_space",
    "of_fraction",
    "own_column_inverse",
    "primitive",
    "rank",
    "right_inverse",
    "solve_rows",
    "solved_in_order",
    "without_zeros",
]


Row = Mapping[int, Fraction]
K = TypeVar("K", bound=Hashable)
I = TypeVar("I", bound=Hashable)
V = TypeVar("V", int, Fraction, Fraction | int, Fraction | float)


# -- sums of sparse rows -----------------------------------------------------------------------------


def add_to(total: MutableMapping[K, V], key: K, value: V) -> None:
    """Add ``value`` to the entry of ``key``, in place; the entry may become 0."""
    known = total.get(key)
    total[key] = value if known is None else known + value


def add_multiple(total: MutableMapping[K, V], terms: Mapping[K, V], factor: V | int) -> None:
    """Add ``factor`` times the row ``terms`` to ``total``, in place; entries may become 0.

    Arithmetic of Fractions is what large networks spend their time with: it is done only where a key stands in both
    and where the factor is not 1.
    """
    plain = factor == 1
    for key, value in terms.items():
        change = value if plain else value * factor
        known = total.get(key)
        total[key] = change if known is None else known + change


def without_zeros(row: Mapping[K, V]) -> dict[K, V]:
    """The row without the entries that are 0."""
    return {key: value for key, value in row.items() if value}


def combined(rows: Sequence[Mapping[K, V]], weights: Mapping[int, V]) -> dict[K, V]:
    """Σ weights[i]·rows[i], without zeros."""
    total: dict[K, V] = {}
    for i, factor in weights.items():
        add_multiple(total, rows[i], factor)
    return without_zeros(total)


def dot(left: Mapping[K, Fraction], right: Mapping[K, Fraction]) -> Fraction:
    """Σ left[k]·right[k]."""
    return sum((value * right[key] for key, value in left.items() if key in right), Fraction(0))


def content(values: Collection[Fraction | int]) -> Fraction:
    """The largest positive number of which all are integer multiples; 0 if all are 0."""
    return Fraction(gcd(*(v.numerator for v in values)), lcm(*(v.denominator for v in values)))


def integer_multiple(row: Mapping[int, Fraction | int]) -> dict[int, int]:
    """The multiple with coprime integer entries whose first entry is positive, in ints.

    Arithmetic of ints is many times faster than that of Fractions.
    """
    if not row:
        return {}
    common = lcm(*{value.denominator for value in row.values()})
    integers = {j: value.numerator * (common // value.denominator) for j, value in row.items()}
    divisor = gcd(*integers.values())
    if integers[min(integers)] < 0:
        divisor = -divisor
    return integers if divisor == 1 else {j: value // divisor for j, value in integers.items()}


def primitive(row: Row) -> dict[int, Fraction]:
    """As :func:`integer_multiple`, in Fractions."""
    return as_fractions(integer_multiple(row))


def as_fractions(row: Mapping[int, int]) -> dict[int, Fraction]:
    """The row in Fractions; equal entries are one object."""
    number = {value: Fraction(value) for value in set(row.values())}
    return {j: number[value] for j, value in row.items()}


# -- dense elimination, by FLINT ---------------------------------------------------------------------


def _matrix(rows: Sequence[Mapping[K, Fraction | int]], columns: Sequence[K]) -> flint.fmpq_mat:
    place = {column: k for k, column in enumerate(columns)}
    entries = [flint.fmpq(0)] * (len(rows) * len(columns))
    for i, row in enumerate(rows):
        for column, value in row.items():
            k = place.get(column)
            if k is not None:
                entries[i * len(columns) + k] = of_fraction(value)
    return flint.fmpq_mat(len(rows), len(columns), entries)


def of_fraction(value: Fraction | int) -> flint.fmpq:
    """A rational of Python as one of FLINT."""
    return flint.fmpq(value.numerator, value.denominator)


def fraction(entry: flint.fmpq) -> Fraction:
    """A rational of FLINT as one of Python."""
    return Fraction(int(entry.p), int(entry.q))


def echelon(
    rows: Sequence[Mapping[K, Fraction | int]], columns: Sequence[K]
) -> tuple[list[dict[K, Fraction]], list[K]]:
    """Reduced row echelon form, and its pivots.

    Parameters
    ----------
    rows : sequence of mappings
    columns : sequence
        The columns that count, in the order in which pivots are looked for.

    Returns
    -------
    rows : list of dict
        Those that are not 0, in the order of their pivots, at which they are 1.
    pivots : list
    """
    if not rows or not columns:
        return [], []
    reduced, count = _matrix(rows, columns).rref()
    found: list[dict[K, Fraction]] = []
    for i in range(count):
        entries = ((columns[k], reduced[i, k]) for k in range(i, len(columns)))
        found.append({column: fraction(entry) for column, entry in entries if entry != 0})
    return found, [next(iter(row)) for row in found]


def rank(rows: Sequence[Mapping[int, Fraction | int]], width: int) -> int:
    """Rank of rows with ``width`` columns."""
    return int(_matrix(rows, range(width)).rref()[1]) if rows and width else 0


def kernel(reduced: Sequence[Row], pivots: Sequence[int], width: int) -> tuple[list[dict[int, Fraction]], list[int]]:
    """The right null space of a reduced row echelon form: a row for each column without a pivot, and these columns.

    Where the pivots were looked for from the last column to the first, the rows are in echelon form themselves.
    """
    taken = set(pivots)
    basis = {free: {free: Fraction(1)} for free in range(width) if free not in taken}
    for row, pivot in zip(reduced, pivots, strict=True):
        for j, value in row.items():
            if j != pivot:
                basis[j][pivot] = -value
    return [dict(sorted(row.items())) for row in basis.values()], list(basis)


def null_space(rows: Sequence[Mapping[int, Fraction | int]], width: int) -> tuple[list[dict[int, Fraction]], list[int]]:
    """{c : row·c = 0 for every row} in reduced row echelon form, and the pivots."""
    return kernel(*echelon(rows, range(width - 1, -1, -1)), width)


def left_null_space(rows: Sequence[Row], width: int) -> tuple[list[dict[int, Fraction]], list[int]]:
    """{c : Σ c_i row_i = 0} in reduced row echelon form, and the pivots; columns are positions in ``rows``."""
    columns: list[dict[int, Fraction]] = [{} for _ in range(width)]
    for i, row in enumerate(rows):
        for j, value in row.items():
            columns[j][i] = value
    distinct = {tuple(sorted(column.items())): column for column in columns if column}
    return null_space(list(distinct.values()), len(rows))


def solve_rows(rows: Sequence[Mapping[K, Fraction]], target: Mapping[K, Fraction]) -> list[Fraction] | None:
    """w with Σ w_i row_i = target, ``None`` if there is none; the rows need not be independent."""
    by_column: dict[K, dict[int, Fraction]] = {}
    for i, row in enumerate((*rows, target)):
        for column, value in row.items():
            by_column.setdefault(column, {})[i] = value
    reduced, pivots = echelon(list(by_column.values()), range(len(rows) + 1))
    weights = [Fraction(0)] * len(rows)
    for equation, pivot in zip(reduced, pivots, strict=True):
        if pivot == len(rows):
            return None
        weights[pivot] = equation.get(len(rows), Fraction(0))
    return weights


def right_inverse(rows: Sequence[Mapping[K, Fraction]], columns: Sequence[K]) -> list[dict[K, Fraction]] | None:
    """Vectors x_k with row_i·x_k = 1 where i = k, else 0, on as many columns as there are rows.

    Parameters
    ----------
    rows : sequence of mappings
    columns : sequence
        Those that may be used, the first independent ones first.

    Returns
    -------
    list of dict, or None
        ``None`` if the rows depend on each other on these columns.
    """
    used = list(columns) if len(columns) == len(rows) else echelon(rows, columns)[1]
    if len(used) < len(rows):
        return None
    try:
        inverse = _matrix(rows, used).inv()
    except ZeroDivisionError:
        return None
    return [
        {column: fraction(inverse[k, i]) for k, column in enumerate(used) if inverse[k, i] != 0}
        for i in range(len(rows))
    ]


# -- elimination on dictionaries ---------------------------------------------------------------------


def own_column_inverse(rows: Sequence[Row]) -> list[dict[int, Fraction]] | None:
    """A right inverse with one entry a row, where each row has a column that no other row has; else ``None``.

    The first such column with the entry 1, else the first such column.
    """
    users = Counter(j for row in rows for j in row)
    inverse: list[dict[int, Fraction]] = []
    for row in rows:
        own = min(((value != 1, j) for j, value in row.items() if users[j] == 1), default=None)
        if own is None:
            return None
        inverse.append({own[1]: 1 / row[own[1]]})
    return inverse


class Span(Generic[K]):
    """The rows met so far, in reduced form: whether a further one is a combination of them."""

    def __init__(self) -> None:
        self._reduced: dict[K, dict[K, Fraction]] = {}

    def __len__(self) -> int:
        return len(self._reduced)

    def add(self, row: Mapping[K, Fraction]) -> bool:
        """Add a row; ``False`` if it is a combination of those that are there."""
        remainder = dict(row)
        # reduced rows hold no pivots but their own: one pass is enough
        for pivot in [column for column in row if column in self._reduced]:
            add_multiple(remainder, self._reduced[pivot], -row[pivot])
        remainder = without_zeros(remainder)
        if not remainder:
            return False
        pivot, top = next(iter(remainder.items()))
        new = {column: value / top for column, value in remainder.items()}
        for column, other in self._reduced.items():
            if pivot in other:
                add_multiple(other, new, -other[pivot])
                self._reduced[column] = without_zeros(other)
        self._reduced[pivot] = new
        return True


def solved_in_order(rows: Sequence[Row], order: Iterable[int]) -> tuple[list[dict[int, Fraction]], dict[int, int]]:
    """The rows solved for the first columns of ``order`` that can be solved for, each by the shortest row.

    Returns
    -------
    rows : list of dict
        In the order of ``rows``.
    solved : dict of position of a row to int
        The column that the row is solved for; it is 1 there, and the others 0.
    """
    work = [dict(row) for row in rows]
    open_rows = list(range(len(work)))
    solved: dict[int, int] = {}
    for column in order:
        candidates = [i for i in open_rows if work[i].get(column)]
        if not candidates:
            continue
        i = min(candidates, key=lambda k: (len(work[k]), k))
        open_rows.remove(i)
        solved[i] = column
        lead = work[i][column]
        work[i] = {j: value / lead for j, value in work[i].items()}
        for k in range(len(work)):
            factor = work[k].get(column)
            if k != i and factor:
                add_multiple(work[k], work[i], -factor)
                work[k] = without_zeros(work[k])
        if not open_rows:
            break
    return work, solved
