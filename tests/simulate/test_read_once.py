"""A file is read once: whatever a command does with it, and in whichever process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import libsbml
import pytest
from network_models import saved, twin_chains

from sbmlump import verify
from sbmlump.jobs import check, run_reduction
from sbmlump.methods import reduce_options
from sbmlump.simulators import arbiter


@pytest.fixture
def parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often libSBML has parsed a document since it was last asked, in this process and in copies of it."""
    log = tmp_path / "parses"
    original = libsbml.readSBMLFromString

    def counted(text: str) -> object:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        return original(text)

    def count() -> int:
        lines = log.read_text(encoding="utf-8").count("\n") if log.exists() else 0
        log.unlink(missing_ok=True)
        return lines

    monkeypatch.setattr(libsbml, "readSBMLFromString", counted)
    return count


@pytest.mark.parametrize("simulator", ["roadrunner", "own"])
def test_reduce_check_and_verify_parse_each_document_once(
    tmp_path: Path, parses: Callable[[], int], simulator: str
) -> None:
    path, reduced = saved(tmp_path, twin_chains()), tmp_path / "reduced.xml"
    outcome = run_reduction(path, ["C"], reduce_options("exact", simulator=simulator), reduced)
    assert outcome.report is not None
    assert parses() == 2  # the original, and what was written
    assert check(path, reduced, simulator=simulator).max_relative_error < 1e-6
    assert parses() == 2
    verify(path, reduced)
    assert parses() == 2


def test_an_archive_takes_no_further_reading(tmp_path: Path, parses: Callable[[], int]) -> None:
    run_reduction(saved(tmp_path, twin_chains()), ["C"], reduce_options("exact"), tmp_path / "reduced.omex")
    assert parses() == 2


def test_what_has_to_be_settled_is_settled_by_what_was_read(
    tmp_path: Path, parses: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    always = partial(arbiter.explain_difference, settings=replace(arbiter.ARBITER, suspicious=1e-14))
    monkeypatch.setattr(arbiter, "explain_difference", always)
    path = saved(tmp_path, twin_chains())
    outcome = run_reduction(path, ["C"], reduce_options("exact"), tmp_path / "reduced.xml")
    assert {reason.code for reason in outcome.reasons} & {"sensitive-model", "simulator-differs"}
    assert parses() == 2
