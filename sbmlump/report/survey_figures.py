"""Figures of a survey: funnel, distribution of sizes, reduced against original size, time against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sbmlump.report.figures import _FAINT, _INK, svg_of
from sbmlump.report.survey_summary import SurveySummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["funnel_svg", "ratios_svg", "sizes_svg", "times_svg"]

_KINETICS_COLOURS = {"polynomial": "#2f86c0", "rational": "#d9662b", "analytic": "#4c9a6a"}
_MARKS = {"polynomial": "o", "rational": "s", "analytic": "^"}
_WIDTH = 9.6


def _survey_figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained", dpi=72)


def _survey_style(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(colors=_INK, which="both", labelsize=10, color=_FAINT, length=3)
    axes.grid(visible=True, axis=grid, color=_FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INK)
        label.set_fontsize(10)


def funnel_svg(found: SurveySummary) -> str:
    """From files to models in which everything reduces, as bars."""
    steps: list[tuple[str, int, str]] = [
        ("files", found.files, "#8a97a5"),
        ("can be read as SBML", found.readable, "#8a97a5"),
        ("become ODE systems", found.supported, "#8a97a5"),
    ]
    for method, (some, every) in found.reducible.items():
        steps.append((f"{method}: some observable reduces", some, "#2f86c0"))
        steps.append((f"{method}: every observable reduces", every, "#1c5f8d"))
    figure = _survey_figure(0.42 * len(steps) + 0.5)
    axes = figure.add_subplot()
    places = list(range(len(steps)))
    axes.barh(places, [count for _, count, _ in steps], color=[colour for *_, colour in steps], height=0.66)
    axes.set_yticks(places, [name for name, *_ in steps], parse_math=False)
    axes.invert_yaxis()
    for place, (_, count, _) in zip(places, steps, strict=True):
        share = f"  ({count / found.files:.0%})" if found.files else ""
        axes.text(count + 0.008 * found.files, place, f"{count}{share}", va="center", fontsize=10, color=_INK)
    axes.set_xlim(0, 1.16 * max(1, found.files))
    _survey_style(axes, "x")
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
    figure = _survey_figure(2.9)
    bins = np.linspace(0, 1, 21).tolist()
    for k, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), k + 1)
        values = np.array([ratio for ratio, _ in by_kinetics[name]])
        smaller = values[values < 1]
        axes.hist(smaller, bins=bins, color=_KINETICS_COLOURS[name], rwidth=0.9)
        axes.bar([1.06], [int((values >= 1).sum())], width=0.045, color="#8a97a5")
        axes.set_xticks([0, 0.5, 1.06], ["0", "0.5", "not\nreduced"])
        axes.set_title(f"{name}: {len(smaller):,} of {len(values):,} reduced", loc="left", fontsize=10, color=_INK)
        _survey_style(axes, "y")
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
    figure = _survey_figure(3.6)
    axes = figure.add_subplot()
    _scatter(axes, groups)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("states of the model")
    axes.set_ylabel("median of reduced / original size")
    _survey_style(axes)
    return svg_of(figure, f"Median reduced share against number of states, {_count(groups)} models", "sizes")


def times_svg(found: SurveySummary) -> str:
    """Time in the process of each model against its number of states, both logarithmic."""
    groups: dict[str, list[tuple[int, float]]] = {}
    for model in found.models.values():
        if model.first["kinetics"] and model.size and model.first["seconds_model"]:
            groups.setdefault(model.first["kinetics"], []).append((model.size, model.first["seconds_model"]))
    figure = _survey_figure(3.6)
    axes = figure.add_subplot()
    _scatter(axes, groups)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("states of the model")
    axes.set_ylabel("seconds for the whole model")
    _survey_style(axes)
    return svg_of(figure, f"Time against number of states, {_count(groups)} models", "times")


def _count(groups: Mapping[str, Sequence[Any]]) -> int:
    return sum(map(len, groups.values()))


def _scatter(axes: Axes, groups: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    for name, colour in _KINETICS_COLOURS.items():
        if name in groups:
            x, y = zip(*groups[name], strict=True)
            axes.plot(x, y, _MARKS[name], color=colour, markersize=4, alpha=0.65, markeredgewidth=0, label=name)
    if groups:
        axes.legend(frameon=False, fontsize=10, labelcolor=_INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
