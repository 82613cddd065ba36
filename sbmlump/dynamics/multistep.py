"""CVODE's BDF: for single runs, and for large systems forward and backward, one run at a time.

For large systems the linear solver is matrix-free in CVODE's eyes: it asks for products, and gets them from the sparse
Jacobian. Direct solvers are of no use there (a mass-action network of 1,000 species fills up completely), and a direct
solver whose Jacobian function raises an exception takes the process down with it.

References
----------
Hindmarsh et al., SUNDIALS, ACM TOMS 31 (2005), doi 10.1145/1089014.1089020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics.rosenbrock import Runs, StepControl
from sbmlump.dynamics.vector_field import CALL, Budget, VectorField
from sbmlump.errors import UnsupportedModelError, extra_missing
from sbmlump.isolate import silent_output

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "CVODE_SETTINGS",
    "CvodeSettings",
    "SolvedRun",
    "advance_large",
    "backward_large",
    "forward_large",
    "solve_cvode",
    "solve_lsoda",
]


@dataclass(frozen=True, slots=True)
class CvodeSettings:
    """How CVODE is used.

    Attributes
    ----------
    most_dense : int
        Without a Jacobian of its own a system of more states is solved by GMRES: a product with a vector costs one
        evaluation of the right-hand side, a Jacobian by differences as many as there are states.
    krylov : int
        Dimension of the Krylov space where products with the Jacobian are exact, and where they are differences.
    krylov_by_differences : int
    calls_of_rates : int
        Array routines that the rates, and a Jacobian, call: for the budget.
    """

    most_dense: int = 150
    krylov: int = 20
    krylov_by_differences: int = 30
    calls_of_rates: int = 5


CVODE_SETTINGS: Final = CvodeSettings()


@dataclass(frozen=True, slots=True)
class SolvedRun:
    """What an integrator of single runs found.

    Attributes
    ----------
    times : ndarray (k,)
        As far as it got.
    states : ndarray (k, n)
    failure : str or None
        Why it got no further, if that is not the end.
    passed : tuple or None
        Where one of the differences of ``gaps`` passed zero: its time, the state there (n,), the directions of all
        differences.
    """

    times: Array
    states: Array
    failure: str | None = None
    passed: tuple[float, Array, Array] | None = None


def cvode_installed() -> bool:
    """Whether there is CVODE (extra ``cvode``).

    Without it the batched Rosenbrock method takes systems of any size, at a cost that grows with the third power of it,
    and LSODA single runs without events.
    """
    return find_spec("sksundae") is not None


def solve_cvode(
    rates: Callable[[float, Array, Array], None],
    times: Array,
    initial: Array,
    control: StepControl,
    *,
    longest: float = 0.0,
    products: tuple[Callable[..., None], Callable[..., None]] | None = None,
    gaps: Callable[[float, Array, Array], None] | None = None,
    gap_count: int = 0,
    own_steps: bool = False,
) -> SolvedRun:
    """Integrate from ``times[0]`` on.

    Parameters
    ----------
    rates : callable (t, y, out)
        Must not raise; what is not finite goes back as it is.
    times : array (m,)
        Increasing or decreasing, at least two.
    initial : array (n,)
    control : StepControl
        ``steps`` counts from one of the times to the next.
    longest : float
        A bound on a step, 0 for none.
    products : pair of callables, optional
        Setup and product with the Jacobian.
    gaps : callable (t, y, out), optional
        Differences: the integration ends where one of them passes zero.
    own_steps : bool
        Give the steps of the solver, where there are two times.

    Raises
    ------
    UnsupportedModelError
        ``extra-missing`` if CVODE is not installed.
    """
    try:
        from sksundae.cvode import CVODE, CVODEJacTimes
    except ImportError as error:
        raise UnsupportedModelError(extra_missing("CVODE (scikit-sundae) is not installed", "cvode")) from error
    options: dict[str, Any] = {"linsolver": "dense"}
    if products is not None:
        options = {"linsolver": "gmres", "krylov_dim": CVODE_SETTINGS.krylov, "jactimes": CVODEJacTimes(*products)}
    elif len(initial) > CVODE_SETTINGS.most_dense:
        options = {"linsolver": "gmres", "krylov_dim": CVODE_SETTINGS.krylov_by_differences}
    if gaps is not None:
        options |= {"eventsfn": gaps, "num_events": gap_count}
    if longest:
        options["max_step"] = longest
    solver = CVODE(
        rates, method="BDF", rtol=control.relative, atol=control.absolute, max_num_steps=control.steps, **options
    )
    # asked for two times the solver reports its own steps
    pair = len(times) == 2 and not own_steps
    grid = np.array([times[0], 0.5 * (times[0] + times[1]), times[1]]) if pair else times
    with silent_output():  # SUNDIALS writes its warnings to standard output, where a JSON object may be expected
        solution = solver.solve(grid, initial)
    reached = np.atleast_1d(np.asarray(solution.t, dtype=np.float64))
    states = np.asarray(solution.y, dtype=np.float64).reshape(len(reached), -1)
    if pair:
        wanted = reached != grid[1]
        reached, states = reached[wanted], states[wanted]
    passed, failure = None, None
    found = getattr(solution, "t_events", None)
    end = abs(float(grid[-1] - grid[0])) * (1 - 1e-14)
    if found is not None and len(found) and reached[-1] < grid[-1]:
        directions = np.asarray(solution.i_events[-1], dtype=np.float64)
        passed = float(found[-1]), np.array(solution.y_events[-1]), directions
    elif not solution.success or abs(float(reached[-1] - grid[0])) < end:
        failure = f"CVODE: {solution.message}"
    return SolvedRun(reached, states, failure, passed)


def advance_large(
    vector_field: VectorField,
    initial: Array,
    times: Array,
    run: Indices,
    tolerances: StepControl,
    budget: Budget | None = None,
) -> Runs:
    """Integrate each run by CVODE; what :func:`sbmlump.dynamics.rosenbrock.advance` does for small systems.

    The work is counted after each run, as the solver's callbacks must not raise.
    """
    r, n = initial.shape
    states = np.empty((r, len(times), n))
    states[:, 0] = initial
    reached = np.full(r, float(times[0]))
    why: list[str | None] = [None] * r
    for i in range(r):
        if len(times) < 2:
            continue
        callbacks = _Forward(vector_field, int(run[i]))
        solution = solve_cvode(
            callbacks.rates, times, initial[i], tolerances, products=(callbacks.setup, callbacks.product)
        )
        if budget is not None:
            budget.add(callbacks.work())
        got = solution.states[: len(times)]
        finite = np.isfinite(got).all(axis=1)
        count = len(got) if finite.all() else int(np.argmin(finite))
        states[i, :count], states[i, max(count, 1) :] = got[:count], np.nan
        reached[i] = float(times[count - 1]) if count else float(times[0])
        if solution.failure is not None or count < len(times):
            said = (solution.failure or "a state has no finite value").removeprefix("CVODE: ")
            why[i] = f"the solver gave up: {said}"
    return Runs(times, states, reached, tuple(why))


class _Forward:
    """Callbacks of the forward integration; they must not raise, so what is not finite goes back as it is."""

    def __init__(self, vector_field: VectorField, run: int) -> None:
        self._vector_field = vector_field
        self._run = np.array([run])
        self._matrix: csr_array | None = None
        self._rates = self._jacobians = self._products = 0

    def work(self) -> float:
        """Elementary operations of all calls so far."""
        calls, field = CVODE_SETTINGS.calls_of_rates * CALL, self._vector_field
        nonzero = 0 if self._matrix is None else self._matrix.nnz
        return (
            self._rates * (field.rate_work() + calls)
            + self._jacobians * (field.sparse_jacobian_work() + calls)
            + self._products * (2 * nonzero + CALL)
        )

    def rates(self, t: float, y: Array, yp: Array) -> None:
        self._rates += 1
        yp[:] = self._vector_field.rates(y[None, :], self._run)[0]

    def setup(self, t: float, y: Array, yp: Array) -> None:
        self._jacobians += 1
        self._matrix = self._vector_field.sparse_jacobian(np.array(y), int(self._run[0]))

    def product(self, t: float, y: Array, yp: Array, v: Array, jv: Array) -> None:
        assert self._matrix is not None
        self._products += 1
        jv[:] = self._matrix @ v


def backward_large(
    vector_field: VectorField,
    run: int,
    times: Array,
    states: Array,
    ends: Indices,
    gradients: Array,
    relative: float,
) -> Array:
    """Solve λ' = −J(x(t))ᵀλ backwards for all end times together.

    Parameters
    ----------
    vector_field : VectorField
    run : int
    times : array (m,)
    states : array (m, n)
        The trajectory; cubic Hermite interpolation lies between.
    ends : array of int (E,)
        Indices of the end times, ascending.
    gradients : array (E, p, n)
        Values of λ at its end time.
    relative : float
        Tolerance.

    Returns
    -------
    array (m, E, p, n)
        λ at each time; zero after its own end time.
    """
    m, n = states.shape
    count, p, _ = gradients.shape
    out = np.zeros((m, count, p, n))
    rates = vector_field.rates(states, np.full(m, run))
    stops = [0, *ends.tolist()]
    current = np.zeros((0, n))
    first = count
    for k in range(count - 1, -1, -1):
        first = k
        current = np.concatenate([gradients[k], current])
        out[ends[k], k:] = current.reshape(count - k, p, n)
        low, high = stops[k], stops[k + 1]
        if high <= low:
            continue
        callbacks = _Backward(vector_field, run, times, states, rates, len(current))
        scale = np.abs(current).max() or 1.0
        control = StepControl(relative, 1e-6 * relative * scale + 1e-300, 100_000)
        grid = times[low : high + 1][::-1]
        solution = solve_cvode(
            callbacks.rates, grid, current.ravel(), control, products=(callbacks.setup, callbacks.product)
        )
        got = solution.states
        if len(got) < high - low + 1 or not np.isfinite(got).all():
            raise FloatingPointError("the adjoint equation could not be solved")
        part = got[: high - low + 1][::-1].reshape(high - low + 1, count - k, p, n)
        out[low:high, first:] = part[:-1]
        current = got[high - low].reshape(-1, n)
    return out


def forward_large(
    vector_field: VectorField, run: int, times: Array, states: Array, force: Array, first: Array
) -> Array:
    """Solve e' = J(x(t))e + ρ(t) along a trajectory, (m, n); ρ is interpolated linearly."""
    scale = max(float(np.abs(force).max(initial=0.0)) * float(times[-1]), float(np.abs(first).max(initial=0.0)), 1e-300)
    forced = _Forced(vector_field, run, times, states, force)
    control = StepControl(1e-4, 1e-6 * scale, 100_000)
    got = solve_cvode(forced.rates, times, first, control, products=(forced.setup, forced.product)).states
    out = np.full((len(times), len(first)), np.nan)
    out[: len(got)] = got[: len(times)]
    return out


class _Forced:
    def __init__(self, vector_field: VectorField, run: int, times: Array, states: Array, force: Array) -> None:
        self._path = _Backward(
            vector_field, run, times, states, vector_field.rates(states, np.full(len(states), run)), 1
        )
        self._times, self._force = times, force

    def _matrix(self, t: float) -> csr_array:
        return self._path.transposed(t).T.tocsr()

    def rates(self, t: float, y: Array, yp: Array) -> None:
        i = int(np.clip(np.searchsorted(self._times, t) - 1, 0, len(self._times) - 2))
        s = (t - self._times[i]) / (self._times[i + 1] - self._times[i])
        yp[:] = self._matrix(t) @ y + (1 - s) * self._force[i] + s * self._force[i + 1]

    def setup(self, t: float, y: Array, yp: Array) -> None:
        self._matrix(t)

    def product(self, t: float, y: Array, yp: Array, v: Array, jv: Array) -> None:
        jv[:] = self._matrix(t) @ v


class _Backward:
    def __init__(
        self, vector_field: VectorField, run: int, times: Array, states: Array, rates: Array, rows: int
    ) -> None:
        self._vector_field, self._run = vector_field, run
        self._times, self._states, self._rates = times, states, rates
        self._rows = rows
        self._at = np.nan
        self._matrix: csr_array | None = None

    def transposed(self, t: float) -> csr_array:
        if t != self._at or self._matrix is None:
            x = _hermite(self._times, self._states, self._rates, t)
            self._matrix = self._vector_field.sparse_jacobian(x, self._run).T.tocsr()
            self._at = t
        return self._matrix

    def rates(self, t: float, y: Array, yp: Array) -> None:
        yp[:] = -(self.transposed(t) @ y.reshape(self._rows, -1).T).T.ravel()

    def setup(self, t: float, y: Array, yp: Array) -> None:
        self.transposed(t)

    def product(self, t: float, y: Array, yp: Array, v: Array, jv: Array) -> None:
        jv[:] = -(self.transposed(t) @ v.reshape(self._rows, -1).T).T.ravel()


def _hermite(times: Array, states: Array, rates: Array, t: float) -> Array:
    i = int(np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2))
    h = times[i + 1] - times[i]
    s = min(max((t - times[i]) / h, 0.0), 1.0)
    a, b = states[i], states[i + 1]
    return np.asarray(
        (1 + 2 * s) * (1 - s) ** 2 * a
        + s * (1 - s) ** 2 * h * rates[i]
        + s * s * (3 - 2 * s) * b
        - s * s * (1 - s) * h * rates[i + 1]
    )


# -- SciPy's LSODA for single runs -----------------------------------------------------------------

# SciPy's LSODA for single runs, with the interface of :func:`sbmlump.dynamics.multistep.solve_cvode`: a second opinion.


@dataclass(frozen=True, slots=True)
class LsodaSettings:
    """How LSODA is used.

    Attributes
    ----------
    least_relative : float
        LSODA refuses less.
    steps_factor : int
        Steps of a whole run; those of CVODE count from one point of the grid to the next.
    stalled : int
        Steps in which time has to get on by more than their number of rounding units: before a pole LSODA takes steps
        without end that no longer change the time (CVODE gives up by itself).
    """

    least_relative: float = 1e-13
    steps_factor: int = 5
    stalled: int = 1000


LSODA_SETTINGS: Final = LsodaSettings()


def solve_lsoda(
    rates: Callable[[float, Array], Array],
    times: Array,
    initial: Array,
    control: StepControl,
    *,
    longest: float,
    own_steps: bool = False,
) -> SolvedRun:
    """Integrate from ``times[0]`` on; parameters as of :func:`sbmlump.dynamics.multistep.solve_cvode`."""
    from scipy.integrate import LSODA

    settings = LSODA_SETTINGS
    solver = LSODA(
        rates,
        times[0],
        initial,
        times[-1],
        rtol=max(control.relative, settings.least_relative),
        atol=control.absolute,
        max_step=longest,
    )
    rows, taken, place = [initial], [times[0]], 1
    before = -np.inf
    for count in range(control.steps * settings.steps_factor):
        if place == len(times):
            break
        if count % settings.stalled == 0:
            if solver.t - before <= settings.stalled * np.spacing(abs(solver.t)):
                return SolvedRun(np.array(taken), np.array(rows), "LSODA: steps no longer change the time")
            before = solver.t
        message = solver.step()
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            why = f"LSODA: {message or 'a state has no finite value'}"
            return SolvedRun(np.array(taken), np.array(rows), why)
        end = int(np.searchsorted(times, solver.t, side="right"))
        if own_steps:
            rows.append(solver.y.copy())
            taken.append(solver.t)
            place = end
        elif end > place:
            rows.extend(np.atleast_2d(solver.dense_output()(times[place:end]).T))
            taken.extend(times[place:end])
            place = end
    return SolvedRun(np.array(taken), np.array(rows), None if place == len(times) else "LSODA: too many steps")
