"""Open an SBML file safely: bytes first, then libSBML, and no error of its read log is overlooked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libsbml

from sbmlump.errors import InputError, Reason
from sbmlump.model_files import ModelFile, read_model_file
from sbmlump.sbml.precheck import check_bytes, prepare_bytes
from sbmlump.sbml.read_described import silent_elements

__all__ = ["Opened", "open_bytes", "open_document", "open_sbml", "parse_document", "sbml_bytes"]

#: Where an error makes the mathematics doubtful. All other packages either say nothing about it (``required="false"``)
#: or get the reason ``package-required:NAME`` later.
_READ: Final = ("", "core", "comp", "l3v2extendedmath")  # libSBML leaves the name empty for core
_DECORATION: Final = ("layout", "layout_L2", "render", "render_L2", "groups")
_UNKNOWN_PACKAGE: Final = (99107, 99108)  # required or not: becomes a reason where it is required
_NOTES_AND_ANNOTATION: Final = frozenset({10401, 10402, 10403, 10404, 10801, 10802, 10803, 10804, 10805})
_NAMED_PACKAGE: Final = re.compile(r"[Pp]ackage '?(\w+)'? (?:Version|cannot be used)")
_MAX_ERRORS: Final = 50
_LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Opened:
    """A parsed file.

    Attributes
    ----------
    document : libsbml.SBMLDocument
    file : str
        The name for messages.
    sha256 : str
        Digest of the bytes as they lie in the file (unpacked, if it is compressed or a member of an archive).
    folder : Path or None
        The folder it lies in; ``None`` for members of archives and standard input, which have no files beside them.
    data : bytes
        What libSBML parsed: one UTF-8 document, which simulators and archives can be given.
    silent : frozenset of str
        Names of elements that are known to carry no descriptions
        (:func:`~sbmlump.sbml.read_described.silent_elements`).
    """

    document: Any
    file: str
    sha256: str
    folder: Path | None
    data: bytes
    silent: frozenset[str] = frozenset()


def open_document(path: str | Path) -> Any:
    """The libSBML document of the file at ``path``; see :func:`open_sbml`."""
    return open_sbml(path).document


def open_sbml(path: str | Path) -> Opened:
    """Read and parse a file.

    Raises
    ------
    InputError
        If the file cannot be read (codes of :func:`~sbmlump.model_files.read_model_file`), is refused by
        :func:`~sbmlump.sbml.precheck.check_bytes`, or libSBML finds it in error (``invalid-sbml``, ``no-model``).
    """
    return open_bytes(read_model_file(path))


def open_bytes(file: ModelFile) -> Opened:
    """Parse a file that has been read; see :func:`open_sbml`."""
    prepared = prepare_bytes(file.data, file=file.name)
    document = _parsed(prepared, file.name)
    if document.getModel() is None:
        raise InputError(Reason("no-model", f"{file.name} holds no <model> element"))
    digest = hashlib.sha256(file.data).hexdigest()
    return Opened(document, file.name, digest, file.folder, prepared, silent_elements(prepared))


def sbml_bytes(path: str | Path) -> bytes:
    """The SBML at ``path`` as one UTF-8 document, as every tool reads it.

    Raises
    ------
    InputError
        As :func:`open_sbml`, but libSBML is not asked.
    """
    file = read_model_file(path)
    return prepare_bytes(file.data, file=file.name)


def parse_document(data: bytes, *, file: str) -> Any:
    """Check ``data``, parse it, and refuse what libSBML finds in error.

    Raises
    ------
    InputError
        As :func:`open_sbml`, all errors of the read log at once.
    """
    return _parsed(prepare_bytes(data, file=file), file)


def _parsed(data: bytes, file: str) -> Any:
    document = libsbml.readSBMLFromString(data.decode())
    found = [
        _reason(error, file)
        for error in (document.getError(i) for i in range(document.getNumErrors()))
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR and not _is_harmless(error)
    ]
    if found:
        check_bytes(data, file=file)  # what is not well-formed is said better there, and large files were not looked at
        raise InputError(list(dict.fromkeys(found))[:_MAX_ERRORS])
    return document


def _is_harmless(error: Any) -> bool:
    """Whether an error concerns only notes, annotations or packages that are not read.

    Published models carry such errors (wrong XHTML namespace in notes, render elements of another version); their
    mathematics is not in doubt.
    """
    code = error.getErrorId()
    if code in _NOTES_AND_ANNOTATION or code in _UNKNOWN_PACKAGE or error.getPackage() not in _READ:
        return True
    named = _NAMED_PACKAGE.findall(error.getMessage())
    return code in (10102, 10103) and bool(named) and all(name in _DECORATION for name in named)


def _reason(error: Any, file: str) -> Reason:
    rule, _, finding = error.getMessage().partition("\nReference: ")  # libSBML puts what it found after the rule
    finding = finding.partition("\n")[2]
    text = " ".join((finding.strip() or rule).split()) or error.getShortMessage()
    line = error.getLine() or None
    place = f"{file}, line {line}" if line else file
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT].rpartition(" ")[0] + " …"
    return Reason("invalid-sbml", f"{place}: libSBML error {error.getErrorId()}: {text}", line=line)
