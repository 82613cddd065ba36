"""An ODE system, original or reduced, as SBML Level 3 Version 2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import libsbml

from sbmlump._version import __version__
from sbmlump.errors import InputError, Reason, SbmlumpError, UnsupportedModelError, some_names
from sbmlump.files import ModelFile
from sbmlump.model.equality import refuse_differences
from sbmlump.model.evaluate import field_values
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.names import claim_id, free_id, is_sid
from sbmlump.model.reduced import AffineLumping, ErrorEstimate, Lump, Meaning, ReducedSystem
from sbmlump.model.system import MODEL_UNITS, Assigned, Constant, Event, Key, OdeSystem, Quantity, event_expressions
from sbmlump.model.text import combination
from sbmlump.sbml.annotation import (
    DECLARATION,
    NAMESPACE,
    XHTML,
    Child,
    as_division,
    attributes,
    block,
    children_of,
    derived_from,
    element,
    escaped,
    extras,
    fragment,
    is_well_formed,
    join_content,
    leaf,
    line,
    lumping_annotation,
    notes_text,
    parts_annotation,
    section,
    with_children,
)
from sbmlump.sbml.read.document import open_sbml
from sbmlump.sbml.read.load import ReadResult, read_opened
from sbmlump.sbml.write.elements import (
    DynamicsWriter,
    ElementWriter,
    Place,
    Reference,
    WrittenInitialValue,
    event_assignments,
    initial_values,
    known_units,
    references,
    takes_trigger_values,
    unit_definitions,
)
from sbmlump.sbml.write.mathml import MATHML, SETTINGS, FactorOrder, MathmlPrinter, NumberTexts, WritingSettings
from sbmlump.sbml.write.metadata import (
    CORE,
    DescriptionWriter,
    PackageWriter,
    carried_constraints,
    lost_constraints,
    sbo_term,
)
from sbmlump.sbml.write.roles import (
    Role,
    WrittenRoles,
    assign_roles,
    choose_helpers,
    overlooked_powers,
    units_of_powers,
)

__all__ = [
    "WrittenSbml",
    "reduction_document",
    "system_document",
    "write_reduction",
    "write_system",
    "check_written",
    "GROUPS",
    "MetadataSettings",
    "changed_elements",
    "formula",
    "groups_of",
    "reduction_notes",
    "with_metadata",
]


# -- A reduced system made ready for writing -------------------------------------------------------

# A reduced system made ready for writing: what each id is, and what the model says of itself.


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
    few : int
        Members up to which a lump is called by its formula.
    """

    lumps: int = 200
    members: int = 30
    group_members: int = 8
    parts: int = 200
    bits: int = 100
    name: int = 80
    few: int = 3


_SETTINGS: Final = MetadataSettings()
_NONE: Final[Mapping[str, Meaning]] = {}
_COORDINATES: Final = (
    "Its states are coordinates, not species: they have no reactions, and control analysis does not apply to them."
)


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


def reduction_notes(
    reduced: ReducedSystem,
    original: str | None,
    settings: MetadataSettings = _SETTINGS,
    meanings: Mapping[str, Meaning] = _NONE,
) -> str:
    """A ``notes`` element: what was reduced, how, what each lump is and means; the notes of the original follow.

    Parameters
    ----------
    reduced : ReducedSystem
    original : str or None
        The ``notes`` element of the original model.
    """
    own = block(
        "div", (_summary(reduced, settings), _lumps(reduced.lumps, settings, meanings)), attributes(xmlns=XHTML)
    )
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
        if certificate.fresh is not None:
            claim += f" {certificate.fresh.sentence()}"
    else:
        claim = f"The reduction is exact: {certificate.statement.rstrip('.')}. {certificate.scope(settings.members)}"
        instead = [one.message.rstrip(".") for one in reduced.reasons if one.code == "exact-instead"]
        claim += "".join(f" {one[0].upper()}{one[1:]}." for one in instead)
    missed = "; ".join(one.message.rstrip(".") for one in reduced.shortfall)
    made = (
        f"This is a reduced version of the model {name}{source}, made by sbmlump {__version__} "
        f"with the method {reduced.method}: {reduced.original.size} states became {reduced.system.size}."
    )
    gone = some_names(reduced.vanished, settings.members)
    sentences = (
        made,
        f"It keeps: {kept}." if kept else "",
        f"It is not what was asked for: {missed}." if missed else "",
        claim,
        _COORDINATES if isinstance(reduced.map, AffineLumping) else "",
        f"Left out because they do not influence what is observed: {gone}." if gone else "",
        "The notes and the description of the original, where they follow, speak of the original model.",
    )
    return "".join(line("p", text) for text in sentences if text)


def _lumps(lumps: tuple[Lump, ...], settings: MetadataSettings, meanings: Mapping[str, Meaning]) -> str:
    most = settings.lumps
    made = [lump for lump in lumps if not lump.is_single]
    if not made:
        return line("p", "Every state of it is a state of the original model.")
    items = (
        line(
            "li", f"{_meant(meanings.get(lump.id))}{lump.id} = {formula(lump.members, settings.members, settings.bits)}"
        )
        for lump in made[:most]
    )
    more = line("p", f"{len(made) - most} more are in the annotation.") if len(made) > most else ""
    single = len(lumps) - len(made)
    rest = f" ({single} of {len(lumps)} states are states of the original model)" if single else ""
    return line("p", f"What each lump is made of{rest}:") + block("ul", items) + more


def _meant(meaning: Meaning | None) -> str:
    return "" if meaning is None else f"{meaning.sentence} "


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


def with_metadata(
    reduced: ReducedSystem, settings: MetadataSettings = _SETTINGS, meanings: Mapping[str, Meaning] = _NONE
) -> OdeSystem:
    """The reduced system with a record of each id, notes, and annotation.

    One original species stays what it was under its own id; a lump is a parameter unless the reduced system says
    otherwise, and says what its members were annotated with; everything else is what it was in the original. A lump is
    called after what its members share if a formula would be long.
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
    quantities = _with_labels(_with_parts(quantities, lumps, original, settings), lumps, meanings, settings)
    metaid = original.origin.metaid or free_id("sbmlump_model", _metaids(original))
    known = derived_from(_derived(original.origin.annotation), metaid, original.id)
    origin = replace(
        original.origin,
        metaid=metaid if known is not None else original.origin.metaid,
        notes=reduction_notes(reduced, original.origin.notes, settings, meanings),
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
        if quantity.is_concentration:
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


def _with_labels(
    quantities: Mapping[str, Quantity],
    lumps: Mapping[str, Lump],
    meanings: Mapping[str, Meaning],
    settings: MetadataSettings,
) -> dict[str, Quantity]:
    """Lumps of more members than are read at a glance with what these share as a name."""
    table = dict(quantities)
    for name, lump in lumps.items():
        meaning = meanings.get(name)
        if name in table and meaning is not None and meaning.label is not None and len(lump.members) > settings.few:
            table[name] = replace(table[name], name=meaning.label)
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


# -- An ODE system, original or reduced ------------------------------------------------------------


# -- Read what was written, before anybody else does ------------------------------------------------


_Node: Final = libsbml.ASTNode  # see mathml.py: a node may come as the class of another library
_NAME: Final = "what was written"


def check_written(
    data: bytes,
    system: OdeSystem,
    numbers: Mapping[str, Fraction],
    values: Mapping[str, float],
    settings: WritingSettings = SETTINGS,
) -> ReadResult:
    """Parse ``data`` and compare: every number and value in it, and the system that a reader makes of it.

    Parameters
    ----------
    data : bytes
        The finished document.
    system : OdeSystem
        What it is to say.
    numbers : mapping of str to Fraction
        Every ``cn`` element in it and what it stands for.
    values : mapping of str to float
        Size, value, initial amount or concentration of every element that has it as an attribute.

    Returns
    -------
    ReadResult
        What was read back.

    Raises
    ------
    SbmlumpError
        With code ``invalid-output``: a fault in sbmlump, or content of the original that Level 3 forbids;
        ``written-differs``: it is read back as another model.
    """
    try:
        opened = open_sbml(ModelFile(data, _NAME, ".xml", None))
    except InputError as error:
        _refuse([reason.message for reason in error.reasons])
        raise  # not reached: there is at least one reason
    document = opened.document
    model = document.getModel()
    _refuse(_wrong_numbers(numbers))
    _refuse(_wrong_values(model, values))
    if model.getNumReactions() <= settings.reactions_checked and len(data) <= settings.bytes_checked:
        for category in (libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, libsbml.LIBSBML_CAT_MODELING_PRACTICE):
            document.setConsistencyChecks(category, False)
        document.checkConsistency()
        _refuse(_errors(document))
    result = read_opened(opened, frozenset(c.id for c in system.constants if c.value is None))
    if result.system is None:
        _refuse([reason.message for reason in result.reasons])
    else:
        refuse_differences(system, result.system, "SBML")
        refuse_other_participants(system, result.system, settings.errors_listed)
    return result


def refuse_other_participants(written: OdeSystem, read: OdeSystem, most: int) -> None:
    """Refuse reactions with other reactants or products, also where no rate shows it (boundary species)."""
    known = {constant.id for constant in written.constants}
    start = read.at_start()
    new = {read.graph.symbol(c.id): start[c.id] for c in read.constants if c.id not in known and c.id in start}
    expected = _participants(written, {})
    found = _participants(read, new)
    wrong = [name for name, parts in expected.items() if found.get(name) != parts]
    if wrong:
        text = "not written: as SBML, the reactants and products of {} are read as others"
        raise UnsupportedModelError([Reason("written-differs", text.format(name), name) for name in wrong[:most]])


def _participants(system: OdeSystem, values: Mapping[Node, Node]) -> dict[str, Counter[tuple[int, str, int]]]:
    """For each reaction how often it has (side, species, stoichiometry as an element of a prime field)."""
    graph = system.graph
    parts = [
        (reaction.id, side, one)
        for reaction in system.reactions
        for side, several in enumerate((reaction.reactants, reaction.products))
        for one in several
    ]
    distinct = list(dict.fromkeys(one.stoichiometry for _, _, one in parts))
    nodes = dict(zip(distinct, graph.substitute(distinct, values), strict=True))
    numbers = field_values(graph, nodes.values())
    table: dict[str, Counter[tuple[int, str, int]]] = {reaction.id: Counter() for reaction in system.reactions}
    for name, side, one in parts:
        table[name][side, one.species, numbers[nodes[one.stoichiometry]]] += 1
    return table


def _errors(document: Any) -> list[str]:
    errors = (document.getError(i) for i in range(document.getNumErrors()))
    return [
        f"line {error.getLine()}: {' '.join(error.getMessage().split())} ({error.getErrorId()})"
        for error in errors
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR
    ]


def _refuse(problems: list[str], most: int = SETTINGS.errors_listed) -> None:
    if not problems:
        return
    more = f" (and {len(problems) - most} more)" if len(problems) > most else ""
    message = "the SBML made for this model is not valid, so nothing is written; please report this: "
    raise SbmlumpError(Reason("invalid-output", message + "; ".join(problems[:most]) + more))


def _wrong_numbers(numbers: Mapping[str, Fraction]) -> list[str]:
    """All numbers in one long list, read back one by one (a sum would be read as nested pairs)."""
    if not numbers:
        return []
    text = f'<math xmlns="{MATHML}"><apply><max/>{"".join(numbers)}</apply></math>'
    tree = libsbml.readMathMLFromString(text)
    if tree is None or _Node.getNumChildren(tree) != len(numbers):
        return ["libSBML does not read its numbers"]
    wrong = []
    for index, (written, value) in enumerate(numbers.items()):
        child = _Node.getChild(tree, index)
        if _number_of(child) != value or _double_of(child) != float(value):
            wrong.append(f"{written} is not read as {value}")
    return wrong


def _number_of(node: Any) -> Fraction | None:
    """The rational that a number node denotes by its decimal text."""
    kind = _Node.getType(node)
    if kind == libsbml.AST_INTEGER:
        return Fraction(_Node.getInteger(node))
    if kind == libsbml.AST_RATIONAL:
        return Fraction(_Node.getNumerator(node), _Node.getDenominator(node))
    if kind == libsbml.AST_REAL_E:
        return Fraction(repr(_Node.getMantissa(node))) * Fraction(f"1e{_Node.getExponent(node)}")
    if kind == libsbml.AST_REAL:
        return Fraction(repr(_Node.getReal(node)))
    return None


def _double_of(node: Any) -> float:
    return float(_Node.getInteger(node)) if _Node.getType(node) == libsbml.AST_INTEGER else float(_Node.getReal(node))


def _wrong_values(model: Any, values: Mapping[str, float]) -> list[str]:
    found: dict[str, float] = {}
    for index in range(model.getNumCompartments()):
        compartment = model.getCompartment(index)
        found[compartment.getIdAttribute()] = compartment.getSize()
    for index in range(model.getNumSpecies()):
        species = model.getSpecies(index)
        concentration = species.isSetInitialConcentration()
        value = species.getInitialConcentration() if concentration else species.getInitialAmount()
        found[species.getIdAttribute()] = value
    for index in range(model.getNumParameters()):
        parameter = model.getParameter(index)
        found[parameter.getIdAttribute()] = parameter.getValue()
    wrong = []
    for name, value in values.items():
        read = found.get(name)
        if read != value and not (read is not None and read != read and value != value):
            wrong.append(f"{name} is read as {read!r} instead of {value!r}")
    return wrong


# -- An ODE system, original or reduced ------------------------------------------------------------


_NAMEABLE: Final = frozenset({Op.ADD, Op.MUL, Op.DIV, Op.POW, Op.CALL, Op.PIECEWISE})
_RANKS: Final = {"parameter": 0, "species-reference": 0, "compartment": 1, "species": 2}
"""Order of factors: rate constants first, as people write them."""


@dataclass(frozen=True, slots=True)
class WrittenSbml:
    """An SBML document as it was read back, and what of the original is not in it (code ``not-kept``, one for each kind
    of thing).
    """

    data: bytes
    reasons: tuple[Reason, ...]
    read_back: ReadResult


def write_system(system: OdeSystem, settings: WritingSettings = SETTINGS) -> bytes:
    """The bytes of :func:`system_document`."""
    return system_document(system, settings).data


def write_reduction(reduced: ReducedSystem, settings: WritingSettings = SETTINGS) -> bytes:
    """The bytes of :func:`reduction_document`."""
    return reduction_document(reduced, settings).data


def system_document(system: OdeSystem, settings: WritingSettings = SETTINGS) -> WrittenSbml:
    """The system as an SBML document: same mathematics, ids, names, units, notes and annotations.

    Equal systems give equal bytes. The document has been read back, and is the system that was to be written.

    Raises
    ------
    LimitError
        ``too-large``.
    UnsupportedModelError
        ``id-not-writable``, ``not-self-contained``, ``circular-initial-value``, or ``written-differs`` where the result
        is read back as another model.
    SbmlumpError
        ``invalid-output`` where libSBML finds fault with the result (an internal error).
    """
    return _render(system, settings, all_rate_rules=False)


def reduction_document(
    reduced: ReducedSystem,
    settings: WritingSettings = SETTINGS,
    *,
    groups: bool = False,
    meanings: Mapping[str, Meaning] = _NONE,
) -> WrittenSbml:
    """The reduced model, with notes for people and the lumping as an annotation.

    With ``groups`` lumps are groups of the SBML package groups, too. They are not by default: libRoadRunner's conserved
    moieties, and with them its steady states and control coefficients, are not there for a model with that package.

    A state is written with the reactions of the reduced system where they give its right-hand side (see
    ``as_network``), else with a rate rule; a lump is a parameter unless the reduced system
    says that it is a species. ``meanings`` of lumps, by id, are told in the notes and by names.

    Raises
    ------
    LimitError, UnsupportedModelError, SbmlumpError
        As :func:`system_document`.
    """
    kept, lost = carried_constraints(reduced)
    system = replace(with_metadata(reduced, meanings=meanings), constraints=kept)
    written = _render(system, settings, all_rate_rules=True, reduced=reduced, with_groups=groups)
    return replace(written, reasons=(*lost_constraints(system.graph, lost), *written.reasons))


def _render(
    system: OdeSystem,
    settings: WritingSettings,
    *,
    all_rate_rules: bool,
    reduced: ReducedSystem | None = None,
    with_groups: bool = False,
) -> WrittenSbml:
    _check_ids(system)
    roles = assign_roles(system, all_rate_rules=all_rate_rules)
    by_id = roles.by_id
    start = initial_values(system, by_id)
    stoichiometries = references(system, by_id)
    amounts = {name for name, role in by_id.items() if role.what == "amount"}
    initial = _initial_assignments(start, stoichiometries)
    names = _names(system, by_id)
    for_amounts = {name: initial.pop(name) for name in amounts & initial.keys()}
    sites = list(_sites(system, roles, initial, stoichiometries))
    ids = frozenset(
        {*by_id, *(r.id for r in system.reactions), *(e.id for e in system.events if e.id is not None)}
        | {reference.id for reference in stoichiometries.values() if reference.id is not None}
    )
    taken = ids | _other_ids(system)
    printers = _Printers.of(system, by_id, sites, names, taken, settings)
    helpers, numbers = printers.helpers, printers.numbers
    units = known_units(system.origin)
    unnamed = _stoichiometries_by_number(by_id)
    mentioned = _mentioned(printers.common, {*sites, *helpers}, by_id) if amounts or unnamed else set()
    hidden = amounts - mentioned
    # a reference that nothing names is no quantity to readers: an assignment of its own number makes it one
    initial |= {name: node for name, node in unnamed.items() if name not in mentioned}
    initial |= {name: node for name, node in for_amounts.items() if name not in hidden}
    original = system if reduced is None else reduced.original
    new_ids = ids - original.taken_ids
    packages = PackageWriter(system.origin.packages, system.origin.other_packages, new_ids, whole=reduced is None)
    elements = ElementWriter({n: r for n, r in by_id.items() if n not in hidden}, start, units, packages)
    stale = frozenset() if reduced is None else changed_elements(reduced.original, system)
    described = DescriptionWriter(system.origin.descriptions, ids, stale, units, numbers.plain)
    dynamics = DynamicsWriter(
        system, by_id, elements, printers.common, printers.rules, stoichiometries, described, packages
    )
    section = described.section
    added = roles.added_compartment
    if added is not None:
        elements.values[added] = 1.0
    body = [
        section("listOfFunctionDefinitions", dynamics.functions(printers.functions, ids)),
        section("listOfUnitDefinitions", unit_definitions(system.origin.unit_definitions, units, described)),
        section("listOfCompartments", [*elements.compartments(), _plain_compartment(added)]),
        section("listOfSpecies", elements.species()),
        section(
            "listOfParameters",
            [*elements.parameters(), *(_helper(name, printers.units.get(node)) for node, name in helpers.items())],
        ),
        section("listOfInitialAssignments", dynamics.initial_assignments(initial)),
        section("listOfRules", [*dynamics.assignment_rules(helpers), *dynamics.rate_rules()]),
        section("listOfConstraints", dynamics.constraints()),
        section("listOfReactions", dynamics.reactions()),
        section("listOfEvents", dynamics.events()),
    ]
    groups = ""
    if reduced is not None and with_groups:
        groups = groups_of(reduced, by_id.keys() - hidden, {*taken, *helpers.values()})
    data = _document(system, ids, units, "".join(body), groups, described, packages).encode()
    read_back = check_written(data, _as_written(system, by_id), numbers.plain, elements.values, settings)
    return WrittenSbml(data, (*described.lost(), *packages.lost()), read_back)


def _other_ids(system: OdeSystem) -> set[str]:
    """Ids of what is no part of the equations: described elements, function definitions, packages."""
    taken = {one.id for one in system.origin.descriptions.values() if one.id is not None}
    taken |= {one.id for one in system.functions}
    return taken.union(*(package.ids for package in system.origin.packages))


@dataclass(frozen=True, slots=True)
class _Printers:
    """How expressions are printed: with names for what is defined elsewhere.

    Attributes
    ----------
    common, rules, functions : MathmlPrinter
        For everything; with fluxes by their ids, too; for function definitions, in which nothing has a name.
    helpers : dict of Node to str
        Parts that get assignment rules of their own, and their ids.
    units : mapping of Node to str
        Units of those that are powers.
    numbers : NumberTexts
    """

    common: MathmlPrinter
    rules: MathmlPrinter
    functions: MathmlPrinter
    helpers: dict[Node, str]
    units: Mapping[Node, str]
    numbers: NumberTexts

    @classmethod
    def of(
        cls,
        system: OdeSystem,
        roles: Mapping[str, Role],
        sites: Sequence[Node],
        names: Mapping[Node, str],
        taken: Collection[str],
        settings: WritingSettings,
    ) -> _Printers:
        graph = system.graph
        laws = [(reaction.flux, {one.species for one in reaction.reactants}) for reaction in system.reactions]
        overlooked = overlooked_powers(graph, laws, system.quantities, settings)
        helpers = choose_helpers(graph, sites, names, taken, overlooked, settings)
        numbers = NumberTexts(settings)
        order = FactorOrder(graph, sites, {name: _RANKS.get(role.quantity.kind, 0) for name, role in roles.items()})
        plain = FactorOrder(graph, [function.body for function in system.functions], {})
        return cls(
            MathmlPrinter(graph, {**helpers, **names}, numbers, order, taken),
            MathmlPrinter(graph, {**_flux_names(system, settings.flux), **helpers, **names}, numbers, order, taken),
            MathmlPrinter(graph, {}, numbers, plain, taken),
            helpers,
            units_of_powers(graph, overlooked, system.quantities),
            numbers,
        )


def _as_written(system: OdeSystem, roles: Mapping[str, Role]) -> OdeSystem:
    """The system with the moments at which the written events take their values, which come to the same."""
    moments = [takes_trigger_values(system, event, roles) for event in system.events]
    events = zip(system.events, moments, strict=True)
    return replace(system, events=tuple(replace(event, use_trigger_values=moment) for event, moment in events))


def _document(
    system: OdeSystem,
    taken: Collection[str],
    units: Mapping[str, str],
    body: str,
    groups: str,
    described: DescriptionWriter,
    packages: PackageWriter,
) -> str:
    origin = system.origin
    model_units = {f"{what}Units": units.get(origin.model_units.get(what, "")) for what in MODEL_UNITS}
    # the id of a model is one among the ids in it; it may be left out
    own = system.id if is_sid(system.id) and system.id not in taken else None
    name = system.name if system.name is not None or own is not None else system.id
    head = attributes(metaid=origin.metaid, sboTerm=sbo_term(origin.sbo), id=own, name=name, **model_units)
    head += attributes(conversionFactor=origin.conversion_factor)
    head += packages.attributes("model")
    said = packages.in_model(body, groups)
    model = element("model", head, extras(None, origin.notes, origin.annotation) + body + said)
    package = packages.namespaces(head + body + said)
    if groups and f'{GROUPS}"' not in package:
        package += f' xmlns:groups="{GROUPS}" groups:required="false"'
    head = attributes(xmlns=CORE, level="3", version="2") + package + described.head("sbml")
    return DECLARATION + block("sbml", (described.content("sbml"), model), head)


def _check_ids(system: OdeSystem) -> None:
    ids = [*system.states, *(c.id for c in system.constants), *(a.id for a in system.assigned)]
    ids += [r.id for r in system.reactions]
    bad = [name for name in ids if not is_sid(name)]
    if bad:
        advice = "rename it (letters, digits and _ only, no digit first)"
        raise UnsupportedModelError(
            [Reason("id-not-writable", f"{name!r} is no identifier in SBML; {advice}", name) for name in bad[:10]]
        )


def _initial_assignments(
    start: Mapping[str, WrittenInitialValue], stoichiometries: Mapping[Place, Reference]
) -> dict[str, Node]:
    nodes = {name: one.assignment for name, one in start.items() if one.assignment is not None}
    for reference in stoichiometries.values():
        if reference.initial is not None and reference.id is not None:
            nodes[reference.id] = reference.initial
    return nodes


def _stoichiometries_by_number(roles: Mapping[str, Role]) -> dict[str, Node]:
    """Stoichiometries with an id that are constant and given by an attribute."""
    return {
        name: role.value
        for name, role in roles.items()
        if role.quantity.kind == "species-reference" and role.what == "constant" and role.value is not None
    }


def _sites(
    system: OdeSystem, roles: WrittenRoles, initial: Mapping[str, Node], stoichiometries: Mapping[Place, Reference]
) -> Iterator[Node]:
    """Every expression that is written, once for each time it is."""
    yield from initial.values()
    yield from (a.value for a in system.assigned if roles.by_id[a.id].what == "assigned")
    yield from (r.rule for r in stoichiometries.values() if r.rule is not None)
    for name, rhs in zip(system.states, system.rhs, strict=True):
        if roles.by_id[name].rate_rule:
            yield rhs
    yield from (reaction.flux for reaction in system.reactions)
    yield from (constraint.condition for constraint in system.constraints)
    for event in system.events:
        yield from _event_sites(system, event, roles)


def _event_sites(system: OdeSystem, event: Event, roles: WrittenRoles) -> Iterator[Node]:
    yield event.trigger
    yield from (node for node in (event.delay, event.priority) if node is not None)
    yield from (node for _, node in event_assignments(system, event, roles.by_id))


def _mentioned(printer: MathmlPrinter, sites: set[Node], roles: Mapping[str, Role]) -> set[str]:
    """Ids in everything that is printed; definitions are opened, but that of a constant amount has none."""
    found: set[str] = set()
    for site in sites:
        owner = printer.name_of(site)
        constant_amount = owner is not None and owner in roles and roles[owner].what == "implicit"
        found |= printer.ids(site, None if constant_amount else owner)
    return found


def _names(system: OdeSystem, roles: Mapping[str, Role]) -> dict[Node, str]:
    """Expressions that have an id: values of assigned quantities, the first of several, those without a rule before."""
    names: dict[Node, str] = {}
    for assigned in sorted(system.assigned, key=lambda one: roles[one.id].what != "implicit"):
        if _is_nameable(system.graph, assigned.value):
            names.setdefault(assigned.value, assigned.id)
    return names


def _flux_names(system: OdeSystem, least: int) -> dict[Node, str]:
    """Fluxes that are long enough to be printed as the id of their reaction."""
    graph = system.graph
    names: dict[Node, str] = {}
    for reaction in system.reactions:
        if _is_nameable(graph, reaction.flux) and _is_long(graph, reaction.flux, least):
            names.setdefault(reaction.flux, reaction.id)
    return names


def _is_nameable(graph: Graph, node: Node) -> bool:
    """Numbers and symbols are shorter than a name; truth values are not what a simulator expects of one."""
    op = graph.op(node)
    return op in _NAMEABLE and not (op is Op.CALL and graph.name(node) in RELATIONS | LOGIC)


def _is_long(graph: Graph, node: Node, least: int) -> bool:
    stack, count = [node], 0
    while stack and count < least:
        count += 1
        stack.extend(graph.args(stack.pop()))
    return count >= least


def _plain_compartment(name: str | None) -> str:
    if name is None:
        return ""
    return leaf("compartment", id=name, spatialDimensions="3", size="1", constant="true")


def _helper(name: str, units: str | None) -> str:
    return leaf("parameter", id=name, units=units, constant="false")
