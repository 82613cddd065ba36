"""Linear combinations as dictionaries: Σ coefficient · key, over Q."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from fractions import Fraction
from typing import TypeVar

__all__ = ["add_multiple"]

_Key = TypeVar("_Key", bound=Hashable)


def add_multiple(total: MutableMapping[_Key, Fraction], terms: Mapping[_Key, Fraction], factor: Fraction | int) -> None:
    """Add ``factor`` times the combination ``terms`` to ``total``, in place; coefficients may become 0.

    Arithmetic of Fractions is what large networks spend their time with: it is done only where a key stands in both
    and where the factor is not 1.
    """
    plain = factor == 1
    for key, value in terms.items():
        change = value if plain else value * factor
        known = total.get(key)
        total[key] = change if known is None else known + change
