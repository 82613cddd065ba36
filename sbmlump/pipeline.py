"""The jobs: load, reduce, verify, compare; each from files or systems to values."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbmlump.errors import LimitError, Reason, UnsupportedModelError, UsageError
from sbmlump.expr.graph import Node
from sbmlump.expr.kinetics import Kinetics, kinetics_of
from sbmlump.files import write_atomically
from sbmlump.lumping.certify import Claim, Refutation, certify
from sbmlump.lumping.certify_embedding import EmbeddingClaim, EmbeddingRefutation, certify_embedding
from sbmlump.lumping.totals import with_totals
from sbmlump.methods import ReduceOptions, apply
from sbmlump.observables import observable_ids, parse_observables
from sbmlump.outcome import ModelFacts, Outcome
from sbmlump.outputs import (
    REDUCTION_SUFFIXES,
    SYSTEM_SUFFIXES,
    bytes_of_reduction,
    bytes_of_system,
    check_suffix,
    sbml_of,
)
from sbmlump.reduced import (
    AffineLumping,
    Elimination,
    Embedding,
    ErrorEstimate,
    ExactProof,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Map,
    Observable,
    ReducedSystem,
)
from sbmlump.system import OdeSystem

if TYPE_CHECKING:
    from sbmlump.sbml.annotation import LumpingRecord
    from sbmlump.simulate.compare import Definition, ErrorReport

__all__ = [
    "Inspection",
    "NoLumping",
    "Observed",
    "check",
    "convert",
    "inspect_model",
    "kinetics",
    "load",
    "reduce",
    "reduction_of_files",
    "run_reduction",
    "sbml_of",
    "verify",
    "write_reduced_model",
]

Progress = Callable[[str], None]
Clock = Callable[[], float]
_QUIET: Progress = lambda _: None  # noqa: E731


def load(path: str | Path) -> OdeSystem:
    """Read a model, by the suffix of its file.

    Raises
    ------
    InputError
        If the file is not a readable model.
    UnsupportedModelError
        If it holds what cannot become an ODE system; every reason at once.
    """
    if Path(path).suffix.lower() == ".ode":
        from sbmlump.formats.erode import load_ode

        return load_ode(path)
    from sbmlump.sbml.reader import load_sbml

    return load_sbml(path)


def kinetics(system: OdeSystem) -> Kinetics:
    """Class of the right-hand side as a function of the states."""
    return kinetics_of(system.graph, system.rhs, frozenset(system.states))


def reduce(
    system: OdeSystem,
    observe: Sequence[str] = (),
    method: str = "exact",
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
    observe : sequence of str
        Ids or expressions such as ``"A + 2*B"`` or ``"total = A + B"``.
    method : str
        One of :data:`sbmlump.methods.METHODS`.
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
    keep = keep_parameters if isinstance(keep_parameters, str) else tuple(keep_parameters)
    return apply(system, observe, replace(ReduceOptions(method, keep, seed=seed), **options), progress)


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
    data = sbml_of(reduction, as_rate_rules=options.as_rate_rules)
    written = clock()
    # simulated before it is written: the output may take the place of the original
    report: ErrorReport | None = None
    remarks = list(shortfall)
    if options.check and reduction.observables:
        progress("simulating both models")
        report, found = _simulate(Path(path), data, reduction, options)
        remarks += found
    if output is not None and suffix is not None:
        until = options.until if report is None else report.until
        first = Path(path).read_bytes() if system.origin.format == "sbml" else None
        content = bytes_of_reduction(reduction, suffix, data, original=first, until=until, points=options.points)
        write_atomically(output, content)
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
    write_atomically(path, bytes_of_reduction(reduction, known, sbml_of(reduction)))


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
    translated.write_bytes(bytes_of_system(system, ".xml"))
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


def convert(source: str | Path, target: str | Path) -> OdeSystem:
    """Read a model and write it back, by suffix.

    Raises
    ------
    UsageError
        If the suffix of the target is not known (code ``unknown-suffix``).
    """
    suffix = check_suffix(target, SYSTEM_SUFFIXES)
    system = load(source)
    write_atomically(target, bytes_of_system(system, suffix))
    return system


@dataclass(frozen=True, slots=True)
class NoLumping:
    """There is nothing to verify."""

    reasons: tuple[Reason, ...]


def verify(original: str | Path, reduced: str | Path, *, seed: int = 0) -> ExactProof | Refutation | NoLumping:
    """Prove or refute, without simulation, that one file is an exact lumping of the other.

    The lumping is taken from the reduced file's annotation, else it is the identity on the states that have the
    same id in both. An annotation that the original carries too is of an earlier reduction and says nothing here.
    """
    from sbmlump.sbml.annotation import read_lumping_annotation

    before, after = load(original), load(reduced)
    record = read_lumping_annotation(Path(reduced).read_bytes())
    if record is not None and before.origin.format == "sbml":
        if record == read_lumping_annotation(Path(original).read_bytes()):
            record = None  # both carry it: it tells how the original was made, not what was made of it
    if record is not None and record.certificate.get("kind") == "error-estimate":
        message = f"{reduced} says of itself that it is an approximation; measure it with 'sbmlump check'"
        return NoLumping((Reason("approximate", message),))
    if record is not None:
        claim = _claim_of_record(before, after, record)
        if isinstance(claim, Refutation):
            return claim
        if record.kind == "embedding":
            return _certify_embedding(claim, seed)
        whole = with_totals(claim, record.starts)
        return whole if isinstance(whole, Refutation) else certify(whole, seed)
    foreign = [name for name in after.states if name not in before.state_index]
    if foreign or not after.states:
        listed = ", ".join(foreign[:5]) or "none at all"
        message = f"{reduced} carries no lumping, and its states are not those of the original ({listed})"
        return NoLumping((Reason("no-lumping", message),))
    rows = {name: {name: Fraction(1)} for name in after.states}
    shared = {a.id for a in after.assigned} & set(before.definitions)
    observables = {name: before.definitions[name] for name in sorted(shared)}
    return certify(Claim(before, after, rows, observables, lift=rows), seed)


def _claim_of_record(before: OdeSystem, after: OdeSystem, record: LumpingRecord) -> Claim | Refutation:
    try:
        named = {o.id: o.expression for o in _recorded_observables(before, record)}
    except UsageError as error:
        return Refutation(error.reasons)
    symbolic = frozenset(record.symbolic)
    constants = before.constant_values
    reasons = [
        Reason("unknown-parameter", f"{name} is not a constant of the original", name)
        for name in sorted(symbolic - {c.id for c in before.constants})
    ]
    if record.original_size != before.size:
        message = f"the lumping is said to be one of {record.original_size} states, but the original has {before.size}"
        reasons.append(Reason("lumping-mismatch", message))
    for name, text in record.valid_for.items():
        node = constants.get(name)
        value = None if node is None else before.graph.number_of(node)
        if value is not None and text != str(value):
            message = f"the lumping is said to be valid for {name} = {text}, but the original has {value}"
            reasons.append(Reason("valid-for-differs", message, name))
    if reasons:
        return Refutation(tuple(reasons))
    rows = {lump.id: lump.members for lump in record.lumps}
    lift = {lump.id: row for lump, row in zip(record.lumps, record.lift, strict=True)}
    return Claim(before, after, rows, named, symbolic, lift, record.offset)


def reduction_of_files(original: str | Path, reduced: str | Path, *, seed: int = 0) -> ReducedSystem:
    """The reduction that leads from one file to the other, as the reduced file's annotation describes it.

    Without an annotation it is the identity on the states that have the same id in both. The certificate is a proof
    where :func:`verify` proves the reduction, and otherwise an estimate with an error that is not known (infinite).

    Raises
    ------
    UsageError
        ``no-lumping`` if the annotation, or the ids, do not lead from the one to the other.
    """
    from sbmlump.sbml.annotation import read_lumping_annotation

    before, after = load(original), load(reduced)
    record = read_lumping_annotation(Path(reduced).read_bytes())
    lumps = (
        {one.id: one.members for one in record.lumps}
        if record is not None
        else {n: {n: Fraction(1)} for n in after.states}
    )
    index = before.state_index
    foreign = [n for n in after.states if n not in lumps or not set(lumps[n]) <= set(index)]
    if foreign:
        message = (
            f"{reduced} is no reduction of {original}: {', '.join(foreign[:5])} are made of states it does not have"
        )
        raise UsageError(Reason("no-lumping", message))
    rows = tuple({index[m]: v for m, v in lumps[n].items()} for n in after.states)
    matrix = LumpingMatrix(before.states, rows)
    lifted = {} if record is None else {one.id: row for one, row in zip(record.lumps, record.lift, strict=True)}
    lift = LumpingMatrix(
        before.states,
        tuple({index[m]: v for m, v in lifted.get(n, lumps[n]).items() if m in index} for n in after.states),
    )
    starts = {} if record is None else record.starts
    kind = "elimination" if record is None else record.kind
    made: Map
    if kind == "embedding":
        made = Embedding(matrix, lift)
    elif kind == "affine":
        totals = tuple((name, {index[m]: v for m, v in row.items() if m in index}) for name, row in starts.items())
        made = AffineLumping(matrix, lift, totals=totals)
    elif kind == "elimination":
        gone = tuple(n for n in before.states if n in after.definitions and n not in after.states)
        made = Elimination(matrix, lift, assigned=gone, starts=starts)
    else:
        made = LinearLumping(matrix, lift)
    proof = verify(original, reduced, seed=seed)
    unknown = float("inf")
    certificate = proof if isinstance(proof, ExactProof) else ErrorEstimate("unknown", 0.0, 0, 0.0, unknown, unknown)
    return ReducedSystem(
        before,
        after,
        (),
        tuple(Lump(n, lumps[n]) for n in after.states),
        made,
        certificate,
        "unknown" if record is None else record.method,
    )


def _certify_embedding(claim: Claim, seed: int) -> ExactProof | Refutation:
    """The lift of an embedding names the members of each block."""
    blocks = {name: tuple(row) for name, row in claim.lift.items()}
    result = certify_embedding(
        EmbeddingClaim(claim.original, claim.reduced, blocks, claim.observables, claim.symbolic), seed
    )
    return Refutation(result.reasons) if isinstance(result, EmbeddingRefutation) else result


def _recorded_observables(before: OdeSystem, record: LumpingRecord) -> list[Observable]:
    """Observables as the annotation names them; each text is an expression of the original.

    Raises
    ------
    UsageError
        If a text is no expression of the original.
    """
    return [replace(parse_observables(before, [text])[0], id=name) for name, text in record.observables]


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
        definitions = definitions_of(system, _recorded_observables(system, record))
    with tempfile.TemporaryDirectory(prefix="sbmlump-") as folder:
        path, remarks = (Path(original), ()) if system is None else _readable(Path(original), system, Path(folder))
        report = compare(path, reduced, until=until, points=points, definitions=definitions, simulator=simulator)
    return replace(report, remarks=(*remarks, *report.remarks))


@dataclass(frozen=True, slots=True)
class Observed:
    """Something that can be observed."""

    id: str
    name: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a file: counts, kinetics, what can be observed, and what stops a reduction."""

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
    if Path(path).suffix.lower() == ".ode":
        system = load(path)
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
        )
    from sbmlump.sbml.reader import read

    result = read(path)
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
    )


def _observed(system: OdeSystem) -> tuple[Observed, ...]:
    names = {r.id: r.name for r in system.reactions}
    names.update((q.id, q.name) for q in system.quantities.values())
    kinds = {r.id: "reaction (flux)" for r in system.reactions}
    kinds.update((q.id, q.kind) for q in system.quantities.values())
    return tuple(Observed(o, names.get(o), kinds.get(o, "quantity")) for o in observable_ids(system))
