"""Which lumps are species of the reduced model: where they lie, in what they are counted, and the lift that fits.

A lump of species of one compartment and one kind is a species of that kind. A lump across compartments is an amount
(the basis makes it a combination of amounts there) and lies in the compartment of its first member. Everything else
(lumps with negative members, of parameters, of species in compartments that change) stays a parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from sbmlump.expr.graph import Node
from sbmlump.reduced import Elimination, Lump, ReducedSystem
from sbmlump.system import OdeSystem, Quantity

__all__ = ["Home", "homes", "lifted_states", "lump_formula"]

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
    text = lump_formula(lump.members)
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


def lump_formula(members: Mapping[str, Fraction]) -> str:
    """``A + 2*B``."""
    return " + ".join(name if value == 1 else f"{value}*{name}" for name, value in members.items())


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
