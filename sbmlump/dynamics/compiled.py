"""The compiled engine, where Numba is installed: fields as tables, and the entry points of its loops.

Nothing of it is loaded before a field is first asked for its tables. Where Numba is absent, does not go with the
installed NumPy, is switched off (``NUMBA_DISABLE_JIT=1``), or there is no folder to keep object code in, fields have no
tables, and all goes through NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sbmlump.arrays import Array, Indices
from sbmlump.model.domains import FloatDomain
from sbmlump.model.program import NodeList, Program

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sbmlump.dynamics.kernels import CandidateTables, Seats, Tables
    from sbmlump.dynamics.native import MachineCode
    from sbmlump.dynamics.object_code import LoadedCode

__all__ = [
    "FieldTables",
    "MACHINE_CODE",
    "MachineCodeSettings",
    "Tabulated",
    "candidate_tables",
    "compiled_exponentials",
    "entries",
    "jacobians",
    "kernels",
    "left_products",
    "memory",
    "lifted_tables",
    "owned",
    "pivots",
    "program_tables",
    "quadratic_tables",
    "rates",
    "seats",
    "compiled_sums_along",
    "tables_of",
]


@runtime_checkable
class Tabulated(Protocol):
    """A field that can be handed to the compiled engine."""

    def tables(self) -> Tables | None:
        """The field as arrays; ``None`` where there is no compiled engine, or it does not know a function."""
        ...

    def followed(self, steps: int) -> None:
        """So many steps were made with its tables."""
        ...


@dataclass(frozen=True, slots=True)
class MachineCodeSettings:
    """When a field gets machine code of its own (:mod:`sbmlump.dynamics.native`).

    Attributes
    ----------
    steps : int
        After so many steps with its tables. Steps with machine code save then what it costs to make it: both grow with
        the field.
    operations : int
        Of a field, at most; what it comes to in instructions is limited in :mod:`sbmlump.dynamics.native`.
    """

    steps: int = 10_000
    operations: int = 10_000


MACHINE_CODE: Final = MachineCodeSettings()


class FieldTables:
    """Tables of a field, made when first asked for; with machine code once many steps were made with them."""

    def __init__(self, make: Callable[[], Tables | None]) -> None:
        self._make = make
        self._steps = 0
        self._tried = False
        self._code: MachineCode | None = None

    @cached_property
    def _bare(self) -> Tables | None:
        return self._make()

    @property
    def tables(self) -> Tables | None:
        """As they are now."""
        bare = self._bare
        if bare is None or self._code is None:
            return bare
        at, code, place = bare.at.copy(), self._code, kernels().At
        at[place.RATES_CODE], at[place.ENTRIES_CODE], at[place.ROW_CODE] = code.rates, code.entries, code.row
        return replace(bare, at=at)

    def followed(self, steps: int) -> None:
        """Count steps that were made."""
        self._steps += steps
        if not self._tried and self._steps >= MACHINE_CODE.steps:
            self._tried = True
            bare, place = self._bare, kernels().At
            if bare is not None and bare.at[place.OPERATIONS] <= MACHINE_CODE.operations:
                self._code = import_module("sbmlump.dynamics.native").machine_code(bare, _loaded())

    def __getstate__(self) -> dict[str, object]:
        """Without machine code: its addresses mean something in this process only."""
        return self.__dict__ | {"_code": None, "_tried": False}


def tables_of(field: object) -> Tables | None:
    """The tables of a field, if it has any."""
    return field.tables() if isinstance(field, Tabulated) else None


def kernels() -> Any:
    """The module :mod:`sbmlump.dynamics.kernels`, or ``None`` where there is no compiled engine."""
    return None if entries() is None else import_module("sbmlump.dynamics.kernels")


def entries() -> LoadedCode | None:
    """The compiled loops, if there are any."""
    found: LoadedCode | None = import_module("sbmlump.dynamics.object_code").entry_points()
    return found


def owned(array: object, kind: type[np.float64] | type[np.int64] = np.float64) -> NDArray[Any]:
    """An array as the compiled loops expect it: contiguous, aligned, writable (others would be compiled anew for)."""
    return np.require(array, kind, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


# -- tables ----------------------------------------------------------------------------------------


def program_tables(program: Program, free: Array, rows: Indices, columns: Indices) -> Tables | None:
    """A field that is a program.

    Parameters
    ----------
    program : Program
    free : array (c, runs)
        Values of the inputs behind those of the state.
    rows, columns : array of int (z,)
        Entries of the Jacobian.
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
    sweep = _sweep_of(program, nodes, len(free) + len(leaves), rows, columns)
    counts = {
        at.IS_PROGRAM: 1,
        at.FREE: len(free),
        at.LEAVES: len(leaves),
        at.NODES: len(codes),
        at.ENTRIES: len(rows),
        at.SLOTS: len(program.roots) + len(free) + len(leaves) + len(codes),
        at.EDGES: len(nodes.args),
        at.SWEEP: sweep.passed,
        at.HELD: sweep.held,
        at.OPERATIONS: 2 * len(nodes.args) + sweep.passed,
    }
    whole = {
        at.CODES: codes,
        at.POINTERS: nodes.pointers,
        at.ARGS: nodes.args,
        at.ROOTS: program.root_slots,
        at.ROWS: rows,
        at.COLUMNS: columns,
        at.ADJOINTS: sweep.adjoints,
        at.COUNTS: sweep.counts,
        at.PASSES: sweep.passes,
        at.TARGETS: sweep.targets,
        at.SEEDS: sweep.seeds,
        at.FOUND: sweep.found,
    }
    real = {at.LEAF_VALUES: leaves, at.COEFFICIENTS: nodes.coefficients, at.EXPONENTS: nodes.exponents}
    return _tables(module, len(program.roots), counts, whole, real, free=free)


@dataclass(frozen=True, slots=True)
class _Sweep:
    """The Jacobian of a program by one sweep back, in which each node has an adjoint for each root that depends on it.

    Attributes
    ----------
    adjoints, counts : ndarray of int (nodes,)
        The first adjoint of each node, and how many there are.
    passes : ndarray of int (edges,)
        Where the list of an argument begins in ``targets``, one for each adjoint of the node; -1 where it does not
        depend on the state.
    targets : ndarray of int
        Adjoints of arguments.
    seeds : ndarray of int (n,)
        That of each root for itself; -1 where it does not depend on the state.
    found : ndarray of int (z,)
        That of each entry of the Jacobian.
    held, passed : int
        How many adjoints there are, and how many are passed on in a sweep.
    """

    adjoints: Indices
    counts: Indices
    passes: Indices
    targets: Indices
    seeds: Indices
    found: Indices
    held: int
    passed: int


def _sweep_of(program: Program, nodes: NodeList, others: int, rows: Indices, columns: Indices) -> _Sweep:
    """The sweep of a program with n roots; ``others`` inputs and leaves stand between those of the state and the nodes.

    Groups of rows of one colour would need as many adjoints at every node as there are colours; most nodes, such as
    rates of reactions, lead to two or three roots only.
    """
    n = len(program.roots)
    first, pointers, args = n + others, nodes.pointers.tolist(), nodes.args.tolist()
    count = len(nodes.kinds)
    of_state = [True] * n + [False] * others
    for v in range(count):
        of_state.append(any(of_state[u] for u in args[pointers[v] : pointers[v + 1]]))
    roots = program.root_slots.tolist()
    above = [0] * (first + count)  # roots that depend on a slot, as the bits of an integer
    for i, slot in enumerate(roots):
        above[slot] |= of_state[slot] << i
    for v in range(count - 1, -1, -1):
        for u in args[pointers[v] : pointers[v + 1]]:
            if of_state[u]:
                above[u] |= above[first + v]
    held = 0
    begins: list[int] = []
    places: list[dict[int, int]] = []
    for bits in above:
        begins.append(held)
        mine = {}
        while bits:
            low = bits & -bits
            mine[low.bit_length() - 1] = held
            held += 1
            bits ^= low
        places.append(mine)
    passes: list[int] = []
    targets: list[int] = []
    for v in range(count):
        mine = places[first + v]
        for u in args[pointers[v] : pointers[v + 1]]:
            passes.append(len(targets) if mine and of_state[u] else -1)
            if of_state[u]:
                theirs = places[u]
                targets += [theirs[i] for i in mine]
    found = [places[j][i] for i, j in zip(rows.tolist(), columns.tolist(), strict=True)]
    seeds = [places[slot].get(i, -1) for i, slot in enumerate(roots)]
    counts = [len(one) for one in places[first:]]
    return _Sweep(
        np.array(begins[first:], dtype=np.int64),
        np.array(counts, dtype=np.int64),
        np.array(passes, dtype=np.int64),
        np.array(targets, dtype=np.int64),
        np.array(seeds, dtype=np.int64),
        np.array(found, dtype=np.int64),
        held,
        len(targets),
    )


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
    counts = {
        at.ENTRIES: len(rows),
        at.OPERATIONS: linear.nnz + products.nnz + len(left) + slopes.nnz,
    }
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
    return replace(full, at=at, whole=whole, lift=made)


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
    if module.At.PASSES in whole:  # what says where lists of targets begin says it in the array of all whole numbers
        passes = whole[module.At.PASSES]
        passes[passes >= 0] += at[module.At.TARGETS]
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
_LAPACK: Final = 32  # larger matrices are solved faster by LAPACK, one by one
_ALIGNED: Final = 64  # bytes that a processor loads at once; a vector that lies across two of these costs two loads


def memory(rows: int) -> Array:
    """So many rows with a column for each lane."""
    lanes = kernels().LANES
    held = np.zeros(rows * lanes + _ALIGNED // 8)
    begin = -held.ctypes.data % _ALIGNED // 8
    return held[begin : begin + rows * lanes].reshape(rows, lanes)


def pivots(size: int) -> Indices:
    """Memory for the rows that are exchanged in systems of so many equations."""
    return np.zeros((size, kernels().LANES + 1), dtype=np.int64)


def seats(size: int) -> Seats:
    """Memory of a call that follows runs of so many states."""
    module, lanes = kernels(), kernels().LANES
    taken, runs = np.empty(lanes, dtype=np.int64), np.empty(lanes, dtype=np.int64)
    made: Seats = module.Seats(taken, runs, np.empty(lanes), np.empty(lanes), np.empty(lanes), pivots(size))
    return made


def _loaded() -> LoadedCode:
    found = entries()
    assert found is not None  # there are no tables without
    return found


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


def compiled_exponentials(z: Array, steps: Array) -> tuple[Array, Array] | None:
    """See :func:`sbmlump.dynamics.solve.exponentials`; ``None`` without compiled engine, and where LAPACK does better.

    Parameters
    ----------
    z : array (m, n, n)
    steps : array (m,)
    """
    module, n = kernels(), z.shape[1]
    if module is None or n > _LAPACK or not z.size:
        return None
    at = np.zeros(len(module.At), dtype=np.int64)
    at[module.At.SIZE] = n
    at, rows = module.layout(at, squares=2)
    phi, psi = np.empty(z.shape), np.empty(z.shape)
    _loaded().put_exponentials(at, memory(rows), pivots(n), owned(z), owned(steps), phi, psi)
    return phi, psi


def compiled_sums_along(
    phi: Array,
    psi: Array,
    onto: Array,
    rates: Array,
    middle: Array,
    features: Array,
    start: Array,
    ends: Indices,
    tips: Array,
) -> tuple[Array, Array, Array] | None:
    """See :meth:`sbmlump.dynamics.solve.Along.sums`; ``None`` where there is no compiled engine."""
    module = kernels()
    if module is None:
        return None
    (runs, count, k), n, c = tips.shape, rates.shape[2], features.shape[2]
    parts = phi, psi, onto, rates, middle, features, start
    by_rates, by_middle = np.empty((runs, count, k, n)), np.empty((runs, count, n, k))
    by_features = np.empty((runs, count, n, c))
    _loaded().put_sums_along(
        memory(2 * k + n + (2 * k + c) * n),
        module.AlongTables(*(owned(part) for part in parts)),
        owned(ends, np.int64),
        owned(tips),
        by_rates,
        by_middle,
        by_features,
    )
    return by_rates, by_middle, by_features


def _evaluated(
    tables: Tables, layout: tuple[Indices, int], wanted: int, x: Array, run: Indices, rows: Array, count: int
) -> Array:
    out = np.empty((len(x), count, x.shape[1]))
    taken = np.empty(kernels().LANES, dtype=np.int64)
    _loaded().evaluate(
        tables.packed, layout[0], memory(layout[1]), taken, wanted, owned(x), owned(run, np.int64), rows, out
    )
    return out
