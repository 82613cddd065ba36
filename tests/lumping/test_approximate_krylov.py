"""The published algorithms: their worked examples, and what their theorems say."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.dynamics import VectorField, field_of, trajectories
from sbmlump.examples import multisite, network_from_reactions, sir_age_groups
from sbmlump.methods import (
    Approximate,
    MatrixSpan,
    approximate_rows,
    bisect_epsilon,
    bisect_tolerance,
    block_projection,
    deviation,
    epsilon_partition,
    error_bound,
    jacobian_span,
    lump_exactly,
    pinned_projection,
    tolerance_ceiling,
)
from sbmlump.model import ErrorEstimate, Event, Graph, OdeSystem, parse_observables

POINTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 5, 2], [3, 3, 2], [2, 4, 3]], dtype=np.float64)


def nearly_lumpable() -> OdeSystem:
    """Equation (4): the rational example with 4.05 in place of 4."""
    g = Graph()
    x1, x2, x3 = (g.symbol(f"x{i}") for i in (1, 2, 3))
    one, two, four = map(g.number, (1, 2, 4))
    top = g.add((g.pow(x2, two), g.mul((g.decimal(4.05), x2, x3)), g.mul((four, g.pow(x3, two)))))
    below = g.add((x2, g.mul((two, x3)), one))
    rhs = (
        g.div(top, g.add((g.pow(x1, two), one))),
        g.div(g.sub(g.mul((two, x1)), g.mul((four, x3))), below),
        g.div(g.neg(g.add((x1, x2))), below),
    )
    return OdeSystem(g, ("x1", "x2", "x3"), (one, one, one), rhs)


@pytest.fixture(scope="module")
def field() -> VectorField:
    system = nearly_lumpable()
    return field_of(system.graph, system.rhs, system.states, {})


def test_example_8(field: VectorField) -> None:
    span = MatrixSpan(field.jacobians(POINTS, np.zeros(6, dtype=np.int64)))
    rows = approximate_rows(span, np.array([[1.0, 0.0, 0.0]]), 0.2)
    assert rows is not None
    assert np.round(rows, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.443, 0.897]]


def test_example_8_with_sampled_jacobians(field: VectorField) -> None:
    span = jacobian_span(field, np.full(3, 3.0))
    rows = approximate_rows(span, np.array([[1.0, 0.0, 0.0]]), 0.2)
    assert rows is not None
    assert rows.shape == (2, 3)
    assert rows[1, 1:] == pytest.approx([0.443, 0.897], abs=0.01)
    exact = approximate_rows(span, np.array([[1.0, 0.0, 0.0]]), 0.0)
    assert exact is not None
    assert len(exact) == 3


def test_deviation_of_example_4(field: VectorField) -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 2]])
    lift = np.linalg.pinv(matrix)
    x = np.array([[1.0, 1.0, 1.0]])
    run = np.zeros(1, dtype=np.int64)
    off = deviation(field.rates(x, run), field.rates(x @ matrix.T @ lift.T, run), matrix)
    assert off[0] == pytest.approx(0.007, abs=5e-4)


def test_reduced_system_of_example_6(field: VectorField) -> None:
    # y1' = 1.004 y2²/(y1² + 1), y2' = −2 y2/(y2 + 1)
    matrix = np.array([[1.0, 0, 0], [0, 1, 2]])
    lift = np.linalg.pinv(matrix)
    y = np.array([[1.0, 1.0], [0.5, 3.0]])
    got = field.rates(y @ lift.T, np.zeros(2, dtype=np.int64)) @ matrix.T
    assert got[:, 0] == pytest.approx(1.004 * y[:, 1] ** 2 / (y[:, 0] ** 2 + 1))
    # at L̄y the second rate is (2 − 2)y1 − 2·0.4… : −2 y2/(y2 + 1)
    assert got[:, 1] == pytest.approx(-2 * y[:, 1] / (y[:, 1] + 1))


def test_lemma_1(field: VectorField) -> None:
    span = MatrixSpan(field.jacobians(POINTS, np.zeros(6, dtype=np.int64)))
    observed = np.array([[1.0, 0.0, 0.0]])
    ceiling = tolerance_ceiling(span, observed)
    collapsed = approximate_rows(span, observed, ceiling)
    below = approximate_rows(span, observed, ceiling * (1 - 1e-9))
    assert collapsed is not None
    assert below is not None
    assert len(collapsed) == 1
    assert len(below) > 1


@given(st.integers(2, 7), st.integers(1, 4), st.integers(0, 10_000))
def test_algorithm_4_is_exact_at_zero(n: int, count: int, seed: int) -> None:
    """At ε = 0 the rows are orthonormal and closed under every matrix; a hidden small space is found."""
    rng = np.random.default_rng(seed)
    hidden = int(rng.integers(1, n + 1))
    change = rng.uniform(-1, 1, (n, n)) + 2 * np.eye(n)
    blocks = np.zeros((count, n, n))
    blocks[:, :hidden, :hidden] = rng.uniform(-1, 1, (count, hidden, hidden))
    blocks[:, hidden:, :] = rng.uniform(-1, 1, (count, n - hidden, n))
    matrices = np.linalg.inv(change) @ blocks @ change
    observed = change[:1]
    rows = approximate_rows(MatrixSpan(matrices), observed, 0.0)
    assert rows is not None
    assert len(rows) <= hidden
    assert np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-9)
    moved = rows @ matrices
    assert np.allclose(moved - (moved @ rows.T) @ rows, 0.0, atol=1e-5 * np.abs(matrices).max() * n)


@given(st.integers(3, 6), st.integers(1, 3), st.integers(0, 10_000), st.floats(0.01, 2.0))
def test_algorithm_4_leaves_at_most_epsilon(n: int, count: int, seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    matrices = rng.uniform(-1, 1, (count, n, n))
    rows = approximate_rows(MatrixSpan(matrices), np.eye(n)[:1], tolerance)
    assert rows is not None
    rest = rows @ matrices
    rest = rest - (rest @ rows.T) @ rows
    assert np.sqrt((rest**2).sum(axis=2)).max() <= tolerance * (1 + 1e-9)


@pytest.mark.parametrize("system", [multisite(2), sir_age_groups(3)])
def test_size_at_zero_is_the_exact_size(system: OdeSystem) -> None:
    observe = "kinase" if "kinase" in system.states else "I_1 + I_2 + I_3"
    observables = parse_observables(system, [observe])
    exact = lump_exactly(system, observables).system.size
    found = Approximate(algorithm="krylov", tolerance=0.0, until=1.0, ensemble=2).reduce(system, observables)
    assert found.system.size == exact


def test_algorithm_5_respects_the_size() -> None:
    system = multisite(2, noise=Fraction(1, 20))
    field = field_of(system.graph, system.rhs, system.states, system.constant_values)
    span = jacobian_span(field, np.ones(system.size))
    observed = np.zeros((1, system.size))
    observed[0, system.state_index["kinase"]] = 1.0
    for size in (1, 3, 7, 17):
        found = bisect_tolerance(span, observed, size)
        assert 1 <= len(found.rows) <= size
        again = approximate_rows(span, observed, found.tolerance)
        assert again is not None
        assert np.allclose(again, found.rows)


def test_stopping_early_gives_nothing() -> None:
    system = multisite(2, noise=Fraction(1, 20))
    field = field_of(system.graph, system.rhs, system.states, system.constant_values)
    assert approximate_rows(jacobian_span(field, np.ones(18)), np.eye(18)[:1], 0.0, 4) is None


def test_the_basis_with_observables_in_front_is_the_same_reduction() -> None:
    rng = np.random.default_rng(2)
    pinned = rng.uniform(-1, 1, (2, 6))
    span = MatrixSpan(rng.uniform(-1, 1, (2, 6, 6)))
    rows = approximate_rows(span, pinned, 0.9)
    assert rows is not None
    one = pinned_projection(rows, pinned, 0.9)
    assert np.allclose(one.matrix[:2], pinned)
    assert np.allclose(one.matrix @ one.lift, np.eye(len(rows)), atol=1e-9)
    assert np.allclose(one.lift @ one.matrix, rows.T @ rows, atol=1e-9)


def test_theorem_3() -> None:
    identity = np.eye(2)
    assert error_bound(0.5, 1.0, identity, identity, 1.0).value == pytest.approx(0.5 * (math.e - 1))
    assert error_bound(0.5, 0.0, identity, identity, 2.0).value == pytest.approx(1.0)
    huge = error_bound(1e-3, 1e4, identity, identity, 10.0)
    assert huge.value == math.inf
    assert huge.log10 == pytest.approx(1e5 / math.log(10) - 3 - 4)
    assert error_bound(0.0, 1.0, identity, identity, 1.0).value == 0.0


def test_epsilon_equivalences() -> None:
    """Age groups with one shared infection rate are equivalent; with rates 1 % apart they are for ε above that only."""
    system = sir_age_groups(3)
    field = field_of(system.graph, system.rhs, system.states, system.constant_values)
    pinned = np.zeros((1, 9))
    pinned[0, 3:6] = 1.0
    scale = np.ones(9)
    exact = epsilon_partition(field, scale, pinned, 0.0, "forward")
    assert (3, 4, 5) in exact
    assert len(exact) == 3
    noisy = multisite(2, noise=Fraction(1, 20))
    field = field_of(noisy.graph, noisy.rhs, noisy.states, noisy.constant_values)
    pinned = np.zeros((1, 18))
    pinned[0, 16] = 1.0
    sizes = [len(epsilon_partition(field, np.ones(18), pinned, eps, "forward")) for eps in (0.0, 0.1)]
    assert sizes[0] == 18
    assert sizes[1] < 18
    blocks, _ = bisect_epsilon(field, np.ones(18), pinned, 12, "forward")
    assert len(blocks) <= 12


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_block_projection(kind: str) -> None:
    pinned = np.array([[1.0, 1.0, 0.0, 0.0]])
    one = block_projection(((0, 1), (2, 3)), kind, np.array([1.0, 3.0, 0.0, 0.0]), pinned, 0.1)  # type: ignore[arg-type]
    assert np.allclose(one.matrix @ one.lift, np.eye(2))
    assert np.allclose(one.matrix[0], pinned[0])


def test_the_bound_of_a_linear_model_holds() -> None:
    """Its Jacobian is one matrix, so that the largest norm seen is the constant of the theorem."""
    names = "ABCDEF"
    network = network_from_reactions(
        [(f"{a} -> {b}", f"k{a}") for a, b in zip(names, names[1:] + names[:1], strict=True)],
        initial={name: 1 + number % 3 for number, name in enumerate(names)},
        constants={f"k{name}": Fraction(10 + number, 10) for number, name in enumerate(names)},
    )
    found = bounded(network, "krylov", 1.0)
    largest = trajectories(network, network.initial_state()[None, :], np.linspace(0.0, 1.0, 50))[0, :, 1].max()
    # the certificate's error is relative to the largest value of the observable, the bound is absolute
    assert found.worst_error > 1e-4
    assert 0.8 * largest * found.worst_error <= found.details["bound"] < 1e3


def test_the_bound_knows_of_the_offset() -> None:
    """With the conserved total in the lift two states are nearly enough; without it they would be far off."""
    network = network_from_reactions(
        [("A -> B", "k1"), ("B -> C", "k2"), ("C -> A", "k3"), ("B -> D", "k4"), ("D -> B", "k1")],
        initial={"A": 3, "B": 1, "C": 1, "D": 1},
        constants={"k1": 1, "k2": Fraction(11, 10), "k3": Fraction(9, 10), "k4": Fraction(1, 10)},
    )
    found = bounded(network, "balanced", 0.3)
    assert found.worst_error < 1e-5
    assert found.details["bound"] < 1


def bounded(system: OdeSystem, algorithm: str, until: float) -> ErrorEstimate:
    observables = parse_observables(system, ["B"])
    found = Approximate(algorithm=algorithm, max_size=2, until=until, bound=True).reduce(system, observables)
    assert isinstance(found.certificate, ErrorEstimate)
    return found.certificate


def test_there_is_no_bound_with_events() -> None:
    chain = network_from_reactions(
        [("A -> B", "k"), ("B -> C", "k")], initial={"A": 3, "B": 0, "C": 0}, constants={"k": 1}
    )
    g = chain.graph
    trigger = g.call("gt", (g.time(), g.number(1)))
    kicked = replace(chain, events=(Event(trigger, (("B", g.number(2)),), id="kick"),))
    found = Approximate(max_size=2, until=3.0, bound=True).reduce(kicked, parse_observables(kicked, ["B"]))
    assert isinstance(found.certificate, ErrorEstimate)
    assert "bound" not in found.certificate.details
    assert "events" in found.certificate.details["bound_note"]
