"""What makes two runs the same survey, and refusing to mix two that are not."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sbmlump._version import __version__
from sbmlump.errors import Reason, UsageError
from sbmlump.files import make_folder, write_atomically
from sbmlump.survey.results import folder_lock
from sbmlump.survey.task import Settings, SurveyModel

__all__ = ["Identity", "claim_folder", "read_identity", "store_digest"]

_FILE: Final = "run.json"
_OWN: Final = frozenset({_FILE, "parts", "index.html", "models", "assets"})
_FORMAT: Final = 1


def store_digest(models: Sequence[SurveyModel]) -> str:
    """SHA-256 over names and digests of all files, in order of the names."""
    whole = hashlib.sha256()
    for model in sorted(models, key=lambda model: model.file):
        whole.update(f"{model.file}\0{model.sha256}\n".encode())
    return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that the rows of a survey depend on.

    Attributes
    ----------
    settings : Settings
    observe : str
        ``each``, or the SHA-256 of the file that names what to observe.
    models : int
        How many the survey covers.
    store : str
        Digest of the store, see :func:`store_digest`.
    sample : str or None
        How the models were drawn from the store, where not all were taken.
    """

    settings: Settings
    observe: str
    models: int
    store: str
    sample: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What is compared between runs."""
        return {
            "format": _FORMAT,
            "version": __version__,
            "methods": list(self.settings.methods),
            "observe": self.observe,
            "check": self.settings.check,
            "seed": self.settings.seed,
            "time_limit": self.settings.time_limit,
            "memory_limit": self.settings.memory_limit,
            "models": self.models,
            "sample": self.sample,
            "store": self.store,
        }


def claim_folder(folder: Path, identity: Identity) -> None:
    """Make ``folder`` the place of this survey, or find that it is so already.

    Raises
    ------
    UsageError
        If it holds another survey (``survey-differs``, with what differs) or other things (``not-a-survey``).
    OutputError
        If it cannot be written.
    """
    make_folder(folder)
    with folder_lock(folder):  # of two that claim it at one moment, the second finds the first
        _claim(folder, identity.as_json())


def _claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    if (folder / _FILE).exists():
        found = read_identity(folder)
        differences = [
            f"{key.replace('_', ' ')}: {_short(found.get(key))} there, {_short(value)} now"
            for key, value in wanted.items()
            if found.get(key) != value
        ]
        if differences:
            message = f"{folder} holds another survey ({'; '.join(differences)}); choose another folder with -o"
            raise UsageError(Reason("survey-differs", message))
        return
    foreign = sorted(item.name for item in folder.iterdir() if item.name not in _OWN and not item.name.startswith("."))
    if foreign:
        message = f"{folder} holds other things ({foreign[0]}) and no survey; choose an empty or new folder with -o"
        raise UsageError(Reason("not-a-survey", message))
    began = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    record = {**wanted, "began": began, "machine": machine}
    write_atomically(folder / _FILE, json.dumps(record, indent=1).encode() + b"\n")


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 16 or " " in text or "," in text else f"{text[:12]}…"


def read_identity(folder: Path) -> Mapping[str, Any]:
    """What a survey says of itself.

    Raises
    ------
    UsageError
        If there is no survey in ``folder`` (``not-a-survey``), or its ``run.json`` is damaged (``damaged-results``).
    """
    try:
        value = json.loads((folder / _FILE).read_bytes())
    except OSError as error:
        message = f"{folder} holds no survey; 'sbmlump survey STORE -o {folder}' makes one"
        raise UsageError(Reason("not-a-survey", message)) from error
    except ValueError as error:
        message = f"{folder / _FILE} is damaged; survey again into a new folder"
        raise UsageError(Reason("damaged-results", message)) from error
    if not isinstance(value, dict):
        raise UsageError(Reason("damaged-results", f"{folder / _FILE} is damaged; survey again into a new folder"))
    return value
