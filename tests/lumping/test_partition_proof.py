"""The proof of an embedding accepts what is true and refutes what is not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from lumping_cases import make

from sbmlump.errors import LimitError
from sbmlump.examples import multisite
from sbmlump.methods import reduce_backward
from sbmlump.model import Assigned, Constant, ExactProof, Graph, OdeSystem, parse_observables
from sbmlump.proof import Claim, CopiedStates, Refutation, certify


def claim_for(system: OdeSystem, *observed: str) -> Claim:
    made = reduce_backward(system, parse_observables(system, observed))
    blocks = {
        name: [system.states[j] for j in row] for name, row in zip(made.system.states, made.map.lift.rows, strict=True)
    }
    return Claim(system, made.system, CopiedStates(blocks), {o.id: o.expression for o in made.observables})


@pytest.fixture
def claim() -> Claim:
    return claim_for(multisite(2), "S_PU", "total = S_PU + S_UP")


def codes(claim: Claim) -> set[str]:
    outcome = certify(claim)
    assert isinstance(outcome, Refutation)
    return {reason.code for reason in outcome.reasons}


def test_true(claim):
    proof = certify(claim)
    assert isinstance(proof, ExactProof)
    assert proof.failure_probability == 0.0


def test_wrong_rate(claim):
    reduced = claim.reduced
    rhs = (reduced.graph.mul((reduced.graph.number(2), reduced.rhs[0])), *reduced.rhs[1:])
    assert codes(replace(claim, reduced=replace(reduced, rhs=rhs))) == {"right-hand-side-differs"}


def test_a_number_that_differs_in_the_last_place(claim):
    reduced = claim.reduced
    tiny = reduced.graph.number(Fraction(1, 10**30))
    rhs = (reduced.graph.add((reduced.rhs[0], tiny)), *reduced.rhs[1:])
    assert codes(replace(claim, reduced=replace(reduced, rhs=rhs))) == {"right-hand-side-differs"}


def test_wrong_observable(claim):
    reduced = claim.reduced
    assigned = tuple(replace(a, value=reduced.graph.symbol("S_PU")) for a in reduced.assigned)
    assert codes(replace(claim, reduced=replace(reduced, assigned=assigned))) == {"observable-differs"}


def test_wrong_initial_value(claim):
    reduced = claim.reduced.with_values({"S_PU": Fraction(1, 10**6)})
    assert codes(replace(claim, reduced=reduced)) == {"initial-values-differ"}


def test_members_that_start_apart(claim):
    original = claim.original.with_values({"S_UP": Fraction(1)})
    assert codes(replace(claim, original=original)) == {"initial-values-differ"}


def test_wrong_constant(claim):
    assert codes(replace(claim, reduced=claim.reduced.with_values({"a1": Fraction(3)}))) == {"constant-differs"}


def test_wrong_blocks(claim):
    blocks = dict(claim.map.blocks)
    name = next(n for n, members in blocks.items() if len(members) > 1)
    for changed in (
        {**blocks, name: list(blocks[name])[:1]},
        {**blocks, name: [*blocks[name], "kinase"]},
        {**blocks, name: [*blocks[name], "nobody"]},
        {n: m for n, m in blocks.items() if n != name},
    ):
        assert codes(replace(claim, map=CopiedStates(changed))) <= {"lumping-mismatch", "unknown-member"}


def test_blocks_that_are_not_equivalent():
    graph = Graph()
    a, b, one = graph.symbol("a"), graph.symbol("b"), graph.number(1)
    original = OdeSystem(graph, ("a", "b"), (one, one), (graph.neg(a), graph.neg(graph.mul((graph.number(2), b)))))
    reduced = OdeSystem(graph, ("a",), (one,), (graph.neg(a),))
    assert codes(Claim(original, reduced, CopiedStates({"a": ["a", "b"]}), {})) == {"right-hand-side-differs"}


def test_rational_systems_are_tested_at_random_points():
    graph = Graph()
    a, b, one = graph.symbol("a"), graph.symbol("b"), graph.number(1)

    def rate(x: int) -> int:
        return graph.div(graph.sub(graph.mul((x, x)), one), graph.add((x, one)))

    original = OdeSystem(graph, ("a", "b"), (one, one), (rate(a), rate(b)))
    reduced = OdeSystem(graph, ("a",), (one,), (graph.sub(a, one),))
    proof = certify(Claim(original, reduced, CopiedStates({"a": ["a", "b"]}), {}))
    assert isinstance(proof, ExactProof)
    assert proof.method == "identity-test"
    assert 0 < proof.failure_probability < 1e-18


def test_a_degree_that_is_too_high_for_random_points_is_no_proof():
    system = make({"a": "(a^2 - 1)/(a + 1)*(1 + a^60000)^60000", "b": "(b - 1)*(1 + b^60000)^60000"}, {"a": 1, "b": 1})
    with pytest.raises(LimitError) as error:
        reduce_backward(system, parse_observables(system, ["a"]))
    assert error.value.reasons[0].code == "degree-too-high"


def test_symbolic_constants_hold_for_all_values():
    graph = Graph()
    a, b, k, one = graph.symbol("a"), graph.symbol("b"), graph.symbol("k"), graph.number(1)
    constants = (Constant("k", one),)
    original = OdeSystem(graph, ("a", "b"), (one, one), (graph.mul((k, a)), b), constants)
    reduced = OdeSystem(graph, ("a",), (one,), (graph.mul((k, a)),), constants)
    claim = Claim(original, reduced, CopiedStates({"a": ["a", "b"]}), {})
    assert isinstance(certify(claim), ExactProof)
    assert codes(replace(claim, symbolic=frozenset({"k"}))) == {"right-hand-side-differs"}


def test_an_observable_that_is_missing(claim):
    reduced = replace(claim.reduced, assigned=())
    assert codes(replace(claim, reduced=reduced)) == {"observable-missing"}


def test_another_graph_is_as_good(claim):
    old = claim.reduced
    graph = Graph()
    roots = graph.transplant(old.graph, [*old.rhs, *old.initial, *(a.value for a in old.assigned)], {})
    constants = tuple(
        Constant(c.id, graph.transplant(old.graph, [c.value], {})[0]) for c in old.constants if c.value is not None
    )
    n = old.size
    assigned = tuple(Assigned(a.id, root) for a, root in zip(old.assigned, roots[2 * n :], strict=True))
    copy = OdeSystem(graph, old.states, tuple(roots[n : 2 * n]), tuple(roots[:n]), constants, assigned)
    assert isinstance(certify(replace(claim, reduced=copy)), ExactProof)
