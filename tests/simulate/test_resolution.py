"""What lies between the points of a grid, beyond its end, or below the others is seen, or it is said that it is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_models import sbml_model
from simulate.simulation_models import math_of, number, ode, parameter, scaled

from sbmlump.dynamics import TimeSwitches
from sbmlump.isolate import Limits
from sbmlump.model import Graph
from sbmlump.simulators import IntegrationError, compare_simulated, simulated_file

TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> t </csymbol>'


def relation(name, left, right):
    return f"<apply><{name}/>{left}{right}</apply>"


def named(name):
    return f'id="{name}" ' if name else ""


def with_events(text, *events):
    """``text`` with events (id or nothing, trigger, target, value)."""
    listed = "".join(
        f'<event {named(name)}useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
        f"{math_of(trigger)}</trigger><listOfEventAssignments>"
        f'<eventAssignment variable="{target}">{math_of(value)}</eventAssignment></listOfEventAssignments></event>'
        for name, trigger, target, value in events
    )
    return text.replace("</model>", f"<listOfEvents>{listed}</listOfEvents></model>")


def decay(rate=1.0):
    return ode(("A", 1.0, scaled(-rate, "A")))


def dose(moment, amount=4.0, name="dose"):
    return name, relation("gt", TIME, number(moment)), "A", f"<apply><plus/><ci>A</ci>{number(amount)}</apply>"


@pytest.mark.parametrize(("simulator", "moment"), [("roadrunner", 1234.5), ("roadrunner", 40_000.0), ("own", 1234.5)])
def test_a_dose_between_two_points_of_a_coarse_grid_is_seen(file, simulator, moment):
    report = compare_simulated(file(with_events(decay(), dose(moment))), file(decay()), simulator=simulator)
    assert report.until > moment
    assert report.max_absolute_error == pytest.approx(4.0, rel=1e-3)


@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_a_dose_that_comes_a_little_later_is_seen(file, simulator):
    first, second = file(with_events(decay(), dose(500.1))), file(with_events(decay(), dose(501.0)))
    assert compare_simulated(first, second, until=1000.0, points=51, simulator=simulator).max_relative_error > 0.5
    same = compare_simulated(first, first, until=1000.0, points=51, simulator=simulator)
    assert same.max_relative_error == 0.0


def pulse(begin, width, level):
    window = f"<apply><and/>{relation('geq', TIME, number(begin))}{relation('lt', TIME, number(begin + width))}</apply>"
    return f"<piecewise><piece>{number(level)}{window}</piece><otherwise>{number(0.0)}</otherwise></piecewise>"


@pytest.mark.parametrize(
    ("simulator", "event"), [("roadrunner", False), ("roadrunner", True), ("own", True), ("scipy", False)]
)
def test_a_pulse_that_is_over_before_the_next_point_is_seen(file, simulator, event):
    inner = f"<apply><minus/>{pulse(6.0123, 0.002, 1000.0)}{scaled(300.0, 'x')}</apply>"
    text, other = ode(("x", 0.0, inner), ("A", 0.0, number(1.0))), ode(("x", 0.0, scaled(-300.0, "x")))
    if event:
        text = with_events(text, dose(3.0))
    report = compare_simulated(file(text), file(other), until=10.0, observables=["x"], simulator=simulator)
    top = 1000.0 / 300.0 * (1 - np.exp(-0.6))
    assert report.max_absolute_error == pytest.approx(top, rel=0.05)


@pytest.mark.parametrize("late", [300.0, 3000.0])
def test_an_event_of_a_slow_state_is_reached_or_named(file, late):
    slow = ode(("A", 1.0, scaled(-1.0, "A")), ("s", 0.0, number(1.0 / late)))
    event = ("slow_one", relation("gt", "<ci>s</ci>", number(1.0)), "A", number(9.0))
    report = compare_simulated(file(with_events(slow, event)), file(slow))
    named = any("slow_one" in remark for remark in report.remarks)
    assert report.max_absolute_error > 8.0 or named
    short = compare_simulated(file(with_events(slow, event)), file(slow), until=0.1 * late)
    assert short.max_relative_error == pytest.approx(0.0, abs=1e-9)
    assert any("slow_one" in remark and "not seen to be triggered" in remark for remark in short.remarks)
    fired = compare_simulated(file(with_events(slow, event)), file(slow), until=2.0 * late)
    assert not any("slow_one" in remark for remark in fired.remarks)


@pytest.mark.parametrize("late", [30.0, 300.0, 3000.0])
def test_a_branch_that_a_slow_state_opens_is_reached(file, late):
    opened = f"<piecewise><piece>{number(1.0)}{relation('gt', '<ci>s</ci>', number(1.0))}</piece>"
    opened += f"<otherwise>{number(0.0)}</otherwise></piecewise>"
    fed = f"<apply><minus/>{opened}{scaled(0.5, 'B')}</apply>"
    slow = [("A", 1.0, scaled(-1.0, "A")), ("s", 0.0, number(1.0 / late))]
    report = compare_simulated(file(ode(*slow, ("B", 0.0, fed))), file(ode(*slow, ("B", 0.0, scaled(-0.5, "B")))))
    assert report.until > late
    assert report.per_observable["B"].max_absolute_error == pytest.approx(2.0, rel=0.02)


def timer(period, *events, rate=-1.0):
    """A decays; an event moves the time at which it comes next, so that its trigger is false again at once."""
    later = f"<apply><plus/><ci>next</ci>{number(period)}</apply>"
    text = ode(("A", 1.0, scaled(rate, "A")), ("next", period, number(0.0)))
    return with_events(text, *events, ("tick", relation("gt", TIME, "<ci>next</ci>"), "next", later))


@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_an_event_that_sets_its_own_timer_is_seen(file, simulator):
    first, second = (file(timer(700.0, rate=rate)) for rate in (-1.0, -1.1))
    report = compare_simulated(first, second, until=5000.0, simulator=simulator)
    assert report.max_relative_error > 0.01
    assert not any("not seen to be triggered" in remark for remark in report.remarks)
    early = compare_simulated(first, second, until=500.0, simulator=simulator)
    assert any("not seen to be triggered" in remark and "tick" in remark for remark in early.remarks)


BESIDE = {
    "nothing": [],
    "an event at time 0": [("begin", relation("geq", TIME, number(0.0)), "A", number(2.0))],
    "a later event": [("late", relation("gt", TIME, number(2.5)), "A", number(2.0))],
    "an event without id": [("", relation("gt", TIME, number(1.0)), "A", number(2.0))],
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("period", [0.1, 700.0])
def test_events_without_end_end_the_look_for_an_end_time(file, beside, period):
    text, other = (timer(period, *BESIDE[beside], rate=rate) for rate in (-1.0, -1.1))
    if "without id" in beside:  # libRoadRunner cannot tell of events then; so it is only loaded, and run to a time
        report = compare_simulated(file(text), file(other), until=20.0, observables=["A"])
    else:
        report = compare_simulated(file(text), file(other), observables=["A"])
        assert 10.0 <= report.until <= 300.0 * period + 20.0
    assert report.max_relative_error > 0.01


def test_a_guard_that_never_changes_does_not_make_a_branch_late(file):
    """The branch is seen from the start, though a coarser look beyond the end meets it later."""
    narrow = f"<piecewise><piece>{number(1.0)}{relation('gt', '<ci>x</ci>', number(0.98))}</piece>"
    narrow += f"<piece>{number(5.0)}{relation('gt', '<ci>x</ci>', number(99.0))}</piece>"
    narrow += f"<otherwise>{number(0.0)}</otherwise></piecewise>"
    fed = f"<apply><minus/>{narrow}{scaled(1.0, 'z')}</apply>"
    path = file(ode(("x", 0.0, "<ci>y</ci>"), ("y", 1.0, scaled(-1.0, "x")), ("z", 0.0, fed)))
    assert "oscillates" in compare_simulated(path, path).horizon_reason


@pytest.mark.parametrize("moment", [101.3, 211.7, 322.4, 581.2, 753.1, 952.8])
def test_what_an_event_of_a_state_sets_is_seen_right_after_it(file, moment):
    slow = ode(("A", 1.0, scaled(-1.0, "A")), ("s", 0.0, number(1.0 / moment)))
    event = ("slow_one", relation("gt", "<ci>s</ci>", number(1.0)), "A", number(9.0))
    report = compare_simulated(file(with_events(slow, event)), file(slow), until=2000.0)
    # not what is left of it at some later step of the integrator: which steps there are is a matter of rounding
    assert report.max_absolute_error == pytest.approx(9.0, rel=2e-3)


@pytest.mark.parametrize("simulator", ["roadrunner", "own", "scipy"])
def test_a_tiny_quantity_is_held_against_itself(file, simulator):
    rates = {"A": "-A", "B": "-B"}
    first, second = (
        sbml_model({"A": size, "B": 2.0}, {}, {}, rate_rules=rates, boundary=["A", "B"]) for size in (3e-19, 4.5e-19)
    )
    report = compare_simulated(file(first), file(second), until=3.0, simulator=simulator)
    assert report.per_observable["A"].max_relative_error == pytest.approx(0.5, rel=1e-3)
    assert any(remark.startswith("A is at most") for remark in report.remarks)


def test_noise_of_large_quantities_is_no_difference(file):
    # C' = 1e-3 (A - B) is 0, as both decay alike: what is seen of it is rounding
    gap = f"<apply><times/>{number(1e-3)}<apply><minus/><ci>A</ci><ci>B</ci></apply></apply>"
    first = ode(("A", 3.0, scaled(-1.0, "A")), ("B", 3.0, scaled(-1.0, "B")), ("C", 0.0, gap))
    other = ode(("C", 0.0, number(0.0)))
    assert compare_simulated(file(first), file(other), until=3.0, observables=["C"]).max_relative_error < 1e-3


def test_a_quantity_that_is_zero_in_the_original_only_is_said(file):
    first = ode(("A", 1.0, scaled(-1.0, "A")), ("C", 0.0, number(0.0)))
    other = ode(("C", 1e-18, number(0.0)))
    report = compare_simulated(file(first), file(other), until=1.0, observables=["C"])
    assert any("C is 0 all the time in the original" in remark for remark in report.remarks)


@given(st.floats(0.01, 99.0), st.floats(1e-6, 1e-2), st.sampled_from(["lt", "gt", "leq", "geq"]), st.floats(0.1, 50.0))
@settings(max_examples=40, deadline=None)
def test_every_condition_that_is_affine_in_time_has_its_time(moment, width, name, slope):
    graph = Graph()
    sides = []
    for value in (moment, moment + width):
        left, right = graph.mul((graph.decimal(slope), graph.time())), graph.decimal(value)
        sides.append(graph.sub(left, right) if name in ("lt", "geq") else graph.sub(right, left))
    found = TimeSwitches(graph, tuple(sides)).until(100.0)
    for value in (moment / slope, (moment + width) / slope):
        assert value >= 100.0 or any(abs(time - value) <= 1e-12 * value for time in found)


def test_periodic_conditions_and_delays_have_their_times(file):
    # every 8 units: floor(time/8); an event 2.5 after time 20
    steps = f"<apply><floor/><apply><divide/>{TIME}{number(8.0)}</apply></apply>"
    text = ode(("x", 0.0, steps), extra=parameter("A", 0.0))
    event = dose(20.0)
    late = with_events(text, event).replace("</trigger>", f"</trigger><delay>{math_of(number(2.5))}</delay>")
    found = simulated_file(file(late)).switches.until(30.0)
    for time in (8.0, 16.0, 24.0, 20.0, 22.5):
        assert any(abs(time - one) < 1e-9 for one in found), time


@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_a_branch_on_a_state_that_may_have_been_stepped_over_is_said(file, simulator):
    """As a pulse in time, but of a clock that is a state: when it comes is not known beforehand."""
    other = ode(("x", 0.0, scaled(-3.0, "x")), ("clock", 0.0, number(1.0)))

    def report(width):
        window = f"<apply><and/>{relation('gt', '<ci>clock</ci>', number(6.0123))}"
        window += f"{relation('lt', '<ci>clock</ci>', number(6.0123 + width))}</apply>"
        branch = f"<piecewise><piece>{number(300.0)}{window}</piece><otherwise>{number(0.0)}</otherwise></piecewise>"
        rate = f"<apply><minus/>{branch}{scaled(3.0, 'x')}</apply>"
        first = ode(("x", 0.0, rate), ("clock", 0.0, number(1.0)))
        return compare_simulated(file(first), file(other), until=10.0, observables=["x"], simulator=simulator)

    def said(one):
        return any("several conditions of a piecewise" in remark for remark in one.remarks)

    short = report(0.002)
    assert short.max_absolute_error > 0.5 or said(short)
    long = report(1.0)
    assert long.max_relative_error == pytest.approx(1.0, rel=0.01)
    assert not said(long)


def test_a_rate_that_stops_being_a_number_ends_the_simulation(file):
    """t^n/t^n is no number once t^n is beyond doubles: steps shrink for ever, and libRoadRunner did not come back."""
    power = f"<apply><power/><apply><divide/>{TIME}{number(4.1)}</apply>{number(20000.0)}</apply>"
    share = f"<apply><divide/>{power}<apply><plus/>{number(1.0)}{power}</apply></apply>"
    text = ode(("x", 0.0, f"<apply><minus/>{share}{scaled(5.0, 'x')}</apply>"))
    with pytest.raises(IntegrationError, match=r"stopped at time 4\.2"):
        compare_simulated(file(text), file(text), until=10.0, limits=Limits(seconds=20.0))
