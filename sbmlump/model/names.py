"""Ids of lumps: a single state keeps its own, a pool is named after its members."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction

from sbmlump.model.system import OdeSystem

__all__ = ["lump_names", "pool_name", "free_id"]


_LONGEST = 60


def lump_names(
    system: OdeSystem, rows: Sequence[Mapping[int, Fraction]], reserved: AbstractSet[str] = frozenset()
) -> tuple[str, ...]:
    """A valid, new, readable SId for each row.

    Ids of the original model are never given to something else, so nobody mistakes a pool for a species.
    """
    taken = set(reserved) | system.taken_ids
    names: list[str] = []
    for row in rows:
        name = _single(system, row)
        if name is None:
            name = pool_name([system.states[j] for j in sorted(row)], taken)
            taken.add(name)
        names.append(name)
    return tuple(names)


def _single(system: OdeSystem, row: Mapping[int, Fraction]) -> str | None:
    if len(row) == 1:
        ((column, value),) = row.items()
        if value == 1:
            return system.states[column]
    return None


def pool_name(members: Sequence[str], taken: AbstractSet[str]) -> str:
    """A free id: ``pool_A_B`` for few short members, else ``pool_A_and_12_more``."""
    joined = "pool_" + "_".join(members)
    if len(members) <= 3 and len(joined) <= _LONGEST:
        return _free(joined, taken)
    first = re.sub(r"[^A-Za-z0-9_]", "_", members[0])[: _LONGEST - 20]
    return _free(f"pool_{first}_and_{len(members) - 1}_more", taken)


def _free(name: str, taken: AbstractSet[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def free_id(wanted: str, taken: Collection[str]) -> str:
    """``wanted``, or ``wanted_2``, ``wanted_3``, … if that is taken."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
