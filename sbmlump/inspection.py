"""What is in a file: counts, kinetics, what can be observed, and everything that stops a reduction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbmlump.errors import Reason
from sbmlump.expr.kinetics import Kinetics, kinetics_of
from sbmlump.loading import load_file
from sbmlump.model_files import read_model_file
from sbmlump.observables import observable_ids
from sbmlump.system import OdeSystem

__all__ = ["Inspection", "Observed", "inspect_model", "kinetics"]


def kinetics(system: OdeSystem) -> Kinetics:
    """Class of the right-hand side as a function of the states."""
    return kinetics_of(system.graph, system.rhs, frozenset(system.states))


@dataclass(frozen=True, slots=True)
class Observed:
    """Something that can be observed."""

    id: str
    name: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a file: counts, kinetics, what can be observed, what stops a reduction (``reasons``), and what had
    to be assumed on reading (``remarks``).
    """

    id: str
    name: str | None
    file: str
    level: int | None
    version: int | None
    states: int
    parameters: int
    reactions: int
    events: int
    kinetics: Kinetics | None
    observables: tuple[Observed, ...]
    reasons: tuple[Reason, ...]
    remarks: tuple[Reason, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether it became an ODE system."""
        return not self.reasons


def inspect_model(path: str | Path) -> Inspection:
    """Look into a file.

    Raises
    ------
    InputError
        If it is not a readable model.
    """
    file = read_model_file(path)
    if file.suffix == ".ode":
        system = load_file(file)
        return Inspection(
            system.id,
            system.name,
            str(path),
            None,
            None,
            system.size,
            len(system.constants),
            len(system.reactions),
            len(system.events),
            kinetics(system),
            _observed(system),
            (),
            system.origin.remarks,
        )
    from sbmlump.sbml.document import open_bytes
    from sbmlump.sbml.reader import read_opened

    result = read_opened(open_bytes(file))
    return Inspection(
        result.id,
        result.name,
        str(path),
        result.level,
        result.version,
        result.counts["states"] if result.system is None else result.system.size,
        result.counts["parameters"] + result.counts["local_parameters"],
        result.counts["reactions"],
        result.counts["events"],
        None if result.system is None else kinetics(result.system),
        () if result.system is None else _observed(result.system),
        result.reasons,
        result.remarks,
    )


def _observed(system: OdeSystem) -> tuple[Observed, ...]:
    names = {r.id: r.name for r in system.reactions}
    names.update((q.id, q.name) for q in system.quantities.values())
    kinds = {r.id: "reaction (flux)" for r in system.reactions}
    kinds.update((q.id, q.kind) for q in system.quantities.values())
    return tuple(Observed(o, names.get(o), kinds.get(o, "quantity")) for o in observable_ids(system))
