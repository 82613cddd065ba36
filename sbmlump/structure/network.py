"""The written network: complexes, reactions between them, and whether they obey mass action.

A reaction is split into its forward and its backward direction where its flux is a difference of two mass-action terms.
Balance and deficiency belong to a written network. A model of rate rules has none; where its equations are of first
order with non-negative couplings it has a canonical realisation, conversions Yⱼ → Yᵢ, which is then used and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Node
from sbmlump.structure.exact_linear import rank
from sbmlump.structure.laws import changing_compartment, number_of
from sbmlump.structure.monomials import Monomial, expand
from sbmlump.system import OdeSystem, Reaction

__all__ = ["Direction", "Network", "network_for_balance", "network_of"]

Complex = tuple[tuple[str, Fraction], ...]
"""(species, stoichiometry) in order of the ids; the empty tuple is the zero complex."""

AS_WRITTEN = "reactions as written"
FIRST_ORDER = "canonical first-order realisation of the rate rules"


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a reaction.

    Attributes
    ----------
    source, target : int
        Positions of the complexes.
    rate : Fraction or float or None
        Value of the mass-action rate constant (exact where it is rational); ``None`` if the flux is not mass action.
    reaction : str
        Id of the reaction.
    """

    source: int
    target: int
    rate: Fraction | float | None
    reaction: str


@dataclass(frozen=True, slots=True)
class Network:
    """Complexes and directions between them.

    Attributes
    ----------
    species : tuple of str
        States that take part.
    complexes : tuple of Complex
    directions : tuple of Direction
    realisation : str
        Where it comes from, in words.
    mass_action : bool
        Whether every direction has a mass-action rate, known and positive.
    obstacles : tuple of str
        Ids of reactions that are not mass action.
    """

    species: tuple[str, ...]
    complexes: tuple[Complex, ...]
    directions: tuple[Direction, ...]
    realisation: str
    mass_action: bool
    obstacles: tuple[str, ...] = ()

    @property
    def vectors(self) -> list[dict[int, Fraction]]:
        """Reaction vectors target − source, one for each direction, columns by species."""
        place = {name: i for i, name in enumerate(self.species)}
        rows: list[dict[int, Fraction]] = []
        for one in self.directions:
            row: dict[int, Fraction] = {}
            for sign, which in ((1, one.target), (-1, one.source)):
                for name, value in self.complexes[which]:
                    row[place[name]] = row.get(place[name], Fraction(0)) + sign * value
            rows.append({j: value for j, value in row.items() if value})
        return rows

    @property
    def rank(self) -> int:
        """Dimension of the stoichiometric subspace."""
        distinct = {tuple(sorted(row.items())): row for row in self.vectors if row}
        return rank(list(distinct.values()), len(self.species))

    @property
    def linkage_classes(self) -> tuple[tuple[int, ...], ...]:
        """Complexes connected by reactions, as positions."""
        return _groups(self._components("weak"))

    @property
    def weakly_reversible(self) -> bool:
        """Whether every linkage class is strongly connected."""
        weak, strong = self._components("weak"), self._components("strong")
        return bool(len(set(weak)) == len(set(strong)))

    @property
    def reversible(self) -> bool:
        """Whether every direction has its opposite."""
        ends = {(one.source, one.target) for one in self.directions}
        return all((target, source) in ends for source, target in ends)

    @property
    def deficiency(self) -> int:
        """Complexes − linkage classes − rank."""
        return len(self.complexes) - len(self.linkage_classes) - self.rank

    def _components(self, connection: Literal["weak", "strong"]) -> list[int]:
        size = len(self.complexes)
        if not size:
            return []
        source = [one.source for one in self.directions]
        target = [one.target for one in self.directions]
        table = sp.csr_array((np.ones(len(source), dtype=np.int8), (source, target)), shape=(size, size))
        _, labels = connected_components(table, directed=True, connection=connection)
        return [int(label) for label in labels]


def _groups(labels: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(label, []).append(position)
    return tuple(tuple(group) for group in groups.values())


class _Builder:
    """Collects complexes and directions."""

    def __init__(self) -> None:
        self.complexes: dict[Complex, int] = {}
        self.directions: list[Direction] = []
        self.obstacles: list[str] = []

    def complex(self, side: Mapping[str, Fraction]) -> int:
        key = tuple(sorted((name, value) for name, value in side.items() if value))
        return self.complexes.setdefault(key, len(self.complexes))

    def add(self, source: int, target: int, rate: Fraction | float | None, reaction: str) -> None:
        if source != target:
            self.directions.append(Direction(source, target, rate, reaction))

    def network(self, realisation: str) -> Network:
        used = {name for key in self.complexes for name, _ in key}
        ends = {one.source for one in self.directions} | {one.target for one in self.directions}
        keep = sorted(ends)
        place = {old: new for new, old in enumerate(keep)}
        keys = list(self.complexes)
        directions = tuple(
            Direction(place[one.source], place[one.target], one.rate, one.reaction) for one in self.directions
        )
        fine = bool(directions) and all(one.rate is not None for one in directions)
        return Network(
            tuple(sorted(used)), tuple(keys[i] for i in keep), directions, realisation, fine, tuple(self.obstacles)
        )


def network_of(system: OdeSystem) -> Network | None:
    """The network of a model: its reactions, or the canonical realisation of first-order rate rules.

    Returns
    -------
    Network or None
        ``None`` if the right-hand side is not that of the reactions (rate rules besides them, stoichiometries that are
        no numbers, concentrations in a compartment whose size changes), or if rate rules have no canonical realisation:
        nothing is said of balance then.
    """
    if system.reactions:
        return _written_network(system)
    return _first_order_network(system)


def network_for_balance(system: OdeSystem) -> Network | None:
    """The written network if it obeys mass action, else the canonical first-order realisation where there is one."""
    written = network_of(system)
    if written is None or written.mass_action:
        return written
    return _first_order_network(system) or written


def _written_network(system: OdeSystem) -> Network | None:
    moved = set(system.states)
    builder = _Builder()
    touched: set[str] = set()
    for reaction in system.reactions:
        sides: list[dict[str, Fraction]] = []
        for side in (reaction.reactants, reaction.products):
            amounts: dict[str, Fraction] = {}
            for one in side:
                value = number_of(system, one)
                if value is None:
                    return None
                if one.species in moved:
                    amounts[one.species] = amounts.get(one.species, Fraction(0)) + value
                    touched.add(one.species)
            sides.append(amounts)
        _add_reaction(system, builder, reaction, sides[0], sides[1])
    zero = system.graph.number(0)
    ruled = [
        name
        for name, rhs in zip(system.states, system.rhs, strict=True)
        if (name not in touched and rhs != zero) or (name in touched and _is_boundary(system, name))
    ]
    # a concentration in a compartment that grows is diluted, which no reaction says
    diluted = any(_moves(system, changing_compartment(system, name)) for name in touched)
    return None if ruled or diluted else builder.network(AS_WRITTEN)


def _moves(system: OdeSystem, name: str | None) -> bool:
    """Whether a quantity changes, as one that a rule makes of constants does not."""
    if name is None or name not in system.definitions:
        return False
    node = system.definitions[name]
    return bool(system.graph.symbols([node]) & set(system.states)) or system.graph.depends_on_time([node])


def _is_boundary(system: OdeSystem, name: str) -> bool:
    quantity = system.quantities.get(name)
    return quantity is not None and quantity.boundary


def _add_reaction(
    system: OdeSystem,
    builder: _Builder,
    reaction: Reaction,
    left: Mapping[str, Fraction],
    right: Mapping[str, Fraction],
) -> None:
    source, target = builder.complex(left), builder.complex(right)
    parts = _mass_action_parts(system, reaction, left, right)
    if parts is None:
        builder.obstacles.append(reaction.id)
        builder.add(source, target, None, reaction.id)
        if reaction.reversible:
            builder.add(target, source, None, reaction.id)
        return
    forward, backward = parts
    if forward:
        builder.add(source, target, forward, reaction.id)
    if backward:
        builder.add(target, source, backward, reaction.id)


def _mass_action_parts(
    system: OdeSystem, reaction: Reaction, left: Mapping[str, Fraction], right: Mapping[str, Fraction]
) -> tuple[Fraction | float, Fraction | float] | None:
    """Rate constants forwards and backwards (0 where there is none), ``None`` if the flux is not mass action."""
    terms = expand(system.graph, reaction.flux, set(system.states))
    if terms is None:
        return None
    forward_monomial, backward_monomial = _monomial(left), _monomial(right)
    if forward_monomial is None:
        return None
    values = dict(zip(terms, _numbers(system, list(terms.values())), strict=True))
    values = {monomial: value for monomial, value in values.items() if value}
    forward = values.pop(forward_monomial, Fraction(0))
    backward = -values.pop(backward_monomial, Fraction(0)) if backward_monomial is not None else Fraction(0)
    if values or forward < 0 or backward < 0 or not _is_finite(forward) or not _is_finite(backward):
        return None
    return forward, backward


def _monomial(side: Mapping[str, Fraction]) -> Monomial | None:
    if any(value.denominator != 1 or value < 0 for value in side.values()):
        return None
    return tuple(sorted((name, int(value)) for name, value in side.items() if value))


def _is_finite(value: Fraction | float) -> bool:
    return isinstance(value, Fraction) or bool(np.isfinite(value))


def _numbers(system: OdeSystem, nodes: Sequence[Node]) -> list[Fraction | float]:
    """Values of expressions of constants, exact where rational; NaN where one has none."""
    graph = system.graph
    closed = graph.substitute(nodes, system.specialised())
    if graph.symbols(closed) or graph.depends_on_time(closed):
        closed = [node if not graph.symbols([node]) else graph.constant("notanumber") for node in closed]
    numbers: list[Fraction | float] = []
    for node in closed:
        exact = graph.number_of(node)
        numbers.append(exact if exact is not None else float(values_of(graph, [node])[0]))
    return numbers


def _first_order_network(system: OdeSystem) -> Network | None:
    """Conversions Yⱼ → Yᵢ with the off-diagonal entries as rates; what is left over leaves or multiplies."""
    states = set(system.states)
    builder = _Builder()
    coupling: dict[str, dict[str, Fraction | float]] = {}
    for name, rhs in zip(system.states, system.rhs, strict=True):
        terms = expand(system.graph, rhs, states)
        if terms is None or any(sum(e for _, e in monomial) > 1 for monomial in terms):
            return None
        values = dict(zip(terms, _numbers(system, list(terms.values())), strict=True))
        for monomial, value in values.items():
            source = monomial[0][0] if monomial else ""
            if not _is_finite(value) or (source != name and value < 0):
                return None
            coupling.setdefault(source, {})[name] = value
    for source, row in coupling.items():
        start: dict[str, Fraction] = {source: Fraction(1)} if source else {}
        total = _sum(row.values()) if source else Fraction(0)
        for target, value in row.items():
            if target != source and value:
                end = builder.complex({target: Fraction(1)})
                builder.add(builder.complex(start), end, value, f"{source or 'source'} -> {target}")
        if _is_negligible(total, row):
            continue
        rest: dict[str, Fraction] = {} if total < 0 else {source: Fraction(2)}
        builder.add(
            builder.complex(start), builder.complex(rest), total if total > 0 else -total, f"{source} left over"
        )
    return builder.network(FIRST_ORDER)


def _sum(values: Iterable[Fraction | float]) -> Fraction | float:
    total: Fraction | float = Fraction(0)
    for value in values:
        total = total + value
    return total


def _is_negligible(total: Fraction | float, row: Mapping[str, Fraction | float]) -> bool:
    if isinstance(total, Fraction):
        return not total
    return abs(total) <= 1e-12 * max(abs(float(value)) for value in row.values())
