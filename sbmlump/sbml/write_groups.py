"""Lumps as groups of the SBML package groups, which tools that do not know it may leave aside."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sbmlump.reduced import ReducedSystem
from sbmlump.sbml.write_elements import element, section
from sbmlump.sbml.write_notes import formula
from sbmlump.sbml.write_xml import attributes

__all__ = ["GROUPS", "groups_of"]

GROUPS: Final = "http://www.sbml.org/sbml/level3/version1/groups/version1"
_MOST_NAMED: Final = 8


def groups_of(reduced: ReducedSystem, present: Collection[str], taken: Collection[str]) -> str:
    """A ``listOfGroups``: all lumps of several states as one classification, and the parts of each that are present.

    Parameters
    ----------
    reduced : ReducedSystem
    present : collection of str
        Ids of the written model that a group may name.
    taken : collection of str
        Ids that a group must not have.

    Returns
    -------
    str
        Empty if every state is a state of the original.
    """
    lumps = [lump for lump in reduced.lumps if not lump.is_single and lump.id in present]
    if not lumps:
        return ""
    used = set(taken)
    name = _free("sbmlump_lumps", used)
    text = "states that stand for several states of the original model"
    groups = [_group(name, "classification", text, [lump.id for lump in lumps])]
    for lump in lumps:
        parts = [member for member in lump.members if member in present]
        if parts:
            name = _free(f"sbmlump_parts_{lump.id}", used)
            text = f"of {lump.id} = {formula(lump.members, _MOST_NAMED)}"
            groups.append(_group(name, "partonomy", text, parts))
    return section("groups:listOfGroups", groups)


def _group(name: str, kind: str, text: str, members: list[str]) -> str:
    items = [f"<groups:member{attributes(**{'groups:idRef': one})}/>\n" for one in members]
    head = attributes(**{"groups:id": name, "groups:kind": kind, "groups:name": text})
    return element("groups:group", head, section("groups:listOfMembers", items))


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
