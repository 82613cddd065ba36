"""Integration of a vector field from several initial values: which solver, and state resets at known times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics import compiled
from sbmlump.dynamics.multistep import advance_large, backward_large, cvode_installed
from sbmlump.dynamics.rosenbrock import Observer, Runs, StepControl, advance, between_stops, piecewise
from sbmlump.dynamics.vector_field import Budget, VectorField
from sbmlump.errors import UnsupportedModelError, extra_missing

__all__ = [
    "Along",
    "MAX_DENSE",
    "StateReset",
    "adjoints",
    "by_krylov",
    "exponentials",
    "integrate",
    "propagators",
    "sweep_back",
]


MAX_DENSE: Final = 120
"""Up to here all runs go through the batched method with dense linear algebra: at 87 states 25 runs take 20 ms a step
that way; the cubic growth makes one run at a time by a Krylov method faster from about 150 states on."""


def by_krylov(size: int) -> bool:
    """Whether systems of that size are integrated by CVODE with a Krylov method: they are large, and it is there."""
    return size > MAX_DENSE and cvode_installed()


@dataclass(frozen=True, slots=True)
class StateReset:
    """At ``time`` the state x becomes ``new_state.rates(x)`` (a vector field is a map with its Jacobian)."""

    time: float
    new_state: VectorField


def integrate(
    vector_field: VectorField,
    initial: Array,
    times: Array,
    *,
    resets: Sequence[StateReset] = (),
    run: Indices | None = None,
    tolerances: StepControl | None = None,
    budget: Budget | None = None,
) -> Runs:
    """Integrate ``vector_field`` from ``times[0]``, honouring state resets; failures are data of the result.

    Parameters
    ----------
    vector_field : VectorField
    initial : array (r, n)
    times : array (m,)
        Increasing. The state at the time of a reset is the one after it.
    resets : sequence of StateReset
        In the order of their times.
    run : array of int (r,), optional
        The number of each run (0 … r − 1 by default).
    tolerances : StepControl
    budget : Budget, optional
        Counts the work.

    Raises
    ------
    WorkLimitError
        If there is a budget and it is exhausted.
    """
    numbers = np.arange(len(initial)) if run is None else run
    tolerances = tolerances or StepControl()
    inside = [reset for reset in resets if times[0] < reset.time <= times[-1]]

    def segment(x: Array, grid: Array, alive: Indices, _: Observer | None) -> Runs:
        if not by_krylov(vector_field.size):
            return advance(vector_field, x, grid, numbers[alive], tolerances, None, budget)
        if not (tolerances.stops and vector_field.timed):
            return advance_large(vector_field, x, grid, numbers[alive], tolerances, budget)
        return between_stops(
            lambda y, times, left, _: advance_large(vector_field, y, times, numbers[alive][left], tolerances, budget),
            x,
            grid,
            tolerances.stops,
        )

    def after(i: int, x: Array, alive: Indices) -> Array:
        return inside[i].new_state.rates(x, numbers[alive])

    return piecewise(segment, initial, times, [reset.time for reset in inside], after)


# -- Adjoints: how much a disturbance --------------------------------------------------------------

# Adjoints: how much a disturbance of the state at time t moves a quantity at a later time.
#
# λ_e(t) = (∂z(t_e)/∂x(t))ᵀ solves λ' = −J(x(t))ᵀλ backwards from λ(t_e) = ∇z. For all end times together this is one
# backward recursion over the propagators of the intervals, Φ_i = ∂x(t_{i+1})/∂x(t_i), shared by all of them.
#
# The propagator of an interval is the exponential of its midpoint Jacobian (second order), by the Padé approximation
# (1, 2), which is L-stable: what decays within an interval is gone after it.


@dataclass(frozen=True, slots=True)
class AdjointSettings:
    """How adjoints are computed.

    Attributes
    ----------
    block : int
        Intervals whose propagators are made at once: 400 matrices of 120 rows are 46 MB.
    large_tolerance : float
        Relative tolerance for large systems: gradients rank directions, no figure comes from them.
    most_bytes : int
        Of all propagators of one run, where large systems have to do without CVODE: 500 states at 250 times.
    """

    block: int = 400
    large_tolerance: float = 1e-4
    most_bytes: int = 1 << 30


ADJOINT: Final = AdjointSettings()


def adjoints(
    vector_field: VectorField,
    run: int,
    times: Array,
    states: Array,
    middles: Array | None,
    ends: Indices,
    gradients: Array,
    resets: Sequence[StateReset] = (),
) -> Array:
    """λ_e at every time of one run.

    Parameters
    ----------
    vector_field : VectorField
    run : int
        Its number.
    times : array (m,)
    states : array (m, n)
    middles : array (m − 1, n) or None
        States in the middle of each interval; interpolated if absent.
    ends : array of int (E,)
        Indices of the end times, ascending.
    gradients : array (E, p, n)
        ∇z at each end time, for p quantities.
    resets : sequence of StateReset
        Their times must be among ``times``, which hold the state after the reset; the one before is taken from the
        last interval's end by the caller putting the same time twice.

    Returns
    -------
    array (m, E, p, n)
        Zero after its own end time.
    """
    if by_krylov(vector_field.size):
        return backward_large(vector_field, run, times, states, ends, gradients, ADJOINT.large_tolerance)
    phi, _ = propagators(vector_field, run, times, states, middles)
    for reset in resets:
        at = np.flatnonzero(times == reset.time)
        if len(at) > 1:  # the interval of no length between before and after
            before = states[at[0]]
            phi[at[0]] = reset.new_state.jacobians(before[None, :], np.array([run]))[0]
    return np.asarray(sweep_back(phi[None], ends, gradients[None])[0])


def propagators(
    vector_field: VectorField, run: int, times: Array, states: Array, middles: Array | None = None
) -> tuple[Array, Array]:
    """Φ_i of each interval, and Ψ_i, what a constant force over it adds; both (m − 1, n, n).

    Raises
    ------
    UnsupportedModelError
        ``extra-missing`` if the system is too large for that, which CVODE would follow.
    """
    n = vector_field.size
    steps = np.diff(times)
    if n > MAX_DENSE and 16 * len(steps) * n * n > ADJOINT.most_bytes:
        what = f"how errors grow along runs of {n} states takes CVODE (scikit-sundae), which is not installed"
        raise UnsupportedModelError(extra_missing(what, "cvode"))
    if middles is None:
        middles = _middles(vector_field, run, times, states)
    out = np.empty((2, len(steps), n, n))
    together = max(1, ADJOINT.block * MAX_DENSE**2 // max(n, MAX_DENSE) ** 2)
    for low in range(0, len(steps), together):
        block = slice(low, low + together)
        z = vector_field.jacobians(middles[block], np.full(len(middles[block]), run)) * steps[block, None, None]
        out[:, block] = exponentials(z, steps[block])
    return out[0], out[1]


def exponentials(z: Array, steps: Array) -> tuple[Array, Array]:
    """exp(z) and h·(exp(z) − 1)/z for stacks of matrices z = hJ, by the L-stable Padé approximation (1, 2).

    Parameters
    ----------
    z : array (…, n, n)
    steps : array (…,)
        Lengths h of the intervals.

    Returns
    -------
    tuple of ndarray (…, n, n)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a finite matrix has a singular denominator.
    """
    n = z.shape[-1]
    flat, lengths = z.reshape(-1, n, n), np.broadcast_to(steps, z.shape[:-2]).reshape(-1)
    made = compiled.compiled_exponentials(flat, lengths)
    if made is not None:
        for i in np.flatnonzero(np.isnan(made[0]).any(axis=(1, 2)) & np.isfinite(flat).all(axis=(1, 2))).tolist():
            # too large for that elimination, or singular: LAPACK does it, or says so
            made[0][i], made[1][i] = _by_lapack(flat[i], lengths[i])
        return made[0].reshape(z.shape), made[1].reshape(z.shape)
    return _by_lapack(z, steps)


def _by_lapack(z: Array, steps: Array) -> tuple[Array, Array]:
    n = z.shape[-1]
    identity = np.eye(n)
    below = identity - (2 / 3) * z + (z @ z) / 6
    above = np.concatenate([identity + z / 3, (identity - z / 6) * steps[..., None, None]], axis=-1)
    both = np.linalg.solve(below, above)
    return both[..., :n], both[..., n:]


def _middles(vector_field: VectorField, run: int, times: Array, states: Array) -> Array:
    rates = vector_field.rates(states, np.full(len(states), run))
    h = np.diff(times)[:, None]
    return np.asarray(0.5 * (states[:-1] + states[1:]) + h * (rates[:-1] - rates[1:]) / 8)


def sweep_back(phi: Array, ends: Indices, gradients: Array) -> Array:
    """Backward recursion over propagators of r runs.

    Parameters
    ----------
    phi : array (r, m − 1, n, n)
    ends : array of int (E,)
        Ascending.
    gradients : array (r, E, p, n)

    Returns
    -------
    array (r, m, E, p, n)
    """
    r, count, p, n = gradients.shape
    m = phi.shape[1] + 1
    out = np.zeros((r, m, count, p, n))
    current = np.zeros((r, count, p, n))
    waiting = count
    for i in range(m - 1, -1, -1):
        if i < m - 1:
            current[:, waiting:] = (current[:, waiting:].reshape(r, -1, n) @ phi[:, i]).reshape(r, -1, p, n)
        while waiting and ends[waiting - 1] == i:
            waiting -= 1
            current[:, waiting] = gradients[:, waiting]
        out[:, i, waiting:] = current[:, waiting:]
    return out


@dataclass(frozen=True, slots=True)
class Along:
    """Linearised runs, interval by interval, and what their adjoints are multiplied by.

    Attributes
    ----------
    phi, psi : ndarray (r, m, k, k)
        Propagators of the intervals, and their integrals; see :func:`exponentials`.
    onto : ndarray (r, m, k, n)
    rates : ndarray (r, m, n)
    middle : ndarray (r, m, k)
    features : ndarray (r, m, c) or (r, 1, c)
        The latter where they are the same in all intervals.
    start : ndarray (r, n)
    """

    phi: Array
    psi: Array
    onto: Array
    rates: Array
    middle: Array
    features: Array
    start: Array

    def sums(self, ends: Indices, tips: Array) -> tuple[Array, Array, Array]:
        """Sums over the intervals of products of each adjoint λ.

        With c = λψ of an interval: Σ cᵀ·rates + λ₀ᵀ·start, Σ (c·onto)ᵀ·middle and Σ (c·onto)ᵀ·features.

        Parameters
        ----------
        ends : array of int (E,)
            Ascending, from 1 on; where adjoints begin.
        tips : array (r, E, p, k)
            What they are there.

        Returns
        -------
        tuple of ndarray (r, E·p, k, n), (r, E·p, n, k), (r, E·p, n, c)
        """
        r, last, k, n = self.onto.shape
        p = tips.shape[2]
        parts = self.phi, self.psi, self.onto, self.rates, self.middle, self.features, self.start
        made = compiled.compiled_sums_along(*parts, np.repeat(ends, p), tips.reshape(r, -1, k))
        if made is not None:
            return made
        adjoint = sweep_back(self.phi, ends, tips).reshape(r, last + 1, -1, k)
        count = adjoint.shape[2]
        carried = adjoint[:, 1:] @ self.psi
        onto = carried @ self.onto  # (r, last, E·p, n)
        # sums over the intervals, as products of matrices
        by_rates = (carried.reshape(r, last, count * k).transpose(0, 2, 1) @ self.rates).reshape(r, count, k, n)
        by_rates += adjoint[:, 0, :, :, None] * self.start[:, None, None, :]
        along = onto.reshape(r, last, count * n).transpose(0, 2, 1)
        by_middle = (along @ self.middle).reshape(r, count, n, k)
        if self.features.shape[1] == 1:
            by_features = onto.sum(axis=1)[..., None] * self.features[:, :, None, :]
        else:
            by_features = (along @ self.features).reshape(r, count, n, self.features.shape[2])
        return by_rates, by_middle, by_features
