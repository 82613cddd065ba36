"""Conservation laws: one state less for each total that never changes.

The total becomes a constant with an initial assignment from the initial values, the eliminated state an assigned
quantity under its own id. That holds for every initial state and for all values of the constants, but for those that
the certificate names: a total over a stoichiometry with an id is constant for the value that it has. A total that a
source, a sink, an event or a rate rule changes is not taken for constant; it is reported as ``total-not-constant``.

A total that decays at one rate (``--decaying``) serves as well: a + (T(0) − a)·exp(μt) takes its place, with its value
at time 0 as the constant. Where an event sets a member it is left alone: to begin anew at each event, the constant
would have to be a state.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.linalg.basis import choose_basis
from sbmlump.linalg.polynomial import Monomial, expand
from sbmlump.linalg.rational import null_space, solve_rows, solved_in_order
from sbmlump.methods.elimination.substitute import EliminationPlan, eliminated_system, elimination_of, short_formula
from sbmlump.methods.method import Clock
from sbmlump.model.graph import Graph, Node
from sbmlump.model.names import free_id, id_of_members
from sbmlump.model.reduced import ExactProof, Observable, ReducedSystem, with_observables
from sbmlump.model.system import Constant, Event, OdeSystem, Quantity, event_label, targets
from sbmlump.model.text import ExpressionError, parse_expression, to_text
from sbmlump.proof.claims import Claim, EliminatedStates, certify, symbolic_but
from sbmlump.structure.laws import (
    ConservationLaw,
    DecayingTotal,
    Measure,
    changing_event,
    conserved_laws,
    decaying_totals,
    is_law,
    law_measures,
    law_of,
    moved_by_reactions,
    near_laws,
    rests_on,
    rows_kept_by_events,
    stoichiometric_constants,
    stoichiometric_laws,
)

__all__ = ["bilinear_states", "conservation", "total_obstacle"]


_CODE: Final = "total-not-constant"
_SUM_OF_AMOUNTS: Final = "name a combination of states, concentrations times their compartments"


def conservation(
    system: OdeSystem,
    observables: Sequence[Observable] = (),
    *,
    totals: Sequence[str] = (),
    decaying: bool = False,
    stay: Collection[str] = (),
    rather_stay: Collection[str] = (),
    keep: AbstractSet[str] = frozenset(),
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
    decaying : bool
        Whether totals that decay at one rate are taken, too.
    stay : collection of str
        States that are eliminated only where a law has no other member.
    rather_stay : collection of str
        States that are eliminated only where a law has no other member than these and those of ``stay``, observed ones
        included.
    keep : set of str
        Constants for all of whose values the totals have to be constant (``--keep-parameters``).
    seed : int
        Of the random numbers.

    Returns
    -------
    ReducedSystem
        With an ``ExactProof`` for all initial states and for all values of the constants but
        those that it names (``valid_for``).

    Raises
    ------
    UnsupportedModelError
        If a total that was asked for is not constant (code ``total-not-constant``, with what changes it).
    UsageError
        If a total that was asked for cannot be read or is no combination of states.
    """
    begin = clock()
    measures = law_measures(system)
    laws: tuple[ConservationLaw, ...] = (
        _asked_for(system, totals, measures, keep) if totals else _all_laws(system, keep, seed)
    )
    laws, refused = _kept_by_events(system, laws, measures)
    laws, without_start = _with_start(system, laws)
    refused += without_start
    if totals and refused:
        raise UnsupportedModelError(refused)
    if decaying:
        others, reasons_against = _decaying(system, keep, seed)
        laws = (*laws, *others)
        refused += reasons_against
    found = clock()
    chosen = _choose(system, laws, observables, stay, rather_stay)
    plan, definitions = _plan(system, laws, chosen, measures)
    if not totals:
        refused = [*refused, *_resting_on_kept(system, laws, keep, seed), *_near_reasons(system, laws)]
    reasons = tuple(refused)
    if not chosen:
        what = "no conserved total and none that decays at one rate" if decaying else "no conserved total"
        proof = ExactProof(f"there is {what}; nothing was eliminated", "identity", 0.0, symbolic=system.given_constants)
        kept = with_observables(system, observables)
        return elimination_of(system, kept, observables, proof, "conservation", reasons=reasons)
    reduced, starts = eliminated_system(system, plan, observables)
    kept_symbols = {one.id: one.expression for one in observables}
    resting = frozenset(name for law in laws for name in law.rests_on)
    claim = Claim(system, reduced, EliminatedStates(definitions), kept_symbols, symbolic_but(system, resting))
    outcome = certify(claim, seed)
    if not isinstance(outcome, ExactProof):
        raise SbmlumpError(
            Reason("proof-failed", "totals were eliminated but that could not be proved: " + str(outcome.reasons[0]))
        )
    seconds = {"lump": found - begin, "certify": clock() - found}
    return elimination_of(
        system,
        reduced,
        observables,
        outcome,
        "conservation",
        starts=starts,
        totals={name: node for name, node in definitions.items() if system.graph.depends_on_time([node])},
        seconds=seconds,
        reasons=reasons,
    )


def bilinear_states(system: OdeSystem) -> frozenset[str]:
    """States that stand in a product with states (themselves included), or inside a function, in some rate."""
    graph = system.graph
    states = set(system.states)
    found: set[str] = set()
    for term in dict.fromkeys(term for rhs in system.rhs for term in graph.linear_terms(rhs)):
        for name in (graph.symbols([term]) & states) - found:
            try:
                slope = graph.derivative(term, {graph.symbol(name): graph.number(1)})
            except ValueError:
                found.add(name)
            else:
                if graph.symbols([slope]) & states:
                    found.add(name)
    return frozenset(found)


def _all_laws(system: OdeSystem, keep: AbstractSet[str], seed: int) -> tuple[ConservationLaw, ...]:
    try:
        return conserved_laws(system, keep=keep, seed=seed)
    except UnsupportedModelError:
        raise
    except SbmlumpError:
        # too large for the search at random points: the stoichiometry still gives most laws, each one proved
        return tuple(law for law in stoichiometric_laws(system) if not set(law.rests_on) & keep)


def _decaying(system: OdeSystem, keep: AbstractSet[str], seed: int) -> tuple[tuple[ConservationLaw, ...], list[Reason]]:
    """Totals that decay at one rate and that no event sets, and why others are not taken."""
    try:
        totals = decaying_totals(system, keep=keep, seed=seed)
    except LimitError as error:
        return (), list(error.reasons)
    reasons: list[Reason] = []
    for total in totals:
        if total.set_by is not None:
            message = (
                f"the total {short_formula(total.text(system))} decays at one rate between the events only: "
                f"{total.set_by} sets a member; no state is eliminated by it"
            )
            reasons.append(Reason(_CODE, message, total.set_by))
    kept, without_start = _with_start(system, [total for total in totals if total.set_by is None])
    return kept, [*reasons, *without_start]


# -- totals that were asked for ----------------------------------------------------------------------


def total_obstacle(system: OdeSystem, total: Node, keep: AbstractSet[str] = frozenset()) -> Reason | None:
    """What keeps a combination of states from being constant; ``None`` if it is constant.

    Parameters
    ----------
    keep : set of str
        Constants for all of whose values it is to be constant.
    """
    text = short_formula(to_text(system.graph, total))
    weights = _weights_of(system, total, law_measures(system))
    if weights is None:
        return Reason("bad-total", f"{text} is no combination of states")
    every = frozenset(c.id for c in system.constants)
    if is_law(system, weights, every - keep):
        rows = _law_rows(system, conserved_laws(system, keep=keep))
        target = {system.state_index[name]: value for name, value in weights.items()}
        event = changing_event(system, target, rows_kept_by_events(system, rows)) if system.events else None
        return None if event is None else _changed_by_event(event, weights, text)
    resting = rests_on(system, weights) if keep else None
    if resting is not None:
        listed = ", ".join(sorted(set(resting) & keep))
        message = (
            f"the total {text} is constant for the value of {listed} in the file only, not for all values; leave "
            f"{listed} out of --keep-parameters"
        )
        return Reason(_CODE, message, min(set(resting) & keep))
    return _what_changes(system, weights, text)


def _what_changes(system: OdeSystem, weights: Mapping[str, Fraction], text: str) -> Reason:
    """The rate rule or the reaction to name for a total that is not constant."""
    graph = system.graph
    values = system.specialised()
    moved = moved_by_reactions(system)
    rates = dict(zip(system.states, graph.substitute(list(system.rhs), values), strict=True))
    ruled = [name for name in weights if name not in moved and graph.number_of(rates[name]) != 0]
    if ruled:
        message = f"the total {text} is not constant: {ruled[0]} has a rate rule that changes it"
        return Reason(_CODE, message, ruled[0])
    for reaction in system.reactions:
        parts = [
            graph.scaled(sign * weights[one.species], one.stoichiometry)
            for sign, side in ((-1, reaction.reactants), (1, reaction.products))
            for one in side
            if one.species in weights and one.species in moved
        ]
        change, flux = graph.substitute([graph.add(parts), reaction.flux], values)
        number = graph.number_of(change)
        if number != 0 and graph.number_of(flux) != 0:
            verb = "changes" if number is None else "feeds" if number > 0 else "drains"
            message = f"the total {text} is not constant: the reaction {reaction.id} {verb} it"
            return Reason(_CODE, message, reaction.id)
    first = next(iter(weights))
    return Reason(_CODE, f"the total {text} is not constant: {first} changes otherwise than its other members", first)


def _law_rows(system: OdeSystem, laws: Sequence[ConservationLaw]) -> list[dict[int, Fraction]]:
    return [{system.state_index[name]: value for name, value in law.weights.items()} for law in laws]


def _changed_by_event(event: Event, weights: Mapping[str, Fraction], text: str) -> Reason:
    named = min(targets(event) & set(weights) or targets(event))
    message = f"the total {text} is not constant: {event_label(event)} sets {named}"
    return Reason(_CODE, message, event.id)


def _weights_of(system: OdeSystem, total: Node, measures: Sequence[Measure]) -> dict[str, Fraction] | None:
    """Weights n of Σ n·V·x, constants at their values; ``None`` if the total is no such sum.

    A bare concentration counts as n/V of its amount where V is a number.
    """
    graph, index = system.graph, system.state_index
    members = sorted(graph.symbols([total]) & set(index), key=index.__getitem__)
    amounts = [graph.mul((measures[index[name]].factor, graph.symbol(name))) for name in members]
    values = system.specialised()
    opened = [
        expand(graph, node, set(index), time_is_variable=False) for node in graph.substitute([total, *amounts], values)
    ]
    whole = opened[0]
    if not whole:
        return None
    weights: dict[str, Fraction] = {}
    for name, image in zip(members, opened[1:], strict=True):
        own = None if image is None else next((m for m in sorted(image) if any(one == name for one, _ in m)), None)
        if image is None or own is None:
            return None
        if own in whole:
            ratio = _ratio(graph, whole[own], image[own])
            if ratio is None:
                return None
            weights[name] = ratio
    rest: dict[Monomial, list[Node]] = {monomial: [node] for monomial, node in whole.items()}
    for name, image in zip(members, opened[1:], strict=True):
        for monomial, node in (image or {}).items():
            if name in weights:
                rest.setdefault(monomial, []).append(graph.scaled(-weights[name], node))
    if not weights or any(graph.linear_terms(graph.add(nodes)) for nodes in rest.values()):
        return None
    sizes = {measures[index[name]] for name in weights}
    size = graph.number_of(graph.substitute([next(iter(sizes)).factor], values)[0]) if len(sizes) == 1 else None
    # a sum of concentrations of one compartment keeps its numbers
    return weights if size is None else {name: value * size for name, value in weights.items()}


def _ratio(graph: Graph, a: Node, b: Node) -> Fraction | None:
    """The number a/b, ``None`` if it is none."""
    x, y = graph.linear_terms(a), graph.linear_terms(b)
    ratios = {x[term] / y[term] for term in x if term in y}
    return ratios.pop() if len(ratios) == 1 and set(x) == set(y) else None


def _asked_for(
    system: OdeSystem, totals: Sequence[str], measures: Sequence[Measure], keep: AbstractSet[str]
) -> tuple[ConservationLaw, ...]:
    laws: list[ConservationLaw] = []
    reasons: list[Reason] = []
    for text in totals:
        try:
            node = parse_expression(system.graph, text, system.definitions, doubles=True)
        except ExpressionError as error:
            raise UsageError(Reason("bad-total", f"cannot read the total {text!r}: {error}", error.name)) from error
        weights = _weights_of(system, node, measures)
        if weights is None:
            raise UsageError(Reason("bad-total", f"{text!r} is no total: {_SUM_OF_AMOUNTS}"))
        obstacle = total_obstacle(system, node, keep)
        if obstacle is None:
            laws.append(law_of(system, weights, measures, rests_on(system, weights, keep) or ()))
        elif obstacle.code == _CODE and _mixes_concentrations(system, node, weights, measures):
            message = f"{text!r} is no total: it adds up concentrations of different compartments; {_SUM_OF_AMOUNTS}"
            raise UsageError(Reason("bad-total", message))
        else:
            reasons.append(obstacle)
    if reasons:
        raise UnsupportedModelError(reasons)
    return tuple(laws)


def _mixes_concentrations(
    system: OdeSystem, total: Node, weights: Mapping[str, Fraction], measures: Sequence[Measure]
) -> bool:
    """Whether a sum has bare concentrations of compartments of different sizes."""
    graph, index = system.graph, system.state_index
    terms = graph.linear_terms(total)
    bare = {measures[index[name]].factor for name in weights if graph.symbol(name) in terms}
    others = {measures[index[name]].factor for name in weights}
    return len(others) > 1 and any(graph.number_of(factor) != 1 for factor in bare)


# -- what stands in the way --------------------------------------------------------------------------


def _kept_by_events(
    system: OdeSystem, laws: Sequence[ConservationLaw], measures: Sequence[Measure]
) -> tuple[tuple[ConservationLaw, ...], list[Reason]]:
    """Laws that every event keeps (combinations of laws included), and why others are not taken."""
    touched = {name for event in system.events for name in targets(event)}
    if not any(touched & (set(law.weights) | system.graph.symbols([law.expression])) for law in laws):
        return tuple(laws), []
    rows = _law_rows(system, laws)
    kept = rows_kept_by_events(system, rows)
    reasons: list[Reason] = []
    for law, row in zip(laws, rows, strict=True):
        event = changing_event(system, row, kept)
        if len(law.weights) > 1 and event is not None:
            reasons.append(_changed_by_event(event, law.weights, short_formula(law.text(system))))
    return _laws_of_rows(system, kept, measures, laws), reasons


def _laws_of_rows(
    system: OdeSystem,
    rows: Sequence[Mapping[int, Fraction]],
    measures: Sequence[Measure],
    laws: Sequence[ConservationLaw],
) -> tuple[ConservationLaw, ...]:
    """Readable laws of a space; they rest on no more than those of which they are combinations."""
    if not rows:
        return ()
    orthogonal, _ = null_space(rows, system.size)
    echelon, pivots = null_space(orthogonal, system.size)
    resting = {name for law in laws for name in law.rests_on}
    free = frozenset(c.id for c in system.constants) - resting
    found: list[ConservationLaw] = []
    for row in choose_basis(echelon, pivots).rows:
        weights = {system.states[j]: value for j, value in sorted(row.items())}
        found.append(law_of(system, weights, measures, rests_on(system, weights, free) or () if resting else ()))
    return tuple(found)


def _with_start(system: OdeSystem, laws: Sequence[ConservationLaw]) -> tuple[tuple[ConservationLaw, ...], list[Reason]]:
    """Laws whose members all have an initial value, and why the others are not taken."""
    lost = {name for name, node in zip(system.states, system.initial_values, strict=True) if node is None}
    kept: list[ConservationLaw] = []
    reasons: list[Reason] = []
    for law in laws:
        missing = sorted(lost & set(law.weights))
        if missing:
            text = short_formula(law.text(system))
            what = "decays at one rate" if isinstance(law, DecayingTotal) else "is constant"
            message = f"the total {text} {what}, but {missing[0]} has no initial value to compute it from"
            reasons.append(Reason("missing-value", message, missing[0]))
        else:
            kept.append(law)
    return tuple(kept), reasons


def _resting_on_kept(
    system: OdeSystem, laws: Sequence[ConservationLaw], keep: AbstractSet[str], seed: int
) -> list[Reason]:
    """Totals that are constant for the values in the file only, where some of these constants are kept symbolic."""
    named = stoichiometric_constants(system) & keep
    if not named:
        return []
    index = system.state_index
    rows = [{index[n]: v for n, v in law.weights.items()} for law in laws]
    reasons: list[Reason] = []
    for law in conserved_laws(system, keep=keep - named, seed=seed):
        resting = [name for name in law.rests_on if name in keep]
        if resting and solve_rows(rows, {index[n]: v for n, v in law.weights.items()}) is None:
            listed = ", ".join(resting)
            message = (
                f"the total {short_formula(law.text(system))} is constant for the value of {listed} in the file only; "
                f"leave {listed} out of --keep-parameters to eliminate a state by it"
            )
            reasons.append(Reason(_CODE, message, resting[0]))
    return reasons


def _near_reasons(system: OdeSystem, laws: Sequence[ConservationLaw]) -> list[Reason]:
    reasons: list[Reason] = []
    measures = law_measures(system)
    taken = _law_rows(system, laws)
    for weights, element, kind in near_laws(system):
        row = {system.state_index[name]: value for name, value in weights.items()}
        if solve_rows(taken, row) is not None:
            continue  # it decays, and a state was eliminated by it
        text = short_formula(law_of(system, weights, measures).text(system))
        what = {
            "source": f"the source {element} changes it",
            "sink": f"the sink {element} changes it",
            "rate rule": f"{element} follows its rate rule, not the reactions",
        }[kind]
        reasons.append(Reason(_CODE, f"the total {text} is not constant: {what}", element))
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
    laws: Sequence[ConservationLaw],
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
    rows, pivots = solved_in_order(rows, order)
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


def _plan(
    system: OdeSystem, laws: Sequence[ConservationLaw], chosen: Sequence[_Solved], measures: Sequence[Measure]
) -> tuple[EliminationPlan, dict[str, Node]]:
    """Expressions for the eliminated states, the new constants, and what each total is in the original."""
    graph = system.graph
    index = system.state_index
    factors = [one.factor for one in measures]
    resting = {
        law_name: i
        for i, law in enumerate(laws)
        if len(law.weights) == 1
        and not isinstance(law, DecayingTotal)
        and (law_name := next(iter(law.weights))) in {system.states[s.state] for s in chosen}
        and measures[index[law_name]].growth is None  # an amount at rest in a compartment that changes is diluted
    }
    taken = set(system.taken_ids)
    names: dict[int, str] = {}
    constants: list[Constant] = []
    quantities: dict[str, Quantity] = {}
    definitions: dict[str, Node] = {}
    needed = {i for one in chosen for i in one.totals}
    scale: dict[int, Node] = {}
    one_node = graph.number(1)
    for i, law in enumerate(laws):
        if i not in needed or i in resting.values():
            continue
        name = _total_name(list(law.weights), taken)
        taken.add(name)
        names[i] = name
        constants.append(Constant(name, law.written, computed=True))
        when = " at time 0" if isinstance(law, DecayingTotal) else ""
        quantities[name] = Quantity(name, "parameter", name=f"total {law.text(system)}"[: 200 - len(when)] + when)
        definitions[name] = law.constant(graph) if isinstance(law, DecayingTotal) else law.expression
        common = {measures[index[member]] for member in law.weights}
        # a constant factor that all share is not in the total
        scale[i] = next(iter(common)).factor if len(common) == 1 and all(m.growth is None for m in common) else one_node
    values: dict[str, Node] = {}
    back = {i: name for name, i in resting.items()}
    for one in chosen:
        state = system.states[one.state]
        if state in resting:
            continue
        own = factors[one.state]
        terms = []
        for i, value in one.totals.items():
            symbol = graph.symbol(back[i] if i in back else names[i])
            law = laws[i]
            now = law.at_time(graph, symbol) if isinstance(law, DecayingTotal) else symbol
            amount = factors[index[back[i]]] if i in back else scale[i]
            weight = value * (laws[i].weights[back[i]] if i in back else 1)
            terms.append(_scaled(graph, weight, now, amount, own))
        terms += [
            _scaled(graph, value, graph.symbol(system.states[j]), factors[j], own) for j, value in one.members.items()
        ]
        values[state] = graph.add(terms)
    # the size of a compartment may itself be a state that goes
    opened = graph.substitute(list(values.values()), {graph.symbol(name): node for name, node in values.items()})
    values = dict(zip(values, opened, strict=True))
    return EliminationPlan(values, frozenset(resting), tuple(constants), quantities), definitions


def _scaled(graph: Graph, value: Fraction, symbol: Node, amount: Node, own: Node) -> Node:
    """value · symbol · amount / own, without the sizes where they are the same."""
    if amount == own:
        return graph.scaled(value, symbol)
    return graph.mul((graph.number(value), graph.div(graph.mul((symbol, amount)), own)))


def _total_name(members: Sequence[str], taken: Collection[str]) -> str:
    return free_id(id_of_members("total", members, longest=48, cut=28), taken)
