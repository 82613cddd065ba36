"""What the commands print with ``--json`` is what their schemas say, failures included."""

import json
from pathlib import Path

import pytest

from sbmlump.cli import cli, run
from sbmlump.errors import UsageError
from sbmlump.schemas import commands, schema_of

jsonschema = pytest.importorskip("jsonschema", reason="checks of schemas need jsonschema (extra test)")

DATA = Path(__file__).parents[2] / "data"
MODEL, POOLS, RING = (str(DATA / f"{name}.xml") for name in ("michaelis_menten", "multisite_1", "ring"))
UNSUPPORTED = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="m">
<listOfParameters><parameter id="x" value="1" constant="false"/><parameter id="k" constant="true"/></listOfParameters>
<listOfRules><rateRule variable="x"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><minus/><ci>k</ci></apply>
</math></rateRule></listOfRules></model></sbml>"""


def printed(capsys, *arguments: str) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def valid(value: dict[str, object], command: str) -> None:
    schema = schema_of(command)
    validator = jsonschema.Draft202012Validator(schema)
    assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(value)] == []


@pytest.mark.parametrize("command", commands())
def test_each_schema_is_one(command):
    jsonschema.Draft202012Validator.check_schema(schema_of(command))
    assert not jsonschema.Draft202012Validator(schema_of(command)).is_valid({})


def test_every_command_has_one():
    context_free = {"demo", "survey-report", "crawl"}  # prints no JSON; that of survey; has commands of its own
    assert set(cli.list_commands(None)) - context_free <= set(commands())
    with pytest.raises(UsageError, match="no schema of 'demo'"):
        schema_of("demo")


REDUCTIONS = {
    "exact": [POOLS, "--observe", "kinase"],
    "nothing to reduce": [MODEL, "--observe", "P", "--observe", "S", "--no-check"],
    "with constants": [MODEL, "--observe", "P", "--method", "conservation", "--until", "5"],
    "measured": [
        RING,
        "--observe",
        "X_1",
        "--method",
        "approximate",
        "--max-size",
        "2",
        "--ensemble",
        "4",
        "--until",
        "5",
    ],
    "quasi-steady": [MODEL, "--observe", "P", "--method", "qssa", "--fast", "ES", "--until", "5"],
    "a chain": [MODEL, "--observe", "P", "--method", "conservation+exact", "--no-check"],
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduce(capsys, tmp_path, name):
    code, value = printed(capsys, "reduce", *REDUCTIONS[name], "-o", str(tmp_path / "out.xml"))
    assert code == 0
    valid(value, "reduce")


def test_reduce_short_of_its_target(capsys):
    code, value = printed(
        capsys,
        "reduce",
        RING,
        "--observe",
        "X_1",
        "--method",
        "approximate",
        "--max-error",
        "1e-12",
        "--max-size",
        "1",
        "--until",
        "5",
    )
    assert code == 4
    valid(value, "reduce")


def test_inspect_and_convert(capsys, tmp_path):
    out = str(tmp_path / "reduced.xml")
    printed(capsys, "reduce", POOLS, "--observe", "kinase", "--no-check", "-o", out)
    for arguments in ([POOLS], [MODEL, "--structure"], [out, "--against", POOLS]):
        code, value = printed(capsys, "inspect", *arguments)
        assert code == 0
        valid(value, "inspect")
    unsupported = tmp_path / "unsupported.xml"
    unsupported.write_text(UNSUPPORTED, encoding="utf-8")
    code, value = printed(capsys, "inspect", str(unsupported))
    assert (code, value["supported"]) == (1, False)
    valid(value, "inspect")
    valid(printed(capsys, "convert", POOLS, "-o", str(tmp_path / "out.ode"))[1], "convert")
    code, value = printed(capsys, "verify", POOLS, out)
    assert (code, value["outcome"]) == (0, "proved")
    valid(value, "verify")
    code, value = printed(capsys, "verify", POOLS, MODEL)
    assert code == 1
    valid(value, "verify")
    code, value = printed(capsys, "check", POOLS, out, "--simulator", "own", "--until", "5")
    assert code == 0
    valid(value, "check")


def test_curve_and_methods(capsys):
    code, value = printed(
        capsys, "curve", RING, "--observe", "X_1", "--ensemble", "4", "--until", "5", "--max-size", "2"
    )
    assert code == 0
    valid(value, "curve")
    code, value = printed(
        capsys, "compare-methods", MODEL, "--observe", "P", "--method", "exact,conservation,qssa", "--until", "5"
    )
    assert code == 0
    valid(value, "compare-methods")


def test_crawl_and_survey(capsys, tmp_path):
    folder, store, out = tmp_path / "models", str(tmp_path / "store"), str(tmp_path / "out")
    folder.mkdir()
    (folder / "a.xml").write_bytes(Path(POOLS).read_bytes())
    for arguments in (
        ["import", str(folder), "--store", store],
        ["status", store],
        ["verify", store],
        ["compare", store],
    ):
        code, value = printed(capsys, "crawl", *arguments)
        assert code == 0, arguments
        valid(value, "crawl")
    pytest.importorskip("pyarrow", reason="surveys need pyarrow (extra survey)")
    code, value = printed(capsys, "survey", str(folder), "-o", out)
    assert code == 0
    valid(value, "survey")
    valid(printed(capsys, "survey-report", out)[1], "survey")


FAILURES = {
    "no such file": (3, ["reduce", "no-such-file.xml", "--observe", "A"]),
    "no such id": (2, ["reduce", POOLS, "--observe", "no_such_id"]),
    "a wrong option": (2, ["reduce", POOLS, "--no-such-option"]),
    "a wrong value": (2, ["check", POOLS, POOLS, "--points", "0"]),
    "no command": (2, ["no-such-command"]),
    "no model": (3, ["inspect", "MODEL"]),
    "unsupported": (1, ["convert", "UNSUPPORTED", "-o", "OUT"]),
    "no model to verify": (3, ["verify", POOLS, "MODEL"]),
    "no observable": (2, ["curve", POOLS]),
    "no method": (2, ["compare-methods", POOLS, "--observe", "kinase", "--method", "no-such-method"]),
    "no store": (2, ["crawl", "verify", "no-such-folder"]),
    "no survey": (None, ["survey-report", "no-such-folder"]),
    "too slow": (4, ["reduce", POOLS, "--observe", "kinase", "--time-limit", "1e-3"]),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(capsys, tmp_path, name):
    broken, unsupported = tmp_path / "broken.xml", tmp_path / "unsupported.xml"
    broken.write_text("no model", encoding="utf-8")
    unsupported.write_text(UNSUPPORTED, encoding="utf-8")
    places = {"MODEL": str(broken), "UNSUPPORTED": str(unsupported), "OUT": str(tmp_path / "out.xml")}
    expected, arguments = FAILURES[name]
    code, value = printed(capsys, *(places.get(one, one) for one in arguments))
    assert code == expected or (expected is None and code in (1, 2, 3))
    valid(value, "failure")
