"""A request to stop that long work listens to: what it has found until then is kept.

A limit of :mod:`sbmlump.isolate` ends a process and all that it had. Here the search itself looks, at each piece of
work that it counts, whether it has been asked to end: after so many seconds, or by Ctrl-C.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Final

from sbmlump.errors import Reason

__all__ = ["Stop", "stop_request", "stoppable"]


class Stop:
    """When to stop, and why.

    Parameters
    ----------
    seconds : float or None
        From now on.
    clock : callable
        Gives seconds.
    """

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._end = None if seconds is None else clock() + seconds
        self.interrupted = False

    @property
    def reason(self) -> Reason | None:
        """Why to stop now; ``None`` to go on."""
        if self.interrupted:
            return Reason("interrupted", "the work was interrupted; this is what had been found until then")
        if self._end is None or self._clock() < self._end:
            return None
        message = f"the time limit of {self._seconds:g} s was reached; this is what had been found until then"
        return Reason("time-limit", f"{message} (a larger --time-limit may find more)")


_STOP: Final[ContextVar[Stop | None]] = ContextVar("STOP", default=None)


def stop_request() -> Reason | None:
    """Why the work that is being done is to stop; ``None`` to go on."""
    stop = _STOP.get()
    return None if stop is None else stop.reason


@contextmanager
def stoppable(seconds: float | None, told: Callable[[str], None]) -> Iterator[Stop]:
    """Work that stops after some seconds, or at the first Ctrl-C; the second one interrupts it wherever it is.

    Parameters
    ----------
    seconds : float or None
    told : callable
        Takes what is said at the first Ctrl-C.
    """
    stop = Stop(seconds)
    token = _STOP.set(stop)
    here = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if here else None

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        if stop.interrupted or not callable(before):
            raise KeyboardInterrupt
        stop.interrupted = True
        told("stopping with what there is; press Ctrl-C again to end at once")

    # a caller that ignores interrupts, or handles them itself, goes on doing so
    mine = here and before is signal.default_int_handler
    if mine:
        signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        _STOP.reset(token)
        if mine:
            signal.signal(signal.SIGINT, before)
