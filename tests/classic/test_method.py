"""Methods behind one interface, chains, learned systems, and the comparison."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sbmlump
from sbmlump.cli import run
from sbmlump.dynamics import EnsembleSettings, measure
from sbmlump.errors import LimitError, UnsupportedModelError, UsageError
from sbmlump.examples import (
    clue_example,
    michaelis_menten,
    multisite,
    network_from_reactions,
    rational_example,
    sir_age_groups,
)
from sbmlump.jobs import method_rows, methods_figure, row_differences
from sbmlump.methods import (
    METHODS,
    OPTIONS,
    NeuralClosure,
    NeuralTrainingSettings,
    chain_names,
    composed,
    learn,
    learn_neural,
    load_neural,
    method_alternatives,
    quasi_steady_state,
    require_torch,
)
from sbmlump.model import ErrorEstimate, Event, ExactProof, parse_observables, to_text
from sbmlump.options import declared
from sbmlump.plot_style import svg_file
from sbmlump.sbml import load_sbml, write_reduction

SHORT_RUN = {"until": 10.0, "ensemble": 1}
SHORT = EnsembleSettings(**SHORT_RUN)


def test_every_method_is_a_class_of_options() -> None:
    assert {"exact", "approximate", "conservation", "qssa", "pooling", "learned", "none"} <= set(METHODS)
    for name, method in METHODS.items():
        assert method.name == name
        assert method.__doc__
        assert set(declared(method)) <= set(OPTIONS)
        assert method() == method(**{each.name: each.default for each in declared(method).values()})
    with pytest.raises(UsageError) as caught:
        chain_names("exact+magic")
    assert caught.value.reasons[0].element == "magic"


def test_commas_are_alternatives_and_plus_is_a_chain() -> None:
    assert method_alternatives(["exact, conservation+qssa", "exact"]) == ("exact", "conservation+qssa")
    with pytest.raises(UsageError):
        method_alternatives([" , "])


def test_proofs_of_a_chain_add_up() -> None:
    system = multisite(2)
    found = sbmlump.reduce(system, "kinase", ["exact", "conservation"])
    assert (found.original.size, found.system.size) == (18, 3)
    assert isinstance(found.certificate, ExactProof)
    assert "in turn: exact" in found.certificate.statement
    assert found.method == "exact+conservation"
    assert measure(found, EnsembleSettings(until=3.0, ensemble=1)).errors.max() < 1e-5
    assert len(found.lumps[0].members) > 2  # lumps of the original, not of the system in between


def test_an_approximate_chain_is_measured_as_a_whole(tmp_path: Path) -> None:
    system = michaelis_menten()
    found = sbmlump.reduce(system, "P", "conservation+qssa+exact", fast=("ES",), **SHORT_RUN)
    assert found.original is system
    assert found.system.states == ("S",)
    assert isinstance(found.certificate, ErrorEstimate)
    chain = found.certificate.as_json()["chain"]
    assert [step["method"] for step in chain] == ["conservation", "qssa", "exact"]
    assert [step["reduced_size"] for step in chain] == [2, 1, 1]
    assert 1e-4 < found.certificate.worst_error < 0.2
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    again = load_sbml(path)
    assert again.states == ("S",)
    np.testing.assert_allclose(again.rates(0.0, [2.0]), found.system.rates(0.0, [2.0]), rtol=1e-9)


def test_steps_that_do_not_fit_are_refused() -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    steady = quasi_steady_state(system, observables, fast=["ES"], trial=SHORT)
    with pytest.raises(ValueError, match="start where the first ends"):
        composed(steady, steady)


def test_a_learned_system_is_that_of_a_lumpable_polynomial_one() -> None:
    system = clue_example()
    found = learn(system, parse_observables(system, ["x1", "x2 + 2*x3"]), trial=EnsembleSettings(until=0.5, ensemble=2))
    assert found.system.size == 2
    assert found.certificate.worst_error < 1e-4
    y = np.array([0.3, 0.4])
    # x1' = y2², y2' = 2·y2 at … as the exact lumping says: (x2 + 2x3)' = 4x3 − 2x1 + 2x1 + 2x2 = 2·y2
    np.testing.assert_allclose(found.system.rates(0.0, y), [0.16, 0.8], rtol=1e-2, atol=1e-3)
    write_reduction(found)


def test_a_learned_quotient_has_a_denominator() -> None:
    system = rational_example()
    observables = parse_observables(system, ["x1", "x2 + 2*x3"])
    found = learn(system, observables, rational=True, trial=EnsembleSettings(until=0.5, ensemble=2))
    plain = learn(system, observables, trial=EnsembleSettings(until=0.5, ensemble=2))
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
    one = np.ones(1)
    closure = NeuralClosure(("A",), ("A",), 2, 4, 1.0, one, one, None, 0.1, 0.1)
    with pytest.raises(UnsupportedModelError) as caught:
        closure.write(tmp_path / "reduced.xml")
    assert caught.value.reasons[0].code == "neural-not-writable"


def test_a_neural_closure_is_trained_saved_and_read(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    system = network_from_reactions(
        [("A -> B", 1), ("B -> A", 2), ("B -> C", 1)], initial={"A": 1, "B": 0, "C": 0}, id="small"
    )
    observables = parse_observables(system, ["C"])
    closure = learn_neural(
        system,
        observables,
        size=2,
        training=NeuralTrainingSettings(width=8, steps=400),
        trial=EnsembleSettings(until=4.0, ensemble=2),
    )
    assert closure.closure_error < 0.2
    assert closure.trajectory_error < 0.5
    path = tmp_path / "closure.pt"
    closure.save(path)
    again = load_neural(path)
    assert (again.states, again.observables, again.size) == (system.states, ("C",), 2)
    assert again.trajectory_error == closure.trajectory_error
    for before, after in zip(closure.network.parameters(), again.network.parameters(), strict=True):
        assert np.array_equal(before.detach().numpy(), after.detach().numpy())
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError):
        load_neural(path)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_the_extra_is_named() -> None:
    with pytest.raises(UsageError, match=r"sbmlump\[neural\]"):
        require_torch()


def test_methods_side_by_side() -> None:
    system = michaelis_menten()
    chains = ("exact", "conservation", "qssa", "quasi-equilibrium")
    rows = method_rows(system, parse_observables(system, ["P"]), chains, fast=("ES",), **SHORT_RUN)
    table = {row.method: row for row in rows}
    assert [table[name].size for name in chains] == [4, 2, 2, None]
    assert table["conservation"].exact
    assert table["conservation"].error < 1e-5
    assert 1e-4 < table["qssa"].error < 0.1
    assert table["quasi-equilibrium"].reason.code == "unknown-fast"
    assert b"<svg" in svg_file(methods_figure(rows, 4, "enzyme"), "methods")


def test_the_command_prints_a_table_and_an_object(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(data / "michaelis_menten.xml")
    arguments = [model, "--observe", "P", "--method", "conservation", "--until", "5", "--ensemble", "1"]
    assert run(["compare-methods", *arguments, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "conservation" in shown
    assert "4 -> 2" in shown
    assert (tmp_path / "methods.svg").exists()
    assert run(["compare-methods", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["methods"][0]["size"] == 2
    assert found["methods"][0]["exact"] is True


def test_the_command_says_what_is_wrong_in_one_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(data / "michaelis_menten.xml")
    assert run(["compare-methods", model, "--observe", "P", "--method", "magic"]) == 2
    assert run(["compare-methods", model, "--observe", "nobody"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_model_with_events_that_states_trigger_is_compared_by_proofs_only() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 2), ("C -> D", 1)], initial=dict.fromkeys("ABCD", 1))
    graph = system.graph
    for trigger, measured in ((graph.time(), True), (graph.symbol("B"), False)):
        event = Event(graph.call("gt", (trigger, graph.number(1))), (("A", graph.number(5)),), id="dose")
        dosed = replace(system, events=(event,))
        rows = method_rows(dosed, parse_observables(dosed, ["A", "C"]), ("conservation", "qssa"))
        assert rows[0].exact
        assert (rows[0].error is not None) == measured
        assert (rows[1].reason.code == "event-not-lumpable") == (not measured)


def test_conservation_before_qssa_leaves_michaelis_menten() -> None:
    """The totals are used so that the equation of the fast state stays linear in it."""
    system = michaelis_menten()
    for fast in ("auto", ("ES",), ("ES", "E")):
        found = sbmlump.reduce(system, "P", ("conservation", "qssa"), fast=fast, **SHORT_RUN)
        assert found.system.states == ("S",)
        text = " ".join(to_text(found.system.graph, node) for node in found.system.rhs)
        assert "^0.5" not in text
        assert "sqrt" not in text
        for s in (0.3, 2.0):
            expected = -1.5 * 1.0 * s / (s + (1.0 + 1.5) / 2.0)  # −k2·E0·S/(Km + S)
            assert found.system.rates(0.0, np.array([s]))[0] == pytest.approx(expected)


def test_fast_quantities_go_to_the_method_that_can_use_them() -> None:
    system = network_from_reactions(
        [("A -> B", "k1"), ("B -> A", "km1"), ("B -> C", "k2")],
        initial={"A": 1, "B": 0, "C": 0},
        constants={"k1": 20, "km1": 30, "k2": 1},
    )
    kept = parse_observables(system, ["C"])
    reaction = system.reactions[0].id
    options = {"fast": ("B", reaction), **SHORT_RUN}
    rows = method_rows(system, kept, ("qssa", "quasi-equilibrium"), **options)
    assert [row.size for row in rows] == [2, 2]
    apart = row_differences(rows, SHORT)
    assert set(apart) == {("qssa", "quasi-equilibrium")}
    assert 0 < apart["qssa", "quasi-equilibrium"] < 1
    assert row_differences(rows[:1], SHORT) == {}
    with pytest.raises(UsageError, match="neither a state nor a reaction"):
        method_rows(system, kept, ("qssa",), fast=("nothing",), **SHORT_RUN)
    with pytest.raises(UsageError, match="there is no method"):
        method_rows(system, kept, ("qsssa",), **options)


def test_a_learned_system_is_smaller_than_the_original() -> None:
    system = michaelis_menten()
    found = learn(system, parse_observables(system, ["P"]), trial=SHORT)
    assert found.system.size < system.size
    with pytest.raises(LimitError, match="no smaller system"):
        learn(system, parse_observables(system, list(system.states)), trial=SHORT)


def test_one_state_cannot_be_approximated_in_a_chain() -> None:
    system = michaelis_menten()
    chain = ("conservation", "qssa", "approximate")
    found = sbmlump.reduce(system, "P", chain, fast=("ES",), **SHORT_RUN)
    assert found.system.size == 1
    assert [one["method"] for one in found.certificate.details["chain"]] == list(chain)
    assert any("nothing to approximate" in text for text in found.remarks)
