"""A reduced system made ready for writing: what each id is, and what the model says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sbmlump.reduced import Lump, ReducedSystem
from sbmlump.sbml.annotation import NAMESPACE, lumping_annotation
from sbmlump.sbml.write_notes import formula, reduction_notes
from sbmlump.sbml.write_xml import children_of, join_content, with_children
from sbmlump.system import Constant, OdeSystem, Quantity

__all__ = ["dressed"]

_LONGEST_NAME: Final = 80
_QUALIFIERS: Final = re.compile(r"xmlns:([A-Za-z_][\w.-]*)=[\"']http://biomodels\.net/model-qualifiers/[\"']")


def dressed(reduced: ReducedSystem) -> OdeSystem:
    """The reduced system with a record of each id, notes, and annotation.

    One original species stays what it was under its own id; a lump is a parameter unless the reduced system says
    otherwise; everything else is what it was in the original.
    """
    original, system = reduced.original, reduced.system
    lumps = {lump.id: lump for lump in reduced.lumps if not lump.is_single}
    ids = [*system.states, *(c.id for c in system.constants), *(a.id for a in system.assigned)]
    quantities = {
        name: system.quantities.get(name) or _quantity(name, lumps.get(name), original.quantities) for name in ids
    }
    constants = (*system.constants, *_missing_compartments(original, quantities))
    resting = {c.id for c in constants}
    for name, quantity in quantities.items():
        if quantity.kind == "species" and (quantity.compartment not in resting):
            # what a concentration rule means while its compartment changes is read differently by tools;
            # a parameter has the same value without doubt
            quantities[name] = replace(quantity, kind="parameter", units=None)
        elif quantity.kind == "species" and name in system.states:
            quantities[name] = replace(quantity, boundary=quantity.boundary and bool(system.reactions))
    for constant in constants[len(system.constants) :]:
        quantities[constant.id] = original.quantities[constant.id]
    origin = replace(
        original.origin,
        notes=reduction_notes(reduced, original.origin.notes),
        annotation=_annotation(reduced, original.origin.annotation),
    )
    return replace(system, constants=constants, quantities=quantities, origin=origin)


def _quantity(name: str, lump: Lump | None, original: Mapping[str, Quantity]) -> Quantity:
    if lump is None:
        return original.get(name) or Quantity(name, "parameter")
    text = formula(lump.members)
    return Quantity(
        name, "parameter", name=text if len(text) <= _LONGEST_NAME else None, units=_common_unit(lump, original)
    )


def _common_unit(lump: Lump, original: Mapping[str, Quantity]) -> str | None:
    """The unit of a sum of like things; a concentration has no unit with an id, a fraction of a unit is another one."""
    units = set()
    for name, value in lump.members.items():
        quantity = original.get(name)
        if quantity is None or value.denominator != 1:
            return None
        if quantity.kind == "species" and not quantity.amount:
            return None
        units.add(quantity.units)
    return units.pop() if len(units) == 1 else None


def _missing_compartments(original: OdeSystem, quantities: Mapping[str, Quantity]) -> list[Constant]:
    """Compartments of constant size that species of the reduced model lie in but that it does not mention."""
    wanted = {q.compartment for q in quantities.values() if q.kind == "species"} - set(quantities)
    return [c for c in original.constants if c.id in wanted and c.id in original.quantities]


def _annotation(reduced: ReducedSystem, original: str | None) -> str:
    own = lumping_annotation(reduced)
    if original is None:
        return f"<annotation>\n{own}</annotation>"
    # if the original was a reduced model itself, what it said of that is no longer true
    old = {child: "" for child in children_of(original) if child.name == f"{NAMESPACE} lumping"}
    original = with_children(original, old)
    return join_content(_derived(original), "\n" + own, first=False)


def _derived(annotation: str) -> str:
    """The annotation with "is this model" turned into "is derived from this model"."""
    for prefix in set(_QUALIFIERS.findall(annotation)):
        annotation = re.sub(rf"(</?){re.escape(prefix)}:is(\s*>)", rf"\1{prefix}:isDerivedFrom\2", annotation)
    return annotation
