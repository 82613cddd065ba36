"""The one currency: a model as a system of ordinary differential equations.

Everything that reads a format makes an :class:`OdeSystem`, everything that reduces, writes or simulates takes
one. It is frozen; its mathematics are nodes of one :class:`~sbmlump.model.graph.Graph`.

Vocabulary
----------
state
    A quantity with a right-hand side. Its value is what its id means in the mathematics of the model: a
    concentration, or an amount for a species with substance units only.
constant
    A quantity whose value does not change by itself: parameter, local parameter, compartment of constant size,
    constant or boundary species.
assigned quantity
    A quantity given at all times by an expression of states, constants and time (assignment rule). It is
    *inlined* wherever it is used: right-hand sides hold symbols of states and constants (and time) only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from sbmlump.arrays import Array
from sbmlump.errors import Reason, UnsupportedModelError, counted
from sbmlump.model.evaluate import resolve_initial_values, values_of
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op

if TYPE_CHECKING:
    import scipy.sparse
    import sympy

    from sbmlump.model.evaluate import Evaluator

__all__ = [
    "Algebraic",
    "Assigned",
    "Constant",
    "Constraint",
    "Description",
    "Event",
    "FunctionDefinition",
    "Kind",
    "OdeSystem",
    "Origin",
    "Package",
    "Participant",
    "Quantity",
    "Reaction",
    "SympySystem",
    "Unit",
    "UnitDefinition",
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


Kind = Literal["species", "compartment", "parameter", "local-parameter", "species-reference"]


Key = tuple[str, ...]
"""An element of a file that is no quantity, reaction or event: its kind (the name of the XML element), and which."""


_SYMBOLIC: Final = "sbmlump.model.symbolic"  # imported by name on first use: imports go one way, and SymPy is large
_UNITS: Final = "sbmlump.model.units"  # likewise: it asks systems
_EVALUATE: Final = "sbmlump.model.evaluate"


@dataclass(frozen=True, slots=True)
class Description:
    """What an element of a file that is no quantity, reaction or event carries besides its meaning.

    ``id`` names the element alone: nothing else has it, and no mathematics mentions it. ``units`` holds the numbers in
    the mathematics of the element, in order, each with its unit or ``None``; empty where no number has one.
    ``notes`` and ``annotation`` are XML text as found (element included).
    """

    id: str | None = None
    name: str | None = None
    sbo: str | None = None
    metaid: str | None = None
    notes: str | None = None
    annotation: str | None = None
    units: tuple[tuple[Fraction, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """A function that a file defines: ``body`` over the symbols ``arguments``. Its calls are written out everywhere."""

    id: str
    arguments: tuple[str, ...]
    body: Node


@dataclass(frozen=True, slots=True)
class Package:
    """What a file says in the words of an SBML package that changes nothing in the mathematics (layout, groups, fbc).

    ``children`` and ``attributes`` hold what stands in elements of the core, by the key of the element (``("model",)``,
    ``("species", ID)``, ``("reaction", ID)``): XML text that declares its prefixes, and names with their values.
    ``ids`` are those of its elements.
    """

    name: str
    prefix: str
    uri: str
    children: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    attributes: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unit:
    """(multiplier · 10^scale · kind)^exponent."""

    kind: str
    exponent: float = 1.0
    scale: int = 0
    multiplier: float = 1.0


@dataclass(frozen=True, slots=True)
class UnitDefinition:
    """A named product of units."""

    id: str
    units: tuple[Unit, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a model says of an id besides its mathematics.

    ``amount`` is meaningful for species: the id means an amount (``hasOnlySubstanceUnits``, or, in Levels 1 and 2, a
    compartment without dimensions) rather than a concentration. ``written_constant`` is the ``constant`` attribute of
    the file.
    ``notes`` and ``annotation`` are XML text as found (element included), ``None`` if there is none.
    """

    id: str
    kind: Kind
    name: str | None = None
    units: str | None = None
    compartment: str | None = None
    amount: bool = False
    boundary: bool = False
    written_constant: bool = False
    spatial_dimensions: float | None = None
    conversion_factor: str | None = None
    given_as_amount: bool = False
    sbo: str | None = None
    metaid: str | None = None
    notes: str | None = None
    annotation: str | None = None

    @property
    def is_concentration(self) -> bool:
        """Whether it is a species whose id means a concentration."""
        return self.kind == "species" and not self.amount


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant and its value.

    In ``value`` (as in ``OdeSystem.initial``) any id of the model may stand; there it means the value of that
    quantity at time 0. ``None``: the file gives no value.
    ``computed`` says that the value came from an initial assignment, not from an attribute.
    """

    id: str
    value: Node | None
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Assigned:
    """A quantity given at all times by ``value``, over states, constants and time.

    ``implicit``: no rule of the file says so, it follows from the meaning of the elements (the concentration of
    a resting species in a compartment that changes); a writer emits no rule for it.
    """

    id: str
    value: Node
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class Participant:
    """Reactant or product of a reaction with its stoichiometry, a node (a number in most models)."""

    species: str
    stoichiometry: Node
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction as written: what goes in, what comes out, and the flux (extent per time)."""

    id: str
    flux: Node
    reactants: tuple[Participant, ...] = ()
    products: tuple[Participant, ...] = ()
    modifiers: tuple[str, ...] = ()
    reversible: bool = True
    name: str | None = None
    compartment: str | None = None
    sbo: str | None = None
    metaid: str | None = None
    notes: str | None = None
    annotation: str | None = None

    @property
    def participants(self) -> tuple[tuple[int, Participant], ...]:
        """Reactants with −1, then products with 1: the signs of what a flux does to them."""
        return (*((-1, one) for one in self.reactants), *((1, one) for one in self.products))

    @property
    def taking_part(self) -> frozenset[str]:
        """Species that are reactants or products."""
        return frozenset(participant.species for _, participant in self.participants)

    def substituted(self, graph: Graph, mapping: Mapping[Node, Node]) -> Reaction:
        """With ``mapping`` applied to the flux and to the stoichiometries."""

        def moved(side: Sequence[Participant]) -> tuple[Participant, ...]:
            return tuple(replace(one, stoichiometry=graph.substitute([one.stoichiometry], mapping)[0]) for one in side)

        flux = graph.substitute([self.flux], mapping)[0]
        return replace(self, flux=flux, reactants=moved(self.reactants), products=moved(self.products))


@dataclass(frozen=True, slots=True)
class Algebraic:
    """An algebraic rule 0 = value that was solved for ``solved_for`` (kept for the record)."""

    value: Node
    solved_for: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event.

    ``assignments`` are the new values of states. ``implied`` holds state resets that follow from them (the
    concentration of species in a compartment that the event resizes); a writer does not emit them. A concentration that
    is assigned in a compartment that the same event resizes becomes value·old size/new size, since the assignment sets
    the amount by the size before; ``unscaled`` holds these values as they are written, without the sizes.
    :mod:`sbmlump.model.system` says at which moment values are taken.
    """

    trigger: Node
    assignments: tuple[tuple[str, Node], ...]
    id: str | None = None
    name: str | None = None
    delay: Node | None = None
    priority: Node | None = None
    initial_value: bool = True
    persistent: bool = True
    use_trigger_values: bool = True
    implied: tuple[tuple[str, Node], ...] = ()
    unscaled: tuple[tuple[str, Node], ...] = ()
    sbo: str | None = None
    metaid: str | None = None
    notes: str | None = None
    annotation: str | None = None

    def carried(
        self,
        put: Callable[[Node], Node],
        assignments: Iterable[tuple[str, Node]],
        *,
        implied: Iterable[tuple[str, Node]] = (),
        unscaled: Iterable[tuple[str, Node]] = (),
    ) -> Event:
        """The event of another system: ``put`` turns its conditions into those over the states there.

        Parameters
        ----------
        put : callable
            Of trigger, delay and priority.
        assignments, implied, unscaled : iterables of (str, Node)
            As they are there.
        """
        return replace(
            self,
            trigger=put(self.trigger),
            delay=None if self.delay is None else put(self.delay),
            priority=None if self.priority is None else put(self.priority),
            assignments=tuple(assignments),
            implied=tuple(implied),
            unscaled=tuple(unscaled),
        )


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition the modeller expects to hold; simulation tools warn when it does not."""

    condition: Node
    message: str | None = None
    description: Description = field(default_factory=Description)


MODEL_UNITS: Final = ("substance", "time", "volume", "area", "length", "extent")
"""What a model names units of."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a system came from, and what belongs to the model as a whole.

    ``model_units`` maps ``substance``, ``time``, ``volume``, ``area``, ``length``, ``extent`` to unit ids. ``remarks``
    are what had to be assumed on reading.
    ``descriptions`` holds what the file says of all elements that have no record of their own; a key is the name of
    the XML element and which one it is (see ``sbmlump.sbml.read.elements``). ``packages`` are those that say nothing
    about the dynamics; ``other_packages`` names those of which nothing is kept.
    """

    format: str = "python"
    file: str | None = None
    sha256: str | None = None
    level: int | None = None
    version: int | None = None
    model_units: Mapping[str, str] = field(default_factory=dict)
    unit_definitions: tuple[UnitDefinition, ...] = ()
    conversion_factor: str | None = None
    sbo: str | None = None
    metaid: str | None = None
    notes: str | None = None
    annotation: str | None = None
    remarks: tuple[Reason, ...] = ()
    descriptions: Mapping[Key, Description] = field(default_factory=dict)
    packages: tuple[Package, ...] = ()
    other_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class SympySystem:
    """dx/dt = f(x, t) in SymPy's terms.

    Attributes
    ----------
    states : tuple of Symbol
        Real, in the order of the system.
    time : Symbol
    rhs : tuple of Expr
        Right-hand sides, one for each state; constants stand in them as symbols.
    initial : tuple of Expr
        Values at time 0; symbols of constants may stand in them, and of states, whose initial values they mean.
    constants : dict of Symbol to Expr or None
        Their values, in which other constants may stand; ``None`` where the model gives none.
    observables : dict of Symbol to Expr
        Assigned quantities, as expressions of states, constants and time.
    """

    states: tuple[sympy.Symbol, ...]
    time: sympy.Symbol
    rhs: tuple[sympy.Expr, ...]
    initial: tuple[sympy.Expr, ...]
    constants: Mapping[sympy.Symbol, sympy.Expr | None] = field(default_factory=dict)
    observables: Mapping[sympy.Symbol, sympy.Expr] = field(default_factory=dict)

    @property
    def values(self) -> dict[sympy.Symbol, sympy.Expr]:
        """Constants with values, for ``expression.subs(system.values)``; repeated where they mention each other."""
        return {symbol: value for symbol, value in self.constants.items() if value is not None}


@dataclass(frozen=True)
class OdeSystem:
    """dx/dt = f(t, x; constants), with initial values, assigned quantities and events.

    Attributes
    ----------
    graph : Graph
        Holds every node named below.
    states : tuple of str
        Ids of the n states, in order.
    initial : tuple of Node
        Value of each state at time 0; any id of the model may stand in it and means that quantity's value at time 0.
    rhs : tuple of Node
        Right-hand side of each state, over symbols of states and constants, and time.
    constants, assigned, reactions, events, constraints, algebraic, functions
        See their classes. A reaction's right-hand-side contributions are already contained in ``rhs``; functions are
        kept for the record.
    quantities : mapping of str to Quantity
        What is said of each id (states, constants, assigned quantities); may be incomplete.
    origin : Origin
        File, digest, units of the whole model.

    Raises
    ------
    ValueError
        If lengths differ or an id is defined twice.
    """

    graph: Graph
    states: tuple[str, ...]
    initial: tuple[Node, ...]
    rhs: tuple[Node, ...]
    constants: tuple[Constant, ...] = ()
    assigned: tuple[Assigned, ...] = ()
    reactions: tuple[Reaction, ...] = ()
    events: tuple[Event, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    algebraic: tuple[Algebraic, ...] = ()
    functions: tuple[FunctionDefinition, ...] = ()
    id: str = "model"
    name: str | None = None
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        if not len(self.states) == len(self.initial) == len(self.rhs):
            raise ValueError("states, initial values and right-hand sides differ in number")
        ids = [*self.states, *(c.id for c in self.constants), *(a.id for a in self.assigned)]
        ids += [r.id for r in self.reactions]
        if len(set(ids)) != len(ids):
            twice = sorted({i for i in ids if ids.count(i) > 1}) if len(ids) < 5000 else "…"
            raise ValueError(f"ids defined more than once: {twice}")
        object.__setattr__(self, "quantities", MappingProxyType(dict(self.quantities)))

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k in self.__dataclass_fields__}
        state["quantities"] = dict(self.quantities)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__["quantities"] = MappingProxyType(state["quantities"])

    def __repr__(self) -> str:
        """In a line: the mathematics of a model fills screens."""
        parts = ((self.size, "state"), (len(self.constants), "constant"), (len(self.reactions), "reaction"))
        events = ((len(self.events), "event"),) if self.events else ()
        return f"<OdeSystem {self.id!r}: {', '.join(counted(*part) for part in (*parts, *events))}>"

    # -- tables --------------------------------------------------------------------------------------

    def _rows(self) -> list[tuple[str, str | None, str, str | None, float | None]]:
        """Id, name, what it is, unit and value at time 0 of the states, then of the constants."""
        unit_of = import_module(_UNITS).unit_of
        values = [*self.initial_values, *(self.constant_values.get(one.id) for one in self.constants)]
        numbers = iter(import_module(_EVALUATE).values_of(self.graph, [node for node in values if node is not None]))
        names = [*self.states, *(one.id for one in self.constants)]
        rows: list[tuple[str, str | None, str, str | None, float | None]] = []
        for place, (id, node) in enumerate(zip(names, values, strict=True)):
            quantity = self.quantities.get(id)
            kind = "state" if place < self.size else "constant"
            value = None if node is None else float(next(numbers))
            rows.append((id, None if quantity is None else quantity.name, kind, unit_of(self, id), value))
        return rows

    def _repr_html_(self) -> str:
        """Tables of states and constants, for notebooks."""
        from sbmlump.model.tables import html_table

        rows, titles = self._rows(), ("id", "name", "unit", "value at time 0")
        head = f"{self.name or self.id}: {counted(self.size, 'state')}, {counted(len(self.reactions), 'reaction')}"
        states, constants = ([(*row[:2], *row[3:]) for row in rows if row[2] == kind] for kind in ("state", "constant"))
        return html_table(head, titles, states) + (html_table("Constants", titles, constants) if constants else "")

    def to_pandas(self) -> Any:
        """States and constants with names, units and values at time 0, as a data frame of pandas.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        from sbmlump.model.tables import frame_of

        return frame_of(("id", "name", "role", "unit", "value"), self._rows())

    # -- structure -----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of states n."""
        return len(self.states)

    @cached_property
    def state_index(self) -> Mapping[str, int]:
        """Position of each state."""
        return MappingProxyType({name: i for i, name in enumerate(self.states)})

    @cached_property
    def definitions(self) -> Mapping[str, Node]:
        """What each observable id stands for, over states, constants and time.

        States and constants stand for themselves, assigned quantities for their expression, reactions for their flux.
        """
        table = {name: self.graph.symbol(name) for name in self.states}
        table.update((c.id, self.graph.symbol(c.id)) for c in self.constants)
        table.update((a.id, a.value) for a in self.assigned)
        table.update((r.id, r.flux) for r in self.reactions)
        return MappingProxyType(table)

    @cached_property
    def taken_ids(self) -> frozenset[str]:
        """Every id that means something already, so that nothing new may get it: the model, quantities, reactions,
        species references, events.
        """
        parts = (p.id for r in self.reactions for p in (*r.reactants, *r.products))
        others = (self.id, *parts, *(event.id for event in self.events))
        return frozenset((*self.definitions, *self.quantities, *(name for name in others if name is not None)))

    @cached_property
    def constant_values(self) -> Mapping[str, Node]:
        """Value of each constant as a node free of every symbol (exact; irrational values stay symbolic).

        Constants without a value are absent.

        Raises
        ------
        ValueError
            If initial values depend on each other in a cycle.
        """
        start = self.at_start()
        return MappingProxyType({c.id: start[c.id] for c in self.constants if c.id in start})

    @cached_property
    def positive_constants(self) -> frozenset[str]:
        """Ids of the constants with positive values."""
        numbers = values_of(self.graph, list(self.constant_values.values()))
        return frozenset(name for name, value in zip(self.constant_values, numbers, strict=True) if value > 0)

    def without_value(self, nodes: Iterable[Node], free: Collection[str] = ()) -> list[str]:
        """Constants that expressions mention and that have no value, but for those that are ``free``; sorted."""
        return sorted(self.graph.symbols(nodes) - set(self.states) - set(free) - set(self.constant_values))

    def require_values(self, nodes: Iterable[Node], free: Collection[str] = ()) -> None:
        """Refuse expressions over constants that have no value, but for those that are ``free``.

        Raises
        ------
        UnsupportedModelError
            Code ``missing-value``, one for each constant.
        """
        missing = self.without_value(nodes, free)
        if missing:
            text = "the constant {} has no value; give it one"
            raise UnsupportedModelError([Reason("missing-value", text.format(name), name) for name in missing])

    @cached_property
    def given_constants(self) -> tuple[str, ...]:
        """Ids of the constants that have a value, sorted: what a statement can be made for all values of."""
        return tuple(sorted(c.id for c in self.constants if c.value is not None))

    @cached_property
    def initial_values(self) -> tuple[Node | None, ...]:
        """Initial value of each state as a node free of every symbol; ``None`` where a value is missing."""
        start = self.at_start()
        return tuple(start.get(name) for name in self.states)

    def at_start(self, keep: AbstractSet[str] = frozenset()) -> Mapping[str, Node]:
        """Every id's value at time 0, with the constants in ``keep`` left as symbols; ids without a value are absent.

        Raises
        ------
        ValueError
            If initial values depend on each other in a cycle.
        """
        kept = frozenset(keep)
        if kept not in self._starts:
            self._starts[kept] = self._resolved_start(kept)
        return self._starts[kept]

    @cached_property
    def _starts(self) -> dict[frozenset[str], Mapping[str, Node]]:
        return {}

    def _resolved_start(self, keep: frozenset[str]) -> Mapping[str, Node]:
        given: dict[str, Node] = dict(zip(self.states, self.initial, strict=True))
        given.update((c.id, c.value) for c in self.constants if c.value is not None and c.id not in keep)
        given.update((a.id, a.value) for a in self.assigned)
        mentioned = self.graph.symbols(given.values())
        given.update((r.id, r.flux) for r in self.reactions if r.id in mentioned)
        return MappingProxyType(resolve_initial_values(self.graph, given, keep))

    @cached_property
    def autonomous(self) -> bool:
        """Whether no right-hand side mentions time."""
        return not self.graph.depends_on_time(self.rhs)

    def compartment_of(self, name: str) -> str | None:
        """The compartment of a species whose id means a concentration; ``None`` for everything else."""
        quantity = self.quantities.get(name)
        return quantity.compartment if quantity is not None and quantity.is_concentration else None

    def conversion_factor_of(self, name: str) -> str | None:
        """The parameter by which reactions change a species: its own conversion factor, or that of the model."""
        quantity = self.quantities.get(name)
        return (quantity.conversion_factor if quantity is not None else None) or self.origin.conversion_factor

    def is_boundary(self, name: str) -> bool:
        """Whether reactions do not change a species in which they take part."""
        quantity = self.quantities.get(name)
        return quantity is not None and quantity.boundary

    def quantities_of(self, ids: Iterable[str]) -> dict[str, Quantity]:
        """What is said of some ids, and of the compartments that they are in."""
        known = self.quantities
        chosen = {name: known[name] for name in ids if name in known}
        for quantity in list(chosen.values()):
            if quantity.compartment is not None and quantity.compartment in known:
                chosen.setdefault(quantity.compartment, known[quantity.compartment])
        return chosen

    @cached_property
    def _flow(self) -> Mapping[Node, Node]:
        rates = {self.graph.symbol(name): rate for name, rate in zip(self.states, self.rhs, strict=True)}
        return rates | {self.graph.time(): self.graph.number(1)}

    def along_flow(self, nodes: Iterable[Node]) -> list[Node]:
        """Derivatives of expressions by time along the solutions: Σ ∂e/∂xᵢ·fᵢ + ∂e/∂t.

        Raises
        ------
        ValueError
            If one has no derivative that can be written.
        """
        return [self.graph.derivative(node, self._flow) for node in nodes]

    # -- numbers -------------------------------------------------------------------------------------

    @cached_property
    def _evaluator(self) -> Evaluator:
        from sbmlump.model.evaluate import Evaluator

        return Evaluator(self.graph, self.rhs, self.states, self.constant_values)

    def initial_state(self) -> Array:
        """Initial values as doubles.

        Returns
        -------
        ndarray of float64, shape (n,)
            In the units of the model; NaN where the file gives no value.
        """
        from sbmlump.model.evaluate import values_of

        known = [node for node in self.initial_values if node is not None]
        numbers = iter(values_of(self.graph, known))
        return np.array([np.nan if node is None else next(numbers) for node in self.initial_values], dtype=np.float64)

    def rates(self, t: ArrayLike, x: ArrayLike) -> Array:
        """Right-hand side dx/dt.

        Parameters
        ----------
        t : float or array of shape (k,)
            Time, in the model's unit.
        x : array of shape (n,) or (k, n)
            One state or k states.

        Returns
        -------
        ndarray of float64, same shape as `x`
            NaN or infinite where the right-hand side has no finite value.
        """
        return self._evaluator.values(t, x)

    def jacobian(self, t: float, x: ArrayLike) -> scipy.sparse.csr_array:
        """Jacobian ∂f/∂x at one point.

        Returns
        -------
        scipy.sparse array, shape (n, n)
            Entry (i, j) is the derivative of the rate of state i by state j.
        """
        return self._evaluator.jacobian(t, x)

    # -- change --------------------------------------------------------------------------------------

    def with_values(self, values: Mapping[str, Fraction]) -> OdeSystem:
        """The same system with other values of constants or other initial values of states.

        Raises
        ------
        KeyError
            If an id is neither a state nor a constant.
        """
        known = {*self.states, *(c.id for c in self.constants)}
        for name in values:
            if name not in known:
                raise KeyError(name)
        graph = self.graph
        constants = tuple(Constant(c.id, graph.number(values[c.id])) if c.id in values else c for c in self.constants)
        initial = tuple(
            graph.number(values[s]) if s in values else node for s, node in zip(self.states, self.initial, strict=True)
        )
        return replace(self, constants=constants, initial=initial)

    def specialised(self, keep: frozenset[str] | set[str] = frozenset()) -> Mapping[Node, Node]:
        """Substitution that puts values in place of all constants but those in ``keep``.

        A constant that is computed from kept ones becomes an expression of them.
        """
        graph = self.graph
        values = self.at_start(keep)
        fixed = (c.id for c in self.constants if c.id not in keep and c.id in values)
        return {graph.symbol(name): values[name] for name in fixed}

    def to_sympy(self) -> SympySystem:
        """Symbols, right-hand sides, initial values, constants and observables as SymPy expressions, exactly.

        Raises
        ------
        UsageError
            Code ``no-sympy-form`` if it has events.
        """
        found: SympySystem = import_module(_SYMBOLIC).to_sympy(self)
        return found

    @staticmethod
    def from_sympy(states: Sequence[Any], rhs: Sequence[Any], **values: Any) -> OdeSystem:
        """The system dx/dt = rhs of SymPy expressions; see :func:`sbmlump.model.symbolic.from_sympy`."""
        found: OdeSystem = import_module(_SYMBOLIC).from_sympy(states, rhs, **values)
        return found

    def is_symbol(self, node: Node) -> bool:
        """Whether ``node`` is the symbol of a quantity."""
        return self.graph.op(node) is Op.SYMBOL


# -- what events do, and when ------------------------------------------------------------------------
# An event is triggered at one moment and executed at another: after its delay, or after other events of the same moment
# with a higher priority. With ``useValuesFromTriggerTime`` its values are those of the first moment, and all that it
# does not set is as it is at the second: x ↦ R(x, x′) with x at execution and x′ at the trigger. Only where nothing
# that the values depend on can have changed in between is it a map of one state, x ↦ R(x, x). What a resized
# compartment does to the concentrations in it happens at execution in either case.
#
# References
# ----------
# Hucka et al., SBML Level 3 Version 2 Core, J. Integr. Bioinform. 16 (2019), section 4.11, doi 10.1515/jib-2019-0021.


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
