"""What elements of the original carried (SBO terms, metaids, notes …), put on those that are written for them.

Whatever is asked for is written; what is left at the end is said, once for each kind of element.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason
from sbmlump.sbml.mathml_out import MATHML
from sbmlump.sbml.write_fragments import extras
from sbmlump.sbml.write_xml import attributes, is_well_formed
from sbmlump.system import Description, Key

__all__ = ["CORE", "DescriptionWriter", "counted", "sbo_term"]

CORE: Final = "http://www.sbml.org/sbml/level3/version2/core"
_SBO: Final = re.compile(r"SBO:[0-9]{7}")
_NUMBER: Final = re.compile(r"<cn\b[^>]*>.*?</cn>", re.DOTALL)
_MOST_NAMED: Final = 5
_PARTS: Final = {
    "id": "ids",
    "name": "names",
    "sbo": "SBO terms",
    "metaid": "metaids",
    "notes": "notes",
    "annotation": "annotations",
    "units": "units of numbers",
}
_KINDS: Final = {
    "sbml": "the sbml element",
    "unitDefinition": "unit definitions",
    "unit": "units in definitions",
    "assignmentRule": "assignment rules",
    "rateRule": "rate rules",
    "algebraicRule": "algebraic rules",
    "initialAssignment": "initial assignments",
    "constraint": "constraints",
    "kineticLaw": "kinetic laws",
    "reactant": "reactants",
    "product": "products",
    "modifier": "modifiers",
    "trigger": "triggers",
    "delay": "delays",
    "priority": "priorities",
    "eventAssignment": "event assignments",
    "list": "lists",
}


def sbo_term(text: str | None) -> str | None:
    """``text`` if it is an SBO term."""
    return text if text is not None and _SBO.fullmatch(text) else None


class DescriptionWriter:
    """Hands out what is said of each element, and knows in the end what was not asked for.

    Parameters
    ----------
    descriptions : mapping of Key to Description
        Of the original.
    ids : collection of str
        Ids of the written model; no described element may have one of them.
    stale : collection of Key
        Elements that are no longer what was described.
    units : mapping of str to str
        Units that can be written.
    numbers : mapping of str to Fraction
        Every ``cn`` element handed out so far, and what it stands for; may grow.
    """

    def __init__(
        self,
        descriptions: Mapping[Key, Description],
        ids: Collection[str],
        stale: Collection[Key],
        units: Mapping[str, str],
        numbers: Mapping[str, Fraction],
    ) -> None:
        self._descriptions = descriptions
        self._ids = frozenset(ids)
        self._stale = frozenset(stale)
        self._units = units
        self._numbers = numbers
        self._used: set[Key] = set()
        self._lost: list[tuple[Key, str]] = []

    def used(self, key: Key) -> None:
        """Note that what is said of ``key`` is written elsewhere."""
        self._used.add(key)

    def name(self, key: Key) -> str | None:
        """The name of the element."""
        found = self._found(key)
        return None if found is None else found.name

    def head(self, *key: str, named: bool = True) -> str:
        """Attributes of the element; without id and name where it has those of its own (``named`` is false)."""
        found = self._found(key)
        return "" if found is None else self.head_of(found, key, named=named)

    def head_of(self, found: Description, key: Key, *, named: bool = True) -> str:
        """Attributes that say ``found`` of the element ``key``."""
        own = found.id
        if own in self._ids and named:
            self._lost.append((key, "id"))
            own = None
        sbo = sbo_term(found.sbo)
        if sbo is None and found.sbo is not None:
            self._lost.append((key, "sbo"))
        return attributes(
            metaid=found.metaid, sboTerm=sbo, id=own if named else None, name=found.name if named else None
        )

    def content(self, *key: str) -> str:
        """Notes and annotation of the element."""
        found = self._found(key)
        return "" if found is None else self.content_of(found, key)

    def content_of(self, found: Description, key: Key) -> str:
        """Notes and annotation in ``found``, as far as they can stand by themselves."""
        kept: dict[str, str | None] = {}
        for part in ("notes", "annotation"):
            fragment = getattr(found, part)
            if fragment is not None and not is_well_formed(fragment):
                self._lost.append((key, part))
                fragment = None
            kept[part] = fragment
        return extras(None, kept["notes"], kept["annotation"])

    def math(self, text: str, *key: str) -> str:
        """A ``math`` element with the units of its numbers, where they are the numbers that the original had there."""
        found = self._found(key)
        return text if found is None else self.math_of(text, found, key)

    def math_of(self, text: str, found: Description, key: Key) -> str:
        """See :meth:`math`."""
        if not found.units:
            return text
        units: dict[Fraction, set[str | None]] = {}
        for number, unit in found.units:
            units.setdefault(number, set()).add(None if unit is None else self._units.get(unit))
        written = Counter(self._numbers.get(one) for one in _NUMBER.findall(text))
        # a number that arithmetic has made has another unit, and one of two equal ones cannot be told from the other
        if written != Counter(number for number, _ in found.units) or any(len(some) > 1 for some in units.values()):
            self._lost.append((key, "units"))
            return text
        if any(unit is not None and self._units.get(unit) is None for _, unit in found.units):
            self._lost.append((key, "units"))

        def with_unit(match: re.Match[str]) -> str:
            (unit,) = units[self._numbers[match[0]]]
            return match[0] if unit is None else f"<cn{attributes(**{'sbml:units': unit})}{match[0][3:]}"

        text = _NUMBER.sub(with_unit, text)
        return text.replace(f'<math xmlns="{MATHML}"', f'<math xmlns="{MATHML}" xmlns:sbml="{CORE}"', 1)

    def section(self, name: str, items: Iterable[str], *place: str) -> str:
        """A ``listOf…`` element, or nothing if it would be empty."""
        body = "".join(items)
        if not body:
            return ""
        return f"<{name}{self.head(name, *place)}>\n{self.content(name, *place)}{body}</{name}>\n"

    # -- what is lost --------------------------------------------------------------------------------

    def lost(self) -> tuple[Reason, ...]:
        """One reason for each kind of element of which something is not written."""
        parts: dict[str, dict[str, None]] = {}
        places: dict[str, dict[Key, None]] = {}
        lost = list(self._lost)
        for key, found in self._descriptions.items():
            if key not in self._used and key[0] != "functionDefinition":
                lost += [(key, part) for part in _PARTS if getattr(found, part)]
        for key, part in lost:
            kind = "list" if key[0].startswith("listOf") else key[0]
            parts.setdefault(kind, {})[part] = None
            places.setdefault(kind, {})[key] = None
        reasons = [_reason(kind, list(parts[kind]), list(places[kind])) for kind in parts]
        return (*reasons, *self._functions())

    def _functions(self) -> Iterator[Reason]:
        """Function definitions that are gone, and those that nothing calls any more."""
        keys = [key for key in self._descriptions if key[0] == "functionDefinition"]
        for what, names in (
            ("function definitions", [key[1] for key in keys if key not in self._used]),
            ("calls of function definitions", [key[1] for key in keys if key in self._used]),
        ):
            if names:
                text = f"not kept: {what} ({counted(names)}); their formulas stand where they were called"
                yield Reason("not-kept", text)

    def _found(self, key: Key) -> Description | None:
        found = self._descriptions.get(key)
        if found is None or key in self._stale:
            return None
        self._used.add(key)
        return found


def _reason(kind: str, parts: list[str], places: list[Key]) -> Reason:
    what = [text for part, text in _PARTS.items() if part in parts]
    listed = what[0] if len(what) == 1 else ", ".join(what[:-1]) + " and " + what[-1]
    if kind == "sbml":
        return Reason("not-kept", f"not kept: {listed} of {_KINDS[kind]}")
    return Reason("not-kept", f"not kept: {listed} of {_KINDS[kind]} ({counted([_label(key) for key in places])})")


def counted(names: list[str]) -> str:
    """``12: a, b, c, d, e, …``."""
    return f"{len(names)}: " + ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def _label(key: Key) -> str:
    kind, *rest = key
    if not rest:
        return kind
    if kind in ("reactant", "product", "modifier"):
        return f"{rest[1]} in {rest[0]}"
    if kind == "eventAssignment":
        return f"{rest[1]} in {rest[0]}"
    return f"{kind} of {rest[0]}" if kind.startswith("listOf") else rest[0]
