"""Every method on published models: nothing that is written is refuted, fails to load, or lacks a finite start."""

from __future__ import annotations

from pathlib import Path

import pytest
from every_method import HARMLESS, run_file


@pytest.mark.sample(30)
def test_every_method(biomodels_file: Path) -> None:
    wrong = [r for r in run_file(biomodels_file, limit=60.0) if r.outcome not in HARMLESS]
    assert not wrong, wrong
