"""Conservation laws of published models: as many states go as the rank says, and nothing else changes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve

from sbmlump.arrays import Array
from sbmlump.dynamics import time_grid, time_span_of
from sbmlump.errors import SbmlumpError
from sbmlump.linalg import rank
from sbmlump.methods import conservation
from sbmlump.model import ExactProof, OdeSystem, ReducedSystem, parse_observables
from sbmlump.proof import verify
from sbmlump.sbml import read_sbml, write_reduction
from sbmlump.structure import stoichiometry

_MAX_STATES = 100
_TOLERANCE = 1e-9
_POINTS = 60
_ROUNDING = 1e-15
_DETERMINED = 1e-10
_HORIZONS = (1 / 30, 1e-2, 1e-3, 1e-4)


@pytest.mark.sample(160)
def test_conservation_of_published_models(biomodels_file: Path, tmp_path: Path) -> None:
    """About a third of the files are suitable: reactions only, no events, laws that can be eliminated."""
    system = read_sbml(biomodels_file).system
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
    again = read_sbml(path).system
    assert again is not None
    assert set(again.states) == set(found.system.states)
    proof = verify(biomodels_file, path)
    assert isinstance(proof, ExactProof), proof
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
        end_time = time_span_of(system, parse_observables(system, list(system.states))).until
    except SbmlumpError as error:
        pytest.skip(f"cannot be simulated: {error}")
    start = system.initial_state()
    generator = np.random.default_rng(20240229)
    for x in (start, start * generator.uniform(0.5, 2.0, system.size)):
        until, expected = determined_run(system, x, end_time)
        if np.abs(expected).max() > 1e3 * np.abs(x).max():
            pytest.skip("the original runs away with these steps")
        moved = restarted(system, found, again, x)
        got = run(moved, moved.initial_state(), until)
        assert got is not None
        lifted = values(moved, list(system.states), got)
        # what is eliminated is a difference of totals: it is as exact as they are
        np.testing.assert_array_less(np.abs(lifted - expected) / size_of(expected), _TOLERANCE)


def determined_run(system: OdeSystem, x: Array, end_time: float) -> tuple[float, Array]:
    """The run over the longest of some time spans over which rounding does not decide how it goes, and its end.

    Chaotic oscillations and steps that are far too long for the model amplify the rounding of any computer; what is
    then computed is nobody's trajectory, whichever of the two systems it comes from. Two runs of the original tell:
    from a start that is 1e-15 off, and with its states in another order, which changes every sum and every pivot.
    """
    generator = np.random.default_rng(20240301)
    nearby = x * (1.0 + _ROUNDING * generator.choice([-1.0, 1.0], system.size))
    order = generator.permutation(system.size)
    for share in _HORIZONS:
        until = share * end_time
        runs = [run(system, x, until), run(system, nearby, until), run(system, x, until, order)]
        usable = [one for one in runs if one is not None]
        if len(usable) < len(runs):
            continue
        expected = usable[0]
        if all((np.abs(one - expected) / size_of(expected)).max() < _DETERMINED for one in usable[1:]):
            return until, expected
    # what could be proved was proved before; a pass here would say that trajectories were compared, which they were not
    pytest.skip("rounding decides how the original runs with these steps")


def size_of(states: Array) -> Array:
    """How large each state becomes, at least a hundredth of the largest."""
    size: Array = np.maximum(np.abs(states).max(axis=0), 1e-2 * np.abs(states).max())
    return size


def restarted(system: OdeSystem, found: ReducedSystem, again: OdeSystem, x: Array) -> OdeSystem:
    """The model read back, with other initial values of its states and of what holds those of eliminated ones."""
    index = system.state_index
    exact = {name: Fraction(repr(float(x[index[name]]))) for name in system.states}
    starts = {name: next(iter(row)) for name, row in found.map.starts.items()}
    new = {name: exact[name] for name in again.states}
    new |= {name: exact[state] for name, state in starts.items()}
    new |= {c.id: exact[c.id] for c in again.constants if c.id in index}
    return again.with_values(new)


def run(system: OdeSystem, x: Array, until: float, order: NDArray[np.intp] | None = None) -> Array | None:
    """States at the ends of fixed steps, (steps + 1, n), by the method ROS2; ``None`` if they do not stay finite.

    A linearly implicit method with the exact Jacobian commutes with affine changes of variables and keeps linear
    invariants, so the same steps give the same states for both systems but for rounding, whatever the error of a
    step. Two adaptive integrations would only agree to the accuracy of the worse one. With an ``order`` the linear
    equations are solved with the states in that order.
    """
    order = np.arange(system.size) if order is None else order
    times = time_grid(until, _POINTS)
    gamma = 1.0 + np.sqrt(0.5)
    unit = np.eye(system.size)
    states = [x]
    with np.errstate(all="ignore"):
        for t, step in zip(times, np.diff(times), strict=False):
            x = states[-1]
            jacobian = system.jacobian(float(t), x).toarray()[np.ix_(order, order)]
            if not np.isfinite(jacobian).all():
                return None
            factors = lu_factor(unit - gamma * step * jacobian, check_finite=False)
            one, two = np.empty_like(x), np.empty_like(x)
            one[order] = lu_solve(factors, system.rates(t, x)[order], check_finite=False)
            ahead = system.rates(t + step, x + step * one) - 2.0 * one
            two[order] = lu_solve(factors, ahead[order], check_finite=False)
            x = x + step * (1.5 * one + 0.5 * two)
            if not np.isfinite(x).all():
                return None
            states.append(x)
    return np.array(states)


def values(system: OdeSystem, names: list[str], states: Array) -> Array:
    """Quantities of the reduced model along its run."""
    from sbmlump.model import Evaluator

    nodes = [system.definitions[name] for name in names]
    return Evaluator(system.graph, nodes, system.states, system.constant_values).values(0.0, states)
