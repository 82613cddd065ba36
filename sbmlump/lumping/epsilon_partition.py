"""ε-variants of forward and backward equivalence, for comparison.

Two states may be in one block of a forward ε-equivalence if their effects on every block's rate differ by at most ε,
and in one block of a backward one if their rates differ by at most ε wherever states of one block have one value. Both
are looked at in a number of random points of the range of the runs (forward: columns of the Jacobian of the block
sums; backward: rates); ε is relative to the largest entry that is compared.

Refinement splits a block by clustering what is compared: states are taken in their order and join the first cluster
whose first member is within ε (the relation "within ε" is not transitive, so the order matters and is fixed).

References
----------
Cardelli, Tribastone, Tschaikowski, Vandin, PNAS 114 (2017), doi 10.1073/pnas.1702697114 (the equivalences);
Cardelli, Tribastone, Tschaikowski, Vandin, Theor. Comput. Sci. 777 (2019) (the approximate ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate.fields import VectorField
from sbmlump.lumping.balanced import Affine

__all__ = ["Kind", "bisect_epsilon", "block_projection", "epsilon_partition"]

Array = NDArray[np.float64]
Blocks = tuple[tuple[int, ...], ...]
Kind = Literal["forward", "backward"]
_POINTS: Final = 24


def epsilon_partition(
    field: VectorField, scale: Array, pinned: Array, tolerance: float, kind: Kind, *, seed: int = 0
) -> Blocks:
    """The coarsest partition that refinement finds.

    Parameters
    ----------
    field : Field
    scale : array (n,)
        Of the states: points are drawn from 0.1 to 1 times it.
    pinned : array (p, n)
        The partition starts from the states that have equal coefficients in all observables.
    tolerance : float
        ε ≥ 0, relative to the largest difference that occurs.
    kind : str
        ``forward`` or ``backward``.
    seed : int
        Of the points at which right-hand sides and Jacobians are compared.
    """
    n = len(scale)
    blocks = _by_value(np.round(pinned.T, 12), 0.0, [tuple(range(n))])
    rng = np.random.default_rng([seed, 0xE5])
    while True:
        points = rng.uniform(0.1, 1.0, (_POINTS, n)) * scale
        features = _forward(field, blocks, points) if kind == "forward" else _backward(field, blocks, points)
        level = float(np.abs(features).max(initial=0.0))
        finer = _by_value(features, tolerance * level + 1e-12 * level, blocks)
        if len(finer) == len(blocks):
            return tuple(blocks)
        blocks = finer


def _clocked(field: VectorField, points: Array) -> Array:
    return np.concatenate([points, np.zeros((len(points), 1))], axis=1) if field.timed else points


def _forward(field: VectorField, blocks: Sequence[tuple[int, ...]], points: Array) -> Array:
    """For each state its column in the Jacobian of the block sums at every point, (n, features)."""
    n = points.shape[1]
    rows = np.zeros((len(points), len(blocks), field.size))
    for i, block in enumerate(blocks):
        rows[:, i, list(block)] = 1.0
    columns = field.left_products(_clocked(field, points), np.zeros(len(points), dtype=np.int64), rows)[:, :, :n]
    return np.ascontiguousarray(columns.transpose(2, 0, 1).reshape(n, -1))


def _backward(field: VectorField, blocks: Sequence[tuple[int, ...]], points: Array) -> Array:
    """For each state its rate at points where the states of a block have one value, (n, points)."""
    n = points.shape[1]
    flat = points.copy()
    for block in blocks:
        flat[:, list(block)] = flat[:, [block[0]]]
    rates = field.rates(_clocked(field, flat), np.zeros(len(points), dtype=np.int64))[:, :n]
    return np.ascontiguousarray(rates.T)


def bisect_epsilon(
    field: VectorField, scale: Array, pinned: Array, max_size: int, kind: Kind, *, seed: int = 0, steps: int = 24
) -> tuple[Blocks, float]:
    """The finest partition of at most ``max_size`` blocks that bisection over ε sees, and its ε.

    Sizes need not fall as ε grows; the largest seen is kept. If even the coarsest has more blocks, it is returned.
    """
    low, high = 0.0, 2.0
    best = (epsilon_partition(field, scale, pinned, high, kind, seed=seed), high)
    for _ in range(steps):
        middle = 0.5 * (low + high) if low > 0 else high / 4
        found = epsilon_partition(field, scale, pinned, middle, kind, seed=seed)
        if len(found) > max_size:
            low = middle
            continue
        high = middle
        if len(found) > len(best[0]) or len(best[0]) > max_size:
            best = (found, middle)
        if len(found) == max_size:
            break
    return best


def _by_value(features: Array, tolerance: float, blocks: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    finer: list[tuple[int, ...]] = []
    for block in blocks:
        leaders: list[int] = []
        groups: list[list[int]] = []
        for state in block:
            for leader, group in zip(leaders, groups, strict=True):
                if np.abs(features[state] - features[leader]).max(initial=0.0) <= tolerance:
                    group.append(state)
                    break
            else:
                leaders.append(state)
                groups.append([state])
        finer += [tuple(group) for group in groups]
    return finer


def block_projection(
    blocks: Blocks, kind: Kind, start: Array, pinned: Array, tolerance: float, width: int = 1
) -> Affine:
    """The lumping of a partition, in a basis that begins with the pinned rows.

    Forward: sums, lifted in the proportions of the start. Backward: averages, lifted to equal members.
    """
    n = sum(len(block) for block in blocks)
    matrix, lift = np.zeros((len(blocks), n)), np.zeros((n, len(blocks)))
    for i, block in enumerate(blocks):
        members = list(block)
        if kind == "forward":
            matrix[i, members] = 1.0
            total = float(start[members].sum())
            lift[members, i] = start[members] / total if total > 0 else 1.0 / len(members)
        else:
            matrix[i, members] = 1.0 / len(members)
            lift[members, i] = 1.0
    basis = _begin_with(pinned @ lift)
    label = f"{kind} equivalence, ε={tolerance:.6g}"
    return Affine(basis @ matrix, lift @ np.linalg.inv(basis), np.zeros((n, width)), label)


def _begin_with(first: Array) -> Array:
    """An invertible matrix whose first rows are given, completed by unit rows."""
    from scipy.linalg import qr

    p, k = first.shape
    _, _, order = qr(first, mode="economic", pivoting=True)
    rest = np.sort(order[p:])
    return np.concatenate([first, np.eye(k)[rest]])
