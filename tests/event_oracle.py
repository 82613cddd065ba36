"""A simulator of models with events, written from the specification and from nothing else: an oracle for tests.

It takes what is written in the file (values of assignments, sizes of compartments) and does the steps of SBML Level 3
Version 2, section 4.11: triggers, delays, priorities, values of the trigger, events that are not persistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from sbmlump.arrays import Array
from sbmlump.model import Evaluator, Node, OdeSystem

_STEP = 0.1  # triggers that are true for a shorter while may be missed
_MOST_EXECUTIONS = 200


@dataclass
class _Pending:
    number: int
    time: float
    values: Array | None


class EventRun:
    """One run; ``values`` holds the observables at the wanted times, (k, len(observables))."""

    def __init__(self, system: OdeSystem, observables: Sequence[str], times: Sequence[float]) -> None:
        self.system = system
        self._events = system.events
        self._triggers = self._reader([event.trigger for event in self._events])
        self._written = [dict(event.assignments) | dict(event.unscaled) for event in self._events]
        self._sizes = {name: size for name in system.states if (size := _size(system, name)) is not None}
        self._size_reader = self._reader(list(self._sizes.values()))
        self._state = system.initial_state()
        self._time = 0.0
        self._pending: list[_Pending] = []
        self._executions = 0
        self._truth = np.array([event.initial_value for event in self._events], dtype=np.bool_)
        shown = self._reader([system.definitions[name] for name in observables])
        self._settle()
        rows = []
        for time in times:
            self._advance(time)
            rows.append(shown.values(self._time, self._state))
        self.values = np.array(rows)

    def _reader(self, nodes: Sequence[Node]) -> Evaluator:
        system = self.system
        return Evaluator(system.graph, list(nodes), system.states, system.constant_values)

    def _advance(self, until: float) -> None:
        while self._time < until:
            due = min((one.time for one in self._pending), default=np.inf)
            end = min(until, due, self._time + _STEP)
            solution = solve_ivp(
                self.system.rates,
                (self._time, end),
                self._state,
                method="DOP853",
                rtol=1e-10,
                atol=1e-12,
                dense_output=True,
            )
            assert solution.success
            curve = solution.sol
            if self._differs(end, curve(end)):
                low, high = self._time, end
                while high - low > 4e-16 * max(1.0, high):
                    middle = 0.5 * (low + high)
                    if not low < middle < high:
                        break
                    low, high = (low, middle) if self._differs(middle, curve(middle)) else (middle, high)
                end = high
            self._time, self._state = end, curve(end)
            self._settle()

    def _differs(self, time: float, state: Array) -> bool:
        return bool((self._now_true(time, state) != self._truth).any())

    def _now_true(self, time: float, state: Array) -> NDArray[np.bool_]:
        return np.asarray(self._triggers.values(time, state) != 0)

    def _settle(self) -> None:
        """Everything that happens at this moment."""
        while True:
            self._notice()
            due = [one for one in self._pending if one.time <= self._time]
            if not due:
                return
            self._executions += 1
            assert self._executions < _MOST_EXECUTIONS
            best = max(due, key=self._priority)
            self._pending.remove(best)
            self._execute(best)

    def _priority(self, one: _Pending) -> float:
        node = self._events[one.number].priority
        return -np.inf if node is None else self._number(node)

    def _notice(self) -> None:
        now = self._now_true(self._time, self._state)
        for i, event in enumerate(self._events):
            if now[i] and not self._truth[i]:
                delay = 0.0 if event.delay is None else self._number(event.delay)
                values = self._values(i) if event.use_trigger_values else None
                self._pending.append(_Pending(i, self._time + delay, values))
            if not now[i] and self._truth[i] and not event.persistent:
                self._pending = [one for one in self._pending if one.number != i]
        self._truth = now

    def _number(self, node: Node) -> float:
        return float(self._reader([node]).values(self._time, self._state)[0])

    def _values(self, number: int) -> Array:
        return self._reader(list(self._written[number].values())).values(self._time, self._state)

    def _execute(self, one: _Pending) -> None:
        values = self._values(one.number) if one.values is None else one.values
        index = self.system.state_index
        new = self._state.copy()
        for name, value in zip(self._written[one.number], values.tolist(), strict=True):
            new[index[name]] = value
        places = [index[name] for name in self._sizes]
        before = self._size_reader.values(self._time, self._state)
        after = self._size_reader.values(self._time, new)
        new[places] *= before / after
        self._state = new


def _size(system: OdeSystem, name: str) -> Node | None:
    quantity = system.quantities.get(name)
    if quantity is None or quantity.kind != "species" or quantity.amount or quantity.compartment is None:
        return None
    return system.definitions.get(quantity.compartment)


def run_events(system: OdeSystem, observables: Sequence[str], times: Sequence[float]) -> Array:
    """Values of observables at times after 0, (k, len(observables)); see the module."""
    return EventRun(system, observables, times).values
