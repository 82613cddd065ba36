"""A model from a file of any format that is read, by its suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sbmlump.files import ModelFile, read_model_file
from sbmlump.model.system import OdeSystem
from sbmlump.options import fast_reactions_as

if TYPE_CHECKING:
    from sbmlump.sbml.read.load import ReadResult

__all__ = ["load", "read_model", "system_of"]


def load(path: str | Path | ModelFile, *, fast_reactions: str | None = None) -> OdeSystem:
    """Read a model, by the suffix of its file.

    Parameters
    ----------
    path : str, Path or ModelFile
        As on the command line: a file, also compressed (``.gz``, ``.bz2``) or in an archive (``.zip``, ``.omex``;
        ``archive.omex#member``), ``-`` for standard input, an id of BioModels, an https address; or what has been read
        of one.
    fast_reactions : str, optional
        What becomes of reactions that are declared fast (SBML up to Level 3 Version 1): ``"refuse"``, ``"equilibrium"``
        or ``"ordinary"``.

    Raises
    ------
    InputError
        If the file is not a readable model.
    UnsupportedModelError
        If it holds what cannot become an ODE system; every reason at once.
    """
    with fast_reactions_as(fast_reactions):
        return read_model(path).required()


def system_of(model: str | Path | OdeSystem) -> OdeSystem:
    """The system of a model that is given as such, or as the file to read it from; see :func:`load`."""
    return model if isinstance(model, OdeSystem) else load(model)


def read_model(path: str | Path | ModelFile) -> ReadResult:
    """Read a model once, with all that is wanted of its file besides the system; see :func:`load`.

    Raises
    ------
    InputError
        If the file is not a readable model; what cannot become an ODE system is a reason of the result.
    """
    from sbmlump.sbml.read.load import read_sbml

    file = path if isinstance(path, ModelFile) else read_model_file(path)
    return _READERS.get(file.suffix, read_sbml)(file)


def _ode(file: ModelFile) -> ReadResult:
    from sbmlump.formats.ode import load_ode_file
    from sbmlump.sbml.read.load import ReadResult

    return ReadResult.of_system(load_ode_file(file), file.name)


def _net(file: ModelFile) -> ReadResult:
    from sbmlump.formats.bionetgen import load_net_file
    from sbmlump.sbml.read.load import ReadResult

    return ReadResult.of_system(load_net_file(file), file.name)


def _antimony(file: ModelFile) -> ReadResult:
    from sbmlump.formats.antimony import read_antimony

    return read_antimony(file)


_READERS: Final[Mapping[str, Callable[[ModelFile], ReadResult]]] = {".ode": _ode, ".net": _net, ".ant": _antimony}
"""By the suffix; what has another is read as SBML. ``files.TEXT_FORMATS`` tells them apart in an archive."""
