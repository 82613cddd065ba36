"""libSBML's model into plain records (:mod:`sbmlump.sbml.read_record`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

from sbmlump.sbml.mathml import Function, Instruction, Program, compile_ast
from sbmlump.sbml.read_described import Describer, described, event_key, standalone
from sbmlump.sbml.read_packages import carried_packages, other_packages
from sbmlump.sbml.read_record import (
    KineticLaw,
    Problems,
    RawConstraint,
    RawEvent,
    RawModel,
    RawParticipant,
    RawQuantity,
    RawReaction,
    RawRule,
)
from sbmlump.sbml.read_units import origin_of, unit_name
from sbmlump.system import Description, Key, Kind, Quantity

__all__ = ["is_old_rate_of", "read_elements"]

#: Tools wrote what SBML had no words for as a function definition with the body NaN and an annotation that says what it
#: means: rateOf (before Level 3 Version 2) as a symbol, random numbers (before the package distrib) as a distribution.
_SYMBOLS: Final = "http://sbml.org/annotations/symbols"
_DISTRIBUTION: Final = "http://sbml.org/annotations/distribution"
_DERIVATIVE: Final = "http://en.wikipedia.org/wiki/Derivative"

_LISTS: Final = (
    "FunctionDefinitions",
    "UnitDefinitions",
    "Compartments",
    "Species",
    "Parameters",
    "InitialAssignments",
    "Rules",
    "Constraints",
    "Reactions",
    "Events",
)
_ELEMENTS: Final = {
    "assignment rule": "assignmentRule",
    "rate rule": "rateRule",
    "initial assignment": "initialAssignment",
}


def is_old_rate_of(function: Any) -> bool:
    """Whether a function definition stands for the derivative of its argument, as before Level 3 Version 2."""
    return (_SYMBOLS, _DERIVATIVE) in _annotated_meanings(function)


Side = tuple[RawParticipant, ...]
_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


def read_elements(
    document: Any, file: str, sha256: str, problems: Problems, silent: frozenset[str] = frozenset()
) -> RawModel:
    """All core elements of the model in ``document``; what stands in the way goes to ``problems``.

    Elements named in ``silent`` are known to carry no descriptions and are not asked.
    """
    return _Reader(document, problems, silent).model(file, sha256)


class _Reader:
    def __init__(self, document: Any, problems: Problems, silent: frozenset[str]) -> None:
        self.document = document
        self.silent = silent
        self.level: int = document.getLevel()
        self.math_optional = (self.level, document.getVersion()) >= (3, 2)
        self.problems = problems
        self.taken: set[str] = set()
        self.metaids: set[str] = set()
        self.sized: frozenset[str] = frozenset()  # ids that rules, initial assignments or events give a value
        self.plain: dict[tuple[str, float | Fraction], RawParticipant] = {}
        self.describer = Describer(document)
        self.descriptions: dict[Key, Description] = {}
        self.claimed: set[Key] = set()
        self.raw: RawModel

    # -- the whole ------------------------------------------------------------------------------------

    def model(self, file: str, sha256: str) -> RawModel:
        source = self.document.getModel()
        about = self.describe(source)
        name = about.pop("name")
        origin = origin_of(self.document, file, sha256, about)
        self.raw = RawModel(source.getId() or "model", name, origin)
        self._note(("sbml",), self.document)
        self.sized = _targets(source)
        for item in _items(source.getNumFunctionDefinitions, source.getFunctionDefinition):
            self._function(item)
        for item in _items(source.getNumCompartments, source.getCompartment):
            self._enter(self._compartment(item))
        for item in _items(source.getNumSpecies, source.getSpecies):
            self._enter(self._species(item))
        for item in _items(source.getNumParameters, source.getParameter):
            self._enter(self._parameter(item, item.getId(), "parameter"))
        reactions = list(_items(source.getNumReactions, source.getReaction))
        for item in reactions:
            self._claim(item)
        for item in _items(source.getNumInitialAssignments, source.getInitialAssignment):
            self._into(self.raw.initial, item.getSymbol(), item, "initial assignment")
        for item in _items(source.getNumRules, source.getRule):
            self._rule(item)
        parts = [self._participants(item) for item in reactions]
        for i, item in enumerate(_items(source.getNumEvents, source.getEvent)):
            self._event(item, i)
        for item in _items(source.getNumConstraints, source.getConstraint):
            self._constraint(item)
        self._units_and_lists(source)
        self._claim_descriptions()
        packages = carried_packages(self.document)
        self.taken.update(*(package.ids for package in packages))
        # last, when all ids are known: local parameters get new ones
        self.raw.reactions = [self._reaction(item, *sides) for item, sides in zip(reactions, parts, strict=True)]
        self._claim_descriptions()
        self.raw.origin = replace(
            origin,
            descriptions=self.descriptions,
            packages=packages,
            other_packages=other_packages(self.document, packages),
        )
        self.raw.ids |= self.taken
        return self.raw

    # -- what is said of elements ---------------------------------------------------------------------

    def describe(self, item: Any) -> dict[str, Any]:
        """Name, SBO term, metaid, notes and annotation of an element.

        A metaid that another element has already is left out: what refers to it means the first.
        """
        about = described(self.document, item)
        if about["metaid"] in self.metaids:
            about["metaid"] = None
        elif about["metaid"] is not None:
            self.metaids.add(about["metaid"])
        return about

    def _note(self, key: Key, item: Any, math: Any = None) -> None:
        """Keep what is said of an element that gets no record of its own."""
        found = self._described(item, math)
        if found is not None:
            self.descriptions[key] = found

    def _described(self, item: Any, math: Any = None) -> Description | None:
        found = self.describer.of(item, math)
        if found is None or found.metaid is None:
            return found
        if found.metaid in self.metaids:  # as in describe
            return replace(found, metaid=None)
        self.metaids.add(found.metaid)
        return found

    def _units_and_lists(self, source: Any) -> None:
        """What is said of unit definitions, their units, and the lists of the model."""
        for definition in _items(source.getNumUnitDefinitions, source.getUnitDefinition):
            name = definition.getId()
            self._note(("unitDefinition", name), definition)
            self._note(("listOfUnits", name), definition.getListOfUnits())
            for i, unit in enumerate(_items(definition.getNumUnits, definition.getUnit)):
                self._note(("unit", name, str(i)), unit)
        for what in _LISTS:
            self._note((f"listOf{what}",), getattr(source, f"getListOf{what}")())

    def _claim_descriptions(self) -> None:
        """Note the ids of described elements (Level 3 Version 2); one that is taken already is left out.

        Nothing refers to them but packages, and a reader must not take one thing for another.
        """
        for key in [key for key in self.descriptions if key not in self.claimed]:
            self.claimed.add(key)
            found = self.descriptions[key]
            # units have ids of their own, and those of species references are claimed with them
            if found.id is None or key[0] in ("unitDefinition", "functionDefinition", "reactant", "product"):
                continue
            if found.id in self.taken:
                self.descriptions[key] = replace(found, id=None)
            self.taken.add(found.id)

    # -- ids ------------------------------------------------------------------------------------------

    def _claim(self, item: Any) -> bool:
        """Note the id of ``item``; say if it is taken already."""
        name = item.getId()
        if name in self.taken:
            self.problems.add("duplicate-id", f"the id {name!r} is given twice; rename one", name, item.getLine())
            return False
        self.taken.add(name)
        return True

    def _enter(self, entry: RawQuantity) -> None:
        name = entry.id
        if name in self.taken:
            self.problems.add("duplicate-id", f"the id {name!r} is given twice; rename one", name, entry.line)
            return
        self.taken.add(name)
        self.raw.entries[name] = entry

    def _program(self, item: Any, what: str, element: str | None) -> Program | None:
        if item.isSetMath():
            return compile_ast(item.getMath())
        if not self.math_optional:
            self.problems.add("no-math", f"{what} has no mathematics", element, item.getLine())
        return None

    # -- quantities -----------------------------------------------------------------------------------

    def _compartment(self, item: Any) -> RawQuantity:
        dimensions = item.getSpatialDimensionsAsDouble() if self.level < 3 or item.isSetSpatialDimensions() else None
        given = self.level == 1 or item.isSetSize()  # Level 1 is the only one with a default: 1
        return RawQuantity(
            Quantity(
                id=item.getId(),
                kind="compartment",
                units=unit_name(item.getUnits(), self.level),
                spatial_dimensions=dimensions,
                written_constant=bool(item.getConstant()) and self.level > 1,
                **self.describe(item),
            ),
            item.getLine(),
            value=item.getSize() if given else None,
        )

    def _species(self, item: Any) -> RawQuantity:
        name, where = item.getId(), item.getCompartment()
        compartment = self.raw.entries.get(where)
        if compartment is None or compartment.quantity.kind != "compartment":
            self.problems.add(
                "unknown-id", f"the compartment {where!r} of species {name!r} does not exist", name, item.getLine()
            )
        flat = compartment is not None and self._is_point(compartment)
        amount = item.getInitialAmount() if item.isSetInitialAmount() else None
        concentration = item.getInitialConcentration() if item.isSetInitialConcentration() else None
        if amount is not None and concentration is not None:
            text = f"species {name!r} has an initial amount and an initial concentration; remove one"
            self.problems.add("two-initial-values", text, name, item.getLine())
        return RawQuantity(
            Quantity(
                id=name,
                kind="species",
                units=unit_name(item.getSubstanceUnits() if self.level > 1 else item.getUnits(), self.level),
                compartment=where,
                amount=bool(item.getHasOnlySubstanceUnits()) or flat,
                boundary=bool(item.getBoundaryCondition()),
                written_constant=bool(item.getConstant()),
                conversion_factor=item.getConversionFactor() or None,
                given_as_amount=amount is not None,
                **self.describe(item),
            ),
            item.getLine(),
            amount=amount,
            concentration=concentration,
        )

    def _is_point(self, compartment: RawQuantity) -> bool:
        """Whether species in a compartment are amounts because it has no dimensions.

        A rule of Levels 1 and 2. Level 3 has none: an id means amount / size there whatever the dimensions, and only
        where nothing ever gives a size is there none to divide by.
        """
        if compartment.quantity.spatial_dimensions != 0:
            return False
        return self.level < 3 or (compartment.value is None and compartment.id not in self.sized)

    def _parameter(self, item: Any, name: str, kind: Kind) -> RawQuantity:
        return RawQuantity(
            Quantity(
                id=name,
                kind=kind,
                units=unit_name(item.getUnits(), self.level),
                written_constant=kind == "local-parameter" or (bool(item.getConstant()) and self.level > 1),
                **self.describe(item),
            ),
            item.getLine(),
            value=item.getValue() if item.isSetValue() else None,
        )

    # -- mathematics ----------------------------------------------------------------------------------

    def _function(self, item: Any) -> None:
        self._claim(item)
        self._note(("functionDefinition", item.getId()), item)
        self.descriptions.setdefault(("functionDefinition", item.getId()), Description(id=item.getId()))
        names = tuple(item.getArgument(i).getName() for i in range(item.getNumArguments()))
        body = item.getBody() if item.isSetMath() else None
        program = compile_ast(body) if body is not None else None
        for space, meaning in _annotated_meanings(item):
            if space == _DISTRIBUTION:
                # whatever the body: tools that know the annotation draw a number
                text = f"draws from a random distribution ({item.getId()}: {meaning}); it has no deterministic value"
                program = (Instruction("problem", ("random-number", text), 0),)
            elif len(names) == 1 and is_old_rate_of(item):
                program = (Instruction("rate-of", names[0], 0),)
            elif program is not None and _is_nan(program):
                text = f"calls {item.getId()!r}, which stands for {meaning}; that is not known here"
                program = (Instruction("problem", ("unsupported-math", text), 0),)
        self.raw.functions[item.getId()] = Function(names, program)

    def _into(self, table: dict[str, RawRule], target: str, item: Any, what: str) -> None:
        """Enter a rule or an initial assignment; one without mathematics says nothing (Level 3 Version 2)."""
        if any(target in other for other in (table, *self._rule_tables(table))):
            self.problems.add("duplicate-rule", f"{target!r} is the target of two rules", target, item.getLine())
            return
        program = self._program(item, f"the {what} of {target!r}", target)
        self._note((_ELEMENTS[what], target), item, item.getMath())
        if program is not None:
            table[target] = RawRule(target, program, item.getLine())

    def _rule_tables(self, table: dict[str, RawRule]) -> tuple[dict[str, RawRule], ...]:
        return () if table is self.raw.initial else (self.raw.assignments, self.raw.rates)

    def _rule(self, item: Any) -> None:
        if item.isAlgebraic():
            self._note(("algebraicRule", str(len(self.raw.algebraic))), item, item.getMath())
            program = self._program(item, "an algebraic rule", None)
            if program is not None:
                self.raw.algebraic.append(RawRule("", program, item.getLine()))
        elif item.isRate():
            self._into(self.raw.rates, item.getVariable(), item, "rate rule")
        else:
            self._into(self.raw.assignments, item.getVariable(), item, "assignment rule")

    # -- reactions ------------------------------------------------------------------------------------

    def _participants(self, item: Any) -> tuple[Side, Side, tuple[str, ...]]:
        """Reactants, products and modifiers of a reaction."""
        name = item.getId()
        counts: dict[tuple[str, str], int] = {}
        return (
            tuple(
                self._participant(item.getReactant(i), "reactant", name, counts) for i in range(item.getNumReactants())
            ),
            tuple(self._participant(item.getProduct(i), "product", name, counts) for i in range(item.getNumProducts())),
            tuple(self._modifier(item.getModifier(i), name, counts) for i in range(item.getNumModifiers())),
        )

    def _reaction(self, item: Any, reactants: Side, products: Side, modifiers: tuple[str, ...]) -> RawReaction:
        name, line = item.getId(), item.getLine()
        if item.isSetFast() and item.getFast():
            text = f"reaction {name!r} is fast: it is to be in equilibrium at all times, which is not an ODE; unset it"
            self.problems.add("fast-reaction", text, name, line)
        details = self.describe(item)
        details["compartment"] = item.getCompartment() or None if self.level > 2 else None
        details["reversible"] = bool(item.getReversible())
        if "listOfReactants" not in self.silent:
            self._note(("listOfReactants", name), item.getListOfReactants())
        if "listOfProducts" not in self.silent:
            self._note(("listOfProducts", name), item.getListOfProducts())
        if "listOfModifiers" not in self.silent:
            self._note(("listOfModifiers", name), item.getListOfModifiers())
        return RawReaction(name, line, self._law(item, name), reactants, products, modifiers, details)

    def _modifier(self, item: Any, reaction: str, counts: dict[tuple[str, str], int]) -> str:
        species = str(item.getSpecies())
        if self.level > 1 and item.isSetId():
            self._claim(item)
        found = None if "modifierSpeciesReference" in self.silent else self._described(item)
        number = counts["modifier", species] = counts.get(("modifier", species), -1) + 1
        if found is not None or item.isSetId():
            # an id is that of a species reference, which may have one in older levels, too
            own = item.getId() or None
            key = ("modifier", reaction, species, str(number))
            self.descriptions[key] = replace(found or Description(), id=own)
            self.claimed.add(key)
        return species

    def _law(self, reaction: Any, reaction_id: str) -> KineticLaw | None:
        law = reaction.getKineticLaw()
        math = None if law is None else law.getMath()
        if law is not None and "kineticLaw" not in self.silent:
            self._note(("kineticLaw", reaction_id), law, math)
        if math is None:
            return None
        if self.level > 2:
            local = list(_items(law.getNumLocalParameters, law.getLocalParameter))
        else:
            local = list(_items(law.getNumParameters, law.getParameter))
        if not local:
            return KineticLaw(compile_ast(math), _NO_NAMES)
        names: dict[str, str] = {}
        for item in local:
            old = item.getId()
            if old in names:
                text = f"the local parameter {old!r} is given twice in reaction {reaction_id!r}; rename one"
                self.problems.add("duplicate-id", text, old, item.getLine())
                continue
            names[old] = self._free_name(f"{reaction_id}_{old}")
            self._enter(self._parameter(item, names[old], "local-parameter"))
        return KineticLaw(compile_ast(math), names)

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def _participant(self, item: Any, side: str, reaction: str, counts: dict[tuple[str, str], int]) -> RawParticipant:
        species = item.getSpecies()
        name = (item.getId() or None) if self.level > 1 else None
        found: Description | None = None
        if "speciesReference" not in self.silent:
            number = counts[side, species] = counts.get((side, species), -1) + 1
            found = self._described(item)
            if found is not None:
                self.descriptions[side, reaction, species, str(number)] = found
        program: Program | None = None
        value: float | Fraction | None = None
        if self.level == 2 and item.isSetStoichiometryMath():
            program = self._program(item.getStoichiometryMath(), "a stoichiometry", species)
        elif self.level < 3:
            value = self._old_stoichiometry(item)
        else:
            value = item.getStoichiometry()
            if not isfinite(value):  # NaN is what libSBML says where none is given
                value = self._no_number(item, f"{value:g}") if item.isSetStoichiometry() else None
        if name is None and program is None and value is not None:
            # thousands of reactions share these; where nothing can be wrong with them, their place is not needed
            known = self.plain.get((species, value))
            if known is not None:
                return known
            entry = self.raw.entries.get(species)
            if entry is not None and entry.quantity.kind == "species":
                plain = self.plain[species, value] = RawParticipant(species, None, value, None, 0)
                return plain
        if name is not None:
            quantity = Quantity(
                id=name,
                kind="species-reference",
                written_constant=bool(item.getConstant()) if self.level > 2 else program is None,
                name=found.name if found is not None else None,
                sbo=found.sbo if found is not None else None,
                metaid=found.metaid if found is not None else None,
                notes=found.notes if found is not None else None,
                annotation=found.annotation if found is not None else None,
            )
            self._enter(RawQuantity(quantity, item.getLine(), value=value))
        return RawParticipant(species, name, value, program, item.getLine())

    def _old_stoichiometry(self, item: Any) -> Fraction:
        """Stoichiometry of Levels 1 and 2, a quotient in Level 1; where it is no number, a problem is noted."""
        top, bottom = float(item.getStoichiometry()), int(item.getDenominator())
        if isfinite(top) and bottom:
            return Fraction(repr(top)) / bottom
        return self._no_number(item, f"{top:g}/{bottom}" if bottom != 1 else f"{top:g}")

    def _no_number(self, item: Any, given: str) -> Fraction:
        """Note that a stoichiometry is no number; 0 stands in."""
        text = f"the stoichiometry of {item.getSpecies()!r} is {given}, which is no number; correct it"
        self.problems.add("bad-number", text, item.getSpecies(), item.getLine())
        return Fraction(0)

    # -- events and constraints -----------------------------------------------------------------------

    def _event(self, item: Any, index: int) -> None:
        name = item.getId() if item.isSetId() else None
        label = f"event {name!r}" if name else f"event number {index + 1}"
        if name is not None:
            self._claim(item)
        trigger = item.getTrigger()
        details = self.describe(item)
        details.update(id=name, use_trigger_values=bool(item.getUseValuesFromTriggerTime()))
        if self.level > 2 and trigger is not None:
            details.update(initial_value=bool(trigger.getInitialValue()), persistent=bool(trigger.getPersistent()))
        assignments = []
        key = event_key(name, index)
        for what, part in (("trigger", trigger), ("delay", item.getDelay()), ("priority", item.getPriority())):
            if part is not None:
                self._note((what, key), part, part.getMath())
        self._note(("listOfEventAssignments", key), item.getListOfEventAssignments())
        for one in _items(item.getNumEventAssignments, item.getEventAssignment):
            self._note(("eventAssignment", key, one.getVariable()), one, one.getMath())
            program = self._program(one, f"an assignment of {label}", one.getVariable())
            if program is not None:
                assignments.append(RawRule(one.getVariable(), program, one.getLine()))
        self.raw.events.append(
            RawEvent(
                label=label,
                line=item.getLine(),
                trigger=self._program(trigger, f"the trigger of {label}", name) if trigger is not None else None,
                delay=self._program(item.getDelay(), f"the delay of {label}", name) if item.isSetDelay() else None,
                priority=self._program(item.getPriority(), f"the priority of {label}", name)
                if item.isSetPriority()
                else None,
                assignments=tuple(assignments),
                details=details,
            )
        )

    def _constraint(self, item: Any) -> None:
        program = self._program(item, "a constraint", None)
        if program is not None:
            message = standalone(self.document, item.getMessageString()) if item.isSetMessage() else None
            found = self._described(item, item.getMath()) or Description()
            if found.id in self.taken:
                found = replace(found, id=None)
            elif found.id is not None:
                self.taken.add(found.id)
            self.raw.constraints.append(RawConstraint(program, message, item.getLine(), found))


def _targets(model: Any) -> frozenset[str]:
    """Ids that an initial assignment, a rule or an event assignment gives a value."""
    names = {item.getSymbol() for item in _items(model.getNumInitialAssignments, model.getInitialAssignment)}
    names |= {item.getVariable() for item in _items(model.getNumRules, model.getRule)}
    for event in _items(model.getNumEvents, model.getEvent):
        names |= {item.getVariable() for item in _items(event.getNumEventAssignments, event.getEventAssignment)}
    return frozenset(names)


def _annotated_meanings(function: Any) -> list[tuple[str, str]]:
    """What a function definition's annotation says that it stands for: namespace and definition of each statement."""
    annotation = function.getAnnotation() if function.isSetAnnotation() else None
    if annotation is None:
        return []
    parts = [annotation.getChild(i) for i in range(annotation.getNumChildren())]
    return [
        (part.getURI(), part.getAttrValue("definition") or part.getName())
        for part in parts
        if part.getURI() in (_SYMBOLS, _DISTRIBUTION)
    ]


def _is_nan(program: Program) -> bool:
    """Whether a body is ``notanumber`` alone, which stands where the meaning is said elsewhere."""
    return len(program) == 1 and program[0].kind == "number" and program[0].payload != program[0].payload


def _items(count: Callable[[], int], get: Callable[[int], Any]) -> Iterator[Any]:
    return (get(i) for i in range(count()))
