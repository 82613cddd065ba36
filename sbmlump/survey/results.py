"""Results on the disk: a Parquet file a model while a survey runs, one a shard when it is done.

::

    DIR/run.json                       identity of the survey, and where and when it began
    DIR/parts/0123456789abcdef.parquet rows of one finished model
    DIR/shard-0001-of-0004.parquet     rows of all models of a finished shard
    DIR/index.html, DIR/models/        the page

Every file appears whole or not at all. A model is finished when its part or its shard is there.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sbmlump.errors import InputError, LimitError, Reason
from sbmlump.files import OutputError, lock, make_folder, write_atomically
from sbmlump.survey.plan import Row

__all__ = ["SCHEMA", "finished_files", "folder_lock", "merge", "read_rows", "result_files", "shard_name", "write_part"]

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


_LOCK: Final = ".survey.lock"


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False, name: str = _LOCK, wait: bool = True) -> Iterator[None]:
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
            message = f"{folder} lies where files cannot be locked ({error.strerror}); choose another folder with -o"
            raise OutputError(Reason("cannot-write", message)) from error
        if not held:
            message = f"another survey is at work on {folder}; wait for it, or take another shard with --shard"
            raise LimitError(Reason("survey-busy", message))
        yield
    finally:
        os.close(descriptor)


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
