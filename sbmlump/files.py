"""Regular files read and written whole or not at all, locks, temporary folders."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gc
import hashlib
import importlib
import io
import lzma
import os
import posixpath
import re
import secrets
import shutil
import stat
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from os import PathLike
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, Any, BinaryIO, Final
from urllib.parse import unquote
from xml.parsers import expat

from sbmlump._version import __version__
from sbmlump.errors import InputError, Reason, SbmlumpError, UsageError, did_you_mean, near_matches, some_names
from sbmlump.remote import is_remote, read_remote

__all__ = [
    "DiskFullError",
    "collector_paused",
    "OutputError",
    "lock",
    "make_folder",
    "own_folder",
    "read_whole",
    "is_text_of_model",
    "refuse_output",
    "with_mark",
    "temporary_folder",
    "write_atomically",
    "MAX_BYTES",
    "NO_LOCKS",
    "SBML_SUFFIXES",
    "TEXT_FORMATS",
    "UNPACKING",
    "ModelFile",
    "UnpackLimits",
    "read_model_file",
    "unpacked",
]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection while millions of small objects are made that all stay: a third of the time of reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class OutputError(SbmlumpError):
    """A file cannot be written where it was asked for (exit code 2: another place would do)."""

    exit_code = 2


class DiskFullError(OutputError):
    """There is no room for the file (exit code 4: a limit)."""

    exit_code = 4


_NO_WAITING: Final[int] = getattr(os, "O_NONBLOCK", 0)  # POSIX
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_FOLDER: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


def make_folder(path: str | Path) -> Path:
    """Make a folder and those above it, if they are not there yet.

    Raises
    ------
    OutputError
        Codes ``not-a-folder``, ``read-only``, ``cannot-write``.
    DiskFullError
        Code ``disk-full``.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{error.filename or path} is a file where a folder is wanted; choose another name"
        raise OutputError(Reason("not-a-folder", message)) from error
    except OSError as error:
        raise _as_output_error(path, error) from error
    except ValueError as error:  # a NUL character in the name
        message = f"{str(path)!r} is not the name of a folder: {error}; choose another output"
        raise OutputError(Reason("cannot-write", message)) from error
    return Path(path)


def is_text_of_model(given: str | bytes) -> bool:
    """Whether a text that was given in place of a file's name is what stands in such a file: XML, or several lines."""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else given
    return text.lstrip().startswith("<") or "\n" in text.strip()


def read_whole(path: str | Path, limit: int, kind: str) -> bytes:
    """Content of a regular file.

    A pipe is refused, because it may never end and cannot be read a second time, and so is what the system makes up as
    it is read (``/proc/kmsg``), which has no size and may block.

    Parameters
    ----------
    path : str or Path
    limit : int
        Files that are larger are refused without being read.
    kind : str
        Kind of file that is wanted, for messages: ``SBML``.

    Raises
    ------
    InputError
        Codes ``no-such-file``, ``is-a-directory``, ``not-a-regular-file``, ``no-permission``, ``unreadable-file``,
        ``too-large``.
    """
    path = Path(path)
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise InputError(Reason("is-a-directory", f"{path} is a directory; name the {kind} file in it"))
        if not stat.S_ISREG(mode):
            message = f"{path} is a device or a pipe; save what it gives and name that {kind} file"
            raise InputError(Reason("not-a-regular-file", message))
        if status.st_size > limit:
            message = f"{path} has {status.st_size} bytes, more than the {limit >> 20} MB that are read"
            raise InputError(Reason("too-large", message))
        # it may be replaced by a pipe between the look and the opening, which is not to wait for a writer then
        with os.fdopen(os.open(path, os.O_RDONLY | _NO_WAITING | _BINARY), "rb") as stream:
            if status.st_size:
                return stream.read(limit + 1)
            if not _gives_nothing(stream):
                message = f"{path} is no regular file with a size; save what it gives and name that {kind} file"
                raise InputError(Reason("not-a-regular-file", message))
            return b""
    except FileNotFoundError:
        raise InputError(Reason("no-such-file", f"there is no file {path}; {_instead_of(path)}")) from None
    except PermissionError:
        raise InputError(Reason("no-permission", f"{path} may not be read by this user")) from None
    except (OSError, ValueError) as error:
        raise InputError(Reason("unreadable-file", f"{path} cannot be read: {error}")) from None


def _instead_of(path: Path) -> str:
    """What may have been meant by a file that is not there."""
    try:
        present = [other.name for other in path.parent.iterdir()]
    except OSError:
        return f"there is no folder {path.parent} either; check the path"
    near = near_matches(path.name, present, 2, likeness=0.8)
    short = re.fullmatch(r"(BIOMD|MODEL)(\d{1,10})", path.name, re.IGNORECASE)
    if short is not None and not near:
        return f"ids of BioModels have ten digits: {short[1].upper()}{int(short[2]):010d}"
    return did_you_mean([str(path.with_name(name)) for name in near], "check the path")


def _gives_nothing(stream: BinaryIO) -> bool:
    """Whether a file that says to be empty is."""
    try:
        return stream.read(1) == b""
    except BlockingIOError:
        return False


def write_atomically(path: str | Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` beside ``path``, bring it to the disk, then rename it into place.

    A symbolic link at ``path`` stays; the file it points to is replaced. An existing file keeps its permissions.
    Whatever goes wrong, an existing file is untouched and nothing half-written is left.

    Parameters
    ----------
    path : str or Path
    data : bytes
    durable : bool
        Wait until the disk has it. Without, a power failure may undo the last files, which is good enough for
        hundreds of pages that can be made again.

    Raises
    ------
    OutputError
        Codes ``is-a-directory``, ``not-a-regular-file``, ``no-such-folder``, ``read-only``, ``cannot-write``.
    DiskFullError
        Code ``disk-full``.
    """
    try:
        # the temporary file must stand beside the file that is replaced, not beside a link to it
        target = Path(os.path.realpath(path))
        mode = _mode_of_existing(path, target)
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        _write_beside_and_rename(target, data, mode, durable)
    except OSError as error:
        raise _as_output_error(path, error) from error
    except ValueError as error:  # a NUL character in the name
        message = f"{str(path)!r} is not a file name: {error}; choose another output"
        raise OutputError(Reason("cannot-write", message)) from error


SBML_SUFFIXES: Final = (".xml", ".sbml")
"""Names of SBML files end so."""
TEXT_FORMATS: Final[Mapping[str, bytes]] = MappingProxyType({".ode": b"begin", ".net": b"begin", ".ant": b""})
"""Suffixes of models in other formats, all of them text, each with a word that stands at the head of such a file."""

_COMMENTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        ".xml": ("<!-- ", " -->"),
        ".sbml": ("<!-- ", " -->"),
        ".ode": ("// ", ""),
        ".ant": ("// ", ""),
        ".tex": ("% ", ""),
        ".yaml": ("# ", ""),
    }
)
_CREATED: Final = "Created by sbmlump"
_HEAD: Final = 1 << 16  # bytes of an output in which a mark of ours stands


def with_mark(data: bytes, suffix: str) -> bytes:
    """A text with a comment that names the program and its version, as COPASI and libAntimony write one.

    By it an output is known as one that may be replaced. Formats without comments (tables, archives) stay as they are.
    """
    if suffix not in _COMMENTS:
        return data
    opening, closing = _COMMENTS[suffix]
    comment = f"{opening}{_CREATED} {__version__}{closing}\n".encode()
    place = data.index(b"\n") + 1 if data.startswith(b"<?xml") else 0  # a declaration stands first
    return data[:place] + comment + data[place:]


def refuse_output(target: str | Path, source: str | Path | None, *, force: bool) -> None:
    """Refuse to write over the input, whatever it is called, or over a file of the user's.

    Parameters
    ----------
    target : str or Path
    source : str or Path, optional
        The input.
    force : bool
        Whether a file that was not written by this program may be replaced.

    Raises
    ------
    UsageError
        ``output-is-input``; ``output-exists``.
    """
    place = Path(target)
    if not place.is_file():
        return
    if source is not None and any(read.exists() and place.samefile(read) for read in _files_of(source)):
        message = f"the output {target} is the model that is read; choose another name with -o"
        raise UsageError(Reason("output-is-input", message))
    if not force and not _is_own_output(place):
        message = f"{target} exists and was not written by sbmlump; choose another name, or replace it with --force"
        raise UsageError(Reason("output-exists", message))


def refuse_original(target: str | Path, sha256: str | None) -> None:
    """Refuse to write over a file with a digest: the one that the original was read from, or a copy of it.

    Raises
    ------
    UsageError
        ``output-is-input``.
    """
    place = Path(target)
    if sha256 is None or not place.is_file():
        return
    with place.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found == sha256:
        raise UsageError(Reason("output-is-input", f"{target} is the model that was read; choose another name"))


def _files_of(source: str | Path) -> tuple[Path, ...]:
    """The files that an input may be: itself, or the archive before the name of a member; none of what is elsewhere."""
    if is_remote(str(source)):
        return ()
    archive, mark, _ = str(source).partition("#")
    return (Path(source), Path(archive)) if mark else (Path(source),)


def _is_own_output(path: Path) -> bool:
    """Whether a file is one that this program wrote (or is empty)."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                return b"sbmlump" in archive.open("metadata.rdf").read(_HEAD)
        except (KeyError, *_DAMAGED):  # no archive of ours can be read so little: it is the user's
            return False
    table = head.startswith(b"lump,") and path.suffix.lower() == ".csv"
    return not head or table or _CREATED.encode() in head or b"https://sbmlump.github.io/ns/" in head


def _mode_of_existing(path: str | Path, target: Path) -> int | None:
    """Permission bits of the file to replace; ``None`` if there is none yet."""
    try:
        found = target.stat().st_mode
    except FileNotFoundError:
        if os.fspath(path).endswith(os.sep):  # "folder/" names a folder, not a file
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
        return None
    if stat.S_ISDIR(found):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found):
        message = f"{path} is a device or a pipe, and only whole regular files are written; choose another output"
        raise OutputError(Reason("not-a-regular-file", message))
    return stat.S_IMODE(found)


def _write_beside_and_rename(target: Path, data: bytes, mode: int | None, durable: bool) -> None:
    beside = target.with_name(f".sbmlump-{secrets.token_hex(8)}.part")
    # O_EXCL: never follow or reuse what somebody else put under this name; 0o666 leaves it to the umask
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
    if durable:
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to the disk, where the platform can (POSIX)."""
    if os.name != "posix":
        return
    # the file is complete by now; a file system that cannot sync a folder is no reason to fail
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _as_output_error(path: str | Path, error: OSError) -> OutputError:
    number = error.errno
    if number in _FULL:
        message = f"no room on the disk for {path}; free some or choose another output"
        return DiskFullError(Reason("disk-full", message))
    if number == errno.EISDIR:
        message = f"{path} is a folder; give the name of a file in it"
        return OutputError(Reason("is-a-directory", message))
    if number in _READ_ONLY:
        message = f"no permission to write {path} ({error.strerror}); choose another output"
        return OutputError(Reason("read-only", message))
    if number in _NO_FOLDER:
        message = f"the folder of {path} does not exist; create it or choose another output"
        return OutputError(Reason("no-such-folder", message))
    message = f"{path} cannot be written ({error.strerror}); choose another output"
    return OutputError(Reason("cannot-write", message))


# -- locks -------------------------------------------------------------------------------------------

NO_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
"""What a file system that has no locks answers."""


def lock(descriptor: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file; the system frees it when it is closed or the process ends, however it ends.

    Parameters
    ----------
    descriptor : int
    shared : bool
        Others may hold it, too, if they share it (POSIX; Windows knows exclusive locks only).
    wait : bool
        Wait until it is free.

    Returns
    -------
    bool
        False if somebody else holds it.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(descriptor, wait)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_on_windows(descriptor: int, wait: bool) -> bool:
    msvcrt = importlib.import_module("msvcrt")  # not in the library of other systems
    os.lseek(descriptor, 0, os.SEEK_SET)
    while True:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            if not wait:
                return False  # LK_LOCK gives up after ten tries of a second
        else:
            return True


# -- temporary folders -------------------------------------------------------------------------------

_PREFIX: Final = "sbmlump-run-"
_MAKING: Final = threading.Lock()
_LAST: Final = -1000  # multiprocessing removes its folder at -100


@dataclass(frozen=True, slots=True)
class _Own:
    """The folder in which a process keeps all its temporary files, and the lock that says that it lives."""

    process: int
    path: Path
    descriptor: int | None


_OWN: Final[dict[tuple[int, Path | None], _Own]] = {}  # by the number of the process and the place


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; after a process that was killed, it is gone when the next one makes one.

    Raises
    ------
    OutputError
        Code ``no-temporary-folder``.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=own_folder()))
    except OSError as error:
        raise _no_room_for_temporary(error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own_folder(base: Path | None = None) -> Path:
    """The folder for temporary files of this process. It is removed when the process ends.

    Of processes that could not do so, because they were killed, whoever makes a folder here next removes them.

    Parameters
    ----------
    base : Path, optional
        Where it is made, in place of what ``TMPDIR`` names.

    Raises
    ------
    OutputError
        Code ``no-temporary-folder``.
    """
    from multiprocessing.util import Finalize

    process = os.getpid()
    with _MAKING:
        own = _OWN.get((process, base))  # a copy of a process makes its own
        if own is None or not own.path.is_dir():
            try:
                place = base or Path(tempfile.gettempdir())
                _remove_abandoned(place)
                own = _OWN[process, base] = _make_own(place)
            except OSError as error:
                raise _no_room_for_temporary(error) from error
            # not atexit: multiprocessing puts a folder of its own in this one, which it removes first
            Finalize(None, _remove, args=(own,), exitpriority=_LAST)
        return own.path


def _no_room_for_temporary(error: OSError) -> OutputError:
    message = f"no folder for temporary files can be made ({error.strerror or error}); set TMPDIR to one with room"
    return OutputError(Reason("no-temporary-folder", message))


def _make_own(base: Path) -> _Own:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        if os.name != "posix":
            return _Own(os.getpid(), path, None)  # open folders cannot be locked there
        descriptor = os.open(path, os.O_RDONLY)
        try:
            lock(descriptor)
        except OSError as error:
            if error.errno not in NO_LOCKS:  # where there are none, nobody takes a folder for abandoned either
                os.close(descriptor)
                raise
        if path.is_dir():
            return _Own(os.getpid(), path, descriptor)
        os.close(descriptor)  # taken for abandoned in the moment between its making and its lock


def _remove(own: _Own) -> None:
    """At the end of the process that made the folder, not at that of its copies."""
    if own.process == os.getpid():
        shutil.rmtree(own.path, ignore_errors=True)


def _remove_abandoned(base: Path) -> None:
    """Remove folders of processes that live no more: their locks are free."""
    if os.name != "posix":
        return
    for path in base.glob(f"{_PREFIX}*"):
        try:
            # never through a link, and only what is ours
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and lock(descriptor, wait=False):
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # a file system without locks: nobody can tell whether the process lives
        finally:
            os.close(descriptor)


# -- The bytes of a model wherever it lies ---------------------------------------------------------

# The bytes of a model wherever it lies: a file, a compressed file, a member of an archive, standard input.
#
# Every command takes this door. What a file is follows from its first bytes, not from its name: a ``.omex`` that is
# called ``.xml`` is opened as the archive that it is. Nothing is ever unpacked to the disk, and what is unpacked in
# memory is bounded, so names of members and bombs do no harm.


MAX_BYTES: Final = 256 * 1024 * 1024
"""Of a model, as it is stored and as it is when unpacked: five times the largest published one."""


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How far archives and compressed files are unpacked.

    Attributes
    ----------
    ratio : int
        Times its packed size that a file may grow; generated networks reach 100, bombs a thousand and more.
    unquestioned : int
        Bytes up to which a file may grow whatever its packed size.
    layers : int
        Of packing: a compressed file in an archive that is compressed.
    members : int
        Of an archive; a COMBINE archive has tens.
    head : int
        Bytes in which an SBML file says that it is one.
    piece : int
        Bytes unpacked at a time, after which the limits are looked at.
    shown : int
        Members that a message lists.
    """

    ratio: int = 300
    unquestioned: int = 16 << 20
    layers: int = 3
    members: int = 20_000
    head: int = 4096
    piece: int = 1 << 20
    shown: int = 12


UNPACKING: Final = UnpackLimits()
_COPY: Final = "_with_amounts"  # what sbmlump.sbml.archive calls the copy of a model

_GZIP, _BZIP2, _ZIP = b"\x1f\x8b", b"BZh", b"PK\x03\x04"
_PACKED: Final = (".gz", ".bz2", ".zip", ".omex", ".sedx", ".sbex")
_MANIFEST: Final = "manifest.xml"
#: What a manifest calls an SBML file: an identifier of the specification (of any level), or a media type.
_SBML_FORMATS: Final = ("combine.specifications/sbml", "combine.specifications:sbml", "application/sbml+xml")
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)
"""What unpacking raises: damaged data, passwords (RuntimeError), methods that are not known (NotImplementedError)."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as bytes.

    Attributes
    ----------
    data : bytes
        Unpacked.
    name : str
        For messages: ``model.xml``, ``archive.omex#model.xml``.
    suffix : str
        Of the innermost name, in lower case; it tells an ``.ode`` file from SBML.
    folder : Path or None
        Where files that the model names may lie; ``None`` for members of archives and standard input.
    """

    data: bytes
    name: str
    suffix: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class _Content:
    """An entry of an archive's manifest."""

    location: str
    format: str
    master: bool


def read_model_file(path: str | Path, kind: str = "SBML") -> ModelFile:
    """Read the model at ``path``.

    Parameters
    ----------
    path : str or Path
        A file (also ``.gz``, ``.bz2``, ``.zip``, ``.omex``), ``archive#member``, or ``-`` for standard input; an https
        address of such a file, or an id of BioModels (see :mod:`sbmlump.remote`).
    kind : str
        Kind of file that is wanted, for messages.

    Raises
    ------
    InputError
        Codes of :func:`~sbmlump.files.read_whole`; ``unreadable-file`` for a damaged archive; ``too-large`` for what
        is larger than :data:`MAX_BYTES` when it is unpacked; ``no-model`` and ``several-models`` for archives that do
        not hold just one, with a list of what they hold; ``no-such-file`` for what no server has.
    UsageError, NotFetchedError
        As :func:`~sbmlump.remote.read_remote`, for what lies elsewhere.
    """
    text = _name_of(path)
    if is_text_of_model(text):
        message = "this is the text of a model, not the name of a file; write it to a file and name that"
        raise InputError(Reason("no-such-file", message))
    if text == "-":
        return _unpacked(ModelFile(_standard_input(), "standard input", "", None), None)
    if is_remote(text):
        found = read_remote(text, MAX_BYTES)
        suffix = PurePosixPath(found.name).suffix.lower()
        return _unpacked(ModelFile(found.data, found.name, suffix, found.folder), found.member)
    file, member = Path(text), None
    if "#" in text and not file.exists():
        outer, _, inner = text.partition("#")
        if Path(outer).is_file():
            file, member = Path(outer), inner
    data = read_whole(file, MAX_BYTES, kind)
    return _unpacked(ModelFile(data, file.name, file.suffix.lower(), file.parent), member)


def _name_of(given: object) -> str:
    """The name of a file as a text; what is given may come from Python, and be anything."""
    if isinstance(given, str | PathLike):
        return str(given)
    message = f"the name of a file is wanted, not of type {type(given).__name__}"
    if hasattr(given, "write") and hasattr(given, "certificate"):
        message += "; a reduction is written by its write(file)"
    raise UsageError(Reason("not-a-file", message))


@cache
def _standard_input() -> bytes:
    """All of standard input, which can be read once; a command may need it twice."""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(_too_large("standard input"))
    return data


def unpacked(data: bytes, path: Path) -> ModelFile:
    """The model in what was read of the file at ``path``: as it is, or unpacked.

    Raises
    ------
    InputError
        As :func:`read_model_file` where the bytes are there.
    """
    return _unpacked(ModelFile(data, path.name, path.suffix.lower(), path.parent), None)


def _unpacked(file: ModelFile, member: str | None) -> ModelFile:
    for _ in range(UNPACKING.layers):
        if file.data.startswith(_ZIP):
            file, member = _from_zip(file, member), None
            continue
        openers: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = ((_GZIP, _gunzip), (_BZIP2, bz2.BZ2File))
        opener = next((each for magic, each in openers if file.data.startswith(magic)), None)
        if opener is None:
            break
        inner = PurePosixPath(file.name.rpartition("#")[2]).stem if file.suffix in _PACKED else file.name
        try:
            with opener(io.BytesIO(file.data)) as stream:
                data = _bounded(stream, len(file.data), file.name)
        except _DAMAGED as error:
            raise InputError(_damaged(file.name, error)) from None
        file = ModelFile(data, file.name, PurePosixPath(inner).suffix.lower(), file.folder)
    if member is not None:
        text = f"{file.name} is not an archive, so it has no member {_shown(member)!r}; name the file alone"
        raise InputError(Reason("no-such-file", text))
    return file


def _gunzip(stream: IO[bytes]) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=stream)


def _bounded(stream: IO[bytes], packed: int, name: str) -> bytes:
    """All that ``stream`` gives, in pieces, so that a bomb is noticed before it fills the memory."""
    limit = min(MAX_BYTES, max(UNPACKING.unquestioned, UNPACKING.ratio * packed))
    pieces: list[bytes] = []
    total = 0
    while piece := stream.read(UNPACKING.piece):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise InputError(_too_large(name))
    return b"".join(pieces)


def _too_large(name: str) -> Reason:
    text = f"{name} unpacks to more than is read ({MAX_BYTES >> 20} MB, and {UNPACKING.ratio} times its packed size)"
    return Reason("too-large", f"{text}; unpack it, and reduce or split the model")


def _damaged(name: str, error: BaseException) -> Reason:
    why = _shown(str(error)) or type(error).__name__
    return Reason(
        "unreadable-file", f"{name} cannot be unpacked: {why}; fetch it again, or unpack it and name the file"
    )


# -- archives ----------------------------------------------------------------------------------------


def _from_zip(file: ModelFile, member: str | None) -> ModelFile:
    """The model in a zip or COMBINE archive: the member asked for, or the only one, or the master."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            members = {_plain(info.filename): info for info in archive.infolist() if not info.is_dir()}
            if len(members) > UNPACKING.members:
                text = f"{file.name} holds {len(members)} files, more than the {UNPACKING.members} that are looked at"
                raise InputError(Reason("too-large", text))

            def content(name: str) -> bytes:
                info = members[name]
                with archive.open(info) as stream:
                    return _bounded(stream, info.compress_size, f"{file.name}#{_shown(name)}")

            if member is None:
                chosen = _only_model(file.name, list(members), content, lambda name: _head(archive, members[name]))
            else:
                chosen = _plain(member)
                if chosen not in members:
                    text = f"{file.name} has no member {_shown(member)!r}; it holds {_listed(list(members))}"
                    raise InputError(Reason("no-such-file", text))
            suffix = PurePosixPath(chosen).suffix.lower()
            return ModelFile(content(chosen), f"{file.name}#{_shown(chosen)}", suffix, None)
    except _DAMAGED as error:
        raise InputError(_damaged(file.name, error)) from None


def _only_model(
    archive: str, names: Sequence[str], content: Callable[[str], bytes], head: Callable[[str], bytes]
) -> str:
    stated = [_located(one, names) for one in (_contents(content(_MANIFEST)) if _MANIFEST in names else [])]
    stated = [one for one in stated if one.location in names]
    models = [one.location for one in stated if any(word in one.format for word in _SBML_FORMATS)]
    masters = [one.location for one in stated if one.master]
    chosen = [name for name in masters if name in models]
    # a manifest may call its master XML
    chosen = chosen or [name for name in masters if _looks_like_sbml(name, head)]
    chosen = chosen or [name for name in masters if _looks_like_text_model(name, head)] or models
    if not chosen:  # no manifest, or one that does not say
        members = [name for name in names if name != _MANIFEST and not name.startswith("__MACOSX/")]
        chosen = [name for name in members if _looks_like_sbml(name, head)]
        chosen = chosen or [name for name in members if _looks_like_text_model(name, head)]
    # the archives that sbmlump writes may hold a copy for the experiment, beside the model itself
    copies = {PurePosixPath(name).stem + _COPY for name in chosen}
    chosen = [name for name in chosen if PurePosixPath(name).stem not in copies]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        kinds = ", ".join(TEXT_FORMATS)
        text = f"{archive} is an archive without a model (SBML, {kinds}); it holds {_listed(names)}"
        raise InputError(Reason("no-model", text))
    example = f"{archive}#{_shown(chosen[0])}"
    text = f"{archive} is an archive of {len(chosen)} models: {_listed(chosen)}; name one, as {example}"
    raise InputError(Reason("several-models", text))


def _located(content: _Content, names: Sequence[str]) -> _Content:
    """The entry with the name of the member that it means: a location may be written as a URL, with ``%20``."""
    decoded = _plain(unquote(content.location))
    return content if content.location in names else replace(content, location=decoded)


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as stream:
        return stream.read(UNPACKING.head)


_SBML_ELEMENT: Final = re.compile(rb"<(?:[\w.-]+:)?sbml[\s>/]")


def _looks_like_sbml(name: str, head: Callable[[str], bytes]) -> bool:
    suffix, compressed = _suffix(name)
    if compressed:
        return suffix in SBML_SUFFIXES
    # as an element, not as a word: SED-ML names the language urn:sedml:language:sbml
    return suffix not in TEXT_FORMATS and _SBML_ELEMENT.search(head(name).replace(b"\0", b"")) is not None


def _looks_like_text_model(name: str, head: Callable[[str], bytes]) -> bool:
    suffix, compressed = _suffix(name)
    return suffix in TEXT_FORMATS and (compressed or TEXT_FORMATS[suffix] in head(name))


def _suffix(name: str) -> tuple[str, bool]:
    """Of a member, that below ``.gz`` or ``.bz2``, and whether there is such a one."""
    path = PurePosixPath(name.lower())
    compressed = path.suffix in (".gz", ".bz2")
    return PurePosixPath(path.stem).suffix if compressed else path.suffix, compressed


def _contents(manifest: bytes) -> list[_Content]:
    """Entries of a manifest; none where it is not XML or has a DOCTYPE."""
    found: list[_Content] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(" ")[2] == "content" and "location" in attributes:
            location, kind = _plain(attributes["location"]), attributes.get("format", "")
            found.append(_Content(location, kind, attributes.get("master", "").strip() in ("true", "1")))

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        parser.Parse(manifest, True)
    except (expat.ExpatError, LookupError, ValueError):
        return []
    return found


def _no_doctype(*_: object) -> None:
    raise ValueError("a manifest has no DOCTYPE")


def _plain(location: str) -> str:
    """A location as archives and manifests agree on: ``./a//b.xml`` is ``a/b.xml``."""
    return posixpath.normpath(location.replace("\\", "/")).lstrip("/")


def _listed(names: Sequence[str]) -> str:
    return some_names([_shown(name) for name in names], UNPACKING.shown) or "nothing"


def _shown(text: str) -> str:
    """Text from a file for a message: one line, nothing that a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return plain if len(plain) <= 120 else plain[:119] + "…"
