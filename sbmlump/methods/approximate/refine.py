"""Refinement of a projection by Levenberg–Marquardt on the errors of the training runs.

All of L₂, L̄ and G move, within LL̄ = I, LG = 0 and the pinned rows. The derivative of every error at every end time with
respect to all of them comes from one backward recursion of the small system: a change δL, δL̄, δG changes the reduced
right-hand side by δL f(x̂) + LJ(x̂)(δL̄ y + δG w), and the reduced adjoint carries that to the end times.

A start that does not get through is followed as far as it goes: the time span of the objective grows as it improves.

References
----------
Levenberg, Quart. Appl. Math. 2 (1944), doi 10.1090/qam/10666; Marquardt, SIAM J. 11 (1963), doi 10.1137/0111030.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics import StepControl
from sbmlump.dynamics.budget import PRODUCT
from sbmlump.dynamics.rosenbrock import advance
from sbmlump.dynamics.solve import exponentials, sweep_back
from sbmlump.dynamics.vector_field import at_time_zero
from sbmlump.methods.approximate.balanced import Affine
from sbmlump.methods.approximate.search import Search, lifted_field

__all__ = ["refine"]


Array = NDArray[np.float64]
_RANKS: Final = (0, 3, 10, 25, 60, 150)
"""Dampings to try: the squares of these singular values of the Jacobian, so that so many directions move freely."""
_LENGTHS: Final = (1.0, 0.3)
_GIVE_UP: Final = 2.0
_POINTS: Final = 100
_STEPS: Final = 400
_RUNS: Final = 72
_END_TIMES: Final = 16
_LOOK_BACK: Final = 3
_SHARPNESS: Final = 4.0  # the errors are weighed by their own size, so that the worst ones count most


@dataclass(frozen=True, slots=True)
class _State:
    """A projection with what its runs look like: reduced paths (r, m, k), errors (r, m, p), how far all came."""

    map: Affine
    paths: Array
    errors: Array
    alive: int
    steps: int = 0

    def cost(self, upto: int) -> float:
        """Norm of the errors of the first points, the larger the error the more it counts."""
        if upto > self.alive:
            return np.inf
        return float(np.mean(np.abs(self.errors[:, :upto]) ** _SHARPNESS) ** (1 / _SHARPNESS))


class _Refinement:
    def __init__(self, search: Search) -> None:
        training = search.training
        self.search = search
        self.field = training.vector_field
        step = max(1, len(training.times) // _POINTS)
        index = np.unique(np.concatenate([np.arange(0, len(training.times), step), [len(training.times) - 1]]))
        self.rows = np.arange(min(_RUNS, len(training.states)))
        self.times = training.times[index]
        self.states = training.states[np.ix_(self.rows, index)]
        self.constants = search.constants[self.rows]
        self.numbers = training.numbers[self.rows]
        self.scale = training.scale
        self.pinned = search.problem.pinned_array()
        self.wanted = self.states @ self.pinned.T
        size = np.abs(self.wanted).max(axis=(1))
        self.size = np.maximum(size, 1e-12 * max(float(size.max(initial=0.0)), 1e-300))

    # -- simulation --------------------------------------------------------------------------------

    def states_of(self, maps: list[Affine], give_up: float = _GIVE_UP, steps: int = _STEPS) -> list[_State]:
        """Simulate candidates side by side; runs that are off by more than ``give_up`` are not followed further."""
        r, p = len(self.rows), self.pinned.shape[0]
        field = lifted_field(self.field, maps, self.constants, self.numbers)
        starts = np.concatenate([self.states[:, 0] @ m.matrix.T for m in maps])
        magnitude = np.ones(maps[0].size)
        magnitude[:p] = np.abs(self.wanted).max(axis=(0, 1), initial=0.0)
        if field.timed:
            starts = at_time_zero(starts, True)
            magnitude = np.append(magnitude, self.times[-1])
        failed = np.full(len(starts), len(self.times))

        def watch(places: NDArray[np.int64], index: NDArray[np.int64], values: Array) -> NDArray[np.bool_]:
            off = np.abs(values[:, :p] - self.wanted[places % r, index]) / self.size[places % r]
            bad = ~(off.max(axis=1, initial=0.0) < give_up)
            failed[places[bad]] = np.minimum(failed[places[bad]], index[bad])
            return np.asarray(bad)

        tolerances = StepControl(1e-5, 1e-7 * magnitude, steps)
        runs = advance(field, starts, self.times, None, tolerances, watch, self.search.budget)
        paths = runs.states[:, :, : maps[0].size].reshape(len(maps), r, len(self.times), -1)
        finite = np.isfinite(paths).all(axis=3)
        finite &= np.arange(len(self.times)) < failed.reshape(len(maps), r, 1)
        alive = np.where(finite.all(axis=2), len(self.times), np.argmin(finite, axis=2)).min(axis=1)
        errors = (paths[..., :p] - self.wanted) / self.size[:, None, :]
        return [
            _State(m, path, error, int(a), runs.steps)
            for m, path, error, a in zip(maps, paths, errors, alive, strict=True)
        ]

    # -- derivative ----------------------------------------------------------------------------------

    def step(self, state: _State) -> list[Affine]:
        """A Levenberg–Marquardt step for each damping and length."""
        m = state.alive
        count = min(_END_TIMES, m - 1)
        ends = np.unique(np.linspace(1, m - 1, count).round().astype(np.int64))
        self.search.budget.add(self._step_work(state.map.size, m, len(ends)))
        slopes = self._jacobian(state, ends)
        if slopes is None or not np.isfinite(slopes[0]).all():
            return []
        jacobian, residual = slopes
        weight = np.abs(residual) ** (_SHARPNESS / 2 - 1)
        top = weight.max(initial=0.0)
        weight = np.maximum(weight / top, 1e-2) if top > 0 else np.ones_like(weight)
        jacobian, residual = jacobian * weight[:, None], residual * weight
        wide = len(jacobian) < jacobian.shape[1]
        values, vectors = np.linalg.eigh(jacobian @ jacobian.T if wide else jacobian.T @ jacobian)
        values = np.maximum(values[::-1], 0.0)
        vectors = vectors[:, ::-1]
        onto = vectors.T @ (residual if wide else jacobian.T @ residual)
        found = []
        for rank in _RANKS:
            if rank >= len(values) or values[rank] <= 1e-14 * values[0]:
                break
            change = -(vectors @ (onto / (values + values[rank])))
            change = jacobian.T @ change if wide else change
            moved = [self._moved(state.map, length * change) for length in _LENGTHS]
            found += [one for one in moved if one is not None]
        return found

    def _step_work(self, k: int, m: int, ends: int) -> float:
        """Operations of a step: Jacobians along the runs, what they carry to the ends, and an eigenproblem."""
        r, p, n = len(self.rows), len(self.pinned), len(self.scale)
        rows, columns = r * ends * p, (2 * k - p) * n + n * self.constants.shape[1]
        least = min(rows, columns)
        along = r * m * (0.25 * self.field.step_work(k).point + 1.5 * PRODUCT * ends * p * k * n)
        return float(along + 0.5 * PRODUCT * rows * columns * least + 2.5 * PRODUCT * least**3)

    def _jacobian(self, state: _State, ends: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Derivatives of scaled errors by the free changes of (L₂, L̄, G), rows: runs × ends × pinned."""
        one, s = state.map, self.scale
        r, p, k, n = len(self.rows), len(self.pinned), one.size, len(self.scale)
        last = int(ends[-1])
        times = self.times[: last + 1]
        h = np.diff(times)
        y = state.paths[:, : last + 1]
        middle, w = 0.5 * (y[:, :-1] + y[:, 1:]), self.constants
        x = middle @ one.lift.T + (w @ one.offset.T)[:, None, :]
        points = x.reshape(-1, n)
        if self.field.timed:
            clock = np.tile(0.5 * (times[:-1] + times[1:]), r)[:, None]
            points = np.concatenate([points, clock], axis=1)
        numbers = np.repeat(self.numbers, last)
        f = self.field.rates(points, numbers)[:, :n].reshape(r, last, n) / s
        rows = np.zeros((len(points), k, self.field.size))
        rows[:, :, :n] = one.matrix
        lj = self.field.left_products(points, numbers, rows)[:, :, :n].reshape(r, last, k, n)
        try:
            phi, psi = exponentials((lj @ one.lift) * h[:, None, None], np.broadcast_to(h, (r, last)))
        except np.linalg.LinAlgError:
            return None
        tips = np.zeros((r, len(ends), p, k))
        tips[:, :, np.arange(p), np.arange(p)] = 1.0 / self.size[:, None, :]
        adjoint = sweep_back(phi, ends, tips).reshape(r, last + 1, -1, k)
        carried = adjoint[:, 1:] @ psi  # (r, last, E·p, k)
        onto = carried @ (lj * s)  # (r, last, E·p, n)
        by_l = np.einsum("rtek,rtn->rekn", carried, f, optimize=True)
        by_l += adjoint[:, 0, :, :, None] * (self.states[:, 0] / s)[:, None, None, :]
        by_lift = np.einsum("rten,rtk->renk", onto, middle, optimize=True)
        by_offset = onto.sum(axis=1)[..., None] * w[:, None, None, :]
        return self._tangent(one, by_l, by_lift, by_offset), self._residual(state, ends)

    def _tangent(self, one: Affine, by_l: Array, by_lift: Array, by_offset: Array) -> Array:
        """Free changes only: dL̄ = −L̄ dL L̄ + QZ, dG = −L̄ dL G + QZ_w with Q = I − L̄L."""
        s = self.scale
        matrix, lift, offset = one.matrix * s, one.lift / s[:, None], one.offset / s[:, None]
        p = len(self.pinned)
        q = np.eye(len(s)) - lift @ matrix
        by_l = by_l - np.einsum("nk,renj,mj->rekm", lift, by_lift, lift, optimize=True)
        by_l = by_l - np.einsum("nk,renw,mw->rekm", lift, by_offset, offset, optimize=True)
        parts = [by_l[:, :, p:], np.einsum("nm,renk->remk", q, by_lift), np.einsum("nm,renw->remw", q, by_offset)]
        return np.concatenate([part.reshape(part.shape[0] * part.shape[1], -1) for part in parts], axis=1)

    def _residual(self, state: _State, ends: NDArray[np.int64]) -> Array:
        return np.asarray(state.errors[:, ends].reshape(-1))

    def _moved(self, one: Affine, change: Array) -> Affine | None:
        """The projection after a change, brought back onto the constraints."""
        s, p = self.scale, len(self.pinned)
        matrix, lift, offset = one.matrix * s, one.lift / s[:, None], one.offset / s[:, None]
        k, n = matrix.shape
        a, b = (k - p) * n, (k - p) * n + n * k
        q = np.eye(n) - lift @ matrix
        d_l = np.zeros((k, n))
        d_l[p:] = change[:a].reshape(k - p, n)
        d_lift = -lift @ d_l @ lift + q @ change[a:b].reshape(n, k)
        d_offset = -lift @ d_l @ offset + q @ change[b:].reshape(n, -1)
        l2, c = matrix[p:] + d_l[p:], matrix[:p]
        lift, offset = lift + d_lift, offset + d_offset
        right = np.linalg.pinv(c)
        try:
            free = lift[:, p:] - right @ (c @ lift[:, p:])
            free = free @ np.linalg.inv(l2 @ free)
        except np.linalg.LinAlgError:
            return None
        g = lift[:, :p] + right @ (np.eye(p) - c @ lift[:, :p])
        offset = offset - right @ (c @ offset)
        lift = np.concatenate([g - free @ (l2 @ g), free], axis=1)
        offset = offset - free @ (l2 @ offset)
        matrix = np.concatenate([c, l2])
        if not (np.isfinite(matrix).all() and np.isfinite(lift).all() and np.isfinite(offset).all()):
            return None
        moved = Affine(matrix / s, lift * s[:, None], offset * s[:, None], one.label)
        return self.search.normalised(moved)


def refine(
    search: Search,
    start: Affine,
    iterations: int = 20,
    target: float = 0.0,
    progress: Callable[[str], None] = lambda _: None,
    wanted: float | None = None,
) -> Affine:
    """Improve a candidate.

    Parameters
    ----------
    search : Search
    start : Affine
    iterations : int
    target : float
        Stop when the largest scaled error over the training runs is below this.
    wanted : float, optional
        Stop when the error does not fall fast enough to come below this in the steps that are left.
    """
    job = _Refinement(search)
    state = job.states_of([start])[0]
    full = len(job.times)
    idle = 0
    steps = state.steps
    course: list[float] = []
    for iteration in range(iterations):
        if state.alive < 3 or idle >= 3:
            break
        progress(f"refining, step {iteration + 1}")
        moved = job.step(state)
        if not moved:
            break
        through = state.alive == full
        worst = float(np.abs(state.errors).max(initial=0.0)) if through else 0.0
        if through:
            course.append(worst)
            if wanted is not None and _hopeless(course, wanted, iterations - iteration):
                break
            tried = job.states_of(moved, min(_GIVE_UP, 2.0 * worst + 1e-3), min(_STEPS, max(150, 2 * steps)))
        else:
            tried = job.states_of(moved)
        best = max(tried, key=lambda one: (one.alive, -one.cost(one.alive)))
        same = min(tried, key=lambda one: one.cost(state.alive))
        old = state.cost(state.alive)
        if best.alive > state.alive and best.cost(state.alive) < 2 * old + 1e-3:
            state, idle = best, 0
            continue
        new = same.cost(state.alive)
        if not new < old:
            break
        idle = idle + 1 if new > 0.98 * old else 0
        state = same
        if state.alive == full and float(np.abs(state.errors).max(initial=0.0)) < target:
            break
    return replace(state.map, label=f"{start.label}, refined")


def _hopeless(course: list[float], wanted: float, left: int) -> bool:
    """Whether the error, falling twice as fast as in the last steps, would still be above what is wanted."""
    if len(course) <= _LOOK_BACK or course[-1] <= wanted:
        return False
    rate = (course[-1] / course[-1 - _LOOK_BACK]) ** (2 / _LOOK_BACK)
    return bool(course[-1] * min(rate, 1.0) ** left > wanted)
