"""A survey from beginning to end: what is finished stays, what is missing is done, each model as soon as it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbmlump.isolate import prepare
from sbmlump.survey.job import PRELOAD, Identity, claim_folder, run_task, store_digest, survey_model
from sbmlump.survey.plan import Row, Settings, SurveyModel, Task, choose_models, plan_tasks
from sbmlump.survey.results import finished_files, folder_lock, merge, shard_name, write_part

__all__ = ["Done", "Progress", "SurveyRequest", "run_survey"]


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
    with folder_lock(request.folder, name=f".{name}.lock", wait=False):
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
