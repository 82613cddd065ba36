"""Rehash a whole store and say what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crawler.content import sha256
from crawler.errors import store_error
from crawler.manifest import Record
from crawler.store import Store, iterate_files

__all__ = ["Finding", "Inventory", "Verification", "inventory", "verify"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. ``id`` is ``None`` where it concerns no record."""

    code: str
    id: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Records with a file, how many of these files are whole, bytes read, and every finding."""

    files: int
    whole: int
    bytes: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Counts of a store.

    Attributes
    ----------
    files : mapping of source to int
        Records with a file.
    reasons : mapping of code to int
        Records without one.
    bytes : int
    newest : str or None
        When the last file came.
    damaged_lines : tuple of int
    """

    files: dict[str, int]
    reasons: dict[str, int]
    bytes: int
    newest: str | None
    damaged_lines: tuple[int, ...]


def inventory(store: Store) -> Inventory:
    """Count what the manifest tells; no file is read."""
    records = list(store.records.values())
    held = [record for record in records if record.sha256]
    return Inventory(
        dict(Counter(record.source for record in held)),
        dict(Counter((record.reason or {}).get("code", "?") for record in records if not record.sha256)),
        sum(record.size or 0 for record in held),
        max((record.fetched for record in held), default=None),
        store.manifest.damaged,
    )


def verify(store: Store, discard: bool = False, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Rehash every file of the manifest, and look for files that are not in it.

    Parameters
    ----------
    store : Store
    discard : bool
        Remove damaged files, so that the next crawl brings them again (the store must be writable).
    progress : callable, optional
        Told the number done and in all.
    """
    findings = [_damaged_line(store.path, number) for number in store.manifest.damaged]
    records = [record for record in store.records.values() if record.sha256]
    whole = read = 0
    for number, record in enumerate(records, 1):
        finding, size = _check(store, record)
        read += size
        if finding is None:
            whole += 1
        else:
            findings.append(finding)
            if discard:
                _discard(store, record)
        if progress is not None:
            progress(number, len(records))
    known = {store.path / record.path for record in records if record.path}
    findings += [
        Finding("foreign-file", None, f"{path} is not in the manifest; move it out of the store")
        for path in iterate_files(store.path)
        if path not in known
    ]
    return Verification(len(records), whole, read, tuple(findings))


def _damaged_line(path: Path, number: int) -> Finding:
    return Finding(
        "damaged-line",
        None,
        f"line {number} of {path / 'manifest.jsonl'} is no whole record and was passed over; "
        "the next crawl asks for its entry again",
    )


def _check(store: Store, record: Record) -> tuple[Finding | None, int]:
    assert record.path is not None
    assert record.sha256 is not None
    path, advice = store.path / record.path, "the next crawl brings it again"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Finding("missing-file", record.id, f"{path} is missing; {advice}"), 0
    except OSError as error:
        raise store_error(store.path, error) from error
    if sha256(data) != record.sha256:
        advice = "'crawl verify --discard' removes it, and the next crawl brings it again"
        return Finding("changed-file", record.id, f"{path} is not the file that was fetched; {advice}"), len(data)
    if store.bytes_of(record.sha256) is None:
        what = f"the object of {path} is missing or damaged"
        return Finding("damaged-object", record.id, f"{what}; {advice}"), len(data)
    return None, len(data)


def _discard(store: Store, record: Record) -> None:
    assert record.path is not None
    assert record.sha256 is not None
    try:
        (store.path / record.path).unlink(missing_ok=True)
        if store.bytes_of(record.sha256) is None:
            store.object_path(record.sha256).unlink(missing_ok=True)
    except OSError as error:
        raise store_error(store.path, error) from error
