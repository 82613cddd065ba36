"""What a simulation has to know of an SBML file besides its mathematics.

A simulator answers questions by selection (``S`` or ``[S]``); which of the two an id *means* in the mathematics of a
file and what changes in it is read here, off the document that the reader has opened and put together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.switches import TimeSwitches, time_switches
from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import OdeSystem
from sbmlump.sbml.read.document import Opened, open_sbml, parse_document, text_of
from sbmlump.sbml.read.elements import is_old_rate_of
from sbmlump.sbml.read.load import read_opened
from sbmlump.sbml.write.document import write_system
from sbmlump.simulators.protocol import Form, QuantitySelection

__all__ = [
    "ModelIndex",
    "facts_of",
    "SimulatedModel",
    "simulated_file",
    "simulated_system",
    "simulated_text",
    "NO_TRIGGERS",
    "Triggers",
    "triggers_of",
    "NO_CONDITIONS",
    "Conditions",
    "conditions_of",
]


Array = NDArray[np.float64]
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


# -- The model as a simulator reads it: one place that turns a file into text and wha ------------

# The model as a simulator reads it: one place that turns a file into text and what has to be known of it.
#
# A simulator is given text, never a path: bytes are decoded once, by the reader that every command uses, with its
# guards (DOCTYPE, depth, encodings, files of other folders, hierarchies that explode). Submodels are put together by
# libSBML as the reader does it. What libRoadRunner and COPASI cannot take as it stands in the file (algebraic rules,
# ``rateOf`` as an annotated function definition) they get as sbmlump's translation, with a remark that says so.


#: Reasons of the reader for which a file is not given to a simulator either: it would read outside the folder, or grow.
_NOT_SIMULATED: Final = frozenset({"comp-flattening", "comp-external", "too-large", "too-deep"})


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model as simulators are given it.

    Attributes
    ----------
    path : Path
        The file it came from, for messages.
    text : str
        SBML without submodels.
    facts : Facts
        What ids mean in it.
    switches : TimeSwitches
        Where it changes by itself as time passes; nothing is known of a model that the reader refuses.
    remarks : tuple of str
        In what the text differs from the file.
    system : OdeSystem or None
        The equations, where the reader takes the model.
    """

    path: Path
    text: str
    facts: ModelIndex
    switches: TimeSwitches
    remarks: tuple[str, ...] = ()
    system: OdeSystem | None = None

    @property
    def bare(self) -> SimulatedModel:
        """The same without the equations, which a simulator in a child process does not need and need not be sent."""
        return replace(self, system=None)


def simulated_file(path: str | Path, system: OdeSystem | None = None) -> SimulatedModel:
    """The SBML file at ``path``.

    Parameters
    ----------
    path : path
    system : OdeSystem, optional
        What the reader made of that file, where it is known already.

    Raises
    ------
    InputError
        If it is no readable SBML file.
    UnsupportedModelError
        If its submodels cannot be put together, or lie where nothing is read.
    """
    path = Path(path)
    opened = open_sbml(path)
    layered = opened.document.getModel().isPackageEnabled("comp")
    reasons: tuple[Reason, ...] = ()
    if system is None or layered:
        # reading puts submodels together in the document itself
        result = read_opened(opened)
        system, reasons = result.system, result.reasons
    refused = [reason for reason in reasons if reason.code in _NOT_SIMULATED]
    if refused:
        raise UnsupportedModelError(refused)
    facts = facts_of(opened.document, system)
    if system is not None and (facts.old_rate_of or facts.algebraic):
        why = "its algebraic rules are solved" if facts.algebraic else "its function rateOf means a derivative"
        remark = f"{path.name} is simulated as 'sbmlump convert' writes it: {why}."
        return replace(simulated_system(system, path), remarks=(remark,))
    if layered:
        text = text_of(opened.document)
    else:
        text = opened.data.decode()
    return SimulatedModel(path, text, facts, time_switches(system), (), system)


def simulated_system(system: OdeSystem, path: str | Path) -> SimulatedModel:
    """A system, as the SBML that sbmlump writes of it; ``path`` is the file it came from.

    Raises
    ------
    SbmlumpError
        As :func:`sbmlump.sbml.write.document.write_system`.
    """
    return simulated_text(write_system(system), path, system)


def simulated_text(data: bytes, path: str | Path, system: OdeSystem | None = None) -> SimulatedModel:
    """SBML that sbmlump has written itself (UTF-8, no submodels); ``path`` is where it lies or what it is called."""
    path = Path(path)
    document = parse_document(data, file=path.name)
    if system is None:
        digest = hashlib.sha256(data).hexdigest()
        system = read_opened(Opened(document, path.name, digest, None, data)).system
    return SimulatedModel(path, data.decode(), facts_of(document, system), time_switches(system), (), system)


# -- Events of a model as far as a simulation shows them: which were triggered, and w ------------

# Events of a model as far as a simulation shows them: which were triggered, and which may still come.


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


# -- Branches that depend on states, as far as a simulation shows them ---------------------------

# When a condition on time alone changes is known beforehand (``switches``). When one on states does is known
# only from a
# trajectory, and an integrator steps over a branch that holds for less than one of its steps. Of such a branch
# one thing
# does show: two comparisons of one piecewise expression have changed from one point of the grid to the next.


_MOST_COMPARISONS: Final = 1000
"""That are looked at: a model with more has tables of values, whose branches lie one grid point apart anyway."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Comparisons in the conditions of piecewise expressions.

    Attributes
    ----------
    graph : Graph
        Holds them, and nothing else.
    nodes : tuple of Node
        The comparisons.
    groups : tuple of tuple of int
        For each piecewise expression with several comparisons: their places in ``nodes``.
    needs : tuple of str
        States that stand in them.
    """

    graph: Graph
    nodes: tuple[Node, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    needs: tuple[str, ...] = ()

    def passed(self, times: Array, columns: Mapping[str, Array]) -> tuple[float, float] | None:
        """The first two neighbouring times between which a branch may have come and gone; None where there are none."""
        if not self.groups:
            return None
        table = np.empty((len(times), len(self.needs)))
        for i, name in enumerate(self.needs):
            table[:, i] = columns[name]
        truths = Evaluator(self.graph, self.nodes, self.needs, {}).values(times, table) > 0.5
        changed = truths[1:] != truths[:-1]
        several = np.any([changed[:, list(group)].sum(axis=1) > 1 for group in self.groups], axis=0)
        if not several.any():
            return None
        place = int(np.argmax(several))
        return float(times[place]), float(times[place + 1])


NO_CONDITIONS: Final = Conditions(Graph())


def conditions_of(system: OdeSystem | None) -> Conditions:
    """Conditions on states in the right-hand sides and assigned quantities of a system, with its constants' values."""
    if system is None:
        return NO_CONDITIONS
    source = system.graph
    roots = source.substitute([*system.rhs, *(one.value for one in system.assigned)], system.specialised())
    groups: list[list[Node]] = []
    for node in source.reachable(roots):
        if source.op(node) is Op.PIECEWISE:
            compared = _comparisons(source, source.args(node)[1::2])
            # those on time alone are met exactly by every run
            if len(compared) > 1 and source.symbols(compared):
                groups.append(compared)
    wanted = list(dict.fromkeys(node for group in groups for node in group))
    if not wanted or len(wanted) > _MOST_COMPARISONS:
        return NO_CONDITIONS
    graph = Graph()
    nodes = tuple(graph.transplant(source, wanted, {}))
    place = {node: i for i, node in enumerate(wanted)}
    needs = tuple(sorted(graph.symbols(nodes)))
    return Conditions(graph, nodes, tuple(tuple(place[node] for node in group) for group in groups), needs)


def _comparisons(graph: Graph, conditions: tuple[Node, ...]) -> list[Node]:
    """The comparisons that logical operators put together in ``conditions``."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    waiting = list(conditions)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if graph.op(node) is Op.CALL and graph.payload(node) in RELATIONS:
            found[node] = None
        elif graph.op(node) is Op.CALL and graph.payload(node) in LOGIC:
            waiting += graph.args(node)
    return list(found)
