"""Packages of Level 3: which stop a reading, which say nothing about the dynamics."""

from __future__ import annotations

from typing import Any, Final

from sbmlump.sbml.read_record import Law, Problems, RawModel

__all__ = ["check_packages", "is_flux_balance"]

#: Packages whose elements are read (``comp`` is flattened before) or change nothing in the mathematics.
_READ: Final = frozenset({"comp", "l3v2extendedmath"})
_ADVICE: Final = {
    "qual": "it is a qualitative (logical) model",
    "spatial": "it has a geometry, so its equations are partial differential ones",
    "multi": "its species are patterns that have to be expanded first",
    "distrib": "its values are distributions",
    "arrays": "its elements are arrays that have to be expanded first",
    "dyn": "its elements come and go",
}


def check_packages(document: Any, problems: Problems) -> None:
    """Note each package that the file declares as required and that is not read here."""
    if document.getLevel() < 3:
        return
    for i in range(document.getNumPlugins()):
        name = document.getPlugin(i).getPackageName()
        if name not in _READ and document.getPackageRequired(name):
            _refuse(name, problems)
    namespaces = document.getNamespaces()
    for i in range(namespaces.getLength()):
        uri = namespaces.getURI(i)
        if "/sbml/level3/" in uri and "/core" not in uri and document.getPlugin(uri) is None:
            name = namespaces.getPrefix(i)
            if document.getPackageRequired(uri):
                _refuse(name, problems)


def is_flux_balance(document: Any, raw: RawModel) -> bool:
    """Whether the model is one of flux balance: bounds and objectives in the place of (some) kinetic laws.

    Older files (COBRA, Level 2) have kinetic laws that hold bounds as local parameters and no rate.
    """
    if not raw.reactions:
        return False
    if document.getLevel() > 2:
        return document.getModel().getPlugin("fbc") is not None and any(r.law is None for r in raw.reactions)
    return all(r.law is not None and "FLUX_VALUE" in r.law.names and not _uses_ids(r.law) for r in raw.reactions)


def _uses_ids(law: Law) -> bool:
    return any(step.kind == "name" and step.payload not in law.names for step in law.program)


def _refuse(name: str, problems: Problems) -> None:
    why = _ADVICE.get(name, "its meaning is not known here")
    problems.add(
        f"package-required:{name}", f"the model needs the package {name!r} to be understood: {why}", None, None
    )
