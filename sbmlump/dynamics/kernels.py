"""Loops that are compiled by Numba: right-hand sides from tables, and whole trajectories of the Rosenbrock method.

Nothing here is made for one model: what a model is stands in arrays (:class:`Tables`), so that one compilation, kept
in Numba's cache, does for all of them. This module imports Numba and is imported by
:mod:`sbmlump.dynamics.compiled` alone. All that is compiled stands in this file, because the cache looks at the date
of one file only.

The semantics of every operation are those of :class:`sbmlump.model.domains.FloatDomain`, those of a step those of
:mod:`sbmlump.dynamics.rosenbrock`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numba import njit
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
    "follow",
    "many_jacobians",
    "many_left_products",
    "many_rates",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F) -> F:
    """Compile on first use; the result is kept in Numba's cache."""
    made: F = njit(cache=True, error_model="numpy")(function)
    return made


def _inner(function: F) -> F:
    """The same for what is called by compiled functions alone: without the wrappers for calls from Python."""
    made: F = njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
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
    """Candidates as tables of degree two: ẏ = a + My + T(y ⊗ y).

    Attributes
    ----------
    starts : int
        Runs of a candidate.
    constant : ndarray (c·r, k)
    linear : ndarray (c·r, k, k)
    square : ndarray (c, k·k, k)
    slope : ndarray (c, k, k, k)
    """

    starts: int
    constant: Array
    linear: Array
    square: Array
    slope: Array


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


class _Space(NamedTuple):
    """Memory of an evaluation."""

    values: Array  # (slots,)
    adjoint: Array  # (slots, sweeps)
    point: Array  # (n,) of the full field
    rates: Array  # (n,) of the full field
    entries: Array  # (z,) of the Jacobian of the full field
    onto: Array  # (n, k): L times the Jacobian of the full field, transposed


def _reordered(function: F) -> F:
    """Likewise, with sums in any order: many terms at once."""
    made: F = njit(
        cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"reassoc"}
    )(function)
    return made


@_reordered
def _dot(a: Array, b: Array, low: int, high: int) -> float:
    """Σ a_j·b_j over low ≤ j < high."""
    total = 0.0
    for j in range(low, high):
        total += a[j] * b[j]
    return total


@_inner
def _copy(source: Array, target: Array) -> None:
    """Copy a vector (an assignment to a slice would bring with it, compiled, the texts of its errors)."""
    for i in range(len(source)):
        target[i] = source[i]


@_inner
def _clear(table: Array) -> None:
    for i in range(len(table)):
        for j in range(table.shape[1]):
            table[i, j] = 0.0


# -- programs --------------------------------------------------------------------------------------


@_inner
def _truth(condition: bool) -> float:
    return 1.0 if condition else 0.0


@_inner
def _forward(program: ProgramTables, first: int, values: Array) -> None:
    """Values of all nodes, from those of inputs and leaves, which are the slots up to ``first``."""
    codes, pointers, args = program.codes, program.pointers, program.args
    coefficients, exponents = program.coefficients, program.exponents
    for node in range(len(codes)):
        code, low, high = codes[node], pointers[node], pointers[node + 1]
        a = values[args[low]]
        if code == Code.SUM:
            value = coefficients[low] * a
            for i in range(low + 1, high):
                value += coefficients[i] * values[args[i]]
        elif code == Code.PRODUCT:
            value = a
            for i in range(low + 1, high):
                value *= values[args[i]]
        elif code == Code.DIVISION:
            value = a / values[args[low + 1]]
        elif code == Code.WHOLE_POWER:
            e = exponents[node]
            if e == 2.0:
                value = a * a
            elif e == -1.0:
                value = 1.0 / a
            else:
                value = a**e
        else:
            value = _function(code, low, high, args, values)
        values[first + node] = value


@_inner
def _function(code: int, low: int, high: int, args: Indices, values: Array) -> float:
    """Value of a function that is no rational operation."""
    a = values[args[low]]
    b = values[args[low + 1]] if high > low + 1 else 0.0
    value = np.nan
    if code == Code.POWER:
        value = a**b
    elif code == Code.EXP:
        value = np.exp(a)
    elif code == Code.LN:
        value = np.log(a)
    elif code == Code.PIECEWISE:
        value = values[args[high - 1]]
        for i in range(low, high - 1, 2):
            if values[args[i + 1]] != 0:
                value = values[args[i]]
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
            if values[args[i]] == 0:
                value = 0.0
    elif code == Code.OR:
        value = 0.0
        for i in range(low, high):
            if values[args[i]] != 0:
                value = 1.0
    elif code == Code.XOR:
        value = 0.0
        for i in range(low, high):
            if values[args[i]] != 0:
                value = 1.0 - value
    elif code == Code.NOT:
        value = _truth(a == 0)
    elif code == Code.MIN:
        value = a
        for i in range(low + 1, high):
            other = values[args[i]]
            if not (value <= other or value != value):
                value = other
    elif code == Code.MAX:
        value = a
        for i in range(low + 1, high):
            other = values[args[i]]
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
def _passed_on(out: Array, slope: float, to: Array) -> None:
    """Add the adjoint times a slope; an adjoint of 0 passes nothing on, be the slope infinite."""
    if math.isfinite(slope):
        for c in range(len(out)):
            to[c] += out[c] * slope
    else:
        for c in range(len(out)):
            if out[c] != 0.0:
                to[c] += out[c] * slope


@_inner
def _backward(program: ProgramTables, first: int, values: Array, adjoint: Array) -> None:
    """Vector–Jacobian products, a column each: from the adjoints of the roots to those of the inputs."""
    codes, pointers, args = program.codes, program.pointers, program.args
    for node in range(len(codes) - 1, -1, -1):
        out = adjoint[first + node]
        idle = True
        for c in range(len(out)):
            if out[c] != 0.0:
                idle = False
                break
        if idle:
            continue
        code, low, high = codes[node], pointers[node], pointers[node + 1]
        if code == Code.SUM:
            for i in range(low, high):
                _passed_on(out, program.coefficients[i], adjoint[args[i]])
        elif code == Code.PRODUCT:
            for i in range(low, high):
                slope = 1.0
                for j in range(low, i):
                    slope = 0.0 if slope == 0.0 else slope * values[args[j]]
                if slope != 0.0:
                    after = 1.0
                    for j in range(high - 1, i, -1):
                        after *= values[args[j]]
                    slope *= after
                _passed_on(out, slope, adjoint[args[i]])
        elif code == Code.DIVISION:
            top = 1.0 / values[args[low + 1]]
            _passed_on(out, top, adjoint[args[low]])
            bottom = 0.0 if top == 0.0 else -top * values[first + node]
            _passed_on(out, bottom, adjoint[args[low + 1]])
        elif code == Code.WHOLE_POWER:
            a, e = values[args[low]], program.exponents[node]
            slope = 2.0 * a if e == 2.0 else e * a ** (e - 1.0)
            _passed_on(out, slope, adjoint[args[low]])
        elif code == Code.POWER:
            a, e = values[args[low]], values[args[low + 1]]
            _passed_on(out, e * a ** (e - 1.0), adjoint[args[low]])
            # at base 0 the exponent has no influence: the limit of value·ln(base) is 0 there
            by_exponent = np.nan if a < 0 else values[first + node] * (np.log(a) if a > 0 else 0.0)
            _passed_on(out, by_exponent, adjoint[args[low + 1]])
        elif code == Code.PIECEWISE:
            taken = high - 1
            for i in range(low, high - 1, 2):
                if values[args[i + 1]] != 0:
                    taken = i
                    break
            for i in range(low, high):
                _passed_on(out, _truth(i == taken), adjoint[args[i]])
        elif code == Code.MIN or code == Code.MAX:
            taken = -1
            for i in range(low, high):
                if values[args[i]] == values[first + node]:
                    taken = i
                    break
            for i in range(low, high):
                _passed_on(out, _truth(i == taken), adjoint[args[i]])
        elif code == Code.REM:
            _passed_on(out, 1.0, adjoint[args[low]])
            _passed_on(out, -np.trunc(values[args[low]] / values[args[low + 1]]), adjoint[args[low + 1]])
        elif high > low + 1:  # relations, logic, quotient: constant but for jumps
            for i in range(low, high):
                _passed_on(out, 0.0, adjoint[args[i]])
        else:
            slope = _slope_of_one(code, values[args[low]], values[first + node])
            _passed_on(out, slope, adjoint[args[low]])


@_inner
def _program_values(program: ProgramTables, x: Array, run: int, values: Array) -> int:
    """Values of all slots at a state; the number of slots before the first node is returned."""
    inputs = len(x) + len(program.free)
    _copy(x, values)
    for i in range(len(program.free)):
        values[len(x) + i] = program.free[i, run]
    for i in range(len(program.leaves)):
        values[inputs + i] = program.leaves[i]
    first = inputs + len(program.leaves)
    _forward(program, first, values)
    return first


@_inner
def _program_jacobian(
    program: ProgramTables, x: Array, run: int, values: Array, adjoint: Array, entries: Array
) -> None:
    """The entries of the Jacobian, by one backward sweep for all colours of rows."""
    first = _program_values(program, x, run, values)
    swept = adjoint[:, : program.colours]
    _clear(swept)
    for i in range(len(program.roots)):
        swept[program.roots[i], program.colour[i]] += 1.0
    _backward(program, first, values, swept)
    for e in range(len(entries)):
        entries[e] = swept[program.columns[e], program.colour[program.rows[e]]]


# -- right-hand sides of degree two ----------------------------------------------------------------


@_inner
def _quadratic_rates(form: QuadraticTables, x: Array, out: Array) -> None:
    for i in range(len(out)):
        value = form.constant[i]
        for e in range(form.linear_pointers[i], form.linear_pointers[i + 1]):
            value += form.linear[e] * x[form.linear_columns[e]]
        for e in range(form.product_pointers[i], form.product_pointers[i + 1]):
            p = form.product_columns[e]
            value += form.products[e] * (x[form.left[p]] * x[form.right[p]])
        out[i] = value


@_inner
def _quadratic_jacobian(form: QuadraticTables, x: Array, entries: Array) -> None:
    for e in range(len(entries)):
        value = form.base[e]
        for i in range(form.slope_pointers[e], form.slope_pointers[e + 1]):
            value += form.slopes[i] * x[form.slope_columns[i]]
        entries[e] = value


# -- fields ----------------------------------------------------------------------------------------


@_inner
def _space(tables: Tables, sweeps: int) -> _Space:
    entries = len(tables.program.rows) if tables.is_program else len(tables.quadratic.rows)
    slots = 0
    if tables.is_program:
        program = tables.program
        slots = tables.full + len(program.free) + len(program.leaves) + len(program.codes)
        sweeps = max(sweeps, program.colours)
    return _Space(
        np.empty(slots),
        np.empty((slots, sweeps)),
        np.empty(tables.full),
        np.empty(tables.full),
        np.empty(entries),
        np.empty((tables.full, tables.size)),
    )


@_inner
def _full_rates(tables: Tables, x: Array, run: int, space: _Space, out: Array) -> None:
    if tables.is_program:
        _program_values(tables.program, x, run, space.values)
        for i in range(len(out)):
            out[i] = space.values[tables.program.roots[i]]
    else:
        _quadratic_rates(tables.quadratic, x, out)


@_inner
def _full_jacobian(tables: Tables, x: Array, run: int, space: _Space) -> None:
    """Entries of the Jacobian of the full field, into ``space.entries``."""
    if tables.is_program:
        _program_jacobian(tables.program, x, run, space.values, space.adjoint, space.entries)
    else:
        _quadratic_jacobian(tables.quadratic, x, space.entries)


@_inner
def _lifted(lift: LiftTables, y: Array, candidate: int, start: int, out: Array) -> None:
    table = lift.lift[candidate]
    for i in range(len(out)):
        out[i] = lift.offset[candidate, start, i] + _dot(table[i], y, 0, len(y))


@_inner
def _rates(tables: Tables, x: Array, run: int, space: _Space, out: Array) -> None:
    if tables.is_tabled:
        _tabled_rates(tables.candidates, x, run, out)
    elif tables.is_lifted:
        lift = tables.lift
        starts = len(lift.numbers)
        candidate, start = run // starts, run % starts
        _lifted(lift, x, candidate, start, space.point)
        _full_rates(tables, space.point, lift.numbers[start], space, space.rates)
        table = lift.matrix[candidate]
        for i in range(len(out)):
            out[i] = _dot(table[i], space.rates, 0, len(space.rates))
    else:
        _full_rates(tables, x, run, space, out)


@_inner
def _tabled_rates(tabled: CandidateTables, y: Array, run: int, out: Array) -> None:
    k = len(y)
    linear, square = tabled.linear[run], tabled.square[run // tabled.starts]
    for i in range(k):
        out[i] = tabled.constant[run, i] + _dot(linear[i], y, 0, k)
    for i in range(k):
        for j in range(k):
            weight = y[i] * y[j]
            row = square[i * k + j]
            for c in range(k):
                out[c] += weight * row[c]


@_inner
def _jacobian(tables: Tables, x: Array, run: int, space: _Space, out: Array) -> None:
    """The Jacobian of the field, (k, k)."""
    if tables.is_tabled:
        tabled = tables.candidates
        slope = tabled.slope[run // tabled.starts]
        for i in range(len(x)):
            _copy(tabled.linear[run, i], out[i])
        for i in range(len(x)):
            for j in range(len(x)):
                for c in range(len(x)):
                    out[j, c] += x[i] * slope[i, j, c]
    elif tables.is_lifted:
        lift = tables.lift
        starts = len(lift.numbers)
        candidate, start = run // starts, run % starts
        _lifted(lift, x, candidate, start, space.point)
        _left_products(tables, space.point, lift.numbers[start], lift.matrix[candidate], space, space.onto)
        table = lift.lift[candidate]
        _clear(out)
        for i in range(len(table)):
            for q in range(len(out)):
                weight = space.onto[i, q]
                if weight != 0.0:
                    for j in range(len(out)):
                        out[q, j] += weight * table[i, j]
    else:
        _full_jacobian(tables, x, run, space)
        _clear(out)
        if tables.is_program:
            rows, columns = tables.program.rows, tables.program.columns
        else:
            rows, columns = tables.quadratic.rows, tables.quadratic.columns
        for e in range(len(rows)):
            out[rows[e], columns[e]] = space.entries[e]


@_inner
def _left_products(tables: Tables, x: Array, run: int, matrix: Array, space: _Space, out: Array) -> None:
    """Rows (q, n) times the Jacobian of the full field, transposed: (n, q)."""
    q = len(matrix)
    if tables.is_program and q <= tables.program.colours:
        program = tables.program
        first = _program_values(program, x, run, space.values)
        swept = space.adjoint[:, :q]
        _clear(swept)
        for i in range(len(program.roots)):
            for c in range(q):
                swept[program.roots[i], c] += matrix[c, i]
        _backward(program, first, space.values, swept)
        for i in range(len(out)):
            for c in range(q):
                out[i, c] = swept[i, c]
        return
    _full_jacobian(tables, x, run, space)
    if tables.is_program:
        rows, columns = tables.program.rows, tables.program.columns
    else:
        rows, columns = tables.quadratic.rows, tables.quadratic.columns
    _clear(out)
    for e in range(len(rows)):
        value, i, j = space.entries[e], rows[e], columns[e]
        for c in range(q):
            out[j, c] += matrix[c, i] * value


@_compiled
def many_rates(tables: Tables, x: Array, run: Indices, out: Array) -> None:
    """Rates at k points, (k, n)."""
    space = _space(tables, 0)
    for i in range(len(x)):
        _rates(tables, x[i], run[i], space, out[i])


@_compiled
def many_jacobians(tables: Tables, x: Array, run: Indices, out: Array) -> None:
    """Jacobians at k points, (k, n, n)."""
    space = _space(tables, tables.size)
    for i in range(len(x)):
        _jacobian(tables, x[i], run[i], space, out[i])


@_compiled
def many_left_products(tables: Tables, x: Array, run: Indices, rows: Array, out: Array) -> None:
    """Rows times the Jacobian of a full field at k points, (k, q, n)."""
    q = rows.shape[1]
    space = _space(tables, q)
    onto = np.empty((tables.full, q))
    for i in range(len(x)):
        _left_products(tables, x[i], run[i], rows[i], space, onto)
        for c in range(q):
            for j in range(tables.full):
                out[i, c, j] = onto[j, c]


# -- linear systems --------------------------------------------------------------------------------


@_inner
def _factorised(a: Array, pivots: Indices) -> bool:
    """LU in place with partial pivoting; false if a pivot is 0 or not finite."""
    n = len(a)
    for k in range(n):
        best, place = abs(a[k, k]), k
        for i in range(k + 1, n):
            size = abs(a[i, k])
            if size > best:
                best, place = size, i
        pivots[k] = place
        if not (best > 0.0 and math.isfinite(best)):
            return False
        if place != k:
            for j in range(n):
                a[k, j], a[place, j] = a[place, j], a[k, j]
        inverse = 1.0 / a[k, k]
        above = a[k]
        for i in range(k + 1, n):
            if a[i, k] != 0.0:  # most entries of the Jacobian of a network are 0
                row = a[i]
                factor = row[k] * inverse
                row[k] = factor
                for j in range(k + 1, n):
                    row[j] -= factor * above[j]
    return True


@_inner
def _solved(a: Array, pivots: Indices, b: Array) -> None:
    """Solve in place by the factors."""
    n = len(a)
    for k in range(n):
        place = pivots[k]
        if place != k:
            b[k], b[place] = b[place], b[k]
    for i in range(n):
        b[i] -= _dot(a[i], b, 0, i)
    for i in range(n - 1, -1, -1):
        b[i] = (b[i] - _dot(a[i], b, i + 1, n)) / a[i, i]


# -- trajectories ----------------------------------------------------------------------------------


@_inner
def _finite(x: Array) -> bool:
    finite = True
    for i in range(len(x)):
        finite &= math.isfinite(x[i])
    return finite


@_inner
def _safe_rates(tables: Tables, x: Array, run: int, absolute: Array, space: _Space, near: Array, out: Array) -> bool:
    """Rates; where they are not defined, those with what is negative within the tolerance at 0. Whether finite."""
    _rates(tables, x, run, space, out)
    if _finite(out):
        return True
    for i in range(len(x)):
        near[i] = 0.0 if x[i] < 0 and x[i] >= -absolute[i] else x[i]
    _rates(tables, near, run, space, out)
    return _finite(out)


@_inner
def _safe_jacobian(tables: Tables, x: Array, run: int, absolute: Array, space: _Space, near: Array, out: Array) -> bool:
    """The Jacobian; where it is infinite or not defined, that at states of at least the tolerance. Whether finite."""
    _jacobian(tables, x, run, space, out)
    if _finite(out.ravel()):
        return True
    for i in range(len(x)):
        near[i] = absolute[i] if abs(x[i]) <= absolute[i] else x[i]
    _jacobian(tables, near, run, space, out)
    return _finite(out.ravel())


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
    jacobian = np.empty((n, n))
    factors = np.empty((n, n))
    pivots = np.empty(n, dtype=np.int64)
    u = np.empty((6, n))
    near, y, f, new, rates = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    made = 0
    for place in alive:
        run, x = where.run[place], where.x[place]
        fresh, regular = False, False
        while where.status[place] == Status.UNDER_WAY and where.pointer[place] <= upto:
            if made >= allowance:
                return made
            made += 1
            t = where.t[place]
            h = min(where.h[place], last - t)
            end = last if where.h[place] >= last - t else t + h
            if not fresh:
                regular = _safe_jacobian(tables, x, run, absolute, space, near, jacobian)
                fresh = True
            good = regular
            if good:
                for i in range(n):
                    for j in range(n):
                        factors[i, j] = -jacobian[i, j]
                    factors[i, i] += 1.0 / (method.gamma * h)
                good = _factorised(factors, pivots)
            size = np.inf
            if good:
                for stage in range(6):
                    if stage == 0:
                        _copy(where.f[place], f)
                    else:
                        # the last stages start where the method of lower order ends
                        for i in range(n):
                            y[i] = x[i]
                        for s in range(stage):
                            weight = method.a[min(stage, 4), s]
                            if stage == 5 and s == 4:
                                weight = 1.0
                            for i in range(n):
                                y[i] += weight * u[s, i]
                        _safe_rates(tables, y, run, absolute, space, near, f)
                    right = u[stage]
                    for i in range(n):
                        right[i] = 0.0
                    for s in range(stage):
                        for i in range(n):
                            right[i] += method.c[stage, s] * u[s, i]
                    for i in range(n):
                        right[i] = f[i] + right[i] / h if stage else f[i]
                    _solved(factors, pivots, right)
                total = 0.0
                for i in range(n):
                    new[i] = y[i] + u[5, i]
                    scale = absolute[i] + relative * max(abs(x[i]), abs(new[i]))
                    total += (u[5, i] / scale) ** 2
                size = np.sqrt(total / n)
                good = math.isfinite(size)
            if good:
                good = _safe_rates(tables, new, run, absolute, space, near, rates)
            factor = method.retreat
            if good:
                factor = (
                    method.grow if size == 0.0 else min(max(method.safety * size**-0.25, method.shrink), method.grow)
                )
            where.made[place] += 1
            if good and size <= 1.0:
                pointer = where.pointer[place]
                while pointer < m and times[pointer] <= end:
                    s = (times[pointer] - t) / h
                    out = where.states[place, pointer]
                    for i in range(n):
                        if s >= 1.0:
                            out[i] = new[i]
                        else:
                            c3, c4 = 0.0, 0.0
                            for stage in range(5):
                                c3 += method.d[0, stage] * u[stage, i]
                                c4 += method.d[1, stage] * u[stage, i]
                            out[i] = x[i] * (1 - s) + s * (new[i] + (1 - s) * (c3 + s * c4))
                    where.counts[place, pointer] = where.made[place]
                    pointer += 1
                where.pointer[place] = pointer
                where.t[place] = end
                _copy(new, x)
                _copy(rates, where.f[place])
                fresh = False
            else:
                factor = min(factor, 1.0)
            where.h[place] = h * factor
            if where.t[place] >= last:
                where.status[place] = Status.DONE
            elif where.made[place] >= most:
                where.status[place] = Status.MANY_STEPS
            elif where.h[place] < max(least, method.rounding * abs(where.t[place])):
                where.status[place] = Status.SHORT_STEPS
    return made
