"""A system without some of its states: they become assigned quantities, or constants where they rest.

Everything else stays what it was: reactions, events, assigned quantities and constraints, with the eliminated states
replaced. Initial values that hung on an eliminated state hang on a new constant that holds its initial value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, Literal

import numpy as np

from sbmlump.arrays import Array, Mask
from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.linalg.polynomial import in_lowest_terms, simplified
from sbmlump.model.domains import FloatDomain
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Node
from sbmlump.model.names import free_id
from sbmlump.model.program import Program
from sbmlump.model.reduced import (
    Certificate,
    Elimination,
    ErrorEstimate,
    Lump,
    LumpingMatrix,
    Observable,
    ReducedSystem,
    with_observables,
)
from sbmlump.model.system import (
    Assigned,
    Constant,
    Event,
    OdeSystem,
    Quantity,
    Reaction,
    with_trigger_values,
)
from sbmlump.model.text import to_text

__all__ = [
    "EliminationPlan",
    "eliminated_system",
    "elimination_of",
    "short_formula",
    "with_fluxes",
    "finite_along",
    "refuse_undefined",
    "undefined_parts",
    "with_defined_parts",
]


@dataclass(frozen=True)
class EliminationPlan:
    """What is to be eliminated.

    Attributes
    ----------
    values : mapping of state id to Node
        What takes the place of a state: an expression of states that stay, constants, new constants and time.
    resting : frozenset of str
        States that never change: they become constants under their own ids.
    constants : tuple of Constant
        New constants; in their values an eliminated state means its initial value.
    quantities : mapping of str to Quantity
        What is said of the new constants.
    new_states : mapping of id to (rate, initial value)
        States that take the place of eliminated ones (the pools of a quasi-equilibrium).
    lumps : mapping of new state id to its members
    shorten : bool
        Bring right-hand sides to lowest terms where that makes them shorter.
    """

    values: Mapping[str, Node]
    resting: frozenset[str] = frozenset()
    constants: tuple[Constant, ...] = ()
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    new_states: Mapping[str, tuple[Node, Node]] = field(default_factory=dict)
    lumps: Mapping[str, Mapping[str, Fraction]] = field(default_factory=dict)
    shorten: bool = False


def eliminated_system(
    system: OdeSystem, plan: EliminationPlan, observables: Iterable[Observable] = (), *, keep_reactions: bool = True
) -> tuple[OdeSystem, dict[str, str]]:
    """The system that is left, and which of its constants hold the initial value of which eliminated state.

    Parameters
    ----------
    keep_reactions : bool
        Whether the right-hand sides are still those of the reactions.
    """
    graph = system.graph
    mapping = {graph.symbol(name): node for name, node in plan.values.items()}

    def put(node: Node) -> Node:
        return graph.substitute([node], mapping)[0]

    gone = set(plan.values) | plan.resting
    kept = [i for i, name in enumerate(system.states) if name not in gone]
    starts = _Starts(system, plan, keep_reactions=keep_reactions)
    rhs = graph.substitute([system.rhs[i] for i in kept], mapping)
    rhs += [put(rate) for rate, _ in plan.new_states.values()]
    if plan.shorten:
        rhs = simplified(graph, rhs)
    initial = [starts.at_start(system.initial[i], system.states[i]) for i in kept]
    initial += [starts.at_start(node, name) for name, (_, node) in plan.new_states.items()]
    constants = [replace(c, value=starts.at_start(c.value, c.id)) for c in system.constants if c.value is not None]
    constants += [c for c in system.constants if c.value is None]
    constants += [
        Constant(name, starts.at_start(system.initial[system.state_index[name]], name)) for name in sorted(plan.resting)
    ]
    constants += [replace(c, value=starts.at_start(c.value, c.id)) for c in plan.constants if c.value is not None]
    assigned = [Assigned(name, put(node)) for name, node in plan.values.items()]
    assigned += [replace(a, value=put(a.value)) for a in system.assigned]
    taken = {system.states[i] for i in kept} | {a.id for a in assigned} | {c.id for c in constants}
    reactions = tuple(one.substituted(graph, mapping) for one in system.reactions) if keep_reactions else ()
    if plan.shorten:
        fluxes = simplified(graph, [one.flux for one in reactions])
        reactions = tuple(replace(one, flux=flux) for one, flux in zip(reactions, fluxes, strict=True))
    taken |= {one.id for one in reactions} | set(plan.new_states)
    for one in observables:
        if one.id not in taken:
            assigned.append(Assigned(one.id, put(one.expression)))
            taken.add(one.id)
    constants += starts.made
    quantities = dict(system.quantities) | dict(plan.quantities) | starts.quantities
    made = replace(
        system,
        states=(*(system.states[i] for i in kept), *plan.new_states),
        initial=tuple(initial),
        rhs=tuple(rhs),
        constants=tuple(constants),
        assigned=tuple(assigned),
        reactions=reactions,
        events=tuple(_event(system, event, put, gone) for event in system.events),
        constraints=tuple(replace(c, condition=put(c.condition)) for c in system.constraints),
        algebraic=(),
        quantities=quantities,
    )
    return made, starts.origins


class _Starts:
    """Rewrites expressions of time 0 so that they do not go through eliminated states."""

    def __init__(self, system: OdeSystem, plan: EliminationPlan, *, keep_reactions: bool) -> None:
        self._system = system
        self._gone = frozenset(plan.values)
        graph = system.graph
        changing = {a.id for a in system.assigned if graph.symbols([a.value]) & self._gone}
        changing |= {r.id for r in system.reactions if not keep_reactions or graph.symbols([r.flux]) & self._gone}
        self._indirect = changing
        self._taken = set(system.taken_ids) | set(plan.new_states)
        self._taken |= {c.id for c in plan.constants}
        self._names: dict[str, str] = {}
        self.made: list[Constant] = []
        self.quantities: dict[str, Quantity] = {}
        self.origins: dict[str, str] = {}

    def at_start(self, node: Node, owner: str) -> Node:
        """``node`` with eliminated states replaced by constants that hold their initial values."""
        system, graph = self._system, self._system.graph
        symbols = graph.symbols([node])
        if symbols & self._indirect:
            # open what stands in the way, at time 0
            names = sorted(symbols & self._indirect)
            values = graph.substitute([system.definitions[name] for name in names], {graph.time(): graph.number(0)})
            node = graph.substitute([node], {graph.symbol(n): v for n, v in zip(names, values, strict=True)})[0]
            symbols = graph.symbols([node])
        used = sorted(symbols & self._gone)
        return graph.substitute([node], {graph.symbol(name): graph.symbol(self._start_of(name)) for name in used})[0]

    def _start_of(self, name: str) -> str:
        known = self._names.get(name)
        if known is not None:
            return known
        new = free_id(f"{name}_at_start", self._taken)
        self._taken.add(new)
        self._names[name] = new
        self.origins[new] = name
        given = self._system.initial[self._system.state_index[name]]
        self.made.append(Constant(new, self.at_start(given, name)))
        self.quantities[new] = Quantity(new, "parameter", name=f"initial value of {name}")
        return new


def _event(system: OdeSystem, event: Event, put: Callable[[Node], Node], gone: Collection[str]) -> Event:
    assignments, implied, unscaled = (
        tuple((name, put(node)) for name, node in pairs if name not in gone)
        for pairs in (event.assignments, event.implied, event.unscaled)
    )
    values = [node for _, node in (*assignments, *implied, *unscaled)]
    moved = event.carried(put, assignments, implied=implied, unscaled=unscaled)
    return replace(moved, use_trigger_values=with_trigger_values(system, event, values))


def with_fluxes(system: OdeSystem, before: OdeSystem, wanted: Iterable[str]) -> OdeSystem:
    """The system with assigned quantities for fluxes that are needed although their reactions are no longer there.

    Parameters
    ----------
    before : OdeSystem
        The system with these reactions; both have the same states.
    wanted : iterable of str
        Ids that have to stay, besides those that stand in initial values.
    """
    fluxes = {one.id: one.flux for one in before.reactions} | {one.id: one.value for one in before.assigned}
    given = [*system.initial, *(c.value for c in system.constants if c.value is not None)]
    needed = {*wanted, *system.graph.symbols(given)} - set(system.definitions)
    new = tuple(Assigned(name, fluxes[name]) for name in fluxes if name in needed)
    return replace(system, assigned=(*system.assigned, *new)) if new else system


def elimination_of(
    original: OdeSystem,
    system: OdeSystem,
    observables: Sequence[Observable],
    certificate: Certificate,
    method: str,
    *,
    starts: Mapping[str, str] | None = None,
    totals: Mapping[str, Node] | None = None,
    members: Mapping[str, Mapping[str, Fraction]] | None = None,
    seconds: Mapping[str, float] | None = None,
    reasons: Sequence[Reason] = (),
) -> ReducedSystem:
    """Put original, reduced system and certificate together.

    Parameters
    ----------
    starts : mapping of str to str, optional
        Constants that hold initial values, as :func:`eliminated_system` returns them.
    totals : mapping of str to Node, optional
        Constants whose initial assignments do not tell what they are at all times: what each is in the original.
    members : mapping of state id to its members, optional
        For states of the reduced system that are not states of the original.
    reasons : sequence of Reason
        See :class:`~sbmlump.model.reduced.ReducedSystem`.
    """
    index = original.state_index
    members = members or {}
    lumps = tuple(Lump(name, dict(members.get(name, {name: Fraction(1)}))) for name in system.states)
    rows = tuple({index[j]: value for j, value in lump.members.items()} for lump in lumps)
    defined = system.definitions
    kept = set(system.states)
    assigned = tuple(name for name in original.states if name in defined and name not in kept)
    matrix = LumpingMatrix(original.states, rows)
    lift = LumpingMatrix(original.states, tuple(_lift_row(row, i, rows) for i, row in enumerate(rows)))
    return ReducedSystem(
        original,
        system,
        tuple(observables),
        lumps,
        Elimination(
            matrix,
            lift,
            assigned=assigned,
            starts={name: {state: Fraction(1)} for name, state in (starts or {}).items()},
            totals=dict(totals or {}),
        ),
        certificate,
        method,
        dict(seconds or {}),
        reasons=tuple(reasons),
    )


def _lift_row(row: Mapping[int, Fraction], i: int, rows: Sequence[Mapping[int, Fraction]]) -> Mapping[int, Fraction]:
    """A column of a right inverse: by a member that no other lump has."""
    for j, value in sorted(row.items()):
        if not any(j in other for k, other in enumerate(rows) if k != i):
            return {j: 1 / value}
    return {min(row): 1 / row[min(row)]}


# -- Whether what a reduction writes ---------------------------------------------------------------

# Whether what a reduction writes has finite values where the original has them: at its initial values, along a run.
#
# A formula may be right almost everywhere and still be 0/0 where the model begins: a quasi-steady state X = k₁A/(k₂B)
# while nothing of B is there. Every simulator stops on it, so it is looked for in what will be written (initial values,
# right-hand sides, fluxes, assigned quantities), evaluated as a simulator does, operation by operation: putting numbers
# in place of constants first would fold 0·(1/0) to 0.


Part = tuple[Literal["initial value", "rate", "value"], str]
"""What of which id: its initial value, its rate, or its value at all times (assigned quantities, fluxes)."""
_FLOAT: Final = FloatDomain()
_CODE: Final = "undefined-at-start"
_MOST_SHOWN: Final = 160  # characters of a formula within a message


def undefined_parts(
    system: OdeSystem, times: Array | None = None, states: Array | None = None
) -> dict[Part, Node | None]:
    """What has no finite value at the initial values or at one of some points, with its formula.

    Parameters
    ----------
    system : OdeSystem
    times : array (k,), optional
    states : array (k, n), optional
        Further points beside the initial one, such as those of a run.
    """
    start = system.initial_state()
    found: dict[Part, Node | None] = {
        ("initial value", name): None
        for name, value in zip(system.states, start, strict=True)
        if not np.isfinite(value)
    }
    found |= {("initial value", name): None for name, value in _constants(system).items() if not np.isfinite(value)}
    parts = _parts(system)
    points = start[None, :] if states is None else np.vstack([start, states])
    clock = np.zeros(1) if times is None else np.concatenate([[0.0], times])
    finite = finite_along(system, list(parts.values()), clock, points)
    found |= {part: node for (part, node), good in zip(parts.items(), finite, strict=True) if not good}
    return found


def finite_along(system: OdeSystem, nodes: Sequence[Node], times: Array, states: Array) -> Mask:
    """Whether each expression is finite at all points, (len(nodes),), evaluated as a simulator evaluates it.

    Parameters
    ----------
    times : array (k,)
    states : array (k, n)
    """
    graph = system.graph
    constants = _constants(system)
    inputs = [*map(graph.symbol, system.states), *map(graph.symbol, constants), graph.time()]
    fixed = np.broadcast_to(np.array(list(constants.values()))[:, None], (len(constants), len(times)))
    with np.errstate(all="ignore"):
        program = Program(graph, nodes, inputs)
        tape = program.run(_FLOAT, np.concatenate([states.T, fixed, times[None, :]]))
        return np.asarray(np.isfinite(program.outputs(tape)).all(axis=1))


def _constants(system: OdeSystem) -> dict[str, float]:
    """Every constant as a double, NaN where the file gives no value."""
    known = system.constant_values
    numbers = dict(zip(known, values_of(system.graph, list(known.values())), strict=True))
    return {c.id: float(numbers.get(c.id, np.nan)) for c in system.constants}


def _parts(system: OdeSystem) -> dict[Part, Node]:
    parts: dict[Part, Node] = {("rate", name): node for name, node in zip(system.states, system.rhs, strict=True)}
    parts |= {("value", one.id): one.value for one in system.assigned}
    parts |= {("value", one.id): one.flux for one in system.reactions}
    return parts


# -- another form ------------------------------------------------------------------------------------


def with_defined_parts(
    system: OdeSystem, times: Array, states: Array, droppable: Collection[str]
) -> tuple[OdeSystem, tuple[str, ...]]:
    """The system with formulas in lowest terms where they have no finite value as they are, and what was left out.

    Lowest terms take away what may be cancelled: k₂·B·(k₁·A/(k₂·B)) is k₁·A, also where B is 0. An assigned quantity
    that has no finite value in lowest terms either is left out if that is allowed: it has none at that point. So is a
    reaction whose flux has none, if it changes no state any more.

    Parameters
    ----------
    times, states
        See :func:`undefined_parts`.
    droppable : collection of str
        Assigned quantities and reactions that nothing else needs.
    """
    bad = undefined_parts(system, times, states)
    if not bad:
        return system, ()
    mapping = {node: in_lowest_terms(system.graph, node) for node in bad.values() if node is not None}
    system = replace(
        system,
        rhs=tuple(mapping.get(node, node) if ("rate", name) in bad else node for name, node in _rates(system)),
        assigned=tuple(
            replace(one, value=mapping[one.value]) if ("value", one.id) in bad else one for one in system.assigned
        ),
        reactions=tuple(
            replace(one, flux=mapping[one.flux]) if ("value", one.id) in bad else one for one in system.reactions
        ),
    )
    left = {name for what, name in undefined_parts(system, times, states) if what == "value"} & set(droppable)
    gone = [one.id for one in system.assigned if one.id in left]
    # a flux may be unknown because a size is, and at time 0 it may stand in the value of a constant
    begin = [*system.initial, *(c.value for c in system.constants if c.value is not None)]
    left -= {r.id for r in system.reactions if system.without_value([r.flux])} | system.graph.symbols(begin)
    for one in system.reactions:
        changed = {part.species for part in (*one.reactants, *one.products)}
        if one.id in left and changed.isdisjoint(system.states):
            gone.append(one.id)
    return (_left_out(system, frozenset(gone)), tuple(gone)) if gone else (system, ())


def _rates(system: OdeSystem) -> list[tuple[str, Node]]:
    return list(zip(system.states, system.rhs, strict=True))


def _left_out(system: OdeSystem, gone: frozenset[str]) -> OdeSystem:
    """Without assigned quantities and reactions; the other reactions go on without them."""

    def moved(reaction: Reaction) -> Reaction:
        return replace(
            reaction,
            reactants=tuple(one for one in reaction.reactants if one.species not in gone),
            products=tuple(one for one in reaction.products if one.species not in gone),
            modifiers=tuple(name for name in reaction.modifiers if name not in gone),
        )

    return replace(
        system,
        assigned=tuple(one for one in system.assigned if one.id not in gone),
        reactions=tuple(moved(one) for one in system.reactions if one.id not in gone),
        quantities={name: one for name, one in system.quantities.items() if name not in gone},
    )


# -- the guard ---------------------------------------------------------------------------------------


def refuse_undefined(reduction: ReducedSystem) -> None:
    """Refuse a reduction that has no finite value at its own initial values where the original has one.

    So is an approximation that could not be followed from there to the end time.

    Raises
    ------
    UnsupportedModelError
        With code ``undefined-at-start`` and the formula; ``not-followed``.
    """
    bad = undefined_parts(reduction.system)
    if bad:
        before = set(undefined_parts(with_observables(reduction.original, reduction.observables)))
        lost = {part: node for part, node in bad.items() if not _was_undefined(reduction, part, before)}
        if lost:
            raise UnsupportedModelError([_reason(reduction, part, node) for part, node in lost.items()])
    certificate = reduction.certificate
    if isinstance(certificate, ErrorEstimate) and certificate.details.get("nominal_error", 0.0) is None:
        message = (
            f"the model that the method {reduction.method} leaves cannot be followed from its own initial values to "
            f"time {certificate.horizon:g}, although the original can; choose other options or another method"
        )
        raise UnsupportedModelError(Reason("not-followed", message))


def _was_undefined(reduction: ReducedSystem, part: Part, before: Collection[Part]) -> bool:
    """Whether the original has no finite value there either, or, for new ids, in what they may be made of."""
    what, name = part
    original = reduction.original
    if name in original.state_index or name in original.definitions:
        return part in before or ("initial value", name) in before
    members = next((lump.members for lump in reduction.lumps if lump.id == name), None)
    if members is not None:
        return any((what, member) in before for member in members)
    if any(one.id == name for one in reduction.observables):
        return part in before
    return any(kind == what for kind, _ in before)


def _reason(reduction: ReducedSystem, part: Part, node: Node | None) -> Reason:
    what, name = part
    text = "" if node is None else short_formula(to_text(reduction.system.graph, node))
    meant = {"initial value": "initial value", "rate": f"rate ({text})", "value": f"value ({text})"}[what]
    message = (
        f"by the method {reduction.method} {name} would have no finite {meant} at the initial values of the file, "
        "although it has one in the original; choose other options, such as other fast quantities, or another method"
    )
    return Reason(_CODE, message, name)


def short_formula(text: str) -> str:
    """As much of a formula as a message shows."""
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 2]} …"
