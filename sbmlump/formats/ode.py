"""Files of ERODE and CLUE, ``.ode``: read block by block, and written; what the format cannot say is refused.

ERODE's grammar gives a power a signed base and lets powers bind to the left (``-x^2`` is (−x)², ``2^3^2`` is 64), so a
power stands in parentheses wherever that would matter.

References
----------
Grammar of ERODE: ChemicalReactionNetwork.xtext of github.com/IMTAltiStudiLucca/ERODE4.18.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final, NoReturn

from sbmlump.errors import InputError, Reason, UnsupportedModelError, did_you_mean, near_matches, some_names
from sbmlump.files import MAX_BYTES, ModelFile, collector_paused, read_model_file
from sbmlump.model.graph import FUNCTIONS, LOGIC, MAX_BITS, RELATIONS, Graph, Node, Op
from sbmlump.model.names import claim_id, free_id, is_sid
from sbmlump.model.properties import require_writable_system
from sbmlump.model.system import Assigned, Constant, OdeSystem, Origin, Participant, Quantity, Reaction
from sbmlump.model.text import (
    ATOM,
    END,
    NEWLINE,
    OPEN,
    POWER,
    SUM,
    ExpressionError,
    GraphPrinter,
    InfixReader,
    Operand,
    Spelling,
    decimal_digits,
    is_name,
    is_number,
    one_line,
    parse_number,
    plain_decimal,
    scientific,
    skip_lines,
)

__all__ = [
    "OdeLimits",
    "OdeStyle",
    "OdeText",
    "initial_partition",
    "load_ode",
    "load_ode_file",
    "ode_text",
    "parse_ode",
    "write_ode",
]


# -- Words of an ``.ode`` file, with the line each stands on -------------------------------------

# The whole file is cut by one regular expression, so that a model of a hundred thousand reactions takes a fraction of a
# second. A line number is counted only when a message needs it.


_TOKEN: Final = re.compile(
    r'[A-Za-z_][A-Za-z0-9_]*|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|->|\*\*|\n|"[^"\n]*"|[^\s]'
)
_COMMENT: Final = re.compile(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a file.

    Attributes
    ----------
    file : str
        Name for messages.
    words : list of str
        Names, numbers, marks, quoted strings, and a :data:`NEWLINE` for every line end; then :data:`END`, twice.
    """

    file: str
    words: list[str]

    def line(self, index: int) -> int:
        """Line, from 1, of the token at ``index``."""
        return 1 + self.words[:index].count(NEWLINE)

    def fail(self, index: int, message: str, code: str = "ode-syntax", element: str | None = None) -> NoReturn:
        """Refuse the file at the token ``index``.

        Raises
        ------
        InputError
            With one reason that names file and line.
        """
        line = self.line(index)
        raise InputError(Reason(code, f"{self.file}, line {line}: {message}", element, line))

    def expected(self, index: int, what: str) -> NoReturn:
        """Refuse the file because something else was expected at ``index``.

        Raises
        ------
        InputError
            Code ``ode-syntax``.
        """
        self.fail(index, f"expected {what}, found {shown(self.words[index])}")


def tokenise(text: str, file: str) -> Tokens:
    """Cut ``text`` into tokens; comments (``//`` to the end of the line, ``/* … */``) are left out."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "//" in text or "/*" in text:
        text = _COMMENT.sub(_blank, text)
    words = _TOKEN.findall(text)
    words += (END, END)
    tokens = Tokens(file, words)
    opened = text.find("/*")
    if opened >= 0 and "/" in words and not _inside_string(text, opened):
        line = 1 + text.count("\n", 0, opened)
        message = f"{file}, line {line}: a comment begins with /* and never ends; close it with */"
        raise InputError(Reason("ode-syntax", message, line=line))
    return tokens


def _inside_string(text: str, position: int) -> bool:
    return text.count('"', text.rfind("\n", 0, position) + 1, position) % 2 == 1


def _blank(match: re.Match[str]) -> str:
    """A comment becomes a blank and its line ends; a string stays."""
    found = match.group()
    return found if found[0] == '"' else " " + "\n" * found.count("\n")


def shown(word: str) -> str:
    """A token as a message quotes it."""
    if word == NEWLINE:
        return "the end of the line"
    if word == END:
        return "the end of the file"
    return f"'{word[:60]}'"


# -- What an ``.ode`` file says --------------------------------------------------------------------


RESERVED: Final = frozenset({"begin", "end", "arbitrary"})
"""Words that are no names."""


@dataclass(frozen=True, slots=True)
class NamedExpression:
    """A name with an expression (``None`` if the file gives none) and the token it stands at."""

    name: str
    value: Node | None
    index: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class OdeReaction:
    """Both sides (name → multiplicity, in order), the whole flux, the label in brackets, and the first token."""

    reactants: dict[str, int]
    products: dict[str, int]
    flux: Node
    label: str | None
    index: int
    rate: str | None  # name of the rate constant, if the rate is nothing else


@dataclass(frozen=True, slots=True)
class OdeLimits:
    """What is taken for a slip, and how much is said.

    Attributes
    ----------
    multiplicity : int
        Times that a species may take part in a reaction: a polynomial of such a degree is no kinetics.
    lines : int
        Lines that a remark lists.
    """

    multiplicity: int = 1_000
    lines: int = 10


@dataclass(slots=True)
class RawOde:
    """Everything a file says, in order; nothing is resolved yet.

    ``first_use`` holds the token at which each name of an expression stands for the first time, ``doubtful`` the
    powers that ERODE's grammar reads otherwise: after a sign (``signed``), or of a power (``nested``).
    """

    graph: Graph
    tokens: Tokens
    title: str = ""
    blocks: set[str] = field(default_factory=set)
    parameters: list[NamedExpression] = field(default_factory=list)
    init: list[NamedExpression] = field(default_factory=list)
    partition: list[list[tuple[str, int]]] = field(default_factory=list)
    equations: list[NamedExpression] = field(default_factory=list)
    algebraic: list[NamedExpression] = field(default_factory=list)
    views: list[NamedExpression] = field(default_factory=list)
    reactions: list[OdeReaction] = field(default_factory=list)
    participants: dict[str, int] = field(default_factory=dict)
    first_use: dict[str, int] = field(default_factory=dict)
    doubtful: dict[str, list[int]] = field(default_factory=dict)
    limits: OdeLimits = OdeLimits()


# -- Arithmetic expressions of ``.ode`` files -------------------------------------------------------


_ALIASES: Final = {
    "log": "ln", "ceil": "ceiling", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "maximum": "max", "minimum": "min", "Min": "min", "Max": "max",
    "Abs": "abs", "pow": "power",
}  # fmt: skip
_KNOWN: Final = "exp, log, sqrt, pow, abs, min, max, floor, ceil, sin, cos, tan and their like"

KNOWN_FUNCTIONS: Final = frozenset({*FUNCTIONS, *_ALIASES, "power", "sqrt", "log10", "log2"} - {"factorial"})
"""Names that may stand before a parenthesis."""


class ExpressionReader(InfixReader):
    """Reads expressions of ``.ode`` files.

    Parameters
    ----------
    tokens : Tokens
    graph : Graph
    lookup : callable (name, index) → Node
        What a name stands for.
    doubtful : dict of str to list of int
        Gets the tokens of powers that ERODE's grammar reads otherwise.
    """

    functions = KNOWN_FUNCTIONS
    aliases = _ALIASES
    flat_sums = True
    stray_comma = "a comma stands outside the arguments of a function"

    def __init__(
        self,
        tokens: Tokens,
        graph: Graph,
        lookup: Callable[[str, int], Node],
        doubtful: dict[str, list[int]],
    ) -> None:
        super().__init__(tokens.words, graph)
        self._lookup = lookup
        self._tokens = tokens
        self._doubtful = doubtful
        self._signed: set[int] = set()
        self._numbers: dict[str, Node] = {}

    def number(self, index: int) -> Node:
        """The number at ``index``, exactly."""
        word = self.words[index]
        node = self._numbers.get(word)
        if node is None:
            try:
                value = parse_number(word)
            except ExpressionError:
                self.fail(index, f"the number {word} is out of range")
            node = self._numbers[word] = self.graph.number(value)
        return node

    def name(self, word: str, index: int) -> Node:
        """What the name stands for."""
        return self._lookup(word, index)

    def fail(self, index: int, message: str, code: str = "ode-syntax", element: str | None = None) -> NoReturn:
        """Refuse the file."""
        self._tokens.fail(index, message, code, element)

    def no_operand(self, index: int) -> NoReturn:
        """Refuse what is no number, name or parenthesis."""
        self._tokens.expected(index, "a number, a name or a parenthesis")

    def not_closed(self, index: int, opened: int) -> NoReturn:
        """Refuse what neither goes on nor closes a parenthesis."""
        self._tokens.expected(index, "an operator or ')'")

    def unknown_function(self, word: str, index: int) -> NoReturn:
        """Refuse the name of a function."""
        self.fail(index, f"'{word}' is no known function; known are {_KNOWN}", "ode-unknown-function", word)

    def power_after(self, operator: str, index: int) -> None:
        """Note powers of powers, and after a sign."""
        if operator == "^":
            self._doubtful.setdefault("nested", []).append(index)
        elif operator == "neg":
            self._signed.add(index)

    def power(self, base: Node, exponent: Node, index: int) -> Node:
        """The power; after a sign the two ways to read it come to the same for odd exponents."""
        if index in self._signed:
            value = self.graph.number_of(exponent)
            if value is None or value.denominator != 1 or value.numerator % 2 == 0:
                self._doubtful.setdefault("signed", []).append(index)
        return super().power(base, exponent, index)


# -- Reactions of ``.ode`` files --------------------------------------------------------------------


_CONTINUES: Final = frozenset({"+", "-", "*", "/", "^", "**"})


class ReactionReader:
    """Reads the block ``reactions`` into ``raw``.

    Parameters
    ----------
    raw : RawOde
    reader : ExpressionReader
        For rates.
    symbols : dict of str to Node
        Symbols made so far, shared with whoever reads expressions.
    """

    def __init__(self, raw: RawOde, reader: ExpressionReader, symbols: dict[str, Node]) -> None:
        self._raw = raw
        self._graph = raw.graph
        self._tokens = raw.tokens
        self._words = raw.tokens.words
        self._reader = reader
        self._symbols = symbols
        self._powers: dict[tuple[str, int], Node] = {}
        self._fluxes: dict[tuple[object, ...], Node] = {}

    def read(self, index: int) -> int:
        """Lines ``A + 2*B -> C, rate`` or ``…, arbitrary rate``, each with a ``[label]`` if there is one.

        Returns
        -------
        int
            Index of the ``end`` that closes the block.
        """
        words, reactions = self._words, self._raw.reactions
        while True:
            index = skip_lines(words, index)
            if words[index] == "end":
                return index
            start = index
            label: str | None = None
            if words[index] == "[":
                label, index = self._label(index)
            left, index = self._side(index)
            index = self._mark(index, "->", "'+' or '->'")
            right, index = self._side(index)
            index = self._mark(index, ",", "'+', or ',' and the rate")
            flux, rate, index = self._flux(index, left)
            if words[index] == "[":
                again, index = self._label(index)
                label = again or label
            word = words[index]
            if word not in (NEWLINE, "->") and not is_name(word) and not is_number(word):
                self._tokens.expected(index, "an operator, a [label] or the next reaction")
            reactions.append(OdeReaction(left, right, flux, label, start, rate))

    def _mark(self, index: int, mark: str, what: str) -> int:
        words = self._words
        if words[index] != mark:
            index = skip_lines(words, index)
            if words[index] != mark:
                self._tokens.expected(index, what)
        return index + 1

    def _flux(self, index: int, left: dict[str, int]) -> tuple[Node, str | None, int]:
        """The whole rate of the reaction, and the name of its constant if that is one name (the usual case)."""
        words, symbols = self._words, self._symbols
        word = words[index]
        if word == "arbitrary":
            flux, index = self._reader.read(index + 1)
            return flux, None, index
        plain = (
            words[index + 1] == NEWLINE and word in symbols and words[skip_lines(words, index + 1)] not in _CONTINUES
        )
        if plain:
            rate, index = symbols[word], index + 1
        else:
            rate, index = self._reader.read(index)
        key = (rate, *left.items())
        known = self._fluxes.get(key)  # reactions that differ in their products only share a flux
        if known is None:
            known = self._graph.mul([rate, *[self._factor(name, count) for name, count in left.items()]])
            self._fluxes[key] = known
        return known, word if plain else None, index

    def _side(self, index: int) -> tuple[dict[str, int], int]:
        """One side of a reaction; nothing, or ``0``, is an empty side."""
        words = self._words
        participants = self._raw.participants
        side: dict[str, int] = {}
        if words[index] == NEWLINE:
            index = skip_lines(words, index)
        if words[index] in ("->", ","):
            return side, index
        while True:
            word = words[index]
            count = 1
            if is_number(word):
                count = self._count(index)
                index += 1
                if not count and not side and words[index] in ("->", ",", NEWLINE):
                    return side, index
                if words[index] == "*":
                    index += 1
                word = words[index]
            if not is_name(word) or word in RESERVED:
                self._tokens.expected(index, "the name of a species")
            index += 1
            if words[index] == "*":
                count *= self._count(index + 1)
                index += 2
            side[word] = side.get(word, 0) + count
            if word not in participants:
                participants[word] = index - 1
            if words[index] != "+":
                return side, index
            index = skip_lines(words, index + 1)

    def _count(self, index: int) -> int:
        word = self._words[index]
        if not is_number(word):
            self._tokens.expected(index, "a whole number")
        value = self._graph.number_of(self._reader.number(index))
        if value is None or value.denominator != 1 or value > self._raw.limits.multiplicity:
            most = self._raw.limits.multiplicity
            self._tokens.fail(index, f"a species takes part a whole number of times, at most {most}, not {word}")
        return int(value)

    def _label(self, index: int) -> tuple[str, int]:
        """``[label]``; any words may stand inside."""
        parts: list[str] = []
        place = index + 1
        while self._words[place] != "]":
            if self._words[place] in (NEWLINE, END):
                self._tokens.expected(place, "']' that closes the label")
            parts.append(self._words[place])
            place += 1
        return " ".join(parts), place + 1

    def _factor(self, name: str, count: int) -> Node:
        """The reactant to the power of its multiplicity."""
        if count == 1:
            node = self._symbols.get(name)
            if node is None:
                node = self._symbols[name] = self._graph.symbol(name)
            return node
        key = (name, count)
        node = self._powers.get(key)
        if node is None:
            node = self._powers[key] = self._graph.pow(self._factor(name, 1), self._graph.number(count))
        return node


# -- From the tokens of an ``.ode`` file to its entries --------------------------------------------


_BLOCKS: Final = "parameters, init, partition, reactions, ODE, alg or views"


def parse_tokens(tokens: Tokens, limits: OdeLimits = OdeLimits()) -> RawOde:
    """Read a whole file.

    Raises
    ------
    InputError
        With one reason: file, line, what was expected and what was found.
    """
    return _Parser(tokens, limits).run()


class _Parser:
    def __init__(self, tokens: Tokens, limits: OdeLimits) -> None:
        self.tokens = tokens
        self.words = tokens.words
        self.raw = RawOde(Graph(), tokens, limits=limits)
        self._symbols: dict[str, Node] = {}
        self._reader = ExpressionReader(tokens, self.raw.graph, self._lookup, self.raw.doubtful)

    def run(self) -> RawOde:
        index = skip_lines(self.words, 0)
        index = self._word(index, "begin", "'begin model'")
        index = self._word(index, "model", "'begin model'")
        title: list[str] = []
        while self.words[index] not in (NEWLINE, END, "begin"):
            title.append(self.words[index])
            index += 1
        self.raw.title = " ".join(title)
        readers: dict[str, Callable[[int], int]] = {
            "parameters": self._parameters,
            "init": self._init,
            "inits": self._init,
            "partition": self._partition,
            "reactions": ReactionReader(self.raw, self._reader, self._symbols).read,
            "ode": self._equations,
            "alg": lambda i: self._definitions(i, self.raw.algebraic),
            "algebraic": lambda i: self._definitions(i, self.raw.algebraic),
            "views": lambda i: self._definitions(i, self.raw.views),
        }
        while True:
            index = skip_lines(self.words, index)
            word = self.words[index]
            if word == "begin":
                name = self.words[index + 1]
                reader = readers.get(name.lower())
                if reader is None:
                    self.tokens.expected(index + 1, f"one of the blocks {_BLOCKS}")
                self.raw.blocks.add(name.lower())
                index = self._close(reader(index + 2), name)
            elif word == "end":
                break
            elif is_name(word) and self.words[index + 1] == "(":
                index = self._command(index)
            else:
                self.tokens.expected(index, "'begin' of a block, a command such as simulateODE(…), or 'end model'")
        index = self._close(index, "model")
        index = skip_lines(self.words, index)
        if self.words[index] != END:
            self.tokens.expected(index, "nothing after 'end model'")
        return self.raw

    # -- small steps ---------------------------------------------------------------------------------

    def _word(self, index: int, word: str, what: str) -> int:
        if self.words[index] != word:
            self.tokens.expected(index, what)
        return index + 1

    def _name(self, index: int, what: str) -> str:
        word = self.words[index]
        if not is_name(word) or word in RESERVED:
            self.tokens.expected(index, what)
        return word

    def _close(self, index: int, name: str) -> int:
        """``end NAME``."""
        if self.words[index] != "end":
            self.tokens.expected(index, f"'end {name}'")
        if self.words[index + 1].lower() != name.lower():
            self.tokens.expected(index + 1, f"'{name}' after 'end'")
        return index + 2

    def _statement_end(self, index: int, follows: tuple[str, ...]) -> int:
        """A statement ends with its line, with a comma or semicolon, or where the next one begins: with a name that one
        of ``follows`` stands after (white space is white space to ERODE).
        """
        if self.words[index] in (",", ";"):
            return skip_lines(self.words, index + 1)
        if self.words[index] == "end" or (is_name(self.words[index]) and self.words[index + 1] in follows):
            return index
        if self.words[index] != NEWLINE:
            self.tokens.expected(index, "an operator, the next statement or the end of the line")
        return skip_lines(self.words, index)

    def _command(self, index: int) -> int:
        """What a file asks its tool to do says nothing of the model; but an import would be the model."""
        name = self.words[index]
        if name.lower().startswith("import"):
            message = f"'{name}' takes the model from another file, which is not supported; write the model out first"
            self.tokens.fail(index, message, "ode-import", name)
        depth = 0
        place = index + 1
        while True:
            word = self.words[place]
            if word == END:
                self.tokens.fail(index, f"the parenthesis after '{name}' is not closed")
            depth += (word == "(") - (word == ")")
            place += 1
            if not depth:
                return place

    def _lookup(self, name: str, index: int) -> Node:
        node = self._symbols.get(name)
        if node is None:
            if name in RESERVED:
                self.tokens.expected(index, "a number or a name")
            self.raw.first_use.setdefault(name, index)
            node = self._symbols[name] = self.raw.graph.symbol(name)
        return node

    # -- blocks --------------------------------------------------------------------------------------

    def _parameters(self, index: int) -> int:
        """Lines ``NAME = expression``, or ``NAME`` alone for a constant without a value."""
        return self._definitions(index, self.raw.parameters, bare=True)

    def _definitions(self, index: int, target: list[NamedExpression], *, bare: bool = False) -> int:
        """Lines ``NAME = expression``."""
        index = skip_lines(self.words, index)
        while self.words[index] != "end":
            start = index
            name = self._name(index, "a line 'name = expression' or the end of the block")
            if bare and self.words[index + 1] == NEWLINE:
                target.append(NamedExpression(name, None, start))
                index = skip_lines(self.words, index + 1)
                continue
            index = self._word(index + 1, "=", f"'=' after '{name}'")
            value, index = self._reader.read(index)
            target.append(NamedExpression(name, value, start))
            index = self._statement_end(index, ("=",))
        return index

    def _init(self, index: int) -> int:
        """Lines ``NAME``, ``NAME = expression``, each with a remark ``("…")`` if there is one."""
        index = skip_lines(self.words, index)
        while self.words[index] != "end":
            start = index
            name = self._name(index, "a line 'name = value' or 'end init'")
            index += 1
            value: Node | None = None
            note: str | None = None
            if self.words[index] == "=":
                value, index = self._reader.read(index + 1)
            if self.words[index] == "(":
                note = self.words[index + 1]
                if not note.startswith('"'):
                    self.tokens.expected(index + 1, "a remark in quotation marks")
                index = self._word(index + 2, ")", "')' after the remark")
            self.raw.init.append(NamedExpression(name, value, start, note and note.strip('"')))
            if not is_name(self.words[index]):  # here a name may stand alone
                index = self._statement_end(index, ())
        return index

    def _partition(self, index: int) -> int:
        """Blocks ``{A, B}``, with commas between them or not."""
        index = skip_lines(self.words, index)
        while self.words[index] != "end":
            index = skip_lines(self.words, self._word(index, "{", "'{' of a block or 'end partition'"))
            block: list[tuple[str, int]] = []
            while True:
                block.append((self._name(index, "the name of a species"), index))
                index = skip_lines(self.words, index + 1)
                if self.words[index] == "}":
                    break
                index = skip_lines(self.words, self._word(index, ",", "',' or '}'"))
            self.raw.partition.append(block)
            index = skip_lines(self.words, index + 1)
            if self.words[index] == ",":
                index = skip_lines(self.words, index + 1)
        return index

    def _equations(self, index: int) -> int:
        """Lines ``d(NAME) = expression`` or ``NAME' = expression``."""
        index = skip_lines(self.words, index)
        while self.words[index] != "end":
            start = index
            what = "an equation such as d(x) = … or x' = …"
            name = self._name(index, what)
            if name == "d" and self.words[index + 1] == "(":
                name = self._name(index + 2, "the name of a variable")
                index = self._word(index + 3, ")", "')' after the variable")
            elif self.words[index + 1] == "'":
                index += 2
            else:
                self.tokens.expected(index + 1, what + f" ('(' or ' after '{name}')")
            index = self._word(index, "=", "'='")
            value, index = self._reader.read(index)
            self.raw.equations.append(NamedExpression(name, value, start))
            index = self._statement_end(index, ("(", "'"))
        return index


# -- What each name of an ``.ode`` file is ----------------------------------------------------------


_DECLARING: Final = frozenset({"parameters", "init", "inits"})


@dataclass(slots=True)
class Names:
    """What each name of the file is.

    ``constants``: declared under init, but nothing changes it. ``undefined``: stands in rates of a file that declares
    nothing. ``idle``: stands in a view of itself in such a file, and nowhere else.
    """

    states: list[str]
    constants: list[NamedExpression]
    assigned: list[NamedExpression]
    undefined: list[str]
    idle: set[str]
    taken: set[str]


def sort_names(raw: RawOde) -> Names:
    """Sort the names of a file into roles.

    Raises
    ------
    InputError
        Code ``ode-duplicate-name`` for a name with two roles.
    """
    graph = raw.graph
    changed = dict.fromkeys([*raw.participants, *(entry.name for entry in raw.equations)])
    algebraic = {entry.name for entry in raw.algebraic}
    _check_roles(raw, changed, algebraic)
    declared = [entry.name for entry in raw.init if entry.name in changed]
    states = list(dict.fromkeys([*declared, *changed]))
    constants = [entry for entry in raw.init if entry.name not in changed and entry.name not in algebraic]
    taken = {*states, *(e.name for e in (*raw.parameters, *constants))}
    idle: set[str] = set()
    assigned: list[NamedExpression] = []
    for entry in (*raw.algebraic, *raw.views):
        if entry.value == graph.symbol(entry.name):
            # a view of a species under its own name adds nothing, nor does one of a species nothing else mentions
            idle.add(entry.name)
            continue
        if entry.name in taken:
            message = f"'{entry.name}' is defined already; give this one another name"
            raw.tokens.fail(entry.index, message, "ode-duplicate-name", entry.name)
        taken.add(entry.name)
        assigned.append(entry)
    return Names(states, constants, assigned, [], idle, taken)


def _check_roles(raw: RawOde, changed: Collection[str], algebraic: Collection[str]) -> None:
    _unique(raw, raw.equations, "has two equations")
    _unique(raw, [*raw.parameters, *raw.init], "is declared twice")
    for entry in raw.equations:
        if entry.name in raw.participants:
            message = f"'{entry.name}' takes part in reactions and has an equation; one of them has to go"
            raw.tokens.fail(entry.index, message, "ode-duplicate-name", entry.name)
    for entry in (*raw.parameters, *raw.algebraic):
        if entry.name in changed:
            what = "an algebraic variable" if entry.name in algebraic else "a parameter"
            message = f"'{entry.name}' is {what}, and a reaction or an equation changes it"
            raw.tokens.fail(entry.index, message, "ode-duplicate-name", entry.name)


def _unique(raw: RawOde, entries: Iterable[NamedExpression], complaint: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raw.tokens.fail(entry.index, f"'{entry.name}' {complaint}", "ode-duplicate-name", entry.name)
        seen.add(entry.name)


def check_uses(raw: RawOde, names: Names) -> None:
    """Every name in an expression is declared; in a file that declares nothing, an unknown rate is a constant."""
    rates = _names_in_rates(raw)
    declares = bool(_DECLARING & raw.blocks)
    for name, index in raw.first_use.items():
        if name in names.taken or (name not in rates and not declares and name in names.idle):
            continue
        if declares or name in KNOWN_FUNCTIONS or name not in rates:
            unknown_name(raw, name, index, names.taken)
        names.undefined.append(name)
    names.taken.update(names.undefined)


def _names_in_rates(raw: RawOde) -> set[str]:
    return raw.graph.symbols(
        [*(r.flux for r in raw.reactions), *(e.value for e in raw.equations if e.value is not None)]
    )


def unknown_name(raw: RawOde, name: str, index: int, known: Iterable[str]) -> NoReturn:
    """Refuse a name that nothing declares, with names like it."""
    hint = did_you_mean(near_matches(name, known, likeness=0.5), "declare it under parameters or init")
    raw.tokens.fail(index, f"'{name}' is not declared; {hint}", "ode-unknown-name", name)


# -- From the entries of an ``.ode`` file to a system -----------------------------------------------


def build_system(raw: RawOde, file: str, sha256: str | None) -> OdeSystem:
    """The system of a parsed file.

    Raises
    ------
    InputError
        Codes ``ode-unknown-name``, ``ode-duplicate-name``, ``ode-circular``.
    """
    names = sort_names(raw)
    check_uses(raw, names)
    inlined = _inline(raw, names)
    graph = raw.graph
    zero = graph.number(0)
    start = {entry.name: entry for entry in raw.init}
    states = tuple(names.states)
    assigned = tuple(Assigned(entry.name, inlined[graph.symbol(entry.name)]) for entry in names.assigned)
    compartment = claim_id("cell", names.taken) if raw.reactions else None
    reactions, rates = _reactions(raw, names, inlined)
    rates.update(zip((e.name for e in raw.equations), _substituted(raw, raw.equations, inlined), strict=True))
    constants = [
        Constant(entry.name, entry.value, entry.value is not None and graph.number_of(entry.value) is None)
        for entry in raw.parameters
    ]
    constants += [Constant(entry.name, zero if entry.value is None else entry.value) for entry in names.constants]
    constants += [Constant(name, None) for name in names.undefined]
    if compartment is not None:
        constants.append(Constant(compartment, graph.number(1)))
    initial = [start[s].value if s in start else None for s in states]
    return OdeSystem(
        graph,
        states,
        tuple(zero if node is None else node for node in initial),
        tuple(rates[s] for s in states),
        tuple(constants),
        assigned,
        reactions,
        id=_model_id(raw.title),
        name=raw.title or None,
        quantities=_quantities(raw, names, compartment),
        origin=Origin("erode", file, sha256, remarks=tuple(_doubts(raw))),
    )


_READINGS: Final = {
    "signed": "a power after a sign is read as in mathematics (-x^2 is -(x^2)); ERODE's own grammar reads (-x)^2",
    "nested": "a power of a power is read from the right (2^3^2 is 2^9); ERODE's own grammar reads (2^3)^2",
}


def _doubts(raw: RawOde) -> Iterator[Reason]:
    """What was assumed where ERODE's grammar, in which a power takes a signed base and binds to the left, differs."""
    for kind, places in raw.doubtful.items():
        lines = sorted({raw.tokens.line(place) for place in places})
        most = raw.limits.lines
        shown = ", ".join(map(str, lines[:most])) + (" …" if len(lines) > most else "")
        word = "line" if len(lines) == 1 else "lines"
        message = f"{raw.tokens.file}, {word} {shown}: {_READINGS[kind]}; write parentheses to be sure"
        yield Reason("ode-power", message, line=lines[0])


def partition_blocks(raw: RawOde, system: OdeSystem) -> tuple[frozenset[str], ...]:
    """Blocks of states as the file gives them, the rest in a further block.

    Species that nothing changes may stand in a block; they are left out.

    Raises
    ------
    InputError
        If a name is unknown or stands in two blocks.
    """
    known = set(system.states)
    constant = {c.id for c in system.constants}
    seen: set[str] = set()
    blocks: list[frozenset[str]] = []
    for block in raw.partition:
        for name, index in block:
            if name not in known and name not in constant:
                unknown_name(raw, name, index, known)
            if name in seen:
                raw.tokens.fail(index, f"'{name}' stands twice in the partition", "ode-duplicate-name", name)
            seen.add(name)
        members = frozenset(name for name, _ in block) & known
        if members:
            blocks.append(members)
    rest = known - seen
    return (*blocks, frozenset(rest)) if rest else tuple(blocks)


# -- mathematics -------------------------------------------------------------------------------------


def _inline(raw: RawOde, names: Names) -> dict[Node, Node]:
    """Algebraic variables and views over states and constants; also checks that no values go round in a circle."""
    graph = raw.graph
    assigned = {entry.name: entry for entry in names.assigned}
    for entry, needs in _in_order(raw, {e.name: e for e in (*raw.parameters, *raw.init)}):
        stray = sorted(needs & set(assigned))
        if stray:
            message = f"the value of '{entry.name}' uses '{stray[0]}', which is no parameter or species"
            raw.tokens.fail(entry.index, message, "ode-unknown-name", stray[0])
    plain = {name: entry.value for name, entry in assigned.items() if entry.value is not None}
    done = {graph.symbol(name): value for name, value in plain.items() if graph.number_of(value) is not None}
    for entry, _ in _in_order(raw, assigned):
        assert entry.value is not None
        done[graph.symbol(entry.name)] = graph.substitute([entry.value], done)[0]
    return done


def _in_order(raw: RawOde, table: Mapping[str, NamedExpression]) -> list[tuple[NamedExpression, set[str]]]:
    """Entries whose values are no numbers, each after those it uses, with the names it uses."""
    graph = raw.graph
    uses = {
        name: graph.symbols([entry.value])
        for name, entry in table.items()
        if entry.value is not None and graph.number_of(entry.value) is None
    }
    waiting = {name: needs & set(uses) for name, needs in uses.items()}
    users: dict[str, list[str]] = {}
    for name, needs in waiting.items():
        for need in needs:
            users.setdefault(need, []).append(name)
    ready = [name for name, needs in waiting.items() if not needs]
    order: list[tuple[NamedExpression, set[str]]] = []
    while ready:
        name = ready.pop()
        order.append((table[name], uses[name]))
        for user in users.get(name, ()):
            waiting[user].discard(name)
            if not waiting[user]:
                ready.append(user)
    if len(order) < len(uses):
        stuck = {name for name, needs in waiting.items() if needs}
        first = next(name for name in uses if name in stuck)
        raw.tokens.fail(table[first].index, f"the value of '{first}' depends on itself", "ode-circular", first)
    return order


def _substituted(raw: RawOde, entries: Iterable[NamedExpression], inlined: Mapping[Node, Node]) -> list[Node]:
    nodes = [entry.value for entry in entries if entry.value is not None]
    return raw.graph.substitute(nodes, inlined) if inlined else nodes


def _reactions(raw: RawOde, names: Names, inlined: Mapping[Node, Node]) -> tuple[tuple[Reaction, ...], dict[str, Node]]:
    """Reactions as records, and the rate of every species: Σ (net change)·flux."""
    graph = raw.graph
    fluxes = [reaction.flux for reaction in raw.reactions]
    if inlined:
        fluxes = graph.substitute(fluxes, inlined)
    change: dict[str, dict[Node, int]] = {name: {} for name in raw.participants}
    made: list[Reaction] = []
    parts: dict[tuple[str, int], Participant] = {}
    labels = _labels(raw.reactions, names.taken)
    states = set(names.states)
    for reaction, flux, (id, name) in zip(raw.reactions, fluxes, labels, strict=True):
        left, right = reaction.reactants, reaction.products
        for species, count in left.items():
            terms = change[species]
            terms[flux] = terms.get(flux, 0) - count
        for species, count in right.items():
            terms = change[species]
            terms[flux] = terms.get(flux, 0) + count
        for item in (*left.items(), *right.items()):
            if item not in parts:
                parts[item] = Participant(item[0], graph.number(item[1]))
        modifiers: tuple[str, ...] = ()
        if reaction.rate is None or reaction.rate in states:
            modifiers = tuple(sorted((graph.symbols([flux]) & states) - left.keys() - right.keys()))
        made.append(
            Reaction(
                id,
                flux,
                tuple([parts[item] for item in left.items()]),
                tuple([parts[item] for item in right.items()]),
                modifiers,
                False,
                name,
            )
        )
    return tuple(made), _rates(raw, change)


def _rates(raw: RawOde, change: Mapping[str, Mapping[Node, int]]) -> dict[str, Node]:
    """Σ count·flux for each species; a flux times a count is made once."""
    graph = raw.graph
    scaled: dict[tuple[int, Node], Node] = {}
    rates: dict[str, Node] = {}
    for species, terms in change.items():
        total: list[Node] = []
        for flux, count in terms.items():
            if count == 1:
                total.append(flux)
            elif count:
                node = scaled.get((count, flux))
                if node is None:
                    node = scaled[count, flux] = graph.scaled(count, flux)
                total.append(node)
        rates[species] = graph.add(total)
    return rates


def _labels(reactions: Iterable[OdeReaction], taken: set[str]) -> list[tuple[str, str | None]]:
    """An id for each reaction (its label where that is a new valid id, else r1, r2, …), and the label as its name."""
    used = set(taken)
    found: list[tuple[str, str | None]] = []
    for number, reaction in enumerate(reactions, 1):
        label = reaction.label or None
        id = label if label is not None and is_sid(label) and label not in used else free_id(f"r{number}", used)
        used.add(id)
        found.append((id, label))
    return found


# -- the rest ----------------------------------------------------------------------------------------


def _model_id(title: str) -> str:
    """A valid id from the title of the model."""
    id = re.sub(r"[^A-Za-z0-9_]+", "_", title).strip("_") or "model"
    return f"model_{id}" if id[0].isdigit() else id


def _quantities(raw: RawOde, names: Names, compartment: str | None) -> dict[str, Quantity]:
    """Species that react are amounts in one compartment; remarks of the file become names."""
    notes = {entry.name: entry.note for entry in raw.init}
    table: dict[str, Quantity] = {}
    for state in names.states:
        if state in raw.participants:
            table[state] = Quantity(
                state, "species", notes.get(state), compartment=compartment, amount=True, given_as_amount=True
            )
        else:
            table[state] = Quantity(state, "parameter", notes.get(state))
    for entry in (*raw.parameters, *names.constants):
        table[entry.name] = Quantity(entry.name, "parameter", notes.get(entry.name), written_constant=True)
    if compartment is not None:
        table[compartment] = Quantity(compartment, "compartment", written_constant=True, spatial_dimensions=3.0)
    return table


# -- ``.ode`` files of ERODE and CLUE ---------------------------------------------------------------

# What the parts of a file mean here, and what is refused, is written down in ``docs/ode-format.md``.
#
# References
# ----------
# Cardelli, Tribastone, Tschaikowski, Vandin, TACAS 2017, doi 10.1007/978-3-662-54580-5_19 (ERODE).
# Ovchinnikov, Pérez Verona, Pogudin, Tribastone, Bioinformatics 37 (2021), doi 10.1093/bioinformatics/btab010 (CLUE).


def load_ode(path: str | Path) -> OdeSystem:
    """Read an ``.ode`` file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    OdeSystem
        States are the species that some reaction or equation changes, in the order of the file; all other species
        and the parameters are constants; views and algebraic variables are assigned quantities.

    Raises
    ------
    InputError
        If the file cannot be read or is not what the format allows: one reason with file and line; codes
        ``ode-syntax``, ``ode-unknown-name``, ``ode-unknown-function``, ``ode-duplicate-name``, ``ode-circular``,
        ``ode-import``, and those of :func:`~sbmlump.files.read_model_file`.
    LimitError
        Code ``too-large`` if its numbers explode.
    """
    return load_ode_file(read_model_file(path, ".ode"))


def load_ode_file(file: ModelFile) -> OdeSystem:
    """The system in an ``.ode`` file that has been read; raises as :func:`load_ode`."""
    return parse_ode(_text_of(file), file=file.name, sha256=hashlib.sha256(file.data).hexdigest())


def parse_ode(
    text: str, *, file: str = "text", sha256: str | None = None, limits: OdeLimits = OdeLimits()
) -> OdeSystem:
    """The system an ``.ode`` text describes; see :func:`load_ode`."""
    with collector_paused():
        return build_system(parse_tokens(tokenise(text, file), limits), file, sha256)


def initial_partition(path: str | Path) -> tuple[frozenset[str], ...]:
    """Blocks of the ``partition`` of a file, and one of all other states if there are any.

    A file without a partition has one block of all states.

    Raises
    ------
    InputError
        As :func:`load_ode`; also if a name stands in two blocks or is no state.
    """
    file = read_model_file(path, ".ode")
    with collector_paused():
        raw = parse_tokens(tokenise(_text_of(file), file.name))
        return partition_blocks(raw, build_system(raw, file.name, None))


def _text_of(file: ModelFile) -> str:
    """Text of the file; all that is not a comment or a remark is ASCII, so the encoding hardly matters."""
    if len(file.data) > MAX_BYTES:
        raise InputError(Reason("too-large", f"{file.name} is larger than {MAX_BYTES >> 20} MB"))
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if file.data.startswith(mark):
            return file.data.decode(encoding, errors="replace")
    try:
        return file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return file.data.decode("latin-1")


# -- A system as an ``.ode`` file --------------------------------------------------------------------


_SPELLING: Final = {
    "ln": "log", "ceiling": "ceil", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
_PLAIN: Final = frozenset("exp abs floor sin cos tan sinh cosh tanh min max".split())
_CONSTANTS: Final = {"exponentiale": "exp(1)", "pi": "(4*atan(1))"}
_ERODES: Final = frozenset({"min", "max", "abs"})
"""Functions of ERODE's own grammar."""

_BLOCK_WORDS: Final = frozenset("begin end arbitrary".split())
"""Words that end or begin something whatever reads the file: they cannot be names."""

_TOOL_WORDS: Final = frozenset(
    "ALL APACHE AX BDE Boolean CSVFile FDE FEM Hill IC M0 MA NEW NO NONE ODE OLD Outputs PQ Q Qbar RN SUNDIALS USER "
    "VARS VIEWS abs absTol absolute addSelfLoops algebraic alginit alpha and approximateBDE approximateFDE arbitrary "
    "backward begin both campaign cartesianProduct certain closure coefficients computeJacobian constants constraints "
    "cora covar csvFile curry d decompress defaultIC delta end epsilon expr false fileIn fileOut folderIn folderOut "
    "for form format forward from fse functions h_K h_R1 h_R2 h_n1 h_n2 implies in init integrationStep kMax kvalue "
    "library limits load logger lower max maxStep maxTime method min minStep model n network newline nextReaction not "
    "or param parameters paramsToCurry partition percentage plot precision print query question reaction reactions "
    "reagents reducedFile reduction relsTol repeats setIC setParam simulateCTMC simulateDAE simulateODE simulations "
    "slopes species ssa step stepSize steps strict symbolic tEnd this timeStep times to true unique unsafeSet upTo "
    "update upper utopic var views write".split()
)
"""Words of ERODE's grammar, models and commands; it reserves them everywhere."""


@dataclass(frozen=True, slots=True)
class OdeStyle:
    """How a file is laid out.

    Attributes
    ----------
    line : int
        Characters after which a line is broken at the next operator.
    digits : int
        Places of a decimal number; what has more is written as a quotient, which is shorter then.
    named : int
        Ids that a remark lists.
    """

    line: int = 110
    digits: int = 40
    named: int = 5


@dataclass(frozen=True, slots=True)
class OdeText:
    """A system as an ``.ode`` file.

    Attributes
    ----------
    text : str
    renamed : mapping of str to str
        New ids of quantities whose id is a word of the format.
    clock : str or None
        The added state that is the time.
    left_out : frozenset of str
        Compartments that no equation mentions.
    reasons : tuple of Reason
        What is said of this: codes ``id-renamed``, ``not-kept``, ``ode-dialect``.
    """

    text: str
    renamed: Mapping[str, str]
    clock: str | None
    left_out: frozenset[str]
    reasons: tuple[Reason, ...]


def write_ode(system: OdeSystem) -> bytes:
    """The text of ``system`` as an ``.ode`` file, UTF-8; see :func:`ode_text`."""
    return ode_text(system).text.encode()


def ode_text(system: OdeSystem, style: OdeStyle = OdeStyle()) -> OdeText:
    """``system`` as an ``.ode`` file in ERODE's notation.

    All equations are written as ODEs, exactly: decimal numbers where they end, quotients of integers elsewhere. A
    system that mentions time gets a clock, a further variable with the derivative 1.

    Raises
    ------
    UnsupportedModelError
        Code ``ode-not-expressible``, once for each thing the format has no words for: events, branches, relations,
        a missing initial value, functions that no reader of such files knows.
    LimitError
        Code ``too-large`` if an expression, written in full, is out of proportion: the format has no names for parts.
    """
    require_writable_system(system, "an .ode file")
    writer = _OdeWriter(system, style)
    reasons = writer.obstacles()
    if reasons:
        raise UnsupportedModelError(reasons)
    return OdeText(writer.text(), writer.renamed, writer.clock, writer.left_out, tuple(writer.remarks()))


class _OdeWriter:
    def __init__(self, system: OdeSystem, style: OdeStyle) -> None:
        self.style = style
        self.system = system
        self.graph = system.graph
        self.rest = [*system.rhs, *(a.value for a in system.assigned)]
        self.clock: str | None = None
        table = {c.id: c.value for c in system.constants}
        numbers = {name for name, node in table.items() if node is None or self.graph.number_of(node) is not None}
        start = system.at_start(frozenset(numbers))
        self.resolved: list[str] = []
        """What follows from initial values of states, and is written with those put in."""

        def kept(name: str, node: Node | None) -> Node | None:
            """The formula as it stands if it uses constants only, else over constants that are numbers."""
            if node is None or name in numbers:
                return node
            used, time = self.graph.leaves([node])
            if not time and used <= table.keys():
                return node
            self.resolved.append(name)
            return start.get(name)

        self.start = {name: kept(name, node) for name, node in zip(system.states, system.initial, strict=True)}
        self.values = {name: kept(name, node) for name, node in table.items()}
        nodes = [node for node in (*self.start.values(), *self.values.values()) if node is not None]
        mentioned = self.graph.symbols([*self.rest, *nodes])
        # the size of a compartment that no equation mentions would be a parameter without any meaning
        self.left_out = frozenset(
            c.id
            for c in system.constants
            if (q := system.quantities.get(c.id)) is not None and q.kind == "compartment" and c.id not in mentioned
        )
        taken = set(system.taken_ids)
        self.renamed: dict[str, str] = {}
        for name in (*system.states, *self.values, *(a.id for a in system.assigned)):
            if name in _BLOCK_WORDS:
                self.renamed[name] = claim_id(f"{name}_", taken)
        if self.graph.depends_on_time(self.rest):
            self.clock = claim_id("clock" if "time" in taken else "time", taken)
        self.written = [*self.rest, *nodes]
        self.printer = _OdePrinter(system.graph, self.clock, self.renamed, style.digits)

    def obstacles(self) -> list[Reason]:
        """Everything the format has no words for."""
        system = self.system
        reasons = [
            Reason("ode-not-expressible", f"an .ode file has no events, and there is {event.id or 'one'}", event.id)
            for event in system.events
        ]
        for name, value in self.start.items():
            if value is None or self.graph.symbols([value]) & self._without_value():
                text = f"the initial value of {name} is missing or rests on a missing one; an .ode file would take 0"
                reasons.append(Reason("ode-not-expressible", text, name))
        odd: dict[str, None] = {}
        for node in self.graph.reachable(self.written):
            what = self._odd_name(node)
            if what is not None:
                odd.setdefault(what)
        reasons.extend(Reason("ode-not-expressible", f"an .ode file has no {what}") for what in odd)
        return reasons

    def _without_value(self) -> set[str]:
        return {name for name, value in self.values.items() if value is None}

    def _odd_name(self, node: Node) -> str | None:
        graph = self.graph
        op = graph.op(node)
        value = graph.number_of(node)
        if value is not None:
            return _odd_number(value, self.style.digits)
        if op is Op.PIECEWISE:
            return "branches (piecewise)"
        if op is Op.CONSTANT and graph.name(node) not in _CONSTANTS:
            return f"constant '{graph.name(node)}'"
        if op is Op.CALL:
            name = graph.name(node)
            if name in LOGIC or name in RELATIONS:
                return f"conditions ('{name}')"
            if name not in _PLAIN and name not in _SPELLING:
                return f"function '{name}'"
        return None

    def remarks(self) -> list[Reason]:
        """Ids that had to change, what is not in the file, and what ERODE itself cannot read in it."""
        system = self.system
        reasons = [
            Reason("id-renamed", f"{old} is a word of .ode files; there it is called {new}", old)
            for old, new in self.renamed.items()
        ]
        resolved = some_names(self.resolved, self.style.named)
        lost = {
            "reactions (all is written as equations)": bool(system.reactions),
            "constraints": bool(system.constraints),
            "units": any(q.units for q in system.quantities.values()) or bool(system.origin.model_units),
            "names": any(q.name for q in system.quantities.values()),
            "notes and annotations": bool(system.origin.notes or system.origin.annotation)
            or any(q.notes or q.annotation for q in system.quantities.values())
            or any(r.notes or r.annotation for r in system.reactions),
            "sizes of compartments that no equation mentions": bool(self.left_out),
            f"that {resolved} follow from initial values of states (these are put in)": bool(self.resolved),
        }
        if any(lost.values()):
            text = "; ".join(kind for kind, is_lost in lost.items() if is_lost)
            reasons.append(Reason("not-kept", f"not in the .ode file: {text}"))
        foreign = self._foreign()
        if foreign:
            text = (
                f"ERODE's own grammar does not read this file: it has no {'; no '.join(foreign)}. sbmlump reads it; "
                "other tools may fail, or take a function for a variable"
            )
            reasons.append(Reason("ode-dialect", text))
        return reasons

    def _foreign(self) -> list[str]:
        """What is in the file and not in ERODE's grammar."""
        graph = self.graph
        states = {*self.system.states, *(a.id for a in self.system.assigned)}
        functions: set[str] = set()
        exponent = False
        for node in graph.reachable(self.written):
            op = graph.op(node)
            if op is Op.CALL and graph.name(node) not in _ERODES:
                functions.add(_SPELLING.get(graph.name(node), graph.name(node)))
            elif op is Op.CONSTANT:
                functions.add(_CONSTANTS[graph.name(node)].strip("(").partition("(")[0].rpartition("*")[2])
            elif op is Op.POW:
                names, time = graph.leaves([graph.args(node)[1]])
                exponent = exponent or time or bool(names & states)
        words = sorted(name for name in self._ids() if name in _TOOL_WORDS)
        return [
            *([f"function {', '.join(sorted(functions))}"] if functions else []),
            *(["power with a variable in its exponent"] if exponent else []),
            *([f"variable or parameter named {', '.join(words)}"] if words else []),
        ]

    def _ids(self) -> list[str]:
        names = (*self.system.states, *self.values, *(a.id for a in self.system.assigned))
        return [self._name(name) for name in names if name not in self.left_out]

    def _name(self, name: str) -> str:
        return self.renamed.get(name, name)

    # -- text ----------------------------------------------------------------------------------------

    def text(self) -> str:
        """The whole file."""
        system = self.system
        lines = [f"begin model {free_id(system.id, _BLOCK_WORDS)}"]
        if system.name and system.name != system.id:
            lines.insert(0, f"// {one_line(system.name)}")
        parameters = [
            f"  {self._name(name)}" if value is None else self._line(self._name(name), value)
            for name, value in self.values.items()
            if name not in self.left_out
        ]
        self._block(lines, "parameters", parameters)
        self._block(lines, "init", self._init_lines())
        equations = [
            self._line(f"d({self._name(name)})", rhs) for name, rhs in zip(system.states, system.rhs, strict=True)
        ]
        if self.clock:
            equations.append(f"  d({self.clock}) = 1")
        self._block(lines, "ODE", equations)
        self._block(lines, "views", [self._line(self._name(a.id), a.value) for a in system.assigned])
        lines.append("end model")
        return "\n".join(lines) + "\n"

    @staticmethod
    def _block(lines: list[str], name: str, content: Sequence[str]) -> None:
        if content:
            lines += [f" begin {name}", *content, f" end {name}"]

    def _init_lines(self) -> list[str]:
        zero = self.graph.number(0)
        lines = []
        for name, node in self.start.items():
            assert node is not None
            own = self._name(name)
            lines.append(f"  {own}" if node == zero else self._line(own, node))
        if self.clock:
            lines.append(f"  {self.clock}")
        return lines

    def _line(self, left: str, root: Node) -> str:
        """``left = expression``, broken after operators where the line gets long."""
        out = [f"  {left} = "]
        width = len(out[0])
        for piece in self.printer.pieces(root):
            out.append(piece)
            width += len(piece)
            if width > self.style.line and piece in (" + ", " - ", "*", "/"):
                out.append("\n    ")
                width = 4
        return "".join(out)


class _OdePrinter(GraphPrinter):
    """ERODE's notation.

    Products and quotients do not begin with one of their own kind, and what stands after a sign does not begin with a
    power, which would take the sign into its base.
    """

    first_factor = POWER

    def __init__(self, graph: Graph, clock: str | None, names: Mapping[str, str], digits: int) -> None:
        super().__init__(graph)
        self._digits = digits
        self._clock = clock
        self._names = names

    def number(self, value: Fraction) -> Spelling[Node]:
        text = _number(value, self._digits)
        return SUM if value < 0 or "/" in text else ATOM, [text]

    def symbol(self, name: str) -> str:
        return self._names.get(name, name)

    def time(self) -> str:
        assert self._clock is not None
        return self._clock

    def constant(self, name: str) -> str:
        return _CONSTANTS[name]

    def after_sign(self, first: Node, text: list[str | Operand[Node]]) -> list[str | Operand[Node]]:
        graph = self.graph
        leftmost = first
        while graph.op(leftmost) in (Op.MUL, Op.DIV):
            leftmost = graph.args(leftmost)[0]
            if graph.op(leftmost) is Op.ADD:
                break
        return ["(", *text, ")"] if graph.op(leftmost) is Op.POW else text

    def call(self, name: str, args: Sequence[Node]) -> Spelling[Node]:
        if name not in ("min", "max") or len(args) <= 2:
            return super().call(_SPELLING.get(name, name), args)
        out: list[str | Operand[Node]] = [Operand(args[0], OPEN)]
        for arg in args[1:]:  # they are functions of two in ERODE
            out = [f"{name}(", *out, ", ", Operand(arg, OPEN), ")"]
        return ATOM, out


def _odd_number(value: Fraction, places: int) -> str | None:
    """What is said of a number whose text no reader takes: the graph holds longer ones than :func:`parse_number`."""
    try:
        for part in _number(abs(value), places).split("/"):
            parse_number(part)
    except ExpressionError as error:
        return f"number of this length ({error})"
    return None


def _number(value: Fraction, places: int) -> str:
    """Exact text: an integer, a decimal number that ends, or a quotient of integers."""
    if value.denominator == 1:
        return str(value.numerator)
    decimal = decimal_digits(value, MAX_BITS, places)
    if decimal is None:
        return f"{value.numerator}/{value.denominator}"
    sign = "-" if value < 0 else ""
    digits, exponent = decimal
    small = exponent < -6 and len(digits) + exponent <= 0
    return sign + (scientific(digits, exponent, "E") if small else plain_decimal(digits, exponent))
