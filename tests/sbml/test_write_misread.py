"""Kinetic laws whose powers COPASI overlooks get those as parameters of their own; others stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_models import saved, sbml_model

import sbmlump
from sbmlump.sbml import HELPER_PREFIX, QuantitySelection, write_system
from sbmlump.simulators import simulator_named


def model(tmp_path: Path, law: str) -> Path:
    reactions = {"go": ({"A": 1}, {"B": 1}, law)}
    return saved(tmp_path, sbml_model({"A": 2, "B": 1}, reactions, {"k": 0.3, "g": 2.5, "e": 1.7, "h": 0.4}))


OVERLOOKED = ["cell * k * A * g^e", "cell * (k * A * g^e - h * B * g^e)", "cell * k * A * g^0.5", "cell * k * A * A^e"]
READ = ["cell * k * A^2", "k * A * g^e", "cell * g^e * (k * A - h * B)", "cell * k * A^e", "cell * k * A / (h^e + A)"]


@pytest.mark.parametrize("law", OVERLOOKED)
def test_a_power_that_copasi_overlooks_is_a_parameter(law: str, tmp_path: Path) -> None:
    written = write_system(sbmlump.load(model(tmp_path, law)))
    assert HELPER_PREFIX.encode() in written


@pytest.mark.parametrize("law", READ)
def test_what_copasi_reads_stays_as_it_is(law: str, tmp_path: Path) -> None:
    written = write_system(sbmlump.load(model(tmp_path, law)))
    assert HELPER_PREFIX.encode() not in written


@pytest.mark.parametrize("law", OVERLOOKED + READ)
def test_copasi_has_the_flux_of_libroadrunner(law: str, tmp_path: Path) -> None:
    pytest.importorskip("basico")
    path = tmp_path / "written.xml"
    path.write_bytes(write_system(sbmlump.load(model(tmp_path, law))))
    wanted, found = (
        simulator_named(name).load(path).run({"B": QuantitySelection("B", "concentration")}, 2.0, 5).values["B"]
        for name in ("roadrunner", "copasi")
    )
    assert found == pytest.approx(wanted, rel=1e-7)
