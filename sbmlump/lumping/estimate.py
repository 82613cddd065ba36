"""The error of a reduction estimated from the reduced runs alone; and the published bound.

Let x̂ = My + Nw be any lift of the reduced run that agrees with it in the observables; the residual ρ = f(x̂) − Mẏ is
what the full equations would do and the reduced ones cannot (for M = L̄ it is (I − L̄L) f(x̂)). The error e = x − x̂ obeys
e' = f(x̂ + e) − f(x̂) + ρ, e(0) = x(0) − x̂(0). While it is small, f(x̂ + e) − f(x̂) is J(x̂)e, and the equation is solved
for all times at once by the propagators of J along x̂. Where some state is lifted to a place that is not close to it,
although what is observed is hardly touched by that, the equation is followed step by step with the Jacobian half-way
between x̂ and x̂ + e (which is exact for right-hand sides of degree two). Both are done on the output times by an
exponential method of second order. This is an estimate, not a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate import Jump
from sbmlump.integrate.adjoint import exponentials, propagators
from sbmlump.integrate.multistep import forward_large
from sbmlump.integrate.solve import MAX_DENSE
from sbmlump.lumping.approximate_problem import ReductionProblem
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.training import Sample

__all__ = ["Bound", "closest_lift", "deviation", "error_bound", "estimate_errors"]

Array = NDArray[np.float64]
_RIDGE: Final = 1e-10
_CLOSE: Final = 0.02  # of the magnitude of each state: smaller errors are followed by the Jacobian along x̂


def estimate_errors(
    problem: ReductionProblem,
    one: Affine,
    constants: Array,
    sample: Sample,
    reduced: Array,
    runs: int,
    lift: tuple[Array, Array] | None = None,
) -> Array:
    """Estimated largest relative error of the pinned quantities, for the first ``runs`` runs.

    Parameters
    ----------
    problem : Problem
    one : Affine
        Gives the reduced rates.
    constants : array (r, 1 + c)
        w of each run.
    sample : Sample
        Only its starts, times, field and jumps are used.
    reduced : array (r, m, k)
        Reduced trajectories.

    lift : (M, N), optional
        A lift that stays close to the trajectories, see :func:`closest_lift`; (L̄, G) if absent.

    Returns
    -------
    array (runs,)
        NaN where a reduced run failed, or the error equation has no finite solution.
    """
    c = problem.pinned_array()
    found = np.full(runs, np.nan)
    alive = np.flatnonzero(np.isfinite(reduced[:runs]).all(axis=(1, 2)))
    if not len(alive):
        return found
    paths = _Paths.of(one, constants, sample, reduced, alive, lift)
    errors = np.stack([paths.linear(i) for i in range(len(alive))])
    with np.errstate(all="ignore"):
        far = np.flatnonzero(~(np.abs(errors / sample.scale).max(axis=(1, 2)) < _CLOSE))
    if len(far) and sample.field.size <= MAX_DENSE:
        errors[far] = paths.followed(far)
    for i, error in zip(alive.tolist(), errors, strict=True):
        if not np.isfinite(error).all():
            continue
        moved = error @ c.T
        size = np.abs(paths.states[alive == i][0] @ c.T + moved).max(axis=0)
        found[i] = float((np.abs(moved).max(axis=0) / np.where(size > 0, size, 1.0)).max(initial=0.0))
    return found


@dataclass(frozen=True)
class _Paths:
    """Lifted runs x̂ (r, m, n), their velocities Mẏ, their residuals ρ, and e(0) (r, n)."""

    sample: Sample
    projector: Array
    numbers: NDArray[np.int64]
    states: Array
    velocity: Array
    residual: Array
    first: Array

    @classmethod
    def of(
        cls,
        one: Affine,
        constants: Array,
        sample: Sample,
        reduced: Array,
        alive: NDArray[np.int64],
        lift: tuple[Array, Array] | None,
    ) -> _Paths:
        m, shift = lift if lift is not None else (one.lift, one.offset)
        y, w, numbers = reduced[alive], constants[alive], sample.numbers[alive]
        n = len(sample.scale)

        def rates(points: Array) -> Array:
            flat = sample.clocked(points).reshape(-1, sample.field.size)
            return sample.field.rates(flat, np.repeat(numbers, len(sample.times)))[:, :n].reshape(points.shape)

        x = y @ m.T + (w @ shift.T)[:, None, :]
        f = rates(x)
        own = f if lift is None else rates(y @ one.lift.T + (w @ one.offset.T)[:, None, :])
        velocity = (own @ one.matrix.T) @ m.T
        return cls(sample, m @ one.matrix, numbers, x, velocity, f - velocity, sample.starts[alive] - x[:, 0])

    def linear(self, i: int) -> Array:
        """e along run ``i`` by the Jacobian along x̂, (m, n)."""
        points = self.sample.clocked(self.states[i][None])[0]
        force = _padded(self.residual[i], points)
        try:
            return self._propagated(i, points, force)
        except np.linalg.LinAlgError:
            return np.full(self.states[i].shape, np.nan)

    def _propagated(self, i: int, points: Array, force: Array) -> Array:
        field, times, run = self.sample.field, self.sample.times, int(self.numbers[i])
        n = self.states.shape[2]
        error = np.zeros(points.shape)
        error[0, :n] = self.first[i]
        if field.size > MAX_DENSE:
            return forward_large(field, run, times, points, force, error[0])[:, :n]
        resets = _resets(self.sample)
        phi, psi = propagators(field, run, times, points)
        for j in range(len(times) - 1):
            error[j + 1] = phi[j] @ error[j] + psi[j] @ (0.5 * (force[j] + force[j + 1]))
            if j + 1 in resets:
                before = phi[j] @ error[j] + psi[j] @ force[j]
                error[j + 1] = self._reset(resets[j + 1], points[j][None], before[None], self.numbers[i : i + 1])[0]
        return error[:, :n]

    def followed(self, rows: NDArray[np.int64]) -> Array:
        """e along some runs step by step, with the Jacobian half-way to x̂ + e, (rows, m, n)."""
        sample, numbers = self.sample, self.numbers[rows]
        field, times = sample.field, sample.times
        n = self.states.shape[2]
        points = sample.clocked(self.states[rows])
        width = points.shape[2] - n
        velocity = np.pad(self.velocity[rows], ((0, 0), (0, 0), (0, width)), constant_values=1.0)
        force = np.pad(self.residual[rows], ((0, 0), (0, 0), (0, width)))
        steps = np.diff(times)
        shape = (1, -1, 1)
        middles = 0.5 * (points[:, :-1] + points[:, 1:])
        middles = middles + steps.reshape(shape) * (velocity[:, :-1] - velocity[:, 1:]) / 8
        resets = _resets(sample)
        error = np.zeros(points.shape)
        error[:, 0, :n] = self.first[rows]
        with np.errstate(all="ignore"):
            for j, h in enumerate(steps.tolist()):
                mean = force[:, j] if j + 1 in resets else 0.5 * (force[:, j] + force[:, j + 1])
                here = error[:, j]
                new = here
                for _ in range(2):  # the second time with what the first says about the end of the step
                    z = field.jacobians(middles[:, j] + 0.25 * (here + new), numbers) * h
                    try:
                        phi, psi = exponentials(z, np.full(len(rows), h))
                    except np.linalg.LinAlgError:
                        return np.full((len(rows), len(times), n), np.nan)
                    new = (phi @ here[:, :, None] + psi @ mean[:, :, None])[:, :, 0]
                error[:, j + 1] = new
                if j + 1 in resets:
                    error[:, j + 1] = self._reset(resets[j + 1], points[:, j], new, numbers)
        return error[:, :, :n]

    def _reset(self, jumps: Sequence[Jump], before: Array, error: Array, numbers: NDArray[np.int64]) -> Array:
        """e after jumps in turn, each e + (R(x̂ + e) − x̂ − e) − ML(R(x̂) − x̂), (r, n) or (r, n + 1)."""
        n = self.states.shape[2]
        here, out = before, error
        for jump in jumps:
            there = here + out
            moved = (jump.reset.rates(there, numbers) - there)[:, :n]
            made = (jump.reset.rates(here, numbers) - here)[:, :n] @ self.projector.T
            here, out = here.copy(), out.copy()
            here[:, :n] += made
            out[:, :n] += moved - made
        return out


def closest_lift(one: Affine, pinned: Array, constants: Array, states: Array, reduced: Array) -> tuple[Array, Array]:
    """The affine lift of reduced runs that is closest to the runs of the full model they stand for.

    A refined projection may lift to points far from the trajectories, in directions that do not matter; linearising
    there says little. This one is found by least squares on the training runs, with CM = (I 0) and CN = 0.

    Parameters
    ----------
    one : Affine
    pinned : array (p, n)
    constants : array (r, 1 + c)
    states : array (r, m, n)
    reduced : array (r, m, k)
    """
    r, m, n = states.shape
    p, k = len(pinned), one.size
    w = np.repeat(constants, m, axis=0)
    y = reduced.reshape(r * m, k)
    good = np.isfinite(y).all(axis=1)
    table = np.concatenate([y, w], axis=1)[good]
    size = np.linalg.norm(table, axis=0)
    size[size == 0] = 1.0
    scaled = table / size
    gram = scaled.T @ scaled + _RIDGE * np.eye(k + w.shape[1])
    both = np.linalg.solve(gram, scaled.T @ states.reshape(r * m, n)[good]).T / size
    right = np.linalg.pinv(pinned)
    wanted = np.zeros((p, both.shape[1]))
    wanted[:, :p] = np.eye(p)
    both = both + right @ (wanted - pinned @ both)
    return both[:, :k], both[:, k:]


def _padded(rho: Array, points: Array) -> Array:
    return np.pad(rho, ((0, 0), (0, points.shape[1] - rho.shape[1])))


def _resets(sample: Sample) -> dict[int, list[Jump]]:
    """Jumps, in their order, by the index of the first output time at or after them."""
    found: dict[int, list[Jump]] = {}
    for jump in sample.jumps:
        found.setdefault(int(np.searchsorted(sample.times, jump.time)), []).append(jump)
    return found


def deviation(sample_rates: Array, lifted_rates: Array, matrix: Array) -> Array:
    """dev_L(f, x) = ‖L f(L̄Lx) − L f(x)‖₂ from rates at x and at its projection, (k, n) to (k,)."""
    return np.asarray(np.linalg.norm((lifted_rates - sample_rates) @ matrix.T, axis=1))


@dataclass(frozen=True, slots=True)
class Bound:
    """Theorem 3 of the published method: ‖e(t)‖₂ ≤ η K.

    Attributes
    ----------
    eta : float
        Largest deviation seen on the runs.
    lipschitz : float
        Largest spectral norm of the Jacobian seen on the runs: a lower bound of the constant, not the constant.
    log10 : float
        log₁₀ of ηK (the bound itself is often beyond the range of doubles).
    """

    eta: float
    lipschitz: float
    log10: float

    @property
    def value(self) -> float:
        """The bound, infinite where it is beyond the doubles."""
        return 10.0**self.log10 if self.log10 < 308 else math.inf


def error_bound(eta: float, lipschitz: float, matrix: Array, lift: Array, until: float) -> Bound:
    """ηK with K = (e^{C‖L‖‖L̄‖T} − 1)/(C‖L‖‖L̄‖)."""
    beta = lipschitz * float(np.linalg.norm(matrix, 2)) * float(np.linalg.norm(lift, 2))
    if eta <= 0:
        return Bound(eta, lipschitz, -math.inf)
    exponent = beta * until
    if beta == 0:
        log = math.log(until)
    else:
        log = (exponent if exponent > 30 else math.log(math.expm1(exponent))) - math.log(beta)
    return Bound(eta, lipschitz, (math.log(eta) + log) / math.log(10))
