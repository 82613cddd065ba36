"""Totals that decay at one rate: found, a state eliminated by each, proved, written, read back and refuted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import libsbml
import numpy as np
import pytest
import roadrunner
from hypothesis import given, settings
from hypothesis import strategies as st
from network_models import saved, sbml_model
from strategies import mass_action_networks
from test_verify_tampering import accepted, changed_numbers

import sbmlump
from sbmlump.dynamics import EnsembleSettings, measure
from sbmlump.examples import network_from_reactions
from sbmlump.linalg import solve_rows
from sbmlump.methods import conservation
from sbmlump.model import Constant, Event, ExactProof, OdeSystem, to_text
from sbmlump.proof import verify
from sbmlump.sbml import load_sbml
from sbmlump.structure import decaying_totals, linear_integrals, structure_of

Array = np.ndarray
Rows = list[dict[int, Fraction]]


def diluted(system: OdeSystem, feeds: Mapping[str, Fraction], rate: str | Fraction) -> OdeSystem:
    """Every state flows out at one rate, and some are fed."""
    graph = system.graph
    factor = graph.symbol(rate) if isinstance(rate, str) else graph.number(rate)
    constants = (Constant(rate, graph.number(Fraction(1, 3))),) if isinstance(rate, str) else ()
    rhs = [
        graph.add(
            (flow, graph.number(feeds.get(name, Fraction(0))), graph.neg(graph.mul((factor, graph.symbol(name)))))
        )
        for name, flow in zip(system.states, system.rhs, strict=True)
    ]
    return replace(system, rhs=tuple(rhs), reactions=(), constants=(*system.constants, *constants))


def rows_of(system: OdeSystem, weights: list[Mapping[str, Fraction]]) -> Rows:
    return [{system.state_index[name]: value for name, value in one.items()} for one in weights]


@settings(deadline=None, max_examples=10)
@given(
    mass_action_networks(max_species=5, max_reactions=5, closed=True),
    st.dictionaries(st.sampled_from(["A1", "A2"]), st.sampled_from([Fraction(1, 2), Fraction(3)]), max_size=2),
    st.sampled_from(["dilution", Fraction(2, 7)]),
)
def test_under_uniform_dilution_conserved_totals_decay(
    system: OdeSystem, feeds: dict[str, Fraction], rate: str | Fraction
) -> None:
    laws = rows_of(system, [law.weights for law in linear_integrals(system)])
    moved = diluted(system, feeds, rate)
    value = Fraction(-1, 3) if isinstance(rate, str) else -rate
    totals = [total for total in decaying_totals(moved) if total.value == value]
    found = rows_of(moved, [total.weights for total in totals])
    assert all(solve_rows(found, law) is not None for law in laws)
    for total in totals:
        x = np.linspace(0.3, 2.0, moved.size)
        v = np.array([float(total.weights.get(name, 0)) for name in moved.states])
        inflow = float(sum(total.weights.get(name, Fraction(0)) * feed for name, feed in feeds.items()))
        assert v @ moved.rates(0.0, x) == pytest.approx(float(value) * (v @ x) + inflow, abs=1e-9)
    reduction = conservation(moved, decaying=True)
    assert isinstance(reduction.certificate, ExactProof)
    assert reduction.system.size == moved.size - len(decaying_totals(moved)) - len(linear_integrals(moved))
    if isinstance(rate, str) and reduction.system.size == moved.size - len(laws):
        assert "dilution" in reduction.certificate.symbolic
    if reduction.system.size:
        assert measure(reduction, EnsembleSettings(until=1.0, ensemble=2)).errors.max() < 1e-5


def turnover() -> str:
    """An enzyme and a substrate, made and diluted in a compartment of size 2; P is diluted, but also degraded."""
    laws = {
        "bind": ({"E": 1, "S": 1}, {"ES": 1}, "cell * k1 * E * S"),
        "leave": ({"ES": 1}, {"E": 1, "S": 1}, "cell * k2 * ES"),
        "turn": ({"ES": 1}, {"E": 1, "P": 1}, "cell * k3 * ES"),
        "feed_E": ({}, {"E": 1}, "cell * made"),
        "feed_S": ({}, {"S": 1}, "cell * 0.7"),
        "out_P": ({"P": 1}, {}, "cell * (growth + 0.1) * P"),
    }
    laws |= {f"out_{name}": ({name: 1}, {}, f"cell * growth * {name}") for name in ("E", "S", "ES")}
    parameters = {"k1": 0.7, "k2": 0.3, "k3": 0.4, "made": 0.2, "growth": 0.05}
    return sbml_model({"E": 1.5, "S": 4.0, "ES": 0.25, "P": 0.0}, laws, parameters)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    source, target = saved(tmp_path, turnover()), tmp_path / "reduced.xml"
    reduction = sbmlump.reduce(sbmlump.load(source), ["P"], "conservation", decaying=True)
    assert isinstance(reduction.certificate, ExactProof)
    assert (reduction.original.size, reduction.system.size) == (4, 3)
    reduction.write(target)
    return source, target


def test_the_rate_and_the_level_are_expressions_of_parameters(files: tuple[Path, Path]) -> None:
    system = load_sbml(files[0])
    (total,) = decaying_totals(system)
    graph = system.graph
    assert total.weights == {"E": 1, "ES": 1}
    assert (to_text(graph, total.rate), to_text(graph, total.inflow)) == ("-growth", "made")
    assert (total.rests_on, total.value) == ((), Fraction(-1, 20))
    assert total in structure_of(system).decaying
    assert "E + ES  (T' = (-growth)*T + made)" in structure_of(system).as_text()


def simulated(path: Path, values: Mapping[str, float], names: list[str]) -> Array:
    """What libRoadRunner makes of the file with other values of initial states and parameters."""
    document = libsbml.readSBMLFromFile(str(path))
    model = document.getModel()
    for name, value in values.items():
        species, parameter = model.getSpecies(name), model.getParameter(name)
        start = model.getParameter(f"{name}_at_start")
        if start is not None:
            start.setValue(value)
        elif species is not None:
            species.setInitialConcentration(value)
        else:
            parameter.setValue(value)
    runner = roadrunner.RoadRunner(libsbml.writeSBMLToString(document))
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-11, 1e-14
    runner.timeCourseSelections = names
    return np.array(runner.simulate(0, 60, 31))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"E": 0.1, "S": 9.0, "ES": 2.5},
        {"E": 0.0, "ES": 0.0, "P": 3.0},
        {"E": 8.0, "growth": 0.4, "made": 0.0, "k1": 2.0},
    ],
)
def test_libroadrunner_agrees_for_other_initial_values_and_parameters(
    files: tuple[Path, Path], values: dict[str, float]
) -> None:
    names = ["[E]", "[S]", "[ES]", "[P]"]
    before, after = (simulated(path, values, names) for path in files)
    np.testing.assert_allclose(after, before, rtol=1e-7, atol=1e-7 * np.abs(before).max())


def test_the_written_file_is_proved_and_a_spoilt_one_is_refuted(files: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = files
    proof = verify(source, target)
    assert isinstance(proof, ExactProof)
    assert "1 total of states relaxes at one rate" in proof.statement
    assert set(proof.symbolic) >= {"growth", "made", "k1"}
    found = list(changed_numbers(ET.parse(target).getroot()))
    assert len(found) > 20
    untouched = [what for what, tree in found if accepted(source, tree, tmp_path / "spoilt.xml")]
    assert untouched == ["speciesReference @stoichiometry: 1 -> 2"] * 5  # of E, which a rule defines now


@pytest.mark.parametrize(("old", "new"), [("growth", "k1"), ("made", "growth"), ("E + ES", "E - ES"), ("time", "1")])
def test_a_spoilt_total_is_refuted(files: tuple[Path, Path], tmp_path: Path, old: str, new: str) -> None:
    source, target = files
    text = target.read_text()
    head, mark, rest = text.partition("<total ")
    told, end, tail = rest.partition("</total>")
    assert mark
    assert old in told
    spoilt = tmp_path / "spoilt.xml"
    spoilt.write_text(head + mark + told.replace(old, new) + end + tail)
    assert not isinstance(verify(source, spoilt), ExactProof)


def test_a_rate_of_equal_values_rests_on_them() -> None:
    system = network_from_reactions(
        [("A -> B", 2), ("B -> A", 3), ("A ->", "d1"), ("B ->", "d2"), ("B + C -> C + C", 1)],
        initial={"A": 1, "B": 2, "C": 1},
        constants={"d1": Fraction(1, 4), "d2": Fraction(1, 4)},
    )
    assert decaying_totals(system) == ()
    lone = network_from_reactions(
        [("A -> B", 2), ("B + B -> A + A", 3), ("A ->", "d1"), ("B ->", "d2")],
        initial={"A": 1, "B": 2},
        constants={"d1": Fraction(1, 4), "d2": Fraction(1, 4)},
    )
    (total,) = decaying_totals(lone)
    assert (total.weights, total.rests_on) == ({"A": 1, "B": 1}, ("d1", "d2"))
    reduction = conservation(lone, decaying=True)
    assert isinstance(reduction.certificate, ExactProof)
    assert set(reduction.certificate.valid_for) == {"d1", "d2"}
    assert decaying_totals(lone, keep={"d2"}) == ()
    kept = conservation(lone, decaying=True, keep={"d1"})
    assert kept.system.size == 2
    assert isinstance(kept.certificate, ExactProof)
    assert "none that decays" in kept.certificate.statement


def test_a_total_of_which_an_event_sets_a_member_is_left_alone() -> None:
    system = network_from_reactions(
        [("A -> B", 2), ("B + B -> A + A", 3), ("A ->", 1), ("B ->", 1), ("C ->", 1)], initial={"A": 1, "B": 2, "C": 4}
    )
    graph = system.graph
    trigger = graph.call("gt", (graph.time(), graph.number(1)))
    system = replace(system, events=(Event(trigger, (("A", graph.number(5)),), id="dose"),))
    assert [(dict(t.weights), t.set_by) for t in decaying_totals(system)] == [
        ({"C": 1}, None),
        ({"A": 1, "B": 1}, "dose"),
    ]
    reduction = conservation(system, decaying=True)
    assert set(reduction.system.states) == {"A", "B"}
    assert isinstance(reduction.certificate, ExactProof)
    assert ("total-not-constant", "dose") in {(one.code, one.element) for one in reduction.reasons}


def test_irrational_rates_are_proved_by_their_symbols(tmp_path: Path) -> None:
    laws = {"out": ({"A": 1}, {}, "cell * A * ln(2) / half"), "use": ({"B": 1, "A": 1}, {"A": 1}, "cell * A * B")}
    system = load_sbml(saved(tmp_path, sbml_model({"A": 3.0, "B": 1.0}, laws, {"half": 7.0})))
    reduction = conservation(system, decaying=True)
    assert reduction.system.states == ("B",)
    assert isinstance(reduction.certificate, ExactProof)
    assert "half" in reduction.certificate.symbolic


def test_a_chain_tells_decaying_totals_of_a_later_step_in_the_original(tmp_path: Path) -> None:
    """The twins A and B add up and decay at one rate, E + F rests."""
    laws = {
        "turn": ({"E": 1}, {"F": 1}, "cell * E * k"),
        "back": ({"F": 1}, {"E": 1}, "cell * F"),
        "out_A": ({"A": 1}, {}, "cell * A * k"),
        "out_B": ({"B": 1}, {}, "cell * B * k"),
        "use": ({"Z": 1}, {}, "cell * Z * Z * (A + B)"),
    }
    source = saved(tmp_path, sbml_model({"E": 1, "F": 2, "A": 1, "B": 3, "Z": 1}, laws, {"k": 0.4}))
    for method in ("exact+conservation", "conservation+exact", "exact+conservation+exact"):
        reduction = sbmlump.reduce(sbmlump.load(source), ["Z", "E"], method, decaying=True)
        target = tmp_path / "chain.xml"
        reduction.write(target)
        assert isinstance(reduction.certificate, ExactProof), method
        assert isinstance(verify(source, target), ExactProof), method
        names = ["[Z]", "[E]"]
        np.testing.assert_allclose(simulated(target, {}, names), simulated(source, {}, names), rtol=1e-7, atol=1e-9)
