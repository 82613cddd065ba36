"""What can go wrong with a crawl, as one sentence with a stable code.

The crawler knows nothing of :mod:`sbmlump`; the command line turns these errors into its own.
"""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar, Final
from xml.parsers import expat

__all__ = [
    "ODD_DATA",
    "ArchiveError",
    "BadResponseError",
    "CrawlError",
    "GivenUpError",
    "NotFoundError",
    "ServiceError",
    "StoppedError",
    "StoreError",
    "SelectionError",
    "busy_store",
    "store_error",
]


class CrawlError(Exception):
    """Base of the errors this package raises on purpose.

    Attributes
    ----------
    code : str
        Stable; listed in ``docs/crawler.md``.
    message : str
        One sentence: fact, place, next step.
    exit_code : int
        What a command line should end with: 2 wrong usage, 3 unreadable input, 4 a limit, 70 a fault.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class SelectionError(CrawlError):
    """What was asked for makes no sense (exit code 2)."""

    exit_code = 2


class StoreError(CrawlError):
    """The store cannot be used as asked (exit code 2; 4 when it is full or busy)."""

    exit_code = 2


class _StoreLimitError(StoreError):
    exit_code = 4


class ServiceError(CrawlError):
    """The service did not answer usefully, after all tries (exit code 4: try again later)."""


class GivenUpError(ServiceError):
    """No useful answer after all tries; another run may have more luck."""


class NotFoundError(ServiceError):
    """The service says 404 (or 410)."""


class BadResponseError(CrawlError):
    """An answer that cannot be what was asked for: HTML in place of JSON, a cut file. Asking again may help."""


class ArchiveError(CrawlError):
    """An archive that is broken or dangerous (exit code 3)."""

    exit_code = 3


class StoppedError(CrawlError):
    """The crawl was told to stop."""

    exit_code = 130


ODD_DATA: Final = (
    ValueError,  # also text that is not the encoding it says, and numbers too long to be read
    LookupError,  # also encodings that nobody knows
    ArithmeticError,
    EOFError,
    RuntimeError,  # also methods of packing that are not known, and nesting without end
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    expat.ExpatError,
)
"""What libraries raise on data that is not what it says. An entry that brings such data is one without a file."""


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def store_error(path: Path, error: OSError) -> StoreError:
    """The sentence for an error of the file system below `path`."""
    if error.errno in _FULL:
        return _StoreLimitError(
            "disk-full",
            f"no room on the disk for the store {path}; what it holds is whole: free some space and run the same "
            "command again",
        )
    if error.errno in _READ_ONLY:
        return StoreError(
            "read-only", f"no permission to write the store {path} ({error.strerror}); choose another one with --store"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError("not-a-store", f"{path} is not a folder; choose another one with --store")
    place = f" at {error.filename}" if error.filename else ""
    return StoreError("store-error", f"the store {path} cannot be used ({error.strerror or error}{place})")


def busy_store(path: Path, holder: str, seconds: float) -> StoreError:
    """Somebody else has held the store for all the time we waited."""
    return _StoreLimitError(
        "store-busy",
        f"another crawl{holder} is at work on the store {path} (waited {seconds:g} s); run again when it has ended",
    )
