"""The jobs of the library, from files and from systems."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from lumping_cases import make
from sbml.read_models import compartment, event, listed, reaction, sbml, species

import sbmlump
from sbmlump import jobs
from sbmlump.errors import InputError, UsageError
from sbmlump.examples import clue_example, michaelis_menten
from sbmlump.methods import Context, Exact, reduce_options
from sbmlump.model import ExactProof, observable_ids, parse_observables
from sbmlump.outcome import outcome_of_error
from sbmlump.proof import Refutation


def test_the_names_of_the_contract(data, tmp_path):
    system = sbmlump.load(data / "clue_example.xml")
    assert system.states == ("x1", "x2", "x3")
    start = system.initial_state()
    assert start.shape == (3,)
    assert system.rates(0.0, start).shape == (3,)
    assert system.rates(0.0, np.stack([start, start])).shape == (2, 3)
    assert system.jacobian(0.0, start).shape == (3, 3)
    reduction = sbmlump.reduce(system, observe=["x1", "x2 + 2*x3"], method="exact")
    assert reduction.matrix.exact() == [[1, 0, 0], [0, 1, 2]]
    assert reduction.matrix.array().tolist() == [[1, 0, 0], [0, 1, 2]]
    assert reduction.system.size == 2
    y = reduction.project(start)
    np.testing.assert_allclose(reduction.project(reduction.lift(y)), y)
    assert reduction.project(np.stack([start, start])).shape == (2, 2)
    reduction.write(tmp_path / "r.xml")
    assert isinstance(sbmlump.verify(data / "clue_example.xml", tmp_path / "r.xml"), ExactProof)
    report = sbmlump.compare(data / "clue_example.xml", tmp_path / "r.xml", until=0.5)
    assert report.max_relative_error < 1e-6


def test_file_and_builder_are_reduced_alike(data):
    from_file = sbmlump.reduce(sbmlump.load(data / "clue_example.xml"), ["x1"])
    built = sbmlump.reduce(clue_example(), ["x1"])
    assert from_file.lumps == built.lumps


def test_a_written_reduction_can_be_loaded_and_reduced_again(data, tmp_path):
    first = sbmlump.reduce(sbmlump.load(data / "multisite_2.xml"), ["kinase"])
    first.write(tmp_path / "r.xml")
    again = sbmlump.load(tmp_path / "r.xml")
    assert again.size == first.system.size == 6
    x = np.random.default_rng(1).uniform(0.1, 2, 6)
    order = [again.states.index(name) for name in first.system.states]
    np.testing.assert_allclose(again.rates(0.0, x[np.argsort(order)])[order], first.system.rates(0.0, x), rtol=1e-13)
    assert not sbmlump.reduce(again, ["kinase"]).reducible


def test_methods():
    reduction = sbmlump.reduce(clue_example(), method="none")
    assert reduction.system.size == 3
    assert not reduction.reducible
    with pytest.raises(UsageError) as caught:
        sbmlump.reduce(clue_example(), ["x1"], method="exakt")
    assert caught.value.reasons[0].code == "unknown-method"


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [("none", set()), ("all", {"k1", "k1r", "k2", "cell"}), ("k1,k2", {"k1", "k2"}), (["k2"], {"k2"})],
)
def test_constants_to_keep(wanted, kept):
    assert Exact(keep_parameters=wanted).keep(michaelis_menten(), Context()) == kept


def test_missing_files(tmp_path, data):
    for job in (
        lambda: sbmlump.load(tmp_path / "no.xml"),
        lambda: jobs.inspect(tmp_path / "no.xml"),
        lambda: sbmlump.verify(data / "ring.xml", tmp_path / "no.xml"),
        lambda: jobs.check(data / "ring.xml", tmp_path / "no.xml"),
        lambda: jobs.convert(tmp_path / "no.xml", tmp_path / "c.xml"),
    ):
        with pytest.raises(InputError):
            job()


@pytest.mark.parametrize("change", ["annotation", "rate"])
def test_verify_refutes(data, tmp_path, change):
    path = tmp_path / "r.xml"
    sbmlump.reduce(sbmlump.load(data / "squares_example.xml"), ["x1"]).write(path)
    text = path.read_text(encoding="utf-8")
    if change == "annotation":
        assert 'id="x1"' in text
        low = text.index("<annotation")
        path.write_text(text[:low] + text[low:].replace('"1"', '"2"', 1))
    else:
        path.write_text(
            text.replace("<times/>", "<plus/>", 1) if "<times/>" in text else text.replace("<power/>", "<times/>", 1)
        )
    assert isinstance(sbmlump.verify(data / "squares_example.xml", path), Refutation)


def test_outcome_json_of_an_identity():
    from sbmlump.outcome import ModelFacts, Outcome

    empty = Outcome("failed", ModelFacts(), "exact").as_json()
    assert empty["outcome"] == "failed"
    assert empty["reduced_size"] is None
    assert empty["seconds"]["total"] is None
    assert outcome_of_error(InputError(())) == "failed"


# -- observables ----------------------------------------------------------------------------------------


def system():
    return make({"A": "-k*A", "B": "A", "Long_name": "B"}, constants={"k": 2}, assigned={"rate": "k*A"})


def codes(texts):
    with pytest.raises(UsageError) as caught:
        parse_observables(system(), texts)
    return [reason.code for reason in caught.value.reasons]


def test_observables_are_named():
    found = parse_observables(system(), ["A", "A + 2*B", "total = A + B", "rate", "B - A", "A"])
    assert [o.id for o in found] == ["A", "observable_1", "total", "rate", "observable_2"]
    assert [o.text for o in found] == ["A", "A + 2*B", "A + B", "rate", "B - A"]


def test_what_can_be_observed():
    assert observable_ids(michaelis_menten()) == ("E", "S", "ES", "P", "r1", "r2", "r3")
    assert observable_ids(system()) == ("A", "B", "Long_name", "rate")


def test_every_wrong_observable_is_told_at_once():
    assert codes(["nosuch", "A +", "A = B", "two words = A", "A"]) == [
        "unknown-observable", "bad-observable", "name-taken", "bad-observable",
    ]  # fmt: skip
    assert codes([]) == ["no-observable"]
    assert codes([""]) == ["bad-observable"]
    assert codes(["t = A", "t = B"]) == ["name-taken"]


def test_unnamed_observables_avoid_names_of_the_model():
    taken = make({"observable_1": "1", "B": "1"})
    (found,) = parse_observables(taken, ["B + 1"])
    assert found.id != "observable_1"


def test_a_name_given_later_is_not_taken_by_an_unnamed_one():
    found = parse_observables(system(), ["A + B", "observable_1 = A - B"])
    assert len({o.id for o in found}) == 2


def test_the_name_of_an_event_or_a_species_reference_is_taken(tmp_path):
    path = tmp_path / "m.xml"
    text = sbml(
        listed("Compartments", compartment())
        + listed("Species", species("A"), species("B"))
        + listed("Reactions", reaction("r", "A", "B", "A").replace('species="B"', 'species="B" id="part"'))
        + listed("Events", event("time > 1", {"A": "1"}).replace('id="e"', 'id="observable_1"'))
    )
    path.write_text(text)
    loaded = sbmlump.load(path)
    for name in ("part", "observable_1"):
        with pytest.raises(UsageError) as caught:
            parse_observables(loaded, [f"{name} = A + B"])
        assert caught.value.reasons[0].code == "name-taken"
    (found,) = parse_observables(loaded, ["A + 2*B"])
    assert found.id == "observable_2"


def test_near_matches_can_be_observed():
    with pytest.raises(UsageError) as caught:
        parse_observables(make({"A": "-kk*A"}, constants={"kk": 2}), ["kk_"])
    assert "near" not in caught.value.reasons[0].message


@pytest.mark.parametrize(("text", "near"), [("long_name", "Long_name"), ("Lon_name", "Long_name"), ("rat", "rate")])
def test_near_matches(text, near):
    with pytest.raises(UsageError) as caught:
        parse_observables(system(), [text])
    assert near in caught.value.reasons[0].message
    assert caught.value.reasons[0].element == text


def test_large_and_small_numbers_in_observables():
    one = system()
    (found,) = parse_observables(one, ["1e-30*A + 123456789012345678901234567890*B"])
    terms = one.graph.linear_terms(found.expression)
    assert terms == {one.graph.symbol("A"): Fraction(1, 10**30), one.graph.symbol("B"): 123456789012345678901234567890}


def test_what_depends_on_nothing_needs_no_state(data, tmp_path):
    """A constant inflow, or time alone: a lumping without rows must survive the file as any other."""
    reduction = sbmlump.reduce(sbmlump.load(data / "clue_example.xml"), ["source = 2 + 3"])
    assert reduction.system.size == 0
    reduction.write(tmp_path / "r.xml")
    assert isinstance(sbmlump.verify(data / "clue_example.xml", tmp_path / "r.xml"), ExactProof)


_OLD_RATE_OF = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="old">
<listOfFunctionDefinitions><functionDefinition id="rateOf">
<annotation><symbols xmlns="http://sbml.org/annotations/symbols" definition="http://en.wikipedia.org/wiki/Derivative"/>
</annotation><math xmlns="http://www.w3.org/1998/Math/MathML"><lambda><bvar><ci>a</ci></bvar><notanumber/></lambda></math>
</functionDefinition></listOfFunctionDefinitions>
<listOfParameters><parameter id="x" value="1" constant="false"/><parameter id="y" value="2" constant="false"/>
<parameter id="z" value="3" constant="false"/></listOfParameters>
<listOfRules>
<rateRule variable="x"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><minus/><ci>x</ci></apply></math></rateRule>
<rateRule variable="y"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><ci>rateOf</ci><ci>x</ci></apply></math></rateRule>
<rateRule variable="z"><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>y</ci></math></rateRule>
</listOfRules></model></sbml>"""


def test_a_rate_of_older_levels_is_simulated_as_what_it_means(tmp_path):
    """libRoadRunner alone would take it for NaN."""
    path, written = tmp_path / "old.xml", tmp_path / "small.xml"
    path.write_text(_OLD_RATE_OF)
    outcome = jobs.run_reduction(path, ["y"], reduce_options("exact", until=5.0), written)
    assert outcome.report is not None
    assert outcome.report.original["y"][-1] == pytest.approx(1 + np.exp(-5.0), rel=1e-6)
    assert outcome.report.max_relative_error < 1e-6
    again = jobs.check(path, written, until=5.0)
    assert again.max_relative_error < 1e-6
    assert any("rateOf" in remark for remark in again.remarks)


def test_options_of_methods_in_python():
    system = make({"a": "-a", "b": "a - b/100", "c": "b - 2*c"}, start={"a": 1, "b": 0, "c": 0})
    reduction = sbmlump.reduce(system, ["b"], method="approximate", max_size=1, until=3.0, ensemble=3)
    assert reduction.system.size == 1
    assert reduction.certificate.horizon == 3.0
    with pytest.raises(UsageError) as error:
        sbmlump.reduce(system, ["b"], max_sise=1)
    assert [reason.code for reason in error.value.reasons] == ["unknown-option"]
