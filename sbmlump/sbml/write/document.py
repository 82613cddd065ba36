"""An ODE system, original or reduced, as SBML Level 3 Version 2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import libsbml

from sbmlump.errors import InputError, Reason, SbmlumpError, UnsupportedModelError
from sbmlump.model.equality import refuse_differences
from sbmlump.model.evaluate import field_values
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import Event, OdeSystem
from sbmlump.model_files import ModelFile
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
from sbmlump.sbml.write.reduction import GROUPS, changed_elements, groups_of, with_metadata
from sbmlump.sbml.write.roles import (
    Role,
    WrittenRoles,
    assign_roles,
    choose_helpers,
    overlooked_powers,
    units_of_powers,
)
from sbmlump.sbml.xml import DECLARATION, attributes, block, element, extras, leaf

__all__ = ["WrittenSbml", "reduction_document", "system_document", "write_reduction", "write_system", "check_written"]


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
        _refuse_other_participants(system, result.system, settings.errors_listed)
    return result


def _refuse_other_participants(written: OdeSystem, read: OdeSystem, most: int) -> None:
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


# -- An ODE system, original or reduced, as SBML Level 3 Version 2 -------------------------------


_SID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_UNITS: Final = ("substance", "time", "volume", "area", "length", "extent")
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
        ``number-not-writable``.
    UnsupportedModelError
        ``id-not-writable``, ``not-self-contained``, ``circular-initial-value``, or ``written-differs`` where the result
        is read back as another model.
    SbmlumpError
        ``invalid-output`` where libSBML finds fault with the result (an internal error).
    """
    return _render(system, settings, all_rate_rules=False)


def reduction_document(reduced: ReducedSystem, settings: WritingSettings = SETTINGS) -> WrittenSbml:
    """The reduced model, with notes for people, the lumping as an annotation, and lumps as groups.

    A state is written with the reactions of the reduced system where they give its right-hand side (see
    ``as_network``), else with a rate rule; a lump is a parameter unless the reduced system
    says that it is a species.

    Raises
    ------
    LimitError, UnsupportedModelError, SbmlumpError
        As :func:`system_document`.
    """
    kept, lost = carried_constraints(reduced)
    system = replace(with_metadata(reduced), constraints=kept)
    written = _render(system, settings, all_rate_rules=True, reduced=reduced)
    return replace(written, reasons=(*lost_constraints(system.graph, lost), *written.reasons))


def _render(
    system: OdeSystem, settings: WritingSettings, *, all_rate_rules: bool, reduced: ReducedSystem | None = None
) -> WrittenSbml:
    _check_ids(system)
    graph = system.graph
    roles = assign_roles(system, all_rate_rules=all_rate_rules)
    by_id = roles.by_id
    start = initial_values(system, by_id)
    stoichiometries = references(system, by_id)
    amounts = {name for name, role in by_id.items() if role.what == "amount"}
    initial = _initial_assignments(start, stoichiometries)
    names = _names(system, by_id)
    for_amounts = {name: initial.pop(name) for name in amounts & initial.keys()}
    sites = list(_sites(system, roles, initial, stoichiometries))
    taken = {*by_id, *(r.id for r in system.reactions), *(e.id for e in system.events if e.id is not None)}
    taken |= {reference.id for reference in stoichiometries.values() if reference.id is not None}
    ids = frozenset(taken)
    taken |= {one.id for one in system.origin.descriptions.values() if one.id is not None}
    taken |= {one.id for one in system.functions}
    taken.update(*(package.ids for package in system.origin.packages))
    laws = [(reaction.flux, {one.species for one in reaction.reactants}) for reaction in system.reactions]
    overlooked = overlooked_powers(graph, laws, system.quantities, settings)
    helpers = choose_helpers(graph, sites, names, taken, overlooked, settings)
    helper_units = units_of_powers(graph, overlooked, system.quantities)
    numbers = NumberTexts(settings)
    order = FactorOrder(graph, sites, {name: _RANKS.get(role.quantity.kind, 0) for name, role in by_id.items()})
    printer = MathmlPrinter(graph, helpers | names, numbers, order)
    rule_printer = MathmlPrinter(graph, _flux_names(system, settings.flux) | helpers | names, numbers, order)
    units = known_units(system.origin)
    unnamed = _stoichiometries_by_number(by_id)
    mentioned = _mentioned(printer, {*sites, *helpers}, by_id) if amounts or unnamed else set()
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
    dynamics = DynamicsWriter(system, by_id, elements, printer, rule_printer, stoichiometries, described, packages)
    section = described.section
    added = roles.added_compartment
    if added is not None:
        elements.values[added] = 1.0
    plain_printer = MathmlPrinter(graph, {}, numbers, FactorOrder(graph, [f.body for f in system.functions], {}))
    body = [
        section("listOfFunctionDefinitions", dynamics.functions(plain_printer, ids)),
        section("listOfUnitDefinitions", unit_definitions(system.origin.unit_definitions, units, described)),
        section("listOfCompartments", [*elements.compartments(), _plain_compartment(added)]),
        section("listOfSpecies", elements.species()),
        section(
            "listOfParameters",
            [*elements.parameters(), *(_helper(name, helper_units.get(node)) for node, name in helpers.items())],
        ),
        section("listOfInitialAssignments", dynamics.initial_assignments(initial)),
        section("listOfRules", [*dynamics.assignment_rules(helpers), *dynamics.rate_rules()]),
        section("listOfConstraints", dynamics.constraints()),
        section("listOfReactions", dynamics.reactions()),
        section("listOfEvents", dynamics.events()),
    ]
    groups = "" if reduced is None else groups_of(reduced, by_id.keys() - hidden, {*taken, *helpers.values()})
    data = _document(system, ids, units, "".join(body), groups, described, packages).encode()
    read_back = check_written(data, _as_written(system, by_id), numbers.plain, elements.values, settings)
    return WrittenSbml(data, (*described.lost(), *packages.lost()), read_back)


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
    model_units = {f"{what}Units": units.get(origin.model_units.get(what, "")) for what in _MODEL_UNITS}
    # the id of a model is one among the ids in it; it may be left out
    own = system.id if _SID.fullmatch(system.id) and system.id not in taken else None
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
    bad = [name for name in ids if not _SID.fullmatch(name)]
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
