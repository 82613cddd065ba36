"""Where a model changes by itself as time passes: conditions on time, steps of time, peaks in functions of time.

An integrator steps over what lies between two of its steps, and a grid shows nothing of what lies between two of its
points. A condition that compares a function of time alone with a constant changes at times that can be known before
anything is simulated; the functions of time in a model are looked at here without the rest of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import OdeSystem

__all__ = ["NO_SWITCHES", "SWITCHES", "SwitchSettings", "TimeSwitches", "time_switches"]


Array = NDArray[np.float64]


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
