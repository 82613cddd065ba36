"""Equal expressions have equal values in the field, different ones do not."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from sbmlump.model import PRIME, Graph, field_values, symbol_value

small = st.fractions(min_value=-5, max_value=5, max_denominator=9)


@given(small, small, small)
def test_square_of_a_sum(a: Fraction, b: Fraction, c: Fraction) -> None:
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    left = graph.pow(graph.add((graph.mul((graph.number(a), x)), graph.mul((graph.number(b), y)))), graph.number(2))
    terms = {graph.pow(x, graph.number(2)): a * a, graph.mul((x, y)): 2 * a * b, graph.pow(y, graph.number(2)): b * b}
    right = graph.from_terms(terms)
    other = graph.add((right, graph.number(c)))
    values = field_values(graph, [left, right, other])
    assert values[left] == values[right]
    assert (values[left] == values[other]) == (c == 0)


def test_quotients_cancel_and_functions_are_taken_by_their_arguments() -> None:
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    one = graph.mul((graph.div(x, y), graph.pow(x, graph.number(-1)), y))
    same = graph.call("exp", (graph.add((x, y)),))
    too = graph.call("exp", (graph.add((y, x)),))
    other = graph.call("ln", (graph.add((y, x)),))
    values = field_values(graph, [one, same, too, other])
    assert values[one] == 1
    assert values[same] == values[too] != values[other]


def test_symbols_and_time_are_never_zero() -> None:
    graph = Graph()
    time = graph.time()
    assert 0 < symbol_value("x") < PRIME
    assert 0 < field_values(graph, [time])[time] < PRIME
    assert symbol_value("x") != symbol_value("y")


def test_division_by_zero_is_a_value_of_its_own() -> None:
    graph = Graph()
    bad = graph.div(graph.symbol("x"), graph.number(0))
    assert field_values(graph, [bad])[bad] == field_values(graph, [bad])[bad] != 0


def test_a_function_is_one_function_however_it_is_spelled() -> None:
    graph = Graph()
    e, x, y = graph.constant("exponentiale"), graph.symbol("x"), graph.symbol("y")
    one, two, three = (graph.number(value) for value in (1, 2, 3))
    spelled = graph.call("exp", (one,))  # e, where a format has no word for it
    pairs = [
        (graph.pow(e, x), graph.pow(spelled, x)),
        (graph.pow(e, x), graph.call("exp", (x,))),
        (graph.pow(e, two), graph.pow(spelled, two)),
        (graph.call("min", (x, two, one)), graph.call("min", (x, one))),
        (graph.call("max", (one, x, three, y)), graph.call("max", (graph.call("max", (three, x)), y))),
        (graph.call("min", (graph.call("min", (x, one)), two)), graph.call("min", (x, one))),
    ]
    others = [(graph.call("min", (x, one)), graph.call("min", (x, two))), (graph.pow(e, x), graph.pow(two, x))]
    others += [(graph.call("max", (x, one)), graph.call("min", (x, one)))]
    values = field_values(graph, [node for pair in (*pairs, *others) for node in pair])
    assert [values[left] == values[right] for left, right in pairs] == [True] * len(pairs)
    assert [values[left] == values[right] for left, right in others] == [False] * len(others)
