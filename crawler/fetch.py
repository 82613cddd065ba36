"""Carry out a plan: ask, verify, store, record. One entry never stops the others."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, Protocol

from crawler.content import (
    SBML_SUFFIXES,
    Archive,
    ArchiveLimits,
    ContentProblem,
    ExpectedFile,
    digest_problem,
    is_archive,
    plain_text,
    sbml_in,
    sbml_problem,
    sha256,
)
from crawler.errors import (
    ODD_DATA,
    ArchiveError,
    BadResponseError,
    NotFoundError,
    SelectionError,
    ServiceError,
    StoppedError,
)
from crawler.repository import (
    OF_THE_MODEL,
    CatalogueEntry,
    FetchedFile,
    Known,
    Refused,
    Repository,
    Selection,
    Unchanged,
)
from crawler.session import Session
from crawler.store import Record, Store, can_be_id, now, opened_file

__all__ = [
    "Miss",
    "Observer",
    "CrawlSettings",
    "CrawlSummary",
    "crawl",
    "CrawlPlan",
    "make_plan",
    "Choice",
    "FileCheck",
    "choose",
    "SOURCE",
    "import_files",
]


# -- Decide what to do, from the catalogue ---------------------------------------------------------

# Decide what to do, from the catalogue and from what the store has. Nothing here touches disk or network.


@dataclass(frozen=True, slots=True)
class CrawlPlan:
    """What a crawl will do.

    Attributes
    ----------
    keep : tuple of CatalogueEntry
        In the store, and nothing says they changed; no request is made for them.
    refused : tuple of Record
        Known not to be models, and nothing says they changed.
    ask : tuple of CatalogueEntry
        In the store, but they may have changed: asked for conditionally.
    batches : tuple of tuples of CatalogueEntry
        Not in the store.
    bulk : bool
        Whether each batch begins with a zip of all its files.
    unlisted : tuple of str
        Ids of the store that the whole catalogue no longer has; they are kept.
    """

    keep: tuple[CatalogueEntry, ...] = ()
    refused: tuple[Record, ...] = ()
    ask: tuple[CatalogueEntry, ...] = ()
    batches: tuple[tuple[CatalogueEntry, ...], ...] = ()
    bulk: bool = False
    unlisted: tuple[str, ...] = ()

    @property
    def wanted(self) -> int:
        """Number of entries that are wanted."""
        return len(self.keep) + len(self.refused) + len(self.ask) + sum(map(len, self.batches))


def make_plan(
    entries: Sequence[CatalogueEntry],
    records: Mapping[str, Record],
    intact: Collection[str],
    selection: Selection,
    bulk_size: int = 0,
    *,
    fewest_for_bulk: int = 5,
    shuffle: Callable[[list[CatalogueEntry]], None] = random.shuffle,
) -> CrawlPlan:
    """Compare the catalogue with the store.

    Parameters
    ----------
    entries : sequence of CatalogueEntry
        What is wanted.
    records : mapping of id to Record
        The store's newest record of each.
    intact : collection of str
        Ids whose file is where it should be, with the right size.
    selection : Selection
    bulk_size : int
        Most entries of one bulk download; 0 if the repository has none.
    fewest_for_bulk : int
        For fewer a bulk zip saves too few requests to be worth its size.
    shuffle : callable
        Brings what did not come the last time into another order.
    """
    keep: list[CatalogueEntry] = []
    refused: list[Record] = []
    ask: list[CatalogueEntry] = []
    missing: list[CatalogueEntry] = []
    for entry in entries:
        record = records.get(entry.id)
        same = record is not None and entry.modified is not None and record.modified == entry.modified
        if record is not None and record.sha256 is not None and entry.id in intact:
            (keep if same and not selection.recheck else ask).append(entry)
        elif record is not None and record.reason is not None and record.lasting and same and not selection.recheck:
            refused.append(record)
        else:
            missing.append(entry)
    # what did not come the last time is asked for last, in an order drawn anew: where it never comes, and ends the
    # crawl, nothing else waits for it, and none of it for the same others
    failed = {id for id, record in records.items() if record.reason is not None}
    again = [entry for entry in missing if entry.id in failed]
    shuffle(again)
    missing = [*(entry for entry in missing if entry.id not in failed), *again]
    size = bulk_size or 100
    listed = {entry.id for entry in entries}
    gone = sorted(id for id, record in records.items() if record.sha256 and id not in listed) if selection.whole else ()
    return CrawlPlan(
        tuple(keep),
        tuple(refused),
        tuple(ask),
        tuple(_batches(missing, size)),
        bulk_size > 0 and len(missing) >= fewest_for_bulk,
        tuple(gone),
    )


def _batches(entries: Sequence[CatalogueEntry], size: int) -> Iterator[tuple[CatalogueEntry, ...]]:
    for start in range(0, len(entries), size):
        yield tuple(entries[start : start + size])


# -- what to believe about one model -----------------------------------------------------------------
# A record, a file from a bulk zip, downloads: any of these may be corrupted. :class:`FileCheck` is told what came and
# says what to do next, without touching disk or network. The rules:
#
# - a file that agrees with a listed checksum is right (corrupting both alike is out of the question);
# - without a checksum, a file is right if a CRC or the answer's own digest vouches for its way here, or if it came
#   twice the same;
# - a contradiction is first blamed on what was read once only;
# - nothing negative is concluded from a record that was read once, unless the answer carried its own digest.


_ARCHIVES: Final = (".omex", ".zip", ".sedx")


@dataclass(frozen=True, slots=True)
class Choice:
    """The file of a record to take, and whether it is an archive to be opened."""

    file: ExpectedFile
    archive: bool


def choose(main: Sequence[ExpectedFile], most: int = 6) -> tuple[Choice, ...]:
    """Main files that are named like SBML, then archives, in the order of the record.

    Parameters
    ----------
    main : sequence of ExpectedFile
    most : int
        How many: of a model with hundreds of main files nobody knows which is the model, and each costs a download.
    """
    found = [
        Choice(file, archive)
        for suffixes, archive in ((SBML_SUFFIXES, False), (_ARCHIVES, True))
        for file in main
        if file.name.lower().endswith(suffixes)
    ]
    return tuple(found[:most])


@dataclass(slots=True)
class FileCheck:
    """All that is known about one model in this run."""

    id: str
    member: bytes | None
    held: bytes | None
    stored: Callable[[str], bytes | None]
    choices: tuple[Choice, ...] = ()
    accepted: bytes | None = None
    fresh: bool = True
    _position: int = 0
    _lists: list[tuple[Choice, ...]] = field(default_factory=list)
    _list_is_sure: bool = False
    _downloads: dict[str, _Downloads] = field(default_factory=dict)
    _refused: Refused | None = None
    _absent: str | None = None
    _absent_after: int = 0

    @property
    def choice(self) -> Choice | None:
        """The file that is looked at."""
        return self.choices[self._position] if self.choices else None

    # -- what came -----------------------------------------------------------------------------------

    def listed(self, choices: tuple[Choice, ...], sure: bool) -> None:
        """A record was read."""
        self._lists.append(choices)
        if choices != self.choices:
            self.choices, self._position, self._refused = choices, 0, None
        self._list_is_sure = sure or self._lists.count(choices) > 1

    def downloaded(self, data: bytes, sure: bool) -> None:
        """The chosen file came, singly."""
        assert self.choice is not None
        came = self._downloads.setdefault(self.choice.file.name, _Downloads())
        came.digests.append(sha256(data))
        came.data, came.sure = data, sure or came.digests.count(came.digests[-1]) > 1
        self._absent = None

    def not_there(self, message: str) -> None:
        """The chosen file was answered with 404, after so many readings of the record."""
        self._absent, self._absent_after = message, self._absent_after or len(self._lists)

    # -- what follows --------------------------------------------------------------------------------

    def verdict(self) -> Choice | Refused | Literal["read-list", "download"]:
        """The file is accepted (see ``accepted``), or refused, or something has to be asked."""
        choice = self.choice
        if choice is None:
            return self._refusal("no-sbml-file", f"{self.id} has no SBML file among its main files")
        if plain_text(choice.file.name) != choice.file.name:
            message = f"{self.id}: the name {plain_text(choice.file.name)} of its file holds what no URL can"
            return self._next(self._refusal("bad-name", message))
        if self._try_what_is_here(choice):
            return choice
        if self._absent is not None:
            if len(self._lists) <= self._absent_after:
                return "read-list"
            if self._absent_after > 0:
                self._absent_after = -1  # the list was read again: one more try
                self._absent = None
                return "download"
            return Refused(self.id, "gone", f"{self._absent}; the record, read again, still lists it", lasting=False)
        came = self._downloads.get(choice.file.name)
        if came is None:
            # a bulk member that contradicts the record: the record may be the one that is wrong
            doubt = self.member is not None and not choice.archive and not self._list_is_sure
            return "read-list" if doubt else "download"
        return self._judge_download(choice, came)

    def _try_what_is_here(self, choice: Choice) -> bool:
        """Accept a file of the store or of the bulk zip."""
        expected = choice.file
        listed = expected.sums.get("sha256")
        for data in () if choice.archive else (self.held, self.stored(listed) if listed else None):
            if data is not None and expected.sums and not _problem(data, expected):
                # an object without a record is left of a killed run, or another model's twin
                self.accepted, self.fresh = data, data is not self.held
                return True
        if self.member is not None:
            self.accepted = _model_of(self.member, choice)
        return self.accepted is not None

    def _judge_download(self, choice: Choice, came: _Downloads) -> Choice | Refused | Literal["read-list", "download"]:
        expected = choice.file
        wrong = digest_problem(came.data, expected)
        if wrong is not None:
            if not came.sure:
                return "download"
            return self._refusal(wrong.code, f"{self.id}: {wrong.message}", lasting=False)
        if not (expected.sums or came.sure or choice.archive):
            return "download"
        sbml = sbml_in(came.data, expected.name, archive=choice.archive)
        if isinstance(sbml, bytes):
            self.accepted = sbml
            return choice
        if not (expected.sums or came.sure):
            return "download"
        # an overloaded server sends a page in place of the file; only a checksum says that the page is the file
        return self._next(self._refusal(sbml.code, f"{self.id}: {sbml.message}", lasting=bool(expected.sums)))

    def _refusal(self, code: str, message: str, lasting: bool = True) -> Refused | Literal["read-list"]:
        return Refused(self.id, code, message, lasting) if self._list_is_sure else "read-list"

    def _next(self, verdict: Refused | Literal["read-list"]) -> Choice | Refused | Literal["read-list", "download"]:
        """Look at the next main file, where this one is something else than a model; else the verdict on the first."""
        if not isinstance(verdict, Refused) or verdict.code not in _SOMETHING_ELSE:
            return verdict
        self._refused = self._refused or verdict
        if self._position + 1 == len(self.choices):
            return self._refused
        self._position += 1
        self._absent, self._absent_after = None, 0
        return self.verdict()


_SOMETHING_ELSE: Final = frozenset({"not-sbml", "no-sbml-file", "bad-name"})
"""Of a main file after which the next one is looked at: RDF, SED-ML. A damaged model is not replaced by another."""


@dataclass(slots=True)
class _Downloads:
    """What came under one name: the digests of all, the last one, and whether it may be believed."""

    digests: list[str] = field(default_factory=list)
    data: bytes = b""
    sure: bool = False


def _problem(data: bytes, expected: ExpectedFile) -> ContentProblem | None:
    return digest_problem(data, expected) or sbml_problem(data, expected.name)


def _model_of(member: bytes, choice: Choice) -> bytes | None:
    """The model in a member of a bulk zip, if it is what the list says; the member may be an archive with it."""
    expected = choice.file
    if choice.archive:
        wrong = not is_archive(member) or digest_problem(member, expected) is not None
        model = None if wrong else sbml_in(member, expected.name)
    elif is_archive(member):
        inner = sbml_in(member, expected.name)
        model = inner if isinstance(inner, bytes) and digest_problem(inner, expected) is None else None
    else:
        model = None if _problem(member, expected) else member
    return model if isinstance(model, bytes) else None


# -- Carry out a plan: ask, verify -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CrawlSettings:
    """How a crawl goes on.

    Attributes
    ----------
    patience : int
        Entries in a row, as they were asked for, that did not come, after which it ends: the service is down, and
        asking on would be rude. Entries that did not come the last time say nothing of it where others come.
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
    gaps : tuple of str
        Why the catalogue may not be all.
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
    gaps: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the catalogue is all, and every entry has a file or a reason that lies with the model."""
        return self.stopped is None and not self.gaps and not any(miss.again for miss in self.misses)

    @property
    def shortfall(self) -> str | None:
        """Why it is not complete, in one sentence; ``None`` if it is."""
        if self.complete:
            return None
        missing = Counter(miss.code for miss in self.misses if miss.again)
        counts = ", ".join(f"{count} {code}" for code, count in missing.most_common())
        came = f"{missing.total()} of {self.wanted} did not come ({counts})" if missing else None
        why = [part for part in (came, self.stopped, *self.gaps) if part is not None]
        return "; ".join(why) + ("" if "run the same command later" in why[-1] else "; run the same command later")

    def _gap_problems(self) -> list[ContentProblem]:
        return [ContentProblem("incomplete-list", gap) for gap in self.gaps]

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
            "reasons": [
                {"code": code, "element": id, "message": message}
                for code, id, message in (
                    *((gap.code, None, gap.message) for gap in self._gap_problems()),
                    *((miss.code, miss.id, miss.message) for miss in self.misses),
                )
            ],
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
        catalogue = repository.catalogue(selection, remembered)
    except NotFoundError as error:
        raise ServiceError("no-catalogue", f"{error.message}; is the base URL that of the service?") from error
    except BadResponseError as error:
        raise ServiceError(error.code, error.message) from error
    intact = {id for id, record in records.items() if store.intact(record)}
    plan = make_plan(catalogue.entries, records, intact, selection, repository.bulk_size)
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
        gaps=catalogue.gaps,
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
        self._done = 0
        self._asked: dict[str, int] = {}  # in which order
        self._came: dict[int, bool] = {}  # by that number
        self.fetched = 0
        self.unchanged = len(plan.keep)
        self.misses = [_miss(r.id, (r.reason or {})["code"], (r.reason or {})["message"]) for r in plan.refused]
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
                self._asked[entry.id] = len(self._asked)
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
        try:
            result = self._repository.fetch(entry, known, member, self._store.bytes_of)
        except ODD_DATA as error:
            message = f"{entry.id}: what came of it cannot be read ({type(error).__name__}: {error})"
            return Refused(entry.id, "odd-data", message, lasting=False)
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
            self._came[self._asked[entry.id]] = True
            if isinstance(result, FetchedFile):
                self.fetched += result.downloaded
                self.unchanged += not result.downloaded
            elif isinstance(result, Unchanged):
                self.unchanged += 1
                self._note_unchanged(entry)
            else:
                self._note_refusal(entry, result)
        if self._observer is not None:
            self._observer.step(self._done, self._total, self._session.bytes)

    def _failed(self, entry: CatalogueEntry, error: ServiceError | BadResponseError) -> None:
        self._note_refusal(entry, Refused(entry.id, error.code, error.message, lasting=False))
        record = self._records.get(entry.id)
        again = record is not None and record.reason is not None
        if error.code in OF_THE_MODEL or (again and any(self._came.values())):
            return
        self._came[number := self._asked[entry.id]] = False
        first = last = number
        while self._came.get(first - 1) is False:
            first -= 1
        while self._came.get(last + 1) is False:
            last += 1
        if last - first + 1 >= self._patience and self.stopped is None:
            what = f"{self._patience} entries in a row did not come, the last one as [{error.code}]"
            self.stopped = f"{what}; run the same command later"

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

    def _note_refusal(self, entry: CatalogueEntry, refused: Refused) -> None:
        """Record why there is no file; a file of an earlier crawl stays, and its record with it.

        A refusal lasts when a second run finds the same: within one run, a busy server says the same twice.
        """
        self.misses.append(_miss(entry.id, refused.code, refused.message))
        record = self._records.get(entry.id)
        if record is not None and record.sha256 is not None and self._store.intact(record):
            self.unchanged += 1
            return
        reason = {"code": refused.code, "message": plain_text(refused.message)}
        same = record is not None and record.reason == reason and record.modified == entry.modified
        lasting = same and refused.lasting
        if same and record is not None and record.lasting == lasting:
            return
        self._store.note(self._record(entry, name=entry.name, modified=entry.modified, reason=reason, lasting=lasting))


def _miss(id: str, code: str, message: str) -> Miss:
    return Miss(id, code, message, again=code not in OF_THE_MODEL)


# -- Bring a folder or an archive of SBML files into a store, for those without a net ------------

# Bring a folder or an archive of SBML files into a store, for those without a network.


SOURCE: Final = "import"
_MODEL: Final = (*SBML_SUFFIXES, ".omex")
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9._-]+")


def import_files(
    store: Store, origin: Path, limit: int | None = None, progress: Callable[[int, int], None] | None = None
) -> CrawlSummary:
    """Copy every SBML file of `origin` into the store; the id is the file's name without its ending.

    Where several files have one name (``model.xml`` in many folders), their folders are part of their ids.

    Parameters
    ----------
    store : Store
    origin : Path
        A folder (any depth), or a zip file. ``.omex`` files are opened for their master.
    limit : int, optional
        Take the first so many only.
    progress : callable, optional
        Told the number done and in all.

    Raises
    ------
    SelectionError
        There is no such folder or zip file.
    ArchiveError
        The zip file is broken or dangerous; nothing of it was kept.
    """
    begin = time.monotonic()
    files = _files(origin)[:limit]
    records = store.of(SOURCE)
    stems = Counter(PurePosixPath(name).stem for name, _ in files)
    misses: list[Miss] = []
    fetched = unchanged = size = 0
    for number, (name, read) in enumerate(files, 1):
        data = _sbml_of(read, plain_text(name))
        id = _id_of(name, unique=stems[PurePosixPath(name).stem] == 1)
        held = records.get(id)
        if isinstance(data, ContentProblem):
            misses.append(Miss(id, data.code, data.message, False))
            if held is None or not held.sha256:
                store.note(_record(id, name, {"code": data.code, "message": data.message}))
        elif held is not None and held.sha256 == sha256(data) and store.intact(held):
            unchanged += 1
        else:
            store.put(_record(id, name, None), data, ".xml")
            fetched += 1
            size += len(data)
        if progress is not None:
            progress(number, len(files))
    return CrawlSummary(
        wanted=len(files),
        present=fetched + unchanged,
        fetched=fetched,
        unchanged=unchanged,
        bytes=size,
        seconds=time.monotonic() - begin,
        misses=tuple(misses),
        damaged_lines=store.manifest.damaged,
    )


def _sbml_of(read: Callable[[], bytes | ContentProblem], name: str) -> bytes | ContentProblem:
    try:
        content = read()
        return content if isinstance(content, ContentProblem) else sbml_in(content, name)
    except ODD_DATA as error:
        return ContentProblem("odd-data", f"{name} cannot be read ({type(error).__name__}: {error})")


def _record(id: str, name: str, reason: dict[str, str] | None) -> Record:
    return Record(SOURCE, id, now(), file=PurePosixPath(name).name, reason=reason, lasting=reason is not None)


def _files(origin: Path) -> list[tuple[str, Callable[[], bytes | ContentProblem]]]:
    """Name and reader of each file that may hold a model, in order."""
    if origin.is_dir():
        paths = sorted(path for path in origin.rglob("*") if path.suffix.lower() in _MODEL and not path.is_dir())
        return [(path.relative_to(origin).as_posix(), _reader(path)) for path in paths]
    try:
        with opened_file(origin) as file:
            data = file.read()
    except OSError as error:
        message = f"{origin} cannot be read ({error.strerror}); name a folder or a zip file"
        raise SelectionError("no-such-file", message) from error
    if not is_archive(data):
        raise SelectionError("not-an-archive", f"{origin} is neither a folder nor a zip file")
    archive = Archive(data, origin.name)
    return list(_members(archive))


def _members(archive: Archive) -> Iterator[tuple[str, Callable[[], bytes | ContentProblem]]]:
    for name in sorted(archive.names):
        if name.lower().endswith(_MODEL) and PurePosixPath(name).name != "manifest.xml":
            yield name, partial(_member, archive, name)


def _member(archive: Archive, name: str) -> bytes | ContentProblem:
    try:
        return archive.read(name)
    except ArchiveError as error:
        return ContentProblem(error.code, error.message)


def _reader(path: Path, most: int = ArchiveLimits().member_bytes) -> Callable[[], bytes | ContentProblem]:
    def read() -> bytes | ContentProblem:
        try:
            with opened_file(path) as file:
                data = file.read(most + 1)
            return data if len(data) <= most else ContentProblem("too-large", f"{path} has more than {most >> 20} MB")
        except OSError as error:
            return ContentProblem("unreadable-file", f"{path} cannot be read ({error.strerror})")

    return read


def _id_of(name: str, unique: bool) -> str:
    """The name without its ending, and with its folders unless it is unique, as it can be the name of a folder."""
    path = PurePosixPath(name)
    wanted = path.stem if unique else path.as_posix()
    plain = _FORBIDDEN.sub("_", path.stem if unique else str(path.with_suffix(""))).lstrip("._-")[-100:].lstrip("._-")
    if plain == wanted and can_be_id(plain):
        return plain
    # two names that differ only in what was replaced must not become one
    return f"{plain or 'model'}-{sha256(os.fsencode(wanted))[:8]}"
