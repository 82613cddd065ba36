"""Decide what to do, from the catalogue and from what the store has. Nothing here touches disk or network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from crawler.content import ContentProblem, ExpectedFile, digest_problem, sbml_in, sbml_problem, sha256
from crawler.repository import CatalogueEntry, Refused, Selection
from crawler.store import Record

__all__ = ["CrawlPlan", "make_plan", "Choice", "FileCheck", "choose"]


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


_SBML: Final = (".xml", ".sbml")
_ARCHIVES: Final = (".omex", ".zip", ".sedx")


@dataclass(frozen=True, slots=True)
class Choice:
    """The file of a record to take, and whether it is an archive to be opened."""

    file: ExpectedFile
    archive: bool


def choose(main: Sequence[ExpectedFile]) -> Choice | None:
    """The first main file that is named like SBML, else the first archive; ``None`` if there is neither."""
    for suffixes, archive in ((_SBML, False), (_ARCHIVES, True)):
        for file in main:
            if file.name.lower().endswith(suffixes):
                return Choice(file, archive)
    return None


@dataclass(slots=True)
class FileCheck:
    """All that is known about one model in this run."""

    id: str
    member: bytes | None
    held: bytes | None
    stored: Callable[[str], bytes | None]
    choice: Choice | None = None
    accepted: bytes | None = None
    fresh: bool = True
    _lists: list[Choice | None] = field(default_factory=list)
    _list_is_sure: bool = False
    _downloads: list[str] = field(default_factory=list)
    _download: bytes | None = None
    _download_is_sure: bool = False
    _absent: str | None = None
    _absent_after: int = 0

    # -- what came -----------------------------------------------------------------------------------

    def listed(self, choice: Choice | None, sure: bool) -> None:
        """A record was read."""
        self._lists.append(choice)
        self.choice = choice
        self._list_is_sure = sure or self._lists.count(choice) > 1

    def downloaded(self, data: bytes, sure: bool) -> None:
        """The chosen file came, singly."""
        self._downloads.append(sha256(data))
        self._download, self._download_is_sure = data, sure or self._downloads.count(self._downloads[-1]) > 1
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
        if self._download is None:
            # a bulk member that contradicts the record: the record may be the one that is wrong
            doubt = self.member is not None and not choice.archive and not self._list_is_sure
            return "read-list" if doubt else "download"
        return self._judge_download(choice, self._download)

    def _try_what_is_here(self, choice: Choice) -> bool:
        """Accept a file of the store or of the bulk zip."""
        expected = choice.file
        if choice.archive:
            return False
        listed = expected.sums.get("sha256")
        for data in (self.held, self.stored(listed) if listed else None):
            if data is not None and expected.sums and not _problem(data, expected):
                # an object without a record is left of a killed run, or another model's twin
                self.accepted, self.fresh = data, data is not self.held
                return True
        if self.member is not None and not _problem(self.member, expected):
            self.accepted = self.member
            return True
        return False

    def _judge_download(self, choice: Choice, data: bytes) -> Choice | Refused | Literal["read-list", "download"]:
        expected = choice.file
        wrong = digest_problem(data, expected)
        if wrong is not None:
            if not self._download_is_sure:
                return "download"
            return self._refusal(wrong.code, f"{self.id}: {wrong.message}")
        if not (expected.sums or self._download_is_sure or choice.archive):
            return "download"
        sbml = sbml_in(data, expected.name, archive=choice.archive)
        if isinstance(sbml, bytes):
            self.accepted = sbml
            return choice
        if not (expected.sums or self._download_is_sure):
            return "download"
        # an overloaded server sends a page in place of the file; only a checksum says that the page is the file
        return self._refusal(sbml.code, f"{self.id}: {sbml.message}", lasting=bool(expected.sums))

    def _refusal(self, code: str, message: str, lasting: bool = True) -> Refused | Literal["read-list"]:
        return Refused(self.id, code, message, lasting) if self._list_is_sure else "read-list"


def _problem(data: bytes, expected: ExpectedFile) -> ContentProblem | None:
    return digest_problem(data, expected) or sbml_problem(data, expected.name)
