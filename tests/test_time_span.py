"""The end time, decided on motions with closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sbmlump.arrays import Array
from sbmlump.dynamics import Stretch, TimeSpan, beyond_times, choose_time_span


@dataclass
class Motion:
    """Observables that are functions of time, as far as they can be integrated."""

    value: Callable[[Array], Array]
    first_scale: float = 1.0
    magnitude: float = 1.0
    ends: float = math.inf
    size: float = 0.0
    ahead: int = 1

    def start(self) -> Stretch:
        return self.proceed(np.zeros(1))

    def proceed(self, times: Array) -> Stretch:
        good = times[times < self.ends]
        values = self.value(times)[: len(good)]
        values = values.reshape(len(good), 1) if values.ndim == 1 else values
        failed = len(good) < len(times)
        reached = self.ends if failed else float(times[-1])
        return Stretch(values, np.maximum(np.abs(values), self.size), reached, "a pole" if failed else None)


def until(value: Callable[[Array], Array], **settings: Any) -> float:
    return span(value, **settings).until


def span(value: Callable[[Array], Array], **settings: Any) -> TimeSpan:
    return choose_time_span(Motion(value, **settings))


@pytest.mark.parametrize("first", [1e-9, 1e-3, 1.0])
@pytest.mark.parametrize("ahead", [1, 3])
def test_a_decay_is_followed_for_twice_the_time_it_takes(first: float, ahead: int) -> None:
    # what is left of it is below 0.2 % after 6.2 time constants
    assert until(lambda t: np.exp(-t / 100), first_scale=first, ahead=ahead) in (1e3, 2e3)


def test_the_slower_phase_counts_if_it_is_seen_to_come() -> None:
    assert until(lambda t: np.exp(-t) + np.exp(-t / 1e4), first_scale=1e-2) in (1e5, 2e5)
    # a plateau on which nothing moves is one
    assert until(lambda t: np.exp(-t) + (t > 1e4), first_scale=1e-2) == 20.0


def test_fast_equilibria_are_no_rest_within_the_unit_of_time() -> None:
    # what follows the plateau is below the noise for four decades
    assert until(lambda t: 2 - np.exp(-t / 1e-11) - 0.5 * (1 - np.exp(-t / 0.1)), first_scale=1e-12) in (1.0, 2.0)
    # where nothing follows, the fast motion is what there is
    assert until(lambda t: np.exp(-t / 1e-11), first_scale=1e-12) in (1e-10, 2e-10)
    # nothing is known of later times where the integration fails
    assert until(lambda t: np.exp(-t / 1e-11), first_scale=1e-12, ends=1e-8) in (1e-10, 2e-10)


def test_what_never_settles_is_shown_for_a_million_units() -> None:
    found = span(lambda t: np.log1p(t) ** 2, first_scale=1e-3, magnitude=1e6)
    assert found.until == 1e6
    assert "no time scale" in found.reason


def test_noise_is_no_motion() -> None:
    generator = np.random.default_rng(0)
    found = span(lambda t: 5 + 1e-7 * generator.standard_normal(len(t)))
    assert found.until == 100.0
    assert "does not change" in found.reason
    assert until(lambda t: np.exp(-t) + 1e-7 * generator.standard_normal(len(t))) in (10.0, 20.0)
    # the difference of two large quantities is as exact as they are
    found = span(lambda t: 1e-3 * generator.standard_normal(len(t)), size=1e3)
    assert found.until == 100.0


def test_a_power_law_comes_to_rest() -> None:
    assert until(lambda t: 1 / (1 + t)) in (1e3, 2e3)


def test_five_periods_of_an_oscillation() -> None:
    found = span(lambda t: np.sin(2 * np.pi * t / 7))
    assert 35 <= found.until <= 90
    assert "oscillates" in found.reason
    # also one that begins late, beside something that rests
    late = until(lambda t: np.stack([np.exp(-t), np.where(t > 300, np.sin(t), 0.0)], axis=1), first_scale=1e-2)
    assert late in (20.0, 500.0)


def test_steady_growth_ends_beyond_the_models_own_scale() -> None:
    assert until(lambda t: 2 * t) in (10.0, 20.0)
    assert until(lambda t: np.stack([np.exp(-t / 50), 2 * t], axis=1)) in (500.0, 1000.0)
    # beside a fast scale a slow rise looks straight for long
    assert until(lambda t: 1 - np.exp(-t / 1e6), first_scale=1e-3) in (1e7, 2e7)


def test_growth_without_bound_is_shown_a_thousandfold() -> None:
    found = span(lambda t: np.exp(0.1 * t))
    assert 50 <= found.until <= 200
    assert "without bound" in found.reason


def test_what_fails_is_not_reached() -> None:
    assert until(lambda t: 1 / np.abs(1.001 - t), first_scale=0.1, ends=1.0) == 0.5
    # what came to rest before has its own time
    assert until(lambda t: np.exp(-t), ends=1e3) in (10.0, 20.0)
    assert until(np.ones_like, ends=30.0) == 20.0
    assert until(np.sin, first_scale=1e-2, ends=1e-9) == pytest.approx(5e-10)


def test_times_at_which_the_model_changes_are_passed_unless_they_mean_never() -> None:
    motion = Motion(lambda t: np.exp(-t))
    assert choose_time_span(motion, [37.0]).until == 100.0
    assert choose_time_span(Motion(lambda t: np.exp(-t)), [1e9]).until in (10.0, 20.0)
    assert beyond_times(TimeSpan(10.0, "so"), [3.0]).until == 10.0


def test_nothing_is_integrated_beyond_a_failure_for_an_event() -> None:
    found = choose_time_span(Motion(lambda t: np.exp(-t), ends=120.0), [90.0])
    assert found.until == 50.0
    assert "fails" in found.reason
