"""An ODE system, original or reduced, as SBML Level 3 Version 2."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.reduced import ReducedSystem
from sbmlump.sbml.mathml_out import FactorOrder, MathmlPrinter
from sbmlump.sbml.write_check import check_written
from sbmlump.sbml.write_constraints import carried_constraints, lost_constraints
from sbmlump.sbml.write_descriptions import CORE, DescriptionWriter, sbo_term
from sbmlump.sbml.write_dynamics import (
    DynamicsWriter,
    Place,
    Reference,
    event_assignments,
    references,
    takes_trigger_values,
)
from sbmlump.sbml.write_elements import ElementWriter, element, known_units, unit_definitions
from sbmlump.sbml.write_fragments import extras
from sbmlump.sbml.write_groups import GROUPS, groups_of
from sbmlump.sbml.write_misread import overlooked_powers, units_of_powers
from sbmlump.sbml.write_numbers import NumberTexts
from sbmlump.sbml.write_packages import PackageWriter
from sbmlump.sbml.write_reduction import changed_elements, dressed
from sbmlump.sbml.write_roles import Role, WrittenRoles, assign_roles
from sbmlump.sbml.write_sharing import choose_helpers
from sbmlump.sbml.write_start import WrittenInitialValue, starts
from sbmlump.sbml.write_xml import attributes
from sbmlump.system import Event, OdeSystem

__all__ = ["WrittenSbml", "reduction_document", "system_document", "write_reduction", "write_system"]

_SID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_UNITS: Final = ("substance", "time", "volume", "area", "length", "extent")
_NAMEABLE: Final = frozenset({Op.ADD, Op.MUL, Op.DIV, Op.POW, Op.CALL, Op.PIECEWISE})
_FLUX_WORTH_A_NAME: Final = 8
_RANKS: Final = {"parameter": 0, "species-reference": 0, "compartment": 1, "species": 2}
"""Order of factors: rate constants first, as people write them."""


@dataclass(frozen=True, slots=True)
class WrittenSbml:
    """An SBML document, and what of the original is not in it (code ``not-kept``, one for each kind of thing)."""

    data: bytes
    reasons: tuple[Reason, ...]


def write_system(system: OdeSystem) -> bytes:
    """The bytes of :func:`system_document`."""
    return system_document(system).data


def write_reduction(reduced: ReducedSystem) -> bytes:
    """The bytes of :func:`reduction_document`."""
    return reduction_document(reduced).data


def system_document(system: OdeSystem) -> WrittenSbml:
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
    return _render(system, all_rate_rules=False)


def reduction_document(reduced: ReducedSystem) -> WrittenSbml:
    """The reduced model, with notes for people, the lumping as an annotation, and lumps as groups.

    A state is written with the reactions of the reduced system where they give its right-hand side (see
    :func:`sbmlump.lumping.network.as_network`), else with a rate rule; a lump is a parameter unless the reduced system
    says that it is a species.

    Raises
    ------
    LimitError, UnsupportedModelError, SbmlumpError
        As :func:`system_document`.
    """
    kept, lost = carried_constraints(reduced)
    system = replace(dressed(reduced), constraints=kept)
    written = _render(system, all_rate_rules=True, reduced=reduced)
    return replace(written, reasons=(*lost_constraints(system.graph, lost), *written.reasons))


def _render(system: OdeSystem, *, all_rate_rules: bool, reduced: ReducedSystem | None = None) -> WrittenSbml:
    _check_ids(system)
    graph = system.graph
    roles = assign_roles(system, all_rate_rules=all_rate_rules)
    by_id = roles.by_id
    start = starts(system, by_id)
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
    overlooked = overlooked_powers(graph, laws, system.quantities)
    helpers = choose_helpers(graph, sites, names, taken, overlooked)
    helper_units = units_of_powers(graph, overlooked, system.quantities)
    numbers = NumberTexts()
    order = FactorOrder(graph, sites, {name: _RANKS.get(role.quantity.kind, 0) for name, role in by_id.items()})
    printer = MathmlPrinter(graph, helpers | names, numbers, order)
    rule_printer = MathmlPrinter(graph, _flux_names(system) | helpers | names, numbers, order)
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
        section("listOfCompartments", _with(elements.compartments(), _plain_compartment(added))),
        section("listOfSpecies", elements.species()),
        section(
            "listOfParameters",
            _with(elements.parameters(), *(_helper(name, helper_units.get(node)) for node, name in helpers.items())),
        ),
        section("listOfInitialAssignments", dynamics.initial_assignments(initial)),
        section("listOfRules", _with(dynamics.assignment_rules(helpers), *dynamics.rate_rules())),
        section("listOfConstraints", dynamics.constraints()),
        section("listOfReactions", dynamics.reactions()),
        section("listOfEvents", dynamics.events()),
    ]
    groups = "" if reduced is None else groups_of(reduced, by_id.keys() - hidden, {*taken, *helpers.values()})
    data = _document(system, ids, units, "".join(body), groups, described, packages).encode()
    check_written(data, _as_written(system, by_id), numbers.plain, elements.values)
    return WrittenSbml(data, (*described.lost(), *packages.lost()))


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
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<sbml xmlns="{CORE}" level="3" version="2"{package}'
        f"{described.head('sbml')}>\n{described.content('sbml')}{model}</sbml>\n"
    )


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
    """Ids in everything that is printed; definitions are opened, but a resting concentration has none."""
    found: set[str] = set()
    for site in sites:
        owner = printer.name_of(site)
        resting = owner is not None and owner in roles and roles[owner].what == "implicit"
        found |= printer.ids(site, None if resting else owner)
    return found


def _names(system: OdeSystem, roles: Mapping[str, Role]) -> dict[Node, str]:
    """Expressions that have an id: values of assigned quantities, the first of several, those without a rule before."""
    names: dict[Node, str] = {}
    for assigned in sorted(system.assigned, key=lambda one: roles[one.id].what != "implicit"):
        if _is_nameable(system.graph, assigned.value):
            names.setdefault(assigned.value, assigned.id)
    return names


def _flux_names(system: OdeSystem) -> dict[Node, str]:
    """Fluxes that are long enough to be printed as the id of their reaction."""
    graph = system.graph
    names: dict[Node, str] = {}
    for reaction in system.reactions:
        if _is_nameable(graph, reaction.flux) and _is_long(graph, reaction.flux):
            names.setdefault(reaction.flux, reaction.id)
    return names


def _is_nameable(graph: Graph, node: Node) -> bool:
    """Numbers and symbols are shorter than a name; truth values are not what a simulator expects of one."""
    op = graph.op(node)
    return op in _NAMEABLE and not (op is Op.CALL and graph.name(node) in RELATIONS | LOGIC)


def _is_long(graph: Graph, node: Node) -> bool:
    stack, count = [node], 0
    while stack and count < _FLUX_WORTH_A_NAME:
        count += 1
        stack.extend(graph.args(stack.pop()))
    return count >= _FLUX_WORTH_A_NAME


def _plain_compartment(name: str | None) -> str:
    if name is None:
        return ""
    return f"<compartment{attributes(id=name, spatialDimensions='3', size='1', constant='true')}/>\n"


def _helper(name: str, units: str | None) -> str:
    return f"<parameter{attributes(id=name, units=units, constant='false')}/>\n"


def _with(items: Iterator[str], *more: str) -> Iterator[str]:
    yield from items
    yield from more
