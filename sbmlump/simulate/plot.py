"""Figures of a comparison, without any global state of matplotlib's pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sbmlump.simulate.compare import ErrorReport

__all__ = ["ORIGINAL", "REDUCED", "draw_error", "draw_trajectory", "report_figure"]

# Distinct in lightness and hue (also for the colour-blind), readable on white and on near-black.
ORIGINAL = "#7a8794"
REDUCED = "#d9662b"
_SERIES = ("#d9662b", "#2f86c0", "#3f9c6b", "#a56cc1", "#b58a1b", "#c2487a", "#4aa3a3", "#7a8794")
_MAX_PANELS = 12


def draw_trajectory(axes: Axes, report: ErrorReport, name: str) -> None:
    """Original as a broad line, reduced as dashes upon it, so that both are seen where they agree."""
    shown = report.compared
    axes.plot(
        shown.times,
        shown.original[name],
        color=ORIGINAL,
        linewidth=4.0,
        alpha=0.55,
        label="original",
        solid_capstyle="round",
    )
    axes.plot(shown.times, shown.reduced[name], color=REDUCED, linewidth=1.9, dashes=(5, 2.5), label="reduced")
    axes.set_title(name, loc="left", fontsize=10, parse_math=False)
    axes.margins(x=0.0)
    both = np.concatenate([shown.original[name], shown.reduced[name]])
    if float(both[np.isfinite(both)].min(initial=0.0)) >= 0:
        axes.set_ylim(bottom=0.0)


def draw_error(axes: Axes, report: ErrorReport, names: Sequence[str]) -> None:
    """|difference| over the largest magnitude of the original, logarithmic; no line where both agree exactly."""
    lowest = 1.0
    compared = report.compared
    for i, name in enumerate(names):
        q = compared.original[name]
        top = float(np.abs(q[np.isfinite(q)]).max(initial=0.0)) or 1.0
        error = np.abs(compared.reduced[name] - q) / top
        seen = error[np.isfinite(error) & (error > 0)]
        lowest = min(lowest, float(seen.min(initial=1.0)))
        shown = np.where(error > 0, error, np.nan)
        axes.semilogy(compared.times, shown, color=_SERIES[i % len(_SERIES)], linewidth=1.4, label=name)
    axes.set_ylim(bottom=max(lowest / 3, 1e-18) if lowest < 1.0 else 1e-16)
    axes.set_xlim(float(report.times[0]), float(report.times[-1]))


def report_figure(report: ErrorReport) -> Figure:
    """Panels of the trajectories (at most 12) and one of the errors."""
    from matplotlib.figure import Figure

    names = list(report.original)[:_MAX_PANELS]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns if columns > 1 else 7.0, 2.6 * (rows + 1)), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns)
    for i, name in enumerate(names):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        draw_trajectory(axes, report, name)
        if i == 0:
            axes.legend(frameon=False, fontsize=9)
    axes = figure.add_subplot(grid[rows, :])
    draw_error(axes, report, list(report.original)[: len(_SERIES)])
    axes.set_xlabel("time")
    axes.set_title("relative error", loc="left", fontsize=10)
    return figure
