"""What a reduction method is: a class of options with ``reduce``; and the options that several methods share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from sbmlump.errors import Reason, UsageError, did_you_mean, near_matches
from sbmlump.model.reduced import (
    ExactProof,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Observable,
    ReducedSystem,
    with_observables,
)
from sbmlump.model.system import OdeSystem
from sbmlump.options import POSITIVE, Option, Options, Seed, Until, ids, names_in, number, whole_number

if TYPE_CHECKING:
    from sbmlump.dynamics.ensemble import EnsembleSettings

__all__ = [
    "AUTO",
    "STANDARD",
    "WEIGHTINGS",
    "Clock",
    "Context",
    "Ensemble",
    "ExactMethod",
    "Fast",
    "KeepParameters",
    "MaxError",
    "MaxSize",
    "MeasuredMethod",
    "Method",
    "Observables",
    "Progress",
    "unheard",
    "Spread",
    "TimeScaleMethod",
    "Weighting",
    "fast_of",
    "identity",
    "kept_constants",
]

Progress = Callable[[str], None]
Clock = Callable[[], float]


def unheard(_: str) -> None:
    """Progress that nobody follows."""


Observables = Sequence[Observable]
AUTO: Final = "auto"
Weighting = Literal["maximum", "average", "turnover"]
WEIGHTINGS: Final[tuple[Weighting, ...]] = ("maximum", "average", "turnover")

Ensemble = Annotated[
    int,
    # a million runs of a small model take hours
    Option(whole_number(0, 1_000_000), "perturbed initial values.", "N", default_of_method=True),
]
Fast = Annotated[str, Option(ids(AUTO), "fast states or reactions.", "ID,…|auto")]
KeepParameters = Annotated[
    str,
    Option(ids("none", "all"), "constants for all of whose values the reduction is to hold.", "none|all|ID,ID"),
]
MaxError = Annotated[float | None, Option(POSITIVE, "smallest model with this relative error.", "R")]
MaxSize = Annotated[int | None, Option(whole_number(1, 2**31 - 1), "at most N states.", "N")]
Spread = Annotated[
    float, Option(number(0.0, 1.0, high_open=True), "relative size of the perturbation of initial values.", "S")
]


@dataclass(frozen=True, slots=True)
class Context:
    """What a method is told beside its options.

    Attributes
    ----------
    progress : callable
        Takes what is being done, in a few words.
    measured : bool
        Whether the error is to be measured; off inside a chain, which is measured as a whole.
    before_fast : bool
        Whether a time-scale method follows: then ``conservation`` leaves alone what stands in products, so that the
        equations of fast states stay linear in them (Michaelis–Menten instead of a square root).
    first : OdeSystem or None
        Inside a chain: the original, whose constants ``keep_parameters`` names and whose states ``fast`` names.
    """

    progress: Progress = unheard
    measured: bool = True
    before_fast: bool = False
    first: OdeSystem | None = None


STANDARD: Final = Context()


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Options):
    """A reduction method; its fields are its options. The first line of the docstring says what it does.

    Attributes
    ----------
    name : str
        On the command line.
    vouched : str
        What vouches for its reductions.
    time_scale : bool
        Whether it puts fast quantities at their steady state or equilibrium.
    nothing_found : str
        What is said where it reduces nothing.
    """

    name: ClassVar[str]
    vouched: ClassVar[str] = "proof"
    time_scale: ClassVar[bool] = False
    nothing_found: ClassVar[str] = "the method found nothing to reduce"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """Reduce ``system``, keeping ``observables``.

        Raises
        ------
        UsageError, UnsupportedModelError, LimitError
        """
        raise NotImplementedError

    def rewrite(self, reduction: ReducedSystem) -> ReducedSystem | None:
        """The reduction of earlier methods in another form, by a method that does that; else ``None``."""
        del reduction
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactMethod(Method):
    """A method whose reductions are proved, for all values of the constants that are kept."""

    keep_parameters: KeepParameters = "none"
    seed: Seed = 0

    def keep(self, system: OdeSystem, context: Context) -> frozenset[str]:
        """Constants that stay symbolic; inside a chain also those that an earlier method made.

        Totals and initial values of which an earlier method made constants stay free, for other initial values.
        """
        if context.first is None:
            return kept_constants(system, self.keep_parameters)
        made = {c.id for c in system.constants} - {c.id for c in context.first.constants}
        return kept_constants(context.first, self.keep_parameters) | made


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredMethod(Method):
    """A method whose error is measured on runs of the original."""

    vouched = "measured error"

    until: Until = None
    ensemble: Ensemble = 6
    spread: Spread = 0.2
    seed: Seed = 0

    @property
    def trial(self) -> EnsembleSettings:
        """The runs on which the error is measured."""
        from sbmlump.dynamics.ensemble import EnsembleSettings

        return EnsembleSettings(self.until, self.ensemble, self.spread, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeScaleMethod(MeasuredMethod):
    """A method that takes fast quantities out of the equations of motion."""

    time_scale = True

    fast: Fast = AUTO


def fast_of(fast: str, system: OdeSystem, context: Context) -> tuple[str, ...] | str:
    """``auto``, or the fast quantities without states that an earlier method eliminated.

    Those follow what is retained already; where none but such are named, all are given, to be refused by name.
    """
    names = names_in(fast)
    if names == (AUTO,):
        return AUTO
    gone = set() if context.first is None else set(context.first.states) - set(system.states)
    return tuple(name for name in names if name not in gone) or names


def kept_constants(system: OdeSystem, wanted: str) -> frozenset[str]:
    """Ids of the constants to be kept symbolic.

    Raises
    ------
    UsageError
        If an id is not a constant of the model (code ``unknown-parameter``).
    """
    constants = {c.id for c in system.constants}
    if wanted == "none":
        return frozenset()
    if wanted == "all":
        return frozenset(constants)
    names = names_in(wanted)
    unknown = [name for name in names if name not in constants]
    if unknown:
        raise UsageError(
            [
                Reason(
                    "unknown-parameter",
                    f"{name!r} is not a constant of model {system.id}; {_meant(name, constants)}",
                    name,
                )
                for name in unknown
            ]
        )
    return frozenset(names)


def _meant(name: str, constants: Collection[str]) -> str:
    return did_you_mean(near_matches(name, sorted(constants)), "'sbmlump inspect' lists the constants")


def identity(
    system: OdeSystem,
    observables: Sequence[Observable],
    method: str = "none",
    why: str = "the model was read and written back",
    remarks: tuple[str, ...] = (),
    seconds: Mapping[str, float] | None = None,
) -> ReducedSystem:
    """Nothing is reduced; observables that have no id of the model become assigned quantities."""
    matrix = LumpingMatrix(system.states, tuple({j: Fraction(1)} for j in range(system.size)))
    lumps = tuple(Lump(name, {name: Fraction(1)}) for name in system.states)
    proof = ExactProof(f"{why}; nothing was reduced", "identity", 0.0, symbolic=system.given_constants)
    same = with_observables(system, observables)
    kind = LinearLumping(matrix, matrix)
    return ReducedSystem(system, same, tuple(observables), lumps, kind, proof, method, dict(seconds or {}), remarks)
