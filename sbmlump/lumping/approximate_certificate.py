"""The certificate of an approximate reduction: what was measured, what was estimated, how it was found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate import StepControl
from sbmlump.integrate.rosenbrock import advance
from sbmlump.lumping.affine import WrittenSystem
from sbmlump.lumping.approximate_runs import LearningRuns
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.estimate import Bound, closest_lift, deviation, error_bound, estimate_errors
from sbmlump.lumping.projected import lifted_field
from sbmlump.lumping.search import constants_of
from sbmlump.lumping.validate import Validation
from sbmlump.reduced import ErrorEstimate, finite_or_none

__all__ = ["Try", "certificate_of"]

Array = NDArray[np.float64]
_LIFTED_RUNS: Final = 10
_STEPS_OF_PAIR: Final = 5_000


@dataclass(frozen=True)
class Try:
    """A reduction that was written and validated."""

    map: Affine
    written: WrittenSystem
    validation: Validation
    training_worst: float

    @property
    def worst(self) -> float:
        """Worst error over the validation runs."""
        return self.validation.worst


def certificate_of(runs: LearningRuns, tried: Try, work: float, used_up: bool) -> ErrorEstimate:
    """The certificate of a reduction.

    Parameters
    ----------
    runs : LearningRuns
    tried : Try
    work : float
        Units of work that the search took.
    used_up : bool
        Whether it ended because that was all that was allowed.
    """
    o = runs.options
    validation = tried.validation
    constants = constants_of(runs.totals, runs.training.scale, runs.checking.starts)
    count = len(runs.checking.states) if not runs.large else 1
    lift = _closest_lift(runs, tried.map) if not runs.large else None
    estimates = estimate_errors(runs.problem, tried.map, constants, runs.checking, validation.reduced, count, lift)
    known = estimates[np.isfinite(estimates)]
    lifted = _lowest_lifted(runs, tried.map, constants, validation.reduced)
    details: dict[str, Any] = {
        "algorithm": o.algorithm,
        "candidate": tried.map.label,
        "form": tried.written.form,
        "horizon_reason": runs.horizon_reason,
        "training_runs": len(runs.training.states),
        "validation_runs": len(runs.checking.states),
        "validated": validation.how,
        "training_worst_error": finite_or_none(tried.training_worst),
        "validation_errors": [finite_or_none(e) for e in validation.errors.tolist()],
        "estimates": [finite_or_none(e) for e in estimates.tolist()],
        "estimate_note": "by the error equation along the reduced runs: an estimate, not a bound",
        "lowest_lifted_state": finite_or_none(lifted),
        "lifted_state_non_negative": bool(lifted >= -1e-9),
        "perturb_parameters": o.perturb_parameters,
        "seed": o.seed,
        "refined": tried.map.label.endswith("refined"),
        "work": round(work, 1),
        "work_used_up": used_up,
    }
    if o.algorithm != "balanced":
        details["tolerance"] = float(tried.map.label.rpartition("=")[2])
    if o.bound and runs.checking.jumps:
        details["bound_note"] = "Theorem 3 says nothing of models with events"
    elif o.bound:
        bound = _krylov_bound(runs, tried.map)
        details["bound"] = finite_or_none(bound.value)
        details["bound_log10"] = finite_or_none(bound.log10)
        details["bound_note"] = "Theorem 3 with the largest Jacobian norm seen on the runs; often of no use"
    return ErrorEstimate(
        f"{o.algorithm}, measured on {len(runs.checking.states)} runs that were not used to make the reduction",
        runs.until,
        len(runs.checking.states),
        o.spread,
        validation.worst,
        validation.median,
        float(known.max()) if len(known) else None,
        details,
    )


def _closest_lift(runs: LearningRuns, one: Affine) -> tuple[Array, Array] | None:
    """A lift along which the estimate may linearise; that of the projection itself if it is the closer one."""
    training = runs.training
    rows = np.arange(min(_LIFTED_RUNS, len(training.states)))
    constants = constants_of(runs.totals, training.scale, training.starts[rows])
    field = lifted_field(training.field, [one], constants, training.numbers[rows])
    starts = training.starts[rows] @ one.matrix.T
    if training.jumps:
        return None
    if field.timed:
        starts = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1)
    size = np.maximum(np.abs(starts).max(axis=0), 1e-6 * np.abs(starts).max(initial=1e-300))
    paths = advance(field, starts, training.times, None, StepControl(1e-5, 1e-6 * size, _STEPS_OF_PAIR)).states
    paths = paths[:, :, : one.size]
    states = training.states[rows]
    pinned = runs.problem.pinned_array()
    found = closest_lift(one, pinned, constants, states, paths)

    def distance(lift: Array, offset: Array) -> float:
        off = (paths @ lift.T + (constants @ offset.T)[:, None, :] - states) / training.scale
        return float(np.nanmean(off**2))

    return found if distance(*found) < 0.25 * distance(one.lift, one.offset) else None


def _lowest_lifted(runs: LearningRuns, one: Affine, constants: Array, reduced: Array) -> float:
    """Lowest value of the lifted state in units of each state's scale."""
    x = reduced @ one.lift.T + (constants @ one.offset.T)[:, None, :]
    x = x / runs.training.scale
    return float(np.nanmin(x)) if np.isfinite(x).any() else math.nan


def _krylov_bound(runs: LearningRuns, one: Affine) -> Bound:
    """The bound of Theorem 3 with η and C taken from the validation runs.

    It is of ‖Lx(t) − y(t)‖₂ for y(0) = Lx(0) without events; an affine lift x̂ = L̄Lx + c enters through η alone.

    References
    ----------
    As in :mod:`sbmlump.lumping.krylov`, Theorem 3.
    """
    sample, n = runs.checking, runs.problem.size
    points = sample.clocked(sample.states)[:, ::4]
    per_run = points.shape[1]
    points = points.reshape(-1, sample.field.size)
    numbers = np.repeat(sample.numbers, per_run)
    constants = constants_of(runs.totals, runs.training.scale, sample.starts)
    lifted = points.copy()
    lifted[:, :n] = points[:, :n] @ one.matrix.T @ one.lift.T + np.repeat(constants @ one.offset.T, per_run, axis=0)
    f, g = sample.field.rates(points, numbers)[:, :n], sample.field.rates(lifted, numbers)[:, :n]
    eta = float(np.nanmax(deviation(f, g, one.matrix)))
    step = max(1, len(points) // 100)
    norms = np.linalg.norm(sample.field.jacobians(points[::step], numbers[::step]), 2, axis=(1, 2))
    return error_bound(eta, float(norms.max()), one.matrix, one.lift, runs.until)
