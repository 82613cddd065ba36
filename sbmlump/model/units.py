"""Units as people read them: what a quantity of a model is measured in, as ``nmol/l`` or ``1/min``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sbmlump.model.system import OdeSystem, Quantity, Unit

__all__ = ["time_unit_of", "unit_of", "unit_text"]

_SYMBOLS: Final[Mapping[str, str]] = {
    "mole": "mol", "litre": "l", "second": "s", "metre": "m", "gram": "g", "kilogram": "kg", "kelvin": "K",
    "ampere": "A", "candela": "cd", "joule": "J", "newton": "N", "pascal": "Pa", "volt": "V", "watt": "W",
    "hertz": "Hz", "coulomb": "C", "farad": "F", "siemens": "S", "ohm": "Ω", "katal": "kat", "radian": "rad",
}  # fmt: skip
_PREFIXES: Final[Mapping[int, str]] = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", -2: "c", -1: "d", 3: "k", 6: "M", 9: "G",
}  # fmt: skip
_TIMES: Final[Mapping[float, str]] = {60.0: "min", 3600.0: "h", 86400.0: "d"}
_BUILT_IN: Final = frozenset({"substance", "time", "volume", "area", "length"})
"""Ids of Levels 1 and 2 that say nothing by themselves."""


def time_unit_of(system: OdeSystem) -> str | None:
    """The unit of time of a model; ``None`` where its file does not say."""
    return unit_text(system, system.origin.model_units.get("time"), said=_is_said(system, "time"))


def unit_of(system: OdeSystem, id: str) -> str | None:
    """What the value of an id is measured in, as its mathematics means it; ``None`` where the file does not say.

    A species is measured by its substance, per size of its compartment where its id means a concentration; a reaction
    by extent per time.
    """
    if any(reaction.id == id for reaction in system.reactions):
        extent = system.origin.model_units.get("extent")
        return _quotient(unit_text(system, extent, said=_is_said(system, "substance")), time_unit_of(system))
    quantity = system.quantities.get(id)
    if quantity is None:
        return None
    if quantity.kind == "species":
        substance = _substance(system, quantity)
        return substance if quantity.amount else _quotient(substance, _size(system, quantity.compartment))
    if quantity.kind == "compartment":
        return _size(system, id)
    return unit_text(system, quantity.units)


def unit_text(system: OdeSystem, id: str | None, *, said: bool = True) -> str | None:
    """A unit by its id, written out: ``nmol``, ``1/(mmol·s)``.

    Parameters
    ----------
    system : OdeSystem
    id : str or None
    said : bool
        Whether the file names it; what Levels 1 and 2 assume where nothing is said, is not what a modeller meant.
    """
    if not id or not said:
        return None
    definition = next((one for one in system.origin.unit_definitions if one.id == id), None)
    if definition is None:
        return None if id in _BUILT_IN else _symbol(id)
    return _product(definition.units)


def _is_said(system: OdeSystem, id: str) -> bool:
    """Whether the file defines a unit of the whole model, or is of a level in which there are none by default."""
    level = system.origin.level
    if level is None or level > 2:
        return True
    definition = next((one for one in system.origin.unit_definitions if one.id == id), None)
    return definition is not None and (definition.name is not None or definition.units != (Unit(_DEFAULTS[id]),))


_DEFAULTS: Final = {"substance": "mole", "time": "second", "volume": "litre", "area": "metre", "length": "metre"}


def _substance(system: OdeSystem, quantity: Quantity) -> str | None:
    own = quantity.units if quantity.units not in _BUILT_IN else None
    if own is not None:
        return unit_text(system, own)
    return unit_text(system, system.origin.model_units.get("substance"), said=_is_said(system, "substance"))


def _size(system: OdeSystem, compartment: str | None) -> str | None:
    quantity = None if compartment is None else system.quantities.get(compartment)
    if quantity is None:
        return None
    kind = {3.0: "volume", 2.0: "area", 1.0: "length"}.get(
        3.0 if quantity.spatial_dimensions is None else quantity.spatial_dimensions
    )
    if quantity.units and quantity.units not in _BUILT_IN:
        return unit_text(system, quantity.units)
    if kind is None:
        return None
    return unit_text(system, system.origin.model_units.get(kind), said=_is_said(system, kind))


def _quotient(above: str | None, below: str | None) -> str | None:
    if above is None or below is None:
        return None
    if above == below:
        return "1"
    plain = above if "/" not in above else f"({above})"
    simple = below.startswith("(") or not any(sign in below for sign in "/·^ ")
    divisor = below if simple else f"({below})"
    return f"{plain}/{divisor}" if below != "1" else plain


def _symbol(kind: str) -> str:
    return _SYMBOLS.get(kind, "1" if kind == "dimensionless" else kind)


def _product(units: Iterable[Unit]) -> str:
    """Factors with positive exponents over those with negative ones."""
    above: list[str] = []
    below: list[str] = []
    for unit in units:
        if unit.kind == "dimensionless" and unit.multiplier == 1 and unit.scale == 0:
            continue
        power = abs(unit.exponent)
        name = _factor(unit)
        (above if unit.exponent > 0 else below).append(name if power == 1 else f"{name}^{power:g}")
    text = "·".join(above) or "1"
    if not below:
        return text
    return f"{text}/{below[0]}" if len(below) == 1 else f"{text}/({'·'.join(below)})"


def _factor(unit: Unit) -> str:
    """``nmol``; ``min`` for sixty seconds; ``2.5 mol`` where no prefix says it."""
    symbol = _symbol(unit.kind)
    factor = unit.multiplier * 10.0**unit.scale
    time = next((name for seconds, name in _TIMES.items() if abs(factor / seconds - 1) < 1e-9), None)
    if unit.kind == "second" and time is not None:
        return time
    exponent = next((e for e in _PREFIXES if abs(factor / 10.0**e - 1) < 1e-9), None)
    if abs(factor - 1) < 1e-9:
        return symbol
    if exponent is not None and symbol in _SYMBOLS.values() and unit.kind != "kilogram":
        return _PREFIXES[exponent] + symbol
    return f"({factor:g} {symbol})"
