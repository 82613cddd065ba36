"""Every operator of SBML's MathML, and truth values where numbers are expected and the other way round."""

from __future__ import annotations

import math as m
from pathlib import Path

import pytest
from sbml.read_models import MATHML, codes_of, listed, math, parameter, rule, sbml, system_of

from sbmlump.model import values_of

X = 0.375


def value_of(folder: Path, mathematics: str) -> float:
    """Value of an assigned parameter at x = 3/8, y = 5."""
    if not mathematics.startswith("<"):
        mathematics = math(mathematics)
    elif not mathematics.startswith("<math"):
        mathematics = f"<math {MATHML}>{mathematics}</math>"
    rules = listed("Rules", f'<assignmentRule variable="q">{mathematics}</assignmentRule>')
    kinds = parameter("x", "0.375"), parameter("y", "5"), parameter("q", None, constant=False)
    system = system_of(folder, sbml(listed("Parameters", *kinds) + rules))
    graph = system.graph
    values = {graph.symbol(name): node for name, node in system.constant_values.items()}
    return float(values_of(graph, graph.substitute([system.definitions["q"]], values))[0])


def apply(name: str, *arguments: str) -> str:
    return f"<apply><{name}/>{''.join(arguments)}</apply>"


CI = "<ci> x </ci>"
Y = "<ci> y </ci>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + y - 2*x/y", X + 5 - 2 * X / 5),
        ("-x^y", -(X**5)),
        ("sqrt(x)", m.sqrt(X)),
        ("root(3, x)", X ** (1 / 3)),
        ("log10(x)", m.log10(X)),
        ("log(2, x)", m.log2(X)),
        ("floor(log10(1000))", 3.0),
        ("floor(log(2, 1/8))", -3.0),
        ("ln(x)", m.log(X)),
        ("exp(x)", m.exp(X)),
        ("abs(-x)", X),
        ("floor(-x)", -1.0),
        ("ceil(x)", 1.0),
        ("factorial(y)", 120.0),
        ("sin(x)", m.sin(X)),
        ("cos(x)", m.cos(X)),
        ("tan(x)", m.tan(X)),
        ("sec(x)", 1 / m.cos(X)),
        ("csc(x)", 1 / m.sin(X)),
        ("cot(x)", 1 / m.tan(X)),
        ("sinh(x)", m.sinh(X)),
        ("cosh(x)", m.cosh(X)),
        ("tanh(x)", m.tanh(X)),
        ("sech(x)", 1 / m.cosh(X)),
        ("csch(x)", 1 / m.sinh(X)),
        ("coth(x)", 1 / m.tanh(X)),
        ("arcsin(x)", m.asin(X)),
        ("arccos(x)", m.acos(X)),
        ("arctan(x)", m.atan(X)),
        ("arcsec(y)", m.acos(1 / 5)),
        ("arccsc(y)", m.asin(1 / 5)),
        ("arccot(y)", m.atan(1 / 5)),
        ("arcsinh(x)", m.asinh(X)),
        ("arccosh(y)", m.acosh(5)),
        ("arctanh(x)", m.atanh(X)),
        ("arcsech(x)", m.acosh(1 / X)),
        ("arccsch(x)", m.asinh(1 / X)),
        ("arccoth(y)", m.atanh(1 / 5)),
        ("min(y, x, 2)", X),
        ("max(y, x, 2)", 5.0),
        ("rem(y, 2)", 1.0),
        ("rem(-y, 2)", -1.0),
        ("quotient(-y, 2)", -2.0),
        ("pi + exponentiale", m.pi + m.e),
        ("exponentiale^x", m.exp(X)),
        ("avogadro/1e23", 6.02214179),
        ("infinity", m.inf),
        ("piecewise(1, x > 1, 2, x > 0, 3)", 2.0),
        ("piecewise(x > 0, y > 1, false) + 1", 2.0),
        ("(x < y) + (x <= y) + (x == y) + (x != y) + (x > y) + (x >= y)", 3.0),
        ("true + 1", 2.0),
        ("piecewise(7, x, 8)", 7.0),
        ("piecewise(7, x - x, 8)", 8.0),
        ("(x && y) + (x || 0) + !x + xor(x, y, 1)", 3.0),
        ("implies(x > 1, y > 100) + implies(x < 1, y > 100)", 1.0),
        ("max(x > 0, 3)", 3.0),
    ],
)
def test_operators(tmp_path: Path, text: str, expected: float) -> None:
    assert value_of(tmp_path, text) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (apply("plus"), 0.0),
        (apply("times"), 1.0),
        (apply("and"), 1.0),
        (apply("or"), 0.0),
        (apply("xor"), 0.0),
        (apply("and", CI), 1.0),
        (apply("plus", CI, Y, CI), 5.75),
        (apply("minus", CI), -X),
        (apply("root", CI), m.sqrt(X)),
        (apply("log", CI), m.log10(X)),
        (apply("lt", CI, Y, "<cn> 6 </cn>"), 1.0),
        (apply("lt", CI, Y, "<cn> 5 </cn>"), 0.0),
        (apply("times", f"<semantics>{apply('plus', CI, Y)}</semantics>", "<cn> 2 </cn>"), 10.75),
        ("<notanumber/>", m.nan),
        (apply("eq", apply("gt", CI, Y), apply("gt", CI, "<cn> 9 </cn>")), 1.0),
    ],
)
def test_forms_that_only_mathml_has(tmp_path: Path, element: str, expected: float) -> None:
    assert value_of(tmp_path, element) == pytest.approx(expected, rel=1e-14, nan_ok=True)


def refused(folder: Path, mathematics: str, more: str = "") -> list[str]:
    rules = listed("Rules", f'<assignmentRule variable="q">{mathematics}</assignmentRule>')
    kinds = listed("Parameters", parameter("x"), parameter("q", None, constant=False))
    return codes_of(folder, sbml(more + kinds + rules))


DELAY = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/delay"> delay </csymbol>'


@pytest.mark.parametrize(
    ("mathematics", "code"),
    [
        (f"<math {MATHML}><apply>{DELAY}{CI}<cn> 1 </cn></apply></math>", "delay"),
        (math("nosuch + 1"), "unknown-id"),
        (math("nosuch(x)"), "unknown-function"),
        (math("f(x, x)"), "wrong-arguments"),
        (math("g(x)"), "circular-function"),
        (math("outside(x)"), "unknown-id"),
    ],
)
def test_mathematics_that_is_refused(tmp_path: Path, mathematics: str, code: str) -> None:
    bodies = {"f": "lambda(a, a + 1)", "g": "lambda(a, h(a))", "h": "lambda(a, g(a))", "outside": "lambda(a, a + x)"}
    functions = [f'<functionDefinition id="{n}">{math(text)}</functionDefinition>' for n, text in bodies.items()]
    assert refused(tmp_path, mathematics, listed("FunctionDefinitions", *functions)) == [code]


def test_functions_that_grow_beyond_measure_are_refused_or_shared(tmp_path: Path) -> None:
    functions = [f'<functionDefinition id="f0">{math("lambda(a, a*a + 1)")}</functionDefinition>']
    for i in range(1, 60):
        body = math(f"lambda(a, f{i - 1}(a) + f{i - 1}(a))")
        functions.append(f'<functionDefinition id="f{i}">{body}</functionDefinition>')
    rules = listed("Rules", rule("assignmentRule", "q", "f59(x)"))
    kinds = listed("Parameters", parameter("x"), parameter("q", None, constant=False))
    system = system_of(tmp_path, sbml(listed("FunctionDefinitions", *functions) + kinds + rules))
    assert len(system.graph) < 500


def test_rate_of_as_older_tools_wrote_it(tmp_path: Path) -> None:
    note = '<symbols xmlns="http://sbml.org/annotations/symbols" definition="http://en.wikipedia.org/wiki/Derivative"/>'
    body = f"<math {MATHML}><lambda><bvar><ci> a </ci></bvar><notanumber/></lambda></math>"
    function = f'<functionDefinition id="rateOf"><annotation>{note}</annotation>{body}</functionDefinition>'
    kinds = listed("Parameters", parameter("p", constant=False), parameter("q", None, constant=False))
    called = f"<math {MATHML}><apply><ci> rateOf </ci><ci> p </ci></apply></math>"
    rules = listed("Rules", rule("rateRule", "p", "7"), f'<assignmentRule variable="q">{called}</assignmentRule>')
    system = system_of(tmp_path, sbml(listed("FunctionDefinitions", function) + kinds + rules))
    assert system.graph.number_of(system.definitions["q"]) == 7
