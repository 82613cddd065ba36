"""The strategies make what they promise; other tests rest on that."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from strategies import HiddenSystem, exact_value, hidden_systems, linear_text, mass_action_networks

from sbmlump.model import OdeSystem


@given(hidden_systems(), st.data())
def test_a_hidden_system_follows_its_small_one(hidden: HiddenSystem, data: st.DataObject) -> None:
    """L f(x) = g(Lx), exactly, at a random point and for the initial values."""
    system, small = hidden.system, hidden.small
    x = {name: Fraction(data.draw(st.integers(-5, 5))) for name in system.states}
    y = {name: sum(c * x[s] for s, c in row.items()) for name, row in zip(small.states, hidden.rows, strict=True)}
    rates = {s: exact_value(system.graph, root, x) for s, root in zip(system.states, system.rhs, strict=True)}
    for row, root in zip(hidden.rows, small.rhs, strict=True):
        assert sum(c * rates[s] for s, c in row.items()) == exact_value(small.graph, root, y)
    start = dict(zip(system.states, system.initial_state(), strict=True))
    for row, value in zip(hidden.rows, small.initial_state(), strict=True):
        assert sum(float(c) * start[s] for s, c in row.items()) == value


@given(mass_action_networks(closed=True))
def test_closed_networks_stay_non_negative_at_the_border(system: OdeSystem) -> None:
    for i in range(system.size):
        x = [1.0] * system.size
        x[i] = 0.0
        assert system.rates(0, x)[i] >= 0


def test_linear_text() -> None:
    assert linear_text({"A": Fraction(-1), "B": Fraction(2), "C": Fraction(-1, 2)}) == "-A + 2*B - 1/2*C"
