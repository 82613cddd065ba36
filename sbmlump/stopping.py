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
from dataclasses import dataclass
from types import FrameType
from typing import Final

from sbmlump.errors import Reason

__all__ = ["AnswerSettings", "Stop", "set_up_done", "stop_request", "stoppable"]


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How much of a time limit that ends the process a search may take; the rest is for its answer.

    An answer is measured on runs that were not used, or is the exact lumping, which is proved, and is written: about as
    much work as reading the model and simulating it for the search were.

    Attributes
    ----------
    before : float
        Share after which to stop as long as it is not known how long reading and simulating take.
    after : float
        Share after which to stop where that takes no time.
    again : float
        How many times what that has taken is kept for the answer: it took 0.2 to 1.1 times as long for four published
        models with 58 to 464 states.
    """

    before: float = 0.5
    after: float = 0.9
    again: float = 1.0


class Stop:
    """When to stop, and why.

    Parameters
    ----------
    seconds : float or None
        The limit.
    clock : callable
        Gives seconds.
    answer : AnswerSettings, optional
        How much of the limit is kept for the answer, where the process ends with the limit.
    begun : float, optional
        When the limit began on the clock; now by default.
    """

    def __init__(
        self,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        answer: AnswerSettings | None = None,
        begun: float | None = None,
    ) -> None:
        self._seconds, self._clock, self._answer = seconds, clock, answer
        self._begun = clock() if begun is None else begun
        share = 1.0 if answer is None else answer.before
        self._end = None if seconds is None else self._begun + share * seconds
        self.interrupted = False

    def set_up_done(self) -> None:
        """What a search starts from is there: the answer will take about as long."""
        if self._answer is None or self._seconds is None or self._end is None:
            return
        spent = self._clock() - self._begun
        self._end = max(self._end, self._begun + self._answer.after * self._seconds - self._answer.again * spent)

    @property
    def reason(self) -> Reason | None:
        """Why to stop now; ``None`` to go on."""
        if self.interrupted:
            return Reason("interrupted", "the work was interrupted; this is what had been found until then")
        if self._end is None or self._clock() < self._end:
            return None
        reached = f"the time limit of {self._seconds:g} s was reached"
        if self._answer is not None:
            spent = self._end - self._begun
            reached = f"the search was ended after {spent:.3g} of the {self._seconds:g} s, in time for its answer"
        message = f"{reached}; this is what had been found until then"
        return Reason("time-limit", f"{message} (a larger --time-limit may find more)")


_STOP: Final[ContextVar[Stop | None]] = ContextVar("STOP", default=None)


def stop_request() -> Reason | None:
    """Why the work that is being done is to stop; ``None`` to go on."""
    stop = _STOP.get()
    return None if stop is None else stop.reason


def set_up_done() -> None:
    """Tell that what a search starts from is there: from now on it is known how long its answer will take."""
    stop = _STOP.get()
    if stop is not None:
        stop.set_up_done()


@contextmanager
def stoppable(
    seconds: float | None,
    told: Callable[[str], None],
    *,
    answer: AnswerSettings | None = None,
    begun: float | None = None,
) -> Iterator[Stop]:
    """Work that stops after some seconds, or at the first Ctrl-C; the second one interrupts it wherever it is.

    Parameters
    ----------
    seconds : float or None
    told : callable
        Takes what is said at the first Ctrl-C.
    answer, begun
        As of :class:`Stop`.
    """
    stop = Stop(seconds, answer=answer, begun=begun)
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
