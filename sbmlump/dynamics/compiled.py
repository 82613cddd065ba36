"""The compiled engine, where Numba is installed: fields as tables, and the entry points of its loops.

Nothing of Numba is imported before a field is first asked for its tables. Where Numba is absent, does not go with the
installed NumPy, is switched off (``NUMBA_DISABLE_JIT=1``), or finds no folder for its cache, fields have no tables, and
all goes through NumPy.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sbmlump.model.domains import FloatDomain
from sbmlump.model.program import Program

if TYPE_CHECKING:
    from sbmlump.dynamics.kernels import ProgramTables, QuadraticTables, Tables

__all__ = [
    "Tabulated",
    "candidate_tables",
    "jacobians",
    "kernels",
    "left_products",
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
    made = module.ProgramTables(
        owned(FloatDomain().leaves(nodes.leaves)),
        owned(codes, np.int64),
        owned(nodes.pointers, np.int64),
        owned(nodes.args, np.int64),
        owned(nodes.coefficients),
        owned(nodes.exponents),
        owned(program.root_slots, np.int64),
        owned(rows, np.int64),
        owned(columns, np.int64),
        owned(colour, np.int64),
        colours,
        owned(free),
    )
    return _tables(module, len(program.roots), program=made)


def quadratic_tables(
    constant: Array,
    linear: sp.csr_array,
    products: sp.csr_array,
    left: Indices,
    right: Indices,
    rows: Indices,
    columns: Indices,
    base: Array,
    slopes: sp.csr_array,
) -> Tables | None:
    """A field of degree two: a + A·x + Q·(x_left·x_right), with the Jacobian's entries base + slopes·x."""
    module = kernels()
    if module is None:
        return None
    made = module.QuadraticTables(
        owned(constant),
        *_compressed(linear),
        *_compressed(products),
        *(owned(part, np.int64) for part in (left, right, rows, columns)),
        owned(base),
        *_compressed(slopes),
    )
    return _tables(module, len(constant), quadratic=made)


def _compressed(matrix: sp.csr_array) -> tuple[Indices, Indices, Array]:
    return owned(matrix.indptr, np.int64), owned(matrix.indices, np.int64), owned(matrix.data)


def lifted_tables(full: Tables | None, matrix: Array, lift: Array, offset: Array, numbers: Indices) -> Tables | None:
    """Candidate reductions through the lifted point.

    Parameters
    ----------
    full : Tables
        Of the full field.
    matrix : array (c, k, n)
    lift : array (c, n, k)
    offset : array (c, r, n)
    numbers : array of int (r,)
    """
    module = kernels()
    if module is None or full is None:
        return None
    made = module.LiftTables(owned(matrix), owned(lift), owned(offset), owned(numbers, np.int64))
    return full._replace(size=matrix.shape[1], is_lifted=True, lift=made)


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
    return _tables(module, constant.shape[1], candidates=made)


def _tables(
    module: Any,
    size: int,
    program: ProgramTables | None = None,
    quadratic: QuadraticTables | None = None,
    candidates: Any = None,
) -> Tables:
    """All tables, those that are not given empty: the loops are compiled for one type."""
    real, whole = np.empty(0), np.empty(0, dtype=np.int64)
    table = np.empty((0, 0))
    made: Tables = module.Tables(
        size,
        size,
        program is not None,
        False,
        candidates is not None,
        program or module.ProgramTables(real, whole, whole, whole, real, real, whole, whole, whole, whole, 0, table),
        quadratic
        or module.QuadraticTables(
            real, whole, whole, real, whole, whole, real, whole, whole, whole, whole, real, whole, whole, real
        ),
        module.LiftTables(*(np.empty((0, 0, 0)) for _ in range(3)), whole),
        candidates or module.CandidateTables(1, table, *(np.empty((0, 0, 0)) for _ in range(2))),
    )
    return made


# -- entry points ----------------------------------------------------------------------------------


_NO_ROWS: Final = np.empty((0, 0, 0))


def rates(tables: Tables, x: Array, run: Indices) -> Array:
    """Rates at k points, (k, n)."""
    return _evaluated(tables, kernels().Wanted.RATES, x, run, _NO_ROWS, (len(x), 1, tables.size))[:, 0]


def jacobians(tables: Tables, x: Array, run: Indices) -> Array:
    """Jacobians at k points, (k, n, n)."""
    return _evaluated(tables, kernels().Wanted.JACOBIANS, x, run, _NO_ROWS, (len(x), tables.size, tables.size))


def left_products(tables: Tables, x: Array, run: Indices, rows: Array) -> Array:
    """Row vectors times the Jacobian of a full field, (k, q, n)."""
    return _evaluated(tables, kernels().Wanted.LEFT_PRODUCTS, x, run, owned(rows), rows.shape)


def _evaluated(tables: Tables, wanted: int, x: Array, run: Indices, rows: Array, shape: tuple[int, ...]) -> Array:
    out = np.empty(shape)
    kernels().evaluate(tables, int(wanted), owned(x), owned(run, np.int64), rows, out)
    return out
