"""What a survey does with one model, as data that travels to a process or to another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Row", "Settings", "SurveyModel", "Task"]


@dataclass(frozen=True, slots=True)
class SurveyModel:
    """A file of the store.

    Attributes
    ----------
    id : str
        As the store names it.
    file : str
        Path relative to the store, with ``/``.
    path : Path
        Where it is.
    sha256 : str or None
        Of its bytes; ``None`` if it cannot be read.
    """

    id: str
    file: str
    path: Path
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all models of a survey.

    Attributes
    ----------
    methods : tuple of str
    check : bool
        Prove each reduction, simulate it, and compare.
    time_limit : float
        Seconds of wall time for a model.
    memory_limit : int
        Bytes of resident memory for a model.
    seed : int
    """

    methods: tuple[str, ...] = ("exact",)
    check: bool = False
    time_limit: float = 120.0
    memory_limit: int = 2048 << 20
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One model and what is to be observed in it: ``None`` for each of its states."""

    model: SurveyModel
    observe: tuple[str, ...] | None
    settings: Settings


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results; the columns are described in ``docs/survey.md``."""

    file: str
    model_id: str
    sha256: str | None
    observable: str | None
    method: str
    outcome: str
    reason: str | None = None
    message: str | None = None
    element: str | None = None
    original_size: int | None = None
    reduced_size: int | None = None
    ratio: float | None = None
    proper: bool | None = None
    non_negative: bool | None = None
    exact: bool | None = None
    certified: bool = False
    singles: int | None = None
    pools: str | None = None
    kept: str | None = None
    name: str | None = None
    kinetics: str | None = None
    features: str | None = None
    level: int | None = None
    version: int | None = None
    reactions: int | None = None
    parameters: int | None = None
    events: int | None = None
    max_relative_error: float | None = None
    final_relative_error: float | None = None
    max_absolute_error: float | None = None
    until: float | None = None
    seconds_read: float | None = None
    seconds_lump: float | None = None
    seconds_simulate: float | None = None
    seconds_model: float | None = None
    peak_memory_mb: float | None = None
    reasons: tuple[str, ...] = ()
    trajectory_time: tuple[float, ...] | None = None
    trajectory_original: tuple[float, ...] | None = None
    trajectory_reduced: tuple[float, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Columns by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
