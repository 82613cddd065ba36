"""Fast reactions: what SBML up to Level 3 Version 1 says of reactions with ``fast="true"``.

They are at equilibrium at all times, after any disturbance at once; the others act on what the fast ones conserve
(Level 2 Version 4, section 4.13.6). With N the stoichiometric matrix of the fast reactions and v their fluxes, the
species x that they change are the limit of the *fast flow* dx/ds = N·v(x), s → ∞, and the sums p = W·x with W·N = 0
are states: their rates hold the fluxes of slow reactions only. So p begins at W·x(0), an event that sets a member of p
sets p, and x = h(p) at all times.

h is found in closed form: of each equilibrium condition one factor vanishes; each choice of factors (and of the sign
of a root) is a *family* of solutions, and a family is used where the fast flow leads to it, which is tried at random
states: A + B → C leaves A or B, whichever is less, and that is written as a piecewise expression. What passes
no such trial is refused.

A fast reaction that an event switches off (its flux is 0 then, whatever the species are) leaves no such trace in p; its
species stay states, with rates along the equilibrium while it is on, and are put onto it by the events that touch them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.errors import Reason, UnsupportedModelError, some_names
from sbmlump.linalg.basis import choose_basis
from sbmlump.linalg.polynomial import RationalFunctions, simplified
from sbmlump.linalg.rational import Span, left_null_space, primitive
from sbmlump.linalg.solve import solve
from sbmlump.model.evaluate import Evaluator, values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.names import pool_name
from sbmlump.model.system import (
    Assigned,
    Event,
    OdeSystem,
    Participant,
    Quantity,
    Reaction,
    event_label,
    new_values,
    values_may_change,
)

__all__ = ["EquilibriumSettings", "at_equilibrium"]

_CODE: Final = "no-fast-equilibrium"


@dataclass(frozen=True, slots=True)
class EquilibriumSettings:
    """How an equilibrium of fast reactions is looked for.

    Attributes
    ----------
    samples : int
        Random states at which the closed form is held against the fast flow, beside the initial values.
    spread : float
        Standard deviation of the logarithm of a sampled value around the one of the file.
    seed : int
    horizon : float
        How long the fast flow is followed, in units of its first time scale: what decays as 1/s is within
        ``accuracy`` then.
    steps : int
        Of the integrator, for one such run.
    relative, absolute : float
        Its tolerances, well below ``accuracy``; the absolute one relative to the largest species.
    accuracy : float
        Difference that is taken for none, relative to the largest value of the state.
    families : int
        Choices of factors that are tried.
    conditions : int
        Of piecewise expressions in the fluxes; each doubles the cases.
    named : int
        Ids that a message names.
    """

    samples: int = 10
    spread: float = 1.0
    seed: int = 20_091
    horizon: float = 1e11
    steps: int = 50_000
    relative: float = 1e-8
    absolute: float = 1e-12
    accuracy: float = 1e-5
    families: int = 32
    conditions: int = 3
    named: int = 6


_SETTINGS: Final = EquilibriumSettings()
_NO_PAST: Final[Mapping[str, tuple[str, Fraction]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _FastReaction:
    """Flux, and what it does to each species that it changes, in amounts (over the conversion factor)."""

    id: str
    flux: Node
    change: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class _Equilibrium:
    """What one group of fast reactions comes to.

    Attributes
    ----------
    values : mapping of species to Node
        Over the symbols of ``pools``, other states, constants and time.
    pools : mapping of id to Node
        What each new state is, over species.
    rates : mapping of id to Node
        Of the pools, by slow reactions.
    switch : Node or None
        What is 0 while the reactions are switched off.
    """

    values: Mapping[str, Node]
    pools: Mapping[str, Node]
    rates: Mapping[str, Node]
    switch: Node | None


def at_equilibrium(
    system: OdeSystem,
    fast: Sequence[str],
    past: Mapping[str, tuple[str, Fraction]] = _NO_PAST,
    settings: EquilibriumSettings = _SETTINGS,
) -> tuple[OdeSystem, Reason]:
    """The system with some of its reactions at equilibrium at all times.

    Parameters
    ----------
    system : OdeSystem
        As if all its reactions were ordinary ones.
    fast : sequence of str
        Ids of reactions.
    past : mapping of symbol to (id, time)
        Symbols that stand for the value of an id some time ago. They are known where the id has one value before time
        0 and one after it, as species of fast reactions may have.
    settings : EquilibriumSettings

    Returns
    -------
    system : OdeSystem
        The species that fast reactions change are assigned quantities, what these conserve are states.
    remark : Reason

    Raises
    ------
    UnsupportedModelError
        Codes ``no-fast-equilibrium``, ``event-not-lumpable``, ``delay``.
    """
    wanted = set(fast)
    moving = [_changes(system, one) for one in system.reactions if one.id in wanted]
    early = [
        *system.initial,
        *(c.value for c in system.constants if c.value is not None),
        *(one.flux for one in moving),
    ]
    for symbol in sorted(system.graph.symbols(early) & past.keys()):
        raise _unknown_past(past[symbol][0])
    groups = _groups(system, [one for one in moving if one.change and not _never(system, one)])
    taken = set(system.taken_ids)
    found = [_EquilibriumGroup(system, group, wanted, settings).equilibrium(taken) for group in groups]
    made = _rewritten(system, wanted, found, past)
    given = [*made.initial, *(constant.value for constant in made.constants if constant.value is not None)]
    for symbol in sorted(system.graph.symbols(given) & past.keys()):
        raise _unknown_past(past[symbol][0])
    names = [name for one in found for name in one.values]
    pools = [name for one in found if one.switch is None for name in one.pools]
    text = (
        f"{_count(len(fast), 'reaction')} declared fast ({_listed(list(fast))}) and held at equilibrium at all times: "
        f"formulas give {_listed(names) or 'nothing'}" + (f" of what they conserve ({_listed(pools)})" if pools else "")
    )
    return made, Reason("fast-at-equilibrium", text)


def _listed(names: Sequence[str]) -> str:
    return some_names(names, _SETTINGS.named)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun} is" if number == 1 else f"{number} {noun}s are"


def _refused(group: Sequence[str], why: str) -> UnsupportedModelError:
    message = (
        f"the fast reactions {_listed(list(group))} cannot be put at equilibrium: {why}; "
        "--fast-reactions ordinary takes them for ordinary reactions"
    )
    return UnsupportedModelError(Reason(_CODE, message, group[0]))


# -- what the fast reactions change ------------------------------------------------------------------


def _changes(system: OdeSystem, reaction: Reaction) -> _FastReaction:
    graph = system.graph
    change: dict[str, Node] = {}
    for sign, part in reaction.participants:
        if _is_changed(system, part):
            term = graph.scaled(sign, part.stoichiometry)
            change[part.species] = graph.add((change[part.species], term)) if part.species in change else term
    return _FastReaction(reaction.id, reaction.flux, {k: v for k, v in change.items() if graph.number_of(v) != 0})


def _is_changed(system: OdeSystem, part: Participant) -> bool:
    quantity = system.quantities.get(part.species)
    return part.species in system.state_index and not (quantity is not None and quantity.boundary)


def _never(system: OdeSystem, one: _FastReaction) -> bool:
    """Whether the flux is 0 whatever the states are, with the values of the file."""
    graph = system.graph
    flux = graph.substitute([one.flux], system.specialised())[0]
    if graph.number_of(flux) == 0:
        return True
    names = graph.symbols([flux])
    fractions = RationalFunctions(graph, [flux, *(graph.symbol(name) for name in names)])
    quotient = fractions.of(flux)
    if quotient is None or quotient.top == 0:
        return quotient is not None
    _, factors = quotient.top.factor()
    fixed = [fractions.polynomial_node(factor) for factor, _ in factors]
    fixed = [node for node in fixed if not graph.symbols([node]) and not graph.depends_on_time([node])]
    return bool((values_of(graph, fixed) == 0).any())


def _groups(system: OdeSystem, fast: Sequence[_FastReaction]) -> list[list[_FastReaction]]:
    """Fast reactions that have to be solved together: by what they change, and by what their fluxes depend on."""
    graph = system.graph
    involved = {name for one in fast for name in one.change}
    groups: list[tuple[set[str], list[_FastReaction]]] = []
    for one in fast:
        others = [one.flux, *one.change.values(), *(_measure(system, name) for name in one.change)]
        touched = set(one.change) | (graph.symbols(others) & involved)
        members = [one]
        for group in [group for group in groups if group[0] & touched]:
            groups.remove(group)
            touched |= group[0]
            members = group[1] + members
        groups.append((touched, members))
    return [members for _, members in groups]


def _measure(system: OdeSystem, name: str) -> Node:
    """What a value of a species is multiplied with for the amount that fluxes count: size over conversion factor."""
    graph = system.graph
    size = system.compartment_of(name)
    top = graph.number(1) if size is None else system.definitions[size]
    factor = system.conversion_factor_of(name)
    return top if factor is None else graph.div(top, system.definitions[factor])


# -- one group ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _EquilibriumGroup:
    """Fast reactions that are solved together."""

    system: OdeSystem
    reactions: Sequence[_FastReaction]
    fast: set[str]
    settings: EquilibriumSettings
    pools: dict[str, Node] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """Holds everything."""
        return self.system.graph

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the reactions."""
        return tuple(one.id for one in self.reactions)

    @cached_property
    def species(self) -> tuple[str, ...]:
        """What the reactions change, in the order of the states."""
        found = {name for one in self.reactions for name in one.change}
        return tuple(sorted(found, key=self.system.state_index.__getitem__))

    @cached_property
    def measures(self) -> dict[str, Node]:
        """Of the species; all 1 where they are the same constant, so that sums are in the units of the species."""
        graph, system = self.graph, self.system
        table = {name: _measure(system, name) for name in self.species}
        constants = {constant.id for constant in system.constants}
        varies = graph.symbols(table.values()) - constants or graph.depends_on_time(table.values())
        if len(set(table.values())) == 1 and not varies:
            return dict.fromkeys(table, graph.number(1))
        return table

    def equilibrium(self, taken: set[str]) -> _Equilibrium:
        """Solve, try, and put together."""
        graph = self.graph
        rows = self._invariants()
        sums = [
            graph.add(graph.mul((weight, self.measures[n], graph.symbol(n))) for n, weight in row.items())
            for row in rows
        ]
        for row, total in zip(rows, sums, strict=True):
            name = pool_name(list(row), taken)
            taken.add(name)
            self.pools[name] = total
        rates = {name: self._slow_rate(row, total) for (name, total), row in zip(self.pools.items(), rows, strict=True)}
        switch = self._switch()
        values = self._values(switch)
        return _Equilibrium(values, dict(self.pools), rates, switch)

    # -- what is conserved ---------------------------------------------------------------------------

    def _invariants(self) -> list[dict[str, Node]]:
        """Weights of the sums that no reaction of the group changes."""
        graph = self.graph
        numbers = [{n: graph.number_of(v) for n, v in one.change.items()} for one in self.reactions]
        if all(value is not None for one in numbers for value in one.values()):
            rows = [
                {i: value for i, one in enumerate(numbers) if (value := one.get(name)) is not None}
                for name in self.species
            ]
            basis, pivots = left_null_space(rows, len(numbers))
            if not basis:
                return []
            chosen = [primitive(row) for row in choose_basis(basis, pivots).rows]
            return [{self.species[j]: graph.number(value) for j, value in row.items()} for row in chosen]
        if len(self.reactions) > 1:
            raise _refused(self.ids, "stoichiometries that are not numbers stand in several coupled reactions")
        (one,) = self.reactions
        pivot = next((n for n in self.species if graph.number_of(one.change[n]) is not None), self.species[0])
        below = one.change[pivot]
        one_ = graph.number(1)
        return [
            {name: one_, pivot: graph.neg(graph.div(one.change[name], below))} for name in self.species if name != pivot
        ]

    def _slow_rate(self, row: Mapping[str, Node], total: Node) -> Node:
        """Of a sum: what slow reactions do to its members, and what changes its weights."""
        graph, system = self.graph, self.system
        terms: list[Node] = []
        for reaction in system.reactions:
            if reaction.id in self.fast:
                continue
            parts = [
                graph.mul((graph.scaled(sign, row[part.species]), part.stoichiometry))
                for sign, part in reaction.participants
                if part.species in row
            ]
            if parts:
                terms.append(graph.mul((graph.add(parts), reaction.flux)))
        rate = graph.add(terms)
        unit = _measure(system, self.species[0])
        if unit != self.measures[self.species[0]]:
            rate = graph.div(rate, unit)
        seeds = {graph.symbol(n): f for n, f in zip(system.states, system.rhs, strict=True)}
        seeds[graph.time()] = graph.number(1)
        for name, weight in row.items():
            if graph.symbols([weight]) & set(system.states) or graph.depends_on_time([weight]):
                drift = graph.derivative(weight, seeds)
                if drift != graph.number(0):
                    raise _refused(self.ids, f"the stoichiometry of {name} changes with time")
        return simplified(graph, [rate])[0]

    # -- switched off --------------------------------------------------------------------------------

    def _switch(self) -> Node | None:
        """The factor of the fluxes that only events set and that may be 0."""
        found = {self._switch_of(one) for one in self.reactions}
        if len(found) > 1:
            raise _refused(self.ids, "events switch some of them on and off, and not the others")
        return found.pop()

    def _switch_of(self, one: _FastReaction) -> Node | None:
        graph, system = self.graph, self.system
        zero = graph.number(0)
        set_by_events = {
            name
            for event in system.events
            for name in new_values(event)
            if system.rhs[system.state_index[name]] == zero and name not in self.species and not self._is_size(name)
        }
        factors = [node for node in self._factors(one.flux) if not graph.symbols([node]) & set(self.species)]
        factors = [node for node in factors if (names := graph.symbols([node])) and names <= set_by_events]
        factors = [node for node in factors if self._may_vanish(node)]
        return graph.mul(factors) if factors else None

    def _is_size(self, name: str) -> bool:
        """Whether it is the size of a compartment, which is never 0."""
        quantity = self.system.quantities.get(name)
        return quantity is not None and quantity.kind == "compartment"

    def _may_vanish(self, node: Node) -> bool:
        """Whether an event, or the initial value, makes a factor 0; also where that is not known."""
        graph, system = self.graph, self.system
        (name,) = names if len(names := graph.symbols([node])) == 1 else (None,)
        if name is None:
            return True
        given = [system.initial_values[system.state_index[name]]]
        given += [new_values(event).get(name) for event in system.events if name in new_values(event)]
        fixed = graph.substitute([node for node in given if node is not None], system.specialised())
        if any(graph.symbols([value]) or graph.depends_on_time([value]) for value in fixed):
            return True
        at = graph.substitute([node], system.specialised())[0]
        numbers = [graph.substitute([at], {graph.symbol(name): value})[0] for value in fixed]
        return bool((values_of(graph, numbers) == 0).any())

    def _factors(self, node: Node) -> list[Node]:
        graph = self.graph
        fractions = RationalFunctions(graph, [node, *(graph.symbol(name) for name in self.species)])
        quotient = fractions.of(node)
        if quotient is None:
            raise _refused(self.ids, "their fluxes are too large")
        if quotient.top == 0:
            return []
        _, factors = quotient.top.factor()
        return [fractions.polynomial_node(factor) for factor, _ in factors]

    # -- closed forms --------------------------------------------------------------------------------

    def _values(self, switch: Node | None) -> dict[str, Node]:
        """The species, over pools and everything else."""
        graph = self.graph
        conditions = self._conditions()
        samples = _Samples(self, conditions, switch)
        pieces: list[tuple[list[Node], Node]] = []
        always = graph.truth(True)
        for truths in itertools.product((True, False), repeat=len(conditions)):
            inside = {node: graph.truth(truth) for node, truth in zip(conditions, truths, strict=True)}
            fluxes = graph.substitute([one.flux for one in self.reactions], inside)
            holds = [
                node if truth else graph.call("not", (node,)) for node, truth in zip(conditions, truths, strict=True)
            ]
            where = samples.where(truths)
            if not where.any():
                raise _refused(self.ids, "their fluxes have conditions that are not seen both true and false")
            values = self._in_one_piece(fluxes, samples, where)
            pieces.append((values, graph.call("and", holds) if len(holds) > 1 else holds[0] if holds else always))
        if not conditions:
            return dict(zip(self.species, pieces[0][0], strict=True))
        return {
            name: graph.piecewise([(values[i], holds) for values, holds in pieces[:-1]], pieces[-1][0][i])
            for i, name in enumerate(self.species)
        }

    def _conditions(self) -> list[Node]:
        graph = self.graph
        found: dict[Node, None] = {}
        for node in graph.reachable([one.flux for one in self.reactions]):
            if graph.op(node) is Op.PIECEWISE:
                found.update(dict.fromkeys(graph.args(node)[1::2]))
        if graph.symbols(found) & set(self.species):
            raise _refused(self.ids, "their fluxes have conditions that depend on the species they change")
        if len(found) > self.settings.conditions:
            raise _refused(self.ids, f"their fluxes have more than {self.settings.conditions} conditions")
        return list(found)

    def _in_one_piece(self, fluxes: Sequence[Node], samples: _Samples, where: Mask) -> list[Node]:
        """The family, or the families by their conditions, that the fast flow leads to at the samples."""
        choices = [self._choices(node) for node in self._net(fluxes)]
        number = int(np.prod([len(one) for one in choices]))
        if number > self.settings.families:
            raise _refused(self.ids, f"there are {number} families of solutions")
        families: list[list[Node]] = []
        why: UnsupportedModelError | None = None
        for factors in itertools.product(*choices):
            for sign in (True, False):
                chooser = _Chooser(self, samples, sign)
                try:
                    solution = self._solved(factors, chooser, samples)
                except UnsupportedModelError as error:
                    why = error
                    break
                families.append(solution)
                if not chooser.asked:
                    break
        if not families:
            assert why is not None
            raise _refused(self.ids, why.reasons[0].message.partition("; ")[0])
        close = [samples.close(family) for family in families]
        for family, good in zip(families, close, strict=True):
            if good[where].all():
                return family
        used = [i for i, good in enumerate(close) if good[where].any()]
        used.sort(key=lambda i: -int(close[i][where].sum()))
        for attracting in (False, True):
            together = self._by_conditions([families[i] for i in used], fluxes, samples, where, attracting=attracting)
            if together is not None and samples.close(together)[where].all():
                return together
        raise _refused(self.ids, "no solution of their equilibrium conditions is where the fast reactions lead to")

    def _by_conditions(
        self,
        families: Sequence[Sequence[Node]],
        fluxes: Sequence[Node],
        samples: _Samples,
        where: Mask,
        *,
        attracting: bool,
    ) -> list[Node] | None:
        """Families by where no species is negative, and, of one reaction, where the flux falls with its extent."""
        graph = self.graph
        zero = graph.number(0)
        if not families or (attracting and len(fluxes) > 1):
            return None
        pieces: list[tuple[Sequence[Node], Node]] = []
        for family in families:
            numbers = samples.values(family)[where]
            tests = [
                graph.call("geq", (node, zero))
                for node, column in zip(family, numbers.T, strict=True)
                if (column < 0).any()
            ]
            if attracting:
                (one,) = self.reactions
                seeds = {
                    graph.symbol(n): graph.div(one.change[n], _measure(self.system, n))
                    for n in self.species
                    if n in one.change
                }
                slope = graph.derivative(fluxes[0], seeds)
                here = graph.substitute([slope], self._mapping(family))[0]
                tests.append(graph.call("lt", (simplified(graph, [here])[0], zero)))
            holds = graph.call("and", tests) if len(tests) > 1 else tests[0] if tests else graph.truth(True)
            pieces.append((family, holds))
        last = pieces[-1][0]
        return [
            graph.piecewise([(family[i], holds) for family, holds in pieces[:-1]], last[i])
            for i in range(len(self.species))
        ]

    def _mapping(self, family: Sequence[Node]) -> dict[Node, Node]:
        return {self.graph.symbol(name): node for name, node in zip(self.species, family, strict=True)}

    def _net(self, fluxes: Sequence[Node]) -> list[Node]:
        """Independent conditions: each flux is 0, or, of dependent reactions, the net change of species is."""
        graph = self.graph
        wanted = len(self.species) - len(self.pools)
        if wanted == len(fluxes):
            return list(fluxes)
        conditions: list[Node] = []
        span: Span[int] = Span()
        for name in self.species:
            row: dict[int, Fraction] = {}
            for i, one in enumerate(self.reactions):
                value = graph.number_of(one.change[name]) if name in one.change else None
                if value:
                    row[i] = value
            if span.add(row):
                conditions.append(graph.weighted_sum(row, fluxes.__getitem__))
        return conditions

    def _choices(self, condition: Node) -> list[Node]:
        """Factors of a condition of which one has to vanish."""
        found = [node for node in self._factors(condition) if self.graph.symbols([node]) & set(self.species)]
        if not found:
            raise _refused(self.ids, "a flux does not depend on what it changes, so that it never comes to an end")
        return found

    def _solved(self, factors: Sequence[Node], chooser: _Chooser, samples: _Samples) -> list[Node]:
        graph = self.graph
        totals = [graph.sub(total, graph.symbol(name)) for name, total in self.pools.items()]
        solution = solve(
            graph,
            [*factors, *totals],
            self.species,
            chooser,
            positive=self.system.positive_constants,
            defined=lambda node: bool(np.isfinite(samples.values([node])).all()),
        )
        return simplified(graph, [solution.values[name] for name in self.species])


@dataclass
class _Chooser:
    """Takes one root of a quadratic equation, and remembers that it was asked."""

    group: _EquilibriumGroup
    samples: _Samples
    plus: bool
    asked: bool = False

    def __call__(self, name: str, plus: Node, minus: Node) -> tuple[bool, bool, str]:
        self.asked = True
        sizes = np.nanmedian(np.abs(self.samples.values([plus, minus])), axis=0)
        mine, other = (sizes[0], sizes[1]) if self.plus else (sizes[1], sizes[0])
        return self.plus, bool(mine < other), f"the root of {name} that the fast reactions lead to"


class _Samples:
    """The initial state and random ones, and where the fast flow leads from there."""

    def __init__(self, group: _EquilibriumGroup, conditions: Sequence[Node], switch: Node | None) -> None:
        self._group = group
        system, graph = group.system, group.graph
        fluxes = [one.flux for one in group.reactions]
        needed = graph.symbols([*fluxes, *group.pools.values(), *group.measures.values(), *_all_changes(group)])
        needed |= graph.symbols([_measure(system, name) for name in group.species])
        self._others = [n for n in system.states if n in needed and n not in group.species]
        constants = system.constant_values
        names = [*group.species, *self._others]
        rates = []
        for name in group.species:
            terms = [graph.mul((one.change[name], one.flux)) for one in group.reactions if name in one.change]
            rates.append(graph.div(graph.add(terms), _measure(system, name)))
        self._rates = Evaluator(graph, rates, names, constants)
        one = graph.number(1)
        slopes = [graph.derivative(rate, {graph.symbol(name): one}) for rate in rates for name in group.species]
        self._slopes = Evaluator(graph, slopes, names, constants)
        self._pools = Evaluator(graph, list(group.pools.values()), names, constants)
        self._truths = Evaluator(graph, list(conditions), names, constants)
        self._switch = None if switch is None else Evaluator(graph, [switch], names, constants)
        self._draw(graph.symbols(conditions), graph.depends_on_time([*fluxes, *conditions]))

    def _draw(self, switching: set[str], timed: bool) -> None:
        group, settings = self._group, self._group.settings
        system = group.system
        rng = np.random.default_rng(settings.seed)
        first = system.initial_state()
        index = [system.state_index[name] for name in (*group.species, *self._others)]
        begin = first[index]
        here = begin[: len(group.species)]
        scale = float(np.abs(here[np.isfinite(here)]).max(initial=0.0)) or 1.0
        many = 4 * settings.samples if switching or timed else settings.samples
        rows, times = [begin], [0.0]
        for _ in range(many):
            base = np.where(begin > 0, begin, 1.0)
            base[: len(here)] = np.where(here > 0, here, scale)
            row = base * np.exp(settings.spread * rng.standard_normal(len(begin)))
            for i, name in enumerate(self._others):
                if name in switching and rng.random() < 0.5:
                    row[len(here) + i] *= -1
            rows.append(row)
            times.append(float(10 ** rng.uniform(-1, 2)) if timed else 0.0)
        states, moments = np.array(rows), np.array(times)
        if self._switch is not None:
            on = self._switch.values(moments, states)[:, 0] != 0
            states, moments = states[on], moments[on]
        self._states, self._times = states, moments
        table = self._pools.values(moments, states) if group.pools else np.empty((len(states), 0))
        self._inputs = np.concatenate([table, states[:, len(here) :]], axis=1)

    @cached_property
    def _limits(self) -> Array:
        """Where the fast flow leads from each sample, (samples, species); slow, so after what is refused at once."""
        from sbmlump.dynamics.rosenbrock import StepControl, advance

        group, settings = self._group, self._group.settings
        width = len(group.species)
        limits = self._states[:, :width].copy()
        first = np.abs(self._rates.values(self._times, self._states)).max(axis=1, initial=0.0)
        if not np.isfinite(first).all():
            raise _refused(group.ids, "their fluxes have no finite values at some states")
        moving = np.flatnonzero(first > 0)
        if not len(moving):
            return limits
        scales = np.abs(limits[moving]).max(axis=1)
        scales[scales == 0] = 1.0
        others = self._states[moving, width:]
        flow = _FastFlow(width, self._rates, self._slopes, self._times[moving], others, scales, first[moving])
        control = StepControl(settings.relative, settings.absolute, settings.steps)
        runs = advance(flow, limits[moving] / scales[:, None], np.array([0.0, settings.horizon]), tolerances=control)
        last = runs.states[:, -1]
        if not np.isfinite(last).all() or (last < -settings.accuracy).any():
            raise _refused(group.ids, "from some states they come to no end, or make something negative")
        limits[moving] = last * scales[:, None]
        return limits

    def where(self, truths: Sequence[bool]) -> Mask:
        """The samples at which the conditions have these truth values."""
        if not truths:
            return np.ones(len(self._states), dtype=np.bool_)
        found = self._truths.values(self._times, self._states) > 0.5
        return np.asarray((found == np.array(truths)).all(axis=1))

    def values(self, nodes: Sequence[Node]) -> Array:
        """Of expressions over pools and everything else, shape (samples, nodes)."""
        group = self._group
        evaluator = Evaluator(group.graph, nodes, [*group.pools, *self._others], group.system.constant_values)
        return evaluator.values(self._times, self._inputs)

    def close(self, family: Sequence[Node]) -> Mask:
        """At which samples a solution is where the fast flow leads to."""
        found = self.values(family)
        width = len(self._group.species)
        scales = np.abs(self._limits).max(axis=1, initial=0.0) + np.abs(self._states[:, :width]).max(axis=1)
        off = np.abs(found - self._limits).max(axis=1, initial=0.0)
        return np.asarray(off <= self._group.settings.accuracy * scales)


class _FastFlow:
    """The fast flow from several states at once, in units in which each begins with size 1 and speed 1."""

    timed = False

    def __init__(
        self,
        width: int,
        rates: Evaluator,
        slopes: Evaluator,
        moments: Array,
        others: Array,
        scales: Array,
        speeds: Array,
    ) -> None:
        self._rates, self._slopes = rates, slopes
        self._moments, self._others = moments, others
        self._scales, self._speeds = scales, speeds
        self.size = width

    def _points(self, x: Array, run: Indices) -> Array:
        return np.concatenate([x * self._scales[run, None], self._others[run]], axis=1)

    def rates(self, x: Array, run: Indices) -> Array:
        """See :class:`sbmlump.dynamics.rosenbrock.BatchField`."""
        return self._rates.values(self._moments[run], self._points(x, run)) / self._speeds[run, None]

    def jacobians(self, x: Array, run: Indices) -> Array:
        """See :class:`sbmlump.dynamics.rosenbrock.BatchField`."""
        found = self._slopes.values(self._moments[run], self._points(x, run))
        return found.reshape(len(x), self.size, self.size) * (self._scales / self._speeds)[run, None, None]

    def step_work(self) -> float:
        """Nobody counts it."""
        return 0.0


def _all_changes(group: _EquilibriumGroup) -> list[Node]:
    return [node for one in group.reactions for node in one.change.values()]


# -- the system at equilibrium -----------------------------------------------------------------------


def _rewritten(
    system: OdeSystem, fast: set[str], found: Sequence[_Equilibrium], past: Mapping[str, tuple[str, Fraction]]
) -> OdeSystem:
    """The system with what was found in the place of species."""
    graph = system.graph
    gone = {name for one in found if one.switch is None for name in one.values}
    mapping = {graph.symbol(n): node for one in found if one.switch is None for n, node in one.values.items()}

    def put(node: Node) -> Node:
        return graph.substitute([node], mapping)[0]

    before = _BeforeEquilibrium(system, {name for one in found for name in one.values}, fast)
    known = {symbol: _past_value(system, found, before, put, *which) for symbol, which in past.items()}
    mapping |= {graph.symbol(symbol): node for symbol, node in known.items()}
    states: list[str] = []
    initial: list[Node] = []
    rhs: list[Node] = []
    switched = {name: one for one in found if one.switch is not None for name in one.values}
    for name, value, rate in zip(system.states, system.initial, system.rhs, strict=True):
        if name in gone:
            continue
        states.append(name)
        if name in switched:
            initial.append(_first_value(system, switched[name], name, before))
            rhs.append(put(_switched_rate(system, switched[name], name, fast)))
        else:
            initial.append(before.of(value))
            rhs.append(put(rate))
    pools = {name: one for one in found if one.switch is None for name in one.pools}
    for name, one in pools.items():
        states.append(name)
        initial.append(before.of(one.pools[name]))
        rhs.append(put(one.rates[name]))
    quantities = dict(system.quantities)
    for name in gone:
        quantities[name] = replace(quantities[name], boundary=True)
    for name, one in pools.items():
        members = _listed(sorted(graph.symbols([one.pools[name]]) & gone))
        quantities[name] = Quantity(name, "parameter", name=f"what fast reactions conserve of {members}")
    made = replace(
        system,
        states=tuple(states),
        initial=tuple(initial),
        rhs=tuple(rhs),
        constants=tuple(replace(c, value=None if c.value is None else before.of(c.value)) for c in system.constants),
        assigned=(
            *(replace(one, value=put(one.value)) for one in system.assigned),
            *(Assigned(name, node) for one in found if one.switch is None for name, node in one.values.items()),
        ),
        reactions=tuple(one.substituted(graph, mapping) for one in system.reactions if one.id not in fast),
        events=tuple(_event(system, event, found, put) for event in system.events),
        constraints=tuple(replace(one, condition=put(one.condition)) for one in system.constraints),
        algebraic=(),
        quantities=quantities,
    )
    _refuse_moments(system, made)
    return made


def _unknown_past(name: str) -> UnsupportedModelError:
    message = f"delay() of {name!r}, which changes with time, makes it a delay differential equation; replace it"
    return UnsupportedModelError(Reason("delay", message, name))


def _past_value(
    system: OdeSystem,
    found: Sequence[_Equilibrium],
    before: _BeforeEquilibrium,
    put: Callable[[Node], Node],
    name: str,
    by: Fraction,
) -> Node:
    """The value that an id had some time ago: its initial value, or the one that it has ever since."""
    graph = system.graph
    now = put(system.definitions[name])
    at_rest = {constant.id for constant in system.constants}
    touched = {target for event in system.events for target in new_values(event)}
    for one in found:
        for pool, total in one.pools.items():
            if one.switch is None and one.rates[pool] == graph.number(0) and not graph.symbols([total]) & touched:
                at_rest.add(pool)
    place = system.state_index.get(name)
    first = graph.substitute([system.definitions[name]], {graph.time(): graph.number(0)})[0]
    begin = before.of(first if place is None else system.initial[place])
    constants = {constant.id for constant in system.constants}
    if graph.depends_on_time([now]) or not graph.symbols([now]) <= at_rest or not graph.symbols([begin]) <= constants:
        raise _unknown_past(name)
    return graph.piecewise([(begin, graph.call("lt", (graph.time(), graph.number(by))))], now)


class _BeforeEquilibrium:
    """Initial values mean those of the file, before the fast reactions act."""

    def __init__(self, system: OdeSystem, involved: set[str], fast: set[str]) -> None:
        graph = system.graph
        table = {n: v for n, v in zip(system.states, system.initial, strict=True) if n in involved}
        for name, node in system.definitions.items():
            if name not in system.state_index and (name in fast or graph.symbols([node]) & involved):
                table[name] = graph.substitute([node], {graph.time(): graph.number(0)})[0]
        self._graph = graph
        self._table = table

    def of(self, node: Node) -> Node:
        """Without the ids whose value the fast reactions change at time 0."""
        graph = self._graph
        while names := sorted(graph.symbols([node]) & self._table.keys()):  # cycles were refused on reading
            node = graph.substitute([node], {graph.symbol(name): self._table[name] for name in names})[0]
        return node


def _is_on(graph: Graph, switch: Node) -> Node:
    return graph.call("neq", (switch, graph.number(0)))


def _first_value(system: OdeSystem, one: _Equilibrium, name: str, before: _BeforeEquilibrium) -> Node:
    graph = system.graph
    assert one.switch is not None
    given = system.initial[system.state_index[name]]
    pools = {graph.symbol(pool): total for pool, total in one.pools.items()}
    pools[graph.time()] = graph.number(0)
    at, switch = (graph.substitute([node], pools)[0] for node in (one.values[name], one.switch))
    known = system.at_start()  # an SBML initial assignment may be piecewise, but a number reads better
    start = graph.substitute([switch], {graph.symbol(n): known[n] for n in graph.symbols([switch]) if n in known})[0]
    return before.of(graph.piecewise([(at, _is_on(graph, start))], given))


def _switched_rate(system: OdeSystem, one: _Equilibrium, name: str, fast: set[str]) -> Node:
    """Along the equilibrium while the reactions are on, by the slow reactions alone while they are off."""
    graph = system.graph
    assert one.switch is not None
    seeds = {graph.symbol(n): f for n, f in zip(system.states, system.rhs, strict=True) if n not in one.values}
    seeds |= {graph.symbol(pool): rate for pool, rate in one.rates.items()}
    seeds[graph.time()] = graph.number(1)
    pools = {graph.symbol(pool): total for pool, total in one.pools.items()}
    along = graph.substitute([graph.derivative(one.values[name], seeds)], pools)[0]
    size = system.compartment_of(name)
    if size is not None and size not in {constant.id for constant in system.constants}:
        message = f"fast reactions of {name} are switched on and off in a compartment of changing size"
        raise UnsupportedModelError(Reason(_CODE, message, name))
    terms = [
        graph.mul((graph.scaled(sign, part.stoichiometry), reaction.flux))
        for reaction in system.reactions
        if reaction.id not in fast
        for sign, part in reaction.participants
        if part.species == name
    ]
    slow = graph.div(graph.add(terms), _measure(system, name))
    both = simplified(graph, [along, slow])
    return graph.piecewise([(both[0], _is_on(graph, one.switch))], both[1])


def _event(system: OdeSystem, event: Event, found: Sequence[_Equilibrium], put: Callable[[Node], Node]) -> Event:
    """With pools set in the place of species, and switched species put onto their equilibrium."""
    graph = system.graph
    new = new_values(event)
    after = {graph.symbol(name): node for name, node in new.items()}
    gone = {name for one in found for name in one.values}
    assignments = [(name, put(node)) for name, node in event.assignments if name not in gone]
    for one in found:
        if one.switch is None:
            for name, total in one.pools.items():
                if graph.symbols([total]) & new.keys():
                    assignments.append((name, put(graph.substitute([total], after)[0])))
            continue
        pools = {graph.symbol(pool): total for pool, total in one.pools.items()}
        values = graph.substitute(list(one.values.values()), pools)
        if graph.symbols([*values, one.switch]) & new.keys():
            later = graph.substitute([*values, one.switch], after)
            switch = _is_on(graph, later[-1])
            for name, node in zip(one.values, later, strict=False):
                unchanged = new.get(name, graph.symbol(name))
                assignments.append((name, put(graph.piecewise([(node, switch)], unchanged))))
    return event.carried(
        put,
        assignments,
        implied=((name, put(node)) for name, node in event.implied if name not in gone),
        unscaled=((name, put(node)) for name, node in event.unscaled if name not in gone),
    )


def _refuse_moments(before: OdeSystem, after: OdeSystem) -> None:
    """Refuse events that set what fast reactions conserve with values of an earlier moment."""
    reasons = []
    for old, event in zip(before.events, after.events, strict=True):
        changed = {name for name, _ in event.assignments} - {name for name, _ in old.assignments}
        if changed and event.use_trigger_values and values_may_change(after, event):
            message = (
                f"{event_label(event)} acts on what fast reactions conserve ({_listed(sorted(changed))}) with values "
                'of its trigger, and something may happen in between; write useValuesFromTriggerTime="false" if that '
                "is meant"
            )
            reasons.append(Reason("event-not-lumpable", message, event.id))
    if reasons:
        raise UnsupportedModelError(reasons)
