"""Compartments, species, parameters and units as XML."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, TypeVar

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.evaluate import field_values, values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.names import numbered_ids
from sbmlump.model.properties import written_sizes
from sbmlump.model.system import (
    Constraint,
    Event,
    Key,
    OdeSystem,
    Origin,
    Participant,
    Reaction,
    UnitDefinition,
    new_values,
    refuse_two_moments,
    with_trigger_values,
)
from sbmlump.model.text import double_text
from sbmlump.sbml.annotation import XHTML, attributes, element, escaped, extras, truth
from sbmlump.sbml.read.elements import event_key
from sbmlump.sbml.write.mathml import MATHML, MathmlPrinter, attribute_text, is_subnormal
from sbmlump.sbml.write.metadata import DescriptionWriter, PackageWriter, identity_attributes
from sbmlump.sbml.write.roles import Role

__all__ = [
    "BASE_UNITS",
    "ElementWriter",
    "known_units",
    "unit_definitions",
    "WrittenInitialValue",
    "initial_doubles",
    "initial_values",
    "DynamicsWriter",
    "Place",
    "Reference",
    "STOICHIOMETRY",
    "event_assignments",
    "references",
    "takes_trigger_values",
]


# -- How values at time 0 are written ---------------------------------------------------------------

# Beside an assignment (or a rule that gives a stoichiometry) stands the attribute with the nearest double: it means
# nothing to readers that know SBML, and others, which pass over the formula, take it instead of 0.


_Id = TypeVar("_Id")


@dataclass(frozen=True, slots=True)
class WrittenInitialValue:
    """The value of one id at time 0: ``text`` for the attribute named ``attribute``, and an initial assignment where
    that is not all (the attribute is then the nearest double).
    """

    attribute: str
    text: str | None = None
    assignment: Node | None = None


def initial_values(system: OdeSystem, roles: Mapping[str, Role]) -> dict[str, WrittenInitialValue]:
    """Values at time 0 by id; ids without one (missing, or given by a rule) are absent.

    Raises
    ------
    UnsupportedModelError
        As :func:`initial_doubles`.
    """
    graph = system.graph
    table: dict[str, WrittenInitialValue] = {}
    wanted: dict[str, Node] = {}
    for name, role in roles.items():
        if role.value is None:
            if role.what == "assigned" and role.quantity.kind == "species-reference":
                table[name] = WrittenInitialValue("stoichiometry")
                wanted[name] = graph.symbol(name)
            continue
        start = _start(graph, role, role.value)
        if start is not None:
            table[name] = start
            if start.assignment is not None:
                wanted[name] = start.assignment
    for name, text in initial_doubles(system, wanted).items():
        table[name] = replace(table[name], text=text)
    return table


def initial_doubles(system: OdeSystem, nodes: Mapping[_Id, Node]) -> dict[_Id, str]:
    """Attribute text of the double that each of ``nodes`` is at time 0; what has none that is read is absent.

    Parameters
    ----------
    system : OdeSystem
    nodes : mapping of key to Node
        Over any ids of the system, and time.

    Raises
    ------
    UnsupportedModelError
        With code ``circular-initial-value`` if initial values depend on each other in a circle.
    """
    if not nodes:
        return {}
    graph = system.graph
    try:
        known = system.at_start()
    except ValueError as error:
        raise UnsupportedModelError(Reason("circular-initial-value", f"{error}; break the circle")) from error
    mapping = {graph.symbol(name): value for name, value in known.items()} | {graph.time(): graph.number(0)}
    resolved = dict(zip(nodes, graph.substitute(list(nodes.values()), mapping), strict=True))
    closed = {key: node for key, node in resolved.items() if not graph.symbols([node])}
    numbers = values_of(graph, list(closed.values())).tolist()
    known_values = zip(closed, numbers, strict=True)
    return {key: double_text(value) for key, value in known_values if math.isfinite(value) and not is_subnormal(value)}


def _start(graph: Graph, role: Role, value: Node) -> WrittenInitialValue | None:
    quantity = role.quantity
    if quantity.kind == "species":
        return _species(graph, role, value)
    if quantity.kind == "compartment" and quantity.spatial_dimensions == 0 and graph.number_of(value) == 1:
        return None  # a point has no size; readers take 1
    attribute = {"compartment": "size", "species-reference": "stoichiometry"}.get(quantity.kind, "value")
    return _plain(graph, attribute, value, role.computed)


def _plain(graph: Graph, attribute: str, value: Node, computed: bool) -> WrittenInitialValue:
    text = None if computed else _text(graph, value)
    return WrittenInitialValue(attribute, assignment=value) if text is None else WrittenInitialValue(attribute, text)


def _species(graph: Graph, role: Role, value: Node) -> WrittenInitialValue:
    """An amount or a concentration, as the original gave it if that can be seen."""
    quantity = role.quantity
    own = "initialAmount" if quantity.amount else "initialConcentration"
    if role.computed:
        return WrittenInitialValue(own, assignment=value)
    if quantity.amount != quantity.given_as_amount and quantity.compartment is not None:
        other = "initialConcentration" if quantity.amount else "initialAmount"
        text = _scaled(graph, value, quantity.compartment, by_size=not quantity.amount)
        if text is not None:
            return WrittenInitialValue(other, text)
    return _plain(graph, own, value, computed=False)


def _scaled(graph: Graph, value: Node, compartment: str, *, by_size: bool) -> str | None:
    """Text of value · size (``by_size``) or value / size, where that is a number whatever the size is."""
    size = graph.symbol(compartment)
    if by_size and graph.op(value) is Op.DIV and graph.args(value)[1] == size:
        return _text(graph, graph.args(value)[0])
    if not by_size and graph.op(value) is Op.MUL and size in graph.args(value):
        return _text(graph, graph.mul(arg for arg in graph.args(value) if arg != size))
    return "0" if graph.number_of(value) == 0 else None


def _text(graph: Graph, node: Node) -> str | None:
    """Attribute text of a number, an infinity or NaN."""
    number = graph.number_of(node)
    if number is not None:
        return attribute_text(number)
    sign, name = 1, node
    args = graph.args(node)
    if graph.op(node) is Op.MUL and len(args) == 2 and graph.number_of(args[0]) is not None:
        factor = graph.number_of(args[0])
        assert isinstance(factor, Fraction)
        sign, name = (1 if factor > 0 else -1), args[1]
    if graph.op(name) is not Op.CONSTANT:
        return None
    special = {"infinity": "INF" if sign > 0 else "-INF", "notanumber": "NaN"}
    return special.get(graph.name(name))


# -- Compartments, species, parameters and units as XML ------------------------------------------


_BASE: Final = (
    "ampere avogadro becquerel candela coulomb dimensionless farad gram gray henry hertz item joule katal kelvin "
    "kilogram litre lumen lux metre mole newton ohm pascal radian second siemens sievert steradian tesla volt watt "
    "weber"
)
BASE_UNITS: Final = frozenset(_BASE.split())
"""Units that Level 3 knows without a definition."""

_SPELLINGS: Final = {"liter": "litre", "meter": "metre"}


def known_units(origin: Origin) -> dict[str, str]:
    """Ids of units that can be written, each with the spelling of Level 3."""
    table = {kind: kind for kind in BASE_UNITS} | _SPELLINGS
    for definition in origin.unit_definitions:
        if all(_SPELLINGS.get(unit.kind, unit.kind) in BASE_UNITS for unit in definition.units):
            table[definition.id] = definition.id
        else:  # a unit that Level 3 cannot say (Celsius) must not be taken for another one
            table.pop(definition.id, None)
    return table


def unit_definitions(
    definitions: Iterable[UnitDefinition], known: Mapping[str, str], described: DescriptionWriter
) -> Iterator[str]:
    """Unit definitions that Level 3 can say."""
    for definition in definitions:
        name = definition.id
        if name not in known or name in BASE_UNITS:
            continue
        units = (
            element(
                "unit",
                described.head("unit", name, str(position))
                + attributes(kind=_SPELLINGS.get(unit.kind, unit.kind), exponent=double_text(unit.exponent))
                + attributes(scale=str(unit.scale), multiplier=double_text(unit.multiplier)),
                described.content("unit", name, str(position)),
            )
            for position, unit in enumerate(definition.units)
        )
        yield element(
            "unitDefinition",
            described.head("unitDefinition", name, named=False) + attributes(id=name, name=definition.name),
            described.content("unitDefinition", name) + described.section("listOfUnits", units, name),
        )


class ElementWriter:
    """Writes compartments, species and parameters, and keeps the values it wrote.

    Parameters
    ----------
    roles : mapping of str to Role
    start : mapping of str to Start
    units : mapping of str to str
        Units that can be written.
    packages : PackageWriter
    """

    def __init__(
        self,
        roles: Mapping[str, Role],
        start: Mapping[str, WrittenInitialValue],
        units: Mapping[str, str],
        packages: PackageWriter,
    ) -> None:
        self._packages = packages
        self._roles = roles
        self._start = start
        self._units = units
        self.values: dict[str, float] = {}

    def compartments(self) -> Iterator[str]:
        """All compartments."""
        for name, role in self._of_kind("compartment"):
            quantity = role.quantity
            dimensions = quantity.spatial_dimensions
            yield self._element(
                "compartment",
                role,
                attributes(spatialDimensions=None if dimensions is None else double_text(dimensions))
                + self._value(name)
                + attributes(units=self._unit(quantity.units), constant=truth(not role.varies)),
            )

    def species(self) -> Iterator[str]:
        """All species."""
        for name, role in self._of_kind("species"):
            quantity = role.quantity
            # a constant amount in a compartment that varies: its concentration follows, it does not vary by itself
            constant = quantity.written_constant if role.what == "implicit" else not role.varies
            yield self._element(
                "species",
                role,
                attributes(compartment=quantity.compartment)
                + self._value(name)
                + attributes(
                    substanceUnits=self._unit(quantity.units),
                    hasOnlySubstanceUnits=truth(quantity.amount),
                    boundaryCondition=truth(role.boundary),
                    constant=truth(constant),
                    conversionFactor=quantity.conversion_factor,
                )
                + self._packages.attributes("species", name),
            )

    def parameters(self) -> Iterator[str]:
        """All parameters."""
        for name, role in self._of_kind("parameter"):
            units = attributes(units=self._unit(role.quantity.units), constant=truth(not role.varies))
            yield self._element("parameter", role, self._value(name) + units)

    def stoichiometry(self, name: str) -> str:
        """Attributes of the species reference ``name``, as far as they say its stoichiometry."""
        start, role = self._start.get(name), self._roles[name]
        text = start.text if start is not None else None
        return attributes(stoichiometry=text, constant=truth(not role.varies))

    def _of_kind(self, kind: str) -> Iterator[tuple[str, Role]]:
        return ((name, role) for name, role in self._roles.items() if role.quantity.kind == kind)

    def _element(self, tag: str, role: Role, head: str) -> str:
        quantity = role.quantity
        return element(
            tag, identity_attributes(quantity) + head, extras(quantity.id, quantity.notes, quantity.annotation)
        )

    def _value(self, name: str) -> str:
        start = self._start.get(name)
        if start is None or start.text is None:
            return ""
        self.values[name] = float(start.text)
        return f' {start.attribute}="{start.text}"'

    def _unit(self, units: str | None) -> str | None:
        return None if units is None else self._units.get(units)


# -- Rules, reactions, events and constraints as XML ---------------------------------------------


Place = tuple[str, int]
"""A reactant or product: id of the reaction, position among its reactants followed by its products."""


@dataclass(frozen=True, slots=True)
class Reference:
    """How one reactant or product is written: its id, the attribute, and the formula that defines the stoichiometry
    where that is not all (the attribute is then its value at time 0).
    """

    id: str | None
    text: str | None = None
    rule: Node | None = None
    initial: Node | None = None


STOICHIOMETRY: Final = "sbmlump_stoichiometry"
"""How the id begins that a stoichiometry gets for its formula."""


def references(system: OdeSystem, roles: Mapping[str, Role]) -> dict[Place, Reference]:
    """How each reactant and product that no role describes is written."""
    graph = system.graph
    taken = {*roles, *(r.id for r in system.reactions)}
    taken |= {one.id for r in system.reactions for one in (*r.reactants, *r.products) if one.id is not None}
    table: dict[Place, Reference] = {}
    names = numbered_ids(STOICHIOMETRY, taken)
    for reaction in system.reactions:
        for position, one in enumerate((*reaction.reactants, *reaction.products)):
            if one.id in roles:
                continue
            value = graph.number_of(one.stoichiometry)
            text = None if value is None else attribute_text(value)
            if text is not None:
                table[reaction.id, position] = Reference(one.id, text)
                continue
            name = one.id or next(names)
            if value is not None:
                table[reaction.id, position] = Reference(name, initial=one.stoichiometry)
            else:
                table[reaction.id, position] = Reference(name, rule=one.stoichiometry)
    without = {place: one for place, one in table.items() if one.text is None}
    computed = {place: one.initial if one.rule is None else one.rule for place, one in without.items()}
    beside = initial_doubles(system, {place: node for place, node in computed.items() if node is not None})
    for place, text in beside.items():
        table[place] = replace(table[place], text=text)
    return table


def event_assignments(system: OdeSystem, event: Event, roles: Mapping[str, Role]) -> list[tuple[str, Node]]:
    """Assignments to write.

    A concentration in a compartment that the event resizes is written as SBML has it: left out where the event does not
    set it, and without the sizes where it does.
    """
    if not event.implied and not event.unscaled:
        return list(event.assignments)
    written = _written_values(system, event, roles)
    symbol = system.graph.symbol
    implied = [name for name, _ in event.implied if name in roles and written[name] != symbol(name)]
    return [(name, written[name]) for name in (*(name for name, _ in event.assignments), *implied)]


def takes_trigger_values(system: OdeSystem, event: Event, roles: Mapping[str, Role]) -> bool:
    """``useValuesFromTriggerTime`` of the written event: new values in place of what SBML implies are of its execution.

    Raises
    ------
    UnsupportedModelError
        ``event-resizes`` if such values would be made of both moments.
    """
    assignments = event_assignments(system, event, roles)
    implied = {name for name, _ in event.implied}
    unscaled = dict(event.unscaled)
    explicit = any(name in implied or unscaled.get(name, node) != node for name, node in assignments)
    if not explicit:
        return event.use_trigger_values
    refuse_two_moments(system, [event])
    return with_trigger_values(system, event, [node for _, node in assignments])


def _written_values(system: OdeSystem, event: Event, roles: Mapping[str, Role]) -> dict[str, Node]:
    """What to write for each new value so that it comes out when the compartments are resized as they will be.

    Where that is the value without sizes that the system knows (the state itself if nothing is assigned), it is that.
    """
    graph = system.graph
    after = {graph.symbol(name): node for name, node in event.assignments}
    plain = {name: graph.symbol(name) for name, _ in event.implied} | dict(event.unscaled)
    written = new_values(event)
    for name, value in written.items():
        role = roles.get(name)
        size = None if role is None else role.quantity.compartment
        if role is None or not role.quantity.is_concentration or size is None or size not in roles:
            continue
        before = system.definitions.get(size)
        now = before if before is None else graph.substitute([before], after)[0]
        if before is not None and now is not None and now != before:
            written[name] = graph.mul((value, graph.div(now, before)))
    numbers = field_values(graph, [*written.values(), *plain.values()])
    return {
        name: plain[name] if name in plain and numbers[plain[name]] == numbers[node] else node
        for name, node in written.items()
    }


class DynamicsWriter:
    """Writes everything that holds mathematics.

    Parameters
    ----------
    system : OdeSystem
    roles : mapping of str to Role
    elements : ElementWriter
        Knows the attributes of species references.
    printer, rule_printer : MathmlPrinter
        The second one may print a reaction's flux as its id.
    stoichiometries : mapping of Place to Reference
    described : DescriptionWriter
    packages : PackageWriter
    """

    def __init__(
        self,
        system: OdeSystem,
        roles: Mapping[str, Role],
        elements: ElementWriter,
        printer: MathmlPrinter,
        rule_printer: MathmlPrinter,
        stoichiometries: Mapping[Place, Reference],
        described: DescriptionWriter,
        packages: PackageWriter,
    ) -> None:
        self._packages = packages
        self._described = described
        self._system = system
        self._roles = roles
        self._elements = elements
        self._printer = printer
        self._rule_printer = rule_printer
        self._references = stoichiometries

    def functions(self, printer: MathmlPrinter, taken: Collection[str]) -> Iterator[str]:
        """Function definitions, those of them that are written out at a bearable length."""
        graph = self._system.graph
        for function in self._system.functions:
            if function.id in taken or written_sizes(graph, [function.body])[0] > printer.settings.function:
                continue
            arguments = "".join(f"<bvar><ci> {name} </ci></bvar>" for name in function.arguments)
            math = f'<math xmlns="{MATHML}"><lambda>{arguments}{printer.text(function.body)}</lambda></math>\n'
            key = ("functionDefinition", function.id)
            head = self._described.head(*key, named=False)
            head += attributes(id=function.id, name=self._described.name(key))
            yield element("functionDefinition", head, self._described.content(*key) + math)

    def initial_assignments(self, nodes: Mapping[str, Node]) -> Iterator[str]:
        """One initial assignment for each of ``nodes``."""
        for name, node in nodes.items():
            yield self._with_math("initialAssignment", attributes(symbol=name), self._printer.math(node), name)

    def assignment_rules(self, helpers: Mapping[Node, str]) -> Iterator[str]:
        """Helpers, assigned quantities, stoichiometries."""
        for node, name in helpers.items():
            yield self._rule("assignmentRule", name, self._printer.math(node, name))
        for assigned in self._system.assigned:
            if self._roles[assigned.id].what == "assigned":
                math = self._rule_printer.math(assigned.value, assigned.id)
                yield self._rule("assignmentRule", assigned.id, math)
        for reference in self._references.values():
            if reference.rule is not None and reference.id is not None:
                yield self._rule("assignmentRule", reference.id, self._printer.math(reference.rule))

    def rate_rules(self) -> Iterator[str]:
        """Right-hand sides of states that no reaction explains."""
        for name, rhs in zip(self._system.states, self._system.rhs, strict=True):
            if self._roles[name].rate_rule:
                yield self._rule("rateRule", name, self._rule_printer.math(rhs))

    def constraints(self) -> Iterator[str]:
        """Constraints with their messages."""
        for constraint in self._system.constraints:
            said, key = constraint.description, ("constraint", constraint.description.id or "")
            math = self._described.math_of(self._printer.math(constraint.condition), said, key)
            content = self._described.content_of(said, key) + math + "\n" + _message(constraint)
            yield element("constraint", self._described.head_of(said, key), content)

    def reactions(self) -> Iterator[str]:
        """Reactions with kinetic laws."""
        for reaction in self._system.reactions:
            yield self._reaction(reaction)

    def events(self) -> Iterator[str]:
        """Events without the resets that SBML implies."""
        for position, event in enumerate(self._system.events):
            yield self._event(event, event_key(event.id, position))

    # -- inside --------------------------------------------------------------------------------------

    def _rule(self, tag: str, variable: str, math: str) -> str:
        return self._with_math(tag, attributes(variable=variable), math, variable)

    def _with_math(self, tag: str, head: str, math: str, *place: str) -> str:
        """An element that holds a formula, with what is said of it."""
        described = self._described
        content = described.content(tag, *place) + described.math(math, tag, *place) + "\n"
        return element(tag, described.head(tag, *place) + head, content)

    def _reaction(self, reaction: Reaction) -> str:
        compartment = reaction.compartment
        role = self._roles.get(compartment) if compartment is not None else None
        head = identity_attributes(reaction) + attributes(
            reversible=truth(reaction.reversible),
            compartment=compartment if role is not None and role.quantity.kind == "compartment" else None,
        )
        modifiers = (self._modifier(name, reaction.id, number) for name, number in _numbered(self._modifiers(reaction)))
        both = (*reaction.reactants, *reaction.products)
        sides = [
            self._reference(one, (reaction.id, position), key)
            for position, (one, key) in enumerate(zip(both, _keys(reaction), strict=True))
        ]
        law = self._with_math("kineticLaw", "", self._printer.math(reaction.flux, reaction.id), reaction.id)
        section = self._described.section
        return element(
            "reaction",
            head + self._packages.attributes("reaction", reaction.id),
            extras(reaction.id, reaction.notes, reaction.annotation)
            + section("listOfReactants", sides[: len(reaction.reactants)], reaction.id)
            + section("listOfProducts", sides[len(reaction.reactants) :], reaction.id)
            + section("listOfModifiers", modifiers, reaction.id)
            + law
            + self._packages.children("reaction", reaction.id),
        )

    def _modifier(self, species: str, reaction: str, number: int) -> str:
        key = ("modifier", reaction, species, str(number))
        head = self._described.head(*key) + attributes(species=species)
        return element("modifierSpeciesReference", head, self._described.content(*key))

    def _reference(self, one: Participant, place: Place, key: Key) -> str:
        reference = self._references.get(place)
        if reference is not None:
            fixed = truth(reference.rule is None)
            head = self._described.head(*key, named=False)
            head += attributes(id=reference.id, name=self._described.name(key), species=one.species)
            head += attributes(stoichiometry=reference.text, constant=fixed)
            return element("speciesReference", head, self._described.content(*key))
        self._described.used(key)
        assert one.id is not None
        quantity = self._roles[one.id].quantity
        head = identity_attributes(quantity) + attributes(species=one.species) + self._elements.stoichiometry(one.id)
        return element("speciesReference", head, extras(one.id, quantity.notes, quantity.annotation))

    def _modifiers(self, reaction: Reaction) -> list[str]:
        """Species in the kinetic law that are neither reactants nor products, those of the file first."""
        roles = self._roles
        sides = {one.species for one in (*reaction.reactants, *reaction.products)}
        kept = [name for name in reaction.modifiers if name in roles and roles[name].quantity.kind == "species"]
        inside = self._printer.ids(reaction.flux, reaction.id)
        more = sorted(
            name for name in inside if name in roles and roles[name].quantity.kind == "species" and name not in sides
        )
        return [*kept, *(name for name in more if name not in kept)]

    def _event(self, event: Event, key: str) -> str:
        moment = truth(takes_trigger_values(self._system, event, self._roles))
        head = identity_attributes(event) + attributes(useValuesFromTriggerTime=moment)
        trigger = attributes(
            initialValue=truth(event.initial_value),
            persistent=truth(event.persistent),
        )
        parts = [self._with_math("trigger", trigger, self._printer.math(event.trigger), key)]
        for tag, node in (("delay", event.delay), ("priority", event.priority)):
            if node is not None:
                parts.append(self._with_math(tag, "", self._printer.math(node), key))
        assignments = (
            self._with_math("eventAssignment", attributes(variable=name), self._printer.math(node), key, name)
            for name, node in event_assignments(self._system, event, self._roles)
        )
        parts.append(self._described.section("listOfEventAssignments", assignments, key))
        return element("event", head, extras(event.id, event.notes, event.annotation) + "".join(parts))


def _keys(reaction: Reaction) -> Iterator[Key]:
    """Keys of the reactants and products of a reaction."""
    for side, parts in (("reactant", reaction.reactants), ("product", reaction.products)):
        for species, number in _numbered([one.species for one in parts]):
            yield side, reaction.id, species, str(number)


def _numbered(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each name with how often it came before."""
    counts: dict[str, int] = {}
    for name in names:
        number = counts[name] = counts.get(name, -1) + 1
        yield name, number


def _message(constraint: Constraint) -> str:
    message = constraint.message
    if message is None:
        return ""
    if message.lstrip().startswith("<message"):
        return extras(None, message, None)
    return f'<message><p xmlns="{XHTML}">{escaped(message)}</p></message>\n'
