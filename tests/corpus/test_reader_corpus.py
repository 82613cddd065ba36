"""Right-hand sides and initial values against libRoadRunner, which reads the same files by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sbmlump.model import OdeSystem
from sbmlump.sbml import read_sbml

roadrunner = pytest.importorskip("roadrunner")
# properties named after ids would take the place of its methods, for every later model of the process
roadrunner.Config.setValue(roadrunner.Config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES, True)

#: Where libRoadRunner differs, and why.
EXPLAINED: Mapping[str, str] = {
    "BIOMD0000000952": "libRoadRunner gives NaN for the rate rule of Stotal, a sum of rateOf terms that are all finite",
    "MODEL1807180003": "libRoadRunner uses a stale rateOf: at a state where IIa falls, the rule that follows its rise "
    "while rateOf(IIa) > 0 must be 0, and libRoadRunner still gives the (negative) rate of IIa",
}
_CODES_OF_A_MODEL_THAT_LOADS = frozenset(
    {
        "no-kinetic-law",
        "flux-balance-only",
        "fast-reaction",
        "delay",
        "missing-value",
        "random-number",
        "package-required:qual",
    }
)
_MAX_STATES = 600  # libRoadRunner compiles larger models for minutes
_STATES = 5


@pytest.mark.sample(60)
def test_rates_and_initial_values_of_published_models(biomodels_file: Path) -> None:
    result = read_sbml(biomodels_file)
    if result.system is None:
        assert {reason.code for reason in result.reasons} <= _CODES_OF_A_MODEL_THAT_LOADS
        pytest.skip("refused: " + ", ".join(sorted({reason.code for reason in result.reasons})))
    if biomodels_file.stem in EXPLAINED:
        pytest.skip(EXPLAINED[biomodels_file.stem])
    compare(biomodels_file, result.system)


@pytest.mark.sample(150)
def test_rates_and_initial_values_of_the_test_suite(suite_case: Path) -> None:
    (path,) = suite_case.glob("*-sbml-*.xml")
    result = read_sbml(path)
    if result.system is None:
        codes = {reason.code for reason in result.reasons}
        assert codes <= {"delay", "fast-reaction", "flux-balance-only"}
        pytest.skip("refused: " + ", ".join(sorted(codes)))
    compare(path, result.system)


def compare(path: Path, system: OdeSystem) -> None:
    """Fail where the two disagree; skip what libRoadRunner cannot load."""
    if system.size > _MAX_STATES:
        pytest.skip(f"{system.size} states")
    roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
    try:
        other = roadrunner.RoadRunner(str(path))
    except RuntimeError as error:
        pytest.skip(f"libRoadRunner does not load it: {str(error)[:100]}")
    names = [selection(system, name) for name in system.states]
    start = np.array([other.getValue(name) for name in names])
    if not system.events:  # events that fire at time 0 have fired there already
        np.testing.assert_allclose(system.initial_state(), start, rtol=1e-9)
    rng = np.random.default_rng(20240229)
    size = np.nanmax(np.abs(start), initial=1e-12)
    order = sorted(range(system.size), key=lambda i: system.quantities[system.states[i]].kind != "compartment")
    for _ in range(_STATES):
        x = start * rng.lognormal(0.0, 0.3, system.size) + 1e-3 * size * rng.random(system.size)
        x = np.where(np.isfinite(x), x, 1.0)
        for i in order:
            other.setValue(names[i], float(x[i]))
        x = np.array([other.getValue(name) for name in names])  # where a rule or a size changed them, they changed
        theirs = rates_of(other, system, x)
        mine = system.rates(other.model.getTime(), x)
        known = ~unknown(system)
        scale = np.max(np.abs(theirs[np.isfinite(theirs)]), initial=0.0)
        np.testing.assert_allclose(mine[known], theirs[known], rtol=1e-9, atol=1e-12 * scale)


def selection(system: OdeSystem, name: str) -> str:
    """How libRoadRunner calls the value that the id means."""
    quantity = system.quantities[name]
    return f"[{name}]" if quantity.kind == "species" and not quantity.amount else name


def unknown(system: OdeSystem) -> NDArray[np.bool_]:
    """States whose rate libRoadRunner does not tell: concentrations where a rule gives the size."""
    assigned = {a.id for a in system.assigned}
    return np.array([system.quantities[name].compartment in assigned for name in system.states], dtype=bool)


def rates_of(other: Any, system: OdeSystem, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """libRoadRunner's rates as the ids mean them; it gives amounts per time."""
    values = other.getRatesOfChange()
    amounts = {other.model.getStateVectorId(i): float(value) for i, value in enumerate(values)}
    rates = np.empty(system.size)
    for i, name in enumerate(system.states):
        quantity = system.quantities[name]
        rate = amounts.get(name, 0.0)  # what only events set does not stand in the state vector
        if quantity.kind == "species" and not quantity.amount:
            where = quantity.compartment or ""
            rate = (rate - x[i] * amounts.get(where, 0.0)) / other.getValue(where)
        rates[i] = rate
    return rates
