"""Antimony: what its library reads is the model, and every id that had to change is said."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import systems_of_anything, wide_numbers

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import InputError, SbmlumpError, UnsupportedModelError
from sbmlump.formats import RESERVED, antimony_text, number_text, sbml_of_antimony
from sbmlump.formats import antimony as formats_antimony
from sbmlump.jobs import written_system
from sbmlump.model import Assigned, Constant, Constraint, Event, Graph, OdeSystem, Quantity, parse_expression
from sbmlump.outcome import WrittenOutput
from sbmlump.sbml import parse_sbml

pytest.importorskip("antimony")

HEAD = '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">'
PLAIN = 'hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"'


def math(content: str) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{content}</math>'


def unit(kind: str, exponent: str = "1", scale: str = "0", multiplier: str = "1") -> str:
    return f'<unit kind="{kind}" exponent="{exponent}" scale="{scale}" multiplier="{multiplier}"/>'


def units(id: str, *parts: str) -> str:
    return f'<unitDefinition id="{id}"><listOfUnits>{"".join(parts)}</listOfUnits></unitDefinition>'


def part(species: str, stoichiometry: str, id: str = "") -> str:
    own = f'id="{id}" ' if id else ""
    return f'<speciesReference {own}species="{species}" stoichiometry="{stoichiometry}" constant="true"/>'


def again(written: WrittenOutput) -> OdeSystem:
    """What Tellurium's library makes of a text."""
    return parse_sbml(sbml_of_antimony(written.data.decode()))


def equations(**rhs: str) -> OdeSystem:
    """States with these right-hand sides, all 2 at the start; n is the constant 3."""
    graph = Graph()
    names = {name: graph.symbol(name) for name in (*rhs, "n")}
    nodes = tuple(parse_expression(graph, text, names) for text in rhs.values())
    two = graph.number(2)
    constants = (Constant("n", graph.number(3)),)
    return OdeSystem(graph, tuple(rhs), (two,) * len(rhs), nodes, constants=constants)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(x^n)^2", 64.0),
        ("x^(n^2)", 512.0),
        ("-(x^2)", -4.0),
        ("(-x)^2", 4.0),
        ("-((-2)^n)", 8.0),
        ("3 - (-2)^x", -1.0),
        ("(x^2)^(1/3)", 4.0 ** (1 / 3)),
        ("x - (n - x)", 1.0),
        ("x/(n/x)", 4 / 3),
        ("-x^(-2)", -0.25),
        ("2^(-x)", 0.25),
        ("exp(10*x/(3*n))", pytest.approx(9.22781435)),
    ],
)
def test_powers_and_signs(text: str, value: float) -> None:
    system = equations(x=text)
    assert again(written_system(system, ".ant")).rates(0.0, [2.0])[0] == value


@given(wide_numbers)
def test_numbers_need_no_more_than_fifteen_digits(value: Fraction) -> None:
    """The library prints 15 digits of a double; the text is exact, and the nearest double for who computes it."""
    text = number_text(value)
    literals = re.findall(r"[0-9.]+(?:e[+-]?[0-9]+)?", text)
    assert all(len(re.sub(r"e.*|\.", "", one).strip("0")) <= 15 for one in literals)
    exact = eval(re.sub(r"([0-9.]+(?:e[+-]?[0-9]+)?)", r'Fraction("\1")', text), {"Fraction": Fraction})
    assert exact == value
    assert eval(text) == pytest.approx(float(value), rel=5e-16)


def test_all_digits_are_there_stoichiometries_too() -> None:
    body = f"""<model id="digits"><listOfCompartments><compartment id="c" size="0.12345678901234567" constant="true"
    spatialDimensions="3"/></listOfCompartments><listOfSpecies>
    <species id="A" compartment="c" initialConcentration="0.30000000000000004" {PLAIN}/>
    <species id="B" compartment="c" initialAmount="1.2345678901234567e-290" {PLAIN}/>
    </listOfSpecies><listOfReactions><reaction id="r" reversible="false">
    <listOfReactants>{part("A", "33.827361549182")}</listOfReactants>
    <listOfProducts>{part("B", "0.12345678901234567")}</listOfProducts>
    <kineticLaw>{math("<apply><times/><cn>0.70000000000000007</cn><ci>A</ci></apply>")}</kineticLaw>
    </reaction></listOfReactions></model></sbml>"""
    system = parse_sbml((HEAD + body).encode())
    read = again(written_system(system, ".ant"))
    assert read.initial_state().tolist() == system.initial_state().tolist()
    assert read.rates(0, [1.0, 1.0]).tolist() == system.rates(0, [1.0, 1.0]).tolist()


def everything_named(words: list[str]) -> OdeSystem:
    """A state, a constant, an assigned quantity or an event for each word, and an expression that uses them."""
    graph = Graph()
    parts = [words[i::4] for i in range(4)]
    states, constants, assigned, events = parts
    used = graph.add(graph.symbol(name) for name in (*states, *constants))
    truth = graph.call("gt", (graph.time(), graph.number(5)))
    return OdeSystem(
        graph,
        tuple(states),
        tuple(graph.number(i) for i in range(len(states))),
        (used,) * len(states),
        constants=tuple(Constant(name, graph.number(i)) for i, name in enumerate(constants)),
        assigned=tuple(Assigned(name, graph.scaled(i + 1, used)) for i, name in enumerate(assigned)),
        events=tuple(Event(truth, ((states[0], graph.number(i)),), id=name) for i, name in enumerate(events)),
        id="words",
    )


@pytest.mark.parametrize("turn", range(4))
def test_every_word_of_the_language_as_an_id(turn: int) -> None:
    words = sorted(RESERVED)
    words = [*words[turn:], *words[:turn]]  # each is a state, a constant, an assigned quantity and an event once
    system = everything_named(words)
    written = written_system(system, ".ant")
    new = {
        reason.element: re.search(r"called (\w+)$", reason.message)[1]
        for reason in written.reasons
        if reason.code == "id-renamed"
    }
    assert set(new) == set(words)
    read = again(written)
    assert set(read.states) == {new[name] for name in system.states}
    assert len(set(new.values())) == len(words)


@pytest.mark.parametrize("name", ["End", "In", "Is", "Model", "Species", "Time", "PI", "Gene", "omega", "e", "E1", "o"])
def test_other_words_stay_as_they_are(name: str) -> None:
    system = equations(**{name: f"-{name} - (-{name})^2"})
    written = written_system(system, ".ant")
    assert again(written).states == (name,)
    assert not [reason for reason in written.reasons if reason.code == "id-renamed"]


def test_two_ids_never_become_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, output = tmp_path / "m.xml", tmp_path / "m.ant"
    system = equations(volume="-volume", volume_="-2*volume_ + 1", volume__2="n")
    model.write_bytes(written_system(system, ".xml").data)
    assert run(["convert", str(model), "-o", str(output), "--json"]) == 0
    (renamed,) = [r for r in json.loads(capsys.readouterr().out)["reasons"] if r["code"] == "id-renamed"]
    assert renamed["element"] == "volume"
    read = parse_sbml(sbml_of_antimony(output.read_text()))
    assert len(read.states) == 3
    assert {"volume_", "volume__2"} < set(read.states)


def test_a_changed_id_of_an_observable_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, output = tmp_path / "m.xml", tmp_path / "m.ant"
    model.write_bytes(written_system(equations(gene="-gene"), ".xml").data)
    arguments = ["reduce", str(model), "--observe", "gene", "--method", "none", "--no-check", "-o", str(output)]
    assert run(arguments) == 0
    assert "gene is a word of Antimony; there it is called gene_" in "".join(capsys.readouterr())


def test_events_with_all_that_they_can_have() -> None:
    system = equations(x="-x", y="n*x")
    graph = system.graph
    x, late = graph.symbol("x"), graph.call("geq", (graph.time(), graph.number(Fraction(7, 2))))
    low = graph.call("lt", (x, graph.number(1)))
    events = []
    for number, (first, lasting, early, named) in enumerate(product((True, False), repeat=4)):
        delay = graph.add((x, graph.number(1))) if number % 3 else None
        events.append(
            Event(
                graph.call("and", (late, low)) if number % 2 else late,
                (("x", graph.number(number)), ("y", graph.mul((x, x)))),
                id=f"event_{number}" if named else None,
                delay=delay,
                priority=graph.number(-number) if number % 5 else None,
                initial_value=first,
                persistent=lasting,
                use_trigger_values=early,
            )
        )
    limit = Constraint(graph.call("leq", (x, graph.number(100))))
    whole = replace(system, events=tuple(events), constraints=(limit,))
    assert len(again(written_system(whole, ".ant")).events) == 16


def test_stoichiometries_with_ids_rules_and_initial_assignments() -> None:
    references = "".join(
        f'<speciesReference id="{name}" species="S"{value} constant="{fixed}"/>'
        for name, value, fixed in (
            ("plain", ' stoichiometry="2"', "true"),
            ("growing", ' stoichiometry="1"', "false"),
            ("ruled", "", "false"),
            ("started", "", "true"),
        )
    )
    body = f"""<model id="m"><listOfCompartments><compartment id="c" size="1" constant="true"/></listOfCompartments>
    <listOfSpecies><species id="S" compartment="c" initialConcentration="1" {PLAIN}/></listOfSpecies>
    <listOfInitialAssignments><initialAssignment symbol="started">{math("<cn>5</cn>")}</initialAssignment>
    </listOfInitialAssignments>
    <listOfRules><rateRule variable="growing">{math("<cn>0.5</cn>")}</rateRule>
    <assignmentRule variable="ruled">{math("<apply><times/><cn>3</cn><ci>S</ci></apply>")}</assignmentRule>
    </listOfRules>
    <listOfReactions><reaction id="r" reversible="false"><listOfProducts>{references}</listOfProducts>
    <kineticLaw>{math("<cn>1</cn>")}</kineticLaw></reaction></listOfReactions></model></sbml>"""
    system = parse_sbml((HEAD + body).encode())
    read = again(written_system(system, ".ant"))
    order = [read.states.index(name) for name in system.states]
    point = dict(zip(system.states, system.initial_state(), strict=True))
    rates = dict(zip(system.states, system.rates(0, list(point.values())), strict=True))
    assert rates["S"] == 2 + 1 + 3 + 5
    assert read.rates(0, [point[name] for name in read.states])[order].tolist() == list(rates.values())


def test_an_event_that_changes_nothing_is_said_to_be_left_out() -> None:
    system = equations(x="-x")
    graph = system.graph
    idle = Event(graph.call("gt", (graph.time(), graph.number(1))), (), id="idle")
    written = written_system(replace(system, events=(idle,)), ".ant")
    assert any("events that change nothing (idle)" in reason.message for reason in written.reasons)


def test_species_units_and_descriptions() -> None:
    branch = "<piecewise><piece><cn>1</cn><apply><lt/><ci>w</ci><cn>4</cn></apply></piece></piecewise>"
    body = f"""<model id="all" substanceUnits="mmol" timeUnits="minute" extentUnits="mmol">
    <listOfUnitDefinitions>
     {units("mmol", unit("mole", "1", "-3", "1"))}
     {units("minute", unit("second", "1", "0", "60"))}
     {units("rate", unit("second", "-1", "0", "60"), unit("litre", "0.5", "-3", "1"))}
    </listOfUnitDefinitions>
    <listOfCompartments><compartment id="c" size="2" constant="true" spatialDimensions="3" units="litre"/>
     <compartment id="g" size="1" constant="false" spatialDimensions="2"/></listOfCompartments>
    <listOfSpecies>
     <species id="A" name="a &quot;b&quot; \\ &lt;c&gt;&#10;d" sboTerm="SBO:0000252" compartment="c"
      initialAmount="3" {PLAIN}/>
     <species id="N" compartment="g" initialConcentration="5" hasOnlySubstanceUnits="true" boundaryCondition="false"
      constant="false"/>
     <species id="F" compartment="c" initialConcentration="1.5" hasOnlySubstanceUnits="false" boundaryCondition="true"
      constant="true"/>
     <species id="W" compartment="g" initialAmount="1" hasOnlySubstanceUnits="false" boundaryCondition="true"
      constant="false"/>
    </listOfSpecies>
    <listOfParameters><parameter id="k" value="0.5" units="rate" constant="true"/><parameter id="w" constant="false"/>
     <parameter id="free" constant="true"/></listOfParameters>
    <listOfInitialAssignments>
     <initialAssignment symbol="w">{math("<apply><times/><ci>k</ci><cn>3</cn></apply>")}</initialAssignment>
    </listOfInitialAssignments>
    <listOfRules>
     <rateRule variable="g">{math("<apply><times/><cn>0.1</cn><ci>g</ci></apply>")}</rateRule>
     <rateRule variable="w">{math(branch)}</rateRule>
    </listOfRules>
    <listOfReactions><reaction id="r" reversible="true" name="first" compartment="c">
     <listOfReactants>{part("A", "1")}{part("A", "1")}</listOfReactants>
     <listOfProducts>{part("N", "2.5", "many")}{part("F", "1")}</listOfProducts>
     <listOfModifiers><modifierSpeciesReference species="W"/></listOfModifiers>
     <kineticLaw>{math("<apply><times/><ci>k</ci><ci>loc</ci><ci>A</ci><ci>W</ci></apply>")}
      <listOfLocalParameters><localParameter id="loc" value="0.25"/></listOfLocalParameters></kineticLaw>
    </reaction></listOfReactions></model></sbml>"""
    system = parse_sbml((HEAD + body).encode())
    written = written_system(system, ".ant")
    read = again(written)
    assert read.quantities["A"].name == "a 'b' / <c> d"
    assert read.quantities["A"].sbo == "SBO:0000252"
    assert read.quantities["k"].units == "rate"
    assert {unit.id: len(unit.units) for unit in read.origin.unit_definitions}["rate"] == 2
    assert read.origin.model_units["substance"] == "mmol"
    assert read.quantities["N"].amount
    assert next(c for c in read.constants if c.id == "free").value is None
    kept = {reason.code: reason.message for reason in written.reasons}
    assert "quotation marks" in " ".join(r.message for r in written.reasons)
    assert set(kept) == {"not-kept"}


def test_an_annotation_of_the_whole_document_stands_in_nobodys_way() -> None:
    about = '<annotation><tool xmlns="urn:a:tool">made it</tool></annotation>'
    text = written_system(equations(x="-x"), ".xml").data.decode()
    head, model, rest = text.partition("<model")
    head = head.replace('version="2"', 'version="2" metaid="top"')
    system = parse_sbml((head + about + model + rest).encode())
    assert "<tool" in written_system(system, ".xml").data.decode()
    assert again(written_system(system, ".ant")).states == system.states


@settings(max_examples=12, deadline=None)
@given(systems_of_anything(words=sorted(RESERVED), expressions=6))
def test_anything_comes_back(system: OdeSystem) -> None:
    try:
        sbml = written_system(system, ".xml").data
    except SbmlumpError as error:  # powers of numbers may be beyond what doubles hold
        codes = {reason.code for reason in error.reasons}
    else:
        written_system(parse_sbml(sbml), ".ant")  # raises where what comes back is another model
        codes = {"too-large"}
    assert codes == {"too-large"}


def test_what_comes_back_as_another_model_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(sbml: bytes) -> formats_antimony.AntimonyText:
        made = antimony_text(sbml)
        return replace(made, text=made.text.replace("n*x", "n + x"))

    monkeypatch.setattr(formats_antimony, "antimony_text", spoiled)
    with pytest.raises(UnsupportedModelError, match="as Antimony, the right-hand side x is read as another one"):
        written_system(equations(x="n*x"), ".ant")


def test_a_reaction_of_nothing_is_refused_by_name() -> None:
    body = f"""<model id="none"><listOfParameters><parameter id="k" value="1" constant="true"/>
    <parameter id="x" value="1" constant="false"/></listOfParameters>
    <listOfRules><rateRule variable="x">{math("<ci>empty</ci>")}</rateRule></listOfRules>
    <listOfReactions><reaction id="empty" reversible="false"><kineticLaw>{math("<ci>k</ci>")}</kineticLaw>
    </reaction></listOfReactions></model></sbml>"""
    with pytest.raises(UnsupportedModelError, match="empty: Antimony cannot say a reaction that changes no species"):
        written_system(parse_sbml((HEAD + body).encode()), ".ant")


def test_without_the_library_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "antimony", None)
    with pytest.raises(UnsupportedModelError, match="antimony is not installed"):
        written_system(equations(x="-x"), ".ant")


def test_ids_of_units_and_of_the_model_do_not_meet_those_of_quantities() -> None:
    system = equations(model_1="-model_1")
    kept = {"model_1": Quantity("model_1", "parameter", units="mole")}
    written = written_system(replace(system, id="model_1", quantities=kept), ".ant")
    assert again(written).states == ("model_1",)


def test_the_package_says_so_too(tmp_path: Path) -> None:
    system = equations(x="(x^n)^2")
    (tmp_path / "m.xml").write_bytes(written_system(system, ".xml").data)
    sbmlump.convert(tmp_path / "m.xml", tmp_path / "m.ant")
    assert "(x^n)^2" in (tmp_path / "m.ant").read_text()


def test_what_is_written_is_read_as_any_model(data, tmp_path):
    """Every command takes an Antimony file: the rates are those of the SBML it was made of."""
    original = sbmlump.load(data / "michaelis_menten.xml")
    path = tmp_path / "model.ant"
    sbmlump.convert(data / "michaelis_menten.xml", path)
    read = sbmlump.load(path)
    assert read.states == original.states
    assert read.origin.format == "antimony"
    x = np.random.default_rng(0).uniform(0.5, 2, (3, original.size))
    np.testing.assert_allclose(read.rates(0.0, x), original.rates(0.0, x), rtol=1e-12)
    assert sbmlump.reduce(read, "P", "conservation").system.size < read.size


@pytest.mark.parametrize(
    ("text", "code"),
    [("model m\n A -> B; k*A\n", "not-antimony"), ('import "other.ant"\nmodel m()\nend\n', "antimony-import")],
)
def test_antimony_that_is_not_read_is_no_model(tmp_path, text, code):
    path = tmp_path / "model.ant"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        sbmlump.load(path)
    assert caught.value.reasons[0].code == code
