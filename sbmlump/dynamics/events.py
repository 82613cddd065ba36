"""Runs of a system with its events: when they are triggered, executed, dropped.

The rules are those of SBML Level 3 Version 2, section 4.12: an event is triggered when its trigger turns from false to
true; it is executed after its delay, with values of either moment; of those that are due together the one of highest
priority goes first, and what it changes can trigger or (where they are not persistent) drop others.

References
----------
Hucka et al., SBML Level 3 Version 2 Core, J. Integr. Bioinform. 16 (2019), doi 10.1515/jib-2019-0021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.cvode import Solution, solve_cvode
from sbmlump.dynamics.lsoda import solve_lsoda
from sbmlump.dynamics.rosenbrock import StepControl
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import RELATIONS, Node, Op
from sbmlump.model.system import Event, OdeSystem

__all__ = [
    "EVENTS",
    "EventQueue",
    "EventSettings",
    "EventsError",
    "Piece",
    "SingleRun",
    "Solve",
    "by_cvode",
    "by_lsoda",
    "single_run",
    "unsupported_events",
]


Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How runs with events are made.

    Attributes
    ----------
    most_at_once : int
        Executions at one time: more are a cascade that does not end.
    most_pieces : int
        Starts of the solver in one run.
    skip : float
        Of a time: how far after a discontinuity of the right-hand side a run begins anew.
    """

    most_at_once: int = 10_000
    most_pieces: int = 20_000
    skip: float = 1e-12


EVENTS: Final = EventSettings()


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
        for _ in range(EVENTS.most_at_once):
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


# -- single runs, piece by piece --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """What a solver is asked for: the system from the state ``initial`` at ``times[0]`` along ``times``.

    Attributes
    ----------
    control : StepControl
    longest : float
        A bound on a step.
    queue : EventQueue or None
        Whose differences end the piece where they pass zero.
    own_steps : bool
        Whether the steps of the solver are wanted, where there are two times.
    """

    system: OdeSystem
    times: Array
    initial: Array
    control: StepControl
    longest: float
    queue: EventQueue | None
    own_steps: bool


Solve = Callable[[Piece], Solution]


def by_cvode(piece: Piece) -> Solution:
    """A piece by CVODE."""
    system, queue = piece.system, piece.queue

    def rates(t: float, y: Array, yp: Array) -> None:
        yp[:] = system.rates(t, y)

    def gaps(t: float, y: Array, out: Array) -> None:
        assert queue is not None
        out[:] = queue.gaps(t, y)

    count = 0 if queue is None else queue.gap_count
    return solve_cvode(
        rates,
        piece.times,
        piece.initial,
        piece.control,
        longest=piece.longest,
        gaps=gaps if count else None,
        gap_count=count,
        own_steps=piece.own_steps,
    )


def by_lsoda(piece: Piece) -> Solution:
    """A piece by LSODA, which finds no events."""
    return solve_lsoda(
        piece.system.rates,
        piece.times,
        piece.initial,
        piece.control,
        longest=piece.longest,
        own_steps=piece.own_steps,
    )


@dataclass(slots=True)
class SingleRun:
    """One run of a system with its events.

    Attributes
    ----------
    states : ndarray (k, n) or None
        On the grid; ``None`` where the end was not reached.
    reached : float
    failure : str
    steps : list of ndarray
        Ends of the steps of the solver, where these were asked for.
    events : list of float
        When events were executed.
    """

    states: Array | None
    reached: float
    failure: str = ""
    steps: list[Array] = field(default_factory=list)
    events: list[float] = field(default_factory=list)


def single_run(
    system: OdeSystem,
    initial: Array,
    grid: Array,
    control: StepControl,
    *,
    longest: float,
    stops: Sequence[float] = (),
    solve: Solve = by_cvode,
    own_steps: bool = False,
) -> SingleRun:
    """Integrate one run, anew from each discontinuity and each event on.

    Parameters
    ----------
    grid : array (k,)
        From 0 on.
    stops : sequence of float
        Times at which the right-hand side is discontinuous, ascending.
    own_steps : bool
        Whether the steps of the solver are wanted (the grid then holds two times).
    """
    until = float(grid[-1])
    if not len(initial):
        return SingleRun(np.empty((len(grid), 0)), until)
    skip = EVENTS.skip
    stops = [stop for stop in stops if skip * until < stop < until * (1 - skip)]
    queue = EventQueue(system) if system.events else None
    run = SingleRun(None, 0.0)
    table = np.full((len(grid), len(initial)), np.nan)
    state, at, passed = initial, 0.0, False
    try:
        if queue is not None:
            state = queue.at(0.0, state)
        table[0] = state
        for _ in range(EVENTS.most_pieces):
            if at >= until:
                break
            begin = at * (1 + skip)
            if queue is not None and at > 0 and not passed:
                state = queue.at(begin, state)  # what is due just after a discontinuity
            passed = False
            high = next((stop for stop in stops if stop > begin), until)
            if queue is not None and begin < queue.next_due < high:
                high = queue.next_due
            if high <= begin * (1 + skip):
                table[(grid > at) & (grid <= high)] = state
                at = high
                continue
            wanted = np.flatnonzero((grid > at) & (grid <= high))
            times = np.unique(np.concatenate([[begin], grid[wanted][grid[wanted] > begin], [high]]))
            solved = solve(Piece(system, times, state, control, longest, queue, own_steps))
            if own_steps:
                run.steps.append(solved.times)
            finite = np.asarray(np.isfinite(solved.states).all(axis=1))
            count = len(finite) if finite.all() else int(np.argmin(finite))
            if solved.failure is not None or count < len(solved.states):
                run.reached = float(solved.times[count - 1]) if count else at
                run.failure = solved.failure or "a state has no finite value there"
                return run
            end = high if solved.passed is None else solved.passed[0]
            done = wanted[grid[wanted] <= end]
            place = np.searchsorted(solved.times, np.maximum(grid[done], begin))
            table[done] = solved.states[np.minimum(place, len(solved.states) - 1)]
            if solved.passed is None:
                state, at = solved.states[-1], high
                if queue is not None and queue.next_due <= high:
                    state = queue.at(high, state)
            else:
                assert queue is not None
                passed = True
                at, state, directions = solved.passed
                state = queue.at(at, state, directions)
        else:
            run.reached, run.failure = at, f"more than {EVENTS.most_pieces} events"
            return run
    except EventsError as error:
        run.reached, run.failure = at, str(error)
        return run
    run.states, run.reached = table, until
    if queue is not None:
        run.events = list(queue.executed)
    return run
