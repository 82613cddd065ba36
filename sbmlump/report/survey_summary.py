"""Counts of a survey: by outcome, by method, by class of kinetics; and the short report in Markdown."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ModelSummary", "SurveySummary", "summarise", "summary_markdown"]


@dataclass
class ModelSummary:
    """All rows of one model together.

    Attributes
    ----------
    first : mapping
        Its first row, for what is the same in all.
    rows : list of mappings
    by_method : mapping of method to counter of outcomes
    best : mapping of method to the smallest reduced size over observables
    """

    first: Mapping[str, Any]
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    by_method: dict[str, Counter[str]] = field(default_factory=dict)
    best: dict[str, int] = field(default_factory=dict)

    @property
    def supported(self) -> bool:
        """Whether it became an ODE system (its kinetics are known then)."""
        return self.first["kinetics"] is not None

    @property
    def size(self) -> int | None:
        """Number of states."""
        size: int | None = self.first["original_size"]
        return size

    def reduced(self, method: str) -> int:
        """Number of observables that the method reduced."""
        return self.by_method.get(method, Counter())["reduced"]

    def asked(self, method: str) -> int:
        """Number of observables that were tried with the method."""
        return sum(self.by_method.get(method, Counter()).values())

    def outcome(self, method: str) -> str:
        """One word for the model: every, some, none, or how it failed."""
        if not self.supported:
            return str(self.first["outcome"])
        reduced, asked = self.reduced(method), self.asked(method)
        if reduced:
            return "every" if reduced == asked else "some"
        counts = self.by_method.get(method, Counter())
        if counts["not-reducible"] or not counts:
            return "none"
        return counts.most_common(1)[0][0]


@dataclass(frozen=True)
class SurveySummary:
    """Counts of a survey.

    Attributes
    ----------
    files, rows : int
    readable : int
        Models whose SBML could be read.
    supported : int
        Models that became ODE systems.
    counts : mapping of method to mapping of outcome to number of rows
    reducible : mapping of method to (models with a reducing observable, models where every observable reduces)
    by_kinetics : mapping of method to mapping of kinetics to (models, some, every)
    reasons : counter of codes over models that could not be done and rows that could not
    models : mapping of file to ModelSummary
    seconds : float
        Sum over models of the time in their processes.
    peak_memory_mb : float
    """

    files: int
    rows: int
    readable: int
    supported: int
    counts: Mapping[str, Mapping[str, int]]
    reducible: Mapping[str, tuple[int, int]]
    by_kinetics: Mapping[str, Mapping[str, tuple[int, int, int]]]
    reasons: Mapping[str, int]
    models: Mapping[str, ModelSummary]
    seconds: float
    peak_memory_mb: float

    def as_json(self) -> dict[str, Any]:
        """What ``survey --json`` prints of it."""
        return {
            "models": self.files,
            "rows": self.rows,
            "readable": self.readable,
            "supported": self.supported,
            "counts": {method: dict(counts) for method, counts in self.counts.items()},
            "reducible_models": {m: {"some": some, "every": every} for m, (some, every) in self.reducible.items()},
            "by_kinetics": {
                method: {name: {"models": a, "some": b, "every": c} for name, (a, b, c) in table.items()}
                for method, table in self.by_kinetics.items()
            },
            "reason_counts": dict(self.reasons),
            "seconds_in_models": self.seconds,
            "peak_memory_mb": self.peak_memory_mb,
        }


def summarise(rows: Sequence[Mapping[str, Any]]) -> SurveySummary:
    """Count what a survey found.

    Parameters
    ----------
    rows : sequence of mappings
        As :func:`sbmlump.survey.results.read_rows` gives them.
    """
    models: dict[str, ModelSummary] = {}
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        model = models.setdefault(row["file"], ModelSummary(row))
        model.rows.append(row)
        counts.setdefault(row["method"], Counter())[row["outcome"]] += 1
        if row["observable"] is None:
            continue
        model.by_method.setdefault(row["method"], Counter())[row["outcome"]] += 1
        size = row["reduced_size"]
        if size is not None:
            model.best[row["method"]] = min(size, model.best.get(row["method"], size))
    methods = sorted({m for model in models.values() for m in model.by_method}) or sorted(counts)
    reasons: Counter[str] = Counter()
    for model in models.values():
        reasons.update({row["reason"] for row in model.rows if row["reason"] not in (None, "not-reducible")})
    return SurveySummary(
        len(models),
        len(rows),
        sum(model.first["level"] is not None for model in models.values()),
        sum(model.supported for model in models.values()),
        counts,
        {method: _some_and_every(models.values(), method)[1:] for method in methods},
        {method: _by_kinetics(models, method) for method in methods},
        dict(reasons.most_common()),
        models,
        sum(model.first["seconds_model"] or 0.0 for model in models.values()),
        max((row["peak_memory_mb"] or 0.0 for row in rows), default=0.0),
    )


def _some_and_every(models: Any, method: str) -> tuple[int, int, int]:
    outcomes = [model.outcome(method) for model in models]
    every = outcomes.count("every")
    return len(outcomes), outcomes.count("some") + every, every


def _by_kinetics(models: Mapping[str, ModelSummary], method: str) -> dict[str, tuple[int, int, int]]:
    table: dict[str, tuple[int, int, int]] = {}
    for name in ("polynomial", "rational", "analytic"):
        chosen = [model for model in models.values() if model.first["kinetics"] == name]
        if chosen:
            table[name] = _some_and_every(chosen, method)
    return table


def summary_markdown(identity: Mapping[str, Any], found: SurveySummary) -> str:
    """The summary of a survey as a short report, with what it was made by."""
    each = identity.get("observe") == "each"
    observed = "each state of each model, one at a time." if each else "a list of expressions."
    proved = "" if identity.get("check") else " Sizes without simulation; docs/survey.md says what is proved."
    made = (
        f"{found.files} SBML files (digest of the store `{str(identity.get('store'))[:16]}`), surveyed by sbmlump "
        f"{identity.get('version')} on {identity.get('began')} ({identity.get('machine')}, "
        f"{platform.python_implementation()}).\n"
        f"Methods: {', '.join(identity.get('methods', []))}. Observed: {observed}{proved}"
    )
    became = f"readable as SBML: {found.readable}; became ODE systems: {found.supported}"
    spent = f"{found.seconds:.0f} s; largest memory of one: {found.peak_memory_mb:.0f} MB"
    lines = [
        "# Survey",
        "",
        made,
        "",
        f"- files: {found.files}; {became}; rows: {found.rows}",
        f"- time in the processes of the models: {spent}",
        "",
        "| method | kinetics | models | with an observable that allows a reduction | where every observable does |",
        "|---|---|---:|---:|---:|",
    ]
    for method, table in found.by_kinetics.items():
        for name, (count, some, every) in table.items():
            lines.append(f"| {method} | {name} | {count} | {some} | {every} |")
        some, every = found.reducible[method]
        lines.append(f"| {method} | all | {found.supported} | {some} | {every} |")
    lines += ["", "| method | outcome | rows |", "|---|---|---:|"]
    for method, counts in found.counts.items():
        lines += [f"| {method} | {name} | {count} |" for name, count in sorted(counts.items())]
    lines += ["", "| reason | models with it |", "|---|---:|"]
    lines += [f"| `{code}` | {count} |" for code, count in found.reasons.items()]
    return "\n".join(lines) + "\n"
