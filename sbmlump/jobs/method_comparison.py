"""What each method, or chain of methods, makes of one model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sbmlump.errors import Reason
from sbmlump.formats.load import system_of
from sbmlump.jobs.inspection import nothing_observed
from sbmlump.methods.method import MeasuredMethod, Progress, unheard
from sbmlump.methods.registry import DEFAULT_CHAINS, method_alternatives, options_of, read_options
from sbmlump.model.reduced import Observable, parse_observables
from sbmlump.model.system import OdeSystem
from sbmlump.model.tables import frame_of, html_table
from sbmlump.options import OBSERVE
from sbmlump.outcome import ModelFacts, reason_json
from sbmlump.stopping import stop_request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sbmlump.methods.comparison import MethodRow

__all__ = [
    "MethodComparison",
    "compare_methods",
]


_OF_METHOD: Final = ("method", "size", "worst_error", "exact", "seconds", "remark")


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """What each method, or chain of methods, made of one model.

    Attributes
    ----------
    model : ModelFacts
    title : str
        The model's name.
    observables : tuple of Observable
    rows : tuple of MethodRow
    differences : mapping of (method, method) to float
        How far time-scale approximations are apart.
    reasons : tuple of Reason
        That the work was stopped.
    """

    model: ModelFacts
    title: str
    observables: tuple[Observable, ...]
    rows: tuple[MethodRow, ...]
    differences: Mapping[tuple[str, str], float]
    reasons: tuple[Reason, ...] = ()

    def _rows(self) -> list[tuple[Any, ...]]:
        return [
            (one.method, one.size, one.error, one.exact, one.seconds, one.reason.message if one.reason else None)
            for one in self.rows
        ]

    def _repr_html_(self) -> str:
        """A table of the methods, for notebooks."""
        return html_table(self.title, _OF_METHOD, self._rows())

    def to_pandas(self) -> Any:
        """The methods, their sizes and errors, as a data frame of pandas.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        return frame_of(_OF_METHOD, self._rows())

    def plot(self) -> Figure:
        """Error against size of each method, as a new matplotlib figure."""
        pages = import_module("sbmlump.report.model_page")  # by name: pages know jobs
        figure: Figure = pages.methods_figure(self.rows, self.model.states or 0, self.title)
        return figure

    def as_json(self) -> dict[str, Any]:
        """The object that ``compare-methods --json`` prints, but for the name of the picture."""
        model = self.model
        return {
            "model": {"id": model.id, "file": model.file, "states": model.states},
            "observables": [each.id for each in self.observables],
            "methods": [
                {**row.as_json(), "reason": reason_json(row.reason) if row.reason else None} for row in self.rows
            ],
            "differences": [
                {"methods": list(pair), "max_relative_difference": value if math.isfinite(value) else None}
                for pair, value in self.differences.items()
            ],
            "reasons": [reason_json(reason) for reason in self.reasons],
        }


def compare_methods(
    model: str | Path | OdeSystem,
    observe: str | Sequence[str],
    methods: str | Sequence[str] = (),
    *,
    progress: Progress = unheard,
    **options: Any,
) -> MethodComparison:
    """Run methods side by side on one model.

    Parameters
    ----------
    model : path or OdeSystem
    observe : str or sequence of str
        What to keep.
    methods : str or sequence of str
        Alternatives: names, ``a+b`` for a chain, also several with commas between them; a choice of all if none.
    **options
        Any of :data:`OPTIONS`; each goes to the methods that take it.

    Raises
    ------
    SbmlumpError
    """
    from sbmlump.methods import comparison as side_by_side

    observe = OBSERVE.read("observe", observe)
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    chains = method_alternatives(methods) if methods else DEFAULT_CHAINS
    trial = options_of(MeasuredMethod, read_options(**options)).trial
    system = system_of(model)
    if not observe:
        raise nothing_observed(system)
    observables = parse_observables(system, observe)
    rows = side_by_side.compare_methods(system, observables, chains, progress=progress, **options)
    stopped = stop_request()
    apart = side_by_side.differences(rows, trial) if stopped is None else {}
    return MethodComparison(
        ModelFacts(system.id, system.origin.file if isinstance(model, OdeSystem) else str(model), system.size),
        system.name or system.id,
        tuple(observables),
        rows,
        apart,
        () if stopped is None else (stopped,),
    )
