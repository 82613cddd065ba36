"""Quasi-equilibrium: fast reversible reactions are at equilibrium; what they conserve takes the place of their species.

With S_f the columns of the fast reactions and W an integer basis of what they conserve among their species, the pools
s = Wx are the new states, ṡ = Wf(x), in which the fast fluxes cancel, and the species follow from the pools by the
equilibrium conditions. A ⇌ B → C with the first reaction fast: s = A + B, ṡ = −k₂·K/(1 + K)·s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.ensemble import (
    DRAFT,
    STANDARD,
    EnsembleSettings,
    ReferenceEnsemble,
    reference_ensemble,
    refuse_resets,
    values,
)
from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.linalg.basis import choose_basis
from sbmlump.linalg.polynomial import expand, monomial_node, polynomial_node, simplified
from sbmlump.linalg.rational import Span, add_multiple, add_to, left_null_space, primitive, rank, without_zeros
from sbmlump.linalg.solve import Branch, solve
from sbmlump.methods.elimination.quasi_steady import (
    AUTO,
    approximation_of,
    branch_chooser,
    defined_along,
    short_text,
)
from sbmlump.methods.elimination.substitute import EliminationPlan, eliminated_system, elimination_of, finite_along
from sbmlump.methods.elimination.timescales import Proposal, best_choice, nominal_trial
from sbmlump.methods.method import Clock
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Node
from sbmlump.model.names import lump_names
from sbmlump.model.reduced import Observable, ReducedSystem
from sbmlump.model.system import OdeSystem, Participant
from sbmlump.structure.laws import amount_factors, changing_compartment, number_of

__all__ = ["FastReaction", "fast_reactions", "quasi_equilibrium"]


_METHOD: Final = "quasi-equilibrium"
_NEAR_EQUILIBRIUM: Final = 0.1
_MOST_DETECTED: Final = 40


@dataclass(frozen=True, slots=True)
class FastReaction:
    """A reversible reaction: one with a difference as its flux, or two that are opposite to each other.

    Attributes
    ----------
    ids : tuple of str
        One or two reactions.
    change : mapping of state id to Fraction
        Net stoichiometry forwards, in amounts.
    forward, backward : Node
        The two parts of the flux, both non-negative.
    """

    ids: tuple[str, ...]
    change: Mapping[str, Fraction]
    forward: Node
    backward: Node


def quasi_equilibrium(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    fast: Sequence[str] | str = AUTO,
    trial: EnsembleSettings = STANDARD,
    measured: bool = True,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """Put fast reversible reactions at equilibrium.

    Parameters
    ----------
    fast : sequence of str or ``"auto"``
        Ids of reversible reactions, or of states: then the reversible reactions among them. ``auto`` takes
        those that stay within 10 % of equilibrium over most of the nominal trajectory.
    trial, measured
        As in :func:`~sbmlump.methods.elimination.quasi_steady.quasi_steady_state`.

    Raises
    ------
    UsageError
        ``unknown-fast`` if an id is neither a state nor a reversible reaction of states.
    UnsupportedModelError
        ``no-closed-form``, ``singular-fast-system``, ``event-not-lumpable``, ``no-fast-quantity``.
    """
    begin = clock()
    trial, times, states = nominal_trial(system, observables, trial, "quasi-equilibrium")
    known = fast_reactions(system)
    if isinstance(fast, str):
        chosen, why = _detected(system, known, times, states)
        attempt = partial(_approximated, system, observables, why=why, times=times, states=states, reference=None)
        found = best_choice(_proposal(system, chosen, attempt), reference_ensemble(system, observables, trial))
    else:
        reference = reference_ensemble(system, observables, trial) if measured else None
        found = _approximated(system, observables, _named(system, known, fast), {}, times, states, reference)
    return replace(found, seconds={"lump": clock() - begin})


def _approximated(
    system: OdeSystem,
    observables: Sequence[Observable],
    chosen: tuple[FastReaction, ...],
    why: dict[str, Any],
    times: Array,
    states: Array,
    reference: ReferenceEnsemble | None,
) -> ReducedSystem:
    """Put exactly these reactions at equilibrium."""
    plan, branches = _plan(system, chosen, times, states)
    reduced, starts = eliminated_system(system, plan, observables, keep_reactions=False)
    reduced, left_out = defined_along(system, reduced, plan, observables, times, states)
    details: dict[str, Any] = {
        "fast_reactions": [list(one.ids) for one in chosen],
        "pools": {name: {k: str(v) for k, v in row.items()} for name, row in plan.lumps.items()},
        "solution": {name: short_text(system, node) for name, node in plan.values.items()},
        "roots": {branch.unknown: branch.why for branch in branches},
        **({"near_equilibrium": why} if why else {}),
    }
    draft = elimination_of(system, reduced, observables, DRAFT, _METHOD, starts=starts, members=plan.lumps)
    return approximation_of(draft, left_out, reference, details)


def _proposal(
    system: OdeSystem,
    chosen: tuple[FastReaction, ...],
    attempt: Callable[[tuple[FastReaction, ...]], ReducedSystem],
) -> Proposal[FastReaction]:
    def refusal(said: str) -> Reason:
        listed = ", ".join("+".join(one.ids) for one in chosen[:4])
        message = (
            f"the reversible reactions of model {system.id} that are nearest to equilibrium ({listed}) are not at "
            f"equilibrium{said}; name fast reactions with --fast ID,…"
        )
        return Reason("no-fast-quantity", message)

    return Proposal(_METHOD, chosen, attempt, lambda *_: False, refusal)


# -- reversible reactions ----------------------------------------------------------------------------


def fast_reactions(system: OdeSystem) -> tuple[FastReaction, ...]:
    """Reversible reactions between states: candidates for equilibrium."""
    found: list[FastReaction] = []
    alone: dict[tuple[tuple[str, Fraction], ...], tuple[str, Node]] = {}
    for reaction in system.reactions:
        change = _change(system, reaction.reactants, reaction.products)
        if change is None or not change:
            continue
        parts = _parts(system, reaction.flux)
        if parts is None:
            continue
        forward, backward = parts
        if backward is not None:
            found.append(FastReaction((reaction.id,), change, forward, backward))
            continue
        opposite = tuple(sorted((name, -value) for name, value in change.items()))
        other = alone.pop(opposite, None)
        if other is None:
            alone[tuple(sorted(change.items()))] = reaction.id, forward
        else:
            found.append(FastReaction((other[0], reaction.id), {n: -v for n, v in change.items()}, other[1], forward))
    return tuple(found)


def _change(
    system: OdeSystem, reactants: Sequence[Participant], products: Sequence[Participant]
) -> dict[str, Fraction] | None:
    """Net stoichiometry over states that reactions rule; ``None`` if it is no number, or if others take part."""
    change: dict[str, Fraction] = {}
    for sign, side in ((-1, reactants), (1, products)):
        for one in side:
            value = number_of(system, one)
            quantity = system.quantities.get(one.species)
            if value is None or one.species not in system.state_index or (quantity is not None and quantity.boundary):
                return None
            add_to(change, one.species, sign * value)
    return without_zeros(change)


def _parts(system: OdeSystem, flux: Node) -> tuple[Node, Node | None] | None:
    """Positive and negative terms of a flux (opened as a polynomial, or as a sum over one denominator)."""
    graph = system.graph
    terms = expand(graph, flux, set(system.states))
    if terms is None:
        return None
    positive: list[Node] = []
    negative: list[Node] = []
    numbers = dict(zip(terms, graph.substitute(list(terms.values()), system.specialised()), strict=True))
    for monomial, coefficient in terms.items():
        closed = numbers[monomial]
        if graph.symbols([closed]) or graph.depends_on_time([closed]):
            return None
        value = float(values_of(graph, [closed])[0])
        node = graph.mul((coefficient, monomial_node(graph, monomial)))
        if value > 0:
            positive.append(node)
        elif value < 0:
            negative.append(graph.neg(node))
        elif np.isnan(value):
            return None
    if not positive:
        return None
    return graph.add(positive), graph.add(negative) if negative else None


def _named(system: OdeSystem, known: Sequence[FastReaction], names: Sequence[str]) -> tuple[FastReaction, ...]:
    by_id = {name: one for one in known for name in one.ids}
    reasons: list[Reason] = []
    picked: list[FastReaction] = []
    among = {name for name in names if name in system.state_index}
    for name in names:
        if name in among:
            continue
        if name in by_id:
            picked.append(by_id[name])
        else:
            message = (
                f"{name!r} is no reversible reaction between states that only reactions change (any more, if other "
                f"methods went before) in model {system.id}"
                if any(one.id == name for one in system.reactions)
                else f"{name!r} is neither a state nor a reversible mass-action reaction of model {system.id}"
            )
            reasons.append(Reason("unknown-fast", message, name))
    if reasons:
        raise UsageError(reasons)
    if among:
        inside = [one for one in known if set(one.change) <= among]
        if not inside:
            listed = ", ".join(sorted(among))
            message = f"there is no reversible reaction among {listed} alone that could be at equilibrium"
            raise UsageError(Reason("unknown-fast", message, min(among)))
        picked += inside
    if not picked:
        raise UsageError(Reason("no-fast-quantity", "no fast reaction is named; use --fast ID,… or --fast auto"))
    return tuple(_distinct(picked))


def _distinct(items: Sequence[FastReaction]) -> list[FastReaction]:
    seen: dict[tuple[str, ...], FastReaction] = {}
    for one in items:
        seen.setdefault(one.ids, one)
    return list(seen.values())


def _detected(
    system: OdeSystem, known: Sequence[FastReaction], times: Array, states: Array
) -> tuple[tuple[FastReaction, ...], dict[str, Any]]:
    """Reactions with |forward − backward| ≤ 10 % of their sum at most points after the start, fastest first."""
    if known:
        nodes = [node for one in known for node in (one.forward, one.backward)]
        flux = np.nan_to_num(values(system, nodes, times, states[None])[0])
        forward, backward = flux[:, ::2], flux[:, 1::2]
        gross = np.abs(forward) + np.abs(backward)
        with np.errstate(all="ignore"):
            off = np.where(gross > 0, np.abs(forward - backward) / gross, 1.0)
        late = slice(len(times) // 3, None)
        median = np.quantile(off[late], 0.8, axis=0)
        order = np.argsort(-np.median(gross[late], axis=0))
        chosen = [known[i] for i in order if median[i] <= _NEAR_EQUILIBRIUM][:_MOST_DETECTED]
        why = {"+".join(one.ids): round(float(median[known.index(one)]), 4) for one in chosen}
        if chosen:
            return tuple(chosen), why
    message = (
        f"no reversible reaction of model {system.id} stays near equilibrium along the trajectory; name fast reactions "
        "with --fast ID,…"
    )
    raise UnsupportedModelError(Reason("no-fast-quantity", message))


# -- equilibrium -------------------------------------------------------------------------------------


def _plan(
    system: OdeSystem, chosen: Sequence[FastReaction], times: Array, states: Array
) -> tuple[EliminationPlan, tuple[Branch, ...]]:
    graph = system.graph
    index = system.state_index
    involved = sorted({name for one in chosen for name in one.change}, key=index.__getitem__)
    refuse_resets(system, involved, "which fast reactions connect with others")
    columns = [{involved.index(name): value for name, value in one.change.items()} for one in chosen]
    independent = rank(columns, len(involved))
    conditions = _conditions(system, chosen, columns, independent, len(involved))
    factors = dict(zip(system.states, amount_factors(system), strict=True))
    rows = [{i: one[j] for i, one in enumerate(columns) if j in one} for j in range(len(involved))]
    basis, pivots = left_null_space(rows, len(columns))
    pools = (
        [{involved[j]: value for j, value in primitive(row).items()} for row in choose_basis(basis, pivots).rows]
        if basis
        else []
    )
    if len({system.conversion_factor_of(name) for name in involved}) > 1:
        message = "the fast reactions connect species with different conversion factors: what they conserve is no sum"
        raise UnsupportedModelError(Reason("no-closed-form", message, chosen[0].ids[0]))
    sizes = {(factors[name], changing_compartment(system, name)) for name in involved}
    if len(sizes) > 1:
        message = "the fast reactions connect compartments of different sizes; make amounts of the species first"
        raise UnsupportedModelError(Reason("no-closed-form", message, chosen[0].ids[0]))
    names = lump_names(system, [{index[name]: value for name, value in pool.items()} for pool in pools])
    meaning: dict[Node, Node] = {}
    equations = list(conditions)
    new_states: dict[str, tuple[Node, Node]] = {}
    for name, pool in zip(names, pools, strict=True):
        expression = graph.weighted_sum(pool, graph.symbol)
        symbol = graph.symbol(name)
        meaning[symbol] = expression
        equations.append(graph.sub(expression, symbol))
        rate = _pool_rate(system, pool)
        start = graph.weighted_sum(pool, lambda name: system.initial[index[name]])
        new_states[name] = rate, start
    solution = solve(
        graph,
        equations,
        involved,
        branch_chooser(system, meaning, times, states),
        positive=system.positive_constants,
        defined=lambda node: bool(finite_along(system, graph.substitute([node], meaning), times, states).all()),
    )
    values_found = dict(zip(solution.values, simplified(graph, list(solution.values.values())), strict=True))
    lumps = {name: dict(pool) for name, pool in zip(names, pools, strict=True)}
    return EliminationPlan(values_found, new_states=new_states, lumps=lumps, shorten=True), solution.branches


def _conditions(
    system: OdeSystem,
    chosen: Sequence[FastReaction],
    columns: Sequence[Mapping[int, Fraction]],
    independent: int,
    width: int,
) -> list[Node]:
    """forward = backward for independent reactions; for dependent ones the net change of the species is 0."""
    graph = system.graph
    net = [graph.sub(one.forward, one.backward) for one in chosen]
    if independent == len(chosen):
        return net
    conditions: list[Node] = []
    span: Span[int] = Span()
    for j in range(width):
        row = {i: one[j] for i, one in enumerate(columns) if one.get(j)}
        if span.add(row):
            conditions.append(graph.weighted_sum(row, net.__getitem__))
    return conditions


def _pool_rate(system: OdeSystem, pool: Mapping[str, Fraction]) -> Node:
    """Σ w·f with terms of equal fluxes collected, so that the fast ones cancel."""
    graph = system.graph
    index = system.state_index
    total: dict[Node, Fraction] = {}
    for name, value in pool.items():
        add_multiple(total, graph.linear_terms(system.rhs[index[name]]), value)
    rate = graph.from_terms(total)
    terms = expand(graph, rate, set(system.states))
    if terms is None:
        return rate
    # fast fluxes that stood inside products (a compartment times a difference) cancel when opened
    return simplified(graph, [polynomial_node(graph, terms)])[0]
