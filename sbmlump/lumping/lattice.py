"""Short integer vectors of a row space whose reduced echelon form has entries too long to be of use.

The echelon form of a space over Q consists of quotients of minors: with 60 rows of 20 digits, of numbers of more than
a thousand digits. The space may have a basis of integer vectors that is far shorter, and few primes tell it: the
integer vectors that lie in the space modulo M are a lattice, those of the space itself are the short ones among them
as soon as M is long enough, and lattice reduction finds them without the echelon form ever being lifted. The lattice
of all of these is primitive, so its basis has an integer right inverse, and that is made short in the same way.

References
----------
Lenstra, Lenstra, Lovász, Math. Ann. 261 (1982), doi 10.1007/BF01457454.
van Hoeij and Novocin, Algorithmica 63 (2012), doi 10.1007/s00453-011-9520-x: column by column instead of all at once.
Havas, Majewski, Matthews, Experiment. Math. 7 (1998), doi 10.1080/10586458.1998.10504362: short solutions of integer
equations by lattice reduction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import flint
import numpy as np
from numpy.typing import NDArray

from sbmlump.lumping.field import RowSpace, combined_residues

__all__ = ["LatticeSettings", "integer_right_inverse", "short_integer_rows"]

Residues = NDArray[np.int64]


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


_SETTINGS: Final = LatticeSettings()


def short_integer_rows(
    spaces: Sequence[tuple[Residues, int]], pivots: Sequence[int], settings: LatticeSettings = _SETTINGS
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
    rows: Sequence[Mapping[int, int]], settings: LatticeSettings = _SETTINGS
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
