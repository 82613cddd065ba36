"""The error of a reduction estimated from the reduced runs alone; and the published bound.

Let x̂ = My + Nw be any lift of the reduced run that agrees with it in the observables; the residual ρ = f(x̂) − Mẏ is
what the full equations would do and the reduced ones cannot (for M = L̄ it is (I − L̄L) f(x̂)). To first order the
error e = x − x̂ obeys e' = J(x̂)e + ρ, e(0) = x(0) − x̂(0); what it does to an observable at t_e is
λ_e(0)ᵀe(0) + ∫ λ_eᵀ ρ dt with the adjoint λ_e. By duality the forward recursion over the propagators gives the same
numbers for all end times at once, and that is what is done here. This is an estimate, not a bound: while the error is
small it is usually within a factor of two of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate import Field, Jump
from sbmlump.integrate.adjoint import propagators
from sbmlump.integrate.multistep import forward_large
from sbmlump.integrate.solve import MAX_DENSE
from sbmlump.lumping.approximate_problem import Problem
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.training import Sample

__all__ = ["Bound", "closest_lift", "deviation", "error_bound", "estimate_errors"]

Array = NDArray[np.float64]
_RIDGE: Final = 1e-10
_TOO_FAR: Final = 1.0


def estimate_errors(
    problem: Problem,
    one: Affine,
    constants: Array,
    sample: Sample,
    reduced: Array,
    runs: int,
    lift: tuple[Array, Array] | None = None,
    nominal: Array | None = None,
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
        Only its starts, times and field are used.
    reduced : array (r, m, k)
        Reduced trajectories.

    lift : (M, N), optional
        A lift that stays close to the trajectories, see :func:`closest_lift`; (L̄, G) if absent.
    nominal : array (m, n), optional
        The nominal run of the full model. Where the estimated error of some state becomes as large as the state (a
        concentration that is lifted to a slightly negative value may turn a fast decay into a fast growth), the
        Jacobian is taken along this run instead, if that makes it smaller.

    Returns
    -------
    array (runs,)
        NaN where a reduced run failed.
    """
    m, shift = lift if lift is not None else (one.lift, one.offset)
    c = problem.pinned_array()
    n = problem.size
    found = np.full(runs, np.nan)
    for i in range(runs):
        path = reduced[i]
        if not np.isfinite(path).all():
            continue
        x = path @ m.T + shift @ constants[i]
        number = int(sample.numbers[i])
        numbers = np.full(len(x), number)
        points = sample.clocked(x[None])[0]
        rates = sample.field.rates(points, numbers)[:, :n]
        own = rates
        if lift is not None:
            inside = sample.clocked((path @ one.lift.T + one.offset @ constants[i])[None])[0]
            own = sample.field.rates(inside, numbers)[:, :n]
        rho = rates - (own @ one.matrix.T) @ m.T
        first = sample.starts[i] - x[0]
        force = _padded(rho, points)
        error = propagate(sample.field, number, sample.times, points, force, _resets(sample), first)
        if nominal is not None and not np.abs(error / sample.scale).max() < _TOO_FAR:
            beside = sample.clocked(nominal[None])[0]
            other = propagate(sample.field, number, sample.times, beside, force, _resets(sample), first)
            if np.abs(other / sample.scale).max() < np.nan_to_num(np.abs(error / sample.scale).max(), nan=np.inf):
                error = other
        moved = error @ c.T
        size = np.abs(x @ c.T + moved).max(axis=0)
        found[i] = float((np.abs(moved).max(axis=0) / np.where(size > 0, size, 1.0)).max(initial=0.0))
    return found


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


def _resets(sample: Sample) -> dict[int, Jump]:
    """Jumps by the index of the first output time at or after them."""
    return {int(np.searchsorted(sample.times, jump.time)): jump for jump in sample.jumps if jump.time > 0}


def propagate(
    field: Field, run: int, times: Array, states: Array, rho: Array, resets: dict[int, Jump], first: Array
) -> Array:
    """e along ``states`` (m, n): e' = J e + ρ, through the jumps, (m, n) without the clock."""
    n = len(first)
    error = np.zeros((len(times), states.shape[1]))
    error[0, :n] = first
    if field.size > MAX_DENSE:
        return forward_large(field, run, times, states, rho, error[0])[:, :n]
    phi, psi = propagators(field, run, times, states)
    for i in range(len(times) - 1):
        jump = resets.get(i + 1)
        if jump is not None:
            before = states[i][None]
            slope = jump.reset.jacobians(before, np.array([run]))[0]
            error[i + 1] = slope @ (phi[i] @ error[i] + psi[i] @ rho[i])
            continue
        error[i + 1] = phi[i] @ error[i] + psi[i] @ (0.5 * (rho[i] + rho[i + 1]))
    return error[:, :n]


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
