"""How far an approximate reduction is off, measured by simulating both systems from several initial states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.classic.simulation import (
    default_horizon,
    ensemble_runs,
    reduced_start,
    time_points,
    trajectories,
    values,
)
from sbmlump.errors import LimitError, Reason
from sbmlump.integrate.work import Meter
from sbmlump.lumping.training import Ensemble
from sbmlump.reduced import ErrorEstimate, Observable, ReducedSystem, finite_or_none
from sbmlump.system import OdeSystem

__all__ = [
    "DRAFT",
    "STANDARD",
    "Measurement",
    "EnsembleSettings",
    "ReferenceEnsemble",
    "difference",
    "error_estimate",
    "estimate_of",
    "measure",
    "reference_ensemble",
]

Array = NDArray[np.float64]
_SMALL: Final = 1e-12  # of the largest value over all runs: what is smaller in one of them counts as zero there
_REDUCED_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class EnsembleSettings:
    """How an approximation is measured.

    Attributes
    ----------
    until : float or None
        Horizon; chosen from the model if ``None``.
    ensemble : int
        Perturbed initial states beside the nominal one.
    spread : float
        Relative size of the perturbation; where an initial value is zero, of the largest value along the nominal run.
    seed : int
    """

    until: float | None = None
    ensemble: int = 6
    spread: float = 0.2
    seed: int = 0


STANDARD: Final = EnsembleSettings()
"""Six perturbed starts, 20 %, a horizon chosen from the model."""

DRAFT: Final = ErrorEstimate("not yet measured", 0.0, 0, 0.0, float("inf"), float("inf"))
"""Stands in a reduction until its error is measured."""


@dataclass(frozen=True)
class ReferenceEnsemble:
    """Runs of the original, made once and held against any number of reductions.

    Attributes
    ----------
    trial : Trial
        With the horizon that was used.
    observables : tuple of Observable
    times : ndarray (m,)
    starts : ndarray (r, n)
    states : ndarray (r, m, n)
    expected : ndarray (r, m, q)
        Values of the observables.
    """

    trial: EnsembleSettings
    observables: tuple[Observable, ...]
    times: Array
    starts: Array
    states: Array
    expected: Array

    def nominal(self) -> ReferenceEnsemble:
        """The run from the file's own initial values alone."""
        return replace(self, starts=self.starts[:1], states=self.states[:1], expected=self.expected[:1])

    @property
    def until(self) -> float:
        """The horizon."""
        return float(self.times[-1])


@dataclass(frozen=True, slots=True)
class Measurement:
    """Relative errors of each run (r,) and each observable (r, q): max |difference| / max |original| over time."""

    horizon: float
    errors: Array
    per_observable: Array
    names: tuple[str, ...]


def reference_ensemble(
    system: OdeSystem, observables: Sequence[Observable], trial: EnsembleSettings = STANDARD
) -> ReferenceEnsemble:
    """Simulate the original from its own and from perturbed initial values.

    Raises
    ------
    LimitError
        If it cannot be integrated from its own (code ``not-simulated``).
    """
    until = trial.until if trial.until is not None else default_horizon(system)
    times = time_points(until)
    starts, full = ensemble_runs(system, times, Ensemble(trial.ensemble, trial.spread), trial.seed)
    if not np.isfinite(full[0]).all():
        message = f"model {system.id} cannot be integrated to {until:g}; choose a shorter horizon with --until"
        raise LimitError(Reason("not-simulated", message))
    expected = values(system, [one.expression for one in observables], times, full)
    return ReferenceEnsemble(replace(trial, until=until), tuple(observables), times, starts, full, expected)


def measure(
    reduction: ReducedSystem,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    *,
    relative: float = 1e-7,
    steps: int = _REDUCED_STEPS,
    meter: Meter | None = None,
) -> Measurement:
    """Simulate the reduced system and compare the observables; what cannot be integrated is an infinite error.

    Parameters
    ----------
    reduction : ReducedSystem
    by : Trial or Yardstick
    relative, steps
        Tolerance and most steps of a run of the reduced system.
    meter : Meter, optional
        Counts the work.

    Raises
    ------
    LimitError
        If the original itself cannot be integrated (code ``not-simulated``); if there is a meter and its limit has been
        passed (``work-limit``).
    """
    original, system = reduction.original, reduction.system
    ruler = by if isinstance(by, ReferenceEnsemble) else reference_ensemble(original, reduction.observables, by)
    lumped, constants = reduced_start(reduction, ruler.starts)
    largest = np.abs(reduction.project(ruler.states.reshape(-1, original.size))).max(axis=0, initial=0.0)
    small = trajectories(
        system,
        lumped,
        ruler.times,
        constants=constants,
        scale=largest,
        relative=relative,
        steps=steps,
        meter=meter,
    )
    nodes = [system.definitions[one.id] for one in ruler.observables]
    got = values(system, nodes, ruler.times, small, constants)
    scale = _sizes(ruler)
    with np.errstate(all="ignore"):
        per = (np.abs(got - ruler.expected) / scale[:, None, :]).max(axis=1)
    per = np.where(np.isnan(per), np.inf, per)
    return Measurement(ruler.until, per.max(axis=1, initial=0.0), per, tuple(one.id for one in ruler.observables))


def error_estimate(
    reduction: ReducedSystem,
    method: str,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    details: Mapping[str, Any] | None = None,
    *,
    meter: Meter | None = None,
) -> ErrorEstimate:
    """The measured error as a certificate.

    Raises
    ------
    LimitError
        As :func:`measure`.
    """
    trial = by.trial if isinstance(by, ReferenceEnsemble) else by
    return estimate_of(measure(reduction, by, meter=meter), method, trial, details)


def estimate_of(
    found: Measurement, method: str, trial: EnsembleSettings, details: Mapping[str, Any] | None = None
) -> ErrorEstimate:
    """A measurement as a certificate."""
    worst_each = found.per_observable.max(axis=0, initial=0.0)
    per = {name: finite_or_none(error) for name, error in zip(found.names, worst_each.tolist(), strict=True)}
    return ErrorEstimate(
        method,
        found.horizon,
        len(found.errors),
        trial.spread,
        float(found.errors.max()),
        float(np.median(found.errors)),
        details={"nominal_error": finite_or_none(float(found.errors[0])), "per_observable": per, **(details or {})},
    )


def difference(
    first: ReducedSystem,
    second: ReducedSystem,
    by: EnsembleSettings | ReferenceEnsemble = STANDARD,
    *,
    meter: Meter | None = None,
) -> float:
    """Largest relative difference of the observables of two reductions of one system, from its own initial values.

    Raises
    ------
    LimitError
        As :func:`measure`.
    """
    ruler = by if isinstance(by, ReferenceEnsemble) else reference_ensemble(first.original, first.observables, by)
    found: list[Array] = []
    for one in (first, second):
        lumped, constants = reduced_start(one, ruler.starts[:1])
        small = trajectories(one.system, lumped, ruler.times, constants=constants, steps=_REDUCED_STEPS, meter=meter)
        nodes = [one.system.definitions[o.id] for o in ruler.observables]
        found.append(values(one.system, nodes, ruler.times, small, constants)[0])
    scale = _sizes(ruler)[0]
    return float((np.abs(found[0] - found[1]) / scale).max(initial=0.0))


def _sizes(ruler: ReferenceEnsemble) -> Array:
    """Largest magnitude of each observable in each run, (r, q); of one that is always zero a trace of the states'."""
    sizes = np.abs(ruler.expected).max(axis=1)
    largest = sizes.max(axis=0, initial=0.0)
    largest = np.where(largest > 0, largest, float(np.abs(ruler.states).max(initial=0.0)))
    return np.asarray(np.maximum(sizes, np.maximum(_SMALL * largest, 1e-300)))
