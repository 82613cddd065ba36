"""A simulator that crashes, hangs, prints or is interrupted takes nothing with it that was proved before."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import threading
import time

import pytest
from network_models import saved, twin_chains

from sbmlump.cli import run
from sbmlump.isolate import Limits
from sbmlump.jobs import checking, reduction
from sbmlump.simulators import RoadRunnerSimulator


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path, twin_chains())


def crash(*_):
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)


def abort(*_):
    faulthandler.disable()
    os.abort()


def hang(*_):
    time.sleep(3600)


@pytest.mark.parametrize(
    ("how", "code"),
    [(crash, "simulator-crashed"), (abort, "simulator-crashed"), (hang, "simulator-time-limit")],
)
def test_the_proved_reduction_is_written_whatever_becomes_of_the_simulator(
    model, tmp_path, monkeypatch, capsys, how, code
):
    monkeypatch.setattr(RoadRunnerSimulator, "load", how)
    for module in (checking, reduction):
        monkeypatch.setattr(module, "SIMULATION", Limits(seconds=0.5))
    output = tmp_path / "reduced.xml"
    assert run(["reduce", str(model), "--observe", "C", "-o", str(output), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["outcome"] == "reduced"
    assert printed["simulation"] is None
    assert [reason["code"] for reason in printed["reasons"]] == [code]
    assert run(["verify", str(model), str(output)]) == 0
    capsys.readouterr()
    assert run(["check", str(model), str(output), "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["reasons"][0]["code"] == code


def test_an_interrupt_ends_the_command_at_once_and_leaves_the_reduction(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(RoadRunnerSimulator, "load", hang)
    output = tmp_path / "reduced.xml"

    def press():
        while not output.exists():
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    assert run(["reduce", str(model), "--observe", "C", "-o", str(output)]) == 130
    finger.join()
    assert output.exists()
    assert run(["verify", str(model), str(output)]) == 0


def test_what_a_library_prints_is_not_in_the_answer(model, tmp_path, monkeypatch, capfd):
    load = RoadRunnerSimulator.load

    def noisy(self, source):
        os.write(1, b"a warning of a library\n")
        return load(self, source)

    monkeypatch.setattr(RoadRunnerSimulator, "load", noisy)
    assert run(["check", str(model), str(model), "--until", "1", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["max_relative_error"] == 0.0


def test_the_original_is_never_replaced_by_its_reduction(model, capsys):
    before = model.read_bytes()
    assert run(["reduce", str(model), "--observe", "C", "-o", str(model), "--json", "--force"]) == 2
    (reason,) = json.loads(capsys.readouterr().out)["reasons"]
    assert reason["code"] == "output-is-input"
    assert model.read_bytes() == before
