"""One reduction after another as one reduction, with a certificate of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sbmlump.linalg.rational import add_multiple, add_to, combined, without_zeros
from sbmlump.model.reduced import (
    Certificate,
    Elimination,
    Embedding,
    ErrorEstimate,
    ExactProof,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Map,
    ReducedSystem,
    starts_of,
)
from sbmlump.proof.values import ids_below, resting_values

__all__ = ["chain_of", "composed"]


Row = Mapping[int, Fraction]


def composed(first: ReducedSystem, second: ReducedSystem, *, certificate: Certificate | None = None) -> ReducedSystem:
    """The reduction that does ``first`` and then ``second``.

    Parameters
    ----------
    first, second : ReducedSystem
        ``second`` starts from the system of ``first``.
    certificate : Certificate, optional
        Of the whole; where both are proved, their proofs together are one.

    Raises
    ------
    ValueError
        If they do not fit together, or one is approximate and no certificate of the whole is given.
    """
    if second.original.states != first.system.states:
        raise ValueError("the second reduction does not start where the first ends")
    names = first.original.states
    rows = tuple(combined(first.matrix.rows, row) for row in second.matrix.rows)
    lift = tuple(combined(first.map.lift.rows, row) for row in second.map.lift.rows)
    offset: dict[int, Fraction] = dict(first.map.offset)
    for j, moved in combined(first.map.lift.rows, second.map.offset).items():
        add_to(offset, j, moved)
    offset = without_zeros(offset)
    matrix, lifted = LumpingMatrix(names, rows), LumpingMatrix(names, lift)
    lumps = tuple(
        Lump(lump.id, {names[j]: value for j, value in sorted(row.items())})
        for lump, row in zip(second.lumps, rows, strict=True)
    )
    whole = _joined_map(first, second, matrix, lifted, offset)
    proof = certificate or _joined(first, second)
    seconds = dict(first.seconds)
    for key, spent in second.seconds.items():
        seconds[key] = seconds.get(key, 0.0) + spent
    return ReducedSystem(
        first.original,
        second.system,
        first.observables,
        lumps,
        whole,
        proof,
        f"{first.method},{second.method}",
        seconds,
        (*first.remarks, *second.remarks),
        (*first.reasons, *second.reasons),
    )


def _joined_map(
    first: ReducedSystem,
    second: ReducedSystem,
    matrix: LumpingMatrix,
    lift: LumpingMatrix,
    offset: Mapping[int, Fraction],
) -> Map:
    """The most special kind of map that holds both."""
    kinds = {first.map.kind, second.map.kind}
    if kinds == {"linear"}:
        return LinearLumping(matrix, lift, offset)
    if kinds == {"embedding"}:
        return Embedding(matrix, lift, offset)
    there = {c.id for c in second.system.constants}
    starts = starts_of(first)
    members = {lump.id: lump.members for lump in first.lumps}
    for name, row in starts_of(second).items():
        total: dict[str, Fraction] = {}
        for lump, factor in row.items():
            add_multiple(total, members[lump], factor)
        starts[name] = total
    starts |= _fixed_totals(first, second, starts, members)
    final = set(second.system.states)
    defined = second.system.definitions
    assigned = tuple(name for name in first.original.states if name in defined and name not in final)
    kept = {name: row for name, row in starts.items() if name in there}
    return Elimination(matrix, lift, offset, assigned=assigned, starts=kept)


def _fixed_totals(
    first: ReducedSystem,
    second: ReducedSystem,
    starts: Mapping[str, Mapping[str, Fraction]],
    members: Mapping[str, Mapping[str, Fraction]],
) -> dict[str, dict[str, Fraction]]:
    """Constants that the first step computes from initial values and the second does not, over original states.

    The second step cannot compute them where a state that takes part is gone: a part of them is a number then.
    """
    graph, states = first.system.graph, set(first.system.states)
    own = {c.id for c in first.original.constants}
    now = {c.id: c.value for c in second.system.constants}
    values = {graph.symbol(n): v for n, v in first.system.constant_values.items() if n not in starts}
    found: dict[str, dict[str, Fraction]] = {}
    for constant in first.system.constants:
        moved = now.get(constant.id)
        if constant.id in own or constant.id in starts or constant.value is None or moved is None:
            continue
        if not graph.symbols([constant.value]) & states or moved == constant.value:
            continue
        row: dict[str, Fraction] | None = {}
        (value,) = graph.substitute([constant.value], values)
        for term, factor in graph.linear_terms(value).items():
            name = graph.name(term) if first.system.is_symbol(term) else None
            part = None if name is None else members.get(name, starts.get(name))
            if part is None or row is None:
                row = None  # no sum of initial values
                continue
            add_multiple(row, part, factor)
        if row:
            found[constant.id] = without_zeros(row)
    return found


def _joined(first: ReducedSystem, second: ReducedSystem) -> ExactProof:
    a, b = first.certificate, second.certificate
    if not (isinstance(a, ExactProof) and isinstance(b, ExactProof)):
        raise ValueError("an approximate step needs a certificate of the whole")  # noqa: TRY004 (a wrong combination, not type)
    remarks = [text for text in (a.heuristic, b.heuristic) if text]
    fixed = _fixed_by_second(first, second, b)
    symbolic = set(a.symbolic) - fixed
    values = resting_values(first.original, symbolic, (), [first.original.graph.symbol(name) for name in fixed])
    return ExactProof(
        f"in turn: {first.method}: {a.statement}; {second.method}: {b.statement}",
        "chain" if a.method != b.method else a.method,
        min(1.0, a.failure_probability + b.failure_probability),
        tuple(dict.fromkeys((*a.primes, *b.primes))),
        a.points + b.points,
        max(a.degree, b.degree),
        "; ".join(dict.fromkeys(remarks)) or None,
        {**a.valid_for, **values},
        tuple(sorted(symbolic)),
        domain="; ".join(dict.fromkeys(text for text in (a.domain, b.domain) if text)) or None,
    )


def _fixed_by_second(first: ReducedSystem, second: ReducedSystem, proof: ExactProof) -> set[str]:
    """Constants of the first original whose values the second step rests on, also through constants made of them."""
    own = {c.id for c in first.original.constants}
    # a constant that the first step made (a sum of constants) rests on those it is computed from
    return own & ids_below(second.original, proof.valid_for)


def chain_of(reduction: ReducedSystem, certificate: Certificate) -> dict[str, object]:
    """One step of a chain as JSON values."""
    entry: dict[str, object] = {
        "method": reduction.method,
        "original_size": reduction.original.size,
        "reduced_size": reduction.system.size,
        "certificate": certificate.kind,
    }
    if isinstance(certificate, ErrorEstimate):
        entry["worst_error"] = certificate.worst_error
    return entry
