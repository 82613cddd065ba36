"""An original and its reduction side by side: simulated and compared; a proof that is contradicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError
from sbmlump.formats.load import read_model
from sbmlump.isolate import Limits
from sbmlump.methods.registry import ReduceOptions
from sbmlump.model.graph import Node
from sbmlump.model.reduced import ErrorEstimate, ExactProof, Observable, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.options import POINTS, SIMULATOR, UNTIL, fast_reactions_as
from sbmlump.outcome import WrittenOutput
from sbmlump.proof.files import NoLumping, recorded_observables

if TYPE_CHECKING:
    from sbmlump.dynamics.time_span import TimeSpan
    from sbmlump.proof.claims import Refutation
    from sbmlump.simulators.comparison import Definition, ErrorReport
    from sbmlump.simulators.protocol import SimulatedModel, Simulator

__all__ = [
    "SIMULATION",
    "ContradictedError",
    "check",
    "compare",
    "definitions_of",
    "simulate_reduction",
    "verdict",
]


SIMULATION: Final = Limits(seconds=120.0)
"""Of the simulations of one reduction, in a child process of their own: a published model takes seconds, one of 2,500
reactions (the largest that is compiled) a minute; one that hangs, or that CVODE follows with steps too small to get
anywhere, shall not take the proved reduction with it."""


class ContradictedError(SbmlumpError):
    """A reduction was proved and is contradicted by simulations: an internal error of sbmlump (exit code 70)."""


def check(
    original: str | Path,
    reduced: str | Path,
    *,
    until: float | None = None,
    points: int = 201,
    simulator: str = "roadrunner",
    fast_reactions: str | None = None,
) -> ErrorReport:
    """As :func:`compare`, with the simulations in a child process: a simulator that crashes takes nothing along.

    Raises
    ------
    UsageError, InputError, UnsupportedModelError, LimitError
    """
    return compare(
        original,
        reduced,
        until=until,
        points=points,
        simulator=simulator,
        limits=SIMULATION,
        fast_reactions=fast_reactions,
    )


def compare(
    original: str | Path,
    reduced: str | Path,
    *,
    until: float | None = None,
    points: int = 201,
    observables: str | Sequence[str] | None = None,
    definitions: Mapping[str, Definition] | None = None,
    simulator: str | Simulator = "roadrunner",
    limits: Limits | None = None,
    fast_reactions: str | None = None,
) -> ErrorReport:
    """Simulate two files and compare what they share: first what the reduced one says was observed, then the rest.

    Parameters
    ----------
    original, reduced : path
        Files of any format that is read.
    until : float, optional
        End time in the model's unit of time; chosen from the time scale of what is compared when absent.
    points : int
        Points of the uniform grid, both ends included (at least 2).
    observables : str or sequence of str, optional
        Ids in the reduced file; all that both files share, and all that it says was observed, when absent.
    definitions : mapping from observable to Definition, optional
        How observables follow from quantities of the original; as the reduced file says when absent.
    simulator : str or Simulator
        ``roadrunner``, ``copasi``, ``scipy``, ``own``, or an object that runs SBML files; what is too large for the
        first is simulated by the last, with a remark.
    limits : Limits, optional
        Where given, the simulations run in a child process with these limits.
    fast_reactions : str, optional
        See :func:`load`.

    Returns
    -------
    ErrorReport
        ``plot()`` makes a figure of it.

    Raises
    ------
    UsageError, InputError, UnsupportedModelError, LimitError
        As :func:`sbmlump.simulators.comparison.compare_simulated`.
    """
    # before anything is read
    UNTIL.read("until", until, optional=True)
    POINTS.read("points", points)
    if isinstance(simulator, str):
        SIMULATOR.read("simulator", simulator)
    from sbmlump.sbml.annotation import read_lumping_annotation
    from sbmlump.simulators.arbiter import known_difference
    from sbmlump.simulators.comparison import compare_simulated
    from sbmlump.simulators.protocol import simulated_result

    with fast_reactions_as(fast_reactions):
        result, other = read_model(original), read_model(reduced)
    first, second = simulated_result(result, original), simulated_result(other, reduced)
    record = read_lumping_annotation(second.text.encode())
    observed = () if record is None else tuple(name for name, _ in record.observables)
    if definitions is None and record is not None:
        system = result.required()
        definitions = definitions_of(system, recorded_observables(system, record))
    report = compare_simulated(
        first,
        second,
        until=until,
        points=points,
        observables=observables,
        definitions=definitions,
        leading=observed,
        simulator=simulator,
        limits=limits,
    )
    known = known_difference(first, second, report)
    return report if known is None else replace(report, remarks=(*report.remarks, known))


def simulate_reduction(
    source: SimulatedModel,
    document: WrittenOutput,
    reduction: ReducedSystem,
    options: ReduceOptions,
    *,
    limits: Limits | None,
) -> tuple[ErrorReport | None, list[Reason]]:
    """Simulate the original and the reduced model, and explain a difference beside a proof.

    Parameters
    ----------
    source : SimulatedModel
        The original.
    document : WrittenOutput
        The reduced model as SBML, as it was read back.
    reduction : ReducedSystem
    options : ReduceOptions
        ``until``, ``points``, ``simulator``.
    limits : Limits or None
        Of child processes; in this process where it is ``None``.

    Returns
    -------
    report : ErrorReport or None
        ``None`` where a simulator fails on the model: the reduction stands by its certificate.
    reasons : list of Reason
        Remarks.

    Raises
    ------
    ContradictedError
        Code ``proof-contradicted``: the reduction is proved, and that cannot be right.
    """
    from sbmlump.simulators.arbiter import explain_difference
    from sbmlump.simulators.comparison import COMPILE_LIMITS, compare_simulated
    from sbmlump.simulators.protocol import simulated_result

    names = [o.id for o in reduction.observables if o.id in reduction.written.definitions]
    if not names:
        return None, []
    definitions = definitions_of(reduction.original, reduction.observables)
    try:
        assert document.read_back is not None
        reduced = simulated_result(document.read_back, "the reduced model")
        report = compare_simulated(
            source,
            reduced,
            until=options.until if options.until is not None else _time_span(reduction),
            points=options.points,
            observables=names,
            definitions=definitions,
            simulator=options.simulator,
            # beside a proof a difference counts, and COPASI is kept as a witness of it
            copasi_beyond=None if isinstance(reduction.certificate, ExactProof) else COMPILE_LIMITS.quick,
            limits=limits,
        )
    except (LimitError, UnsupportedModelError) as error:
        # the reduction stands by its certificate; that a simulator fails on the model is a remark
        return None, list(error.reasons)
    reasons = [Reason("simulation-remark", remark) for remark in report.remarks]
    if isinstance(reduction.certificate, ExactProof):
        verdict = explain_difference(source, reduced, report, definitions, limits)
        if verdict is not None:
            if verdict.outcome == "contradicted":
                raise ContradictedError(verdict.reason)
            reasons.insert(0, verdict.reason)
    return report, reasons


def _time_span(reduction: ReducedSystem) -> TimeSpan | None:
    """The time span over which the errors of a certificate were measured: one answer shows one end time."""
    from sbmlump.dynamics.time_span import TimeSpan

    certificate = reduction.certificate
    if not isinstance(certificate, ErrorEstimate) or not certificate.horizon > 0:
        return None
    reason = certificate.details.get("horizon_reason", "as the errors of the reduction were measured")
    return TimeSpan(certificate.horizon, str(reason))


def definitions_of(system: OdeSystem, observables: Sequence[Observable]) -> dict[str, Definition]:
    """How each observable follows from what a simulator of the original file can read."""
    from sbmlump.simulators.comparison import Definition

    values = system.specialised()
    quantities = set(system.states)
    found: dict[str, Definition] = {}
    for observable in observables:
        if observable.text == observable.id and observable.id in quantities:
            continue  # read under its own id
        node: Node = system.graph.substitute([observable.expression], values)[0]
        found[observable.id] = Definition.of_node(system.graph, node)
    return found


def verdict(result: ExactProof | Refutation | NoLumping) -> str:
    """How a verification ended: ``proved``, ``refuted`` or ``no-lumping``."""
    if isinstance(result, ExactProof):
        return "proved"
    return "no-lumping" if isinstance(result, NoLumping) else "refuted"
