"""Writing files so that the whole file appears, or nothing does."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from sbmlump.errors import Reason, SbmlumpError

__all__ = ["DiskFullError", "OutputError", "make_folder", "write_atomically"]


class OutputError(SbmlumpError):
    """A file cannot be written where it was asked for (exit code 2: another place would do)."""

    exit_code = 2


class DiskFullError(OutputError):
    """There is no room for the file (exit code 4: a limit)."""

    exit_code = 4


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_FOLDER: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, bring it to the disk, then rename it into place.

    A symbolic link at ``path`` stays; the file it points to is replaced. An existing file keeps its permissions.
    Whatever goes wrong, an existing file is untouched and nothing half-written is left.

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
        _write_beside_and_rename(target, data, mode)
    except OSError as error:
        raise _as_output_error(path, error) from error
    except ValueError as error:  # a NUL character in the name
        message = f"{str(path)!r} is not a file name: {error}; choose another output"
        raise OutputError(Reason("cannot-write", message)) from error


def make_folder(path: str | Path) -> Path:
    """Make the folder ``path`` and those above it, unless it is there.

    Raises
    ------
    OutputError
        Codes ``not-a-folder``, ``no-such-folder``, ``read-only``, ``cannot-write``.
    DiskFullError
        Code ``disk-full``.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        message = f"{path} is a file, not a folder; choose another output"
        raise OutputError(Reason("not-a-folder", message)) from error
    except OSError as error:
        raise _as_output_error(path, error) from error
    return folder


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


def _write_beside_and_rename(target: Path, data: bytes, mode: int | None) -> None:
    beside = target.with_name(f".sbmlump-{secrets.token_hex(8)}.part")
    # O_EXCL: never follow or reuse what somebody else put under this name; 0o666 leaves it to the umask
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
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
