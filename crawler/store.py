"""The store: a folder of models that survey and people can read without this package.

::

    STORE/store.json                    format of the store
    STORE/manifest.jsonl                what is known of each entry, see crawler.store
    STORE/BIOMD0000000012/BIOMD0000000012.xml     the model (a hard link to its object)
    STORE/objects/ab/abcdef…            the same bytes under their SHA-256
    STORE/tmp/                          files being written; never anything to read

A file is written under ``tmp``, brought to the disk, and renamed; then its line is added to the manifest. A crawl
killed at any moment leaves whole files and whole records, and at worst an object without a record.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Self

from crawler.content import SBML_SUFFIXES, plain_text, sha256
from crawler.errors import StoreError, busy_store, store_error

__all__ = [
    "FORMAT",
    "Store",
    "StoredModel",
    "can_be_id",
    "is_store",
    "list_models",
    "now",
    "open_store",
    "opened_file",
    "Manifest",
    "Record",
    "parse_line",
    "read_manifest",
    "Finding",
    "Inventory",
    "Verification",
    "inventory",
    "verify_store",
]


# -- the manifest ------------------------------------------------------------------------------------
# ``manifest.jsonl`` has one line for each thing that happened to an entry; the last line of an id counts. Lines are
# only ever added. A line cut in half (power failure, full disk) is one that did not happen: it is reported and passed
# over, and the next line begins on a new one.


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
        return plain_text(json.dumps(value, ensure_ascii=False)).encode() + b"\n"


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


# -- whole writes and a lock -------------------------------------------------------------------------


def _write_all(descriptor: int, data: bytes) -> None:
    """Write until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


_NO_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})


def _hold_lock(path: Path, wait: float) -> tuple[int, str | None]:
    """Hold the lock file of a store; the kernel frees it when the process ends, however it ends.

    Returns
    -------
    descriptor : int
    remark : str or None
        That the file system has no locks, so that it is not held.

    Raises
    ------
    StoreError
        Code ``store-busy``: somebody else held it for all of `wait` seconds.
    """
    import fcntl  # only where a store is used: the command line loads on systems that have none (Windows)

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            if time.monotonic() >= end:
                os.close(descriptor)
                raise busy_store(path.parent, f" (process {holder})" if holder else "", wait) from None
            time.sleep(0.1)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            where = f"the file system of {path.parent} has no locks ({error.strerror})"
            return descriptor, f"{where}: never run two crawls on this store at once"
        except BaseException:
            os.close(descriptor)
            raise
        else:
            with contextlib.suppress(OSError):  # the number is a courtesy
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor, None


# -- the store -----------------------------------------------------------------------------------------


FORMAT: Final = 1  # of the store; a reader refuses a larger one
_MARK: Final = "store.json"
_MANIFEST: Final = "manifest.jsonl"
_LOCK: Final = ".lock"
_OWN: Final = frozenset({_MARK, _MANIFEST, _LOCK, "objects", "tmp", "lost+found"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on the disk: id, file, and SHA-256 of the file (``None``: it cannot be read)."""

    id: str
    path: Path
    sha256: str | None


def is_store(folder: Path) -> bool:
    """Whether `folder` was made by a crawl."""
    return (folder / _MARK).is_file()


def list_models(folder: str | Path) -> list[StoredModel]:
    """All current SBML models of a store, or of a plain folder with SBML files, by ascending id.

    In a plain folder, files ending in ``.xml`` or ``.sbml`` at any depth are taken, and the id is the file's name
    without its ending (with its folders where two files have one name). Nothing is parsed.

    Raises
    ------
    StoreError
        There is no such folder, or the store is from a newer version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = (
            f"{folder} is a file; name its folder"
            if folder.exists()
            else f"there is no folder {folder}; check the path"
        )
        raise StoreError("no-such-folder", what)
    if is_store(folder):
        records = open_store(folder).records.values()
        by_path = {  # two sources may name one file
            record.path: StoredModel(record.id, folder / record.path, record.sha256)
            for record in records
            if record.sha256 and record.path and record.path.endswith(SBML_SUFFIXES)
        }
        models = list(by_path.values())
    else:
        models = _plain_models(folder)
    return sorted(models, key=lambda model: (model.id, model.path))


def _plain_models(folder: Path) -> list[StoredModel]:
    # a pipe or a link to nowhere is listed: whoever reads it says what is wrong with it
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in SBML_SUFFIXES and not path.is_dir()]
    stems = [path.stem for path in paths]
    twice = {stem for stem, count in Counter(stems).items() if count > 1}
    return [
        StoredModel(
            _as_text(path.relative_to(folder).with_suffix("") if path.stem in twice else path.stem),
            path,
            _digest(path),
        )
        for path in paths
    ]


def _as_text(name: str | Path) -> str:
    """A name with the bytes that are not UTF-8 spelled out, so that two of them do not become one."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def opened_file(path: Path) -> Iterator[BufferedReader]:
    """A regular file, to be read. It may be anything that somebody has linked into a folder.

    As ``sbmlump.files`` opens models: the crawler runs without sbmlump.

    Raises
    ------
    OSError
        Also for pipes and devices, and for what the system makes up as it is read (``/proc/kmsg``), which has no size:
        these may block, and need not end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a device, a pipe or a folder", os.fspath(path))
    except OSError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not status.st_size and file.read(1) != b"":
            raise OSError(errno.EINVAL, "it is no regular file with a size", os.fspath(path))
        yield file


def _digest(path: Path) -> str | None:
    try:
        with opened_file(path) as stream:  # in pieces: what lies there may be larger than the memory
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None  # whoever reads the model will say what is wrong with the file


def can_be_id(id: str) -> bool:
    """Whether an id can be the name of a folder in a store."""
    return bool(_NAME.fullmatch(id)) and id not in _OWN


def now() -> str:
    """The present moment in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def open_store(path: str | Path) -> Store:
    """A store to read from.

    Raises
    ------
    StoreError
        There is none, or it is from a newer version.
    """
    path = Path(path)
    if not path.exists():
        message = f"there is no store {path}; 'sbmlump crawl biomodels --store {path}' makes one"
        raise StoreError("no-such-store", message)
    if not is_store(path):
        raise StoreError("not-a-store", f"{path} is not a store of a crawl: it has no {_MARK}")
    _check_format(path)
    return Store(path)


def _check_format(path: Path) -> None:
    try:
        format = json.loads((path / _MARK).read_bytes())["format"]
    except OSError as error:
        raise store_error(path, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            "damaged-store",
            f'{path / _MARK} is damaged; write {{"format": {FORMAT}}} into it if the store is of this version',
        ) from error
    if not isinstance(format, int) or format > FORMAT:
        raise StoreError(
            "newer-store", f"the store {path} has format {format}, newer than the {FORMAT} known here; update sbmlump"
        )


class Store:
    """A store. Open it with :func:`open_store` to read, or as ``with Store.writable(path) as store`` to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest: Manifest = read_manifest(path / _MANIFEST)
        except OSError as error:
            raise store_error(path, error) from error
        self._records = dict(self.manifest.records)
        self._sources = {source for source, _ in self._records}
        self._lock = threading.Lock()
        self._locked: int | None = None
        self.remark: str | None = None
        """What has to be said of a store that was opened for writing."""

    @property
    def records(self) -> Mapping[tuple[str, str], Record]:
        """Newest record of each (source, id)."""
        return self._records

    def of(self, source: str) -> dict[str, Record]:
        """Newest record of each id of one repository."""
        return {record.id: record for record in self._records.values() if record.source == source}

    # -- opening for writing -------------------------------------------------------------------------

    @classmethod
    def writable(cls, path: str | Path, wait: float = 600.0) -> Self:
        """Make or open a store and hold its lock; waits for another crawl to end.

        Raises
        ------
        StoreError
            Codes ``read-only``, ``disk-full``, ``not-a-store``, ``newer-store``, ``store-busy``.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not is_store(path):
                foreign = sorted(item.name for item in path.iterdir() if item.name not in _OWN)
                if foreign:
                    raise StoreError(
                        "not-a-store",
                        f"{path} holds other things ({foreign[0]}) and is not a store; choose an empty or new folder",
                    )
            descriptor, remark = _hold_lock(path / _LOCK, wait)
        except OSError as error:
            raise store_error(path, error) from error
        try:
            return cls._prepare(path, descriptor, remark)
        except OSError as error:
            os.close(descriptor)
            raise store_error(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def _prepare(cls, path: Path, descriptor: int, remark: str | None) -> Self:
        (path / "objects").mkdir(exist_ok=True)
        (path / "tmp").mkdir(exist_ok=True)
        if is_store(path):
            _check_format(path)
        # of a crawl that was killed: we hold the lock, nobody writes there
        for leftover in (path / "tmp").iterdir() if remark is None else ():
            leftover.unlink()
        store = cls(path)
        store._locked, store.remark = descriptor, remark
        if not is_store(path):
            store._write(path / _MARK, json.dumps({"format": FORMAT, "made_by": "sbmlump crawl"}).encode() + b"\n")
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    # -- reading -------------------------------------------------------------------------------------

    def object_path(self, digest: str) -> Path:
        """Where the bytes of a SHA-256 are, if they are there."""
        return self.path / "objects" / digest[:2] / digest

    def bytes_of(self, digest: str | None) -> bytes | None:
        """Bytes of a SHA-256, rehashed; ``None`` if absent or damaged."""
        if digest is None:
            return None
        try:
            data = self.object_path(digest).read_bytes()
        except OSError:
            return None
        return data if sha256(data) == digest else None

    def intact(self, record: Record) -> bool:
        """Whether the file of a record is there with its size (nothing is read)."""
        if record.path is None or record.sha256 is None:
            return False
        try:
            return (self.path / record.path).stat().st_size == record.size and self.object_path(record.sha256).exists()
        except OSError:
            return False

    # -- writing -------------------------------------------------------------------------------------

    def put(self, record: Record, data: bytes, suffix: str) -> Record:
        """Store a verified file and its record; the record as written.

        Raises
        ------
        StoreError
            It could not be written; the store is as it was.
        """
        if not can_be_id(record.id):
            raise StoreError("bad-id", f"{record.id!r} cannot be the name of a folder in the store")
        digest = sha256(data)
        relative = self._place(record, digest, suffix)
        try:
            if self.bytes_of(digest) is None:
                self.object_path(digest).parent.mkdir(exist_ok=True)
                self._write(self.object_path(digest), data)
            self._link(self.object_path(digest), self.path / relative, data)
        except OSError as error:
            raise store_error(self.path, error) from error
        written = replace(record, path=relative, sha256=digest, size=len(data), reason=None, lasting=False)
        self.note(written)
        return written

    def _place(self, record: Record, digest: str, suffix: str) -> str:
        """Where the file goes: under its id, unless another source has another file of this id there."""
        with self._lock:
            others = [self._records.get((source, record.id)) for source in self._sources - {record.source}]
            own = self._records.get(record.key)
        claimed = {other.path: other.sha256 for other in others if other is not None}
        names = [f"{record.id}/{record.id}{suffix}", f"{record.id}/{record.id}.{record.source}{suffix}"]
        if own is not None and own.path in names:
            names.insert(0, own.path)
        return next(name for name in names if claimed.get(name, digest) == digest)

    def note(self, record: Record) -> None:
        """Add a record to the manifest.

        Raises
        ------
        StoreError
            It could not be written; the manifest is as it was.
        """
        with self._lock:
            try:
                self._append(record.line())
            except OSError as error:
                raise store_error(self.path, error) from error
            self._records[record.key] = record
            self._sources.add(record.source)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path / _MANIFEST, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                line = b"\n" + line  # the last line was cut; it stays, as a damaged one
            try:
                _write_all(descriptor, line)
                os.fsync(descriptor)
            except BaseException:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)

    def _beside(self) -> Path:
        """A name that nobody has, on the same file system."""
        return self.path / "tmp" / f"{secrets.token_hex(8)}.part"

    def _write(self, path: Path, data: bytes) -> None:
        """The whole file appears, or nothing does."""
        beside = self._beside()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            beside.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def _link(self, source: Path, target: Path, data: bytes) -> None:
        """Give an object its second name, in place of what had it before."""
        with contextlib.suppress(FileNotFoundError):
            if target.samefile(source):
                return
        target.parent.mkdir(exist_ok=True)
        beside = self._beside()
        try:
            os.link(source, beside)
        except OSError:  # a file system without hard links
            self._write(target, data)
            return
        beside.replace(target)


def _model_files(path: Path) -> Iterator[Path]:
    """All files below a store that stand for models: not manifest, objects or what is being written."""
    for item in sorted(path.iterdir()):
        if item.name not in _OWN and item.is_dir():
            yield from (file for file in sorted(item.iterdir()) if file.is_file())
        elif item.name not in _OWN:
            yield item


# -- rehashing a whole store, and counting what is in it ---------------------------------------------


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


def verify_store(
    store: Store, discard: bool = False, progress: Callable[[int, int], None] | None = None
) -> Verification:
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
    intact = bytes_read = 0
    for number, record in enumerate(records, 1):
        finding, size = _check(store, record)
        bytes_read += size
        if finding is None:
            intact += 1
        else:
            findings.append(finding)
            if discard:
                _discard(store, record)
        if progress is not None:
            progress(number, len(records))
    known = {store.path / record.path for record in records if record.path}
    findings += [
        Finding("foreign-file", None, f"{path} is not in the manifest; move it out of the store")
        for path in _model_files(store.path)
        if path not in known
    ]
    return Verification(len(records), intact, bytes_read, tuple(findings))


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
