"""Reactions of ``.ode`` files: the part of a file that may have hundreds of thousands of lines."""

from __future__ import annotations

from typing import Final

from sbmlump.expr.graph import Node
from sbmlump.formats.erode_expression import ExpressionReader
from sbmlump.formats.erode_lexer import END, NEWLINE, is_name, is_number
from sbmlump.formats.erode_record import RESERVED, OdeReaction, RawOde

__all__ = ["ReactionReader", "skip_lines"]

_MAX_COUNT: Final = 1_000
_CONTINUES: Final = frozenset({"+", "-", "*", "/", "^", "**"})


def skip_lines(words: list[str], index: int) -> int:
    """Index of the first token from ``index`` on that is no line end."""
    while words[index] == NEWLINE:
        index += 1
    return index


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
        if value is None or value.denominator != 1 or value > _MAX_COUNT:
            self._tokens.fail(index, f"a species takes part a whole number of times, at most {_MAX_COUNT}, not {word}")
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
