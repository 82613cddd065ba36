"""Proof or refutation that one system is an exact linear lumping of another.

Nothing here knows how the lumping was found. Given both systems, the rows of L over Q and what each observable is in
the original, it checks: L has full row rank; L f(x) = g(Lx) for all x; each observable h(x) is the reduced model's
expression at Lx; initial values are Lx(0) and constants that both have agree, as formulas in every symbolic constant
(:mod:`sbmlump.proof.values`).

Rational systems: the identity is checked as it stands, by expansion over Q where that is small, else at random points
modulo random primes. Systems with other functions: those are taken as generic (hashed, see
:mod:`sbmlump.model.domains`), and two identities replace the one: rowsp(L) is closed under the Jacobian and holds the
gradients of the observables, so that L f and h depend on Lx alone, and g(y) = L f(L̄y + c) for one right inverse, the
witness. This is tried first without the derivatives of logarithms and powers, then with their arguments as powers of
roots (:mod:`sbmlump.proof.real_points`), which both hold on the whole domain, and last, in both ways, with these
derivatives, which holds on each connected piece of it by itself. All are then held against real points on both sides of
every singularity (:mod:`sbmlump.proof.real_points`): where one contradicts, the claim is refuted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

import flint
import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import LimitError, Reason
from sbmlump.linalg.finite_field import RowSpace, matmul_mod, random_prime
from sbmlump.model.domains import BadPrimeError, FloatDomain, PrimeField, nearest_double
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Graph, Node
from sbmlump.model.program import Program, branched_nodes
from sbmlump.model.properties import with_double_constants
from sbmlump.model.reduced import ExactProof
from sbmlump.model.system import Constant, OdeSystem, event_expressions
from sbmlump.model.text import add_multiple
from sbmlump.proof.events import Pair, event_pairs
from sbmlump.proof.identity import MAX_VARIABLES, TARGET, IdentityTest, expand_polynomials, failure_bound, run_trials
from sbmlump.proof.real_points import (
    BRIEF,
    Contradiction,
    RealClaim,
    RealPointSettings,
    compare_at_real_points,
    with_positive_arguments,
)
from sbmlump.proof.values import (
    ComparedValues,
    ValuePair,
    ValueTable,
    compare_values,
    constant_pairs,
    prove_widest,
    resting_values,
    with_values,
)

__all__ = ["Claim", "Refutation", "certify", "certify_widest", "acting_constants", "with_totals"]


Residues = NDArray[np.int64]
Row = Mapping[str, Fraction]
_RANK_PRIMES = 4
_BRANCHED: Final = frozenset({"ln", "power"})  # functions whose derivatives say nothing across a singularity
_SPOKEN: Final = {"generic-ln": "ln", "generic-power": "power"}
_LIMITED: Final = _BRANCHED | frozenset(  # functions that have no real value for all arguments of some region
    ("arcsin", "arccos", "arcsec", "arccsc", "arctanh", "arccosh", "arcsech", "arccoth", "factorial")
)
_SAME: Final = 1e-9  # relative difference of doubles below which a term is taken for equal at two states


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be proved.

    Attributes
    ----------
    original, reduced : OdeSystem
    rows : mapping of reduced state id to row
        Each row maps original state ids to exact coefficients.
    observables : mapping of id to Node
        Ids in the reduced system, expressions in the original graph.
    symbolic : frozenset of str
        Constants for all of whose values the claim is made.
    lift : mapping of reduced state id to row
        Right inverse used as a witness where functions are generic.
    offset : row
        Constant part of the witness.
    """

    original: OdeSystem
    reduced: OdeSystem
    rows: Mapping[str, Row]
    observables: Mapping[str, Node]
    symbolic: frozenset[str] = frozenset()
    lift: Mapping[str, Row] = field(default_factory=dict)
    offset: Row = field(default_factory=dict)


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


def certify(claim: Claim, seed: int = 0) -> ExactProof | Refutation:
    """Prove or refute a claim.

    Returns
    -------
    ExactProof or Refutation

    Raises
    ------
    LimitError
        If no difference was found but the chance of error stays above 1e-18 (``degree-too-high``).

    References
    ----------
    Li and Rabitz, Chem. Eng. Sci. 44 (1989), doi 10.1016/0009-2509(89)85014-6: closure under the Jacobian.
    Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225: identity testing.
    """
    reasons = [*_check_shape(claim), *_check_missing(claim)]
    if reasons:
        return Refutation(tuple(reasons))
    pairs, event_reasons = _pairs(claim)
    start = _compared_values(claim, seed)
    reasons = [*_check_rank(claim), *start.reasons, *event_reasons]
    if reasons:
        return Refutation(tuple(reasons))
    outcome = _prove(_Sides.of(claim, pairs, double_constants=False), seed)
    if isinstance(outcome, Refutation):
        other = _Sides.of(claim, pairs, double_constants=True)
        if other.replaced:
            second = _prove(other, seed)
            outcome = second if isinstance(second, ExactProof) else outcome
    return outcome if isinstance(outcome, Refutation) else with_values(outcome, start)


def certify_widest(claim: Claim, seed: int = 0) -> ExactProof | Refutation:
    """As :func:`certify`, for all values of as many constants as can be (those of the claim at least)."""
    return prove_widest(
        claim, lambda one: certify(one, seed), lambda one, names: replace(one, symbolic=names), _claim_sides, seed
    )


def _claim_sides(claim: Claim) -> tuple[Graph, list[Node], list[Node]]:
    """Both sides of everything that has to be identical, over states and symbolic constants of the original.

    Returns
    -------
    graph, left, right
        L f(x), observables and parts of events, then initial values and constants; and g(Lx) and what belongs to it.
    """
    pairs, _ = _pairs(claim)
    graph, left, right = _both_sides(_Sides.of(claim, pairs, double_constants=False))
    for pair in _value_pairs(claim):
        if pair.left is not None and pair.right is not None:
            left.append(pair.left)
            right += graph.transplant(claim.reduced.graph, [pair.right], {})
    return graph, left, right


def _pairs(claim: Claim) -> tuple[list[Pair], list[Reason]]:
    """Observables and parts of events, pairwise, and what differs in the form of events already."""
    events, reasons = event_pairs(claim.original, claim.reduced, claim.rows)
    definitions = claim.reduced.definitions
    return [*((name, node, definitions[name]) for name, node in claim.observables.items()), *events], reasons


# -- the parts that need no random numbers -----------------------------------------------------------


def _check_shape(claim: Claim) -> list[Reason]:
    reasons = []
    known = set(claim.original.states)
    if set(claim.rows) != set(claim.reduced.states):
        odd = sorted(set(claim.rows) ^ set(claim.reduced.states))
        reasons.append(
            Reason("lumping-mismatch", f"the lumping and the reduced model have different states: {', '.join(odd[:5])}")
        )
    reasons += [
        Reason("unknown-member", f"{name} has a member {member} that is no state", name)
        for name, row in (*claim.rows.items(), *claim.lift.items())
        for member in row
        if member not in known
    ]
    available = set(claim.reduced.definitions)
    reasons += [
        Reason("observable-missing", f"the reduced model has no observable {name}", name)
        for name in claim.observables
        if name not in available
    ]
    return reasons


def lumping_faults(claim: Claim) -> list[Reason]:
    """What is wrong with the rows and their lift by themselves, whatever the systems do."""
    return _check_shape(claim) or _check_rank(claim)


def _check_missing(claim: Claim) -> list[Reason]:
    mentioned = claim.reduced.graph.symbols(claim.reduced.rhs) - set(claim.reduced.states)
    missing = sorted(mentioned - set(claim.reduced.constant_values))
    text = "the constant {} has no value in the reduced model"
    return [Reason("missing-value", text.format(name), name) for name in missing]


def _check_rank(claim: Claim) -> list[Reason]:
    """Rank modulo a prime: it never exceeds the rank over Q, so full rank here is full rank there."""
    reasons: list[Reason] = []
    generator = np.random.default_rng(0x4A4B)
    if not any(_full_rank_modulo(claim, random_prime(generator)) for _ in range(_RANK_PRIMES)):
        reasons.append(Reason("rank-deficient", "the rows of the lumping matrix depend on each other"))
    return reasons + _check_lift(claim)


def _full_rank_modulo(claim: Claim, prime: int) -> bool:
    index = claim.original.state_index
    space = RowSpace(claim.original.size, prime)
    finite = PrimeField(prime)
    rows = np.zeros((len(claim.rows), claim.original.size), dtype=np.int64)
    try:
        for i, name in enumerate(claim.reduced.states):
            for member, value in claim.rows[name].items():
                rows[i, index[member]] = finite.residue(value)
    except BadPrimeError:
        return False
    return space.extend(rows) == len(rows)


def _check_lift(claim: Claim) -> list[Reason]:
    """The witness must be a right inverse: L L̄ = I and L c = 0."""
    users: dict[str, list[str]] = {}
    for name, row in claim.rows.items():
        for member in row:
            users.setdefault(member, []).append(name)
    for name, lifted in claim.lift.items():
        product: dict[str, Fraction] = {}
        for member, value in lifted.items():
            for other in users.get(member, ()):
                product[other] = product.get(other, Fraction(0)) + claim.rows[other][member] * value
        if {other: value for other, value in product.items() if value} != {name: Fraction(1)}:
            return [Reason("lift-mismatch", f"the lift of {name} is not a right inverse of the lumping", name)]
    moved: dict[str, Fraction] = {}
    for member, value in claim.offset.items():
        for other in users.get(member, ()):
            moved[other] = moved.get(other, Fraction(0)) + claim.rows[other][member] * value
    return [
        Reason("lift-mismatch", f"the offset of the lift moves {name}", name) for name, value in moved.items() if value
    ]


def _value_pairs(claim: Claim) -> list[ValuePair]:
    """Initial values of the lumps, and constants that both systems have."""
    free = ValueTable.free_of(claim.original, claim.symbolic)
    left, right = ValueTable(claim.original, free), ValueTable(claim.reduced, free)
    pairs = constant_pairs(claim.original, claim.reduced, left, right)
    for name, row in claim.rows.items():
        a, b = left.combined(row), right.get(name)
        text = f"{name} does not start at its lumped initial value"
        if a is None or b is None:
            text = f"{name} has an initial value on one side only"
        pairs.append(ValuePair(a, b, Reason("initial-value-differs", text, name)))
    return pairs


def _compared_values(claim: Claim, seed: int) -> ComparedValues:
    return compare_values(claim.original.graph, claim.reduced.graph, _value_pairs(claim), seed)


# -- the identity ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sides:
    """Both systems with the fixed constants' values put in, and their inputs in matching order."""

    claim: Claim
    labels: tuple[str, ...]  # of the pairs: observables, then parts of events
    original_roots: tuple[Node, ...]  # rhs of every original state in use, then the pairs' left sides
    reduced_roots: tuple[Node, ...]  # rhs of every reduced state, then the pairs' right sides
    used: tuple[str, ...]  # original states with a row in L, in order
    shared: tuple[str, ...]  # constants kept symbolic that either side mentions
    needs_time: bool
    replaced: bool  # whether irrational constants were replaced by their doubles

    @staticmethod
    def of(claim: Claim, pairs: Sequence[Pair], *, double_constants: bool) -> _Sides:
        original, reduced = claim.original, claim.reduced
        members = {member for row in claim.rows.values() for member in row}
        used = tuple(name for name in original.states if name in members)
        rhs = dict(zip(original.states, original.rhs, strict=True))
        left = original.graph.substitute(
            [*(rhs[name] for name in used), *(node for _, node, _ in pairs)], original.specialised(claim.symbolic)
        )
        right = reduced.graph.substitute(
            [*reduced.rhs, *(node for _, _, node in pairs)], reduced.specialised(claim.symbolic)
        )
        replaced = False
        if double_constants:
            left, one = with_double_constants(original.graph, left)
            right, two = with_double_constants(reduced.graph, right)
            replaced = one or two
        (mentioned, time), (after, time_after) = original.graph.leaves(left), reduced.graph.leaves(right)
        mentioned, time = mentioned | after, time or time_after
        shared = tuple(sorted(mentioned & claim.symbolic))
        labels = tuple(label for label, _, _ in pairs)
        return _Sides(claim, labels, tuple(left), tuple(right), used, shared, time, replaced)

    def inputs(self) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """Inputs of both sides: states, then shared constants, then time."""
        original, reduced = self.claim.original, self.claim.reduced
        left = (original.graph.symbol(name) for name in (*original.states, *self.shared))
        right = (reduced.graph.symbol(name) for name in (*reduced.states, *self.shared))
        return (*left, original.graph.time()), (*right, reduced.graph.time())

    def lumped_roots(self, position: int) -> dict[Node, Fraction]:
        """What a lump's rate, or a further expression, is the sum of: expressions of the original, with factors."""
        states = self.claim.reduced.states
        if position >= len(states):
            return {self.original_roots[len(self.used) + position - len(states)]: Fraction(1)}
        rates = dict(zip(self.used, self.original_roots, strict=False))
        total: dict[Node, Fraction] = {}
        for member, value in self.claim.rows[states[position]].items():
            total[rates[member]] = total.get(rates[member], Fraction(0)) + value
        return total

    def gradients(self, opaque: frozenset[Node]) -> Program:
        """Program of the original side with functions of whose derivatives nothing is known."""
        return Program(self.claim.original.graph, self.original_roots, self.inputs()[0], opaque)

    def programs(self) -> tuple[Program, Program]:
        """Programs of both sides."""
        left, right = self.inputs()
        return (
            Program(self.claim.original.graph, self.original_roots, left),
            Program(self.claim.reduced.graph, self.reduced_roots, right),
        )


def _prove(sides: _Sides, seed: int) -> ExactProof | Refutation:
    left, right = sides.programs()
    if not (left.generic or right.generic):
        return _prove_identity(sides, left, right, seed)
    graph = sides.claim.original.graph
    branched = branched_nodes(graph, sides.original_roots)
    outcome = _prove_identity(sides, left if not branched else sides.gradients(branched), right, seed)
    if isinstance(outcome, Refutation) and branched:
        rewritten = replace(sides, original_roots=tuple(with_positive_arguments(graph, sides.original_roots)))
        if rewritten.original_roots != sides.original_roots:
            gradients = rewritten.gradients(branched_nodes(graph, rewritten.original_roots))
            outcome = _prove_identity(sides, gradients, right, seed)
        if isinstance(outcome, Refutation):
            outcome = _prove_identity(sides, left, right, seed, one_branch=True)
        if isinstance(outcome, Refutation) and rewritten.original_roots != sides.original_roots:
            outcome = _prove_identity(sides, rewritten.gradients(frozenset()), right, seed, one_branch=True)
    if isinstance(outcome, Refutation):
        return outcome
    return _held_against_real_points(sides, outcome, seed)


def _prove_identity(
    sides: _Sides, left: Program, right: Program, seed: int, *, one_branch: bool = False
) -> ExactProof | Refutation:
    """``one_branch``: whether ``left`` knows derivatives that say nothing across a singularity."""
    generic = left.generic or right.generic
    rows_bits = float(
        sum(
            v.numerator.bit_length() + v.denominator.bit_length()
            for row in sides.claim.rows.values()
            for v in row.values()
        )
    )
    degree = left.degree() + right.degree() + 1
    bound = failure_bound(degree, degree * (left.height() + right.height() + rows_bits + 64))
    expanded = None if generic else _expansion(sides)
    if expanded is not None:
        wrong, trial = expanded, None
    else:
        comparer = _GenericComparer(sides, left, right) if generic else _DirectComparer(sides, left, right)
        trial = run_trials(comparer.compare, np.random.default_rng([seed, 0xCE27]), bound)
        if not trial.primes:
            return Refutation((Reason("undefined", "no random point was found at which both systems are defined"),))
        wrong = comparer.blame(trial)
        if not wrong and trial.failure_probability > TARGET:
            message = (
                "no difference was found, but the degree and the size of the numbers are too high to call that a proof "
                f"(chance of error up to {trial.failure_probability:.1e})"
            )
            raise LimitError(Reason("degree-too-high", message))
    if wrong:
        return Refutation(tuple(_difference(sides, position) for position in dict.fromkeys(wrong)))
    functions = (left.function_names() | right.function_names()) if generic else None
    return _proof(sides, trial, degree, functions, one_branch=one_branch)


def _held_against_real_points(sides: _Sides, proof: ExactProof, seed: int) -> ExactProof | Refutation:
    """The proof, with what was looked at, or the real points that contradict it."""
    claim = sides.claim
    original, reduced = claim.original, claim.reduced
    index = original.state_index
    values = original.constant_values
    left, right = sides.inputs()
    seen = compare_at_real_points(
        RealClaim(
            original.graph,
            reduced.graph,
            sides.original_roots,
            sides.reduced_roots,
            left,
            right,
            tuple({index[m]: v for m, v in claim.rows[name].items()} for name in reduced.states),
            tuple({index[m]: v for m, v in claim.lift.get(name, {}).items()} for name in reduced.states)
            if claim.lift
            else (),
            tuple(index[name] for name in sides.used),
            np.array(original.initial_state(), dtype=np.float64),
            np.array(
                [values_of(original.graph, [values[name]])[0] if name in values else np.nan for name in sides.shared]
            ),
        ),
        seed,
        # what holds on the whole domain needs no long look where the reduced system has values nearly everywhere
        BRIEF
        if proof.domain is None and not Program(reduced.graph, sides.reduced_roots, right).function_names() & _LIMITED
        else RealPointSettings(),
    )
    if seen.contradictions:
        reasons = tuple(_contradicted(sides, left, one) for one in seen.contradictions)
        return Refutation(reasons, _suspects(sides, left, seen.contradictions))
    looked = f"{seen.points} real points with {seen.patterns} patterns of signs show no difference"
    return replace(proof, heuristic=f"{proof.heuristic}; {looked}")


def _contradicted(sides: _Sides, inputs: Sequence[Node], found: Contradiction) -> Reason:
    """The reason, with the values that the two sides mention at that point."""
    claim = sides.claim
    graph = claim.original.graph
    told = _difference(sides, found.position)
    m = len(claim.reduced.states)
    if found.position < m:
        what = f"the rate of {claim.reduced.states[found.position]}"
    else:
        what = f"the {'observable ' if told.element else ''}{sides.labels[found.position - m]}"
    mentioned, _ = graph.leaves(sides.lumped_roots(found.position))
    values = zip(inputs[:-1], found.point, strict=False)
    where = ", ".join(f"{graph.name(i)} = {v:.6g}" for i, v in values if graph.name(i) in mentioned)
    at = f"at {where or 'every state'}"
    if found.reduced is None:
        message = f"{what} is {found.original:.6g} in the original {at}, and has no value in the reduced model"
        return Reason("real-point-undefined", message, told.element)
    message = (
        f"{what} is {found.original:.6g} in the original {at}, and {found.reduced:.6g} in the reduced model: "
        "they agree on one side of a singularity (of a logarithm, a root, a quotient or a jump) at most"
    )
    return Reason("real-point-differs", message, told.element)


def _suspects(
    sides: _Sides, inputs: Sequence[Node], contradictions: Sequence[Contradiction]
) -> tuple[frozenset[Node], ...]:
    """Logarithms and powers that may be to blame for contradictions, see :class:`Refutation`."""
    claim = sides.claim
    graph = claim.original.graph
    index = claim.original.state_index
    several: set[Node] = set()
    every: set[Node] = set()
    for found in contradictions:
        terms: dict[Node, Fraction] = {}
        for root, factor in sides.lumped_roots(found.position).items():
            add_multiple(terms, graph.linear_terms(root), factor)
        roots = list(terms)
        every |= branched_nodes(graph, roots)
        here = np.array(found.point)
        lifted = here.copy()
        lifted[: len(index)] = 0.0
        for name, row in claim.lift.items():
            lump = sum(nearest_double(v) * here[index[member]] for member, v in claim.rows[name].items())
            for member, value in row.items():
                lifted[index[member]] += nearest_double(value) * lump
        for member, value in claim.offset.items():
            lifted[index[member]] += nearest_double(value)
        program = Program(graph, roots, inputs)
        with np.errstate(all="ignore"):
            one, other = program.outputs(program.run(FloatDomain(), np.stack([here, lifted], axis=1))).T
            same = np.abs(one - other) <= _SAME * np.abs(one)
        several |= branched_nodes(graph, [root for root, equal in zip(roots, same.tolist(), strict=True) if not equal])
    return frozenset(several), frozenset(every)


def _difference(sides: _Sides, position: int) -> Reason:
    states = sides.claim.reduced.states
    if position < len(states):
        name = states[position]
        return Reason("right-hand-side-differs", f"the rate of {name} is not the lumped rate of the original", name)
    name = sides.labels[position - len(states)]
    if name in sides.claim.observables:
        return Reason("observable-differs", f"the observable {name} is not what it is in the original", name)
    return Reason("event-differs", f"the {name} is not what it is in the original")


def _expansion(sides: _Sides) -> tuple[int, ...] | None:
    """Deterministic: expand L f(x) − g(Lx) and h(x) − h̃(Lx) over Q; which are not zero, ``None`` if too large."""
    claim = sides.claim
    if len(claim.original.states) + len(sides.shared) >= MAX_VARIABLES:
        return None
    graph, left, right = _both_sides(sides)
    variables = [*(graph.symbol(name) for name in (*claim.original.states, *sides.shared)), graph.time()]
    both = expand_polynomials(graph, [*left, *right], variables)
    if both is None:
        return None
    half = len(left)
    return tuple(i for i in range(half) if both[i] != both[half + i])


def _both_sides(sides: _Sides) -> tuple[Graph, list[Node], list[Node]]:
    """L f(x) and h(x), and g(Lx) and h̃(Lx), in the graph of the original."""
    claim = sides.claim
    graph = claim.original.graph
    symbols = {name: graph.symbol(name) for name in (*claim.original.states, *sides.shared)}
    reduced_graph = claim.reduced.graph
    mapping = {reduced_graph.symbol(name): symbols[name] for name in sides.shared}
    for name, row in claim.rows.items():
        mapping[reduced_graph.symbol(name)] = graph.add(graph.scaled(v, symbols[m]) for m, v in row.items())
    right = graph.transplant(reduced_graph, sides.reduced_roots, mapping)
    count = len(sides.reduced_roots)
    left = [graph.add(graph.scaled(v, root) for root, v in sides.lumped_roots(i).items()) for i in range(count)]
    return graph, left, right


class _DirectComparer:
    """L f(x) against g(Lx) at random x."""

    def __init__(self, sides: _Sides, left: Program, right: Program) -> None:
        self._sides = sides
        self._left, self._right = left, right
        claim = sides.claim
        index = claim.original.state_index
        rows = [claim.rows[name] for name in claim.reduced.states]
        codes: dict[tuple[int, int], int] = {}  # few values differ, and each costs a modular inverse
        self._entries = np.array(
            [
                (i, index[member], codes.setdefault(value.as_integer_ratio(), len(codes)))
                for i, row in enumerate(rows)
                for member, value in row.items()
            ],
            dtype=np.int64,
        ).reshape(-1, 3)
        self._values = [Fraction(*pair) for pair in codes]
        self._known: tuple[int, Residues] | None = None

    def compare(self, finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        """Differences (reduced states, then observables; points), ``None`` if nothing was defined."""
        n = len(self._left.inputs)
        x = generator.integers(1, finite.prime, (n, points))
        lumping = self._matrix(finite)
        states = lumping.shape[1]
        y = np.concatenate([matmul_mod(lumping, x[:states], finite.prime), x[states:]])
        left, right = self._left.run(finite, x), self._right.run(finite, y)
        good = ~(left.bad | right.bad)
        if not good.any():
            return None
        difference = (self._lumped(finite, self._left.outputs(left)) - self._right.outputs(right)) % finite.prime
        return np.asarray(difference[:, good])

    def blame(self, trial: IdentityTest) -> tuple[int, ...]:
        """Positions (reduced states, then observables) that differ."""
        return trial.wrong

    def _matrix(self, finite: PrimeField) -> Residues:
        """L modulo the prime, (m, n)."""
        if self._known is None or self._known[0] != finite.prime:
            claim = self._sides.claim
            matrix = np.zeros((len(claim.reduced.states), claim.original.size), dtype=np.int64)
            residues = np.array([finite.residue(value) for value in self._values], dtype=np.int64)
            rows, columns, codes = self._entries.T
            matrix[rows, columns] = residues[codes]
            self._known = (finite.prime, matrix)
        return self._known[1]

    def _lumped(self, finite: PrimeField, outputs: Residues) -> Residues:
        """From rates of the used original states and observables to rates of lumps and observables."""
        index = self._sides.claim.original.state_index
        used = [index[name] for name in self._sides.used]
        rates = matmul_mod(self._matrix(finite)[:, used], outputs[: len(used)], finite.prime)
        return np.concatenate([rates, outputs[len(used) :]])


class _GenericComparer(_DirectComparer):
    """Closure of rowsp(L) under the Jacobian, and g(y) = L f(L̄y + c), functions taken as generic."""

    def __init__(self, sides: _Sides, left: Program, right: Program) -> None:
        super().__init__(sides, left, right)
        self._witness = self._lifted_program()
        self._m = len(sides.claim.reduced.states) + len(sides.labels)

    def compare(self, finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        """First the rows that leave the space, then the differences of g."""
        escaped = self._escaping(finite, generator, points)
        y = generator.integers(1, finite.prime, (len(self._right.inputs), points))
        left, right = self._witness.run(finite, y), self._right.run(finite, y)
        good = ~(left.bad | right.bad)
        if escaped is None or not good.any():
            return None
        wrong = self._witness.outputs(left)[:, good] != self._right.outputs(right)[:, good]
        return np.concatenate([escaped, wrong.any(axis=1).astype(np.int64)[:, None]], axis=0)

    def blame(self, trial: IdentityTest) -> tuple[int, ...]:
        """Positions in either half, folded onto reduced states and observables."""
        return tuple(sorted({position % self._m for position in trial.wrong}))

    def _escaping(self, finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        """1 for each lump or observable whose gradient leaves rowsp(L) at some point, shape (m, 1)."""
        sides = self._sides
        lumping = self._matrix(finite)
        space = RowSpace(lumping.shape[1], finite.prime)
        space.extend(lumping)
        index = sides.claim.original.state_index
        used = [index[name] for name in sides.used]
        rates = lumping[:, used].T
        total = self._m
        weights = np.zeros((len(self._left.roots), total), dtype=np.int64)
        weights[: len(used), : rates.shape[1]] = rates
        for k in range(len(sides.labels)):
            weights[len(used) + k, rates.shape[1] + k] = 1
        found = np.zeros((total, 1), dtype=np.int64)
        for _ in range(points):
            x = np.repeat(generator.integers(1, finite.prime, (len(self._left.inputs), 1)), total, axis=1)
            tape = self._left.run(finite, x)
            gradient = self._left.pull_back(finite, tape, weights)[: lumping.shape[1]]
            if tape.bad.any():
                return None
            found[:, 0] |= space.residual(gradient.T).any(axis=1)
        return found

    def _lifted_program(self) -> Program:
        """L f(L̄y + c) and h(L̄y + c) as a program in y, folded symbolically, so that no hash hides f(0) = 1."""
        sides = self._sides
        claim = sides.claim
        reduced = claim.reduced
        graph = Graph()
        image: dict[str, list[Node]] = {name: [] for name in claim.original.states}
        for name, row in claim.lift.items():
            for member, value in row.items():
                image[member].append(graph.scaled(value, graph.symbol(name)))
        for member, value in claim.offset.items():
            image[member].append(graph.number(value))
        source = claim.original.graph
        mapping = {source.symbol(name): graph.add(parts) for name, parts in image.items()}
        mapping |= {source.symbol(name): graph.symbol(name) for name in sides.shared}
        roots = graph.transplant(source, sides.original_roots, mapping)
        rates = dict(zip(sides.used, roots, strict=False))
        lumped = [graph.add(graph.scaled(v, rates[m]) for m, v in claim.rows[name].items()) for name in reduced.states]
        inputs = [graph.symbol(name) for name in (*reduced.states, *sides.shared)]
        return Program(graph, [*lumped, *roots[len(sides.used) :]], [*inputs, graph.time()])


def _proof(
    sides: _Sides, trial: IdentityTest | None, degree: float, functions: frozenset[str] | None, *, one_branch: bool
) -> ExactProof:
    """The certificate; ``functions`` are those taken as generic, ``None`` in rational systems."""
    claim = sides.claim
    symbolic = tuple(sorted(claim.symbolic & {c.id for c in claim.original.constants}))
    rates = dict(zip(claim.original.states, claim.original.rhs, strict=True))
    seen = [*(rates[name] for name in sides.used), *claim.observables.values()]
    seen += event_expressions(claim.original.events)
    valid_for = resting_values(claim.original, claim.symbolic, sides.used, seen)
    statement = (
        f"{claim.reduced.size} linear combinations of the {claim.original.size} states obey equations of their own, "
        "from which every observable follows exactly"
    )
    heuristic = domain = None
    if functions is not None:
        heuristic = f"functions taken as generic ({_listed(functions)}); holds wherever the original is defined"
        if one_branch:
            branched = _listed(functions & _BRANCHED)
            domain = (
                f"every connected piece of the set of states at which {branched} and all quotients are defined, "
                "each by itself"
            )
            heuristic = f"functions taken as generic ({_listed(functions)}); holds on {domain}"
    if sides.replaced:
        extra = "irrational constants stand for the doubles nearest to them"
        heuristic = f"{heuristic}; {extra}" if heuristic else extra
    if trial is None:
        return ExactProof(statement, "expansion", 0.0, heuristic=heuristic, valid_for=valid_for, symbolic=symbolic)
    return ExactProof(
        statement,
        "identity-test",
        trial.failure_probability,
        trial.primes,
        trial.points,
        int(min(degree, 2**53)),
        heuristic,
        valid_for,
        symbolic,
        domain=domain,
    )


def _listed(functions: frozenset[str]) -> str:
    """Names as a reader knows them; the marks of what is known of a function's derivatives are left out."""
    names = {_SPOKEN.get(name, name) for name in functions}
    return ", ".join(sorted(names)) or "named constants"


# -- Claims about reduced systems in which conserved totals have become constants ----------------

# Such a system is an ordinary lumping again once each total is taken as a further state with rate 0: then
# everything that
# :mod:`sbmlump.proof.claims` checks of a lumping covers the totals too (that they start right and that they rest).
# So are states that never change and were made constants under their own ids.
#
# A constant that the original has too is no such total, whatever it is computed from: it is a value, and
# certify compares
# it as one.


def with_totals(claim: Claim, starts: Mapping[str, Row]) -> Claim | Refutation:
    """The claim with every constant that is a total of original states taken as a state.

    Totals of amounts across compartments weigh concentrations by the compartments' sizes. A row of a lumping has
    numbers for weights, so such sizes are taken at their values, and the claim is no longer one for all of these.

    Parameters
    ----------
    claim : Claim
        About the system as it is written.
    starts : mapping of id to row
        Constants of the reduced system that are said to hold initial values, as combinations of original states.
    """
    sizes: set[str] = set()
    reasons = _check_starts(claim, starts, sizes)
    if reasons:
        return Refutation(tuple(reasons))
    rows = {**claim.rows, **starts}
    own = {c.id for c in claim.original.constants}
    states = set(claim.original.states)
    # of the constants that hold initial values only those that act are totals; others serve to compute such
    acting = acting_constants(claim.reduced)
    totals: dict[str, Row] = {name: row for name, row in starts.items() if name in acting and name not in own}
    for constant in claim.reduced.constants:
        if constant.id in states:
            totals[constant.id] = {constant.id: Fraction(1)}
        elif constant.id in acting and constant.id not in own:
            weights = _weights(claim, constant, rows)
            row = _total(claim, constant, rows, weights)
            if row is not None:
                totals[constant.id] = row
                sizes.update(weights)
    if not totals:
        return claim
    all_rows = {**claim.rows, **totals}
    return replace(
        claim,
        reduced=_with_resting_states(claim.reduced, set(totals)),
        rows=all_rows,
        symbolic=claim.symbolic - sizes,
        lift=_right_inverse(all_rows),
        offset={},
    )


def acting_constants(system: OdeSystem) -> set[str]:
    """Ids that the dynamics, assigned quantities or events mention."""
    roots = [*system.rhs, *(one.value for one in system.assigned)]
    return system.graph.symbols([*roots, *event_expressions(system.events)])


def _check_starts(claim: Claim, starts: Mapping[str, Row], sizes: set[str]) -> tuple[Reason, ...]:
    """Each constant that holds an initial value must hold the right one.

    A row has numbers for weights. Where a total agrees with its row only at the values of the constants that weigh it,
    these are added to ``sizes``.
    """
    original, reduced = claim.original, claim.reduced
    known, constants = set(original.states), {c.id for c in reduced.constants}
    for name, row in starts.items():
        if name not in constants or any(member not in known for member in row):
            text = f"{name} holds the initial value of something that is no state"
            return (Reason("unknown-member", text, name),)

    def compared(symbolic: frozenset[str]) -> tuple[ValuePair, ...]:
        free = ValueTable.free_of(original, symbolic)
        left, right = ValueTable(original, free), ValueTable(reduced, free)
        pairs: list[ValuePair] = []
        for name, row in starts.items():
            reason = Reason("initial-value-differs", f"{name} is not the initial value it stands for", name)
            pairs.append(ValuePair(left.combined(row), right.get(name), reason))
        return compare_values(original.graph, reduced.graph, pairs).wrong

    wrong = compared(claim.symbolic)
    for pair in wrong:
        sizes |= original.graph.symbols([pair.left] if pair.left is not None else [])
        sizes |= reduced.graph.symbols([pair.right] if pair.right is not None else [])
    return tuple(pair.reason for pair in compared(claim.symbolic - sizes)) if wrong else ()


def _weights(claim: Claim, constant: Constant, rows: Mapping[str, Row]) -> dict[str, Node]:
    """Values of the other constants that stand in the value of ``constant``."""
    if constant.value is None:
        return {}
    values = claim.reduced.constant_values
    others = claim.reduced.graph.symbols([constant.value]) - set(rows)
    return {name: values[name] for name in others if name in values}


def _total(claim: Claim, constant: Constant, rows: Mapping[str, Row], weights: Mapping[str, Node]) -> Row | None:
    """What a constant is in original states, if it is a sum of their initial values; else it is a value like others."""
    graph = claim.reduced.graph
    if constant.value is None or constant.id in rows:
        return None
    if not graph.symbols([constant.value]) & set(rows):
        return None
    total: dict[str, Fraction] = {}
    (value,) = graph.substitute([constant.value], {graph.symbol(name): node for name, node in weights.items()})
    for term, factor in graph.linear_terms(value).items():
        name = graph.name(term) if claim.reduced.is_symbol(term) else None
        if name is None or name not in rows:
            return None
        add_multiple(total, rows[name], factor)
    return {member: value for member, value in total.items() if value}


def _with_resting_states(system: OdeSystem, names: set[str]) -> OdeSystem:
    zero = system.graph.number(0)
    totals = [c for c in system.constants if c.id in names and c.value is not None]
    return replace(
        system,
        states=(*system.states, *(c.id for c in totals)),
        initial=(*system.initial, *(c.value for c in totals if c.value is not None)),
        rhs=(*system.rhs, *(zero for _ in totals)),
        constants=tuple(c for c in system.constants if c.id not in names),
    )


def _right_inverse(rows: Mapping[str, Row]) -> dict[str, dict[str, Fraction]]:
    """A right inverse over Q on as few original states as there are rows; empty if the rows depend on each other."""
    members = sorted({member for row in rows.values() for member in row})
    names = list(rows)
    zero = Fraction(0)
    table = flint.fmpq_mat(
        [
            [flint.fmpq(*rows[name].get(member, zero).as_integer_ratio()) for member in members]
            + [flint.fmpq(int(i == k)) for k in range(len(names))]
            for i, name in enumerate(names)
        ]
    )
    reduced, _ = table.rref()
    lift: dict[str, dict[str, Fraction]] = {name: {} for name in names}
    for i in range(len(names)):
        pivot = next((j for j in range(len(members)) if reduced[i, j] != 0), None)
        if pivot is None:
            return {}
        for k, name in enumerate(names):
            entry = reduced[i, len(members) + k]
            if entry != 0:
                lift[name][members[pivot]] = Fraction(int(entry.p), int(entry.q))
    return lift
