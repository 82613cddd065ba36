"""Learned closures: systems whose closure is known, what is written simulated by another tool, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import roadrunner

from sbmlump.dynamics import EnsembleSettings
from sbmlump.errors import LimitError, UnsupportedModelError, UsageError
from sbmlump.methods import LearningSettings, UnreachableError, learn
from sbmlump.model import ErrorEstimate, Event, Graph, OdeSystem, ReducedSystem, parse_expression, parse_observables
from sbmlump.sbml import write_reduction

QUICK = LearningSettings(entrants=2, first_steps=2, first_runs=4)
"""Sizes that are too small are given up soon."""


def ode(texts: dict[str, str], initial: dict[str, float]) -> OdeSystem:
    graph = Graph()
    symbols = {"t": graph.time(), **{name: graph.symbol(name) for name in initial}}
    rhs = tuple(parse_expression(graph, texts[name], symbols) for name in initial)
    return OdeSystem(graph, tuple(initial), tuple(graph.number(Fraction(str(v))) for v in initial.values()), rhs)


def chain() -> OdeSystem:
    """A → B → C → D, of which C is a linear function of three states."""
    texts = {"A": "-2*A", "B": "2*A - B", "C": "B - C/2", "D": "C/2"}
    return ode(texts, {"A": 1.0, "B": 0.0, "C": 0.0, "D": 0.0})


def until(time: float) -> EnsembleSettings:
    return EnsembleSettings(until=time)


def estimate(found: ReducedSystem) -> ErrorEstimate:
    assert isinstance(found.certificate, ErrorEstimate)
    return found.certificate


def by_roadrunner(found: ReducedSystem, name: str, times: np.ndarray, folder: Path) -> np.ndarray:
    """A quantity of the written model at some times, by libRoadRunner."""
    path = folder / "learned.xml"
    path.write_bytes(write_reduction(found))
    runner = roadrunner.RoadRunner(str(path))
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-12
    return np.asarray(runner.simulate(times=list(times), selections=[name]))[:, 0]


def test_an_oscillator_is_exact(tmp_path: Path) -> None:
    system = ode({"x": "v", "v": "-x", "s": "x - s"}, {"x": 1.0, "v": 0.0, "s": 1.0})
    found = learn(system, parse_observables(system, ["x"]), trial=until(30.0), settings=QUICK)
    assert found.system.size == 2
    assert estimate(found).worst_error < 1e-6
    assert estimate(found).details["terms"] <= 4
    times = np.linspace(0.0, 30.0, 61)
    np.testing.assert_allclose(by_roadrunner(found, "x", times, tmp_path), np.cos(times), atol=1e-6)


def test_a_chain_is_learned_with_the_states_that_matter() -> None:
    system = chain()
    found = learn(system, parse_observables(system, ["C"]), max_error=1e-5, trial=until(8.0), settings=QUICK)
    assert found.system.size == 3  # D does not influence C
    assert estimate(found).worst_error < 1e-6
    assert estimate(found).ensemble > 100


def test_a_michaelis_menten_rate_has_a_denominator() -> None:
    """P' = 2(T − P)/(1 + T − P) with the conserved total T = S + P: one state, which polynomials only come near."""
    system = ode({"S": "-(2*S/(1 + S))", "P": "2*S/(1 + S)"}, {"S": 3.0, "P": 0.0})
    observed = parse_observables(system, ["P"])
    found = learn(system, observed, max_size=1, rational=True, trial=until(4.0), settings=QUICK)
    assert estimate(found).worst_error < 1e-5
    assert estimate(found).details["rational"]
    assert len(found.map.totals) == 1
    plain = learn(system, observed, max_size=1, trial=until(4.0), settings=QUICK)
    assert not estimate(plain).details["rational"]
    assert estimate(found).worst_error < estimate(plain).worst_error < 0.05


def test_an_event_is_carried_over(tmp_path: Path) -> None:
    system = chain()
    graph = system.graph
    trigger = graph.call("gt", (graph.time(), graph.number(1)))
    dose = Event(trigger, (("A", graph.add((graph.symbol("A"), graph.number(1)))),), id="dose")
    system = replace(system, events=(dose,))
    found = learn(system, parse_observables(system, ["C"]), max_error=1e-4, trial=until(5.0), settings=QUICK)
    assert found.system.size == 3
    assert estimate(found).worst_error < 1e-6
    times = np.linspace(0.0, 5.0, 41)

    def course(t: np.ndarray) -> np.ndarray:
        """C after a unit of A at 0."""
        part = 2 * np.exp(-0.5 * t) / (1.5 * 0.5) - 2 * np.exp(-t) / (1 * 0.5) + 2 * np.exp(-2 * t) / (1 * 1.5)
        return np.where(t >= 0, part, 0.0)

    expected = course(times) + course(times - 1.0)
    np.testing.assert_allclose(by_roadrunner(found, "C", times, tmp_path), expected, atol=1e-6)


def test_an_event_that_states_trigger_is_refused() -> None:
    system = chain()
    graph = system.graph
    trigger = graph.call("gt", (graph.symbol("B"), graph.number(Fraction(1, 10))))
    system = replace(system, events=(Event(trigger, (("A", graph.number(1)),), id="dose"),))
    with pytest.raises(UnsupportedModelError) as caught:
        learn(system, parse_observables(system, ["C"]), trial=until(5.0))
    assert caught.value.reasons[0].code == "event-not-lumpable"


def test_what_falls_short_says_why_and_gives_the_best() -> None:
    system = chain()
    with pytest.raises(UnreachableError) as caught:
        learn(system, parse_observables(system, ["C"]), max_size=1, max_error=1e-3, trial=until(8.0), settings=QUICK)
    assert [one.code for one in caught.value.reasons] == ["target-not-reached", "closure-limited"]
    assert caught.value.reduction is not None
    assert estimate(caught.value.reduction).worst_error > 1e-3
    found = learn(system, parse_observables(system, ["C"]), max_size=1, trial=until(8.0), settings=QUICK)
    assert any("no learned system of at most 1 states" in text for text in found.remarks)


def test_the_work_is_bounded() -> None:
    system = chain()
    with pytest.raises(LimitError) as caught:
        learn(system, parse_observables(system, ["C"]), max_error=1e-5, work=0.01, trial=until(8.0))
    assert caught.value.reasons[0].code == "work-limit"


def test_the_map_may_be_given() -> None:
    system = chain()
    observed = parse_observables(system, ["C"])
    rows = [{0: Fraction(1), 1: Fraction(1)}, {1: Fraction(1)}, {2: Fraction(1)}]
    found = learn(system, observed, lumping=rows, trial=until(8.0))
    assert [dict(lump.members) for lump in found.lumps] == [{"C": 1}, {"A": 1, "B": 1}, {"B": 1}]
    assert estimate(found).worst_error < 1e-6
    with pytest.raises(UsageError) as caught:
        learn(system, observed, lumping=rows[:2], trial=until(8.0))
    assert caught.value.reasons[0].code == "bad-lumping"


def test_the_same_seed_gives_the_same_closure() -> None:
    system = chain()
    observed = parse_observables(system, ["C"])
    first, second = (learn(system, observed, max_size=1, trial=until(8.0), settings=QUICK) for _ in range(2))
    assert write_reduction(first) == write_reduction(second)


def test_time_is_a_feature(tmp_path: Path) -> None:
    system = ode({"x": "t - x", "y": "x - y", "z": "y - z"}, {"x": 0.0, "y": 0.0, "z": 1.0})
    found = learn(system, parse_observables(system, ["y"]), trial=until(4.0), settings=QUICK)
    assert found.system.size == 2
    assert estimate(found).worst_error < 1e-6
    times = np.linspace(0.0, 4.0, 21)
    expected = times - 2 + (times + 2) * np.exp(-times)
    np.testing.assert_allclose(by_roadrunner(found, "y", times, tmp_path), expected, atol=1e-6)
