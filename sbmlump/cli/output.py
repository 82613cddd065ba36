"""What the commands share: printing JSON, failures, and progress."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from sbmlump.errors import Reason, SbmlumpError
from sbmlump.outcome import outcome_of_error, reason_json

__all__ = ["Failure", "print_failure", "print_json", "progress_reporter"]

_MOST_TOLD = 12
_PATIENCE = 1.0  # seconds before progress is shown


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that did not do its job, as data."""

    outcome: str
    reasons: tuple[Reason, ...]
    exit_code: int = 2
    rest: Mapping[str, Any] | None = None

    @staticmethod
    def of(error: SbmlumpError, rest: Mapping[str, Any] | None = None) -> Failure:
        """From an error this package raised."""
        return Failure(outcome_of_error(error), error.reasons, error.exit_code, rest)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; numbers that are not finite become null."""
    click.echo(json.dumps(_plain(value), allow_nan=False, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def print_failure(failure: Failure, *, as_json: bool) -> int:
    """Say what went wrong; the exit code."""
    if as_json:
        print_json(
            {**(failure.rest or {}), "outcome": failure.outcome, "reasons": [reason_json(r) for r in failure.reasons]}
        )
    for reason in failure.reasons[:_MOST_TOLD]:
        place = f" (line {reason.line})" if reason.line is not None and "line" not in reason.message else ""
        click.echo(f"{reason.message}{place} [{reason.code}]", err=True)
    if len(failure.reasons) > _MOST_TOLD:
        click.echo(f"… and {len(failure.reasons) - _MOST_TOLD} more reasons (--json lists them)", err=True)
    return failure.exit_code


@contextmanager
def progress_reporter(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Progress on standard error, only on a terminal and only for what takes over a second."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.status import Status

    status = Status("working", console=Console(stderr=True), spinner="dots")
    begin = time.monotonic()
    shown = False

    def report(message: str) -> None:
        nonlocal shown
        status.update(f"{message} …")
        if not shown and time.monotonic() - begin > _PATIENCE:
            status.start()
            shown = True

    timer = _after(_PATIENCE, status.start)
    try:
        yield report
    finally:
        timer()
        status.stop()


def _after(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """Run ``act`` in a while unless the returned function is called first."""
    from threading import Timer

    timer = Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer.cancel
