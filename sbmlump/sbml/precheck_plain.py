"""See at a glance that a large file holds nothing that the check of its bytes would refuse or rewrite.

A handler of expat costs a microsecond, and files of generated networks have millions of tags. Where every ``<`` and
``>`` stands for a tag, the depth of all elements is a sum over arrays. Anything out of the ordinary (comments, CDATA, a
DOCTYPE, ``>`` in a text, unusual numbers, another encoding) makes the answer *no*, and expat looks.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

__all__ = ["is_plain"]

_WORTH_IT: Final = 256 * 1024  # bytes from which expat is the slower one
_MAX_PLAIN_BYTES: Final = 128 * 1024 * 1024
_MAX_PLAIN_DEPTH: Final = 200
_START: Final = re.compile(
    rb"""\s*(<\?xml\s+version=["']1\.0["']\s+encoding=["']utf-8["']\s*\?>)?"""
    rb"""\s*<sbml\s[^<>]*xmlns=["']http://www\.sbml\.org/sbml/level[^<>]*>""",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(rb"<(?:[^<>\s/:]*:)?cn[\s/>]")
#: A number in plain decimal notation, of a type that libSBML does not misread.
_PLAIN_NUMBER: Final = re.compile(
    rb"""<(?:[^<>\s/:]*:)?cn(?:\s+(?:type=["']real["']|\w+:units=["']\w+["']))*\s*>"""
    rb"""\s*[+-]?[0-9]{1,17}(?:\.[0-9]{0,17})?(?:[eE][+-]?[0-9]{1,2})?\s*</"""
    rb"""|<(?:[^<>\s/:]*:)?cn(?:\s+(?:type=["']integer["']|\w+:units=["']\w+["']))*\s*>\s*[+-]?[0-9]{1,9}\s*</"""
)
_LESS, _GREATER, _SLASH, _MARK, _QUESTION = b"<>/!?"


def is_plain(data: bytes) -> bool:
    """Whether ``data`` is a large file of UTF-8 that needs no closer look.

    True means: the outermost element is ``sbml`` of an SBML namespace, there is no DOCTYPE, no comment and no CDATA
    section, no element (up to where the file stops being well-formed, if it does) is more than 200 deep, there is no
    infix formula, and every ``cn`` is a number in plain decimal notation that a double or 32 bits hold.
    """
    if not _WORTH_IT <= len(data) <= _MAX_PLAIN_BYTES:
        return False
    start = _START.match(data)
    if start is None or b"formula" in data or b"\0" in data:
        return False
    if len(_NUMBER.findall(data)) != len(_PLAIN_NUMBER.findall(data)):
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    declaration = data.find(b"?>", 0, start.end())
    return _is_shallow(np.frombuffer(data, dtype=np.uint8)[declaration + 2 if declaration >= 0 else 0 :])


def _is_shallow(text: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> bool:
    opening = np.flatnonzero(text == _LESS)
    closing = np.flatnonzero(text == _GREATER)
    if len(opening) != len(closing):
        return False
    if not (np.all(opening < closing) and np.all(closing[:-1] < opening[1:])):
        return False  # a > stands in a text or an attribute
    first, last = text[opening + 1], text[closing - 1]
    if np.any((first == _MARK) | (first == _QUESTION)):
        return False
    steps = np.where(first == _SLASH, -1, np.where(last == _SLASH, 0, 1)).astype(np.int8)
    return bool(np.cumsum(steps, dtype=np.int64).max() <= _MAX_PLAIN_DEPTH)
