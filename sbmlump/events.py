"""What the events of a system do, and at which moment the values that they assign are taken.

An event is triggered at one moment and executed at another: after its delay, or after other events of the same moment
with a higher priority. With ``useValuesFromTriggerTime`` its values are those of the first moment, and all that it does
not set is as it is at the second: x ↦ R(x, x′) with x at execution and x′ at the trigger. Only where nothing that the
values depend on can have changed in between is it a map of one state, x ↦ R(x, x). What a resized compartment does to
the concentrations in it happens at execution in either case.

References
----------
Hucka et al., SBML Level 3 Version 2 Core, J. Integr. Bioinform. 16 (2019), section 4.11, doi 10.1515/jib-2019-0021.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.system import Event, OdeSystem

__all__ = [
    "event_expressions",
    "event_label",
    "may_be_interrupted",
    "new_values",
    "others_in_between",
    "overwrites_others",
    "refuse_two_moments",
    "targets",
    "time_bounds",
    "two_moments",
    "values_are_old",
    "values_may_change",
    "with_trigger_values",
]

_TOGETHER: Final = Fraction(1, 10**9)  # of a time: events closer than that may be one moment for an integrator


def event_label(event: Event) -> str:
    """How messages name the event."""
    return f"the event {event.id}" if event.id is not None else "an event without id"


def new_values(event: Event) -> dict[str, Node]:
    """What each state is set to, those included that follow from a resized compartment."""
    return dict((*event.assignments, *event.implied))


def targets(event: Event) -> set[str]:
    """States that the event sets, those included that follow from a resized compartment."""
    return {name for name, _ in (*event.assignments, *event.implied)}


def event_expressions(events: Iterable[Event]) -> list[Node]:
    """Everything that events are made of: triggers, delays, priorities and values."""
    found: list[Node] = []
    for event in events:
        found += [event.trigger, *(node for node in (event.delay, event.priority) if node is not None)]
        found += [node for _, node in (*event.assignments, *event.implied, *event.unscaled)]
    return found


def time_bounds(graph: Graph, trigger: Node) -> list[Node] | None:
    """What time is compared with in a trigger; ``None`` if anything but such comparisons stands in it."""
    bounds: list[Node] = []
    stack = [trigger]
    while stack:
        node = stack.pop()
        name = graph.name(node) if graph.op(node) is Op.CALL else None
        if name in LOGIC:
            stack.extend(graph.args(node))
        elif name in RELATIONS:
            left, right = graph.args(node)
            other = right if left == graph.time() else left
            if graph.time() not in (left, right) or graph.depends_on_time([other]):
                return None
            bounds.append(other)
        elif graph.op(node) is not Op.CONSTANT and graph.number_of(node) is None:
            return None
    return bounds


def others_in_between(system: OdeSystem, event: Event) -> list[Event]:
    """Other events that set something and may be executed between the trigger of ``event`` and its execution.

    Two events that happen at given numbers of time, and never at the same one, do not meet. For all others (triggers
    that depend on states or on constants) it is not decided whether they can.
    """
    mine = _execution_times(system, event)
    found: list[Event] = []
    for other in system.events:
        if other is event or not targets(other):
            continue
        theirs = _execution_times(system, other)
        if event.delay is None and mine is not None and theirs is not None and not _meet(mine, theirs):
            continue
        found.append(other)
    return found


def _execution_times(system: OdeSystem, event: Event) -> list[Fraction] | None:
    """Times outside of which an event is not executed, if numbers say so; ``None`` otherwise."""
    graph = system.graph
    bounds = time_bounds(graph, event.trigger)
    times = [] if bounds is None else [graph.number_of(node) for node in bounds]
    delay = Fraction(0) if event.delay is None else graph.number_of(event.delay)
    if bounds is None or delay is None:
        return None
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return None
    if not event.initial_value:
        known.append(Fraction(0))  # false before the start, the trigger may become true there
    return [time + delay for time in known]


def _meet(times: Sequence[Fraction], others: Sequence[Fraction]) -> bool:
    """Whether two of the times are the same, or too near for an integrator to tell."""
    return any(abs(a - b) <= _TOGETHER * max(abs(a), abs(b)) for a in times for b in others)


def may_be_interrupted(system: OdeSystem, event: Event) -> bool:
    """Whether anything can change between the trigger of an event and its execution."""
    return event.delay is not None or bool(others_in_between(system, event))


def values_may_change(system: OdeSystem, event: Event) -> bool:
    """Whether the values that an event assigns may be others at its execution than at its trigger."""
    others = others_in_between(system, event)
    if event.delay is None and not others:
        return False
    graph = system.graph
    as_written = dict(event.assignments) | dict(event.unscaled)
    read, reads_time = graph.leaves(list(as_written.values()))
    moving = {name for other in others for name in targets(other)}
    # the same event comes in between where it can be triggered again before it is executed
    if event.delay is not None or graph.symbols([event.trigger]) & (moving | targets(event)):
        moving |= targets(event)
    if event.delay is not None:
        zero = graph.number(0)
        moving |= {name for name, rate in zip(system.states, system.rhs, strict=True) if rate != zero}
        return reads_time or bool(read & moving)
    return bool(read & moving)


def values_are_old(system: OdeSystem, event: Event) -> bool:
    """Whether an event assigns values of its trigger that may be others by the time of its execution."""
    return event.use_trigger_values and values_may_change(system, event)


def overwrites_others(system: OdeSystem, event: Event) -> bool:
    """Whether an event sets everything that can have changed between its trigger and its execution.

    Then the state after it is R(x′), a map of the state at the trigger alone.
    """
    if event.delay is not None or event.implied or event.unscaled:
        return False
    mine = targets(event)
    return all(targets(other) <= mine for other in others_in_between(system, event))


def two_moments(system: OdeSystem, event: Event) -> bool:
    """Whether single values that an event leads to are made of both moments.

    That is so where it resizes a compartment to, or sets a concentration in it to, a value of the trigger: the amount
    belongs to the moment of execution. Only the event as it was written in SBML says that.
    """
    return bool(event.implied or event.unscaled) and values_are_old(system, event)


def refuse_two_moments(system: OdeSystem, events: Iterable[Event] | None = None) -> None:
    """Refuse events for which :func:`two_moments` holds.

    Raises
    ------
    UnsupportedModelError
        With code ``event-resizes``, one reason an event.
    """
    reasons = []
    for event in system.events if events is None else events:
        if two_moments(system, event):
            name = (*event.implied, *event.unscaled)[0][0]
            message = (
                f"{event_label(event)} resizes the compartment of {name} with values of the moment of its trigger, but "
                "the amounts in it are those of the moment of its execution, and something may happen in between; "
                'write useValuesFromTriggerTime="false" if that is meant'
            )
            reasons.append(Reason("event-resizes", message, event.id))
    if reasons:
        raise UnsupportedModelError(reasons)


def with_trigger_values(system: OdeSystem, event: Event, values: Sequence[Node]) -> bool:
    """Whether what becomes of ``event`` takes its values at the trigger, if it assigns ``values`` instead.

    An event whose values cannot change before its execution may do so at either moment, but not every way of writing
    these values has that property (pools that others set, sizes): then they are taken at execution.
    """
    if not event.use_trigger_values or values_are_old(system, event):
        return event.use_trigger_values
    if not may_be_interrupted(system, event):
        return True
    symbols, time = system.graph.leaves(list(values))
    return not (time and event.delay is not None) and symbols <= {constant.id for constant in system.constants}
