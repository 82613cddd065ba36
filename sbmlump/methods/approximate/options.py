"""What an approximate reduction is asked for: options, their sense, and a target that was not reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from sbmlump.errors import LimitError, Reason, UsageError
from sbmlump.methods.method import Ensemble, MaxError, MaxSize, Method, Spread
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.options import FLAG, POSITIVE, Option, Seed, Until, choice, number

__all__ = ["ALGORITHMS", "CURVE_ALGORITHMS", "NON_NEGATIVE", "ApproximateOptions", "UnreachableError", "check_options"]

ALGORITHMS: Final = ("balanced", "quadratic", "krylov", "forward-epsilon", "backward-epsilon")
NON_NEGATIVE: Final = "non-negative"
CURVE_ALGORITHMS: Final = (*ALGORITHMS, NON_NEGATIVE)
"""Lines of a curve: the algorithms, and the balanced one's variant with disjoint lumps without minus signs."""


class UnreachableError(LimitError):
    """No reduction within the limits is as accurate as was asked for; the best one is attached.

    Attributes
    ----------
    reduction : ReducedSystem or None
    """

    def __init__(self, reasons: Reason | Sequence[Reason], reduction: ReducedSystem | None = None) -> None:
        super().__init__(reasons)
        if reduction is not None and not reduction.shortfall:  # whoever writes it says so in the file
            reduction = replace(reduction, reasons=(*self.reasons, *reduction.reasons))
        self.reduction = reduction

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons, self.reduction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximateOptions(Method):
    """Options of approximate lumping.

    With neither ``max_error`` nor ``max_size`` nor ``tolerance``, the smallest reduction with an error of at most 0.01.
    """

    algorithm: Annotated[str, Option(choice(*ALGORITHMS), "how the lumping is found.")] = "balanced"
    tolerance: Annotated[
        float | None,
        Option(
            number(0.0),
            "with another algorithm than balanced and quadratic: its ε, the largest part to be left out.",
            "EPS",
        ),
    ] = None
    max_size: MaxSize = None
    max_error: MaxError = None
    until: Until = None
    ensemble: Ensemble = 24
    spread: Spread = 0.2
    perturb_parameters: Annotated[float, Option(number(0.0, 1.0, high_open=True), "vary parameters too.", "S")] = 0.0
    seed: Seed = 0
    refine: Annotated[bool, Option(FLAG, "improve by Levenberg–Marquardt least squares.")] = False
    non_negative: Annotated[
        bool, Option(FLAG, "disjoint lumps with non-negative weights: the lifted state stays non-negative.")
    ] = False
    bound: Annotated[bool, Option(FLAG, "report the published bound of the error (Theorem 3), too.")] = False
    # some seconds of compiled integration: what a person waits for; with more, sizes become smaller slowly
    work: Annotated[
        float,
        Option(
            POSITIVE,
            "units of work that the search may do (a second at most, ten without Numba); "
            "--refine allows four times as many more.",
            "N",
            default_of_method=True,
        ),
    ] = 8.0

    @property
    def balances(self) -> bool:
        """Whether candidates come from the balanced decomposition, and can be refined."""
        return self.algorithm in ("balanced", "quadratic") and not self.non_negative


def check_options(system: OdeSystem, options: ApproximateOptions) -> None:
    """Refuse requests that make no sense together or for this model, all at once.

    Raises
    ------
    UsageError
    """
    wrong: list[str] = []
    o = options
    if o.max_size is not None and o.max_size >= system.size:
        wrong.append(f"the model has {system.size} states; --max-size must be smaller, not {o.max_size}")
    if o.tolerance is not None and o.algorithm in ("balanced", "quadratic"):
        wrong.append("--tolerance is the ε of the other algorithms; give --max-error or --max-size to the balanced one")
    if o.tolerance is not None and o.max_size is not None:
        wrong.append("give either --tolerance or --max-size: the one follows from the other")
    if o.refine and not o.balances:
        wrong.append("--refine improves the balanced reduction only (it keeps neither orthonormality nor signs)")
    if o.non_negative and o.algorithm != "balanced":
        wrong.append("--non-negative is a variant of the balanced algorithm")
    if wrong:
        raise UsageError([Reason("bad-option", message) for message in wrong])
