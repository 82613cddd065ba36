"""Compartments, species, parameters and units as XML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sbmlump.sbml.write_descriptions import DescriptionWriter, sbo_term
from sbmlump.sbml.write_fragments import extras
from sbmlump.sbml.write_packages import PackageWriter
from sbmlump.sbml.write_roles import Role
from sbmlump.sbml.write_start import WrittenInitialValue
from sbmlump.sbml.write_xml import attributes
from sbmlump.system import Origin, UnitDefinition

__all__ = ["BASE_UNITS", "ElementWriter", "element", "known_units", "section", "unit_definitions"]

_BASE: Final = (
    "ampere avogadro becquerel candela coulomb dimensionless farad gram gray henry hertz item joule katal kelvin "
    "kilogram litre lumen lux metre mole newton ohm pascal radian second siemens sievert steradian tesla volt watt "
    "weber"
)
BASE_UNITS: Final = frozenset(_BASE.split())
"""Units that Level 3 knows without a definition."""

_SPELLINGS: Final = {"liter": "litre", "meter": "metre"}


def section(name: str, items: Iterable[str]) -> str:
    """A ``listOf…`` element, or nothing if it would be empty."""
    body = "".join(items)
    return f"<{name}>\n{body}</{name}>\n" if body else ""


def element(tag: str, head: str, content: str) -> str:
    """An element with ready-made attributes and content, on lines of its own."""
    return f"<{tag}{head}>\n{content}</{tag}>\n" if content else f"<{tag}{head}/>\n"


def known_units(origin: Origin) -> dict[str, str]:
    """Ids of units that can be written, each with the spelling of Level 3."""
    table = {kind: kind for kind in BASE_UNITS} | _SPELLINGS
    for definition in origin.unit_definitions:
        if all(_SPELLINGS.get(unit.kind, unit.kind) in BASE_UNITS for unit in definition.units):
            table[definition.id] = definition.id
        else:  # a unit that Level 3 cannot say (Celsius) must not be taken for another one
            table.pop(definition.id, None)
    return table


def unit_definitions(
    definitions: Iterable[UnitDefinition], known: Mapping[str, str], described: DescriptionWriter
) -> Iterator[str]:
    """Unit definitions that Level 3 can say."""
    for definition in definitions:
        name = definition.id
        if name not in known or name in BASE_UNITS:
            continue
        units = (
            element(
                "unit",
                described.head("unit", name, str(position))
                + attributes(kind=_SPELLINGS.get(unit.kind, unit.kind), exponent=_number(unit.exponent))
                + attributes(scale=str(unit.scale), multiplier=_number(unit.multiplier)),
                described.content("unit", name, str(position)),
            )
            for position, unit in enumerate(definition.units)
        )
        yield element(
            "unitDefinition",
            described.head("unitDefinition", name, named=False) + attributes(id=name, name=definition.name),
            described.content("unitDefinition", name) + described.section("listOfUnits", units, name),
        )


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


class ElementWriter:
    """Writes compartments, species and parameters, and keeps the values it wrote.

    Parameters
    ----------
    roles : mapping of str to Role
    start : mapping of str to Start
    units : mapping of str to str
        Units that can be written.
    packages : PackageWriter
    """

    def __init__(
        self,
        roles: Mapping[str, Role],
        start: Mapping[str, WrittenInitialValue],
        units: Mapping[str, str],
        packages: PackageWriter,
    ) -> None:
        self._packages = packages
        self._roles = roles
        self._start = start
        self._units = units
        self.values: dict[str, float] = {}

    def compartments(self) -> Iterator[str]:
        """All compartments."""
        for name, role in self._of_kind("compartment"):
            quantity = role.quantity
            dimensions = quantity.spatial_dimensions
            yield self._element(
                "compartment",
                role,
                attributes(spatialDimensions=None if dimensions is None else _number(dimensions))
                + self._value(name)
                + attributes(units=self._unit(quantity.units), constant=_truth(not role.varies)),
            )

    def species(self) -> Iterator[str]:
        """All species."""
        for name, role in self._of_kind("species"):
            quantity = role.quantity
            # a resting species in a compartment that varies: its concentration follows, it does not vary by itself
            constant = quantity.written_constant if role.what == "implicit" else not role.varies
            yield self._element(
                "species",
                role,
                attributes(compartment=quantity.compartment)
                + self._value(name)
                + attributes(
                    substanceUnits=self._unit(quantity.units),
                    hasOnlySubstanceUnits=_truth(quantity.amount),
                    boundaryCondition=_truth(role.boundary),
                    constant=_truth(constant),
                    conversionFactor=quantity.conversion_factor,
                )
                + self._packages.attributes("species", name),
            )

    def parameters(self) -> Iterator[str]:
        """All parameters."""
        for name, role in self._of_kind("parameter"):
            units = attributes(units=self._unit(role.quantity.units), constant=_truth(not role.varies))
            yield self._element("parameter", role, self._value(name) + units)

    def stoichiometry(self, name: str) -> str:
        """Attributes of the species reference ``name``, as far as they say its stoichiometry."""
        start, role = self._start.get(name), self._roles[name]
        text = start.text if start is not None else None
        return attributes(stoichiometry=text, constant=_truth(not role.varies))

    def _of_kind(self, kind: str) -> Iterator[tuple[str, Role]]:
        return ((name, role) for name, role in self._roles.items() if role.quantity.kind == kind)

    def _element(self, tag: str, role: Role, head: str) -> str:
        quantity = role.quantity
        start = attributes(metaid=quantity.metaid, sboTerm=sbo_term(quantity.sbo), id=quantity.id, name=quantity.name)
        return element(tag, start + head, extras(quantity.id, quantity.notes, quantity.annotation))

    def _value(self, name: str) -> str:
        start = self._start.get(name)
        if start is None or start.text is None:
            return ""
        self.values[name] = float(start.text)
        return f' {start.attribute}="{start.text}"'

    def _unit(self, units: str | None) -> str | None:
        return None if units is None else self._units.get(units)


def _truth(value: bool) -> str:
    return "true" if value else "false"
