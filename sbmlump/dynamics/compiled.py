"""The compiled engine, where Numba is installed: fields as tables, and the entry points of its loops.

Nothing of Numba is imported before a field is first asked for its tables. Where Numba is absent, does not go with the
installed NumPy, is switched off (``NUMBA_DISABLE_JIT=1``), or finds no folder for its cache, fields have no tables, and
all goes through NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sbmlump.model.domains import FloatDomain
from sbmlump.model.program import Program

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sbmlump.dynamics.kernels import CandidateTables, Tables

__all__ = [
    "Tabulated",
    "candidate_tables",
    "jacobians",
    "kernels",
    "left_products",
    "memory",
    "lifted_tables",
    "owned",
    "program_tables",
    "quadratic_tables",
    "rates",
    "tables_of",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@runtime_checkable
class Tabulated(Protocol):
    """A field that can be handed to the compiled engine."""

    def tables(self) -> Tables | None:
        """The field as arrays; ``None`` where there is no compiled engine, or it does not know a function."""
        ...


def tables_of(field: object) -> Tables | None:
    """The tables of a field, if it has any."""
    return field.tables() if isinstance(field, Tabulated) else None


@cache
def kernels() -> Any:
    """The module :mod:`sbmlump.dynamics.kernels`, or ``None`` where there is no compiled engine.

    A compilation takes longer than most jobs: without a folder where it can be kept it is not worth while.
    """
    if find_spec("numba") is None:
        return None
    try:
        if import_module("numba").config.DISABLE_JIT:
            return None
        return import_module("sbmlump.dynamics.kernels")
    except (ImportError, RuntimeError):  # made for another NumPy; no folder for the cache
        return None


def owned(array: object, kind: type[np.float64] | type[np.int64] = np.float64) -> NDArray[Any]:
    """An array as the compiled loops expect it: contiguous, aligned, writable (others would be compiled anew for)."""
    return np.require(array, kind, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


# -- tables ----------------------------------------------------------------------------------------


def program_tables(
    program: Program, free: Array, rows: Indices, columns: Indices, colour: Indices, colours: int
) -> Tables | None:
    """A field that is a program.

    Parameters
    ----------
    program : Program
    free : array (c, runs)
        Values of the inputs behind those of the state.
    rows, columns : array of int (z,)
        Entries of the Jacobian.
    colour : array of int (n,)
        Of each row.
    colours : int
    """
    module = kernels()
    if module is None:
        return None
    nodes = program.nodes()
    codes = module.codes_of(nodes.kinds)
    if codes is None:
        return None
    free = free if len(free) else np.empty((0, 1))
    at, leaves = module.At, FloatDomain().leaves(nodes.leaves)
    counts = {
        at.IS_PROGRAM: 1,
        at.FREE: len(free),
        at.LEAVES: len(leaves),
        at.NODES: len(codes),
        at.ENTRIES: len(rows),
        at.COLOURS: colours,
        at.SLOTS: len(program.roots) + len(free) + len(leaves) + len(codes),
    }
    whole = {
        at.CODES: codes,
        at.POINTERS: nodes.pointers,
        at.ARGS: nodes.args,
        at.ROOTS: program.root_slots,
        at.COLOUR: colour,
        at.ROWS: rows,
        at.COLUMNS: columns,
    }
    real = {at.LEAF_VALUES: leaves, at.COEFFICIENTS: nodes.coefficients, at.EXPONENTS: nodes.exponents}
    return _tables(module, len(program.roots), counts, whole, real, free=free)


def quadratic_tables(
    constant: Array,
    linear: csr_array,
    products: csr_array,
    left: Indices,
    right: Indices,
    rows: Indices,
    columns: Indices,
    base: Array,
    slopes: csr_array,
) -> Tables | None:
    """A field of degree two: a + A·x + Q·(x_left·x_right), with the Jacobian's entries base + slopes·x."""
    module = kernels()
    if module is None:
        return None
    at = module.At
    counts = {at.ENTRIES: len(rows)}
    whole = {
        at.LINEAR_POINTERS: linear.indptr,
        at.LINEAR_COLUMNS: linear.indices,
        at.PRODUCT_POINTERS: products.indptr,
        at.PRODUCT_COLUMNS: products.indices,
        at.LEFT: left,
        at.RIGHT: right,
        at.SLOPE_POINTERS: slopes.indptr,
        at.SLOPE_COLUMNS: slopes.indices,
        at.ROWS: rows,
        at.COLUMNS: columns,
    }
    real = {
        at.CONSTANT: constant,
        at.LINEAR: linear.data,
        at.PRODUCTS: products.data,
        at.BASE: base,
        at.SLOPES: slopes.data,
    }
    return _tables(module, len(constant), counts, whole, real)


def lifted_tables(
    full: Tables | None,
    matrix: Array,
    lift: Array,
    offset: Array,
    numbers: Indices,
    products: tuple[Array, Indices, Array, int] | None = None,
) -> Tables | None:
    """Candidate reductions through the lifted point.

    Parameters
    ----------
    full : Tables
        Of the full field.
    matrix : array (c, k, n)
    lift : array (c, n, k)
    offset : array (c, r, n)
    numbers : array of int (r,)
    products : tuple, optional
        Of a lift of degree two: columns (c, n, P), factors (2, P), totals (r, t), and how many states come before
        these among the variables.
    """
    module = kernels()
    if module is None or full is None:
        return None
    at, whole = full.at.copy(), full.whole
    at[module.At.SIZE], at[module.At.IS_LIFTED] = matrix.shape[1], 1
    columns, totals = np.empty((0, 0, 0)), np.empty((0, 0))
    if products is not None and products[0].shape[2]:
        columns, (left, right), totals, states = products
        at[module.At.LIFT_STATES], at[module.At.LIFT_TOTALS] = states, totals.shape[1]
        at[module.At.LIFT_PRODUCTS] = len(left)
        at[module.At.LIFT_LEFT], at[module.At.LIFT_RIGHT] = len(whole), len(whole) + len(left)
        whole = owned(np.concatenate([whole, left, right]), np.int64)
    made = module.LiftTables(
        owned(matrix), owned(lift), owned(offset), owned(numbers, np.int64), owned(columns), owned(totals)
    )
    return full._replace(at=at, whole=whole, lift=made)


def candidate_tables(starts: int, constant: Array, linear: Array, square: Array) -> Tables | None:
    """Candidate reductions as tables; see :class:`sbmlump.methods.approximate.search.TabledField`.

    Parameters
    ----------
    starts : int
    constant : array (c·r, k)
    linear : array (c·r, k, k)
    square : array (c, k·k, k)
        For all pairs of states; both orders of a pair become one.
    """
    module = kernels()
    if module is None:
        return None
    k = constant.shape[1]
    left, right = np.triu_indices(k)
    both = square[:, left * k + right] + np.where(left < right, 1.0, 0.0)[:, None] * square[:, right * k + left]
    made = module.CandidateTables(starts, owned(constant), owned(linear), owned(both))
    return _tables(module, k, {module.At.IS_TABLED: 1}, candidates=made)


def _tables(
    module: Any,
    size: int,
    counts: Mapping[int, int],
    whole: Mapping[int, Any] = MappingProxyType({}),
    real: Mapping[int, Any] = MappingProxyType({}),
    free: Array | None = None,
    candidates: CandidateTables | None = None,
) -> Tables:
    """Tables one behind the other, and where each begins; what is not given is empty: the loops know one type."""
    at = np.zeros(len(module.At), dtype=np.int64)
    at[module.At.SIZE] = at[module.At.FULL] = size
    for place, count in counts.items():
        at[place] = count
    for parts in (whole, real):
        begin = 0
        for place, part in parts.items():
            at[place] = begin
            begin += len(part)
    none = np.empty((0, 0, 0))
    made: Tables = module.Tables(
        at,
        owned(np.concatenate([np.empty(0, dtype=np.int64), *whole.values()]), np.int64),
        owned(np.concatenate([np.empty(0), *real.values()])),
        owned(np.empty((0, 1)) if free is None else free),
        module.LiftTables(none, none, none, np.empty(0, dtype=np.int64), none, np.empty((0, 0))),
        candidates or module.CandidateTables(1, np.empty((0, 0)), none, none),
    )
    return made


# -- entry points ----------------------------------------------------------------------------------


_NO_ROWS: Final = np.empty((0, 0, 0))
_ALIGNED: Final = 64  # bytes that a processor loads at once; a vector that lies across two of these costs two loads


def memory(rows: int) -> Array:
    """So many rows with a column for each lane."""
    lanes = kernels().LANES
    held = np.zeros(rows * lanes + _ALIGNED // 8)
    begin = -held.ctypes.data % _ALIGNED // 8
    return held[begin : begin + rows * lanes].reshape(rows, lanes)


def rates(tables: Tables, x: Array, run: Indices) -> Array:
    """Rates at k points, (k, n)."""
    module = kernels()
    return _evaluated(tables, module.layout(tables.at), module.Wanted.RATES, x, run, _NO_ROWS, 1)[:, 0]


def jacobians(tables: Tables, x: Array, run: Indices) -> Array:
    """Jacobians at k points, (k, n, n)."""
    module = kernels()
    return _evaluated(
        tables, module.layout(tables.at, squares=1), module.Wanted.JACOBIANS, x, run, _NO_ROWS, x.shape[1]
    )


def left_products(tables: Tables, x: Array, run: Indices, rows: Array) -> Array:
    """Row vectors times the Jacobian of a full field, (k, q, n)."""
    module, q = kernels(), rows.shape[1]
    return _evaluated(tables, module.layout(tables.at, sweeps=q), module.Wanted.LEFT_PRODUCTS, x, run, owned(rows), q)


def _evaluated(
    tables: Tables, layout: tuple[Indices, int], wanted: int, x: Array, run: Indices, rows: Array, count: int
) -> Array:
    out = np.empty((len(x), count, x.shape[1]))
    kernels().evaluate(tables, layout[0], memory(layout[1]), int(wanted), owned(x), owned(run, np.int64), rows, out)
    return out
