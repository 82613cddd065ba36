"""Is this an SBML file? First bytes, root element, length and checksums, before a file gets its name."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, NoReturn
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.parsers import expat

from crawler.errors import ODD_DATA, ArchiveError

__all__ = [
    "ContentProblem",
    "ExpectedFile",
    "digest_problem",
    "is_html",
    "is_page",
    "plain_text",
    "sbml_in",
    "sbml_problem",
    "sha256",
    "Archive",
    "ArchiveLimits",
    "is_archive",
    "master_sbml",
    "parsed_whole_number",
]


SBML_SUFFIXES: Final = (".xml", ".sbml")
"""Names of SBML files end so."""
_SBML_NAMESPACE: Final = "http://www.sbml.org/sbml/level"
_ZIP_MARK: Final = b"PK\x03\x04"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class ContentProblem:
    """Why some bytes are not the model they should be: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """What a list says of a file.

    Attributes
    ----------
    name : str
        Name in the repository; may hold anything.
    size : int or None
        Bytes.
    sums : mapping of str to str
        Hexadecimal digests by ``sha256``, ``sha1``, ``md5``; lower case.
    """

    name: str
    size: int | None = None
    sums: Mapping[str, str] = field(default_factory=dict)

    @property
    def promised(self) -> bool:
        """Whether the list says anything that bytes can be compared with."""
        return self.size is not None or bool(self.sums)


_WHOLE: Final = re.compile(r"[0-9]{1,18}")  # of ASCII, and no longer than any file is large
_HALF: Final = re.compile("[\ud800-\udfff]")


def parsed_whole_number(value: object) -> int | None:
    """The number that a text or a number from outside is; ``None`` if it is none, or beyond 18 digits."""
    text = str(value) if isinstance(value, str) or type(value) is int else ""
    return int(text) if _WHOLE.fullmatch(text) else None


def plain_text(text: str) -> str:
    """The text as valid Unicode: halves of surrogate pairs, which no file can hold, are replaced."""
    return _HALF.sub("\ufffd", text)


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def digest_problem(data: bytes, expected: ExpectedFile) -> ContentProblem | None:
    """Compare length and every listed checksum; ``None`` if all agree."""
    if expected.size is not None and len(data) != expected.size:
        return ContentProblem(
            "wrong-size", f"{expected.name} has {len(data)} bytes where the list says {expected.size}"
        )
    for algorithm, digest in expected.sums.items():
        if hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() != digest:
            return ContentProblem("wrong-checksum", f"the {algorithm} of {expected.name} is not the one listed")
    return None


_BEFORE_ROOT: Final = ((b"<!--", b"-->"), (b"<?", b"?>"), (b"<!", b">"))  # comments, instructions, declarations
_PAGE_ELEMENTS: Final = frozenset({b"html", b"head", b"body", b"title", b"center", b"h1", b"p", b"div", b"pre"})
_ELEMENT: Final = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")


def is_html(data: bytes) -> bool:
    """Whether the first element is one of a page, whatever comments and declarations stand before it."""
    start = _first_bytes(data)
    while start.startswith((b"<!", b"<?")):
        if start[:14].lower() == b"<!doctype html":
            return True
        end = next(end for begin, end in _BEFORE_ROOT if start.startswith(begin))
        _, found, start = start.partition(end)
        start = start.lstrip() if found else b""
    first = _ELEMENT.match(start)
    return first is not None and first[1].lower() in _PAGE_ELEMENTS


def is_page(data: bytes) -> bool:
    """Whether this is what a busy server sends in place of a file: nothing, plain text, JSON, or a page."""
    start = _first_bytes(data)
    if start[:2] in _UTF_16 or is_archive(start):
        return False
    return not start.startswith(b"<") or is_html(data)


def _first_bytes(data: bytes) -> bytes:
    """Without what may stand before a document: byte order mark and blanks."""
    return data[: 1 << 16].lstrip(b"\xef\xbb\xbf \t\r\n")


def sbml_problem(data: bytes, name: str) -> ContentProblem | None:
    """Look at first bytes, well-formedness and root element; ``None`` for an SBML document.

    Entity declarations are refused: a document of a few lines could unfold to gigabytes in whatever reads it.
    """
    start = _first_bytes(data)
    if not start:
        return ContentProblem("empty-file", f"{name} is empty")
    if start.startswith(_ZIP_MARK):
        return ContentProblem("not-sbml", f"{name} is an archive, not an SBML file")
    if is_html(data):
        return ContentProblem("html-page", f"{name} is an HTML page, not an SBML file")
    if not (start.startswith(b"<") or data[:2] in _UTF_16):
        return ContentProblem("not-sbml", f"{name} does not begin like an XML file")
    try:
        root = _root_of(data)
    except expat.ExpatError as error:
        return ContentProblem("not-well-formed", f"{name} is not well-formed XML: {error}")
    except (LookupError, ValueError) as error:  # what expat says of an encoding that Python cannot give it
        return ContentProblem(
            "unknown-encoding", f"{name} is in an encoding that is not read ({error}); save it as UTF-8"
        )
    except _RefusedEntityError as error:
        return ContentProblem(
            "entity-declaration", f"{name} declares the entity {error}; such a file can unfold without end"
        )
    namespace, _, local = root.rpartition(" ")
    if local != "sbml" or not namespace.startswith(_SBML_NAMESPACE):
        return ContentProblem("not-sbml", f"the root element of {name} is <{local}>, not <sbml> of an SBML namespace")
    return None


class _RefusedEntityError(Exception):
    pass


def _root_of(data: bytes) -> str:
    """``namespace name`` of the root element, after reading the document to its end."""
    parser = expat.ParserCreate(namespace_separator=" ")
    roots: list[str] = []

    def started(name: str, _: object) -> None:
        roots.append(name)
        parser.StartElementHandler = None

    def entity(name: str, *_: object) -> NoReturn:
        raise _RefusedEntityError(name)

    parser.StartElementHandler = started
    parser.EntityDeclHandler = entity
    parser.Parse(data, True)
    return roots[0]


# -- archives ----------------------------------------------------------------------------------------
# They come from strangers: every member's path, number, size and ratio is looked at before anything is read.


_MANIFEST: Final = "manifest.xml"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold.

    Attributes
    ----------
    members : int
    member_bytes, total_bytes : int
        Unpacked; the largest published model has about 50 MB.
    ratio : float
        To which a member may unfold. SBML text deflates to between a tenth and a fiftieth.
    small_bytes : int
        Members below this size may have any ratio: they do no harm.
    """

    members: int = 10_000
    member_bytes: int = 256 << 20
    total_bytes: int = 1 << 30
    ratio: float = 200.0
    small_bytes: int = 1 << 20


def is_archive(data: bytes) -> bool:
    """Whether the first bytes are those of a zip file with at least one member."""
    return data.startswith(_ZIP_MARK)


_ENTRY: Final = struct.Struct("<4s4xH18xHHH12x")  # of the directory: signature, flags, lengths of name, extra, comment
_ENTRY_BYTES: Final = 46
_NAME_IS_UTF_8: Final = 0x800


def _opened(data: bytes) -> zipfile.ZipFile:
    """A zip file whose directory may hold names that are not the UTF-8 they say to be."""
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except UnicodeDecodeError:
        return zipfile.ZipFile(io.BytesIO(_readable_names(data)))


def _readable_names(data: bytes) -> bytes:
    """The archive with the flag of UTF-8 taken from each name that is not: only that member is unreadable then."""
    changed = bytearray(data)
    at = data.find(b"PK\x01\x02")
    while at >= 0 and at + _ENTRY_BYTES <= len(data):
        mark, flags, *lengths = _ENTRY.unpack_from(data, at)
        if mark != b"PK\x01\x02":
            break
        try:
            data[at + _ENTRY_BYTES : at + _ENTRY_BYTES + lengths[0]].decode()
        except UnicodeDecodeError:
            changed[at + 8 : at + 10] = (flags & ~_NAME_IS_UTF_8).to_bytes(2, "little")
        at += _ENTRY_BYTES + sum(lengths)
    return bytes(changed)


class Archive:
    """A zip file in memory, checked as a whole when it is opened.

    Raises
    ------
    ArchiveError
        Codes ``broken-archive``, ``unsafe-archive``.
    """

    def __init__(self, data: bytes, name: str, limits: ArchiveLimits | None = None) -> None:
        self.name = name
        self._limits = limits or ArchiveLimits()
        try:
            self._zip = _opened(data)
        except (*ODD_DATA, OSError) as error:
            raise ArchiveError("broken-archive", f"{name} is not a readable zip file: {error}") from error
        self._check(len(data))
        self._files = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}

    @property
    def names(self) -> Sequence[str]:
        """Names of the files in it, in the order of the archive."""
        return list(self._files)

    def read(self, member: str) -> bytes:
        """Bytes of one member; its CRC is checked.

        Raises
        ------
        ArchiveError
            Code ``broken-archive``: no such member, or its CRC is wrong.
        """
        info = self._files.get(member)
        if info is None:
            raise ArchiveError("broken-archive", f"{self.name} has no member {member}")
        try:
            with self._zip.open(info) as file:
                data = file.read(self._limits.member_bytes + 1)
        except (*ODD_DATA, OSError) as error:
            raise ArchiveError("broken-archive", f"the member {member} of {self.name} is damaged: {error}") from error
        if len(data) != info.file_size:
            raise ArchiveError("broken-archive", f"the member {member} of {self.name} is not as long as it says")
        return data

    def _check(self, size: int) -> None:
        limits, infos = self._limits, self._zip.infolist()
        if len(infos) > limits.members:
            self._refuse(f"has {len(infos)} members, more than {limits.members}")
        names = [info.filename for info in infos]
        if len(set(names)) != len(names):
            self._refuse("has two members of one name")
        if sum(info.compress_size for info in infos) > size:
            self._refuse("has members that overlap")
        if sum(info.file_size for info in infos) > limits.total_bytes:
            self._refuse(f"would unfold to more than {limits.total_bytes >> 20} MB")
        for info in infos:
            self._check_member(info)

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        member = info.orig_filename
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1] or "\0" in member:
            self._refuse(f"has the member {member!r}, which points outside of it")
        if len(member) > 1 and member[1] == ":":
            self._refuse(f"has the member {member!r}, which names a drive")
        if stat.S_ISLNK(info.external_attr >> 16):
            self._refuse(f"has the member {member!r}, which is a link")
        if info.flag_bits & 1:
            self._refuse(f"has the member {member!r}, which is encrypted")
        if info.file_size > self._limits.member_bytes:
            self._refuse(f"has the member {member!r} of {info.file_size >> 20} MB, too large for a model")
        most = max(self._limits.small_bytes, self._limits.ratio * max(info.compress_size, 1))
        if info.file_size > most:
            self._refuse(f"has the member {member!r}, which would unfold more than {self._limits.ratio:g}-fold")

    def _refuse(self, what: str) -> None:
        raise ArchiveError("unsafe-archive", f"the archive {self.name} {what}; nothing of it was kept")


def sbml_in(data: bytes, name: str, *, archive: bool = False) -> bytes | ContentProblem:
    """The SBML document in some bytes: these themselves, or the model of the archive that they are.

    Parameters
    ----------
    data : bytes
    name : str
        For messages.
    archive : bool
        They have to be an archive; otherwise one is opened if they are one.
    """
    if not (archive or is_archive(data)):
        return sbml_problem(data, name) or data
    try:
        member = master_sbml(Archive(data, name))
    except ArchiveError as error:
        return ContentProblem(error.code, error.message)
    return member if isinstance(member, ContentProblem) else member[1]


def master_sbml(archive: Archive) -> tuple[str, bytes] | ContentProblem:
    """The SBML file of a COMBINE archive: the master, else the only SBML file the manifest or the names tell of.

    What the manifest calls a file counts less than what the file is: a master may be listed as XML.

    Raises
    ------
    ArchiveError
        The archive is damaged.
    """
    problem = ContentProblem("no-sbml-file", f"the archive {archive.name} holds no SBML file")
    for paths, said in _candidates(archive):
        models: list[tuple[str, bytes]] = []
        for path in paths:
            if path not in archive.names:
                message = f"the manifest of {archive.name} names {path}, which is not in it"
                problem = ContentProblem("no-sbml-file", message)
                continue
            data = archive.read(path)
            wrong = sbml_problem(data, f"{path} in {archive.name}")
            if wrong is None:
                models.append((path, data))
            elif said == "in the manifest" and wrong.code != "not-sbml":
                return wrong  # it is the model, and damaged: another file is not to take its place
            elif said:
                problem = wrong
        if len(models) > 1:
            names = ", ".join(path for path, _ in models[:4])
            return ContentProblem(
                "several-models", f"the archive {archive.name} holds several SBML files and no master: {names}"
            )
        if models:
            return models[0]
    return problem


def _candidates(archive: Archive) -> Iterator[tuple[Sequence[str], str]]:
    """Where a model may be, the likeliest first, and where it is said that it is one; nowhere, if empty."""
    contents = _contents(archive)
    yield [path for path, form, master in contents if master and "/sbml" in form], "in the manifest"
    yield [path for path, _, master in contents if master], ""
    yield [path for path, form, _ in contents if "/sbml" in form], "in the manifest"
    others = [name for name in archive.names if PurePosixPath(name).name != _MANIFEST]
    named = [name for name in others if name.lower().endswith(SBML_SUFFIXES)]
    yield named, "in the name"
    yield [name for name in others if name not in named], ""


def _contents(archive: Archive) -> list[tuple[str, str, bool]]:
    """Path, format and master flag of each entry of the manifest; empty without one."""
    if _MANIFEST not in archive.names:
        return []
    data = archive.read(_MANIFEST)
    if b"<!" in data.replace(b"<!--", b""):
        message = f"the manifest of {archive.name} holds declarations; nothing of it was kept"
        raise ArchiveError("unsafe-archive", message)
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - declarations were refused above
    except (ElementTree.ParseError, *ODD_DATA) as error:
        raise ArchiveError("broken-archive", f"the manifest of {archive.name} is not XML: {error}") from error
    members = {_normal(name): name for name in archive.names}
    return [
        (
            _member_at(item.get("location", ""), members),
            item.get("format", ""),
            item.get("master", "").strip() in ("true", "1"),
        )
        for item in root
        if item.tag.rpartition("}")[2] == "content"
    ]


def _member_at(location: str, members: Mapping[str, str]) -> str:
    """The member that a manifest means; what it says where there is none.

    A location is a relative reference (RFC 3986), so ``%20`` is a blank, but many programs write the name as it is.
    """
    plain = _normal(location)
    return members.get(plain) or members.get(_normal(unquote(location))) or plain


def _normal(name: str) -> str:
    """Without what makes no difference: ``./a//b.xml``, ``/a/b.xml`` and with backslashes are one member."""
    return posixpath.normpath(name.replace("\\", "/")).lstrip("/")
