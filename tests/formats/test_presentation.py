"""Equations as MathML for browsers: well-formed, whole, bounded, whatever ids and numbers are."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import systems_of_anything

from sbmlump.formats import EquationSettings, equations_of
from sbmlump.model import Assigned, Graph, OdeSystem, Quantity, parse_expression

NAMES = ("a", "b", "c")


def system(text: str, **quantities: Quantity) -> OdeSystem:
    graph = Graph()
    node = parse_expression(graph, text, {name: graph.symbol(name) for name in NAMES})
    zeros = (graph.number(0),) * 3
    return OdeSystem(graph, NAMES, zeros, (node, *zeros[1:]), quantities=quantities)


def shown(text: str, **quantities: Quantity) -> str:
    (first, *_) = equations_of(system(text, **quantities)).rates
    return "".join("".join(ET.fromstring(piece).itertext()) for piece in first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 2*b", "=a+2⋅b"),
        ("a - 2*b - c", "=a−2⋅b−c"),
        ("-(a + b)*c", "=−c⋅(a+b)"),
        ("a - (b - c)", "=a−(b−c)"),
        ("a*(b - 3)", "=a⋅(b−3)"),
        ("0.5*a", "=0.5⋅a"),
        ("1e-20*a", "=10−20⋅a"),
        ("3e-7*a", "=3⋅10−7⋅a"),
    ],
)
def test_sums_and_products_read_as_they_are_meant(text, expected):
    assert shown(text) == f"dadt{expected}"


def test_quotients_and_powers_are_drawn():
    whole = "".join(equations_of(system("a^2/(b + c)")).rates[0])
    assert "<mfrac>" in whole
    assert "<msup>" in whole
    assert "(" not in whole  # the bar of a fraction holds together


def test_a_long_sum_may_be_broken_between_its_terms():
    assert len(equations_of(system("a + 2*b - c")).rates[0]) == 4


def test_ids_are_text():
    graph = Graph()
    name = "<script>&\"'"
    zero = graph.number(0)
    one = OdeSystem(graph, (name,), (zero,), (graph.symbol(name),))
    (pieces,) = equations_of(one).rates
    assert "<script>" not in "".join(pieces)
    assert name in "".join(ET.fromstring(pieces[1]).itertext())


def test_a_name_stands_for_an_id_that_nobody_reads():
    long = "mw" + "0" * 40
    graph = Graph()
    zero = graph.number(0)
    table = {long: Quantity(long, "species", name="Erk")}
    one = OdeSystem(graph, (long,), (zero,), (graph.symbol(long),), quantities=table)
    assert "Erk" in "".join(equations_of(one).rates[0])
    two = replace(one, quantities={long: Quantity(long, "species", name="Erk + P")})
    assert long in "".join(equations_of(two).rates[0])


def test_what_is_too_much_is_counted():
    graph = Graph()
    names = tuple(f"x{i}" for i in range(50))
    zeros = (graph.number(0),) * 50
    node = graph.symbol("x0")
    for i in range(1, 50):  # a tree of 2^50 leaves
        node = graph.add((graph.mul((node, node)), graph.symbol(names[i])))
    one = OdeSystem(graph, names, zeros, (node, *zeros[1:]), (), (Assigned("z", node),))
    found = equations_of(one, ["z"], EquationSettings(equations=10, part=400, longest=4_000, whole=9_000))
    assert len(found.rates) + len(found.assigned) <= 11
    assert found.left_out >= 40
    assert (
        sum(len(piece) for group in (found.rates, found.assigned, found.parts) for line in group for piece in line)
        < 20_000
    )


@given(st.data())
def test_any_system_is_well_formed(data):
    one = data.draw(systems_of_anything())
    found = equations_of(one, [a.id for a in one.assigned])
    for line in (*found.rates, *found.assigned, *found.parts):
        for piece in line:
            assert ET.fromstring(piece).tag == "math"
    assert len(found.rates) + len(found.assigned) + found.left_out >= one.size


@given(st.fractions())
def test_any_number_is_written(value: Fraction):
    graph = Graph()
    one = OdeSystem(graph, ("a",), (graph.number(0),), (graph.number(value),))
    (pieces,) = equations_of(one).rates
    assert ET.fromstring(pieces[1]).tag == "math"
    assert ("−" in pieces[1]) == (value < 0)
