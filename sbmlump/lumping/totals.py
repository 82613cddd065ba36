"""Claims about reduced systems in which conserved totals have become constants.

Such a system is an ordinary lumping again once each total is taken as a further state with rate 0: then everything that
:mod:`sbmlump.lumping.certify` checks of a lumping covers the totals too (that they start right and that they rest).
So are states that never change and were made constants under their own ids.

A constant that the original has too is no such total, whatever it is computed from: it is a value, and certify compares
it as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import flint

from sbmlump.errors import Reason
from sbmlump.events import event_expressions
from sbmlump.expr.combination import add_multiple
from sbmlump.expr.graph import Node
from sbmlump.lumping.certify import Claim, Refutation
from sbmlump.lumping.claim_values import ValuePair, ValueTable, compare_values
from sbmlump.system import Constant, OdeSystem

__all__ = ["acting_constants", "with_totals"]

Row = Mapping[str, Fraction]


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
