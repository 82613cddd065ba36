"""Look at the bytes of a model before libSBML does.

libSBML's parser recurses: deeply nested files crash the process. It also reads some numbers wrongly without
saying so (``<cn type="integer">3.5</cn>`` becomes 3, integers beyond 32 bits become the largest 32-bit integer).
It aborts where the level, the version and the namespace do not belong together. This module takes the file as UTF-8
and reads it once with expat, which does not recurse, refuses what is unsafe or unreadable,
and rewrites the integers that libSBML cannot hold as sums of products of ones that it can.
Large files in which arrays show that there is nothing of that kind take a fast path.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

import numpy as np

from sbmlump.errors import InputError, Reason
from sbmlump.files import MAX_BYTES

__all__ = ["as_utf8", "formula_depth", "is_on_fast_path", "prepare_bytes", "prepared", "READ_LIMITS", "ReadLimits"]


# -- How much of a file is read --------------------------------------------------------------------

# How much of a file is read: bounds that keep hostile and broken files from hanging or crashing a program.


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds of reading one SBML file; beyond them it is refused with a reason, or looked at more slowly.

    Attributes
    ----------
    depth : int
        Of nested elements, and of the syntax tree of an infix formula. libSBML recurses and crashes at some ten
        thousand; published models reach 60, generated ones 300.
    formula : int
        Characters of an infix formula (Level 1), which has no XML depth.
    digits : int
        Of an integer; a double holds 309 before the point.
    exponent : int
        Of a number with a decimal exponent: more than a double holds, and it bounds the size of the exact number.
    at_a_glance : int
        Bytes from which a file is looked over with arrays, where that is enough: a handler of expat costs a
        microsecond, and files of generated networks have millions of tags. Below, expat is the faster one.
    most_at_a_glance : int
        Bytes up to which that is done: arrays take nine times the memory of the file.
    depth_at_a_glance : int
        Depth beyond which expat looks: its stack is exact, the arrays' sum is not where tags are not balanced.
    declaration : int
        Characters in which the XML declaration is looked for.
    instances : int
        Models that a hierarchy of submodels may unfold to; libSBML takes some 10 s for so many.
    files : int
        Files that external model definitions may lead to.
    called_steps : int
        Steps inside function definitions that are done however small a model is: less than a second of work.
    called_steps_a_step : int
        Further ones for each step outside of them; a call of a function of 200 operators in every place.
    errors : int
        Errors of libSBML's log that are told.
    error_text : int
        Characters of each of them.
    named : int
        Reactions without a kinetic law that are named one by one.
    kinds : int
        Of reactions whose text differs in ids alone, which libSBML is asked about once; networks made by rules have
        some ten, and where every reaction is a kind of its own, their texts are not all kept.
    """

    depth: int = 1000
    formula: int = 100_000
    digits: int = 400
    exponent: int = 400
    at_a_glance: int = 256 * 1024
    most_at_a_glance: int = 128 * 1024 * 1024
    depth_at_a_glance: int = 200
    declaration: int = 1000
    instances: int = 20_000
    files: int = 100
    called_steps: int = 250_000
    called_steps_a_step: int = 200
    errors: int = 50
    error_text: int = 200
    named: int = 10
    kinds: int = 256


READ_LIMITS: Final = ReadLimits()
"""What holds where nothing else is said."""


# -- Look at the bytes of a model before libSBML does --------------------------------------------


_SBML: Final = "http://www.sbml.org/sbml/level"
_MATHML: Final = "http://www.w3.org/1998/Math/MathML"
_SUFFIXES: Final = ".ode, .ant, .net, .omex"
_RELATIVES: Final = {
    "sedml": "this is SED-ML, which describes a simulation; name the SBML file that it simulates",
    "cellml": "this is CellML; convert it to SBML first",
    "omexmanifest": "this is the manifest of an archive; name the archive or the model in it",
    "numl": "this is NuML, which holds data; name the SBML file",
    "biopax": "this is BioPAX, which has no rates; name an SBML file",
}
_WEB_PAGE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+)?html[\s>]", re.IGNORECASE | re.DOTALL
)
_CN, _SEP = f"{_MATHML} cn", f"{_MATHML} sep"
#: Elements about which there is nothing to ask but their depth; half of a large file are such.
_UNQUESTIONED: Final = frozenset(
    f"{_MATHML} {name}" for name in ("math", "apply", "ci", "times", "plus", "minus", "divide", "power")
)
#: Level and version as their attributes give them, and the namespaces that belong to them.
_NAMESPACES: Final = {
    ("1", "1"): (_SBML + "1",),
    ("1", "2"): (_SBML + "1",),
    ("2", "1"): (_SBML + "2",),
    **{("2", version): (f"{_SBML}2/version{version}",) for version in ("2", "3", "4", "5")},
    **{("3", version): (f"{_SBML}3/version{version}/core",) for version in ("1", "2")},
}


def prepare_bytes(data: bytes, *, file: str, limits: ReadLimits = READ_LIMITS, fast_path: bool = True) -> bytes:
    """As :func:`prepared`, the bytes alone."""
    return prepared(data, file=file, limits=limits, fast_path=fast_path)[0]


def prepared(data: bytes, *, file: str, limits: ReadLimits = READ_LIMITS, fast_path: bool = True) -> tuple[bytes, bool]:
    """Check ``data`` and return what libSBML shall parse: UTF-8, with every number one that it reads rightly.

    Parameters
    ----------
    data : bytes
        Content of the file.
    file : str
        Name for messages.
    limits : ReadLimits
    fast_path : bool
        Look no further than the outermost tag of a large file that :func:`is_on_fast_path`; whether it is well-formed
        is for libSBML to say.

    Returns
    -------
    data : bytes
    is_on_fast_path : bool

    Raises
    ------
    InputError
        With one reason, whose code is one of ``empty-file``, ``too-large``, ``encoding``, ``doctype``, ``too-deep``,
        ``not-xml``, ``not-sbml``, ``invalid-sbml``, ``bad-number``.
    """
    if not data.strip():
        raise InputError(Reason("empty-file", f"{file} is empty; nothing to read"))
    if len(data) > MAX_BYTES:
        raise InputError(Reason("too-large", f"{file} has more than the {MAX_BYTES >> 20} MB that are read"))
    data = as_utf8(data, file=file, limits=limits)
    if _WEB_PAGE.match(data):
        message = f"{file} is a web page (HTML), not a model: a page was saved in its place; fetch the file itself"
        raise InputError(Reason("not-sbml", message))
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        message = f"{file} is not XML: name an SBML file, or one that its suffix tells ({_SUFFIXES})"
        raise InputError(Reason("not-xml", message))
    scan = _Scan(file, limits)
    if fast_path and is_on_fast_path(data, limits):
        scan.parser.Parse(data[: data.index(b">", data.index(b"<sbml")) + 1], False)
        return data, True
    try:
        scan.parser.Parse(data, True)
    except expat.ExpatError as error:
        message = expat.errors.messages.get(error.code, "it cannot be parsed")
        text = f"{file} is not well-formed XML: {message} at line {error.lineno}, column {error.offset + 1}"
        text += "; it was cut off or damaged: fetch or export it again"
        raise InputError(Reason("not-xml", text, line=error.lineno)) from None
    if not scan.rewrites:
        return data, False
    parts: list[bytes] = []
    position = 0
    for number, replacement in scan.rewrites:
        end = data.index(b">", number.end) + 1
        tag = re.match(rb"<([^\s/>]*)", data[number.start : number.start + 200])
        prefix = tag.group(1)[:-2] if tag else b""
        parts += (data[position : number.start], replacement.replace("@", prefix.decode()).encode())
        position = end
    parts.append(data[position:])
    return b"".join(parts), False


class _Scan:
    """Handlers and findings of one pass of expat."""

    def __init__(self, file: str, limits: ReadLimits) -> None:
        self.file = file
        self.limits = limits
        self.depth = 0
        self.rewrites: list[tuple[_Number, str]] = []
        self._skip_from: int | None = None  # depth of the notes or annotation element we are inside
        self._number: _Number | None = None
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
        if self.depth > self.limits.depth:
            raise self._fail("too-deep", f"elements are nested more than {self.limits.depth} deep")
        if name in _UNQUESTIONED and self._number is None and self.depth > 1:
            return
        if self.depth == 1:
            self._root(name, attributes)
        elif self._number is not None:
            if name == _SEP:
                self._number.parts.append("")
            else:
                raise self._fail("bad-number", f"a number (cn) holds an element {name.rpartition(' ')[2]!r}")
        elif name == _CN:
            if self._skip_from is None:
                self._number = _Number(self.parser.CurrentByteIndex, attributes)
                self.parser.CharacterDataHandler = self._text
        elif self._skip_from is None and name.startswith(_SBML):
            if name.endswith((" notes", " annotation")):
                self._skip_from = self.depth
            elif "formula" in attributes:
                self._formula(attributes["formula"])

    def _formula(self, text: str) -> None:
        if len(text) > self.limits.formula:
            raise self._fail("too-deep", f"a formula has more than {self.limits.formula} characters")
        if formula_depth(text) > self.limits.depth:
            raise self._fail("too-deep", f"a formula is nested more than {self.limits.depth} deep")

    def _root(self, name: str, attributes: dict[str, str]) -> None:
        uri, _, local = name.rpartition(" ")
        if local != "sbml" or not uri.startswith(_SBML):
            relative = next((text for word, text in _RELATIVES.items() if word in f"{uri} {local}".lower()), None)
            what = relative or "this is XML but not SBML; name an SBML file"
            raise self._fail("not-sbml", f"the outermost element is {local!r}, not <sbml>: {what}")
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
        if number is not None and name == _CN:
            self._number = None
            self.parser.CharacterDataHandler = None
            number.end = self.parser.CurrentByteIndex
            try:
                replacement = _rewritten(number, self.limits)
            except ValueError as error:
                raise self._fail("bad-number", str(error)) from None
            if replacement is not None:
                self.rewrites.append((number, replacement))


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


# -- the fast path -----------------------------------------------------------------------------------


_START: Final = re.compile(
    rb"""\s*(<\?xml\s+version=["']1\.0["']\s+encoding=["']utf-8["']\s*\?>)?"""
    rb"""\s*(?:<!--(?:[^<>-]|-(?!-))*-->\s*)*(?P<sbml><sbml\s[^<>]*xmlns=["']http://www\.sbml\.org/sbml/level[^<>]*>)""",
    re.IGNORECASE,
)
_ANY_CN: Final = re.compile(rb"<(?:[^<>\s/:]*:)?cn[\s/>]")
#: A number in plain decimal notation, of a type that libSBML does not misread.
_DECIMAL_CN: Final = re.compile(
    rb"""<(?:[^<>\s/:]*:)?cn(?:\s+(?:type=["']real["']|\w+:units=["']\w+["']))*\s*>"""
    rb"""\s*[+-]?[0-9]{1,17}(?:\.[0-9]{0,17})?(?:[eE][+-]?[0-9]{1,2})?\s*</"""
    rb"""|<(?:[^<>\s/:]*:)?cn(?:\s+(?:type=["']integer["']|\w+:units=["']\w+["']))*\s*>\s*[+-]?[0-9]{1,9}\s*</"""
)


def is_on_fast_path(data: bytes, limits: ReadLimits = READ_LIMITS) -> bool:
    """Whether ``data`` is a large file of UTF-8 that holds nothing that expat would refuse or have rewritten.

    True means: the outermost element is ``sbml`` of an SBML namespace, there is no DOCTYPE, no comment behind it and
    no CDATA section, no element (up to where the file stops being well-formed, if it does) is more than 200 deep, there
    is no infix formula, and every ``cn`` is a number in plain decimal notation that a double or 32 bits hold. Where
    every ``<`` and ``>`` stands for a tag, the depth of all elements is a sum over arrays; anything out of the ordinary
    makes the answer *no*.
    """
    if not limits.at_a_glance <= len(data) <= limits.most_at_a_glance:
        return False
    start = _START.match(data)
    if start is None or b"formula" in data or b"\0" in data:
        return False
    # a search for words is ten times as fast as one for patterns
    if (b"<cn" in data or b":cn" in data) and len(_ANY_CN.findall(data)) != len(_DECIMAL_CN.findall(data)):
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    text = np.frombuffer(data, dtype=np.uint8)[start.start("sbml") :]
    less, greater, slash, mark, question = b"<>/!?"
    opening, closing = np.flatnonzero(text == less), np.flatnonzero(text == greater)
    if len(opening) != len(closing) or not (np.all(opening < closing) and np.all(closing[:-1] < opening[1:])):
        return False  # a > stands in a text or an attribute
    first, last = text[opening + 1], text[closing - 1]
    if np.any((first == mark) | (first == question)):
        return False
    steps = np.where(first == slash, -1, np.where(last == slash, 0, 1)).astype(np.int8)
    return bool(np.cumsum(steps, dtype=np.int64).max() <= limits.depth_at_a_glance)


# -- MathML numbers: which of them libSBML reads rightly -------------------------------------------


_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*")
_REAL: Final = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


@dataclass(slots=True)
class _Number:
    """A ``cn`` element: where its tags begin in the bytes, its attributes, its text between ``sep`` elements."""

    start: int
    attributes: Mapping[str, str]
    parts: list[str] = field(default_factory=lambda: [""])
    end: int = 0


def _rewritten(number: _Number, limits: ReadLimits) -> str | None:
    """Check one number; MathML that means the same where libSBML would misread it (``@`` stands for the prefix).

    Returns
    -------
    str or None
        ``None`` where libSBML reads the element rightly.

    Raises
    ------
    ValueError
        If the text is no number of its type, or is beyond what a double holds.
    """
    kind = number.attributes.get("type", "real")
    shown = f"<cn type={kind!r}> {' <sep/> '.join(p.strip() for p in number.parts)[:60]} </cn>"
    if number.attributes.get("base", "10").strip() != "10":
        raise ValueError(f"{shown}: numbers to another base than 10 are not read")
    if kind == "integer":
        value = _integers(number.parts, 1, shown, limits)[0]
        return None if _fits(value) else _in_blocks(value)
    if kind == "rational":
        top, bottom = _integers(number.parts, 2, shown, limits)
        if bottom == 0:
            raise ValueError(f"{shown}: the denominator is 0")
        if _fits(top) and _fits(bottom):
            return None
        return f"<@apply><@divide/>{_in_blocks(top)}{_in_blocks(bottom)}</@apply>"
    if kind in ("real", "e-notation"):
        _check_real(number.parts, 1 if kind == "real" else 2, shown)
        return None
    raise ValueError(f"{shown}: the type is none of real, integer, rational, e-notation")


def _integers(parts: list[str], count: int, shown: str, limits: ReadLimits) -> list[int]:
    if len(parts) != count or not all(_INTEGER.fullmatch(part) for part in parts):
        raise ValueError(f"{shown} is not written as {'an integer' if count == 1 else 'two integers'}")
    if any(len(part.strip()) > limits.digits for part in parts):
        raise ValueError(f"{shown} has more than {limits.digits} digits")
    return [int(part) for part in parts]


def _check_real(parts: list[str], count: int, shown: str) -> None:
    text = parts[0].strip()
    if len(parts) != count or not _REAL.fullmatch(text) or (count == 2 and not _INTEGER.fullmatch(parts[1])):
        raise ValueError(f"{shown} is not a number")
    if count == 2:
        if "e" in text.lower():
            raise ValueError(f"{shown} has two exponents")
        text += "e" + parts[1].strip()
    value = float(text)
    digits = text.lower().partition("e")[0]
    if math.isinf(value) or (value == 0 and re.search("[1-9]", digits)):
        raise ValueError(f"{shown} is beyond what a double holds")


def _fits(value: int) -> bool:
    return abs(value) < 2**31


def _in_blocks(value: int) -> str:
    """``value`` by Horner's rule in blocks of nine digits."""
    sign = "-" if value < 0 else ""
    base = 10**9  # fits 32 bits, and keeps the written sum readable
    blocks: list[int] = []
    higher = abs(value)
    while higher or not blocks:
        higher, block = divmod(higher, base)
        blocks.append(block)
    text = f'<@cn type="integer">{sign}{blocks[-1]}</@cn>'
    factor = f'<@cn type="integer">{base}</@cn>'
    for block in reversed(blocks[:-1]):
        summand = f'<@cn type="integer">{sign}{block}</@cn>'
        text = f"<@apply><@plus/><@apply><@times/>{text}{factor}</@apply>{summand}</@apply>"
    return text


# -- bytes in whatever encoding, as one UTF-8 document -------------------------------------------------

# Tools differ in what they make of a byte order mark, of a declaration without an encoding, or of one that names
# another than UTF-8 (libSBML refuses what XML allows). So the bytes are decoded here, once; libSBML, simulators and
# archives are given the result.


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
#: Encodings of text that people write XML in; Python knows others (rot13, punycode, utf-7) that are none.
_KNOWN: Final = re.compile(
    r"utf-8(-sig)?|utf-16(-le|-be)?|utf-32(-le|-be)?|ascii|iso8859-\d+|cp\d+|koi8-[rut]|mac-\w+|tis-620|hz"
    r"|big5(hkscs)?|gb2312|gbk|gb18030|shift_jis(x0213|_2004)?|euc_(jp|kr|jisx0213|jis_2004)|iso2022_\w+|johab|kz1048"
)


def as_utf8(data: bytes, *, file: str, limits: ReadLimits = READ_LIMITS) -> bytes:
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
    head = data[len(mark) : len(mark) + 4 * limits.declaration].decode(encoding or "latin-1", errors="ignore")
    head = head[: limits.declaration]
    if not head.lstrip().startswith("<"):
        return data  # no XML in any encoding; the parser says so
    declaration = _DECLARATION.match(head)
    named = None if declaration is None else _ENCODING.search(declaration.group())
    label = "UTF-8" if named is None else named.group(1)
    encoding = encoding or _codec(label, file)
    if encoding in ("utf-8", "ascii") and not mark:
        if not data.isascii():
            _decoded(data, encoding, file, label)
        if declaration is None or (named is not None and label.lower() == "utf-8"):
            return data
        # every byte is UTF-8 already: only the declaration changes
        return _declared(declaration.group()).encode() + data[declaration.end() :]
    text = _decoded(data[len(mark) :], encoding, file, encoding if mark else label)
    found = _DECLARATION.match(text)
    return (text if found is None else _declared(found.group()) + text[found.end() :]).encode()


def _codec(label: str, file: str) -> str:
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        name = ""
    if not _KNOWN.fullmatch(name):
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
