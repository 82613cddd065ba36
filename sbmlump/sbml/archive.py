"""COMBINE archives (OMEX): models, an experiment in SED-ML, manifest and metadata in one file.

Everything in it is text made here, so the same input gives the same bytes; python-libsedml and python-libcombine (an
extra) are only needed to read an archive back (:func:`read_back`).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final
from xml.etree import ElementTree
from xml.parsers import expat

from sbmlump._version import __version__
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, extra_missing
from sbmlump.files import temporary_folder
from sbmlump.model.graph import Graph, Node
from sbmlump.model.names import claim_id
from sbmlump.model.properties import explodes
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import Assigned, OdeSystem, Origin, Quantity
from sbmlump.sbml.annotation import (
    DECLARATION,
    MODEL_QUALIFIERS,
    RDF,
    XHTML,
    attributes,
    biomodels_address,
    biomodels_id,
    block,
    element,
    leaf,
    line,
    resources_of,
    section,
)
from sbmlump.sbml.read.load import parse_sbml
from sbmlump.sbml.read.precheck import prepare_bytes
from sbmlump.sbml.write.document import write_system
from sbmlump.sbml.write.mathml import MATHML, FactorOrder, MathmlPrinter, NumberTexts

__all__ = [
    "Provenance",
    "model_archive",
    "provenance_of",
    "read_back",
    "reduction_archive",
    "SedmlCurve",
    "SedmlModel",
    "Targets",
    "sedml_text",
    "targets_of",
]


# -- SED-ML Level 1 Version 4 -----------------------------------------------------------------------


NAMESPACE: Final = "http://sed-ml.org/sed-ml/level1/version4"
_TIME: Final = "urn:sedml:symbol:time"
_CVODE: Final = "KISAO:0000019"
_ALGORITHM: Final = (("KISAO:0000209", "1e-10"), ("KISAO:0000211", "1e-12"), ("KISAO:0000415", "20000"))
"""Relative and absolute tolerance, and the most steps: what makes two simulators agree to what a plot shows."""
_LISTS: Final = {
    "species": "listOfSpecies",
    "parameter": "listOfParameters",
    "compartment": "listOfCompartments",
    "reaction": "listOfReactions",
}


@dataclass(frozen=True, slots=True)
class Targets:
    """What of an SBML file can be addressed: its namespace, level and version, and the XPath of each id."""

    namespace: str
    level: int
    version: int
    paths: Mapping[str, str]

    def path(self, name: str, prefix: str) -> str:
        """The XPath of ``name`` where ``prefix`` stands for the namespace."""
        return re.sub(r"(?<=/)sbml:", f"{prefix}:", self.paths[name])


@dataclass(frozen=True, slots=True)
class SedmlModel:
    """A model of the experiment: its id there, the name of its file in the archive, and what can be addressed in it."""

    id: str
    file: str
    targets: Targets


@dataclass(frozen=True, slots=True)
class SedmlCurve:
    """One curve: which model, its label, and an expression over ids of the model."""

    model: str
    label: str
    graph: Graph
    node: Node

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids in the expression."""
        return tuple(sorted(self.graph.symbols([self.node])))

    def mathml(self, names: Mapping[str, str]) -> str:
        """Content MathML of the expression over other names."""
        graph = self.graph
        swap = {graph.symbol(name): graph.symbol(new) for name, new in names.items()}
        return _mathml(graph, graph.substitute([self.node], swap)[0])


def targets_of(data: bytes) -> Targets:
    """Namespace and addressable elements (species, parameters, compartments, reactions) of an SBML file."""
    head: dict[str, str] = {}
    paths: dict[str, str] = {}
    open_: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, given: dict[str, str]) -> None:
        space, _, tag = name.rpartition(" ")
        if not open_:
            head.update(space=space, level=given.get("level", "3"), version=given.get("version", "1"))
        elif len(open_) == 3 and open_[1] == "model" and _LISTS.get(tag) == open_[2] and "id" in given:
            paths[given["id"]] = f"/sbml:sbml/sbml:model/sbml:{open_[2]}/sbml:{tag}[@id='{given['id']}']"
        open_.append(tag)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_.pop()
    parser.Parse(data, True)
    return Targets(head["space"], int(head["level"]), int(head["version"]), paths)


def sedml_text(
    models: Sequence[SedmlModel], curves: Sequence[SedmlCurve], until: float, points: int, title: str
) -> str:
    """The experiment.

    No two elements of it have one id, though SED-ML lets variables of different generators share one: BioSimulators
    takes none that does. Prefixes of targets are declared at the top, where libSEDML looks for them.

    Parameters
    ----------
    models : sequence of SedmlModel
        In the order in which they are listed: COPASI imports the first one only.
    curves : sequence of SedmlCurve
        All go into one plot and one report.
    until : float
        End time, in the models' unit of time.
    points : int
        Points of the grid, both ends included.
    title : str
        Of the plot.
    """
    parameters = (leaf("algorithmParameter", kisaoID=term, value=value) for term, value in _ALGORITHM)
    algorithm = element("algorithm", attributes(kisaoID=_CVODE), section("listOfAlgorithmParameters", parameters))
    grid = attributes(
        id="time_course",
        initialTime="0",
        outputStartTime="0",
        outputEndTime=repr(float(until)),
        numberOfSteps=str(points - 1),
    )
    sources = (leaf("model", id=one.id, language=_language(one), source=one.file) for one in models)
    tasks = (
        leaf("task", id=f"run_{one.id}", modelReference=one.id, simulationReference="time_course") for one in models
    )
    by_id = {one.id: one for one in models}
    prefixes = _prefixes(models)
    generators = [_time(one.id) for one in models]
    generators += [_generator(i, curve, by_id[curve.model], prefixes) for i, curve in enumerate(curves)]
    lists = (
        section("listOfModels", sources),
        section("listOfSimulations", [element("uniformTimeCourse", grid, algorithm)]),
        section("listOfTasks", tasks),
        section("listOfDataGenerators", generators),
        section("listOfOutputs", [_plot(curves, title), _report(models, curves)]),
    )
    declared = {f"xmlns:{prefix}": namespace for namespace, prefix in prefixes.items()}
    return DECLARATION + block("sedML", lists, attributes(xmlns=NAMESPACE, level="1", version="4", **declared))


def _prefixes(models: Sequence[SedmlModel]) -> dict[str, str]:
    """A prefix for each namespace of SBML in which there are models."""
    spaces = dict.fromkeys(one.targets.namespace for one in models)
    return {space: "sbml" if index == 0 else f"sbml{index + 1}" for index, space in enumerate(spaces)}


def _language(model: SedmlModel) -> str:
    return f"urn:sedml:language:sbml.level-{model.targets.level}.version-{model.targets.version}"


def _time(model: str) -> str:
    name = f"clock_{model}"
    variable = leaf("variable", id=name, symbol=_TIME, taskReference=f"run_{model}")
    return _data(f"time_{model}", "time", [variable], f"<ci> {name} </ci>")


def _generator(index: int, curve: SedmlCurve, model: SedmlModel, prefixes: Mapping[str, str]) -> str:
    names = {need: f"value_{index}_{need}" for need in curve.needs}
    targets = {need: model.targets.path(need, prefixes[model.targets.namespace]) for need in names}
    variables = [
        leaf("variable", id=name, target=targets[need], taskReference=f"run_{model.id}") for need, name in names.items()
    ]
    return _data(f"data_{index}", curve.label, variables, curve.mathml(names))


def _data(name: str, label: str, variables: list[str], mathml: str) -> str:
    math = f'<math xmlns="{MATHML}">{mathml}</math>\n'
    return element("dataGenerator", attributes(id=name, name=label), section("listOfVariables", variables) + math)


def _plot(curves: Sequence[SedmlCurve], title: str) -> str:
    items = (
        leaf(
            "curve",
            id=f"curve_{i}",
            name=curve.label,
            xDataReference=f"time_{curve.model}",
            yDataReference=f"data_{i}",
            type="points",
            order=str(i),
        )
        for i, curve in enumerate(curves)
    )
    axes = leaf("xAxis", id="x_axis", type="linear", name="time") + leaf("yAxis", id="y_axis", type="linear")
    return element("plot2D", attributes(id="plot", name=title), axes + section("listOfCurves", items))


def _report(models: Sequence[SedmlModel], curves: Sequence[SedmlCurve]) -> str:
    sets = [
        leaf("dataSet", id=f"set_time_{one.id}", label=f"time of {one.id}", dataReference=f"time_{one.id}")
        for one in models
    ]
    sets += [
        leaf("dataSet", id=f"set_{i}", label=curve.label, dataReference=f"data_{i}") for i, curve in enumerate(curves)
    ]
    return element("report", attributes(id="report", name="all curves"), section("listOfDataSets", sets))


# -- COMBINE archives (OMEX) ---------------------------------------------------------------------------


_SPEC: Final = "http://identifiers.org/combine.specifications/"
_SEDML: Final = _SPEC + "sed-ml.level-1.version-4"
_METADATA: Final = _SPEC + "omex-metadata"
_MANIFEST: Final = "http://identifiers.org/combine.specifications/omex-manifest"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_EXPERIMENT: Final = "experiment.sedml"


def reduction_archive(
    reduced: ReducedSystem,
    original: bytes,
    data: bytes,
    written: OdeSystem | None = None,
    *,
    until: float = 100.0,
    points: int = 201,
    most_curves: int = 40,
) -> bytes:
    """An archive of a reduction: both models, and one time course of both that plots the observables.

    Parameters
    ----------
    reduced : ReducedSystem
    original : bytes
        SBML file of the original.
    data : bytes
        SBML of the reduced model.
    written : OdeSystem, optional
        What is read back of ``data``; read here where it is absent.
    until : float
        End time, in the model's unit of time.
    points : int
        Points of the grid.
    most_curves : int
        What one plot can show; two for each observable.
    """
    targets = targets_of(original)
    # Level 1 has no ids; its Level 3 form has. Of rational stoichiometries of Level 2 readers leave out the denominator
    if not targets.paths or (targets.level == 2 and b'"rational"' in original):
        original = write_system(reduced.original)
    # in UTF-8, as this program reads it: others take an encoding that is not declared for another one
    original = prepare_bytes(original, file="original.xml")
    observed = reduced.observables[: most_curves // 2]
    graph = reduced.original.graph
    values = reduced.original.specialised()
    nodes = {one.id: graph.substitute([one.expression], values)[0] for one in observed}
    wanted = {one.text for one in observed} | graph.symbols(nodes.values())
    before = _Source.of("original", original, reduced.original, wanted)
    after = _Source.of("reduced", data, written or parse_sbml(data, file="reduced.xml"), {one.id for one in observed})
    curves: list[SedmlCurve] = []
    for one in observed:
        label = f"{one.id} (original)"
        curve = before.curve(one.text, label) or before.combination(graph, nodes[one.id], label)
        curves += [found for found in (curve, after.curve(one.id, f"{one.id} (reduced)")) if found is not None]
    title = f"{reduced.original.name or reduced.original.id}: original and reduced"
    text = (
        f"{reduced.original.name or reduced.original.id}, reduced by sbmlump {__version__} with the method "
        f"{reduced.method}: {reduced.original.size} states became {reduced.system.size}. The experiment simulates both "
        "models on one grid and plots what was to be kept."
    )
    # the reduced model first: it is what the archive is about, and all that COPASI imports
    return _archive([after, before], curves, until, points, _ArchiveText.of(title, text, reduced.original))


def model_archive(
    system: OdeSystem, data: bytes, *, until: float = 100.0, points: int = 201, most_curves: int = 40
) -> bytes:
    """An archive of one model with a time course of its states."""
    source = _Source.of("model", data, system, set(system.states[:most_curves]))
    found = (source.curve(name, name) for name in system.states[:most_curves])
    curves = [curve for curve in found if curve is not None]
    title = system.name or system.id
    text = f"{title}, written by sbmlump {__version__}, with a time course of its states."
    return _archive([source], curves, until, points, _ArchiveText.of(title, text, system))


@dataclass(frozen=True, slots=True)
class _Source:
    """A model of the experiment.

    To SED-ML the target of a species is what the id means in the model; to Tellurium it is a concentration, also where
    the id means an amount. Where that matters, the experiment runs a copy of the model in which a parameter has the
    amount by a rule: that is the same to all.

    Attributes
    ----------
    model : SedmlModel
        What the experiment runs.
    graph : Graph
    files : mapping of str to bytes
        What goes into the archive: the model, and its copy if there is one.
    amounts : mapping of str to str
        The parameter that has the amount of a species.
    """

    model: SedmlModel
    graph: Graph
    files: Mapping[str, bytes]
    amounts: Mapping[str, str]

    @property
    def id(self) -> str:
        """Of the model in the experiment; its file is called so."""
        return self.model.id

    @staticmethod
    def of(id: str, data: bytes, system: OdeSystem, wanted: AbstractSet[str]) -> _Source:
        """The model ``id`` with everything in ``wanted`` that is there."""
        file = f"{id}.xml"
        taken = set(system.taken_ids)
        amounts: dict[str, str] = {}
        for name in sorted(wanted):
            if _is_odd_amount(system, name):
                amounts[name] = claim_id(f"{name}_amount", taken)
        if not amounts:
            return _Source(SedmlModel(id, file, targets_of(data)), system.graph, {file: data}, {})
        values = system.definitions
        more = tuple(Assigned(new, values[name]) for name, new in amounts.items())
        labels = {
            new: Quantity(new, "parameter", f"amount of {name}", system.quantities[name].units)
            for name, new in amounts.items()
        }
        extended = replace(system, assigned=(*system.assigned, *more), quantities={**dict(system.quantities), **labels})
        copy = write_system(extended)
        return _Source(
            SedmlModel(id, f"{id}_with_amounts.xml", targets_of(copy)),
            system.graph,
            {file: data, f"{id}_with_amounts.xml": copy},
            amounts,
        )

    def curve(self, name: str, label: str) -> SedmlCurve | None:
        """The quantity ``name``, if it can be addressed."""
        own = self.amounts.get(name, name)
        if own not in self.model.targets.paths:
            return None
        return SedmlCurve(self.model.id, label, self.graph, self.graph.symbol(own))

    def combination(self, graph: Graph, node: Node, label: str) -> SedmlCurve | None:
        """An expression, if everything in it can be addressed."""
        swap = {graph.symbol(name): graph.symbol(new) for name, new in self.amounts.items()}
        own = graph.substitute([node], swap)[0]
        curve = SedmlCurve(self.model.id, label, graph, own)
        paths = self.model.targets.paths
        if graph.depends_on_time([own]) or not curve.needs or any(need not in paths for need in curve.needs):
            return None
        # an experiment has no names for parts of an expression
        return None if explodes(graph, [own]) else curve


def _is_odd_amount(system: OdeSystem, name: str) -> bool:
    """Whether ``name`` is a species whose id means an amount, and that is not its concentration, too."""
    quantity = system.quantities.get(name)
    if quantity is None or quantity.kind != "species" or not quantity.amount or name not in system.definitions:
        return False
    size = None if quantity.compartment is None else system.constant_values.get(quantity.compartment)
    return size is None or system.graph.number_of(size) != 1


def _mathml(graph: Graph, node: Node) -> str:
    return MathmlPrinter(graph, {}, NumberTexts(), FactorOrder(graph, [node], {})).text(node)


def _archive(
    sources: Sequence[_Source],
    curves: Sequence[SedmlCurve],
    until: float,
    points: int,
    told: _ArchiveText,
) -> bytes:
    if not curves:
        message = "nothing that was observed can be addressed in the SBML files, so there is nothing to plot"
        raise UnsupportedModelError(Reason("nothing-to-plot", message + "; write .xml instead"))
    experiment = sedml_text([source.model for source in sources], curves, until, points, told.title)
    files = {name: data for source in sources for name, data in source.files.items()}
    entries = {
        **files,
        _EXPERIMENT: experiment.encode(),
        "metadata.rdf": told.rdf([source.id for source in sources]).encode(),
    }
    targets = {name: targets_of(data) for name, data in files.items()}
    formats = {name: f"{_SPEC}sbml.level-{one.level}.version-{one.version}" for name, one in targets.items()}
    formats |= {_EXPERIMENT: _SEDML, "metadata.rdf": _METADATA}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"manifest.xml": _manifest(formats).encode(), **entries}.items():
            info = zipfile.ZipInfo(name, _EPOCH)  # no time of day: equal models give equal archives
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return stream.getvalue()


def _manifest(formats: Mapping[str, str]) -> str:
    lines = [
        leaf("content", location=".", format=_SPEC + "omex"),
        leaf("content", location="./manifest.xml", format=_MANIFEST),
    ]
    for name, what in formats.items():
        master = "true" if name == _EXPERIMENT else None
        lines.append(leaf("content", location=f"./{name}", format=what, master=master))
    return DECLARATION + block("omexManifest", lines, attributes(xmlns=_MANIFEST))


# -- Where a model comes from, for those it is given to ---------------------------------------------


_DUBLIN_CORE: Final = ("http://purl.org/dc/elements/1.1/", "http://purl.org/dc/terms/")
_LICENCES: Final = (*(f"{space} license" for space in _DUBLIN_CORE), "http://creativecommons.org/ns# license")
_CREATORS: Final = tuple(f"{space} creator" for space in _DUBLIN_CORE)
_CREATED: Final = tuple(f"{space} created" for space in _DUBLIN_CORE)
_GIVEN: Final = ("Given", "given-name", "givenName")
_FAMILY: Final = ("Family", "family-name", "familyName")
_FULL: Final = ("FN", "fn")
_ORGANISATION: Final = ("Orgname", "organization-name", "hasOrganizationName")
_DATE: Final = re.compile(
    r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?"
)
"""A date by the W3C's note, as SBML's model history has it."""
_CC0: Final = "//creativecommons.org/publicdomain/zero/"
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"{}|\\^`]+")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the file of a model says of its origin.

    Attributes
    ----------
    creators : tuple of str
        Their names, or their organisation where there is no name.
    created : str or None
        When the model was made (W3C date).
    licence : (str, str) or None
        Its name and its address.
    entries : tuple of (str, str)
        Entries of BioModels that the model is or is derived from: id and address.
    """

    creators: tuple[str, ...] = ()
    created: str | None = None
    licence: tuple[str, str] | None = None
    entries: tuple[tuple[str, str], ...] = ()


def provenance_of(origin: Origin, model_id: str) -> Provenance:
    """What notes and annotation of a model say of its origin; what is not there, or not as SBML has it, is left out.

    A licence is one stated in RDF, or a link in the notes: in the part that BioModels marks as ``dc:license``, or to
    CC0, which is a dedication of data. Any other link may speak of a paper or a figure.
    """
    described = [] if origin.annotation is None else _descriptions(origin.annotation, origin.metaid)
    creators: dict[str, None] = {}
    dates: list[str] = []
    licences: list[tuple[str, str]] = []
    for statement in (child for description in described for child in description):
        if statement.tag in _CREATORS:
            creators.update(dict.fromkeys(filter(None, map(_person, _each(statement)))))
        elif statement.tag in _CREATED:
            dates.append("".join(statement.itertext()).strip())
        elif statement.tag in _LICENCES:
            found = [one.get(f"{RDF} resource") or _text(one) for one in statement.iter()]
            licences += [(uri, uri) for uri in found if _ADDRESS.fullmatch(uri)]
    if not licences and origin.notes is not None:
        licences = _licences_in_notes(origin.notes)
    known = () if origin.annotation is None else resources_of(origin.annotation, MODEL_QUALIFIERS, _OWN_ENTRIES)
    ids = dict.fromkeys(filter(None, map(biomodels_id, (model_id, *known))))
    return Provenance(
        tuple(creators),
        next((date for date in dates if _DATE.fullmatch(date)), None),
        licences[0] if licences else None,
        tuple((one, biomodels_address(one)) for one in ids),
    )


_OWN_ENTRIES: Final = ("is", "isDerivedFrom")


def _tree(fragment: str) -> ElementTree.Element | None:
    """The tree of a fragment of a file that has been read (no DOCTYPE, not deep), with names "space name"."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(fragment.encode(), True)
    except expat.ExpatError:
        return None
    return builder.close()


def _descriptions(annotation: str, metaid: str | None) -> list[ElementTree.Element]:
    """RDF descriptions of the model itself."""
    root = _tree(annotation)
    parts = [] if root is None else [one for one in root if one.tag == f"{RDF} RDF"]
    found = [one for part in parts for one in part if one.tag == f"{RDF} Description"]
    return [one for one in found if one.get(f"{RDF} about", "") in ("", f"#{metaid}")]


def _each(statement: ElementTree.Element) -> list[ElementTree.Element]:
    """The things that a statement names: the items of its list, or itself."""
    return list(statement.iter(f"{RDF} li")) or [statement]


def _person(one: ElementTree.Element) -> str:
    """The name in a vCard (of 1999, 2001 or 2006), or the text where there is no card."""

    def first(*names: str) -> str:
        return next((_text(part) for part in one.iter() if part.tag.rpartition(" ")[2] in names and _text(part)), "")

    name = " ".join(filter(None, (first(*_GIVEN), first(*_FAMILY))))
    return name or first(*_FULL) or first(*_ORGANISATION) or (_text(one) if len(one) == 0 else "")


def _licences_in_notes(notes: str) -> list[tuple[str, str]]:
    root = _tree(notes)
    if root is None:
        return []
    marked = [one for one in root.iter() if "dc:license" in one.get("class", "").split()]
    links = [link for part in marked for link in part.iter(f"{XHTML} a")]
    links += [link for link in root.iter(f"{XHTML} a") if _CC0 in link.get("href", "")]
    return [(_text(a) or a.get("href", ""), a.get("href", "")) for a in links if _ADDRESS.fullmatch(a.get("href", ""))]


def _text(one: ElementTree.Element) -> str:
    """All text in an element, on one line."""
    return " ".join("".join(one.itertext()).split())


# -- Metadata, in the words of OMEX Metadata that BioSimulators reads -------------------------------


_DC: Final = "http://purl.org/dc/elements/1.1/"
_LABELS: Final = "http://www.w3.org/2000/01/rdf-schema#"


@dataclass(frozen=True, slots=True)
class _ArchiveText:
    """What an archive says of itself: title and description, and what the file of the model says of its origin."""

    title: str
    description: str
    provenance: Provenance

    @classmethod
    def of(cls, title: str, description: str, system: OdeSystem) -> _ArchiveText:
        """Of an archive that is made of ``system``."""
        provenance = provenance_of(system.origin, system.id)
        if provenance.creators or provenance.created is not None:
            # no date of today: equal models give equal archives
            description += " Creators and date are those that the file of the model names."
        return cls(title, description, provenance)

    def rdf(self, models: Sequence[str]) -> str:
        """The file of metadata; the first of several models is derived from the others."""
        found = self.provenance
        spaces = {"xmlns:rdf": RDF, "xmlns:rdfs": _LABELS, "xmlns:dc": _DC, "xmlns:bqmodel": MODEL_QUALIFIERS}
        lines = [line("dc:title", self.title), line("dc:description", self.description)]
        lines += [_object("dc:creator", name) for name in found.creators]
        lines += [line("dc:created", found.created)] if found.created is not None else []
        lines += [_object("dc:license", *found.licence)] if found.licence is not None else []
        lines += [_object("bqmodel:isDerivedFrom", name, uri) for name, uri in found.entries]
        first, *others = (f"{name}.xml" for name in models)
        derived = [_object("bqmodel:isDerivedFrom", name, f"./{name}") for name in others]
        text = _subject(".", lines) + (_subject(f"./{first}", derived) if derived else "")
        return DECLARATION + element("rdf:RDF", attributes(**spaces), text)


def _subject(about: str, lines: Sequence[str]) -> str:
    return block("rdf:Description", lines, attributes(**{"rdf:about": about}))


def _object(predicate: str, label: str, uri: str | None = None) -> str:
    """A statement on something with a label and, where it has one, an address."""
    identifier = "" if uri is None else leaf("dc:identifier", **{"rdf:resource": uri})
    return element(predicate, attributes(**{"rdf:parseType": "Resource"}), identifier + line("rdfs:label", label))


def read_back(data: bytes) -> dict[str, str]:
    """Read an archive by libCombine and its experiment by libSEDML.

    Returns
    -------
    dict of str to str
        Location of each content and its format.

    Raises
    ------
    UnsupportedModelError
        Code ``extra-missing`` if python-libcombine or python-libsedml are not installed.
    SbmlumpError
        Code ``invalid-output`` if one of them finds fault.
    """
    try:
        import libcombine
        import libsedml
    except ImportError as error:
        raise UnsupportedModelError(extra_missing(f"{error.name} is not installed", "tellurium")) from error
    with temporary_folder() as folder:
        path = folder / "archive.omex"
        path.write_bytes(data)
        archive = libcombine.CombineArchive()
        if not archive.initializeFromArchive(str(path)):
            raise SbmlumpError(Reason("invalid-output", "libCombine does not read the archive"))
        try:
            found = {}
            for location in archive.getAllLocations():
                entry = archive.getEntryByLocation(location)
                found[str(location)] = "" if entry is None else str(entry.getFormat())
            experiment: Any = libsedml.readSedMLFromString(archive.extractEntryToString("./" + _EXPERIMENT))
        finally:
            archive.cleanUp()
    errors = [
        " ".join(experiment.getError(i).getMessage().split())
        for i in range(experiment.getNumErrors())
        if experiment.getError(i).getSeverity() >= libsedml.LIBSEDML_SEV_ERROR
    ]
    if errors:
        raise SbmlumpError(Reason("invalid-output", f"libSEDML finds fault with the experiment: {errors[0]}"))
    return found
