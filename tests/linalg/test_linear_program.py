"""HiGHS asked directly gives what it gives through SciPy."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from sbmlump.linalg import least_combination


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 8))
def test_the_least_combination_is_a_vertex_of_least_cost(seed, m, q):
    generator = np.random.default_rng(seed)
    table = generator.integers(-2, 4, (m, q)).astype(np.float64)
    cost = table @ generator.integers(1, 5, q)
    column = int(generator.integers(0, q))
    expected = linprog(
        cost,
        A_ub=-table.T,
        b_ub=np.zeros(q),
        A_eq=table[:, [column]].T,
        b_eq=[1.0],
        bounds=(None, None),
        method="highs-ds",
    )
    found = least_combination(cost, table, column)
    assert (found is None) == (expected.status != 0)
    assume(found is not None)
    assert cost @ found == pytest.approx(expected.fun, rel=1e-9, abs=1e-9)
    assert (found @ table).min() > -1e-9
    assert found @ table[:, column] == pytest.approx(1.0)


def test_it_prints_nothing(capfd):
    assert least_combination(np.array([1.0]), np.array([[1.0]]), 0).tolist() == [1.0]
    assert capfd.readouterr() == ("", "")
