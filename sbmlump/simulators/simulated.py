"""A model as simulators are given it, and what in it happens by itself: jumps in time, events, branches.

A simulator is given text, never a path: bytes are decoded once, by the reader that every command uses, with its guards
(DOCTYPE, depth, encodings, files of other folders, hierarchies that explode). Submodels are put together by libSBML as
the reader does it. What libRoadRunner and COPASI cannot take as it stands in the file (algebraic rules, ``rateOf`` as
an annotated function definition) they get as sbmlump's translation, with a remark that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import UnsupportedModelError
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import OdeSystem
from sbmlump.sbml.read.index import ModelIndex
from sbmlump.sbml.read.load import ReadResult, read
from sbmlump.sbml.write.document import system_document

__all__ = [
    "NO_CONDITIONS",
    "NO_SWITCHES",
    "NO_TRIGGERS",
    "Conditions",
    "SimulatedModel",
    "TimeSwitches",
    "Triggers",
    "conditions_of",
    "simulated_file",
    "simulated_result",
    "simulated_system",
    "time_switches",
    "triggers_of",
    "values_along",
]


# -- the model as text, with what has to be known of it ----------------------------------------------


#: Reasons of the reader for which a file is not given to a simulator either: it would read outside the folder, or grow.
_NOT_SIMULATED: Final = frozenset({"comp-flattening", "comp-external", "too-large", "too-deep"})


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
    return model if isinstance(model, SimulatedModel) else simulated_result(read(model), model)


def simulated_result(result: ReadResult, path: str | Path) -> SimulatedModel:
    """What the reader made of the file at ``path``.

    Raises
    ------
    UnsupportedModelError
        If its submodels cannot be put together, or lie where nothing is read.
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
    if system is not None and (index.old_rate_of or index.algebraic):
        why = "its algebraic rules are solved" if index.algebraic else "its function rateOf means a derivative"
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


# -- Where a model changes by itself as time passes: conditions on time, steps of tim ------------

# Where a model changes by itself as time passes: conditions on time, steps of time, peaks in functions of time.
#
# An integrator steps over what lies between two of its steps, and a grid shows nothing of what lies between two of its
# points. A condition that compares a function of time alone with a constant changes at times that can be known before
# anything is simulated; the functions of time in a model are looked at here without the rest of it.


Array = NDArray[np.float64]
_SAMPLES: Final = 4096
"""Points at which a function of time is looked at; one that is affine changes its sign once and is never missed."""
_BISECTIONS: Final = 60
"""More than the 53 bits of a double."""
_MOST: Final = 1000
"""Times that are kept: each costs a start of the integrator. Beyond, a model switches as fast as others oscillate."""
_STEEP: Final = 0.1
"""Of a function's range: a peak by less is followed by the integrator anyway."""


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
        grid = np.linspace(0.0, end, _SAMPLES + 1)
        found = [*self._crossings(grid), *self._peaks(grid)]
        found += [time + delay for time in found for delay in self.delays]
        times = np.unique([time for time in found if 0 < time < end])
        if len(times) > _MOST:
            times = times[np.linspace(0, len(times) - 1, _MOST).astype(int)]
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
            found += [float(grid[turn - near]) for turn in turns[bend > _STEEP * spread]]
        return found if len(found) <= _MOST else []


def _changes(function: Evaluator, side: Callable[[Array], Array], grid: Array) -> list[float]:
    """Times at which ``side`` of a function of time changes, by bisection between points of ``grid``."""

    def sides(times: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return side(function.values(times, np.empty((len(times), 0)))[:, 0])

    table = sides(grid)
    known = np.isfinite(table[:-1]) & np.isfinite(table[1:])
    places = np.flatnonzero(known & (table[:-1] != table[1:]))[:_MOST]
    low, high, left = grid[places].copy(), grid[places + 1].copy(), table[places]
    for _ in range(_BISECTIONS if len(places) else 0):
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


# -- events of a model as far as a simulation shows them: which were triggered, and which may still come --


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

    def first_fired(self, times: Array, columns: Mapping[str, Array]) -> Array:
        """When each event is first seen to be triggered on the grid, shape (events,); infinite where it is not."""
        truths = values_along(self.graph, self.nodes, self.needs, times, columns) > 0.5
        before = np.concatenate([np.array([self.initial], dtype=np.bool_), truths[:-1]])
        risen = truths & ~before
        return np.where(risen.any(axis=0), times[np.argmax(risen, axis=0)], np.inf)


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


# -- branches that depend on states, as far as a simulation shows them ---------------------------------

# When a condition on time alone changes is known beforehand (:class:`TimeSwitches`). When one on states does is known
# only from a trajectory, and an integrator steps over a branch that holds for less than one of its steps. Of such a
# branch one thing does show: two comparisons of one piecewise expression have changed from one point of the grid to the
# next.


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
    """

    graph: Graph
    nodes: tuple[Node, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    needs: tuple[str, ...] = ()

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
            if len(compared) > 1 and source.symbols(compared):
                groups.append(compared)
    wanted = list(dict.fromkeys(node for group in groups for node in group))
    if not wanted or len(wanted) > _MOST:
        return NO_CONDITIONS
    graph = Graph()
    nodes = tuple(graph.transplant(source, wanted, {}))
    place = {node: i for i, node in enumerate(wanted)}
    needs = tuple(sorted(graph.symbols(nodes)))
    return Conditions(graph, nodes, tuple(tuple(place[node] for node in group) for group in groups), needs)


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
