from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.simulation_models import chain, jump_at, number, ode, scaled

from sbmlump.simulators import choose_horizon, compare, simulator_named
from sbmlump.simulators.simulated import simulated_file
from sbmlump.simulators.time_span import nice_above


def horizon_of(path):
    return choose_horizon(simulator_named("roadrunner").load(path), simulated_file(path).switches.named)


@pytest.mark.parametrize("rate", [1e-6, 0.02, 1.0, 3e5])
def test_decay_is_followed_until_it_is_over(file, rate):
    horizon = horizon_of(file(ode(("x", 5.0, scaled(-rate, "x")))))
    assert 5.0 <= horizon.until * rate <= 60.0
    assert "at rest" in horizon.reason


def test_the_slow_time_scale_of_a_stiff_model_counts(file):
    path = file(ode(("fast", 1.0, scaled(-1e4, "fast")), ("slow", 1.0, scaled(-1e-2, "slow"))))
    assert 500.0 <= horizon_of(path).until <= 5000.0


def test_the_horizon_is_that_of_what_is_watched(file):
    # x rises and falls within 1; on a grid to 5000 of 201 points nothing of it would be seen.
    rise = f"<apply><minus/>{scaled(20.0, 'fast')}{scaled(10.0, 'x')}</apply>"
    path = file(ode(("fast", 1.0, scaled(-20.0, "fast")), ("x", 0.0, rise), ("slow", 1.0, scaled(-1e-2, "slow"))))
    short = compare(path, path, observables=["x"])
    assert 0.3 <= short.until <= 5.0
    assert "shortened" in short.horizon_reason
    assert compare(path, path, observables=["slow"]).until >= 500.0


def test_an_oscillation_is_followed_for_periods(file):
    path = file(ode(("x", 1.0, "<ci>y</ci>"), ("y", 0.0, scaled(-4.0, "x"))))
    horizon = horizon_of(path)
    assert 4.0 <= horizon.until / math.pi <= 20.0
    assert "oscillates" in horizon.reason


def test_steady_growth_beside_a_decay_does_not_go_on_for_ever(file):
    path = file(ode(("x", 1.0, scaled(-1.0, "x")), ("sink", 0.0, number(2.0))))
    assert 5.0 <= horizon_of(path).until <= 100.0


def test_exponential_growth_stops_after_some_thousandfold(file):
    horizon = horizon_of(file(ode(("x", 1.0, scaled(0.1, "x")))))
    assert 50.0 <= horizon.until <= 300.0
    assert "without bound" in horizon.reason


def test_a_pole_lies_beyond_the_horizon(file):
    horizon = horizon_of(file(ode(("x", 1.0, "<apply><times/><ci>x</ci><ci>x</ci></apply>"))))
    assert 0.1 <= horizon.until < 1.0


def test_a_model_at_rest_has_a_horizon_by_convention(file):
    horizon = horizon_of(file(ode(("x", 1.0, number(0.0)))))
    assert horizon.until == 100.0
    assert "rest from the start" in horizon.reason


def test_a_mentioned_time_is_passed(file):
    horizon = horizon_of(file(jump_at(37.0)))
    assert horizon.until > 37.0


def test_the_choice_is_repeatable_and_is_said(file):
    path = file(chain())
    first, second = horizon_of(path), horizon_of(path)
    assert first == second
    reports = [compare(path, path) for _ in range(2)]
    assert reports[0].until == reports[1].until
    assert reports[0].horizon_reason == reports[1].horizon_reason
    assert reports[0].horizon_reason.startswith(first.reason)


@given(st.floats(1e-12, 1e12))
def test_round_numbers_are_the_next_ones_above(value):
    nice = nice_above(value)
    assert value * (1 - 1e-9) <= nice <= 2.5 * value * (1 + 1e-9)
    assert f"{nice:.0e}"[0] in "125"
