"""Ids that are free, and ids of lumps: a single state keeps its own, a pool is named after its members."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction

from sbmlump.model.system import OdeSystem

__all__ = ["claim_id", "free_id", "lump_names", "numbered_ids", "pool_name"]


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
        return free_id(joined, taken)
    first = re.sub(r"[^A-Za-z0-9_]", "_", members[0])[: _LONGEST - 20]
    return free_id(f"pool_{first}_and_{len(members) - 1}_more", taken)


def free_id(wanted: str, taken: Container[str]) -> str:
    """``wanted``, or ``wanted_2``, ``wanted_3``, … if that is taken."""
    return wanted if wanted not in taken else next(numbered_ids(wanted, taken, 2))


def claim_id(wanted: str, taken: set[str]) -> str:
    """The same, and from now on it is taken."""
    name = free_id(wanted, taken)
    taken.add(name)
    return name


def numbered_ids(stem: str, taken: Container[str], first: int = 1) -> Iterator[str]:
    """Those of ``stem_1``, ``stem_2``, … that are free, one after the other."""
    return (name for number in itertools.count(first) if (name := f"{stem}_{number}") not in taken)
