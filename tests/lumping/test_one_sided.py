"""Proofs about functions with branches: what holds on one side of a singularity only is never called proved."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from lumping_cases import make
from one_sided import contradicted, one_sided_system

from sbmlump.jobs import reduce
from sbmlump.methods import lump_exactly, reduce_forward
from sbmlump.model import ExactProof, parse_observables
from sbmlump.proof import Claim, LumpedStates, Refutation, certify


@given(st.integers(0, 10**9))
@examples(max_examples=16)
def test_no_proof_is_contradicted_on_any_side(seed):
    case = one_sided_system(Random(seed))
    reduction = lump_exactly(case.system, parse_observables(case.system, [case.observable]))
    assert not contradicted(case, reduction)


def test_a_small_region_that_no_line_meets_is_looked_at():
    """exp(ln(u·v)/2 − ln(v/u)/2)/u is −1 where u and v are negative, beside another identity that is defined there."""
    case = one_sided_system(Random(40622))
    reduction = lump_exactly(case.system, parse_observables(case.system, [case.observable]))
    assert not contradicted(case, reduction)


@pytest.mark.parametrize("seed", range(12))
def test_true_lumpings_are_found(seed):
    case = one_sided_system(Random(seed), true=True)
    reduction = lump_exactly(case.system, parse_observables(case.system, [case.observable]))
    assert reduction.system.size <= case.size, case.terms


ONE_SIDED = [
    "exp(ln(u^2 - 2*u*v + v^2)/2)/(u - v)",
    "exp(ln(u^2 + 4*u*v + 4*v^2)/2) - u - 2*v",
    "exp(ln(u^2*v^2 - 2*u*v + 1)/2)/(u*v - 1)",
    "exp((ln(u*v) - ln(u/v))/2)/v",
    "exp(ln(u^2 - 2000*u + 1000000)/2)/(u - 1000)",
    "exp(ln(u^2 - 2*u + 1)/2)/(u - 1)*exp(-v^2) + exp(-v^2)",
    # crossed twice within a few hundredths
    "exp(ln((u^2 - 2*u + 0.9999)*(u^2 - 2*u + 0.9999))/2)/(u^2 - 2*u + 0.9999)",
]


@pytest.mark.parametrize("text", ONE_SIDED)
def test_what_holds_on_one_side_only_keeps_its_variables(text):
    reduction = reduce(make({"a": f"{text} - a/10", "u": "-u", "v": "-v/100"}, {"a": 0, "u": 10, "v": 1}), ["a"])
    assert any("u" in lump.members for lump in reduction.lumps)


@pytest.mark.parametrize("text", ["{}/(u - v)", "(u - v)/{}"])
def test_a_contradiction_names_a_point(text):
    """The reduced equations are those of one side, with the very functions that a lift there gives."""
    root = "exp(ln({0}^2 - 2*{0}*{1} + {1}^2)/2)"
    original = make({"a": text.format(root.format("u", "v")) + " - a", "u": "-u", "v": "-v"}, {"a": 0, "u": 3, "v": 1})
    at_lift = text.replace("u - v", "2").format("exp(ln(9 - 6 + 1)/2)")
    reduced = make({"a": f"{at_lift} - a"}, {"a": 0})
    one = {"a": {"a": Fraction(1)}}
    claim = Claim(original, reduced, LumpedStates(one, one, {"u": Fraction(3), "v": Fraction(1)}), {})
    outcome = certify(claim, 1)
    assert isinstance(outcome, Refutation)
    (reason,) = outcome.reasons
    assert reason.code == "real-point-differs"
    assert "u = " in reason.message
    assert "v = " in reason.message


def test_the_domain_is_said_where_it_may_not_be_everything():
    local = reduce(make({"a": "ln(b*c) - ln(b) - a", "b": "-b", "c": "-c"}), ["a"]).certificate
    everywhere = reduce(make({"a": "ln(b + c) - a", "b": "-b", "c": "-c"}), ["a"]).certificate
    assert isinstance(local, ExactProof)
    assert isinstance(everywhere, ExactProof)
    assert local.domain is not None
    assert "ln" in local.domain
    assert everywhere.domain is None
    for proof in (local, everywhere):
        assert "real points" in (proof.heuristic or "")


def test_the_reduced_model_is_defined_where_the_original_is():
    """b - a vanishes at a lift that puts b to a number: the lumps then stay away from the singularity."""
    system = make({"a": "exp(2*ln(b - a))/(b - a)^2 - a", "b": "-a/3 + 2"}, {"a": 1, "b": 4})
    reduction = reduce(system, ["a"])
    assert reduction.system.size == 1
    assert reduction.system.rates(0.0, [[-9.0], [2.0], [50.0]])[:, 0] == pytest.approx([10.0, -1.0, -49.0])


def test_forward_equivalence_is_held_against_real_points():
    system = make({"a": "exp(ln(u^2 - 2*u*v + v^2)/2) - (u - v) - a", "u": "-u", "v": "-v"}, {"a": 0, "u": 3, "v": 1})
    reduction = reduce_forward(system, parse_observables(system, ["a"]))
    points = [[0.0, 1.0, 3.0], [0.0, 3.0, 1.0]]
    moved = reduction.project(system.rates(0.0, points))
    assert reduction.system.rates(0.0, reduction.project(points)) == pytest.approx(moved)
