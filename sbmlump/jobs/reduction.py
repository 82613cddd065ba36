"""One reduction: read, reduced, written, simulated; and what to try where nothing was reduced."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbmlump.errors import Reason, SbmlumpError, UsageError, counted
from sbmlump.files import is_text_of_model, refuse_output, with_mark, write_atomically
from sbmlump.formats.load import read_model
from sbmlump.jobs.checking import SIMULATION, ContradictedError, simulate_reduction
from sbmlump.jobs.inspection import nothing_observed
from sbmlump.jobs.writing import (
    REDUCTION_SUFFIXES,
    WITH_SBML,
    check_level,
    check_suffix,
    written_as_sbml,
    written_reduction,
)
from sbmlump.methods.approximate.options import UnreachableError
from sbmlump.methods.method import Clock, ExactMethod, Method, Progress, unheard
from sbmlump.methods.registry import (
    Exact,
    ForwardEquivalence,
    Identity,
    Learned,
    ReduceOptions,
    reduce_by,
    reduce_options,
)
from sbmlump.model.properties import kinetics_of_system
from sbmlump.model.reduced import ErrorEstimate, Observable, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.options import OBSERVE
from sbmlump.outcome import ModelFacts, Outcome, WrittenOutput
from sbmlump.stopping import stop_request

if TYPE_CHECKING:
    from sbmlump.sbml.read.load import ReadResult
    from sbmlump.simulators.comparison import ErrorReport
    from sbmlump.simulators.protocol import SimulatedModel

__all__ = [
    "AdviceSettings",
    "Clock",
    "reduce",
    "refuse_other_than_systems",
    "run_reduction",
]


def reduce(
    system: OdeSystem,
    observe: str | Sequence[str] = (),
    method: str | Sequence[str] = "exact",
    *,
    progress: Progress = unheard,
    **options: Any,
) -> ReducedSystem:
    """Reduce a system, keeping what is observed.

    Parameters
    ----------
    system : OdeSystem
    observe : str or sequence of str
        Ids or expressions such as ``"A + 2*B"`` or ``"total = A + B"``.
    method : str or sequence of str
        One of :data:`sbmlump.methods.registry.METHODS`; several in turn as ``"a+b"`` or as a list.
    **options
        Further options, named as on the command line: ``keep_parameters="all"``, ``max_error=0.01``, ``until=100.0``,
        ``fast="B,C"``; see :data:`sbmlump.methods.registry.OPTIONS`.

    Raises
    ------
    UsageError
        Also with code ``unknown-option``, for a name that is no option of a reduction.
    UnsupportedModelError, LimitError
    """
    refuse_other_than_systems(system)
    chosen = reduce_options(method, **options)
    _refuse_nothing(system, observe, chosen)
    return reduce_by(system, observe, chosen, progress)


def _refuse_nothing(system: OdeSystem, observe: str | Sequence[str], options: ReduceOptions) -> None:
    """Where nothing is observed, and something has to be: say which observables give the smallest models."""
    if not OBSERVE.read("observe", observe) and not all(isinstance(one, Identity) for one in options.chain):
        raise nothing_observed(system)


def refuse_other_than_systems(given: object) -> None:
    """Say what to do with what is no system: the name of a file, the text of a model, a reduction.

    Raises
    ------
    UsageError
        Code ``not-a-system``.
    """
    if isinstance(given, OdeSystem):
        return
    if isinstance(given, ReducedSystem):
        advice = "this is a reduction; give its system (reduction.system)"
    elif isinstance(given, str | bytes) and is_text_of_model(given):
        advice = "this is the text of a model; write it to a file and read that: sbmlump.load(file)"
    elif isinstance(given, str | Path):
        advice = f"read the file first: sbmlump.reduce(sbmlump.load({str(given)!r}), observe=…)"
    else:
        advice = f"not a {type(given).__name__}; sbmlump.load(file) gives one, and so does OdeSystem.from_sympy"
    raise UsageError(Reason("not-a-system", f"an OdeSystem is wanted: {advice}"))


def run_reduction(
    path: str | Path,
    observe: Sequence[str],
    options: ReduceOptions,
    output: str | Path | None = None,
    *,
    force: bool = False,
    shown: bool = False,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
) -> Outcome:
    """Read, reduce, write, simulate, in this order: what is proved is there before foreign code runs on it.

    Parameters
    ----------
    path, observe, options
        The model, what to keep, how.
    output : str or Path, optional
        File to write.
    force : bool
        Whether a file that this program did not write may be replaced.
    shown : bool
        Whether trajectories are to be shown: then the model is simulated also where nothing was reduced.
    progress, clock : callable
        Told what is done; asked for the time.

    Raises
    ------
    SbmlumpError
        What stops the job, with its reasons; nothing is written then.
    """
    learned = _with_closure(options)
    target = None if output is None else _Target(output, check_suffix(output, REDUCTION_SUFFIXES))
    if target is not None:
        check_level(options.level, target.suffix)
    if output is not None:
        refuse_output(output, path, force=force)
    times = [clock()]
    progress("reading the model")
    original = _Original.of(read_model(path), path, options)
    system = original.system
    times.append(clock())
    _refuse_nothing(system, observe, options)
    reduction, shortfall = _best_reduction(system, observe, options, progress)
    if shortfall and not options.best:  # a file that is not what was asked for would be taken for it
        output = target = None
    times.append(clock())
    if (stopped := stop_request()) is not None:  # what was found has been measured; a simulation takes time, too
        original = replace(original, source=None, reasons=(*original.reasons, stopped))
    progress("writing")
    document = written_as_sbml(
        reduction, as_rate_rules=options.as_rate_rules, groups=options.groups, level=options.level
    )
    remarks = [*system.origin.remarks, *shortfall, *original.reasons]
    if target is not None:
        remarks += target.hold(reduction, document, original, options.until, options.points)
    times.append(clock())
    archived = target is not None and target.suffix == ".omex"
    plain = all(one.text == one.id for one in reduction.observables)
    if shown or archived or reduction.reducible or not plain:
        report, found = _simulated(original, document, reduction, options, target, progress)
        remarks += found
    else:
        report = None  # what is written unchanged, and read back equal, has no error to show
    if learned is not None:
        progress("training the neural closure")
        reduction, found = _with_neural(reduction, learned, output)
        remarks += found
    times.append(clock())
    remarks += _remarks_of(reduction, options, shortfall, progress)
    spent = [end - begin for begin, end in itertools.pairwise(times)]
    return Outcome(
        "target-not-reached" if shortfall else "reduced" if reduction.reducible else "not-reducible",
        ModelFacts(system.id, str(path), system.size, kinetics_of_system(system)),
        options.method,
        reduction,
        report,
        None if output is None else str(output),
        dict(zip(("read", "lump", "write", "simulate", "total"), (*spent, times[-1] - times[0]), strict=True)),
        tuple(dict.fromkeys(remarks)),
        document=document,
        exit_code=4 if shortfall else 1 if options.strict and not reduction.reducible else 0,
    )


def _best_reduction(
    system: OdeSystem, observe: Sequence[str], options: ReduceOptions, progress: Progress
) -> tuple[ReducedSystem, tuple[Reason, ...]]:
    """The reduction, and why it is not as small, or not as accurate, as was asked for."""
    try:
        return reduce_by(system, observe, options, progress), ()
    except UnreachableError as error:
        if error.reduction is None:
            raise
        return error.reduction, error.reasons


def _remarks_of(
    reduction: ReducedSystem, options: ReduceOptions, shortfall: Sequence[Reason], progress: Progress
) -> list[Reason]:
    """What a reduction says of itself, what it did without, and what would reduce the model further."""
    remarks = [*reduction.reasons, *(Reason("reduction-remark", text) for text in reduction.remarks)]
    if isinstance(reduction.certificate, ErrorEstimate):
        remarks += _without_cvode(reduction)
    if not reduction.reducible and options.method != "none":
        progress("looking for what would reduce it")
        remarks.append(_what_to_try(reduction, options))
    elif not shortfall and stop_request() is None:
        remarks += _what_is_left(reduction, options)
    return remarks


@dataclass(frozen=True, slots=True)
class _Original:
    """The original: its system, and what is needed besides.

    Attributes
    ----------
    system : OdeSystem
    source : SimulatedModel or None
        For simulators.
    sbml : bytes or None
        Its file, for an archive.
    reasons : tuple of Reason
        Why it cannot be simulated.
    """

    system: OdeSystem
    source: SimulatedModel | None = None
    sbml: bytes | None = None
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, result: ReadResult, path: str | Path, options: ReduceOptions) -> _Original:
        """Of what has been read, whose records, large for a large file, are not kept."""
        system, sbml = result.required(), result.data or None
        if not options.check:
            return cls(system, None, sbml)
        from sbmlump.simulators.protocol import simulated_result

        try:
            return cls(system, simulated_result(result, path), sbml)
        except SbmlumpError as error:
            return cls(system, None, sbml, error.reasons)


@dataclass(slots=True)
class _Target:
    """The file that is written, and what stood there before."""

    path: str | Path
    suffix: str
    _before: bytes | None = None
    _written: bool = False

    def hold(
        self, reduction: ReducedSystem, document: WrittenOutput, original: _Original, until: float | None, points: int
    ) -> tuple[Reason, ...]:
        """Write the reduction, whole or not at all; what has to be said of it."""
        content = written_reduction(
            reduction, self.suffix, document, original=original.sbml, until=until, points=points
        )
        if not self._written:
            place = Path(self.path)
            self._before = place.read_bytes() if place.is_file() else None
        write_atomically(self.path, with_mark(content.data, self.suffix))
        self._written = True
        return (*content.reasons, *(document.reasons if self.suffix in WITH_SBML else ()))

    def take_back(self) -> None:
        """Put back what stood there, or remove the file."""
        if not self._written:
            return
        if self._before is not None:
            write_atomically(self.path, self._before)
        else:
            Path(self.path).unlink(missing_ok=True)


def _simulated(
    original: _Original,
    document: WrittenOutput,
    reduction: ReducedSystem,
    options: ReduceOptions,
    target: _Target | None,
    progress: Progress,
) -> tuple[ErrorReport | None, list[Reason]]:
    """Compare with the original by simulation, and take back what is contradicted."""
    if original.source is None or not reduction.observables:
        return None, []
    progress("simulating both models")
    try:
        report, found = simulate_reduction(original.source, document, reduction, options, limits=SIMULATION)
    except ContradictedError:
        if target is not None:
            target.take_back()
        raise
    if target is not None and target.suffix == ".omex" and options.until is None and report is not None:
        # an archive holds an experiment: its end time is known now
        target.hold(reduction, document, original, report.until, options.points)
    return report, found


def _without_cvode(reduction: ReducedSystem) -> list[Reason]:
    """What a measured reduction of a large system did without."""
    from sbmlump.dynamics.multistep import cvode_installed
    from sbmlump.dynamics.solve import MAX_DENSE

    size = reduction.original.size
    if size <= MAX_DENSE or cvode_installed():
        return []
    message = (
        f"{size} states were integrated by a method whose cost grows with the third power of their number, as CVODE is "
        "not installed; pip install 'sbmlump[cvode]' makes it quicker"
    )
    return [Reason("cvode-missing", message)]


def _with_closure(options: ReduceOptions) -> Learned | None:
    """The method that is to train a neural closure too; refused before any work where PyTorch is not there."""
    found = next((one for one in options.chain if isinstance(one, Learned) and one.neural is not None), None)
    if found is not None:
        from sbmlump.methods.learned import require_torch

        require_torch()
    return found


def _with_neural(
    reduction: ReducedSystem, learned: Learned, output: str | Path | None
) -> tuple[ReducedSystem, list[Reason]]:
    """Train a neural closure of as many components as the learned system has, and save it beside that."""
    from sbmlump.methods.learned import learn_neural, neural_not_writable

    assert learned.neural is not None
    certificate = reduction.certificate
    assert isinstance(certificate, ErrorEstimate)  # the method is learned
    closure = learn_neural(
        reduction.original,
        reduction.observables,
        size=max(reduction.system.size, len(reduction.observables)),
        trial=replace(learned.trial, until=certificate.horizon),
    )
    closure.save(learned.neural)
    off = closure.trajectory_error
    details = {
        "file": learned.neural,
        "size": closure.size,
        "closure_error": closure.closure_error,
        "trajectory_error": off if math.isfinite(off) else None,
    }
    told = f"follows the observables to {off:.3g}" if math.isfinite(off) else "diverges"
    message = (
        f"a neural closure with {closure.size} components {told} (closure error {closure.closure_error:.3g}); its "
        f"weights are in {learned.neural}"
    )
    reasons = [Reason("neural-closure", message)]
    if output is not None:
        reasons.append(neural_not_writable(output))
    certificate = replace(certificate, details={**certificate.details, "neural": details})
    return replace(reduction, certificate=certificate), reasons


@dataclass(frozen=True, slots=True)
class AdviceSettings:
    """What is tried by itself where a method found nothing to reduce, or left conserved totals.

    Attributes
    ----------
    most_states : int
        Of a model that is tried: conserved totals of 500 states are found, and proved, in three seconds.
    most_states_left : int
        Of a reduced model that is tried: of 20 published models up to this size none took more than 0.22 s, one with
        164 states took four. It is asked about its conserved totals first, which takes a tenth of that.
    """

    most_states: int = 500
    most_states_left: int = 100


def _what_to_try(
    reduction: ReducedSystem, options: ReduceOptions, settings: AdviceSettings = AdviceSettings()
) -> Reason:
    """Why nothing was reduced, and what would: tried, not guessed, where that is cheap."""
    chain = options.chain
    if not reduction.original.size:
        return Reason("not-reducible", "the model has no states: nothing in it changes by itself")
    if len(chain) > 1:
        return Reason("not-reducible", Method.nothing_found)
    method, message = chain[0], chain[0].nothing_found
    small = reduction.original.size <= settings.most_states
    if message == Exact.nothing_found:
        smaller = _with_totals(reduction, options) if small else None
        message += " as they are" if smaller else ""
        message += f"; {smaller}" if smaller else "; observe fewer or other quantities"
        message += ", or accept a measured error (--method approximate)"
        if isinstance(method, ExactMethod) and method.keep_parameters != "none":
            message += ", or use the values of the parameters (--keep-parameters none)"
    elif message == ForwardEquivalence.nothing_found and small:
        requests = [_request(one) for one in reduction.observables]
        found = _tried(reduction.original, requests, options, "exact")
        if found is not None and found.reducible:
            message += f"; with other combinations of them {found.system.size} states do (--method exact)"
        else:
            message += ", and no other combinations of them (--method exact) do"
    return Reason("not-reducible", message)


def _what_is_left(
    reduction: ReducedSystem, options: ReduceOptions, settings: AdviceSettings = AdviceSettings()
) -> list[Reason]:
    """By how much conserved totals that are taken as constants would reduce what an exact reduction left."""
    size = reduction.system.size
    exact = len(options.chain) == 1 and options.chain[0].nothing_found == Exact.nothing_found
    if not exact or not 0 < size <= settings.most_states_left:
        return []
    from sbmlump.structure import linear_integrals

    if not linear_integrals(reduction.system):
        return []
    found = _tried(reduction.system, [one.id for one in reduction.observables], options, "conservation")
    if found is None or not found.reducible:
        return []
    message = (
        f"with the conserved totals as constants {found.system.size} of the {counted(size, 'state')} that are left "
        f"{'does' if found.system.size == 1 else 'do'}: --on-class"
    )
    return [Reason("conserved-totals", message)]


def _with_totals(reduction: ReducedSystem, options: ReduceOptions) -> str | None:
    """By how much conserved totals that are taken as constants would reduce a model of which every state is needed."""
    size = reduction.original.size
    requests = [_request(one) for one in reduction.observables]
    alone = _tried(reduction.original, requests, options, "conservation")
    if alone is None or not alone.reducible:
        return None
    both = _tried(reduction.original, requests, options, "conservation+exact")
    command, left = "--on-class", alone.system.size
    if both is not None and both.system.size < left:
        command, left = "--method conservation+exact", both.system.size
    return f"with the conserved totals as constants {left} of the {size} states do: {command}"


def _tried(system: OdeSystem, observables: Sequence[str], options: ReduceOptions, method: str) -> ReducedSystem | None:
    """A system reduced by another method; ``None`` where that cannot do it."""
    first = options.chain[0]
    keep = first.keep_parameters if isinstance(first, ExactMethod) else "none"
    other = reduce_options(method, keep_parameters=keep, seed=options.seed)
    try:
        return reduce_by(system, observables, other)
    except SbmlumpError:  # the answer that was asked for is there; this one would have been more
        return None


def _request(observable: Observable) -> str:
    """An observable as it is asked for."""
    if observable.text == observable.id or observable.id.startswith("observable_"):
        return observable.text
    return f"{observable.id} = {observable.text}"
