"""Options of commands, from what is declared of them."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from sbmlump.jobs import METHODS, OPTIONS, methods_with
from sbmlump.options import FLAG, Declared, Range, declared

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
    if kind is FLAG and option.words is None:
        off: dict[str, Any] = {"flag_value": False, "default": True} if each.default else {}
        return click.option(each.flag, each.name, help=_help(each), is_flag=True, **off)
    default = each.default if _one_default(each) else None
    if option.words is not None:
        default = next(word for word, value in option.words.items() if value == each.default)
    return click.option(
        each.flag,
        each.name,
        type=_type(each),
        default=default,
        show_default=default not in (None, ()),
        multiple=kind.several,
        metavar=option.metavar,
        help=_help(each),
    )


def _type(each: Declared) -> click.IntRange | click.FloatRange | click.Choice[str] | None:
    kind = each.option.kind
    if each.option.words is not None:
        return _Words(each.option.words)
    if kind.choices:
        return _Choice(each)
    if kind.numbers is None:
        return None
    return _Whole(each, kind.numbers) if kind.numbers.whole else _Real(each, kind.numbers)


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

    def __init__(self, each: Declared, numbers: Range) -> None:
        super().__init__(int(numbers.low), int(numbers.high))
        self._declared = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        return self._declared.read(_number(value))


class _Real(click.FloatRange):
    """A number, refused as in Python."""

    def __init__(self, each: Declared, numbers: Range) -> None:
        low, high = (
            None if math.isinf(end) else int(end) if end == int(end) else end for end in (numbers.low, numbers.high)
        )
        super().__init__(low, high, min_open=numbers.low_open, max_open=numbers.high_open)
        self._declared = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        return self._declared.read(_number(value))


class _Choice(click.Choice[str]):
    """One of several names, refused as in Python."""

    def __init__(self, each: Declared) -> None:
        super().__init__(each.option.kind.choices)
        self._declared = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name."""
        return self._declared.read(value)


class _Words(click.Choice[str]):
    """Words for truth values."""

    def __init__(self, words: Mapping[str, bool]) -> None:
        super().__init__(tuple(words))
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The truth value."""
        return self._words[super().convert(value, param, ctx)]
