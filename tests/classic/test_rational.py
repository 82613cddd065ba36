"""Rational expressions in lowest terms, and monomials."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from strategies import Expression, exact_value, expressions

from sbmlump.linalg.polynomial import expand, monomial_node
from sbmlump.methods.elimination.solve import Fractions, simplified
from sbmlump.model.graph import Graph
from sbmlump.model.text import to_text

POINT = {"x": Fraction(3, 7), "y": Fraction(-11, 5), "z": Fraction(13, 3)}


@given(expressions(max_steps=8))
def test_lowest_terms_have_the_same_value(sample: Expression) -> None:
    graph = sample.graph
    fractions = Fractions(graph, [sample.root])
    quotient = fractions.of(sample.root)
    expected = exact_value(graph, sample.root, POINT)
    if quotient is None or expected is None:
        return
    assert exact_value(graph, fractions.node(quotient), POINT) == expected


@given(expressions(max_steps=8, division=False))
def test_monomials_have_the_same_value(sample: Expression) -> None:
    graph = sample.graph
    terms = expand(graph, sample.root, {"x", "y"})
    if terms is None:
        return
    whole = graph.add(graph.mul((c, monomial_node(graph, m))) for m, c in terms.items())
    assert exact_value(graph, whole, POINT) == exact_value(graph, sample.root, POINT)
    for coefficient in terms.values():
        assert not graph.symbols([coefficient]) & {"x", "y"}


def test_common_factors_go() -> None:
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    square = graph.sub(graph.pow(x, graph.number(2)), graph.pow(y, graph.number(2)))
    (short,) = simplified(graph, [graph.div(square, graph.sub(x, y))])
    assert to_text(graph, short) == "x + y"


def test_functions_are_atoms() -> None:
    graph = Graph()
    f = graph.call("exp", (graph.symbol("x"),))
    (short,) = simplified(graph, [graph.div(graph.mul((f, f)), f)])
    assert short == f


def test_what_is_too_large_stays() -> None:
    graph = Graph()
    many = graph.add(graph.symbol(f"s{i}") for i in range(80))
    node = graph.div(many, graph.add((many, graph.number(1))))
    assert simplified(graph, [node]) == [node]
    assert not Fractions(graph, [node]).fits
    assert np.isfinite(len(graph))
