"""Read an SBML file into an :class:`~sbmlump.model.system.OdeSystem`, or say everything that prevents it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.system import OdeSystem
from sbmlump.model_files import ModelFile
from sbmlump.sbml.read.assemble import Assembly
from sbmlump.sbml.read.document import Opened, flatten, open_bytes, open_sbml
from sbmlump.sbml.read.elements import Problems, RawModel, check_packages, is_flux_balance, read_elements

__all__ = ["ReadResult", "load_sbml", "load_sbml_file", "parse_sbml", "read", "read_opened"]


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What came of reading a file.

    Attributes
    ----------
    system : OdeSystem or None
        ``None`` when there is any reason.
    reasons : tuple of Reason
        Everything that prevents an OdeSystem, all at once.
    id, name, level, version, file
        Of the model and the file.
    counts : mapping of str to int
        ``compartments``, ``species``, ``states``, ``parameters``, ``local_parameters``, ``reactions``, ``events``,
        ``functions``, ``assignment_rules``, ``rate_rules``, ``algebraic_rules``, ``initial_assignments``,
        ``constraints``; also when the model is refused.
    remarks : tuple of Reason
        What is read otherwise than one might expect, and stops nothing.
    """

    system: OdeSystem | None
    reasons: tuple[Reason, ...]
    id: str
    name: str | None
    level: int
    version: int
    file: str
    counts: Mapping[str, int]
    remarks: tuple[Reason, ...] = ()


def read(path: str | Path) -> ReadResult:
    """Read the SBML file at ``path``.

    Raises
    ------
    InputError
        If it is no readable SBML file; every other obstacle is a reason of the result.
    """
    return read_opened(open_sbml(path))


def read_opened(opened: Opened, unvalued: AbstractSet[str] = frozenset()) -> ReadResult:
    """Read a model that has been opened; see :func:`read`.

    ``unvalued`` are ids that may be without a value: what is written of a system whose parameters are symbols only (an
    ``.ode`` file may have such) is read back with them.
    """
    problems = Problems(opened.file)
    document = opened.document
    level, version = document.getLevel(), document.getVersion()
    check_packages(document, problems)
    document = flatten(document, opened, problems)
    silent = opened.silent if document is opened.document else frozenset()
    raw = read_elements(document, opened.file, opened.sha256, problems, silent)
    raw.flux_balance = is_flux_balance(document, raw)
    if raw.flux_balance:
        text = "the model is one of flux balance: reactions have bounds but no kinetic laws, so it has no dynamics"
        problems.add("flux-balance-only", text)
    assembly = Assembly(raw, problems, unvalued)
    counts = _counts(raw) | {"states": len(assembly.roles.states)}
    system = assembly.system()
    reasons, remarks = problems.reasons(), problems.remarks()
    if system is not None and remarks:
        system = replace(system, origin=replace(system.origin, remarks=(*system.origin.remarks, *remarks)))
    return ReadResult(system, reasons, raw.id, raw.name, level, version, opened.file, counts, remarks)


def load_sbml(path: str | Path) -> OdeSystem:
    """The system in the SBML file at ``path``.

    Raises
    ------
    InputError
        If it is no readable SBML file.
    UnsupportedModelError
        If it holds what cannot become an ODE system here; carries every reason.
    """
    return _system_of(read(path))


def load_sbml_file(file: ModelFile) -> OdeSystem:
    """The system in an SBML file that has been read; raises as :func:`load_sbml`."""
    return _system_of(read_opened(open_bytes(file)))


def _system_of(result: ReadResult) -> OdeSystem:
    if result.system is None:
        raise UnsupportedModelError(result.reasons)
    return result.system


def parse_sbml(data: bytes, *, file: str = "text") -> OdeSystem:
    """The system in an SBML document that is in memory; see :func:`load_sbml`."""
    return load_sbml_file(ModelFile(data, file, ".xml", None))


def _counts(raw: RawModel) -> dict[str, int]:
    kinds = [entry.quantity.kind for entry in raw.entries.values()]
    return {
        "compartments": kinds.count("compartment"),
        "species": kinds.count("species"),
        "parameters": kinds.count("parameter"),
        "local_parameters": kinds.count("local-parameter"),
        "reactions": len(raw.reactions),
        "events": len(raw.events),
        "functions": len(raw.functions),
        "assignment_rules": len(raw.assignments),
        "rate_rules": len(raw.rates),
        "algebraic_rules": len(raw.algebraic),
        "initial_assignments": len(raw.initial),
        "constraints": len(raw.constraints),
    }
