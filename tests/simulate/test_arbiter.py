"""A difference beside a proof is explained: the simulator, the original itself, or a proof that cannot be right."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from network_models import saved, sbml_model, twin_chains
from simulate.simulation_models import math_of, number, ode, scaled

import sbmlump
from sbmlump.jobs import ContradictedError, compare, run_reduction, simulate_reduction, written_as_sbml
from sbmlump.jobs import reduction as job
from sbmlump.methods import reduce_options
from sbmlump.simulators import simulated_file


def wrong_reduction(path, observe, factor):
    """A reduction with its proof, whose system has then been changed behind its back."""
    reduction = sbmlump.reduce(sbmlump.load(path), [observe])
    graph, system = reduction.system.graph, reduction.system
    rhs = tuple(graph.scaled(Fraction(factor), node) for node in system.rhs)
    return replace(reduction, system=replace(system, rhs=rhs, reactions=()))


@pytest.mark.parametrize("factor", ["1.01", "2"])
def test_a_proof_that_simulations_contradict_is_an_internal_error(tmp_path, factor, monkeypatch):
    path = saved(tmp_path, twin_chains())
    wrong = wrong_reduction(path, "C", factor)
    monkeypatch.setattr(job, "reduce_by", lambda *_: wrong)
    output = tmp_path / "reduced.xml"
    with pytest.raises(ContradictedError) as caught:
        run_reduction(path, ["C"], reduce_options("exact"), output)
    assert caught.value.exit_code == 70
    assert caught.value.reasons[0].code == "proof-contradicted"
    assert "please report" in caught.value.reasons[0].message
    assert not output.exists()
    output.write_text("what stood there before", encoding="utf-8")
    with pytest.raises(ContradictedError):
        run_reduction(path, ["C"], reduce_options("exact"), output, force=True)
    assert output.read_text(encoding="utf-8") == "what stood there before"


def diluted(tmp_path):
    """Y has a rate rule as a concentration, in a compartment whose size is 1 + time/2 by an assignment rule.

    By the rule Y(t) = 3 exp(-k t); libRoadRunner keeps the amount instead.
    """
    text = sbml_model(
        {"Y": 3, "Z": 1}, {}, {"k": 0.7}, rate_rules={"Y": "-k * Y", "Z": "-k * Z * Z"}, boundary=["Y", "Z"]
    )
    size = math_of(
        '<apply><plus/><cn>1</cn><apply><times/><cn>0.5</cn><csymbol encoding="text" '
        'definitionURL="http://www.sbml.org/sbml/symbols/time"> t </csymbol></apply></apply>'
    )
    rule = f'<listOfRules><assignmentRule variable="cell">{size}</assignmentRule>'
    text = text.replace("<listOfRules>", rule)
    head, _, tail = text.partition('<compartment id="cell"')
    return saved(tmp_path, head + '<compartment id="cell"' + tail.replace('constant="true"', 'constant="false"', 1))


def test_a_simulator_that_reads_the_original_otherwise_is_named(tmp_path):
    output = tmp_path / "reduced.xml"
    outcome = run_reduction(diluted(tmp_path), ["Y"], reduce_options("exact", until=4.0), output)
    assert outcome.name == "reduced"
    assert output.exists()
    assert outcome.report is not None
    assert outcome.report.max_relative_error > 0.1
    (reason,) = [reason for reason in outcome.reasons if reason.code == "simulator-differs"]
    assert reason.element == "Y"
    assert "roadrunner" in reason.message
    assert "the original in Y" in reason.message


def test_check_names_a_simulator_that_is_known_to_read_a_file_otherwise(tmp_path):
    path, output = diluted(tmp_path), tmp_path / "reduced.xml"
    run_reduction(path, ["Y"], reduce_options("exact", until=4.0), output)
    report = compare(path, output, until=4.0)
    assert report.max_relative_error > 0.1
    assert any("by the specification" in remark and "--simulator own" in remark for remark in report.remarks)
    own = compare(path, output, until=4.0, simulator="own")
    assert own.max_relative_error < 1e-6
    assert not any("by the specification" in remark for remark in own.remarks)


def test_check_refuses_what_is_no_trajectory_of_the_model_as_the_reader_does(tmp_path):
    """A compartment of size 0 that holds a concentration, whose size a rate rule changes."""
    text = sbml_model({"Y": 3}, {}, {}, rate_rules={"cell": "1"}, sizes={"cell": 0.0}, boundary=["Y"])
    path = saved(tmp_path, text)
    with pytest.raises(sbmlump.UnsupportedModelError) as caught:
        compare(path, path)
    assert caught.value.reasons[0].code == "zero-size"


def test_a_chaotic_original_is_not_taken_for_a_false_proof(tmp_path):
    """Lorenz's equations: two right integrations part after some 25 units of time."""
    rates = {
        "x": "10 * (y - x)",
        "y": "x * (28 - z) - y",
        "z": "x * y - 8 * z / 3",
        "unseen": "x - unseen",
    }
    text = sbml_model(dict.fromkeys(rates, 1), {}, {}, rate_rules=rates, boundary=list(rates))
    path = saved(tmp_path, text)
    reduction = sbmlump.reduce(sbmlump.load(path), ["x"])
    source = simulated_file(path)
    options = reduce_options("exact", until=32.0)
    report, reasons = simulate_reduction(source, written_as_sbml(reduction), reduction, options, limits=None)
    assert report is not None
    codes = {reason.code for reason in reasons}
    assert "proof-contradicted" not in codes
    assert report.max_relative_error <= 1e-6 or "sensitive-model" in codes


def test_events_are_part_of_what_is_settled(tmp_path, monkeypatch):
    """A reduction that forgets an event is contradicted, though libRoadRunner is not the only witness."""
    event = (
        '<listOfEvents><event id="e" useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
        + math_of("<apply><lt/><ci>x</ci><cn>0.5</cn></apply>")
        + '</trigger><listOfEventAssignments><eventAssignment variable="x">'
        + math_of("<cn>2</cn>")
        + "</eventAssignment></listOfEventAssignments></event></listOfEvents></model>"
    )
    text = ode(("x", 1.0, scaled(-1.0, "x")), ("y", 1.0, number(1.0))).replace("</model>", event)
    path = saved(tmp_path, text)
    right = sbmlump.reduce(sbmlump.load(path), ["x"])
    options = reduce_options("exact", until=5.0)
    outcome = run_reduction(path, ["x"], options)
    assert outcome.report is not None
    assert outcome.report.max_relative_error < 1e-6
    monkeypatch.setattr(job, "reduce_by", lambda *_: replace(right, system=replace(right.system, events=())))
    with pytest.raises(ContradictedError):
        run_reduction(path, ["x"], options)
