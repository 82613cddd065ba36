"""Events of a model as far as a simulation shows them: which were triggered, and which may still come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.expr.evaluate import Evaluator
from sbmlump.expr.graph import Graph, Node
from sbmlump.system import OdeSystem

__all__ = ["NO_TRIGGERS", "Triggers", "triggers_of"]

Array = NDArray[np.float64]


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
        table = np.empty((len(times), len(self.needs)))
        for i, name in enumerate(self.needs):
            table[:, i] = columns[name]
        truths = Evaluator(self.graph, self.nodes, self.needs, {}).values(times, table) > 0.5
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
