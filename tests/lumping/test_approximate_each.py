"""Sizes for every state at once: never above the exact one, kept on initial values that were not looked at."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sbmlump.errors import LimitError
from sbmlump.examples import multisite
from sbmlump.methods import Approximate, EachSettings, StateSizesAtErrors, per_species_sizes, reduce_approximately_each
from sbmlump.model import Event, Graph, OdeSystem

ERRORS = (0.01, 0.05, 0.1)


def chain(*rates: float) -> OdeSystem:
    """x0 decays into x1, that into x2, …; the last one decays."""
    g = Graph()
    names = tuple(f"x{i}" for i in range(len(rates)))
    flows = [g.mul((g.decimal(rate), g.symbol(name))) for rate, name in zip(rates, names, strict=True)]
    rhs = (g.neg(flows[0]), *(g.sub(before, own) for before, own in itertools.pairwise(flows)))
    return OdeSystem(g, names, (g.number(1), *(g.number(0) for _ in names[1:])), rhs)


def found(system: OdeSystem, **options: object) -> dict[str, StateSizesAtErrors]:
    one = reduce_approximately_each(system, options=Approximate(**options), errors=ERRORS)
    return {each.state: each for each in one}


def test_sizes_fall_with_the_error_and_are_never_above_the_exact_ones() -> None:
    system = multisite(2)
    exact = {one.state: one.size for one in per_species_sizes(system)}
    rows = found(system, until=2.0)
    assert list(rows) == list(system.states)
    for name, row in rows.items():
        assert row.failure is None
        assert row.exact_size == exact[name]
        sizes = [one.size for one in row.sizes]
        assert sizes == sorted(sizes, reverse=True)
        assert max(sizes) <= exact[name]
        assert row.until == 2.0
        assert row.seconds > 0
        for one in row.sizes:
            assert one.exact == (one.fresh is None)
            if one.fresh is not None:
                assert one.size < exact[name]
                assert one.fresh.initial_values >= 100
                assert one.fresh.diverged == 0
                assert one.fresh.above <= 5
    assert any(not row.sizes[0].exact for row in rows.values())


def test_a_size_holds_from_initial_values_of_another_draw() -> None:
    """The projection is integrated here anew, by the right-hand side of the model, from a draw of this test."""
    system = chain(1.0, 30.0, 45.0, 60.0, 80.0)
    row = found(system, until=5.0)["x4"]
    one = row.at(0.05)
    assert one is not None
    assert one.map is not None
    assert one.size < row.exact_size == 5
    matrix = np.array([system.rates(0.0, x) for x in np.eye(5)]).T  # the chain is linear
    starts = np.zeros((40, 5))
    starts[:, 0] = 1 + 0.2 * np.random.default_rng(11).uniform(-1, 1, 40)
    times = np.linspace(0.0, 5.0, 101)
    errors = []
    for start in starts:
        full = _linear(matrix, np.zeros(5), start, times)
        w = np.zeros(one.map.offset.shape[1])
        w[0] = 1.0
        assert len(w) == 1  # a chain that decays has no conserved totals
        constant = one.map.matrix @ matrix @ (one.map.offset @ w)
        small = _linear(one.map.matrix @ matrix @ one.map.lift, constant, one.map.matrix @ start, times)
        errors.append(np.abs(small[:, 0] - full[:, 4]).max() / np.abs(full[:, 4]).max())
    assert np.mean(np.array(errors) > 0.05) <= 0.05


def _linear(matrix: np.ndarray, constant: np.ndarray, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    from scipy.linalg import expm

    n = len(start)
    table = np.zeros((n + 1, n + 1))
    table[:n, :n], table[:n, n] = matrix, constant
    step = expm(table * (times[1] - times[0]))
    x = np.append(start, 1.0)
    rows = [x]
    for _ in times[1:]:
        rows.append(rows[-1] @ step.T)
    return np.array(rows)[:, :n]


def test_states_that_depend_on_few_others_have_few() -> None:
    rows = found(chain(1.0, 2.0, 3.0, 4.0), until=5.0)
    assert [row.exact_size for row in rows.values()] == [1, 2, 3, 4]
    assert [one.size for one in rows["x0"].sizes] == [1, 1, 1]


def test_an_event_that_states_trigger_leaves_the_exact_size_where_it_matters() -> None:
    plain = chain(1.0, 2.0, 30.0)
    g = plain.graph
    trigger = g.call("gt", (g.symbol("x1"), g.decimal(0.1)))
    event = Event(trigger, (("x2", g.number(0)),), "e")
    rows = found(replace(plain, events=(event,)), until=5.0)
    assert [reason.code for reason in rows["x2"].reasons] == ["exact-instead"]
    assert all(one.exact for one in rows["x2"].sizes)
    assert not rows["x1"].reasons


def test_an_end_time_that_is_not_reached_is_a_failure_of_each_state() -> None:
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    system = OdeSystem(g, ("x", "y"), (g.number(1), g.number(1)), (g.mul((x, x)), g.sub(x, y)))
    rows = found(system, until=5.0)
    assert isinstance(rows["y"].failure, LimitError)
    assert rows["y"].sizes == ()


def test_work_is_bounded_and_the_exact_size_stands_where_it_ends() -> None:
    rows = found(multisite(2), until=2.0, work=1e-2)
    told = [reason.code for row in rows.values() for reason in row.reasons]
    assert set(told) <= {"work-limit", "exact-instead"}
    assert told
    assert all(one.size <= row.exact_size for row in rows.values() for one in row.sizes)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_sizes(seed: int) -> None:
    first, second = (found(chain(1.0, 30.0, 45.0, 60.0), until=5.0, seed=seed) for _ in range(2))
    assert [row.sizes[0].size for row in first.values()] == [row.sizes[0].size for row in second.values()]


def test_what_observables_share_may_be_made_again() -> None:
    system = multisite(2)
    options = Approximate(until=2.0)
    kept = list(reduce_approximately_each(system, options=options, errors=ERRORS))
    system = multisite(2)
    again = reduce_approximately_each(system, options=options, errors=ERRORS, settings=EachSettings(group_bytes=0))
    assert [[one.size for one in row.sizes] for row in again] == [[one.size for one in row.sizes] for row in kept]
