"""Results that once were wrong without a word: each is now right, or refused."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from network_models import saved, sbml_model

import sbmlump
from sbmlump.dynamics import EnsembleSettings, field_of, integrate, measure
from sbmlump.errors import UnsupportedModelError, UsageError
from sbmlump.examples import michaelis_menten, network_from_reactions
from sbmlump.jobs import method_rows
from sbmlump.linalg import solve
from sbmlump.methods import (
    METHODS,
    closure,
    fast_reactions,
    learn,
    pruned,
    quasi_equilibrium,
    quasi_steady_state,
    time_scales,
)
from sbmlump.model import (
    Assigned,
    Constant,
    ErrorEstimate,
    Event,
    ExactProof,
    Graph,
    Node,
    OdeSystem,
    ReducedSystem,
    parse_expression,
    parse_observables,
)
from sbmlump.proof import Refutation, verify
from sbmlump.sbml import load_sbml, write_reduction
from sbmlump.structure import (
    BalanceSettings,
    balance_of,
    kept_properties,
    near_laws,
    network_of,
    non_negative_rates,
    structure_of,
)

SHORT_RUN = {"until": 5.0, "ensemble": 3}
SHORT = EnsembleSettings(**SHORT_RUN)


def branched() -> OdeSystem:
    """A ⇌ B, and B makes C and D, which decay alike."""
    return network_from_reactions(
        [("A -> B", 1), ("B -> A", 2), ("B -> B + C", 3), ("B -> B + D", 3), ("C ->", 2), ("D ->", 2)],
        initial={"A": 1, "B": 2, "C": 0, "D": 0},
    )


def with_event(system: OdeSystem, target: str, value: Node) -> OdeSystem:
    graph = system.graph
    trigger = graph.call("gt", (graph.time(), graph.number(1)))
    return replace(system, events=(Event(trigger, ((target, value),), id="dose"),))


def plain(text: dict[str, str], initial: dict[str, int]) -> OdeSystem:
    graph = Graph()
    start = tuple(graph.number(value) for value in initial.values())
    symbols = {name: graph.symbol(name) for name in initial}
    rhs = tuple(parse_expression(graph, text[name], symbols) for name in initial)
    return OdeSystem(graph, tuple(initial), start, rhs)


# -- numbers -----------------------------------------------------------------------------------------


def test_a_learned_system_starts_where_its_lumps_do() -> None:
    system = plain({"A": "-A", "B": "A - 2*B"}, {"A": 10, "B": 1})
    assert system.initial[0] == 0  # the very first node of the graph
    found = learn(system, parse_observables(system, ["A"]), trial=EnsembleSettings(until=2.0, ensemble=2))
    assert found.system.initial_state() == pytest.approx(found.project(system.initial_state()[None, :])[0])


@pytest.mark.parametrize("scale", [1, Fraction(1, 10**13), Fraction(1, 10**20)])
def test_relative_errors_do_not_depend_on_the_unit(scale: Fraction) -> None:
    system = network_from_reactions(
        [("A -> B", 1), ("B -> A", 1), ("B -> C", 1)],
        initial={"A": Fraction(10) * scale, "B": Fraction(0), "C": Fraction(0)},
    )
    found = quasi_steady_state(system, parse_observables(system, ["C"]), fast=["B"], trial=SHORT)
    assert isinstance(found.certificate, ErrorEstimate)
    assert 0.05 < found.certificate.worst_error < 1.0
    other = network_from_reactions([("A -> B", 1), ("B -> A", 1), ("B -> C", 1)], initial={"A": 10, "B": 0, "C": 0})
    same = quasi_steady_state(other, parse_observables(other, ["C"]), fast=["B"], trial=SHORT)
    assert isinstance(same.certificate, ErrorEstimate)
    assert found.certificate.worst_error == pytest.approx(same.certificate.worst_error, rel=1e-4)


def test_a_power_of_a_state_that_begins_at_zero_is_integrated() -> None:
    """Down a cascade the stages of any step, however short, are a little below 0, where x^3.97 is not defined."""
    graph = Graph()
    texts = {
        "a": "-a/(a + 1)",
        "b": "a/(a + 1) - b",
        "c": "b*(1000 - c)/(1000 + c) - c",
        "d": "b*c - d",
        "e": "d*d - e",
        "h": "10*e - 3*h",
        "p": "h^3.97/(1 + h^3.97) - p",
    }
    symbols = {name: graph.symbol(name) for name in texts}
    rates = tuple(parse_expression(graph, text, symbols) for text in texts.values())
    field = field_of(graph, rates, tuple(texts), {})
    runs = integrate(field, np.array([[1000.0] + 6 * [0.0]]), np.linspace(0.0, 10.0, 7))
    assert runs.complete.all()
    assert (runs.states[0, 1:] > 0).all()


@pytest.mark.parametrize("size", [3, 20])
def test_a_root_of_a_state_that_begins_at_zero_is_integrated(size: int) -> None:
    """The slope of a root is infinite at 0; a step in which nothing moves must not pass for an exact one."""
    graph = Graph()
    names = tuple(f"x{i}" for i in range(size))
    root = graph.pow(graph.symbol("x0"), graph.number(Fraction(1, 2)))
    rates = (graph.sub(graph.number(1), root), *(graph.neg(graph.symbol(name)) for name in names[1:]))
    field = field_of(graph, rates, names, {})
    start = np.array([[0.0, *(size - 1) * [1.0]]])
    runs = integrate(field, start, np.array([0.0, 0.5, 1.0]))
    # t = -2 √x - 2 ln(1 - √x)
    assert runs.complete.all()
    root_at = np.sqrt(runs.states[0, 1:, 0])
    assert -2 * root_at - 2 * np.log1p(-root_at) == pytest.approx([0.5, 1.0], rel=1e-4)


def test_repeated_modes_have_the_pointers_of_their_space() -> None:
    """Two modes of speed 100 that share their space: the projector is that of any basis of it."""
    generator = np.random.default_rng(5)
    basis = np.round(generator.normal(size=(4, 4)), 2)
    matrix = basis @ np.diag([-100.0, -100.0, -1.0, -0.5]) @ np.linalg.inv(basis)
    expected = np.abs(np.diag(basis[:, :2] @ np.linalg.inv(basis)[:2])).clip(max=1.0)
    graph = Graph()
    names = "wxyz"
    rates = tuple(
        graph.add([graph.mul((graph.decimal(float(v)), graph.symbol(n))) for v, n in zip(row, names, strict=True)])
        for row in matrix
    )
    system = OdeSystem(graph, tuple(names), tuple(graph.number(1) for _ in names), rates)
    times = np.linspace(0.0, 5.0, 40)
    found = time_scales(system, times, np.ones((40, 4)))
    assert [found.pointers[name] for name in names] == pytest.approx(expected, rel=1e-6)


# -- proofs and closure errors -----------------------------------------------------------------------


def test_the_rates_of_lumps_may_not_speak_of_states() -> None:
    system = network_from_reactions([("A + B -> B", 1), ("B ->", 1)], initial={"A": 1, "B": 1})
    with pytest.raises(UsageError, match="r1"):
        closure(system, {"y": "A"}, {"y": "-r1"}, trial=SHORT)
    assert not closure(system, {"y": "A"}, trial=SHORT).exact


def test_what_is_not_defined_is_no_closure() -> None:
    system = plain({"A": "-A^(1/2)", "B": "-B"}, {"A": 1, "B": 4})
    found = closure(system, {"y": "A - B"}, trial=EnsembleSettings(until=0.5, ensemble=1))
    assert not found.exact
    assert found.worst == np.inf
    assert found.as_json()["worst"] is None
    with pytest.raises(UsageError, match="defined at no point"):
        closure(system, {"y": "ln(A - 100)*B"}, trial=EnsembleSettings(until=0.5, ensemble=1))


def test_between_events_is_not_always() -> None:
    system = network_from_reactions([("A ->", 1), ("B ->", 2)], initial={"A": 1, "B": 1})
    graph = system.graph
    assert closure(system, {"y": "A*B"}, trial=SHORT).exact
    kicked = with_event(system, "A", graph.add((graph.symbol("A"), graph.number(1))))
    assert not closure(kicked, {"y": "A*B"}, trial=SHORT).exact
    assert not closure(kicked, {"y": "A*B"}, {"y": "-3*y"}, trial=SHORT).exact


def test_rows_that_depend_on_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="depend on each other"):
        closure(branched(), [{0: Fraction(1)}, {0: Fraction(2)}], trial=SHORT)


def test_a_closure_says_for_which_values_it_holds(tmp_path: Path) -> None:
    text = sbml_model(
        {"E": 1, "S": 10, "ES": 0.2, "P": 0.1},
        {
            "bind": ({"E": 1, "S": 1}, {"ES": 1}, "c*(10*E*S - 5*ES)"),
            "make": ({"ES": 1}, {"E": 1, "P": 1}, "c*2*ES"),
        },
        {},
        homes={"E": "c", "S": "c", "ES": "c", "P": "d"},
        sizes={"c": 0.3, "d": 2.0},
    )
    found = closure(load_sbml(saved(tmp_path, text)), {"y": "E + ES", "z": "0.3*S + 0.3*ES + 2*P"}, trial=SHORT)
    assert found.exact
    assert found.proof is not None
    assert set(found.proof.valid_for) >= {"c", "d"}


# -- chains ------------------------------------------------------------------------------------------


def test_other_starts_stay_right_through_a_chain() -> None:
    system = branched()
    for chain in (["conservation", "exact"], ["exact", "conservation"], ["conservation", "exact", "pooling"]):
        found = sbmlump.reduce(system, ["y=C+D"], chain, **SHORT_RUN)
        assert isinstance(found.certificate, ExactProof)
        assert found.system.size == 2
        assert measure(found, SHORT).errors.max() < 1e-6, chain


def test_totals_of_states_that_vanish_are_recorded_and_proved(tmp_path: Path) -> None:
    """After exact lumping only B is left of the total: what A2 adds is a number then, which other starts change."""
    text = sbml_model(
        {"A": 5, "A2": 1, "B": 0.5},
        {
            "r1": ({"A": 1}, {"B": 1}, "c*k*A"),
            "r2": ({"A2": 1}, {"B": 1}, "c*k*A2"),
            "r3": ({"B": 1}, {"A": 1}, "d*k*B"),
        },
        {"k": 0.3},
        homes={"A": "c", "A2": "c", "B": "d"},
        sizes={"c": 2.0, "d": 3.0},
    )
    path = saved(tmp_path, text)
    system = load_sbml(path)
    found = sbmlump.reduce(system, ["B"], ["conservation", "exact"], **SHORT_RUN)
    assert found.system.states == ("B",)
    assert measure(found, SHORT).errors.max() < 1e-6
    reduced = tmp_path / "reduced.xml"
    reduced.write_bytes(write_reduction(found))
    assert isinstance(verify(path, reduced), ExactProof)
    text = reduced.read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.xml"
    changed = re.sub(r'(symbol="total_.*?<math[^>]*>).*?(</math>)', r"\g<1><cn> 99 </cn>\g<2>", text, flags=re.DOTALL)
    assert changed != text
    wrong.write_text(changed, encoding="utf-8")
    assert isinstance(verify(path, wrong), Refutation)
    formulas = {"A": "C", "A2": "O"}
    table = {one.name: one.kept for one in kept_properties(found, formulas=formulas)}
    assert table["total of the states"] is True  # A + A2 follows from the total and B
    assert table["total of C"] is False  # A alone does not


def test_steps_that_find_nothing_still_name_what_is_observed() -> None:
    system = network_from_reactions([("A -> C", 1), ("C -> D", 2), ("D ->", 1)], initial={"A": 1, "C": 0, "D": 0})
    observed = ["y = A + C*D"]
    for chain in (["exact", "conservation"], ["forward-equivalence", "conservation"], ["exact", "exact"]):
        found = sbmlump.reduce(system, observed, chain, **SHORT_RUN)
        assert "y" in found.system.definitions


def test_equal_starts_by_an_initial_assignment_are_equal_after_conservation() -> None:
    system = network_from_reactions(
        [("A -> B", 1), ("B -> A", 2), ("X -> A + X", 0), ("X ->", 3), ("Y ->", 3)],
        initial={"A": 1, "B": 2, "X": 4, "Y": 4},
    )
    graph = system.graph
    linked = replace(system, initial=(*system.initial[:3], graph.symbol("X")))
    observed = ["B", "Y"]
    chain = ["conservation", "backward-equivalence"]
    assert sbmlump.reduce(linked, observed, chain, **SHORT_RUN).system.size == 2


def test_initial_values_do_not_come_to_depend_on_themselves() -> None:
    """T is made of x(0) and y(0), and z starts at 2 T: over the lumps x + z and y + z, T would be made of itself."""
    graph = Graph()
    x, y, z, t = (graph.symbol(name) for name in ("x", "y", "z", "T"))
    three = [graph.number(number) for number in (5, 2)]
    system = OdeSystem(
        graph,
        ("x", "y", "z"),
        (*three, graph.scaled(2, t)),
        (graph.neg(x), graph.neg(y), graph.neg(z)),
        (Constant("T", graph.sub(x, y), computed=True),),
    )
    observed = ["O1 = x + z", "O2 = y + z"]
    found = sbmlump.reduce(system, observed, ["exact"], **SHORT_RUN)
    assert found.system.initial_state() == pytest.approx([11, 8])


def test_laws_over_lumps_are_found(tmp_path: Path) -> None:
    text = sbml_model(
        {"S": 5, "X1": 1, "X2": 2, "Y": 0.5, "Z": 0.1},
        {
            "r1": ({"S": 1}, {"X1": 1}, "c*k*S"),
            "r2": ({"S": 1}, {"X2": 1}, "2*c*k*S"),
            "r3": ({"X1": 1}, {"Y": 2}, "c*q*X1"),
            "r4": ({"X2": 1}, {"Y": 2}, "c*q*X2"),
            "r5": ({"Y": 2}, {"Z": 1}, "d*Y^2"),
            "r6": ({"Z": 1}, {"Y": 2}, "0.1*d*Z"),
        },
        {"k": 0.7, "q": 0.3},
        homes={"S": "c", "X1": "c", "X2": "c", "Y": "d", "Z": "d"},
        sizes={"c": 0.3, "d": 2.0},
    )
    system = load_sbml(saved(tmp_path, text))
    found = sbmlump.reduce(system, ["Y"], ["exact", "conservation"], **SHORT_RUN)
    assert found.system.size == 3
    assert isinstance(found.certificate, ExactProof)
    assert measure(found, SHORT).errors.max() < 1e-6


def test_constants_of_the_original_keep_their_values_in_other_runs() -> None:
    system = branched()
    graph = system.graph
    # a rate constant that was computed from an initial value, and a start that goes through an eliminated state
    start = graph.scaled(2, graph.symbol("B"))
    made = replace(
        system,
        constants=(*system.constants, Constant("q", graph.scaled(3, graph.symbol("A")), computed=True)),
        assigned=(Assigned("T", start),),
        initial=(*system.initial[:2], graph.symbol("T"), *system.initial[3:]),
        rhs=(*system.rhs[:3], graph.sub(system.rhs[3], graph.mul((graph.symbol("q"), graph.symbol("D"))))),
        reactions=(),
    )
    (row,) = method_rows(made, parse_observables(made, ["D"]), ["conservation"], **SHORT_RUN)
    assert row.exact
    assert row.size == 3
    assert row.error is not None
    assert row.error < 1e-6
    assert row.reduction is not None
    gone = next(name for name in ("A", "B") if name not in row.reduction.system.states)
    if gone == "B":
        c = row.reduction.system.initial[row.reduction.system.states.index("C")]
        assert graph.symbols([c]) == {"B_at_start"}


def test_named_expressions_survive_methods_that_find_nothing() -> None:
    system = network_from_reactions([("A -> C", 1), ("C ->", 1)], initial={"A": 1, "C": 0})
    observed = ["y=A+C"]
    for chain in (["conservation"], ["none"], ["none", "exact"], ["conservation", "exact"]):
        found = sbmlump.reduce(system, observed, chain, **SHORT_RUN)
        assert "y" in found.system.definitions
        assert measure(found, SHORT).errors.max() < 1e-6


def test_embeddings_are_measured_where_they_hold() -> None:
    system = network_from_reactions(
        [("A -> A + C", 3), ("A -> A + D", 3), ("C ->", 2), ("D ->", 2)], initial={"A": 1, "C": 1, "D": 1}
    )
    (row,) = method_rows(system, parse_observables(system, ["y=C+D"]), ["backward-equivalence"], **SHORT_RUN)
    assert row.exact
    assert row.error is not None
    assert row.error < 1e-6


# -- what is preserved -------------------------------------------------------------------------------


def kept(found: ReducedSystem) -> dict[str, bool | None]:
    return {one.name: one.kept for one in kept_properties(found)}


def test_a_chain_with_lumps_does_not_keep_all_laws() -> None:
    system = network_from_reactions(
        [("A -> B", 1), ("B -> A", 2), ("C -> D", 1), ("D -> C", 2)], initial={"A": 1, "B": 2, "C": 3, "D": 4}
    )
    found = sbmlump.reduce(system, ["C"], ["exact", "conservation"], **SHORT_RUN)
    table = kept(found)
    assert table["conservation laws"] is False
    assert table["total of the states"] is False


def test_lumps_of_both_signs_are_not_said_to_stay_non_negative() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 1)], initial={"A": 1, "B": 2})
    found = sbmlump.reduce(system, ["y=A-B"], ["exact"], **SHORT_RUN)
    assert found.system.initial_state()[0] == -1
    assert kept(found)["non-negativity"] is None


def test_time_scale_methods_keep_the_total_they_solve_with() -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    steady = quasi_steady_state(system, observables, fast=["ES"], trial=SHORT)
    (laws,) = (one for one in kept_properties(steady) if one.name == "conservation laws")
    assert (laws.original, laws.reduced) == (2, 1)  # S + ES + P is not constant: ES follows at once
    reversible = next(one.ids[0] for one in fast_reactions(system))
    balanced = quasi_equilibrium(system, observables, fast=[reversible], trial=SHORT)
    assert kept(balanced)["conservation laws"] is True


def test_an_event_can_make_a_state_negative() -> None:
    system = network_from_reactions([("A ->", 1)], initial={"A": 1})
    graph = system.graph
    assert non_negative_rates(system)["A"]
    assert not non_negative_rates(with_event(system, "A", graph.sub(graph.symbol("A"), graph.number(5))))["A"]
    assert non_negative_rates(with_event(system, "A", graph.add((graph.symbol("A"), graph.number(5)))))["A"]


def test_laws_say_which_event_breaks_them() -> None:
    system = network_from_reactions([("A -> B", 1), ("C -> D", 1)], initial={"A": 1, "B": 0, "C": 1, "D": 0})
    found = structure_of(with_event(system, "A", system.graph.number(4)))
    by_name = {tuple(law["weights"]): law["set_by_event"] for law in found.as_json()["conservation_laws"]}
    assert by_name == {("A", "B"): "dose", ("C", "D"): None}
    assert "A + B  (between events: dose sets it)" in found.as_text()


def test_a_sink_of_rate_zero_drains_nothing() -> None:
    system = network_from_reactions([("A -> B", 1), ("B ->", 0)], initial={"A": 1, "B": 0})
    assert not near_laws(system)


def test_balance_by_logarithms_is_not_called_exact() -> None:
    triangle = network_from_reactions(
        [("A -> B", 1), ("B -> A", 2), ("B -> C", 3), ("C -> B", 1), ("C -> A", 2), ("A -> C", 3)],
        initial={"A": 1, "B": 1, "C": 1},
    )
    assert balance_of(network_of(triangle)).exact
    assert structure_of(triangle).as_json()["balance_exact"] is True
    short = BalanceSettings(most_exact_bits=1)  # as if the products were very long
    assert not balance_of(network_of(triangle), short).exact
    assert "decided in floating point" in structure_of(triangle, short).as_text()


# -- networks that are not what they look like -------------------------------------------------------


def test_boundary_states_follow_their_rule(tmp_path: Path) -> None:
    text = sbml_model(
        {"X": 10, "Y": 0, "Z": 0},
        {"r1": ({"X": 1}, {"Y": 1}, "cell*k*X"), "r2": ({"X": 1}, {"Z": 1}, "cell*e*X")},
        {"k": 1, "e": 0.01},
        sizes={"cell": 1.0},
        boundary=["X"],
        rate_rules={"X": "-0.1*X"},
    )
    system = load_sbml(saved(tmp_path, text))
    small = pruned(system, parse_observables(system, ["Y"]), threshold=0.5, trial=SHORT)
    assert "Z" not in small.system.states
    assert isinstance(small.certificate, ErrorEstimate)
    assert small.certificate.worst_error < 1e-6
    text = sbml_model(
        {"X": 10, "A": 0},
        {"r1": ({"X": 1}, {"A": 1}, "cell*100*X"), "r2": ({"A": 1}, {"X": 1}, "cell*100*A")},
        {},
        sizes={"cell": 1.0},
        boundary=["X"],
        rate_rules={"X": "-0.1*X"},
    )
    assert fast_reactions(load_sbml(saved(tmp_path, text))) == ()


def test_a_model_without_states_is_refused() -> None:
    graph = Graph()
    system = OdeSystem(graph, (), (), (), (Constant("k", graph.number(1)),))
    with pytest.raises(UnsupportedModelError):
        quasi_steady_state(system, parse_observables(system, ["k"]), trial=EnsembleSettings(ensemble=1))


def test_reactions_in_a_growing_compartment_stay(tmp_path: Path) -> None:
    text = sbml_model(
        {"X": 10, "Y": 0, "Z": 0},
        {"r1": ({"X": 1}, {"Y": 1}, "v*k*X"), "r2": ({"X": 1}, {"Z": 1}, "v*e*X")},
        {"k": 1, "e": 0.01},
        sizes={"v": 2.0},
        rate_rules={"v": "0.1*v"},
    )
    system = load_sbml(saved(tmp_path, text))
    small = pruned(system, parse_observables(system, ["Y"]), threshold=0.5, trial=SHORT)
    assert isinstance(small.certificate, ErrorEstimate)
    assert small.certificate.worst_error < 1e-6
    assert network_of(system) is None  # what grows dilutes, which no reaction says


@pytest.mark.parametrize("case", ["factors", "compartments"])
def test_pools_are_sums_only_where_they_are_conserved(tmp_path: Path, case: str) -> None:
    text = sbml_model(
        {"A": 1, "B": 0},
        {"r1": ({"A": 1}, {"B": 1}, "100*A"), "r2": ({"B": 1}, {"A": 1}, "100*B")},
        {"f1": 1, "f2": 3},
        homes={"A": "v", "B": "w"} if case == "compartments" else None,
        sizes={"v": 1.0, "w": 3.0},
        rate_rules={"v": "0.1*v", "w": "0.1*w"} if case == "compartments" else None,
        factors={"A": "f1", "B": "f2"} if case == "factors" else None,
    )
    system = load_sbml(saved(tmp_path, text))
    with pytest.raises(UnsupportedModelError) as caught:
        quasi_equilibrium(system, parse_observables(system, ["A"]), fast=["r1"], trial=SHORT)
    assert caught.value.reasons[0].code == "no-closed-form"


def test_a_fast_state_that_an_event_sets_is_refused() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> C", 100)], initial={"A": 1, "B": 0, "C": 0})
    dosed = with_event(system, "B", system.graph.number(5))
    with pytest.raises(UnsupportedModelError, match="dose") as caught:
        quasi_steady_state(dosed, parse_observables(dosed, ["C"]), fast=["B"], trial=SHORT)
    assert caught.value.reasons[0].code == "event-not-lumpable"


def test_coupled_equations_with_many_symbols_are_refused_at_once() -> None:
    graph = Graph()
    names = "xyz"
    symbols = {name: graph.symbol(name) for name in (*names, *(f"k{i}" for i in range(12)))}
    equations = [
        parse_expression(graph, text, symbols)
        for text in (
            "k0 - k1*x^2 - k2*x*y - k3*x - k9*x*z",
            "k4 - k5*y^2 - k2*x*y - k6*y - k10*y*z",
            "k7 - k8*z^2 - k9*x*z - k10*y*z - k11*z",
        )
    ]

    def choose(name: str, plus: Node, minus: Node) -> tuple[bool, bool, str]:
        raise AssertionError

    with pytest.raises(UnsupportedModelError, match="non-linear"):
        solve(graph, equations, list(names), choose)


PROVED = ("exact", "forward-equivalence", "backward-equivalence", "pooling", "none")
REFUSED = {"missing-value", "non-linear-observable", "no-fast-quantity", "no-conserved-total", "undefined-at-start"}


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("approximate", "lumping")])
def test_a_size_that_cancels_need_not_be_known(method: str, tmp_path: Path) -> None:
    """Rates of concentrations are known though fluxes are not; what needs the size is refused by name."""
    text = sbml_model(
        {"A": 1.0, "B": 0.0, "C": 0.5, "D": 0.5, "E": 0.0},
        {
            "forth": ({"A": 1}, {"B": 1}, "cell * fast * A"),
            "back": ({"B": 1}, {"A": 1}, "cell * fast * B"),
            "on": ({"B": 1}, {"C": 1}, "cell * slow * B"),
            "leak": ({"C": 1}, {"D": 1}, "cell * least * C"),
            "off": ({"D": 1}, {"E": 1}, "cell * slow * D"),
        },
        {"fast": 100.0, "slow": 2.0, "least": 0.001},
    ).replace(' size="2"', "")
    file = saved(tmp_path, text)
    system = sbmlump.load(file)
    assert system.constant_values.get("cell") is None
    for observe in ("C", "on"):
        options = {"until": 5.0, "ensemble": 1} if method in ("qssa", "quasi-equilibrium", "relation-graph") else {}
        try:
            reduction = sbmlump.reduce(system, [observe], method, **options)
            reduction.write(tmp_path / "reduced.xml")
        except (UnsupportedModelError, UsageError) as refusal:
            codes = {reason.code for reason in refusal.reasons}
        else:
            codes = set()
            assert not isinstance(verify(file, tmp_path / "reduced.xml"), Refutation)
        assert codes <= REFUSED
        assert codes or observe == "C" or method in PROVED
