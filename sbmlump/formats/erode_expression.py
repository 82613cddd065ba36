"""Arithmetic expressions of ``.ode`` files: explicit stacks, exact numbers, nothing is evaluated as a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from sbmlump.expr.graph import FUNCTIONS, Graph, Node
from sbmlump.expr.text import ExpressionError, parse_number
from sbmlump.formats.erode_lexer import NEWLINE, Tokens, is_name, is_number

__all__ = ["KNOWN_FUNCTIONS", "ExpressionReader"]

_PRECEDENCE: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "^": 4}
_MARKS: Final = {"+": "+", "-": "-", "*": "*", "/": "/", "^": "^", "**": "^"}
_RIGHT: Final = frozenset({"neg", "^"})
_ALIASES: Final = {
    "log": "ln", "ceil": "ceiling", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "maximum": "max", "minimum": "min", "Min": "min", "Max": "max",
    "Abs": "abs", "pow": "power", "root": "sqrt",
}  # fmt: skip
_WIDTHS: Final = {"power": (2, 2), "rem": (2, 2), "quotient": (2, 2), "min": (1, 1 << 20), "max": (1, 1 << 20)}
_Value = Node | list[Node]  # a list: the terms of a sum that may go on
_OWN: Final = frozenset({"power", "sqrt", "log10", "log2"})

KNOWN_FUNCTIONS: Final = frozenset({*FUNCTIONS, *_OWN, *_ALIASES} - {"root", "factorial"})
"""Names that may stand before a parenthesis."""


@dataclass(slots=True)
class _Stacks:
    """Values, open operators with their tokens (also "(" and names of functions), and for each open parenthesis the
    number of arguments so far (0: it only groups).
    """

    values: list[_Value]
    operators: list[tuple[str, int]]
    counts: list[int]


class ExpressionReader:
    """Reads expressions out of a token list into a graph.

    A line end closes an expression, unless it stands inside a parenthesis or beside an operator.

    Parameters
    ----------
    tokens : Tokens
    graph : Graph
    lookup : callable (name, index) → Node
        What a name stands for.
    doubtful : dict of str to list of int
        Gets the tokens of powers that ERODE's grammar reads otherwise.
    """

    def __init__(
        self,
        tokens: Tokens,
        graph: Graph,
        lookup: Callable[[str, int], Node],
        doubtful: dict[str, list[int]],
    ) -> None:
        self._tokens = tokens
        self._graph = graph
        self._lookup = lookup
        self._doubtful = doubtful
        self._signed: set[int] = set()
        self._numbers: dict[str, Node] = {}

    def number(self, index: int) -> Node:
        """The number at ``index``, exactly."""
        word = self._tokens.words[index]
        node = self._numbers.get(word)
        if node is None:
            try:
                value = parse_number(word)
            except ExpressionError:
                self._tokens.fail(index, f"the number {word} is out of range")
            node = self._numbers[word] = self._graph.number(value)
        return node

    def read(self, index: int) -> tuple[Node, int]:
        """The expression that begins at ``index``, and the index after it.

        Raises
        ------
        InputError
            Codes ``ode-syntax`` and ``ode-unknown-function``.
        """
        stacks = _Stacks([], [], [])
        words = self._tokens.words
        while True:
            index = self._operand(index, stacks)
            index = self._closed(index, stacks)
            after = index
            while words[after] == NEWLINE:
                after += 1
            mark = words[after]
            operator = _MARKS.get(mark)
            if operator is not None:
                self._push(stacks, operator, after)
            elif mark == "," and stacks.counts:
                self._unwind(stacks)
                if not stacks.counts[-1]:
                    self._tokens.fail(after, "a comma stands outside the arguments of a function")
                stacks.counts[-1] += 1
            elif stacks.counts:
                self._tokens.expected(after, "an operator or ')'")
            else:
                while stacks.operators:
                    self._apply(stacks)
                return self._node(stacks.values[0]), index
            index = after + 1

    def _operand(self, index: int, stacks: _Stacks) -> int:
        """Read signs, opening parentheses and function names up to a number or a name, and that; the index after it."""
        words = self._tokens.words
        while True:
            word = words[index]
            if is_number(word):
                stacks.values.append(self.number(index))
                return index + 1
            if is_name(word):
                if words[index + 1] != "(" or words[index + 2].startswith('"'):
                    stacks.values.append(self._lookup(word, index))
                    return index + 1
                self._check_function(word, index)
                stacks.operators += [(word, index), ("(", index)]
                stacks.counts.append(1)
                index += 1
            elif word == "(":
                stacks.operators.append(("(", index))
                stacks.counts.append(0)
            elif word == "-":
                stacks.operators.append(("neg", index))
            elif word not in (NEWLINE, "+"):
                self._tokens.expected(index, "a number, a name or a parenthesis")
            index += 1

    def _closed(self, index: int, stacks: _Stacks) -> int:
        """Close as many parentheses as there stand after a value; the index after them."""
        words = self._tokens.words
        while stacks.counts:
            after = index
            while words[after] == NEWLINE:
                after += 1
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
        while stacks.operators and stacks.operators[-1][0] in _PRECEDENCE:
            top = _PRECEDENCE[stacks.operators[-1][0]]
            if top < level or (top == level and incoming in _RIGHT):
                break
            self._apply(stacks)
        if incoming == "^" and stacks.operators:
            before = stacks.operators[-1][0]
            if before == "^":
                self._doubtful.setdefault("nested", []).append(index)
            elif before == "neg":
                self._signed.add(index)
        stacks.operators.append((incoming, index))

    def _unwind(self, stacks: _Stacks) -> None:
        while stacks.operators[-1][0] != "(":
            self._apply(stacks)

    def _apply(self, stacks: _Stacks) -> None:
        """Do the operation on top of the stack."""
        graph, values = self._graph, stacks.values
        operator, index = stacks.operators.pop()
        right = self._node(values.pop())
        if operator == "neg":
            values.append(graph.neg(right))
            return
        left = values.pop()
        if operator in ("+", "-"):
            # a sum stays a list until it is complete: thousands of terms are one node, not a chain of nodes
            terms = left if isinstance(left, list) else [left]
            terms.append(right if operator == "+" else graph.neg(right))
            values.append(terms)
            return
        left = self._node(left)
        if operator == "*":
            values.append(graph.mul((left, right)))
        elif operator == "/":
            values.append(graph.div(left, right))
        else:
            if index in self._signed:
                exponent = graph.number_of(right)
                if exponent is None or exponent.denominator != 1 or exponent.numerator % 2 == 0:
                    self._doubtful.setdefault("signed", []).append(index)
            values.append(graph.pow(left, right))

    def _node(self, value: _Value) -> Node:
        return self._graph.add(value) if isinstance(value, list) else value

    def _check_function(self, name: str, index: int) -> None:
        if name not in KNOWN_FUNCTIONS:
            known = "exp, log, sqrt, pow, abs, min, max, floor, ceil, sin, cos, tan and their like"
            self._tokens.fail(index, f"'{name}' is no known function; known are {known}", "ode-unknown-function", name)

    def _call(self, name: str, index: int, args: list[Node]) -> Node:
        graph = self._graph
        plain = _ALIASES.get(name, name)
        least, most = _WIDTHS.get(plain, (1, 1))
        if not least <= len(args) <= most:
            self._tokens.fail(index, f"'{name}' does not take {len(args)} arguments")
        if plain == "power":
            return graph.pow(args[0], args[1])
        if plain == "sqrt":
            return graph.pow(args[0], graph.number(Fraction(1, 2)))
        if plain in ("log10", "log2"):
            base = graph.call("ln", (graph.number(int(plain[3:])),))
            return graph.div(graph.call("ln", args), base)
        return graph.call(plain, args)
