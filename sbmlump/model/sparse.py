"""Sparse matrices of programs, without SciPy as long as they are small.

``scipy.sparse`` takes longer to import than a small model takes to be reduced. Here it is imported when a product is
large, or used when it is there already; either way the terms of a sum are added one after the other in the order of
their columns, so that the result does not depend on who adds them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sbmlump.arrays import Array, Indices

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["Pattern", "SparseMatrix", "SparseSettings", "distinct", "ranges", "union_of_rows"]


@dataclass(frozen=True, slots=True)
class SparseSettings:
    """When SciPy is worth its import.

    Attributes
    ----------
    most_work : int
        Entries times columns of a product that NumPy takes some hundred microseconds for; SciPy would take a tenth, but
        a seventh of a second to come.
    most_terms : int
        Of a sum: up to so many, larger products are made term by term for all sums and columns at once, which takes
        SciPy's time twice.
    """

    most_work: int = 1 << 14
    most_terms: int = 64


SETTINGS: Final = SparseSettings()


class Pattern(Protocol):
    """Which entries of a matrix there are, in compressed rows."""

    @property
    def indptr(self) -> NDArray[Any]:
        """Where each row begins, (r + 1,)."""

    @property
    def indices(self) -> NDArray[Any]:
        """Columns, one row after the other."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""


def ranges(starts: Indices, lengths: Indices) -> Indices:
    """Concatenation of arange(start, start + length)."""
    total = int(lengths.sum())
    offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return offsets + np.arange(total)


def distinct(values: Indices) -> Indices:
    """What ``np.unique`` gives, which imports ``numpy.ma`` first, a tenth of what NumPy takes."""
    ordered = np.sort(values, axis=None)
    first = np.ones(len(ordered), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


class SparseMatrix:
    """A matrix in compressed rows, with sorted columns; entries that are 0 stay where they are given.

    Parameters
    ----------
    data : ndarray (e,)
    indices : ndarray of int (e,)
        Columns, increasing in each row.
    indptr : ndarray of int (r + 1,)
        Where each row begins.
    shape : tuple of int
        (r, c).
    settings : SparseSettings
    """

    __slots__ = ("_owners", "_places", "_scipy", "_settings", "data", "indices", "indptr", "shape")

    def __init__(
        self,
        data: NDArray[Any],
        indices: Indices,
        indptr: Indices,
        shape: tuple[int, int],
        settings: SparseSettings = SETTINGS,
    ) -> None:
        self.data = data
        self.indices = indices
        self.indptr = indptr
        self.shape = shape
        self._settings = settings
        self._owners: Indices | None = None
        self._places: tuple[int, Indices] | None = None
        self._scipy: scipy.sparse.csr_array | None = None

    @classmethod
    def of(
        cls,
        data: NDArray[Any],
        rows: Indices,
        columns: Indices,
        shape: tuple[int, int],
        settings: SparseSettings = SETTINGS,
    ) -> SparseMatrix:
        """From entries in any order; those of one place are added up."""
        order = np.lexsort((columns, rows))
        data, rows, columns = data[order], rows[order], columns[order]
        first = np.ones(len(rows), dtype=np.bool_)
        first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        if not first.all():
            data = np.add.reduceat(data, np.flatnonzero(first))
            rows, columns = rows[first], columns[first]
        return cls(data, columns, _pointers(np.bincount(rows, minlength=shape[0])), shape, settings)

    @property
    def nnz(self) -> int:
        """Entries, zeros that were given among them."""
        return len(self.data)

    @property
    def owners(self) -> Indices:
        """Row of each entry, (e,)."""
        if self._owners is None:
            self._owners = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        return self._owners

    def scipy(self) -> scipy.sparse.csr_array:
        """The same for SciPy."""
        if self._scipy is None:
            from scipy.sparse import csr_array

            self._scipy = csr_array((self.data, self.indices, self.indptr), shape=self.shape)
        return self._scipy

    def transposed(self) -> SparseMatrix:
        """Rows and columns exchanged."""
        return SparseMatrix.of(self.data, self.indices, self.owners, self.shape[::-1], self._settings)

    def __abs__(self) -> SparseMatrix:
        return SparseMatrix(np.abs(self.data), self.indices, self.indptr, self.shape, self._settings)

    def __matmul__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Times a vector (c,) or several (c, k)."""
        width = 1 if values.ndim == 1 else values.shape[1]
        if "scipy.sparse" in sys.modules:
            return np.asarray(self.scipy() @ values)
        if self.nnz * width > self._settings.most_work:
            lengths = np.diff(self.indptr)
            if int(lengths.max(initial=0)) > self._settings.most_terms:
                return np.asarray(self.scipy() @ values)
            return self._by_terms(values, lengths)
        weights = self.data if values.ndim == 1 else self.data[:, None]
        terms = weights * values[self.indices]
        total = np.zeros((self.shape[0], *values.shape[1:]), dtype=terms.dtype)
        if not len(terms) or not width:
            return total
        if terms.dtype == np.float64:  # in the order of the terms, unlike reduceat, which adds in pairs
            sums = np.bincount(self._cells(width), weights=terms.ravel(), minlength=total.size)
            return np.asarray(sums.reshape(total.shape))
        filled = np.flatnonzero(np.diff(self.indptr))
        total[filled] = np.add.reduceat(terms, self.indptr[filled], axis=0)
        return total

    def _by_terms(self, values: NDArray[Any], lengths: NDArray[Any]) -> NDArray[Any]:
        """The product: the first terms of all rows, then the second ones."""
        total = np.zeros((self.shape[0], *values.shape[1:]), dtype=np.result_type(self.data, values))
        for term in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > term)
            entries = self.indptr[rows] + term
            weights = self.data[entries] if values.ndim == 1 else self.data[entries, None]
            total[rows] += weights * values[self.indices[entries]]
        return total

    def _cells(self, width: int) -> Indices:
        """Where in a result of ``width`` columns each term of the products goes."""
        if width == 1:
            return self.owners
        if self._places is None or self._places[0] != width:
            self._places = width, (self.owners[:, None] * width + np.arange(width)).ravel()
        return self._places[1]

    def largest(self, values: Array) -> Array:
        """The largest of the non-negative ``values`` (c,) in the columns of each row, 0 without any, (r,)."""
        total = np.zeros(self.shape[0])
        np.maximum.at(total, self.owners, values[self.indices])
        return total

    def sums(self, values: Array) -> Array:
        """Sum of ``values`` (c,) over the columns of each row, (r,)."""
        return np.bincount(self.owners, weights=values[self.indices], minlength=self.shape[0]).astype(np.float64)

    def rows(self, chosen: Indices) -> SparseMatrix:
        """Some rows, in the order in which they are named."""
        lengths = np.diff(self.indptr)[chosen]
        entries = ranges(self.indptr[chosen], lengths)
        shape = (len(chosen), self.shape[1])
        return SparseMatrix(self.data[entries], self.indices[entries], _pointers(lengths), shape, self._settings)

    def first_columns(self, count: int) -> SparseMatrix:
        """The columns below ``count``."""
        inside = self.indices < count
        lengths = np.bincount(self.owners[inside], minlength=self.shape[0])
        shape = (self.shape[0], count)
        return SparseMatrix(self.data[inside], self.indices[inside], _pointers(lengths), shape, self._settings)

    def toarray(self) -> NDArray[Any]:
        """The dense matrix."""
        table = np.zeros(self.shape, dtype=self.data.dtype)
        table[self.owners, self.indices] = self.data
        return table


def _pointers(lengths: NDArray[Any]) -> Indices:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def union_of_rows(
    owners: Indices,
    sources: Indices,
    count: int,
    lengths: Indices,
    columns: Indices,
    width: int,
    settings: SparseSettings = SETTINGS,
) -> tuple[Indices, Indices]:
    """Unions of rows of a pattern.

    Parameters
    ----------
    owners, sources : ndarray of int (e,)
        Row ``sources[i]`` of the pattern belongs to union ``owners[i]``.
    count : int
        Number of unions, g.
    lengths, columns : ndarray of int
        The pattern: lengths of its rows, and their columns one row after the other.
    width : int
        Its columns.
    settings : SparseSettings

    Returns
    -------
    lengths : ndarray of int (g,)
    columns : ndarray of int
        Of each union, sorted.
    """
    begins = np.concatenate([[0], np.cumsum(lengths)])
    met = lengths[sources]
    if int(met.sum()) <= settings.most_work:
        entries = columns[ranges(begins[sources], met)]
        places = distinct(np.repeat(owners, met) * max(width, 1) + entries)
        return np.bincount(places // max(width, 1), minlength=count), places % max(width, 1)
    from scipy.sparse import csr_array

    table = csr_array((np.ones(len(columns), dtype=np.bool_), columns, begins), shape=(len(lengths), width))
    chosen = csr_array((np.ones(len(owners), dtype=np.bool_), (owners, sources)), shape=(count, len(lengths)))
    product = chosen @ table
    product.sort_indices()
    return np.diff(product.indptr).astype(np.int64), product.indices.astype(np.int64)
