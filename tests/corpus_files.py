"""Files of the corpus, and samples of them that are the same every time."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def corpus_folder() -> Path | None:
    """Folder named by SBMLUMP_CORPUS; ``None`` if it is not set."""
    name = os.environ.get("SBMLUMP_CORPUS")
    if not name:
        return None
    folder = Path(name).resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"SBMLUMP_CORPUS names {folder}, which is not a folder")
    return folder


def biomodels(folder: Path) -> list[Path]:
    """All SBML files of BioModels."""
    return sorted((folder / "biomodels").glob("*.xml"))


def ode_files(folder: Path) -> list[Path]:
    """All files of ERODE and CLUE."""
    return sorted((folder / "ode").rglob("*.ode"))


def suite_cases(folder: Path) -> list[Path]:
    """Folders of the cases of the SBML Test Suite."""
    return sorted(path for path in (folder / "sbml-test-suite").iterdir() if path.is_dir())


def everything() -> bool:
    """Whether ALL=1 asks for all files instead of a sample."""
    return os.environ.get("ALL", "") not in ("", "0")


def sample(items: Sequence[T], size: int, seed: int = 20240229) -> list[T]:
    """At most `size` of `items`, in their order, the same every time; all of them with ALL=1."""
    if everything() or size >= len(items):
        return list(items)
    chosen = random.Random(seed).sample(range(len(items)), size)
    return [items[i] for i in sorted(chosen)]
