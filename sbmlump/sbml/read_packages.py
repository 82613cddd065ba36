"""Packages of Level 3: which stop a reading, which say nothing about the dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sbmlump.sbml.read_described import standalone
from sbmlump.sbml.read_record import KineticLaw, Problems, RawModel
from sbmlump.sbml.write_xml import is_well_formed, tags_of
from sbmlump.system import Key, Package

__all__ = ["carried_packages", "check_packages", "is_flux_balance", "other_packages"]

#: Packages whose elements are read (``comp`` is flattened before) or change nothing in the mathematics.
#: Random numbers of ``distrib`` are refused where they are called; the rest of it says how sure values are.
_READ_PACKAGES: Final = frozenset({"comp", "l3v2extendedmath", "distrib"})
_CARRIED_LISTS: Final = {
    "layout": ("Layouts",),
    "groups": ("Groups",),
    "fbc": ("FluxBounds", "Objectives", "GeneProducts", "UserDefinedConstraints"),
}
"""Packages that say nothing about the dynamics and are written again, with their lists in the model."""
_ADVICE: Final = {
    "qual": "it is a qualitative (logical) model",
    "spatial": "it has a geometry, so its equations are partial differential ones",
    "multi": "its species are patterns that have to be expanded first",
    "distrib": "it is of a draft of that package, in which values may be drawn at random",
    "arrays": "its elements are arrays that have to be expanded first",
    "dyn": "its elements come and go",
}


def check_packages(document: Any, problems: Problems) -> None:
    """Note each package that the file declares as required and that is not read here."""
    if document.getLevel() < 3:
        return
    for i in range(document.getNumPlugins()):
        name = document.getPlugin(i).getPackageName()
        if name not in _READ_PACKAGES and document.getPackageRequired(name):
            _refuse(name, problems)
        elif name == "distrib":
            text = "the package 'distrib' says how uncertain values are; the values themselves are read"
            problems.remark("uncertainty-not-read", text)
    namespaces = document.getNamespaces()
    for i in range(namespaces.getLength()):
        uri = namespaces.getURI(i)
        if "/sbml/level3/" in uri and "/core" not in uri and document.getPlugin(uri) is None:
            name = namespaces.getPrefix(i)
            if document.getPackageRequired(uri):
                _refuse(name, problems)


def is_flux_balance(document: Any, raw: RawModel) -> bool:
    """Whether the model is one of flux balance: bounds and objectives in the place of kinetic laws.

    Where some reactions have laws, those without are named one by one instead. Older files (COBRA, Level 2) have
    kinetic laws that hold bounds as local parameters and no rate.
    """
    if not raw.reactions:
        return False
    if document.getLevel() > 2:
        return document.getModel().getPlugin("fbc") is not None and all(r.law is None for r in raw.reactions)
    return all(r.law is not None and "FLUX_VALUE" in r.law.names and not _uses_ids(r.law) for r in raw.reactions)


def carried_packages(document: Any) -> tuple[Package, ...]:
    """What the packages layout (with render), groups and fbc say in a Level 3 document."""
    if document.getLevel() < 3:
        return ()
    model = document.getModel()
    found = []
    for name, lists in _CARRIED_LISTS.items():
        plugin = model.getPlugin(name)
        if plugin is None:
            continue
        children: dict[Key, tuple[str, ...]] = {}
        given = [getattr(plugin, f"getListOf{what}", None) for what in lists]
        texts = [get().toSBML() for get in given if get is not None and get().size()]
        if texts:
            children["model",] = tuple(standalone(document, text.strip()) for text in texts)
        attributes: dict[Key, dict[str, str]] = {}
        if name == "fbc":
            _flux_balance(document, model, children, attributes)
        if not (children or attributes) or not all(is_well_formed(t) for texts in children.values() for t in texts):
            continue
        tags = [tag for texts in children.values() for text in texts for tag in tags_of(text)]
        ids = frozenset(tag.attributes["id"] for tag in tags if "id" in tag.attributes)
        found.append(Package(name, plugin.getPrefix() or name, plugin.getURI(), children, attributes, ids))
    render = document.getPlugin("render")
    if render is not None and any(package.name == "layout" for package in found):
        found.append(Package("render", render.getPrefix() or "render", render.getURI()))
    return tuple(found)


def other_packages(document: Any, packages: Sequence[Package]) -> tuple[str, ...]:
    """Names of the packages of which nothing is kept (they are not among ``packages``), though they say something."""
    if document.getLevel() < 3:
        return ()
    carried = {package.name for package in packages}
    model = document.getModel()
    names = {document.getPlugin(i).getPackageName() for i in range(document.getNumPlugins())}
    empty = {name for name in _CARRIED_LISTS if name not in carried and not _says_something(model.getPlugin(name))}
    namespaces = document.getNamespaces()
    for i in range(namespaces.getLength()):
        uri = namespaces.getURI(i)
        if "/sbml/level3/" in uri and "/core" not in uri and document.getPlugin(uri) is None:
            names.add(namespaces.getPrefix(i))
    return tuple(sorted(names - {*carried, *empty, *_READ_PACKAGES, "render"}))


def _says_something(plugin: Any) -> bool:
    """Whether a list of a package in the model has elements."""
    return plugin is not None and plugin.getListOfAllElements().getSize() > 0


def _flux_balance(
    document: Any, model: Any, children: dict[Key, tuple[str, ...]], attributes: dict[Key, dict[str, str]]
) -> None:
    """Charges, formulas, bounds and genes of species and reactions."""
    plugin = model.getPlugin("fbc")
    if plugin.getPackageVersion() > 1 and plugin.isSetStrict():
        attributes["model",] = {"strict": "true" if plugin.getStrict() else "false"}
    for item in (model.getSpecies(i) for i in range(model.getNumSpecies())):
        said = item.getPlugin("fbc")
        values = {}
        if said.isSetCharge():
            charge = said.getChargeAsDouble() if plugin.getPackageVersion() > 2 else said.getCharge()
            values["charge"] = repr(charge).removesuffix(".0")
        if said.isSetChemicalFormula():
            values["chemicalFormula"] = said.getChemicalFormula()
        if values:
            attributes["species", item.getId()] = values
    if plugin.getPackageVersion() < 2:
        return
    for item in (model.getReaction(i) for i in range(model.getNumReactions())):
        said = item.getPlugin("fbc")
        bounds = {"lowerFluxBound": said.getLowerFluxBound(), "upperFluxBound": said.getUpperFluxBound()}
        values = {key: value for key, value in bounds.items() if value}
        if values:
            attributes["reaction", item.getId()] = values
        if said.isSetGeneProductAssociation():
            text = said.getGeneProductAssociation().toSBML().strip()
            children["reaction", item.getId()] = (standalone(document, text),)


def _uses_ids(law: KineticLaw) -> bool:
    return any(step.kind == "name" and step.payload not in law.names for step in law.program)


def _refuse(name: str, problems: Problems) -> None:
    why = _ADVICE.get(name, "its meaning is not known here")
    problems.add(
        f"package-required:{name}", f"the model needs the package {name!r} to be understood: {why}", None, None
    )
