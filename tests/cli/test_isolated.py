"""Commands in a child process with limits."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from sbmlump.cli import run
from sbmlump.cli.options import requested

DATA = Path(__file__).resolve().parents[2] / "data"


def test_the_output_is_that_of_the_command_itself(capsys):
    arguments = ["reduce", str(DATA / "ring.xml"), "--observe", "X_1", "--no-check", "--json"]
    assert run(arguments) == 0
    direct = json.loads(capsys.readouterr().out)
    assert run([*arguments, "--isolate"]) == 0
    isolated = json.loads(capsys.readouterr().out)
    assert isolated.pop("seconds").keys() == direct.pop("seconds").keys()
    assert isolated == direct


def test_exit_codes_pass_through(capsys, tmp_path):
    assert run(["inspect", str(tmp_path / "missing.xml"), "--isolate", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["reasons"][0]["code"] == "no-such-file"


def test_a_time_limit_ends_the_command_and_leaves_nothing(capsys, tmp_path):
    output = tmp_path / "out.xml"
    model = DATA / "multisite_4.xml"
    code = run(["reduce", str(model), "--observe", "kinase", "-o", str(output), "--time-limit", "0.05", "--json"])
    assert code == 4
    assert json.loads(capsys.readouterr().out)["reasons"][0]["code"] == "time-limit"
    assert list(tmp_path.iterdir()) == []


def test_a_memory_limit_is_one_sentence(capsys):
    code = run(["reduce", str(DATA / "multisite_4.xml"), "--observe", "kinase", "--memory-limit=1"])
    assert code == 4
    assert "memory" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "inf", ""])
def test_limits_are_positive_numbers(text):
    with pytest.raises(click.UsageError):
        requested(["reduce", "model.xml", f"--time-limit={text}"])


def test_other_commands_keep_their_own_limits():
    assert requested(["survey", "store", "--time-limit", "5"]) is None
    assert requested([]) is None
