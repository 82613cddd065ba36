"""``manifest.jsonl``: one line for each thing that happened to an entry; the last line of an id counts.

Lines are only ever added. A line cut in half (power failure, full disk) is one that did not happen: it is told and
passed over, and the next line begins on a new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["Manifest", "Record", "parse_line", "read_manifest"]

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = {"size": "bytes"}  # a field of a class cannot be called as a type its other fields have
_TEXT: Final = ("revision", "name", "url", "file", "path", "sha256", "licence", "modified", "etag")


@dataclass(frozen=True, slots=True)
class Record:
    """One line.

    Attributes
    ----------
    source, id : str
        Repository and id there; together the key.
    revision, name, url, file : str or None
        As the repository says; ``file`` is the name it has there.
    path : str or None
        The file, relative to the store; ``None`` if there is none.
    sha256 : str or None
    size : int or None
        Bytes; ``bytes`` in the file.
    fetched : str
        When, in UTC, ISO 8601.
    licence : str or None
    modified, etag : str or None
        What tells the next crawl whether the entry has changed.
    reason : mapping or None
        ``code`` and ``message`` if there is no file, else ``None``.
    lasting : bool
        Asking again is of no use as long as the entry does not change.
    detail : mapping
        What else the catalogue said.
    """

    source: str
    id: str
    fetched: str
    revision: str | None = None
    name: str | None = None
    url: str | None = None
    file: str | None = None
    path: str | None = None
    sha256: str | None = None
    size: int | None = None
    licence: str | None = None
    modified: str | None = None
    etag: str | None = None
    reason: Mapping[str, str] | None = None
    lasting: bool = False
    detail: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Repository and id."""
        return self.source, self.id

    def line(self) -> bytes:
        """One line of JSON, newline included."""
        value = {_KEYS.get(key, key): item for key, item in asdict(self).items()}
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The newest record of each key, and the numbers of lines that could not be read."""

    records: Mapping[tuple[str, str], Record]
    damaged: tuple[int, ...] = ()
    cut: bool = False


def parse_line(text: bytes) -> Record:
    """Read a line.

    Raises
    ------
    ValueError
        It is not a whole record.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    names = {key: _KEYS.get(key, key) for key in Record.__dataclass_fields__}
    known: dict[str, Any] = {key: value[name] for key, name in names.items() if name in value}
    for key in ("source", "id", "fetched"):
        if not isinstance(known.get(key), str):
            raise TypeError(f"no {key}")
    for key in _TEXT:
        if not isinstance(known.get(key), str | None):
            raise TypeError(f"{key} is not text")
    digest, path = known.get("sha256"), known.get("path")
    if digest is not None and not _SHA256.fullmatch(digest):
        raise ValueError("sha256 is none")
    if not isinstance(known.get("size"), int | None):
        raise TypeError("bytes is no number")
    if digest is not None and (known.get("size") is None or not path):
        raise ValueError("a file without size or path")
    if path is not None and (path.startswith("/") or ".." in path.split("/")):
        raise ValueError("the path leads out of the store")
    if not isinstance(known.get("reason"), dict | None) or not isinstance(known.get("detail", {}), dict):
        raise TypeError("reason or detail is no object")
    return Record(**known)


def read_manifest(path: Path) -> Manifest:
    """All records; an absent file is an empty one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Manifest({})
    records: dict[tuple[str, str], Record] = {}
    damaged: list[int] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = parse_line(line)
        except (ValueError, TypeError):
            damaged.append(number)
            continue
        records[record.key] = record
    return Manifest(records, tuple(damaged), cut=bool(data) and not data.endswith(b"\n"))
