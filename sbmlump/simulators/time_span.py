"""The end time of a comparison: :mod:`sbmlump.dynamics.time_span` asked of a loaded model, and late events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.time_span import (
    TIME_SPAN,
    Stretch,
    TimeSpan,
    TimeSpanSettings,
    before_failure,
    beyond_times,
    choose_time_span,
    fastest_scale,
    round_above,
)
from sbmlump.simulators.protocol import ROUGH, IntegrationError, LoadedModel, QuantitySelection, Tolerances, Triggers

__all__ = ["LoadedModelSimulation", "before_failure", "beyond_events", "time_span_of_model"]


Array = NDArray[np.float64]
_EXPLORING = Tolerances(TIME_SPAN.relative_tolerance, 1e-10, 2_000, retry=False)
"""As exact as the project's own integrators explore: more digits change no end time."""
_LATER = (10.0, 100.0, 300.0)
"""Times the end time: how far is looked for events that have not come. What comes later still is another experiment."""


class LoadedModelSimulation:
    """A loaded model as a :class:`sbmlump.dynamics.time_span.Simulation`: each request is a run from time 0.

    Parameters
    ----------
    model : LoadedModel
    observed : sequence of mappings of label to float
        The observed quantities, as combinations of what ``selections`` hold.
    selections : mapping of str to QuantitySelection

    Raises
    ------
    IntegrationError
        If the model has no finite state at time 0.
    """

    ahead = 3  # eightfold: rest has to be seen on a run ten times as long anyway

    def __init__(
        self,
        model: LoadedModel,
        observed: Sequence[Mapping[str, float]],
        selections: Mapping[str, QuantitySelection],
    ) -> None:
        self._model = model
        needed = dict.fromkeys(name for row in observed for name in row)
        self._selections = {name: selections[name] for name in needed}
        place = {name: i for i, name in enumerate(needed)}
        self._rows = np.zeros((len(observed), len(place)))
        for i, row in enumerate(observed):
            for name, factor in row.items():
                self._rows[i, place[name]] = factor
        # the same id may be an amount among the states and a concentration among what is observed
        states, first = (self._first(which) for which in (model.states, selections))
        rates = model.initial_rates()
        self.first_scale = fastest_scale(np.array([states[name] for name in rates]), np.array(list(rates.values())))
        self.magnitude = max((abs(v) for v in (*states.values(), *first.values()) if np.isfinite(v)), default=0.0)
        self._before = np.empty(0)
        self._initial = np.array([[first[name] for name in needed]])

    def _first(self, selections: Mapping[str, QuantitySelection]) -> dict[str, float]:
        begin = self._model.run(selections, 1e-9, 2, ROUGH)
        return {name: float(values[0]) for name, values in begin.values.items()}

    def start(self) -> Stretch:
        """See :class:`sbmlump.dynamics.time_span.Simulation`."""
        return self._stretch(self._initial, 0.0, None)

    def proceed(self, times: Array) -> Stretch:
        """See :class:`sbmlump.dynamics.time_span.Simulation`."""
        try:
            return self._stretch(self._values(times), float(times[-1]), None)
        except IntegrationError as error:
            failed, why = error.reached, "the simulator goes no further"
        # what lies before the failure is asked for once more; just before it steps are too short for a rough run
        before = times[times <= TIME_SPAN.safe * failed]
        try:
            values = self._values(before) if len(before) else np.empty((0, self._rows.shape[1]))
        except IntegrationError:
            values = np.empty((0, self._rows.shape[1]))
        return self._stretch(values, failed, why)

    def _values(self, times: Array) -> Array:
        # outputs that were asked for before stay in the grid: a solver counts its steps from one to the next
        asked = np.concatenate([self._before, times])
        run = self._model.run(self._selections, float(times[-1]), 2, _EXPLORING, between=asked)
        self._before = asked
        table = np.array([run.values[name] for name in self._selections]).T
        return table[np.searchsorted(run.times, times * (1 - 1e-12))]

    def _stretch(self, table: Array, reached: float, failure: str | None) -> Stretch:
        # an assigned quantity may have no value at some times, such as 0/0 at time 0
        table = np.where(np.isfinite(table), table, 0.0)
        return Stretch(table @ self._rows.T, np.abs(table) @ np.abs(self._rows).T, reached, failure)


def time_span_of_model(
    model: LoadedModel,
    changes: Sequence[float] = (),
    observed: Sequence[Mapping[str, float]] | None = None,
    selections: Mapping[str, QuantitySelection] | None = None,
    settings: TimeSpanSettings = TIME_SPAN,
) -> TimeSpan:
    """Choose the end time of a model.

    Parameters
    ----------
    model : LoadedModel
        The original.
    changes : sequence of float
        Times at which it changes by itself (triggers, conditions on time).
    observed : sequence of mappings of label to float, optional
        Combinations of ``selections``; every state by default.
    selections : mapping of str to QuantitySelection, optional
    settings : TimeSpanSettings
    """
    if not model.states:
        by_convention = f"nothing is integrated in this model; {settings.conventional:g} units of time by convention"
        return beyond_times(TimeSpan(settings.conventional, by_convention), changes, settings)
    known = model.states if selections is None else selections
    try:
        simulation = LoadedModelSimulation(model, observed or [{name: 1.0} for name in known], known)
    except IntegrationError:
        reason = f"the model could not be explored; {settings.conventional:g} units of time by convention"
        return TimeSpan(settings.conventional, reason)
    return choose_time_span(simulation, changes, settings)


def beyond_events(
    model: LoadedModel, span: TimeSpan, triggers: Triggers, selections: Mapping[str, QuantitySelection]
) -> TimeSpan:
    """A span that shows an event which comes later than what happens until the end of ``span``, if one does soon.

    Parameters
    ----------
    model : LoadedModel
    span : TimeSpan
    triggers : Triggers
    selections : mapping of str to QuantitySelection
        Holds what ``triggers`` need.
    """
    needs = {name: selections[name] for name in triggers.needs}
    for factor in (1.0, *_LATER):
        until = factor * span.until
        try:
            run = model.run(needs, until, 201, ROUGH)
        except IntegrationError:
            return span
        fired = triggers.first_fired(run.times, run.values)
        if factor == 1.0 and np.isfinite(fired).all():
            return span
        late = [time for time in fired if span.until < time < np.inf]
        if late:
            until = round_above(TIME_SPAN.event * min(late))
            label = triggers.labels[int(np.argmax(fired == min(late)))]
            comes = f"{label} comes at about {float(f'{min(late):.2g}'):g}"
            return TimeSpan(until, f"{span.reason}; {comes}: simulated to {until:g}")
    return span
