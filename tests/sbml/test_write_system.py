"""A system is written so that libSBML, libRoadRunner and our own reader find the same system in it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import libsbml
import numpy as np
import pytest
import roadrunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sbml.read_models import listed, parameter, sbml, system_of
from sbml.write_models import chain, jump

from sbmlump.errors import SbmlumpError
from sbmlump.model import (
    Assigned,
    Constant,
    Constraint,
    Event,
    Graph,
    Node,
    OdeSystem,
    Op,
    Participant,
    Quantity,
    Reaction,
    Unit,
    UnitDefinition,
)
from sbmlump.sbml import load_sbml, write_system


def model_of(data: bytes) -> Any:
    """libSBML's model; its document is kept alive by it being an attribute."""
    document = libsbml.readSBMLFromString(data.decode())
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) == 0
    model = document.getModel()
    model.keep = document
    return model


def back(data: bytes, folder: Path) -> OdeSystem:
    (folder / "written.xml").write_bytes(data)
    return load_sbml(folder / "written.xml")


# -- the whole ---------------------------------------------------------------------------------------


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    system = chain(events=jump, constraints=lambda g: (Constraint(g.call("geq", (g.symbol("A"), g.number(0)))),))
    data = write_system(system)
    again = back(data, tmp_path)
    assert again.states == system.states
    assert (again.id, again.name) == ("chain", "A chain")
    for name, quantity in system.quantities.items():
        found = again.quantities[name]
        changed = {"annotation": None, "written_constant": False, "kind": "parameter"}
        assert replace(found, **changed) == replace(quantity, **changed)
        assert found.kind == ("parameter" if quantity.kind == "local-parameter" else quantity.kind)
    assert "somebody" in (again.quantities["B"].annotation or "")
    assert [c.id for c in again.constants] == ["cell", "k1", "k2"]
    assert again.constant_values.keys() == system.constant_values.keys()
    numbers = {name: again.graph.number_of(node) for name, node in again.constant_values.items()}
    assert numbers == {"k1": Fraction("0.30000000000000004"), "k2": Fraction(2, 3), "cell": Fraction(3, 2)}
    assert [a.id for a in again.assigned] == ["total"]
    assert [(r.id, r.name, r.reversible) for r in again.reactions] == [("r1", "one <&>", True), ("r2", None, False)]
    assert again.events[0].id == "jump"
    assert not again.events[0].persistent
    assert len(again.constraints) == 1
    assert again.origin.unit_definitions == system.origin.unit_definitions
    assert dict(again.origin.model_units) == dict(system.origin.model_units)
    assert "From a paper." in (again.origin.notes or "")
    assert np.array_equal(again.initial_state(), system.initial_state())
    points = np.random.default_rng(1).uniform(0.1, 3, (20, 4))
    assert np.allclose(again.rates(0.0, points), system.rates(0.0, points), rtol=1e-14, atol=0)
    second = write_system(again)  # blanks in notes are as libSBML returns them
    assert write_system(back(second, tmp_path)) == second


def test_same_system_gives_the_same_bytes() -> None:
    assert write_system(chain(events=jump)) == write_system(chain(events=jump))


def test_factors_are_printed_alike_however_the_graph_came_about() -> None:
    system = chain()
    other = Graph()
    for name in ("p", "C", "B", "A", "cell", "k2", "k1"):
        other.symbol(name)
    roots = [*system.initial, *system.rhs, *(c.value for c in system.constants if c.value is not None)]
    roots += [a.value for a in system.assigned] + [r.flux for r in system.reactions]
    one, n = other.number(1), system.size
    copies = other.transplant(system.graph, roots, {})
    fluxes = copies[-2:]
    rebuilt = OdeSystem(
        graph=other,
        states=system.states,
        initial=tuple(copies[:n]),
        rhs=tuple(copies[n : 2 * n]),
        constants=tuple(replace(c, value=v) for c, v in zip(system.constants, copies[2 * n :], strict=False)),
        assigned=(Assigned("total", copies[-3]),),
        reactions=tuple(
            replace(
                r,
                flux=f,
                reactants=tuple(replace(p, stoichiometry=one) for p in r.reactants),
                products=tuple(replace(p, stoichiometry=one) for p in r.products),
            )
            for r, f in zip(system.reactions, fluxes, strict=True)
        ),
        id=system.id,
        name=system.name,
        quantities=system.quantities,
        origin=system.origin,
    )
    assert write_system(rebuilt) == write_system(system)


def test_simulator_finds_the_same_rates() -> None:
    system = chain()
    runner = roadrunner.RoadRunner(write_system(system).decode())
    assert runner["[A]"] == pytest.approx(10)
    x = system.initial_state()
    expected = system.rates(0.0, x)
    flux = [0.3 * x[0] * 1.5, 2 / 3 * x[1] * 1.5]
    assert runner.getReactionRates() == pytest.approx(flux, rel=1e-12)
    assert [(flux[0] - flux[1]) / 1.5, flux[1]] == pytest.approx(list(expected[1:3]), rel=1e-12)
    runner.timeCourseSelections = ["time", "[A]", "[B]", "C", "p", "total"]
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-14
    end = runner.simulate(0, 1, 2)[-1]
    assert end[1] == pytest.approx(10 * np.exp(-0.30000000000000004), rel=1e-8)
    assert end[1] + end[2] + end[3] / 1.5 == pytest.approx(x[0] + x[1] + x[2] / 1.5, rel=1e-9)
    assert end[5] == pytest.approx(end[1] + end[2] - 2 * end[4], rel=1e-12)


# -- values ------------------------------------------------------------------------------------------


def test_amounts_stay_amounts_and_exact_values_stay_exact() -> None:
    model = model_of(write_system(chain()))
    assert model.getSpecies("B").getInitialAmount() == 0.25
    assert not model.getSpecies("B").isSetInitialConcentration()
    assert model.getSpecies("C").getInitialConcentration() == 2
    assert model.getSpecies("C").getHasOnlySubstanceUnits()
    assert model.getParameter("k1").getValue() == 0.1 + 0.2
    assert model.getParameter("k2").getValue() == 2 / 3  # for readers that pass over the assignment
    assert model.getInitialAssignment("k2").getMath().getNumerator() == 2


def test_missing_infinite_and_undefined_values() -> None:
    base = chain()
    graph = base.graph
    infinity = graph.constant("infinity")
    values = (None, infinity, graph.neg(infinity), graph.constant("notanumber"), graph.number(10**17))
    system = replace(base, constants=(*base.constants, *(Constant(f"c{i}", v) for i, v in enumerate(values))))
    model = model_of(write_system(system))
    assert not model.getParameter("c0").isSetValue()
    assert model.getParameter("c1").getValue() == float("inf")
    assert model.getParameter("c2").getValue() == float("-inf")
    assert np.isnan(model.getParameter("c3").getValue())
    assert model.getParameter("c4").getValue() == 1e17
    assert model.getNumInitialAssignments() == 1  # that of k2


def test_computed_value_stays_an_initial_assignment(tmp_path: Path) -> None:
    base = chain()
    graph = base.graph
    twice = graph.mul((graph.number(2), graph.symbol("A")))
    system = replace(base, constants=(*base.constants[1:], Constant("k1", twice, computed=True)))
    data = write_system(system)
    again = back(data, tmp_path)
    assert next(c for c in again.constants if c.id == "k1").computed
    value = again.constant_values["k1"]
    assert again.graph.number_of(value) == 20


# -- what makes a state move -------------------------------------------------------------------------


def test_reactions_that_do_not_explain_the_system_are_overruled(tmp_path: Path) -> None:
    base = chain()
    graph = base.graph
    wrong = replace(base, rhs=(graph.number(0), *base.rhs[1:]))
    data = write_system(wrong)
    model = model_of(data)
    assert model.getSpecies("A").getBoundaryCondition()
    assert model.getRateRuleByVariable("A") is not None
    assert not model.getSpecies("B").getBoundaryCondition()
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert back(data, tmp_path).rates(0.0, x) == pytest.approx(wrong.rates(0.0, x), rel=1e-14)


def test_flags_say_what_changes() -> None:
    model = model_of(write_system(chain(events=jump)))
    constants = {p.getId(): p.getConstant() for p in (model.getParameter(i) for i in range(model.getNumParameters()))}
    assert constants == {"k1": True, "k2": True, "p": False, "total": False}
    assert model.getCompartment("cell").getConstant()
    assert not model.getSpecies("A").getConstant()


def test_modifiers_are_those_in_the_law() -> None:
    base = chain()
    graph = base.graph
    flux = graph.mul((graph.symbol("k1"), graph.symbol("A"), graph.symbol("cell"), graph.symbol("C")))
    reactions = (replace(base.reactions[0], flux=flux, modifiers=("p",)), base.reactions[1])
    model = model_of(write_system(replace(base, reactions=reactions)))
    reaction = model.getReaction("r1")
    assert [reaction.getModifier(i).getSpecies() for i in range(reaction.getNumModifiers())] == ["C"]


def test_variable_stoichiometry(tmp_path: Path) -> None:
    graph = Graph()
    a, b, k, n = (graph.symbol(name) for name in ("A", "B", "k", "n"))
    flux = graph.mul((k, a))
    third = graph.number(Fraction(1, 3))
    varying = graph.add((graph.number(1), b))
    system = OdeSystem(
        graph,
        ("A", "B"),
        (graph.number(1), graph.number(0)),
        (graph.neg(graph.mul((n, flux))), graph.mul((graph.add((third, varying)), flux))),
        (Constant("k", graph.number(1)), Constant("n", graph.number(2)), Constant("cell", graph.number(1))),
        reactions=(
            Reaction("r", flux, (Participant("A", n, "n"),), (Participant("B", third), Participant("B", varying))),
            Reaction("s", graph.mul((k, b)), (Participant("Z", third),), ()),
        ),
        assigned=(Assigned("Z", b),),
        quantities={
            "cell": Quantity("cell", "compartment", spatial_dimensions=3.0),
            "A": Quantity("A", "species", compartment="cell", amount=True),
            "B": Quantity("B", "species", compartment="cell", amount=True),
            "Z": Quantity("Z", "species", compartment="cell", amount=True),
            "n": Quantity("n", "species-reference"),
        },
    )
    data = write_system(system)
    model = model_of(data)
    assert model.getReaction("r").getReactant(0).getStoichiometry() == 2
    assert model.getSpecies("Z").getBoundaryCondition()
    again = back(data, tmp_path)
    points = np.random.default_rng(2).uniform(0, 2, (5, 2))
    assert np.allclose(again.rates(0.0, points), system.rates(0.0, points), rtol=1e-14)
    runner = roadrunner.RoadRunner(data.decode())
    runner["B"] = 0.5
    assert runner.getReactionRates()[0] == pytest.approx(1.0)


def test_species_without_a_compartment_get_one(tmp_path: Path) -> None:
    graph = Graph()
    flux = graph.mul((graph.number(3), graph.symbol("A")))
    reaction = Reaction("r", flux, (Participant("A", graph.number(1)),), ())
    system = OdeSystem(
        graph, ("A", "sbmlump_compartment"), (graph.number(2), graph.number(1)), (graph.neg(flux), flux),
        reactions=(reaction,), id="9 lives",
    )  # fmt: skip
    data = write_system(system)
    model = model_of(data)
    assert model.getCompartment(0).getId() == "sbmlump_compartment_2"
    assert not model.isSetIdAttribute()
    assert model.getName() == "9 lives"
    assert back(data, tmp_path).rates(0.0, [2.0, 1.0]).tolist() == [-6.0, 6.0]


def test_compartment_that_grows(tmp_path: Path) -> None:
    graph = Graph()
    a, v, n = (graph.symbol(name) for name in ("A", "V", "S_amount"))
    growth = graph.mul((graph.number(Fraction(1, 2)), v))
    flux = graph.mul((a, v))
    system = OdeSystem(
        graph,
        ("A", "V"),
        (graph.number(1), graph.number(2)),
        (graph.add((graph.neg(a), graph.neg(graph.div(graph.mul((a, growth)), v)))), growth),
        (Constant("S_amount", graph.mul((graph.number(5), v))),),
        (
            Assigned("S", graph.div(n, v), implicit=True),
            Assigned("double", graph.mul((graph.number(2), graph.div(n, v)))),
        ),
        (Reaction("r", flux, (Participant("A", graph.number(1)),), ()),),
        quantities={
            "V": Quantity("V", "compartment", spatial_dimensions=3.0),
            "A": Quantity("A", "species", compartment="V"),
            "S": Quantity("S", "species", compartment="V"),
        },
    )
    data = write_system(system)
    model = model_of(data)
    assert [r.getVariable() for r in (model.getRule(i) for i in range(model.getNumRules()))] == ["double", "V"]
    assert model.getParameter("S_amount") is None
    assert model.getSpecies("S").getInitialConcentration() == 5
    again = back(data, tmp_path)
    assert again.rates(0.0, [3.0, 4.0]) == pytest.approx([-4.5, 2.0])
    assert write_system(again) == data
    runner = roadrunner.RoadRunner(data.decode())
    runner.timeCourseSelections = ["[S]", "double", "[A]"]
    runner.integrator.relative_tolerance = 1e-9
    assert runner.simulate(0, 1, 2)[-1] == pytest.approx([5 * np.exp(-0.5), 10 * np.exp(-0.5), np.exp(-1.5)], rel=1e-6)


def test_event_that_resizes_a_compartment_leaves_implied_resets_to_sbml(tmp_path: Path) -> None:
    graph = Graph()
    a, v = graph.symbol("A"), graph.symbol("V")
    flux = graph.mul((a, v))
    event = Event(
        graph.call("gt", (graph.time(), graph.number(1))),
        (("V", graph.number(4)),),
        implied=(("A", graph.div(graph.mul((a, v)), graph.number(4))),),
    )
    system = OdeSystem(
        graph,
        ("A", "V"),
        (graph.number(1), graph.number(2)),
        (graph.neg(a), graph.number(0)),
        reactions=(Reaction("r", flux, (Participant("A", graph.number(1)),), ()),),
        events=(event,),
        quantities={
            "V": Quantity("V", "compartment", spatial_dimensions=3.0),
            "A": Quantity("A", "species", compartment="V"),
        },
    )
    model = model_of(write_system(system))
    assert model.getEvent(0).getNumEventAssignments() == 1
    assert model.getNumRules() == 0
    again = back(write_system(system), tmp_path)
    assert [name for name, _ in again.events[0].implied] == ["A"]
    # where the concentration is no species, nothing implies the reset
    plain = replace(system, reactions=(), quantities={})
    assert model_of(write_system(plain)).getEvent(0).getNumEventAssignments() == 2


# -- units, ids, fragments ---------------------------------------------------------------------------


def test_unit_that_level_3_cannot_say_is_left_off() -> None:
    base = chain()
    celsius = UnitDefinition("warm", (Unit("Celsius"),))
    litres = UnitDefinition("vol", (Unit("liter", 1.0, -3, 0.1 + 0.2),))
    origin = replace(base.origin, unit_definitions=(*base.origin.unit_definitions, celsius, litres))
    quantities = dict(base.quantities) | {
        "k1": replace(base.quantities["k1"], units="warm"),
        "k2": replace(base.quantities["k2"], units="nowhere"),
        "p": replace(base.quantities["p"], units="vol"),
    }
    model = model_of(write_system(replace(base, origin=origin, quantities=quantities)))
    assert not model.getParameter("k1").isSetUnits()
    assert not model.getParameter("k2").isSetUnits()
    assert model.getParameter("p").getUnits() == "vol"
    unit = model.getUnitDefinition("vol").getUnit(0)
    assert (libsbml.UnitKind_toString(unit.getKind()), unit.getMultiplier()) == ("litre", 0.1 + 0.2)


def test_id_that_is_none_is_refused() -> None:
    graph = Graph()
    system = OdeSystem(graph, ("a-b",), (graph.number(0),), (graph.number(1),))
    with pytest.raises(SbmlumpError) as error:
        write_system(system)
    assert [(r.code, r.element) for r in error.value.reasons] == [("id-not-writable", "a-b")]


def test_a_quantity_called_time_is_not_the_time(tmp_path: Path) -> None:
    """libSBML's check for circles takes the text of the symbol of time for an id."""
    graph = Graph()
    clock = graph.mul((graph.number(2), graph.time()))
    system = OdeSystem(
        graph,
        ("x",),
        (graph.number(1),),
        (clock,),
        assigned=(Assigned("time", clock),),
        quantities={"time": Quantity("time", "parameter"), "x": Quantity("x", "parameter")},
    )
    data = write_system(system)
    assert model_of(data).getAssignmentRule("time").getMath().getNumChildren() == 2
    again = back(data, tmp_path)
    assert again.graph.op(again.graph.args(again.assigned[0].value)[1]) is Op.TIME
    found = roadrunner.RoadRunner(data.decode()).simulate(0, 2, 3)
    assert found[:, found.colnames.index("x")] == pytest.approx([1, 2, 5], rel=1e-6)


def test_output_that_libsbml_rejects_is_a_fault() -> None:
    base = chain()
    twice = replace(base.quantities["A"], metaid="m1")
    with pytest.raises(SbmlumpError) as error:
        write_system(replace(base, quantities=dict(base.quantities) | {"A": twice}))
    assert error.value.reasons[0].code == "invalid-output"
    assert error.value.exit_code == 70


# -- mathematics -------------------------------------------------------------------------------------

NAMES = ("x", "y", "k")
UNARY = ("exp", "ln", "abs", "floor", "ceiling", "sin", "tanh", "arctan", "arcsinh", "sech")


@st.composite
def expressions(draw: st.DrawFn, graph: Graph) -> Node:
    """A node over x, y, k, time and numbers, of any operator."""
    leaves = [graph.symbol(name) for name in NAMES] + [graph.time(), graph.constant("pi")]
    pool = leaves + [graph.number(draw(st.fractions(max_denominator=50))) for _ in range(3)]
    pick = st.integers(min_value=0, max_value=200).map(lambda i: pool[i % len(pool)])
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(("add", "mul", "div", "pow", "unary", "binary", "piecewise", "neg")))
        a, b, c = draw(pick), draw(pick), draw(pick)
        if kind == "add":
            node = graph.add((a, graph.neg(b), c))
        elif kind == "mul":
            node = graph.mul((a, b, c))
        elif kind == "div":
            node = graph.div(a, b)
        elif kind == "pow":
            node = graph.pow(a, graph.number(draw(st.sampled_from((2, -1, Fraction(1, 2), Fraction(1, 3))))))
        elif kind == "unary":
            node = graph.call(draw(st.sampled_from(UNARY)), (a,))
        elif kind == "binary":
            node = graph.call(draw(st.sampled_from(("min", "max"))), (a, b))
        elif kind == "piecewise":
            condition = graph.call("and", (graph.call("lt", (a, b)), graph.call("not", (graph.call("geq", (b, c)),))))
            node = graph.piecewise([(a, condition)], c)
        else:
            node = graph.sub(a, b)
        pool.append(node)
    return pool[-1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_expression_comes_back(tmp_path: Path, data: st.DataObject) -> None:
    graph = Graph()
    rhs = tuple(data.draw(expressions(graph)) for _ in range(2))
    system = OdeSystem(
        graph,
        ("x", "y"),
        (graph.number(1), graph.number(2)),
        rhs,
        (Constant("k", graph.decimal(0.7)),),
        (Assigned("z", data.draw(expressions(graph))), Assigned("w", rhs[0])),
    )
    written = write_system(system)
    again = back(written, tmp_path)
    points = np.random.default_rng(3).uniform(0.1, 3, (4, 2))
    a, b = system.rates(0.5, points), again.rates(0.5, points)
    assert np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_piecewise_logic_and_relations_run_in_the_simulator() -> None:
    graph = Graph()
    x = graph.symbol("x")
    half = graph.number(Fraction(1, 2))
    conditions = [graph.call(name, (x, half)) for name in ("lt", "leq", "gt", "geq", "eq", "neq")]
    both = [graph.call("xor", (conditions[0], conditions[2])), graph.call("and", (conditions[2],)), graph.truth(True)]
    nodes = [graph.piecewise([(graph.number(1), c)], graph.number(0)) for c in [*conditions, *both]]
    system = OdeSystem(
        graph, ("x",), (graph.number(1),), (graph.number(0),), (),
        tuple(Assigned(f"v{i}", node) for i, node in enumerate(nodes)),
    )  # fmt: skip
    runner = roadrunner.RoadRunner(write_system(system).decode())
    assert [runner[f"v{i}"] for i in range(len(nodes))] == [0, 0, 1, 1, 0, 1, 1, 1, 1]


def test_a_metaid_given_twice_is_written_once(tmp_path: Path) -> None:
    """libSBML reads such a file without a word, and refuses to have it written."""
    text = sbml(listed("Parameters", *(parameter(n).replace("id=", 'metaid="a" id=') for n in ("p", "q"))))
    data = write_system(system_of(tmp_path, text))
    assert data.count(b'metaid="a"') == 1
