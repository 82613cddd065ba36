"""Conservation laws of published models: as many states go as the rank says, and nothing else changes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve

from sbmlump.classic.conservation import conservation
from sbmlump.classic.simulation import default_horizon, time_points
from sbmlump.errors import SbmlumpError
from sbmlump.reduced import ReducedSystem
from sbmlump.sbml.reader import read
from sbmlump.sbml.writer import write_reduction
from sbmlump.structure.exact_linear import rank
from sbmlump.structure.laws import stoichiometry
from sbmlump.system import OdeSystem

#: Where two ways of computing the same differ by more than rounding usually makes, and why.
EXPLAINED = {
    "MODEL1806070001": "rates of 4e7 a unit of time amplify rounding: 2e-9 (a clotting cascade)",
}

Array = NDArray[np.float64]
_MAX_STATES = 100
_TOLERANCE = 1e-9
_POINTS = 60


@pytest.mark.sample(160)
def test_conservation_of_published_models(biomodels_file: Path, tmp_path: Path) -> None:
    """About a third of the files are suitable: reactions only, no events, laws that can be eliminated."""
    if biomodels_file.stem in EXPLAINED:
        pytest.skip(EXPLAINED[biomodels_file.stem])
    system = read(biomodels_file).system
    if system is None or not system.reactions or system.events or not 0 < system.size <= _MAX_STATES:
        pytest.skip("refused, too large, or not a network without events")
    rows = stoichiometry(system)
    if rows is None or not ruled_by_reactions(system):
        pytest.skip("not ruled by numbers times fluxes alone")
    independent = rank([row for row in rows if row], len(system.reactions))
    if independent == system.size:
        pytest.skip("conserves nothing")
    found = conservation(system)
    assert found.system.size <= independent
    laws_of_rates = system.size - found.system.size
    assert laws_of_rates >= system.size - independent
    path = tmp_path / "reduced.xml"
    path.write_bytes(write_reduction(found))
    again = read(path).system
    assert again is not None
    assert set(again.states) == set(found.system.states)
    compare(system, found, again)


def ruled_by_reactions(system: OdeSystem) -> bool:
    """No rate rules, and every compartment rests."""
    touched = {one.species for r in system.reactions for one in (*r.reactants, *r.products)}
    zero = system.graph.number(0)
    for name, rhs in zip(system.states, system.rhs, strict=True):
        quantity = system.quantities.get(name)
        if quantity is None or quantity.kind != "species":
            return False
        if (quantity.boundary or name not in touched) and rhs != zero:
            return False
    return True


def compare(system: OdeSystem, found: ReducedSystem, again: OdeSystem) -> None:
    """Trajectories from the file's initial values, and from others put into the initial assignments."""
    try:
        until = default_horizon(system) / 30
    except SbmlumpError as error:
        pytest.skip(f"cannot be simulated: {error}")
    start = system.initial_state()
    generator = np.random.default_rng(20240229)
    for x in (start, start * generator.uniform(0.5, 2.0, system.size)):
        expected = run(system, x, until)
        if expected is None or np.abs(expected).max() > 1e3 * np.abs(x).max():
            pytest.skip("the original runs away with these steps")
        moved = restarted(system, found, again, x)
        got = run(moved, moved.initial_state(), until)
        assert got is not None
        lifted = values(moved, list(system.states), got)
        # what is eliminated is a difference of totals: it is as exact as they are
        scale = np.maximum(np.abs(expected).max(axis=0), 1e-2 * np.abs(expected).max())
        np.testing.assert_array_less(np.abs(lifted - expected) / scale, _TOLERANCE)


def restarted(system: OdeSystem, found: ReducedSystem, again: OdeSystem, x: Array) -> OdeSystem:
    """The model read back, with other initial values of its states and of what holds those of eliminated ones."""
    index = system.state_index
    exact = {name: Fraction(repr(float(x[index[name]]))) for name in system.states}
    starts = {name: next(iter(row)) for name, row in found.map.starts.items()}
    new = {name: exact[name] for name in again.states}
    new |= {name: exact[state] for name, state in starts.items()}
    new |= {c.id: exact[c.id] for c in again.constants if c.id in index}
    return again.with_values(new)


def run(system: OdeSystem, x: Array, until: float) -> Array | None:
    """States at the ends of fixed steps, (steps + 1, n), by the method ROS2; ``None`` if they do not stay finite.

    A linearly implicit method with the exact Jacobian commutes with affine changes of variables and keeps linear
    invariants, so the same steps give the same states for both systems but for rounding, whatever the error of a
    step. Two adaptive integrations would only agree to the accuracy of the worse one.
    """
    times = time_points(until, _POINTS)
    gamma = 1.0 + np.sqrt(0.5)
    unit = np.eye(system.size)
    states = [x]
    with np.errstate(all="ignore"):
        for t, step in zip(times, np.diff(times), strict=False):
            x = states[-1]
            jacobian = system.jacobian(float(t), x).toarray()
            if not np.isfinite(jacobian).all():
                return None
            factors = lu_factor(unit - gamma * step * jacobian, check_finite=False)
            one = lu_solve(factors, system.rates(t, x), check_finite=False)
            two = lu_solve(factors, system.rates(t + step, x + step * one) - 2.0 * one, check_finite=False)
            x = x + step * (1.5 * one + 0.5 * two)
            if not np.isfinite(x).all():
                return None
            states.append(x)
    return np.array(states)


def values(system: OdeSystem, names: list[str], states: Array) -> Array:
    """Quantities of the reduced model along its run."""
    from sbmlump.expr.evaluate import Evaluator

    nodes = [system.definitions[name] for name in names]
    return Evaluator(system.graph, nodes, system.states, system.constant_values).values(0.0, states)
