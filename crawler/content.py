"""Is this an SBML file? First bytes, root element, length and checksums, before a file gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

__all__ = ["ContentProblem", "ExpectedFile", "digest_problem", "sbml_problem", "sha256"]

_SBML_NAMESPACE: Final = "http://www.sbml.org/sbml/level"
_ZIP_MARK: Final = b"PK\x03\x04"
_ALGORITHMS: Final = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}


@dataclass(frozen=True, slots=True)
class ContentProblem:
    """Why some bytes are not the model they should be: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """What a list says of a file.

    Attributes
    ----------
    name : str
        Name in the repository; may hold anything.
    size : int or None
        Bytes.
    sums : mapping of str to str
        Hexadecimal digests by ``sha256``, ``sha1``, ``md5``; lower case.
    """

    name: str
    size: int | None = None
    sums: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def algorithms() -> Mapping[str, str]:
        """Key of a digest in the JSON of BioModels, and its algorithm."""
        return _ALGORITHMS


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def digest_problem(data: bytes, promise: ExpectedFile) -> ContentProblem | None:
    """Compare length and every listed checksum; ``None`` if all agree."""
    if promise.size is not None and len(data) != promise.size:
        return ContentProblem("wrong-size", f"{promise.name} has {len(data)} bytes where the list says {promise.size}")
    for algorithm, expected in promise.sums.items():
        if hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() != expected:
            return ContentProblem("wrong-checksum", f"the {algorithm} of {promise.name} is not the one listed")
    return None


def sbml_problem(data: bytes, name: str) -> ContentProblem | None:
    """Look at first bytes, well-formedness and root element; ``None`` for an SBML document.

    Entity declarations are refused: a document of a few lines could unfold to gigabytes in whatever reads it.
    """
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return ContentProblem("empty-file", f"{name} is empty")
    if start.startswith(_ZIP_MARK):
        return ContentProblem("not-sbml", f"{name} is an archive, not an SBML file")
    if start[:15].lower().startswith((b"<html", b"<!doctype html")):
        return ContentProblem("html-page", f"{name} is an HTML page, not an SBML file")
    if not (start.startswith(b"<") or data[:2] in (b"\xff\xfe", b"\xfe\xff")):
        return ContentProblem("not-sbml", f"{name} does not begin like an XML file")
    try:
        root = _root_of(data)
    except expat.ExpatError as error:
        return ContentProblem("not-well-formed", f"{name} is not well-formed XML: {error}")
    except _RefusedEntityError as error:
        return ContentProblem(
            "entity-declaration", f"{name} declares the entity {error}; such a file can unfold without end"
        )
    namespace, _, local = root.rpartition(" ")
    if local != "sbml" or not namespace.startswith(_SBML_NAMESPACE):
        return ContentProblem("not-sbml", f"the root element of {name} is <{local}>, not <sbml> of an SBML namespace")
    return None


class _RefusedEntityError(Exception):
    pass


def _root_of(data: bytes) -> str:
    """``namespace name`` of the root element, after reading the document to its end."""
    parser = expat.ParserCreate(namespace_separator=" ")
    roots: list[str] = []

    def started(name: str, _: object) -> None:
        roots.append(name)
        parser.StartElementHandler = None

    def entity(name: str, *_: object) -> NoReturn:
        raise _RefusedEntityError(name)

    parser.StartElementHandler = started
    parser.EntityDeclHandler = entity
    parser.Parse(data, True)
    return roots[0]
