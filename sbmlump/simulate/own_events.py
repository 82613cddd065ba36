"""What events do in a run of our own: when they are triggered, executed, dropped.

The rules are those of SBML Level 3 Version 2, section 4.12: an event is triggered when its trigger turns from false to
true; it is executed after its delay, with values of either moment; of those that are due together the one of highest
priority goes first, and what it changes can trigger or (where they are not persistent) drop others.

References
----------
Hucka et al., SBML Level 3 Version 2 Core, J. Integr. Bioinform. 16 (2019), doi 10.1515/jib-2019-0021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.expr.graph import RELATIONS, Node, Op
from sbmlump.system import Event, OdeSystem

__all__ = ["EventQueue", "EventsError", "unsupported_events"]

Array = NDArray[np.float64]
_MOST_AT_ONCE: Final = 10_000
"""Executions at one time: more are a cascade that does not end."""


class EventsError(Exception):
    """Events that cannot be executed, with the cause."""


@dataclass(slots=True)
class _Pending:
    event: int
    due: float
    values: Array | None  # those of trigger time, where these are used


def unsupported_events(system: OdeSystem) -> str | None:
    """What stands in the way of executing the events of a system here, if anything does."""
    graph = system.graph
    for event in system.events:
        label = f"the event {event.id!r}" if event.id else "an event"
        names = {graph.payload(node) for node in graph.reachable([event.trigger]) if graph.op(node) is Op.CALL}
        if names & {"eq", "neq"}:
            return f"the trigger of {label} asks for equality, which holds at single moments"
        if event.implied and event.delay is not None and event.use_trigger_values:
            return f"{label} resizes a compartment later, with values of trigger time"
    return None


class EventQueue:
    """Triggers and pending events of one run."""

    def __init__(self, system: OdeSystem) -> None:
        self._events: tuple[Event, ...] = system.events
        graph = system.graph
        triggers = [event.trigger for event in self._events]
        relations = [
            node
            for node in graph.reachable(triggers)
            if graph.op(node) is Op.CALL and graph.payload(node) in RELATIONS and len(graph.args(node)) == 2
        ]
        self._gaps = self._evaluator(system, [graph.sub(*graph.args(node)) for node in relations])
        # a relation is judged by the sign of the difference of its sides: where a difference is just passing zero the
        # integrator knows its direction, and rounding does not matter
        names = [f"sign {i}" for i in range(len(relations))]  # no SId holds a space
        zero = graph.number(0)
        signs = {
            node: graph.call(str(graph.payload(node)), (graph.symbol(name), zero))
            for node, name in zip(relations, names, strict=True)
        }
        self._truths = Evaluator(
            graph, graph.substitute(triggers, signs), [*system.states, *names], system.constant_values
        )
        self._count = len(relations)
        numbers: list[Node] = []
        for event in self._events:
            numbers += [event.delay or zero, event.priority or graph.number(0)]
        self._numbers = self._evaluator(system, numbers)
        self._values = [
            self._evaluator(system, [node for _, node in (*event.assignments, *event.implied)])
            for event in self._events
        ]
        index = system.state_index
        self._targets = [[index[name] for name, _ in (*event.assignments, *event.implied)] for event in self._events]
        self._pending: list[_Pending] = []
        self._true = np.array([event.initial_value for event in self._events], dtype=np.bool_)
        self.executed: list[float] = []

    @staticmethod
    def _evaluator(system: OdeSystem, nodes: list[Node]) -> Evaluator:
        return Evaluator(system.graph, nodes, system.states, system.constant_values)

    @property
    def gap_count(self) -> int:
        """How many differences :meth:`gaps` gives."""
        return self._count

    def gaps(self, t: float, x: Array) -> Array:
        """The differences whose signs decide the triggers, (gap_count,)."""
        return self._gaps.values(t, x) if self._count else np.empty(0)

    @property
    def next_due(self) -> float:
        """When the next pending event is executed; infinite without any."""
        return min((one.due for one in self._pending), default=np.inf)

    def at(self, t: float, x: Array, directions: Array | None = None) -> Array:
        """The state after all that happens at time ``t``; ``directions`` are those of differences that pass zero.

        Raises
        ------
        EventsError
            If a delay is no number, or events never stop triggering each other.
        """
        gaps = self.gaps(t, x)
        signs = np.sign(gaps)
        if directions is not None:
            signs = np.where(directions != 0, directions, signs)
        self._trigger(t, x, signs)
        for _ in range(_MOST_AT_ONCE):
            due = [one for one in self._pending if one.due <= t]
            if not due:
                return x
            priorities = self._numbers.values(t, x)[1::2]
            # events without a priority may go at any place: last, in the order of the file
            rank = [-np.inf if self._events[one.event].priority is None else priorities[one.event] for one in due]
            one = due[int(np.argmax(rank))]
            self._pending.remove(one)
            values = self._values[one.event].values(t, x) if one.values is None else one.values
            x = x.copy()
            x[self._targets[one.event]] = values
            if not np.isfinite(x).all():
                raise EventsError("an event assigns what is no finite number")
            self.executed.append(t)
            # what the event did not move keeps its sign: a difference that has just passed zero is rounding
            after = self.gaps(t, x)
            signs = np.where(after == gaps, signs, np.sign(after))
            gaps = after
            self._trigger(t, x, signs)
        raise EventsError("events trigger each other without end")

    def _trigger(self, t: float, x: Array, signs: Array) -> None:
        now = np.asarray(self._truths.values(t, np.concatenate([x, signs])) > 0.5)
        delays = self._numbers.values(t, x)[0::2]
        for i, event in enumerate(self._events):
            if now[i] and not self._true[i]:
                if not 0 <= delays[i] < np.inf:
                    raise EventsError(f"the delay of an event is {delays[i]:g}")
                # without a delay both moments are one, unless another event comes between
                values = self._values[i].values(t, x) if event.use_trigger_values else None
                if values is not None and event.implied:
                    values = None if delays[i] == 0 else values
                self._pending.append(_Pending(i, t + float(delays[i]), values))
            elif not now[i] and not event.persistent:
                self._pending = [one for one in self._pending if one.event != i]
        self._true = now
