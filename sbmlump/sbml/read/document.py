"""Open an SBML file safely: bytes first, then libSBML, and no error of its read log is overlooked."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libsbml

from sbmlump.errors import InputError, Reason, UnsupportedModelError, as_text
from sbmlump.files import MAX_BYTES, ModelFile, read_model_file, read_whole
from sbmlump.sbml.read.elements import Problems
from sbmlump.sbml.read.precheck import READ_LIMITS, ReadLimits, prepare_bytes, prepared

__all__ = ["Opened", "flatten", "open_sbml", "text_of", "with_other_ids"]


#: Where an error makes the mathematics doubtful. All other packages either say nothing about it (``required="false"``)
#: or get the reason ``package-required:NAME`` later.
_READ: Final = ("", "core", "comp", "l3v2extendedmath")  # libSBML leaves the name empty for core
_DECORATION: Final = ("layout", "layout_L2", "render", "render_L2", "groups")
_UNKNOWN_PACKAGE: Final = (99107, 99108)  # required or not: becomes a reason where it is required
_NOTES_AND_ANNOTATION: Final = frozenset({10401, 10402, 10403, 10404, 10801, 10802, 10803, 10804, 10805})
_TAG: Final = re.compile(rb"<[A-Za-z][^<>]*>")
_NUMBER: Final = re.compile(
    r"""\s([\w:]+)\s*=\s*["']\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*["']"""
)
_ID: Final = re.compile(r"""\sid\s*=\s*["']([^"']*)["']""")
_NAMED_PACKAGE: Final = re.compile(r"[Pp]ackage '?(\w+)'? (?:Version|cannot be used)")


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
    fast_path : bool
        Whether the tags of ``data`` can be told by their brackets
        (:func:`~sbmlump.sbml.read.precheck.is_on_fast_path`).
    """

    document: Any
    file: str
    sha256: str
    folder: Path | None
    data: bytes
    fast_path: bool = False


def open_sbml(source: str | Path | ModelFile, limits: ReadLimits = READ_LIMITS) -> Opened:
    """Parse a file: the only place where libSBML is given one.

    Parameters
    ----------
    source : path or ModelFile
        Where it lies, or what has been read of it.
    limits : ReadLimits

    Raises
    ------
    InputError
        If the file cannot be read (codes of :func:`~sbmlump.files.read_model_file`), is refused by
        :func:`~sbmlump.sbml.read.precheck.prepare_bytes`, or libSBML finds it in error (``invalid-sbml``: all errors of
        the read log at once; ``no-model``).
    """
    file = source if isinstance(source, ModelFile) else read_model_file(source)
    data, fast_path = prepared(file.data, file=file.name, limits=limits)
    document = _parsed(data, file.name, limits)
    if document.getModel() is None:
        raise InputError(Reason("no-model", f"{file.name} holds no <model> element"))
    digest = hashlib.sha256(file.data).hexdigest()
    return Opened(document, file.name, digest, file.folder, data, fast_path)


def _parsed(data: bytes, file: str, limits: ReadLimits) -> Any:
    document = libsbml.readSBMLFromString(data.decode())
    errors = [error for error in _errors(document) if not _is_harmless(error)]
    found = [one for error in errors for one in _out_of_range(error, data, file) or [_reason(error, file, limits)]]
    if found:
        # what is not well-formed is said better there, and files on the fast path were not looked at
        prepare_bytes(data, file=file, limits=limits, fast_path=False)
        raise InputError(list(dict.fromkeys(found))[: limits.errors])
    return document


def _errors(document: Any, first: int = 0) -> list[Any]:
    """Errors in libSBML's log of a document, warnings left out, from the ``first`` entry on."""
    entries = (document.getError(i) for i in range(first, document.getNumErrors()))
    return [entry for entry in entries if entry.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]


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


def _out_of_range(error: Any, data: bytes, file: str) -> list[Reason]:
    """Numbers in attributes that no normal double holds, where libSBML says that one is no number."""
    line = error.getLine()
    if error.getErrorId() != libsbml.XMLAttributeTypeMismatch or not line:
        return []
    breaks = [-1, *(match.start() for match in re.finditer(rb"\n", data)), len(data)]
    if line >= len(breaks):
        return []
    start, end = breaks[line - 1] + 1, breaks[line]
    reasons = []
    for tag in _TAG.finditer(data, max(data.rfind(b"<", 0, start), 0)):
        if tag.start() >= end:
            break
        text = tag.group().decode() if tag.end() > start else ""
        owner = _ID.search(text)
        for name, number in _NUMBER.findall(text):
            size = abs(float(number))
            zero = not re.search("[1-9]", number.lower().partition("e")[0])
            if zero or sys.float_info.min <= size <= sys.float_info.max:
                continue
            least = f"{sys.float_info.min:.2g}"
            what = (
                f"nearer to 0 than {least}, which libSBML does not read" if size < 1 else "beyond what a double holds"
            )
            of = "" if owner is None else f" of {owner[1]!r}"
            advice = "write 0, or choose other units" if size < 1 else "choose other units"
            message = f"{file}, line {line}: {name}={number!r}{of} is {what}; {advice}"
            reasons.append(Reason("bad-number", message, None if owner is None else owner[1], line=line))
    return reasons


def _reason(error: Any, file: str, limits: ReadLimits) -> Reason:
    rule, _, finding = error.getMessage().partition("\nReference: ")  # libSBML puts what it found after the rule
    finding = finding.partition("\n")[2]
    text = " ".join((finding.strip() or rule).split()) or error.getShortMessage()
    line = error.getLine() or None
    place = f"{file}, line {line}" if line else file
    if len(text) > limits.error_text:
        text = text[: limits.error_text].rpartition(" ")[0] + " …"
    return Reason("invalid-sbml", f"{place}: libSBML error {error.getErrorId()}: {text}", line=line)


# -- hierarchical models (package ``comp``) --------------------------------------------------------


_FILE_NAME: Final = re.compile(r"(?:\./)?[^/\\:%]+")  # libSBML takes %2F for /


def flatten(opened: Opened, problems: Problems, limits: ReadLimits = READ_LIMITS) -> bool:
    """Put the submodels of a document together, in it; say whether there was anything to put together.

    Files of external model definitions are read from the folder of the file only. What cannot be flattened is noted
    in ``problems`` (``comp-flattening``, ``comp-external``, ``too-large``), and the document is left as it is.
    """
    document = opened.document
    plugin = document.getModel().getPlugin("comp")
    if plugin is None or (plugin.getNumSubmodels() == 0 and plugin.getNumPorts() == 0):
        return False
    count = _Hierarchy(opened, problems, limits).instances(document)
    if count is None:
        return True
    if count > limits.instances:
        text = f"the submodels unfold to {count} models, more than the {limits.instances} that are put together"
        problems.add("too-large", text)
        return True
    folder = opened.folder
    if folder is not None:
        document.setLocationURI(folder.resolve().as_uri() + "/" + as_text(opened.file))
    properties = libsbml.ConversionProperties()
    for key, value in (("flatten comp", True), ("performValidation", False), ("leavePorts", False)):
        properties.addOption(key, value)
    if folder is not None and _is_text(folder):  # no other folder is needed, or it has been refused
        properties.addOption("basePath", str(folder.resolve()))
    properties.addOption("abortIfUnflattenable", "requiredOnly")
    before = document.getNumErrors()
    code = document.convert(properties)
    if code != libsbml.LIBSBML_OPERATION_SUCCESS:
        texts = [" ".join(error.getMessage().split())[:300] for error in _errors(document, before)]
        text = "; ".join(texts) or libsbml.OperationReturnValue_toString(code)
        problems.add("comp-flattening", f"the submodels cannot be put together: {text}")
    return True


def _is_text(folder: Path) -> bool:
    """Whether the name of a folder is text, which libSBML takes alone."""
    place = str(folder.resolve())
    return place == as_text(place)


class _Hierarchy:
    """Counts how many models a hierarchy unfolds to, without unfolding it."""

    def __init__(self, opened: Opened, problems: Problems, limits: ReadLimits) -> None:
        self.folder = opened.folder
        self.problems = problems
        self.limits = limits
        self._documents: dict[str, Any] = {}

    def instances(self, document: Any) -> int | None:
        """Models in the main model of ``document``, itself included; ``None`` if something is wrong."""
        counts: dict[tuple[str, str], int] = {}
        path: list[tuple[str, str]] = [("", "")]
        self._documents[""] = document
        while path:
            key = path[-1]
            if key in counts:
                path.pop()
                continue
            children = self._children(key)
            if children is None:
                return None
            if any(child in path for child in children):
                self.problems.add("comp-flattening", f"the submodel {key[1] or 'of the model'!r} contains itself")
                return None
            waiting = [child for child in children if child not in counts]
            if waiting:
                path.append(waiting[0])
                continue
            counts[path.pop()] = 1 + sum(counts[child] for child in children)
        return counts[("", "")]

    def _children(self, key: tuple[str, str]) -> list[tuple[str, str]] | None:
        """Submodels of a model, each as (file, model id); an external definition leads on to another file."""
        file, name = key
        document = self._documents[file]
        plugin = document.getPlugin("comp")
        model = document.getModel()
        if name and model.getId() != name:
            definition = plugin.getModelDefinition(name) if plugin is not None else None
            if definition is None:
                external = plugin.getExternalModelDefinition(name) if plugin is not None else None
                if external is None:
                    self.problems.add("comp-flattening", f"there is no model definition {name!r}")
                    return None
                return self._external(external)
            model = definition
        submodels = model.getPlugin("comp")
        if submodels is None:
            return []
        return [(file, submodels.getSubmodel(i).getModelRef()) for i in range(submodels.getNumSubmodels())]

    def _external(self, definition: Any) -> list[tuple[str, str]] | None:
        source, name = definition.getSource(), definition.getId()
        if not _FILE_NAME.fullmatch(source) or source.startswith(".."):
            text = f"the external model {name!r} is to come from {source!r}; only files in the same folder are read"
            self.problems.add("comp-external", text, name, definition.getLine())
            return None
        if self.folder is None:
            text = f"the external model {name!r} is to come from the file {source!r}; unpack the model beside that file"
            self.problems.add("comp-external", text, name, definition.getLine())
            return None
        if not _is_text(self.folder):
            text = f"the external model {name!r} is in a folder whose name is not in UTF-8, where libSBML reads nothing"
            self.problems.add("comp-external", f"{text}; rename the folder", name, definition.getLine())
            return None
        source = source.removeprefix("./")
        if source not in self._documents:
            if len(self._documents) > self.limits.files:
                self.problems.add("too-large", f"the model is spread over more than {self.limits.files} files")
                return None
            try:
                if (self.folder / source).resolve().parent != self.folder.resolve():
                    message = f"{source} is a link that leads out of the folder"
                    raise InputError(Reason("not-a-regular-file", message))
                data = read_whole(self.folder / source, MAX_BYTES, "SBML")
                if prepare_bytes(data, file=source, limits=self.limits) != data:
                    # libSBML reads the file itself, as it stands
                    raise InputError(Reason("bad-number", f"{source} is not in UTF-8, or has integers beyond 32 bits"))
                self._documents[source] = _parsed(data, source, self.limits)
            except InputError as error:
                text = f"the external model {name!r} cannot be read from {source!r}: {error}"
                self.problems.add("comp-external", text, name, definition.getLine())
                return None
        return [(source, definition.getModelRef())]


# -- SBML as text for programs that read it themselves -------------------------------------------------


def text_of(document: Any) -> str:
    """The text of a libSBML document; doubles have the 15 digits that libSBML writes."""
    return str(libsbml.writeSBMLToString(document))


def with_other_ids(text: str, ids: Mapping[str, str], *, file: str) -> str:
    """SBML in which quantities have other ids, everywhere.

    Parameters
    ----------
    text : str
    ids : mapping of str to str
        New ids of old ones.
    file : str
        Name for messages.

    Raises
    ------
    UnsupportedModelError
        Code ``simulator-refused``, if libSBML cannot rename them.
    """
    document = libsbml.readSBMLFromString(text)
    properties = libsbml.ConversionProperties()
    properties.addOption("renameSIds", True)
    properties.addOption("currentIds", ",".join(ids))
    properties.addOption("newIds", ",".join(ids.values()))
    if document.convert(properties) != libsbml.LIBSBML_OPERATION_SUCCESS:
        first = next(iter(ids))
        message = f"{file}: the id {first!r} means something else to the simulator, and cannot be given another name"
        raise UnsupportedModelError(Reason("simulator-refused", message, first))
    return text_of(document)
