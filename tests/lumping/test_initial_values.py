"""Initial values and computed constants are part of what a reduction claims, and of what `verify` compares."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from sbml.read_models import assignment, compartment, event, listed, parameter, reaction, rule, sbml, species
from written_files import worst_difference

import sbmlump
from sbmlump.model import ExactProof, ReducedSystem
from sbmlump.proof import NoLumping, Refutation

F = Fraction


def document(
    species_: str,
    parameters: str,
    reactions: str,
    assignments: str = "",
    rules: str = "",
    events: str = "",
    compartments: str | None = None,
) -> str:
    """A model from the content of its lists."""
    return sbml(
        listed("Compartments", compartment(size="2") if compartments is None else compartments)
        + listed("Species", species_)
        + listed("Parameters", parameters)
        + listed("InitialAssignments", assignments)
        + listed("Rules", rules)
        + listed("Reactions", reactions)
        + listed("Events", events)
    )


def constants(**values: str) -> str:
    return "".join(parameter(name, value) for name, value in values.items())


TRANSMISSION = document(
    species("U", 'initialConcentration="70"') + species("V", 'initialConcentration="5"') + species("W"),
    constants(ratio="3", loss="0.5", beta="0"),
    reaction("r1", "U V", "2*V", "beta*U*V*c") + reaction("r2", "V", "W", "loss*V*c"),
    assignment("beta", "ratio*loss/(U + V + W)"),
)
"""The rate constant is computed from parameters and from a population of which W is not needed."""

CONTROLLED = document(
    species("A") + species("B", 'initialConcentration="3"'),
    constants(k="0.5", s="2", level="0"),
    reaction("r1", "", "A", "level*c") + reaction("r2", "A", "", "k*A*c") + reaction("r3", "B", "", "k*B*c"),
    assignment("A", "s*3 + 1") + assignment("level", "A*B/(1 + A)"),
)
"""A constant of the members of a pool that is no function of the pool."""

FLUX = document(
    species("A") + species("B", 'initialConcentration="3"') + species("Z"),
    constants(k="0.5", m="2", supply="0"),
    reaction("r1", "", "A", "supply*c") + reaction("r2", "A", "", "k*A*c") + reaction("r3", "B", "Z", "m*B*Z*c"),
    assignment("supply", "r3/c + k"),
)
"""A constant that is a flux of what is removed."""

SIZED_BY_RULE = document(
    species("A", amounts=True) + species("B", 'initialAmount="4"') + species("G", 'initialConcentration="0.5"'),
    constants(w="3", k="0.1") + parameter("grown", None, constant=False),
    reaction("r1", "B", "", "k*v*A*B"),
    rules=rule("assignmentRule", "v", "1 + w*grown") + rule("assignmentRule", "grown", "2 + w"),
    compartments=compartment("v", None, constant=False) + compartment(),
).replace('compartment="c" initialConcentration="1"', 'compartment="v" initialConcentration="1"')
"""An amount that stays what it is, given as a concentration in a compartment of a computed size."""

GROWING = document(
    species("K", where="v", constant=True, boundary=True) + species("D", where="v") + species("E", where="v"),
    constants(k="0.3", rate="0.2", first="1.5"),
    reaction("u", "D", "E", "k*v*D*K"),
    assignment("v", "first + k"),
    rules=rule("rateRule", "v", "rate"),
    compartments=compartment("v", None, constant=False),
)
"""A species at rest in a compartment that grows and whose initial size is computed."""

STOICHIOMETRY = document(
    species("A") + species("B", 'initialConcentration="3"') + species("Y", 'initialConcentration="0.25"'),
    constants(k="0.5", q="2"),
    reaction("r1", "", "A", "k*c").replace("speciesReference ", 'speciesReference id="made" ')
    + reaction("r2", "A", "", "k*A*c")
    + reaction("r3", "B", "", "k*B*c")
    + reaction("r4", "Y", "", "k*Y*c"),
    assignment("made", "2*q + Y"),
)
"""A stoichiometry computed from a parameter and from a state that is not needed."""

TWO_STEPS = document(
    species("A") + species("B", 'initialConcentration="3"') + species("Y", 'initialConcentration="0.25"'),
    constants(k="0.5", q="2", first="0", second="0"),
    reaction("r1", "", "A", "second*c") + reaction("r2", "A", "", "k*A*c") + reaction("r3", "B Y", "Y", "k*B*c"),
    assignment("Y", "first/q") + assignment("first", "q^2 + B") + assignment("second", "Y + first"),
)
"""Constants and initial values computed from each other in turn."""

MODELS = {
    "transmission": (TRANSMISSION, ["V"], {"ratio": F(17, 10), "loss": F(1, 4)}),
    "controlled": (CONTROLLED, ["T = A + B"], {"s": F(5), "k": F(1, 3)}),
    "flux": (FLUX, ["A"], {"m": F(7), "k": F(1, 3)}),
    "sized by rule": (SIZED_BY_RULE, ["A"], {"w": F(5)}),
    "growing": (GROWING, ["D"], {"first": F(4), "k": F(1), "rate": F(1, 9)}),
    "stoichiometry": (STOICHIOMETRY, ["T = A + B"], {"q": F(1, 2), "k": F(2)}),
    "two steps": (TWO_STEPS, ["T = A + B"], {"q": F(3), "k": F(2)}),
}


def written(
    folder: Path, text: str, observe: list[str], method: str = "exact", keep: str = "none"
) -> tuple[Path, Path, ReducedSystem]:
    source, target = folder / "original.xml", folder / "reduced.xml"
    source.write_text(text, encoding="utf-8")
    reduction = sbmlump.reduce(sbmlump.load(source), observe, method, keep_parameters=keep)
    reduction.write(target)
    return source, target, reduction


@pytest.mark.parametrize(
    ("method", "keep"), [("exact", "none"), ("forward-equivalence", "none"), ("exact,conservation", "all")]
)
@pytest.mark.parametrize("name", MODELS)
def test_what_is_computed_stays_computed(tmp_path: Path, name: str, method: str, keep: str) -> None:
    text, observe, values = MODELS[name]
    source, target, reduction = written(tmp_path, text, observe, method, keep)
    proof = reduction.certificate
    assert isinstance(proof, ExactProof)
    assert proof.holds_for == "all-parameter-values"
    again = sbmlump.verify(source, target)
    assert isinstance(again, ExactProof), again
    assert again.holds_for == "all-parameter-values" or method == "exact,conservation"
    before, after = sbmlump.load(source), sbmlump.load(target)
    assert worst_difference(before, after, reduction.lumps) < 1e-9
    there = {c.id for c in after.constants}
    after = after.with_values({key: value for key, value in values.items() if key in there})
    assert worst_difference(before.with_values(values), after, reduction.lumps) < 1e-9
    assert worst_difference(before, after, reduction.lumps) > 1e-3  # the values matter


def test_constants_that_cannot_follow_every_initial_value_are_named(tmp_path: Path) -> None:
    """W is gone and counts in beta; a constant of the pool alone follows the pool."""
    _, _, reduction = written(tmp_path, TRANSMISSION, ["V"])
    assert any("does not have: beta;" in remark for remark in reduction.remarks)
    text = CONTROLLED.replace(assignment("level", "A*B/(1 + A)"), assignment("level", "s/(1 + A + B)"))
    assert text != CONTROLLED
    _, target, reduction = written(tmp_path, text, ["T = A + B"])
    assert reduction.system.size == 1
    assert not any("does not have" in remark for remark in reduction.remarks)
    start = {reduction.system.states[0]: F(9)}
    moved = sbmlump.load(target).with_values(start)
    assert moved.graph.number_of(moved.constant_values["level"]) == F(2, 10)


def test_so_are_constants_that_nothing_depends_on(tmp_path: Path) -> None:
    """The file has them, and they may be all that is observed of what is gone."""
    text = CONTROLLED.replace(assignment("level", "A*B/(1 + A)"), assignment("level", "A + B")).replace(
        "level*c", "k*c"
    )
    _, _, reduction = written(tmp_path, text, ["A", "level"])
    assert reduction.system.states == ("A",)
    assert any("does not have: level;" in remark for remark in reduction.remarks)


@pytest.mark.parametrize("name", ["transmission", "controlled", "flux", "stoichiometry", "two steps"])
def test_a_frozen_constant_is_refuted(tmp_path: Path, name: str) -> None:
    """The number that the formula has in the file is not what it is for all values of the parameters."""
    text, observe, _ = MODELS[name]
    source, target, reduction = written(tmp_path, text, observe, keep="all")
    found = re.search(
        r'<initialAssignment symbol="(beta|level|supply|made|second)">.*?</math>', target.read_text(), re.DOTALL
    )
    assert found is not None
    value = float(dict(zip(*_numbers(reduction), strict=True))[found[1]])
    number = f'<initialAssignment symbol="{found[1]}"><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>{value!r}</cn></math>'
    target.write_text(target.read_text().replace(found[0], number))
    outcome = sbmlump.verify(source, target)
    assert isinstance(outcome, Refutation)
    assert {reason.code for reason in outcome.reasons} == {"constant-differs"}
    assert {reason.element for reason in outcome.reasons} == {found[1]}


def _numbers(reduction: ReducedSystem) -> tuple[list[str], list[float]]:
    from sbmlump.model import values_of

    table = reduction.system.constant_values
    return list(table), values_of(reduction.system.graph, list(table.values())).tolist()


def test_another_formula_of_a_free_constant_is_refuted(tmp_path: Path) -> None:
    """A parameter that the reduced file computes from another one follows that one; in the original it does not."""
    source, target, _ = written(tmp_path, TRANSMISSION, ["V"], keep="all")
    text = target.read_text()
    tied = text.replace("<listOfInitialAssignments>", f"<listOfInitialAssignments>{assignment('ratio', '6*loss')}")
    assert tied != text
    target.write_text(tied)
    outcome = sbmlump.verify(source, target)
    assert isinstance(outcome, Refutation)
    assert any(reason.element == "ratio" for reason in outcome.reasons)


POOL = document(
    species("A") + species("B", 'initialConcentration="3"') + species("P", 'initialConcentration="0"'),
    constants(k="0.5", m="0.5", a="2", n="2") + parameter("seen", None, constant=False),
    reaction("r1", "A", "P", "k*A*c") + reaction("r2", "B", "P", "m*B*c") + reaction("r3", "P", "", "a*P^2*c"),
    rules=rule("assignmentRule", "seen", "a*P"),
)


def test_only_what_is_needed_is_listed(tmp_path: Path) -> None:
    """A and B can be pooled because k and m are equal in value; a and the size of the compartment do not matter."""
    source, target, reduction = written(tmp_path, POOL, ["P"])
    assert reduction.system.size == 2
    proof, again = reduction.certificate, sbmlump.verify(source, target)
    assert isinstance(proof, ExactProof)
    assert isinstance(again, ExactProof)
    for one in (proof, again):
        assert dict(one.valid_for) == {"k": "1/2", "m": "1/2"}
        assert set(one.symbolic) == {"a", "c", "n"}
        assert one.holds_for == one.as_json()["holds_for"] == "file-values"
    notes = target.read_text()
    assert (
        "It rests on values of the original model: k = 1/2, m = 1/2; the other parameters may have any values." in notes
    )
    kept = sbmlump.reduce(sbmlump.load(source), ["P"], keep_parameters="all")
    assert kept.system.size == 3
    kept.write(target)
    assert isinstance(kept.certificate, ExactProof)
    assert kept.certificate.holds_for == "all-parameter-values"


def test_constants_that_what_is_needed_is_computed_from_are_listed_too(tmp_path: Path) -> None:
    text = POOL.replace(
        "<listOfRules>", f"<listOfInitialAssignments>{assignment('m', 'n/4')}</listOfInitialAssignments><listOfRules>"
    )
    _, _, reduction = written(tmp_path, text, ["P"])
    assert isinstance(reduction.certificate, ExactProof)
    assert dict(reduction.certificate.valid_for) == {"k": "1/2", "m": "1/2", "n": "2"}


def test_a_file_that_says_too_much_of_itself_is_refuted(tmp_path: Path) -> None:
    """Without what it rests on, or with constants said to be free that are not."""
    source, target, _ = written(tmp_path, POOL, ["P"])
    text = target.read_text()
    silent = re.sub(r"<validFor>.*?</validFor>", "<validFor>\n</validFor>", text, flags=re.DOTALL)
    assert silent != text
    target.write_text(silent)
    outcome = sbmlump.verify(source, target)
    assert isinstance(outcome, Refutation)
    assert {reason.code for reason in outcome.reasons} == {"valid-for-differs"}
    free = text.replace('["a", "c", "n"]', '["a", "c", "k", "n"]')
    assert free != text
    target.write_text(free)
    assert isinstance(sbmlump.verify(source, target), Refutation)


RESTING = document(
    species("S", where="v") + species("T", where="v", value='initialConcentration="3"'),
    constants(k="0.3"),
    "",
    rules=rule("rateRule", "v", "0"),
    events=event("time > 1", {"v": "v + 10*k"}),
    compartments=compartment("v", "1.5", constant=False),
)


def test_resting_species_in_a_compartment_that_an_event_resizes(tmp_path: Path) -> None:
    source, target, _ = written(tmp_path, RESTING, ["S"])
    outcome = sbmlump.verify(source, target)
    assert isinstance(outcome, ExactProof), outcome


def test_every_shared_id_is_compared(tmp_path: Path) -> None:
    """Whether or not the annotation names it: an assigned quantity, and a state that was eliminated."""
    text = document(
        species("A") + species("B", 'initialConcentration="2"'),
        constants(k="0.5", b="0.25") + parameter("mixed", None, constant=False),
        reaction("r1", "A", "B", "k*A*c") + reaction("r2", "B", "A", "b*B*c"),
        rules=rule("assignmentRule", "mixed", "A + 3*B"),
    )
    source, target, _ = written(tmp_path, text, ["A"], "conservation")
    good = target.read_text()
    assert isinstance(sbmlump.verify(source, target), ExactProof)
    for name in ("mixed", "B"):
        bad = re.sub(
            rf'(<assignmentRule variable="{name}">\s*<math[^>]*>).*?(</math>)',
            r"\g<1><cn> 7 </cn>\g<2>",
            good,
            flags=re.DOTALL,
        )
        assert bad != good
        target.write_text(bad)
        outcome = sbmlump.verify(source, target)
        assert isinstance(outcome, Refutation), name
        assert any(name in reason.message for reason in outcome.reasons)
    plain = re.sub(r"<annotation>.*?</annotation>", "", good, flags=re.DOTALL)
    target.write_text(plain)
    assert not isinstance(sbmlump.verify(source, target), (Refutation, NoLumping))
    target.write_text(plain.replace("<ci> B </ci>", "<cn> 2 </cn>"))
    assert isinstance(sbmlump.verify(source, target), Refutation)
