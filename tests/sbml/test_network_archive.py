"""COMBINE archives of reductions: read by other libraries, run by Tellurium."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from network_models import saved, twin_chains

import sbmlump
from sbmlump.outputs import bytes_of_system, sbml_of
from sbmlump.reduced import ReducedSystem
from sbmlump.sbml.archive import read_back, reduction_archive
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


def test_libraries_of_the_field_read_it(path: Path, reduction: ReducedSystem) -> None:
    pytest.importorskip("libcombine")
    pytest.importorskip("libsedml")
    found = read_back(archive_of(path, reduction))
    assert found["./experiment.sedml"].endswith("sed-ml.level-1.version-4")
    assert found["./reduced.xml"].endswith("sbml.level-3.version-2")
    single = read_back(bytes_of_system(reduction.original, ".omex"))
    assert "./model.xml" in single


def test_tellurium_runs_it(path: Path, reduction: ReducedSystem, tmp_path: Path) -> None:
    pytest.importorskip("tellurium")
    import matplotlib as mpl

    mpl.use("Agg")
    from tellurium.sedml.tesedml import executeCombineArchive

    file = tmp_path / "reduction.omex"
    file.write_bytes(archive_of(path, reduction))
    (tmp_path / "work").mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        out = executeCombineArchive(str(file), workingDir=str(tmp_path / "work"), createOutputs=False, saveOutputs=False)
    columns = {name: np.asarray(v).ravel() for name, v in next(iter(out.values()))["dataGenerators"].items()}
    assert len(columns["time_original"]) == 51
    assert columns["time_reduced"][-1] == 20
    for original, reduced in (("data_0", "data_1"), ("data_2", "data_3")):
        assert columns[original][-1] > 1
        assert columns[reduced] == pytest.approx(columns[original], rel=1e-7)


def test_models_are_read_with_the_other_libraries_in_the_process(path: Path) -> None:
    """libSEDML brings a class ASTNode of its own, which SWIG then hands out for libSBML's nodes."""
    pytest.importorskip("libsedml")
    assert sbmlump.load(path).size == 5
    assert sbmlump.load(saved(path.parent, bytes_of_system(sbmlump.load(path), ".xml").decode(), "again.xml")).size == 5


def test_targets_are_elements_of_the_model_only(path: Path) -> None:
    targets = targets_of(path.read_bytes())
    assert (targets.level, targets.version) == (3, 2)
    assert targets.paths["k"].endswith("sbml:listOfParameters/sbml:parameter[@id='k']")
    assert targets.paths["r1"].endswith("sbml:reaction[@id='r1']")
    assert set(targets.paths) == {"cell", "A1", "A2", "B1", "B2", "C", "k", "v", "K", "r1", "r2", "s1", "s2"}
