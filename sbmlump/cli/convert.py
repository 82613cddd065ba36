"""``sbmlump convert``: read a model, write it back."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from sbmlump.cli.help import completed_observables
from sbmlump.cli.options import (
    FORCE,
    MODEL,
    declared_options,
    fast_reactions_option,
    isolation_options,
    store_option,
)
from sbmlump.cli.output import DISPLAY, print_json, say
from sbmlump.errors import as_shown, counted, some_names
from sbmlump.jobs import Element, Inspection, convert_file, inspect
from sbmlump.methods.registry import OPTIONS
from sbmlump.outcome import reason_json

__all__ = ["convert_command", "inspect_command"]


@click.command("convert")
@click.argument("model", type=MODEL)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write; its suffix decides."
)
@FORCE
@declared_options(OPTIONS["level"])
@store_option
@fast_reactions_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, expose_value=False, help="No progress.")
def convert_command(model: str | Path, output: Path, force: bool, level: str, as_json: bool) -> int:
    """Read MODEL and write it in a canonical form, by the suffix of the output."""
    done = convert_file(model, output, force=force, level=level)
    system = done.system
    if as_json:
        reasons = [reason_json(reason) for reason in done.reasons]
        print_json(
            {
                "outcome": "converted",
                "model": system.id,
                "states": system.size,
                "output": str(output),
                "reasons": reasons,
            }
        )
    else:
        for reason in done.reasons:
            say(f"{reason.message} [{reason.code}]", err=True)
        say(f"{system.id}: {counted(system.size, 'state')}, written to {output}")
    return 0


# -- ``sbmlump inspect``: what is in a model -------------------------------------------------------


@click.command("inspect")
@click.argument("model", type=MODEL)
@click.argument("words", nargs=-1, metavar="[WORD]…", shell_complete=completed_observables)
@store_option
@fast_reactions_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--structure", "with_structure", is_flag=True, help="Conservation laws, deficiency, balance, signs.")
@click.option(
    "--against",
    type=MODEL,
    metavar="ORIGINAL",
    help="MODEL is a reduced model of this one: also say which properties it kept and which it lost.",
)
@click.option("--all", "show_all", is_flag=True, help="List every observable with its exact size, and every reason.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, expose_value=False, help="No progress.")
def inspect_command(
    model: str | Path,
    words: tuple[str, ...],
    as_json: bool,
    with_structure: bool,
    against: str | Path | None,
    show_all: bool,
) -> int:
    """Say what is in MODEL, what can be observed and at which cost, and what stops a reduction.

    With WORDs only what has each of them in its id, name, compartment, kind or annotation: sbmlump inspect MODEL kinase
    """
    found = inspect(model, with_structure=with_structure, original=against, every_cost=show_all)
    if words:
        found = found.matching(" ".join(words))
    if as_json:
        print_json(found.as_json())
    else:
        _print(found, " ".join(words), show_all)
        if found.structure is not None:
            say(found.structure.as_text())
        if found.kept is not None:
            _print_kept(found, against)
    return 0 if found.supported else 1


def _print(found: Inspection, words: str, show_all: bool) -> None:
    title = f"{found.id}: {found.name}" if found.name else found.id
    say(title)
    if found.level is not None:
        say(f"  SBML Level {found.level} Version {found.version}")
    kinetics = f", {found.kinetics} kinetics" if found.kinetics else ""
    say(
        f"  {counted(found.states, 'state')}, {counted(found.parameters, 'parameter')}, "
        f"{counted(found.reactions, 'reaction')}, {counted(found.events, 'event')}{kinetics}"
    )
    if found.time_unit:
        say(f"  time in {found.time_unit}")
    for address in found.publications:
        say(f"  described by {address}")
    if found.reasons:
        say("This model cannot be made an ODE system here:")
        _print_reasons(found, show_all)
    for remark in found.remarks:
        say(f"  [{remark.code}] {remark.message}")
    if words and found.supported and not (found.observables or found.constants):
        say(f"Nothing in it has {words!r} in its id, name, compartment, kind or annotation.")
    if found.observables:
        say("Can be observed (exact: states of the smallest exact model that keeps it alone):")
        _print_table(found.observables, DISPLAY.observables, show_all, annotated=bool(words))
    if found.constants:
        say("Constants (--keep-parameters takes their ids):")
        _print_table(found.constants, DISPLAY.constants, show_all, annotated=bool(words))
    if found.supported and found.observables:
        say(f"Next: sbmlump reduce {found.file} --observe {_example(found)} -o reduced.xml")


def _example(found: Inspection) -> str:
    """An observable that makes a smaller model, the first where none does."""
    sizes = [(one.exact_size, place) for place, one in enumerate(found.observables) if one.exact_size]
    place = min(sizes)[1] if sizes else 0
    return found.observables[place].id


def _print_table(elements: Sequence[Element], most: int, show_all: bool, *, annotated: bool) -> None:
    shown = elements if show_all else elements[:most]
    titles = ("id", "name", "kind", "compartment", "unit", "value", "exact")
    cut, right = (1, 2, 3, 4), (5, 6)  # an id is copied, a number read: those are never cut
    rows = [
        tuple(
            as_shown(cell, one_line=True)
            for cell in (
                one.id,
                one.name or "",
                one.kind,
                one.compartment or "",
                one.unit or "",
                "" if one.value is None else f"{one.value:.6g}",
                "" if one.exact_size is None else str(one.exact_size),
            )
        )
        for one in shown
    ]
    used = [k for k in range(len(titles)) if any(row[k] for row in rows)]
    widths = {k: max(len(titles[k]), *(len(row[k]) for row in rows)) for k in used}
    wide = _width()
    if wide is not None:
        if sum(widths.values()) + 2 * len(used) > wide:  # what is the same everywhere goes first
            used = [k for k in used if k not in (3, 4) or len({row[k] for row in rows if row[k]}) > 1]
            widths = {k: widths[k] for k in used}
        for columns in ((1, 3, 4), (2,)):  # kinds last: there are few, and each is known by its whole word
            _narrow(widths, [k for k in columns if k in widths], wide - 2 * len(used))

    def line(cells: Sequence[str]) -> str:
        fitting = {k: cells[k] if k not in cut else _both_ends(cells[k], widths[k]) for k in used}
        parts = (fitting[k].rjust(widths[k]) if k in right else fitting[k].ljust(widths[k]) for k in used)
        return "  " + "  ".join(parts).rstrip()

    say(line(titles))
    for one, row in zip(shown, rows, strict=True):
        say(line(row))
        if annotated:
            for text in _annotation_lines(one):
                say(f"      {text if wide is None else _both_ends(text, wide - 6)}")
    if len(elements) > len(shown):
        say(f"  … and {len(elements) - len(shown)} more (--all lists them, a word after the model searches them)")


def _width() -> int | None:
    """Columns of the terminal; ``None`` where the text goes elsewhere, which gets all of it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _narrow(widths: dict[int, int], cut: Sequence[int], room: int) -> None:
    """Make the widest of some columns narrower until all of them take no more than ``room``."""
    while cut and sum(widths.values()) > room:
        widest = max(cut, key=lambda k: widths[k])
        if widths[widest] <= DISPLAY.column:
            return
        widths[widest] -= 1


def _both_ends(text: str, width: int) -> str:
    """At most ``width`` characters, of a longer text its two ends: names of complexes differ at either."""
    if len(text) <= width:
        return text
    tail = max(0, width - 1) // 2
    return f"{text[: max(0, width - 1 - tail)]}…{text[len(text) - tail :]}"


def _annotation_lines(one: Element) -> list[str]:
    """What the annotation says, a line for each qualifier: ``is encoded by: UniProt P12345``."""
    from sbmlump.structure import resource_name

    def words(qualifier: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", qualifier).lower()

    return [
        f"{as_shown(words(qualifier), one_line=True)}: {as_shown(some_names(named, DISPLAY.members), one_line=True)}"
        for qualifier, uris in one.resources.items()
        if (named := list(dict.fromkeys(map(resource_name, uris))))
    ]


def _print_kept(found: Inspection, original: str | Path | None) -> None:
    kept = found.kept or ()
    say(f"Of the properties of {original}:")
    words = {True: "kept", False: "lost", None: "not known"}
    width = max(len(one.name) for one in kept)
    for one in kept:
        word = "not there" if one.original is False else "not defined" if one.original is None else words[one.kept]
        counted = isinstance(one.original, int) and not isinstance(one.original, bool)
        numbers = f" ({one.original} -> {one.reduced})" if counted else ""
        remark = f"; {one.remark}" if one.remark and one.kept is False else ""
        say(f"  {one.name:<{width}}  {word}{numbers}{remark}")


def _print_reasons(found: Inspection, show_all: bool) -> None:
    """Reasons, with many of one code cut short."""
    seen: Counter[str] = Counter()
    total = Counter(reason.code for reason in found.reasons)
    for reason in found.reasons:
        seen[reason.code] += 1
        if show_all or seen[reason.code] <= DISPLAY.reasons_of_a_code:
            told = reason.line is None or f"line {reason.line}" in reason.message
            place = "" if told else f", line {reason.line}"
            say(f"  [{reason.code}{place}] {reason.message}")
        elif seen[reason.code] == DISPLAY.reasons_of_a_code + 1:
            say(f"  [{reason.code}] … and {total[reason.code] - DISPLAY.reasons_of_a_code} more (--all lists them)")
