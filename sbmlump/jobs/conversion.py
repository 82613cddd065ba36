"""A model that is read and written back, in another format or in another level of SBML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbmlump.errors import Reason
from sbmlump.files import refuse_output, with_mark, write_atomically
from sbmlump.formats.load import load
from sbmlump.jobs.writing import SYSTEM_SUFFIXES, check_level, check_suffix, written_system
from sbmlump.model.system import OdeSystem
from sbmlump.options import fast_reactions_as

__all__ = [
    "Conversion",
    "convert",
    "convert_file",
]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model that was read and written back, and what has to be said of the output."""

    system: OdeSystem
    reasons: tuple[Reason, ...]


def convert_file(source: str | Path, target: str | Path, *, force: bool = False, level: str = "3.2") -> Conversion:
    """Read a model and write it back, by suffix; SBML in a level and version.

    ``force``: a file that this program did not write may be replaced.

    Raises
    ------
    UsageError
        If the suffix of the target is not known (code ``unknown-suffix``), or it must not be written over
        (``output-is-input``, ``output-exists``), or the level is not one (``bad-option``).
    SbmlumpError
        If the model cannot be read, or the format cannot hold it.
    """
    suffix = check_suffix(target, SYSTEM_SUFFIXES)
    check_level(level, suffix)
    refuse_output(target, source, force=force)
    system = load(source)
    written = written_system(system, suffix, level)
    write_atomically(target, with_mark(written.data, suffix))
    return Conversion(system, (*system.origin.remarks, *written.reasons))


def convert(
    source: str | Path, target: str | Path, *, level: str = "3.2", fast_reactions: str | None = None
) -> OdeSystem:
    """The system that was read, after it has been written (over what stood there, but never over the input).

    See :func:`convert_file`, which says more, and :func:`load` for ``fast_reactions``.
    """
    with fast_reactions_as(fast_reactions):
        return convert_file(source, target, force=True, level=level).system
