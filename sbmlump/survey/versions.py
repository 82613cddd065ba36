"""Which code made a row: versions of the program and of the libraries that its numbers depend on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import sbmlump
from sbmlump._version import __version__

__all__ = ["MUST_AGREE", "library_versions", "source_commit", "source_digest"]

_DISTRIBUTIONS: Final = {"libsbml": "python-libsbml", "libroadrunner": "libroadrunner", "numpy": "numpy"}
MUST_AGREE: Final = ("sbmlump", "source", "libsbml", "numpy")
"""Of these, all processes of one survey must have the same: sizes and certificates follow from them."""


@cache
def source_digest() -> str:
    """SHA-256 over the modules of the installed package, which tells two states of one version apart."""
    folder = Path(sbmlump.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def source_commit() -> str | None:
    """The commit that the package's working copy is at; ``None`` where it is installed from a wheel."""
    folder = Path(sbmlump.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


@cache
def library_versions() -> Mapping[str, str]:
    """Versions by name, for the metadata of Parquet files and for what the workers of a cluster must share."""
    found = {"sbmlump": __version__, "source": source_digest(), "python": platform.python_version()}
    commit = source_commit()
    if commit is not None:
        found["commit"] = commit
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
