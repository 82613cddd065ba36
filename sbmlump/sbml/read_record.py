"""What a file says, as plain records: no libSBML objects, no interpretation beyond defaults of the level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from sbmlump.errors import Reason
from sbmlump.sbml.mathml import Function, Program
from sbmlump.system import Description, Origin, Quantity

__all__ = [
    "RawQuantity",
    "KineticLaw",
    "Problems",
    "RawConstraint",
    "RawEvent",
    "RawModel",
    "RawParticipant",
    "RawReaction",
    "RawRule",
]


class Problems:
    """Everything that stops a model from being read, and remarks, collected on the way; the same is said once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[str, str | None, str], Reason] = {}
        self._remarks: dict[tuple[str, str | None], Reason] = {}

    def add(self, code: str, message: str, element: str | None = None, line: int | None = None) -> None:
        """Record one reason; ``message`` is a sentence about the element, file and line are put in front."""
        place = f"{self.file}, line {line}: " if line else f"{self.file}: "
        self._found.setdefault((code, element, message), Reason(code, place + message, element, line or None))

    def remark(self, code: str, message: str, element: str | None = None) -> None:
        """Record something to know that stops nothing."""
        self._remarks.setdefault((code, element), Reason(code, f"{self.file}: {message}", element))

    def remarks(self) -> tuple[Reason, ...]:
        """All remarks, in order of discovery."""
        return tuple(self._remarks.values())

    def __bool__(self) -> bool:
        return bool(self._found)

    def reasons(self) -> tuple[Reason, ...]:
        """All of them, in order of discovery."""
        return tuple(self._found.values())


@dataclass(frozen=True, slots=True)
class RawQuantity:
    """A compartment, species, parameter, local parameter or species reference with the values of its attributes.

    ``value`` is the size, the parameter's value, or the stoichiometry; ``amount`` and ``concentration`` are a
    species' own. ``None`` where the file gives none.
    """

    quantity: Quantity
    line: int
    value: float | Fraction | None = None
    amount: float | None = None
    concentration: float | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.quantity.id


@dataclass(frozen=True, slots=True)
class RawRule:
    """A rule or an initial assignment: its target (empty for an algebraic rule) and its mathematics."""

    target: str
    program: Program
    line: int


@dataclass(frozen=True, slots=True)
class RawParticipant:
    """A reactant or product; ``program`` is a Level 2 ``stoichiometryMath``, ``line`` 0 where no message needs it."""

    species: str
    id: str | None
    stoichiometry: float | Fraction | None
    program: Program | None
    line: int


@dataclass(frozen=True, slots=True)
class KineticLaw:
    """A kinetic law with the new ids of its local parameters."""

    program: Program
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawReaction:
    """A reaction; ``details`` holds the descriptive fields of :class:`~sbmlump.system.Reaction`."""

    id: str
    line: int
    law: KineticLaw | None
    reactants: tuple[RawParticipant, ...]
    products: tuple[RawParticipant, ...]
    modifiers: tuple[str, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event; ``details`` holds the descriptive and boolean fields of :class:`~sbmlump.system.Event`."""

    label: str
    line: int
    trigger: Program | None
    delay: Program | None
    priority: Program | None
    assignments: tuple[RawRule, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawConstraint:
    """A constraint with its message as text."""

    program: Program
    message: str | None
    line: int
    description: Description


@dataclass(slots=True)
class RawModel:
    """All records of one model, in the order of the file; ``ids`` are all that are taken, of whatever kind."""

    id: str
    name: str | None
    origin: Origin
    entries: dict[str, RawQuantity] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    assignments: dict[str, RawRule] = field(default_factory=dict)
    rates: dict[str, RawRule] = field(default_factory=dict)
    algebraic: list[RawRule] = field(default_factory=list)
    initial: dict[str, RawRule] = field(default_factory=dict)
    reactions: list[RawReaction] = field(default_factory=list)
    events: list[RawEvent] = field(default_factory=list)
    constraints: list[RawConstraint] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    flux_balance: bool = False

    @property
    def conversion_factor(self) -> str | None:
        """The model's own conversion factor."""
        return self.origin.conversion_factor
