"""All methods side by side on one model: size, error on the same runs, time, what is preserved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from sbmlump.classic.measure import Trial, Yardstick, measure, yardstick
from sbmlump.classic.method import METHODS, STANDARD_OPTIONS, MethodOptions, apply_chain
from sbmlump.errors import Reason, SbmlumpError
from sbmlump.reduced import ErrorEstimate, ExactProof, Observable, ReducedSystem
from sbmlump.structure.kept import kept_properties
from sbmlump.system import OdeSystem

__all__ = ["DEFAULT_CHAINS", "MethodRow", "compare_methods"]

DEFAULT_CHAINS: Final = (
    "exact",
    "forward-equivalence",
    "conservation",
    "exact,conservation",
    "qssa",
    "quasi-equilibrium",
    "conservation,qssa",
    "relation-graph",
    "learned",
    "approximate",
)
Progress = Callable[[str], None]


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
        Why there is no result.
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
        reason = self.reason
        return {
            "method": self.method,
            "size": self.size,
            "worst_error": self.error,
            "exact": self.exact,
            "seconds": self.seconds,
            "kept": list(self.kept),
            "lost": list(self.lost),
            "reason": None
            if reason is None
            else {"code": reason.code, "element": reason.element, "message": reason.message},
        }


def compare_methods(
    system: OdeSystem,
    observables: Sequence[Observable],
    chains: Sequence[str] = DEFAULT_CHAINS,
    options: MethodOptions = STANDARD_OPTIONS,
    *,
    progress: Progress = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[MethodRow, ...]:
    """Run each method; what one refuses is a row with its reason.

    All errors are measured on the same runs of the original. A model with events is not simulated here: then only
    proofs speak.
    """
    ruler, obstacle = _ruler(system, observables, options.trial)
    if ruler is not None:
        options = replace(options, trial=ruler.trial)
    rows: list[MethodRow] = []
    for chain in chains:
        names = chain.split(",")
        if any(name not in METHODS for name in names):
            continue
        progress(f"method {chain}")
        begin = clock()
        try:
            reduction = apply_chain(system, observables, names, options)
        except SbmlumpError as error:
            rows.append(MethodRow(chain, None, None, False, clock() - begin, reason=error.reasons[0]))
            continue
        seconds = clock() - begin
        rows.append(_row(chain, reduction, ruler, obstacle, seconds))
    return tuple(rows)


def _ruler(
    system: OdeSystem, observables: Sequence[Observable], trial: Trial
) -> tuple[Yardstick | None, Reason | None]:
    try:
        return yardstick(system, observables, trial), None
    except SbmlumpError as error:
        return None, error.reasons[0]


def _row(
    chain: str, reduction: ReducedSystem, ruler: Yardstick | None, obstacle: Reason | None, seconds: float
) -> MethodRow:
    error: float | None = None
    if ruler is not None:
        worst = float(measure(reduction, ruler).errors.max())
        error = worst if np.isfinite(worst) else None
    elif isinstance(reduction.certificate, ErrorEstimate):
        error = reduction.certificate.worst_error  # of a method that follows events itself
    properties = kept_properties(reduction) if reduction.reducible else ()
    named = [one for one in properties if one.original or one.original == 0]
    kept = tuple(one.name for one in named if one.kept and one.original is not False)
    lost = tuple(one.name for one in named if one.kept is False)
    exact = isinstance(reduction.certificate, ExactProof)
    return MethodRow(chain, reduction.system.size, error, exact, seconds, kept, lost, obstacle, reduction)
