"""What cannot become an ODE system is refused with every reason, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sbml.read_models import (
    MATHML,
    assignment,
    codes_of,
    compartment,
    event,
    listed,
    math,
    parameter,
    reaction,
    read_text,
    rule,
    sbml,
    species,
    system_of,
)

from sbmlump.errors import InputError, UnsupportedModelError
from sbmlump.sbml import load_sbml

AROUND = listed("Compartments", compartment()) + listed("Species", species("A"))


def test_all_reasons_at_once(tmp_path: Path) -> None:
    reactions = reaction("r", "A", "", "nosuch*A"), reaction("s", "A", "", None), reaction("t", "none", "", "1")
    result = read_text(tmp_path, sbml(AROUND + listed("Reactions", *reactions)))
    assert result.system is None
    assert sorted((r.code, r.element) for r in result.reasons) == [
        ("no-kinetic-law", "s"),
        ("unknown-id", "none"),
        ("unknown-id", "r"),
    ]
    assert all("model.xml, line" in r.message for r in result.reasons)
    assert (result.id, result.level, result.version) == ("m", 3, 2)
    assert result.counts["reactions"] == 3
    assert result.counts["states"] == 1


def test_load_raises_with_the_reasons(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(sbml(AROUND + listed("Reactions", reaction("r", "A", "", None))))
    with pytest.raises(UnsupportedModelError) as caught:
        load_sbml(path)
    assert [r.code for r in caught.value.reasons] == ["no-kinetic-law"]


def test_fast_reactions(tmp_path: Path) -> None:
    one = reaction("r", "A", "", "A").replace('reversible="false"', 'reversible="false" fast="true"')
    plain = AROUND + listed("Reactions", one)
    assert codes_of(tmp_path, sbml(plain, version=1)) == ["fast-reaction"]
    many = "".join(one.replace('id="r"', f'id="r{i}"') for i in range(70))
    (reason,) = read_text(tmp_path, sbml(AROUND + listed("Reactions", many), version=1)).reasons
    assert (reason.code, reason.element) == ("fast-reaction", "r0")
    assert "70 of 70 reactions are declared fast" in reason.message
    assert "equilibrium" in reason.message
    assert "ordinary" in reason.message


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([rule("assignmentRule", "p", "q"), rule("assignmentRule", "q", "p")], "circular-assignment"),
        ([rule("assignmentRule", "p", "p + 1")], "circular-assignment"),
        ([rule("rateRule", "p", "rateOf(q)"), rule("rateRule", "q", "rateOf(p)")], "circular-assignment"),
        ([rule("assignmentRule", "p", "1"), rule("rateRule", "p", "1")], "duplicate-rule"),
        ([rule("assignmentRule", "nosuch", "1")], "unknown-id"),
        ([rule("rateRule", "q", "rateOf(p)"), rule("assignmentRule", "p", "floor(A)")], "rate-of"),
    ],
)
def test_rules_that_make_no_sense(tmp_path: Path, rules: list[str], code: str) -> None:
    kinds = listed("Parameters", parameter("p", constant=False), parameter("q", constant=False))
    reactions = listed("Reactions", reaction("r", "A", "", "A"))
    assert codes_of(tmp_path, sbml(AROUND + kinds + listed("Rules", *rules) + reactions)) == [code]


def test_a_size_that_depends_on_its_own_concentration_is_refused(tmp_path: Path) -> None:
    where = listed("Compartments", compartment(size=None, constant=False)) + listed("Species", species("A"))
    rest = listed("Rules", rule("assignmentRule", "c", "1 + A")) + listed("Reactions", reaction("r", "A", "", "A"))
    assert codes_of(tmp_path, sbml(where + rest)) == ["circular-assignment"]


def test_initial_values_in_a_circle(tmp_path: Path) -> None:
    kinds = listed("Parameters", parameter("p"), parameter("q"))
    starts = listed("InitialAssignments", assignment("p", "q"), assignment("q", "p + 1"))
    assert codes_of(tmp_path, sbml(kinds + starts)) == ["circular-initial-value"]


def test_missing_values_are_named_only_where_needed(tmp_path: Path) -> None:
    kinds = listed("Parameters", *(parameter(name, None) for name in ("k", "unused", "start")))
    where = listed("Compartments", compartment(size=None), compartment("d", None))
    some = listed("Species", species("A", 'initialAmount="1"'), species("B", ""), species("C", where="d"))
    starts = listed("InitialAssignments", assignment("C", "start"))
    reactions = listed("Reactions", reaction("r", "A", "B", "k*A*c"), reaction("s", "C", "", "C*d"))
    result = read_text(tmp_path, sbml(where + some + kinds + starts + reactions))
    assert {r.code for r in result.reasons} == {"missing-value"}
    assert {r.element for r in result.reasons} == {"c", "k", "B", "start"}


def test_a_size_that_cancels_need_not_be_given(tmp_path: Path) -> None:
    where = listed("Compartments", compartment(size=None)) + listed("Species", species("A"))
    system = system_of(tmp_path, sbml(where + listed("Reactions", reaction("r", "A", "", "2*A*c"))))
    assert system.rates(0.0, [3.0]).tolist() == [-6.0]


def test_a_missing_stoichiometry(tmp_path: Path) -> None:
    one = reaction("r", "A", "", "A").replace('stoichiometry="1" ', "")
    assert codes_of(tmp_path, sbml(AROUND + listed("Reactions", one))) == ["missing-value"]


def test_a_compartment_of_size_0(tmp_path: Path) -> None:
    where = listed("Compartments", compartment(size="0")) + listed("Species", species("A"))
    assert codes_of(tmp_path, sbml(where + listed("Reactions", reaction("r", "A", "", "A")))) == ["zero-size"]


def test_ids_given_twice(tmp_path: Path) -> None:
    kinds = listed("Parameters", parameter("A"), parameter("q"))
    assert codes_of(tmp_path, sbml(AROUND + kinds)) == ["duplicate-id"]
    named = listed("Parameters", parameter("e", constant=False)) + listed("Events", event("time > 1", {"e": "2"}))
    assert codes_of(tmp_path, sbml(named)) == ["duplicate-id"]


@pytest.mark.parametrize("name", ["qual", "spatial", "multi", "somethingnew"])
def test_required_packages(tmp_path: Path, name: str) -> None:
    uri = f"http://www.sbml.org/sbml/level3/version1/{name}/version1"
    text = sbml(AROUND, version=1, root=f'xmlns:{name}="{uri}" {name}:required="true"')
    assert f"package-required:{name}" in codes_of(tmp_path, text)


@pytest.mark.parametrize("name", ["layout", "render", "groups", "somethingnew"])
def test_packages_that_are_not_required_are_no_obstacle(tmp_path: Path, name: str) -> None:
    uri = f"http://www.sbml.org/sbml/level3/version1/{name}/version1"
    text = sbml(AROUND, version=1, root=f'xmlns:{name}="{uri}" {name}:required="false"')
    assert system_of(tmp_path, text).size == 0


def test_flux_balance_models(tmp_path: Path) -> None:
    uri = "http://www.sbml.org/sbml/level3/version1/fbc/version2"
    text = sbml(
        AROUND + listed("Reactions", reaction("r", "A", "", None).replace("<reaction", '<reaction fast="false"')),
        version=1,
        model='id="m" fbc:strict="false"',
        root=f'xmlns:fbc="{uri}" fbc:required="false"',
    )
    assert codes_of(tmp_path, text) == ["flux-balance-only"]


def test_many_reactions_without_law_are_one_reason(tmp_path: Path) -> None:
    reactions = [reaction(f"r{i}", "A", "", None) for i in range(30)]
    result = read_text(tmp_path, sbml(AROUND + listed("Reactions", *reactions)))
    assert [r.code for r in result.reasons] == ["no-kinetic-law"]
    assert "30 of 30" in result.reasons[0].message


def test_missing_mathematics_is_an_error_before_level_3_version_2_and_nothing_after(tmp_path: Path) -> None:
    body = listed("Parameters", parameter("p", "3", constant=False)) + listed("Rules", '<rateRule variable="p"/>')
    assert codes_of(tmp_path, sbml(body, version=1)) == ["no-math"]
    assert [c.id for c in system_of(tmp_path, sbml(body)).constants] == ["p"]


def test_constraints_are_carried_over(tmp_path: Path) -> None:
    said = '<message><p xmlns="http://www.w3.org/1999/xhtml">too much</p></message>'
    one = f"<constraint>{math('p < 2')}{said}</constraint>"
    system = system_of(tmp_path, sbml(listed("Parameters", parameter("p")) + listed("Constraints", one)))
    assert system.graph.name(system.constraints[0].condition) == "lt"
    assert "too much" in (system.constraints[0].message or "")


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (listed("Rules", rule("rateRule", "k", "1")), "constant-changes"),
        (listed("Rules", rule("assignmentRule", "c", "1")), "constant-changes"),
        (listed("Events", event("time > 1", {"k": "1"})), "constant-changes"),
        (listed("Reactions", reaction("r", "C", "", "1")), "constant-changes"),
        (
            listed("Rules", rule("rateRule", "A", "1")) + listed("Reactions", reaction("r", "A", "", "1")),
            "rule-and-reaction",
        ),
    ],
)
def test_contradictions_between_flags_and_mathematics(tmp_path: Path, part: str, code: str) -> None:
    some = listed("Species", species("A"), species("C", constant=True)) + listed("Parameters", parameter("k"))
    assert set(codes_of(tmp_path, sbml(listed("Compartments", compartment()) + some + part))) == {code}


def test_a_stoichiometry_divided_by_zero(tmp_path: Path) -> None:
    text = sbml(
        '<listOfCompartments><compartment name="c"/></listOfCompartments>'
        '<listOfSpecies><species name="A" compartment="c" initialAmount="1"/></listOfSpecies>'
        '<listOfReactions><reaction name="r"><listOfReactants>'
        '<speciesReference species="A" stoichiometry="1" denominator="0"/></listOfReactants>'
        '<kineticLaw formula="A"/></reaction></listOfReactions>',
        level=1,
        model='name="m"',
    )
    assert codes_of(tmp_path, text) == ["bad-number"]


# -- what is neither refused nor read in silence -----------------------------------------------------


def annotated(space: str, definition: str, body: str) -> str:
    """A model whose parameter k is set by a function definition that is annotated."""
    note = f'<annotation><x xmlns="{space}" definition="{definition}"/></annotation>'
    arguments = "<bvar><ci>a</ci></bvar><bvar><ci>b</ci></bvar>"
    function = f'<functionDefinition id="f">{note}<math {MATHML}><lambda>{arguments}{body}</lambda></math>'
    given = listed("InitialAssignments", assignment("k", "f(1, 2)"))
    return sbml(
        listed("FunctionDefinitions", f"{function}</functionDefinition>") + listed("Parameters", parameter("k")) + given
    )


DISTRIBUTION = "http://sbml.org/annotations/distribution"


@pytest.mark.parametrize(
    ("space", "definition", "body", "expected"),
    [
        (DISTRIBUTION, "http://en.wikipedia.org/wiki/Normal_distribution", "<notanumber/>", ["random-number"]),
        (DISTRIBUTION, "http://www.uncertml.org/distributions/uniform", "<notanumber/>", ["random-number"]),
        (DISTRIBUTION, "http://en.wikipedia.org/wiki/Poisson_distribution", "<ci>a</ci>", ["random-number"]),
        ("http://sbml.org/annotations/symbols", "http://example.org/magic", "<notanumber/>", ["unsupported-math"]),
    ],
)
def test_functions_whose_meaning_is_annotated_are_not_their_bodies(
    tmp_path: Path, space: str, definition: str, body: str, expected: list[str]
) -> None:
    assert codes_of(tmp_path, annotated(space, definition, body)) == expected


def test_other_annotations_of_functions_say_nothing(tmp_path: Path) -> None:
    system = system_of(tmp_path, annotated("http://example.org/", "http://example.org/x", "<ci> b </ci>"))
    assert system.graph.number_of(system.constant_values["k"]) == 2


@pytest.mark.parametrize(
    ("size", "more", "refused"),
    [
        ("0", "", True),
        (None, listed("InitialAssignments", assignment("c", "2 - 2")), True),
        (None, listed("InitialAssignments", assignment("c", "sin(p) - sin(1)")), True),
        (None, listed("Rules", rule("assignmentRule", "c", "3*time")), True),
        ("0", listed("Rules", rule("rateRule", "c", "1")), True),
        ("0", listed("Events", event("time > 1", {"c": "2"})), True),
        ("2", listed("Events", event("time > 1", {"c": "0"})), True),
        ("0", listed("InitialAssignments", assignment("c", "2")), False),
        (None, listed("Rules", rule("assignmentRule", "c", "1 + 3*time")), False),
    ],
)
@pytest.mark.parametrize("changes", [True, False])
def test_compartments_of_size_zero_hold_no_concentration(
    tmp_path: Path, size: str | None, more: str, refused: bool, changes: bool
) -> None:
    kinds = compartment("c", size, constant=False)
    kept = listed("Species", species("S", 'initialAmount="3"'), species("T", 'initialAmount="3"', amounts=True))
    flows = listed("Reactions", reaction("r", "S" if changes else "T", "", "0.1*T"))
    order = ("InitialAssignments", "Rules")
    before = more if any(word in more for word in order) else ""
    text = sbml(
        listed("Compartments", kinds)
        + kept
        + listed("Parameters", parameter("p", "1"))
        + before
        + flows
        + ("" if before else more)
    )
    if refused:
        assert set(codes_of(tmp_path, text)) == {"zero-size"}
    else:
        assert system_of(tmp_path, text).states


def test_uncertainties_are_read_past_and_said(tmp_path: Path) -> None:
    space = "http://www.sbml.org/sbml/level3/version1/distrib/version1"
    root = f'xmlns:distrib="{space}" distrib:required="true"'
    uncertain = (
        '<distrib:listOfUncertainties><distrib:uncertainty><distrib:uncertParameter distrib:type="standardDeviation" '
        'distrib:value="0.3"/></distrib:uncertainty></distrib:listOfUncertainties>'
    )
    kind = parameter("p", "2").replace("/>", f">{uncertain}</parameter>")
    result = read_text(tmp_path, sbml(listed("Parameters", kind), version=1, root=root))
    assert result.reasons == ()
    assert [remark.code for remark in result.remarks] == ["uncertainty-not-read"]
    assert result.system is not None
    assert result.system.graph.number_of(result.system.constant_values["p"]) == 2


@pytest.mark.parametrize(("laws", "expected"), [(2, ["no-kinetic-law"]), (0, ["flux-balance-only"])])
def test_fluxes_without_laws_are_named_where_others_have_laws(tmp_path: Path, laws: int, expected: list[str]) -> None:
    root = 'xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2" fbc:required="false"'
    flows = [reaction(f"r{i}", "A", "", "A" if i < laws else None) for i in range(3 if laws else 2)]
    body = listed("Compartments", compartment()) + listed("Species", species("A")) + listed("Reactions", *flows)
    result = read_text(tmp_path, sbml(body, root=root, model='id="m" fbc:strict="false"'))
    assert [reason.code for reason in result.reasons] == expected
    if laws:
        assert [reason.element for reason in result.reasons] == ["r2"]


@pytest.mark.parametrize("value", ["NaN", "INF", "-INF"])
def test_stoichiometries_are_numbers(tmp_path: Path, value: str) -> None:
    flow = reaction("r", "A", "", "A").replace('stoichiometry="1"', f'stoichiometry="{value}"')
    body = listed("Compartments", compartment()) + listed("Species", species("A")) + listed("Reactions", flow)
    assert codes_of(tmp_path, sbml(body)) == ["bad-number"]


def _in_units(law: str, at_event: str, *, version: int = 1, delay: bool = True, minutes: str = "60") -> str:
    """A Level 2 model in seconds and moles."""
    unit = '<unitDefinition id="{}"><listOfUnits><unit kind="{}" multiplier="{}"/></listOfUnits></unitDefinition>'
    units = unit.format("minute", "second", minutes) + unit.format("mmol", "mole", "1e-3")
    content = [
        f"<listOfUnitDefinitions>{units}</listOfUnitDefinitions>",
        '<listOfCompartments><compartment id="c" size="1"/></listOfCompartments>',
        '<listOfSpecies><species id="A" compartment="c" initialConcentration="1"/></listOfSpecies>',
        '<listOfReactions><reaction id="r"><listOfReactants><speciesReference species="A"/></listOfReactants>',
        f"<kineticLaw {law}>{math('A')}</kineticLaw></reaction></listOfReactions>",
        f'<listOfEvents><event id="e" {at_event}><trigger>{math("A < 0.5")}</trigger>',
        f"<delay>{math('1')}</delay>" if delay else "",
        f'<listOfEventAssignments><eventAssignment variable="A">{math("1")}</eventAssignment></listOfEventAssignments>',
        "</event></listOfEvents>",
    ]
    return sbml("".join(content), level=2, version=version).replace("/level2/version1", "/level2")


@pytest.mark.parametrize(
    ("law", "at_event", "elements"),
    [
        ('timeUnits="minute"', "", ["r"]),
        ('substanceUnits="mmol"', "", ["r"]),
        ('timeUnits="minute" substanceUnits="item"', "", ["r", "r"]),
        ("", 'timeUnits="minute"', ["e"]),
        ('timeUnits="second" substanceUnits="mole"', 'timeUnits="second"', []),
        ('timeUnits="time" substanceUnits="substance"', 'timeUnits="time"', []),
    ],
)
def test_laws_and_delays_in_units_of_their_own(tmp_path: Path, law: str, at_event: str, elements: list[str]) -> None:
    found = read_text(tmp_path, _in_units(law, at_event)).reasons
    assert [(one.code, one.element) for one in found] == [("other-units", element) for element in elements]


def test_units_that_are_those_of_the_model_under_another_name(tmp_path: Path) -> None:
    assert not read_text(tmp_path, _in_units('timeUnits="minute"', 'timeUnits="minute"', minutes="1")).reasons
    text = _in_units('timeUnits="minute"', "").replace(
        "</listOfUnitDefinitions>",
        '<unitDefinition id="time"><listOfUnits><unit kind="second" scale="1" multiplier="6"/></listOfUnits>'
        "</unitDefinition></listOfUnitDefinitions>",
    )
    assert not read_text(tmp_path, text).reasons
    assert codes_of(tmp_path, text.replace('timeUnits="minute"', 'timeUnits="second"')) == ["other-units"]


def test_units_of_an_event_are_those_of_its_delay(tmp_path: Path) -> None:
    assert codes_of(tmp_path, _in_units("", 'timeUnits="minute"', version=2)) == ["other-units"]
    assert not read_text(tmp_path, _in_units("", 'timeUnits="minute"', version=2, delay=False)).reasons


@pytest.mark.parametrize("line", ["", "\n"])
@pytest.mark.parametrize(
    ("number", "words"),
    [("4.94e-324", "nearer to 0"), ("-3E-310", "nearer to 0"), ("1e-400", "nearer to 0"), ("1e400", "beyond")],
)
def test_numbers_in_attributes_that_no_normal_double_holds(tmp_path: Path, number: str, words: str, line: str) -> None:
    around = listed(
        "Parameters", parameter("k"), parameter("q", "0.5e-320"), *(["\n"] if line else []), parameter("p", number)
    )
    with pytest.raises(InputError) as caught:
        read_text(tmp_path, sbml(AROUND + around))
    found = {one.element: one for one in caught.value.reasons}
    assert {one.code for one in caught.value.reasons} == {"bad-number"}
    assert set(found) == {"q", "p"}
    assert words in found["p"].message
    assert f"value={number!r}" in found["p"].message
    assert (found["q"].line, found["p"].line) == (2, 3 if line else 2)


@pytest.mark.parametrize("number", ["2.2250738585072014e-308", "1.7976931348623157e308", "0e-999"])
def test_the_least_and_the_largest_normal_doubles_are_read(tmp_path: Path, number: str) -> None:
    assert read_text(tmp_path, sbml(AROUND + listed("Parameters", parameter("k", number)))).system is not None
