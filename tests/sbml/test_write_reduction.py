"""A reduced model is a plain SBML model that says what it is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import libsbml
import pytest
import roadrunner
from sbml.write_models import chain, reduced_chain

from sbmlump.model import Constant, Event, Lump, ReducedSystem
from sbmlump.sbml import formula, load_sbml, write_reduction


def document_of(reduced: ReducedSystem) -> Any:
    document = libsbml.readSBMLFromString(write_reduction(reduced).decode())
    assert document.checkConsistency() >= 0
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) == 0
    return document


def test_states_are_states_again(tmp_path: Path) -> None:
    reduced = reduced_chain()
    (tmp_path / "r.xml").write_bytes(write_reduction(reduced))
    again = load_sbml(tmp_path / "r.xml")
    assert set(again.states) == {"T", "C"}
    order = [again.states.index(name) for name in ("T", "C")]
    rates = again.rates(0.0, [2.0, 5.0] if order == [0, 1] else [5.0, 2.0])
    assert [rates[i] for i in order] == pytest.approx([-4 / 3, 2.0], rel=1e-14)
    values = {name: again.graph.number_of(node) for name, node in zip(again.states, again.initial_values, strict=True)}
    assert values == {"T": Fraction(61, 6), "C": Fraction(3)}


def test_what_was_a_species_stays_one_and_lumps_are_parameters() -> None:
    document = document_of(reduced_chain())
    model = document.getModel()
    assert [model.getSpecies(i).getId() for i in range(model.getNumSpecies())] == ["C", "B"]
    assert not model.getSpecies("C").getBoundaryCondition()
    assert "somebody" in model.getSpecies("B").getAnnotationString()
    assert model.getParameter("T").getName() == "A - 2/3*B"
    assert not model.getParameter("T").getConstant()
    assert model.getAssignmentRuleByVariable("B") is not None
    assert model.getAssignmentRuleByVariable("half") is not None
    assert {model.getParameter(name).getConstant() for name in ("k1", "k2")} == {True}
    assert model.getParameter("k1").getUnits() == "per_second"


def test_resting_state_is_still_a_state(tmp_path: Path) -> None:
    reduced = reduced_chain()
    zero = reduced.system.graph.number(0)
    resting = replace(reduced, system=replace(reduced.system, rhs=(reduced.system.rhs[0], zero)))
    (tmp_path / "r.xml").write_bytes(write_reduction(resting))
    assert set(load_sbml(tmp_path / "r.xml").states) == {"T", "C"}


def test_compartment_of_a_species_comes_along() -> None:
    reduced = reduced_chain()
    few = tuple(c for c in reduced.system.constants if c.id != "cell")
    rhs = (reduced.system.rhs[0], reduced.system.rhs[0])
    model = (
        document := document_of(replace(reduced, system=replace(reduced.system, constants=few, rhs=rhs)))
    ).getModel()
    assert model.getCompartment("cell").getSize() == 1.5
    assert document is not None


def test_species_whose_compartment_is_gone_becomes_a_parameter() -> None:
    reduced = reduced_chain()
    original = reduced.original
    graph = original.graph
    growing = replace(
        original,
        states=(*original.states, "cell"),
        initial=(*original.initial, graph.number(1)),
        rhs=(*original.rhs, graph.number(1)),
        constants=original.constants[:2],
    )
    system = replace(
        reduced.system,
        constants=(*original.constants[:2], Constant("size", graph.number(1))),
        rhs=(reduced.system.rhs[0], reduced.system.rhs[0]),
    )
    document = document_of(replace(reduced, original=growing, system=system))
    assert document.getModel().getParameter("C") is not None
    assert document.getModel().getNumSpecies() == 0


def test_units_of_like_members_are_carried() -> None:
    reduced = reduced_chain()
    quantities = dict(reduced.original.quantities)
    for name in ("A", "B"):
        quantities[name] = replace(quantities[name], amount=True, units="mole")
    original = replace(reduced.original, quantities=quantities)
    lumps = (Lump("T", {"A": Fraction(1), "B": Fraction(2)}), reduced.lumps[1])
    document = document_of(replace(reduced, original=original, lumps=lumps))
    assert document.getModel().getParameter("T").getUnits() == "mole"
    document = document_of(replace(reduced, original=original))  # two thirds of a mole are no mole
    assert not document.getModel().getParameter("T").isSetUnits()
    document = document_of(replace(reduced, lumps=lumps))  # concentrations
    assert not document.getModel().getParameter("T").isSetUnits()


def test_notes_are_for_people_and_valid() -> None:
    notes = document_of(reduced_chain()).getModel().getNotesString()
    assert "4 states became 2" in notes
    assert "T = A - 2/3*B" in notes
    assert "half = 1/2*A &amp; more" in notes
    assert "From a paper." in notes
    assert "folder" not in notes


@pytest.mark.parametrize(
    "notes",
    [
        '<notes><h:body xmlns:h="http://www.w3.org/1999/xhtml"><h:p>From a paper.</h:p></h:body></notes>',
        '<notes><html xmlns="http://www.w3.org/1999/xhtml"><head/><body><p>From a paper.</p></body></html></notes>',
        '<notes><html xmlns="http://www.w3.org/1999/xhtml"><p>From a paper.</p></html></notes>',
        '<notes><h:html xmlns:h="http://www.w3.org/1999/xhtml"><h:body>From a paper.</h:body></h:html></notes>',
        '<notes><body xmlns="http://www.w3.org/1999/xhtml"/><p>From a paper.</p></notes>',
        "<notes><p>From a paper.</p></notes>",
    ],
)
def test_notes_of_any_shape_follow(notes: str) -> None:
    reduced = reduced_chain()
    origin = replace(reduced.original.origin, notes=notes)
    text = document_of(replace(reduced, original=replace(reduced.original, origin=origin))).getModel().getNotesString()
    assert text.index("states became") < text.index("From a paper.")


def test_the_original_is_no_longer_this_model() -> None:
    rdf = (
        '<annotation><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:q="http://biomodels.net/model-qualifiers/"><rdf:Description rdf:about="#m0"><q:is><rdf:Bag>'
        '<rdf:li rdf:resource="http://example.org/M1"/></rdf:Bag></q:is></rdf:Description></rdf:RDF></annotation>'
    )
    reduced = reduced_chain()
    origin = replace(reduced.original.origin, annotation=rdf, metaid="m0")
    text = write_reduction(replace(reduced, original=replace(reduced.original, origin=origin))).decode()
    assert "<q:isDerivedFrom>" in text
    assert "<q:is>" not in text


def test_event_of_a_reduced_model_is_written() -> None:
    reduced = reduced_chain()
    graph = reduced.system.graph
    event = Event(graph.call("gt", (graph.time(), graph.number(1))), (("T", graph.number(3)),), id="kick")
    data = write_reduction(replace(reduced, system=replace(reduced.system, events=(event,))))
    runner = roadrunner.RoadRunner(data.decode())
    runner.timeCourseSelections = ["time", "T"]
    assert runner.simulate(0, 1.0001, 2)[-1][1] == pytest.approx(3, rel=1e-3)


def test_reduced_model_runs_and_same_input_gives_same_bytes() -> None:
    data = write_reduction(reduced_chain())
    assert data == write_reduction(reduced_chain())
    runner = roadrunner.RoadRunner(data.decode())
    runner.timeCourseSelections = ["T", "half", "[B]"]
    start = runner.simulate(0, 1, 3)[0]
    assert list(start) == pytest.approx([61 / 6, 61 / 12, 61 / 6])
    assert chain().size == 4


def test_formula_reads_like_one() -> None:
    assert formula({"A": Fraction(1), "B": Fraction(-2, 3), "C": Fraction(5)}) == "A - 2/3*B + 5*C"
    assert formula({"A": Fraction(-1), "B": Fraction(-1)}) == "-A - B"
    assert formula({f"x{i}": Fraction(1) for i in range(40)}, 2) == "x0 + x1 + … (38 more)"
    assert formula({}) == "0"
    assert formula({"A": Fraction(10**40 + 1)}) == "(about 1e+40)*A"
