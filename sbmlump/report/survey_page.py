"""The page of a survey: ``index.html`` with a table of all models, and a page for each model; works offline."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sbmlump._version import __version__
from sbmlump.errors import Reason, as_shown
from sbmlump.files import OutputError, make_folder, write_atomically
from sbmlump.model.names import claim_id
from sbmlump.plot_style import BLUE, GREEN, GREY, ORANGE, PAGE
from sbmlump.report.model_page import environment, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "write_survey_page",
    "ModelSummary",
    "SurveyPageSettings",
    "SurveySummary",
    "summarise",
    "summary_markdown",
    "funnel_svg",
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
        As :func:`sbmlump.survey.run.read_rows` gives them.
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


# -- Figures of a survey ----------------------------------------------------------------------------


_KINETICS_COLOURS: Final = {"polynomial": BLUE, "rational": ORANGE, "analytic": GREEN}
_MARKS: Final = {"polynomial": "o", "rational": "s", "analytic": "^"}


def funnel_svg(found: SurveySummary) -> str:
    """From files to models in which everything reduces, as bars."""
    steps: list[tuple[str, int, str]] = [
        ("files", found.files, GREY),
        ("can be read as SBML", found.readable, GREY),
        ("become ODE systems", found.supported, GREY),
    ]
    for method, (some, every) in found.reducible.items():
        steps.append((f"{method}: some observable reduces", some, BLUE))
        steps.append((f"{method}: every observable reduces", every, "#1c5f8d"))
    figure = PAGE.figure(0.42 * len(steps) + 0.5)
    axes = figure.add_subplot()
    places = list(range(len(steps)))
    axes.barh(places, [count for _, count, _ in steps], color=[colour for *_, colour in steps], height=0.66)
    axes.set_yticks(places, [name for name, *_ in steps], parse_math=False)
    axes.invert_yaxis()
    for place, (_, count, _) in zip(places, steps, strict=True):
        share = f"  ({count / found.files:.0%})" if found.files else ""
        axes.text(count + 0.008 * found.files, place, f"{count}{share}", va="center", fontsize=10, color=PAGE.ink)
    axes.set_xlim(0, 1.16 * max(1, found.files))
    PAGE.quiet(axes, "x")
    axes.set_xlabel("models")
    told = "; ".join(f"{name}: {count}" for name, count, _ in steps)
    return svg_of(figure, f"From files to reductions. {told}", "funnel")


def ratios_svg(found: SurveySummary, method: str) -> str:
    """Histograms of reduced over original size, a panel for each class of kinetics, and lines by size of the model."""
    by_kinetics: dict[str, list[tuple[float, int]]] = {}
    for model in found.models.values():
        for row in model.rows:
            if row["method"] == method and row["ratio"] is not None and model.first["kinetics"]:
                by_kinetics.setdefault(model.first["kinetics"], []).append((row["ratio"], row["original_size"]))
    names = [name for name in _KINETICS_COLOURS if name in by_kinetics]
    figure = PAGE.figure(2.9)
    bins = np.linspace(0, 1, 21).tolist()
    for k, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), k + 1)
        values = np.array([ratio for ratio, _ in by_kinetics[name]])
        smaller = values[values < 1]
        axes.hist(smaller, bins=bins, color=_KINETICS_COLOURS[name], rwidth=0.9)
        axes.bar([1.06], [int((values >= 1).sum())], width=0.045, color=GREY)
        axes.set_xticks([0, 0.5, 1.06], ["0", "0.5", "not\nreduced"])
        axes.set_title(f"{name}: {len(smaller):,} of {len(values):,} reduced", loc="left")
        PAGE.quiet(axes, "y")
        axes.set_xlabel("reduced / original size")
        if k == 0:
            axes.set_ylabel("observables")
    label = "; ".join(f"{name}: {sum(r < 1 for r, _ in by_kinetics[name])} observables reduced" for name in names)
    return svg_of(figure, f"Distribution of the reduced size over the original size. {label}", "ratios")


def sizes_svg(found: SurveySummary, method: str) -> str:
    """Median and smallest reduced share of each model against its number of states."""
    groups: dict[str, list[tuple[int, float]]] = {}
    for model in found.models.values():
        ratios = [row["ratio"] for row in model.rows if row["method"] == method and row["ratio"] is not None]
        if ratios and model.first["kinetics"]:
            groups.setdefault(model.first["kinetics"], []).append((model.size or 1, float(np.median(ratios))))
    figure = PAGE.figure(3.6)
    axes = figure.add_subplot()
    _scatter(axes, groups)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("states of the model")
    axes.set_ylabel("median of reduced / original size")
    PAGE.quiet(axes)
    return svg_of(figure, f"Median reduced share against number of states, {_count(groups)} models", "sizes")


def times_svg(found: SurveySummary) -> str:
    """Time in the process of each model against its number of states, both logarithmic."""
    groups: dict[str, list[tuple[int, float]]] = {}
    for model in found.models.values():
        if model.first["kinetics"] and model.size and model.first["seconds_model"]:
            groups.setdefault(model.first["kinetics"], []).append((model.size, model.first["seconds_model"]))
    figure = PAGE.figure(3.6)
    axes = figure.add_subplot()
    _scatter(axes, groups)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("states of the model")
    axes.set_ylabel("seconds for the whole model")
    PAGE.quiet(axes)
    return svg_of(figure, f"Time against number of states, {_count(groups)} models", "times")


def _count(groups: Mapping[str, Sequence[Any]]) -> int:
    return sum(map(len, groups.values()))


def _scatter(axes: Axes, groups: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    for name, colour in _KINETICS_COLOURS.items():
        if name in groups:
            x, y = zip(*groups[name], strict=True)
            axes.plot(x, y, _MARKS[name], color=colour, markersize=4, alpha=0.65, markeredgewidth=0, label=name)
    if groups:
        PAGE.legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))


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
    content = _index_content(found, identity, names)
    _write(page, jinja.get_template("survey_index.html").render(version=__version__, **content))
    return page


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


def _index_content(found: SurveySummary, identity: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
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
        "funnel": funnel_svg(found),
        "ratios": [(method, ratios_svg(found, method)) for method in methods],
        "sizes": [(method, sizes_svg(found, method)) for method in methods],
        "times": times_svg(found),
        "by_kinetics": found.by_kinetics,
        "rows": rows,
        "outcomes": [(key, text) for key, text in _OUTCOMES.items() if any(row["result"] == key for row in rows)],
        "kinetics": [k for k in ("polynomial", "rational", "analytic") if any(row["kinetics"] == k for row in rows)],
        "reasons": _reasons(found, names),
        "observe_each": identity.get("observe") == "each",
        "seconds": _seconds(found.seconds),
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
        "name": _clip(model.first["name"] or "", 70),
        "page": page,
        "kinetics": model.first["kinetics"] or "",
        "size": model.size,
        "cells": cells,
        "result": best,
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
                "message": _clip(row["message"] or "", 240),
                "id": model.first["model_id"],
                "page": names[model.first["file"]],
            }
        )
    return out


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


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
        ("time", _seconds(first["seconds_model"])),
    ]
    drawn = [row for row in model.rows if row.get("trajectory_time")][: settings.panels]
    return {
        "id": first["model_id"],
        "name": first["name"],
        "sha256": first["sha256"],
        "facts": [(key, value) for key, value in facts if value not in (None, "")],
        "supported": model.supported,
        "problem": first["message"] if first["observable"] is None else None,
        "problem_code": first["reason"],
        "rows": _model_rows(model, settings.text),
        "checked": bool(identity.get("check")),
        "several": len(model.by_method) > 1,
        "summary": [(m, model.reduced(m), model.asked(m), model.best.get(m)) for m in model.by_method],
        "trajectories": [trajectory_svg(row) for row in drawn],
    }


def _model_rows(model: ModelSummary, room: int) -> list[dict[str, Any]]:
    """Rows of the table; what a lumping consists of is told once for all observables that share it."""
    told: dict[tuple[str, str, str], str] = {}
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
                "message": _clip(row["message"] or "", 160),
                "error": row["max_relative_error"],
                "error_text": "" if row["max_relative_error"] is None else f"{row['max_relative_error']:.1e}",
            }
        )
    return rows


def _word(value: bool | None, outcome: str) -> str:
    return "" if outcome != "reduced" or value is None else "yes" if value else "no"
