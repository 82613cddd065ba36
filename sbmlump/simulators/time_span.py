"""How long to simulate when the user does not say.

The horizon is the model's own time scale, read off rough trajectories of the original. From the fastest scale at
time 0 the horizon grows tenfold, each run starting at time 0, until one of these is seen:

- every state has come to rest, or grows at a constant rate, and still does so on a longer run: twice the time that
  this took;
- most states come to rest and the others drift on for two decades more: ten times the run that first showed it;
- some state oscillates: five periods, or as long as it takes to get there;
- some state outgrows the model's scale a million times: until it has outgrown it a thousand times;
- the integration ends (a pole, a step limit): some two thirds of the time that it reached.

The number of runs and of steps in them is bounded, no clock is read: the same file gives the same horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbmlump.simulators.protocol import ROUGH, IntegrationError, LoadedModel, QuantitySelection, Trajectory
from sbmlump.simulators.simulated import Triggers

__all__ = ["Horizon", "before_failure", "beyond_events", "choose_horizon", "nice_above", "showing"]


# -- A horizon on which the watched quantities show ----------------------------------------------

# A model may come to rest after years and do all that matters to an observable in the first second; on a uniform grid
# over years that second lies between the first two points, and a comparison there would compare nothing.


_DECADES = 14
_SKIPPED = 5  # points at the start: what is over by then is hardly resolved
_SETTLED = 1e-2  # of the range
_VISIBLE = 0.2  # of the largest range that a quantity has on any of the grids


@dataclass(frozen=True, slots=True)
class _Sight:
    """Ranges of the watched quantities on the grid to ``until``, the first points left out, and when they settle."""

    until: float
    settled: float
    ranges: NDArray[np.float64]


def showing(model: LoadedModel, until: float, shortest: float, watch: Mapping[str, QuantitySelection]) -> float:
    """``until``, or the longest of ``until``/10, /100, … on whose grid most of ``watch`` show, less rest at its end.

    Parameters
    ----------
    model : LoadedModel
    until : float
        A horizon.
    shortest : float
        The fastest time scale of the model: no shorter horizon is tried.
    watch : mapping of str to Reading
        Quantities that are to be seen.
    """
    sights: list[_Sight] = []
    for decade in range(_DECADES):
        candidate = until / 10.0**decade
        if decade and candidate < shortest:
            break
        try:
            sights.append(_sight(candidate, model.run(watch, candidate, _POINTS, ROUGH)))
        except IntegrationError:
            continue
    if not sights:
        return until
    table = np.array([sight.ranges for sight in sights])
    full = table.max(axis=0)
    seen = ((table >= _VISIBLE * full) & (full > 0)).sum(axis=1)
    # The first of the largest, so the longest horizon on which as many show as on any.
    best = sights[int(np.argmax(seen))]
    if best.until == until or best.settled <= 0:
        return best.until
    return min(best.until, nice_above(2 * best.settled))


def _sight(until: float, run: Trajectory) -> _Sight:
    table = np.array(list(run.values.values()))
    table = np.where(np.isfinite(table), table, 0.0)
    late = table[:, _SKIPPED:]
    spread = table.max(axis=1) - table.min(axis=1)
    away = np.abs(table - table[:, -1:]) > _SETTLED * spread[:, None]
    last = np.nonzero(away.any(axis=0))[0]
    settled = float(run.times[last[-1] + 1]) if len(last) else 0.0
    return _Sight(until, settled, late.max(axis=1) - late.min(axis=1))


def nice_above(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``value`` (positive)."""
    decade = math.floor(math.log10(value))
    for exponent in (decade, decade + 1):
        for digit in (1, 2, 5):
            candidate = float(f"{digit}e{exponent}")
            if candidate >= value * (1 - 1e-12):
                return candidate
    raise AssertionError("unreachable: ten times the decade is above the value")


# -- How long to simulate when the user does not say ---------------------------------------------


_POINTS = 201
_GROWTH = 10.0
_MAX_RUNS = 11
_STRAIGHT = 1e-3  # deviation from a straight line, relative to the range of the state, that counts as none
_REST = 1e-5  # movement, relative to the magnitude of the state, that counts as rest
_VANISHING = 1e-9  # movement, relative to the largest species, of a species that is of no account
_CROSSINGS = 8
_FAR = 1e6
_MOVED = 1e-3
_MOST = 0.75
_DRIFT = 1e2
_FEW = 0.02  # of the horizon: four intervals of the grid
_DEFAULT = 100.0
_LATER = (10.0, 100.0, 300.0)  # times the horizon: how far is looked for events that have not come


@dataclass(frozen=True, slots=True)
class Horizon:
    """A time to simulate to, and a sentence that says why.

    Attributes
    ----------
    until : float
        In the model's unit of time, positive.
    reason : str
        For the user.
    """

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What one rough run shows.

    ``settled`` is the time after which all states rest or grow steadily; ``share`` how many of those that move at all
    have moved and come to rest by the second half of the run (0 to 1).
    """

    settled: float | None
    share: float
    growing: bool
    period: float | None
    oscillating: str | None
    outgrown: float | None


def choose_horizon(
    model: LoadedModel, times: tuple[float, ...] = (), watch: Mapping[str, QuantitySelection] | None = None
) -> Horizon:
    """Choose the horizon of ``model``.

    Parameters
    ----------
    model : LoadedModel
        The original model.
    times : tuple of float
        Times that the model mentions (triggers, conditions on time): the horizon reaches beyond them.
    watch : mapping of str to Reading, optional
        Quantities that are to be seen: the horizon is shortened where they would show nothing on a grid of 201 points.

    Returns
    -------
    Horizon
        ``until`` is 1, 2 or 5 times a power of ten.
    """
    chosen = _explore(model, max(times, default=None))
    if watch and model.states:
        until = showing(model, chosen.until, _first_scale(model), watch)
        if until < chosen.until:
            reason = f"{chosen.reason}, then shortened to {until:g}, where what is compared still shows"
            chosen = Horizon(until, reason)
    # A time of 1e9 in a condition means "never", not "simulate until then".
    relevant = [time for time in times if time <= 1e4 * chosen.until]
    if relevant and chosen.until < 1.5 * max(relevant):
        until = nice_above(1.5 * max(relevant))
        return Horizon(until, f"the model mentions the time {max(relevant):g}; simulated to {until:g}, beyond it")
    return chosen


def beyond_events(
    model: LoadedModel, horizon: Horizon, triggers: Triggers, readings: Mapping[str, QuantitySelection]
) -> Horizon:
    """A horizon that shows an event which comes later than what happens until ``horizon``, if one does soon.

    Parameters
    ----------
    model : LoadedModel
    horizon : Horizon
    triggers : Triggers
    readings : mapping of str to Reading
        Holds what ``triggers`` need.
    """
    needs = {name: readings[name] for name in triggers.needs}
    for factor in (1.0, *_LATER):
        until = factor * horizon.until
        try:
            run = model.run(needs, until, _POINTS, ROUGH)
        except IntegrationError:
            return horizon
        fired = triggers.first_fired(run.times, run.values)
        if factor == 1.0 and np.isfinite(fired).all():
            return horizon
        late = [time for time in fired if horizon.until < time < np.inf]
        if late:
            until = nice_above(1.5 * min(late))
            label = triggers.labels[int(np.argmax(fired == min(late)))]
            return Horizon(
                until, f"{horizon.reason}; {label} comes at about {_short(min(late))}: simulated to {until:g}"
            )
    return horizon


def before_failure(horizon: Horizon, reached: float) -> Horizon:
    """A horizon that ends before ``reached``, the time at which a precise run to ``horizon`` failed."""
    until = _nice_below(0.7 * reached)
    return Horizon(until, f"{horizon.reason}; a precise run fails at {_short(reached)}, so it ends at {until:g}")


def _explore(model: LoadedModel, mentioned: float | None) -> Horizon:
    if not model.states:
        return Horizon(_DEFAULT, f"nothing is integrated in this model; {_DEFAULT:g} units of time by convention")
    horizon = _first_horizon(model, mentioned)
    reached: float | None = None
    mostly: float | None = None
    for _ in range(_MAX_RUNS):
        try:
            run = model.run(model.states, horizon, _POINTS, ROUGH)
        except IntegrationError as error:
            return _after_failure(error.reached, reached)
        look = _look(model, run)
        if look.outgrown is not None:
            until = nice_above(look.outgrown)
            return Horizon(until, f"some state grows without bound; at {until:g} it has grown about a thousandfold")
        if look.period is not None:
            until = nice_above(max(5 * look.period, run.times[-1] / _GROWTH))
            return Horizon(
                until,
                f"{look.oscillating} oscillates with a period of about {_short(look.period)}; "
                f"{until:g} covers at least five",
            )
        if look.settled is not None:
            confirmed = _confirm(model, horizon, look)
            if confirmed is not None:
                return confirmed
        if mostly is None and look.share >= _MOST:
            mostly = horizon
        if mostly is not None and horizon >= _DRIFT * mostly * (1 - 1e-9):
            until = nice_above(_GROWTH * mostly)
            return Horizon(
                until,
                f"most states of the original are at rest before {_short(mostly)}, "
                f"the others drift on slowly; simulated to {until:g}",
            )
        reached = horizon
        horizon *= _GROWTH
    until = nice_above(reached or _DEFAULT)
    return Horizon(until, f"the model neither rests nor oscillates within {until:g} units of time")


def _first_horizon(model: LoadedModel, mentioned: float | None) -> float:
    """A horizon short enough to see the first thing that happens.

    Rates at time 0 may be noise about a rest that ends later: where the model mentions times it starts no later than
    those, and where all is over within a few points of the grid, or the end is not reached, it shrinks.
    """
    horizon = _first_scale(model)
    if mentioned is not None:
        horizon = min(horizon, mentioned)
    for _ in range(_MAX_RUNS):
        try:
            look = _look(model, model.run(model.states, horizon, _POINTS, ROUGH))
        except IntegrationError:
            horizon /= _GROWTH
            continue
        if look.settled is None or not 0 < look.settled < _FEW * horizon:
            return horizon
        horizon /= _GROWTH
    return horizon


def _first_scale(model: LoadedModel) -> float:
    """Fastest time scale at time 0: the smallest |x_i / (dx_i/dt)|, rounded to a power of ten."""
    rates = model.initial_rates()
    try:
        start = model.run(model.states, 1e-9, 2, ROUGH)
    except IntegrationError:
        return 1.0
    values = {name: abs(float(column[0])) for name, column in start.values.items()}
    largest = max(values.values(), default=0.0)
    scales = []
    for name, rate in rates.items():
        size = values[name] or largest or 1.0
        if math.isfinite(rate) and rate != 0:
            scales.append(size / abs(rate))
    if not scales:
        return 1.0
    return float(10.0 ** round(math.log10(min(max(min(scales), 1e-9), 1e9))))


def _after_failure(failed: float, reached: float | None) -> Horizon:
    until = _nice_below(0.7 * failed) if failed > 0 else 0.0
    if reached is not None and reached >= until:
        return Horizon(reached, f"rough runs of the original fail on longer horizons; simulated to {reached:g}")
    if until <= 0:
        return Horizon(_DEFAULT, f"the model could not be explored; {_DEFAULT:g} units of time by convention")
    return Horizon(
        until, f"the integration of the original goes no further than {_short(failed)}; simulated to {until:g}"
    )


def _confirm(model: LoadedModel, horizon: float, look: _Look) -> Horizon | None:
    """The horizon, if what came to rest stays at rest on a ten times longer run.

    Steady growth is confirmed over three decades: next to fast states that came to rest, slow ones look straight.
    """
    assert look.settled is not None
    for decade in range(1, 4 if look.growing else 2):
        try:
            later = _look(model, model.run(model.states, horizon * _GROWTH**decade, _POINTS, ROUGH))
        except IntegrationError:
            return None  # the growing horizon meets the same failure and explains it
        if later.settled is None or later.outgrown is not None:
            return None
    if look.settled == 0 and not look.growing:
        return Horizon(_DEFAULT, f"all states of the original rest from the start; {_DEFAULT:g} units of time")
    until = nice_above(2 * look.settled if look.settled > 0 else horizon)
    what = "rest or grow at a constant rate" if look.growing else "are at rest"
    when = f"after about {_short(look.settled)} units of time" if look.settled > 0 else "from the start"
    return Horizon(until, f"all states of the original {what} {when}; simulated to {until:g}")


def _look(model: LoadedModel, run: Trajectory) -> _Look:
    names = list(run.values)
    table = np.array([run.values[name] for name in names])
    spread = table.max(axis=1) - table.min(axis=1)
    magnitude = np.abs(table).max(axis=1)
    outgrown = _outgrown(run.times, table)
    half = len(run.times) // 2
    slope = (table[:, -1] - table[:, half]) / (run.times[-1] - run.times[half])
    line = table[:, -1:] + slope[:, None] * (run.times - run.times[-1])
    amounts = np.array([model.states[name].kind == "amount" for name in names], dtype=bool)
    flat = np.abs(table[:, half:] - table[:, -1:]).max(axis=1) <= _STRAIGHT * spread
    rested = flat & (spread > _MOVED * magnitude)
    # Species share a unit: beside those that have moved and come to rest, what still moves far below the largest one is
    # of no account. Before anything has come to rest it may be about to grow.
    small = amounts & (spread <= _VANISHING * magnitude[amounts].max(initial=0.0))
    small &= bool((rested & amounts & ~small).any())
    resting = (spread <= _REST * magnitude) | small
    allowed = np.where(resting, np.inf, _STRAIGHT * spread)
    away = np.abs(table - line) > allowed[:, None]
    straight = ~away[:, half:].any(axis=1)
    last = np.nonzero(away.any(axis=0))[0]
    share = float((rested & ~small).sum() / max(int(((spread > 0) & ~small).sum()), 1))
    growing = bool((~resting & (np.abs(table[:, -1] - table[:, half]) > _STRAIGHT * spread) & straight).any())
    period, name = _period(run.times, table, ~straight, names)
    settled = None
    if straight.all():
        settled = float(run.times[min(last[-1] + 1, len(run.times) - 1)]) if len(last) else 0.0
    return _Look(settled, share, growing, period, name, outgrown)


def _outgrown(times: NDArray[np.float64], table: NDArray[np.float64]) -> float | None:
    """When the largest state has outgrown the first scale a thousand times, if it goes on to a million times."""
    envelope = np.abs(table).max(axis=0)
    base = envelope[0] or envelope[1]
    if base <= 0 or envelope.max() <= _FAR * base:
        return None
    return float(times[max(int(np.argmax(envelope > 1e3 * base)), 1)])


def _period(
    times: NDArray[np.float64], table: NDArray[np.float64], candidates: NDArray[np.bool_], names: list[str]
) -> tuple[float | None, str | None]:
    """Mean period of the state that crosses its own mean most often in the last three quarters, if often enough."""
    window = table[:, len(times) // 4 :]
    centred = window - 0.5 * (window.max(axis=1) + window.min(axis=1))[:, None]
    swings = window.max(axis=1) - window.min(axis=1)
    candidates = candidates & (swings > _REST * np.abs(window).max(axis=1))
    crossings = np.where(candidates, (np.diff(np.signbit(centred), axis=1)).sum(axis=1), 0)
    best = int(np.argmax(crossings)) if len(crossings) else 0
    if not len(crossings) or crossings[best] < _CROSSINGS:
        return None, None
    length = float(times[-1] - times[len(times) // 4])
    return 2.0 * length / float(crossings[best]), names[best]


def _short(value: float) -> str:
    """Two digits, without a power of ten where that reads better."""
    return f"{float(f'{value:.2g}'):g}"


def _nice_below(value: float) -> float:
    above = nice_above(value)
    if above <= value * (1 + 1e-12):
        return above
    decade = math.floor(math.log10(above))
    digit = round(above / 10.0**decade)
    return float({1: f"5e{decade - 1}", 2: f"1e{decade}", 5: f"2e{decade}"}[digit])
