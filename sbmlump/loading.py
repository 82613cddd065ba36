"""A model from a file, by its suffix."""

from __future__ import annotations

from pathlib import Path

from sbmlump.system import OdeSystem

__all__ = ["load"]


def load(path: str | Path) -> OdeSystem:
    """Read a model, by the suffix of its file.

    Raises
    ------
    InputError
        If the file is not a readable model.
    UnsupportedModelError
        If it holds what cannot become an ODE system; every reason at once.
    """
    if Path(path).suffix.lower() == ".ode":
        from sbmlump.formats.erode import load_ode

        return load_ode(path)
    from sbmlump.sbml.reader import load_sbml

    return load_sbml(path)
