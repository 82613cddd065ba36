"""Size against error of the reductions of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
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
from sbmlump.stopping import stop_request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sbmlump.methods.approximate.run import CurveResult

__all__ = [
    "Curve",
    "curve",
]


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
        pages = import_module("sbmlump.report.model_page")  # by name: pages know jobs
        figure: Figure = pages.curve_figure(self.result.points, self.exact_size, self.title)
        return figure

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
    from sbmlump.methods.approximate.run import CURVES
    from sbmlump.methods.approximate.run import curve as curve_of

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
    result = curve_of(system, observables, chosen, names or CURVES, progress=progress)
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
