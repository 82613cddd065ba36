"""What is done with one model, inside a process of its own: read it, then go through observables and methods.

Everything is emitted as it comes: ``ModelRow`` (what is to be done), ``Begun`` (what is tried now), rows. Whoever
listens can tell, when the process dies, what it was doing and what is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sbmlump._version import __version__
from sbmlump.errors import InputError, LimitError, Reason, SbmlumpError, UsageError, as_text, shortened
from sbmlump.files import (
    MAX_BYTES,
    NO_LOCKS,
    OutputError,
    lock,
    make_folder,
    read_whole,
    unpacked,
    write_atomically,
)
from sbmlump.isolate import Emit, Ended, Limits, run_isolated
from sbmlump.jobs import ContradictedError, simulate_reduction, written_as_sbml
from sbmlump.methods.exact.per_species import StateFailure, StateSize, per_species_sizes
from sbmlump.methods.registry import Approximate, Exact, ReduceOptions, reduce_by, reduce_options
from sbmlump.model.properties import kinetics_of_system
from sbmlump.model.reduced import ErrorEstimate, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import combination, short_number
from sbmlump.options import FAST_REACTIONS, declared, fast_reactions_as
from sbmlump.outcome import outcome_of_error
from sbmlump.simulators.protocol import SimulatedModel, simulated_result
from sbmlump.survey.versions import library_versions

if TYPE_CHECKING:
    from sbmlump.methods.approximate.each import StateSizesAtErrors
    from sbmlump.sbml.read.load import ReadResult
    from sbmlump.simulators.comparison import ErrorReport

__all__ = [
    "ERROR_PERCENTS",
    "PRELOAD",
    "PROVISIONAL",
    "SIZES_AT_ERRORS",
    "Begun",
    "ModelRow",
    "Pair",
    "file_size",
    "listed_bytes",
    "survey_model",
    "checked",
    "SurveyIdentity",
    "claim_folder",
    "read_identity",
    "store_digest",
    "Stopped",
    "run_task",
    "choose_models",
    "parse_observe",
    "parse_shard",
    "plan_tasks",
    "Row",
    "Settings",
    "SurveyModel",
    "Task",
    "folder_lock",
]


# -- what a survey does with one model -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SurveyModel:
    """A file of the store.

    Attributes
    ----------
    id : str
        As the store names it.
    file : str
        Path relative to the store, with ``/``.
    path : Path
        Where it is.
    sha256 : str or None
        Of its bytes; ``None`` if it cannot be read.
    content : Path or None
        Where the store keeps these bytes under their digest, whatever it puts at ``path`` later.
    """

    id: str
    file: str
    path: Path
    sha256: str | None
    content: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all models of a survey.

    Attributes
    ----------
    methods : tuple of str
        Alternatives, each a name or a chain ``a+b``.
    check : bool
        Prove each reduction, simulate it, and compare.
    time_limit : float
        Seconds of wall time for a model.
    memory_limit : int
        Bytes of resident memory for a model.
    seed : int
    options : tuple of (str, value)
        Of the methods (:data:`sbmlump.methods.registry.OPTIONS`); each goes to the methods that take it.
    fast_reactions : str
        How reactions that are declared fast are read (:data:`sbmlump.options.FAST_REACTIONS`).
    """

    methods: tuple[str, ...] = ("exact",)
    check: bool = False
    time_limit: float = 120.0
    memory_limit: int = 2048 << 20
    seed: int = 0
    options: tuple[tuple[str, Any], ...] = ()
    fast_reactions: str = str(FAST_REACTIONS.default)

    @property
    def named(self) -> dict[str, str]:
        """Every option that is not at its default, as text."""
        found = {name: str(value) for name, value in self.options}
        if self.fast_reactions != FAST_REACTIONS.default:
            found[FAST_REACTIONS.name] = self.fast_reactions
        return found


@dataclass(frozen=True, slots=True)
class Task:
    """One model and what is to be observed in it: ``None`` for each of its states."""

    model: SurveyModel
    observe: tuple[str, ...] | None
    settings: Settings


ERROR_PERCENTS: Final = (1, 5, 10)
"""Largest relative errors, in percent, for which a row tells the size that is enough."""
SIZES_AT_ERRORS: Final = tuple(f"size_at_{percent}_percent" for percent in ERROR_PERCENTS)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results; the columns are described in ``docs/survey.md``."""

    file: str
    model_id: str
    sha256: str | None
    observable: str | None
    method: str
    outcome: str
    reason: str | None = None
    message: str | None = None
    element: str | None = None
    original_size: int | None = None
    reduced_size: int | None = None
    ratio: float | None = None
    proper: bool | None = None
    non_negative: bool | None = None
    exact: bool | None = None
    certified: bool = False
    size_at_1_percent: int | None = None
    size_at_5_percent: int | None = None
    size_at_10_percent: int | None = None
    worst_error: float | None = None
    singles: int | None = None
    pools: str | None = None
    kept: str | None = None
    name: str | None = None
    kinetics: str | None = None
    features: str | None = None
    level: int | None = None
    version: int | None = None
    reactions: int | None = None
    parameters: int | None = None
    events: int | None = None
    max_relative_error: float | None = None
    final_relative_error: float | None = None
    max_absolute_error: float | None = None
    until: float | None = None
    end_time: float | None = None
    cpu_seconds: float | None = None
    seconds_read: float | None = None
    seconds_lump: float | None = None
    seconds_simulate: float | None = None
    seconds_model: float | None = None
    peak_memory_mb: float | None = None
    reasons: tuple[str, ...] = ()
    trajectory_time: tuple[float, ...] | None = None
    trajectory_original: tuple[float, ...] | None = None
    trajectory_reduced: tuple[float, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Columns by name; a message may quote a file name that is not UTF-8, which no column of text holds."""
        columns = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: as_text(value) if isinstance(value, str) else value for name, value in columns.items()}


def file_size(model: SurveyModel) -> int:
    """Bytes of the file of a model; 0 where nobody knows, and the job will say what is wrong with the file."""
    try:
        return model.path.stat().st_size
    except OSError:
        return 0


# -- which models a run surveys, and what it observes in each -----------------------------------------


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` with 1 ≤ I ≤ N.

    Raises
    ------
    UsageError
        Code ``bad-shard``.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        message = f"the shard {text!r} is not I/N with I from 1 to N, such as 2/8"
        raise UsageError(Reason("bad-shard", message))
    return int(match[1]), int(match[2])


def parse_observe(text: str) -> dict[str, tuple[str, ...]]:
    """What to observe in which model: a model's id and an expression a line; ``*`` stands for every model.

    Raises
    ------
    UsageError
        If a line holds only one of the two (``bad-observe-file``).
    """
    wanted: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = re.split(r"\s*[\t,]\s*|\s+", line, maxsplit=1)
        if len(parts) < 2 or not parts[1]:
            message = f"line {number} of the file of observables holds no expression; write 'MODEL EXPR'"
            raise UsageError(Reason("bad-observe-file", message, line=number))
        wanted.setdefault(parts[0], []).append(parts[1])
    if not wanted:
        raise UsageError(Reason("bad-observe-file", "the file of observables names nothing; write 'MODEL EXPR' lines"))
    return {name: tuple(dict.fromkeys(texts)) for name, texts in wanted.items()}


def choose_models(
    models: Sequence[SurveyModel],
    observe: Mapping[str, Sequence[str]] | None,
    sample: int | None,
    seed: int,
) -> list[SurveyModel]:
    """Models of the survey in order of their files: those that ``observe`` names, and a random sample of them.

    Raises
    ------
    UsageError
        If ``observe`` names a model that is not there (``unknown-model``), or no model is left (``no-models``).
    """
    chosen = sorted(models, key=lambda model: model.file)
    if observe is not None:
        known = {model.id for model in models}
        unknown = sorted(set(observe) - known - {"*"})
        if unknown:
            reasons = [Reason("unknown-model", f"the store holds no model {name}", name) for name in unknown]
            raise UsageError(reasons)
        if "*" not in observe:
            chosen = [model for model in chosen if model.id in observe]
    if sample is not None and sample < len(chosen):
        places = sorted(random.Random(seed).sample(range(len(chosen)), sample))
        chosen = [chosen[k] for k in places]
    if not chosen:
        raise UsageError(Reason("no-models", "there are no SBML files to survey; name a store or a folder with some"))
    return chosen


def plan_tasks(
    models: Sequence[SurveyModel],
    observe: Mapping[str, Sequence[str]] | None,
    settings: Settings,
    shard: tuple[int, int],
    finished: Collection[str],
) -> tuple[list[SurveyModel], list[Task]]:
    """Models of this shard, and the tasks that are still to be done in it.

    A model's shard follows from the digest of its name, so that every machine comes to the same result alone.
    """
    index, count = shard
    mine = [model for model in models if _number(model.file) % count == index - 1]
    tasks = [Task(model, _observables(model, observe), settings) for model in mine if model.file not in finished]
    return mine, tasks


def _number(file: str) -> int:
    return int.from_bytes(hashlib.sha256(file.encode()).digest()[:8], "big")


def _observables(model: SurveyModel, observe: Mapping[str, Sequence[str]] | None) -> tuple[str, ...] | None:
    if observe is None:
        return None
    return tuple(dict.fromkeys([*observe.get("*", ()), *observe.get(model.id, ())]))


# -- What is done with one model, inside a process of its own --------------------------------------


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What a row costs and holds.

    Attributes
    ----------
    most_reactions : int
        Of a model that is simulated: libRoadRunner compiles a few seconds for these, once for every observable.
    begin_until : float
        Part of the time limit after which nothing new is begun, so that all rows are written in order.
    longest_text : int
        Characters of a text column.
    most_pools : int
        Of a reduction that are written out.
    most_points : int
        Of a trajectory.
    """

    most_reactions: int = 1_000
    begin_until: float = 0.9
    longest_text: int = 2_000
    most_pools: int = 200
    most_points: int = 51


_ROWS: Final = RowSettings()


def checked(
    source: SimulatedModel, reduction: ReducedSystem, options: ReduceOptions, most_reactions: int = _ROWS.most_reactions
) -> tuple[ErrorReport | None, list[Reason]]:
    """The errors of a reduction, or why there are none.

    Parameters
    ----------
    source : SimulatedModel
        The original.
    reduction : ReducedSystem
    options : ReduceOptions

    Raises
    ------
    ContradictedError
        If the reduction is proved and simulations contradict it.
    """
    count = len(reduction.original.reactions)
    if count > most_reactions:
        message = f"not simulated: libRoadRunner would compile the {count} reactions for each observable"
        return None, [Reason("too-large-to-simulate", message)]
    try:
        # in this process: it is one that may die already
        return simulate_reduction(source, written_as_sbml(reduction, meanings={}), reduction, options, limits=None)
    except ContradictedError:
        raise
    except SbmlumpError as error:
        # the reduction stands by its certificate; that a simulator fails on the model is data
        return None, list(error.reasons)


# -- one model ---------------------------------------------------------------------------------------


_CHANGED: Final = "file-changed"
PROVISIONAL: Final = frozenset({_CHANGED, "worker-unfit"})
"""Reasons that say nothing of a model, but that its bytes were not those listed: the next run looks again."""
PRELOAD: Final = ("sbmlump.survey.job", "sbmlump.sbml.read.load", "sbmlump.sbml.write.document", "sbmlump.simulators")
Pair = tuple[str | None, str]
Source = SimulatedModel | tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What is known of the model, as a row to be completed, and the pairs of observable and method to come."""

    base: Row
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """What is tried now."""

    pair: Pair


def survey_model(task: Task, skip: AbstractSet[Pair], emit: Emit) -> None:
    """Survey one model; everything it finds is emitted.

    Parameters
    ----------
    task : Task
    skip : set of pairs
        What is known already, from a process that died.
    emit : function
        Takes ``ModelRow``, ``Begun`` and ``Row``.
    """
    with fast_reactions_as(task.settings.fast_reactions):
        _survey_model(task, skip, emit)


def _survey_model(task: Task, skip: AbstractSet[Pair], emit: Emit) -> None:
    begin = time.perf_counter()
    base = empty_row(task)
    result, base, reasons = _read(task, base)
    system = None if result is None else result.system
    base = replace(base, seconds_read=time.perf_counter() - begin)
    methods = task.settings.methods
    if result is None or system is None or (not system.size and task.observe is None):
        if system is not None:
            reasons = (Reason("no-states", "nothing in the model changes by itself: it has no states"),)
        name = "not-reducible" if system is not None else "failed" if base.level is None else "unsupported"
        emit(ModelRow(base, ((None, base.method),)))
        emit(with_reasons(replace(base, outcome=name), reasons))
        return
    observables = system.states if task.observe is None else task.observe
    pairs = tuple((name, method) for method in methods for name in observables)
    emit(ModelRow(base, pairs))
    deadline = begin + _ROWS.begin_until * task.settings.time_limit
    source = _source(result, task) if task.settings.check else ()
    for method in methods:
        wanted = [name for name in observables if (name, method) not in skip]
        for row in _rows(system, task, replace(base, method=method), wanted, emit, deadline, source):
            emit(row)


def empty_row(task: Task) -> Row:
    """A row that says which file it is about."""
    model = task.model
    return Row(model.file, model.id, model.sha256, None, ",".join(task.settings.methods), "failed")


def with_reasons(row: Row, reasons: Sequence[Reason]) -> Row:
    """The row with its reasons: the first in full, the codes of all."""
    if not reasons:
        return row
    first = reasons[0]
    codes = tuple(dict.fromkeys(reason.code for reason in reasons))
    return replace(row, reason=first.code, message=first.message[:1000], element=first.element, reasons=codes)


def _read(task: Task, base: Row) -> tuple[ReadResult | None, Row, tuple[Reason, ...]]:
    """Read the file; what is known of a refused one is in the row too."""
    from sbmlump.sbml.read.load import read_sbml

    try:
        result = read_sbml(unpacked(listed_bytes(task.model), task.model.path))
    except SbmlumpError as error:
        return None, base, error.reasons
    counts = result.counts
    base = replace(
        base,
        name=result.name,
        level=result.level,
        version=result.version,
        reactions=counts.get("reactions"),
        parameters=counts.get("parameters"),
        events=counts.get("events"),
        original_size=counts.get("states"),
        features=",".join(_features(counts)),
    )
    system = result.system
    if system is not None:
        kinetics = kinetics_of_system(system)
        features = _features(counts) + ([] if system.autonomous else ["time-dependent"])
        base = replace(base, kinetics=kinetics, original_size=system.size, features=",".join(features))
    return result, base, result.reasons


def listed_bytes(model: SurveyModel) -> bytes:
    """The bytes of a model, which are those that were listed: no row has one file's digest and another's numbers.

    Raises
    ------
    InputError
        Code ``file-changed`` where other bytes are found, or none any more; ``too-large``; for a file that could not be
        read when the models were listed, why it still cannot.
    """
    kept = [model.path] if model.content is None else [model.path, model.content]
    for path in kept:
        try:
            data = read_whole(path, MAX_BYTES, "SBML")
        except InputError as error:
            if model.sha256 is None or error.reasons[0].code == "too-large":
                raise
            found = error.reasons[0].message
        else:
            digest = hashlib.sha256(data).hexdigest()
            if digest == model.sha256:
                return data
            found = f"what is there now has the SHA-256 {digest}"
    listed = "it could not be read" if model.sha256 is None else f"it had the SHA-256 {model.sha256}"
    message = f"{model.file} changed since the survey listed it ({listed}; {found}); survey while nobody writes there"
    raise InputError(Reason(_CHANGED, message))


def _features(counts: Mapping[str, int]) -> list[str]:
    """Which constructs a file holds."""
    names = (
        "assignment_rules algebraic_rules rate_rules events functions initial_assignments constraints local_parameters"
    )
    return [name.replace("_", "-") for name in names.split() if counts.get(name)]


def _source(result: ReadResult, task: Task) -> Source:
    """The original for simulators, for all observables, or why there is none."""
    try:
        return simulated_result(result, task.model.path)
    except SbmlumpError as error:
        return error.reasons


def _rows(
    system: OdeSystem, task: Task, base: Row, wanted: Sequence[str], emit: Emit, deadline: float, source: Source
) -> Iterator[Row]:
    """Rows of one method, in the order of ``wanted``."""
    if not task.settings.check and all(name in system.state_index for name in wanted):
        given = {name for name, _ in task.settings.options}
        if base.method == "exact" and given.isdisjoint(declared(Exact)):
            yield from _per_species_rows(system, task, base, wanted)
            return
        if base.method == "approximate" and given <= _OF_EACH:
            yield from _approximate_rows(system, task, base, wanted, emit, deadline)
            return
    for name in wanted:
        if time.perf_counter() > deadline:
            yield _late(base, name)
            continue
        emit(Begun((name, base.method)))
        start = time.process_time()
        row = _row_of(system, task, replace(base, observable=name), emit, source)
        yield replace(row, cpu_seconds=time.process_time() - start)


def _late(base: Row, name: str) -> Row:
    message = "the time for this model was used up before this observable; a larger time limit may help"
    return with_reasons(replace(base, observable=name, outcome="out-of-budget"), [Reason("time-limit", message)])


_OF_EACH: Final = frozenset({"until", "ensemble", "spread", "work", "max_error"})
"""Options of approximate reductions with which the sizes of all states come from one set of trajectories."""


def _approximate_rows(
    system: OdeSystem, task: Task, base: Row, states: Sequence[str], emit: Emit, deadline: float
) -> Iterator[Row]:
    """Approximate sizes of all states from one set of trajectories."""
    from sbmlump.methods.approximate.each import reduce_approximately_each

    options = Approximate(seed=task.settings.seed, **dict(task.settings.options))
    wanted = options.max_error if options.max_error is not None else ERROR_PERCENTS[0] / 100
    errors = {wanted, *(percent / 100 for percent in ERROR_PERCENTS)}
    found = reduce_approximately_each(system, states, options, tuple(errors))
    for name in states:
        if time.perf_counter() > deadline:
            yield _late(base, name)
            continue
        emit(Begun((name, base.method)))
        start = time.perf_counter()
        one = next(found)
        row = replace(base, observable=name, cpu_seconds=one.seconds, end_time=one.until)
        seconds = time.perf_counter() - start
        yield (
            _refused(row, one.failure, seconds)
            if one.failure is not None
            else replace(_with_found(system, row, one, wanted), seconds_lump=seconds)
        )


def _with_found(system: OdeSystem, row: Row, one: StateSizesAtErrors, wanted: float) -> Row:
    """The row with sizes at 1, 5 and 10 %; its own size is that at the wanted error."""
    first = one.at(wanted)
    assert first is not None
    sizes = [None if (found := one.at(percent / 100)) is None else found.size for percent in ERROR_PERCENTS]
    row = replace(
        row,
        outcome="reduced" if first.size < system.size else "not-reducible",
        reduced_size=first.size,
        ratio=first.size / system.size,
        exact=first.exact,
        worst_error=None if first.fresh is None else first.fresh.worst,
        size_at_1_percent=sizes[0],
        size_at_5_percent=sizes[1],
        size_at_10_percent=sizes[2],
    )
    return with_reasons(row, one.reasons or ([] if first.size < system.size else [_EVERY_STATE_NEEDED]))


def _per_species_rows(system: OdeSystem, task: Task, base: Row, states: Sequence[str]) -> Iterator[Row]:
    """Exact sizes of all states at once."""
    missing = dict.fromkeys(states)
    start, cpu = time.perf_counter(), time.process_time()
    try:
        for size in per_species_sizes(system, states, task.settings.seed):
            seconds = time.perf_counter() - start
            row = replace(base, observable=size.state)
            if isinstance(size, StateFailure):
                yield _refused(row, size.error, seconds)
            else:
                yield replace(_sized(system, row, size), seconds_lump=seconds, cpu_seconds=time.process_time() - cpu)
            del missing[size.state]
            start, cpu = time.perf_counter(), time.process_time()
    except SbmlumpError as error:
        for name in missing:
            yield _refused(replace(base, observable=name), error, time.perf_counter() - start)


def _refused(row: Row, error: SbmlumpError, seconds: float) -> Row:
    return with_reasons(replace(row, outcome=outcome_of_error(error), seconds_lump=seconds), error.reasons)


def _sized(system: OdeSystem, row: Row, size: StateSize) -> Row:
    row = replace(
        row,
        outcome="reduced" if size.size < system.size else "not-reducible",
        reduced_size=size.size,
        ratio=size.size / system.size,
        proper=size.proper,
        non_negative=size.non_negative,
        exact=True,
        singles=size.singles,
    )
    row = _with_sizes(row, size.size, 0.0)
    if size.size == system.size:
        return with_reasons(row, [_EVERY_STATE_NEEDED])
    kept = shortened(", ".join(system.states[j] for j in size.kept), _ROWS.longest_text)
    return replace(row, kept=kept, pools=None if size.pools is None else _pools_text(system, size.pools))


def _with_sizes(row: Row, size: int, error: float) -> Row:
    """The row with the sizes at 1, 5 and 10 % of one reduction, whose largest relative error is known."""
    one, five, ten = (size if error <= percent / 100 else None for percent in ERROR_PERCENTS)
    return replace(row, size_at_1_percent=one, size_at_5_percent=five, size_at_10_percent=ten)


def _without_reduction(row: Row) -> Row:
    """The row without what a refuted reduction said."""
    return replace(
        row, reduced_size=None, ratio=None, kept=None, pools=None, proper=None, non_negative=None, exact=None,
        certified=False, singles=None, worst_error=None,
        size_at_1_percent=None, size_at_5_percent=None, size_at_10_percent=None,
    )  # fmt: skip


_NOT_BACK: Final = Reason(
    "simulator-crashed", "the reduction is proved; the simulation of the two models did not come back"
)
_EVERY_STATE_NEEDED: Final = Reason("not-reducible", "every state is needed to keep the observable exactly")


def _pools_text(system: OdeSystem, rows: Sequence[Mapping[int, Fraction]]) -> str:
    """Rows as sums, one a line, cut where they become long."""
    named = ([(system.states[j], value) for j, value in sorted(row.items())] for row in rows)
    number = partial(short_number, digits=6)
    return shortened("\n".join(combination(terms, times=" ", number=number) for terms in named), _ROWS.longest_text)


def _row_of(system: OdeSystem, task: Task, row: Row, emit: Emit, source: Source) -> Row:
    """One observable by one method, through the whole reduction.

    What is proved is emitted before foreign code runs on it, so that a simulator that dies takes nothing along.
    """
    start = time.perf_counter()
    options = reduce_options(
        row.method, seed=task.settings.seed, check=task.settings.check, **dict(task.settings.options)
    )
    try:
        reduction = reduce_by(system, (str(row.observable),), options)
    except SbmlumpError as error:
        return _refused(row, error, time.perf_counter() - start)
    row = replace(_reduced(system, row, reduction), seconds_lump=time.perf_counter() - start)
    if not reduction.reducible:
        return with_reasons(row, [_EVERY_STATE_NEEDED])
    if not task.settings.check:
        return row
    if isinstance(source, tuple):
        return with_reasons(row, source)
    emit(with_reasons(row, [_NOT_BACK]))
    start = time.perf_counter()
    try:
        report, reasons = checked(source, reduction, options)
    except ContradictedError as error:
        return _refused(_without_reduction(row), error, row.seconds_lump or 0.0)
    row = replace(with_reasons(row, reasons), seconds_simulate=time.perf_counter() - start)
    if report is None:
        return row
    name = reduction.observables[0].id
    places = np.unique(np.linspace(0, len(report.times) - 1, _ROWS.most_points).astype(int))
    return replace(
        row,
        trajectory_time=tuple(report.times[places].tolist()),
        trajectory_original=tuple(report.original[name][places].tolist()),
        trajectory_reduced=tuple(report.reduced[name][places].tolist()),
        until=report.until,
        max_relative_error=report.max_relative_error,
        final_relative_error=report.final_relative_error,
        max_absolute_error=report.max_absolute_error,
    )


def _reduced(system: OdeSystem, row: Row, reduction: ReducedSystem) -> Row:
    rows = reduction.matrix.rows
    certificate = reduction.certificate
    worst = certificate.worst_error if isinstance(certificate, ErrorEstimate) else None
    exact = worst is None
    pools = [row for row in rows if len(row) > 1]
    kept = ", ".join(system.states[next(iter(row))] for row in rows if len(row) == 1)
    return replace(
        _with_sizes(row, reduction.system.size, 0.0 if worst is None else worst),
        end_time=certificate.horizon if isinstance(certificate, ErrorEstimate) else None,
        kept=shortened(kept, _ROWS.longest_text) if reduction.reducible else None,
        outcome="reduced" if reduction.reducible else "not-reducible",
        reduced_size=reduction.system.size,
        ratio=reduction.system.size / max(1, system.size),
        proper=reduction.matrix.proper,
        non_negative=reduction.matrix.non_negative,
        exact=exact,
        certified=exact,
        worst_error=worst,
        singles=len(rows) - len(pools),
        pools=_pools_text(system, pools) if reduction.reducible and len(pools) <= _ROWS.most_pools else None,
    )


# -- around the process ------------------------------------------------------------------------------
# Whatever happens to a model: the job in a process with limits, and a row for everything asked.


_OUTCOMES: Final = {"time-limit": "out-of-budget", "out-of-memory": "out-of-budget"}


class Stopped(Exception):  # noqa: N818  not an error
    """The survey was told to stop before this model was done."""


class _Emitted:
    """What the processes of one model have emitted so far."""

    def __init__(self) -> None:
        self.model: ModelRow | None = None
        self.rows: dict[Pair, Row] = {}
        self.current: Pair | None = None

    def __call__(self, message: Any) -> None:
        if isinstance(message, ModelRow):
            if self.model is not None and message.pairs != self.model.pairs:
                self.rows.clear()  # the file changed between two processes: what the first one said is of other bytes
            self.model = message
        elif isinstance(message, Begun):
            self.current = message.pair
        elif isinstance(message, Row):
            self.rows[message.observable, message.method] = message

    def forget_current(self) -> None:
        """A new process begins."""
        self.current = None

    def missing(self) -> list[Pair]:
        """Pairs that were announced and have no row yet."""
        return [] if self.model is None else [pair for pair in self.model.pairs if pair not in self.rows]


def run_task(
    task: Task,
    stop: threading.Event | None = None,
    job: Callable[..., Any] = survey_model,
    most_deaths: int = 20,
) -> tuple[Row, ...]:
    """Rows of one model, in the order in which they were asked for.

    A process that dies loses the row it was at, which says how it died; another process does the rest, within the
    time that is left.

    Parameters
    ----------
    task : Task
    stop : Event, optional
        When set, the model is given up.
    job : function
        What runs in the process; for tests.
    most_deaths : int
        Of processes of one model; after that the remaining rows share the last reason.

    Raises
    ------
    Stopped
        If ``stop`` was set.
    """
    emitted = _Emitted()
    seconds, peak = 0.0, 0
    for deaths in range(most_deaths):
        limits = Limits(max(task.settings.time_limit - seconds, 0.1), task.settings.memory_limit)
        emitted.forget_current()
        ended = run_isolated(job, (task, frozenset(emitted.rows)), limits, emitted, stop)
        seconds, peak = seconds + ended.seconds, max(peak, ended.peak)
        if ended.how == "stopped":
            raise Stopped
        missing = emitted.missing()
        if emitted.model is not None and not missing:
            break
        spent = seconds >= task.settings.time_limit
        one_only = ended.how not in ("time-limit", "finished") and not spent and deaths < most_deaths - 1
        lost = [emitted.current] if one_only and emitted.current in missing else missing
        _fill(task, emitted, lost, ended)
        if not emitted.missing():
            break
    assert emitted.model is not None  # _fill makes some up where the process did not say any
    order = {pair: k for k, pair in enumerate(emitted.model.pairs)}
    rows = sorted(emitted.rows.values(), key=lambda row: order[row.observable, row.method])
    return tuple(replace(row, seconds_model=seconds, peak_memory_mb=peak / 2**20) for row in rows)


def _fill(task: Task, emitted: _Emitted, lost: list[Pair], ended: Ended) -> None:
    """Rows for what a process that ended badly did not emit."""
    reason = ended.reason if ended.how != "finished" else Reason("fault", "the process told fewer rows than it said")
    if ended.how == "time-limit":  # the process may have been given what other processes had left over
        limit = task.settings.time_limit
        reason = Reason(ended.how, f"not done after {limit:g} s; a larger time limit may help")
    if emitted.model is None:
        empty = empty_row(task)
        emitted.model = ModelRow(empty, ((None, empty.method),))
        lost = [(None, empty.method)]
    outcome = _OUTCOMES.get(reason.code, "failed")
    for observable, method in lost:
        row = replace(emitted.model.base, observable=observable, method=method, outcome=outcome)
        emitted.rows[observable, method] = with_reasons(row, [reason])


# -- what makes two runs the same survey -------------------------------------------------------------


_FILE: Final = "run.json"
_OWN: Final = frozenset({_FILE, "parts", "index.html", "models", "assets"})
_FORMAT: Final = 3  # of run.json and of the columns beside it


def store_digest(models: Sequence[SurveyModel]) -> str:
    """SHA-256 over names and digests of all files, in order of the names."""
    digest = hashlib.sha256()
    for model in sorted(models, key=lambda model: model.file):
        digest.update(f"{model.file}\0{model.sha256}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SurveyIdentity:
    """Everything that the rows of a survey depend on.

    Attributes
    ----------
    settings : Settings
    observe : str
        ``each``, or the SHA-256 of the file that names what to observe.
    models : int
        How many the survey covers.
    store : str
        Digest of the store, see :func:`store_digest`.
    sample : str or None
        How the models were drawn from the store, where not all were taken.
    """

    settings: Settings
    observe: str
    models: int
    store: str
    sample: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What is compared between runs."""
        return {
            "format": _FORMAT,
            "version": __version__,
            "methods": list(self.settings.methods),
            "observe": self.observe,
            "check": self.settings.check,
            "seed": self.settings.seed,
            "time_limit": self.settings.time_limit,
            "memory_limit": self.settings.memory_limit,
            "options": self.settings.named or None,
            "models": self.models,
            "sample": self.sample,
            "store": self.store,
        }


_LOCK: Final = ".survey.lock"


def claim_folder(folder: Path, identity: SurveyIdentity) -> tuple[Reason, ...]:
    """Make ``folder`` the place of this survey, or find that it is so already.

    Returns
    -------
    tuple of Reason
        What is to be remarked: ``no-locks`` where the file system has none.

    Raises
    ------
    UsageError
        If it holds another survey (``survey-differs``, with what differs) or other things (``not-a-survey``).
    OutputError
        If it cannot be written.
    """
    make_folder(folder)
    with folder_lock(folder) as locked:  # of two that claim it at one moment, the second finds the first
        _claim(folder, identity.as_json())
    if locked:
        return ()
    message = f"{folder} lies where files cannot be locked; start no two surveys of one shard into it at once"
    return (Reason("no-locks", message),)


def _claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    if (folder / _FILE).exists():
        present = read_identity(folder)
        differences = [
            f"{key.replace('_', ' ')}: {_short(present.get(key))} there, {_short(value)} now"
            for key, value in wanted.items()
            if present.get(key) != value
        ]
        if differences:
            message = f"{folder} holds another survey ({'; '.join(differences)}); choose another folder with -o"
            raise UsageError(Reason("survey-differs", message))
        return
    foreign = sorted(item.name for item in folder.iterdir() if item.name not in _OWN and not item.name.startswith("."))
    if foreign:
        message = f"{folder} holds other things ({foreign[0]}) and no survey; choose an empty or new folder with -o"
        raise UsageError(Reason("not-a-survey", message))
    began = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    record = {**wanted, "began": began, "machine": machine, "libraries": dict(library_versions())}
    write_atomically(folder / _FILE, json.dumps(record, indent=1).encode() + b"\n")


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 16 or " " in text or "," in text else f"{text[:12]}…"


def read_identity(folder: Path) -> Mapping[str, Any]:
    """What a survey says of itself.

    Raises
    ------
    UsageError
        If there is no survey in ``folder`` (``not-a-survey``), or its ``run.json`` is damaged (``damaged-results``).
    """
    try:
        value = json.loads((folder / _FILE).read_bytes())
    except OSError as error:
        message = f"{folder} holds no survey; 'sbmlump survey STORE -o {folder}' makes one"
        raise UsageError(Reason("not-a-survey", message)) from error
    except ValueError as error:
        message = f"{folder / _FILE} is damaged; survey again into a new folder"
        raise UsageError(Reason("damaged-results", message)) from error
    if not isinstance(value, dict):
        raise UsageError(Reason("damaged-results", f"{folder / _FILE} is damaged; survey again into a new folder"))
    return value


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False, name: str = _LOCK, wait: bool = True) -> Iterator[bool]:
    """Hold a survey's folder for a moment, against other shards: while parts move into a shard, nobody may list them.

    Parameters
    ----------
    folder : Path
    shared : bool
        Together with others who do not move anything either.
    name : str
        Of the file that is locked: that of the results by default.
    wait : bool
        Until it is free.

    Yields
    ------
    bool
        Whether it is held: not on a file system that has no locks, which :func:`claim_folder` tells once.

    Raises
    ------
    OutputError
        The folder cannot be written.
    LimitError
        Code ``survey-busy``: somebody else holds it, and it is not to be waited for.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        message = f"{folder} cannot be written ({error.strerror}); choose another folder with -o"
        raise OutputError(Reason("cannot-write", message)) from error
    try:
        try:
            held = lock(descriptor, shared=shared, wait=wait)
        except OSError as error:
            if error.errno in NO_LOCKS:
                yield False
                return
            message = f"{folder} lies where files cannot be locked ({error.strerror}); choose another folder with -o"
            raise OutputError(Reason("cannot-write", message)) from error
        if not held:
            message = f"another survey is at work on {folder}; wait for it, or take another shard with --shard"
            raise LimitError(Reason("survey-busy", message))
        yield True
    finally:
        os.close(descriptor)
