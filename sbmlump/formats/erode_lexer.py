"""Words of an ``.ode`` file, with the line each stands on.

The whole file is cut by one regular expression, so that a model of a hundred thousand reactions takes a fraction of a
second. A line number is counted only when a message needs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from sbmlump.errors import InputError, Reason

__all__ = ["END", "NEWLINE", "Tokens", "is_name", "is_number", "tokenise"]

NEWLINE: Final = "\n"
END: Final = ""
"""Stands after the last token (twice, so that looking one further is safe)."""

_TOKEN: Final = re.compile(
    r'[A-Za-z_][A-Za-z0-9_]*|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|->|\*\*|\n|"[^"\n]*"|[^\s]'
)
_COMMENT: Final = re.compile(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_DIGITS: Final = frozenset("0123456789.")


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


def is_name(word: str) -> bool:
    """Whether a token is a name."""
    return word[:1] in _LETTERS if word else False


def is_number(word: str) -> bool:
    """Whether a token is a number."""
    return word[:1] in _DIGITS and word != "." if word else False


def shown(word: str) -> str:
    """A token as a message quotes it."""
    if word == NEWLINE:
        return "the end of the line"
    if word == END:
        return "the end of the file"
    return f"'{word[:60]}'"
