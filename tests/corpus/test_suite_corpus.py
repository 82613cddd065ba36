"""Cases of the SBML Test Suite, through ``convert`` and libRoadRunner."""

from __future__ import annotations

from pathlib import Path

import pytest
from suite_case import run_case

REFUSALS = {"delay", "fast-reaction", "flux-balance-only"}


@pytest.mark.sample(200)
def test_a_converted_case_gives_the_expected_results_or_is_refused_with_a_code(suite_case: Path) -> None:
    result = run_case(suite_case)
    assert result.status in ("passed", "refused"), result
    if result.status == "refused":
        assert result.code in REFUSALS, result
