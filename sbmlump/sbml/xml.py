"""XML as text: elements that are made here, and foreign fragments (notes, annotations) carried over as they are.

Elements are put together as text, not as trees: a fragment of the original has to come out as it went in, to the byte,
and a model of a hundred thousand reactions is written in one go.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from sbmlump.errors import Reason, UnsupportedModelError

__all__ = [
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


DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
XHTML: Final = "http://www.w3.org/1999/xhtml"
RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_WHITESPACE: Final = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_WHOLE_TAG: Final = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escaped(text: str) -> str:
    """``text`` as character data; characters that XML 1.0 cannot hold become U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text))


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
    return escape(_NOT_XML.sub("\ufffd", value), _WHITESPACE)


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
