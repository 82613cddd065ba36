"""The jobs: load, reduce, verify, compare; each from files or systems to values."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.files import write_atomically
from sbmlump.formats.load import load, read_model
from sbmlump.isolate import Limits
from sbmlump.methods.registry import ReduceOptions, apply
from sbmlump.model.graph import Node
from sbmlump.model.observables import observable_ids
from sbmlump.model.properties import Kinetics, kinetics_of
from sbmlump.model.reduced import (
    ErrorEstimate,
    ExactProof,
    Observable,
    ReducedSystem,
)
from sbmlump.model.system import OdeSystem
from sbmlump.outcome import ModelFacts, Outcome
from sbmlump.outputs import (
    REDUCTION_SUFFIXES,
    SBML_SUFFIXES,
    SYSTEM_SUFFIXES,
    WrittenOutput,
    check_suffix,
    written_as_sbml,
    written_reduction,
    written_system,
)
from sbmlump.proof.files import recorded_observables

if TYPE_CHECKING:
    from sbmlump.dynamics.time_span import TimeSpan
    from sbmlump.simulators.compare import Definition, ErrorReport
    from sbmlump.simulators.simulated import SimulatedModel

__all__ = [
    "ContradictedError",
    "Conversion",
    "check",
    "convert",
    "convert_file",
    "definitions_of",
    "load",
    "reduce",
    "run_reduction",
    "simulate_reduction",
    "write_reduced_model",
    "Inspection",
    "Observed",
    "inspect_model",
    "kinetics",
]


# -- What is in a file: counts, kinetics, what can be observed, and everything that s ------------

# What is in a file: counts, kinetics, what can be observed, and everything that stops a reduction.


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
    result = read_model(path)
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


# -- The jobs: load, reduce, verify, compare; each from files or systems to values ---------------


Progress = Callable[[str], None]
Clock = Callable[[], float]
_QUIET: Progress = lambda _: None  # noqa: E731


def reduce(
    system: OdeSystem,
    observe: str | Sequence[str] = (),
    method: str | Sequence[str] = "exact",
    *,
    keep_parameters: str | Sequence[str] = "none",
    seed: int = 0,
    progress: Progress = _QUIET,
    **options: Any,
) -> ReducedSystem:
    """Reduce a system, keeping what is observed.

    Parameters
    ----------
    system : OdeSystem
    observe : str or sequence of str
        Ids or expressions such as ``"A + 2*B"`` or ``"total = A + B"``.
    method : str or sequence of str
        One of :data:`sbmlump.methods.registry.METHODS`, or several, applied in turn.
    keep_parameters : str or sequence of str
        ``none`` (the lumping may use the values in the file), ``all``, or ids.
    seed : int
        Of the random numbers; an exact reduction does not depend on it.
    **options
        Further options of the method, named as on the command line: ``max_error=0.01``, ``until=100.0``,
        ``fast="B,C"``; see :class:`sbmlump.methods.registry.ReduceOptions`.

    Raises
    ------
    UsageError
        Also with code ``unknown-option``, for a name that is no option of a reduction.
    UnsupportedModelError, LimitError
    """
    unknown = sorted(set(options) - {each.name for each in fields(ReduceOptions)})
    if unknown:
        known = ", ".join(sorted(each.name for each in fields(ReduceOptions)))
        raise UsageError([Reason("unknown-option", f"there is no option {name!r}; known: {known}") for name in unknown])
    chosen = {"method": method, "keep_parameters": keep_parameters, "seed": seed, **options}
    return apply(system, observe, ReduceOptions(**chosen), progress)


# -- the whole job -----------------------------------------------------------------------------------


def run_reduction(
    path: str | Path,
    observe: Sequence[str],
    options: ReduceOptions,
    output: str | Path | None = None,
    *,
    progress: Progress = _QUIET,
    clock: Clock = time.perf_counter,
) -> Outcome:
    """Read, reduce, write, simulate, in this order: what is proved is there before foreign code runs on it.

    Raises
    ------
    SbmlumpError
        What stops the job, with its reasons; nothing is written then.
    """
    _check_options(options)
    suffix = None if output is None else check_suffix(output, REDUCTION_SUFFIXES)
    begin = clock()
    progress("reading the model")
    original = read_model(path)
    system = original.required()
    read = clock()
    facts = ModelFacts(system.id, str(path), system.size, kinetics(system))
    source: SimulatedModel | None = None
    source_reasons: tuple[Reason, ...] = ()
    if options.check:
        from sbmlump.simulators.simulated import simulated_result

        try:
            source = simulated_result(original, path)
        except SbmlumpError as error:
            source_reasons = error.reasons
    first = original.data or None
    del original  # the records of a large file are large
    reduction, shortfall = _reduced_or_best(system, observe, options, progress)
    lumped = clock()
    progress("writing")
    document = written_as_sbml(reduction, as_rate_rules=options.as_rate_rules)
    target = None if output is None or suffix is None else _Target(output, suffix)
    told: tuple[Reason, ...] = ()
    if target is not None:
        # before anything is simulated, so that it is there whatever becomes of the simulator
        content = written_reduction(
            reduction, target.suffix, document, original=first, until=options.until, points=options.points
        )
        target.write(content.data)
        told = (*content.reasons, *(document.reasons if target.suffix in SBML_SUFFIXES else ()))
    written = clock()
    report: ErrorReport | None = None
    remarks = [*system.origin.remarks, *shortfall, *source_reasons, *told]
    if source is not None and reduction.observables:
        progress("simulating both models")
        try:
            report, found = simulate_reduction(source, document, reduction, options, limits=SIMULATION)
        except ContradictedError:
            if target is not None:
                target.take_back()
            raise
        remarks += found
        if target is not None and target.suffix == ".omex" and options.until is None and report is not None:
            # an archive holds an experiment: its end time is known now
            content = written_reduction(
                reduction, target.suffix, document, original=first, until=report.until, points=options.points
            )
            target.write(content.data)
    if options.neural is not None:
        progress("training the neural closure")
        reduction, found = _with_neural(reduction, options, output)
        remarks += found
    done = clock()
    reducible = reduction.reducible
    remarks += [*reduction.reasons, *(Reason("reduction-remark", text) for text in reduction.remarks)]
    if not reducible and options.method != "none":
        remarks.append(_what_to_try(reduction, options))
    seconds = {
        "read": read - begin,
        "lump": lumped - read,
        "write": written - lumped,
        "simulate": done - written,
        "total": done - begin,
    }
    return Outcome(
        "reduced" if reducible else "not-reducible",
        facts,
        "lumping" if options.lumping is not None and options.method == "exact" else options.method,
        reduction,
        report,
        None if output is None else str(output),
        seconds,
        tuple(remarks),
        exit_code=4 if shortfall else 1 if options.strict and not reducible else 0,
    )


def _reduced_or_best(
    system: OdeSystem, observe: Sequence[str], options: ReduceOptions, progress: Progress
) -> tuple[ReducedSystem, tuple[Reason, ...]]:
    """The reduction; where a wanted accuracy was not reached, the best one found and the reasons."""
    try:
        return apply(system, observe, options, progress), ()
    except LimitError as error:
        from sbmlump.methods.approximate.run import UnreachableError

        if isinstance(error, UnreachableError) and error.reduction is not None:
            return error.reduction, error.reasons
        raise


def _check_options(options: ReduceOptions) -> None:
    """Refuse what makes no sense before any work is done."""
    if options.until is not None and not 0 < options.until < float("inf"):
        message = f"the horizon must be a positive number, not {options.until!r}"
        raise UsageError(Reason("bad-horizon", message))
    if options.points < 2:
        raise UsageError(Reason("bad-grid", f"the grid needs at least 2 points, not {options.points}"))
    if options.neural is not None:
        from sbmlump.methods.learned import require_torch

        if options.method != "learned":
            message = f"--neural is an option of the method learned, not of {options.method}"
            raise UsageError(Reason("bad-option", message))
        require_torch()


def _with_neural(
    reduction: ReducedSystem, options: ReduceOptions, output: str | Path | None
) -> tuple[ReducedSystem, list[Reason]]:
    """Train a neural closure of as many components as the learned system has, and save it beside that."""
    from sbmlump.dynamics.ensemble import EnsembleSettings
    from sbmlump.methods.learned import learn_neural, neural_not_writable

    assert options.neural is not None
    certificate = reduction.certificate
    assert isinstance(certificate, ErrorEstimate)  # the method is learned
    runs = 6 if options.ensemble is None else options.ensemble
    closure = learn_neural(
        reduction.original,
        reduction.observables,
        size=max(reduction.system.size, len(reduction.observables)),
        trial=EnsembleSettings(certificate.horizon, runs, options.spread, options.seed),
    )
    closure.save(options.neural)
    off = closure.trajectory_error
    details = {
        "file": options.neural,
        "size": closure.size,
        "closure_error": closure.closure_error,
        "trajectory_error": off if math.isfinite(off) else None,
    }
    told = f"follows the observables to {off:.3g}" if math.isfinite(off) else "runs away"
    message = (
        f"a neural closure with {closure.size} components {told} (closure error {closure.closure_error:.3g}); its "
        f"weights are in {options.neural}"
    )
    reasons = [Reason("neural-closure", message)]
    if output is not None:
        reasons.append(neural_not_writable(output))
    certificate = replace(certificate, details={**certificate.details, "neural": details})
    return replace(reduction, certificate=certificate), reasons


def write_reduced_model(reduction: ReducedSystem, path: str | Path) -> None:
    """Write a reduction by the suffix of the file (SBML where it is none that is known), whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    known = suffix if suffix in REDUCTION_SUFFIXES else ".xml"
    write_atomically(path, written_reduction(reduction, known, written_as_sbml(reduction)).data)


def _what_to_try(reduction: ReducedSystem, options: ReduceOptions) -> Reason:
    if reduction.method not in _NEED_EVERY_STATE:
        return Reason("not-reducible", _NOTHING_FOUND.get(reduction.method, "the method found nothing to reduce"))
    hint = "observe fewer or other quantities, or accept a measured error (--method approximate)"
    if options.keep_parameters != "none":
        hint += ", or use the values of the parameters (--keep-parameters none)"
    return Reason(
        "not-reducible",
        f"every state is needed to keep the observables exactly; {hint}",
    )


_NEED_EVERY_STATE = ("exact", "forward-equivalence", "pooling")
_NOTHING_FOUND = {
    "conservation": "the model has no conserved total that a state could be eliminated by",
    "backward-equivalence": "no two states stay equal; other methods may merge states (--method exact)",
}


SIMULATION: Final = Limits(seconds=600.0)
"""Of the simulations of one reduction, in a child process of their own: a published model takes seconds, one of 2,500
reactions (the largest that is compiled) a minute; one that hangs shall not take the proved reduction with it."""


class ContradictedError(SbmlumpError):
    """A reduction was proved and is contradicted by simulations: a fault in sbmlump (exit code 70)."""


@dataclass(slots=True)
class _Target:
    """The file that is written, and what stood there before."""

    path: str | Path
    suffix: str
    _before: bytes | None = None
    _written: bool = False

    def write(self, content: bytes) -> None:
        """Write ``content``, whole or not at all."""
        if not self._written:
            place = Path(self.path)
            self._before = place.read_bytes() if place.is_file() else None
        write_atomically(self.path, content)
        self._written = True

    def take_back(self) -> None:
        """Put back what stood there, or remove the file."""
        if not self._written:
            return
        if self._before is not None:
            write_atomically(self.path, self._before)
        else:
            Path(self.path).unlink(missing_ok=True)


def _time_span(reduction: ReducedSystem) -> TimeSpan | None:
    """The time span over which the errors of a certificate were measured: one answer shows one end time."""
    from sbmlump.dynamics.time_span import TimeSpan

    certificate = reduction.certificate
    if not isinstance(certificate, ErrorEstimate) or not certificate.horizon > 0:
        return None
    reason = certificate.details.get("horizon_reason", "as the errors of the reduction were measured")
    return TimeSpan(certificate.horizon, str(reason))


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
    from sbmlump.simulators.arbiter import settle
    from sbmlump.simulators.compare import compare
    from sbmlump.simulators.simulated import simulated_result

    # where nothing was reduced, the file is the original, which defines no combination that was observed
    written = reduction.system if reduction.reducible else reduction.original
    names = [o.id for o in reduction.observables if o.id in written.definitions]
    if not names:
        return None, []
    definitions = definitions_of(reduction.original, reduction.observables)
    try:
        assert document.read_back is not None
        reduced = simulated_result(document.read_back, "the reduced model")
        report = compare(
            source,
            reduced,
            until=options.until if options.until is not None else _time_span(reduction),
            points=options.points,
            observables=names,
            definitions=definitions,
            simulator=options.simulator,
            limits=limits,
        )
    except (LimitError, UnsupportedModelError) as error:
        # the reduction stands by its certificate; that a simulator fails on the model is a remark
        return None, list(error.reasons)
    reasons = [Reason("simulation-remark", remark) for remark in report.remarks]
    if isinstance(reduction.certificate, ExactProof):
        verdict = settle(source, reduced, report, definitions, limits)
        if verdict is not None:
            if verdict.outcome == "contradicted":
                raise ContradictedError(verdict.reason)
            reasons.insert(0, verdict.reason)
    return report, reasons


def definitions_of(system: OdeSystem, observables: Sequence[Observable]) -> dict[str, Definition]:
    """How each observable follows from what a simulator of the original file can read."""
    from sbmlump.simulators.compare import Definition

    values = system.specialised()
    quantities = set(system.states)
    found: dict[str, Definition] = {}
    for observable in observables:
        if observable.text == observable.id and observable.id in quantities:
            continue  # read under its own id
        node: Node = system.graph.substitute([observable.expression], values)[0]
        found[observable.id] = Definition.of_node(system.graph, node)
    return found


# -- other jobs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model that was read and written back, and what has to be said of the output."""

    system: OdeSystem
    reasons: tuple[Reason, ...]


def convert_file(source: str | Path, target: str | Path) -> Conversion:
    """Read a model and write it back, by suffix.

    Raises
    ------
    UsageError
        If the suffix of the target is not known (code ``unknown-suffix``).
    SbmlumpError
        If the model cannot be read, or the format cannot hold it.
    """
    suffix = check_suffix(target, SYSTEM_SUFFIXES)
    system = load(source)
    written = written_system(system, suffix)
    write_atomically(target, written.data)
    return Conversion(system, (*system.origin.remarks, *written.reasons))


def convert(source: str | Path, target: str | Path) -> OdeSystem:
    """The system that was read, after it has been written; see :func:`convert_file`, which says more."""
    return convert_file(source, target).system


def check(
    original: str | Path,
    reduced: str | Path,
    *,
    until: float | None = None,
    points: int = 201,
    simulator: str = "roadrunner",
) -> ErrorReport:
    """Simulate both files and compare what they share, and the observables that the reduced file names.

    ``simulator`` is one of ``roadrunner``, ``copasi``, ``scipy``, ``own``; what is too large for the first is simulated
    by the last, with a remark.

    Raises
    ------
    UsageError, InputError, UnsupportedModelError, LimitError
    """
    from sbmlump.sbml.annotation import read_lumping_annotation
    from sbmlump.simulators.compare import compare
    from sbmlump.simulators.simulated import simulated_result

    result = read_model(original)
    first, second = simulated_result(result, original), simulated_result(read_model(reduced), reduced)
    record = read_lumping_annotation(second.text.encode())
    definitions: Mapping[str, Definition] = {}
    if record is not None:
        system = result.required()
        definitions = definitions_of(system, recorded_observables(system, record))
    return compare(
        first, second, until=until, points=points, definitions=definitions, simulator=simulator, limits=SIMULATION
    )
