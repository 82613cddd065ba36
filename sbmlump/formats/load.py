"""A model from a file of any format that is read, by its suffix."""

from __future__ import annotations

from pathlib import Path

from sbmlump.model.system import OdeSystem
from sbmlump.model_files import ModelFile, read_model_file

__all__ = ["load", "load_file"]


def load(path: str | Path) -> OdeSystem:
    """Read a model, by the suffix of its file.

    Parameters
    ----------
    path : str or Path
        A file, also compressed (``.gz``, ``.bz2``) or in an archive (``.zip``, ``.omex``; ``archive.omex#member``), or
        ``-`` for standard input.

    Raises
    ------
    InputError
        If the file is not a readable model.
    UnsupportedModelError
        If it holds what cannot become an ODE system; every reason at once.
    """
    return load_file(read_model_file(path))


def load_file(file: ModelFile) -> OdeSystem:
    """The model in a file that has been read; see :func:`load`."""
    if file.suffix == ".ode":
        from sbmlump.formats.ode_read import load_ode_file

        return load_ode_file(file)
    from sbmlump.sbml.read.load import load_sbml_file

    return load_sbml_file(file)
