"""The methods behind one interface, and several of them in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, Protocol

from sbmlump.dynamics.ensemble import DRAFT, EnsembleSettings, error_estimate, refuse_untimed_events
from sbmlump.errors import Reason, UsageError
from sbmlump.methods.approximate.run import DEFAULT_WORK, approximate
from sbmlump.methods.chain import chain_of, composed
from sbmlump.methods.elimination.conservation import conservation
from sbmlump.methods.elimination.quasi_equilibrium import quasi_equilibrium
from sbmlump.methods.elimination.quasi_steady import AUTO, quasi_steady_state
from sbmlump.methods.exact.lump import lump_exactly
from sbmlump.methods.exact.partition import reduce_backward, reduce_forward
from sbmlump.methods.learned import learn
from sbmlump.methods.reactions import homes, pooled
from sbmlump.methods.relation_graph import Weighting, pruned
from sbmlump.methods.user_lumping import user_lumping
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

__all__ = [
    "CLASSIC",
    "METHODS",
    "STANDARD_OPTIONS",
    "Method",
    "MethodOptions",
    "apply_chain",
    "identity",
    "method_names",
]


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """What a method may be told; each takes what concerns it.

    Attributes
    ----------
    keep : frozenset of str
        Constants kept symbolic (``exact`` and the equivalences).
    fast : tuple of str, or ``"auto"``
        Fast states or reactions (``qssa``, ``quasi-equilibrium``).
    totals : tuple of str
        Totals to eliminate (``conservation``); all where empty.
    threshold, max_error : float, optional
        Of the relation graph; `max_error` also of ``learned`` and ``approximate``.
    weighting : str, optional
        Of the relation graph.
    max_size : int, optional
        Of ``learned`` and ``approximate``.
    tolerance : float, optional
        Of ``approximate`` with the algorithm ``krylov``.
    rational : bool
        Let a learned right-hand side have denominators.
    algorithm, ensemble, perturb_parameters, refine, non_negative, work
        Of ``approximate``: see :class:`~sbmlump.methods.approximate.options.ApproximateOptions`.
    lumping : str, optional
        File of a user's own matrix (``lumping``).
    trial : Trial
        End time and ensemble on which errors are measured.
    measured : bool
        Whether a step measures its error (off inside a chain).
    before_fast : bool
        Whether a time-scale method follows in the chain: then ``conservation`` leaves alone what stands in products,
        so that the equations of fast states stay linear in them (Michaelis–Menten instead of a square root).
    seed : int
    """

    keep: frozenset[str] = frozenset()
    fast: tuple[str, ...] | str = AUTO
    totals: tuple[str, ...] = ()
    threshold: float | None = None
    weighting: Weighting | None = None
    max_error: float | None = None
    max_size: int | None = None
    tolerance: float | None = None
    rational: bool = False
    algorithm: str = "balanced"
    ensemble: int | None = None
    perturb_parameters: float = 0.0
    refine: bool = False
    non_negative: bool = False
    work: float | None = None
    lumping: str | None = None
    trial: EnsembleSettings = field(default_factory=EnsembleSettings)
    measured: bool = True
    before_fast: bool = False
    seed: int = 0


STANDARD_OPTIONS: Final = MethodOptions()
_TRAINING_RUNS: Final = 24


class Method(Protocol):
    """A reduction method: ``name`` as on the command line, ``options`` it looks at, and what it does."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    @property
    def options(self) -> tuple[str, ...]:
        """Fields of :class:`MethodOptions` that it looks at."""
        ...

    def apply(self, system: OdeSystem, observables: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
        """Reduce ``system``, keeping ``observables``."""
        ...


Apply = Callable[[OdeSystem, Sequence[Observable], MethodOptions], ReducedSystem]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A method that is a function."""

    name: str
    options: tuple[str, ...]
    run: Apply

    def apply(self, system: OdeSystem, observables: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
        """Reduce ``system``, keeping ``observables``."""
        return self.run(system, observables, options)


def _conservation(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    stay = set() if isinstance(options.fast, str) else set(options.fast)
    for one in system.reactions:
        if one.id in stay:  # its species are to be at equilibrium with each other
            stay |= {part.species for part in (*one.reactants, *one.products)}
    rather = bilinear_states(system) if options.before_fast else ()
    return conservation(
        system, kept, totals=options.totals, stay=stay, rather_stay=rather, keep=options.keep, seed=options.seed
    )


def _qssa(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return quasi_steady_state(system, kept, fast=options.fast, trial=options.trial, measured=options.measured)


def _equilibrium(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return quasi_equilibrium(system, kept, fast=options.fast, trial=options.trial, measured=options.measured)


def _graph(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return pruned(
        system,
        kept,
        threshold=options.threshold,
        max_error=options.max_error,
        weighting=options.weighting,
        trial=options.trial,
    )


def _pooling(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    start = lump_exactly(system, kept, keep=options.keep, seed=options.seed) if kept else identity(system, kept)
    if not start.reducible:
        start = replace(start, method="none")
    return pooled(start, options.seed)


def _learned(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return learn(
        system,
        kept,
        max_size=options.max_size,
        max_error=options.max_error,
        rational=options.rational,
        trial=options.trial,
    )


def _exact(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return lump_exactly(system, kept, keep=options.keep, seed=options.seed)


def _forward(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return reduce_forward(system, kept, keep=options.keep, seed=options.seed)


def _backward(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    return reduce_backward(system, kept, keep=options.keep, seed=options.seed)


def _approximate(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    if system.size < 2:
        # after other methods of a chain
        remark = f"{system.size} states are left; there is nothing to approximate"
        return replace(identity(system, kept), method="approximate", remarks=(remark,))
    return approximate(
        system,
        kept,
        algorithm=options.algorithm,  # type: ignore[arg-type]  # checked there
        tolerance=options.tolerance,
        max_size=options.max_size,
        max_error=options.max_error,
        until=options.trial.until,
        ensemble=_TRAINING_RUNS if options.ensemble is None else options.ensemble,
        spread=options.trial.spread,
        perturb_parameters=options.perturb_parameters,
        seed=options.seed,
        refine=options.refine,
        non_negative=options.non_negative,
        work=DEFAULT_WORK if options.work is None else options.work,
    )


def _none(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    del options
    return identity(system, kept)


def _lumping(system: OdeSystem, kept: Sequence[Observable], options: MethodOptions) -> ReducedSystem:
    if options.lumping is None:
        raise UsageError(Reason("bad-option", "the method lumping needs a matrix: --lumping FILE"))
    return user_lumping(system, options.lumping, kept, trial=options.trial, seed=options.seed)


def identity(system: OdeSystem, observables: Sequence[Observable]) -> ReducedSystem:
    """Nothing is reduced; observables that have no id of the model become assigned quantities."""
    matrix = LumpingMatrix(system.states, tuple({j: Fraction(1)} for j in range(system.size)))
    lumps = tuple(Lump(name, {name: Fraction(1)}) for name in system.states)
    proof = ExactProof("nothing was reduced", "identity", 0.0, symbolic=system.given_constants)
    kept = with_observables(system, observables)
    return ReducedSystem(system, kept, tuple(observables), lumps, LinearLumping(matrix, matrix), proof, "none")


CLASSIC: Final[tuple[Method, ...]] = (
    _Plain("conservation", ("totals", "keep", "seed"), _conservation),
    _Plain("qssa", ("fast", "trial"), _qssa),
    _Plain("quasi-equilibrium", ("fast", "trial"), _equilibrium),
    _Plain("relation-graph", ("threshold", "max_error", "weighting", "trial"), _graph),
    _Plain("pooling", ("keep", "seed"), _pooling),
    _Plain("learned", ("max_size", "max_error", "rational", "trial"), _learned),
)

METHODS: Final[Mapping[str, Method]] = {
    one.name: one
    for one in (
        *CLASSIC,
        _Plain("exact", ("keep", "seed"), _exact),
        _Plain("forward-equivalence", ("keep", "seed"), _forward),
        _Plain("backward-equivalence", ("keep", "seed"), _backward),
        _Plain(
            "approximate",
            (
                "algorithm",
                "tolerance",
                "max_size",
                "max_error",
                "ensemble",
                "perturb_parameters",
                "refine",
                "non_negative",
                "work",
                "trial",
            ),
            _approximate,
        ),
        _Plain("lumping", ("lumping", "trial"), _lumping),
        _Plain("none", (), _none),
    )
}
"""By name, as on the command line."""


def bilinear_states(system: OdeSystem) -> frozenset[str]:
    """States that stand in a product with states (themselves included), or inside a function, in some rate."""
    graph = system.graph
    states = set(system.states)
    found: set[str] = set()
    for term in dict.fromkeys(term for rhs in system.rhs for term in graph.linear_terms(rhs)):
        for name in (graph.symbols([term]) & states) - found:
            try:
                slope = graph.derivative(term, {graph.symbol(name): graph.number(1)})
            except ValueError:
                found.add(name)
            else:
                if graph.symbols([slope]) & states:
                    found.add(name)
    return frozenset(found)


def method_names(text: str) -> tuple[str, ...]:
    """Names of ``a,b,c``.

    Raises
    ------
    UsageError
        ``unknown-method``, with every name that is not known.
    """
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        known = ", ".join(sorted(METHODS))
        raise UsageError(
            [Reason("unknown-method", f"there is no method {name!r}; known: {known}", name) for name in unknown]
        )
    return names


def apply_chain(
    system: OdeSystem,
    observables: Sequence[Observable],
    names: Sequence[str],
    options: MethodOptions = STANDARD_OPTIONS,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> ReducedSystem:
    """Apply methods in turn, each to what the one before left.

    The certificate is of the whole: proofs add up; as soon as one step is approximate, the error of the last system
    against the first one is measured. It lists the chain.

    Raises
    ------
    UsageError
        ``unknown-method``, and what the methods raise.
    """
    names = method_names(",".join(names))
    if len(names) == 1:
        return METHODS[names[0]].apply(system, observables, options)
    begin = clock()
    inner = replace(options, measured=False)
    whole: ReducedSystem | None = None
    chain: list[Mapping[str, object]] = []
    for place, name in enumerate(names):
        inner = replace(inner, before_fast=bool({"qssa", "quasi-equilibrium"} & set(names[place + 1 :])))
        if whole is None:
            step = METHODS[name].apply(system, observables, inner)
            whole = step
        elif name == "pooling":
            step = whole = pooled(whole, options.seed)
        else:
            told = _still_there(inner, system, whole.system)
            # totals and initial values that an earlier step made constants of stay free, for other initial values
            starts = {c.id for c in whole.system.constants} - {c.id for c in system.constants}
            told = replace(told, keep=told.keep | starts)
            step = METHODS[name].apply(_described(whole), _carried(whole), told)
            both = isinstance(whole.certificate, ExactProof) and isinstance(step.certificate, ExactProof)
            whole = composed(whole, step, certificate=None if both else DRAFT)
        chain.append(chain_of(replace(step, method=name), step.certificate))
    assert whole is not None
    method = ",".join(names)
    certificate = whole.certificate
    if not isinstance(certificate, ExactProof):
        refuse_untimed_events(system, method)
        certificate = error_estimate(whole, method, options.trial, {"chain": chain})
    return replace(whole, certificate=certificate, method=method, seconds={"lump": clock() - begin})


def _described(reduction: ReducedSystem) -> OdeSystem:
    """The reduced system with what its lumps are: in which compartment they lie, which conservation laws depend on."""
    system = reduction.system
    new = {
        reduction.lumps[i].id: replace(home.quantity, id=reduction.lumps[i].id)
        for i, home in homes(reduction).items()
        if reduction.lumps[i].id not in system.quantities
    }
    return replace(system, quantities={**system.quantities, **new}) if new else system


def _still_there(options: MethodOptions, first: OdeSystem, now: OdeSystem) -> MethodOptions:
    """Without fast states that an earlier step eliminated: they follow what is left already."""
    if isinstance(options.fast, str):
        return options
    gone = set(first.states) - set(now.states)
    left = tuple(name for name in options.fast if name not in gone)
    return options if left == options.fast or not left else replace(options, fast=left)


def _carried(reduction: ReducedSystem) -> tuple[Observable, ...]:
    """The observables as expressions of the reduced system."""
    table = reduction.system.definitions
    return tuple(Observable(one.id, table[one.id], one.id) for one in reduction.observables)
