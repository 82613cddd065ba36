"""Expansions of expressions, against plain arithmetic and SymPy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from strategies import Expression, exact_value, expressions

from sbmlump.linalg import (
    ExpansionLimits,
    RationalFunctions,
    expand,
    expand_doubles,
    expand_over_q,
    polynomial_node,
    root_of_linear,
    simplified,
    term_nodes,
)
from sbmlump.model import Graph, parse_expression, to_text

POINT = {"x": Fraction(3, 7), "y": Fraction(-11, 5), "z": Fraction(13, 3)}


@given(expressions(max_steps=8))
def test_lowest_terms_have_the_same_value(sample: Expression) -> None:
    graph = sample.graph
    fractions = RationalFunctions(graph, [sample.root])
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
    whole = polynomial_node(graph, terms)
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
    assert not RationalFunctions(graph, [node]).fits
    assert np.isfinite(len(graph))


def to_sympy(graph: Graph, root: int) -> sympy.Expr:
    return sympy.sympify(to_text(graph, root).replace("^", "**"), rational=True)


@given(expressions(max_steps=8, division=False))
def test_expansions_are_those_of_sympy(sample: Expression) -> None:
    graph = sample.graph
    variables = [graph.symbol(name) for name in sorted(graph.symbols([sample.root]))]
    expanded = expand_over_q(graph, [sample.root], variables)
    if expanded is None:
        return
    (polynomial,) = expanded
    expected = sympy.expand(to_sympy(graph, sample.root))
    assert sympy.expand(to_sympy(graph, graph.add(term_nodes(graph, polynomial, variables)))) == expected
    terms = expand(graph, sample.root, graph.symbols([sample.root]))
    assert terms is not None
    assert sympy.expand(to_sympy(graph, polynomial_node(graph, terms))) == expected
    assert len(terms) == len(polynomial)


@given(expressions(max_steps=8, division=False))
def test_doubles_are_the_numbers_of_the_exact_expansion(sample: Expression) -> None:
    graph = sample.graph
    names = sorted(graph.symbols([sample.root]))
    found = expand_doubles(graph, [sample.root], names)
    exact = expand(graph, sample.root, names)
    if found is None or exact is None:
        return
    assert all(sum(exponent for _, exponent in monomial) <= 2 for monomial in found[0])
    size = max((abs(value) for value in found[0].values()), default=0.0)
    for monomial in found[0].keys() | exact.keys():
        node = exact.get(monomial, graph.number(0))
        number = graph.number_of(node)
        assert number is not None
        assert found[0].get(monomial, 0.0) == pytest.approx(float(number), rel=1e-9, abs=1e-9 * size)


@given(expressions(max_steps=8))
def test_the_root_of_a_linear_equation_makes_it_0(sample: Expression) -> None:
    graph = sample.graph
    x = graph.symbol("x")
    root = root_of_linear(graph, sample.root, x)
    if root is None:
        return
    assert "x" not in graph.symbols([root])
    value = exact_value(graph, root, POINT)
    if value is None:
        return
    left = exact_value(graph, sample.root, POINT | {"x": value})
    assert left is None or left == 0  # no value where a denominator that was multiplied out vanishes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a + x)/(b - x) - c", "(b*c - a)/(1 + c)"),
        ("x^2 - (x - a)*(x + b) - c", "(c - a*b)/(a - b)"),
        ("a*x^2 - 1", None),
        ("exp(x) - 1", None),
        ("x - x + a", None),
    ],
)
def test_linear_equations_behind_quotients_and_powers(text: str, expected: str | None) -> None:
    graph = Graph()
    symbols = {name: graph.symbol(name) for name in "abcx"}
    root = root_of_linear(graph, parse_expression(graph, text, symbols), symbols["x"])
    if expected is None:
        assert root is None
        return
    assert root is not None
    assert sympy.simplify(to_sympy(graph, root) - sympy.sympify(expected)) == 0


def test_linear_equations_in_pieces() -> None:
    graph = Graph()
    x, c = graph.symbol("x"), graph.symbol("c")
    condition = graph.call("lt", (graph.symbol("a"), graph.number(1)))
    root = root_of_linear(graph, graph.sub(graph.piecewise([(x, condition)], graph.scaled(2, x)), c), x)
    assert root is not None
    for a, slope in ((0, 1), (3, 2)):
        fixed = {graph.symbol("a"): graph.number(a)}
        assert graph.substitute([root], fixed) == [graph.div(c, graph.number(slope))]
    inside = graph.call("lt", (x, graph.number(1)))
    assert root_of_linear(graph, graph.piecewise([(x, inside)], c), x) is None


def test_limits_end_an_expansion() -> None:
    graph = Graph()
    power = graph.pow(graph.add((graph.symbol("x"), graph.symbol("y"))), graph.number(4))
    assert len(expand(graph, power, {"x", "y"}) or {}) == 5
    assert expand(graph, power, {"x", "y"}, ExpansionLimits(exponent=3)) is None
    assert expand(graph, power, {"x", "y"}, ExpansionLimits(terms=4)) is None
    assert expand(graph, power, {"x", "y"}, ExpansionLimits(degree=3)) is None
    assert expand(graph, power, {"x", "y"}, ExpansionLimits(work=6)) is None
    variables = [graph.symbol("x"), graph.symbol("y")]
    assert expand_over_q(graph, [power], variables, ExpansionLimits(variables=1)) is None
    assert expand_over_q(graph, [power], variables, ExpansionLimits(terms=4)) is None


def test_time_may_stand_in_coefficients() -> None:
    graph = Graph()
    root = graph.mul((graph.time(), graph.symbol("x")))
    assert expand(graph, root, {"x"}) is None
    assert expand(graph, root, {"x"}, time_is_variable=False) == {(("x", 1),): graph.time()}
