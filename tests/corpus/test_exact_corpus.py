"""Exact reduction of published models: sizes, errors, proofs, and refutations of files that were changed."""

from __future__ import annotations

import json
import re

import pytest

import sbmlump
from sbmlump.cli import run
from sbmlump.model import ExactProof
from sbmlump.proof import Refutation

TABLE = [
    ("BIOMD0000000243", ["L"], 23, 2),
    ("BIOMD0000000504", ["cFos_P", "cJun_P"], 72, 41),
    ("MODEL8262229752", ["AI2_extra"], 21, 13),
    ("BIOMD0000000448", ["S6p"], 27, 23),
    ("BIOMD0000000182", ["cAMP_cyto"], 32, None),
    ("BIOMD0000000102", ["C3"], 13, 13),
]
IDS = [name for name, *_ in TABLE]
ROWS = pytest.mark.parametrize(("name", "observed", "before", "after"), TABLE, ids=IDS)


@pytest.fixture
def model(corpus):
    return lambda name: corpus / "biomodels" / f"{name}.xml"


@pytest.fixture
def reduce_json(capsys):
    def call(path, observed, *flags):
        capsys.readouterr()
        options = [flag for text in observed for flag in ("--observe", text)]
        code = run(["reduce", str(path), *options, *map(str, flags), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@ROWS
def test_sizes_errors_and_proofs(model, reduce_json, tmp_path, name, observed, before, after):
    out = tmp_path / "r.xml"
    code, found = reduce_json(model(name), observed, "-o", out)
    assert code == 0, found["reasons"]
    assert found["original_size"] == before
    if after is not None:
        assert found["reduced_size"] == after
    reducible = found["reduced_size"] < before
    assert found["outcome"] == ("reduced" if reducible else "not-reducible")
    assert found["exact"] is True
    assert found["certificate"]["failure_probability"] < 1e-18
    if found["simulation"] is not None:
        assert found["simulation"]["max_relative_error"] < 1e-6
    assert out.exists()
    if reducible:
        proof = sbmlump.verify(model(name), out)
        assert isinstance(proof, ExactProof), getattr(proof, "reasons", None)
        again = sbmlump.load(out)
        assert again.size == found["reduced_size"]
        assert set(observed) <= set(again.definitions)
    else:
        assert any(reason["code"] == "not-reducible" for reason in found["reasons"])


@ROWS
def test_combinations(model, tmp_path, name, observed, before, after):
    system = sbmlump.load(model(name))
    other = next(s for s in system.states if s not in observed)
    text = f"{observed[0]} + 2*{other}"
    reduction = sbmlump.reduce(system, [text])
    assert reduction.system.size <= before
    assert [o.id for o in reduction.observables] == ["observable_1"]
    assert reduction.certificate.failure_probability < 1e-18
    both = sbmlump.reduce(system, [observed[0], other])
    assert reduction.system.size <= both.system.size
    if reduction.reducible:
        reduction.write(tmp_path / "r.xml")
        assert isinstance(sbmlump.verify(model(name), tmp_path / "r.xml"), ExactProof)


@ROWS
def test_an_assigned_quantity_or_a_flux(model, tmp_path, name, observed, before, after):
    system = sbmlump.load(model(name))
    candidates = [a.id for a in system.assigned] + [r.id for r in system.reactions]
    assert candidates
    for observable in (candidates[0], candidates[-1]):
        reduction = sbmlump.reduce(system, [observable])
        assert reduction.certificate.failure_probability < 1e-18
        if not reduction.reducible:
            continue
        assert observable in reduction.system.definitions
        reduction.write(tmp_path / "r.xml")
        proof = sbmlump.verify(model(name), tmp_path / "r.xml")
        assert isinstance(proof, ExactProof), getattr(proof, "reasons", None)


@pytest.mark.parametrize("kind", ["operator", "constant", "initial value", "annotation"])
@pytest.mark.parametrize("name", ["BIOMD0000000243", "MODEL8262229752", "BIOMD0000000448"])
def test_changed_files_are_refuted(model, tmp_path, name, kind):
    observed = next(row[1] for row in TABLE if row[0] == name)
    out = tmp_path / "r.xml"
    sbmlump.reduce(sbmlump.load(model(name)), observed).write(out)
    text = out.read_text(encoding="utf-8")
    patterns = {
        "operator": r"<(?:rateRule|kineticLaw)\b[^>]*>.*?<math[^>]*>.*?<(plus|times|divide)/>",
        "constant": r'<parameter [^>]*value="([^"]+)"',
        "initial value": r'initial(?:Amount|Concentration)="([^"]+)"',
        "annotation": r'<member state="[^"]*" value="(-?\d+(?:/\d+)?)"',
    }
    places = [match.span(1) for match in re.finditer(patterns[kind], text, re.DOTALL)]
    assert places, f"no {kind} was found in the reduced file"
    for low, high in dict.fromkeys((places[0], places[len(places) // 2], places[-1])):
        old = text[low:high]
        new = _other(old)
        changed = tmp_path / "changed.xml"
        changed.write_text(text[:low] + new + text[high:], encoding="utf-8")
        assert isinstance(sbmlump.verify(model(name), changed), Refutation), text[max(0, low - 100) : high + 20]


def _other(text):
    """Another operator or another number, of the same kind."""
    if text.isalpha():
        return "plus" if text != "plus" else "times"
    if re.fullmatch(r"-?\d+", text):
        return str(int(text) + 1)
    return "7/3" if "/" in text else repr(float(text) * 1.01 + 1)


def test_nosuch_names_near_matches(model, reduce_json):
    code, found = reduce_json(model("BIOMD0000000102"), ["nosuch"])
    assert code == 2
    assert found["reasons"][0]["element"] == "nosuch"
    code, found = reduce_json(model("BIOMD0000000102"), ["c3"])
    assert code == 2
    assert "C3" in found["reasons"][0]["message"]


def test_one_reduction_of_each_model_is_proved(biomodels_file):
    """Whatever can be read: the first and the last state, sizes that only shrink, certificates below 1e-18."""
    from sbmlump.errors import LimitError, UnsupportedModelError

    try:
        system = sbmlump.load(biomodels_file)
    except UnsupportedModelError:
        return
    if not 0 < system.size <= 150:
        return
    for name in dict.fromkeys((system.states[0], system.states[-1])):
        try:
            reduction = sbmlump.reduce(system, [name])
        except (UnsupportedModelError, LimitError):
            continue  # said with a reason; sizes and certificates are what is tested here
        assert 1 <= reduction.system.size <= system.size
        assert reduction.certificate.failure_probability < 1e-18
        assert name in reduction.system.definitions
