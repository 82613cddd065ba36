"""What operations on a number in each lane are for LLVM: one definition, for compiled loops and machine code alike.

Imported by what makes code: :mod:`sbmlump.dynamics.compilation` and :mod:`sbmlump.dynamics.native`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llvmlite import ir

from sbmlump.dynamics.kernels import LANES

__all__ = ["MACHINE", "OPERATIONS", "VECTOR", "emit_any", "emit_splat"]

VECTOR: Final = ir.VectorType(ir.DoubleType(), LANES)
"""A number in each lane."""
MACHINE: Final = ir.FunctionType(ir.VoidType(), [VECTOR.as_pointer()] * 3)
"""Machine code of a field: of three addresses of rows."""
_UNDEFINED: Final = ir.Constant(VECTOR, ir.Undefined)
_ZERO: Final = ir.Constant(VECTOR, [0.0] * LANES)


def _called(name: str, builder: Any, args: Any) -> Any:
    """A function of vectors that LLVM knows."""
    name, module = f"llvm.{name}.v{LANES}f64", builder.module
    known = module.globals.get(name)
    if known is None:
        known = ir.Function(module, ir.FunctionType(VECTOR, [VECTOR] * len(args)), name)
    return builder.call(known, args)


def emit_splat(builder: Any, number: Any) -> Any:
    """One number in all lanes."""
    first = builder.insert_element(_UNDEFINED, number, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, _UNDEFINED, everywhere)


def emit_any(builder: Any, vector: Any) -> Any:
    """Whether a lane is not 0."""
    bits = builder.bitcast(builder.fcmp_unordered("!=", vector, _ZERO), ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


def _emit_extreme(builder: Any, order: str, a: Any, b: Any) -> Any:
    picked = builder.select(builder.fcmp_unordered(order, b, a), b, a)  # b where it is NaN, and where a is
    return builder.select(builder.fcmp_unordered("uno", a, a), a, picked)


def _emit_where(order: str) -> Callable[[Any, Any], Any]:
    return lambda builder, args: builder.select(builder.fcmp_ordered(order, args[0], args[1]), args[2], args[3])


OPERATIONS: Final[Mapping[str, tuple[int, Callable[[Any, Any], Any]]]] = {
    "_add": (2, lambda builder, args: builder.fadd(*args)),
    "_sub": (2, lambda builder, args: builder.fsub(*args)),
    "_mul": (2, lambda builder, args: builder.fmul(*args)),
    "_div": (2, lambda builder, args: builder.fdiv(*args)),
    "_fma": (3, lambda builder, args: _called("fma", builder, args)),
    "_magnitude": (1, lambda builder, args: _called("fabs", builder, args)),
    "_where_larger": (4, _emit_where(">")),
    "_where_equal": (4, _emit_where("==")),
    "_where_at_least": (4, _emit_where(">=")),
    "_larger": (2, lambda builder, args: _emit_extreme(builder, ">", *args)),
    "_smaller": (2, lambda builder, args: _emit_extreme(builder, "<", *args)),
    "_unless_zero": (
        2,
        lambda builder, args: builder.select(builder.fcmp_ordered("==", args[0], _ZERO), _ZERO, args[1]),
    ),
}
"""What operations of vectors emit, by their names in :mod:`sbmlump.dynamics.kernels`, with the count of arguments."""
