"""What the program writes is what was recorded; see characterise.py for how to record, and when."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from characterise import HASHES, Case, cases, changed, fingerprint

RECORDED = json.loads(HASHES.read_text(encoding="utf-8"))


@functools.cache
def _by_name(corpus: Path) -> dict[str, Case]:
    return {case.name: case for case in cases(corpus)}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_as_recorded(corpus: Path, name: str) -> None:
    case = _by_name(corpus).get(name)
    assert case is not None, f"there is no case {name!r} any more: record again, and say why in CHANGELOG.md"
    different = changed(fingerprint(case), RECORDED[name])
    assert not different, f"{', '.join(different)} changed: record again, and say why in CHANGELOG.md"


def test_every_case_is_recorded(corpus: Path) -> None:
    assert set(_by_name(corpus)) == set(RECORDED)
