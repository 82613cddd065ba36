"""Cases of the SBML Test Suite, through ``convert`` and libRoadRunner."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import suite_cases
from suite_case import run_case

REFUSALS = {"delay", "flux-balance-only"}


@pytest.mark.sample(200)
def test_a_converted_case_gives_the_expected_results_or_is_refused_with_a_code(suite_case: Path) -> None:
    result = run_case(suite_case)
    assert result.status in ("passed", "refused"), result
    if result.status == "refused":
        assert result.code in REFUSALS, result


def test_every_case_with_fast_reactions_gives_the_expected_results(corpus: Path) -> None:
    cases = [case for case in suite_cases(corpus) if "FastReaction" in next(case.glob("*-tags.txt")).read_text()]
    results = {result.case: result.status for result in map(run_case, cases)}
    assert len(results) == 21
    assert {case for case, status in results.items() if status != "passed"} == set()
