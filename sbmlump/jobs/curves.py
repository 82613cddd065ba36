"""Size against error of the reductions of one model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sbmlump.errors import Reason, SbmlumpError
from sbmlump.formats.load import system_of
from sbmlump.jobs.inspection import nothing_observed
from sbmlump.methods.approximate.options import CURVE_ALGORITHMS
from sbmlump.methods.method import Progress, unheard
from sbmlump.methods.registry import Approximate, reduce_by, reduce_options
from sbmlump.model.reduced import parse_observables
from sbmlump.model.system import OdeSystem
from sbmlump.model.tables import frame_of, html_table
from sbmlump.options import OBSERVE
from sbmlump.outcome import reason_json
from sbmlump.plot_style import BLUE, GREEN, GREY, ORANGE, PAPER, SERIES
from sbmlump.stopping import stop_request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sbmlump.methods.approximate.run import CurvePoint, CurveResult

__all__ = [
    "Curve",
    "CURVE_DRAWING",
    "CurveDrawing",
    "curve",
    "curve_figure",
]


_COLOURS: Final = {"balanced": ORANGE, "krylov": BLUE, "balanced, refined": GREEN}
_OF_POINT: Final = ("size", "algorithm", "max_relative_error", "median_relative_error", "seconds")


@dataclass(frozen=True, slots=True)
class Curve:
    """Size against error of one model.

    Attributes
    ----------
    title : str
        The model and what is observed.
    result : CurveResult
    exact_size : int or None
        Size of the smallest exact reduction, if it is known.
    reasons : tuple of Reason
        Why it is not; that the work was stopped.
    complete : bool
        Whether all sizes were looked at.
    """

    title: str
    result: CurveResult
    exact_size: int | None
    reasons: tuple[Reason, ...] = ()
    complete: bool = True

    def _rows(self) -> list[tuple[Any, ...]]:
        return [tuple(getattr(point, name) for name in _OF_POINT) for point in self.result.points]

    def _repr_html_(self) -> str:
        """A table of sizes and errors, for notebooks."""
        exact = "" if self.exact_size is None else f"; the smallest exact reduction has {self.exact_size} states"
        return html_table(f"{self.title}, until {self.result.until:g}{exact}", _OF_POINT, self._rows())

    def to_pandas(self) -> Any:
        """Sizes and errors as a data frame of pandas.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        return frame_of(_OF_POINT, self._rows())

    def plot(self) -> Figure:
        """Error against size, as a new matplotlib figure."""
        return curve_figure(self.result.points, self.exact_size, self.title)

    def as_json(self) -> dict[str, Any]:
        """The object that ``curve --json`` prints."""
        return {
            "exact_size": self.exact_size,
            "until": self.result.until,
            "points": [{name: getattr(point, name) for name in _OF_POINT} for point in self.result.points],
            "starts": self.result.details.get("runs"),
            "min_relative_errors": [point.min_relative_error for point in self.result.points],
            "reasons": [reason_json(reason) for reason in self.reasons],
        }


def curve(
    model: str | Path | OdeSystem,
    observe: str | Sequence[str],
    algorithms: str | Sequence[str] = (),
    *,
    progress: Progress = unheard,
    **options: Any,
) -> Curve:
    """How the error of the best reduction of a model falls with its size.

    Parameters
    ----------
    model : path or OdeSystem
    observe : str or sequence of str
        What to keep.
    algorithms : str or sequence of str
        Of :data:`CURVE_ALGORITHMS`; ``balanced``, ``krylov`` and ``non-negative`` if there are none.
    **options
        Of the method ``approximate``; ``max_size`` is the largest size of the curve.

    Raises
    ------
    SbmlumpError
    """
    from sbmlump.methods.approximate.run import CURVES, size_curve

    chosen = Approximate(**options)
    observe = OBSERVE.read("observe", observe)
    algorithms = (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
    for name in algorithms:
        if name not in CURVE_ALGORITHMS:
            replace(chosen, algorithm=name)  # refuses what is none
    system = system_of(model)
    if not observe:
        raise nothing_observed(system)
    observables = parse_observables(system, observe)
    names = [name for name in CURVE_ALGORITHMS if name in algorithms]
    result = size_curve(system, observables, chosen, names or CURVES, progress=progress)
    exact: int | None = None
    reasons: tuple[Reason, ...] = ()
    title = f"{system.id}: {', '.join(o.id for o in observables)}"
    if (stopped := stop_request()) is not None:
        return Curve(title, result, None, (stopped,), complete=False)
    try:
        exact = reduce_by(system, observe, reduce_options(seed=chosen.seed), progress).system.size
    except SbmlumpError as error:
        reasons = (Reason("exact-size-unknown", f"the exact size is not known: {error}"),)
    return Curve(title, result, exact, reasons)


@dataclass(frozen=True, slots=True)
class CurveDrawing:
    """The range of errors that is drawn: below the floor they are what integrators leave, above the ceiling all that is
    to be said is that a reduction is no good.
    """

    floor: float = 1e-8
    ceiling: float = 10.0
    proved: float = 1e-12  # where an exact reduction is put, which has no error
    band: float = 0.15  # how dark the band between the errors of the starts is


CURVE_DRAWING: Final = CurveDrawing()


def curve_figure(
    points: Sequence[CurvePoint], exact_size: int | None, title: str, drawing: CurveDrawing = CURVE_DRAWING
) -> Figure:
    """Worst error of each size, one line an algorithm, and a band down to the least of the unseen starts.

    Sizes without a working reduction have no mark.

    Parameters
    ----------
    points : sequence of CurvePoint
    exact_size : int or None
        States of the smallest exact reduction.
    title : str
    """
    from matplotlib.ticker import MaxNLocator

    figure = PAPER.figure(4.0)
    axes = figure.add_subplot()
    others = itertools.cycle(colour for colour in SERIES if colour not in _COLOURS.values())
    for algorithm in dict.fromkeys(point.algorithm for point in points):
        mine = [p for p in points if p.algorithm == algorithm and math.isfinite(p.max_relative_error)]
        colour = _COLOURS.get(algorithm) or next(others)
        worst = [min(max(p.max_relative_error, drawing.floor), drawing.ceiling) for p in mine]
        axes.semilogy(
            [p.size for p in mine], worst, color=colour, marker="o", markersize=4, linewidth=1.6, label=algorithm
        )
        least = [min(max(p.min_relative_error, drawing.floor), drawing.ceiling) for p in mine]
        axes.fill_between([p.size for p in mine], least, worst, color=colour, alpha=drawing.band, linewidth=0)
    if exact_size is not None:
        axes.axvline(exact_size, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"exact: {exact_size}",
            (exact_size, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -12),
            textcoords="offset points",
            ha="right",
            fontsize=PAPER.text,
            color=PAPER.ink,
        )
    axes.set_title(title, loc="left")
    axes.set_xlabel("states of the reduced model")
    axes.set_ylabel("relative error, worst and least of unseen starts")
    PAPER.quiet(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if points:
        PAPER.legend(axes)
    return figure
