"""MIRIAM annotations of what a reduction made: what a lump has as parts, what a reduced model is derived from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.parsers import expat

from sbmlump.sbml.write_xml import attributes, join_content

__all__ = ["derived_from", "parts_annotation", "resources_of"]

_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_BIOLOGY: Final = "http://biomodels.net/biology-qualifiers/"
_MODEL: Final = "http://biomodels.net/model-qualifiers/"
_MODEL_ID: Final = re.compile(r"(?:BIOMD|MODEL)[0-9]{10}")
_OF_PARTS: Final = ("is", "isVersionOf", "hasVersion", "hasPart")
_MOST_PARTS: Final = 200


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
        uri = given.get(f"{_RDF} resource")
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


def parts_annotation(metaid: str, annotations: Iterable[str | None]) -> str | None:
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
    items = _bag(list(uris)[:_MOST_PARTS])
    spaces = attributes(**{"xmlns:rdf": _RDF, "xmlns:bqbiol": _BIOLOGY})
    return (
        f"<annotation>\n<rdf:RDF{spaces}>\n<rdf:Description{attributes(**{'rdf:about': '#' + metaid})}>\n"
        f"<bqbiol:hasPart>\n{items}</bqbiol:hasPart>\n</rdf:Description>\n</rdf:RDF>\n</annotation>"
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
    items = _bag([f"https://identifiers.org/biomodels.db:{model_id}"])
    spaces = attributes(**{"xmlns:rdf": _RDF, "xmlns:bqmodel": _MODEL})
    statement = f"<bqmodel:isDerivedFrom{spaces}>\n{items}</bqmodel:isDerivedFrom>\n"
    place = None if annotation is None else _end_of_description(annotation, metaid)
    if annotation is not None and place is not None:
        return annotation[:place] + statement + annotation[place:]
    about = attributes(**{"rdf:about": "#" + metaid})
    whole = f"<rdf:RDF{spaces}>\n<rdf:Description{about}>\n{statement}</rdf:Description>\n</rdf:RDF>\n"
    if annotation is None:
        return f"<annotation>\n{whole}</annotation>"
    # one RDF element to an annotation is all that SBML allows
    return annotation if "rdf-syntax-ns" in annotation else join_content(annotation, whole, first=True)


def _bag(uris: Iterable[str]) -> str:
    items = "".join(f"<rdf:li{attributes(**{'rdf:resource': uri})}/>\n" for uri in uris)
    return f"<rdf:Bag>\n{items}</rdf:Bag>\n"


def _end_of_description(annotation: str, metaid: str) -> int | None:
    """Where the description of the element with ``metaid`` ends, before its closing tag."""
    opening = re.search(rf"<([\w.-]+):Description\b[^>]*about=[\"']#{re.escape(metaid)}[\"'][^>/]*>", annotation)
    if opening is None:
        return None
    closing = re.compile(rf"</{re.escape(opening[1])}:Description\s*>").search(annotation, opening.end())
    return None if closing is None else closing.start()
