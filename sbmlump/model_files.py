"""The bytes of a model wherever it lies: a file, a compressed file, a member of an archive, standard input.

Every command takes this door. What a file is follows from its first bytes, not from its name: a ``.omex`` that is
called ``.xml`` is opened as the archive that it is. Nothing is ever unpacked to the disk, and what is unpacked in
memory is bounded, so names of members and bombs do no harm.
"""

from __future__ import annotations

import bz2
import io
import lzma
import posixpath
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final
from xml.parsers import expat

from sbmlump.errors import InputError, Reason, some_names
from sbmlump.files import read_whole

__all__ = ["MAX_BYTES", "UNPACKING", "ModelFile", "UnpackLimits", "read_model_file"]

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of a model, as it is stored and as it is when unpacked: five times the largest published one."""


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How far archives and compressed files are unpacked.

    Attributes
    ----------
    ratio : int
        Times its packed size that a file may grow; generated networks reach 100, bombs a thousand and more.
    unquestioned : int
        Bytes up to which a file may grow whatever its packed size.
    layers : int
        Of packing: a compressed file in an archive that is compressed.
    members : int
        Of an archive; a COMBINE archive has tens.
    head : int
        Bytes in which an SBML file says that it is one.
    piece : int
        Bytes unpacked at a time, after which the limits are looked at.
    shown : int
        Members that a message lists.
    """

    ratio: int = 300
    unquestioned: int = 16 << 20
    layers: int = 3
    members: int = 20_000
    head: int = 4096
    piece: int = 1 << 20
    shown: int = 12


UNPACKING: Final = UnpackLimits()
_COPY: Final = "_with_amounts"  # what sbmlump.sbml.archive calls the copy of a model

_GZIP, _BZIP2, _ZIP = b"\x1f\x8b", b"BZh", b"PK\x03\x04"
_PACKED: Final = (".gz", ".bz2", ".zip", ".omex", ".sedx", ".sbex")
_MANIFEST: Final = "manifest.xml"
#: What a manifest calls an SBML file: an identifier of the specification (of any level), or a media type.
_SBML_FORMATS: Final = ("combine.specifications/sbml", "combine.specifications:sbml", "application/sbml+xml")
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)
"""What unpacking raises: damaged data, passwords (RuntimeError), methods that are not known (NotImplementedError)."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as bytes.

    Attributes
    ----------
    data : bytes
        Unpacked.
    name : str
        For messages: ``model.xml``, ``archive.omex#model.xml``.
    suffix : str
        Of the innermost name, in lower case; it tells an ``.ode`` file from SBML.
    folder : Path or None
        Where files that the model names may lie; ``None`` for members of archives and standard input.
    """

    data: bytes
    name: str
    suffix: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class _Content:
    """An entry of an archive's manifest."""

    location: str
    format: str
    master: bool


def read_model_file(path: str | Path, kind: str = "SBML") -> ModelFile:
    """Read the model at ``path``.

    Parameters
    ----------
    path : str or Path
        A file (also ``.gz``, ``.bz2``, ``.zip``, ``.omex``), ``archive#member``, or ``-`` for standard input.
    kind : str
        Kind of file that is wanted, for messages.

    Raises
    ------
    InputError
        Codes of :func:`~sbmlump.files.read_whole`; ``unreadable-file`` for a damaged archive; ``too-large`` for what
        is larger than :data:`MAX_BYTES` when it is unpacked; ``no-model`` and ``several-models`` for archives that do
        not hold just one, with a list of what they hold.
    """
    text = str(path)
    if text == "-":
        return _unpacked(ModelFile(_standard_input(), "standard input", "", None), None)
    file, member = Path(text), None
    if "#" in text and not file.exists():
        outer, _, inner = text.partition("#")
        if Path(outer).is_file():
            file, member = Path(outer), inner
    data = read_whole(file, MAX_BYTES, kind)
    return _unpacked(ModelFile(data, file.name, file.suffix.lower(), file.parent), member)


@cache
def _standard_input() -> bytes:
    """All of standard input, which can be read once; a command may need it twice."""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(_too_large("standard input"))
    return data


def _unpacked(file: ModelFile, member: str | None) -> ModelFile:
    for _ in range(UNPACKING.layers):
        if file.data.startswith(_ZIP):
            file, member = _from_zip(file, member), None
            continue
        openers: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = ((_GZIP, _gunzip), (_BZIP2, bz2.BZ2File))
        opener = next((each for magic, each in openers if file.data.startswith(magic)), None)
        if opener is None:
            break
        inner = PurePosixPath(file.name.rpartition("#")[2]).stem if file.suffix in _PACKED else file.name
        try:
            with opener(io.BytesIO(file.data)) as stream:
                data = _bounded(stream, len(file.data), file.name)
        except _DAMAGED as error:
            raise InputError(_damaged(file.name, error)) from None
        file = ModelFile(data, file.name, PurePosixPath(inner).suffix.lower(), file.folder)
    if member is not None:
        text = f"{file.name} is not an archive, so it has no member {_shown(member)!r}; name the file alone"
        raise InputError(Reason("no-such-file", text))
    return file


def _gunzip(stream: IO[bytes]) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=stream)


def _bounded(stream: IO[bytes], packed: int, name: str) -> bytes:
    """All that ``stream`` gives, in pieces, so that a bomb is noticed before it fills the memory."""
    limit = min(MAX_BYTES, max(UNPACKING.unquestioned, UNPACKING.ratio * packed))
    pieces: list[bytes] = []
    total = 0
    while piece := stream.read(UNPACKING.piece):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise InputError(_too_large(name))
    return b"".join(pieces)


def _too_large(name: str) -> Reason:
    text = f"{name} unpacks to more than is read ({MAX_BYTES >> 20} MB, and {UNPACKING.ratio} times its packed size)"
    return Reason("too-large", f"{text}; unpack it, and reduce or split the model")


def _damaged(name: str, error: BaseException) -> Reason:
    return Reason("unreadable-file", f"{name} cannot be unpacked: {_shown(str(error)) or type(error).__name__}")


# -- archives ----------------------------------------------------------------------------------------


def _from_zip(file: ModelFile, member: str | None) -> ModelFile:
    """The model in a zip or COMBINE archive: the member asked for, or the only one, or the master."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            members = {_plain(info.filename): info for info in archive.infolist() if not info.is_dir()}
            if len(members) > UNPACKING.members:
                text = f"{file.name} holds {len(members)} files, more than the {UNPACKING.members} that are looked at"
                raise InputError(Reason("too-large", text))

            def content(name: str) -> bytes:
                info = members[name]
                with archive.open(info) as stream:
                    return _bounded(stream, info.compress_size, f"{file.name}#{_shown(name)}")

            if member is None:
                chosen = _only_model(file.name, list(members), content, lambda name: _head(archive, members[name]))
            else:
                chosen = _plain(member)
                if chosen not in members:
                    text = f"{file.name} has no member {_shown(member)!r}; it holds {_listed(list(members))}"
                    raise InputError(Reason("no-such-file", text))
            suffix = PurePosixPath(chosen).suffix.lower()
            return ModelFile(content(chosen), f"{file.name}#{_shown(chosen)}", suffix, None)
    except _DAMAGED as error:
        raise InputError(_damaged(file.name, error)) from None


def _only_model(
    archive: str, names: Sequence[str], content: Callable[[str], bytes], head: Callable[[str], bytes]
) -> str:
    stated = _contents(content(_MANIFEST)) if _MANIFEST in names else []
    models = [one for one in stated if any(word in one.format for word in _SBML_FORMATS) and one.location in names]
    chosen = [one.location for one in models if one.master] or [one.location for one in models]
    if not chosen:  # no manifest, or one that does not say
        chosen = [name for name in names if name != _MANIFEST and _looks_like_model(name, head(name))]
    # the archives that sbmlump writes may hold a copy for the experiment, beside the model itself
    copies = {PurePosixPath(name).stem + _COPY for name in chosen}
    chosen = [name for name in chosen if PurePosixPath(name).stem not in copies]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        text = f"{archive} is an archive without an SBML file or .ode file; it holds {_listed(names)}"
        raise InputError(Reason("no-model", text))
    example = f"{archive}#{_shown(chosen[0])}"
    text = f"{archive} is an archive of {len(chosen)} models: {_listed(chosen)}; name one, as {example}"
    raise InputError(Reason("several-models", text))


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as stream:
        return stream.read(UNPACKING.head)


def _looks_like_model(name: str, head: bytes) -> bool:
    if name.startswith("__MACOSX/"):
        return False
    suffixes = PurePosixPath(name).suffixes
    if suffixes and suffixes[-1].lower() in (".gz", ".bz2"):
        return len(suffixes) > 1 and suffixes[-2].lower() in (".xml", ".sbml", ".ode")
    if name.lower().endswith(".ode"):
        return b"begin" in head
    return b"<sbml" in head.replace(b"\0", b"") or b":sbml" in head.replace(b"\0", b"")


def _contents(manifest: bytes) -> list[_Content]:
    """Entries of a manifest; none where it is not XML or has a DOCTYPE."""
    found: list[_Content] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(" ")[2] == "content" and "location" in attributes:
            location, kind = _plain(attributes["location"]), attributes.get("format", "")
            found.append(_Content(location, kind, attributes.get("master", "").strip() in ("true", "1")))

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        parser.Parse(manifest, True)
    except (expat.ExpatError, LookupError, ValueError):
        return []
    return found


def _no_doctype(*_: object) -> None:
    raise ValueError("a manifest has no DOCTYPE")


def _plain(location: str) -> str:
    """A location as archives and manifests agree on: ``./a//b.xml`` is ``a/b.xml``."""
    return posixpath.normpath(location.replace("\\", "/")).lstrip("/")


def _listed(names: Sequence[str]) -> str:
    return some_names([_shown(name) for name in names], UNPACKING.shown) or "nothing"


def _shown(text: str) -> str:
    """Text from a file for a message: one line, nothing that a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return plain if len(plain) <= 120 else plain[:119] + "…"
