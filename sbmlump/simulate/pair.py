"""Two models simulated side by side: what is asked, what comes back, and the process that it happens in.

Simulators are foreign code that compiles what it is given: they crash, hang and do not hear Ctrl-C. What is asked of
them is a value that can be sent to a child process, and so is what they answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import LimitError, Reason, SbmlumpError
from sbmlump.isolate import Limits, run_isolated, silent_output
from sbmlump.simulate.horizon import Horizon, before_failure, beyond_events, choose_horizon
from sbmlump.simulate.measure import SMALL, magnitude
from sbmlump.simulate.protocol import (
    PRECISE,
    IntegrationError,
    LoadedModel,
    QuantitySelection,
    Simulator,
    Steps,
    Trajectory,
    merged_grid,
)
from sbmlump.simulate.simulators import simulator_named
from sbmlump.simulate.source import SimulatedModel
from sbmlump.simulate.triggers import NO_TRIGGERS, Triggers

__all__ = ["PairRequest", "PairRun", "simulate_pair", "simulate_pair_apart"]

Array = NDArray[np.float64]
_MOST_BETWEEN: Final = 8
"""Points put into one interval of the grid: a transient within it rises and falls over several of them."""
_CLEAR: Final = 1e-5
"""Of an interval of the grid: so near to an event that a state triggers nothing is compared, the two models may have
it so much apart."""
_BESIDE: Final = 1e-8
"""Of a time: so near to both sides of a jump whose time is known values are compared."""
_AFTER: Final = (1e-4, 1e-3, 1e-2, 0.1, 0.3)
"""Of an interval of the grid: where, after a jump or an event, a transient is looked for. The steps of an integrator
are no substitute: which of them are first after an event depends on the last bit of its time."""
_MOST_EVENTS: Final = 1000
"""Events after which points are put: as many as times at which a model changes by itself (five points each)."""
_LOOSER: Final = 10.0
"""Of the relative tolerance: how much looser a run is that shows what the integration leaves uncertain."""


@dataclass(frozen=True)
class PairRequest:
    """What is to be simulated.

    Attributes
    ----------
    simulator : str or Simulator
        An object that simulates cannot be sent to a child process.
    original, reduced : SimulatedModel
    until : float or None
        End time; chosen from the original where it is ``None``.
    points : int
        Of the uniform grid.
    watch : mapping of str to Reading
        Quantities of the original that are to be seen on the grid.
    wanted, reduced_wanted : mapping of str to Reading
        What is read in the original (``watch`` is a part of it) and in the reduced model.
    triggers : Triggers
        Events of the original; their ``needs`` are a part of ``wanted``.
    """

    simulator: str | Simulator
    original: SimulatedModel
    reduced: SimulatedModel
    until: float | None
    points: int
    watch: Mapping[str, QuantitySelection]
    wanted: Mapping[str, QuantitySelection]
    reduced_wanted: Mapping[str, QuantitySelection]
    triggers: Triggers = NO_TRIGGERS


@dataclass(frozen=True)
class PairRun:
    """What a pair of simulations gave.

    Attributes
    ----------
    horizon : Horizon
    original, reduced : Trajectory
        On one grid: the uniform one and what had to be put between its points.
    looser : Trajectory or None
        The original once more with a looser tolerance, where something in it is very small.
    engine : str
        Name of the simulator.
    """

    horizon: Horizon
    original: Trajectory
    reduced: Trajectory
    looser: Trajectory | None = None
    engine: str = "roadrunner"


def simulate_pair(request: PairRequest) -> PairRun:
    """Simulate both models, in this process.

    Raises
    ------
    UsageError, UnsupportedModelError, IntegrationError
        As the simulator says.
    """
    with silent_output():
        return _simulated(request)


def _simulated(request: PairRequest) -> PairRun:
    engine = simulator_named(request.simulator) if isinstance(request.simulator, str) else request.simulator
    model = engine.load(request.original)
    points = request.points
    if request.until is None:
        horizon = choose_horizon(model, request.original.switches.named, request.watch)
        if request.triggers.nodes:
            horizon = beyond_events(model, horizon, request.triggers, request.wanted)
    else:
        horizon = Horizon(request.until, "given by the user")
    other = engine.load(request.reduced)
    between = _between(model, other, request, horizon.until)
    try:
        run = model.run(request.wanted, horizon.until, points, between=between)
    except IntegrationError as error:
        if error.reached <= 0 or request.until is not None:
            raise
        # a horizon of our own that a precise run does not reach is shortened once
        horizon = before_failure(horizon, error.reached)
        between = _between(model, other, request, horizon.until)
        run = model.run(request.wanted, horizon.until, points, between=between)
    reduced = other.run(request.reduced_wanted, horizon.until, points, between=between)
    looser = None
    if _something_small(run):
        asked = replace(PRECISE, relative=PRECISE.relative * _LOOSER, absolute=PRECISE.absolute * _LOOSER)
        try:
            looser = model.run(request.wanted, horizon.until, points, asked, between=between)
        except IntegrationError:
            looser = None  # without it a small quantity is held against the others
    return PairRun(horizon, run, reduced, looser, engine.name)


def _something_small(run: Trajectory) -> bool:
    sizes = [magnitude(values) for values in run.values.values()]
    return any(0 < size < SMALL * max(sizes) for size in sizes)


def _between(model: LoadedModel, other: LoadedModel, request: PairRequest, until: float) -> Array:
    """Times at which the grid has to be finer: where one of the two models moves within an interval, and at jumps."""
    grid = merged_grid(until, request.points)
    width = until / (request.points - 1)
    known = np.array(
        sorted({*request.original.switches.until(until), *request.reduced.switches.until(until)}), dtype=np.float64
    )
    taken: list[Array] = []
    events: list[Array] = []
    for one in (model, other):
        try:
            steps: Steps = one.steps(until)
        except IntegrationError:
            continue  # the precise run says so, or does better
        taken.append(steps.times)
        events.append(steps.events)
    times = np.unique(np.concatenate([*taken, np.zeros(1)]))
    times = times[(times > 0) & (times < until)]
    met = np.setdiff1d(np.concatenate([*events, np.zeros(1)]), known)
    met = met[(met > 0) & (met < until)]
    after = np.concatenate([met[_spread(len(met), _MOST_EVENTS)] + part * width for part in _AFTER])
    for moment in met:
        times = times[np.abs(times - moment) > _CLEAR * width]
        after = after[np.abs(after - moment) > _CLEAR * width]
    for moment in known:
        times = times[np.abs(times - moment) > _BESIDE * moment]
    place = np.searchsorted(grid, times)
    kept: list[Array] = [known * (1 - _BESIDE), known * (1 + _BESIDE)]
    kept += [known + part * width for part in _AFTER]
    kept.append(after)
    for interval in np.unique(place):
        inside = times[place == interval]
        kept.append(inside[_spread(len(inside), _MOST_BETWEEN)])
    return np.unique(np.concatenate(kept))


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """Indices of ``count`` things in order, or of ``most`` of them from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


# -- in a process of its own -------------------------------------------------------------------------


def simulate_pair_apart(request: PairRequest, limits: Limits) -> PairRun:
    """Simulate both models in a child process.

    Raises
    ------
    UsageError, UnsupportedModelError, IntegrationError
        As :func:`simulate_pair`.
    LimitError
        If the simulator did not come back: codes ``simulator-crashed``, ``simulator-time-limit``,
        ``simulator-memory``.
    SbmlumpError
        Code ``simulator-fault``, if our own code around it failed.
    """
    request = replace(request, original=request.original.bare, reduced=request.reduced.bare)
    ended = run_isolated(_job, (request,), limits, copied=True)
    if ended.how == "finished":
        if isinstance(ended.value, SbmlumpError):
            raise ended.value
        assert isinstance(ended.value, PairRun)
        return ended.value
    code = _CODES.get(ended.how, "simulator-fault")
    message = f"{request.original.path.name}: the simulation by {request.simulator} did not come back: {ended.message}"
    if code == "simulator-fault":
        raise SbmlumpError(Reason(code, message))
    other = "own" if request.simulator != "own" else "roadrunner"
    raise LimitError(Reason(code, f"{message}; another simulator may do it (sbmlump check --simulator {other})"))


_CODES: Final = {
    "crashed": "simulator-crashed",
    "time-limit": "simulator-time-limit",
    "out-of-memory": "simulator-memory",
}


def _job(request: PairRequest, _emit: Any) -> PairRun | SbmlumpError:
    try:
        return _simulated(request)
    except SbmlumpError as error:
        return error
