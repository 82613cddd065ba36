"""Records of a model into an OdeSystem, stage by stage; what stands in the way is collected, never guessed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from sbmlump.errors import LimitError, Reason
from sbmlump.linalg.polynomial import like_terms_collected, root_of_linear
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.system import (
    Algebraic,
    Assigned,
    Constant,
    Constraint,
    Event,
    FunctionDefinition,
    OdeSystem,
    Participant,
    Quantity,
    Reaction,
    event_expressions,
)
from sbmlump.sbml.read.elements import Problems, RawEvent, RawModel, RawParticipant, RawQuantity, RawReaction, RawRule
from sbmlump.sbml.read.mathml import RATE_OF, Builder, MathError, Program, literal, rate_of
from sbmlump.sbml.read.precheck import READ_LIMITS, ReadLimits

__all__ = ["Assembly", "CircularError", "NoRateError", "Resolver", "Unsolved", "solve_rules"]


# -- Put definitions in the place of names until only states ---------------------------------------

# Put definitions in the place of names until only states, constants and time are left.


class CircularError(ValueError):
    """Quantities that depend on each other in a cycle; ``names`` in order."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


class NoRateError(ValueError):
    """A quantity whose rate of change is asked for but has no expression."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class Resolver:
    """Inlines assigned quantities, reaction fluxes and rates of change.

    Parameters
    ----------
    graph : Graph
        Holds all nodes.
    definitions : mapping of str to Node
        What an assigned quantity or a reaction's flux is, possibly in terms of others.
    rates : mapping of str to Node
        Right-hand side of each state, possibly in terms of others.
    """

    def __init__(self, graph: Graph, definitions: Mapping[str, Node], rates: Mapping[str, Node]) -> None:
        self.graph = graph
        self.definitions = definitions
        self._known: dict[str, Node] = {}
        self._rates = {rate_of(name): (name, node) for name, node in rates.items()}
        self._needs: dict[Node, tuple[str, ...]] = {}

    def resolve(self, roots: Sequence[Node], *, only_rates: bool = False) -> list[Node]:
        """``roots`` with every name replaced that has a definition.

        Parameters
        ----------
        roots : sequence of Node
            Expressions over any ids.
        only_rates : bool
            Leave assigned quantities and reactions as they stand, replace rates of change only.

        Raises
        ------
        CircularError
            If a definition needs itself.
        NoRateError
            If a rate of change has no expression.
        LimitError
            If an exact number grows beyond all measure; the reason names the quantity.
        """
        graph = self.graph
        # in order: the numbers of new nodes, and so the order of factors, must not hang on the hashes of a process
        names = sorted(name for name in graph.symbols(roots) if self._is_defined(name))
        if only_rates:
            names = [name for name in names if name not in self.definitions]
        mapping = {graph.symbol(name): self.value(name) for name in names}
        return graph.substitute(roots, mapping) if mapping else list(roots)

    def value(self, name: str) -> Node:
        """What ``name`` is, over states, constants and time."""
        path: list[str] = [name]
        on_path = {name}
        while path:
            current = path[-1]
            if current in self._known:
                on_path.discard(path.pop())
                continue
            waiting = [need for need in self._required(current) if need not in self._known]
            cycle = [need for need in waiting if need in on_path]
            if cycle:
                start = path.index(cycle[0])
                raise CircularError([_plain(step) for step in path[start:]])
            if waiting:
                path.append(waiting[0])
                on_path.add(waiting[0])
                continue
            try:
                self._known[current] = self._inserted(self._expression(current))
            except LimitError as error:
                raise LimitError([_of(_plain(current), reason) for reason in error.reasons]) from None
        return self._known[name]

    # -- inside ---------------------------------------------------------------------------------------

    def _is_defined(self, name: str) -> bool:
        return name in self.definitions or name.startswith(rate_of(""))

    def _required(self, name: str) -> Iterable[str]:
        if name in self.definitions or name in self._rates:
            return self._names(self._expression(name))
        target = _plain(name)
        if target in self.definitions:  # its value first, then the rates of the states in it
            return self._names(self._expression(name)) if target in self._known else (target,)
        return ()

    def _expression(self, name: str) -> Node:
        graph = self.graph
        if name in self.definitions:
            return self.definitions[name]
        if name in self._rates:
            return self._rates[name][1]
        target = _plain(name)
        if target not in self.definitions:
            return graph.number(0)
        value = self._known[target]
        seeds = {
            graph.symbol(s): graph.symbol(rate_of(s))
            for s in sorted(graph.symbols([value]))
            if rate_of(s) in self._rates
        }
        seeds[graph.time()] = graph.number(1)
        try:
            return graph.derivative(value, seeds)
        except ValueError as error:
            raise NoRateError(target, str(error)) from None

    def _names(self, node: Node) -> tuple[str, ...]:
        names = self._needs.get(node)
        if names is None:
            names = tuple(sorted(name for name in self.graph.symbols([node]) if self._is_defined(name)))
            self._needs[node] = names
        return names

    def _inserted(self, node: Node) -> Node:
        graph = self.graph
        mapping = {graph.symbol(need): self._known[need] for need in self._names(node)}
        return graph.substitute([node], mapping)[0] if mapping else node


def _of(name: str, reason: Reason) -> Reason:
    return reason if reason.element else replace(reason, message=f"{name}: {reason.message}", element=name)


def _plain(name: str) -> str:
    return name.removeprefix(rate_of(""))


# -- Solve algebraic rules for the quantities ------------------------------------------------------

# Each equation 0 = e is written as a polynomial in one unknown over a denominator; where the degree is 1 the unknown is
# solved for and put into the others (Gaussian elimination with expressions as coefficients).


class Unsolved(NamedTuple):
    """An equation that could not be solved: its number, and the end of a sentence that says why."""

    equation: int
    why: str


def solve_rules(
    graph: Graph, equations: Sequence[Node], unknowns: Sequence[str], resting: Set[str] = frozenset()
) -> tuple[dict[str, tuple[int, Node]], list[Unsolved]]:
    """Solve 0 = each of ``equations`` for as many of ``unknowns``.

    Parameters
    ----------
    graph : Graph
        Holds the equations.
    equations : sequence of Node
        Each is to be 0.
    unknowns : sequence of str
        Ids to solve for, those preferred first.
    resting : set of str
        Unknowns that keep their value where no equation is needed for them (boundary species).

    Returns
    -------
    solutions : dict
        Unknown to the number of the equation that gave it and its expression, free of all solved unknowns.
    unsolved : list of Unsolved
        What is left.
    """
    open_ones = dict(enumerate(equations))
    solutions: dict[str, tuple[int, Node]] = {}
    unsolved: list[Unsolved] = []
    while open_ones:
        step = _next(graph, open_ones, unknowns, unsolved)
        if step is None:
            break
        number, unknown, value = step
        del open_ones[number]
        mapping = {graph.symbol(unknown): value}
        open_ones = {i: like_terms_collected(graph, graph.substitute([e], mapping)[0]) for i, e in open_ones.items()}
        solutions = {u: (i, graph.substitute([v], mapping)[0]) for u, (i, v) in solutions.items()}
        solutions[unknown] = (number, value)
    for number, equation in open_ones.items():
        names = sorted(graph.symbols([equation]) & set(unknowns))
        if names:
            unsolved.append(Unsolved(number, f"cannot be solved for {', '.join(names)} by linear or rational algebra"))
    left = (graph.symbols([value for _, value in solutions.values()]) & set(unknowns)) - resting
    for number, value in solutions.values():
        loose = sorted(graph.symbols([value]) & left)
        if loose:
            unsolved.append(Unsolved(number, f"leaves open what determines {', '.join(loose)}"))
    return solutions, unsolved


def _next(
    graph: Graph, equations: dict[int, Node], unknowns: Sequence[str], unsolved: list[Unsolved]
) -> tuple[int, str, Node] | None:
    """The equation with the fewest unknowns that can be solved for one; takes out equations without unknowns."""
    ranked: list[tuple[int, int, list[str]]] = []
    for number, equation in list(equations.items()):
        symbols = graph.symbols([equation])
        names = [name for name in unknowns if name in symbols]
        if names:
            ranked.append((len(names), number, names))
            continue
        del equations[number]
        if graph.number_of(equation) != 0:
            unsolved.append(Unsolved(number, "holds no quantity that is left to be determined by it"))
    for _, number, names in sorted(ranked):
        for name in names:
            value = root_of_linear(graph, equations[number], graph.symbol(name))
            if value is not None:
                return number, name, value
    return None


# -- Records of a model into an OdeSystem ----------------------------------------------------------


# -- what each id of a model is --------------------------------------------------------------------


_ORDER = {"species": 0, "compartment": 1, "parameter": 2, "local-parameter": 3, "species-reference": 4}


@dataclass(frozen=True, slots=True)
class _Roles:
    """Attributes
    ----------
    states : tuple of str
        Species, then compartments, parameters, species references, each in the order of the file.
    changed : frozenset of str
        Species whose value reactions change.
    assigned : frozenset of str
        Targets of assignment rules.
    free : tuple of str
        Ids that may change (not constant) but that nothing determines: unknowns of algebraic rules.
    used_references : frozenset of str
        Species references that mathematics, rules, initial assignments or events name.
    """

    states: tuple[str, ...]
    changed: frozenset[str]
    assigned: frozenset[str]
    free: tuple[str, ...]
    used_references: frozenset[str]


def _classify(raw: RawModel, problems: Problems) -> _Roles:
    """Sort the ids of ``raw`` into roles; a target that does not exist is a problem."""
    entries = raw.entries
    # only ids of species references are asked for in it, and most models have none
    mentioned = _mentioned(raw) if any(e.quantity.kind == "species-reference" for e in entries.values()) else set[str]()
    _define_old_references(raw, mentioned)
    tables = {"assignment rule": raw.assignments, "rate rule": raw.rates, "initial assignment": raw.initial}
    for what, table in tables.items():
        for target in [name for name in table if not _is_target(entries, name)]:
            text = f"the {what} sets {target!r}, which is not a compartment, species, parameter or species reference"
            problems.add("unknown-id", text, target, table[target].line)
            del table[target]
    for name in [name for name in raw.initial if name in raw.assignments]:
        text = f"{name!r} has an assignment rule and an initial assignment; remove one"
        problems.add("duplicate-rule", text, name, raw.initial[name].line)
    _check_factors(raw, problems)
    events = _event_targets(raw, problems)
    for name in sorted({*raw.assignments, *raw.rates, *events}):
        if entries[name].quantity.written_constant:
            text = f"{name!r} is declared constant, but a rule or an event changes it; decide which holds"
            problems.add("constant-changes", text, name, entries[name].line)
    changed = _changed_by_reactions(raw, problems)
    states = (changed | set(raw.rates) | events) - set(raw.assignments)
    position = {name: i for i, name in enumerate(entries)}
    ordered = sorted(states, key=lambda name: (_ORDER[entries[name].quantity.kind], position[name]))
    determined = states | set(raw.assignments)
    free = tuple(
        name
        for name, entry in entries.items()
        if name not in determined and not entry.quantity.written_constant and entry.quantity.kind != "local-parameter"
    )
    references = {name for name, entry in entries.items() if entry.quantity.kind == "species-reference"}
    named = references & (mentioned | determined | set(raw.initial)) if references else set()
    return _Roles(tuple(ordered), frozenset(changed), frozenset(raw.assignments), free, frozenset(named))


def _define_old_references(raw: RawModel, mentioned: set[str]) -> None:
    """Make a rule of each Level 2 ``stoichiometryMath`` whose reference is named in mathematics.

    In Level 3 it would be one, and the id means the same wherever it stands.
    """
    for reaction in raw.reactions:
        for part in (*reaction.reactants, *reaction.products):
            if part.program is not None and part.id is not None and part.id in mentioned:
                raw.assignments.setdefault(part.id, RawRule(part.id, part.program, part.line))


def _is_target(entries: dict[str, RawQuantity], name: str) -> bool:
    return name in entries and entries[name].quantity.kind != "local-parameter"


def _check_factors(raw: RawModel, problems: Problems) -> None:
    factors = {None: raw.conversion_factor} | {e.id: e.quantity.conversion_factor for e in raw.entries.values()}
    for owner, factor in factors.items():
        if factor is not None and not _is_target(raw.entries, factor):
            text = f"the conversion factor {factor!r} of {owner or 'the model'} does not exist"
            problems.add("unknown-id", text, factor, raw.entries[owner].line if owner else None)


def _event_targets(raw: RawModel, problems: Problems) -> set[str]:
    targets: set[str] = set()
    for event in raw.events:
        seen: set[str] = set()
        for rule in event.assignments:
            if not _is_target(raw.entries, rule.target):
                text = f"{event.label} sets {rule.target!r}, which does not exist or has no value of its own"
                problems.add("unknown-id", text, rule.target, rule.line)
            elif rule.target in raw.assignments:
                text = f"{event.label} sets {rule.target!r}, which an assignment rule determines at all times"
                problems.add("event-sets-assigned", text, rule.target, rule.line)
            elif rule.target in seen:
                text = f"{event.label} sets {rule.target!r} twice; remove one"
                problems.add("duplicate-rule", text, rule.target, rule.line)
            else:
                targets.add(rule.target)
            seen.add(rule.target)
    return targets


def _changed_by_reactions(raw: RawModel, problems: Problems) -> set[str]:
    changed: set[str] = set()
    for reaction in raw.reactions:
        for part in (*reaction.reactants, *reaction.products):
            entry = raw.entries.get(part.species)
            if entry is None or entry.quantity.kind != "species":
                text = f"reaction {reaction.id!r} names the species {part.species!r}, which does not exist"
                problems.add("unknown-id", text, part.species, part.line)
                continue
            if entry.quantity.boundary:
                continue
            if entry.quantity.written_constant:
                text = f"species {part.species!r} is declared constant, but reactions change it; decide which holds"
                problems.add("constant-changes", text, part.species, entry.line)
            elif part.species in raw.rates or part.species in raw.assignments:
                text = f"species {part.species!r} has a rule, and reactions change it; make it a boundary species"
                problems.add("rule-and-reaction", text, part.species, entry.line)
            else:
                changed.add(part.species)
        for name in reaction.modifiers:
            if name not in raw.entries:
                text = f"reaction {reaction.id!r} names the modifier {name!r}, which does not exist"
                problems.add("unknown-id", text, name, reaction.line)
    return changed


def _mentioned(raw: RawModel) -> set[str]:
    """Ids that stand anywhere in mathematics outside function definitions.

    A local parameter is none of them: it hides what has the same id elsewhere.
    """
    found: set[str] = set()
    for _, program, local in raw.formulas():
        found |= _names_in(program) - local.keys()
    return found


def _names_in(program: Program) -> set[str]:
    return {step.payload for step in program if step.kind in ("name", "rate-of")}


# -- right-hand sides: reactions -------------------------------------------------------------------


def _right_hand_sides(
    assembly: Assembly, fluxes: Mapping[str, Node], rate_rules: Mapping[str, Node], varying: Container[str]
) -> dict[str, Node]:
    """dx/dt of every state, in terms of any ids of the model (nothing is inlined yet).

    A species that is a concentration gets Σ stoichiometry·conversion·flux / size, and -x·(d size/dt)/size where the
    size changes (``varying`` holds the compartments that may); a species that is an amount gets the sum alone.
    """
    graph = assembly.graph
    terms = _reaction_terms(assembly, fluxes)
    sides: dict[str, Node] = {}
    for name in assembly.roles.states:
        if name in rate_rules:
            sides[name] = rate_rules[name]
            continue
        side = graph.from_terms(terms.get(name, {}))
        entry = assembly.raw.entries[name]
        if entry.quantity.is_concentration and entry.quantity.compartment in varying:
            assert entry.quantity.compartment is not None
            size = graph.symbol(entry.quantity.compartment)
            growth = graph.div(graph.symbol(rate_of(entry.quantity.compartment)), size)
            side = graph.sub(side, graph.mul((graph.symbol(name), growth)))
        sides[name] = side
    return sides


def _reaction_terms(assembly: Assembly, fluxes: Mapping[str, Node]) -> dict[str, dict[Node, Fraction]]:
    """For each changed species the coefficients of the distinct flux terms of its right-hand side."""
    graph, raw = assembly.graph, assembly.raw
    terms: dict[str, dict[Node, Fraction]] = {name: {} for name in assembly.roles.changed}
    scaled: dict[tuple[Node, str], Node] = {}  # flux and compartment -> flux / size
    shares: dict[int, _Share | None] = {}  # by the identity of the record: thousands of reactions share a few thousand
    for reaction in raw.reactions:
        flux = fluxes[reaction.id]
        for side, parts in enumerate((reaction.reactants, reaction.products)):
            for part in parts:
                number = id(part)
                if number not in shares:
                    mine = terms.get(part.species)
                    shares[number] = None if mine is None else _share(assembly, part, mine)
                share = shares[number]
                if share is None:
                    continue
                term = flux
                if share.compartment is not None:
                    key = (flux, share.compartment)
                    if key not in scaled:
                        scaled[key] = _over(graph, flux, graph.symbol(share.compartment))
                    term = scaled[key]
                if share.conversion is not None:
                    term = graph.mul((term, share.conversion))
                if share.factor is not None:
                    term = graph.mul((share.factor, term))
                signed = share.signed[side]
                before = share.terms.get(term)  # most terms come once, and sums of Fractions are slow
                share.terms[term] = signed if before is None else before + signed
    return terms


class _Share(NamedTuple):
    """What a flux adds to the right-hand side of a participant.

    Attributes
    ----------
    terms : dict
        Those of the species.
    compartment : str or None
        By whose size the flux is divided.
    conversion : Node or None
        Conversion factor.
    factor : Node or None
        A stoichiometry that is not a number.
    signed : tuple of Fraction
        A stoichiometry that is one, for a reactant and for a product.
    """

    terms: dict[Node, Fraction]
    compartment: str | None
    conversion: Node | None
    factor: Node | None
    signed: tuple[Fraction, Fraction]


def _share(assembly: Assembly, part: RawParticipant, terms: dict[Node, Fraction]) -> _Share:
    graph, entry = assembly.graph, assembly.raw.entries[part.species]
    factor = assembly.stoichiometry(part)
    value = graph.number_of(factor)
    amount = Fraction(1) if value is None else value
    conversion = entry.quantity.conversion_factor or assembly.raw.conversion_factor
    return _Share(
        terms,
        entry.quantity.compartment if entry.quantity.is_concentration else None,
        None if conversion is None else graph.symbol(conversion),
        factor if value is None else None,
        (-amount, amount),
    )


def _over(graph: Graph, flux: Node, size: Node) -> Node:
    quotient = _cancelled(graph, flux, size)
    return quotient if quotient is not None else graph.div(flux, size)


def _cancelled(graph: Graph, node: Node, factor: Node) -> Node | None:
    """``node / factor`` where the factor cancels, else ``None``.

    Looks through sums, products, numerators and powers; sizes of compartments are not 0, so the result is equal.
    """
    done: dict[Node, Node | None] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        if current in done:
            stack.pop()
            continue
        wanted = _looked_at(graph, current, factor)
        missing = [arg for arg in wanted if arg not in done]
        if missing:
            stack.extend(missing)
            continue
        done[current] = _divided(graph, current, factor, done)
    return done[node]


def _looked_at(graph: Graph, node: Node, factor: Node) -> tuple[Node, ...]:
    op, args = graph.op(node), graph.args(node)
    if op is Op.ADD or (op is Op.MUL and factor not in args):
        return args
    return args[:1] if op is Op.DIV else ()


def _divided(graph: Graph, node: Node, factor: Node, done: Mapping[Node, Node | None]) -> Node | None:
    op, args = graph.op(node), graph.args(node)
    if node == factor:
        return graph.number(1)
    if op is Op.NUMBER:
        return node if graph.number_of(node) == 0 else None
    if op is Op.ADD:
        parts = [part for part in (done[arg] for arg in args) if part is not None]
        return graph.add(parts) if len(parts) == len(args) else None
    if op is Op.MUL:
        for i, arg in enumerate(args):
            part = graph.number(1) if arg == factor else done.get(arg)
            if part is not None:
                return graph.mul((*args[:i], part, *args[i + 1 :]))
        return None
    if op is Op.DIV:
        top = done[args[0]]
        return None if top is None else graph.div(top, args[1])
    if op is Op.POW and args[0] == factor and graph.number_of(args[1]) is not None:
        return graph.pow(factor, graph.sub(args[1], graph.number(1)))
    return None


# -- values at time 0, and what is missing for them ----------------------------------------------------


def _initial_values(assembly: Assembly) -> tuple[dict[str, Node], tuple[Constant, ...]]:
    """Initial value of each state over any ids, and the constants; an initial assignment before an attribute.

    A state without a value gets ``notanumber``; :func:`_missing_values` finds it.
    """
    raw, graph = assembly.raw, assembly.graph
    given = {name: assembly.number_of(rule, "the initial assignment") for name, rule in raw.initial.items()}
    resolved = assembly.resolver.resolve(list(given.values()), only_rates=True)
    given = dict(zip(given, resolved, strict=True))
    states = set(assembly.roles.states)
    initial: dict[str, Node] = {}
    constants: list[Constant] = []
    for name, entry in raw.entries.items():
        kind = entry.quantity.kind
        if kind == "species-reference" and name not in assembly.roles.used_references:
            continue
        value = given.get(name)
        if value is None:
            value = _from_attributes(graph, entry)
        if name in states:
            initial[name] = value if value is not None else graph.constant("notanumber")
        elif name in assembly.implicit:
            size = graph.symbol(entry.quantity.compartment or "")
            amount = None if value is None else _times_size(graph, value, size, entry, name in given)
            constants.append(Constant(assembly.implicit[name], amount, computed=name in given))
        elif name not in assembly.definitions:
            constants.append(Constant(name, value, computed=name in given))
    return initial, tuple(constants)


def _from_attributes(graph: Graph, entry: RawQuantity) -> Node | None:
    """What the attributes say of the value at time 0, as the id means it."""
    if entry.quantity.kind != "species":
        return None if entry.value is None else literal(graph, entry.value)
    compartment = entry.quantity.compartment
    if entry.quantity.is_concentration:
        if entry.concentration is not None:
            return graph.decimal(entry.concentration)
        if entry.amount is not None and compartment is not None:
            return graph.div(graph.decimal(entry.amount), graph.symbol(compartment))
        return None
    if entry.amount is not None:
        return graph.decimal(entry.amount)
    if entry.concentration is not None and compartment is not None:
        return graph.mul((graph.decimal(entry.concentration), graph.symbol(compartment)))
    return None


def _times_size(graph: Graph, value: Node, size: Node, entry: RawQuantity, computed: bool) -> Node:
    if not computed and entry.amount is not None:
        return graph.decimal(entry.amount)
    return graph.mul((value, size))


def _missing_values(system: OdeSystem, raw: RawModel, problems: Problems, unvalued: AbstractSet[str]) -> None:
    """Note every value that the dynamics need and the file does not give, but for the ids of ``unvalued``."""
    graph = system.graph
    nodes = [*system.rhs, *system.initial, *event_expressions(system.events)]
    given: dict[str, Node | None] = {constant.id: constant.value for constant in system.constants}
    given.update((a.id, a.value) for a in system.assigned)
    given.update((r.id, r.flux) for r in system.reactions)
    needed: set[str] = set()
    waiting = graph.symbols(nodes)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        node = given.get(name)
        if node is not None:
            waiting |= graph.symbols([node]) - needed
    nan = graph.constant("notanumber")
    without = [name for name in needed if name in given and given[name] is None]
    without += [name for name, node in zip(system.states, system.initial, strict=True) if node == nan]
    for name in sorted(set(without) - unvalued):
        entry = raw.entries.get(name)
        what = entry.quantity.kind.replace("-", " ") if entry else "quantity"
        text = f"{what} {name!r} has no value, and the dynamics need it; give it one"
        problems.add("missing-value", text, name, entry.line if entry else None)


def _unusable_values(system: OdeSystem, raw: RawModel, problems: Problems) -> None:
    """Note cycles among initial values, and compartments of size 0 that hold a concentration.

    The value or the rate of such a concentration would be divided by 0. What counts is the size at time 0, whether an
    attribute, an initial assignment or a rule gives it, and any size 0 that an event sets.
    """
    try:
        values = system.at_start()
    except ValueError as error:
        problems.add("circular-initial-value", f"{error}; break the cycle")
        return
    emptied = {
        target: event.id or "an event"
        for event in system.events
        for target, node in event.assignments
        if system.graph.number_of(node) == 0
    }
    implicit = {one.id for one in system.assigned if one.implicit}
    sizes: dict[str, float] = {}
    for name, entry in raw.entries.items():
        compartment = entry.quantity.compartment
        if not entry.quantity.is_concentration or compartment is None or compartment not in values:
            continue
        if name in system.state_index or name in implicit or _divides_at_start(raw, entry):
            if compartment not in sizes:
                sizes[compartment] = float(values_of(system.graph, [values[compartment]])[0])
            line = raw.entries[compartment].line
            if sizes[compartment] == 0:
                text = f"compartment {compartment!r} has size 0 at time 0 and holds the concentration {name!r}"
                problems.add("zero-size", f"{text}; give it another size", compartment, line)
            elif compartment in emptied:
                text = f"{emptied[compartment]} sets the size of {compartment!r} to 0, which holds the concentration"
                problems.add("zero-size", f"{text} {name!r}; give it another size", compartment, line)


def _divides_at_start(raw: RawModel, entry: RawQuantity) -> bool:
    """Whether the value of a concentration at time 0 is its amount by the size of its compartment."""
    given = entry.id in raw.initial or entry.id in raw.assignments
    return not given and entry.concentration is None and entry.amount is not None


# -- events, with what follows ---------------------------------------------------------------------


def _event(assembly: Assembly, raw: RawEvent) -> Event:
    """One event; without a trigger (Level 3 Version 2 allows it) it never fires."""
    graph, label = assembly.graph, raw.label
    name = raw.details["id"]
    if raw.trigger is not None:
        trigger = assembly.truth(raw.trigger, f"the trigger of {label}", name, raw.line)
    else:
        trigger = graph.truth(False)
    roots = [trigger]
    optional = [(raw.delay, "delay"), (raw.priority, "priority")]
    for program, what in optional:
        if program is not None:
            roots.append(assembly.number(program, f"the {what} of {label}", name, raw.line))
    rules = [rule for rule in raw.assignments if rule.target in assembly.roles.states]
    roots += [assembly.number(r.program, f"the assignment of {label} to {r.target!r}", r.target, r.line) for r in rules]
    resolved = iter(assembly.resolver.resolve(roots))
    trigger = next(resolved)
    delay, priority = (next(resolved) if program is not None else None for program, _ in optional)
    written = {rule.target: node for rule, node in zip(rules, resolved, strict=True)}
    ratios = _size_ratios(assembly, raw, written)
    assignments = (
        (name, graph.mul((node, ratios[name])) if name in ratios else node) for name, node in written.items()
    )
    implied = ((name, graph.mul((graph.symbol(name), ratio))) for name, ratio in ratios.items() if name not in written)
    return Event(
        trigger=trigger,
        assignments=tuple(assignments),
        delay=delay,
        priority=priority,
        implied=tuple(implied),
        unscaled=tuple((name, node) for name, node in written.items() if name in ratios),
        **raw.details,
    )


def _size_ratios(assembly: Assembly, raw: RawEvent, values: dict[str, Node]) -> dict[str, Node]:
    """Old size / new size for each state that is a concentration in a compartment that the event resizes.

    All assignments of an event are made together, and the amounts stay: what is not assigned becomes x·old/new, and an
    assigned concentration sets the amount by the size before, so that it becomes value·old/new (SBML Test Suite, cases
    01779 and 01780). The size may be set itself, or be assigned by a rule from something that is set.
    """
    graph, resolver = assembly.graph, assembly.resolver
    if not values:
        return {}
    after = {graph.symbol(name): node for name, node in values.items()}
    sizes: dict[str, Node | None] = {}  # of compartments: the ratio, None where the event does not resize them
    ratios: dict[str, Node] = {}
    for name in assembly.roles.states:
        entry = assembly.raw.entries[name]
        compartment = entry.quantity.compartment
        if not entry.quantity.is_concentration or compartment is None:
            continue
        if compartment not in sizes:
            before = resolver.resolve([graph.symbol(compartment)])[0]
            now = graph.substitute([before], after)[0]
            if now != before and graph.symbols([before]) & _concentrations(assembly):
                text = f"{raw.label} resizes {compartment!r}, whose size depends on a concentration"
                assembly.problems.add("event-resizes", text, raw.details["id"], raw.line)
            sizes[compartment] = None if now == before else _ratio(graph, before, now)
        ratio = sizes[compartment]
        if ratio is not None:
            ratios[name] = ratio
    return ratios


def _ratio(graph: Graph, before: Node, now: Node) -> Node:
    """before / now, cancelled: where a size is doubled the ratio is 1/2 and depends on no state."""
    grown = _cancelled(graph, now, before)
    if grown is not None:
        return graph.div(graph.number(1), grown)
    shrunk = _cancelled(graph, before, now)
    return shrunk if shrunk is not None else graph.div(before, now)


def _concentrations(assembly: Assembly) -> set[str]:
    return {name for name in assembly.roles.states if assembly.raw.entries[name].quantity.is_concentration}


# -- records of a model into an OdeSystem, stage by stage ----------------------------------------------


class Assembly:
    """Nodes of one model on their way: first over all ids, then with definitions inlined."""

    def __init__(
        self,
        raw: RawModel,
        problems: Problems,
        unvalued: AbstractSet[str] = frozenset(),
        limits: ReadLimits = READ_LIMITS,
        *,
        past: bool = False,
    ) -> None:
        self.raw = raw
        self.limits = limits
        self.problems = problems
        self.unvalued = unvalued
        self.graph = Graph()
        self.roles: _Roles = _classify(raw, problems)
        known = {name for name, entry in raw.entries.items() if entry.quantity.kind != "local-parameter"}
        known.update(reaction.id for reaction in raw.reactions)
        self.builder = Builder(self.graph, raw.functions, frozenset(known), limits, past=past)
        self.definitions: dict[str, Node] = {}
        self.implicit: dict[str, str] = {}  # constant concentration in a varying compartment -> constant of its amount
        self.solved: list[tuple[Node, str]] = []
        self._numbers: dict[float | Fraction, Node] = {}
        self._participants: dict[int, Participant] = {}  # by the identity of the record

    # -- the way of the data --------------------------------------------------------------------------

    def system(self) -> OdeSystem | None:
        """Run all stages."""
        raw, roles, graph = self.raw, self.roles, self.graph
        fluxes = self._fluxes()
        self.definitions.update(fluxes)
        for name, rule in raw.assignments.items():
            self.definitions[name] = self.number_of(rule, "the assignment rule")
        rules = {name: self.number_of(rule, "the rate rule") for name, rule in raw.rates.items()}
        equations = [self.number_of(rule, "the algebraic rule") for rule in raw.algebraic]
        varying = {*roles.states, *self.definitions, *(roles.free if equations else ())}
        sides = _right_hand_sides(self, fluxes, rules, varying)
        self._add_implicit()
        try:
            self._solve(equations, sides)
            self._add_implicit()
            self.resolver = Resolver(graph, self.definitions, sides)
            return self._finish(sides)
        except CircularError as cycle:
            names = " → ".join((*cycle.names, cycle.names[0]))
            text = f"{names}: these quantities are defined through each other in a cycle; break it"
            self.problems.add("circular-assignment", text, cycle.names[0])
        except NoRateError as error:
            text = f"the rate of change of {error.name!r} is needed, but its assignment has {error}"
            self.problems.add("rate-of", text, error.name)
        except LimitError as error:
            for reason in error.reasons:
                entry = None if reason.element is None else raw.entries.get(reason.element)
                self.problems.add(reason.code, reason.message, reason.element, entry.line if entry else None)
        return None

    def _finish(self, sides: Mapping[str, Node]) -> OdeSystem | None:
        raw, roles = self.raw, self.roles
        rhs = self.resolver.resolve([sides[name] for name in roles.states])
        events = tuple(_event(self, event) for event in raw.events)
        initial, constants = _initial_values(self)
        reactions = self._reactions()
        constraints = self._constraints()
        assigned = tuple(
            Assigned(name, self.resolver.value(name), implicit=name in self.implicit)
            for name in (*raw.assignments, *(u for _, u in self.solved), *self.implicit)
        )
        if self.problems:
            return None
        system = OdeSystem(
            graph=self.graph,
            states=roles.states,
            initial=tuple(initial[name] for name in roles.states),
            rhs=tuple(rhs),
            constants=constants,
            assigned=assigned,
            reactions=reactions,
            events=events,
            constraints=constraints,
            algebraic=tuple(Algebraic(node, name) for node, name in self.solved),
            functions=self._functions(),
            id=raw.id,
            name=raw.name,
            quantities=self._quantities(),
            origin=raw.origin,
        )
        _missing_values(system, raw, self.problems, self.unvalued)
        _unusable_values(system, raw, self.problems)
        return None if self.problems else system

    # -- mathematics with its problems ----------------------------------------------------------------

    def number(
        self, program: Program, what: str, element: str | None, line: int, names: Mapping[str, str] | None = None
    ) -> Node:
        """``program`` as a number over all ids; where it cannot be read, a problem is noted and 0 stands in."""
        try:
            return self.builder.number(program, names)
        except MathError as problem:
            self.problems.add(problem.code, f"{what} {problem.message}", element, line)
            return self.graph.number(0)

    def number_of(self, rule: RawRule, what: str) -> Node:
        """The mathematics of a rule as a number."""
        text = f"{what} of {rule.target!r}" if rule.target else what
        return self.number(rule.program, text, rule.target or None, rule.line)

    def truth(self, program: Program, what: str, element: str | None, line: int) -> Node:
        """``program`` as a truth value; where it cannot be read, a problem is noted and ``true`` stands in."""
        try:
            return self.builder.truth(program)
        except MathError as problem:
            self.problems.add(problem.code, f"{what} {problem.message}", element, line)
            return self.graph.truth(True)

    # -- reactions ------------------------------------------------------------------------------------

    def _fluxes(self) -> dict[str, Node]:
        fluxes: dict[str, Node] = {}
        without: list[RawReaction] = []
        for reaction in self.raw.reactions:
            law = reaction.law
            if law is None or self.raw.flux_balance:
                without.append(reaction)
                fluxes[reaction.id] = self.graph.number(0)
                continue
            what = f"the kinetic law of reaction {reaction.id!r}"
            fluxes[reaction.id] = self.number(law.program, what, reaction.id, reaction.line, law.names)
        if without and not self.raw.flux_balance:
            self._without_law(without)
        return fluxes

    def _without_law(self, reactions: list[RawReaction]) -> None:
        if len(reactions) > self.limits.named:
            first = reactions[0]
            text = (
                f"{len(reactions)} of {len(self.raw.reactions)} reactions have no kinetic law (the first is "
                f"{first.id!r}); without rates the model has no dynamics"
            )
            self.problems.add("no-kinetic-law", text, first.id, first.line)
            return
        for reaction in reactions:
            text = f"reaction {reaction.id!r} has no kinetic law; give it one"
            self.problems.add("no-kinetic-law", text, reaction.id, reaction.line)

    def stoichiometry(self, part: RawParticipant) -> Node:
        """Stoichiometry of a participant over all ids: a number, a symbol, or an expression."""
        if part.id is not None and part.id in self.roles.used_references:
            return self.graph.symbol(part.id)
        if part.program is not None:
            what = f"the stoichiometry of {part.species!r}"
            return self.number(part.program, what, part.species, part.line)
        if part.stoichiometry is None:
            text = f"the stoichiometry of {part.species!r} is not given; give it"
            self.problems.add("missing-value", text, part.id or part.species, part.line)
            return self.graph.number(0)
        node = self._numbers.get(part.stoichiometry)
        if node is None:
            node = self._numbers[part.stoichiometry] = literal(self.graph, part.stoichiometry)
        return node

    def _reactions(self) -> tuple[Reaction, ...]:
        fluxes = self.resolver.resolve([self.definitions[reaction.id] for reaction in self.raw.reactions])
        return tuple(
            Reaction(
                reaction.id,
                flux,
                tuple(self._participant(part) for part in reaction.reactants),
                tuple(self._participant(part) for part in reaction.products),
                reaction.modifiers,
                **reaction.details,
            )
            for reaction, flux in zip(self.raw.reactions, fluxes, strict=True)
        )

    def _participant(self, part: RawParticipant) -> Participant:
        known = self._participants.get(id(part))  # thousands of reactions share a few thousand of them
        if known is None:
            node = self.stoichiometry(part)
            if self.graph.number_of(node) is None:
                node = self.resolver.resolve([node])[0]
            known = self._participants[id(part)] = Participant(part.species, node, part.id)
        return known

    # -- definitions ----------------------------------------------------------------------------------

    def _add_implicit(self) -> None:
        """Concentrations that change only because their compartment does: amount / size, the amount a new constant."""
        raw, graph = self.raw, self.graph
        determined = {*self.roles.states, *self.definitions}
        for name, entry in raw.entries.items():
            compartment = entry.quantity.compartment
            if not entry.quantity.is_concentration or name in determined or compartment is None:
                continue
            if compartment in determined:
                amount = f"{name}_amount"
                while amount in raw.ids:
                    amount += "_"
                self.implicit[name] = amount
                self.definitions[name] = graph.div(graph.symbol(amount), graph.symbol(compartment))

    def _solve(self, equations: list[Node], sides: Mapping[str, Node]) -> None:
        """Solve the algebraic rules and make definitions of the solutions."""
        if not equations:
            return
        unknowns = [name for name in self.roles.free if name not in self.definitions]
        resting = {name for name in unknowns if self.raw.entries[name].quantity.boundary}
        unknowns.sort(key=resting.__contains__)
        inlined = Resolver(self.graph, self.definitions, sides).resolve(equations)
        solutions, unsolved = solve_rules(self.graph, inlined, unknowns, resting)
        for name, (number, value) in solutions.items():
            self.definitions[name] = value
            self.solved.append((inlined[number], name))
        for number, why in unsolved:
            text = f"the algebraic rule {why}; write it as an assignment rule"
            self.problems.add("algebraic-rule", text, None, self.raw.algebraic[number].line)

    def _functions(self) -> tuple[FunctionDefinition, ...]:
        """Function definitions that can be written again."""
        functions = self.raw.functions
        bodies = {name: self.builder.body(name) for name in functions}
        return tuple(
            FunctionDefinition(name, functions[name].arguments, body)
            for name, body in bodies.items()
            if body is not None and not any(n.startswith(RATE_OF) for n in self.graph.symbols([body]))
        )

    def _constraints(self) -> tuple[Constraint, ...]:
        conditions = [self.truth(c.program, "a constraint", None, c.line) for c in self.raw.constraints]
        resolved = self.resolver.resolve(conditions)
        both = zip(resolved, self.raw.constraints, strict=True)
        return tuple(Constraint(node, c.message, c.description) for node, c in both)

    # -- what is said of each id ----------------------------------------------------------------------

    def _quantities(self) -> dict[str, Quantity]:
        quantities = {}
        for name, entry in self.raw.entries.items():
            if entry.quantity.kind != "species-reference" or name in self.roles.used_references:
                quantities[name] = entry.quantity
        for name, amount in self.implicit.items():
            species = self.raw.entries[name].quantity
            text = f"amount of {species.name or name}"
            quantities[amount] = Quantity(amount, "parameter", name=text, units=species.units, written_constant=True)
        return quantities
