r"""Text from files, names and servers, as it is shown: nothing in it steers a terminal or hides what it says.

File names and names in models may hold escape sequences, characters that turn the direction of writing, and bytes
that are not text at all. What people read has them spelled out, as ``\x1b``, ``\u202e``, ``\xff``.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["as_json_text", "as_shown", "as_text"]

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
