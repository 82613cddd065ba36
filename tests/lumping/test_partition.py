"""Forward and backward equivalence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from sbmlump.errors import UnsupportedModelError, UsageError
from sbmlump.examples import multisite, network_from_reactions, ring, sir_age_groups
from sbmlump.methods import backward_equivalence, forward_equivalence, lump_exactly, reduce_backward, reduce_forward
from sbmlump.model import (
    Constant,
    Embedding,
    Event,
    ExactProof,
    Graph,
    LinearLumping,
    OdeSystem,
    Quantity,
    parse_observables,
)

NAMES = ("A", "B", "C", "D")


def names_of(system: OdeSystem, blocks: Sequence[frozenset[int]]) -> set[frozenset[str]]:
    return {frozenset(system.states[j] for j in block) for block in blocks}


def forward(system: OdeSystem, *observed: str, **options: object) -> set[frozenset[str]]:
    observables = parse_observables(system, observed) if observed else ()
    return names_of(system, forward_equivalence(system, observables, **options))  # type: ignore[arg-type]


def backward(system: OdeSystem, **options: object) -> set[frozenset[str]]:
    return names_of(system, backward_equivalence(system, **options))  # type: ignore[arg-type]


def blocks(*words: str) -> set[frozenset[str]]:
    return {frozenset(word.split()) for word in words}


# -- an oracle of its own: polynomials as dictionaries, all partitions ---------------------------------

Monomial = tuple[str, ...]
Polynomial = dict[Monomial, Fraction]


def rates_of(reactions: Sequence[tuple[str, str, Fraction]]) -> dict[str, Polynomial]:
    """Mass-action rates from ("A B", "C", k): letters with blanks between them."""
    rates: dict[str, Polynomial] = {name: {} for name in NAMES}
    for left, right, k in reactions:
        monomial = tuple(sorted(left.split()))
        for name in NAMES:
            change = right.split().count(name) - left.split().count(name)
            if change:
                rates[name][monomial] = rates[name].get(monomial, Fraction(0)) + change * k
    return {name: {m: c for m, c in p.items() if c} for name, p in rates.items()}


def derivative(p: Polynomial, name: str) -> Polynomial:
    out: Polynomial = {}
    for monomial, c in p.items():
        count = monomial.count(name)
        if count:
            rest = list(monomial)
            rest.remove(name)
            out[tuple(rest)] = out.get(tuple(rest), Fraction(0)) + c * count
    return {m: c for m, c in out.items() if c}


def total(polynomials: Sequence[Polynomial]) -> Polynomial:
    out: Polynomial = {}
    for p in polynomials:
        for m, c in p.items():
            out[m] = out.get(m, Fraction(0)) + c
    return {m: c for m, c in out.items() if c}


def merged(p: Polynomial, owner: Mapping[str, str]) -> Polynomial:
    out: Polynomial = {}
    for monomial, c in p.items():
        m = tuple(sorted(owner[x] for x in monomial))
        out[m] = out.get(m, Fraction(0)) + c
    return {m: c for m, c in out.items() if c}


def partitions(items: Sequence[str]) -> Iterator[list[list[str]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        for i in range(len(smaller)):
            yield [*smaller[:i], [first, *smaller[i]], *smaller[i + 1 :]]
        yield [[first], *smaller]


def is_forward(rates: Mapping[str, Polynomial], partition: Sequence[Sequence[str]]) -> bool:
    for block in partition:
        rate = total([rates[name] for name in block])
        for other in partition:
            gradients = [derivative(rate, name) for name in other]
            if any(g != gradients[0] for g in gradients):
                return False
    return True


def is_backward(rates: Mapping[str, Polynomial], partition: Sequence[Sequence[str]]) -> bool:
    owner = {name: block[0] for block in partition for name in block}
    for block in partition:
        seen = [merged(rates[name], owner) for name in block]
        if any(p != seen[0] for p in seen):
            return False
    return True


def network(reactions: Sequence[tuple[str, str, Fraction]]) -> OdeSystem:
    return network_from_reactions(
        [(f"{' + '.join(left.split())} -> {' + '.join(right.split())}", k) for left, right, k in reactions],
        initial=dict.fromkeys(NAMES, Fraction(1)),
    )


def swapped(word: str, renaming: Mapping[str, str]) -> str:
    return " ".join(renaming[x] for x in word.split())


@st.composite
def symmetric_networks(draw: st.DrawFn) -> list[tuple[str, str, Fraction]]:
    """Random reactions among four species, often repeated with some species exchanged."""
    side = st.lists(st.sampled_from(NAMES), max_size=2).map(" ".join)
    rate = st.sampled_from([Fraction(1), Fraction(2), Fraction(1, 3)])
    reactions = draw(st.lists(st.tuples(side, side, rate), min_size=1, max_size=5))
    order = draw(st.sampled_from(list(permutations(NAMES))))
    renaming = dict(zip(NAMES, order, strict=True))
    made = list(reactions)
    for left, right, k in reactions:
        a, b = left, right
        for _ in range(3):  # the orbit under the renaming
            a, b = swapped(a, renaming), swapped(b, renaming)
            if (a, b) == (left, right):
                break
            made.append((a, b, k))
    if draw(st.booleans()):
        made.append(draw(st.tuples(side, side, rate)))
    return made


class TestCoarsest:
    @given(symmetric_networks(), st.sampled_from(NAMES))
    def test_forward_is_the_coarsest_of_all_partitions(self, reactions, observed):
        rates = rates_of(reactions)
        good = [p for p in partitions(NAMES) if [observed] in p and is_forward(rates, p)]
        best = min(good, key=len)
        assert forward(network(reactions), observed) == {frozenset(block) for block in best}

    @given(symmetric_networks())
    def test_backward_is_the_coarsest_of_all_partitions(self, reactions):
        rates = rates_of(reactions)
        best = min((p for p in partitions(NAMES) if is_backward(rates, p)), key=len)
        assert backward(network(reactions)) == {frozenset(block) for block in best}

    @given(symmetric_networks(), st.sampled_from([*NAMES, "A + B", "A + 2*B"]))
    def test_the_constrained_lumping_is_never_larger(self, reactions, observed):
        system = network(reactions)
        observables = parse_observables(system, [observed])
        assert lump_exactly(system, observables).system.size <= len(forward_equivalence(system, observables))

    def test_all_partitions_are_looked_at(self):
        assert sum(1 for _ in partitions(NAMES)) == 15


class TestForward:
    @pytest.mark.parametrize(("sites", "expected"), [(2, 12), (3, 22), (4, 37), (5, 58)])
    def test_multisite(self, sites, expected):
        system = multisite(sites)
        assert len(forward(system, "kinase")) == expected

    def test_parameters_kept_symbolic_make_no_difference_to_multisite(self):
        system = multisite(3)
        keep = frozenset(c.id for c in system.constants)
        assert len(forward(system, "kinase", keep=keep)) == 22

    def test_values_of_parameters_matter_unless_kept(self):
        reactions = [("A -> C", "k1"), ("B -> C", "k2")]
        system = network_from_reactions(
            reactions, initial=dict.fromkeys("ABC", 1), constants={"k1": Fraction(2), "k2": Fraction(2)}
        )
        assert forward(system, "C") == blocks("A B", "C")
        assert forward(system, "C", keep=frozenset({"k1"})) == blocks("A", "B", "C")

    def test_a_sum_is_observed(self):
        system = sir_age_groups(3)
        expected = blocks("S_1 S_2 S_3", "I_1 I_2 I_3", "R_1 R_2 R_3")
        assert forward(system, "I_1 + I_2 + I_3", "R_1 + R_2 + R_3") == expected

    def test_generic_functions(self):
        graph = Graph()
        a, b, c = map(graph.symbol, "abc")
        both = graph.call("exp", (graph.neg(graph.add((a, b))),))
        rhs = (graph.mul((c, both)), graph.neg(graph.mul((c, both))), both)
        system = OdeSystem(graph, ("a", "b", "c"), (graph.number(1),) * 3, rhs)
        assert forward(system, "c") == blocks("a b", "c")
        other = OdeSystem(graph, ("a", "b", "c"), (graph.number(1),) * 3, (*rhs[:2], graph.call("exp", (a,))))
        assert forward(other, "c") == blocks("a", "b", "c")

    def test_rational_rates(self):
        graph = Graph()
        a, b, c = map(graph.symbol, "abc")
        below = graph.add((graph.number(1), a, b))
        rhs = tuple(graph.neg(graph.div(x, below)) for x in (a, b))
        system = OdeSystem(graph, ("a", "b", "c"), (graph.number(1),) * 3, (*rhs, graph.div(c, below)))
        assert forward(system, "c") == blocks("a b", "c")

    def test_events_have_to_close_too(self):
        graph = Graph()
        a, b, c, one = *map(graph.symbol, "abc"), graph.number(1)
        rhs = (graph.neg(a), graph.neg(b), graph.add((a, b)))
        plain = OdeSystem(graph, ("a", "b", "c"), (one,) * 3, rhs)
        assert forward(plain, "c") == blocks("a b", "c")
        on_sum = Event(graph.call("gt", (graph.add((a, b)), c)), (("a", graph.number(0)), ("b", graph.number(0))))
        on_one = Event(graph.call("gt", (a, c)), (("c", graph.number(0)),))
        resets_one = Event(graph.call("gt", (c, one)), (("a", graph.number(0)),))
        for event, expected in ((on_sum, 2), (on_one, 3), (resets_one, 3)):
            system = OdeSystem(graph, ("a", "b", "c"), (one,) * 3, rhs, events=(event,))
            assert len(forward(system, "c")) == expected

    def test_sums_are_sums_of_amounts(self):
        """Diffusion between two compartments: the amount is conserved, the sum of concentrations is not."""
        graph = Graph()
        a, b = graph.symbol("a"), graph.symbol("b")
        flow = graph.sub(a, b)
        rhs = (graph.neg(flow), graph.div(flow, graph.symbol("big")))
        quantities = {
            "a": Quantity("a", "species", compartment="small"),
            "b": Quantity("b", "species", compartment="big"),
            "small": Quantity("small", "compartment"),
            "big": Quantity("big", "compartment"),
        }
        constants = (Constant("small", graph.number(1)), Constant("big", graph.number(4)))
        system = OdeSystem(graph, ("a", "b"), (graph.number(1),) * 2, rhs, constants, quantities=quantities)
        made = reduce_forward(system, parse_observables(system, ["a + 4*b"]))
        assert [lump.members for lump in made.lumps] == [{"a": 1, "b": 4}]
        assert made.certificate.kind == "exact-proof"

    def test_something_is_to_be_observed(self):
        with pytest.raises(UsageError) as caught:
            forward_equivalence(ring(3), ())
        assert caught.value.reasons[0].code == "no-observable"

    def test_the_seed_does_not_matter(self):
        system = multisite(2)
        assert len({frozenset(forward(system, "kinase", seed=seed)) for seed in range(4)}) == 1


class TestReduceForward:
    @pytest.mark.parametrize("observed", [["kinase"], ["S_UU", "kinase^2"]])
    def test_pools_are_disjoint_and_proved(self, observed):
        system = multisite(2)
        made = reduce_forward(system, parse_observables(system, observed))
        assert isinstance(made.map, LinearLumping)
        assert isinstance(made.certificate, ExactProof)
        assert made.method == "forward-equivalence"
        assert made.matrix.proper
        assert made.matrix.non_negative
        assert made.system.size == len(forward(system, *observed)) < system.size
        x = np.random.default_rng(0).uniform(0.1, 2.0, system.size)
        np.testing.assert_allclose(
            made.system.rates(0.0, made.project(x)), made.matrix.array() @ system.rates(0.0, x), rtol=1e-12
        )

    def test_nothing_to_pool(self):
        system = network_from_reactions([("A -> B", 1), ("B -> C", 2)], initial=dict.fromkeys("ABC", 1))
        made = reduce_forward(system, parse_observables(system, ["C", "B"]))
        assert not made.reducible
        assert made.method == "forward-equivalence"

    def test_rational_kinetics_with_a_sparse_lift_that_is_undefined(self):
        graph = Graph()
        a, b = map(graph.symbol, "ab")
        both = graph.add((a, b))
        rhs = (graph.neg(graph.div(a, both)), graph.neg(graph.div(b, both)), graph.div(graph.number(1), both))
        system = OdeSystem(graph, ("a", "b", "c"), (graph.number(0), graph.number(2), graph.number(0)), rhs)
        made = reduce_forward(system, parse_observables(system, ["c"]))
        assert made.system.size == 2
        assert np.isfinite(made.system.rates(0.0, made.system.initial_state())).all()


class TestBackward:
    def test_initial_values_refine(self):
        system = ring(4)
        assert len(backward(system)) == 1
        assert len(backward(system, by_initial_values=True)) == 4
        same = system.with_values({name: Fraction(1) for name in system.states})
        assert len(backward(same, by_initial_values=True)) == 1

    @given(symmetric_networks(), st.lists(st.sampled_from([Fraction(1), Fraction(2)]), min_size=4, max_size=4))
    def test_states_of_a_block_stay_equal(self, reactions, start):
        system = network(reactions).with_values(dict(zip(NAMES, start, strict=True)))
        found = backward_equivalence(system, by_initial_values=True)
        x0 = system.initial_state()
        run = solve_ivp(system.rates, (0.0, 0.05), x0, rtol=1e-10, atol=1e-12)
        for block in found:
            for i, j in combinations(sorted(block), 2):
                np.testing.assert_allclose(run.y[i], run.y[j], rtol=1e-7, atol=1e-9)

    def test_functions_of_equal_arguments_are_equal(self):
        graph = Graph()
        a, b = graph.symbol("a"), graph.symbol("b")
        rhs = (graph.neg(graph.call("exp", (a,))), graph.neg(graph.call("exp", (b,))))
        system = OdeSystem(graph, ("a", "b"), (graph.number(1),) * 2, rhs)
        made = reduce_backward(system, parse_observables(system, ["a"]))
        assert made.system.states == ("a",)
        crossed = OdeSystem(graph, ("a", "b"), (graph.number(1),) * 2, (rhs[0], graph.neg(graph.call("sin", (b,)))))
        assert len(backward(crossed)) == 2

    def test_events_are_refused(self):
        graph = Graph()
        x, one = graph.symbol("x"), graph.number(1)
        event = Event(graph.call("gt", (x, one)), (("x", one),), id="e")
        system = OdeSystem(graph, ("x",), (one,), (x,), events=(event,))
        with pytest.raises(UnsupportedModelError) as caught:
            backward_equivalence(system)
        assert (caught.value.reasons[0].code, caught.value.reasons[0].element) == ("event-not-lumpable", "e")

    def test_undefined_where_the_states_are_equal(self):
        graph = Graph()
        a, b = graph.symbol("a"), graph.symbol("b")
        gap = graph.div(graph.number(1), graph.sub(a, b))
        system = OdeSystem(graph, ("a", "b"), (graph.number(1), graph.number(2)), (gap, gap))
        with pytest.raises(UnsupportedModelError) as caught:
            backward_equivalence(system)
        assert caught.value.reasons[0].code == "undefined-right-hand-side"
        assert len(backward(system, by_initial_values=True)) == 2


class TestReduceBackward:
    def test_an_observed_state_stands_for_its_block(self):
        system = multisite(2)
        made = reduce_backward(system, parse_observables(system, ["S_PU", "S_UP", "total = S_PU + S_UP"]))
        assert isinstance(made.map, Embedding)
        assert made.method == "backward-equivalence"
        assert "S_PU" in made.system.states
        assert "S_UP" not in made.system.states
        x = np.random.default_rng(0).uniform(0.1, 2.0, made.system.size)
        full = made.lift(x)
        np.testing.assert_allclose(made.project(full), x)
        np.testing.assert_allclose(made.lift(made.system.rates(0.0, x)), system.rates(0.0, full), rtol=1e-12)
        np.testing.assert_allclose(made.lift(made.system.initial_state()), system.initial_state())
        definitions = made.system.definitions
        assert definitions["S_UP"] == made.system.graph.symbol("S_PU")
        assert made.system.graph.symbols([definitions["total"]]) == {"S_PU"}

    def test_it_says_that_initial_values_differ(self):
        system = sir_age_groups(3).with_values({"S_1": Fraction(50), "S_2": Fraction(50)})
        observables = parse_observables(system, ["S_1"])
        made = reduce_backward(system, observables)
        assert "initial-values-differ" in made.remarks[0]
        with pytest.raises(UnsupportedModelError) as caught:
            reduce_backward(system, observables, by_initial_values=False)
        assert caught.value.reasons[0].code == "initial-values-differ"

    def test_equal_initial_values_need_no_remark(self):
        system = ring(5).with_values({f"X_{i}": Fraction(2) for i in range(1, 6)})
        made = reduce_backward(system, parse_observables(system, ["X_3"]), by_initial_values=False)
        assert made.system.states == ("X_3",)
        assert not made.remarks

    def test_initial_values_over_kept_parameters(self):
        graph = Graph()
        a, b, k, two = graph.symbol("a"), graph.symbol("b"), graph.symbol("k"), graph.number(2)
        rhs = (graph.neg(a), graph.neg(b))
        constants = (Constant("k", two),)
        system = OdeSystem(graph, ("a", "b"), (k, two), rhs, constants)
        assert reduce_backward(system, ()).system.size == 1
        kept = reduce_backward(system, (), keep=frozenset({"k"}))
        assert kept.system.size == 2
        both = OdeSystem(graph, ("a", "b"), (k, k), rhs, constants)
        assert reduce_backward(both, (), keep=frozenset({"k"})).certificate.kind == "exact-proof"

    def test_a_missing_initial_value_equals_nothing(self):
        graph = Graph()
        a, b = graph.symbol("a"), graph.symbol("b")
        unknown = graph.symbol("u")
        system = OdeSystem(graph, ("a", "b"), (unknown, unknown), (graph.neg(a), graph.neg(b)), (Constant("u", None),))
        assert reduce_backward(system, ()).system.size == 2

    @given(symmetric_networks())
    def test_the_reduced_model_follows_the_original(self, reactions):
        system = network(reactions)
        made = reduce_backward(system, parse_observables(system, ["A", "B", "C", "D"]))
        run = solve_ivp(system.rates, (0.0, 0.05), system.initial_state(), rtol=1e-10, atol=1e-12)
        small = solve_ivp(made.system.rates, (0.0, 0.05), made.system.initial_state(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(made.lift(small.y[:, -1]), run.y[:, -1], rtol=1e-6, atol=1e-8)
