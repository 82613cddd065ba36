"""Exact lumping: reference examples, hidden systems, trajectories, invariances."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from random import Random

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lumping_cases import claim_of, make
from scipy.integrate import solve_ivp
from strategies import hidden_systems, linear_text, mass_action_networks, nonzero_fractions, polynomial_systems

from sbmlump.errors import LimitError, UnsupportedModelError, UsageError
from sbmlump.examples import (
    clue_example,
    michaelis_menten,
    multisite,
    rational_example,
    ring,
    sir_age_groups,
    squares_example,
)
from sbmlump.jobs import reduce
from sbmlump.methods import closure_problem, invariant_dimension, smallest_invariant_space
from sbmlump.model import ExactProof, Graph, OdeSystem, parse_observables
from sbmlump.proof import certify


def members(reduction):
    return [dict(lump.members) for lump in reduction.lumps]


def rank(rows, states):
    table = [[flint.fmpq(*Fraction(row.get(s, 0)).as_integer_ratio()) for s in states] for row in rows]
    return flint.fmpq_mat(table).rank() if table else 0


def assert_follows(reduction, until=1.0, rtol=1e-7):
    """The reduced trajectory is L times the original one."""
    original, small = reduction.original, reduction.system
    options = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-13, "t_eval": np.linspace(0, until, 9)}
    big = solve_ivp(original.rates, (0, until), original.initial_state(), **options)
    lumped = solve_ivp(small.rates, (0, until), small.initial_state(), **options)
    assert big.success
    assert lumped.success
    expected = reduction.project(big.y.T)
    np.testing.assert_allclose(lumped.y.T, expected, rtol=rtol, atol=rtol * max(1.0, float(np.abs(expected).max())))


# -- reference examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "size", "pool"),
    [
        (clue_example, 2, {"x2": 1, "x3": 2}),
        (rational_example, 2, {"x2": 1, "x3": 2}),
        (squares_example, 3, {"x2": 1, "x3": 1}),
    ],
)
def test_examples_of_the_literature(build, size, pool):
    reduction = reduce(build(), ["x1"])
    assert reduction.system.size == size
    assert {"x1": 1} in members(reduction)
    assert pool in members(reduction)
    assert isinstance(reduction.certificate, ExactProof)
    assert_follows(reduction, until=0.5)


@pytest.mark.parametrize("keep", ["none", "all"])
@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_multisite_has_six_non_negative_lumps(m, keep):
    system = multisite(m)
    reduction = reduce(system, ["kinase"], keep_parameters=keep)
    assert reduction.system.size == 6
    assert reduction.matrix.non_negative
    assert all(value.denominator == 1 for row in members(reduction) for value in row.values())
    if m > 1:
        # the enzymes, and the numbers of sites in each of the four states: every configuration counts its sites
        sums = sorted(sum(row.values()) for row in members(reduction))
        assert sums == sorted([1, 1, *[m * 4 ** (m - 1)] * 4])
    if m < 4:
        assert_follows(reduction)


def test_sums_over_age_groups():
    reduction = reduce(sir_age_groups(4), ["everyone = I_1 + I_2 + I_3 + I_4"])
    assert reduction.system.size == 2
    assert {f"S_{i}": 1 for i in range(1, 5)} in members(reduction)
    assert_follows(reduction)


def test_one_group_needs_the_sums_besides():
    reduction = reduce(sir_age_groups(5), ["S_1"])
    assert reduction.system.size == 3
    assert_follows(reduction)


def test_ring_and_enzyme():
    assert reduce(ring(4), ["X_1 + X_3"]).system.size == 2
    assert reduce(ring(4), ["X_1"]).system.size == 3
    enzyme = reduce(michaelis_menten(), ["S"])
    assert enzyme.system.size == 3
    assert {s for row in members(enzyme) for s in row} == {"E", "S", "ES"}


# -- hidden systems -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(hidden_systems())
def test_hidden_polynomial_systems_are_found(hidden):
    reduction = reduce(hidden.system, [hidden.observable])
    assert reduction.system.size <= hidden.small.size
    assert rank([*hidden.rows, *members(reduction)], hidden.system.states) == len(hidden.rows), (
        "not inside the hidden one"
    )


@settings(max_examples=25)
@given(hidden_systems(max_degree=1, max_extra=6))
def test_hidden_linear_systems_are_found(hidden):
    assert reduce(hidden.system, [hidden.observable]).system.size <= hidden.small.size


@settings(max_examples=25)
@given(hidden_systems(max_extra=3, turns=5), st.integers(1, 5))
def test_hidden_rational_systems_are_found(hidden, c):
    """Divide every rate by 1 + c·y₁², a function of the hidden variables only: rational, as small as before."""
    system = hidden.system
    g = system.graph
    y1 = g.add(g.mul((g.number(v), g.symbol(s))) for s, v in hidden.rows[0].items())
    below = g.add((g.number(1), g.mul((g.number(c), g.pow(y1, g.number(2))))))
    slowed = replace(system, rhs=tuple(g.div(rate, below) for rate in system.rhs))
    reduction = reduce(slowed, [hidden.observable])
    assert reduction.system.size <= hidden.small.size
    assert isinstance(certify(claim_of(reduction), 99), ExactProof)


@settings(max_examples=25)
@given(hidden_systems(max_degree=1, max_extra=3))
def test_trajectories_of_hidden_linear_systems(hidden):
    assert_follows(reduce(hidden.system, [hidden.observable]), until=0.25)


@settings(max_examples=25)
@given(mass_action_networks(), st.integers(0, 4))
def test_networks_follow_their_original(network, pick):
    observed = network.states[pick % network.size]
    reduction = reduce(network, [observed])
    assert_follows(reduction, until=0.02)
    definitions = reduction.system.definitions
    assert observed in definitions


# -- invariances ----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(hidden_systems(max_extra=3), st.randoms(use_true_random=False))
def test_order_of_states_does_not_matter(hidden, rnd):
    system = hidden.system
    order = list(range(system.size))
    rnd.shuffle(order)
    shuffled = replace(
        system,
        states=tuple(system.states[i] for i in order),
        initial=tuple(system.initial[i] for i in order),
        rhs=tuple(system.rhs[i] for i in order),
    )
    first, second = reduce(system, [hidden.observable]), reduce(shuffled, [hidden.observable])
    assert first.system.size == second.system.size
    assert rank([*members(first), *members(second)], system.states) == first.system.size


@settings(max_examples=25)
@given(hidden_systems(max_extra=3))
def test_reducing_twice_changes_nothing(hidden):
    first = reduce(hidden.system, [hidden.observable])
    if not first.reducible:
        return
    names = [o.id for o in first.observables]
    second = reduce(first.system, names)
    assert second.system.size == first.system.size
    assert not second.reducible


@settings(max_examples=15)
@given(hidden_systems(max_extra=3), st.integers(1, 1_000))
def test_seeds_give_the_same_reduction(hidden, seed):
    first, second = reduce(hidden.system, [hidden.observable]), reduce(hidden.system, [hidden.observable], seed=seed)
    assert first.lumps == second.lumps
    assert first.system.rhs == second.system.rhs


@settings(max_examples=20)
@given(polynomial_systems(min_states=2, max_states=4), nonzero_fractions)
def test_a_multiple_of_an_observable_asks_for_no_more(system, factor):
    name = system.states[0]
    plain = reduce(system, [name])
    scaled = reduce(system, [linear_text({name: factor})])
    assert plain.system.size == scaled.system.size


@settings(max_examples=20)
@given(mass_action_networks())
def test_more_observables_never_need_fewer_lumps(network):
    one = reduce(network, [network.states[0]])
    two = reduce(network, [network.states[0], network.states[1]])
    every = reduce(network, list(network.states))
    assert one.system.size <= two.system.size <= every.system.size == network.size


# -- kinds of observables -------------------------------------------------------------------------------

SPLIT = {"a": "-k*a*(b + c)", "b": "k*a*c - 2*b", "c": "k*a*b - 2*c", "d": "b - d"}


@pytest.mark.parametrize(
    ("observed", "size"),
    [
        (["a"], 2),
        (["b + c"], 2),
        (["(b + c)/a"], 2),
        (["a*(b + c)^2"], 2),
        (["exp(b + c)"], 2),
        (["b*c"], 3),
        (["b/c"], 3),
        (["d"], 4),
        (["a", "b + c"], 2),
        (["a", "b - c"], 3),
        (["flow"], 2),
        (["share"], 3),
    ],
)
def test_observables_of_every_kind(observed, size):
    system = make(SPLIT, {"a": 1, "b": 2, "c": "1/2"}, {"k": "1/3"}, {"flow": "k*a*(b + c)", "share": "b/(b + c)"})
    reduction = reduce(system, observed)
    assert reduction.system.size == size
    definitions = reduction.system.definitions
    for observable in reduction.observables:
        assert observable.id in definitions
    if reduction.reducible:
        assert_follows(reduction)
        assert_observables_agree(reduction)


def assert_observables_agree(reduction):
    from sbmlump.model import Evaluator

    big, small = reduction.original, reduction.system
    x = np.random.default_rng(0).uniform(0.5, 2, (5, big.size))
    left = Evaluator(big.graph, [o.expression for o in reduction.observables], big.states, big.constant_values)
    nodes = [small.definitions[o.id] for o in reduction.observables]
    right = Evaluator(small.graph, nodes, small.states, small.constant_values)
    np.testing.assert_allclose(right.values(1.5, reduction.project(x)), left.values(1.5, x), rtol=1e-10)


def test_the_flux_of_a_reaction():
    reduction = reduce(michaelis_menten(), ["r1"])
    assert "r1" in {a.id for a in reduction.system.assigned}
    assert reduction.system.size == 3
    assert_observables_agree(reduction)


def test_an_observed_state_keeps_its_id_even_inside_a_pool():
    reduction = reduce(multisite(2), ["kinase", "phosphatase", "S_UP"])
    assert {"kinase", "phosphatase", "S_UP"} <= set(reduction.system.definitions)
    assert_observables_agree(reduction)


@pytest.mark.parametrize(
    "rates",
    [
        {"a": "b + c - c", "b": "-b", "c": "a"},
        {"a": "b*(c - c) + 2*b", "b": "-b", "c": "a"},
        {"a": "(b + 2*c + 3) - (2*c + b) + d", "b": "a", "c": "a", "d": "-d"},
        {"a": "b/(1 + c - c)", "b": "-b", "c": "a"},
    ],
)
def test_what_cancels_is_not_needed(rates):
    reduction = reduce(make(rates), ["a"])
    assert reduction.system.size == 2
    assert not any("c" in lump.members for lump in reduction.lumps)
    assert_follows(reduction)


def test_a_constant_of_motion_is_not_removed():
    system = make({"a": "-a + b", "b": "a - b"})
    assert reduce(system, ["a"]).system.size == 2
    assert reduce(system, ["a + b"]).system.size == 1


def test_observing_a_constant_is_refused_or_answered():
    """It is no observable of the contract; whatever is said, it must not be a fault."""
    try:
        reduction = reduce(michaelis_menten(), ["k1"])
    except (UsageError, UnsupportedModelError):
        return
    assert "k1" in reduction.system.definitions


def test_the_same_thing_twice():
    reduction = reduce(clue_example(), ["x1", "x1", "again = x1"])
    assert [o.id for o in reduction.observables] == ["x1", "again"]
    assert reduction.system.size == 2


# -- time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "observed", "size"),
    [
        ({"a": "b + c + time", "b": "time*c", "c": "time*b"}, "a", 2),
        ({"a": "b*time + c", "b": "0", "c": "0"}, "a", 3),
        ({"a": "sin(time)*(b + 2*c)", "b": "-b", "c": "-c"}, "a", 2),
        ({"a": "1/(1 + time)", "b": "a"}, "a", 1),
        ({"a": "exp(-time)*(b + c)/(time + b + c)", "b": "c", "c": "b"}, "a", 2),
    ],
)
def test_time_dependent_right_hand_sides(rates, observed, size):
    reduction = reduce(make(rates), [observed])
    assert reduction.system.size == size
    if reduction.reducible:
        assert_follows(reduction)
        assert isinstance(certify(claim_of(reduction), 3), ExactProof)


# -- constants kept -------------------------------------------------------------------------------------

KEPT = {"x": "p*a + q*b", "a": "-r*a", "b": "-r*b"}


@pytest.mark.parametrize(
    ("keep", "size"),
    [("none", 2), ("all", 3), (["p"], 3), (["r"], 2), ("p,q", 3), (["q"], 3)],
)
def test_keeping_constants(keep, size):
    system = make(KEPT, constants={"p": 2, "q": 2, "r": "1/4"})
    reduction = reduce(system, ["x"], keep_parameters=keep)
    assert reduction.system.size == size
    if reduction.reducible:
        assert set(reduction.certificate.symbolic) <= {"p", "q", "r"}
        assert_follows(reduction)
        # for other values of what was kept, the same L must do
        kept = (
            set()
            if keep == "none"
            else {"p", "q", "r"}
            if keep == "all"
            else set(",".join(keep).split(",")) & {"p", "q", "r"}
        )
        changed = {name: Fraction(7, 5) for name in kept}
        other = replace(
            reduction, original=reduction.original.with_values(changed), system=reduction.system.with_values(changed)
        )
        assert_follows(other)


def test_lumps_of_kept_constants_do_not_count():
    system = make({"x": "(p + q)*(a + b)", "a": "0", "b": "0"}, constants={"p": 2, "q": 3})
    reduction = reduce(system, ["x"], keep_parameters="all")
    assert reduction.system.size == 2
    assert_follows(reduction)


def test_a_constant_computed_from_a_kept_one():
    """k2 := 2·k1 by an initial assignment: keeping k1 must neither fail nor freeze k2 in one of the two models."""
    system = make({"x": "k1*(a + b) + k2", "a": "0", "b": "0"}, constants={"k1": 3, "k2": "2*k1"})
    for keep in (["k1"], ["k2"], "all"):
        reduction = reduce(system, ["x"], keep_parameters=keep)
        assert reduction.system.size == 2
        assert_follows(reduction)


def test_an_unknown_constant_is_named():
    with pytest.raises(UsageError) as caught:
        reduce(clue_example(), ["x1"], keep_parameters=["nosuch"])
    assert caught.value.reasons[0].code == "unknown-parameter"
    assert caught.value.reasons[0].element == "nosuch"


# -- lifts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rates",
    [
        {"a": "ln(b)*(b + c)/b + ln(c)*(b + c)/c", "b": "0", "c": "0"},
        {"a": "(b + c)^2/(b + c)", "b": "b/(b*c)*c", "c": "1"},
        {"a": "exp(b)*exp(c)", "b": "-1", "c": "-1"},
        {"a": "(b*b - c*c)/(b - c)", "b": "-b", "c": "-c"},
        {"a": "1/(b*c)*(b*c)*(b + c)", "b": "-b", "c": "-c"},
        {"a": "(b + c)/(1 + d - d)", "b": "-b", "c": "-c", "d": "1"},
    ],
)
def test_a_point_is_found_where_every_node_is_defined(rates):
    reduction = reduce(make(rates), ["a"])
    assert_follows(reduction, until=0.3)
    assert isinstance(certify(claim_of(reduction), 11), ExactProof)


def test_a_start_at_rest_is_no_obstacle():
    """Rates that cancel to zero at the start leave rounding noise only, which must not be taken for a difference."""
    system = make(
        {"a": "d/3 - 7*a/10", "b": "d/3 - 7*b/10", "c": "d/3 - 7*c/10", "d": "7*(a + b + c)/10 - d"},
        {"a": "1/10", "b": "1/5", "c": "3/10", "d": "42/100"},
    )
    assert reduce(system, ["d"]).system.size == 2


@settings(max_examples=30)
@given(st.lists(st.integers(1, 99), min_size=3, max_size=5), st.integers(1, 9))
def test_a_chain_at_rest_is_no_obstacle(amounts, k):
    names = [f"s{i}" for i in range(len(amounts))]
    rates = {name: f"p/{len(names)} - {k}/10*{name}" for name in names}
    rates["p"] = f"{k}/10*({' + '.join(names)}) - p"
    start = {name: f"{value}/100" for name, value in zip(names, amounts, strict=True)}
    start["p"] = str(Fraction(k * sum(amounts), 1000))
    assert reduce(make(rates, start), ["p"]).system.size == 2


def test_undefined_everywhere_is_refused():
    with pytest.raises(UnsupportedModelError) as caught:
        reduce(make({"a": "b/(b - b)", "b": "a"}), ["a"])
    assert caught.value.reasons[0].code == "undefined-right-hand-side"


def test_a_constant_without_value_is_named():
    system = make({"a": "k*b", "b": "0"}, constants={"k": 1})
    from sbmlump.model import Constant

    with pytest.raises(UnsupportedModelError) as caught:
        reduce(replace(system, constants=(Constant("k", None),)), ["a"])
    assert caught.value.reasons[0].element == "k"


def test_initial_values_may_be_missing():
    graph = Graph()
    a, k = map(graph.symbol, "ak")
    from sbmlump.model import Constant

    system = OdeSystem(graph, ("a", "b"), (k, graph.number(1)), (graph.neg(a), a), (Constant("k", None),), id="missing")
    reduction = reduce(system, ["a"])
    assert reduction.system.size == 1


def test_large_coefficients_need_more_primes():
    big = 10**40 + 7
    reduction = reduce(make({"a": f"b + {big}/3*c", "b": "-b", "c": "-c"}, {"b": 0, "c": 0}), ["a"])
    assert reduction.system.size == 2
    assert {"b": 3, "c": big} in members(reduction)


def test_empty_and_single_systems():
    assert reduce(make({"a": "-a"}), ["a"]).system.size == 1
    assert reduce(make({"a": "0", "b": "0"}), ["a"]).system.size == 1


def test_names_of_lumps_are_valid_and_new():
    system = make({"a": "b + c", "b": "-b", "c": "-c", "pool_b_c": "1"})
    reduction = reduce(system, ["a"])
    names = reduction.system.states
    assert all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
    assert "pool_b_c" not in names, "the id of a species must not come to mean a pool"
    assert len(set(names)) == len(names)


def test_proofs_say_how_sure_they_are():
    """Below 1e-18 or deterministic, or no proof."""
    for system, observed in (
        (rational_example(), "x1"),
        (multisite(3), "kinase"),
        (make({"a": "(b + c)^40/(1 + (b + c)^39)", "b": "-b", "c": "-c"}, {"b": "1/9", "c": "1/9"}), "a"),
        (make({"a": "exp(b + c)", "b": "-b", "c": "-c"}), "a"),
    ):
        proof = reduce(system, [observed]).certificate
        assert proof.failure_probability < 1e-18
        assert (proof.method == "expansion") == (proof.failure_probability == 0.0)


def test_a_degree_too_high_to_test_is_not_called_proved():
    """(u^60000)^60000: the bound of Schwartz and Zippel says nothing at 31 bits."""
    from sbmlump.errors import SbmlumpError

    system = make({"a": "((b + c)^60000)^60000", "b": "0", "c": "0"}, {"b": "1/4", "c": "1/4"})
    refusal = None
    try:
        proof = reduce(system, ["a"]).certificate
    except SbmlumpError as error:
        refusal = error
    assert refusal.exit_code != 70 if refusal is not None else proof.failure_probability < 1e-18


def test_the_proof_names_the_constants_it_rests_on_and_no_others():
    system = make(
        {"x": "-k*x + a*(y + z)", "y": "-m*y", "z": "-m*z", "w": "unused*x"},
        constants={"k": 1, "a": 2, "m": 3, "unused": 4, "scale": 5},
        assigned={"seen": "scale*x"},
    )
    reduction = reduce(system, ["seen"])
    assert reduction.system.size == 2
    assert reduction.certificate.valid_for == {}
    assert reduction.certificate.holds_for == "all-parameter-values"
    assert set(reduction.certificate.symbolic) == {"k", "a", "m", "unused", "scale"}

    system = make(
        {"x": "-k*x + a*(y + z)", "y": "-m*y", "z": "-n*z", "w": "unused*x"},
        constants={"k": 1, "a": 2, "m": 3, "n": 3, "unused": 4, "scale": 5},
        assigned={"seen": "scale*x"},
    )
    reduction = reduce(system, ["seen"])
    assert reduction.system.size == 2
    assert reduction.certificate.valid_for == {"m": "3", "n": "3"}
    assert reduction.certificate.holds_for == "file-values"
    assert set(reduction.certificate.symbolic) == {"k", "a", "unused", "scale"}


def chain(digits, random):
    """A reversible chain fed by two species that never change, with rate constants of so many digits."""

    def rate():
        return Fraction(random.randint(10 ** (digits - 1), 10**digits), 10 ** (digits - 1))

    total = {f"x{i}": "" for i in range(5)} | {"s0": "", "s1": ""}
    for i in range(4):
        there, back = rate(), rate()
        total[f"x{i}"] += f" - ({there})*x{i} + ({back})*x{i + 1}"
        total[f"x{i + 1}"] += f" + ({there})*x{i} - ({back})*x{i + 1}"
    for source, targets in (("s0", (1, 2)), ("s1", (1, 3))):
        for i in targets:
            total[f"x{i}"] += f" + ({rate()})*{source}"
    return make({name: f"0 {text}" for name, text in total.items()})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("observed", ["x0", "x4"])
def test_coefficients_of_many_digits(seed, observed):
    """A row space whose echelon form has rationals of 40 digits and more: lifted, proved, and given short rows."""
    reduction = reduce(chain(9, Random(seed)), [observed])
    assert reduction.system.size == 6
    assert max(abs(value).bit_length() for row in reduction.matrix.rows for value in map(int, row.values())) < 60


def two_sites(levels, digits, random):
    """A complex with two sites of the same kind, each climbing the same ladder with rate constants of so many digits.

    Its rates are a Kronecker sum, so that the state (0, 1) needs levels·(levels + 1)/2 combinations: those of the
    symmetric part, mixed with the ladder's own numbers.
    """

    def rates():
        return [Fraction(random.randint(10 ** (digits - 1), 10**digits), 10**digits) for _ in range(levels - 1)]

    up, down = rates(), rates()
    total = {f"c{i}_{j}": "" for i in range(levels) for j in range(levels)}
    for i in range(levels):
        for k in range(levels - 1):
            for low, high in ((f"c{i}_{k}", f"c{i}_{k + 1}"), (f"c{k}_{i}", f"c{k + 1}_{i}")):
                flux = f"{up[k]}*{low} - {down[k]}*{high}"
                total[low] += f" - ({flux})"
                total[high] += f" + ({flux})"
    start = {name: f"{1 + i % 7}/4" for i, name in enumerate(total)}
    return make({name: f"0 {text}" for name, text in total.items()}, start)


def longest_entry(rows):
    return max(max(v.numerator.bit_length(), v.denominator.bit_length()) for row in rows for v in row.values())


@pytest.mark.parametrize(("levels", "digits"), [(8, 3), (9, 5)])
def test_short_rows_where_the_echelon_form_is_long(levels, digits):
    """The echelon form has entries of hundreds of digits; what is given has some ten, in rows and right-hand sides."""
    system = two_sites(levels, digits, Random(levels))
    reduction = reduce(system, ["c0_1"])
    m = levels * (levels + 1) // 2
    assert reduction.system.size == m
    rows = [dict(row) for row in reduction.matrix.rows]
    assert longest_entry(rows) <= 64
    assert flint.fmpz_mat([[int(row.get(j, 0)) for j in range(system.size)] for row in rows]).rank() == m
    square = flint.fmpz_mat([[int(row.get(j, 0)) for j in range(system.size)] for row in rows]).rref()[0]
    assert max(abs(int(v)).bit_length() for v in square.entries()) > 150, "the model is no longer one of this kind"
    assert_follows(reduction)


def test_lifted_rows_are_the_invariant_space():
    """Held against the Krylov space of the matrix over Q, computed without primes."""
    system = two_sites(9, 7, Random(5))
    problem = closure_problem(system, parse_observables(system, ["c0_1"]), frozenset())
    space, restricted, columns = smallest_invariant_space(problem)
    assert restricted.n_states == system.size == 81
    place = {system.graph.symbol(name): j for j, name in enumerate(system.states)}
    matrix = [[0] * 81 for _ in range(81)]
    for i, node in enumerate(system.rhs):
        for term, value in system.graph.linear_terms(node).items():
            matrix[i][place[term]] = int(value * 10**7)
    jacobian = flint.fmpz_mat(matrix)
    row = flint.fmpz_mat([[int(name == "c0_1") for name in system.states]])
    krylov = []
    for _ in range(46):
        krylov.append([int(v) for v in row.entries()])
        row = row * jacobian
    lifted = [[0] * 81 for _ in space.rows]
    for i, entries in enumerate(space.rows):
        for j, value in entries.items():
            assert value.denominator == 1
            lifted[i][int(columns[j])] = int(value)
    assert len(space.rows) == flint.fmpz_mat(krylov).rank() == 45
    assert flint.fmpz_mat(krylov + lifted).rank() == 45
    on_pivots = flint.fmpz_mat([[row[int(columns[j])] for j in space.pivots] for row in lifted])
    assert on_pivots.det() != 0


def test_rows_that_are_too_long_are_refused_with_their_number():
    system = two_sites(6, 9, Random(2))
    problem = closure_problem(system, parse_observables(system, ["c0_1"]), frozenset())
    with pytest.raises(LimitError) as caught:
        smallest_invariant_space(problem, most_primes=6)
    assert caught.value.reasons[0].code == "coefficients-too-large"
    assert "21 of 36 states" in caught.value.reasons[0].message


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("nodes", [5, 40, 90])
def test_the_space_of_a_linear_network_is_that_of_its_powers(nodes, seed):
    """Against the rank of c, cA, cA², … by FLINT, modulo a prime of its own."""
    random = Random(1000 * nodes + seed)
    edges = {(random.randrange(nodes), random.randrange(nodes)) for _ in range(2 * nodes)}
    weights = {edge: random.randint(1, 10**6) for edge in sorted(edges)}
    graph = Graph()
    symbols = [graph.symbol(f"x{i}") for i in range(nodes)]
    terms = [[graph.scaled(w, symbols[j]) for (j, i), w in weights.items() if i == target] for target in range(nodes)]
    system = OdeSystem(
        graph,
        tuple(f"x{i}" for i in range(nodes)),
        tuple(graph.number(1) for _ in range(nodes)),
        tuple(graph.add(each) for each in terms),
    )
    prime = 2147483629
    row = [int(i == 0) for i in range(nodes)]
    powers = []
    for _ in range(nodes):
        powers.append(row)
        row = [sum(row[i] * weights.get((j, i), 0) for i in range(nodes)) % prime for j in range(nodes)]
    problem = closure_problem(system, parse_observables(system, ["x0"]), frozenset())
    assert invariant_dimension(problem) == flint.nmod_mat(powers, prime).rank()
    reset = replace(problem, resets=(tuple(problem.variables),))  # an event that changes nothing: the general search
    assert invariant_dimension(reset) == invariant_dimension(problem)
