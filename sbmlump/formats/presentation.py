"""Equations of a model as MathML that browsers show by themselves (presentation, not the content that SBML holds)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import Final

from sbmlump.formats.latex import PartPrinter
from sbmlump.model.graph import RELATIONS, Graph, Node, Op
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import ATOM, OPEN, PRODUCT, SUM, Operand, Spelling, exact_repr, joined, one_line

__all__ = ["Equations", "EquationSettings", "equations_of"]


@dataclass(frozen=True, slots=True)
class EquationSettings:
    """How much is shown: what is longer is no help to a reader and makes a page heavy.

    Attributes
    ----------
    equations : int
        Of each kind.
    part : int
        Characters of MathML from which a part of an expression gets a name of its own (some four lines).
    longest : int
        Characters of one equation; its parts with names count by themselves.
    whole : int
        Characters of all.
    id : int
        Characters of an id from which on a shorter name stands for it.
    """

    equations: int = 40
    part: int = 2_500
    longest: int = 20_000
    whole: int = 400_000
    id: int = 24


@dataclass(frozen=True, slots=True)
class Equations:
    """Equations as ``math`` elements, each in pieces between which a line may be broken: browsers break none inside.

    Attributes
    ----------
    rates, assigned, parts : tuple of tuple of str
        Rates of the states; quantities that follow; what parts with names stand for.
    left_out : int
        Equations that are not here, too many or too long.
    """

    rates: tuple[tuple[str, ...], ...]
    assigned: tuple[tuple[str, ...], ...]
    parts: tuple[tuple[str, ...], ...]
    left_out: int


def equations_of(
    system: OdeSystem, shown: Iterable[str] = (), settings: EquationSettings = EquationSettings()
) -> Equations:
    """Rates of a system, and those of its assigned quantities that are ``shown``.

    Parameters
    ----------
    system : OdeSystem
    shown : iterable of str
        Ids of assigned quantities.
    settings : EquationSettings
    """
    printer = _MathPrinter(system.graph, settings.part, _short_names(system, settings.id))
    values = {one.id: one.value for one in system.assigned}
    wanted = [(_rate(printer.symbol(name)), node) for name, node in zip(system.states, system.rhs, strict=True)]
    follow = [(printer.symbol(name), values[name]) for name in dict.fromkeys(shown) if name in values]
    left_out = max(0, len(wanted) - settings.equations) + max(0, len(follow) - settings.equations)
    lines: list[list[tuple[str, ...]]] = []
    used = 0
    for group in (wanted[: settings.equations], follow[: settings.equations]):
        mine: list[tuple[str, ...]] = []
        for left, node in group:
            text = printer.text(node)
            if len(text) > settings.longest or used + len(text) > settings.whole:
                left_out += 1
                continue
            used += len(text)
            mine.append(_pieces(left, printer.terms(node)))
        lines.append(mine)
    parts = []
    for name, text in printer.named.values():
        if used + len(text) > settings.whole:
            left_out += 1
            continue
        used += len(text)
        parts.append(_pieces(name, [text]))
    return Equations(tuple(lines[0]), tuple(lines[1]), tuple(parts), left_out)


_MARKS: Final = {"lt": "&lt;", "leq": "≤", "gt": "&gt;", "geq": "≥", "eq": "=", "neq": "≠"}
_LOGIC: Final = {"and": "∧", "or": "∨", "xor": "⊕"}
_CONSTANTS: Final = {"pi": "π", "exponentiale": "e", "infinity": "∞"}
_PLAIN: Final = re.compile(r"[\w:.']+")
_MINUS: Final = "<mo>−</mo>"
_TIMES: Final = "<mo>⋅</mo>"


def _pieces(left: str, terms: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"<math><mrow>{text}</mrow></math>" for text in (f"{left}<mo>=</mo>", *terms))


def _short_names(system: OdeSystem, longest: int) -> dict[str, str]:
    """Names in place of ids that nobody reads; those that are one word and stand for one quantity."""
    named = {id: one_line(q.name) for id, q in system.quantities.items() if q.name is not None and id != q.name}
    often = Counter([*named.values(), *system.definitions])
    return {
        id: name
        for id, name in named.items()
        if len(name) < len(id) > longest and often[name] == 1 and _PLAIN.fullmatch(name)
    }


def _rate(symbol: str) -> str:
    return f"<mfrac><mrow><mi>d</mi>{symbol}</mrow><mrow><mi>d</mi><mi>t</mi></mrow></mfrac>"


def _id(name: str) -> str:
    # several letters are upright in MathML by themselves, one would be in italics
    return f'<mi mathvariant="normal">{escape(one_line(name))}</mi>'


def _row(text: str) -> str:
    return f"<mrow>{text}</mrow>"


def _number(value: Fraction) -> str:
    """A positive number."""
    if value.denominator == 1 and value.numerator < 10**15:
        return f"<mn>{value.numerator}</mn>"
    if shortest := exact_repr(value):
        digits, mark, exponent = shortest.partition("e")
        digits = digits.removesuffix(".0")
        if not mark:
            return f"<mn>{digits}</mn>"
        power = f"<msup><mn>10</mn><mn>{str(int(exponent)).replace('-', '−')}</mn></msup>"
        return power if digits == "1" else _row(f"<mn>{digits}</mn>{_TIMES}{power}")
    if max(value.numerator, value.denominator) < 10**6:
        return f"<mfrac><mn>{value.numerator}</mn><mn>{value.denominator}</mn></mfrac>"
    small = max(value.numerator, value.denominator) < 10**300
    return f"<mn>{float(value):.6g}…</mn>" if small else "<mn>…</mn>"


class _MathPrinter(PartPrinter):
    """MathML of nodes; every text is a row of elements."""

    def __init__(self, graph: Graph, longest: int, names: Mapping[str, str]) -> None:
        super().__init__(graph, longest)
        self._names = names

    def part_name(self, number: int) -> str:
        return f"<msub><mi>e</mi><mn>{number}</mn></msub>"

    def bracketed(self, text: str) -> str:
        return f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>"

    def terms(self, root: Node) -> list[str]:
        """Of a sum that was spelled, each with its sign; anything else as one."""
        texts: list[str] = []
        stack = [root]
        while stack:
            node = stack.pop()
            if self.graph.op(node) is Op.ADD and (node == root or node not in self.named):
                stack += reversed(self.graph.args(node))
            else:
                texts.append(self._term(node))
        return [texts[0], *(text if text.startswith(_MINUS) else f"<mo>+</mo>{text}" for text in texts[1:])]

    def _term(self, node: Node) -> str:
        level, text = self.known(node)
        return text if level >= SUM else self.bracketed(text)

    def number(self, value: Fraction) -> Spelling[Node]:
        if value < 0:
            return SUM, [f"{_MINUS}{_number(-value)}"]
        return ATOM if value.denominator == 1 else PRODUCT, [_number(value)]

    def symbol(self, name: str) -> str:
        return _id(self._names.get(name, name))

    def time(self) -> str:
        return "<mi>t</mi>"

    def constant(self, name: str) -> str:
        return f"<mi>{_CONSTANTS.get(name, escape(name))}</mi>"

    def sum(self, args: Sequence[Node]) -> Spelling[Node]:
        out = ""
        for text in map(self._term, args):
            out += text if not out or text.startswith(_MINUS) else f"<mo>+</mo>{text}"
        return SUM, [out]

    def product(self, args: Sequence[Node]) -> Spelling[Node]:
        first = self.graph.number_of(args[0])
        if first is None or first >= 0:
            return PRODUCT, joined(args, _TIMES, PRODUCT)
        size = [] if first == -1 else [_number(-first), _TIMES]
        return SUM, [_MINUS, *size, *joined(args[1:], _TIMES, PRODUCT)]

    def quotient(self, top: Node, bottom: Node) -> Spelling[Node]:
        return PRODUCT, ["<mfrac><mrow>", Operand(top, OPEN), "</mrow><mrow>", Operand(bottom, OPEN), "</mrow></mfrac>"]

    def power(self, base: Node, exponent: Node) -> Spelling[Node]:
        if self.graph.number_of(exponent) == Fraction(1, 2):
            return PRODUCT, ["<msqrt>", Operand(base, OPEN), "</msqrt>"]
        return PRODUCT, [
            "<msup><mrow>",
            Operand(base, ATOM),
            "</mrow><mrow>",
            Operand(exponent, OPEN),
            "</mrow></msup>",
        ]

    def piecewise(self, args: Sequence[Node]) -> Spelling[Node]:
        cell, end = "<mtr><mtd><mrow>", "</mrow></mtd></mtr>"
        out: list[str | Operand[Node]] = ["<mrow><mo>{</mo><mtable>"]
        for value, condition in zip(args[:-1:2], args[1::2], strict=True):
            out += [cell, Operand(value, OPEN), "</mrow></mtd><mtd><mrow><mtext>if&#160;</mtext>"]
            out += [Operand(condition, OPEN), end]
        otherwise = "</mrow></mtd><mtd><mtext>otherwise</mtext></mtd></mtr></mtable></mrow>"
        return ATOM, [*out, cell, Operand(args[-1], OPEN), otherwise]

    def call(self, name: str, args: Sequence[Node]) -> Spelling[Node]:
        marks: Mapping[str, str] = _MARKS if name in RELATIONS else _LOGIC
        if name in marks:
            return OPEN, joined(args, f"<mo>{marks[name]}</mo>", PRODUCT)
        head = "<mo>¬</mo>" if name == "not" else f"<mi>{escape(name)}</mi>"
        return ATOM, [f"<mrow>{head}<mo>(</mo>", *joined(args, "<mo>,</mo>"), "<mo>)</mo></mrow>"]
