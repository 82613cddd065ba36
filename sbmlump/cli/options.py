"""Options of commands, from what is declared of them."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from sbmlump.jobs import METHODS, OPTIONS, methods_with
from sbmlump.options import Choice, Choices, Declared, Flag, Texts, declared
from sbmlump.options import Number as NumberKind

__all__ = ["OF_METHODS", "OF_REDUCTIONS", "declared_options", "given"]

Command = TypeVar("Command", bound=Callable[..., Any])

OF_METHODS: Final = tuple(name for name in OPTIONS if methods_with(name))
"""Names of the options that belong to some methods."""
OF_REDUCTIONS: Final = tuple(name for name in OPTIONS if name not in OF_METHODS)
"""Names of the options of every reduction."""


def declared_options(*options: Declared) -> Callable[[Command], Command]:
    """Adds options to a command as they are declared; the command gets their values under their names in Python.

    What is refused is refused with the reason that Python gives.
    """

    def add(command: Command) -> Command:
        for each in reversed(options):
            command = _click_option(each)(command)
        return command

    return add


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command without those that are absent and have no default."""
    return {name: value for name, value in options.items() if value is not None}


def _click_option(each: Declared) -> Callable[[Command], Command]:
    option, kind = each.option, each.option.kind
    if isinstance(kind, Flag) and option.words is None:
        flags: dict[str, Any] = {"is_flag": True}
        if each.default:
            flags |= {"flag_value": False, "default": True}
        return click.option(each.flag, each.name, help=_help(each), **flags)
    default = each.default if _one_default(each) else None
    if option.words is not None:
        words = {value: word for word, value in option.words.items()}
        default = words[each.default]
    return click.option(
        each.flag,
        each.name,
        type=_type(each),
        default=default,
        show_default=default not in (None, ()),
        multiple=isinstance(kind, Choices | Texts),
        metavar=option.metavar,
        help=_help(each),
    )


def _type(each: Declared) -> _Whole | _Real | _Choice | _Words | None:
    kind = each.option.kind
    if each.option.words is not None:
        return _Words(each.option.words)
    if isinstance(kind, Choice | Choices):
        return _Choice(each, kind)
    if isinstance(kind, NumberKind):
        return _Whole(each, kind) if kind.whole else _Real(each, kind)
    return None


def _of_each_method(each: Declared) -> dict[str, Any]:
    """Default of the option by method; empty where it is not one of the registry or belongs to every reduction."""
    users = methods_with(each.name) if OPTIONS.get(each.name) is each else ()
    return {name: declared(METHODS[name])[each.name].default for name in users}


def _one_default(each: Declared) -> bool:
    return len(set(_of_each_method(each).values())) <= 1


def _help(each: Declared) -> str:
    defaults = _of_each_method(each)
    text = each.option.help
    text = f"{', '.join(defaults)}: {text}" if defaults else text[0].upper() + text[1:]
    if not _one_default(each):
        (common, _), *others = Counter(defaults.values()).most_common()
        named = (f"{value} for {', '.join(n for n in defaults if defaults[n] == value)}" for value, _ in others)
        text += f"  [default: {', '.join(named)}, else {common}]"
    return text


def _number(text: Any) -> Any:
    """The number that a text is; the text itself if it is none, to be refused as it stands."""
    for read in (int, float):
        with contextlib.suppress(TypeError, ValueError):
            return read(text) if isinstance(text, str) else text
    return text


class _Whole(click.IntRange):
    """A whole number, refused as in Python."""

    def __init__(self, each: Declared, kind: NumberKind) -> None:
        super().__init__(int(kind.low), None if kind.high == math.inf else int(kind.high))
        self._declared = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        return self._declared.read(_number(value))


class _Real(click.FloatRange):
    """A number, refused as in Python."""

    def __init__(self, each: Declared, kind: NumberKind) -> None:
        low, high = (None if math.isinf(end) else int(end) if end == int(end) else end for end in (kind.low, kind.high))
        super().__init__(low, high, min_open=kind.low_open, max_open=kind.high_open)
        self._declared = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        return self._declared.read(_number(value))


class _Choice(click.Choice[str]):
    """One of several names, refused as in Python."""

    def __init__(self, each: Declared, kind: Choice | Choices) -> None:
        super().__init__(kind.choices)
        self._declared = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name."""
        read = self._declared.read(value)
        return read[0] if isinstance(read, tuple) else read


class _Words(click.Choice[str]):
    """Words for truth values."""

    def __init__(self, words: Mapping[str, bool]) -> None:
        super().__init__(tuple(words))
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The truth value."""
        return self._words[super().convert(value, param, ctx)]
