"""Directed relation graph and pruning."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import sbmlump
from sbmlump.dynamics import EnsembleSettings
from sbmlump.errors import LimitError, UsageError
from sbmlump.examples import network_from_reactions
from sbmlump.methods import WEIGHTINGS, build_relation_graph, nominal_run, pruned
from sbmlump.model import ErrorEstimate, OdeSystem, parse_observables
from sbmlump.sbml import write_reduction

SHORT = EnsembleSettings(until=10.0, ensemble=1)


def branching() -> OdeSystem:
    """A → B → C, beside it a trickle A → D → B and a tail B → F."""
    return network_from_reactions(
        [("A -> B", 1), ("B -> C", 1), ("A -> D", "e"), ("D -> B", "e"), ("B -> F", "e")],
        initial={"A": 10, "B": 0, "C": 0, "D": 0, "F": 0},
        constants={"e": Fraction(1, 100)},
    )


def test_weights_are_shares_of_production_and_importance_their_product() -> None:
    system = branching()
    times, states = nominal_run(system, 10.0)
    found = build_relation_graph(system, parse_observables(system, ["C"]), times, states, "average")
    weights = found.weights.toarray()
    index = system.state_index
    assert weights[index["B"], index["C"]] == pytest.approx(1.0)
    made_by_a = np.trapezoid(states[:, index["A"]], times)
    made_by_d = np.trapezoid(states[:, index["D"]], times) / 100
    assert weights[index["A"], index["B"]] == pytest.approx(made_by_a / (made_by_a + made_by_d))
    assert found.importance["C"] == 1.0
    assert found.importance["A"] == pytest.approx(weights[index["A"], index["B"]])
    assert found.importance["D"] == pytest.approx(weights[index["D"], index["B"]])
    assert found.importance["F"] == 0.0


def test_pruning_removes_what_does_not_matter_and_the_reactions_that_make_it() -> None:
    system = branching()
    found = pruned(system, parse_observables(system, ["C"]), threshold=0.02, weighting="average", trial=SHORT)
    assert found.system.states == ("A", "B", "C")
    assert {r.id for r in found.system.reactions} == {"r1", "r2", "r4"}
    details = found.certificate.as_json()
    assert details["pruned_states"] == ["D", "F"]
    assert details["pruned_reactions"] == ["r3", "r5"]
    assert 0 < found.certificate.worst_error < 0.03
    rates = dict(zip(found.system.states, found.system.rates(0.0, [10.0, 1.0, 0.0]), strict=True))
    assert rates == pytest.approx({"A": -10.0, "B": 9.0, "C": 1.0})  # no 1 % to D and F any more
    write_reduction(found)


def test_an_outflow_that_matters_stays_though_its_product_goes() -> None:
    system = network_from_reactions([("A -> C", 1), ("A -> W", 5)], initial={"A": 10, "C": 0, "W": 0})
    found = pruned(system, parse_observables(system, ["C"]), threshold=0.05, trial=SHORT)
    assert found.system.states == ("A", "C")
    assert {r.id for r in found.system.reactions} == {"r1", "r2"}
    assert found.certificate.worst_error < 1e-5


def test_the_threshold_is_searched_for_an_error() -> None:
    system = branching()
    observables = parse_observables(system, ["C"])
    found = pruned(system, observables, max_error=0.05, trial=SHORT)
    assert found.certificate.worst_error <= 0.05
    assert found.system.size <= 4
    small = network_from_reactions([("A -> C", 1)], initial={"A": 1, "C": 0})
    with pytest.raises(LimitError) as caught:
        pruned(small, parse_observables(small, ["C"]), max_error=1e-9, trial=SHORT)
    assert caught.value.reasons[0].code == "target-not-reached"


def test_groups_that_feed_each_other_are_proposed() -> None:
    system = network_from_reactions([("A -> B", 5), ("B -> A", 5), ("B -> C", 1)], initial={"A": 10, "B": 0, "C": 0})
    times, states = nominal_run(system, 5.0)
    assert build_relation_graph(system, parse_observables(system, ["C"]), times, states).groups == (("A", "B"),)


@pytest.mark.parametrize(
    "options", [{"threshold": 2.0}, {"threshold": 0.1, "max_error": 0.1}, {"max_error": 0.0}, {"weighting": "mode"}]
)
def test_wrong_options_are_one_sentence(options: dict[str, object]) -> None:
    system = branching()
    with pytest.raises(UsageError) as caught:
        sbmlump.reduce(system, "C", "relation-graph", until=10.0, ensemble=1, **options)
    assert caught.value.reasons[0].code == "bad-option"


def test_turnover_counts_what_only_consumes() -> None:
    """E destroys B: it makes none of it, but without E there would be more."""
    system = network_from_reactions(
        [("A -> A + B", 1), ("B + E -> E", 5), ("E -> F", "e"), ("A -> F", "e")],
        initial={"A": 1, "B": 0, "E": 1, "F": 0},
        constants={"e": Fraction(1, 100)},
    )
    kept = parse_observables(system, ["B"])
    times, states = nominal_run(system, 10.0)
    assert build_relation_graph(system, kept, times, states, "maximum").importance["E"] == 0.0
    assert build_relation_graph(system, kept, times, states, "turnover").importance["E"] > 0.5


def test_the_search_finds_the_smallest_of_all_weightings() -> None:
    """All weightings are searched, from what removes most: the result is the smallest that any of them finds."""
    system = network_from_reactions(
        [("A -> B", 1), ("B -> A", 1), ("X -> B + X", "e"), ("B + Y -> Y", "e"), ("B -> C", "e")],
        initial={"A": 1, "B": 1, "C": 0, "X": 1, "Y": 1},
        constants={"e": Fraction(1, 1000)},
    )
    found = pruned(system, parse_observables(system, ["B"]), max_error=0.05, trial=SHORT)
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.worst_error <= 0.05
    sizes = []
    for weighting in WEIGHTINGS:
        try:
            one = pruned(system, parse_observables(system, ["B"]), max_error=0.05, weighting=weighting, trial=SHORT)
        except LimitError:
            continue
        sizes.append(one.system.size)
    assert found.system.size == min(sizes)
