"""The errors of a comparison.

Errors are those of the contract. For a quantity q on the grid, with ε the absolute tolerance:

- relative error: max |q_red − q_orig| / max(max |q_orig|, ε)
- final relative error: |q_red(T) − q_orig(T)| / max(|q_orig(T)|, 1e-3 · max |q_orig|, ε)
- absolute error: max |q_red − q_orig|

ε is 1e-14 times the scale of q: the largest magnitude in the original of q itself or of anything it is of one kind
with (for a species, and for what is computed from species, of any species that changes); 1 where all vanish. Over
several quantities the largest error counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["QuantityError", "finite", "largest", "magnitude", "quantity_errors"]

Array = NDArray[np.float64]
_ABSOLUTE = 1e-14
_FINAL_FLOOR = 1e-3


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
    original: Mapping[str, Array], reduced: Mapping[str, Array], scales: Mapping[str, float] | None = None
) -> dict[str, QuantityError]:
    """Errors of each quantity of ``original`` (see the module).

    Points where neither has a finite value are left out; where only one has, or none at all, errors are NaN.

    Parameters
    ----------
    original, reduced : mapping from quantity to ndarray of float64, shape (k,)
        On the same grid, k at least 1.
    scales : mapping from quantity to float, optional
        Scale of each; where it is missing the quantity's own largest magnitude in ``original``.
    """
    known = scales or {}
    return {name: _error(q, reduced[name], max(known.get(name, 0.0), magnitude(q))) for name, q in original.items()}


def magnitude(q: Array) -> float:
    """Largest |value| among the finite ones of ``q``; 0 if there are none."""
    return float(np.abs(q[np.isfinite(q)]).max(initial=0.0))


def _error(q: Array, r: Array, scale: float) -> QuantityError:
    tolerance = _ABSOLUTE * (scale if scale > 0 else 1.0)
    known = np.isfinite(q)
    if not np.array_equal(known, np.isfinite(r)) or not known.any():
        return QuantityError(np.nan, np.nan, np.nan)
    difference = np.abs(r[known] - q[known])
    top, off = float(np.abs(q[known]).max()), float(difference.max())
    final = max(abs(float(q[-1])), _FINAL_FLOOR * top, tolerance)
    return QuantityError(off / max(top, tolerance), abs(float(r[-1]) - float(q[-1])) / final, off)


def largest(values: Sequence[float]) -> float:
    """Maximum in which NaN wins: an error that is not known is not small."""
    return float(np.max(np.array(values, dtype=np.float64)))


def finite(value: float) -> float | None:
    """``value``, or ``None`` where JSON has no number for it."""
    return float(value) if np.isfinite(value) else None
