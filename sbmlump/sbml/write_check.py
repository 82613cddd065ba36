"""Read what was written, before anybody else does: with libSBML, and as a system, compared with the one written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

import libsbml

from sbmlump.equality import refuse_differences
from sbmlump.errors import InputError, Reason, SbmlumpError, UnsupportedModelError
from sbmlump.expr.generic_values import field_values
from sbmlump.expr.graph import Node
from sbmlump.sbml.document import Opened, parse_document
from sbmlump.sbml.mathml_out import MATHML
from sbmlump.sbml.read_described import silent_elements
from sbmlump.sbml.reader import read_opened
from sbmlump.system import OdeSystem

__all__ = ["check_written"]

_Node: Final = libsbml.ASTNode  # see mathml.py: a node may come as the class of another library
_NAME: Final = "what was written"
_MOST_REACTIONS_CHECKED: Final = 5_000
_MOST_BYTES_CHECKED: Final = 3_000_000
"""libSBML's check takes about 2 s for so much, and 23 s for 7 MB."""
_MOST_ERRORS_TOLD: Final = 10


def check_written(data: bytes, system: OdeSystem, numbers: Mapping[str, Fraction], values: Mapping[str, float]) -> None:
    """Parse ``data`` and compare: every number and value in it, and the system that a reader makes of it.

    Parameters
    ----------
    data : bytes
        The finished document.
    system : OdeSystem
        What it is to say.
    numbers : mapping of str to Fraction
        Every ``cn`` element in it and what it stands for.
    values : mapping of str to float
        Size, value, initial amount or concentration of every element that has it as an attribute.

    Raises
    ------
    SbmlumpError
        With code ``invalid-output``: a fault in sbmlump, or content of the original that Level 3 forbids;
        ``written-differs``: it is read back as another model.
    """
    try:
        document = parse_document(data, file=_NAME)
    except InputError as error:
        _refuse([reason.message for reason in error.reasons])
        raise  # not reached: there is at least one reason
    model = document.getModel()
    if model is None:
        _refuse(["libSBML finds no model in it"])
    _refuse(_wrong_numbers(numbers))
    _refuse(_wrong_values(model, values))
    if model.getNumReactions() <= _MOST_REACTIONS_CHECKED and len(data) <= _MOST_BYTES_CHECKED:
        for category in (libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, libsbml.LIBSBML_CAT_MODELING_PRACTICE):
            document.setConsistencyChecks(category, False)
        document.checkConsistency()
        _refuse(_errors(document))
    opened = Opened(document, _NAME, sha256(data).hexdigest(), None, data, silent_elements(data))
    result = read_opened(opened, frozenset(c.id for c in system.constants if c.value is None))
    if result.system is None:
        _refuse([reason.message for reason in result.reasons])
    else:
        refuse_differences(system, result.system, "SBML")
        _refuse_other_participants(system, result.system)


def _refuse_other_participants(written: OdeSystem, read: OdeSystem) -> None:
    """Refuse reactions with other reactants or products, also where no rate shows it (boundary species)."""
    known = {constant.id for constant in written.constants}
    start = read.at_start()
    new = {read.graph.symbol(c.id): start[c.id] for c in read.constants if c.id not in known and c.id in start}
    expected = _participants(written, {})
    found = _participants(read, new)
    wrong = [name for name, parts in expected.items() if found.get(name) != parts]
    if wrong:
        text = "not written: as SBML, the reactants and products of {} are read as others"
        raise UnsupportedModelError(
            [Reason("written-differs", text.format(name), name) for name in wrong[:_MOST_ERRORS_TOLD]]
        )


def _participants(system: OdeSystem, values: Mapping[Node, Node]) -> dict[str, Counter[tuple[int, str, int]]]:
    """For each reaction how often it has (side, species, stoichiometry as an element of a prime field)."""
    graph = system.graph
    parts = [
        (reaction.id, side, one)
        for reaction in system.reactions
        for side, several in enumerate((reaction.reactants, reaction.products))
        for one in several
    ]
    distinct = list(dict.fromkeys(one.stoichiometry for _, _, one in parts))
    nodes = dict(zip(distinct, graph.substitute(distinct, values), strict=True))
    numbers = field_values(graph, nodes.values())
    table: dict[str, Counter[tuple[int, str, int]]] = {reaction.id: Counter() for reaction in system.reactions}
    for name, side, one in parts:
        table[name][side, one.species, numbers[nodes[one.stoichiometry]]] += 1
    return table


def _errors(document: Any) -> list[str]:
    errors = (document.getError(i) for i in range(document.getNumErrors()))
    return [
        f"line {error.getLine()}: {' '.join(error.getMessage().split())} ({error.getErrorId()})"
        for error in errors
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR
    ]


def _refuse(problems: list[str]) -> None:
    if not problems:
        return
    more = f" (and {len(problems) - _MOST_ERRORS_TOLD} more)" if len(problems) > _MOST_ERRORS_TOLD else ""
    message = "the SBML made for this model is not valid, so nothing is written; please report this: "
    raise SbmlumpError(Reason("invalid-output", message + "; ".join(problems[:_MOST_ERRORS_TOLD]) + more))


def _wrong_numbers(numbers: Mapping[str, Fraction]) -> list[str]:
    """All numbers in one long list, read back one by one (a sum would be read as nested pairs)."""
    if not numbers:
        return []
    text = f'<math xmlns="{MATHML}"><apply><max/>{"".join(numbers)}</apply></math>'
    tree = libsbml.readMathMLFromString(text)
    if tree is None or _Node.getNumChildren(tree) != len(numbers):
        return ["libSBML does not read its numbers"]
    wrong = []
    for index, (written, value) in enumerate(numbers.items()):
        child = _Node.getChild(tree, index)
        if _number_of(child) != value or _double_of(child) != float(value):
            wrong.append(f"{written} is not read as {value}")
    return wrong


def _number_of(node: Any) -> Fraction | None:
    """The rational that a number node denotes by its decimal text."""
    kind = _Node.getType(node)
    if kind == libsbml.AST_INTEGER:
        return Fraction(_Node.getInteger(node))
    if kind == libsbml.AST_RATIONAL:
        return Fraction(_Node.getNumerator(node), _Node.getDenominator(node))
    if kind == libsbml.AST_REAL_E:
        return Fraction(repr(_Node.getMantissa(node))) * Fraction(f"1e{_Node.getExponent(node)}")
    if kind == libsbml.AST_REAL:
        return Fraction(repr(_Node.getReal(node)))
    return None


def _double_of(node: Any) -> float:
    return float(_Node.getInteger(node)) if _Node.getType(node) == libsbml.AST_INTEGER else float(_Node.getReal(node))


def _wrong_values(model: Any, values: Mapping[str, float]) -> list[str]:
    found: dict[str, float] = {}
    for index in range(model.getNumCompartments()):
        compartment = model.getCompartment(index)
        found[compartment.getIdAttribute()] = compartment.getSize()
    for index in range(model.getNumSpecies()):
        species = model.getSpecies(index)
        concentration = species.isSetInitialConcentration()
        value = species.getInitialConcentration() if concentration else species.getInitialAmount()
        found[species.getIdAttribute()] = value
    for index in range(model.getNumParameters()):
        parameter = model.getParameter(index)
        found[parameter.getIdAttribute()] = parameter.getValue()
    wrong = []
    for name, value in values.items():
        read = found.get(name)
        if read != value and not (read is not None and read != read and value != value):
            wrong.append(f"{name} is read as {read!r} instead of {value!r}")
    return wrong
