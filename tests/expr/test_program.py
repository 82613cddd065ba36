"""One contract for the levelled program over both domains, against evaluators that know nothing of it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import SMOOTH, any_expressions, exact_value, expressions, nonzero_fractions, small_fractions

from sbmlump.model import (
    FUNCTIONS,
    BadPrimeError,
    EvaluationCosts,
    Evaluator,
    FloatDomain,
    Graph,
    Op,
    PrimeField,
    Program,
    parse_expression,
    values_of,
)

P = 2147483629
FLOAT, FIELD = FloatDomain(), PrimeField(P)
points = st.fixed_dictionaries(dict.fromkeys("xyz", small_fractions))


def inputs_of(graph, names="xyz"):
    return [graph.symbol(name) for name in names]


def column(point, domain):
    if domain is FLOAT:
        return np.array([[float(point[name])] for name in "xyz"])
    return np.array([[FIELD.residue(point[name])] for name in "xyz"], dtype=np.int64)


def naive(graph, root, values):
    """Plain double arithmetic, node by node."""
    calls = {"exp": math.exp, "sin": math.sin, "cos": math.cos, "arctan": math.atan, "tanh": math.tanh, "ln": math.log}
    at = {}
    for node in graph.reachable([root]):
        op, args = graph.op(node), [at[a] for a in graph.args(node)]
        if op is Op.NUMBER:
            at[node] = float(graph.number_of(node))
        elif op is Op.SYMBOL:
            at[node] = values[graph.name(node)]
        elif op is Op.ADD:
            at[node] = math.fsum(args)
        elif op is Op.MUL:
            at[node] = math.prod(args)
        elif op is Op.DIV:
            at[node] = args[0] / args[1]
        elif op is Op.POW:
            at[node] = args[0] ** args[1]
        else:
            at[node] = calls[graph.name(node)](*args)
    return at[root]


# -- values ---------------------------------------------------------------------------------------------


@given(expressions(), points)
def test_finite_field_values_are_the_rationals_modulo_p(case, point):
    program = Program(case.graph, [case.root], inputs_of(case.graph))
    tape = program.run(FIELD, column(point, FIELD))
    expected = exact_value(case.graph, case.root, point)
    if expected is None:
        assert tape.bad[0], "a zero denominator must be marked"
    elif not tape.bad[0]:
        assert program.outputs(tape)[0, 0] == FIELD.residue(expected)


@given(expressions(max_steps=12), points)
def test_bad_is_marked_only_where_something_is_undefined(case, point):
    every = case.graph.reachable([case.root])
    program = Program(case.graph, [case.root], inputs_of(case.graph))
    if all(exact_value(case.graph, node, point) is not None for node in every):
        tape = program.run(FIELD, column(point, FIELD))
        assert not tape.bad[0]


@given(expressions(functions=SMOOTH, max_steps=12), points)
def test_float_values_against_a_naive_evaluator(case, point):
    values = {name: float(v) for name, v in point.items()}
    try:
        expected = naive(case.graph, case.root, values)
    except (ZeroDivisionError, OverflowError):
        return
    assume(math.isfinite(expected) and not isinstance(expected, complex))
    program = Program(case.graph, [case.root], inputs_of(case.graph))
    with np.errstate(all="ignore"):
        got = program.outputs(program.run(FLOAT, column(point, FLOAT)))[0, 0]
    scale = max(1.0, _largest(case.graph, case.root, values))
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)


def _largest(graph, root, values):
    return max(abs(naive(graph, node, values)) for node in graph.reachable([root]))


# -- reverse sweeps -------------------------------------------------------------------------------------


@given(expressions(), points)
def test_finite_field_gradient_is_the_exact_derivative(case, point):
    g = case.graph
    if any(exact_value(g, node, point) is None for node in g.reachable([case.root])):
        return
    program = Program(g, [case.root], inputs_of(g))
    tape = program.run(FIELD, column(point, FIELD))
    gradient = program.pull_back(FIELD, tape, np.ones((1, 1), dtype=np.int64))[:, 0]
    if tape.bad[0]:  # a power with a negative exponent of 0 in the slope
        return
    for name, got in zip("xyz", gradient, strict=True):
        slope = exact_value(g, g.derivative(case.root, {g.symbol(name): g.number(1)}), point)
        if slope is not None:
            assert got == FIELD.residue(slope), name


@given(expressions(functions=SMOOTH, max_steps=10, division=False), points)
def test_float_gradient_against_central_differences(case, point):
    program = Program(case.graph, [case.root], inputs_of(case.graph))
    centre = column(point, FLOAT)
    h = 1e-5
    probes = np.concatenate([centre, centre + h * np.eye(3), centre - h * np.eye(3)], axis=1)
    with np.errstate(all="ignore"):
        values = program.outputs(program.run(FLOAT, probes))[0]
        gradient = program.pull_back(FLOAT, program.run(FLOAT, centre), np.ones((1, 1)))[:, 0]
        slots = program.run(FLOAT, centre).values
    assume(np.isfinite(values).all() and np.abs(slots).max() < 50)
    differences = (values[1:4] - values[4:7]) / (2 * h)
    other = (values[1:4] - 2 * values[0] + values[4:7]) / h**2
    assume(np.abs(other).max() < 1e4)  # where curvature is huge, differences are no reference
    np.testing.assert_allclose(gradient, differences, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        *((name, 0.37) for name in "exp ln abs sin cos tan sec csc cot sinh cosh tanh sech csch coth".split()),
        *((name, 0.37) for name in "arcsin arccos arctan arccot arcsinh arctanh arcsech arccsch".split()),
        *((name, -0.37) for name in "abs arccot arccsch arcsinh csch".split()),
        *((name, 2.6) for name in "arccosh arcsec arccsc arccoth factorial".split()),
        *((name, -2.6) for name in "arcsec arccsc arccoth".split()),
    ],
)
def test_slopes_of_functions_against_mpmath(name, at):
    import mpmath

    reference = {
        "ln": mpmath.log, "abs": abs, "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan,
        "arccot": mpmath.acot, "arcsec": mpmath.asec, "arccsc": mpmath.acsc, "arcsinh": mpmath.asinh,
        "arccosh": mpmath.acosh, "arctanh": mpmath.atanh, "arcsech": mpmath.asech, "arccsch": mpmath.acsch,
        "arccoth": mpmath.acoth,
    }.get(name) or getattr(mpmath, name)  # fmt: skip
    g = Graph()
    x = g.symbol("x")
    program = Program(g, [g.call(name, (x,))], [x])
    tape = program.run(FLOAT, np.array([[at]]))
    assert program.outputs(tape)[0, 0] == pytest.approx(float(mpmath.re(reference(mpmath.mpf(at)))), rel=1e-12)
    slope = program.pull_back(FLOAT, tape, np.ones((1, 1)))[0, 0]
    assert slope == pytest.approx(float(mpmath.re(mpmath.diff(reference, at))), rel=1e-7)


def test_every_function_has_a_float_value():
    g = Graph()
    symbols = [g.symbol("x"), g.symbol("y")]
    for name in sorted(FUNCTIONS):
        width = 2 if name in ("min", "max", "rem", "quotient") else 1
        program = Program(g, [g.call(name, symbols[:width])], symbols)
        with np.errstate(all="ignore"):
            tape = program.run(FLOAT, np.array([[0.4, 1.7], [0.3, 0.6]]))
            program.pull_back(FLOAT, tape, np.ones((1, 2)))
        assert np.isfinite(program.outputs(tape)).any(), name


@pytest.mark.parametrize("base", [0.0, 0.5, 2.0])
def test_powers_at_the_edge(base):
    g = Graph()
    x, n = g.symbol("x"), g.symbol("n")
    program = Program(g, [g.pow(x, n), g.pow(x, g.number(Fraction(3, 2)))], [x, n])
    tape = program.run(FLOAT, np.array([[base], [2.5]]))
    both = program.pull_back(FLOAT, tape, np.ones((2, 1)))[:, 0]
    assert program.outputs(tape)[:, 0] == pytest.approx([base**2.5, base**1.5])
    assert both[0] == pytest.approx(2.5 * base**1.5 + 1.5 * base**0.5)
    assert both[1] == pytest.approx(base**2.5 * math.log(base) if base else 0.0)


def test_a_guarded_singularity_has_a_finite_jacobian():
    """Modellers write piecewise(a/x, x > 0, 0): the branch that is not taken must not spoil the derivative."""
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    positive = g.call("gt", (x, g.number(0)))
    branches = [g.div(y, x), g.call("ln", (x,)), g.pow(x, g.number(-2)), g.mul((y, g.call("ln", (x,)), y))]
    roots = [g.add((g.piecewise([(branch, positive)], g.number(0)), y)) for branch in branches]
    evaluator = Evaluator(g, roots, ("x", "y"), {})
    np.testing.assert_array_equal(evaluator.jacobian(0.0, [0.0, 3.0]).toarray(), [[0.0, 1.0]] * 4)
    assert np.isfinite(evaluator.values(0.0, [0.0, 3.0])).all()


def test_a_singularity_in_use_is_not_hidden():
    g = Graph()
    x = g.symbol("x")
    evaluator = Evaluator(g, [g.div(g.number(1), x)], ("x",), {})
    assert not np.isfinite(evaluator.values(0.0, [0.0])[0])
    assert not np.isfinite(evaluator.jacobian(0.0, [0.0]).toarray()[0, 0])


# -- shapes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", [FLOAT, FIELD], ids=["float", "prime"])
def test_batches_equal_single_points(domain):
    g = Graph()
    x, y, z = inputs_of(g)
    roots = [
        g.div(g.add((x, g.mul((y, z)))), g.add((x, g.number(Fraction(1, 3))))),
        g.mul((g.pow(x, g.number(-3)), y, z, g.call("exp", (x,)))),
        g.sub(g.mul((g.number(5), x)), z),
    ]
    program = Program(g, roots, [x, y, z])
    generator = np.random.default_rng(3)
    batch = generator.uniform(0.5, 2, (3, 7)) if domain is FLOAT else generator.integers(1, P, (3, 7))
    weights = generator.uniform(-1, 1, (3, 7)) if domain is FLOAT else generator.integers(1, P, (3, 7))
    tape = program.run(domain, batch)
    values, pulled = program.outputs(tape), program.pull_back(domain, tape, weights)
    for k in range(7):
        single = program.run(domain, batch[:, [k]])
        np.testing.assert_allclose(program.outputs(single)[:, 0], values[:, k], rtol=1e-14)
        np.testing.assert_allclose(program.pull_back(domain, single, weights[:, [k]])[:, 0], pulled[:, k], rtol=1e-13)
    one_point_many_weights = program.pull_back(domain, program.run(domain, batch[:, [0]]), weights)
    assert one_point_many_weights.shape == (3, 7)
    np.testing.assert_allclose(one_point_many_weights[:, 0], pulled[:, 0], rtol=1e-13)


@pytest.mark.parametrize("domain", [FLOAT, FIELD], ids=["float", "prime"])
def test_repeated_roots_inputs_and_numbers_as_roots(domain):
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    total = g.add((x, y))
    program = Program(g, [total, x, total, g.number(7), x], [x, y])
    tape = program.run(domain, np.array([[2], [3]], dtype=domain.dtype))
    assert program.outputs(tape)[:, 0].tolist() == [5, 2, 5, 7, 2]
    weights = np.array([[1], [10], [100], [1000], [10000]], dtype=domain.dtype)
    assert program.pull_back(domain, tape, weights)[:, 0].tolist() == [10111, 101]


def test_a_program_without_roots_or_inputs():
    g = Graph()
    program = Program(g, [], [g.symbol("x")])
    assert program.outputs(program.run(FLOAT, np.ones((1, 2)))).shape == (0, 2)
    assert program.degree() == 0
    assert values_of(g, []).shape == (0,)
    assert values_of(g, [g.number(Fraction(1, 3)), g.constant("pi")]) == pytest.approx([1 / 3, math.pi])


def test_a_forgotten_symbol_is_named():
    g = Graph()
    with pytest.raises(ValueError, match="'y'"):
        Program(g, [g.add((g.symbol("x"), g.symbol("y")))], [g.symbol("x")])
    with pytest.raises(ValueError, match="time"):
        Program(g, [g.mul((g.symbol("x"), g.time()))], [g.symbol("x")])


# -- the finite field -----------------------------------------------------------------------------------


def test_zero_denominators_are_marked_point_by_point():
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    program = Program(g, [g.div(x, y), g.pow(g.sub(x, y), g.number(-2))], [x, y])
    tape = program.run(FIELD, np.array([[1, 5, 5, 4], [2, 0, 5, 3]]))
    assert tape.bad.tolist() == [False, True, True, False]


def test_logarithm_of_zero_is_marked_in_the_reverse_sweep():
    g = Graph()
    x = g.symbol("x")
    program = Program(g, [g.call("ln", (x,))], [x])
    tape = program.run(FIELD, np.array([[0, 1]]))
    program.pull_back(FIELD, tape, np.ones((1, 2), dtype=np.int64))
    assert tape.bad.tolist() == [True, False]


def test_a_prime_in_a_denominator_is_refused():
    with pytest.raises(BadPrimeError):
        FIELD.residue(Fraction(1, P))
    g = Graph()
    program = Program(g, [g.mul((g.number(Fraction(1, 2 * P)), g.symbol("x")))], [g.symbol("x")])
    with pytest.raises(BadPrimeError):
        program.run(FIELD, np.ones((1, 1), dtype=np.int64))


def test_large_coefficients_do_not_overflow():
    """Forwards a sum adds along its row, backwards along its column; both go through int64."""
    g = Graph()
    x = g.symbol("x")
    others = [g.symbol(f"y{i}") for i in range(6_000)]
    big = 1 << 20
    roots = [g.add((y, g.mul((g.number(big), x)))) for y in others]
    roots.append(g.add(g.mul((g.number(big), y)) for y in others))
    program = Program(g, roots, [x, *others])
    tape = program.run(FIELD, np.full((6_001, 1), P - 1, dtype=np.int64))
    values = program.outputs(tape)[:, 0]
    assert values[0] == (-1 - big) % P
    assert values[-1] == -big * 6_000 % P
    gradient = program.pull_back(FIELD, tape, np.full((6_001, 1), P - 1, dtype=np.int64))[:, 0]
    assert gradient[0] == -big * 6_000 % P
    assert gradient[1] == (-1 - big) % P


@pytest.mark.parametrize("exponent", [2, -1, 3, 17, -40, 65_535, 65_537])
def test_integer_powers_in_the_field(exponent):
    g = Graph()
    x = g.symbol("x")
    program = Program(g, [g.pow(x, g.number(exponent))], [x])
    tape = program.run(FIELD, np.array([[3, 10]]))
    slope = program.pull_back(FIELD, tape, np.ones((1, 2), dtype=np.int64))[0]
    if abs(exponent) < 65_536:
        assert program.outputs(tape)[0].tolist() == [pow(3, exponent, P), pow(10, exponent, P)]
        assert slope.tolist() == [exponent * pow(b, exponent - 1, P) % P for b in (3, 10)]
    else:  # a value like any other function, with the known slope
        value = program.outputs(tape)[0]
        assert slope.tolist() == [exponent * int(v) * pow(b, -1, P) % P for v, b in zip(value, (3, 10), strict=True)]


def test_primes_beyond_int64_products_are_refused():
    for prime in (1 << 31, (1 << 61) - 1, 2, 0):
        with pytest.raises(ValueError, match="prime"):
            PrimeField(prime)


def test_hashes_depend_on_name_arguments_and_salt_only():
    a, none = np.array([[5, 6, 5]]), np.zeros(3, dtype=bool)

    def value(field, name, *args):
        return field.call(name, args, none)[0].tolist()

    first, other = PrimeField(P, 1), PrimeField(P, 2)
    assert value(first, "sin", a)[0] == value(first, "sin", a)[2] == value(PrimeField(P, 1), "sin", a)[0]
    assert value(first, "sin", a)[0] != value(first, "sin", a)[1]
    assert value(first, "sin", a)[0] != value(first, "cos", a)[0]
    assert value(first, "sin", a)[0] != value(other, "sin", a)[0]
    assert value(first, "min", a, a + 1)[0] != value(first, "min", a + 1, a)[0]
    assert not none.any()


@pytest.mark.parametrize(("text", "expected"), [("sin({})", 0), ("cosh({})", 1), ("exp({})", 1), ("x^({})", 1)])
def test_functions_of_what_is_zero_without_being_written_so(text, expected):
    g = Graph()
    root = parse_expression(g, text.format("x/3 - x/3"), {"x": g.symbol("x")})
    program = Program(g, [root], [g.symbol("x")])
    tape = program.run(FIELD, np.array([[5, 6]]))
    assert program.outputs(tape).tolist() == [[expected, expected]]


@pytest.mark.parametrize("text", ["ln(x/3 - x/3)", "x/sin(x/3 - x/3)"])
def test_what_has_no_value_anywhere_is_marked(text):
    g = Graph()
    program = Program(g, [parse_expression(g, text, {"x": g.symbol("x")})], [g.symbol("x")])
    assert program.run(FIELD, np.array([[5, 6]])).bad.all()


# -- structure ------------------------------------------------------------------------------------------


@given(expressions(max_steps=12))
def test_dependencies_cover_every_gradient(case):
    g = case.graph
    program = Program(g, [case.root], inputs_of(g))
    pattern = program.dependencies().toarray()[0]
    tape = program.run(FIELD, np.random.default_rng(1).integers(1, P, (3, 3)))
    gradient = program.pull_back(FIELD, tape, np.ones((1, 3), dtype=np.int64))[:, ~tape.bad]
    for j, name in enumerate("xyz"):
        assert not (gradient[j].any() and not pattern[j]), name
        assert not (pattern[j] and name not in g.symbols([case.root])), name


@given(expressions(names=("x",), max_steps=8), nonzero_fractions)
def test_degree_bounds_the_number_of_zeros(case, shift):
    """In one variable: r(x) − c over the common denominator has no more zeros than the bound says."""
    import sympy

    g = case.graph
    x = sympy.Symbol("x")
    at = {}
    for node in g.reachable([case.root]):
        args = [at[a] for a in g.args(node)]
        op = g.op(node)
        if op is Op.NUMBER:
            value = g.number_of(node)
            at[node] = sympy.Rational(value.numerator, value.denominator)
        elif op is Op.SYMBOL:
            at[node] = x
        elif op is Op.ADD:
            at[node] = sympy.Add(*args)
        elif op is Op.MUL:
            at[node] = sympy.Mul(*args)
        elif op is Op.DIV:
            at[node] = args[0] / args[1]
        else:
            at[node] = args[0] ** args[1]
    if at[case.root].has(sympy.zoo, sympy.nan):
        return
    top, bottom = sympy.fraction(sympy.cancel(sympy.together(at[case.root])))
    degrees = sympy.degree(top, x) if top != 0 else 0, sympy.degree(bottom, x)
    bound = Program(g, [case.root], [g.symbol("x")]).degree()
    assert max(degrees) <= bound
    assert sum(d for d in degrees if d >= 0) <= bound


@pytest.mark.parametrize(
    ("text_degree", "build"),
    [
        (1, lambda g, x, y: g.add((x, y))),
        (2, lambda g, x, y: g.mul((x, y))),
        (5, lambda g, x, y: g.pow(x, g.number(5))),
        (3, lambda g, x, y: g.add((g.mul((x, x, y)), y))),
        (4, lambda g, x, y: g.mul((g.div(x, y), g.div(x, g.add((x, y)))))),
    ],
)
def test_degree_on_examples(text_degree, build):
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    assert Program(g, [build(g, x, y)], [x, y]).degree() >= text_degree


# -- evaluator ------------------------------------------------------------------------------------------


def test_evaluator_shapes_and_errors():
    g = Graph()
    x, y, k = g.symbol("x"), g.symbol("y"), g.symbol("k")
    e = Evaluator(g, [g.mul((k, x, g.time())), y, g.number(3)], ("x", "y"), {"k": g.number(2)})
    assert e.values(5.0, [1.0, 4.0]).tolist() == [10.0, 4.0, 3.0]
    assert e.values([0.0, 1.0], [[1.0, 4.0], [2.0, 5.0]]).tolist() == [[0.0, 4.0, 3.0], [4.0, 5.0, 3.0]]
    with pytest.raises(ValueError, match="expected 2"):
        e.values(0.0, [1.0])
    jacobian = e.jacobian(5.0, [1.0, 4.0])
    assert jacobian.shape == (3, 2)
    assert jacobian.toarray().tolist() == [[10.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


@given(st.integers(0, 10_000))
def test_coloured_jacobian_equals_single_sweeps(seed):
    generator = np.random.default_rng(seed)
    g = Graph()
    n = 6
    xs = [g.symbol(f"x{i}") for i in range(n)]
    roots = []
    for _ in range(n):
        picks = generator.integers(0, n, 3)
        roots.append(g.add((g.mul((xs[picks[0]], xs[picks[1]])), g.call("sin", (xs[picks[2]],)))))
    names = tuple(f"x{i}" for i in range(n))
    x = generator.normal(size=n)
    dense = Evaluator(g, roots, names, {}).jacobian(0.0, x).toarray()
    program = Program(g, roots, xs)
    tape = program.run(FLOAT, x[:, None])
    np.testing.assert_allclose(dense, program.pull_back(FLOAT, tape, np.eye(n)).T, rtol=1e-13, atol=1e-13)


@settings(deadline=None)
@given(st.data())
def test_one_point_has_the_numbers_of_many_bit_by_bit(data):
    """A single point goes node by node where formulas stand one upon the other, several points by array routines."""
    g = Graph()
    roots = [data.draw(any_expressions(g, "xyz", max_steps=12)) for _ in range(2)]
    for _ in range(data.draw(st.integers(0, 6))):
        roots.append(g.add((roots[-1], roots[-1], g.symbol("x"))))
    place = st.floats(-1e3, 1e3) | st.sampled_from([0.0, -0.0, math.inf, math.nan, 1e300, 5e-324])
    t, *x = data.draw(st.lists(place, min_size=4, max_size=4))
    costs = data.draw(st.sampled_from([EvaluationCosts(group=math.inf), EvaluationCosts()]))  # always, or where faster
    evaluator = Evaluator(g, roots, tuple("xyz"), {}, costs=costs)
    alone = evaluator.values(t, x)
    among = evaluator.values(t, [x])[0]
    assert np.array_equal(alone, among, equal_nan=True)
    assert (np.signbit(alone) == np.signbit(among))[~np.isnan(alone)].all()


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("3", True),
        ("x", True),
        ("2*x - y/3 + 5", True),
        ("(x + y)/2 - (z - 1)*4", True),
        ("(2*x + y)/exp(3)", True),
        ("x*exp(2)", True),
        ("x*y", False),
        ("(x + 1)*(x - 1)", False),
        ("x^2", False),
        ("1/x", False),
        ("y/(x + 1)", False),
        ("exp(x)", False),
        ("2*x + x*y", False),
    ],
)
def test_which_jacobians_are_seen_to_be_constant(text, constant):
    graph = Graph()
    names = {name: graph.symbol(name) for name in "xyz"}
    program = Program(graph, [parse_expression(graph, text, names), graph.symbol("x")], inputs_of(graph))
    assert program.jacobian_is_constant(slice(0, 1)) == constant
    assert program.jacobian_is_constant(slice(1, 2))
