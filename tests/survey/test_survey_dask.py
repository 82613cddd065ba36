"""A real Dask scheduler with two workers, one of them killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import survey_jobs as jobs

import sbmlump
from sbmlump.cli import run as run_command
from sbmlump.errors import LimitError, UsageError
from sbmlump.survey import (
    DaskSettings,
    Settings,
    SurveyRequest,
    Task,
    library_versions,
    read_rows,
    run_on_dask,
    run_survey,
    scheduler_address,
)

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
    yield address, workers, started[0]
    for process in started:
        process.kill()
    for process in started:
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_worker_is_killed(tmp_path, cluster):
    address, workers, _ = cluster
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
    address, *_ = cluster
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
    found = _on_worker(Task(models[0], None, Settings()), "0.0.0", "")
    assert found.code == "worker-unfit"
    assert "not 0.0.0; install 0.0.0 there" in found.message


def test_no_scheduler(tmp_path):
    models = jobs.write_models(tmp_path / "in", ["one"])
    with pytest.raises(LimitError) as caught:
        list(run_on_dask("tcp://127.0.0.1:9", [Task(models[0], None, Settings())], DaskSettings(connect=1)))
    assert caught.value.reasons[0].code == "no-scheduler"


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:0", "foo://127.0.0.1:8786", "a b:1"],
)
def test_what_is_no_address(address):
    with pytest.raises(UsageError) as caught:
        scheduler_address(address)
    assert caught.value.reasons[0].code == "bad-scheduler"


@pytest.mark.parametrize("address", ["127.0.0.1:8786", "tcp://host:8786", "tls://host.example:1", "tcp://[::1]:8786"])
def test_what_is_an_address(address):
    assert scheduler_address(address) == address


def test_a_scheduler_file(tmp_path):
    file = tmp_path / "scheduler.json"
    for content in ("", "{", "[]", "{}", '{"address": 5}'):
        file.write_text(content)
        with pytest.raises(UsageError) as caught:
            scheduler_address(None, file)
        assert caught.value.reasons[0].code == "bad-scheduler-file"
    file.write_text(json.dumps({"address": "tcp://127.0.0.1:8786", "type": "Scheduler"}))
    assert scheduler_address(None, file) == "tcp://127.0.0.1:8786"
    with pytest.raises(UsageError):
        scheduler_address("tcp://127.0.0.1:8786", file)


def one_task(tmp_path):
    return [Task(jobs.write_models(tmp_path / "in", ["one"])[0], None, Settings())]


def test_what_takes_the_connection_and_says_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(LimitError) as caught:
        list(run_on_dask(f"tcp://127.0.0.1:{server.getsockname()[1]}", one_task(tmp_path), DaskSettings(connect=1)))
    assert caught.value.reasons[0].code == "no-scheduler"


def test_tls_without_certificates(tmp_path):
    with pytest.raises(UsageError, match=r"distributed\.comm\.tls\.ca-file") as caught:
        list(run_on_dask("tls://127.0.0.1:9", one_task(tmp_path)))
    assert caught.value.reasons[0].code == "no-certificates"


def test_what_a_worker_lacks():
    from sbmlump.survey.on_dask import _lacks, _probe

    own = _probe()([__file__])
    assert _lacks(own) is None
    assert own["versions"] == dict(library_versions())
    assert "does not see /nowhere" in _lacks(_probe()(["/nowhere"]))
    assert "cannot run sbmlump" in _lacks({**own, "error": "ModuleNotFoundError: No module named 'sbmlump'"})
    assert "libsbml 1.0, not" in _lacks({**own, "versions": {**own["versions"], "libsbml": "1.0"}})
    assert "another state of sbmlump" in _lacks({**own, "versions": {**own["versions"], "source": "0" * 64}})
    assert "cannot say what it has" in _lacks(AttributeError("old"))


@pytest.mark.slow
def test_a_cluster_that_goes_away(tmp_path, cluster):
    """Without workers, and then without a scheduler: a sentence each, within the time that is given."""
    address, workers, scheduler = cluster
    tasks = [Task(model, None, Settings()) for model in jobs.write_models(tmp_path / "in", ["a", "b", "c", "d"])]
    rows = run_on_dask(address, tasks, DaskSettings(connect=3, first_worker=3, look=0.2))
    next(rows)
    for worker in workers:
        worker.kill()
        worker.wait()
    with pytest.raises(LimitError) as caught:
        list(rows)
    assert caught.value.reasons[0].code == "no-workers"
    assert run_command(["survey", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--scheduler", "x", "--json"]) == 2
    scheduler.kill()
    scheduler.wait()
    with pytest.raises(LimitError) as caught:
        list(run_on_dask(address, tasks, DaskSettings(connect=3)))
    assert caught.value.reasons[0].code == "no-scheduler"
