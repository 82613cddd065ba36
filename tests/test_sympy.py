"""Systems as SymPy expressions: the rates are the same, there and back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import given
from strategies import mass_action_networks

import sbmlump
from sbmlump.errors import UsageError
from sbmlump.examples import michaelis_menten
from sbmlump.formats import parse_ode
from sbmlump.model import OdeSystem


def rates(found, x):
    point = dict(zip(found.states, map(float, x), strict=True))
    values = dict(found.values)
    numbers = []
    for expression in found.rhs:
        for _ in range(len(values) + 1):
            if not expression.free_symbols & set(values):
                break
            expression = expression.xreplace(values)
        numbers.append(complex(expression.xreplace({found.time: sympy.Integer(0)}).subs(point).evalf()))
    return numbers


def test_a_model_in_sympys_terms(data: Path) -> None:
    system = sbmlump.load(data / "michaelis_menten.xml")
    found = system.to_sympy()
    assert [symbol.name for symbol in found.states] == list(system.states)
    x = np.array([0.3, 0.7, 0.2, 1.1])
    np.testing.assert_allclose(rates(found, x), system.rates(0.0, x), rtol=1e-12)
    assert found.rhs[3].diff(found.states[2]) != 0
    assert sympy.simplify(found.rhs[0] + found.rhs[2]) == 0  # the enzyme is conserved
    reduced = sbmlump.reduce(system, "P", "conservation")
    assert len(reduced.to_sympy().states) == reduced.system.size


@given(mass_action_networks())
def test_there_and_back(system: OdeSystem) -> None:
    found = system.to_sympy()
    values = {symbol: value for symbol, value in found.constants.items() if value is not None}
    again = OdeSystem.from_sympy(
        found.states, found.rhs, initial=found.initial, constants=values, observables=found.observables, time=found.time
    )
    x = np.random.default_rng(1).uniform(0.5, 1.5, (3, system.size))
    np.testing.assert_allclose(again.rates(0.5, x), system.rates(0.5, x), rtol=1e-12, atol=1e-12)


def test_functions_and_branches_come_back() -> None:
    system = parse_ode(
        "begin model m begin init x = 1/3 y = 2 k = 0.7 end init begin ODE "
        "d(x) = k*exp(-x)*max(x, y) - sin(x*y)^2/(1 + abs(y)) + x^(1/3) d(y) = log(1 + x) - k*y end ODE end model"
    )
    found = system.to_sympy()
    values = {symbol: value for symbol, value in found.constants.items() if value is not None}
    again = OdeSystem.from_sympy(found.states, found.rhs, initial=found.initial, constants=values)
    x = np.random.default_rng(1).uniform(0.5, 1.5, (5, 2))
    np.testing.assert_allclose(again.rates(0.0, x), system.rates(0.0, x), rtol=1e-12)
    np.testing.assert_allclose(again.initial_state(), system.initial_state())


def test_events_and_quotients_have_no_form() -> None:
    system = michaelis_menten()
    graph = system.graph
    quotient = graph.call("quotient", (graph.symbol(system.states[0]), graph.number(2)))
    with pytest.raises(UsageError, match="quotient"):
        replace(system, rhs=(quotient, *system.rhs[1:])).to_sympy()


def test_a_system_made_by_hand_is_reduced() -> None:
    a, b, k, total, t = sympy.symbols("a b k total t")
    system = OdeSystem.from_sympy(
        [a, b], [-k * a + sympy.sin(t), -k * b], initial={a: 1, b: k / 2}, constants={k: sympy.Rational(1, 3)},
        observables={total: a + b}, time=t,
    )  # fmt: skip
    assert system.initial_state()[1] == pytest.approx(1 / 6)
    assert system.rates(math.pi / 2, [1.0, 3.0]) == pytest.approx([1 - 1 / 3, -1])
    assert sbmlump.reduce(system, "total").system.size == 1


def test_what_does_not_fit_is_refused() -> None:
    a, b = sympy.symbols("a b")
    with pytest.raises(UsageError, match="no state, constant or observable"):
        OdeSystem.from_sympy([a], [a * b], initial=[1])
    with pytest.raises(UsageError, match="do not fit"):
        OdeSystem.from_sympy([a], [a, b], initial=[1])
    with pytest.raises(UsageError, match="gamma is no function"):
        OdeSystem.from_sympy([a], [sympy.gamma(a)], initial=[1])
    assert michaelis_menten().to_sympy().rhs
