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
