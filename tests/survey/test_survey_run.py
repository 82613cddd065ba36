"""Surveys of small folders: rows for everything, resuming, refusing, bad models."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import survey_jobs as jobs
from child_jobs import processes_of_session

from sbmlump.cli import run as run_command
from sbmlump.errors import UsageError
from sbmlump.survey import (
    Settings,
    SurveyRequest,
    parse_observe,
    parse_shard,
    plan_tasks,
    read_rows,
    result_files,
    run_survey,
)

SIZES = {"A": 2, "B": 3, "C": 4, "D": 1, "E": 1}


def by_observable(rows, file):
    return {row["observable"]: row for row in rows if row["file"] == file}


def test_sizes_of_every_state(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one", "two"])
    done = run_survey(SurveyRequest(models, tmp_path / "out", workers=2))
    assert (done.models, done.before, done.now) == (2, 0, 2)
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 10
    found = by_observable(rows, "one.xml")
    assert {name: row["reduced_size"] for name, row in found.items()} == SIZES
    assert list(found) == list("ABCDE") or set(found) == set("ABCDE")
    row = found["A"]
    assert (row["outcome"], row["method"], row["original_size"]) == ("reduced", "exact", 5)
    assert (row["kinetics"], row["proper"], row["non_negative"], row["certified"]) == ("polynomial", True, True, False)
    assert row["pools"] == "D + E"
    assert row["kept"] == "A"
    assert row["model_id"] == "one"
    assert [path.name for path in result_files(tmp_path / "out")] == ["shard-0001-of-0001.parquet"]


def test_bad_models_are_rows(tmp_path):
    names = ["good", "hang", "crash", "memory", "last"]
    models = jobs.write_models(tmp_path / "in", names)
    broken = tmp_path / "in" / "good.xml"
    broken.write_text("<sbml")
    settings = Settings(time_limit=2.0, memory_limit=300 << 20)
    run_survey(SurveyRequest(models, tmp_path / "out", settings, workers=2), job=jobs.mixed)
    rows = read_rows(tmp_path / "out")
    assert {row["file"] for row in rows} == {f"{name}.xml" for name in names}
    ends = {name: [(r["outcome"], r["reason"]) for r in rows if r["file"] == f"{name}.xml"] for name in names}
    assert ends["hang"] == [("out-of-budget", "time-limit")]
    assert ends["crash"] == [("failed", "crashed")]
    assert ends["memory"] == [("out-of-budget", "out-of-memory")]
    assert ends["good"][0][0] == "failed"
    assert len(ends["good"]) == 1
    assert len(ends["last"]) == 5


def test_a_crash_costs_one_observable(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one"])
    settings = Settings(methods=("forward-equivalence",))
    run_survey(SurveyRequest(models, tmp_path / "out", settings), job=jobs.dies_at_b)
    found = by_observable(read_rows(tmp_path / "out"), "one.xml")
    assert set(found) == set("ABCDE")
    assert (found["B"]["outcome"], found["B"]["reason"]) == ("failed", "crashed")
    assert all(found[name]["outcome"] in ("reduced", "not-reducible") for name in "ACDE")


def test_check_has_an_error_or_a_reason(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one"])
    run_survey(SurveyRequest(models, tmp_path / "out", Settings(check=True)))
    for row in read_rows(tmp_path / "out"):
        assert row["reason"] or row["max_relative_error"] is not None
        assert row["certified"] is True
        if row["max_relative_error"] is not None:
            assert row["max_relative_error"] < 1e-5
            assert len(row["trajectory_time"]) == len(row["trajectory_reduced"])


FAST = """<?xml version="1.0"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="f">
<listOfCompartments><compartment id="c" size="1" constant="true" spatialDimensions="3"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false" boundaryCondition="false"
 constant="false"/>
<species id="B" compartment="c" initialConcentration="0" hasOnlySubstanceUnits="false" boundaryCondition="false"
 constant="false"/></listOfSpecies>
<listOfReactions><reaction id="r" reversible="true" fast="true"><listOfReactants>
<speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants><listOfProducts>
<speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts><kineticLaw>
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><minus/><ci>A</ci><ci>B</ci></apply></math></kineticLaw>
</reaction></listOfReactions></model></sbml>
"""


@pytest.mark.parametrize(("choice", "size"), [("refuse", None), ("equilibrium", 1), ("ordinary", 2)])
def test_fast_reactions_are_read_as_asked_for(tmp_path, capsys, choice, size):
    """By the workers, which are processes of their own; another choice is another survey."""
    store, out = tmp_path / "in", tmp_path / "out"
    store.mkdir()
    (store / "f.xml").write_text(FAST)
    assert run_command(["survey", str(store), "-o", str(out), "--fast-reactions", choice, "--no-page", "-q"]) == 0
    rows = read_rows(out)
    if size is None:
        assert [(row["outcome"], row["reason"]) for row in rows] == [("unsupported", "fast-reaction")]
        assert run_command(["survey", str(store), "-o", str(out), "--fast-reactions", "ordinary", "-q"]) == 2
        assert "survey-differs" in capsys.readouterr().err
    else:
        assert rows[0]["original_size"] == size
        assert {row["outcome"] for row in rows} <= {"reduced", "not-reducible"}


def test_named_observables(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one", "two"])
    observe = parse_observe("one A + B\n# a comment\none, C\n* nosuch\n")
    run_survey(SurveyRequest(models, tmp_path / "out", observe=observe, observe_digest="x"))
    rows = read_rows(tmp_path / "out")
    found = by_observable(rows, "one.xml")
    assert found["A + B"]["reduced_size"] == 3
    assert found["C"]["certified"] is True
    assert found["nosuch"]["reason"] == "unknown-observable"
    assert [row["observable"] for row in rows if row["file"] == "two.xml"] == ["nosuch"]


def test_another_survey_is_refused_with_what_differs(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one"])
    run_survey(SurveyRequest(models, tmp_path / "out"))
    again = run_survey(SurveyRequest(models, tmp_path / "out"))
    assert again.now == 0
    with pytest.raises(UsageError, match=r"time limit: 120\.0 there, 5 now"):
        run_survey(SurveyRequest(models, tmp_path / "out", Settings(time_limit=5)))
    (tmp_path / "in" / "one.xml").write_text(jobs.chain("changed"))
    changed = jobs.write_models(tmp_path / "in", ["one", "two"])
    with pytest.raises(UsageError, match=r"models: 1 there, 2 now; store: "):
        run_survey(SurveyRequest(changed, tmp_path / "out"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(UsageError) as caught:
        run_survey(SurveyRequest(models, other))
    assert caught.value.reasons[0].code == "not-a-survey"


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch, capsys):
    jobs.write_models(tmp_path / "in", ["one"])
    assert run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(os, "open", _read_only(os.open))
    for arguments in (["survey", str(tmp_path / "in"), "-o"], ["survey-report"]):
        assert run_command([*arguments, str(tmp_path / "out"), "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["reasons"][0]["code"] in ("cannot-write", "read-only")


def _read_only(opened):
    def refuse(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *rest, **more)

    return refuse


def test_shards_cover_everything_once(tmp_path):
    models = jobs.write_models(tmp_path / "in", [f"m{k}" for k in range(7)])
    for index in (1, 2, 3):
        run_survey(SurveyRequest(models, tmp_path / "parts", shard=(index, 3)))
    run_survey(SurveyRequest(models, tmp_path / "whole"))
    assert jobs.timeless(read_rows(tmp_path / "parts")) == jobs.timeless(read_rows(tmp_path / "whole"))
    planned = [plan_tasks(models, None, Settings(), (i, 3), ())[0] for i in (1, 2, 3)]
    assert sorted(m.id for part in planned for m in part) == [m.id for m in models]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b"])
def test_bad_shards(text):
    with pytest.raises(UsageError):
        parse_shard(text)


@pytest.mark.slow
@pytest.mark.parametrize("finished", [1, 3, 6])
def test_killed_and_resumed(tmp_path, finished):
    """SIGKILL after so many models; the union is that of an undisturbed run, and nothing finished is done again."""
    models = jobs.write_models(tmp_path / "in", [f"slow{k}" for k in range(8)])
    run_survey(SurveyRequest(models, tmp_path / "calm"), job=jobs.mixed)
    script = (
        "import sys, pathlib, survey_jobs as jobs\n"
        "from sbmlump.survey.run import SurveyRequest, run_survey\n"
        "base = pathlib.Path(sys.argv[1])\n"
        "models = jobs.write_models(base / 'in', [f'slow{k}' for k in range(8)])\n"
        "run_survey(SurveyRequest(models, base / 'out'), job=jobs.mixed)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    parts = tmp_path / "out" / "parts"
    deadline = time.monotonic() + 60
    while (len(list(parts.glob("*.parquet"))) if parts.exists() else 0) < finished and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert len(before) >= finished
    done = run_survey(SurveyRequest(models, tmp_path / "out"), job=jobs.mixed)
    assert done.before == len(before)
    assert done.now == 8 - len(before)
    assert jobs.timeless(read_rows(tmp_path / "out")) == jobs.timeless(read_rows(tmp_path / "calm"))


def test_command(tmp_path, capsys):
    jobs.write_models(tmp_path / "in", ["one", "two"])
    code = run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    assert found["counts"] == {"exact": {"reduced": 10}}
    assert found["reducible_models"] == {"exact": {"some": 2, "every": 2}}
    assert found["folder"] == str(tmp_path / "out")
    assert (tmp_path / "out" / "index.html").exists()
    code = run_command(["survey-report", str(tmp_path / "out"), "--summary", str(tmp_path / "s.md")])
    assert code == 0
    assert "| exact | all | 2 | 2 | 2 |" in (tmp_path / "s.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--method", "nosuch"], "unknown-method"),
        (["--shard", "3/2"], "bad-shard"),
        (["--observe", "nosuch.txt"], "bad-observe-file"),
        (["--memory-limit", "5"], "bad-limit"),
    ],
)
def test_wrong_usage(tmp_path, capsys, arguments, code):
    jobs.write_models(tmp_path / "in", ["one"])
    got = run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json", *arguments])
    assert got == 2
    assert json.loads(capsys.readouterr().out)["reasons"][0]["code"] == code
    assert not (tmp_path / "out").exists()


def test_children_do_not_outlive_a_killed_survey(tmp_path):
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc")
    models = jobs.write_models(tmp_path / "in", ["hang"])
    assert models
    script = (
        "import sys, pathlib, survey_jobs as jobs\n"
        "from sbmlump.survey.run import SurveyRequest, run_survey\n"
        "base = pathlib.Path(sys.argv[1])\n"
        "run_survey(SurveyRequest(jobs.write_models(base / 'in', ['hang']), base / 'out'), job=jobs.mixed)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], start_new_session=True)
    deadline = time.monotonic() + 30
    while len(processes_of_session(process.pid)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(processes_of_session(process.pid)) >= 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    while processes_of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of_session(process.pid)
