"""Jobs in processes: every way of ending is a value."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
import survey_jobs as jobs
from child_jobs import processes_of_session, session_ended_with, wait_for

from sbmlump.isolate import Limits, run_isolated


def test_value_and_messages():
    heard = []
    ended = run_isolated(jobs.doubled, (21,), on_message=heard.append)
    assert (ended.how, ended.value, heard) == ("finished", 42, ["half way"])
    assert ended.peak > 0


def test_exception_is_a_fault_with_its_place():
    ended = run_isolated(jobs.raises)
    assert ended.how == "fault"
    assert "ValueError at survey_jobs.py" in ended.message
    assert "odd" in ended.message


@pytest.mark.parametrize("job", [jobs.hangs, jobs.spins])
def test_hang(job):
    ended = run_isolated(job, limits=Limits(seconds=0.5))
    assert ended.how == "time-limit"
    assert ended.reason.code == "time-limit"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux sees to it")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("copied", [False, True])
def test_a_child_that_never_lets_go_ends_with_its_parent(copied, how):
    script = (
        "import survey_jobs as jobs\n"
        "from sbmlump.isolate import run_isolated\n"
        f"run_isolated(jobs.holds_the_lock, on_message=lambda text: print(text, flush=True), copied={copied})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    with session_ended_with(process):
        assert process.stdout.readline() == b"before\n"
        process.send_signal(how)
        process.communicate(timeout=20)  # the children hold its output
        wait_for(lambda: not processes_of_session(process.pid), seconds=20)


def test_crash_keeps_what_was_said():
    heard = []
    ended = run_isolated(jobs.segfaults, on_message=heard.append)
    assert ended.how == "crashed"
    assert "SIGSEGV" in ended.message
    assert heard == ["before"]


def test_silent_exit():
    ended = run_isolated(jobs.leaves)
    assert ended.how == "crashed"
    assert "exit code 3" in ended.message


def test_memory():
    ended = run_isolated(jobs.eats_memory, limits=Limits(seconds=60, memory=300 << 20))
    assert ended.how == "out-of-memory"
    assert "300 MB" in ended.message


def test_stop():
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert run_isolated(jobs.hangs, stop=stop).how == "stopped"


def test_side_by_side():
    """Crashes and results of several threads at once are not mixed up."""
    found = {}

    def one(k):
        found[k] = run_isolated(jobs.segfaults) if k % 2 else run_isolated(jobs.doubled, (k,))

    threads = [threading.Thread(target=partial(one, k)) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(12):
        assert found[k].how == ("crashed" if k % 2 else "finished")
        if k % 2:
            assert "SIGSEGV" in found[k].message
        else:
            assert found[k].value == 2 * k
