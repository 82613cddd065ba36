"""What lumps mean in the words of the model; every sentence is held against the model by other means."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import libsbml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_models import saved, sbml_model

import sbmlump
from sbmlump.examples import multisite
from sbmlump.jobs import run_reduction, sbml_of
from sbmlump.methods import reduce_options
from sbmlump.model import (
    AffineLumping,
    Embedding,
    ErrorEstimate,
    ExactProof,
    Graph,
    LinearLumping,
    Lump,
    LumpingMatrix,
    OdeSystem,
    Quantity,
    ReducedSystem,
)
from sbmlump.sbml import reduction_notes
from sbmlump.structure import meanings_of, resource_name, what_follows, what_vanished

DATA = Path(__file__).parent.parent / "data"
PROOF = ExactProof("", "expansion", 0.0)
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def annotation(*uris: str) -> str:
    items = "".join(f'<rdf:li rdf:resource="{uri}"/>' for uri in uris)
    return (
        f'<annotation><rdf:RDF xmlns:rdf="{_RDF}" xmlns:bqbiol="http://biomodels.net/biology-qualifiers/">'
        f'<rdf:Description rdf:about="#a"><bqbiol:is><rdf:Bag>{items}</rdf:Bag></bqbiol:is></rdf:Description>'
        "</rdf:RDF></annotation>"
    )


def reduction(
    states: Sequence[str],
    *lumps: Mapping[str, int | Fraction],
    quantities: Mapping[str, Quantity] | None = None,
    lift: Sequence[Mapping[str, Fraction]] | None = None,
    way: type = LinearLumping,
) -> ReducedSystem:
    """A map without equations: meanings look at the members alone."""
    graph = Graph()
    none = graph.number(0)
    place = {name: j for j, name in enumerate(states)}

    def matrix(rows: Sequence[Mapping[str, int | Fraction]]) -> LumpingMatrix:
        return LumpingMatrix(tuple(states), tuple({place[n]: Fraction(v) for n, v in row.items()} for row in rows))

    n = len(states)
    original = OdeSystem(graph, tuple(states), (none,) * n, (graph.time(),) * n, quantities=quantities or {})
    names = tuple(f"lump_{i}" for i in range(len(lumps)))
    small = OdeSystem(graph, names, (none,) * len(names), (graph.time(),) * len(names))
    made = tuple(
        Lump(name, {member: Fraction(v) for member, v in row.items()}) for name, row in zip(names, lumps, strict=True)
    )
    estimate = ErrorEstimate("balanced", 1.0, 1, 0.1, 0.1, 0.1)
    certificate = estimate if way is AffineLumping else PROOF
    return ReducedSystem(original, small, (), made, way(matrix(lumps), matrix(lift or lumps)), certificate, "exact")


def meaning(states: Sequence[str], *lumps: Mapping[str, int | Fraction], **more: object):
    return meanings_of(reduction(states, *lumps, **more))["lump_0"]


def named(**names: str) -> dict[str, Quantity]:
    return {id: Quantity(id, "species", name=name) for id, name in names.items()}


# -- names -------------------------------------------------------------------------------------------


def test_sites_in_one_form_are_counted():
    found = meanings_of(sbmlump.reduce(sbmlump.load(DATA / "multisite_3.xml"), ["kinase"]))
    labels = {one.label for one in found.values() if one.kind == "sum"}
    assert labels == {f"number of {letter} in S_***" for letter in "UPEF"}
    (free,) = (one.sentence for one in found.values() if one.label == "number of U in S_***")
    assert free.startswith("The number of U in S_***, summed over the 37 states that are called so and have any.")
    assert "63 reactions turn its members into one another" in free
    assert all(found[name].kind == "retained" for name in ("kinase", "phosphatase"))


def test_one_site_in_one_form_is_a_pattern():
    states = [f"S_{''.join(form)}" for form in itertools.product("UPE", repeat=3)] + ["kinase"]
    mine = {name: 1 for name in states if name.startswith("S_U")}
    found = meaning(states, mine)
    assert found.label == "S_U**"
    assert found.sentence == "The sum of all 9 states called S_U**."
    less = dict(list(mine.items())[:-1])
    assert meaning(states, less).label is None
    assert "all" not in meaning(states, less).sentence


def test_the_same_letters_in_any_order():
    found = meaning(["S_UP", "S_PU", "S_UU", "S_PP"], {"S_UP": 1, "S_PU": 1})
    assert found.label == "S_** of P, U"
    assert "both states called S_** with the letters P, U in any order" in found.sentence


def test_a_word_that_only_members_have_and_one_that_others_have_too():
    names = named(a="EGF-EGFR", b="EGF-EGFR-Shc", c="Shc", d="EGFR-Shc-Sos", e="Ras", f="Raf")
    found = meaning(list(names), {"b": 1, "c": 1, "d": 1}, quantities=names)
    assert found.label == "Shc"
    assert found.sentence == "The sum of EGF-EGFR-Shc, Shc and EGFR-Shc-Sos (all 3 states with “Shc” in their names)."
    some = meaning(list(names), {"b": 1, "c": 1}, quantities=names)
    assert some.label is None
    assert "2 of the 3 states with “Shc” in their names" in some.sentence


def test_words_are_counted():
    names = named(a="R", b="R:R", c="R:R:L", d="L", e="S", f="T", g="V")
    found = meaning(list(names), {"a": 1, "b": 2, "c": 2}, quantities=names)
    assert found.label == "number of R"
    assert found.sentence == "The number of “R” in the names, summed over all 3 states that have any."
    assert meaning(list(names), {"a": 1, "b": 2, "c": 3}, quantities=names).label is None


def test_what_most_states_have_is_not_told():
    names = [f"S{i}_x" for i in range(9)]
    assert meaning(names, {names[0]: 1, names[4]: 1}).sentence == "The sum of S0_x and S4_x."


def test_a_difference_is_no_sum():
    states = ["A_1", "A_2", "B_1", "B_2", "C", "D"]
    found = meaning(states, {"A_1": 1, "A_2": 1, "C": -2})
    assert (found.kind, found.label) == ("difference", None)
    assert found.sentence == "Difference: the sum of A_1 and A_2 (both states called A_*), minus 2 times C."
    assert meaning(states, {"A_1": -1}).sentence == "Minus A_1."
    assert meaning(states, {"A_1": Fraction(1, 2), "A_2": Fraction(1, 2)}).label is None


def test_one_label_never_names_two_states():
    states = ["S_UP", "S_PU", "S_UU", "S_PP"]
    found = meanings_of(reduction(states, {"S_UP": 1, "S_PU": 1}, {"S_UP": 1, "S_PU": 1}))
    assert {one.label for one in found.values()} == {None}


LETTERS = st.text("UP", min_size=3, max_size=3)


@given(
    st.sets(LETTERS.map("S_".__add__), min_size=3).flatmap(
        lambda names: st.tuples(st.just(sorted(names)), st.sets(st.sampled_from(sorted(names)), min_size=2))
    ),
    st.sampled_from([(), ("K_U",), ("S_X", "T_UUU")]),
)
def test_what_is_said_of_names_is_so(drawn, others):
    states, members = [*drawn[0], *others], drawn[1]
    found = meaning(states, dict.fromkeys(sorted(members), 1))
    text = found.sentence
    for pattern, bag in re.findall(
        r"(?:all \d+|both) states called (\S+?)(?: with the letters (.+?) in any order)?[.)]", text
    ):
        matching = {name for name in states if re.fullmatch(pattern.replace("*", "."), name)}
        if bag:
            free = [i for i, c in enumerate(pattern) if c == "*"]
            matching = {name for name in matching if sorted(name[i] for i in free) == bag.split(", ")}
        assert matching == members
    for count, whole, word in re.findall(r"(\d+) of the (\d+) states with “(\w+)” in", text):
        having = [name for name in states if word in re.split("[^A-Za-z0-9]", name)]
        assert (int(count), int(whole)) == (len(members), len(having))
        assert members < set(having)


@given(st.dictionaries(LETTERS.map("S_".__add__), st.integers(0, 3), min_size=4))
def test_what_is_counted_is_so(weights):
    members = {name: value for name, value in weights.items() if value}
    if len(members) < 2:
        return
    found = meaning(list(weights), members)
    match = re.fullmatch(r"number of (\S+) in S_\*\*\*", found.label or "")
    if match is not None:
        letters = match[1].split("+")
        assert all(sum(name[2:].count(letter) for letter in letters) == value for name, value in weights.items())


# -- annotation, compartments, partners ---------------------------------------------------------------


def test_a_common_annotation_in_any_spelling():
    def q(id: str, *uris: str) -> Quantity:
        return Quantity(id, "species", annotation=annotation(*uris))

    table = {
        "a": q("a", "urn:miriam:uniprot:P1", "urn:miriam:obo.go:GO%3A0005886"),
        "b": q("b", "https://identifiers.org/uniprot/P1"),
        "c": q("c", "http://identifiers.org/uniprot:P2"),
        "d": q("d"),
    }
    found = meaning(list("abcd"), {"a": 1, "b": 1}, quantities=table)
    assert found.label == "UniProt P1"
    assert "both states annotated with UniProt P1" in found.sentence
    assert meaning(list("abcd"), {"a": 1, "c": 1}, quantities=table).sentence == "The sum of a and c."


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("urn:miriam:obo.go:GO%3A0005886", "GO 0005886"),
        ("https://identifiers.org/GO:0005886", "GO 0005886"),
        ("http://identifiers.org/chebi/CHEBI:15422", "ChEBI 15422"),
        ("urn:miriam:kegg.compound:C00002", "KEGG C00002"),
        ("https://example.org/x", "https://example.org/x"),
        ("", ""),
    ],
)
def test_resources_are_called_by_their_collections(uri, name):
    assert resource_name(uri) == name


def test_compartments_and_partners_of_a_file(tmp_path: Path):
    text = sbml_model(
        {"a": 1.0, "b": 2.0, "c": 0.0, "d": 0.0, "e": 1.0},
        {
            "r1": ({"a": 1, "e": 1}, {"c": 1}, "k*a*e"),
            "r2": ({"b": 1, "e": 1}, {"d": 1}, "k*b*e"),
            "r3": ({"c": 1}, {"a": 1, "e": 1}, "l*c"),
            "r4": ({"d": 1}, {"b": 1, "e": 1}, "l*d"),
        },
        {"k": 0.5, "l": 0.25},
    )
    made = sbmlump.reduce(sbmlump.load(saved(tmp_path, text)), ["e"])
    found = {one.sentence for one in meanings_of(made).values()}
    assert any("both states that react with e" in sentence for sentence in found)


# -- other maps ---------------------------------------------------------------------------------------


def test_states_of_an_approximate_reduction_are_coordinates():
    half = Fraction(1, 2)
    found = meaning(
        ["A", "B", "C"], {"A": 3, "B": half, "C": half}, lift=[{"A": Fraction(1, 4), "B": half}], way=AffineLumping
    )
    assert found.kind == "coordinate"
    assert found.label == "mostly A (75 %)"
    assert "not a species" in found.sentence
    assert "A 75 %, B 25 %" in found.sentence


def test_shares_do_not_depend_on_units():
    def shares(factor: Fraction) -> str | None:
        one = {"A": Fraction(3), "B": factor / 2}
        lift = [{"A": Fraction(1, 4), "B": Fraction(1, 2) / factor}]
        return meaning(["A", "B", "C"], one, lift=lift, way=AffineLumping).label

    assert shares(Fraction(1)) == shares(Fraction(1, 10**12)) == "mostly A (75 %)"


def test_a_block_is_one_value_of_several_states():
    found = meaning(["A", "B", "C"], {"A": 1}, lift=[{"A": Fraction(1), "B": Fraction(1)}], way=Embedding)
    assert found.kind == "block"
    assert found.sentence == "One value that 2 states have at all times: A and B."


def test_what_vanished_is_told_with_the_reason():
    made = sbmlump.reduce(sbmlump.load(DATA / "sir_age_groups.xml"), ["S_1 + S_2 + S_3"])
    said = what_vanished(made)
    assert said is not None
    assert said.startswith("3 states are left out because they do not influence what is observed: “recovered, group 1”")
    assert what_vanished(sbmlump.reduce(multisite(2), ["kinase"])) is None


# -- where it is written --------------------------------------------------------------------------------


def test_notes_names_and_json_say_it(tmp_path: Path):
    source = DATA / "multisite_3.xml"
    out = tmp_path / "out.xml"
    outcome = run_reduction(source, ["kinase"], reduce_options(check=False), out)
    model = libsbml.readSBMLFromString(out.read_text(encoding="utf-8")).getModel()
    notes = model.getNotesString()
    lumps = {one["id"]: one for one in outcome.as_json()["meanings"]}
    assert sum(one["label"] is not None for one in lumps.values()) == 4
    for name, one in lumps.items():
        if one["label"] is not None:
            assert one["sentence"] in notes
            assert model.getSpecies(name).getName() == one["label"]
    reduction = outcome.reduction
    assert reduction is not None
    assert sbml_of(reduction) == sbml_of(replace(reduction))


def test_notes_of_an_approximate_model_say_that_states_are_no_species():
    made = reduction(["A", "B"], {"A": 1, "B": 1}, way=AffineLumping)
    assert "control analysis does not apply" in reduction_notes(made, None)
    assert "control analysis" not in reduction_notes(reduction(["A", "B"], {"A": 1, "B": 1}), None)


def test_names_of_anything_are_text(tmp_path: Path):
    hostile = {"a": "x <b>\u202e&amp;", "b": "x <i>*?", "c": "y\n]]>", "d": "", "e": "*?·□" * 30}
    found = meaning(list(hostile), {"a": 1, "b": 1}, quantities=named(**hostile))
    assert "\n" not in found.sentence
    assert "\u202e" not in found.sentence
    meaning(list(hostile), {"d": 1, "e": 2}, {"a": 1, "e": 1}, quantities=named(**hostile))


def test_what_conserved_totals_give_is_told():
    """States that formulas give are neither kept nor left out; what the exact step before left out still is."""
    system = sbmlump.load(DATA / "michaelis_menten.xml")
    found = sbmlump.reduce(system, "S", on_class=True)
    assert {*found.given_by_formulas, *found.vanished, *(lump.id for lump in found.lumps)} == set(system.states)
    assert found.vanished == ("P",)  # S, E and ES do not depend on it
    assert len(found.given_by_formulas) == 1
    (name,) = found.given_by_formulas
    called = system.quantities[name].name
    assert what_follows(found) == (
        f"One state follows from the others by conserved totals, which are constants of the reduced model: {called}."
    )
    assert what_follows(sbmlump.reduce(system, "S")) is None
    fast = sbmlump.reduce(system, "S", method="qssa", fast="ES")
    assert "follow from the others by formulas: " in (what_follows(fast) or "")
