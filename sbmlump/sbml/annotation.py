"""The lumping as an annotation of the reduced model: written and read (see docs/annotation.md)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Final, NoReturn
from xml.parsers import expat

from sbmlump._version import __version__
from sbmlump.errors import InputError, LimitError, Reason
from sbmlump.model.evaluate import field_values
from sbmlump.model.names import claim_id, free_id
from sbmlump.model.reduced import AffineLumping, Elimination, ErrorEstimate, Lump, ReducedSystem
from sbmlump.model.system import Assigned, Constant, Key, OdeSystem, Quantity, event_expressions
from sbmlump.model.text import combination
from sbmlump.sbml.write.roles import assign_roles
from sbmlump.sbml.write.xml import (
    RDF,
    XHTML,
    Child,
    as_division,
    attributes,
    block,
    children_of,
    element,
    escaped,
    is_well_formed,
    join_content,
    leaf,
    line,
    notes_text,
    section,
    with_children,
)

__all__ = [
    "NAMESPACE",
    "LumpingRecord",
    "MetadataSettings",
    "lumping_annotation",
    "read_lumping_annotation",
    "GROUPS",
    "groups_of",
    "derived_from",
    "parts_annotation",
    "resources_of",
    "formula",
    "reduction_notes",
    "changed_elements",
    "with_metadata",
]


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

NAMESPACE: Final = "https://sbmlump.github.io/ns/1"
_SBML: Final = "http://www.sbml.org/sbml/"
_RATIONAL: Final = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?")


@dataclass(frozen=True, slots=True)
class LumpingRecord:
    """What the annotation of a reduced model says.

    Attributes
    ----------
    version, method : str
        Version of sbmlump and reduction method, as on the command line.
    kind : str
        Kind of map: ``linear``.
    model_id, file, sha256 : str or None
        The model that it derives from, the name of its file, and the digest of that file.
    original_size : int
        States of that model.
    lumps : tuple of Lump
        Rows of the lumping matrix, over Q, in the order of the states of the reduced model.
    lift : tuple of mappings from original id to Fraction
        One for each lump: how much of it each original state is lifted to.
    offset : mapping of str to Fraction
        Constant part of the lift, by original state; empty in most files.
    starts : mapping of id to mapping from original id to Fraction
        Constants that hold initial values of combinations of original states.
    observables : tuple of (id, text)
        What was to be kept.
    valid_for : mapping of str to str
        Values of constants that the lumping rests on.
    certificate : mapping
        Fields of the certificate as JSON values.
    """

    version: str
    method: str
    kind: str
    model_id: str | None
    file: str | None
    sha256: str | None
    original_size: int
    lumps: tuple[Lump, ...]
    lift: tuple[Mapping[str, Fraction], ...]
    offset: Mapping[str, Fraction] = field(default_factory=dict)
    starts: Mapping[str, Mapping[str, Fraction]] = field(default_factory=dict)
    observables: tuple[tuple[str, str], ...] = ()
    valid_for: Mapping[str, str] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symbolic(self) -> tuple[str, ...]:
        """Constants for all of whose values the reduction is said to hold."""
        listed = self.certificate.get("symbolic_parameters")
        return tuple(str(name) for name in listed) if isinstance(listed, list) else ()


# -- writing -----------------------------------------------------------------------------------------


def lumping_annotation(reduced: ReducedSystem) -> str:
    """The ``lumping`` element that belongs into the annotation of the reduced model.

    Raises
    ------
    LimitError
        With code ``number-not-writable`` if a coefficient has more than 4,000 digits.
    """
    origin = reduced.original.origin
    states = reduced.map.matrix.states
    lifts = ({states[j]: value for j, value in row.items()} for row in reduced.map.lift.rows)
    # ids first, then columns: the order in which a row was made does not show
    place = {name: i for i, name in enumerate(states)}
    rows = [_row(lump.id, lump.members, place) for lump in reduced.lumps]
    lift_rows = [_row(lump.id, row, place) for lump, row in zip(reduced.lumps, lifts, strict=True)]
    source = leaf(
        "derivedFrom",
        model=reduced.original.id,
        file=PurePath(origin.file).name if origin.file is not None else None,
        sha256=origin.sha256,
        states=str(reduced.original.size),
    )
    offset = [
        leaf("member", state=states[j], value=_exact(value, "the offset"))
        for j, value in sorted(reduced.map.offset.items())
    ]
    starts = [_row(name, row, place) for name, row in _starts(reduced).items()]
    observables = (line("observable", one.text, id=one.id) for one in reduced.observables)
    certificate = reduced.certificate
    constants = {} if isinstance(certificate, ErrorEstimate) else certificate.valid_for
    valid_for = (leaf("constant", id=name, value=text) for name, text in constants.items())
    fields = (line("field", _json(value), name=name) for name, value in certificate.as_json().items())
    head = attributes(xmlns=NAMESPACE, version=__version__, method=reduced.method, kind=reduced.map.kind)
    lists = (
        block("matrix", rows),
        block("lift", lift_rows),
        section("offset", offset),
        section("starts", starts),
        block("observables", observables),
        block("validFor", valid_for),
        block("certificate", fields),
    )
    return block("lumping", (source, *lists), head)


def _starts(reduced: ReducedSystem) -> dict[str, Mapping[str, Fraction]]:
    """Constants that hold initial values, or totals of them."""
    kind = reduced.map
    if isinstance(kind, Elimination):
        return dict(kind.starts)
    if isinstance(kind, AffineLumping):
        states = kind.matrix.states
        return {name: {states[j]: value for j, value in row.items()} for name, row in kind.totals}
    return {}


def _row(name: str, members: Mapping[str, Fraction], place: Mapping[str, int]) -> str:
    ordered = sorted(members.items(), key=lambda item: place.get(item[0], -1))
    entries = (leaf("member", state=state, value=_exact(value, name)) for state, value in ordered)
    return block("lump", entries, attributes(id=name))


def _exact(value: Fraction, lump: str) -> str:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 13_000:
        message = f"a coefficient of {lump} has more than 4,000 digits and is not written"
        raise LimitError(Reason("number-not-writable", message, lump))
    return str(value)


def _json(value: Any) -> str:
    """JSON without NaN or infinity: what is no number is unknown."""
    return json.dumps(_finite(value), sort_keys=True)


def _finite(value: Any) -> Any:
    """``value`` with null for every double that is not finite (certificates are flat: depth is of no concern)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, Fraction) else value


# -- reading -----------------------------------------------------------------------------------------


def read_lumping_annotation(source: bytes) -> LumpingRecord | None:
    """What the annotation of the model in an SBML file says; ``None`` if the model is not a reduced one.

    Parameters
    ----------
    source : bytes
        The whole file, checked before by ``precheck``.

    Raises
    ------
    InputError
        With code ``bad-annotation`` if the annotation is there but not as docs/annotation.md describes it.
    """
    reading = _Reading()
    try:
        reading.parser.Parse(source, True)
    except expat.ExpatError as error:
        _refuse(f"the file is not XML: {error}")
    return reading.record() if reading.found else None


def _refuse(what: str, line: int | None = None) -> NoReturn:
    message = f"the lumping annotation of the model cannot be read: {what}; reduce the original again"
    raise InputError(Reason("bad-annotation", message, line=line))


class _Reading:
    """Collects the annotation from the events of the parser; the path of open elements says what is what."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.found = False
        self._path: list[str] = []
        self._head: dict[str, str] = {}
        self._source: dict[str, str] | None = None
        self._tables: dict[str, dict[str, dict[str, Fraction]]] = {"matrix": {}, "lift": {}, "starts": {}}
        self._lump: dict[str, Fraction] = {}
        self._offset: dict[str, Fraction] = {}
        self._observables: list[tuple[str, str]] = []
        self._valid_for: dict[str, str] = {}
        self._certificate: dict[str, Any] = {}
        self._name = ""
        self._words: list[str] | None = None

    def record(self) -> LumpingRecord:
        """Everything read, checked for completeness."""
        if self._source is None:
            _refuse("it does not say what the model derives from")
        matrix, lift = self._tables["matrix"], self._tables["lift"]
        if list(matrix) != list(lift):
            _refuse("its matrix and its lift have different rows")
        size = self._source.get("states", "")
        if not re.fullmatch("[0-9]{1,9}", size):
            _refuse(f"the number of original states is {size!r}")
        return LumpingRecord(
            version=self._head["version"],
            method=self._head["method"],
            kind=self._head["kind"],
            model_id=self._source.get("model"),
            file=self._source.get("file"),
            sha256=self._source.get("sha256"),
            original_size=int(size),
            lumps=tuple(Lump(name, members) for name, members in matrix.items()),
            lift=tuple(lift.values()),
            offset=self._offset,
            starts=self._tables["starts"],
            observables=tuple(self._observables),
            valid_for=self._valid_for,
            certificate=self._certificate,
        )

    # -- handlers ------------------------------------------------------------------------------------

    def _doctype(self, *_: object) -> None:
        self._bad("the file has a DOCTYPE")

    def _start(self, name: str, given: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) < 4 or not self._inside():
            return
        path = [part.removeprefix(NAMESPACE + " ") for part in self._path[3:]]
        if len(path) == 1:
            self._begin(given)
        elif path == ["lumping", "derivedFrom"]:
            self._source = given
        elif len(path) == 3 and path[1] in self._tables and path[2] == "lump":
            self._begin_lump(self._tables[path[1]], self._need(given, "id"))
        elif len(path) == 4 and path[1] in self._tables and path[2:] == ["lump", "member"]:
            self._member(given)
        elif path == ["lumping", "offset"]:
            self._lump = self._offset
        elif path == ["lumping", "offset", "member"]:
            self._member(given)
        elif path == ["lumping", "observables", "observable"]:
            self._name, self._words = self._need(given, "id"), []
        elif path == ["lumping", "validFor", "constant"]:
            self._valid_for[self._need(given, "id")] = self._need(given, "value")
        elif path == ["lumping", "certificate", "field"]:
            self._name, self._words = self._need(given, "name"), []
        elif not (len(path) == 2 and path[1] in ("matrix", "lift", "starts", "observables", "validFor", "certificate")):
            self._bad(f"unknown element {'/'.join(path)}")

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._words is None:
            return
        text, self._words = "".join(self._words), None
        if name == f"{NAMESPACE} observable":
            self._observables.append((self._name, text))
            return
        try:
            self._certificate[self._name] = json.loads(text)
        except (ValueError, RecursionError):
            self._bad(f"field {self._name!r} of the certificate is not JSON")

    def _text(self, text: str) -> None:
        if self._words is not None:
            self._words.append(text)

    # -- parts ---------------------------------------------------------------------------------------

    def _inside(self) -> bool:
        """Whether the open element is or is below sbml/model/annotation/lumping."""
        names: Sequence[str] = self._path
        core = [name.rpartition(" ") for name in names[:3]]
        return (
            [local for _, _, local in core] == ["sbml", "model", "annotation"]
            and all(space.startswith(_SBML) for space, _, _ in core)
            and names[3] == f"{NAMESPACE} lumping"
        )

    def _begin(self, given: dict[str, str]) -> None:
        if self.found:
            self._bad("it stands there twice")
        self.found = True
        for key in ("version", "method", "kind"):
            self._need(given, key)
        self._head = given

    def _begin_lump(self, table: dict[str, dict[str, Fraction]], name: str) -> None:
        if name in table:
            self._bad(f"lump {name} stands there twice")
        self._lump = table[name] = {}

    def _member(self, given: dict[str, str]) -> None:
        state, text = self._need(given, "state"), self._need(given, "value")
        if state in self._lump:
            self._bad(f"{state} stands twice in one lump")
        if not _RATIONAL.fullmatch(text):
            self._bad(f"the coefficient {text[:60]!r} of {state} is not an integer or a fraction")
        top, _, bottom = text.partition("/")
        if bottom and not int(bottom):
            self._bad(f"the coefficient {text[:60]!r} of {state} divides by 0")
        self._lump[state] = Fraction(int(top), int(bottom or 1))

    def _need(self, given: Mapping[str, str], key: str) -> str:
        value = given.get(key)
        if value is None:
            self._bad(f"{self._path[-1].rpartition(' ')[2]} has no attribute {key}")
        return value

    def _bad(self, what: str) -> NoReturn:
        _refuse(what, self.parser.CurrentLineNumber)


# -- MIRIAM annotations of what a reduction made ----------------------------------------------------


_BIOLOGY: Final = "http://biomodels.net/biology-qualifiers/"
_MODEL: Final = "http://biomodels.net/model-qualifiers/"
_MODEL_ID: Final = re.compile(r"(?:BIOMD|MODEL)[0-9]{10}")
_OF_PARTS: Final = ("is", "isVersionOf", "hasVersion", "hasPart")


def resources_of(annotation: str, space: str, qualifiers: Iterable[str]) -> list[str]:
    """URIs that an ``annotation`` element gives under some qualifiers of a namespace, in its order.

    Nothing of one that is no well-formed XML.
    """
    wanted = {f"{space} {name}" for name in qualifiers}
    found: list[str] = []
    inside = 0
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, given: dict[str, str]) -> None:
        nonlocal inside
        inside += name in wanted
        uri = given.get(f"{RDF} resource")
        if inside and uri is not None:
            found.append(uri)

    def end(name: str) -> None:
        nonlocal inside
        inside -= name in wanted

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(annotation.encode(), True)
    except expat.ExpatError:
        return []
    return list(dict.fromkeys(found))


def parts_annotation(
    metaid: str, annotations: Iterable[str | None], settings: MetadataSettings = _SETTINGS
) -> str | None:
    """An ``annotation`` that says by ``bqbiol:hasPart`` what the members of a lump were annotated with.

    Parameters
    ----------
    metaid : str
        Of the element that gets it.
    annotations : iterable of str or None
        Of the members.
    """
    uris: dict[str, None] = {}
    for annotation in annotations:
        if annotation is not None:
            uris.update(dict.fromkeys(resources_of(annotation, _BIOLOGY, _OF_PARTS)))
    if not uris:
        return None
    spaces = attributes(**{"xmlns:rdf": RDF, "xmlns:bqbiol": _BIOLOGY})
    return _fragment(
        "annotation", _rdf(spaces, metaid, element("bqbiol:hasPart", "", _bag(list(uris)[: settings.parts])))
    )


def derived_from(annotation: str | None, metaid: str, model_id: str) -> str | None:
    """The annotation of a model with ``bqmodel:isDerivedFrom`` the BioModels entry that ``model_id`` names.

    Unchanged where the id is none of BioModels, or the annotation names that entry there already.
    """
    if not _MODEL_ID.fullmatch(model_id):
        return annotation
    if annotation is not None:
        known = resources_of(annotation, _MODEL, ["isDerivedFrom"])
        if any(model_id in uri for uri in known):
            return annotation
    bag = _bag([f"https://identifiers.org/biomodels.db:{model_id}"])
    spaces = attributes(**{"xmlns:rdf": RDF, "xmlns:bqmodel": _MODEL})
    statement = element("bqmodel:isDerivedFrom", spaces, bag)
    place = None if annotation is None else _end_of_description(annotation, metaid)
    if annotation is not None and place is not None:
        return annotation[:place] + statement + annotation[place:]
    whole = _rdf(spaces, metaid, statement)
    if annotation is None:
        return _fragment("annotation", whole)
    # one RDF element to an annotation is all that SBML allows
    return annotation if "rdf-syntax-ns" in annotation else join_content(annotation, whole, first=True)


def _bag(uris: Iterable[str]) -> str:
    return block("rdf:Bag", (leaf("rdf:li", **{"rdf:resource": uri}) for uri in uris))


def _rdf(spaces: str, metaid: str, statement: str) -> str:
    """One statement on the element with ``metaid``."""
    return element("rdf:RDF", spaces, element("rdf:Description", attributes(**{"rdf:about": f"#{metaid}"}), statement))


def _fragment(tag: str, content: str) -> str:
    """An element that stands alone."""
    return f"<{tag}>\n{content}</{tag}>"


def _end_of_description(annotation: str, metaid: str) -> int | None:
    """Where the description of the element with ``metaid`` ends, before its closing tag."""
    opening = re.search(rf"<([\w.-]+):Description\b[^>]*about=[\"']#{re.escape(metaid)}[\"'][^>/]*>", annotation)
    if opening is None:
        return None
    closing = re.compile(rf"</{re.escape(opening[1])}:Description\s*>").search(annotation, opening.end())
    return None if closing is None else closing.start()


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
        return _fragment("notes", own)
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
        return _fragment("annotation", own)
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
        metaid = free_id(f"sbmlump_{name}", taken)
        annotation = parts_annotation(metaid, [member.annotation for member in members if member is not None], settings)
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
