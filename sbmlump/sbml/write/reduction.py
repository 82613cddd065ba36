"""A reduced system made ready for writing: what each id is, and what the model says of itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from sbmlump._version import __version__
from sbmlump.model.evaluate import field_values
from sbmlump.model.names import claim_id, free_id
from sbmlump.model.reduced import ErrorEstimate, Lump, ReducedSystem
from sbmlump.model.system import Assigned, Constant, Key, OdeSystem, Quantity, event_expressions
from sbmlump.model.text import combination
from sbmlump.sbml.annotation import NAMESPACE, derived_from, lumping_annotation, parts_annotation
from sbmlump.sbml.write.roles import assign_roles
from sbmlump.sbml.xml import (
    XHTML,
    Child,
    as_division,
    attributes,
    block,
    children_of,
    element,
    escaped,
    fragment,
    is_well_formed,
    join_content,
    leaf,
    line,
    notes_text,
    section,
    with_children,
)

__all__ = ["GROUPS", "MetadataSettings", "changed_elements", "formula", "groups_of", "reduction_notes", "with_metadata"]


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """How much of a reduction the written model says to people; the annotation itself has all of it, exactly.

    Attributes
    ----------
    lumps, members : int
        Lumps that the notes list, and terms of each.
    group_members : int
        Terms of a lump in the name of its group.
    parts : int
        URIs of members that a lump is annotated with.
    bits : int
        Of a coefficient that is written exactly: thirty digits can still be read.
    name : int
        Characters of a formula that becomes the name of a lump.
    """

    lumps: int = 200
    members: int = 30
    group_members: int = 8
    parts: int = 200
    bits: int = 100
    name: int = 80


_SETTINGS: Final = MetadataSettings()


# -- What a reduced model says of itself to people -----------------------------------------------


def formula(members: Mapping[str, Fraction], most: int = _SETTINGS.members, bits: int = _SETTINGS.bits) -> str:
    """``A + 2*B - 1/2*C``; after ``most`` terms, how many more there are."""
    return combination(members.items(), most, number=lambda value: _brief(value, bits))


def _brief(value: Fraction, bits: int) -> str:
    """``value`` exactly if that is readable, else roughly (the annotation has it exactly)."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) <= bits:
        return str(value)
    try:
        return f"(about {float(value):.6g})"
    except OverflowError:
        return "(a very large number)"


def reduction_notes(reduced: ReducedSystem, original: str | None, settings: MetadataSettings = _SETTINGS) -> str:
    """A ``notes`` element: what was reduced, how, what each lump is; the notes of the original follow.

    Parameters
    ----------
    reduced : ReducedSystem
    original : str or None
        The ``notes`` element of the original model.
    """
    own = block("div", (_summary(reduced, settings), _lumps(reduced.lumps, settings)), attributes(xmlns=XHTML))
    if original is None:
        return fragment("notes", own)
    original = notes_text(original)
    children = children_of(original)
    whole = next((c for c in children if c.name in (f"{XHTML} body", f"{XHTML} html")), None)
    if whole is None:
        return join_content(original, "\n" + own, first=True)
    body: Child | None = whole
    if whole.name.endswith("html"):
        body = next((child for child in children_of(whole.text) if child.name == f"{XHTML} body"), None)
    if body is None or not is_well_formed(body.text):
        rest = f"<pre>{escaped(whole.text)}</pre>"
    else:
        rest = as_division(body)
    return f'<notes>\n<body xmlns="{XHTML}">\n{own}{rest}\n</body>\n</notes>'


def _summary(reduced: ReducedSystem, settings: MetadataSettings) -> str:
    origin = reduced.original.origin
    name = reduced.original.name or reduced.original.id
    source = f" (file {origin.file.rpartition('/')[2]})" if origin.file is not None else ""
    kept = ", ".join(
        one.id if one.text == one.id else f"{one.id} = {one.text}" for one in reduced.observables[: settings.members]
    )
    certificate = reduced.certificate
    if isinstance(certificate, ErrorEstimate):
        claim = (
            f"The reduction is approximate: the largest relative error measured over {certificate.ensemble} initial "
            f"states up to time {certificate.horizon:g} is {certificate.worst_error:.3g}."
        )
    else:
        claim = f"The reduction is exact: {certificate.statement.rstrip('.')}. {certificate.scope(settings.members)}"
    made = (
        f"This is a reduced version of the model {name}{source}, made by sbmlump {__version__} "
        f"with the method {reduced.method}: {reduced.original.size} states became {reduced.system.size}."
    )
    sentences = (
        made,
        f"It keeps: {kept}." if kept else "",
        claim,
        "The notes and the description of the original, where they follow, speak of the original model.",
    )
    return "".join(line("p", text) for text in sentences if text)


def _lumps(lumps: tuple[Lump, ...], settings: MetadataSettings) -> str:
    most = settings.lumps
    made = [lump for lump in lumps if not lump.is_single]
    if not made:
        return line("p", "Every state of it is a state of the original model.")
    items = (
        line("li", f"{lump.id} = {formula(lump.members, settings.members, settings.bits)}") for lump in made[:most]
    )
    more = line("p", f"{len(made) - most} more are in the annotation.") if len(made) > most else ""
    single = len(lumps) - len(made)
    rest = f" ({single} of {len(lumps)} states are states of the original model)" if single else ""
    return line("p", f"What each lump is made of{rest}:") + block("ul", items) + more


# -- Lumps as groups of the SBML package groups -----------------------------------------------------


GROUPS: Final = "http://www.sbml.org/sbml/level3/version1/groups/version1"


def groups_of(
    reduced: ReducedSystem,
    present: Collection[str],
    taken: Collection[str],
    settings: MetadataSettings = _SETTINGS,
) -> str:
    """A ``listOfGroups``: all lumps of several states as one classification, and the parts of each that are present.

    Parameters
    ----------
    reduced : ReducedSystem
    present : collection of str
        Ids of the written model that a group may name.
    taken : collection of str
        Ids that a group must not have.

    Returns
    -------
    str
        Empty if every state is a state of the original.
    """
    lumps = [lump for lump in reduced.lumps if not lump.is_single and lump.id in present]
    if not lumps:
        return ""
    used = set(taken)
    name = claim_id("sbmlump_lumps", used)
    text = "states that stand for several states of the original model"
    groups = [_group(name, "classification", text, [lump.id for lump in lumps])]
    for lump in lumps:
        parts = [member for member in lump.members if member in present]
        if parts:
            name = claim_id(f"sbmlump_parts_{lump.id}", used)
            text = f"of {lump.id} = {formula(lump.members, settings.group_members, settings.bits)}"
            groups.append(_group(name, "partonomy", text, parts))
    return section("groups:listOfGroups", groups)


def _group(name: str, kind: str, text: str, members: list[str]) -> str:
    items = (leaf("groups:member", **{"groups:idRef": one}) for one in members)
    head = attributes(**{"groups:id": name, "groups:kind": kind, "groups:name": text})
    return element("groups:group", head, section("groups:listOfMembers", items))


# -- A reduced system made ready for writing --------------------------------------------------------


_QUALIFIERS: Final = re.compile(r"xmlns:([A-Za-z_][\w.-]*)=[\"']http://biomodels\.net/model-qualifiers/[\"']")


def with_metadata(reduced: ReducedSystem, settings: MetadataSettings = _SETTINGS) -> OdeSystem:
    """The reduced system with a record of each id, notes, and annotation.

    One original species stays what it was under its own id; a lump is a parameter unless the reduced system says
    otherwise, and says what its members were annotated with; everything else is what it was in the original.
    """
    original, system = reduced.original, reduced.system
    lumps = {lump.id: lump for lump in reduced.lumps if not lump.is_single}
    ids = [*system.states, *(c.id for c in system.constants), *(a.id for a in system.assigned)]
    quantities = {
        name: system.quantities.get(name) or _quantity(name, lumps.get(name), original.quantities, settings)
        for name in ids
    }
    kept = _useful(system)
    for constant in system.constants:
        if constant not in kept:
            quantities.pop(constant.id)
    added = _missing_compartments(original, quantities)
    constants = (*kept, *added)
    constant_ids = {c.id for c in constants}
    moving = [n for n, one in quantities.items() if one.kind == "species" and one.compartment not in constant_ids]
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
    quantities = _with_parts(quantities, lumps, original, settings)
    metaid = original.origin.metaid or free_id("sbmlump_model", _metaids(original))
    known = derived_from(_derived(original.origin.annotation), metaid, original.id)
    origin = replace(
        original.origin,
        metaid=metaid if known is not None else original.origin.metaid,
        notes=reduction_notes(reduced, original.origin.notes, settings),
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


def _quantity(name: str, lump: Lump | None, original: Mapping[str, Quantity], settings: MetadataSettings) -> Quantity:
    if lump is None:
        return original.get(name) or Quantity(name, "parameter")
    text = formula(lump.members, settings.members, settings.bits)
    return Quantity(
        name, "parameter", name=text if len(text) <= settings.name else None, units=_common_unit(lump, original)
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
        return fragment("annotation", own)
    # if the original was a reduced model itself, what it said of that is no longer true
    old = {child: "" for child in children_of(original) if child.name == f"{NAMESPACE} lumping"}
    original = with_children(original, old)
    return join_content(original, "\n" + own, first=False)


def _with_parts(
    quantities: Mapping[str, Quantity], lumps: Mapping[str, Lump], original: OdeSystem, settings: MetadataSettings
) -> dict[str, Quantity]:
    """Lumps with what their members were annotated with."""
    taken = _metaids(original)
    table = dict(quantities)
    for name, lump in lumps.items():
        if name not in table or table[name].annotation is not None:
            continue
        members = (original.quantities.get(member) for member in lump.members)
        annotations = [member.annotation for member in members if member is not None]
        metaid = free_id(f"sbmlump_{name}", taken)
        annotation = parts_annotation(metaid, annotations, settings.parts)
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


def _derived(annotation: str | None) -> str | None:
    """The annotation with "is this model" turned into "is derived from this model"."""
    if annotation is None:
        return None
    for prefix in set(_QUALIFIERS.findall(annotation)):
        annotation = re.sub(rf"(</?){re.escape(prefix)}:is(\s*>)", rf"\1{prefix}:isDerivedFrom\2", annotation)
    return annotation
