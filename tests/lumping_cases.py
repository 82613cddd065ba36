"""Small systems for the tests of the lumping, written as text: what to write where, one line a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from sbmlump.methods import Descent
from sbmlump.model import Assigned, Constant, Graph, Node, OdeSystem, ReducedSystem, parse_expression
from sbmlump.proof import Claim, LumpedStates


def make(
    rates: Mapping[str, str],
    start: Mapping[str, object] | None = None,
    constants: Mapping[str, object] | None = None,
    assigned: Mapping[str, str] | None = None,
) -> OdeSystem:
    """A system from infix text; ``time`` is time, and every number may be text over constants."""
    graph = Graph()
    constants, assigned, start = constants or {}, assigned or {}, start or {}
    names: dict[str, Node] = {name: graph.symbol(name) for name in (*rates, *constants)}
    names["time"] = graph.time()
    for name, text in assigned.items():
        names[name] = parse_expression(graph, text, names)

    def node(value: object) -> Node:
        return parse_expression(graph, str(value), names)

    return OdeSystem(
        graph=graph,
        states=tuple(rates),
        initial=tuple(node(start.get(name, i + 1)) for i, name in enumerate(rates)),
        rhs=tuple(node(text) for text in rates.values()),
        constants=tuple(Constant(name, node(value), isinstance(value, str)) for name, value in constants.items()),
        assigned=tuple(Assigned(name, names[name]) for name in assigned),
        id="case",
    )


def claim_of(reduction: ReducedSystem, symbolic: frozenset[str] = frozenset()) -> Claim:
    """What a reduction claims, as it would be read from its file."""

    def named(row: Mapping[int, Fraction]) -> dict[str, Fraction]:
        return {reduction.original.states[j]: value for j, value in row.items()}

    names = reduction.system.states
    lumping = LumpedStates(
        {lump.id: dict(lump.members) for lump in reduction.lumps},
        {name: named(row) for name, row in zip(names, reduction.map.lift.rows, strict=True)},
        named(reduction.map.offset),
    )
    observables = {o.id: o.expression for o in reduction.observables}
    return Claim(reduction.original, reduction.system, lumping, observables, symbolic)


def with_map(claim: Claim, **changes: object) -> Claim:
    """The claim with other parts of the map between the states."""
    return replace(claim, map=replace(claim.map, **changes))


def numeric_size(system: OdeSystem, gradients: Sequence[Sequence[float]], samples: int = 12, seed: int = 5) -> int:
    """Dimension of the smallest invariant row space by SVD at random points (no exact arithmetic, no hashes)."""
    return len(numeric_space(system, gradients, samples, seed))


def numeric_space(
    system: OdeSystem, gradients: Sequence[Sequence[float]], samples: int = 12, seed: int = 5
) -> np.ndarray:
    """Orthonormal rows of that space."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(0.3, 2.7, (samples, system.size))
    times = generator.uniform(0.1, 3.0, samples)
    jacobians = [system.jacobian(float(t), x).toarray() for t, x in zip(times, points, strict=True)]
    space = orthonormal(np.asarray(gradients, dtype=float))
    while True:
        grown = orthonormal(np.vstack([space, *(space @ j for j in jacobians)]))
        if len(grown) == len(space):
            return grown
        space = grown


def orthonormal(rows: np.ndarray) -> np.ndarray:
    """Basis of the row space, singular values below 1e-8 of the largest taken as zero."""
    lengths = np.linalg.norm(rows, axis=1)
    rows = rows[lengths > 1e-12] / lengths[lengths > 1e-12, None]
    if not len(rows):
        return rows
    _, sizes, v = np.linalg.svd(rows, full_matrices=False)
    return v[sizes > 1e-8 * sizes[0]]


def assert_derivative(descent: Descent[Any], start: Any, ends: Sequence[int], changes: int, seed: int) -> None:
    """The derivative of the errors at some times, against their differences for random changes of all that is free."""
    state = descent.states_of([start])[0]
    places = np.array([*ends, len(descent.times) - 1])
    jacobian = descent.derivatives(state.map, state.paths, places)
    rng = np.random.default_rng(seed)
    for _ in range(changes):
        change = rng.standard_normal(jacobian.shape[1])
        size = 1e-3 / np.linalg.norm(jacobian @ change)
        both = [descent.moved(start, sign * size * change) for sign in (1, -1)]
        moved = descent.states_of([one for one in both if one is not None])
        got = (moved[0].errors[:, places] - moved[1].errors[:, places]).reshape(-1) / (2 * size)
        wanted = jacobian @ change
        assert np.abs(got - wanted).max() <= 0.03 * np.abs(wanted).max()
