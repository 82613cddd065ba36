"""Models in older levels of SBML: the same model with every digit, or a refusal that names what cannot be said."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path

import libsbml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sbml.read_models import (
    compartment,
    event,
    listed,
    math,
    parameter,
    reaction,
    read_text,
    sbml,
    species,
)
from sbml.test_write_kept import model as described_model
from strategies import event_models, systems_of_anything

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.jobs import sbml_of, written_system
from sbmlump.model import ExactProof, OdeSystem
from sbmlump.proof import verify
from sbmlump.sbml import parse_sbml, read_lumping_annotation

OLDER = ["3.1", "2.4"]
UNITS = 'id="m" substanceUnits="mole" timeUnits="second" volumeUnits="litre" extentUnits="mole"'


def level_of(data: bytes) -> str:
    document = libsbml.readSBMLFromString(data.decode())
    for category in (libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, libsbml.LIBSBML_CAT_MODELING_PRACTICE):
        document.setConsistencyChecks(category, False)
    document.checkConsistency()
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) == 0
    return f"{document.getLevel()}.{document.getVersion()}"


@pytest.mark.parametrize("level", OLDER)
@pytest.mark.parametrize(("file", "observe"), [("multisite_2", "kinase"), ("sir_age_groups", "I_1"), ("ring", "X_1")])
def test_a_reduction_in_an_older_level_is_proved_from_its_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str, file: str, observe: str
) -> None:
    original, reduced = data / f"{file}.xml", tmp_path / "reduced.xml"
    arguments = ["reduce", str(original), "--observe", observe, "--no-check", "--level", level, "-o", str(reduced)]
    assert run(arguments) == 0
    capsys.readouterr()
    assert level_of(reduced.read_bytes()) == level
    assert isinstance(verify(original, reduced), ExactProof)
    newest = tmp_path / "newest.xml"
    sbmlump.reduce(sbmlump.load(original), [observe]).write(newest)
    assert read_lumping_annotation(reduced.read_bytes()) == read_lumping_annotation(newest.read_bytes())


def long_numbers() -> str:
    """Numbers that no 15 digits hold, as attributes and in formulas; two of them are equal in 15 digits."""
    return sbml(
        listed("Compartments", compartment("c", "0.12345678901234566"))
        + listed("Species", species("A", 'initialConcentration="1.0000000000000002"'), species("B"))
        + listed("Parameters", parameter("k", "0.1"), parameter("q", "0.10000000000000002"), parameter("tiny", "1e-7"))
        + listed(
            "Reactions",
            reaction("r", "A", "B", "c * k * A * 0.30000000000000004"),
            reaction("s", "B", "A", "c * (q + 0.3) * B * 1.2345678901234567e-11 * 6.02214076e23"),
        ),
        model=UNITS,
    )


@pytest.mark.parametrize("level", OLDER)
def test_every_digit_is_kept(tmp_path: Path, level: str) -> None:
    system = read_text(tmp_path, long_numbers()).required()
    written = written_system(system, ".xml", level)
    again = parse_sbml(written.data)
    values = {name: again.graph.number_of(node) for name, node in again.constant_values.items()}
    assert values == {
        "c": Fraction("0.12345678901234566"),
        "k": Fraction("0.1"),
        "q": Fraction("0.10000000000000002"),
        "tiny": Fraction("1e-7"),
    }
    point = [0.3, 0.7]
    assert list(again.rates(0.0, point)) == list(system.rates(0.0, point))
    assert list(again.initial_state()) == [1.0000000000000002, 1.0]
    assert not any(one.code == "default-units" for one in written.reasons)


def decay(more: str = "", law: str = "c * k * A", **changes: str) -> str:
    return sbml(
        listed("Compartments", compartment())
        + listed("Species", species("A"))
        + listed("Parameters", parameter("k"), parameter("p", constant=False))
        + changes.get("rules", "")
        + listed("Reactions", reaction("r", "A", "", law))
        + more,
        model=changes.get("model", UNITS),
    )


def dosed(**event_parts: str) -> str:
    return decay(listed("Events", event("time > 1", {"p": "2"}, **event_parts)))


NEW_FUNCTIONS = ["max(2, k)", "min(k, 3)", "rem(7, k)", "quotient(7, k)"]


def started(formula: str) -> str:
    """A model with two initial assignments, one of which is a formula that Level 3 Version 2 alone has."""
    both = (
        f'<initialAssignment symbol="{name}">{math(f)}</initialAssignment>'
        for name, f in (("p", "2*k"), ("q", formula))
    )
    more = listed("Parameters", parameter("k"), parameter("p", None), parameter("q", None))
    text = decay(listed("InitialAssignments", *both), law="c * (p + q) * A")
    return _in_order(text.replace(text[text.index("<listOfParameters") : text.index("<listOfReactions")], more))


def _in_order(text: str) -> str:
    """Initial assignments before reactions."""
    start, end = text.index("<listOfInitialAssignments"), text.index("</model>")
    moved = text[start:end]
    return text[:start].replace("<listOfReactions", moved + "<listOfReactions") + text[end:]


@pytest.mark.parametrize(
    ("text", "levels", "words"),
    [
        (dosed(more=f"<priority>{math('3')}</priority>"), ["2.4"], ["priority", "at e"]),
        (dosed(flags='initialValue="true" persistent="false"'), ["2.4"], ["persistent", "at e"]),
        (dosed(flags='initialValue="false" persistent="true"'), ["2.4"], ["nitial", "at e"]),
        (decay(law="c * k * max(A, 2)"), ["2.4", "3.1"], ["MathML", "at r"]),
        *((started(f), ["2.4", "3.1"], [f"({f.partition('(')[0]})", "at q"]) for f in NEW_FUNCTIONS),
        (decay(model=UNITS + ' conversionFactor="k"'), ["2.4"], ["onversion"]),
    ],
    ids=["priority", "persistence", "initial value of a trigger", "functions", *NEW_FUNCTIONS, "conversion factor"],
)
def test_what_an_older_level_cannot_say_is_refused_by_name(
    tmp_path: Path, text: str, levels: list[str], words: list[str]
) -> None:
    system = read_text(tmp_path, text).required()
    for level in OLDER:
        if level not in levels:
            assert level_of(written_system(system, ".xml", level).data) == level
            continue
        with pytest.raises(UnsupportedModelError) as caught:
            written_system(system, ".xml", level)
        assert {one.code for one in caught.value.reasons} == {"level-not-writable"}
        assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("level", OLDER)
@pytest.mark.parametrize("name", [None, "n"])
def test_stoichiometries_that_are_formulas(tmp_path: Path, level: str, name: str | None) -> None:
    formula = math("k + 3 / 2")
    if name is None:  # as Level 2 has it
        reference = f'<speciesReference species="B"><stoichiometryMath>{formula}</stoichiometryMath></speciesReference>'
        text = sbml(
            '<listOfCompartments><compartment id="c" size="1"/></listOfCompartments>'
            '<listOfSpecies><species id="A" compartment="c" initialConcentration="1"/>'
            '<species id="B" compartment="c" initialConcentration="0"/></listOfSpecies>'
            '<listOfParameters><parameter id="k" value="0.5"/></listOfParameters><listOfReactions><reaction id="r">'
            f'<listOfReactants><speciesReference species="A"/></listOfReactants><listOfProducts>{reference}'
            f"</listOfProducts><kineticLaw>{math('k * A * c')}</kineticLaw></reaction></listOfReactions>",
            level=2,
            version=4,
        )
    else:
        rule = f'<listOfRules><assignmentRule variable="n">{formula}</assignmentRule></listOfRules>'
        text = (
            decay(rules=rule)
            .replace(
                "</listOfReactants>",
                "</listOfReactants><listOfProducts><speciesReference "
                'id="n" species="B" constant="false"/></listOfProducts>',
            )
            .replace("</listOfSpecies>", species("B", 'initialConcentration="0"') + "</listOfSpecies>")
        )
    system = read_text(tmp_path, text).required()
    written = written_system(system, ".xml", level)
    again = parse_sbml(written.data)
    assert list(again.rates(0.0, [0.25, 0.5])) == list(system.rates(0.0, [0.25, 0.5]))
    assert level_of(written.data) == level
    assert (b"<stoichiometryMath" in written.data) == (level == "2.4")
    told = [one.message for one in written.reasons if one.code == "not-kept" and "stoichiometries n as" in one.message]
    assert len(told) == (level == "2.4" and name is not None)


@pytest.mark.parametrize("level", OLDER)
def test_what_is_only_said_of_elements_is_left_out_and_told(tmp_path: Path, level: str) -> None:
    text = described_model()
    priority = text[text.index("<priority") : text.index("</priority>") + len("</priority>")]
    system = read_text(tmp_path, text.replace(priority, "")).required()
    written = written_system(system, ".xml", level)
    told = "\n".join(one.message for one in written.reasons if one.code == "not-kept")
    assert "ids and names of 9 elements" in told
    assert ("package layout" in told) == (level == "2.4")
    assert (b"listOfGroups" in written.data) == (level == "3.1")
    # annotations are what they were, with all their prefixes
    newest = written_system(system, ".xml").data
    fragment = newest[newest.index(b"<annotation>") : newest.index(b"</annotation>")]
    assert fragment in written.data


def test_units_that_level_2_takes_by_itself_are_told(tmp_path: Path) -> None:
    system = read_text(tmp_path, decay(model='id="m" timeUnits="second"')).required()
    (told,) = (one.message for one in written_system(system, ".xml", "2.4").reasons if one.code == "default-units")
    assert "substance in mole, volume in litre" in told
    assert "second" not in told
    assert not any(one.code == "default-units" for one in written_system(system, ".xml", "3.1").reasons)


def test_levels_are_of_sbml_and_groups_of_level_3(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(data / "michaelis_menten.xml")
    for more in (
        ["convert", path, "--level", "2.4", "-o", str(tmp_path / "m.ode")],
        ["convert", path, "--level", "1.2", "-o", str(tmp_path / "m.xml")],
        ["reduce", path, "--observe", "P", "--level", "3.1", "-o", str(tmp_path / "m.csv")],
        ["reduce", path, "--observe", "P", "--level", "2.4", "--groups", "-o", str(tmp_path / "m.xml")],
    ):
        assert run(more) == 2
        assert "--level" in capsys.readouterr().err or "--groups" in more
    assert not list(tmp_path.iterdir())
    reduction = sbmlump.reduce(sbmlump.load(path), ["P"])
    with pytest.raises(UsageError):
        reduction.write(tmp_path / "m.xml", level="2.5")
    reduction.write(tmp_path / "m.xml", level="2.4")
    assert level_of((tmp_path / "m.xml").read_bytes()) == "2.4"


def test_convert_to_an_older_level_and_archives_in_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, old, archive = data / "ring.xml", tmp_path / "old.xml", tmp_path / "old.omex"
    assert run(["convert", str(path), "--level", "2.4", "-o", str(old), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["states"] == sbmlump.load(path).size
    assert level_of(old.read_bytes()) == "2.4"
    assert run(["convert", str(path), "--level", "2.4", "-o", str(archive)]) == 0
    assert sbmlump.load(archive).states == sbmlump.load(path).states
    with zipfile.ZipFile(archive) as content:
        assert b"language:sbml.level-2.version-4" in content.read("experiment.sedml")


def in_older_levels(system: OdeSystem) -> None:
    """Each older level gives the same rates, or a refusal with a code."""
    point = [0.3 + 0.1 * i for i in range(system.size)]
    for level in OLDER:
        found: set[str] = set()
        try:
            data = written_system(system, ".xml", level).data
        except SbmlumpError as error:
            found = {one.code for one in error.reasons}
        assert found <= {"level-not-writable", "written-differs"}
        if found:
            continue
        again = parse_sbml(data)
        order = [again.state_index[name] for name in system.states]
        moved = [0.0] * system.size
        for place, value in zip(order, point, strict=True):
            moved[place] = value
        rates = again.rates(0.5, moved)
        assert [rates[k] for k in order] == pytest.approx(list(system.rates(0.5, point)), rel=1e-9, nan_ok=True)


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_system_is_the_same_or_refused(drawn: st.DataObject) -> None:
    system = drawn.draw(systems_of_anything())
    try:
        written_system(system, ".xml")
    except SbmlumpError:
        return
    in_older_levels(system)


@given(event_models())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_events_are_the_same_or_refused(text: str) -> None:
    system = parse_sbml(text.encode())
    in_older_levels(system)


def test_the_reduction_is_the_same_document_where_nothing_older_is_asked_for(data: Path) -> None:
    reduction = sbmlump.reduce(sbmlump.load(data / "ring.xml"), ["X_1"])
    assert sbml_of(reduction, level="3.2") == sbml_of(reduction)
