"""The reduction methods by name, behind one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, UsageError
from sbmlump.observables import parse_observables
from sbmlump.reduced import ExactProof, LinearLumping, Lump, LumpingMatrix, Observable, ReducedSystem
from sbmlump.system import OdeSystem

__all__ = ["METHODS", "ReduceOptions", "apply", "check_method", "identity", "kept_constants"]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReduceOptions:
    """Options of a reduction, as on the command line."""

    method: str = "exact"
    keep_parameters: str | tuple[str, ...] = "none"
    until: float | None = None
    points: int = 201
    check: bool = True
    strict: bool = False
    seed: int = 0


_Method = Callable[[OdeSystem, tuple[Observable, ...], ReduceOptions, Progress], ReducedSystem]


def check_method(name: str) -> None:
    """Refuse a method that does not exist.

    Raises
    ------
    UsageError
        With code ``unknown-method``.
    """
    if name not in METHODS:
        raise UsageError(Reason("unknown-method", f"there is no method {name!r}; known: {', '.join(METHODS)}"))


def apply(
    system: OdeSystem, observe: Sequence[str], options: ReduceOptions, progress: Progress = lambda _: None
) -> ReducedSystem:
    """Reduce ``system`` by the method of ``options``, keeping what is observed.

    Raises
    ------
    UsageError, UnsupportedModelError, LimitError
    """
    check_method(options.method)
    observables = parse_observables(system, observe) if observe or options.method != "none" else ()
    return METHODS[options.method](system, observables, options, progress)


def identity(system: OdeSystem, observables: tuple[Observable, ...]) -> ReducedSystem:
    """The method ``none``: nothing is reduced."""
    matrix = LumpingMatrix(system.states, tuple({j: Fraction(1)} for j in range(system.size)))
    lumps = tuple(Lump(name, {name: Fraction(1)}) for name in system.states)
    proof = ExactProof("the model was read and written back; nothing was reduced", "identity", 0.0)
    return ReducedSystem(system, system, observables, lumps, LinearLumping(matrix, matrix), proof, "none")


def kept_constants(system: OdeSystem, wanted: str | Sequence[str]) -> frozenset[str]:
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
    names = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in names if name not in constants]
    if unknown:
        raise UsageError(
            [
                Reason("unknown-parameter", f"{name!r} is not a constant of model {system.id}; it cannot be kept", name)
                for name in unknown
            ]
        )
    return frozenset(names)


def _none(
    system: OdeSystem, observables: tuple[Observable, ...], _options: ReduceOptions, _progress: Progress
) -> ReducedSystem:
    return identity(system, observables)


def _exact(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.lumping.reduction import lump_exactly

    keep = kept_constants(system, options.keep_parameters)
    return lump_exactly(system, observables, keep=keep, seed=options.seed, progress=progress)


def _forward(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.lumping.partition_reduce import reduce_forward

    keep = kept_constants(system, options.keep_parameters)
    return reduce_forward(system, observables, keep=keep, seed=options.seed, progress=progress)


def _backward(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.lumping.partition_reduce import reduce_backward

    keep = kept_constants(system, options.keep_parameters)
    return reduce_backward(system, observables, keep=keep, seed=options.seed, progress=progress)


METHODS: Final[Mapping[str, _Method]] = {
    "exact": _exact,
    "none": _none,
    "forward-equivalence": _forward,
    "backward-equivalence": _backward,
}
"""Every method by the name it has on the command line."""
