"""``sbmlump crawl``: bring the models of BioModels and ODEbase to the disk, and look after them there."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from crawler import biomodels, odebase
from crawler.content import SBML_SUFFIXES
from crawler.errors import CrawlError, StoppedError
from crawler.fetch import CrawlPlan, CrawlSummary, crawl, import_files
from crawler.repository import Repository, Selection
from crawler.session import RequestPolicy, Session, hosts_if_asked, is_loopback
from crawler.store import Store, inventory, open_store, verify_store
from sbmlump.cli.help import Commands
from sbmlump.cli.options import COUNT, SECONDS, WAIT, Number
from sbmlump.cli.output import Failure, print_failure, print_json, say
from sbmlump.errors import InputError, LimitError, Reason, SbmlumpError, UsageError
from sbmlump.formats.load import load
from sbmlump.formats.odebase import TranslationComparison, compare_systems, load_odebase
from sbmlump.outcome import reason_json

__all__ = ["crawl_command", "compare_store", "print_comparisons"]


_KEYS: Final = ("wanted", "present", "fetched", "unchanged", "failed", "bytes", "requests", "seconds")
_MOST_SHOWN: Final = 20

Command = Callable[..., Any]


@click.group("crawl", cls=Commands)
def crawl_command() -> None:
    """Bring published models to the disk: whole, once, verified, and as a polite guest.

    An interrupted crawl goes on where it was when the same command is given again.
    """


def _shared(function: Command) -> Command:
    """Options of the commands that go to the network."""
    options = [
        click.option("--store", required=True, type=click.Path(path_type=Path), help="Folder of the store."),
        click.option("--base-url", metavar="URL", help="Another address of the service."),
        click.option("--ids", metavar="A,B", help="Only these."),
        click.option("--curated", is_flag=True, help="Only ids that begin with BIOMD."),
        click.option("--limit", type=COUNT, metavar="N", help="Only the first N."),
        click.option("--recheck", is_flag=True, help="Ask also for what seems unchanged."),
        click.option("--rate", type=WAIT, help="Requests a second; 0: no limit.  [default: 1; on loopback 0]"),
        click.option("--at-once", type=click.IntRange(1, 8), default=2, show_default=True, help="Requests at once."),
        click.option("--timeout", type=SECONDS, default=30.0, show_default=True, help="Seconds without an answer."),
        click.option(
            "--deadline", type=SECONDS, default=900.0, show_default=True, help="Seconds for one request in all."
        ),
        click.option("--tries", type=click.IntRange(1, 20), default=6, show_default=True, help="Tries for one thing."),
        click.option("--retry-wait", type=WAIT, default=0.5, show_default=True, help="Seconds before the second try."),
        click.option("--contact", metavar="ADDRESS", help="Your e-mail or URL, told to the host."),
        click.option("--wait", type=WAIT, default=600.0, show_default=True, help="Seconds to wait for another crawl."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@crawl_command.command("biomodels")
@_shared
@click.option("--query", metavar="Q", help="Search of BioModels, such as 'calcium'.")
def _biomodels(query: str | None, base_url: str | None, **rest: Any) -> int:
    """Bring the models of BioModels."""
    url = base_url or biomodels.BASE_URL
    return _network(biomodels.BioModels, url, hosts_if_asked(url, biomodels.HOSTS), query=query, **rest)


@crawl_command.command("odebase")
@_shared
def _odebase(base_url: str | None, **rest: Any) -> int:
    """Bring the polynomial and rational systems of ODEbase, with their parameter values and maps of names."""
    url = base_url or odebase.BASE_URL
    return _network(odebase.OdeBase, url, hosts_if_asked(url, odebase.HOSTS), query=None, **rest)


def _network(
    make: Callable[[Session], Repository],
    base_url: str,
    hosts: frozenset[str],
    *,
    store: Path,
    ids: str | None,
    query: str | None,
    curated: bool,
    limit: int | None,
    recheck: bool,
    rate: float | None,
    at_once: int,
    timeout: float,
    deadline: float,
    tries: int,
    retry_wait: float,
    contact: str | None,
    wait: float,
    as_json: bool,
    quiet: bool,
) -> int:
    def work() -> CrawlSummary:
        named = tuple(part.strip() for part in (ids or "").split(",") if part.strip())
        wish = Selection(named, query, curated, limit, recheck)
        speed = (0.0 if is_loopback(base_url) else 1.0) if rate is None else rate
        manners = RequestPolicy(
            speed, at_once, timeout, deadline, tries=tries, first_wait=retry_wait, contact=contact
        )  # fmt: skip
        session = Session(base_url, hosts, manners)
        try:
            with Store.writable(store, wait) as opened, _progress(quiet or as_json) as progress:
                _tell_remark(opened)
                return crawl(make(session), session, opened, wish, progress)
        finally:
            session.close()

    return _told(work, as_json, again=True)


@crawl_command.command("import")
@click.argument("origin", type=click.Path(path_type=Path))
@click.option("--store", required=True, type=click.Path(path_type=Path), help="Folder of the store.")
@click.option("--limit", type=COUNT, metavar="N", help="Only the first N.")
@click.option("--wait", type=WAIT, default=600.0, show_default=True, help="Seconds to wait for another crawl.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def _import(origin: Path, store: Path, limit: int | None, wait: float, as_json: bool, quiet: bool) -> int:
    """Bring the SBML files of ORIGIN, a folder or a zip file, into a store."""

    def work() -> CrawlSummary:
        with Store.writable(store, wait) as opened, _progress(quiet or as_json) as progress:
            _tell_remark(opened)
            return import_files(opened, origin, limit, lambda done, total: progress.step(done, total, 0))

    return _told(work, as_json, again=False)


@crawl_command.command("verify")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--discard", is_flag=True, help="Remove damaged files, so that the next crawl brings them again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def _verify(store: Path, discard: bool, as_json: bool, quiet: bool) -> int:
    """Rehash every file of STORE. Exit code 1 if anything is damaged."""
    with _translated(), _progress(quiet or as_json) as progress:
        found = verify_store(open_store(store), discard, lambda done, total: progress.step(done, total, 0))
    reasons = [Reason(finding.code, finding.message, finding.id) for finding in found.findings]
    if as_json:
        counts = {"wanted": found.files, "present": found.whole, "fetched": 0, "unchanged": found.whole}
        rest = {"failed": found.files - found.whole, "bytes": found.bytes, "requests": 0, "seconds": None}
        print_json(
            {
                "outcome": "damaged" if reasons else "whole",
                **counts,
                **rest,
                "reasons": [reason_json(reason) for reason in reasons],
            }
        )
    else:
        say(f"{found.whole} of {found.files} files are whole ({_size(found.bytes)} read)")
        _print_reasons(reasons)
    return 1 if reasons else 0


@crawl_command.command("status")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def _status(store: Path, as_json: bool) -> int:
    """Count what STORE holds, without reading the files."""
    with _translated():
        found = inventory(open_store(store))
    present, failed = sum(found.files.values()), sum(found.reasons.values())
    if as_json:
        counts = {"wanted": present + failed, "present": present, "fetched": 0, "unchanged": present, "failed": failed}
        more: dict[str, Any] = {"bytes": found.bytes, "requests": 0, "seconds": None, "reasons": []}
        print_json({**counts, **more, "sources": found.files, "reason_counts": found.reasons, "newest": found.newest})
    else:
        of = ", ".join(f"{count} from {source}" for source, count in sorted(found.files.items()))
        say(f"{present} files, {_size(found.bytes)}" + (f": {of}" if of else ""))
        if found.newest:
            say(f"the last one came at {found.newest}")
        for code, count in sorted(found.reasons.items()):
            say(f"{count} without a file [{code}]")
    _tell_damaged(found.damaged_lines)
    return 0


@crawl_command.command("compare")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--points", type=click.IntRange(1, 1000), default=8, show_default=True, help="Random states of each.")
@click.option(
    "--tolerance", type=Number(min=0), default=1e-9, show_default=True, help="Relative difference that still agrees."
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def _compare(store: Path, points: int, tolerance: float, seed: int, as_json: bool, quiet: bool) -> int:
    """Hold each ODEbase system of STORE against our translation of the SBML file of the same id.

    Exit code 1 if any of them differs without an explanation.
    """
    with _translated(), _progress(quiet or as_json) as progress:
        step = partial(progress.step, bytes=0)
        found = compare_store(open_store(store), points, tolerance, seed, step)
    return print_comparisons(found, as_json)


# -- telling -----------------------------------------------------------------------------------------


def _told(work: Callable[[], CrawlSummary], as_json: bool, again: bool) -> int:
    """Run a job and print its summary, or its failure with the contract's keys."""
    try:
        with _translated():
            summary = work()
    except SbmlumpError as error:
        return print_failure(Failure.of(error, dict.fromkeys(_KEYS)), as_json=as_json)
    if as_json:
        print_json(summary.as_json())
    else:
        _print_summary(summary, again)
    _tell_damaged(summary.damaged_lines)
    if summary.shortfall is None:
        return 0
    say(summary.shortfall, err=True)
    return 4


def _print_summary(summary: CrawlSummary, again: bool) -> None:
    traffic = f", {summary.requests} requests, {_size(summary.bytes)}" if again else f", {_size(summary.bytes)}"
    say(
        f"{summary.present} of {summary.wanted} are in the store: {summary.fetched} fetched, "
        f"{summary.unchanged} unchanged{traffic}, {summary.seconds:.1f} s"
    )
    if again and summary.wanted and not summary.fetched and not summary.misses:
        say("nothing has changed; nothing was downloaded")
    _print_reasons([Reason(miss.code, miss.message, miss.id) for miss in summary.misses])
    if summary.unlisted:
        some = ", ".join(summary.unlisted[:5]) + (" …" if len(summary.unlisted) > 5 else "")
        say(f"{len(summary.unlisted)} of the store are no longer listed there and were kept: {some}", err=True)


def _print_reasons(reasons: list[Reason]) -> None:
    for reason in reasons[:_MOST_SHOWN]:
        say(f"  [{reason.code}] {reason.message}", err=True)
    if len(reasons) > _MOST_SHOWN:
        say(f"  … and {len(reasons) - _MOST_SHOWN} more (--json lists them)", err=True)


def _tell_remark(store: Store) -> None:
    if store.remark is not None:
        say(store.remark, err=True)


def _tell_damaged(lines: tuple[int, ...]) -> None:
    if lines:
        numbers = ", ".join(map(str, lines[:5])) + (" …" if len(lines) > 5 else "")
        message = f"line {numbers} of manifest.jsonl is cut or damaged and was passed over; nothing else is lost"
        say(message, err=True)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the crawler as errors of sbmlump, which have exit codes and JSON."""
    try:
        yield
    except StoppedError as error:
        raise click.Abort from error
    except CrawlError as error:
        kind: type[SbmlumpError] = {2: UsageError, 3: InputError}.get(error.exit_code, LimitError)
        raise kind(Reason(error.code, error.message)) from error


class _Progress:
    """Counts, rate and time left on a terminal."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown
        self._task: Any = None

    def planned(self, plan: CrawlPlan) -> None:
        """Say what will be done."""
        if self._shown is None:
            return
        missing = sum(map(len, plan.batches))
        self._shown.console.print(
            f"{plan.wanted} wanted: {len(plan.keep)} unchanged, {len(plan.ask)} to ask for, {missing} to fetch"
        )

    def step(self, done: int, total: int, bytes: int) -> None:
        """So many are done."""
        if self._shown is None:
            return
        if self._task is None:
            self._task = self._shown.add_task("", total=total)
        self._shown.update(self._task, completed=done, total=total, description=_size(bytes) if bytes else "")


@contextmanager
def _progress(quiet: bool) -> Iterator[_Progress]:
    if quiet or not sys.stderr.isatty():
        yield _Progress(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Progress(shown)


# -- What ``sbmlump crawl compare`` does -----------------------------------------------------------

# What ``sbmlump crawl compare`` does: ODEbase against our reader, for all systems of a store.


def compare_store(
    store: Store, points: int, tolerance: float, seed: int, step: Callable[[int, int], None]
) -> list[TranslationComparison]:
    """Compare each ODEbase system of a store with the SBML file of the same id."""
    records = sorted(store.records.values(), key=lambda record: record.source == "biomodels")
    files = {  # those of BioModels last: they count, where another source has a file of the same id
        record.id: store.path / record.path
        for record in records
        if record.sha256 and record.path and record.path.endswith(SBML_SUFFIXES)
    }
    systems = sorted(
        (record.id, store.path / record.path)
        for record in store.records.values()
        if record.sha256 and record.path and record.source == "odebase"
    )
    found: list[TranslationComparison] = []
    for number, (id, path) in enumerate(systems, 1):
        if id not in files:
            found.append(TranslationComparison(id, "not-compared", "its SBML file is not in the store"))
        else:
            try:
                found.append(
                    compare_systems(load_odebase(path), load(files[id]), points=points, tolerance=tolerance, seed=seed)
                )
            except SbmlumpError as error:
                found.append(TranslationComparison(id, "not-compared", str(error)))
        step(number, len(systems))
    return found


def print_comparisons(found: Sequence[TranslationComparison], as_json: bool) -> int:
    """Tell the result; the exit code."""
    counts = Counter(each.verdict for each in found)
    compared = len(found) - counts["not-compared"]
    if as_json:
        systems = [
            {
                "id": each.id, "verdict": each.verdict, "explanation": each.explanation, "matched_by": each.matched_by,
                "states": each.states, "max_relative_error": each.error,
                "differences": [list(pair) for pair in each.differences],
            }
            for each in found
        ]  # fmt: skip
        reasons = [
            {"code": each.verdict, "element": each.id, "message": each.explanation}
            for each in found
            if each.verdict != "agrees"
        ]
        summary = {
            "wanted": len(found), "present": compared, "fetched": 0, "unchanged": compared, "failed": counts["differs"],
            "bytes": 0, "requests": 0, "seconds": None, "verdicts": dict(counts),
        }  # fmt: skip
        print_json({**summary, "systems": systems, "reasons": reasons})
    else:
        for each in found:
            how = f" ({each.states} states by {each.matched_by}, {each.error:.1e})" if each.error is not None else ""
            told = "" if each.verdict == "agrees" else f": {each.explanation}"
            say(f"{each.id}  {each.verdict}{how}{told}")
        say(f"{compared} of {len(found)} compared, {counts['differs']} differ")
    return 1 if counts["differs"] else 0
