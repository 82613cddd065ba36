"""``sbmlump curve``: table, JSON, CSV, picture, and bad requests."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import pytest

from sbmlump.cli import run
from sbmlump.lumping.approximate import CurvePoint
from sbmlump.models import multisite
from sbmlump.report.curve_picture import curve_figure
from sbmlump.sbml.writer import write_system


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curve") / "model.xml"
    path.write_bytes(write_system(multisite(1, noise=Fraction(1, 20), with_reactions=True)))
    return path


def test_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["curve", str(model), "--observe", "kinase", "--until", "2", "--ensemble", "4", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert 1 < found["exact_size"] <= 6
    assert {p["algorithm"] for p in found["points"]} == {"balanced", "krylov"}
    assert set(found["points"][0]) == {
        "size",
        "algorithm",
        "max_relative_error",
        "median_relative_error",
        "seconds",
    }
    last = [p for p in found["points"] if p["size"] == found["exact_size"]]
    assert all(p["max_relative_error"] < 1e-4 for p in last if p["algorithm"] == "krylov")


def test_files(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"curve {model} --observe kinase --until 2 --ensemble 4 --algorithm balanced --max-size 3 -q -o"
    code = run([*words.split(), str(tmp_path / "out")])
    assert code == 0
    assert "exact" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "curve.csv").open()))
    assert [row["size"] for row in rows] == ["1", "2", "3"]
    svg = (tmp_path / "out" / "curve.svg").read_text(encoding="utf-8")
    assert "<svg" in svg
    assert "balanced" in svg


@pytest.mark.parametrize(
    "wrong", [["--until", "-1"], ["--max-size", "0"], ["--seed", "-1"], ["--spread", "2"], ["--observe", "nobody"]]
)
def test_bad_requests_leave_with_2(model: Path, wrong: list[str]) -> None:
    assert run(["curve", str(model), "--observe", "kinase", *wrong]) == 2


def test_sizes_that_do_not_work_are_left_out_of_the_picture() -> None:
    points = [CurvePoint(1, "balanced", float("inf"), 0.0, 0.0), CurvePoint(2, "balanced", 0.5, 0.1, 0.0)]
    figure = curve_figure(points, 2, "title")
    (line, *_) = figure.axes[0].get_lines()
    assert list(line.get_xdata()) == [2]
    assert figure.axes[0].get_xlabel() == "states of the reduced model"
    assert any("exact: 2" in text.get_text() for text in figure.axes[0].texts)
