"""``sbmlump curve``: table, JSON, CSV, picture, and bad requests."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import pytest

from sbmlump.cli import run
from sbmlump.examples import multisite
from sbmlump.formats import parse_ode
from sbmlump.jobs import curve_figure
from sbmlump.methods import Approximate, CurvePoint, size_curve
from sbmlump.model import parse_observables
from sbmlump.sbml import write_system


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
    assert {p["algorithm"] for p in found["points"]} == {"balanced", "krylov", "non-negative"}
    assert found["starts"] == 10
    assert len(found["min_relative_errors"]) == len(found["points"])
    for point, least in zip(found["points"], found["min_relative_errors"], strict=True):
        worst, median = point["max_relative_error"], point["median_relative_error"]
        assert worst is None or least <= median <= worst
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


def reduce_words(model: Path, *more: str) -> list[str]:
    words = ["reduce", str(model), "--observe", "kinase", "--method", "approximate", "--until", "2", "--ensemble", "4"]
    return [*words, *more, "--no-check", "--json"]


def test_little_work_leaves_with_the_exact_lumping_or_with_4_where_that_is_too_large(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "small.xml"
    assert run(reduce_words(model, "--max-error", "1e-3", "-o", str(output))) == 0
    certificate = json.loads(capsys.readouterr().out)["certificate"]
    assert certificate["fresh"]["initial_values"] >= 100
    assert certificate["fresh"]["diverged"] == 0
    assert certificate["fresh"]["worst"] == certificate["worst_error"]
    words = reduce_words(model, "--max-error", "1e-9", "--work", str(certificate["work"] / 10), "-o", str(output))
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["certificate"]["kind"]) == ("approximate", "exact-proof")
    assert "--work" in next(r["message"] for r in found["reasons"] if r["code"] == "exact-instead")
    output.unlink()
    assert run([*words, "--max-size", "2"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["certificate"]["work_used_up"] is True
    assert "--work" in next(r["message"] for r in found["reasons"] if r["code"] == "max-error-not-reached")
    assert (found["outcome"], found["output"]) == ("target-not-reached", None)
    assert not output.exists()
    assert run([*words, "--max-size", "2", "--best"]) == 4
    assert json.loads(capsys.readouterr().out)["reduced_size"] <= 2
    assert output.exists()


@pytest.mark.parametrize("work", ["0", "-1", "nan"])
def test_work_has_to_be_positive(model: Path, work: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(reduce_words(model, "--work", work)) == 2
    assert [r["code"] for r in json.loads(capsys.readouterr().out)["reasons"]] == ["bad-option"]


def test_refinement_reaches_the_curve() -> None:
    system = multisite(1, noise=Fraction(1, 20))
    observables = parse_observables(system, ["kinase"])
    plain, refined = (
        size_curve(
            system, observables, Approximate(until=2.0, ensemble=4, max_size=2, refine=refine), ["balanced"]
        ).points
        for refine in (False, True)
    )
    assert all(b.max_relative_error <= a.max_relative_error for a, b in zip(plain, refined, strict=True))
    assert refined[1].max_relative_error < 0.9 * plain[1].max_relative_error


ZERO = """begin model zero
 begin init
  A = 1
  B = 0
  E = 0
  P = 0
 end init
 begin reactions
  A -> B , 1
  B -> A , 2
  B + E -> P + E , 3
  P -> B , 0.5
 end reactions
end model
"""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("refine", [False, True])
def test_what_stays_at_zero_has_no_error(refine: bool) -> None:
    system = parse_ode(ZERO)
    options = Approximate(until=5.0, ensemble=4, refine=refine)
    found = size_curve(system, parse_observables(system, ["P"]), options)
    assert [(p.size, p.max_relative_error) for p in found.points] == [(size, 0.0) for size in (1, 2, 3, 4)] * 3
