"""Units of the model, with what Levels 1 and 2 build in made explicit as Level 3 needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import libsbml

from sbmlump.system import Origin, Unit, UnitDefinition

__all__ = ["origin_of", "unit_name"]

#: The units that Levels 1 and 2 predefine; a unit definition with such an id replaces it.
_BUILT_IN: Final[Mapping[str, Unit]] = {
    "substance": Unit("mole"),
    "volume": Unit("litre"),
    "area": Unit("metre", 2.0),
    "length": Unit("metre"),
    "time": Unit("second"),
}
_OLD_SPELLING: Final = {"liter": "litre", "meter": "metre"}
_MODEL_UNITS: Final = ("substance", "time", "volume", "area", "length", "extent")


def unit_name(name: str, level: int) -> str | None:
    """Units attribute as Level 3 has it; ``None`` if there is none."""
    if not name:
        return None
    return _OLD_SPELLING.get(name, name) if level == 1 else name


def origin_of(document: Any, file: str, sha256: str, described: Mapping[str, Any]) -> Origin:
    """What the file says of the model as a whole."""
    model, level = document.getModel(), document.getLevel()
    definitions = [_definition(model.getUnitDefinition(i), level) for i in range(model.getNumUnitDefinitions())]
    kept = [definition for definition in definitions if definition is not None]
    if level < 3:
        units = _old_model_units(kept)
    else:
        units = {
            kind: getattr(model, f"get{kind.capitalize()}Units")()
            for kind in _MODEL_UNITS
            if getattr(model, f"isSet{kind.capitalize()}Units")()
        }
    return Origin(
        format="sbml",
        file=file,
        sha256=sha256,
        level=level,
        version=document.getVersion(),
        model_units=units,
        unit_definitions=tuple(kept),
        conversion_factor=model.getConversionFactor() or None,
        **described,
    )


def _definition(item: Any, level: int) -> UnitDefinition | None:
    """``None`` for a definition with an offset (Celsius), which Level 3 cannot express."""
    units = []
    for i in range(item.getNumUnits()):
        unit = item.getUnit(i)
        kind = libsbml.UnitKind_toString(unit.getKind())
        if kind == "Celsius" or (level < 3 and unit.getOffset()):
            return None
        exponent = unit.getExponentAsDouble()
        units.append(Unit(_OLD_SPELLING.get(kind, kind), exponent, unit.getScale(), unit.getMultiplier()))
    return UnitDefinition(item.getId(), tuple(units), item.getName() or None)


def _old_model_units(definitions: list[UnitDefinition]) -> dict[str, str]:
    """Model-wide units of a Level 1 or 2 model; adds to ``definitions`` what they and its attributes may name.

    An attribute may say ``substance`` or ``area`` without any definition in the file; the definitions added here
    let such names stand in Level 3, where they mean nothing by themselves.
    """
    present = {definition.id for definition in definitions}
    definitions += [UnitDefinition(name, (unit,)) for name, unit in _BUILT_IN.items() if name not in present]
    return {kind: kind for kind in _BUILT_IN} | {"extent": "substance"}
