"""The loops of :mod:`sbmlump.dynamics.kernels` as object code, by Numba.

Imported by :mod:`sbmlump.dynamics.object_code` alone, and only where no object code is kept yet: what it makes needs
neither Numba nor Python any more. Compiled functions allocate nothing, count no users of arrays and raise nothing, so
that they call nothing but each other and the mathematical library.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

import numba
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import make_array

from sbmlump.dynamics import kernels
from sbmlump.dynamics.arguments import ArrayKind, Kind, kinds_of, members, word_types
from sbmlump.dynamics.object_code import ObjectCode
from sbmlump.dynamics.vectors import MACHINE, OPERATIONS, VECTOR, emit_any, emit_splat

__all__ = ["compile_kernels", "compiled_functions"]


_CALLS: Final = frozenset({"cos", "exp", "fma", "log", "memcpy", "memmove", "memset", "pow", "sin", "tan"})
"""What LLVM knows as functions of its own, and calls by the same names where the processor has no instruction."""

LanesType: Final[Any] = type("LanesType", (types.Type,), {"__doc__": "A number in each lane."})
_LANES: Final = LanesType("lanes")


def _set_up(self: Any, manager: Any, kind: Any) -> None:
    models.PrimitiveModel.__init__(self, manager, kind, VECTOR)


register_model(LanesType)(type("_LanesModel", (models.PrimitiveModel,), {"__init__": _set_up}))


# -- operations on vectors -------------------------------------------------------------------------


def _row(context: Any, builder: Any, kind: Any, table: Any, row: Any) -> Any:
    """Address of a row of a table with a column for each lane."""
    data = make_array(kind)(context, builder, table).data
    place = builder.gep(data, [builder.mul(row, ir.Constant(row.type, kernels.LANES))])
    return builder.bitcast(place, VECTOR.as_pointer())


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
        lambda _, a, b, c, d, e: typed(a, b, c, d, e),
    )
    return intrinsic(definitions[count - 1])


def _of_vectors(count: int, emit: Callable[[Any, Any], Any]) -> Any:
    """An operation of so many vectors, from what it emits for (builder, values)."""
    return _operation(count, lambda *_: (_LANES,) * count, _LANES, lambda _, builder, __, args: emit(builder, args))


def _emit_load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    found = builder.load(_row(context, builder, signature.args[0], *args))
    found.align = 8
    return found


def _emit_store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    builder.store(args[2], _row(context, builder, signature.args[0], args[0], args[1])).align = 8
    return context.get_dummy_value()


def _emit_machine(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    address, table, *rows = args
    places = [_row(context, builder, signature.args[1], table, row) for row in rows]
    function = builder.inttoptr(address, MACHINE.as_pointer())
    builder.call(function, places)
    return context.get_dummy_value()


def _vector_operations() -> dict[str, Any]:
    """What stands in the place of each :class:`~sbmlump.dynamics.kernels.VectorOperation`."""
    whole = types.intp
    return {
        "_load": _operation(2, lambda table, _: (table, whole), _LANES, _emit_load),
        "_store": _operation(3, lambda table, *_: (table, whole, _LANES), types.void, _emit_store),
        "_splat": _operation(1, lambda _: (types.float64,), _LANES, lambda _, b, __, args: emit_splat(b, args[0])),
        "_machine": _operation(5, lambda _, table, *__: (whole, table, whole, whole, whole), types.void, _emit_machine),
        "_any": _operation(1, lambda _: (_LANES,), types.boolean, lambda _, b, __, args: emit_any(b, args[0])),
        **{name: _of_vectors(*definition) for name, definition in OPERATIONS.items()},
    }


# -- functions -------------------------------------------------------------------------------------


def compiled_functions() -> dict[str, Any]:
    """What the module :mod:`~sbmlump.dynamics.kernels` defines, with functions that Numba compiles."""
    scope = {**vars(kernels), **_vector_operations()}

    def with_scope(functions: dict[str, Callable[..., Any]], **options: Any) -> None:
        for name, function in functions.items():
            own = FunctionType(function.__code__, scope, name, function.__defaults__)
            scope[name] = numba.njit(error_model="numpy", boundscheck=False, _nrt=False, **options)(own)

    with_scope(kernels.IN_LINE, inline="always")
    with_scope(kernels.INNER, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    with_scope(kernels.ENTRIES, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    return scope


def compile_kernels() -> ObjectCode:
    """All entry points as object code, for this processor: tens of seconds."""
    scope = compiled_functions()
    objects: list[bytes] = []
    names: dict[str, str] = {}
    needed: set[str] = set()
    whole, real = types.int64, types.float64
    numbers = {"_value": (whole, real, real), "_slope_of": (whole, real, real, real, whole)}
    for name in (*kernels.ENTRIES, *kernels.NUMBERS):
        kinds = [] if name in numbers else kinds_of(kernels.ENTRIES[name])
        signature = numbers.get(name) or tuple(_numba_type(kind) for kind in kinds)
        scope[name].compile(signature)
        made = scope[name].overloads[signature]
        _, _, (code, _) = made.library.serialize_using_object_code()
        objects.append(code)
        names[name] = made.fndesc.llvm_func_name
        needed |= _declared(made.library)
        words = 2 + (len(signature) if name in numbers else sum(1 for kind in kinds for _ in word_types(kind)))
        convention = cpu_target.target_context.call_conv
        taken = len(convention.get_function_type(made.fndesc.restype, made.fndesc.argtypes).args)
        if taken != words:
            raise RuntimeError(f"{name} takes {taken} words where {words} are passed")
    target = cpu_target.target_context.codegen().magic_tuple()
    return ObjectCode(tuple(objects), names, tuple(sorted(needed)), target)


def _numba_type(kind: Kind) -> Any:
    if isinstance(kind, ArrayKind):
        return types.Array(types.int64 if kind.is_whole else types.float64, kind.dimensions, "C")
    if kind is int or kind is float:
        return types.int64 if kind is int else types.float64
    parts = members(kind)
    return types.NamedTuple([_numba_type(one) for one in parts.values()], namedtuple(kind.__name__, parts))


def _declared(library: Any) -> set[str]:
    """Functions that the code calls and does not bring along, also by what LLVM turns into calls."""
    names = {one.name for one in library._final_module.functions if one.is_declaration}
    parts = {name: name.split(".") for name in names}
    called = {found[1] for found in parts.values() if found[0] == "llvm" and found[1] in _CALLS}
    return called | {name for name, found in parts.items() if found[0] != "llvm"}
