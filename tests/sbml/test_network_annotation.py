"""What a reduced model says of its lumps, and original quantities that are put back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import libsbml
import pytest
from network_models import saved, sbml_model, twin_chains

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import UsageError
from sbmlump.examples import network_from_reactions
from sbmlump.jobs import sbml_of
from sbmlump.methods import reconstruct
from sbmlump.model import ExactProof, ReducedSystem
from sbmlump.proof import verify
from sbmlump.sbml import derived_from, load_sbml, read_lumping_annotation, resources_of, write_system

SCHEMA = Path(__file__).parents[2] / "docs" / "annotation.xsd"
MODEL = "http://biomodels.net/model-qualifiers/"


@pytest.fixture
def reduction(tmp_path: Path) -> ReducedSystem:
    return sbmlump.reduce(sbmlump.load(saved(tmp_path, twin_chains(annotated=True))), ["C"])


def document_of(data: bytes) -> Any:
    document = libsbml.readSBMLFromString(data.decode())
    document.checkConsistency()
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) == 0
    return document


def test_a_lump_has_its_members_as_parts(reduction: ReducedSystem) -> None:
    document = document_of(sbml_of(reduction))
    pool = document.getModel().getSpecies("pool_A1_A2")
    term = pool.getCVTerm(0)
    assert term.getBiologicalQualifierType() == libsbml.BQB_HAS_PART
    assert [term.getResourceURI(i) for i in range(term.getNumResources())] == [
        "http://identifiers.org/uniprot/A1",
        "http://identifiers.org/uniprot/A2",
    ]
    assert document.getModel().getSpecies("C").getCVTerm(0).getBiologicalQualifierType() == libsbml.BQB_IS


def test_groups_of_lumps_are_written_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, plain, grouped = saved(tmp_path, twin_chains()), tmp_path / "plain.xml", tmp_path / "grouped.xml"
    for out, options in ((plain, []), (grouped, ["--groups"])):
        assert run(["reduce", str(path), "--observe", "C", "--no-check", "-o", str(out), *options]) == 0
    capsys.readouterr()
    assert b"groups" not in plain.read_bytes()
    assert document_of(grouped.read_bytes()).getModel().getPlugin("groups").getNumGroups() == 1
    # what the groups say is in the annotation in any case
    first, second = (read_lumping_annotation(out.read_bytes()) for out in (plain, grouped))
    assert first is not None
    assert first == second
    assert {"pool_A1_A2": {"A1": 1, "A2": 1}}.items() <= {one.id: one.members for one in first.lumps}.items()


def test_steady_states_by_conserved_moieties(data: Path) -> None:
    """LibRoadRunner's converter takes no SBML package: what is written by itself needs none."""
    roadrunner = pytest.importorskip("roadrunner", reason="libRoadRunner is not installed")
    path = data / "multisite_2.xml"
    reduction = sbmlump.reduce(sbmlump.load(path), ["kinase", "phosphatase"])
    found = []
    for text in (path.read_text(), sbml_of(reduction).decode()):
        runner = roadrunner.RoadRunner(text)
        runner.conservedMoietyAnalysis = True
        assert runner.steadyState() < 1e-6
        assert runner.getReducedStoichiometryMatrix().shape[0] < runner.getFullStoichiometryMatrix().shape[0]
        found.append([runner.getValue("[kinase]"), runner.getValue("[phosphatase]")])
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_lumps_are_a_group_that_other_tools_may_leave_aside(reduction: ReducedSystem) -> None:
    document = document_of(sbml_of(reduction, groups=True))
    assert document.getPackageRequired("groups") is False
    groups = document.getModel().getPlugin("groups")
    members = groups.getGroup(0)
    assert groups.getNumGroups() == 1
    assert [members.getMember(i).getIdRef() for i in range(members.getNumMembers())] == ["pool_A1_A2", "pool_B1_B2"]


def test_parts_that_are_observed_form_a_group(tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    whole = sbmlump.reduce(sbmlump.load(path), ["C", "A1 + A2", "A1"])
    document = document_of(sbml_of(whole, groups=True))
    lumps = {lump.id: set(lump.members) for lump in whole.lumps if not lump.is_single}
    groups = document.getModel().getPlugin("groups")
    for i in range(1, groups.getNumGroups()):
        group = groups.getGroup(i)
        assert group.getKindAsString() == "partonomy"
        owner = group.getIdAttribute().removeprefix("sbmlump_parts_")
        assert {group.getMember(k).getIdRef() for k in range(group.getNumMembers())} <= lumps[owner]


def test_a_model_without_lumps_needs_no_package(tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    single = sbmlump.reduce(sbmlump.load(path), ["A1"])
    assert b"groups" not in sbml_of(single, groups=True)


def test_annotation_follows_its_schema(reduction: ReducedSystem) -> None:
    etree = pytest.importorskip("lxml.etree")
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    (element,) = etree.fromstring(sbml_of(reduction)).iter("{https://sbmlump.github.io/ns/1}lumping")
    assert schema.validate(element), schema.error_log
    element[0].set("unheard", "of")
    assert not schema.validate(element)


def test_the_entry_of_biomodels_is_named_once() -> None:
    made = derived_from(None, "m0", "BIOMD0000000012")
    assert made is not None
    assert resources_of(made, MODEL, ["isDerivedFrom"]) == ["https://identifiers.org/biomodels.db:BIOMD0000000012"]
    assert derived_from(made, "m0", "BIOMD0000000012") == made
    assert derived_from(None, "m0", "my_model") is None


def test_the_entry_joins_the_description_of_the_model() -> None:
    given = (
        '<annotation><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:q="{MODEL}"><r:Description r:about="#m0"><q:isDescribedBy><r:Bag><r:li r:resource="urn:paper"/></r:Bag>'
        "</q:isDescribedBy></r:Description></r:RDF></annotation>"
    )
    made = derived_from(given, "m0", "MODEL1234567890")
    assert made is not None
    assert resources_of(made, MODEL, ["isDescribedBy"]) == ["urn:paper"]
    assert resources_of(made, MODEL, ["isDerivedFrom"]) == ["https://identifiers.org/biomodels.db:MODEL1234567890"]
    assert made.count("Description r:about") == 1


def test_same_model_same_bytes(reduction: ReducedSystem) -> None:
    assert sbml_of(reduction) == sbml_of(reduction)


def test_reconstruction_of_what_the_lumps_determine(tmp_path: Path) -> None:
    reactions = {"a": ({"X1": 1}, {"Y": 1}, "cell * k * X1"), "b": ({"X2": 1}, {"Y": 1}, "cell * k * X2")}
    path = saved(tmp_path, sbml_model({"X1": 2, "X2": 2, "Y": 0}, reactions, {"k": 0.5}))
    whole = sbmlump.reduce(sbmlump.load(path), ["Y"], "backward-equivalence")
    (gone,) = {"X1", "X2"} - set(whole.system.states)
    (kept,) = {"X1", "X2"} & set(whole.system.states)
    for made in (reconstruct(whole, gone), reconstruct(whole, "all")):
        out = tmp_path / "reduced.xml"
        out.write_bytes(sbml_of(made))
        assert isinstance(verify(path, out), ExactProof)
        again = load_sbml(out)
        assert again.definitions[gone] == again.graph.symbol(kept)
        assert again.quantities[gone].kind == "species"


def test_a_flux_that_is_a_function_of_the_lumps_is_reconstructed(tmp_path: Path) -> None:
    reactions = {"a": ({"S": 1}, {"P": 1}, "cell * k * S"), "b": ({"P": 1}, {"W": 1}, "cell * k * P")}
    path = saved(tmp_path, sbml_model({"S": 2, "P": 1, "W": 0}, reactions, {"k": 0.5}))
    whole = sbmlump.reduce(sbmlump.load(path), ["P"])
    made = reconstruct(whole, "b")
    assert [one.id for one in made.system.assigned] == ["b"]
    with pytest.raises(UsageError, match="W is no function"):
        reconstruct(whole, "W")


def test_all_means_all_that_are_determined(reduction: ReducedSystem) -> None:
    made = reconstruct(reduction, "all")
    assert {one.id for one in made.system.assigned} == {one.id for one in reduction.system.assigned}
    with pytest.raises(UsageError, match="A1 is no function of the lumps"):
        reconstruct(reduction, "A1")
    with pytest.raises(UsageError, match="no quantity"):
        reconstruct(reduction, ["nonsense"])


def test_a_parameter_without_value_that_nothing_needs_is_left_out(tmp_path: Path) -> None:
    text = sbml_model(
        {"A": 1, "B": 1}, {"r": ({"A": 1}, {}, "cell * k * A"), "s": ({}, {"B": 1}, "cell * k")}, {"k": 1}
    )
    text = text.replace("</listOfParameters>", '<parameter id="unset" constant="true"/></listOfParameters>')
    reduction = sbmlump.reduce(sbmlump.load(saved(tmp_path, text)), ["A"])
    assert any(constant.id == "unset" for constant in reduction.system.constants)
    assert b'"unset"' not in sbml_of(reduction)


def test_notebooks_show_the_lumps(reduction: ReducedSystem) -> None:
    text = reduction._repr_html_()
    assert "5 states became 3" in text
    assert "A1 + A2" in text
    named = replace(reduction, original=replace(reduction.original, name="<b>"))
    assert "&lt;b&gt;" in named._repr_html_()


@pytest.mark.parametrize(
    "method",
    [
        "exact",
        "exact+conservation",
        "conservation+exact",
        "forward-equivalence+conservation",
        "backward-equivalence+exact",
        "exact+forward-equivalence",
    ],
)
@pytest.mark.parametrize("observed", ["A", "B", "S + E"])
def test_what_a_chain_reconstructs_is_what_it_is_in_the_original(method: str, observed: str, tmp_path: Path) -> None:
    reactions = [
        ("A -> B", Fraction(3, 10)),
        ("B -> A", Fraction(1, 5)),
        ("A -> A + C", Fraction(1, 10)),  # C only looks on
        ("S + E -> SE", 2),
        ("SE -> S + E", 1),
        ("SE -> E + P", Fraction(1, 2)),
        ("P -> S", Fraction(1, 4)),
    ]
    start = {"A": 2, "B": 1, "C": Fraction(1, 2), "S": 3, "E": 1, "SE": 0, "P": 0}
    system = network_from_reactions(reactions, initial=start)
    whole = sbmlump.reduce(system, [observed], method=method, reconstruct="all")
    original, file = tmp_path / "original.xml", tmp_path / "reduced.xml"
    original.write_bytes(write_system(system))
    whole.write(file)
    assert isinstance(sbmlump.verify(original, file), sbmlump.ExactProof)
    report = sbmlump.compare(original, file, until=10.0)
    assert report.max_relative_error < 1e-6


def test_a_state_that_a_chain_drops_is_not_reconstructed() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 2), ("A -> A + C", 1)], initial={"A": 2, "B": 0, "C": 1})
    for method in ("exact", "exact+conservation"):
        with pytest.raises(UsageError, match="C is no function of the lumps"):
            sbmlump.reduce(system, ["A"], method=method, reconstruct="C")
