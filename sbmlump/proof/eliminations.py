"""Proof that eliminating states by conserved totals changes nothing, made without knowing how they were eliminated.

With T(x) the totals and y the states that stay, it is checked, at random x modulo random primes and with random values
of all constants, that T'(x)·f(x) = 0, that every rate, assigned quantity, flux and observable of the reduced system at
(y, T(x)) is the one of the original at x, and, exactly, that initial values and constants agree. Since x ↦ (y, T(x)) is
followed point by point, functions need not be rational: equal arguments give equal values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason
from sbmlump.model.domains import PrimeField
from sbmlump.model.graph import Node
from sbmlump.model.program import Program
from sbmlump.model.reduced import ExactProof
from sbmlump.model.system import (
    OdeSystem,
    event_label,
    new_values,
    overwrites_others,
    targets,
    two_moments,
    values_are_old,
)
from sbmlump.proof.claims import Refutation, acting_constants
from sbmlump.proof.events import event_pairs
from sbmlump.proof.identity import failure_bound, run_trials
from sbmlump.proof.values import (
    ComparedValues,
    ValuePair,
    ValueTable,
    compare_values,
    constant_pairs,
    ids_below,
    with_values,
)

__all__ = ["EliminationClaim", "claim_of_files", "prove_elimination"]


Residues = NDArray[np.int64]
Row = Mapping[str, Fraction]
_MOST_NAMED: Final = 8  # constants within a sentence


@dataclass(frozen=True)
class EliminationClaim:
    """What is to be proved.

    Attributes
    ----------
    original, reduced : OdeSystem
    totals : mapping of str to Node
        Constants of the reduced system and what each is in the original: an expression of its states and constants.
    observables : mapping of str to Node
        Ids in the reduced system, expressions of the original.
    starts : mapping of str to row
        Constants of the reduced system that hold initial values, as combinations of original states (only where read
        from files).
    rows : mapping of str to row
        States of the reduced system that are combinations of original states; the others are those states themselves.
    symbolic : bool
        Whether the claim is made for all values of the constants; else for those in the file.
    fixed : frozenset of str
        Constants for whose values in the file it is made in either case.
    complete : bool
        Whether the reduced system has to define every state of the original. A later step of a chain may have dropped
        states on which nothing that is left depends; which those are a file does not say.
    """

    original: OdeSystem
    reduced: OdeSystem
    totals: Mapping[str, Node]
    observables: Mapping[str, Node]
    symbolic: bool = True
    starts: Mapping[str, Row] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    complete: bool = True

    @property
    def lumps(self) -> dict[str, Row]:
        """Each state of the reduced system as a combination of original states."""
        return {name: self.rows.get(name, {name: Fraction(1)}) for name in self.reduced.states}

    def combination(self, row: Row) -> Node:
        """A combination of original states as an expression of the original."""
        graph = self.original.graph
        return graph.add(graph.scaled(weight, graph.symbol(name)) for name, weight in row.items())

    @property
    def at_values(self) -> frozenset[str]:
        """Constants that take their values in the file, those included that such a one is computed from."""
        values = frozenset(self.original.constant_values)
        return values & ids_below(self.original, self.fixed) if self.symbolic else values


def prove_elimination(claim: EliminationClaim, seed: int = 0) -> ExactProof | Refutation:
    """Prove or refute a claim.

    References
    ----------
    Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225: identity testing.
    """
    reasons = _check_form(claim)
    start = ComparedValues() if reasons else _check_values(claim, seed)
    reasons += start.reasons
    if reasons:
        return Refutation(tuple(reasons))
    events, event_reasons = event_pairs(claim.original, claim.reduced, claim.lumps)
    event_reasons += _mixed(claim)
    if event_reasons:
        return Refutation(tuple(event_reasons))
    labels, left, right = _pairs(claim)
    for label, a, b in events:
        labels.append(label)
        left.append(a)
        right.append(b)
    sides = _Sides(claim, left, right)
    generator = np.random.default_rng([seed, 0xE11])
    trial = run_trials(sides.compare, generator, failure_bound(sides.degree, sides.bits))
    if not trial.primes:
        return Refutation((Reason("undefined", "no random point was found at which both systems are defined"),))
    if trial.wrong:
        listed = dict.fromkeys(labels[i] for i in trial.wrong)
        return Refutation(
            tuple(Reason("elimination-differs", f"{label} is not what it is in the original") for label in listed)
        )
    proof = ExactProof(
        _statement(claim),
        "identity-test",
        trial.failure_probability,
        trial.primes,
        trial.points,
        int(min(sides.degree, 2**53)),
        valid_for=_values(claim),
        symbolic=tuple(sorted({c.id for c in claim.original.constants} - claim.at_values)) if claim.symbolic else (),
    )
    return with_values(proof, start)


def claim_of_files(
    original: OdeSystem,
    reduced: OdeSystem,
    observables: Mapping[str, Node],
    rows: Mapping[str, Row] | None = None,
    starts: Mapping[str, Row] | None = None,
) -> EliminationClaim:
    """The claim that a model which was read back makes: its totals are what their initial assignments say.

    What stands in an initial assignment for the value of a state at time 0 is taken for that state at all times, which
    the proof then confirms or not.

    Parameters
    ----------
    rows : mapping of id to row, optional
        States of the reduced model that are combinations of original states.
    starts : mapping of id to row, optional
        Constants that hold initial values, as combinations of original states; if absent, those named ``X_at_start``
        hold that of the state X.
    """
    graph = original.graph
    states = set(original.states)
    known = states | {c.id for c in original.constants}
    new = [c for c in reduced.constants if c.id not in known and c.value is not None]
    if starts is None:
        named = {c.id: _state_at_start(c.id, states) for c in new}
        starts = {name: {state: Fraction(1)} for name, state in named.items() if state is not None}
    claim = EliminationClaim(original, reduced, {}, observables, starts=starts, rows=rows or {}, complete=False)
    forms = {name: claim.combination(row) for name, row in (*starts.items(), *claim.lumps.items())}
    used = reduced.graph.symbols([c.value for c in new if c.value is not None and c.id not in starts])
    mapping = {reduced.graph.symbol(name): forms.get(name, graph.symbol(name)) for name in used}
    totals = {
        c.id: graph.transplant(reduced.graph, [c.value], mapping)[0]
        for c in new
        if c.id not in starts and c.value is not None
    }
    # an id that a rule defines (the size of a compartment) means at all times what the rule says
    opened = {graph.symbol(one.id): one.value for one in original.assigned}
    totals = dict(zip(totals, graph.substitute(list(totals.values()), opened), strict=True))
    # a constant that holds initial values and acts on the dynamics is a total itself
    acting = acting_constants(reduced)
    totals |= {name: forms[name] for name in starts if name in acting and name not in known}
    return replace(claim, totals=totals)


def _state_at_start(name: str, states: Set[str]) -> str | None:
    stem, mark, rest = name.rpartition("_at_start")
    return stem if mark and stem in states and (not rest or rest[1:].isdigit()) else None


def _statement(claim: EliminationClaim) -> str:
    states = set(claim.original.states)
    number = sum(not states.isdisjoint(claim.original.graph.symbols([node])) for node in claim.totals.values())
    number += sum(c.id in states for c in claim.reduced.constants)
    what = "1 total of states never changes" if number == 1 else f"{number} totals of states never change"
    every = ""
    if claim.symbolic:
        listed = ", ".join(sorted(claim.fixed)[:_MOST_NAMED]) + (", …" if len(claim.fixed) > _MOST_NAMED else "")
        every = ", for all values of the constants" + (f" but {listed}" if claim.fixed else "")
    return f"{what}; what is eliminated follows from them and from the states that stay, exactly{every}"


def _values(claim: EliminationClaim) -> dict[str, str]:
    system = claim.original
    mentioned = claim.at_values if claim.symbolic else system.graph.symbols(system.rhs)
    used: dict[str, str] = {}
    for name, node in system.constant_values.items():
        if name in mentioned:
            number = system.graph.number_of(node)
            used[name] = "irrational" if number is None else str(number)
    return used


def _check_form(claim: EliminationClaim) -> list[Reason]:
    known = set(claim.original.states)
    reasons = [
        Reason("unknown-member", f"{member} is no state of the original", member)
        for row in (*claim.lumps.values(), *claim.starts.values())
        for member in row
        if member not in known
    ]
    constants = {c.id for c in claim.reduced.constants}
    reasons += [
        Reason("total-missing", f"the reduced model has no constant {name}", name)
        for name in claim.totals
        if name not in constants
    ]
    defined = claim.reduced.definitions
    needed = (*claim.observables, *(claim.original.states if claim.complete else ()))
    missing = [name for name in needed if name not in defined]
    reasons += [Reason("observable-missing", f"the reduced model has no {name}", name) for name in missing]
    return reasons


def _check_values(claim: EliminationClaim, seed: int) -> ComparedValues:
    """Constants, initial values of states and totals, as formulas in the constants the claim is made for."""
    before, after = claim.original, claim.reduced
    free = ValueTable.free_of(before, frozenset(c.id for c in before.constants) - claim.at_values)
    left, right = ValueTable(before, free), ValueTable(after, free)
    states = set(before.states)
    pairs = constant_pairs(before, after, left, right)
    at_rest = [(c.id, left.get(c.id)) for c in after.constants if c.id in states]
    kept = [(name, left.combined(row)) for name, row in (*claim.lumps.items(), *claim.starts.items())]
    totals = [(name, left.formula(node)) for name, node in claim.totals.items()]
    for name, node in (*at_rest, *kept, *totals):
        other = right.get(name)
        text = f"the value of {name} at time 0 is not that of the original"
        if node is None or other is None:
            text = f"{name} has an initial value on one side only"
        pairs.append(ValuePair(node, other, Reason("initial-value-differs", text, name)))
    return compare_values(before.graph, after.graph, pairs, seed)


def _mixed(claim: EliminationClaim) -> list[Reason]:
    """Totals of which an event sets one part to values of its trigger and leaves the others as they have become."""
    before = claim.original
    reasons: list[Reason] = []
    for event in before.events:
        if not values_are_old(before, event) or overwrites_others(before, event):
            continue
        for name, node in claim.totals.items():
            members = before.graph.symbols([node]) & set(before.states)
            touched = members & targets(event)
            if touched and (touched != members or two_moments(before, event)):
                message = f"the total {name} mixes values of two moments at {event_label(event)}"
                reasons.append(Reason("elimination-differs", message, name))
    return reasons


def _pairs(claim: EliminationClaim) -> tuple[list[str], list[Node], list[Node]]:
    """Labels, expressions of the original, expressions of the reduced system that must agree."""
    before, after = claim.original, claim.reduced
    graph = before.graph
    zero = after.graph.number(0)
    labels: list[str] = []
    left: list[Node] = []
    right: list[Node] = []
    rates = dict(zip(before.states, before.rhs, strict=True))

    def pair(label: str, a: Node, b: Node) -> None:
        labels.append(label)
        left.append(a)
        right.append(b)

    for name, rate in zip(after.states, after.rhs, strict=True):
        whole = graph.add(graph.scaled(weight, rates[state]) for state, weight in claim.lumps[name].items())
        pair(f"the rate of {name}", whole, rate)
    seeds = {graph.symbol(name): rate for name, rate in rates.items()} | {graph.time(): graph.number(1)}
    for name, node in claim.totals.items():
        pair(f"the total {name}", graph.derivative(node, seeds), zero)
        members = graph.symbols([node]) & set(before.states)
        for event in before.events:
            # an event that sets all members to values of one moment has to keep the total of that moment; see _mixed
            if members & targets(event):
                jump = {graph.symbol(target): value for target, value in new_values(event).items()}
                label = f"the total {name} at event {event.id}"
                pair(label, graph.substitute([node], jump)[0], after.graph.symbol(name))
    resting = {c.id for c in after.constants} & set(before.states)
    for name in sorted(resting):
        pair(f"the rate of {name}", rates[name], zero)
        for event in before.events:
            value = new_values(event).get(name)
            if value is not None:
                pair(f"the value of {name} at event {event.id}", value, after.graph.symbol(name))
    shared = set(before.definitions) & set(after.definitions)
    shared -= set(after.states) | {c.id for c in before.constants} | resting
    for name in sorted(shared):
        pair(name, before.definitions[name], after.definitions[name])
    for name, node in claim.observables.items():
        pair(f"the observable {name}", node, after.definitions[name])
    return labels, left, right


class _Sides:
    """Both programs, evaluated at matching points."""

    def __init__(self, claim: EliminationClaim, left: Sequence[Node], right: Sequence[Node]) -> None:
        before, after = claim.original, claim.reduced
        # what the reduced system calls by one name and the original has as an expression: totals and lumps
        forms = dict(claim.totals)
        forms |= {name: claim.combination(claim.lumps[name]) for name in after.states if name in claim.rows}
        roots = [*left, *forms.values()]
        others = list(right)
        fixed = claim.at_values
        if fixed:
            free = frozenset(c.id for c in before.constants) - fixed
            roots = before.graph.substitute(roots, before.specialised(free))
            # numbers, also where the reduced system computes them from constants that are not fixed: initial values
            # of states that were eliminated are constants there
            numbers = {node: value for node, value in after.specialised().items() if after.graph.name(node) in fixed}
            others = after.graph.substitute(others, numbers)
        left_names = [*before.states, *sorted(before.graph.symbols(roots) - set(before.states))]
        right_names = sorted(after.graph.symbols(others))
        self._left = Program(before.graph, roots, [*map(before.graph.symbol, left_names), before.graph.time()])
        self._right = Program(after.graph, others, [*map(after.graph.symbol, right_names), after.graph.time()])
        place = {name: i for i, name in enumerate(left_names)}
        self._count = len(left)
        form_place = {name: i for i, name in enumerate(forms)}
        self._sources = [
            ("form", form_place[name]) if name in form_place else ("input", place.get(name, -1)) for name in right_names
        ]
        self.degree = self._left.degree() * (1 + self._right.degree()) + 1
        self.bits = self.degree * (self._left.height() + self._right.height() + 64)

    def compare(self, finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        """Differences (pairs, points), ``None`` if nothing was defined."""
        x = generator.integers(1, finite.prime, (len(self._left.inputs), points))
        left = self._left.run(finite, x)
        outputs = self._left.outputs(left)
        y = generator.integers(1, finite.prime, (len(self._right.inputs), points))
        for i, (kind, position) in enumerate(self._sources):
            if kind == "form":
                y[i] = outputs[self._count + position]
            elif position >= 0:
                y[i] = x[position]
        y[-1] = x[-1]
        right = self._right.run(finite, y)
        good = ~(left.bad | right.bad)
        if not good.any():
            return None
        return np.asarray(((outputs[: self._count] - self._right.outputs(right)) % finite.prime)[:, good])
