"""Methods behind one interface, chains, learned systems, and the comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sbmlump.classic.comparison import compare_methods
from sbmlump.classic.compose import composed
from sbmlump.classic.learned import learn
from sbmlump.classic.learned_neural import NeuralClosure
from sbmlump.classic.measure import Trial, measure
from sbmlump.classic.method import CLASSIC, METHODS, MethodOptions, apply_chain, method_names
from sbmlump.classic.quasi_steady import quasi_steady_state
from sbmlump.cli.compare_methods import command, draw
from sbmlump.errors import LimitError, UnsupportedModelError, UsageError
from sbmlump.models import (
    clue_example,
    michaelis_menten,
    multisite,
    network_from_reactions,
    rational_example,
    sir_age_groups,
)
from sbmlump.observables import parse_observables
from sbmlump.reduced import ErrorEstimate, ExactProof
from sbmlump.sbml.reader import load_sbml
from sbmlump.sbml.writer import write_reduction
from sbmlump.system import Event

SHORT = Trial(until=10.0, ensemble=1)


def test_the_methods_of_the_command_line_are_there() -> None:
    assert {one.name for one in CLASSIC} == {
        "conservation",
        "qssa",
        "quasi-equilibrium",
        "relation-graph",
        "pooling",
        "learned",
    }
    assert {"exact", "approximate", "forward-equivalence", "backward-equivalence", "none"} <= set(METHODS)
    known = set(MethodOptions.__dataclass_fields__)
    assert all(set(one.options) <= known for one in METHODS.values())
    with pytest.raises(UsageError) as caught:
        method_names("exact,magic")
    assert caught.value.reasons[0].element == "magic"


def test_proofs_of_a_chain_add_up() -> None:
    system = multisite(2)
    found = apply_chain(system, parse_observables(system, ["kinase"]), ["exact", "conservation"])
    assert (found.original.size, found.system.size) == (18, 3)
    assert isinstance(found.certificate, ExactProof)
    assert "in turn: exact" in found.certificate.statement
    assert found.method == "exact,conservation"
    assert measure(found, Trial(until=3.0, ensemble=1)).errors.max() < 1e-5
    assert len(found.lumps[0].members) > 2  # lumps of the original, not of the system in between


def test_an_approximate_chain_is_measured_as_a_whole(tmp_path: Path) -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    options = MethodOptions(fast=("ES",), trial=SHORT)
    found = apply_chain(system, observables, ["conservation", "qssa", "exact"], options)
    assert found.original is system
    assert found.system.states == ("P",)
    assert isinstance(found.certificate, ErrorEstimate)
    chain = found.certificate.as_json()["chain"]
    assert [step["method"] for step in chain] == ["conservation", "qssa", "exact"]
    assert [step["reduced_size"] for step in chain] == [2, 1, 1]
    assert 1e-4 < found.certificate.worst_error < 0.1
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    again = load_sbml(path)
    assert again.states == ("P",)
    np.testing.assert_allclose(again.rates(0.0, [2.0]), found.system.rates(0.0, [2.0]), rtol=1e-9)


def test_steps_that_do_not_fit_are_refused() -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    steady = quasi_steady_state(system, observables, fast=["ES"], trial=SHORT)
    with pytest.raises(ValueError, match="start where the first ends"):
        composed(steady, steady)


def test_a_learned_system_is_that_of_a_lumpable_polynomial_one() -> None:
    system = clue_example()
    found = learn(system, parse_observables(system, ["x1", "x2 + 2*x3"]), trial=Trial(until=0.5, ensemble=2))
    assert found.system.size == 2
    assert found.certificate.worst_error < 1e-4
    y = np.array([0.3, 0.4])
    # x1' = y2², y2' = 2·y2 at … as the exact lumping says: (x2 + 2x3)' = 4x3 − 2x1 + 2x1 + 2x2 = 2·y2
    np.testing.assert_allclose(found.system.rates(0.0, y), [0.16, 0.8], rtol=1e-2, atol=1e-3)
    write_reduction(found)


def test_a_learned_quotient_has_a_denominator() -> None:
    system = rational_example()
    observables = parse_observables(system, ["x1", "x2 + 2*x3"])
    found = learn(system, observables, rational=True, trial=Trial(until=0.5, ensemble=2))
    plain = learn(system, observables, trial=Trial(until=0.5, ensemble=2))
    assert found.certificate.worst_error <= plain.certificate.worst_error
    assert found.certificate.worst_error < 1e-2


def test_learning_refuses_what_it_cannot_do() -> None:
    system = sir_age_groups(2)
    with pytest.raises(UnsupportedModelError) as caught:
        learn(system, parse_observables(system, ["S_1*I_1"]), trial=SHORT)
    assert caught.value.reasons[0].code == "non-linear-observable"
    with pytest.raises(UsageError):
        learn(system, parse_observables(system, ["S_1", "I_1"]), max_size=1, trial=SHORT)
    with pytest.raises(LimitError) as limit:
        learn(system, parse_observables(system, ["I_1"]), max_size=1, max_error=1e-9, trial=SHORT)
    assert limit.value.reasons[0].code == "target-not-reached"


def test_a_neural_closure_is_not_written_as_sbml(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        NeuralClosure(2, None, 0.1).write(tmp_path / "reduced.xml")
    assert caught.value.reasons[0].code == "neural-not-writable"


def test_methods_side_by_side() -> None:
    system = michaelis_menten()
    options = MethodOptions(fast=("ES",), trial=SHORT)
    chains = ("exact", "conservation", "qssa", "quasi-equilibrium")
    rows = compare_methods(system, parse_observables(system, ["P"]), chains, options)
    table = {row.method: row for row in rows}
    assert [table[name].size for name in chains] == [4, 2, 2, None]
    assert table["conservation"].exact
    assert table["conservation"].error < 1e-5
    assert 1e-4 < table["qssa"].error < 0.1
    assert table["quasi-equilibrium"].reason.code == "unknown-fast"
    assert b"<svg" in draw(rows, 4, "enzyme")


def test_the_command_prints_a_table_and_an_object(data: Path, tmp_path: Path) -> None:
    model = str(data / "michaelis_menten.xml")
    arguments = [model, "--observe", "P", "--method", "conservation", "--until", "5", "--ensemble", "1"]
    shown = CliRunner().invoke(command, [*arguments, "-o", str(tmp_path)], standalone_mode=False)
    assert shown.exception is None
    assert "conservation" in shown.output
    assert "4 -> 2" in shown.output
    assert (tmp_path / "methods.svg").exists()
    printed = CliRunner().invoke(command, [*arguments, "--json"], standalone_mode=False)
    found = json.loads(printed.output)
    assert found["methods"][0]["size"] == 2
    assert found["methods"][0]["exact"] is True


def test_the_command_says_what_is_wrong_in_one_sentence(data: Path) -> None:
    model = str(data / "michaelis_menten.xml")
    wrong = CliRunner().invoke(command, [model, "--observe", "P", "--method", "magic"], standalone_mode=False)
    assert wrong.return_value == 2
    unknown = CliRunner().invoke(command, [model, "--observe", "nobody"], standalone_mode=False)
    assert unknown.return_value == 2


def test_a_model_with_events_that_states_trigger_is_compared_by_proofs_only() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 2), ("C -> D", 1)], initial=dict.fromkeys("ABCD", 1))
    graph = system.graph
    for trigger, measured in ((graph.time(), True), (graph.symbol("B"), False)):
        event = Event(graph.call("gt", (trigger, graph.number(1))), (("A", graph.number(5)),), id="dose")
        dosed = replace(system, events=(event,))
        rows = compare_methods(dosed, parse_observables(dosed, ["A", "C"]), ("conservation", "qssa"))
        assert rows[0].exact
        assert (rows[0].error is not None) == measured
        assert (rows[1].reason.code == "event-not-lumpable") == (not measured)
