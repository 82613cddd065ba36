"""The proof: true claims pass, every kind of tampering is refuted."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from lumping_cases import claim_of, make, with_map

from sbmlump.examples import clue_example, multisite
from sbmlump.jobs import reduce
from sbmlump.model import Assigned, Constant, ExactProof
from sbmlump.proof import Claim, LumpedStates, Refutation, certify, failure_bound, run_trials

SYSTEMS = {
    "polynomial": ({"a": "k*(b + 2*c)^2 - a", "b": "-k*b", "c": "-k*c"}, ["a", "twice = 2*a + b + 2*c"]),
    "rational": ({"a": "k*(b + 2*c)/(1 + a)", "b": "-k*b/(3 + a)", "c": "-k*c/(3 + a)"}, ["a", "q = a/(1 + b + 2*c)"]),
    "generic": ({"a": "exp(-b - 2*c)*k*a", "b": "-k*b*a^1.5", "c": "-k*c*a^1.5"}, ["a", "q = exp(b + 2*c)*a"]),
    "time": ({"a": "k*(b + 2*c)*time - a", "b": "-k*b", "c": "-k*c"}, ["a", "q"]),
}
KINDS = sorted(SYSTEMS)


def reduction_of(kind, keep="none"):
    rates, observed = SYSTEMS[kind]
    system = make(
        rates,
        {"a": "1/3", "b": "1/5", "c": "7/10"},
        {"k": "2/7"},
        {"q": "time*a + b + 2*c"} if kind == "time" else None,
    )
    reduction = reduce(system, observed, keep_parameters=keep)
    assert reduction.system.size == 2
    return reduction


def good_claim(kind):
    return claim_of(reduction_of(kind))


def refuted(claim, code=None):
    outcome = certify(claim, 1)
    assert isinstance(outcome, Refutation), "the tampered claim was proved"
    assert outcome.reasons
    assert all(reason.message for reason in outcome.reasons)
    if code is not None:
        assert code in {reason.code for reason in outcome.reasons}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 17])
def test_true_claims_are_proved(kind, seed):
    proof = certify(good_claim(kind), seed)
    assert isinstance(proof, ExactProof)
    assert proof.failure_probability < 1e-18
    assert (proof.heuristic is not None) == (kind == "generic")
    if proof.method == "identity-test":
        assert len(set(proof.primes)) == len(proof.primes) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_proofs_are_repeatable(kind):
    claim = good_claim(kind)
    assert certify(claim, 4) == certify(claim, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [0, 1])
def test_a_changed_coefficient_in_a_rate(kind, position):
    claim = good_claim(kind)
    g = claim.reduced.graph
    for change in (
        lambda node: g.mul((g.number(Fraction(1_000_001, 1_000_000)), node)),
        lambda node: g.add((node, g.number(Fraction(1, 10**12)))),
        lambda node: g.add((node, g.mul((g.number(Fraction(1, 10**9)), g.symbol(claim.reduced.states[1]))))),
        g.neg,
    ):
        rhs = list(claim.reduced.rhs)
        rhs[position] = change(rhs[position])
        refuted(replace(claim, reduced=replace(claim.reduced, rhs=tuple(rhs))), "right-hand-side-differs")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [0, 1])
def test_a_changed_initial_value(kind, position):
    claim = good_claim(kind)
    g = claim.reduced.graph
    initial = list(claim.reduced.initial)
    initial[position] = g.add((initial[position], g.number(Fraction(1, 10**9))))
    refuted(replace(claim, reduced=replace(claim.reduced, initial=tuple(initial))), "initial-value-differs")


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_row(kind):
    claim = good_claim(kind)
    for name, row in claim.map.rows.items():
        for member in row:
            refuted(with_map(claim, rows={**claim.map.rows, name: {**row, member: row[member] + 1}}))
        refuted(with_map(claim, rows={**claim.map.rows, name: {k: 2 * v for k, v in row.items()}}))
        refuted(with_map(claim, rows={**claim.map.rows, name: {**row, "c": row.get("c", 0) + Fraction(1, 10**6)}}))


@pytest.mark.parametrize("kind", KINDS)
def test_swapped_rows(kind):
    claim = good_claim(kind)
    (first, second), rows = claim.reduced.states, claim.map.rows
    refuted(with_map(claim, rows={first: rows[second], second: rows[first]}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_constant(kind):
    claim = good_claim(kind)
    changed = tuple(Constant(c.id, claim.reduced.graph.number(Fraction(2, 9))) for c in claim.reduced.constants)
    refuted(replace(claim, reduced=replace(claim.reduced, constants=changed)), "constant-differs")


@pytest.mark.parametrize("kind", KINDS)
def test_a_renamed_and_changed_constant(kind):
    """Not shared by id, so only the mathematics can show it."""
    claim = good_claim(kind)
    g = claim.reduced.graph
    other = g.symbol("k_other")
    rhs = g.substitute(claim.reduced.rhs, {g.symbol("k"): other})
    for value, code in ((Fraction(2, 7), None), (Fraction(2, 9), "right-hand-side-differs")):
        reduced = replace(claim.reduced, rhs=tuple(rhs), constants=(Constant("k_other", g.number(value)),))
        if code is None:
            assert isinstance(certify(replace(claim, reduced=reduced), 1), ExactProof)
        else:
            refuted(replace(claim, reduced=reduced), code)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_observable(kind):
    claim = good_claim(kind)
    g = claim.reduced.graph
    assert claim.reduced.assigned
    for change in (
        lambda n: g.mul((g.number(2), n)),
        lambda n: g.add((n, g.number(Fraction(1, 10**9)))),
        lambda n: g.number(1),
    ):
        assigned = tuple(Assigned(a.id, change(a.value)) for a in claim.reduced.assigned)
        refuted(replace(claim, reduced=replace(claim.reduced, assigned=assigned)), "observable-differs")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_observable(kind):
    claim = good_claim(kind)
    refuted(replace(claim, reduced=replace(claim.reduced, assigned=())), "observable-missing")


@pytest.mark.parametrize("kind", KINDS)
def test_an_observable_that_is_lost(kind):
    """c alone is no function of the lumps; any expression for it is wrong."""
    claim = good_claim(kind)
    pool = claim.reduced.states[1]
    reduced = replace(
        claim.reduced, assigned=(*claim.reduced.assigned, Assigned("lost", claim.reduced.graph.symbol(pool)))
    )
    lost = {**claim.observables, "lost": claim.original.graph.symbol("c")}
    refuted(replace(claim, reduced=reduced, observables=lost), "observable-differs")


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_lift(kind):
    claim = good_claim(kind)
    name = claim.reduced.states[1]
    row = claim.map.lift[name]
    refuted(with_map(claim, lift={**claim.map.lift, name: {k: v * 2 for k, v in row.items()}}), "lift-mismatch")
    refuted(with_map(claim, lift={**claim.map.lift, name: {**row, "a": Fraction(1)}}), "lift-mismatch")
    refuted(with_map(claim, offset={"b": Fraction(1)}), "lift-mismatch")
    moved = with_map(claim, offset={"b": Fraction(2), "c": Fraction(-1)})  # L·(2, -1) = 0 over b + 2c
    assert isinstance(certify(moved, 2), ExactProof)


@pytest.mark.parametrize("kind", KINDS)
def test_dependent_and_superfluous_rows(kind):
    claim = good_claim(kind)
    first, second = claim.reduced.states
    refuted(with_map(claim, rows={first: claim.map.rows[first], second: claim.map.rows[first]}))
    refuted(with_map(claim, rows={first: claim.map.rows[first], second: {}}))
    refuted(with_map(claim, rows={first: claim.map.rows[first]}), "lumping-mismatch")
    refuted(with_map(claim, rows={**claim.map.rows, "third": {"b": Fraction(1)}}), "lumping-mismatch")
    refuted(with_map(claim, rows={**claim.map.rows, second: {"nosuch": Fraction(1)}}), "unknown-member")


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_that_is_not_closed(kind):
    """b alone in place of b + 2c, with whatever rate is written for it."""
    claim = good_claim(kind)
    second = claim.reduced.states[1]
    rows = {**claim.map.rows, second: {"b": Fraction(1)}}
    reduced = claim.reduced
    g = reduced.graph
    initial = (reduced.initial[0], g.number(Fraction(1, 5)))
    claim = with_map(claim, rows=rows, lift={**claim.map.lift, second: {"b": Fraction(1)}})
    refuted(replace(claim, reduced=replace(reduced, initial=initial)))


@pytest.mark.parametrize("kind", KINDS)
def test_claims_for_all_values_of_a_constant_need_it(kind):
    kept = reduction_of(kind, keep="all")
    proof = certify(claim_of(kept, frozenset({"k"})), 1)
    assert isinstance(proof, ExactProof)
    assert proof.symbolic == ("k",)
    fixed = reduction_of(kind)
    g = fixed.system.graph
    frozen = g.substitute(fixed.system.rhs, {g.symbol("k"): g.number(Fraction(2, 7))})
    claim = claim_of(replace(fixed, system=replace(fixed.system, rhs=tuple(frozen))))
    assert isinstance(certify(claim, 1), ExactProof)
    refuted(replace(claim, symbolic=frozenset({"k"})), "right-hand-side-differs")


def test_initial_values_must_follow_kept_constants():
    """x(0) = 2·k in the original; a number in the reduced model is right at one value of k only."""
    system = make({"x": "k*(a + b)", "a": "0", "b": "0"}, {"x": "2*k"}, {"k": 3})
    reduction = reduce(system, ["x"], keep_parameters="all")
    claim = claim_of(reduction, frozenset({"k"}))
    assert isinstance(certify(claim), ExactProof)
    frozen = replace(claim.reduced, initial=(claim.reduced.graph.number(6), *claim.reduced.initial[1:]))
    assert isinstance(certify(replace(claim, reduced=frozen, symbolic=frozenset())), ExactProof)
    refuted(replace(claim, reduced=frozen), "initial-value-differs")


@pytest.mark.parametrize(
    "tamper",
    [
        lambda c: replace(
            c, reduced=replace(c.reduced, initial=(c.reduced.graph.number(10**400), *c.reduced.initial[1:]))
        ),
        lambda c: with_map(
            c, rows={n: {k: v / ((1 << 31) - 1) for k, v in row.items()} for n, row in c.map.rows.items()}
        ),
        lambda c: replace(c, reduced=replace(c.reduced, constants=(Constant("k", None),))),
        lambda c: replace(c, reduced=replace(c.reduced, constants=())),
    ],
    ids=["huge initial value", "a prime as denominator", "constant without value", "constant gone"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_claims_are_refuted_and_never_a_fault(kind, tamper):
    refuted(tamper(good_claim(kind)))


def test_rows_with_a_prime_as_factor_are_not_called_dependent():
    """Rank is taken modulo a prime; a row that vanishes there is still a row over Q."""
    prime = (1 << 31) - 1
    system = make({"a": "b", "b": "-b"})
    small = make({"y": "z", "z": "-z"}, {"y": 1, "z": 2})
    rows = {"y": {"a": Fraction(prime)}, "z": {"b": Fraction(prime)}}
    small = replace(small, initial=(small.graph.number(prime), small.graph.number(2 * prime)))
    assert isinstance(certify(Claim(system, small, LumpedStates(rows), {})), ExactProof)


def test_blame_names_the_place():
    claim = claim_of(reduce(clue_example(), ["x1"]))
    rhs = (claim.reduced.rhs[0], claim.reduced.graph.number(5))
    outcome = certify(replace(claim, reduced=replace(claim.reduced, rhs=rhs)))
    assert isinstance(outcome, Refutation)
    assert [reason.element for reason in outcome.reasons] == [claim.reduced.states[1]]


def test_a_large_polynomial_system_is_tested_at_points():
    reduction = reduce(multisite(4), ["kinase"])
    claim = claim_of(reduction)
    proof = certify(claim, 3)
    assert isinstance(proof, ExactProof)
    assert proof.failure_probability < 1e-18
    g = claim.reduced.graph
    rhs = (g.mul((g.number(Fraction(999_999, 1_000_000)), claim.reduced.rhs[0])), *claim.reduced.rhs[1:])
    refuted(replace(claim, reduced=replace(claim.reduced, rhs=rhs)), "right-hand-side-differs")


@pytest.mark.parametrize("degree", [1, 100, 10**5, 10**8])
@pytest.mark.parametrize("bits", [10, 10**5, 10**8])
def test_enough_rounds_for_the_bound(degree, bits):
    """Whatever the bound of one round, a trial that claims success is below 1e-18."""
    import numpy as np

    bound = failure_bound(degree, bits)
    assert 0 < bound <= 1
    trial = run_trials(
        lambda field, generator, points: np.zeros((2, points), dtype=np.int64), np.random.default_rng(0), bound
    )
    assert trial.wrong == ()
    if bound < 0.5:
        assert trial.failure_probability < 1e-18
        assert bound ** len(trial.primes) <= 1.0000001 * trial.failure_probability


def test_a_state_called_as_a_constant_of_the_original_is_no_symbol_of_both():
    """x' = k and k' = k with k = x: true only if the two meanings of k are taken for one."""
    original = make({"x": "k"}, {"x": "2"}, {"k": "2"})
    reduced = make({"k": "k"}, {"k": "2"}, {})
    claim = Claim(original, reduced, LumpedStates({"k": {"x": Fraction(1)}}), {}, frozenset({"k"}))
    refuted(claim, "lumping-mismatch")
