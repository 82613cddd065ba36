"""``inspect``: names, units, values, and what each observable costs, which is what reducing for it leaves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

import sbmlump
from sbmlump.jobs import CostSettings, costs_of
from sbmlump.model import observable_ids

UNITS = """<?xml version="1.0"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">
<model id="m" name="a model" substanceUnits="nmol" timeUnits="minute" volumeUnits="litre" extentUnits="nmol">
<annotation><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:q="http://biomodels.net/model-qualifiers/"><rdf:Description rdf:about="#m"><q:isDescribedBy><rdf:Bag>
 <rdf:li rdf:resource="urn:miriam:doi:10.1000%2Fx"/></rdf:Bag></q:isDescribedBy></rdf:Description></rdf:RDF>
</annotation>
<listOfUnitDefinitions>
<unitDefinition id="nmol"><listOfUnits><unit kind="mole" exponent="1" scale="-9" multiplier="1"/></listOfUnits>
</unitDefinition>
<unitDefinition id="minute"><listOfUnits><unit kind="second" exponent="1" scale="0" multiplier="60"/></listOfUnits>
</unitDefinition>
<unitDefinition id="rate"><listOfUnits><unit kind="mole" exponent="-1" scale="-9" multiplier="1"/>
<unit kind="litre" exponent="2" scale="0" multiplier="1"/>
<unit kind="second" exponent="-1" scale="1" multiplier="6"/></listOfUnits></unitDefinition>
<unitDefinition id="odd"><listOfUnits><unit kind="mole" exponent="1" scale="0" multiplier="2.5"/></listOfUnits>
</unitDefinition>
</listOfUnitDefinitions>
<listOfCompartments><compartment id="c" name="the cell" size="2" spatialDimensions="3" constant="true"/>
</listOfCompartments>
<listOfSpecies>
<species id="A" metaid="_A" name="Kinase one" compartment="c" initialConcentration="3" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"><annotation>
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:b="http://biomodels.net/biology-qualifiers/">
 <rdf:Description rdf:about="#_A"><b:is><rdf:Bag><rdf:li rdf:resource="http://identifiers.org/uniprot/P12345"/>
 </rdf:Bag></b:is><b:hasPart><rdf:Bag><rdf:li rdf:resource="urn:miriam:obo.go:GO%3A0005886"/></rdf:Bag></b:hasPart>
 </rdf:Description></rdf:RDF></annotation></species>
<species id="B" compartment="c" initialAmount="0" hasOnlySubstanceUnits="true" boundaryCondition="false"
 constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="k" name="the rate" value="0.5" units="rate" constant="true"/>
<parameter id="o" value="1" units="odd" constant="true"/></listOfParameters>
<listOfReactions><reaction id="r" reversible="false"><listOfReactants>
<speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants><listOfProducts>
<speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts><kineticLaw>
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>A</ci></apply></math></kineticLaw>
</reaction></listOfReactions></model></sbml>
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text(UNITS)
    return path


def test_names_units_values_and_papers(call, model):
    code, told, _ = call("inspect", model)
    assert code == 0
    rows = [line.split() for line in told.splitlines()]
    assert ["A", "Kinase", "one", "species", "the", "cell", "nmol/l", "3", "1"] in rows
    assert ["B", "species", "the", "cell", "nmol", "0", "2"] in rows
    assert ["r", "reaction", "(flux)", "nmol/min", "1.5", "1"] in rows
    assert ["k", "the", "rate", "parameter", "l^2/(nmol·min)", "0.5"] in rows
    assert ["o", "parameter", "(2.5", "mol)", "1"] in rows
    assert ["c", "the", "cell", "compartment", "l", "2"] in rows
    assert "  time in min" in told.splitlines()
    assert "  described by https://identifiers.org/doi:10.1000%2Fx" in told.splitlines()
    assert "--observe A -o reduced.xml" in told


@pytest.mark.parametrize(
    ("words", "left"),
    [(["KINASE"], ["A"]), (["p12345"], ["A"]), (["go:0005886"], ["A"]), (["cell", "species"], ["A", "B"])],
)
def test_it_is_searchable(call, model, words, left):
    found = json.loads(call("inspect", model, *words, "--json")[1])
    assert [one["id"] for one in found["observables"]] == left
    assert call("inspect", model, "nonsense")[1].count("Nothing in it has 'nonsense'") == 1


def test_an_annotation_is_told_with_its_qualifier(call, model):
    told = call("inspect", model, "kinase")[1].splitlines()
    place = next(k for k, line in enumerate(told) if line.split()[:1] == ["A"])
    assert told[place + 1 : place + 3] == ["      is: UniProt P12345", "      has part: GO 0005886"]
    found = json.loads(call("inspect", model, "--json")[1])["observables"][0]
    assert found["resources"] == {
        "is": ["http://identifiers.org/uniprot/P12345"],
        "hasPart": ["urn:miriam:obo.go:GO%3A0005886"],
    }


def test_a_table_fits_the_terminal(model, tmp_path):
    """On 80 columns, both ends of a long name are seen; elsewhere all of it."""
    name = "phosphorylated receptor, dimer, with adaptor and exchange factor, bound to the first of three kinases"
    model.write_text(UNITS.replace("Kinase one", name).replace("the cell", "cytosol"))
    command = [sys.executable, "-m", "sbmlump", "inspect", str(model)]
    assert name in subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        told = b""
        while piece := _read(ours):
            told += piece
    os.close(ours)
    assert process.returncode == 0
    rows = [line for line in told.decode().splitlines() if line.startswith("  ")]
    assert max(map(len, rows)) <= 80
    (row,) = (line for line in rows if line.split()[0] == "A")
    assert "A   phosph" in row
    assert "kinases  " in row


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end was closed
        return b""


def test_constants_are_what_keep_parameters_takes(call, model):
    found = json.loads(call("inspect", model, "--json")[1])
    names = [one["id"] for one in found["constants"]]
    assert names == ["c", "k", "o"]
    assert call("reduce", model, "--observe", "A", "--keep-parameters", ",".join(names), "--no-check")[0] == 0


@pytest.mark.parametrize("name", ["multisite_2", "michaelis_menten", "rational_example", "ring", "sir_age_groups"])
def test_a_cost_is_what_a_reduction_leaves(data, name):
    """For states by one computation, for fluxes and assigned quantities by another; both against the reduction."""
    system = sbmlump.load(data / f"{name}.xml")
    costs = costs_of(system)
    assert set(costs) == set(observable_ids(system))
    for id in list(observable_ids(system))[::5]:
        assert costs[id] == sbmlump.reduce(system, id).system.size, id


def test_the_work_is_bounded(data):
    system = sbmlump.load(data / "multisite_2.xml")
    few = costs_of(system, settings=CostSettings(most_work=5 * system.size))
    assert list(few) == [id for id in few if id in system.states]
    assert len(few) == 5
    assert costs_of(system, settings=CostSettings(most_states=3)) == {}


def test_nothing_observed_names_the_best(call, data):
    code, told, err = call("reduce", data / "multisite_2.xml")
    assert (code, told) == (2, "")
    assert "Fewest of the 18 states are needed, exactly, for: kinase (free kinase) 6" in err
    with pytest.raises(sbmlump.UsageError, match="Fewest of the 18 states"):
        sbmlump.reduce(sbmlump.load(data / "multisite_2.xml"))


# -- Python -----------------------------------------------------------------------------------------------


def test_what_a_prompt_shows_is_short(data):
    system = sbmlump.load(data / "multisite_3.xml")
    reduction = sbmlump.reduce(system, "kinase")
    assert repr(system) == "<OdeSystem 'multisite_3': 66 states, 7 constants, 288 reactions>"
    assert repr(reduction) == "<ReducedSystem 'multisite_3': 66 → 6 states, exact, keeps kinase>"
    assert len(repr(reduction.matrix)) < 80
    assert dir(sbmlump) == sorted(sbmlump.__all__)


def test_notebooks_show_tables(model):
    system = sbmlump.load(model)
    reduction = sbmlump.reduce(system, "2*A + B")
    assert "<td>Kinase one</td><td>nmol/l</td><td>3</td>" in system._repr_html_()
    assert "<td>k</td><td>the rate</td>" in system._repr_html_()
    assert "value at time 0" in reduction._repr_html_()
    assert "<td>Kinase one</td>" in sbmlump.inspect(system)._repr_html_()


def test_frames_of_pandas(model, tmp_path):
    pytest.importorskip("pandas", reason="pandas is not installed")
    system = sbmlump.load(model)
    assert list(system.to_pandas()["id"]) == ["A", "B", "c", "k", "o"]
    reduction = sbmlump.reduce(system, "A")
    assert list(reduction.to_pandas().columns) == ["A", "B"]
    reduction.write(tmp_path / "r.xml")
    report = sbmlump.compare(model, tmp_path / "r.xml", until=2.0, points=5)
    assert report.to_pandas().shape == (5, 2 * len(report.original))
    assert list(sbmlump.inspect(system).to_pandas()["unit"])[:2] == ["nmol/l", "nmol"]
    assert list(sbmlump.compare_methods(model, "A", "exact").to_pandas()["size"]) == [1]
    assert list(sbmlump.curve(model, "B", "balanced", max_size=1, until=1.0).to_pandas()["size"]) == [1]


def test_without_pandas_it_is_said(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(sbmlump.UnsupportedModelError, match="pip install pandas"):
        sbmlump.load(model).to_pandas()


def test_plots_have_names_and_units(model, tmp_path):
    sbmlump.reduce(sbmlump.load(model), "A").write(tmp_path / "r.xml")
    figure = sbmlump.compare(model, tmp_path / "r.xml", until=2.0, points=5).plot()
    assert figure.axes[0].get_title(loc="left") == "Kinase one (A)"
    assert figure.axes[0].get_ylabel() == "nmol/l"
    assert figure.axes[-1].get_xlabel() == "time (min)"
