"""Reading whole regular files, and writing files so that the whole file appears, or nothing does."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, Final

from sbmlump.errors import InputError, Reason, SbmlumpError

__all__ = ["DiskFullError", "OutputError", "make_folder", "read_whole", "write_atomically"]


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
        message = f"{error.filename or path} is a file, and {path} was to be a folder; choose another name"
        raise OutputError(Reason("not-a-folder", message)) from error
    except OSError as error:
        raise _as_output_error(path, error) from error
    except ValueError as error:  # a NUL character in the name
        message = f"{str(path)!r} is not the name of a folder: {error}; choose another output"
        raise OutputError(Reason("cannot-write", message)) from error
    return Path(path)


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
        raise InputError(Reason("no-such-file", f"there is no file {path}")) from None
    except PermissionError:
        raise InputError(Reason("no-permission", f"{path} may not be read by this user")) from None
    except (OSError, ValueError) as error:
        raise InputError(Reason("unreadable-file", f"{path} cannot be read: {error}")) from None


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
