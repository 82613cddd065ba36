"""Models by an id of BioModels, by an address, in archives: fetched once, verified, kept; or one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from crawler_standin import Model, StandIn, omex, sbml, serving, zipped

import sbmlump
from crawler import Store, import_files, open_store
from sbmlump.cli import run
from sbmlump.remote import BASE_URL_VARIABLE, STORE_VARIABLE

ID = "BIOMD0000000012"
OTHER = "MODEL0000000001"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with serving(
        StandIn({ID: Model(sbml("twelve", 2)), OTHER: Model(omex(sbml("other", 3)), file="o.omex")})
    ) as served:
        monkeypatch.setenv(BASE_URL_VARIABLE, served.url)
        monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "store"))
        monkeypatch.chdir(tmp_path)
        yield served


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = run([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_a_model_is_fetched_once_and_kept(world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sbmlump.load(ID).states == ("S0", "S1")
    asked = len(world.asked)
    assert asked > 0
    code, told, _ = call(capsys, "inspect", ID)
    assert (code, told["states"]) == (0, 2)
    code, told, _ = call(
        capsys, "reduce", f"biomodels:{ID}", "--observe", "S0", "-o", tmp_path / "out.xml", "--no-check"
    )
    assert (code, told["original_size"], told["reduced_size"]) == (0, 2, 1)
    assert len(world.asked) == asked
    assert open_store(tmp_path / "store").of("biomodels")[ID].sha256
    code, told, _ = call(capsys, "convert", f"biomodels:{OTHER}", "-o", tmp_path / "other.ode")
    assert (code, told["states"]) == (0, 3)


def test_another_store_by_option(world: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / f"{ID}.xml").write_bytes(sbml("plain", 4))
    code, told, _ = call(capsys, "inspect", ID, "--store", folder)
    assert (code, told["states"]) == (0, 4)
    (folder / "in").mkdir()
    (folder / "in" / f"{ID}.xml").write_bytes(sbml("imported", 5))
    with Store.writable(tmp_path / "imports") as store:
        import_files(store, folder / "in")
    code, told, _ = call(capsys, "inspect", "--store", tmp_path / "imports", ID)
    assert (code, told["states"]) == (0, 5)
    assert world.asked == []
    code, told, _ = call(capsys, "inspect", ID)
    assert (code, told["states"]) == (0, 2), "the option holds for its command only"
    code, told, _ = call(capsys, "inspect", OTHER, "--store", folder)
    assert (code, told["reasons"][0]["code"]) == (2, "not-a-store")
    (tmp_path / ID).write_bytes(sbml("a file of that name", 6))
    assert call(capsys, "inspect", ID)[1]["states"] == 6


def test_a_damaged_file_of_the_store_is_fetched_again(world: StandIn, tmp_path: Path) -> None:
    sbmlump.load(ID)
    (tmp_path / "store" / ID / f"{ID}.xml").write_bytes(sbml("edited", 7))
    assert len(sbmlump.load(ID).states) == 2


def test_offline_and_not_there_is_one_sentence(
    world: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sbmlump.load(ID)
    monkeypatch.setenv(BASE_URL_VARIABLE, "http://127.0.0.1:9")
    assert call(capsys, "inspect", ID)[0] == 0
    code, told, err = call(capsys, "inspect", OTHER)
    assert (code, told["reasons"][0]["code"], told["outcome"]) == (4, "not-fetched", "failed")
    assert "it did not come from BioModels" in told["reasons"][0]["message"]
    assert len(err.strip().splitlines()) <= 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("model", "exit_code", "code"),
    [
        ("BIOMD0000000099", 3, "no-such-file"),
        (f"{ID}.2", 2, "bad-address"),
        ("http://models.invalid/m.xml", 2, "bad-address"),
        ("https://", 3, "no-such-file"),
        ("BIOMD12", 3, "no-such-file"),
    ],
)
def test_what_is_not_there(
    world: StandIn, capsys: pytest.CaptureFixture[str], model: str, exit_code: int, code: str
) -> None:
    found, told, _ = call(capsys, "inspect", model)
    assert (found, told["reasons"][0]["code"]) == (exit_code, code)


def test_what_is_no_model_there_is_said(world: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    world.models[ID] = Model(b"<?xml version='1.0'?><cellml/>")
    code, told, _ = call(capsys, "inspect", ID)
    assert code == 3
    assert "the root element of" in told["reasons"][0]["message"]


def test_the_cache_of_the_user(world: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(STORE_VARIABLE)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    sbmlump.load(ID)
    assert (tmp_path / "cache" / "sbmlump" / "models" / "store.json").is_file()


# -- addresses ---------------------------------------------------------------------------------------

FILES: Mapping[str, bytes] = {
    "m.xml": sbml("m", 2),
    "m.xml.gz": gzip.compress(sbml("m", 2)),
    "m.xml.bz2": bz2.compress(sbml("m", 2)),
    "m.zip": zipped({"m.xml": sbml("m", 2)}),
    "a b.omex": omex(sbml("m", 2)),
    "download": omex(sbml("m", 2)),
    "m.ode": b"begin model m\nbegin parameters\nk = 1\nend parameters\nbegin init\nA = 1\nB = 2\nend init\n"
    b"begin ODE\nd(A) = -k*A\nd(B) = k*A\nend ODE\nend model\n",
}


@pytest.fixture
def site() -> Iterator[StandIn]:
    world = StandIn()
    world.route = lambda path, query: (200, FILES[path[1:]]) if path[1:] in FILES else (404, b"no")
    with serving(world) as served:
        yield served


@pytest.mark.parametrize("name", FILES)
def test_a_file_at_an_address(site: StandIn, capsys: pytest.CaptureFixture[str], name: str) -> None:
    address = f"http://127.0.0.1:{site.port}/{name.replace(' ', '%20')}"
    code, told, _ = call(capsys, "inspect", address)
    assert (code, told["states"], told["file"]) == (0, 2, address)


def test_members_and_faults_of_an_address(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    site.fault = lambda path, attempt: "short" if attempt == 1 else None
    base = f"http://127.0.0.1:{site.port}"
    assert call(capsys, "inspect", f"{base}/a%20b.omex#model/main.xml")[0] == 0
    code, told, _ = call(capsys, "inspect", f"{base}/a%20b.omex#other.xml")
    assert (code, told["reasons"][0]["code"]) == (3, "no-such-file")
    code, told, _ = call(capsys, "inspect", f"{base}/absent.xml")
    assert (code, told["reasons"][0]["code"]) == (3, "no-such-file")
    site.fault = lambda path, attempt: "html"
    code, told, _ = call(capsys, "inspect", f"{base}/m.xml?again")
    assert (code, told["reasons"][0]["code"]) == (4, "not-fetched")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, told, _ = call(capsys, "inspect", f"https://127.0.0.1:{taken.getsockname()[1]}/m.xml")
    assert (code, told["reasons"][0]["code"]) == (4, "not-fetched")


def test_a_model_from_elsewhere_is_no_file_to_write_over(
    site: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, _ = call(capsys, "convert", f"http://127.0.0.1:{site.port}/m.xml", "-o", tmp_path / "m.ode")
    assert (code, told["states"]) == (0, 2)


# -- archives and standard input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "form"),
    [("./my%20model.xml", "application/xml"), (".\\my model.xml", "application/xml"), ("/my model.xml", "text/plain")],
)
def test_the_master_of_an_archive(tmp_path: Path, location: str, form: str) -> None:
    rows = (
        f'<content location="./a.xml" format="{form}"/><content location="{location}" format="{form}" master="true"/>'
    )
    manifest = (
        f'<omexManifest xmlns="http://identifiers.org/combine.specifications/omex-manifest">{rows}</omexManifest>'
    )
    path = tmp_path / "a.omex"
    path.write_bytes(zipped({"manifest.xml": manifest.encode(), "a.xml": sbml("a"), "my model.xml": sbml("my", 3)}))
    assert len(sbmlump.load(path).states) == 3
    assert len(sbmlump.load(f"{path}#a.xml").states) == 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sbmlump import files

    files._standard_input.cache_clear()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(sbml("in", 3))), encoding="utf-8"))
    code, told, _ = call(capsys, "inspect", "-")
    files._standard_input.cache_clear()
    assert (code, told["states"]) == (0, 3)
