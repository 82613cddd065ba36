"""The reduction methods by name, behind one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from numbers import Integral, Real
from os import PathLike
from typing import Any, Final

from sbmlump.errors import Reason, UsageError
from sbmlump.model.observables import parse_observables
from sbmlump.model.reduced import ExactProof, LinearLumping, Lump, LumpingMatrix, Observable, ReducedSystem
from sbmlump.model.system import OdeSystem

__all__ = ["METHODS", "ReduceOptions", "apply", "check_method", "identity", "kept_constants", "method_chain"]


Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReduceOptions:
    """Options of a reduction, as on the command line; a method looks at those that concern it.

    Where ids are joined by commas, a list of them does as well. What an option does not take is refused when the
    options are made.

    Attributes
    ----------
    method : str
        One of :data:`METHODS`, or several joined by commas, applied in turn.
    keep_parameters : str or sequence of str
        ``none``, ``all``, or ids of constants for all of whose values an exact reduction is to hold.
    until : float or None
        Horizon of the comparison, and of approximate methods; chosen from the model if ``None``.
    algorithm, tolerance, max_size, max_error, ensemble, spread, perturb_parameters, refine, non_negative, work
        See :class:`sbmlump.methods.approximate.run.ApproximateOptions`.
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

    def __post_init__(self) -> None:
        """Bring every option into its one form: lists of ids as text or tuples, paths as text, numbers as numbers.

        Raises
        ------
        UsageError
            With code ``bad-option`` (``bad-horizon``, ``bad-grid``) and what is taken, for each option.
        """
        wrong: list[Reason] = []
        for each in fields(self):
            kind = _KINDS[each.name]
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            taken = kind.read(value)
            if taken is None:
                optional = ", or None" if each.default is None else ""
                message = f"{each.name} ({_flag(each.name)}) is {kind.says}{optional}, not {value!r}"
                wrong.append(Reason(kind.code, message))
            else:
                object.__setattr__(self, each.name, taken)
        if wrong:
            raise UsageError(wrong)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an option takes: ``read`` gives it in its one form, ``None`` if it is something else."""

    says: str
    read: Callable[[Any], Any]
    code: str = "bad-option"


def _names(value: object) -> tuple[str, ...] | None:
    """Texts of a list; of one text itself."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence | AbstractSet) and all(isinstance(one, str) for one in value):
        return tuple(value) if isinstance(value, Sequence) else tuple(sorted(value))
    return None


def _joined(value: object) -> str | None:
    names = _names(value)
    return None if names is None else ",".join(names)


def _kept(value: object) -> str | tuple[str, ...] | None:
    return value if isinstance(value, str) else _names(value)


def _choice(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _path(value: object) -> str | None:
    return str(value) if isinstance(value, str | PathLike) else None


def _flag_value(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _real(low: float, high: float, *, low_included: bool = False) -> Callable[[Any], float | None]:
    """A number above ``low`` and below ``high``; a truth value is none."""

    def read(value: object) -> float | None:
        if _flag_value(value) is not None or not isinstance(value, Real):
            return None
        number = float(value)
        return number if low < number < high or (low_included and number == low) else None

    return read


def _whole(low: int) -> Callable[[Any], int | None]:
    def read(value: object) -> int | None:
        if _flag_value(value) is not None or not isinstance(value, Integral):
            return None
        return int(value) if int(value) >= low else None

    return read


_LIST: Final = "a text of ids with commas between them, or a list of ids"
_FLAG: Final = _Kind("True or False", _flag_value)
_POSITIVE: Final = _Kind("a positive number", _real(0.0, math.inf))
_SHARE: Final = _Kind("a number that is at least 0 and less than 1", _real(0.0, 1.0, low_included=True))
_KINDS: Final[Mapping[str, _Kind]] = {
    "method": _Kind("the name of a method, or several as a list or with commas between them", _joined),
    "keep_parameters": _Kind(f"'none', 'all', {_LIST}", _kept),
    "until": _Kind("a positive number", _real(0.0, math.inf), "bad-horizon"),
    "points": _Kind("a whole number of at least 2", _whole(2), "bad-grid"),
    "check": _FLAG,
    "strict": _FLAG,
    "seed": _Kind("a whole number that is not negative", _whole(0)),
    "algorithm": _Kind("the name of an algorithm", _choice),
    "tolerance": _Kind("a number that is not negative", _real(0.0, math.inf, low_included=True)),
    "max_size": _Kind("a whole number of at least 1", _whole(1)),
    "max_error": _POSITIVE,
    "ensemble": _Kind("a whole number that is not negative", _whole(0)),
    "spread": _SHARE,
    "perturb_parameters": _SHARE,
    "refine": _FLAG,
    "non_negative": _FLAG,
    "work": _Kind("a positive number", lambda value: math.inf if value == math.inf else _real(0.0, math.inf)(value)),
    "fast": _Kind(f"'auto', {_LIST}", _joined),
    "threshold": _Kind("a number", _real(-math.inf, math.inf)),
    "weighting": _Kind("the name of a weighting", _choice),
    "totals": _Kind("a total such as 'A + B', or a list of totals", _names),
    "rational": _FLAG,
    "neural": _Kind("the name of a file", _path),
    "lumping": _Kind("the name of a file", _path),
    "on_class": _FLAG,
    "reconstruct": _Kind(f"'all', {_LIST}", _joined),
    "as_rate_rules": _FLAG,
    "simulator": _Kind("the name of a simulator", _choice),
}
"""What each option of :class:`ReduceOptions` takes; the ranges that depend on the model are checked by the methods."""


def _flag(option: str) -> str:
    """The option on the command line."""
    special = {"totals": "--total", "check": "--no-check", "as_rate_rules": "--as"}
    return special.get(option, "--" + option.replace("_", "-"))


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
    from sbmlump.methods.elimination.substitute import refuse_undefined

    names = method_chain(options)
    unused = _unused(options, names)
    observe = _observed(observe)
    observables = parse_observables(system, observe) if observe or names != ("none",) else ()
    if len(names) == 1 and names[0] in _DIRECT:
        reduction = _DIRECT[names[0]](system, observables, options, progress)
    else:
        reduction = _chain(system, observables, options, names)
    if options.reconstruct is not None and reduction.reducible:
        from sbmlump.methods.reactions import reconstruct

        wanted = options.reconstruct
        reduction = reconstruct(reduction, wanted if wanted == "all" else [name.strip() for name in wanted.split(",")])
    refuse_undefined(reduction)
    return replace(reduction, reasons=(*reduction.reasons, *unused)) if unused else reduction


def _observed(observe: Sequence[str]) -> Sequence[str]:
    """What is to be observed, each a text; a text alone is one observable.

    Raises
    ------
    UsageError
        With code ``bad-option`` for anything else.
    """
    names = _names(observe)
    if names is None:
        message = f"observe (--observe) is an id, an expression such as 'A + 2*B', or a list of them, not {observe!r}"
        raise UsageError(Reason("bad-option", message))
    return names


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
            message = f"{_flag(option)} has no effect: it is an option of {', '.join(users)}"
            found.append(Reason("option-unused", message))
    return tuple(found)


def identity(system: OdeSystem, observables: tuple[Observable, ...]) -> ReducedSystem:
    """The method ``none``: nothing is reduced."""
    matrix = LumpingMatrix(system.states, tuple({j: Fraction(1)} for j in range(system.size)))
    lumps = tuple(Lump(name, {name: Fraction(1)}) for name in system.states)
    proof = ExactProof(
        "the model was read and written back; nothing was reduced", "identity", 0.0, symbolic=system.given_constants
    )
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
    from sbmlump.methods.exact.lump import lump_exactly

    keep = kept_constants(system, options.keep_parameters)
    return lump_exactly(system, observables, keep=keep, seed=options.seed, progress=progress)


def _forward(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.methods.exact.partition import reduce_forward

    keep = kept_constants(system, options.keep_parameters)
    return reduce_forward(system, observables, keep=keep, seed=options.seed, progress=progress)


def _backward(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.methods.exact.partition import reduce_backward

    keep = kept_constants(system, options.keep_parameters)
    return reduce_backward(system, observables, keep=keep, seed=options.seed, progress=progress)


def _approximate(
    system: OdeSystem, observables: tuple[Observable, ...], options: ReduceOptions, progress: Progress
) -> ReducedSystem:
    from sbmlump.methods.approximate.run import DEFAULT_WORK, approximate

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
    from sbmlump.dynamics.ensemble import EnsembleSettings
    from sbmlump.methods.steps import MethodOptions, apply_chain

    fast = tuple(name.strip() for name in options.fast.split(",") if name.strip())
    trial = EnsembleSettings(
        options.until, 6 if options.ensemble is None else options.ensemble, options.spread, options.seed
    )
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
    "keep_parameters": ("exact", "forward-equivalence", "backward-equivalence", "pooling", "conservation"),
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
