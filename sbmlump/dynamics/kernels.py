"""Loops that are compiled by Numba: right-hand sides from tables, and whole trajectories of the Rosenbrock method.

Nothing here is made for one model: what a model is stands in arrays (:class:`Tables`), so that one compilation, whose
object code is kept, does for all of them. What is here is plain Python and imports nothing of Numba: the functions are
compiled by :mod:`sbmlump.dynamics.compilation`, and run over the tables of a single field by
:mod:`sbmlump.dynamics.native`, both of which put something of theirs in the place of the operations on vectors.

Eight runs are followed at once, each in a *lane* of its own with its own steps: what a node of a program is has to be
looked up once for all of them, and a processor multiplies eight numbers as fast as one. A run that ends leaves its lane
to the next one. Tables of lanes have eight columns; those that would have more than one other dimension are flattened
into rows.

The semantics of every operation are those of :class:`sbmlump.model.domains.FloatDomain`, those of a step those of
:mod:`sbmlump.dynamics.rosenbrock`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics.arguments import Packed, Real1, Real2, Real3, Real4, Whole1, Whole2

__all__ = [
    "ENTRIES",
    "INNER",
    "IN_LINE",
    "LANES",
    "NUMBERS",
    "At",
    "Code",
    "LiftTables",
    "RosenbrockTableau",
    "Seats",
    "Status",
    "CandidateTables",
    "Tables",
    "VectorOperation",
    "WatchTables",
    "Where",
    "codes_of",
    "Wanted",
    "AlongTables",
    "evaluate",
    "put_exponentials",
    "put_sums_along",
    "follow",
    "layout",
]

F = TypeVar("F", bound=Callable[..., object])

ENTRIES: Final[dict[str, Callable[..., Any]]] = {}
"""What is called from outside; the annotations of arguments say what they are."""
INNER: Final[dict[str, Callable[..., Any]]] = {}
"""What compiled functions call."""
IN_LINE: Final[dict[str, Callable[..., Any]]] = {}
"""What is called so often that a call costs more than the work: it is put in the place of the call."""
NUMBERS: Final = ("_value", "_slope_of")
"""Functions of numbers that machine code of a field calls."""


def _entry(function: F) -> F:
    ENTRIES[function.__name__] = function
    return function


def _inner(function: F) -> F:
    INNER[function.__name__] = function
    return function


def _in_line(function: F) -> F:
    IN_LINE[function.__name__] = function
    return function


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
    GIVEN_UP = 4


class At(IntEnum):
    """What stands where: counts, and where tables begin in the arrays of whole numbers, of reals, and of lanes."""

    # what the field is
    SIZE = 0
    FULL = 1
    IS_PROGRAM = 2
    IS_LIFTED = 3
    IS_TABLED = 4
    # counts
    FREE = 5
    LEAVES = 6
    NODES = 7
    ENTRIES = 8
    SWEEP = 9
    SLOTS = 10
    # whole numbers: of a program, node by node (see :class:`sbmlump.model.program.Program` for its slots)
    CODES = 11
    POINTERS = 12
    ARGS = 13
    ROOTS = 14
    ADJOINTS = 15
    # of the Jacobian: entries that are not 0 for all x
    ROWS = 16
    COLUMNS = 17
    # of a field of degree two, as compressed rows
    LINEAR_POINTERS = 18
    LINEAR_COLUMNS = 19
    PRODUCT_POINTERS = 20
    PRODUCT_COLUMNS = 21
    LEFT = 22
    RIGHT = 23
    SLOPE_POINTERS = 24
    SLOPE_COLUMNS = 25
    # reals
    LEAF_VALUES = 26
    COEFFICIENTS = 27
    EXPONENTS = 28
    CONSTANT = 29
    LINEAR = 30
    PRODUCTS = 31
    BASE = 32
    SLOPES = 33
    # rows of lanes: memory of an evaluation
    VALUES = 34
    ADJOINT = 35
    POINT = 36
    RATES = 37
    ENTRY = 38
    ONTO = 39
    SCRATCH = 40
    KNOWN = 41
    # what belongs to a run, put there when it takes its lane
    MATRIX = 42
    LIFT = 43
    OFFSET = 44
    OWN_CONSTANT = 45
    OWN_LINEAR = 46
    SQUARE = 47
    # memory of a step
    X = 48
    F = 49
    NEAR = 50
    Y = 51
    STAGE = 52
    NEW = 53
    NEW_F = 54
    U = 55
    JACOBIAN = 56
    FACTORS = 57
    INVERSE = 58
    REGULAR = 59
    STEP = 60
    DENSE = 61
    GIVEN = 62
    # of a lift of degree two: counts, factors of its products, rows of lanes
    LIFT_STATES = 63
    LIFT_TOTALS = 64
    LIFT_PRODUCTS = 65
    LIFT_LEFT = 66
    LIFT_RIGHT = 67
    VARIABLES = 68
    OWN_COLUMNS = 69
    BENT = 70
    # of a sweep for the Jacobian of a program: adjoints of each node, those they are passed on to for each argument,
    # and those of roots and entries; see :mod:`sbmlump.dynamics.compiled`
    COUNTS = 71
    PASSES = 72
    TARGETS = 73
    SEEDS = 74
    FOUND = 75
    HELD = 76
    EDGES = 77
    # addresses of machine code of this field alone, 0 where there is none; see :mod:`sbmlump.dynamics.native`
    RATES_CODE = 78
    ENTRIES_CODE = 79
    ROW_CODE = 80
    # elementary ones of the rates and of the entries of the Jacobian
    OPERATIONS = 81


def layout(at: Indices, sweeps: int = 0, squares: int = 0) -> tuple[Indices, int]:
    """Where the tables of lanes begin, in a copy of ``at``, and how many rows there are.

    Parameters
    ----------
    at : array of int
        Of a field, by :class:`At`.
    sweeps : int
        Row vectors that the Jacobian of the full field is multiplied by.
    squares : int
        Jacobians that are held: none for rates, one for itself, two for steps.
    """
    at = at.copy()
    k, n = int(at[At.SIZE]), int(at[At.FULL])
    lifted, tabled = int(at[At.IS_LIFTED]), int(at[At.IS_TABLED])
    onto = max(sweeps, lifted * k)
    products = int(at[At.LIFT_PRODUCTS])
    rows = 0
    for place, count in (
        (At.VALUES, int(at[At.SLOTS])),  # the first one: slots of a program are rows
        (At.ADJOINT, max(int(at[At.SLOTS]) * onto, int(at[At.HELD])) if onto or squares else 0),
        (At.POINT, n),
        (At.RATES, n),
        (At.ENTRY, int(at[At.ENTRIES])),
        (At.ONTO, n * onto),
        (At.SCRATCH, 2),
        (At.KNOWN, 2),
        (At.MATRIX, lifted * n * k),
        (At.LIFT, lifted * n * k),
        (At.OFFSET, lifted * n),
        (At.VARIABLES, int(at[At.LIFT_STATES] + at[At.LIFT_TOTALS])),
        (At.OWN_COLUMNS, products * n),
        (At.BENT, n * k if products else 0),
        (At.OWN_CONSTANT, tabled * k),
        (At.OWN_LINEAR, tabled * k * k),
        (At.SQUARE, tabled * k * (k * (k + 1) // 2)),
        *((one, k) for one in (At.X, At.F, At.NEAR, At.Y, At.STAGE, At.NEW, At.NEW_F, At.INVERSE)),
        (At.U, 6 * k),
        (At.JACOBIAN, k * k if squares else 0),
        (At.FACTORS, k * k if squares > 1 else 0),
        (At.REGULAR, 3),
        (At.STEP, 2),
        (At.DENSE, 2 * k),
        (At.GIVEN, n * sweeps),
    ):
        at[place] = rows
        rows += count
    return at, rows


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
    columns : ndarray (c, n, P)
        Of the products of a lift of degree two.
    totals : ndarray (r, t)
        Variables of such products behind the reduced states.
    """

    matrix: Real3
    lift: Real3
    offset: Real3
    numbers: Whole1
    columns: Real3
    totals: Real2


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
    constant: Real2
    linear: Real3
    square: Real3


@dataclass(frozen=True, eq=False)
class Tables:
    """A field.

    Attributes
    ----------
    at : ndarray of int
        Counts, and where tables begin, by :class:`At`.
    whole : ndarray of int
        All tables of whole numbers, one behind the other. (One array costs a compiled call what seven words cost, and
        nothing to count its users; sixty of them cost more than the evaluation.)
    real : ndarray
        All tables of reals of the full field.
    free : ndarray (c, runs)
        Inputs of a program behind those of the state, which differ between runs.
    lift : LiftTables
        Of candidates through the lifted point, else empty.
    candidates : CandidateTables
        Of candidates as tables, else empty.
    """

    at: Whole1
    whole: Whole1
    real: Real1
    free: Real2
    lift: LiftTables
    candidates: CandidateTables

    @cached_property
    def packed(self) -> Packed:
        """These for a call, which come again and again."""
        return Packed(self)

    def __getstate__(self) -> dict[str, object]:
        """Without that: addresses mean something in this process only."""
        return {name: value for name, value in self.__dict__.items() if name != "packed"}


class RosenbrockTableau(NamedTuple):
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
    a: Real2
    c: Real2
    d: Real2
    safety: float
    shrink: float
    grow: float
    retreat: float
    least: float
    rounding: float


class WatchTables(NamedTuple):
    """What ends a run that is off by too much; see :class:`sbmlump.dynamics.rosenbrock.DeviationObserver`.

    Attributes
    ----------
    is_on : int
        1 or 0.
    matrix : ndarray (p, o)
    base : ndarray (o,)
    wanted : ndarray (s, m, o)
    sizes : ndarray (s, o)
    limits : ndarray (c,)
    """

    is_on: int
    matrix: Real2
    base: Real1
    wanted: Real3
    sizes: Real2
    limits: Real1


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

    run: Whole1
    t: Real1
    h: Real1
    x: Real2
    f: Real2
    pointer: Whole1
    made: Whole1
    status: Whole1
    states: Real3
    counts: Whole2


class Seats(NamedTuple):
    """Memory of a call that follows runs: what each lane is at.

    Attributes
    ----------
    taken, runs : ndarray of int (LANES,)
        Which of the runs sits there, and its number for the field; -1 where there is none.
    begin, end, h : ndarray (LANES,)
        Of its step.
    pivots : ndarray of int (n, LANES + 1)
        Rows that were exchanged.
    """

    taken: Whole1
    runs: Whole1
    begin: Real1
    end: Real1
    h: Real1
    pivots: Whole2


# -- lanes -----------------------------------------------------------------------------------------

LANES: Final = 8  # doubles in a register of today's processors; where it holds fewer, several are used


class VectorOperation:
    """An operation on a number in each lane, for compiled functions alone: see :mod:`sbmlump.dynamics.vectors`."""

    def __call__(self, *args: Any) -> Any:
        """Nothing: this stands for what is compiled."""
        raise TypeError("operations of vectors are for compiled functions")


_load: Final = VectorOperation()
"""A row of a table."""
_store: Final = VectorOperation()
"""Put a number for each lane into a row of a table."""
_splat: Final = VectorOperation()
"""One number in all lanes."""
_machine: Final = VectorOperation()
"""Call what stands at an address with the addresses of three rows of a table."""
_add: Final = VectorOperation()
_sub: Final = VectorOperation()
_mul: Final = VectorOperation()
_div: Final = VectorOperation()
_fma: Final = VectorOperation()
"""a·b + c."""
_magnitude: Final = VectorOperation()
_where_larger: Final = VectorOperation()
"""x in lanes where a > b, else y, of (a, b, x, y)."""
_where_equal: Final = VectorOperation()
"""x in lanes where a = b, else y, of (a, b, x, y)."""
_where_at_least: Final = VectorOperation()
"""x in lanes where a ≥ b, else y, of (a, b, x, y)."""
_larger: Final = VectorOperation()
_smaller: Final = VectorOperation()
"""Of (a, b); NaN where one of them is."""
_unless_zero: Final = VectorOperation()
"""0 in lanes where a is 0, else x, of (a, x)."""
_any: Final = VectorOperation()
"""Whether a lane is not 0."""


@_inner
def _seat(tables: Tables, at: Indices, lanes: Array, run: int, before: int, lane: int) -> None:
    """Put what belongs to a run into a lane, in which another one was ``before`` (-1: none)."""
    if before == run:
        return
    k, n = at[At.SIZE], at[At.FULL]
    number = run
    if at[At.IS_TABLED]:
        tabled = tables.candidates
        candidate = run // tabled.starts
        for i in range(k):
            lanes[at[At.OWN_CONSTANT] + i, lane] = tabled.constant[run, i]
            for j in range(k):
                lanes[at[At.OWN_LINEAR] + i * k + j, lane] = tabled.linear[run, i, j]
        if before < 0 or before // tabled.starts != candidate:
            for i in range(tabled.square.shape[1]):
                for j in range(k):
                    lanes[at[At.SQUARE] + i * k + j, lane] = tabled.square[candidate, i, j]
    elif at[At.IS_LIFTED]:
        lift = tables.lift
        starts = len(lift.numbers)
        candidate, start = run // starts, run % starts
        number = lift.numbers[start]
        for i in range(n):
            lanes[at[At.OFFSET] + i, lane] = lift.offset[candidate, start, i]
        for i in range(at[At.LIFT_TOTALS]):
            lanes[at[At.VARIABLES] + at[At.LIFT_STATES] + i, lane] = lift.totals[start, i]
        if before < 0 or before // starts != candidate:
            for i in range(n):
                for j in range(k):
                    lanes[at[At.LIFT] + i * k + j, lane] = lift.lift[candidate, i, j]
                    lanes[at[At.MATRIX] + j * n + i, lane] = lift.matrix[candidate, j, i]
                for p in range(at[At.LIFT_PRODUCTS]):
                    lanes[at[At.OWN_COLUMNS] + p * n + i, lane] = lift.columns[candidate, i, p]
    for i in range(at[At.FREE]):
        lanes[at[At.VALUES] + n + i, lane] = tables.free[i, number]


@_inner
def _leaves(at: Indices, real: Array, lanes: Array) -> None:
    """Put the numbers of a program into their slots."""
    for i in range(at[At.LEAVES]):
        _store(lanes, at[At.VALUES] + at[At.FULL] + at[At.FREE] + i, _splat(real[at[At.LEAF_VALUES] + i]))


@_inner
def _copy(lanes: Array, source: int, target: int, count: int) -> None:
    for i in range(count):
        _store(lanes, target + i, _load(lanes, source + i))


@_inner
def _clear(lanes: Array, target: int, count: int) -> None:
    nothing = _splat(0.0)
    for i in range(count):
        _store(lanes, target + i, nothing)


@_inner
def _finite(lanes: Array, source: int, count: int, target: int) -> bool:
    """Whether all numbers of all lanes are finite; row ``target`` is 0 in lanes where they are, else NaN."""
    nothing = _splat(0.0)
    total = nothing
    for i in range(count):
        total = _fma(_load(lanes, source + i), nothing, total)
    _store(lanes, target, total)
    return not _any(total)


# -- programs --------------------------------------------------------------------------------------


@_inner
def _whole_power(lanes: Array, source: int, exponent: float, target: int) -> None:
    """A power with a whole exponent; a small one by multiplications."""
    size = abs(exponent)
    if size <= 16.0:
        count = int(size)
        square, product = _load(lanes, source), _splat(1.0)
        while count > 0:
            if count % 2:
                product = _mul(product, square)
            square = _mul(square, square)
            count //= 2
        if exponent < 0.0:
            product = _div(_splat(1.0), product)
        _store(lanes, target, product)
    else:
        for lane in range(LANES):
            lanes[target, lane] = lanes[source, lane] ** exponent


@_inner
def _forward(at: Indices, whole: Indices, real: Array, lanes: Array) -> None:
    """Values of all nodes of a program, from those of inputs and leaves; arguments are slots from ``At.VALUES`` on."""
    codes, pointers, args = at[At.CODES], at[At.POINTERS], at[At.ARGS]
    coefficients, exponents = at[At.COEFFICIENTS], at[At.EXPONENTS]
    target = at[At.VALUES] + at[At.SLOTS] - at[At.NODES]
    for node in range(at[At.NODES]):
        code = whole[codes + node]
        low, high = args + whole[pointers + node], args + whole[pointers + node + 1]
        if code == Code.SUM:
            shift = coefficients - args
            value = _mul(_splat(real[shift + low]), _load(lanes, whole[low]))
            for i in range(low + 1, high):
                value = _fma(_splat(real[shift + i]), _load(lanes, whole[i]), value)
            _store(lanes, target + node, value)
        elif code == Code.PRODUCT:
            value = _load(lanes, whole[low])
            for i in range(low + 1, high):
                value = _mul(value, _load(lanes, whole[i]))
            _store(lanes, target + node, value)
        elif code == Code.DIVISION:
            _store(lanes, target + node, _div(_load(lanes, whole[low]), _load(lanes, whole[low + 1])))
        elif code == Code.WHOLE_POWER:
            _whole_power(lanes, whole[low], real[exponents + node], target + node)
        elif code == Code.MAX or code == Code.MIN:
            value = _load(lanes, whole[low])
            for i in range(low + 1, high):
                other = _load(lanes, whole[i])
                value = _larger(value, other) if code == Code.MAX else _smaller(value, other)
            _store(lanes, target + node, value)
        elif code == Code.PIECEWISE:
            value = _load(lanes, whole[high - 1])
            for i in range(high - 3, low - 1, -2):  # the first condition that holds comes last
                value = _where_equal(_load(lanes, whole[i + 1]), _splat(0.0), value, _load(lanes, whole[i]))
            _store(lanes, target + node, value)
        elif code > Code.PIECEWISE and code <= Code.NOT:
            _store(lanes, target + node, _decided(code, low, high, whole, lanes))
        else:
            for lane in range(LANES):
                lanes[target + node, lane] = _function(code, low, high, whole, lanes, lane)


@_inner
def _decided(code: int, low: int, high: int, whole: Indices, lanes: Array) -> Any:
    """1 in lanes where a relation or a combination of conditions holds, else 0; what is not 0 counts as true."""
    nothing, one = _splat(0.0), _splat(1.0)
    a = _load(lanes, whole[low])
    if code <= Code.NEQ:
        b = _load(lanes, whole[low + 1])
        if code == Code.LT:
            return _where_larger(b, a, one, nothing)
        if code == Code.GT:
            return _where_larger(a, b, one, nothing)
        if code == Code.LEQ:
            return _where_at_least(b, a, one, nothing)
        if code == Code.GEQ:
            return _where_at_least(a, b, one, nothing)
        if code == Code.EQ:
            return _where_equal(a, b, one, nothing)
        return _where_equal(a, b, nothing, one)
    if code == Code.NOT:
        return _where_equal(a, nothing, one, nothing)
    value = one if code == Code.AND else nothing
    for i in range(low, high):
        argument = _load(lanes, whole[i])
        if code == Code.AND:
            value = _where_equal(argument, nothing, nothing, value)
        elif code == Code.OR:
            value = _where_equal(argument, nothing, value, one)
        else:
            value = _where_equal(argument, nothing, value, _sub(one, value))
    return value


@_inner
def _function(code: int, low: int, high: int, whole: Indices, lanes: Array, lane: int) -> float:
    """Value of a function that is no rational operation, in a lane; its arguments stand at low … high."""
    b = lanes[whole[low + 1], lane] if high > low + 1 else 0.0
    return _value(code, lanes[whole[low], lane], b)


@_inner
def _value(code: int, a: float, b: float) -> float:
    """Value of a function that is no rational operation, of one argument or two."""
    value = np.nan
    if code == Code.POWER:
        value = a**b
    elif code == Code.EXP:
        value = np.exp(a)
    elif code == Code.LN:
        value = np.log(a)
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
def _slope(code: int, low: int, high: int, whole: Indices, lanes: Array, slot: int, i: int, lane: int) -> float:
    """Derivative of a function that is no rational operation with respect to argument ``i``, in a lane."""
    b = lanes[whole[low + 1], lane] if high > low + 1 else 0.0
    return _slope_of(code, lanes[whole[low], lane], b, lanes[slot, lane], i - low)


@_inner
def _slope_of(code: int, a: float, b: float, value: float, argument: int) -> float:
    """Derivative of a function that is no rational operation with respect to one of its arguments."""
    slope = 0.0  # a quotient: constant but for jumps
    if code == Code.POWER:
        if argument == 0:
            slope = b * a ** (b - 1.0)
        else:
            # at base 0 the exponent has no influence: the limit of value·ln(base) is 0 there
            slope = np.nan if a < 0 else value * (np.log(a) if a > 0 else 0.0)
    elif code == Code.REM:
        slope = 1.0 if argument == 0 else -np.trunc(a / b)
    elif code != Code.QUOTIENT:
        slope = _slope_of_one(code, a, value)
    return slope


@_in_line
def _passed_on(lanes: Array, whole: Indices, out: int, count: int, slopes: int, to: int, targets: int) -> None:
    """Add adjoints times a slope to those of an argument; one of 0 passes nothing on, be the slope infinite.

    They stand one behind the other from row ``to`` on, or, counted from there, where the table ``targets`` says (-1:
    there is none).
    """
    slope = _load(lanes, slopes)
    for c in range(count):
        place = to + c if targets < 0 else to + whole[targets + c]
        value = _load(lanes, out + c)
        _store(lanes, place, _add(_load(lanes, place), _unless_zero(value, _mul(value, slope))))


@_inner
def _backward(at: Indices, whole: Indices, real: Array, lanes: Array, sweeps: int) -> None:
    """From the adjoints of the roots to those of the inputs.

    Vector–Jacobian products, ``sweeps`` of them, for all slots; or, with 0 sweeps, the Jacobian with respect to the
    state: each node has an adjoint for each root that depends on it, and only what depends on the state has any.
    """
    codes, pointers, args = at[At.CODES], at[At.POINTERS], at[At.ARGS]
    shift, scratch = at[At.COEFFICIENTS] - args, at[At.SCRATCH]
    values, adjoint = at[At.VALUES], at[At.ADJOINT]
    adjoints, counts, passes = at[At.ADJOINTS], at[At.COUNTS], at[At.PASSES] - args
    first = at[At.SLOTS] - at[At.NODES]
    count, targets = sweeps, -1
    for node in range(at[At.NODES] - 1, -1, -1):
        if sweeps:
            out = adjoint + (first + node) * sweeps
        else:
            out, count = adjoint + whole[adjoints + node], whole[counts + node]
        idle = True
        for c in range(count):
            if _any(_load(lanes, out + c)):
                idle = False
                break
        if idle:
            continue
        code = whole[codes + node]
        low, high = args + whole[pointers + node], args + whole[pointers + node + 1]
        for i in range(low, high):
            if sweeps:
                to = adjoint + (whole[i] - values) * sweeps
            else:
                to, targets = adjoint, whole[passes + i]
                if targets < 0:
                    continue
            if code == Code.SUM:
                slope = _splat(real[shift + i])
                for c in range(count):
                    place = to + c if targets < 0 else to + whole[targets + c]
                    _store(lanes, place, _fma(_load(lanes, out + c), slope, _load(lanes, place)))
                continue
            if code == Code.PRODUCT:
                slope, after = _splat(1.0), _splat(1.0)
                for j in range(low, i):
                    slope = _unless_zero(slope, _mul(slope, _load(lanes, whole[j])))
                for j in range(high - 1, i, -1):
                    after = _mul(after, _load(lanes, whole[j]))
                _store(lanes, scratch, _unless_zero(slope, _mul(slope, after)))
            elif code == Code.DIVISION:
                top = _div(_splat(1.0), _load(lanes, whole[low + 1]))
                if i > low:
                    top = _unless_zero(top, _mul(top, _load(lanes, values + first + node)))
                    top = _sub(_splat(0.0), top)
                _store(lanes, scratch, top)
            elif code == Code.WHOLE_POWER:
                e = real[at[At.EXPONENTS] + node]
                _whole_power(lanes, whole[low], e - 1.0, scratch)
                _store(lanes, scratch, _mul(_splat(e), _load(lanes, scratch)))
            elif code == Code.PIECEWISE:
                nothing = _splat(0.0)
                slope, left = nothing, _splat(1.0)
                for j in range(low, high - 1, 2):
                    condition = _load(lanes, whole[j + 1])
                    if j == i:
                        slope = _where_equal(condition, nothing, nothing, left)
                    left = _where_equal(condition, nothing, left, nothing)
                if i == high - 1:
                    slope = left
                _store(lanes, scratch, slope)
            elif code > Code.PIECEWISE and code <= Code.NOT:  # constant but for jumps
                _store(lanes, scratch, _splat(0.0))
            elif code == Code.MAX or code == Code.MIN:  # the first one that is the value
                value, slope = _load(lanes, values + first + node), _splat(1.0)
                for j in range(low, i):
                    slope = _where_equal(_load(lanes, whole[j]), value, _splat(0.0), slope)
                _store(lanes, scratch, _where_equal(_load(lanes, whole[i]), value, slope, _splat(0.0)))
            else:
                for lane in range(LANES):
                    lanes[scratch, lane] = _slope(code, low, high, whole, lanes, values + first + node, i, lane)
            _passed_on(lanes, whole, out, count, scratch, to, targets)


# -- fields ----------------------------------------------------------------------------------------


@_inner
def _full_rates(at: Indices, whole: Indices, real: Array, lanes: Array, x: int, out: int) -> None:
    n = at[At.FULL]
    if at[At.RATES_CODE]:
        _machine(at[At.RATES_CODE], lanes, x, at[At.VALUES], out)
    elif at[At.IS_PROGRAM]:
        _copy(lanes, x, at[At.VALUES], n)
        _forward(at, whole, real, lanes)
        for i in range(n):
            _store(lanes, out + i, _load(lanes, whole[at[At.ROOTS] + i]))
    else:
        linear_pointers, linear_columns = at[At.LINEAR_POINTERS], at[At.LINEAR_COLUMNS]
        product_pointers, product_columns = at[At.PRODUCT_POINTERS], at[At.PRODUCT_COLUMNS]
        left, right, linear, products = at[At.LEFT], at[At.RIGHT], at[At.LINEAR], at[At.PRODUCTS]
        for i in range(n):
            value = _splat(real[at[At.CONSTANT] + i])
            for e in range(whole[linear_pointers + i], whole[linear_pointers + i + 1]):
                value = _fma(_splat(real[linear + e]), _load(lanes, x + whole[linear_columns + e]), value)
            for e in range(whole[product_pointers + i], whole[product_pointers + i + 1]):
                p = whole[product_columns + e]
                product = _mul(_load(lanes, x + whole[left + p]), _load(lanes, x + whole[right + p]))
                value = _fma(_splat(real[products + e]), product, value)
            _store(lanes, out + i, value)


@_inner
def _full_jacobian(at: Indices, whole: Indices, real: Array, lanes: Array, x: int) -> None:
    """Entries of the Jacobian of the full field, into ``At.ENTRY``."""
    entries = at[At.ENTRY]
    if at[At.ENTRIES_CODE]:
        _machine(at[At.ENTRIES_CODE], lanes, x, at[At.VALUES], entries)
    elif at[At.IS_PROGRAM]:
        n, adjoint = at[At.FULL], at[At.ADJOINT]
        _copy(lanes, x, at[At.VALUES], n)
        _forward(at, whole, real, lanes)
        _clear(lanes, adjoint, at[At.HELD])
        for i in range(n):
            if whole[at[At.SEEDS] + i] >= 0:
                _store(lanes, adjoint + whole[at[At.SEEDS] + i], _splat(1.0))
        _backward(at, whole, real, lanes, 0)
        for e in range(at[At.ENTRIES]):
            _store(lanes, entries + e, _load(lanes, adjoint + whole[at[At.FOUND] + e]))
    else:
        pointers, columns, slopes = at[At.SLOPE_POINTERS], at[At.SLOPE_COLUMNS], at[At.SLOPES]
        for e in range(at[At.ENTRIES]):
            value = _splat(real[at[At.BASE] + e])
            for i in range(whole[pointers + e], whole[pointers + e + 1]):
                value = _fma(_splat(real[slopes + i]), _load(lanes, x + whole[columns + i]), value)
            _store(lanes, entries + e, value)


@_inner
def _times(lanes: Array, table: int, x: int, rows: int, columns: int, offset: int, out: int) -> None:
    """A table times a vector plus an offset (-1: none), each lane with its own.

    Four rows at once: a processor does not wait for one sum, and what is multiplied is loaded once.
    """
    nothing = _splat(0.0)
    for i in range(0, rows - 3, 4):
        a, b, c, d = nothing, nothing, nothing, nothing
        if offset >= 0:
            a, b = _load(lanes, offset + i), _load(lanes, offset + i + 1)
            c, d = _load(lanes, offset + i + 2), _load(lanes, offset + i + 3)
        row = table + i * columns
        for j in range(columns):
            value = _load(lanes, x + j)
            a = _fma(_load(lanes, row + j), value, a)
            b = _fma(_load(lanes, row + columns + j), value, b)
            c = _fma(_load(lanes, row + 2 * columns + j), value, c)
            d = _fma(_load(lanes, row + 3 * columns + j), value, d)
        _store(lanes, out + i, a)
        _store(lanes, out + i + 1, b)
        _store(lanes, out + i + 2, c)
        _store(lanes, out + i + 3, d)
    for i in range(rows - rows % 4, rows):
        value = _load(lanes, offset + i) if offset >= 0 else nothing
        for j in range(columns):
            value = _fma(_load(lanes, table + i * columns + j), _load(lanes, x + j), value)
        _store(lanes, out + i, value)


@_inner
def _product(lanes: Array, left: int, right: int, rows: int, columns: int, inner: int, out: int) -> None:
    """The product of two tables (rows · inner) and (inner · columns), four columns at once."""
    nothing = _splat(0.0)
    whole = columns - columns % 4
    for q in range(rows):
        row = left + q * inner
        for j in range(0, whole, 4):
            a, b, c, d = nothing, nothing, nothing, nothing
            for i in range(inner):
                value, other = _load(lanes, row + i), right + i * columns + j
                a = _fma(value, _load(lanes, other), a)
                b = _fma(value, _load(lanes, other + 1), b)
                c = _fma(value, _load(lanes, other + 2), c)
                d = _fma(value, _load(lanes, other + 3), d)
            place = out + q * columns + j
            _store(lanes, place, a)
            _store(lanes, place + 1, b)
            _store(lanes, place + 2, c)
            _store(lanes, place + 3, d)
        for j in range(whole, columns):
            a = nothing
            for i in range(inner):
                a = _fma(_load(lanes, row + i), _load(lanes, right + i * columns + j), a)
            _store(lanes, out + q * columns + j, a)


@_inner
def _lifted(at: Indices, whole: Indices, lanes: Array, x: int) -> None:
    """The lifted point, into ``At.POINT``."""
    n, point, variables, column = at[At.FULL], at[At.POINT], at[At.VARIABLES], at[At.OWN_COLUMNS]
    _times(lanes, at[At.LIFT], x, n, at[At.SIZE], at[At.OFFSET], point)
    if at[At.LIFT_PRODUCTS]:
        _copy(lanes, x, variables, at[At.LIFT_STATES])
    for p in range(at[At.LIFT_PRODUCTS]):
        left, right = whole[at[At.LIFT_LEFT] + p], whole[at[At.LIFT_RIGHT] + p]
        product = _mul(_load(lanes, variables + left), _load(lanes, variables + right))
        for i in range(n):
            _store(lanes, point + i, _fma(product, _load(lanes, column + i), _load(lanes, point + i)))
        column += n


@_inner
def _slopes_of_lift(at: Indices, whole: Indices, lanes: Array) -> int:
    """Where the derivatives of the lifted point stand that was lifted last, (n · k)."""
    if at[At.LIFT_PRODUCTS] == 0:
        return int(at[At.LIFT])
    n, k, bent, column = at[At.FULL], at[At.SIZE], at[At.BENT], at[At.OWN_COLUMNS]
    variables, states = at[At.VARIABLES], at[At.LIFT_STATES]
    _copy(lanes, at[At.LIFT], bent, n * k)
    for p in range(at[At.LIFT_PRODUCTS]):
        left, right = whole[at[At.LIFT_LEFT] + p], whole[at[At.LIFT_RIGHT] + p]
        for j, other in ((left, right), (right, left)):
            if j < states:
                value = _load(lanes, variables + other)
                for i in range(n):
                    place = bent + i * k + j
                    _store(lanes, place, _fma(value, _load(lanes, column + i), _load(lanes, place)))
        column += n
    return int(bent)


@_inner
def _rates(at: Indices, whole: Indices, real: Array, lanes: Array, x: int, out: int) -> None:
    k, n = at[At.SIZE], at[At.FULL]
    if at[At.IS_TABLED]:
        _times(lanes, at[At.OWN_LINEAR], x, k, k, at[At.OWN_CONSTANT], out)
        place = at[At.SQUARE]
        for i in range(k):
            for j in range(i, k):
                weight = _mul(_load(lanes, x + i), _load(lanes, x + j))
                for c in range(k):
                    _store(lanes, out + c, _fma(weight, _load(lanes, place + c), _load(lanes, out + c)))
                place += k
    elif at[At.IS_LIFTED]:
        _lifted(at, whole, lanes, x)
        _full_rates(at, whole, real, lanes, at[At.POINT], at[At.RATES])
        _times(lanes, at[At.MATRIX], at[At.RATES], k, n, -1, out)
    else:
        _full_rates(at, whole, real, lanes, x, out)


@_inner
def _jacobian(at: Indices, whole: Indices, real: Array, lanes: Array, x: int, out: int) -> None:
    """The Jacobian of the field, (k · k,)."""
    k, n = at[At.SIZE], at[At.FULL]
    if at[At.IS_TABLED]:
        _copy(lanes, at[At.OWN_LINEAR], out, k * k)
        place = at[At.SQUARE]
        for i in range(k):
            for j in range(i, k):
                a, b = _load(lanes, x + i), _load(lanes, x + j)
                for c in range(k):
                    slope, by_i, by_j = _load(lanes, place + c), out + c * k + i, out + c * k + j
                    _store(lanes, by_j, _fma(a, slope, _load(lanes, by_j)))
                    _store(lanes, by_i, _fma(b, slope, _load(lanes, by_i)))
                place += k
    elif at[At.IS_LIFTED]:
        onto = at[At.ONTO]
        _lifted(at, whole, lanes, x)
        lift = _slopes_of_lift(at, whole, lanes)
        _left_products(at, whole, real, lanes, at[At.POINT], at[At.MATRIX], k, onto)
        _product(lanes, onto, lift, k, k, n, out)
    else:
        _full_jacobian(at, whole, real, lanes, x)
        _clear(lanes, out, k * k)
        for e in range(at[At.ENTRIES]):
            place = out + whole[at[At.ROWS] + e] * k + whole[at[At.COLUMNS] + e]
            _store(lanes, place, _load(lanes, at[At.ENTRY] + e))


@_inner
def _left_products(
    at: Indices, whole: Indices, real: Array, lanes: Array, x: int, matrix: int, q: int, out: int
) -> None:
    """Rows (q · n) times the Jacobian of the full field, (q · n).

    By its entries, or by sweeps back from the rows: where that is less work, and where an entry is infinite, on which a
    row may have no influence.
    """
    n = at[At.FULL]
    if q == 0:
        return
    sweeps = q * at[At.EDGES] <= at[At.SWEEP] + q * at[At.ENTRIES]
    if at[At.ENTRIES_CODE] != 0 or not (at[At.IS_PROGRAM] and sweeps):
        _full_jacobian(at, whole, real, lanes, x)
        for c in range(q):
            _row_times(at, whole, lanes, at[At.ENTRY], matrix + c * n, out + c * n)
        if not at[At.IS_PROGRAM] or _finite(lanes, out, q * n, at[At.SCRATCH] + 1):
            return
    adjoint = at[At.ADJOINT]
    _copy(lanes, x, at[At.VALUES], n)
    _forward(at, whole, real, lanes)
    _clear(lanes, adjoint, at[At.SLOTS] * q)
    for i in range(n):
        root = adjoint + (whole[at[At.ROOTS] + i] - at[At.VALUES]) * q
        for c in range(q):
            _store(lanes, root + c, _add(_load(lanes, root + c), _load(lanes, matrix + c * n + i)))
    _backward(at, whole, real, lanes, q)
    for c in range(q):
        for i in range(n):
            _store(lanes, out + c * n + i, _load(lanes, adjoint + i * q + c))


@_inner
def _row_times(at: Indices, whole: Indices, lanes: Array, entries: int, row: int, out: int) -> None:
    """A row times the Jacobian of the full field, from its entries."""
    if at[At.ROW_CODE]:
        _machine(at[At.ROW_CODE], lanes, row, entries, out)
        return
    _clear(lanes, out, at[At.FULL])
    rows, columns = at[At.ROWS], at[At.COLUMNS]
    for e in range(at[At.ENTRIES]):
        to = out + whole[columns + e]
        _store(lanes, to, _fma(_load(lanes, entries + e), _load(lanes, row + whole[rows + e]), _load(lanes, to)))


@_entry
def evaluate(
    tables: Tables,
    at: Whole1,
    lanes: Real2,
    seats: Whole1,
    wanted: int,
    x: Real2,
    run: Whole1,
    rows: Real3,
    out: Real3,
) -> None:
    """Rates, Jacobians or left products at k points.

    Parameters
    ----------
    tables : Tables
    at : array of int
        By :func:`layout`.
    lanes : array
        Memory.
    seats : array of int (LANES,)
        Memory.
    wanted : int
        A :class:`Wanted`; products are those with the full field.
    x : array (k, n)
    run : array of int (k,)
    rows : array (k, q, n)
        For products.
    out : array (k, 1, n), (k, n, n) or (k, q, n)
    """
    whole, real = tables.whole, tables.real
    q, n = out.shape[1], out.shape[2]
    point, given = at[At.X], at[At.GIVEN]
    found = at[At.Y] if wanted == Wanted.RATES else at[At.JACOBIAN] if wanted == Wanted.JACOBIANS else at[At.ONTO]
    _leaves(at, real, lanes)
    for lane in range(LANES):
        seats[lane] = -1
    for low in range(0, len(x), LANES):
        for lane in range(LANES):
            place = min(low + lane, len(x) - 1)
            _seat(tables, at, lanes, run[place], seats[lane], lane)
            seats[lane] = run[place]
            for i in range(n):
                lanes[point + i, lane] = x[place, i]
            if wanted == Wanted.LEFT_PRODUCTS:
                for c in range(q):
                    for i in range(n):
                        lanes[given + c * n + i, lane] = rows[place, c, i]
        if wanted == Wanted.RATES:
            _rates(at, whole, real, lanes, point, found)
        elif wanted == Wanted.JACOBIANS:
            _jacobian(at, whole, real, lanes, point, found)
        else:
            _left_products(at, whole, real, lanes, point, given, q, found)
        for lane in range(min(LANES, len(x) - low)):
            for c in range(q):
                for i in range(n):
                    out[low + lane, c, i] = lanes[found + c * n + i, lane]


# -- linear systems --------------------------------------------------------------------------------

_PIVOT: Final = 0.1
"""A pivot of at least this part of the largest one is taken where it stands: exchanging rows costs each lane more than
the arithmetic, and 1/(γh) on the diagonal makes nearly all of them such [1]_.

.. [1] Duff IS, Erisman AM, Reid JK: Direct Methods for Sparse Matrices, 2nd ed., section 5.2 (threshold pivoting).
   Oxford University Press (2017). doi:10.1093/acprof:oso/9780198508380.001.0001
"""


@_inner
def _factorised(at: Indices, lanes: Array, pivots: Indices) -> None:
    """LU of ``At.FACTORS`` in place with partial pivoting; rows stay in their places where no element grows by much.

    The last row of ``At.REGULAR`` becomes 0 in lanes where a pivot is 0 or not finite. The last column of ``pivots``
    says whether any lane took another row than its own; then the others say which.
    """
    n, a, inverse, regular = at[At.SIZE], at[At.FACTORS], at[At.INVERSE], at[At.REGULAR]
    one, nothing, infinite = _splat(1.0), _splat(0.0), _splat(np.inf)
    fine = _load(lanes, regular + 2)
    for k in range(n):
        own = _magnitude(_load(lanes, a + k * n + k))
        best = own
        for i in range(k + 1, n):
            size = _magnitude(_load(lanes, a + i * n + k))
            best = _where_larger(size, best, size, best)
        fine = _where_larger(best, nothing, _where_larger(infinite, best, fine, nothing), nothing)
        moved = 1 if _any(_where_larger(_mul(best, _splat(_PIVOT)), own, one, nothing)) else 0
        pivots[k, LANES] = moved
        if moved:  # in most columns no lane moves
            _choose_rows(at, lanes, pivots, k)
        scale = _div(one, _load(lanes, a + k * n + k))
        _store(lanes, inverse + k, scale)
        above = a + k * n
        for i in range(k + 1, n):
            row = a + i * n
            below = _load(lanes, row + k)
            if _any(below):  # most entries of the Jacobian of a network are 0
                factor = _mul(below, scale)
                _store(lanes, row + k, factor)
                factor = _sub(nothing, factor)
                for j in range(k + 1, n):
                    _store(lanes, row + j, _fma(factor, _load(lanes, above + j), _load(lanes, row + j)))
    _store(lanes, regular + 2, fine)


@_inner
def _choose_rows(at: Indices, lanes: Array, pivots: Indices, k: int) -> None:
    """Exchange row ``k`` and that with the largest pivot, in each lane."""
    n, a = at[At.SIZE], at[At.FACTORS]
    for lane in range(LANES):
        own = abs(lanes[a + k * n + k, lane])
        row, best = k, own
        for i in range(k + 1, n):
            size = abs(lanes[a + i * n + k, lane])
            if size > best:
                row, best = i, size
        if own >= _PIVOT * best:
            row = k
        pivots[k, lane] = row
        if row != k:
            here, there = a + k * n, a + row * n
            for j in range(n):
                kept = lanes[here + j, lane]
                lanes[here + j, lane] = lanes[there + j, lane]
                lanes[there + j, lane] = kept


@_inner
def _solved(at: Indices, lanes: Array, pivots: Indices, b: int) -> None:
    """Solve in place by the factors."""
    n, a, inverse = at[At.SIZE], at[At.FACTORS], at[At.INVERSE]
    for k in range(n):
        if pivots[k, LANES]:
            for lane in range(LANES):
                other = b + pivots[k, lane]
                kept = lanes[b + k, lane]
                lanes[b + k, lane] = lanes[other, lane]
                lanes[other, lane] = kept
    nothing = _splat(0.0)
    blocks = n - n % 4
    # four rows at once: a processor does not wait for one sum, and what is multiplied is loaded once
    for i in range(0, blocks, 4):
        row = a + i * n
        s0, s1, s2, s3 = nothing, nothing, nothing, nothing
        for j in range(i):
            value = _load(lanes, b + j)
            s0 = _fma(_load(lanes, row + j), value, s0)
            s1 = _fma(_load(lanes, row + n + j), value, s1)
            s2 = _fma(_load(lanes, row + 2 * n + j), value, s2)
            s3 = _fma(_load(lanes, row + 3 * n + j), value, s3)
        s0 = _sub(_load(lanes, b + i), s0)
        s1 = _sub(_load(lanes, b + i + 1), _fma(_load(lanes, row + n + i), s0, s1))
        s2 = _fma(_load(lanes, row + 2 * n + i), s0, s2)
        s2 = _sub(_load(lanes, b + i + 2), _fma(_load(lanes, row + 2 * n + i + 1), s1, s2))
        s3 = _fma(_load(lanes, row + 3 * n + i + 1), s1, _fma(_load(lanes, row + 3 * n + i), s0, s3))
        s3 = _sub(_load(lanes, b + i + 3), _fma(_load(lanes, row + 3 * n + i + 2), s2, s3))
        _store(lanes, b + i, s0)
        _store(lanes, b + i + 1, s1)
        _store(lanes, b + i + 2, s2)
        _store(lanes, b + i + 3, s3)
    for i in range(blocks, n):
        value = nothing
        for j in range(i):
            value = _fma(_load(lanes, a + i * n + j), _load(lanes, b + j), value)
        _store(lanes, b + i, _sub(_load(lanes, b + i), value))
    for i in range(n - 1, blocks - 1, -1):
        value = nothing
        for j in range(i + 1, n):
            value = _fma(_load(lanes, a + i * n + j), _load(lanes, b + j), value)
        _store(lanes, b + i, _mul(_sub(_load(lanes, b + i), value), _load(lanes, inverse + i)))
    for i in range(blocks - 4, -1, -4):
        row = a + i * n
        s0, s1, s2, s3 = nothing, nothing, nothing, nothing
        for j in range(i + 4, n):
            value = _load(lanes, b + j)
            s0 = _fma(_load(lanes, row + j), value, s0)
            s1 = _fma(_load(lanes, row + n + j), value, s1)
            s2 = _fma(_load(lanes, row + 2 * n + j), value, s2)
            s3 = _fma(_load(lanes, row + 3 * n + j), value, s3)
        s3 = _mul(_sub(_load(lanes, b + i + 3), s3), _load(lanes, inverse + i + 3))
        s2 = _fma(_load(lanes, row + 2 * n + i + 3), s3, s2)
        s2 = _mul(_sub(_load(lanes, b + i + 2), s2), _load(lanes, inverse + i + 2))
        s1 = _fma(_load(lanes, row + n + i + 2), s2, _fma(_load(lanes, row + n + i + 3), s3, s1))
        s1 = _mul(_sub(_load(lanes, b + i + 1), s1), _load(lanes, inverse + i + 1))
        s0 = _fma(_load(lanes, row + i + 2), s2, _fma(_load(lanes, row + i + 3), s3, s0))
        s0 = _mul(_sub(_load(lanes, b + i), _fma(_load(lanes, row + i + 1), s1, s0)), _load(lanes, inverse + i))
        _store(lanes, b + i, s0)
        _store(lanes, b + i + 1, s1)
        _store(lanes, b + i + 2, s2)
        _store(lanes, b + i + 3, s3)


# -- linear systems along runs ---------------------------------------------------------------------


@_entry
def put_exponentials(at: Whole1, lanes: Real2, pivots: Whole2, z: Real3, steps: Real1, phi: Real3, psi: Real3) -> None:
    """See :func:`sbmlump.dynamics.solve.exponentials`; NaN where a denominator is singular.

    Parameters
    ----------
    at : array of int
        By :func:`layout`, with two squares.
    lanes : array
        Memory.
    pivots : array of int (n, LANES + 1)
        Memory.
    z : array (m, n, n)
    steps : array (m,)
    phi, psi : array (m, n, n)
        Written.
    """
    n, square, factors, right, regular = at[At.SIZE], at[At.JACOBIAN], at[At.FACTORS], at[At.X], at[At.REGULAR]
    one, third, sixth = _splat(1.0), _splat(1.0 / 3.0), _splat(1.0 / 6.0)
    for low in range(0, len(z), LANES):
        for lane in range(LANES):
            place = min(low + lane, len(z) - 1)
            for i in range(n):
                for j in range(n):
                    lanes[square + i * n + j, lane] = z[place, i, j]
            lanes[at[At.STEP], lane] = steps[place]
        _product(lanes, square, square, n, n, n, factors)
        for i in range(n * n):
            value = _mul(_load(lanes, factors + i), sixth)
            _store(lanes, factors + i, _fma(_splat(-2.0 / 3.0), _load(lanes, square + i), value))
        for i in range(n):
            place = factors + i * n + i
            _store(lanes, place, _add(_load(lanes, place), one))
        _store(lanes, regular + 2, one)
        _factorised(at, lanes, pivots)
        step = _load(lanes, at[At.STEP])
        for j in range(n):
            for half in range(2):
                for i in range(n):
                    value = _load(lanes, square + i * n + j)
                    diagonal = _splat(1.0 if i == j else 0.0)
                    if half == 0:
                        value = _fma(value, third, diagonal)
                    else:
                        value = _mul(_sub(diagonal, _mul(value, sixth)), step)
                    _store(lanes, right + i, value)
                _solved(at, lanes, pivots, right)
                for lane in range(min(LANES, len(z) - low)):
                    fine = lanes[regular + 2, lane] > 0.0
                    for i in range(n):
                        found = lanes[right + i, lane] if fine else np.nan
                        if half == 0:
                            phi[low + lane, i, j] = found
                        else:
                            psi[low + lane, i, j] = found


class AlongTables(NamedTuple):
    """What adjoints along runs are multiplied by; see :class:`sbmlump.dynamics.solve.Along`.

    Attributes
    ----------
    phi, psi : ndarray (r, m, k, k)
    onto : ndarray (r, m, k, n)
    rates : ndarray (r, m, n)
    middle : ndarray (r, m, k)
    features : ndarray (r, m, c) or (r, 1, c)
    start : ndarray (r, n)
    """

    phi: Real4
    psi: Real4
    onto: Real4
    rates: Real3
    middle: Real3
    features: Real3
    start: Real2


@_entry
def put_sums_along(
    lanes: Real2,
    along: AlongTables,
    ends: Whole1,
    tips: Real3,
    by_rates: Real4,
    by_middle: Real4,
    by_features: Real4,
) -> None:
    """See :meth:`sbmlump.dynamics.solve.Along.sums`; eight adjoints at once.

    Parameters
    ----------
    lanes : array
        Memory: 2k + n rows, and k·n twice, and c·n.
    along : AlongTables
    ends : array of int (q,)
        Of each adjoint, ascending, from 1 on.
    tips : array (r, q, k)
    by_rates : array (r, q, k, n)
    by_middle : array (r, q, n, k)
    by_features : array (r, q, n, c)
        Written.
    """
    runs, count, k = tips.shape
    n, c, moving = along.rates.shape[2], along.features.shape[2], along.features.shape[1] > 1
    now, carried, onto = 0, k, 2 * k
    first, second, third = onto + n, onto + n + k * n, onto + n + 2 * k * n
    nothing = _splat(0.0)
    for run in range(runs):
        for low in range(0, count, LANES):
            inside = min(LANES, count - low)
            _clear(lanes, 0, third + c * n)
            waiting = inside
            for i in range(ends[low + inside - 1] - 1, -1, -1):
                while waiting > 0 and ends[low + waiting - 1] == i + 1:
                    waiting -= 1
                    for a in range(k):
                        lanes[now + a, waiting] = tips[run, low + waiting, a]
                for b in range(k):
                    value = nothing
                    for a in range(k):
                        value = _fma(_load(lanes, now + a), _splat(along.psi[run, i, a, b]), value)
                    _store(lanes, carried + b, value)
                for j in range(n):
                    value = nothing
                    for a in range(k):
                        value = _fma(_load(lanes, carried + a), _splat(along.onto[run, i, a, j]), value)
                    _store(lanes, onto + j, value)
                for a in range(k):
                    value, point = _load(lanes, carried + a), _splat(along.middle[run, i, a])
                    for j in range(n):
                        place = first + a * n + j
                        _store(lanes, place, _fma(value, _splat(along.rates[run, i, j]), _load(lanes, place)))
                        place = second + a * n + j
                        _store(lanes, place, _fma(point, _load(lanes, onto + j), _load(lanes, place)))
                at = i if moving else 0
                for a in range(c):
                    point = _splat(along.features[run, at, a])
                    for j in range(n):
                        place = third + a * n + j
                        _store(lanes, place, _fma(point, _load(lanes, onto + j), _load(lanes, place)))
                for b in range(k):  # what was carried is not needed any more
                    value = nothing
                    for a in range(k):
                        value = _fma(_load(lanes, now + a), _splat(along.phi[run, i, a, b]), value)
                    _store(lanes, carried + b, value)
                _copy(lanes, carried, now, k)
            for a in range(k):
                value = _load(lanes, now + a)
                for j in range(n):
                    place = first + a * n + j
                    _store(lanes, place, _fma(value, _splat(along.start[run, j]), _load(lanes, place)))
            for lane in range(inside):
                for j in range(n):
                    for a in range(k):
                        by_rates[run, low + lane, a, j] = lanes[first + a * n + j, lane]
                        by_middle[run, low + lane, j, a] = lanes[second + a * n + j, lane]
                    for a in range(c):
                        by_features[run, low + lane, j, a] = lanes[third + a * n + j, lane]


# -- trajectories ----------------------------------------------------------------------------------


@_inner
def _safe_rates(at: Indices, whole: Indices, real: Array, lanes: Array, absolute: Array, x: int, out: int) -> None:
    """Rates; where they are not defined, those with what is negative within the tolerance at 0.

    ``At.KNOWN`` is 0 in lanes where they are finite.
    """
    k, near, known = at[At.SIZE], at[At.NEAR], at[At.KNOWN]
    _rates(at, whole, real, lanes, x, out)
    if _finite(lanes, out, k, known):
        return
    for i in range(k):
        for lane in range(LANES):
            value = lanes[x + i, lane]
            outside = lanes[known, lane] != 0.0 and value < 0.0 and value >= -absolute[i]
            lanes[near + i, lane] = 0.0 if outside else value
    _rates(at, whole, real, lanes, near, out)
    _finite(lanes, out, k, known)


@_inner
def _safe_jacobian(at: Indices, whole: Indices, real: Array, lanes: Array, absolute: Array) -> None:
    """The Jacobian; where it is infinite or not defined, that at states of at least the tolerance.

    ``At.KNOWN`` is 0 in lanes where it is finite.
    """
    k, x, near, known, out = at[At.SIZE], at[At.X], at[At.NEAR], at[At.KNOWN], at[At.JACOBIAN]
    _jacobian(at, whole, real, lanes, x, out)
    if _finite(lanes, out, k * k, known):
        return
    for i in range(k):
        for lane in range(LANES):
            value = lanes[x + i, lane]
            small = lanes[known, lane] != 0.0 and abs(value) <= absolute[i]
            lanes[near + i, lane] = absolute[i] if small else value
    _jacobian(at, whole, real, lanes, near, out)
    _finite(lanes, out, k * k, known)


@_inner
def _stages(
    at: Indices, whole: Indices, real: Array, lanes: Array, absolute: Array, method: RosenbrockTableau, pivots: Indices
) -> None:
    """The six stages of a step from ``At.X``, into ``At.U``; the last one is evaluated at ``At.Y``."""
    n, u, x, y, rates = at[At.SIZE], at[At.U], at[At.X], at[At.Y], at[At.STAGE]
    nothing = _splat(0.0)
    per_step = _load(lanes, at[At.STEP] + 1)
    _copy(lanes, at[At.F], u, n)
    _solved(at, lanes, pivots, u)
    for stage in range(1, 6):
        # the last stages start where the method of lower order ends
        for i in range(n):
            value = _load(lanes, x + i)
            for s in range(stage):
                weight = 1.0 if stage == 5 and s == 4 else method.a[min(stage, 4), s]
                value = _fma(_splat(weight), _load(lanes, u + s * n + i), value)
            _store(lanes, y + i, value)
        _safe_rates(at, whole, real, lanes, absolute, y, rates)
        right = u + stage * n
        for i in range(n):
            value = nothing
            for s in range(stage):
                value = _fma(_splat(method.c[stage, s]), _load(lanes, u + s * n + i), value)
            _store(lanes, right + i, _fma(value, per_step, _load(lanes, rates + i)))
        _solved(at, lanes, pivots, right)


@_inner
def _distance(at: Indices, lanes: Array, absolute: Array, relative: float) -> None:
    """Where the step ends, into ``At.NEW``, and the sum of the squares of its errors into ``At.STEP``."""
    n, x, y, new, last = at[At.SIZE], at[At.X], at[At.Y], at[At.NEW], at[At.U] + 5 * at[At.SIZE]
    total = _splat(0.0)
    for i in range(n):
        change, before = _load(lanes, last + i), _magnitude(_load(lanes, x + i))
        moved = _add(_load(lanes, y + i), change)
        _store(lanes, new + i, moved)
        after = _magnitude(moved)
        size = _where_larger(after, before, after, before)
        ratio = _div(change, _fma(_splat(relative), size, _splat(absolute[i])))
        total = _fma(ratio, ratio, total)
    _store(lanes, at[At.STEP], total)


@_inner
def _dense(at: Indices, lanes: Array, method: RosenbrockTableau) -> None:
    """Coefficients of the continuous output, into ``At.DENSE``."""
    n, u, out = at[At.SIZE], at[At.U], at[At.DENSE]
    for i in range(n):
        third, fourth = _splat(0.0), _splat(0.0)
        for stage in range(5):
            rise = _load(lanes, u + stage * n + i)
            third = _fma(_splat(method.d[0, stage]), rise, third)
            fourth = _fma(_splat(method.d[1, stage]), rise, fourth)
        _store(lanes, out + i, third)
        _store(lanes, out + n + i, fourth)


@_inner
def _is_off(watch: WatchTables, where: Where, place: int, output: int) -> bool:
    """Whether a run is off by too much at an output, or has no value there."""
    start, limit = place % len(watch.wanted), watch.limits[place // len(watch.wanted)]
    for o in range(len(watch.base)):
        value = watch.base[o]
        for i in range(len(watch.matrix)):
            value += where.states[place, output, i] * watch.matrix[i, o]
        if not abs(value - watch.wanted[start, output, o]) <= limit * watch.sizes[start, o]:
            return True
    return False


@_entry
def follow(
    tables: Tables,
    at: Whole1,
    lanes: Real2,
    seats: Seats,
    method: RosenbrockTableau,
    where: Where,
    alive: Whole1,
    times: Real1,
    relative: float,
    absolute: Real1,
    most: int,
    upto: int,
    allowance: int,
    watch: WatchTables,
) -> None:
    """Follow runs until each has passed an output, is done or has failed, or a number of steps has been made.

    Parameters
    ----------
    tables : Tables
    at : array of int
        By :func:`layout`.
    lanes : array
        Memory.
    seats : Seats
        Memory.
    method : RosenbrockTableau
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
    watch : WatchTables
    """
    whole, real = tables.whole, tables.real
    n, m = at[At.SIZE], len(times)
    last = times[m - 1]
    least = method.least * (last - times[0])
    x, f, new, new_f, dense = at[At.X], at[At.F], at[At.NEW], at[At.NEW_F], at[At.DENSE]
    jacobian, factors, regular, step, known = at[At.JACOBIAN], at[At.FACTORS], at[At.REGULAR], at[At.STEP], at[At.KNOWN]
    pivots, taken, runs, begin, end, h = seats.pivots, seats.taken, seats.runs, seats.begin, seats.end, seats.h
    for lane in range(LANES):
        taken[lane] = runs[lane] = -1
        begin[lane], end[lane], h[lane] = 0.0, 0.0, 1.0
    made, waiting, fresh = 0, 0, False
    gamma = 1.0 / method.gamma
    _leaves(at, real, lanes)
    while made < allowance:
        # runs take the lanes that are free
        active = 0
        for lane in range(LANES):
            while taken[lane] < 0 and waiting < len(alive):
                place = alive[waiting]
                waiting += 1
                if where.status[place] == Status.UNDER_WAY and where.pointer[place] <= upto:
                    taken[lane] = place
                    _seat(tables, at, lanes, where.run[place], runs[lane], lane)
                    runs[lane] = where.run[place]
                    for i in range(n):
                        lanes[x + i, lane] = where.x[place, i]
                        lanes[f + i, lane] = where.f[place, i]
                    fresh = False
            if taken[lane] >= 0:
                active += 1
        if active == 0:
            break
        made += active
        # one step of each
        if not fresh:
            _safe_jacobian(at, whole, real, lanes, absolute)
            _copy(lanes, known, known + 1, 1)
            fresh = True
        for lane in range(LANES):
            place = taken[lane]
            if place >= 0:
                begin[lane] = where.t[place]
                h[lane] = min(where.h[place], last - begin[lane])
                end[lane] = last if where.h[place] >= last - begin[lane] else begin[lane] + h[lane]
            lanes[step, lane] = gamma / h[lane]
            lanes[step + 1, lane] = 1.0 / h[lane]
            lanes[regular + 2, lane] = 1.0 if lanes[known + 1, lane] == 0.0 else 0.0
        nothing, diagonal = _splat(0.0), _load(lanes, step)
        for i in range(n * n):
            _store(lanes, factors + i, _sub(nothing, _load(lanes, jacobian + i)))
        for i in range(n):
            place = factors + i * n + i
            _store(lanes, place, _add(_load(lanes, place), diagonal))
        _factorised(at, lanes, pivots)
        _stages(at, whole, real, lanes, absolute, method, pivots)
        _distance(at, lanes, absolute, relative)
        _safe_rates(at, whole, real, lanes, absolute, new, new_f)
        # what became of it
        shown = False
        for lane in range(LANES):
            place = taken[lane]
            if place < 0:
                continue
            t = begin[lane]
            size = np.sqrt(lanes[step, lane] / n)
            fine = lanes[regular + 2, lane] > 0.0 and math.isfinite(size) and lanes[known, lane] == 0.0
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
                    _dense(at, lanes, method)
                while pointer < m and times[pointer] <= end[lane]:
                    s = (times[pointer] - t) / h[lane]
                    for i in range(n):
                        value = lanes[new + i, lane]
                        if s < 1.0:
                            bent = lanes[dense + i, lane] + s * lanes[dense + n + i, lane]
                            value = lanes[x + i, lane] * (1 - s) + s * (value + (1 - s) * bent)
                        where.states[place, pointer, i] = value
                    where.counts[place, pointer] = where.made[place]
                    pointer += 1
                    if watch.is_on and _is_off(watch, where, place, pointer - 1):
                        where.status[place] = Status.GIVEN_UP
                        break
                where.pointer[place] = pointer
                given_up = where.status[place] == Status.GIVEN_UP
                where.t[place] = times[pointer - 1] if given_up else end[lane]
                for i in range(n):
                    lanes[x + i, lane] = lanes[new + i, lane]
                    lanes[f + i, lane] = lanes[new_f + i, lane]
                fresh = False
            else:
                factor = min(factor, 1.0)
            where.h[place] = h[lane] * factor
            if where.status[place] == Status.GIVEN_UP:
                pass
            elif where.t[place] >= last:
                where.status[place] = Status.DONE
            elif where.made[place] >= most:
                where.status[place] = Status.MANY_STEPS
            elif where.h[place] < max(least, method.rounding * abs(where.t[place])):
                where.status[place] = Status.SHORT_STEPS
            if where.status[place] != Status.UNDER_WAY or where.pointer[place] > upto:
                for i in range(n):
                    where.x[place, i] = lanes[x + i, lane]
                    where.f[place, i] = lanes[f + i, lane]
                taken[lane] = -1
    for lane in range(LANES):
        place = taken[lane]
        if place >= 0:
            for i in range(n):
                where.x[place, i] = lanes[x + i, lane]
                where.f[place, i] = lanes[f + i, lane]
