"""One model of a survey, whatever happens to it: the job in a process with limits, and a row for everything asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from sbmlump.errors import Reason
from sbmlump.isolate import Ended, Limits, run_isolated
from sbmlump.survey.job import Begun, ModelRow, Pair, empty_row, survey_model, with_reasons
from sbmlump.survey.task import Row, Task

__all__ = ["Stopped", "run_task"]

_OUTCOMES: Final = {"time-limit": "out-of-budget", "out-of-memory": "out-of-budget"}
_MOST_DEATHS: Final = 20  # of processes of one model; after that the rest of its rows share the last reason


class Stopped(Exception):  # noqa: N818  not an error
    """The survey was told to stop before this model was done."""


class _Heard:
    """What the processes of one model have said so far."""

    def __init__(self) -> None:
        self.facts: ModelRow | None = None
        self.rows: dict[Pair, Row] = {}
        self.current: Pair | None = None

    def __call__(self, message: Any) -> None:
        if isinstance(message, ModelRow):
            self.facts = message
        elif isinstance(message, Begun):
            self.current = message.pair
        elif isinstance(message, Row):
            self.rows[message.observable, message.method] = message

    def forget_current(self) -> None:
        """A new process begins."""
        self.current = None

    def missing(self) -> list[Pair]:
        """Pairs that were promised and have no row yet."""
        return [] if self.facts is None else [pair for pair in self.facts.pairs if pair not in self.rows]


def run_task(
    task: Task, stop: threading.Event | None = None, job: Callable[..., Any] = survey_model
) -> tuple[Row, ...]:
    """Rows of one model, in the order in which they were asked for.

    A process that dies loses the row it was at, which says how it died; another process does the rest, within the
    time that is left.

    Parameters
    ----------
    task : Task
    stop : Event, optional
        When set, the model is given up.
    job : function
        What runs in the process; for tests.

    Raises
    ------
    Stopped
        If ``stop`` was set.
    """
    heard = _Heard()
    seconds, peak = 0.0, 0
    for deaths in range(_MOST_DEATHS):
        limits = Limits(max(task.settings.time_limit - seconds, 0.1), task.settings.memory_limit)
        heard.forget_current()
        ended = run_isolated(job, (task, frozenset(heard.rows)), limits, heard, stop)
        seconds, peak = seconds + ended.seconds, max(peak, ended.peak)
        if ended.how == "stopped":
            raise Stopped
        missing = heard.missing()
        if heard.facts is not None and not missing:
            break
        spent = seconds >= task.settings.time_limit
        one_only = ended.how not in ("time-limit", "finished") and not spent and deaths < _MOST_DEATHS - 1
        lost = [heard.current] if one_only and heard.current in missing else missing
        _fill(task, heard, lost, ended)
        if not heard.missing():
            break
    assert heard.facts is not None  # _fill makes some up where the process did not say any
    order = {pair: k for k, pair in enumerate(heard.facts.pairs)}
    rows = sorted(heard.rows.values(), key=lambda row: order[row.observable, row.method])
    return tuple(replace(row, seconds_model=seconds, peak_memory_mb=peak / 2**20) for row in rows)


def _fill(task: Task, heard: _Heard, lost: list[Pair], ended: Ended) -> None:
    """Rows for what a process that ended badly did not tell."""
    reason = ended.reason if ended.how != "finished" else Reason("fault", "the process told fewer rows than it said")
    if ended.how == "time-limit":  # the process may have been given what other processes had left over
        limit = task.settings.time_limit
        reason = Reason(ended.how, f"not done after {limit:g} s; a larger time limit may help")
    if heard.facts is None:
        empty = empty_row(task)
        heard.facts = ModelRow(empty, ((None, empty.method),))
        lost = [(None, empty.method)]
    outcome = _OUTCOMES.get(reason.code, "failed")
    for observable, method in lost:
        row = replace(heard.facts.base, observable=observable, method=method, outcome=outcome)
        heard.rows[observable, method] = with_reasons(row, [reason])
