"""Approximate reductions of published models: sizes that must not get worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbmlump import load
from sbmlump.methods import Approximate
from sbmlump.model import ErrorEstimate, parse_observables

CASES = [
    ("biomodels/BIOMD0000000102.xml", "C3", 5000.0, 7),
    ("biomodels/BIOMD0000000103.xml", "C3", 5000.0, 7),
    ("biomodels/BIOMD0000000447.xml", "species_6", 200.0, 3),
    ("biomodels/BIOMD0000000448.xml", "S6p", 60.0, 4),
    ("biomodels/BIOMD0000000488.xml", "Tau", 10.0, 3),
    ("ode/NIHMS80246_S6.ode", "obsS2P", 1000.0, 3),
    ("ode/BioNetGen_CCP.ode", "D13PG", 200.0, 5),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "observe", "until", "size"), CASES, ids=[Path(c[0]).stem for c in CASES])
def test_one_percent(corpus: Path, file: str, observe: str, until: float, size: int) -> None:
    """At most 1 % on all but one in twenty of a hundred unseen starts, with at most so many states."""
    system = load(corpus / file)
    found = Approximate(until=until, max_error=0.01).reduce(system, parse_observables(system, [observe]))
    assert isinstance(found.certificate, ErrorEstimate)
    fresh = found.certificate.fresh
    assert fresh is not None
    assert (fresh.initial_values, fresh.diverged) == (100, 0)
    assert fresh.above <= 5
    assert found.certificate.worst_error <= 0.02
    assert found.system.size <= size
