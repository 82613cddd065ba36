from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.simulation_models import chain, jump_at, number, ode, scaled

from sbmlump.dynamics import round_above
from sbmlump.simulators import compare_simulated, simulated_file, simulator_named, time_span_of_model


def span_of(path):
    return time_span_of_model(simulator_named("roadrunner").load(path), simulated_file(path).switches.named)


@pytest.mark.parametrize("rate", [1e-6, 0.02, 1.0, 3e5])
def test_decay_is_followed_until_it_is_over(file, rate):
    span = span_of(file(ode(("x", 5.0, scaled(-rate, "x")))))
    assert 5.0 <= span.until * rate <= 60.0
    assert "at rest" in span.reason


def test_the_slow_time_scale_of_a_stiff_model_counts(file):
    path = file(ode(("fast", 1.0, scaled(-1e4, "fast")), ("slow", 1.0, scaled(-1e-2, "slow"))))
    assert 500.0 <= span_of(path).until <= 5000.0


def test_the_span_is_that_of_what_is_watched(file):
    # x rises and falls within 1; on a grid to 5000 of 201 points nothing of it would be seen.
    rise = f"<apply><minus/>{scaled(20.0, 'fast')}{scaled(10.0, 'x')}</apply>"
    path = file(ode(("fast", 1.0, scaled(-20.0, "fast")), ("x", 0.0, rise), ("slow", 1.0, scaled(-1e-2, "slow"))))
    short = compare_simulated(path, path, observables=["x"])
    assert 0.3 <= short.until <= 5.0
    assert "at rest" in short.horizon_reason
    assert compare_simulated(path, path, observables=["slow"]).until >= 500.0


def test_an_oscillation_is_followed_for_periods(file):
    path = file(ode(("x", 1.0, "<ci>y</ci>"), ("y", 0.0, scaled(-4.0, "x"))))
    span = span_of(path)
    assert 4.0 <= span.until / math.pi <= 20.0
    assert "oscillates" in span.reason


def test_steady_growth_beside_a_decay_does_not_go_on_for_ever(file):
    path = file(ode(("x", 1.0, scaled(-1.0, "x")), ("sink", 0.0, number(2.0))))
    assert 5.0 <= span_of(path).until <= 100.0


def test_exponential_growth_stops_after_some_thousandfold(file):
    span = span_of(file(ode(("x", 1.0, scaled(0.1, "x")))))
    assert 50.0 <= span.until <= 300.0
    assert "without bound" in span.reason


def test_a_pole_lies_beyond_the_end_time(file):
    span = span_of(file(ode(("x", 1.0, "<apply><times/><ci>x</ci><ci>x</ci></apply>"))))
    assert 0.1 <= span.until < 1.0


def test_a_model_at_rest_has_a_span_by_convention(file):
    span = span_of(file(ode(("x", 1.0, number(0.0)))))
    assert span.until == 100.0
    assert "does not change" in span.reason


def test_a_mentioned_time_is_passed(file):
    span = span_of(file(jump_at(37.0)))
    assert span.until > 37.0


def test_the_choice_is_repeatable_and_is_said(file):
    path = file(chain())
    first, second = span_of(path), span_of(path)
    assert first == second
    reports = [compare_simulated(path, path) for _ in range(2)]
    assert reports[0].until == reports[1].until
    assert reports[0].horizon_reason == reports[1].horizon_reason
    assert reports[0].horizon_reason.startswith(first.reason)


@given(st.floats(1e-12, 1e12))
def test_round_numbers_are_the_next_ones_above(value):
    nice = round_above(value)
    assert value * (1 - 1e-9) <= nice <= 2.5 * value * (1 + 1e-9)
    assert f"{nice:.0e}"[0] in "125"


@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_a_model_of_which_nothing_is_watched_has_an_end_time(file, simulator):
    """All that is observed may be a constant: there is nothing to look at, and nothing to fail on."""
    path = file(ode(("x", 5.0, scaled(-1.0, "x"))))
    span = time_span_of_model(simulator_named(simulator).load(path), observed=[], selections={})
    assert span.until == 100.0
    assert "does not change" in span.reason
