"""Small SBML and .ode files whose numbers or expressions explode where they are multiplied out or written in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

__all__ = ["exploding_models"]

_MATH: Final = '<math xmlns="http://www.w3.org/1998/Math/MathML">'


def _number(text: str, kind: str = "") -> str:
    return f"<cn{kind and f' type={kind!r}'}>{text}</cn>"


def _name(text: str) -> str:
    return f"<ci>{text}</ci>"


def _of(operator: str, *args: str) -> str:
    return f"<apply><{operator}/>{''.join(args)}</apply>"


def _call(function: str, *args: str) -> str:
    return f"<apply><ci>{function}</ci>{''.join(args)}</apply>"


def _model(law: str, *, head: str = "", parameters: str = "", lists: str = "", stoichiometry: str = "1") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m">'
        f"{head}<listOfCompartments>"
        '<compartment id="c" constant="true" size="1" spatialDimensions="3"/></listOfCompartments><listOfSpecies>'
        '<species id="A" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false" '
        'boundaryCondition="false" constant="false"/>'
        '<species id="B" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false" '
        'boundaryCondition="false" constant="false"/></listOfSpecies><listOfParameters>'
        f'<parameter id="k" value="1.5" constant="true"/>{parameters}</listOfParameters>{lists}<listOfReactions>'
        '<reaction id="r" reversible="false" fast="false"><listOfReactants>'
        f'<speciesReference species="A" stoichiometry="{stoichiometry}" constant="true"/></listOfReactants>'
        '<listOfProducts><speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts>'
        f"<kineticLaw>{_MATH}{law}</math></kineticLaw></reaction></listOfReactions></model></sbml>\n"
    )


def _parameters(count: int, constant: bool) -> str:
    flag = "true" if constant else "false"
    return "".join(f'<parameter id="p{i}" constant="{flag}"/>' for i in range(count))


def _rules(first: str, step: Callable[[str], str], count: int) -> str:
    """A law A·p(count − 1), where p0 is ``first`` and each next one is ``step`` of the one before, by rules."""
    bodies = [first, *(step(_name(f"p{i}")) for i in range(count - 1))]
    rules = "".join(
        f'<assignmentRule variable="p{i}">{_MATH}{body}</math></assignmentRule>' for i, body in enumerate(bodies)
    )
    law = _of("times", _name("A"), _name(f"p{count - 1}"))
    return _model(law, parameters=_parameters(count, False), lists=f"<listOfRules>{rules}</listOfRules>")


def _starts(first: str, step: Callable[[str], str], count: int) -> str:
    """The same by initial assignments."""
    bodies = [first, *(step(_name(f"p{i}")) for i in range(count - 1))]
    given = "".join(
        f'<initialAssignment symbol="p{i}">{_MATH}{body}</math></initialAssignment>' for i, body in enumerate(bodies)
    )
    law = _of("times", _name("A"), _name(f"p{count - 1}"))
    lists = f"<listOfInitialAssignments>{given}</listOfInitialAssignments>"
    return _model(law, parameters=_parameters(count, True), lists=lists)


def _functions(first: str, step: Callable[[Callable[[str], str]], str], count: int) -> str:
    """A law A·f(count − 1)(A), where f0(x) is ``first`` and the body of each next one uses the one before."""
    bodies = [first, *(step(partial(_call, f"f{i}")) for i in range(count - 1))]
    definitions = "".join(
        f'<functionDefinition id="f{i}">{_MATH}<lambda><bvar><ci>x</ci></bvar>{body}</lambda></math>'
        "</functionDefinition>"
        for i, body in enumerate(bodies)
    )
    head = f"<listOfFunctionDefinitions>{definitions}</listOfFunctionDefinitions>"
    return _model(_of("times", _name("A"), _call(f"f{count - 1}", _name("A"))), head=head)


_STEPS: Final[Mapping[str, Callable[[str], str]]] = {
    "double": lambda p: _of("plus", p, p),
    "square": lambda p: _of("times", p, p),
    "power": lambda p: _of("power", p, _number("2")),
    "tenth_power": lambda p: _of("power", p, _number("10")),
    "own_power": lambda p: _of("power", p, p),
    "scaled": lambda p: _of("times", _number("1e250"), p),
    "tiny": lambda p: _of("times", _number("1e-250"), p),
    "quotient": lambda p: _of("divide", _of("plus", p, _number("1")), _of("plus", _of("times", p, p), _number("2"))),
    "sine": lambda p: _of("plus", _of("sin", p), _of("times", p, p)),
    "branches": lambda p: (
        f"<piecewise><piece>{_of('plus', p, p)}{_of('gt', p, _number('1'))}</piece>"
        f"<otherwise>{_of('times', p, p)}</otherwise></piecewise>"
    ),
    "affine_square": lambda p: _of("power", _of("plus", p, _number("0.1")), _number("3")),
}


def exploding_models() -> Iterator[tuple[str, str]]:
    """File names with suffix, and contents."""
    x = _name("x")
    irrational = _of("sin", _number("1"))
    for word, step in _STEPS.items():
        yield f"rules_of_numbers_{word}.xml", _rules(_number("1.5"), step, 40)
        yield f"rules_of_states_{word}.xml", _rules(_of("plus", _name("A"), _number("0.5")), step, 40)
        yield f"starts_{word}.xml", _starts(_number("1.5"), step, 40)
    for word in ("double", "square", "sine", "branches"):
        yield f"starts_of_irrational_{word}.xml", _starts(irrational, _STEPS[word], 40)
    yield "functions_same.xml", _functions(x, lambda f: _of("plus", f(x), f(x)), 60)
    yield "functions_square.xml", _functions(x, lambda f: _of("times", f(x), f(x)), 60)
    yield (
        "functions_distinct.xml",
        _functions(x, lambda f: _of("plus", f(_of("times", x, _number("2"))), f(_of("plus", x, _number("1")))), 60),
    )
    yield "functions_nested.xml", _functions(_of("plus", x, x), lambda f: f(f(x)), 40)
    yield "functions_nested_square.xml", _functions(_of("times", x, x), lambda f: f(f(x)), 40)
    yield "functions_sine.xml", _functions(x, lambda f: _of("sin", _of("plus", f(x), f(_of("sin", x)))), 60)
    for word in ("double", "square"):  # 18 and 19 doublings lie below what is refused at once
        for count in (18, 19, 21, 25):
            yield f"rules_{word}_{count}.xml", _rules(_of("plus", _name("A"), _name("B")), _STEPS[word], count)
    for text in ("1000000000", "-1000000000", "100000", "1e9", "0.5", "1e-9", "123456789.5"):
        law = _of("times", _name("A"), _of("power", _of("plus", _name("A"), _number("1.5")), _number(text)))
        yield f"power_{text}.xml", _model(law)
        yield f"power_of_number_{text}.xml", _model(_of("times", _name("A"), _of("power", _number("3"), _number(text))))
    for text in ("170", "171", "100000000", "1e300", "-3", "2.5"):
        yield f"factorial_{text}.xml", _model(_of("times", _name("A"), _of("factorial", _number(text))))
    yield (
        "factorial_of_factorial.xml",
        _model(_of("times", _name("A"), _of("factorial", _of("factorial", _number("9"))))),
    )
    yield "integer_5000.xml", _model(_of("times", _name("A"), _number("7" * 5000, "integer")))
    yield "integer_300.xml", _model(_of("times", _name("A"), _number("7" * 300, "integer")))
    yield "real_5000.xml", _model(_of("times", _name("A"), _number("0." + "7" * 5000)))
    yield "real_5000_large.xml", _model(_of("times", _name("A"), _number("7" * 5000)))
    yield "exponent.xml", _model(_of("times", _name("A"), _number("1<sep/>999999999", "e-notation")))
    yield "exponent_real.xml", _model(_of("times", _name("A"), _number("1e999999999")))
    many = "".join(_number(f"1.{i}e-300") for i in range(1, 2000))
    yield "product_of_2000.xml", _model(_of("times", _name("A"), many))
    sums = "".join(_of("divide", _number("1"), _number(f"1.000{i}1")) for i in range(2000))
    yield "sum_of_2000.xml", _model(_of("times", _name("A"), _of("plus", sums)))
    for text in ("1e300", "1e9", "123456789012345678", "1e-300", "1e999", "NaN", "INF"):
        yield f"stoichiometry_{text}.xml", _model(_of("times", _name("k"), _name("A")), stoichiometry=text)
    chain = "\n".join(f"  p{i + 1} = p{i} * p{i}" for i in range(40))
    ode = "begin model m\n begin parameters\n  p0 = {}\n{}\n end parameters\n begin init\n  A = 1\n end init\n"
    ode += " begin ODE\n  d(A) = -p40*A\n end ODE\nend model\n"
    yield "chain.ode", ode.format("1.5", chain)
    simple = "begin model m\n begin parameters\n  k = {}\n end parameters\n begin init\n  A = 1\n end init\n"
    simple += " begin ODE\n  d(A) = -k*A\n end ODE\nend model\n"
    for word, text in {
        "digits": "7" * 5000,
        "exponent": "1e999999999",
        "power": "3^(10^9)",
        "tower": "((((3^99)^99)^99)^99)^99",
        "parentheses": "(" * 3000 + "1" + ")" * 3000,
    }.items():
        yield f"{word}.ode", simple.format(text)
