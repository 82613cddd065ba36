"""The page of a survey: ``index.html`` with a table of all models, and a page for each model; works offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sbmlump._version import __version__
from sbmlump.errors import Reason
from sbmlump.files import OutputError, make_folder, write_atomically
from sbmlump.report.model_page import environment
from sbmlump.report.survey_figures import funnel_svg, ratios_svg, sizes_svg, times_svg
from sbmlump.report.survey_summary import ModelSummary, SurveySummary, summarise
from sbmlump.report.survey_trajectories import trajectory_svg
from sbmlump.shown import as_shown

__all__ = ["write_survey_page"]

_MOST_TEXT: Final = 8_000  # characters of pools on one page, so that 711 pages stay under 15 MB
_MOST_PANELS: Final = 6
_OUTCOMES: Final = {
    "every": "every one reduces",
    "some": "some reduce",
    "none": "nothing reduces",
    "unsupported": "unsupported",
    "failed": "failed",
    "out-of-budget": "out of budget",
}


def write_survey_page(folder: Path, identity: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write the pages of a survey into its folder; pages of models that are no longer in it are removed.

    Parameters
    ----------
    folder : Path
    identity : mapping
        What :func:`sbmlump.survey.identity.read_identity` gives.
    rows : sequence of mappings
        What :func:`sbmlump.survey.results.read_rows` gives.

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
        content = _model_content(model, identity)
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
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        names[file] = f"{name}.html"
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


def _model_content(model: ModelSummary, identity: Mapping[str, Any]) -> dict[str, Any]:
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
    drawn = [row for row in model.rows if row.get("trajectory_time")][:_MOST_PANELS]
    return {
        "id": first["model_id"],
        "name": first["name"],
        "sha256": first["sha256"],
        "facts": [(key, value) for key, value in facts if value not in (None, "")],
        "supported": model.supported,
        "problem": first["message"] if first["observable"] is None else None,
        "problem_code": first["reason"],
        "rows": _model_rows(model),
        "checked": bool(identity.get("check")),
        "several": len(model.by_method) > 1,
        "summary": [(m, model.reduced(m), model.asked(m), model.best.get(m)) for m in model.by_method],
        "trajectories": [trajectory_svg(row) for row in drawn],
    }


def _model_rows(model: ModelSummary) -> list[dict[str, Any]]:
    """Rows of the table; what a lumping consists of is told once for all observables that share it."""
    told: dict[tuple[str, str, str], str] = {}
    room = _MOST_TEXT
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
