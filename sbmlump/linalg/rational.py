"""Exact linear algebra over Q that the structure of a network needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import flint

from sbmlump.linalg.basis import combination_over

__all__ = ["left_null_space", "null_space", "rank", "solve_rows"]


Row = Mapping[int, Fraction]


def _matrix(rows: Sequence[Row], width: int) -> flint.fmpq_mat:
    table = [[flint.fmpq(0)] * width for _ in rows]
    for line, row in zip(table, rows, strict=True):
        for j, value in row.items():
            line[j] = flint.fmpq(value.numerator, value.denominator)
    return flint.fmpq_mat(len(table), width, [entry for line in table for entry in line])


def _fraction(entry: flint.fmpq) -> Fraction:
    return Fraction(int(entry.p), int(entry.q))


def rank(rows: Sequence[Row], width: int) -> int:
    """Rank over Q of sparse rows with ``width`` columns."""
    if not rows or not width:
        return 0
    return int(_matrix(rows, width).rref()[1])


def null_space(rows: Sequence[Row], width: int) -> tuple[list[dict[int, Fraction]], list[int]]:
    """Right null space {c : row·c = 0 for every row}, in reduced row echelon form, and the pivots.

    The elimination runs over the columns from the last to the first, so that the free columns are the first ones and
    the basis that belongs to them is in echelon form by itself.
    """
    if not width:
        return [], []
    mirrored = [{width - 1 - j: value for j, value in row.items()} for row in rows] or [{}]
    reduced, count = _matrix(mirrored, width).rref()
    pivots: list[int] = []
    for i in range(count):
        j = pivots[-1] + 1 if pivots else 0
        while reduced[i, j] == 0:
            j += 1
        pivots.append(j)
    taken = set(pivots)
    basis: list[dict[int, Fraction]] = []
    for free in sorted((j for j in range(width) if j not in taken), reverse=True):
        row = {width - 1 - free: Fraction(1)}
        for i, pivot in enumerate(pivots):
            if pivot > free:
                break
            if reduced[i, free] != 0:
                row[width - 1 - pivot] = -_fraction(reduced[i, free])
        basis.append(dict(sorted(row.items())))
    return basis, [min(row) for row in basis]


def left_null_space(rows: Sequence[Row], width: int) -> tuple[list[dict[int, Fraction]], list[int]]:
    """{c : Σ c_i row_i = 0} in reduced row echelon form, and the pivots; columns are positions in ``rows``."""
    columns: list[dict[int, Fraction]] = [{} for _ in range(width)]
    for i, row in enumerate(rows):
        for j, value in row.items():
            columns[j][i] = value
    distinct = {tuple(sorted(column.items())): column for column in columns if column}
    return null_space(list(distinct.values()), len(rows))


def solve_rows(rows: Sequence[Row], target: Row) -> list[Fraction] | None:
    """w with Σ w_i row_i = target, ``None`` if there is none; the rows need not be independent."""
    weights = combination_over(rows, target)
    return None if weights is None else [weights.get(i, Fraction(0)) for i in range(len(rows))]
