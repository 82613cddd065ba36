"""``.ode`` files of ERODE and CLUE: a file becomes an :class:`~sbmlump.system.OdeSystem`.

What the parts of a file mean here, and what is refused, is written down in ``docs/ode-format.md``.

References
----------
Cardelli, Tribastone, Tschaikowski, Vandin, TACAS 2017, doi 10.1007/978-3-662-54580-5_19 (ERODE).
Ovchinnikov, Pérez Verona, Pogudin, Tribastone, Bioinformatics 37 (2021), doi 10.1093/bioinformatics/btab010 (CLUE).
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sbmlump.errors import InputError, Reason
from sbmlump.files import read_whole
from sbmlump.formats.erode_build import build_system, partition_blocks
from sbmlump.formats.erode_lexer import tokenise
from sbmlump.formats.erode_parser import parse_tokens
from sbmlump.formats.erode_write import ode_text, write_ode
from sbmlump.system import OdeSystem

__all__ = ["initial_partition", "load_ode", "ode_text", "parse_ode", "write_ode"]

_MAX_BYTES: Final = 1 << 28


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
        ``ode-import``, and those of a file that cannot be opened.
    """
    data = _bytes_of(Path(path))
    return parse_ode(_text_of(data), file=Path(path).name, sha256=hashlib.sha256(data).hexdigest())


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
    path = Path(path)
    with _collector_paused():
        raw = parse_tokens(tokenise(_text_of(_bytes_of(path)), path.name))
        return partition_blocks(raw, build_system(raw, path.name, None))


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


def _bytes_of(path: Path) -> bytes:
    data = read_whole(path, _MAX_BYTES, ".ode")
    if len(data) > _MAX_BYTES:
        raise InputError(Reason("too-large", f"{path} is larger than {_MAX_BYTES >> 20} MB"))
    return data


def _text_of(data: bytes) -> str:
    """Text of the file; all that is not a comment or a remark is ASCII, so the encoding hardly matters."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
