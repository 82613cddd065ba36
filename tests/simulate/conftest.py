from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a text into a new file and return its path."""
    count = iter(range(1000))

    def write(text: str) -> Path:
        path = tmp_path / f"model_{next(count)}.xml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
