"""Loops that are compiled by Numba: right-hand sides from tables, and whole trajectories of the Rosenbrock method.

Nothing here is made for one model: what a model is stands in arrays (:class:`Tables`), so that one compilation, kept
in Numba's cache, does for all of them. This module imports Numba and is imported by
:mod:`sbmlump.dynamics.compiled` alone. All that is compiled stands in this file, because the cache looks at the date
of one file only.

Eight runs are followed at once, each in a *lane* of its own with its own steps: what a node of a program is has to be
looked up once for all of them, and a processor multiplies eight numbers as fast as one. A run that ends leaves its lane
to the next one. Tables of lanes have eight columns; those that would have more than one other dimension are flattened
into rows.

The semantics of every operation are those of :class:`sbmlump.model.domains.FloatDomain`, those of a step those of
:mod:`sbmlump.dynamics.rosenbrock`.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.caching import FunctionCache
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

__all__ = [
    "Code",
    "LiftTables",
    "Method",
    "ProgramTables",
    "QuadraticTables",
    "Status",
    "CandidateTables",
    "Tables",
    "Where",
    "codes_of",
    "Wanted",
    "evaluate",
    "follow",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., object])


class _Cache(FunctionCache):
    """Numba's cache on disk, in which what cannot be read is compiled anew.

    An entry names classes of this module; after one was renamed it cannot be read any more.
    """

    def load_overload(self, sig: object, target_context: object) -> object:
        """See the base class."""
        try:
            return super().load_overload(sig, target_context)
        except (AttributeError, ImportError, EOFError, pickle.UnpicklingError):
            self.flush()
            return None


def _compiled(function: F) -> F:
    """Compile on first use; the result is kept in Numba's cache."""
    made: Any = njit(cache=True, error_model="numpy")(function)
    made._cache = _Cache(function)
    kept: F = made
    return kept


def _inner(function: F) -> F:
    """The same for what is called by compiled functions alone, and is kept with them."""
    made: F = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return made


class Code(IntEnum):
    """What a node of a program does; functions by their names in :data:`sbmlump.model.domains.FLOAT_FUNCTIONS`."""

    SUM = 0
    PRODUCT = 1
    DIVISION = 2
    WHOLE_POWER = 3
    POWER = 4
    EXP = 5
    LN = 6
    PIECEWISE = 7
    LT = 8
    LEQ = 9
    GT = 10
    GEQ = 11
    EQ = 12
    NEQ = 13
    AND = 14
    OR = 15
    XOR = 16
    NOT = 17
    MIN = 18
    MAX = 19
    ABS = 20
    FLOOR = 21
    CEILING = 22
    QUOTIENT = 23
    REM = 24
    SIN = 25
    COS = 26
    TAN = 27
    SEC = 28
    CSC = 29
    COT = 30
    SINH = 31
    COSH = 32
    TANH = 33
    SECH = 34
    CSCH = 35
    COTH = 36
    ARCSIN = 37
    ARCCOS = 38
    ARCTAN = 39
    ARCSEC = 40
    ARCCSC = 41
    ARCCOT = 42
    ARCSINH = 43
    ARCCOSH = 44
    ARCTANH = 45
    ARCSECH = 46
    ARCCSCH = 47
    ARCCOTH = 48


_CODES: Final = {code.name.lower().replace("_", "-"): code for code in Code} | {
    "generic-power": Code.POWER,
    "generic-ln": Code.LN,
}


def codes_of(kinds: Sequence[str]) -> Indices | None:
    """Codes of nodes; ``None`` if one of the functions is not known here (the factorial)."""
    if not _CODES.keys() >= set(kinds):
        return None
    return np.array([_CODES[kind] for kind in kinds], dtype=np.int64)


class Wanted(IntEnum):
    """What :func:`evaluate` is asked for."""

    RATES = 0
    JACOBIANS = 1
    LEFT_PRODUCTS = 2


class Status(IntEnum):
    """How a run stands."""

    UNDER_WAY = 0
    DONE = 1
    MANY_STEPS = 2
    SHORT_STEPS = 3


class ProgramTables(NamedTuple):
    """A straight-line program, node by node; see :class:`sbmlump.model.program.Program` for its slots.

    Attributes
    ----------
    leaves : ndarray (l,)
        Numbers in the slots behind those of the inputs.
    codes : ndarray of int (g,)
        A :class:`Code` for each node, in the order of the slots.
    pointers : ndarray of int (g + 1,)
        Where the arguments of each node begin.
    args : ndarray of int (a,)
        Slots.
    coefficients : ndarray (a,)
        Of the terms of sums.
    exponents : ndarray (g,)
        Whole ones.
    roots : ndarray of int (n,)
        Slots of the components.
    rows, columns : ndarray of int (z,)
        Entries of the Jacobian that are not 0 for all x.
    colour : ndarray of int (n,)
        Of each row; rows of one colour share no column.
    colours : int
    free : ndarray (c, runs)
        Inputs behind those of the state, which differ between runs.
    """

    leaves: Array
    codes: Indices
    pointers: Indices
    args: Indices
    coefficients: Array
    exponents: Array
    roots: Indices
    rows: Indices
    columns: Indices
    colour: Indices
    colours: int
    free: Array


class QuadraticTables(NamedTuple):
    """A right-hand side a + A·x + Q·(x_i x_j) and its Jacobian, as compressed rows.

    Attributes
    ----------
    constant : ndarray (n,)
    linear_pointers, linear_columns, linear : ndarrays
    product_pointers, product_columns, products : ndarrays
    left, right : ndarray of int (p,)
        Factors of the products.
    rows, columns : ndarray of int (z,)
        Entries of the Jacobian.
    base : ndarray (z,)
        What they are at 0.
    slope_pointers, slope_columns, slopes : ndarrays
        And how they change with x, (z, n).
    """

    constant: Array
    linear_pointers: Indices
    linear_columns: Indices
    linear: Array
    product_pointers: Indices
    product_columns: Indices
    products: Array
    left: Indices
    right: Indices
    rows: Indices
    columns: Indices
    base: Array
    slope_pointers: Indices
    slope_columns: Indices
    slopes: Array


class LiftTables(NamedTuple):
    """Candidates of one size: run i·r + j is candidate i from start j.

    Attributes
    ----------
    matrix : ndarray (c, k, n)
        L of each candidate.
    lift : ndarray (c, n, k)
        L̄ of each.
    offset : ndarray (c, r, n)
    numbers : ndarray of int (r,)
        Runs of the full field that the starts belong to.
    """

    matrix: Array
    lift: Array
    offset: Array
    numbers: Indices


class CandidateTables(NamedTuple):
    """Candidates as tables of degree two: ẏ = a + My + T(y_i y_j)_(i ≤ j).

    Attributes
    ----------
    starts : int
        Runs of a candidate.
    constant : ndarray (c·r, k)
    linear : ndarray (c·r, k, k)
    square : ndarray (c, k (k + 1) / 2, k)
        For pairs (0, 0), (0, 1) … (1, 1) … of states.
    """

    starts: int
    constant: Array
    linear: Array
    square: Array


class Tables(NamedTuple):
    """A field: which of the tables hold it, and all of them (what is not used is empty).

    Attributes
    ----------
    size : int
        Components of the field.
    full : int
        Components of the full field below a lift, else ``size``.
    is_program, is_lifted, is_tabled : bool
    """

    size: int
    full: int
    is_program: bool
    is_lifted: bool
    is_tabled: bool
    program: ProgramTables
    quadratic: QuadraticTables
    lift: LiftTables
    candidates: CandidateTables


class Method(NamedTuple):
    """The Rosenbrock method and how its steps change; see :mod:`sbmlump.dynamics.rosenbrock`.

    Attributes
    ----------
    gamma : float
    a : ndarray (5, 5)
    c : ndarray (6, 6)
    d : ndarray (2, 5)
    safety, shrink, grow, retreat, least, rounding : float
    """

    gamma: float
    a: Array
    c: Array
    d: Array
    safety: float
    shrink: float
    grow: float
    retreat: float
    least: float
    rounding: float


class Where(NamedTuple):
    """Where runs are; changed in place.

    Attributes
    ----------
    run : ndarray of int (r,)
        Their numbers for the field.
    t, h : ndarray (r,)
        Time and length of the next step.
    x, f : ndarray (r, n)
        State and rates.
    pointer, made, status : ndarray of int (r,)
        The next output, steps so far, a :class:`Status`.
    states : ndarray (r, m, n)
        Outputs.
    counts : ndarray of int (r, m)
        Steps up to each output.
    """

    run: Indices
    t: Array
    h: Array
    x: Array
    f: Array
    pointer: Indices
    made: Indices
    status: Indices
    states: Array
    counts: Indices


# -- lanes -----------------------------------------------------------------------------------------

LANES: Final = 8  # doubles in a register of today's processors; where it holds fewer, several are used
_VECTOR: Final = ir.VectorType(ir.DoubleType(), LANES)
_UNDEFINED: Final = ir.Constant(_VECTOR, ir.Undefined)
_ZERO: Final = ir.Constant(_VECTOR, [0.0] * LANES)


class LanesType(types.Type):
    """A number in each lane."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES: Final = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _row(context: Any, builder: Any, kind: Any, table: Any, row: Any) -> Any:
    """Address of a row of a table with a column for each lane."""
    data = make_array(kind)(context, builder, table).data
    place = builder.gep(data, [builder.mul(row, ir.Constant(row.type, LANES))])
    return builder.bitcast(place, _VECTOR.as_pointer())


def _operation(count: int, of: Callable[..., tuple[Any, ...]], result: Any, emit: Callable[..., Any]) -> Any:
    """An operation of compiled functions on so many arguments.

    ``of`` gives the types that given ones are taken for, ``emit`` the code from (context, builder, signature, values).
    """

    def typed(*given: Any) -> Any:
        return result(*of(*given)), emit

    # Numba looks at the names of arguments
    definitions: tuple[Callable[..., Any], ...] = (
        lambda _, a: typed(a),
        lambda _, a, b: typed(a, b),
        lambda _, a, b, c: typed(a, b, c),
        lambda _, a, b, c, d: typed(a, b, c, d),
    )
    return intrinsic(definitions[count - 1])


def _of_vectors(count: int, emit: Callable[[Any, Any], Any], result: Any = _LANES) -> Any:
    """An operation of so many vectors, from what it emits for (builder, values)."""
    return _operation(count, lambda *_: (_LANES,) * count, result, lambda _, builder, __, args: emit(builder, args))


def _called(name: str, builder: Any, args: Any) -> Any:
    """A function of vectors that LLVM knows."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    return builder.call(get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f64"), args)


def _emit_load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    found = builder.load(_row(context, builder, signature.args[0], *args))
    found.align = 8
    return found


def _emit_store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    builder.store(args[2], _row(context, builder, signature.args[0], args[0], args[1])).align = 8
    return context.get_dummy_value()


def _emit_splat(_: Any, builder: Any, __: Any, args: Any) -> Any:
    first = builder.insert_element(_UNDEFINED, args[0], ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, _UNDEFINED, everywhere)


def _emit_any(builder: Any, args: Any) -> Any:
    bits = builder.bitcast(builder.fcmp_unordered("!=", args[0], _ZERO), ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


_load: Final = _operation(2, lambda table, _: (table, types.intp), _LANES, _emit_load)
"""A row of a table."""
_store: Final = _operation(3, lambda table, *_: (table, types.intp, _LANES), types.void, _emit_store)
"""Put a number for each lane into a row of a table."""
_splat: Final = _operation(1, lambda _: (types.float64,), _LANES, _emit_splat)
"""One number in all lanes."""
_add: Final = _of_vectors(2, lambda builder, args: builder.fadd(*args))
_sub: Final = _of_vectors(2, lambda builder, args: builder.fsub(*args))
_mul: Final = _of_vectors(2, lambda builder, args: builder.fmul(*args))
_div: Final = _of_vectors(2, lambda builder, args: builder.fdiv(*args))
_fma: Final = _of_vectors(3, lambda builder, args: _called("fma", builder, args))
"""a·b + c."""
_magnitude: Final = _of_vectors(1, lambda builder, args: _called("fabs", builder, args))
_where_larger: Final = _of_vectors(
    4, lambda builder, args: builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])
)
"""x in lanes where a > b, else y, of (a, b, x, y)."""
_unless_zero: Final = _of_vectors(
    2, lambda builder, args: builder.select(builder.fcmp_ordered("==", args[0], _ZERO), _ZERO, args[1])
)
"""0 in lanes where a is 0, else x, of (a, x)."""
_any: Final = _of_vectors(1, _emit_any, types.boolean)
"""Whether a lane is not 0."""


class _Space(NamedTuple):
    """Memory of eight runs; all tables have a column for each lane.

    What belongs to a run is put there when it takes its lane: leaves and free inputs of a program, and the matrices of
    its candidate.
    """

    values: Array  # (slots,)
    adjoint: Array  # (slots · sweeps,)
    point: Array  # (n,) of the full field
    rates: Array  # (n,) of the full field
    entries: Array  # (z,) of the Jacobian of the full field
    onto: Array  # (n · k,): L times the Jacobian of the full field, transposed
    scratch: Array  # (2,)
    matrix: Array  # (k · n,) of candidates through a lift
    lift: Array  # (n · k,)
    offset: Array  # (n,)
    constant: Array  # (k,) of candidates as tables
    linear: Array  # (k · k,)
    square: Array  # (k (k + 1) / 2 · k,), with both orders of a pair in one
    seated: Indices  # (lanes,) the run in each


@_inner
def _lanes_of(rows: int) -> Array:
    return np.zeros((rows, 8))


@_inner
def _space(tables: Tables, sweeps: int) -> _Space:
    k, n = tables.size, tables.full
    slots = 0
    entries = len(tables.quadratic.rows)
    if tables.is_program:
        program = tables.program
        slots = n + len(program.free) + len(program.leaves) + len(program.codes)
        sweeps = max(sweeps, program.colours)
        entries = len(program.rows)
    if tables.is_tabled:
        slots, entries = 0, 0
    lifted = 1 if tables.is_lifted else 0
    tabled = 1 if tables.is_tabled else 0
    space = _Space(
        _lanes_of(slots),
        _lanes_of(slots * sweeps),
        _lanes_of(n),
        _lanes_of(n),
        _lanes_of(entries),
        _lanes_of(n * max(k, sweeps)),
        _lanes_of(2),
        _lanes_of(lifted * n * k),
        _lanes_of(lifted * n * k),
        _lanes_of(lifted * n),
        _lanes_of(tabled * k),
        _lanes_of(tabled * k * k),
        _lanes_of(tabled * k * k * (k + 1) // 2),
        np.full(8, -1, dtype=np.int64),
    )
    if slots:
        first = n + len(tables.program.free)
        for i in range(len(tables.program.leaves)):
            _store(space.values, first + i, _splat(tables.program.leaves[i]))
    return space


@_inner
def _seat(tables: Tables, run: int, lane: int, space: _Space) -> None:
    """Put what belongs to a run into a lane."""
    if space.seated[lane] == run:
        return
    before = space.seated[lane]
    space.seated[lane] = run
    k, n = tables.size, tables.full
    number = run
    if tables.is_tabled:
        tabled = tables.candidates
        candidate = run // tabled.starts
        for i in range(k):
            space.constant[i, lane] = tabled.constant[run, i]
            for j in range(k):
                space.linear[i * k + j, lane] = tabled.linear[run, i, j]
        if before < 0 or before // tabled.starts != candidate:
            square = tabled.square[candidate]
            for i in range(len(square)):
                for j in range(k):
                    space.square[i * k + j, lane] = square[i, j]
    elif tables.is_lifted:
        lift = tables.lift
        starts = len(lift.numbers)
        candidate, start = run // starts, run % starts
        number = lift.numbers[start]
        for i in range(n):
            space.offset[i, lane] = lift.offset[candidate, start, i]
        if before < 0 or before // starts != candidate:
            for i in range(n):
                for j in range(k):
                    space.lift[i * k + j, lane] = lift.lift[candidate, i, j]
                    space.matrix[j * n + i, lane] = lift.matrix[candidate, j, i]
    if tables.is_program and not tables.is_tabled:
        for i in range(len(tables.program.free)):
            space.values[n + i, lane] = tables.program.free[i, number]


@_inner
def _copy(source: Array, target: Array, count: int) -> None:
    for i in range(count):
        _store(target, i, _load(source, i))


@_inner
def _clear(table: Array, count: int) -> None:
    nothing = _splat(0.0)
    for i in range(count):
        _store(table, i, nothing)


@_inner
def _finite(table: Array, count: int, row: Array) -> bool:
    """Whether all numbers of all lanes are finite; ``row[0]`` is 0 in lanes where they are, else NaN."""
    nothing = _splat(0.0)
    total = nothing
    for i in range(count):
        total = _fma(_load(table, i), nothing, total)
    _store(row, 0, total)
    return not _any(total)


# -- programs --------------------------------------------------------------------------------------


@_inner
def _truth(condition: bool) -> float:
    return 1.0 if condition else 0.0


@_inner
def _whole_power(values: Array, slot: int, exponent: float, row: Array, place: int) -> None:
    """A power with a whole exponent, into a row."""
    a = _load(values, slot)
    size = abs(exponent)
    if size <= 16.0:
        count = int(size)
        square, product = a, _splat(1.0)
        while count > 0:
            if count % 2:
                product = _mul(product, square)
            square = _mul(square, square)
            count //= 2
        if exponent < 0.0:
            product = _div(_splat(1.0), product)
        _store(row, place, product)
    else:
        for lane in range(8):
            row[place, lane] = values[slot, lane] ** exponent


@_inner
def _forward(program: ProgramTables, first: int, values: Array) -> None:
    """Values of all nodes, from those of inputs and leaves, which are the slots up to ``first``."""
    codes, pointers, args = program.codes, program.pointers, program.args
    coefficients, exponents = program.coefficients, program.exponents
    for node in range(len(codes)):
        code, low, high = codes[node], pointers[node], pointers[node + 1]
        if code == Code.SUM:
            value = _mul(_splat(coefficients[low]), _load(values, args[low]))
            for i in range(low + 1, high):
                value = _fma(_splat(coefficients[i]), _load(values, args[i]), value)
            _store(values, first + node, value)
        elif code == Code.PRODUCT:
            value = _load(values, args[low])
            for i in range(low + 1, high):
                value = _mul(value, _load(values, args[i]))
            _store(values, first + node, value)
        elif code == Code.DIVISION:
            _store(values, first + node, _div(_load(values, args[low]), _load(values, args[low + 1])))
        elif code == Code.WHOLE_POWER:
            _whole_power(values, args[low], exponents[node], values, first + node)
        else:
            for lane in range(8):
                values[first + node, lane] = _function(code, low, high, args, values, lane)


@_inner
def _function(code: int, low: int, high: int, args: Indices, values: Array, lane: int) -> float:
    """Value of a function that is no rational operation, in a lane."""
    a = values[args[low], lane]
    b = values[args[low + 1], lane] if high > low + 1 else 0.0
    value = np.nan
    if code == Code.POWER:
        value = a**b
    elif code == Code.EXP:
        value = np.exp(a)
    elif code == Code.LN:
        value = np.log(a)
    elif code == Code.PIECEWISE:
        value = values[args[high - 1], lane]
        for i in range(low, high - 1, 2):
            if values[args[i + 1], lane] != 0:
                value = values[args[i], lane]
                break
    elif code == Code.LT:
        value = _truth(a < b)
    elif code == Code.LEQ:
        value = _truth(a <= b)
    elif code == Code.GT:
        value = _truth(a > b)
    elif code == Code.GEQ:
        value = _truth(a >= b)
    elif code == Code.EQ:
        value = _truth(a == b)
    elif code == Code.NEQ:
        value = _truth(a != b)
    elif code == Code.AND:
        value = 1.0
        for i in range(low, high):
            if values[args[i], lane] == 0:
                value = 0.0
    elif code == Code.OR:
        value = 0.0
        for i in range(low, high):
            if values[args[i], lane] != 0:
                value = 1.0
    elif code == Code.XOR:
        value = 0.0
        for i in range(low, high):
            if values[args[i], lane] != 0:
                value = 1.0 - value
    elif code == Code.NOT:
        value = _truth(a == 0)
    elif code == Code.MIN:
        value = a
        for i in range(low + 1, high):
            other = values[args[i], lane]
            if not (value <= other or value != value):
                value = other
    elif code == Code.MAX:
        value = a
        for i in range(low + 1, high):
            other = values[args[i], lane]
            if not (value >= other or value != value):
                value = other
    elif code == Code.QUOTIENT:
        value = np.trunc(a / b)
    elif code == Code.REM:
        value = a - b * np.trunc(a / b)
    else:
        value = _of_one(code, a)
    return value


@_inner
def _of_one(code: int, a: float) -> float:
    """Value of a function of one argument."""
    value = np.nan
    if code == Code.ABS:
        value = abs(a)
    elif code == Code.FLOOR:
        value = np.floor(a)
    elif code == Code.CEILING:
        value = np.ceil(a)
    elif code == Code.SIN:
        value = np.sin(a)
    elif code == Code.COS:
        value = np.cos(a)
    elif code == Code.TAN:
        value = np.tan(a)
    elif code == Code.SEC:
        value = 1.0 / np.cos(a)
    elif code == Code.CSC:
        value = 1.0 / np.sin(a)
    elif code == Code.COT:
        value = 1.0 / np.tan(a)
    elif code == Code.SINH:
        value = np.sinh(a)
    elif code == Code.COSH:
        value = np.cosh(a)
    elif code == Code.TANH:
        value = np.tanh(a)
    elif code == Code.SECH:
        value = 1.0 / np.cosh(a)
    elif code == Code.CSCH:
        value = 1.0 / np.sinh(a)
    elif code == Code.COTH:
        value = 1.0 / np.tanh(a)
    elif code == Code.ARCSIN:
        value = np.arcsin(a)
    elif code == Code.ARCCOS:
        value = np.arccos(a)
    elif code == Code.ARCTAN:
        value = np.arctan(a)
    elif code == Code.ARCSEC:
        value = np.arccos(1.0 / a)
    elif code == Code.ARCCSC:
        value = np.arcsin(1.0 / a)
    elif code == Code.ARCCOT:
        value = np.arctan(1.0 / a)
    elif code == Code.ARCSINH:
        value = np.arcsinh(a)
    elif code == Code.ARCCOSH:
        value = np.arccosh(a)
    elif code == Code.ARCTANH:
        value = np.arctanh(a)
    elif code == Code.ARCSECH:
        value = np.arccosh(1.0 / a)
    elif code == Code.ARCCSCH:
        value = np.arcsinh(1.0 / a)
    elif code == Code.ARCCOTH:
        value = np.arctanh(1.0 / a)
    return value


@_inner
def _slope_of_one(code: int, u: float, f: float) -> float:
    """Derivative of a function of one argument, from the argument and the value."""
    slope = 0.0  # floor, ceiling, relations, logic
    if code == Code.EXP:
        slope = f
    elif code == Code.LN:
        slope = 1.0 / u
    elif code == Code.ABS:
        slope = 1.0 if u > 0 else -1.0 if u < 0 else u
    elif code == Code.SIN:
        slope = np.cos(u)
    elif code == Code.COS:
        slope = -np.sin(u)
    elif code == Code.TAN:
        slope = 1.0 + f * f
    elif code == Code.SEC:
        slope = f * np.tan(u)
    elif code == Code.CSC:
        slope = -f / np.tan(u)
    elif code == Code.COT:
        slope = -(1.0 + f * f)
    elif code == Code.SINH:
        slope = np.cosh(u)
    elif code == Code.COSH:
        slope = np.sinh(u)
    elif code == Code.TANH or code == Code.COTH:
        slope = 1.0 - f * f
    elif code == Code.SECH:
        slope = -f * np.tanh(u)
    elif code == Code.CSCH:
        slope = -f / np.tanh(u)
    elif code == Code.ARCSIN:
        slope = 1.0 / np.sqrt(1.0 - u * u)
    elif code == Code.ARCCOS:
        slope = -1.0 / np.sqrt(1.0 - u * u)
    elif code == Code.ARCTAN:
        slope = 1.0 / (1.0 + u * u)
    elif code == Code.ARCSEC:
        slope = 1.0 / (abs(u) * np.sqrt(u * u - 1.0))
    elif code == Code.ARCCSC:
        slope = -1.0 / (abs(u) * np.sqrt(u * u - 1.0))
    elif code == Code.ARCCOT:
        slope = -1.0 / (1.0 + u * u)
    elif code == Code.ARCSINH:
        slope = 1.0 / np.sqrt(1.0 + u * u)
    elif code == Code.ARCCOSH:
        slope = 1.0 / np.sqrt(u * u - 1.0)
    elif code == Code.ARCTANH or code == Code.ARCCOTH:
        slope = 1.0 / (1.0 - u * u)
    elif code == Code.ARCSECH:
        slope = -1.0 / (u * np.sqrt(1.0 - u * u))
    elif code == Code.ARCCSCH:
        slope = -1.0 / (abs(u) * np.sqrt(1.0 + u * u))
    return slope


@_inner
def _passed_on(adjoint: Array, out: int, slopes: Array, row: int, to: int, sweeps: int) -> None:
    """Add adjoints times a slope; an adjoint of 0 passes nothing on, be the slope infinite."""
    slope = _load(slopes, row)
    for c in range(sweeps):
        value = _load(adjoint, out + c)
        _store(adjoint, to + c, _add(_load(adjoint, to + c), _unless_zero(value, _mul(value, slope))))


@_inner
def _backward(program: ProgramTables, first: int, values: Array, adjoint: Array, sweeps: int, scratch: Array) -> None:
    """Vector–Jacobian products, ``sweeps`` of them: from the adjoints of the roots to those of the inputs."""
    codes, pointers, args = program.codes, program.pointers, program.args
    for node in range(len(codes) - 1, -1, -1):
        out = (first + node) * sweeps
        idle = True
        for c in range(sweeps):
            if _any(_load(adjoint, out + c)):
                idle = False
                break
        if idle:
            continue
        code, low, high = codes[node], pointers[node], pointers[node + 1]
        if code == Code.SUM:
            for i in range(low, high):
                slope, to = _splat(program.coefficients[i]), args[i] * sweeps
                for c in range(sweeps):
                    _store(adjoint, to + c, _fma(_load(adjoint, out + c), slope, _load(adjoint, to + c)))
        elif code == Code.PRODUCT:
            for i in range(low, high):
                slope, after = _splat(1.0), _splat(1.0)
                for j in range(low, i):
                    slope = _unless_zero(slope, _mul(slope, _load(values, args[j])))
                for j in range(high - 1, i, -1):
                    after = _mul(after, _load(values, args[j]))
                _store(scratch, 0, _unless_zero(slope, _mul(slope, after)))
                _passed_on(adjoint, out, scratch, 0, args[i] * sweeps, sweeps)
        elif code == Code.DIVISION:
            top = _div(_splat(1.0), _load(values, args[low + 1]))
            _store(scratch, 0, top)
            _store(scratch, 1, _sub(_splat(0.0), _unless_zero(top, _mul(top, _load(values, first + node)))))
            _passed_on(adjoint, out, scratch, 0, args[low] * sweeps, sweeps)
            _passed_on(adjoint, out, scratch, 1, args[low + 1] * sweeps, sweeps)
        elif code == Code.WHOLE_POWER:
            e = program.exponents[node]
            _whole_power(values, args[low], e - 1.0, scratch, 0)
            _store(scratch, 0, _mul(_splat(e), _load(scratch, 0)))
            _passed_on(adjoint, out, scratch, 0, args[low] * sweeps, sweeps)
        else:
            for i in range(low, high):
                for lane in range(8):
                    scratch[0, lane] = _slope(code, low, high, args, values, first + node, i, lane)
                _passed_on(adjoint, out, scratch, 0, args[i] * sweeps, sweeps)


@_inner
def _slope(code: int, low: int, high: int, args: Indices, values: Array, slot: int, i: int, lane: int) -> float:
    """Derivative of a function that is no rational operation with respect to argument ``i``, in a lane."""
    a = values[args[low], lane]
    value = values[slot, lane]
    slope = 0.0  # relations, logic, quotient: constant but for jumps
    if code == Code.POWER:
        e = values[args[low + 1], lane]
        if i == low:
            slope = e * a ** (e - 1.0)
        else:
            # at base 0 the exponent has no influence: the limit of value·ln(base) is 0 there
            slope = np.nan if a < 0 else value * (np.log(a) if a > 0 else 0.0)
    elif code == Code.PIECEWISE:
        taken = high - 1
        for j in range(low, high - 1, 2):
            if values[args[j + 1], lane] != 0:
                taken = j
                break
        slope = _truth(i == taken)
    elif code == Code.MIN or code == Code.MAX:
        taken = -1
        for j in range(low, high):
            if values[args[j], lane] == value:
                taken = j
                break
        slope = _truth(i == taken)
    elif code == Code.REM:
        slope = 1.0 if i == low else -np.trunc(a / values[args[low + 1], lane])
    elif high == low + 1:
        slope = _slope_of_one(code, a, value)
    return slope


@_inner
def _program_values(program: ProgramTables, x: Array, n: int, values: Array) -> int:
    """Values of all slots at a state; the number of slots before the first node is returned."""
    _copy(x, values, n)
    first = n + len(program.free) + len(program.leaves)
    _forward(program, first, values)
    return first


# -- fields ----------------------------------------------------------------------------------------


@_inner
def _full_rates(tables: Tables, x: Array, space: _Space, out: Array) -> None:
    if tables.is_program:
        _program_values(tables.program, x, tables.full, space.values)
        for i in range(tables.full):
            _store(out, i, _load(space.values, tables.program.roots[i]))
    else:
        form = tables.quadratic
        for i in range(tables.full):
            value = _splat(form.constant[i])
            for e in range(form.linear_pointers[i], form.linear_pointers[i + 1]):
                value = _fma(_splat(form.linear[e]), _load(x, form.linear_columns[e]), value)
            for e in range(form.product_pointers[i], form.product_pointers[i + 1]):
                p = form.product_columns[e]
                product = _mul(_load(x, form.left[p]), _load(x, form.right[p]))
                value = _fma(_splat(form.products[e]), product, value)
            _store(out, i, value)


@_inner
def _full_jacobian(tables: Tables, x: Array, space: _Space) -> None:
    """Entries of the Jacobian of the full field, into ``space.entries``."""
    entries = space.entries
    if tables.is_program:  # one backward sweep for all colours of rows
        program = tables.program
        colours = program.colours
        first = _program_values(program, x, tables.full, space.values)
        _clear(space.adjoint, len(space.values) * colours)
        for i in range(tables.full):
            place = program.roots[i] * colours + program.colour[i]
            _store(space.adjoint, place, _add(_load(space.adjoint, place), _splat(1.0)))
        _backward(program, first, space.values, space.adjoint, colours, space.scratch)
        for e in range(len(program.rows)):
            place = program.columns[e] * colours + program.colour[program.rows[e]]
            _store(entries, e, _load(space.adjoint, place))
    else:
        form = tables.quadratic
        for e in range(len(form.rows)):
            value = _splat(form.base[e])
            for i in range(form.slope_pointers[e], form.slope_pointers[e + 1]):
                value = _fma(_splat(form.slopes[i]), _load(x, form.slope_columns[i]), value)
            _store(entries, e, value)


@_inner
def _times(table: Array, x: Array, rows: int, columns: int, offset: Array, out: Array) -> None:
    """A table times a vector plus an offset (0 where that is empty), each lane with its own."""
    for i in range(rows):
        value = _load(offset, i) if len(offset) else _splat(0.0)
        for j in range(columns):
            value = _fma(_load(table, i * columns + j), _load(x, j), value)
        _store(out, i, value)


@_inner
def _rates(tables: Tables, x: Array, space: _Space, out: Array) -> None:
    k = tables.size
    if tables.is_tabled:
        _times(space.linear, x, k, k, space.constant, out)
        pair = 0
        for i in range(k):
            for j in range(i, k):
                weight = _mul(_load(x, i), _load(x, j))
                for c in range(k):
                    _store(out, c, _fma(weight, _load(space.square, pair * k + c), _load(out, c)))
                pair += 1
    elif tables.is_lifted:
        _times(space.lift, x, tables.full, k, space.offset, space.point)
        _full_rates(tables, space.point, space, space.rates)
        _times(space.matrix, space.rates, k, tables.full, space.rates[:0], out)
    else:
        _full_rates(tables, x, space, out)


@_inner
def _jacobian(tables: Tables, x: Array, space: _Space, out: Array) -> None:
    """The Jacobian of the field, (k · k,)."""
    k = tables.size
    if tables.is_tabled:
        _copy(space.linear, out, k * k)
        pair = 0
        for i in range(k):
            for j in range(i, k):
                a, b = _load(x, i), _load(x, j)
                for c in range(k):
                    slope = _load(space.square, pair * k + c)
                    _store(out, c * k + j, _fma(a, slope, _load(out, c * k + j)))
                    _store(out, c * k + i, _fma(b, slope, _load(out, c * k + i)))
                pair += 1
    elif tables.is_lifted:
        _times(space.lift, x, tables.full, k, space.offset, space.point)
        _left_products(tables, space.point, space.matrix, k, space, space.onto)
        _clear(out, k * k)
        for i in range(tables.full):
            for q in range(k):
                weight = _load(space.onto, i * k + q)
                if _any(weight):
                    for j in range(k):
                        place = q * k + j
                        _store(out, place, _fma(weight, _load(space.lift, i * k + j), _load(out, place)))
    else:
        _full_jacobian(tables, x, space)
        _clear(out, k * k)
        rows = tables.program.rows if tables.is_program else tables.quadratic.rows
        columns = tables.program.columns if tables.is_program else tables.quadratic.columns
        for e in range(len(rows)):
            _store(out, rows[e] * k + columns[e], _load(space.entries, e))


@_inner
def _left_products(tables: Tables, x: Array, matrix: Array, q: int, space: _Space, out: Array) -> None:
    """Rows (q · n) times the Jacobian of the full field, transposed: (n · q)."""
    n = tables.full
    if tables.is_program and q <= tables.program.colours:
        program = tables.program
        first = _program_values(program, x, n, space.values)
        _clear(space.adjoint, len(space.values) * q)
        for i in range(n):
            for c in range(q):
                place = program.roots[i] * q + c
                _store(space.adjoint, place, _add(_load(space.adjoint, place), _load(matrix, c * n + i)))
        _backward(program, first, space.values, space.adjoint, q, space.scratch)
        _copy(space.adjoint, out, n * q)
        return
    _full_jacobian(tables, x, space)
    rows = tables.program.rows if tables.is_program else tables.quadratic.rows
    columns = tables.program.columns if tables.is_program else tables.quadratic.columns
    _clear(out, n * q)
    for e in range(len(rows)):
        value, i, j = _load(space.entries, e), rows[e], columns[e]
        for c in range(q):
            _store(out, j * q + c, _fma(value, _load(matrix, c * n + i), _load(out, j * q + c)))


@_compiled
def evaluate(tables: Tables, wanted: int, x: Array, run: Indices, rows: Array, out: Array) -> None:
    """Rates, Jacobians or left products at k points.

    Parameters
    ----------
    tables : Tables
    wanted : int
        A :class:`Wanted`; products are those with the full field.
    x : array (k, n)
    run : array of int (k,)
    rows : array (k, q, n)
        For products.
    out : array (k, 1, n), (k, n, n) or (k, q, n)
    """
    q, n = out.shape[1], out.shape[2]
    space = _space(tables, q)
    point = _lanes_of(n)
    found = _lanes_of(q * n)
    weights = _lanes_of(q * n if wanted == Wanted.LEFT_PRODUCTS else 0)
    for low in range(0, len(x), 8):
        for lane in range(8):
            place = min(low + lane, len(x) - 1)
            _seat(tables, run[place], lane, space)
            for i in range(n):
                point[i, lane] = x[place, i]
            if wanted == Wanted.LEFT_PRODUCTS:
                for c in range(q):
                    for i in range(n):
                        weights[c * n + i, lane] = rows[place, c, i]
        if wanted == Wanted.RATES:
            _rates(tables, point, space, found)
        elif wanted == Wanted.JACOBIANS:
            _jacobian(tables, point, space, found)
        else:
            _left_products(tables, point, weights, q, space, found)
        for lane in range(min(8, len(x) - low)):
            for c in range(q):
                for i in range(n):
                    at = i * q + c if wanted == Wanted.LEFT_PRODUCTS else c * n + i
                    out[low + lane, c, i] = found[at, lane]


# -- linear systems --------------------------------------------------------------------------------


@_inner
def _factorised(a: Array, n: int, pivots: Indices, moved: Indices, inverse: Array, regular: Array) -> None:
    """LU in place with partial pivoting; ``regular`` becomes 0 in lanes where a pivot is 0 or not finite.

    ``moved`` says for each column whether rows were exchanged in a lane, ``pivots`` which.
    """
    one = _splat(1.0)
    for k in range(n):
        best, place = _magnitude(_load(a, k * n + k)), _splat(float(k))
        for i in range(k + 1, n):
            size = _magnitude(_load(a, i * n + k))
            place = _where_larger(size, best, _splat(float(i)), place)
            best = _where_larger(size, best, size, best)
        _store(regular, 0, best)
        _store(regular, 1, place)
        moved[k] = 0
        for lane in range(8):
            if not (regular[0, lane] > 0.0 and math.isfinite(regular[0, lane])):
                regular[2, lane] = 0.0
            row = int(regular[1, lane])
            pivots[k * 8 + lane] = row
            if row != k:
                moved[k] = 1
                for j in range(n):
                    a[k * n + j, lane], a[row * n + j, lane] = a[row * n + j, lane], a[k * n + j, lane]
        scale = _div(one, _load(a, k * n + k))
        _store(inverse, k, scale)
        for i in range(k + 1, n):
            below = _load(a, i * n + k)
            if _any(below):  # most entries of the Jacobian of a network are 0
                factor = _mul(below, scale)
                _store(a, i * n + k, factor)
                factor = _sub(_splat(0.0), factor)
                for j in range(k + 1, n):
                    _store(a, i * n + j, _fma(factor, _load(a, k * n + j), _load(a, i * n + j)))


@_inner
def _solved(a: Array, n: int, pivots: Indices, moved: Indices, inverse: Array, b: Array, base: int) -> None:
    """Solve in place by the factors, for the right-hand side in the rows from ``base`` on."""
    for k in range(n):
        if moved[k]:
            for lane in range(8):
                row = pivots[k * 8 + lane]
                b[base + k, lane], b[base + row, lane] = b[base + row, lane], b[base + k, lane]
    nothing = _splat(0.0)
    for i in range(n):
        value = nothing
        for j in range(i):
            value = _fma(_load(a, i * n + j), _load(b, base + j), value)
        _store(b, base + i, _sub(_load(b, base + i), value))
    for i in range(n - 1, -1, -1):
        value = nothing
        for j in range(i + 1, n):
            value = _fma(_load(a, i * n + j), _load(b, base + j), value)
        _store(b, base + i, _mul(_sub(_load(b, base + i), value), _load(inverse, i)))


# -- trajectories ----------------------------------------------------------------------------------


@_inner
def _safe_rates(
    tables: Tables, x: Array, absolute: Array, space: _Space, near: Array, out: Array, known: Array
) -> None:
    """Rates; where they are not defined, those with what is negative within the tolerance at 0.

    ``known[0]`` is 0 in lanes where they are finite.
    """
    k = tables.size
    _rates(tables, x, space, out)
    if _finite(out, k, known):
        return
    for i in range(k):
        for lane in range(8):
            value = x[i, lane]
            bad = known[0, lane] != 0.0
            near[i, lane] = 0.0 if bad and value < 0 and value >= -absolute[i] else value
    _rates(tables, near, space, out)
    _finite(out, k, known)


@_inner
def _safe_jacobian(
    tables: Tables, x: Array, absolute: Array, space: _Space, near: Array, out: Array, known: Array
) -> None:
    """The Jacobian; where it is infinite or not defined, that at states of at least the tolerance.

    ``known[0]`` is 0 in lanes where it is finite.
    """
    k = tables.size
    _jacobian(tables, x, space, out)
    if _finite(out, k * k, known):
        return
    for i in range(k):
        for lane in range(8):
            value = x[i, lane]
            near[i, lane] = absolute[i] if known[0, lane] != 0.0 and abs(value) <= absolute[i] else value
    _jacobian(tables, near, space, out)
    _finite(out, k * k, known)


@_compiled
def follow(
    tables: Tables,
    method: Method,
    where: Where,
    alive: Indices,
    times: Array,
    relative: float,
    absolute: Array,
    most: int,
    upto: int,
    allowance: int,
) -> int:
    """Follow runs until each has passed an output, is done or has failed, or a number of steps has been made.

    Parameters
    ----------
    tables : Tables
    method : Method
    where : Where
    alive : array of int (a,)
        The runs to be followed.
    times : array (m,)
        Of the outputs.
    relative : float
    absolute : array (n,)
        Tolerances.
    most : int
        Steps of a run.
    upto : int
        The output.
    allowance : int
        Steps of all runs together in this call.

    Returns
    -------
    int
        Steps made.
    """
    n = where.x.shape[1]
    m = len(times)
    last = times[m - 1]
    least = method.least * (last - times[0])
    space = _space(tables, n)
    jacobian, factors, inverse = _lanes_of(n * n), _lanes_of(n * n), _lanes_of(n)
    pivots, moved = np.zeros(n * 8, dtype=np.int64), np.zeros(n, dtype=np.int64)
    u = _lanes_of(6 * n)
    x, f, near, y, stage_rates, new, rates = (
        _lanes_of(n),
        _lanes_of(n),
        _lanes_of(n),
        _lanes_of(n),
        _lanes_of(n),
        _lanes_of(n),
        _lanes_of(n),
    )
    c3, c4 = _lanes_of(n), _lanes_of(n)
    known, regular, good, step, scaled = _lanes_of(1), _lanes_of(3), _lanes_of(1), _lanes_of(2), _lanes_of(1)
    seats = np.full(8, -1, dtype=np.int64)
    begin, end, h = np.zeros(8), np.zeros(8), np.zeros(8)
    made, waiting, fresh = 0, 0, False
    gamma = 1.0 / method.gamma
    while made < allowance:
        # -- runs take the lanes that are free
        active = 0
        for lane in range(8):
            while seats[lane] < 0 and waiting < len(alive):
                place = alive[waiting]
                waiting += 1
                if where.status[place] == Status.UNDER_WAY and where.pointer[place] <= upto:
                    seats[lane] = place
                    _seat(tables, where.run[place], lane, space)
                    for i in range(n):
                        x[i, lane] = where.x[place, i]
                        f[i, lane] = where.f[place, i]
                    fresh = False
            if seats[lane] >= 0:
                active += 1
        if active == 0:
            break
        made += active
        # -- one step of each
        if not fresh:
            _safe_jacobian(tables, x, absolute, space, near, jacobian, known)
            _copy(known, scaled, 1)
            fresh = True
        for lane in range(8):
            place = seats[lane]
            begin[lane], end[lane], h[lane] = 0.0, 1.0, 1.0
            if place >= 0:
                t = where.t[place]
                h[lane] = min(where.h[place], last - t)
                begin[lane] = t
                end[lane] = last if where.h[place] >= last - t else t + h[lane]
            step[0, lane] = gamma / h[lane]
            step[1, lane] = 1.0 / h[lane]
            regular[2, lane] = 1.0 if scaled[0, lane] == 0.0 else 0.0
        nothing = _splat(0.0)
        for i in range(n * n):
            _store(factors, i, _sub(nothing, _load(jacobian, i)))
        for i in range(n):
            _store(factors, i * n + i, _add(_load(factors, i * n + i), _load(step, 0)))
        _factorised(factors, n, pivots, moved, inverse, regular)
        for stage in range(6):
            if stage == 0:
                for i in range(n):
                    _store(u, i, _load(f, i))
            else:
                # the last stages start where the method of lower order ends
                for i in range(n):
                    value = _load(x, i)
                    for s in range(stage):
                        weight = 1.0 if stage == 5 and s == 4 else method.a[min(stage, 4), s]
                        value = _fma(_splat(weight), _load(u, s * n + i), value)
                    _store(y, i, value)
                _safe_rates(tables, y, absolute, space, near, stage_rates, known)
                per_step = _load(step, 1)
                for i in range(n):
                    value = nothing
                    for s in range(stage):
                        value = _fma(_splat(method.c[stage, s]), _load(u, s * n + i), value)
                    _store(u, stage * n + i, _fma(value, per_step, _load(stage_rates, i)))
            _solved(factors, n, pivots, moved, inverse, u, stage * n)
        total = nothing
        for i in range(n):
            change = _load(u, 5 * n + i)
            moved_to = _add(_load(y, i), change)
            _store(new, i, moved_to)
            before, after = _magnitude(_load(x, i)), _magnitude(moved_to)
            size = _where_larger(after, before, after, before)
            ratio = _div(change, _fma(_splat(relative), size, _splat(absolute[i])))
            total = _fma(ratio, ratio, total)
        _store(good, 0, total)
        _safe_rates(tables, new, absolute, space, near, rates, known)
        # -- what became of it
        shown = False
        for lane in range(8):
            place = seats[lane]
            if place < 0:
                continue
            t = begin[lane]
            size = np.sqrt(good[0, lane] / n)
            fine = regular[2, lane] > 0.0 and math.isfinite(size) and known[0, lane] == 0.0
            factor = method.retreat
            if fine:
                factor = (
                    method.grow if size == 0.0 else min(max(method.safety * size**-0.25, method.shrink), method.grow)
                )
            where.made[place] += 1
            if fine and size <= 1.0:
                pointer = where.pointer[place]
                if not shown and pointer < m and times[pointer] <= end[lane]:
                    shown = True
                    for i in range(n):
                        third, fourth = nothing, nothing
                        for stage in range(5):
                            rise = _load(u, stage * n + i)
                            third = _fma(_splat(method.d[0, stage]), rise, third)
                            fourth = _fma(_splat(method.d[1, stage]), rise, fourth)
                        _store(c3, i, third)
                        _store(c4, i, fourth)
                while pointer < m and times[pointer] <= end[lane]:
                    s = (times[pointer] - t) / h[lane]
                    for i in range(n):
                        if s >= 1.0:
                            where.states[place, pointer, i] = new[i, lane]
                        else:
                            where.states[place, pointer, i] = x[i, lane] * (1 - s) + s * (
                                new[i, lane] + (1 - s) * (c3[i, lane] + s * c4[i, lane])
                            )
                    where.counts[place, pointer] = where.made[place]
                    pointer += 1
                where.pointer[place] = pointer
                where.t[place] = end[lane]
                for i in range(n):
                    x[i, lane] = new[i, lane]
                    f[i, lane] = rates[i, lane]
                fresh = False
            else:
                factor = min(factor, 1.0)
            where.h[place] = h[lane] * factor
            if where.t[place] >= last:
                where.status[place] = Status.DONE
            elif where.made[place] >= most:
                where.status[place] = Status.MANY_STEPS
            elif where.h[place] < max(least, method.rounding * abs(where.t[place])):
                where.status[place] = Status.SHORT_STEPS
            if where.status[place] != Status.UNDER_WAY or where.pointer[place] > upto:
                for i in range(n):
                    where.x[place, i], where.f[place, i] = x[i, lane], f[i, lane]
                seats[lane] = -1
    for lane in range(8):
        place = seats[lane]
        if place >= 0:
            for i in range(n):
                where.x[place, i], where.f[place, i] = x[i, lane], f[i, lane]
    return made
