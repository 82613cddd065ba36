"""A job in a process of its own, with limits: crashes, hangs and exhausted memory become values.

libSBML, libRoadRunner and the solvers are C++ that segfaults, hangs and eats memory on bad input. A job runs in a
child forked from a server that has the heavy modules loaded (8 ms, against 650 ms for a fresh interpreter); what it
sends arrives message by message, so that nothing it finished is lost when it dies.

The job is a function that can be imported by name; it is called as ``job(*args, emit)`` and may call ``emit(value)``
any number of times.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess, ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from sbmlump.errors import Reason

__all__ = ["Ended", "EndedHow", "Limits", "prepare", "run_isolated", "silent_output"]

EndedHow = Literal["finished", "time-limit", "out-of-memory", "crashed", "fault", "stopped"]
Emit = Callable[[Any], None]
Child = ForkProcess | ForkServerProcess
_POLL: Final = 0.05  # seconds between looks at the memory of a child
_STARTUP: Final = 120.0  # seconds that the server has to load its modules
_LEAVE: Final = 0.2  # seconds a child has to leave by itself once nobody listens to it any more
_GRACE: Final = 10.0  # seconds the system has to remove a killed process
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# multiprocessing looks at all children when it starts one; two threads that do so at once lose exit codes
_CHILDREN: Final = threading.Lock()
_OUTPUT: Final = threading.RLock()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may use.

    Attributes
    ----------
    seconds : float or None
        Wall time; the same number of CPU seconds is enforced by the kernel.
    memory : int or None
        Bytes of resident memory of the child.
    """

    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    Attributes
    ----------
    how : str
        ``finished``; ``time-limit``, ``out-of-memory``, ``crashed`` (a signal or an exit of the process), ``fault``
        (a Python exception), ``stopped`` (by the caller).
    value : object
        What the job returned, where it finished.
    message : str
        One sentence, empty where it finished.
    seconds : float
        Wall time of the child.
    peak : int
        Largest resident memory that was seen, in bytes.
    """

    how: EndedHow
    value: Any = None
    message: str = ""
    seconds: float = 0.0
    peak: int = 0

    @property
    def reason(self) -> Reason:
        """The end as a reason, for jobs that did not finish."""
        return Reason(self.how, self.message)


def prepare(modules: Sequence[str]) -> None:
    """Name the modules that the server loads once, before the first job of this process runs.

    The server is started with one thread for linear algebra: jobs run side by side already.
    """
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    _context().set_forkserver_preload(list(modules))


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Let no child run the main script again: it need not be guarded for that, and jobs never live in it.

    multiprocessing tells each child to import the main module of its parent, whatever it is: a console script, a
    user's own file that reduces a model on its top level.
    """
    main = sys.modules.get("__main__")
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        if main is not None:
            sys.modules["__main__"] = main


def _context() -> ForkServerContext:
    return get_context("forkserver")


def _forked() -> ForkContext | ForkServerContext:
    """Children that are copies of this process, where the system makes such copies safely; else those of the server."""
    return get_context("fork") if sys.platform == "linux" else _context()


def run_isolated(
    job: Callable[..., Any],
    args: Sequence[Any] = (),
    limits: Limits = Limits(),
    on_message: Emit = lambda _: None,
    stop: threading.Event | None = None,
    *,
    copied: bool = False,
) -> Ended:
    """Run ``job(*args, emit)`` in a child process and wait for its end. May be called from several threads.

    Parameters
    ----------
    job : function
        At the top level of an importable module.
    args : sequence
        Pickled for the child.
    limits : Limits
    on_message : function
        Called in this process with every value that the job emits, in order.
    stop : Event, optional
        When set, the child is killed.
    copied : bool
        Make the child a copy of this process, which has loaded what the job needs (10 ms instead of the half second
        that the server takes once); for commands, which have no threads that hold locks at that moment.
    """
    context = _forked() if copied else _context()
    mine, theirs = context.Pipe(duplex=False)
    # not a daemon, which could start no process itself; none is left behind, each is reaped here
    process = context.Process(target=_child, args=(job, tuple(args), theirs, limits), daemon=False)
    try:
        with _CHILDREN, _no_main_module():
            process.start()
        theirs.close()
        return _follow(process, mine, limits, on_message, stop)
    finally:
        mine.close()
        _reap(process)


def _follow(
    process: Child,
    connection: Connection,
    limits: Limits,
    on_message: Emit,
    stop: threading.Event | None,
) -> Ended:
    """Read what the child says until it ends or has to be ended."""
    peak = 0
    # the first child waits for the server to load its modules: that time is not the job's
    begin, allowed = time.monotonic(), None if limits.seconds is None else limits.seconds + _STARTUP
    while True:
        ready = wait([connection], timeout=_POLL)
        resident = _resident(process.pid)
        peak = max(peak, resident)
        seconds = time.monotonic() - begin
        if ready:
            try:
                kind, value, used = connection.recv()
            except (EOFError, OSError):
                return _died(process, limits, time.monotonic() - begin, peak)
            peak = max(peak, used)
            if kind == "started":
                begin, allowed, seconds = time.monotonic(), limits.seconds, 0.0
            elif kind == "message":
                on_message(value)
            elif kind == "value":
                return Ended("finished", value, "", seconds, peak)
            else:
                return Ended("out-of-memory" if kind == "memory" else "fault", None, value, seconds, peak)
        if stop is not None and stop.is_set():
            return Ended("stopped", None, "stopped", seconds, peak)
        if allowed is not None and seconds > allowed:
            message = f"not done after {limits.seconds:g} s of wall time; a larger time limit may help"
            return Ended("time-limit", None, message, seconds, peak)
        if limits.memory is not None and resident > limits.memory:
            return Ended("out-of-memory", None, _memory_message(limits), seconds, peak)


def _memory_message(limits: Limits) -> str:
    allowed = "" if limits.memory is None else f" than the {limits.memory / 2**20:.0f} MB allowed"
    return f"needs more memory{allowed}; a larger memory limit may help"


def _died(process: Child, limits: Limits, seconds: float, peak: int) -> Ended:
    """The child closed its end without a last word."""
    code = _reap(process)
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        if -code == signal.SIGXCPU:
            message = f"not done after {limits.seconds:g} s of CPU time; a larger time limit may help"
            return Ended("time-limit", None, message, seconds, peak)
        if -code == signal.SIGKILL:
            message = "killed by the system, most likely because the machine ran out of memory"
            return Ended("out-of-memory", None, message, seconds, peak)
        return Ended("crashed", None, f"the process died by {name}", seconds, peak)
    return Ended("crashed", None, f"the process ended without an answer (exit code {code})", seconds, peak)


def _reap(process: Child) -> int | None:
    """Give the child a moment to leave, else kill it; its exit code."""
    if process.pid is None:
        return None
    with _CHILDREN:
        if process.exitcode is not None:
            return process.exitcode
    if not wait([process.sentinel], timeout=_LEAVE):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        wait([process.sentinel], timeout=_GRACE)
    with _CHILDREN:
        process.join(timeout=_GRACE)
        return process.exitcode


def _resident(pid: int | None) -> int:
    """Resident memory of a process in bytes; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    except OSError:
        return 0
    return int(fields[1]) * resource.getpagesize() if len(fields) > 1 else 0


# -- in the child ------------------------------------------------------------------------------------


def _child(job: Callable[..., Any], args: tuple[Any, ...], connection: Connection, limits: Limits) -> None:
    if _CHILDREN.locked():  # a copy of a process that was just starting one
        _CHILDREN.release()
    _settle(limits)

    def say(kind: str, value: Any) -> None:
        connection.send((kind, value, _peak()))

    try:
        say("started", None)
        value = job(*args, lambda message: say("message", message))
        say("value", value)
    except MemoryError:
        say("memory", _memory_message(limits))
    except BaseException as error:  # noqa: BLE001  told to the parent as a fault of the job, with its place
        say("fault", _described(error))
    connection.close()
    # destructors of foreign libraries have crashed on the way out: everything has been said
    os._exit(0)


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {str(error)[:500]}"


def _settle(limits: Limits) -> None:
    """Limits, silence, and death together with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(limits.seconds + used.ru_utime + used.ru_stime) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))
    if limits.memory is not None:
        most = limits.memory + _allocated()
        kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
        with suppress(ValueError, OSError):  # a lower limit is in force already, or the system has none
            resource.setrlimit(kind, (most, most))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # foreign libraries print to standard output, which belongs to the command's answer
    os.dup2(silent, 2)
    # a copy of a process could wait for ever for the lock of a stream that another thread was writing to
    sys.stdout = sys.stderr = os.fdopen(silent, "w", encoding="utf-8")


@contextmanager
def silent_output() -> Iterator[None]:
    """Nothing that foreign libraries print in here reaches standard output, which belongs to the command's answer.

    They write to the file descriptor and not to ``sys.stdout``, so that is what is turned aside; what Python has
    written before is put out first. Calls in several threads at once would turn it back too early: one at a time.
    """
    with _OUTPUT:
        try:
            kept = os.dup(1)
        except OSError:  # there is no standard output that could be written to
            yield
            return
        if sys.stdout is not None:
            sys.stdout.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 1)
            yield
        finally:
            ctypes.CDLL(None).fflush(None)  # the C library holds back what was printed
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


def _leave_with_parent() -> None:
    """End when the process that asked for the job is gone; foreign code that never lets go ends by its CPU limit."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


def _allocated() -> int:
    """Bytes of data that the server had allocated before the fork."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)


def _peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
