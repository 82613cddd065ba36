"""Figures of the pages as inline SVG that follows the colour scheme of the page.

Text stays text (it can be searched, selected and read aloud), black and white become CSS variables, ids get a prefix
so that several figures may stand on one page, and nothing depends on the date or on the run.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.methods.approximate.run import CurvePoint
from sbmlump.model.reduced import LumpingMatrix
from sbmlump.simulators.compare import ErrorReport, draw_error, draw_trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MatrixPicture", "error_svg", "matrix_svg", "svg_of", "trajectories_svg", "curve_figure"]


_INK = "#010203"
_FAINT = "#040506"
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--rule)"}
_POSITIVE, _NEGATIVE = "#2f86c0", "#d9662b"
_MAX_LABELS = 60
_MAX_CELLS = 6_000
_MAX_PIXELS = (240, 480)
_WIDTH = 9.6  # inches at 72 dpi: the text width of the page


def svg_of(figure: Figure, label: str, prefix: str) -> str:
    """``figure`` as an ``svg`` element for an HTML page.

    Parameters
    ----------
    figure : Figure
    label : str
        What the figure shows, for those who do not see it.
    prefix : str
        Put before all ids; different for each figure of a page.
    """
    import matplotlib

    settings = {"svg.fonttype": "none", "svg.hashsalt": prefix, "font.family": "sans-serif"}
    out = io.StringIO()
    with matplotlib.rc_context(settings):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href=")#([^"]+)"', rf'\1#{prefix}-\2"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    # Sizes in points would fix the figure's width; the view box alone lets it fit the page.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{_attribute(label)}">{rest}'


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=72)


def _style(axes: Axes) -> None:
    """Quiet axes: thin lines, no box, light grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(colors=_INK, which="both", labelsize=10, color=_FAINT, length=3)
    axes.grid(visible=True, color=_FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=11, color=_INK, parse_math=False)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.xaxis.get_offset_text().set_color(_INK)
    axes.yaxis.get_offset_text().set_color(_INK)


def _legend(axes: Axes, **where: object) -> None:
    legend = axes.legend(frameon=False, fontsize=10, labelcolor=_INK, **where)
    for text in legend.get_texts():
        text.set_parse_math(False)


def trajectories_svg(report: ErrorReport, names: Sequence[str], time_unit: str | None) -> str:
    """Small panels, one for each of ``names``: original and reduced."""
    columns = 1 if len(names) == 1 else 2 if len(names) in (2, 4) else 3
    rows = -(-len(names) // columns)
    figure = _figure(_WIDTH, 3.4 if rows == 1 and columns < 3 else 2.5 * rows + 0.3)
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        draw_trajectory(axes, report, name)
        _style(axes)
        axes.locator_params(axis="both", nbins=5)
        if i + columns >= len(names):
            axes.set_xlabel(f"time ({time_unit})" if time_unit else "time", fontsize=10, parse_math=False)
        if i == 0:
            _legend(axes, loc="best")
    label = "Trajectories of the original and the reduced model: " + ", ".join(names)
    return svg_of(figure, label, "trajectories")


def error_svg(report: ErrorReport, names: Sequence[str], time_unit: str | None) -> str:
    """Relative error of each of ``names`` over time, logarithmic."""
    figure = _figure(_WIDTH, 3.0)
    axes = figure.add_subplot()
    draw_error(axes, report, names)
    _style(axes)
    axes.set_xlabel(f"time ({time_unit})" if time_unit else "time", fontsize=10, parse_math=False)
    axes.set_ylabel("relative error", fontsize=10)
    if len(names) > 1:
        _legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    worst = f"{report.max_relative_error:.2g}"
    return svg_of(figure, f"Relative error over time, logarithmic axis; the largest is {worst}", "error")


@dataclass(frozen=True, slots=True)
class MatrixPicture:
    """The heat map of a lumping matrix and what has to be said about how it was drawn."""

    svg: str
    note: str


def matrix_svg(matrix: LumpingMatrix, lumps: Sequence[str]) -> MatrixPicture:
    """Heat map of ``matrix`` (m × n), columns ordered by the first lump they belong to, so that blocks show.

    Small matrices are drawn cell by cell with ids; in large ones each pixel stands for a block of entries and takes
    the one of largest magnitude.
    """
    order = _column_order(matrix)
    place = {column: i for i, column in enumerate(order)}
    entries = [(i, place[j], float(value)) for i, row in enumerate(matrix.rows) for j, value in row.items()]
    m, n = matrix.shape
    notes = ["Columns are ordered by the first lump they belong to."] if order != sorted(order) else []
    values = np.array([value for *_, value in entries])
    shade = _shades(values)
    height = min(max(0.24 * m + 1.2, 2.0), 7.0)
    figure = _figure(_WIDTH, height)
    axes = figure.add_subplot()
    if m * n <= _MAX_CELLS and m <= _MAX_LABELS:
        _draw_cells(axes, entries, shade)
        labelled = n <= _MAX_LABELS
        if labelled:
            axes.set_xticks(range(n), [matrix.states[j] for j in order], rotation=90, parse_math=False)
        else:
            axes.set_xticks([])
            notes.append("The ids of the columns are left out for lack of space.")
        axes.set_yticks(range(m), list(lumps), parse_math=False)
    else:
        labelled = False
        grid, block = _downsample(entries, shade, (m, n))
        _draw_image(axes, grid, (m, n))
        axes.set_xticks([])
        axes.set_yticks([])
        if block != (1, 1):
            notes.append(f"Each pixel stands for {block[0]} × {block[1]} entries and shows the largest of them.")
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(m - 0.5, -0.5)
    for side in axes.spines.values():
        side.set_color(_FAINT)
    axes.tick_params(colors=_INK, color=_FAINT, labelsize=9 if max(m, n if labelled else 0) <= 40 else 7, length=2)
    axes.set_xlabel(f"{n} original states", fontsize=10, color=_INK)
    axes.set_ylabel(f"{m} lumps", fontsize=10, color=_INK)
    notes.append(_legend_of(values))
    label = f"Lumping matrix with {m} rows (lumps) and {n} columns (original states), {len(entries)} entries not zero"
    return MatrixPicture(svg_of(figure, label, "matrix"), " ".join(notes))


def _column_order(matrix: LumpingMatrix) -> list[int]:
    first: dict[int, int] = {}
    for i, row in enumerate(matrix.rows):
        for j in row:
            first.setdefault(j, i)
    return sorted(range(len(matrix.states)), key=lambda j: (first.get(j, len(matrix.rows)), j))


def _shades(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Opacity of each entry, 0.5 to 1, by the logarithm of its magnitude."""
    if not len(values):
        return values
    size = np.log(np.abs(values))
    low, high = float(size.min()), float(size.max())
    if high - low < 1e-12:
        return np.full(len(values), 0.9)
    return np.asarray(0.5 + 0.5 * (size - low) / (high - low))


def _legend_of(values: NDArray[np.float64]) -> str:
    distinct = sorted(set(values.tolist()))
    if len(distinct) == 1:
        return f"Every filled cell is {distinct[0]:g}; empty cells are 0."
    if len(distinct) <= 4:
        listed = ", ".join(f"{value:g}" for value in distinct)
        return f"Filled cells take the values {listed}, stronger where larger in magnitude; empty cells are 0."
    signs = " Blue is positive, orange negative." if distinct and distinct[0] < 0 < distinct[-1] else ""
    span = f"from {distinct[0]:.3g} to {distinct[-1]:.3g}" if distinct else ""
    return f"Entries {span}, stronger where larger in magnitude (logarithmic); empty cells are 0.{signs}"


def _draw_cells(axes: Axes, entries: Sequence[tuple[int, int, float]], shade: NDArray[np.float64]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    cells = [Rectangle((j - 0.46, i - 0.46), 0.92, 0.92) for i, j, _ in entries]
    colours = [
        to_rgba(_POSITIVE if value > 0 else _NEGATIVE, alpha)
        for (_, _, value), alpha in zip(entries, shade.tolist(), strict=True)
    ]
    axes.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="none"))


def _downsample(
    entries: Sequence[tuple[int, int, float]], shade: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Signed shade of the largest entry of each block, and the size of a block."""
    block = (-(-shape[0] // _MAX_PIXELS[0]), -(-shape[1] // _MAX_PIXELS[1]))
    grid = np.zeros((-(-shape[0] // block[0]), -(-shape[1] // block[1])))
    for (i, j, value), alpha in zip(entries, shade.tolist(), strict=True):
        at = (i // block[0], j // block[1])
        if alpha > abs(grid[at]):
            grid[at] = alpha if value > 0 else -alpha
    return grid, block


def _draw_image(axes: Axes, grid: NDArray[np.float64], shape: tuple[int, int]) -> None:
    from matplotlib.colors import to_rgb

    image = np.zeros((*grid.shape, 4))
    image[grid > 0, :3] = to_rgb(_POSITIVE)
    image[grid < 0, :3] = to_rgb(_NEGATIVE)
    image[..., 3] = np.abs(grid)
    m, n = shape
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(-0.5, n - 0.5, m - 0.5, -0.5))


# -- The picture of ``sbmlump curve``: error against size, the exact size marked -----------------


_COLOURS: Final = {"balanced": "#d9662b", "krylov": "#2f86c0", "balanced, refined": "#3f9c6b"}
_OTHERS: Final = ("#a56cc1", "#b58a1b", "#7a8794")
_FLOOR: Final = 1e-8
_CEILING: Final = 10.0


def curve_figure(points: Sequence[CurvePoint], exact_size: int | None, title: str) -> Figure:
    """Worst error of each size, one line an algorithm; sizes without a working reduction have no mark.

    Parameters
    ----------
    points : sequence of CurvePoint
    exact_size : int or None
        States of the smallest exact reduction.
    title : str
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    others = iter(_OTHERS * 4)
    for algorithm in dict.fromkeys(point.algorithm for point in points):
        mine = [p for p in points if p.algorithm == algorithm and math.isfinite(p.max_relative_error)]
        colour = _COLOURS.get(algorithm) or next(others)
        worst = [min(max(p.max_relative_error, _FLOOR), _CEILING) for p in mine]
        axes.semilogy(
            [p.size for p in mine], worst, color=colour, marker="o", markersize=4, linewidth=1.6, label=algorithm
        )
    if exact_size is not None:
        axes.axvline(exact_size, color="#7a8794", linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"exact: {exact_size}",
            (exact_size, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -12),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color="#5c6873",
        )
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    axes.set_xlabel("states of the reduced model")
    axes.set_ylabel("worst relative error, unseen starts")
    axes.grid(visible=True, which="major", linewidth=0.5, alpha=0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if points:
        axes.legend(frameon=False, fontsize=9)
    return figure
