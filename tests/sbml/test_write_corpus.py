"""Published models, read, written and read again, are the same system."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sbmlump.errors import InputError
from sbmlump.sbml import load_sbml, read_sbml, write_system


@pytest.mark.corpus
def test_published_model_comes_back(biomodels_file: Path, tmp_path: Path) -> None:
    try:
        system = read_sbml(biomodels_file).system
    except InputError as error:
        pytest.skip(f"not readable: {error.reasons[0].code}")
    if system is None:
        pytest.skip("refused by the reader")
    data = write_system(system)
    (tmp_path / "written.xml").write_bytes(data)
    again = load_sbml(tmp_path / "written.xml")
    assert again.states == system.states
    assert set(again.quantities) >= set(system.quantities) - {f"{name}_amount" for name in system.quantities}
    assert [r.id for r in again.reactions] == [r.id for r in system.reactions]
    assert len(again.events) == len(system.events)
    start = system.initial_state()
    assert np.array_equal(again.initial_state(), start, equal_nan=True)
    points = np.abs(start) * np.random.default_rng(0).uniform(0.5, 2, (3, system.size)) + 0.01
    one, two = system.rates(1.0, points), again.rates(1.0, points)
    scale = 1e-12 * np.max(np.abs(one), initial=0, where=np.isfinite(one))
    assert np.allclose(one, two, rtol=1e-9, atol=scale, equal_nan=True)
