"""Records of a model into an OdeSystem, stage by stage; what stands in the way is collected, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Final

from sbmlump.errors import LimitError
from sbmlump.expr.graph import Graph, Node
from sbmlump.sbml.mathml import RATE_OF, Builder, MathError, Program
from sbmlump.sbml.read_algebraic import solve
from sbmlump.sbml.read_events import build_events
from sbmlump.sbml.read_initial import InitialValues, initial_values, missing_values, unusable_values
from sbmlump.sbml.read_rates import is_concentration, right_hand_sides
from sbmlump.sbml.read_record import Problems, RawModel, RawParticipant, RawReaction, RawRule
from sbmlump.sbml.read_resolve import CircularError, NoRateError, Resolver
from sbmlump.sbml.read_roles import VariableRoles, classify
from sbmlump.system import (
    Algebraic,
    Assigned,
    Constraint,
    FunctionDefinition,
    OdeSystem,
    Participant,
    Quantity,
    Reaction,
)

__all__ = ["Assembly"]

_MANY: Final = 10


class Assembly:
    """Nodes of one model on their way: first over all ids, then with definitions inlined."""

    def __init__(self, raw: RawModel, problems: Problems, unvalued: AbstractSet[str] = frozenset()) -> None:
        self.raw = raw
        self.problems = problems
        self.unvalued = unvalued
        self.graph = Graph()
        self.roles: VariableRoles = classify(raw, problems)
        known = {name for name, entry in raw.entries.items() if entry.quantity.kind != "local-parameter"}
        known.update(reaction.id for reaction in raw.reactions)
        self.builder = Builder(self.graph, raw.functions, frozenset(known))
        self.definitions: dict[str, Node] = {}
        self.implicit: dict[str, str] = {}  # resting concentration in a varying compartment -> constant of its amount
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
        sides = right_hand_sides(graph, raw, roles, fluxes, rules, self.stoichiometry, varying)
        self._add_implicit()
        try:
            self._solve(equations, sides)
            self._add_implicit()
            self.resolver = Resolver(graph, self.definitions, sides)
            return self._finish(sides)
        except CircularError as circle:
            names = " → ".join((*circle.names, circle.names[0]))
            text = f"{names}: these quantities are defined through each other in a circle; break it"
            self.problems.add("circular-assignment", text, circle.names[0])
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
        events = build_events(self)
        start = initial_values(self)
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
            initial=tuple(start.initial[name] for name in roles.states),
            rhs=tuple(rhs),
            constants=start.constants,
            assigned=assigned,
            reactions=reactions,
            events=events,
            constraints=constraints,
            algebraic=tuple(Algebraic(node, name) for node, name in self.solved),
            functions=self._functions(),
            id=raw.id,
            name=raw.name,
            quantities=self._quantities(start),
            origin=raw.origin,
        )
        missing_values(system, raw, self.problems, self.unvalued)
        unusable_values(system, raw, self.problems)
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
        if len(reactions) > _MANY:
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
            value = part.stoichiometry
            node = self.graph.decimal(value) if isinstance(value, float) else self.graph.number(value)
            self._numbers[part.stoichiometry] = node
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
            if not is_concentration(entry) or name in determined or compartment is None:
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
        solutions, unsolved = solve(self.graph, inlined, unknowns, resting)
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

    def _quantities(self, start: InitialValues) -> dict[str, Quantity]:
        quantities = {}
        for name, entry in self.raw.entries.items():
            if entry.quantity.kind != "species-reference" or name in self.roles.used_references:
                quantities[name] = entry.quantity
        for name, amount in self.implicit.items():
            species = self.raw.entries[name].quantity
            text = f"amount of {species.name or name}"
            quantities[amount] = Quantity(amount, "parameter", name=text, units=species.units, written_constant=True)
        return quantities
