"""What an approximate reduction is asked for: options, their sense, and a target that was not reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sbmlump.errors import LimitError, Reason, UsageError
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import OdeSystem

__all__ = ["ALGORITHMS", "DEFAULT_WORK", "Algorithm", "ApproximateOptions", "UnreachableError", "check_options"]


Algorithm = Literal["balanced", "krylov", "forward-epsilon", "backward-epsilon"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("balanced", "krylov", "forward-epsilon", "backward-epsilon")

DEFAULT_WORK: Final = 60.0
"""Units of work; searches on published models of up to 90 states take 5 to 60, a unit about a second."""


class UnreachableError(LimitError):
    """No reduction within the limits is as accurate as was asked for; the best one is attached.

    Attributes
    ----------
    reduction : ReducedSystem or None
    """

    def __init__(self, reasons: Reason | Sequence[Reason], reduction: ReducedSystem | None = None) -> None:
        super().__init__(reasons)
        self.reduction = reduction

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons, self.reduction)


@dataclass(frozen=True, slots=True)
class ApproximateOptions:
    """What to look for and on which runs.

    Attributes
    ----------
    algorithm : str
        ``balanced`` or ``krylov`` (the published one).
    tolerance : float or None
        ε of the published Algorithm 4.
    max_size : int or None
        The best reduction with at most so many states.
    max_error : float or None
        The smallest reduction whose worst relative error over the validation runs is at most this. With neither this
        nor a size nor a tolerance, 0.01.
    until : float or None
        End time, in the model's unit of time; chosen from the observables if absent.
    ensemble : int
        Perturbed training runs beside the nominal one.
    spread : float
        Relative perturbation of initial values.
    perturb_parameters : float
        Relative perturbation of parameters.
    seed : int
    refine : bool
        Improve by Levenberg–Marquardt.
    non_negative : bool
        Disjoint lumps with non-negative weights: the lifted state stays non-negative.
    work : float
        Units of work that the search may do (see :mod:`sbmlump.dynamics.budget`); ``refine`` allows as many again.
    bound : bool
        Report the bound of the published Theorem 3 too.
    """

    algorithm: Algorithm = "balanced"
    tolerance: float | None = None
    max_size: int | None = None
    max_error: float | None = None
    until: float | None = None
    ensemble: int = 24
    spread: float = 0.2
    perturb_parameters: float = 0.0
    seed: int = 0
    refine: bool = False
    non_negative: bool = False
    bound: bool = False
    work: float = DEFAULT_WORK


def check_options(system: OdeSystem, options: ApproximateOptions) -> None:
    """Refuse requests that make no sense, all at once.

    Raises
    ------
    UsageError
    """
    wrong: list[str] = []
    o = options
    if o.algorithm not in ALGORITHMS:
        wrong.append(f"there is no algorithm {o.algorithm!r}; known: {', '.join(ALGORITHMS)}")
    if o.until is not None and not (o.until > 0 and math.isfinite(o.until)):
        wrong.append(f"the end time must be positive, not {o.until:g} (--until)")
    if o.max_size is not None and o.max_size < 1:
        wrong.append(f"the largest size must be at least 1, not {o.max_size} (--max-size)")
    if o.max_size is not None and o.max_size >= system.size:
        wrong.append(f"the model has {system.size} states; --max-size must be smaller, not {o.max_size}")
    if o.max_error is not None and not (o.max_error > 0 and math.isfinite(o.max_error)):
        wrong.append(f"the error must be positive, not {o.max_error:g} (--max-error)")
    if o.tolerance is not None and not (o.tolerance >= 0 and math.isfinite(o.tolerance)):
        wrong.append(f"the tolerance must not be negative, not {o.tolerance:g} (--tolerance)")
    if o.tolerance is not None and o.algorithm == "balanced":
        wrong.append("--tolerance is the ε of the other algorithms; give --max-error or --max-size to the balanced one")
    if o.tolerance is not None and o.max_size is not None:
        wrong.append("give either --tolerance or --max-size: the one follows from the other")
    if not o.work > 0:
        wrong.append(f"the work must be positive, not {o.work:g} (--work)")
    if o.ensemble < 0:
        wrong.append(f"the ensemble must not be negative, not {o.ensemble} (--ensemble)")
    if not 0 <= o.spread < 1:
        wrong.append(f"the spread must lie in [0, 1), not {o.spread:g} (--spread)")
    if not 0 <= o.perturb_parameters < 1:
        wrong.append(f"the perturbation of parameters must lie in [0, 1), not {o.perturb_parameters:g}")
    if o.refine and (o.algorithm != "balanced" or o.non_negative):
        wrong.append("--refine improves the balanced reduction only (it keeps neither orthonormality nor signs)")
    if o.non_negative and o.algorithm != "balanced":
        wrong.append("--non-negative is a variant of the balanced algorithm")
    if wrong:
        raise UsageError([Reason("bad-option", message) for message in wrong])
