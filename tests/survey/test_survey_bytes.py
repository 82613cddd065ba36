"""What a row says is said of the bytes whose digest it has; files of all kinds, locks, shards at once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import survey_jobs as jobs

from sbmlump.cli import run as run_command
from sbmlump.survey import Settings, SurveyRequest, read_rows, result_files, run_survey


def changed(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("0.5", "0.7"), encoding="utf-8")


def test_a_file_that_changes_is_a_row_and_is_looked_at_again(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one", "two"])
    before = models[0].path.read_bytes()
    changed(models[0].path)
    done = run_survey(SurveyRequest(models, tmp_path / "out"))
    assert [reason.code for reason in done.remarks] == ["file-changed"]
    (row,) = (row for row in read_rows(tmp_path / "out") if row["file"] == "one.xml")
    assert (row["outcome"], row["reason"], row["sha256"]) == ("failed", "file-changed", models[0].sha256)
    assert row["original_size"] is None
    assert row["kinetics"] is None
    models[0].path.write_bytes(before)
    done = run_survey(SurveyRequest(models, tmp_path / "out"))
    assert (done.before, done.now, done.remarks) == (1, 1, ())
    assert [path.name for path in result_files(tmp_path / "out")] == ["shard-0001-of-0001.parquet"]
    run_survey(SurveyRequest(models, tmp_path / "calm"))
    assert jobs.timeless(read_rows(tmp_path / "out")) == jobs.timeless(read_rows(tmp_path / "calm"))


def test_a_file_that_vanishes_is_a_row(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one"])
    models[0].path.unlink()
    run_survey(SurveyRequest(models, tmp_path / "out"))
    (row,) = read_rows(tmp_path / "out")
    assert row["reason"] == "file-changed"
    assert "there is no file" in row["message"]


def test_the_store_keeps_what_was_listed(tmp_path):
    """A crawl that puts another revision in place during a survey does not change what is read."""
    from dataclasses import replace

    (model,) = jobs.write_models(tmp_path / "in", ["one"])
    kept = tmp_path / "object"
    kept.write_bytes(model.path.read_bytes())
    changed(model.path)
    run_survey(SurveyRequest([replace(model, content=kept)], tmp_path / "out"))
    assert {row["reduced_size"] for row in read_rows(tmp_path / "out")} == {1, 2, 3, 4}


def test_a_file_that_changes_between_two_processes(tmp_path):
    """After a crash the next process finds other bytes: no row is left of those before."""
    (model,) = jobs.write_models(tmp_path / "in", ["one"])
    run_survey(SurveyRequest([model], tmp_path / "out", jobs.one_by_one()), job=jobs.changes_and_dies_at_b)
    (row,) = read_rows(tmp_path / "out")
    assert row["reason"] == "file-changed"


def test_a_large_file_is_a_row(tmp_path, capsys):
    jobs.write_models(tmp_path / "in", ["one"])
    with (tmp_path / "in" / "large.xml").open("wb") as stream:
        stream.truncate(300 << 20)
    assert run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--no-page", "--json"]) == 0
    capsys.readouterr()
    (row,) = (row for row in read_rows(tmp_path / "out") if row["file"] == "large.xml")
    assert (row["outcome"], row["reason"]) == ("failed", "too-large")


def test_names_that_are_no_text(tmp_path, capsys):
    jobs.write_models(tmp_path / "in", ["one"])
    content = (tmp_path / "in" / "one.xml").read_bytes()
    folder = tmp_path / "in" / os.fsdecode(b"f\xff")
    folder.mkdir()
    for name in (b"a\xfe.xml", b"b\x1b[31m.xml", b"\xc2\x9bc.xml"):
        (folder / os.fsdecode(name)).write_bytes(content)
    assert run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    rows = read_rows(tmp_path / "out")
    assert len({row["file"] for row in rows}) == 4
    assert {row["outcome"] for row in rows} == {"reduced"}


def test_a_file_whose_name_and_content_are_no_text_is_a_row(tmp_path, capsys):
    jobs.write_models(tmp_path / "in", ["one"])
    for name in (b"a\xfe.xml", b"a\xed\xa0\x80.xml"):
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(b"x")
    (tmp_path / "in" / os.fsdecode(b"b\xfe.xml")).write_bytes(b"<sbml>")
    target = tmp_path / os.fsdecode(b"out\xff")
    assert run_command(["survey", str(tmp_path / "in"), "-o", str(target), "--json"]) == 0
    capsys.readouterr()
    rows = {row["file"]: row for row in read_rows(target) if row["outcome"] == "failed"}
    reasons = {r"a\xfe.xml": "not-xml", r"a\xed\xa0\x80.xml": "not-xml", r"b\xfe.xml": "not-sbml"}
    assert {file: row["reason"] for file, row in rows.items()} == reasons
    assert all(file in row["message"] for file, row in rows.items())


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_works_with_a_warning(tmp_path, monkeypatch, capsys, number):
    jobs.write_models(tmp_path / "in", ["one"])

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    command = ["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert run_command(command) == 0
    assert "cannot be locked" in capsys.readouterr().err
    assert run_command([*command, "--json"]) == 0
    assert [reason["code"] for reason in json.loads(capsys.readouterr().out)["reasons"]] == ["no-locks"]
    assert len(read_rows(tmp_path / "out")) == 5


def test_versions_are_in_the_results(tmp_path):
    from sbmlump.survey import library_versions

    run_survey(SurveyRequest(jobs.write_models(tmp_path / "in", ["one"]), tmp_path / "out"))
    (path,) = result_files(tmp_path / "out")
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
    for name in ("sbmlump", "source", "libsbml", "libroadrunner", "numpy", "python"):
        assert metadata[f"sbmlump.{name}"] == library_versions()[name]


def test_sizes_at_errors(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one"])
    run_survey(SurveyRequest(models, tmp_path / "out"))
    for row in read_rows(tmp_path / "out"):
        assert [row[f"size_at_{error}_percent"] for error in (1, 5, 10)] == [row["reduced_size"]] * 3


def test_approximate_sizes_of_every_state(tmp_path):
    """One set of trajectories for a model; a chain and another approximate method go one by one, and have sizes too."""
    models = jobs.write_models(tmp_path / "in", ["one"])
    options = (("until", 5.0),)
    settings = Settings(("exact", "approximate", "conservation+exact", "qssa"), options=options)
    run_survey(SurveyRequest(models, tmp_path / "out", settings))
    rows = read_rows(tmp_path / "out")
    exact = {row["observable"]: row["reduced_size"] for row in rows if row["method"] == "exact"}
    approximate = {row["observable"]: row for row in rows if row["method"] == "approximate"}
    assert set(approximate) == set(exact)
    for name, row in approximate.items():
        sizes = [row[f"size_at_{error}_percent"] for error in (1, 5, 10)]
        assert sizes == sorted(sizes, reverse=True)
        assert row["reduced_size"] == sizes[0] <= exact[name]
        assert row["end_time"] == 5.0
        assert row["cpu_seconds"] > 0
        assert row["exact"] is (row["worst_error"] is None)
    assert {row["method"] for row in rows} == set(settings.methods)
    assert all(row["cpu_seconds"] is not None for row in rows)


def test_sizes_and_codes_alone(tmp_path, capsys):
    jobs.write_models(tmp_path / "in", ["one"])
    assert run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--no-page", "-q"]) == 0
    path = tmp_path / "sizes.parquet"
    summary = tmp_path / "summary.md"
    assert run_command(["survey-report", str(tmp_path / "out"), "--sizes", str(path), "--summary", str(summary)]) == 0
    capsys.readouterr()
    table = pq.read_table(path)
    assert [row["observable"] for row in table.to_pylist()] == [
        row["observable"] for row in read_rows(tmp_path / "out")
    ]
    assert "pools" not in table.column_names
    assert {"exact", "size_at_1_percent", "reason", "cpu_seconds"} <= set(table.column_names)
    metadata = {key.decode() for key in table.schema.metadata}
    assert {"sbmlump.version", "sbmlump.store", "sbmlump.libsbml"} <= metadata


@pytest.mark.slow
def test_shards_at_once(tmp_path):
    """Four processes into one folder; each ends well and the page is of all rows."""
    jobs.write_models(tmp_path / "in", [f"m{k}" for k in range(8)])
    command = [sys.executable, "-c", "import sys; from sbmlump.cli import main; sys.exit(main())", "survey"]
    started = [
        subprocess.Popen(
            [*command, str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--shard", f"{k}/4"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for k in (1, 2, 3, 4)
    ]
    ends = [(process.communicate(timeout=240), process.returncode) for process in started]
    assert [code for _, code in ends] == [0] * 4, ends
    assert len({row["file"] for row in read_rows(tmp_path / "out")}) == 8
    assert len(list((tmp_path / "out" / "models").iterdir())) == 8
    assert "of 8 models" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "parts").exists()


@pytest.mark.slow
def test_the_recipe_for_a_job_array(tmp_path):
    """The script of the documentation, run as Slurm runs it, but one task after the other."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "survey.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", text, flags=re.DOTALL)
    jobs.write_models(tmp_path / "models", [f"m{k}" for k in range(4)])
    program = tmp_path / "bin" / "sbmlump"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from sbmlump.cli import main; raise SystemExit(main())' \"$@\"\n"
    )
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    for task in ("1", "2"):
        array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env={**environment, **array}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    names = [path.name for path in result_files(tmp_path / "results")]
    assert names == ["shard-0001-of-0002.parquet", "shard-0002-of-0002.parquet"]
    assert len({row["file"] for row in read_rows(tmp_path / "results")}) == 4
    assert run_command(["survey-report", str(tmp_path / "results")]) == 0
