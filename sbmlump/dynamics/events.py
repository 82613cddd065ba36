"""Runs of a system with its events: when they are triggered, executed, dropped.

The rules are those of SBML Level 3 Version 2, section 4.12: an event is triggered when its trigger turns from false to
true; it is executed after its delay, with values of either moment; of those that are due together the one of highest
priority goes first, and what it changes can trigger or (where they are not persistent) drop others.

References
----------
Hucka et al., SBML Level 3 Version 2 Core, J. Integr. Bioinform. 16 (2019), doi 10.1515/jib-2019-0021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.multistep import SolvedRun, solve_cvode, solve_lsoda
from sbmlump.dynamics.rosenbrock import ROSENBROCK, StepControl
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
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
    "NO_SWITCHES",
    "SWITCHES",
    "TOO_MANY_EVENTS",
    "SwitchSettings",
    "TimeSwitches",
    "time_switches",
]


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How runs with events are made.

    Attributes
    ----------
    most_at_once : int
        Executions at one time: more are a cascade that does not end.
    most_pieces : int
        Starts of the solver in one run.
    """

    most_at_once: int = 10_000
    most_pieces: int = 20_000


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
        self.fired: dict[str, float] = {}

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
                if event.id:
                    self.fired.setdefault(event.id, t)
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


Solve = Callable[[Piece], SolvedRun]


def by_cvode(piece: Piece) -> SolvedRun:
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


def by_lsoda(piece: Piece) -> SolvedRun:
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
    fired : mapping of str to float
        When each event with an id was triggered first.
    """

    states: Array | None
    reached: float
    failure: str = ""
    steps: list[Array] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    fired: Mapping[str, float] = field(default_factory=dict)


TOO_MANY_EVENTS: Final = "more events than are followed"


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
    most_events: int | None = None,
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
    most_events : int, optional
        Executions; a run with more fails with :data:`TOO_MANY_EVENTS`.
    """
    until = float(grid[-1])
    if not len(initial):
        return SingleRun(np.empty((len(grid), 0)), until)
    skip = ROSENBROCK.skip
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
            if queue is not None and most_events is not None and len(queue.executed) > most_events:
                run.reached, run.failure = at, TOO_MANY_EVENTS
                return run
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
        run.events, run.fired = list(queue.executed), dict(queue.fired)
    return run


# -- Where a model changes by itself as time passes ------------------------------------------------

# Where a model changes by itself as time passes: conditions on time, steps of time, peaks in functions of time.
#
# An integrator steps over what lies between two of its steps, and a grid shows nothing of what lies between two of its
# points. A condition that compares a function of time alone with a constant changes at times that can be known before
# anything is simulated; the functions of time in a model are looked at here without the rest of it.


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """How functions of time are looked at.

    Attributes
    ----------
    samples : int
        Points at which a function of time is looked at; one that is affine changes its sign once and is never missed.
    bisections : int
        Of an interval with a change; more than the 53 bits of a double.
    most : int
        Times that are kept: each costs a start of the integrator. Beyond, a model switches as fast as others oscillate.
    steep : float
        Of a function's range: a peak by less is followed by the integrator anyway.
    """

    samples: int = 4096
    bisections: int = 60
    most: int = 1000
    steep: float = 0.1


SWITCHES: Final = SwitchSettings()


@dataclass(frozen=True)
class TimeSwitches:
    """Functions of time in a model.

    Attributes
    ----------
    graph : Graph
        Holds what follows; no symbols are in it.
    signs : tuple of Node
        Something jumps where one of these changes its sign.
    steps : tuple of Node
        Something jumps where one of these passes an integer.
    smooth : tuple of Node
        Functions whose narrow peaks an integrator could step over.
    delays : tuple of float
        Events may happen so much later than their trigger.
    """

    graph: Graph
    signs: tuple[Node, ...] = ()
    steps: tuple[Node, ...] = ()
    smooth: tuple[Node, ...] = ()
    delays: tuple[float, ...] = ()

    def until(self, end: float) -> tuple[float, ...]:
        """Times in (0, ``end``) at which the model changes by itself, ascending, at most a thousand."""
        if not (self.signs or self.steps or self.smooth):
            return ()
        grid = np.linspace(0.0, end, SWITCHES.samples + 1)
        found = [*self._crossings(grid), *self._peaks(grid)]
        found += [time + delay for time in found for delay in self.delays]
        times = np.unique([time for time in found if 0 < time < end])
        if len(times) > SWITCHES.most:
            times = times[np.linspace(0, len(times) - 1, SWITCHES.most).astype(int)]
        return tuple(times.tolist())

    @cached_property
    def named(self) -> tuple[float, ...]:
        """Times that conditions affine in time name, wherever they lie, with delays; ascending."""
        here = [time for node in self.signs if (time := self._affine_root(node)) is not None]
        return tuple(sorted({*here, *(time + delay for time in here for delay in self.delays)}))

    def _affine_root(self, node: Node) -> float | None:
        time = self.graph.time()
        terms = dict(self.graph.linear_terms(node))
        slope = terms.pop(time, None)
        rest = self.graph.from_terms(terms)
        if slope is None or self.graph.depends_on_time([rest]):
            return None
        root = -self._values([rest], np.zeros(1))[0, 0] / float(slope)
        return float(root) if 0 < root < np.inf else None

    def _values(self, nodes: Sequence[Node], times: Array) -> Array:
        """Values of nodes, shape (times, nodes)."""
        return Evaluator(self.graph, nodes, (), {}).values(times, np.empty((len(times), 0)))

    def _crossings(self, grid: Array) -> list[float]:
        found = [time for time in self.named if time < grid[-1]]
        affine = {node for node in self.signs if self._affine_root(node) is not None}
        sampled = tuple(node for node in self.signs if node not in affine)
        for nodes, side in ((sampled, np.sign), (self.steps, np.floor)):
            for node in nodes:
                found += _changes(Evaluator(self.graph, [node], (), {}), side, grid)
        return found

    def _peaks(self, grid: Array) -> list[float]:
        if not self.smooth:
            return []
        found: list[float] = []
        table = self._values(self.smooth, grid)
        for column in table.T:
            if not np.isfinite(column).all():
                continue
            slope = np.sign(np.diff(column))
            turns = np.flatnonzero(slope[:-1] * slope[1:] < 0) + 1
            spread = float(column.max() - column.min())
            near = 2  # points of the fine grid to each side
            turns = turns[(turns >= near) & (turns < len(column) - near)]
            bend = np.maximum(
                np.abs(column[turns] - column[turns - near]), np.abs(column[turns] - column[turns + near])
            )
            found += [float(grid[turn - near]) for turn in turns[bend > SWITCHES.steep * spread]]
        return found if len(found) <= SWITCHES.most else []


def _changes(function: Evaluator, side: Callable[[Array], Array], grid: Array) -> list[float]:
    """Times at which ``side`` of a function of time changes, by bisection between points of ``grid``."""

    def sides(times: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return side(function.values(times, np.empty((len(times), 0)))[:, 0])

    table = sides(grid)
    known = np.isfinite(table[:-1]) & np.isfinite(table[1:])
    places = np.flatnonzero(known & (table[:-1] != table[1:]))[: SWITCHES.most]
    low, high, left = grid[places].copy(), grid[places + 1].copy(), table[places]
    for _ in range(SWITCHES.bisections if len(places) else 0):
        middle = 0.5 * (low + high)
        same = sides(middle) == left
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return [float(time) for time in high]


NO_SWITCHES: Final = TimeSwitches(Graph())


def time_switches(system: OdeSystem | None) -> TimeSwitches:
    """The functions of time in a system: in its right-hand sides, assigned quantities and events."""
    if system is None:
        return NO_SWITCHES
    roots = [*system.rhs, *(one.value for one in system.assigned)]
    for event in system.events:
        roots += [event.trigger, *(node for node in (event.delay, event.priority) if node is not None)]
        roots += [node for _, node in event.assignments]
    if not system.graph.depends_on_time(roots):
        return NO_SWITCHES
    graph = Graph()
    source = system.graph
    # the values of constants are put in; states stay symbols
    bound = source.substitute(roots, system.specialised())
    nodes = source.reachable(bound)
    # of each node: whether it mentions time, and whether it mentions anything else
    timed: dict[Node, bool] = {}
    free: dict[Node, bool] = {}
    bends: dict[Node, bool] = {}  # more than affine
    for node in nodes:
        op, args = source.op(node), source.args(node)
        timed[node] = op is Op.TIME or any(timed[arg] for arg in args)
        free[node] = op is Op.SYMBOL or any(free[arg] for arg in args)
        bends[node] = op in (Op.CALL, Op.POW, Op.DIV, Op.MUL, Op.PIECEWISE) or any(bends[arg] for arg in args)
    signs: list[Node] = []
    steps: list[Node] = []
    smooth: set[Node] = set()
    inside: set[Node] = set()
    for node in reversed(nodes):
        op, args = source.op(node), source.args(node)
        if op is Op.CALL:
            pure = [arg for arg in args if timed[arg] and not free[arg]]
            name = str(source.payload(node))
            if name in RELATIONS and len(args) == 2 and timed[node] and not free[node]:
                signs.append(source.sub(args[0], args[1]))
            elif name in ("floor", "ceiling") and pure:
                steps += pure
            elif (
                name in ("rem", "quotient")
                and len(pure) + sum(not timed[a] and not free[a] for a in args) == 2
                and pure
            ):
                steps.append(source.div(args[0], args[1]))
            elif name == "abs" and pure:
                signs += pure
            elif name in ("min", "max") and len(args) == 2 and len(pure) == 2:
                signs.append(source.sub(args[0], args[1]))
        pure_here = timed[node] and not free[node]
        if pure_here and node not in inside and op not in (Op.TIME, Op.PIECEWISE):
            smooth.add(node)
        if pure_here:
            inside.update(args)
    peaked = sorted(node for node in smooth if bends[node] and not _is_truth(source, node))
    delays: list[Node] = [event.delay for event in system.events if event.delay is not None]
    known = [node for node in source.substitute(delays, system.specialised()) if not source.leaves([node])[0]]
    known = [node for node in known if not source.depends_on_time([node])]
    moved = graph.transplant(source, [*signs, *steps, *peaked, *known], {})
    first, second, third = len(signs), len(signs) + len(steps), len(signs) + len(steps) + len(peaked)
    later = Evaluator(graph, moved[third:], (), {}).values(0.0, np.empty(0)) if known else np.empty(0)
    return TimeSwitches(
        graph,
        tuple(dict.fromkeys(moved[:first])),
        tuple(dict.fromkeys(moved[first:second])),
        tuple(dict.fromkeys(moved[second:third])),
        tuple(sorted({float(delay) for delay in later if 0 < delay < np.inf})),
    )


def _is_truth(graph: Graph, node: Node) -> bool:
    return graph.op(node) is Op.CALL and graph.payload(node) in (*RELATIONS, *LOGIC)
