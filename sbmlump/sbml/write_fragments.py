"""Notes and annotations of older files made fit for Level 3, which is stricter about their namespaces."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.sbml.write_xml import Child, attributes, children_of, escaped, is_well_formed, join_content, with_children

__all__ = ["CARRIED", "XHTML", "annotation_text", "as_division", "extras", "notes_text"]

XHTML: Final = "http://www.w3.org/1999/xhtml"
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
    return join_content(text, f"<sl:carried{attributes(**{'xmlns:sl': CARRIED})}>{inside}</sl:carried>\n", first=False)


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
