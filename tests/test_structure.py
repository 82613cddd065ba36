"""Conservation laws, networks, balance, signs, and what a reduction keeps of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from strategies import mass_action_networks

from sbmlump.examples import clue_example, michaelis_menten, multisite, network_from_reactions, ring, sir_age_groups
from sbmlump.linalg import left_null_space, null_space, rank, solve_rows
from sbmlump.methods import lump_exactly
from sbmlump.model import Constant, Graph, OdeSystem, Quantity, parse_observables
from sbmlump.structure import (
    balance_of,
    element_counts,
    kept_properties,
    linear_integrals,
    near_laws,
    network_of,
    non_negative_rates,
    stoichiometric_laws,
    structure_of,
)


def weights(laws):
    return [{name: int(value) for name, value in law.weights.items()} for law in laws]


# -- linear algebra ----------------------------------------------------------------------------------


def test_null_space_is_in_echelon_form_and_orthogonal() -> None:
    rows = [{0: Fraction(1), 1: Fraction(2), 2: Fraction(3)}, {1: Fraction(1), 3: Fraction(-1)}]
    basis, pivots = null_space(rows, 4)
    assert len(basis) == 4 - rank(rows, 4) == 2
    assert pivots == [0, 1]
    for row, pivot in zip(basis, pivots, strict=True):
        assert row[pivot] == 1
        assert all(other == row or pivot not in other for other in basis)
        for equation in rows:
            assert sum(equation.get(j, 0) * value for j, value in row.items()) == 0


def test_left_null_space_and_solution_of_rows() -> None:
    rows = [{0: Fraction(1)}, {1: Fraction(2)}, {0: Fraction(3), 1: Fraction(4)}]
    (combination,), _ = left_null_space(rows, 2)
    assert combination == {0: 1, 1: Fraction(2, 3), 2: Fraction(-1, 3)}
    assert solve_rows(rows[:2], {0: Fraction(5), 1: Fraction(6)}) == [5, 3]
    assert solve_rows(rows[:1], {1: Fraction(1)}) is None


# -- laws --------------------------------------------------------------------------------------------


def test_laws_of_the_enzyme_are_integers_and_not_negative() -> None:
    system = michaelis_menten()
    assert weights(linear_integrals(system)) == [{"E": 1, "ES": 1}, {"S": 1, "ES": 1, "P": 1}]
    assert weights(stoichiometric_laws(system)) == weights(linear_integrals(system))


def test_laws_are_found_without_reactions() -> None:
    assert len(linear_integrals(multisite(2))) == 3
    assert weights(linear_integrals(sir_age_groups(1))) == [{"S_1": 1, "I_1": 1, "R_1": 1}]
    assert linear_integrals(clue_example()) == ()


def test_a_law_that_holds_for_the_values_in_the_file_only_is_told_apart() -> None:
    graph = Graph()
    x, a, b = graph.symbol("x"), graph.symbol("a"), graph.symbol("b")
    system = OdeSystem(
        graph,
        ("x", "y"),
        (graph.number(1), graph.number(0)),
        (graph.mul((a, x)), graph.neg(graph.mul((b, x)))),
        (Constant("a", graph.number(2)), Constant("b", graph.number(2))),
    )
    assert linear_integrals(system) == ()
    assert weights(linear_integrals(system, symbolic=False)) == [{"x": 1, "y": 1}]
    assert structure_of(system).at_values == 1


def test_laws_between_compartments_carry_their_sizes() -> None:
    graph = Graph()
    a, b, k, v, w = map(graph.symbol, ("A", "B", "k", "v", "w"))
    flux = graph.mul((k, a))
    system = OdeSystem(
        graph,
        ("A", "B"),
        (graph.number(1), graph.number(0)),
        (graph.neg(graph.div(flux, v)), graph.div(flux, w)),
        (Constant("k", graph.number(1)), Constant("v", graph.number(2)), Constant("w", graph.number(1))),
        quantities={
            "A": Quantity("A", "species", compartment="v"),
            "B": Quantity("B", "species", compartment="w"),
            "v": Quantity("v", "compartment"),
            "w": Quantity("w", "compartment"),
        },
    )
    (law,) = linear_integrals(system)
    assert graph.linear_terms(law.expression) == {graph.mul((a, v)): 1, graph.mul((b, w)): 1}


@given(mass_action_networks(max_species=5, max_reactions=6))
def test_integrals_hold_what_the_stoichiometry_gives(system: OdeSystem) -> None:
    found = linear_integrals(system)
    index = system.state_index
    rows = [{index[name]: value for name, value in law.weights.items()} for law in found]
    x = np.linspace(0.3, 1.7, system.size)
    for row in rows:
        rate = sum(float(value) * system.rates(0.0, x)[j] for j, value in row.items())
        assert abs(rate) < 1e-9
    for law in stoichiometric_laws(system):
        assert solve_rows(rows, {index[n]: v for n, v in law.weights.items()}) is not None


def test_a_total_that_is_fed_is_named_with_what_feeds_it() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 1), ("-> A", 1)], initial={"A": 1, "B": 0})
    assert linear_integrals(system) == ()
    assert near_laws(system) == (({"A": 1, "B": 1}, "r3", "source"),)


# -- networks ----------------------------------------------------------------------------------------


def test_the_enzyme_network() -> None:
    network = network_of(michaelis_menten())
    assert network is not None
    assert (len(network.complexes), len(network.linkage_classes), network.rank, network.deficiency) == (3, 1, 2, 0)
    assert network.mass_action
    assert not network.weakly_reversible
    assert not network.reversible


def test_a_network_of_positive_deficiency() -> None:
    # 2A ⇌ A + B ⇌ 2B in one species pair: three complexes, one class, rank 1
    system = network_from_reactions(
        [("2 A -> A + B", 1), ("A + B -> 2 A", 1), ("A + B -> 2 B", 1), ("2 B -> A + B", 3)], initial={"A": 1, "B": 1}
    )
    network = network_of(system)
    assert network is not None
    assert network.deficiency == 1
    assert network.weakly_reversible
    balance = balance_of(network)
    assert (balance.detailed, balance.complex, balance.exact) == (False, False, True)
    fitting = network_from_reactions(
        [("2 A -> A + B", 1), ("A + B -> 2 A", 2), ("A + B -> 2 B", 3), ("2 B -> A + B", 6)], initial={"A": 1, "B": 1}
    )
    balance = balance_of(network_of(fitting))
    assert balance.detailed
    assert balance.equilibrium["B"] / balance.equilibrium["A"] == pytest.approx(0.5)


def test_a_reversible_flux_written_as_a_difference_is_opened() -> None:
    graph = Graph()
    a, b, kf, kb = map(graph.symbol, ("A", "B", "kf", "kb"))
    from sbmlump.model import Participant, Reaction

    one = graph.number(1)
    flux = graph.sub(graph.mul((kf, a)), graph.mul((kb, b)))
    system = OdeSystem(
        graph,
        ("A", "B"),
        (one, one),
        (graph.neg(flux), flux),
        (Constant("kf", graph.number(3)), Constant("kb", graph.number(2))),
        reactions=(Reaction("r", flux, (Participant("A", one),), (Participant("B", one),)),),
    )
    network = network_of(system)
    assert network is not None
    assert [(d.source, d.target, d.rate) for d in network.directions] == [(0, 1, 3), (1, 0, 2)]
    assert balance_of(network).detailed


def test_saturating_kinetics_is_not_mass_action() -> None:
    graph = Graph()
    from sbmlump.model import Participant, Reaction

    a, one = graph.symbol("A"), graph.number(1)
    flux = graph.div(a, graph.add((one, a)))
    reaction = Reaction("r", flux, (Participant("A", one),), (), reversible=False)
    system = OdeSystem(graph, ("A",), (one,), (graph.neg(flux),), reactions=(reaction,))
    network = network_of(system)
    assert network is not None
    assert network.obstacles == ("r",)
    assert balance_of(network).detailed is None


@pytest.mark.parametrize(
    ("forward", "backward", "detailed"),
    [(1, 1, True), (3, 2, False), (2, 3, False), (Fraction(1, 3), Fraction(1, 3), True)],
)
def test_wegscheider_condition_of_a_ring(forward: Fraction, backward: Fraction, detailed: bool) -> None:
    """Around a ring the product of all forward rates has to be that of all backward ones."""
    balance = balance_of(network_of(ring(4, forward=forward, backward=backward)))
    assert balance.detailed is detailed
    assert balance.complex is True  # deficiency zero and weakly reversible: balanced for all rates
    assert balance.exact


def test_rate_rules_of_second_order_have_no_canonical_network() -> None:
    assert network_of(sir_age_groups(1)) is None
    balance = balance_of(None)
    assert (balance.detailed, balance.complex) == (None, None)


# -- signs -------------------------------------------------------------------------------------------


def test_mass_action_stays_non_negative_and_a_leak_does_not() -> None:
    assert all(non_negative_rates(michaelis_menten()).values())
    graph = Graph()
    x = graph.symbol("x")
    drained = OdeSystem(graph, ("x", "y"), (graph.number(1),) * 2, (graph.mul((graph.symbol("y"), x)), graph.neg(x)))
    assert non_negative_rates(drained) == {"x": True, "y": False}


def test_signs_see_through_products_of_sums_and_functions() -> None:
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    one = graph.number(1)
    rhs = (
        graph.div(graph.call("exp", (graph.neg(y),)), graph.add((one, y))),
        graph.mul((graph.sub(y, graph.number(2)), graph.neg(graph.add((x, one))), y)),
    )
    system = OdeSystem(graph, ("x", "y"), (one, one), rhs)
    assert non_negative_rates(system) == {"x": True, "y": True}


# -- what a reduction keeps --------------------------------------------------------------------------


def kept(observe: list[str]) -> dict[str, tuple[object, object, bool | None]]:
    system = ring(4)
    reduction = lump_exactly(system, parse_observables(system, observe))
    return {one.name: (one.original, one.reduced, one.kept) for one in kept_properties(reduction)}


def test_overlapping_pools_of_the_ring_lose_detailed_balance() -> None:
    found = kept(["X_1 + X_2", "X_2 + X_3", "X_3 + X_4"])
    assert found["detailed balance"] == (True, False, False)
    assert found["total of the states"][2] is False
    assert found["conservation laws"] == (1, 1, True)


def test_disjoint_pools_of_the_ring_keep_it() -> None:
    found = kept(["X_1 + X_2", "X_3 + X_4"])
    assert found["detailed balance"] == (True, True, True)
    assert found["total of the states"] == (True, True, True)
    assert found["non-negativity"] == (True, True, True)


def test_chemical_elements_are_followed() -> None:
    system = ring(4)
    reduction = lump_exactly(system, parse_observables(system, ["X_1 + X_2"]))
    formulas = {"X_1": "C6H12O6", "X_2": "C6H12O6", "X_3": "C6H12O6", "X_4": "C6H12O6"}
    same = {one.name: one.kept for one in kept_properties(reduction, formulas=formulas)}
    assert same["total of C"] is True
    other = {one.name: one.kept for one in kept_properties(reduction, formulas={**formulas, "X_2": "C5H12"})}
    assert other["total of C"] is False
    assert element_counts("C6H12O6") == {"C": 6, "H": 12, "O": 6}
    assert element_counts("c6") == {}


def test_text_and_json_of_a_structure() -> None:
    found = structure_of(michaelis_menten())
    assert "E + ES" in found.as_text()
    data = found.as_json()
    assert data["stoichiometric_rank"] == 2
    assert [law["expression"] for law in data["conservation_laws"]] == ["E + ES", "S + ES + P"]
    assert data["network"]["deficiency"] == 0
    assert data["detailed_balance"] is False
