"""What a system says of itself: the flow of expressions, what is said of ids, who takes part in a reaction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sbmlump
from sbmlump.model import Graph, OdeSystem, row_colours

MODEL = Path(sbmlump.__file__).parent / "data_models" / "multisite_3.xml"


def test_along_the_flow_a_state_has_its_rate() -> None:
    system = sbmlump.load(MODEL)
    graph = system.graph
    states = [graph.symbol(name) for name in system.states]
    assert system.along_flow(states) == list(system.rhs)
    (total,) = system.along_flow([graph.add(states)])
    assert graph.from_terms(graph.linear_terms(graph.sub(total, graph.add(system.rhs)))) == graph.number(0)
    assert system.along_flow([graph.time()]) == [graph.number(1)]


def test_what_has_no_derivative_is_said() -> None:
    graph = Graph()
    x = graph.symbol("x")
    system = OdeSystem(graph, ("x",), (graph.number(1),), (graph.neg(x),))
    with pytest.raises(ValueError, match="derivative"):
        system.along_flow([graph.call("floor", (x,))])


def test_quantities_come_with_their_compartments() -> None:
    system = sbmlump.load(MODEL)
    name = system.states[0]
    compartment = system.compartment_of(name) or system.quantities[name].compartment
    assert list(system.quantities_of([name, "nobody"])) == [name, compartment]
    assert not system.is_boundary(name)
    assert system.conversion_factor_of(name) is None
    assert system.compartment_of("nobody") is None


def test_participants_have_the_signs_of_what_a_flux_does() -> None:
    for reaction in sbmlump.load(MODEL).reactions:
        signs = [sign for sign, _ in reaction.participants]
        assert signs == [-1] * len(reaction.reactants) + [1] * len(reaction.products)
        assert reaction.taking_part == {one.species for one in (*reaction.reactants, *reaction.products)}


@given(st.lists(st.sets(st.integers(0, 9), max_size=4), max_size=12), st.booleans())
def test_rows_of_one_colour_share_no_column(rows: list[set[int]], fullest_first: bool) -> None:
    pattern = sp.csr_array((len(rows), 10), dtype=np.int8) if not rows else sp.csr_array(
        np.array([[j in row for j in range(10)] for row in rows], dtype=np.int8)
    )  # fmt: skip
    colour, count = row_colours(pattern, fullest_first=fullest_first)
    assert [label >= 0 for label in colour.tolist()] == [bool(row) for row in rows]
    assert count == len(set(colour.tolist()) - {-1})
    for label in range(count):
        members = [row for row, mine in zip(rows, colour.tolist(), strict=True) if mine == label]
        assert sum(map(len, members)) == len(set().union(*members))
