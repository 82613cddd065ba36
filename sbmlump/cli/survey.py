"""``sbmlump survey``: every model of a store, every observable, every method asked for."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crawler.errors import CrawlError
from crawler.store import is_store, list_models, open_store
from sbmlump.cli.help import examples
from sbmlump.cli.options import COUNT, OF_METHODS, SECONDS, declared_options, given
from sbmlump.cli.output import print_json, say
from sbmlump.errors import InputError, LimitError, Reason, SbmlumpError, UsageError, as_shown, as_text, counted
from sbmlump.files import MAX_BYTES, read_whole, write_atomically
from sbmlump.isolate import MOST_MEGABYTES
from sbmlump.methods.registry import OPTIONS, method_alternatives
from sbmlump.options import FAST_REACTIONS
from sbmlump.outcome import reason_json

if TYPE_CHECKING:
    from sbmlump.report.survey_page import SurveySummary
    from sbmlump.survey.job import Settings, SurveyModel
    from sbmlump.survey.run import Progress

__all__ = [
    "Results",
    "exit_code",
    "make_page",
    "print_summary",
    "read_results",
    "summary_json",
    "survey_command",
    "survey_report_command",
]


# -- ``sbmlump survey-report`` ---------------------------------------------------------------------


_CONTRADICTED = "proof-contradicted"


@click.command("survey-report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="Write a summary in Markdown too.")
@click.option(
    "--sizes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write sizes and codes of all rows too, as Parquet.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def survey_report_command(folder: Path, summary: Path | None, sizes: Path | None, as_json: bool) -> int:
    """Write the page of the survey in DIR: index.html and what belongs to it."""
    results, page = make_page(folder)
    if summary is not None:
        from sbmlump.report.survey_page import summary_markdown

        write_atomically(summary, as_shown(summary_markdown(results.identity, results.summary)).encode())
    if sizes is not None:
        from sbmlump.survey.run import write_sizes

        write_sizes(results.rows, results.identity, sizes)
    if as_json:
        print_json(summary_json(results, page))
    else:
        print_summary(results, page)
    return exit_code(results)


@dataclass(frozen=True)
class Results:
    """What a folder held at one moment, however many shards were still writing into it."""

    folder: Path
    identity: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    summary: SurveySummary


def read_results(folder: Path) -> Results:
    """Read all results of a survey, once for everything that is told of them."""
    from sbmlump.report.survey_page import summarise
    from sbmlump.survey.job import read_identity
    from sbmlump.survey.run import read_rows

    identity, rows = read_identity(folder), read_rows(folder)
    return Results(folder, identity, rows, summarise(rows))


def make_page(folder: Path) -> tuple[Results, Path]:
    """Write the page of a survey; the results that it shows."""
    from sbmlump.report.survey_page import write_survey_page
    from sbmlump.survey.job import folder_lock, read_identity

    read_identity(folder)  # where there is no survey, no lock is made
    with folder_lock(folder, name=".page.lock"):  # of shards that end at one moment, the last one knows all rows
        results = read_results(folder)
        return results, write_survey_page(folder, results.identity, results.rows)


def exit_code(results: Results) -> int:
    """0, or 70 where rows tell of a fault that makes others doubtful: a proof that simulations contradict."""
    count = sum(row["reason"] == _CONTRADICTED for row in results.rows)
    if not count:
        return 0
    rows = "1 row tells" if count == 1 else f"{count} rows tell"
    message = f"internal error: {rows} of a proof that simulations contradict; please report the models"
    say(f"{message} [{_CONTRADICTED}]", err=True)
    return 70


def summary_json(results: Results, page: Path | None, remarks: Sequence[Reason] = ()) -> dict[str, Any]:
    """Counts by outcome and method, and where everything is."""
    found = results.summary
    complete = found.files == results.identity.get("models")
    return {
        "outcome": "done" if complete else "incomplete",
        "folder": str(results.folder),
        "page": None if page is None else str(page),
        "complete": complete,
        **found.as_json(),
        "identity": dict(results.identity),
        "reasons": [reason_json(reason) for reason in remarks],
    }


def print_summary(results: Results, page: Path | None, remarks: Sequence[Reason] = ()) -> None:
    """The same in words."""
    found, total = results.summary, results.identity.get("models")
    of = f"{found.files} of {total} models" if total != 1 else counted(found.files, "model")
    became = "became an ODE system" if found.supported == 1 else "became ODE systems"
    say(f"{of}, {counted(found.rows, 'row')}; {found.supported} {became}")
    for method, counts in found.counts.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        some, every = found.reducible[method]
        say(f"{method}: {told}")
        have = "has" if some == 1 else "have"
        say(
            f"  {counted(some, 'model')} {have} an observable that allows a reduction, in {every} every observable does"
        )
    for reason in remarks:
        say(f"warning: {reason.message} [{reason.code}]", err=True)
    say(f"results: {results.folder}" + ("" if page is None else f", page: {page}"))


# -- ``sbmlump survey``: every model of a store ----------------------------------------------------

_EXAMPLES: Final = examples(
    (
        "sbmlump survey models -o results --workers 4",
        "sbmlump survey models -o results --method exact,approximate --check --sample 100",
    )
)


_OF_METHODS = tuple(name for name in OF_METHODS if name not in ("lumping", "neural"))  # files belong to one model


@click.command("survey", epilog=_EXAMPLES)
@click.argument("store", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option(
    "--observe",
    default="each",
    show_default=True,
    metavar="each|FILE",
    help="Each state of each model, or a file with lines 'MODEL EXPR' ('*' stands for every model).",
)
@click.option(
    "--method",
    default="exact",
    show_default=True,
    metavar="NAMES",
    help="Methods, with commas between them; a+b is a chain.",
)
@declared_options(*(OPTIONS[name] for name in ("until", *_OF_METHODS)))
@declared_options(FAST_REACTIONS)
@click.option("--check", is_flag=True, help="Prove each reduction, simulate it and compare.")
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes side by side.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
@click.option(
    "--scheduler-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file that 'dask scheduler --scheduler-file' wrote.",
)
@click.option("--time-limit", type=SECONDS, metavar="S", default=120.0, show_default=True, help="Seconds for a model.")
@click.option("--memory-limit", type=int, default=2000, show_default=True, help="MB for a model.")
@click.option("--shard", default="1/1", show_default=True, metavar="I/N", help="Survey the I-th of N parts.")
@click.option("--sample", type=COUNT, metavar="N", help="Survey N models drawn at random.")
@declared_options(OPTIONS["seed"])
@click.option("--no-page", is_flag=True, help="Write no HTML.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def survey_command(
    store: Path,
    output: Path,
    observe: str,
    method: str,
    check: bool,
    workers: int,
    scheduler: str | None,
    scheduler_file: Path | None,
    time_limit: float,
    memory_limit: int,
    shard: str,
    sample: int | None,
    seed: int,
    fast_reactions: str,
    no_page: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Survey the models of STORE, a store made by 'sbmlump crawl' or a folder of SBML files.

    A survey that was stopped goes on where it was when the same command is given again.
    """
    from sbmlump.survey.job import parse_shard
    from sbmlump.survey.on_dask import scheduler_address
    from sbmlump.survey.run import SurveyRequest, run_survey

    begin = time.perf_counter()
    settings = replace(
        _settings(method, check, time_limit, memory_limit, seed, given(options)), fast_reactions=fast_reactions
    )
    wanted, digest = _observed(observe)
    request = SurveyRequest(
        _listed(store),
        output,
        settings,
        wanted,
        digest,
        workers,
        scheduler_address(scheduler, scheduler_file),
        parse_shard(shard),
        sample,
    )
    with _progress(quiet or as_json) as progress:
        done = run_survey(request, progress)
    results, page = (read_results(output), None) if no_page else make_page(output)
    seconds = time.perf_counter() - begin
    if as_json:
        print_json({**summary_json(results, page, done.remarks), "new": done.now, "seconds": seconds})
    else:
        print_summary(results, page, done.remarks)
        told = f"{counted(done.now, 'model')} surveyed in {seconds:.0f} s"
        say(told + (f", {done.before} had been before" if done.before else ""))
    unfit = any(reason.code == "worker-unfit" for reason in done.remarks)
    return exit_code(results) or (LimitError.exit_code if unfit else 0)


def _settings(
    method: str, check: bool, time_limit: float, memory_limit: int, seed: int, options: Mapping[str, Any]
) -> Settings:
    """Refuse what makes no sense before anything is done."""
    from sbmlump.survey.job import Settings

    methods = method_alternatives((method,))
    if not 100 <= memory_limit <= MOST_MEGABYTES:
        raise UsageError(Reason("bad-limit", f"the memory limit must be at least 100 MB, not {memory_limit}"))
    other = tuple((name, value) for name, value in options.items() if value != OPTIONS[name].default)
    return Settings(methods, check, time_limit, memory_limit << 20, seed, other)


def _observed(observe: str) -> tuple[Mapping[str, tuple[str, ...]] | None, str]:
    """What to observe, and its digest."""
    from sbmlump.survey.job import parse_observe

    if observe == "each":
        return None, "each"
    try:
        data = read_whole(observe, MAX_BYTES, "text")
        return parse_observe(data.decode()), hashlib.sha256(data).hexdigest()
    except (InputError, UnicodeDecodeError) as error:
        message = f"the file of observables {observe} cannot be read ({error}); write --observe each, or name a file"
        raise UsageError(Reason("bad-observe-file", message)) from error


def _listed(store: Path) -> list[SurveyModel]:
    from sbmlump.survey.job import SurveyModel

    try:
        found = list_models(store)
        kept = open_store(store).object_path if is_store(store) else None
    except CrawlError as error:
        kind: type[SbmlumpError] = {2: UsageError, 3: InputError}.get(error.exit_code, LimitError)
        raise kind(Reason(error.code, error.message)) from error
    models: list[SurveyModel] = []
    taken: set[str] = set()
    for model in found:
        # results are text, and names of files need not be
        file = as_text(model.path.relative_to(store).as_posix())
        while file in taken:
            file += "_"
        taken.add(file)
        content = None if kept is None or model.sha256 is None else kept(model.sha256).absolute()
        # not resolved: the files of a store may be links to their objects
        models.append(SurveyModel(as_text(model.id), file, model.path.absolute(), model.sha256, content))
    return models


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, with the time that is left."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns: tuple[Any, ...] = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def step(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(as_shown(name, one_line=True)))

        update: Callable[[int, int, str], None] = step
        yield update
