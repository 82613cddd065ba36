"""The reduction methods, each a class of options with ``reduce``, in the only table; and one reduction by them.

The command line's options and their help, the keyword options of Python, those of ``compare-methods`` and of surveys,
what is said of options without effect, and the page of methods in the documentation come from the classes in
:data:`METHODS`. To add a method: a class here (or beside the method), one line in the table, a test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

from sbmlump.errors import Reason, UsageError
from sbmlump.methods.approximate.options import ApproximateOptions, check_options
from sbmlump.methods.chain import apply_chain
from sbmlump.methods.method import (
    AUTO,
    STANDARD,
    WEIGHTINGS,
    Context,
    ExactMethod,
    Fast,
    MaxError,
    MaxSize,
    MeasuredMethod,
    Method,
    Observables,
    Progress,
    TimeScaleMethod,
    Weighting,
    fast_of,
    identity,
    unheard,
)
from sbmlump.model.reduced import (
    Observable,
    ReducedSystem,
    parse_observables,
)
from sbmlump.model.system import OdeSystem
from sbmlump.options import (
    FILE,
    FLAG,
    LEVEL,
    OBSERVE,
    SIMULATOR,
    Declared,
    Option,
    Options,
    Points,
    Seed,
    Until,
    choice,
    declared,
    ids,
    names_in,
    number,
    refuse_unknown,
    texts,
)

__all__ = [
    "DEFAULT_CHAINS",
    "METHODS",
    "OPTIONS",
    "Approximate",
    "Exact",
    "Learned",
    "ReduceOptions",
    "chain_names",
    "method_alternatives",
    "methods_with",
    "options_of",
    "read_options",
    "reduce_by",
    "reduce_options",
]


# -- The reduction methods, each a class -----------------------------------------------------------


T = TypeVar("T", bound=Options)
EVERY_STATE: Final = "every state is needed to keep the observables exactly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(ExactMethod):
    """The smallest exact linear lumping."""

    name = "exact"
    nothing_found = EVERY_STATE

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.exact.lump.lump_exactly`."""
        from sbmlump.methods.exact.lump import lump_exactly

        keep = self.keep(system, context)
        return lump_exactly(system, observables, keep=keep, seed=self.seed, progress=context.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximate(ApproximateOptions):
    """Observable-pinned balanced lumping."""

    name = "approximate"
    vouched = "measured error"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """An approximate reduction and how far it is off.

        Returns
        -------
        ReducedSystem
            Its map is an :class:`~sbmlump.model.reduced.AffineLumping`, its certificate an
            :class:`~sbmlump.model.reduced.ErrorEstimate` measured on runs that were not used to make it. Where nothing
            smaller is found, it is the exact lumping with its proof, or the model itself (``exact-instead``). Where
            fewer than two states are left (after other methods of a chain) there is nothing to approximate.

        Raises
        ------
        UsageError
            A request that makes no sense (``bad-option``).
        UnreachableError
            The wanted error was not reached with as few states as ``max_size`` allows; carries the best reduction
            (exit code 4).
        LimitError
            The model does not simulate to the end time that was asked for (``not-simulated``), or no reduction with as
            few states as ``max_size`` allows works.
        UnsupportedModelError
            See :func:`sbmlump.dynamics.ensemble.pose`.
        """
        from sbmlump.methods.approximate.run import reduce_approximately

        if system.size < 2:
            remark = f"{system.size} states are left; there is nothing to approximate"
            return identity(system, observables, self.name, remarks=(remark,))
        check_options(system, self)
        begin = time.perf_counter()
        reduction = reduce_approximately(system, observables, self, context.progress)
        return replace(reduction, seconds={"lump": time.perf_counter() - begin})


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardEquivalence(ExactMethod):
    """The coarsest partition of the states whose sums follow equations of their own."""

    name = "forward-equivalence"
    nothing_found = "no sums of states keep the observables exactly"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.exact.partition.reduce_forward`."""
        from sbmlump.methods.exact.partition import reduce_forward

        keep = self.keep(system, context)
        return reduce_forward(system, observables, keep=keep, seed=self.seed, progress=context.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackwardEquivalence(ExactMethod):
    """The coarsest partition into states that stay equal from equal initial values."""

    name = "backward-equivalence"
    nothing_found = "no two states stay equal; other methods may merge states (--method exact)"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.exact.partition.reduce_backward`."""
        from sbmlump.methods.exact.partition import reduce_backward

        keep = self.keep(system, context)
        return reduce_backward(system, observables, keep=keep, seed=self.seed, progress=context.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conservation(ExactMethod):
    """A constant with an initial assignment for each conserved total, one state less."""

    name = "conservation"
    nothing_found = "the model has no conserved total that a state could be eliminated by"

    totals: Annotated[
        tuple[str, ...],
        Option(
            texts("a total such as 'A + B', or a list of totals"),
            "only this total, such as 'A + B'.",
            "EXPR",
            "--total",
        ),
    ] = ()
    decaying: Annotated[bool, Option(FLAG, "eliminate by totals that decay at one rate, too.")] = False
    fast: Fast = AUTO

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.elimination.conservation.conservation`."""
        from sbmlump.methods.elimination.conservation import bilinear_states, conservation

        fast = fast_of(self.fast, system, context)
        stay = set() if isinstance(fast, str) else set(fast)
        for reaction in system.reactions:
            if reaction.id in stay:  # its species are to be at equilibrium with each other
                stay |= {part.species for part in (*reaction.reactants, *reaction.products)}
        return conservation(
            system,
            observables,
            totals=self.totals,
            decaying=self.decaying,
            stay=stay,
            rather_stay=bilinear_states(system) if context.before_fast else (),
            keep=self.keep(system, context),
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuasiSteadyState(TimeScaleMethod):
    """Fast states at their quasi-steady state: 0 = f_fast, solved symbolically."""

    name = "qssa"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.elimination.quasi_steady.quasi_steady_state`."""
        from sbmlump.methods.elimination.quasi_steady import quasi_steady_state

        fast = fast_of(self.fast, system, context)
        return quasi_steady_state(system, observables, fast=fast, trial=self.trial, measured=context.measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuasiEquilibrium(TimeScaleMethod):
    """Fast reversible reactions at equilibrium, pools instead of their species."""

    name = "quasi-equilibrium"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.elimination.quasi_equilibrium.quasi_equilibrium`."""
        from sbmlump.methods.elimination.quasi_equilibrium import quasi_equilibrium

        fast = fast_of(self.fast, system, context)
        return quasi_equilibrium(system, observables, fast=fast, trial=self.trial, measured=context.measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationGraph(MeasuredMethod):
    """States that matter little for making the observable are pruned."""

    name = "relation-graph"

    threshold: Annotated[float | None, Option(number(0.0, 1.0), "least influence that is kept.", "R")] = None
    max_error: MaxError = None
    weighting: Annotated[
        Weighting | None,
        Option(choice(*WEIGHTINGS), "the first with a threshold, else all are tried."),
    ] = None

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.relation_graph.pruned`."""
        from sbmlump.methods.relation_graph import pruned

        return pruned(
            system,
            observables,
            threshold=self.threshold,
            max_error=self.max_error,
            weighting=self.weighting,
            trial=self.trial,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling(ExactMethod):
    """The lumped model as a reaction network, LS = S̃Q."""

    name = "pooling"
    nothing_found = EVERY_STATE

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """Lump exactly, and see :func:`sbmlump.methods.reactions.pooled`."""
        from sbmlump.methods.exact.lump import lump_exactly

        if not observables:
            return self.rewrite(identity(system, observables))
        lumped = lump_exactly(system, observables, keep=self.keep(system, context), seed=self.seed)
        return self.rewrite(lumped if lumped.reducible else replace(lumped, method="none"))

    def rewrite(self, reduction: ReducedSystem) -> ReducedSystem:
        """The reduction of earlier methods as a reaction network."""
        from sbmlump.methods.reactions import pooled

        return pooled(reduction, self.seed)


Lumping = Annotated[
    str | None,
    Option(
        FILE,
        "use the lumps in this file (CSV, or lines y = A + B), and say whether that is exact.",
        "FILE",
        needed=True,
    ),
]
Work = Annotated[float, declared(ApproximateOptions)["work"].option]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned(MeasuredMethod):
    """Linear map and sparse right-hand side fitted to trajectories."""

    name = "learned"

    max_size: MaxSize = None
    max_error: MaxError = None
    rational: Annotated[bool, Option(FLAG, "try right-hand sides with denominators too.")] = False
    lumping: Lumping = None
    work: Work = 30.0
    neural: Annotated[
        str | None,
        Option(
            FILE,
            "also train a small neural closure and save its weights there (needs the extra neural).",
            "FILE",
            needed=True,
        ),
    ] = None

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.learned.learn`."""
        from sbmlump.methods.learned import learn
        from sbmlump.methods.user_lumping import read_lumping

        return learn(
            system,
            observables,
            max_size=self.max_size,
            max_error=self.max_error,
            rational=self.rational,
            lumping=None if self.lumping is None else read_lumping(system, self.lumping),
            work=self.work,
            trial=self.trial,
            progress=context.progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLumping(MeasuredMethod):
    """The lumps of a file, and whether they are exact."""

    name = "lumping"
    vouched = "proof, or measured error"

    lumping: Lumping = None

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.user_lumping.lump_by_user`."""
        from sbmlump.methods.user_lumping import lump_by_user

        if self.lumping is None:
            raise UsageError(Reason("bad-option", "the method lumping needs a matrix: --lumping FILE"))
        return lump_by_user(system, self.lumping, observables, trial=self.trial, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Method):
    """Nothing is reduced: the model is read and written back."""

    name = "none"

    def reduce(self, system: OdeSystem, observables: Observables, context: Context = STANDARD) -> ReducedSystem:
        """See :func:`sbmlump.methods.registry.identity`."""
        return identity(system, observables)


METHODS: Final[Mapping[str, type[Method]]] = MappingProxyType(
    {
        method.name: method
        for method in (
            Exact,
            Approximate,
            ForwardEquivalence,
            BackwardEquivalence,
            Conservation,
            QuasiSteadyState,
            QuasiEquilibrium,
            RelationGraph,
            Pooling,
            Learned,
            UserLumping,
            Identity,
        )
    }
)
"""Every method by the name it has on the command line."""

DEFAULT_CHAINS: Final = (
    "exact",
    "forward-equivalence",
    "backward-equivalence",
    "pooling",
    "conservation",
    "exact+conservation",
    "qssa",
    "quasi-equilibrium",
    "conservation+qssa",
    "relation-graph",
    "learned",
    "approximate",
)
"""What is compared where no method is named."""


# -- chains and alternatives -------------------------------------------------------------------------


def chain_names(text: str) -> tuple[str, ...]:
    """The methods of ``a+b``, in turn.

    Raises
    ------
    UsageError
        With code ``unknown-method``, every name that is not known.
    """
    names = tuple(name.strip() for name in text.split("+"))
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        known = ", ".join(METHODS)
        raise UsageError(
            [Reason("unknown-method", f"there is no method {name!r}; known: {known}", name) for name in unknown]
        )
    return names


def method_alternatives(given: Sequence[str]) -> tuple[str, ...]:
    """The chains of ``a,b+c``, each once.

    Raises
    ------
    UsageError
        With code ``unknown-method``, where a name is not known, or none is given.
    """
    alternatives = tuple(dict.fromkeys(name for text in given for name in names_in(text)))
    if not alternatives:
        raise UsageError(Reason("unknown-method", "no method is named; --method exact is the default"))
    return tuple(dict.fromkeys("+".join(chain_names(alternative)) for alternative in alternatives))


# -- one reduction -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceOptions(Options):
    """What is asked of one reduction, beside the options of its methods; made by :func:`reduce_options`.

    Attributes
    ----------
    chain : tuple of Method
        The methods in turn, with their options.
    measured_by : MeasuredMethod
        The ensemble on which a chain is measured as a whole.
    reasons : tuple of Reason
        What has to be said of the options: those without effect, a chain with commas.
    """

    method: Annotated[
        str,
        Option(ids(), f"one of {', '.join(METHODS)}; several in turn as a+b.", "NAME"),
    ] = "exact"
    until: Until = None
    points: Points = 201
    check: Annotated[bool, Option(FLAG, "do not simulate.", flag="--no-check")] = True
    strict: Annotated[bool, Option(FLAG, "exit 1 if nothing could be reduced.")] = False
    best: Annotated[
        bool, Option(FLAG, "write the best found where --max-size and --max-error cannot both be kept (exit code 4).")
    ] = False
    on_class: Annotated[bool, Option(FLAG, "take conserved totals that are left as constants.")] = False
    reconstruct: Annotated[
        str | None,
        Option(ids("all"), "give these original species where the lumps determine them.", "ID,…|all"),
    ] = None
    as_rate_rules: Annotated[
        bool,
        Option(FLAG, "what the equations are written as.", flag="--as", words={"reactions": False, "rate-rules": True}),
    ] = False
    groups: Annotated[
        bool, Option(FLAG, "write lumps as groups of the SBML package groups, too (not for libRoadRunner's moieties).")
    ] = False
    level: Annotated[str, LEVEL] = "3.2"
    simulator: Annotated[str, SIMULATOR] = "roadrunner"
    seed: Seed = 0
    chain: tuple[Method, ...] = (Exact(),)
    measured_by: MeasuredMethod = field(default_factory=MeasuredMethod)
    reasons: tuple[Reason, ...] = ()


def _every_option() -> dict[str, Declared]:
    found = dict(declared(ReduceOptions))
    for method in METHODS.values():
        for name, each in declared(method).items():
            known = found.setdefault(name, each)
            assert known.option is each.option, f"{name} is two options"
    return found


OPTIONS: Final[Mapping[str, Declared]] = MappingProxyType(_every_option())
"""Every option of a reduction by its name in Python: those of all reductions, then those of the methods."""


def methods_with(option: str) -> tuple[str, ...]:
    """The methods that take an option; none where it belongs to every reduction."""
    if option in declared(ReduceOptions):
        return ()
    return tuple(name for name, method in METHODS.items() if option in declared(method))


def read_options(**given: Any) -> dict[str, Any]:
    """Keyword options in their one form, without those that are ``None``.

    Raises
    ------
    UsageError
        See :func:`reduce_options`.
    """
    refuse_unknown(list(given), OPTIONS)
    wrong: list[Reason] = []
    values: dict[str, Any] = {}
    for name, value in given.items():
        try:
            values[name] = OPTIONS[name].read(value)
        except UsageError as error:
            wrong += error.reasons
    if wrong:
        raise UsageError(wrong)
    return {name: value for name, value in values.items() if value is not None}


def options_of(options: type[T], values: Mapping[str, Any]) -> T:
    """The object of a class of options, with those of ``values`` that it has."""
    return options(**{name: values[name] for name in declared(options) if name in values})


def reduce_options(method: str | Sequence[str] = "exact", **given: Any) -> ReduceOptions:
    """Options of a reduction from keywords, named as on the command line with underscores.

    Parameters
    ----------
    method : str or sequence of str
        A name of :data:`METHODS`, several in turn as ``a+b`` or as a list.
    **given
        Any of :data:`OPTIONS`. Where ids are joined by commas, a list of them does as well.

    Raises
    ------
    UsageError
        ``unknown-option``; ``unknown-method``; ``bad-option`` (``bad-horizon``, ``bad-grid``, ``unknown-simulator``)
        with what is taken, for each option that is refused.
    """
    values = read_options(method=method, **given)
    text = values["method"]
    names = chain_names(text.replace(",", "+"))
    if "lumping" in values and names == ("exact",):
        names = ("lumping",)
        values["method"] = "lumping"
    if values.get("on_class"):
        names = (*names, "conservation")
    reasons = list(_without_effect(values, names))
    if isinstance(method, str) and "," in method:
        note = f"{text} is read as the chain {'+'.join(names)}; in other commands a comma stands between alternatives"
        reasons.append(Reason("chain-with-commas", note))
    return replace(
        options_of(ReduceOptions, values),
        chain=tuple(options_of(METHODS[name], values) for name in names),
        measured_by=options_of(MeasuredMethod, values),
        reasons=tuple(reasons),
    )


def _without_effect(values: Mapping[str, Any], names: Sequence[str]) -> list[Reason]:
    """Options that were given and that no method of ``names`` takes.

    Raises
    ------
    UsageError
        ``bad-option`` for one that the user needs, such as a file of lumps.
    """
    found: list[Reason] = []
    for name, value in values.items():
        users = methods_with(name)
        if not users or set(users) & set(names) or value == OPTIONS[name].default:
            continue
        each = OPTIONS[name]
        if each.option.needed:
            message = f"{each.flag} is an option of the method {', '.join(users)}, not of {'+'.join(names)}"
            raise UsageError(Reason("bad-option", message))
        found.append(Reason("option-unused", f"{each.flag} has no effect: it is an option of {', '.join(users)}"))
    return found


def reduce_by(
    system: OdeSystem, observe: Sequence[str], options: ReduceOptions, progress: Progress = unheard
) -> ReducedSystem:
    """Reduce ``system`` by the methods of ``options``, keeping what is observed.

    Raises
    ------
    UsageError, UnsupportedModelError, LimitError
    """
    from sbmlump.methods.elimination.substitute import refuse_undefined

    wanted = OBSERVE.read("observe", observe)
    nothing = all(isinstance(method, Identity) for method in options.chain)
    observables = parse_observables(system, wanted) if wanted or not nothing else ()
    context = Context(progress)
    if len(options.chain) == 1:
        reduction = options.chain[0].reduce(system, observables, context)
    else:
        reduction = apply_chain(system, observables, options.chain, options.measured_by, context)
    if options.reconstruct is not None and reduction.reducible:
        from sbmlump.methods.reactions import reconstruct

        reduction = reconstruct(reduction, options.reconstruct)
    refuse_undefined(reduction)
    reasons = (*_constant(system, observables), *options.reasons)
    return replace(reduction, reasons=(*reduction.reasons, *reasons)) if reasons else reduction


def _constant(system: OdeSystem, observables: Sequence[Observable]) -> list[Reason]:
    """What is said of observables that no state stands in: they are kept by any model, even by one without states."""
    found: list[Reason] = []
    states = set(system.states)
    for one in observables:
        symbols, time = system.graph.leaves([one.expression])
        if time or symbols & states:
            continue
        quantity = system.quantities.get(one.id)
        what = (
            f"a constant of the model ({quantity.kind})" if quantity is not None else "made of constants of the model"
        )
        message = f"{one.id} is {what}: no state is needed for it; observe something that changes"
        found.append(Reason("constant-observable", message, one.id))
    return found
