"""How far a reduction is off, measured on runs it was not made from, with the equations as they will be written.

The reduced system starts from its own initial expressions, with the initial values of each
run put in place of its constants ``…_at_start``. Its equations may be long, and their Jacobian longer; so the
projection is integrated in their place where both give the same rates all along the runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.dynamics import Runs, StateReset, StepControl, integrate
from sbmlump.dynamics.ensemble import (
    ReductionProblem,
    Sample,
    along,
    largest_values,
    pose,
    relative_errors,
    values,
    within_bounds,
)
from sbmlump.dynamics.multistep import forward_large
from sbmlump.dynamics.rosenbrock import Observer, advance, piecewise
from sbmlump.dynamics.solve import MAX_DENSE, by_krylov, exponentials, propagators
from sbmlump.dynamics.time_span import oscillations
from sbmlump.dynamics.vector_field import Budget, at_time_zero
from sbmlump.methods.approximate.learning_runs import LEARNING, LearningRuns
from sbmlump.methods.approximate.quadratic import QuadraticLift
from sbmlump.methods.approximate.search import Reset, constants_of, lifted_field, reduced_resets
from sbmlump.methods.approximate.subspaces import Affine
from sbmlump.methods.approximate.write import WrittenSystem
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.reduced import ErrorEstimate, FreshErrors, Observable, OscillationErrors, finite_or_none
from sbmlump.model.system import OdeSystem

__all__ = [
    "Validation",
    "observed",
    "oscillation_errors",
    "validate",
    "Bound",
    "closest_lift",
    "deviation",
    "error_bound",
    "estimate_errors",
    "Try",
    "certificate_of",
]


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """How a written reduction is measured.

    Attributes
    ----------
    relative_tolerance : float
        Of the integration.
    accuracy : float
        The same, times the error that is wanted: the integration is as exact as that needs.
    integrations : float
        Times the relative tolerance: so much two integrations may differ, and no error is claimed to be smaller. (A
        claim of 1.9e-6 for BIOMD0000000069 was 4e-6 between two runs of libRoadRunner.)
    least_tolerance : float
        No integration is more exact than that of the original.
    absolute_tolerance : float
        Of the largest value of each reduced state, Lx, along the trajectories of the original. (Of the initial ones,
        which may be zero, took 17 of 60 units of work for a single check of BIOMD0000000516.)
    strict_tolerance : float
        With which what is accepted has to come through: a longer step may pass over a pole of a lifted denominator,
        where every simulator of a user's would end.
    strict_runs : int
        From so many of the training runs, the nominal one first.
    agreement : float
        Of the terms that a rate is the sum of: so near written and projected rates are equal.
    steps : int
        Most steps of a run.
    least_steps : int
        So many steps any reduction may take.
    patience : float
        Times the steps that the original would need: a reduction that needs more has become stiffer than that.
    few_above : int
        Of the first, few runs: so many may be above the wanted error before a hundred decide.
    share_above : float
        Of the runs that decide: so many may be above the wanted error.
    stretches : int
        Stretches of time from which the best one for an oscillation is sought: every eighth of a period at the end.
    most_drift : float
        Periods by which the end of an oscillation may be moved.
    alignments : int
        Gauss-Newton steps of that search, which converges in a few.
    estimated : int
        Runs whose error is estimated from the reduced run alone, those with the largest errors.
    ridge : float
        Of the least squares of the closest lift, in columns of norm 1: rounding.
    close : float
        Of the magnitude of each state: smaller errors are followed by the Jacobian along the lifted run.
    lifted_runs : int
        Training runs from which the closest lift is found.
    steps_of_lift : int
        Most steps of the reduced runs for that.
    held : int
        Numbers of lifted points that are looked at together: of runs of large systems, not all.
    """

    relative_tolerance: float = 1e-6
    accuracy: float = 1e-3
    integrations: float = 5.0
    least_tolerance: float = 1e-7
    absolute_tolerance: float = 1e-8
    strict_tolerance: float = 1e-9
    strict_runs: int = 25
    agreement: float = 1e-7
    steps: int = 20_000
    least_steps: int = 2_000
    patience: float = 2.5
    few_above: int = 1
    share_above: float = 0.05
    stretches: int = 17
    most_drift: float = 1.0
    alignments: int = 10
    estimated: int = 10
    ridge: float = 1e-10
    close: float = 0.02
    lifted_runs: int = 10
    steps_of_lift: int = 5_000
    held: int = 1 << 20


VALIDATION: Final = ValidationSettings()


@dataclass(frozen=True, slots=True)
class Validation:
    """Errors of a reduced system.

    Attributes
    ----------
    errors : ndarray (r,)
        Largest relative error over [0, T] and the observables, of each run; infinite where a run failed.
    reduced : ndarray (r, m, k)
        Trajectories of the components of the projection; NaN beyond a failure.
    why : tuple of str
        Failures.
    how : str
        What was integrated.
    observed : ndarray (r, m, o)
        Observables along the reduced runs.
    comes_near : bool
        Whether a lifted denominator comes so near to zero that the system has to be written with bounds.
    least : float
        No error is told as smaller: two integrations may differ by as much.
    """

    errors: Array
    reduced: Array
    why: tuple[str, ...] = ()
    how: str = ""
    observed: Array = field(default_factory=lambda: np.empty((0, 0, 0)))
    comes_near: bool = False
    least: float = 0.0

    @property
    def worst(self) -> float:
        """Largest error."""
        return float(self.errors.max(initial=0.0))

    @property
    def median(self) -> float:
        """Median error."""
        return float(np.median(self.errors)) if len(self.errors) else 0.0


def observed(problem: ReductionProblem, sample: Sample) -> Array:
    """Observables along the runs of the full model, (r, m, o)."""
    return along(problem, [o.expression for o in problem.observables], sample, sample.states)


def validate(
    problem: ReductionProblem,
    one: Affine,
    written: WrittenSystem,
    totals: Array,
    sample: Sample,
    budget: Budget | None = None,
    *,
    wanted: float | None = None,
    bounded: ReductionProblem | None = None,
) -> Validation:
    """Compare a written reduction with the runs of ``sample``.

    What is integrated are the projected equations L f(L̄y + Gw), from the initial expressions of the written system;
    then the written equations are evaluated at every point of every run, and have to give the same rates, and the
    written events the same resets. Where they do not, the written equations themselves are integrated, and their errors
    count.

    Parameters
    ----------
    problem : Problem
    one : Affine
    written : Written
        The system of ``one``.
    totals : array (c, n)
        Conserved totals, acting on x / scale.
    sample : Sample
    budget : Budget, optional
        Counts the work.
    wanted : float, optional
        The error that is aimed at: the integration is more exact where that needs it.
    bounded : ReductionProblem, optional
        That of the fields, where the system is written without its bounds: they must not be needed.

    Raises
    ------
    WorkLimitError
        If there is a budget and its limit has been passed.
    """
    relative = VALIDATION.relative_tolerance
    if wanted is not None:
        relative = max(min(relative, VALIDATION.accuracy * wanted), VALIDATION.least_tolerance)
    tolerances = _tolerances(one, sample, relative)
    told = _Told(problem, written, sample)
    starts = sample.starts @ one.matrix.T
    starts[:, written.states] = told.starts
    constants = constants_of(totals, sample.scale, sample.starts)
    if one.size + int(sample.vector_field.timed) <= MAX_DENSE:
        runs = _projected(one, constants, starts, sample, tolerances, budget)
        states = runs.states[:, :, written.states]
        whole = written.completed(states, starts, sample.times)
        if _comes_near(bounded, one, constants, whole, sample):
            return _out_of_bounds(whole)
        rates, terms = (table[:, :, written.states] for table in _projected_rates(one, constants, whole, sample))
        rates_agree = told.agrees(states, (rates, terms))
        if rates_agree and told.events_agree(states, reduced_resets(sample, [one], constants, np.arange(len(states)))):
            how = "the projected equations; the written ones agree with them"
            return replace(told.validation(states, runs, how, relative), reduced=whole)
    absolute = np.asarray(tolerances.absolute)[written.states]
    runs, states = told.integrated(replace(tolerances, absolute=absolute), budget)
    whole = written.completed(states, starts, sample.times)
    if _comes_near(bounded, one, constants, whole, sample):
        return _out_of_bounds(whole)
    return replace(told.validation(states, runs, "the written equations", relative), reduced=whole)


def _comes_near(bounded: ReductionProblem | None, one: Affine, constants: Array, whole: Array, sample: Sample) -> bool:
    """Whether some run, with all its reduced states (r, m, k), may come to the bound of a denominator."""
    if bounded is None or not bounded.bounds:
        return False
    return not within_bounds(bounded, sample, one.lifted(whole, constants), LEARNING.near).all()


def _out_of_bounds(whole: Array) -> Validation:
    why = ("a lifted denominator comes near zero",)
    return Validation(np.full(len(whole), np.inf), whole, why, comes_near=True)


def fails_strictly(
    problem: ReductionProblem,
    one: Affine,
    written: WrittenSystem,
    totals: Array,
    sample: Sample,
    budget: Budget | None,
    bounded: ReductionProblem | None = None,
) -> int | None:
    """How many runs do not come through when they are integrated as exactly as any user would.

    By the projected equations: that the written ones are the same has been shown on other runs by then. ``None`` where
    the system is written without the bounds of ``bounded`` and a run comes near one.

    Raises
    ------
    WorkLimitError
        As :func:`validate`.
    """
    few = _strict_sample(sample)
    told = _Told(problem, written, few)
    starts = few.starts @ one.matrix.T
    starts[:, written.states] = told.starts
    if one.size + int(few.vector_field.timed) > MAX_DENSE:
        runs, _ = told.integrated(_tolerances(one, few, VALIDATION.strict_tolerance), budget)
        return int((~runs.complete).sum())
    constants = constants_of(totals, few.scale, few.starts)
    runs = _strict_runs(one, constants, few, budget, starts)
    if _comes_near(bounded, one, constants, runs.states[:, :, : one.size], few):
        return None
    return int((~runs.complete).sum())


def strict_failures(one: Affine, totals: Array, sample: Sample, budget: Budget | None) -> int:
    """The same of a projection that is not written, from Lx(0).

    Raises
    ------
    WorkLimitError
        As :func:`validate`.
    """
    few = _strict_sample(sample)
    constants = constants_of(totals, few.scale, few.starts)
    return int((~_strict_runs(one, constants, few, budget, few.starts @ one.matrix.T).complete).sum())


def _strict_runs(one: Affine, constants: Array, sample: Sample, budget: Budget | None, starts: Array) -> Runs:
    return _projected(one, constants, starts, sample, _tolerances(one, sample, VALIDATION.strict_tolerance), budget)


def _strict_sample(sample: Sample) -> Sample:
    count = min(VALIDATION.strict_runs, len(sample.states))
    return replace(sample, states=sample.states[:count], numbers=sample.numbers[:count])


def _projected(
    one: Affine, constants: Array, starts: Array, sample: Sample, tolerances: StepControl, budget: Budget | None
) -> Runs:
    numbers = np.arange(len(sample.states))
    field = lifted_field(sample.vector_field, [one], constants, sample.numbers)
    begin = at_time_zero(starts, field.timed)
    resets = reduced_resets(sample, [one], constants, numbers)
    if field.timed:
        last = VALIDATION.absolute_tolerance * sample.times[-1]
        tolerances = replace(tolerances, absolute=np.append(tolerances.absolute, last))

    def segment(x: Array, grid: Array, alive: Indices, _: Observer | None) -> Runs:
        return advance(field, x, grid, alive, tolerances, None, budget)

    return piecewise(segment, begin, sample.times, [time for time, _ in resets], lambda i, x, run: resets[i][1](x, run))


def _projected_rates(one: Affine, constants: Array, states: Array, sample: Sample) -> tuple[Array, Array]:
    """L f(x̂) at all points, and the size of the terms it is the sum of, both (r, m, k)."""
    r, m, k = states.shape
    n = len(sample.scale)
    projected, terms = np.empty((2, r, m, k))
    together = max(1, VALIDATION.held // (m * n))
    for low in range(0, r, together):
        part = slice(low, min(low + together, r))
        x = sample.with_time(one.lifted(states[part], constants[part]))
        rates = sample.vector_field.rates(x.reshape(-1, x.shape[2]), np.repeat(sample.numbers[part], m))[:, :n]
        projected[part] = (rates @ one.matrix.T).reshape(-1, m, k)
        terms[part] = (np.abs(rates) @ np.abs(one.matrix.T)).reshape(-1, m, k)
    return projected, terms


def _tolerances(one: Affine, sample: Sample, relative: float) -> StepControl:
    """For the reduced states, without time."""
    size = np.abs(sample.states @ one.matrix.T).max(axis=(0, 1), initial=0.0)
    size = np.maximum(size, 1e-6 * size.max(initial=1e-300))
    most = sample.most_steps(relative, VALIDATION.steps, VALIDATION.least_steps, VALIDATION.patience)
    absolute = min(VALIDATION.absolute_tolerance, relative) * size
    return StepControl(relative, absolute, most, sample.stops)


class _Told:
    """A written system told the initial values of the runs of a sample, by its constants ``…_at_start``."""

    def __init__(self, problem: ReductionProblem, written: WrittenSystem, sample: Sample) -> None:
        self._problem, self._sample = problem, sample
        reduced = written.system
        graph, definitions = reduced.graph, reduced.definitions
        self.reduced: OdeSystem = reduced
        self._wanted = tuple(Observable(o.id, definitions[o.id], o.text) for o in problem.observables)
        place = {name: j for j, name in enumerate(problem.names)}
        known = {c.id for c in reduced.constants}
        given = {c: sample.starts[:, place[s]] for s, c in written.starts.items() if s in place}
        given |= {name: column[sample.numbers] for name, column in sample.varied.items() if name in known}
        table = np.stack(list(given.values()), axis=1) if given else np.empty((len(sample.states), 0))
        dependent = {
            c.id: c.value
            for c in reduced.constants
            if c.value is not None and c.id not in given and not graph.symbols([c.value]).isdisjoint(given)
        }
        fixed = {
            name: node for name, node in reduced.constant_values.items() if name not in given and name not in dependent
        }
        evaluator = Evaluator(graph, [*reduced.initial, *dependent.values()], list(given), fixed)
        at_start = evaluator.values(0.0, table)
        self.starts: Array = at_start[:, : reduced.size]
        self._free = dict(given)
        self._free |= {name: at_start[:, reduced.size + i] for i, name in enumerate(dependent)}

    def agrees(self, states: Array, projected: tuple[Array, Array]) -> bool:
        """Whether the written rates are the projected ones at all points where these are finite."""
        wanted, terms = projected
        got = values(self.reduced, self.reduced.rhs, self._sample.times, states, self._free)
        for i, path in enumerate(states):
            good = np.isfinite(path).all(axis=1) & np.isfinite(wanted[i]).all(axis=1)
            size = terms[i][good].max(axis=0, initial=1e-300)
            if not (np.abs(got[i] - wanted[i])[good] <= VALIDATION.agreement * size).all():
                return False
        return True

    def events_agree(self, states: Array, projected: Sequence[tuple[float, Reset]]) -> bool:
        """Whether the written events happen when the projected ones do, and make the same of the states before."""
        if not projected:
            return True
        reduced, sample = self.reduced, self._sample
        posed = pose(replace(reduced, assigned=()), self._wanted)
        columns = [reduced.state_index[name] for name in posed.names]
        timed = reduced.graph.depends_on_time(posed.rhs())
        written = posed.resets(float(sample.times[-1]), timed, self._free)
        by_time = {reset.time: reset for reset in written}
        if not set(by_time) <= {time for time, _ in projected} or len(by_time) < len(written):
            return False  # what happens twice at one time is compared by integration
        size = np.nan_to_num(np.abs(states)).max(axis=(0, 1))[columns]
        for time, reset in projected:
            before = states[:, max(int(np.searchsorted(sample.times, time)) - 1, 0)]
            runs = np.flatnonzero(np.isfinite(before).all(axis=1))
            clock = np.full((len(runs), 1), time)
            given, own = before[runs], before[runs][:, columns]
            given = np.concatenate([given, clock], axis=1) if sample.vector_field.timed else given
            own = np.concatenate([own, clock], axis=1) if timed else own
            # an event that changes no reduced state is not among the written ones
            got = by_time[time].new_state.rates(own, runs) if time in by_time else own
            off = np.abs(got[:, : len(columns)] - reset(given, runs)[:, columns])
            if not (off <= VALIDATION.agreement * np.maximum(size, 1e-300)).all():
                return False
        return True

    def integrated(self, tolerances: StepControl, budget: Budget | None) -> tuple[Runs, Array]:
        """Runs of the written equations, and their states in the order of the system, (r, m, k)."""
        reduced, sample = self.reduced, self._sample
        posed = pose(replace(reduced, assigned=()), self._wanted)
        columns = [reduced.state_index[name] for name in posed.names]
        used = reduced.graph.symbols(posed.rhs())
        field = posed.vector_field({name: column for name, column in self._free.items() if name in used})
        resets = posed.resets(float(sample.times[-1]), field.timed, self._free)
        start = self.starts[:, columns]
        absolute = np.asarray(tolerances.absolute)[columns]
        if field.timed:
            start = at_time_zero(start, True)
            absolute = np.append(absolute, VALIDATION.absolute_tolerance * sample.times[-1])
        runs = integrate(
            field, start, sample.times, resets=resets, tolerances=replace(tolerances, absolute=absolute), budget=budget
        )
        states = np.full((*runs.states.shape[:2], reduced.size), np.nan)
        states[:, :, columns] = runs.states[:, :, : len(columns)]
        return runs, states

    def validation(self, states: Array, runs: Runs, how: str, relative: float) -> Validation:
        """Errors of the observables along these states; what a run does not need may be missing from them.

        ``relative`` is the tolerance of the integration.
        """
        reduced, sample = self.reduced, self._sample
        needed = reduced.graph.symbols([o.expression for o in self._wanted])
        columns = [j for j, name in enumerate(reduced.states) if name in needed]
        names = tuple(reduced.states[j] for j in columns)
        nodes = [o.expression for o in self._wanted]
        got = values(reduced, nodes, sample.times, states[:, :, columns], self._free, names)
        wanted = observed(self._problem, sample)
        errors = relative_errors(got, wanted, largest_values(wanted, sample.states)).max(axis=1, initial=0.0)
        errors[~runs.complete] = np.inf
        why = tuple(f"{reason} at {t:.3g}" for reason, t in zip(runs.why, runs.reached.tolist(), strict=True) if reason)
        return Validation(errors, states, why, how, got, least=VALIDATION.integrations * relative)


# -- Oscillations ----------------------------------------------------------------------------------


def oscillation_errors(times: Array, got: Array, expected: Array, sizes: Array) -> OscillationErrors | None:
    """Shape and phase of oscillating observables, told apart.

    At equal times a phase that drifts by a percent of a period looks like a wrong shape. Here the reduced run is read
    at t + a + bt, with a and b of each run by least squares (Gauss–Newton, from a few b).

    Parameters
    ----------
    times : array (m,)
    got, expected : array (r, m, o)
        Observables of the reduced runs and of those of the original.
    sizes : array (r, o)
        By which errors are divided.

    Returns
    -------
    OscillationErrors or None
        ``None`` where no observable oscillates in the first of the runs of the original, or none integrates.
    """
    found = oscillations(times, expected[0], np.zeros(expected.shape[2]))
    shape, drift = 0.0, 0.0
    period = max((one.period for one in found if one is not None), default=0.0)
    alive = np.flatnonzero(np.isfinite(got).all(axis=(1, 2)))
    if not period or not len(alive):
        return None
    for j, one in enumerate(found):
        if one is None:
            continue
        for i in alive.tolist():
            off, shift = _aligned(times, got[i, :, j], expected[i, :, j], one.period)
            shape, drift = max(shape, off / float(sizes[i, j])), max(drift, abs(shift) / one.period)
    return OscillationErrors(period, shape, drift)


def _aligned(times: Array, got: Array, expected: Array, period: float) -> tuple[float, float]:
    """Largest difference after the best shift and stretch of time, and how far the end is moved by it."""
    from scipy.interpolate import CubicSpline  # half a second, and few models oscillate

    curve = CubicSpline(times, got)
    slope = curve.derivative()
    end = float(times[-1])

    def differences(a: float, b: float) -> tuple[Array, Mask, Array]:
        moved = times + a + b * times
        inside = (moved >= 0) & (moved <= end)
        return np.where(inside, curve(np.clip(moved, 0, end)) - expected, 0.0), inside, moved

    def cost(a: float, b: float) -> float:
        off, inside, _ = differences(a, b)
        return float((off**2).sum() / max(int(inside.sum()), 1))

    stretches = np.linspace(-1, 1, VALIDATION.stretches) * VALIDATION.most_drift * period / end
    best = min(((0.0, float(b)) for b in stretches), key=lambda pair: cost(*pair))
    for _ in range(VALIDATION.alignments):
        off, inside, moved = differences(*best)
        rates = np.where(inside, slope(np.clip(moved, 0, end)), 0.0)
        step = np.linalg.lstsq(np.stack([rates, rates * times], axis=1), -off, rcond=None)[0]
        new = best[0] + float(step[0]), best[1] + float(step[1])
        if not cost(*new) < cost(*best) or abs(new[0] + new[1] * end) > VALIDATION.most_drift * period:
            break
        best = new
    return float(np.abs(differences(*best)[0]).max(initial=0.0)), best[0] + best[1] * end


# -- The error of a reduction estimated ------------------------------------------------------------

# The error of a reduction estimated from the reduced runs alone; and the published bound.
#
# Let x̂ = My + Nw be any lift of the reduced run that agrees with it in the observables; the residual ρ = f(x̂) − Mẏ is
# what the full equations would do and the reduced ones cannot (for M = L̄ it is (I − L̄L) f(x̂)). The error e =
# x − x̂ obeys
# e' = f(x̂ + e) − f(x̂) + ρ, e(0) = x(0) − x̂(0). While it is small, f(x̂ + e) − f(x̂) is J(x̂)e, and the equation is solved
# for all times at once by the propagators of J along x̂. Where some state is lifted to a place that is not close to it,
# although what is observed is hardly touched by that, the equation is followed step by step with the Jacobian half-way
# between x̂ and x̂ + e (which is exact for right-hand sides of degree two). Both are done on the output times by an
# exponential method of second order. This is an estimate, not a bound.


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
        Only its starts, times, field and resets are used.
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
        far = np.flatnonzero(~(np.abs(errors / sample.scale).max(axis=(1, 2)) < VALIDATION.close))
    if len(far) and sample.vector_field.size <= MAX_DENSE:
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
    numbers: Indices
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
        alive: Indices,
        lift: tuple[Array, Array] | None,
    ) -> _Paths:
        m = lift[0] if lift is not None else one.lift
        y, w, numbers = reduced[alive], constants[alive], sample.numbers[alive]
        n = len(sample.scale)

        def rates(points: Array) -> Array:
            flat = sample.with_time(points).reshape(-1, sample.vector_field.size)
            return sample.vector_field.rates(flat, np.repeat(numbers, len(sample.times)))[:, :n].reshape(points.shape)

        x = one.lifted(y, w)
        f = rates(x)
        own = f @ one.matrix.T
        if lift is None:
            velocity = (one.slopes(y, w) @ own[..., None])[..., 0]
        else:
            x, velocity = y @ m.T + (w @ lift[1].T)[:, None, :], own @ m.T
            f = rates(x)
        return cls(sample, m @ one.matrix, numbers, x, velocity, f - velocity, sample.starts[alive] - x[:, 0])

    def linear(self, i: int) -> Array:
        """e along run ``i`` by the Jacobian along x̂, (m, n)."""
        points = self.sample.with_time(self.states[i][None])[0]
        force = _padded(self.residual[i], points)
        try:
            return self._propagated(i, points, force)
        except np.linalg.LinAlgError:
            return np.full(self.states[i].shape, np.nan)

    def _propagated(self, i: int, points: Array, force: Array) -> Array:
        field, times, run = self.sample.vector_field, self.sample.times, int(self.numbers[i])
        n = self.states.shape[2]
        error = np.zeros(points.shape)
        error[0, :n] = self.first[i]
        if by_krylov(field.size):
            return forward_large(field, run, times, points, force, error[0])[:, :n]
        resets = _resets(self.sample)
        phi, psi = propagators(field, run, times, points)
        for j in range(len(times) - 1):
            error[j + 1] = phi[j] @ error[j] + psi[j] @ (0.5 * (force[j] + force[j + 1]))
            if j + 1 in resets:
                before = phi[j] @ error[j] + psi[j] @ force[j]
                error[j + 1] = self._reset(resets[j + 1], points[j][None], before[None], self.numbers[i : i + 1])[0]
        return error[:, :n]

    def followed(self, rows: Indices) -> Array:
        """e along some runs step by step, with the Jacobian half-way to x̂ + e, (rows, m, n)."""
        sample, numbers = self.sample, self.numbers[rows]
        field, times = sample.vector_field, sample.times
        n = self.states.shape[2]
        points = sample.with_time(self.states[rows])
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

    def _reset(self, resets: Sequence[StateReset], before: Array, error: Array, numbers: Indices) -> Array:
        """e after resets in turn, each e + (R(x̂ + e) − x̂ − e) − ML(R(x̂) − x̂), (r, n) or (r, n + 1)."""
        n = self.states.shape[2]
        here, out = before, error
        for reset in resets:
            there = here + out
            moved = (reset.new_state.rates(there, numbers) - there)[:, :n]
            made = (reset.new_state.rates(here, numbers) - here)[:, :n] @ self.projector.T
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
    gram = scaled.T @ scaled + VALIDATION.ridge * np.eye(k + w.shape[1])
    both = np.linalg.solve(gram, scaled.T @ states.reshape(r * m, n)[good]).T / size
    right = np.linalg.pinv(pinned)
    wanted = np.zeros((p, both.shape[1]))
    wanted[:, :p] = np.eye(p)
    both = both + right @ (wanted - pinned @ both)
    return both[:, :k], both[:, k:]


def _padded(rho: Array, points: Array) -> Array:
    return np.pad(rho, ((0, 0), (0, points.shape[1] - rho.shape[1])))


def _resets(sample: Sample) -> dict[int, list[StateReset]]:
    """Jumps, in their order, by the index of the first output time at or after them."""
    found: dict[int, list[StateReset]] = {}
    for reset in sample.resets:
        found.setdefault(int(np.searchsorted(sample.times, reset.time)), []).append(reset)
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


# -- The certificate of an approximate reduction ---------------------------------------------------

# The certificate of an approximate reduction: what was measured, what was estimated, how it was found.


def accepted(fresh: FreshErrors, above: int) -> bool:
    """Whether a reduction is accepted: from no fresh initial value it diverges, from few it is ``above`` the error."""
    return fresh.initial_values > 0 and not fresh.diverged and above <= VALIDATION.share_above * fresh.initial_values


@dataclass(frozen=True)
class Try:
    """A reduction that was written and validated.

    Attributes
    ----------
    map : Affine
    written : WrittenSystem
    validation : Validation
        On the fresh runs where it came so far, else on the few ones.
    training_worst : float
    fresh : FreshErrors or None
        What the fresh runs say.
    bounded : bool
        Whether it is written with bounds of denominators.
    """

    map: Affine
    written: WrittenSystem
    validation: Validation
    training_worst: float
    fresh: FreshErrors | None = None
    bounded: bool = False

    @property
    def worst(self) -> float:
        """Worst error over the validation runs."""
        return self.validation.worst

    def may_keep(self, wanted: float) -> bool:
        """Whether it passed on the few runs, so that it is worth while to look at the fresh ones."""
        errors = self.validation.errors
        return bool(np.isfinite(errors).all() and (errors > wanted).sum() <= VALIDATION.few_above)

    def keeps(self, wanted: float) -> bool:
        """Whether it is accepted: from none of the fresh initial values it diverges, from few it is too far off."""
        return self.fresh is not None and accepted(self.fresh, int((self.validation.errors > wanted).sum()))


def certificate_of(runs: LearningRuns, tried: Try, checked: Sample, work: float, used_up: bool) -> ErrorEstimate:
    """The certificate of a reduction.

    Parameters
    ----------
    runs : LearningRuns
    tried : Try
    checked : Sample
        The runs of its validation.
    work : float
        Units of work that the search took.
    used_up : bool
        Whether it ended because that was all that was allowed.
    """
    o = runs.options
    validation = tried.validation
    constants = constants_of(runs.totals, runs.training.scale, checked.starts)
    count = VALIDATION.estimated if not runs.large else 1
    lift = _closest_lift(runs, tried.map) if not runs.large else None
    finite = np.where(np.isfinite(validation.errors), validation.errors, -1.0)
    rows = np.argsort(-finite, kind="stable")[:count]
    far = replace(checked, states=checked.states[rows], numbers=checked.numbers[rows])
    estimates = estimate_errors(
        runs.problem, tried.map, constants[rows], far, validation.reduced[rows], len(rows), lift
    )
    known = estimates[np.isfinite(estimates)]
    lifted = _lowest_lifted(runs, tried.map, constants, validation.reduced)
    expected = observed(runs.problem, checked)
    sizes = largest_values(expected, checked.states)
    oscillation = oscillation_errors(checked.times, validation.observed, expected, sizes)
    least, fresh = validation.least, tried.fresh
    if fresh is not None:
        if fresh.wanted is not None:  # what was accepted is not told as above what was wanted
            least = min(least, fresh.wanted)
        worst, median = max(fresh.worst, least), max(fresh.median, least)
        fresh = replace(fresh, worst=worst, median=median, oscillation=oscillation)
    details: dict[str, Any] = {
        "algorithm": o.algorithm,
        "candidate": tried.map.label,
        "form": tried.written.form,
        "horizon_reason": runs.horizon_reason,
        "training_runs": len(runs.training.states),
        "validation_runs": len(checked.states),
        "oscillation": None if oscillation is None else oscillation.as_json(),
        "dropped_initial_values": runs.dropped + checked.dropped,
        "validated": validation.how,
        "training_worst_error": finite_or_none(tried.training_worst),
        "validation_errors": [finite_or_none(e) for e in validation.errors.tolist()],
        "estimated_runs": rows.tolist(),
        "estimates": [finite_or_none(e) for e in estimates.tolist()],
        "estimate_note": "by the error equation along the reduced runs: an estimate, not a bound",
        "lowest_lifted_state": finite_or_none(lifted),
        "lifted_state_non_negative": bool(lifted >= -1e-9),
        "perturb_parameters": o.perturb_parameters,
        "seed": o.seed,
        "refined": tried.map.label.endswith("refined"),
        "decaying_totals": tried.map.decaying,
        "work": float(f"{work:.3g}"),
        "work_used_up": used_up,
    }
    if isinstance(tried.map, QuadraticLift):
        details["lift"] = "quadratic"
        details["products"] = len(tried.map.products)
    if o.algorithm not in ("balanced", "quadratic"):
        details["tolerance"] = float(tried.map.label.rpartition("=")[2])
    if o.bound and runs.checking.resets:
        details["bound_note"] = "Theorem 3 says nothing of models with events"
    elif o.bound and isinstance(tried.map, QuadraticLift):
        details["bound_note"] = "Theorem 3 says nothing of lifts of degree two"
    elif o.bound:
        bound = _krylov_bound(runs, tried.map)
        details["bound"] = finite_or_none(bound.value)
        details["bound_log10"] = finite_or_none(bound.log10)
        details["bound_note"] = "Theorem 3 with the largest Jacobian norm seen on the runs; often of no use"
    return ErrorEstimate(
        f"{o.algorithm}, measured on {len(checked.states)} runs that were not used to make the reduction",
        runs.until,
        len(checked.states),
        o.spread,
        max(validation.worst, least),
        max(validation.median, least),
        float(known.max()) if len(known) else None,
        details,
        fresh=fresh,
    )


def _closest_lift(runs: LearningRuns, one: Affine) -> tuple[Array, Array] | None:
    """A lift along which the estimate may linearise; that of the projection itself if it is the closer one."""
    training = runs.training
    rows = np.arange(min(VALIDATION.lifted_runs, len(training.states)))
    constants = constants_of(runs.totals, training.scale, training.starts[rows])
    field = lifted_field(training.vector_field, [one], constants, training.numbers[rows])
    starts = training.starts[rows] @ one.matrix.T
    if training.resets:
        return None
    starts = at_time_zero(starts, field.timed)
    size = np.maximum(np.abs(starts).max(axis=0), 1e-6 * np.abs(starts).max(initial=1e-300))
    paths = advance(
        field, starts, training.times, None, StepControl(1e-5, 1e-6 * size, VALIDATION.steps_of_lift, training.stops)
    ).states
    paths = paths[:, :, : one.size]
    states = training.states[rows]
    pinned = runs.problem.pinned_array()
    found = closest_lift(one, pinned, constants, states, paths)

    def distance(lifted: Array) -> float:
        return float(np.nanmean(((lifted - states) / training.scale) ** 2))

    closest = paths @ found[0].T + (constants @ found[1].T)[:, None, :]
    return found if distance(closest) < 0.25 * distance(one.lifted(paths, constants)) else None


def _lowest_lifted(runs: LearningRuns, one: Affine, constants: Array, reduced: Array) -> float:
    """Lowest value of the lifted state in units of each state's scale."""
    lowest = math.inf
    for path, w in zip(reduced, constants, strict=True):  # all runs of a large system are most of a gigabyte
        x = one.lifted(path[None], w[None]) / runs.training.scale
        lowest = min(lowest, float(np.fmin.reduce(x, axis=None, initial=math.inf)))
    return lowest if math.isfinite(lowest) else math.nan


def _krylov_bound(runs: LearningRuns, one: Affine) -> Bound:
    """The bound of Theorem 3 with η and C taken from the validation runs.

    It is of ‖Lx(t) − y(t)‖₂ for y(0) = Lx(0) without events; an affine lift x̂ = L̄Lx + c enters through η alone.

    References
    ----------
    As in :mod:`sbmlump.methods.approximate.subspaces`, Theorem 3.
    """
    sample, n = runs.checking, runs.problem.size
    points = sample.with_time(sample.states)[:, ::4]
    per_run = points.shape[1]
    points = points.reshape(-1, sample.vector_field.size)
    numbers = np.repeat(sample.numbers, per_run)
    constants = constants_of(runs.totals, runs.training.scale, sample.starts)
    lifted = points.copy()
    lifted[:, :n] = points[:, :n] @ one.matrix.T @ one.lift.T + np.repeat(constants @ one.offset.T, per_run, axis=0)
    f, g = sample.vector_field.rates(points, numbers)[:, :n], sample.vector_field.rates(lifted, numbers)[:, :n]
    eta = float(np.nanmax(deviation(f, g, one.matrix)))
    step = max(1, len(points) // 100)
    norms = np.linalg.norm(sample.vector_field.jacobians(points[::step], numbers[::step]), 2, axis=(1, 2))
    return error_bound(eta, float(norms.max()), one.matrix, one.lift, runs.until)
