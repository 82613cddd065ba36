"""Numbers that commands take beside those of reductions, and a command in a child process that may crash or hang."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from sbmlump.cli.output import say
from sbmlump.errors import Reason
from sbmlump.isolate import MOST_MEGABYTES, MOST_SECONDS, Limits, prepare, run_isolated

__all__ = [
    "COUNT",
    "MEGABYTES",
    "SECONDS",
    "WAIT",
    "ChildCommand",
    "Number",
    "isolation_options",
    "requested",
    "run_in_child",
]


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; NaN is in no range but compares as if it were in each, infinity is in those without an end."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


SECONDS: Final = Number(min=0, min_open=True, max=MOST_SECONDS)
"""A time limit."""
MEGABYTES: Final = Number(min=0, min_open=True, max=MOST_MEGABYTES)
"""A memory limit."""
WAIT: Final = Number(min=0, max=MOST_SECONDS)
"""Seconds to wait, which may be none."""
COUNT: Final = click.IntRange(1, 2**31 - 1)
"""How many of something to take."""


# -- ``--isolate``, ``--time-limit``, ``--memory-limit`` --------------------------------------------


Command = TypeVar("Command", bound=Callable[..., Any])
_COMMANDS: Final = frozenset({"inspect", "reduce", "convert", "check", "verify"})
_PRELOADED: Final = ("numpy", "scipy.sparse", "libsbml", "sbmlump.jobs", "sbmlump.sbml.read.load")
_EXIT: Final = {"time-limit": 4, "out-of-memory": 4, "stopped": 130}


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """A command to be run in a child: its arguments without the options of this module, and the limits."""

    arguments: tuple[str, ...]
    limits: Limits


def isolation_options(command: Command) -> Command:
    """Adds the three options to a command; they are taken from the line before the command sees it."""
    options = (
        click.option("--isolate", is_flag=True, expose_value=False, help="Run in a child process (POSIX)."),
        click.option(
            "--time-limit",
            type=SECONDS,
            expose_value=False,
            metavar="S",
            help="End the command after so many seconds; implies --isolate.",
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
    ended = run_isolated(_job, (list(request.arguments),), request.limits)
    if ended.how != "finished":
        reason = Reason(ended.how, f"{request.arguments[0]}: {ended.message}")
        return tell(reason, _EXIT.get(ended.how, 70))
    code, out, err = ended.value
    say(out, newline=False)
    say(err, err=True, newline=False)
    return int(code)


def _job(arguments: list[str], _emit: Callable[[object], None]) -> tuple[int, str, str]:
    """In the child: run the command with its output captured."""
    from sbmlump.cli import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()
