"""Balls against doubles, and what no double can hold."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb

from sbmlump.model import FUNCTIONS, RELATIONS, BallProgram, Graph, Missing, ball_of, same_value, values_of

TWO = {"min", "max", "rem", "quotient", *RELATIONS}
POINTS = [Fraction(n, d) for n in range(-13, 14) for d in (1, 3, 8)]


@pytest.mark.parametrize("name", sorted(FUNCTIONS | RELATIONS))
def test_functions_against_doubles(name):
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    call = graph.call(name, [x, y] if name in TWO else [x])
    program = BallProgram(graph, [call], [x, y])
    said = 0
    for a in POINTS:
        for b in POINTS[::11]:
            ball = program.run([ball_of(a), ball_of(b)], 200)[0]
            with np.errstate(all="ignore"):
                fixed = graph.substitute([call], {x: graph.number(a), y: graph.number(b)})
                double = float(values_of(graph, fixed)[0])
            if isinstance(ball, arb):
                assert not abs(ball - double) > 1e-9 * max(1.0, abs(double))  # a ball over a jump is a wide one
                said += 1
            elif ball is Missing.UNDEFINED:
                assert not math.isfinite(double)
    assert said > 20


@pytest.mark.parametrize(
    ("base", "exponent", "expected"),
    [
        ("-2", "3", -8.0),
        ("-2", "-3", -0.125),
        ("-2", "1/3", Missing.UNDEFINED),
        ("0", "1/2", 0.0),
        ("0", "-1", Missing.UNDEFINED),
        ("4", "-1/2", 0.5),
    ],
)
def test_real_powers(base, exponent, expected):
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    for power in (graph.pow(x, y), graph.pow(x, graph.number(Fraction(exponent)))):
        ball = BallProgram(graph, [power], [x, y]).run([ball_of(Fraction(base)), ball_of(Fraction(exponent))], 100)[0]
        known = ball if isinstance(ball, Missing) else float(ball)
        allowed = (expected, Missing.UNKNOWN) if exponent == "1/3" else (expected,)  # 1/3 is no exact ball
        assert any(known == pytest.approx(one) if isinstance(one, float) else known is one for one in allowed)


def test_over_a_jump_nothing_is_certain():
    graph = Graph()
    x = graph.symbol("x")
    program = BallProgram(graph, [graph.call("lt", (x, graph.number(1))), graph.call("ln", (x,))], [x])
    assert program.run([arb(1, 1e-9)], 100)[0] is Missing.UNKNOWN
    assert program.run([arb(0, 1e-9)], 100)[1] is Missing.UNKNOWN


def test_same_values():
    graph = Graph()
    huge, other = graph.number(10**400), graph.number(10**400 + 1)
    tower = graph.call("exp", (graph.number(10**4),))
    double = graph.decimal(math.log(2))
    assert same_value(graph, huge, graph, graph.number(10**400))
    assert not same_value(graph, huge, graph, other)
    assert not same_value(graph, huge, graph, graph.number(-(10**400)))
    assert not same_value(graph, tower, graph, graph.call("exp", (graph.number(10**4 + 1),)))
    assert same_value(graph, graph.number(Fraction(1, 3)), graph, graph.decimal(1 / 3))
    assert same_value(graph, graph.call("ln", (graph.number(2),)), graph, double)
    assert not same_value(graph, graph.call("ln", (graph.number(2),)), graph, graph.decimal(0.6931))
    assert same_value(graph, graph.constant("notanumber"), graph, graph.constant("notanumber"))
    assert not same_value(graph, graph.constant("notanumber"), graph, graph.number(0))
