"""Whether two systems are the same model: what was written, and what is read back from it.

Ids, initial values, constants, right-hand sides, assigned quantities, fluxes, events and constraints are compared.
Expressions are compared at a pseudo-random point of GF(2^61 − 1) with every function taken as generic
(:mod:`sbmlump.model.evaluate`): two that differ show it, two that are equal by arithmetic agree. Numbers count as
equal that are one rational or one double.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, Literal

from flint import ctx

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.balls import BallProgram, Missing
from sbmlump.model.domains import nearest_double
from sbmlump.model.evaluate import field_values, symbol_value, values_of
from sbmlump.model.graph import Graph, Node
from sbmlump.model.system import Event, OdeSystem

__all__ = ["Expected", "differences", "refuse_differences", "same_value"]


Part = Literal["reactions", "events", "constraints"]
ALL_PARTS: Final[frozenset[Part]] = frozenset({"reactions", "events", "constraints"})
_FLAGS: Final = (
    ("initial_value", "the initial value of its trigger"),
    ("persistent", "whether its trigger persists"),
    ("use_trigger_values", "whether it uses the values of trigger time"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """In what a system that is read back may differ by the nature of the format.

    Attributes
    ----------
    renamed : mapping of str to str
        Old id to new id, where an id had to change.
    added_states : set of str
        States that the format needs, such as time as a state; anything else that is new must be assigned or constant.
    left_out : set of str
        Ids that the format leaves out, and whose loss is told elsewhere; ``""`` stands for all events without an id.
    parts : set of str
        Which of ``reactions`` (fluxes), ``events``, ``constraints`` the format has.
    time : str or None
        The added state that is the time.
    formulas : bool
        Whether computed initial values and constants are kept as formulas, or as numbers.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    added_states: AbstractSet[str] = frozenset()
    left_out: AbstractSet[str] = frozenset()
    parts: AbstractSet[Part] = ALL_PARTS
    time: str | None = None
    formulas: bool = True


def refuse_differences(
    written: OdeSystem, read: OdeSystem, form: str, expected: Expected | None = None, most: int = 10
) -> None:
    """Refuse to give an output its name if it is not the model that was to be written.

    Parameters
    ----------
    written, read : OdeSystem
    form : str
        What was written, for the message, such as ``Antimony``.
    most : int
        Differences that are named.

    Raises
    ------
    UnsupportedModelError
        Code ``written-differs``, once for each id.
    """
    reasons = differences(written, read, expected)
    if not reasons:
        return
    more = f" (one of {len(reasons)} differences)" if len(reasons) > most else ""
    raise UnsupportedModelError(
        [Reason(one.code, f"not written: as {form}, {one.message}{more}", one.element) for one in reasons[:most]]
    )


def differences(written: OdeSystem, read: OdeSystem, expected: Expected | None = None) -> tuple[Reason, ...]:
    """Everything in which ``read`` is another model than ``written``, empty if nothing.

    Parameters
    ----------
    written : OdeSystem
        What was to be written.
    read : OdeSystem
        What a reader makes of the output; it may have further constants and assigned quantities.
    expected : Expected, optional

    Returns
    -------
    tuple of Reason
        Code ``written-differs``; ``element`` is the id in ``written``.
    """
    comparison = _SystemComparison(written, read, expected or Expected())
    missing = tuple(comparison.missing())
    return missing or tuple(dict.fromkeys([*comparison.values(), *comparison.expressions()]))


@dataclass(frozen=True, slots=True)
class _ExpressionPair:
    """An expression on both sides; ``None`` where a side has none."""

    element: str
    what: str
    left: Node | None
    right: Node | None


class _SystemComparison:
    def __init__(self, written: OdeSystem, read: OdeSystem, expected: Expected) -> None:
        self.written, self.read, self.expected = written, read, expected
        self.left, self.right = written.graph, read.graph
        # a stoichiometry with an id that no mathematics mentions is no constant to a reader
        self.references = {
            part.id: part.stoichiometry
            for reaction in read.reactions
            for part in (*reaction.reactants, *reaction.products)
            if part.id is not None and _is_given(self.right, part.stoichiometry)
        }
        self.ids = {name: expected.renamed.get(name, name) for name in _quantities(written) if self._kept(name)}

    def _kept(self, name: str) -> bool:
        return name not in self.expected.left_out

    # -- ids -----------------------------------------------------------------------------------------

    def missing(self) -> Iterator[Reason]:
        """Ids that are gone, that have become something else, or that are new."""
        here, there = _quantities(self.written), dict.fromkeys(self.references, "constant") | _quantities(self.read)
        seen: dict[str, str] = {}
        for name, new in self.ids.items():
            if new in seen:
                yield _reason(f"{seen[new]} and {name} are read as one quantity, {new}", name)
            seen[new] = name
            if new not in there:
                yield _reason(f"the {here[name]} {name} is not there any more", name)
            elif here[name] != there[new]:
                yield _reason(f"the {here[name]} {name} is read as a {there[new]}", name)
        for name in self.read.states:
            if name not in seen and name not in self.expected.added_states:
                yield _reason(f"there is a state {name} that is not in the model", name)

    # -- values at time 0 ----------------------------------------------------------------------------

    def values(self) -> Iterator[Reason]:
        """Initial values and constants: as formulas of what is given by a number on both sides, or as numbers."""
        given = {c.id for c in self.written.constants if c.id in self.ids and _is_given(self.left, c.value)}
        numbers = {c.id for c in self.read.constants if _is_given(self.right, c.value)} | self.references.keys()
        free = {name for name in given if self.ids[name] in numbers} if self.expected.formulas else set()
        before = self.written.at_start(frozenset(free))
        after = self.read.at_start(frozenset(self.ids[name] for name in free))
        plain = {c.id: c.value for c in self.written.constants}
        other = {**self.references, **{c.id: c.value for c in self.read.constants}}
        start = [
            _ExpressionPair(
                name,
                "initial value" if name in self.written.state_index else "value",
                plain[name] if name in free else before.get(name),
                other[new] if name in free else after.get(new, self.references.get(new)),
            )
            for name, new in self.ids.items()
            if name in self.written.state_index or name in plain
        ]
        yield from self._unequal(start, {}, {self.ids[name]: symbol_value(name) for name in free})

    # -- what holds at all times ---------------------------------------------------------------------

    def expressions(self) -> Iterator[Reason]:
        """Right-hand sides, assigned quantities, fluxes, events, constraints."""
        pairs = [*self._dynamics(), *self._reactions(), *self._constraints()]
        reasons: list[Reason] = []
        for mine, theirs in self._events():
            pairs += self._event(mine, theirs, reasons)
        yield from reasons
        right = self._symbols([pair.right for pair in pairs if pair.right is not None])
        yield from self._unequal(pairs, self._values_only(), right)

    def _values_only(self) -> dict[str, int]:
        """Constants that the other side has as numbers in its expressions, and what they are worth."""
        there = _quantities(self.read)
        only = [c.id for c in self.written.constants if self.ids.get(c.id) not in there]
        if not only:
            return {}
        start = self.written.at_start(frozenset(c.id for c in self.written.constants) - set(only))
        worth = field_values(self.left, [start[name] for name in only if name in start])
        return {name: worth[start[name]] for name in only if name in start}

    def _symbols(self, roots: list[Node]) -> dict[str, int]:
        """Values of the symbols of what was read: those of what was written, and what new constants are worth."""
        values = {new: symbol_value(name) for name, new in self.ids.items()}
        clock = self.expected.time
        if clock is not None:
            values[clock] = field_values(self.left, [self.left.time()])[self.left.time()]
        new = self.right.symbols(roots) - values.keys()
        if new:
            kept = frozenset(self.ids.values()) & {c.id for c in self.read.constants}
            start = self.read.at_start(kept)
            worth = field_values(self.right, [start[name] for name in new if name in start], values)
            values.update((name, worth[start[name]]) for name in new if name in start)
        return values

    def _dynamics(self) -> Iterator[_ExpressionPair]:
        rates = dict(zip(self.read.states, self.read.rhs, strict=True))
        for name, node in zip(self.written.states, self.written.rhs, strict=True):
            if name in self.ids:
                yield _ExpressionPair(name, "right-hand side", node, rates[self.ids[name]])
        assigned = {a.id: a.value for a in self.read.assigned}
        for one in self.written.assigned:
            if one.id in self.ids:
                yield _ExpressionPair(one.id, "assigned quantity", one.value, assigned[self.ids[one.id]])

    def _reactions(self) -> Iterator[_ExpressionPair]:
        if "reactions" not in self.expected.parts:
            return
        fluxes = {r.id: r.flux for r in self.read.reactions}
        for reaction in self.written.reactions:
            if self._kept(reaction.id):
                new = self.expected.renamed.get(reaction.id, reaction.id)
                yield _ExpressionPair(reaction.id, "flux of the reaction", reaction.flux, fluxes.get(new))

    def _constraints(self) -> Iterator[_ExpressionPair]:
        if "constraints" not in self.expected.parts:
            return
        both = zip_longest(self.written.constraints, self.read.constraints)
        for number, (mine, theirs) in enumerate(both, start=1):
            left, right = (None if one is None else one.condition for one in (mine, theirs))
            yield _ExpressionPair(f"constraint {number}", "condition of", left, right)

    def _events(self) -> Iterator[tuple[Event | None, Event | None]]:
        """Events by their ids, those without an id in their order."""
        if "events" not in self.expected.parts:
            return
        named = {event.id: event for event in self.read.events if event.id is not None}
        wanted = {self.expected.renamed.get(event.id, event.id) for event in self.written.events if event.id}
        others = iter([event for event in self.read.events if event.id not in wanted])
        for event in self.written.events:
            if not self._kept(event.id or ""):
                continue
            if event.id is None:
                yield event, next(others, None)
            else:
                yield event, named.get(self.expected.renamed.get(event.id, event.id))
        yield from ((None, event) for event in others)

    def _event(self, mine: Event | None, theirs: Event | None, reasons: list[Reason]) -> Iterator[_ExpressionPair]:
        if mine is None or theirs is None:
            event = mine or theirs
            assert event is not None
            name = event.id or f"of {', '.join(target for target, _ in event.assignments)}"
            gone = "is not there any more" if theirs is None else "is not in the model"
            reasons.append(_reason(f"the event {name} {gone}", event.id))
            return
        name = mine.id or f"of {', '.join(target for target, _ in mine.assignments)}"
        for attribute, text in _FLAGS:
            if getattr(mine, attribute) != getattr(theirs, attribute):
                reasons.append(_reason(f"the event {name} is read with another value of {text}", mine.id))
        zero, zero_there = self.left.number(0), self.right.number(0)
        yield _ExpressionPair(name, "trigger of the event", mine.trigger, theirs.trigger)
        yield _ExpressionPair(name, "delay of the event", _or(mine.delay, zero), _or(theirs.delay, zero_there))
        yield _ExpressionPair(name, "priority of the event", mine.priority, theirs.priority)
        new = {**dict(theirs.implied), **dict(theirs.assignments)}
        for target, node in (*mine.assignments, *mine.implied):
            other = new.pop(self.expected.renamed.get(target, target), None)
            yield _ExpressionPair(name, f"value of {target} in the event", node, other)
        for target, node in new.items():
            yield _ExpressionPair(name, f"value of {target} in the event", None, node)

    # -- two sides -----------------------------------------------------------------------------------

    def _unequal(
        self, pairs: list[_ExpressionPair], left_symbols: Mapping[str, int], right_symbols: Mapping[str, int]
    ) -> Iterator[Reason]:
        doubtful: list[_ExpressionPair] = []
        for pair in pairs:
            if pair.left is None and pair.right is None:
                continue
            if pair.left is None or pair.right is None:
                side = "not in the model" if pair.left is None else "not there any more"
                yield _reason(f"the {pair.what} {pair.element} is {side}", pair.element)
            else:
                doubtful.append(pair)
        for as_doubles in (False, True):
            mine = [p.left for p in doubtful if p.left is not None]
            theirs = [p.right for p in doubtful if p.right is not None]
            left = field_values(self.left, mine, left_symbols, as_doubles=as_doubles)
            right = field_values(self.right, theirs, right_symbols, as_doubles=as_doubles)
            doubtful = [p for p in doubtful if left.get(p.left or 0) != right.get(p.right or 0)]
        for pair in doubtful:
            assert pair.left is not None
            assert pair.right is not None
            if not _same_double(self.left, pair.left, self.right, pair.right):
                yield _reason(f"the {pair.what} {pair.element} is read as another one", pair.element)


def _quantities(system: OdeSystem) -> dict[str, str]:
    """Every id with a value, and what it is."""
    table = dict.fromkeys(system.states, "state")
    table.update((c.id, "constant") for c in system.constants)
    table.update((a.id, "assigned quantity") for a in system.assigned)
    return table


def _is_given(graph: Graph, value: Node | None) -> bool:
    """Whether a constant has a value of its own, or none at all, rather than one that follows from others."""
    return value is None or not (graph.symbols([value]) or graph.depends_on_time([value]))


def _or(node: Node | None, other: Node) -> Node:
    return other if node is None else node


def _same_double(left_graph: Graph, left: Node, right_graph: Graph, right: Node) -> bool:
    """Whether both are numbers and have the same value as doubles."""
    for graph, node in ((left_graph, left), (right_graph, right)):
        names, time = graph.leaves([node])
        if names or time:
            return False
    a, b = values_of(left_graph, [left])[0], values_of(right_graph, [right])[0]
    return bool(a == b or (a != a and b != b))


def _reason(text: str, element: str | None) -> Reason:
    return Reason("written-differs", text, element)


# -- whether two values are the same number ----------------------------------------------------------
# The one answer that every proof uses.


def same_value(
    left_graph: Graph, left: Node, right_graph: Graph, right: Node, *, tolerance: float = 1e-13, bits: int = 256
) -> bool:
    """Whether two expressions without symbols have the same value.

    Equal rationals are the same, and so are rationals with the same finite double, as files hold doubles; numbers
    beyond the doubles are compared exactly. Irrational values are the same up to a relative tolerance (one side may be
    the double that a file holds for the other), in ball arithmetic of some bits, which knows no largest number. Two
    values that do not exist are the same.
    """
    if left_graph is right_graph and left == right:
        return True
    a, b = left_graph.number_of(left), right_graph.number_of(right)
    if a is not None and b is not None:
        double = nearest_double(a)
        return a == b or (math.isfinite(double) and double == nearest_double(b))
    x = BallProgram(left_graph, [left], ()).run((), bits)[0]
    y = BallProgram(right_graph, [right], ()).run((), bits)[0]
    if isinstance(x, Missing) or isinstance(y, Missing):
        return x is y
    with ctx.workprec(bits):
        if not (x.is_finite() and y.is_finite()):
            return bool(x == y)
        return bool(abs(x - y) <= tolerance * abs(x).max(abs(y)))
