"""What is written is the system that was to be written: values, numbers of any size, stoichiometries, events."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import libsbml
import pytest
import roadrunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sbml.read_models import (
    assignment,
    compartment,
    listed,
    math,
    parameter,
    reaction,
    rule,
    sbml,
    species,
    system_of,
)

import sbmlump
from sbmlump import OdeSystem, SbmlumpError
from sbmlump.model import Assigned, Constant, Graph, Participant, Quantity, Reaction, differences
from sbmlump.sbml import parse_sbml, write_system


def written(folder: Path, text: str) -> tuple[OdeSystem, bytes]:
    system = system_of(folder, text)
    return system, write_system(system)


def values_of(tree: libsbml.ASTNode) -> float:
    """A tree of numbers as a program that knows doubles only evaluates it."""
    kind = tree.getType()
    if kind == libsbml.AST_INTEGER:
        return float(tree.getInteger())
    if kind in (libsbml.AST_REAL, libsbml.AST_REAL_E, libsbml.AST_RATIONAL):
        return float(tree.getReal())
    left, right = (values_of(tree.getChild(i)) for i in range(2))
    operators = {libsbml.AST_PLUS: left + right, libsbml.AST_TIMES: left * right}
    return operators[kind] if kind in operators else left / right


decimals = st.builds(
    lambda digits, exponent, sign: sign * Fraction(digits) * Fraction(10) ** (exponent - len(str(digits)) + 1),
    st.integers(1, 10**17 - 1),
    st.one_of(st.integers(-307, 307), st.integers(-307, -290), st.integers(290, 307)),
    st.sampled_from([1, -1]),
)


@settings(max_examples=150, deadline=None)
@given(decimals)
@example(Fraction("1.2345678901234567e-300"))
@example(Fraction("9.8765432109876543e-295"))
@example(Fraction("1.7976931348623157e308"))
@example(Fraction("2.2250738585072014e-308"))
@example(Fraction("12345678901234567e291"))
def test_a_decimal_is_read_exactly_and_evaluates_to_its_double(number: Fraction) -> None:
    graph = Graph()
    system = OdeSystem(graph, (), (), (), assigned=(Assigned("q", graph.number(number)),))
    data = write_system(system)
    again = parse_sbml(data)
    assert again.graph.number_of(again.assigned[0].value) == number
    document = libsbml.readSBMLFromString(data.decode())
    assert values_of(document.getModel().getRule(0).getMath()) == float(number)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**340), st.integers(1, 10**340))
@example(10**339 + 1, 3 * 10**339)
@example(1, 7**380)
def test_a_quotient_of_numbers_beyond_doubles_is_written_where_its_value_is_not(top: int, bottom: int) -> None:
    number = Fraction(top, bottom)
    graph = Graph()
    system = OdeSystem(graph, (), (), (), assigned=(Assigned("q", graph.number(number)),))
    try:
        double = float(number)
    except OverflowError:
        with pytest.raises(SbmlumpError, match="beyond the range of doubles"):
            write_system(system)
        return
    data = write_system(system)
    again = parse_sbml(data)
    assert again.graph.number_of(again.assigned[0].value) == number
    document = libsbml.readSBMLFromString(data.decode())
    assert values_of(document.getModel().getRule(0).getMath()) == pytest.approx(double, rel=1e-15, abs=1e-323)


def test_every_initial_assignment_has_the_number_beside_it(tmp_path: Path) -> None:
    parts = (
        listed("Compartments", compartment(size=None)),
        listed("Species", species("A", ""), species("B", "", amounts=True)),
        listed("Parameters", parameter("k", "3"), parameter("p", None)),
        "<listOfInitialAssignments>",
        assignment("c", "k + 1"),
        assignment("A", "p/k"),
        assignment("B", "exp(k)"),
        assignment("p", "k^2"),
        "</listOfInitialAssignments>",
        listed("Reactions", reaction("r", "A B", "", "k*A*B")),
    )
    system, data = written(tmp_path, sbml("".join(parts)))
    document = libsbml.readSBMLFromString(data.decode())
    model = document.getModel()
    assert model.getNumInitialAssignments() == 4
    assert model.getCompartment("c").getSize() == 4
    assert model.getSpecies("A").getInitialConcentration() == 3
    assert model.getSpecies("B").getInitialAmount() == pytest.approx(20.085536923187668)
    assert model.getParameter("p").getValue() == 9
    assert differences(system, parse_sbml(data)) == ()


def test_a_stoichiometry_by_rule_has_the_attribute_and_simulators_follow_it(tmp_path: Path) -> None:
    twice = (
        '<reaction id="r" reversible="false"><listOfReactants>'
        '<speciesReference species="A" stoichiometry="1" constant="true"/>'
        '<speciesReference id="n" species="A" constant="false"/></listOfReactants>'
        f"<kineticLaw>{math('c*k*A')}</kineticLaw></reaction>"
    )
    parts = (
        listed("Compartments", compartment()),
        listed("Species", species("A")),
        listed("Parameters", parameter("k", "0.5")),
        listed("Rules", rule("assignmentRule", "n", "k + 1.5")),
        listed("Reactions", twice),
    )
    system, data = written(tmp_path, sbml("".join(parts)))
    document = libsbml.readSBMLFromString(data.decode())
    assert document.getModel().getReaction("r").getReactant(1).getStoichiometry() == 2
    runner = roadrunner.RoadRunner(data.decode())
    end = runner.simulate(0, 1, 2, ["time", "[A]"])[-1, 1]
    assert end == pytest.approx(2.718281828459045**-1.5, rel=1e-5)
    assert system.rates(0.0, [1.0])[0] == pytest.approx(-1.5)


@pytest.mark.parametrize("local", ["n", "other"])
def test_a_level_2_stoichiometry_stays_whatever_a_local_parameter_is_called(tmp_path: Path, local: str) -> None:
    body = (
        '<listOfCompartments><compartment id="c" size="1"/></listOfCompartments>'
        '<listOfSpecies><species id="A" compartment="c" initialAmount="1"/></listOfSpecies>'
        '<listOfReactions><reaction id="r"><listOfProducts><speciesReference id="n" species="A"><stoichiometryMath>'
        f"{math('3*time')}</stoichiometryMath></speciesReference></listOfProducts>"
        f"<kineticLaw>{math(local)}<listOfParameters>"
        f'<parameter id="{local}" value="0.5"/></listOfParameters></kineticLaw></reaction></listOfReactions>'
    )
    system, data = written(tmp_path, sbml(body, level=2, version=4))
    assert system.rates(2.0, [0.0])[0] == 3
    assert parse_sbml(data).rates(2.0, [0.0])[0] == 3


def test_a_level_2_stoichiometry_that_mathematics_names_is_a_quantity(tmp_path: Path) -> None:
    body = (
        '<listOfCompartments><compartment id="c" size="1"/></listOfCompartments>'
        '<listOfSpecies><species id="A" compartment="c" initialAmount="1"/></listOfSpecies>'
        '<listOfReactions><reaction id="r"><listOfProducts><speciesReference id="n" species="A"><stoichiometryMath>'
        f"{math('3*time')}</stoichiometryMath></speciesReference></listOfProducts>"
        f"<kineticLaw>{math('2*n')}</kineticLaw></reaction></listOfReactions>"
    )
    system, data = written(tmp_path, sbml(body, level=2, version=4))
    assert system.rates(1.0, [0.0])[0] == 18
    assert parse_sbml(data).rates(1.0, [0.0])[0] == 18


def reference_of_two_minds() -> OdeSystem:
    """A species reference n whose id is a constant 2, in a reaction that says 1 + A of it."""
    graph = Graph()
    a = graph.symbol("A")
    flux = graph.mul((graph.number(3), a))
    several = graph.add((graph.number(1), a))
    return OdeSystem(
        graph,
        ("A",),
        (graph.number(1),),
        (graph.mul((several, flux)),),
        (Constant("n", graph.number(2)), Constant("cell", graph.number(1))),
        reactions=(Reaction("r", flux, (), (Participant("A", several, "n"),)),),
        quantities={
            "cell": Quantity("cell", "compartment", spatial_dimensions=3.0),
            "A": Quantity("A", "species", compartment="cell", amount=True),
            "n": Quantity("n", "species-reference"),
        },
    )


def test_what_is_read_back_as_another_model_is_not_written() -> None:
    with pytest.raises(SbmlumpError) as error:
        write_system(reference_of_two_minds())
    assert {reason.code for reason in error.value.reasons} == {"written-differs"}


def test_a_boundary_species_with_another_stoichiometry_is_noticed() -> None:
    base = reference_of_two_minds()
    fixed = replace(base.quantities["A"], boundary=True)
    still = replace(base, rhs=(base.graph.number(0),), quantities={**base.quantities, "A": fixed})
    with pytest.raises(SbmlumpError, match="reactants and products of r"):
        write_system(still)


def test_a_reduction_starts_where_it_started_whatever_the_size_is_set_to(tmp_path: Path) -> None:
    parts = (
        listed("Compartments", compartment(size="4")),
        listed(
            "Species", species("A", 'initialAmount="8"', amounts=True), species("B", 'initialAmount="0"', amounts=True)
        ),
        listed("Parameters", parameter("k")),
        listed("Reactions", reaction("r", "A", "B", "k*A")),
    )
    system = system_of(tmp_path, sbml("".join(parts)))
    path = tmp_path / "reduced.xml"
    sbmlump.reduce(system, ["A"]).write(path)
    resized = path.read_text().replace('size="4"', 'size="5"')
    path.write_text(resized)
    assert sbmlump.load(path).initial_state().tolist() == [8.0]
