"""The jobs: load, reduce, verify, compare; each from files or systems to values."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.files import is_text_of_model, refuse_output, with_mark, write_atomically
from sbmlump.formats.load import load as load_file
from sbmlump.formats.load import read_model
from sbmlump.inspection import Element, Inspection, costs_of, elements_of, nothing_observed, publications_of
from sbmlump.isolate import Limits
from sbmlump.methods.approximate.options import (
    ALGORITHMS,
    CURVE_ALGORITHMS,
    ApproximateOptions,
    UnreachableError,
)
from sbmlump.methods.method import ExactMethod, MeasuredMethod, Method, Progress
from sbmlump.methods.registry import (
    DEFAULT_CHAINS,
    METHODS,
    OPTIONS,
    Approximate,
    Exact,
    ForwardEquivalence,
    Identity,
    Learned,
    ReduceOptions,
    method_alternatives,
    methods_with,
    options_of,
    read_options,
    reduce_by,
    reduce_options,
)
from sbmlump.model.equality import Expected, refuse_differences
from sbmlump.model.graph import Node
from sbmlump.model.properties import Kinetics, kinetics_of, require_writable_system
from sbmlump.model.reduced import (
    ErrorEstimate,
    ExactProof,
    Meaning,
    Observable,
    ReducedSystem,
    parse_observables,
)
from sbmlump.model.system import OdeSystem
from sbmlump.model.tables import frame_of, html_table
from sbmlump.model.units import time_unit_of
from sbmlump.options import LEVEL, OBSERVE, POINTS, SIMULATOR, UNTIL, fast_reactions_as
from sbmlump.outcome import ModelFacts, Outcome, WrittenOutput, reason_json
from sbmlump.proof.files import NoLumping, recorded_observables, verify
from sbmlump.stopping import stop_request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sbmlump.dynamics.time_span import TimeSpan
    from sbmlump.methods.approximate.run import CurveResult
    from sbmlump.methods.comparison import MethodRow
    from sbmlump.proof.claims import Refutation
    from sbmlump.sbml.read.load import ReadResult
    from sbmlump.sbml.write.document import WrittenSbml
    from sbmlump.simulators.comparison import Definition, ErrorReport
    from sbmlump.simulators.protocol import SimulatedModel, Simulator

__all__ = [
    "ALGORITHMS",
    "CURVE_ALGORITHMS",
    "METHODS",
    "OPTIONS",
    "Approximate",
    "ApproximateOptions",
    "ContradictedError",
    "Conversion",
    "Curve",
    "DEFAULT_CHAINS",
    "Element",
    "Inspection",
    "Learned",
    "MethodComparison",
    "ReduceOptions",
    "check",
    "compare",
    "compare_methods",
    "convert",
    "convert_file",
    "curve",
    "definitions_of",
    "inspect",
    "kinetics",
    "load",
    "page_files",
    "method_alternatives",
    "methods_with",
    "reduce",
    "reduce_options",
    "run_reduction",
    "simulate_reduction",
    "verdict",
    "verify",
    "write_reduced_model",
    "REDUCTION_SUFFIXES",
    "SBML_SUFFIXES",
    "SYSTEM_SUFFIXES",
    "WrittenOutput",
    "check_level",
    "check_suffix",
    "sbml_of",
    "written_as_sbml",
    "written_reduction",
    "written_system",
]


# -- What is written, by the suffix of the file ----------------------------------------------------

# What is written, by the suffix of the file: SBML, COMBINE archive, ODE file, Antimony, table, LaTeX.


_END_TIME: Final = 100.0  # of an archive, where nothing was simulated that would say more
SYSTEM_SUFFIXES: Final = (".xml", ".sbml", ".omex", ".ode", ".ant", ".tex")
"""What a model can be written as."""
REDUCTION_SUFFIXES: Final = (*SYSTEM_SUFFIXES, ".csv")
"""What a reduction can be written as; ``.csv`` is the lumping matrix."""
SBML_SUFFIXES: Final = (".xml", ".sbml", ".omex")
"""Outputs that hold SBML, for which the reasons of :func:`written_as_sbml` are to be told."""


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


def check_level(level: str, suffix: str) -> str:
    """The level and version, which only outputs have that hold SBML.

    Raises
    ------
    UsageError
        Code ``bad-option``.
    """
    level = LEVEL.read("level", level)
    if level != LEVEL.kind.choices[0] and suffix not in SBML_SUFFIXES:
        message = f"--level is of SBML, not of {suffix}; leave it out, or write {', '.join(SBML_SUFFIXES)}"
        raise UsageError(Reason("bad-option", message))
    return level


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
    return _WRITERS[suffix](reduction.written, sbml)


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
    if suffix in (".ode", ".tex"):
        return _WRITERS[suffix](system, WrittenOutput(b""))
    document = _at_level(system_document(system), level)
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


# -- The jobs: load, reduce, verify ----------------------------------------------------------------


def load(path: str | Path, *, fast_reactions: str | None = None) -> OdeSystem:
    """Read a model, by the suffix of its file.

    Parameters
    ----------
    path : str or Path
        As on the command line: a file, also compressed or in an archive, ``-``, an id of BioModels, an https address.
    fast_reactions : str, optional
        What becomes of reactions that are declared fast (SBML up to Level 3 Version 1): ``"refuse"``, ``"equilibrium"``
        or ``"ordinary"``.

    Raises
    ------
    InputError
        If the file is not a readable model.
    UnsupportedModelError
        If it holds what cannot become an ODE system; every reason at once.
    """
    with fast_reactions_as(fast_reactions):
        return load_file(path)


# -- what is in a file -------------------------------------------------------------------------------


def kinetics(system: OdeSystem) -> Kinetics:
    """Class of the right-hand side as a function of the states."""
    return kinetics_of(system.graph, system.rhs, frozenset(system.states))


def inspect(
    model: str | Path | OdeSystem,
    *,
    with_structure: bool = False,
    original: str | Path | None = None,
    with_costs: bool = True,
    every_cost: bool = False,
) -> Inspection:
    """What is in a model.

    Parameters
    ----------
    model : path or OdeSystem
    with_structure : bool
        Also find conservation laws, deficiency, balance and signs.
    original : str or Path, optional
        The file is a reduced model of this one: also say which properties it kept.
    with_costs : bool
        Also find the exact size that each observable needs, as far as that is quick.
    every_cost : bool
        Of all observables, however long it takes.

    Raises
    ------
    SbmlumpError
        If it is not a readable model, or not a reduced model of ``original``.
    """
    if isinstance(model, OdeSystem):
        from sbmlump.sbml.read.load import ReadResult

        path = model.origin.file or model.id
        result = ReadResult.of_system(model, path)
    else:
        result, path = read_model(model), str(model)
    system = result.system
    found = Inspection(
        result.id,
        result.name,
        path,
        result.level,
        result.version,
        result.counts["states"] if system is None else system.size,
        result.counts["parameters"] + result.counts["local_parameters"],
        result.counts["reactions"],
        result.counts["events"],
        None,
        (),
        result.reasons,
        result.remarks,
    )
    if system is None:
        return found
    observables, constants = elements_of(system, costs_of(system, every=every_cost) if with_costs else None)
    found = replace(
        found,
        kinetics=kinetics(system),
        observables=observables,
        constants=constants,
        time_unit=time_unit_of(system),
        publications=publications_of(system),
    )
    if original is not None:
        from sbmlump.proof.files import reduction_of_files
        from sbmlump.structure.summary import kept_properties

        found = replace(found, kept=kept_properties(reduction_of_files(original, path)))
    if with_structure:
        from sbmlump.structure import structure_of

        found = replace(found, structure=structure_of(system))
    return found


# -- one reduction -----------------------------------------------------------------------------------


Clock = Callable[[], float]


def _quiet(_: str) -> None:
    """Progress that nobody follows."""


def reduce(
    system: OdeSystem,
    observe: str | Sequence[str] = (),
    method: str | Sequence[str] = "exact",
    *,
    progress: Progress = _quiet,
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
    progress: Progress = _quiet,
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
    result = read_model(path)
    system = result.required()
    original = _Original.of(result, path, options)
    del result  # the records of a large file are large
    times.append(clock())
    _refuse_nothing(system, observe, options)
    shortfall: tuple[Reason, ...] = ()
    try:
        reduction = reduce_by(system, observe, options, progress)
    except UnreachableError as error:
        if error.reduction is None:
            raise
        reduction, shortfall = error.reduction, error.reasons
        if not options.best:  # a file that is not what was asked for would be taken for it
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
    remarks += [*reduction.reasons, *(Reason("reduction-remark", text) for text in reduction.remarks)]
    if isinstance(reduction.certificate, ErrorEstimate):
        remarks += _without_cvode(reduction)
    if not reduction.reducible and options.method != "none":
        progress("looking for what would reduce it")
        remarks.append(_what_to_try(reduction, options))
    spent = [end - begin for begin, end in itertools.pairwise(times)]
    return Outcome(
        "target-not-reached" if shortfall else "reduced" if reduction.reducible else "not-reducible",
        ModelFacts(system.id, str(path), system.size, kinetics(system)),
        options.method,
        reduction,
        report,
        None if output is None else str(output),
        dict(zip(("read", "lump", "write", "simulate", "total"), (*spent, times[-1] - times[0]), strict=True)),
        tuple(dict.fromkeys(remarks)),
        document=document,
        exit_code=4 if shortfall else 1 if options.strict and not reduction.reducible else 0,
    )


@dataclass(frozen=True, slots=True)
class _Original:
    """What is needed of the original beside its system.

    Attributes
    ----------
    source : SimulatedModel or None
        For simulators.
    sbml : bytes or None
        Its file, for an archive.
    reasons : tuple of Reason
        Why it cannot be simulated.
    """

    source: SimulatedModel | None = None
    sbml: bytes | None = None
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, result: ReadResult, path: str | Path, options: ReduceOptions) -> _Original:
        if not options.check:
            return cls(None, result.data or None)
        from sbmlump.simulators.protocol import simulated_result

        try:
            return cls(simulated_result(result, path), result.data or None)
        except SbmlumpError as error:
            return cls(None, result.data or None, error.reasons)


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
        return (*content.reasons, *(document.reasons if self.suffix in SBML_SUFFIXES else ()))

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


def write_reduced_model(
    reduction: ReducedSystem, path: str | Path, *, groups: bool = False, level: str = "3.2"
) -> None:
    """Write a reduction by the suffix of the file (SBML where it is none that is known), whole or not at all.

    ``groups`` and ``level`` as of :func:`written_as_sbml`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    UsageError, UnsupportedModelError
        As :func:`written_as_sbml`, :func:`check_level`.
    """
    suffix = Path(path).suffix.lower()
    known = suffix if suffix in REDUCTION_SUFFIXES else ".xml"
    sbml = written_as_sbml(reduction, groups=groups, level=check_level(level, known))
    content = written_reduction(reduction, known, sbml)
    write_atomically(path, with_mark(content.data, known))


@dataclass(frozen=True, slots=True)
class AdviceSettings:
    """What is tried by itself where a method found nothing to reduce.

    Attributes
    ----------
    most_states : int
        Of a model that is tried: conserved totals of 500 states are found, and proved, in three seconds.
    """

    most_states: int = 500


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


def _what_to_try(
    reduction: ReducedSystem, options: ReduceOptions, settings: AdviceSettings = AdviceSettings()
) -> Reason:
    """Why nothing was reduced, and what would: tried, not guessed, where that is cheap."""
    chain = options.chain
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
        found = _tried(reduction, options, "exact")
        if found is not None and found.reducible:
            message += f"; with other combinations of them {found.system.size} states do (--method exact)"
        else:
            message += ", and no other combinations of them (--method exact) do"
    return Reason("not-reducible", message)


def _with_totals(reduction: ReducedSystem, options: ReduceOptions) -> str | None:
    """By how much conserved totals that are taken as constants would reduce a model of which every state is needed."""
    size = reduction.original.size
    alone = _tried(reduction, options, "conservation")
    if alone is None or not alone.reducible:
        return None
    both = _tried(reduction, options, "conservation+exact")
    command, left = "--on-class", alone.system.size
    if both is not None and both.system.size < left:
        command, left = "--method conservation+exact", both.system.size
    return f"with the conserved totals as constants {left} of the {size} states do: {command}"


def _tried(reduction: ReducedSystem, options: ReduceOptions, method: str) -> ReducedSystem | None:
    """The same request by another method; ``None`` where that cannot do it."""
    first = options.chain[0]
    keep = first.keep_parameters if isinstance(first, ExactMethod) else "none"
    other = reduce_options(method, keep_parameters=keep, seed=options.seed)
    try:
        return reduce_by(reduction.original, [_request(one) for one in reduction.observables], other)
    except SbmlumpError:  # the answer that was asked for is there; this one would have been more
        return None


def _request(observable: Observable) -> str:
    """An observable as it is asked for."""
    if observable.text == observable.id or observable.id.startswith("observable_"):
        return observable.text
    return f"{observable.id} = {observable.text}"


SIMULATION: Final = Limits(seconds=120.0)
"""Of the simulations of one reduction, in a child process of their own: a published model takes seconds, one of 2,500
reactions (the largest that is compiled) a minute; one that hangs, or that CVODE follows with steps too small to get
anywhere, shall not take the proved reduction with it."""


class ContradictedError(SbmlumpError):
    """A reduction was proved and is contradicted by simulations: an internal error of sbmlump (exit code 70)."""


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
    from sbmlump.simulators.comparison import compare
    from sbmlump.simulators.protocol import simulated_result

    names = [o.id for o in reduction.observables if o.id in reduction.written.definitions]
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


# -- several reductions of one model -----------------------------------------------------------------


_FIGURES: Final = "sbmlump.report.model_page"  # by name: pages know jobs, by way of surveys
_OF_POINT: Final = ("size", "algorithm", "max_relative_error", "median_relative_error", "seconds")
_OF_METHOD: Final = ("method", "size", "worst_error", "exact", "seconds", "remark")


def _system_of(model: str | Path | OdeSystem) -> OdeSystem:
    return model if isinstance(model, OdeSystem) else load(model)


@dataclass(frozen=True, slots=True)
class Curve:
    """Size against error of one model.

    Attributes
    ----------
    title : str
        The model and what is observed.
    result : CurveResult
    exact_size : int or None
        Size of the smallest exact reduction, if it is known.
    reasons : tuple of Reason
        Why it is not; that the work was stopped.
    complete : bool
        Whether all sizes were looked at.
    """

    title: str
    result: CurveResult
    exact_size: int | None
    reasons: tuple[Reason, ...] = ()
    complete: bool = True

    def _rows(self) -> list[tuple[Any, ...]]:
        return [tuple(getattr(point, name) for name in _OF_POINT) for point in self.result.points]

    def _repr_html_(self) -> str:
        """A table of sizes and errors, for notebooks."""
        exact = "" if self.exact_size is None else f"; the smallest exact reduction has {self.exact_size} states"
        return html_table(f"{self.title}, until {self.result.until:g}{exact}", _OF_POINT, self._rows())

    def to_pandas(self) -> Any:
        """Sizes and errors as a data frame of pandas.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        return frame_of(_OF_POINT, self._rows())

    def plot(self) -> Figure:
        """Error against size, as a new matplotlib figure."""
        figure: Figure = import_module(_FIGURES).curve_figure(self.result.points, self.exact_size, self.title)
        return figure

    def as_json(self) -> dict[str, Any]:
        """The object that ``curve --json`` prints."""
        return {
            "exact_size": self.exact_size,
            "until": self.result.until,
            "points": [{name: getattr(point, name) for name in _OF_POINT} for point in self.result.points],
            "starts": self.result.details.get("runs"),
            "min_relative_errors": [point.min_relative_error for point in self.result.points],
            "reasons": [reason_json(reason) for reason in self.reasons],
        }


def curve(
    model: str | Path | OdeSystem,
    observe: str | Sequence[str],
    algorithms: str | Sequence[str] = (),
    *,
    progress: Progress = _quiet,
    **options: Any,
) -> Curve:
    """How the error of the best reduction of a model falls with its size.

    Parameters
    ----------
    model : path or OdeSystem
    observe : str or sequence of str
        What to keep.
    algorithms : str or sequence of str
        Of :data:`CURVE_ALGORITHMS`; ``balanced``, ``krylov`` and ``non-negative`` if there are none.
    **options
        Of the method ``approximate``; ``max_size`` is the largest size of the curve.

    Raises
    ------
    SbmlumpError
    """
    from sbmlump.methods.approximate.run import CURVES
    from sbmlump.methods.approximate.run import curve as curve_of

    chosen = Approximate(**options)
    observe = OBSERVE.read("observe", observe)
    algorithms = (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
    for name in algorithms:
        if name not in CURVE_ALGORITHMS:
            replace(chosen, algorithm=name)  # refuses what is none
    system = _system_of(model)
    if not observe:
        raise nothing_observed(system)
    observables = parse_observables(system, observe)
    names = [name for name in CURVE_ALGORITHMS if name in algorithms]
    result = curve_of(system, observables, chosen, names or CURVES, progress=progress)
    exact: int | None = None
    reasons: tuple[Reason, ...] = ()
    title = f"{system.id}: {', '.join(o.id for o in observables)}"
    if (stopped := stop_request()) is not None:
        return Curve(title, result, None, (stopped,), complete=False)
    try:
        exact = reduce_by(system, observe, reduce_options(seed=chosen.seed), progress).system.size
    except SbmlumpError as error:
        reasons = (Reason("exact-size-unknown", f"the exact size is not known: {error}"),)
    return Curve(title, result, exact, reasons)


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """What each method, or chain of methods, made of one model.

    Attributes
    ----------
    model : ModelFacts
    title : str
        The model's name.
    observables : tuple of Observable
    rows : tuple of MethodRow
    differences : mapping of (method, method) to float
        How far time-scale approximations are apart.
    reasons : tuple of Reason
        That the work was stopped.
    """

    model: ModelFacts
    title: str
    observables: tuple[Observable, ...]
    rows: tuple[MethodRow, ...]
    differences: Mapping[tuple[str, str], float]
    reasons: tuple[Reason, ...] = ()

    def _rows(self) -> list[tuple[Any, ...]]:
        return [
            (one.method, one.size, one.error, one.exact, one.seconds, one.reason.message if one.reason else None)
            for one in self.rows
        ]

    def _repr_html_(self) -> str:
        """A table of the methods, for notebooks."""
        return html_table(self.title, _OF_METHOD, self._rows())

    def to_pandas(self) -> Any:
        """The methods, their sizes and errors, as a data frame of pandas.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        return frame_of(_OF_METHOD, self._rows())

    def plot(self) -> Figure:
        """Error against size of each method, as a new matplotlib figure."""
        figure: Figure = import_module(_FIGURES).methods_figure(self.rows, self.model.states or 0, self.title)
        return figure

    def as_json(self) -> dict[str, Any]:
        """The object that ``compare-methods --json`` prints, but for the name of the picture."""
        model = self.model
        return {
            "model": {"id": model.id, "file": model.file, "states": model.states},
            "observables": [each.id for each in self.observables],
            "methods": [
                {**row.as_json(), "reason": reason_json(row.reason) if row.reason else None} for row in self.rows
            ],
            "differences": [
                {"methods": list(pair), "max_relative_difference": value if math.isfinite(value) else None}
                for pair, value in self.differences.items()
            ],
            "reasons": [reason_json(reason) for reason in self.reasons],
        }


def compare_methods(
    model: str | Path | OdeSystem,
    observe: str | Sequence[str],
    methods: str | Sequence[str] = (),
    *,
    progress: Progress = _quiet,
    **options: Any,
) -> MethodComparison:
    """Run methods side by side on one model.

    Parameters
    ----------
    model : path or OdeSystem
    observe : str or sequence of str
        What to keep.
    methods : str or sequence of str
        Alternatives: names, ``a+b`` for a chain, also several with commas between them; a choice of all if none.
    **options
        Any of :data:`OPTIONS`; each goes to the methods that take it.

    Raises
    ------
    SbmlumpError
    """
    from sbmlump.methods import comparison as side_by_side

    observe = OBSERVE.read("observe", observe)
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    chains = method_alternatives(methods) if methods else DEFAULT_CHAINS
    trial = options_of(MeasuredMethod, read_options(**options)).trial
    system = _system_of(model)
    if not observe:
        raise nothing_observed(system)
    observables = parse_observables(system, observe)
    rows = side_by_side.compare_methods(system, observables, chains, progress=progress, **options)
    stopped = stop_request()
    apart = side_by_side.differences(rows, trial) if stopped is None else {}
    return MethodComparison(
        ModelFacts(system.id, system.origin.file if isinstance(model, OdeSystem) else str(model), system.size),
        system.name or system.id,
        tuple(observables),
        rows,
        apart,
        () if stopped is None else (stopped,),
    )


# -- other jobs --------------------------------------------------------------------------------------


def verdict(result: ExactProof | Refutation | NoLumping) -> str:
    """How a verification ended: ``proved``, ``refuted`` or ``no-lumping``."""
    if isinstance(result, ExactProof):
        return "proved"
    return "no-lumping" if isinstance(result, NoLumping) else "refuted"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model that was read and written back, and what has to be said of the output."""

    system: OdeSystem
    reasons: tuple[Reason, ...]


def convert_file(source: str | Path, target: str | Path, *, force: bool = False, level: str = "3.2") -> Conversion:
    """Read a model and write it back, by suffix; SBML in a level and version.

    ``force``: a file that this program did not write may be replaced.

    Raises
    ------
    UsageError
        If the suffix of the target is not known (code ``unknown-suffix``), or it must not be written over
        (``output-is-input``, ``output-exists``), or the level is not one (``bad-option``).
    SbmlumpError
        If the model cannot be read, or the format cannot hold it.
    """
    suffix = check_suffix(target, SYSTEM_SUFFIXES)
    check_level(level, suffix)
    refuse_output(target, source, force=force)
    system = load(source)
    written = written_system(system, suffix, level)
    write_atomically(target, with_mark(written.data, suffix))
    return Conversion(system, (*system.origin.remarks, *written.reasons))


def convert(
    source: str | Path, target: str | Path, *, level: str = "3.2", fast_reactions: str | None = None
) -> OdeSystem:
    """The system that was read, after it has been written (over what stood there, but never over the input).

    See :func:`convert_file`, which says more, and :func:`load` for ``fast_reactions``.
    """
    with fast_reactions_as(fast_reactions):
        return convert_file(source, target, force=True, level=level).system


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
        As :func:`sbmlump.simulators.comparison.compare`.
    """
    # before anything is read
    UNTIL.read("until", until, optional=True)
    POINTS.read("points", points)
    if isinstance(simulator, str):
        SIMULATOR.read("simulator", simulator)
    from sbmlump.sbml.annotation import read_lumping_annotation
    from sbmlump.simulators.comparison import compare as compare_simulated
    from sbmlump.simulators.protocol import simulated_result

    with fast_reactions_as(fast_reactions):
        result, other = read_model(original), read_model(reduced)
    first, second = simulated_result(result, original), simulated_result(other, reduced)
    record = read_lumping_annotation(second.text.encode())
    observed = () if record is None else tuple(name for name, _ in record.observables)
    if definitions is None and record is not None:
        system = result.required()
        definitions = definitions_of(system, recorded_observables(system, record))
    return compare_simulated(
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
