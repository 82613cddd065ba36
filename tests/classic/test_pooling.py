"""Reaction pooling."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sbmlump
from sbmlump.examples import network_from_reactions, ring
from sbmlump.methods import identity, lump_exactly, pool_reactions, pooled
from sbmlump.model import ExactProof, parse_observables
from sbmlump.sbml import load_sbml, write_reduction
from sbmlump.structure import balance_of, network_of


def test_disjoint_pools_of_the_ring_are_two_opposite_reactions() -> None:
    system = ring(4)
    pooling = pool_reactions(lump_exactly(system, parse_observables(system, ["X_1 + X_2", "X_3 + X_4"])))
    assert pooling.complete
    assert {tuple(one.members) for one in pooling.reactions} == {("r2", "r8"), ("r4", "r6")}
    assert set(pooling.inner) == {"r1", "r3", "r5", "r7"}
    assert pooling.trial is not None
    assert pooling.trial.failure_probability < 1e-17


def test_the_pooled_model_is_a_network_again(tmp_path: Path) -> None:
    system = ring(4)
    found = pooled(lump_exactly(system, parse_observables(system, ["X_1 + X_2", "X_3 + X_4"])))
    assert found.method == "pooling"
    assert isinstance(found.certificate, ExactProof)
    assert "LS = S̃Q" in found.certificate.statement
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    again = load_sbml(path)
    assert len(again.reactions) == 2
    y = np.array([3.0, 5.0])
    np.testing.assert_allclose(again.rates(0.0, y), found.system.rates(0.0, y), rtol=1e-12)
    assert balance_of(network_of(again)).detailed


def test_a_rate_that_is_no_function_of_the_lumps_stays_open() -> None:
    # A and B make C at different speeds and are fed so that A + B alone is no lumping; A + B is pooled by hand here
    system = network_from_reactions([("A -> C", 1), ("B -> C", 2), ("C -> A", 1)], initial={"A": 1, "B": 2, "C": 0})
    from fractions import Fraction

    from sbmlump.methods import lump_by_user

    one = Fraction(1)
    reduction = lump_by_user(system, ({0: one, 1: one}, {2: one}), parse_observables(system, ["C"]))
    pooling = pool_reactions(reduction)
    assert not pooling.complete
    assert pooling.open_groups == (("r1", "r2"),)
    kept = pooled(reduction)
    assert kept.system is reduction.system
    assert "no function of the lumps" in kept.remarks[-1]


def test_parallel_reactions_become_one() -> None:
    system = network_from_reactions([("A -> B", 1), ("A -> B", 2), ("2 A -> 2 B", 3)], initial={"A": 1, "B": 0})
    pooling = pool_reactions(identity(system, ()))
    (only,) = pooling.reactions
    assert {name: int(factor) for name, factor in only.members.items()} == {"r1": 1, "r2": 1, "r3": 2}
    assert {name: int(value) for name, value in only.change.items()} == {"A": -1, "B": 1}


def test_pooling_in_a_chain_and_models_without_reactions() -> None:
    system = ring(4)
    found = sbmlump.reduce(system, "X_1 + X_2", "exact+pooling")
    assert len(found.system.reactions) == 2
    from sbmlump.examples import sir_age_groups

    rules = sir_age_groups(2)
    found = sbmlump.reduce(rules, "I_1 + I_2", "pooling")
    assert found.system.size == 2
    assert any("no reactions" in remark for remark in found.remarks)
