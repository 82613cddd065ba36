"""Look at the bytes of a model before libSBML does.

libSBML's parser recurses: deeply nested files crash the process. It also reads some numbers wrongly without
saying so (``<cn type="integer">3.5</cn>`` becomes 3, integers beyond 32 bits become the largest 32-bit integer).
It aborts where the level, the version and the namespace do not belong together. This module takes the file as UTF-8
(:mod:`~sbmlump.sbml.encoding`), reads it once with expat, which does not recurse, refuses what is unsafe or unreadable,
and rewrites the integers that libSBML cannot hold as sums of products of ones that it can.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from sbmlump.errors import InputError, Reason
from sbmlump.model_files import MAX_BYTES
from sbmlump.sbml.encoding import as_utf8
from sbmlump.sbml.precheck_plain import is_plain
from sbmlump.sbml.read_numbers import NumberElement, rewrite_number

__all__ = ["MAX_BYTES", "MAX_DEPTH", "check_bytes", "formula_depth", "prepare_bytes"]

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
#: Level and version as their attributes give them, and the namespaces that belong to them.
_NAMESPACES: Final = {
    ("1", "1"): (_SBML + "1",),
    ("1", "2"): (_SBML + "1",),
    ("2", "1"): (_SBML + "2",),
    **{("2", version): (f"{_SBML}2/version{version}",) for version in ("2", "3", "4", "5")},
    **{("3", version): (f"{_SBML}3/version{version}/core",) for version in ("1", "2")},
}


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
    _scan(_as_utf8(data, file), file)


def prepare_bytes(data: bytes, *, file: str) -> bytes:
    """Check ``data`` and return what libSBML shall parse: UTF-8, with every number one that it reads rightly.

    A large file in which :func:`~sbmlump.sbml.precheck_plain.is_plain` sees nothing to refuse or rewrite is not looked
    at further than its outermost tag; whether it is well-formed is for libSBML to say.

    Raises
    ------
    InputError
        As :func:`check_bytes`.
    """
    data = _as_utf8(data, file)
    if is_plain(data):
        _scan_root(data, file)
        return data
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


def _as_utf8(data: bytes, file: str) -> bytes:
    """``data`` as one UTF-8 document, once it is known to be of a size that is read."""
    if not data.strip():
        raise InputError(Reason("empty-file", f"{file} is empty; nothing to read"))
    if len(data) > MAX_BYTES:
        raise InputError(Reason("too-large", f"{file} has more than the {MAX_BYTES >> 20} MB that are read"))
    return as_utf8(data, file=file)


def _scan(data: bytes, file: str) -> _Scan:
    """One pass over a UTF-8 document."""
    scan = _Scan(file)
    try:
        scan.parser.Parse(data, True)
    except expat.ExpatError as error:
        message = expat.errors.messages.get(error.code, "it cannot be parsed")
        raise InputError(
            Reason(
                "not-xml",
                f"{file} is not well-formed XML: {message} at line {error.lineno}, column {error.offset + 1}",
                line=error.lineno,
            )
        ) from None
    return scan


def _scan_root(data: bytes, file: str) -> None:
    """Look at the outermost tag only, of a file that is known to have one."""
    end = data.index(b">", data.index(b"<sbml")) + 1
    _Scan(file).parser.Parse(data[:end], False)


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
        self.depth = 0
        self.rewrites: list[tuple[NumberElement, str]] = []
        self._skip_from: int | None = None  # depth of the notes or annotation element we are inside
        self._number: NumberElement | None = None
        parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self.parser = parser

    def _fail(self, code: str, message: str) -> InputError:
        line = self.parser.CurrentLineNumber
        return InputError(Reason(code, f"{self.file}, line {line}: {message}", line=line))

    def _doctype(self, *_: object) -> None:
        raise self._fail("doctype", "a DOCTYPE or ENTITY declaration is refused as unsafe; remove it")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fail("too-deep", f"elements are nested more than {MAX_DEPTH} deep")
        if name in _PLAIN and self._number is None and self.depth > 1:
            return
        if self.depth == 1:
            self._root(name, attributes)
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

    def _root(self, name: str, attributes: dict[str, str]) -> None:
        uri, _, local = name.rpartition(" ")
        if local != "sbml" or not uri.startswith(_SBML):
            raise self._fail("not-sbml", f"the outermost element is {local!r}, not <sbml>: this is XML but not SBML")
        given = attributes.get("level", ""), attributes.get("version", "")
        if uri not in _NAMESPACES.get((given[0].strip(), given[1].strip()), ()):  # libSBML aborts on some of these
            known = any(uri in uris for uris in _NAMESPACES.values())
            text = f"Level {given[0][:9]} Version {given[1][:9]} with the namespace {uri[:99]}"
            advice = "" if known else "; the namespace is none of SBML"
            raise self._fail("invalid-sbml", f"there is no SBML {text}{advice}; correct the <sbml> element")

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
