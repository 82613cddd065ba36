"""Every method on published models: nothing that is written is refuted, fails to load, or lacks a finite start."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import everything
from every_method import HARMLESS, METHODS, PROVED, run_file


@pytest.mark.sample(30)
def test_every_method(biomodels_file: Path) -> None:
    methods = METHODS if everything() else PROVED  # the others simulate, which takes half a minute a file
    wrong = [r for r in run_file(biomodels_file, methods, limit=60.0) if r.outcome not in HARMLESS]
    assert not wrong, wrong
