"""Hierarchical models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sbml.read_models import codes_of, compartment, listed, parameter, reaction, read_text, sbml, species

from sbmlump.sbml import read_sbml

COMP = 'xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true"'
INNER = (
    listed("Compartments", compartment())
    + listed("Species", species("A", 'initialConcentration="3"'))
    + listed("Parameters", parameter("k", "2"))
    + listed("Reactions", reaction("r", "A", "", "c*k*A").replace("<reaction", '<reaction fast="false"'))
)


def hierarchy(definitions: str, submodels: str) -> str:
    """A document whose model holds submodels."""
    text = sbml(f"<comp:listOfSubmodels>{submodels}</comp:listOfSubmodels>", version=1, root=COMP)
    return text.replace("</sbml>", f"{definitions}</sbml>")


def definition(*models: tuple[str, str]) -> str:
    inside = "".join(f'<comp:modelDefinition id="{name}">{body}</comp:modelDefinition>' for name, body in models)
    return f"<comp:listOfModelDefinitions>{inside}</comp:listOfModelDefinitions>"


def external(source: str) -> str:
    one = f'<comp:externalModelDefinition comp:id="d" comp:source="{source}" comp:modelRef="inner"/>'
    return f"<comp:listOfExternalModelDefinitions>{one}</comp:listOfExternalModelDefinitions>"


def submodel(name: str, of: str) -> str:
    return f'<comp:submodel comp:id="{name}" comp:modelRef="{of}"/>'


def test_submodels_are_put_together(tmp_path: Path) -> None:
    text = hierarchy(definition(("d", INNER)), submodel("x", "d") + submodel("y", "d"))
    result = read_text(tmp_path, text)
    assert result.system is not None, result.reasons
    assert result.system.states == ("x__A", "y__A")
    assert result.system.rates(0.0, [3.0, 4.0]).tolist() == [-6.0, -8.0]
    assert result.id == "m"


def test_a_definition_from_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text(sbml(INNER, version=1, model='id="inner"'))
    result = read_text(tmp_path, hierarchy(external("other.xml"), submodel("x", "d")))
    assert result.system is not None, result.reasons
    assert result.system.states == ("x__A",)


@pytest.mark.parametrize(
    "source",
    ["../other.xml", "/tmp/other.xml", "https://example.org/o.xml", "file:///o.xml", "..", "none.xml", "sub/o.xml"],
)
def test_definitions_from_elsewhere_are_refused(tmp_path: Path, source: str) -> None:
    assert "comp-external" in codes_of(tmp_path, hierarchy(external(source), submodel("x", "d")))


def test_an_external_file_is_checked_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text('<!DOCTYPE sbml [<!ENTITY a "b">]>' + sbml(INNER).split("\n")[1])
    assert "comp-external" in codes_of(tmp_path, hierarchy(external("other.xml"), submodel("x", "d")))


@pytest.mark.parametrize(("folder", "file"), [(b"d", b"m\xff.xml"), (b"d\xff", b"m.xml"), (b"d #%20", b"m ?#.xml")])
def test_hierarchies_in_places_whose_names_are_no_text(tmp_path: Path, folder: bytes, file: bytes) -> None:
    place = tmp_path / os.fsdecode(folder)
    place.mkdir()
    (place / "other.xml").write_text(sbml(INNER, version=1, model='id="inner"'))
    path = place / os.fsdecode(file)
    path.write_text(hierarchy(definition(("d", INNER)), submodel("x", "d")))
    assert read_sbml(path).required().states == ("x__A",)
    path.write_text(hierarchy(external("other.xml"), submodel("x", "d")))
    found = read_sbml(path)
    if b"\xff" in folder:
        assert [one.code for one in found.reasons] == ["comp-external"]
        assert "rename the folder" in found.reasons[0].message
    else:
        assert found.required().states == ("x__A",)


def test_a_hierarchy_that_explodes_is_refused(tmp_path: Path) -> None:
    models = [("d0", INNER)]
    for i in range(1, 12):
        inside = "".join(submodel(f"s{j}", f"d{i - 1}") for j in range(10))
        models.append((f"d{i}", f"<comp:listOfSubmodels>{inside}</comp:listOfSubmodels>"))
    assert codes_of(tmp_path, hierarchy(definition(*models), submodel("x", "d11"))) == ["too-large"]


def test_a_submodel_of_itself_is_refused(tmp_path: Path) -> None:
    inside = f"<comp:listOfSubmodels>{submodel('s', 'd')}</comp:listOfSubmodels>"
    assert "comp-flattening" in codes_of(tmp_path, hierarchy(definition(("d", inside)), submodel("x", "d")))


def test_a_submodel_without_definition_is_refused(tmp_path: Path) -> None:
    assert "comp-flattening" in codes_of(tmp_path, hierarchy(definition(("d", INNER)), submodel("x", "nosuch")))
