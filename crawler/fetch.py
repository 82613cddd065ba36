"""Carry out a plan: ask, verify, store, record. One entry never stops the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from crawler.errors import BadResponseError, GivenUpError, NotFoundError, ServiceError, StoppedError
from crawler.plan import CrawlPlan, make_plan
from crawler.repository import CatalogueEntry, FetchedFile, Known, Refused, Repository, Selection, Unchanged
from crawler.session import Session
from crawler.store import Record, Store, now

__all__ = ["Miss", "Observer", "CrawlSummary", "crawl"]

# So many entries in a row without any answer: the service is down, and asking on would be rude.
_PATIENCE: Final = 8
# Entries under way for each request at once: while some wait before asking again, others ask. How many requests
# there are at once is up to the session.
_AHEAD: Final = 4


class Observer(Protocol):
    """Told how a crawl goes, from one thread at a time."""

    def planned(self, plan: CrawlPlan) -> None:
        """What will be done."""
        ...

    def step(self, done: int, total: int, bytes: int) -> None:
        """So many of the entries that need a request are done."""
        ...


@dataclass(frozen=True, slots=True)
class Miss:
    """A wanted entry that did not come. ``again``: another run may bring it; otherwise that is how the source is."""

    id: str
    code: str
    message: str
    again: bool


@dataclass(frozen=True)
class CrawlSummary:
    """How a crawl ended.

    Attributes
    ----------
    wanted, present, fetched, unchanged : int
        Entries asked for; with a file in the store now; whose file was downloaded; whose file was there already.
    bytes, requests : int
        Over the network.
    misses : tuple of Miss
        Entries without a file, each with its reason.
    unlisted : tuple of str
        Ids in the store that the repository no longer lists.
    damaged_lines : tuple of int
        Lines of the manifest that could not be read when the store was opened.
    stopped : str or None
        Why it ended before everything was asked for.
    """

    wanted: int = 0
    present: int = 0
    fetched: int = 0
    unchanged: int = 0
    bytes: int = 0
    requests: int = 0
    seconds: float = 0.0
    misses: tuple[Miss, ...] = ()
    unlisted: tuple[str, ...] = ()
    damaged_lines: tuple[int, ...] = ()
    stopped: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every entry has a file or a reason that lies with the repository."""
        return self.stopped is None and not any(miss.again for miss in self.misses)

    def as_json(self) -> dict[str, Any]:
        """The object of the command line's contract."""
        return {
            "wanted": self.wanted,
            "present": self.present,
            "fetched": self.fetched,
            "unchanged": self.unchanged,
            "failed": self.wanted - self.present,
            "bytes": self.bytes,
            "requests": self.requests,
            "seconds": round(self.seconds, 3),
            "reasons": [{"code": m.code, "element": m.id, "message": m.message} for m in self.misses],
        }


@dataclass(slots=True)
class _Run:
    """State of one crawl; changed by the main thread only."""

    store: Store
    repository: Repository
    entries: dict[str, CatalogueEntry]
    records: Mapping[str, Record]
    observer: Observer | None
    session: Session
    total: int = 0
    done: int = 0
    fetched: int = 0
    unchanged: int = 0
    in_a_row: int = 0
    misses: list[Miss] = field(default_factory=list)
    stopped: str | None = None


def crawl(
    repository: Repository, session: Session, store: Store, wish: Selection, observer: Observer | None = None
) -> CrawlSummary:
    """Bring what is wanted into the store.

    Raises
    ------
    ServiceError
        The catalogue cannot be read.
    StoreError
        The store cannot be written; what it holds is whole.
    WishError
        The wish makes no sense for this repository.
    """
    begin = time.monotonic()
    records = store.of(repository.source)
    remembered = {id: _remembered(record) for id, record in records.items()}
    try:
        entries = repository.catalogue(wish, remembered).entries
    except NotFoundError as error:
        raise ServiceError("no-catalogue", f"{error.message}; is the base URL that of the service?") from error
    except BadResponseError as error:
        raise ServiceError(error.code, error.message) from error
    intact = {id for id, record in records.items() if store.intact(record)}
    plan = make_plan(entries, records, intact, wish, repository.bulk_size)
    if observer is not None:
        observer.planned(plan)
    run = _Run(store, repository, {entry.id: entry for entry in entries}, records, observer, session)
    run.unchanged = len(plan.keep)
    run.total = plan.wanted - len(plan.keep) - len(plan.refused)
    run.misses += [Miss(r.id, (r.reason or {})["code"], (r.reason or {})["message"], False) for r in plan.refused]
    _carry_out(run, plan)
    return CrawlSummary(
        wanted=plan.wanted,
        present=run.unchanged + run.fetched,
        fetched=run.fetched,
        unchanged=run.unchanged,
        bytes=session.bytes,
        requests=session.requests,
        seconds=time.monotonic() - begin,
        misses=tuple(sorted(run.misses, key=lambda miss: miss.id)),
        unlisted=plan.unlisted,
        damaged_lines=store.manifest.damaged,
        stopped=run.stopped,
    )


def _remembered(record: Record) -> CatalogueEntry:
    return CatalogueEntry(record.id, record.name, record.modified, dict(record.detail))


def _carry_out(run: _Run, plan: CrawlPlan) -> None:
    waiting: set[str] = {entry.id for batch in (plan.ask, *plan.batches) for entry in batch}
    with ThreadPoolExecutor(_AHEAD * run.session.manners.at_once, thread_name_prefix="crawl") as pool:
        try:
            for number, batch in enumerate((plan.ask, *plan.batches)):
                if run.stopped is None:
                    members = _bulk(run, batch) if plan.bulk and number else {}
                    _one_batch(run, pool, batch, members, waiting)
        except BaseException:
            run.session.stop.set()  # ends every wait of the workers
            pool.shutdown(cancel_futures=True)
            raise
    run.misses += [Miss(id, "not-reached", f"{id} was not asked for: {run.stopped}", True) for id in sorted(waiting)]


def _bulk(run: _Run, batch: Sequence[CatalogueEntry]) -> Mapping[str, bytes]:
    return run.repository.bulk([entry.id for entry in batch])


def _one_batch(
    run: _Run,
    pool: ThreadPoolExecutor,
    batch: Sequence[CatalogueEntry],
    members: Mapping[str, bytes],
    waiting: set[str],
) -> None:
    """Fetch the entries of a batch, never more than a few ahead of what is stored."""
    todo = iter(batch)
    under_way: dict[Future[FetchedFile | Refused | Unchanged], CatalogueEntry] = {}
    while True:
        for entry in _next(todo, _AHEAD * run.session.manners.at_once - len(under_way)):
            under_way[pool.submit(_fetch, run, entry, members.get(entry.id))] = entry
        if not under_way:
            return
        ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in ended:
            entry = under_way.pop(future)
            waiting.discard(entry.id)
            _settled(run, entry, future)
        if run.stopped is not None:
            for future, entry in under_way.items():
                if not future.cancel():
                    waiting.discard(entry.id)
                    _settled(run, entry, future)
            return


def _next(entries: Iterator[CatalogueEntry], count: int) -> list[CatalogueEntry]:
    return [entry for _, entry in zip(range(count), entries, strict=False)]


def _fetch(run: _Run, entry: CatalogueEntry, member: bytes | None) -> FetchedFile | Refused | Unchanged:
    """In a worker thread: the network, the verification, and the bytes' way to the disk."""
    record = run.records.get(entry.id)
    known = None
    if record is not None and record.sha256 is not None:
        whole = run.store.intact(record)
        digest = record.sha256
        known = Known(record.revision, record.etag if whole else None, lambda: run.store.bytes_of(digest))
    result = run.repository.fetch(entry, known, member, run.store.bytes_of)
    if isinstance(result, FetchedFile):
        run.store.put(_record(run, entry, result), result.data, result.suffix)
    return result


def _settled(run: _Run, entry: CatalogueEntry, future: Future[FetchedFile | Refused | Unchanged]) -> None:
    """In the main thread: count, and record what is not a file."""
    run.done += 1
    try:
        result = future.result()
    except StoppedError:
        raise
    except (ServiceError, BadResponseError) as error:
        _failed(run, entry, error)
    else:
        run.in_a_row = 0
        if isinstance(result, FetchedFile):
            run.fetched += result.downloaded
            run.unchanged += not result.downloaded
        elif isinstance(result, Unchanged):
            run.unchanged += 1
            _note_unchanged(run, entry)
        else:
            _note_refusal(run, entry, result, again=result.code == "unsettled")
    if run.observer is not None:
        run.observer.step(run.done, run.total, run.session.bytes)


def _failed(run: _Run, entry: CatalogueEntry, error: ServiceError | BadResponseError) -> None:
    again = isinstance(error, GivenUpError | BadResponseError)
    _note_refusal(run, entry, Refused(entry.id, error.code, error.message, lasting=False), again)
    if again:
        run.in_a_row += 1
        if run.in_a_row >= _PATIENCE and run.stopped is None:
            run.stopped = f"{_PATIENCE} entries in a row got no answer; run the same command later"


def _record(run: _Run, entry: CatalogueEntry, found: FetchedFile) -> Record:
    return Record(
        source=run.repository.source,
        id=entry.id,
        fetched=now(),
        revision=found.revision,
        name=found.name,
        url=found.url,
        file=found.file,
        licence=found.licence,
        modified=entry.modified,
        etag=found.etag,
        detail=dict(entry.detail),
    )


def _note_unchanged(run: _Run, entry: CatalogueEntry) -> None:
    """Remember what the catalogue says now, so that the next run need not ask."""
    record = run.records[entry.id]
    fresh = replace(
        record, modified=entry.modified or record.modified, name=entry.name or record.name, detail=dict(entry.detail)
    )
    if fresh != record:
        run.store.note(fresh)


def _note_refusal(run: _Run, entry: CatalogueEntry, refused: Refused, again: bool) -> None:
    """Record why there is no file; a file of an earlier crawl is kept, and its record with it."""
    run.misses.append(Miss(entry.id, refused.code, refused.message, again))
    record = run.records.get(entry.id)
    if record is not None and record.sha256 is not None and run.store.intact(record):
        run.unchanged += 1
        return
    reason = {"code": refused.code, "message": refused.message}
    if record is not None and record.reason == reason and record.modified == entry.modified:
        return
    run.store.note(
        Record(
            source=run.repository.source, id=entry.id, fetched=now(), name=entry.name, modified=entry.modified,
            reason=reason, lasting=refused.lasting, detail=dict(entry.detail),
        )
    )  # fmt: skip
