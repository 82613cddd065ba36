"""COMBINE archives of reductions: read by other libraries, run by Tellurium."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from network_models import saved, twin_chains

import sbmlump
from sbmlump.outputs import sbml_of, written_system
from sbmlump.reduced import ReducedSystem
from sbmlump.sbml.archive import reduction_archive
from sbmlump.sbml.sedml import targets_of


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
import sbmlump, sbmlump.sbml.reader, libsedml
from sbmlump.outputs import written_system
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
