"""Sizes for every state at once are those of the reductions one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lumping_cases import make

from sbmlump.methods import StateFailure, StateSize, exact_sizes, lump_exactly, per_species_sizes
from sbmlump.model import Observable


def compare(system):
    found = {size.state: size for size in per_species_sizes(system)}
    assert set(found) == set(system.states)
    assert exact_sizes(system) == {name: one.size for name, one in found.items()}
    for name in system.states:
        observable = Observable(name, system.graph.symbol(name), name)
        matrix = lump_exactly(system, (observable,)).matrix
        size = found[name]
        assert isinstance(size, StateSize)
        assert size.size == matrix.shape[0]
        assert (size.proper, size.non_negative) == (matrix.proper, matrix.non_negative)
        rows = {frozenset(row.items()) for row in matrix.rows}
        assert size.singles + len(size.pools) == len(rows)
        assert {frozenset(row.items()) for row in size.pools} <= rows


CASES = {
    "chain": ({"A": "-A", "B": "A - B", "C": "B"}, {}),
    "pool": ({"A": "-A*(B + C)", "B": "C - B", "C": "A - C - B"}, {}),
    "scaled": ({"A": "-A*(B + 3*C)", "B": "k*C", "C": "-k*C/3 - B - 3*C"}, {"k": "1/10"}),
    "rational": ({"A": "-A/(1 + B + C)", "B": "A - B", "C": "-C"}, {}),
    "time": ({"A": "time*(B + C)", "B": "-B", "C": "-C + time"}, {}),
    "signs": ({"A": "A*(B - C)", "B": "B + C", "C": "B + C"}, {}),
    "squares": ({"A": "B^2 + C^2 + D^2", "B": "0", "C": "0", "D": "0"}, {}),
    "irrational": ({"A": "k*B + C", "B": "k*C", "C": "-C"}, {"k": "exp(1/2)"}),
    "functions": ({"A": "exp(B + C)", "B": "-B", "C": "-C"}, {}),
    "one side": ({"A": "exp(ln((B - C)^2)/2)/(B - C) - A", "B": "-B", "C": "-C"}, {}),
    "roots": ({"A": "sqrt(B)^2 - B + sqrt(C)*sqrt(C)/C - A", "B": "-B", "C": "-C"}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    rates, constants = CASES[name]
    compare(make(rates, constants=constants))


def test_some_states_only():
    rates, _ = CASES["chain"]
    found = list(per_species_sizes(make(rates), ["C"]))
    assert [(size.state, size.size) for size in found] == [("C", 3)]


def test_a_long_chain_with_cycles():
    """Components of every kind: what reaches what is found without recursion."""
    names = [f"s{k}" for k in range(150)]
    rates = {name: f"{before}*{before} - {name}" for before, name in pairwise(names)}
    rates = {"s0": "s3 - s0", **rates}  # s0 to s3 are one cycle
    found = exact_sizes(make(rates))
    assert [found[name] for name in names] == [4, 4, 4, 4, *range(5, 151)]


def test_undefined_right_hand_side_fails_only_where_it_matters():
    system = make({"A": "-A", "B": "A/(C - C)", "C": "1"})
    found = {size.state: size for size in per_species_sizes(system)}
    assert exact_sizes(system) == {"A": 1, "C": 1}
    assert found["A"].size == 1
    assert isinstance(found["B"], StateFailure)
    assert found["B"].error.reasons[0].code == "undefined-right-hand-side"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_networks(data):
    n = data.draw(st.integers(2, 5))
    names = "ABCDE"[:n]
    number = st.integers(-2, 2)
    rates = {}
    for name in names:
        terms = [f"{data.draw(number)}*{a}*{b}" for a in names for b in names if data.draw(st.integers(0, 4)) == 0]
        terms += [f"{data.draw(number)}*{a}" for a in names if data.draw(st.booleans())]
        rates[name] = " + ".join(terms) or "0"
    compare(make(rates))
