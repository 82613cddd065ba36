"""What the store needs of the operating system: whole writes and a lock."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from crawler.errors import busy_store

__all__ = ["hold_lock", "write_all"]


def write_all(descriptor: int, data: bytes) -> None:
    """Write until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def hold_lock(path: Path, wait: float) -> int:
    """Hold the lock file of a store; the kernel frees it when the process ends, however it ends.

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
        except BaseException:
            os.close(descriptor)
            raise
        else:
            with contextlib.suppress(OSError):  # the number is a courtesy
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor
