"""Proof or refutation that one system is a reduction of another.

A **claim** is two systems, the map between their states, what each observable is in the original, and the constants for
all of whose values it is made. Nothing here knows how the reduction was found. A **check** of it is, after the form of
the map: pairs of expressions that have to be equal along the map at all times (rates, observables, parts of events),
pairs of values that have to be equal at time 0 (initial values, and constants that both systems have), and a reason for
each, should it differ. There are three maps, which do no more than produce pairs:

- :class:`LumpedStates`: y = Lx, and L f(x) = g(Lx);
- :class:`CopiedStates`: x = By, where each reduced state stands for a block of states, and f(By) = B g(y);
- :class:`EliminatedStates`: y are some of the states, and new constants of the reduced system conserved totals T(x), so
  that T'(x)·f(x) = 0 and f is at x what g is at (y, T(x)).

Rational expressions are compared as they stand, by expansion over Q where that is small, else at random points modulo
random primes. Other functions are taken as generic (hashed, see :mod:`sbmlump.model.domains`): equal arguments give
equal values. That suffices for copies, which are put in symbolically first, so that no folding they permit is missed,
and for eliminations, where x ↦ (y, T(x)) is followed point by point. Under a lumping of systems with such functions two
identities replace the one: rowsp(L) is closed under the Jacobian and holds the gradients of the observables, so that
L f and h depend on Lx alone, and g(y) = L f(L̄y + c) for one right inverse, the witness. This is tried first without the
derivatives of logarithms and powers, then with their arguments as powers of roots
(:mod:`sbmlump.proof.real_points`), which both hold on the whole domain, and last, in both ways, with these derivatives,
which holds on each connected piece of it by itself. All are then held against real points on both sides of every
singularity: where one contradicts, the claim is refuted.

References
----------
Li and Rabitz, Chem. Eng. Sci. 44 (1989), doi 10.1016/0009-2509(89)85014-6: closure under the Jacobian.
Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225: identity testing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar, Final, Protocol

import numpy as np

from sbmlump.errors import LimitError, Reason, counted
from sbmlump.linalg.finite_field import Residues, RowSpace
from sbmlump.linalg.polynomial import IDENTITY_LIMITS
from sbmlump.linalg.rational import add_multiple, add_to, without_zeros
from sbmlump.model.domains import BadPrimeError, FloatDomain, PrimeField, random_prime
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.program import Program, branched_nodes
from sbmlump.model.properties import with_double_constants
from sbmlump.model.reduced import ExactProof
from sbmlump.model.system import (
    Event,
    OdeSystem,
    event_expressions,
    event_label,
    may_be_interrupted,
    new_values,
    overwrites_others,
    targets,
    two_moments,
    values_are_old,
    values_may_change,
)
from sbmlump.proof.identity import (
    Compare,
    IdentitySettings,
    IdentityTest,
    ModularRows,
    Pair,
    Sides,
    Stream,
    bound_of,
    compare_halves,
    compare_matching,
    failure_bound,
    run_trials,
    unequal_polynomials,
)
from sbmlump.proof.real_points import (
    BRIEF,
    Contradiction,
    RealClaim,
    RealPointSettings,
    compare_at_real_points,
    with_positive_arguments,
)
from sbmlump.proof.values import (
    Joined,
    ValiditySettings,
    ValuePair,
    ValueTable,
    compare_values,
    constant_pairs,
    fixed_sets,
    ids_below,
    inside_functions,
    resting_values,
    with_compared_values,
    with_sources,
)

__all__ = [
    "Claim",
    "CopiedStates",
    "EliminatedStates",
    "LumpedStates",
    "ProofSettings",
    "Refutation",
    "certify",
    "certify_widest",
    "proof_of",
    "symbolic_but",
    "event_pairs",
]


# -- What has to be identical for the events -------------------------------------------------------

# What has to be identical for the events of a reduced system to be those of the original.


def _pair(label: str, left: Node, right: Node) -> Pair:
    return Pair(f"the {label}", {left: Fraction(1)}, right, "event-differs")


def event_pairs(
    original: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> tuple[list[Pair], list[Reason]]:
    """Pairs of expressions that must agree under y = Lx, and what differs already in form."""
    matched = _matched_events(original, reduced, rows)
    if isinstance(matched, Reason):
        return [], [matched]
    pairs: list[Pair] = []
    reasons: list[Reason] = []
    for number, (before, after) in enumerate(matched, 1):
        label = f"event {before.id or number}"
        if _flags(before) != _flags(after):
            reasons.append(Reason("event-differs", f"{label} has other settings than in the original", before.id))
            continue
        triggers = _matched(original.graph, before.trigger, reduced.graph, after.trigger)
        if triggers is None:
            reasons.append(Reason("event-differs", f"{label} has another trigger than in the original", before.id))
            continue
        pairs += [_pair(label, a, b) for a, b in triggers]
        for a, b in ((before.delay, after.delay), (before.priority, after.priority)):
            if a is not None and b is not None:
                pairs.append(_pair(label, a, b))
        resets = _Resets(original, before, reduced, after, rows, label).pairs()
        if isinstance(resets, Reason):
            reasons.append(resets)
        else:
            pairs += resets
    return pairs, reasons


def _matched_events(
    original: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> list[tuple[Event, Event]] | Reason:
    """Events of both systems, in order; what sets nothing that is in a lump may be missing in the reduced one.

    Events without a priority that happen together have no order by the specification, but tools take that of the file.
    """
    before, after = list(original.events), list(reduced.events)
    if len(before) > len(after):
        members = {member for row in rows.values() for member in row}
        ids = {event.id for event in after}
        before = [event for event in before if event.id in ids or targets(event) & members]
    if len(before) != len(after):
        message = f"the original has {len(original.events)} events, the reduced model {len(reduced.events)}"
        return Reason("event-differs", message)
    named = [event.id for event in before], [event.id for event in after]
    if None not in named[0] and named[0] != named[1] and sorted(map(str, named[0])) == sorted(map(str, named[1])):
        return Reason("event-differs", "the events stand in another order than in the original")
    return list(zip(before, after, strict=True))


def _flags(event: Event) -> tuple[object, ...]:
    """What has to be the same; when values are taken is compared by what it means, see :class:`_Resets`."""
    return (
        event.initial_value,
        event.persistent,
        event.delay is None,
        event.priority is None,
    )


def _matched(left: Graph, a: Node, right: Graph, b: Node) -> list[tuple[Node, Node]] | None:
    """Numeric leaves of two conditions of the same shape, pairwise; ``None`` if the shapes differ."""
    pairs: list[tuple[Node, Node]] = []
    stack = [(a, b)]
    while stack:
        a, b = stack.pop()
        kinds = _kind(left, a), _kind(right, b)
        if kinds[0] != kinds[1]:
            return None
        if kinds[0] == "number":
            pairs.append((a, b))
            continue
        if len(left.args(a)) != len(right.args(b)):
            return None
        stack.extend(zip(left.args(a), right.args(b), strict=True))
    return pairs


def _kind(graph: Graph, node: Node) -> str:
    op = graph.op(node)
    if op is Op.CALL and graph.name(node) in LOGIC | RELATIONS:
        return graph.name(node)
    if op is Op.CONSTANT and graph.name(node) in ("true", "false"):
        return graph.name(node)
    return "number"


class _Resets:
    """What one event does, in the original and in the reduced system, for values of two moments.

    With x at execution and x′ at the trigger the original sets its states to R(x, x′). Both are arbitrary states,
    independent of each other, wherever something may happen in between. A pair of expressions of one state stands for
    either moment, but for all of it to belong to one moment each lump has to be set as a whole, or not at all; what is
    not so is refused.
    """

    def __init__(
        self,
        original: OdeSystem,
        before: Event,
        reduced: OdeSystem,
        after: Event,
        rows: Mapping[str, Mapping[str, Fraction]],
        label: str,
    ) -> None:
        self._original, self._before = original, before
        self._reduced, self._after = reduced, after
        self._rows = rows
        self._label = label
        self._new = new_values(before)
        self._given = new_values(after)

    def pairs(self) -> list[Pair] | Reason:
        """Pairs that must agree, or why the events differ whatever the expressions are."""
        stray = [name for name in self._given if name not in self._rows]
        if stray:
            return self._differs(f"assigns {stray[0]}, which is no lump")
        before, after = self._before, self._after
        if two_moments(self._original, before):
            return self._of_two_moments()
        old = values_are_old(self._original, before)
        if not old and not values_are_old(self._reduced, after):
            return [self._pair(name, self._value(name)) for name in self._rows]
        if not old:
            return self._differs("takes values of the moment of its trigger that are others in the original")
        if two_moments(self._reduced, after):
            return self._differs("mixes values of two moments, unlike in the original")
        if not after.use_trigger_values and values_may_change(self._reduced, after):
            return self._differs("takes values of the moment of its execution, the original those of its trigger")
        return self._of_the_trigger()

    def _of_the_trigger(self) -> list[Pair] | Reason:
        """The original sets its states to values of the trigger, all others are as they are at the execution."""
        interrupted = may_be_interrupted(self._reduced, self._after)
        overwrites = overwrites_others(self._original, self._before)
        pairs: list[Pair] = []
        for name, row in self._rows.items():
            touched = [member for member in row if member in self._new]
            same = not interrupted or self._is_constant(name)  # the lump has one value at both moments
            if not touched:
                if name in self._given and not same:
                    return self._differs(f"sets {name} to a value of the moment of its trigger; the original leaves it")
                if name in self._given:
                    pairs.append(self._pair(name, self._value(name)))
                continue
            if len(touched) < len(row) and not overwrites:
                return self._differs(f"mixes values of two moments in {name}")
            if name not in self._given and not same:
                return self._differs(f"leaves {name}; the original sets it to a value of the moment of its trigger")
            pairs.append(self._pair(name, self._value(name)))
        return pairs

    def _of_two_moments(self) -> list[Pair] | Reason:
        """Amounts of one moment over sizes of another: all that takes part must be there in the reduced system, too."""
        singles = {next(iter(row)): name for name, row in self._rows.items() if list(row.values()) == [1]}
        names: dict[str, str] = {}
        for member in self._new:
            users = [name for name, row in self._rows.items() if member in row]
            if users != [singles.get(member)]:
                return self._differs(f"resizes the compartment of {member} with values of an earlier moment")
            names[member] = users[0]
        before, after = self._before, self._after
        for changes, counterparts in ((before.implied, after.implied), (before.unscaled, after.unscaled)):
            if {names[member] for member, _ in changes} != {name for name, _ in counterparts}:
                return self._differs("resizes compartments unlike in the original")
        if self._given.keys() != set(names.values()) or not after.use_trigger_values:
            return self._differs("sets other states, or takes its values at another moment, than in the original")
        new, given = dict(before.assignments) | dict(before.unscaled), dict(after.assignments) | dict(after.unscaled)
        pairs = [_pair(self._label, node, given[names[member]]) for member, node in new.items()]
        for member, _ in (*before.implied, *before.unscaled):
            sizes = _size(self._original, member), _size(self._reduced, names[member])
            if sizes[0] is None or sizes[1] is None:
                return self._differs(f"resizes the compartment of {member}, which the reduced model does not have")
            pairs.append(_pair(self._label, sizes[0], sizes[1]))
        return pairs

    def _value(self, name: str) -> Node:
        """What the original sets a lump to."""
        graph = self._original.graph
        return graph.weighted_sum(self._rows[name], lambda member: self._new.get(member, graph.symbol(member)))

    def _pair(self, name: str, value: Node) -> Pair:
        return _pair(self._label, value, self._given.get(name, self._reduced.graph.symbol(name)))

    def _is_constant(self, name: str) -> bool:
        """Whether nothing changes a lump, neither its rate nor an event."""
        reduced = self._reduced
        moved = any(name in targets(event) for event in reduced.events)
        return not moved and reduced.rhs[reduced.state_index[name]] == reduced.graph.number(0)

    def _differs(self, what: str) -> Reason:
        return Reason("event-differs", f"{self._label} of the reduced model {what}", self._before.id)


def _size(system: OdeSystem, name: str) -> Node | None:
    quantity = system.quantities.get(name)
    return None if quantity is None or quantity.compartment is None else system.definitions.get(quantity.compartment)


# -- Proof or refutation that one system is a reduction --------------------------------------------


NamedRow = Mapping[str, Fraction]
_ONE: Final = Fraction(1)
_BRANCHED: Final = frozenset({"ln", "power"})  # functions whose derivatives say nothing across a singularity
_SPOKEN: Final = {"generic-ln": "ln", "generic-power": "power"}
_LIMITED: Final = _BRANCHED | frozenset(  # functions that have no real value for all arguments of some region
    ("arcsin", "arccos", "arcsec", "arccsc", "arctanh", "arccosh", "arcsech", "arccoth", "factorial")
)


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """How much a proof looks at.

    Attributes
    ----------
    identity : IdentitySettings
    real_points, brief : RealPointSettings
        For proofs by derivatives that hold on a piece of the state space, and for those that hold everywhere: what is
        looked for there is a reduced system without a value.
    validity : ValiditySettings
    rank_primes : int
        Tried until the rows of a lumping have full rank modulo one of them: it never exceeds the rank over Q, and is
        less modulo few of the 50 million primes.
    same_term : float
        Relative difference of doubles below which a term is taken for equal at two states (to blame functions only).
    """

    identity: IdentitySettings = field(default_factory=IdentitySettings)
    real_points: RealPointSettings = field(default_factory=RealPointSettings)
    brief: RealPointSettings = BRIEF
    validity: ValiditySettings = field(default_factory=ValiditySettings)
    rank_primes: int = 4
    same_term: float = 1e-9


_DEFAULT: Final = ProofSettings()


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be proved.

    Attributes
    ----------
    original, reduced : OdeSystem
    map : LumpedStates, CopiedStates or EliminatedStates
        Between their states.
    observables : mapping of id to Node
        Ids in the reduced system, expressions in the original graph.
    symbolic : frozenset of str
        Constants for all of whose values the claim is made; those to which the original gives no value are among them.
    """

    original: OdeSystem
    reduced: OdeSystem
    map: _StateMap
    observables: Mapping[str, Node]
    symbolic: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        without_value = {c.id for c in self.original.constants if c.value is None}
        object.__setattr__(self, "symbolic", self.symbolic | without_value)

    @property
    def rates(self) -> dict[str, Node]:
        """Rate of each state of the original."""
        return dict(zip(self.original.states, self.original.rhs, strict=True))

    def observable_pairs(self) -> list[Pair]:
        """What each observable is in the original, against the reduced system's definition."""
        definitions = self.reduced.definitions
        return [
            Pair(f"the observable {name}", {node: _ONE}, definitions[name], "observable-differs", name)
            for name, node in self.observables.items()
        ]

    def value_pairs(self) -> list[ValuePair]:
        """Everything that has to be equal at time 0, as formulas in the symbolic constants."""
        free = ValueTable.free_of(self.original, self.symbolic)
        left, right = ValueTable(self.original, free), ValueTable(self.reduced, free)
        return [*constant_pairs(self.original, self.reduced, left, right), *self.map.values(self, left, right)]

    def missing_observables(self, names: Iterable[str], what: str = "observable ") -> list[Reason]:
        """Of these ids those that the reduced system does not define."""
        defined = self.reduced.definitions
        text = "the reduced model has no {}{}"
        return [Reason("observable-missing", text.format(what, name), name) for name in names if name not in defined]


@dataclass(frozen=True, slots=True)
class Refutation:
    """The claim is false, or not what it says; every reason found.

    Attributes
    ----------
    reasons : tuple of Reason
    suspects : tuple of frozenset of Node
        Where real points contradict: logarithms and powers of the original that may be to blame, by growing size: those
        in terms that differ between the point and the lift of its lumps, then all in the expressions contradicted.
    """

    reasons: tuple[Reason, ...]
    suspects: tuple[frozenset[Node], ...] = ()


# -- the prover --------------------------------------------------------------------------------------


def certify(claim: Claim, seed: int = 0, settings: ProofSettings = _DEFAULT) -> ExactProof | Refutation:
    """Prove or refute a claim.

    Returns
    -------
    ExactProof or Refutation

    Raises
    ------
    LimitError
        If no difference was found but the chance of error stays above 1e-18 (``degree-too-high``).
    """
    reasons = claim.map.faults(claim, settings)
    if reasons:
        return Refutation(tuple(reasons))
    pairs, reasons = claim.map.pairs(claim)
    values = compare_values(claim.original.graph, claim.reduced.graph, claim.value_pairs(), seed, settings.identity)
    reasons = [*values.reasons, *reasons]
    if reasons:
        return Refutation(tuple(reasons))
    first: Refutation | None = None
    for sides in claim.map.sides(claim, pairs):
        outcome = _prove(claim, pairs, sides, seed, settings)
        if isinstance(outcome, ExactProof):
            return with_compared_values(outcome, values)
        first = first or outcome
    assert first is not None
    return first


def certify_widest(claim: Claim, seed: int = 0, settings: ProofSettings = _DEFAULT) -> ExactProof | Refutation:
    """As :func:`certify`, for all values of as many constants as can be (those of the claim at least).

    What was found with the values of the file is proved with every constant symbolic first. Where that fails, the
    constants that matter are looked for (:func:`sbmlump.proof.values.fixed_sets`), and the claim is proved again with
    the others symbolic.

    Returns
    -------
    The proof with the most symbolic constants that was found, or what :func:`certify` says of the claim as it is. A
    proof that holds everywhere for fewer constants is preferred to one that holds on a piece of the state space.
    """
    every = claim.symbolic | set(claim.original.given_constants)
    if every <= claim.symbolic:
        return certify(claim, seed, settings)
    widest = replace(claim, symbolic=every)
    first = proof_of(widest, seed, settings)
    if first is not None and first.domain is None:
        return first
    graph, left, right = _joined(widest)
    tried = {every, claim.symbolic} if first is None else {every}  # the claim as it is comes last anyway
    candidates: Iterable[frozenset[str]] = [inside_functions(graph, left, right)]
    if first is None:
        candidates = fixed_sets(claim.original, claim.symbolic, (graph, left, right), seed, settings.validity)
    for fixed in candidates:
        free = (every - with_sources(claim.original, fixed & every)) | claim.symbolic
        if free in tried:
            continue
        tried.add(free)
        proof = proof_of(replace(claim, symbolic=free), seed, settings)
        if proof is not None and (first is None or proof.domain is None):
            return proof
    return certify(claim, seed, settings) if first is None else first


def proof_of(claim: Claim, seed: int = 0, settings: ProofSettings = _DEFAULT) -> ExactProof | None:
    """The proof of a claim, ``None`` where there is none."""
    try:
        outcome = certify(claim, seed, settings)
    except LimitError:  # degrees grow with the number of symbols; fewer of them may be within the limits
        return None
    return outcome if isinstance(outcome, ExactProof) else None


def _joined(claim: Claim) -> Joined:
    """Both sides of everything that has to be identical, in one graph."""
    pairs, _ = claim.map.pairs(claim)
    sides = next(iter(claim.map.sides(claim, pairs)))
    graph = sides.left
    left, right = sides.joined(claim.map.image(claim, sides))
    for pair in claim.value_pairs():
        if pair.left is not None and pair.right is not None:
            left += graph.transplant(claim.original.graph, [pair.left], {})
            right += graph.transplant(claim.reduced.graph, [pair.right], {})
    return graph, left, right


@dataclass(frozen=True, slots=True)
class _ProofAttempt:
    """One way to show that the sides of all pairs are identical."""

    compare: Compare  # differences at random points
    places: Sequence[int]  # the pair of each position that is compared
    bound: float  # chance that one round misses a difference
    degree: float  # that it rests on
    expand: Callable[[], tuple[int, ...] | None] = lambda: (
        None
    )  # pairs that differ by expansion, where that is possible
    heuristic: str | None = None  # what a proof takes for granted
    domain: str | None = None  # where it holds, if not everywhere
    by_derivatives: bool = False  # and so has to be held against real points


def _prove(
    claim: Claim, pairs: Sequence[Pair], sides: Sides, seed: int, settings: ProofSettings
) -> ExactProof | Refutation:
    """By the first attempt that succeeds, or the refutation by the last."""
    unknown = sides.unknown()
    if unknown:
        text = "the constant {} has no value; give it one"
        return Refutation(tuple(Reason("missing-value", text.format(name), name) for name in unknown))
    outcome: Refutation | None = None
    for attempt in claim.map.attempts(claim, sides, settings.identity):
        trial = _tried(attempt, pairs, claim.map.stream.generator(seed), settings.identity)
        if isinstance(trial, Refutation):
            outcome = trial
            continue
        proof = _proof(claim, sides, attempt, trial)
        if attempt.by_derivatives:
            return _held_against_real_points(claim, pairs, sides, proof, seed, settings)
        return proof
    assert outcome is not None
    return outcome


def _tried(
    attempt: _ProofAttempt, pairs: Sequence[Pair], generator: np.random.Generator, settings: IdentitySettings
) -> IdentityTest | Refutation:
    """The test that showed no difference (without primes after an expansion), or the pairs that differ."""
    unequal = attempt.expand()
    trial = IdentityTest(unequal or ())
    if unequal is None:
        trial = run_trials(attempt.compare, generator, attempt.bound, settings)
        if not trial.primes:
            return Refutation((Reason("undefined", "no random point was found at which both systems are defined"),))
        if not trial.wrong and trial.failure_probability > settings.target:
            message = (
                "no difference was found, but the degree and the size of the numbers are too high to call that a proof "
                f"(chance of error up to {trial.failure_probability:.1e})"
            )
            raise LimitError(Reason("degree-too-high", message))
    if trial.wrong:
        places = sorted({attempt.places[position] for position in trial.wrong})
        return Refutation(tuple(dict.fromkeys(pairs[place].reason for place in places)))
    return trial


def _proof(claim: Claim, sides: Sides, attempt: _ProofAttempt, trial: IdentityTest) -> ExactProof:
    original = claim.original
    members = claim.map.members(claim)
    rates = claim.rates
    mentioned = [*(rates[name] for name in members), *claim.observables.values(), *event_expressions(original.events)]
    heuristic = attempt.heuristic
    if sides.replaced:
        extra = "irrational constants stand for the doubles nearest to them"
        heuristic = f"{heuristic}; {extra}" if heuristic else extra
    tested = bool(trial.primes)
    return ExactProof(
        claim.map.statement(claim),
        "identity-test" if tested else "expansion",
        trial.failure_probability,
        trial.primes,
        trial.points,
        int(min(attempt.degree, 2**53)) if tested else 0,
        heuristic,
        resting_values(original, claim.symbolic, members, mentioned),
        tuple(sorted(claim.symbolic.intersection(original.given_constants))),
        domain=attempt.domain,
    )


def _listed(functions: frozenset[str]) -> str:
    """Names as a reader knows them; the marks of what is known of a function's derivatives are left out."""
    names = {_SPOKEN.get(name, name) for name in functions}
    return ", ".join(sorted(names)) or "named constants"


def _sides_of(
    claim: Claim, pairs: Sequence[Pair], further: Iterable[Node] = ()
) -> tuple[list[Node], tuple[dict[int, Fraction], ...]]:
    """Left roots of pairs, each once, then ``further`` ones, with values put in; and the weights of each pair."""
    place: dict[Node, int] = {}
    for pair in pairs:
        for node in pair.left:
            place.setdefault(node, len(place))
    original = claim.original
    roots = original.graph.substitute([*place, *further], original.specialised(claim.symbolic))
    return roots, tuple({place[node]: factor for node, factor in pair.left.items()} for pair in pairs)


def _unknown_members(rows: Iterable[tuple[str, Iterable[str]]], states: Iterable[str], text: str) -> list[Reason]:
    known = set(states)
    return [
        Reason("unknown-member", text.format(name=name, member=member), name)
        for name, row in rows
        for member in row
        if member not in known
    ]


def _mismatch(what: str, names: Iterable[str], states: Iterable[str]) -> list[Reason]:
    odd = sorted(set(names) ^ set(states))
    text = f"the {what} and the reduced model have different states: {', '.join(odd[:5])}"
    return [Reason("lumping-mismatch", text)] if odd else []


def _states_called_as_constants(claim: Claim) -> list[Reason]:
    """An id means one thing: where both systems have it as a constant, it is one symbol."""
    clash = sorted({c.id for c in claim.original.constants}.intersection(claim.reduced.states))
    text = "{} is a state of the reduced model and a constant of the original; give the state an id of its own"
    return [Reason("lumping-mismatch", text.format(name), name) for name in clash]


class _StateMap(Protocol):
    """What the prover asks of a map between the states of two systems, which is described where it is done."""

    @property
    def stream(self) -> Stream: ...
    def faults(self, claim: Claim, settings: ProofSettings = _DEFAULT) -> list[Reason]: ...
    def values(self, claim: Claim, left: ValueTable, right: ValueTable) -> list[ValuePair]: ...
    def pairs(self, claim: Claim) -> tuple[list[Pair], list[Reason]]: ...
    def sides(self, claim: Claim, pairs: Sequence[Pair]) -> Iterator[Sides]: ...
    def image(self, claim: Claim, sides: Sides) -> dict[Node, Node]: ...
    def attempts(self, claim: Claim, sides: Sides, settings: IdentitySettings) -> Iterator[_ProofAttempt]: ...
    def members(self, claim: Claim) -> Sequence[str]: ...
    def statement(self, claim: Claim) -> str: ...


# -- y = Lx ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LumpedStates:
    """Each reduced state is a linear combination of original states.

    Attributes
    ----------
    rows : mapping of reduced state id to row
        Each row maps original state ids to exact coefficients.
    lift : mapping of reduced state id to row
        Right inverse used as a witness where functions are generic.
    offset : row
        Constant part of the witness.
    """

    rows: Mapping[str, NamedRow]
    lift: Mapping[str, NamedRow] = field(default_factory=dict)
    offset: NamedRow = field(default_factory=dict)
    stream: ClassVar[Stream] = Stream.LUMPING

    def faults(self, claim: Claim, settings: ProofSettings = _DEFAULT) -> list[Reason]:
        """L has full row rank, L̄ and c are a right inverse, and the reduced system has values for its constants."""
        original, reduced = claim.original, claim.reduced
        reasons = _mismatch("lumping", self.rows, reduced.states) + _states_called_as_constants(claim)
        members = (*self.rows.items(), *self.lift.items())
        reasons += _unknown_members(members, original.states, "{name} has a member {member} that is no state")
        reasons += claim.missing_observables(claim.observables)
        mentioned = reduced.graph.symbols(reduced.rhs) - set(reduced.states)
        text = "the constant {} has no value in the reduced model; give it one"
        reasons += [
            Reason("missing-value", text.format(name), name)
            for name in sorted(mentioned - set(reduced.constant_values))
        ]
        return reasons or self._rank_faults(claim, settings.rank_primes)

    def _rank_faults(self, claim: Claim, primes: int) -> list[Reason]:
        """Rank modulo a prime: it never exceeds the rank over Q, so full rank here is full rank there."""
        reasons: list[Reason] = []
        generator = np.random.default_rng(int(Stream.RANK))
        rows = ModularRows(self._indexed(claim), claim.original.size)
        if not any(_has_full_rank(rows, random_prime(generator)) for _ in range(primes)):
            reasons.append(Reason("rank-deficient", "the rows of the lumping matrix depend on each other"))
        return reasons + self._lift_faults()

    def _lift_faults(self) -> list[Reason]:
        """The witness must be a right inverse: L L̄ = I and L c = 0."""
        columns: dict[str, dict[str, Fraction]] = {}
        for name, row in self.rows.items():
            for member, value in row.items():
                columns.setdefault(member, {})[name] = value

        def image(point: NamedRow) -> dict[str, Fraction]:
            lumps: dict[str, Fraction] = {}
            for member, value in point.items():
                add_multiple(lumps, columns.get(member, {}), value)
            return without_zeros(lumps)

        for name, lifted in self.lift.items():
            if image(lifted) != {name: _ONE}:
                return [Reason("lift-mismatch", f"the lift of {name} is not a right inverse of the lumping", name)]
        return [Reason("lift-mismatch", f"the offset of the lift moves {name}", name) for name in image(self.offset)]

    def _indexed(self, claim: Claim, rows: Mapping[str, NamedRow] | None = None) -> tuple[dict[int, Fraction], ...]:
        """Rows of L (or L̄ᵀ) over columns, in the order of the reduced states."""
        index = claim.original.state_index
        table = self.rows if rows is None else rows
        return tuple({index[m]: v for m, v in table.get(name, {}).items()} for name in claim.reduced.states)

    def values(self, claim: Claim, left: ValueTable, right: ValueTable) -> list[ValuePair]:
        """Initial values of the lumps."""
        text = "{} does not start at its lumped initial value"
        return [ValuePair.initial(name, left.combined(row), right.get(name), text) for name, row in self.rows.items()]

    def pairs(self, claim: Claim) -> tuple[list[Pair], list[Reason]]:
        """Rates of the lumps, observables, parts of events."""
        rates = claim.rates
        pairs: list[Pair] = []
        for name, rate in zip(claim.reduced.states, claim.reduced.rhs, strict=True):
            lumped: dict[Node, Fraction] = {}
            for member, value in self.rows[name].items():
                add_to(lumped, rates[member], value)
            text = "{} is not the lumped rate of the original"
            pairs.append(Pair(f"the rate of {name}", lumped, rate, "right-hand-side-differs", name, text))
        events, reasons = event_pairs(claim.original, claim.reduced, self.rows)
        return [*pairs, *claim.observable_pairs(), *events], reasons

    def sides(self, claim: Claim, pairs: Sequence[Pair]) -> Iterator[Sides]:
        """With exact constants, then, if there are irrational ones, with the doubles nearest to these."""
        original, reduced = claim.original, claim.reduced
        left, weights = _sides_of(claim, pairs)
        right = reduced.graph.substitute([pair.right for pair in pairs], reduced.specialised(claim.symbolic))
        mentioned = original.graph.symbols(left) | reduced.graph.symbols(right)
        shared = sorted(mentioned & claim.symbolic)
        sides = Sides(
            original.graph,
            reduced.graph,
            tuple(left),
            weights,
            tuple(right),
            (*map(original.graph.symbol, (*original.states, *shared)), original.graph.time()),
            (*map(reduced.graph.symbol, (*reduced.states, *shared)), reduced.graph.time()),
        )
        yield sides
        left, on_left = with_double_constants(original.graph, left)
        right, on_right = with_double_constants(reduced.graph, right)
        if on_left or on_right:
            yield replace(sides, left_roots=tuple(left), right_roots=tuple(right), replaced=True)

    def image(self, claim: Claim, sides: Sides) -> dict[Node, Node]:
        """Lumps as sums of states; further inputs are the same on both sides."""
        lumps = {claim.reduced.graph.symbol(name): node for name, node in self._lumps(claim).items()}
        n, m = claim.original.size, claim.reduced.size
        return lumps | dict(zip(sides.right_inputs[m:], sides.left_inputs[n:], strict=True))

    def _lumps(self, claim: Claim) -> dict[str, Node]:
        graph = claim.original.graph
        return {name: graph.weighted_sum(row, graph.symbol) for name, row in self.rows.items()}

    def _lifted(self, graph: Graph, lumps: Mapping[str, Node], claim: Claim) -> dict[Node, Node]:
        """L̄y + c for lumps that are expressions of a graph: what is put in place of the symbols of states."""
        parts: dict[str, list[Node]] = {name: [] for name in claim.original.states}
        for name, row in self.lift.items():
            for member, value in row.items():
                parts[member].append(graph.scaled(value, lumps[name]))
        for member, value in self.offset.items():
            parts[member].append(graph.number(value))
        return {claim.original.graph.symbol(name): graph.add(nodes) for name, nodes in parts.items()}

    def attempts(self, claim: Claim, sides: Sides, settings: IdentitySettings) -> Iterator[_ProofAttempt]:
        """As it stands where both sides are rational; else by derivatives, those first that hold everywhere."""
        left, right = sides.left_program(), sides.right_program()
        if not (left.generic or right.generic):
            yield self._direct(claim, sides, (left, right), settings)
            return
        branched = branched_nodes(sides.left, sides.left_roots)
        first = sides.left_program(branched) if branched else left
        yield self._by_closure(claim, sides, (first, right), settings)
        if not branched:
            return
        # only for gradients: the witness folds what was there at first
        rewritten = replace(sides, left_roots=tuple(with_positive_arguments(sides.left, sides.left_roots)))
        changed = rewritten.left_roots != sides.left_roots
        if changed:
            opaque = branched_nodes(sides.left, rewritten.left_roots)
            yield self._by_closure(claim, sides, (rewritten.left_program(opaque), right), settings)
        yield self._by_closure(claim, sides, (left, right), settings, one_branch=True)
        if changed:
            yield self._by_closure(claim, sides, (rewritten.left_program(), right), settings, one_branch=True)

    def _direct(
        self, claim: Claim, sides: Sides, programs: tuple[Program, Program], settings: IdentitySettings
    ) -> _ProofAttempt:
        rows = ModularRows(self._indexed(claim), claim.original.size)

        def expand() -> tuple[int, ...] | None:
            if not IDENTITY_LIMITS.allows(len(sides.left_inputs)):
                return None
            return unequal_polynomials(sides.left, *sides.joined(self.image(claim, sides)), sides.left_inputs)

        compare = compare_matching(*programs, ModularRows(sides.weights, len(sides.left_roots)), rows.lumped)
        degree, bound = bound_of(*programs, bits=rows.bits, settings=settings)
        return _ProofAttempt(compare, range(len(sides.weights)), bound, degree, expand)

    def _by_closure(
        self,
        claim: Claim,
        sides: Sides,
        programs: tuple[Program, Program],
        settings: IdentitySettings,
        *,
        one_branch: bool = False,
    ) -> _ProofAttempt:
        """``one_branch``: whether the left program knows derivatives that say nothing across a singularity."""
        functions = programs[0].function_names() | programs[1].function_names()
        where, domain = "wherever the original is defined", None
        if one_branch:
            domain = (
                f"every connected piece of the set of states at which {_listed(functions & _BRANCHED)} and all "
                "quotients are defined, each by itself"
            )
            where = f"on {domain}"
        rows = ModularRows(self._indexed(claim), claim.original.size)
        weights = ModularRows(sides.weights, len(sides.left_roots))
        degree, bound = bound_of(*programs, bits=rows.bits, settings=settings)
        return _ProofAttempt(
            _compare_by_closure(*programs, self._lifted_program(claim, sides), rows, weights),
            [*range(len(sides.weights))] * 2,
            bound,
            degree,
            heuristic=f"functions taken as generic ({_listed(functions)}); holds {where}",
            domain=domain,
            by_derivatives=True,
        )

    def _lifted_program(self, claim: Claim, sides: Sides) -> Program:
        """L f(L̄y + c) and h(L̄y + c) as a program in y, folded symbolically, so that no hash hides f(0) = 1."""
        graph, source = Graph(), sides.left
        names = [source.name(node) for node in sides.left_inputs[claim.original.size : -1]]
        mapping = self._lifted(graph, {name: graph.symbol(name) for name in claim.reduced.states}, claim)
        mapping |= {source.symbol(name): graph.symbol(name) for name in names}
        roots = graph.transplant(source, sides.left_roots, mapping)
        lumped = [graph.weighted_sum(row, roots.__getitem__) for row in sides.weights]
        inputs = [graph.symbol(name) for name in (*claim.reduced.states, *names)]
        return Program(graph, lumped, [*inputs, graph.time()])

    def real_claim(self, claim: Claim, sides: Sides) -> RealClaim:
        """What real points are held against."""
        original = claim.original
        values = original.constant_values
        names = [original.graph.name(node) for node in sides.left_inputs[original.size : -1]]
        constants = [values_of(original.graph, [values[name]])[0] if name in values else np.nan for name in names]
        lift = self._indexed(claim, self.lift) if self.lift else ()
        state = np.array(original.initial_state(), dtype=np.float64)
        return RealClaim(sides, self._indexed(claim), lift, state, np.array(constants))

    def suspects(
        self, claim: Claim, sides: Sides, contradictions: Sequence[Contradiction], same_term: float
    ) -> tuple[frozenset[Node], ...]:
        """Logarithms and powers that may be to blame for contradictions, see :class:`Refutation`."""
        graph = sides.left
        lifted = self._lifted(graph, self._lumps(claim), claim)
        several: set[Node] = set()
        every: set[Node] = set()
        for contradiction in contradictions:
            terms: dict[Node, Fraction] = {}
            for root, factor in sides.combined(contradiction.position).items():
                add_multiple(terms, graph.linear_terms(root), factor)
            roots = list(terms)
            every |= branched_nodes(graph, roots)
            program = Program(graph, [*roots, *graph.substitute(roots, lifted)], sides.left_inputs)
            with np.errstate(all="ignore"):
                point = np.array(contradiction.point)[:, None]
                here, there = program.outputs(program.run(FloatDomain(), point)).reshape(2, -1)
                same = np.abs(here - there) <= same_term * np.abs(here)
            several |= branched_nodes(graph, [r for r, equal in zip(roots, same.tolist(), strict=True) if not equal])
        return frozenset(several), frozenset(every)

    def members(self, claim: Claim) -> Sequence[str]:
        """States with a row in L, in order."""
        used = {member for row in self.rows.values() for member in row}
        return [name for name in claim.original.states if name in used]

    def statement(self, claim: Claim) -> str:
        """What is proved, in words."""
        reduced = claim.reduced
        still = sum(rate == reduced.graph.number(0) for rate in reduced.rhs)  # conserved totals among them
        moving = reduced.size - still
        never = f"that never change{'s' if still == 1 else ''}"
        both = f" and {still} {never}" if still and moving else f" {never}" if still else ""
        own = "obeys an equation of its own" if moving + still == 1 else "obey equations of their own"
        combinations = counted(moving or still, "linear combination")
        which = f"{combinations}{both} of the {claim.original.size} states"
        return f"{which} {own}, from which every observable follows exactly"


def _has_full_rank(rows: ModularRows, prime: int) -> bool:
    try:
        dense = rows.dense(PrimeField(prime))
    except BadPrimeError:
        return False
    return RowSpace(rows.shape[1], prime).extend(dense) == len(dense)


def _compare_by_closure(
    left: Program, right: Program, lifted: Program, rows: ModularRows, weights: ModularRows
) -> Compare:
    """Closure of rowsp(L) under the Jacobian, and g(y) = L f(L̄y + c), functions taken as generic.

    Compared are first the gradients that leave the space, then the differences of g, one position a pair each.

    Parameters
    ----------
    left, right, lifted : Program
        Left roots over states; g; and L f(L̄y + c).
    rows, weights : ModularRows
        L, and the pairs' left sides over the left roots.
    """

    def escaping(finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        """1 for each pair whose left side has a gradient that leaves rowsp(L) at some point, shape (pairs, 1)."""
        lumping, combinations = rows.dense(finite), weights.dense(finite).T
        (_, states), pairs = lumping.shape, combinations.shape[1]
        space = RowSpace(states, finite.prime)
        space.extend(lumping)
        escaped = np.zeros((pairs, 1), dtype=np.int64)
        for _ in range(points):
            x = np.repeat(finite.draw(generator, len(left.inputs), 1), pairs, axis=1)
            tape = left.run(finite, x)
            gradient = left.pull_back(finite, tape, combinations)[:states]
            if tape.bad.any():
                return None
            escaped[:, 0] |= space.residual(gradient.T).any(axis=1)
        return escaped

    def compare(finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        escaped = escaping(finite, generator, points)
        y = finite.draw(generator, len(right.inputs), points)
        at_lift, given = lifted.run(finite, y), right.run(finite, y)
        good = ~(at_lift.bad | given.bad)
        if escaped is None or not good.any():
            return None
        wrong = lifted.outputs(at_lift)[:, good] != right.outputs(given)[:, good]
        return np.concatenate([escaped, wrong.any(axis=1).astype(np.int64)[:, None]], axis=0)

    return compare


def _held_against_real_points(
    claim: Claim, pairs: Sequence[Pair], sides: Sides, proof: ExactProof, seed: int, settings: ProofSettings
) -> ExactProof | Refutation:
    """The proof, with what was looked at, or the real points that contradict it."""
    assert isinstance(claim.map, LumpedStates)
    # what holds on the whole domain needs no long look where the reduced system has values nearly everywhere
    brief = proof.domain is None and not sides.right_program().function_names() & _LIMITED
    points = settings.brief if brief else settings.real_points
    seen = compare_at_real_points(claim.map.real_claim(claim, sides), seed, points)
    if seen.contradictions:
        reasons = tuple(_contradicted(pairs[c.position], sides, c) for c in seen.contradictions)
        return Refutation(reasons, claim.map.suspects(claim, sides, seen.contradictions, settings.same_term))
    looked = f"{seen.points} real points with {counted(seen.patterns, 'pattern')} of signs show no difference"
    return replace(proof, heuristic=f"{proof.heuristic}; {looked}")


def _contradicted(pair: Pair, sides: Sides, contradiction: Contradiction) -> Reason:
    """The reason, with the values that the two sides mention at that point."""
    graph = sides.left
    mentioned = graph.symbols(sides.combined(contradiction.position))
    values = zip(sides.left_inputs[:-1], contradiction.point, strict=False)
    where = ", ".join(f"{graph.name(i)} = {v:.6g}" for i, v in values if graph.name(i) in mentioned)
    text = f"{pair.what} is {contradiction.original:.6g} in the original at {where or 'every state'}, and "
    if contradiction.reduced is None:
        return Reason("real-point-undefined", f"{text}has no value in the reduced model", pair.element)
    text += (
        f"{contradiction.reduced:.6g} in the reduced model: "
        "they agree on one side of a singularity (of a logarithm, a root, a quotient or a jump) at most"
    )
    return Reason("real-point-differs", text, pair.element)


# -- x = By ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CopiedStates:
    """Each reduced state stands for a block of original states, which all have its value.

    Attributes
    ----------
    blocks : mapping of reduced state id to ids of original states
    """

    blocks: Mapping[str, Sequence[str]]
    stream: ClassVar[Stream] = Stream.COPIES

    def faults(self, claim: Claim, settings: ProofSettings = _DEFAULT) -> list[Reason]:
        """The blocks are a partition of the original states, one a reduced state."""
        reasons: list[Reason] = []
        if claim.original.events or claim.reduced.events:
            reasons.append(Reason("event-not-lumpable", "an embedding is proved for systems without events only"))
        reasons += _mismatch("blocks", self.blocks, claim.reduced.states) + _states_called_as_constants(claim)
        known = set(claim.original.states)
        seen: set[str] = set()
        for name, members in self.blocks.items():
            if not members:
                reasons.append(Reason("lumping-mismatch", f"the block of {name} is empty", name))
            for member in members:
                if member not in known:
                    reasons.append(Reason("unknown-member", f"{name} stands for {member}, which is no state", name))
                elif member in seen:
                    reasons.append(Reason("lumping-mismatch", f"{member} stands in two blocks", member))
                seen.add(member)
        lost = sorted(known - seen)
        reasons += [Reason("lumping-mismatch", f"{member} stands in no block", member) for member in lost]
        return reasons + claim.missing_observables(claim.observables)

    def values(self, claim: Claim, left: ValueTable, right: ValueTable) -> list[ValuePair]:
        """Every member against the state that stands for it."""
        pairs: list[ValuePair] = []
        for name, members in self.blocks.items():
            for member in members:
                a, b = left.get(member), right.get(name)
                if a is None and b is None and len(members) > 1:
                    b = claim.reduced.graph.number(0)  # what has no value is equal to nothing else
                text = f"{member} and {name}, which stands for it, do not start at the same value"
                pairs.append(ValuePair(a, b, Reason("initial-values-differ", text, member)))
        return pairs

    def pairs(self, claim: Claim) -> tuple[list[Pair], list[Reason]]:
        """The rate of each member against that of the state that stands for it, and observables."""
        rates = claim.rates
        text = "where the states of each block are equal, {} is not that of the state standing for it"
        pairs = [
            Pair(f"the rate of {member}", {rates[member]: _ONE}, rate, "right-hand-side-differs", member, text)
            for name, rate in zip(claim.reduced.states, claim.reduced.rhs, strict=True)
            for member in self.blocks[name]
        ]
        return [*pairs, *claim.observable_pairs()], []

    def sides(self, claim: Claim, pairs: Sequence[Pair]) -> Iterator[Sides]:
        """f(By) and g(y) in one graph of their own."""
        original, reduced = claim.original, claim.reduced
        graph = Graph()
        symbol = {name: graph.symbol(name) for name in (*reduced.states, *sorted(claim.symbolic))}
        stands_for = {original.graph.symbol(m): symbol[name] for name, members in self.blocks.items() for m in members}
        stands_for |= {original.graph.symbol(name): symbol[name] for name in claim.symbolic}
        roots, weights = _sides_of(claim, pairs)
        left = graph.transplant(original.graph, roots, stands_for)
        right = reduced.graph.substitute([pair.right for pair in pairs], reduced.specialised(claim.symbolic))
        right = graph.transplant(
            reduced.graph, right, {reduced.graph.symbol(name): node for name, node in symbol.items()}
        )
        inputs = (*symbol.values(), graph.time())
        yield Sides(graph, graph, tuple(left), weights, tuple(right), inputs, inputs)

    def image(self, claim: Claim, sides: Sides) -> dict[Node, Node]:
        """All inputs are the same on both sides."""
        return {}

    def attempts(self, claim: Claim, sides: Sides, settings: IdentitySettings) -> Iterator[_ProofAttempt]:
        """As it stands."""
        graph, inputs = sides.left, sides.left_inputs
        left, right = sides.joined({})
        program = Program(graph, [*left, *right], inputs)
        different = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
        left, right = [left[i] for i in different], [right[i] for i in different]
        tested = Program(graph, [*left, *right], inputs)

        def expand() -> tuple[int, ...] | None:
            if not different:  # what is one node on both sides is equal already
                return ()
            return None if program.generic else unequal_polynomials(graph, left, right, inputs)

        heuristic = None
        if program.generic and different:
            heuristic = f"functions taken as generic ({_listed(program.function_names())})"
        _, bound = bound_of(tested, settings=settings)
        yield _ProofAttempt(compare_halves(tested), different, bound, program.degree(), expand, heuristic)

    def members(self, claim: Claim) -> Sequence[str]:
        """All states."""
        return claim.original.states

    def statement(self, claim: Claim) -> str:
        """What is proved, in words."""
        return (
            f"the {claim.original.size} states move as {claim.reduced.size} do, each of which stands for a block of "
            "states that start at the same value and stay equal; every observable follows exactly"
        )


# -- y among x, and constants T(x) -------------------------------------------------------------------


def symbolic_but(system: OdeSystem, fixed: Iterable[str] = ()) -> frozenset[str]:
    """All constants but those with a value that ``fixed`` ones are computed from, these included."""
    with_value = frozenset(system.constant_values)
    return frozenset(c.id for c in system.constants) - (with_value & ids_below(system, fixed))


@dataclass(frozen=True, slots=True)
class EliminatedStates:
    """The reduced system has some of the states, and what the others follow from: constants that are conserved totals.

    Attributes
    ----------
    totals : mapping of str to Node
        Constants of the reduced system and what each is in the original: an expression of its states and constants, and
        of time for a total T that relaxes at one rate, a + (T − a)/exp(μt).
    initial_values : mapping of str to row
        Constants of the reduced system that hold initial values, as combinations of original states (only where read
        from files).
    rows : mapping of str to row
        States of the reduced system that are combinations of original states; the others are those states themselves.
    complete : bool
        Whether the reduced system has to define every state of the original. A later step of a chain may have dropped
        states on which nothing that is left depends; which those are a file does not say.
    """

    totals: Mapping[str, Node]
    initial_values: Mapping[str, NamedRow] = field(default_factory=dict)
    rows: Mapping[str, NamedRow] = field(default_factory=dict)
    complete: bool = True
    stream: ClassVar[Stream] = Stream.ELIMINATION

    def lumps(self, reduced: OdeSystem) -> dict[str, NamedRow]:
        """Each state of the reduced system as a combination of original states."""
        return {name: self.rows.get(name, {name: _ONE}) for name in reduced.states}

    def faults(self, claim: Claim, settings: ProofSettings = _DEFAULT) -> list[Reason]:
        """Everything that the map names is there."""
        members = (*self.lumps(claim.reduced).items(), *self.initial_values.items())
        reasons = _unknown_members(members, claim.original.states, "{member} is no state of the original")
        constants = {c.id for c in claim.reduced.constants}
        reasons += [
            Reason("total-missing", f"the reduced model has no constant {name}", name)
            for name in self.totals
            if name not in constants
        ]
        needed = (*claim.observables, *(claim.original.states if self.complete else ()))
        return reasons + claim.missing_observables(needed, "")

    def values(self, claim: Claim, left: ValueTable, right: ValueTable) -> list[ValuePair]:
        """States that have become constants, lumps, constants that hold initial values, totals."""
        states = set(claim.original.states)
        expected = [(c.id, left.get(c.id)) for c in claim.reduced.constants if c.id in states]
        combinations = (*self.lumps(claim.reduced).items(), *self.initial_values.items())
        expected += [(name, left.combined(row)) for name, row in combinations]
        expected += [(name, left.formula(node)) for name, node in self.totals.items()]
        text = "the value of {} at time 0 is not that of the original"
        return [ValuePair.initial(name, node, right.get(name), text) for name, node in expected]

    def pairs(self, claim: Claim) -> tuple[list[Pair], list[Reason]]:
        """Rates of states, totals and states that are constant, all that both systems define, observables, events."""
        before, after = claim.original, claim.reduced
        graph, zero = before.graph, after.graph.number(0)
        rates = claim.rates
        reasons: list[Reason] = []
        pairs: list[Pair] = []

        def compare(what: str, a: Node, b: Node) -> None:
            pairs.append(Pair(what, {a: _ONE}, b, "elimination-differs"))

        lumps = self.lumps(after)
        for name, rate in zip(after.states, after.rhs, strict=True):
            compare(f"the rate of {name}", graph.weighted_sum(lumps[name], rates.__getitem__), rate)
        seeds = {graph.symbol(name): rate for name, rate in rates.items()} | {graph.time(): graph.number(1)}
        for name, node in self.totals.items():
            try:
                compare(f"the total {name}", graph.derivative(node, seeds), zero)
            except ValueError as error:  # floor, min …: whether such a total is constant is not looked into
                reasons.append(Reason("elimination-differs", f"the total {name} cannot be followed: {error}", name))
                continue
            members = graph.symbols([node]) & set(before.states)
            for event in before.events:
                # an event that sets all members to values of one moment has to keep the total of that moment; see
                # _mixed
                if members & targets(event):
                    reset = {graph.symbol(target): value for target, value in new_values(event).items()}
                    what = f"the total {name} at event {event.id}"
                    compare(what, graph.substitute([node], reset)[0], after.graph.symbol(name))
        constant = {c.id for c in after.constants} & set(before.states)
        for name in sorted(constant):
            compare(f"the rate of {name}", rates[name], zero)
            for event in before.events:
                value = new_values(event).get(name)
                if value is not None:
                    compare(f"the value of {name} at event {event.id}", value, after.graph.symbol(name))
        shared = set(before.definitions) & set(after.definitions)
        shared -= set(after.states) | {c.id for c in before.constants} | constant
        for name in sorted(shared):
            compare(name, before.definitions[name], after.definitions[name])
        events, differences = event_pairs(before, after, lumps)
        return [*pairs, *claim.observable_pairs(), *events], [*differences, *reasons, *self._mixed(before)]

    def _mixed(self, before: OdeSystem) -> list[Reason]:
        """Totals of which an event sets one part to values of its trigger and leaves the others as they have become."""
        reasons: list[Reason] = []
        for event in before.events:
            if not values_are_old(before, event) or overwrites_others(before, event):
                continue
            for name, node in self.totals.items():
                members = before.graph.symbols([node]) & set(before.states)
                touched = members & targets(event)
                if touched and (touched != members or two_moments(before, event)):
                    message = f"the total {name} mixes values of two moments at {event_label(event)}"
                    reasons.append(Reason("elimination-differs", message, name))
        return reasons

    def _forms(self, claim: Claim) -> dict[str, Node]:
        """What the reduced system calls by one name and the original has as an expression: totals and lumps."""
        graph = claim.original.graph
        lumps = {
            name: graph.weighted_sum(self.rows[name], graph.symbol)
            for name in claim.reduced.states
            if name in self.rows
        }
        return {**self.totals, **lumps}

    def sides(self, claim: Claim, pairs: Sequence[Pair]) -> Iterator[Sides]:
        """Every symbol is an input of its side; the forms follow the left roots."""
        before, after = claim.original, claim.reduced
        roots, weights = _sides_of(claim, pairs, self._forms(claim).values())
        fixed = {c.id for c in before.constants} - claim.symbolic
        # numbers, also where the reduced system computes them from constants that are not fixed: initial values of
        # states that were eliminated are constants there
        numbers = {node: value for node, value in after.specialised().items() if after.graph.name(node) in fixed}
        right = after.graph.substitute([pair.right for pair in pairs], numbers)
        left_names = [*before.states, *sorted(before.graph.symbols(roots) - set(before.states))]
        right_names = sorted(after.graph.symbols(right))
        left_inputs = (*map(before.graph.symbol, left_names), before.graph.time())
        right_inputs = (*map(after.graph.symbol, right_names), after.graph.time())
        yield Sides(before.graph, after.graph, tuple(roots), weights, tuple(right), left_inputs, right_inputs)

    def image(self, claim: Claim, sides: Sides) -> dict[Node, Node]:
        """Totals and lumps as what they are in the original; other ids are the same on both sides."""
        forms = self._forms(claim)
        names = [sides.right.name(node) for node in sides.right_inputs[:-1]]
        graph = sides.left
        return {sides.right.symbol(name): forms.get(name, graph.symbol(name)) for name in names}

    def attempts(self, claim: Claim, sides: Sides, settings: IdentitySettings) -> Iterator[_ProofAttempt]:
        """As it stands, point by point."""
        left, right = sides.left_program(), sides.right_program()
        forms = list(self._forms(claim))
        first = len(sides.left_roots) - len(forms)
        output = {name: first + i for i, name in enumerate(forms)}
        inputs = {sides.left.name(node): i for i, node in enumerate(sides.left_inputs[:-1])}
        names = [sides.right.name(node) for node in sides.right_inputs[:-1]]

        def matching(finite: PrimeField, generator: np.random.Generator, x: Residues, outputs: Residues) -> Residues:
            y = finite.draw(generator, len(right.inputs), x.shape[1])
            for i, name in enumerate(names):
                if name in output:
                    y[i] = outputs[output[name]]
                elif name in inputs:
                    y[i] = x[inputs[name]]
            y[-1] = x[-1]
            return y

        # the right side is put together with the forms, which are mostly linear, and not with all of the left side
        composed = Program(sides.left, sides.left_roots[first:], sides.left_inputs).degree() if forms else 1
        degree = left.degree() + right.degree() * max(1, composed) + 1
        bound = failure_bound(degree, degree * (left.height() + right.height() + settings.spare_bits), settings)
        compare = compare_matching(left, right, ModularRows(sides.weights, len(sides.left_roots)), matching)
        yield _ProofAttempt(compare, range(len(sides.weights)), bound, degree)

    def members(self, claim: Claim) -> Sequence[str]:
        """All states."""
        return claim.original.states

    def statement(self, claim: Claim, most: int = 8) -> str:
        """What is proved, in words, with at most so many constants by name."""
        original = claim.original
        states = set(original.states)
        totals = [node for node in self.totals.values() if not states.isdisjoint(original.graph.symbols([node]))]
        decaying = sum(original.graph.depends_on_time([node]) for node in totals)
        number = len(totals) - decaying + sum(c.id in states for c in claim.reduced.constants)
        parts = [(number, "never changes", "never change"), (decaying, "relaxes at one rate", "relax at one rate each")]
        said = [
            f"1 total of states {singular}" if count == 1 else f"{count} totals of states {plural}"
            for count, singular, plural in parts
            if count or (singular == "never changes" and not decaying)
        ]
        what = " and ".join(said)
        constants = set(original.given_constants)
        fixed = sorted(constants - claim.symbolic)
        every = ""
        if claim.symbolic & constants or not constants:
            listed = ", ".join(fixed[:most]) + (", …" if len(fixed) > most else "")
            every = ", for all values of the constants" + (f" but {listed}" if fixed else "")
        left = f"the {claim.reduced.size} of {original.size} states that stay"
        return f"{what}; what is eliminated follows from them and from {left}, exactly{every}"
