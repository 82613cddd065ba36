"""``.ode`` files of ERODE and CLUE: a file becomes an :class:`~sbmlump.system.OdeSystem`.

What the parts of a file mean here, and what is refused, is written down in ``docs/ode-format.md``.

References
----------
Cardelli, Tribastone, Tschaikowski, Vandin, TACAS 2017, doi 10.1007/978-3-662-54580-5_19 (ERODE).
Ovchinnikov, Pérez Verona, Pogudin, Tribastone, Bioinformatics 37 (2021), doi 10.1093/bioinformatics/btab010 (CLUE).
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path

from sbmlump.errors import InputError, Reason
from sbmlump.formats.erode_build import build_system, partition_blocks
from sbmlump.formats.erode_lexer import tokenise
from sbmlump.formats.erode_parser import parse_tokens
from sbmlump.formats.erode_write import ode_text, write_ode
from sbmlump.model_files import MAX_BYTES, ModelFile, read_model_file
from sbmlump.system import OdeSystem

__all__ = ["initial_partition", "load_ode", "load_ode_file", "ode_text", "parse_ode", "write_ode"]


def load_ode(path: str | Path) -> OdeSystem:
    """Read an ``.ode`` file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    OdeSystem
        States are the species that some reaction or equation changes, in the order of the file; all other species
        and the parameters are constants; views and algebraic variables are assigned quantities.

    Raises
    ------
    InputError
        If the file cannot be read or is not what the format allows: one reason with file and line; codes
        ``ode-syntax``, ``ode-unknown-name``, ``ode-unknown-function``, ``ode-duplicate-name``, ``ode-circular``,
        ``ode-import``, and those of :func:`~sbmlump.model_files.read_model_file`.
    LimitError
        Code ``too-large`` if its numbers explode.
    """
    return load_ode_file(read_model_file(path, ".ode"))


def load_ode_file(file: ModelFile) -> OdeSystem:
    """The system in an ``.ode`` file that has been read; raises as :func:`load_ode`."""
    return parse_ode(_text_of(file), file=file.name, sha256=hashlib.sha256(file.data).hexdigest())


def parse_ode(text: str, *, file: str = "text", sha256: str | None = None) -> OdeSystem:
    """The system an ``.ode`` text describes; see :func:`load_ode`."""
    with _collector_paused():
        return build_system(parse_tokens(tokenise(text, file)), file, sha256)


def initial_partition(path: str | Path) -> tuple[frozenset[str], ...]:
    """Blocks of the ``partition`` of a file, and one of all other states if there are any.

    A file without a partition has one block of all states.

    Raises
    ------
    InputError
        As :func:`load_ode`; also if a name stands in two blocks or is no state.
    """
    file = read_model_file(path, ".ode")
    with _collector_paused():
        raw = parse_tokens(tokenise(_text_of(file), file.name))
        return partition_blocks(raw, build_system(raw, file.name, None))


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection while millions of small objects are made that all stay: a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _text_of(file: ModelFile) -> str:
    """Text of the file; all that is not a comment or a remark is ASCII, so the encoding hardly matters."""
    if len(file.data) > MAX_BYTES:
        raise InputError(Reason("too-large", f"{file.name} is larger than {MAX_BYTES >> 20} MB"))
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if file.data.startswith(mark):
            return file.data.decode(encoding, errors="replace")
    try:
        return file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return file.data.decode("latin-1")
