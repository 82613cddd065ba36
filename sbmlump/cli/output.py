"""What the commands share: printing text, JSON, failures, and progress.

Everything that a command says passes through :func:`say`, so that nothing that stands in a file steers the terminal.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sbmlump.errors import Reason, SbmlumpError, as_json_text, as_shown, counted, json_value, some_names
from sbmlump.outcome import outcome_of_error, reason_json

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from sbmlump.model.reduced import Lump, Meaning
    from sbmlump.outcome import Outcome

__all__ = [
    "DISPLAY",
    "EXIT_OUTPUT",
    "Display",
    "Failure",
    "lost_output",
    "open_streams",
    "print_failure",
    "print_json",
    "progress_lines",
    "progress_reporter",
    "say",
    "lump_text",
    "print_outcome",
]


EXIT_OUTPUT: Final = 74
"""Exit code where standard output cannot be written (``EX_IOERR`` of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Display:
    """How much of a result a person is shown; ``--json`` has all of it.

    Attributes
    ----------
    reasons, reasons_of_a_code : int
        Why a command did not do its job; of one code where they are sorted by codes.
    observables, constants, lumps, members : int
        Lines of a list; members of a sum.
    coordinates : int
        Lumps that are told of an approximate reduction: they are coordinates, in which there is little to be read.
    column : int
        Characters down to which a column of a table is narrowed where the terminal is.
    not_kept : int
        Kinds of things of the file, such as metaids of reactants, that are said not to be in the one that was written.
    patience : float
        Seconds before progress is shown: what takes less is over before it could be read.
    interval : float
        Seconds between lines of progress where standard error is not a terminal.
    nothing_followed : float
        Relative error from which a reduced model is as far off as one that stays at 0.
    """

    reasons: int = 12
    reasons_of_a_code: int = 8
    observables: int = 60
    constants: int = 20
    column: int = 8
    lumps: int = 20
    coordinates: int = 3
    members: int = 6
    not_kept: int = 2
    patience: float = 1.0
    interval: float = 10.0
    nothing_followed: float = 0.9


DISPLAY: Final = Display()


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


def say(text: str, *, err: bool = False, newline: bool = True) -> None:
    """Print text, with what would steer a terminal spelled out.

    Parameters
    ----------
    text : str
    err : bool
        On standard error. Where that cannot be written, the message is lost, and the exit code still tells.
    newline : bool
        End the line.

    Raises
    ------
    OSError
        If standard output cannot be written.
    """
    with suppress(OSError) if err else nullcontext():
        click.echo(as_shown(text), err=err, nl=newline)


class _Remembering(io.BufferedWriter):
    """Standard output that knows what went wrong: who writes to it, such as the parser of options, does not tell."""

    lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, and remember what stood against it."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = error
            raise

    def flush(self) -> None:
        """Flush, and remember what stood against it."""
        try:
            super().flush()
        except OSError as error:
            self.lost = error
            raise


def open_streams() -> bool:
    """Make the standard streams ready for any text; whether there is a standard output.

    A stream that was closed by the caller is opened on nothing: else the next file that is opened would take its
    place, and what foreign libraries print would end in that file.
    """
    there = sys.stdout is not None
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    # a terminal of another encoding shows what it can
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        buffer = _Remembering(io.FileIO(sys.stdout.fileno(), "w", closefd=False))
        lines = sys.stdout.line_buffering
        sys.stdout = io.TextIOWrapper(buffer, sys.stdout.encoding, "backslashreplace", line_buffering=lines)
    return there


def lost_output() -> OSError | None:
    """Why what was printed on standard output cannot be written, ``None`` if it was written.

    What is still held back is dropped then, so that the interpreter does not try once more when it ends.
    """
    with suppress(OSError):
        sys.stdout.flush()
    lost = getattr(getattr(sys.stdout, "buffer", None), "lost", None)
    if not isinstance(lost, OSError):
        return None
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):
        sys.stdout.flush()
    return lost


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; numbers that are not finite become null."""
    click.echo(as_json_text(json.dumps(json_value(value), allow_nan=False, ensure_ascii=False)))


def print_failure(failure: Failure, *, as_json: bool) -> int:
    """Say what went wrong; the exit code."""
    if as_json:
        print_json(
            {**(failure.rest or {}), "outcome": failure.outcome, "reasons": [reason_json(r) for r in failure.reasons]}
        )
    for reason in failure.reasons[: DISPLAY.reasons]:
        place = f" (line {reason.line})" if reason.line is not None and "line" not in reason.message else ""
        say(f"{as_shown(reason.message, one_line=True)}{place} [{reason.code}]", err=True)
    if len(failure.reasons) > DISPLAY.reasons:
        say(f"… and {len(failure.reasons) - DISPLAY.reasons} more reasons (--json lists them)", err=True)
    return failure.exit_code


@contextmanager
def progress_reporter(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Progress on standard error: what is being done on a terminal, a plain line now and then elsewhere.

    Either only for what takes long enough that somebody would wonder.
    """
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        with progress_lines() as told:
            yield told
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.status import Status

    status = Status("working", console=Console(stderr=True), spinner="dots")
    begin = time.monotonic()
    shown = False

    def report(message: str) -> None:
        nonlocal shown
        status.update(escape(f"{as_shown(message, one_line=True)} …"))
        if not shown and time.monotonic() - begin > DISPLAY.patience:
            status.start()
            shown = True

    timer = _after(DISPLAY.patience, status.start)
    try:
        yield report
    finally:
        timer()
        status.stop()


@contextmanager
def progress_lines(doing: str = "working") -> Iterator[Callable[[str], None]]:
    """A line every ten seconds with what is being done, for logs of long work."""
    from threading import Event, Thread

    begin, ended, now = time.monotonic(), Event(), doing

    def report(message: str) -> None:
        nonlocal now
        now = as_shown(message, one_line=True)

    def lines() -> None:
        while not ended.wait(DISPLAY.interval):
            say(f"{time.monotonic() - begin:.0f} s: {now}", err=True)

    thread = Thread(target=lines, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()


def _after(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """Run ``act`` in a while unless the returned function is called first."""
    from threading import Timer

    timer = Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer.cancel


# -- A reduction told to a person ----------------------------------------------------------------


def print_outcome(outcome: Outcome, page: Path | None = None) -> None:
    """Print what was done, how far the two models differ, and what to do next."""
    reduction = outcome.reduction
    assert reduction is not None
    before, after = reduction.original.size, reduction.system.size
    kept = ", ".join(o.id for o in reduction.observables) or "everything"
    for reason in reduction.shortfall:
        say(f"not reached: {reason.message}")
    if reduction.shortfall:
        say(
            "The best that was found, which is not what was asked for:"
            if outcome.output
            else "The best that was found:"
        )
    if outcome.name in ("reduced", "target-not-reached"):
        from sbmlump.jobs import called
        from sbmlump.structure import meanings_of

        def named(ids: Sequence[str]) -> list[str]:
            return [called(reduction.original, id) for id in ids]

        say(f"{outcome.model.id}: {counted(before, 'state')} reduced to {after}, keeping {kept}")
        _print_lumps(reduction.lumps, meanings_of(reduction))
        if reduction.given_by_formulas:
            say(f"  computed from these: {_listed(named(reduction.given_by_formulas))}")
        if reduction.vanished:
            say(f"  gone, without influence on what is kept: {_listed(named(reduction.vanished))}")
    else:
        say(f"{outcome.model.id}: {counted(before, 'state')}, none could be removed while keeping {kept}")
    _print_certificate(outcome)
    _print_simulation(outcome)
    lost = [reason for reason in outcome.reasons if reason.code == "not-kept"]
    for reason in outcome.reasons:
        if reason not in reduction.shortfall and reason not in lost[DISPLAY.not_kept :]:
            say(reason.message)
        if lost[DISPLAY.not_kept :] and reason is lost[DISPLAY.not_kept]:
            say(f"not kept: … and {len(lost) - DISPLAY.not_kept} more (--json lists them)")
    if outcome.output:
        say(f"written to {outcome.output}")
    elif reduction.shortfall:
        say("no model was written (--best writes this one)")
    elif page is None:
        say("nothing was written; -o reduced.xml writes the model, --report DIR a page about it")
    if page:
        say(f"page: {page}")


def _print_lumps(lumps: tuple[Lump, ...], meanings: Mapping[str, Meaning]) -> None:
    pools = [lump for lump in lumps if not lump.is_single]
    singles = [lump.id for lump in lumps if lump.is_single]
    coordinates = any(meanings[lump.id].kind == "coordinate" for lump in pools)
    most = DISPLAY.coordinates if coordinates else DISPLAY.lumps
    for lump in pools[:most]:
        say(f"  {lump.id} = {lump_text(lump)}")
        if meanings[lump.id].label is not None:
            say(f"    {meanings[lump.id].sentence}")
    if len(pools) > most:
        say(f"  … and {len(pools) - most} more {'coordinates' if coordinates else 'lumps'}")
    if singles:
        say(f"  unchanged: {_listed(singles)}")


def _listed(names: Sequence[str]) -> str:
    return some_names(names, DISPLAY.lumps)


def lump_text(lump: Lump, most: int = DISPLAY.members) -> str:
    """``A + 2·B − C``, cut after a few members."""
    from sbmlump.model.text import combination, short_number

    return combination(lump.members.items(), most, times="·", minus="−", number=short_number)


def _print_certificate(outcome: Outcome) -> None:
    from sbmlump.model.reduced import AffineLumping, ErrorEstimate

    reduction = outcome.reduction
    assert reduction is not None
    proof = reduction.certificate
    if outcome.name not in ("reduced", "target-not-reached"):
        return
    data = proof.as_json()
    if isinstance(proof, ErrorEstimate):
        say(
            f"measured on {proof.ensemble} initial values (±{100 * proof.spread:g} %) until {proof.horizon:g}: "
            f"worst relative error {proof.worst_error:.1e}, median {proof.median_error:.1e}"
        )
        if proof.fresh is not None:
            say(f"  {proof.fresh.sentence()}")
        for line in _how_approximated(proof.details):
            say(f"  {line}")
        if isinstance(reduction.map, AffineLumping):
            say("  its states are parameters with rate rules, not species: control analysis does not apply to them")
        return
    how = {
        "expansion": "by expanding both sides over the rationals",
        "identity-test": f"at random points modulo {len(data['primes'])} random primes "
        f"(chance of error below {data['failure_probability']:.0e})",
        "chain": "step by step",
    }.get(str(data["method"]), f"({data['method']})")
    say(f"proved exact {how}")
    say(f"  {proof.scope(DISPLAY.lumps)}")
    if data["heuristic"]:
        say(f"  note: {data['heuristic']}")


def _how_approximated(details: Mapping[str, Any]) -> list[str]:
    """What an approximate method did and why, from the details of its certificate."""
    lines: list[str] = []
    if details.get("chain"):
        steps = (f"{one['method']} {one['original_size']} -> {one['reduced_size']}" for one in details["chain"])
        lines.append("in turn: " + ", ".join(steps))
    if details.get("fast"):
        lines.append(f"taken for fast: {_listed(details['fast'])}")
    scales = details.get("time_scales")
    if scales:
        pointed = ", ".join(f"{name} {share:g}" for name, share in list(scales["pointers"].items())[: DISPLAY.members])
        lines.append(
            f"because: a gap of {scales['median_gap']:g} in the Jacobian's spectrum at {scales['points_with_gap']} of "
            f"{scales['points']} points of the run; shares in the fast modes: {pointed}"
        )
    if details.get("fast_reactions"):
        lines.append(f"at equilibrium: {_listed(['+'.join(ids) for ids in details['fast_reactions']])}")
    if details.get("near_equilibrium"):
        found = list(details["near_equilibrium"].items())[: DISPLAY.members]
        shares = ", ".join(f"{name} {share:g}" for name, share in found)
        lines.append(f"because: net flux as a share of the gross one along the run: {shares}")
    lines += [f"{name} = {text}" for name, text in list(details.get("solution", {}).items())[: DISPLAY.members]]
    lines += list(details.get("roots", {}).values())[: DISPLAY.members]
    if details.get("pruned_states"):
        told = f"pruned below {details['threshold']:.3g} ({details['weighting']}): {_listed(details['pruned_states'])}"
        lines.append(told)
    return lines


def _print_simulation(outcome: Outcome) -> None:
    report = outcome.report
    if report is None:
        return
    say(
        f"simulated until {report.until:g} ({report.horizon_reason}): "
        f"largest relative difference {report.max_relative_error:.1e}"
    )
