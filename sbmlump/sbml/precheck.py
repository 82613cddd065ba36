"""Look at the bytes of a model before libSBML does.

libSBML's parser recurses: deeply nested files crash the process. It also reads some numbers wrongly without
saying so (``<cn type="integer">3.5</cn>`` becomes 3, integers beyond 32 bits become the largest 32-bit integer).
This module reads the file once with expat, which does not recurse, refuses what is unsafe or unreadable, and
rewrites the integers that libSBML cannot hold as sums of products of ones that it can.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from sbmlump.errors import InputError, Reason
from sbmlump.sbml.precheck_plain import is_plain
from sbmlump.sbml.read_numbers import NumberElement, rewrite_number

__all__ = ["MAX_BYTES", "MAX_DEPTH", "check_bytes", "formula_depth", "prepare_bytes"]

MAX_BYTES: Final = 256 * 1024 * 1024
MAX_DEPTH: Final = 1000
#: An infix formula (Level 1) has no XML depth; its length and its operators bound the depth of its tree.
MAX_FORMULA: Final = 100_000

_SBML: Final = "http://www.sbml.org/sbml/level"
_MATHML_CN: Final = "http://www.w3.org/1998/Math/MathML cn"
#: Elements about which there is nothing to ask but their depth; half of a large file are such.
_PLAIN: Final = frozenset(
    f"http://www.w3.org/1998/Math/MathML {name}"
    for name in ("math", "apply", "ci", "times", "plus", "minus", "divide", "power")
)
_MATHML_SEP: Final = "http://www.w3.org/1998/Math/MathML sep"
_DECLARATION: Final = re.compile(r"^<\?xml[^>]*\?>")


def check_bytes(data: bytes, *, file: str) -> None:
    """Refuse bytes that are not a safe SBML file.

    Parameters
    ----------
    data : bytes
        Content of the file.
    file : str
        Name for messages.

    Raises
    ------
    InputError
        With one reason, whose code is one of ``empty-file``, ``too-large``, ``encoding``, ``doctype``, ``too-deep``,
        ``not-xml``, ``not-sbml``, ``bad-number``.
    """
    _scan(data, file)


def prepare_bytes(data: bytes, *, file: str) -> bytes:
    """Check ``data`` and return what libSBML shall parse: UTF-8, with every number one that it reads rightly.

    A large file in which :func:`~sbmlump.sbml.precheck_plain.is_plain` sees nothing to refuse or rewrite is not looked
    at further; whether it is well-formed is for libSBML to say.

    Raises
    ------
    InputError
        As :func:`check_bytes`.
    """
    if is_plain(data):
        return data
    scan = _scan(data, file)
    if scan.encoding not in ("utf-8", "us-ascii", "ascii") or data.startswith(codecs.BOM_UTF8):
        data = _transcode(data, scan.encoding, file)
        scan = _scan(data, file)
    if not scan.rewrites:
        return data
    parts: list[bytes] = []
    position = 0
    for number, replacement in scan.rewrites:
        end = data.index(b">", number.end) + 1
        tag = re.match(rb"<([^\s/>]*)", data[number.start : number.start + 200])
        prefix = tag.group(1)[:-2] if tag else b""
        parts += (data[position : number.start], replacement.replace("@", prefix.decode()).encode())
        position = end
    parts.append(data[position:])
    return b"".join(parts)


def _transcode(data: bytes, encoding: str, file: str) -> bytes:
    try:
        text = data.decode("utf-8-sig" if data.startswith(codecs.BOM_UTF8) else encoding)
    except (LookupError, UnicodeDecodeError):
        raise InputError(
            Reason("encoding", f"{file} is not valid {encoding} text; save it in UTF-8 and try again")
        ) from None
    text = text.removeprefix("\ufeff")
    return _DECLARATION.sub('<?xml version="1.0" encoding="UTF-8"?>', text, count=1).encode()


def _scan(data: bytes, file: str) -> _Scan:
    if not data.strip():
        raise InputError(Reason("empty-file", f"{file} is empty; nothing to read"))
    if len(data) > MAX_BYTES:
        raise InputError(Reason("too-large", f"{file} has {len(data)} bytes, more than the {MAX_BYTES} that are read"))
    scan = _Scan(file)
    parser = scan.parser
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        scan.encoding = "utf-16"
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        code = "encoding" if error.code == expat.errors.codes[expat.errors.XML_ERROR_UNKNOWN_ENCODING] else "not-xml"
        message = expat.errors.messages.get(error.code, "it cannot be parsed")
        raise InputError(
            Reason(
                code,
                f"{file} is not well-formed XML: {message} at line {error.lineno}, column {error.offset + 1}",
                line=error.lineno,
            )
        ) from None
    except (LookupError, ValueError) as error:  # what expat raises for encodings that it does not know
        raise InputError(Reason("encoding", f"{file} has an encoding that cannot be read: {error}")) from None
    return scan


def formula_depth(text: str) -> int:
    """A bound on the depth of the syntax tree of an infix formula of Level 1.

    Every parenthesis is a level. Beside it, so is every operator that binds its terms, factors or powers; repetitions
    of one ``+`` or ``*`` are one sum or one product.
    """
    deepest = 0
    here = _Levels(0)
    open_ones: list[_Levels] = []
    for character in text:
        if character == "(":
            open_ones.append(here)
            here = _Levels(here.depth() + 1)
        elif character == ")" and open_ones:
            here = open_ones.pop()
        elif character == ",":
            here = _Levels(here.base)
        elif character in "+-":
            here.sums += not (here.sum_sign == character == "+")
            here.sum_sign, here.products, here.product_sign, here.powers = character, 0, "", 0
        elif character in "*/":
            here.products += not (here.product_sign == character == "*")
            here.product_sign, here.powers = character, 0
        elif character == "^":
            here.powers += 1
        deepest = max(deepest, here.depth())
    return deepest


@dataclass(slots=True)
class _Levels:
    """Operators between two parentheses, below ``base`` levels: of the sum, of its last term, of its last factor."""

    base: int
    sums: int = 0
    products: int = 0
    powers: int = 0
    sum_sign: str = ""
    product_sign: str = ""

    def depth(self) -> int:
        return self.base + self.sums + self.products + self.powers


class _Scan:
    """Handlers and findings of one pass of expat."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.encoding = "utf-8"
        self.depth = 0
        self.rewrites: list[tuple[NumberElement, str]] = []
        self._skip_from: int | None = None  # depth of the notes or annotation element we are inside
        self._number: NumberElement | None = None
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self.parser = parser

    def _fail(self, code: str, message: str) -> InputError:
        line = self.parser.CurrentLineNumber
        return InputError(Reason(code, f"{self.file}, line {line}: {message}", line=line))

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding:
            self.encoding = encoding.lower() if self.encoding == "utf-8" else self.encoding

    def _doctype(self, *_: object) -> None:
        raise self._fail("doctype", "a DOCTYPE or ENTITY declaration is refused as unsafe; remove it")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fail("too-deep", f"elements are nested more than {MAX_DEPTH} deep")
        if name in _PLAIN and self._number is None and self.depth > 1:
            return
        if self.depth == 1:
            self._root(name)
        elif self._number is not None:
            if name == _MATHML_SEP:
                self._number.parts.append("")
            else:
                raise self._fail("bad-number", f"a number (cn) holds an element {name.rpartition(' ')[2]!r}")
        elif name == _MATHML_CN:
            if self._skip_from is None:
                self._number = NumberElement(self.parser.CurrentByteIndex, attributes)
                self.parser.CharacterDataHandler = self._text
        elif self._skip_from is None and name.startswith(_SBML):
            if name.endswith((" notes", " annotation")):
                self._skip_from = self.depth
            elif "formula" in attributes:
                self._formula(attributes["formula"])

    def _formula(self, text: str) -> None:
        if len(text) > MAX_FORMULA:
            raise self._fail("too-deep", f"a formula has more than {MAX_FORMULA} characters")
        if formula_depth(text) > MAX_DEPTH:
            raise self._fail("too-deep", f"a formula is nested more than {MAX_DEPTH} deep")

    def _root(self, name: str) -> None:
        uri, _, local = name.rpartition(" ")
        if local != "sbml" or not uri.startswith(_SBML):
            raise self._fail("not-sbml", f"the outermost element is {local!r}, not <sbml>: this is XML but not SBML")

    def _text(self, text: str) -> None:
        if self._number is not None:
            self._number.parts[-1] += text

    def _end(self, name: str) -> None:
        if self.depth == self._skip_from:
            self._skip_from = None
        self.depth -= 1
        number = self._number
        if number is not None and name == _MATHML_CN:
            self._number = None
            self.parser.CharacterDataHandler = None
            number.end = self.parser.CurrentByteIndex
            try:
                replacement = rewrite_number(number)
            except ValueError as error:
                raise self._fail("bad-number", str(error)) from None
            if replacement is not None:
                self.rewrites.append((number, replacement))
