"""The batched stiff solver, fields, adjoints and resets, against closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sbmlump.arrays import Array
from sbmlump.dynamics import (
    Budget,
    ProgramField,
    QuadraticField,
    Runs,
    StateReset,
    StepControl,
    TimeSpan,
    VectorField,
    VectorFieldSimulation,
    WorkLimitError,
    adjoints,
    advance,
    advance_large,
    backward_large,
    between_stops,
    choose_time_span,
    exponentials,
    field_of,
    integrate,
    propagators,
    quadratic_form,
)
from sbmlump.model import Graph


def robertson() -> VectorField:
    """Three species, rates over nine orders of magnitude."""
    g = Graph()
    a, b, c = (g.symbol(name) for name in "abc")
    slow = g.mul((g.decimal(0.04), a))
    fast = g.mul((g.number(10**4), b, c))
    square = g.mul((g.number(3 * 10**7), g.pow(b, g.number(2))))
    rhs = [g.sub(fast, slow), g.sub(g.sub(slow, fast), square), square]
    return field_of(g, rhs, ("a", "b", "c"), {})


def michaelis(free: dict[str, Array] | None = None) -> VectorField:
    """Rational: s' = −v s/(k + s), p' = v s/(k + s)."""
    g = Graph()
    s, v, k = g.symbol("s"), g.symbol("v"), g.symbol("k")
    flux = g.div(g.mul((v, s)), g.add((k, s)))
    constants = {"v": g.number(2), "k": g.number(1)}
    return field_of(g, [g.neg(flux), flux], ("s", "p"), constants, free)


def test_stiff_reference_values() -> None:
    # values of the test problem ROBER in Hairer and Wanner's set, at t = 40
    times = np.array([0.0, 0.4, 40.0])
    runs = integrate(robertson(), np.array([[1.0, 0.0, 0.0]]), times, tolerances=StepControl(1e-9, 1e-14))
    assert runs.complete.all()
    assert runs.states[0, -1] == pytest.approx([0.7158270687, 9.185534765e-06, 0.2841637457], rel=1e-6)


def test_order_is_four() -> None:
    # y' = −y² from 1: y = 1/(1 + t); a tolerance a thousand times smaller must be far more accurate
    g = Graph()
    y = g.symbol("y")
    field = field_of(g, [g.neg(g.pow(y, g.number(2)))], ("y",), {})
    errors = []
    for relative in (1e-4, 1e-7, 1e-10):
        runs = advance(field, np.array([[1.0]]), np.linspace(0, 5, 37), tolerances=StepControl(relative, 1e-14))
        errors.append(float(np.abs(runs.states[0, :, 0] - 1 / (1 + runs.times)).max()))
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 50


def test_each_run_has_its_own_steps() -> None:
    starts = np.array([[1.0, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.0, 1.0]])
    times = np.array([0.0, 1e-3, 1.0, 100.0])
    together = integrate(robertson(), starts, times)
    for i, start in enumerate(starts):
        alone = integrate(robertson(), start[None], times)
        assert np.allclose(together.states[i], alone.states[0], rtol=1e-12, atol=1e-15)


def test_a_failure_is_data() -> None:
    # y' = y² from 1 has a pole at 1, from 0.1 at 10
    g = Graph()
    y = g.symbol("y")
    field = field_of(g, [g.pow(y, g.number(2))], ("y",), {})
    runs = integrate(field, np.array([[1.0], [0.1]]), np.linspace(0, 2, 11))
    assert runs.why[0] is not None
    assert runs.reached[0] == pytest.approx(1.0, abs=1e-3)
    assert runs.why[1] is None
    assert runs.states[1, -1, 0] == pytest.approx(0.125, rel=1e-6)
    assert np.isnan(runs.states[0, -1]).all()


def test_the_number_of_steps_is_capped() -> None:
    few = StepControl(1e-8, 1e-14, 5)
    runs = integrate(robertson(), np.array([[1.0, 0.0, 0.0]]), np.array([0.0, 1e6]), tolerances=few)
    assert runs.why == ("more than 5 steps",)
    assert runs.reached[0] < 1e6


def test_quadratic_and_program_agree() -> None:
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    rhs = [g.sub(g.mul((x, g.add((y, g.number(3))))), g.pow(x, g.number(2))), g.add((g.mul((g.number(-2), x)), y))]
    quick = field_of(g, rhs, ("x", "y"), {})
    assert isinstance(quick, QuadraticField)
    from sbmlump.model import Program

    slow = ProgramField(Program(g, rhs, [x, y]), np.empty((0, 0)), False)
    points, run = np.random.default_rng(0).uniform(-2, 2, (7, 2)), np.arange(7)
    rows = np.random.default_rng(1).uniform(-1, 1, (7, 3, 2))
    assert np.allclose(quick.rates(points, run), slow.rates(points, run))
    assert np.allclose(quick.jacobians(points, run), slow.jacobians(points, run))
    assert np.allclose(quick.left_products(points, run, rows), slow.left_products(points, run, rows))
    assert np.allclose(quick.sparse_jacobian(points[0], 0).toarray(), slow.jacobians(points[:1], run[:1])[0])


def test_what_is_not_quadratic_is_not_taken_for_it() -> None:
    g = Graph()
    x = g.symbol("x")
    assert quadratic_form(g, [g.pow(x, g.number(3))], [x]) is None
    assert quadratic_form(g, [g.div(g.number(1), x)], [x]) is None
    assert quadratic_form(g, [g.call("exp", (x,))], [x]) is None
    form = quadratic_form(g, [g.mul((g.call("ln", (g.number(2),)), x))], [x])
    assert form is not None
    assert form.values(np.array([[2.0]]))[0, 0] == pytest.approx(2 * np.log(2))


def test_constants_that_differ_between_runs() -> None:
    field = michaelis({"v": np.array([1.0, 2.0, 3.0])})
    rates = field.rates(np.array([[1.0, 0.0]] * 3), np.array([2, 0, 1]))
    assert rates[:, 1] == pytest.approx([1.5, 0.5, 1.0])


def test_time_is_a_component() -> None:
    g = Graph()
    field = field_of(g, [g.mul((g.number(2), g.time()))], ("x",), {})
    assert field.timed
    runs = integrate(field, np.array([[0.0, 0.0]]), np.array([0.0, 1.0, 3.0]))
    assert runs.states[0, :, 0] == pytest.approx([0.0, 1.0, 9.0], abs=1e-6)


def pulsed(begin: float, length: float, height: float) -> VectorField:
    """y' = −y + a pulse of time."""
    g = Graph()
    y, t = g.symbol("y"), g.time()
    inside = g.call("and", [g.call("gt", [t, g.decimal(begin)]), g.call("lt", [t, g.decimal(begin + length)])])
    pulse = g.piecewise([(g.decimal(height), inside)], g.number(0))
    return field_of(g, [g.sub(pulse, y)], ("y",), {})


@pytest.mark.parametrize("large", [False, True])
def test_a_short_pulse_is_not_stepped_over(large: bool) -> None:
    begin, length, height = 50.0, 1e-3, 1e4
    field = pulsed(begin, length, height)
    times = np.array([0.0, 10.0, 49.0, begin, begin + 0.5 * length, begin + length, 51.0, 60.0])
    stops = (begin, begin + length)
    start = np.array([[1.0, 0.0], [2.0, 0.0]])
    control = StepControl(1e-9, np.array([1e-12, 1e-9]), stops=stops)
    if large:
        runs = between_stops(
            lambda x, grid, alive, _: advance_large(field, x, grid, alive, control), start, times, stops
        )
    else:
        runs = integrate(field, start, times, tolerances=control)
    since = np.clip(times - begin, 0.0, length)
    given = height * (1 - np.exp(-since)) * np.exp(-np.clip(times - begin - length, 0.0, None))
    exact = start[:, :1] * np.exp(-times) + given
    np.testing.assert_allclose(runs.states[:, :, 0], exact, rtol=2e-7, atol=1e-9)
    np.testing.assert_allclose(runs.states[:, :, 1], np.broadcast_to(times, (2, len(times))), rtol=1e-11)
    missed = integrate(field, start, times, tolerances=StepControl(1e-9, np.array([1e-12, 1e-9])))
    assert (missed.states[:, -1, 0] < 1e-3 * exact[:, -1]).all()  # what a long step passes over


def test_an_observer_sees_every_output_beside_stops() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    seen: list[tuple[int, int]] = []

    def observer(places: NDArray[np.int64], index: NDArray[np.int64], values: Array) -> NDArray[np.bool_]:
        seen.extend(zip(places.tolist(), index.tolist(), strict=True))
        return np.zeros(len(places), dtype=np.bool_)

    control = StepControl(1e-7, 1e-10, stops=(1.5, 2.0))
    advance(pulsed(1.5, 0.5, 3.0), np.zeros((2, 2)), times, None, control, observer)
    assert sorted(set(seen)) == [(run, index) for run in range(2) for index in range(1, 5)]


def test_jumps() -> None:
    # x' = −x; at 1 it is doubled, at 2 set to 5
    g = Graph()
    x = g.symbol("x")
    field = field_of(g, [g.neg(x)], ("x",), {})
    double = field_of(g, [g.mul((g.number(2), x))], ("x",), {})
    five = field_of(g, [g.number(5)], ("x",), {})
    runs = integrate(
        field,
        np.array([[1.0]]),
        np.array([0.0, 0.5, 1.0, 1.5, 2.5]),
        resets=[StateReset(1.0, double), StateReset(2.0, five)],
    )
    e = np.exp(-1.0)
    assert runs.states[0, :, 0] == pytest.approx([1, e**0.5, 2 * e, 2 * e**1.5, 5 * e**0.5], rel=1e-6)


def test_nothing_is_asked_for_when_no_run_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # x' = x² from 1 ends at 1, before the resets
    g = Graph()
    x = g.symbol("x")
    field = field_of(g, [g.mul((x, x))], ("x",), {})
    one = field_of(g, [g.number(1)], ("x",), {})

    class Watched:
        def __init__(self, inner: VectorField) -> None:
            self._inner = inner
            self.size, self.timed = inner.size, inner.timed

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def rates(self, y: Array, run: NDArray[np.int64]) -> Array:
            assert len(y)
            return self._inner.rates(y, run)

    watched = Watched(field)
    runs = integrate(
        watched,
        np.array([[1.0], [2.0]]),
        np.array([0.0, 0.25, 1.5, 3.0]),
        resets=[StateReset(2.0, one), StateReset(2.5, one)],
    )
    assert not runs.complete.any()
    assert runs.reached == pytest.approx([1.0, 0.5], rel=1e-3)


@given(st.integers(1, 5), st.integers(0, 10_000))
def test_exponentials_of_small_matrices(n: int, seed: int) -> None:
    z = np.random.default_rng(seed).uniform(-0.02, 0.02, (1, n, n))
    from scipy.linalg import expm

    phi, psi = exponentials(z, np.array([1.0]))
    assert np.allclose(phi[0], expm(z[0]), atol=1e-7)
    assert np.allclose(z[0] @ psi[0], phi[0] - np.eye(n), atol=1e-12)


def test_exponential_damps_what_is_fast() -> None:
    phi, _ = exponentials(np.array([[[-1e8]]]), np.array([1.0]))
    assert abs(float(phi[0, 0, 0])) < 1e-6


def test_adjoint_against_finite_differences() -> None:
    field = robertson()
    times = np.concatenate([[0.0], np.geomspace(1e-6, 40, 200)])
    start = np.array([1.0, 1e-5, 0.1])
    tight = StepControl(1e-9, 1e-15)
    nominal = integrate(field, start[None], times, tolerances=tight).states[0]
    ends = np.array([len(times) - 1])
    gradient = np.array([[[0.0, 0.0, 1.0]]])
    found = adjoints(field, 0, times, nominal, None, ends, gradient)[0, 0, 0]
    for j, h in enumerate((1e-3, 1e-7, 1e-3)):
        moved = np.array([start, start])
        moved[0, j] += h
        moved[1, j] -= h
        ended = integrate(field, moved, times, tolerances=tight).states[:, -1, 2]
        assert found[j] == pytest.approx((ended[0] - ended[1]) / (2 * h), rel=2e-2)


def test_the_solver_for_large_systems_agrees() -> None:
    field = michaelis()
    times = np.linspace(0, 3, 40)
    start = np.array([[2.0, 0.0], [0.5, 0.1]])
    tight = StepControl(1e-10, 1e-12)
    a = advance(field, start, times, tolerances=tight)
    b = advance_large(field, start, times, np.arange(2), tight)
    assert b.complete.all()
    assert np.allclose(a.states, b.states, rtol=1e-6, atol=1e-9)
    ends = np.array([20, 39])
    tips = np.zeros((2, 1, 2))
    tips[:, :, 1] = 1.0
    large = backward_large(field, 0, times, a.states[0], ends, tips, 1e-8)
    small = adjoints(field, 0, times, a.states[0], None, ends, tips)
    assert np.allclose(large, small, atol=2e-4)


def test_work_of_large_systems_is_what_the_solver_asked_for() -> None:
    field = michaelis()
    times = np.linspace(0, 3, 40)
    start = np.array([[2.0, 0.0], [0.5, 0.1]])
    spent = []
    for runs in (start[:1], start[1:], start):
        budget = Budget()
        advance_large(field, runs, times, np.arange(len(runs)), StepControl(1e-6, 1e-9), budget)
        spent.append(budget.spent)
    assert spent[2] == pytest.approx(spent[0] + spent[1], rel=1e-12)
    assert 1e-4 < spent[0] < 1e-1  # some hundred calls of small arrays, in units of 1e9 operations
    with pytest.raises(WorkLimitError):
        advance_large(field, start, times, np.arange(2), StepControl(1e-6, 1e-9), Budget(spent[0] / 2))


def test_propagators_follow_a_disturbance() -> None:
    field = michaelis()
    times = np.linspace(0, 2, 200)
    runs = integrate(field, np.array([[1.0, 0.0], [1.0 + 1e-6, 0.0]]), times, tolerances=StepControl(1e-11, 1e-14))
    phi, _ = propagators(field, 0, times, runs.states[0])
    moved = np.array([1e-6, 0.0])
    for one in phi:
        moved = one @ moved
    assert moved == pytest.approx(runs.states[1, -1] - runs.states[0, -1], rel=1e-3)


def span(field: VectorField, initial: list[float], rows: list[list[float]]) -> TimeSpan:
    return choose_time_span(VectorFieldSimulation(field, np.array(initial), np.array(rows)))


def test_end_times() -> None:
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    decay = field_of(g, [g.mul((g.decimal(-0.01), x))], ("x",), {})
    rest = span(decay, [1.0], [[1.0]])
    assert 300 <= rest.until <= 5000
    swing = field_of(g, [g.neg(y), x], ("x", "y"), {})
    five = span(swing, [1.0, 0.0], [[1.0, 0.0]])
    assert 5 * 2 * np.pi * 0.8 <= five.until <= 100
    assert "oscillates" in five.reason
    pole = field_of(g, [g.pow(x, g.number(2))], ("x",), {})
    assert span(pole, [1.0], [[1.0]]).until < 1.0


def test_no_runs_are_all_complete() -> None:
    runs = Runs(np.array([0.0, 1.0]), np.empty((0, 2, 3)), np.empty(0), ())
    assert runs.states[runs.complete, -1].shape == (0, 3)
