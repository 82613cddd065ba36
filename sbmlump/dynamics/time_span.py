"""How long to integrate when nobody says: the time scale on which the observables do what they do.

One definition for everything that simulates (reduce, curve, check, compare-methods, survey). What integrates is a
:class:`Simulation`: the project's own integrators here, other simulators behind an adapter. The run is continued from
time 0 in stretches that double, and after each of them :func:`decide` looks at all that was seen so far. The reasons
for the rules are in ``docs/end-time.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from sbmlump.arrays import Array, Mask
from sbmlump.dynamics.events import TOO_MANY_EVENTS
from sbmlump.dynamics.rosenbrock import StepControl
from sbmlump.dynamics.solve import MAX_DENSE, StateReset, integrate
from sbmlump.dynamics.vector_field import Budget, VectorField, WorkLimitError

__all__ = [
    "TIME_SPAN",
    "ObservedRun",
    "Oscillation",
    "Simulation",
    "Stretch",
    "TimeSpan",
    "TimeSpanSettings",
    "VectorFieldSimulation",
    "before_failure",
    "beyond_times",
    "choose_time_span",
    "decide",
    "fastest_scale",
    "likely_sizes",
    "oscillations",
    "round_above",
    "round_below",
]


@dataclass(frozen=True, slots=True)
class TimeSpanSettings:
    """What counts as motion, as rest and as an oscillation, and how far is looked.

    Attributes
    ----------
    points : int
        Grid points of a stretch from t to 2t. A period is recognised at five of them within the run or later: it has
        twenty points then.
    doublings : int
        Most doublings of the fastest scale. 2^50 is 15 decades; published models have up to 12 between their fastest
        and their slowest reaction.
    relative_tolerance : float
        Of the integration. A search for sizes needs no more than 1e-6, see ``docs/end-time.md``.
    steps : int
        Of a stretch, for the project's own integrators: six periods of an oscillation take some hundred each at most.
    noise : float
        Of the magnitude of a quantity (of the sum of its parts): a smaller range is an error of the integration and
        no motion. Ten times the tolerance, as an integrator controls the error of a step and not of the run.
    vanishing : float
        The same of the largest initial value: what moves less is rounding.
    at_rest : float
        Of the range so far: a quantity as near to its last value as that has settled. What is left of a decay after
        six of its time constants.
    confirmed : float
        A rest counts when the run is so many times as long as it took. Tenfold took a plateau for rest that a stiff
        model reaches within its fastest scale (BIOMD0000000416: 2e-4 in place of 100); of 61 models no other came out
        different.
    unit : float
        A rest counts when the run is at least so long, too: people choose a unit of time in which their model does
        something. The fast equilibria of BIOMD0000000013 are reached within 3e-11 s, and what it is about within 1 s.
    longest : float
        Where no time scale shows, because all goes slower and slower, no more than so many units of time.
    enough : float
        The same of growth at a constant rate, and of a rest where the model cannot be integrated farther.
    drifting : float
        Where a settled quantity goes on moving without slowing down, it may be about to do more: then the run has to
        be so many times as long.
    crossings : int
        Of the middle of a quantity's range in the last three quarters of the run: so many are an oscillation.
    hysteresis : float
        Half of the width of that middle, of the range: what wavers within it does not cross it.
    amplitude : float
        Least amplitude of an oscillation, of the range of the whole run.
    periods : int
        Shown of an oscillation. Over more of them a phase that drifts by a percent is all that an error shows.
    steady : float
        Times the model's own scale: what has grown beyond it and grows at a constant rate does nothing new.
    outgrown, shown : float
        What grows to ``outgrown`` times the model's own scale does so without bound, and is shown up to ``shown``.
        Cells grow from one to a million and stop.
    safe : float
        Of a time at which an integration failed: how much of it is used.
    event : float
        Times the last moment at which a model changes by itself: what follows has to be seen.
    far : float
        Times the end time: a moment that lies farther off means "never" (published models write 1e9 there).
    conventional : float
        Where nothing moves.
    """

    points: int = 60
    doublings: int = 50
    relative_tolerance: float = 1e-6
    steps: int = 2_000
    noise: float = 1e-5
    vanishing: float = 1e-12
    at_rest: float = 2e-3
    confirmed: float = 100.0
    unit: float = 1.0
    longest: float = 1e6
    enough: float = 10.0
    drifting: float = 1e5
    crossings: int = 8
    hysteresis: float = 0.05
    amplitude: float = 0.01
    periods: int = 5
    steady: float = 10.0
    outgrown: float = 1e9
    shown: float = 1e3
    safe: float = 0.7
    event: float = 1.5
    far: float = 1e4
    conventional: float = 100.0


TIME_SPAN: Final = TimeSpanSettings()


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """From 0 to an end time, in the model's unit of time, and why; a sentence for the user."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a simulation gave for the times that it was asked for, as far as it got.

    Attributes
    ----------
    values : ndarray (k, q)
        Of the observed quantities.
    sizes : ndarray (k, q)
        Sums of the magnitudes of what each is the sum of: its error is one of these.
    reached : float
        The time up to which the model could be integrated.
    failure : str or None
        Why not further.
    """

    values: Array
    sizes: Array
    reached: float
    failure: str | None = None


class Simulation(Protocol):
    """A model that is integrated from time 0 on."""

    @property
    def first_scale(self) -> float:
        """The fastest time scale at time 0 (see :func:`fastest_scale`)."""
        ...

    @property
    def magnitude(self) -> float:
        """Largest initial value of a state."""
        ...

    @property
    def ahead(self) -> int:
        """How many doublings it likes to be asked for at once: several where it begins at time 0 again each time."""
        ...

    def start(self) -> Stretch:
        """The observed quantities at time 0."""
        ...

    def proceed(self, times: Array) -> Stretch:
        """The observed quantities at times that follow those of the request before."""
        ...


@dataclass(slots=True)
class ObservedRun:
    """All that was seen of the observed quantities.

    Attributes
    ----------
    times : ndarray (k,)
        From 0 on.
    values, sizes : ndarray (k, q)
        As in :class:`Stretch`.
    magnitude : float
        Largest initial value of a state.
    first : int
        How many of the times belong to the first stretch.
    """

    times: Array
    values: Array
    sizes: Array
    magnitude: float
    first: int

    def up_to(self, time: float) -> ObservedRun:
        """The part until ``time``."""
        count = int(np.searchsorted(self.times, time * (1 + 1e-12), side="right"))
        return ObservedRun(self.times[:count], self.values[:count], self.sizes[:count], self.magnitude, self.first)

    def extend(self, times: Array, stretch: Stretch) -> None:
        """Add what a further stretch gave."""
        count = len(stretch.values)
        self.times = np.concatenate([self.times, times[:count]])
        self.values = np.concatenate([self.values, stretch.values])
        self.sizes = np.concatenate([self.sizes, stretch.sizes])


def choose_time_span(
    simulation: Simulation, changes: Sequence[float] = (), settings: TimeSpanSettings = TIME_SPAN
) -> TimeSpan:
    """Choose the end time of a model.

    Parameters
    ----------
    simulation : Simulation
    changes : sequence of float
        Times at which the model changes by itself: the end time lies beyond them, unless they mean "never".
    settings : TimeSpanSettings

    Returns
    -------
    TimeSpan
        ``until`` is 1, 2 or 5 times a power of ten, and was reached.
    """
    begin = simulation.start()
    end = min([simulation.first_scale, *(time for time in changes if time > 0)])
    times = np.linspace(0.0, end, settings.points + 1)[1:]
    record = ObservedRun(np.zeros(1), begin.values, begin.sizes, simulation.magnitude, len(times) + 1)
    marks = [end]
    span: TimeSpan | None = None
    for _ in range(0, settings.doublings, simulation.ahead):
        stretch = simulation.proceed(times)
        record.extend(times, stretch)
        for mark in marks:
            if mark > record.times[-1]:
                break
            span = decide(record.up_to(mark), settings)
            if span is not None:
                return _reached(simulation, record, beyond_times(span, changes, settings), settings)
        if stretch.failure is not None:
            return _until_failure(record, stretch, changes, settings)
        marks = [end * 2.0**k for k in range(1, simulation.ahead + 1)]
        times = np.concatenate([np.linspace(mark / 2, mark, settings.points + 1)[1:] for mark in marks])
        end = marks[-1]
    return _reached(simulation, record, beyond_times(_undecided(record, settings), changes, settings), settings)


def _reached(simulation: Simulation, record: ObservedRun, span: TimeSpan, settings: TimeSpanSettings) -> TimeSpan:
    """``span``, shortened where the model cannot be integrated so far."""
    last = float(record.times[-1])
    if span.until <= last:
        return span
    stretch = simulation.proceed(np.linspace(last, span.until, settings.points + 1)[1:])
    return span if stretch.failure is None else before_failure(span, stretch.reached, settings)


def _until_failure(
    record: ObservedRun, stretch: Stretch, changes: Sequence[float], settings: TimeSpanSettings
) -> TimeSpan:
    """What was seen until the integration failed decides, else the largest round number well before that."""
    reached, why = stretch.reached, stretch.failure
    if not reached > 0:
        return TimeSpan(
            settings.conventional,
            f"the integration does not start ({why}); {settings.conventional:g} units of time by convention",
        )
    until = round_below(settings.safe * reached)
    seen = (
        decide(record, replace(settings, confirmed=settings.enough, unit=0.0))
        if len(record.times) > record.first
        else None
    )
    if seen is not None and seen.until <= until:
        span = beyond_times(seen, changes, settings)
        return span if span.until <= until else before_failure(span, reached, settings)
    if not _moving(record, settings).any() and settings.conventional <= until:
        return _undecided(record, settings)
    if why == TOO_MANY_EVENTS:
        return TimeSpan(until, f"{why} come until {reached:.3g}; {until:g} lies before that (--until T shows more)")
    return TimeSpan(until, f"the integration of the original ends at {reached:.3g} ({why}); {until:g} lies before that")


def decide(record: ObservedRun, settings: TimeSpanSettings = TIME_SPAN) -> TimeSpan | None:
    """The end time, as far as what was seen so far decides it.

    Nothing decides while nothing moves by more than the noise of the integration, or while something still moves and
    neither oscillates nor grows for ever.
    """
    moving = _moving(record, settings)
    if not moving.any():
        return None
    times, values = record.times, record.values[:, moving]
    floor = _noise(record, settings)[moving]
    base = np.maximum(np.abs(values[: record.first]).max(axis=0), record.magnitude)
    return (
        _unbounded(times, values, base, settings)
        or _oscillation(times, values, floor, settings)
        or _rest(times, values, floor, base, settings)
    )


def _noise(record: ObservedRun, settings: TimeSpanSettings) -> Array:
    """Range that each quantity may have by the errors of the integration alone, (q,)."""
    return np.asarray(settings.noise * record.sizes.max(axis=0) + settings.vanishing * record.magnitude)


def _moving(record: ObservedRun, settings: TimeSpanSettings) -> Mask:
    return np.asarray(np.ptp(record.values, axis=0) > _noise(record, settings))


def _unbounded(times: Array, values: Array, base: Array, settings: TimeSpanSettings) -> TimeSpan | None:
    grown = np.abs(values) / np.where(base > 0, base, 1.0)
    if not (grown.max(axis=0) > settings.outgrown).any():
        return None
    until = round_above(float(times[max(int(np.argmax(grown.max(axis=1) > settings.shown)), 1)]))
    return TimeSpan(until, f"what is observed grows without bound; at {until:g} it has grown about a thousandfold")


def _oscillation(times: Array, values: Array, floor: Array, settings: TimeSpanSettings) -> TimeSpan | None:
    """Some periods of the quantity that oscillates most often."""
    best: Oscillation | None = None
    for found in oscillations(times, values, floor, settings):
        if found is not None and (best is None or found.crossings > best.crossings):
            best = found
    if best is None:
        return None
    period, onset = best.period, best.onset
    until = round_above(settings.periods * period + (onset if onset > period else 0.0))
    message = (
        f"what is observed oscillates with a period of about {period:.2g}; {until:g} covers at least {settings.periods}"
    )
    return TimeSpan(until, message)


@dataclass(frozen=True, slots=True)
class Oscillation:
    """How often a quantity crosses the middle of its range late in a run, its period, and when it crosses first."""

    crossings: int
    period: float
    onset: float


def oscillations(
    times: Array, values: Array, floor: Array, settings: TimeSpanSettings = TIME_SPAN
) -> list[Oscillation | None]:
    """For each quantity, (k, q), its oscillation, or ``None``; a range of at most ``floor`` (q,) is none."""
    late = times >= 0.25 * times[-1]
    window = values[late]
    top, bottom = window.max(axis=0), window.min(axis=0)
    swing = top - bottom
    swinging = (swing > settings.amplitude * np.ptp(values, axis=0)) & (swing > floor)
    found: list[Oscillation | None] = [None] * values.shape[1]
    for j in np.flatnonzero(swinging).tolist():
        crossed = _crossings(times, values[:, j], 0.5 * (top[j] + bottom[j]), settings.hysteresis * float(swing[j]))
        recent = crossed[crossed >= times[late][0]]
        if len(recent) >= settings.crossings:
            period = 2.0 * float(recent[-1] - recent[0]) / (len(recent) - 1)
            found[j] = Oscillation(len(recent), period, float(crossed[0]))
    return found


def _crossings(times: Array, values: Array, middle: float, band: float) -> Array:
    """When ``values`` have come from one side of a band about the middle to the other."""
    side = np.where(values > middle + band, 1, np.where(values < middle - band, -1, 0))
    outside = np.flatnonzero(side)
    changed = outside[1:][np.diff(side[outside]) != 0]
    return np.asarray(times[changed])


def _rest(times: Array, values: Array, floor: Array, base: Array, settings: TimeSpanSettings) -> TimeSpan | None:
    """Twice the time after which every quantity rests, or grows at a constant rate beyond the model's scale."""
    end = float(times[-1])
    spread = np.ptp(values, axis=0)
    half, quarter = (values[int(np.searchsorted(times, part * end * (1 - 1e-12)))] for part in (0.5, 0.25))
    last = np.abs(values[-1] - half)
    # nothing settles closer than the noise lets it
    near = np.maximum(settings.at_rest * spread, 0.3 * floor)
    settled = _time_within(times, values - values[-1], near)
    resting = end >= np.maximum(settings.confirmed * settled, settings.unit)
    # what slows down moves less in each doubling than in the one before: a decay, and also 1/t
    drifts = (last > floor) & (last > 0.75 * np.abs(half - quarter)) & (end < settings.drifting * settled)
    resting &= ~drifts
    line = values[-1] + (values[-1] - half) * ((times - end) / (0.5 * end))[:, None]
    straight = _time_within(times, values - line, near)
    beyond = np.abs(values) > settings.steady * base
    growing = ~resting & (last > near) & (end >= settings.enough * straight)
    growing &= beyond[-1]
    if not (resting | growing).all():
        return None
    when = np.where(resting, settled, straight)
    if not growing.any():
        until = round_above(2 * float(when.max()))
        return TimeSpan(until, f"what is observed is at rest after about {_short(float(when.max()))}")
    passed = max(float(times[int(np.argmax(beyond[:, j]))]) for j in np.flatnonzero(growing).tolist())
    until = round_above(max(2 * float(when.max()), passed))
    return TimeSpan(
        until, f"what is observed rests or grows at a constant rate; {until:g} shows what comes before that"
    )


def _time_within(times: Array, distance: Array, allowed: Array) -> Array:
    """After which each column of ``distance`` stays within what is allowed, (q,)."""
    away = np.abs(distance) > allowed
    after = np.where(away.any(axis=0), len(times) - np.argmax(away[::-1], axis=0), 0)
    return np.asarray(times[np.minimum(after, len(times) - 1)])


def _undecided(record: ObservedRun, settings: TimeSpanSettings) -> TimeSpan:
    """Where no rule decides: nothing moves, or slower and slower without end."""
    moving = _moving(record, settings)
    if not moving.any():
        reason = f"what is observed does not change; {settings.conventional:g} units of time by convention"
        return TimeSpan(settings.conventional, reason)
    values = record.values[:, moving]
    covered = np.maximum.accumulate(values, axis=0) - np.minimum.accumulate(values, axis=0)
    most = int(np.argmax((covered >= 0.9 * covered[-1]).all(axis=1)))
    until = round_above(2 * float(record.times[max(most, 1)]))
    if until > settings.longest and record.times[-1] >= settings.longest:
        return TimeSpan(
            settings.longest, f"all goes slower and slower, and no time scale shows; {settings.longest:g} are shown"
        )
    return TimeSpan(until, f"no time scale shows; by {until:g} most of what was seen of the observables has happened")


def beyond_times(span: TimeSpan, changes: Iterable[float], settings: TimeSpanSettings = TIME_SPAN) -> TimeSpan:
    """``span``, or a longer one that shows what follows the last of the times at which the model changes by itself."""
    relevant = [time for time in changes if span.until < settings.event * time <= settings.far * span.until]
    if not relevant:
        return span
    until = round_above(settings.event * max(relevant))
    reason = f"the model changes at the time {max(relevant):g}, and {until:g} lies beyond it"
    return TimeSpan(until, reason)


def before_failure(span: TimeSpan, reached: float, settings: TimeSpanSettings = TIME_SPAN) -> TimeSpan:
    """A span that ends before the time at which an integration to the end of ``span`` failed."""
    until = round_below(min(settings.safe * reached, span.until))
    return TimeSpan(until, f"a run fails at {_short(reached)}, so it ends at {until:g}")


def fastest_scale(values: Array, rates: Array) -> float:
    """The smallest |x_i / (dx_i/dt)|, a power of ten between 1e-9 and 1e9; 1 where nothing moves.

    A state that is zero is taken for as large as the largest one.
    """
    size = np.abs(values)
    largest = float(np.where(np.isfinite(size), size, 0.0).max(initial=0.0)) or 1.0
    speed = np.abs(rates)
    moving = (speed > 0) & np.isfinite(speed) & np.isfinite(size)
    if not moving.any():
        return 1.0
    scale = float((np.where(size > 0, size, largest)[moving] / speed[moving]).min())
    return float(10.0 ** round(math.log10(min(max(scale, 1e-9), 1e9))))


def likely_sizes(vector_field: VectorField, initial: Array) -> Array:
    """How large each state is at the start or, where it begins at zero, becomes within the fastest time scale, (n,)."""
    count = len(initial) - int(vector_field.timed)
    rates = vector_field.rates(initial[None], np.array([0]))[0]
    size = np.abs(initial)
    guess = np.abs(np.nan_to_num(rates, posinf=0.0, neginf=0.0)) * fastest_scale(initial[:count], rates[:count])
    return np.asarray(np.where(size > 0, size, guess))


def round_above(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``value`` (positive)."""
    decade = math.floor(math.log10(value))
    for exponent in (decade, decade + 1):
        for digit in (1, 2, 5):
            candidate = float(f"{digit}e{exponent}")
            if candidate >= value * (1 - 1e-12):
                return candidate
    raise AssertionError("unreachable: ten times the decade is above the value")


def round_below(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is at most ``value`` (positive)."""
    above = round_above(value)
    if above <= value * (1 + 1e-12):
        return above
    decade = math.floor(math.log10(above) + 1e-9)
    digit = round(above / 10.0**decade)
    return float({1: f"5e{decade - 1}", 2: f"1e{decade}", 5: f"2e{decade}"}[digit])


def _short(value: float) -> str:
    """Two digits, without a power of ten where that reads better."""
    return f"{float(f'{value:.2g}'):g}"


class VectorFieldSimulation:
    """A vector field integrated by the project's own methods, in one continued run.

    Parameters
    ----------
    vector_field : VectorField
    initial : array (n,)
        With time at the end, where that is a state.
    rows : array (q, n)
        Of the observed quantities.
    resets : sequence of StateReset
    budget : Budget, optional
        Where it is exhausted the run ends.
    """

    def __init__(
        self,
        vector_field: VectorField,
        initial: Array,
        rows: Array,
        resets: Sequence[StateReset] = (),
        budget: Budget | None = None,
        settings: TimeSpanSettings = TIME_SPAN,
    ) -> None:
        self._field, self._rows, self._resets = vector_field, rows, resets
        self._budget, self._settings = budget, settings
        self._time, self._state = 0.0, initial
        # a method of variable order begins with many small steps
        self.ahead = 1 if vector_field.size <= MAX_DENSE else 3
        self._states = np.s_[: len(initial) - int(vector_field.timed)]  # without time as a state
        rates = vector_field.rates(initial[None], np.array([0]))[0]
        self.magnitude = float(np.abs(initial)[self._states].max(initial=0.0))
        self.first_scale = fastest_scale(initial[self._states], rates[self._states])
        self._largest = likely_sizes(vector_field, initial)

    def start(self) -> Stretch:
        """See :class:`Simulation`."""
        return self._stretch(self._state[None], 0.0, None)

    def proceed(self, times: Array) -> Stretch:
        """See :class:`Simulation`."""
        relative = self._settings.relative_tolerance
        largest = self._largest
        # each state counts by its own size, as far as that is no trace of the largest
        absolute = 1e-3 * relative * np.maximum(largest, max(1e-4 * float(largest.max(initial=0.0)), 1e-30))
        try:
            with np.errstate(all="ignore"):
                run = integrate(
                    self._field,
                    self._state[None],
                    np.concatenate([[self._time], times]),
                    resets=self._resets,
                    tolerances=StepControl(relative, absolute, self._settings.steps),
                    budget=self._budget,
                )
        except WorkLimitError:
            # what was seen until here decides: an end time that takes all the work to reach is of no use
            return self._stretch(self._state[None][:0], self._time, "more takes too much of the work that is allowed")
        states = run.states[0, 1:]
        finite = np.isfinite(states).all(axis=1)
        states = states[: len(times) if finite.all() else int(np.argmin(finite))]
        failure, reached = run.why[0], float(run.reached[0])
        if len(states):
            self._time, self._state = float(times[len(states) - 1]), states[-1]
            self._largest = np.maximum(largest, np.abs(states).max(axis=0))
        if failure is None and len(states) < len(times):
            failure, reached = "a state has no finite value", self._time
        return self._stretch(states, reached, failure)

    def _stretch(self, states: Array, reached: float, failure: str | None) -> Stretch:
        return Stretch(states @ self._rows.T, np.abs(states) @ np.abs(self._rows).T, reached, failure)
