"""What compiled functions are given: kinds of arguments, from annotations, and arguments as the words of a call.

A compiled function takes single words: numbers, and of each array two words for who owns it (nobody, here), the count
and size of its elements, its address, its shape and its strides. Tuples are taken apart. This is how Numba's functions
pass arguments to each other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Final, TypeAlias, get_args, get_type_hints

import numpy as np

from sbmlump.arrays import Array, Indices

__all__ = [
    "ArrayKind",
    "Kind",
    "Packed",
    "Real1",
    "Real2",
    "Real3",
    "Real4",
    "Whole1",
    "Whole2",
    "kinds_of",
    "members",
    "words_of",
    "word_types",
]


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """An array, contiguous by rows.

    Attributes
    ----------
    is_whole : bool
        Of whole numbers; else of reals. Eight bytes each.
    dimensions : int
    """

    is_whole: bool
    dimensions: int


Real1 = Annotated[Array, ArrayKind(False, 1)]
Real2 = Annotated[Array, ArrayKind(False, 2)]
Real3 = Annotated[Array, ArrayKind(False, 3)]
Real4 = Annotated[Array, ArrayKind(False, 4)]
Whole1 = Annotated[Indices, ArrayKind(True, 1)]
Whole2 = Annotated[Indices, ArrayKind(True, 2)]

Kind: TypeAlias = "ArrayKind | type[Any]"
"""An array, ``int``, ``float``, or a class with named fields."""

_WORD: Final = 8  # bytes
_OWNERS: Final = (0, 0)  # addresses of who counts users of an array, and of the object that it is: nobody, none
_MEMBERS: Final[dict[type[Any], dict[str, Kind]]] = {}
_NUMBERS: Final = {False: np.dtype(np.float64), True: np.dtype(np.int64)}


def kinds_of(function: Callable[..., Any]) -> tuple[Kind, ...]:
    """Kinds of the arguments of a function, from its annotations."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    return tuple(_kind(hint) for hint in hints.values())


def members(kind: type[Any]) -> dict[str, Kind]:
    """Kinds of the fields of a class, by their names."""
    if kind not in _MEMBERS:
        hints = get_type_hints(kind, include_extras=True)
        names = [one.name for one in fields(kind)] if is_dataclass(kind) else kind._fields
        _MEMBERS[kind] = {name: _kind(hints[name]) for name in names}
    return _MEMBERS[kind]


def _kind(hint: Any) -> Kind:
    for one in get_args(hint):
        if isinstance(one, ArrayKind):
            return one
    kind: type[Any] = hint
    return kind


def word_types(kind: Kind) -> Iterator[type[Any]]:
    """What a call passes for an argument of a kind, word by word."""
    if isinstance(kind, ArrayKind):
        yield from [ctypes.c_int64] * (5 + 2 * kind.dimensions)
    elif kind is int:
        yield ctypes.c_int64
    elif kind is float:
        yield ctypes.c_double
    else:
        for one in members(kind).values():
            yield from word_types(one)


def words_of(value: Any, kind: Kind) -> list[Any]:
    """An argument as words; the arrays in it have to be there as long as these are used.

    Raises
    ------
    TypeError
        If it is not of that kind: the compiled function would read what is not there.
    """
    if isinstance(kind, ArrayKind):
        return _words_of_array(value, kind)
    if kind is int or kind is float:
        return [kind(value)]
    if not isinstance(value, kind):
        raise TypeError(f"a compiled function takes {kind.__name__}, not {type(value).__name__}")
    return [word for name, one in members(kind).items() for word in words_of(getattr(value, name), one)]


class Packed:
    """An argument with named fields whose words are made once, for many calls.

    Parameters
    ----------
    value : tuple or dataclass
        Its arrays are kept with it.
    """

    __slots__ = ("kind", "value", "words")

    def __init__(self, value: Any) -> None:
        self.value, self.kind = value, type(value)
        self.words = words_of(value, self.kind)


def _words_of_array(value: Array | Indices, kind: ArrayKind) -> list[int]:
    dtype, flags = _NUMBERS[kind.is_whole], value.flags
    if value.dtype != dtype or value.ndim != kind.dimensions or not (flags.c_contiguous and flags.aligned):
        raise TypeError(
            f"a compiled function takes {kind.dimensions} dimensions of {dtype}, contiguous and aligned, not "
            f"{value.ndim} of {value.dtype}"
        )
    return [*_OWNERS, value.size, _WORD, value.ctypes.data, *value.shape, *value.strides]
