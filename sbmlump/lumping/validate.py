"""How far a reduction is off, measured on runs it was not made from, with the equations as they will be written.

Nothing of the projection is used here: the reduced :class:`~sbmlump.system.OdeSystem` is integrated from its own
initial expressions, with the initial values of each run put in place of its constants ``…_at_start``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.integrate import Tolerances, integrate
from sbmlump.lumping.approximate_problem import Problem, pose
from sbmlump.lumping.training import Sample
from sbmlump.reduced import Observable
from sbmlump.system import OdeSystem

__all__ = ["Validation", "observed", "validate"]

Array = NDArray[np.float64]
_RELATIVE: Final = 1e-7
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
    """

    errors: Array
    reduced: Array
    why: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """Largest error."""
        return float(self.errors.max(initial=0.0))

    @property
    def median(self) -> float:
        """Median error."""
        return float(np.median(self.errors)) if len(self.errors) else 0.0


def observed(problem: Problem, sample: Sample) -> Array:
    """Observables along the runs of the full model, (r, m, o)."""
    return _values(problem.system, problem.observables, problem.names, sample.times, sample.states)


def _values(
    system: OdeSystem, observables: tuple[Observable, ...], names: tuple[str, ...], times: Array, states: Array
) -> Array:
    evaluator = Evaluator(system.graph, [o.expression for o in observables], names, system.constant_values)
    return np.stack([evaluator.values(times, path) for path in states])


def validate(problem: Problem, reduced: OdeSystem, starts: Mapping[str, str], sample: Sample) -> Validation:
    """Compare ``reduced`` with the runs of ``sample``.

    Parameters
    ----------
    problem : Problem
    reduced : OdeSystem
    starts : mapping of original state to constant of ``reduced``
        Which constants hold initial values.
    sample : Sample
    """
    graph = reduced.graph
    definitions = reduced.definitions
    wanted = tuple(Observable(o.id, definitions[o.id], o.text) for o in problem.observables)
    r, m, _ = sample.states.shape
    place = {name: j for j, name in enumerate(problem.names)}
    given = [constant for state, constant in starts.items() if state in place]
    values = np.stack([sample.starts[:, place[s]] for s in starts if s in place], axis=1) if given else np.empty((r, 0))
    fixed = {name: node for name, node in reduced.constant_values.items() if name not in given}
    dependent = [c for c in reduced.constants if c.value is not None and not graph.symbols([c.value]).isdisjoint(given)]
    fixed = {name: node for name, node in fixed.items() if name not in {c.id for c in dependent}}
    nodes = [c.value for c in dependent if c.value is not None]
    evaluator = Evaluator(graph, [*reduced.initial, *nodes], given, fixed)
    at_start = evaluator.values(0.0, values)
    begin, more = at_start[:, : reduced.size], at_start[:, reduced.size :]
    free = {name: values[:, i] for i, name in enumerate(given)} | {c.id: more[:, i] for i, c in enumerate(dependent)}
    posed = _posed(reduced, wanted)
    columns = [reduced.state_index[name] for name in posed.names]
    used = graph.symbols(posed.rhs())
    field = posed.field({name: column for name, column in free.items() if name in used})
    jumps = posed.jumps(float(sample.times[-1]), field.timed, free)
    start = begin[:, columns]
    size = np.maximum(np.abs(start).max(axis=0), 1e-6 * np.abs(start).max(initial=1e-300))
    if field.timed:
        start, size = np.concatenate([start, np.zeros((r, 1))], axis=1), np.append(size, sample.times[-1])
    tolerances = Tolerances(_RELATIVE, 1e-8 * size, _most_steps(sample))
    runs = integrate(field, start, sample.times, jumps=jumps, tolerances=tolerances)
    states = np.full((r, m, reduced.size), np.nan)
    states[:, :, columns] = runs.states[:, :, : len(columns)]
    got = _values(reduced, wanted, posed.names, sample.times, states[:, :, columns])
    errors = relative_errors(got, observed(problem, sample))
    errors[~runs.complete] = np.inf
    why = tuple(f"{reason} at {t:.3g}" for reason, t in zip(runs.why, runs.reached.tolist(), strict=True) if reason)
    return Validation(errors, states, why)


def _most_steps(sample: Sample) -> int:
    """A reduction that asks for far more steps than the original is of no use, and is not followed to the end."""
    # the steps of a method of order four grow with the fourth root of the accuracy
    fair = sample.steps * (sample.relative / _RELATIVE) ** 0.25
    return int(min(_STEPS, max(_LEAST_STEPS, _PATIENCE * fair))) if sample.steps else _STEPS


def _posed(reduced: OdeSystem, wanted: tuple[Observable, ...]) -> Problem:
    plain = replace(reduced, assigned=())
    return pose(plain, wanted)


def relative_errors(got: Array, wanted: Array) -> Array:
    """max over the grid |difference| / max over the grid |wanted|, the largest over the observables, (r,)."""
    size = np.abs(wanted).max(axis=1)
    size = np.maximum(size, 1e-12 * max(float(size.max(initial=0.0)), 1e-300))
    off = np.abs(got - wanted).max(axis=1) / size
    return np.asarray(np.nan_to_num(off, nan=np.inf).max(axis=1, initial=0.0))
