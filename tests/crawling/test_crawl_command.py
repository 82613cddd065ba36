"""``sbmlump crawl``: exit codes, JSON, one sentence for each failure; ODEbase and the comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crawler_standin import Model, StandIn, sbml, serving, zipped

from crawler import open_store
from sbmlump.cli import run

KEYS = {"wanted", "present", "fetched", "unchanged", "failed", "bytes", "requests", "seconds", "reasons"}
ONE = "BIOMD0000000001"
TWO = "BIOMD0000000002"
SYSTEM = {
    "odes": "[Eq(Derivative(x1, t), -k1*x1),\nEq(Derivative(x2, t), -k1*x2)]",
    "parameters": "k1 = 1/2",
    "species_map": "x1 = S0\nx2 = S1",
    "parameter_map": "k1 = k",
}


@pytest.fixture
def world() -> Iterator[StandIn]:
    models = {ONE: Model(sbml("one", 2)), TWO: Model(sbml("two", 2))}
    systems = {ONE: SYSTEM, "BIOMD0000000077": {**SYSTEM, "polynomial": "No"}}
    with serving(StandIn(models, systems)) as served:
        yield served


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = run(["crawl", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, json.loads(out) if "--json" in arguments else out, err


def quick(url: str, store: Path) -> tuple[object, ...]:
    return "--store", store, "--base-url", url, "--rate", "0", "--retry-wait", "0.001", "--tries", "3"


def test_biomodels(world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, err = call(capsys, "biomodels", *quick(world.url, tmp_path / "s"), "--json")
    assert (code, err) == (0, "")
    assert set(told) == KEYS
    assert {key: told[key] for key in ("wanted", "present", "fetched", "unchanged", "failed")} == {
        "wanted": 2, "present": 2, "fetched": 2, "unchanged": 0, "failed": 0,
    }  # fmt: skip
    assert told["requests"] == len(world.asked)
    code, out, _ = call(capsys, "biomodels", *quick(world.url, tmp_path / "s"))
    assert code == 0
    assert "0 fetched, 2 unchanged" in out
    assert "nothing was downloaded" in out


def test_gone_ends_with_0_and_a_reason(world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.fault = lambda path, attempt: "gone" if f"/{TWO}?" in path else None
    code, told, _ = call(capsys, "biomodels", *quick(world.url, tmp_path / "s"), "--json")
    assert (code, told["present"], told["failed"]) == (0, 1, 1)
    assert [(reason["code"], reason["element"]) for reason in told["reasons"]] == [("gone", TWO)]
    code, out, err = call(capsys, "status", tmp_path / "s")
    assert (code, err) == (0, "")
    assert "1 files" in out
    assert "1 without a file [gone]" in out


def test_a_busy_service_ends_with_4(world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.fault = lambda path, attempt: "busy" if f"/{TWO}?" in path else None
    code, told, err = call(capsys, "biomodels", *quick(world.url, tmp_path / "s"), "--json")
    assert (code, told["present"], told["failed"]) == (4, 1, 1)
    assert told["reasons"][0]["code"] == "server-busy"
    assert "run the same command later" in err
    world.fault = lambda path, attempt: "html"
    code, told, err = call(capsys, "biomodels", *quick(world.url, tmp_path / "s"), "--recheck", "--json")
    assert code == 4
    assert told["outcome"]
    assert told["wanted"] is None
    assert set(told) >= KEYS
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("--base-url", "nonsense"), 2, "usage"),
        (("--ids", "../../etc/passwd"), 2, "usage"),
        (("--timeout", "-1"), 2, "usage"),
        (("--contact", "a b"), 2, "usage"),
        (("--limit", "0"), 2, "usage"),
        (("--base-url", "http://127.0.0.1:9"), 4, "unreachable"),
    ],
)
def test_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    quickly = ("--tries", "1", "--rate", "0")
    given = ("biomodels", "--store", tmp_path / "s", "--base-url", "http://127.0.0.1:9", *quickly, *arguments, "--json")
    found, told, err = call(capsys, *given)
    assert (found, told["reasons"][0]["code"]) == (exit_code, code)
    assert "Traceback" not in err


def test_import_verify_and_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"a.xml": sbml("a"), "b.xml": sbml("b"), "c.xml": b"<html>"}))
    store = tmp_path / "s"
    code, told, _ = call(capsys, "import", tmp_path / "in.zip", "--store", store, "--json")
    assert (code, told["wanted"], told["fetched"], told["failed"]) == (0, 3, 2, 1)
    code, told, _ = call(capsys, "verify", store, "--json")
    assert (code, told["outcome"], told["present"]) == (0, "whole", 2)
    (store / "a" / "a.xml").write_bytes(sbml("z"))
    code, told, _ = call(capsys, "verify", store, "--json")
    assert (code, told["outcome"], told["failed"]) == (1, "damaged", 1)
    code, told, _ = call(capsys, "status", store, "--json")
    assert (code, told["present"], told["sources"], told["reason_counts"]) == (0, 2, {"import": 2}, {"html-page": 1})
    (tmp_path / "evil.zip").write_bytes(zipped({"../x.xml": sbml("x")}))
    code, told, _ = call(capsys, "import", tmp_path / "evil.zip", "--store", store, "--json")
    assert (code, told["reasons"][0]["code"]) == (3, "unsafe-archive")
    code, told, _ = call(capsys, "verify", tmp_path / "absent", "--json")
    assert (code, told["reasons"][0]["code"]) == (2, "no-such-store")


def test_a_damaged_line_is_told_and_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"a.xml": sbml("a"), "b.xml": sbml("b")}))
    call(capsys, "import", tmp_path / "in.zip", "--store", tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-40])
    code, out, err = call(capsys, "status", tmp_path / "s")
    assert (code, "1 files" in out) == (0, True)
    assert err.count("line 2 of manifest.jsonl is cut or damaged") == 1
    code, _, _ = call(capsys, "import", tmp_path / "in.zip", "--store", tmp_path / "s")
    assert code == 0
    assert len(open_store(tmp_path / "s").records) == 2


def test_odebase_and_compare(world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "s"
    code, told, _ = call(capsys, "odebase", *quick(world.odebase_url, store), "--json")
    assert (code, told["fetched"], told["requests"]) == (0, 2, 2 + 2 * 4)
    world.forget()
    code, told, _ = call(capsys, "odebase", *quick(world.odebase_url, store), "--json")
    assert (code, told["fetched"], told["unchanged"], told["requests"]) == (0, 0, 2, 2)
    code, told, _ = call(capsys, "odebase", *quick(world.odebase_url, store), "--recheck", "--json")
    assert (code, told["fetched"], told["unchanged"], world.conditional) == (0, 0, 2, 8)
    call(capsys, "biomodels", *quick(world.url, store))
    code, told, _ = call(capsys, "compare", store, "--json")
    assert code == 0
    assert {each["id"]: each["verdict"] for each in told["systems"]} == {
        ONE: "agrees", "BIOMD0000000077": "not-compared",
    }  # fmt: skip
    assert told["systems"][0]["matched_by"] == "name map"
    world.systems[ONE] = {**SYSTEM, "odes": SYSTEM["odes"].replace("-k1*x2", "-2*k1*x2")}
    call(capsys, "odebase", *quick(world.odebase_url, store), "--recheck")
    code, out, _ = call(capsys, "compare", store)
    assert code == 1
    assert "the rates of x2 (S1) differ" in out


@pytest.mark.parametrize("fault", ["html", "short", "reset", "corrupt", "busy"])
@pytest.mark.parametrize("etags", [True, False])
def test_odebase_with_faults(
    world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, etags: bool
) -> None:
    world.etags = etags
    world.fault = lambda path, attempt: fault if attempt == 1 else None
    code, told, _ = call(capsys, "odebase", *quick(world.odebase_url, tmp_path / "s"), "--tries", "4", "--json")
    assert (code, told["present"]) == (0, 2)
    document = json.loads((tmp_path / "s" / ONE / f"{ONE}.odebase.json").read_text(encoding="utf-8"))
    assert {key: document[key] for key in SYSTEM} == SYSTEM
    assert (document["ref"], document["polynomial"]) == ("1300", True)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["crawl", "--help"]) == 0
    out = capsys.readouterr().out
    for name in ("biomodels", "odebase", "import", "verify", "status", "compare"):
        assert name in out
