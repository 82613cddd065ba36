"""Verification from files where conserved totals have become constants."""

from __future__ import annotations

from pathlib import Path

import pytest

import sbmlump
from sbmlump.cli import run
from sbmlump.model import ExactProof
from sbmlump.proof import Refutation

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture
def on_class(tmp_path):
    path = tmp_path / "reduced.xml"
    assert run(["reduce", str(DATA / "ring.xml"), "--observe", "X_1", "--on-class", "--no-check", "-o", str(path)]) == 0
    return path


def test_one_state_less_for_one_total(on_class):
    assert sbmlump.load(on_class).size == 2
    assert isinstance(sbmlump.verify(DATA / "ring.xml", on_class), ExactProof)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<parameter id="pool_X_2_X_4_at_start" name="initial value of pool_X_2_X_4" value="4"', 'value="5"'),
        ('<parameter id="kf" value="1"', 'value="2"'),
        ("<minus/><ci> X_3 </ci>", "<minus/><cn> 2 </cn>"),
    ],
)
def test_tampering_is_refuted(on_class, old, new):
    text = on_class.read_text(encoding="utf-8")
    assert old in text
    changed = old.rpartition("value=")[0] + new if "value=" in old else new
    on_class.write_text(text.replace(old, changed, 1))
    assert isinstance(sbmlump.verify(DATA / "ring.xml", on_class), Refutation)


def test_a_recorded_start_that_is_not_one_is_refuted(on_class):
    text = on_class.read_text(encoding="utf-8")
    at = text.index("<starts>")
    assert 'state="X_2" value="1"' in text[at:]
    on_class.write_text(text[:at] + text[at:].replace('state="X_2" value="1"', 'state="X_2" value="3"', 1))
    assert isinstance(sbmlump.verify(DATA / "ring.xml", on_class), Refutation)


def test_conservation_alone(tmp_path):
    path = tmp_path / "reduced.xml"
    arguments = ["reduce", str(DATA / "michaelis_menten.xml"), "--observe", "P", "--method", "conservation"]
    assert run([*arguments, "--no-check", "-o", str(path)]) == 0
    assert sbmlump.load(path).size == 2
    assert isinstance(sbmlump.verify(DATA / "michaelis_menten.xml", path), ExactProof)
