"""Elimination of conserved totals, and its independent proof."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from network_models import saved, sbml_model
from sbml.read_models import assignment, compartment, event, listed, parameter, reaction, rule, sbml, species
from strategies import mass_action_networks

import sbmlump
from sbmlump.dynamics import EnsembleSettings, measure
from sbmlump.errors import LimitError, UnsupportedModelError, UsageError
from sbmlump.examples import michaelis_menten, multisite, network_from_reactions, ring
from sbmlump.methods import conservation, lump_exactly
from sbmlump.model import (
    Assigned,
    Constant,
    Event,
    ExactProof,
    Graph,
    OdeSystem,
    Participant,
    Quantity,
    Reaction,
    parse_observables,
)
from sbmlump.proof import Claim, EliminatedStates, Refutation, certify, claim_of_files, symbolic_but, verify
from sbmlump.sbml import load_sbml, write_reduction
from sbmlump.structure import linear_integrals


def test_the_enzyme_loses_two_states_and_keeps_their_ids() -> None:
    system = michaelis_menten()
    found = conservation(system, parse_observables(system, ["P"]))
    assert set(found.system.states) == {"ES", "P"}
    assert {a.id for a in found.system.assigned} == {"E", "S"}
    assert found.map.kind == "elimination"
    assert isinstance(found.certificate, ExactProof)
    assert found.certificate.valid_for == {}
    assert set(found.certificate.symbolic) >= {"k1", "k1r", "k2"}
    lifted = found.lift([0.25, 1.0])
    assert dict(zip(system.states, lifted, strict=True)) == {"E": 0.75, "S": 8.75, "ES": 0.25, "P": 1.0}


def test_an_observed_state_is_not_the_one_that_goes() -> None:
    system = michaelis_menten()
    for name in ("E", "S", "ES", "P"):
        assert name in conservation(system, parse_observables(system, [name])).system.states


def test_the_written_model_is_the_same_system(tmp_path: Path) -> None:
    system = michaelis_menten()
    found = conservation(system, parse_observables(system, ["P"]))
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    again = load_sbml(path)
    assert again.states == found.system.states
    assert len(again.reactions) == 3
    y = np.array([0.2, 3.0])
    np.testing.assert_allclose(again.rates(0.0, y), found.system.rates(0.0, y), rtol=1e-12)


def test_totals_follow_other_initial_values(tmp_path: Path) -> None:
    system = michaelis_menten()
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(conservation(system, parse_observables(system, ["P"]))))
    again = load_sbml(path).with_values({"E_at_start": Fraction(3), "ES": Fraction(1), "P": Fraction(2)})
    values = {name: float(again.graph.number_of(node)) for name, node in again.constant_values.items()}
    assert (values["total_E_ES"], values["total_S_ES_P"]) == (4.0, 13.0)


def test_errors_from_other_starts_are_those_of_the_integration() -> None:
    system = multisite(2)
    found = conservation(system, parse_observables(system, ["kinase"]))
    assert found.system.size == 15
    assert measure(found, EnsembleSettings(until=5.0, ensemble=2)).errors.max() < 1e-5


@given(mass_action_networks(max_species=5, max_reactions=6))
def test_as_many_go_as_there_are_laws(system: OdeSystem) -> None:
    found = conservation(system)
    assert found.system.size == system.size - len(linear_integrals(system))
    if not found.reducible:
        return
    assert isinstance(found.certificate, ExactProof)
    x = np.linspace(0.4, 2.1, system.size)
    moved = found.system.with_values(
        {
            **{name: Fraction(repr(float(x[system.state_index[name]]))) for name in found.system.states},
            **{
                name: sum((v * Fraction(repr(float(x[system.state_index[s]]))) for s, v in row.items()), Fraction(0))
                for name, row in found.map.starts.items()
            },
            **{
                c.id: Fraction(repr(float(x[system.state_index[c.id]])))
                for c in found.system.constants
                if c.id in system.state_index
            },
        }
    )
    kept = [system.state_index[name] for name in found.system.states]
    np.testing.assert_allclose(moved.rates(0.0, x[kept]), system.rates(0.0, x)[kept], rtol=1e-9, atol=1e-9)


def test_a_state_that_rests_becomes_a_constant_under_its_id() -> None:
    system = network_from_reactions([("A + E -> B + E", 1)], initial={"A": 1, "B": 0, "E": 2})
    found = conservation(system, parse_observables(system, ["B"]))
    assert found.system.states == ("B",)
    assert "E" in {c.id for c in found.system.constants}
    assert found.lift([0.25]).tolist() == [0.75, 0.25, 2.0]


@pytest.mark.parametrize(
    ("reactions", "total", "element"),
    [
        ([("A -> B", 1), ("B -> A", 1), ("-> A", 1)], "A + B", "r3"),
        ([("A -> B", 1), ("B -> A", 1), ("B ->", 1)], "A + B", "r3"),
    ],
)
def test_a_fed_or_drained_total_is_refused(reactions: list[tuple[str, int]], total: str, element: str) -> None:
    system = network_from_reactions(reactions, initial={"A": 1, "B": 0})
    with pytest.raises(UnsupportedModelError) as caught:
        conservation(system, totals=[total])
    (reason,) = caught.value.reasons
    assert (reason.code, reason.element) == ("total-not-constant", element)
    assert conservation(system).system.size == 2


def test_a_total_that_an_event_sets_is_refused() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 2), ("C -> D", 1)], initial=dict.fromkeys("ABCD", 1))
    graph = system.graph
    trigger = graph.call("gt", (graph.time(), graph.number(1)))
    event = Event(trigger, (("A", graph.number(5)),), id="dose")
    system = replace(system, events=(event,))
    with pytest.raises(UnsupportedModelError) as caught:
        conservation(system, totals=["A + B"])
    assert caught.value.reasons[0].code == "total-not-constant"
    assert caught.value.reasons[0].element == "dose"
    found = conservation(system)
    assert found.system.size == 3  # C + D goes, A + B stays
    assert [(one.code, one.element) for one in found.reasons] == [("total-not-constant", "dose")]
    assert isinstance(found.certificate, ExactProof)


def test_a_total_that_a_rate_rule_changes_is_refused() -> None:
    graph = Graph()
    a, b, one = graph.symbol("A"), graph.symbol("B"), graph.number(1)
    flux = a
    system = OdeSystem(
        graph,
        ("A", "B"),
        (one, one),
        (graph.neg(b), flux),
        reactions=(Reaction("r", flux, (Participant("A", one),), (Participant("B", one),), reversible=False),),
        quantities={
            "A": Quantity("A", "species", boundary=True, amount=True),
            "B": Quantity("B", "species", amount=True),
        },
    )
    with pytest.raises(UnsupportedModelError) as caught:
        conservation(system, totals=["A + B"])
    assert (caught.value.reasons[0].code, caught.value.reasons[0].element) == ("total-not-constant", "A")


def test_a_total_that_cannot_be_read_is_a_wrong_use() -> None:
    system = michaelis_menten()
    for text in ("E +", "E*S", "nobody"):
        with pytest.raises(UsageError) as caught:
            conservation(system, totals=[text])
        assert caught.value.reasons[0].code == "bad-total"
    assert conservation(system, totals=["E + ES"]).system.size == 3


def test_initial_values_that_hang_on_what_goes_keep_their_meaning() -> None:
    system = network_from_reactions([("A -> B", 1), ("B -> A", 2)], initial={"A": 6, "B": 1})
    graph = system.graph
    twice = graph.mul((graph.number(Fraction(1, 2)), graph.symbol("A")))
    share = Assigned("share", graph.div(graph.symbol("A"), graph.number(3)))
    system = replace(
        system,
        initial=(system.initial[0], twice),
        assigned=(share,),
        constants=(*system.constants, Constant("start", graph.symbol("share"), computed=True)),
    )
    found = conservation(system, parse_observables(system, ["B"]))
    assert found.system.states == ("B",)
    values = {n: graph.number_of(v) for n, v in found.system.constant_values.items()}
    assert (values["total_A_B"], values["start"]) == (9, 2)
    assert found.system.initial_state().tolist() == [3.0]


def test_the_proof_refutes_wrong_eliminations() -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    found = conservation(system, observables)
    graph = system.graph
    totals = {
        "total_E_ES": graph.add((graph.symbol("E"), graph.symbol("ES"))),
        "total_S_ES_P": graph.add((graph.symbol("S"), graph.symbol("ES"), graph.symbol("P"))),
    }
    kept = {one.id: one.expression for one in observables}

    def claim(reduced: OdeSystem, totals: dict[str, int]) -> Claim:
        return Claim(system, reduced, EliminatedStates(totals), kept, symbolic_but(system))

    assert isinstance(certify(claim(found.system, totals)), ExactProof)
    wrong_total = {**totals, "total_E_ES": graph.add((graph.symbol("E"), graph.symbol("S")))}
    assert isinstance(certify(claim(found.system, wrong_total)), Refutation)
    rates = (graph.mul((graph.number(2), found.system.rhs[0])), *found.system.rhs[1:])
    faster = replace(found.system, rhs=rates)
    assert isinstance(certify(claim(faster, totals)), Refutation)
    stepped = {**totals, "total_E_ES": graph.call("floor", (totals["total_E_ES"],))}
    refuted = certify(claim(found.system, stepped))
    assert isinstance(refuted, Refutation)
    assert "no derivative of floor" in str(refuted.reasons)
    moved = found.system.with_values({"E_at_start": Fraction(7)})
    refuted = certify(claim(moved, totals))
    assert isinstance(refuted, Refutation)
    assert refuted.reasons[0].code == "initial-value-differs"
    other = replace(found.system, assigned=tuple(replace(a, value=graph.number(0)) for a in found.system.assigned))
    assert isinstance(certify(claim(other, totals)), Refutation)


def test_a_degree_that_is_too_high_for_random_points_is_no_proof() -> None:
    graph = Graph()
    a, one = graph.symbol("a"), graph.number(1)
    high = graph.number(60_000)
    rate = graph.mul((a, graph.pow(graph.add((one, graph.pow(a, high))), high)))
    system = OdeSystem(graph, ("a", "b"), (one, one), (graph.neg(rate), rate))
    with pytest.raises(LimitError) as error:
        conservation(system, parse_observables(system, ["a"]))
    assert error.value.reasons[0].code == "degree-too-high"


def test_a_model_read_back_is_proved_and_a_spoilt_one_refuted(tmp_path: Path) -> None:
    system = michaelis_menten()
    observables = parse_observables(system, ["P"])
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(conservation(system, observables)))
    kept = {one.id: one.expression for one in observables}
    again = load_sbml(path)
    assert isinstance(certify(claim_of_files(system, again, kept)), ExactProof)
    spoilt = path.read_text(encoding="utf-8").replace(
        "<ci> E_at_start </ci><ci> ES </ci>", "<ci> E_at_start </ci><ci> P </ci>"
    )
    assert spoilt != path.read_text(encoding="utf-8")
    path.write_text(spoilt)
    assert isinstance(certify(claim_of_files(system, load_sbml(path), kept)), Refutation)


def test_after_an_exact_lumping_the_class_is_used() -> None:
    system = multisite(3)
    lumped = lump_exactly(system, parse_observables(system, ["kinase"]))
    found = sbmlump.reduce(system, "kinase", "exact", on_class=True)
    assert (lumped.system.size, found.system.size) == (6, 3)
    assert found.map.kind == "elimination"
    assert isinstance(found.certificate, ExactProof)
    assert found.original is system
    assert measure(found, EnsembleSettings(until=5.0, ensemble=2)).errors.max() < 1e-5


def test_what_conserves_nothing_stays_as_it_is() -> None:
    system = network_from_reactions([("A ->", 1)], initial={"A": 1})
    found = conservation(system, parse_observables(system, ["A"]))
    assert not found.reducible
    system = ring(4)
    assert sbmlump.reduce(system, "X_1 + X_3", "exact", on_class=True).system.size == 1


def two_compartments(assignment: str = "") -> str:
    """A ⇌ B, concentrations in compartments of different sizes."""
    law = (
        '<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>{0}</ci><ci>{1}</ci></apply>'
        "</math></kineticLaw>"
    )
    one = '<speciesReference species="{0}" stoichiometry="1" constant="true"/>'

    def reaction(name: str, source: str, target: str, rate: str) -> str:
        return (
            f'<reaction id="{name}" reversible="false"><listOfReactants>{one.format(source)}</listOfReactants>'
            f"<listOfProducts>{one.format(target)}</listOfProducts>{law.format(rate, source)}</reaction>"
        )

    def species(name: str, home: str, start: str) -> str:
        return (
            f'<species id="{name}" compartment="{home}" initialConcentration="{start}" hasOnlySubstanceUnits="false" '
            'boundaryCondition="false" constant="false"/>'
        )

    return (
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="m">'
        '<listOfCompartments><compartment id="c" spatialDimensions="3" size="2" constant="true"/>'
        '<compartment id="d" spatialDimensions="3" size="0.3" constant="true"/></listOfCompartments><listOfSpecies>'
        + species("A", "c", "5")
        + species("B", "d", "1")
        + '</listOfSpecies><listOfParameters><parameter id="k" value="0.4" constant="true"/>'
        '<parameter id="l" value="0.1" constant="true"/></listOfParameters>'
        + assignment
        + "<listOfReactions>"
        + reaction("r", "A", "B", "k")
        + reaction("s", "B", "A", "l")
        + "</listOfReactions></model></sbml>"
    )


@pytest.mark.parametrize("computed", [False, True])
def test_totals_across_compartments_are_verified_from_the_files(tmp_path: Path, computed: bool) -> None:
    """The total weighs concentrations by sizes that stand in the file as symbols; a rate may rest on initial values."""
    math = '<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><divide/><ci> A </ci><cn> 8 </cn></apply></math>'
    given = (
        f'<listOfInitialAssignments><initialAssignment symbol="k">{math}</initialAssignment></listOfInitialAssignments>'
    )
    original, reduced = tmp_path / "original.xml", tmp_path / "reduced.xml"
    original.write_text(two_compartments(given if computed else ""), encoding="utf-8")
    system = load_sbml(original)
    reduced.write_bytes(write_reduction(conservation(system, parse_observables(system, ["B"]))))
    assert len(load_sbml(reduced).states) == 1
    assert isinstance(verify(original, reduced), ExactProof)
    written = reduced.read_text(encoding="utf-8")
    changes = [("<ci> A_at_start </ci><ci> c </ci>", "<ci> A_at_start </ci><ci> d </ci>")]
    if computed:
        formula = written.partition('<initialAssignment symbol="k">')[2].partition("</initialAssignment>")[0]
        changes.append((formula, formula.replace("A_at_start", "B")))
    for old, new in changes:
        spoilt = written.replace(old, new)
        assert spoilt != written
        reduced.write_text(spoilt, encoding="utf-8")
        assert isinstance(verify(original, reduced), Refutation)


def _weighted_total(tmp_path: Path) -> Path:
    """A total of A and P whose weights hold for the value of ``w``, which is computed from X and Y."""
    reactions = (
        reaction("r1", "A", "P", "k*A*c"),
        reaction("r2", "P", "", "w*A*c"),
        reaction("r3", "X", "Y", "h*X*c"),
        reaction("r4", "A", "A Z", "A*c"),
    )
    path = tmp_path / "original.xml"
    path.write_text(
        sbml(
            listed("Compartments", compartment())
            + listed("Species", *map(species, "APXYZ"))
            + listed("Parameters", parameter("k", "0.9"), parameter("h", "0.3"), parameter("w", None))
            + listed("InitialAssignments", assignment("w", "2.5*h/(X + Y + 0.5)"))
            + listed("Reactions", *reactions)
        )
    )
    return path


@pytest.mark.parametrize("method", ["conservation", "conservation,exact"])
def test_weights_computed_from_states_that_are_eliminated(tmp_path: Path, method: str) -> None:
    """The value of ``w`` is a number on both sides, though the reduced model computes it from X and Y at the start."""
    path = _weighted_total(tmp_path)
    found = sbmlump.reduce(sbmlump.load(path), "P", method)
    assert isinstance(found.certificate, ExactProof)
    assert set(found.certificate.valid_for) == {"h", "k", "w"}
    found.write(tmp_path / "reduced.xml")
    assert isinstance(verify(path, tmp_path / "reduced.xml"), ExactProof)


def test_states_that_a_later_step_drops_need_no_definition(tmp_path: Path) -> None:
    """A total whose weight is a size that changes is no linear lump; Z is in none, and gone."""
    growing = (
        reaction("r1", "A", "P", "k*A"),
        reaction("r2", "P", "A", "P/(1 + A*A)"),
        reaction("r3", "A", "A Z", "A"),
    )
    path = tmp_path / "original.xml"
    path.write_text(
        sbml(
            listed("Compartments", compartment("c", "1", constant=False), compartment("d", "3"))
            + listed("Species", species("A", amounts=True), species("P"), species("Z", where="d"))
            + listed("Parameters", parameter("k", "0.9"))
            + listed("Rules", rule("rateRule", "c", "0.1*c"))
            + listed("Reactions", *growing)
        )
    )
    found = sbmlump.reduce(sbmlump.load(path), "A", "conservation,exact")
    assert "Z" in found.vanished or "Z" not in found.system.definitions
    assert "A" in found.system.states
    assert found.system.size < 4
    found.write(tmp_path / "reduced.xml")
    proof = verify(path, tmp_path / "reduced.xml")
    assert isinstance(proof, ExactProof), proof


@pytest.mark.parametrize("diluted", [True, False])
def test_totals_of_states_that_a_later_step_lumps(tmp_path: Path, diluted: bool) -> None:
    """The total of E counts complexes, of which the second step keeps a sum; an event sets the size that weighs it."""
    bound = [
        text
        for x in "AB"
        for text in (
            reaction(f"bind{x}", f"{x} E", f"E{x}", f"c*k*{x}*E"),
            reaction(f"free{x}", f"E{x}", f"{x} E", f"c*h*E{x}"),
        )
    ]

    def starting(**values: float) -> list[str]:
        return [species(name, f'initialConcentration="{value}"') for name, value in values.items()]

    path = tmp_path / "original.xml"
    path.write_text(
        sbml(
            listed("Compartments", compartment("c", "2", constant=not diluted))
            + listed("Species", *starting(A=1, B=3, E=2, EA=0, EB=1))
            + listed("Parameters", parameter("k", "0.9"), parameter("h", "0.3"))
            + listed("Reactions", *bound, reaction("turn", "E", "E A", "c*h*E"))
            + (listed("Events", event("time > 1", {"c": "3*c"})) if diluted else "")
        )
    )
    found = sbmlump.reduce(sbmlump.load(path), "A + B", "conservation,exact", keep_parameters="all")
    assert any(c.id.startswith("total") for c in found.system.constants)
    assert any(not lump.is_single for lump in found.lumps)
    assert isinstance(found.certificate, ExactProof)
    found.write(tmp_path / "reduced.xml")
    proof = verify(path, tmp_path / "reduced.xml")
    assert isinstance(proof, ExactProof), proof
    assert not proof.valid_for
    # the total is that of each run
    assert measure(found, EnsembleSettings(until=3.0, ensemble=4)).errors.max() < 1e-5


def test_a_flux_that_is_no_function_of_what_is_left_loses_its_id(tmp_path: Path) -> None:
    """After lumping, single fluxes need not follow from the states that are left, although their sums do."""
    reactions = (
        reaction("r0", "A", "F", "c*k*(A - F)"),
        reaction("r1", "F", "D", "c*k*(F - D)"),
        reaction("r2", "E F", "A E", "c*k*E*F"),
        reaction("r3", "A", "B C", "c*k*A"),
        reaction("r4", "B", "F", "c*k*B"),
        reaction("r5", "F", "E", "c*k*F"),
        reaction("r6", "C", "A", "c*k*(C - A)"),
    )
    path = tmp_path / "original.xml"
    path.write_text(
        sbml(
            listed("Compartments", compartment())
            + listed("Species", *map(species, "ABCDEF"))
            + listed("Parameters", parameter("k", "0.5"))
            + listed("Reactions", *reactions)
        )
    )
    system = sbmlump.load(path)
    found = sbmlump.reduce(system, "A", "exact,conservation")
    assert found.reducible
    found.write(tmp_path / "reduced.xml")
    proof = verify(path, tmp_path / "reduced.xml")
    assert isinstance(proof, ExactProof), proof


def test_totals_of_lumps_weighed_by_symbolic_sizes(tmp_path: Path) -> None:
    """A + B is lumped and then eliminated by its total with P, whose weight is a size computed from a parameter."""
    reactions = (reaction("r1", "A", "P", "k*A*c"), reaction("r2", "B", "P", "k*B*c"), reaction("r3", "A", "B", "A*A"))
    path = tmp_path / "original.xml"
    path.write_text(
        sbml(
            listed("Compartments", compartment("c", "2"), compartment("d", None))
            + listed("Species", species("A"), species("B"), species("P", where="d"))
            + listed("Parameters", parameter("k", "0.5"))
            + listed("InitialAssignments", assignment("d", "1 + k"), assignment("A", "k*k"))
            + listed("Reactions", *reactions)
        )
    )
    found = sbmlump.reduce(sbmlump.load(path), "P", "exact,conservation", keep_parameters="k")
    assert found.system.states == ("P",)
    reduced = tmp_path / "reduced.xml"
    found.write(reduced)
    proof = verify(path, reduced)
    assert isinstance(proof, ExactProof), proof
    assert proof.valid_for == {}
    text = reduced.read_text()
    assert '<member state="B" value="1"/>' in text
    for other in ('<member state="B" value="2"/>', '<member state="D" value="1"/>', ""):
        reduced.write_text(text.replace('<member state="B" value="1"/>', other))
        assert not isinstance(verify(path, reduced), ExactProof), other


def test_a_constant_that_the_reduced_file_does_not_know_takes_its_value(tmp_path: Path) -> None:
    """The same system, with a number of the first file as a parameter of the second."""
    texts = [
        sbml_model(
            {"A": 1.0, "B": 0.5, "C": 0.0},
            {
                "f": ({"A": 1}, {"B": 1}, f"cell * (k1 * A - {back} * B)"),
                "g": ({"A": 1}, {"C": 1}, "cell * k1 * A * A"),
            },
            {"k1": 0.3, **({"k2": 0.11} if back == "k2" else {})},
            rate_rules={"cell": "0.1 * cell"},
        )
        for back in ("0.11", "k2")
    ]
    first, second = (saved(tmp_path, text, f"m{i}.xml") for i, text in enumerate(texts))
    sbmlump.reduce(sbmlump.load(first), ["B"], "conservation").write(tmp_path / "reduced.xml")
    assert isinstance(verify(first, tmp_path / "reduced.xml"), ExactProof)
    proof = verify(second, tmp_path / "reduced.xml")
    assert isinstance(proof, ExactProof)
    assert "k2" in proof.valid_for
    other = saved(tmp_path, texts[1].replace('value="0.11"', 'value="0.12"'), "other.xml")
    assert not isinstance(verify(other, tmp_path / "reduced.xml"), ExactProof)
