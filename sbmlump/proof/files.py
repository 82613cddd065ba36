"""From two files: the proof that one is a reduction of the other, and the reduction as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from sbmlump.errors import Reason, UsageError
from sbmlump.formats.load import load
from sbmlump.model.graph import Node
from sbmlump.model.observables import parse_observables
from sbmlump.model.reduced import (
    AffineLumping,
    Elimination,
    Embedding,
    ErrorEstimate,
    ExactProof,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Map,
    Observable,
    ReducedSystem,
)
from sbmlump.model.system import OdeSystem
from sbmlump.proof.claims import Claim, Refutation, certify, certify_widest, lumping_faults, with_totals
from sbmlump.proof.eliminations import claim_of_files, prove_elimination
from sbmlump.proof.embedding import EmbeddingClaim, EmbeddingRefutation, certify_embedding

if TYPE_CHECKING:
    from sbmlump.sbml.annotation import LumpingRecord

__all__ = ["NoLumping", "recorded_observables", "reduction_of_files", "verify"]


@dataclass(frozen=True, slots=True)
class NoLumping:
    """There is nothing to verify."""

    reasons: tuple[Reason, ...]


def verify(original: str | Path, reduced: str | Path, *, seed: int = 0) -> ExactProof | Refutation | NoLumping:
    """Prove or refute, without simulation, that one file is an exact lumping of the other.

    The lumping is taken from the reduced file's annotation, else it is the identity on the states that have the
    same id in both. An annotation that the original carries too is of an earlier reduction and says nothing here.
    """
    from sbmlump.sbml.annotation import read_lumping_annotation
    from sbmlump.sbml.read.document import sbml_bytes

    before, after = load(original), load(reduced)
    record = read_lumping_annotation(sbml_bytes(reduced)) if after.origin.format == "sbml" else None
    if record is not None and before.origin.format == "sbml":
        if record == read_lumping_annotation(sbml_bytes(original)):
            record = None  # both carry it: it tells how the original was made, not what was made of it
    if record is not None and record.certificate.get("kind") == "error-estimate":
        message = f"{reduced} says of itself that it is an approximation; measure it with 'sbmlump check'"
        return NoLumping((Reason("approximate", message),))
    if record is not None:
        claim = _claim_of_record(before, after, record)
        if isinstance(claim, Refutation):
            return claim
        if record.kind == "embedding":
            return _no_more_than_proved(_certify_embedding(claim, seed), record)
        if record.kind == "elimination":
            proof = _proved_elimination(claim, record, seed)
            if proof is not None:
                return proof
        whole = with_totals(claim, record.starts)
        if isinstance(whole, Refutation):
            return whole
        outcome = certify(whole, seed)
        # sizes that weigh totals are taken at their values here, whatever else may be known of them
        return outcome if record.kind == "elimination" else _no_more_than_proved(outcome, record)
    foreign = [name for name in after.states if name not in before.state_index]
    if foreign or not after.states:
        listed = ", ".join(foreign[:5]) or "none at all"
        message = f"{reduced} carries no lumping, and its states are not those of the original ({listed})"
        return NoLumping((Reason("no-lumping", message),))
    rows = {name: {name: Fraction(1)} for name in after.states}
    claim = Claim(before, after, rows, _shared_ids(before, after, rows), lift=rows)
    if len(after.states) < len(before.states) <= len(set(before.states) & set(after.definitions)):
        proof = _proved_elimination(claim, None, seed)
        if proof is not None:
            return proof
    whole = with_totals(claim, {})
    return whole if isinstance(whole, Refutation) else certify_widest(whole, seed)


def _shared_ids(before: OdeSystem, after: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]) -> dict[str, Node]:
    """What each id of the original that the reduced model defines too is in the original.

    Left out is what is compared anyway: constants of both and states that never change, by their values, and states
    that are lumps by themselves. The id of a reaction means its flux.
    """
    values = {c.id for c in after.constants} & {*(c.id for c in before.constants), *before.states}
    return {
        name: node
        for name, node in before.definitions.items()
        if name in after.definitions and name not in values and dict(rows.get(name, {})) != {name: Fraction(1)}
    }


def _no_more_than_proved(outcome: ExactProof | Refutation, record: LumpingRecord) -> ExactProof | Refutation:
    """The proof, unless the file says that values do not matter on which it rests."""
    if (
        isinstance(outcome, Refutation) or "holds_for" not in record.certificate
    ):  # as written before there was that field
        return outcome
    text = "the lumping rests on {0} = {1}, but the file does not list {0} among the constants that it is valid for"
    hidden = [(name, value) for name, value in outcome.valid_for.items() if name not in record.valid_for]
    if not hidden:
        return outcome
    return Refutation(tuple(Reason("valid-for-differs", text.format(*pair), pair[0]) for pair in hidden))


def _proved_elimination(claim: Claim, record: LumpingRecord | None, seed: int) -> ExactProof | None:
    """The proof that states were eliminated by totals, where the claim says just that; ``None`` without one.

    It follows the states that stay point by point, and so also proves what is no linear lumping with generic functions:
    constants that are computed from initial values, rates that depend on totals through functions. It holds for all
    values of the constants, sizes of compartments among the weights of totals included.
    """
    if claim.offset or lumping_faults(claim):
        return None
    starts = None if record is None else dict(record.starts)
    elimination = claim_of_files(claim.original, claim.reduced, claim.observables, claim.rows, starts)
    fixed = frozenset[str]() if record is None else frozenset(record.valid_for)
    result = prove_elimination(replace(elimination, fixed=fixed), seed)
    return result if isinstance(result, ExactProof) else None


def _claim_of_record(before: OdeSystem, after: OdeSystem, record: LumpingRecord) -> Claim | Refutation:
    try:
        named = {o.id: o.expression for o in recorded_observables(before, record)}
    except UsageError as error:
        return Refutation(error.reasons)
    symbolic = frozenset(record.symbolic)
    constants = before.constant_values
    reasons = [
        Reason("unknown-parameter", f"{name} is not a constant of the original", name)
        for name in sorted(symbolic - {c.id for c in before.constants})
    ]
    if record.original_size != before.size:
        message = f"the lumping is said to be one of {record.original_size} states, but the original has {before.size}"
        reasons.append(Reason("lumping-mismatch", message))
    for name, text in record.valid_for.items():
        node = constants.get(name)
        value = None if node is None else before.graph.number_of(node)
        if value is not None and text != str(value):
            message = f"the lumping is said to be valid for {name} = {text}, but the original has {value}"
            reasons.append(Reason("valid-for-differs", message, name))
    if reasons:
        return Refutation(tuple(reasons))
    rows = {lump.id: lump.members for lump in record.lumps}
    lift = {lump.id: row for lump, row in zip(record.lumps, record.lift, strict=True)}
    return Claim(before, after, rows, _shared_ids(before, after, rows) | named, symbolic, lift, record.offset)


def reduction_of_files(original: str | Path, reduced: str | Path, *, seed: int = 0) -> ReducedSystem:
    """The reduction that leads from one file to the other, as the reduced file's annotation describes it.

    Without an annotation it is the identity on the states that have the same id in both. The certificate is a proof
    where :func:`verify` proves the reduction, and otherwise an estimate with an error that is not known (infinite).

    Raises
    ------
    UsageError
        ``no-lumping`` if the annotation, or the ids, do not lead from the one to the other.
    """
    from sbmlump.sbml.annotation import read_lumping_annotation
    from sbmlump.sbml.read.document import sbml_bytes

    before, after = load(original), load(reduced)
    record = read_lumping_annotation(sbml_bytes(reduced)) if after.origin.format == "sbml" else None
    lumps = (
        {one.id: one.members for one in record.lumps}
        if record is not None
        else {n: {n: Fraction(1)} for n in after.states}
    )
    index = before.state_index
    foreign = [n for n in after.states if n not in lumps or not set(lumps[n]) <= set(index)]
    if foreign:
        message = (
            f"{reduced} is no reduction of {original}: {', '.join(foreign[:5])} are made of states it does not have"
        )
        raise UsageError(Reason("no-lumping", message))
    rows = tuple({index[m]: v for m, v in lumps[n].items()} for n in after.states)
    matrix = LumpingMatrix(before.states, rows)
    lifted = {} if record is None else {one.id: row for one, row in zip(record.lumps, record.lift, strict=True)}
    lift = LumpingMatrix(
        before.states,
        tuple({index[m]: v for m, v in lifted.get(n, lumps[n]).items() if m in index} for n in after.states),
    )
    starts = {} if record is None else record.starts
    offset = {} if record is None else {index[n]: value for n, value in record.offset.items() if n in index}
    kind = "elimination" if record is None else record.kind
    made: Map
    if kind == "embedding":
        made = Embedding(matrix, lift, offset)
    elif kind == "affine":
        totals = tuple((name, {index[m]: v for m, v in row.items() if m in index}) for name, row in starts.items())
        made = AffineLumping(matrix, lift, offset, totals)
    elif kind == "elimination":
        gone = tuple(n for n in before.states if n in after.definitions and n not in after.states)
        made = Elimination(matrix, lift, offset, assigned=gone, starts=starts)
    else:
        made = LinearLumping(matrix, lift, offset)
    proof = verify(original, reduced, seed=seed)
    unknown = float("inf")
    certificate = proof if isinstance(proof, ExactProof) else ErrorEstimate("unknown", 0.0, 0, 0.0, unknown, unknown)
    return ReducedSystem(
        before,
        after,
        (),
        tuple(Lump(n, lumps[n]) for n in after.states),
        made,
        certificate,
        "unknown" if record is None else record.method,
    )


def _certify_embedding(claim: Claim, seed: int) -> ExactProof | Refutation:
    """The lift of an embedding names the members of each block."""
    blocks = {name: tuple(row) for name, row in claim.lift.items()}
    result = certify_embedding(
        EmbeddingClaim(claim.original, claim.reduced, blocks, claim.observables, claim.symbolic), seed
    )
    return Refutation(result.reasons) if isinstance(result, EmbeddingRefutation) else result


def recorded_observables(before: OdeSystem, record: LumpingRecord) -> list[Observable]:
    """Observables as the annotation names them; each text is an expression of the original.

    Raises
    ------
    UsageError
        If a text is no expression of the original.
    """
    return [replace(parse_observables(before, [text])[0], id=name) for name, text in record.observables]
