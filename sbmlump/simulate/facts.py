"""What a simulation has to know of an SBML file besides its mathematics.

A simulator answers questions by selection (``S`` or ``[S]``); which of the two an id *means* in the mathematics of a
file and what changes in it is read here, off the document that the reader has opened and put together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sbmlump.sbml.read_elements import is_old_rate_of
from sbmlump.simulate.protocol import Form, QuantitySelection
from sbmlump.system import OdeSystem

__all__ = ["ModelIndex", "facts_of"]

_MOST_OPERANDS: Final = 10**9  # beyond every bound that anything is compared with


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """Quantities of an SBML file.

    Attributes
    ----------
    forms : mapping from id to form
        What each id (species, compartment, parameter, reaction, species reference) means in the file's mathematics.
    moving : tuple of str
        Ids, in order of the file, of what may change: species that reactions change, targets of rate rules,
        assignment rules and event assignments. Reactions are not among them.
    old_rate_of : bool
        Whether a function definition stands for ``rateOf``, as tools wrote it before Level 3 Version 2: with the body
        NaN and an annotation that says what it means.
    algebraic : bool
        Whether there are algebraic rules.
    events : bool
        Whether there are events.
    undiluted : tuple of str
        Species that a rate rule changes as concentrations, in compartments whose size changes: by the specification the
        rule is all that changes them. libRoadRunner (where the size has an assignment rule) and COPASI (where it has
        any) dilute them besides.
    operands : int
        Numbers and ids in the mathematics with every assignment rule written out where its target stands and every
        function definition where it is called, at most 10⁹: what a simulator that compiles models so has to compile.
    """

    forms: Mapping[str, Form]
    moving: tuple[str, ...]
    old_rate_of: bool = False
    algebraic: bool = False
    events: bool = False
    undiluted: tuple[str, ...] = ()
    operands: int = 0

    @property
    def reactions(self) -> int:
        """Number of reactions."""
        return sum(form == "flux" for form in self.forms.values())

    @property
    def species(self) -> tuple[str, ...]:
        """Those of ``moving`` that are species."""
        return tuple(name for name in self.moving if self.forms[name] in ("amount", "concentration"))

    def reading(self, name: str) -> QuantitySelection | None:
        """How the id ``name`` is read so that it has the value that it has in the file's mathematics."""
        form = self.forms.get(name)
        return None if form is None else QuantitySelection(name, form)


def facts_of(document: Any, system: OdeSystem | None) -> ModelIndex:
    """The facts of a libSBML document without submodels, and of the system that was read from it.

    Parameters
    ----------
    document : libsbml.SBMLDocument
    system : OdeSystem or None
        ``None`` where the reader does not take the model.
    """
    model = document.getModel()
    level = document.getLevel()
    forms: dict[str, Form] = {}
    moving: dict[str, None] = {}
    dimensionless = set()
    for one in _each(model.getNumCompartments(), model.getCompartment):
        forms[one.getId()] = "value"
        # Levels 1 and 2 say that a species there means an amount; Level 3 has no such rule
        if level < 3 and one.getSpatialDimensionsAsDouble() == 0:
            dimensionless.add(one.getId())
    for one in _each(model.getNumSpecies(), model.getSpecies):
        name = one.getId()
        known = None if system is None else system.quantities.get(name)
        amount = (
            one.getHasOnlySubstanceUnits() or one.getCompartment() in dimensionless if known is None else known.amount
        )
        forms[name] = "amount" if amount else "concentration"
        if not one.getBoundaryCondition() and not one.getConstant():
            moving[name] = None
    for one in _each(model.getNumParameters(), model.getParameter):
        forms[one.getId()] = "value"
    for one in _each(model.getNumReactions(), model.getReaction):
        forms[one.getId()] = "flux"
        sides = ((one.getNumReactants(), one.getReactant), (one.getNumProducts(), one.getProduct))
        for reference in (reference for count, get in sides for reference in _each(count, get)):
            if reference.getId():
                forms[reference.getId()] = "value"
    for one in _each(model.getNumRules(), model.getRule):
        if one.isAssignment() or one.isRate():
            moving[one.getVariable()] = None
    for event in _each(model.getNumEvents(), model.getEvent):
        for one in _each(event.getNumEventAssignments(), event.getEventAssignment):
            moving[one.getVariable()] = None
    ruled = {one.getVariable() for one in _each(model.getNumRules(), model.getRule) if one.isRate()}
    homes = {one.getId(): one.getCompartment() for one in _each(model.getNumSpecies(), model.getSpecies)}
    functions = _each(model.getNumFunctionDefinitions(), model.getFunctionDefinition)
    return ModelIndex(
        forms=forms,
        moving=tuple(name for name in moving if name in forms),
        old_rate_of=any(is_old_rate_of(function) for function in functions),
        algebraic=any(one.isAlgebraic() for one in _each(model.getNumRules(), model.getRule)),
        events=model.getNumEvents() > 0,
        undiluted=tuple(
            name for name in homes if forms[name] == "concentration" and name in ruled and homes[name] in moving
        ),
        operands=_written_out(model),
    )


def _each(count: int, get: Any) -> list[Any]:
    return [get(i) for i in range(count)]


def _written_out(model: Any) -> int:
    """Operands of all formulas with assignment rules and function definitions written out; a circle counts once."""
    operands: dict[str | None, Counter[str]] = {None: Counter()}
    for function in _each(model.getNumFunctionDefinitions(), model.getFunctionDefinition):
        _count(function.getBody(), operands.setdefault(function.getId(), Counter()))
    for rule in _each(model.getNumRules(), model.getRule):
        target = rule.getVariable() if rule.isAssignment() else None
        _count(rule.getMath(), operands.setdefault(target, Counter()))
    other = operands[None]
    for reaction in _each(model.getNumReactions(), model.getReaction):
        law = reaction.getKineticLaw()
        _count(None if law is None else law.getMath(), other)
    for event in _each(model.getNumEvents(), model.getEvent):
        for one in (event.getTrigger(), event.getDelay(), event.getPriority()):
            _count(None if one is None else one.getMath(), other)
        for one in _each(event.getNumEventAssignments(), event.getEventAssignment):
            _count(one.getMath(), other)
    for one in _each(model.getNumInitialAssignments(), model.getInitialAssignment):
        _count(one.getMath(), other)
    size: dict[str | None, int] = {}
    stack: list[tuple[str | None, bool]] = [(target, False) for target in operands]
    opened: set[str | None] = set()
    while stack:
        target, ready = stack.pop()
        if ready:
            total = sum(count * max(size.get(name, 1), 1) for name, count in operands[target].items())
            size[target] = min(total, _MOST_OPERANDS)
        elif target not in opened:
            opened.add(target)
            stack.append((target, True))
            stack.extend((name, False) for name in operands[target] if name in operands)
    return min(sum(size.values()), _MOST_OPERANDS)


def _count(math: Any, into: Counter[str]) -> None:
    """Add the names of a formula, and its numbers under the empty name."""
    stack = [] if math is None else [math]
    while stack:
        node = stack.pop()
        count = node.getNumChildren()
        if node.isUserFunction():
            into[node.getName()] += 1
        if count:
            stack.extend(node.getChild(i) for i in range(count))
        else:
            into[node.getName() or ""] += 1
