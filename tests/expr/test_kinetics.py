"""Classes of right-hand sides."""

from __future__ import annotations

from fractions import Fraction

import pytest

from sbmlump.model import Graph, kinetics_of


@pytest.mark.parametrize(
    ("expected", "build"),
    [
        ("polynomial", lambda g, x, k: g.mul((k, x, x))),
        ("polynomial", lambda g, x, k: g.pow(x, g.number(3))),
        ("polynomial", lambda g, x, k: g.div(x, k)),
        ("polynomial", lambda g, x, k: g.mul((g.call("exp", (k,)), x))),
        ("polynomial", lambda g, x, k: g.pow(k, g.number(Fraction(1, 2)))),
        ("polynomial", lambda g, x, k: g.number(0)),
        ("polynomial", lambda g, x, k: g.mul((x, g.time()))),
        ("rational", lambda g, x, k: g.div(k, x)),
        ("rational", lambda g, x, k: g.pow(x, g.number(-1))),
        ("rational", lambda g, x, k: g.div(k, g.add((g.time(), g.number(1))))),
        ("analytic", lambda g, x, k: g.call("exp", (x,))),
        ("analytic", lambda g, x, k: g.pow(x, k)),
        ("analytic", lambda g, x, k: g.pow(x, g.number(Fraction(3, 2)))),
        ("analytic", lambda g, x, k: g.piecewise([(x, g.call("lt", (x, k)))], k)),
        ("analytic", lambda g, x, k: g.call("sin", (g.time(),))),
        ("analytic", lambda g, x, k: g.add((g.div(k, x), g.call("abs", (x,))))),
    ],
)
def test_class(expected, build):
    g = Graph()
    assert kinetics_of(g, [build(g, g.symbol("x"), g.symbol("k"))], {"x"}) == expected
