"""Ids that are free, and ids of lumps: a single state keeps its own, a pool is named after its members."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Final

from sbmlump.model.system import OdeSystem

__all__ = ["claim_id", "clock_id", "free_id", "id_of_members", "is_sid", "lump_names", "numbered_ids", "pool_name"]


_SID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_sid(text: str) -> bool:
    """Whether SBML takes a text for an id."""
    return _SID.fullmatch(text) is not None


def lump_names(
    system: OdeSystem, rows: Sequence[Mapping[int, Fraction]], reserved: AbstractSet[str] = frozenset()
) -> tuple[str, ...]:
    """A valid, new, readable SId for each row.

    Ids of the original model are never given to something else, so nobody mistakes a pool for a species; what is
    subtracted from is a difference and no pool.
    """
    taken = set(reserved) | system.taken_ids
    names: list[str] = []
    for row in rows:
        name = _single(system, row)
        if name is None:
            members = [system.states[j] for j in sorted(row)]
            name = pool_name(members, taken, _kind(row))
            taken.add(name)
        names.append(name)
    return tuple(names)


def _single(system: OdeSystem, row: Mapping[int, Fraction]) -> str | None:
    if len(row) == 1:
        ((column, value),) = row.items()
        if value == 1:
            return system.states[column]
    return None


def _kind(row: Mapping[int, Fraction]) -> str:
    if len(row) == 1:
        return "scaled"
    return "difference" if any(value < 0 for value in row.values()) else "pool"


def pool_name(members: Sequence[str], taken: AbstractSet[str], kind: str = "pool") -> str:
    """A free id: ``pool_A_B`` for few short members, else ``pool_A_and_12_more``."""
    return free_id(id_of_members(kind, [re.sub(r"[^A-Za-z0-9_]", "_", name) for name in members]), taken)


def id_of_members(prefix: str, members: Sequence[str], longest: int = 60, cut: int | None = 40) -> str:
    """``prefix_A_B`` for up to three members and ``longest`` characters (what a table or a plot has room for), else
    ``prefix_A_and_12_more`` with ``cut`` characters of the first one.
    """
    joined = "_".join((prefix, *members))
    few = len(members) <= 3 and len(joined) <= longest
    return joined if few else f"{prefix}_{members[0][:cut]}_and_{len(members) - 1}_more"


def free_id(wanted: str, taken: Container[str]) -> str:
    """``wanted``, or ``wanted_2``, ``wanted_3``, … if that is taken."""
    return wanted if wanted not in taken else next(numbered_ids(wanted, taken, 2))


def claim_id(wanted: str, taken: set[str]) -> str:
    """The same, and from now on it is taken."""
    name = free_id(wanted, taken)
    taken.add(name)
    return name


def clock_id(taken: Container[str]) -> str:
    """What the time is called in the text of an expression: ``time``, unless that is an id of the model."""
    return free_id("time", taken)


def numbered_ids(stem: str, taken: Container[str], first: int = 1) -> Iterator[str]:
    """Those of ``stem_1``, ``stem_2``, … that are free, one after the other."""
    return (name for number in itertools.count(first) if (name := f"{stem}_{number}") not in taken)
