"""Machine code of one field: what the loops of :mod:`sbmlump.dynamics.kernels` do for it, with nothing left to look up.

The loops over tables do for every field and need no compilation, but spend most of their time finding out what comes
next. Of a field that is followed for many steps, its rates, the entries of its Jacobian, and the product of a row with
that are therefore written out once: the very functions of the kernels are run on its tables with vectors that stand for
lanes, and each operation on these that does not only concern numbers known beforehand is emitted. So there is one
definition of what an operation does, and both ways give the same bits (but for signs of zeros).

This module is imported by :mod:`sbmlump.dynamics.compiled` alone.

References
----------
.. [1] Futamura Y: Partial evaluation of computation process — an approach to a compiler-compiler. Higher-Order and
   Symbolic Computation 12, 381–391 (1999), first projection. doi:10.1023/A:1010095604496
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from sbmlump.dynamics import kernels
from sbmlump.dynamics.kernels import LANES, At, Tables
from sbmlump.dynamics.object_code import LoadedCode, machine
from sbmlump.dynamics.vectors import MACHINE, OPERATIONS, VECTOR

__all__ = ["MachineCode", "machine_code"]

_NUMBER: Final = ir.DoubleType()
_WHOLE: Final = ir.IntType(64)
_FAR: Final = 1 << 40
"""Rows that are arguments of machine code stand this far from each other, and from those of the tables."""
_ROWS: Final = (_FAR, 2 * _FAR, 3 * _FAR)
_MOST: Final = 10_000
"""Instructions of a function: up to these LLVM takes less than half a second; beyond, time and memory grow faster."""


@dataclass(frozen=True, slots=True, eq=False)
class MachineCode:
    """Code of a field, to be kept as long as its addresses are used.

    Attributes
    ----------
    rates, entries, row : int
        Addresses of what gives rates, entries of the Jacobian, and the product of a row with it.
    owner : object
        What frees the code when it goes.
    """

    rates: int
    entries: int
    row: int
    owner: object


class TooLongError(Exception):
    """A function would have more instructions than are worth compiling."""


def machine_code(tables: Tables, loaded: LoadedCode) -> MachineCode | None:
    """Compile a field; ``None`` where that is not worth while, or LLVM cannot do it here: tables do as well."""
    try:
        return _compiled(tables, loaded)
    except (TooLongError, RuntimeError):  # the latter is what llvmlite raises of whatever goes wrong in LLVM
        return None


def _compiled(tables: Tables, loaded: LoadedCode) -> MachineCode:
    module = ir.Module()
    bare = tables.at.tolist()
    for place in (At.IS_LIFTED, At.IS_TABLED, At.RATES_CODE, At.ENTRIES_CODE, At.ROW_CODE):
        bare[place] = 0
    bare[At.SIZE] = bare[At.FULL]
    at, _ = kernels.layout(np.array(bare, dtype=np.int64), squares=1)
    known = at.tolist(), tables.whole.tolist(), tables.real.tolist()
    with np.errstate(all="ignore"):
        _written(module, "rates", known, {}, loaded)
        _written(module, "entries", known, {At.ENTRY: _ROWS[2]}, loaded)
        _written(module, "row", known, {}, loaded)
    parsed = llvm.parse_assembly(str(module))
    engine = llvm.create_mcjit_compiler(parsed, machine(loaded.target))
    engine.finalize_object()
    address = engine.get_function_address
    return MachineCode(address("rates"), address("entries"), address("row"), engine)


Known = tuple[list[int], list[int], list[float]]
"""Tables as lists: where they begin, whole numbers, reals."""


def _written(module: ir.Module, name: str, known: Known, moved: Mapping[int, int], loaded: LoadedCode) -> None:
    """Add a function of three addresses: of the state, of the slots of the program, and of what comes out.

    For a row: of the row, of the entries, and of what comes out.
    """
    at, whole, real = known
    at = list(at)
    for place, row in moved.items():
        at[place] = row
    function = ir.Function(module, MACHINE, name)
    function.attributes.add("nounwind")
    writer = _CodeWriter(ir.IRBuilder(function.append_basic_block()), function.args, at, loaded.numbers)
    run = writer.functions()
    given, slots, out = _ROWS
    if name == "row":
        run["_row_times"](at, whole, writer, slots, given, out)
        count = at[At.FULL]
    else:
        run["_leaves"](at, real, writer)
        if name == "rates":
            run["_full_rates"](at, whole, real, writer, given, out)
            count = at[At.FULL]
        else:
            run["_full_jacobian"](at, whole, real, writer, given)
            count = at[At.ENTRIES]
    writer.finish(out, count)


class _CodeWriter:
    """Lanes as code: rows hold numbers that are known, or what was emitted for them."""

    def __init__(self, builder: ir.IRBuilder, arguments: Any, at: list[int], numbers: tuple[int, ...]) -> None:
        self._builder = builder
        self._arguments = arguments
        self._held: dict[int, Any] = {}
        # inputs of a program behind those of the state stand in their slots
        first = at[At.VALUES] + at[At.FULL]
        self._free = range(first, first + at[At.FREE])
        self._numbers: dict[float, ir.Constant] = {}
        self._places: dict[int, ir.Constant] = {}
        self._addresses = numbers
        self._functions: list[ir.Value] = []
        self._result: ir.Value | None = None

    # -- what the functions of the kernels call in place of their operations

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Functions of the kernels that write code."""
        names: dict[str, Any] = {name: partial(self._operation, name) for name in OPERATIONS}
        names |= {"_load": _loaded, "_store": _stored, "_splat": float, "_any": _may_differ_from_0}
        names |= {"_function": self._function, "_slope": self._slope}
        scope = {**vars(kernels), **names}
        for name in (
            "_leaves",
            "_copy",
            "_clear",
            "_whole_power",
            "_decided",
            "_forward",
            "_passed_on",
            "_backward",
            "_full_rates",
            "_full_jacobian",
            "_row_times",
        ):
            scope[name] = FunctionType(getattr(kernels, name).__code__, scope, name)
        return scope

    def _operation(self, name: str, *values: Any) -> Any:
        if name == "_fma":  # with nothing to add, or nothing to multiply, there is one rounding less
            a, b, c = values
            if _is(c, 0.0):
                return self._operation("_mul", a, b)
            if _is(a, 1.0) or _is(b, 1.0):
                return self._operation("_add", b if _is(a, 1.0) else a, c)
        elif all(isinstance(value, float) for value in values):
            return _KNOWN[name](*values)
        elif name == "_add" and (_is(values[0], 0.0) or _is(values[1], 0.0)):
            return values[1] if _is(values[0], 0.0) else values[0]
        elif name == "_mul" and (_is(values[0], 1.0) or _is(values[1], 1.0)):
            return values[1] if _is(values[0], 1.0) else values[0]
        elif name == "_unless_zero" and isinstance(values[0], float):
            return 0.0 if values[0] == 0 else values[1]
        if len(self._builder.block.instructions) > _MOST:
            raise TooLongError
        return OPERATIONS[name][1](self._builder, [self._vector(value) for value in values])

    def _vector(self, value: Any) -> Any:
        if not isinstance(value, float):
            return value
        if value == 0 or value not in self._numbers:
            self._numbers[value] = ir.Constant(VECTOR, [value] * LANES)
        return self._numbers[value]

    def load(self, row: int) -> Any:
        """What a row holds."""
        if row not in self._held:
            if row in self._free:
                place = self._place(1, row)
            elif row >= _FAR:
                argument, index = divmod(row, _FAR)
                place = self._place(argument - 1, index)
            else:
                raise KeyError(f"row {row} is read and was never written")
            found = self._builder.load(place)
            found.align = 8
            self._held[row] = found
        return self._held[row]

    def store(self, row: int, value: Any) -> None:
        """Let a row hold something."""
        self._held[row] = value

    def __getitem__(self, place: tuple[int, int]) -> _Lane:
        row, lane = place
        return _Lane(self, self._vector(self.load(row)), lane)

    def __setitem__(self, place: tuple[int, int], value: Any) -> None:
        row, lane = place
        before = self._held.get(row) if lane else None
        into = before if before is not None else ir.Constant(VECTOR, ir.Undefined)
        self._held[row] = self._builder.insert_element(self._vector(into), value, self._lane(lane))

    def finish(self, first: int, count: int) -> None:
        """Write what came out behind the third address, and end."""
        for i in range(count):
            stored = self._builder.store(self._vector(self._held[first + i]), self._place(2, i))
            stored.align = 8
        self._builder.ret_void()

    # -- numbers in single lanes

    def _place(self, argument: int, row: int) -> Any:
        if row not in self._places:
            self._places[row] = ir.Constant(_WHOLE, row)
        return self._builder.gep(self._arguments[argument], [self._places[row]])

    def _lane(self, lane: int) -> ir.Constant:
        return ir.Constant(ir.IntType(32), lane)

    def lane_of(self, vector: Any, lane: int) -> Any:
        """The number in a lane."""
        return self._builder.extract_element(vector, self._lane(lane))

    def call(self, which: int, *args: Any) -> Any:
        """Call one of :data:`sbmlump.dynamics.kernels.NUMBERS`; its value comes where its first argument says."""
        builder, where = self._builder, _NUMBER.as_pointer()
        if self._result is None:
            kinds = ([_WHOLE, _NUMBER, _NUMBER], [_WHOLE, _NUMBER, _NUMBER, _NUMBER, _WHOLE])
            self._functions = [
                builder.inttoptr(
                    ir.Constant(_WHOLE, address), ir.FunctionType(ir.IntType(32), [where, where, *kind]).as_pointer()
                )
                for address, kind in zip(self._addresses, kinds, strict=True)
            ]
            self._result = builder.alloca(_NUMBER)
        if len(builder.block.instructions) > _MOST:
            raise TooLongError
        builder.call(self._functions[which], [self._result, ir.Constant(where, None), *args])
        return builder.load(self._result)

    def _function(self, code: int, low: int, high: int, whole: list[int], _: object, lane: int) -> Any:
        a, b = self._two(low, high, whole, lane)
        return self.call(0, ir.Constant(_WHOLE, int(code)), a, b)

    def _slope(self, code: int, low: int, high: int, whole: list[int], _: object, slot: int, i: int, lane: int) -> Any:
        a, b = self._two(low, high, whole, lane)
        value = self.lane_of(self._vector(self.load(slot)), lane)
        return self.call(1, ir.Constant(_WHOLE, int(code)), a, b, value, ir.Constant(_WHOLE, i - low))

    def _two(self, low: int, high: int, whole: list[int], lane: int) -> tuple[Any, Any]:
        a = self.lane_of(self._vector(self.load(whole[low])), lane)
        if high > low + 1:
            return a, self.lane_of(self._vector(self.load(whole[low + 1])), lane)
        return a, ir.Constant(_NUMBER, 0.0)


@dataclass(frozen=True, slots=True)
class _Lane:
    """The number in a lane of a row, of which a power is wanted."""

    writer: _CodeWriter
    vector: Any
    lane: int

    def __pow__(self, exponent: float) -> Any:
        code = ir.Constant(_WHOLE, int(kernels.Code.POWER))
        return self.writer.call(0, code, self.writer.lane_of(self.vector, self.lane), ir.Constant(_NUMBER, exponent))


def _loaded(lanes: _CodeWriter, row: int) -> Any:
    return lanes.load(row)


def _stored(lanes: _CodeWriter, row: int, value: Any) -> None:
    lanes.store(row, value)


def _may_differ_from_0(value: Any) -> bool:
    return not _is(value, 0.0)


def _is(value: Any, number: float) -> bool:
    return isinstance(value, float) and value == number


_KNOWN: Final[Mapping[str, Callable[..., float]]] = {
    "_add": lambda a, b: a + b,
    "_sub": lambda a, b: a - b,
    "_mul": lambda a, b: a * b,
    "_div": lambda a, b: float(np.float64(a) / np.float64(b)),
    "_magnitude": abs,
    "_where_larger": lambda a, b, x, y: x if a > b else y,
    "_where_equal": lambda a, b, x, y: x if a == b else y,
    "_where_at_least": lambda a, b, x, y: x if a >= b else y,
    "_larger": lambda a, b: float(np.maximum(a, b)),
    "_smaller": lambda a, b: float(np.minimum(a, b)),
    "_unless_zero": lambda a, x: 0.0 if a == 0 else x,
}
"""Operations of known numbers."""
