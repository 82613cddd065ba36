"""Functions without a rational value: no lumping is invented from a false identity, true ones are found.

The oracle is independent: Jacobians in floating point, ranks by SVD, no hashes and no exact numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
from lumping_cases import claim_of, make, numeric_size, numeric_space, orthonormal

from sbmlump.jobs import reduce
from sbmlump.model import ExactProof
from sbmlump.proof import certify

FALSE_IDENTITIES = [
    "abs(u)/u",
    "sqrt(u^2)/u",
    "(u^2)^(1/2)/u",
    "(u^6)^(1/6)/u",
    "(u^4)^0.25/u",
    "(u^2)^1.5/u^3",
    "sqrt(u^2) - u",
    "abs(u) - u",
    "floor(u)",
    "ceiling(u)",
    "floor(u) - ceiling(u)",
    "quotient(u, 2)",
    "rem(u, 2) - u",
    "max(u, 0) - u",
    "min(u, 1)",
    "max(u, 1/2)/u",
    "abs(u)*abs(u)/u",
    "factorial(floor(u))",
    "floor(u)*u - u*ceiling(u)",
    "(u^2)^(v/(2*v))/u",
    "(u^2)^((v + 1/2) - v)/u",
    "(u^2)^k/u^(2*k)/u",
    "arctan(u) + arctan(1/u)",
    "arcsin(sin(u)) - u",
    "exp(ln(u^2)/2)/u",
    "exp(ln(u*v*u*v)/2)/(u*v)",
    "exp(-ln(1/u^4)/4)/u",
    "exp(ln((u - v)^2)/2)/(u - v)",
]


@pytest.mark.parametrize("text", FALSE_IDENTITIES)
def test_no_lumping_from_a_false_identity(text):
    """u changes sign; whatever is made of it above is not constant over all u, so u has to stay."""
    system = make({"a": text, "u": "-1", "v": "1"}, {"u": 3, "v": 2}, {"k": "1/2"})
    reduction = reduce(system, ["a"])
    assert any("u" in lump.members for lump in reduction.lumps), "u was lost"
    kept = reduce(system, ["a"], keep_parameters="all")
    assert any("u" in lump.members for lump in kept.lumps), "u was lost with k kept"


def test_what_holds_on_one_side_of_a_singularity_only_is_no_lumping():
    """At the start, u < −1, the last term is −1; at positive states it is 1."""
    system = make({"a": "1 - a + exp(ln(u^2 + 2*u + 1)/2)/(u + 1)", "u": "-1"}, {"u": -3})
    assert not reduce(system, ["a"]).reducible


@pytest.mark.parametrize(
    "condition", ["floor(b)", "abs(b - c)", "max(b, c)", "min(b, 2)", "ceiling(c)*0 + floor(b + 1/2)"]
)
def test_jumps_keep_what_they_depend_on(condition):
    reduction = reduce(make({"a": condition, "b": "1", "c": "-1"}), ["a"])
    assert any("b" in lump.members for lump in reduction.lumps)


@pytest.mark.parametrize("text", ["floor(b + c)", "ceiling(2*b + 2*c)", "rem(b + c, 2)*abs(b + c)"])
def test_jumps_over_a_pool_are_lumped(text):
    """Slopes are 0 in floating point, so numbers cannot say what is needed here."""
    reduction = reduce(make({"a": text, "b": "-b", "c": "-c"}), ["a"])
    assert {"b": 1, "c": 1} in [dict(lump.members) for lump in reduction.lumps]
    assert reduction.system.size == 2


def _piecewise(build):
    system = make({"a": "0", "b": "-b", "c": "-c", "d": "1"})
    g = system.graph
    b, c, d = map(g.symbol, "bcd")
    from dataclasses import replace

    return replace(system, rhs=(build(g, b, c, d), *system.rhs[1:]))


def test_the_condition_of_a_branch_counts():
    def build(g, b, c, d):
        return g.piecewise([(g.number(1), g.call("lt", (b, c)))], g.number(2))

    reduction = reduce(_piecewise(build), ["a"])
    assert {s for lump in reduction.lumps for s in lump.members} == {"a", "b", "c"}
    assert reduction.system.size == 3  # lt(b, c) is generic in both: b - c is not invented, see below


def test_a_branch_over_a_pool_is_lumped():
    def build(g, b, c, d):
        total = g.add((b, c))
        return g.piecewise(
            [(total, g.call("lt", (total, g.number(1)))), (g.number(2), g.call("gt", (d, total)))], total
        )

    reduction = reduce(_piecewise(build), ["a"])
    assert reduction.system.size == 3
    assert {"b": 1, "c": 1} in [dict(lump.members) for lump in reduction.lumps]
    assert isinstance(certify(claim_of(reduction), 5), ExactProof)


def test_equal_branches_do_not_hide_a_condition_with_different_values():
    def build(g, b, c, d):
        gate = g.call("lt", (d, g.number(5)))
        return g.mul((g.piecewise([(b, gate)], c), g.number(2)))

    reduction = reduce(_piecewise(build), ["a"])
    assert reduction.system.size == 4


TRUE_LUMPINGS = [
    ({"a": "exp(b)*exp(c)", "b": "-1", "c": "1"}, "a"),
    ({"a": "exp(b)*exp(2*c)", "b": "c", "c": "-c/2"}, "a"),
    ({"a": "exp(b)/exp(c)", "b": "d", "c": "d", "d": "-d"}, "a"),
    ({"a": "exp(-b - c)", "b": "-b", "c": "-c"}, "a"),
    ({"a": "ln(b + 2*c)", "b": "-b", "c": "-c"}, "a"),
    ({"a": "ln((b + c)*d)", "b": "-b", "c": "-c", "d": "-d"}, "a"),
    ({"a": "(b + c)^1.7", "b": "-b", "c": "-c"}, "a"),
    ({"a": "(b + c)^(1/2)*(b + c)^(3/2)", "b": "-b", "c": "-c"}, "a"),
    ({"a": "(b + c)^d", "b": "-b", "c": "-c", "d": "1"}, "a"),
    ({"a": "2^b*2^c", "b": "-b", "c": "-c"}, "a"),
    ({"a": "(b + c)^n/(k^n + (b + c)^n)", "b": "-b", "c": "-c"}, "a"),
    ({"a": "sin(b + c)*cos(b + c)", "b": "-b", "c": "-c"}, "a"),
    ({"a": "abs(b - c)", "b": "b", "c": "c"}, "a"),
    ({"a": "b + c", "b": "b*exp(b + c)", "c": "c*exp(b + c)"}, "a"),
    ({"a": "max(b + c, d)", "b": "d - b", "c": "-c", "d": "-d"}, "a"),
    ({"a": "tanh(b) + tanh(c)", "b": "-b", "c": "-c"}, "a"),
    ({"a": "exp(b)*c", "b": "-1", "c": "-c"}, "a"),
    ({"a": "arctan(b)", "b": "c + d", "c": "-sin(c + d)", "d": "sin(c + d)"}, "a"),
]


@pytest.mark.parametrize(("rates", "observed"), TRUE_LUMPINGS)
def test_size_against_numeric_ranks(rates, observed):
    system = make(rates, constants={"n": "5/2", "k": 3})
    reduction = reduce(system, [observed])
    unit = np.eye(system.size)[[system.state_index[observed]]]
    assert reduction.system.size == numeric_size(system, unit)


@pytest.mark.parametrize(("rates", "observed"), TRUE_LUMPINGS)
def test_rows_are_invariant_numerically(rates, observed):
    system = make(rates, constants={"n": "5/2", "k": 3})
    reduction = reduce(system, [observed])
    matrix = reduction.matrix.array()
    space = orthonormal(matrix)
    generator = np.random.default_rng(8)
    for _ in range(10):
        moved = matrix @ system.jacobian(0.7, generator.uniform(0.2, 3, system.size)).toarray()
        left = moved - moved @ space.T @ space
        assert np.abs(left).max() <= 1e-9 * max(1.0, np.abs(moved).max())
    assert np.abs(space - space @ numeric_space(system, matrix).T @ numeric_space(system, matrix)).max() < 1e-8


@pytest.mark.parametrize(("rates", "observed"), TRUE_LUMPINGS)
def test_reduced_rates_are_the_lumped_ones(rates, observed):
    system = make(rates, constants={"n": "5/2", "k": 3})
    reduction = reduce(system, [observed])
    x = np.random.default_rng(9).uniform(0.2, 3, (20, system.size))
    np.testing.assert_allclose(
        reduction.system.rates(0.3, reduction.project(x)), reduction.project(system.rates(0.3, x)), rtol=1e-9, atol=1e-9
    )


def test_certificates_name_the_functions():
    proof = reduce(make({"a": "exp(b + c)", "b": "-b", "c": "-c"}), ["a"]).certificate
    assert proof.heuristic is not None
    assert "exp" in proof.heuristic
    assert reduce(make({"a": "b + c", "b": "-b", "c": "-c"}), ["a"]).certificate.heuristic is None


def test_irrational_constants():
    """ln 2 and pi stay symbols; where L itself would need their value, the certificate says a double stands in."""
    system = make({"a": "k*b + k*c", "b": "-b", "c": "-c"}, constants={"k": "ln(2)"})
    reduction = reduce(system, ["a"])
    assert {"b": 1, "c": 1} in [dict(lump.members) for lump in reduction.lumps]


@pytest.mark.parametrize("k", ["ln(2)", "2^(1/2)", "exp(1)"])
def test_where_the_lumping_needs_the_value_of_an_irrational_constant(k):
    """exact.md: the double stands in and the certificate says so."""
    needed = reduce(make({"a": "k*b + c", "b": "-b", "c": "-c"}, constants={"k": k}), ["a"])
    assert needed.system.size == 2
    assert "double" in (needed.certificate.heuristic or "")
