"""The error of a reduction estimated from the reduced runs alone; and the published bound.

Along the lifted reduced trajectory x̂ the residual ρ = (I − L̄L) f(x̂) is what the full equations would do and the
reduced ones cannot. To first order the error e = x − x̂ obeys e' = J(x̂)e + ρ, e(0) = x(0) − x̂(0); what it does to an
observable at t_e is λ_e(0)ᵀe(0) + ∫ λ_eᵀ ρ dt with the adjoint λ_e. By duality the forward recursion over the
propagators gives the same numbers for all end times at once, and that is what is done here. This is an estimate, not
a bound: while the error is small it is usually within a factor of two of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate import Field, Jump
from sbmlump.integrate.adjoint import propagators
from sbmlump.integrate.multistep import forward_large
from sbmlump.integrate.solve import MAX_DENSE
from sbmlump.lumping.approximate_problem import Problem
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.training import Sample

__all__ = ["Bound", "deviation", "error_bound", "estimate_errors"]

Array = NDArray[np.float64]


def estimate_errors(
    problem: Problem, one: Affine, constants: Array, sample: Sample, reduced: Array, runs: int
) -> Array:
    """Estimated largest relative error of the pinned quantities, for the first ``runs`` runs.

    Parameters
    ----------
    problem : Problem
    one : Affine
    constants : array (r, 1 + c)
        w of each run.
    sample : Sample
        Only its starts, times and field are used.
    reduced : array (r, m, k)
        Reduced trajectories.

    Returns
    -------
    array (runs,)
        NaN where a reduced run failed.
    """
    c = problem.pinned_array()
    n = problem.size
    found = np.full(runs, np.nan)
    quotient = np.eye(n) - one.lift @ one.matrix if n <= MAX_DENSE else None
    for i in range(runs):
        path = reduced[i]
        if not np.isfinite(path).all():
            continue
        x = path @ one.lift.T + one.offset @ constants[i]
        number = int(sample.numbers[i])
        points = sample.clocked(x[None])[0]
        rates = sample.field.rates(points, np.full(len(x), number))[:, :n]
        rho = rates @ quotient.T if quotient is not None else rates - (rates @ one.matrix.T) @ one.lift.T
        first = sample.starts[i] - x[0]
        force = _padded(rho, points)
        moved = propagate(sample.field, number, sample.times, points, force, _resets(sample), first) @ c.T
        size = np.abs(x @ c.T + moved).max(axis=0)
        found[i] = float((np.abs(moved).max(axis=0) / np.where(size > 0, size, 1.0)).max(initial=0.0))
    return found


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
