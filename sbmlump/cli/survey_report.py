"""``sbmlump survey-report``: the page and the summary of a survey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sbmlump.cli.output import print_json, say
from sbmlump.errors import as_shown
from sbmlump.files import write_atomically
from sbmlump.report.survey_page import SurveySummary, summarise, summary_markdown, write_survey_page
from sbmlump.survey.job import read_identity
from sbmlump.survey.results import folder_lock, read_rows

__all__ = ["survey_report_command", "exit_code", "make_page", "print_summary", "summary_json"]

_CONTRADICTED = "proof-contradicted"


@click.command("survey-report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="Write a summary in Markdown too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def survey_report_command(folder: Path, summary: Path | None, as_json: bool) -> int:
    """Write the page of the survey in DIR: index.html and what belongs to it."""
    identity, found = _read(folder)
    page = make_page(folder)
    if summary is not None:
        write_atomically(summary, as_shown(summary_markdown(identity, found)).encode())
    if as_json:
        print_json(summary_json(folder, page))
    else:
        print_summary(folder, page)
    return exit_code(folder)


def _read(folder: Path) -> tuple[Mapping[str, Any], SurveySummary]:
    return read_identity(folder), summarise(read_rows(folder))


def make_page(folder: Path) -> Path:
    """Write the page of a survey."""
    identity = read_identity(folder)
    with folder_lock(folder, name=".page.lock"):  # of shards that end at one moment, the last one knows all rows
        return write_survey_page(folder, identity, read_rows(folder))


def exit_code(folder: Path) -> int:
    """0, or 70 where rows tell of a fault that makes others doubtful: a proof that simulations contradict."""
    count = sum(row["reason"] == _CONTRADICTED for row in read_rows(folder))
    if not count:
        return 0
    rows = "1 row tells" if count == 1 else f"{count} rows tell"
    message = f"internal error: {rows} of a proof that simulations contradict; please report the models"
    say(f"{message} [{_CONTRADICTED}]", err=True)
    return 70


def summary_json(folder: Path, page: Path | None) -> dict[str, Any]:
    """Counts by outcome and method, and where everything is."""
    identity, found = _read(folder)
    complete = found.files == identity.get("models")
    return {
        "outcome": "done" if complete else "incomplete",
        "folder": str(folder),
        "page": None if page is None else str(page),
        "complete": complete,
        **found.as_json(),
        "identity": dict(identity),
        "reasons": [],
    }


def print_summary(folder: Path, page: Path | None) -> None:
    """The same in words."""
    identity, found = _read(folder)
    total = identity.get("models")
    say(f"{found.files} of {total} models, {found.rows} rows; {found.supported} became ODE systems")
    for method, counts in found.counts.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        some, every = found.reducible[method]
        say(f"{method}: {told}")
        say(f"  {some} models have an observable that allows a reduction, in {every} every observable does")
    say(f"results: {folder}" + ("" if page is None else f", page: {page}"))
