"""MathML numbers as text: which of them libSBML reads rightly, and how to write the others so that it does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["NumberElement", "rewrite_number"]

_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*")
_REAL: Final = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
_MAX_DIGITS: Final = 400
_BLOCK: Final = 10**9  # fits 32 bits, and keeps the written sum readable


@dataclass(slots=True)
class NumberElement:
    """A ``cn`` element: where its tags begin in the bytes, its attributes, its text between ``sep`` elements."""

    start: int
    attributes: Mapping[str, str]
    parts: list[str] = field(default_factory=lambda: [""])
    end: int = 0


def rewrite_number(number: NumberElement) -> str | None:
    """Check one number; MathML that means the same where libSBML would misread it (``@`` stands for the prefix).

    Returns
    -------
    str or None
        ``None`` where libSBML reads the element rightly.

    Raises
    ------
    ValueError
        If the text is no number of its type, or is beyond what a double holds.
    """
    kind = number.attributes.get("type", "real")
    shown = f"<cn type={kind!r}> {' <sep/> '.join(p.strip() for p in number.parts)[:60]} </cn>"
    if number.attributes.get("base", "10").strip() != "10":
        raise ValueError(f"{shown}: numbers to another base than 10 are not read")
    if kind == "integer":
        value = _integers(number.parts, 1, shown)[0]
        return None if _fits(value) else _written(value)
    if kind == "rational":
        top, bottom = _integers(number.parts, 2, shown)
        if bottom == 0:
            raise ValueError(f"{shown}: the denominator is 0")
        if _fits(top) and _fits(bottom):
            return None
        return f"<@apply><@divide/>{_written(top)}{_written(bottom)}</@apply>"
    if kind == "e-notation":
        _check_real(number.parts, 2, shown)
        return None
    if kind == "real":
        _check_real(number.parts, 1, shown)
        return None
    raise ValueError(f"{shown}: the type is none of real, integer, rational, e-notation")


def _integers(parts: list[str], count: int, shown: str) -> list[int]:
    if len(parts) != count or not all(_INTEGER.fullmatch(part) for part in parts):
        raise ValueError(f"{shown} is not written as {'an integer' if count == 1 else 'two integers'}")
    if any(len(part.strip()) > _MAX_DIGITS for part in parts):
        raise ValueError(f"{shown} has more than {_MAX_DIGITS} digits")
    return [int(part) for part in parts]


def _check_real(parts: list[str], count: int, shown: str) -> None:
    text = parts[0].strip()
    if len(parts) != count or not _REAL.fullmatch(text) or (count == 2 and not _INTEGER.fullmatch(parts[1])):
        raise ValueError(f"{shown} is not a number")
    if count == 2:
        if "e" in text.lower():
            raise ValueError(f"{shown} has two exponents")
        text += "e" + parts[1].strip()
    value = float(text)
    digits = text.lower().partition("e")[0]
    if math.isinf(value) or (value == 0 and re.search("[1-9]", digits)):
        raise ValueError(f"{shown} is beyond what a double holds")


def _fits(value: int) -> bool:
    return abs(value) < 2**31


def _written(value: int) -> str:
    """``value`` by Horner's rule in blocks of nine digits."""
    sign = "-" if value < 0 else ""
    blocks: list[int] = []
    rest = abs(value)
    while rest or not blocks:
        rest, block = divmod(rest, _BLOCK)
        blocks.append(block)
    text = f'<@cn type="integer">{sign}{blocks[-1]}</@cn>'
    base = f'<@cn type="integer">{_BLOCK}</@cn>'
    for block in reversed(blocks[:-1]):
        last = f'<@cn type="integer">{sign}{block}</@cn>'
        text = f"<@apply><@plus/><@apply><@times/>{text}{base}</@apply>{last}</@apply>"
    return text
