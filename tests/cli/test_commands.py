"""The command line as the contract describes it: exit codes, one JSON object, messages, whole files."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys

import pytest

from sbmlump import __version__
from sbmlump.cli import run
from sbmlump.jobs import reduction

MODELS = [
    "clue_example",
    "michaelis_menten",
    "multisite_1",
    "rational_example",
    "ring",
    "sir_age_groups",
    "squares_example",
]
OBSERVED = {
    "clue_example": ("x1", 3, 2),
    "michaelis_menten": ("S", 4, 3),
    "rational_example": ("x1", 3, 2),
    "squares_example": ("x1", 4, 3),
}


class Result:
    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err

    @property
    def json(self):
        def refuse(text):
            raise AssertionError(f"{text} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def sbmlump(capsys):
    def call(*arguments):
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        return Result(code, capsys.readouterr())

    return call


@pytest.fixture
def model(data, tmp_path):
    """A copy, so that nothing can be written beside the originals."""
    path = tmp_path / "model.xml"
    shutil.copy(data / "clue_example.xml", path)
    return path


# -- reduce ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OBSERVED))
def test_reduce_json(sbmlump, data, tmp_path, name):
    observed, before, after = OBSERVED[name]
    out = tmp_path / "r.xml"
    result = sbmlump("reduce", data / f"{name}.xml", "--observe", observed, "-o", out, "--until", "0.5", "--json")
    assert result.code == 0
    found = result.json
    assert set(found) >= {
        "model", "outcome", "method", "observables", "original_size", "reduced_size", "exact", "map", "lumping",
        "certificate", "simulation", "seconds", "output", "reasons",
    }  # fmt: skip
    assert found["outcome"] == "reduced"
    assert (found["original_size"], found["reduced_size"], found["exact"]) == (before, after, True)
    assert found["observables"] == [observed]
    assert found["method"] == "exact"
    assert found["model"]["states"] == before
    assert found["model"]["kinetics"] == ("rational" if name == "rational_example" else "polynomial")
    assert found["model"]["file"].endswith(f"{name}.xml")
    assert found["map"]["kind"] == "linear"
    assert isinstance(found["map"]["proper"], bool)
    assert isinstance(found["map"]["non_negative"], bool)
    assert len(found["lumping"]) == after
    for lump in found["lumping"]:
        assert set(lump) == {"id", "members", "offset"}
        assert all(re.fullmatch(r"-?\d+(/\d+)?", number) for number in lump["members"].values())
    assert found["certificate"]["kind"] == "exact-proof"
    assert found["certificate"]["failure_probability"] < 1e-18
    assert found["output"] == str(out)
    assert out.exists()
    assert found["reasons"] == [] or all(set(r) >= {"code", "element", "message"} for r in found["reasons"])
    seconds = found["seconds"]
    assert set(seconds) == {"read", "lump", "write", "simulate", "total"}
    assert all(isinstance(value, float) and value >= 0 for value in seconds.values())
    simulation = found["simulation"]
    assert set(simulation) >= {
        "until", "max_relative_error", "final_relative_error", "max_absolute_error", "per_observable",
        "seconds_original", "seconds_reduced",
    }  # fmt: skip
    assert simulation["until"] == 0.5
    assert simulation["max_relative_error"] < 1e-6
    assert set(simulation["per_observable"]) == {observed}


def test_reduce_without_check_or_output(sbmlump, model):
    before = sorted(model.parent.iterdir())
    result = sbmlump("reduce", model, "--observe", "x1", "--no-check", "--json")
    assert result.code == 0
    assert result.json["simulation"] is None
    assert result.json["output"] is None
    assert sorted(model.parent.iterdir()) == before


def test_json_is_one_object_and_messages_go_elsewhere(sbmlump, model):
    result = sbmlump("reduce", model, "--observe", "x1", "--no-check", "--json")
    assert result.out.count("\n") == 1
    assert result.err == ""


def test_reduce_for_people(sbmlump, model, tmp_path):
    result = sbmlump("reduce", model, "--observe", "total = x1 + x2 + 2*x3", "--no-check", "-o", tmp_path / "r.xml")
    assert result.code == 0
    assert "3 states reduced to 2" in result.out
    assert "total" in result.out
    assert str(tmp_path / "r.xml") in result.out


@pytest.mark.parametrize(
    "observe", [["x1"], ["x2 + 2*x3"], ["t = x1 + 3*(x2 + 2*x3)"], ["x1/(x2 + 2*x3)"], ["x1", "b = x1"]]
)
def test_verify_and_check_what_was_written(sbmlump, model, tmp_path, observe):
    out = tmp_path / "r.xml"
    flags = [flag for text in observe for flag in ("--observe", text)]
    assert sbmlump("reduce", model, *flags, "-o", out, "--no-check", "--json").code == 0
    verified = sbmlump("verify", model, out, "--json")
    assert verified.code == 0, verified.err
    assert verified.json["outcome"] == "proved"
    assert verified.json["certificate"]["kind"] == "exact-proof"
    assert verified.json["reasons"] == []
    checked = sbmlump("check", model, out, "--until", "0.5", "--json")
    assert checked.code == 0, checked.err
    assert checked.json["max_relative_error"] < 1e-6
    assert isinstance(checked.json["outcome"], str)


def test_not_reducible(sbmlump, data, tmp_path):
    flags = [
        "reduce",
        data / "michaelis_menten.xml",
        "--observe",
        "S",
        "--observe",
        "E",
        "--observe",
        "P",
        "--no-check",
    ]
    out = tmp_path / "same.xml"
    result = sbmlump(*flags, "-o", out, "--json")
    assert result.code == 0
    assert result.json["outcome"] == "not-reducible"
    assert result.json["original_size"] == result.json["reduced_size"] == 4
    assert result.json["lumping"] is None
    assert any(reason["code"] == "not-reducible" for reason in result.json["reasons"])
    assert out.exists()
    strict = sbmlump(*flags, "--strict", "--json")
    assert strict.code == 1
    assert strict.json["outcome"] == "not-reducible"


def test_a_combination_of_a_model_that_is_not_reducible_is_simulated(sbmlump, data, tmp_path):
    """What is written is the original with the combination that was asked for."""
    flags = ["reduce", data / "michaelis_menten.xml", "--observe", "total = S + 2*E", "--observe", "ES", "--json"]
    out = tmp_path / "same.xml"
    result = sbmlump(*flags, "--observe", "P", "-o", out)
    assert result.code == 0, result.json
    assert result.json["outcome"] == "not-reducible"
    assert set(result.json["simulation"]["per_observable"]) == {"total", "ES", "P"}
    assert result.json["simulation"]["max_relative_error"] < 1e-6
    assert out.exists()


def test_nothing_is_simulated_where_nothing_was_reduced_but_for_a_page(sbmlump, data, tmp_path):
    flags = ["reduce", data / "michaelis_menten.xml", "--json", "--observe", "S", "--observe", "E", "--observe", "P"]
    plain = sbmlump(*flags)
    assert (plain.json["outcome"], plain.json["simulation"]) == ("not-reducible", None)
    shown = sbmlump(*flags, "--report", tmp_path / "page")
    assert shown.json["simulation"]["max_relative_error"] == 0.0


def test_method_none_writes_the_model_back(sbmlump, model, tmp_path):
    out = tmp_path / "same.xml"
    result = sbmlump("reduce", model, "--method", "none", "-o", out, "--json")
    assert result.code == 0
    assert result.json["reduced_size"] == 3
    assert sbmlump("check", model, out, "--until", "0.5", "--json").json["max_relative_error"] < 1e-6


def test_keep_parameters(sbmlump, data):
    """The lumping needs no value of a parameter, and is proved for all of them either way."""
    for keep in ("all", "none"):
        result = sbmlump(
            "reduce", data / "multisite_2.xml", "--observe", "kinase", "--keep-parameters", keep, "--no-check", "--json"
        )
        assert result.code == 0, result.err
        assert result.json["reduced_size"] == 6
        assert result.json["certificate"]["symbolic_parameters"]
        assert result.json["certificate"]["holds_for"] == "all-parameter-values"


def test_the_same_input_gives_the_same_bytes(sbmlump, model, tmp_path):
    for name in ("one.xml", "two.xml"):
        sbmlump("reduce", model, "--observe", "x1", "-o", tmp_path / name, "--no-check")
    assert (tmp_path / "one.xml").read_bytes() == (tmp_path / "two.xml").read_bytes()


# -- inspect, convert -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_inspect_json(sbmlump, data, name):
    result = sbmlump("inspect", data / f"{name}.xml", "--json")
    assert result.code == 0
    found = result.json
    assert set(found) >= {
        "id", "level", "version", "states", "parameters", "reactions", "events", "kinetics", "observables", "reasons",
        "supported",
    }  # fmt: skip
    assert found["id"] == name
    assert found["supported"] is True
    assert found["reasons"] == []
    assert found["kinetics"] in ("polynomial", "rational", "analytic")
    assert all(
        isinstance(found[key], int) for key in ("level", "version", "states", "parameters", "reactions", "events")
    )
    ids = [o["id"] if isinstance(o, dict) else o for o in found["observables"]]
    assert len(ids) >= found["states"]
    text = sbmlump("inspect", data / f"{name}.xml")
    assert text.code == 0
    assert ids[0] in text.out


def test_convert_and_its_json(sbmlump, model, tmp_path):
    out = tmp_path / "c.xml"
    result = sbmlump("convert", model, "-o", out, "--json")
    assert result.code == 0
    assert result.json["outcome"] == "converted"
    again = tmp_path / "d.xml"
    assert sbmlump("convert", out, "-o", again).code == 0
    assert out.read_bytes() == again.read_bytes(), "the canonical form is not a fixed point"
    first, second = (sbmlump("inspect", path, "--json").json for path in (model, out))
    assert [first[k] for k in ("states", "parameters", "events")] == [
        second[k] for k in ("states", "parameters", "events")
    ]


# -- verify refutes -------------------------------------------------------------------------------------


@pytest.fixture
def reduced(sbmlump, data, tmp_path):
    out = tmp_path / "r.xml"
    source = data / "multisite_2.xml"
    assert sbmlump("reduce", source, "--observe", "kinase", "-o", out, "--no-check").code == 0
    return source, out


def numbers_of(text):
    """Places of the numbers of a file that carry mathematics, start values or the lumping (not levels or versions)."""
    patterns = [
        r"<cn[^>]*>\s*(-?[\d.]+(?:e-?\d+)?)\s*</cn>",
        r"<cn[^>]*>\s*(-?\d+)\s*<sep/>",
        r'initial(?:Amount|Concentration)="([^"]+)"',
        r'<parameter [^>]*value="([^"]+)"',
    ]
    return sorted(match.span(1) for pattern in patterns for match in re.finditer(pattern, text))


def test_every_number_of_the_reduced_file_counts(sbmlump, reduced, tmp_path):
    source, out = reduced
    text = out.read_text(encoding="utf-8")
    places = numbers_of(text)
    assert len(places) > 5
    changed = tmp_path / "changed.xml"
    for low, high in places:
        old = text[low:high]
        new = repr(float(old) * 1.5 + 0.25) if "." in old or "e" in old else str(int(old) + 3)
        changed.write_text(text[:low] + new + text[high:])
        result = sbmlump("verify", source, changed, "--json")
        assert result.code == 1, f"{old} became {new} at {low}: {text[max(0, low - 80) : high + 20]}"
        assert result.json["outcome"] == "refuted"
        assert result.json["reasons"]


def test_every_number_of_the_annotation_counts(sbmlump, reduced, tmp_path):
    source, out = reduced
    text = out.read_text(encoding="utf-8")
    start = text.index("<annotation")
    stop = text.index("</annotation>")
    places = [
        (start + m.start(2), start + m.end(2)) for m in re.finditer(r'(value)="(-?\d+(?:/\d+)?)"', text[start:stop])
    ]
    assert places, "no coefficients were found in the annotation"
    changed = tmp_path / "changed.xml"
    for low, high in places:
        changed.write_text(text[:low] + "5" + text[high:])
        result = sbmlump("verify", source, changed, "--json")
        assert result.code == 1, text[max(0, low - 60) : high + 10]
        assert result.json["outcome"] == "refuted"


def test_verify_without_a_lumping(sbmlump, data):
    result = sbmlump("verify", data / "clue_example.xml", data / "ring.xml", "--json")
    assert result.code == 1
    assert result.json["outcome"] == "no-lumping"
    assert result.json["certificate"] is None
    assert result.json["reasons"]


def test_a_model_is_a_lumping_of_itself(sbmlump, data):
    assert sbmlump("verify", data / "ring.xml", data / "ring.xml", "--json").json["outcome"] == "proved"


def test_check_above_the_limit(sbmlump, model, tmp_path):
    wrong = tmp_path / "wrong.xml"
    text = model.read_text(encoding="utf-8")
    assert 'initialConcentration="0.1"' in text or 'value="0.1"' in text
    wrong.write_text(text.replace('"0.1"', '"0.11"'))
    result = sbmlump("check", model, wrong, "--until", "0.5", "--max-error", "0.001", "--json")
    assert result.code == 1
    assert result.json["max_relative_error"] > 0.001
    assert sbmlump("check", model, model, "--until", "0.5", "--max-error", "1e-6", "--json").code == 0


# -- what goes wrong ------------------------------------------------------------------------------------


USAGE = [
    ["reduce", "MODEL"],
    ["reduce"],
    ["reduce", "MODEL", "--observe", "nosuch"],
    ["reduce", "MODEL", "--observe", "x1 +"],
    ["reduce", "MODEL", "--observe", "x1 = x2"],
    ["reduce", "MODEL", "--observe", "a b = x2"],
    ["reduce", "MODEL", "--observe", "x1", "--method", "nosuch"],
    ["reduce", "MODEL", "--observe", "x1", "--keep-parameters", "nosuch"],
    ["reduce", "MODEL", "--observe", "x1", "--points", "1"],
    ["reduce", "MODEL", "--observe", "x1", "--points", "many"],
    ["reduce", "MODEL", "--observe", "x1", "--seed", "-1"],
    ["reduce", "MODEL", "--observe", "x1", "--until", "-1"],
    ["reduce", "MODEL", "--observe", "x1", "--until", "nan"],
    ["reduce", "MODEL", "--observe", "x1", "--bogus"],
    ["convert", "MODEL", "-o", "model.nosuch"],
    ["convert", "MODEL"],
    ["verify", "MODEL"],
    ["verify", "MODEL", "MODEL", "--seed", "-1"],
    ["check", "MODEL", "MODEL", "--until", "0"],
    ["nosuch"],
    ["inspect"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage_exits_2_also_as_json(sbmlump, model, arguments):
    arguments = [str(model) if a == "MODEL" else a for a in arguments]
    result = sbmlump(*arguments, "--json")
    assert result.code == 2
    assert result.json["outcome"] == "failed"
    assert result.json["reasons"]
    for reason in result.json["reasons"]:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", reason["code"])
        assert "\n" not in reason["message"].strip()
    plain = sbmlump(*arguments)
    assert plain.code == 2
    assert plain.out == ""
    assert plain.err.strip()


@pytest.mark.parametrize(
    "flag", [["--until", "nan"], ["--points", "1"], ["--keep-parameters", "nosuch"], ["--method", "nosuch"]]
)
def test_wrong_usage_writes_nothing(sbmlump, model, flag):
    before = sorted(model.parent.iterdir())
    assert sbmlump("reduce", model, "--observe", "x1", "-o", model.parent / "r.xml", *flag).code == 2
    assert sorted(model.parent.iterdir()) == before


def test_near_matches_are_named(sbmlump, data):
    result = sbmlump("reduce", data / "sir_age_groups.xml", "--observe", "I1", "--json")
    assert result.code == 2
    assert "I_1" in result.json["reasons"][0]["message"]
    result = sbmlump("reduce", data / "multisite_1.xml", "--observe", "Kinas", "--observe", "alsowrong", "--json")
    assert len(result.json["reasons"]) == 2
    assert "kinase" in result.json["reasons"][0]["message"]
    assert "reduce" in sbmlump("reduse").err


BAD_INPUT = {
    "missing": None,
    "empty": b"",
    "text": b"this is no XML",
    "unclosed": b"<sbml><model>",
    "other-xml": b"<?xml version='1.0'?><html><body/></html>",
    "doctype": b"<?xml version='1.0'?><!DOCTYPE sbml [<!ENTITY a 'b'>]><sbml/>",
    "binary": bytes(range(256)),
    "deep": b"<?xml version='1.0'?><sbml>" + b"<apply>" * 20_000 + b"</apply>" * 20_000 + b"</sbml>",
}


@pytest.mark.parametrize("kind", [*BAD_INPUT, "directory"])
@pytest.mark.parametrize("command", ["reduce", "inspect", "convert", "verify", "verify2", "check", "check2"])
def test_unreadable_input_exits_3(sbmlump, model, kind, command):
    folder = model.parent / "bad"
    folder.mkdir()
    path = folder / "bad.xml"
    if kind == "directory":
        path.mkdir()
    elif BAD_INPUT[kind] is not None:
        path.write_bytes(BAD_INPUT[kind])
    before = sorted(folder.iterdir())
    out = folder / "out.xml"
    arguments = {
        "reduce": [path, "--observe", "x1", "-o", out],
        "inspect": [path],
        "convert": [path, "-o", out],
        "verify": [model, path],
        "verify2": [path, model],
        "check": [path, model],
        "check2": [model, path],
    }[command]
    result = sbmlump(command.rstrip("2"), *arguments, "--json")
    assert result.code == 3, result.out + result.err
    assert result.json["outcome"] == "failed"
    message = result.json["reasons"][0]["message"]
    assert "bad.xml" in message
    assert len(message) < 400
    assert sorted(folder.iterdir()) == before


def test_output_is_replaced_whole_or_not_at_all(sbmlump, model, tmp_path):
    out = tmp_path / "out" / "r.xml"
    out.parent.mkdir()
    out.write_text("precious")
    assert sbmlump("reduce", model, "--observe", "nosuch", "-o", out, "--force").code == 2
    assert sbmlump("reduce", tmp_path / "nothing.xml", "--observe", "x1", "-o", out, "--force").code == 3
    assert out.read_text(encoding="utf-8") == "precious"
    assert sbmlump("reduce", model, "--observe", "x1", "-o", out, "--no-check", "--force").code == 0
    assert out.read_text(encoding="utf-8").startswith("<?xml")
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_that_is_not_there(sbmlump, model, tmp_path):
    result = sbmlump("reduce", model, "--observe", "x1", "-o", tmp_path / "no" / "r.xml", "--no-check", "--json")
    assert result.code == 2
    assert not (tmp_path / "no").exists()


def test_the_check_compares_with_the_original_even_when_it_is_overwritten(sbmlump, model, tmp_path):
    """-o MODEL replaces the input; comparing the new file with itself would always find no error."""
    elsewhere = sbmlump("reduce", model, "--observe", "x1", "-o", tmp_path / "r.xml", "--until", "0.5", "--json").json
    result = sbmlump("reduce", model, "--observe", "x1", "-o", model, "--until", "0.5", "--json")
    if result.code == 2:
        assert "x3" in model.read_text(encoding="utf-8"), "refused, but the input is gone"
        return
    assert result.json["simulation"]["max_relative_error"] == elsewhere["simulation"]["max_relative_error"]


def test_help_version_and_faults(sbmlump, monkeypatch, model):
    assert __version__ in sbmlump("--version").out
    for command in ("demo", "inspect", "reduce", "convert", "check", "verify"):
        result = sbmlump(command, "--help")
        assert result.code == 0
        assert "Usage" in result.out

    def broken(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr(reduction, "read_model", broken)
    result = sbmlump("reduce", model, "--observe", "x1", "--json")
    assert result.code == 70
    assert result.json["reasons"][0]["code"] == "fault"
    assert "boom" in result.err


def test_no_number_that_is_not_finite_reaches_the_json(capsys):
    from sbmlump.cli.output import print_json

    print_json({"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": 1.5})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, {"c": None}], "d": 1.5}


def test_as_a_program(model, tmp_path):
    """Once through a real process: streams, exit code, nothing on standard output but the object."""
    command = [
        sys.executable,
        "-m",
        "sbmlump",
        "reduce",
        str(model),
        "--observe",
        "x1",
        "-o",
        "r.xml",
        "--until",
        "0.5",
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["reduced_size"] == 2
    assert (tmp_path / "r.xml").exists()


# -- a user's own lumping, and what is kept -----------------------------------------------------------


OVERLAPPING = "1,1,0,0\n0,1,1,0\n0,0,1,1\n"
DISJOINT = "1,1,0,0\n0,0,1,1\n"


@pytest.mark.parametrize(("text", "balanced"), [(OVERLAPPING, False), (DISJOINT, True)])
def test_a_ring_keeps_its_balance_with_disjoint_pools_only(sbmlump, data, tmp_path, text, balanced):
    pools, out = tmp_path / "pools.csv", tmp_path / "reduced.xml"
    pools.write_text(text)
    ring = data / "ring.xml"
    assert sbmlump("inspect", ring, "--structure", "--json").json["structure"]["detailed_balance"] is True
    done = sbmlump("reduce", ring, "--observe", "X_1 + X_2", "--lumping", pools, "-o", out, "--no-check", "--json")
    assert done.code == 0
    assert (done.json["method"], done.json["exact"]) == ("lumping", True)
    found = sbmlump("inspect", out, "--structure", "--against", ring, "--json")
    assert found.code == 0
    assert found.json["structure"]["detailed_balance"] is balanced
    kept = {one["name"]: one["kept"] for one in found.json["kept"]}
    assert kept["detailed balance"] is balanced
    assert kept["conservation laws"] is True
    assert "detailed balance" in sbmlump("inspect", out, "--against", ring).out


def test_a_model_that_is_no_reduction_is_a_wrong_use(sbmlump, data):
    result = sbmlump("inspect", data / "clue_example.xml", "--against", data / "ring.xml", "--json")
    assert result.code == 2
    assert result.json["reasons"][0]["code"] == "no-lumping"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,0\n", "4 columns"),
        ("1,1,0,0\n2,2,0,0\n", "rank is 1"),
        ("a = X_1*X_2\n", "no linear combination"),
        (None, "cannot read the lumping"),
    ],
)
def test_a_wrong_lumping_is_one_sentence(sbmlump, data, tmp_path, text, message):
    pools = tmp_path / "pools.csv"
    if text is not None:
        pools.write_text(text)
    result = sbmlump("reduce", data / "ring.xml", "--observe", "X_1 + X_2", "--lumping", pools, "--json")
    assert result.code == 2
    (reason,) = result.json["reasons"]
    assert reason["code"] == "bad-lumping"
    assert message in reason["message"]


def test_a_lumping_for_a_method_that_finds_its_own_is_refused(sbmlump, data, tmp_path):
    pools = tmp_path / "pools.csv"
    pools.write_text(DISJOINT)
    result = sbmlump(
        "reduce", data / "ring.xml", "--observe", "X_1", "--lumping", pools, "--method", "conservation", "--json"
    )
    assert (result.code, result.json["reasons"][0]["code"]) == (2, "bad-option")


def test_an_option_without_effect_is_said(sbmlump, data):
    result = sbmlump(
        "reduce", data / "michaelis_menten.xml", "--observe", "S", "--threshold", "0.1", "--no-check", "--json"
    )
    assert result.code == 0
    assert "option-unused" in {one["code"] for one in result.json["reasons"]}


def test_a_total_that_is_fed_is_reported(sbmlump, data, tmp_path):
    path = tmp_path / "open.ode"
    text = "begin model\nbegin init\nA = 1\nB = 1\nend init\nbegin reactions\n"
    path.write_text(text + "A -> B, 1\nB -> A, 2\nB -> B + A, 0.1\nend reactions\nend model\n")
    result = sbmlump("reduce", path, "--observe", "A", "--method", "conservation", "--total", "A + B", "--json")
    assert result.code == 1
    assert result.json["reasons"][0]["code"] == "total-not-constant"


def test_a_neural_closure_belongs_to_learned(sbmlump, data, tmp_path):
    result = sbmlump("reduce", data / "ring.xml", "--observe", "X_1", "--neural", tmp_path / "closure.pt", "--json")
    assert (result.code, result.json["reasons"][0]["code"]) == (2, "bad-option")


# -- what must not be written over ----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["reduce", "convert"])
@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "case of the suffix"])
def test_the_input_is_never_written_over(sbmlump, model, command, link):
    before = model.read_bytes()
    target = model if link == "same" else model.with_name("other.XML" if link.startswith("case") else "other.xml")
    if link == "hard":
        target.hardlink_to(model)
    elif target != model:
        target.symlink_to(model.name)
    observed = ("--observe", "x1", "--no-check") if command == "reduce" else ()
    result = sbmlump(command, model, *observed, "-o", target, "--force")
    assert result.code == 2
    assert "output-is-input" in result.err or "is the model that is read" in result.err
    assert model.read_bytes() == before


@pytest.mark.parametrize("suffix", [".xml", ".ode", ".ant", ".tex", ".csv", ".omex"])
def test_only_own_outputs_are_replaced_without_force(sbmlump, model, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    arguments = ("reduce", model, "--observe", "x1", "--no-check", "-o", target)
    target.write_text("PK notes of the user, which no program wrote\n")
    assert sbmlump(*arguments).code == 2
    assert target.read_text().endswith("no program wrote\n")
    assert sbmlump(*arguments, "--force").code == 0
    first = target.read_bytes()
    assert sbmlump(*arguments, "--method", "none").code == 0
    assert target.exists()
    assert first


def test_outputs_say_by_which_program_they_were_made_and_are_read_again(sbmlump, model, tmp_path):
    for suffix in (".xml", ".ode"):
        target = tmp_path / f"out{suffix}"
        assert sbmlump("convert", model, "-o", target).code == 0
        assert f"Created by sbmlump {__version__}" in target.read_text()
        assert sbmlump("inspect", target).code == 0
        assert sbmlump("convert", model, "-o", target).code == 0


# -- what is observed, in the model's own words ---------------------------------------------------------


@pytest.fixture
def named_model(tmp_path):
    """Species with names: two that are called the same, one whose name is also a difference of ids."""

    named = {"s1": "TGF-beta 1", "s2": "twin", "s3": "twin", "s4": "s1-s2", "n": "count"}
    flags = 'boundaryCondition="false" constant="false"'
    species = [
        f'<species id="{id}" name="{name}" compartment="c" initialConcentration="1" '
        f'hasOnlySubstanceUnits="{"true" if id == "n" else "false"}" {flags}/>'
        for id, name in named.items()
    ]
    decays = [
        f'<rateRule variable="{id}"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><minus/><ci>{id}</ci>'
        "</apply></math></rateRule>"
        for id in named
    ]
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" '
        'version="1"><model id="m"><listOfCompartments><compartment id="c" size="2" constant="true"/>'
        f"</listOfCompartments><listOfSpecies>{''.join(species)}</listOfSpecies>"
        f"<listOfRules>{''.join(decays)}</listOfRules></model></sbml>"
    )
    path = tmp_path / "named.xml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("given", "id"),
    [("TGF-beta 1", "s1"), ("tgf-beta 1", "s1"), ('"TGF-beta 1"', "s1"), ("[s1]", "s1"), ("z = TGF-beta 1", "z")],
)
def test_observed_by_the_name_that_one_element_has(sbmlump, named_model, given, id):
    result = sbmlump("reduce", named_model, "--observe", given, "--no-check", "--json")
    assert result.code == 0, result.out
    assert result.json["observables"] == [id]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("twin", "ambiguous-name", "s2, s3"),
        ("s1-s2", "ambiguous-name", "s4"),
        ("[n]", "bad-observable", "n/c"),
        ("[c]", "bad-observable", "not a species"),
        ("[nothing]", "bad-observable", "nothing"),
    ],
)
def test_names_that_do_not_tell_what_is_observed(sbmlump, named_model, given, code, said):
    result = sbmlump("reduce", named_model, "--observe", given, "--no-check", "--json")
    assert result.code == 2
    (reason,) = result.json["reasons"]
    assert reason["code"] == code
    assert said in reason["message"]


def test_models_of_an_archive_that_was_written_are_named(sbmlump, model, tmp_path):
    """Its experiment, which is the master, speaks of SBML but is none."""
    archive = tmp_path / "out.omex"
    assert sbmlump("reduce", model, "--observe", "x1", "--until", "0.5", "-o", archive).code == 0
    several = sbmlump("inspect", archive, "--json")
    assert [reason["code"] for reason in several.json["reasons"]] == ["several-models"]
    assert sbmlump("inspect", f"{archive}#reduced.xml").code == 0
