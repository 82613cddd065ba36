"""Sparse matrices by NumPy and by SciPy: the same to the last bit."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.model import SparseMatrix, SparseSettings, union_of_rows

NEVER = SparseSettings(most_work=1 << 60)
BY_TERMS = SparseSettings(most_work=0)


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    shape = draw(st.integers(0, 6)), draw(st.integers(1, 6))
    count = draw(st.integers(0, 25)) if shape[0] else 0
    rows, columns = generator.integers(0, max(shape[0], 1), count), generator.integers(0, shape[1], count)
    return generator, rows, columns, generator.integers(-3, 4, count), shape


def by_numpy(matrix, values):
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "scipy.sparse")
        return matrix @ values


@given(cases(), st.sampled_from([None, 0, 1, 5, 40]), st.booleans(), st.sampled_from([NEVER, BY_TERMS]))
def test_products_are_those_of_scipy_to_the_last_bit(case, width, whole, settings):
    generator, rows, columns, data, shape = case
    matrix = SparseMatrix.of(data, rows, columns, shape, settings)
    expected = sp.csr_array((data, (rows, columns)), shape=shape)
    size = (shape[1],) if width is None else (shape[1], width)
    values = (
        generator.integers(0, 2**31, size) if whole else generator.normal(size=size) * 10.0 ** generator.integers(-9, 9)
    )
    for mine in (by_numpy(matrix, values), matrix @ values):
        assert mine.dtype == (expected @ values).dtype
        assert mine.tobytes() == np.ascontiguousarray(expected @ values).tobytes()


@given(cases())
def test_parts_and_sums(case):
    generator, rows, columns, data, shape = case
    matrix = SparseMatrix.of(data, rows, columns, shape)
    expected = sp.csr_array((data, (rows, columns)), shape=shape)
    assert (matrix.nnz, matrix.shape) == (expected.nnz, expected.shape)
    np.testing.assert_array_equal(matrix.indices, expected.indices)
    np.testing.assert_array_equal(matrix.indptr, expected.indptr)
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())
    np.testing.assert_array_equal(matrix.transposed().toarray(), expected.toarray().T)
    np.testing.assert_array_equal(abs(matrix).toarray(), abs(expected.toarray()))
    count = int(generator.integers(0, shape[1] + 1))
    np.testing.assert_array_equal(matrix.first_columns(count).toarray(), expected.toarray()[:, :count])
    chosen = generator.integers(0, shape[0], 4) if shape[0] else np.empty(0, dtype=np.int64)
    np.testing.assert_array_equal(matrix.rows(chosen).toarray(), expected.toarray()[chosen])
    pattern = expected.copy()
    pattern.data = np.ones_like(pattern.data)
    values = generator.integers(0, 9, shape[1]).astype(np.float64)
    np.testing.assert_array_equal(matrix.sums(values), pattern @ values)
    np.testing.assert_array_equal(matrix.largest(values), (pattern.toarray() * values).max(axis=1, initial=0.0))


@given(cases(), st.integers(0, 4))
def test_unions_of_rows(case, count):
    generator, rows, columns, _, shape = case
    table = SparseMatrix.of(np.ones(len(rows), dtype=np.int8), rows, columns, shape)
    members = generator.integers(0, shape[0], 8) if shape[0] and count else np.empty(0, dtype=np.int64)
    owners = generator.integers(0, max(count, 1), len(members))
    expected = [
        sorted({c for o, m in zip(owners, members, strict=True) if o == k for c in columns[rows == m]})
        for k in range(count)
    ]
    for settings in (SparseSettings(most_work=-1), NEVER):
        lengths, found = union_of_rows(owners, members, count, np.diff(table.indptr), table.indices, shape[1], settings)
        assert lengths.tolist() == [len(one) for one in expected]
        assert found.tolist() == [column for one in expected for column in one]
