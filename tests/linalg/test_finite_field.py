"""Linear algebra over GF(p) against Python integers and FLINT, and the way back to Q."""

from __future__ import annotations

from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.linalg import Confirmed, RowSpace, SparseResidues, matmul_mod, rational_from_residue
from sbmlump.model import random_prime

P = 2147483629
LARGEST = 2147483647


@pytest.mark.parametrize("prime", [P, LARGEST, 1073741827, 7])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (0, 4, 2), (2, 0, 3), (40, 500, 7)])
def test_products_against_python_integers(prime, shape):
    a_rows, inner, columns = shape
    generator = np.random.default_rng(shape)
    a = generator.integers(0, prime, (a_rows, inner))
    b = generator.integers(0, prime, (inner, columns))
    a[:, ::2] = prime - 1  # the largest residues are where a sum of products would be wrong first
    expected = [
        [sum(int(x) * int(y) for x, y in zip(row, b[:, j], strict=True)) % prime for j in range(columns)] for row in a
    ]
    got = matmul_mod(a, b, prime)
    assert got.shape == (a_rows, columns)
    assert got.tolist() == expected


def test_products_of_very_long_rows_stay_exact():
    length = (1 << 20) + 3
    a = np.full((1, length), LARGEST - 1, dtype=np.int64)
    assert matmul_mod(a, a.T, LARGEST)[0, 0] == length % LARGEST


def test_random_primes():
    generator = np.random.default_rng(0)
    primes = {random_prime(generator) for _ in range(50)}
    assert len(primes) == 50
    assert all(1 << 30 <= p < 1 << 31 and flint.fmpz(p).is_prime() for p in primes)
    assert random_prime(np.random.default_rng(5)) == random_prime(np.random.default_rng(5))


def flint_rref(rows, prime):
    reduced, rank = flint.nmod_mat([[int(x) for x in row] for row in rows], prime).rref()
    return [[int(reduced[i, j]) for j in range(reduced.ncols())] for i in range(rank)]


@pytest.mark.parametrize("prime", [P, 5, 2147483647])
@pytest.mark.parametrize("seed", range(12))
def test_echelon_form_against_flint(seed, prime):
    generator = np.random.default_rng(seed)
    height, width = int(generator.integers(1, 30)), int(generator.integers(1, 25))
    rows = generator.integers(0, prime, (height, width))
    rows[generator.random((height, width)) < generator.uniform(0, 0.9)] = 0
    if height > 3:
        rows[-1] = (rows[0] * 3 + rows[1]) % prime
    space = RowSpace(width, prime)
    for block in np.array_split(rows, int(generator.integers(1, 6))):
        before = len(space)
        assert space.extend(block.copy()) == len(space) - before
    got, pivots = space.sorted_rows()
    expected = flint_rref(rows, prime)
    assert got.tolist() == expected
    assert pivots.tolist() == [next(j for j, x in enumerate(row) if x) for row in expected]
    assert not space.residual(rows).any()
    assert space.extend(rows.copy()) == 0


def test_residual_is_what_is_left():
    space = RowSpace(3, P)
    space.extend(np.array([[1, 2, 0]]))
    assert space.residual(np.array([[2, 4, 0], [1, 2, 5], [0, 1, 0]])).tolist() == [[0, 0, 0], [0, 0, 5], [0, 1, 0]]
    assert RowSpace(2, P).residual(np.array([[P, P + 1]])).tolist() == [[0, 1]]


def test_extend_does_not_need_reduced_input_and_grows_past_its_first_capacity():
    space = RowSpace(100, P)
    generator = np.random.default_rng(2)
    for _ in range(30):
        space.extend(generator.integers(0, P, (4, 100)))
    assert len(space) == 100
    assert space.sorted_rows()[0].tolist() == np.eye(100, dtype=int).tolist()


@given(st.integers(-(2**60), 2**60), st.integers(1, 2**60))
def test_rationals_come_back(numerator, denominator):
    value = Fraction(numerator, denominator)
    primes = [2147483629, 2147483587, 2147483579, 2147483563, 2147483549, 2147483543]
    residues = [value.numerator * pow(value.denominator, -1, p) % p for p in primes]
    assert Confirmed(primes)(residues) == value


@given(st.integers(-900, 900), st.integers(1, 900))
def test_small_rationals_come_back_from_one_prime(numerator, denominator):
    value = Fraction(numerator, denominator)
    assert rational_from_residue(value.numerator * pow(value.denominator, -1, P) % P, P) == value


def test_random_residues_are_mostly_refused():
    generator = np.random.default_rng(4)
    taken = sum(rational_from_residue(int(r), P) is not None for r in generator.integers(1, P, 2_000))
    assert taken < 120


def test_what_is_accepted_is_congruent():
    generator = np.random.default_rng(9)
    for residue in map(int, generator.integers(0, 10_007, 500)):
        found = rational_from_residue(residue, 10_007)
        if found is not None:
            assert (found.numerator - residue * found.denominator) % 10_007 == 0


@given(st.fractions(max_denominator=1000), st.integers(1, 1000))
def test_the_last_prime_confirms(value, change):
    """Without it one in some hundred residues that belong to no small rational would be taken for one."""
    primes = [2147483629, 2147483587, 2147483579]
    residues = [value.numerator * pow(value.denominator, -1, p) % p for p in primes]
    assert Confirmed(primes)([*residues[:2], (residues[2] + change) % primes[2]]) is None


@given(st.fractions(max_denominator=10**9).filter(lambda value: abs(value.numerator) < 10**12))
def test_rationals_from_many_primes(value):
    primes = [8388617, 2147483629, 2147483647, 4194319, 8388619, 2147483587]
    assert Confirmed(primes)([value.numerator * pow(value.denominator, -1, p) % p for p in primes]) == value


@pytest.mark.parametrize("prime", [LARGEST, 7])
def test_sparse_products_against_python_integers(prime):
    generator = np.random.default_rng(prime)
    n, m = 40, 30
    places = np.array([(i, j) for i in range(n) for j in range(m) if generator.random() < 0.2 or j == 3])
    values = generator.integers(0, prime, len(places))
    values[::2] = prime - 1  # a full column of the largest residues is where a sum would be wrong first
    row = np.full(n, prime - 1)
    matrix = SparseResidues(places[:, 0], places[:, 1], values, (n, m), prime)
    expected = [0] * m
    for (i, j), value in zip(places.tolist(), values.tolist(), strict=True):
        expected[j] = (expected[j] + int(row[i]) * value) % prime
    assert matrix.after(row).tolist() == expected
