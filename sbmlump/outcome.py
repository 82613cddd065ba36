"""How a job on one model ended, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sbmlump.errors import InputError, LimitError, Reason, SbmlumpError, UnsupportedModelError

if TYPE_CHECKING:
    from sbmlump.model.properties import Kinetics
    from sbmlump.model.reduced import ReducedSystem
    from sbmlump.sbml.read.load import ReadResult
    from sbmlump.simulators.comparison import ErrorReport

__all__ = ["ModelFacts", "Outcome", "OutcomeName", "WrittenOutput", "outcome_of_error"]

OutcomeName = Literal["reduced", "not-reducible", "target-not-reached", "unsupported", "out-of-budget", "failed"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the model a job was about; ``None`` where the job did not get that far."""

    id: str | None = None
    file: str | None = None
    states: int | None = None
    kinetics: Kinetics | None = None

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {"id": self.id, "file": self.file, "states": self.states, "kinetics": self.kinetics}


@dataclass(frozen=True, slots=True)
class WrittenOutput:
    """The content of an output, read back and compared, and what has to be said of it (ids that had to change …).

    ``read_back`` is what the reader makes of it, where it is SBML.
    """

    data: bytes
    reasons: tuple[Reason, ...] = ()
    read_back: ReadResult | None = None


@dataclass(frozen=True)
class Outcome:
    """The end of one reduction job.

    Attributes
    ----------
    name : str
        One of the contract's outcomes.
    reduction, report : optional
        Present as far as the job got.
    seconds : mapping
        ``read``, ``lump``, ``write``, ``simulate``, ``total``.
    reasons : tuple of Reason
        Why it went no further, and remarks on what it did.
    document : WrittenOutput or None
        The SBML of the reduced model, also where no file was written.
    exit_code : int
        For the command line.
    """

    name: OutcomeName
    model: ModelFacts
    method: str
    reduction: ReducedSystem | None = None
    report: ErrorReport | None = None
    output: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    document: WrittenOutput | None = None
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        """The object that ``reduce --json`` prints."""
        reduction = self.reduction
        lumps = meanings = None
        shape: dict[str, Any] = {"kind": None, "proper": None, "non_negative": None}
        if reduction is not None:
            matrix = reduction.matrix
            shape = {"kind": reduction.map.kind, "proper": matrix.proper, "non_negative": matrix.non_negative}
            if self.name in ("reduced", "target-not-reached"):
                lumps = [
                    {"id": lump.id, "members": {k: str(v) for k, v in lump.members.items()}, "offset": None}
                    for lump in reduction.lumps
                ]
                from sbmlump.structure import meanings_of

                meanings = [
                    {"id": name, "kind": one.kind, "label": one.label, "sentence": one.sentence}
                    for name, one in meanings_of(reduction).items()
                ]
        times = {key: self.seconds.get(key) for key in ("read", "lump", "write", "simulate", "total")}
        return {
            "model": self.model.as_json(),
            "outcome": self.name,
            "method": self.method,
            "observables": [o.id for o in reduction.observables] if reduction else None,
            "original_size": reduction.original.size if reduction else self.model.states,
            "reduced_size": reduction.system.size if reduction else None,
            "exact": reduction.certificate.kind == "exact-proof" if reduction else None,
            "map": shape,
            "lumping": lumps,
            "meanings": meanings,
            "vanished": list(reduction.vanished) if reduction else None,
            "merged": list(reduction.merged) if reduction else None,
            "certificate": reduction.certificate.as_json() if reduction else None,
            "simulation": self.report.as_json() if self.report else None,
            "seconds": times,
            "output": self.output,
            "reasons": [reason_json(reason) for reason in self.reasons],
        }


def reason_json(reason: Reason) -> dict[str, Any]:
    """A reason as the contract prints it."""
    found: dict[str, Any] = {"code": reason.code, "element": reason.element, "message": reason.message}
    if reason.line is not None:
        found["line"] = reason.line
    return found


def outcome_of_error(error: SbmlumpError) -> OutcomeName:
    """Which outcome an error amounts to."""
    if isinstance(error, UnsupportedModelError):
        return "unsupported"
    if isinstance(error, LimitError):
        from sbmlump.model.reduced import TARGETS

        missed = any(reason.code in TARGETS for reason in error.reasons)
        return "target-not-reached" if missed else "out-of-budget"
    if isinstance(error, InputError):
        return "failed"
    return "failed"
