"""From the tokens of an ``.ode`` file to its entries, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sbmlump.expr.graph import Graph, Node
from sbmlump.formats.erode_expression import ExpressionReader
from sbmlump.formats.erode_lexer import END, NEWLINE, Tokens, is_name
from sbmlump.formats.erode_reactions import ReactionReader
from sbmlump.formats.erode_record import RESERVED, NamedExpression, RawOde

__all__ = ["parse_tokens"]

_BLOCKS: Final = "parameters, init, partition, reactions, ODE, alg or views"


def parse_tokens(tokens: Tokens) -> RawOde:
    """Read a whole file.

    Raises
    ------
    InputError
        With one reason: file, line, what was expected and what was found.
    """
    return _Parser(tokens).run()


class _Parser:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.words = tokens.words
        self.raw = RawOde(Graph(), tokens)
        self._symbols: dict[str, Node] = {}
        self._reader = ExpressionReader(tokens, self.raw.graph, self._lookup, self.raw.doubtful)

    def run(self) -> RawOde:
        index = self._skip(0)
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
            index = self._skip(index)
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
        index = self._skip(index)
        if self.words[index] != END:
            self.tokens.expected(index, "nothing after 'end model'")
        return self.raw

    # -- small steps ---------------------------------------------------------------------------------

    def _skip(self, index: int) -> int:
        words = self.words
        while words[index] == NEWLINE:
            index += 1
        return index

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
            return self._skip(index + 1)
        if self.words[index] == "end" or (is_name(self.words[index]) and self.words[index + 1] in follows):
            return index
        if self.words[index] != NEWLINE:
            self.tokens.expected(index, "an operator, the next statement or the end of the line")
        return self._skip(index)

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
        index = self._skip(index)
        while self.words[index] != "end":
            start = index
            name = self._name(index, "a line 'name = expression' or the end of the block")
            if bare and self.words[index + 1] == NEWLINE:
                target.append(NamedExpression(name, None, start))
                index = self._skip(index + 1)
                continue
            index = self._word(index + 1, "=", f"'=' after '{name}'")
            value, index = self._reader.read(index)
            target.append(NamedExpression(name, value, start))
            index = self._statement_end(index, ("=",))
        return index

    def _init(self, index: int) -> int:
        """Lines ``NAME``, ``NAME = expression``, each with a remark ``("…")`` if there is one."""
        index = self._skip(index)
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
        index = self._skip(index)
        while self.words[index] != "end":
            index = self._skip(self._word(index, "{", "'{' of a block or 'end partition'"))
            block: list[tuple[str, int]] = []
            while True:
                block.append((self._name(index, "the name of a species"), index))
                index = self._skip(index + 1)
                if self.words[index] == "}":
                    break
                index = self._skip(self._word(index, ",", "',' or '}'"))
            self.raw.partition.append(block)
            index = self._skip(index + 1)
            if self.words[index] == ",":
                index = self._skip(index + 1)
        return index

    def _equations(self, index: int) -> int:
        """Lines ``d(NAME) = expression`` or ``NAME' = expression``."""
        index = self._skip(index)
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
