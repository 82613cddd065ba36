"""Which conservation laws the events of a system keep, as identities in values of one moment.

An event keeps Σ nᵢXᵢ if what it sets the states to has the same sum, for every state and all values of the constants.
Where it assigns values of its trigger that may have changed by its execution, what it sets and what it leaves belong to
two moments: then it keeps a law only if all members are set, or none is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from sbmlump.events import new_values, overwrites_others, targets, two_moments, values_are_old
from sbmlump.expr.combination import add_multiple
from sbmlump.structure.exact_linear import left_null_space, null_space, solve_rows
from sbmlump.structure.laws import law_measures, linear_integrals
from sbmlump.system import Event, OdeSystem

__all__ = ["changing_event", "rows_kept_by_events"]

Row = Mapping[int, Fraction]


def rows_kept_by_events(system: OdeSystem, rows: Sequence[Row]) -> list[dict[int, Fraction]]:
    """The largest space of combinations of ``rows`` that every event keeps.

    Parameters
    ----------
    system : OdeSystem
    rows : sequence of mappings column → Fraction
        Independent laws of the flow, weights of amounts by position of the state.

    Returns
    -------
    list of dict
        A basis over Q; ``rows`` themselves where no event sets a member.
    """
    kept = [dict(row) for row in rows]
    before = -1
    while len(kept) != before:  # the parts of a law that an event splits have to be kept by the others too
        before = len(kept)
        for event in system.events:
            kept = _kept_rows(system, event, kept)
    return kept


def changing_event(system: OdeSystem, row: Row, kept: Sequence[Row]) -> Event | None:
    """The event to name for a law that is not in the space ``kept`` by all events; ``None`` if it is."""
    if solve_rows(kept, row) is not None:
        return None
    members = {system.states[j] for j in row}
    setting = [event for event in system.events if targets(event) & members]
    # where every event keeps the whole, it is a sum of parts of which some event changes one
    return next((event for event in setting if not _kept_rows(system, event, [dict(row)])), setting[0])


def _kept_rows(system: OdeSystem, event: Event, rows: list[dict[int, Fraction]]) -> list[dict[int, Fraction]]:
    set_by_event = targets(event)
    graph = system.graph
    # what an event does to the size of a compartment it does to the amounts in it
    touched = [
        j
        for j, (name, measure) in enumerate(zip(system.states, law_measures(system), strict=True))
        if name in set_by_event or not set_by_event.isdisjoint(graph.symbols([measure.factor]))
    ]
    if not any(j in row for row in rows for j in touched):
        return rows
    if not values_are_old(system, event) or overwrites_others(system, event):
        return _with_the_sum_kept(system, event, rows, touched)
    others = sorted({j for row in rows for j in row} - set(touched))
    left = _without(rows, touched, system.size)
    if two_moments(system, event):
        return left
    return left + _with_the_sum_kept(system, event, _without(rows, others, system.size), touched)


def _without(rows: Sequence[Row], columns: Sequence[int], width: int) -> list[dict[int, Fraction]]:
    """Combinations of the rows that have nothing in some columns."""
    inside = [{j: row[j] for j in columns if j in row} for row in rows]
    return _combined(rows, left_null_space(inside, width)[0])


def _with_the_sum_kept(
    system: OdeSystem, event: Event, rows: Sequence[Row], touched: Sequence[int]
) -> list[dict[int, Fraction]]:
    """Combinations w of the rows with Σ wᵢ(VᵢRᵢ − vᵢxᵢ) ≡ 0, Vᵢ the new sizes: the laws of a system that so moves."""
    if not rows:
        return []
    graph = system.graph
    new = new_values(event)
    names = tuple(system.states[j] for j in touched)
    measures = law_measures(system)
    amounts = [graph.mul((measures[j].factor, graph.symbol(system.states[j]))) for j in touched]
    afterwards = graph.substitute(amounts, {graph.symbol(name): node for name, node in new.items()})
    jumping = replace(
        system,
        states=names,
        initial=tuple(system.initial[j] for j in touched),
        rhs=tuple(graph.sub(after, before) for after, before in zip(afterwards, amounts, strict=True)),
        quantities={},  # these are amounts already
        assigned=(),
        reactions=(),
        events=(),
        constraints=(),
        algebraic=(),
    )
    place = {name: k for k, name in enumerate(names)}
    laws = [{place[name]: value for name, value in law.weights.items()} for law in linear_integrals(jumping)]
    conditions, _ = null_space(laws, len(names))
    products: list[dict[int, Fraction]] = []
    for row in rows:
        values = [
            sum((row.get(touched[k], Fraction(0)) * value for k, value in one.items()), Fraction(0))
            for one in conditions
        ]
        products.append({i: value for i, value in enumerate(values) if value})
    return _combined(rows, left_null_space(products, len(conditions))[0])


def _combined(rows: Sequence[Row], combinations: Sequence[Row]) -> list[dict[int, Fraction]]:
    found: list[dict[int, Fraction]] = []
    for combination in combinations:
        total: dict[int, Fraction] = {}
        for i, factor in combination.items():
            add_multiple(total, rows[i], factor)
        found.append({j: value for j, value in total.items() if value})
    return found
