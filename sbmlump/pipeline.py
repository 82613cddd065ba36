"""The jobs: load, reduce, verify, compare; each from files or systems to values."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbmlump.errors import LimitError, Reason, UnsupportedModelError, UsageError
from sbmlump.expr.graph import Node
from sbmlump.files import write_atomically
from sbmlump.inspection import kinetics
from sbmlump.loading import load
from sbmlump.methods import ReduceOptions, apply
from sbmlump.outcome import ModelFacts, Outcome
from sbmlump.outputs import (
    REDUCTION_SUFFIXES,
    SBML_SUFFIXES,
    SYSTEM_SUFFIXES,
    check_suffix,
    sbml_of,
    written_as_sbml,
    written_reduction,
    written_system,
)
from sbmlump.reduced import (
    ErrorEstimate,
    Observable,
    ReducedSystem,
)
from sbmlump.system import OdeSystem
from sbmlump.verification import recorded_observables

if TYPE_CHECKING:
    from sbmlump.simulate.compare import Definition, ErrorReport

__all__ = [
    "Conversion",
    "check",
    "convert",
    "convert_file",
    "definitions_of",
    "load",
    "reduce",
    "run_reduction",
    "write_reduced_model",
]

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
        One of :data:`sbmlump.methods.METHODS`, or several, applied in turn.
    keep_parameters : str or sequence of str
        ``none`` (the lumping may use the values in the file), ``all``, or ids.
    seed : int
        Of the random numbers; an exact reduction does not depend on it.
    **options
        Further options of the method, named as on the command line: ``max_error=0.01``, ``until=100.0``,
        ``fast="B,C"``; see :class:`sbmlump.methods.ReduceOptions`.

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
    """Read, reduce, write, simulate.

    Raises
    ------
    SbmlumpError
        What stops the job, with its reasons; nothing is written then.
    """
    _check_options(options)
    suffix = None if output is None else check_suffix(output, REDUCTION_SUFFIXES)
    begin = clock()
    progress("reading the model")
    system = load(path)
    read = clock()
    facts = ModelFacts(system.id, str(path), system.size, kinetics(system))
    reduction, shortfall = _reduced_or_best(system, observe, options, progress)
    lumped = clock()
    progress("writing")
    document = written_as_sbml(reduction, as_rate_rules=options.as_rate_rules)
    data = document.data
    written = clock()
    # simulated before it is written: the output may take the place of the original
    report: ErrorReport | None = None
    remarks = [*system.origin.remarks, *shortfall]
    if options.check and reduction.observables:
        progress("simulating both models")
        report, found = _simulate(Path(path), data, reduction, options)
        remarks += found
    if output is not None and suffix is not None:
        until = options.until if report is None else report.until
        first = Path(path).read_bytes() if system.origin.format == "sbml" else None
        content = written_reduction(reduction, suffix, data, original=first, until=until, points=options.points)
        write_atomically(output, content.data)
        remarks += [*content.reasons, *(document.reasons if suffix in SBML_SUFFIXES else ())]
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
        from sbmlump.lumping.approximate import UnreachableError

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
        from sbmlump.classic.learned_neural import require_torch

        if options.method != "learned":
            message = f"--neural is an option of the method learned, not of {options.method}"
            raise UsageError(Reason("bad-option", message))
        require_torch()


def _with_neural(
    reduction: ReducedSystem, options: ReduceOptions, output: str | Path | None
) -> tuple[ReducedSystem, list[Reason]]:
    """Train a neural closure of as many components as the learned system has, and save it beside that."""
    from sbmlump.classic.learned_neural import learn_neural, neural_not_writable
    from sbmlump.classic.measure import Trial

    assert options.neural is not None
    certificate = reduction.certificate
    assert isinstance(certificate, ErrorEstimate)  # the method is learned
    runs = 6 if options.ensemble is None else options.ensemble
    closure = learn_neural(
        reduction.original,
        reduction.observables,
        size=max(reduction.system.size, len(reduction.observables)),
        trial=Trial(certificate.horizon, runs, options.spread, options.seed),
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
    write_atomically(path, written_reduction(reduction, known, sbml_of(reduction)).data)


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


def _simulate(
    path: Path, data: bytes, reduction: ReducedSystem, options: ReduceOptions
) -> tuple[ErrorReport | None, list[Reason]]:
    from sbmlump.simulate.compare import compare

    with tempfile.TemporaryDirectory(prefix="sbmlump-") as folder:
        reduced_path = Path(folder) / "reduced.xml"
        reduced_path.write_bytes(data)
        path, remarks = _readable(path, reduction.original, Path(folder))
        names = [o.id for o in reduction.observables if reduction.reducible or o.id in reduction.system.definitions]
        if not names:
            return None, []
        try:
            report = compare(
                path,
                reduced_path,
                until=options.until,
                points=options.points,
                observables=names,
                definitions=definitions_of(reduction.original, reduction.observables),
                simulator=options.simulator,
            )
        except (LimitError, UnsupportedModelError) as error:
            # the reduction stands by its certificate; that a simulator fails on the model is a remark
            return None, list(error.reasons)
    return report, [Reason("simulation-remark", remark) for remark in (*remarks, *report.remarks)]


def _readable(path: Path, system: OdeSystem, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """A file that simulators read as what the model means, and remarks: the file itself, or its translation.

    libRoadRunner takes a ``rateOf`` that is written as an annotated function definition, as it was before Level 3
    Version 2, for the function's body, which is NaN.
    """
    from sbmlump.simulate.facts import read_facts

    remarks: tuple[str, ...] = ()
    if system.origin.format == "sbml":
        if not read_facts(path).old_rate_of:
            return path, ()
        remarks = ("the original is simulated as 'sbmlump convert' writes it: its function rateOf means a derivative.",)
    translated = folder / "original.xml"
    translated.write_bytes(written_system(system, ".xml").data)
    return translated, remarks


def definitions_of(system: OdeSystem, observables: Sequence[Observable]) -> dict[str, Definition]:
    """How each observable follows from what a simulator of the original file can read."""
    from sbmlump.simulate.compare import Definition

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
    from sbmlump.sbml.document import open_sbml
    from sbmlump.simulate.compare import compare
    from sbmlump.simulate.facts import read_facts

    for file in (original, reduced):
        open_sbml(file)  # says with exit code 3 what is wrong with a file, before a simulator meets it
    record = read_lumping_annotation(Path(reduced).read_bytes())
    definitions: Mapping[str, Definition] = {}
    old = read_facts(Path(original)).old_rate_of
    system = load(original) if old or record is not None else None
    if record is not None and system is not None:
        definitions = definitions_of(system, recorded_observables(system, record))
    with tempfile.TemporaryDirectory(prefix="sbmlump-") as folder:
        path, remarks = (Path(original), ()) if system is None else _readable(Path(original), system, Path(folder))
        report = compare(path, reduced, until=until, points=points, definitions=definitions, simulator=simulator)
    return replace(report, remarks=(*remarks, *report.remarks))
