"""Options of commands, from what is declared of them."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from sbmlump.cli.help import Complete, completed_constants, completed_observables
from sbmlump.cli.output import progress_lines, say
from sbmlump.errors import Reason
from sbmlump.isolate import MOST_MEGABYTES, MOST_SECONDS, Limits, prepare, run_isolated
from sbmlump.methods.registry import METHODS, OPTIONS, methods_with
from sbmlump.options import FAST_REACTIONS, FLAG, Declared, Range, declared, fast_reactions_as
from sbmlump.remote import STORE, is_remote

__all__ = [
    "OF_METHODS",
    "OF_REDUCTIONS",
    "declared_options",
    "fast_reactions_option",
    "given",
    "COUNT",
    "MEGABYTES",
    "MODEL",
    "SECONDS",
    "WAIT",
    "ChildCommand",
    "Number",
    "FORCE",
    "LIMIT_OF_CHILD",
    "TIME_LIMIT",
    "isolation_options",
    "observe_option",
    "requested",
    "run_in_child",
    "store_option",
]


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
        shell_complete=_COMPLETED.get(each.name),
    )


_COMPLETED: Final[Mapping[str, Complete]] = {
    "keep_parameters": completed_constants,
    "fast": completed_observables,
    "reconstruct": completed_observables,
}


def observe_option() -> Callable[[Command], Command]:
    """``--observe``, whose ids a shell completes."""
    return click.option(
        "--observe",
        multiple=True,
        metavar="EXPR",
        help="What to keep: an id, a name that one element has, 'A + 2*B', or 'total = A + B'; may be repeated.",
        shell_complete=completed_observables,
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


# -- Numbers that commands take beside those of reductions, and a command in a child  ------------

# Numbers that commands take beside those of reductions, and a command in a child process that may crash or hang.


class Number(click.FloatRange):
    """A finite number in a range, of some unit."""

    def __init__(self, unit: str = "", **ends: Any) -> None:
        super().__init__(**ends)
        self.name = f"number of {unit}" if unit else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; NaN is in no range but compares as if it were in each, infinity is in those without an end."""
        try:
            number = float(super().convert(float(value), param, ctx))
        except ValueError:
            self.fail(f"{value!r} is not a {self.name}; write a number without a unit, such as 300.", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


SECONDS: Final = Number("seconds", min=0, min_open=True, max=MOST_SECONDS)
"""A time limit."""
MEGABYTES: Final = Number("megabytes", min=0, min_open=True, max=MOST_MEGABYTES)
"""A memory limit."""
WAIT: Final = Number("seconds", min=0, max=MOST_SECONDS)
"""Seconds to wait, which may be none."""
COUNT: Final = click.IntRange(1, 2**31 - 1)
"""How many of something to take."""


class _Model(click.Path):
    """A file, or what is read from elsewhere: an id of BioModels, an address."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path; what lies elsewhere stays as it is written."""
        return value if isinstance(value, str) and is_remote(value) else super().convert(value, param, ctx)


MODEL: Final = _Model(path_type=Path)
"""A model: a file, ``archive#member``, ``-``, an id of BioModels, or an https address."""


def store_option(command: Command) -> Command:
    """Adds ``--store`` to a command that reads models: where those are that are named by their ids."""

    def named(context: click.Context, _: click.Parameter, folder: Path | None) -> None:
        token = STORE.set(folder)
        context.call_on_close(lambda: STORE.reset(token))

    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=named,
        metavar="DIR",
        help="Where models that are named by an id of BioModels are.  [default: SBMLUMP_STORE, or the user's cache]",
    )(command)


def fast_reactions_option(command: Command) -> Command:
    """Adds ``--fast-reactions`` to a command that reads models: what becomes of those that are declared fast."""

    def chosen(context: click.Context, _: click.Parameter, choice: str) -> None:
        if choice != FAST_REACTIONS.default:
            context.with_resource(fast_reactions_as(choice))

    return click.option(
        FAST_REACTIONS.flag,
        type=_type(FAST_REACTIONS),
        default=FAST_REACTIONS.default,
        show_default=True,
        expose_value=False,
        callback=chosen,
        help=FAST_REACTIONS.option.help,
    )(command)


# -- ``--isolate``, ``--time-limit``, ``--memory-limit`` --------------------------------------------


_COMMANDS: Final = frozenset({"inspect", "reduce", "convert", "check", "verify"})
_PRELOADED: Final = ("numpy", "scipy.sparse", "libsbml", "sbmlump.jobs.reduction", "sbmlump.sbml.read.load")
_EXIT: Final = {"time-limit": 4, "out-of-memory": 4, "stopped": 130}


LIMIT_OF_CHILD: Final[ContextVar[tuple[float, float] | None]] = ContextVar("LIMIT_OF_CHILD", default=None)
"""The time limit that ends a command in a child, in seconds, and when it began on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """A command to be run in a child: its arguments without the options of this module, and the limits."""

    arguments: tuple[str, ...]
    limits: Limits


TIME_LIMIT: Final = click.option(
    "--time-limit", type=SECONDS, metavar="S", help="Stop after so many seconds and keep what was found until then."
)
FORCE: Final = click.option("--force", is_flag=True, help="Replace a file that sbmlump did not write.")


def isolation_options(command: Command) -> Command:
    """Adds the three options to a command; they are taken from the line before the command sees it."""
    options = (
        click.option("--isolate", is_flag=True, expose_value=False, help="Run in a child process (POSIX)."),
        click.option(
            "--time-limit",
            type=SECONDS,
            expose_value=False,
            metavar="S",
            help="End the command after so many seconds; implies --isolate. A search for an approximate reduction "
            "stops in time, and what it has found is kept.",
        ),
        click.option(
            "--memory-limit",
            type=MEGABYTES,
            expose_value=False,
            metavar="MB",
            help="End the command when it needs more memory; implies --isolate.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def requested(arguments: list[str]) -> ChildCommand | None:
    """What has to run in a child, or ``None``.

    Raises
    ------
    click.UsageError
        If a limit is no positive number.
    """
    if not arguments or arguments[0] not in _COMMANDS:
        return None
    rest: list[str] = []
    limits: dict[str, float] = {}
    isolate = False
    position = 0
    while position < len(arguments):
        name, equals, value = arguments[position].partition("=")
        position += 1
        if name == "--isolate":
            isolate = True
        elif name in ("--time-limit", "--memory-limit"):
            if not equals:
                if position == len(arguments):
                    raise click.UsageError(f"{name} needs a value")
                value = arguments[position]
                position += 1
            limits[name] = _limit(name, value)
        else:
            rest.append(arguments[position - 1])
    if not isolate and not limits:
        return None
    memory = limits.get("--memory-limit")
    return ChildCommand(
        tuple(rest), Limits(limits.get("--time-limit"), None if memory is None else int(memory * 2**20))
    )


def _limit(name: str, text: str) -> float:
    kind = SECONDS if name == "--time-limit" else MEGABYTES
    try:
        return float(kind.convert(text, None, None))
    except click.BadParameter as error:
        raise click.UsageError(f"Invalid value for {name!r}: {error.message}") from error


def run_in_child(request: ChildCommand, tell: Callable[[Reason, int], int]) -> int:
    """Run the command in a child; its output becomes ours.

    Parameters
    ----------
    tell : callable (reason, exit code) → exit code
        Says how a child ended that did not finish.
    """
    prepare(_PRELOADED)
    arguments, seconds = list(request.arguments), request.limits.seconds
    limit = None if seconds is None else (seconds, time.monotonic())
    quiet = not {"-q", "--quiet", "--json"}.isdisjoint(arguments)
    with nullcontext() if quiet else progress_lines(f"{arguments[0]} in a child process"):
        ended = run_isolated(_job, (arguments, limit), request.limits)
    if ended.how != "finished":
        reason = Reason(ended.how, f"{request.arguments[0]}: {ended.message}")
        return tell(reason, _EXIT.get(ended.how, 70))
    code, out, err = ended.value
    say(out, newline=False)
    say(err, err=True, newline=False)
    return int(code)


def _job(
    arguments: list[str], limit: tuple[float, float] | None, _emit: Callable[[object], None]
) -> tuple[int, str, str]:
    """In the child: run the command with its output captured; the parent tells of progress."""
    from sbmlump.cli import run

    LIMIT_OF_CHILD.set(limit)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()
