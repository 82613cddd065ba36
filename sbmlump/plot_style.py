"""How every figure looks: colours, quiet axes, legends; for pages and for files of their own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "ORIGINAL",
    "PAGE",
    "PAPER",
    "REDUCED",
    "SERIES",
    "PlotStyle",
    "svg_file",
]


# Distinct in lightness and hue (also for the colour-blind), readable on white and on near-black.
ORANGE, BLUE, GREEN, PURPLE = "#d9662b", "#2f86c0", "#3f9c6b", "#a56cc1"
OCHRE, PINK, TEAL, GREY = "#b58a1b", "#c2487a", "#4aa3a3", "#7a8794"
SERIES: Final = (ORANGE, BLUE, GREEN, PURPLE, OCHRE, PINK, TEAL, GREY)
ORIGINAL, REDUCED = GREY, ORANGE


@dataclass(frozen=True, slots=True)
class PlotStyle:
    """A look that all figures of one kind of place share.

    Attributes
    ----------
    ink, faint : str
        Colours of text, and of axes and grid.
    width : float
        Of a figure, in inches.
    dpi : int
    text, title : float
        Sizes of type in points.
    """

    ink: str
    faint: str
    width: float
    dpi: int
    text: float = 10
    title: float = 11

    def figure(self, height: float, width: float | None = None) -> Figure:
        """An empty figure, without any global state of matplotlib's pyplot."""
        from sbmlump.figure import ShownFigure

        return ShownFigure(figsize=(width or self.width, height), layout="constrained", dpi=self.dpi)

    def quiet(self, axes: Axes) -> None:
        """Thin lines, no box, light grid; ids in titles and labels are no formulas."""
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(self.faint)
        axes.tick_params(colors=self.ink, which="both", labelsize=self.text, color=self.faint, length=3)
        axes.grid(visible=True, color=self.faint, linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        title = axes.get_title(loc="left")
        axes.set_title(title, loc="left", fontsize=self.title, color=self.ink, parse_math=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_color(self.ink)
            axis.label.set_fontsize(self.text)
            axis.label.set_parse_math(False)
            axis.get_offset_text().set_color(self.ink)

    def legend(self, axes: Axes, **where: object) -> None:
        """A legend without a frame."""
        legend = axes.legend(frameon=False, fontsize=self.text, labelcolor=self.ink, **where)
        for text in legend.get_texts():
            text.set_parse_math(False)


PAGE: Final = PlotStyle("#010203", "#040506", width=9.6, dpi=72)
"""On a page: 9.6 inches at 72 dpi are the width of its text; the two colours become variables of the style sheet."""
PAPER: Final = PlotStyle("#1f2429", "#b4bbc2", width=7.0, dpi=100)
"""In a file of its own or a notebook, on white."""


def svg_file(figure: Figure, name: str) -> bytes:
    """The figure as a file that is the same at every run; ``name`` goes into its ids."""
    import matplotlib

    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()
