"""What a file says besides its mathematics is written again, and what is not is said."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import libsbml
import pytest
from sbml.read_models import read_text

import sbmlump
from sbmlump.cli import run
from sbmlump.jobs import written_as_sbml
from sbmlump.sbml import WrittenSbml, system_document

CORE = "http://www.sbml.org/sbml/level3/version2/core"
PACKAGE = "http://www.sbml.org/sbml/level3/version1/{0}/version{1}"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def said(metaid: str) -> str:
    """Notes and an RDF annotation of the element with ``metaid``."""
    return (
        f'<notes><p xmlns="http://www.w3.org/1999/xhtml">about {metaid}</p></notes>'
        f'<annotation><rdf:RDF xmlns:rdf="{RDF}" xmlns:b="http://biomodels.net/biology-qualifiers/">'
        f'<rdf:Description rdf:about="#{metaid}"><b:is>'
        f'<rdf:Bag><rdf:li rdf:resource="urn:x:{metaid}"/></rdf:Bag></b:is>'
        "</rdf:Description></rdf:RDF></annotation>"
    )


def math(content: str) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" xmlns:sbml="{CORE}">{content}</math>'


def told(tag: str, key: str, rest: str = "", content: str = "", *, named: bool = True) -> str:
    """An element that carries everything there is."""
    own = f'id="{key}" name="the {key}"' if named else ""
    return f'<{tag} metaid="_{key}" sboTerm="SBO:0000167" {own} {rest}>{said("_" + key)}{content}</{tag}>'


def of(name: str) -> str:
    return f'species="{name}" '


def model() -> str:
    """X → Y beside an event on u, every element described, with layout, groups and fbc."""
    box = (
        '<layout:boundingBox><layout:position layout:x="1" layout:y="2"/>'
        '<layout:dimensions layout:width="3" layout:height="4"/></layout:boundingBox>'
    )
    glyphs = "".join(
        f'<layout:speciesGlyph layout:id="g_{s}" layout:species="{s}">{box}</layout:speciesGlyph>' for s in "XY"
    )
    texts = "".join(
        f'<layout:textGlyph layout:id="t_{s}" layout:graphicalObject="g_{s}" layout:originOfText="{s}">'
        f"{box}</layout:textGlyph>"
        for s in "XY"
    )
    half = math(
        '<apply><times/><apply><ci>twice</ci><ci>k</ci></apply><cn sbml:units="rate">0.25</cn><ci>X</ci></apply>'
    )
    twice = math('<lambda><bvar><ci>v</ci></bvar><apply><times/><cn type="integer">2</cn><ci>v</ci></apply></lambda>')
    species = 'compartment="cell" hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"'
    reference = 'constant="true" stoichiometry="1"'
    packages = [("layout", 1), ("groups", 1), ("fbc", 2)]
    root = "".join(f' xmlns:{p}="{PACKAGE.format(p, v)}" {p}:required="false"' for p, v in packages)
    later = math(
        "<apply><gt/><csymbol encoding='text' definitionURL='http://www.sbml.org/sbml/symbols/time'>t</csymbol>"
        '<cn type="integer">5</cn></apply>'
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="{CORE}" level="3" version="2"{root} metaid="_top">'
        + said("_top")
        + told("model", "m", 'fbc:strict="false"')[: -len("</model>")]
        + "<listOfFunctionDefinitions>"
        + told("functionDefinition", "twice", "", twice)
        + "</listOfFunctionDefinitions>"
        + "<listOfUnitDefinitions>"
        + told(
            "unitDefinition",
            "rate",
            "",
            '<listOfUnits><unit metaid="_unit" kind="second" exponent="-1" scale="0" multiplier="1"/></listOfUnits>',
        )
        + "</listOfUnitDefinitions>"
        + f'<listOfCompartments metaid="_boxes">{said("_boxes")}'
        + told("compartment", "cell", 'size="2" constant="true" spatialDimensions="3"')
        + "</listOfCompartments>"
        + "<listOfSpecies>"
        + told("species", "X", species + ' initialConcentration="3" fbc:charge="-1" fbc:chemicalFormula="CO2"')
        + told("species", "Y", species + ' initialConcentration="0"')
        + "</listOfSpecies>"
        + "<listOfParameters>"
        + "".join(
            told("parameter", name, f'constant="{fixed}" value="2"')
            for name, fixed in (("k", "true"), ("q", "true"), ("double", "false"), ("u", "false"), ("w", "false"))
        )
        + "</listOfParameters>"
        + "<listOfInitialAssignments>"
        + told("initialAssignment", "start", 'symbol="q"', math("<apply><plus/><ci>k</ci><cn>1</cn></apply>"))
        + "</listOfInitialAssignments><listOfRules>"
        + told("assignmentRule", "always", 'variable="double"', math("<apply><times/><cn>2</cn><ci>X</ci></apply>"))
        + told("rateRule", "drift", 'variable="w"', math("<cn>0.5</cn>"))
        + "</listOfRules><listOfConstraints>"
        + told("constraint", "sane", "", math("<apply><gt/><ci>X</ci><cn>0</cn></apply>"))
        + told("constraint", "bounded", "", math("<apply><lt/><ci>Y</ci><cn>9</cn></apply>"))
        + "</listOfConstraints><listOfReactions>"
        + told(
            "reaction",
            "r",
            'reversible="false"',
            f'<listOfReactants metaid="_in">{told("speciesReference", "from", of("X") + reference)}'
            f"</listOfReactants><listOfProducts>{told('speciesReference', 'to', of('Y') + reference)}"
            f"</listOfProducts><listOfModifiers>{told('modifierSpeciesReference', 'by', of('Y'))}"
            f"</listOfModifiers>{told('kineticLaw', 'law', '', half)}",
        )
        + "</listOfReactions><listOfEvents>"
        + told(
            "event",
            "dose",
            'useValuesFromTriggerTime="true"',
            told("trigger", "when", 'initialValue="true" persistent="true"', later)
            + told("priority", "first", "", math("<cn>1</cn>"))
            + told("delay", "wait", "", math("<cn>2</cn>"))
            + "<listOfEventAssignments>"
            + told("eventAssignment", "set", 'variable="u"', math("<cn>7</cn>"))
            + "</listOfEventAssignments>",
        )
        + "</listOfEvents>"
        + '<fbc:listOfObjectives fbc:activeObjective="o"><fbc:objective fbc:id="o" fbc:type="maximize">'
        '<fbc:listOfFluxObjectives><fbc:fluxObjective fbc:reaction="r" fbc:coefficient="1"/></fbc:listOfFluxObjectives>'
        "</fbc:objective></fbc:listOfObjectives>"
        '<groups:listOfGroups><groups:group groups:id="pair" groups:kind="collection"><groups:listOfMembers>'
        '<groups:member groups:idRef="X"/><groups:member groups:idRef="Y"/></groups:listOfMembers></groups:group>'
        "</groups:listOfGroups>"
        '<layout:listOfLayouts><layout:layout layout:id="map"><layout:dimensions layout:width="9" layout:height="9"/>'
        f"<layout:listOfSpeciesGlyphs>{glyphs}</layout:listOfSpeciesGlyphs>"
        f"<layout:listOfTextGlyphs>{texts}</layout:listOfTextGlyphs></layout:layout></layout:listOfLayouts>"
        "</model></sbml>"
    )


def carried(data: bytes) -> Counter[tuple[str, str, str]]:
    """(element, what, value) of everything that core elements carry."""
    document = libsbml.readSBMLFromString(data.decode())
    found: Counter[tuple[str, str, str]] = Counter()
    several = document.getModel().getListOfAllElements()
    for item in (document, document.getModel(), *(several.get(i) for i in range(several.getSize()))):
        if item.getPackageName() != "core":
            continue
        pairs = {"metaid": item.getMetaId(), "sbo": item.getSBOTermID(), "name": item.getName()}
        pairs["id"] = item.getIdAttribute()
        pairs["notes"] = " ".join(re.findall("about _[a-z]+", item.getNotesString())) if item.isSetNotes() else ""
        pairs["uri"] = " ".join(re.findall("urn:x:_[A-Za-z]+", item.getAnnotationString()))
        found.update((item.getElementName(), what, value) for what, value in pairs.items() if value)
    return found


def document_of(tmp_path: Path, text: str) -> WrittenSbml:
    system = read_text(tmp_path, text).system
    assert system is not None
    return system_document(system)


def new_complaints(before: str, after: bytes) -> set[int]:
    """What libSBML says of the second document and not of the first."""
    found = []
    for text in (before, after.decode()):
        document = libsbml.readSBMLFromString(text)
        document.checkConsistency()
        found.append({document.getError(i).getErrorId() for i in range(document.getNumErrors())})
    return found[1] - found[0]


def test_convert_keeps_what_every_element_carries(tmp_path: Path) -> None:
    text = model()
    written = document_of(tmp_path, text)
    before, after = carried(text.encode()), carried(written.data)
    assert before - after == Counter()
    assert len(before) > 120
    assert new_complaints(text, written.data) == set()
    # what RDF is about is the element that it stands in
    for metaid in re.findall(r'about="#([^"]*)"', written.data.decode()):
        assert written.data.decode().count(f'metaid="{metaid}"') == 1
    assert [reason.message for reason in written.reasons if "calls" not in reason.message] == [
        "not kept: units of numbers of kinetic laws (1: r)"  # 2·k·0.25 has become k/2
    ]
    assert "calls of function definitions (1: twice)" in written.reasons[-1].message


def test_packages_of_what_is_there_are_kept(tmp_path: Path) -> None:
    document = libsbml.readSBMLFromString(document_of(tmp_path, model()).data.decode())
    written = document.getModel()
    assert written.getPlugin("layout").getLayout(0).getNumSpeciesGlyphs() == 2
    assert written.getPlugin("groups").getGroup(0).getNumMembers() == 2
    assert written.getSpecies("X").getPlugin("fbc").getCharge() == -1
    assert written.getSpecies("X").getPlugin("fbc").getChemicalFormula() == "CO2"
    assert written.getPlugin("fbc").getActiveObjective().getFluxObjective(0).getReaction() == "r"


def test_reduce_keeps_what_is_said_of_what_survives_and_names_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.xml"
    path.write_text(model())
    output = tmp_path / "reduced.xml"
    arguments = ["reduce", str(path), "--observe", "X", "--no-check", "--json", "-o", str(output)]
    assert run(arguments) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["outcome"], outcome["reduced_size"]) == ("reduced", 1)
    told = "\n".join(reason["message"] for reason in outcome["reasons"] if reason["code"] == "not-kept")
    for words in ("constraints on what the reduced model does not have (1: bounded)", "rate rules (1: w)", "layout"):
        assert words in told
    data = output.read_bytes()
    assert new_complaints(model(), data) == set()
    document = libsbml.readSBMLFromString(data.decode())
    written = document.getModel()
    assert written.getNumConstraints() == 1
    assert written.getConstraint(0).getMetaId() == "_sane"
    layout = written.getPlugin("layout").getLayout(0)
    assert [layout.getSpeciesGlyph(i).getSpeciesId() for i in range(layout.getNumSpeciesGlyphs())] == ["X"]
    assert layout.getNumTextGlyphs() == 1
    members = [g.getMember(0).getIdRef() for g in (written.getPlugin("groups").getGroup("pair"),)]
    assert members == ["X"]
    assert written.getSpecies("X").getPlugin("fbc").getCharge() == -1
    assert written.getReaction("r").getReactant(0).getMetaId() == "_from"
    assert sbmlump.verify(path, output).kind == "exact-proof"


def test_convert_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.xml"
    path.write_text(model())
    assert run(["convert", str(path), "-o", str(tmp_path / "written.xml")]) == 0
    assert "calls of function definitions" in capsys.readouterr().err
    assert run(["convert", str(path), "-o", str(tmp_path / "written.xml"), "--json"]) == 0
    reasons = json.loads(capsys.readouterr().out)["reasons"]
    assert [reason["code"] for reason in reasons] == ["not-kept", "not-kept"]


def test_a_constraint_that_is_a_function_of_the_lumps_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    total = math("<apply><lt/><apply><plus/><ci>X</ci><ci>Y</ci></apply><cn>9</cn></apply>")
    bounded = math("<apply><lt/><ci>Y</ci><cn>9</cn></apply>")
    path.write_text(model().replace(bounded, total))
    system = sbmlump.load(path)
    reduction = sbmlump.reduce(system, ["Y + X"])
    document = libsbml.readSBMLFromString(written_as_sbml(reduction).data.decode())
    written = document.getModel()
    assert reduction.system.size == 1
    assert [written.getConstraint(i).getIdAttribute() for i in range(written.getNumConstraints())] == ["bounded"]


@pytest.mark.parametrize("unit", ["rate", None])
def test_units_of_numbers_stay_with_the_numbers(tmp_path: Path, unit: str | None) -> None:
    attribute = "" if unit is None else f' sbml:units="{unit}"'
    text = re.sub(r"<apply><ci>twice</ci><ci>k</ci></apply><cn[^>]*>", f"<ci>k</ci><cn{attribute}>", model())
    written = document_of(tmp_path, text)
    assert written.data.decode().count(f"<cn{attribute}> 0.25 </cn>") == 1
    assert not any("units of numbers" in reason.message for reason in written.reasons)


def test_equal_modifiers_keep_what_is_said_of_each(tmp_path: Path) -> None:
    one = re.search(r"<modifierSpeciesReference.*?</modifierSpeciesReference>", model())
    assert one is not None
    text = model().replace(one[0], one[0] + one[0].replace("_by", "_again").replace('"by"', '"again"'))
    assert carried(text.encode()) - carried(document_of(tmp_path, text).data) == Counter()


def test_a_layout_with_render_information_stays_readable(tmp_path: Path) -> None:
    uri = PACKAGE.format("render", 1)
    styles = (
        '<render:listOfRenderInformation><render:renderInformation render:id="look"/></render:listOfRenderInformation>'
    )
    text = model().replace('layout:id="g_X"', 'layout:id="g_X" render:objectRole="seen"')
    text = text.replace("</layout:layout>", styles + "</layout:layout>")
    text = text.replace(' metaid="_top">', f' xmlns:render="{uri}" render:required="false" metaid="_top">', 1)
    data = document_of(tmp_path, text).data
    assert new_complaints(text, data) == set()
    document = libsbml.readSBMLFromString(data.decode())
    layout = document.getModel().getPlugin("layout").getLayout(0)
    assert layout.getNumSpeciesGlyphs() == 2
    assert b'render:objectRole="seen"' in data
    assert b'<render:renderInformation render:id="look"' in data


def test_what_cannot_be_kept_of_a_package_is_said(tmp_path: Path) -> None:
    uri = PACKAGE.format("qual", 1)
    qualitative = (
        '<qual:listOfQualitativeSpecies><qual:qualitativeSpecies qual:id="on" qual:compartment="cell" '
        'qual:constant="false"/></qual:listOfQualitativeSpecies>'
    )
    text = model().replace(' metaid="_top">', f' xmlns:qual="{uri}" qual:required="false" metaid="_top">', 1)
    written = document_of(tmp_path, text.replace("</model>", qualitative + "</model>"))
    assert "not kept: the package qual" in [reason.message for reason in written.reasons]
    assert new_complaints(text, written.data) == set()
