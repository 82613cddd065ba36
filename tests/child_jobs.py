"""Jobs that tests run in child processes, which import them by the name of this module."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
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
