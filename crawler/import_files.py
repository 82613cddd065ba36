"""Bring a folder or an archive of SBML files into a store, for those without a network."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from crawler.content import Archive, ArchiveLimits, ContentProblem, is_archive, sbml_in, sha256
from crawler.errors import ArchiveError, SelectionError
from crawler.fetch import CrawlSummary, Miss
from crawler.store import Record, Store, can_be_id, now

__all__ = ["SOURCE", "import_files"]


SOURCE: Final = "import"
_MODEL: Final = (".xml", ".sbml", ".omex")
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
        content = read()
        data = content if isinstance(content, ContentProblem) else sbml_in(content, name)
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


def _record(id: str, name: str, reason: dict[str, str] | None) -> Record:
    return Record(SOURCE, id, now(), file=PurePosixPath(name).name, reason=reason, lasting=reason is not None)


def _files(origin: Path) -> list[tuple[str, Callable[[], bytes | ContentProblem]]]:
    """Name and reader of each file that may hold a model, in order."""
    if origin.is_dir():
        paths = sorted(path for path in origin.rglob("*") if path.suffix.lower() in _MODEL and path.is_file())
        return [(path.relative_to(origin).as_posix(), _reader(path)) for path in paths]
    try:
        data = origin.read_bytes()
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
            yield name, lambda name=name: _member(archive, name)  # type: ignore[misc]


def _member(archive: Archive, name: str) -> bytes | ContentProblem:
    try:
        return archive.read(name)
    except ArchiveError as error:
        return ContentProblem(error.code, error.message)


def _reader(path: Path, most: int = ArchiveLimits().member_bytes) -> Callable[[], bytes | ContentProblem]:
    def read() -> bytes | ContentProblem:
        try:
            if path.stat().st_size > most:
                return ContentProblem("too-large", f"{path} has more than {most >> 20} MB")
            return path.read_bytes()
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
    return f"{plain or 'model'}-{sha256(wanted.encode())[:8]}"
