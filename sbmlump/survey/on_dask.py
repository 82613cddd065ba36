"""The models of a survey on an existing Dask cluster (extra ``dask``); the only module that imports it.

Before anything is submitted, the cluster is looked at: that the scheduler answers, that there is a worker, that each
worker has the same sbmlump, libSBML and numpy, and sees the files that were listed. Whatever is wrong is one sentence,
within a time that is bounded.

A task on a Dask worker starts a process of its own with the same limits as a local run: a model that crashes or hangs
never takes a worker with it. A worker that is lost is the cluster's business: its tasks go to another one, and after
some losses the model gets a row that says so. A worker that joins later and cannot do the job (another version, no such
store) ends the survey: rows about the cluster would stand for rows about models. Where one file differs on a worker,
its row says so, and the next run looks at it again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import multiprocessing
import queue
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sbmlump._version import __version__
from sbmlump.errors import LimitError, Reason, SbmlumpError, UsageError, some_names
from sbmlump.files import read_whole
from sbmlump.isolate import prepare
from sbmlump.survey.job import PRELOAD, Row, Task, empty_row, file_size, run_task, with_reasons
from sbmlump.survey.versions import MUST_AGREE, library_versions, source_digest

if TYPE_CHECKING:
    from dask.distributed import Client, Future

__all__ = ["DaskSettings", "run_on_dask", "scheduler_address"]


@dataclass(frozen=True, slots=True)
class DaskSettings:
    """How long a cluster is waited for, in seconds, and what is asked of it first.

    Attributes
    ----------
    connect : float
        For the scheduler to answer.
    first_worker : float
        For a worker to be there, at the beginning and again where all are lost: queues of clusters take longer, and
        then the survey is started when they have given some.
    answer : float
        For all workers to say what they have; they import libSBML and numpy for that, over a network.
    gone : float
        For a scheduler that is lost to come back.
    look : float
        Between looks at the scheduler and the workers.
    leave : float
        For the connection to be closed.
    files : int
        Models, spread over all, that each worker is asked for: with a store of another place, all are missing.
    retries : int
        Workers that a model may lose, each after as many tries of Dask itself.
    longest_list : int
        Bytes of a scheduler file that are read.
    shown : int
        Workers that a message names.
    """

    connect: float = 20.0
    first_worker: float = 55.0
    answer: float = 60.0
    gone: float = 60.0
    look: float = 1.0
    leave: float = 10.0
    files: int = 100
    retries: int = 3
    longest_list: int = 1 << 20
    shown: int = 4


_UNFIT: Final = "worker-unfit"


# -- the address of a scheduler ----------------------------------------------------------------------

_ADDRESS: Final = re.compile(
    r"(?:(?P<protocol>[a-z]+)://)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s/:@\[\]]+):(?P<port>\d{1,9})/?"
)
_PROTOCOLS: Final = ("tcp", "tls", "ws", "wss", "ucx", "ucxx")
_EXAMPLE: Final = "write it as tcp://host:8786, as 'dask scheduler' prints it"
_LARGEST_PORT: Final = 0xFFFF  # of TCP


def scheduler_address(
    scheduler: str | None, scheduler_file: Path | None = None, settings: DaskSettings = DaskSettings()
) -> str | None:
    """The address of a scheduler that was named, or that a file written by ``dask scheduler --scheduler-file`` names.

    Raises
    ------
    UsageError
        Codes ``bad-scheduler`` for what is no address, ``bad-scheduler-file``.
    """
    if scheduler_file is not None:
        if scheduler is not None:
            message = "--scheduler and --scheduler-file name one scheduler each; give one of them"
            raise UsageError(Reason("usage", message))
        scheduler = _from_file(scheduler_file, settings)
    if scheduler is not None:
        _parsed(scheduler)
    return scheduler


def _from_file(path: Path, settings: DaskSettings) -> str:
    try:
        content = json.loads(read_whole(path, settings.longest_list, "scheduler"))
        address = content["address"]
    except SbmlumpError as error:
        raise UsageError(Reason("bad-scheduler-file", error.reasons[0].message)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{path} does not name a scheduler; 'dask scheduler --scheduler-file {path}' writes such a file"
        raise UsageError(Reason("bad-scheduler-file", message)) from error
    if not isinstance(address, str):
        raise UsageError(Reason("bad-scheduler-file", f"the address in {path} is not a text"))
    return address


def _parsed(scheduler: str) -> tuple[str, str, int]:
    """Protocol, host and port of an address."""
    match = _ADDRESS.fullmatch(scheduler.strip())
    if match is None:
        raise UsageError(Reason("bad-scheduler", f"{scheduler!r} is not the address of a scheduler; {_EXAMPLE}"))
    protocol, host, port = match["protocol"] or "tcp", match["host"].strip("[]"), int(match["port"])
    if protocol not in _PROTOCOLS:
        known = some_names([f"{name}://" for name in _PROTOCOLS], len(_PROTOCOLS))
        message = f"{protocol}:// in {scheduler!r} is not a protocol of Dask ({known}); {_EXAMPLE}"
        raise UsageError(Reason("bad-scheduler", message))
    if not 1 <= port <= _LARGEST_PORT:
        raise UsageError(Reason("bad-scheduler", f"there is no port {port} ({scheduler!r}); {_EXAMPLE}"))
    return protocol, host, port


# -- a survey on a cluster ---------------------------------------------------------------------------


def run_on_dask(
    scheduler: str, tasks: Sequence[Task], settings: DaskSettings = DaskSettings()
) -> Iterator[tuple[Row, ...]]:
    """Rows of each model as it gets done, the largest files first.

    Parameters
    ----------
    scheduler : str
        Such as ``tcp://host:8786``. Its workers see the store under the same path.
    tasks : sequence of Task
    settings : DaskSettings

    Raises
    ------
    UsageError
        If Dask is not installed (``dask-missing``), the address is none (``bad-scheduler``), or TLS is asked for
        without certificates (``no-certificates``).
    LimitError
        If the scheduler does not answer, or is lost for good (``no-scheduler``); if there is no worker
        (``no-workers``); if a worker has another version, does not see the store, or cannot run sbmlump at all
        (``worker-unfit``). Models that are done stay done.
    """
    protocol, host, port = _parsed(scheduler)
    if not tasks:
        return
    try:
        from dask.distributed import Client
    except ImportError as error:
        message = "--scheduler needs Dask: pip install 'sbmlump[dask]'"
        raise UsageError(Reason("dask-missing", message)) from error
    _reachable(scheduler, protocol, host, port, settings)
    _greeted(scheduler, settings)
    with _connected(Client, scheduler, settings) as client:
        _preflight(client, scheduler, tasks, settings)
        yield from _Cluster(client, scheduler, tasks, settings).rows()


def _reachable(scheduler: str, protocol: str, host: str, port: int, settings: DaskSettings) -> None:
    """Whether something listens there: what Dask itself says only after long waits, and in many ways."""
    if protocol in ("tls", "wss"):
        _certificates(scheduler)
    try:
        socket.create_connection((host, port), timeout=settings.connect).close()
    except (OSError, UnicodeError) as error:
        raise LimitError(_no_answer(scheduler, error)) from error


def _certificates(scheduler: str) -> None:
    """TLS is set up in Dask's configuration, for the workers and for the client alike."""
    import dask

    missing = [
        name
        for name in ("ca-file", "client.cert")
        if not (path := dask.config.get(f"distributed.comm.tls.{name}", None)) or not Path(path).is_file()
    ]
    if missing:
        where = some_names([f"distributed.comm.tls.{name}" for name in missing], len(missing))
        message = (
            f"{scheduler} is reached with TLS only, and Dask's configuration names no certificates ({where}); set them "
            "in ~/.config/dask/*.yaml or by DASK_DISTRIBUTED__COMM__TLS__CA_FILE and …__CLIENT__CERT"
        )
        raise UsageError(Reason("no-certificates", message))


def _no_answer(scheduler: str, error: BaseException | str) -> Reason:
    told = str(error) or type(error).__name__
    return Reason(
        "no-scheduler", f"the Dask scheduler {scheduler} does not answer ({told}); start it or check the address"
    )


def _greeted(scheduler: str, settings: DaskSettings) -> None:
    """Whether it is a scheduler that listens there.

    Dask's client waits for ever for something that takes the connection and says nothing.

    Raises
    ------
    LimitError
        Code ``no-scheduler``.
    """
    from dask.distributed import Security
    from distributed.comm import connect

    async def identity() -> Any:
        arguments = Security().get_connection_args("client")
        connection = await connect(scheduler, timeout=settings.connect, **arguments)
        try:
            await connection.write({"op": "identity", "n_workers": 0, "reply": True})
            return await connection.read()
        finally:
            connection.abort()

    async def in_time() -> Any:
        return await asyncio.wait_for(identity(), settings.connect)

    try:
        with ThreadPoolExecutor(1) as pool:  # the caller may be a notebook, whose thread has a loop already
            answer = pool.submit(asyncio.run, in_time()).result()
    except (OSError, ImportError, ValueError, TypeError, RuntimeError, MemoryError, AssertionError) as error:
        # whatever listens there may be no scheduler, or one of another version or protocol
        raise LimitError(_no_answer(scheduler, error)) from error
    kind = answer.get("type") if isinstance(answer, dict) else None
    if kind != "Scheduler":
        raise LimitError(_no_answer(scheduler, f"what listens there is {kind or 'something else'}"))


@contextmanager
def _connected(kind: type[Client], scheduler: str, settings: DaskSettings) -> Iterator[Client]:
    """A client of the scheduler, which is left within a bounded time also where the scheduler is gone.

    Raises
    ------
    LimitError
        Code ``no-scheduler``.
    """
    with _quiet():
        try:
            # a scheduler that is lost later is looked for as long as this, too
            client = kind(scheduler, timeout=settings.connect, set_as_default=False)
        except (OSError, ImportError, ValueError, TypeError, RuntimeError) as error:
            raise LimitError(_no_answer(scheduler, error)) from error
        try:
            yield client
        except OSError as error:  # what Dask raises where a connection breaks or is waited for too long
            raise LimitError(_no_answer(scheduler, error)) from error
        finally:
            with suppress(OSError, RuntimeError):
                client.close(timeout=settings.leave)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of Dask's client, which prints a traceback of each try to reach a scheduler that is gone."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "asyncio")]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        gc.collect()  # tasks whose exceptions nobody asked for are told of when they are removed
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


# -- what is looked at before anything is submitted --------------------------------------------------


def _preflight(client: Client, scheduler: str, tasks: Sequence[Task], settings: DaskSettings) -> None:
    """Whether there are workers, and each can do the job.

    Raises
    ------
    LimitError
        Codes ``no-workers``, ``worker-unfit``.
    """
    try:
        client.wait_for_workers(1, timeout=settings.first_worker)
    except TimeoutError as error:
        raise LimitError(_no_workers(scheduler, settings)) from error
    paths = [str(task.model.path) for task in tasks[:: max(1, len(tasks) // settings.files)]]

    async def asked() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        # in the loop of the client, where the calls of Dask can be awaited
        versions = await client.get_versions()
        here, workers = versions["client"]["host"]["python"], versions["workers"]
        others = {address: told["host"]["python"] for address, told in workers.items()}
        same = [address for address, python in others.items() if _minor(python) == _minor(here)]
        # code cannot be sent to another Python
        answers = await client.run(_probe(), paths, workers=same, on_error="return") if same else {}
        return answers, {address: python for address, python in others.items() if address not in same}

    try:
        answers, others = client.sync(asked, callback_timeout=settings.answer)
    except TimeoutError as error:
        message = f"the workers of {scheduler} do not say what they have within {settings.answer:g} s; restart them"
        raise LimitError(Reason(_UNFIT, message)) from error
    lacking = {address: f"runs Python {_minor(python)}; {_SAME}" for address, python in others.items()}
    lacking |= {address: what for address, answer in answers.items() if (what := _lacks(answer))}
    together: dict[str, list[str]] = {}
    for address, what in sorted(lacking.items()):
        together.setdefault(what, []).append(address)
    if together:
        raise LimitError([_unfit_workers(names, what, settings) for what, names in together.items()])


def _unfit_workers(names: Sequence[str], what: str, settings: DaskSettings) -> Reason:
    """One sentence for all workers that lack the same."""
    if len(names) == 1:
        return Reason(_UNFIT, f"the Dask worker {names[0]} {what}", names[0])
    return Reason(_UNFIT, f"each of {len(names)} Dask workers ({some_names(names, settings.shown)}) {what}", names[0])


_SAME: Final = "workers need what is installed here"


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _no_workers(scheduler: str, settings: DaskSettings) -> Reason:
    message = (
        f"the Dask scheduler {scheduler} has had no worker for {settings.first_worker:g} s; start some with "
        f"'dask worker {scheduler}', and run the same command again"
    )
    return Reason("no-workers", message)


def _probe() -> Callable[[Sequence[str]], dict[str, Any]]:
    """What a worker runs to say what it has: sent as code, since the worker may have no sbmlump."""

    def probe(paths: Sequence[str]) -> dict[str, Any]:
        from importlib import import_module
        from pathlib import Path

        answer: dict[str, Any] = {
            "missing": [path for path in paths if not Path(path).is_file()],
            "versions": {},
            "error": None,
        }
        try:
            import_module("libsbml")  # a library may be installed and yet not load
            answer["versions"] = dict(import_module("sbmlump.survey.versions").library_versions())
        except (ImportError, OSError) as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        return answer

    return probe


def _lacks(answer: Any) -> str | None:
    """What a worker that answered so lacks; ``None`` for one that can do the job."""
    if isinstance(answer, BaseException):
        return f"cannot say what it has ({type(answer).__name__}: {answer}); {_SAME}"
    if answer["error"]:
        return f"cannot run sbmlump {__version__} ({answer['error']}); install it there"
    here, there = library_versions(), answer["versions"]
    different = [name for name in MUST_AGREE if here[name] != there.get(name)]
    if different == ["source"]:
        name = "commit" if "commit" in here and "commit" in there else "source"
        states = f"{name} {there.get(name, 'unknown')[:12]} there, {here[name][:12]} here"
        return f"has another state of sbmlump {__version__} ({states}); install the same there"
    told = [f"{name} {there.get(name)}, not {here[name]}" for name in different if name != "source"]
    if told:
        return f"has {'; '.join(told)}; install the same there"
    if answer["missing"]:
        more = f" and {len(answer['missing']) - 1} more" if len(answer["missing"]) > 1 else ""
        return f"does not see {answer['missing'][0]}{more}; {_SAME_PATH}"
    return None


_SAME_PATH: Final = "the store must be under the same path on every worker"


# -- models on their way -----------------------------------------------------------------------------


class _Cluster:
    """The models that are on their way, and what is known of the cluster meanwhile."""

    def __init__(self, client: Client, scheduler: str, tasks: Sequence[Task], settings: DaskSettings) -> None:
        self.client = client
        self.scheduler = scheduler
        self.settings = settings
        self.ended: queue.Queue[Future] = queue.Queue()
        self.running: dict[Future, Task] = {}
        self.tries = dict.fromkeys((task.model.file for task in tasks), 0)
        self.unfit: dict[str, set[str]] = {}  # of a file, the workers that read other bytes
        self.answered = self.peopled = time.monotonic()
        for task in tasks:
            self.submit(task)

    def submit(self, task: Task, workers: Sequence[str] | None = None) -> None:
        """Send a model to the cluster; larger ones are done first, so that none is left over at the end."""
        future = self.client.submit(
            _on_worker,
            task,
            __version__,
            source_digest(),
            pure=False,
            retries=self.settings.retries,
            priority=file_size(task.model),
            workers=workers,
        )
        self.running[future] = task
        future.add_done_callback(self.ended.put)

    def rows(self) -> Iterator[tuple[Row, ...]]:
        """Rows of each model as it gets done."""
        while self.running:
            try:
                future = self.ended.get(timeout=self.settings.look)
            except queue.Empty:
                self.look()
                continue
            task = self.running.pop(future)
            rows = self.rows_of(future, task)
            future.release()
            if rows is not None:
                yield rows

    def rows_of(self, future: Future, task: Task) -> tuple[Row, ...] | None:
        """What came of a model; ``None`` if it was sent once more."""
        from dask.distributed import CancelledError, KilledWorker

        if future.status == "finished":
            # the connection may break now, or the worker that holds the result go away
            with suppress(OSError, CancelledError):
                result = future.result(timeout=self.settings.answer)
                if isinstance(result, Reason):
                    raise LimitError(result)
                return None if self.sent_elsewhere(task, result[0]) else result
        # an exception is asked for only where there is one: that of a future that was cancelled is none of ours
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            raise _unfit(self.scheduler, error)
        if error is None and self.reconnected():
            self.submit(task)
            return None
        self.tries[task.model.file] += 1
        if self.tries[task.model.file] > self.settings.retries:
            return (_lost(task, error),)
        self.submit(task)
        return None

    def sent_elsewhere(self, task: Task, row: Row) -> bool:
        """Whether another worker is asked for a model of which one read other bytes than were listed."""
        if row.reason != _UNFIT:
            return False
        tried = self.unfit.setdefault(task.model.file, set())
        tried.add(str(row.element))
        others = sorted((self.workers() or set()) - tried)
        if others:
            self.submit(task, others)
        return bool(others)

    def workers(self) -> set[str] | None:
        """Addresses of the workers; ``None`` if the scheduler does not say."""

        async def asked() -> Mapping[str, Any]:
            told: Mapping[str, Any] = await self.client.scheduler.identity(n_workers=-1)
            return told

        try:
            return set(self.client.sync(asked, callback_timeout=self.settings.answer)["workers"])
        except (OSError, RuntimeError, AttributeError):  # there is no connection at this moment
            return None

    def look(self) -> None:
        """Whether the scheduler is there, and some worker.

        Raises
        ------
        LimitError
            Codes ``no-scheduler``, ``no-workers``.
        """
        workers, now = self.workers(), time.monotonic()
        if workers is not None:
            self.answered = now
        if workers or workers is None:
            self.peopled = now
        if self.client.status == "closed" or now - self.answered > self.settings.gone:
            raise LimitError(self.gone())
        if now - self.peopled > self.settings.first_worker:
            raise LimitError(_no_workers(self.scheduler, self.settings))

    def reconnected(self) -> bool:
        """Wait for the connection, where that may be why models were given up; whether it was.

        Raises
        ------
        LimitError
            Code ``no-scheduler``.
        """
        begin, lost = time.monotonic(), False
        while self.client.status != "running":
            lost = True
            if self.client.status == "closed" or time.monotonic() - begin > self.settings.gone:
                raise LimitError(self.gone())
            time.sleep(self.settings.look)
        return lost

    def gone(self) -> Reason:
        """What is said where the scheduler is lost."""
        message = (
            f"the Dask scheduler {self.scheduler} went away and did not come back; models that were done stay done: "
            "start it, and run the same command again"
        )
        return Reason("no-scheduler", message)


def _unfit(scheduler: str, error: BaseException) -> LimitError:
    fact = f"a worker of {scheduler} cannot run sbmlump {__version__} ({type(error).__name__}: {error})"
    return LimitError(Reason(_UNFIT, f"{fact}; install it there and run the same command again"))


def _on_worker(task: Task, version: str, source: str) -> tuple[Row, ...] | Reason:
    """Runs in a thread of a Dask worker: rows, or why this worker cannot make them."""
    place = f"the Dask worker on {socket.gethostname()}"
    if version != __version__:
        message = f"{place} has sbmlump {__version__}, not {version}; install {version} there"
        return Reason(_UNFIT, message)
    if source != source_digest():
        message = f"{place} has another state of sbmlump {__version__}; install the same there"
        return Reason(_UNFIT, message)
    if not task.model.path.is_file():
        return Reason(_UNFIT, f"{place} does not see {task.model.path}; {_SAME_PATH}")
    here = multiprocessing.current_process()
    if here.daemon:  # workers below a nanny are; such processes may not have children unless they say otherwise
        here.daemon = False
    prepare(PRELOAD)
    rows = run_task(task)
    if rows[0].reason != "file-changed":
        return rows
    message = f"{place} reads other bytes than were listed; {_SAME_PATH}, and stay as it is: {rows[0].message}"
    return (with_reasons(rows[0], [Reason(_UNFIT, message, _own_address())]),)


def _own_address() -> str:
    from dask.distributed import get_worker

    return str(get_worker().address)


def _lost(task: Task, error: BaseException | None) -> Row:
    cause = f"{type(error).__name__}: {error}" if error is not None else "cancelled"
    reason = Reason("worker-lost", f"its Dask workers were lost again and again ({cause[:300]}); survey it by itself")
    return with_reasons(replace(empty_row(task), outcome="failed"), [reason])
