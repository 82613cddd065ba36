"""Reasons and exceptions: what is wrong, where, and what to do about it.

An expected obstacle is a :class:`Reason`, a value with a stable code; an exception carries one or more of them
to whoever has to turn them into an exit code.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Final

__all__ = [
    "extra_missing",
    "InputError",
    "LimitError",
    "Reason",
    "SbmlumpError",
    "UnsupportedModelError",
    "UsageError",
    "as_json_text",
    "json_value",
    "as_shown",
    "as_text",
    "counted",
    "did_you_mean",
    "near_matches",
    "shortened",
    "some_names",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """One obstacle.

    Attributes
    ----------
    code : str
        Stable, documented in ``docs/reasons.md``; for example ``algebraic-rule``.
    message : str
        One sentence for a person: fact, place, next step.
    element : str or None
        Id of the model element concerned.
    line : int or None
        Line of the file, where known.
    """

    code: str
    message: str
    element: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return self.message


def extra_missing(what: str, extra: str) -> Reason:
    """The reason ``extra-missing``: what is not installed, and what it is wanted for; the extra that brings it."""
    return Reason("extra-missing", f"{what}; install it with: pip install 'sbmlump[{extra}]'")


def near_matches(word: str, known: Iterable[str], most: int = 3, *, likeness: float = 0.6) -> list[str]:
    """Those of ``known`` that ``word`` may be a slip of, the most alike first: what "did you mean" goes on with.

    Only the first 20,000 are looked at: each costs some ten microseconds, and nobody waits for an error message.
    """
    import difflib  # not at the top: the command line imports this module at every start

    return difflib.get_close_matches(word, list(itertools.islice(known, 20_000)), most, likeness)


def did_you_mean(near: Sequence[str], otherwise: str) -> str:
    """``did you mean a or b?``, and ``otherwise`` where nothing is near: the end of a message about an unknown name."""
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def counted(number: int, noun: str) -> str:
    """``1 model``, ``12 models``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortened(text: str, most: int) -> str:
    """``text``, cut after ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def some_names(names: Sequence[str], most: int) -> str:
    """``a, b, c and 12 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class SbmlumpError(Exception):
    """Base of the errors this package raises on purpose.

    Attributes
    ----------
    reasons : tuple of Reason
        Everything that is wrong, all at once.
    exit_code : int
        Exit code of the command line for this kind of error.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, reasons: Reason | Sequence[Reason]) -> None:
        self.reasons: tuple[Reason, ...] = (reasons,) if isinstance(reasons, Reason) else tuple(reasons)
        super().__init__("; ".join(reason.message for reason in self.reasons))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons,)


class UsageError(SbmlumpError):
    """The request makes no sense for this model: unknown name, bad option (exit code 2)."""

    exit_code = 2


class InputError(SbmlumpError):
    """The input is not a readable model (exit code 3)."""

    exit_code = 3


class UnsupportedModelError(SbmlumpError):
    """The model is readable but holds constructs that cannot become an ODE system here (exit code 1)."""

    exit_code = 1


class LimitError(SbmlumpError):
    """A time, memory, size or accuracy limit was not met (exit code 4)."""

    exit_code = 4


# -- text as it is shown -----------------------------------------------------------------------------
# Nothing in text from files, names and servers steers a terminal or hides what it says.
# File names and names in models may hold escape sequences, characters that turn the direction of writing, and bytes
# that are not text at all. What people read has them spelled out, as ``\x1b``, ``\u202e``, ``\xff``.


# bytes that were not UTF-8 (lone surrogates DC80–DCFF, see PEP 383) and other halves of pairs: no text can hold them
_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
# C0 and C1 controls, DEL; directions of writing; what joins, hides or separates without being seen; tags
_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_LINES: Final = re.compile(r"[\t\n]+")


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # the byte that stood there
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def as_text(text: str) -> str:
    """The text as valid Unicode: bytes that are not text are spelled out, all else stays."""
    return _NO_TEXT.sub(_spelled, text)


def as_shown(text: str, *, one_line: bool = False) -> str:
    """The text without what steers a terminal or hides other characters.

    Parameters
    ----------
    text : str
    one_line : bool
        Put everything on one line, as messages are.
    """
    shown = _STEERING.sub(_spelled, as_text(text))
    return _LINES.sub(" ", shown) if one_line else shown


def json_value(value: Any) -> Any:
    """What JSON can hold of a value: null for doubles that are not finite, fractions as text, keys as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(inner) for inner in value]
    return str(value) if isinstance(value, Fraction) else value


def as_json_text(text: str) -> str:
    """JSON that any terminal may show and any reader reads: the same values, with such characters escaped."""
    # only strings hold any of these: outside them, JSON is ASCII without controls
    escaped = _NO_TEXT.sub(lambda match: "\\" + _spelled(match), text)
    return _STEERING.sub(_escaped, escaped)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
