"""What a repository is to the crawler: a catalogue, and entries that can be fetched and verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from crawler.errors import BadResponseError
from crawler.session import ParsedResponse

__all__ = [
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
_MOST_READINGS = 6


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


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One line of a catalogue. ``modified`` changes when the entry does; ``None`` if the catalogue does not say."""

    id: str
    name: str | None = None
    modified: str | None = None
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the repository has of what is wanted."""

    entries: tuple[CatalogueEntry, ...]


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

    ``lasting``: asking again is of no use as long as the entry does not change.
    """

    id: str
    code: str
    message: str
    lasting: bool = True


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

    def catalogue(self, wish: Selection, known: Mapping[str, CatalogueEntry]) -> Catalogue:
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
        entry : Entry
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


def settle(read: Callable[[], ParsedResponse[T]], expected: T | None = None) -> T:
    """Read until one reading is certain: it carries its own digest, says what was expected, or came twice.

    JSON and HTML may arrive with a byte changed and still be well formed.

    Raises
    ------
    BadAnswerError
        No two of many readings agree.
    """
    seen: list[T] = []
    for _ in range(_MOST_READINGS):
        reading = read()
        value = reading.value
        assert value is not None, "settle never asks conditionally"
        if reading.sure or value == expected or value in seen:
            return value
        seen.append(value)
    raise BadResponseError(
        "bad-answer", f"{_MOST_READINGS} readings of one list all differ; run the same command later"
    )
