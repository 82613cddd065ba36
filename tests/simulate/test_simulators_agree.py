"""Simulators are interchangeable: COPASI, SciPy and our own integrator against libRoadRunner and known solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_models import saved, sbml_model, twin_chains

import sbmlump
from sbmlump.arrays import Array
from sbmlump.dynamics import TimeSpan
from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.jobs import sbml_of
from sbmlump.options import SIMULATOR_NAMES
from sbmlump.sbml import ModelIndex, QuantitySelection
from sbmlump.simulators import (
    COMPILE_LIMITS,
    SIMULATORS,
    ChosenSimulator,
    IntegrationError,
    Simulator,
    compare_simulated,
    comparison,
    simulated_file,
    simulator_named,
    simulators_for,
)

NAMES = [name for name in SIMULATORS if name != "roadrunner"]


def simulator(name: str) -> Simulator:
    if name == "copasi":
        pytest.importorskip("COPASI")
    return simulator_named(name)


def mixed(tmp_path: Path) -> Path:
    """A concentration, an amount in another compartment, a parameter with a rate rule."""
    reactions = {
        "go": ({"A": 1}, {"B": 1}, "k * A * cell"),
        "back": ({"B": 1}, {"A": 1}, "2 * k * B"),
    }
    text = sbml_model(
        {"A": 2, "B": 1},
        reactions,
        {"k": 0.5},
        homes={"B": "outside"},
        sizes={"cell": 2.0, "outside": 5.0},
        amounts=["B"],
    )
    rule = '<listOfRules><rateRule variable="p"><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>A</ci></math></rateRule>'
    text = text.replace("</listOfParameters>", '<parameter id="p" value="3" constant="false"/></listOfParameters>')
    return saved(tmp_path, text.replace("<listOfReactions>", f"{rule}</listOfRules><listOfReactions>"))


@pytest.mark.parametrize("name", NAMES)
def test_all_forms_of_all_quantities_as_libroadrunner_has_them(name: str, tmp_path: Path) -> None:
    path = mixed(tmp_path)
    readings = {
        "a": QuantitySelection("A", "concentration"),
        "amount of a": QuantitySelection("A", "amount"),
        "b": QuantitySelection("B", "amount"),
        "concentration of b": QuantitySelection("B", "concentration"),
        "p": QuantitySelection("p", "value"),
        "flux": QuantitySelection("go", "flux"),
        "size": QuantitySelection("cell", "value"),
    }
    wanted = simulator_named("roadrunner").load(path).run(readings, 3.0, 31)
    model = simulator(name).load(path)
    found = model.run(readings, 3.0, 31)
    assert found.times == pytest.approx(wanted.times)
    for label in readings:
        assert found.values[label] == pytest.approx(wanted.values[label], rel=1e-6, abs=1e-9), label
    assert model.path == path


@pytest.mark.parametrize("name", NAMES)
def test_initial_rates_as_libroadrunner_has_them(name: str, tmp_path: Path) -> None:
    path = mixed(tmp_path)
    model = simulator(name).load(path)
    rates = model.initial_rates()
    wanted = simulator_named("roadrunner").load(path).initial_rates()
    assert set(rates) == set(model.states) == set(wanted)
    assert rates == pytest.approx(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_runs_do_not_depend_on_each_other(name: str, tmp_path: Path) -> None:
    model = simulator(name).load(saved(tmp_path, twin_chains()))
    readings = {"C": QuantitySelection("C", "concentration")}
    first = model.run(readings, 10.0, 11).values["C"]
    model.run(readings, 3.0, 5)
    assert model.run(readings, 10.0, 11).values["C"] == pytest.approx(first, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_quantity_is_refused(name: str, tmp_path: Path) -> None:
    model = simulator(name).load(saved(tmp_path, twin_chains()))
    with pytest.raises(UsageError, match="nonsense"):
        model.run({"x": QuantitySelection("nonsense", "value")}, 1.0, 3)


@pytest.mark.parametrize("name", [*NAMES, "roadrunner"])
def test_comparison_by_each(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    out = tmp_path / "reduced.xml"
    out.write_bytes(sbml_of(sbmlump.reduce(sbmlump.load(path), ["C"])))
    simulator(name)
    report = compare_simulated(path, out, simulator=name)
    assert report.simulator == name
    assert report.max_relative_error < 1e-6
    assert report.original["C"][-1] > 1
    assert "max relative" in report._repr_html_()


def jump(tmp_path: Path) -> Path:
    """dx/dt is 1 from time 2 on and 0 before, for a moment at 3 even 10."""
    piece = "piecewise(0, time < 2, 1)"
    return saved(tmp_path, sbml_model({"x": 0}, {}, {"k": 1}, rate_rules={"x": piece}))


@pytest.mark.parametrize("name", ["own", "scipy"])
def test_jumps_at_times_of_the_model_are_stepped_over(name: str, tmp_path: Path) -> None:
    run = simulator_named(name).load(jump(tmp_path)).run({"x": QuantitySelection("x", "concentration")}, 5.0, 11)
    assert run.values["x"] == pytest.approx(np.maximum(0, np.linspace(0, 5, 11) - 2), abs=1e-9)


@pytest.mark.parametrize("name", ["own", "scipy"])
def test_a_pole_is_a_failure_with_its_time(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, sbml_model({"x": 1}, {}, {"k": 1}, rate_rules={"x": "x^2"}))
    with pytest.raises(IntegrationError) as caught:
        simulator_named(name).load(path).run({"x": QuantitySelection("x", "concentration")}, 5.0, 51)
    assert caught.value.reached == pytest.approx(1.0, abs=0.2)
    assert caught.value.reasons[0].code == "simulation-failed"


def with_event(trigger: str, value: str, target: str = "A1", attributes: str = "") -> str:
    """The chains with one event."""
    event = (
        f'<listOfEvents><event useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
        f'<math xmlns="http://www.w3.org/1998/Math/MathML">{trigger}</math></trigger>{attributes}'
        f'<listOfEventAssignments><eventAssignment variable="{target}"><math '
        f'xmlns="http://www.w3.org/1998/Math/MathML">{value}</math></eventAssignment></listOfEventAssignments>'
        "</event></listOfEvents></model>"
    )
    return twin_chains().replace("</model>", event)


def test_events_are_executed_by_our_own_and_refused_by_scipy(tmp_path: Path) -> None:
    path = saved(tmp_path, with_event("<apply><gt/><ci>C</ci><cn>1</cn></apply>", "<cn>1</cn>"))
    readings = {name: QuantitySelection(name, "concentration") for name in ("A1", "C")}
    wanted = simulator_named("roadrunner").load(path).run(readings, 20.0, 81)
    found = simulator_named("own").load(path).run(readings, 20.0, 81)
    for name in readings:
        assert found.values[name] == pytest.approx(wanted.values[name], rel=1e-6, abs=1e-9)
    with pytest.raises(UnsupportedModelError, match="events"):
        simulator_named("scipy").load(path)


def test_a_model_too_large_to_compile_falls_to_our_own() -> None:
    def index(count: int) -> ModelIndex:
        return ModelIndex({f"r{i}": "flux" for i in range(count)}, ())

    (only,) = simulators_for("roadrunner", index(3), index(COMPILE_LIMITS.reactions + 1), copasi_beyond=0)
    assert only.name == "own"
    assert str(COMPILE_LIMITS.reactions + 1) in (only.remark or "")
    few = simulators_for("roadrunner", index(COMPILE_LIMITS.reactions), copasi_beyond=0)
    assert few == (ChosenSimulator("roadrunner"),)
    assert simulators_for("scipy", index(COMPILE_LIMITS.reactions + 1), copasi_beyond=0) == (ChosenSimulator("scipy"),)


@pytest.mark.parametrize("few", [COMPILE_LIMITS.quick, COMPILE_LIMITS.operands])
def test_long_formulas_fall_to_what_does_not_write_assigned_quantities_out(few: int) -> None:
    def names(operands: int, copasi_beyond: int | None) -> list[str]:
        index = ModelIndex({}, (), operands=operands)
        return [one.name for one in simulators_for("roadrunner", index, copasi_beyond=copasi_beyond)]

    quick = few == COMPILE_LIMITS.quick
    assert names(few, few) == ["roadrunner"]
    assert names(few + 1, few) == ["copasi", "roadrunner" if quick else "own"]
    assert names(few + 1, None) == ["roadrunner" if quick else "own"]
    first, last = simulators_for("roadrunner", ModelIndex({}, (), operands=few + 1), copasi_beyond=few)
    assert str(few + 1) in (first.remark or "")
    assert (last.remark is None) == quick


@pytest.mark.parametrize("error", [UsageError, UnsupportedModelError, SbmlumpError, IntegrationError])
def test_where_copasi_does_not_take_a_model_the_next_one_does(
    error: type[SbmlumpError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error(Reason("simulator-refused", "not this one"))

    monkeypatch.setattr("sbmlump.simulators.copasi.CopasiSimulator.load", refuse)
    path = mixed(tmp_path)
    report = compare_simulated(path, path, until=1.0, copasi_beyond=0)
    assert report.simulator == "roadrunner"
    assert report.max_relative_error == 0
    assert not any("COPASI" in remark for remark in report.remarks)


@pytest.mark.parametrize("fails", [False, True])
def test_a_comparison_that_ends_early_is_made_by_what_was_named(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = mixed(tmp_path), comparison.simulate_pair

    def simulate(request: comparison.PairRequest, limits: None) -> comparison.PairRun:
        if request.simulator == "copasi":
            run = real(replace(request, simulator="own", until=0.5), limits)
            return replace(run, span=TimeSpan(0.5, "a run fails at 0.6"), engine="copasi")
        if fails:
            raise UnsupportedModelError(Reason("simulator-refused", "not this one"))
        return real(request, limits)

    monkeypatch.setattr(comparison, "simulate_pair", simulate)
    report = compare_simulated(path, path, until=TimeSpan(1.0, "at rest"), copasi_beyond=0)
    assert (report.simulator, report.until) == (("copasi", 0.5) if fails else ("roadrunner", 1.0))
    assert any("COPASI" in remark for remark in report.remarks) == fails


def test_operands_are_counted_with_assignment_rules_written_out(tmp_path: Path) -> None:
    """Each of 30 rules holds the one before twice: 2, 4, 8 …; a simulator that inlines them compiles billions."""
    math = '<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><plus/><ci>{0}</ci><ci>{0}</ci></apply></math>'

    def model(count: int) -> ModelIndex:
        rules = "".join(
            f'<assignmentRule variable="p{i}">{math.format(f"p{i - 1}")}</assignmentRule>' for i in range(1, count + 1)
        )
        parameters = "".join(f'<parameter id="p{i}" constant="false"/>' for i in range(count + 1))
        path = tmp_path / f"{count}.xml"
        path.write_text(
            '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model>'
            f"<listOfParameters>{parameters}</listOfParameters><listOfRules>{rules}</listOfRules></model></sbml>",
            encoding="utf-8",
        )
        return simulated_file(path).index

    assert model(1).operands == 2
    assert model(3).operands == 2 + 4 + 8
    assert model(200).operands == 10**9


def test_the_index_counts_reactions(tmp_path: Path) -> None:
    assert simulated_file(saved(tmp_path, twin_chains())).index.reactions == 4


@pytest.fixture
def large(tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        names = [f"x{i}" for i in range(200)]
        reactions = {
            f"r{i}": ({names[i]: 1.0}, {names[i + 1]: 1.0}, f"cell * k * {names[i]}") for i in range(len(names) - 1)
        }
        return saved(tmp_path, sbml_model(dict.fromkeys(names, 0.0) | {"x0": 1.0}, reactions, {"k": 1.0}))

    return make


def test_large_systems_by_a_krylov_method(large: Callable[[], Path]) -> None:
    """A chain: the n-th state is a gamma density."""
    model = simulator_named("own").load(large())
    run = model.run({"x5": QuantitySelection("x5", "concentration")}, 10.0, 11)
    t = run.times
    assert run.values["x5"] == pytest.approx(t**5 * np.exp(-t) / 120, rel=1e-6, abs=1e-9)


def test_every_simulator_that_an_option_takes_is_there() -> None:
    assert list(SIMULATORS) == list(SIMULATOR_NAMES)


RATIONAL = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="half">
<listOfCompartments><compartment id="c" size="2"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="c" initialConcentration="3"/>
<species id="D" compartment="c" initialConcentration="0"/></listOfSpecies>
<listOfParameters><parameter id="k" value="0.3"/></listOfParameters>
<listOfReactions><reaction id="r" reversible="false"><listOfReactants><speciesReference species="A"/></listOfReactants>
<listOfProducts><speciesReference species="D"><stoichiometryMath><math xmlns="http://www.w3.org/1998/Math/MathML">
<cn type="rational">1<sep/>3</cn></math></stoichiometryMath></speciesReference></listOfProducts>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>A</ci><ci>c</ci></apply></math>
</kineticLaw></reaction></listOfReactions></model></sbml>
"""


def test_denominators_of_stoichiometries_count(tmp_path: Path) -> None:
    """Of 1/3 libRoadRunner makes 1; it is given the model in another form, and so is a reader of an archive."""
    path = saved(tmp_path, RATIONAL)
    system = sbmlump.load(path)
    report = compare_simulated(path, path, until=100.0)
    assert report.original["D"][-1] == pytest.approx(1.0)
    assert any("denominators" in remark for remark in report.remarks)
    reduction = sbmlump.reduce(system, ["D"], "conservation")
    reduction.write(tmp_path / "r.omex")
    again = compare_simulated(tmp_path / "r.omex#original.xml", tmp_path / "r.omex#reduced.xml", until=100.0)
    assert again.original["D"][-1] == pytest.approx(1.0)
    assert not again.remarks


def test_copasi_may_miss_output_times_by_rounding_and_write_them_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = simulator("copasi").load(mixed(tmp_path))
    wanted = {"p": QuantitySelection("p", "value")}
    plain = model.run(wanted, 2.0, 11)
    table = model._table

    def written(extra: float, *, last: bool = True, ends: bool = True) -> Callable[..., tuple[bool, Array]]:
        def other(*args: Any) -> tuple[bool, Array]:
            complete, rows = table(*args)
            again = rows[4].copy()
            again[0] += extra
            return complete and ends, np.insert(rows, 5, again, axis=0)[: None if last else -1]

        return other

    monkeypatch.setattr(model, "_table", written(1e-9))
    found = model.run(wanted, 2.0, 11)
    assert (found.times == plain.times).all()
    assert (found.values["p"] == plain.values["p"]).all()
    for wrong in (written(1e-9, last=False), written(1e-9, ends=False)):
        monkeypatch.setattr(model, "_table", wrong)
        with pytest.raises(IntegrationError, match="COPASI did not reach the end"):
            model.run(wanted, 2.0, 11)
