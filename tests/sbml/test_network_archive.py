"""COMBINE archives of reductions: read by other libraries, run by Tellurium."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from network_models import saved, twin_chains

import sbmlump
from sbmlump.jobs import sbml_of, written_system
from sbmlump.model import ReducedSystem
from sbmlump.sbml import reduction_archive, targets_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path, twin_chains())


@pytest.fixture
def reduction(path: Path) -> ReducedSystem:
    return sbmlump.reduce(sbmlump.load(path), ["C", "twice = B1 + B2 + 2*C"])


def archive_of(path: Path, reduction: ReducedSystem) -> bytes:
    return reduction_archive(reduction, path.read_bytes(), sbml_of(reduction), until=20.0, points=51)


def test_archive_holds_both_models_and_is_the_same_every_time(path: Path, reduction: ReducedSystem) -> None:
    data = archive_of(path, reduction)
    assert data == archive_of(path, reduction)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            "manifest.xml",
            "metadata.rdf",
            "experiment.sedml",
            "original.xml",
            "reduced.xml",
        }
        assert archive.read("original.xml") == path.read_bytes()
        assert archive.read("reduced.xml") == sbml_of(reduction)
        assert "5 states became 3" in archive.read("metadata.rdf").decode()


def in_child(code: str, *arguments: Path) -> str:
    """What a script prints; libSEDML changes what SWIG hands out for libSBML's nodes, so it stays in a child."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def needs(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


READ = """
import json, sys
from pathlib import Path
from sbmlump.sbml.archive import read_back
print(json.dumps(read_back(Path(sys.argv[1]).read_bytes())))
"""
RUN = """
import json, sys
import matplotlib
matplotlib.use("Agg")
import numpy
from tellurium.sedml.tesedml import executeCombineArchive
out = executeCombineArchive(sys.argv[1], workingDir=sys.argv[2], createOutputs=False, saveOutputs=False)
columns = next(iter(out.values()))["dataGenerators"]
print(json.dumps({name: numpy.asarray(one).ravel().tolist() for name, one in columns.items()}))
"""
BOTH = """
import sys
import sbmlump, sbmlump.sbml.read.load, libsedml
from sbmlump.jobs import written_system
system = sbmlump.load(sys.argv[1])
written_system(system, ".xml")
print(system.size)
"""


def test_libraries_of_the_field_read_it(path: Path, reduction: ReducedSystem, tmp_path: Path) -> None:
    needs("libcombine", "libsedml")
    file, other = tmp_path / "reduction.omex", tmp_path / "model.omex"
    file.write_bytes(archive_of(path, reduction))
    other.write_bytes(written_system(reduction.original, ".omex").data)
    found = json.loads(in_child(READ, file))
    assert found["./experiment.sedml"].endswith("sed-ml.level-1.version-4")
    assert found["./reduced.xml"].endswith("sbml.level-3.version-2")
    assert "./model.xml" in json.loads(in_child(READ, other))


def test_tellurium_runs_it(path: Path, reduction: ReducedSystem, tmp_path: Path) -> None:
    needs("tellurium")
    file = tmp_path / "reduction.omex"
    file.write_bytes(archive_of(path, reduction))
    (tmp_path / "work").mkdir()
    columns = json.loads(in_child(RUN, file, tmp_path / "work"))
    assert len(columns["time_original"]) == 51
    assert columns["time_reduced"][-1] == 20
    for original, reduced in (("data_0", "data_1"), ("data_2", "data_3")):
        assert columns[original][-1] > 1
        assert columns[reduced] == pytest.approx(columns[original], rel=1e-7)


def test_models_are_read_with_the_other_libraries_in_the_process(path: Path) -> None:
    """libSEDML brings a class ASTNode of its own, which SWIG then hands out for libSBML's nodes."""
    needs("libsedml")
    assert in_child(BOTH, path) == "5"


def test_targets_are_elements_of_the_model_only(path: Path) -> None:
    targets = targets_of(path.read_bytes())
    assert (targets.level, targets.version) == (3, 2)
    assert targets.paths["k"].endswith("sbml:listOfParameters/sbml:parameter[@id='k']")
    assert targets.paths["r1"].endswith("sbml:reaction[@id='r1']")
    assert set(targets.paths) == {"cell", "A1", "A2", "B1", "B2", "C", "k", "v", "K", "r1", "r2", "s1", "s2"}


AMOUNTS = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="flask">
<listOfCompartments><compartment id="v" size="4" spatialDimensions="3" constant="true"/>
<compartment id="one" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="S" compartment="v" initialAmount="6" hasOnlySubstanceUnits="true" boundaryCondition="false"
constant="false"/>
<species id="P" compartment="v" initialAmount="8" hasOnlySubstanceUnits="false" boundaryCondition="false"
constant="false"/>
<species id="U" compartment="one" initialAmount="5" hasOnlySubstanceUnits="true" boundaryCondition="false"
constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="k" value="0.25" constant="true"/></listOfParameters>
<listOfReactions>{}</listOfReactions></model></sbml>"""
DECAY = """<reaction id="r{0}" reversible="false"><listOfReactants><speciesReference species="{0}" stoichiometry="1"
constant="true"/></listOfReactants><kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci>
<ci>{0}</ci></apply></math></kineticLaw></reaction>"""


def curves_of(data: bytes) -> dict[str, list[float]]:
    """The curves of an archive as a reader draws them to which the target of a species is its concentration."""
    roadrunner = importlib.import_module("roadrunner")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        root = ElementTree.fromstring(archive.read("experiment.sedml"))
        space = {"s": root.tag.partition("}")[0][1:], "m": "http://www.w3.org/1998/Math/MathML"}
        files = {one.get("id"): one.get("source") for one in root.iterfind(".//s:model", space)}
        runs = {name: roadrunner.RoadRunner(archive.read(file).decode()) for name, file in files.items()}
    curves = {}
    for generator in root.iterfind(".//s:dataGenerator", space):
        values = {}
        for variable in generator.iterfind(".//s:variable", space):
            target = variable.get("target")
            if target is None:
                continue
            runner = runs[variable.get("taskReference").removeprefix("run_")]
            name = re.search(r"@id='(\w+)'", target)[1]
            selection = f"[{name}]" if "listOfSpecies" in target else name
            runner.reset()
            values[variable.get("id")] = runner.simulate(0, 4, 3, [selection])[:, 0]
        if values:  # sums only, in what is tested here
            names = [one.text.strip() for one in generator.iterfind(".//m:ci", space)]
            curves[generator.get("name")] = list(sum(values[name] for name in names))
    return curves


def test_amounts_are_amounts_to_every_reader(tmp_path: Path) -> None:
    """6·exp(-t/4) of S, though its concentration is a quarter of that; P counts as a concentration to all."""
    text = AMOUNTS.format("".join(DECAY.format(name) for name in "SPU"))
    path = saved(tmp_path, text)
    fall = [math.exp(-0.25 * time) for time in (0, 2, 4)]
    thin = [math.exp(-0.25 / 4 * time) for time in (0, 2, 4)]
    drawn = curves_of(written_system(sbmlump.load(path), ".omex").data)
    assert drawn["S"] == pytest.approx([6 * one for one in fall], rel=1e-5)
    assert drawn["P"] == pytest.approx([2 * one for one in thin], rel=1e-5)
    assert drawn["U"] == pytest.approx([5 * one for one in fall], rel=1e-5)
    for observe in (["S"], ["both = S + P"], ["S", "U"]):
        reduction = sbmlump.reduce(sbmlump.load(path), observe)
        drawn = curves_of(reduction_archive(reduction, text.encode(), sbml_of(reduction)))
        names = [one.partition(" = ")[0] for one in observe]
        assert set(drawn) == {f"{name} ({which})" for name in names for which in ("original", "reduced")}
        for name in names:
            assert drawn[f"{name} (original)"] == pytest.approx(drawn[f"{name} (reduced)"], rel=1e-5)
    with zipfile.ZipFile(io.BytesIO(written_system(sbmlump.load(path), ".omex").data)) as archive:
        manifest = archive.read("manifest.xml").decode()
        assert all(f"./{name}" in manifest for name in archive.namelist())


def test_the_original_lies_in_the_archive_in_utf_8(tmp_path: Path) -> None:
    text = AMOUNTS.format(DECAY.format("P")).replace('id="flask"', 'id="flask" name="Flasche für α"')
    for data in (("\ufeff" + text).encode(), ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16")):
        path = tmp_path / "m.xml"
        path.write_bytes(data)
        reduction = sbmlump.reduce(sbmlump.load(path), ["P"])
        with zipfile.ZipFile(io.BytesIO(reduction_archive(reduction, data, sbml_of(reduction)))) as archive:
            assert "Flasche für α" in archive.read("original.xml").decode()
