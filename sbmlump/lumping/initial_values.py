"""Initial values and constants of a reduced system, written as formulas over what the reduced system has.

A value that the original computes (an initial assignment, an amount in a compartment sized by a rule) may mention
states that the reduction removes. Putting one number in its place would freeze every parameter in the formula. So such
a value is opened until only constants and lumps are left: a lump's symbol stands for its initial value, and what no
lump gives is replaced by the formula of its own initial value. Only what depends on no constant becomes a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from fractions import Fraction

from sbmlump.events import event_expressions
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.lumping.validity import ids_below
from sbmlump.system import Constant, OdeSystem

__all__ = ["constants_of_lost_states", "initial_formulas", "written_constants"]


def initial_formulas(system: OdeSystem) -> tuple[Node, ...]:
    """Initial value of each state as a formula over constants and numbers.

    Where it hangs on something without a value it is left as the model has it.
    """
    graph = system.graph
    constants = {c.id for c in system.constants}
    if graph.symbols(system.initial) <= constants and not graph.depends_on_time(system.initial):
        return system.initial
    known = system.at_start(constants)
    return tuple(known.get(name, node) for name, node in zip(system.states, system.initial, strict=True))


def written_constants(
    system: OdeSystem,
    image: Mapping[str, Node],
    lumps: Mapping[str, Node],
    own: AbstractSet[str],
    constants: Sequence[Constant],
) -> tuple[Constant, ...]:
    """The constants of the original with values that a system of other states can compute.

    Parameters
    ----------
    system : OdeSystem
        The original.
    image : mapping of state id to Node
        What each state is at time 0, over lumps and over states for the part that no lump gives.
    lumps : mapping of lump id to Node
        Initial value of each lump, over constants.
    own : set of str
        States that are lumps under their own ids.
    constants : sequence of Constant
        Those to be written.

    Returns
    -------
    tuple of Constant
        In the same order. A value that mentions lumps follows when their initial values are changed; it does so where
        it depends on the states through the lumps alone, or through states that are lumps themselves.
    """
    graph = system.graph
    known = {c.id for c in system.constants}
    if not any(c.value is not None and graph.symbols([c.value]) - known for c in constants):
        return tuple(constants)
    start = dict(zip(system.states, initial_formulas(system), strict=True))
    by_lumps = _ByLumps(system, image, start, lumps.keys(), own)
    by_start = {graph.symbol(name): node for name, node in start.items()}
    users = _Dependence(system, lumps)
    moved: list[Constant] = []
    for constant in constants:
        if constant.value is None or graph.symbols([constant.value]) <= known:
            moved.append(constant)
            continue
        value = _opened(system, constant.value)
        formula = by_lumps(value)
        if formula is None or constant.id in users.constants_below([formula]):
            formula = collected(graph, graph.substitute([value], by_start)[0])
        if graph.symbols([formula]) - known - lumps.keys():
            # it hangs on something without a value; the number, where there is one, is all that can be written
            moved.append(replace(constant, value=system.constant_values.get(constant.id)))
            continue
        moved.append(replace(constant, value=formula))
        users.follow(constant.id, formula)
    return tuple(moved)


def constants_of_lost_states(
    system: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> tuple[str, ...]:
    """Constants that act in a reduced system and do not follow all initial values that the original computes them from.

    Parameters
    ----------
    system, reduced : OdeSystem
        Of one graph.
    rows : mapping of lump id to row
        Each lump as a combination of states.
    """
    graph = system.graph
    known = {c.id for c in system.constants}
    given = {c.id: c.value for c in system.constants if c.value is not None and graph.symbols([c.value]) - known}
    if not given:
        return ()
    roots = [*reduced.rhs, *reduced.initial, *(one.value for one in reduced.assigned)]
    roots += event_expressions(reduced.events)
    acting = ids_below(reduced, graph.symbols(roots))
    back = {
        graph.symbol(name): graph.add(graph.scaled(v, graph.symbol(state)) for state, v in row.items())
        for name, row in rows.items()
    }
    lost: list[str] = []
    for constant in reduced.constants:
        value = given.get(constant.id)
        if value is None or constant.value is None or constant.id not in acting:
            continue
        mine, theirs = _opened(system, value), graph.substitute([constant.value], back)[0]
        if collected(graph, mine) != collected(graph, theirs):
            lost.append(constant.id)
    return tuple(lost)


def collected(graph: Graph, root: Node) -> Node:
    """The expression with equal terms of every sum inside it collected, so that what cancels is gone."""
    if not graph.args(root):
        return root
    moved: dict[Node, Node] = {}
    for node in graph.reachable([root]):
        args = graph.args(node)
        if not args:
            moved[node] = node
            continue
        new = tuple(moved[arg] for arg in args)
        made = node if new == args else graph.rebuild(graph.op(node), new, graph.payload(node))
        moved[node] = graph.from_terms(graph.linear_terms(made)) if graph.op(made) is Op.ADD else made
    return moved[root]


def _opened(system: OdeSystem, value: Node) -> Node:
    """A value at time 0 over states and constants: assigned quantities and fluxes are replaced by what they are."""
    graph = system.graph
    inner = graph.symbols([value]) - set(system.states) - {c.id for c in system.constants}
    definitions = system.definitions
    mapping = {graph.symbol(name): definitions[name] for name in inner if name in definitions}
    (value,) = graph.substitute([value], mapping)
    return graph.substitute([value], {graph.time(): graph.number(0)})[0]


class _ByLumps:
    """Puts lumps in the place of states where that is all a value depends on."""

    def __init__(
        self,
        system: OdeSystem,
        image: Mapping[str, Node],
        start: Mapping[str, Node],
        names: Iterable[str],
        own: AbstractSet[str],
    ) -> None:
        graph = system.graph
        self._graph = graph
        self._states = frozenset(system.states)
        self._lumps = frozenset(names)
        self._image = {graph.symbol(name): node for name, node in image.items()}
        self._start = {graph.symbol(name): node for name, node in start.items()}
        # members of pools; what is left over of them cannot be told from the lump
        self._pooled = frozenset(name for name in image if name not in own)
        self._except_own = {symbol: node for symbol, node in self._start.items() if graph.name(symbol) not in own}

    def __call__(self, value: Node) -> Node | None:
        """``value`` over lumps and constants, ``None`` where no lump gives any part of it."""
        graph = self._graph
        moved = collected(graph, graph.substitute([value], self._image)[0])
        left = (graph.symbols([moved]) & self._states) - self._lumps
        if left & self._pooled:
            moved = graph.substitute([value], self._except_own)[0]
        else:
            moved = graph.substitute([moved], {graph.symbol(n): self._start[graph.symbol(n)] for n in left})[0]
        moved = collected(graph, moved)
        return moved if graph.symbols([moved]) & self._lumps else None


class _Dependence:
    """Which constants an expression mentions, also through the values of constants and the starts of lumps."""

    def __init__(self, system: OdeSystem, lumps: Mapping[str, Node]) -> None:
        self._graph = system.graph
        self._below = {c.id: c.value for c in system.constants if c.value is not None}
        self._below |= dict(zip(system.states, system.initial, strict=True)) | dict(lumps)
        self._constants = frozenset(c.id for c in system.constants)

    def follow(self, name: str, value: Node) -> None:
        """Take ``value`` for that of the constant ``name`` from now on."""
        self._below[name] = value

    def constants_below(self, nodes: Sequence[Node]) -> set[str]:
        """Every constant that the values of ``nodes`` at time 0 hang on."""
        graph, below = self._graph, self._below
        found: set[str] = set()
        left = graph.symbols(nodes)
        while left:
            found |= left
            left = graph.symbols([below[name] for name in left if name in below]) - found
        return found & self._constants
