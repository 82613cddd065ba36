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
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

from sbmlump.errors import Reason
from sbmlump.files import OutputError, own_folder, temporary_folder

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext  # not all exist on Windows
    from multiprocessing.process import BaseProcess

__all__ = [
    "MOST_MEGABYTES",
    "MOST_SECONDS",
    "Ended",
    "EndedHow",
    "Limits",
    "WatchSettings",
    "prepare",
    "run_isolated",
    "silent_output",
]

EndedHow = Literal["finished", "time-limit", "out-of-memory", "crashed", "fault", "stopped"]
Emit = Callable[[Any], None]
MOST_SECONDS: Final = 1e7
"""Largest time limit: four months. Kernels take seconds as whole numbers of a machine word, and `wait` milliseconds."""
MOST_MEGABYTES: Final = 2**30
"""Largest memory limit: 2^50 bytes, which is more than any machine has and less than kernels count."""
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# multiprocessing looks at all children when it starts one; two threads that do so at once lose exit codes
_CHILDREN: Final = threading.Lock()
_OUTPUT: Final = threading.RLock()
_PR_SET_PDEATHSIG: Final = 1  # of linux/prctl.h
_LONGEST_FOLDER: Final = 60
"""Bytes of the path of a folder in which sockets are made: their whole path has at most 104 (macOS; 108 on Linux), and
multiprocessing adds two names of 15 and 18."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How long a child is waited for, in seconds.

    Attributes
    ----------
    poll : float
        Between looks at the memory of a child, which grows beyond its limit for no longer than that.
    startup : float
        That the server has to load its modules, once; a second on an idle machine.
    leave : float
        For a child to leave by itself once nobody listens to it any more.
    grace : float
        For the system to remove a killed process.
    """

    poll: float = 0.05
    startup: float = 120.0
    leave: float = 0.2
    grace: float = 10.0


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
    from multiprocessing import get_all_start_methods, get_context

    for name in _THREADS:
        os.environ.setdefault(name, "1")
    if "forkserver" in get_all_start_methods():
        get_context("forkserver").set_forkserver_preload(list(modules))


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


def _context() -> ForkServerContext | SpawnContext:
    """Children of a server that has loaded the modules; fresh interpreters where the system has no such (Windows)."""
    from multiprocessing import get_all_start_methods, get_context

    return get_context("forkserver") if "forkserver" in get_all_start_methods() else get_context("spawn")


@contextmanager
def _short_folder() -> Iterator[None]:
    """Let multiprocessing make its folder in ours, or in a place whose path is short enough for sockets.

    Raises
    ------
    OutputError
        Code ``no-temporary-folder``.
    """
    before = tempfile.tempdir
    folder = own_folder()
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        places = (Path(os.sep, name) for name in ("tmp", "var/tmp", "dev/shm"))
        place = next((path for path in places if os.access(path, os.W_OK | os.X_OK)), None)
        if place is None:
            message = f"the path of the folder for temporary files, {folder}, is too long; set TMPDIR to a shorter one"
            raise OutputError(Reason("no-temporary-folder", message))
        folder = own_folder(place)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep an interrupt from the keyboard from the server, which is started in here; it reaches this process after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # it would be started in here otherwise, and unblocks the signal when it is
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forked() -> ForkContext | ForkServerContext | SpawnContext:
    """Children that are copies of this process, where the system makes such copies safely; else those of the server."""
    from multiprocessing import get_context

    return get_context("fork") if sys.platform == "linux" else _context()


def run_isolated(
    job: Callable[..., Any],
    args: Sequence[Any] = (),
    limits: Limits = Limits(),
    on_message: Emit = lambda _: None,
    stop: threading.Event | None = None,
    *,
    copied: bool = False,
    watch: WatchSettings = WatchSettings(),
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
    watch : WatchSettings

    Raises
    ------
    OutputError
        If there is no place for temporary files.
    """
    context = _forked() if copied else _context()
    with temporary_folder() as folder:
        mine, theirs = context.Pipe(duplex=False)
        # not a daemon, which could start no process itself; none is left behind, each is reaped here
        process = context.Process(target=_child, args=(job, tuple(args), theirs, limits, folder), daemon=False)
        try:
            with _CHILDREN, _no_main_module(), _short_folder(), _uninterrupted():
                process.start()
            theirs.close()
            return _follow(process, mine, limits, on_message, stop, watch)
        finally:
            mine.close()
            _reap(process, watch)


def _follow(
    process: BaseProcess,
    connection: Connection,
    limits: Limits,
    on_message: Emit,
    stop: threading.Event | None,
    watch: WatchSettings,
) -> Ended:
    """Read what the child says until it ends or has to be ended."""
    from multiprocessing.connection import wait

    peak = 0
    # the first child waits for the server to load its modules: that time is not the job's
    begin, allowed = time.monotonic(), None if limits.seconds is None else limits.seconds + watch.startup
    while True:
        ready = wait([connection], timeout=watch.poll)
        resident = _resident(process.pid)
        peak = max(peak, resident)
        seconds = time.monotonic() - begin
        if ready:
            try:
                kind, value, used = connection.recv()
            except (EOFError, OSError):
                return _died(process, limits, time.monotonic() - begin, peak, watch)
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


def _died(process: BaseProcess, limits: Limits, seconds: float, peak: int, watch: WatchSettings) -> Ended:
    """The child closed its end without a last word."""
    code = _reap(process, watch)
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


def _reap(process: BaseProcess, watch: WatchSettings) -> int | None:
    """Give the child a moment to leave, else kill it; its exit code."""
    from multiprocessing.connection import wait

    if process.pid is None:
        return None
    with _CHILDREN:
        if process.exitcode is not None:
            return process.exitcode
    if not wait([process.sentinel], timeout=watch.leave):
        process.kill()
        wait([process.sentinel], timeout=watch.grace)
    with _CHILDREN:
        process.join(timeout=watch.grace)
        return process.exitcode


def _resident(pid: int | None) -> int:
    """Resident memory of a process in bytes; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0


# -- in the child ------------------------------------------------------------------------------------


def _child(
    job: Callable[..., Any], args: tuple[Any, ...], connection: Connection, limits: Limits, folder: Path
) -> None:
    # the parent removes it, whatever becomes of this process
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
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
    except BaseException as error:  # noqa: BLE001  reported to the parent as an internal error of the job, with its place
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
    _die_with_parent()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _limit(limits)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # foreign libraries print to standard output, which belongs to the command's answer
    os.dup2(silent, 2)
    # a copy of a process could wait for ever for the lock of a stream that another thread was writing to
    sys.stdout = sys.stderr = os.fdopen(silent, "w", encoding="utf-8")


def _limit(limits: Limits) -> None:
    """Let the kernel hold the limits, too, where it can (POSIX); the parent does in any case."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(limits.seconds + used.ru_utime + used.ru_stime) + 1
        # a child of a child has what is left of its parent's limit at most
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        most = seconds + 2 if hard == resource.RLIM_INFINITY else min(seconds + 2, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (min(seconds, most), most))
    if limits.memory is not None:
        most = limits.memory + _allocated()
        kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
        with suppress(ValueError, OSError):  # a lower limit is in force already, or the system has none
            resource.setrlimit(kind, (most, most))


@contextmanager
def silent_output() -> Iterator[None]:
    """Nothing that foreign libraries print in here reaches standard output, which belongs to the command's answer.

    They write to the file descriptor and not to ``sys.stdout``, so that is what is turned aside; what Python has
    written before is put out first. Calls in several threads at once would turn it back too early: one at a time.
    """
    with _OUTPUT:
        try:
            output = os.dup(1)
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
            library = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("ucrtbase")
            library.fflush(None)  # the C library holds back what was printed
            os.dup2(output, 1)
            os.close(output)
            os.close(nowhere)


def _die_with_parent() -> None:
    """Let the kernel kill this process when the one that it was forked from is gone, where it can (Linux).

    That is the server, for its children. It leaves when nobody holds the other end of its pipe any more; each child is
    given a copy of that end, for children of its own, and would so keep the server, and itself, alive.

    libRoadRunner keeps the interpreter's lock while it integrates: no thread of Python's could end the process then,
    which would go on for hours with nobody to listen, and with it the server, the tracker and the command's output.
    """
    if os.name == "posix":
        from multiprocessing import forkserver

        server: Any = forkserver._forkserver  # there is no public way to it
        held = getattr(server, "_forkserver_alive_fd", None)
        if held is not None:
            os.close(held)
            server._forkserver_alive_fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_with_parent() -> None:
    """End when the process that asked for the job is gone.

    Where the kernel does not see to it, foreign code that never lets go ends by its CPU limit.
    """
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _allocated() -> int:
    """Bytes of data that the server had allocated before the fork."""
    return _status_of_memory("VmData:")


def _status_of_memory(entry: str) -> int:
    """Bytes that Linux tells of this process; 0 where there is no such system."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(entry)), 0)


def _peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    # Linux keeps the peak of getrusage over exec: there it includes that of the process which started this one
    known = _status_of_memory("VmHWM:")
    if known:
        return known
    try:
        import resource
    except ImportError:
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
