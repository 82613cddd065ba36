"""Approximate reductions: worked examples, what is promised of every result, and bad requests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sbmlump
from sbmlump.dynamics import Ensemble, integrate, pose, run_ensemble, timed_problem
from sbmlump.errors import LimitError, UnsupportedModelError, UsageError
from sbmlump.examples import michaelis_menten, multisite, network_from_reactions, ring
from sbmlump.methods import (
    Approximate,
    UnreachableError,
    conserved_totals,
    non_negative_projection,
    size_curve,
)
from sbmlump.model import (
    AffineLumping,
    ErrorEstimate,
    Event,
    ExactProof,
    Graph,
    OdeSystem,
    ReducedSystem,
    parse_observables,
)
from sbmlump.sbml import write_reduction


def reduced(system: OdeSystem, *observe: str, **options: object) -> ReducedSystem:
    return Approximate(**{"ensemble": 8, **options}).reduce(system, parse_observables(system, list(observe)))


def noisy() -> OdeSystem:
    """Two sites, ±5 % noise on each rate: 18 states, nothing exactly symmetric."""
    return multisite(2, noise=Fraction(1, 20), seed=3)


@pytest.fixture(scope="module")
def small() -> ReducedSystem:
    return reduced(noisy(), "kinase", until=2.0, max_error=0.01)


def test_a_noisy_model_becomes_small(small: ReducedSystem) -> None:
    assert small.system.size <= 4
    assert isinstance(small.certificate, ErrorEstimate)
    assert small.certificate.worst_error <= 0.01
    assert 0 < small.certificate.median_error <= small.certificate.worst_error


def test_the_map_is_a_projection(small: ReducedSystem) -> None:
    assert isinstance(small.map, AffineLumping)
    matrix, lift = small.matrix.array(), small.map.lift.array()
    assert np.allclose(matrix @ lift.T, np.eye(len(matrix)), atol=1e-8)
    offset = np.zeros(small.original.size)
    for column, value in small.map.offset.items():
        offset[column] = float(value)
    assert np.allclose(matrix @ offset, 0.0, atol=1e-8)
    x0 = small.original.initial_state()
    assert np.allclose(small.project(x0), small.system.initial_state(), atol=1e-9)
    assert small.lumps[0].members == {"kinase": Fraction(1)}


def test_the_written_equations_are_the_projected_ones(small: ReducedSystem) -> None:
    # at y: L f(L̄y + c), computed from the map and the original only
    assert isinstance(small.map, AffineLumping)
    rng = np.random.default_rng(0)
    y = small.system.initial_state() * rng.uniform(0.7, 1.3, small.system.size)
    expected = small.matrix.array() @ small.original.rates(0.0, small.lift(y))
    assert small.system.rates(0.0, y) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_observables_keep_their_ids_and_the_file_comes_back(small: ReducedSystem, tmp_path: Path) -> None:
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(small))
    back = sbmlump.load(path)
    assert back.states == small.system.states
    assert "kinase" in back.definitions
    y = back.initial_state()
    assert back.rates(0.0, y) == pytest.approx(small.system.rates(0.0, y), rel=1e-9)


def test_other_starts_stay_right(small: ReducedSystem) -> None:
    """A changed initial value, put into the reduced model's own constants, gives the observable of the original."""
    original = small.original
    changed = original.with_values({"kinase": Fraction(original.initial_state()[-2] * 1.15).limit_denominator(10**6)})
    constant = "kinase_at_start"
    assert constant in {c.id for c in small.system.constants}
    value = changed.initial_values[changed.state_index["kinase"]]
    assert value is not None
    moved = small.system.with_values({constant: changed.graph.number_of(value) or Fraction(0)})
    times = np.linspace(0.0, 2.0, 50)
    a = integrate(
        pose(changed, parse_observables(changed, ["kinase"])).vector_field(), changed.initial_state()[None], times
    )
    b = integrate(pose(moved, parse_observables(moved, ["kinase"])).vector_field(), moved.initial_state()[None], times)
    wanted = a.states[0, :, original.state_index["kinase"]]
    assert np.abs(b.states[0, :, 0] - wanted).max() <= 0.02 * np.abs(wanted).max()
    # and the change of the start is not a detail: the nominal reduced model is far from it
    assert moved.initial_state()[0] == pytest.approx(1.15 * small.system.initial_state()[0], rel=1e-4)


def test_training_and_validation_are_different_draws() -> None:
    problem = pose(noisy(), parse_observables(noisy(), ["kinase"]))
    training, checking = run_ensemble(problem, 1.0, (Ensemble(4), Ensemble(4)), 0)
    assert len(training.states) == 5  # the nominal run first
    assert np.allclose(training.starts[0], problem.start)
    for a in training.starts:
        for b in checking.starts:
            assert not np.allclose(a, b, rtol=1e-3)
    ratio = checking.starts[:, problem.start > 0] / problem.start[problem.start > 0]
    assert ratio.min() >= 0.8
    assert ratio.max() <= 1.2
    assert (checking.starts[:, problem.start == 0] >= 0).all()
    alone, fresh = run_ensemble(problem, 1.0, (Ensemble(0), Ensemble(4)), 0)
    assert len(alone.states) == 1
    assert fresh.numbers.tolist() == [1, 2, 3, 4]
    for run, number in zip(fresh.states, fresh.numbers, strict=True):  # each is the run that its number says
        again = integrate(fresh.vector_field, run[:1], fresh.times, run=np.array([number]))
        assert run == pytest.approx(again.states[0], rel=1e-4, abs=1e-6)
    assert fresh.scale == pytest.approx(np.abs(np.concatenate([alone.states, fresh.states])).max(axis=(0, 1)))


def test_conserved_totals_are_found_and_kept() -> None:
    system = michaelis_menten()
    problem = pose(system, parse_observables(system, ["P"]))
    totals = conserved_totals(problem, np.ones(problem.size))
    assert len(totals) == 2
    x = np.random.default_rng(0).uniform(0, 3, (5, problem.size))
    assert np.allclose(problem.vector_field().rates(x, np.arange(5)) @ totals.T, 0.0, atol=1e-12)


def test_totals_of_a_source_are_none() -> None:
    system = network_from_reactions(
        [("A -> B", 1), ("B -> A", 2), ("-> A", Fraction(1, 10))], initial={"A": Fraction(1), "B": Fraction(0)}
    )
    problem = pose(system, parse_observables(system, ["B"]))
    assert len(conserved_totals(problem, np.ones(2))) == 0


def test_estimate_is_close_to_the_truth(small: ReducedSystem) -> None:
    assert isinstance(small.certificate, ErrorEstimate)
    estimate, true = small.certificate.estimate, small.certificate.worst_error
    assert estimate is not None
    assert true / 2 <= estimate <= 2 * true
    assert "bound" not in small.certificate.as_json()["estimate_note"].replace("not a bound", "")


def test_refinement_improves() -> None:
    plain = reduced(noisy(), "kinase", until=2.0, max_size=2, ensemble=4)
    better = reduced(noisy(), "kinase", until=2.0, max_size=2, ensemble=4, refine=True)
    assert isinstance(plain.certificate, ErrorEstimate)
    assert isinstance(better.certificate, ErrorEstimate)
    assert better.system.size <= 2
    assert better.certificate.worst_error <= plain.certificate.worst_error


def test_non_negative_lifts_stay_non_negative() -> None:
    found = reduced(noisy(), "kinase", until=2.0, max_size=8, non_negative=True)
    assert isinstance(found.map, AffineLumping)
    assert found.matrix.non_negative
    assert found.map.lift.non_negative
    assert found.matrix.proper
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.details["lifted_state_non_negative"] is True


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.0]), min_size=5, max_size=5), st.integers(1, 6), st.integers(0, 9))
def test_no_lump_is_empty_however_alike_the_states_are(kinds: list[float], size: int, seed: int) -> None:
    """States whose courses are equal fill one lump: each of the others is left with a state of its own."""
    initial = {f"X{i}": Fraction(int(i == 0)) for i in range(6)}
    system = network_from_reactions([(f"X{i} -> X{i + 1}", 1) for i in range(5)], initial=initial)
    problem = pose(system, parse_observables(system, ["X5"]))
    (sample,) = run_ensemble(problem, 1.0, (Ensemble(2),), 0)
    states = sample.states.copy()
    falling = np.exp(-sample.times)
    for i, kind in enumerate(kinds):  # falling, rising or none at all
        states[:, :, i] = 0.0 if kind == 0 else kind * falling if kind > 0 else 1 - falling
    alike = replace(sample, states=states, scale=np.maximum(np.abs(states).max(axis=(0, 1)), 1e-3))
    found = non_negative_projection(problem, alike, size, seed, np.ones(6), 1)
    assert found is not None
    assert (np.abs(found.matrix).max(axis=1) > 0).all()
    assert np.allclose(found.matrix @ found.lift, np.eye(found.size), atol=1e-9)


def test_a_sum_is_pinned_as_it_is() -> None:
    found = reduced(noisy(), "total = S_UU + 2*S_PP", until=2.0, max_error=0.02)
    assert found.lumps[0].members == {"S_UU": Fraction(1), "S_PP": Fraction(2)}
    x0 = found.original.initial_state()
    index = found.original.state_index
    wanted = x0[index["S_UU"]] + 2 * x0[index["S_PP"]]
    value = found.system.definitions["total"]
    assert found.system.graph.symbols([value]) == {found.system.states[0]}
    assert found.system.initial_state()[0] == pytest.approx(wanted)


def test_an_observable_that_is_not_linear_pins_its_states() -> None:
    found = reduced(noisy(), "rate = kinase*S_UU", until=2.0, max_error=0.02)
    assert {lump.id for lump in found.lumps[:2]} == {"kinase", "S_UU"}
    assert "rate" in found.system.definitions


def test_time_in_the_model() -> None:
    g = Graph()
    a, b, c = (g.symbol(name) for name in "abc")
    drive = g.call("sin", (g.time(),))
    rhs = (g.sub(drive, a), g.sub(a, b), g.sub(g.mul((g.number(3), b)), c))
    system = OdeSystem(g, ("a", "b", "c"), (g.number(1), g.number(0), g.number(0)), rhs)
    found = reduced(system, "b", until=10.0, max_error=0.001)
    assert "b" in found.system.states
    assert found.system.size <= 2
    assert not found.system.autonomous


def pulsed(trigger_on_state: bool) -> OdeSystem:
    """Five states in a chain; the first is set to 3 at time 2, or when the last exceeds 1/10."""
    base = network_from_reactions(
        [("A -> B", 1), ("B -> C", 2), ("C -> B", 1), ("C -> D", 3), ("D ->", 1)],
        initial={"A": Fraction(1), "B": Fraction(0), "C": Fraction(0), "D": Fraction(0)},
    )
    g = base.graph
    left = g.symbol("D") if trigger_on_state else g.time()
    trigger = g.call("gt", (left, g.decimal(0.1 if trigger_on_state else 2.0)))
    return replace(base, events=(Event(trigger, (("A", g.number(3)),), id="pulse"),))


def test_a_timed_event_is_carried_over() -> None:
    found = reduced(pulsed(False), "D", until=6.0, max_error=0.05)
    assert len(found.system.events) == 1
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.worst_error <= 0.05
    assert found.system.size < 4


def test_an_event_that_mentions_time_where_nothing_else_does() -> None:
    """The right-hand side is autonomous, so time is no state; the reset has the time at which it happens."""
    base = pulsed(False)
    (event,) = base.events
    timed = replace(base, events=(replace(event, assignments=(("A", base.graph.time()),)),))
    plain = replace(base, events=(replace(event, assignments=(("A", base.graph.number(2)),)),))
    found, expected = (reduced(one, "D", until=6.0, max_error=0.05) for one in (timed, plain))
    assert isinstance(found.certificate, ErrorEstimate)
    assert isinstance(expected.certificate, ErrorEstimate)
    assert found.certificate.worst_error == pytest.approx(expected.certificate.worst_error, rel=1e-6)
    assert found.system.size == expected.system.size


def test_an_event_that_states_trigger_leaves_the_exact_lumping() -> None:
    found = reduced(pulsed(True), "D", until=6.0)
    assert isinstance(found.certificate, ExactProof)
    assert (found.method, found.system.size) == ("approximate", 4)
    assert [r.code for r in found.reasons] == ["exact-instead"]
    assert "its trigger depends on states" in found.reasons[0].message
    with pytest.raises(UnsupportedModelError) as caught:
        reduced(pulsed(True), "D", until=6.0, max_size=3)
    assert [r.code for r in caught.value.reasons] == ["event-not-lumpable"]
    assert caught.value.reasons[0].element == "pulse"


def test_an_event_at_time_zero_is_refused() -> None:
    """Runs begin at the initial values: it would be lost on one side of every comparison."""
    base = pulsed(False)
    g = base.graph
    (event,) = base.events
    at_once = replace(event, trigger=g.call("geq", (g.time(), g.number(0))), initial_value=False)
    for method in (lambda one: reduced(one, "D", until=6.0, max_size=3), timed_problem):
        with pytest.raises(UnsupportedModelError) as caught:
            method(replace(base, events=(at_once,)))
        assert [r.code for r in caught.value.reasons] == ["event-not-lumpable"]
        assert "time 0" in caught.value.reasons[0].message
    true_from_the_start = replace(at_once, initial_value=True)
    assert reduced(replace(base, events=(true_from_the_start,)), "D", until=6.0, max_error=0.05).system.size


def test_two_events_between_two_output_times_are_both_in_the_estimate() -> None:
    base = pulsed(False)
    g = base.graph
    (event,) = base.events
    second = replace(
        event,
        trigger=g.call("geq", (g.time(), g.number(Fraction(20001, 10000)))),
        assignments=(("C", g.number(1)),),
        id="b",
    )
    first = replace(event, trigger=g.call("geq", (g.time(), g.number(2))), assignments=(("A", g.number(3)),), id="a")
    found = reduced(replace(base, events=(first, second)), "D", until=6.0, max_error=0.15)
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.fresh is not None
    assert found.certificate.fresh.above <= 5  # of a hundred
    assert 0 < found.certificate.worst_error < 0.16
    assert found.certificate.estimate == pytest.approx(found.certificate.worst_error, rel=0.5)


def test_parameters_can_stay() -> None:
    found = reduced(noisy(), "kinase", until=2.0, max_error=0.05, perturb_parameters=0.1)
    mentioned = found.system.graph.symbols(found.system.rhs)
    assert {"a1", "d1", "c1"} <= mentioned
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.worst_error <= 0.05


@pytest.mark.parametrize(
    "options",
    [
        {"until": 0.0},
        {"until": -1.0},
        {"until": float("nan")},
        {"max_size": 18},
        {"max_size": 0},
        {"max_error": 0.0},
        {"spread": 1.0},
        {"ensemble": -1},
        {"tolerance": 0.1},
        {"tolerance": -1.0, "algorithm": "krylov"},
        {"algorithm": "magic"},
        {"algorithm": "krylov", "refine": True},
    ],
)
def test_bad_requests(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        reduced(noisy(), "kinase", **options)
    assert {r.code for r in caught.value.reasons} == {"bad-horizon" if "until" in options else "bad-option"}


def test_all_mistakes_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        reduced(noisy(), "kinase", until=-1.0, max_size=0, spread=2.0)
    assert len(caught.value.reasons) == 3
    with pytest.raises(UsageError) as caught:
        reduced(noisy(), "kinase", max_size=99, tolerance=0.1)
    assert len(caught.value.reasons) == 3


def test_an_unreachable_error_gives_the_best_found() -> None:
    with pytest.raises(UnreachableError) as caught:
        reduced(noisy(), "kinase", until=2.0, max_error=1e-30, max_size=3)
    assert caught.value.exit_code == 4
    best = caught.value.reduction
    assert best is not None
    assert best.system.size <= 3
    assert isinstance(best.certificate, ErrorEstimate)
    assert best.certificate.worst_error < 0.05


def test_a_model_that_does_not_simulate_says_when() -> None:
    g = Graph()
    x = g.symbol("x")
    system = OdeSystem(g, ("x", "y"), (g.number(1), g.number(0)), (g.pow(x, g.number(2)), x))
    with pytest.raises(LimitError) as caught:
        reduced(system, "y", until=5.0)
    assert caught.value.reasons[0].code == "not-simulated"
    assert "at time" in str(caught.value)


def test_nothing_to_observe() -> None:
    system = ring(4)
    with pytest.raises(UsageError):
        Approximate().reduce(system, parse_observables(system, ["c = 2"]))


def test_curve() -> None:
    system = noisy()
    result = size_curve(system, parse_observables(system, ["kinase"]), Approximate(until=2.0, ensemble=6, max_size=5))
    balanced = [p for p in result.points if p.algorithm == "balanced"]
    krylov = [p for p in result.points if p.algorithm == "krylov"]
    assert [p.size for p in balanced] == [p.size for p in krylov] == [1, 2, 3, 4, 5]
    errors = [p.max_relative_error for p in balanced]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 1e-3 < krylov[3].max_relative_error


def test_the_same_seed_gives_the_same_result(small: ReducedSystem) -> None:
    again = reduced(noisy(), "kinase", until=2.0, max_error=0.01)
    assert again.matrix.rows == small.matrix.rows


def test_a_thousand_states_stay_far_below_the_work_that_is_allowed():
    system = multisite(5, noise=Fraction(1, 20))
    result = Approximate(max_size=3, until=2.0, work=6.0).reduce(system, parse_observables(system, ["kinase"]))
    assert result.system.size == 3
    assert result.certificate.worst_error < 1e-3
