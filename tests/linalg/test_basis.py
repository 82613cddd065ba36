"""The readable basis spans the same space, can be lifted, and finds pools where there are some."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.linalg import choose_basis, primitive


def fmpq(rows, width):
    return flint.fmpq_mat(
        [[flint.fmpq(*Fraction(row.get(j, 0)).as_integer_ratio()) for j in range(width)] for row in rows]
    )


def echelon(rows, width):
    """Reduced row echelon form over Q, as rows and pivots."""
    reduced, rank = fmpq(rows, width).rref()
    out = [
        {j: Fraction(int(reduced[i, j].p), int(reduced[i, j].q)) for j in range(width) if reduced[i, j] != 0}
        for i in range(rank)
    ]
    return out, [min(row) for row in out]


def assert_good(basis, rows, width):
    m = len(rows)
    assert len(basis.rows) == len(basis.lift) == m
    assert fmpq([*rows, *basis.rows], width).rank() == fmpq(list(basis.rows), width).rank() == m
    for i, row in enumerate(basis.rows):
        for k, lift in enumerate(basis.lift):
            assert sum(row.get(j, 0) * value for j, value in lift.items()) == (i == k)


dense = st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=5)


@given(dense)
def test_any_space_keeps_its_span(table):
    rows, pivots = echelon([dict(enumerate(row)) for row in table], 6)
    if rows:
        assert_good(choose_basis(rows, pivots), rows, 6)


@given(st.lists(st.integers(0, 4), min_size=3, max_size=12), st.integers(0, 10**6))
def test_a_partition_is_found_again(labels, seed):
    """Disjoint weighted pools, mixed beyond recognition by the echelon form of a random basis of their span."""
    generator = np.random.default_rng(seed)
    weights = [Fraction(int(w)) for w in generator.integers(1, 4, len(labels))]
    pools = {}
    for j, label in enumerate(labels):
        pools.setdefault(label, {})[j] = weights[j]
    width = len(labels)
    rows, pivots = echelon(list(pools.values()), width)
    basis = choose_basis(rows, pivots)
    assert_good(basis, rows, width)
    expected = sorted(sorted(primitive(pool).items()) for pool in pools.values())
    assert sorted(sorted(row.items()) for row in basis.rows) == expected


def test_mixed_signs_become_non_negative():
    """Sums of neighbours in a ring: the echelon form has minus signs, the space has a non-negative basis."""
    rows, pivots = echelon([{0: 1, 1: 1}, {1: 1, 2: 1}, {2: 1, 3: 1}], 4)
    assert any(value < 0 for row in rows for value in row.values())
    basis = choose_basis(rows, pivots)
    assert_good(basis, rows, 4)
    assert all(value > 0 for row in basis.rows for value in row.values())
    assert all(len(row) == 2 for row in basis.rows)


def test_a_space_without_non_negative_vectors_stays():
    rows, pivots = echelon([{0: 1, 1: -1}], 2)
    basis = choose_basis(rows, pivots)
    assert_good(basis, rows, 2)
    assert basis.rows == ({0: 1, 1: -1},)


def test_single_states_stay_single():
    rows, pivots = echelon([{0: 5}, {1: 1, 2: 2}, {3: 7}], 4)
    basis = choose_basis(rows, pivots)
    assert basis.rows == ({0: 1}, {1: 1, 2: 2}, {3: 1})
    assert_good(basis, rows, 4)


def test_deterministic_and_independent_of_the_order_of_rows():
    rows, pivots = echelon([{0: 1, 1: 1, 4: 2}, {1: 1, 2: 1}, {2: 1, 3: 1, 4: 1}], 5)
    first = choose_basis(rows, pivots)
    again = choose_basis(rows[::-1], pivots[::-1])
    assert {tuple(sorted(r.items())) for r in first.rows} == {tuple(sorted(r.items())) for r in again.rows}
    assert choose_basis(rows, pivots) == first


def test_amounts_where_compartments_differ():
    """A in a compartment of size 2, B in one of size 3: A + B as amounts is 2·A + 3·B as concentrations."""
    rows, pivots = echelon([{0: 2, 1: 3}], 2)
    basis = choose_basis(rows, pivots, {0: Fraction(2), 1: Fraction(3)})
    assert basis.rows == ({0: 2, 1: 3},)
    assert_good(basis, rows, 2)
    basis = choose_basis(rows, pivots, {0: Fraction(1, 5), 1: Fraction(3, 10)})
    assert {j: value / basis.rows[0][0] for j, value in basis.rows[0].items()} == {0: 1, 1: Fraction(3, 2)}


@given(st.dictionaries(st.integers(0, 9), st.fractions(-5, 5, max_denominator=12).filter(bool), min_size=1))
def test_primitive_rows(row):
    result = primitive(row)
    assert result[min(result)] > 0
    assert all(value.denominator == 1 for value in result.values())
    assert gcd(*(int(value) for value in result.values())) == 1
    factors = {result[j] / row[j] for j in row}
    assert len(factors) == 1
    assert set(result) == set(row)


def test_primitive_of_nothing():
    assert primitive({}) == {}


@pytest.mark.parametrize("m", [2, 5, 9])
def test_the_lift_uses_few_columns(m):
    rows, pivots = echelon([{2 * i: 1, 2 * i + 1: 1} for i in range(m)], 2 * m)
    assert all(len(lift) == 1 for lift in choose_basis(rows, pivots).lift)
