"""Species, compartments and reactions: what an id means, and what its rate is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sbml.read_models import (
    assignment,
    codes_of,
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

from sbmlump.model import OdeSystem, to_text


def model(*parts: str, where: str = "", **options: object) -> str:
    return sbml(listed("Compartments", where or compartment()) + "".join(parts), **options)  # type: ignore[arg-type]


def rate(system: OdeSystem, name: str, **values: float) -> float:
    """dx/dt of one state at the initial state with some values changed."""
    x = system.initial_state()
    for key, value in values.items():
        x[system.state_index[key]] = value
    return float(system.rates(0.0, x)[system.state_index[name]])


def test_a_concentration_changes_by_the_flux_over_the_size(tmp_path: Path) -> None:
    parts = listed("Species", species("A"), species("B")), listed("Reactions", reaction("r", "2*A", "B", "3*A"))
    system = system_of(tmp_path, model(*parts))
    assert system.states == ("A", "B")
    assert rate(system, "A", A=5.0) == -2 * 15 / 2
    assert rate(system, "B", A=5.0) == 15 / 2


def test_an_amount_changes_by_the_flux(tmp_path: Path) -> None:
    one = species("A", 'initialAmount="4"', amounts=True)
    system = system_of(tmp_path, model(listed("Species", one), listed("Reactions", reaction("r", "A", "", "3*A"))))
    assert system.initial_state()[0] == 4
    assert rate(system, "A") == -12
    assert system.quantities["A"].amount


@pytest.mark.parametrize(
    ("value", "amounts", "expected"),
    [
        ('initialConcentration="3"', False, 3.0),
        ('initialAmount="3"', False, 1.5),
        ('initialConcentration="3"', True, 6.0),
        ('initialAmount="3"', True, 3.0),
    ],
)
def test_initial_values_are_what_the_id_means(tmp_path: Path, value: str, amounts: bool, expected: float) -> None:
    parts = listed("Species", species("A", value, amounts=amounts)), listed("Reactions", reaction("r", "A", "", "A"))
    system = system_of(tmp_path, model(*parts))
    assert system.initial_state()[0] == expected
    assert system.quantities["A"].given_as_amount is ("Amount" in value)


def test_species_in_a_compartment_without_dimensions_are_amounts(tmp_path: Path) -> None:
    where = '<compartment id="c" spatialDimensions="0" constant="true"/>'
    parts = listed("Species", species("A", 'initialAmount="5"')), listed("Reactions", reaction("r", "A", "", "2*A"))
    system = system_of(tmp_path, model(*parts, where=where))
    assert system.quantities["A"].amount
    assert rate(system, "A") == -10


@pytest.mark.parametrize(
    ("level", "size", "more", "amount", "value"),
    [
        (3, "2", "", False, 2.5),
        (3, "1", "", False, 5.0),
        (3, None, listed("InitialAssignments", assignment("c", "4")), False, 1.25),
        (3, None, "", True, 5.0),
        (2, "2", "", True, 5.0),
        (2, None, "", True, 5.0),
    ],
)
def test_points_have_sizes_in_level_3_and_none_before(
    tmp_path: Path, level: int, size: str | None, more: str, amount: bool, value: float
) -> None:
    given = f'size="{size}"' if size is not None else ""
    where = f'<compartment id="c" spatialDimensions="0" {given} constant="true"/>'
    if level == 2:  # a size that is given is ignored there
        where = where.replace(given, "") if given else where
    parts = listed("Species", species("A", 'initialAmount="5"')) + more
    text = sbml(
        listed("Compartments", where) + parts + listed("Reactions", reaction("r", "A", "", "2*A")),
        level=level,
        version=4 if level == 2 else 2,
    )
    if level == 2:
        text = text.replace(' constant="true"/></listOfReactants>', "/></listOfReactants>")
    system = system_of(tmp_path, text)
    assert system.quantities["A"].amount is amount
    assert system.initial_state().tolist() == [value]
    divisor = 5.0 / value
    assert rate(system, "A") == pytest.approx(-2 * value / divisor)


def test_the_size_of_the_compartment_cancels(tmp_path: Path) -> None:
    reactions = (
        reaction("r1", "A", "B", "c*k*A"),
        reaction("r2", "B", "A", "c*(k*A - k*B)"),
        reaction("r3", "A", "", "k*A*c/(1+A)"),
    )
    kinds = listed("Species", species("A"), species("B")), listed("Parameters", parameter("k"))
    system = system_of(tmp_path, model(*kinds, listed("Reactions", *reactions)))
    assert "c" not in system.graph.symbols(system.rhs)


def test_equal_fluxes_are_collected(tmp_path: Path) -> None:
    reactions = reaction("r1", "A", "B", "c*k*A"), reaction("r2", "A", "B", "c*k*A")
    kinds = listed("Species", species("A"), species("B")), listed("Parameters", parameter("k"))
    system = system_of(tmp_path, model(*kinds, listed("Reactions", *reactions)))
    graph = system.graph
    assert system.rhs[1] == graph.mul((graph.number(2), graph.symbol("A"), graph.symbol("k")))


def test_a_state_whose_net_rate_is_zero_stays_a_state(tmp_path: Path) -> None:
    parts = listed("Species", species("A"), species("E")), listed("Reactions", reaction("r", "A E", "E", "A*E"))
    system = system_of(tmp_path, model(*parts))
    assert system.states == ("A", "E")
    assert system.graph.number_of(system.rhs[1]) == 0


def test_boundary_and_constant_species_are_not_changed_by_reactions(tmp_path: Path) -> None:
    kinds = species("A", boundary=True), species("B", boundary=True, constant=True), species("C")
    parts = listed("Species", *kinds), listed("Reactions", reaction("r", "A B", "C", "A*B"))
    system = system_of(tmp_path, model(*parts))
    assert system.states == ("C",)
    assert [c.id for c in system.constants] == ["c", "A", "B"]
    assert [p.species for p in system.reactions[0].reactants] == ["A", "B"]


def test_a_boundary_species_with_a_rate_rule_follows_the_rule_alone(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A", boundary=True), species("B")),
        listed("Rules", rule("rateRule", "A", "-3*A")),
        listed("Reactions", reaction("r", "A", "B", "A")),
    )
    system = system_of(tmp_path, model(*parts))
    assert rate(system, "A") == -3
    assert rate(system, "B") == 0.5


def test_a_species_with_an_assignment_rule_is_assigned_in_reactions_too(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A", "", boundary=True), species("B")),
        listed("Rules", rule("assignmentRule", "A", "2*B")),
        listed("Reactions", reaction("r", "A", "B", "A")),
    )
    system = system_of(tmp_path, model(*parts))
    assert system.states == ("B",)
    assert rate(system, "B", B=3.0) == 3
    assert to_text(system.graph, system.definitions["A"]) == "2*B"


def test_local_parameters_shadow_ids_and_get_ids_of_their_own(tmp_path: Path) -> None:
    kinds = listed("Species", species("A"), species("B")), listed("Parameters", parameter("k", "7"), parameter("r_k"))
    reactions = reaction("r", "A", "", "c*k*A", local={"k": "3"}), reaction("s", "B", "", "c*k*B")
    system = system_of(tmp_path, model(*kinds, listed("Reactions", *reactions)))
    assert rate(system, "A") == -3
    assert rate(system, "B") == -7
    local = [c.id for c in system.constants if system.quantities[c.id].kind == "local-parameter"]
    assert len(local) == 1
    assert local[0].startswith("r_k")
    assert local[0] != "r_k"


def test_a_local_parameter_may_have_the_id_of_a_species(tmp_path: Path) -> None:
    parts = listed("Species", species("A")), listed("Reactions", reaction("r", "A", "", "c*A", local={"A": "10"}))
    assert rate(system_of(tmp_path, model(*parts)), "A", A=100.0) == -10


def test_function_definitions_are_inserted(tmp_path: Path) -> None:
    lambdas = "lambda(x, x^2)", "lambda(x, y, f(x) + f(y))"
    functions = [
        f'<functionDefinition id="{name}">{math(text)}</functionDefinition>'
        for name, text in zip(("f", "g"), lambdas, strict=True)
    ]
    parts = listed("Species", species("A")), listed("Reactions", reaction("r", "A", "", "g(A, 2)"))
    text = sbml(listed("FunctionDefinitions", *functions) + listed("Compartments", compartment()) + "".join(parts))
    assert rate(system_of(tmp_path, text), "A", A=3.0) == -13 / 2


def test_conversion_factors(tmp_path: Path) -> None:
    kinds = listed("Species", species("A", amounts=True), species("B", amounts=True, more='conversionFactor="g"'))
    rest = (
        listed("Parameters", parameter("f", "10"), parameter("g", "100")),
        listed("Reactions", reaction("r", "A", "B", "1")),
    )
    system = system_of(tmp_path, model(kinds, *rest, model='id="m" conversionFactor="f"'))
    assert rate(system, "A") == -10
    assert rate(system, "B") == 100
    assert system.origin.conversion_factor == "f"


def test_assignment_rules_in_any_order_are_inlined(tmp_path: Path) -> None:
    kinds = [parameter(name, None, constant=False) for name in "pqs"]
    rules = rule("assignmentRule", "p", "q + 1"), rule("assignmentRule", "q", "2*s"), rule("assignmentRule", "s", "A")
    parts = listed("Species", species("A")), listed("Parameters", *kinds), listed("Rules", *rules)
    system = system_of(tmp_path, model(*parts, listed("Reactions", reaction("r", "A", "", "c*p"))))
    assert rate(system, "A", A=4.0) == -9
    assert system.graph.symbols(system.rhs) == {"A"}
    assert system.graph.symbols(a.value for a in system.assigned) == {"A"}


def test_initial_assignments_stay_expressions_and_win_over_attributes(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A", 'initialAmount="4"')),
        listed("Parameters", parameter("k", "5"), parameter("j", "5")),
        listed("InitialAssignments", assignment("k", "2*r + j"), assignment("A", "j/2")),
        listed("Reactions", reaction("r", "A", "", "A*j")),
    )
    system = system_of(tmp_path, model(*parts))
    constants = {c.id: c for c in system.constants}
    assert constants["k"].computed
    assert not constants["j"].computed
    assert system.graph.number_of(system.constant_values["k"]) == 2 * Fraction(25, 2) + 5
    assert system.initial_state()[0] == 2.5


def test_rate_of_and_stoichiometries_in_initial_assignments(tmp_path: Path) -> None:
    made = '<speciesReference id="n" species="B" stoichiometry="3" constant="true"/>'
    one = reaction("r", "A", "", "c*2*A").replace(
        "<kineticLaw>", f"<listOfProducts>{made}</listOfProducts><kineticLaw>"
    )
    parts = (
        listed("Species", species("A"), species("B")),
        listed("Parameters", parameter("k", None), parameter("j", None)),
        listed("InitialAssignments", assignment("k", "rateOf(B)"), assignment("j", "n + 1")),
        listed("Reactions", one),
    )
    system = system_of(tmp_path, model(*parts))
    assert system.graph.number_of(system.constant_values["k"]) == 6
    assert system.graph.number_of(system.constant_values["j"]) == 4


def test_a_concentration_in_a_growing_compartment_is_diluted(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A"), species("N", amounts=True)),
        listed("Rules", rule("rateRule", "c", "4")),
        listed("Reactions", reaction("r", "A", "N", "c*A")),
    )
    system = system_of(tmp_path, model(*parts, where=compartment(constant=False)))
    assert system.states == ("A", "N", "c")
    assert rate(system, "A", A=3.0) == -3 - 3 * 4 / 2
    assert rate(system, "N", A=3.0) == 6


def test_dilution_by_a_size_that_a_rule_assigns(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A")),
        listed("Parameters", parameter("p", "1", constant=False)),
        listed("Rules", rule("assignmentRule", "c", "2 + 3*p + time"), rule("rateRule", "p", "5")),
        listed("Reactions", reaction("r", "A", "", "0")),
    )
    system = system_of(tmp_path, model(*parts, where=compartment(size=None, constant=False)))
    assert rate(system, "A") == pytest.approx(-(3 * 5 + 1) / 5)


def test_a_rate_rule_on_a_concentration_is_not_diluted(tmp_path: Path) -> None:
    parts = listed("Species", species("A")), listed("Rules", rule("rateRule", "c", "4"), rule("rateRule", "A", "1"))
    system = system_of(tmp_path, model(*parts, where=compartment(constant=False)))
    assert rate(system, "A") == 1


def test_a_resting_concentration_changes_with_its_compartment(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A", boundary=True), species("B", "", boundary=True)),
        listed("InitialAssignments", assignment("B", "5*A")),
        listed("Rules", rule("rateRule", "c", "4")),
    )
    system = system_of(tmp_path, model(*parts, where=compartment(constant=False)))
    implicit = {a.id: a for a in system.assigned if a.implicit}
    assert set(implicit) == {"A", "B"}
    assert system.graph.number_of(system.constant_values["A_amount"]) == 2
    assert system.graph.number_of(system.constant_values["B_amount"]) == 10
    assert to_text(system.graph, implicit["A"].value) == "A_amount/c"


def test_stoichiometries_that_rules_change(tmp_path: Path) -> None:
    made = (
        '<speciesReference id="n" species="B" constant="false"/><speciesReference id="m" species="B" constant="false"/>'
    )
    one = reaction("r", "A", "", "c*A").replace("<kineticLaw>", f"<listOfProducts>{made}</listOfProducts><kineticLaw>")
    parts = (
        listed("Species", species("A"), species("B")),
        listed("InitialAssignments", assignment("m", "2")),
        listed("Rules", rule("assignmentRule", "n", "A + 1"), rule("rateRule", "m", "7")),
        listed("Reactions", one),
    )
    system = system_of(tmp_path, model(*parts))
    assert system.states == ("A", "B", "m")
    assert rate(system, "B", A=2.0) == 2 * (3 + 2)
    assert rate(system, "m") == 7
    assert system.quantities["m"].kind == "species-reference"


def test_level_2_stoichiometrymath(tmp_path: Path) -> None:
    two = f'<speciesReference species="B"><stoichiometryMath>{math("A/2")}</stoichiometryMath></speciesReference>'
    law = f"<kineticLaw>{math('c*A')}</kineticLaw>"
    text = sbml(
        '<listOfCompartments><compartment id="c" size="2"/></listOfCompartments>'
        '<listOfSpecies><species id="A" compartment="c" initialAmount="2"/>'
        '<species id="B" compartment="c" initialConcentration="1"/></listOfSpecies>'
        f'<listOfReactions><reaction id="r"><listOfReactants><speciesReference species="A" stoichiometry="1.5"/>'
        f"</listOfReactants><listOfProducts>{two}</listOfProducts>{law}</reaction></listOfReactions>",
        level=2,
        version=4,
    )
    system = system_of(tmp_path, text)
    assert rate(system, "A", A=3.0) == -4.5
    assert rate(system, "B", A=3.0) == 4.5
    assert system.reactions[0].reversible
    assert system.origin.model_units["time"] == "time"
    units = {d.id: d.units for d in system.origin.unit_definitions}
    assert (units["time"][0].kind, units["area"][0].exponent) == ("second", 2.0)


def test_level_1(tmp_path: Path) -> None:
    text = sbml(
        '<listOfCompartments><compartment name="c" volume="4"/><compartment name="d"/></listOfCompartments>'
        '<listOfSpecies><species name="A" initialAmount="2" compartment="c"/>'
        '<species name="B" initialAmount="2" compartment="d"/><species name="Z" initialAmount="0" compartment="d"/>'
        "</listOfSpecies>"
        '<listOfParameters><parameter name="k" value="3"/></listOfParameters>'
        '<listOfRules><speciesConcentrationRule species="Z" formula="sqr(B)+log10(100)"/></listOfRules>'
        '<listOfReactions><reaction name="r"><listOfReactants>'
        '<speciesReference species="A" stoichiometry="1" denominator="3"/></listOfReactants>'
        '<kineticLaw formula="k*A^2"><listOfParameters><parameter name="k" value="6"/></listOfParameters></kineticLaw>'
        "</reaction></listOfReactions>",
        level=1,
        version=2,
        model='name="m"',
    )
    system = system_of(tmp_path, text)
    assert system.id == "m"
    assert system.initial_state().tolist() == [0.5]
    assert rate(system, "A", A=2.0) == pytest.approx(-6 * 4 / 3 / 4)
    assert to_text(system.graph, system.definitions["Z"]) == "B^2 + 2"


def test_rate_of(tmp_path: Path) -> None:
    kinds = [parameter(name, "1", constant=False) for name in ("p", "q", "s")]
    rules = (
        rule("rateRule", "p", "rateOf(A) + rateOf(s)"),
        rule("assignmentRule", "q", "rateOf(p)*2"),
        rule("assignmentRule", "s", "A^2"),
    )
    parts = listed("Species", species("A")), listed("Parameters", *kinds), listed("Rules", *rules)
    system = system_of(tmp_path, model(*parts, listed("Reactions", reaction("r", "A", "", "c*A"))))
    assert rate(system, "p", A=3.0) == -3 - 18
    assert system.graph.symbols([system.definitions["q"]]) == {"A"}


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("u - 2*A", 6.0),
        ("A*u + u - 8", 2.0),
        ("1/(u + A) - 1/8", 5.0),
        ("u*(A - u) + u^2 - 12", 4.0),
        ("v - u - A", 4.0),
    ],
)
def test_algebraic_rules_are_solved(tmp_path: Path, equation: str, expected: float) -> None:
    parts = (
        listed("Species", species("A")),
        listed("Parameters", parameter("u", None, constant=False), parameter("v", None, constant=False)),
        listed("Rules", rule("assignmentRule", "v", "7"), f"<algebraicRule>{math(equation)}</algebraicRule>"),
        listed("Reactions", reaction("r", "A", "", "c*u")),
    )
    system = system_of(tmp_path, model(*parts))
    assert rate(system, "A", A=3.0) == pytest.approx(-expected)
    assert system.algebraic[0].solved_for == "u"


def test_two_algebraic_rules_for_two_unknowns(tmp_path: Path) -> None:
    equations = "u + v - A", "u - v - 1"
    parts = (
        listed("Species", species("A")),
        listed("Parameters", parameter("u", None, constant=False), parameter("v", None, constant=False)),
        listed("Rules", *(f"<algebraicRule>{math(e)}</algebraicRule>" for e in equations)),
        listed("Reactions", reaction("r", "A", "", "c*u*v")),
    )
    assert rate(system_of(tmp_path, model(*parts)), "A", A=5.0) == pytest.approx(-6)


@pytest.mark.parametrize("equation", ["exp(u) + u - A", "u^2 - A", "u + v - A", "A - 3"])
def test_algebraic_rules_that_cannot_be_solved_are_refused(tmp_path: Path, equation: str) -> None:
    parts = (
        listed("Species", species("A")),
        listed("Parameters", parameter("u", "1", constant=False), parameter("v", "1", constant=False)),
        listed("Rules", f"<algebraicRule>{math(equation)}</algebraicRule>"),
        listed("Reactions", reaction("r", "A", "", "c*u")),
    )
    assert set(codes_of(tmp_path, model(*parts))) == {"algebraic-rule"}


def test_names_notes_and_annotations_are_kept(tmp_path: Path) -> None:
    inside = '<annotation><x:y a="1"/></annotation>'
    one = species("A", more='name="the A" metaid="a1" sboTerm="SBO:0000290"').replace("/>", f">{inside}</species>")
    text = model(listed("Species", one), root='xmlns:x="http://example.org/x"')
    quantity = system_of(tmp_path, text).quantities["A"]
    assert (quantity.name, quantity.metaid, quantity.sbo) == ("the A", "a1", "SBO:0000290")
    assert quantity.annotation is not None
    assert 'xmlns:x="http://example.org/x"' in quantity.annotation


def test_the_order_of_states_is_species_compartments_parameters(tmp_path: Path) -> None:
    rules = [rule("rateRule", name, "1") for name in ("q", "c", "B")]
    kinds = listed("Species", species("A"), species("B")), listed("Parameters", parameter("q", constant=False))
    parts = *kinds, listed("Rules", *rules), listed("Reactions", reaction("r", "A", "", "A"))
    system = system_of(tmp_path, model(*parts, where=compartment(constant=False)))
    assert system.states == ("A", "B", "c", "q")
    assert np.all(np.isfinite(system.rates(0.0, system.initial_state())))
