"""The expression graph: equal expressions are one node, folding keeps the value, nothing recurses."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import exact_value, expressions, small_fractions

from sbmlump.model import FloatDomain, Graph, Op, PrimeField, Program

LEVELS = 5_000
POINT = {"x": Fraction(3, 7), "y": Fraction(-5, 2), "z": Fraction(11, 3)}


def test_equal_expressions_are_one_node():
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    assert g.symbol("x") == x
    assert g.number(2) == g.number(Fraction(4, 2))
    assert g.mul((x, y)) == g.mul((y, x))
    assert g.mul((g.number(3), g.mul((x, y)))) == g.mul((g.mul((g.number(3), y)), x))
    assert g.call("exp", (x,)) == g.call("exp", (x,))
    before = len(g)
    g.add((g.mul((x, y)), g.call("exp", (x,))))
    g.add((g.mul((y, x)), g.call("exp", (x,))))
    assert len(g) == before + 1


def test_sign_stands_outside_the_product():
    g = Graph()
    xy = g.mul((g.symbol("x"), g.symbol("y")))
    assert g.args(g.neg(xy))[1] == xy
    assert g.neg(g.neg(xy)) == xy


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (lambda g, x: g.add(()), 0),
        (lambda g, x: g.mul(()), 1),
        (lambda g, x: g.mul((g.number(0), x)), 0),
        (lambda g, x: g.sub(x, x), 0),
        (lambda g, x: g.pow(x, g.number(0)), 1),
        (lambda g, x: g.pow(g.number(1), x), 1),
        (lambda g, x: g.pow(g.number(0), g.number(3)), 0),
        (lambda g, x: g.pow(g.number(Fraction(4, 9)), g.number(Fraction(-3, 2))), Fraction(27, 8)),
        (lambda g, x: g.div(g.number(0), x), 0),
        (lambda g, x: g.div(g.number(1), g.number(3)), Fraction(1, 3)),
        (lambda g, x: g.call("exp", (g.number(0),)), 1),
        (lambda g, x: g.call("ln", (g.number(1),)), 0),
        (lambda g, x: g.call("floor", (g.number(Fraction(-3, 2)),)), -2),
        (lambda g, x: g.call("ceiling", (g.number(Fraction(-3, 2)),)), -1),
        (lambda g, x: g.call("min", (g.number(2), g.number(-1))), -1),
        (lambda g, x: g.call("factorial", (g.number(5),)), 120),
        (lambda g, x: g.call("quotient", (g.number(-7), g.number(2))), -3),
        (lambda g, x: g.call("rem", (g.number(-7), g.number(2))), -1),
        (lambda g, x: g.decimal(0.1), Fraction(1, 10)),
        (lambda g, x: g.piecewise([(g.number(2), g.truth(False)), (g.number(5), g.truth(True))], x), 5),
        (lambda g, x: g.piecewise([(g.number(2), g.call("lt", (x, g.number(1))))], g.number(2)), 2),
        (lambda g, x: g.piecewise([(x, g.call("lt", (g.number(2), g.number(1))))], g.number(9)), 9),
    ],
)
def test_folds(build, value):
    g = Graph()
    assert g.number_of(build(g, g.symbol("x"))) == value


def test_neutral_elements_vanish():
    g = Graph()
    x = g.symbol("x")
    assert g.add((x, g.number(0))) == x
    assert g.mul((x, g.number(1))) == x
    assert g.pow(x, g.number(1)) == x
    assert g.call("max", (x, x)) == x


def test_irrational_roots_and_logarithms_stay_symbolic():
    g = Graph()
    assert g.op(g.pow(g.number(2), g.number(Fraction(1, 2)))) is Op.POW
    assert g.op(g.pow(g.number(-8), g.number(Fraction(1, 3)))) is Op.POW
    assert g.op(g.call("ln", (g.number(2),))) is Op.CALL


def test_logic_folds_only_what_is_certain():
    g = Graph()
    p = g.call("lt", (g.symbol("x"), g.number(1)))
    true, false = g.truth(True), g.truth(False)
    assert g.call("and", (p, false)) == false
    assert g.call("or", (p, true)) == true
    assert g.call("and", ()) == true
    assert g.call("or", ()) == false
    assert g.call("not", (false,)) == true
    assert g.call("xor", (true, true)) == false
    assert g.op(g.call("and", (p, true))) is Op.CALL


@pytest.mark.parametrize("name", ["gamma", "", "__import__"])
def test_unknown_functions_are_refused(name):
    g = Graph()
    with pytest.raises(ValueError, match="unknown function"):
        g.call(name, (g.symbol("x"),))


def test_undefined_is_marked_and_inherited():
    g = Graph()
    x = g.symbol("x")
    bad = g.div(x, g.number(0))
    assert g.is_undefined(bad)
    assert g.is_undefined(g.call("ln", (g.number(0),)))
    assert g.is_undefined(g.pow(g.number(0), g.number(-1)))
    assert g.is_undefined(g.add((x, bad)))
    for node in (g.mul((g.number(0), bad)), g.sub(bad, bad), g.pow(bad, g.number(0)), g.div(g.number(0), bad)):
        assert g.is_undefined(node), "what has no value must not become a number"
    assert not g.is_undefined(g.div(g.number(1), x))


def test_undefined_survives_substitution_and_transplant():
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    (root,) = g.substitute([g.add((g.div(g.number(1), g.sub(x, y)), x))], {x: g.number(3), y: g.number(3)})
    assert g.is_undefined(root)
    other = Graph()
    assert other.is_undefined(other.transplant(g, [root], {})[0])


def test_hostile_towers_of_powers_stay_small():
    g = Graph()
    node = g.number(9)
    for _ in range(30):
        node = g.pow(node, node)
    for _ in range(30):
        node = g.pow(node, g.number(1000))
    assert all(g.number_of(n) is None or g.number_of(n).numerator.bit_length() < 40_000 for n in g.reachable([node]))
    program = Program(g, [node], [])
    program.run(PrimeField(2147483629), _no_input("int64"))
    import numpy as np

    with np.errstate(all="ignore"):
        value = program.outputs(program.run(FloatDomain(), _no_input("float64")))[0, 0]
    assert not math.isfinite(value) or value >= 0


def _no_input(dtype):
    import numpy as np

    return np.empty((0, 1), dtype=dtype)


def test_piecewise_without_otherwise_is_not_a_number():
    g = Graph()
    node = g.piecewise([(g.number(1), g.truth(False))])
    assert g.op(node) is Op.CONSTANT
    assert g.name(node) == "notanumber"


# -- deep -----------------------------------------------------------------------------------------------


def _chain(graph, levels=LEVELS):
    """x ↦ 1/(1 + x·y) + 1/2, nested."""
    x, y = graph.symbol("x"), graph.symbol("y")
    node = x
    for level in range(levels // 3):
        node = graph.add(
            (
                graph.div(graph.number(1), graph.add((graph.number(1), graph.mul((node, y))))),
                graph.number(Fraction(1, 2)),
            )
        )
        if level % 7 == 0:
            node = graph.mul((node, x))
    return node


def test_five_thousand_levels():
    import numpy as np

    g = Graph()
    root = _chain(g)
    assert g.depth(root) > LEVELS
    x, y = g.symbol("x"), g.symbol("y")
    (moved,) = g.substitute([root], {x: g.add((x, g.number(1))), y: g.symbol("z")})
    assert g.symbols([moved]) == {"x", "z"}
    other = Graph()
    (copied,) = other.transplant(g, [root], {})
    slope = g.derivative(root, {x: g.number(1)})
    program = Program(g, [root, slope], [x, y])
    point = np.array([[0.3], [0.4]])
    tape = program.run(FloatDomain(), point)
    value, derivative = program.outputs(tape)[:, 0]
    gradient = program.pull_back(FloatDomain(), tape, np.array([[1.0], [0.0]]))
    assert gradient[0, 0] == pytest.approx(derivative, rel=1e-9)
    again = Program(other, [copied], [other.symbol("x"), other.symbol("y")])
    assert again.outputs(again.run(FloatDomain(), point))[0, 0] == value
    field = PrimeField(2147483629)
    finite = program.run(field, np.array([[12345], [678]]))
    assert not finite.bad.any()
    back = program.pull_back(field, finite, np.array([[1], [0]]))
    assert back[0, 0] == program.outputs(finite)[1, 0]


def test_linear_terms_of_a_doubling_dag_stay_bounded():
    g = Graph()
    node = g.add((g.symbol("x"), g.call("exp", (g.symbol("y"),))))
    for _ in range(60):
        node = g.add((node, node))
    terms = g.linear_terms(node, limit=2_000)
    total = exact_value_of_terms(g, terms, {"x": Fraction(1)}, exp=Fraction(5))
    assert total == 6 * 2**60


def exact_value_of_terms(graph, terms, values, exp):
    """Σ c·term where terms may still be sums; ``exp(y)`` stands for a number."""
    at = {}
    for node in graph.reachable(terms):
        op, args = graph.op(node), graph.args(node)
        if op is Op.NUMBER:
            at[node] = graph.number_of(node)
        elif op is Op.SYMBOL:
            at[node] = values.get(graph.name(node), Fraction(0))
        elif op is Op.ADD:
            at[node] = sum((at[arg] for arg in args), Fraction(0))
        elif op is Op.MUL:
            at[node] = math.prod(at[arg] for arg in args)
        else:
            at[node] = exp
    return sum((c * at[term] for term, c in terms.items()), Fraction(0))


# -- by hypothesis --------------------------------------------------------------------------------------


@given(expressions())
def test_linear_terms_round_trip(case):
    g, root = case.graph, case.root
    value = exact_value(g, root, POINT)
    again = g.from_terms(g.linear_terms(root))
    if value is not None:
        assert exact_value(g, again, POINT) == value


@given(expressions(), st.dictionaries(st.sampled_from("xyz"), small_fractions))
def test_substitution_keeps_values(case, values):
    g, root = case.graph, case.root
    point = {**POINT, **values}
    (bound,) = g.substitute([root], {g.symbol(name): g.number(value) for name, value in point.items()})
    expected = exact_value(g, root, point)
    if expected is not None:
        assert g.number_of(bound) == expected
    else:
        assert g.number_of(bound) is None or not g.is_undefined(root)


@given(expressions())
def test_substitution_is_simultaneous(case):
    g, root = case.graph, case.root
    x, y = g.symbol("x"), g.symbol("y")
    (swapped,) = g.substitute([root], {x: y, y: x})
    point = {**POINT, "x": POINT["y"], "y": POINT["x"]}
    first, second = exact_value(g, root, point), exact_value(g, swapped, POINT)
    assert first == second or first is None


@given(expressions())
def test_transplant_keeps_values_and_structure(case):
    other = Graph()
    other.symbol("something else")
    (copy,) = other.transplant(case.graph, [case.root], {})
    first, second = exact_value(case.graph, case.root, POINT), exact_value(other, copy, POINT)
    assert first == second or first is None
    (back,) = case.graph.transplant(other, [copy], {})
    (fixed,) = case.graph.transplant(case.graph, [back], {})
    assert fixed == back


@given(expressions(max_steps=12))
def test_arguments_come_before_their_users(case):
    for node in case.graph.reachable([case.root]):
        assert all(arg < node for arg in case.graph.args(node))


@given(expressions(max_steps=10))
def test_derivative_against_sympy(case):
    import sympy

    g = case.graph
    if exact_value(g, case.root, POINT) is None:
        return
    as_sympy = {}
    for node in g.reachable([case.root]):
        args = [as_sympy[a] for a in g.args(node)]
        op = g.op(node)
        as_sympy[node] = {
            Op.NUMBER: lambda n=node: sympy.Rational(g.number_of(n).numerator, g.number_of(n).denominator),
            Op.SYMBOL: lambda n=node: sympy.Symbol(g.name(n)),
            Op.ADD: lambda a=args: sympy.Add(*a, evaluate=False),
            Op.MUL: lambda a=args: sympy.Mul(*a, evaluate=False),
            Op.DIV: lambda a=args: sympy.Mul(a[0], sympy.Pow(a[1], -1, evaluate=False), evaluate=False),
            Op.POW: lambda a=args: sympy.Pow(a[0], a[1], evaluate=False),
        }[op]()
    slope = g.derivative(case.root, {g.symbol("x"): g.number(1)})
    at = {sympy.Symbol(name): sympy.Rational(v.numerator, v.denominator) for name, v in POINT.items()}
    expected = sympy.diff(as_sympy[case.root], sympy.Symbol("x")).subs(at)
    got = exact_value(g, slope, POINT)
    assert got is not None
    assert sympy.nsimplify(expected) == sympy.Rational(got.numerator, got.denominator)


def test_derivative_refuses_what_has_a_kink():
    g = Graph()
    x = g.symbol("x")
    for name in ("abs", "floor", "ceiling"):
        with pytest.raises(ValueError, match="no derivative"):
            g.derivative(g.call(name, (x,)), {x: g.number(1)})
    assert g.number_of(g.derivative(g.call("abs", (g.symbol("y"),)), {x: g.number(1)})) == 0


def test_a_single_truth_value_needs_no_and_or_or():
    """So that what is left of ``x > 1 or false`` is the same node however it was written."""
    graph = Graph()
    x = graph.symbol("x")
    relation = graph.call("gt", (x, graph.number(1)))
    assert graph.call("or", (relation, graph.truth(False))) == relation
    assert graph.call("and", (graph.truth(True), relation, relation)) == relation
    assert graph.call("and", (graph.call("not", (relation,)),)) == graph.call("not", (relation,))
    assert graph.call("or", (x,)) != x  # a number whose truth is meant
