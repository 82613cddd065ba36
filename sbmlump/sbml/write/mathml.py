"""Nodes of an expression graph as MathML text.

The text is made here rather than through libSBML's syntax trees, because those print numbers with 15 digits, take
quadratic time over long sums and crash on deep trees; what is written is read back with libSBML afterwards
(``write_check``). Everything is a loop: an expression may be as deep as ``write_sharing`` lets it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from sbmlump.errors import LimitError, Reason
from sbmlump.model.evaluate import field_values
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.text import decimal_digits, double_text, plain_decimal

__all__ = [
    "MATHML",
    "SETTINGS",
    "FactorOrder",
    "MathmlPrinter",
    "NumberTexts",
    "WritingSettings",
    "attribute_text",
    "double_of",
    "is_decimal",
]


# -- Numbers as text that comes back exactly -----------------------------------------------------

# libSBML prints doubles with 15 digits and multiplies the mantissa of e-notation by a rounded power of ten, so a
# number is written here as the text that both readings turn into the same thing: read exactly it is the rational,
# read by libSBML it is the nearest double.


_HIGH: Final = 2**31 - 1
_LOW: Final = -_HIGH
_LIMB: Final = 10**15


@dataclass(frozen=True, slots=True)
class WritingSettings:
    """What readers bear, and how numbers are tried.

    Attributes
    ----------
    terms : int
        Of a written sum or product, which libSBML reads as nested pairs; libRoadRunner crashes on sums of 10,000.
    depth : int
        Levels of graph; printing may add one level to each (a minus), and 900 is what libSBML checks in good time.
    pairs : int
        Levels of the tree that libSBML makes, in which a sum of n terms is n levels deep.
    large : int
        Written nodes from which a shared sub-expression always gets a name: below, names cost more than they save.
    large_when_scarce, budget : int
        The same where all expressions together have more than ``budget`` written nodes (some ten megabytes).
    flux : int
        Nodes from which a flux is printed as the id of its reaction in rules.
    function : int
        Nodes of the written body of a function definition; such a body is not too deep for any reader either.
    law_parts : int
        Terms and factors of a kinetic law that are looked at for what COPASI overlooks: nobody takes a longer one for
        mass action, and where a law uses what it is made of again and again, there is no end to them.
    plain_exponents : (int, int)
        Decimal exponents of numbers that are written without one, as people write them.
    shifts : (int, int)
        Places of the decimal point in a mantissa that are tried: enough to keep the power of ten a normal double.
    neighbours : int
        Of a decimal that are tried to both sides, in units of its last digit; nearly always one of the first three
        will do.
    bits : int
        Longer integers are not turned into decimal text, which takes quadratic time.
    power : int
        Of ten, that is written as one number: a normal double.
    digits_in_sum : int
        Decimals with so many digits are written as sums of doubles (16 digits each); longer ones as quotients.
    reactions_checked, bytes_checked : int
        Of a file that libSBML's own check is asked for: it takes about 2 s for 3 MB, and 23 s for 7 MB.
    errors_listed : int
        Of a file that is not written.
    """

    terms: int = 128
    depth: int = 440
    pairs: int = 1_500
    large: int = 1_000
    large_when_scarce: int = 20
    budget: int = 200_000
    flux: int = 8
    function: int = 400
    law_parts: int = 1_000
    plain_exponents: tuple[int, int] = (-5, 21)
    shifts: tuple[int, int] = (-40, 17)
    neighbours: int = 30
    bits: int = 10_000
    power: int = 300
    digits_in_sum: int = 64
    reactions_checked: int = 5_000
    bytes_checked: int = 3_000_000
    errors_listed: int = 10


SETTINGS: Final = WritingSettings()


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


def is_subnormal(value: float) -> bool:
    """Whether it is nearer to 0 than all normal doubles; libSBML reads such a number in formulas alone."""
    return 0 < abs(value) < sys.float_info.min


def attribute_text(value: Fraction) -> str | None:
    """Text of an attribute of type double; ``None`` if no such text is exactly ``value``."""
    if value.denominator == 1 and _LOW <= value.numerator <= _HIGH:
        return str(value.numerator)
    if not is_decimal(value) or is_subnormal(float(value)):
        return None
    return double_text(float(value))


class NumberTexts:
    """MathML of exact rationals, remembered so that each is made once and all can be checked afterwards."""

    __slots__ = ("_doubles", "_settings", "_texts")

    def __init__(self, settings: WritingSettings = SETTINGS) -> None:
        self._settings = settings
        self._texts: dict[Fraction, str] = {}
        self._doubles: dict[str, Fraction] = {}

    @property
    def settings(self) -> WritingSettings:
        """How they are written."""
        return self._settings

    @property
    def plain(self) -> Mapping[str, Fraction]:
        """Every ``cn`` element handed out, with what it stands for."""
        return self._doubles

    def text(self, value: Fraction) -> str:
        """MathML of ``value``: a ``cn``, or a quotient of such.

        Raises
        ------
        LimitError
            With code ``too-large`` if its parts are beyond the range of doubles.
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
            return self._leaf(_decimal(value, self._settings), value)
        if bottom <= _HIGH and _LOW <= top <= _HIGH:
            return self._leaf(f'<cn type="rational"> {top} <sep/> {bottom} </cn>', value)
        if double_of(value) is None:
            raise _too_large(value)
        digits = decimal_digits(value, self._settings.bits)
        if digits is not None:
            text = _exact_decimal(value, *digits, self._settings)
            if text is not None:
                return self._leaf(text, value)
            if len(digits[0]) <= self._settings.digits_in_sum:
                nearest = _near(value, *digits, self._settings)
                if nearest is not None:
                    return f"<apply><plus/>{self.text(nearest)}{self.text(value - nearest)}</apply>"
        if bottom == 1:
            return self._long_integer(top)
        if double_of(Fraction(top)) is None or double_of(Fraction(bottom)) is None:
            return self._scaled_quotient(top, bottom)
        return f"<apply><divide/>{self.text(Fraction(top))}{self.text(Fraction(bottom))}</apply>"

    def _long_integer(self, value: int) -> str:
        """((a·10^15 + b)·10^15 + c)…: each limb is exact as a double."""
        if double_of(Fraction(value)) is None:
            raise _too_large(Fraction(value))
        limbs = _limbs(value)
        text = self.text(Fraction(limbs[0]))
        base = self.text(Fraction(_LIMB))
        for limb in limbs[1:]:
            text = f"<apply><times/>{text}{base}</apply>"
            if limb:
                text = f"<apply><plus/>{text}{self.text(Fraction(limb))}</apply>"
        return text

    def _scaled_quotient(self, top: int, bottom: int) -> str:
        """p/q whose parts are beyond the range of doubles: (p·10^-a / (q·10^-b)) times powers of ten.

        Each part lies between 1 and 10^15, so that nothing in between is beyond that range as a double either.
        """
        high, high_power = self._leading(top)
        low, low_power = self._leading(bottom)
        text = f"<apply><divide/>{high}{low}</apply>"
        power = high_power - low_power
        while power:
            step = max(-self._settings.power, min(self._settings.power, power))
            text = f"<apply><times/>{text}{self.text(Fraction(10) ** step)}</apply>"
            power -= step
        return text

    def _leading(self, value: int) -> tuple[str, int]:
        """Text of value / 10^n as a + (b + (c + …)/10^15)/10^15, each limb exact as a double, and n."""
        limbs = _limbs(value)
        power = 15 * (len(limbs) - 1)
        while not limbs[-1]:
            limbs.pop()
        text = self.text(Fraction(limbs[-1]))
        base = self.text(Fraction(_LIMB))
        for limb in reversed(limbs[:-1]):
            text = f"<apply><divide/>{text}{base}</apply>"
            if limb:
                text = f"<apply><plus/>{self.text(Fraction(limb))}{text}</apply>"
        return text, power

    def _leaf(self, text: str, value: Fraction) -> str:
        self._doubles[text] = value
        return text


def _decimal(value: Fraction, settings: WritingSettings) -> str:
    """A ``cn`` whose decimal text is ``value`` and which libSBML reads as the nearest double."""
    double = float(value)
    decimal = decimal_digits(value)
    assert decimal is not None
    digits, exponent = decimal
    sign = "-" if double < 0 else ""
    point = len(digits) + exponent  # places before the decimal point
    if settings.plain_exponents[0] <= point - 1 <= settings.plain_exponents[1]:
        return f"<cn> {sign}{plain_decimal(digits, exponent)} </cn>"
    # e-notation is read as mantissa · pow(10, exponent), which may round twice: take a mantissa where it does not
    for before in (1, len(digits), *range(2, len(digits))):
        text = _e_notation(sign, digits, before, point, double)
        if text is not None:
            return text
    return f"<cn> {sign}{plain_decimal(digits, exponent)} </cn>"


def _exact_decimal(value: Fraction, digits: str, exponent: int, settings: WritingSettings) -> str | None:
    """An e-notation that means ``value``, with digits that are not the shortest of its double, and reads as that."""
    sign = "-" if value < 0 else ""
    point = len(digits) + exponent
    low, high = settings.shifts
    for before in sorted(range(low, high + 1), key=lambda place: (place != 1, abs(place - 1))):
        text = _e_notation(sign, digits, before, point, float(value))
        if text is not None:
            return text
    return None


def _near(value: Fraction, digits: str, exponent: int, settings: WritingSettings) -> Fraction | None:
    """A decimal that is read as the double nearest to ``value``, and as doubles leaves that after the rest is added.

    ``None`` among denormal doubles, which are too far apart.
    """
    double = float(value)
    places = exponent + len(digits)
    for kept in (16, 17):
        unit = Fraction(10) ** (places - kept)
        middle = round(value / unit)
        for step in sorted(range(-settings.neighbours, settings.neighbours + 1), key=abs):
            near = (middle + step) * unit
            rest = value - near
            if rest and near != value and abs(rest) < abs(value) / 10**13 and float(near) + float(rest) == double:
                if (
                    is_decimal(near)
                    or _exact_decimal(near, str(abs(middle + step)), places - kept, settings) is not None
                ):
                    return near
    return None


def _e_notation(sign: str, digits: str, before: int, point: int, double: float) -> str | None:
    """0.digits·10^point with ``before`` digits before the decimal point (fewer than 0: zeros after it).

    ``None`` if libSBML does not read that as ``double``, or the mantissa is not what its own double is written as.
    """
    mantissa = sign + plain_decimal(digits, before - len(digits))
    power = point - before
    kept = Fraction(repr(float(mantissa))) == Fraction(mantissa)  # 17 digits may have a shorter text
    if kept and _as_read(mantissa, power) == double:
        return f'<cn type="e-notation"> {mantissa} <sep/> {power} </cn>'
    return None


def _limbs(value: int) -> list[int]:
    """Digits of ``value`` to the base 10^15, highest first, each with its sign."""
    limbs: list[int] = []
    rest = abs(value)
    while rest:
        rest, limb = divmod(rest, _LIMB)
        limbs.append(limb if value > 0 else -limb)
    return limbs[::-1]


def _too_large(value: Fraction) -> LimitError:
    bits = value.numerator.bit_length() - value.denominator.bit_length()
    digits = len(str(abs(int(value)))) if bits < 10_000 else bits * 3 // 10
    message = (
        f"a number of {digits} digits is beyond the range of doubles and cannot be written as SBML; "
        "it is what products or powers of the model's own numbers come to: choose smaller exponents or other units, or "
        "keep fewer parameters symbolic"
    )
    return LimitError(Reason("too-large", message))


def _as_read(mantissa: str, power: int) -> float:
    try:
        return float(mantissa) * 10.0**power
    except OverflowError:
        return float("nan")


# -- Nodes of an expression graph as MathML text -------------------------------------------------


MATHML: Final = "http://www.w3.org/1998/Math/MathML"
_TIME: Final = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> {} </csymbol>'
_END: Final = "</apply>"

_Part = str | Node
"""A piece of finished text, or a node still to be printed."""


class MathmlPrinter:
    """Prints expressions of one graph; ``names`` are nodes printed as an id instead of being opened.

    Parameters
    ----------
    graph : Graph
    names : mapping of Node to str
        Ids that always have the value of the node.
    numbers : NumberTexts
        Shared by everything written into one document.
    order : FactorOrder
        In which order factors are printed.
    taken : collection of str
        Ids of the document. Where one of them is ``time``, the text of the symbol of time is another, which can be no
        id: libSBML's check for circles takes the text for an id.
    """

    __slots__ = ("_graph", "_most", "_names", "_numbers", "_order", "_parts", "_time")

    def __init__(
        self,
        graph: Graph,
        names: Mapping[Node, str],
        numbers: NumberTexts,
        order: FactorOrder,
        taken: Collection[str] = (),
    ) -> None:
        self._graph = graph
        self._names = names
        self._numbers = numbers
        self._most = numbers.settings.terms
        self._order = order
        self._time = _TIME.format("simulation time" if "time" in taken else "time")
        self._parts: dict[Node, tuple[_Part, ...]] = {}

    @property
    def settings(self) -> WritingSettings:
        """How everything in the document is written."""
        return self._numbers.settings

    def math(self, root: Node, owner: str | None = None) -> str:
        """A ``math`` element; ``owner`` is the id that this expression defines, which cannot stand in it."""
        return f'<math xmlns="{MATHML}">{self.text(root, owner)}</math>'

    def text(self, root: Node, owner: str | None = None) -> str:
        """Content MathML of ``root``."""
        out: list[str] = []
        name = self._names.get(root)
        first = self._open(root) if name is None or name == owner else (f"<ci> {name} </ci>",)
        stack: list[_Part] = list(reversed(first))
        names = self._names
        while stack:
            part = stack.pop()
            if isinstance(part, str):
                out.append(part)
            elif part in names:
                out.append(f"<ci> {names[part]} </ci>")
            else:
                parts = self._open(part)
                if len(parts) == 1:
                    stack.append(parts[0])
                else:
                    stack.extend(reversed(parts))
        return "".join(out)

    def name_of(self, node: Node) -> str | None:
        """The id that stands for ``node`` where it is used."""
        return self._names.get(node)

    def ids(self, root: Node, owner: str | None = None) -> set[str]:
        """Ids that stand in the printed text of ``root``."""
        graph, names = self._graph, self._names
        found: set[str] = set()
        seen: set[Node] = set()
        stack = [root]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            name = names.get(node)
            if name is not None and not (node == root and name == owner):
                found.add(name)
            elif graph.op(node) is Op.SYMBOL:
                found.add(graph.name(node))
            else:
                stack.extend(graph.args(node))
        return found

    # -- one level -----------------------------------------------------------------------------------

    def _open(self, node: Node) -> tuple[_Part, ...]:
        parts = self._parts.get(node)
        if parts is None:
            parts = self._parts[node] = self._make(node)
        return parts

    def _make(self, node: Node) -> tuple[_Part, ...]:
        graph = self._graph
        op, args = graph.op(node), graph.args(node)
        if op is Op.NUMBER:
            value = graph.number_of(node)
            assert value is not None
            return (self._numbers.text(value),)
        if op is Op.SYMBOL:
            return (f"<ci> {graph.name(node)} </ci>",)
        if op is Op.TIME:
            return (self._time,)
        if op is Op.CONSTANT:
            return (f"<{graph.name(node)}/>",)
        if op is Op.ADD:
            return self._sum(args)
        if op is Op.MUL:
            return self._product(*self._factors(node))
        if op is Op.PIECEWISE:
            return _piecewise(args)
        tag = {Op.DIV: "divide", Op.POW: "power"}.get(op) or graph.name(node)
        return (f"<apply><{tag}/>", *args, _END)

    def _sum(self, args: tuple[Node, ...]) -> tuple[_Part, ...]:
        negative = self._subtracted(args)
        if negative is not None:
            return ("<apply><minus/>", args[0], *negative, _END)
        # (a + b) + c is how libSBML reads a + b + c
        graph, names = self._graph, self._names
        tails: list[tuple[Node, ...]] = []
        while args[0] not in names and graph.op(args[0]) is Op.ADD:
            inner = graph.args(args[0])
            if self._subtracted(inner) is not None:
                break
            tails.append(args[1:])
            args = inner
        return _many("plus", (*args, *(term for tail in reversed(tails) for term in tail)), self._most)

    def _subtracted(self, args: tuple[Node, ...]) -> tuple[_Part, ...] | None:
        """Parts of −b if a sum is printed as a − b: it has two terms, and the second is a negative one."""
        if len(args) != 2 or args[1] in self._names:
            return None
        value = self._graph.number_of(args[1])
        if value is not None:
            return (self._numbers.text(-value),) if value < 0 else None
        if self._graph.op(args[1]) is not Op.MUL:
            return None
        factor, rest = self._factors(args[1])
        return self._product(-factor, rest) if factor < 0 else None

    def _factors(self, node: Node) -> tuple[Fraction, tuple[Node, ...]]:
        """Number and other factors of a product c·(x·y·…), the latter in the order of printing."""
        graph = self._graph
        args = graph.args(node)
        factor = graph.number_of(args[0])
        if factor is None:
            factor = Fraction(1)
        elif len(args) == 2 and args[1] not in self._names and graph.op(args[1]) is Op.MUL:
            args = graph.args(args[1])
        else:
            args = args[1:]
        return factor, self._sorted(args)

    def _sorted(self, args: tuple[Node, ...]) -> tuple[Node, ...]:
        names, key = self._names, self._order.key
        return tuple(sorted(args, key=lambda node: key(node, names.get(node))))

    def _product(self, factor: Fraction, rest: tuple[Node, ...]) -> tuple[_Part, ...]:
        """factor · rest; a factor that no decimal text can hold becomes a division."""
        if factor == 1:
            return rest if len(rest) == 1 else _many("times", rest, self._most)
        if factor == -1:
            return ("<apply><minus/>", *self._product(Fraction(1), rest), _END)
        if factor.denominator != 1 and not is_decimal(factor):
            top = self._product(Fraction(factor.numerator), rest)
            return ("<apply><divide/>", *top, self._numbers.text(Fraction(factor.denominator)), _END)
        return _many("times", (self._numbers.text(factor), *rest), self._most)


class FactorOrder:
    """An order of factors that does not depend on how the graph came about: numbers, ids by rank and name, the rest.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Everything that will be printed.
    ranks : mapping of str to int
        Place of an id among others, smaller first; 0 where it is absent.
    """

    __slots__ = ("_graph", "_hashes", "_ranks")

    def __init__(self, graph: Graph, roots: Sequence[Node], ranks: Mapping[str, int]) -> None:
        self._graph = graph
        self._ranks = ranks
        compound: set[Node] = set()
        for node in graph.reachable(roots):
            if graph.op(node) is Op.MUL:
                several = [arg for arg in graph.args(node) if graph.args(arg)]
                if len(several) > 1:
                    compound.update(several)
        # values at a random point tell expressions apart without regard to the numbers of their nodes
        self._hashes = field_values(graph, sorted(compound)) if compound else {}

    def key(self, node: Node, name: str | None) -> tuple[int, int, str, int]:
        """Sorting key of ``node``, which is printed as ``name`` if that is given."""
        graph = self._graph
        op = graph.op(node)
        if op is Op.NUMBER:
            return 0, 0, "", 0
        if name is None and op is Op.SYMBOL:
            name = graph.name(node)
        if name is not None:
            return 1, self._ranks.get(name, 0), name, 0
        if op is Op.TIME or op is Op.CONSTANT:
            return 2, 0, str(graph.payload(node)), 0
        return 3, 0, "", self._hashes.get(node, 0)


def _many(tag: str, args: Sequence[_Part], most: int) -> tuple[_Part, ...]:
    """An n-ary sum or product; a very long one in groups, because libSBML reads it as nested pairs."""
    groups: list[tuple[_Part, ...]] = [(arg,) for arg in args]
    while len(groups) > most:
        groups = [_applied(tag, groups[low : low + most]) for low in range(0, len(groups), most)]
    return _applied(tag, groups)


def _applied(tag: str, groups: Sequence[tuple[_Part, ...]]) -> tuple[_Part, ...]:
    if len(groups) == 1:
        return groups[0]
    return (f"<apply><{tag}/>", *(part for group in groups for part in group), _END)


def _piecewise(args: tuple[Node, ...]) -> tuple[_Part, ...]:
    parts: list[_Part] = ["<piecewise>"]
    for value, condition in zip(args[:-1:2], args[1::2], strict=True):
        parts += ("<piece>", value, condition, "</piece>")
    return (*parts, "<otherwise>", args[-1], "</otherwise></piecewise>")
