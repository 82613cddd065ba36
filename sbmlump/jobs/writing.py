"""What is written, by the suffix of the file: SBML, COMBINE archive, ODE file, Antimony, table, LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.files import SBML_SUFFIXES, refuse_original, with_mark, write_atomically
from sbmlump.model.equality import Expected, refuse_differences
from sbmlump.model.properties import require_writable_system
from sbmlump.model.reduced import Meaning, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.options import LEVEL
from sbmlump.outcome import Outcome, WrittenOutput

if TYPE_CHECKING:
    from sbmlump.sbml.write.document import WrittenSbml

__all__ = [
    "REDUCTION_SUFFIXES",
    "SYSTEM_SUFFIXES",
    "WITH_SBML",
    "check_level",
    "check_suffix",
    "page_files",
    "sbml_of",
    "write_reduced_model",
    "written_as_sbml",
    "written_reduction",
    "written_system",
]


_END_TIME: Final = 100.0  # of an archive, where nothing was simulated that would say more
WITH_SBML: Final = (*SBML_SUFFIXES, ".omex")
"""Outputs that hold SBML, for which the reasons of :func:`written_as_sbml` are to be told."""
SYSTEM_SUFFIXES: Final = (*WITH_SBML, ".ode", ".ant", ".tex")
"""What a model can be written as."""
REDUCTION_SUFFIXES: Final = (*SYSTEM_SUFFIXES, ".csv")
"""What a reduction can be written as; ``.csv`` is the lumping matrix."""


def check_suffix(path: str | Path, known: tuple[str, ...]) -> str:
    """The suffix of ``path`` in lower case.

    Raises
    ------
    UsageError
        Code ``unknown-suffix`` if it is not among ``known``.
    """
    suffix = Path(path).suffix.lower()
    if Path(path).is_dir():
        message = f"{path} is a folder; name the file to be written, such as {Path(path) / 'reduced.xml'}"
        raise UsageError(Reason("unknown-suffix", message))
    if suffix not in known:
        message = f"cannot tell what to write from the suffix of {path}; known: {', '.join(known)}"
        raise UsageError(Reason("unknown-suffix", message))
    return suffix


def check_level(level: str, suffix: str) -> str:
    """The level and version, which only outputs have that hold SBML.

    Raises
    ------
    UsageError
        Code ``bad-option``.
    """
    level = LEVEL.read("level", level)
    if level != LEVEL.kind.choices[0] and suffix not in WITH_SBML:
        message = f"--level is of SBML, not of {suffix}; leave it out, or write {', '.join(WITH_SBML)}"
        raise UsageError(Reason("bad-option", message))
    return level


def sbml_of(
    reduction: ReducedSystem, *, as_rate_rules: bool = False, groups: bool = False, level: str = "3.2"
) -> bytes:
    """The bytes of :func:`written_as_sbml`."""
    return written_as_sbml(reduction, as_rate_rules=as_rate_rules, groups=groups, level=level).data


def written_as_sbml(
    reduction: ReducedSystem,
    *,
    as_rate_rules: bool = False,
    groups: bool = False,
    level: str = "3.2",
    meanings: Mapping[str, Meaning] | None = None,
) -> WrittenOutput:
    """SBML of the reduced model; of the original and what is observed of it, where nothing was reduced.

    Reactions where the mathematics allows them, unless ``as_rate_rules``; lumps as groups, too, with ``groups``; in a
    level and version; ``meanings`` of the lumps in notes and names (found here where none are given). The reasons say
    what the document leaves out.

    Raises
    ------
    UsageError
        Code ``bad-option`` for a level that is not written, and for groups in one that has none.
    UnsupportedModelError
        Code ``level-not-writable`` for what an older level cannot say.
    """
    level = LEVEL.read("level", level)
    if groups and level.startswith("2"):
        raise UsageError(
            Reason("bad-option", f"--groups: SBML Level {level[0]} has no groups; leave out one of the two")
        )
    from sbmlump.methods.reactions import as_network
    from sbmlump.sbml.write.document import reduction_document, system_document
    from sbmlump.structure.meaning import meanings_of

    if not reduction.reducible:
        document = system_document(reduction.written)
    else:
        means = meanings_of(reduction) if meanings is None else meanings
        network = reduction if as_rate_rules else as_network(reduction)
        document = reduction_document(network, groups=groups, meanings=means)
    document = _at_level(document, level)
    return WrittenOutput(document.data, document.reasons, document.read_back)


def _at_level(document: WrittenSbml, level: str) -> WrittenSbml:
    if level == LEVEL.kind.choices[0]:
        return document
    from sbmlump.sbml.write.levels import at_level

    return at_level(document, level)


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
    if suffix in SBML_SUFFIXES:
        return WrittenOutput(sbml.data)
    return {**_OF_SYSTEM, **_OF_SBML}[suffix](reduction.written, sbml)


def write_reduced_model(
    reduction: ReducedSystem, path: str | Path, *, groups: bool = False, level: str = "3.2"
) -> None:
    """Write a reduction by the suffix of the file (SBML where it is none that is known), whole or not at all.

    ``groups`` and ``level`` as of :func:`written_as_sbml`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    UsageError
        Code ``output-is-input`` if the file is the one that the original was read from.
    UsageError, UnsupportedModelError
        As :func:`written_as_sbml`, :func:`check_level`.
    """
    suffix = Path(path).suffix.lower()
    known = suffix if suffix in REDUCTION_SUFFIXES else ".xml"
    sbml = written_as_sbml(reduction, groups=groups, level=check_level(level, known))
    content = written_reduction(reduction, known, sbml)
    refuse_original(path, reduction.original.origin.sha256)
    write_atomically(path, with_mark(content.data, known))


def page_files(outcome: Outcome) -> tuple[dict[str, bytes], tuple[Reason, ...]]:
    """What stands beside the page of a reduction, by file name: SBML, Antimony, the lumping matrix.

    Returns
    -------
    files : dict of str to bytes
        None where nothing may be written, because it is not what was asked for.
    reasons : tuple of Reason
        Why one is not there.
    """
    reduction, document = outcome.reduction, outcome.document
    if reduction is None or document is None or (reduction.shortfall and outcome.output is None):
        return {}, ()
    files: dict[str, bytes] = {}
    reasons: list[Reason] = []
    for name, suffix in (("reduced.xml", ".xml"), ("reduced.ant", ".ant"), ("lumping.csv", ".csv")):
        try:
            files[name] = with_mark(written_reduction(reduction, suffix, document).data, suffix)
        except SbmlumpError as error:
            reasons += error.reasons
    return files, tuple(reasons)


def written_system(system: OdeSystem, suffix: str, level: str = "3.2") -> WrittenOutput:
    """A model in the format of a suffix, one of :data:`SYSTEM_SUFFIXES`; SBML in a level and version.

    Raises
    ------
    UsageError
        As :func:`check_level`.
    UnsupportedModelError, SbmlumpError
        As :func:`written_reduction`.
    """
    from sbmlump.sbml.write.document import system_document

    level = check_level(level, suffix)
    if suffix in _OF_SYSTEM:
        return _OF_SYSTEM[suffix](system, WrittenOutput(b""))
    document = _at_level(system_document(system), level)
    sbml = WrittenOutput(document.data, document.reasons, document.read_back)
    if suffix == ".omex":
        from sbmlump.sbml.archive import model_archive

        return WrittenOutput(model_archive(system, document.data, until=_END_TIME), document.reasons)
    return sbml if suffix in SBML_SUFFIXES else _OF_SBML[suffix](system, sbml)


def _ode(system: OdeSystem, _: WrittenOutput) -> WrittenOutput:
    from sbmlump.formats.ode import ode_text, parse_ode

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


Writer = Callable[[OdeSystem, WrittenOutput], WrittenOutput]
"""Of a system, and of the SBML that is written of it."""

_OF_SYSTEM: Final[Mapping[str, Writer]] = {".ode": _ode, ".tex": _latex}  # no SBML is made for these
_OF_SBML: Final[Mapping[str, Writer]] = {".ant": _antimony}
