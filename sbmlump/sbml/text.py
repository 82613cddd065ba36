"""SBML as text for programs that read it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libsbml

from sbmlump.errors import Reason, UnsupportedModelError

__all__ = ["text_of", "with_other_ids"]


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
