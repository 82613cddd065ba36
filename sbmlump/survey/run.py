"""A survey from beginning to end: what is finished stays, what is missing is done, each model as soon as it is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sbmlump.errors import LimitError, Reason
from sbmlump.files import OutputError, lock
from sbmlump.isolate import Ended, Limits, prepare, run_isolated
from sbmlump.survey.job import (
    PRELOAD,
    Begun,
    Identity,
    ModelRow,
    Pair,
    claim_folder,
    empty_row,
    store_digest,
    survey_model,
    with_reasons,
)
from sbmlump.survey.plan import Row, Settings, SurveyModel, Task, choose_models, plan_tasks
from sbmlump.survey.results import finished_files, merge, shard_name, write_part

__all__ = ["Done", "Progress", "SurveyRequest", "run_survey", "Stopped", "run_task"]


# -- one model ---------------------------------------------------------------------------------------
# Whatever happens to it: the job in a process with limits, and a row for everything asked.


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


# -- the whole survey --------------------------------------------------------------------------------


Progress = Callable[[int, int, str], None]
Job = Callable[..., Any]


@dataclass(frozen=True)
class SurveyRequest:
    """What is to be surveyed, where to, and by whom.

    Attributes
    ----------
    models : sequence of SurveyModel
        The whole store.
    folder : Path
        Where the results go.
    settings : Settings
    observe : mapping of model id to expressions, optional
        Each state of each model by default.
    observe_digest : str
        ``each``, or the digest of the file with ``observe``.
    workers : int
        Processes on this machine.
    scheduler : str or None
        Address of a Dask scheduler that takes the place of local processes.
    shard : (int, int)
        This part (from 1) of so many.
    sample : int or None
        Survey so many models only, drawn at random.
    """

    models: Sequence[SurveyModel]
    folder: Path
    settings: Settings = field(default_factory=Settings)
    observe: Mapping[str, Sequence[str]] | None = None
    observe_digest: str = "each"
    workers: int = 1
    scheduler: str | None = None
    shard: tuple[int, int] = (1, 1)
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did: models of its shard, models that had been finished before, models it finished."""

    models: int
    before: int
    now: int


def run_survey(request: SurveyRequest, progress: Progress = lambda *_: None, job: Job = survey_model) -> Done:
    """Survey what is not surveyed yet.

    Parameters
    ----------
    request : SurveyRequest
    progress : function
        Called with the number of finished models, their total, and the id of the last one.
    job : function
        What runs for a model; for tests.

    Raises
    ------
    UsageError
        If the folder holds another survey or the request makes no sense.
    LimitError
        If another process is at work on the same shard (``survey-busy``).
    OutputError
        If results cannot be written.
    """
    models = choose_models(request.models, request.observe, request.sample, request.settings.seed)
    sample = None if len(models) == len(request.models) or request.sample is None else f"{request.sample} at random"
    identity = Identity(request.settings, request.observe_digest, len(models), store_digest(models), sample)
    claim_folder(request.folder, identity)
    name = shard_name(*request.shard)
    with _alone(request.folder, name):
        mine, tasks = plan_tasks(
            models, request.observe, request.settings, request.shard, finished_files(request.folder)
        )
        done = before = len(mine) - len(tasks)
        progress(done, len(mine), "")
        for rows in _results(request, tasks, job):
            write_part(request.folder, rows)
            done += 1
            progress(done, len(mine), rows[0].model_id)
        merge(request.folder, [model.file for model in mine], name)
    return Done(len(mine), before, len(tasks))


def _results(request: SurveyRequest, tasks: Sequence[Task], job: Job) -> Iterator[tuple[Row, ...]]:
    if request.scheduler is not None:
        from sbmlump.survey.on_dask import run_on_dask

        return run_on_dask(request.scheduler, tasks)
    return _locally(tasks, request.workers, job)


def _locally(tasks: Sequence[Task], workers: int, job: Job) -> Iterator[tuple[Row, ...]]:
    """Rows of each model as it gets done, ``workers`` processes side by side."""
    prepare(PRELOAD)
    stop = threading.Event()
    waiting: set[Future[tuple[Row, ...]]] = set()
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="survey")
    # larger files first: a long one at the end would leave the other workers idle
    queue = iter(sorted(tasks, key=_size, reverse=True))
    try:
        while True:
            while len(waiting) < workers and (task := next(queue, None)) is not None:
                waiting.add(pool.submit(run_task, task, stop, job))
            if not waiting:
                return
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
    finally:
        stop.set()  # after an interrupt, a full disk or a fault: what runs is given up
        pool.shutdown(wait=True, cancel_futures=True)


def _size(task: Task) -> int:
    try:
        return task.model.path.stat().st_size
    except OSError:
        return 0  # the job will say what is wrong with the file


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a shard; the system lets it go when the process dies.

    Raises
    ------
    LimitError
        Code ``survey-busy``.
    OutputError
        The folder cannot be written.
    """
    try:
        descriptor = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        message = f"{folder} cannot be written ({error.strerror}); choose another folder with -o"
        raise OutputError(Reason("cannot-write", message)) from error
    try:
        if not lock(descriptor, wait=False):
            message = f"another survey is at work on {folder}; wait for it, or take another shard with --shard"
            raise LimitError(Reason("survey-busy", message))
        yield
    finally:
        os.close(descriptor)
