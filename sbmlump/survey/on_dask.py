"""The models of a survey on an existing Dask cluster (extra ``dask``); the only module that imports it.

A task on a Dask worker starts a process of its own with the same limits as a local run: a model that crashes or hangs
never takes a worker with it. A worker that is lost is the cluster's business: its tasks go to another one, and after
some losses the model gets a row that says so. A worker that cannot do the job (another version, no such store)
ends the survey: rows about the cluster would stand for rows about models.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sbmlump._version import __version__
from sbmlump.errors import LimitError, Reason, UsageError
from sbmlump.isolate import prepare
from sbmlump.survey.job import PRELOAD, Row, Task, empty_row, run_task, with_reasons

__all__ = ["run_on_dask"]


def run_on_dask(
    scheduler: str, tasks: Sequence[Task], retries: int = 3, patience: float = 30.0
) -> Iterator[tuple[Row, ...]]:
    """Rows of each model as it gets done.

    Parameters
    ----------
    scheduler : str
        Such as ``tcp://host:8786``. Its workers see the store under the same path.
    tasks : sequence of Task
    retries : int
        Workers that a model may lose, each after as many tries of Dask itself.
    patience : float
        Seconds to reach the scheduler.

    Raises
    ------
    UsageError
        If Dask is not installed (``dask-missing``).
    LimitError
        If the scheduler does not answer (``no-scheduler``), or a worker has another version, does not see the store,
        or cannot run sbmlump at all (``worker-unfit``). Models that are done stay done.
    """
    try:
        from dask.distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        message = "--scheduler needs Dask: pip install 'sbmlump[dask]'"
        raise UsageError(Reason("dask-missing", message)) from error
    try:
        client = Client(scheduler, timeout=patience, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        message = f"the Dask scheduler {scheduler} does not answer ({error}); start it or check the address"
        raise LimitError(Reason("no-scheduler", message)) from error
    with client:
        tasks_of = {client.submit(_on_worker, task, __version__, pure=False, retries=retries): task for task in tasks}
        tries = dict.fromkeys((task.model.file for task in tasks), 1)
        with client.as_current():
            done = as_completed(list(tasks_of))
        for future in done:
            task = tasks_of.pop(future)
            if future.status == "finished":
                result = future.result()
                if isinstance(result, Reason):
                    raise LimitError(result)
                yield result
            elif future.status == "error" and not isinstance(future.exception(), KilledWorker):
                raise _unfit(scheduler, future.exception())
            elif tries[task.model.file] <= retries:
                tries[task.model.file] += 1
                again = client.submit(_on_worker, task, __version__, pure=False, retries=retries)
                tasks_of[again] = task
                done.add(again)
            else:
                yield (_lost(task, future.exception()),)
            future.release()


def _unfit(scheduler: str, error: BaseException) -> LimitError:
    fact = f"a worker of {scheduler} cannot run sbmlump {__version__} ({type(error).__name__}: {error})"
    return LimitError(Reason("worker-unfit", f"{fact}; install it there and run the same command again"))


def _on_worker(task: Task, version: str) -> tuple[Row, ...] | Reason:
    """Runs in a thread of a Dask worker: rows, or why this worker cannot make them."""
    place = f"the Dask worker on {socket.gethostname()}"
    if version != __version__:
        message = f"{place} has sbmlump {__version__}, not {version}; install {version} there"
        return Reason("worker-unfit", message)
    if not task.model.path.is_file():
        message = f"{place} does not see {task.model.path}; the store must be under the same path on every worker"
        return Reason("worker-unfit", message)
    here = multiprocessing.current_process()
    if here.daemon:  # workers below a nanny are; such processes may not have children unless they say otherwise
        here.daemon = False
    prepare(PRELOAD)
    return run_task(task)


def _lost(task: Task, error: BaseException | None) -> Row:
    cause = f"{type(error).__name__}: {error}" if error is not None else "cancelled"
    reason = Reason("worker-lost", f"its Dask workers were lost again and again ({cause[:300]}); survey it by itself")
    return with_reasons(replace(empty_row(task), outcome="failed"), [reason])
