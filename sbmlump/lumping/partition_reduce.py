"""Reduced systems from forward and backward equivalence, each with its proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError
from sbmlump.expr.graph import Node
from sbmlump.lumping.basis import Basis
from sbmlump.lumping.certify import certify_widest
from sbmlump.lumping.certify_embedding import EmbeddingClaim, certify_embedding_widest
from sbmlump.lumping.constants import NO_POOLED_CONSTANTS
from sbmlump.lumping.initial_values import initial_formulas, written_constants
from sbmlump.lumping.partition import (
    Blocks,
    backward_equivalence,
    forward_equivalence,
    initial_value_keys,
    pool_scale,
)
from sbmlump.lumping.reduction import (
    agrees,
    assemble,
    claim_of,
    irreducible,
    reduced_system,
    state_lifts,
)
from sbmlump.reduced import Embedding, ExactProof, Lump, LumpingMatrix, Observable, ReducedSystem
from sbmlump.system import Assigned, OdeSystem, Quantity

__all__ = ["reduce_backward", "reduce_forward"]

Clock = Callable[[], float]
Progress = Callable[[str], None]
_ATTEMPTS: Final = 4
_FORWARD: Final = "forward-equivalence"
_BACKWARD: Final = "backward-equivalence"


def reduce_forward(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    keep: frozenset[str] = frozenset(),
    initial_partition: Sequence[Collection[int]] | None = None,
    seed: int = 0,
    progress: Progress = lambda _: None,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """Pool the states of each block of the coarsest forward equivalence.

    Parameters
    ----------
    system : OdeSystem
    observables : sequence of Observable
        What must stay a function of the sums.
    keep : frozenset of str
        Constants to be kept symbolic.
    initial_partition : sequence of collections of int, optional
        Blocks of state indices to refine.
    seed : int
        Of the random numbers; the result does not depend on it but for the primes in the certificate.

    Returns
    -------
    ReducedSystem
        Its map is a :class:`~sbmlump.reduced.LinearLumping` with disjoint rows: sums of states (of amounts, where
        compartments differ in size).

    Raises
    ------
    UsageError, UnsupportedModelError
        As :func:`~sbmlump.lumping.partition.forward_equivalence`.
    SbmlumpError
        If what was found could not be proved (a fault).
    """
    start = clock()
    why = "no usable lift"
    opaque: frozenset[Node] = frozenset()
    for attempt in range(_ATTEMPTS):
        progress("splitting blocks")
        blocks = forward_equivalence(system, observables, keep, initial_partition, seed + attempt, opaque=opaque)
        found = clock()
        if len(blocks) == system.size:
            made = irreducible(system, observables, {"lump": found - start})
            nothing = _nothing("no two states can be summed without losing closed equations", system)
            return replace(made, method=_FORWARD, certificate=nothing)
        basis = _pools(blocks, pool_scale(system, keep))
        for lift in state_lifts(system, basis):
            reduced = reduced_system(system, basis, lift, observables, NO_POOLED_CONSTANTS)
            if not agrees(system, reduced, basis):
                continue
            progress("proving")
            outcome = certify_widest(claim_of(system, reduced, basis, lift, observables, keep), seed + attempt)
            if isinstance(outcome, ExactProof):
                seconds = {"lump": found - start, "certify": clock() - found}
                made = assemble(system, reduced, basis, lift, observables, outcome, seconds, 0)
                return replace(made, method=_FORWARD)
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
    initial_partition: Sequence[Collection[int]] | None = None,
    by_initial_values: bool = True,
    seed: int = 0,
    progress: Progress = lambda _: None,
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
        Constants to be kept symbolic.
    initial_partition : sequence of collections of int, optional
        Blocks of state indices to refine; without it one block of all.
    by_initial_values : bool
        Refine by initial values first, so that the reduction holds for those of the model; a remark says if the
        coarsest equivalence would not. If false, such an equivalence is refused.
    seed : int
        Of the random numbers; the result does not depend on it but for the primes in the certificate.

    Returns
    -------
    ReducedSystem
        Its map is an :class:`~sbmlump.reduced.Embedding`.

    Raises
    ------
    UnsupportedModelError
        Code ``initial-values-differ`` if states of a block do not start equal, and as
        :func:`~sbmlump.lumping.partition.backward_equivalence`.
    SbmlumpError
        If what was found could not be proved (a fault).
    """
    start = clock()
    progress("splitting blocks")
    coarsest = backward_equivalence(system, keep, initial_partition, seed=seed)
    clash = _clash(system, coarsest, keep)
    if clash is not None and not by_initial_values:
        raise UnsupportedModelError(clash)
    blocks = coarsest
    remarks: tuple[str, ...] = ()
    if clash is not None:
        blocks = backward_equivalence(system, keep, initial_partition, by_initial_values=True, seed=seed)
        counts = f"with equal initial values {len(coarsest)} states would do, with those of the model {len(blocks)}"
        remarks = (f"{clash.message}; {counts} [{clash.code}]",)
    found = clock()
    if len(blocks) == system.size:
        made = irreducible(system, observables, {"lump": found - start})
        nothing = _nothing("no two states stay equal", system)
        return replace(made, method=_BACKWARD, certificate=nothing, remarks=remarks)
    representatives = _representatives(system, blocks, observables)
    reduced = _embedded_system(system, blocks, representatives, observables)
    progress("proving")
    names = [system.states[j] for j in representatives]
    claim = EmbeddingClaim(
        system,
        reduced,
        {name: [system.states[j] for j in sorted(block)] for name, block in zip(names, blocks, strict=True)},
        {o.id: o.expression for o in observables},
        keep,
    )
    proof = certify_embedding_widest(claim, seed)
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


def _nothing(why: str, system: OdeSystem) -> ExactProof:
    return ExactProof(f"{why}; nothing was reduced", "identity", 0.0, symbolic=system.given_constants)


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
    return OdeSystem(
        graph,
        names,
        tuple(initial.values()),
        rhs,
        constants,
        assigned,
        id=system.id,
        name=system.name,
        quantities=_quantities(system, taken | {c.id for c in constants}),
        origin=system.origin,
    )


def _quantities(system: OdeSystem, ids: Collection[str]) -> dict[str, Quantity]:
    kept = {name: quantity for name, quantity in system.quantities.items() if name in ids}
    for quantity in list(kept.values()):
        home = quantity.compartment
        if home is not None and home in system.quantities:
            kept.setdefault(home, system.quantities[home])
    return kept
