"""The errors of a comparison.

Errors are those of the contract. For a quantity q on the grid, with ε the absolute tolerance:

- relative error: max |q_red − q_orig| / max(max |q_orig|, ε)
- final relative error: |q_red(T) − q_orig(T)| / max(|q_orig(T)|, 1e-3 · max |q_orig|, ε)
- absolute error: max |q_red − q_orig|

Between the points of a uniform grid a comparison has further ones where something moves fast. They count where the grid
does not show the difference: where it is more than a tenth larger than at both neighbours on the grid.

ε is 1e-14 times the own size of q: the largest magnitude in the original of q or of what it is computed from. Where
that is 0, the size of what q is of one kind with (for a species, and for what is computed from species, of any species
that changes); 1 where all vanish. Where q is very small beside those, integration errors of the large ones may be all
that there is of it: ε is then at least a hundred times what a run with looser tolerances changes in q. Over several
quantities the largest error counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALL", "QuantityError", "Scale", "finite", "largest", "magnitude", "quantity_errors"]

Array = NDArray[np.float64]
_ABSOLUTE = 1e-14
_FINAL_FLOOR = 1e-3
_UNSEEN = 1.1  # times the difference on the neighbouring points of the grid: a smooth one is hardly larger between


SMALL = 1e-9
"""Of the largest of its kind: below that a quantity may be noise (tolerances are 1e-10 of each state)."""
_NOISE = 100.0  # times the change by looser tolerances, which are those of a comparison times ten


@dataclass(frozen=True, slots=True)
class Scale:
    """What errors of a quantity are held against.

    Attributes
    ----------
    own : float
        Largest magnitude in the original of what it is computed from.
    kind : float
        Largest magnitude of what it is of one kind with, itself included.
    noise : float or None
        What a run with looser tolerances changes in it, where it is small beside its kind.
    """

    own: float
    kind: float
    noise: float | None = None

    @property
    def tolerance(self) -> float:
        """ε."""
        size = self.own or self.kind or 1.0
        return max(_ABSOLUTE * size, 0.0 if self.noise is None else _NOISE * self.noise)


@dataclass(frozen=True, slots=True)
class QuantityError:
    """How far one quantity is off (see the module)."""

    max_relative_error: float
    final_relative_error: float
    max_absolute_error: float

    def as_json(self) -> dict[str, float | None]:
        """Fields as JSON values; what is not finite becomes null."""
        return {
            "max_relative_error": finite(self.max_relative_error),
            "final_relative_error": finite(self.final_relative_error),
            "max_absolute_error": finite(self.max_absolute_error),
        }


def quantity_errors(
    original: Mapping[str, Array],
    reduced: Mapping[str, Array],
    scales: Mapping[str, Scale] | None = None,
    grid: NDArray[np.int64] | None = None,
) -> dict[str, QuantityError]:
    """Errors of each quantity of ``original`` (see the module).

    Points where neither has a finite value are left out; where only one has, or none at all, errors are NaN.

    Parameters
    ----------
    original, reduced : mapping from quantity to ndarray of float64, shape (k,)
        On the same grid, k at least 1.
    scales : mapping from quantity to Scale, optional
        Scale of each; where it is missing the quantity's own largest magnitude in ``original``.
    grid : ndarray of int, optional
        Ascending places of the points of the uniform grid among the k, the first and the last included; all by default.
    """
    known = scales or {}
    return {
        name: _error(q, reduced[name], known.get(name) or Scale(magnitude(q), magnitude(q)), grid)
        for name, q in original.items()
    }


def magnitude(q: Array) -> float:
    """Largest |value| among the finite ones of ``q``; 0 if there are none."""
    return float(np.abs(q[np.isfinite(q)]).max(initial=0.0))


def _error(q: Array, r: Array, scale: Scale, grid: NDArray[np.int64] | None) -> QuantityError:
    tolerance = scale.tolerance
    known = np.isfinite(q)
    if not np.array_equal(known, np.isfinite(r)) or not known.any():
        return QuantityError(np.nan, np.nan, np.nan)
    difference = np.where(known, np.abs(r - q), 0.0)
    if grid is not None:
        place = np.searchsorted(grid, np.arange(len(q)))  # the next point of the grid
        beside = np.maximum(difference[grid[np.maximum(place - 1, 0)]], difference[grid[place]])
        on_grid = np.isin(np.arange(len(q)), grid)
        difference = np.where(on_grid | (difference > _UNSEEN * beside), difference, 0.0)
    top, off = float(np.abs(q[known]).max()), float(difference.max())
    final = max(abs(float(q[-1])), _FINAL_FLOOR * top, tolerance)
    return QuantityError(off / max(top, tolerance), abs(float(r[-1]) - float(q[-1])) / final, off)


def largest(values: Sequence[float]) -> float:
    """Maximum in which NaN wins: an error that is not known is not small."""
    return float(np.max(np.array(values, dtype=np.float64)))


def finite(value: float) -> float | None:
    """``value``, or ``None`` where JSON has no number for it."""
    return float(value) if np.isfinite(value) else None
