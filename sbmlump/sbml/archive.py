"""COMBINE archives (OMEX): models, an experiment in SED-ML, manifest and metadata in one file.

Everything in it is text made here, so the same input gives the same bytes; python-libsedml and python-libcombine (an
extra) are only needed to read an archive back (:func:`read_back`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final
from xml.parsers import expat

from sbmlump._version import __version__
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError
from sbmlump.files import temporary_folder
from sbmlump.model.graph import Graph, Node
from sbmlump.model.names import claim_id
from sbmlump.model.properties import explodes
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import Assigned, OdeSystem, Quantity
from sbmlump.sbml.annotation import DECLARATION, RDF, attributes, block, element, leaf, line, section
from sbmlump.sbml.read.load import parse_sbml
from sbmlump.sbml.read.precheck import prepare_bytes
from sbmlump.sbml.write.document import write_system
from sbmlump.sbml.write.mathml import MATHML, FactorOrder, MathmlPrinter, NumberTexts

__all__ = [
    "model_archive",
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


@dataclass(frozen=True, slots=True)
class SedmlModel:
    """A model of the experiment: its id there, the name of its file in the archive, and what can be addressed in it."""

    id: str
    file: str
    targets: Targets


@dataclass(frozen=True, slots=True)
class SedmlCurve:
    """One curve: which model, its label, the ids it needs, and content MathML over them."""

    model: str
    label: str
    needs: tuple[str, ...]
    mathml: str


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

    Parameters
    ----------
    models : sequence of ModelFile
    curves : sequence of Curve
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
    generators = [_time(one.id) for one in models]
    generators += [_generator(i, curve, by_id[curve.model]) for i, curve in enumerate(curves)]
    lists = (
        section("listOfModels", sources),
        section("listOfSimulations", [element("uniformTimeCourse", grid, algorithm)]),
        section("listOfTasks", tasks),
        section("listOfDataGenerators", generators),
        section("listOfOutputs", [_plot(curves, title), _report(models, curves)]),
    )
    return DECLARATION + block("sedML", lists, attributes(xmlns=NAMESPACE, level="1", version="4"))


def _language(model: SedmlModel) -> str:
    return f"urn:sedml:language:sbml.level-{model.targets.level}.version-{model.targets.version}"


def _time(model: str) -> str:
    variable = leaf("variable", id="time", symbol=_TIME, taskReference=f"run_{model}")
    return _data(f"time_{model}", "time", [variable], _name("time"))


def _generator(index: int, curve: SedmlCurve, model: SedmlModel) -> str:
    variables = [
        leaf(
            "variable",
            id=need,
            target=model.targets.paths[need],
            taskReference=f"run_{model.id}",
            **{"xmlns:sbml": model.targets.namespace},
        )
        for need in curve.needs
    ]
    return _data(f"data_{index}", curve.label, variables, curve.mathml)


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
    if not targets_of(original).paths:  # Level 1 has no ids; its Level 3 form has
        original = write_system(reduced.original)
    # in UTF-8, as this program reads it: others take an encoding that is not declared for another one
    original = prepare_bytes(original, file="original.xml")
    observed = reduced.observables[: most_curves // 2]
    graph = reduced.original.graph
    values = reduced.original.specialised()
    nodes = {one.id: graph.substitute([one.expression], values)[0] for one in observed}
    wanted = {one.text for one in observed} | graph.symbols(nodes.values())
    first = _Source.of("original", original, reduced.original, wanted)
    second = _Source.of("reduced", data, written or parse_sbml(data, file="reduced.xml"), {one.id for one in observed})
    curves: list[SedmlCurve] = []
    for one in observed:
        label = f"{one.id} (original)"
        curve = first.curve(one.text, label) or first.combination(graph, nodes[one.id], label)
        curves += [found for found in (curve, second.curve(one.id, f"{one.id} (reduced)")) if found is not None]
    title = f"{reduced.original.name or reduced.original.id}: original and reduced"
    text = (
        f"{reduced.original.name or reduced.original.id}, reduced by sbmlump {__version__} with the method "
        f"{reduced.method}: {reduced.original.size} states became {reduced.system.size}. The experiment simulates both "
        "models on one grid and plots what was to be kept."
    )
    return _archive([first, second], curves, until, points, title, text)


def model_archive(
    system: OdeSystem, data: bytes, *, until: float = 100.0, points: int = 201, most_curves: int = 40
) -> bytes:
    """An archive of one model with a time course of its states."""
    source = _Source.of("model", data, system, set(system.states[:most_curves]))
    found = (source.curve(name, name) for name in system.states[:most_curves])
    curves = [curve for curve in found if curve is not None]
    title = system.name or system.id
    text = f"{title}, written by sbmlump {__version__}, with a time course of its states."
    return _archive([source], curves, until, points, title, text)


@dataclass(frozen=True, slots=True)
class _Source:
    """A model of the experiment.

    To SED-ML the target of a species is what the id means in the model; to Tellurium it is a concentration, also where
    the id means an amount. Where that matters, the experiment runs a copy of the model in which a parameter has the
    amount by a rule: that is the same to all.

    Attributes
    ----------
    model : ModelFile
        What the experiment runs.
    files : mapping of str to bytes
        What goes into the archive: the model, and its copy if there is one.
    amounts : mapping of str to str
        The parameter that has the amount of a species.
    """

    model: SedmlModel
    files: Mapping[str, bytes]
    amounts: Mapping[str, str]

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
            return _Source(SedmlModel(id, file, targets_of(data)), {file: data}, {})
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
            {file: data, f"{id}_with_amounts.xml": copy},
            amounts,
        )

    def curve(self, name: str, label: str) -> SedmlCurve | None:
        """The quantity ``name``, if it can be addressed."""
        own = self.amounts.get(name, name)
        return SedmlCurve(self.model.id, label, (own,), _name(own)) if own in self.model.targets.paths else None

    def combination(self, graph: Graph, node: Node, label: str) -> SedmlCurve | None:
        """An expression, if everything in it can be addressed."""
        swap = {graph.symbol(name): graph.symbol(new) for name, new in self.amounts.items()}
        own = graph.substitute([node], swap)[0]
        needs = tuple(sorted(graph.symbols([own])))
        if graph.depends_on_time([own]) or not needs or any(need not in self.model.targets.paths for need in needs):
            return None
        if explodes(graph, [own]):  # an experiment has no names for parts of an expression
            return None
        return SedmlCurve(self.model.id, label, needs, _mathml(graph, own))


def _is_odd_amount(system: OdeSystem, name: str) -> bool:
    """Whether ``name`` is a species whose id means an amount, and that is not its concentration, too."""
    quantity = system.quantities.get(name)
    if quantity is None or quantity.kind != "species" or not quantity.amount or name not in system.definitions:
        return False
    size = None if quantity.compartment is None else system.constant_values.get(quantity.compartment)
    return size is None or system.graph.number_of(size) != 1


def _mathml(graph: Graph, node: Node) -> str:
    return MathmlPrinter(graph, {}, NumberTexts(), FactorOrder(graph, [node], {})).text(node)


def _name(name: str) -> str:
    return f"<ci> {name} </ci>"


def _archive(
    sources: Sequence[_Source],
    curves: Sequence[SedmlCurve],
    until: float,
    points: int,
    title: str,
    text: str,
) -> bytes:
    if not curves:
        message = "nothing that was observed can be addressed in the SBML files, so there is nothing to plot"
        raise UnsupportedModelError(Reason("nothing-to-plot", message + "; write .xml instead"))
    experiment = sedml_text([source.model for source in sources], curves, until, points, title)
    files = {name: data for source in sources for name, data in source.files.items()}
    entries = {
        **files,
        _EXPERIMENT: experiment.encode(),
        "metadata.rdf": _metadata(text).encode(),
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


def _metadata(text: str) -> str:
    spaces = attributes(**{"xmlns:rdf": RDF, "xmlns:dcterms": "http://purl.org/dc/terms/"})
    description = element("rdf:Description", attributes(**{"rdf:about": "."}), line("dcterms:description", text))
    return DECLARATION + element("rdf:RDF", spaces, description)


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
        message = f"{error.name} is not installed; install it with: pip install 'sbmlump[tellurium]'"
        raise UnsupportedModelError(Reason("extra-missing", message)) from error
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
