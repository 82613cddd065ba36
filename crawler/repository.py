"""What a repository is to the crawler: a catalogue, and entries that can be fetched and verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from crawler.errors import BadResponseError
from crawler.session import ParsedResponse

__all__ = [
    "OF_THE_MODEL",
    "Catalogue",
    "CatalogueEntry",
    "FetchedFile",
    "Known",
    "Refused",
    "Repository",
    "Unchanged",
    "Selection",
    "settle",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are wanted. ``limit``: the first so many; ``recheck``: ask even for what seems unchanged."""

    ids: tuple[str, ...] = ()
    query: str | None = None
    curated: bool = False
    limit: int | None = None
    recheck: bool = False

    @property
    def whole(self) -> bool:
        """Whether everything the repository has is wanted."""
        return not self.ids and self.query is None and not self.curated and self.limit is None

    def takes(self, id: str) -> bool:
        """Whether an entry of the whole catalogue is wanted, the limit left aside."""
        return not self.curated or id.startswith("BIOMD")

    def first(self, entries: Mapping[str, CatalogueEntry]) -> tuple[CatalogueEntry, ...]:
        """The wanted ones among the entries of a catalogue, by ascending id."""
        return tuple(entries[id] for id in sorted(entries) if self.takes(id))[: self.limit]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One line of a catalogue. ``modified`` changes when the entry does; ``None`` if the catalogue does not say."""

    id: str
    name: str | None = None
    modified: str | None = None
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a repository has of what is wanted.

    Attributes
    ----------
    entries : tuple of CatalogueEntry
    gaps : tuple of str
        Why it may not be all: one sentence each. A crawl with such a catalogue is not complete.
    """

    entries: tuple[CatalogueEntry, ...]
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the store has of an entry: revision, ETag, and its file's bytes on demand (``None``: damaged)."""

    revision: str | None
    etag: str | None
    data: Callable[[], bytes | None]


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A verified file.

    ``downloaded``: its bytes came in this run, not from the store.
    """

    id: str
    name: str | None
    revision: str | None
    file: str
    suffix: str
    url: str
    data: bytes
    etag: str | None
    licence: str | None
    downloaded: bool = True


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The repository says that what the store has is what it has."""

    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """No file, and why.

    ``lasting``: asking again is of no use as long as the entry does not change, if another run finds the same.
    """

    id: str
    code: str
    message: str
    lasting: bool = True


OF_THE_MODEL: Final = frozenset(
    {
        "gone", "not-listed", "no-sbml-file", "several-models", "bad-name",
        "empty-file", "html-page", "not-sbml", "not-well-formed", "entity-declaration", "unknown-encoding",
        "unsafe-archive", "broken-archive",
    }
)  # fmt: skip
"""Codes of reasons that lie with the model: with all others another run may bring the file."""


class Repository(Protocol):
    """A remote collection of models."""

    @property
    def source(self) -> str:
        """Short name, kept in each record."""
        ...

    @property
    def bulk_size(self) -> int:
        """Most entries of one bulk download; 0 if there is none."""
        ...

    def catalogue(self, selection: Selection, known: Mapping[str, CatalogueEntry]) -> Catalogue:
        """What it has of what is wanted. ``known`` is what the store remembers of entries: it confirms an answer."""
        ...

    def bulk(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Files of many entries in one request, verified by CRC only; what is missing is fetched singly."""
        ...

    def fetch(
        self, entry: CatalogueEntry, known: Known | None, member: bytes | None, stored: Callable[[str], bytes | None]
    ) -> FetchedFile | Refused | Unchanged:
        """Bring one entry.

        Parameters
        ----------
        entry : CatalogueEntry
        known : Known or None
            What the store has of it.
        member : bytes or None
            Its file from a bulk download.
        stored : callable
            Bytes of the SHA-256 in the store, or ``None``.

        Raises
        ------
        ServiceError
            The service could not be brought to a useful answer.
        """
        ...


def settle(
    read: Callable[[], ParsedResponse[T]], confirmed: Callable[[T], bool] = lambda _: False, most_readings: int = 6
) -> T:
    """Read until one reading is certain: it carries its own digest, is confirmed otherwise, or came twice.

    JSON and HTML may arrive with a byte changed and still be well formed.

    Parameters
    ----------
    read : function
    confirmed : function
        Whether something else says that a value is right, such as what the store remembers word for word.
    most_readings : int
        Of a service that changes every answer nothing can be believed.

    Raises
    ------
    BadResponseError
        No two of many readings agree.
    """
    values: list[T] = []
    for _ in range(most_readings):
        reading = read()
        value = reading.value
        assert value is not None, "settle never asks conditionally"
        if reading.sure or value in values or confirmed(value):
            return value
        values.append(value)
    raise BadResponseError("bad-answer", f"{most_readings} readings of one list all differ; run the same command later")
