"""Decide what to do, from the catalogue and from what the store has. Nothing here touches disk or network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crawler.manifest import Record
from crawler.repository import CatalogueEntry, Selection

__all__ = ["CrawlPlan", "make_plan"]

# Below this a bulk zip saves too few requests to be worth its size.
_FEW: Final = 5


@dataclass(frozen=True, slots=True)
class CrawlPlan:
    """What a crawl will do.

    Attributes
    ----------
    keep : tuple of Entry
        In the store, and nothing says they changed; no request is made for them.
    refused : tuple of Record
        Known not to be models, and nothing says they changed.
    ask : tuple of Entry
        In the store, but they may have changed: asked for conditionally.
    batches : tuple of tuples of Entry
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
    wish: Selection,
    bulk_size: int = 0,
) -> CrawlPlan:
    """Compare the catalogue with the store.

    Parameters
    ----------
    entries : sequence of Entry
        What is wanted.
    records : mapping of id to Record
        The store's newest record of each.
    intact : collection of str
        Ids whose file is where it should be, with the right size.
    wish : Wish
    bulk_size : int
        Most entries of one bulk download; 0 if the repository has none.
    """
    keep: list[CatalogueEntry] = []
    refused: list[Record] = []
    ask: list[CatalogueEntry] = []
    missing: list[CatalogueEntry] = []
    for entry in entries:
        record = records.get(entry.id)
        same = record is not None and entry.modified is not None and record.modified == entry.modified
        if record is not None and record.sha256 is not None and entry.id in intact:
            (keep if same and not wish.recheck else ask).append(entry)
        elif record is not None and record.reason is not None and record.lasting and same and not wish.recheck:
            refused.append(record)
        else:
            missing.append(entry)
    size = bulk_size or 100
    listed = {entry.id for entry in entries}
    gone = sorted(id for id, record in records.items() if record.sha256 and id not in listed) if wish.whole else ()
    return CrawlPlan(
        tuple(keep),
        tuple(refused),
        tuple(ask),
        tuple(_batches(missing, size)),
        bulk_size > 0 and len(missing) >= _FEW,
        tuple(gone),
    )


def _batches(entries: Sequence[CatalogueEntry], size: int) -> Iterator[tuple[CatalogueEntry, ...]]:
    for start in range(0, len(entries), size):
        yield tuple(entries[start : start + size])
