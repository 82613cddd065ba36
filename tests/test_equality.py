"""Two systems are the same model, or each construct in which they differ is named."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SMOOTH, Expression, expressions

from sbmlump import OdeSystem
from sbmlump.errors import UnsupportedModelError
from sbmlump.model import (
    Assigned,
    Constant,
    Constraint,
    Event,
    Expected,
    Graph,
    Participant,
    Reaction,
    differences,
    parse_expression,
    refuse_differences,
)


def decay(
    rate: str = "k*x", *, graph: Graph | None = None, start: str = "2*k", assigned: str = "x^2 + exp(-x)", k: str = "3"
) -> OdeSystem:
    """x decays, y is at rest, q is assigned; two events and a constraint."""
    graph = graph or Graph()
    names = {name: graph.symbol(name) for name in ("x", "y", "k")} | {"time": graph.time()}

    def node(text: str) -> int:
        return parse_expression(graph, text, names)

    late = graph.call("geq", (graph.time(), graph.number(4)))
    return OdeSystem(
        graph,
        ("x", "y"),
        (node(start), graph.number(1)),
        (node(f"-({rate})"), graph.number(0)),
        constants=(Constant("k", node(k)),),
        assigned=(Assigned("q", node(assigned)),),
        reactions=(Reaction("v", node(rate)),),
        events=(
            Event(late, (("y", node("x + 1")),), id="e", delay=node("2"), priority=node("k")),
            Event(graph.call("lt", (names["x"], graph.number(1))), (("y", node("0")),)),
        ),
        constraints=(Constraint(graph.call("lt", (names["x"], graph.number(100)))),),
    )


def told(written: OdeSystem, read: OdeSystem, expected: Expected | None = None) -> list[str | None]:
    return [reason.element for reason in differences(written, read, expected)]


def test_the_same_model_in_other_words_is_the_same() -> None:
    other = decay("x*k/2 + k*x*0.5", start="k + k", assigned="exp(-x) + x*x", k="6/2")
    assert told(decay(), other) == []
    assert told(other, decay()) == []


@pytest.mark.parametrize(
    ("changes", "element"),
    [
        ({"rate": "k*x + 1e-30*x"}, "x"),
        ({"rate": "(k*x)^1.0000001"}, "x"),
        ({"start": "2*k + 1e-12"}, "x"),
        ({"start": "6"}, "x"),  # the number is the same, the formula is lost
        ({"k": "3.0000000001"}, "k"),
        ({"assigned": "x^2 + exp(x)"}, "q"),
    ],
)
def test_what_differs_is_named(changes: dict[str, str], element: str) -> None:
    assert element in told(decay(), decay(**changes))


def test_numbers_that_are_one_double_are_one_number() -> None:
    tenth = decay("0.1*x", k="0.1")
    double = decay(f"{Fraction(0.1)}*x", k=str(Fraction(0.1)))
    assert told(tenth, double) == []


def test_formulas_may_become_numbers_where_a_format_has_none() -> None:
    assert told(decay(), decay(start="6"), Expected(formulas=False)) == []
    assert told(decay(), decay(start="7"), Expected(formulas=False)) == ["x"]


def test_events_are_compared_part_by_part() -> None:
    system = decay()
    first, second = system.events
    number = system.graph.number(1)
    for event in (
        replace(first, delay=None),
        replace(first, priority=None),
        replace(first, persistent=False),
        replace(first, initial_value=False),
        replace(first, use_trigger_values=False),
        replace(first, trigger=second.trigger),
        replace(first, assignments=(("y", number),)),
        replace(first, assignments=(("x", first.assignments[0][1]),)),
        replace(first, assignments=(*first.assignments, ("x", number))),
        replace(first, id="f"),
    ):
        assert "e" in told(system, replace(system, events=(event, second)))
    assert told(system, replace(system, events=(first,))) == [None]
    assert told(replace(system, events=(first,)), system) == [None]
    assert told(system, replace(system, events=(first, replace(second, id="given")))) == []
    zero = replace(second, delay=system.graph.number(0))
    assert told(system, replace(system, events=(first, zero))) == []
    assert told(system, replace(system, constraints=()))
    assert told(system, replace(system, reactions=())) == ["v"]
    none = Expected(parts=frozenset())
    assert told(system, replace(system, reactions=(), events=(), constraints=()), none) == []


def test_ids() -> None:
    system = decay()
    graph = system.graph
    assert told(system, replace(system, assigned=())) == ["q"]
    assert told(system, replace(system, assigned=()), Expected(left_out={"q"})) == []
    rest = replace(system, states=("x",), initial=system.initial[:1], rhs=system.rhs[:1])
    constant = replace(rest, constants=(*system.constants, Constant("y", graph.number(1))))
    assert told(system, constant) == ["y"]
    assert told(constant, system)
    more = replace(system, constants=(*system.constants, Constant("new", graph.number(1))))
    scaled = graph.mul((graph.symbol("new"), more.rhs[0]))
    assert told(system, replace(more, rhs=(scaled, more.rhs[1]))) == []  # a new constant counts by its value
    zero, one = graph.number(0), graph.number(1)
    clock = replace(system, states=(*system.states, "t"), initial=(*system.initial, zero), rhs=(*system.rhs, one))
    assert told(system, clock) == ["t"]
    assert told(system, clock, Expected(added_states={"t"}, time="t")) == []


def test_renamed_ids_stay_apart() -> None:
    written, read = decay(), decay()
    graph = read.graph
    swap = {graph.symbol("x"): graph.symbol("x_1")}
    rates = graph.substitute([*read.rhs, read.assigned[0].value, read.reactions[0].flux], swap)
    named = replace(
        read,
        states=("x_1", "y"),
        rhs=tuple(rates[:2]),
        assigned=(Assigned("q", rates[2]),),
        reactions=(Reaction("v", rates[3]),),
        events=(),
        constraints=(),
    )
    system = replace(written, events=(), constraints=())
    assert told(system, named) == ["x", "x_1"]
    assert told(system, named, Expected(renamed={"x": "x_1"})) == []
    assert "y" in told(system, named, Expected(renamed={"x": "x_1", "y": "x_1"}))


def test_a_stoichiometry_with_an_id_counts_by_its_value() -> None:
    def system(value: int, *, named: bool) -> OdeSystem:
        graph = Graph()
        number = graph.number(value)
        many = graph.symbol("many") if named else number
        constants = (Constant("many", number),) if named else ()
        made = Reaction("r", graph.number(1), products=(Participant("x", number, id="many"),))
        return OdeSystem(graph, ("x",), (number,), (many,), constants=constants, reactions=(made,))

    assert told(system(3, named=True), system(3, named=False)) == []
    assert set(told(system(3, named=True), system(4, named=False))) == {"x", "many"}


def test_what_is_left_out_counts_by_its_value() -> None:
    graph = Graph()
    size = graph.symbol("size")
    one = OdeSystem(graph, ("x",), (size,), (size,), constants=(Constant("size", graph.number(2)),))
    two = OdeSystem(graph, ("x",), (graph.number(2),), (graph.number(2),))
    assert told(one, two) == ["size"]
    assert told(one, two, Expected(left_out={"size"}, formulas=False)) == []


def test_groups_of_conditions_and_of_extremes() -> None:
    graph, other = Graph(), Graph()

    def system(g: Graph, turn: bool) -> OdeSystem:
        x, y, z = (g.call("lt", (g.symbol("x"), g.number(n))) for n in (1, 2, 3))
        both = g.call("and", (g.call("and", (z, y)), x)) if turn else g.call("and", (x, y, z))
        ones = (g.symbol("x"), g.number(5), g.time())
        top = g.call("max", (g.call("max", ones[:0:-1]), ones[0])) if turn else g.call("max", ones)
        return OdeSystem(g, ("x",), (g.number(0),), (g.piecewise([(top, both)], g.number(0)),))

    assert told(system(graph, False), system(other, True)) == []


def test_a_refusal_names_the_construct_and_the_format() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        refuse_differences(decay(), decay("k*x*x"), "Antimony")
    (rate, flux) = caught.value.reasons
    assert rate.code == flux.code == "written-differs"
    assert (rate.element, flux.element) == ("x", "v")
    assert "as Antimony, the right-hand side x" in rate.message


@settings(max_examples=60)
@given(expressions(functions=(*SMOOTH, "abs", "min", "max"), time=True), st.data())
def test_random_expressions_agree_with_a_copy_and_not_with_another(made: Expression, data: st.DataObject) -> None:
    graph, root, names = made.graph, made.root, made.names

    def system(g: Graph, rhs: int) -> OdeSystem:
        zeros = (g.number(0),) * len(names)
        return OdeSystem(g, tuple(names), zeros, (rhs, *zeros[1:]))

    copy = Graph()
    for name in reversed(names):  # other numbers of nodes, other order of factors
        copy.symbol(name)
    again = copy.transplant(graph, [root], {})[0]
    assert told(system(graph, root), system(copy, again)) == []
    if not graph.is_undefined(root):
        off = copy.add((again, copy.number(data.draw(st.sampled_from([Fraction(1, 3), Fraction(-7)])))))
        assert told(system(graph, root), system(copy, off)) == [names[0]]
