"""Short integer rows of a space known modulo primes, and their integer right inverses."""

from __future__ import annotations

from random import Random

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbmlump.linalg import LatticeSettings, RowSpace, combined_residues, integer_right_inverse, short_integer_rows
from sbmlump.model import random_prime


def spaces_of(table, count, seed=0):
    """Reduced row echelon forms modulo primes, and the pivots."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        prime = random_prime(generator)
        space = RowSpace(len(table[0]), prime)
        space.extend(np.array([[value % prime for value in row] for row in table], dtype=np.int64))
        rows, pivots = space.sorted_rows()
        found.append((rows, prime))
    return found, pivots.tolist()


def dense(rows, width):
    return flint.fmpz_mat([[row.get(j, 0) for j in range(width)] for row in rows])


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 20), st.integers(0, 10**9))
def test_all_integer_vectors_of_the_space(m, more, bits, seed):
    """Same space, and primitive: the gcd of the minors is 1."""
    random = Random(seed)
    n = m + more
    table = [[random.randint(-(1 << bits), 1 << bits) for _ in range(n)] for _ in range(m)]
    hidden = (
        flint.fmpz_mat([[random.randint(-9, 9) for _ in range(m)] for _ in range(m)]) * flint.fmpz_mat(table)
    ).tolist()
    table = [[int(v) for v in row] for row in hidden]
    rank = flint.fmpz_mat(table).rank()
    if not rank:
        return
    spaces, pivots = spaces_of(table, 3 + 8 * (bits + 8) * m // 30, seed)
    rows = short_integer_rows(spaces, pivots, LatticeSettings(most_bits=1 << 20))
    if len(pivots) == n:
        return  # everything: no short vectors are needed
    assert rows is not None
    assert len(rows) == rank
    basis = dense(rows, n)
    assert basis.rank() == rank == flint.fmpz_mat(table + [[int(v) for v in row] for row in basis.tolist()]).rank()
    normal = basis.transpose().snf()
    assert all(abs(int(normal[i, i])) == 1 for i in range(rank))
    inverse = integer_right_inverse(rows)
    assert inverse is not None
    product = basis * dense(inverse, n).transpose()
    assert product == flint.fmpz_mat([[int(i == k) for k in range(rank)] for i in range(rank)])


def test_too_short_a_modulus_is_no_answer():
    random = Random(3)
    table = [[random.randint(-(10**30), 10**30) for _ in range(9)] for _ in range(5)]
    spaces, pivots = spaces_of(table, 5)
    assert short_integer_rows(spaces, pivots) is None
    spaces, pivots = spaces_of(table, 20)
    assert short_integer_rows(spaces, pivots) is not None


def test_rows_that_are_not_primitive_have_no_integer_right_inverse():
    assert integer_right_inverse([{0: 2, 1: 4}]) is None
    assert integer_right_inverse([{0: 1, 1: 1}, {0: 1, 1: -1}]) is None
    assert integer_right_inverse([{0: 3, 1: 5}]) is not None


@pytest.mark.parametrize("settings", [LatticeSettings(most_columns=3), LatticeSettings(most_bits=20)])
def test_work_is_bounded(settings):
    spaces, pivots = spaces_of([[1, 2, 3, 5], [7, 11, 13, 17]], 4)
    assert short_integer_rows(spaces, pivots) is not None
    assert short_integer_rows(spaces, pivots, settings) is None


def test_one_matrix_from_its_residues():
    table = [[10**15 + 37, -5], [0, 123456789]]
    primes = (2147483647, 2147483629)
    modulus, found = combined_residues([(np.array([[v % p for v in row] for row in table]), p) for p in primes])
    assert modulus == primes[0] * primes[1]
    assert found == [[v % modulus for v in row] for row in table]
