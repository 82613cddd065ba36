"""Which models a run surveys, and what it observes in each: pure functions over records."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbmlump.errors import Reason, UsageError

__all__ = ["choose_models", "parse_observe", "parse_shard", "plan_tasks", "Row", "Settings", "SurveyModel", "Task"]


# -- what a survey does with one model, as data that travels to a process or to another machine -------


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
        Alternatives, each a name or a chain ``a+b``.
    check : bool
        Prove each reduction, simulate it, and compare.
    time_limit : float
        Seconds of wall time for a model.
    memory_limit : int
        Bytes of resident memory for a model.
    seed : int
    options : tuple of (str, value)
        Of the methods (:data:`sbmlump.methods.registry.OPTIONS`); each goes to the methods that take it.
    """

    methods: tuple[str, ...] = ("exact",)
    check: bool = False
    time_limit: float = 120.0
    memory_limit: int = 2048 << 20
    seed: int = 0
    options: tuple[tuple[str, Any], ...] = ()


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


# -- which models a run surveys, and what it observes in each -----------------------------------------


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` with 1 ≤ I ≤ N.

    Raises
    ------
    UsageError
        Code ``bad-shard``.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        message = f"the shard {text!r} is not I/N with I from 1 to N, such as 2/8"
        raise UsageError(Reason("bad-shard", message))
    return int(match[1]), int(match[2])


def parse_observe(text: str) -> dict[str, tuple[str, ...]]:
    """What to observe in which model: a model's id and an expression a line; ``*`` stands for every model.

    Raises
    ------
    UsageError
        If a line holds only one of the two (``bad-observe-file``).
    """
    wanted: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = re.split(r"\s*[\t,]\s*|\s+", line, maxsplit=1)
        if len(parts) < 2 or not parts[1]:
            message = f"line {number} of the file of observables holds no expression; write 'MODEL EXPR'"
            raise UsageError(Reason("bad-observe-file", message, line=number))
        wanted.setdefault(parts[0], []).append(parts[1])
    if not wanted:
        raise UsageError(Reason("bad-observe-file", "the file of observables names nothing; write 'MODEL EXPR' lines"))
    return {name: tuple(dict.fromkeys(texts)) for name, texts in wanted.items()}


def choose_models(
    models: Sequence[SurveyModel],
    observe: Mapping[str, Sequence[str]] | None,
    sample: int | None,
    seed: int,
) -> list[SurveyModel]:
    """Models of the survey in order of their files: those that ``observe`` names, and a random sample of them.

    Raises
    ------
    UsageError
        If ``observe`` names a model that is not there (``unknown-model``), or no model is left (``no-models``).
    """
    chosen = sorted(models, key=lambda model: model.file)
    if observe is not None:
        known = {model.id for model in models}
        unknown = sorted(set(observe) - known - {"*"})
        if unknown:
            reasons = [Reason("unknown-model", f"the store holds no model {name}", name) for name in unknown]
            raise UsageError(reasons)
        if "*" not in observe:
            chosen = [model for model in chosen if model.id in observe]
    if sample is not None and sample < len(chosen):
        places = sorted(random.Random(seed).sample(range(len(chosen)), sample))
        chosen = [chosen[k] for k in places]
    if not chosen:
        raise UsageError(Reason("no-models", "there are no SBML files to survey; name a store or a folder with some"))
    return chosen


def plan_tasks(
    models: Sequence[SurveyModel],
    observe: Mapping[str, Sequence[str]] | None,
    settings: Settings,
    shard: tuple[int, int],
    finished: Collection[str],
) -> tuple[list[SurveyModel], list[Task]]:
    """Models of this shard, and the tasks that are still to be done in it.

    A model's shard follows from the digest of its name, so that every machine comes to the same result alone.
    """
    index, count = shard
    mine = [model for model in models if _number(model.file) % count == index - 1]
    tasks = [Task(model, _observables(model, observe), settings) for model in mine if model.file not in finished]
    return mine, tasks


def _number(file: str) -> int:
    return int.from_bytes(hashlib.sha256(file.encode()).digest()[:8], "big")


def _observables(model: SurveyModel, observe: Mapping[str, Sequence[str]] | None) -> tuple[str, ...] | None:
    if observe is None:
        return None
    return tuple(dict.fromkeys([*observe.get("*", ()), *observe.get(model.id, ())]))
