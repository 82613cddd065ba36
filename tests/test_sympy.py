"""Systems as SymPy expressions: the rates are the same, there and back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from strategies import systems_of_anything

import sbmlump
from sbmlump.errors import UsageError
from sbmlump.examples import michaelis_menten
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


@settings(max_examples=40)
@given(systems_of_anything())
def test_there_and_back(system: OdeSystem) -> None:
    if system.events:
        with pytest.raises(UsageError):
            system.to_sympy()
        return
    found = system.to_sympy()
    values = {symbol: value for symbol, value in found.constants.items() if value is not None}
    if len(values) < len(found.constants):
        return
    again = OdeSystem.from_sympy(
        found.states, found.rhs, initial=found.initial, constants=values, observables=found.observables, time=found.time
    )
    x = np.random.default_rng(1).uniform(0.5, 1.5, (3, system.size))
    before, after = system.rates(0.5, x), again.rates(0.5, x)
    both = np.isfinite(before) & np.isfinite(after)
    np.testing.assert_allclose(after[both], before[both], rtol=1e-7, atol=1e-9)


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
