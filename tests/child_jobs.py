"""Jobs that tests run in child processes, which import them by the name of this module."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sbmlump import ReducedSystem


def leaves_a_folder(place: Path, emit: Callable[[Any], None]) -> None:
    """Make a temporary folder and die."""
    emit(tempfile.mkdtemp(prefix="sbmlump-"))
    os.kill(os.getpid(), signal.SIGKILL)


def write(reduction: ReducedSystem, path: str) -> None:
    """Write a reduction that came from another process."""
    reduction.write(path)


def processes_of_session(leader: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[3] == str(leader) and fields[0] != "Z":
                found.append(int(path.name))
    return found


@contextmanager
def session_ended_with(leader: subprocess.Popen[bytes]) -> Iterator[None]:
    """Nothing of the session is left behind, whatever becomes of a test."""
    try:
        yield
    finally:
        for one in processes_of_session(leader.pid):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)


def wait_for(found: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so, and fail where it never is."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"not so after {seconds:g} s"
        time.sleep(0.05)
