"""Coarsest forward and backward equivalence by partition refinement over GF(p), exact for every kind of kinetics.

Forward: a partition of the states whose blocks' sums obey equations of their own. With F_B the sum of the right-hand
sides of a block B, that is so exactly when every ∂F_B/∂x_j is the same for all j of a block. One random combination
of all F_B, pulled back at a random point, shows all differences at once; blocks are split by the values they get.

Backward: states of a block that start equal stay equal. That is so exactly when, at points that are constant on the
blocks, the right-hand sides are. Blocks are split by the values of the right-hand sides at random such points.

No split is ever wrong: values that differ show rates or gradients that differ (functions other than rational ones
count as generic, so a coarser partition that rests on an identity between them may be missed). A difference that
exists is overlooked at a random point with probability at most d/p (Schwartz–Zippel), and the refinement stops
only when several points, under two primes, show none. What comes out is proved elsewhere
(:mod:`sbmlump.proof.claims`).

References
----------
Cardelli, Tribastone, Tschaikowski, Vandin, PNAS 114 (2017), doi 10.1073/pnas.1702697114.
Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np

from sbmlump.arrays import Indices
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.linalg.basis import Basis
from sbmlump.linalg.finite_field import Residues
from sbmlump.methods.exact.lump import (
    NO_POOLED_CONSTANTS,
    agrees,
    amount_scale,
    assemble,
    claim_of,
    closure_problem,
    initial_formulas,
    reduced_system,
    state_lifts,
    written_constants,
)
from sbmlump.methods.exact.space import ClosureProblem
from sbmlump.methods.method import Clock, Progress, identity, unheard
from sbmlump.model.domains import BadPrimeError, PrimeField
from sbmlump.model.graph import Node
from sbmlump.model.program import Program, where_defined
from sbmlump.model.reduced import Embedding, ExactProof, Lump, LumpingMatrix, Observable, ReducedSystem
from sbmlump.model.system import Assigned, OdeSystem
from sbmlump.proof.claims import Claim, CopiedStates, certify_widest

__all__ = [
    "Blocks",
    "PartitionSettings",
    "backward_equivalence",
    "forward_equivalence",
    "initial_value_keys",
    "pool_scale",
    "reduce_backward",
    "reduce_forward",
]


Blocks = tuple[frozenset[int], ...]
"""Blocks of state indices, ordered by their smallest member."""

Labels = Indices
_UNDEFINED: Final = "a denominator of the right-hand side or of an observable is zero"


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """How blocks are split.

    Attributes
    ----------
    points : int
        Random points of one split. A difference is overlooked at all of them with a probability of (d/p)^points.
    primes : int
        Under which no difference may be left.
    most_bad_primes : int
        Primes that divide a denominator of the model, which a prime of 31 bits hardly ever does.
    attempts : int
        Equivalences that are looked for, each with less known of functions that a proof refuted before.
    """

    points: int = 4
    primes: int = 2
    most_bad_primes: int = 64
    attempts: int = 4


def forward_equivalence(
    system: OdeSystem,
    observables: Sequence[Observable],
    keep: frozenset[str] = frozenset(),
    seed: int = 0,
    *,
    opaque: frozenset[Node] = frozenset(),
    settings: PartitionSettings = PartitionSettings(),
) -> Blocks:
    """The coarsest forward equivalence whose sums determine the observables.

    Parameters
    ----------
    system : OdeSystem
        n states. Events are respected: triggers are functions of the sums, resets map sums to sums.
    observables : sequence of Observable
        At least one.
    keep : frozenset of str
        Constants for all of whose values it is to hold.
    seed : int
        Of the random numbers; the result does not depend on it.
    opaque : frozenset of Node
        Logarithms and powers of whose derivatives nothing is to be known, see :class:`~sbmlump.model.program.Program`.

    Returns
    -------
    tuple of frozenset of int
        A partition of range(n). Where compartments differ in size, sums are meant of amounts.

    Raises
    ------
    UsageError
        If there is no observable (``no-observable``).
    UnsupportedModelError
        If the right-hand side is undefined everywhere, or a constant has no value.
    """
    if not observables:
        raise UsageError(Reason("no-observable", "forward equivalence needs something to keep: an observable"))
    problem = replace(closure_problem(system, observables, keep), opaque=opaque)
    splitter = _ForwardSplitter(problem, pool_scale(system, keep), settings.points)
    return _blocks(_refined(splitter, _one_block(system), seed, settings))


def backward_equivalence(
    system: OdeSystem,
    keep: frozenset[str] = frozenset(),
    *,
    by_initial_values: bool = False,
    seed: int = 0,
    settings: PartitionSettings = PartitionSettings(),
) -> Blocks:
    """The coarsest backward equivalence.

    Parameters
    ----------
    system : OdeSystem
        n states, without events.
    keep : frozenset of str
        Constants for all of whose values it is to hold.
    by_initial_values : bool
        Refine it by the initial values first, so that states of a block do start equal.
    seed : int
        Of the random numbers; the result does not depend on it.

    Returns
    -------
    tuple of frozenset of int
        A partition of range(n).

    Raises
    ------
    UnsupportedModelError
        If the system has events (``event-not-lumpable``), the right-hand side is undefined wherever all states of a
        block are equal (``undefined-right-hand-side``), or a constant has no value (``missing-value``).
    """
    if system.events:
        first = system.events[0].id
        text = "backward equivalence is not defined for models with events; use forward equivalence or exact lumping"
        raise UnsupportedModelError(Reason("event-not-lumpable", text, first))
    labels = _one_block(system)
    if by_initial_values:
        keys = initial_value_keys(system, keep)
        numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        labels = _split(labels, np.array([numbers[key] for key in keys], dtype=np.int64)[:, None])
    problem = closure_problem(system, (), keep)
    return _blocks(_refined(_BackwardSplitter(problem, settings.points), labels, seed, settings))


def pool_scale(system: OdeSystem, keep: frozenset[str] = frozenset()) -> dict[int, Fraction]:
    """Factor from states to amounts, where it is a number that the pools may rest on."""
    kept = {j for j, name in enumerate(system.states) if (q := system.quantities.get(name)) and q.compartment in keep}
    return {j: size for j, size in amount_scale(system).items() if j not in kept}


def initial_value_keys(system: OdeSystem, keep: frozenset[str] = frozenset()) -> list[object]:
    """One key a state; states with the same key certainly start equal, for all values of the symbolic parameters.

    Values that are missing are equal to nothing.
    """
    graph = system.graph
    start = system.at_start(keep)
    inside = [start.get(name, node) for name, node in zip(system.states, system.initial, strict=True)]
    keys: list[object] = []
    for j, (node, value) in enumerate(zip(inside, system.initial_values, strict=True)):
        if graph.symbols([node]) <= keep:
            keys.append(node)
        elif keep or value is None:
            keys.append(("no value", j))
        else:
            keys.append(value)
    return keys


# -- labels ------------------------------------------------------------------------------------------


def _one_block(system: OdeSystem) -> Labels:
    return np.zeros(system.size, dtype=np.int64)


def _split(labels: Labels, values: Residues) -> Labels:
    """Labels from 0 that tell apart states with another label or other values (n, k)."""
    table = np.concatenate([labels[:, None], values], axis=1)
    _, inverse = np.unique(table, axis=0, return_inverse=True)
    return inverse.ravel().astype(np.int64)


def _blocks(labels: Labels) -> Blocks:
    members: dict[int, list[int]] = {}
    for j, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(j)
    return tuple(frozenset(block) for block in members.values())


# -- splitting ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """A prime field and the numbers drawn in it."""

    field: PrimeField
    generator: np.random.Generator

    def draw(self, rows: int, columns: int) -> Residues:
        return self.field.draw(self.generator, rows, columns)


Splitter = Callable[[Labels, _Field], Labels]


def _refined(split: Splitter, labels: Labels, seed: int, settings: PartitionSettings) -> Labels:
    """Split until nothing changes any more, under each of some primes."""
    generator = np.random.default_rng([seed, 0x9A27])
    labels = _split(labels, np.zeros((len(labels), 0), dtype=np.int64))
    done = failures = 0
    while done < settings.primes:
        field = _Field(PrimeField.random(generator), generator)
        try:
            while True:
                finer = split(labels, field)
                stable = int(finer.max(initial=-1)) == int(labels.max(initial=-1))
                labels = finer
                if stable:
                    break
        except BadPrimeError:
            failures += 1
            if failures > settings.most_bad_primes:
                raise
            continue
        done += 1
    return labels


class _ForwardSplitter:
    """Splits by gradients: of seeds, and of a random combination of the sums over blocks (for each map)."""

    def __init__(self, problem: ClosureProblem, scale: Mapping[int, Fraction], points: int) -> None:
        self._points = points
        self._problem = problem
        self._scale = scale
        self._maps = (problem.rhs, *problem.resets)
        roots = [*problem.seeds, *(node for one in self._maps for node in one)]
        self._program = Program(problem.graph, roots, problem.variables, problem.opaque)

    def __call__(self, labels: Labels, field: _Field) -> Labels:
        n, seeds = self._problem.n_states, len(self._problem.seeds)
        scale = np.ones(n, dtype=np.int64)
        for j, size in self._scale.items():
            scale[j] = field.field.residue(size)
        inverse = field.field.inverse(scale[:, None], np.zeros(1, dtype=np.bool_))
        weights = np.zeros((len(self._program.roots), self._points), dtype=np.int64)
        # one random combination of all seeds at a time shows the gradients of each (with probability 1 - 1/p)
        weights[:seeds] = field.draw(seeds, self._points)
        labels = _split(labels, self._pull(weights, inverse, field))
        for k in range(len(self._maps)):
            blocks = int(labels.max(initial=-1)) + 1
            weights[:] = 0
            low = seeds + k * n
            weights[low : low + n] = field.field.times(field.draw(blocks, self._points)[labels], scale[:, None])
            labels = _split(labels, self._pull(weights, inverse, field))
        return labels

    def _pull(self, weights: Residues, inverse_scale: Residues, field: _Field) -> Residues:
        """Derivatives by amounts, (n, points), at fresh points where everything is defined."""
        inputs, n = len(self._program.inputs), self._problem.n_states
        rows = where_defined(
            self._program,
            field.field,
            lambda: field.draw(inputs, weights.shape[1]),
            lambda tape: self._program.pull_back(field.field, tape, weights)[:n],
            _UNDEFINED + " everywhere",
        )
        return field.field.times(rows, inverse_scale)


class _BackwardSplitter:
    """Splits by values of the right-hand sides at points that are constant on the blocks."""

    def __init__(self, problem: ClosureProblem, points: int) -> None:
        self._points = points
        self._problem = problem
        self._program = Program(problem.graph, problem.rhs, problem.variables)

    def __call__(self, labels: Labels, field: _Field) -> Labels:
        n = self._problem.n_states
        blocks = int(labels.max(initial=-1)) + 1
        values = where_defined(
            self._program,
            field.field,
            lambda: np.concatenate(
                [field.draw(blocks, self._points)[labels], field.draw(len(self._program.inputs) - n, self._points)]
            ),
            self._program.outputs,
            _UNDEFINED + " wherever the states of each block are equal",
        )
        return _split(labels, values)


# -- reduced systems, each with its proof -----------------------------------------------------------


_FORWARD: Final = "forward-equivalence"
_BACKWARD: Final = "backward-equivalence"


def reduce_forward(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    keep: frozenset[str] = frozenset(),
    seed: int = 0,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
    settings: PartitionSettings = PartitionSettings(),
) -> ReducedSystem:
    """Pool the states of each block of the coarsest forward equivalence.

    Parameters
    ----------
    system : OdeSystem
    observables : sequence of Observable
        What must stay a function of the sums.
    keep : frozenset of str
        Symbolic parameters.
    seed : int
        Of the random numbers; the result does not depend on it but for the primes in the certificate.

    Returns
    -------
    ReducedSystem
        Its map is a :class:`~sbmlump.model.reduced.LinearLumping` with disjoint rows: sums of states (of amounts, where
        compartments differ in size).

    Raises
    ------
    UsageError, UnsupportedModelError
        As :func:`~sbmlump.methods.exact.partition.forward_equivalence`.
    SbmlumpError
        If what was found could not be proved (an internal error).
    """
    start = clock()
    why = "no usable lift"
    opaque: frozenset[Node] = frozenset()
    for attempt in range(settings.attempts):
        progress("splitting blocks")
        blocks = forward_equivalence(system, observables, keep, seed + attempt, opaque=opaque, settings=settings)
        found = clock()
        if len(blocks) == system.size:
            why = "no two states can be summed without losing closed equations"
            return identity(system, observables, _FORWARD, why, seconds={"lump": found - start})
        basis = _pools(blocks, pool_scale(system, keep))
        for lift in state_lifts(system, basis):
            reduced = reduced_system(system, basis, lift, observables, NO_POOLED_CONSTANTS)
            if not agrees(system, reduced, basis):
                continue
            progress("proving")
            outcome = certify_widest(claim_of(system, reduced, basis, lift, observables, keep), seed + attempt)
            if isinstance(outcome, ExactProof):
                seconds = {"lump": found - start, "certify": clock() - found}
                reduction = assemble(system, reduced, basis, lift, observables, outcome, seconds, 0)
                return replace(reduction, method=_FORWARD)
            why = "; ".join(str(reason) for reason in outcome.reasons[:3])
            codes = {reason.code for reason in outcome.reasons}
            # what rests on derivatives of logarithms and powers may hold on one side of a singularity only
            opaque |= outcome.suspects[-1] if outcome.suspects else frozenset()
            if not codes <= {"real-point-undefined", "undefined"}:
                break
    raise SbmlumpError(Reason("proof-failed", f"a forward equivalence was found but could not be proved: {why}"))


def _pools(blocks: Blocks, scale: Mapping[int, Fraction]) -> Basis:
    """Indicator rows of the blocks; amounts are summed where the sizes of compartments differ within a block."""
    one = Fraction(1)
    rows: list[dict[int, Fraction]] = []
    lift: list[dict[int, Fraction]] = []
    for block in blocks:
        members = sorted(block)
        sizes = {scale.get(j, one) for j in members}
        row = {j: scale.get(j, one) if len(sizes) > 1 else one for j in members}
        rows.append(row)
        lift.append({members[0]: 1 / row[members[0]]})
    return Basis(tuple(rows), tuple(lift))


# -- backward ----------------------------------------------------------------------------------------


def reduce_backward(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    keep: frozenset[str] = frozenset(),
    by_initial_values: bool = True,
    seed: int = 0,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """Let one state stand for each block of the coarsest backward equivalence.

    Parameters
    ----------
    system : OdeSystem
        Without events.
    observables : sequence of Observable
        Any; each becomes its expression with members replaced by the states that stand for them. An observed state
        stands for its block where it can.
    keep : frozenset of str
        Symbolic parameters.
    by_initial_values : bool
        Refine by initial values first, so that the reduction holds for those of the model; a remark says if the
        coarsest equivalence would not. If false, such an equivalence is refused.
    seed : int
        Of the random numbers; the result does not depend on it but for the primes in the certificate.

    Returns
    -------
    ReducedSystem
        Its map is an :class:`~sbmlump.model.reduced.Embedding`.

    Raises
    ------
    UnsupportedModelError
        Code ``initial-values-differ`` if states of a block do not start equal, and as
        :func:`~sbmlump.methods.exact.partition.backward_equivalence`.
    SbmlumpError
        If what was found could not be proved (an internal error).
    """
    start = clock()
    progress("splitting blocks")
    coarsest = backward_equivalence(system, keep, seed=seed)
    clash = _clash(system, coarsest, keep)
    if clash is not None and not by_initial_values:
        raise UnsupportedModelError(clash)
    blocks = coarsest
    remarks: tuple[str, ...] = ()
    if clash is not None:
        blocks = backward_equivalence(system, keep, by_initial_values=True, seed=seed)
        counts = f"with equal initial values {len(coarsest)} states would do, with those of the model {len(blocks)}"
        remarks = (f"{clash.message}; {counts} [{clash.code}]",)
    found = clock()
    if len(blocks) == system.size:
        seconds = {"lump": found - start}
        return identity(system, observables, _BACKWARD, "no two states stay equal", remarks, seconds)
    representatives = _representatives(system, blocks, observables)
    reduced = _embedded_system(system, blocks, representatives, observables)
    progress("proving")
    names = [system.states[j] for j in representatives]
    copies = {name: [system.states[j] for j in sorted(block)] for name, block in zip(names, blocks, strict=True)}
    claim = Claim(system, reduced, CopiedStates(copies), {o.id: o.expression for o in observables}, keep)
    proof = certify_widest(claim, seed)
    if not isinstance(proof, ExactProof):
        why = "; ".join(str(reason) for reason in proof.reasons[:3])
        raise SbmlumpError(Reason("proof-failed", f"a backward equivalence was found but could not be proved: {why}"))
    one = Fraction(1)
    return ReducedSystem(
        system,
        reduced,
        tuple(observables),
        tuple(Lump(name, {name: one}) for name in names),
        Embedding(
            LumpingMatrix(system.states, tuple({j: one} for j in representatives)),
            LumpingMatrix(system.states, tuple(dict.fromkeys(sorted(block), one) for block in blocks)),
        ),
        proof,
        _BACKWARD,
        {"lump": found - start, "certify": clock() - found},
        remarks,
    )


def _clash(system: OdeSystem, blocks: Blocks, keep: frozenset[str]) -> Reason | None:
    """Two states of one block that do not start equal."""
    keys = initial_value_keys(system, keep)
    for block in blocks:
        members = sorted(block)
        for j in members[1:]:
            if keys[j] != keys[members[0]]:
                a, b = system.states[members[0]], system.states[j]
                text = f"{a} and {b} would stay equal if they started equal, but their initial values differ"
                return Reason("initial-values-differ", text, b)
    return None


def _representatives(system: OdeSystem, blocks: Blocks, observables: Sequence[Observable]) -> list[int]:
    """Of each block the first observed state, else its first."""
    index = system.state_index
    rank = {index[o.id]: i - len(observables) for i, o in enumerate(observables) if o.id in index}
    return [min(block, key=lambda j: (rank.get(j, 0), j)) for block in blocks]


def _embedded_system(
    system: OdeSystem, blocks: Blocks, representatives: Sequence[int], observables: Sequence[Observable]
) -> OdeSystem:
    graph = system.graph
    mapping: dict[Node, Node] = {}
    for block, j in zip(blocks, representatives, strict=True):
        mapping.update(dict.fromkeys((graph.symbol(system.states[i]) for i in block), graph.symbol(system.states[j])))
    names = tuple(system.states[j] for j in representatives)
    roots = graph.substitute([*(system.rhs[j] for j in representatives), *(o.expression for o in observables)], mapping)
    # equal fluxes of a block that came out as one are collected
    rhs = tuple(graph.from_terms(graph.linear_terms(node)) for node in roots[: len(names)])
    own = {*names, *(c.id for c in system.constants)}  # a constant that is observed stays the constant it is
    assigned = tuple(
        Assigned(o.id, root) for o, root in zip(observables, roots[len(names) :], strict=True) if o.id not in own
    )
    taken = {*names, *(a.id for a in assigned)}
    start = initial_formulas(system)
    initial = {name: start[j] for name, j in zip(names, representatives, strict=True)}
    image = {graph.name(member): symbol for member, symbol in mapping.items()}
    kept = [c for c in system.constants if c.id not in taken]
    constants = written_constants(system, image, initial, set(names), kept)
    written = taken | {c.id for c in constants}
    return OdeSystem(
        graph,
        names,
        tuple(initial.values()),
        rhs,
        constants,
        assigned,
        id=system.id,
        name=system.name,
        quantities=system.quantities_of(name for name in system.quantities if name in written),
        origin=system.origin,
    )
