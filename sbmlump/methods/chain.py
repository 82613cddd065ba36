"""One reduction after another as one reduction: chains of methods, their maps and their proofs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from sbmlump.linalg.rational import add_multiple, add_to, combined, without_zeros
from sbmlump.methods.method import STANDARD, Clock, Context, MeasuredMethod, Method
from sbmlump.model.graph import Node
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
    Observable,
    ReducedSystem,
    starts_of,
)
from sbmlump.model.system import OdeSystem
from sbmlump.proof.values import ids_below, resting_values

__all__ = ["apply_chain", "composed"]


def apply_chain(
    system: OdeSystem,
    observables: Sequence[Observable],
    methods: Sequence[Method],
    measured_by: MeasuredMethod,
    context: Context = STANDARD,
    *,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """Apply methods in turn, each to what the one before left.

    The certificate is of the whole: proofs add up; as soon as one step is approximate, the error of the last system
    against the first one is measured on the ensemble of ``measured_by``. It lists the chain.

    Raises
    ------
    UsageError, UnsupportedModelError, LimitError
        What the methods raise.
    """
    begin = clock()
    whole: ReducedSystem | None = None
    steps: list[Mapping[str, object]] = []
    for place, method in enumerate(methods):
        before_fast = any(later.time_scale for later in methods[place + 1 :])
        inner = replace(context, measured=False, before_fast=before_fast, first=system)
        rewritten = None if whole is None else method.rewrite(whole)
        if whole is None:
            step = whole = method.reduce(system, observables, inner)
        elif rewritten is not None:
            step = whole = rewritten
        else:
            step = method.reduce(_described(whole), _carried(whole), inner)
            both = isinstance(whole.certificate, ExactProof) and isinstance(step.certificate, ExactProof)
            whole = composed(whole, step, certificate=None if both else _draft())
        steps.append(_entry(method.name, step))
    assert whole is not None
    name = "+".join(method.name for method in methods)
    certificate = whole.certificate
    if not isinstance(certificate, ExactProof):
        from sbmlump.dynamics.ensemble import error_estimate, refuse_untimed_events

        refuse_untimed_events(system, name)
        certificate = error_estimate(whole, name, measured_by.trial, {"chain": steps})
    return replace(whole, certificate=certificate, method=name, seconds={"lump": clock() - begin})


def _draft() -> ErrorEstimate:
    """The certificate of a chain that is not measured yet."""
    from sbmlump.dynamics.ensemble import DRAFT  # what is proved needs no simulation

    return DRAFT


def _entry(method: str, step: ReducedSystem) -> dict[str, object]:
    """One step of a chain as JSON values."""
    entry: dict[str, object] = {
        "method": method,
        "original_size": step.original.size,
        "reduced_size": step.system.size,
        "certificate": step.certificate.kind,
    }
    if isinstance(step.certificate, ErrorEstimate):
        entry["worst_error"] = step.certificate.worst_error
    return entry


def _described(reduction: ReducedSystem) -> OdeSystem:
    """The reduced system with what its lumps are: in which compartment they lie, which conservation laws depend on."""
    from sbmlump.methods.reactions import homes

    system = reduction.system
    new = {
        reduction.lumps[i].id: replace(home.quantity, id=reduction.lumps[i].id)
        for i, home in homes(reduction).items()
        if reduction.lumps[i].id not in system.quantities
    }
    return replace(system, quantities={**system.quantities, **new}) if new else system


def _carried(reduction: ReducedSystem) -> tuple[Observable, ...]:
    """The observables as expressions of the reduced system."""
    table = reduction.system.definitions
    return tuple(Observable(one.id, table[one.id], one.id) for one in reduction.observables)


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
        f"{first.method}+{second.method}",
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
    totals = _lost_totals(first, second, starts, members)
    values = first.original.specialised()
    for name, node in totals.items():
        numbers = _sum_of_states(first.original, first.original.graph.substitute([node], values)[0])
        if numbers is not None:
            starts[name] = numbers
    final = set(second.system.states)
    defined = second.system.definitions
    assigned = tuple(name for name in first.original.states if name in defined and name not in final)
    kept = {name: row for name, row in starts.items() if name in there}
    return Elimination(matrix, lift, offset, assigned=assigned, starts=kept, totals=totals)


def _lost_totals(
    first: ReducedSystem,
    second: ReducedSystem,
    starts: Mapping[str, Mapping[str, Fraction]],
    members: Mapping[str, Mapping[str, Fraction]],
) -> dict[str, Node]:
    """Constants that do not tell themselves what they are at all times, as formulas of the original.

    Those that the first step computes from initial values and the second does not: it cannot where a state that takes
    part is gone, a part of them is a number then. And those of which either step says so.
    """
    graph, original, states = first.system.graph, first.original, set(first.system.states)
    own = {c.id for c in original.constants}
    now = {c.id: c.value for c in second.system.constants}
    values = {c.id: c.value for c in first.system.constants if c.id not in own}
    earlier = first.map.totals if isinstance(first.map, Elimination) else {}
    rows = {**members, **starts}

    def of_original(node: Node) -> Node:
        """An expression of the first step's states and constants in those of the original."""
        mapping = {graph.symbol(name): formula(name) for name in graph.symbols([node])}
        return original.graph.transplant(graph, [node], mapping)[0]

    def formula(name: str) -> Node:
        if name in rows:
            return original.graph.weighted_sum(rows[name], original.graph.symbol)
        value = values.get(name)
        if name in earlier or value is None:
            return earlier.get(name, original.graph.symbol(name))
        return of_original(value)

    found = {name: node for name, node in earlier.items() if name in now}
    for name, value in values.items():
        moved = now.get(name)
        if name in starts or name in found or value is None or moved is None:
            continue
        if graph.symbols([value]) & states and moved != value:
            found[name] = of_original(value)
    later = second.map.totals if isinstance(second.map, Elimination) else {}
    return found | {name: of_original(node) for name, node in later.items()}


def _sum_of_states(system: OdeSystem, node: Node) -> dict[str, Fraction] | None:
    """An expression as a sum of states with numbers for weights; ``None`` where it is none."""
    terms, states = system.graph.linear_terms(node), set(system.states)
    found: dict[str, Fraction] = {}
    for term, factor in terms.items():
        name = system.graph.name(term) if system.is_symbol(term) else None
        if name is None or name not in states:
            return None
        add_to(found, name, factor)
    return found


def _joined(first: ReducedSystem, second: ReducedSystem) -> ExactProof:
    proofs = [one for one in (first.certificate, second.certificate) if isinstance(one, ExactProof)]
    if len(proofs) < 2:
        raise ValueError("an approximate step needs a certificate of the whole")
    a, b = proofs
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
