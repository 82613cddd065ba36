"""Natural mistakes: each gives a sentence that says what to do, no path of a temporary file, and no internal error."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import pytest

import sbmlump
from sbmlump.cli import run

FLUX_BALANCE = """<?xml version="1.0"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1" fbc:required="false"
 xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2"><model id="f" fbc:strict="true">
<listOfCompartments><compartment id="c" constant="true" size="1"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="c" hasOnlySubstanceUnits="true" boundaryCondition="false" constant="false"/>
</listOfSpecies><listOfReactions><reaction id="R" reversible="false" fast="false"><listOfProducts>
<speciesReference species="A" stoichiometry="1" constant="true"/></listOfProducts></reaction></listOfReactions>
</model></sbml>
"""
SED_ML = '<?xml version="1.0"?>\n<sedML xmlns="http://sed-ml.org/sed-ml/level1/version3" level="1" version="3"/>\n'
CELL_ML = '<?xml version="1.0"?>\n<model xmlns="http://www.cellml.org/cellml/1.1#" name="m"/>\n'

# what was typed, the exit code, and what the answer has to say
MISTAKES = [
    ("reduc model.xml --observe S", 2, "did you mean reduce?"),
    ("reduce", 2, "Missing argument 'MODEL'"),
    ("reduce modl.xml --observe S", 3, "did you mean model.xml?"),
    ("reduce far/away.xml --observe S", 3, "there is no folder far either; check the path"),
    ("inspect folder", 3, "name the SBML file in it"),
    ("inspect empty.xml", 3, "empty.xml is empty"),
    ("inspect word.docx", 3, "name an SBML file, or one that its suffix tells (.ode, .ant, .net, .omex)"),
    ("inspect page.xml", 3, "fetch the file itself"),
    ("inspect sed.xml", 3, "name the SBML file that it simulates"),
    ("inspect cell.xml", 3, "convert it to SBML first"),
    ("reduce balance.xml --observe A", 1, "no kinetic laws, so it has no dynamics"),
    ("reduce model.xml", 2, "name what to keep with --observe. Fewest of the 4 states are needed, exactly, for: E"),
    ("curve model.xml", 2, "name what to keep with --observe. Fewest"),
    ("reduce model.xml --observe s", 2, "did you mean S?"),
    ("reduce model.xml --observe Substrat", 2, "did you mean S (substrate)?"),
    ("reduce twice.xml --observe complex", 2, "2 elements are called 'complex'; say which by its id: E, S"),
    ("reduce model.xml --observe 'S +'", 2, "write it as 'A', 'A + 2*B' or 'total = A + B'"),
    ("reduce model.xml --observe S,E", 2, "--observe A --observe B"),
    ("reduce model.xml --observe 'k1 = S + E'", 2, "choose another for the observable"),
    ("reduce model.xml --observe free enzyme", 2, 'stands in quotes, such as --observe "A + B"'),
    ("reduce model.xml --observe -o out.xml", 2, "--observe needs a value"),
    ("reduce model.xml -observe S", 2, "write --observe with two hyphens"),
    ("reduce model.xml --observes S", 2, "--observe"),
    ("reduce model.xml --observe S -o out.json", 2, "known: .xml"),
    ("reduce model.xml --observe S -o folder", 2, "folder is a folder; name the file to be written"),
    ("reduce model.xml --observe S -o no/out.xml", 2, "create it or choose another output"),
    ("reduce model.xml --observe S -o model.xml", 2, "choose another name with -o"),
    ("reduce model.xml --observe S -o mine.xml", 2, "replace it with --force"),
    ("reduce model.xml --observe S --no-check --report mine.xml", 2, "a file where a folder is wanted"),
    ("reduce model.xml --observe S --method exakt", 2, "known: exact, approximate"),
    ("reduce model.xml --observe S --method approximate --max-error 5%", 2, "write 0.05"),
    ("reduce model.xml --observe S --method approximate --max-size 0", 2, "a whole number from 1"),
    ("reduce model.xml --observe S --until 10s", 2, "(--until) is a positive number"),
    ("reduce model.xml --observe S --keep-parameters k1x", 2, "did you mean k1 or k1r?"),
    ("reduce model.xml --observe S --method qssa --fast EX", 2, "did you mean E?"),
    ("reduce model.xml --observe S --lumping none.csv", 2, "cannot read the lumping none.csv"),
    ("verify reduced.xml model.xml", 1, "name the original first, then the reduced model"),
    ("check model.xml ring.xml", 2, "name what to compare"),
    ("inspect BIOMD0000000010.3", 2, "ask for BIOMD0000000010"),
    ("inspect http://example.org/x.xml", 2, "give an address with https://"),
    ("crawl biomodels", 2, "Missing option '--store'"),
    ("survey folder -o out", 2, "name a store or a folder with some"),
    ("survey model.xml -o out", 2, "model.xml is a file; name its folder"),
    ("convert model.xml -o x.pdf", 2, "known: .xml"),
    ("reduce model.xml --observe ''", 2, "an observable is empty: name what to keep"),
    ("reduce model.xml --observe E*", 2, "patterns are not read (E* is E, ES); write --observe for each"),
    ("reduce model.xml --observe 'x = sqr(S)'", 2, "there is no function 'sqr'; did you mean sqrt?"),
    ("reduce model.xml --observe d(S)/dt", 2, "there is no function 'd'; formulas take"),
    ("reduce model.xml --observe S(t)", 2, "takes no arguments; write S without"),
    ("reduce model.xml --observe 'S = 5'", 2, "to observe S itself write --observe S"),
    ("reduce model.xml --observe time", 2, "the independent variable, which every simulation has"),
    ("reduce dosed.xml --observe dose", 2, "is an event; observe what it sets: S"),
    ("reduce still.xml", 2, "nothing in model n changes"),
    ("reduce still.xml --observe x", 2, "nothing in model n changes"),
    ("reduce model.xml ring.xml --observe S", 2, "one model at a time; 'sbmlump survey FOLDER'"),
    ("reduce model.xml --observe S --method exact conservation", 2, "joined by commas, such as --method a,b"),
    ("reduce --model model.xml --observe S", 2, "The model stands without an option"),
    ("reduce my model.xml --observe S", 2, "stands in quotes"),
    ("reduce model.xml --observe S --until '1 h'", 2, "(--until) is a positive number"),
    ("reduce model.xml --observe S --lumping ring.xml", 2, "a lumping is a table (CSV)"),
    ("curve model.xml --observe S --time-limit 5min", 2, "write a number without a unit, such as 300"),
    ("inspect BIOMD12", 3, "ids of BioModels have ten digits: BIOMD0000000012"),
    ("inspect cut.xml", 3, "it was cut off or damaged: fetch or export it again"),
    ("inspect damaged.xml.gz", 3, "fetch it again, or unpack it and name the file"),
    ("inspect two.zip", 3, "name one, as two.zip#model.xml"),
    ("curve model.xml --observe S -o model.xml", 2, "is not a folder; name one with -o"),
    ("survey-report folder", 2, "'sbmlump survey STORE -o folder' makes one"),
]
DOSE = """<listOfEvents><event id="dose" useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><gt/><csymbol encoding="text"
definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol><cn>5</cn></apply></math></trigger>
<listOfEventAssignments><eventAssignment variable="S"><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>3</cn>
</math></eventAssignment></listOfEventAssignments></event></listOfEvents>"""
STILL = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="n">
<listOfParameters>
<parameter id="k" value="1" constant="true"/></listOfParameters></model></sbml>"""


@pytest.fixture
def here(data, tmp_path, monkeypatch):
    """A folder with a model, its reduction, and what people take for models."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(data / "michaelis_menten.xml", "model.xml")
    shutil.copy(data / "ring.xml", "ring.xml")
    text = (tmp_path / "model.xml").read_text()
    text = text.replace('name="complex"', 'name="bound"')
    (tmp_path / "twice.xml").write_text(re.sub('name="(enzyme|substrate)"', 'name="complex"', text))
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.xml").write_bytes(b"")
    (tmp_path / "word.docx").write_bytes(bytes(range(256)))
    (tmp_path / "page.xml").write_text("<!doctype html><html><body>Not found</body></html>")
    (tmp_path / "sed.xml").write_text(SED_ML)
    (tmp_path / "cell.xml").write_text(CELL_ML)
    (tmp_path / "balance.xml").write_text(FLUX_BALANCE)
    (tmp_path / "mine.xml").write_text("my own")
    original = (tmp_path / "model.xml").read_text()
    (tmp_path / "cut.xml").write_text(original[: len(original) // 2])
    (tmp_path / "dosed.xml").write_text(original.replace("</listOfReactions>", f"</listOfReactions>{DOSE}"))
    (tmp_path / "still.xml").write_text(STILL)
    (tmp_path / "damaged.xml.gz").write_bytes(b"\x1f\x8b no gzip")
    with zipfile.ZipFile("two.zip", "w") as archive:
        archive.write("model.xml")
        archive.write("ring.xml")
    sbmlump.reduce(sbmlump.load("model.xml"), "S").write("reduced.xml")


def words(line):
    return [part.strip("'") for part in re.findall(r"'[^']*'|\S+", line)]


@pytest.mark.parametrize(("line", "code", "advice"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_answered_by_a_sentence(capsys, here, line, code, advice):
    assert run(words(line)) == code
    out, err = capsys.readouterr()
    # a machine that is busy takes more than ten seconds, and says so
    told = [text for text in (err or out).strip().splitlines() if not re.match(r"\d+ s: ", text)]
    assert advice in told[-1], told
    assert told[-1].count("[") <= 1 or "[S" in line
    others = [text for text in told[:-1] if text and not text.startswith(("Usage: ", "Try "))]
    assert others in ([], ["no-lumping"])
    assert tempfile.gettempdir() not in told[-1].replace("'", "")
    assert "internal error" not in err


@pytest.mark.parametrize(("line", "code", "advice"), MISTAKES[2:], ids=[line for line, _, _ in MISTAKES[2:]])
def test_in_json_it_is_one_reason(capsys, here, line, code, advice):
    assert run([*words(line), "--json"]) == code
    reasons = json.loads(capsys.readouterr().out)["reasons"]
    assert [advice in reason["message"] for reason in reasons] == [True]


# -- Python ------------------------------------------------------------------------------------------------


IN_PYTHON = {
    "a name that is nearly one": (lambda: reduced(max_eror=0.1), "did you mean max_error"),
    "a percentage": (lambda: reduced(method="approximate", max_error="1%"), "write 0.01"),
    "no observable": (lambda: sbmlump.reduce(sbmlump.load("model.xml"), None), "an id, an expression"),
    "no file": (lambda: sbmlump.load(None), "the name of a file is wanted, not of type NoneType"),
    "a reduction for a file": (lambda: sbmlump.compare("model.xml", reduced()), "written by its write"),
    "too few values": (lambda: reduced().lift([1.0, 2.0]), r"3 values are wanted \(E, S, ES\)"),
    "values of the wrong model": (lambda: reduced().project([1.0]), r"4 values are wanted \(E, S, ES, P\)"),
    "over the model": (lambda: reduced().write("model.xml"), "is the model that was read; choose another name"),
    "over a copy of it": (lambda: reduced().write("copy.xml"), "is the model that was read"),
    "into nowhere": (lambda: reduced().write("no/out.xml"), "create it or choose another output"),
}


def reduced(**options):
    return sbmlump.reduce(sbmlump.load("model.xml"), "S", **options)


@pytest.mark.parametrize("name", IN_PYTHON)
def test_in_python_too(here, name):
    shutil.copy("model.xml", "copy.xml")
    call, advice = IN_PYTHON[name]
    before = Path("model.xml").read_bytes()
    with pytest.raises((sbmlump.SbmlumpError, ValueError), match=advice):
        call()
    assert Path("model.xml").read_bytes() == before == Path("copy.xml").read_bytes()
