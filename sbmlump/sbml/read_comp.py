"""Hierarchical models (package ``comp``): flattened by libSBML, after checks that keep that safe."""

from __future__ import annotations

import re
from typing import Any, Final

import libsbml

from sbmlump.errors import InputError, Reason
from sbmlump.files import read_whole
from sbmlump.model_files import MAX_BYTES
from sbmlump.sbml.document import Opened, parse_document
from sbmlump.sbml.precheck import prepare_bytes
from sbmlump.sbml.read_record import Problems

__all__ = ["flatten"]

_MAX_INSTANCES: Final = 20_000
_PLAIN_NAME: Final = re.compile(r"(?:\./)?[^/\\:%]+")  # libSBML takes %2F for /
_MAX_FILES: Final = 100


def flatten(document: Any, opened: Opened, problems: Problems) -> Any:
    """``document`` without submodels; the same document if it has none.

    Files of external model definitions are read from the folder of the file only. What cannot be flattened is noted
    in ``problems`` (``comp-flattening``), and the document is returned as it is.
    """
    plugin = document.getModel().getPlugin("comp")
    if plugin is None or (plugin.getNumSubmodels() == 0 and plugin.getNumPorts() == 0):
        return document
    if not _is_safe(document, opened, problems):
        return document
    folder = opened.folder
    if folder is not None:
        document.setLocationURI(folder.resolve().as_uri() + "/" + opened.file)
    properties = libsbml.ConversionProperties()
    for key, value in (("flatten comp", True), ("performValidation", False), ("leavePorts", False)):
        properties.addOption(key, value)
    if folder is not None:
        properties.addOption("basePath", str(folder.resolve()))
    properties.addOption("abortIfUnflattenable", "requiredOnly")
    before = document.getNumErrors()
    code = document.convert(properties)
    if code != libsbml.LIBSBML_OPERATION_SUCCESS:
        errors = [document.getError(i) for i in range(before, document.getNumErrors())]
        errors = [error for error in errors if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
        texts = [" ".join(error.getMessage().split())[:300] for error in errors]
        text = "; ".join(texts) or libsbml.OperationReturnValue_toString(code)
        problems.add("comp-flattening", f"the submodels cannot be put together: {text}")
    return document


def _is_safe(document: Any, opened: Opened, problems: Problems) -> bool:
    """Follow all definitions; refuse files elsewhere, circles, and hierarchies that would explode."""
    survey = _Survey(opened, problems)
    count = survey.instances(document)
    if count is None:
        return False
    if count > _MAX_INSTANCES:
        text = f"the submodels unfold to {count} models, more than the {_MAX_INSTANCES} that are put together"
        problems.add("too-large", text)
        return False
    return True


class _Survey:
    """Counts how many models a hierarchy unfolds to, without unfolding it."""

    def __init__(self, opened: Opened, problems: Problems) -> None:
        self.folder = opened.folder
        self.problems = problems
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
        if not _PLAIN_NAME.fullmatch(source) or source.startswith(".."):
            text = f"the external model {name!r} is to come from {source!r}; only files in the same folder are read"
            self.problems.add("comp-external", text, name, definition.getLine())
            return None
        if self.folder is None:
            text = f"the external model {name!r} is to come from the file {source!r}; unpack the model beside that file"
            self.problems.add("comp-external", text, name, definition.getLine())
            return None
        source = source.removeprefix("./")
        if source not in self._documents:
            if len(self._documents) > _MAX_FILES:
                self.problems.add("too-large", f"the model is spread over more than {_MAX_FILES} files")
                return None
            try:
                if (self.folder / source).resolve().parent != self.folder.resolve():
                    message = f"{source} is a link that leads out of the folder"
                    raise InputError(Reason("not-a-regular-file", message))
                data = read_whole(self.folder / source, MAX_BYTES, "SBML")
                if prepare_bytes(data, file=source) != data:  # libSBML reads the file itself, as it stands
                    raise InputError(Reason("bad-number", f"{source} is not in UTF-8, or has integers beyond 32 bits"))
                self._documents[source] = parse_document(data, file=source)
            except InputError as error:
                text = f"the external model {name!r} cannot be read from {source!r}: {error}"
                self.problems.add("comp-external", text, name, definition.getLine())
                return None
        return [(source, definition.getModelRef())]
