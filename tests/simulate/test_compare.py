from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from sbml.read_models import listed
from simulate.simulation_models import (
    A0,
    K1,
    K2,
    a_of,
    assignment,
    b_of,
    chain,
    event_at,
    math_of,
    number,
    ode,
    parameter,
    rate_rule,
    scaled,
)

from sbmlump.dynamics import TimeSpan
from sbmlump.errors import InputError, UnsupportedModelError, UsageError
from sbmlump.model import Graph
from sbmlump.simulators import Definition, IntegrationError, compare_simulated


def only_code(error: pytest.ExceptionInfo) -> str:
    codes = {reason.code for reason in error.value.reasons}
    assert len(codes) == 1
    return codes.pop()


def test_trajectories_are_the_analytic_ones(file):
    path = file(chain())
    report = compare_simulated(path, path, until=10.0, points=11)
    assert report.times.tolist() == list(range(11))
    assert set(report.original) == {"A", "B", "C", "total"}
    for i, t in enumerate(report.times):
        assert report.original["A"][i] == pytest.approx(a_of(t), rel=1e-8)
        assert report.original["B"][i] == pytest.approx(b_of(t), rel=1e-8)
        assert report.original["total"][i] == pytest.approx(a_of(t) + b_of(t), rel=1e-8)
    assert report.max_relative_error == 0.0
    assert report.horizon_reason == "given by the user"


def test_the_lump_of_a_chain_agrees_with_the_sum_it_stands_for(file):
    # With equal constants the total of A and B would close; here A + B is kept by (A, total).
    lumped = ode(
        ("A", A0, scaled(-K1, "A")),
        ("whole", A0 + 1.0, f"<apply><plus/>{scaled(-K2, 'whole')}{scaled(K2, 'A')}</apply>"),
    )
    definition = {"whole": Definition.linear({"A": 1.0, "B": 1.0})}
    report = compare_simulated(file(chain()), file(lumped), until=10.0, definitions=definition)
    assert set(report.per_observable) == {"A", "whole"}
    assert report.max_relative_error < 1e-8
    wrong = compare_simulated(
        file(chain()), file(lumped), until=10.0, definitions={"whole": Definition.linear({"A": 1.0})}
    )
    assert wrong.per_observable["whole"].max_relative_error > 0.1


def test_an_error_of_known_size_is_reported(file):
    slow = ode(("x", 1.0, scaled(-1.0, "x")))
    fast = ode(("x", 1.0, scaled(-1.1, "x")))
    report = compare_simulated(file(slow), file(fast), until=2.0, points=201)
    grid = np.linspace(0.0, 2.0, 201)
    difference = np.abs(np.exp(-1.1 * grid) - np.exp(-grid))
    error = report.per_observable["x"]
    assert error.max_absolute_error == pytest.approx(difference.max(), rel=1e-6)
    assert error.max_relative_error == pytest.approx(difference.max(), rel=1e-6)
    assert error.final_relative_error == pytest.approx(difference[-1] / math.exp(-2.0), rel=1e-6)
    assert report.max_relative_error == error.max_relative_error


def test_a_species_of_no_account_is_measured_against_the_others(file):
    # C starts at 0 and stays there: what the reduced file says of it is noise beside A.
    still = chain(k1=0.0).replace('value="0.2"', 'value="0.0"')
    noisy = ode(("C", 1e-15, number(0.0)))
    report = compare_simulated(file(still), file(noisy), until=1.0, observables=["C"])
    assert report.per_observable["C"].max_relative_error == pytest.approx(1e-15 / (1e-14 * A0))


def test_amount_and_concentration_are_brought_to_what_the_original_means(file):
    concentrations, amounts = file(chain()), file(chain(amounts=True))
    report = compare_simulated(concentrations, amounts, until=5.0, observables=["A", "B", "C"])
    assert report.original["A"][0] == pytest.approx(A0)
    assert report.max_relative_error < 1e-8
    back = compare_simulated(amounts, concentrations, until=5.0, observables=["A", "B", "C"])
    assert back.original["A"][0] == pytest.approx(2 * A0)
    assert back.max_relative_error < 1e-8


def test_a_flux_may_be_a_parameter_of_the_reduced_model(file):
    reduced = ode(("A", A0, scaled(-K1, "A")), extra=parameter("r1"), more_rules=assignment("r1", scaled(2 * K1, "A")))
    report = compare_simulated(file(chain()), file(reduced), until=5.0, observables=["r1"])
    assert report.original["r1"][0] == pytest.approx(2.0 * K1 * A0)
    assert report.max_relative_error < 1e-8


def test_an_expression_is_evaluated_on_the_original(file):
    graph = Graph()
    node = graph.add([graph.symbol("A"), graph.mul([graph.number(2), graph.time()])])
    reduced = ode(("A", A0, scaled(-K1, "A")), ("q", A0, f"<apply><plus/>{scaled(-K1, 'A')}{number(2.0)}</apply>"))
    report = compare_simulated(
        file(chain()), file(reduced), until=5.0, definitions={"q": Definition.of_node(graph, node)}
    )
    assert report.per_observable["q"].max_relative_error < 1e-8


def test_json_holds_the_fields_of_the_contract_and_no_nan(file):
    path = file(chain())
    data = compare_simulated(path, path, until=1.0, points=3, observables=["A"]).as_json()
    assert list(data) == [
        "until", "max_relative_error", "final_relative_error", "max_absolute_error", "per_observable",
        "seconds_original", "seconds_reduced",
    ]  # fmt: skip
    assert list(data["per_observable"]["A"]) == ["max_relative_error", "final_relative_error", "max_absolute_error"]
    json.dumps(data, allow_nan=False)


def test_undefined_values_of_assigned_quantities_are_left_out_and_mentioned(file):
    ratio = "<apply><divide/><ci>x</ci><ci>x</ci></apply>"
    path = file(ode(("x", 0.0, number(1.0)), extra=parameter("q"), more_rules=assignment("q", ratio)))
    report = compare_simulated(path, path, until=1.0, points=5)
    assert math.isnan(report.original["q"][0])
    assert report.per_observable["q"].max_relative_error == 0.0
    assert any("q has no finite value at 1 of 5" in remark for remark in report.remarks)


@pytest.mark.parametrize("name", ["roadrunner", "own", "scipy"])
def test_a_quantity_called_time_is_not_mistaken_for_the_time(file, name):
    path = file(ode(("time", 5.0, number(3.0)), ("x", 0.0, "<ci>time</ci>")))
    other = file(ode(("time", 5.0, number(2.0)), ("x", 0.0, "<ci>time</ci>")))
    report = compare_simulated(path, path, until=1.0, points=3, simulator=name)
    assert report.original["time"] == pytest.approx([5.0, 6.5, 8.0])
    assert report.original["x"][-1] == pytest.approx(6.5)
    assert compare_simulated(path, other, until=1.0, simulator=name).per_observable[
        "time"
    ].max_absolute_error == pytest.approx(1)


def test_each_run_starts_from_the_file_even_after_events(file):
    # libRoadRunner keeps parameters that an event changed through a plain reset.
    path = file(event_at(0.5))
    report = compare_simulated(path, path, until=1.0, points=3)
    assert report.original["p"].tolist() == [1.0, 1.0, 7.0]
    assert report.reduced["p"].tolist() == [1.0, 1.0, 7.0]


def test_a_pole_is_reported_with_the_time_reached(file):
    path = file(ode(("x", 1.0, "<apply><times/><ci>x</ci><ci>x</ci></apply>")))
    with pytest.raises(IntegrationError) as caught:
        compare_simulated(path, path, until=2.0)
    assert only_code(caught) == "simulation-failed"
    assert caught.value.exit_code == 4
    assert caught.value.reached == pytest.approx(1.0, abs=1e-2)
    assert str(path) in str(caught.value)


def test_an_end_time_of_its_own_that_is_too_long_is_shortened(file, monkeypatch):
    path = file(ode(("x", 1.0, "<apply><times/><ci>x</ci><ci>x</ci></apply>")))
    module = sys.modules["sbmlump.simulators.comparison"]
    monkeypatch.setattr(module, "time_span_of_model", lambda *_: TimeSpan(2.0, "made to be too long"))
    report = compare_simulated(path, path)
    assert report.until == 0.5
    assert report.horizon_reason == "a run fails at 1, so it ends at 0.5"  # what was given up is not told


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("not XML", InputError, "not-xml"),
        ('<?xml version="1.0"?><!DOCTYPE sbml><sbml/>', InputError, "doctype"),
        (
            ode(("x", 1.0, "<ci>k</ci>"), extra=parameter("k", constant=True)),
            UnsupportedModelError,
            "simulator-refused",
        ),
    ],
)
def test_bad_files_are_refused_with_a_reason(file, text, kind, code):
    good = file(ode(("x", 1.0, number(1.0))))
    with pytest.raises(kind) as caught:
        compare_simulated(file(text), good, until=1.0, observables=None if kind is InputError else ["x"])
    assert only_code(caught) == code


def test_a_missing_file_is_an_input_error(file, tmp_path):
    with pytest.raises(InputError) as caught:
        compare_simulated(tmp_path / "none.xml", file(chain()), until=1.0)
    assert only_code(caught) == "no-such-file"


def test_wrong_requests_are_usage_errors(file):
    path, other = file(chain()), file(ode(("y", 1.0, number(1.0))))
    with pytest.raises(UsageError) as caught:
        compare_simulated(path, path, until=1.0, observables=["total_"])
    assert "did you mean total?" in str(caught.value)
    for request, code in [
        (lambda: compare_simulated(path, other, until=1.0), "nothing-to-compare"),
        (lambda: compare_simulated(path, path, until=-1.0), "bad-horizon"),
        (lambda: compare_simulated(path, path, until=math.nan), "bad-horizon"),
        (lambda: compare_simulated(path, path, until=1.0, points=1), "bad-grid"),
        (lambda: compare_simulated(path, path, until=1.0, simulator="none"), "unknown-simulator"),
        (
            lambda: compare_simulated(path, other, until=1.0, definitions={"y": Definition.linear({"zz": 1.0})}),
            "unknown-quantity",
        ),
    ]:
        with pytest.raises(UsageError) as caught:
            request()
        assert only_code(caught) == code


def test_the_figure_leaves_no_global_state(file, tmp_path):
    path = file(chain())
    figure = compare_simulated(path, path, until=1.0).plot()
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert len(figure.axes) == 5


def test_importing_is_light_and_simulating_is_silent(file):
    pole = file(ode(("x", 1.0, "<apply><times/><ci>x</ci><ci>x</ci></apply>")))
    script = (
        "import sys, sbmlump.simulators as s\n"
        "assert not {'roadrunner', 'matplotlib'} & set(sys.modules)\n"
        f"try: s.compare_simulated({str(pole)!r}, {str(pole)!r}, until=2.0)\n"
        "except s.IntegrationError: sys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def submodels() -> str:
    """A main model with two instances of a definition that has a species S; S(t) = 2 exp(-0.3 t) in each."""
    inner = (
        '<comp:listOfModelDefinitions><comp:modelDefinition id="part">'
        '<listOfCompartments><compartment id="c" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>'
        '<listOfSpecies><species id="S" compartment="c" initialConcentration="2" hasOnlySubstanceUnits="false" '
        'boundaryCondition="true" constant="false"/></listOfSpecies>'
        + listed("Rules", rate_rule("S", scaled(-0.3, "S")))
        + "</comp:modelDefinition></comp:listOfModelDefinitions>"
    )
    outer = (
        '<model id="whole">'
        + listed("Parameters", parameter("p", 1.0))
        + listed("Rules", rate_rule("p", number(1.0)))
        + '<comp:listOfSubmodels><comp:submodel comp:id="u" comp:modelRef="part"/>'
        '<comp:submodel comp:id="v" comp:modelRef="part"/></comp:listOfSubmodels></model>'
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" '
        'xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" level="3" version="1" '
        f'comp:required="true">{outer}{inner}</sbml>'
    )


@pytest.mark.parametrize("name", ["roadrunner", "own"])
def test_submodels_are_simulated_as_they_are_put_together(file, name):
    path = file(submodels())
    report = compare_simulated(path, path, until=2.0, points=3, simulator=name)
    assert set(report.original) == {"u__S", "v__S", "p"}
    assert report.original["u__S"][-1] == pytest.approx(2.0 * math.exp(-0.6), rel=1e-7)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_what_a_file_is_encoded_in_does_not_matter(tmp_path, encoding):
    declared = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "iso-8859-1": "ISO-8859-1"}[encoding]
    path = tmp_path / "zélé.xml"
    text = ode(("x", 1.0, scaled(-1.0, "x"))).replace("UTF-8", declared, 1).replace('id="m"', 'id="m" name="bâtiment"')
    path.write_bytes(text.encode(encoding))
    assert compare_simulated(path, path, until=1.0, points=3).original["x"][-1] == pytest.approx(
        math.exp(-1.0), rel=1e-8
    )


def test_an_algebraic_rule_is_simulated_as_it_is_solved(file):
    # 0 = y - 2 x
    algebraic = f"<algebraicRule>{math_of(f'<apply><minus/><ci>y</ci>{scaled(2.0, chr(120))}</apply>')}</algebraicRule>"
    path = file(ode(("x", 3.0, scaled(-1.0, "x")), extra=parameter("y"), more_rules=algebraic))
    report = compare_simulated(path, path, until=1.0, points=3)
    assert report.original["y"] == pytest.approx(6.0 * np.exp(-report.times), rel=1e-7)
    assert any("algebraic rules are solved" in remark for remark in report.remarks)


def test_files_outside_the_folder_are_not_read(file, tmp_path):
    text = submodels().replace(
        "<comp:listOfModelDefinitions>",
        '<comp:listOfExternalModelDefinitions><comp:externalModelDefinition comp:id="away" comp:source="../away.xml"/>'
        "</comp:listOfExternalModelDefinitions><comp:listOfModelDefinitions>",
    )
    path = file(text.replace('comp:id="v" comp:modelRef="part"', 'comp:id="v" comp:modelRef="away"'))
    with pytest.raises(UnsupportedModelError) as caught:
        compare_simulated(path, path, until=1.0)
    assert only_code(caught) == "comp-external"


@pytest.mark.parametrize("name", ["model", "reset", "simulate", "getValue", "this", "time", "__class__", "integrator"])
def test_ids_that_are_names_of_the_simulators_object(file, name):
    path = file(ode((name, 2.0, scaled(-1.0, name)), ("x", 0.0, f"<ci>{name}</ci>")))
    report = compare_simulated(path, path, until=1.0, points=3)
    assert report.original[name][-1] == pytest.approx(2.0 * math.exp(-1.0), rel=1e-8)
    assert report.max_relative_error == 0.0


@pytest.mark.parametrize("wrong", [{"until": "100"}, {"until": True}, {"points": 2.5}, {"points": "3"}])
def test_a_grid_of_the_wrong_type_is_wrong_usage(file, wrong):
    one = file(chain())
    with pytest.raises(UsageError):
        compare_simulated(one, one, **wrong)


def test_one_observable_may_be_given_as_a_text(file):
    one = file(chain())
    assert set(compare_simulated(one, one, until=1.0, observables="total").per_observable) == {"total"}
