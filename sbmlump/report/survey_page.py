"""The page of a survey: ``index.html`` with a table of all models, and a page for each model; works offline."""

from __future__ import annotations

import csv
import io
import itertools
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import numpy as np

from sbmlump._version import __version__
from sbmlump.errors import Reason, as_shown, shortened, some_names
from sbmlump.files import OutputError, make_folder, write_atomically
from sbmlump.model.names import claim_id
from sbmlump.report.link_chart import Axis, Bar, ChartCurve, Mark, bars, both_forms, curves, histograms, scatter
from sbmlump.report.model_page import duration, environment
from sbmlump.survey.job import ERROR_PERCENTS

__all__ = [
    "write_survey_page",
    "ModelSummary",
    "SurveyPageSettings",
    "SurveySummary",
    "summarise",
    "summary_markdown",
    "curve_svg",
    "funnel_svg",
    "gains_svg",
    "ratios_svg",
    "sizes_svg",
    "times_svg",
    "trajectory_svg",
]


# -- Counts of a survey -----------------------------------------------------------------------------


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
    smallest : mapping of observable to mapping of error in percent to size
        Smallest over methods; 0 is exact.
    """

    first: Mapping[str, Any]
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    by_method: dict[str, Counter[str]] = field(default_factory=dict)
    best: dict[str, int] = field(default_factory=dict)
    smallest: dict[str, dict[int, int]] = field(default_factory=dict)

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

    def observables(self) -> list[str]:
        """What was observed, in order."""
        return list(self.smallest)

    def size_at(self, observable: str, error: int) -> int | None:
        """The smallest size that any method found at a largest relative error in percent; 0 is exact."""
        return self.smallest[observable].get(error)

    def best_share(self, error: int) -> float | None:
        """The smallest reduced over original size over all observables, at a largest relative error in percent."""
        size = self.best_size(error)
        return size / self.size if size is not None and self.size else None

    def best_size(self, error: int) -> int | None:
        """The smallest size over all observables at a largest relative error in percent."""
        return min((found[error] for found in self.smallest.values() if error in found), default=None)

    def take(self, row: Mapping[str, Any]) -> None:
        """Add a row of an observable."""
        self.by_method.setdefault(row["method"], Counter())[row["outcome"]] += 1
        size = row["reduced_size"]
        if size is not None:
            self.best[row["method"]] = min(size, self.best.get(row["method"], size))
        found = self.smallest.setdefault(row["observable"], {})
        sizes = {error: row[f"size_at_{error}_percent"] for error in ERROR_PERCENTS}
        sizes[0] = size if row["exact"] else None
        for error, size_there in sizes.items():
            if size_there is not None:
                found[error] = min(size_there, found.get(error, size_there))

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
    observables, answered, reduced : int
        Of all models: what was observed, that with a size by some method, and that with a smaller one.
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
    observables: int
    answered: int
    reduced: int
    counts: Mapping[str, Mapping[str, int]]
    reducible: Mapping[str, tuple[int, int]]
    by_kinetics: Mapping[str, Mapping[str, tuple[int, int, int]]]
    reasons: Mapping[str, int]
    models: Mapping[str, ModelSummary]
    seconds: float
    peak_memory_mb: float

    @property
    def approximated(self) -> bool:
        """Whether some row is approximate, so that sizes at an error may be smaller than exact ones."""
        return any(row["exact"] is False for model in self.models.values() for row in model.rows)

    def sizes(self, error: int) -> list[tuple[int, int]]:
        """Reduced and original size of each observable at a largest relative error in percent, where they are known."""
        return [
            (size, model.size)
            for model in self.models.values()
            if model.size
            for observable in model.smallest
            if (size := model.size_at(observable, error)) is not None
        ]

    def as_json(self) -> dict[str, Any]:
        """What ``survey --json`` prints of it."""
        return {
            "models": self.files,
            "rows": self.rows,
            "readable": self.readable,
            "supported": self.supported,
            "observables": self.observables,
            "answered_observables": self.answered,
            "reduced_observables": self.reduced,
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
        As :func:`sbmlump.survey.run.read_rows` gives them.
    """
    models: dict[str, ModelSummary] = {}
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        model = models.setdefault(row["file"], ModelSummary(row))
        model.rows.append(row)
        for method in row["method"].split(","):  # a model that is refused has one row for all methods
            counts.setdefault(method, Counter())[row["outcome"]] += 1
        if row["observable"] is None:
            continue
        model.take(row)
    methods = sorted(counts)
    sizes = [
        (file, min(found.values()) < (model.size or 0))
        for file, model in models.items()
        for found in model.smallest.values()
        if found
    ]
    reasons: Counter[str] = Counter()
    for model in models.values():
        reasons.update({row["reason"] for row in model.rows if row["reason"] not in (None, "not-reducible")})
    return SurveySummary(
        len(models),
        len(rows),
        sum(model.first["level"] is not None for model in models.values()),
        sum(model.supported for model in models.values()),
        sum(len(model.smallest) for model in models.values()),
        len(sizes),
        sum(smaller for _, smaller in sizes),
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
    lines += _gains_markdown(found)
    lines += ["", "| method | outcome | rows |", "|---|---|---:|"]
    for method, counts in found.counts.items():
        lines += [f"| {method} | {name} | {count} |" for name, count in sorted(counts.items())]
    lines += ["", "| reason | models with it |", "|---|---:|"]
    lines += [f"| `{code}` | {count} |" for code, count in found.reasons.items()]
    return "\n".join(lines) + "\n"


def _gains_markdown(found: SurveySummary) -> list[str]:
    """What one gets for an error, over all observables with a size, and over the models."""
    if not found.approximated:
        return []
    lines = [
        "",
        "What one gets for a largest relative error, over observables (the smallest size that any method found;",
        "the last two columns are the median of sizes, and of sizes over numbers of states):",
        "",
        "| error | observables | a tenth of the states or less | a fifth | half | fewer than all | median | of all |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for error in (0, *ERROR_PERCENTS):
        sizes = found.sizes(error)
        if not sizes:
            continue
        ratios = np.array([size / original for size, original in sizes])
        parts = [float((ratios <= share).mean()) for share in CHARTS.shares[:-1]] + [float((ratios < 1).mean())]
        median = float(np.median([size for size, _ in sizes]))
        shares = " | ".join(f"{part:.0%}" for part in parts)
        name = f"{error} %" if error else "exact"
        lines.append(f"| {name} | {len(sizes):,} | {shares} | {median:g} | {float(np.median(ratios)):.0%} |")
    lines += [
        "",
        "The same by the number of states of the model, as the median share of the states:",
        "",
        "| states | observables | exact | " + " | ".join(f"{error} %" for error in ERROR_PERCENTS) + " |",
        "|---|---:|---:|" + "---:|" * len(ERROR_PERCENTS),
    ]
    for low, high in itertools.pairwise(CHARTS.classes):
        told, count = [], 0
        for error in (0, *ERROR_PERCENTS):
            ratios = np.array([size / original for size, original in found.sizes(error) if low <= original < high])
            count = max(count, len(ratios))
            told.append(f"{float(np.median(ratios)):.0%}" if len(ratios) else "–")
        if count:
            name = f"{low} to {high - 1}" if isfinite(high) else f"{low} and more"
            lines.append(f"| {name} | {count:,} | {' | '.join(told)} |")
    approximate = {row["method"] for model in found.models.values() for row in model.rows if row["exact"] is False}
    for method in sorted(approximate):
        rows = [row for model in found.models.values() for row in model.rows if row["method"] == method]
        seconds = [row["cpu_seconds"] for row in rows if row["cpu_seconds"] is not None]
        if seconds:
            cpu = f"{float(np.mean(seconds)):.2f} s of CPU in the mean, {max(seconds):.1f} s at most"
            lines += ["", f"A row of {method}: {cpu}."]
    return lines


# -- Figures of a survey ----------------------------------------------------------------------------


_KINETICS: Final = ("polynomial", "rational", "analytic")
_KEY: Final = '<span class="key">{}</span>'.format(" ".join(f'<span class="{k}"></span> {k}' for k in _KINETICS))


@dataclass(frozen=True, slots=True)
class ChartSettings:
    """What the charts divide into.

    Attributes
    ----------
    shares : tuple of float
        Reduced over original size, for the first chart: a tenth, a fifth, half, all but what is not reduced.
    bins : int
        Of a histogram of the same share.
    shown : int
        Observables that a title names.
    lines : int
        Of the curves of a model: those of most observables, as many as can be told apart.
    classes : tuple of float
        Models by their numbers of states, in a summary.
    """

    shares: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0)
    bins: int = 20
    shown: int = 12
    lines: int = 40
    classes: tuple[float, ...] = (1, 5, 10, 20, 50, 100, float("inf"))


CHARTS: Final = ChartSettings()


def _table_link(**filters: object) -> str:
    """The table of models with filters set, which stand behind the name of its heading in the address."""
    query = urlencode({name: value for name, value in filters.items() if value not in (None, "")})
    return f"#models?{query}" if query else "#models"


def gains_svg(found: SurveySummary, settings: ChartSettings = CHARTS) -> str:
    """How small models become for an exact answer, and for one that is 1, 5 or 10 % off, over all observables."""
    rows = []
    errors = (0, *ERROR_PERCENTS) if found.approximated else (0,)
    for error in errors:
        name = "exact" if not error else f"{error} % error"
        ratios = [size / original for size, original in found.sizes(error)]
        if not ratios:
            continue
        parts: list[tuple[float, str, str, str]] = []
        below = 0
        for k, share in enumerate(settings.shares):
            count = sum(ratio < 1 if share >= 1 else ratio <= share for ratio in ratios)
            what = "fewer states than the original" if share >= 1 else f"at most {share:.0%} of the states"
            title = f"{name}: {count:,} of {len(ratios):,} observables keep {what}"
            parts.append((count - below, f"share{k}", title, _table_link(error=error, share=share)))
            below = count
        left = len(ratios) - below
        parts.append((left, "whole", f"{name}: {left:,} observables need every state", _table_link(result="remains")))
        rows.append(Bar(name, parts, f"{below / len(ratios):.0%} smaller"))
    told = "; ".join(f"{row.name}: {row.told}" for row in rows)
    label = f"Observables by reduced over original size. {told}. Each part is a link to the models."
    return both_forms(lambda form: bars(rows, label, form))


def funnel_svg(found: SurveySummary) -> str:
    """From files to models in which everything reduces, as bars."""
    steps: list[tuple[str, int, str, str]] = [
        ("files", found.files, "plain", _table_link()),
        ("readable as SBML", found.readable, "plain", _table_link(result="read")),
        ("ODE systems", found.supported, "plain", _table_link(result="ode")),
    ]
    several = len(found.reducible) > 1
    for method, (some, every) in found.reducible.items():
        by = f"{method}: " if several else ""
        steps.append((f"{by}some reduce", some, "strong", _table_link(result="reduces")))
        steps.append((f"{by}all reduce", every, "stronger", _table_link(result="every")))
    rows = []
    for name, count, css, link in steps:
        share = f" ({count / found.files:.0%})" if found.files else ""
        title = f"{name}: {count} of {found.files} files{share}"
        rows.append(Bar(name, [(count, css, title, link)], f"{count}{share}"))
    told = "; ".join(f"{row.name}: {row.told}" for row in rows)
    return both_forms(lambda form: bars(rows, f"From files to reductions, in models. {told}", form))


def ratios_svg(found: SurveySummary, method: str, settings: ChartSettings = CHARTS) -> str:
    """Histograms of reduced over original size, a panel for each class of kinetics; the last bar is not reduced."""
    by_kinetics: dict[str, list[float]] = {}
    for model in found.models.values():
        for row in model.rows:
            if row["method"] == method and row["ratio"] is not None and model.first["kinetics"]:
                by_kinetics.setdefault(model.first["kinetics"], []).append(row["ratio"])
    panels = []
    for name in (name for name in _KINETICS if name in by_kinetics):
        ratios = by_kinetics[name]
        smaller = [ratio for ratio in ratios if ratio < 1]
        counts, edges = np.histogram(smaller, bins=settings.bins, range=(0, 1))
        bins = []
        for low, up, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
            title = f"{name}: {count:,} observables keep {low:.0%} to {up:.0%} of the states"
            bins.append((low, up, count, title, _table_link(kinetics=name, error=0, share=f"{up:.2g}")))
        width = 1 / settings.bins
        left = len(ratios) - len(smaller)
        title = f"{name}: {left:,} observables need every state"
        bins.append((1 + width / 2, 1 + 3 * width / 2, left, title, _table_link(kinetics=name, result="remains")))
        panels.append((f"{name}: {len(smaller):,} of {len(ratios):,}", name, bins))
    if not panels:
        return ""
    axis = Axis("reduced / original size", 0, 1 + 2 / settings.bins, at=(0, 0.2, 0.5, 1))
    told = "; ".join(title for title, *_ in panels)
    label = f"Distribution of the reduced size over the original size. {told}; the bar beyond 1 is what is not reduced"
    return both_forms(lambda form: histograms(panels, axis, "observables", label, form))


def sizes_svg(found: SurveySummary, method: str, names: Mapping[str, str]) -> str:
    """Median reduced share of each model against its number of states; ``names`` are those of the models' pages."""
    marks = []
    for file, model in found.models.items():
        ratios = [row["ratio"] for row in model.rows if row["method"] == method and row["ratio"] is not None]
        if ratios and model.first["kinetics"]:
            size, share = model.size or 1, float(np.median(ratios))
            title = f"{model.first['model_id']}: {_states(size)}, the median observable keeps {share:.0%}"
            marks.append(Mark(size, share, model.first["kinetics"], title, _page_link(names[file])))
    x = Axis.around("states of the model", (mark.x for mark in marks))
    y = Axis("median of reduced / original size", 0, 1.04, at=(0, 0.2, 0.5, 1))
    label = (
        f"Median reduced share against number of states, {len(marks)} models; the table of models has the same links"
    )
    return both_forms(lambda form: scatter(marks, x, y, label, form))


def times_svg(found: SurveySummary, names: Mapping[str, str]) -> str:
    """Time in the process of each model against its number of states, both logarithmic."""
    marks = []
    for file, model in found.models.items():
        seconds = model.first["seconds_model"]
        if model.first["kinetics"] and model.size and seconds:
            title = f"{model.first['model_id']}: {_states(model.size)}, {duration(seconds)}"
            marks.append(Mark(model.size, seconds, model.first["kinetics"], title, _page_link(names[file])))
    x = Axis.around("states of the model", (mark.x for mark in marks))
    y = Axis.around("seconds for the whole model", (mark.y for mark in marks))
    label = f"Time against number of states, {len(marks)} models; the table of models has the same links"
    return both_forms(lambda form: scatter(marks, x, y, label, form))


def curve_svg(model: ModelSummary, settings: ChartSettings = CHARTS) -> str:
    """Sizes of one model at an exact answer and at 1, 5 and 10 % error: a line for observables that go together."""
    together: dict[tuple[int | None, ...], list[str]] = {}
    for observable in model.observables():
        sizes = tuple(model.size_at(observable, error) for error in (0, *ERROR_PERCENTS))
        if any(size is not None for size in sizes):
            together.setdefault(sizes, []).append(observable)
    lines = []
    for sizes, group in sorted(together.items(), key=lambda item: len(item[1]))[-settings.lines :]:
        points = [(float(k), float(size)) for k, size in enumerate(sizes) if size is not None]
        told = " → ".join("?" if size is None else str(size) for size in sizes)
        title = f"{some_names(group, settings.shown)}: {told} states"
        lines.append(ChartCurve(points, title, f"#{_anchor(model, group[0])}", len(group)))
    words = ["exact", *(f"{error} %" for error in ERROR_PERCENTS)]
    x = Axis("largest relative error", -0.15, len(words) - 0.85, at=range(len(words)), words=words)
    y = Axis("states", 0, max(1, model.size or 1))
    told = f"{len(lines)} lines for {sum(line.count for line in lines)} observables of a model of {_states(model.size)}"
    return both_forms(lambda form: curves(lines, x, y, f"Size against error: {told}", form))


def _states(count: int | None) -> str:
    return "1 state" if count == 1 else f"{count} states"


def _page_link(page: str) -> str:
    return f"models/{quote(page)}"


def _anchor(model: ModelSummary, observable: str) -> str:
    """The row of an observable in the table of its model's page."""
    return f"o{model.observables().index(observable)}"


# -- Small pictures of trajectories, written as SVG by hand -----------------------------------------


@dataclass(frozen=True, slots=True)
class Sketch:
    """Sizes of a picture and of what is left free in it for the axes, in pixels."""

    width: int = 300
    height: int = 120
    left: int = 8
    bottom: int = 16


def trajectory_svg(row: Mapping[str, Any], sketch: Sketch = Sketch()) -> str:
    """Original and reduced trajectory of a checked row as an ``svg`` element."""
    width, height, left, bottom = sketch.width, sketch.height, sketch.left, sketch.bottom
    times, original, reduced = row["trajectory_time"], row["trajectory_original"], row["trajectory_reduced"]
    values = [value for value in (*original, *reduced) if isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = high - low or abs(high) or 1.0
    end = times[-1] or 1.0
    label = f"{row['observable']} by {row['method']}: original and reduced from 0 to {end:g}, {low:.3g} to {high:.3g}"

    def line(series: Sequence[float], css: str) -> str:
        points = " ".join(
            f"{left + (width - left) * t / end:.1f},{4 + (height - 8 - bottom) * (1 - (value - low) / span):.1f}"
            for t, value in zip(times, series, strict=True)
            if isfinite(value)
        )
        return f'<polyline class="{css}" points="{points}"/>'

    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">'
        f'<line class="axis" x1="{left}" y1="{height - bottom}" x2="{width}" y2="{height - bottom}"/>'
        f"{line(original, 'before')}{line(reduced, 'after')}"
        f'<text x="{left}" y="{height - 3}">{low:.3g} … {high:.3g}</text>'
        f'<text x="{width}" y="{height - 3}" text-anchor="end">t = {end:.3g}</text></svg>'
        f"<figcaption>{escape(str(row['observable']))} ({escape(str(row['method']))}, "
        f"{row['original_size']} → {row['reduced_size']} states)</figcaption>"
    )


# -- The pages -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SurveyPageSettings:
    """How much the page of a model shows.

    Attributes
    ----------
    text : int
        Characters of pools, so that the 711 pages of the corpus stay under 15 MB.
    panels : int
        Trajectories: two rows.
    """

    text: int = 8_000
    panels: int = 6


_OUTCOMES: Final = {
    "every": "every one reduces",
    "some": "some reduce",
    "none": "nothing reduces",
    "target-not-reached": "the target was not reached",
    "unsupported": "unsupported",
    "failed": "failed",
    "out-of-budget": "out of budget",
}


_GROUPS: Final = {
    "read": "readable as SBML",
    "ode": "ODE systems",
    "reduces": "some or all reduce",
    "remains": "not all reduce",
}


def write_survey_page(
    folder: Path,
    identity: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    settings: SurveyPageSettings = SurveyPageSettings(),
) -> Path:
    """Write the pages of a survey into its folder; pages of models that are no longer in it are removed.

    Parameters
    ----------
    folder : Path
    identity : mapping
        What :func:`sbmlump.survey.job.read_identity` gives.
    rows : sequence of mappings
        What :func:`sbmlump.survey.run.read_rows` gives.
    settings : SurveyPageSettings

    Returns
    -------
    Path
        ``index.html``.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    found = summarise(rows)
    names = _page_names(list(found.models))
    make_folder(folder / "models")
    make_folder(folder / "assets")
    templates = files(__package__) / "templates"
    style = (templates / "style.css").read_text("utf-8") + (templates / "survey.css").read_text("utf-8")
    _write(folder / "assets" / "survey.css", style)
    _write(folder / "assets" / "sort.js", (templates / "sort.js").read_text("utf-8"))
    _write(folder / "assets" / "survey.js", (templates / "survey.js").read_text("utf-8"))
    jinja = environment()
    template = jinja.get_template("survey_model.html")
    for file, model in found.models.items():
        content = _model_content(model, identity, settings)
        _write(folder / "models" / names[file], template.render(version=__version__, **content))
    for leftover in {path.name for path in (folder / "models").glob("*.html")} - set(names.values()):
        _remove(folder / "models" / leftover)
    page = folder / "index.html"
    _write(folder / _CSV, _csv(rows))
    content = _index_content(found, identity, names, _data_files(folder))
    _write(page, jinja.get_template("survey_index.html").render(version=__version__, **content))
    return page


_CSV: Final = "survey.csv"
_CSV_COLUMNS: Final = (
    *"file model_id sha256 observable method outcome reason kinetics original_size reduced_size ratio exact".split(),
    *(f"size_at_{error}_percent" for error in ERROR_PERCENTS),
    *"worst_error end_time max_relative_error cpu_seconds seconds_model".split(),
)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Sizes and codes of all rows, for spreadsheets; the rest is in the Parquet files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    writer.writerows([_cell(row[name]) for name in _CSV_COLUMNS] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _data_files(folder: Path) -> list[str]:
    """The files with the rows, as links; parts of a survey that is at work are not told one by one."""
    shards = sorted(path.name for path in folder.glob("*.parquet"))
    return shards + (["parts/"] if any(folder.glob("parts/*.parquet")) else [])


def _write(path: Path, text: str) -> None:
    write_atomically(path, as_shown(text).encode(), durable=False)  # hundreds of pages, which can be made again


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        message = f"{path}, of an earlier survey, cannot be removed ({error.strerror}); remove it by hand"
        raise OutputError(Reason("cannot-write", message)) from error


def _page_names(models: Sequence[str]) -> dict[str, str]:
    """A file name for each model's page, unique also where letters have to be replaced."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for file in models:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", re.sub(r"\.(xml|sbml)$", "", file, flags=re.IGNORECASE).split("/")[-1])
        # file systems that do not tell capitals apart must have room for all
        number = claim_id(stem.lower(), taken)[len(stem) :]
        names[file] = f"{stem}{number}.html"
    return names


# -- index -----------------------------------------------------------------------------------------------------------


def _index_content(
    found: SurveySummary, identity: Mapping[str, Any], names: Mapping[str, str], data: Sequence[str]
) -> dict[str, Any]:
    methods = list(found.reducible)
    first = methods[0] if methods else ""
    some, every = found.reducible.get(first, (0, 0))
    rows = [_index_row(file, model, methods, names[file]) for file, model in found.models.items()]
    return {
        "found": found,
        "identity": identity,
        "methods": methods,
        "first": first,
        "some": some,
        "every": every,
        "errors": list(ERROR_PERCENTS) if found.approximated else [],
        "shares": CHARTS.shares[:-1],
        "data": data,
        "csv": _CSV,
        "key": _KEY,
        "gains": gains_svg(found),
        "funnel": funnel_svg(found),
        "ratios": [(method, ratios_svg(found, method)) for method in methods],
        "sizes": [(method, sizes_svg(found, method, names)) for method in methods],
        "times": times_svg(found, names),
        "by_kinetics": found.by_kinetics,
        "rows": rows,
        "outcomes": [(key, text) for key, text in _OUTCOMES.items() if any(row["result"] == key for row in rows)],
        "groups": _GROUPS,
        "kinetics": [k for k in ("polynomial", "rational", "analytic") if any(row["kinetics"] == k for row in rows)],
        "reasons": _reasons(found, names),
        "observe_each": identity.get("observe") == "each",
        "seconds": duration(found.seconds),
    }


def _index_row(file: str, model: ModelSummary, methods: Sequence[str], page: str) -> dict[str, Any]:
    results = [model.outcome(method) for method in methods] or [str(model.first["outcome"])]
    best = max(results, key=lambda name: {"every": 3, "some": 2, "none": 1}.get(name, 0))
    reasons = [row["reason"] for row in model.rows if row["reason"] not in (None, "not-reducible")]
    cells = []
    for method in methods:
        asked, reduced = model.asked(method), model.reduced(method)
        smallest = model.best.get(method)
        cells.append({"asked": asked, "reduced": reduced, "smallest": smallest if model.supported else None})
    return {
        "id": model.first["model_id"],
        "name": shortened(model.first["name"] or "", 70),
        "page": page,
        "kinetics": model.first["kinetics"] or "",
        "size": model.size,
        "cells": cells,
        "shares": {error: _share_text(model.best_share(error)) for error in (0, *ERROR_PERCENTS)},
        "sizes": {error: model.best_size(error) for error in (0, *ERROR_PERCENTS)},
        "result": best,
        "groups": [
            name
            for name, holds in {
                "read": model.first["level"] is not None,
                "ode": model.supported,
                "reduces": best in ("every", "some"),
                "remains": best in ("some", "none") and model.supported,
            }.items()
            if holds
        ],
        "result_text": _OUTCOMES.get(best, best),
        "reason": reasons[0] if reasons else "",
        "seconds": model.first["seconds_model"],
        "file": file,
    }


def _reasons(found: SurveySummary, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each code with its number of models and one of them."""
    out = []
    for code, count in found.reasons.items():
        example = next((model, row) for model in found.models.values() for row in model.rows if row["reason"] == code)
        model, row = example
        out.append(
            {
                "code": code,
                "count": count,
                "outcome": row["outcome"],
                "message": shortened(row["message"] or "", 240),
                "id": model.first["model_id"],
                "page": names[model.first["file"]],
            }
        )
    return out


def _share_text(share: float | None) -> str:
    return "" if share is None else f"{share:.4f}"


# -- a model -----------------------------------------------------------------------------------------------------------


def _model_content(model: ModelSummary, identity: Mapping[str, Any], settings: SurveyPageSettings) -> dict[str, Any]:
    first = model.first
    features = [name.replace("-", " ") for name in (first["features"] or "").split(",") if name]
    facts = [
        ("file", first["file"]),
        ("kinetics", first["kinetics"]),
        ("states", first["original_size"]),
        ("reactions", first["reactions"]),
        ("parameters", first["parameters"]),
        ("events", first["events"]),
        ("holds", ", ".join(features)),
        ("SBML", None if first["level"] is None else f"level {first['level']} version {first['version']}"),
        ("time", duration(first["seconds_model"])),
        ("end time of approximations", next((f"{end:g}" for row in model.rows if (end := row.get("end_time"))), None)),
    ]
    drawn = [row for row in model.rows if row.get("trajectory_time")][: settings.panels]
    approximated = any(row["exact"] is False for row in model.rows)
    return {
        "id": first["model_id"],
        "name": first["name"],
        "sha256": first["sha256"],
        "facts": [(key, value) for key, value in facts if value not in (None, "")],
        "supported": model.supported,
        "problem": first["message"] if first["observable"] is None else None,
        "problem_code": first["reason"],
        "rows": _model_rows(model, settings.text),
        "errors": list(ERROR_PERCENTS) if approximated else [],
        "curve": curve_svg(model) if approximated else "",
        "allowed": _allowed(model) if approximated else [],
        "checked": bool(identity.get("check")),
        "several": len(model.by_method) > 1,
        "summary": [(m, model.reduced(m), model.asked(m), model.best.get(m)) for m in model.by_method],
        "trajectories": [trajectory_svg(row) for row in drawn],
    }


def _allowed(model: ModelSummary) -> list[tuple[str, list[str]]]:
    """Which observables need the fewest states, at an exact answer and at each error."""
    told = []
    for error in (0, *ERROR_PERCENTS):
        known = {name: size for name in model.observables() if (size := model.size_at(name, error)) is not None}
        smaller = [name for name, size in known.items() if size < (model.size or 0)]
        least = min(known.values(), default=0)
        best = [name for name, size in known.items() if size == least and name in smaller]
        name = "exact" if not error else f"{error} % error"
        what = f"{len(smaller)} of {len(known)} observables allow fewer states"
        told.append((f"{name}: {what}" + (f"; {_states(least)} for" if best else ""), best))
    return told


def _model_rows(model: ModelSummary, room: int) -> list[dict[str, Any]]:
    """Rows of the table; what a lumping consists of is told once for all observables that share it."""
    told: dict[tuple[str, str, str], str] = {}
    anchors = {name: f"o{k}" for k, name in enumerate(model.observables())}  # the first row of each
    rows = []
    for row in model.rows:
        if row["observable"] is None:
            continue
        text, kept, same = row["pools"] or "", row["kept"] or "", None
        key = (row["method"], text, kept)
        if row["outcome"] == "reduced":
            same = told.setdefault(key, row["observable"])
            if same == row["observable"]:
                same = None
                text, kept = (text, kept) if len(text) + len(kept) <= room else ("", "")
                room -= len(text) + len(kept)
            else:
                text, kept = "", ""
        else:
            text, kept = "", ""
        rows.append(
            {
                "observable": row["observable"],
                "anchor": anchors.pop(row["observable"], None),
                "sizes": [row[f"size_at_{error}_percent"] for error in ERROR_PERCENTS],
                "method": row["method"],
                "outcome": row["outcome"],
                "size": row["reduced_size"],
                "ratio": row["ratio"],
                "percent": "" if row["ratio"] is None else f"{row['ratio']:.0%}",
                "proper": _word(row["proper"], row["outcome"]),
                "non_negative": _word(row["non_negative"], row["outcome"]),
                "pools": text.split("\n") if text else [],
                "kept": kept,
                "same": same,
                "reason": "" if row["reason"] in (None, "not-reducible") else row["reason"],
                "message": shortened(row["message"] or "", 160),
                "error": row["max_relative_error"],
                "error_text": "" if row["max_relative_error"] is None else f"{row['max_relative_error']:.1e}",
            }
        )
    return rows


def _word(value: bool | None, outcome: str) -> str:
    return "" if outcome != "reduced" or value is None else "yes" if value else "no"
