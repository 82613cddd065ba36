"""Numbers come back exactly, and as the nearest double."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import libsbml
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sbmlump.errors import LimitError, SbmlumpError
from sbmlump.formats import parse_ode
from sbmlump.jobs import written_system
from sbmlump.sbml import NumberTexts, attribute_text, check_written, is_decimal, parse_sbml

NAMESPACE = "http://www.w3.org/1998/Math/MathML"


def exact(node: libsbml.ASTNode) -> Fraction:
    """Value of a tree of numbers by its decimal texts."""
    kind = node.getType()
    if kind == libsbml.AST_INTEGER:
        return Fraction(node.getInteger())
    if kind == libsbml.AST_RATIONAL:
        return Fraction(node.getNumerator(), node.getDenominator())
    if kind == libsbml.AST_REAL:
        return Fraction(repr(node.getReal()))
    if kind == libsbml.AST_REAL_E:
        return Fraction(repr(node.getMantissa())) * Fraction(10) ** node.getExponent()
    left, right = (exact(node.getChild(i)) for i in range(2))
    operators = {
        libsbml.AST_PLUS: lambda: left + right,
        libsbml.AST_TIMES: lambda: left * right,
        libsbml.AST_DIVIDE: lambda: left / right,
    }
    return Fraction(operators[kind]())


def read(text: str) -> libsbml.ASTNode:
    node = libsbml.readMathMLFromString(f'<math xmlns="{NAMESPACE}">{text}</math>')
    assert node is not None, text
    return node


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite)
@example(0.1 + 0.2)
@example(1.1e-5)
@example(5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
@example(6.02214076e23)
@example(-0.0)
def test_double_comes_back_as_itself(value: float) -> None:
    rational = Fraction(repr(value))
    node = read(NumberTexts().text(rational))
    assert exact(node) == rational
    double = float(node.getInteger()) if node.getType() == libsbml.AST_INTEGER else node.getReal()
    assert double == value
    text = attribute_text(rational)
    if 0 < abs(value) < sys.float_info.min:  # libSBML reads such numbers in formulas alone
        assert text is None
    else:
        assert text is not None
        assert float(text) == value
    assert is_decimal(rational)


@given(st.fractions())
@example(Fraction(1, 3))
@example(Fraction(-7, 3))
@example(Fraction(-(2**31)))
@example(Fraction(2**31 - 1, 2**31))
@example(Fraction(10**40 + 1, 3**50))
@example(Fraction(-(10**60) - 7))
@example(Fraction(10**30))
def test_rational_comes_back_exactly(value: Fraction) -> None:
    numbers = NumberTexts()
    assert exact(read(numbers.text(value))) == value
    for text, meant in numbers.plain.items():
        assert exact(read(text)) == meant


@given(st.integers(min_value=-(10**300), max_value=10**300), st.integers(min_value=1, max_value=10**300))
def test_large_parts_come_back_exactly(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    assert exact(read(NumberTexts().text(value))) == value


def test_small_integers_are_integers_and_thirds_are_rationals() -> None:
    numbers = NumberTexts()
    assert read(numbers.text(Fraction(7))).getType() == libsbml.AST_INTEGER
    assert read(numbers.text(Fraction(1, 3))).getType() == libsbml.AST_RATIONAL
    assert read(numbers.text(Fraction(1, 2))).getType() == libsbml.AST_REAL


def test_number_that_is_no_double_has_no_attribute_text() -> None:
    assert attribute_text(Fraction(1, 3)) is None
    assert attribute_text(Fraction(2**53 + 1)) is None
    assert attribute_text(Fraction(10) ** 400) is None
    assert attribute_text(Fraction(5)) == "5"


def test_number_beyond_doubles_is_refused() -> None:
    with pytest.raises(LimitError) as error:  # a refusal, not an internal error
        NumberTexts().text(Fraction(10**400 + 1))
    assert error.value.reasons[0].code == "too-large"


def test_check_notices_a_number_that_is_read_differently() -> None:
    empty = b'<?xml version="1.0" encoding="UTF-8"?>'
    empty += b'<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">'
    empty += b'<model><listOfParameters><parameter id="p" value="2" constant="true"/></listOfParameters></model></sbml>'
    same = parse_sbml(empty)
    check_written(empty, same, {"<cn> 0.5 </cn>": Fraction(1, 2)}, {"p": 2.0})
    with pytest.raises(SbmlumpError, match=r"0\.5"):
        check_written(empty, same, {"<cn> 0.5 </cn>": Fraction(1, 3)}, {})
    with pytest.raises(SbmlumpError, match="p is read as"):
        check_written(empty, same, {}, {"p": math.pi})
    with pytest.raises(SbmlumpError, match="q is read as"):
        check_written(empty, same, {}, {"q": 1.0})


@pytest.mark.parametrize("level", ["3.2", "3.1", "2.4"])
def test_numbers_nearer_to_0_than_normal_doubles_are_written_as_formulas(level: str) -> None:
    """LibSBML reads none of them in an attribute."""
    text = """begin model m
 begin parameters
  k = 4.94e-324
 end parameters
 begin init
  A = 3e-310
  B = 1
 end init
 begin reactions
  A -> B , k
 end reactions
end model
"""
    system = parse_ode(text)
    again = parse_sbml(written_system(system, ".xml", level).data)
    assert list(again.initial_state()) == [3e-310, 1.0]
    assert list(again.rates(0.0, [1.0, 0.0])) == [-4.94e-324, 4.94e-324]
