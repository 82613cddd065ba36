"""Directed relation graph: states that matter little for making what is observed are pruned.

An edge i → j is weighted by the share of j's production that comes from reactions with i as a reactant, along the
nominal run: its time average or its maximum, or, as Lu and Law weigh it, the largest share of j's turnover, production
and consumption together, so that what only consumes j counts too. The importance of a state is the largest product of
weights along a path to an observable. States under a threshold are removed together with the reactions that make
nothing else, unless such a reaction is an outflow that matters to a state that stays; where others still need a removed
state, it stands there with its initial value. Strongly connected groups of what stays are proposed as lumps.

References
----------
T. Lu, C. K. Law, A directed relation graph method for mechanism reduction, Proc. Combust. Inst. 30 (2005),
doi 10.1016/j.proci.2004.08.145; P. Pepiot-Desjardins, H. Pitsch, Combust. Flame 154 (2008),
doi 10.1016/j.combustflame.2007.10.020: products along paths.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp

from sbmlump.arrays import Array
from sbmlump.dynamics.ensemble import (
    DRAFT,
    STANDARD,
    EnsembleSettings,
    error_estimate,
    measure,
    reference_ensemble,
    refuse_untimed_events,
    values,
)
from sbmlump.errors import LimitError, Reason, UnsupportedModelError, UsageError
from sbmlump.linalg.connected import strong_components
from sbmlump.linalg.rational import add_multiple
from sbmlump.methods.elimination.substitute import elimination_of, with_fluxes
from sbmlump.methods.elimination.timescales import nominal_run
from sbmlump.methods.method import WEIGHTINGS, Clock, Weighting
from sbmlump.model.graph import Node
from sbmlump.model.reduced import ErrorEstimate, Observable, ReducedSystem
from sbmlump.model.system import Assigned, Constant, Event, OdeSystem, Reaction
from sbmlump.structure.laws import amount_factors, changing_compartment

__all__ = ["PruningSettings", "RelationGraphResult", "pruned", "build_relation_graph"]


@dataclass(frozen=True, slots=True)
class PruningSettings:
    """How a threshold is searched.

    Attributes
    ----------
    error : float
        Allowed where neither an error nor a threshold is asked for.
    most_thresholds : int
        Tried: evenly spaced among all that remove other states.
    rough_tolerance : float
        Relative, of the one trajectory that shows that most candidates are far off.
    rough_steps : int
        Of that trajectory.
    rough_margin : float
        Times the allowed error that it may have for the candidate to be measured in full.
    group_weight : float
        Of the edges along which states are proposed as a lump.
    """

    error: float = 0.05
    most_thresholds: int = 80
    rough_tolerance: float = 1e-4
    rough_steps: int = 2_000
    rough_margin: float = 1.1
    group_weight: float = 0.5


@dataclass(frozen=True, slots=True)
class RelationGraphResult:
    """Weights and importances.

    Attributes
    ----------
    states : tuple of str
    weights : sparse array (n, n)
        Entry (i, j): share of the production (or turnover) of j by reactions with i as a reactant, 0 … 1.
    importance : mapping of state to float
        1 for what is observed.
    groups : tuple of tuple of str
        Strongly connected groups of at least two states along heavy edges: candidates for lumps.
    """

    states: tuple[str, ...]
    weights: sp.csr_array
    importance: Mapping[str, float]
    groups: tuple[tuple[str, ...], ...]


def build_relation_graph(
    system: OdeSystem,
    observables: Sequence[Observable],
    times: Array,
    states: Array,
    weighting: Weighting = "maximum",
    group_weight: float = PruningSettings().group_weight,
) -> RelationGraphResult:
    """Build the graph from a run.

    Parameters
    ----------
    times : array (m,)
    states : array (m, n)
    weighting : ``average``, ``maximum`` or ``turnover``
        Of the share of production, over time; ``turnover`` is the maximum of the share of production and consumption.

    Raises
    ------
    UsageError
        ``bad-option`` for another weighting.
    """
    fluxes, sources = _production(system, times, states, both=weighting == "turnover")
    n = system.size
    table = np.zeros((n, n))
    with np.errstate(all="ignore"):
        for j in range(n):
            if not fluxes[j]:
                continue
            total = np.sum([amount for _, amount in fluxes[j]], axis=0)
            for i in {i for term, _ in fluxes[j] for i in sources[term]}:
                part = np.sum([amount for term, amount in fluxes[j] if i in sources[term]], axis=0)
                if weighting != "average":
                    share = np.where(total > 0, part / total, 0.0).max()
                else:
                    over_time = np.trapezoid(total, times)
                    share = np.trapezoid(part, times) / over_time if over_time > 0 else 0.0
                table[i, j] = min(1.0, float(np.nan_to_num(share)))
    importance = _importance(system, observables, table)
    near = [np.flatnonzero(row).tolist() for row in table >= group_weight]
    groups = [tuple(system.states[i] for i in part) for part in sorted(map(sorted, strong_components(near)))]
    return RelationGraphResult(
        system.states,
        sp.csr_array(table),
        dict(zip(system.states, importance.tolist(), strict=True)),
        tuple(group for group in groups if len(group) > 1),
    )


Term = Node


def _production(
    system: OdeSystem, times: Array, states: Array, *, both: bool = False
) -> tuple[list[list[tuple[Term, Array]]], dict[Term, frozenset[int]]]:
    """For each state, the fluxes that make it with their amounts over time; and the states each flux depends on.

    The fluxes are the distinct terms of the right-hand sides, so that models of rate rules have them too. With ``both``
    those that consume it count too.
    """
    graph = system.graph
    index = system.state_index
    terms = [graph.linear_terms(rhs) for rhs in system.rhs]
    distinct = list(dict.fromkeys(term for one in terms for term in one))
    if not distinct:
        return [[] for _ in terms], {}
    amounts = np.nan_to_num(values(system, distinct, times, states[None])[0])
    place = {term: k for k, term in enumerate(distinct)}
    # a net flux v⁺ − v⁻ is opened where it stands as a sum; inside a product it counts by its sign
    making: list[list[tuple[Term, Array]]] = []
    for one in terms:
        signed = [(term, float(factor) * amounts[:, place[term]]) for term, factor in one.items()]
        counted = [(term, np.abs(amount) if both else np.maximum(amount, 0.0)) for term, amount in signed]
        making.append([(term, amount) for term, amount in counted if amount.any()])
    sources = {term: frozenset(index[n] for n in graph.symbols([term]) if n in index) for term in distinct}
    return making, sources


def _importance(system: OdeSystem, observables: Sequence[Observable], table: Array) -> Array:
    """Largest product of weights along a path to something observed (Dijkstra on −ln w)."""
    graph = system.graph
    index = system.state_index
    best = np.zeros(system.size)
    start = {index[n] for one in observables for n in graph.symbols([one.expression]) if n in index}
    heap = [(-1.0, j) for j in sorted(start)]
    best[list(start)] = 1.0
    incoming = sp.csc_array(table)
    while heap:
        negative, j = heapq.heappop(heap)
        if -negative < best[j]:
            continue
        low, high = incoming.indptr[j], incoming.indptr[j + 1]
        for i, weight in zip(incoming.indices[low:high].tolist(), incoming.data[low:high].tolist(), strict=True):
            value = -negative * weight
            if value > best[i]:
                best[i] = value
                heapq.heappush(heap, (-value, i))
    return best


# -- pruning -----------------------------------------------------------------------------------------


def pruned(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    threshold: float | None = None,
    max_error: float | None = None,
    weighting: Weighting | None = None,
    trial: EnsembleSettings = STANDARD,
    clock: Clock = time.perf_counter,
    settings: PruningSettings = PruningSettings(),
) -> ReducedSystem:
    """Remove unimportant states and the reactions that make them.

    Parameters
    ----------
    threshold : float, optional
        States of a smaller importance go.
    max_error : float, optional
        Search the threshold that removes most and whose measured error stays below; 0.05 where neither is given. The
        error need not grow with the threshold, so thresholds are tried from the largest one downwards.
    weighting : str, optional
        See :func:`relation_graph`; with a threshold ``maximum`` if absent, otherwise all are tried.
    trial
        See :class:`~sbmlump.dynamics.ensemble.EnsembleSettings`.

    Raises
    ------
    UsageError
        ``bad-option`` if a number is out of range.
    LimitError
        ``target-not-reached`` if no state can go at this error.
    UnsupportedModelError
        ``event-not-lumpable`` if an event is not triggered by time alone; others are carried over, without what
        they do to pruned states.
    """
    begin = clock()
    _check_options(threshold, max_error)
    refuse_untimed_events(system, "relation-graph")
    reference = reference_ensemble(system, observables, trial)
    run = nominal_run(system, reference.until)
    weightings = (weighting,) if weighting is not None else WEIGHTINGS if threshold is None else WEIGHTINGS[:1]
    graphs = {one: build_relation_graph(system, observables, *run, one, settings.group_weight) for one in weightings}

    nominal = reference.nominal()

    def draft(limit: float, which: Weighting) -> tuple[ReducedSystem, dict[str, Any]]:
        return _pruned_at(system, observables, graphs[which], limit, which, run)

    def finished(reduction: ReducedSystem, details: dict[str, Any]) -> ReducedSystem:
        certificate = error_estimate(reduction, "relation-graph", reference, details)
        return replace(reduction, certificate=certificate, seconds={"lump": clock() - begin})

    if threshold is not None:
        return finished(*draft(threshold, weightings[0]))
    max_error = settings.error if max_error is None else max_error
    lowest: float | None = None
    for limit, which in _by_size(graphs, settings.most_thresholds):
        reduction, details = draft(limit, which)
        # most candidates are far off: one rough run shows it
        rough = float(
            measure(reduction, nominal, relative=settings.rough_tolerance, steps=settings.rough_steps).errors[0]
        )
        if rough <= settings.rough_margin * max_error:
            candidate = finished(reduction, details)
            assert isinstance(candidate.certificate, ErrorEstimate)
            if candidate.certificate.worst_error <= max_error:
                return candidate
            rough = candidate.certificate.worst_error
        lowest = rough if lowest is None else min(lowest, rough)
    known = lowest is not None and np.isfinite(lowest)
    smallest = f" (the smallest error of any threshold is {lowest:.2g})" if known else ""
    message = (
        f"no state can be pruned with an error of at most {max_error:g}{smallest}; allow a larger one with --max-error"
    )
    raise LimitError(Reason("target-not-reached", message))


def _by_size(graphs: Mapping[Weighting, RelationGraphResult], most: int) -> list[tuple[float, Weighting]]:
    """Thresholds that remove states but not all, those that remove most first.

    Two weightings may remove the same states at different thresholds, and with them other reactions.
    """
    found: dict[tuple[frozenset[str], float], tuple[float, Weighting]] = {}
    for which, graph in graphs.items():
        for level in sorted({value for value in graph.importance.values() if value < 1.0}):
            limit = float(np.nextafter(level, 2.0))
            removed = frozenset(name for name, value in graph.importance.items() if value < limit)
            if len(removed) < len(graph.states):
                found.setdefault((removed, limit), (limit, which))
    ordered = [found[key] for key in sorted(found, key=lambda one: (-len(one[0]), sorted(one[0]), one[1]))]
    if len(ordered) <= most:
        return ordered
    return [ordered[i] for i in np.unique(np.linspace(0, len(ordered) - 1, most).astype(int))]


def _check_options(threshold: float | None, max_error: float | None) -> None:
    if threshold is not None and max_error is not None:
        raise UsageError(Reason("bad-option", "give either --threshold or --max-error, not both"))


def _pruned_at(
    system: OdeSystem,
    observables: Sequence[Observable],
    found: RelationGraphResult,
    limit: float,
    weighting: str,
    run: tuple[Array, Array],
) -> tuple[ReducedSystem, dict[str, Any]]:
    """The system that is left, not yet measured, and what is said of it."""
    times, states = run
    removed = [name for name in system.states if found.importance[name] < limit]
    if len(removed) == system.size:
        raise UnsupportedModelError(Reason("nothing-left", "every state would be pruned; choose a smaller --threshold"))
    dropped = _droppable(system, set(removed), limit, times, states)
    reduced = _without(system, removed, observables, dropped)
    details: dict[str, Any] = {
        "threshold": limit,
        "weighting": weighting,
        "pruned_states": removed,
        "pruned_reactions": [one.id for one in dropped],
        "importance": {n: round(v, 6) for n, v in sorted(found.importance.items(), key=lambda i: i[1])[:200]},
        "proposed_lumps": [list(group) for group in found.groups[:20]],
    }
    return elimination_of(system, reduced, observables, DRAFT, "relation-graph"), details


def _without(
    system: OdeSystem, removed: Sequence[str], observables: Sequence[Observable], dropped: Sequence[Reaction]
) -> OdeSystem:
    """The system without some states, which are constants of their initial values, and without some reactions."""
    graph = system.graph
    gone = set(removed)
    index = system.state_index
    factors = amount_factors(system)
    kept = [i for i, name in enumerate(system.states) if name not in gone]
    rhs: list[Node] = []
    for i in kept:
        terms = graph.linear_terms(system.rhs[i])
        add_multiple(terms, _lost_terms(system, dropped, system.states[i], factors[i]), -1)
        rhs.append(graph.from_terms(terms))
    constants = [*system.constants, *(Constant(name, system.initial[index[name]]) for name in removed)]
    taken = {system.states[i] for i in kept} | {c.id for c in constants} | {a.id for a in system.assigned}
    names = {one.id for one in dropped}
    reactions = tuple(r for r in system.reactions if r.id not in names)
    taken |= {r.id for r in reactions}
    assigned = [*system.assigned, *(Assigned(o.id, o.expression) for o in observables if o.id not in taken)]
    left = replace(
        system,
        states=tuple(system.states[i] for i in kept),
        initial=tuple(system.initial[i] for i in kept),
        rhs=tuple(rhs),
        constants=tuple(constants),
        assigned=tuple(assigned),
        reactions=reactions,
        events=_events_left(system, gone),
        algebraic=(),
    )
    return with_fluxes(left, system, ())


def _events_left(system: OdeSystem, gone: set[str]) -> tuple[Event, ...]:
    """Events without their assignments to pruned states; those that have no other are left out."""
    found = []
    for event in system.events:
        assignments = tuple(pair for pair in event.assignments if pair[0] not in gone)
        implied = tuple(pair for pair in event.implied if pair[0] not in gone)
        unscaled = tuple(pair for pair in event.unscaled if pair[0] not in gone)
        if assignments or implied:
            found.append(replace(event, assignments=assignments, implied=implied, unscaled=unscaled))
    return tuple(found)


def _droppable(system: OdeSystem, gone: set[str], limit: float, times: Array, states: Array) -> list[Reaction]:
    """Reactions that make nothing but removed states and are no outflow of weight for a state that stays.

    None where a flux has no value: rates may be known though the size of a compartment is not, as it cancels in them.
    """
    fluxes = [r.flux for r in system.reactions]
    index = system.state_index
    made = [r for r in system.reactions if r.products and {one.species for one in r.products} <= gone]
    if not made or system.without_value(fluxes):
        return []
    flux = np.abs(np.nan_to_num(values(system, fluxes, times, states[None])[0]))
    column = {r.id: k for k, r in enumerate(system.reactions)}
    outflow = np.zeros((len(times), system.size))
    for reaction in system.reactions:
        for one in reaction.reactants:
            if one.species in index:
                outflow[:, index[one.species]] += flux[:, column[reaction.id]]
    dropped: list[Reaction] = []
    for reaction in made:
        if any(changing_compartment(system, name) is not None for name in reaction.taking_part - gone):
            continue  # the flux stands in their rates over a size that changes
        drained = [index[one.species] for one in reaction.reactants if one.species in index and one.species not in gone]
        with np.errstate(all="ignore"):
            share = np.nan_to_num(flux[:, [column[reaction.id]]] / outflow[:, drained])
        if float(share.max(initial=0.0)) < limit:
            dropped.append(reaction)
    return dropped


def _lost_terms(system: OdeSystem, dropped: Sequence[Reaction], name: str, factor: Node) -> dict[Node, Fraction]:
    """What dropped reactions contributed to the rate of ``name``, as terms."""
    graph = system.graph
    total: dict[Node, Fraction] = {}
    if system.is_boundary(name):
        return total  # a rule sets its rate, reactions do not
    conversion = system.conversion_factor_of(name)
    scale = graph.symbol(conversion) if conversion is not None else graph.number(1)
    for reaction in dropped:
        for sign, participant in reaction.participants:
            if participant.species != name:
                continue
            node = graph.mul((graph.number(sign), scale, participant.stoichiometry, reaction.flux))
            node = node if graph.number_of(factor) == 1 else graph.div(node, factor)
            add_multiple(total, graph.linear_terms(node), 1)
    return total
