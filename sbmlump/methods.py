"""The reduction methods by name, behind one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, UsageError
from sbmlump.observables import parse_observables
from sbmlump.reduced import ExactProof, LinearLumping, Lump, LumpingMatrix, Observable, ReducedSystem
from sbmlump.system import OdeSystem

__all__ = ["METHODS", "ReduceOptions", "apply", "check_method", "identity", "kept_constants", "method_chain"]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReduceOptions:
    """Options of a reduction, as on the command line; a method looks at those that concern it.

    Attributes
    ----------
    method : str
        One of :data:`METHODS`, or several joined by commas, applied in turn.
    keep_parameters : str or tuple of str
        ``none``, ``all``, or ids of constants for all of whose values an exact reduction is to hold.
    until : float or None
        Horizon of the comparison, and of approximate methods; chosen from the model if ``None``.
    algorithm, tolerance, max_size, max_error, ensemble, spread, perturb_parameters, refine, non_negative, work
        See :class:`sbmlump.lumping.approximate.ApproximateOptions`.
    fast : str
        Fast states or reactions of the time-scale methods, joined by commas, or ``auto``.
    threshold : float or None
        Of the relation graph.
    weighting : str or None
        Of the relation graph: ``maximum``, ``average`` or ``turnover``.
    totals : tuple of str
        Totals that conservation is to eliminate; all where empty.
    rational : bool
        Let a learned right-hand side have denominators.
    neural : str or None
        File for the weights of a neural closure, trained beside a learned system.
    lumping : str or None
        File of a user's own lumps.
    on_class : bool
        Take the conserved totals that are left as constants.
    reconstruct : str or None
        Original states to be given by assignment rules where the lumps determine them: ids or ``all``.
    as_rate_rules : bool
        Write rate rules, never reactions.
    """

    method: str = "exact"
    keep_parameters: str | tuple[str, ...] = "none"
    until: float | None = None
    points: int = 201
    check: bool = True
    strict: bool = False
    seed: int = 0
    algorithm: str = "balanced"
    tolerance: float | None = None
    max_size: int | None = None
    max_error: float | None = None
    ensemble: int | None = None
    spread: float = 0.2
    perturb_parameters: float = 0.0
    refine: bool = False
    non_negative: bool = False
    work: float | None = None
    fast: str = "auto"
    threshold: float | None = None
    weighting: str | None = None
    totals: tuple[str, ...] = ()
    rational: bool = False
    neural: str | None = None
    lumping: str | None = None
    on_class: bool = False
    reconstruct: str | None = None
    as_rate_rules: bool = False
    simulator: str = "roadrunner"


_Method = Callable[[OdeSystem, tuple[Observable, ...], ReduceOptions, Progress], ReducedSystem]


def method_chain(options: ReduceOptions) -> tuple[str, ...]:
    """The methods that ``options`` ask for, in turn.

    Raises
    ------
    UsageError
        With code ``unknown-method``, every name that is not known.
    """
    names = tuple(name.strip() for name in options.method.split(","))
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise UsageError(
            [
                Reason("unknown-method", f"there is no method {name!r}; known: {', '.join(METHODS)}", name)
                for name in unknown
            ]
        )
    if options.lumping is not None and names == ("exact",):
        names = ("lumping",)
    return (*names, "conservation") if options.on_class else names


def check_method(name: str) -> None:
    """Refuse a method, or several joined by commas, that does not exist.

    Raises
    ------
    UsageError
        With code ``unknown-method``.
    """
    method_chain(ReduceOptions(name))


def apply(
    system: OdeSystem, observe: Sequence[str], options: ReduceOptions, progress: Progress = lambda _: None
) -> ReducedSystem:
    """Reduce ``system`` by the method of ``options``, keeping what is observed.

    Raises
    ------
    UsageError, UnsupportedModelError, LimitError
    """
    names = method_chain(options)
    unused = _unused(options, names)
    observables = parse_observables(system, observe) if observe or names != ("none",) else ()
    if len(names) == 1 and names[0] in _DIRECT:
        reduction = _DIRECT[names[0]](system, observables, options, progress)
    else:
        reduction = _chain(system, observables, options, names)
    if options.reconstruct is not None and reduction.reducible:
        from sbmlump.lumping.reconstruct import reconstruct

        wanted = options.reconstruct
        reduction = reconstruct(reduction, wanted if wanted == "all" else [name.strip() for name in wanted.split(",")])
    return replace(reduction, reasons=(*reduction.reasons, *unused)) if unused else reduction


def _unused(options: ReduceOptions, names: Sequence[str]) -> tuple[Reason, ...]:
    """Options that were given and that no method of ``names`` looks at.

    Raises
    ------
    UsageError
        ``bad-option`` if a matrix is given to methods that find their own.
    """
    if options.lumping is not None and "lumping" not in names:
        message = (
            f"the method {options.method} finds its own lumping; use --lumping FILE alone or with --method lumping"
        )
        raise UsageError(Reason("bad-option", message))
    found: list[Reason] = []
    standard = ReduceOptions()
    for option, users in _USERS.items():
        given = getattr(options, option) != getattr(standard, option)
        if given and not set(users) & set(names):
            flag = "--total" if option == "totals" else "--" + option.replace("_", "-")
            message = f"{flag} has no effect: it is an option of {', '.join(users)}"
            found.append(Reason("option-unused", message))
    return tuple(found)


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


def _approximate(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.lumping.approximate import DEFAULT_WORK, approximate

    return approximate(
        system,
        observables,
        algorithm=options.algorithm,  # type: ignore[arg-type]  # checked there
        tolerance=options.tolerance,
        max_size=options.max_size,
        max_error=options.max_error,
        until=options.until,
        ensemble=24 if options.ensemble is None else options.ensemble,
        spread=options.spread,
        perturb_parameters=options.perturb_parameters,
        seed=options.seed,
        refine=options.refine,
        non_negative=options.non_negative,
        work=DEFAULT_WORK if options.work is None else options.work,
        progress=progress,
    )


def _chain(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, names: tuple[str, ...]
) -> ReducedSystem:
    from sbmlump.classic.measure import Trial
    from sbmlump.classic.method import MethodOptions, apply_chain

    fast = tuple(name.strip() for name in options.fast.split(","))
    trial = Trial(options.until, 6 if options.ensemble is None else options.ensemble, options.spread, options.seed)
    settings = MethodOptions(
        keep=kept_constants(system, options.keep_parameters),
        fast="auto" if fast == ("auto",) else fast,
        totals=options.totals,
        threshold=options.threshold,
        weighting=options.weighting,  # type: ignore[arg-type]  # checked there
        max_error=options.max_error,
        max_size=options.max_size,
        tolerance=options.tolerance,
        rational=options.rational,
        algorithm=options.algorithm,
        ensemble=options.ensemble,
        perturb_parameters=options.perturb_parameters,
        refine=options.refine,
        non_negative=options.non_negative,
        work=options.work,
        lumping=options.lumping,
        trial=trial,
        seed=options.seed,
    )
    return apply_chain(system, observables, names, settings)


_DIRECT: Final[Mapping[str, _Method]] = {
    "exact": _exact,
    "approximate": _approximate,
    "forward-equivalence": _forward,
    "backward-equivalence": _backward,
    "none": _none,
}
_USERS: Final[Mapping[str, tuple[str, ...]]] = {
    "keep_parameters": ("exact", "forward-equivalence", "backward-equivalence", "pooling"),
    "algorithm": ("approximate",),
    "tolerance": ("approximate",),
    "perturb_parameters": ("approximate",),
    "refine": ("approximate",),
    "non_negative": ("approximate",),
    "work": ("approximate",),
    "max_size": ("approximate", "learned"),
    "max_error": ("approximate", "learned", "relation-graph"),
    "fast": ("qssa", "quasi-equilibrium", "conservation"),
    "threshold": ("relation-graph",),
    "weighting": ("relation-graph",),
    "totals": ("conservation",),
    "rational": ("learned",),
}
"""Options by the methods that look at them."""

METHODS: Final[tuple[str, ...]] = (
    "exact",
    "approximate",
    "forward-equivalence",
    "backward-equivalence",
    "conservation",
    "qssa",
    "quasi-equilibrium",
    "relation-graph",
    "pooling",
    "learned",
    "lumping",
    "none",
)
"""Every method by the name it has on the command line."""
