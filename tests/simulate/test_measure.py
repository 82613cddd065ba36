from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sbmlump.simulators import Scale, largest, quantity_errors


def test_errors_by_hand():
    original = {"q": np.array([0.0, 4.0, -8.0, 2.0])}
    reduced = {"q": np.array([0.0, 4.5, -8.0, 2.1])}
    error = quantity_errors(original, reduced)["q"]
    assert error.max_absolute_error == 0.5
    assert error.max_relative_error == 0.5 / 8.0
    assert error.final_relative_error == pytest.approx(0.1 / 2.0, rel=1e-12)


def test_final_error_has_a_floor_of_a_thousandth_of_the_maximum():
    error = quantity_errors({"q": np.array([10.0, 1e-6])}, {"q": np.array([10.0, 2e-6])})["q"]
    assert error.final_relative_error == pytest.approx(1e-6 / 1e-2, rel=1e-9)


def test_a_vanishing_quantity_is_measured_against_its_scale():
    off = {"zero": np.array([0.0, 1e-12, 0.0])}
    error = quantity_errors({"zero": np.zeros(3)}, off, {"zero": Scale(0.0, 100.0)})["zero"]
    assert error.max_relative_error == pytest.approx(1e-12 / (1e-14 * 100.0))
    alone = quantity_errors({"zero": np.zeros(3)}, {"zero": np.full(3, 1e-14)})["zero"]
    assert alone.max_relative_error == pytest.approx(1.0)
    # A scale is at least the quantity's own magnitude, and other quantities do not count.
    both = {"small": np.full(2, 1e-9), "big": np.full(2, 1e23)}
    moved = {"small": np.full(2, 2e-9), "big": np.full(2, 1e23)}
    assert quantity_errors(both, moved)["small"].max_relative_error == pytest.approx(1.0)


def test_points_without_value_in_both_are_left_out_and_in_one_make_the_error_unknown():
    nan = math.nan
    both = quantity_errors({"q": np.array([nan, 2.0, 4.0])}, {"q": np.array([nan, 2.0, 3.0])})["q"]
    assert both.max_relative_error == 0.25
    one = quantity_errors({"q": np.array([1.0, 2.0, 4.0])}, {"q": np.array([nan, 2.0, 4.0])})["q"]
    assert math.isnan(one.max_relative_error)
    assert one.as_json() == {"max_relative_error": None, "final_relative_error": None, "max_absolute_error": None}
    none = quantity_errors({"q": np.full(2, nan)}, {"q": np.full(2, nan)})["q"]
    assert math.isnan(none.max_absolute_error)


def test_an_unknown_error_is_not_small():
    assert math.isnan(largest([0.0, math.nan, 1.0]))
    assert largest([0.0, 2.0, 1.0]) == 2.0


_columns = arrays(np.float64, 7, elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@given(_columns, _columns, st.sampled_from([2.0**-20, 0.5, 8.0, 2.0**30]))
def test_relative_errors_do_not_depend_on_the_unit(q, r, unit):
    first = quantity_errors({"q": q}, {"q": r})["q"]
    second = quantity_errors({"q": q * unit}, {"q": r * unit})["q"]
    if np.abs(q).max() > 0:
        assert second.max_relative_error == pytest.approx(first.max_relative_error, rel=1e-12)
        assert second.final_relative_error == pytest.approx(first.final_relative_error, rel=1e-12)
    assert second.max_absolute_error == pytest.approx(first.max_absolute_error * unit, rel=1e-12)


@given(_columns)
def test_a_model_does_not_differ_from_itself(q):
    error = quantity_errors({"q": q}, {"q": q.copy()})["q"]
    assert (error.max_relative_error, error.final_relative_error, error.max_absolute_error) == (0.0, 0.0, 0.0)


def test_a_peak_between_two_points_of_the_grid_counts_though_the_grid_sees_more_than_half_of_it():
    """A pulse that is over before the next point of the grid: the model without it is wrong by all of it."""
    original = {"q": np.array([0.0, 0.0, 0.6, 0.32, 0.02])}
    reduced = {"q": np.zeros(5)}
    error = quantity_errors(original, reduced, grid=np.array([0, 1, 3, 4]))["q"]
    assert error.max_absolute_error == 0.6
    assert error.max_relative_error == 1.0
