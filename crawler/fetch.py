"""Carry out a plan: ask, verify, store, record. One entry never stops the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

from crawler.errors import BadResponseError, GivenUpError, NotFoundError, ServiceError, StoppedError
from crawler.plan import CrawlPlan, make_plan
from crawler.repository import CatalogueEntry, FetchedFile, Known, Refused, Repository, Selection, Unchanged
from crawler.session import Session
from crawler.store import Record, Store, now

__all__ = ["Miss", "Observer", "CrawlSettings", "CrawlSummary", "crawl"]


@dataclass(frozen=True, slots=True)
class CrawlSettings:
    """How a crawl goes on.

    Attributes
    ----------
    patience : int
        Entries in a row without any answer after which it ends: the service is down, and asking on would be rude.
    ahead : int
        Entries under way for each request at once: while some wait before asking again, others ask. How many requests
        there are at once is up to the session.
    """

    patience: int = 8
    ahead: int = 4


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


def crawl(
    repository: Repository,
    session: Session,
    store: Store,
    selection: Selection,
    observer: Observer | None = None,
    settings: CrawlSettings = CrawlSettings(),
) -> CrawlSummary:
    """Bring what is wanted into the store.

    Raises
    ------
    ServiceError
        The catalogue cannot be read.
    StoreError
        The store cannot be written; what it holds is whole.
    SelectionError
        The selection makes no sense for this repository.
    """
    begin = time.monotonic()
    records = store.of(repository.source)
    remembered = {
        id: CatalogueEntry(record.id, record.name, record.modified, dict(record.detail))
        for id, record in records.items()
    }
    try:
        entries = repository.catalogue(selection, remembered)
    except NotFoundError as error:
        raise ServiceError("no-catalogue", f"{error.message}; is the base URL that of the service?") from error
    except BadResponseError as error:
        raise ServiceError(error.code, error.message) from error
    intact = {id for id, record in records.items() if store.intact(record)}
    plan = make_plan(entries, records, intact, selection, repository.bulk_size)
    if observer is not None:
        observer.planned(plan)
    run = _Run(store, repository, records, observer, session, settings, plan)
    run.carry_out()
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


class _Run:
    """One crawl. Its counts are changed by the main thread only; workers fetch and store."""

    def __init__(
        self,
        store: Store,
        repository: Repository,
        records: Mapping[str, Record],
        observer: Observer | None,
        session: Session,
        settings: CrawlSettings,
        plan: CrawlPlan,
    ) -> None:
        self._store, self._repository, self._session, self._observer = store, repository, session, observer
        self._records = records
        self._plan = plan
        self._patience = settings.patience
        self._ahead = settings.ahead * session.policy.at_once
        self._total = plan.wanted - len(plan.keep) - len(plan.refused)
        self._done = self._in_a_row = 0
        self.fetched = 0
        self.unchanged = len(plan.keep)
        self.misses = [Miss(r.id, (r.reason or {})["code"], (r.reason or {})["message"], False) for r in plan.refused]
        self.stopped: str | None = None
        self._waiting = {entry.id for batch in (plan.ask, *plan.batches) for entry in batch}

    def carry_out(self) -> None:
        """Batch after batch, until everything is asked for or the service has gone."""
        with ThreadPoolExecutor(self._ahead, thread_name_prefix="crawl") as pool:
            try:
                self._batch(pool, self._plan.ask, {})
                for batch in self._plan.batches:
                    if self.stopped is None:
                        members = self._repository.bulk([entry.id for entry in batch]) if self._plan.bulk else {}
                        self._batch(pool, batch, members)
            except BaseException:
                self._session.stop.set()  # ends every wait of the workers
                pool.shutdown(cancel_futures=True)
                raise
        self.misses += [
            Miss(id, "not-reached", f"{id} was not asked for: {self.stopped}", True) for id in sorted(self._waiting)
        ]

    def _batch(self, pool: ThreadPoolExecutor, batch: Sequence[CatalogueEntry], members: Mapping[str, bytes]) -> None:
        """Fetch the entries of a batch, never more than a few ahead of what is stored."""
        todo = iter(batch)
        under_way: dict[Future[FetchedFile | Refused | Unchanged], CatalogueEntry] = {}
        while True:
            for entry in islice(todo, self._ahead - len(under_way)):
                under_way[pool.submit(self._fetch, entry, members.get(entry.id))] = entry
            if not under_way:
                return
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in ended:
                self._settled(under_way.pop(future), future)
            if self.stopped is not None:
                for future, entry in under_way.items():
                    if not future.cancel():
                        self._settled(entry, future)
                return

    def _fetch(self, entry: CatalogueEntry, member: bytes | None) -> FetchedFile | Refused | Unchanged:
        """In a worker thread: the network, the verification, and the bytes' way to the disk."""
        record = self._records.get(entry.id)
        known = None
        if record is not None and record.sha256 is not None:
            digest = record.sha256
            etag = record.etag if self._store.intact(record) else None
            known = Known(record.revision, etag, lambda: self._store.bytes_of(digest))
        result = self._repository.fetch(entry, known, member, self._store.bytes_of)
        if isinstance(result, FetchedFile):
            new = self._record(
                entry, revision=result.revision, name=result.name, url=result.url, file=result.file,
                licence=result.licence, modified=entry.modified, etag=result.etag,
            )  # fmt: skip
            self._store.put(new, result.data, result.suffix)
        return result

    def _record(self, entry: CatalogueEntry, **fields: Any) -> Record:
        return Record(source=self._repository.source, id=entry.id, fetched=now(), detail=dict(entry.detail), **fields)

    def _settled(self, entry: CatalogueEntry, future: Future[FetchedFile | Refused | Unchanged]) -> None:
        """Count an entry that is done with, and record what is not a file."""
        self._waiting.discard(entry.id)
        self._done += 1
        try:
            result = future.result()
        except StoppedError:
            raise
        except (ServiceError, BadResponseError) as error:
            self._failed(entry, error)
        else:
            self._in_a_row = 0
            if isinstance(result, FetchedFile):
                self.fetched += result.downloaded
                self.unchanged += not result.downloaded
            elif isinstance(result, Unchanged):
                self.unchanged += 1
                self._note_unchanged(entry)
            else:
                self._note_refusal(entry, result, again=result.code == "unsettled")
        if self._observer is not None:
            self._observer.step(self._done, self._total, self._session.bytes)

    def _failed(self, entry: CatalogueEntry, error: ServiceError | BadResponseError) -> None:
        again = isinstance(error, GivenUpError | BadResponseError)
        self._note_refusal(entry, Refused(entry.id, error.code, error.message, lasting=False), again)
        if again:
            self._in_a_row += 1
            if self._in_a_row >= self._patience and self.stopped is None:
                self.stopped = f"{self._patience} entries in a row got no answer; run the same command later"

    def _note_unchanged(self, entry: CatalogueEntry) -> None:
        """Remember what the catalogue says now, so that the next run need not ask."""
        record = self._records[entry.id]
        fresh = replace(
            record,
            modified=entry.modified or record.modified,
            name=entry.name or record.name,
            detail=dict(entry.detail),
        )
        if fresh != record:
            self._store.note(fresh)

    def _note_refusal(self, entry: CatalogueEntry, refused: Refused, again: bool) -> None:
        """Record why there is no file; a file of an earlier crawl stays, and its record with it."""
        self.misses.append(Miss(entry.id, refused.code, refused.message, again))
        record = self._records.get(entry.id)
        if record is not None and record.sha256 is not None and self._store.intact(record):
            self.unchanged += 1
            return
        reason = {"code": refused.code, "message": refused.message}
        if record is not None and record.reason == reason and record.modified == entry.modified:
            return
        self._store.note(
            self._record(entry, name=entry.name, modified=entry.modified, reason=reason, lasting=refused.lasting)
        )
