"""What is written, by the suffix of the file: SBML, COMBINE archive, ODE file, Antimony, table, LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.model.equality import Expected, refuse_differences
from sbmlump.model.properties import require_writable_system
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import OdeSystem

if TYPE_CHECKING:
    from sbmlump.sbml.read.load import ReadResult

__all__ = [
    "REDUCTION_SUFFIXES",
    "SBML_SUFFIXES",
    "SYSTEM_SUFFIXES",
    "WrittenOutput",
    "check_suffix",
    "sbml_of",
    "written_as_sbml",
    "written_reduction",
    "written_system",
]


_END_TIME: Final = 100.0  # of an archive, where nothing was simulated that would say more
SYSTEM_SUFFIXES: Final = (".xml", ".sbml", ".omex", ".ode", ".ant", ".tex")
"""What a model can be written as."""
REDUCTION_SUFFIXES: Final = (*SYSTEM_SUFFIXES, ".csv")
"""What a reduction can be written as; ``.csv`` is the lumping matrix."""
SBML_SUFFIXES: Final = (".xml", ".sbml", ".omex")
"""Outputs that hold SBML, for which the reasons of :func:`written_as_sbml` are to be told."""


@dataclass(frozen=True, slots=True)
class WrittenOutput:
    """The content of an output, read back and compared, and what has to be said of it (ids that had to change …).

    ``read_back`` is what the reader makes of it, where it is SBML.
    """

    data: bytes
    reasons: tuple[Reason, ...] = ()
    read_back: ReadResult | None = None


def check_suffix(path: str | Path, known: tuple[str, ...]) -> str:
    """The suffix of ``path`` in lower case.

    Raises
    ------
    UsageError
        Code ``unknown-suffix`` if it is not among ``known``.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        message = f"cannot tell what to write from the suffix of {path}; known: {', '.join(known)}"
        raise UsageError(Reason("unknown-suffix", message))
    return suffix


def sbml_of(reduction: ReducedSystem, *, as_rate_rules: bool = False) -> bytes:
    """The bytes of :func:`written_as_sbml`."""
    return written_as_sbml(reduction, as_rate_rules=as_rate_rules).data


def written_as_sbml(reduction: ReducedSystem, *, as_rate_rules: bool = False) -> WrittenOutput:
    """SBML of the reduced model; of the original, unchanged in content, where nothing was reduced.

    Reactions where the mathematics allows them, unless ``as_rate_rules``. The reasons say what the document leaves out.
    """
    from sbmlump.methods.reactions import as_network
    from sbmlump.sbml.write.document import reduction_document, system_document

    if not reduction.reducible:
        document = system_document(reduction.original)
    else:
        document = reduction_document(reduction if as_rate_rules else as_network(reduction))
    return WrittenOutput(document.data, document.reasons, document.read_back)


def written_reduction(
    reduction: ReducedSystem,
    suffix: str,
    sbml: WrittenOutput,
    *,
    original: bytes | None = None,
    until: float | None = None,
    points: int = 201,
) -> WrittenOutput:
    """A reduction in the format of a suffix.

    Parameters
    ----------
    reduction : ReducedSystem
    suffix : str
        One of :data:`REDUCTION_SUFFIXES`.
    sbml : WrittenOutput
        What :func:`written_as_sbml` gave.
    original : bytes, optional
        SBML file of the original, for an archive; made from the system where it is absent.
    until, points
        End time (in the model's unit of time) and grid of the experiment in an archive.

    Raises
    ------
    UnsupportedModelError
        Code ``extra-missing`` if the format needs a library that is not installed.
    SbmlumpError
        If the format cannot hold the model.
    """
    if suffix == ".omex":
        from sbmlump.sbml.archive import reduction_archive
        from sbmlump.sbml.write.document import write_system

        first = write_system(reduction.original) if original is None else original
        assert sbml.read_back is not None
        written, end = sbml.read_back.system, until or _END_TIME
        return WrittenOutput(reduction_archive(reduction, first, sbml.data, written, until=end, points=points))
    if suffix == ".csv":
        from sbmlump.formats.latex import lumping_csv

        return WrittenOutput(lumping_csv(reduction))
    if suffix == ".tex":
        from sbmlump.formats.latex import latex_reduction

        return WrittenOutput(latex_reduction(reduction))
    if suffix in (".xml", ".sbml"):
        return WrittenOutput(sbml.data)
    return _WRITERS[suffix](reduction.system if reduction.reducible else reduction.original, sbml)


def written_system(system: OdeSystem, suffix: str) -> WrittenOutput:
    """A model in the format of a suffix, one of :data:`SYSTEM_SUFFIXES`.

    Raises
    ------
    UnsupportedModelError, SbmlumpError
        As :func:`written_reduction`.
    """
    from sbmlump.sbml.write.document import system_document

    if suffix in (".ode", ".tex"):
        return _WRITERS[suffix](system, WrittenOutput(b""))
    document = system_document(system)
    sbml = WrittenOutput(document.data, document.reasons, document.read_back)
    if suffix == ".omex":
        from sbmlump.sbml.archive import model_archive

        return WrittenOutput(model_archive(system, document.data, until=_END_TIME), document.reasons)
    return sbml if suffix in (".xml", ".sbml") else _WRITERS[suffix](system, sbml)


def _ode(system: OdeSystem, _: WrittenOutput) -> WrittenOutput:
    from sbmlump.formats.ode_read import ode_text, parse_ode

    made = ode_text(system)
    expected = Expected(
        renamed=made.renamed,
        added_states=frozenset() if made.clock is None else frozenset({made.clock}),
        left_out=made.left_out,
        parts=frozenset(),
        time=made.clock,
    )
    refuse_differences(system, parse_ode(made.text, file="the .ode text"), "an .ode file", expected)
    return WrittenOutput(made.text.encode(), made.reasons)


def _antimony(system: OdeSystem, sbml: WrittenOutput) -> WrittenOutput:
    """Antimony of the SBML; what the antimony library makes of that has to be the model that the SBML is."""
    from sbmlump.formats.antimony import antimony_text, sbml_of_antimony
    from sbmlump.sbml.read.load import parse_sbml

    require_writable_system(system, "the antimony library")  # it inserts rules where they are used
    made = antimony_text(sbml.data)
    back = sbml_of_antimony(made.text)
    try:
        read = parse_sbml(back, file="what Antimony makes of it")
    except SbmlumpError as error:
        raise UnsupportedModelError(
            [replace(one, code="written-differs", message=f"not written: {one.message}") for one in error.reasons]
        ) from error
    expected = Expected(renamed=made.renamed, left_out=frozenset(made.left_out))
    assert sbml.read_back is not None
    refuse_differences(sbml.read_back.required(), read, "Antimony", expected)
    return WrittenOutput(made.text.encode(), made.reasons)


def _latex(system: OdeSystem, _: WrittenOutput) -> WrittenOutput:
    from sbmlump.formats.latex import latex_equations

    return WrittenOutput(latex_equations(system))


_WRITERS: Final[Mapping[str, Callable[[OdeSystem, WrittenOutput], WrittenOutput]]] = {
    ".ode": _ode,
    ".ant": _antimony,
    ".tex": _latex,
}
