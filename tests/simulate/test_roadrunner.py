from __future__ import annotations

import math

import numpy as np
import pytest
from simulate.simulation_models import chain, jump_at, ode, scaled

from sbmlump.sbml import QuantitySelection
from sbmlump.simulators import IntegrationError, simulated_file, simulator_named


def load(path):
    return simulator_named("roadrunner").load(path)


def test_states_and_rates_are_those_of_the_integrator(file):
    model = load(file(chain()))
    assert set(model.states) == {"A", "B", "C"}
    assert all(selection.kind == "amount" for selection in model.states.values())
    # A loses 0.5 · 3 of concentration, so 3 of amount in a volume of 2.
    assert model.initial_rates()["A"] == pytest.approx(-3.0)


def test_small_states_are_as_accurate_as_large_ones(file):
    # One absolute tolerance for both, made for the large state, would not see the small one oscillate.
    swing = [("u", 1e-20, "<ci>v</ci>"), ("v", 0.0, scaled(-400.0, "u"))]
    path = file(ode(("big", 1e3, scaled(-0.1, "big")), *swing))
    run = load(path).run({"u": QuantitySelection("u", "value")}, 3.0, 31)
    expected = [1e-20 * math.cos(20.0 * t) for t in run.times]
    assert run.values["u"].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-27)


@pytest.mark.parametrize("moment", [2.7, 5.0])
def test_a_jump_on_a_point_of_the_grid_is_passed(file, moment):
    run = load(file(jump_at(moment))).run({"x": QuantitySelection("x", "value")}, 10.0, 101)
    assert run.times[-1] == 10.0
    assert len(run.times) == 101
    expected = [t + 2.0 * max(t - moment, 0.0) for t in run.times]
    assert run.values["x"].tolist() == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_runs_cut_at_jumps_give_the_same_grid(file):
    model = load(file(jump_at(2.7)))
    model._select(["time", "x"], {"x": QuantitySelection("x", "value")})
    for stops in [(), (2.7,), (1.0, 2.7), (2.75,)]:
        model._runner.resetToOrigin()
        table = model._table(np.linspace(0.0, 10.0, 101), stops)
        assert table.shape == (101, 2)
        assert table[-1].tolist() == pytest.approx([10.0, 10.0 + 2 * 7.3], rel=1e-5)


def test_loosened_tolerances_are_said(file, monkeypatch):
    model = load(file(chain()))
    attempt = type(model)._attempt

    def strict_fails(self, readings, grid, tolerances, scales, stops):
        if tolerances.relative < 0.5e-8:
            raise IntegrationError.at("m", 1.0, 2.0, "made to fail")
        return attempt(self, readings, grid, tolerances, scales, stops)

    monkeypatch.setattr(type(model), "_attempt", strict_fails)
    run = model.run({"A": QuantitySelection("A", "concentration")}, 2.0, 3)
    assert run.values["A"][-1] == pytest.approx(3.0 * math.exp(-1.0), rel=1e-5)
    assert "a relative tolerance of 1e-08" in run.remarks[0]


def test_the_index_knows_what_ids_mean_and_which_times_are_mentioned(file):
    index = simulated_file(file(chain())).index
    assert index.kinds["A"] == "concentration"
    assert index.kinds["r1"] == "flux"
    assert index.moving == ("A", "B", "C", "total")
    assert simulated_file(file(chain(amounts=True))).index.kinds["A"] == "amount"
    assert simulated_file(file(jump_at(2.5))).switches.named == (2.5,)


def test_a_species_in_a_compartment_without_dimensions_is_an_amount_up_to_level_2(file):
    third = chain().replace('spatialDimensions="3"', 'spatialDimensions="0"')
    assert simulated_file(file(third)).index.kinds["A"] == "concentration"  # Level 3 has no such rule
    second = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m">
<listOfCompartments><compartment id="c" spatialDimensions="DIMENSIONS"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="c" initialAmount="3"/></listOfSpecies>
<listOfReactions><reaction id="r" reversible="false"><listOfReactants><speciesReference species="A"/></listOfReactants>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>A</ci></math></kineticLaw></reaction></listOfReactions>
</model></sbml>"""
    assert simulated_file(file(second.replace("DIMENSIONS", "0"))).index.kinds["A"] == "amount"
    sized = second.replace('"DIMENSIONS"', '"3" size="2"')
    assert simulated_file(file(sized)).index.kinds["A"] == "concentration"


def test_elements_in_annotations_are_not_the_model(file):
    inside = '<x:species id="A" compartment="c"/><x:species id="s11"/>'
    aside = f'<annotation><x:list xmlns:x="urn:x">{inside}</x:list></annotation>'
    text = chain(amounts=True).replace("<listOfSpecies>", f"{aside}<listOfSpecies>", 1)
    assert "s11" in text
    assert simulated_file(file(text)).index == simulated_file(file(chain(amounts=True))).index


_TINY = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="tiny">
<listOfCompartments><compartment id="c" size="3e-18" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="c" initialConcentration="1e-4" hasOnlySubstanceUnits="false" boundaryCondition="false"
 constant="false"/>
<species id="B" compartment="c" initialConcentration="0" hasOnlySubstanceUnits="false" boundaryCondition="false"
 constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="u" value="1" constant="false"/></listOfParameters>
<listOfRules><rateRule variable="u"><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>0</cn></math></rateRule></listOfRules>
<listOfReactions>
REACTIONS
</listOfReactions></model></sbml>"""


def _step(id: str, left: str, right: str, rate: str, power: int) -> str:
    return (
        f'<reaction id="{id}" reversible="false" fast="false"><listOfReactants><speciesReference species="{left}" '
        'stoichiometry="1" constant="true"/></listOfReactants><listOfProducts><speciesReference '
        f'species="{right}" stoichiometry="1" constant="true"/></listOfProducts><kineticLaw>'
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>c</ci><ci>u</ci>'
        f"<cn>{rate}</cn>{power * f'<ci>{left}</ci>'}</apply></math></kineticLaw></reaction>"
    )


def test_amounts_beside_a_large_parameter_keep_their_accuracy(tmp_path):
    """Amounts of 1e-22 beside a parameter of 1 that has a rate rule: its scale is not theirs."""
    path = tmp_path / "tiny.xml"
    path.write_text(_TINY.replace("REACTIONS", _step("r", "A", "B", "1e6", 2) + _step("s", "B", "A", "0.01", 1)))
    model = load(path)
    scales = dict(zip(model.states, model._initial_scales(1000.0), strict=True))
    assert scales["u"] == 1.0
    assert scales["A"] == pytest.approx(3e-22)
    assert scales["B"] < 3e-22
    run = model.run({"A": QuantitySelection("A", "concentration")}, 1000.0, 101)
    steady = (-0.01 + math.sqrt(0.01**2 + 4e6 * 0.01 * 1e-4)) / 2e6  # 1e6 A² = 0.01 (1e-4 - A)
    np.testing.assert_allclose(run.values["A"][1:], steady, rtol=1e-6)
