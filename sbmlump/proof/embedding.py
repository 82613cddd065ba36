"""Proof or refutation that the solutions of a small system, copied onto blocks of states, solve a large one.

Nothing here knows how the blocks were found. Given both systems and the blocks, it checks: the blocks are a partition
of the original states, one a reduced state; f_i(Ry) = g_B(y) for every state i of every block B and all y, R being the
copying; each observable is at Ry what the reduced system says it is; all states of a block start at the initial value
of theirs; constants that both have agree.

Rational systems: by expansion over Q where that is small, else at random points modulo random primes. Other functions
are taken as generic: equal names and arguments, equal value (:mod:`sbmlump.model.domains`). The copying is put in
symbolically first, so no folding that it permits is missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason
from sbmlump.model.domains import PrimeField
from sbmlump.model.graph import Graph, Node
from sbmlump.model.program import Program
from sbmlump.model.reduced import ExactProof
from sbmlump.model.system import OdeSystem
from sbmlump.proof.identity import IdentityTest, expand_polynomials, failure_bound, run_trials
from sbmlump.proof.values import (
    ValuePair,
    ValueTable,
    compare_values,
    constant_pairs,
    prove_widest,
    resting_values,
    with_values,
)

__all__ = ["EmbeddingClaim", "EmbeddingRefutation", "certify_embedding", "certify_embedding_widest"]


Residues = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EmbeddingClaim:
    """What is to be proved.

    Attributes
    ----------
    original, reduced : OdeSystem
    blocks : mapping of reduced state id to ids of original states
    observables : mapping of id to Node
        Ids in the reduced system, expressions in the original graph.
    symbolic : frozenset of str
        Constants for all of whose values the claim is made.
    """

    original: OdeSystem
    reduced: OdeSystem
    blocks: Mapping[str, Sequence[str]]
    observables: Mapping[str, Node]
    symbolic: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EmbeddingRefutation:
    """The claim is false, or not what it says; every reason found."""

    reasons: tuple[Reason, ...]


def certify_embedding(claim: EmbeddingClaim, seed: int = 0) -> ExactProof | EmbeddingRefutation:
    """Prove or refute a claim.

    Returns
    -------
    ExactProof or EmbeddingRefutation

    References
    ----------
    Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225: identity testing.
    """
    reasons = _check_shape(claim)
    if reasons:
        return EmbeddingRefutation(tuple(reasons))
    start = compare_values(claim.original.graph, claim.reduced.graph, _value_pairs(claim), seed)
    if start.wrong:
        return EmbeddingRefutation(start.reasons)
    outcome = _prove(_Sides.of(claim), seed)
    return outcome if isinstance(outcome, EmbeddingRefutation) else with_values(outcome, start)


def certify_embedding_widest(claim: EmbeddingClaim, seed: int = 0) -> ExactProof | EmbeddingRefutation:
    """As :func:`certify_embedding`, for all values of as many constants as can be (those of the claim at least)."""
    return prove_widest(
        claim, lambda one: certify_embedding(one, seed), lambda one, names: replace(one, symbolic=names), _sides, seed
    )


def _sides(claim: EmbeddingClaim) -> tuple[Graph, list[Node], list[Node]]:
    """Both sides of everything that has to be identical, in a graph of their own."""
    both = _Sides.of(claim)
    graph, left, right = both.graph, list(both.left), list(both.right)
    for pair in _value_pairs(claim):
        if pair.left is not None and pair.right is not None:
            left += graph.transplant(claim.original.graph, [pair.left], {})
            right += graph.transplant(claim.reduced.graph, [pair.right], {})
    return graph, left, right


# -- the parts that need no random numbers -----------------------------------------------------------


def _check_shape(claim: EmbeddingClaim) -> list[Reason]:
    reasons: list[Reason] = []
    if claim.original.events or claim.reduced.events:
        reasons.append(Reason("event-not-lumpable", "an embedding is proved for systems without events only"))
    if set(claim.blocks) != set(claim.reduced.states):
        odd = sorted(set(claim.blocks) ^ set(claim.reduced.states))
        text = f"the blocks and the reduced model have different states: {', '.join(odd[:5])}"
        reasons.append(Reason("lumping-mismatch", text))
    known = set(claim.original.states)
    seen: set[str] = set()
    for name, members in claim.blocks.items():
        if not members:
            reasons.append(Reason("lumping-mismatch", f"the block of {name} is empty", name))
        for member in members:
            if member not in known:
                reasons.append(Reason("unknown-member", f"{name} stands for {member}, which is no state", name))
            elif member in seen:
                reasons.append(Reason("lumping-mismatch", f"{member} stands in two blocks", member))
            seen.add(member)
    lost = sorted(known - seen)
    reasons.extend(Reason("lumping-mismatch", f"{member} stands in no block", member) for member in lost)
    missing = [name for name in claim.observables if name not in claim.reduced.definitions]
    reasons.extend(
        Reason("observable-missing", f"the reduced model has no observable {name}", name) for name in missing
    )
    return reasons


def _value_pairs(claim: EmbeddingClaim) -> list[ValuePair]:
    """Every member against the state that stands for it, and constants that both systems have."""
    free = ValueTable.free_of(claim.original, claim.symbolic)
    left, right = ValueTable(claim.original, free), ValueTable(claim.reduced, free)
    pairs = constant_pairs(claim.original, claim.reduced, left, right)
    for name, members in claim.blocks.items():
        for member in members:
            a, b = left.get(member), right.get(name)
            if a is None and b is None and len(members) > 1:
                b = claim.reduced.graph.number(0)  # what has no value is equal to nothing else
            text = f"{member} and {name}, which stands for it, do not start at the same value"
            pairs.append(ValuePair(a, b, Reason("initial-values-differ", text, member)))
    return pairs


# -- the identity ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sides:
    """f(Ry) and h(Ry) against g_B(y) and h̃(y), in one graph of their own, pairwise."""

    claim: EmbeddingClaim
    labels: tuple[str, ...]
    graph: Graph
    left: tuple[Node, ...]
    right: tuple[Node, ...]
    inputs: tuple[Node, ...]

    @staticmethod
    def of(claim: EmbeddingClaim) -> _Sides:
        original, reduced = claim.original, claim.reduced
        graph = Graph()
        symbol = {name: graph.symbol(name) for name in (*reduced.states, *sorted(claim.symbolic))}
        owner = {member: name for name, members in claim.blocks.items() for member in members}
        rates = dict(zip(original.states, original.rhs, strict=True))
        members = [member for name in reduced.states for member in claim.blocks[name]]
        left = original.graph.substitute(
            [*(rates[m] for m in members), *claim.observables.values()], original.specialised(claim.symbolic)
        )
        mapping = {original.graph.symbol(m): symbol[name] for m, name in owner.items()}
        mapping |= {original.graph.symbol(name): symbol[name] for name in claim.symbolic}
        left = graph.transplant(original.graph, left, mapping)
        definitions = reduced.definitions
        right = reduced.graph.substitute(
            [*reduced.rhs, *(definitions[name] for name in claim.observables)], reduced.specialised(claim.symbolic)
        )
        right = graph.transplant(
            reduced.graph, right, {reduced.graph.symbol(name): node for name, node in symbol.items()}
        )
        position = {name: i for i, name in enumerate(reduced.states)}
        paired = [right[position[owner[m]]] for m in members] + right[len(reduced.states) :]
        labels = (*members, *claim.observables)
        return _Sides(claim, labels, graph, tuple(left), tuple(paired), (*symbol.values(), graph.time()))


def _prove(sides: _Sides, seed: int) -> ExactProof | EmbeddingRefutation:
    different = [i for i, (a, b) in enumerate(zip(sides.left, sides.right, strict=True)) if a != b]
    unknown = sides.graph.symbols([*sides.left, *sides.right]) - {sides.graph.name(n) for n in sides.inputs[:-1]}
    if unknown:
        reasons = [Reason("missing-value", f"the constant {name} has no value", name) for name in sorted(unknown)]
        return EmbeddingRefutation(tuple(reasons))
    program = Program(sides.graph, [*sides.left, *sides.right], sides.inputs)
    wrong: tuple[int, ...] = ()
    trial: IdentityTest | None = None
    if different:  # what is one node on both sides is equal already
        left, right = [sides.left[i] for i in different], [sides.right[i] for i in different]
        both = None if program.generic else expand_polynomials(sides.graph, [*left, *right], sides.inputs)
        if both is not None:
            half = len(left)
            wrong = tuple(different[i] for i in range(half) if both[i] != both[half + i])
        else:
            tested = Program(sides.graph, [*left, *right], sides.inputs)
            trial = _trial(tested, len(left), seed)
            if not trial.primes:
                text = "no random point was found at which both systems are defined"
                return EmbeddingRefutation((Reason("undefined", text),))
            wrong = tuple(different[i] for i in trial.wrong)
    if wrong:
        return EmbeddingRefutation(tuple(_difference(sides, position) for position in wrong))
    return _proof(sides, trial, program)


def _trial(program: Program, half: int, seed: int) -> IdentityTest:
    degree = program.degree() + 1

    def compare(field: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        x = generator.integers(1, field.prime, (len(program.inputs), points))
        tape = program.run(field, x)
        good = ~tape.bad
        if not good.any():
            return None
        values = program.outputs(tape)[:, good]
        return np.asarray((values[:half] - values[half:]) % field.prime)

    bound = failure_bound(degree, degree * (program.height() + 64))
    return run_trials(compare, np.random.default_rng([seed, 0xE3BD]), bound)


def _difference(sides: _Sides, position: int) -> Reason:
    name = sides.labels[position]
    if position < sides.claim.original.size:
        text = f"where the states of each block are equal, the rate of {name} is not that of the state standing for it"
        return Reason("right-hand-side-differs", text, name)
    return Reason("observable-differs", f"the observable {name} is not what it is in the original", name)


def _proof(sides: _Sides, trial: IdentityTest | None, program: Program) -> ExactProof:
    claim = sides.claim
    symbolic = tuple(sorted(claim.symbolic & {c.id for c in claim.original.constants}))
    seen = [*claim.original.rhs, *claim.observables.values()]
    valid_for = resting_values(claim.original, claim.symbolic, claim.original.states, seen)
    statement = (
        f"the {claim.original.size} states move as {claim.reduced.size} do, each of which stands for a block of states "
        "that start at the same value and stay equal; every observable follows exactly"
    )
    heuristic = None
    if trial is not None and program.generic:
        listed = ", ".join(sorted(program.function_names())) or "named constants"
        heuristic = f"functions taken as generic ({listed})"
    if trial is None:
        return ExactProof(statement, "expansion", 0.0, heuristic=heuristic, valid_for=valid_for, symbolic=symbolic)
    return ExactProof(
        statement,
        "identity-test",
        trial.failure_probability,
        trial.primes,
        trial.points,
        int(min(program.degree(), 2**53)),
        heuristic,
        valid_for,
        symbolic,
    )
