"""A survey from beginning to end: what is finished stays, what is missing is done, each model as soon as it is done."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sbmlump.errors import InputError, Reason, UsageError, extra_missing
from sbmlump.files import OutputError, make_folder, write_atomically
from sbmlump.isolate import prepare
from sbmlump.survey.job import (
    _LOCK,
    PRELOAD,
    PROVISIONAL,
    SIZES_AT_ERRORS,
    Row,
    Settings,
    SurveyIdentity,
    SurveyModel,
    Task,
    choose_models,
    claim_folder,
    file_size,
    folder_lock,
    plan_tasks,
    run_task,
    store_digest,
    survey_model,
)
from sbmlump.survey.versions import library_versions

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    what = "pyarrow, which reads and writes the results of surveys, is not installed"
    raise UsageError(extra_missing(what, "survey")) from error

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
    "write_sizes",
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
_WHOLE: Final = (
    *"original_size reduced_size singles level version reactions parameters events".split(),
    *SIZES_AT_ERRORS,
)
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
def _reading(folder: Path) -> Iterator[bool]:
    """Keep parts where they are while they are read, and say whether they are sure to stay there.

    In a folder that nobody may write, and where there is nothing to lock, nobody moves any.
    """
    if not os.access(folder, os.W_OK) or not (folder / _LOCK).exists():
        yield True
        return
    with folder_lock(folder, shared=True) as locked:
        yield locked


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
    versions = {f"sbmlump.{name}": value for name, value in library_versions().items()}
    output = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(versions), output, compression="zstd")
    write_atomically(path, output.getvalue().to_pybytes())


def result_files(folder: Path) -> list[Path]:
    """All Parquet files of a survey, shards first."""
    shards = [path for path in sorted(folder.glob("*.parquet")) if _SHARD.fullmatch(path.name)]
    parts = [path for path in sorted((folder / "parts").glob("*.parquet")) if _PART.fullmatch(path.name)]
    return [*shards, *parts]


def _tables(paths: Iterable[Path], columns: list[str] | None = None) -> Iterator[pa.Table]:
    for path in paths:
        try:
            table = _table(path, columns)
        except pa.ArrowInvalid as error:
            message = f"{path} is damaged ({error}); remove it and run the survey again"
            raise InputError(Reason("damaged-results", message)) from error
        if columns is None and not table.schema.equals(SCHEMA):
            message = f"{path} has other columns than this version writes; survey again into a new folder"
            raise InputError(Reason("damaged-results", message))
        yield table


def _table(path: Path, columns: list[str] | None) -> pa.Table:
    """The table in a file, read in this thread and from memory of Arrow's own.

    Arrow's threads give the buffers of Python objects back when they please, also while the interpreter is shutting
    down, which ends the process by SIGABRT after all its work is done.
    """
    data = path.read_bytes()
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return pq.ParquetFile(pa.BufferReader(buffer), pre_buffer=False).read(columns, use_threads=False)


def _all_tables(folder: Path, columns: list[str] | None = None) -> list[pa.Table]:
    """All results of a survey as they were at one moment.

    Where files cannot be locked, a part may move into a shard between the look into the folder and the reading; then
    the shard has it.
    """
    while True:
        with _reading(folder) as staying:
            try:
                return list(_tables(result_files(folder), columns))
            except FileNotFoundError:
                if staying:
                    raise


def _by_file(tables: Iterable[pa.Table]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows of each file, once: of several results the first that says something of the model."""
    chosen: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        found: dict[str, list[dict[str, Any]]] = {}
        for row in table.to_pylist():
            found.setdefault(row["file"], []).append(row)
        for file, rows in found.items():
            if file not in chosen or (_provisional(chosen[file]) and not _provisional(rows)):
                chosen[file] = rows
    yield from chosen.items()


def _provisional(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["reason"] in PROVISIONAL for row in rows)


def finished_files(folder: Path) -> frozenset[str]:
    """Files of the store whose rows are all there, and are about the bytes that were listed.

    Raises
    ------
    InputError
        If a result cannot be read (``damaged-results``).
    """
    found = _by_file(_all_tables(folder, ["file", "reason"]))
    return frozenset(file for file, rows in found if not _provisional(rows))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows, sorted by file; rows of a model that stand in a part and in a shard are taken once.

    Raises
    ------
    InputError
        If a result cannot be read (``damaged-results``).
    """
    return [row for _, rows in sorted(_by_file(_all_tables(folder))) for row in rows]


_OF_SIZES: Final = (
    *"file model_id sha256 observable method outcome reason kinetics original_size reduced_size exact".split(),
    *SIZES_AT_ERRORS,
    *"worst_error end_time cpu_seconds".split(),
)


def write_sizes(rows: Sequence[Mapping[str, Any]], identity: Mapping[str, Any], path: Path) -> None:
    """Write sizes and codes alone of all rows, as one small Parquet file.

    Parameters
    ----------
    rows : sequence of mappings
        What :func:`read_rows` gives.
    identity : mapping
        What :func:`~sbmlump.survey.job.read_identity` gives: versions, machine and digest of the store become metadata.
    path : Path

    Raises
    ------
    OutputError
        If the disk does not take it.
    """
    exact = [field for field in SCHEMA if field.name in _OF_SIZES]
    narrow = pa.schema([field.with_type(pa.float32()) if field.type == pa.float64() else field for field in exact])
    made = {f"sbmlump.{name}": str(identity.get(name)) for name in ("version", "began", "machine", "store", "models")}
    made |= {f"sbmlump.{name}": str(value) for name, value in dict(identity.get("libraries") or {}).items()}
    table = pa.Table.from_pylist([{name: row[name] for name in narrow.names} for row in rows], narrow)
    output = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(made), output, compression="zstd", compression_level=19)
    write_atomically(path, output.getvalue().to_pybytes())


def merge(folder: Path, files: Sequence[str], name: str) -> None:
    """Put the parts of ``files`` into one shard, then remove them; what is there already stays.

    Raises
    ------
    OutputError, InputError
    """
    with folder_lock(folder) as locked:
        _merge(folder, files, name, remove_folder=locked)


def _merge(folder: Path, files: Sequence[str], name: str, *, remove_folder: bool) -> None:
    parts = {file: _part_path(folder, file) for file in sorted(files)}
    present = [path for path in parts.values() if path.exists()]
    if not present:
        return
    earlier = [folder / name] if (folder / name).exists() else []
    rows = [row for _, rows in sorted(_by_file(_tables([*earlier, *present]))) for row in rows]
    _write(folder / name, pa.Table.from_pylist(rows, SCHEMA))
    try:
        for path in present:
            path.unlink()
        # without locks, somebody may be about to write into it
        if remove_folder and not any((folder / "parts").iterdir()):
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
    """What a run did.

    Attributes
    ----------
    models : int
        Of its shard.
    before : int
        Models that had been finished before.
    now : int
        Models it finished.
    remarks : tuple of Reason
        What the user should know of the run, such as ``no-locks``.
    """

    models: int
    before: int
    now: int
    remarks: tuple[Reason, ...] = ()


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
    remarks = claim_folder(request.folder, identity)
    name = shard_name(*request.shard)
    with folder_lock(request.folder, name=f".{name}.lock", wait=False):
        mine, tasks = plan_tasks(
            models, request.observe, request.settings, request.shard, finished_files(request.folder)
        )
        done = before = len(mine) - len(tasks)
        unfit = 0
        progress(done, len(mine), "")
        for rows in _results(request, tasks, job):
            write_part(request.folder, rows)
            done += 1
            progress(done, len(mine), rows[0].model_id)
            unfit += rows[0].reason in PROVISIONAL
        merge(request.folder, [model.file for model in mine], name)
    if unfit:
        what = "1 model" if unfit == 1 else f"{unfit} models"
        code = "file-changed" if request.scheduler is None else "worker-unfit"
        message = f"{what} had other bytes than were listed, as the rows say; survey them again when they stay put"
        remarks = (*remarks, Reason(code, message))
    return Done(len(mine), before, len(tasks), remarks)


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
    queue = iter(sorted(tasks, key=lambda task: file_size(task.model), reverse=True))
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
