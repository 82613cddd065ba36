"""Walks over a graph given as arrays: arguments in CSR layout, a level of the walk at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["below", "ranges"]

Indices = NDArray[np.int64]


def ranges(starts: Indices, lengths: Indices) -> Indices:
    """Concatenation of arange(start, start + length)."""
    total = int(lengths.sum())
    offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return offsets + np.arange(total)


def below(roots: Indices, pointers: Indices, args: Indices, stop: NDArray[np.bool_]) -> Indices:
    """Nodes below the roots (roots included), not looking below ``stop``, ascending."""
    seen = np.zeros(len(pointers) - 1, dtype=np.bool_)
    place = np.empty(len(seen), dtype=np.int64)  # to tell the last of several equal nodes without sorting them
    frontier = roots
    while len(frontier):
        order = np.arange(len(frontier))
        place[frontier] = order
        frontier = frontier[place[frontier] == order]
        seen[frontier] = True
        open_nodes = frontier[~stop[frontier]]
        found = args[ranges(pointers[open_nodes], pointers[open_nodes + 1] - pointers[open_nodes])]
        frontier = found[~seen[found]]
    return np.flatnonzero(seen)
