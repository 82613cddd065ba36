"""What counts as 0: what is left of large terms that cancel does, what is small and right does not."""

from __future__ import annotations

import numpy as np
import pytest
from network_models import saved, sbml_model

import sbmlump
from sbmlump.dynamics import TermSizes
from sbmlump.jobs import compare, run_reduction
from sbmlump.methods import reduce_options

SQUARES = "(x + y)^2 - x^2 - 2*x*y - y^2"
CANCELLING = {
    "squares": {"z": f"{SQUARES} - z"},
    "without a decay": {"z": SQUARES},
    "logarithm": {"z": "ln(exp(x - 2*y)) - (x - 2*y) - z/10"},
    "quotient": {"z": "(x^2 - y^2)/(x + y) - (x - y) - z"},
    "handed on": {"w": f"{SQUARES} - w", "z": "w - 2*z"},
    "handed on as a product": {"w": f"{SQUARES} - w", "z": "w*x - z"},
    "branches": {"z": f"piecewise({SQUARES}, x < 2, (x - y)*(x + y) - x^2 + y^2) - z"},
    "fast": {"z": f"1e6*({SQUARES}) - 1e6*z"},
}


def model(rates, initial=None, sized=1.0):
    """x and y, which move, and further states; as SBML of species that are boundary species with rate rules."""
    both = {"x": f"{sized} - 0.3*x", "y": "x - y", **rates}
    start = {"x": 0.1 * sized, "y": 2 * sized, **dict.fromkeys(rates, 0), **(initial or {})}
    return sbml_model(start, {}, {}, rate_rules=both, boundary=list(both))


def ode(rates, sized=1.0, **initial):
    both = {"x": f"{sized} - 0.3*x", "y": "x - y", **rates}
    start = {"x": 0.1 * sized, "y": 2 * sized, **dict.fromkeys(rates, 0), **initial}
    lines = ["begin model m", " begin init", *(f"  {name} = {value}" for name, value in start.items()), " end init"]
    lines += [" begin ODE", *(f"  d({name}) = {rate}" for name, rate in both.items()), " end ODE", "end model"]
    return "\n".join(lines)


@pytest.mark.parametrize("kind", CANCELLING)
def test_a_right_reduction_of_what_cancels_is_written(tmp_path, kind):
    """Rounding noise of the simulator is neither an error nor a contradiction of the proof."""
    path = saved(tmp_path, model(CANCELLING[kind]))
    outcome = run_reduction(path, ["z"], reduce_options("exact", until=10.0), tmp_path / "reduced.xml")
    assert outcome.name == "reduced"
    assert outcome.report is not None
    assert outcome.report.max_relative_error == 0.0
    assert outcome.report.max_absolute_error < 1e-9
    doubts = {"simulator-differs", "sensitive-model", "difference-unexplained", "proof-contradicted"}
    assert not doubts & {reason.code for reason in outcome.reasons}


@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_two_files_whose_zero_is_computed_otherwise_do_not_differ(tmp_path, simulator):
    first, second = tmp_path / "first.ode", tmp_path / "second.ode"
    first.write_text(ode({"z": f"{SQUARES} - z"}), encoding="utf-8")
    second.write_text(ode({"z": "x*(x + 3*y) - x^2 - 3*x*y - z"}), encoding="utf-8")
    report = compare(first, second, until=10.0, observables=["z"], simulator=simulator)
    assert report.max_relative_error == 0.0
    assert report.max_absolute_error > 0.0
    assert any("counts as 0 in both models" in remark for remark in report.remarks)


def test_a_zero_that_is_not_zero_in_the_reduced_model_is_an_error(tmp_path):
    first, second = tmp_path / "first.ode", tmp_path / "second.ode"
    first.write_text(ode({"z": f"{SQUARES} - z"}), encoding="utf-8")
    second.write_text(ode({"z": "1e-9*x - z"}), encoding="utf-8")
    for one, other in ((first, second), (second, first)):
        assert compare(one, other, until=10.0, observables=["z"]).max_relative_error > 0.5


TINY = {
    "small rate": ("1e-17*{k}*x - z", 0.0),
    "fast turnover": ("1e-5*{k}*x - 1e12*z", 0.0),
    "decay": ("-{k}*z", 1e-18),
    "growth": ("{k}*z*(1 - 1e16*z)", 1e-18),
    "second order": ("1e-18*{k}*x*y^2 - z*x", 0.0),
}


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_what_is_small_and_computed_is_compared_to_the_last_digit(tmp_path, kind, simulator):
    """Beside states of size 1: with itself it agrees, and one percent in a factor is seen as such."""
    rate, start = TINY[kind]
    paths = []
    for k in ("1", "1.01"):
        path = tmp_path / f"{k}.ode"
        path.write_text(ode({"z": rate.format(k=k)}, z=start), encoding="utf-8")
        paths.append(path)
    found = compare(*paths, until=10.0, observables=["z"], simulator=simulator)
    assert 1e-3 < found.max_relative_error < 0.2
    again = compare(paths[0], paths[0], until=10.0, observables=["z"], simulator=simulator)
    assert again.max_relative_error == 0.0
    assert not any("counts as 0" in remark for remark in found.remarks)


def test_a_model_all_of_whose_values_are_tiny_is_compared_as_any_other(tmp_path):
    first, second = saved(tmp_path, model({"z": "x - z"}, sized=1e-15)), tmp_path / "second.xml"
    second.write_text(model({"z": "1.01*x - z"}, sized=1e-15), encoding="utf-8")
    report = compare(first, second, until=10.0)
    assert report.per_observable["z"].max_relative_error == pytest.approx(0.01, rel=0.1)


def sizes_of(path, scale, x=lambda t: 1 + t, z=lambda t: 0 * t):
    system = sbmlump.load(path)
    times = np.linspace(0.0, 2.0, 401)
    states = {"x": scale * x(times), "y": scale * np.ones_like(times), "z": scale * z(times)}
    return TermSizes(system, times, states).of_states(["z"])["z"]


def test_terms_are_those_of_the_rate_gathered_over_time(tmp_path):
    path = tmp_path / "model.ode"
    path.write_text(ode({"z": "x - y"}), encoding="utf-8")
    # |x| + |y| + |−1·y| + |x − y| with x = 1 + t, y = 1 over two units of time
    assert sizes_of(path, 1.0) == pytest.approx(10.0, rel=1e-3)
    path.write_text(ode({"z": "x - y - 100*z"}), encoding="utf-8")
    # they are forgotten at rate 100: at the end (3 + 2 + 2)/100
    assert sizes_of(path, 1.0) == pytest.approx(0.07, rel=0.05)
    # and have the unit of the states
    assert sizes_of(path, 1e-30) == pytest.approx(1e-30 * sizes_of(path, 1.0), rel=1e-9)


def test_a_state_in_balance_is_not_taken_for_cancellation(tmp_path):
    """However fast the turnover: terms of a quasi-steady state are as large as it, those that it brings itself none."""
    path = tmp_path / "model.ode"
    path.write_text(ode({"z": "1e20*x - 1e20*z"}), encoding="utf-8")
    assert sizes_of(path, 1.0, z=lambda t: 1 + t) < 30.0
    path.write_text(ode({"z": "1e20*z*x - 1e20*z*(y + x - y)"}), encoding="utf-8")
    assert sizes_of(path, 1.0, z=lambda t: 1 + 0 * t) == 0.0
    path.write_text(ode({"z": "1e20*x - 1e20*max(z, 0)"}), encoding="utf-8")
    assert sizes_of(path, 1.0, z=lambda t: 1 + t) == 0.0


def test_growth_at_one_point_of_the_grid_makes_nothing_zero(tmp_path):
    path = tmp_path / "model.ode"
    path.write_text(ode({"z": "x^9*z + y"}), encoding="utf-8")
    spike = sizes_of(path, 1.0, x=lambda t: np.where(np.arange(len(t)) == 200, 10.0, 0.0), z=lambda t: 1 + 0 * t)
    assert spike < 100.0
