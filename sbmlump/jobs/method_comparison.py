"""All methods side by side on one model: size, error on the same runs, time, what is preserved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sbmlump.dynamics.ensemble import EnsembleSettings, ReferenceEnsemble, difference, measure, reference_ensemble
from sbmlump.dynamics.vector_field import Budget, StopRequestedError, WorkLimitError
from sbmlump.errors import Reason, SbmlumpError, UsageError
from sbmlump.formats.load import system_of
from sbmlump.jobs.curves import CURVE_DRAWING, CurveDrawing
from sbmlump.jobs.inspection import nothing_observed
from sbmlump.methods.approximate.options import UnreachableError
from sbmlump.methods.chain import apply_chain
from sbmlump.methods.method import AUTO, MeasuredMethod, Progress, unheard
from sbmlump.methods.registry import (
    DEFAULT_CHAINS,
    METHODS,
    QuasiSteadyState,
    chain_names,
    method_alternatives,
    options_of,
    read_options,
)
from sbmlump.model.reduced import (
    ErrorEstimate,
    ExactProof,
    Observable,
    ReducedSystem,
    finite_or_none,
    parse_observables,
)
from sbmlump.model.system import OdeSystem
from sbmlump.model.tables import frame_of, html_table
from sbmlump.options import OBSERVE, names_in
from sbmlump.outcome import ModelFacts, reason_json
from sbmlump.plot_style import PAPER, SERIES
from sbmlump.stopping import stop_request
from sbmlump.structure.summary import kept_properties

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MethodComparison", "MethodRow", "compare_methods", "method_rows", "methods_figure", "row_differences"]


_WORK: Final = 60.0  # units that the measurement of one reduction may take
_OF_METHOD: Final = ("method", "size", "worst_error", "exact", "seconds", "remark")


@dataclass(frozen=True)
class MethodRow:
    """What one method, or chain of methods, made of the model.

    Attributes
    ----------
    method : str
    size : int or None
        States left; ``None`` if the method was refused.
    error : float or None
        Largest relative error over all runs and observables; ``None`` if it could not be measured.
    exact : bool
        Whether there is a proof.
    seconds : float
    kept, lost : tuple of str
        Properties of the original.
    reason : Reason or None
        Why there is no result, why its error is not known, or what it falls short of.
    reduction : ReducedSystem or None
    """

    method: str
    size: int | None
    error: float | None
    exact: bool
    seconds: float
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    reason: Reason | None = None
    reduction: ReducedSystem | None = None

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {
            "method": self.method,
            "size": self.size,
            "worst_error": self.error,
            "exact": self.exact,
            "seconds": self.seconds,
            "kept": list(self.kept),
            "lost": list(self.lost),
            "reason": None if self.reason is None else reason_json(self.reason),
        }


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
        return methods_figure(self.rows, self.model.states or 0, self.title)

    def as_json(self) -> dict[str, Any]:
        """The object that ``compare-methods --json`` prints, but for the name of the picture."""
        model = self.model
        return {
            "model": {"id": model.id, "file": model.file, "states": model.states},
            "observables": [each.id for each in self.observables],
            "methods": [row.as_json() for row in self.rows],
            "differences": [
                {"methods": list(pair), "max_relative_difference": finite_or_none(value)}
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
    observe = OBSERVE.read("observe", observe)
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    chains = method_alternatives(methods) if methods else DEFAULT_CHAINS
    trial = options_of(MeasuredMethod, read_options(**options)).trial
    system = system_of(model)
    if not observe:
        raise nothing_observed(system)
    observables = parse_observables(system, observe)
    rows = method_rows(system, observables, chains, progress=progress, **options)
    stopped = stop_request()
    apart = row_differences(rows, trial) if stopped is None else {}
    return MethodComparison(
        ModelFacts(system.id, system.origin.file if isinstance(model, OdeSystem) else str(model), system.size),
        system.name or system.id,
        tuple(observables),
        rows,
        apart,
        () if stopped is None else (stopped,),
    )


def method_rows(
    system: OdeSystem,
    observables: Sequence[Observable],
    chains: Sequence[str] = DEFAULT_CHAINS,
    *,
    progress: Progress = unheard,
    clock: Callable[[], float] = time.perf_counter,
    **options: Any,
) -> tuple[MethodRow, ...]:
    """Run each method; what one refuses is a row with its reason.

    All errors are measured on the same runs of the original; where those cannot be made (an event that is not triggered
    by time alone) only proofs and the methods' own estimates speak. Fast quantities that are named go to the methods
    that can use them: states to ``qssa``, reactions to ``quasi-equilibrium`` (states if no reaction is named).

    Parameters
    ----------
    chains : sequence of str
        Names of methods, ``a+b`` for a chain.
    **options
        Any of :data:`~sbmlump.methods.registry.OPTIONS`; each goes to the methods that take it.

    Raises
    ------
    UsageError
        ``unknown-method``; ``unknown-fast`` if a fast quantity is neither a state nor a reaction; what
        :func:`~sbmlump.methods.registry.reduce_options` raises.
    """
    for chain in chains:
        chain_names(chain)
    values = read_options(**options)
    fast = names_in(values.pop("fast", AUTO))
    if fast != (AUTO,):
        _check_fast(system, fast)
    measured_by = options_of(MeasuredMethod, values)
    progress("simulating the original from perturbed initial values")
    reference, obstacle = _reference(system, observables, measured_by.trial)
    if reference is not None:
        measured_by = replace(measured_by, until=reference.trial.until)
        values["until"] = reference.trial.until
    rows: list[MethodRow] = []
    for chain in chains:
        names = chain_names(chain)
        asked = {**values, "fast": _fast_for(system, names, fast)}
        methods = [options_of(METHODS[name], asked) for name in names]
        if (stopped := stop_request()) is not None:
            rows.append(MethodRow(chain, None, None, False, 0.0, reason=replace(stopped, message="not run: stopped")))
            continue
        progress(f"method {chain}")
        begin = clock()
        short: Reason | None = None
        try:
            if len(methods) == 1:
                reduction = methods[0].reduce(system, observables)
            else:
                reduction = apply_chain(system, observables, methods, measured_by)
        except UnreachableError as error:
            if error.reduction is None:
                rows.append(MethodRow(chain, None, None, False, clock() - begin, reason=error.reasons[0]))
                continue
            reduction, short = error.reduction, error.reasons[0]
        except SbmlumpError as error:
            rows.append(MethodRow(chain, None, None, False, clock() - begin, reason=error.reasons[0]))
            continue
        seconds = clock() - begin
        rows.append(_row(chain, reduction, reference, short or obstacle, seconds))
    return tuple(rows)


def row_differences(rows: Sequence[MethodRow], trial: EnsembleSettings) -> dict[tuple[str, str], float]:
    """How far the observables of the time-scale approximations are apart, from the initial values of the file.

    Parameters
    ----------
    rows : sequence of MethodRow
        Rows of methods that are or end with ``qssa`` or ``quasi-equilibrium`` are compared with each other.
    trial : Trial
        With the end time.

    Returns
    -------
    mapping of (method, method) to float
        Largest relative difference; infinite where one of them cannot be integrated. Pairs with equations that are too
        long to be followed are left out.
    """
    made = [(row.method, row.reduction) for row in rows if METHODS[row.method.split("+")[-1]].time_scale]
    usable = [(name, one) for name, one in made if one is not None and isinstance(one.certificate, ErrorEstimate)]
    if len(usable) < 2:
        return {}
    first = usable[0][1]
    reference = reference_ensemble(first.original, first.observables, replace(trial, ensemble=0))
    found: dict[tuple[str, str], float] = {}
    for (a, one), (b, other) in combinations(usable, 2):
        try:
            apart = difference(one, other, reference, budget=Budget(_WORK))
        except WorkLimitError:
            continue
        found[a, b] = apart if np.isfinite(apart) else float("inf")
    return found


def _check_fast(system: OdeSystem, fast: Sequence[str]) -> None:
    known = {*system.states, *(reaction.id for reaction in system.reactions)}
    reasons = [
        Reason("unknown-fast", f"{name!r} is neither a state nor a reaction of model {system.id}", name)
        for name in fast
        if name not in known
    ]
    if reasons:
        raise UsageError(reasons)


def _fast_for(system: OdeSystem, names: Sequence[str], fast: Sequence[str]) -> str:
    """The fast quantities that the one time-scale method among ``names`` can use."""
    used = [name for name in names if METHODS[name].time_scale]
    if fast == (AUTO,) or len(used) != 1:
        return ",".join(fast)
    states = [name for name in fast if name in system.state_index]
    reactions = [name for name in fast if name not in system.state_index]
    return ",".join(states if used == [QuasiSteadyState.name] else reactions or states)


def _reference(
    system: OdeSystem, observables: Sequence[Observable], trial: EnsembleSettings
) -> tuple[ReferenceEnsemble | None, Reason | None]:
    try:
        return reference_ensemble(system, observables, trial, Budget(stoppable=True)), None
    except SbmlumpError as error:
        return None, error.reasons[0]


def _measured(reduction: ReducedSystem, reference: ReferenceEnsemble) -> tuple[float | None, Reason | None]:
    """The worst error on the common runs; where the equations are too long for that, the one of the certificate."""
    if "backward-equivalence" in reduction.method:
        reference = reference.nominal()  # perturbed initial values leave the class on which it holds
    try:
        errors = measure(reduction, reference, budget=Budget(_WORK, stoppable=True)).errors
    except WorkLimitError as error:
        message = "the equations are too long to be followed on the common runs; the error is the method's own"
        own = reduction.certificate.worst_error if isinstance(reduction.certificate, ErrorEstimate) else None
        stopped = isinstance(error, StopRequestedError)
        return own, error.reasons[0] if stopped else Reason("work-limit", message)
    failed = int((~np.isfinite(errors)).sum())
    if failed:
        message = f"the reduced model cannot be integrated from {failed} of the {len(errors)} common initial values"
        return None, Reason("not-simulated", message)
    return float(errors.max()), None


def _row(
    chain: str, reduction: ReducedSystem, reference: ReferenceEnsemble | None, obstacle: Reason | None, seconds: float
) -> MethodRow:
    error: float | None = None
    if reference is not None:
        error, unmeasured = _measured(reduction, reference)
        obstacle = obstacle or unmeasured
    elif isinstance(reduction.certificate, ErrorEstimate):
        error = reduction.certificate.worst_error  # of a method that follows events itself
    properties = kept_properties(reduction) if reduction.reducible else ()
    # a property that was not there cannot be kept; a deficiency of 0 is there
    named = [one for one in properties if one.original or (one.name == "deficiency" and one.original == 0)]
    kept = tuple(one.name for one in named if one.kept)
    lost = tuple(one.name for one in named if one.kept is False)
    exact = isinstance(reduction.certificate, ExactProof)
    return MethodRow(chain, reduction.system.size, error, exact, seconds, kept, lost, obstacle, reduction)


def methods_figure(rows: Sequence[MethodRow], size: int, title: str, drawing: CurveDrawing = CURVE_DRAWING) -> Figure:
    """Size against error, one mark for the methods that end in the same place; proved ones stand on the lower edge.

    Parameters
    ----------
    rows : sequence of MethodRow
    size : int
        States of the original.
    title : str
    drawing : CurveDrawing
    """
    figure = PAPER.figure(4.2)
    axes = figure.add_subplot()
    places: dict[tuple[int, float, bool], list[str]] = {}
    for row in rows:
        if row.size is not None and (row.error is not None or row.exact):
            error = drawing.proved if row.exact else max(row.error or 0.0, drawing.proved)
            places.setdefault((row.size or 0, error, row.exact), []).append(row.method)
    for number, ((states, error, exact), names) in enumerate(places.items()):
        lines = [", ".join(names[k : k + 2]) for k in range(0, len(names), 2)]
        label = ",\n".join(lines) + f": {states}"
        axes.plot(states, error, "s" if exact else "o", color=SERIES[number % len(SERIES)], label=label)
    axes.set_yscale("log")
    axes.set_xlim(0, size * 1.05 + 0.5)
    axes.set_xlabel(f"states (the original has {size})")
    axes.set_ylabel("worst relative error (squares: proved exact)")
    axes.set_title(title[:80], loc="left")
    PAPER.quiet(axes)
    if places:
        PAPER.legend(axes, loc="best")
    return figure
