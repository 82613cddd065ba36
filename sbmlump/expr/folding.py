"""Exact values of functions of numbers, over Q, where they are rational and certain."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Final

from sbmlump.errors import LimitError, Reason

__all__ = ["MAX_BITS", "bits", "bounded", "fold_function", "rational_root"]

MAX_BITS: Final = 14_000
"""Bits that numerator and denominator of an exact number may have.

Ten times what occurs in any of 711 published models (1,410 bits), and below the 4,300 digits from which Python refuses
to print integers, so that every number can be shown and written. Sums and products of rationals double in length with
each step where a file squares what it squared before; without a bound, forty rules fill the memory.
"""


def bits(value: Fraction) -> int:
    """Size of the larger of numerator and denominator, in bits."""
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def bounded(value: Fraction) -> Fraction:
    """``value`` itself.

    Raises
    ------
    LimitError
        Code ``too-large`` if it has more than :data:`MAX_BITS` bits.
    """
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        message = (
            f"an exact number with more than {MAX_BITS * 3 // 10} digits arises; "
            "the model multiplies or raises numbers beyond what any simulator holds"
        )
        raise LimitError(Reason("too-large", message))
    return value


def rational_root(value: Fraction, degree: int) -> Fraction | None:
    """The exact positive ``degree``-th root of a positive rational, if it is rational and small to find."""
    if value <= 0 or degree > 8 or value.numerator.bit_length() > 512 or value.denominator.bit_length() > 512:
        return None
    parts = []
    for part in (value.numerator, value.denominator):
        low, high = 0, 1 << (part.bit_length() // degree + 1)
        while low < high:
            middle = (low + high + 1) // 2
            if middle**degree <= part:
                low = middle
            else:
                high = middle - 1
        if low**degree != part:
            return None
        parts.append(low)
    return Fraction(parts[0], parts[1])


def fold_function(name: str, values: list[Fraction]) -> Fraction | None:
    """Exact value of a function of numbers where it is rational and certain."""
    x = values[0]
    if name in ("exp", "cos", "cosh", "sec", "sech") and x == 0:
        return Fraction(1)
    if name in ("sin", "tan", "sinh", "tanh", "arcsin", "arctan", "arcsinh", "arctanh") and x == 0:
        return Fraction(0)
    if name == "ln" and x == 1:
        return Fraction(0)
    if name == "abs":
        return abs(x)
    if name == "floor":
        return Fraction(floor(x))
    if name == "ceiling":
        return Fraction(ceil(x))
    if name == "min":
        return min(values)
    if name == "max":
        return max(values)
    if name == "factorial" and x.denominator == 1 and 0 <= x <= 170:
        product = 1
        for i in range(2, int(x) + 1):
            product *= i
        return Fraction(product)
    if name in ("rem", "quotient") and values[1] != 0:
        # truncated division, as in C and in libRoadRunner
        ratio = x / values[1]
        quotient = floor(ratio) if ratio >= 0 else ceil(ratio)
        return Fraction(quotient) if name == "quotient" else x - quotient * values[1]
    return None
