"""The picture of ``sbmlump curve``: error against size, the exact size marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sbmlump.lumping.approximate import CurvePoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curve_figure"]

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
