"""Quasi-steady state and quasi-equilibrium: closed forms, roots, refusals, detection."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sbmlump.dynamics import EnsembleSettings, difference, trajectories
from sbmlump.errors import UnsupportedModelError, UsageError
from sbmlump.examples import michaelis_menten, network_from_reactions, sir_age_groups
from sbmlump.linalg import expand_over_q, solve
from sbmlump.methods import (
    fast_reactions,
    nominal_run,
    pruned,
    quasi_equilibrium,
    quasi_steady_state,
    time_scales,
)
from sbmlump.methods.elimination import timescales
from sbmlump.model import (
    ErrorEstimate,
    Event,
    Graph,
    Node,
    OdeSystem,
    ReducedSystem,
    parse_expression,
    parse_observables,
    values_of,
)
from sbmlump.sbml import load_sbml, write_reduction

SHORT = EnsembleSettings(until=20.0, ensemble=1)


def drained() -> OdeSystem:
    """A ⇌ B → C."""
    return network_from_reactions(
        [("A -> B", "k1"), ("B -> A", "km1"), ("B -> C", "k2")],
        initial={"A": 10, "B": 0, "C": 0},
        constants={"k1": 10, "km1": 20, "k2": 1},
        id="drained",
    )


def same(system: OdeSystem, node: Node, text: str) -> bool:
    """Whether two quotients are the same, by expansion of a·d − b·c over Q, all constants being symbols."""
    graph = system.graph
    definitions = {name: graph.symbol(name) for name in graph.symbols([node])}
    other = parse_expression(graph, text, definitions | {n: graph.symbol(n) for n in text_names(text)})
    a, b = quotient(graph, node)
    c, d = quotient(graph, other)
    left, right = graph.mul((a, d)), graph.mul((b, c))
    variables = [graph.symbol(name) for name in sorted(graph.symbols([left, right]))]
    expanded = expand_over_q(graph, [left, right], variables)
    assert expanded is not None
    return expanded[0] == expanded[1]


def text_names(text: str) -> set[str]:
    import re

    return set(re.findall(r"[A-Za-z_]\w*", text))


def quotient(graph: Graph, node: Node) -> tuple[Node, Node]:
    """Numerator and denominator of c·(top/bottom)."""
    from sbmlump.model import Op

    factors = list(graph.args(node)) if graph.op(node) is Op.MUL else [node]
    top, bottom = [], graph.number(1)
    for factor in factors:
        if graph.op(factor) is Op.DIV:
            top.append(graph.args(factor)[0])
            bottom = graph.mul((bottom, graph.args(factor)[1]))
        else:
            top.append(factor)
    return graph.mul(top), bottom


def test_quasi_steady_state_of_a_drained_pair_is_exact_in_its_symbols() -> None:
    system = drained()
    found = quasi_steady_state(system, parse_observables(system, ["C"]), fast=["B"], trial=SHORT)
    assert found.system.states == ("A", "C")
    assert same(found.system, found.system.rhs[0], "-(k1*k2*A)/(km1 + k2)")
    assert same(found.system, found.system.definitions["B"], "k1*A/(km1 + k2)")


def test_quasi_equilibrium_of_a_drained_pair_is_exact_in_its_symbols() -> None:
    system = drained()
    for fast in (["A", "B"], ["r1"], ["r2"]):
        found = quasi_equilibrium(system, parse_observables(system, ["C"]), fast=fast, trial=SHORT)
        assert found.system.states == ("C", "pool_A_B")
        # k2·K/(1 + K) with K = k1/km1
        assert same(found.system, found.system.rhs[1], "-(k2*k1*pool_A_B)/(km1 + k1)")
        assert found.lumps[1].members == {"A": 1, "B": 1}
        assert found.project([1.0, 2.0, 3.0]).tolist() == [3.0, 3.0]
        assert found.lift([0.0, 3.0]).tolist() == [2.0, 1.0, 0.0]


def test_the_two_differ_and_the_difference_is_reported() -> None:
    system = drained()
    observables = parse_observables(system, ["C"])
    steady = quasi_steady_state(system, observables, fast=["B"], trial=SHORT)
    equilibrium = quasi_equilibrium(system, observables, fast=["r1"], trial=SHORT)
    found = difference(steady, equilibrium, SHORT)
    # C/A₀ = 1 − exp(−k t) with k = 10/21 and 10/30: largest difference, over 1 − exp(−20/…) ≈ 1
    t = np.linspace(0, 20, 20001)
    assert found == pytest.approx(np.abs(np.exp(-10 / 21 * t) - np.exp(-t / 3)).max(), rel=2e-2)
    assert equilibrium.certificate.worst_error < steady.certificate.worst_error


def test_michaelis_menten_appears_with_the_enzyme_conserved() -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    for fast in (["ES"], ["E", "ES"]):
        found = quasi_steady_state(system, observables, fast=fast, trial=EnsembleSettings(until=20.0, ensemble=1))
        assert found.system.states == ("S", "P")
        assert same(found.system, found.system.rhs[1], "k2*total_E_ES*S*k1/(k1*S + k1r + k2)")
        assert same(found.system, found.system.rhs[0], "-(k2*total_E_ES*S*k1)/(k1*S + k1r + k2)")
        assert 0.001 < found.certificate.worst_error < 0.1


def test_the_written_approximation_is_a_network_with_assignments(tmp_path: Path) -> None:
    system = michaelis_menten()
    found = quasi_steady_state(system, parse_observables(system, ["P"]), fast=["ES"], trial=SHORT)
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    again = load_sbml(path)
    assert set(again.states) == {"S", "P"}
    assert len(again.reactions) == 3
    order = [again.states.index(name) for name in found.system.states]
    y = np.array([3.0, 1.0])
    np.testing.assert_allclose(again.rates(0.0, y)[order], found.system.rates(0.0, y[order]), rtol=1e-12)


def test_a_quadratic_equation_takes_the_root_that_is_not_negative() -> None:
    system = michaelis_menten()
    found = quasi_equilibrium(system, parse_observables(system, ["P"]), fast=["r1"], trial=SHORT)
    (why,) = found.certificate.as_json()["roots"].values()
    assert "not negative" in why
    lifted = dict(zip(system.states, found.lift(found.system.initial_state()), strict=True))
    assert lifted["E"] * lifted["S"] * 2 == pytest.approx(lifted["ES"] * 1)  # k1·E·S = k1r·ES
    assert (lifted["E"] + lifted["ES"], lifted["S"] + lifted["ES"]) == pytest.approx((1, 10))


def test_a_dimer_is_solved_through_its_square() -> None:
    # M is fast: 0 = s - 2 k M² , one non-linear equation of degree two
    system = network_from_reactions(
        [("S -> M", "s"), ("2 M -> D", "k"), ("D ->", 1)],
        initial={"S": 5, "M": 0, "D": 0},
        constants={"s": 1, "k": 100},
    )
    found = quasi_steady_state(system, parse_observables(system, ["D"]), fast=["M"], trial=SHORT)
    x = found.system.initial_state()
    at = dict(zip(system.states, found.lift(x), strict=True))
    assert at["M"] == pytest.approx(np.sqrt(5 / 200))
    assert found.certificate.worst_error < 0.2


def test_what_has_no_closed_form_is_refused() -> None:
    system = network_from_reactions(
        [("S -> M", 1), ("3 M -> D", 100), ("2 M -> D", 3), ("M -> D", 3), ("D ->", 1)],
        initial={"S": 5, "M": 1, "D": 0},
    )
    with pytest.raises(UnsupportedModelError) as caught:
        quasi_steady_state(system, parse_observables(system, ["D"]), fast=["M"], trial=SHORT)
    assert caught.value.reasons[0].code == "no-closed-form"
    graph = Graph()
    x, y = graph.symbol("x"), graph.symbol("y")
    inside = OdeSystem(
        graph,
        ("x", "y"),
        (graph.number(1), graph.number(1)),
        (graph.neg(x), graph.sub(x, graph.call("exp", (y,)))),
    )
    with pytest.raises(UnsupportedModelError) as caught:
        quasi_steady_state(
            inside, parse_observables(inside, ["x"]), fast=["y"], trial=EnsembleSettings(until=1.0, ensemble=0)
        )
    assert "inside a function" in caught.value.reasons[0].message


def test_unknown_fast_quantities_are_a_wrong_use() -> None:
    system = drained()
    observables = parse_observables(system, ["C"])
    with pytest.raises(UsageError) as caught:
        quasi_steady_state(system, observables, fast=["nobody"], trial=SHORT)
    assert caught.value.reasons[0].code == "unknown-fast"
    for name in ("nobody", "r3"):
        with pytest.raises(UsageError) as caught:
            quasi_equilibrium(system, observables, fast=[name], trial=SHORT)
        assert caught.value.reasons[0].code == "unknown-fast"


def test_detection_finds_the_fast_intermediate_and_says_why() -> None:
    system = network_from_reactions(
        [("A -> B", 1), ("B -> C", 1000), ("C ->", Fraction(1, 2))], initial={"A": 10, "B": 0, "C": 0}
    )
    times, states = nominal_run(system, 10.0)
    scales = time_scales(system, times, states, excluded=["C"])
    assert scales.fast == ("B",)
    assert scales.pointers["B"] == pytest.approx(1.0, abs=0.01)
    assert scales.gap == pytest.approx(1000, rel=0.01)
    found = quasi_steady_state(system, parse_observables(system, ["C"]), trial=EnsembleSettings(until=10.0, ensemble=1))
    assert set(found.system.states) == {"A", "C"}
    assert found.certificate.as_json()["time_scales"]["pointers"]["B"] > 0.9
    assert found.certificate.worst_error < 0.01


def test_detection_of_reactions_near_equilibrium() -> None:
    system = drained()
    assert [one.ids for one in fast_reactions(system)] == [("r1", "r2")]
    found = quasi_equilibrium(system, parse_observables(system, ["C"]), trial=SHORT)
    details = found.certificate.as_json()
    assert details["fast_reactions"] == [["r1", "r2"]]
    assert details["near_equilibrium"]["r1+r2"] < 0.1


def test_nothing_fast_is_said_so() -> None:
    system = sir_age_groups(1)
    with pytest.raises(UnsupportedModelError) as caught:
        quasi_steady_state(system, parse_observables(system, ["I_1"]), trial=EnsembleSettings(until=50.0, ensemble=1))
    assert caught.value.reasons[0].code == "no-fast-quantity"


def test_the_choice_of_fast_states_does_a_bounded_amount_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    system = network_from_reactions(
        [("A -> B", 1), ("B -> C", 1000), ("C ->", Fraction(1, 2))], initial={"A": 10, "B": 0, "C": 0}
    )
    monkeypatch.setattr(timescales, "CHOICE", replace(timescales.CHOICE, work=1e-9))
    with pytest.raises(UnsupportedModelError, match="used up") as caught:
        quasi_steady_state(system, parse_observables(system, ["C"]), trial=EnsembleSettings(until=10.0, ensemble=1))
    assert [one.code for one in caught.value.reasons] == ["no-fast-quantity"]


def test_reactions_near_equilibrium_that_would_spoil_the_result_are_left_out() -> None:
    """D ⇌ E is at equilibrium most of the time like A ⇌ B, but not at the start, and E is observed."""
    system = network_from_reactions(
        [("A -> B", 1000), ("B -> A", 1000), ("B -> C", 1), ("D -> E", 1), ("E -> D", 1)],
        initial={"A": 10, "B": 0, "C": 0, "D": 10, "E": 0},
    )
    observables = parse_observables(system, ["C", "E"])
    trial = EnsembleSettings(until=20.0, ensemble=1)
    found = quasi_equilibrium(system, observables, trial=trial)
    assert isinstance(found.certificate, ErrorEstimate)
    assert set(found.certificate.details["near_equilibrium"]) == {"r1+r2", "r4+r5"}
    assert found.certificate.details["fast_reactions"] == [["r1", "r2"]]
    assert found.certificate.worst_error < 0.05
    both = quasi_equilibrium(system, observables, fast=["r1", "r4"], trial=trial)
    assert isinstance(both.certificate, ErrorEstimate)
    assert both.certificate.worst_error > 0.05


def with_dose(system: OdeSystem, trigger: Node, target: str) -> OdeSystem:
    """The event ``dose`` sets a state to 5."""
    return replace(system, events=(Event(trigger, ((target, system.graph.number(5)),), id="dose"),))


def test_events_that_states_trigger_are_refused() -> None:
    system = drained()
    graph = system.graph
    system = with_dose(system, graph.call("gt", (graph.symbol("C"), graph.decimal(0.5))), "A")
    kept = parse_observables(system, ["C"])
    for refused in (
        lambda: quasi_steady_state(system, kept, fast=["B"], trial=SHORT),
        lambda: quasi_equilibrium(system, kept, trial=SHORT),
        lambda: pruned(system, kept, trial=SHORT),
    ):
        with pytest.raises(UnsupportedModelError) as caught:
            refused()
        assert (caught.value.reasons[0].code, caught.value.reasons[0].element) == ("event-not-lumpable", "dose")


def test_events_at_known_times_are_carried_over(tmp_path: Path) -> None:
    system = drained()
    graph = system.graph
    system = with_dose(system, graph.call("gt", (graph.time(), graph.number(1))), "A")
    found = quasi_steady_state(
        system, parse_observables(system, ["C"]), fast=["B"], trial=EnsembleSettings(until=4.0, ensemble=1)
    )
    assert [event.id for event in found.system.events] == ["dose"]
    assert found.certificate.worst_error < 0.2
    times = np.array([0.0, 0.99, 1.01])
    runs = trajectories(found.system, found.system.initial_state()[None, :], times)[0]
    before, after = runs[1:, found.system.states.index("A")]
    assert before > 6.0
    assert after == pytest.approx(5.0, abs=0.05)  # the dose came
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    assert written_runs_agree(found, path)


def written_runs_agree(found: ReducedSystem, path: Path) -> bool:
    """Whether the file read back, simulated with its event, is the system that was written."""
    again = load_sbml(path)
    times = np.array([0.0, 0.5, 1.5, 4.0])
    a = trajectories(found.system, found.system.initial_state()[None, :], times)[0]
    b = trajectories(again, again.initial_state()[None, :], times)[0]
    order = [again.states.index(name) for name in found.system.states]
    return bool(np.allclose(a, b[:, order], rtol=1e-6))


def test_a_pool_whose_member_an_event_sets_is_refused() -> None:
    system = drained()
    graph = system.graph
    system = with_dose(system, graph.call("gt", (graph.time(), graph.number(1))), "A")
    with pytest.raises(UnsupportedModelError, match="sets A"):
        quasi_equilibrium(system, parse_observables(system, ["C"]), fast=["A", "B"], trial=SHORT)


def test_a_total_that_an_event_changes_is_no_constant_of_a_quasi_steady_state() -> None:
    system = michaelis_menten()
    graph = system.graph
    system = with_dose(system, graph.call("gt", (graph.time(), graph.number(1))), "E")
    found = quasi_steady_state(system, parse_observables(system, ["P"]), fast=["ES"], trial=SHORT)
    assert "E" in found.system.states
    assert not any(c.id.startswith("total") for c in found.system.constants)


@pytest.mark.parametrize("widths", [(2, 6, 6, 6, 6), (2, 2, 11, 11), (5, 5)])
def test_a_chain_too_long_for_one_quotient_leaves_no_unknown_in_a_solution(widths: tuple[int, ...]) -> None:
    """Each zᵢ follows from zᵢ₊₁ over sums of constants, whose product has more terms than one quotient may have."""
    length = len(widths)
    graph = Graph()
    z = [graph.symbol(f"z{i}") for i in range(length + 1)]

    def constants(kind: str, i: int) -> Node:
        return graph.add(tuple(graph.symbol(f"{kind}{i}_{k}") for k in range(widths[i])))

    equations = [
        graph.sub(graph.mul((constants("a", i), z[i])), graph.mul((constants("b", i), z[i + 1]))) for i in range(length)
    ]
    names = [f"z{i}" for i in range(length)]
    solution = solve(graph, equations, names, lambda *_: (True, True, ""))
    assert not graph.symbols(list(solution.values.values())) & set(names)
    rng = np.random.default_rng(0)
    numbers = {
        name: Fraction(int(rng.integers(1, 9)))
        for name in graph.symbols([*equations, *solution.values.values()])
        if name not in names
    }
    given = {graph.symbol(name): graph.number(value) for name, value in numbers.items()}
    found = graph.substitute([solution.values[name] for name in names], given)
    left = graph.substitute(equations, given | dict(zip(z[:-1], found, strict=True)))
    np.testing.assert_allclose(values_of(graph, left), 0, atol=1e-12)
