"""Infix text in and out, and numbers as decimal text.

One reader and one printer serve every dialect: users' expressions here, the languages of :mod:`sbmlump.formats` there,
each a subclass that says what its words are. Both keep stacks of their own instead of recursing, so an expression may
be as deep as it likes, and nothing is evaluated.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext
from fractions import Fraction
from typing import ClassVar, Final, Generic, NamedTuple, NoReturn, TypeVar

from sbmlump.model.graph import FUNCTIONS, Graph, Node, Op

__all__ = [
    "ATOM",
    "END",
    "NEWLINE",
    "OPEN",
    "POWER",
    "PRODUCT",
    "SUM",
    "ExpressionError",
    "GraphPrinter",
    "InfixReader",
    "Operand",
    "Spelling",
    "TextLimits",
    "combination",
    "short_number",
    "decimal_digits",
    "exact_repr",
    "double_text",
    "is_name",
    "is_number",
    "joined",
    "one_line",
    "parse_expression",
    "parse_number",
    "plain_decimal",
    "printed",
    "scientific",
    "signed_terms",
    "skip_lines",
    "to_text",
]


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How long text may be.

    Attributes
    ----------
    expression : int
        Characters of an expression that a user writes: a thousand times what people type, read within a second.
    exponent : int
        Of a number: doubles end at 10^308 and 10^-324.
    digits : int
        Of a number: Python refuses to read integers of 4,300 digits, which take quadratic time.
    """

    expression: int = 100_000
    exponent: int = 400
    digits: int = 2_000


_LIMITS: Final = TextLimits()
_SMALLEST: Final = Fraction(sys.float_info.min)  # below, doubles lose digits
_LARGEST: Final = Fraction(sys.float_info.max)


EXPRESSION_FUNCTIONS: Final = frozenset(FUNCTIONS | {"log", "pow", "power", "sqrt"})
"""Functions of the language of observables."""


class ExpressionError(ValueError):
    """The text is no expression, or names something unknown.

    Attributes
    ----------
    position : int
        Character (from 0) at which it went wrong.
    name : str or None
        The unknown name, if that is what is wrong.
    """

    def __init__(self, message: str, position: int, name: str | None = None) -> None:
        super().__init__(message)
        self.position = position
        self.name = name


# -- Numbers -----------------------------------------------------------------------------------------


def parse_number(text: str, position: int = 0, *, doubles: bool = False, limits: TextLimits = _LIMITS) -> Fraction:
    """Exact value of decimal text, which stands at character ``position``.

    Parameters
    ----------
    text : str
    position : int
    doubles : bool
        Refuse what is 0 or infinite as a double: no simulator and no format can take it.
    limits : TextLimits

    Raises
    ------
    ExpressionError
        If the exponent is beyond that of any double, there are more than 2,000 digits, or the number is refused.
    """
    digits, _, exponent = text.lower().partition("e")
    # lengths first: Python refuses to read integers of thousands of digits
    too_long = max(len(digits), len(exponent)) > limits.digits
    if too_long or (exponent and abs(int(exponent)) > limits.exponent):
        raise _out_of_range(text, position)
    value = Fraction(text)
    if doubles and value and not (_SMALLEST <= value <= _LARGEST):
        raise _out_of_range(text, position)
    return value


def _out_of_range(text: str, position: int) -> ExpressionError:
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return ExpressionError(f"the number {shown} is out of range", position)


def decimal_digits(
    value: Fraction, most_bits: int | None = None, most_places: int | None = None
) -> tuple[str, int] | None:
    """Digits d, without zeros at the end, and exponent e with |value| = d·10^e; ``None`` if no decimal text ends.

    Parameters
    ----------
    value : Fraction
    most_bits : int, optional
        ``None`` is returned, too, if d without its exponent has more: decimal text of integers takes quadratic time,
        and Python refuses it beyond 4,300 digits.
    most_places : int, optional
        ``None`` is returned, too, if there are more digits behind the point.
    """
    denominator, fives = value.denominator, 0
    twos = (denominator & -denominator).bit_length() - 1
    denominator >>= twos
    while denominator % 5 == 0:
        denominator //= 5
        fives += 1
    if denominator != 1:
        return None
    places = max(twos, fives)
    if most_places is not None and places > most_places:
        return None
    integer = abs(value.numerator) * 2 ** (places - twos) * 5 ** (places - fives)
    if most_bits is not None and integer.bit_length() > most_bits:
        return None
    text = str(integer)
    digits = text.rstrip("0") or "0"
    return digits, len(text) - len(digits) - places


def plain_decimal(digits: str, exponent: int) -> str:
    """d·10^e without an exponent: ``1200``, ``12.5``, ``0.0012``."""
    if exponent >= 0:
        return digits + "0" * exponent
    point = len(digits) + exponent
    if point <= 0:
        return "0." + "0" * -point + digits
    return digits[:point] + "." + digits[point:]


def scientific(digits: str, exponent: int, mark: str = "e") -> str:
    """d·10^e with one digit before the point: ``1.25e-7``."""
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}{mark}{len(digits) - 1 + exponent}"


def double_text(value: float) -> str:
    """Shortest text that is read as ``value``, without ``.0`` at the end."""
    return repr(float(value)).removesuffix(".0")


# -- In ----------------------------------------------------------------------------------------------


NEWLINE: Final = "\n"
END: Final = ""
"""Stands after the last word (twice, so that looking one further is safe)."""

_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_DIGITS: Final = frozenset("0123456789.")
_MARKS: Final = {"+": "+", "-": "-", "*": "*", "/": "/", "^": "^", "**": "^"}
_PRECEDENCE: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "^": 4}
_RIGHT: Final = frozenset({"neg", "^"})
_WIDTHS: Final = {"power": (2, 2), "rem": (2, 2), "quotient": (2, 2), "min": (1, 1 << 20), "max": (1, 1 << 20)}
_Value = Node | list[Node]  # a list: the terms of a sum that may go on


def is_name(word: str) -> bool:
    """Whether a word is a name."""
    return word[:1] in _LETTERS if word else False


def is_number(word: str) -> bool:
    """Whether a word is a number."""
    return word[:1] in _DIGITS and word != "." if word else False


def skip_lines(words: Sequence[str], index: int) -> int:
    """Index of the first word from ``index`` on that is no line end."""
    while words[index] == NEWLINE:
        index += 1
    return index


@dataclass(slots=True)
class _Stacks:
    """Values, open operators with their places (also "(" and names of functions), and for each open parenthesis the
    number of arguments so far (0: it only groups).
    """

    values: list[_Value]
    operators: list[tuple[str, int]]
    counts: list[int]


class InfixReader:
    """Reads expressions out of a list of words into a graph, by the precedence of operators.

    A sign binds between products and powers (``-x^2`` is −(x²)), powers bind to the right. A line end closes an
    expression, unless it stands inside a parenthesis or beside an operator. What is a number, a name or a function, and
    how errors are told, is for the dialect to say.

    Parameters
    ----------
    words : list of str
        Names, numbers, marks, and :data:`NEWLINE` for line ends that matter; then :data:`END`, twice.
    graph : Graph
    """

    functions: ClassVar[frozenset[str]]
    """Names that may stand before a parenthesis."""
    aliases: ClassVar[Mapping[str, str]]
    """Those of them that the graph calls otherwise."""
    flat_sums: ClassVar[bool]
    """Whether ``a + b + c`` is one node (files may have thousands of terms), or (a + b) + c as people think it."""
    stray_comma: ClassVar[str]
    """What is said of a comma in a parenthesis that only groups."""

    def __init__(self, words: list[str], graph: Graph) -> None:
        self.words = words
        self.graph = graph

    # -- what a dialect decides ----------------------------------------------------------------------

    def number(self, index: int) -> Node:
        """The number that the word at ``index`` is."""
        raise NotImplementedError

    def name(self, word: str, index: int) -> Node:
        """What a name stands for."""
        raise NotImplementedError

    def fail(self, index: int, message: str, code: str = "", element: str | None = None) -> NoReturn:
        """Refuse the text at ``index``."""
        raise NotImplementedError

    def no_operand(self, index: int) -> NoReturn:
        """Refuse what stands in the place of a number, a name or a parenthesis."""
        raise NotImplementedError

    def not_closed(self, index: int, opened: int) -> NoReturn:
        """Refuse what stands in the place of an operator or of the end of the parenthesis at ``opened``."""
        raise NotImplementedError

    def unknown_function(self, word: str, index: int) -> NoReturn:
        """Refuse a name before a parenthesis that is not one of the functions."""
        raise NotImplementedError

    def power_after(self, operator: str, index: int) -> None:
        """Note that the power at ``index`` takes its base after ``operator``: there tools differ."""

    def power(self, base: Node, exponent: Node, index: int) -> Node:
        """The power whose mark stands at ``index``."""
        return self.graph.pow(base, exponent)

    # -- what all have in common ---------------------------------------------------------------------

    def read(self, index: int) -> tuple[Node, int]:
        """The expression that begins at ``index``, and the index after it.

        Raises
        ------
        ExpressionError, InputError
            Whatever the dialect refuses a text by.
        """
        stacks = _Stacks([], [], [])
        words = self.words
        while True:
            index = self._operand(index, stacks)
            index = self._closed(index, stacks)
            after = index if words[index] != NEWLINE else skip_lines(words, index)
            mark = words[after]
            operator = _MARKS.get(mark)
            if operator is not None:
                self._push(stacks, operator, after)
            elif mark == "," and stacks.counts:
                self._unwind(stacks)
                if not stacks.counts[-1]:
                    self.fail(after, self.stray_comma)
                stacks.counts[-1] += 1
            elif stacks.counts:
                self.not_closed(after, next(place for word, place in reversed(stacks.operators) if word == "("))
            else:
                while stacks.operators:
                    self._apply(stacks)
                return self._node(stacks.values[0]), index
            index = after + 1

    def _operand(self, index: int, stacks: _Stacks) -> int:
        """Read signs, opening parentheses and function names up to a number or a name, and that; the index after it."""
        words = self.words
        while True:
            word = words[index]
            if is_number(word):
                stacks.values.append(self.number(index))
                return index + 1
            if is_name(word):
                # a quotation in parentheses is a remark, which no function has for an argument
                if words[index + 1] != "(" or words[index + 2].startswith('"'):
                    stacks.values.append(self.name(word, index))
                    return index + 1
                if word not in self.functions:
                    self.unknown_function(word, index)
                stacks.operators += [(word, index), ("(", index + 1)]
                stacks.counts.append(1)
                index += 1
            elif word == "(":
                stacks.operators.append(("(", index))
                stacks.counts.append(0)
            elif word == "-":
                stacks.operators.append(("neg", index))
            elif word not in (NEWLINE, "+"):
                self.no_operand(index)
            index += 1

    def _closed(self, index: int, stacks: _Stacks) -> int:
        """Close as many parentheses as there stand after a value; the index after them."""
        words = self.words
        while stacks.counts:
            after = index if words[index] != NEWLINE else skip_lines(words, index)
            if words[after] != ")":
                break
            self._unwind(stacks)
            stacks.operators.pop()
            count = stacks.counts.pop()
            values = stacks.values
            if count:
                name, place = stacks.operators.pop()
                args = [self._node(value) for value in values[-count:]]
                del values[-count:]
                values.append(self._call(name, place, args))
            else:
                values.append(self._node(values.pop()))
            index = after + 1
        return index

    def _push(self, stacks: _Stacks, incoming: str, index: int) -> None:
        level = _PRECEDENCE[incoming]
        # names of functions are never met here: each has its parenthesis above it
        while stacks.operators and stacks.operators[-1][0] in _PRECEDENCE:
            top = _PRECEDENCE[stacks.operators[-1][0]]
            if top < level or (top == level and incoming in _RIGHT):
                break
            self._apply(stacks)
        if incoming == "^" and stacks.operators:
            self.power_after(stacks.operators[-1][0], index)
        stacks.operators.append((incoming, index))

    def _unwind(self, stacks: _Stacks) -> None:
        while stacks.operators[-1][0] != "(":
            self._apply(stacks)

    def _apply(self, stacks: _Stacks) -> None:
        """Do the operation on top of the stack."""
        graph, values = self.graph, stacks.values
        operator, index = stacks.operators.pop()
        right = self._node(values.pop())
        if operator == "neg":
            values.append(graph.neg(right))
            return
        left = values.pop()
        if operator in ("+", "-") and self.flat_sums:
            terms = left if isinstance(left, list) else [left]
            terms.append(right if operator == "+" else graph.neg(right))
            values.append(terms)
            return
        left = self._node(left)
        if operator == "+":
            values.append(graph.add((left, right)))
        elif operator == "-":
            values.append(graph.sub(left, right))
        elif operator == "*":
            values.append(graph.mul((left, right)))
        elif operator == "/":
            values.append(graph.div(left, right))
        else:
            values.append(self.power(left, right, index))

    def _node(self, value: _Value) -> Node:
        return self.graph.add(value) if isinstance(value, list) else value

    def _call(self, word: str, index: int, args: list[Node]) -> Node:
        graph = self.graph
        name = self.aliases.get(word, word)
        least, most = _WIDTHS.get(name, (1, 1))
        if not least <= len(args) <= most:
            self.fail(index, f"'{word}' does not take {len(args)} arguments")
        if name == "power":
            return graph.pow(args[0], args[1])
        if name == "sqrt":
            return graph.pow(args[0], graph.number(Fraction(1, 2)))
        if name in ("log10", "log2"):
            base = graph.call("ln", (graph.number(int(name[3:])),))
            return graph.div(graph.call("ln", args), base)
        return graph.call(name, args)


# what users write for observables: ids, numbers, ``+ - * / ^``, parentheses, and the functions of the graph
_TOKEN: Final = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[A-Za-z_][A-Za-z0-9_]*|\*\*|[-+*/^(),]")
_VISIBLE: Final = re.compile(r"\S")


def _past_space(text: str, position: int) -> int:
    visible = _VISIBLE.search(text, position)
    return len(text) if visible is None else visible.start()


class _ObservableReader(InfixReader):
    functions = EXPRESSION_FUNCTIONS
    aliases: ClassVar[Mapping[str, str]] = {"log": "ln", "pow": "power"}
    flat_sums = False
    stray_comma = "a comma stands outside a function call"

    def __init__(self, graph: Graph, text: str, definitions: Mapping[str, Node], doubles: bool) -> None:
        super().__init__([], graph)
        self._definitions = definitions
        self._doubles = doubles
        self._places: list[int] = []
        place = _past_space(text, 0)
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise ExpressionError(f"'{text[place]}' is not part of an expression", place)
            self.words.append("^" if match[0] == "**" else match[0])
            self._places.append(place)
            place = _past_space(text, match.end())
        self.words += (END, END)
        self._places += (len(text), len(text))

    def whole(self) -> Node:
        """The expression that the text is."""
        node, index = self.read(0)
        word = self.words[index]
        if word in (")", ","):
            self.fail(index, f"'{word}' has no opening parenthesis")
        if word != END:
            self.fail(index, f"an operator was expected before '{word}'")
        return node

    def number(self, index: int) -> Node:
        return self.graph.number(parse_number(self.words[index], self._places[index], doubles=self._doubles))

    def name(self, word: str, index: int) -> Node:
        node = self._definitions.get(word)
        if node is None:
            self.fail(index, f"'{word}' is not in the model", element=word)
        return node

    def fail(self, index: int, message: str, code: str = "", element: str | None = None) -> NoReturn:
        raise ExpressionError(message, self._places[index], element)

    def no_operand(self, index: int) -> NoReturn:
        if self.words[index] == END:
            self.fail(index, "the expression ends too early")
        self.fail(index, f"a name or number was expected before '{self.words[index]}'")

    def not_closed(self, index: int, opened: int) -> NoReturn:
        if self.words[index] == END:
            self.fail(opened, "a parenthesis is not closed")
        self.fail(index, f"an operator was expected before '{self.words[index]}'")

    def unknown_function(self, word: str, index: int) -> NoReturn:
        self.fail(index, f"'{word}' is not a function", element=word)


def parse_expression(
    graph: Graph,
    text: str,
    definitions: Mapping[str, Node],
    *,
    doubles: bool = False,
    limits: TextLimits = _LIMITS,
) -> Node:
    """Read an infix expression.

    Parameters
    ----------
    graph : Graph
    text : str
        For example ``A + 2*B - 0.5*C``.
    definitions : mapping of id to Node
        What each known id stands for.
    doubles : bool
        Refuse numbers that are 0 or infinite as doubles.
    limits : TextLimits

    Raises
    ------
    ExpressionError
        With the position of what is wrong.
    """
    if len(text) > limits.expression:
        raise ExpressionError("the expression is too long", limits.expression)
    return _ObservableReader(graph, text, definitions, doubles).whole()


# -- Out ---------------------------------------------------------------------------------------------


OPEN, SUM, PRODUCT, POWER, ATOM = range(5)
"""How tightly the text of an expression holds together, loosest first: what stands where something tighter is wanted
gets parentheses."""

_N = TypeVar("_N")


class Operand(NamedTuple, Generic[_N]):
    """A part of an expression, and how tightly it has to hold together where it stands."""

    node: _N
    level: int


Spelling = tuple[int, Sequence[str | Operand[_N]]]
"""How tightly an expression holds together, and its text with operands that are still to be spelled."""


def printed(
    operand: Operand[_N], spell: Callable[[_N], Spelling[_N]], brackets: tuple[str, str] = ("(", ")")
) -> Iterator[str]:
    """Text of an expression, piece by piece.

    Parameters
    ----------
    operand : Operand
        The expression, and how tightly it has to hold together.
    spell : callable node → Spelling
        One level of a dialect.
    brackets : (str, str)
    """
    stack: list[str | Operand[_N]] = [operand]
    while stack:
        piece = stack.pop()
        if isinstance(piece, str):
            yield piece
            continue
        level, pieces = spell(piece.node)
        if level < piece.level:
            yield brackets[0]
            stack.append(brackets[1])
        stack.extend(reversed(pieces))


class GraphPrinter:
    """Spells the operations of one graph as users write them; other dialects override what they spell otherwise.

    Parameters
    ----------
    graph : Graph
    """

    first_factor: ClassVar[int] = PRODUCT
    """How tightly the first factor of a product, and a dividend, has to hold together."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def pieces(self, root: Node) -> Iterator[str]:
        """Text of ``root``, piece by piece."""
        return printed(Operand(root, OPEN), self.spell)

    def spell(self, node: Node) -> Spelling[Node]:
        """One level of the expression."""
        graph = self.graph
        op, args = graph.op(node), graph.args(node)
        value = graph.number_of(node)
        if value is not None:
            return self.number(value)
        if op is Op.SYMBOL:
            return ATOM, [self.symbol(graph.name(node))]
        if op is Op.TIME:
            return ATOM, [self.time()]
        if op is Op.CONSTANT:
            return ATOM, [self.constant(graph.name(node))]
        if op is Op.ADD:
            return self.sum(args)
        if op is Op.MUL:
            return self.product(args)
        if op is Op.DIV:
            return self.quotient(*args)
        if op is Op.POW:
            return self.power(*args)
        if op is Op.PIECEWISE:
            return self.piecewise(args)
        return self.call(graph.name(node), args)

    def number(self, value: Fraction) -> Spelling[Node]:
        """A number."""
        return PRODUCT if value < 0 or value.denominator != 1 else ATOM, [_number_text(value)]

    def symbol(self, name: str) -> str:
        """An id."""
        return name

    def time(self) -> str:
        """The time."""
        return "time"

    def constant(self, name: str) -> str:
        """A named constant such as ``pi``."""
        return name

    def sum(self, args: Sequence[Node]) -> Spelling[Node]:
        """Terms; negative ones are subtracted."""
        graph = self.graph
        out: list[str | Operand[Node]] = []
        for position, arg in enumerate(args):
            factor = graph.number_of(graph.args(arg)[0]) if graph.op(arg) is Op.MUL else graph.number_of(arg)
            if factor is not None and factor < 0:
                opposite = graph.neg(arg)
                text: list[str | Operand[Node]] = [Operand(opposite, PRODUCT)]
                out += [" - ", *text] if position else ["-", *self.after_sign(opposite, text)]
            else:
                out += [" + "] if position else []
                out.append(Operand(arg, PRODUCT))
        return SUM, out

    def product(self, args: Sequence[Node]) -> Spelling[Node]:
        """Factors; the number −1 is a sign."""
        signed = self.graph.number_of(args[0]) == -1
        out: list[str | Operand[Node]] = []
        for position, arg in enumerate(args[1:] if signed else args):
            out += ["*"] if position else []
            out.append(Operand(arg, POWER if position or signed else self.first_factor))
        return PRODUCT, ["-", *self.after_sign(args[1], out)] if signed else out

    def after_sign(self, first: Node, text: list[str | Operand[Node]]) -> list[str | Operand[Node]]:
        """What stands after a sign, and begins with ``first``."""
        return text

    def quotient(self, top: Node, bottom: Node) -> Spelling[Node]:
        """A quotient."""
        return PRODUCT, [Operand(top, self.first_factor), "/", Operand(bottom, POWER)]

    def power(self, base: Node, exponent: Node) -> Spelling[Node]:
        """A power; no reader has to know to which side powers bind."""
        return POWER, [Operand(base, ATOM), "^", Operand(exponent, ATOM)]

    def piecewise(self, args: Sequence[Node]) -> Spelling[Node]:
        """Values and their conditions in turn, then the value otherwise."""
        return self.call("piecewise", args)

    def call(self, name: str, args: Sequence[Node]) -> Spelling[Node]:
        """A function of arguments."""
        return ATOM, [name, "(", *joined(args), ")"]


def joined(nodes: Iterable[_N], mark: str = ", ", level: int = OPEN) -> list[str | Operand[_N]]:
    """Expressions with ``mark`` between them."""
    out: list[str | Operand[_N]] = []
    for node in nodes:
        out += [mark] if out else []
        out.append(Operand(node, level))
    return out


def to_text(graph: Graph, root: Node, limit: int = 100_000) -> str:
    """Readable infix text of ``root``; what exceeds ``limit`` characters is cut with an ellipsis."""
    pieces: list[str] = []
    length = 0
    for piece in GraphPrinter(graph).pieces(root):
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            pieces.append("…")
            break
    return "".join(pieces)


def _number_text(value: Fraction) -> str:
    if value.denominator == 1 and abs(value.numerator) < 10**15:
        return str(value.numerator)
    try:
        decimal = repr(float(value))
    except OverflowError:
        return str(value)
    return decimal if Fraction(decimal) == value else str(value)


# -- Linear combinations as text ---------------------------------------------------------------------


def short_number(value: Fraction, longest: int = 12, digits: int = 4, mark: str = "") -> str:
    """A rational for people: exactly where that takes at most ``longest`` characters, else with so many ``digits``.

    It may have any size: ``1.234e+4000`` is said of what no double holds. ``mark`` stands behind what is rounded.
    """
    if value.numerator.bit_length() + value.denominator.bit_length() <= 4 * longest:
        text = str(value)
        if len(text) <= longest:
            return text
    with localcontext() as context:
        context.prec = digits + 4
        context.Emax, context.Emin = MAX_EMAX, MIN_EMIN
        rounded = Decimal(value.numerator) / Decimal(value.denominator)
    plain = -300 < rounded.adjusted() < 300
    return (f"{float(rounded):.{digits}g}" if plain else f"{rounded:.{digits - 1}e}") + mark


def combination(
    terms: Iterable[tuple[str, Fraction]],
    most: int | None = None,
    *,
    times: str = "*",
    minus: str = "-",
    more: str = "+ … ({} more)",
    number: Callable[[Fraction], str] = str,
) -> str:
    """Σ coefficient · name for people, such as ``A + 2*B - 1/2*C``; ``0`` for nothing.

    Parameters
    ----------
    terms : iterable of (name, coefficient)
    most : int, optional
        Terms from which on it is only said how many ``more`` there are.
    times, minus : str
        Signs of multiplication and of negative terms.
    more : str
        What stands for the terms that are left out, whose number takes the place of ``{}``.
    number : callable Fraction → str
        Text of a coefficient, which is positive and not 1.
    """
    texts = list(signed_terms(terms, times=times, minus=minus, number=number))
    if most is not None and len(texts) > most:
        texts[most:] = [more.format(len(texts) - most)]
    return " ".join(texts) or "0"


def signed_terms(
    terms: Iterable[tuple[str, Fraction]],
    *,
    times: str = "*",
    minus: str = "-",
    number: Callable[[Fraction], str] = str,
) -> Iterator[str]:
    """Each term of :func:`combination` with its sign: ``A``, ``+ 2*B``, ``- 1/2*C``."""
    for position, (name, value) in enumerate(terms):
        term = name if abs(value) == 1 else f"{number(abs(value))}{times}{name}"
        if position:
            yield f"{minus} {term}" if value < 0 else f"+ {term}"
        else:
            yield f"{minus}{term}" if value < 0 else term


# -- Text of a model as one line that does nothing but be read -----------------------------------


def one_line(text: str) -> str:
    """``text`` on one line: white space becomes a blank, and what does not print (control characters, marks that turn
    the direction of writing) becomes U+FFFD.
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def exact_repr(value: Fraction) -> str:
    """The shortest text of the double that is just this number, as Python writes it; empty if there is none."""
    if max(abs(value.numerator), value.denominator) >= 10**300:
        return ""
    text = repr(float(value))
    return text if Fraction(text) == value else ""
