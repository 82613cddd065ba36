"""Infix text in and out.

The parser is an explicit-stack (shunting-yard) one: no recursion, nothing is evaluated. It reads what users write for
observables: ids, numbers, ``+ - * / ^``, parentheses, and the functions of the graph.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeVar

from sbmlump.model.graph import FUNCTIONS, Graph, Node, Op

__all__ = [
    "ExpressionError",
    "parse_expression",
    "parse_number",
    "to_text",
    "add_multiple",
    "one_line",
    "combination",
    "signed_terms",
]


_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>\*\*|[-+*/^(),]))"
)
_PRECEDENCE: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "^": 4}
_RIGHT: Final = frozenset({"^", "neg"})
_MAX_LENGTH: Final = 100_000
_MAX_EXPONENT: Final = 400
_MAX_DIGITS: Final = 2_000
_SMALLEST: Final = Fraction(sys.float_info.min)  # below, doubles lose digits
_LARGEST: Final = Fraction(sys.float_info.max)


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


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_number(text: str, position: int = 0, *, doubles: bool = False) -> Fraction:
    """Exact value of decimal text, which stands at character ``position``.

    Parameters
    ----------
    text : str
    position : int
    doubles : bool
        Refuse what is 0 or infinite as a double: no simulator and no format can take it.

    Raises
    ------
    ExpressionError
        If the exponent is beyond that of any double, there are more than 2,000 digits, or the number is refused.
    """
    digits, _, exponent = text.lower().partition("e")
    # lengths first: Python refuses to read integers of thousands of digits
    if len(digits) > _MAX_DIGITS or len(exponent) > _MAX_DIGITS or (exponent and abs(int(exponent)) > _MAX_EXPONENT):
        raise _out_of_range(text, position)
    value = Fraction(text)
    if doubles and value and not (_SMALLEST <= value <= _LARGEST):
        raise _out_of_range(text, position)
    return value


def _out_of_range(text: str, position: int) -> ExpressionError:
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return ExpressionError(f"the number {shown} is out of range", position)


def parse_expression(graph: Graph, text: str, definitions: Mapping[str, Node], *, doubles: bool = False) -> Node:
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

    Raises
    ------
    ExpressionError
        With the position of what is wrong.
    """
    tokens = _tokenise(text)
    values: list[Node] = []
    operators: list[_Token] = []
    counts: list[int] = []  # arguments so far, for each open function call
    expect_value = True
    for token in tokens:
        if expect_value:
            if token.kind == "number":
                values.append(graph.number(parse_number(token.text, token.position, doubles=doubles)))
                expect_value = False
            elif token.kind == "call":
                operators.append(token)
                counts.append(1)
            elif token.kind == "name":
                values.append(_lookup(token, definitions))
                expect_value = False
            elif token.text == "(":
                # a call is always followed by its parenthesis, the tokeniser saw to that
                called = bool(operators) and operators[-1].kind == "call"
                operators.append(_Token("open-call" if called else "open", "(", token.position))
            elif token.text in "+-":
                if token.text == "-":
                    operators.append(_Token("operator", "neg", token.position))
            else:
                raise ExpressionError(f"a name or number was expected before '{token.text}'", token.position)
        elif token.text == ")":
            _unwind(graph, values, operators, token)
            opened = operators.pop()
            if opened.kind == "open-call":
                function = operators.pop()
                count = counts.pop()
                args = values[-count:]
                del values[-count:]
                values.append(_call(graph, function, args))
        elif token.text == ",":
            _unwind(graph, values, operators, token)
            if operators[-1].kind != "open-call":
                raise ExpressionError("a comma stands outside a function call", token.position)
            counts[-1] += 1
            expect_value = True
        elif token.kind == "mark" and token.text in _PRECEDENCE:  # a name may be called neg
            _reduce_while(graph, values, operators, token.text)
            operators.append(_Token("operator", token.text, token.position))
            expect_value = True
        else:
            raise ExpressionError(f"an operator was expected before '{token.text}'", token.position)
    if expect_value:
        raise ExpressionError("the expression ends too early", len(text))
    while operators:
        if operators[-1].kind != "operator":
            raise ExpressionError("a parenthesis is not closed", operators[-1].position)
        _apply(graph, values, operators.pop())
    return values[0]


def _tokenise(text: str) -> list[_Token]:
    if len(text) > _MAX_LENGTH:
        raise ExpressionError("the expression is too long", _MAX_LENGTH)
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if not text[position:].strip():
                break
            bad = position + len(text[position:]) - len(text[position:].lstrip())
            raise ExpressionError(f"'{text[bad]}' is not part of an expression", bad)
        kind = match.lastgroup
        assert kind is not None
        content = match.group(kind)
        position = match.end()
        if kind == "name" and text[position:].lstrip().startswith("("):
            kind = "call"
        tokens.append(_Token(kind, "^" if content == "**" else content, match.start(match.lastgroup or 0)))
    return tokens


def _lookup(token: _Token, definitions: Mapping[str, Node]) -> Node:
    try:
        return definitions[token.text]
    except KeyError:
        raise ExpressionError(f"'{token.text}' is not in the model", token.position, token.text) from None


def _unwind(graph: Graph, values: list[Node], operators: list[_Token], token: _Token) -> None:
    while operators and operators[-1].kind == "operator":
        _apply(graph, values, operators.pop())
    if not operators:
        raise ExpressionError(f"'{token.text}' has no opening parenthesis", token.position)


def _reduce_while(graph: Graph, values: list[Node], operators: list[_Token], incoming: str) -> None:
    level = _PRECEDENCE[incoming]
    while operators and operators[-1].kind == "operator":
        top = _PRECEDENCE[operators[-1].text]
        if top > level or (top == level and incoming not in _RIGHT):
            _apply(graph, values, operators.pop())
        else:
            break


def _apply(graph: Graph, values: list[Node], operator: _Token) -> None:
    if operator.text == "neg":
        values.append(graph.neg(values.pop()))
        return
    right, left = values.pop(), values.pop()
    if operator.text == "+":
        values.append(graph.add((left, right)))
    elif operator.text == "-":
        values.append(graph.sub(left, right))
    elif operator.text == "*":
        values.append(graph.mul((left, right)))
    elif operator.text == "/":
        values.append(graph.div(left, right))
    else:
        values.append(graph.pow(left, right))


def _call(graph: Graph, function: _Token, args: list[Node]) -> Node:
    name = {"log": "ln", "pow": "power"}.get(function.text, function.text)
    if name == "sqrt" and len(args) == 1:
        return graph.pow(args[0], graph.number(Fraction(1, 2)))
    if name == "power" and len(args) == 2:
        return graph.pow(args[0], args[1])
    widths = {"min": range(1, 1 << 20), "max": range(1, 1 << 20), "rem": range(2, 3), "quotient": range(2, 3)}
    if name not in FUNCTIONS:
        raise ExpressionError(f"'{function.text}' is not a function", function.position, function.text)
    if len(args) not in widths.get(name, range(1, 2)):
        raise ExpressionError(f"'{function.text}' does not take {len(args)} arguments", function.position)
    return graph.call(name, args)


# -- out ---------------------------------------------------------------------------------------------


def to_text(graph: Graph, root: Node, limit: int = 100_000) -> str:
    """Readable infix text of ``root``; what exceeds ``limit`` characters is cut with an ellipsis."""
    pieces: list[str] = []
    length = 0
    stack: list[Node | str] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
            length += len(item)
            if length > limit:
                pieces.append("…")
                break
            continue
        stack.extend(reversed(_spell(graph, item)))
    return "".join(pieces)


def _level(graph: Graph, node: Node) -> int:
    op = graph.op(node)
    if op is Op.ADD:
        return 1
    if op in (Op.MUL, Op.DIV):
        return 2
    if op is Op.POW:
        return 4
    value = graph.number_of(node)
    if value is not None and (value < 0 or value.denominator != 1):
        return 2
    return 5


def _wrapped(graph: Graph, node: Node, level: int) -> list[Node | str]:
    return [node] if _level(graph, node) >= level else ["(", node, ")"]


def _spell(graph: Graph, node: Node) -> list[Node | str]:
    op, args = graph.op(node), graph.args(node)
    if op is Op.NUMBER:
        return [_number_text(graph.number_of(node) or Fraction(0))]
    if op is Op.SYMBOL or op is Op.CONSTANT:
        return [graph.name(node)]
    if op is Op.TIME:
        return ["time"]
    if op is Op.ADD:
        out: list[Node | str] = []
        for position, arg in enumerate(args):
            factor = graph.number_of(graph.args(arg)[0]) if graph.op(arg) is Op.MUL else graph.number_of(arg)
            if factor is not None and factor < 0:
                out.append(" - " if position else "-")
                out += _wrapped(graph, graph.neg(arg), 2)
            else:
                out += ([" + "] if position else []) + _wrapped(graph, arg, 2)
        return out
    if op is Op.MUL:
        out = []
        for position, arg in enumerate(args):
            if position == 0 and graph.number_of(arg) == -1:
                out.append("-")
                continue
            out += (["*"] if out and out != ["-"] else []) + _wrapped(graph, arg, 3 if position else 2)
        return out
    if op is Op.DIV:
        return [*_wrapped(graph, args[0], 2), "/", *_wrapped(graph, args[1], 3)]
    if op is Op.POW:
        return [*_wrapped(graph, args[0], 5), "^", *_wrapped(graph, args[1], 5)]
    name = "piecewise" if op is Op.PIECEWISE else graph.name(node)
    out = [name, "("]
    for position, arg in enumerate(args):
        out += ([", "] if position else []) + [arg]
    return [*out, ")"]


def _number_text(value: Fraction) -> str:
    if value.denominator == 1 and abs(value.numerator) < 10**15:
        return str(value.numerator)
    try:
        decimal = repr(float(value))
    except OverflowError:
        return str(value)
    return decimal if Fraction(decimal) == value else str(value)


# -- Linear combinations as text ---------------------------------------------------------------------


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


# -- Linear combinations as dictionaries: Σ coefficient · key, over Q ----------------------------


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


# -- Text of a model as one line that does nothing but be read -----------------------------------


def one_line(text: str) -> str:
    """``text`` on one line: white space becomes a blank, and what does not print (control characters, marks that turn
    the direction of writing) becomes U+FFFD.
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
