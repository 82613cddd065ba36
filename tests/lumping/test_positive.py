"""Arguments of roots as powers of one root: the same values, and proofs that hold on the whole domain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from lumping_cases import make

from sbmlump.jobs import reduce
from sbmlump.model import Evaluator, ExactProof, Graph, parse_expression
from sbmlump.proof import with_positive_arguments

BASES = ("x", "y", "(x + 2*y)", "(x - y)", "(x*y)", "x^2", "(x - y)^3", "exp(x)*y")
PARTS = (
    "{0}^(1/2)",
    "{0}^(-2/3)",
    "{0}^(5/4)",
    "sqrt({0})^3",
    "ln({0})",
    "exp(ln({0})/2 + y)",
    "exp(-3*ln({0}))",
    "{0}",
)


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(BASES)), min_size=1, max_size=4))
@examples(max_examples=60)
def test_values_stay_wherever_there_are_any(parts):
    """On both sides of every singularity, the rewritten expression has the value of the original one."""
    text = "*".join(f"({part.format(base)} + 1)" for part, base in parts)
    g = Graph()
    root = parse_expression(g, text, {name: g.symbol(name) for name in "xy"})
    other = with_positive_arguments(g, [root])[0]
    points = np.random.default_rng(3).uniform(-3.0, 3.0, (60, 2))
    with np.errstate(all="ignore"):
        before, after = (Evaluator(g, [node], ("x", "y"), {}).values(0.0, points)[:, 0] for node in (root, other))
    known = np.isfinite(before)
    assert after[known] == pytest.approx(before[known], rel=1e-9)


@pytest.mark.parametrize("text", ["x^2/(1 + x)", "exp(x) + sin(y)", "ln(x*y)", "abs(x)^3"])
def test_what_has_no_roots_stays_as_it_is(text):
    g = Graph()
    root = parse_expression(g, text, {name: g.symbol(name) for name in "xy"})
    assert with_positive_arguments(g, [root]) == [root]


def reduced(text, **more):
    rates = {"a": f"{text} - a/3", "u": "v - u", "v": "-v/2", **more}
    return reduce(make(rates, {"a": 1, "u": 4, "v": 1}), ["a"])


@pytest.mark.parametrize(
    "text",
    [
        "sqrt(u)^2 - u",
        "sqrt(u)*sqrt(u)/u",
        "u^(3/4)*u^(5/4)/u^2",
        "exp(ln(u)) - u",
        "exp(2*ln(u - v)) - (u - v)^2",
        "exp(ln(u*u - v))/(u*u - v)",
        "exp(ln(u)/2)^2/u",
        "(u^3)^(1/3)/u",
        "ln(sqrt(u + v)) - ln(u + v)/2",
        "ln(exp(u)*v) - u - ln(v)",
        "sin(u*v)^2 + cos(u*v)^2",
        "cosh(u)^2 - sinh(u)^2",
    ],
)
def test_identities_of_one_argument_hold_on_the_whole_domain(text):
    reduction = reduced(text)
    assert reduction.system.size == 1
    certificate = reduction.certificate
    assert isinstance(certificate, ExactProof)
    assert certificate.domain is None


@pytest.mark.parametrize(
    "text",
    [
        "sqrt(u^2 + 2*u*v + v^2)/(u + v)",
        "(u^4 + 0)^(1/4) - u",
        "sqrt(u*v)*sqrt(u/v)/u",
        "(sqrt(u^2) - u)*exp(-v)",
        "u*sqrt(1/u^2)",
        "exp(-ln(u^2 - 2*u*v + v^2)/2)*(u - v)",
    ],
)
def test_one_side_is_not_taken_for_both(text):
    assert any("u" in lump.members for lump in reduced(text).lumps)


def test_only_what_is_to_blame_is_kept():
    """One identity that holds on one side only does not cost the others beside it."""
    reduction = reduced("sqrt(u)*sqrt(v)/sqrt(u*v) + exp(ln(w^2 - 2*w*z + z^2)/2)/(w - z)", w="-w", z="-z/3")
    kept = {member for lump in reduction.lumps for member in lump.members}
    assert kept == {"a", "w", "z"}


@pytest.mark.parametrize("text", ["sin(u - v)/sin(u - v)", "exp(ln(u - v)/3)^3/(u - v)", "exp(2*ln(u - v))/(u - v)^2"])
def test_the_reduced_model_has_values(text):
    """A lift at which u − v is 0 without being written so, such as x/3 − x/3, is not taken."""
    rates = {"a": f"{text} - (a - u - v)/3 - u/2 - v/2 + 1", "u": "1 - u/2", "v": "-v/2"}
    system = make(rates, {"a": 1, "u": 4, "v": 1})
    reduction = reduce(system, ["a - u - v"])
    assert reduction.system.size == 1
    points = np.array([[3.0, 2.0, 0.5], [-7.0, 5.0, 4.0]])
    expected = reduction.project(system.rates(0.0, points))
    assert reduction.system.rates(0.0, reduction.project(points)) == pytest.approx(expected)
