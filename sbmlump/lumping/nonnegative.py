"""Disjoint lumps with non-negative weights: the lifted state of such a reduction cannot become negative.

Each state belongs to at most one lump and is lifted to a fixed share of it. A reduced rate at y_i = 0 is Σ l_ij f_j at
a point where all members of lump i are zero, and there no member of a model of non-negative quantities can fall: so y_i
stays non-negative, and so do the shares. The price is in the error: directions that mix signs are not available.

Lumps are found by alternating least squares on the training runs, in units of each state's scale: given the courses
of the lumps each state goes to the one that it follows best (by a non-negative factor), weighed by how much the
observables depend on it; given the members a course is their best non-negative combination.

References
----------
Lee, Seung, Nature 401 (1999), doi 10.1038/44565 (non-negative factorisation); here with disjoint supports.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.lumping.approximate_problem import ReductionProblem
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.training import Sample, gradients

__all__ = ["non_negative_projection"]

Array = NDArray[np.float64]
_ROUNDS: Final = 60
_STARTS: Final = 6
_RUNS: Final = 3


def non_negative_projection(problem: ReductionProblem, sample: Sample, size: int, seed: int) -> Affine | None:
    """The projection with ``size`` states, or ``None`` if the observables leave no room.

    Observables must be non-negative combinations of disjoint states; each is a lump. Where one is a sum, its members
    share it.
    """
    c = problem.pinned_array()
    p, n = c.shape
    if size < p or size > n or (c < 0).any() or ((c > 0).sum(axis=0) > 1).any():
        return None
    s = sample.scale
    x = (sample.states / s).transpose(2, 0, 1).reshape(n, -1)
    weight = _weights(problem, sample)
    fixed = np.full(n, -1)
    for i in range(p):
        fixed[c[i] > 0] = i
    rest = np.flatnonzero(fixed < 0)
    best: tuple[float, NDArray[np.int64]] | None = None
    count = min(size - p, len(rest))
    for start in range(_STARTS if count else 1):
        rng = np.random.default_rng([seed, size, start, 0x99])
        owner = fixed.copy()
        if count:
            owner[rest] = p + _clusters(x[rest], weight[rest], count, rng)
        cost = _cost(x, weight, owner, size, c * s)
        if best is None or cost < best[0]:
            best = (cost, owner)
    assert best is not None
    return _projection(x, best[1], p + count, c, s, 1 + _offset_width(sample, problem))


def _offset_width(sample: Sample, problem: ReductionProblem) -> int:
    from sbmlump.lumping.training import conserved_totals

    return len(conserved_totals(problem, sample.scale))


def _weights(problem: ReductionProblem, sample: Sample) -> Array:
    """How much a relative change of each state moves the observables, largest over a few runs, above a floor."""
    adjoint, _ = gradients(sample, problem.pinned_array(), min(_RUNS, len(sample.states)))
    moved = np.abs(adjoint).max(axis=(0, 1, 2, 3)) * sample.scale
    return np.asarray(np.maximum(moved / max(float(moved.max(initial=0.0)), 1e-300), 1e-3))


def _clusters(x: Array, weight: Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Alternating least squares; an empty lump takes the worst explained state."""
    size = np.linalg.norm(x, axis=1)
    unit = x / np.where(size > 0, size, 1.0)[:, None]
    courses = unit[rng.choice(len(x), count, replace=False, p=weight / weight.sum())]
    owner = np.zeros(len(x), dtype=np.int64)
    for _ in range(_ROUNDS):
        fit = np.maximum(unit @ courses.T, 0.0)
        new = fit.argmax(axis=1)
        missed = weight * size * np.sqrt(np.maximum(1 - fit.max(axis=1) ** 2, 0.0))
        for i in range(count):
            if not (new == i).any():
                worst = int(missed.argmax())
                new[worst], missed[worst] = i, -1.0
        if (new == owner).all():
            break
        owner = new
        for i in range(count):
            course = (weight[owner == i, None] * x[owner == i]).sum(axis=0)
            norm = np.linalg.norm(course)
            courses[i] = course / norm if norm > 0 else unit[owner == i][0]
    return owner


def _cost(x: Array, weight: Array, owner: NDArray[np.int64], size: int, c: Array) -> float:
    total = 0.0
    for i in range(size):
        mine = owner == i
        if not mine.any():
            continue
        course = (c[i, mine] if i < len(c) else weight[mine]) @ x[mine]
        energy = float(course @ course)
        share = np.maximum(x[mine] @ course / energy, 0.0) if energy > 0 else np.zeros(int(mine.sum()))
        total += float((weight[mine, None] ** 2 * (x[mine] - share[:, None] * course) ** 2).sum())
    return total


def _projection(x: Array, owner: NDArray[np.int64], size: int, c: Array, s: Array, width: int) -> Affine:
    """L with one weight vector a lump, L̄ with shares; scaled so that LL̄ = I."""
    n = len(owner)
    matrix, lift = np.zeros((size, n)), np.zeros((n, size))
    for i in range(size):
        mine = np.flatnonzero(owner == i)
        row = c[i, mine] * s[mine] if i < len(c) else np.ones(len(mine)) / max(len(mine), 1)
        course = row @ x[mine]
        energy = float(course @ course)
        share = np.maximum(x[mine] @ course / energy, 0.0) if energy > 0 else np.ones(len(mine))
        total = float(row @ share)
        share = share / total if total > 0 else np.ones(len(mine)) / max(float(row.sum()), 1e-300)
        matrix[i, mine] = row / s[mine]
        lift[mine, i] = share * s[mine]
    return Affine(matrix, lift, np.zeros((n, width)), f"non-negative, {size} disjoint lumps")
