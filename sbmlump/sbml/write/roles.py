"""What each id of a system is written as: element, flags, and whether it needs a rate rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from sbmlump.model.evaluate import PRIME, field_values, symbol_value
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.names import free_id, numbered_ids
from sbmlump.model.system import OdeSystem, Quantity
from sbmlump.sbml.write.mathml import SETTINGS, WritingSettings

__all__ = [
    "Role",
    "WrittenRoles",
    "assign_roles",
    "participants",
    "HELPER_PREFIX",
    "choose_helpers",
    "overlooked_powers",
    "units_of_powers",
]


_Part = tuple[int, Node, Node]
_DEFAULT_COMPARTMENT: Final = "sbmlump_compartment"


@dataclass(frozen=True, slots=True)
class Role:
    """How one id is written.

    Attributes
    ----------
    quantity : Quantity
        With ``kind`` and ``compartment`` as they will be written.
    what : str
        ``state``, ``constant``, ``assigned``, ``implicit`` (a constant amount in a compartment that varies: assigned,
        but SBML needs no rule for it) or ``amount`` (the constant that holds the amount of such a species).
    value : Node or None
        Value at time 0; ``None`` if missing, or given by a rule.
    computed : bool
        Whether the value is written as an initial assignment even where it is a number.
    varies : bool
        Whether anything changes it: the opposite of SBML's ``constant``.
    boundary : bool
        For species: whether reactions leave it alone.
    rate_rule : bool
        For states: whether a rate rule is written.
    """

    quantity: Quantity
    what: str
    value: Node | None = None
    computed: bool = False
    varies: bool = False
    boundary: bool = False
    rate_rule: bool = False


@dataclass(frozen=True, slots=True)
class WrittenRoles:
    """Roles by id, in the order of writing, and the compartment to add for species without one."""

    by_id: Mapping[str, Role]
    added_compartment: str | None


def participants(system: OdeSystem) -> dict[str, list[_Part]]:
    """For each species that takes part in reactions: (−1 | +1, stoichiometry, flux) of each time it does."""
    table: dict[str, list[_Part]] = {}
    for reaction in system.reactions:
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            for one in side:
                table.setdefault(one.species, []).append((sign, one.stoichiometry, reaction.flux))
    return table


def assign_roles(system: OdeSystem, *, all_rate_rules: bool = False) -> WrittenRoles:
    """Decide how each id is written.

    A species keeps its reactions only if they (and the resizing of its compartment) give its right-hand side;
    otherwise it gets a rate rule and is a boundary species, so that the written model is always the system.

    Parameters
    ----------
    system : OdeSystem
    all_rate_rules : bool
        Write a rate rule even for states that do not move by themselves, so that they are states again when read.
        What has a rule beside reactions is a boundary species then: libRoadRunner has no conserved moieties of a model
        with another species that a rule determines.
    """
    taking_part = participants(system)
    jumping = {name for event in system.events for name, _ in event.assignments}
    targets = jumping | {name for event in system.events for name, _ in event.implied}
    normal, added = _quantities(system, taking_part)
    explained = _Explanation(system, normal, taking_part)
    zero = system.graph.number(0)
    ruled = all_rate_rules and bool(system.reactions)
    roles: dict[str, Role] = {}
    for name, value, rhs in zip(system.states, system.initial, system.rhs, strict=True):
        quantity = normal[name]
        part = name in taking_part
        by_reactions = quantity.kind == "species" and not quantity.boundary and part
        # without reactions and events, nobody reading the file would call it a state: it needs a rule then, even of 0
        moved = by_reactions or (name in targets and not all_rate_rules)
        if quantity.kind == "species":
            rule = not (moved and explained.holds(name, rhs, by_reactions=by_reactions))
        else:
            rule = not moved or rhs != zero
        boundary = quantity.boundary or (rule and (part or ruled))
        roles[name] = Role(quantity, "state", value, varies=True, boundary=boundary, rate_rule=rule)
    held = _constant_amounts(system, normal)
    amounts = {amount for amount, _ in held.values()}
    for constant in system.constants:
        quantity = normal[constant.id]
        what = "amount" if constant.id in amounts else "constant"
        boundary = quantity.boundary or constant.id in taking_part
        roles[constant.id] = Role(
            quantity, what, constant.value, constant.computed, varies=constant.id in jumping, boundary=boundary
        )
    computed = {constant.id for constant in system.constants if constant.computed}
    for assigned in system.assigned:
        quantity = normal[assigned.id]
        boundary = quantity.boundary or assigned.id in taking_part or ruled
        if assigned.id in held:
            amount, start = held[assigned.id]
            boundary = quantity.boundary or assigned.id in taking_part
            roles[assigned.id] = Role(quantity, "implicit", start, amount in computed, varies=True, boundary=boundary)
        else:
            roles[assigned.id] = Role(quantity, "assigned", varies=True, boundary=boundary)
    order = [*(name for name in system.quantities if name in roles), *roles]
    return WrittenRoles({name: roles[name] for name in dict.fromkeys(order)}, added)


def _quantities(system: OdeSystem, taking_part: Mapping[str, object]) -> tuple[dict[str, Quantity], str | None]:
    """What is said of each id, made complete: species have a compartment, nothing else takes part in reactions."""
    ids = [*system.states, *(c.id for c in system.constants), *(a.id for a in system.assigned)]
    given = system.quantities
    references = {one.id for r in system.reactions for one in (*r.reactants, *r.products) if one.id is not None}
    compartments = {name for name in ids if name in given and given[name].kind == "compartment"}
    table: dict[str, Quantity] = {}
    without_compartment = False
    added = free_id(_DEFAULT_COMPARTMENT, {*ids, *references, *(r.id for r in system.reactions)})
    for name in ids:
        quantity = given.get(name) or Quantity(name, "parameter")
        lost = quantity.kind == "species-reference" and name not in references
        if lost or quantity.kind == "local-parameter":
            quantity = replace(quantity, kind="parameter")
        if name in taking_part and quantity.kind != "species":
            quantity = replace(quantity, kind="species", amount=True, given_as_amount=True)
        if quantity.kind == "species" and quantity.compartment not in compartments:
            if name in taking_part:
                without_compartment = True
                # an amount keeps its meaning in any compartment; a concentration does in one of size 1
                quantity = replace(quantity, compartment=added)
            else:
                quantity = replace(quantity, kind="parameter", units=None)
        table[name] = quantity
    return table, added if without_compartment else None


def _constant_amounts(system: OdeSystem, quantities: Mapping[str, Quantity]) -> dict[str, tuple[str, Node | None]]:
    """Species whose concentration changes only because their compartment does: the constant that holds the amount,
    and the concentration at time 0.
    """
    graph = system.graph
    constants = {constant.id: constant.value for constant in system.constants}
    table: dict[str, tuple[str, Node | None]] = {}
    for assigned in system.assigned:
        quantity = quantities[assigned.id]
        if not assigned.implicit or quantity.kind != "species" or quantity.amount or quantity.compartment is None:
            continue
        if graph.op(assigned.value) is not Op.DIV:
            continue
        top = graph.args(assigned.value)[0]
        if graph.op(top) is Op.SYMBOL and graph.name(top) in constants:
            name = graph.name(top)
            value = constants[name]
            size = graph.symbol(quantity.compartment)
            table[assigned.id] = name, None if value is None else _divided(graph, value, size)
    return table


def _divided(graph: Graph, value: Node, size: Node) -> Node:
    """value / size, without the factor size if value has it."""
    factors = graph.args(value) if graph.op(value) is Op.MUL else ()
    if size in factors:
        return graph.mul(factor for factor in factors if factor != size)
    return graph.div(value, size)


class _Explanation:
    """Tests whether reactions and the resizing of compartments give the right-hand side of a species."""

    def __init__(
        self, system: OdeSystem, quantities: Mapping[str, Quantity], taking_part: Mapping[str, list[_Part]]
    ) -> None:
        self._system = system
        self._quantities = quantities
        self._taking_part = taking_part
        self._assigned = {a.id: a.value for a in system.assigned}
        self._rhs = dict(zip(system.states, system.rhs, strict=True))
        self._growth = self._compartment_growth()
        roots = [*system.rhs, *self._assigned.values(), *(g for g in self._growth.values() if g is not None)]
        for entries in taking_part.values():
            for _, stoichiometry, flux in entries:
                roots += (stoichiometry, flux)
        self._values = field_values(system.graph, roots)

    def holds(self, species: str, rhs: Node, *, by_reactions: bool) -> bool:
        """Whether the change of ``species`` that SBML implies without a rate rule is ``rhs``."""
        quantity = self._quantities[species]
        change = 0
        if by_reactions:
            for sign, stoichiometry, flux in self._taking_part[species]:
                change += sign * self._current(stoichiometry) * self._values[flux]
            factor = quantity.conversion_factor or self._system.origin.conversion_factor
            if factor is not None:
                change *= self._of_id(factor)
        compartment = quantity.compartment
        if not quantity.amount and compartment is not None and compartment in self._quantities:
            if compartment in self._growth:
                growth = self._growth[compartment]
                if growth is None:
                    return False
                change -= self._of_id(species) * self._values[growth]
            size = self._of_id(compartment)
            if not size:
                return False
            change = change * pow(size, -1, PRIME)
        return change % PRIME == self._values[rhs]

    def _of_id(self, name: str) -> int:
        node = self._assigned.get(name)
        return symbol_value(name) if node is None else self._values[node]

    def _current(self, node: Node) -> int:
        graph = self._system.graph
        return self._of_id(graph.name(node)) if graph.op(node) is Op.SYMBOL else self._values[node]

    def _compartment_growth(self) -> dict[str, Node | None]:
        """Time derivative of each compartment that changes; ``None`` where it is no expression."""
        graph = self._system.graph
        used = {q.compartment for q in self._quantities.values() if q.is_concentration}
        seeds = {graph.symbol(name): rhs for name, rhs in self._rhs.items()} | {graph.time(): graph.number(1)}
        growth: dict[str, Node | None] = {}
        for name in sorted(name for name in used if name is not None):
            if name in self._rhs:
                growth[name] = self._rhs[name]
            elif name in self._assigned:
                try:
                    growth[name] = graph.derivative(self._assigned[name], seeds)
                except ValueError:  # not differentiable: nothing that a reader could have turned into a rate
                    growth[name] = None
        return {name: node for name, node in growth.items() if node is None or node != graph.number(0)}


# -- Which sub-expressions get a name --------------------------------------------------------------

# An expression graph is small because equal sub-expressions are one node; written out as trees it may explode, or
# be deeper than libSBML bears. A sub-expression that is large and used several times, or too deep, becomes a helper
# parameter with an assignment rule.


HELPER_PREFIX: Final = "sbmlump_expr_"

_LEAVES: Final = frozenset({Op.NUMBER, Op.SYMBOL, Op.TIME, Op.CONSTANT})


def choose_helpers(
    graph: Graph,
    sites: Sequence[Node],
    names: Mapping[Node, str],
    taken: Collection[str],
    always: Collection[Node] = frozenset(),
    settings: WritingSettings = SETTINGS,
) -> dict[Node, str]:
    """Helper ids for sub-expressions of ``sites``, in an order in which each uses earlier ones only.

    Parameters
    ----------
    graph : Graph
    sites : sequence of Node
        Everything that will be written, once for each time it is written.
    names : mapping of Node to str
        Nodes that are written as an id already (wherever they are not sites of their own).
    taken : collection of str
        Ids that are in use.
    always : collection of Node
        Sub-expressions that get a name whatever their size.
    """
    opened = _opened(graph, sites, names)
    order = sorted(opened)
    uses = _uses(opened, sites)
    sizes: dict[Node, int] = {}  # written out, where names count as one
    for node in order:
        sizes[node] = 1 + sum(1 if arg in names else sizes[arg] for arg in opened[node])
    total = sum(sizes[site] for site in sites)
    scarce = total > settings.budget and total > 4 * len(order)
    limit = settings.large_when_scarce if scarce else settings.large
    chosen: list[Node] = []
    cut: dict[Node, _Extent] = {}
    for node in order:
        args = opened[node]
        op = graph.op(node)
        extent = _extent(op, [cut[arg] for arg in args], settings.terms)
        leaf = op in _LEAVES
        deep = extent.depth >= settings.depth or extent.pairs >= settings.pairs
        size = extent.size
        if node in names:
            extent = _POINT
        elif not leaf and (deep or node in always or (size > limit and uses[node] > 1 and not _is_truth(graph, node))):
            chosen.append(node)
            extent = _POINT
        cut[node] = extent
    return dict(zip(chosen, numbered_ids(HELPER_PREFIX.removesuffix("_"), set(taken)), strict=False))


class _Extent(NamedTuple):
    """How large an expression is where it is used.

    Attributes
    ----------
    size : int
        Written nodes.
    depth : int
        Levels as written.
    pairs : int
        Levels of libSBML's tree.
    terms, below : int
        For sums: terms when (a + b) + c is written as a + b + c, and ``pairs`` of the largest term; else 0.
    """

    size: int
    depth: int
    pairs: int
    terms: int = 0
    below: int = 0


_POINT: Final = _Extent(1, 1, 1)


def _extent(op: Op, args: Sequence[_Extent], most: int) -> _Extent:
    if not args:
        return _POINT
    size = 1 + sum(arg.size for arg in args)
    depth = 1 + max(arg.depth for arg in args)
    below = max(arg.pairs for arg in args)
    if op is not Op.ADD:
        return _Extent(size, depth, below + min(len(args), 2 * most))
    first, rest = args[0], args[1:]
    terms = len(args)
    if first.terms:
        terms = first.terms + len(rest)
        depth = max(first.depth, *(1 + arg.depth for arg in rest))
        below = max(first.below, *(arg.pairs for arg in rest))
    return _Extent(size, depth, below + min(terms, 2 * most), terms, below)


def _opened(graph: Graph, sites: Sequence[Node], names: Mapping[Node, str]) -> dict[Node, tuple[Node, ...]]:
    """Every node that is printed somewhere, with its arguments; none for a name that is defined elsewhere."""
    opened = {site: graph.args(site) for site in sites}
    stack = [arg for args in opened.values() for arg in args]
    while stack:
        node = stack.pop()
        if node not in opened:
            opened[node] = () if node in names else graph.args(node)
            stack.extend(opened[node])
    return opened


def _uses(opened: Mapping[Node, tuple[Node, ...]], sites: Sequence[Node]) -> dict[Node, int]:
    uses = dict.fromkeys(opened, 0)
    for args in opened.values():
        for arg in args:
            uses[arg] += 1
    for site in sites:
        uses[site] += 1
    return uses


def _is_truth(graph: Graph, node: Node) -> bool:
    """Whether ``node`` is a truth value: not every simulator keeps one in a parameter."""
    op = graph.op(node)
    if op is Op.PIECEWISE:
        return any(_is_relation(graph, value) for value in graph.args(node)[::2])
    return _is_relation(graph, node)


def _is_relation(graph: Graph, node: Node) -> bool:
    return graph.op(node) is Op.CALL and graph.name(node) in RELATIONS | LOGIC


# -- Powers that COPASI overlooks in kinetic laws ---------------------------------------------------

# COPASI 4.48 takes ``compartment * k * S * g^e`` for mass action with the constant ``k`` and drops ``g^e``, without a
# word; likewise in both halves of a reversible law. Where the power is a parameter with an
# assignment rule it reads the law as what it is.


def overlooked_powers(
    graph: Graph,
    fluxes: Iterable[tuple[Node, Collection[str]]],
    quantities: Mapping[str, Quantity],
    settings: WritingSettings = SETTINGS,
) -> set[Node]:
    """Powers of an id that stand as a factor beside a compartment, in laws that could be mass action.

    Parameters
    ----------
    graph : Graph
    fluxes : iterable of (Node, collection of str)
        Kinetic law and reactants of each reaction.
    quantities : mapping of str to Quantity
        Says what is a compartment and what a species.
    """
    found: set[Node] = set()
    for flux, reactants in fluxes:
        for outside, factors in _products(graph, flux, settings.law_parts):
            names = {graph.name(one) for one in (*outside, *factors) if graph.op(one) is Op.SYMBOL}
            if not any(name in quantities and quantities[name].kind == "compartment" for name in names):
                continue
            for one in factors:
                base = _base(graph, one)
                if base is None or (base in reactants and base not in names):
                    continue  # S^n of a reactant by itself is read as what it is
                found.add(one)
    return found


def units_of_powers(graph: Graph, powers: Iterable[Node], quantities: Mapping[str, Quantity]) -> dict[Node, str]:
    """The unit of those ``powers`` whose base is dimensionless."""
    found: dict[Node, str] = {}
    for node in powers:
        base = _base(graph, node)
        if base is not None and base in quantities and quantities[base].units == "dimensionless":
            found[node] = "dimensionless"
    return found


def _base(graph: Graph, node: Node) -> str | None:
    """The id of which ``node`` is a power."""
    if graph.op(node) is not Op.POW:
        return None
    base = graph.args(node)[0]
    return graph.name(base) if graph.op(base) is Op.SYMBOL else None


def _products(graph: Graph, flux: Node, most: int) -> Iterator[tuple[tuple[Node, ...], tuple[Node, ...]]]:
    """For each term of a law the factors before its brackets (those are not overlooked) and its own."""
    stack: list[tuple[Node, tuple[Node, ...]]] = [(flux, ())]
    looked_at = 0
    while stack and looked_at < most:
        looked_at += 1
        node, outside = stack.pop()
        if graph.op(node) is Op.ADD:
            stack.extend((term, outside) for term in graph.args(node))
            continue
        factors = _flat(graph, node, most)
        sums = [one for one in factors if graph.op(one) is Op.ADD]
        if len(sums) == 1:  # c·(k·S·g − h·P·g)
            factors.remove(sums[0])
            stack.append((sums[0], (*outside, *factors)))
        elif not sums:
            yield outside, tuple(factors)


def _flat(graph: Graph, node: Node, most: int) -> list[Node]:
    """Factors of nested products."""
    found: list[Node] = []
    stack = [node]
    looked_at = 0
    while stack and looked_at < most:
        looked_at += 1
        one = stack.pop()
        if graph.op(one) is Op.MUL:
            stack.extend(graph.args(one))
        else:
            found.append(one)
    return found
