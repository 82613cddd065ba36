"""A real Dask scheduler with two workers, one of them killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import survey_jobs as jobs

import sbmlump
from sbmlump.errors import LimitError
from sbmlump.survey import Settings, SurveyRequest, Task, read_rows, run_survey

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, and its two workers."""
    started = []
    home = str(Path(sbmlump.__file__).parents[1])  # where it is imported from here, whatever the working folder
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((home, os.environ.get("PYTHONPATH", "")))}

    def start(*arguments):
        log = (tmp_path / f"log{len(started)}").open("w")
        command = [sys.executable, "-m", *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=environment)
        started.append(process)
        return process

    file = tmp_path / "scheduler.json"
    start(
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    )
    workers = [
        start(
            "distributed.cli.dask_worker",
            "--host",
            "127.0.0.1",
            "--scheduler-file",
            str(file),
            "--no-dashboard",
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(tmp_path / f"w{k}"),
        )
        for k in range(2)
    ]
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        address = client.scheduler.address
    yield address, workers
    for process in started:
        process.kill()
    for process in started:
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_worker_is_killed(tmp_path, cluster):
    address, workers = cluster
    names = [f"m{k}" for k in range(12)]
    models = jobs.write_models(tmp_path / "in", names)
    killed = []

    def progress(done, total, name):
        if done >= 2 and not killed:
            os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(done)

    done = run_survey(SurveyRequest(models, tmp_path / "out", scheduler=address), progress)
    assert killed
    assert all(row["observable"] for row in read_rows(tmp_path / "out")), read_rows(tmp_path / "out")[0]["message"]
    assert done.now == 12
    run_survey(SurveyRequest(models, tmp_path / "local"))
    assert jobs.timeless(read_rows(tmp_path / "out")) == jobs.timeless(read_rows(tmp_path / "local"))


def test_a_worker_that_cannot_do_the_job_ends_the_survey(tmp_path, cluster):
    """Rows about the cluster must not stand for rows about models."""
    address, _ = cluster
    models = jobs.write_models(tmp_path / "in", ["here", "away"])
    models[1].path.rename(tmp_path / "away.xml")
    request = SurveyRequest(models, tmp_path / "out", scheduler=address)
    with pytest.raises(LimitError, match=r"does not see .*away\.xml; the store must be under the same path") as caught:
        run_survey(request)
    assert caught.value.reasons[0].code == "worker-unfit"
    assert "away.xml" not in {row["file"] for row in read_rows(tmp_path / "out")}
    (tmp_path / "away.xml").rename(models[1].path)
    run_survey(request)
    assert {row["file"] for row in read_rows(tmp_path / "out")} == {"here.xml", "away.xml"}


def test_another_version_on_a_worker(tmp_path):
    from sbmlump.survey.on_dask import _on_worker

    models = jobs.write_models(tmp_path / "in", ["one"])
    found = _on_worker(Task(models[0], None, Settings()), "0.0.0")
    assert found.code == "worker-unfit"
    assert "not 0.0.0; install 0.0.0 there" in found.message


def test_no_scheduler(tmp_path):
    from sbmlump.survey import DaskSettings, run_on_dask

    models = jobs.write_models(tmp_path / "in", ["one"])
    with pytest.raises(LimitError) as caught:
        list(run_on_dask("tcp://127.0.0.1:9", [Task(models[0], None, Settings())], DaskSettings(connect=1)))
    assert caught.value.reasons[0].code == "no-scheduler"
