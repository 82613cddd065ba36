"""Bytes of an XML file, in whatever encoding, as one UTF-8 document.

Tools differ in what they make of a byte order mark, of a declaration without an encoding, or of one that names another
than UTF-8 (libSBML refuses what XML allows). So the bytes are decoded here, once; libSBML, simulators and archives are
given the result.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from sbmlump.errors import InputError, Reason

__all__ = ["as_utf8"]

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BARE: Final = (("<\0?\0".encode("latin-1"), "utf-16-le"), ("\0<\0?".encode("latin-1"), "utf-16-be"))
"""Beginnings of a file in UTF-16 that has no mark."""
_DECLARATION: Final = re.compile(r"<\?xml\s[^>]*?\?>")
_ENCODING: Final = re.compile(r"""\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_LONGEST_DECLARATION: Final = 1000
#: Encodings of text that people write XML in; Python knows others (rot13, punycode, utf-7) that are none.
_READ: Final = re.compile(
    r"utf-8(-sig)?|utf-16(-le|-be)?|utf-32(-le|-be)?|ascii|iso8859-\d+|cp\d+|koi8-[rut]|mac-\w+|tis-620|hz"
    r"|big5(hkscs)?|gb2312|gbk|gb18030|shift_jis(x0213|_2004)?|euc_(jp|kr|jisx0213|jis_2004)|iso2022_\w+|johab|kz1048"
)
_IN_UTF8: Final = ("utf-8", "ascii")


def as_utf8(data: bytes, *, file: str) -> bytes:
    """``data`` in UTF-8, without a byte order mark, declared as such or without a declaration.

    Bytes that are that already are returned as they are. Lines keep their numbers.

    Raises
    ------
    InputError
        Code ``encoding`` if the bytes are not text in the encoding that the mark or the declaration names (UTF-8 where
        there is neither), or if that is not known.
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", ""))
    if not encoding:
        encoding = next((e for start, e in _BARE if data.startswith(start)), "")
    head = _head(data, len(mark), encoding)
    if not head.lstrip().startswith("<"):
        return data  # no XML in any encoding; the parser says so
    declaration = _DECLARATION.match(head)
    named = None if declaration is None else _ENCODING.search(declaration.group())
    label = "UTF-8" if named is None else named.group(1)
    encoding = encoding or _codec(label, file)
    if encoding in _IN_UTF8 and not mark:
        if not data.isascii():
            _decoded(data, encoding, file, label)
        if declaration is None or (named is not None and label.lower() == "utf-8"):
            return data
        # every byte is UTF-8 already: only the declaration changes
        return _declared(declaration.group()).encode() + data[declaration.end() :]
    text = _decoded(data[len(mark) :], encoding, file, encoding if mark else label)
    found = _DECLARATION.match(text)
    return (text if found is None else _declared(found.group()) + text[found.end() :]).encode()


def _head(data: bytes, start: int, encoding: str) -> str:
    """The first characters, as far as a declaration may reach."""
    head = data[start : start + 4 * _LONGEST_DECLARATION]
    return head.decode(encoding or "latin-1", errors="ignore")[:_LONGEST_DECLARATION]


def _codec(label: str, file: str) -> str:
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        name = ""
    if not _READ.fullmatch(name):
        text = f"{file} declares the encoding {label!r}, which is not known; save it in UTF-8"
        raise InputError(Reason("encoding", text, line=1))
    if name.startswith(("utf-16", "utf-32")):  # the declaration could be read byte by byte
        text = f"{file} declares the encoding {label!r}, but it is not written in it; save it in UTF-8"
        raise InputError(Reason("encoding", text, line=1))
    return name


def _decoded(data: bytes, encoding: str, file: str, label: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        shown = " ".join(f"{byte:02x}" for byte in data[error.start : error.start + 3])
        text = (
            f"{file}, line {line}: the bytes {shown} are not text in {label}; save the file in UTF-8, or declare the "
            "encoding that it is in (ISO-8859-1 and windows-1252 are frequent)"
        )
        raise InputError(Reason("encoding", text, line=line)) from None


def _declared(declaration: str) -> str:
    """The declaration of a UTF-8 document, as many lines long as the one it takes the place of."""
    return '<?xml version="1.0" encoding="UTF-8"' + "\n" * declaration.count("\n") + "?>"
