"""A horizon on which the watched quantities show.

A model may come to rest after years and do all that matters to an observable in the first second; on a uniform grid
over years that second lies between the first two points, and a comparison there would compare nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbmlump.simulate.protocol import ROUGH, IntegrationError, LoadedModel, QuantitySelection, Trajectory

__all__ = ["nice_above", "showing"]

_POINTS = 201
_DECADES = 14
_SKIPPED = 5  # points at the start: what is over by then is hardly resolved
_SETTLED = 1e-2  # of the range
_VISIBLE = 0.2  # of the largest range that a quantity has on any of the grids


@dataclass(frozen=True, slots=True)
class _Sight:
    """Ranges of the watched quantities on the grid to ``until``, the first points left out, and when they settle."""

    until: float
    settled: float
    ranges: NDArray[np.float64]


def showing(model: LoadedModel, until: float, shortest: float, watch: Mapping[str, QuantitySelection]) -> float:
    """``until``, or the longest of ``until``/10, /100, … on whose grid most of ``watch`` show, less rest at its end.

    Parameters
    ----------
    model : LoadedModel
    until : float
        A horizon.
    shortest : float
        The fastest time scale of the model: no shorter horizon is tried.
    watch : mapping of str to Reading
        Quantities that are to be seen.
    """
    sights: list[_Sight] = []
    for decade in range(_DECADES):
        candidate = until / 10.0**decade
        if decade and candidate < shortest:
            break
        try:
            sights.append(_sight(candidate, model.run(watch, candidate, _POINTS, ROUGH)))
        except IntegrationError:
            continue
    if not sights:
        return until
    table = np.array([sight.ranges for sight in sights])
    full = table.max(axis=0)
    seen = ((table >= _VISIBLE * full) & (full > 0)).sum(axis=1)
    # The first of the largest, so the longest horizon on which as many show as on any.
    best = sights[int(np.argmax(seen))]
    if best.until == until or best.settled <= 0:
        return best.until
    return min(best.until, nice_above(2 * best.settled))


def _sight(until: float, run: Trajectory) -> _Sight:
    table = np.array(list(run.values.values()))
    table = np.where(np.isfinite(table), table, 0.0)
    late = table[:, _SKIPPED:]
    spread = table.max(axis=1) - table.min(axis=1)
    away = np.abs(table - table[:, -1:]) > _SETTLED * spread[:, None]
    last = np.nonzero(away.any(axis=0))[0]
    settled = float(run.times[last[-1] + 1]) if len(last) else 0.0
    return _Sight(until, settled, late.max(axis=1) - late.min(axis=1))


def nice_above(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``value`` (positive)."""
    decade = math.floor(math.log10(value))
    for exponent in (decade, decade + 1):
        for digit in (1, 2, 5):
            candidate = float(f"{digit}e{exponent}")
            if candidate >= value * (1 - 1e-12):
                return candidate
    raise AssertionError("unreachable: ten times the decade is above the value")
