"""Quasi-steady state: fast intermediates follow the slow states at once, 0 = f_fast(fast, slow).

Where the fast states take part in conserved totals, the totals stand in for equations that would otherwise say nothing:
the enzyme of E + S ⇌ ES → E + P is conserved, and Michaelis–Menten kinetics follow. A state that a total ties to fast
states alone (the free enzyme) goes with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.ensemble import (
    DRAFT,
    STANDARD,
    EnsembleSettings,
    ReferenceEnsemble,
    error_estimate,
    reference_ensemble,
    refuse_resets,
    values,
)
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, UsageError, did_you_mean, near_matches
from sbmlump.linalg.polynomial import simplified
from sbmlump.linalg.rational import echelon
from sbmlump.linalg.solve import Chooser, Solution, solve
from sbmlump.methods.elimination.substitute import (
    EliminationPlan,
    eliminated_system,
    elimination_of,
    finite_along,
    with_defined_parts,
)
from sbmlump.methods.elimination.timescales import Proposal, best_choice, nominal_trial, time_scales
from sbmlump.methods.method import AUTO, Clock
from sbmlump.model.graph import Node
from sbmlump.model.names import free_id
from sbmlump.model.reduced import ErrorEstimate, Observable, ReducedSystem
from sbmlump.model.system import Constant, OdeSystem, Quantity
from sbmlump.model.text import to_text
from sbmlump.structure.laws import ConservationLaw, conserved_laws, stoichiometric_constants

__all__ = [
    "AUTO",
    "approximation_of",
    "branch_chooser",
    "defined_along",
    "known_states",
    "quasi_steady_state",
    "short_text",
]


def quasi_steady_state(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    fast: Sequence[str] | str = AUTO,
    trial: EnsembleSettings = STANDARD,
    measured: bool = True,
    clock: Clock = time.perf_counter,
) -> ReducedSystem:
    """Eliminate fast states by their steady-state equations.

    Parameters
    ----------
    fast : sequence of str or ``"auto"``
        Ids of the fast states; ``auto`` looks for a gap in the time scales along the nominal trajectory.
    trial : Trial
        How the error is measured.
    measured : bool
        Whether to measure it; without, the certificate says that it is unknown (infinite).

    Returns
    -------
    ReducedSystem
        Fast states stay available as assigned quantities. The certificate is an estimate with the equations, the
        choice of roots, and why the states were taken for fast.

    Raises
    ------
    UsageError
        ``unknown-fast`` if an id is no state.
    UnsupportedModelError
        ``no-closed-form``, ``singular-fast-system``, ``event-not-lumpable``, ``no-fast-quantity``.
    """
    begin = clock()
    trial, times, states = nominal_trial(system, observables, trial, "qssa")
    if isinstance(fast, str):
        names, why = _detected(system, observables, times, states)
        laws = _laws_of_all_values(system)
        attempt = partial(
            _approximated, system, observables, why=why, times=times, states=states, laws=laws, reference=None
        )
        found = best_choice(_proposal(system, names, attempt), reference_ensemble(system, observables, trial))
    else:
        reference = reference_ensemble(system, observables, trial) if measured else None
        names, laws = known_states(system, fast), _laws_of_all_values(system)
        found = _approximated(system, observables, names, {}, times, states, laws, reference)
    return replace(found, seconds={"lump": clock() - begin})


def _approximated(
    system: OdeSystem,
    observables: Sequence[Observable],
    names: tuple[str, ...],
    why: dict[str, Any],
    times: Array,
    states: Array,
    laws: Sequence[ConservationLaw],
    reference: ReferenceEnsemble | None,
) -> ReducedSystem:
    """Eliminate exactly these states."""
    step = _eliminate(system, names, times, states, _tied(laws, names))
    reduced, starts = eliminated_system(system, step.plan, observables)
    reduced, left_out = defined_along(system, reduced, step.plan, observables, times, states)
    details: dict[str, Any] = {
        "fast": list(names),
        "also_eliminated": sorted(set(step.plan.values) - set(names)),
        "solution": {name: short_text(system, node) for name, node in step.plan.values.items()},
        "roots": {branch.unknown: branch.why for branch in step.solution.branches},
        **({"time_scales": why} if why else {}),
    }
    draft = elimination_of(system, reduced, observables, DRAFT, "qssa", starts=starts)
    return approximation_of(draft, left_out, reference, details)


def defined_along(
    system: OdeSystem,
    reduced: OdeSystem,
    plan: EliminationPlan,
    observables: Sequence[Observable],
    times: Array,
    states: Array,
) -> tuple[OdeSystem, tuple[str, ...]]:
    """The reduced system in forms that have finite values at its initial values and along the nominal run.

    An eliminated state that nobody observes is left out where it has none: it grows beyond all bounds there, while
    its fluxes may stay finite; so is a flux that has none either, and changes no state that stays.

    Returns
    -------
    system : OdeSystem
    left_out : tuple of str
    """
    index = system.state_index
    rows = [plan.lumps.get(name, {name: 1}) for name in reduced.states]
    columns = [sum(float(value) * states[:, index[n]] for n, value in row.items()) for row in rows]
    along = np.stack(columns, axis=1) if columns else np.empty((len(times), 0))
    watched = {name for one in observables for name in (one.id, *system.graph.symbols([one.expression]))}
    droppable = {*plan.values, *(one.id for one in reduced.reactions)} - watched
    return with_defined_parts(reduced, times, along, droppable)


def _left_out_remarks(names: Sequence[str]) -> tuple[str, ...]:
    """What is said of eliminated states and fluxes without a finite value."""
    if not names:
        return ()
    are, their = ("is", "its equation gives for it") if len(names) == 1 else ("are", "their equations give for them")
    where = "at the initial values of the file or along the trajectory; nothing else depends on it"
    return (f"{', '.join(names)} {are} left out: what {their} is not finite {where}",)


def _proposal(
    system: OdeSystem, names: tuple[str, ...], attempt: Callable[[tuple[str, ...]], ReducedSystem]
) -> Proposal[str]:
    def gone(draft: ReducedSystem, name: str) -> bool:
        return name in draft.system.definitions and name not in draft.system.states

    def refusal(said: str) -> Reason:
        message = (
            f"the fastest states of model {system.id} ({', '.join(names[:4])}) are not quasi-steady{said}; "
            "name fast states with --fast ID,…"
        )
        return Reason("no-fast-quantity", message)

    return Proposal("qssa", names, attempt, gone, refusal)


def approximation_of(
    draft: ReducedSystem, left_out: Sequence[str], reference: ReferenceEnsemble | None, details: dict[str, Any]
) -> ReducedSystem:
    """An approximation with its measured error, or an infinite one where it is not to be measured.

    Parameters
    ----------
    draft : ReducedSystem
        Without a certificate.
    left_out : sequence of str
        Eliminated states without a finite value.
    reference : ReferenceEnsemble or None
    details : dict
        What the certificate says besides.
    """
    draft = replace(draft, remarks=_left_out_remarks(left_out))
    if reference is not None:
        return replace(draft, certificate=error_estimate(draft, draft.method, reference, details))
    unknown = float("inf")
    return replace(draft, certificate=ErrorEstimate(draft.method, 0.0, 0, 0.0, unknown, unknown, details=details))


def short_text(system: OdeSystem, node: Node) -> str:
    """An expression as text, cut at 400 characters."""
    text = to_text(system.graph, node)
    return text if len(text) <= 400 else text[:399] + "…"


def _no_such_state(system: OdeSystem, name: str) -> str:
    hint = did_you_mean(near_matches(name, system.states), "'sbmlump inspect' lists the states")
    return f"there is no state {name!r} in model {system.id} that could be fast; {hint}"


def known_states(system: OdeSystem, names: Sequence[str]) -> tuple[str, ...]:
    """The ids, each once.

    Raises
    ------
    UsageError
        ``unknown-fast`` with every id that is no state; ``no-fast-quantity`` if there are none.
    """
    unknown = [name for name in names if name not in system.state_index]
    if unknown:
        raise UsageError([Reason("unknown-fast", _no_such_state(system, name), name) for name in unknown])
    if not names:
        raise UsageError(Reason("no-fast-quantity", "no fast quantity is named; use --fast ID,… or --fast auto"))
    return tuple(dict.fromkeys(names))


def _detected(
    system: OdeSystem, observables: Sequence[Observable], times: Array, states: Array
) -> tuple[tuple[str, ...], dict[str, Any]]:
    graph = system.graph
    watched = [graph.name(one.expression) for one in observables if system.is_symbol(one.expression)]
    found = time_scales(system, times, states, watched)
    if not found.fast:
        why = (
            "the time scales have no gap along the trajectory"
            if found.gap <= 1.0
            else "the modes before the gap in the time scales are not those of states that may go (of observed ones, "
            "or shared out among many)"
        )
        message = f"no fast state was found in model {system.id}: {why}; name fast states with --fast ID,…"
        raise UnsupportedModelError(Reason("no-fast-quantity", message))
    return found.fast, found.as_json()


@dataclass(frozen=True, slots=True)
class _Step:
    plan: EliminationPlan
    solution: Solution


def _eliminate(
    system: OdeSystem, fast: Sequence[str], times: Array, states: Array, laws: list[ConservationLaw]
) -> _Step:
    graph = system.graph
    partners = [next(iter(set(law.weights) - set(fast))) for law in laws if set(law.weights) - set(fast)]
    unknowns = [*fast, *dict.fromkeys(partners)]
    if len(unknowns) == system.size and partners:
        # nothing would be left to move: the totals of partners stay out then
        laws = [law for law in laws if set(law.weights) <= set(fast)]
        unknowns = list(fast)
    taken = set(system.taken_ids)
    constants: list[Constant] = []
    quantities: dict[str, Quantity] = {}
    meaning: dict[Node, Node] = {}
    equations = _independent_rates(system, fast, laws)
    for law in laws:
        name = free_id("total_" + "_".join(law.weights) if len(law.weights) <= 3 else "total_fast", taken)
        taken.add(name)
        constants.append(Constant(name, law.written, computed=True))
        quantities[name] = Quantity(name, "parameter", name=f"total {short_text(system, law.expression)}"[:200])
        meaning[graph.symbol(name)] = law.expression
        equations.append(graph.sub(law.expression, graph.symbol(name)))
    refuse_resets(system, unknowns, "which would follow the slow states at once")
    solution = solve(
        graph,
        equations,
        unknowns,
        branch_chooser(system, meaning, times, states),
        positive=system.positive_constants,
        defined=lambda node: bool(finite_along(system, graph.substitute([node], meaning), times, states).all()),
    )
    return _Step(
        EliminationPlan(_tidy(system, solution), constants=tuple(constants), quantities=quantities, shorten=True),
        solution,
    )


def _tidy(system: OdeSystem, solution: Solution) -> dict[str, Node]:
    names = list(solution.values)
    return dict(zip(names, simplified(system.graph, [solution.values[name] for name in names]), strict=True))


def _laws_of_all_values(system: OdeSystem) -> list[ConservationLaw]:
    """Conservation laws that no event changes and that do not rest on values of rate constants.

    An approximation should hold for other values, too. Stoichiometries with an id have their values.
    """
    try:
        laws = conserved_laws(system)
    except SbmlumpError:
        return []
    named = stoichiometric_constants(system)
    touched = {name for event in system.events for name, _ in (*event.assignments, *event.implied)}
    return [law for law in laws if named.issuperset(law.rests_on) and not touched & set(law.weights)]


def _tied(laws: Sequence[ConservationLaw], fast: Sequence[str]) -> list[ConservationLaw]:
    """Totals of fast states alone, or of fast states and one other state (which is in no second such total)."""
    chosen = set(fast)
    tied: list[ConservationLaw] = []
    partners: set[str] = set()
    for law in laws:
        others = set(law.weights) - chosen
        if not set(law.weights) & chosen or len(others) > 1 or others & partners:
            continue
        partners |= others
        tied.append(law)
    return tied


def _independent_rates(system: OdeSystem, fast: Sequence[str], laws: Sequence[ConservationLaw]) -> list[Node]:
    """Rates of fast states, without one for each total of fast states alone (the totals say what they would)."""
    closed = [law for law in laws if set(law.weights) <= set(fast)]
    place = {name: i for i, name in enumerate(fast)}
    rows = [{place[name]: value for name, value in law.weights.items()} for law in closed]
    dropped = set(echelon(rows, range(len(fast) - 1, -1, -1))[1])
    index = system.state_index
    return [system.rhs[index[name]] for i, name in enumerate(fast) if i not in dropped]


def branch_chooser(system: OdeSystem, meaning: dict[Node, Node], times: Array, states: Array) -> Chooser:
    """Choose between two roots by the nominal run: real, not negative, and the one that the state is near.

    Parameters
    ----------
    meaning : mapping of Node to Node
        What new symbols (totals, pools) are in terms of the original states.
    """
    graph = system.graph
    late = slice(len(times) // 4, None)  # the first part may still be the fast transient

    def choose(name: str, plus: Node, minus: Node) -> tuple[bool, bool, str]:
        nodes = graph.substitute([plus, minus], meaning)
        found = values(system, nodes, times[late], states[None, late])[0]
        actual = states[late, system.state_index[name]]
        real = np.isfinite(found).all(axis=1)
        if not real.any():
            message = f"the equation of {name} has no real root along the trajectory; it is not quasi-steady there"
            raise UnsupportedModelError(Reason("no-closed-form", message, name))
        found, actual = found[real], actual[real]
        tiny = 1e-9 * max(float(np.abs(actual).max(initial=0.0)), 1e-300)
        non_negative = (found >= -tiny).all(axis=0)
        distance = np.median(np.abs(found - actual[:, None]), axis=0)
        take_plus = bool(non_negative[0]) if non_negative[0] != non_negative[1] else bool(distance[0] <= distance[1])
        sizes = np.median(np.abs(found), axis=0)
        chosen, other = (0, 1) if take_plus else (1, 0)
        sign = "+" if take_plus else "-"
        if non_negative[0] != non_negative[1]:
            reason = f"the root with {sign} is the one that is not negative along the trajectory"
        else:
            reason = f"the root with {sign} is the one near {name} along the trajectory"
        return take_plus, bool(sizes[chosen] < sizes[other]), f"{reason} ({len(found)} points)"

    return choose
