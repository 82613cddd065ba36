"""Read an SBML file into an :class:`~sbmlump.model.system.OdeSystem`, or say everything that prevents it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.system import OdeSystem
from sbmlump.model_files import ModelFile
from sbmlump.sbml.read.assemble import Assembly
from sbmlump.sbml.read.document import Opened, flatten, open_sbml, text_of
from sbmlump.sbml.read.elements import Problems, RawModel, check_packages, is_flux_balance, read_elements
from sbmlump.sbml.read.index import ModelIndex, index_of
from sbmlump.sbml.read.limits import READ_LIMITS, ReadLimits

__all__ = ["ReadResult", "load_sbml", "parse_sbml", "read", "read_opened"]


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What came of reading a file: all that anybody wants of it, so that it is read once.

    Attributes
    ----------
    system : OdeSystem or None
        ``None`` when there is any reason.
    reasons : tuple of Reason
        Everything that prevents an OdeSystem, all at once.
    id, name, level, version, file
        Of the model and the file; level and version of an SBML file only.
    counts : mapping of str to int
        ``compartments``, ``species``, ``states``, ``parameters``, ``local_parameters``, ``reactions``, ``events``,
        ``functions``, ``assignment_rules``, ``rate_rules``, ``algebraic_rules``, ``initial_assignments``,
        ``constraints``; also when the model is refused.
    remarks : tuple of Reason
        What is read otherwise than one might expect, and stops nothing.
    data : bytes
        The SBML file as one UTF-8 document, as every tool reads it; empty for a file that is not SBML.
    flat : bytes
        The same without submodels.
    """

    system: OdeSystem | None
    reasons: tuple[Reason, ...]
    id: str
    name: str | None
    level: int | None
    version: int | None
    file: str
    counts: Mapping[str, int]
    remarks: tuple[Reason, ...] = ()
    data: bytes = field(default=b"", repr=False)
    flat: bytes = field(default=b"", repr=False)
    _raw: RawModel | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of_system(cls, system: OdeSystem, file: str) -> ReadResult:
        """What came of reading a file that is not SBML."""
        counts = {
            "states": system.size,
            "parameters": len(system.constants),
            "local_parameters": 0,
            "reactions": len(system.reactions),
            "events": len(system.events),
        }
        return cls(system, (), system.id, system.name, None, None, file, counts, system.origin.remarks)

    def required(self) -> OdeSystem:
        """The system.

        Raises
        ------
        UnsupportedModelError
            If the file holds what cannot become an ODE system here; carries every reason.
        """
        if self.system is None:
            raise UnsupportedModelError(self.reasons)
        return self.system

    def index(self) -> ModelIndex:
        """What the ids in ``flat`` mean; worked out when it is asked for."""
        assert self._raw is not None
        return index_of(self._raw)


def read(
    source: str | Path | ModelFile,
    unvalued: AbstractSet[str] = frozenset(),
    limits: ReadLimits = READ_LIMITS,
) -> ReadResult:
    """Read an SBML file.

    Parameters
    ----------
    source : path or ModelFile
        Where it lies, or what has been read of it.
    unvalued : set of str
        Ids that may be without a value: what is written of a system whose parameters are symbols only (an ``.ode``
        file may have such) is read back with them.
    limits : ReadLimits

    Raises
    ------
    InputError
        If it is not a readable SBML file; every other obstacle is a reason of the result.
    """
    return read_opened(open_sbml(source, limits), unvalued, limits)


def read_opened(
    opened: Opened, unvalued: AbstractSet[str] = frozenset(), limits: ReadLimits = READ_LIMITS
) -> ReadResult:
    """Read a model that has been opened; see :func:`read`."""
    problems = Problems(opened.file)
    document = opened.document
    level, version = document.getLevel(), document.getVersion()
    check_packages(document, problems)
    layered = document.getModel().isPackageEnabled("comp")
    # what submodels of other files carry does not show in the bytes of this one
    silent = frozenset[str]() if flatten(opened, problems, limits) else opened.silent
    raw = read_elements(document, opened.file, opened.sha256, problems, silent)
    raw.flux_balance = is_flux_balance(document, raw)
    if raw.flux_balance:
        text = "the model is one of flux balance: reactions have bounds but no kinetic laws, so it has no dynamics"
        problems.add("flux-balance-only", text)
    assembly = Assembly(raw, problems, unvalued, limits)
    counts = _counts(raw) | {"states": len(assembly.roles.states)}
    system = assembly.system()
    reasons, remarks = problems.reasons(), problems.remarks()
    if system is not None and remarks:
        system = replace(system, origin=replace(system.origin, remarks=(*system.origin.remarks, *remarks)))
    data = opened.data
    flat = text_of(document).encode() if layered else data
    return ReadResult(system, reasons, raw.id, raw.name, level, version, opened.file, counts, remarks, data, flat, raw)


def load_sbml(source: str | Path | ModelFile) -> OdeSystem:
    """The system in an SBML file.

    Raises
    ------
    InputError
        If it is not a readable SBML file.
    UnsupportedModelError
        If it holds what cannot become an ODE system here; carries every reason.
    """
    return read(source).required()


def parse_sbml(data: bytes, *, file: str = "text") -> OdeSystem:
    """The system in an SBML document that is in memory; see :func:`load_sbml`."""
    return load_sbml(ModelFile(data, file, ".xml", None))


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
