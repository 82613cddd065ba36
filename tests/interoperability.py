"""What other tools make of the reduced form of one model: the checks of docs/make_interoperability.py."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import libsbml
import numpy as np
from control_analysis import Analyse, Comparison, compare_analyses, copasi_analysis, roadrunner_analysis

import sbmlump
from sbmlump.errors import SbmlumpError
from sbmlump.jobs import (
    definitions_of,
    simulate_reduction,
    written_as_sbml,
    written_reduction,
)
from sbmlump.methods import reduce_options
from sbmlump.model import ExactProof, ReducedSystem
from sbmlump.outcome import WrittenOutput
from sbmlump.proof import verify
from sbmlump.sbml import prepare_bytes, read_back, write_system
from sbmlump.simulators import PRECISE, Tolerances, compare_simulated, simulated_file, simulator_named

MOST_STATES = 120
TRIED = 8
AGREEMENT = 1e-5
TIGHTER = Tolerances(relative=1e-12, absolute=1e-16, max_steps=100_000, retry=True)
_MISSING_UNITS = {20702, 99508, 80701}
"""Parameters without a unit: what Level 2 counts as bad practice (80701) is an undefined unit in Level 3."""


@dataclass
class Result:
    """What was found of one model; ``None`` where a check did not apply.

    ``copasi`` is how far libRoadRunner and COPASI are apart on the reduced file at the usual tolerances. Where that is
    more than ``AGREEMENT``, ``copasi_tight`` is the same at tighter ones, and ``original_copasi_tight`` that of the
    original. ``explained`` is the code by which `sbmlump reduce` explains a difference beside a proof.
    ``original_is_at_fault``: BioSimulators finds fault with the original in the archive, too.
    """

    file: str
    observable: str
    states: int
    reduced: int
    proper: bool
    form: str = ""
    verified: bool | None = None
    errors: int = -1
    new_warnings: dict[int, int] = field(default_factory=dict)
    until: float | None = None
    error: float | None = None
    self_error: float | None = None
    explained: str | None = None
    copasi: float | None = None
    copasi_tight: float | None = None
    original_copasi_tight: float | None = None
    tellurium: bool | None = None
    antimony: bool | None = None
    omex: bool | None = None
    archive: bytes | None = field(default=None, repr=False)
    biosimulators: bool | None = None
    original_is_at_fault: bool = False
    copasi_opens: bool | None = None
    analyses: dict[str, Comparison] = field(default_factory=dict)
    literals: int = 0
    literals_with_units: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def within(self) -> bool | None:
        """Whether the reduced model follows the original as closely as asked for."""
        if self.error is None:
            return None
        itself = self.self_error is not None and self.error <= 10 * self.self_error
        return self.error <= 1e-6 or itself or self.explained is not None

    @property
    def agrees(self) -> bool | None:
        """Whether libRoadRunner and COPASI agree on the reduced file, at the tightest tolerances they were given."""
        found = self.copasi if self.copasi_tight is None else self.copasi_tight
        return None if found is None else found <= AGREEMENT


def reducible_observable(path: Path) -> ReducedSystem | None:
    """A reduction of the event-free model in ``path`` by one of a few states drawn by its name, lumps preferred."""
    try:
        system = sbmlump.load(path)
    except SbmlumpError:
        return None
    if system.events or not 3 <= system.size <= MOST_STATES:
        return None
    names = random.Random(path.name).sample(list(system.states), min(TRIED, system.size))
    found = None
    for name in names:
        with contextlib.suppress(SbmlumpError):
            reduction = sbmlump.reduce(system, [name])
            if not reduction.reducible:
                continue
            if any(not lump.is_single for lump in reduction.lumps):
                return reduction
            found = found or reduction
    return found


def examine(path: Path, reduction: ReducedSystem) -> Result:
    """All checks of one model."""
    written = written_as_sbml(reduction)
    data = written.data
    result = Result(
        path.name,
        reduction.observables[0].id,
        reduction.original.size,
        reduction.system.size,
        reduction.matrix.proper and reduction.matrix.non_negative,
    )
    result.form = form_of(data)
    result.literals, result.literals_with_units = data.count(b"<cn"), data.count(b"sbml:units=")
    with tempfile.TemporaryDirectory() as folder:
        reduced = Path(folder) / "reduced.xml"
        reduced.write_bytes(data)
        result.verified = isinstance(verify(path, reduced), ExactProof)
        _consistency(path, reduction, data, result)
        until = result.until = _against_original(path, reduced, reduction, written, result)
        _against_copasi(path, reduced, reduction, until, result)
        _tellurium(Path(folder), path, reduction, written, until, result)
        places = (f"{path.parent}/", f"{folder}/")
    for place in places:  # a page of the project names no folder of one machine
        result.remarks = [remark.replace(place, "") for remark in result.remarks]
    return result


TOOLS: dict[str, Analyse] = {
    "Tellurium": roadrunner_analysis(moieties=False),
    "Tellurium, `conservedMoietyAnalysis`": roadrunner_analysis(moieties=True),
    "COPASI": copasi_analysis,
}


def analyse(path: Path, reduction: ReducedSystem, until: float) -> Iterator[tuple[str, Comparison]]:
    """Steady state and control coefficients of one model, tool by tool."""
    written = written_as_sbml(reduction)
    assert written.read_back is not None
    original = prepare_bytes(path.read_bytes(), file=path.name).decode()
    reduced, system = written.data.decode(), written.read_back.required()
    for name, tool in reversed(TOOLS.items()):  # libRoadRunner ends the process on some models without reactions
        with quiet():
            found = compare_analyses(reduction, original, reduced, system, until, tool)
        yield name, found


def form_of(data: bytes) -> str:
    """``reactions``, ``rate rules``, or ``both``; a rule of 0 for a state at rest does not count."""
    model = libsbml.readSBMLFromString(data.decode()).getModel()
    rules = [model.getRule(i) for i in range(model.getNumRules()) if model.getRule(i).isRate()]
    moving = [rule for rule in rules if libsbml.formulaToL3String(rule.getMath()) != "0"]
    if model.getNumReactions():
        return "both" if moving else "reactions"
    return "rate rules" if moving else "reactions"


def warnings_of(document: Any) -> Counter[int]:
    """Errors and warnings of libSBML's full check, units included, by their numbers."""
    document.checkConsistency()
    return Counter(document.getError(i).getErrorId() for i in range(document.getNumErrors()))


def _consistency(path: Path, reduction: ReducedSystem, data: bytes, result: Result) -> None:
    document = libsbml.readSBMLFromString(data.decode())
    found = warnings_of(document)
    result.errors = document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) + document.getNumErrors(libsbml.LIBSBML_SEV_FATAL)
    # what the original says in its own level, and what it would say in the level of the reduced model
    known = set(warnings_of(libsbml.readSBMLFromFile(str(path))))
    known |= set(warnings_of(libsbml.readSBMLFromString(write_system(reduction.original).decode())))
    if known & _MISSING_UNITS:
        known |= _MISSING_UNITS
    result.new_warnings = {number: count for number, count in found.items() if number not in known}


def _against_original(
    path: Path, reduced: Path, reduction: ReducedSystem, written: WrittenOutput, result: Result
) -> float | None:
    names = [one.id for one in reduction.observables]
    definitions = definitions_of(reduction.original, reduction.observables)
    try:
        report = compare_simulated(path, reduced, observables=names, definitions=definitions)
    except SbmlumpError as error:
        result.remarks.append(_without_roadrunner(path, reduced, reduction, error))
        return None
    result.error = report.max_relative_error
    if not result.error <= 1e-6:
        try:
            result.self_error = _self_error(path, names, report.until)
        except SbmlumpError as error:
            result.remarks.append(f"the original does not run at tighter tolerances: {error}")
        options = reduce_options(until=report.until)
        _, reasons = simulate_reduction(simulated_file(path), written, reduction, options, limits=None)
        result.explained = next((one.code for one in reasons if one.code == "sensitive-model"), None)
    return report.until


def _without_roadrunner(path: Path, reduced: Path, reduction: ReducedSystem, error: SbmlumpError) -> str:
    """Whether the original runs in libRoadRunner at all, and what COPASI makes of the two."""
    said = f"not simulated: {error}"
    try:
        simulator_named("roadrunner").load(path).run({}, 1.0, 2)
    except SbmlumpError as own:
        said = f"libRoadRunner does not run the original: {own}"
    names = [one.id for one in reduction.observables]
    definitions = definitions_of(reduction.original, reduction.observables)
    try:
        report = compare_simulated(path, reduced, observables=names, definitions=definitions, simulator="copasi")
    except SbmlumpError as other:
        return f"{said} Nor does COPASI: {other}"
    return f"{said} In COPASI, original and reduced differ by {report.max_relative_error:.1e}."


def _self_error(path: Path, names: list[str], until: float) -> float:
    """The original against itself at tighter tolerances."""
    model = simulator_named("roadrunner").load(path)
    selections = simulated_file(path).index.selections(names)
    return _difference(model.run(selections, until, 201).values, model.run(selections, until, 201, TIGHTER).values)


def _difference(first: Any, second: Any) -> float:
    worst = 0.0
    for name, one in first.items():
        scale = max(float(np.abs(one).max()), 1e-300)
        worst = max(worst, float(np.abs(one - second[name]).max()) / scale)
    return worst


def _against_copasi(path: Path, reduced: Path, reduction: ReducedSystem, until: float | None, result: Result) -> None:
    if until is None:
        return
    names = [one.id for one in reduction.observables]
    try:
        result.copasi = _apart(reduced, names, until, PRECISE)
        if not result.copasi <= AGREEMENT:
            result.copasi_tight = _apart(reduced, names, until, TIGHTER)
            result.original_copasi_tight = _apart(path, names, until, TIGHTER)
    except SbmlumpError as error:
        result.remarks.append(f"COPASI: {error}{_copasi_alone(path, until)}")


def _copasi_alone(path: Path, until: float) -> str:
    """Whether COPASI runs the original."""
    try:
        simulator_named("copasi").load(path).run({}, until, 201)
    except SbmlumpError as error:
        return f" So it is with the original: {error}"
    return " It runs the original."


def _apart(file: Path, names: list[str], until: float, tolerances: Tolerances) -> float:
    """libRoadRunner against COPASI on one file."""
    model = simulated_file(file)
    selections = model.index.selections(names)
    engines = (simulator_named(name) for name in ("roadrunner", "copasi"))
    runs = [engine.load(model).run(selections, until, 201, tolerances) for engine in engines]
    return _difference(runs[0].values, runs[1].values)


def biosimulators() -> str | None:
    """A Python that has biosimulators-utils: this one, or the one that SBMLUMP_BIOSIMULATORS names.

    Its 0.2.3 needs ``setuptools<80``, so it may live in an environment of its own.
    """
    named = os.environ.get("SBMLUMP_BIOSIMULATORS")
    if named:
        return named
    return sys.executable if importlib.util.find_spec("biosimulators_utils") is not None else None


_VALIDATE = """
import json, sys, tempfile, warnings
warnings.simplefilter("ignore")
from biosimulators_utils.combine.data_model import CombineArchiveContentFormat as Format
from biosimulators_utils.combine.io import CombineArchiveReader
from biosimulators_utils.combine.validation import validate
from biosimulators_utils.config import Config
found = {}
for path in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as folder:
        archive = CombineArchiveReader().run(path, folder)
        formats = [Format.SED_ML, Format.SBML, Format.OMEX_METADATA]
        found[path] = validate(archive, folder, formats_to_validate=formats, config=Config())[0]
print(json.dumps(found))
"""


def faults_of_archives(files: Sequence[Path]) -> dict[str, list[Any]]:
    """What biosimulators-utils finds wrong in each archive: the experiment, its models, and the metadata."""
    python = biosimulators()
    assert python is not None
    command = [python, "-W", "ignore", "-c", _VALIDATE, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=3600, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    found: dict[str, list[Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _with_copasi(archive: Path, written: WrittenOutput, result: Result) -> None:
    """Which model of an archive COPASI opens."""
    import COPASI

    assert written.read_back is not None
    model = COPASI.CRootContainer.addDatamodel()
    opened = model.openCombineArchive(str(archive))
    found = model.getModel()
    ids = {found.getMetabolite(i).getSBMLId() for i in range(found.getNumMetabs())} if opened else set()
    quantities = written.read_back.required().quantities.values()
    result.copasi_opens = opened and ids == {one.id for one in quantities if one.kind == "species"}
    COPASI.CRootContainer.removeDatamodel(model)


def validate_archives(results: Sequence[Result]) -> None:
    """What BioSimulators finds in the archives, all at once: it takes seconds to start."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for index, result in enumerate(results):
            if result.archive is not None:
                files[str(Path(folder) / f"{index}.omex")] = result
        for name, result in files.items():
            Path(name).write_bytes(result.archive or b"")
        for name, faults in faults_of_archives([Path(name) for name in files]).items():
            text = " ".join(" ".join(_words(faults)).split())
            files[name].biosimulators = not faults
            files[name].original_is_at_fault = "Model `original` is invalid" in text
            if faults:
                files[name].remarks.append(f"BioSimulators: {shorten(text, 300, placeholder=' …')}")


def _words(nested: Any) -> Iterator[str]:
    """All texts in nested lists."""
    if isinstance(nested, str):
        yield nested
    else:
        for one in nested:
            yield from _words(one)


def _tellurium(
    folder: Path, path: Path, reduction: ReducedSystem, written: WrittenOutput, until: float | None, result: Result
) -> None:
    with quiet():
        import tellurium
        from tellurium.sedml.tesedml import executeCombineArchive

        try:
            tellurium.loadSBMLModel(written.data.decode())
            result.tellurium = True
        except RuntimeError as error:
            result.tellurium = False
            result.remarks.append(f"Tellurium: {error}")
        try:
            text = written_reduction(reduction, ".ant", written).data.decode()
            tellurium.loada(text)
            result.antimony = True
        except (RuntimeError, SbmlumpError) as error:
            result.antimony = False
            result.remarks.append(f"Antimony: {shorten(str(error), 300, placeholder=' …')}")
        archive = folder / "reduction.omex"
        work = folder / "work"
        work.mkdir()
        try:
            content = written_reduction(reduction, ".omex", written, original=path.read_bytes(), until=until).data
            archive.write_bytes(content)
            result.archive = content
            _with_copasi(archive, written, result)
            if until is None:
                return
            read_back(content)
            out = executeCombineArchive(str(archive), workingDir=str(work), createOutputs=False, saveOutputs=False)
            columns = next(iter(out.values()))["dataGenerators"]
            result.omex = len(columns) >= 4 and all(len(np.asarray(one)) == 201 for one in columns.values())
        except (RuntimeError, SbmlumpError, OSError, StopIteration, KeyError) as error:
            result.omex = False
            alone = _alone(path, until)
            result.remarks.append(
                f"archive: {type(error).__name__} {shorten(str(error), 300, placeholder=' …')}{alone}"
            )


_ALONE = """
import sys
import tellurium
runner = tellurium.loadSBMLModel(sys.argv[1])
runner.resetAll()
for name, value in (("relative_tolerance", 1e-10), ("absolute_tolerance", 1e-12), ("maximum_num_steps", 20_000)):
    runner.integrator.setValue(name, value)
runner.simulate(start=0.0, end=float(sys.argv[2]), steps=200)
"""


def _alone(path: Path, until: float) -> str:
    """Whether Tellurium runs the original by itself, set as in the archive, in a process of its own."""
    command = [sys.executable, "-c", _ALONE, str(path), repr(until)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    if done.returncode == 0:
        return "; the original by itself runs"
    causes = [line for line in done.stderr.splitlines() if line.startswith("RuntimeError")]
    return f"; the original by itself ends so too: {' '.join(causes)[:100]}"


def preload() -> None:
    """Import the large libraries in a process whose children are to have them."""
    with quiet():
        for name in ("basico", "tellurium", "tellurium.sedml.tesedml"):
            importlib.import_module(name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what libraries print."""
    import matplotlib

    matplotlib.use("Agg")
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
