"""The lumping as an annotation of the reduced model: written and read (see docs/annotation.md)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Final, NoReturn
from xml.parsers import expat

from sbmlump._version import __version__
from sbmlump.errors import InputError, LimitError, Reason, UnsupportedModelError, json_value
from sbmlump.model.names import clock_id
from sbmlump.model.reduced import AffineLumping, Elimination, ErrorEstimate, Lump, ReducedSystem
from sbmlump.model.text import to_text

__all__ = [
    "MODEL_QUALIFIERS",
    "NAMESPACE",
    "biological_resources",
    "LumpingRecord",
    "biomodels_address",
    "biomodels_id",
    "derived_from",
    "lumping_annotation",
    "parts_annotation",
    "qualified_resources",
    "read_lumping_annotation",
    "resources_of",
    "CARRIED",
    "DECLARATION",
    "RDF",
    "XHTML",
    "Child",
    "Tag",
    "annotation_text",
    "as_division",
    "attributes",
    "block",
    "children_of",
    "element",
    "escaped",
    "extras",
    "fragment",
    "is_well_formed",
    "join_content",
    "leaf",
    "line",
    "notes_text",
    "section",
    "tags_of",
    "truth",
    "with_children",
]


# -- XML as text: elements that are made here ------------------------------------------------------

# XML as text: elements that are made here, and foreign fragments (notes, annotations) carried over as they are.
#
# Elements are put together as text, not as trees: a fragment of the original has to come out as it went in, to
# the byte,
# and a model of a hundred thousand reactions is written in one go.


DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
XHTML: Final = "http://www.w3.org/1999/xhtml"
RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MARKUP: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # xml.sax.saxutils imports urllib.request
_WHITESPACE: Final = str.maketrans({'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
_WHOLE_TAG: Final = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escaped(text: str) -> str:
    """``text`` as character data; characters that XML 1.0 cannot hold become U+FFFD."""
    return _NOT_XML.sub("\ufffd", text).translate(_MARKUP)


def attributes(**values: str | None) -> str:
    """`` key="value"`` for every value that is given, in the order given (a trailing _ of a key is dropped)."""
    return "".join(
        f' {key.rstrip("_")}="{value if value.isidentifier() else _quotable(value)}"'
        for key, value in values.items()
        if value is not None
    )


def fragment(tag: str, content: str) -> str:
    """An element that stands alone."""
    return f"<{tag}>\n{content}</{tag}>"


def _quotable(value: str) -> str:
    return escaped(value).translate(_WHITESPACE)


def truth(value: bool) -> str:
    """A value of an attribute that is true or false."""
    return "true" if value else "false"


def leaf(tag: str, /, **values: str | None) -> str:
    """An element with attributes only."""
    return element(tag, attributes(**values))


def line(tag: str, text: str, /, **values: str | None) -> str:
    """An element with text, on one line."""
    return f"<{tag}{attributes(**values)}>{escaped(text)}</{tag}>\n"


def element(tag: str, head: str = "", content: str = "") -> str:
    """An element with ready-made attributes and content, on lines of its own; one tag if it has no content."""
    return block(tag, (content,), head) if content else f"<{tag}{head}/>\n"


def section(tag: str, items: Iterable[str], head: str = "") -> str:
    """A list of elements, or nothing if it would be empty."""
    content = "".join(items)
    return block(tag, (content,), head) if content else ""


def block(tag: str, items: Iterable[str], head: str = "") -> str:
    """A list of elements, with both its tags even if it is empty."""
    return f"<{tag}{head}>\n{''.join(items)}</{tag}>\n"


@dataclass(frozen=True, slots=True)
class Child:
    """A child element of a fragment: expanded name ("namespace name"), its text, and its place there in bytes."""

    name: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tag:
    """An element of a fragment: expanded name ("namespace name"), attributes without their namespaces, the place of the
    element and the end of its opening tag in bytes, and the position of the element that it stands in (-1: it is the
    outermost).
    """

    expanded: str
    attributes: Mapping[str, str]
    start: int
    head: int
    end: int
    parent: int

    @property
    def name(self) -> str:
        """Name without its namespace."""
        return self.expanded.rpartition(" ")[2]


def tags_of(fragment: str) -> list[Tag]:
    """All elements of a fragment, each before those in it."""
    data = fragment.encode()
    found: list[Tag] = []
    open_: list[int] = []
    parser = _parser()

    def start(name: str, given: dict[str, str]) -> None:
        begin = parser.CurrentByteIndex
        attributes_ = {key.rpartition(" ")[2]: value for key, value in given.items()}
        parent = open_[-1] if open_ else -1
        open_.append(len(found))
        found.append(Tag(name, attributes_, begin, _end_of_tag(data, begin), -1, parent))

    def end(_: str) -> None:
        index = open_.pop()
        tag = found[index]
        place = parser.CurrentByteIndex
        # for an empty tag expat places the end where the tag ends or where it begins
        close = tag.head if data[tag.head - 2 : tag.head] == b"/>" else data.index(b">", place) + 1
        found[index] = replace(tag, end=close)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(data, True)
    return found


def _end_of_tag(data: bytes, begin: int) -> int:
    """Where the tag that begins at ``begin`` ends; quoted values may hold ``>``."""
    found = _WHOLE_TAG.match(data, begin)
    assert found is not None
    return found.end()


def is_well_formed(fragment: str) -> bool:
    """Whether ``fragment`` is one element that can stand alone: every prefix in it is declared in it."""
    parser = _parser()
    try:
        parser.Parse(fragment.encode(), True)
    except expat.ExpatError:
        return False
    return True


def children_of(fragment: str) -> list[Child]:
    """Child elements of the one element that ``fragment`` is, each as found (comments and text between are left)."""
    data = fragment.encode()
    return [
        Child(tag.expanded, data[tag.start : tag.end].decode(), tag.start, tag.end)
        for tag in tags_of(fragment)
        if tag.parent == 0
    ]


def with_children(fragment: str, texts: Mapping[Child, str]) -> str:
    """``fragment`` with other text in the place of some of its children."""
    data = fragment.encode()
    pieces: list[bytes] = []
    place = 0
    for child in sorted(texts, key=lambda one: one.start):
        pieces += (data[place : child.start], texts[child].encode())
        place = child.end
    return b"".join((*pieces, data[place:])).decode()


def join_content(fragment: str, extra: str, *, first: bool) -> str:
    """``fragment`` with ``extra`` put inside its element, before (``first``) or after what is there."""
    data = fragment.encode()
    outermost = tags_of(fragment)[0]
    if outermost.head == outermost.end:  # <notes/>: nothing to put it into
        name = re.match(r"<([^\s/>]+)", fragment)
        assert name is not None
        return f"{fragment.rstrip()[:-2]}>{extra}</{name[1]}>"
    place = outermost.head if first else data.rindex(b"</", 0, outermost.end)
    return (data[:place] + extra.encode() + data[place:]).decode()


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
    parser.buffer_text = True
    return parser


# -- Notes and annotations of older files made fit for Level 3 --------------------------------------


CARRIED: Final = "https://sbmlump.github.io/ns/carried"
"""Namespace of the element that holds what Level 3 forbids at the top of an annotation."""

_CORE: Final = "http://www.sbml.org/sbml/level"


def extras(owner: str | None, notes: str | None, annotation: str | None) -> str:
    """Notes and annotation of one element, as they are where Level 3 lets them be.

    Raises
    ------
    UnsupportedModelError
        With code ``not-self-contained`` if one uses a prefix that it does not declare.
    """
    for fragment, what in ((notes, "notes"), (annotation, "annotation")):
        if fragment is not None and not is_well_formed(fragment):
            message = f"the {what} of {owner or 'the model'} are no well-formed XML of their own; mend or remove them"
            raise UnsupportedModelError(Reason("not-self-contained", message, owner))
    text = "" if notes is None else notes_text(notes) + "\n"
    return text if annotation is None else text + annotation_text(annotation) + "\n"


def annotation_text(fragment: str) -> str:
    """The annotation; children without a namespace, in SBML's own, or in one that others share are put into one
    ``carried`` element, since Level 3 wants one child for each foreign namespace.
    """
    children = children_of(fragment)
    count = Counter(_space(child) for child in children)
    misplaced = [c for c in children if not _space(c) or _space(c).startswith(_CORE) or count[_space(c)] > 1]
    text = with_children(fragment, {c: "" if c in misplaced else _declaring(c) for c in children}).strip()
    if not misplaced:
        return text
    # what had no namespace must not fall into the one of the wrapper: that one has a prefix
    inside = "\n".join(child.text for child in misplaced)
    carried = f"<sl:carried{attributes(**{'xmlns:sl': CARRIED})}>{inside}</sl:carried>\n"
    return join_content(text, carried, first=False)


def notes_text(fragment: str) -> str:
    """The notes; children that do not say so become XHTML, other languages are quoted."""
    children = children_of(fragment)
    alone = len(children) == 1
    changed: dict[Child, str] = {}
    for child in children:
        space, _, name = child.name.rpartition(" ")
        if not space:
            changed[child] = re.sub(r"^<[^\s/>]+", rf'\g<0> xmlns="{XHTML}"', child.text)
        elif space != XHTML:
            changed[child] = f'<pre xmlns="{XHTML}">{escaped(child.text)}</pre>'
        elif name in ("body", "html") and not alone:
            changed[child] = as_division(child)
    return with_children(fragment, changed).strip()


def _space(child: Child) -> str:
    return child.name.rpartition(" ")[0]


def _declaring(child: Child) -> str:
    """The text of ``child`` with its namespace declared in its own tag, as libSBML wants it."""
    tag = re.match(r"<(?:([\w.-]+):)?[^\s/>]+", child.text)
    if tag is None:
        return child.text
    key = f"xmlns:{tag[1]}" if tag[1] else "xmlns"
    head = child.text[: child.text.index(">")]
    if re.search(rf"\s{re.escape(key)}\s*=", head):
        return child.text
    return f"{tag[0]}{attributes(**{key: _space(child)})}{child.text[tag.end() :]}"


def as_division(child: Child) -> str:
    """A body among other elements, which it must not be, as a division of the text."""
    text = re.sub(r"^<([\w.-]+:)?(?:body|html)", r"<\1div", child.text)
    return re.sub(r"(?:body|html)(\s*>\s*)$", r"div\1", text)


# -- The lumping as an annotation of the reduced model ---------------------------------------------


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
    totals : mapping of id to text
        Constants that hold conserved totals, as expressions of the original model, where their own initial assignments
        do not tell; empty in most files.
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
    totals: Mapping[str, str] = field(default_factory=dict)
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
        With code ``too-large`` if a coefficient has more than 4,000 digits.
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
    lost = reduced.map.totals.items() if isinstance(reduced.map, Elimination) else ()
    graph = reduced.original.graph
    clock = {graph.time(): graph.symbol(clock_id(reduced.original.definitions))}
    totals = [line("total", to_text(graph, graph.substitute([node], clock)[0]), id=name) for name, node in lost]
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
        section("totals", totals),
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
        return {name: {states[j]: value for j, value in row.items()} for name, row in (*kind.totals, *kind.decaying)}
    return {}


def _row(name: str, members: Mapping[str, Fraction], place: Mapping[str, int]) -> str:
    ordered = sorted(members.items(), key=lambda item: place.get(item[0], -1))
    entries = (leaf("member", state=state, value=_exact(value, name)) for state, value in ordered)
    return block("lump", entries, attributes(id=name))


def _exact(value: Fraction, lump: str) -> str:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 13_000:
        message = f"a coefficient of {lump} has more than 4,000 digits and is not written"
        raise LimitError(Reason("too-large", message, lump))
    return str(value)


def _json(value: Any) -> str:
    """JSON without NaN or infinity: what is no number is unknown."""
    return json.dumps(json_value(value), sort_keys=True)


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
    reading = _AnnotationReading()
    try:
        reading.parser.Parse(source, True)
    except expat.ExpatError as error:
        _refuse(f"the file is not XML: {error}")
    return reading.record() if reading.found else None


def _refuse(what: str, line: int | None = None) -> NoReturn:
    message = f"the lumping annotation of the model cannot be read: {what}; reduce the original again"
    raise InputError(Reason("bad-annotation", message, line=line))


_LISTS: Final = frozenset({"matrix", "lift", "starts", "totals", "observables", "validFor", "certificate"})


class _AnnotationReading:
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
        self._totals: dict[str, str] = {}
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
            totals=self._totals,
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
        elif path in (["lumping", "observables", "observable"], ["lumping", "totals", "total"]):
            self._name, self._words = self._need(given, "id"), []
        elif path == ["lumping", "validFor", "constant"]:
            self._valid_for[self._need(given, "id")] = self._need(given, "value")
        elif path == ["lumping", "certificate", "field"]:
            self._name, self._words = self._need(given, "name"), []
        elif not (len(path) == 2 and path[1] in _LISTS):
            self._bad(f"unknown element {'/'.join(path)}")

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._words is None:
            return
        text, self._words = "".join(self._words), None
        if name == f"{NAMESPACE} observable":
            self._observables.append((self._name, text))
            return
        if name == f"{NAMESPACE} total":
            self._totals[self._name] = text
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
MODEL_QUALIFIERS: Final = "http://biomodels.net/model-qualifiers/"
_MODEL_ID: Final = re.compile(r"(?:BIOMD|MODEL)[0-9]{10}")
_OF_PARTS: Final = ("is", "isVersionOf", "hasVersion", "hasPart")


def resources_of(annotation: str, space: str, qualifiers: Iterable[str]) -> list[str]:
    """URIs that an ``annotation`` element gives under some qualifiers of a namespace, in its order.

    Nothing of one that is no well-formed XML.
    """
    wanted = set(qualifiers)
    return list(dict.fromkeys(uri for name, uri in _statements(annotation, space) if name in wanted))


def qualified_resources(annotation: str | None) -> dict[str, tuple[str, ...]]:
    """URIs by qualifier of biology (``is``, ``hasPart``, ``isEncodedBy`` …), both in their order."""
    found: dict[str, dict[str, None]] = {}
    for name, uri in () if annotation is None else _statements(annotation, _BIOLOGY):
        found.setdefault(name, {})[uri] = None
    return {name: tuple(uris) for name, uris in found.items()}


def _statements(annotation: str, space: str) -> list[tuple[str, str]]:
    """Qualifiers of a namespace with the URIs below them, in the order of the annotation."""
    found: list[tuple[str, str]] = []
    inside: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, given: dict[str, str]) -> None:
        own, _, tag = name.rpartition(" ")
        if own == space:
            inside.append(tag)
        uri = given.get(f"{RDF} resource")
        if inside and uri is not None:
            found.extend((qualifier, uri) for qualifier in inside)

    def end(name: str) -> None:
        if name.rpartition(" ")[0] == space:
            inside.pop()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(annotation.encode(), True)
    except expat.ExpatError:
        return []
    return found


def biological_resources(annotation: str) -> list[str]:
    """URIs of what an element is, a version of, or has as a part."""
    return resources_of(annotation, _BIOLOGY, _OF_PARTS)


def parts_annotation(metaid: str, annotations: Iterable[str | None], most: int = 200) -> str | None:
    """An ``annotation`` that says by ``bqbiol:hasPart`` what the members of a lump were annotated with.

    Parameters
    ----------
    metaid : str
        Of the element that gets it.
    annotations : iterable of str or None
        Of the members.
    most : int
        URIs that are said.
    """
    uris: dict[str, None] = {}
    for annotation in annotations:
        if annotation is not None:
            uris.update(dict.fromkeys(biological_resources(annotation)))
    if not uris:
        return None
    spaces = attributes(**{"xmlns:rdf": RDF, "xmlns:bqbiol": _BIOLOGY})
    return fragment("annotation", _rdf(spaces, metaid, element("bqbiol:hasPart", "", _bag(list(uris)[:most]))))


def derived_from(annotation: str | None, metaid: str, model_id: str) -> str | None:
    """The annotation of a model with ``bqmodel:isDerivedFrom`` the BioModels entry that ``model_id`` names.

    Unchanged where the id is none of BioModels, or the annotation names that entry there already.
    """
    if not _MODEL_ID.fullmatch(model_id):
        return annotation
    if annotation is not None:
        known = resources_of(annotation, MODEL_QUALIFIERS, ["isDerivedFrom"])
        if any(model_id in uri for uri in known):
            return annotation
    bag = _bag([biomodels_address(model_id)])
    spaces = attributes(**{"xmlns:rdf": RDF, "xmlns:bqmodel": MODEL_QUALIFIERS})
    statement = element("bqmodel:isDerivedFrom", spaces, bag)
    place = None if annotation is None else _end_of_description(annotation, metaid)
    if annotation is not None and place is not None:
        return annotation[:place] + statement + annotation[place:]
    whole = _rdf(spaces, metaid, statement)
    if annotation is None:
        return fragment("annotation", whole)
    # one RDF element to an annotation is all that SBML allows
    return annotation if "rdf-syntax-ns" in annotation else join_content(annotation, whole, first=True)


def biomodels_address(model_id: str) -> str:
    """The address of an entry of BioModels."""
    return f"https://identifiers.org/biomodels.db:{model_id}"


def biomodels_id(text: str) -> str | None:
    """The id of an entry of BioModels that ``text`` is, or ends in if it is an address."""
    found = text.rstrip("/").replace(":", "/").rpartition("/")[2]
    return found if _MODEL_ID.fullmatch(found) else None


def _bag(uris: Iterable[str]) -> str:
    return block("rdf:Bag", (leaf("rdf:li", **{"rdf:resource": uri}) for uri in uris))


def _rdf(spaces: str, metaid: str, statement: str) -> str:
    """One statement on the element with ``metaid``."""
    return element("rdf:RDF", spaces, element("rdf:Description", attributes(**{"rdf:about": f"#{metaid}"}), statement))


def _end_of_description(annotation: str, metaid: str) -> int | None:
    """Where the description of the element with ``metaid`` ends, before its closing tag."""
    opening = re.search(rf"<([\w.-]+):Description\b[^>]*about=[\"']#{re.escape(metaid)}[\"'][^>/]*>", annotation)
    if opening is None:
        return None
    closing = re.compile(rf"</{re.escape(opening[1])}:Description\s*>").search(annotation, opening.end())
    return None if closing is None else closing.start()
