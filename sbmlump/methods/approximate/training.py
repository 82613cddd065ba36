"""Training and validation runs of a problem: perturbed starts, trajectories, gradients, conserved totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics import Jump, Runs, StepControl, VectorField, integrate
from sbmlump.dynamics.budget import Meter
from sbmlump.dynamics.solve import MAX_DENSE, adjoints
from sbmlump.errors import LimitError, Reason
from sbmlump.methods.approximate.problem import ReductionProblem
from typing import Final

__all__ = ["Ensemble", "Sample", "adjoint_of", "end_times", "gradients", "perturbed_starts", "run_ensemble", "time_grid"]


Array = NDArray[np.float64]
_RELATIVE: Final = 1e-7
_DECADES: Final = 5.0
_END_TIMES: Final = 25
_LARGE_ENDS: Final = 8


def time_grid(until: float, points: int = 100) -> Array:
    """0 and the union of as many logarithmic and uniform times up to ``until``."""
    logarithmic = np.geomspace(until * 10.0**-_DECADES, until, points)
    uniform = np.linspace(0.0, until, points + 1)
    times = np.unique(np.concatenate([logarithmic, uniform]))
    keep = np.concatenate([[True], np.diff(times) > 1e-9 * until])
    return np.asarray(times[keep])


@dataclass(frozen=True, slots=True)
class Ensemble:
    """How runs differ from the nominal one.

    ``count`` perturbed runs beside the nominal one; initial values times 1 ± ``spread``, and where they are zero,
    plus at most ``spread`` times the largest value of that state along the nominal run; parameters times
    1 ± ``parameters``.
    """

    count: int = 24
    spread: float = 0.2
    parameters: float = 0.0


@dataclass(frozen=True)
class Sample:
    """Runs of the full model.

    Attributes
    ----------
    field : Field
    times : ndarray (m,)
    states : ndarray (r, m, n)
        Of the n kept states (without the clock of a field that has one).
    scale : ndarray (n,)
        Largest magnitude of each state over all runs, at least 10⁻¹² of the largest of all states (what is smaller is
        zero within rounding, and dividing by it would make rounding errors count); 1 where a state is always zero.
    jumps : tuple of Jump
    numbers : ndarray of int (r,)
        Numbers of the runs in the field.
    steps : int
        Most steps that a run took, 0 where they were not counted.
    relative : float
        Tolerance of the integration.
    varied : mapping of str to array
        Values of constants that differ between runs, by the runs' numbers.
    """

    field: VectorField
    times: Array
    states: Array
    scale: Array
    jumps: tuple[Jump, ...]
    numbers: NDArray[np.int64]
    steps: int = 0
    relative: float = _RELATIVE
    varied: Mapping[str, Array] = dataclass_field(default_factory=dict)

    @property
    def starts(self) -> Array:
        """Initial states, (r, n)."""
        return self.states[:, 0]

    def clocked(self, states: Array) -> Array:
        """States with the clock appended where the field has one, (…, n) to (…, n or n + 1); times along axis −2."""
        if not self.field.timed:
            return states
        clock = np.broadcast_to(self.times[:, None], (*states.shape[:-1], 1))
        return np.concatenate([states, clock], axis=-1)


def run_ensemble(
    problem: ReductionProblem, until: float, ensembles: tuple[Ensemble, ...], seed: int, meter: Meter | None = None
) -> tuple[Sample, ...]:
    """Simulate the nominal run and the perturbed ones of each ensemble; one sample an ensemble.

    The first sample begins with the nominal run. Draws of different ensembles are independent.

    Raises
    ------
    LimitError
        ``not-simulated`` if a run does not reach ``until``: which one, when and why; ``work-limit`` if there is a meter
        and its limit has been passed.
    """
    times = time_grid(until)
    free = _perturbed_constants(problem, ensembles, seed)
    field = problem.field(free)
    jumps = tuple(problem.jumps(until, field.timed, free))
    first = _simulate(field, problem.start[None, :], times, jumps, np.array([0]), meter)
    _check(problem, first.why, first.reached, until, "from the initial values of the file")
    size = np.abs(first.states[0, :, : problem.size]).max(axis=0)
    starts, count = [problem.start[None, :]], 1
    slices: list[slice] = []
    for position, ensemble in enumerate(ensembles):
        slices.append(slice(0 if position == 0 else count, count + ensemble.count))
        starts.append(perturbed_starts(problem.start, size, ensemble, np.random.default_rng([seed, position, 0xA11])))
        count += ensemble.count
    everything = np.concatenate(starts)
    rest = _simulate(field, everything[1:], times, jumps, np.arange(1, count), meter)
    _check(problem, rest.why, rest.reached, until, "from a perturbed initial state (a smaller --spread may help)")
    states = np.concatenate([first.states, rest.states])[:, :, : problem.size]
    scale = np.abs(states).max(axis=(0, 1))
    scale = np.where(scale > 0, np.maximum(scale, _LEAST_SCALE * scale.max(initial=0.0)), 1.0)
    steps = max(first.steps, rest.steps)
    numbers = np.arange(count)
    return tuple(Sample(field, times, states[part], scale, jumps, numbers[part], steps, varied=free) for part in slices)


def _simulate(
    field: VectorField,
    starts: Array,
    times: Array,
    jumps: tuple[Jump, ...],
    numbers: NDArray[np.int64],
    meter: Meter | None,
) -> Runs:
    if field.timed:
        starts = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1)
    size = np.maximum(np.abs(starts).max(initial=0.0), 1e-30)
    tolerances = StepControl(_RELATIVE, 1e-9 * float(size))
    return integrate(field, starts, times, jumps=jumps, run=numbers, tolerances=tolerances, meter=meter)


def _check(problem: ReductionProblem, why: tuple[str | None, ...], reached: Array, until: float, where: str) -> None:
    for reason, time in zip(why, reached.tolist(), strict=True):
        if reason is not None:
            message = (
                f"model {problem.system.id} does not simulate to {until:g} {where}: at time {time:g}, {reason}; "
                "choose a shorter horizon with --until"
            )
            raise LimitError(Reason("not-simulated", message))


def perturbed_starts(start: Array, size: Array, ensemble: Ensemble, generator: np.random.Generator) -> Array:
    """Initial values beside the nominal ones, drawn as :class:`Ensemble` says.

    Parameters
    ----------
    start : array (n,)
        The nominal ones.
    size : array (n,)
        Largest magnitude of each state along the nominal run.

    Returns
    -------
    ndarray (ensemble.count, n)
    """
    shape = (ensemble.count, len(start))
    factor = 1 + ensemble.spread * generator.uniform(-1, 1, shape)
    added = ensemble.spread * size * generator.uniform(0, 1, shape)
    return np.where(start == 0, added, start * factor)


def _perturbed_constants(problem: ReductionProblem, ensembles: tuple[Ensemble, ...], seed: int) -> dict[str, Array]:
    """Values of parameters in each run; empty if they are the same in all."""
    if not any(ensemble.parameters for ensemble in ensembles):
        return {}
    system = problem.system
    kinds = {name: quantity.kind for name, quantity in system.quantities.items()}
    mentioned = system.graph.symbols(problem.rhs())
    names = [c.id for c in system.constants if c.id in mentioned]
    names = [name for name in names if kinds.get(name, "parameter") in ("parameter", "local-parameter")]
    from sbmlump.model.evaluate import values_of

    values = values_of(system.graph, [system.constant_values[name] for name in names])
    columns = [values[None, :]]
    for position, ensemble in enumerate(ensembles):
        generator = np.random.default_rng([seed, position, 0xB22])
        factor = 1 + ensemble.parameters * generator.uniform(-1, 1, (ensemble.count, len(names)))
        columns.append(values * factor)
    table = np.concatenate(columns)
    return {name: table[:, j] for j, name in enumerate(names)}


# -- gradients ---------------------------------------------------------------------------------------


def gradients(sample: Sample, pinned: Array, runs: int) -> tuple[Array, NDArray[np.int64]]:
    """How a disturbance at each time moves the pinned quantities at later times.

    Parameters
    ----------
    sample : Sample
    pinned : array (p, n)
    runs : int
        The first so many runs are used.

    Returns
    -------
    adjoint : array (runs, m, E, p, n)
        In units of the model.
    ends : array of int (E,)
    """
    m, n = len(sample.times), sample.states.shape[2]
    ends = end_times(sample)
    size = sample.field.size
    tips = np.zeros((len(ends), len(pinned), size))
    tips[:, :, :n] = pinned
    out = np.empty((runs, m, len(ends), len(pinned), n))
    for i in range(runs):
        out[i] = adjoint_of(sample, i, sample.states[i], ends, tips)[..., :n]
    return out, ends


def end_times(sample: Sample) -> NDArray[np.int64]:
    """Indices of the times at which effects are looked at: half of them logarithmic, half uniform."""
    count = _END_TIMES if sample.states.shape[2] <= MAX_DENSE else _LARGE_ENDS
    early, even = np.geomspace(1e-3, 1, count // 2), np.linspace(0, 1, count - count // 2 + 1)[1:]
    wanted = np.unique(np.concatenate([early, even])) * sample.times[-1] * (1 - 1e-12)
    return np.unique(np.searchsorted(sample.times, wanted).clip(1, len(sample.times) - 1))


def adjoint_of(sample: Sample, i: int, states: Array, ends: NDArray[np.int64], tips: Array) -> Array:
    """Adjoint along ``states`` (m, n) of run ``i``; jumps become intervals of no length."""
    run = int(sample.numbers[i])
    states = sample.clocked(states)
    if not sample.jumps:
        return adjoints(sample.field, run, sample.times, states, None, ends, tips)
    return _with_jumps(sample, run, states, ends, tips)


def _with_jumps(sample: Sample, run: int, states: Array, ends: NDArray[np.int64], tips: Array) -> Array:
    """The grid with each jump put in twice, before and after."""
    times, rows = sample.times, states
    keep = np.ones(len(times), dtype=np.bool_)
    extra_times: list[float] = []
    extra: list[Array] = []
    for jump in sample.jumps:
        at = int(np.searchsorted(times, jump.time))
        start = rows[at - 1]
        before = integrate(sample.field, start[None], np.array([times[at - 1], jump.time]), run=np.array([run])).states[
            0, -1
        ]
        after = jump.reset.rates(before[None], np.array([run]))[0]
        extra_times += [jump.time, jump.time]
        extra += [before, after]
        if at < len(times) and times[at] == jump.time:
            keep[at] = False
    order_times = np.concatenate([times[keep], extra_times])
    order_rows = np.concatenate([rows[keep], np.array(extra).reshape(-1, rows.shape[1])])
    order = np.argsort(order_times, kind="stable")
    grid, path = order_times[order], order_rows[order]
    back = np.searchsorted(grid, times, side="right") - 1
    whole = adjoints(sample.field, run, grid, path, None, back[ends], tips, sample.jumps)
    return whole[back]


# -- conserved totals --------------------------------------------------------------------------------


# -- What an approximate reduction learns from and is measured on: the posed problem, ------------

# What an approximate reduction learns from and is measured on: the posed problem, its horizon and its runs.


_LEAST_SCALE: Final = 1e-12
