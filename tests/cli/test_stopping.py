"""Long work says what it does, ends when it is asked to, and gives what it had found until then."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace

import pytest

import sbmlump
from sbmlump.cli import output, run
from sbmlump.methods import DEFAULT_CHAINS
from sbmlump.stopping import AnswerSettings, Stop, stop_request, stoppable


def silent(_):
    """Nothing is said."""


@pytest.fixture
def model(data):
    return data / "michaelis_menten.xml"


def interrupting(stop, word):
    """Progress that asks for a stop as soon as it is told of ``word``."""

    def progress(message):
        if word in message:
            stop.interrupted = True

    return progress


def test_a_stop_has_its_reason():
    now = [0.0]
    stop = Stop(2.0, lambda: now[0])
    assert stop.reason is None
    now[0] = 2.5
    assert stop.reason.code == "time-limit"
    assert "the time limit of 2 s was reached" in stop.reason.message
    stop.interrupted = True
    assert stop.reason.code == "interrupted"
    assert stop_request() is None


def test_a_search_leaves_time_for_its_answer():
    """As much again as reading and simulating have taken (here and a half); until that is known, half of the limit."""
    now = [100.0]
    stop = Stop(20.0, lambda: now[0], answer=AnswerSettings(0.5, 0.9, 1.5), begun=99.0)
    now[0] = 101.0
    stop.set_up_done()  # after 2 s: 3 s and a tenth of the limit are left for the answer
    now[0] = 113.9
    assert stop.reason is None
    now[0] = 114.1
    assert "ended after 15 of the 20 s, in time for its answer" in stop.reason.message
    slow = Stop(20.0, lambda: now[0], answer=AnswerSettings(0.5, 0.9, 1.5))
    now[0] += 9.0
    slow.set_up_done()
    assert slow.reason is None
    now[0] += 1.1
    assert slow.reason.code == "time-limit"


@pytest.mark.parametrize("job", ["curve", "compare_methods"])
def test_runs_that_are_learned_from_can_be_stopped(model, job):
    """An interrupt while the original is simulated ends that, and what there is then is given."""
    with stoppable(None, silent) as stop:
        found = getattr(sbmlump, job)(model, "P", until=20.0, progress=interrupting(stop, "simulating the original"))
    assert [reason["code"] for reason in found.as_json()["reasons"]] == ["interrupted"]
    if job == "curve":
        assert found.result.points == ()
    else:
        assert [row.size for row in found.rows] == [None] * len(DEFAULT_CHAINS)


def test_a_curve_that_was_stopped_at_once_says_so(capsys, model):
    assert run(["curve", str(model), "--observe", "S", "--time-limit", "1e-9"]) == 4
    assert capsys.readouterr().out == "no size had been tried\n"


def test_a_stopped_simulation_is_not_told_as_too_much_work(data):
    """The model itself keeps every error; why nothing smaller was found is the stop, not the work."""
    system = sbmlump.load(data / "multisite_2.xml")
    with stoppable(None, silent) as stop:
        found = sbmlump.reduce(
            system, "kinase", method="approximate", progress=interrupting(stop, "simulating the original")
        )
    (told,) = (one.message for one in found.reasons if one.code == "exact-instead")
    assert told.endswith("the work was interrupted")
    assert "--work" not in told


def test_a_curve_keeps_its_points(model):
    with stoppable(None, silent) as stop:
        found = sbmlump.curve(model, "P", "balanced", until=20.0, progress=interrupting(stop, "balanced, 2"))
    assert [point.size for point in found.result.points][:1] == [1]
    assert len(found.result.points) < 4
    assert not found.complete
    assert [reason["code"] for reason in found.as_json()["reasons"]] == ["interrupted"]


def test_compared_methods_keep_their_rows(model):
    with stoppable(None, silent) as stop:
        found = sbmlump.compare_methods(model, "S", "none,exact", progress=interrupting(stop, "method none"))
    assert [(row.method, row.size) for row in found.rows] == [("none", 4), ("exact", None)]
    assert [reason.code for reason in found.reasons] == ["interrupted"]


def test_an_approximate_search_keeps_its_best(data):
    system = sbmlump.load(data / "multisite_2.xml")
    with stoppable(None, silent) as stop:
        request = {"method": "approximate", "until": 5.0, "max_size": 3}
        found = sbmlump.reduce(system, "kinase", progress=interrupting(stop, "validating"), **request)
    assert stop.interrupted
    assert found.system.size <= 3
    assert found.certificate.fresh is not None  # measured as ever, on initial values that were not used


def test_the_first_interrupt_asks_and_the_second_one_ends():
    said = []
    with stoppable(None, said.append) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.interrupted
        assert "press Ctrl-C again" in said[0]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("command", ["curve", "compare-methods"])
def test_a_time_limit_that_is_reached_exits_4_with_what_there_is(capsys, model, command):
    code = run([command, str(model), "--observe", "S", "--time-limit", "1e-9", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 4
    assert [reason["code"] for reason in found["reasons"]] == ["time-limit"]
    assert "points" in found or len(found["methods"]) == len(DEFAULT_CHAINS)


def test_lines_of_progress_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(output, "DISPLAY", replace(output.DISPLAY, interval=0.05))
    with output.progress_reporter(quiet=False) as report:
        report("looking\nat sizes")
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.endswith("s: looking at sizes") for line in lines), lines
    with output.progress_reporter(quiet=True) as report:
        report("nothing")
        time.sleep(0.2)
    assert capsys.readouterr().err == ""
