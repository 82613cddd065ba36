"""How far a reduction is off, measured on runs it was not made from, with the equations as they will be written.

The reduced :class:`~sbmlump.system.OdeSystem` starts from its own initial expressions, with the initial values of each
run put in place of its constants ``…_at_start``. Its equations may be long, and their Jacobian longer; so the
projection is integrated in their place where both give the same rates all along the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.integrate import Runs, StepControl, integrate
from sbmlump.integrate.rosenbrock import advance
from sbmlump.integrate.solve import MAX_DENSE, piecewise
from sbmlump.integrate.work import Meter
from sbmlump.lumping.affine import WrittenSystem
from sbmlump.lumping.approximate_problem import ReductionProblem, pose
from sbmlump.lumping.balanced import Affine
from sbmlump.lumping.projected import lifted_field
from sbmlump.lumping.search import Reset, constants_of, reduced_jumps
from sbmlump.lumping.training import Sample
from sbmlump.reduced import Observable
from sbmlump.system import OdeSystem

__all__ = ["Validation", "observed", "validate"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_RELATIVE: Final = 1e-7
_AGREEMENT: Final = 1e-8  # of the terms that a rate is the sum of
_STEPS: Final = 20_000
_LEAST_STEPS: Final = 2_000
_PATIENCE: Final = 5.0  # times the steps that the original would need


@dataclass(frozen=True, slots=True)
class Validation:
    """Errors of a reduced system.

    Attributes
    ----------
    errors : ndarray (r,)
        Largest relative error over [0, T] and the observables, of each run; infinite where a run failed.
    reduced : ndarray (r, m, k)
        Trajectories of the reduced states; NaN beyond a failure.
    why : tuple of str
        Failures.
    how : str
        What was integrated.
    """

    errors: Array
    reduced: Array
    why: tuple[str, ...] = ()
    how: str = ""

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
    system = problem.system
    free = dict(sample.varied)
    fixed = {name: node for name, node in system.constant_values.items() if name not in free}
    evaluator = Evaluator(system.graph, [o.expression for o in problem.observables], [*problem.names, *free], fixed)
    found = []
    for number, path in zip(sample.numbers.tolist(), sample.states, strict=True):
        constants = np.array([column[number] for column in free.values()])
        points = np.concatenate([path, np.broadcast_to(constants, (len(path), len(free)))], axis=1)
        found.append(evaluator.values(sample.times, points))
    return np.stack(found)


def validate(
    problem: ReductionProblem,
    one: Affine,
    written: WrittenSystem,
    totals: Array,
    sample: Sample,
    meter: Meter | None = None,
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
    meter : Meter, optional
        Counts the work.

    Raises
    ------
    WorkLimitError
        If there is a meter and its limit has been passed.
    """
    told = _Told(problem, written, sample)
    if one.size + int(sample.field.timed) <= MAX_DENSE:
        constants = constants_of(totals, sample.scale, sample.starts)
        runs = _projected(one, constants, told.starts, sample, meter)
        states = runs.states[:, :, : one.size]
        rates_agree = told.agrees(states, _projected_rates(one, constants, states, sample))
        if rates_agree and told.events_agree(states, reduced_jumps(sample, [one], constants, np.arange(len(states)))):
            return told.validation(states, runs, "the projected equations; the written ones agree with them")
    runs, states = told.integrated(meter)
    return told.validation(states, runs, "the written equations")


def _projected(one: Affine, constants: Array, starts: Array, sample: Sample, meter: Meter | None) -> Runs:
    numbers = np.arange(len(sample.states))
    field = lifted_field(sample.field, [one], constants, sample.numbers)
    begin = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1) if field.timed else starts
    tolerances = _tolerances(starts, sample)
    jumps = reduced_jumps(sample, [one], constants, numbers)
    if not jumps:
        return advance(field, begin, sample.times, None, tolerances, None, meter)

    def segment(x: Array, grid: Array, alive: Indices) -> Runs:
        return advance(field, x, grid, alive, tolerances, None, meter)

    def reset(i: int, x: Array, alive: Indices) -> Array:
        return jumps[i][1](x, alive)

    return piecewise(segment, begin, sample.times, [time for time, _ in jumps], reset)


def _projected_rates(one: Affine, constants: Array, states: Array, sample: Sample) -> tuple[Array, Array]:
    """L f(x̂) at all points, and the size of the terms it is the sum of, both (r, m, k)."""
    r, m, k = states.shape
    n = len(sample.scale)
    x = sample.clocked(states @ one.lift.T + (constants @ one.offset.T)[:, None, :])
    rates = sample.field.rates(x.reshape(r * m, -1), np.repeat(sample.numbers, m))[:, :n]
    return (rates @ one.matrix.T).reshape(r, m, k), (np.abs(rates) @ np.abs(one.matrix.T)).reshape(r, m, k)


def _tolerances(starts: Array, sample: Sample) -> StepControl:
    size = np.maximum(np.abs(starts).max(axis=0), 1e-6 * np.abs(starts).max(initial=1e-300))
    if sample.field.timed:
        size = np.append(size, sample.times[-1])
    return StepControl(_RELATIVE, 1e-8 * size, _most_steps(sample))


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
        values = np.stack(list(given.values()), axis=1) if given else np.empty((len(sample.states), 0))
        dependent = {
            c.id: c.value
            for c in reduced.constants
            if c.value is not None and c.id not in given and not graph.symbols([c.value]).isdisjoint(given)
        }
        fixed = {
            name: node for name, node in reduced.constant_values.items() if name not in given and name not in dependent
        }
        evaluator = Evaluator(graph, [*reduced.initial, *dependent.values()], list(given), fixed)
        at_start = evaluator.values(0.0, values)
        self.starts: Array = at_start[:, : reduced.size]
        self._free = dict(given)
        self._free |= {name: at_start[:, reduced.size + i] for i, name in enumerate(dependent)}

    def agrees(self, states: Array, projected: tuple[Array, Array]) -> bool:
        """Whether the written rates are the projected ones at all points where these are finite."""
        reduced, sample = self.reduced, self._sample
        free = self._free
        fixed = {name: node for name, node in reduced.constant_values.items() if name not in free}
        evaluator = Evaluator(reduced.graph, reduced.rhs, [*reduced.states, *free], fixed)
        wanted, terms = projected
        for i, path in enumerate(states):
            good = np.isfinite(path).all(axis=1) & np.isfinite(wanted[i]).all(axis=1)
            if not good.any():
                continue
            constants = np.array([column[i] for column in free.values()])
            points = np.concatenate([path[good], np.broadcast_to(constants, (good.sum(), len(free)))], axis=1)
            got = evaluator.values(sample.times[good], points)
            size = terms[i][good].max(axis=0)
            if not (np.abs(got - wanted[i][good]) <= _AGREEMENT * np.maximum(size, 1e-300)).all():
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
        written = posed.jumps(float(sample.times[-1]), timed, self._free)
        by_time = {jump.time: jump for jump in written}
        if not set(by_time) <= {time for time, _ in projected} or len(by_time) < len(written):
            return False  # what happens twice at one time is compared by integration
        size = np.nan_to_num(np.abs(states)).max(axis=(0, 1))[columns]
        for time, reset in projected:
            before = states[:, max(int(np.searchsorted(sample.times, time)) - 1, 0)]
            runs = np.flatnonzero(np.isfinite(before).all(axis=1))
            clock = np.full((len(runs), 1), time)
            given, own = before[runs], before[runs][:, columns]
            given = np.concatenate([given, clock], axis=1) if sample.field.timed else given
            own = np.concatenate([own, clock], axis=1) if timed else own
            # an event that changes no reduced state is not among the written ones
            got = by_time[time].reset.rates(own, runs) if time in by_time else own
            off = np.abs(got[:, : len(columns)] - reset(given, runs)[:, columns])
            if not (off <= _AGREEMENT * np.maximum(size, 1e-300)).all():
                return False
        return True

    def integrated(self, meter: Meter | None) -> tuple[Runs, Array]:
        """Runs of the written equations, and their states in the order of the system, (r, m, k)."""
        reduced, sample = self.reduced, self._sample
        posed = pose(replace(reduced, assigned=()), self._wanted)
        columns = [reduced.state_index[name] for name in posed.names]
        used = reduced.graph.symbols(posed.rhs())
        field = posed.field({name: column for name, column in self._free.items() if name in used})
        jumps = posed.jumps(float(sample.times[-1]), field.timed, self._free)
        start = self.starts[:, columns]
        tolerances = _tolerances(start, sample)
        absolute = np.asarray(tolerances.absolute)[: len(columns)]
        if field.timed:
            start = np.concatenate([start, np.zeros((len(start), 1))], axis=1)
            absolute = np.append(absolute, 1e-8 * sample.times[-1])
        runs = integrate(
            field, start, sample.times, jumps=jumps, tolerances=replace(tolerances, absolute=absolute), meter=meter
        )
        states = np.full((*runs.states.shape[:2], reduced.size), np.nan)
        states[:, :, columns] = runs.states[:, :, : len(columns)]
        return runs, states

    def validation(self, states: Array, runs: Runs, how: str) -> Validation:
        """Errors of the observables along these states; what a run does not need may be missing from them."""
        reduced, sample = self.reduced, self._sample
        needed = reduced.graph.symbols([o.expression for o in self._wanted])
        columns = [j for j, name in enumerate(reduced.states) if name in needed]
        names = tuple(reduced.states[j] for j in columns)
        got = self._observables(names, states[:, :, columns])
        errors = relative_errors(got, observed(self._problem, sample))
        errors[~runs.complete] = np.inf
        why = tuple(f"{reason} at {t:.3g}" for reason, t in zip(runs.why, runs.reached.tolist(), strict=True) if reason)
        return Validation(errors, states, why, how)

    def _observables(self, names: tuple[str, ...], states: Array) -> Array:
        reduced, sample = self.reduced, self._sample
        free = self._free
        fixed = {name: node for name, node in reduced.constant_values.items() if name not in free}
        roots = [o.expression for o in self._wanted]
        evaluator = Evaluator(reduced.graph, roots, [*names, *free], fixed)
        found = []
        for i, path in enumerate(states):
            constants = np.array([column[i] for column in free.values()])
            points = np.concatenate([path, np.broadcast_to(constants, (len(path), len(free)))], axis=1)
            found.append(evaluator.values(sample.times, points))
        return np.stack(found)


def _most_steps(sample: Sample) -> int:
    """A reduction that asks for far more steps than the original is of no use, and is not followed to the end."""
    # the steps of a method of order four grow with the fourth root of the accuracy
    fair = sample.steps * (sample.relative / _RELATIVE) ** 0.25
    return int(min(_STEPS, max(_LEAST_STEPS, _PATIENCE * fair))) if sample.steps else _STEPS


def relative_errors(got: Array, wanted: Array) -> Array:
    """max over the grid |difference| / max over the grid |wanted|, the largest over the observables, (r,)."""
    size = np.abs(wanted).max(axis=1)
    size = np.maximum(size, 1e-12 * max(float(size.max(initial=0.0)), 1e-300))
    off = np.abs(got - wanted).max(axis=1) / size
    return np.asarray(np.nan_to_num(off, nan=np.inf).max(axis=1, initial=0.0))
