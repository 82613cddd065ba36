"""Conservation laws: one state less for each total that never changes.

The total becomes a constant with an initial assignment from the initial values, the eliminated state an assigned
quantity under its own id. That holds for every initial state and for all values of the constants. A total that a
source, a sink, an event or a rate rule changes is not taken for constant; it is reported as ``total-not-constant``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from sbmlump.classic.compose import composed
from sbmlump.classic.elimination import Plan, eliminated_system, elimination_of, free_id
from sbmlump.classic.proof import EliminationClaim, prove_elimination
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.events import event_label, targets
from sbmlump.expr.graph import Graph, Node
from sbmlump.expr.text import ExpressionError, parse_expression, to_text
from sbmlump.lumping.basis import choose_basis
from sbmlump.reduced import ExactProof, Observable, ReducedSystem, with_observables
from sbmlump.structure.event_laws import changing_event, rows_kept_by_events
from sbmlump.structure.exact_linear import null_space, solve_rows
from sbmlump.structure.laws import (
    Law,
    amount_factors,
    law_expression,
    linear_integrals,
    near_laws,
    stoichiometric_laws,
)
from sbmlump.system import Constant, Event, OdeSystem, Quantity

__all__ = ["conservation", "eliminate_totals", "on_class", "total_obstacle"]

Clock = Callable[[], float]
_LONGEST: Final = 48
_MOST_SHOWN: Final = 160
_CODE: Final = "total-not-constant"


def conservation(
    system: OdeSystem,
    observables: Sequence[Observable] = (),
    *,
    totals: Sequence[str] = (),
    stay: Collection[str] = (),
    rather_stay: Collection[str] = (),
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """Eliminate one state for each conservation law.

    Parameters
    ----------
    system : OdeSystem
    observables : sequence of Observable
        Stay available; observed states are eliminated last.
    totals : sequence of str
        Only these totals (expressions such as ``A + B``); all that are conserved if empty.
    stay : collection of str
        States that are eliminated only where a law has no other member.
    rather_stay : collection of str
        States that are eliminated only where a law has no other member than these and those of ``stay``, observed ones
        included.
    seed : int
        Of the random numbers.

    Returns
    -------
    ReducedSystem
        With an :class:`~sbmlump.reduced.ExactProof` for all values of the constants and all initial states.

    Raises
    ------
    UnsupportedModelError
        If a total that was asked for is not constant (code ``total-not-constant``, with what changes it).
    UsageError
        If a total that was asked for cannot be read or is no combination of states.
    """
    begin = clock()
    factors = amount_factors(system)
    laws: tuple[Law, ...] = _asked_for(system, totals, factors) if totals else _all_laws(system, seed)
    laws, refused = _kept_by_events(system, laws, factors)
    laws = _with_start(system, laws)
    if totals and refused:
        raise UnsupportedModelError(refused)
    found = clock()
    chosen = _choose(system, laws, observables, stay, rather_stay)
    plan, definitions = _plan(system, laws, chosen, factors)
    reasons = (*refused, *(_near_reasons(system) if not totals else ()))
    if not chosen:
        proof = ExactProof("there is no conserved total; nothing was eliminated", "identity", 0.0)
        kept = with_observables(system, observables)
        return elimination_of(system, kept, observables, proof, "conservation", reasons=reasons)
    reduced, starts = eliminated_system(system, plan, observables)
    claim = EliminationClaim(system, reduced, definitions, {one.id: one.expression for one in observables})
    outcome = prove_elimination(claim, seed)
    if not isinstance(outcome, ExactProof):
        raise SbmlumpError(
            Reason("proof-failed", "totals were eliminated but that could not be proved: " + str(outcome.reasons[0]))
        )
    seconds = {"lump": found - begin, "certify": clock() - found}
    return elimination_of(
        system, reduced, observables, outcome, "conservation", starts=starts, seconds=seconds, reasons=reasons
    )


def eliminate_totals(system: OdeSystem, keep: Sequence[Observable] = (), *, seed: int = 0) -> ReducedSystem:
    """:func:`conservation` of all totals; ``keep`` are the observables."""
    return conservation(system, keep, seed=seed)


def on_class(reduction: ReducedSystem, *, seed: int = 0) -> ReducedSystem:
    """After a reduction, eliminate the totals that its reduced system conserves (``--on-class``).

    The result is the composition of both; it is ``reduction`` itself where the reduced system conserves nothing.
    """
    inner = reduction.system
    kept = tuple(Observable(one.id, inner.definitions[one.id], one.id) for one in reduction.observables)
    second = conservation(inner, kept, seed=seed)
    return composed(reduction, second) if second.reducible else reduction


def _all_laws(system: OdeSystem, seed: int) -> tuple[Law, ...]:
    try:
        return linear_integrals(system, seed=seed)
    except UnsupportedModelError:
        raise
    except SbmlumpError:
        # too large for the search at random points: the stoichiometry still gives most laws, each one proved
        return stoichiometric_laws(system)


# -- totals that were asked for ----------------------------------------------------------------------


def total_obstacle(system: OdeSystem, total: Node) -> Reason | None:
    """What keeps a combination of states from being constant; ``None`` if it is constant."""
    text = _short(to_text(system.graph, total))
    weights = _weights_of(system, total)
    if weights is None:
        return Reason("bad-total", f"{text} is no combination of states")
    rows = _law_rows(system, linear_integrals(system))
    target = {system.state_index[name]: value for name, value in weights.items()}
    if solve_rows(rows, target) is not None:
        event = changing_event(system, target, rows_kept_by_events(system, rows))
        return None if event is None else _changed_by_event(event, weights, text)
    graph = system.graph
    rates = dict(zip(system.states, system.rhs, strict=True))
    for reaction in system.reactions:
        change = Fraction(0)
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            for one in side:
                number = graph.number_of(one.stoichiometry)
                change += sign * weights.get(one.species, Fraction(0)) * (number if number is not None else 1)
        if change:
            verb = "feeds" if change > 0 else "drains"
            message = f"the total {text} is not constant: the reaction {reaction.id} {verb} it"
            return Reason(_CODE, message, reaction.id)
    ruled = [name for name in weights if rates[name] != graph.number(0)]
    first = ruled[0] if ruled else next(iter(weights))
    return Reason(_CODE, f"the total {text} is not constant: {first} has a rate rule that changes it", first)


def _law_rows(system: OdeSystem, laws: Sequence[Law]) -> list[dict[int, Fraction]]:
    return [{system.state_index[name]: value for name, value in law.weights.items()} for law in laws]


def _changed_by_event(event: Event, weights: Mapping[str, Fraction], text: str) -> Reason:
    message = f"the total {text} is not constant: {event_label(event)} sets {min(targets(event) & set(weights))}"
    return Reason(_CODE, message, event.id)


def _weights_of(system: OdeSystem, total: Node) -> dict[str, Fraction] | None:
    """Weights in amounts of Σ n·x or Σ n·V·x; ``None`` if it is neither."""
    graph = system.graph
    factors = dict(zip(system.states, amount_factors(system), strict=True))
    weights: dict[str, Fraction] = {}
    plain = 0
    for term, value in graph.linear_terms(total).items():
        names = sorted(graph.symbols([term]) & set(system.states))
        if len(names) != 1:
            return None
        symbol = graph.symbol(names[0])
        if term == symbol:
            plain += 1
        elif term != graph.mul((symbol, factors[names[0]])):
            return None
        weights[names[0]] = value
    # a bare sum of concentrations is a total only where all of them share a compartment
    if plain and len({factors[name] for name in weights}) > 1:
        return None
    return weights or None


def _asked_for(system: OdeSystem, totals: Sequence[str], factors: Sequence[Node]) -> tuple[Law, ...]:
    laws: list[Law] = []
    reasons: list[Reason] = []
    for text in totals:
        try:
            node = parse_expression(system.graph, text, system.definitions)
        except ExpressionError as error:
            raise UsageError(Reason("bad-total", f"cannot read the total {text!r}: {error}", error.name)) from error
        weights = _weights_of(system, node)
        if weights is None:
            message = f"{text!r} is no total: name a combination of states, concentrations times their compartments"
            raise UsageError(Reason("bad-total", message))
        obstacle = total_obstacle(system, node)
        if obstacle is not None:
            reasons.append(obstacle)
        laws.append(Law(weights, law_expression(system, weights, factors)))
    if reasons:
        raise UnsupportedModelError(reasons)
    return tuple(laws)


# -- what stands in the way --------------------------------------------------------------------------


def _kept_by_events(
    system: OdeSystem, laws: Sequence[Law], factors: Sequence[Node]
) -> tuple[tuple[Law, ...], list[Reason]]:
    """Laws that every event keeps (combinations of laws included), and why others are not taken."""
    touched = {name for event in system.events for name in targets(event)}
    if not any(touched & set(law.weights) for law in laws):
        return tuple(laws), []
    rows = _law_rows(system, laws)
    kept = rows_kept_by_events(system, rows)
    reasons: list[Reason] = []
    for law, row in zip(laws, rows, strict=True):
        event = changing_event(system, row, kept)
        if len(law.weights) > 1 and event is not None:
            reasons.append(_changed_by_event(event, law.weights, _short(law.text(system))))
    return _laws_of_rows(system, kept, factors), reasons


def _laws_of_rows(
    system: OdeSystem, rows: Sequence[Mapping[int, Fraction]], factors: Sequence[Node]
) -> tuple[Law, ...]:
    if not rows:
        return ()
    orthogonal, _ = null_space(rows, system.size)
    echelon, pivots = null_space(orthogonal, system.size)
    laws: list[Law] = []
    for row in choose_basis(echelon, pivots).rows:
        weights = {system.states[j]: value for j, value in sorted(row.items())}
        laws.append(Law(weights, law_expression(system, weights, factors)))
    return tuple(laws)


def _with_start(system: OdeSystem, laws: Sequence[Law]) -> tuple[Law, ...]:
    """Laws whose members all have an initial value."""
    lost = {name for name, node in zip(system.states, system.initial_values, strict=True) if node is None}
    return tuple(law for law in laws if not lost & set(law.weights))


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 2]} …"


def _near_reasons(system: OdeSystem) -> list[Reason]:
    reasons: list[Reason] = []
    for weights, element, kind in near_laws(system):
        text = _short(" + ".join(n if v == 1 else f"{v}*{n}" for n, v in weights.items()))
        what = {"source": "the source", "sink": "the sink", "rate rule": "the rate rule of"}[kind]
        reasons.append(Reason(_CODE, f"the total {text} is not constant: {what} {element} changes it", element))
    return reasons


# -- which state goes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Solved:
    """X_state = Σ totals[i]·Tᵢ + Σ members[j]·X_j, in amounts."""

    state: int
    totals: Mapping[int, Fraction]
    members: Mapping[int, Fraction]


def _choose(
    system: OdeSystem,
    laws: Sequence[Law],
    observables: Sequence[Observable],
    stay: Collection[str],
    rather_stay: Collection[str],
) -> list[_Solved]:
    """Solve each law for one state: not observed, in one law only, large at the start, weight ±1.

    A total minus the rest is least exact where the rest is nearly the total, so the large one goes.
    """
    index = system.state_index
    graph = system.graph
    watched = {graph.name(one.expression) for one in observables if system.is_symbol(one.expression)}
    users: dict[int, int] = {}
    for law in laws:
        for name in law.weights:
            users[index[name]] = users.get(index[name], 0) + 1
    start = np.nan_to_num(np.abs(system.initial_state()))
    names = system.states
    unit = {index[n] for law in laws for n, v in law.weights.items() if abs(v) == 1}
    rule_bound = _defined_by_rule(system)
    order = sorted(
        users,
        key=lambda j: (
            names[j] in stay,
            names[j] in rather_stay,
            names[j] in watched,
            names[j] in rule_bound,
            j not in unit,
            users[j] > 1,
            -float(start[j]),
            j,
        ),
    )
    offset = system.size
    rows = [
        {index[name]: value for name, value in law.weights.items()} | {offset + i: Fraction(-1)}
        for i, law in enumerate(laws)
    ]
    open_rows = list(range(len(rows)))
    pivots: dict[int, int] = {}
    for j in order:
        candidates = [i for i in open_rows if rows[i].get(j)]
        if not candidates:
            continue
        i = min(candidates, key=lambda k: (len(rows[k]), k))
        open_rows.remove(i)
        pivots[i] = j
        lead = rows[i][j]
        rows[i] = {k: value / lead for k, value in rows[i].items()}
        for other in range(len(rows)):
            factor = rows[other].get(j)
            if other != i and factor:
                rows[other] = _minus(rows[other], factor, rows[i])
        if not open_rows:
            break
    return [
        _Solved(
            j,
            {k - offset: -value for k, value in rows[i].items() if k >= offset},
            {k: -value for k, value in rows[i].items() if k < offset and k != j},
        )
        for i, j in sorted(pivots.items())
    ]


def _defined_by_rule(system: OdeSystem) -> set[str]:
    """States that stand in the sizes of compartments or as compartments: better kept."""
    return {
        name for name in system.states if (q := system.quantities.get(name)) is not None and q.kind == "compartment"
    }


def _minus(row: Mapping[int, Fraction], factor: Fraction, other: Mapping[int, Fraction]) -> dict[int, Fraction]:
    result = dict(row)
    for k, value in other.items():
        result[k] = result.get(k, Fraction(0)) - factor * value
    return {k: value for k, value in result.items() if value}


def _plan(
    system: OdeSystem, laws: Sequence[Law], chosen: Sequence[_Solved], factors: Sequence[Node]
) -> tuple[Plan, dict[str, Node]]:
    """Expressions for the eliminated states, the new constants, and what each total is in the original."""
    graph = system.graph
    index = system.state_index
    resting = {
        law_name: i
        for i, law in enumerate(laws)
        if len(law.weights) == 1 and (law_name := next(iter(law.weights))) in {system.states[s.state] for s in chosen}
    }
    taken = set(system.taken_ids)
    names: dict[int, str] = {}
    constants: list[Constant] = []
    quantities: dict[str, Quantity] = {}
    definitions: dict[str, Node] = {}
    needed = {i for one in chosen for i in one.totals}
    scale: dict[int, Node] = {}
    for i, law in enumerate(laws):
        if i not in needed or i in resting.values():
            continue
        name = _total_name(list(law.weights), taken)
        taken.add(name)
        names[i] = name
        constants.append(Constant(name, law.expression, computed=True))
        quantities[name] = Quantity(name, "parameter", name=f"total {law.text(system)}"[:200])
        definitions[name] = law.expression
        common = {factors[index[member]] for member in law.weights}
        scale[i] = common.pop() if len(common) == 1 else graph.number(1)
    values: dict[str, Node] = {}
    back = {i: name for name, i in resting.items()}
    for one in chosen:
        state = system.states[one.state]
        if state in resting:
            continue
        own = factors[one.state]
        terms = []
        for i, value in one.totals.items():
            symbol = graph.symbol(back[i]) if i in back else graph.symbol(names[i])
            amount = factors[index[back[i]]] if i in back else scale[i]
            weight = value * (laws[i].weights[back[i]] if i in back else 1)
            terms.append(_scaled(graph, weight, symbol, amount, own))
        terms += [
            _scaled(graph, value, graph.symbol(system.states[j]), factors[j], own) for j, value in one.members.items()
        ]
        values[state] = graph.add(terms)
    return Plan(values, frozenset(resting), tuple(constants), quantities), definitions


def _scaled(graph: Graph, value: Fraction, symbol: Node, amount: Node, own: Node) -> Node:
    """value · symbol · amount / own, without the sizes where they are the same."""
    if amount == own:
        return graph.scaled(value, symbol)
    return graph.mul((graph.number(value), graph.div(graph.mul((symbol, amount)), own)))


def _total_name(members: Sequence[str], taken: Collection[str]) -> str:
    name = "total_" + "_".join(members)
    if len(members) > 3 or len(name) > _LONGEST:
        name = f"total_{members[0][: _LONGEST - 20]}_and_{len(members) - 1}_more"
    return free_id(name, taken)
