"""A survey from beginning to end: what is finished stays, what is missing is done, each model as soon as it is done."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sbmlump.errors import InputError, Reason
from sbmlump.files import OutputError, make_folder, write_atomically
from sbmlump.isolate import prepare
from sbmlump.survey.job import (
    _LOCK,
    PRELOAD,
    Row,
    Settings,
    SurveyIdentity,
    SurveyModel,
    Task,
    choose_models,
    claim_folder,
    folder_lock,
    plan_tasks,
    run_task,
    store_digest,
    survey_model,
)

__all__ = [
    "Done",
    "Progress",
    "SurveyRequest",
    "run_survey",
    "SCHEMA",
    "finished_files",
    "merge",
    "read_rows",
    "result_files",
    "shard_name",
    "write_part",
]


# -- Results on the disk: a Parquet ----------------------------------------------------------------

# Results on the disk: a Parquet file a model while a survey runs, one a shard when it is done.
#
# ::
#
#     DIR/run.json                       identity of the survey, and where and when it began
#     DIR/parts/0123456789abcdef.parquet rows of one finished model
#     DIR/shard-0001-of-0004.parquet     rows of all models of a finished shard
#     DIR/index.html, DIR/models/        the page
#
# Every file appears whole or not at all. A model is finished when its part or its shard is there.


_TEXT: Final = (
    "file model_id sha256 observable method outcome reason message element pools kept name kinetics features".split()
)
_WHOLE: Final = "original_size reduced_size singles level version reactions parameters events".split()
_TRUTH: Final = "proper non_negative exact certified".split()


def _type(column: str) -> pa.DataType:
    if column in _TEXT:
        return pa.string()
    if column in _WHOLE:
        return pa.int32()
    if column in _TRUTH:
        return pa.bool_()
    if column == "reasons":
        return pa.list_(pa.string())
    return pa.list_(pa.float32()) if column.startswith("trajectory_") else pa.float64()


SCHEMA: Final = pa.schema([pa.field(column, _type(column)) for column in Row.__dataclass_fields__])
"""Names and types of the columns."""

_PART: Final = re.compile(r"[0-9a-f]{16}\.parquet")
_SHARD: Final = re.compile(r"shard-\d+-of-\d+\.parquet")


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Keep parts where they are while they are read; where there is nothing to lock, nobody moves any."""
    if not os.access(folder, os.W_OK) or not (folder / _LOCK).exists():
        yield
        return
    with folder_lock(folder, shared=True):
        yield


def shard_name(index: int, count: int) -> str:
    """File of shard ``index`` (from 1) of ``count``."""
    return f"shard-{index:04d}-of-{count:04d}.parquet"


def _part_path(folder: Path, file: str) -> Path:
    return folder / "parts" / f"{hashlib.sha256(file.encode()).hexdigest()[:16]}.parquet"


def write_part(folder: Path, rows: Sequence[Row]) -> None:
    """Write all rows of one model.

    Raises
    ------
    OutputError
        If the disk does not take them.
    """
    path = _part_path(folder, rows[0].file)
    table = pa.Table.from_pylist([row.as_dict() for row in rows], SCHEMA)
    with folder_lock(folder, shared=True):  # a shard that ends removes the folder of parts, if it is empty
        make_folder(path.parent)
        _write(path, table)


def _write(path: Path, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())


def result_files(folder: Path) -> list[Path]:
    """All Parquet files of a survey, shards first."""
    shards = [path for path in sorted(folder.glob("*.parquet")) if _SHARD.fullmatch(path.name)]
    parts = [path for path in sorted((folder / "parts").glob("*.parquet")) if _PART.fullmatch(path.name)]
    return [*shards, *parts]


def _tables(paths: Iterable[Path], columns: list[str] | None = None) -> Iterator[pa.Table]:
    for path in paths:
        try:
            table = pq.read_table(io.BytesIO(path.read_bytes()), columns=columns)
        except pa.ArrowInvalid as error:
            message = f"{path} is damaged ({error}); remove it and run the survey again"
            raise InputError(Reason("damaged-results", message)) from error
        if columns is None and not table.schema.equals(SCHEMA):
            message = f"{path} has other columns than this version writes; survey again into a new folder"
            raise InputError(Reason("damaged-results", message))
        yield table


def finished_files(folder: Path) -> frozenset[str]:
    """Files of the store whose rows are all there.

    Raises
    ------
    InputError
        If a result cannot be read (``damaged-results``).
    """
    with _reading(folder):
        tables = list(_tables(result_files(folder), ["file"]))
    return frozenset(name for table in tables for name in table["file"].to_pylist())


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows, sorted by file; rows of a model that stand in a part and in a shard are taken once.

    Raises
    ------
    InputError
        If a result cannot be read (``damaged-results``).
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    with _reading(folder):
        tables = list(_tables(result_files(folder)))
    for table in tables:
        new = [row for row in table.to_pylist() if row["file"] not in seen]
        seen.update(row["file"] for row in new)
        rows += new
    return sorted(rows, key=lambda row: row["file"])  # stable: the order of observables stays


def merge(folder: Path, files: Sequence[str], name: str) -> None:
    """Put the parts of ``files`` into one shard, then remove them; what is there already stays.

    Raises
    ------
    OutputError, InputError
    """
    with folder_lock(folder):
        _merge(folder, files, name)


def _merge(folder: Path, files: Sequence[str], name: str) -> None:
    parts = {file: _part_path(folder, file) for file in sorted(files)}
    present = [path for path in parts.values() if path.exists()]
    if not present:
        return
    earlier = [folder / name] if (folder / name).exists() else []
    known: set[str] = set()
    tables: list[pa.Table] = []
    for table in _tables([*earlier, *present]):
        new = set(table["file"].to_pylist()) - known
        known |= new
        keep = pa.array([file in new for file in table["file"].to_pylist()], pa.bool_())
        tables.append(table.filter(keep))
    whole = pa.concat_tables(tables)
    order = sorted(range(whole.num_rows), key=whole["file"].to_pylist().__getitem__)
    _write(folder / name, whole.take(pa.array(order, pa.int64())))
    try:
        for path in present:
            path.unlink()
        if not any((folder / "parts").iterdir()):
            (folder / "parts").rmdir()
    except OSError as error:  # nothing is lost: the shard is there, and what is in both is read once
        message = f"{folder / 'parts'} cannot be emptied ({error.strerror}); its rows are in {name}"
        raise OutputError(Reason("cannot-write", message)) from error


# -- A survey from beginning to end ----------------------------------------------------------------


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
    identity = SurveyIdentity(request.settings, request.observe_digest, len(models), store_digest(models), sample)
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
