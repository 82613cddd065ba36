"""COMBINE archives (OMEX): models, an experiment in SED-ML, manifest and metadata in one file.

Everything in it is text made here, so the same input gives the same bytes; python-libsedml and python-libcombine (an
extra) are only needed to read an archive back (:func:`read_back`).
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sbmlump._version import __version__
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError
from sbmlump.expr.graph import Graph, Node
from sbmlump.reduced import Observable, ReducedSystem
from sbmlump.sbml.mathml_out import FactorOrder, MathmlPrinter
from sbmlump.sbml.sedml import Curve, ModelFile, Targets, sedml_text, targets_of
from sbmlump.sbml.write_numbers import NumberTexts
from sbmlump.sbml.write_xml import attributes, escaped
from sbmlump.sbml.writer import write_system
from sbmlump.system import OdeSystem

__all__ = ["model_archive", "read_back", "reduction_archive"]

_SPEC: Final = "http://identifiers.org/combine.specifications/"
_SEDML: Final = _SPEC + "sed-ml.level-1.version-4"
_METADATA: Final = _SPEC + "omex-metadata"
_MANIFEST: Final = "http://identifiers.org/combine.specifications/omex-manifest"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_MOST_CURVES: Final = 40
_EXPERIMENT: Final = "experiment.sedml"


def reduction_archive(
    reduced: ReducedSystem, original: bytes, data: bytes, *, until: float = 100.0, points: int = 201
) -> bytes:
    """An archive of a reduction: both models, and one time course of both that plots the observables.

    Parameters
    ----------
    reduced : ReducedSystem
    original : bytes
        SBML file of the original.
    data : bytes
        SBML of the reduced model.
    until : float
        Horizon, in the model's unit of time.
    points : int
        Points of the grid.
    """
    first, second = targets_of(original), targets_of(data)
    if not first.paths:  # Level 1 has no ids; its Level 3 form has
        original = write_system(reduced.original)
        first = targets_of(original)
    curves: list[Curve] = []
    for one in reduced.observables[: _MOST_CURVES // 2]:
        curve = _original_curve(reduced.original, one, first)
        if curve is not None:
            curves.append(curve)
        if one.id in second.paths:
            curves.append(Curve("reduced", f"{one.id} (reduced)", (one.id,), _name(one.id)))
    models = [ModelFile("original", "original.xml", first), ModelFile("reduced", "reduced.xml", second)]
    title = f"{reduced.original.name or reduced.original.id}: original and reduced"
    text = (
        f"{reduced.original.name or reduced.original.id}, reduced by sbmlump {__version__} with the method "
        f"{reduced.method}: {reduced.original.size} states became {reduced.system.size}. The experiment simulates both "
        "models on one grid and plots what was to be kept."
    )
    return _archive(models, {"original.xml": original, "reduced.xml": data}, curves, until, points, title, text)


def model_archive(system: OdeSystem, data: bytes, *, until: float = 100.0, points: int = 201) -> bytes:
    """An archive of one model with a time course of its states."""
    targets = targets_of(data)
    names = [name for name in system.states if name in targets.paths][:_MOST_CURVES]
    curves = [Curve("model", name, (name,), _name(name)) for name in names]
    title = system.name or system.id
    text = f"{title}, written by sbmlump {__version__}, with a time course of its states."
    return _archive([ModelFile("model", "model.xml", targets)], {"model.xml": data}, curves, until, points, title, text)


def _original_curve(system: OdeSystem, observable: Observable, targets: Targets) -> Curve | None:
    """What is observed as the original file has it, or as an expression of what that has."""
    label = f"{observable.id} (original)"
    if observable.text in targets.paths:
        return Curve("original", label, (observable.text,), _name(observable.text))
    graph = system.graph
    node = graph.substitute([observable.expression], system.specialised())[0]
    needs = tuple(sorted(graph.symbols([node])))
    if graph.depends_on_time([node]) or not needs or any(need not in targets.paths for need in needs):
        return None
    return Curve("original", label, needs, _mathml(graph, node))


def _mathml(graph: Graph, node: Node) -> str:
    return MathmlPrinter(graph, {}, NumberTexts(), FactorOrder(graph, [node], {})).text(node)


def _name(name: str) -> str:
    return f"<ci> {name} </ci>"


def _archive(
    models: Sequence[ModelFile],
    files: Mapping[str, bytes],
    curves: Sequence[Curve],
    until: float,
    points: int,
    title: str,
    text: str,
) -> bytes:
    if not curves:
        message = "nothing that was observed can be addressed in the SBML files, so there is nothing to plot"
        raise UnsupportedModelError(Reason("nothing-to-plot", message + "; write .xml instead"))
    experiment = sedml_text(models, curves, until, points, title)
    entries = {
        **files,
        _EXPERIMENT: experiment.encode(),
        "metadata.rdf": _metadata(text).encode(),
    }
    formats = {one.file: f"{_SPEC}sbml.level-{one.targets.level}.version-{one.targets.version}" for one in models}
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
        f"<content{attributes(location='.', format=_SPEC + 'omex')}/>\n",
        f"<content{attributes(location='./manifest.xml', format=_MANIFEST)}/>\n",
    ]
    for name, what in formats.items():
        master = "true" if name == _EXPERIMENT else None
        lines.append(f"<content{attributes(location='./' + name, format=what, master=master)}/>\n")
    head = attributes(xmlns=_MANIFEST)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<omexManifest{head}>\n{"".join(lines)}</omexManifest>\n'


def _metadata(text: str) -> str:
    spaces = attributes(
        **{"xmlns:rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "xmlns:dcterms": "http://purl.org/dc/terms/"}
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<rdf:RDF{spaces}>\n<rdf:Description rdf:about=".">\n'
        f"<dcterms:description>{escaped(text)}</dcterms:description>\n</rdf:Description>\n</rdf:RDF>\n"
    )


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
    with tempfile.TemporaryDirectory(prefix="sbmlump-") as folder:
        path = Path(folder) / "archive.omex"
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
