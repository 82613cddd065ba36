"""What a simulator has to offer, so that libRoadRunner, COPASI and our own integrator are interchangeable.

A :class:`Simulator` loads a file; a :class:`LoadedModel` runs from time 0 as often as it is asked to, each run
independent of the ones before. Comparison and choice of the end time are written against these two alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.events import TOO_MANY_EVENTS, TimeSwitches, time_switches
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
from sbmlump.errors import LimitError, Reason, UnsupportedModelError, shortened
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import to_text
from sbmlump.sbml.read.load import ModelIndex, QuantitySelection, ReadResult, SelectionKind, read_sbml
from sbmlump.sbml.write.document import system_document

__all__ = [
    "Attempt",
    "first_to_end",
    "LEAST_STEPS",
    "AHEAD",
    "PRECISE",
    "ROUGH",
    "IntegrationError",
    "LoadedModel",
    "ModelIndex",
    "ModelOfSource",
    "QuantitySelection",
    "SelectionKind",
    "SimulatedModel",
    "Simulator",
    "Steps",
    "TimeSwitches",
    "Tolerances",
    "Trajectory",
    "merged_grid",
    "simulated_file",
    "NO_CONDITIONS",
    "NO_TRIGGERS",
    "Conditions",
    "Triggers",
    "conditions_of",
    "simulated_result",
    "simulated_system",
    "triggers_of",
    "values_along",
    "LoadedModelSimulation",
    "before_failure",
    "beyond_changes",
    "time_span_of_model",
]


# -- A model as simulators are given it ------------------------------------------------------------

# A model as simulators are given it, and what in it happens by itself: jumps in time, events, branches.
#
# A simulator is given text, never a path: bytes are decoded once, by the reader that every command uses, with
# its guards
# (DOCTYPE, depth, encodings, files of other folders, hierarchies that explode). Submodels are put together by
# libSBML as
# the reader does it. What libRoadRunner and COPASI cannot take as it stands in the file (algebraic rules, ``rateOf`` as
# an annotated function definition) they get as sbmlump's translation, with a remark that says so.


# -- the model as text, with what has to be known of it ----------------------------------------------


#: Reasons of the reader for which a file is not given to a simulator either: it would read outside the folder, or grow,
#: or what it gives is not a trajectory of the model (a draw of random numbers, concentrations in a size of 0).
_NOT_SIMULATED: Final = frozenset(
    {"comp-flattening", "comp-external", "too-large", "too-deep", "random-number", "zero-size"}
)


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model as simulators are given it; all of it can be sent to a child process, where nothing is read again.

    Attributes
    ----------
    path : Path
        The file it came from, for messages.
    text : str
        SBML without submodels.
    index : ModelIndex
        What ids mean in it.
    switches : TimeSwitches
        Where it changes by itself as time passes; nothing is known of a model that the reader refuses.
    remarks : tuple of str
        In what the text differs from the file.
    system : OdeSystem or None
        The equations, where the reader takes the model.
    """

    path: Path
    text: str
    index: ModelIndex
    switches: TimeSwitches
    remarks: tuple[str, ...] = ()
    system: OdeSystem | None = None


def simulated_file(model: str | Path | SimulatedModel) -> SimulatedModel:
    """The SBML file at a path, which is read here; what has been read already is returned as it is.

    Raises
    ------
    InputError
        If it is not a readable SBML file.
    UnsupportedModelError
        As :func:`simulated_result`.
    """
    return model if isinstance(model, SimulatedModel) else simulated_result(read_sbml(model), model)


def simulated_result(result: ReadResult, path: str | Path) -> SimulatedModel:
    """What the reader made of the file at ``path``.

    Raises
    ------
    UnsupportedModelError
        If its submodels cannot be put together, or lie where nothing is read; if it draws random numbers or divides by
        a size of 0.
    SbmlumpError
        As :func:`simulated_system`, where the file is not SBML.
    """
    path = Path(path)
    if not result.data:
        return simulated_system(result.required(), path)
    refused = [reason for reason in result.reasons if reason.code in _NOT_SIMULATED]
    if refused:
        raise UnsupportedModelError(refused)
    index, system = result.index(), result.system
    if system is not None and (index.old_rate_of or index.algebraic or index.fast or index.denominators):
        why = "its algebraic rules are solved" if index.algebraic else "its function rateOf means a derivative"
        why = "libRoadRunner leaves out the denominators of stoichiometries" if index.denominators else why
        why = "simulators know no fast reactions" if index.fast else why
        remark = f"{path.name} is simulated as 'sbmlump convert' writes it: {why}."
        return replace(simulated_system(system, path), remarks=(remark,))
    return SimulatedModel(path, result.flat.decode(), index, time_switches(system), (), system)


def simulated_system(system: OdeSystem, path: str | Path) -> SimulatedModel:
    """A system, as the SBML that sbmlump writes of it; ``path`` is the file it came from.

    Raises
    ------
    SbmlumpError
        As :func:`sbmlump.sbml.write.document.write_system`.
    """
    written = system_document(system)
    index = written.read_back.index()
    return SimulatedModel(Path(path), written.data.decode(), index, time_switches(system), (), system)


def values_along(
    graph: Graph, nodes: Sequence[Node], needs: Sequence[str], times: Array, columns: Mapping[str, Array]
) -> Array:
    """Values of ``nodes`` along a trajectory, shape (times, nodes); ``columns`` hold the ids that they need."""
    table = np.empty((len(times), len(needs)))
    for i, name in enumerate(needs):
        table[:, i] = columns[name]
    return Evaluator(graph, nodes, needs, {}).values(times, table)


# -- events of a model as far as a simulation shows them -------------------------------------------


@dataclass(frozen=True, slots=True)
class Triggers:
    """The triggers of events, over states and time.

    Attributes
    ----------
    graph : Graph
        Holds them, and nothing else: it can be sent to a child process.
    nodes : tuple of Node
        One for each event.
    labels : tuple of str
        Ids of the events, or what they change.
    initial : tuple of bool
        Whether the trigger counts as true before time 0.
    needs : tuple of str
        States that stand in them.
    """

    graph: Graph
    nodes: tuple[Node, ...] = ()
    labels: tuple[str, ...] = ()
    initial: tuple[bool, ...] = ()
    needs: tuple[str, ...] = ()

    def first_fired(self, run: Trajectory) -> Array:
        """When each event is first seen to be triggered in a run, shape (events,); infinite where it is not."""
        if not self.nodes:
            return np.empty(0)
        truths = values_along(self.graph, self.nodes, self.needs, run.times, run.values) > 0.5
        before = np.concatenate([np.array([self.initial], dtype=np.bool_), truths[:-1]])
        risen = truths & ~before
        seen = np.where(risen.any(axis=0), run.times[np.argmax(risen, axis=0)], np.inf)
        told = [(run.fired or {}).get(label, np.inf) for label in self.labels]
        return np.minimum(seen, told)


NO_TRIGGERS: Final = Triggers(Graph())


def triggers_of(system: OdeSystem | None) -> Triggers:
    """The triggers of a system, with the values of its constants; none where there is no system."""
    if system is None or not system.events:
        return NO_TRIGGERS
    graph = Graph()
    bound = system.graph.substitute([event.trigger for event in system.events], system.specialised())
    nodes = tuple(graph.transplant(system.graph, bound, {}))
    labels = tuple(
        event.id or "the event that sets " + ", ".join(target for target, _ in event.assignments)
        for event in system.events
    )
    needs = tuple(sorted(graph.symbols(nodes)))
    return Triggers(graph, nodes, labels, tuple(event.initial_value for event in system.events), needs)


# -- branches that depend on states ----------------------------------------------------------------

# When a condition on time alone changes is known beforehand (:class:`TimeSwitches`). When one on states does is known
# only from a trajectory, and an integrator steps over a branch that holds for less than one of its steps. Of such a
# branch one thing does show: two comparisons of one piecewise expression have changed from one point of the grid to the
# next.


_LONGEST_TEXT: Final = 60  # of a comparison in the sentence that gives the end time: half a line of a terminal
_MOST_COMPARISONS: Final = 1000
"""That are looked at: a model with more has tables of values, whose branches lie one grid point apart anyway."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Comparisons in the conditions of piecewise expressions.

    Attributes
    ----------
    graph : Graph
        Holds them, and nothing else.
    nodes : tuple of Node
        The comparisons.
    groups : tuple of tuple of int
        For each piecewise expression with several comparisons: their places in ``nodes``.
    needs : tuple of str
        States that stand in them.
    texts : tuple of str
        The comparisons as text.
    needed : tuple of frozenset of str
        States in each.
    """

    graph: Graph
    nodes: tuple[Node, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    needs: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    needed: tuple[frozenset[str], ...] = ()

    def first_changed(self, run: Trajectory) -> Array:
        """When each comparison is first seen to be another than at the start, shape (comparisons,); else infinite."""
        if not self.nodes:
            return np.empty(0)
        truths = values_along(self.graph, self.nodes, self.needs, run.times, run.values) > 0.5
        changed = truths != truths[0]
        return np.where(changed.any(axis=0), run.times[np.argmax(changed, axis=0)], np.inf)

    def passed(self, times: Array, columns: Mapping[str, Array]) -> tuple[float, float] | None:
        """The first two neighbouring times between which a branch may have come and gone; None where there are none."""
        if not self.groups:
            return None
        truths = values_along(self.graph, self.nodes, self.needs, times, columns) > 0.5
        changed = truths[1:] != truths[:-1]
        several = np.any([changed[:, list(group)].sum(axis=1) > 1 for group in self.groups], axis=0)
        if not several.any():
            return None
        place = int(np.argmax(several))
        return float(times[place]), float(times[place + 1])


NO_CONDITIONS: Final = Conditions(Graph())


def conditions_of(system: OdeSystem | None) -> Conditions:
    """Conditions on states in the right-hand sides and assigned quantities of a system, with its constants' values."""
    if system is None:
        return NO_CONDITIONS
    source = system.graph
    roots = source.substitute([*system.rhs, *(one.value for one in system.assigned)], system.specialised())
    groups: list[list[Node]] = []
    for node in source.reachable(roots):
        if source.op(node) is Op.PIECEWISE:
            compared = _comparisons(source, source.args(node)[1::2])
            # those on time alone are met exactly by every run
            if source.symbols(compared):
                groups.append(compared)
    wanted = list(dict.fromkeys(node for group in groups for node in group))
    if len(wanted) > _MOST_COMPARISONS:
        groups = [group for group in groups if len(group) > 1]
        wanted = list(dict.fromkeys(node for group in groups for node in group))
    if not wanted or len(wanted) > _MOST_COMPARISONS:
        return NO_CONDITIONS
    graph = Graph()
    nodes = tuple(graph.transplant(source, wanted, {}))
    place = {node: i for i, node in enumerate(wanted)}
    needs = tuple(sorted(graph.symbols(nodes)))
    several = tuple(tuple(place[node] for node in group) for group in groups if len(group) > 1)
    texts = tuple(shortened(to_text(graph, node), _LONGEST_TEXT) for node in nodes)
    needed = tuple(frozenset(graph.symbols([node])) for node in nodes)
    return Conditions(graph, nodes, several, needs, texts, needed)


def _comparisons(graph: Graph, conditions: tuple[Node, ...]) -> list[Node]:
    """The comparisons that logical operators put together in ``conditions``."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    waiting = list(conditions)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if graph.op(node) is Op.CALL and graph.payload(node) in RELATIONS:
            found[node] = None
        elif graph.op(node) is Op.CALL and graph.payload(node) in LOGIC:
            waiting += graph.args(node)
    return list(found)


# -- What a simulator has to offer -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Accuracy asked of the integrator.

    Attributes
    ----------
    relative : float
        Relative tolerance of each state.
    absolute : float
        Absolute tolerance of each state, *relative to the scale* of that state (its largest magnitude in the run).
    max_steps : int
        Internal steps allowed between two points of the output grid.
    retry : bool
        Whether a run that fails is tried again with looser tolerances (and says so).
    events : int or None
        Most executions of events, for simulators that can tell; by default they bound them as they do.
    """

    relative: float
    absolute: float
    max_steps: int
    retry: bool
    events: int | None = None

    def looser(self, factor: float) -> Tolerances:
        """The same with both tolerances larger by ``factor``."""
        return replace(self, relative=self.relative * factor, absolute=self.absolute * factor)


PRECISE = Tolerances(relative=1e-10, absolute=1e-14, max_steps=20_000, retry=True)
"""For comparisons."""

ROUGH = Tolerances(relative=1e-8, absolute=1e-12, max_steps=2_000, retry=False)
"""For finding scales and the end time."""

AHEAD = replace(ROUGH, events=300, retry=True)
"""For looking beyond what is shown: a dose that comes again and again for ever costs seconds at most."""


LEAST_STEPS: Final = 200
"""A run takes at least so many internal steps: a pulse wider than that part of it, or a trigger that is true for so
long, is not stepped over. Published models take 300 to 3,000 steps at the tolerances of a comparison anyway."""


@dataclass(frozen=True)
class Steps:
    """Where an integrator had to go.

    Attributes
    ----------
    times : ndarray of float64
        Ends of its internal steps, ascending.
    events : ndarray of float64
        Times at which events were executed or the run was started anew, ascending.
    """

    times: Array
    events: Array


def merged_grid(until: float, points: int, between: Array | None = None) -> Array:
    """The uniform grid from 0 to ``until`` with the times ``between`` put in, less those that are points of it.

    What differs by rounding alone is one point: no integrator takes two outputs so near to each other.
    """
    rounding = 1e-13 * until
    grid = np.linspace(0.0, until, points)
    if between is None or not len(between):
        return grid
    inside = np.unique(between[(between > 0) & (between < until)])
    inside = inside[np.concatenate([[True], np.diff(inside) > rounding])[: len(inside)]]
    place = np.searchsorted(grid, inside)
    near = np.minimum(np.abs(grid[place] - inside), np.abs(inside - grid[place - 1]))
    return np.sort(np.concatenate([grid, inside[near > rounding]]))


@dataclass(frozen=True)
class Trajectory:
    """One run.

    Attributes
    ----------
    times : ndarray of float64, shape (k,)
        Uniform grid from 0, in the model's unit of time, with the times that were wanted between its points.
    values : mapping from label to ndarray of float64, shape (k,)
        Finite for states; an assigned quantity may have no value (NaN) at some times, such as 0/0 at time 0.
    seconds : float
        Wall time of the integration alone (not of loading).
    remarks : tuple of str
        What differs from what was asked for (tolerances loosened), one sentence each.
    fired : mapping of str to float or None
        When each event (by its id) was triggered first, where the simulator can tell: a trigger that what it sets off
        makes false again is true at no point of the grid.
    """

    times: Array
    values: Mapping[str, Array]
    seconds: float
    remarks: tuple[str, ...] = ()
    fired: Mapping[str, float] | None = None


class IntegrationError(LimitError):
    """A model could not be integrated to the end time (code ``simulation-failed``, exit code 4).

    Attributes
    ----------
    reached : float
        Time up to which the integration went.
    why : str
    """

    reached: float = 0.0
    why: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons,), {"reached": self.reached, "why": self.why}

    @classmethod
    def at(cls, file: str | Path, reached: float, until: float, why: str) -> IntegrationError:
        """The error for a run of ``file`` that ended at time ``reached`` because of ``why``."""
        message = (
            f"{file}: the simulation stopped at time {reached:.6g} of {until:.6g}: {why}. "
            f"An earlier end time may work (for example --until {0.9 * reached:.3g})."
            if reached > 0
            else f"{file}: the simulation to time {until:.6g} failed at its start: {why}."
        )
        error = cls(Reason("simulation-failed", message))
        error.reached, error.why = reached, why
        return error


Attempt = tuple[Tolerances, str, Callable[[Tolerances], Trajectory]]
"""Tolerances, what else differs from the first attempt in words, and the run with these."""


def first_to_end(path: Path, attempts: Iterable[Attempt]) -> Trajectory:
    """The run of the first attempt that reaches the end; all but the first are remarked.

    Raises
    ------
    IntegrationError
        Of the first attempt, if all fail.
    """
    first: IntegrationError | None = None
    for asked, more, run in attempts:
        try:
            done = run(asked)
        except IntegrationError as error:
            if error.why == TOO_MANY_EVENTS:  # nothing that is looser changes
                raise
            first = first or error
            continue
        if first is None:
            return done
        remark = f"{path.name}: the integrator failed at time {first.reached:.6g}; the run used a relative tolerance "
        remark += f"of {asked.relative:g}{more}."
        return replace(done, remarks=(*done.remarks, remark))
    assert first is not None
    raise first


class LoadedModel(Protocol):
    """A model ready to run."""

    @property
    def path(self) -> Path:
        """File it came from."""
        ...

    @property
    def states(self) -> Mapping[str, QuantitySelection]:
        """Everything that the integrator integrates, by id."""
        ...

    def initial_rates(self) -> Mapping[str, float]:
        """Rate of change of each of ``states`` at time 0, in the form in which ``states`` reads it."""
        ...

    def run(
        self,
        selections: Mapping[str, QuantitySelection],
        until: float,
        points: int,
        tolerances: Tolerances = PRECISE,
        between: Array | None = None,
    ) -> Trajectory:
        """Simulate from time 0 to ``until`` and return ``selections`` (label to selection) on ``points`` points.

        The run is started anew at the times at which the model changes by itself, and takes at least
        :data:`LEAST_STEPS` steps. ``between`` are further times at which values are wanted.

        Raises
        ------
        IntegrationError
            If the integration does not reach ``until`` or a state is not finite.
        UsageError
            If the model has no such quantity.
        """
        ...

    def steps(self, until: float) -> Steps:
        """The internal steps of a rough run to ``until``.

        Raises
        ------
        IntegrationError
            If the integration does not reach ``until``.
        """
        ...


class ModelOfSource:
    """What every loaded model keeps of the model that it was given."""

    def __init__(self, source: SimulatedModel) -> None:
        self._path = source.path
        self._index = source.index
        self._switches = source.switches
        self._states: Mapping[str, QuantitySelection] = {}

    @property
    def path(self) -> Path:
        """File it came from."""
        return self._path

    @property
    def states(self) -> Mapping[str, QuantitySelection]:
        """Everything that the integrator integrates, by id."""
        return self._states


class Simulator(Protocol):
    """A program or library that runs SBML files."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def load(self, model: Path | SimulatedModel) -> LoadedModel:
        """Prepare a model, or the SBML file at a path.

        Raises
        ------
        InputError
            If there is no such file.
        UnsupportedModelError
            If the simulator refuses the model (code ``simulator-refused``).
        """
        ...


# -- The end time of a loaded model, by the one definition ------------------------------------------

# The end time of a comparison: :mod:`sbmlump.dynamics.time_span` asked of a loaded model, and late events.


_EXPLORING = Tolerances(TIME_SPAN.relative_tolerance, 1e-10, 2_000, retry=False, events=AHEAD.events)
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
            failed = error.reached
            why = error.why if error.why == TOO_MANY_EVENTS else "the simulator goes no further"
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
        columns = [run.values[name] for name in self._selections]  # none where all that is observed is constant
        table = np.stack(columns, axis=1) if columns else np.empty((len(run.times), 0))
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


def beyond_changes(
    model: LoadedModel,
    span: TimeSpan,
    triggers: Triggers,
    conditions: Conditions,
    selections: Mapping[str, QuantitySelection],
) -> TimeSpan:
    """A span that shows an event, or another branch, which comes later than what ``span`` shows, if one does soon.

    Parameters
    ----------
    model : LoadedModel
    span : TimeSpan
    triggers : Triggers
    conditions : Conditions
        Many of them are guards that never change, and are looked at less far.
    selections : mapping of str to QuantitySelection
        Holds what both need.
    """
    needs = {name: selections[name] for name in (*triggers.needs, *conditions.needs)}
    labels = [f"{label} comes" for label in triggers.labels]
    labels += [f"the condition {text} changes" for text in conditions.texts]
    open_ = np.empty(0, dtype=np.bool_)  # what the end time does not show yet
    for factor in (1.0, *_LATER):
        until = factor * span.until
        try:
            run = model.run(needs, until, 201, AHEAD)
        except IntegrationError:
            return span
        fired = np.concatenate([triggers.first_fired(run), conditions.first_changed(run)])
        if factor == 1.0:
            # a condition on what does not move stays as it is
            moves = {name for name in conditions.needs if np.ptp(run.values[name]) > 0}
            fixed = [not needed & moves for needed in conditions.needed]
            open_ = ~np.isfinite(fired) & ~np.array([*(False for _ in triggers.nodes), *fixed], dtype=np.bool_)
        elif factor > _LATER[0]:
            open_[len(triggers.nodes) :] = False
        late = [time for time, still in zip(fired.tolist(), open_, strict=True) if still and span.until < time < np.inf]
        if not late and not (open_ if factor == 1.0 else open_[: len(triggers.nodes)]).any():
            return span
        if late:
            first = min(late)
            until = round_above(TIME_SPAN.event * first)
            comes = f"{labels[int(np.argmax(fired == first))]} at about {float(f'{first:.2g}'):g}"
            return TimeSpan(until, f"{comes}, and {until:g} lies beyond it")
    return span
