"""A reduced system made ready for writing: what each id is, and what the model says of itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from sbmlump.events import event_expressions
from sbmlump.expr.generic_values import field_values
from sbmlump.reduced import Lump, ReducedSystem
from sbmlump.sbml.annotation import NAMESPACE, lumping_annotation
from sbmlump.sbml.write_notes import formula, reduction_notes
from sbmlump.sbml.write_rdf import derived_from, parts_annotation
from sbmlump.sbml.write_roles import assign_roles
from sbmlump.sbml.write_xml import children_of, join_content, with_children
from sbmlump.system import Assigned, Constant, Key, OdeSystem, Quantity

__all__ = ["changed_elements", "dressed"]

_LONGEST_NAME: Final = 80
_QUALIFIERS: Final = re.compile(r"xmlns:([A-Za-z_][\w.-]*)=[\"']http://biomodels\.net/model-qualifiers/[\"']")


def dressed(reduced: ReducedSystem) -> OdeSystem:
    """The reduced system with a record of each id, notes, and annotation.

    One original species stays what it was under its own id; a lump is a parameter unless the reduced system says
    otherwise, and says what its members were annotated with; everything else is what it was in the original.
    """
    original, system = reduced.original, reduced.system
    lumps = {lump.id: lump for lump in reduced.lumps if not lump.is_single}
    ids = [*system.states, *(c.id for c in system.constants), *(a.id for a in system.assigned)]
    quantities = {
        name: system.quantities.get(name) or _quantity(name, lumps.get(name), original.quantities) for name in ids
    }
    kept = _useful(system)
    for constant in system.constants:
        if constant not in kept:
            quantities.pop(constant.id)
    added = _missing_compartments(original, quantities)
    constants = (*kept, *added)
    resting = {c.id for c in constants}
    moving = [n for n, one in quantities.items() if one.kind == "species" and one.compartment not in resting]
    by_reactions = _moved_by_reactions(replace(system, constants=constants, quantities=quantities), moving)
    for name in moving:
        if name not in by_reactions:
            # what a concentration rule means while its compartment changes is read differently by tools;
            # a parameter has the same value without doubt, and takes no part in reactions
            quantities[name] = replace(quantities[name], kind="parameter", units=None)
    system = _without_participants(system, set(moving) - by_reactions)
    for name, quantity in quantities.items():
        if name in by_reactions:
            continue
        if quantity.kind == "species" and name in system.states:
            quantities[name] = replace(quantity, boundary=quantity.boundary and bool(system.reactions))
    for constant in added:
        quantities[constant.id] = original.quantities[constant.id]
    quantities = _with_parts(quantities, lumps, original)
    metaid = original.origin.metaid or _free_metaid("sbmlump_model", _metaids(original))
    known = derived_from(_derived(original.origin.annotation), metaid, original.id)
    origin = replace(
        original.origin,
        metaid=metaid if known is not None else original.origin.metaid,
        notes=reduction_notes(reduced, original.origin.notes),
        annotation=_annotation(reduced, known),
    )
    return replace(system, constants=constants, quantities=quantities, origin=origin)


def _moved_by_reactions(system: OdeSystem, names: Collection[str]) -> set[str]:
    """Of some species those whose right-hand side is what reactions and the size of their compartment make of it."""
    if not names or not system.reactions:
        return set()
    roles = assign_roles(system, all_rate_rules=True).by_id
    return {name for name in names if roles[name].what == "state" and not roles[name].rate_rule}


def _without_participants(system: OdeSystem, names: Collection[str]) -> OdeSystem:
    """The system whose reactions go on without some quantities; the flux of one that is left with none is assigned."""
    if not names or not system.reactions:
        return system
    reactions = [
        replace(
            one,
            reactants=tuple(part for part in one.reactants if part.species not in names),
            products=tuple(part for part in one.products if part.species not in names),
            modifiers=tuple(name for name in one.modifiers if name not in names),
        )
        for one in system.reactions
    ]
    empty = {one.id for one in reactions if not one.reactants and not one.products}
    fluxes = tuple(Assigned(one.id, one.flux) for one in reactions if one.id in empty)
    return replace(
        system,
        reactions=tuple(one for one in reactions if one.id not in empty),
        assigned=(*system.assigned, *fluxes),
    )


def changed_elements(original: OdeSystem, system: OdeSystem) -> frozenset[Key]:
    """Described elements of the original that are something else in a reduced system, whatever their names.

    What is said of a kinetic law holds for a law that is the same formula (up to arithmetic).
    """
    laws = {reaction.id: reaction.flux for reaction in original.reactions}
    shared = [one for one in system.reactions if one.id in laws] if system.graph is original.graph else []
    values = field_values(system.graph, [node for one in shared for node in (one.flux, laws[one.id])])
    same = {one.id for one in shared if values[one.flux] == values[laws[one.id]]}
    stale = {key for key in original.origin.descriptions if key[0] == "kineticLaw" and key[1] not in same}
    if len(system.events) != len(original.events):  # an event without an id is known by its place
        stale |= {key for key in original.origin.descriptions if len(key) > 1 and key[1].startswith("#")}
    return frozenset(stale)


def _useful(system: OdeSystem) -> tuple[Constant, ...]:
    """Constants but those without a value that nothing mentions any more: simulators refuse a model with one."""
    if all(constant.value is not None for constant in system.constants):
        return system.constants
    roots = [*system.rhs, *system.initial, *(one.value for one in system.assigned)]
    roots += [constant.value for constant in system.constants if constant.value is not None]
    roots += [reaction.flux for reaction in system.reactions] + [one.condition for one in system.constraints]
    roots += event_expressions(system.events)
    used = system.graph.symbols(roots) | {name for event in system.events for name, _ in event.assignments}
    used |= {q.compartment for q in system.quantities.values() if q.compartment is not None}
    return tuple(one for one in system.constants if one.value is not None or one.id in used)


def _quantity(name: str, lump: Lump | None, original: Mapping[str, Quantity]) -> Quantity:
    if lump is None:
        return original.get(name) or Quantity(name, "parameter")
    text = formula(lump.members)
    return Quantity(
        name, "parameter", name=text if len(text) <= _LONGEST_NAME else None, units=_common_unit(lump, original)
    )


def _common_unit(lump: Lump, original: Mapping[str, Quantity]) -> str | None:
    """The unit of a sum of like things; a concentration has no unit with an id, a fraction of a unit is another one."""
    units = set()
    for name, value in lump.members.items():
        quantity = original.get(name)
        if quantity is None or value.denominator != 1:
            return None
        if quantity.kind == "species" and not quantity.amount:
            return None
        units.add(quantity.units)
    return units.pop() if len(units) == 1 else None


def _missing_compartments(original: OdeSystem, quantities: Mapping[str, Quantity]) -> list[Constant]:
    """Compartments of constant size that species of the reduced model lie in but that it does not mention."""
    wanted = {q.compartment for q in quantities.values() if q.kind == "species"} - set(quantities)
    return [c for c in original.constants if c.id in wanted and c.id in original.quantities]


def _annotation(reduced: ReducedSystem, original: str | None) -> str:
    own = lumping_annotation(reduced)
    if original is None:
        return f"<annotation>\n{own}</annotation>"
    # if the original was a reduced model itself, what it said of that is no longer true
    old = {child: "" for child in children_of(original) if child.name == f"{NAMESPACE} lumping"}
    original = with_children(original, old)
    return join_content(original, "\n" + own, first=False)


def _with_parts(
    quantities: Mapping[str, Quantity], lumps: Mapping[str, Lump], original: OdeSystem
) -> dict[str, Quantity]:
    """Lumps with what their members were annotated with."""
    taken = _metaids(original)
    table = dict(quantities)
    for name, lump in lumps.items():
        if name not in table or table[name].annotation is not None:
            continue
        members = (original.quantities.get(member) for member in lump.members)
        metaid = _free_metaid(f"sbmlump_{name}", taken)
        annotation = parts_annotation(metaid, [member.annotation for member in members if member is not None])
        if annotation is not None:
            taken.add(metaid)
            table[name] = replace(table[name], metaid=metaid, annotation=annotation)
    return table


def _metaids(original: OdeSystem) -> set[str]:
    found = {quantity.metaid for quantity in original.quantities.values()}
    found |= {reaction.metaid for reaction in original.reactions} | {event.metaid for event in original.events}
    found |= {one.metaid for one in original.origin.descriptions.values()}
    found |= {constraint.description.metaid for constraint in original.constraints}
    return {metaid for metaid in (*found, original.origin.metaid) if metaid is not None}


def _free_metaid(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _derived(annotation: str | None) -> str | None:
    """The annotation with "is this model" turned into "is derived from this model"."""
    if annotation is None:
        return None
    for prefix in set(_QUALIFIERS.findall(annotation)):
        annotation = re.sub(rf"(</?){re.escape(prefix)}:is(\s*>)", rf"\1{prefix}:isDerivedFrom\2", annotation)
    return annotation
