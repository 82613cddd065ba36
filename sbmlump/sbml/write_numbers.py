"""Numbers as text that comes back exactly.

libSBML prints doubles with 15 digits and multiplies the mantissa of e-notation by a rounded power of ten, so a
number is written here as the text that both readings turn into the same thing: read exactly it is the rational,
read by libSBML it is the nearest double.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, SbmlumpError

__all__ = ["NumberTexts", "attribute_text", "double_of", "is_decimal"]

_HIGH: Final = 2**31 - 1
_LOW: Final = -_HIGH
_LIMB: Final = 10**15
_PLAIN_EXPONENTS: Final = range(-5, 22)


def is_decimal(value: Fraction) -> bool:
    """Whether the shortest decimal text of the double nearest to ``value`` is ``value``."""
    double = double_of(value)
    return double is not None and Fraction(repr(double)) == value


def double_of(value: Fraction) -> float | None:
    """The nearest double; ``None`` beyond their range."""
    try:
        return float(value)
    except OverflowError:
        return None


def attribute_text(value: Fraction) -> str | None:
    """Text of an attribute of type double; ``None`` if no such text is exactly ``value``."""
    if value.denominator == 1 and _LOW <= value.numerator <= _HIGH:
        return str(value.numerator)
    if not is_decimal(value):
        return None
    return repr(float(value)).removesuffix(".0")


class NumberTexts:
    """MathML of exact rationals, remembered so that each is made once and all can be checked afterwards."""

    __slots__ = ("_doubles", "_texts")

    def __init__(self) -> None:
        self._texts: dict[Fraction, str] = {}
        self._doubles: dict[str, Fraction] = {}

    @property
    def plain(self) -> Mapping[str, Fraction]:
        """Every ``cn`` element handed out, with what it stands for."""
        return self._doubles

    def text(self, value: Fraction) -> str:
        """MathML of ``value``: a ``cn``, or a quotient of such.

        Raises
        ------
        SbmlumpError
            With code ``number-not-writable`` if its parts are beyond the range of doubles.
        """
        text = self._texts.get(value)
        if text is None:
            text = self._texts[value] = self._make(value)
        return text

    def _make(self, value: Fraction) -> str:
        top, bottom = value.numerator, value.denominator
        if bottom == 1 and _LOW <= top <= _HIGH:
            return self._leaf(f'<cn type="integer"> {top} </cn>', value)
        if is_decimal(value):
            return self._leaf(_decimal(value), value)
        if bottom == 1:
            return self._long_integer(top)
        if bottom <= _HIGH and _LOW <= top <= _HIGH:
            return self._leaf(f'<cn type="rational"> {top} <sep/> {bottom} </cn>', value)
        return f"<apply><divide/>{self.text(Fraction(top))}{self.text(Fraction(bottom))}</apply>"

    def _long_integer(self, value: int) -> str:
        """((a·10^15 + b)·10^15 + c)…: each limb is exact as a double."""
        if double_of(Fraction(value)) is None:
            digits = len(str(abs(value))) if value.bit_length() < 10_000 else value.bit_length() * 3 // 10
            message = (
                f"a number of {digits} digits is beyond the range of doubles and cannot be written as SBML; "
                "choose rounder parameter values or keep fewer of them symbolic"
            )
            raise SbmlumpError(Reason("number-not-writable", message))
        limbs = []
        rest = abs(value)
        while rest:
            rest, limb = divmod(rest, _LIMB)
            limbs.append(limb if value > 0 else -limb)
        text = self.text(Fraction(limbs.pop()))
        base = self.text(Fraction(_LIMB))
        for limb in reversed(limbs):
            text = f"<apply><times/>{text}{base}</apply>"
            if limb:
                text = f"<apply><plus/>{text}{self.text(Fraction(limb))}</apply>"
        return text

    def _leaf(self, text: str, value: Fraction) -> str:
        self._doubles[text] = value
        return text


def _decimal(value: Fraction) -> str:
    """A ``cn`` whose decimal text is ``value`` and which libSBML reads as the nearest double."""
    double = float(value)
    digits, exponent = _digits(double)
    sign = "-" if double < 0 else ""
    point = len(digits) + exponent  # places before the decimal point
    if point - 1 in _PLAIN_EXPONENTS:
        return f"<cn> {sign}{_plain(digits, exponent)} </cn>"
    # e-notation is read as mantissa · pow(10, exponent), which may round twice: take a mantissa where it does not
    for before in (1, len(digits), *range(2, len(digits))):
        mantissa = sign + digits[:before] + ("." + digits[before:] if digits[before:] else "")
        power = point - before
        kept = Fraction(repr(float(mantissa))) == Fraction(mantissa)  # 17 digits may have a shorter text
        if kept and _as_read(mantissa, power) == double:
            return f'<cn type="e-notation"> {mantissa} <sep/> {power} </cn>'
    return f"<cn> {sign}{_plain(digits, exponent)} </cn>"


def _as_read(mantissa: str, power: int) -> float:
    try:
        return float(mantissa) * 10.0**power
    except OverflowError:
        return float("nan")


def _digits(double: float) -> tuple[str, int]:
    """Shortest digits d and exponent e: the absolute value of ``double`` is d·10^e."""
    text, _, power = repr(abs(double)).partition("e")
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    digits = (whole + part).lstrip("0")
    exponent = int(power or 0) - len(part)
    stripped = digits.rstrip("0")
    return stripped, exponent + len(digits) - len(stripped)


def _plain(digits: str, exponent: int) -> str:
    """d·10^e without an exponent."""
    if exponent >= 0:
        return digits + "0" * exponent
    point = len(digits) + exponent
    if point <= 0:
        return "0." + "0" * -point + digits
    return digits[:point] + "." + digits[point:]
