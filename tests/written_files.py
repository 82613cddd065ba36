"""Two model files held against each other by lumps and by every id that both define."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import sbmlump
from sbmlump.arrays import Array
from sbmlump.model import ErrorEstimate, Evaluator, Lump, OdeSystem
from sbmlump.sbml import write_reduction, write_system


def holds_in_files(found: sbmlump.ReducedSystem, folder: Path, until: float) -> bytes:
    """The written reduction, whose error by libRoadRunner from the two files has to be at most 1.5 times the claim."""
    assert isinstance(found.certificate, ErrorEstimate)
    original, small = folder / "original.xml", folder / "small.xml"
    original.write_bytes(write_system(found.original))
    small.write_bytes(write_reduction(found))
    report = sbmlump.compare(original, small, until=until)
    assert report.max_relative_error <= 1.5 * found.certificate.worst_error
    return small.read_bytes()


def trajectory(system: OdeSystem, names: list[str], until: float, steps: int = 8) -> Array:
    """Values of ids by the classical Runge–Kutta method, which commutes with linear maps whatever the step."""
    h = until / steps
    x = system.initial_state()
    points = [x]
    for k in range(steps):
        t = k * h
        k1 = system.rates(t, x)
        k2 = system.rates(t + h / 2, x + h / 2 * k1)
        k3 = system.rates(t + h / 2, x + h / 2 * k2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + system.rates(t + h, x + h * k3))
        points.append(x)
    nodes = [system.definitions[name] for name in names]
    return Evaluator(system.graph, nodes, system.states, system.constant_values).values(0.0, np.array(points))


def worst_difference(before: OdeSystem, after: OdeSystem, lumps: Sequence[Lump]) -> float:
    """Largest relative difference of the lumps and of the ids that both define, from time 0 on."""
    names = sorted(set(before.definitions) & set(after.definitions))
    fastest = max(1.0, float(np.abs(before.jacobian(0.0, before.initial_state()).toarray()).sum(axis=1).max()))
    until = 8.0 / fastest
    first, second = (trajectory(one, names, until) for one in (before, after))
    whole = trajectory(before, list(before.states), until)
    place = before.state_index
    rows = np.array([[float(lump.members.get(name, 0)) for name in place] for lump in lumps]).reshape(-1, len(place))
    first = np.hstack([first, whole @ rows.T])
    second = np.hstack([second, trajectory(after, [lump.id for lump in lumps], until)])
    size = np.abs(first).max(axis=0, initial=1e-6)
    return float((np.abs(first - second) / size).max(initial=0.0))
