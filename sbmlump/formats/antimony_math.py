"""MathML of an SBML file as Antimony's infix notation, so that it is read back as the same expression.

Antimony hands formulas to libSBML's parser and writes numbers with 15 digits. So everything that binds is put in
parentheses (no reader has to know whether a power or a sign goes first), and a number that needs more than 15 digits
becomes a sum of two.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final
from xml.etree.ElementTree import Element

from sbmlump.errors import Reason, UnsupportedModelError

__all__ = ["infix", "number_text"]

_RELATIONS: Final = {"lt": "<", "leq": "<=", "gt": ">", "geq": ">=", "eq": "==", "neq": "!="}
_LOGIC: Final = {"and": " && ", "or": " || "}
_CONSTANT_NAMES: Final = {name: name for name in ("true", "false", "pi", "exponentiale")} | {
    "infinity": "inf",
    "notanumber": "nan",
}
_FUNCTIONS: Final = frozenset(
    "abs arccos arccosh arccot arccoth arccsc arccsch arcsec arcsech arcsin arcsinh arctan arctanh ceiling cos cosh "
    "cot coth csc csch exp factorial floor ln max min not quotient rem sec sech sin sinh tan tanh xor".split()
)
_SYMBOLS: Final = {"time": "time", "avogadro": "avogadro"}
_DIGITS: Final = 15  # what libSBML prints of a double
_SMALL: Final = 290  # below 10^-290 fifteen digits do not hold every double
_MOST_IN_RATIONAL: Final = 2**31 - 1
_OPEN, _SUM, _PRODUCT, _POWER, _ATOM = range(5)
_Text = tuple[str, int]
"""Text and how tightly it holds together."""


def infix(math: Element, name_of: Callable[[str], str]) -> str:
    """The expression in a ``math`` element.

    Parameters
    ----------
    math : Element
    name_of : callable str → str
        The id that an id has in the output.

    Raises
    ------
    UnsupportedModelError
        Code ``not-writable`` if there is something that Antimony has no words for.
    """
    done: dict[int, _Text] = {}
    root = math[0]
    stack = [(root, False)]
    while stack:
        element, ready = stack.pop()
        if ready or not len(element) or _tag(element) == "cn":
            parts = [done.pop(id(child)) for child in element if id(child) in done]
            done[id(element)] = _spell(element, parts, name_of)
        else:
            stack.append((element, True))
            stack.extend((child, False) for child in element)
    return done[id(root)][0]


def number_text(value: Fraction) -> str:
    """A number that is read back exactly; negative ones and what is more than one number in parentheses."""
    if value < 0:
        return f"(-{number_text(-value)})"
    if value.denominator != 1 and not _ends(value):
        return f"({_quotient(number_text(Fraction(value.numerator)), number_text(Fraction(value.denominator)))})"
    digits, exponent = _decimal(value)
    if len(digits) + exponent <= -_SMALL:
        return f"({number_text(value * 10**_SMALL)}*1e-{_SMALL})"
    if len(digits) <= _DIGITS:
        return _shortest(digits, exponent)
    # the double nearest to a sum of two doubles need not be the one nearest to the number: take a cut where it is
    wanted = float(value)
    cuts = [cut for cut in range(_DIGITS, 0, -1) if len(digits) - cut <= _DIGITS]
    for cut in cuts:
        head = Fraction(int(digits[:cut])) * Fraction(10) ** (exponent + len(digits) - cut)
        if float(head) + float(value - head) == wanted:
            return f"({number_text(head)} + {number_text(value - head)})"
    cut = cuts[0] if cuts else _DIGITS
    head = Fraction(int(digits[:cut])) * Fraction(10) ** (exponent + len(digits) - cut)
    return f"({number_text(head)} + {number_text(value - head)})"


def _quotient(top: str, bottom: str) -> str:
    """a/b. Between parentheses a quotient of integers is a number of libSBML's own, and 32 bits is all that its parts
    may have.
    """
    whole = top.isdigit() and bottom.isdigit()
    times = "*1" if whole and max(int(top), int(bottom)) > _MOST_IN_RATIONAL else ""
    return f"{top}{times}/{bottom}"


def _ends(value: Fraction) -> bool:
    """Whether the decimal fraction ends."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


def _decimal(value: Fraction) -> tuple[str, int]:
    """Digits d and exponent e of a number d·10^e that ends."""
    exponent = 0
    rest = value
    while rest.denominator != 1:
        exponent -= 1
        rest *= 10
    text = str(rest.numerator)
    short = text.rstrip("0")
    return (short, exponent + len(text) - len(short)) if short else ("0", 0)


def _shortest(digits: str, exponent: int) -> str:
    point = len(digits) + exponent
    if exponent >= 0 and point <= _DIGITS:
        return digits + "0" * exponent
    if -4 < point <= _DIGITS:
        return digits[:point] + "." + digits[point:] if point > 0 else "0." + "0" * -point + digits
    return digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1}"


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _wrapped(part: _Text, level: int) -> str:
    text, own = part
    return text if own >= level else f"({text})"


def _spell(element: Element, parts: list[_Text], name_of: Callable[[str], str]) -> _Text:
    tag = _tag(element)
    if tag == "cn":
        return number_text(_value(element)), _ATOM
    if tag == "ci":
        return name_of((element.text or "").strip()), _ATOM
    if tag == "csymbol":
        what = element.get("definitionURL", "").rpartition("/")[2]
        if what not in _SYMBOLS:
            raise _no_word(f"the symbol {what!r}")
        return _SYMBOLS[what], _ATOM
    if tag in _CONSTANT_NAMES:
        return _CONSTANT_NAMES[tag], _ATOM
    if tag in ("piece", "otherwise"):
        return ", ".join(text for text, _ in parts), _OPEN
    if tag == "piecewise":
        return f"piecewise({', '.join(text for text, _ in parts)})", _ATOM
    if tag == "degree":
        return parts[0]
    if tag == "apply":
        return _apply(element, parts)
    return tag, _ATOM  # the operator of an apply element, which _apply looks at itself


def _apply(element: Element, parts: list[_Text]) -> _Text:
    operator = _tag(element[0])
    args = parts[1:]
    if operator == "minus":
        if len(args) == 1:
            inside = _wrapped(args[0], _ATOM)
            return ("- " if inside[0] == "o" else "-") + inside, _SUM  # "-o" is an arrow in Antimony
        return f"{_wrapped(args[0], _SUM)} - {_wrapped(args[1], _PRODUCT)}", _SUM
    if operator == "plus":
        first = [_wrapped(arg, _SUM) for arg in args[:1]]
        return " + ".join([*first, *(_wrapped(arg, _PRODUCT) for arg in args[1:])]) or "0", _SUM
    if operator == "times":
        first = [_wrapped(arg, _PRODUCT) for arg in args[:1]]
        return "*".join([*first, *(_wrapped(arg, _POWER) for arg in args[1:])]) or "1", _PRODUCT
    if operator == "divide":
        return _quotient(_wrapped(args[0], _PRODUCT), _wrapped(args[1], _POWER)), _PRODUCT
    if operator == "power":
        return f"{_wrapped(args[0], _ATOM)}^{_wrapped(args[1], _ATOM)}", _POWER
    if operator == "root":
        degree, base = args if len(args) == 2 else (("2", _ATOM), args[0])
        return f"{_wrapped(base, _ATOM)}^(1/{_wrapped(degree, _ATOM)})", _POWER
    if operator in _RELATIONS and len(args) == 2:
        return f"{_wrapped(args[0], _SUM)} {_RELATIONS[operator]} {_wrapped(args[1], _SUM)}", _OPEN
    if operator in _LOGIC and len(args) > 1:
        return _LOGIC[operator].join(_wrapped(arg, _ATOM) for arg in args), _OPEN
    if operator in _FUNCTIONS or operator in _LOGIC:
        return f"{operator}({', '.join(text for text, _ in args)})", _ATOM
    raise _no_word(f"'{operator}' of {len(args)} arguments")


def _value(element: Element) -> Fraction:
    kind = element.get("type", "real")
    first = (element.text or "").strip()
    if kind in ("e-notation", "rational"):
        second = (element[0].tail or "").strip()
        if kind == "rational":
            return Fraction(int(first), int(second))
        return Fraction(first) * Fraction(10) ** int(second)
    return Fraction(first)


def _no_word(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(Reason("not-writable", f"Antimony has no words for {what}; write SBML instead"))
