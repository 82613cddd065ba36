"""What every element of a file may carry: name, SBO term, metaid, notes, annotation.

Elements that are no quantity, reaction, event or constraint are known by keys (:data:`sbmlump.system.Key`):

=============================================  =========================================================
``("sbml",)``                                  the outermost element
``("listOfSpecies",)`` …                       lists of the model
``("listOfReactants", REACTION)`` …            lists of a reaction, of an event, of the units of a definition
``("functionDefinition", ID)``                 likewise ``unitDefinition``
``("unit", DEFINITION, POSITION)``
``("assignmentRule", VARIABLE)``               likewise ``rateRule``, ``initialAssignment``
``("algebraicRule", POSITION)``
``("kineticLaw", REACTION)``
``("reactant", REACTION, SPECIES, NUMBER)``    likewise ``product`` and ``modifier``; the number counts those of the
                                               same species
``("trigger", EVENT)``                         likewise ``delay``, ``priority``; EVENT is the id or ``#`` and a position
``("eventAssignment", EVENT, VARIABLE)``
=============================================  =========================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import libsbml

from sbmlump.sbml.mathml import numbers_with_units
from sbmlump.sbml.write_xml import is_well_formed
from sbmlump.system import Description

__all__ = ["Describer", "described", "event_key", "silent_elements", "standalone"]

_has_units: Final = libsbml.ASTNode.hasUnits  # see mathml.py: a node may come as the class of another library
_NUMEROUS: Final = frozenset(
    "speciesReference modifierSpeciesReference kineticLaw listOfReactants listOfProducts listOfModifiers".split()
)
_CARRIED: Final = re.compile(rb"\s(?:metaid|sboTerm|id|name)\s*=|<!--|<(?:[\w.-]+:)?(?:notes|annotation)\b")
_NAME_OF_TAG: Final = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_UNIT_OF_NUMBER: Final = re.compile(rb"<(?:[\w.-]+:)?cn\s[^>]*\bunits\s*=")
_PREFIX: Final = re.compile(r"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")


def described(document: Any, item: Any) -> dict[str, Any]:
    """Fields ``name``, ``sbo``, ``metaid``, ``notes`` and ``annotation`` of a libSBML element; ``None`` if absent."""
    # libSBML gives the empty string for what is not set; asking first would double the calls
    return {
        "name": (item.getName() or None) if document.getLevel() > 1 else None,  # in Level 1 the name is the id
        "sbo": item.getSBOTermID() or None,
        "metaid": item.getMetaId() or None,
        "notes": standalone(document, item.getNotesString()) if item.isSetNotes() else None,
        "annotation": standalone(document, item.getAnnotationString()) if item.isSetAnnotation() else None,
    }


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


class Describer:
    """Takes what elements carry out of one document.

    Parameters
    ----------
    document : SBMLDocument
    """

    __slots__ = ("_document", "_has_ids", "_has_names")

    def __init__(self, document: Any) -> None:
        self._document = document
        level, version = document.getLevel(), document.getVersion()
        self._has_names = level > 2  # of a rule in older levels the name is its variable
        self._has_ids = (level, version) >= (3, 2)

    def of(self, item: Any, math: Any = None) -> Description | None:
        """What ``item``, with its mathematics, carries; ``None`` if it carries nothing, as most elements do."""
        # called for every element of a file: nothing but what has to be asked
        if not (
            item.isSetMetaId()
            or item.isSetSBOTerm()
            or item.isSetNotes()
            or item.isSetAnnotation()
            or (self._has_ids and (item.isSetIdAttribute() or item.isSetName()))
            or (self._has_names and math is not None and _has_units(math))
        ):
            return None
        document = self._document
        return Description(
            id=(item.getIdAttribute() or None) if self._has_ids else None,
            name=(item.getName() or None) if self._has_names else None,
            sbo=item.getSBOTermID() or None,
            metaid=item.getMetaId() or None,
            notes=standalone(document, item.getNotesString()) if item.isSetNotes() else None,
            annotation=standalone(document, item.getAnnotationString()) if item.isSetAnnotation() else None,
            units=numbers_with_units(math) if math is not None and self._has_names and _has_units(math) else (),
        )


def event_key(name: str | None, position: int) -> str:
    """How the event at ``position`` (from 0) is named in keys."""
    return name if name is not None else f"#{position}"


def standalone(document: Any, text: str) -> str:
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
