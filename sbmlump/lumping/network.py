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
from math import gcd, lcm
from typing import Final

from sbmlump.expr.combination import add_multiple
from sbmlump.expr.generic_values import PRIME, field_values
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.lumping.canonical import canonical_reactions
from sbmlump.lumping.species import Home, homes, lifted_states
from sbmlump.reduced import Elimination, Embedding, ErrorEstimate, LinearLumping, ReducedSystem
from sbmlump.system import Participant, Reaction

__all__ = ["Direction", "as_network"]

Direction = tuple[tuple[int, Fraction], ...]
"""What one event of a reaction does to the lumps: (position, coprime integer) pairs."""

_MOST_NAMED: Final = 3
_LONGEST: Final = 50


@dataclass(slots=True)
class _Group:
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
    return _Network(reduced, places).written()


class _Network:
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

    def _closed_and_open(self) -> tuple[list[_Group], list[_Group]]:
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
        found = {
            graph.symbol(name): graph.add(graph.scaled(v, symbols[j]) for j, v in row.items())
            for name, row in rows.items()
        }
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
                        column[i] = column.get(i, 0) + sign * amount
            columns.append({i: value for i, value in column.items() if value})
        return columns

    def _number(self, node: Node) -> Fraction | None:
        return self.graph.number_of(self.graph.substitute([node], self.fixed)[0])

    def _groups(self, columns: Sequence[Mapping[int, Fraction | int]]) -> list[_Group]:
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
            groups.append(_Group(direction, factors, graph.from_terms(total), both))
        return groups

    def _tested(self, groups: Sequence[_Group]) -> tuple[list[_Group], list[_Group]]:
        """Groups whose rate is a function of the lumps, and the others."""
        graph, original = self.graph, self.reduced.original
        fluxes = {r.id: r.flux for r in original.reactions}
        whole = [graph.add(graph.scaled(v, fluxes[name]) for name, v in group.members.items()) for group in groups]
        definition = self._combinations()
        whole = graph.substitute(whole, self.fixed)
        small = graph.substitute([group.rate for group in groups], self.fixed | definition)
        values = field_values(graph, [*whole, *small])
        closed: list[_Group] = []
        still: list[_Group] = []
        for group, left, right in zip(groups, whole, small, strict=True):
            fine = values[left] == values[right] and not graph.is_undefined(right)
            (closed if fine else still).append(group)
        return closed, still

    # -- what the reactions explain ------------------------------------------------------------------

    def _explained(self, closed: Sequence[_Group], still: Sequence[_Group]) -> tuple[set[int], dict[int, Node]]:
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
        # a state that nothing moves needs no reaction: its rule says that it is a state
        still_zero = {i for i in explained if graph.number_of(system.rhs[i]) == 0}
        return explained - still_zero, left

    def _amount_rate(self, i: int) -> Node:
        """Amount per time of lump ``i`` by the proved right-hand side."""
        graph, rhs = self.graph, self.reduced.system.rhs[i]
        size = self.places[i].size
        return rhs if size is None else graph.from_terms(_scaled_terms(self.graph, rhs, graph.symbol(size)))

    def _sums(self, groups: Sequence[_Group]) -> dict[int, Node]:
        totals: dict[int, dict[Node, Fraction]] = {i: {} for i in self.places}
        for group in groups:
            terms = self.graph.linear_terms(group.rate)
            for i, value in group.direction:
                add_multiple(totals[i], terms, value)
        return {i: self.graph.from_terms(total) for i, total in totals.items()}

    def _is_used(self, group: _Group, explained: Collection[int]) -> bool:
        return self.graph.number_of(group.rate) != 0 and any(i in explained for i, _ in group.direction)

    # -- writing -------------------------------------------------------------------------------------

    def _taken(self) -> set[str]:
        original, system = self.reduced.original, self.reduced.system
        return {*original.taken_ids, *system.taken_ids, *(home.quantity.id for home in self.places.values())}

    def _reaction(self, group: _Group) -> Reaction:
        original, system, graph = self.reduced.original, self.reduced.system, self.graph
        names = system.states
        reactants = tuple(Participant(names[i], graph.number(-v)) for i, v in group.direction if v < 0)
        products = tuple(Participant(names[i], graph.number(v)) for i, v in group.direction if v > 0)
        known = {r.id: r for r in original.reactions}
        listed = list(group.members)
        if len(listed) == 1 and group.members[listed[0]] == 1 and listed[0] not in system.definitions:
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
        joined = "pooled_" + "_".join(listed)
        if len(listed) > _MOST_NAMED or len(joined) > _LONGEST:
            joined = f"pooled_{listed[0][:_LONGEST]}_and_{len(listed) - 1}_more"
        name, number = joined, 1
        taken = self._taken()
        while name in taken:
            number += 1
            name = f"{joined}_{number}"
        text = " + ".join(_scaled_name(value, known[one].name or one) for one, value in list(group.members.items())[:8])
        text += f" + … ({len(listed) - 8} more)" if len(listed) > 8 else ""
        homes_of = {known[one].compartment for one in listed}
        home = homes_of.pop() if len(homes_of) == 1 else None
        return Reaction(name, group.rate, reactants, products, (), group.reversible, text, home)

    def _moves(self, reaction: Reaction, explained: Collection[int]) -> bool:
        place = self.reduced.system.state_index
        return any(place[one.species] in explained for one in (*reaction.reactants, *reaction.products))

    def _with(self, reactions: Sequence[Reaction], explained: Collection[int]) -> ReducedSystem:
        system, graph = self.reduced.system, self.graph
        reactions = _distinct(reactions)
        place = system.state_index
        totals: dict[int, dict[Node, Fraction]] = {i: {} for i in explained}
        for reaction in reactions:
            for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
                for one in side:
                    total = totals.get(place[one.species])
                    value = graph.number_of(one.stoichiometry)
                    if total is None or value is None:
                        continue
                    total[reaction.flux] = total.get(reaction.flux, Fraction(0)) + sign * value
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
        made = replace(system, rhs=tuple(rhs), reactions=tuple(reactions), quantities=quantities)
        return replace(self.reduced, system=made)

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
    common = lcm(*(value.denominator for value in column.values()))
    factor = Fraction(gcd(*(int(value * common) for value in column.values())), common)
    return factor, tuple(sorted((i, value / factor) for i, value in column.items()))


def _scaled_name(value: Fraction, name: str) -> str:
    """``2*name``, without the factor 1."""
    return name if value == 1 else f"{value}*{name}"


def _opposites_merged(graph: Graph, groups: Sequence[_Group]) -> tuple[list[_Group], list[_Group]]:
    """Groups of opposite directions as one reversible reaction each, and what is left single."""
    by_direction = {group.direction: group for group in groups}
    merged: list[_Group] = []
    left: list[_Group] = []
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
        merged.append(_Group(group.direction, members, rate, reversible=True))
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
        name, number = reaction.id, 1
        while name in seen:
            number += 1
            name = f"{reaction.id}_{number}"
        seen.add(name)
        out.append(reaction if name == reaction.id else replace(reaction, id=name))
    return out
