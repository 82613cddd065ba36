"""The project's own right-hand side behind :class:`~sbmlump.simulators.protocol.Simulator`.

``own`` integrates it by CVODE (BDF; dense Jacobian for small systems, GMRES for large ones), ``scipy`` by SciPy's
LSODA. Both start within the time it takes to read the file, where a compiler works for a minute on a model of some
thousand reactions. ``own`` executes events (``own_events``), ``scipy`` refuses models that have them.

References
----------
Hindmarsh et al., SUNDIALS, ACM TOMS 31 (2005), doi 10.1145/1089014.1089020.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.isolate import silent_output
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import RELATIONS, Node, Op
from sbmlump.model.system import Event, OdeSystem
from sbmlump.simulators.protocol import (
    LEAST_STEPS,
    PRECISE,
    ROUGH,
    IntegrationError,
    ModelOfSource,
    QuantitySelection,
    SimulatedModel,
    Steps,
    Tolerances,
    Trajectory,
    merged_grid,
    simulated_file,
)

__all__ = ["OwnModel", "OwnSimulator", "ScipySimulator", "EventQueue", "EventsError", "unsupported_events"]


# -- What events do in a run of our own: when they are triggered, executed, dropped --------------

# The rules are those of SBML Level 3 Version 2, section 4.12: an event is triggered when its trigger turns from
# false to
# true; it is executed after its delay, with values of either moment; of those that are due together the one of highest
# priority goes first, and what it changes can trigger or (where they are not persistent) drop others.
#
# References
# ----------
# Hucka et al., SBML Level 3 Version 2 Core, J. Integr. Bioinform. 16 (2019), doi 10.1515/jib-2019-0021.


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


# -- The project's own right-hand side behind :class:`~sbmlump.simulators.protocol.Simu ------------


Array = NDArray[np.float64]
_MOST_DENSE: Final = 150
_KRYLOV: Final = 30
_SCALE_POINTS: Final = 101
_VANISHING: Final = 1e-12  # of the largest state: below that a state is of no account beside it
_SKIP: Final = 1e-12  # of a time: how far after a jump of the right-hand side a run begins anew
_LOOSENINGS: Final = 5
_MOST_PIECES: Final = 20_000  # starts of the solver in one run
_LEAST_RELATIVE: Final = 1e-13  # LSODA refuses less
_STEPS_FACTOR: Final = 5  # steps of a whole run; those of CVODE count from one point of the grid to the next
_STALLED: Final = 1000
"""Steps of LSODA in which time has to get on by more than their number of rounding units: before a pole it takes steps
without end that no longer change the time (CVODE gives up by itself)."""
_PIECE: Final = 3  # points of a piece at least, so that the solver reports the grid and not its own steps


@dataclass(frozen=True, slots=True)
class _Solved:
    """States at times, (k, n) and (k,), as far as the solver got, and what it said if that is not the end.

    Where a difference passed zero: its time, the state there (n,), the directions of all differences.
    """

    states: Array
    why: str | None
    times: Array
    passed: tuple[float, Array, Array] | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a solver is asked for: the system from the state ``start`` at ``grid[0]`` along ``grid``.

    ``absolute`` is the tolerance of each state, ``longest`` a bound on a step, ``queue`` holds the events.
    """

    system: OdeSystem
    grid: Array
    start: Array
    tolerances: Tolerances
    absolute: Array
    longest: float
    queue: EventQueue | None = None


Solve = Callable[[_Piece], _Solved]


class OwnSimulator:
    """Own right-hand side, CVODE."""

    name = "own"

    def load(self, model: Path | SimulatedModel) -> OwnModel:
        """Read a model.

        Raises
        ------
        InputError
            If the file cannot be read.
        UnsupportedModelError
            If it cannot become an ODE system, or has events (code ``simulator-refused``).
        """
        return OwnModel(simulated_file(model), _cvode)


class ScipySimulator:
    """Own right-hand side, SciPy's LSODA."""

    name = "scipy"

    def load(self, model: Path | SimulatedModel) -> OwnModel:
        """As :meth:`OwnSimulator.load`."""
        return OwnModel(simulated_file(model), _lsoda)


class OwnModel(ModelOfSource):
    """One model as an ODE system."""

    def __init__(self, source: SimulatedModel, solve: Solve) -> None:
        super().__init__(source)
        self._solve = solve
        system = source.system
        if system is None:
            message = f"{source.path}: sbmlump does not read this model as differential equations (see sbmlump inspect)"
            raise UnsupportedModelError(Reason("simulator-refused", message))
        if system.events:
            why = unsupported_events(system) if solve is _cvode else "the solver of SciPy finds no events"
            if why is not None:
                message = f"{source.path}: its events are not executed here: {why}; use --simulator roadrunner"
                raise UnsupportedModelError(Reason("simulator-refused", message))
        self._system = system
        # species are scaled as amounts, like the other simulators do; what lies in a changing compartment is as it is
        self._states = {name: QuantitySelection(name, self._form(name)) for name in system.states}

    def _form(self, name: str) -> Any:
        form = self._index.kinds.get(name, "value")
        return "amount" if form == "concentration" and self._size(name) in self._system.constant_values else form

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0 (NaN where the mathematics has no value)."""
        rates = self._system.rates(0.0, self._system.initial_state())
        return dict(zip(self._states, (rates * self._factors()).tolist(), strict=True))

    def run(
        self,
        selections: Mapping[str, QuantitySelection],
        until: float,
        points: int,
        tolerances: Tolerances = PRECISE,
        between: Array | None = None,
        nudge: float = 0.0,
    ) -> Trajectory:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.run`.

        ``nudge`` moves each initial value by that part of itself, up and down in turn.
        """
        evaluator = self._reader(selections)
        start = self._system.initial_state()
        if not np.isfinite(start).all():
            name = self._system.states[int(np.argmin(np.isfinite(start)))]
            raise IntegrationError.at(self._path, 0.0, until, f"{name} has no finite initial value")
        start = start * (1 + nudge * np.where(np.arange(len(start)) % 2, 1.0, -1.0))
        grid = merged_grid(until, points, between)
        scales = self._first_scales(start, until)
        if not tolerances.retry:
            return self._attempt(evaluator, selections, start, grid, tolerances, scales)
        rough, _ = self._states_on(start, np.linspace(0.0, until, _SCALE_POINTS), ROUGH, scales)
        if rough is not None:
            scales = _lifted(np.abs(rough).max(axis=0))
        first: IntegrationError | None = None
        for k in range(_LOOSENINGS):
            factor = 10.0**k
            asked = tolerances.looser(factor)
            try:
                done = self._attempt(evaluator, selections, start, grid, asked, scales)
            except IntegrationError as error:
                first = first or error
                continue
            if first is None:
                return done
            remark = f"{self._path.name}: the integrator failed at time {first.reached:.6g}; the run used a relative "
            remark += f"tolerance of {asked.relative:g}."
            return Trajectory(done.times, done.values, done.seconds, (remark,))
        assert first is not None
        raise first

    def steps(self, until: float) -> Steps:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.steps`."""
        start = self._system.initial_state()
        taken: list[Array] = []
        events: list[float] = []
        table, failure = self._states_on(
            start, np.array([0.0, until]), ROUGH, self._first_scales(start, until), taken, events
        )
        if table is None:
            raise IntegrationError.at(self._path, failure[0], until, failure[1])
        stops = self._switches.until(until)
        return Steps(np.unique(np.concatenate([[0.0, until], *taken])), np.unique([*events, *stops]))

    # -- inside --------------------------------------------------------------------------------------

    def _attempt(
        self,
        evaluator: Evaluator,
        readings: Mapping[str, QuantitySelection],
        start: Array,
        grid: Array,
        tolerances: Tolerances,
        scales: Array,
    ) -> Trajectory:
        begin = time.perf_counter()
        table, failure = self._states_on(start, grid, tolerances, scales)
        seconds = time.perf_counter() - begin
        if table is None:
            reached, why = failure
            raise IntegrationError.at(self._path, reached, float(grid[-1]), why)
        values = evaluator.values(grid, table)
        columns = {label: np.ascontiguousarray(values[:, i]) for i, label in enumerate(readings)}
        return Trajectory(grid, columns, seconds)

    def _states_on(
        self,
        start: Array,
        grid: Array,
        tolerances: Tolerances,
        scales: Array,
        taken: list[Array] | None = None,
        events: list[float] | None = None,
    ) -> tuple[Array | None, tuple[float, str]]:
        """States on ``grid``, (k, n), solved piecewise between jumps; else how far the solver got and why no further.

        The steps of the solver are added to ``taken`` and the times of events to ``events``, where these are given; a
        solver that is asked for two times reports its own steps.
        """
        until = float(grid[-1])
        if not len(start):
            return np.empty((len(grid), 0)), (until, "")
        largest = float(scales.max(initial=0.0)) or 1.0
        absolute = np.maximum(tolerances.absolute * np.where(scales > 0, scales, largest), 1e-290)
        stops = [stop for stop in self._switches.until(until) if _SKIP * until < stop < until * (1 - _SKIP)]
        queue = EventQueue(self._system) if self._system.events else None
        table = np.full((len(grid), len(start)), np.nan)
        now, at, passed = start, 0.0, False
        try:
            if queue is not None:
                now = queue.at(0.0, now)
            table[0] = now
            for _ in range(_MOST_PIECES):
                if at >= until:
                    break
                begin = at * (1 + _SKIP)
                if queue is not None and at > 0 and not passed:
                    now = queue.at(begin, now)  # what is due just after a jump
                passed = False
                high = next((stop for stop in stops if stop > begin), until)
                if queue is not None and begin < queue.next_due < high:
                    high = queue.next_due
                if high <= begin * (1 + _SKIP):
                    table[(grid > at) & (grid <= high)] = now
                    at = high
                    continue
                wanted = np.flatnonzero((grid > at) & (grid <= high))
                piece = np.unique(np.concatenate([[begin], grid[wanted][grid[wanted] > begin], [high]]))
                if len(piece) < _PIECE and taken is None:
                    piece = np.linspace(piece[0], piece[-1], _PIECE)
                solved = self._solve(_Piece(self._system, piece, now, tolerances, absolute, until / LEAST_STEPS, queue))
                if taken is not None:
                    taken.append(solved.times)
                    piece = solved.times if solved.passed is None and solved.why is None else piece
                finite = np.asarray(np.isfinite(solved.states).all(axis=1))
                count = len(finite) if finite.all() else int(np.argmin(finite))
                if solved.why is not None or count < (len(solved.states) if solved.passed else len(piece)):
                    reached = float(solved.times[count - 1]) if count else at
                    return None, (reached, solved.why or "a state has no finite value there")
                end = high if solved.passed is None else solved.passed[0]
                done = wanted[grid[wanted] <= end]
                place = np.searchsorted(solved.times, np.maximum(grid[done], begin))
                table[done] = solved.states[np.minimum(place, len(solved.states) - 1)]
                if solved.passed is None:
                    now, at = solved.states[-1], high
                    if queue is not None and queue.next_due <= high:
                        now = queue.at(high, now)
                else:
                    assert queue is not None
                    passed = True
                    at, now, directions = solved.passed
                    now = queue.at(at, now, directions)
            else:
                return None, (at, f"more than {_MOST_PIECES} events")
        except EventsError as error:
            return None, (at, str(error))
        if queue is not None and events is not None:
            events += queue.executed
        return table, (until, "")

    def _first_scales(self, start: Array, until: float) -> Array:
        """Magnitudes of the states as far as time 0 tells."""
        values = np.abs(start)
        largest = float(values.max(initial=0.0))
        if largest > 0:
            return np.maximum(values, 1e-3 * largest)
        rates = np.abs(self._system.rates(0.0, start))
        guess = float(rates[np.isfinite(rates)].max(initial=0.0)) * until
        return np.full(len(start), guess if 0 < guess < np.inf else 1.0)

    def _reader(self, readings: Mapping[str, QuantitySelection]) -> Evaluator:
        nodes = [self._node(reading) for reading in readings.values()]
        system = self._system
        return Evaluator(system.graph, nodes, system.states, system.constant_values)

    def _node(self, reading: QuantitySelection) -> Node:
        """Value of a quantity in the form in which it is wanted."""
        system = self._system
        node = system.definitions.get(reading.id)
        own = self._index.kinds.get(reading.id)
        if node is None or own is None:
            raise UsageError(
                Reason("unknown-quantity", f"{self._path}: there is no quantity {reading.id!r}.", reading.id)
            )
        if own == reading.kind:
            return node
        inside = self._size(reading.id)
        size = None if inside is None else system.definitions.get(inside)
        if size is None or {own, reading.kind} != {"amount", "concentration"}:
            message = f"{self._path}: {reading.id} cannot be read as {reading.kind}."
            raise UsageError(Reason("unknown-quantity", message, reading.id))
        graph = system.graph
        return graph.mul((node, size)) if reading.kind == "amount" else graph.div(node, size)

    def _size(self, name: str) -> str | None:
        quantity = self._system.quantities.get(name)
        return None if quantity is None else quantity.compartment

    def _factors(self) -> Array:
        """What turns each state into the form in which ``states`` reads it."""
        system = self._system
        nodes = []
        for name, reading in self._states.items():
            inside = self._size(name)
            changed = reading.kind == "amount" and self._index.kinds.get(name) == "concentration"
            nodes.append(system.graph.symbol(inside) if changed and inside is not None else system.graph.number(1))
        return Evaluator(system.graph, nodes, (), system.constant_values).values(0.0, np.empty(0))


def _lifted(scales: Array) -> Array:
    """Scales with those of vanishing states lifted to 1e-12 of the largest."""
    return np.maximum(scales, _VANISHING * float(scales.max(initial=0.0)))


def _cvode(piece: _Piece) -> _Solved:
    from sksundae.cvode import CVODE

    system, queue = piece.system, piece.queue

    def rates(t: float, y: Array, yp: Array) -> None:
        yp[:] = system.rates(t, y)

    # a Jacobian-vector product by differences costs one evaluation of the right-hand side, the Jacobian a thousand
    options: dict[str, Any] = {"linsolver": "dense"}
    if system.size > _MOST_DENSE:
        options = {"linsolver": "gmres", "krylov_dim": _KRYLOV}
    if queue is not None and queue.gap_count:

        def gaps(t: float, y: Array, out: Array) -> None:
            out[:] = queue.gaps(t, y)

        options |= {"eventsfn": gaps, "num_events": queue.gap_count}
    solver = CVODE(
        rates,
        method="BDF",
        rtol=piece.tolerances.relative,
        atol=piece.absolute,
        max_step=piece.longest,
        max_num_steps=piece.tolerances.max_steps,
        **options,
    )
    with silent_output():  # SUNDIALS writes its warnings to standard output
        solution = solver.solve(piece.grid, piece.start)
    times = np.atleast_1d(np.asarray(solution.t, dtype=np.float64))
    got = np.asarray(solution.y, dtype=np.float64).reshape(len(times), -1)
    if getattr(solution, "t_events", None) is not None and len(solution.t_events) and times[-1] < piece.grid[-1]:
        directions = np.asarray(solution.i_events[-1], dtype=np.float64)
        return _Solved(got, None, times, (float(solution.t_events[-1]), np.array(solution.y_events[-1]), directions))
    whole = bool(solution.success) and times[-1] >= piece.grid[-1] * (1 - 1e-14)
    return _Solved(got, None if whole else f"CVODE: {solution.message}", times)


def _lsoda(piece: _Piece) -> _Solved:
    from scipy.integrate import LSODA

    grid, tolerances = piece.grid, piece.tolerances
    solver = LSODA(
        piece.system.rates,
        grid[0],
        piece.start,
        grid[-1],
        rtol=max(tolerances.relative, _LEAST_RELATIVE),
        atol=piece.absolute,
        max_step=piece.longest,
    )
    rows, place = [piece.start], 1
    taken = [grid[0]]
    own_steps = len(grid) < _PIECE
    before = -np.inf
    for count in range(tolerances.max_steps * _STEPS_FACTOR):
        if place == len(grid):
            break
        if count % _STALLED == 0:
            if solver.t - before <= _STALLED * np.spacing(abs(solver.t)):
                return _Solved(np.array(rows), "LSODA: steps no longer change the time", np.array(taken))
            before = solver.t
        message = solver.step()
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            why = f"LSODA: {message or 'a state has no finite value'}"
            return _Solved(np.array(rows), why, np.array(taken))
        end = int(np.searchsorted(grid, solver.t, side="right"))
        if own_steps:
            rows.append(solver.y.copy())
            taken.append(solver.t)
            place = end
        elif end > place:
            rows.extend(np.atleast_2d(solver.dense_output()(grid[place:end]).T))
            taken.extend(grid[place:end])
            place = end
    return _Solved(np.array(rows), None if place == len(grid) else "LSODA: too many steps", np.array(taken))
