"""COMBINE archives of reductions: read by other libraries, run by Tellurium."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from interoperability import biosimulators, faults_of_archives
from network_models import saved, twin_chains

import sbmlump
from sbmlump.jobs import sbml_of, written_system
from sbmlump.model import ReducedSystem
from sbmlump.sbml import reduction_archive, targets_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path, twin_chains())


@pytest.fixture
def reduction(path: Path) -> ReducedSystem:
    return sbmlump.reduce(sbmlump.load(path), ["C", "twice = B1 + B2 + 2*C"])


def archive_of(path: Path, reduction: ReducedSystem) -> bytes:
    return reduction_archive(reduction, path.read_bytes(), sbml_of(reduction), until=20.0, points=51)


def test_archive_holds_both_models_and_is_the_same_every_time(path: Path, reduction: ReducedSystem) -> None:
    data = archive_of(path, reduction)
    assert data == archive_of(path, reduction)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            "manifest.xml",
            "metadata.rdf",
            "experiment.sedml",
            "original.xml",
            "reduced.xml",
        }
        assert archive.read("original.xml") == path.read_bytes()
        assert archive.read("reduced.xml") == sbml_of(reduction)
        assert "5 states became 3" in archive.read("metadata.rdf").decode()


def in_child(code: str, *arguments: Path) -> str:
    """What a script prints; libSEDML changes what SWIG hands out for libSBML's nodes, so it stays in a child."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def needs(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


READ = """
import json, sys
from pathlib import Path
from sbmlump.sbml.archive import read_back
print(json.dumps(read_back(Path(sys.argv[1]).read_bytes())))
"""
RUN = """
import json, sys
import matplotlib
matplotlib.use("Agg")
import numpy
from tellurium.sedml.tesedml import executeCombineArchive
out = executeCombineArchive(sys.argv[1], workingDir=sys.argv[2], createOutputs=False, saveOutputs=False)
columns = next(iter(out.values()))["dataGenerators"]
print(json.dumps({name: numpy.asarray(one).ravel().tolist() for name, one in columns.items()}))
"""
BOTH = """
import sys
import sbmlump, sbmlump.sbml.read.load, libsedml
from sbmlump.jobs import written_system
system = sbmlump.load(sys.argv[1])
written_system(system, ".xml")
print(system.size)
"""


def test_libraries_of_the_field_read_it(path: Path, reduction: ReducedSystem, tmp_path: Path) -> None:
    needs("libcombine", "libsedml")
    file, other = tmp_path / "reduction.omex", tmp_path / "model.omex"
    file.write_bytes(archive_of(path, reduction))
    other.write_bytes(written_system(reduction.original, ".omex").data)
    found = json.loads(in_child(READ, file))
    assert found["./experiment.sedml"].endswith("sed-ml.level-1.version-4")
    assert found["./reduced.xml"].endswith("sbml.level-3.version-2")
    assert "./model.xml" in json.loads(in_child(READ, other))


def test_tellurium_runs_it(path: Path, reduction: ReducedSystem, tmp_path: Path) -> None:
    needs("tellurium")
    file = tmp_path / "reduction.omex"
    file.write_bytes(archive_of(path, reduction))
    (tmp_path / "work").mkdir()
    columns = json.loads(in_child(RUN, file, tmp_path / "work"))
    assert len(columns["time_original"]) == 51
    assert columns["time_reduced"][-1] == 20
    for original, reduced in (("data_0", "data_1"), ("data_2", "data_3")):
        assert columns[original][-1] > 1
        assert columns[reduced] == pytest.approx(columns[original], rel=1e-7)


def test_models_are_read_with_the_other_libraries_in_the_process(path: Path) -> None:
    """libSEDML brings a class ASTNode of its own, which SWIG then hands out for libSBML's nodes."""
    needs("libsedml")
    assert in_child(BOTH, path) == "5"


def test_targets_are_elements_of_the_model_only(path: Path) -> None:
    targets = targets_of(path.read_bytes())
    assert (targets.level, targets.version) == (3, 2)
    assert targets.paths["k"].endswith("sbml:listOfParameters/sbml:parameter[@id='k']")
    assert targets.paths["r1"].endswith("sbml:reaction[@id='r1']")
    assert set(targets.paths) == {"cell", "A1", "A2", "B1", "B2", "C", "k", "v", "K", "r1", "r2", "s1", "s2"}


AMOUNTS = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="flask">
<listOfCompartments><compartment id="v" size="4" spatialDimensions="3" constant="true"/>
<compartment id="one" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="S" compartment="v" initialAmount="6" hasOnlySubstanceUnits="true" boundaryCondition="false"
constant="false"/>
<species id="P" compartment="v" initialAmount="8" hasOnlySubstanceUnits="false" boundaryCondition="false"
constant="false"/>
<species id="U" compartment="one" initialAmount="5" hasOnlySubstanceUnits="true" boundaryCondition="false"
constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="k" value="0.25" constant="true"/></listOfParameters>
<listOfReactions>{}</listOfReactions></model></sbml>"""
DECAY = """<reaction id="r{0}" reversible="false"><listOfReactants><speciesReference species="{0}" stoichiometry="1"
constant="true"/></listOfReactants><kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci>
<ci>{0}</ci></apply></math></kineticLaw></reaction>"""


def curves_of(data: bytes) -> dict[str, list[float]]:
    """The curves of an archive as a reader draws them to which the target of a species is its concentration."""
    roadrunner = importlib.import_module("roadrunner")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        root = ElementTree.fromstring(archive.read("experiment.sedml"))
        space = {"s": root.tag.partition("}")[0][1:], "m": "http://www.w3.org/1998/Math/MathML"}
        files = {one.get("id"): one.get("source") for one in root.iterfind(".//s:model", space)}
        runs = {name: roadrunner.RoadRunner(archive.read(file).decode()) for name, file in files.items()}
    curves = {}
    for generator in root.iterfind(".//s:dataGenerator", space):
        values = {}
        for variable in generator.iterfind(".//s:variable", space):
            target = variable.get("target")
            if target is None:
                continue
            runner = runs[variable.get("taskReference").removeprefix("run_")]
            name = re.search(r"@id='(\w+)'", target)[1]
            selection = f"[{name}]" if "listOfSpecies" in target else name
            runner.reset()
            values[variable.get("id")] = runner.simulate(0, 4, 3, [selection])[:, 0]
        if values:  # sums only, in what is tested here
            names = [one.text.strip() for one in generator.iterfind(".//m:ci", space)]
            curves[generator.get("name")] = list(sum(values[name] for name in names))
    return curves


def test_amounts_are_amounts_to_every_reader(tmp_path: Path) -> None:
    """6·exp(-t/4) of S, though its concentration is a quarter of that; P counts as a concentration to all."""
    text = AMOUNTS.format("".join(DECAY.format(name) for name in "SPU"))
    path = saved(tmp_path, text)
    fall = [math.exp(-0.25 * time) for time in (0, 2, 4)]
    thin = [math.exp(-0.25 / 4 * time) for time in (0, 2, 4)]
    drawn = curves_of(written_system(sbmlump.load(path), ".omex").data)
    assert drawn["S"] == pytest.approx([6 * one for one in fall], rel=1e-5)
    assert drawn["P"] == pytest.approx([2 * one for one in thin], rel=1e-5)
    assert drawn["U"] == pytest.approx([5 * one for one in fall], rel=1e-5)
    for observe in (["S"], ["both = S + P"], ["S", "U"]):
        reduction = sbmlump.reduce(sbmlump.load(path), observe)
        drawn = curves_of(reduction_archive(reduction, text.encode(), sbml_of(reduction)))
        names = [one.partition(" = ")[0] for one in observe]
        assert set(drawn) == {f"{name} ({which})" for name in names for which in ("original", "reduced")}
        for name in names:
            assert drawn[f"{name} (original)"] == pytest.approx(drawn[f"{name} (reduced)"], rel=1e-5)
    with zipfile.ZipFile(io.BytesIO(written_system(sbmlump.load(path), ".omex").data)) as archive:
        manifest = archive.read("manifest.xml").decode()
        assert all(f"./{name}" in manifest for name in archive.namelist())


def test_the_original_lies_in_the_archive_in_utf_8(tmp_path: Path) -> None:
    text = AMOUNTS.format(DECAY.format("P")).replace('id="flask"', 'id="flask" name="Flasche für α"')
    for data in (("\ufeff" + text).encode(), ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16")):
        path = tmp_path / "m.xml"
        path.write_bytes(data)
        reduction = sbmlump.reduce(sbmlump.load(path), ["P"])
        with zipfile.ZipFile(io.BytesIO(reduction_archive(reduction, data, sbml_of(reduction)))) as archive:
            assert "Flasche für α" in archive.read("original.xml").decode()


# -- What other programs ask of an archive -----------------------------------------------------------


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LEVEL_2 = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="{id}" metaid="m0" name="Twins">
{said}<listOfCompartments><compartment id="cell" size="2"/></listOfCompartments><listOfSpecies>
<species id="time_original" compartment="cell" initialConcentration="1"/>
<species id="plot" compartment="cell" initialConcentration="2"/>
<species id="C" compartment="cell" initialConcentration="0"/>
</listOfSpecies><listOfParameters><parameter id="k" value="0.5"/></listOfParameters><listOfReactions>
{reactions}</listOfReactions></model></sbml>"""
FEED = """<reaction id="r_{0}" reversible="false"><listOfReactants><speciesReference species="{0}"/></listOfReactants>
<listOfProducts><speciesReference species="C"/></listOfProducts><kineticLaw>
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>cell</ci><ci>k</ci><ci>{0}</ci></apply></math>
</kineticLaw></reaction>"""


def level_2(said: str = "", id: str = "twins") -> str:
    """Two species with ids that an experiment might use for something else flow into C."""
    return LEVEL_2.format(said=said, id=id, reactions="".join(FEED.format(one) for one in ("time_original", "plot")))


def level_2_archive(folder: Path, said: str = "", id: str = "twins") -> bytes:
    path = saved(folder, level_2(said, id))
    reduction = sbmlump.reduce(sbmlump.load(path), ["C", "both = time_original + plot", "plot"])
    return archive_of(path, reduction)


def member(data: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()


def test_ids_of_an_experiment_are_unique_and_prefixes_are_declared_at_its_top(tmp_path: Path) -> None:
    data = level_2_archive(tmp_path)
    text = member(data, "experiment.sedml")
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids)) > 20
    head = text[text.index("<sedML") :].partition(">")[0]
    declared = dict(re.findall(r'xmlns:(\w+)="([^"]*)"', head))
    assert "xmlns:" not in text.partition(head)[2]
    root = ElementTree.fromstring(text)
    space = {"s": root.tag.partition("}")[0][1:], "m": "http://www.w3.org/1998/Math/MathML"}
    sources = {one.get("id"): one.get("source") for one in root.iterfind(".//s:model", space)}
    models = {name: ElementTree.fromstring(member(data, source)) for name, source in sources.items()}
    for generator in root.iterfind(".//s:dataGenerator", space):
        variables = {one.get("id"): one for one in generator.iterfind(".//s:variable", space)}
        assert {one.text.strip() for one in generator.iterfind(".//m:ci", space)} == set(variables)
        for variable in variables.values():
            if (target := variable.get("target")) is not None:
                model = models[variable.get("taskReference").removeprefix("run_")]
                steps = target.removeprefix("/").split("/")
                assert model.tag == f"{{{declared[steps[0].partition(':')[0]]}}}sbml"
                assert len(model.findall("./" + "/".join(steps[1:]), declared)) == 1


def test_the_reduced_model_comes_first(tmp_path: Path) -> None:
    data = level_2_archive(tmp_path)
    sources = re.findall(r'source="([^"]*)"', member(data, "experiment.sedml"))
    assert sources == ["reduced.xml", "original.xml"]
    locations = re.findall(r'location="./([^"]*\.xml)"', member(data, "manifest.xml"))
    assert locations == ["manifest.xml", "reduced.xml", "original.xml"]


OPEN = """
import sys
import COPASI
model = COPASI.CRootContainer.addDatamodel()
assert model.openCombineArchive(sys.argv[1]), COPASI.CCopasiMessage.getAllMessageText()
print(sorted(model.getModel().getMetabolite(i).getObjectName() for i in range(model.getModel().getNumMetabs())))
"""


def test_copasi_opens_the_reduced_model(tmp_path: Path) -> None:
    needs("COPASI")
    path = saved(tmp_path, level_2())
    file = tmp_path / "reduction.omex"
    file.write_bytes(archive_of(path, sbmlump.reduce(sbmlump.load(path), ["C"])))
    assert in_child(OPEN, file) == "['C', 'time_original + plot']"


def test_biosimulators_takes_it(tmp_path: Path, path: Path, reduction: ReducedSystem) -> None:
    if not biosimulators():
        pytest.skip("biosimulators-utils is not installed (SBMLUMP_BIOSIMULATORS may name a Python that has it)")
    files = []
    given = LICENCE + CARDS
    for name, data in (
        ("levels", level_2_archive(tmp_path)),
        ("described", level_2_archive(tmp_path, given, "BIOMD0000000012")),
        ("both", archive_of(path, reduction)),
        ("one", written_system(reduction.original, ".omex").data),
    ):
        files.append(tmp_path / f"{name}.omex")
        files[-1].write_bytes(data)
    assert faults_of_archives(files) == {str(file): [] for file in files}


CARDS = f"""<annotation><r:RDF xmlns:r="{RDF}" xmlns:dc="http://purl.org/dc/elements/1.1/"
xmlns:t="http://purl.org/dc/terms/" xmlns:v="http://www.w3.org/2001/vcard-rdf/3.0#" xmlns:w="http://www.w3.org/2006/vcard/ns#"
xmlns:q="http://biomodels.net/model-qualifiers/"><r:Description r:about="#m0">
<dc:creator><r:Bag>
<r:li r:parseType="Resource"><v:N r:parseType="Resource"><v:Family>Čech &amp; Co</v:Family><v:Given>Eva
Marie</v:Given></v:N><v:EMAIL>eva@example.org</v:EMAIL></r:li>
<r:li r:parseType="Resource"><w:hasName r:parseType="Resource"><w:family-name>Ito</w:family-name></w:hasName></r:li>
<r:li r:parseType="Resource"><v:ORG r:parseType="Resource"><v:Orgname>A team</v:Orgname></v:ORG></r:li>
</r:Bag></dc:creator><t:creator>Plain Name</t:creator>
<t:created r:parseType="Resource"><t:W3CDTF>2005-02-12T00:18:12Z</t:W3CDTF></t:created>
<q:is><r:Bag><r:li r:resource="urn:miriam:biomodels.db:MODEL1234567890"/><r:li r:resource="urn:other:thing"/></r:Bag>
</q:is></r:Description><r:Description r:about="#other"><dc:creator>Somebody Else</dc:creator></r:Description></r:RDF>
</annotation>"""
LICENCE = """<notes><div xmlns="http://www.w3.org/1999/xhtml"><p><a href="https://creativecommons.org/licenses/by/4.0/">The
paper</a></p><div class="dc:license"><a href="https://creativecommons.org/licenses/by-sa/4.0/">CC BY-SA</a></div>
</div></notes>"""


def test_metadata_are_what_the_file_of_the_model_says(tmp_path: Path) -> None:
    text = member(level_2_archive(tmp_path, LICENCE + CARDS, "BIOMD0000000012"), "metadata.rdf")
    root = ElementTree.fromstring(text)
    dc, label = "{http://purl.org/dc/elements/1.1/}", ".//{http://www.w3.org/2000/01/rdf-schema#}label"
    archive, reduced = root
    assert (archive.get(f"{{{RDF}}}about"), reduced.get(f"{{{RDF}}}about")) == (".", "./reduced.xml")
    assert archive.findtext(f"{dc}title") == "Twins: original and reduced"
    creators = [one.findtext(label) for one in archive.iterfind(f"{dc}creator")]
    assert creators == ["Eva Marie Čech & Co", "Ito", "A team", "Plain Name"]
    assert archive.findtext(f"{dc}created") == "2005-02-12T00:18:12Z"
    derived = "{http://biomodels.net/model-qualifiers/}isDerivedFrom"
    address = f".//{dc}identifier"

    def named(one: ElementTree.Element, tag: str) -> list[tuple[str | None, str]]:
        found = [(part.findtext(label), part.find(address)) for part in one.iterfind(tag)]
        return [(name, part.get(f"{{{RDF}}}resource", "")) for name, part in found if part is not None]

    assert named(archive, f"{dc}license") == [("CC BY-SA", "https://creativecommons.org/licenses/by-sa/4.0/")]
    assert named(archive, derived) == [
        (one, f"https://identifiers.org/biomodels.db:{one}") for one in ("BIOMD0000000012", "MODEL1234567890")
    ]
    assert named(reduced, derived) == [("original.xml", "./original.xml")]
    assert "example.org" not in text


def test_metadata_that_the_file_has_not_are_left_out(tmp_path: Path) -> None:
    broken = CARDS.replace("2005-02-12", "the year 2005-02-12").replace("#m0", "#elsewhere")
    notes = '<notes><p xmlns="http://www.w3.org/1999/xhtml"><a href="https://creativecommons.org/licenses/by/4.0/">p</a></p></notes>'
    for said in ("", notes + broken):
        text = member(level_2_archive(tmp_path, said), "metadata.rdf")
        assert "dc:title" in text
        assert not re.search("dc:creat|dc:license|Creators|biomodels.db:BIO", text)
