"""A reduced system as a reaction network again, where its mathematics allows it.

Reactions of the original that change the lumps in the same direction (columns of LS) are pooled into one; its rate is
the sum of theirs, taken at the lift, and it counts where that sum is a function of the lumps. What pooling leaves open
is written in the canonical form of a kinetic polynomial field (``canonical``). What neither explains keeps its rate
rule. Nothing is taken on trust: a lump moves by reactions only if these give the right-hand side that was proved, by
values in a prime field with the constants put in that the reduction rests on.

References
----------
Hárs and Tóth, On the inverse problem of reaction kinetics, 1981 (kinetic polynomial fields).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np

from sbmlump.errors import Reason, UsageError
from sbmlump.linalg.polynomial import ExpansionLimits, Monomial, expand
from sbmlump.linalg.rational import add_multiple, add_to, content, without_zeros
from sbmlump.methods.elimination.substitute import with_fluxes
from sbmlump.model.evaluate import PRIME, field_values, values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.names import claim_id, free_id, id_of_members
from sbmlump.model.program import Program
from sbmlump.model.reduced import Elimination, Embedding, ErrorEstimate, ExactProof, LinearLumping, Lump, ReducedSystem
from sbmlump.model.system import Assigned, OdeSystem, Participant, Quantity, Reaction
from sbmlump.model.text import combination
from sbmlump.proof.identity import IdentityTest, ModularRows, bound_of, compare_matching, run_trials
from sbmlump.structure.laws import amount_factors, changing_compartment, stoichiometry

__all__ = [
    "Direction",
    "as_network",
    "Home",
    "homes",
    "lifted_states",
    "canonical_reactions",
    "reconstruct",
    "PooledReaction",
    "PooledReactions",
    "pool_reactions",
    "pooled",
]


# -- Which lumps are species of the reduced model --------------------------------------------------

# Which lumps are species of the reduced model: where they lie, in what they are counted, and the lift that fits.
#
# A lump of species of one compartment and one kind is a species of that kind. A lump across compartments is an amount
# (the basis makes it a combination of amounts there) and lies in the compartment of its first member. Everything else
# (lumps with negative members, of parameters, of species in compartments that change) stays a parameter.


_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Home:
    """How a lump is a species.

    Attributes
    ----------
    quantity : Quantity
        As which it is written.
    size : str or None
        Compartment by whose size its amount is divided; ``None`` if it is an amount.
    amount_of : mapping of int to Fraction
        For each member (by index) the amount of the lump per value of the member per entry of L, over the amount of
        the member: s/V, which is 1 within one compartment.
    """

    quantity: Quantity
    size: str | None
    amount_of: Mapping[int, Fraction]


def homes(reduced: ReducedSystem) -> dict[int, Home]:
    """Homes of the lumps that are species, by position."""
    found: dict[int, Home] = {}
    for i, lump in enumerate(reduced.lumps):
        home = _home(reduced, lump)
        if home is not None:
            found[i] = home
    return found


def _home(reduced: ReducedSystem, lump: Lump) -> Home | None:
    original = reduced.original
    resting = {c.id for c in original.constants}
    members = [original.quantities.get(name) for name in lump.members]
    if not members or any(value < 0 for value in lump.members.values()):
        return None
    species = [q for q in members if q is not None and q.kind == "species" and q.compartment in resting]
    if len(species) < len(members):
        return None
    index = original.state_index
    columns = [index[name] for name in lump.members]
    if lump.is_single:
        quantity = replace(species[0], boundary=False)
        return Home(quantity, None if quantity.amount else quantity.compartment, {columns[0]: Fraction(1)})
    places = {q.compartment for q in species}
    amounts = {q.amount for q in species}
    first = species[0]
    if len(amounts) == 1 and (len(places) == 1 or first.amount):
        quantity = _species(lump, species, amount=first.amount)
        return Home(quantity, None if first.amount else first.compartment, dict.fromkeys(columns, Fraction(1)))
    return _across(original, lump, species, columns)


def _across(original: OdeSystem, lump: Lump, species: list[Quantity], columns: list[int]) -> Home | None:
    """A lump over compartments or kinds, as an amount; sizes must be known numbers."""
    sizes: list[Fraction] = []
    for quantity in species:
        if quantity.amount:
            sizes.append(Fraction(1))
            continue
        node = original.constant_values.get(quantity.compartment or "")
        size = None if node is None else original.graph.number_of(node)
        if not size:
            return None
        sizes.append(size)
    alike = set(sizes)
    if len(alike) == 1 and alike != {Fraction(1)} and not any(q.amount for q in species):
        # concentrations in compartments of one size: their sum is a concentration in any of them
        quantity = _species(lump, species, amount=False)
        return Home(quantity, species[0].compartment, dict.fromkeys(columns, Fraction(1)))
    return Home(
        _species(lump, species, amount=True), None, {j: 1 / size for j, size in zip(columns, sizes, strict=True)}
    )


def _species(lump: Lump, members: list[Quantity], *, amount: bool) -> Quantity:
    units = {q.units for q in members}
    text = combination(lump.members.items())
    terms = {q.sbo for q in members}
    return Quantity(
        lump.id,
        "species",
        name=text if len(text) <= _LONGEST_NAME else None,
        units=units.pop() if len(units) == 1 else None,
        compartment=members[0].compartment,
        amount=amount,
        given_as_amount=amount,
        sbo=terms.pop() if len(terms) == 1 else None,
    )


def lifted_states(
    reduced: ReducedSystem, places: Mapping[int, Home], symbolic: Collection[str] = ()
) -> dict[Node, Node]:
    """Symbols of the original states as expressions of the reduced system.

    A member that is a concentration of a lump that is an amount is divided by its compartment, not by the number that
    its size is, so that units stay right; compartments in ``symbolic`` are left as numbers.
    """
    original, system, graph = reduced.original, reduced.system, reduced.system.graph
    parts: dict[int, list[Node]] = {j: [] for j in range(original.size)}
    for i, (name, row) in enumerate(zip(system.states, reduced.map.lift.rows, strict=True)):
        home = places.get(i)
        symbol = graph.symbol(name)
        for j, value in row.items():
            quantity = original.quantities.get(original.states[j])
            inside = None if quantity is None else quantity.compartment
            divided = home is not None and home.size is None and quantity is not None and not quantity.amount
            if divided and home is not None and inside is not None and inside not in symbolic and j in home.amount_of:
                factor = graph.number(value / home.amount_of[j])
                parts[j].append(graph.div(graph.mul((factor, symbol)), graph.symbol(inside)))
            else:
                parts[j].append(graph.scaled(value, symbol))
    for j, value in reduced.map.offset.items():
        parts[j].append(graph.number(value))
    image = {graph.symbol(original.states[j]): graph.add(nodes) for j, nodes in parts.items()}
    if isinstance(reduced.map, Elimination):
        for name in reduced.map.assigned:
            image[graph.symbol(name)] = system.definitions[name]
    return image


# -- The canonical reactions of a kinetic polynomial field -----------------------------------------

# The canonical reactions of a kinetic polynomial field: one for each monomial and what it does.
#
# A polynomial field is that of a mass-action network if every negative term of dy_i contains y_i (Hárs and Tóth). Terms
# of one monomial whose coefficients are rational multiples of one expression become one reaction, so A → B is
# found as a
# conversion, not as a death and a birth.


# a lump whose rate has more terms is better told by its rate rule than by hundreds of reactions
_CANONICAL: Final = ExpansionLimits(exponent=6, terms=500)


def canonical_reactions(
    system: OdeSystem,
    rates: Mapping[int, Node],
    taken: Collection[str],
    fixed: Mapping[Node, Node],
) -> tuple[list[Reaction], set[int]]:
    """Reactions that give ``rates``, and the positions of states for which there are none.

    Parameters
    ----------
    system : OdeSystem
        The reduced system.
    rates : mapping of int to Node
        Amount per time by which state i changes besides what is explained already.
    taken : collection of str
        Ids that reactions must not have.
    fixed : mapping of Node to Node
        Values of constants: the signs of coefficients are those that they have there.
    """
    graph = system.graph
    names = set(system.states)
    refused: set[int] = set()
    columns: dict[Monomial, dict[int, Node]] = {}
    for i in sorted(rates):
        terms = expand(graph, rates[i], names, _CANONICAL)
        own = system.states[i]
        if terms is None or not _is_kinetic(graph, terms, own, fixed):
            refused.add(i)
            continue
        for monomial, coefficient in terms.items():
            columns.setdefault(monomial, {})[i] = coefficient
    reactions: list[Reaction] = []
    used = set(taken)
    for monomial, column in sorted(columns.items()):
        for change, rate in _shared(graph, column):
            name = _name(monomial, used)
            used.add(name)
            flux = graph.mul((rate, *(graph.pow(graph.symbol(one), graph.number(e)) for one, e in monomial)))
            sides = [(system.states[i], v) for i, v in sorted(change.items())]
            reactions.append(
                Reaction(
                    name,
                    flux,
                    tuple(Participant(one, graph.number(-v)) for one, v in sides if v < 0),
                    tuple(Participant(one, graph.number(v)) for one, v in sides if v > 0),
                    reversible=False,
                )
            )
    return reactions, refused


def _is_kinetic(graph: Graph, terms: Mapping[Monomial, Node], own: str, fixed: Mapping[Node, Node]) -> bool:
    coefficients = graph.substitute(list(terms.values()), fixed)
    if graph.symbols(coefficients) or graph.depends_on_time(coefficients):
        # constants without a value, or kept for all values: the sign is that of the written factor
        return all(any(one == own for one, _ in m) or not _is_minus(graph, c) for m, c in terms.items())
    values = np.asarray(values_of(graph, coefficients))
    return all(
        bool(np.isfinite(value)) and (value >= 0 or any(one == own for one, _ in monomial))
        for monomial, value in zip(terms, values, strict=True)
    )


def _is_minus(graph: Graph, node: Node) -> bool:
    return any(value < 0 for value in graph.linear_terms(node).values())


def _shared(graph: Graph, column: Mapping[int, Node]) -> list[tuple[dict[int, Fraction], Node]]:
    """Coefficients of one monomial as (change of each state, common rate): proportional ones together."""
    groups: dict[tuple[tuple[Node, Fraction], ...], dict[int, Fraction]] = {}
    for i, coefficient in column.items():
        terms = sorted(graph.linear_terms(coefficient).items())
        if not terms:
            continue
        lead = terms[0][1]
        groups.setdefault(tuple((term, value / lead) for term, value in terms), {})[i] = lead
    made = []
    for key, change in groups.items():
        scale = content(change.values())
        rate = graph.from_terms({term: value * scale for term, value in key})
        made.append(({i: value / scale for i, value in change.items()}, rate))
    return made


def _name(monomial: Monomial, taken: Collection[str]) -> str:
    words = [name if e == 1 else f"{name}_{e}" for name, e in monomial] or ["source"]
    base = "from_" + "_".join(words)
    return free_id(base if len(base) <= 60 else base[:56] + "_etc", taken)


# -- A reduced system as a reaction network again --------------------------------------------------


Direction = tuple[tuple[int, Fraction], ...]
"""What one event of a reaction does to the lumps: (position, coprime integer) pairs."""

_MOST_IN_NAME: Final = 8


@dataclass(slots=True)
class _SameDirection:
    """Reactions of one direction: id and factor of each, and their rate over the lumps."""

    direction: Direction
    members: dict[str, Fraction]
    rate: Node
    reversible: bool


def as_network(reduced: ReducedSystem) -> ReducedSystem:
    """The reduction with its reduced model written as reactions, as far as that goes.

    Lumps of species become species. States that no reaction explains keep their right-hand side and get a rate rule
    when written. The map, the lumps, the observables and the certificate stay what they were.

    Parameters
    ----------
    reduced : ReducedSystem
        From any method; where its reduced system has reactions already, it is returned as it is.
    """
    original, system = reduced.original, reduced.system
    if system.reactions or not reduced.reducible or not isinstance(reduced.map, (LinearLumping, Embedding)):
        return reduced
    if reduced.certificate.kind != "exact-proof" and not isinstance(reduced.map, Elimination):
        return reduced  # lumps of an approximation are combinations that nobody counts in molecules
    if original.origin.conversion_factor or any(q.conversion_factor for q in original.quantities.values()):
        return reduced  # extents and substances differ by a factor there; rate rules say it without doubt
    places = homes(reduced)
    if not places:
        return reduced
    return _NetworkBuilder(reduced, places).written()


class _NetworkBuilder:
    """The work on one reduction."""

    def __init__(self, reduced: ReducedSystem, places: Mapping[int, Home]) -> None:
        self.reduced = reduced
        self.places = places
        self.graph = reduced.system.graph
        certificate = reduced.certificate
        symbolic = () if isinstance(certificate, ErrorEstimate) else certificate.symbolic
        self.fixed = dict(reduced.system.specialised(frozenset(symbolic)))
        self.symbolic = frozenset(symbolic)

    def written(self) -> ReducedSystem:
        """The reduction with reactions."""
        groups = self._closed_and_open()
        closed, open_groups = groups
        explained, amounts = self._explained(closed, open_groups)
        reactions = [self._reaction(group) for group in closed if self._is_used(group, explained)]
        taken = {r.id for r in reactions} | self._taken()
        rest = {i: node for i, node in amounts.items() if i in explained and self.graph.number_of(node) != 0}
        made, refused = canonical_reactions(self.reduced.system, rest, taken, self.fixed)
        explained -= refused
        reactions = [r for r in (*reactions, *made) if self._moves(r, explained)]
        return self._with(reactions, explained)

    # -- pooling -------------------------------------------------------------------------------------

    def _closed_and_open(self) -> tuple[list[_SameDirection], list[_SameDirection]]:
        columns = self._columns()
        if columns is None:
            return [], []
        groups = self._groups(columns)
        if self._recovers_every_state():
            return groups, []  # the states live on a manifold; there the lifted rates are the rates
        closed, still = self._tested(groups)
        merged, left = _opposites_merged(self.graph, still)
        more, still = self._tested(merged)
        return [*closed, *more], [*still, *left]

    def _recovers_every_state(self) -> bool:
        """Whether every original state follows from the reduced system: of a chain of steps some may not."""
        if isinstance(self.reduced.map, Elimination):
            return set(self.reduced.original.states) <= set(self.reduced.system.definitions)
        return isinstance(self.reduced.map, Embedding)

    def _combinations(self) -> dict[Node, Node]:
        """States of the reduced system and its conserved totals as expressions of the original states."""
        graph, original, system, kind = self.graph, self.reduced.original, self.reduced.system, self.reduced.map
        rows = {name: dict(row) for name, row in zip(system.states, self.reduced.matrix.rows, strict=True)}
        if isinstance(kind, Elimination):
            index = original.state_index
            rows |= {name: {index[state]: v for state, v in row.items()} for name, row in kind.starts.items()}
        symbols = [graph.symbol(name) for name in original.states]
        found = {graph.symbol(name): graph.weighted_sum(row, symbols.__getitem__) for name, row in rows.items()}
        if isinstance(kind, Elimination):
            # what is a state at the start in the formula of a total is that state at all times
            known = {c.id for c in original.constants}
            sums = {c.id: c.value for c in system.constants if c.id not in known and c.id not in rows}
            totals = {name: value for name, value in sums.items() if value is not None}
            values = graph.substitute(list(totals.values()), self.fixed | found)
            found |= dict(zip(map(graph.symbol, totals), values, strict=True))
        return found

    def _columns(self) -> list[dict[int, Fraction | int]] | None:
        """LS in amounts, a column for each reaction; ``None`` where a stoichiometry is no number."""
        original = self.reduced.original
        rows = self.reduced.matrix.rows
        users: dict[int, list[tuple[int, Fraction | int]]] = {}
        for i, home in self.places.items():
            for j, value in rows[i].items():
                users.setdefault(j, []).append((i, _small(value * home.amount_of[j])))
        counts: dict[Node, Fraction | int | None] = {}
        index = original.state_index
        shares: dict[int, list[tuple[int, Fraction | int]]] = {}  # by identity: reactions share their participants

        def share(one: Participant) -> list[tuple[int, Fraction | int]] | None:
            """What one participant adds to each lump, as an amount; ``None`` where its stoichiometry is no number."""
            quantity = original.quantities.get(one.species)
            j = index.get(one.species, -1)
            if (quantity is not None and quantity.boundary) or j not in users:
                return []
            node = one.stoichiometry
            if node not in counts:
                known = self._number(node)
                counts[node] = None if known is None else _small(known)
            count = counts[node]
            return None if count is None else [(i, count * factor) for i, factor in users[j]]

        columns: list[dict[int, Fraction | int]] = []
        for reaction in original.reactions:
            column: dict[int, Fraction | int] = {}
            for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
                for one in side:
                    mine = shares.get(id(one))
                    if mine is None:
                        mine = share(one)
                        if mine is None:
                            return None
                        shares[id(one)] = mine
                    for i, amount in mine:
                        add_to(column, i, sign * amount)
            columns.append(without_zeros(column))
        return columns

    def _number(self, node: Node) -> Fraction | None:
        return self.graph.number_of(self.graph.substitute([node], self.fixed)[0])

    def _groups(self, columns: Sequence[Mapping[int, Fraction | int]]) -> list[_SameDirection]:
        original, graph = self.reduced.original, self.graph
        members: dict[Direction, dict[str, Fraction]] = {}
        fluxes: dict[str, Node] = {}
        reversible: set[str] = set()
        directions: dict[tuple[tuple[int, Fraction | int], ...], tuple[Fraction, Direction]] = {}
        for reaction, column in zip(original.reactions, columns, strict=True):
            if not column:
                continue  # inside the lumps
            key = tuple(column.items())  # few differ, however many reactions there are
            if key not in directions:
                directions[key] = _direction(column)
            factor, direction = directions[key]
            members.setdefault(direction, {})[reaction.id] = factor
            fluxes[reaction.id] = reaction.flux
            if reaction.reversible:
                reversible.add(reaction.id)
        image = lifted_states(self.reduced, self.places, self.symbolic)
        lifted = dict(zip(fluxes, graph.substitute(list(fluxes.values()), image), strict=True))
        groups = []
        zero = graph.number(0)
        for direction, factors in members.items():
            total: dict[Node, Fraction] = {}
            for name, factor in factors.items():
                if lifted[name] != zero:  # at a sparse lift most are
                    add_multiple(total, graph.linear_terms(lifted[name]), factor)
            both = any(name in reversible for name in factors)
            groups.append(_SameDirection(direction, factors, graph.from_terms(total), both))
        return groups

    def _tested(self, groups: Sequence[_SameDirection]) -> tuple[list[_SameDirection], list[_SameDirection]]:
        """Groups whose rate is a function of the lumps, and the others."""
        graph, original = self.graph, self.reduced.original
        fluxes = {r.id: r.flux for r in original.reactions}
        whole = [graph.weighted_sum(group.members, fluxes.__getitem__) for group in groups]
        definition = self._combinations()
        whole = graph.substitute(whole, self.fixed)
        small = graph.substitute([group.rate for group in groups], self.fixed | definition)
        values = field_values(graph, [*whole, *small])
        closed: list[_SameDirection] = []
        still: list[_SameDirection] = []
        for group, left, right in zip(groups, whole, small, strict=True):
            fine = values[left] == values[right] and not graph.is_undefined(right)
            (closed if fine else still).append(group)
        return closed, still

    # -- what the reactions explain ------------------------------------------------------------------

    def _explained(
        self, closed: Sequence[_SameDirection], still: Sequence[_SameDirection]
    ) -> tuple[set[int], dict[int, Node]]:
        """Lumps that pooled reactions and a rest explain, and that rest as an amount per time."""
        graph, system = self.graph, self.reduced.system
        amount = {i: self._amount_rate(i) for i in self.places}
        pooled, rest = self._sums(closed), self._sums(still)
        order = sorted(self.places)
        sides = [graph.add((pooled[i], rest[i])) for i in order]
        nodes = graph.substitute([*sides, *(amount[i] for i in order)], self.fixed)
        values = field_values(graph, nodes)
        touched = {i for group in closed for i, _ in group.direction}
        explained: set[int] = set()
        left: dict[int, Node] = {}
        for i, got, wanted in zip(order, nodes[: len(order)], nodes[len(order) :], strict=True):
            if values[got] % PRIME == values[wanted] % PRIME:
                explained.add(i)
                left[i] = rest[i]
            elif i not in touched:
                explained.add(i)
                left[i] = amount[i]
        # a state that nothing moves needs no reaction of its own (see `_with_catalysts`)
        still_zero = {i for i in explained if graph.number_of(system.rhs[i]) == 0}
        return explained - still_zero, left

    def _amount_rate(self, i: int) -> Node:
        """Amount per time of lump ``i`` by the proved right-hand side."""
        graph, rhs = self.graph, self.reduced.system.rhs[i]
        size = self.places[i].size
        return rhs if size is None else graph.from_terms(_scaled_terms(self.graph, rhs, graph.symbol(size)))

    def _sums(self, groups: Sequence[_SameDirection]) -> dict[int, Node]:
        totals: dict[int, dict[Node, Fraction]] = {i: {} for i in self.places}
        for group in groups:
            terms = self.graph.linear_terms(group.rate)
            for i, value in group.direction:
                add_multiple(totals[i], terms, value)
        return {i: self.graph.from_terms(total) for i, total in totals.items()}

    def _is_used(self, group: _SameDirection, explained: Collection[int]) -> bool:
        return self.graph.number_of(group.rate) != 0 and any(i in explained for i, _ in group.direction)

    # -- writing -------------------------------------------------------------------------------------

    def _taken(self) -> set[str]:
        original, system = self.reduced.original, self.reduced.system
        return {*original.taken_ids, *system.taken_ids, *(home.quantity.id for home in self.places.values())}

    def _reaction(self, group: _SameDirection) -> Reaction:
        original, system, graph = self.reduced.original, self.reduced.system, self.graph
        names = system.states
        reactants = tuple(Participant(names[i], graph.number(-v)) for i, v in group.direction if v < 0)
        products = tuple(Participant(names[i], graph.number(v)) for i, v in group.direction if v > 0)
        known = {r.id: r for r in original.reactions}
        listed = list(group.members)
        alone = len(listed) == 1 and group.members[listed[0]] == 1
        if alone and (listed[0] not in system.definitions or self._is_flux(listed[0], group.rate)):
            source = known[listed[0]]
            same = {p.species for p in (*source.reactants, *source.products)} == {names[i] for i, _ in group.direction}
            return replace(
                source,
                flux=group.rate,
                reactants=reactants,
                products=products,
                modifiers=(),
                sbo=source.sbo if same else None,
            )
        name = free_id(id_of_members("pooled", listed, longest=50, cut=50), self._taken())
        text = combination([(known[one].name or one, value) for one, value in group.members.items()], _MOST_IN_NAME)
        homes_of = {known[one].compartment for one in listed}
        home = homes_of.pop() if len(homes_of) == 1 else None
        return Reaction(name, group.rate, reactants, products, (), group.reversible, text, home)

    def _is_flux(self, id: str, rate: Node) -> bool:
        """Whether an assigned quantity, a flux that is observed, is the rate of the one reaction that carries it.

        Then the reaction has its id again, with what it is annotated with, and control coefficients are found under it.
        """
        value = next((one.value for one in self.reduced.system.assigned if one.id == id), None)
        if value is None:
            return False
        both = self.graph.substitute([value, rate], self.fixed)
        values = field_values(self.graph, both)
        return values[both[0]] % PRIME == values[both[1]] % PRIME

    def _moves(self, reaction: Reaction, explained: Collection[int]) -> bool:
        place = self.reduced.system.state_index
        return any(place[one.species] in explained for one in (*reaction.reactants, *reaction.products))

    def _with(self, reactions: Sequence[Reaction], explained: Collection[int]) -> ReducedSystem:
        system, graph = self.reduced.system, self.graph
        reactions = self._with_catalysts(_distinct(reactions))
        place = system.state_index
        totals: dict[int, dict[Node, Fraction]] = {i: {} for i in explained}
        for reaction in reactions:
            for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
                for one in side:
                    total = totals.get(place[one.species])
                    value = graph.number_of(one.stoichiometry)
                    if total is None or value is None:
                        continue
                    add_to(total, reaction.flux, sign * value)
        rhs = list(system.rhs)
        for i, total in totals.items():
            size, change = self.places[i].size, graph.from_terms(total)
            rhs[i] = change if size is None else graph.div(change, graph.symbol(size))
        self._prove_same(rhs, explained)
        quantities = dict(system.quantities)
        original = self.reduced.original
        for home in self.places.values():
            quantities[home.quantity.id] = home.quantity
            inside = home.quantity.compartment
            if inside is not None and inside in original.quantities:
                quantities.setdefault(inside, original.quantities[inside])
        carried = {reaction.id for reaction in reactions}
        assigned = tuple(one for one in system.assigned if one.id not in carried)
        made = replace(system, rhs=tuple(rhs), reactions=tuple(reactions), quantities=quantities, assigned=assigned)
        return replace(self.reduced, system=made)

    def _with_catalysts(self, reactions: list[Reaction]) -> list[Reaction]:
        """Lumps that nothing changes, as reactant and product of the first reaction that they drive.

        So they are states of the network, as in the original, and need no rate rule of 0: with one, libRoadRunner finds
        neither a steady state nor conserved moieties.
        """
        graph, system = self.graph, self.reduced.system
        resting = [system.states[i] for i in sorted(self.places) if graph.number_of(system.rhs[i]) == 0]
        drivers = [graph.symbols([reaction.flux]) for reaction in reactions] if resting else []
        made = list(reactions)
        for name in resting:
            place = next((k for k, names in enumerate(drivers) if name in names), None)
            if place is not None:
                part = (Participant(name, graph.number(1)),)
                one = made[place]
                made[place] = replace(one, reactants=(*one.reactants, *part), products=(*one.products, *part))
        return made

    def _prove_same(self, rhs: Sequence[Node], explained: Collection[int]) -> None:
        """The new right-hand sides against those that were proved; they are made of the same parts."""
        graph = self.graph
        order = sorted(explained)
        old = graph.substitute([self.reduced.system.rhs[i] for i in order], self.fixed)
        new = graph.substitute([rhs[i] for i in order], self.fixed)
        values = field_values(graph, [*old, *new])
        wrong = [
            self.reduced.system.states[i]
            for i, a, b in zip(order, old, new, strict=True)
            if values[a] % PRIME != values[b] % PRIME
        ]
        if wrong:
            raise AssertionError(f"pooled reactions do not give the right-hand side of {', '.join(wrong[:5])}")


def _small(value: Fraction) -> Fraction | int:
    """The same number, as an int where it is one: their arithmetic is many times faster."""
    return value.numerator if value.denominator == 1 else value


def _direction(column: Mapping[int, Fraction | int]) -> tuple[Fraction, Direction]:
    """A positive factor and coprime integers whose product with it ``column`` is."""
    factor = content(column.values())
    return factor, tuple(sorted((i, value / factor) for i, value in column.items()))


def _opposites_merged(
    graph: Graph, groups: Sequence[_SameDirection]
) -> tuple[list[_SameDirection], list[_SameDirection]]:
    """Groups of opposite directions as one reversible reaction each, and what is left single."""
    by_direction = {group.direction: group for group in groups}
    merged: list[_SameDirection] = []
    left: list[_SameDirection] = []
    done: set[Direction] = set()
    for group in groups:
        opposite = tuple((i, -value) for i, value in group.direction)
        other = by_direction.get(opposite)
        if group.direction in done:
            continue
        if other is None:
            left.append(group)
            continue
        done |= {group.direction, opposite}
        members = dict(group.members) | {name: -value for name, value in other.members.items()}
        rate = graph.sub(group.rate, other.rate)
        merged.append(_SameDirection(group.direction, members, rate, reversible=True))
    return merged, left


def _scaled_terms(graph: Graph, node: Node, size: Node) -> dict[Node, Fraction]:
    """size · node with the size cancelled against quotients by it, as linear terms."""
    total: dict[Node, Fraction] = {}
    for term, value in graph.linear_terms(node).items():
        add_multiple(total, graph.linear_terms(_by_size(graph, term, size)), value)
    return total


def _by_size(graph: Graph, term: Node, size: Node) -> Node:
    """size · term, where it cancels against a quotient by the size."""
    args = graph.args(term)
    if graph.op(term) is Op.DIV and args[1] == size:
        return args[0]
    if graph.op(term) is Op.MUL:
        for k, arg in enumerate(args):
            if graph.op(arg) is Op.DIV and graph.args(arg)[1] == size:
                return graph.mul((*args[:k], graph.args(arg)[0], *args[k + 1 :]))
    return graph.mul((size, term))


def _distinct(reactions: Sequence[Reaction]) -> list[Reaction]:
    """Reactions with ids of their own."""
    seen: set[str] = set()
    out: list[Reaction] = []
    for reaction in reactions:
        name = claim_id(reaction.id, seen)
        out.append(reaction if name == reaction.id else replace(reaction, id=name))
    return out


# -- Original quantities that the lumps determine --------------------------------------------------

# Original quantities that the lumps determine, put back into the reduced model by assignment rules.
#
# A state is determined by exact lumps if its unit vector lies in the row space of L; any other quantity if its value at
# the lift is its value at every state with the same lumps. On the manifold of an embedding or an elimination
# every state
# is determined.


_MOST_TOLD: Final = 5


def reconstruct(reduced: ReducedSystem, ids: str | Sequence[str]) -> ReducedSystem:
    """The reduction with assigned quantities for original ones.

    Parameters
    ----------
    reduced : ReducedSystem
    ids : "all" or sequence of str
        ``all``: every original state that the lumps determine. Otherwise ids of the original (states, assigned
        quantities); those that the reduced model has already are left as they are. A string of ids is separated by
        commas.

    Raises
    ------
    UsageError
        Codes ``unknown-quantity``, and ``not-determined`` for an id that is no function of the lumps.
    """
    original, system = reduced.original, reduced.system
    everything = ids == "all"
    names = list(original.states) if everything else _listed(ids)
    unknown = [name for name in names if name not in original.definitions]
    if unknown:
        raise UsageError(
            [
                Reason(
                    "unknown-quantity", f"{name!r} is no quantity of model {original.id}; nothing to reconstruct", name
                )
                for name in unknown
            ]
        )
    wanted = [name for name in dict.fromkeys(names) if name not in system.definitions]
    found = _determined(reduced, wanted)
    missing = [name for name in wanted if name not in found]
    if missing and not everything:
        raise UsageError(
            [
                Reason(
                    "not-determined",
                    f"{name} is no function of the lumps and cannot be reconstructed; observe it to keep it",
                    name,
                )
                for name in missing[:_MOST_TOLD]
            ]
        )
    quantities = dict(system.quantities)
    quantities.update((name, original.quantities[name]) for name in found if name in original.quantities)
    assigned = (*system.assigned, *(Assigned(name, node) for name, node in found.items()))
    return replace(reduced, system=replace(system, assigned=assigned, quantities=quantities))


def _listed(ids: str | Sequence[str]) -> list[str]:
    listed = ids.split(",") if isinstance(ids, str) else list(ids)
    return [name.strip() for name in listed if name.strip()]


def _determined(reduced: ReducedSystem, names: Sequence[str]) -> dict[str, Node]:
    """Expressions over the reduced system of those of ``names`` that it determines."""
    original, system, graph = reduced.original, reduced.system, reduced.system.graph
    certificate = reduced.certificate
    symbolic = frozenset(() if isinstance(certificate, ErrorEstimate) else certificate.symbolic)
    wanted = [original.definitions[name] for name in names]
    proved = isinstance(certificate, ExactProof)
    determining = isinstance(reduced.map, (Embedding, Elimination))
    if not determining and not (isinstance(reduced.map, LinearLumping) and proved):
        return {}
    image = lifted_states(reduced, homes(reduced), symbolic)
    small = graph.substitute(wanted, image)
    if isinstance(reduced.map, Embedding):
        return dict(zip(names, small, strict=True))
    # what the reduced model has itself is told by it; of all else the lift is one choice among many, unless it is an
    # identity in the original states
    own = _own_states(reduced)
    below = [graph.symbols([node]) & set(original.states) for node in wanted]
    found = {name: node for name, node, used in zip(names, small, below, strict=True) if used <= own}
    if not proved:
        return found
    fixed: Mapping[Node, Node] = system.specialised(symbolic)
    states = [graph.symbol(name) for name in original.states]
    lumps = {
        graph.symbol(name): graph.weighted_sum(row, states.__getitem__)
        for name, row in zip(system.states, reduced.matrix.rows, strict=True)
    }
    if isinstance(reduced.map, Elimination):
        lumps |= _conserved(reduced, fixed)
        lumps |= {
            graph.symbol(name): graph.transplant(original.graph, [node], {})[0]
            for name, node in reduced.map.totals.items()
        }
    left = graph.substitute(wanted, fixed)
    right = graph.substitute(small, {key: node for key, node in fixed.items() if key not in lumps} | lumps)
    values = field_values(graph, [*left, *right])
    return found | {
        name: node
        for name, node, a, b in zip(names, small, left, right, strict=True)
        if values[a] == values[b] and not graph.is_undefined(node)
    }


def _conserved(reduced: ReducedSystem, fixed: Mapping[Node, Node]) -> dict[Node, Node]:
    """Constants that hold initial values of what is at all times as it is at the start, as combinations of states."""
    assert isinstance(reduced.map, Elimination)
    original, graph = reduced.original, reduced.system.graph
    rates = dict(zip(original.states, graph.transplant(original.graph, original.rhs, {}), strict=True))
    rows = {name: row for name, row in reduced.map.starts.items() if row.keys() <= rates.keys()}
    changes = graph.substitute([graph.weighted_sum(row, rates.__getitem__) for row in rows.values()], fixed)
    values = field_values(graph, changes)
    return {
        graph.symbol(name): graph.weighted_sum(row, graph.symbol)
        for (name, row), change in zip(rows.items(), changes, strict=True)
        if values[change] == 0
    }


def _own_states(reduced: ReducedSystem) -> set[str]:
    """Original states that the reduced system has: as a state that is that one alone, or assigned."""
    names = reduced.original.states
    kept = {
        name
        for name, row in zip(reduced.system.states, reduced.matrix.rows, strict=True)
        if {names[j]: v for j, v in row.items()} == {name: 1}
    }
    return kept | set(reduced.map.assigned if isinstance(reduced.map, Elimination) else ())


# -- Reaction pooling: a lumped model as a reaction network again ----------------------------------

# Reactions whose columns of LS have the same direction are one pooled reaction, with the sum of their fluxes
# (each times
# its factor) as its rate. Where every pooled rate is a function of the lumps, the lumped model has reactions
# and needs no
# rate rules. L may be the identity: then parallel reactions become one.


@dataclass(frozen=True, slots=True)
class PooledReaction:
    """One reaction of the lumped network.

    Attributes
    ----------
    id : str
        That of the only member, or ``pooled_…``.
    members : mapping of reaction id to Fraction
        Row of Q: the pooled flux is Σ factor · flux.
    change : mapping of lump id to Fraction
        Column of S̃: coprime integers.
    flux : Node
        Over the lumps, constants and time, in the graph of both systems.
    """

    id: str
    members: Mapping[str, Fraction]
    change: Mapping[str, Fraction]
    flux: Node


@dataclass(frozen=True, slots=True)
class PooledReactions:
    """Pooled reactions of a lumping.

    Attributes
    ----------
    reactions : tuple of PooledReaction
        Of the groups whose rate is a function of the lumps.
    open_groups : tuple of tuple of str
        Ids of reactions of the other groups.
    inner : tuple of str
        Reactions inside the lumps: they change none of them.
    trial : Trial or None
        How it was tested that the rates are functions of the lumps.
    why : str
        What is wrong where there are open groups or no pooling at all.
    """

    reactions: tuple[PooledReaction, ...]
    open_groups: tuple[tuple[str, ...], ...]
    inner: tuple[str, ...]
    trial: IdentityTest | None
    why: str = ""

    @property
    def complete(self) -> bool:
        """Whether the pooled reactions give the right-hand side of every lump."""
        return bool(self.reactions) and not self.open_groups and not self.why


def pool_reactions(reduction: ReducedSystem, seed: int = 0) -> PooledReactions:
    """Group the reactions of the original by what they do to the lumps.

    Parameters
    ----------
    reduction : ReducedSystem
        An exact linear lumping (the identity included); its lift gives the pooled rates.
    seed : int
        Of the random numbers of the test.
    """
    original = reduction.original
    obstacle = _obstacle(reduction)
    if obstacle:
        return PooledReactions((), (), (), None, obstacle)
    rows = stoichiometry(original)
    assert rows is not None
    columns = _lumped_columns(reduction, rows)
    groups, inner = _groups(original, columns)
    lifted = _lifted(reduction)
    graph = original.graph
    candidates: list[tuple[dict[str, Fraction], Direction, Node, Node]] = []
    fluxes = {one.id: one.flux for one in original.reactions}
    for direction, members in groups.items():
        whole = graph.weighted_sum(members, fluxes.__getitem__)
        small = graph.substitute([whole], lifted)[0]
        candidates.append((members, direction, whole, graph.from_terms(graph.linear_terms(small))))
    trial = _test(reduction, [(whole, small) for _, _, whole, small in candidates], seed)
    wrong = _all_wrong(reduction, candidates, trial, seed)
    taken = set(original.definitions) | set(original.quantities) | set(reduction.system.definitions)
    made: list[PooledReaction] = []
    open_groups: list[tuple[str, ...]] = []
    names = reduction.system.states
    for i, (members, direction, _, small) in enumerate(candidates):
        if i in wrong:
            open_groups.append(tuple(members))
            continue
        own = next(iter(members)) if len(members) == 1 and next(iter(members.values())) == 1 else None
        name = own or free_id(id_of_members("pooled", list(members), longest=40, cut=None), taken)
        taken.add(name)
        made.append(PooledReaction(name, members, {names[k]: v for k, v in direction}, small))
    why = "" if not open_groups else f"the rate of {len(open_groups)} groups of reactions is no function of the lumps"
    return PooledReactions(tuple(made), tuple(open_groups), tuple(inner), trial, why)


def pooled(reduction: ReducedSystem, seed: int = 0) -> ReducedSystem:
    """The reduction with its lumped model written as a reaction network, where that is possible.

    Otherwise the reduction as it was, with a remark that says why. The certificate covers the pooling.
    """
    pooling = pool_reactions(reduction, seed)
    method = "pooling" if reduction.method in ("exact", "none") else f"{reduction.method}+pooling"
    if not pooling.complete or pooling.trial is None:
        remark = f"not written as reactions: {pooling.why or 'there are no reactions'}"
        return replace(reduction, method=method, remarks=(*reduction.remarks, remark))
    system = _with_reactions(reduction, pooling)
    proof = reduction.certificate
    if isinstance(proof, ExactProof):
        count = len(reduction.original.reactions)
        proof = replace(
            proof,
            statement=f"{proof.statement}; {count} reactions became {len(pooling.reactions)}, each with a rate that is "
            "a function of the lumps, and LS = S̃Q",
            method=proof.method if proof.method == "identity-test" else "chain",
            failure_probability=min(1.0, proof.failure_probability + pooling.trial.failure_probability),
            primes=tuple(dict.fromkeys((*proof.primes, *pooling.trial.primes))),
        )
    return replace(reduction, system=system, certificate=proof, method=method)


# -- inside ------------------------------------------------------------------------------------------


def _obstacle(reduction: ReducedSystem) -> str:
    original = reduction.original
    if isinstance(reduction.map, Elimination):
        return "states were eliminated; only linear lumpings are pooled"
    if not original.reactions:
        return "the model has no reactions"
    if any(q.conversion_factor for q in original.quantities.values()) or original.origin.conversion_factor:
        return "the model has conversion factors"
    if stoichiometry(original) is None:
        return "a stoichiometry is no number"
    factors = amount_factors(original)
    for row in reduction.matrix.rows:
        if len({factors[j] for j in row}) > 1:
            return "a lump mixes concentrations of different compartments"
    for row in reduction.matrix.rows:
        for j in row:
            size = changing_compartment(original, original.states[j])
            if size is not None:  # no species stands for such a lump: its amount is not what moves by itself
                return f"the compartment {size} of {original.states[j]} changes its size"
    touched = {one.species for r in original.reactions for one in (*r.reactants, *r.products)}
    index = original.state_index
    zero = original.graph.number(0)
    for name, j in index.items():
        quantity = original.quantities.get(name)
        ruled = quantity is not None and quantity.boundary
        if (name not in touched or ruled) and original.rhs[j] != zero:
            return f"{name} has a rate rule"
    return ""


def _lumped_columns(reduction: ReducedSystem, rows: Sequence[Mapping[int, Fraction]]) -> list[dict[int, Fraction]]:
    """Columns of LS."""
    columns: list[dict[int, Fraction]] = [{} for _ in reduction.original.reactions]
    for k, row in enumerate(reduction.matrix.rows):
        for j, value in row.items():
            for column, amount in rows[j].items():
                add_to(columns[column], k, value * amount)
    return [without_zeros(column) for column in columns]


def _groups(
    original: OdeSystem, columns: Sequence[Mapping[int, Fraction]]
) -> tuple[dict[Direction, dict[str, Fraction]], list[str]]:
    """Reactions by the direction of their column, with their factors; and those that change nothing."""
    groups: dict[Direction, dict[str, Fraction]] = {}
    inner: list[str] = []
    for reaction, column in zip(original.reactions, columns, strict=True):
        if not column:
            inner.append(reaction.id)
            continue
        factor, direction = _direction(column)
        groups.setdefault(direction, {})[reaction.id] = factor
    return groups, inner


def _lifted(reduction: ReducedSystem) -> dict[Node, Node]:
    """Symbols of original states as expressions of the lumps."""
    original = reduction.original
    graph = original.graph
    image: dict[int, list[Node]] = {j: [] for j in range(original.size)}
    for name, row in zip(reduction.system.states, reduction.map.lift.rows, strict=True):
        for j, value in row.items():
            image[j].append(graph.scaled(value, graph.symbol(name)))
    for j, value in reduction.map.offset.items():
        image[j].append(graph.number(value))
    return {graph.symbol(original.states[j]): graph.add(parts) for j, parts in image.items()}


def _test(reduction: ReducedSystem, pairs: Sequence[tuple[Node, Node]], seed: int) -> IdentityTest:
    """Whether w(x) = w̃(Lx) at random points modulo random primes, constants being random too."""
    original = reduction.original
    graph = original.graph
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if not reduction.system.states or not pairs:
        return IdentityTest((), (), 0, 0.0)
    # constants for all of whose values the lumping is proved stay free: the pooled rates have to hold for them too
    proof = reduction.certificate
    free = set(map(graph.symbol, proof.symbolic)) if isinstance(proof, ExactProof) else set()
    bound_values = original.specialised() if reduction.method != "none" else {}
    fixed = {symbol: value for symbol, value in bound_values.items() if symbol not in free}
    left, right = graph.substitute(left, fixed), graph.substitute(right, fixed)
    names = sorted((graph.symbols(left) | graph.symbols(right)) - set(original.states) - set(reduction.system.states))
    shared = [graph.symbol(name) for name in names]
    first = Program(graph, left, [*map(graph.symbol, original.states), *shared, graph.time()])
    second = Program(graph, right, [*map(graph.symbol, reduction.system.states), *shared, graph.time()])
    rows = ModularRows(reduction.matrix.rows, original.size)
    each = ModularRows([{i: Fraction(1)} for i in range(len(left))], len(left))
    _, bound = bound_of(first, second)
    compare = compare_matching(first, second, each, rows.lumped)
    return run_trials(compare, np.random.default_rng([seed, 0x9001]), bound)


def _all_wrong(
    reduction: ReducedSystem,
    candidates: Sequence[tuple[dict[str, Fraction], Direction, Node, Node]],
    trial: IdentityTest,
    seed: int,
) -> set[int]:
    """Groups whose rate is no function of the lumps; a series of trials stops at its first find, so it is repeated."""
    graph = reduction.original.graph
    wrong = set(trial.wrong) | {i for i, one in enumerate(candidates) if graph.is_undefined(one[3])}
    if not trial.primes:
        return set(range(len(candidates)))
    while trial.wrong:
        rest = [i for i in range(len(candidates)) if i not in wrong]
        trial = _test(reduction, [(candidates[i][2], candidates[i][3]) for i in rest], seed + 1)
        wrong |= {rest[i] for i in trial.wrong}
    return wrong


def _with_reactions(reduction: ReducedSystem, pooling: PooledReactions) -> OdeSystem:
    system, original = reduction.system, reduction.original
    graph = system.graph
    moved = set(system.states)
    reactions: list[Reaction] = []
    known = {one.id: one for one in original.reactions}
    for one in pooling.reactions:
        reactants = tuple(Participant(n, graph.number(-v)) for n, v in one.change.items() if v < 0)
        products = tuple(Participant(n, graph.number(v)) for n, v in one.change.items() if v > 0)
        acting = graph.symbols([one.flux]) & moved
        modifiers = tuple(sorted(acting - {p.species for p in (*reactants, *products)}))
        reversible = any(known[name].reversible for name in one.members)
        name = None if one.id in one.members else " + ".join(one.members)[:200]
        reactions.append(Reaction(one.id, one.flux, reactants, products, modifiers, reversible, name=name))
    quantities = dict(system.quantities)
    for lump in reduction.lumps:
        if lump.is_single:
            continue
        member = original.quantities.get(next(iter(lump.members)))
        if member is not None and member.kind == "species":
            quantities[lump.id] = Quantity(
                lump.id,
                "species",
                compartment=member.compartment,
                amount=member.amount,
                given_as_amount=member.amount,
            )
            home = member.compartment
            if home is not None and home in original.quantities:
                quantities.setdefault(home, original.quantities[home])
    pooled_system = replace(
        system,
        # a flux that is observed is an assigned quantity of the lumped model; as a reaction it has its id again
        assigned=tuple(one for one in system.assigned if one.id not in {r.id for r in reactions}),
        reactions=tuple(reactions),
        quantities=quantities,
    )
    return with_fluxes(pooled_system, system, (one.id for one in reduction.observables))
