"""The compiled engine against NumPy: programs, fields of all kinds, trajectories, observers, work."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import JUMPING, SMOOTH, Expression, any_expressions, expressions

from sbmlump.arrays import Array
from sbmlump.dynamics import (
    Along,
    ArrayKind,
    BatchField,
    Budget,
    DeviationObserver,
    ObjectCode,
    Observer,
    ProgramField,
    QuadraticField,
    Runs,
    StepControl,
    VectorField,
    WorkLimitError,
    advance,
    code_key,
    compiled,
    compiled_functions,
    entry_points,
    exponentials,
    field_of,
    kept_code,
    loaded_code,
    words_of,
)
from sbmlump.methods import Affine, LiftedField, QuadraticLift, TabledField, lifted_field
from sbmlump.model import FUNCTIONS, LOGIC, RELATIONS, Graph, Program

pytest.importorskip("numba", reason="the compiled engine needs the extra 'compiled'")


@contextmanager
def by_numpy() -> Iterator[None]:
    """Fields have no tables as long as this lasts."""
    with mock.patch.object(compiled, "kernels", return_value=None):
        yield


def program_field(graph: Graph, roots: list[int], names: tuple[str, ...], *, timed: bool) -> ProgramField:
    inputs = [graph.symbol(name) for name in names] + ([graph.time()] if timed else [])
    return ProgramField(Program(graph, roots, inputs), np.empty((0, 0)), timed)


def same(a: Array, b: Array) -> bool:
    """Equal to rounding, not finite alike; intermediate results may cancel."""
    finite = np.isfinite(a) & np.isfinite(b)
    return bool((np.isfinite(a) == np.isfinite(b)).all()) and np.allclose(a[finite], b[finite], rtol=1e-8, atol=1e-8)


POINTS = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5, 3.0, 17.0])


@settings(max_examples=80)
@given(st.data())
def test_programs_give_the_same_values_and_derivatives(data: st.DataObject) -> None:
    graph = Graph()
    names = ("x", "y")
    roots = [data.draw(any_expressions(graph, names)) for _ in range(2)] + [graph.symbol("x")]
    x = np.array([[data.draw(POINTS) for _ in range(3)] for _ in range(4)])
    rows = np.array([[[1.0, 0.0, 0.0], [0.5, -2.0, 1.0]]] * 4)
    run = np.arange(4)
    with by_numpy():
        plain = program_field(graph, roots, names, timed=True)
        wanted = plain.rates(x, run), plain.jacobians(x, run), plain.left_products(x, run, rows)
    field = program_field(graph, roots, names, timed=True)
    if field.tables() is None:
        assert field.program.function_names() & {"factorial"}
        return
    found = field.rates(x, run), field.jacobians(x, run), field.left_products(x, run, rows)
    assert np.array_equal(np.isnan(found[0]), np.isnan(wanted[0]))
    with np.errstate(all="ignore"):
        size = np.abs(wanted[0])
        for a, b in zip(found, wanted, strict=True):
            # where huge numbers cancel, rounding errors are what is left
            assume(not (np.abs(b[np.isfinite(b)]) > 1e12).any() and not (size[np.isfinite(size)] > 1e12).any())
            assert same(a, b)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *LOGIC, *RELATIONS} - {"factorial"}))
def test_every_function_alone(name: str) -> None:
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    two = name in {"min", "max", "rem", "quotient", *LOGIC, *RELATIONS} - {"not"}
    truths = [graph.call("neq", [one, graph.number(0)]) for one in (x, y)] if name in LOGIC else [x, y]
    node = graph.call(name, truths if two else truths[:1])
    grid = np.array([-np.inf, -3.0, -1.0, -0.4, 0.0, 0.3, 1.0, 2.5, 4.0, np.inf, np.nan])
    points = np.array([(a, b) for a in grid for b in grid])
    run = np.zeros(len(points), dtype=np.int64)
    roots = [node, y]
    with by_numpy():
        plain = program_field(graph, roots, ("x", "y"), timed=False)
        wanted = plain.rates(points, run), plain.jacobians(points, run)
    field = program_field(graph, roots, ("x", "y"), timed=False)
    assert field.tables() is not None
    for found, of_numpy in zip((field.rates(points, run), field.jacobians(points, run)), wanted, strict=True):
        assert np.allclose(found, of_numpy, rtol=1e-13, atol=1e-15, equal_nan=True)


def test_powers_and_pieces_at_their_edges() -> None:
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    roots = [
        graph.pow(x, y),
        graph.pow(x, graph.number(-3)),
        graph.pow(y, graph.number(19)),
        graph.pow(y, graph.number(-20)),
        graph.piecewise([(x, graph.call("lt", [x, y])), (graph.pow(x, graph.number(4)), graph.call("gt", [x, y]))]),
        graph.mul((x, y, graph.pow(x, graph.number(-1)), graph.call("exp", [y]))),
    ]
    grid = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, np.nan])
    points = np.array([(a, b) for a in grid for b in grid])
    points = np.concatenate([points, np.zeros((len(points), 4))], axis=1)
    run = np.zeros(len(points), dtype=np.int64)
    names = ("x", "y", "u", "v", "w", "z")
    with by_numpy():
        plain = program_field(graph, roots, names, timed=False)
        wanted = plain.rates(points, run), plain.jacobians(points, run)
    field = program_field(graph, roots, names, timed=False)
    for found, of_numpy in zip((field.rates(points, run), field.jacobians(points, run)), wanted, strict=True):
        assert np.allclose(found, of_numpy, rtol=1e-12, equal_nan=True)


class Plain:
    """A field without tables."""

    def __init__(self, field: BatchField) -> None:
        self._field = field
        self.size, self.timed = field.size, field.timed
        self.rates, self.jacobians, self.step_work = field.rates, field.jacobians, field.step_work


def both(
    field: BatchField, starts: Array, times: Array, control: StepControl, observer: Observer | None = None
) -> Runs:
    """Runs by the compiled engine, which have to be those of NumPy, with as much work."""
    assert compiled.tables_of(field) is not None
    ours, plain = Budget(), Budget()
    found = advance(field, starts, times, None, control, observer, ours)
    wanted = advance(Plain(field), starts, times, None, control, observer, plain)
    assert found.why == wanted.why
    assert found.steps == wanted.steps
    assert np.allclose(found.reached, wanted.reached, rtol=1e-6)
    assert np.array_equal(np.isnan(found.states), np.isnan(wanted.states))
    assert np.allclose(found.states, wanted.states, rtol=1e-7, atol=1e-9, equal_nan=True)
    assert ours.spent == pytest.approx(plain.spent, rel=1e-9)
    return found


@settings(max_examples=20)
@given(expressions(("x", "y", "z"), functions=(*SMOOTH, *JUMPING), max_steps=12), st.integers(0, 1000))
def test_trajectories_of_random_systems(expression: Expression, seed: int) -> None:
    g, root = expression.graph, expression.root
    x, y, z = (g.symbol(name) for name in "xyz")
    bounded = g.call("tanh", [root])
    rhs = [g.sub(bounded, x), g.sub(g.mul((x, z)), g.mul((g.number(2), y))), g.sub(bounded, g.mul((g.number(50), z)))]
    field = field_of(g, rhs, ("x", "y", "z"), {})
    starts = np.random.default_rng(seed).uniform(0.1, 1.5, (3, 3))
    times = np.concatenate([[0.0], np.geomspace(1e-3, 2.0, 12)])
    control = StepControl(1e-5, 1e-8, 400)
    found = advance(field, starts, times, None, control)
    wanted = advance(Plain(field), starts, times, None, control)
    # a kink may be met from one side or the other: then both are right within the tolerance
    assert np.allclose(found.states, wanted.states, rtol=1e-3, atol=1e-4, equal_nan=True)
    assert [w is None for w in found.why] == [w is None for w in wanted.why]


def cascade(n: int = 6, *, saturating: bool = False) -> VectorField:
    """x1 → x2 → …, each step speeded up by the last state; of degree two, or with a denominator."""
    g = Graph()
    x = [g.symbol(f"x{i}") for i in range(n)]
    flows = [g.mul((g.number(i + 1), x[i], g.add((g.number(1), x[-1])))) for i in range(n)]
    if saturating:
        flows = [g.div(flow, g.add((g.number(2), x[0]))) for flow in flows]
    rhs = [g.sub(flows[i - 1] if i else g.number(1), flows[i]) for i in range(n)]
    return field_of(g, rhs, [f"x{i}" for i in range(n)], {})


STARTS = np.random.default_rng(3).uniform(0.0, 2.0, (4, 6))
TIMES = np.concatenate([[0.0], np.geomspace(1e-4, 5.0, 40)])
CONTROL = StepControl(1e-6, 1e-9, 500)


def candidates(count: int, k: int) -> tuple[list[Affine], Array]:
    """Projections near the leading coordinates, and the constants of four starts."""
    random = np.random.default_rng(5)
    maps = []
    for _ in range(count):
        matrix = np.eye(k, 6) + 0.1 * random.uniform(-1, 1, (k, 6))
        maps.append(Affine(matrix, np.linalg.pinv(matrix), 0.1 * random.uniform(0, 1, (6, 2)), "test"))
    return maps, np.concatenate([np.ones((4, 1)), random.uniform(0, 1, (4, 1))], axis=1)


@pytest.mark.parametrize("saturating", [False, True])
def test_trajectories_of_full_fields(saturating: bool) -> None:
    field = cascade(saturating=saturating)
    assert isinstance(field, ProgramField if saturating else QuadraticField)
    assert both(field, STARTS, TIMES, CONTROL).complete.all()
    # absolute tolerances of each component
    both(field, STARTS, TIMES, StepControl(1e-4, np.geomspace(1e-9, 1e-5, 6), 500))


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("saturating", [False, True])
def test_trajectories_through_a_lift(saturating: bool, k: int) -> None:
    maps, constants = candidates(3, k)
    field = LiftedField(cascade(saturating=saturating), maps, constants, np.arange(4))
    starts = np.concatenate([STARTS @ one.matrix.T for one in maps])
    both(field, starts, TIMES, CONTROL)


@pytest.mark.parametrize("saturating", [False, True])
def test_trajectories_through_a_lift_of_degree_two(saturating: bool) -> None:
    maps, constants = candidates(3, 2)
    random = np.random.default_rng(8)
    constants = np.concatenate([constants, random.uniform(0, 1, (4, 1))], axis=1)
    products = ((0, 0), (0, 1), (0, 2), (1, 3))  # of two states and two totals
    lifts = []
    for one in maps:
        offset = 0.1 * random.uniform(-1, 1, (6, 3 + len(products)))
        lifts.append(QuadraticLift(one.matrix, one.lift, offset, one.label, products=products))
    field = lifted_field(cascade(saturating=saturating), lifts, constants, np.arange(4))
    points, run = random.uniform(-1, 1, (12, 2)), np.arange(12)
    tables = compiled.tables_of(field)
    assert tables is not None
    assert np.allclose(compiled.rates(tables, points, run), field.rates(points, run), rtol=1e-12)
    assert np.allclose(compiled.jacobians(tables, points, run), field.jacobians(points, run), rtol=1e-12)
    starts = np.concatenate([STARTS @ one.matrix.T for one in lifts])
    both(field, starts, TIMES, CONTROL)


def test_trajectories_from_tables() -> None:
    maps, constants = candidates(3, 4)
    full = cascade()
    assert isinstance(full, QuadraticField)
    starts = np.concatenate([STARTS @ one.matrix.T for one in maps])
    tabled = both(TabledField(full, maps, constants), starts, TIMES, CONTROL)
    lifted = both(LiftedField(full, maps, constants, np.arange(4)), starts, TIMES, CONTROL)
    assert np.allclose(tabled.states, lifted.states, rtol=1e-5, atol=1e-7)


def test_linear_systems_exchange_rows_in_each_lane() -> None:
    """Eight systems at once, with other pivots each; one is singular, one has no value, and both are told."""
    import numba

    kernels, n, functions = compiled.kernels(), 7, compiled_functions()
    at, factorised, solve = kernels.At, functions["_factorised"], functions["_solved"]

    def of_lanes(where: Array, lanes: Array, pivots: Array, right: int) -> None:
        factorised(where, lanes, pivots)
        solve(where, lanes, pivots, right)

    solved: Callable[..., None] = numba.njit(error_model="numpy")(of_lanes)
    field = np.zeros(len(at), dtype=np.int64)
    field[at.SIZE] = field[at.FULL] = n
    where, rows = kernels.layout(field, squares=2)
    random = np.random.default_rng(4)
    tables = random.uniform(-1, 1, (kernels.LANES, n, n)) * (random.random((kernels.LANES, n, n)) < 0.6)
    tables[:, np.arange(n), np.arange(n)] = 0.0  # nothing goes without an exchange
    tables[:, np.arange(n), np.roll(np.arange(n), 1)] = 2.0
    tables[0] = np.eye(n) + 0.1 * tables[0]  # nor has this one any
    tables[3, :, 2] = 0.0
    tables[5, 4, 4] = np.nan
    right = random.uniform(-1, 1, (kernels.LANES, n))
    lanes, pivots = compiled.memory(rows), np.zeros((n, kernels.LANES + 1), dtype=np.int64)
    lanes[where[at.FACTORS] : where[at.FACTORS] + n * n] = tables.reshape(kernels.LANES, -1).T
    lanes[where[at.U] : where[at.U] + n] = right.T
    lanes[where[at.REGULAR] + 2] = 1.0
    solved(where, lanes, pivots, int(where[at.U]))
    regular = [0, 1, 2, 4, 6, 7]
    assert np.flatnonzero(lanes[where[at.REGULAR] + 2]).tolist() == regular
    found = lanes[where[at.U] : where[at.U] + n].T[regular]
    assert np.allclose(found, np.linalg.solve(tables[regular], right[regular][..., None])[..., 0], rtol=1e-9)


@settings(max_examples=80)
@given(st.data())
def test_machine_code_of_a_field_gives_the_same_bits(data: st.DataObject) -> None:
    graph = Graph()
    names = ("x", "y")
    roots = [data.draw(any_expressions(graph, names)) for _ in range(2)] + [graph.symbol("x")]
    x = np.array([[data.draw(POINTS) for _ in range(3)] for _ in range(11)])
    rows = np.array([[[1.0, 0.0, 0.0], [0.5, -2.0, 1.0]]] * 11)
    assert_same_bits(program_field(graph, roots, names, timed=True), x, np.arange(11), rows)


@pytest.mark.parametrize("saturating", [False, True])
def test_machine_code_of_networks_gives_the_same_bits(saturating: bool) -> None:
    rows = np.broadcast_to(np.vstack([np.eye(6), np.ones(6)]), (4, 7, 6))
    assert_same_bits(cascade(saturating=saturating), STARTS, np.arange(4), rows)


def assert_same_bits(field: ProgramField | QuadraticField, x: Array, run: NDArray[np.int64], rows: Array) -> None:
    """By tables, and by machine code. Rows are multiplied by the Jacobian there, and swept back with the tables."""
    place = compiled.kernels().At
    tables = field.tables()
    if tables is None:
        return
    assert tables.at[place.RATES_CODE] == 0
    wanted = compiled.rates(tables, x, run), compiled.jacobians(tables, x, run)
    field.followed(compiled.MACHINE_CODE.steps)
    quick = field.tables()
    assert quick is not None
    assert quick.at[place.RATES_CODE] != 0
    found = compiled.rates(quick, x, run), compiled.jacobians(quick, x, run)
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    products = compiled.left_products(quick, x, run, rows)
    swept = compiled.left_products(tables, x, run, rows)
    assert np.array_equal(np.isfinite(products), np.isfinite(swept))
    finite = np.isfinite(swept)
    assert np.allclose(products[finite], swept[finite], rtol=1e-8, atol=1e-8)


def test_what_has_no_influence_may_have_an_infinite_slope() -> None:
    """v = √x·y cancels in the observed sum: by entries of the Jacobian, ∞ − ∞ would be there."""
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    v = g.mul((g.pow(x, g.number(Fraction(1, 2))), y))
    field = program_field(g, [g.neg(v), g.sub(v, y)], ("x", "y"), timed=False)
    point, both = np.array([[0.0, 2.0]]), np.array([[[1.0, 1.0]]])
    before = field.left_products(point, np.arange(1), both)
    field.followed(compiled.MACHINE_CODE.steps)
    after = field.left_products(point, np.arange(1), both)
    assert before[0, 0].tolist() == after[0, 0].tolist() == [0.0, -1.0]


def test_machine_code_is_made_of_fields_that_are_followed_long_and_are_not_too_large() -> None:
    place, settings = compiled.kernels().At, compiled.MACHINE_CODE

    def has_code(field: ProgramField | QuadraticField) -> bool:
        tables = field.tables()
        assert tables is not None
        return bool(tables.at[place.RATES_CODE])

    field = cascade(saturating=True)
    field.followed(settings.steps - 1)
    assert not has_code(field)
    field.followed(1)
    assert has_code(field)
    small = mock.patch.object(compiled, "MACHINE_CODE", compiled.MachineCodeSettings(operations=10))
    with small:
        other = cascade(saturating=True)
        other.followed(settings.steps)
        assert not has_code(other)


def test_what_llvm_would_take_long_for_or_refuse_stays_with_tables() -> None:
    g = Graph()
    x = g.symbol("x")
    long = g.add([g.call("exp", (g.scaled(Fraction(i, 100), x),)) for i in range(300)])
    field = program_field(g, [long], ("x",), timed=False)
    field.followed(compiled.MACHINE_CODE.steps)
    tables = field.tables()
    assert tables is not None
    assert tables.at[compiled.kernels().At.RATES_CODE] == 0
    refused = mock.patch("llvmlite.binding.parse_assembly", side_effect=RuntimeError("no"))
    with refused as asked:
        other = cascade(saturating=True)
        for _ in range(3):
            other.followed(compiled.MACHINE_CODE.steps)
        assert asked.call_count == 1
    assert np.array_equal(other.rates(STARTS, np.arange(4)), cascade(saturating=True).rates(STARTS, np.arange(4)))


def test_a_field_goes_with_what_uses_it() -> None:
    """Not only when cycles are looked for: a survey holds hundreds."""
    for saturating in (False, True):
        field = cascade(saturating=saturating)
        field.followed(compiled.MACHINE_CODE.steps)
        field.tables()
        seen = weakref.ref(field)
        del field
        assert seen() is None


def test_another_process_makes_machine_code_of_its_own() -> None:
    field = cascade(saturating=True)
    field.followed(compiled.MACHINE_CODE.steps)
    sent = pickle.loads(pickle.dumps(field))
    tables = sent.tables()
    assert tables is not None
    assert tables.at[compiled.kernels().At.RATES_CODE] == 0
    assert np.array_equal(sent.rates(STARTS, np.arange(4)), field.rates(STARTS, np.arange(4)))


@pytest.mark.parametrize("k", [1, 3, 4, 9])
def test_exponentials_and_sums_along_runs(k: int) -> None:
    random = np.random.default_rng(k)
    r, m, n, p = 3, 20, 5, 2
    z = random.normal(size=(r, m, k, k))
    h = random.uniform(0.1, 1, (r, m))
    ends = np.array([3, 4, 11, 20])
    tips = random.normal(size=(r, len(ends), p, k))
    sizes = (r, m, k, n), (r, m, n), (r, m, k)
    onto, rates, middle = (random.normal(size=size) for size in sizes)
    for features in (random.normal(size=(r, m, 2)), random.normal(size=(r, 1, 2))):
        found = exponentials(z, h)
        along = Along(*found, onto, rates, middle, features, random.normal(size=(r, n)))
        sums = along.sums(ends, tips)
        with by_numpy():
            wanted = exponentials(z, h)
            slow = along.sums(ends, tips)
        for one, other in zip((*found, *sums), (*wanted, *slow), strict=True):
            assert np.allclose(one, other, rtol=1e-9, atol=1e-10)


def test_each_matrix_is_judged_by_itself() -> None:
    """What the lanes cannot eliminate LAPACK does; a matrix without values gives none, and spoils no other one."""
    z, h = np.zeros((9, 2, 2)), np.ones(9)
    z[4, 0, 0] = np.nan
    z[6] = np.diag([1e200, -1e200])
    with np.errstate(all="ignore"):
        phi, psi = exponentials(z, h)
        wanted = exponentials(z[[6]], h[[6]])
    assert np.flatnonzero(np.isnan(phi).any(axis=(1, 2))).tolist() == [4]
    assert np.array_equal(phi[6], wanted[0][0])
    others = [i for i in range(9) if i not in (4, 6)]
    assert np.array_equal(phi[others], np.broadcast_to(np.eye(2), (7, 2, 2)))
    assert np.array_equal(psi[others], np.broadcast_to(np.eye(2), (7, 2, 2)))


def test_no_rows_times_a_jacobian_are_none() -> None:
    field = cascade(saturating=True)
    assert field.left_products(STARTS, np.arange(4), np.empty((4, 0, 6))).shape == (4, 0, 6)


def test_constants_of_runs_and_the_clock() -> None:
    g = Graph()
    x, v = g.symbol("x"), g.symbol("v")
    field = field_of(g, [g.sub(g.mul((v, g.time())), x)], ("x",), {"v": g.number(0)}, {"v": np.array([1.0, 2.0, 3.0])})
    runs = both(field, np.array([[1.0, 0.0]] * 3), np.linspace(0, 2, 9), CONTROL)
    t = runs.times
    for i, rate in enumerate((1.0, 2.0, 3.0)):
        assert np.allclose(runs.states[i, :, 0], rate * (t - 1) + (1 + rate) * np.exp(-t), rtol=1e-5)


def test_what_ends_a_run() -> None:
    g = Graph()
    x = g.symbol("x")
    pole = field_of(g, [g.pow(x, g.number(3))], ("x",), {})
    runs = both(pole, np.array([[1.0], [0.1]]), np.linspace(0, 2, 11), StepControl(1e-7, 1e-12, 5000))
    assert runs.why == ("the step size went to zero", None)
    few = both(cascade(), STARTS, np.array([0.0, 100.0]), StepControl(1e-9, 1e-13, 7))
    assert few.why == ("more than 7 steps",) * 4
    logarithm = field_of(g, [g.call("ln", [x])], ("x",), {})
    none = both(logarithm, np.array([[-1.0], [2.0]]), np.linspace(0, 1, 3), CONTROL)
    assert none.why == ("the right-hand side has no finite value at the start", None)


def test_a_root_at_zero() -> None:
    # the slope of the root is infinite at 0, and a stage a little below 0 has no root
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    root = g.pow(x, g.symbol("e"))
    rhs = [g.sub(g.number(0), root), g.sub(root, y)]
    field = field_of(g, rhs, ("x", "y"), {"e": g.div(g.number(1), g.number(2))})
    both(field, np.array([[0.0, 1.0], [1.0, 0.0]]), np.linspace(0, 1, 6), StepControl(1e-6, 1e-8, 2000))


@pytest.mark.parametrize("threshold", [0.05, 0.3, 2.0])
def test_an_observer_gives_the_same_runs_up(threshold: float) -> None:
    maps, constants = candidates(3, 3)
    field = LiftedField(cascade(saturating=True), maps, constants, np.arange(4))
    starts = np.concatenate([STARTS @ one.matrix.T for one in maps])
    seen: list[tuple[int, int]] = []

    def observer(places: NDArray[np.int64], index: NDArray[np.int64], values: Array) -> NDArray[np.bool_]:
        seen.extend(zip(places.tolist(), index.tolist(), strict=True))
        return np.asarray(np.abs(values[:, 0] - starts[places, 0]) > threshold)

    runs = both(field, starts, TIMES, CONTROL, observer)
    off = np.abs(runs.states[:, :, 0] - starts[:, None, 0]) > threshold
    for place, why in enumerate(runs.why):
        assert (why == "given up") == off[place].any()
        if why == "given up":
            first = int(np.argmax(off[place]))
            assert runs.reached[place] == runs.times[first]
            assert np.isnan(runs.states[place, first + 1 :]).all()
        else:
            assert seen.count((place, len(TIMES) - 1)) == 2  # once by each engine


@pytest.mark.parametrize("limit", [0.01, 0.3, 5.0])
def test_what_is_off_by_too_much_is_given_up_alike(limit: float) -> None:
    maps, constants = candidates(3, 3)
    field = LiftedField(cascade(saturating=True), maps, constants, np.arange(4))
    starts = np.concatenate([STARTS @ one.matrix.T for one in maps])
    wanted = advance(field, starts[:4], TIMES, None, CONTROL).states[:, :, :2]
    limits = np.array([limit, 2 * limit, 3 * limit])
    sizes = np.abs(wanted).max(axis=1)
    affine = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([0.1, -0.2])

    def read(_: Array, y: Array) -> Array:
        return np.asarray(y[:, :2] @ affine[0] + affine[1])

    wanted = read(TIMES, wanted.reshape(-1, 2)).reshape(wanted.shape)
    inside = both(field, starts, TIMES, CONTROL, DeviationObserver(TIMES, read, wanted, sizes, limits, affine))
    asked = both(field, starts, TIMES, CONTROL, DeviationObserver(TIMES, read, wanted, sizes, limits))
    assert inside.why == asked.why
    assert np.array_equal(np.isnan(inside.states), np.isnan(asked.states))
    errors = DeviationObserver(TIMES, read, wanted, sizes, limits).errors(inside.states)
    for place, why in enumerate(inside.why):
        assert (why == "given up") == bool(inside.reached[place] < TIMES[-1])
        assert why == "given up" or errors[place] <= limits[place // 4]


def test_work_is_limited_alike() -> None:
    field = cascade()
    spent = Budget()
    advance(field, STARTS, TIMES, None, CONTROL, None, spent)
    for one in (field, Plain(field)):
        advance(one, STARTS, TIMES, None, CONTROL, None, Budget(1.001 * spent.spent))
        with pytest.raises(WorkLimitError):
            advance(one, STARTS, TIMES, None, CONTROL, None, Budget(0.999 * spent.spent))


def test_without_numba_all_goes_through_numpy() -> None:
    with by_numpy():
        field = cascade(saturating=True)
        assert compiled.tables_of(field) is None
        plain = advance(field, STARTS, TIMES, None, CONTROL)
    assert np.allclose(plain.states, advance(cascade(saturating=True), STARTS, TIMES, None, CONTROL).states, rtol=1e-8)


def test_importing_the_package_does_not_import_numba() -> None:
    code = "import sys, sbmlump, sbmlump.methods.approximate.search; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"


def test_with_numba_switched_off_or_without_a_folder_nothing_is_compiled(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for more in ({"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_CACHE_DIR": str(blocked / "folder")}):
        assert in_a_process("print(compiled.kernels())", more) == "None"


def test_object_code_is_loaded_without_numba() -> None:
    """What this process uses is kept, and what a new one finds does without the compiler."""
    assert compiled.kernels() is not None
    assert in_a_process("print(compiled.kernels() is not None, 'numba' in sys.modules)", {}) == "True False"


def test_kept_object_code_is_whole_or_is_none() -> None:
    code = ObjectCode((b"one", b"three"), {"follow": "_follow"}, ("tan",), ("triple", "processor", "features"))
    data = code.packed()
    assert ObjectCode.unpacked(data) == code
    other = data.replace(b"_follow", b"_other0")  # a name that is not there would be called at address 0
    for wrong in (data[:-1], data + b"x", b"", b"{}\n", data.replace(b"three", b"THREE"), b"[1]\n" + data, other):
        assert ObjectCode.unpacked(wrong) is None


@pytest.mark.parametrize("name", ["NUMBA_CPU_NAME", "NUMBA_ENABLE_AVX", "NUMBA_BOUNDSCHECK", "NUMBA_CACHE_DIR"])
def test_what_is_kept_is_used_only_for_the_same_processor_and_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = code_key()
    assert code_key() == before
    with monkeypatch.context() as patch:
        patch.setenv(name, "0")
        assert (code_key() == before) == (name == "NUMBA_CACHE_DIR")  # where it lies is no part of what it is
    (tmp_path / ".numba_config.yaml").write_text("enable_avx: 0\n")
    assert code_key() != before


def test_a_file_of_settings_switches_numba_off(tmp_path: Path) -> None:
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\n")
    assert in_a_process("print(compiled.kernels())", {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}, tmp_path) == "None"


def test_what_numba_cannot_compile_goes_by_numpy_and_is_told(tmp_path: Path) -> None:
    code = (
        "from unittest import mock; import warnings; from sbmlump.dynamics import compilation; "
        "refused = mock.patch.object(compilation, 'compile_kernels', side_effect=AttributeError('new'));\n"
        "with refused, warnings.catch_warnings(record=True) as told: found = compiled.kernels()\n"
        "print(found, len(told), told[0].message)"
    )
    found = in_a_process(code, {"NUMBA_CACHE_DIR": str(tmp_path)})
    assert found.startswith("None 1 Numba does not compile the loops of trajectories")


def test_a_compiled_function_that_fails_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = entry_points()
    assert loaded is not None
    monkeypatch.setattr(loaded.evaluate, "_function", lambda *_: 1)
    with pytest.raises(RuntimeError, match="ended with status 1"):
        cascade(saturating=True).rates(STARTS, np.arange(4))


def test_what_somebody_else_may_have_put_there_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = kept_code(code_key())
    assert kept is not None
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert kept_code(code_key()) is None
    file = tmp_path / f"{code_key()}.object-code"
    file.write_bytes(kept.packed())
    assert kept_code(code_key()) == kept
    file.chmod(0o666)
    assert kept_code(code_key()) is None


def test_a_function_that_a_process_does_not_have_is_not_called() -> None:
    """LLVM would end the process."""
    kept = kept_code(code_key())
    assert kept is not None
    assert loaded_code(replace(kept, needed=(*kept.needed, "no_such_function"))) is None


@pytest.mark.slow
def test_damaged_object_code_is_made_anew(tmp_path: Path) -> None:
    more = {"NUMBA_CACHE_DIR": str(tmp_path)}
    say = "compiled.kernels(); print('numba' in sys.modules)"
    assert in_a_process(say, more) == "True"
    (kept,) = tmp_path.glob("*.object-code")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100])
    assert in_a_process(say, more) == "True"
    assert kept.stat().st_size == len(whole)
    assert in_a_process(say, more) == "False"


def in_a_process(code: str, more: Mapping[str, str], folder: Path | None = None) -> str:
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from sbmlump.dynamics import compiled; {code}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, **more},
        cwd=folder,
    )
    return done.stdout.strip()


def test_arguments_that_a_compiled_function_was_not_made_for_are_refused() -> None:
    """It would read what is not there."""
    real = ArrayKind(is_whole=False, dimensions=2)
    table = np.zeros((3, 4))
    assert words_of(table, real) == [0, 0, 12, 8, table.ctypes.data, 3, 4, 32, 8]
    for wrong in (table.T, table[:, ::2], table[0], table.astype(np.int64), table.astype(np.float32)):
        with pytest.raises(TypeError, match="a compiled function takes 2 dimensions of float64"):
            words_of(wrong, real)
    with pytest.raises(TypeError, match="takes Seats, not tuple"):
        words_of(tuple(compiled.seats(2)), compiled.kernels().Seats)
