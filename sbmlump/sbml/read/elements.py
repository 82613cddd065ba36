"""libSBML's model as plain records: no libSBML objects, no interpretation beyond defaults of the level."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

import libsbml

from sbmlump.errors import Reason
from sbmlump.model.names import free_id
from sbmlump.model.system import MODEL_UNITS, Description, Key, Kind, Origin, Package, Quantity, Unit, UnitDefinition
from sbmlump.sbml.annotation import is_well_formed, tags_of
from sbmlump.sbml.read.alike import AlikeReaction, ReactionKind
from sbmlump.sbml.read.mathml import Function, Instruction, Program, compile_ast, numbers_with_units
from sbmlump.sbml.read.precheck import READ_LIMITS

__all__ = [
    "KineticLaw",
    "Problems",
    "RawConstraint",
    "RawEvent",
    "RawModel",
    "RawParticipant",
    "RawQuantity",
    "RawReaction",
    "RawRule",
    "check_packages",
    "event_key",
    "is_flux_balance",
    "read_elements",
    "silent_elements",
]


_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


class Problems:
    """Everything that stops a model from being read, and remarks, collected on the way; the same is said once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[str, str | None, str], Reason] = {}
        self._remarks: dict[str, Reason] = {}

    def add(self, code: str, message: str, element: str | None = None, line: int | None = None) -> None:
        """Record one reason; ``message`` is a sentence about the element, file and line are put in front."""
        place = f"{self.file}, line {line}: " if line else f"{self.file}: "
        self._found.setdefault((code, element, message), Reason(code, place + message, element, line or None))

    def remark(self, code: str, message: str) -> None:
        """Record something to know that stops nothing."""
        self._remarks.setdefault(code, Reason(code, f"{self.file}: {message}"))

    def remarks(self) -> tuple[Reason, ...]:
        """All remarks, in order of discovery."""
        return tuple(self._remarks.values())

    def __bool__(self) -> bool:
        return bool(self._found)

    def reasons(self) -> tuple[Reason, ...]:
        """All of them, in order of discovery."""
        return tuple(self._found.values())


@dataclass(frozen=True, slots=True)
class RawQuantity:
    """A compartment, species, parameter, local parameter or species reference with the values of its attributes.

    ``value`` is the size, the parameter's value, or the stoichiometry; ``amount`` and ``concentration`` are a
    species' own. ``None`` where the file gives none.
    """

    quantity: Quantity
    line: int
    value: float | Fraction | None = None
    amount: float | None = None
    concentration: float | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.quantity.id


@dataclass(frozen=True, slots=True)
class RawRule:
    """A rule or an initial assignment: its target (empty for an algebraic rule) and its mathematics."""

    target: str
    program: Program
    line: int


@dataclass(frozen=True, slots=True)
class RawParticipant:
    """A reactant or product; ``program`` is a Level 2 ``stoichiometryMath``, ``line`` 0 where no message needs it."""

    species: str
    id: str | None
    stoichiometry: float | Fraction | None
    program: Program | None
    line: int


@dataclass(frozen=True, slots=True)
class KineticLaw:
    """A kinetic law with the new ids of its local parameters."""

    program: Program
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawReaction:
    """A reaction; ``details`` holds the descriptive fields of :class:`~sbmlump.model.system.Reaction`."""

    id: str
    line: int
    law: KineticLaw | None
    reactants: tuple[RawParticipant, ...]
    products: tuple[RawParticipant, ...]
    modifiers: tuple[str, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event; ``details`` holds the descriptive and boolean fields of :class:`~sbmlump.model.system.Event`."""

    label: str
    line: int
    trigger: Program | None
    delay: Program | None
    priority: Program | None
    assignments: tuple[RawRule, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawConstraint:
    """A constraint with its message as text."""

    program: Program
    message: str | None
    line: int
    description: Description


@dataclass(slots=True)
class RawModel:
    """All records of one model, in the order of the file.

    ``ids`` are all that are taken, of whatever kind; ``ruled`` are the targets of assignment and rate rules;
    ``old_rate_of`` says whether a function definition stands for the derivative of its argument (before Level 3
    Version 2); ``denominators`` whether a stoichiometry of Level 2 is a rational number; ``fast`` are the reactions
    that are declared fast, with their lines.
    """

    id: str
    name: str | None
    origin: Origin
    entries: dict[str, RawQuantity] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    assignments: dict[str, RawRule] = field(default_factory=dict)
    rates: dict[str, RawRule] = field(default_factory=dict)
    algebraic: list[RawRule] = field(default_factory=list)
    initial: dict[str, RawRule] = field(default_factory=dict)
    reactions: list[RawReaction] = field(default_factory=list)
    events: list[RawEvent] = field(default_factory=list)
    constraints: list[RawConstraint] = field(default_factory=list)
    ruled: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    flux_balance: bool = False
    old_rate_of: bool = False
    denominators: bool = False
    fast: dict[str, int] = field(default_factory=dict)

    @property
    def conversion_factor(self) -> str | None:
        """The model's own conversion factor."""
        return self.origin.conversion_factor

    def formulas(self) -> Iterator[tuple[str | None, Program, Mapping[str, str]]]:
        """All mathematics but the bodies of function definitions.

        Each with the target of the assignment rule that it is, or ``None``, and the names of local parameters in it,
        which hide what has the same id elsewhere.
        """
        for rule in self.assignments.values():
            yield rule.target, rule.program, _NO_NAMES
        for rule in (*self.rates.values(), *self.algebraic, *self.initial.values()):
            yield None, rule.program, _NO_NAMES
        for reaction in self.reactions:
            if reaction.law is not None:
                yield None, reaction.law.program, reaction.law.names
            for part in (*reaction.reactants, *reaction.products):
                if part.program is not None:
                    yield None, part.program, _NO_NAMES
        for event in self.events:
            for program in (event.trigger, event.delay, event.priority, *(rule.program for rule in event.assignments)):
                if program is not None:
                    yield None, program, _NO_NAMES
        for constraint in self.constraints:
            yield None, constraint.program, _NO_NAMES


# -- what every element of a file may carry --------------------------------------------------------

# Elements that are no quantity, reaction, event or constraint are known by keys (:data:`sbmlump.model.system.Key`):
#
# =============================================  =========================================================
# ``("sbml",)``                                  the outermost element
# ``("listOfSpecies",)`` …                       lists of the model
# ``("listOfReactants", REACTION)`` …            lists of a reaction, of an event, of the units of a definition
# ``("functionDefinition", ID)``                 likewise ``unitDefinition``
# ``("unit", DEFINITION, POSITION)``
# ``("assignmentRule", VARIABLE)``               likewise ``rateRule``, ``initialAssignment``
# ``("algebraicRule", POSITION)``
# ``("kineticLaw", REACTION)``
# ``("reactant", REACTION, SPECIES, NUMBER)``    likewise ``product`` and ``modifier``; the number counts those of the
#                                                same species
# ``("trigger", EVENT)``                         likewise ``delay``, ``priority``; EVENT is the id or ``#`` and
# a position
# ``("eventAssignment", EVENT, VARIABLE)``
# =============================================  =========================================================


_has_units: Final = libsbml.ASTNode.hasUnits  # see mathml.py: a node may come as the class of another library
_NUMEROUS: Final = frozenset(
    "speciesReference modifierSpeciesReference kineticLaw listOfReactants listOfProducts listOfModifiers".split()
)
_CARRIED: Final = re.compile(rb"\s(?:metaid|sboTerm|id|name)\s*=|<!--|<(?:[\w.-]+:)?(?:notes|annotation)\b")
_NAME_OF_TAG: Final = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_UNIT_OF_NUMBER: Final = re.compile(rb"<(?:[\w.-]+:)?cn\s[^>]*\bunits\s*=")
_PREFIX: Final = re.compile(r"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")


def silent_elements(data: bytes) -> frozenset[str]:
    """Names of elements, of those that large networks have by the thousand, none of which carries anything in ``data``.

    Asking libSBML about each of them would take a third of the time of reading. Whatever is not sure is not silent.
    """
    if b"\0" in data or _UNIT_OF_NUMBER.search(data):  # UTF-16: nothing would be found
        return frozenset()
    carrying: set[str] = set()
    for found in _CARRIED.finditer(data):
        # the tag that the attribute stands in, or the one before the child
        tag = _NAME_OF_TAG.match(data, data.rfind(b"<", 0, found.start()))
        if tag is not None:
            carrying.add(tag[1].decode("ascii", "replace"))
    return _NUMEROUS - carrying


class _Describer:
    """Takes what elements carry out of one document.

    A metaid that another element has already is left out: what refers to it means the first.
    """

    __slots__ = ("_document", "_has_ids", "_level", "_metaids")

    def __init__(self, document: Any) -> None:
        self._document = document
        self._level: int = document.getLevel()
        self._has_ids = (self._level, document.getVersion()) >= (3, 2)
        self._metaids: set[str] = set()

    def fields(self, item: Any) -> dict[str, Any]:
        """Fields ``name``, ``sbo``, ``metaid``, ``notes`` and ``annotation`` of an element; ``None`` if absent."""
        # libSBML gives the empty string for what is not set; asking first would double the calls
        metaid = item.getMetaId() or None
        if metaid in self._metaids:
            metaid = None
        elif metaid is not None:
            self._metaids.add(metaid)
        document = self._document
        return {
            "name": (item.getName() or None) if self._level > 1 else None,  # in Level 1 the name is the id
            "sbo": item.getSBOTermID() or None,
            "metaid": metaid,
            "notes": _standalone(document, item.getNotesString()) if item.isSetNotes() else None,
            "annotation": _standalone(document, item.getAnnotationString()) if item.isSetAnnotation() else None,
        }

    def description(self, item: Any, math: Any = None) -> Description | None:
        """What ``item``, with its mathematics, carries; ``None`` if it carries nothing, as most elements do."""
        # called for every element of a file: nothing but what has to be asked
        units = math is not None and self._level > 2 and _has_units(math)
        if not (
            units
            or item.isSetMetaId()
            or item.isSetSBOTerm()
            or item.isSetNotes()
            or item.isSetAnnotation()
            or (self._has_ids and (item.isSetIdAttribute() or item.isSetName()))
        ):
            return None
        fields = self.fields(item)
        if self._level < 3:
            fields["name"] = None  # of a rule it is its variable
        identity = (item.getIdAttribute() or None) if self._has_ids else None
        return Description(id=identity, units=numbers_with_units(math) if units else (), **fields)


def event_key(name: str | None, position: int) -> str:
    """How the event at ``position`` (from 0) is named in keys."""
    return name if name is not None else f"#{position}"


def _standalone(document: Any, text: str) -> str:
    """XML text with the namespace prefixes that only the document declares, declared in it."""
    missing: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    for prefix in dict.fromkeys(_PREFIX.findall(text)):
        if prefix in ("xml", "xmlns"):
            continue
        # what is declared inside the text may be used outside of that place, too
        table = doubtful if f"xmlns:{prefix}=" in text else missing
        for holder in (document.getModel(), document):
            uri = holder.getNamespaces().getURI(prefix)
            if uri:
                table[prefix] = uri
                break
    found = _declaring(text, missing)
    if doubtful and not is_well_formed(found):
        head = found[: found.index(">")]
        found = _declaring(found, {p: uri for p, uri in doubtful.items() if f"xmlns:{p}=" not in head})
    return found


def _declaring(text: str, prefixes: Mapping[str, str]) -> str:
    if not prefixes:
        return text
    declared = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in prefixes.items())
    return re.sub(r"^(\s*<[\w:.-]+)", lambda found: found.group(1) + declared, text, count=1)


# -- packages of Level 3: which stop a reading -----------------------------------------------------


#: Packages whose elements are read (``comp`` is flattened before) or change nothing in the mathematics.
#: Random numbers of ``distrib`` are refused where they are called; the rest of it says how sure values are.
_READ_PACKAGES: Final = frozenset({"comp", "l3v2extendedmath", "distrib"})
_CARRIED_LISTS: Final = {
    "layout": ("Layouts",),
    "groups": ("Groups",),
    "fbc": ("FluxBounds", "Objectives", "GeneProducts", "UserDefinedConstraints"),
}
"""Packages that say nothing about the dynamics and are written again, with their lists in the model."""
_ADVICE: Final = {
    "qual": "it is a qualitative (logical) model",
    "spatial": "it has a geometry, so its equations are partial differential ones",
    "multi": "its species are patterns that have to be expanded first",
    "distrib": "it is of a draft of that package, in which values may be drawn at random",
    "arrays": "its elements are arrays that have to be expanded first",
    "dyn": "its elements come and go",
}


def check_packages(document: Any, problems: Problems) -> None:
    """Note each package that the file declares as required and that is not read here."""
    if document.getLevel() < 3:
        return
    for i in range(document.getNumPlugins()):
        name = document.getPlugin(i).getPackageName()
        if name not in _READ_PACKAGES and document.getPackageRequired(name):
            _refuse(name, problems)
        elif name == "distrib":
            text = "the package 'distrib' says how uncertain values are; the values themselves are read"
            problems.remark("uncertainty-not-read", text)
    for name, uri in _foreign_packages(document):
        if document.getPackageRequired(uri):
            _refuse(name, problems)


def _foreign_packages(document: Any) -> Iterator[tuple[str, str]]:
    """Prefix and URI of the packages that a Level 3 document declares and libSBML does not know."""
    namespaces = document.getNamespaces()
    for i in range(namespaces.getLength()):
        uri = namespaces.getURI(i)
        if "/sbml/level3/" in uri and "/core" not in uri and document.getPlugin(uri) is None:
            yield namespaces.getPrefix(i), uri


def is_flux_balance(document: Any, raw: RawModel) -> bool:
    """Whether the model is one of flux balance: bounds and objectives in the place of kinetic laws.

    Where some reactions have laws, those without are named one by one instead. Older files (COBRA, Level 2) have
    kinetic laws that hold bounds as local parameters and no rate.
    """
    if not raw.reactions:
        return False
    if document.getLevel() > 2:
        return document.getModel().getPlugin("fbc") is not None and all(r.law is None for r in raw.reactions)
    return all(r.law is not None and "FLUX_VALUE" in r.law.names and not _uses_ids(r.law) for r in raw.reactions)


def _carried_packages(document: Any) -> tuple[Package, ...]:
    """What the packages layout (with render), groups and fbc say in a Level 3 document."""
    if document.getLevel() < 3:
        return ()
    model = document.getModel()
    found = []
    for name, lists in _CARRIED_LISTS.items():
        plugin = model.getPlugin(name)
        if plugin is None:
            continue
        children: dict[Key, tuple[str, ...]] = {}
        given = [getattr(plugin, f"getListOf{what}", None) for what in lists]
        texts = [get().toSBML() for get in given if get is not None and get().size()]
        if texts:
            children["model",] = tuple(_standalone(document, text.strip()) for text in texts)
        attributes: dict[Key, dict[str, str]] = {}
        if name == "fbc":
            _flux_balance(document, model, children, attributes)
        if not (children or attributes) or not all(is_well_formed(t) for texts in children.values() for t in texts):
            continue
        tags = [tag for texts in children.values() for text in texts for tag in tags_of(text)]
        ids = frozenset(tag.attributes["id"] for tag in tags if "id" in tag.attributes)
        found.append(Package(name, plugin.getPrefix() or name, plugin.getURI(), children, attributes, ids))
    render = document.getPlugin("render")
    if render is not None and any(package.name == "layout" for package in found):
        found.append(Package("render", render.getPrefix() or "render", render.getURI()))
    return tuple(found)


def _other_packages(document: Any, packages: Sequence[Package]) -> tuple[str, ...]:
    """Names of the packages of which nothing is kept (they are not among ``packages``), though they say something."""
    if document.getLevel() < 3:
        return ()
    carried = {package.name for package in packages}
    model = document.getModel()
    names = {document.getPlugin(i).getPackageName() for i in range(document.getNumPlugins())}
    plugins = {name: model.getPlugin(name) for name in _CARRIED_LISTS if name not in carried}
    empty = {name for name, plugin in plugins.items() if plugin is None or not plugin.getListOfAllElements().getSize()}
    names |= {prefix for prefix, _ in _foreign_packages(document)}
    return tuple(sorted(names - {*carried, *empty, *_READ_PACKAGES, "render"}))


def _flux_balance(
    document: Any, model: Any, children: dict[Key, tuple[str, ...]], attributes: dict[Key, dict[str, str]]
) -> None:
    """Charges, formulas, bounds and genes of species and reactions."""
    plugin = model.getPlugin("fbc")
    if plugin.getPackageVersion() > 1 and plugin.isSetStrict():
        attributes["model",] = {"strict": "true" if plugin.getStrict() else "false"}
    for item in _items(model.getNumSpecies, model.getSpecies):
        said = item.getPlugin("fbc")
        values = {}
        if said.isSetCharge():
            charge = said.getChargeAsDouble() if plugin.getPackageVersion() > 2 else said.getCharge()
            values["charge"] = repr(charge).removesuffix(".0")
        if said.isSetChemicalFormula():
            values["chemicalFormula"] = said.getChemicalFormula()
        if values:
            attributes["species", item.getId()] = values
    if plugin.getPackageVersion() < 2:
        return
    for item in _items(model.getNumReactions, model.getReaction):
        said = item.getPlugin("fbc")
        bounds = {"lowerFluxBound": said.getLowerFluxBound(), "upperFluxBound": said.getUpperFluxBound()}
        values = {key: value for key, value in bounds.items() if value}
        if values:
            attributes["reaction", item.getId()] = values
        if said.isSetGeneProductAssociation():
            text = said.getGeneProductAssociation().toSBML().strip()
            children["reaction", item.getId()] = (_standalone(document, text),)


def _uses_ids(law: KineticLaw) -> bool:
    return any(step.kind == "name" and step.payload not in law.names for step in law.program)


def _refuse(name: str, problems: Problems) -> None:
    why = _ADVICE.get(name, "its meaning is not known here")
    problems.add(
        f"package-required:{name}", f"the model needs the package {name!r} to be understood: {why}", None, None
    )


# -- units of the model, with what Levels 1 --------------------------------------------------------


#: The units that Levels 1 and 2 predefine; a unit definition with such an id replaces it.
_BUILT_IN: Final[Mapping[str, Unit]] = {
    "substance": Unit("mole"),
    "volume": Unit("litre"),
    "area": Unit("metre", 2.0),
    "length": Unit("metre"),
    "time": Unit("second"),
}
_OLD_SPELLING: Final = {"liter": "litre", "meter": "metre"}


def _unit_name(name: str, level: int) -> str | None:
    """Units attribute as Level 3 has it; ``None`` if there is none."""
    if not name:
        return None
    return _OLD_SPELLING.get(name, name) if level == 1 else name


def _origin_of(document: Any, file: str, sha256: str, described: Mapping[str, Any]) -> Origin:
    """What the file says of the model as a whole."""
    model, level = document.getModel(), document.getLevel()
    definitions = [_definition(item, level) for item in _items(model.getNumUnitDefinitions, model.getUnitDefinition)]
    kept = [definition for definition in definitions if definition is not None]
    if level < 3:
        units = _old_model_units(kept)
    else:
        units = {
            kind: getattr(model, f"get{kind.capitalize()}Units")()
            for kind in MODEL_UNITS
            if getattr(model, f"isSet{kind.capitalize()}Units")()
        }
    return Origin(
        format="sbml",
        file=file,
        sha256=sha256,
        level=level,
        version=document.getVersion(),
        model_units=units,
        unit_definitions=tuple(kept),
        conversion_factor=model.getConversionFactor() or None,
        **described,
    )


def _definition(item: Any, level: int) -> UnitDefinition | None:
    """``None`` for a definition with an offset (Celsius), which Level 3 cannot express."""
    units = []
    for unit in _items(item.getNumUnits, item.getUnit):
        kind = libsbml.UnitKind_toString(unit.getKind())
        if kind == "Celsius" or (level < 3 and unit.getOffset()):
            return None
        exponent = unit.getExponentAsDouble()
        units.append(Unit(_OLD_SPELLING.get(kind, kind), exponent, unit.getScale(), unit.getMultiplier()))
    return UnitDefinition(item.getId(), tuple(units), item.getName() or None)


def _old_model_units(definitions: list[UnitDefinition]) -> dict[str, str]:
    """Model-wide units of a Level 1 or 2 model; adds to ``definitions`` what they and its attributes may name.

    An attribute may say ``substance`` or ``area`` without any definition in the file; the definitions added here
    let such names stand in Level 3, where they mean nothing by themselves.
    """
    present = {definition.id for definition in definitions}
    definitions += [UnitDefinition(name, (unit,)) for name, unit in _BUILT_IN.items() if name not in present]
    return {kind: kind for kind in _BUILT_IN} | {"extent": "substance"}


def _unit_factor(name: str, definitions: Iterable[UnitDefinition]) -> tuple[Fraction, Mapping[str, int]] | None:
    """What a unit of Level 1 or 2 is of its base units, and their exponents; ``None`` where there is no such unit."""
    name = _OLD_SPELLING.get(name, name)
    units = next((one.units for one in definitions if one.id == name), None)
    if units is None:
        known = libsbml.UnitKind_forName(name) != libsbml.UNIT_KIND_INVALID
        return (Fraction(1), {name: 1}) if known else None
    factor, exponents = Fraction(1), Counter[str]()
    for unit in units:
        if not isfinite(unit.multiplier) or not unit.multiplier:
            return None
        factor *= (Fraction(repr(unit.multiplier)) * Fraction(10) ** unit.scale) ** int(unit.exponent)
        exponents[unit.kind] += int(unit.exponent)
    return factor, {kind: exponent for kind, exponent in exponents.items() if exponent and kind != "dimensionless"}


# -- the reader --------------------------------------------------------------------------------------


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


Side = tuple[RawParticipant, ...]


def read_elements(
    document: Any,
    file: str,
    sha256: str,
    problems: Problems,
    data: bytes | None = None,
    alike: Sequence[AlikeReaction | None] = (),
) -> RawModel:
    """All core elements of the model in ``document``; what stands in the way goes to ``problems``.

    Parameters
    ----------
    data : bytes, optional
        The text of the whole model: elements that carry no descriptions in it are not asked for any.
    alike : sequence of AlikeReaction or None
        For each reaction what its text tells of it.
    """
    return _Reader(document, problems, data, alike).model(file, sha256)


class _Reader:
    def __init__(
        self, document: Any, problems: Problems, data: bytes | None, alike: Sequence[AlikeReaction | None]
    ) -> None:
        self.document = document
        self.data = data
        self.alike = alike
        self.sides: dict[ReactionKind, tuple[Side, Side, tuple[str, ...]]] = {}  # of the reaction it was learnt from
        self.first: dict[ReactionKind, RawReaction] = {}  # that reaction
        self.level: int = document.getLevel()
        self.math_optional = (self.level, document.getVersion()) >= (3, 2)
        self.problems = problems
        self.sized: frozenset[str] = frozenset()  # ids that rules, initial assignments or events give a value
        self.plain: dict[tuple[str, float | Fraction], RawParticipant] = {}
        self.describer = _Describer(document)
        self.descriptions: dict[Key, Description] = {}
        self.claimed: set[Key] = set()
        self.raw: RawModel
        self.taken: set[str]  # ids, of whatever kind

    @cached_property
    def silent(self) -> frozenset[str]:
        """Names of elements that are known to carry no descriptions; to look for them takes as long as some hundred
        reactions do.
        """
        few = bool(self.alike) and sum(known is None for known in self.alike) < READ_LIMITS.kinds
        return frozenset() if self.data is None or few else silent_elements(self.data)

    # -- the whole ------------------------------------------------------------------------------------

    def model(self, file: str, sha256: str) -> RawModel:
        source = self.document.getModel()
        about = self.describer.fields(source)
        name = about.pop("name")
        origin = _origin_of(self.document, file, sha256, about)
        self.raw = RawModel(source.getId() or "model", name, origin)
        self.taken = self.raw.ids
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
        alike = self.alike or [None] * source.getNumReactions()
        for i, known in enumerate(alike):
            if known is None or known.names[0] in self.taken:
                self._claim(source.getReaction(i))
            else:
                self.taken.add(known.names[0])
        for item in _items(source.getNumInitialAssignments, source.getInitialAssignment):
            self._into(self.raw.initial, item.getSymbol(), item, "initial assignment")
        for item in _items(source.getNumRules, source.getRule):
            self._rule(item)
        parts = [
            (None if known is None else self._participants_alike(known, i)) or self._participants(source.getReaction(i))
            for i, known in enumerate(alike)
        ]
        for i, item in enumerate(_items(source.getNumEvents, source.getEvent)):
            self._event(item, i)
        for item in _items(source.getNumConstraints, source.getConstraint):
            self._constraint(item)
        self._units_and_lists(source)
        self._claim_descriptions()
        packages = _carried_packages(self.document)
        self.taken.update(*(package.ids for package in packages))
        # last, when all ids are known: local parameters get new ones
        for i, (known, sides) in enumerate(zip(alike, parts, strict=True)):
            first = None if known is None else self.first.get(known.kind)
            if known is None or first is None:
                reaction = self._reaction(source.getReaction(i), *sides)
                if known is not None:
                    self.first[known.kind] = reaction
            else:
                law = KineticLaw(known.kind.law(known.names), _NO_NAMES)
                reaction = RawReaction(known.names[0], known.line, law, *sides, first.details)
            self.raw.reactions.append(reaction)
        self._claim_descriptions()
        self.raw.origin = replace(
            origin,
            descriptions=self.descriptions,
            packages=packages,
            other_packages=_other_packages(self.document, packages),
        )
        return self.raw

    # -- what is said of elements ---------------------------------------------------------------------

    def _note(self, key: Key, item: Any, math: Any = None) -> None:
        """Keep what is said of an element that gets no record of its own."""
        found = self.describer.description(item, math)
        if found is not None:
            self.descriptions[key] = found

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
                units=_unit_name(item.getUnits(), self.level),
                spatial_dimensions=dimensions,
                written_constant=bool(item.getConstant()) and self.level > 1,
                **self.describer.fields(item),
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
                units=_unit_name(item.getSubstanceUnits() if self.level > 1 else item.getUnits(), self.level),
                compartment=where,
                amount=bool(item.getHasOnlySubstanceUnits()) or flat,
                boundary=bool(item.getBoundaryCondition()),
                written_constant=bool(item.getConstant()),
                conversion_factor=item.getConversionFactor() or None,
                given_as_amount=amount is not None,
                **self.describer.fields(item),
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
                units=_unit_name(item.getUnits(), self.level),
                written_constant=kind == "local-parameter" or (bool(item.getConstant()) and self.level > 1),
                **self.describer.fields(item),
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
            derivative = (space, meaning) == (_SYMBOLS, _DERIVATIVE)
            self.raw.old_rate_of |= derivative
            if space == _DISTRIBUTION:
                # whatever the body: tools that know the annotation draw a number
                text = f"draws from a random distribution ({item.getId()}: {meaning}); it has no deterministic value"
                program = (Instruction("problem", ("random-number", text), 0),)
            elif derivative and len(names) == 1:
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
        else:
            self.raw.ruled.append(item.getVariable())
            table, what = (self.raw.rates, "rate rule") if item.isRate() else (self.raw.assignments, "assignment rule")
            self._into(table, item.getVariable(), item, what)

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

    def _participants_alike(self, reaction: AlikeReaction, number: int) -> tuple[Side, Side, tuple[str, ...]] | None:
        """As :meth:`_participants`, of a reaction of a known kind; ``None`` where libSBML has to be asked."""
        kind, names = reaction.kind, reaction.names
        if number == kind.first:
            item = self.document.getModel().getReaction(number)
            self.sides[kind] = self._participants(item)
        first = self.sides[kind]
        species = iter(names[1:])
        reactants = [self._plain(next(species), part.stoichiometry) for part in first[0]]
        products = [self._plain(next(species), part.stoichiometry) for part in first[1]]
        sides = tuple(part for part in reactants if part), tuple(part for part in products if part)
        if len(sides[0]) < kind.reactants or len(sides[1]) < kind.products:
            return None
        return *sides, tuple(next(species) for _ in range(kind.modifiers))

    def _plain(self, species: str, value: float | Fraction | None) -> RawParticipant | None:
        """A participant with which nothing can be wrong: its place is not needed, and one will do for all of them."""
        if value is None:
            return None
        known = self.plain.get((species, value))
        if known is None:
            entry = self.raw.entries.get(species)
            if entry is not None and entry.quantity.kind == "species":
                known = self.plain[species, value] = RawParticipant(species, None, value, None, 0)
        return known

    def _reaction(self, item: Any, reactants: Side, products: Side, modifiers: tuple[str, ...]) -> RawReaction:
        name, line = item.getId(), item.getLine()
        if item.isSetFast() and item.getFast():
            self.raw.fast[name] = line
        details = self.describer.fields(item)
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
        found = None if "modifierSpeciesReference" in self.silent else self.describer.description(item)
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
        if self.level < 3:
            given = {"time": law.getTimeUnits(), "substance": law.getSubstanceUnits()}
            self._refuse_other_units(law, given, f"the kinetic law of reaction {reaction_id!r}", reaction_id)
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
            names[old] = free_id(f"{reaction_id}_{old}", self.taken)
            self._enter(self._parameter(item, names[old], "local-parameter"))
        return KineticLaw(compile_ast(math), names)

    def _participant(self, item: Any, side: str, reaction: str, counts: dict[tuple[str, str], int]) -> RawParticipant:
        species = item.getSpecies()
        name = (item.getId() or None) if self.level > 1 else None
        found: Description | None = None
        if "speciesReference" not in self.silent:
            number = counts[side, species] = counts.get((side, species), -1) + 1
            found = self.describer.description(item)
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
        if name is None and program is None:
            plain = self._plain(species, value)
            if plain is not None:
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
        self.raw.denominators |= self.level == 2 and bottom != 1
        if isfinite(top) and bottom:
            return Fraction(repr(top)) / bottom
        return self._no_number(item, f"{top:g}/{bottom}" if bottom != 1 else f"{top:g}")

    def _no_number(self, item: Any, given: str) -> Fraction:
        """Note that a stoichiometry is no number; 0 stands in."""
        text = f"the stoichiometry of {item.getSpecies()!r} is {given}, which is not a number; correct it"
        self.problems.add("bad-number", text, item.getSpecies(), item.getLine())
        return Fraction(0)

    # -- events and constraints -----------------------------------------------------------------------

    def _refuse_other_units(self, item: Any, given: Mapping[str, str], what: str, element: str | None) -> None:
        """Note a problem where an element of an old level is in other units of time or substance than the model.

        Its value would have to be converted, which no later level knows and no simulator does.
        """
        definitions = self.raw.origin.unit_definitions
        for kind, name in given.items():
            if name and _unit_factor(name, definitions) != _unit_factor(kind, definitions):
                text = (
                    f"{what} is in units of {kind} of its own ({kind}Units={name!r}), which differ from the model's; "
                    f"nothing is converted here: write it in the model's unit of {kind} and remove the attribute"
                )
                self.problems.add("other-units", text, element, item.getLine())

    def _event(self, item: Any, index: int) -> None:
        name = item.getId() if item.isSetId() else None
        label = f"event {name!r}" if name else f"event number {index + 1}"
        if name is not None:
            self._claim(item)
        trigger = item.getTrigger()
        details = self.describer.fields(item)
        details.update(id=name, use_trigger_values=bool(item.getUseValuesFromTriggerTime()))
        if self.level > 2 and trigger is not None:
            details.update(initial_value=bool(trigger.getInitialValue()), persistent=bool(trigger.getPersistent()))
        if self.level == 2 and item.getDelay() is not None:
            self._refuse_other_units(item, {"time": item.getTimeUnits()}, f"the delay of {label}", name)
        assignments = []
        key = event_key(name, index)
        parts = {"trigger": trigger, "delay": item.getDelay(), "priority": item.getPriority()}
        for what, part in parts.items():
            if part is not None:
                self._note((what, key), part, part.getMath())
        self._note(("listOfEventAssignments", key), item.getListOfEventAssignments())
        for one in _items(item.getNumEventAssignments, item.getEventAssignment):
            self._note(("eventAssignment", key, one.getVariable()), one, one.getMath())
            program = self._program(one, f"an assignment of {label}", one.getVariable())
            if program is not None:
                assignments.append(RawRule(one.getVariable(), program, one.getLine()))
        programs = {
            what: None if part is None else self._program(part, f"the {what} of {label}", name)
            for what, part in parts.items()
        }
        event = RawEvent(label, item.getLine(), **programs, assignments=tuple(assignments), details=details)
        self.raw.events.append(event)

    def _constraint(self, item: Any) -> None:
        program = self._program(item, "a constraint", None)
        if program is not None:
            message = _standalone(self.document, item.getMessageString()) if item.isSetMessage() else None
            found = self.describer.description(item, item.getMath()) or Description()
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
