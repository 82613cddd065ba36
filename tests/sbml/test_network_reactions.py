"""Reduced models are reaction networks where they can be, and always the system that was proved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import libsbml
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_models import saved, sbml_model, twin_chains

import sbmlump
from sbmlump.jobs import sbml_of
from sbmlump.methods import as_network, reconstruct
from sbmlump.model import ExactProof, ReducedSystem
from sbmlump.proof import verify
from sbmlump.sbml import load_sbml

KEPT: list[Any] = []


def reduction_of(path: Path, *observe: str, method: str = "exact") -> ReducedSystem:
    return sbmlump.reduce(sbmlump.load(path), list(observe), method)


def written(path: Path, reduction: ReducedSystem, **options: bool) -> Any:
    """The model in the reduced file, which is checked, read again and proved."""
    out = path.parent / "reduced.xml"
    out.write_bytes(sbml_of(reduction, **options))
    document = libsbml.readSBMLFromString(out.read_text(encoding="utf-8"))
    document.checkConsistency()
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) == 0
    assert isinstance(verify(path, out), ExactProof)
    same_rates(reduction, out)
    KEPT.append(document)  # a model lives as long as its document
    return document.getModel()


def same_rates(reduction: ReducedSystem, out: Path) -> None:
    again = load_sbml(out)
    assert set(again.states) == set(reduction.system.states)
    order = [again.state_index[name] for name in reduction.system.states]
    point = np.linspace(0.7, 1.9, reduction.system.size)
    other = np.empty_like(point)
    other[order] = point
    wanted = reduction.system.rates(0.4, point)
    assert again.rates(0.4, other)[order] == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def stoichiometry(model: Any, name: str) -> tuple[dict[str, float], dict[str, float]]:
    reaction = model.getReaction(name)
    sides = []
    for count, get in (
        (reaction.getNumReactants(), reaction.getReactant),
        (reaction.getNumProducts(), reaction.getProduct),
    ):
        sides.append({get(i).getSpecies(): get(i).getStoichiometry() for i in range(count)})
    return sides[0], sides[1]


def test_reactions_of_one_direction_are_pooled(tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    model = written(path, reduction_of(path, "C"))
    assert model.getNumRules() == 0
    assert [model.getReaction(i).getId() for i in range(model.getNumReactions())] == ["pooled_r1_r2", "pooled_s1_s2"]
    assert stoichiometry(model, "pooled_r1_r2") == ({"pool_A1_A2": 1}, {"pool_B1_B2": 1})
    assert stoichiometry(model, "pooled_s1_s2") == ({"pool_B1_B2": 1}, {"C": 1})
    pool = model.getSpecies("pool_A1_A2")
    assert (pool.getCompartment(), pool.getHasOnlySubstanceUnits(), pool.getSubstanceUnits()) == ("cell", False, "mole")
    assert pool.getInitialConcentration() == 4


def test_rate_rules_on_request(tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    model = written(path, reduction_of(path, "C"), as_rate_rules=True)
    assert model.getNumReactions() == 0
    assert model.getNumRules() == 3
    assert model.getParameter("pool_A1_A2") is not None


def test_a_single_reaction_keeps_its_id_and_modifiers_are_listed(tmp_path: Path) -> None:
    reactions = {
        "make": ({"S": 1}, {"P": 1}, "cell * k * E * S"),
        "lose": ({"P": 1}, {"W": 1}, "cell * k * P"),
        "idle": ({"W": 1}, {"X": 1}, "cell * k * W"),
    }
    path = saved(tmp_path, sbml_model({"S": 2, "P": 0, "W": 0, "X": 1, "E": 0.1}, reactions, {"k": 0.5}))
    model = written(path, reduction_of(path, "P"))
    assert stoichiometry(model, "make") == ({"S": 1}, {"P": 1})
    assert model.getReaction("make").getModifier(0).getSpecies() == "E"
    assert stoichiometry(model, "lose") == ({"P": 1}, {})
    assert model.getReaction("idle") is None


def test_lumps_across_compartments_are_amounts(tmp_path: Path) -> None:
    reactions = {
        "go": ({"A": 1}, {"B": 1}, "k * A * cell"),
        "back": ({"B": 1}, {"A": 1}, "k * B * outside"),
        "lose": ({"A": 1}, {"C": 1}, "v * A * cell"),
        "lose2": ({"B": 1}, {"C": 1}, "v * B * outside"),
    }
    text = sbml_model(
        {"A": 2, "B": 1, "C": 0},
        reactions,
        {"k": 0.5, "v": 0.2},
        homes={"B": "outside"},
        sizes={"cell": 2.0, "outside": 5.0},
    )
    path = saved(tmp_path, text)
    model = written(path, reduction_of(path, "C"))
    assert model.getNumRules() == 0
    pool = model.getSpecies("pool_A_B")
    assert pool.getHasOnlySubstanceUnits()
    assert pool.getCompartment() == "cell"
    assert pool.getInitialAmount() == 2 * 2 + 1 * 5
    assert stoichiometry(model, "pooled_lose_lose2") == ({"pool_A_B": 1}, {"C": 1})


def test_opposite_reactions_count_together_where_only_their_difference_is_known(tmp_path: Path) -> None:
    reactions = {
        "there": ({"A": 1}, {"B": 1}, "cell * k * A * C"),
        "back": ({"B": 1}, {"A": 1}, "cell * (k * A * C - v * A)"),
        "grow": ({}, {"C": 1}, "cell * k * C"),
    }
    path = saved(tmp_path, sbml_model({"A": 2, "B": 1, "C": 1}, reactions, {"k": 0.5, "v": 0.2}))
    reduction = reduction_of(path, "A")
    assert reduction.system.states == ("A",)
    model = written(path, reduction)
    assert model.getNumRules() == 0
    assert model.getNumReactions() == 1
    assert model.getReaction(0).getReversible()


def test_kinetic_polynomial_rate_rules_become_canonical_reactions(tmp_path: Path) -> None:
    rules = {"A": "-k * A * B", "B": "k * A * B - v * B^2", "C": "v * C"}
    path = saved(tmp_path, sbml_model({"A": 2, "B": 1, "C": 1}, {}, {"k": 0.5, "v": 0.2}, rate_rules=rules))
    model = written(path, reduction_of(path, "B"))
    assert model.getNumRules() == 0
    assert stoichiometry(model, "from_A_B") == ({"A": 1}, {"B": 1})
    assert stoichiometry(model, "from_B_2") == ({"B": 1}, {})


def test_a_field_that_is_not_kinetic_keeps_rate_rules(tmp_path: Path) -> None:
    rules = {"A": "v * B", "B": "-v * A", "C": "v * C"}
    path = saved(tmp_path, sbml_model({"A": 2, "B": 1, "C": 1}, {}, {"v": 0.2}, rate_rules=rules))
    model = written(path, reduction_of(path, "A"))
    assert model.getRateRule("B") is not None
    # dA/dt = v B alone is kinetic: B makes A
    assert stoichiometry(model, "from_B") == ({}, {"A": 1})


def test_a_state_at_rest_is_still_a_state(tmp_path: Path) -> None:
    reactions = {"go": ({"A": 1}, {"B": 1}, "cell * k * A"), "grow": ({}, {"C": 1}, "cell * k * C * A")}
    path = saved(tmp_path, sbml_model({"A": 2, "B": 1, "C": 1}, reactions, {"k": 0.5}))
    reduction = reduction_of(path, "total = A + B")
    assert reduction.system.size == 1
    written(path, reduction)


def test_a_catalyst_takes_part_in_what_it_drives(tmp_path: Path) -> None:
    """A rate rule of 0 would make it a state as well, but leaves libRoadRunner no steady state."""
    reactions = {
        "a": ({"A1": 1, "E": 1}, {"B": 1, "E": 1}, "cell * k * E * A1"),
        "b": ({"A2": 1, "E": 1}, {"B": 1, "E": 1}, "cell * k * E * A2"),
        "back1": ({"B": 1}, {"A1": 1}, "cell * k * B"),
        "back2": ({"B": 1}, {"A2": 1}, "cell * k * B"),
    }
    path = saved(tmp_path, sbml_model({"A1": 1, "A2": 2, "B": 0, "E": 3}, reactions, {"k": 0.5}))
    reduction = reduction_of(path, "B")
    assert set(reduction.system.states) == {"pool_A1_A2", "B", "E"}
    model = written(path, reduction)
    assert model.getNumRules() == 0
    parts = [stoichiometry(model, model.getReaction(i).getId()) for i in range(model.getNumReactions())]
    assert [(left["E"], right["E"]) for left, right in parts if "E" in left] == [(1, 1)]
    assert not any("E" in left or "E" in right for left, right in parts if "B" in left)


def test_moieties_are_found_beside_a_species_with_a_rule(tmp_path: Path) -> None:
    """An observed species that is no lump has an assignment rule; it must not be a floating species then."""
    roadrunner = pytest.importorskip("roadrunner", reason="libRoadRunner is not installed")
    path = saved(tmp_path, twin_chains())
    reduction = reduction_of(path, "C", "A1 + A2")
    whole = reconstruct(reduction, "all")
    out = tmp_path / "reduced.xml"
    out.write_bytes(sbml_of(whole))
    runner = roadrunner.RoadRunner(out.read_text())
    runner.conservedMoietyAnalysis = True
    runner.steadyState()
    model = libsbml.readSBMLFromFile(str(out)).getModel()
    ruled = [model.getSpecies(model.getRule(i).getVariable()) for i in range(model.getNumRules())]
    assert all(one.getBoundaryCondition() for one in ruled if one is not None)


def test_embeddings_and_eliminations_are_networks_too(tmp_path: Path) -> None:
    reactions = {
        "a": ({"X1": 1}, {"Y": 1}, "cell * k * X1"),
        "b": ({"X2": 1}, {"Y": 1}, "cell * k * X2"),
    }
    path = saved(tmp_path, sbml_model({"X1": 2, "X2": 2, "Y": 0}, reactions, {"k": 0.5}))
    reduction = reduction_of(path, "Y", method="backward-equivalence")
    assert reduction.system.size == 2
    model = written(path, reduction)
    assert model.getNumRules() == 0
    assert model.getNumReactions() == 2


def test_an_observed_flux_keeps_its_id(tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    reduction = reduction_of(path, "C", "s1")
    model = written(path, reduction)
    ids = [model.getReaction(i).getId() for i in range(model.getNumReactions())]
    assert len(ids) == len(set(ids))


def test_nothing_is_changed_where_there_is_nothing_to_write() -> None:
    system = sbmlump.load(Path(sbmlump.__file__).parent / "data_models" / "multisite_3.xml")
    identity = sbmlump.reduce(system, method="none")
    assert as_network(identity) is identity


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    links=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=5),
    copies=st.integers(2, 3),
    size=st.sampled_from([1.0, 2.5]),
    order=st.integers(1, 2),
)
def test_copies_of_a_network_pool_into_one(
    tmp_path: Path, links: list[tuple[int, int, int]], copies: int, size: float, order: int
) -> None:
    """Copies of a first-order network with a shared partner E: the pools are the network again."""
    species = {f"x{i}_{c}": 1.0 + i + c for i in range(3) for c in range(copies)}
    species["E"] = 0.5
    reactions = {}
    parameters = {}
    for n, (i, j, k) in enumerate(links):
        if i == j:
            continue
        parameters[f"k{n}"] = k / 10
        partner = "E" if order == 2 else "1"
        for c in range(copies):
            formula = f"cell * k{n} * x{i}_{c} * {partner}"
            reactions[f"r{n}_{c}"] = ({f"x{i}_{c}": 1.0}, {f"x{j}_{c}": 1.0}, formula)
    if not reactions:
        return
    path = saved(tmp_path, sbml_model(species, reactions, parameters, sizes={"cell": size}))
    target = next(j for i, j, _ in links if i != j)
    total = " + ".join(f"x{target}_{c}" for c in range(copies))
    reduction = reduction_of(path, f"seen = {total}")
    assert reduction.reducible
    model = written(path, reduction)
    moving = [
        model.getRule(i)
        for i in range(model.getNumRules())
        if model.getRule(i).isRate() and libsbml.formulaToL3String(model.getRule(i).getMath()) != "0"
    ]
    assert moving == []


def test_an_observed_flux_keeps_its_reaction(data, tmp_path):
    """Its id, metaid and annotation stay at a reaction, so that control coefficients are found under the enzyme."""
    text = (data / "michaelis_menten.xml").read_text()
    assert '<reaction id="catalysis"' in text
    told = (
        '<reaction metaid="meta_c" id="catalysis"',
        '<annotation><mine xmlns="http://example.org/mine">kept</mine></annotation>',
    )
    head = re.search('<reaction id="catalysis"[^>]*>', text)[0]
    (tmp_path / "in.xml").write_text(text.replace(head, head.replace('<reaction id="catalysis"', told[0]) + told[1]))
    reduction = sbmlump.reduce(sbmlump.load(tmp_path / "in.xml"), "catalysis")
    assert reduction.system.size == 3
    reduction.write(tmp_path / "out.xml")
    written = (tmp_path / "out.xml").read_text()
    assert 'metaid="meta_c" id="catalysis"' in written
    assert ">kept</mine>" in written
    assert "pooled_catalysis" not in written
    assert 'assignmentRule variable="catalysis"' not in written
    assert isinstance(sbmlump.verify(tmp_path / "in.xml", tmp_path / "out.xml"), sbmlump.ExactProof)
    report = sbmlump.compare(tmp_path / "in.xml", tmp_path / "out.xml", until=5.0)
    assert next(iter(report.per_observable)) == "catalysis"
    assert report.max_relative_error < 1e-6
