"""What a simulation has to know of an SBML file besides its mathematics, found in one pass over its elements.

A simulator answers questions by selection (``S`` or ``[S]``); which of the two an id *means* in the mathematics of a
file, what changes in it, and the times it mentions is read here, by a streaming parser that keeps no tree, so that
any depth and size is fine. Validity is not checked here: the simulator loads the same file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from sbmlump.errors import InputError, Reason
from sbmlump.simulate.protocol import Form, Reading

__all__ = ["Facts", "read_facts"]

_RELATIONS = frozenset({"lt", "leq", "gt", "geq"})
_DERIVATIVE = "http://en.wikipedia.org/wiki/Derivative"
_TIME = "http://www.sbml.org/sbml/symbols/time"


@dataclass(frozen=True, slots=True)
class Facts:
    """Quantities of an SBML file.

    Attributes
    ----------
    forms : mapping from id to form
        What each id (species, compartment, parameter, reaction, species reference) means in the file's mathematics.
    moving : tuple of str
        Ids, in order of the file, of what may change: species that reactions change, targets of rate rules,
        assignment rules and event assignments. Reactions are not among them.
    times : tuple of float
        Times that the file compares the simulation time with (in triggers and conditions), ascending.
    uses_time : bool
        Whether the simulation time occurs in the mathematics.
    old_rate_of : bool
        Whether a function definition stands for ``rateOf``, as tools wrote it before Level 3 Version 2: with the body
        NaN and an annotation that says what it means.
    operands : int
        Numbers and ids in the mathematics with every assignment rule written out where its target stands (function
        definitions are not), at most 10⁹: what a simulator that compiles models so has to compile.
    """

    forms: Mapping[str, Form]
    moving: tuple[str, ...]
    times: tuple[float, ...]
    uses_time: bool
    old_rate_of: bool = False
    operands: int = 0

    @property
    def reactions(self) -> int:
        """Number of reactions."""
        return sum(form == "flux" for form in self.forms.values())

    @property
    def species(self) -> tuple[str, ...]:
        """Those of ``moving`` that are species."""
        return tuple(name for name in self.moving if self.forms[name] in ("amount", "concentration"))

    def reading(self, name: str) -> Reading | None:
        """How the id ``name`` is read so that it has the value that it has in the file's mathematics."""
        form = self.forms.get(name)
        return None if form is None else Reading(name, form)


@dataclass(slots=True)
class _Apply:
    """An open ``apply`` element: its operator and the operands that are numbers, names or the time."""

    operator: str | None = None
    operands: list[str | float] = field(default_factory=list)
    has_time: bool = False


class _Scan:
    """Handlers of the streaming parser."""

    def __init__(self) -> None:
        self.dimensionless: set[str] = set()
        self.species: dict[str, tuple[str, bool]] = {}
        self.forms: dict[str, Form] = {}
        self.moving: dict[str, None] = {}
        self.values: dict[str, float] = {}
        self.compared: list[str | float] = []
        self.uses_time = False
        self.old_rate_of = False
        self._in_function = False
        self._applies: list[_Apply] = []
        self._text: list[str] | None = None
        self._in_local = 0
        self._aside = 0
        self._rule: str | None = None  # target of the assignment rule that is open
        self._operands: dict[str | None, Counter[str]] = {}  # of each assignment rule, and of all else

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if self._aside or name in _ASIDE:
            self._aside += 1
            if self._in_function and attributes.get("definition") == _DERIVATIVE:
                self.old_rate_of = True
            return
        if name == "functionDefinition":
            self._in_function = True
        if name in ("kineticLaw", "functionDefinition"):
            self._in_local += 1
        element = attributes.get("id") or (attributes.get("name") if name in _LEVEL_1_NAMED else None)
        if name == "compartment" and element:
            self.forms[element] = "value"
            if _number(attributes.get("spatialDimensions")) == 0:
                self.dimensionless.add(element)
        elif name in ("species", "specie") and element:
            amount = _true(attributes.get("hasOnlySubstanceUnits"))
            self.species[element] = (attributes.get("compartment", ""), amount)
            self.forms[element] = "concentration"
            if not _true(attributes.get("boundaryCondition")) and not _true(attributes.get("constant")):
                self.moving[element] = None
        elif name == "parameter" and element and not self._in_local:
            self.forms[element] = "value"
            value = _number(attributes.get("value"))
            if value is not None:
                self.values[element] = value
        elif name == "reaction" and element:
            self.forms[element] = "flux"
        elif name == "speciesReference" and attributes.get("id"):
            self.forms[attributes["id"]] = "value"
        elif name in ("rateRule", "assignmentRule", "eventAssignment") and "variable" in attributes:
            self.moving[attributes["variable"]] = None
            self._rule = attributes["variable"] if name == "assignmentRule" else None
        else:
            self._start_math(name, attributes)

    def _start_math(self, name: str, attributes: dict[str, str]) -> None:
        if name == "apply":
            self._applies.append(_Apply())
        elif name in ("cn", "ci"):
            self._text = []
        elif name == "csymbol" and attributes.get("definitionURL") == _TIME:
            self.uses_time = True
            if self._applies:
                self._applies[-1].has_time = True
        elif self._applies and self._applies[-1].operator is None:
            self._applies[-1].operator = name

    def text(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def end(self, tag: str) -> None:
        if self._aside:
            self._aside -= 1
            return
        name = tag.rpartition(":")[2]
        if name == "functionDefinition":
            self._in_function = False
        if name in ("kineticLaw", "functionDefinition"):
            self._in_local -= 1
        elif name in ("cn", "ci") and self._text is not None:
            written = "".join(self._text).strip()
            self._text = None
            value = _number(written) if name == "cn" else None
            self._operands.setdefault(self._rule, Counter())[written if name == "ci" else ""] += 1
            if self._applies:
                self._applies[-1].operands.append(written if value is None else value)
        elif name == "assignmentRule":
            self._rule = None
        elif name == "apply" and self._applies:
            done = self._applies.pop()
            if done.has_time and done.operator in _RELATIONS:
                self.compared += done.operands

    def facts(self) -> Facts:
        """Everything seen, put together."""
        for name, (compartment, amount) in self.species.items():
            if amount or compartment in self.dimensionless:
                self.forms[name] = "amount"
        # Simulators and definitions mean the simulation time by this name, so a quantity called so cannot be asked for.
        self.forms.pop("time", None)
        times = {self.values.get(item) if isinstance(item, str) else item for item in self.compared}
        return Facts(
            forms=self.forms,
            moving=tuple(name for name in self.moving if name in self.forms),
            times=tuple(sorted(time for time in times if time is not None and 0 < time < float("inf"))),
            uses_time=self.uses_time,
            old_rate_of=self.old_rate_of,
            operands=_written_out(self._operands),
        )


_MOST_OPERANDS = 10**9


def _written_out(operands: Mapping[str | None, Counter[str]]) -> int:
    """Operands with assignment rules written out; a circle of rules, which is an error, counts once."""
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


_ASIDE = frozenset({"annotation", "annotations", "notes"})
"""What is in there is not the model, though some of it is called ``species`` (CellDesigner)."""
_LEVEL_1_NAMED = frozenset({"species", "specie", "compartment", "parameter", "reaction"})


def _true(text: str | None) -> bool:
    return text is not None and text.strip() in ("true", "1")


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None  # "5 <sep/> 3" arrives as two numbers run together: such a time is not used


def read_facts(path: Path) -> Facts:
    """Read the facts of the SBML file ``path``.

    Raises
    ------
    InputError
        If the file cannot be opened or is not well-formed XML.
    """
    scan = _Scan()
    parser = expat.ParserCreate()
    parser.StartElementHandler = scan.start
    parser.EndElementHandler = scan.end
    parser.CharacterDataHandler = scan.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions."
        raise InputError(Reason("unreadable-file", message)) from error
    except expat.ExpatError as error:
        raise InputError(
            Reason(
                "not-xml", f"{path}: not well-formed XML (line {error.lineno}); is it an SBML file?", None, error.lineno
            )
        ) from error
    except _DoctypeError as error:
        message = f"{path}: holds a DOCTYPE, which SBML does not allow; remove it."
        raise InputError(Reason("doctype", message)) from error
    return scan.facts()


class _DoctypeError(Exception):
    """Raised inside the parser to stop it."""


def _refuse_doctype(*_: object) -> None:
    raise _DoctypeError
