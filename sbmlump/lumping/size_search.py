"""The search for the smallest size that is accurate enough, or the most accurate one up to a size.

What it looks at are *proposals*: reductions with their worst errors on the runs they were made from. Only measuring one
(writing it and following the validation runs) says whether it is good enough. Neither error is monotone in the size.
All work is counted; when what is allowed is used up, the search ends with the best that was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from sbmlump.integrate.work import WorkLimitError
from sbmlump.lumping.balanced import Affine

__all__ = [
    "MOST_TRIED",
    "SizeSearch",
    "Measured",
    "Proposal",
    "Proposer",
    "best_up_to",
    "first_within",
    "smallest_within",
]

Proposal = tuple[Affine, float]
"""A reduction and its worst training error."""
MOST_TRIED: Final = 3
_WORTH_A_LOOK: Final = 3.0  # times the wanted error over the training runs
_FAILURES_IN_TURN: Final = 2  # the error is not monotone in the size: so many sizes in turn may fail
_NEAR: Final = 10.0  # times the wanted error: refinement may bring it there
_ONE_BY_ONE: Final = 6
_GAP: Final = 8  # sizes between two that were tried: more are halved, not gone through
_ENOUGH: Final = 2  # sizes below the largest one that thorough refinement looks at


class Measured(Protocol):
    """A reduction that was written and measured on runs it was not made from."""

    @property
    def worst(self) -> float:
        """Worst error there."""
        ...


M = TypeVar("M", bound=Measured)
M_co = TypeVar("M_co", bound=Measured, covariant=True)


class Proposer(Protocol[M_co]):
    """What the search asks of a model."""

    def proposals(self, size: int) -> Iterator[Proposal]:
        """Reductions of one size as the algorithm makes them, the best first."""
        ...

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        """Refined ones, the best first."""
        ...

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        """Refined from more runs, where refinement from the usual ones reached the training error ``near``."""
        ...

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        """Refined from more runs, more starts, to the end."""
        ...

    def measured(self, one: Affine, training_worst: float) -> M_co:
        """Write and measure one."""
        ...


@dataclass(frozen=True)
class SizeSearch(Generic[M]):
    """How a search ended.

    Attributes
    ----------
    best : M or None
        What was found, or what came closest.
    accepted : bool
        Whether it is what was asked for.
    used_up : bool
        Whether the search ended because the work that was allowed was used up.
    """

    best: M | None
    accepted: bool
    used_up: bool = False


class _Pick(Generic[M]):
    """The last proposal that was accurate enough on the validation runs, else the best of the others."""

    def __init__(self, proposer: Proposer[M], wanted: float) -> None:
        self.wanted = wanted
        self.best: M | None = None
        self.accepted = False
        self.seen: dict[int, float] = {}
        self._proposer = proposer
        self._spare: Proposal | None = None  # the best by the training runs, for when none was measured

    def accepts(self, proposals: Iterable[Proposal], size: int | None = None) -> bool:
        """Whether one of the proposals, which come the best first, is accurate enough: it becomes the best.

        The training error of the first one is remembered where the size is given.
        """
        for count, (one, worst) in enumerate(proposals):
            if size is not None:
                self.seen.setdefault(size, worst)
            if self._spare is None or worst < self._spare[1]:
                self._spare = (one, worst)  # before it is measured: the work may end there
            if worst > _WORTH_A_LOOK * self.wanted:
                return False
            tried = self._proposer.measured(one, worst)
            if tried.worst <= self.wanted:
                self.best, self.accepted = tried, True
                return True
            if self.best is None or tried.worst < self.best.worst:
                self.best = tried
            if count + 1 >= MOST_TRIED or worst > self.wanted:
                return False
        return False

    def better(self, proposals: Iterable[Proposal]) -> None:
        """Take the first proposal instead of the accepted one if it is more accurate."""
        one = next(iter(proposals), None)
        if one is None or self.best is None:
            return
        tried = self._proposer.measured(*one)
        if tried.worst < self.best.worst:
            self.best = tried

    def found(self, proposer: Proposer[M], used_up: bool) -> SizeSearch[M]:
        """How it ended; ``proposer`` measures what was never measured."""
        if self.best is None and self._spare is not None:
            self.best = proposer.measured(*self._spare)
        return SizeSearch(self.best, self.accepted, used_up)


def first_within(proposer: Proposer[M], last: Proposer[M], wanted: float, least: int, most: int) -> SizeSearch[M]:
    """The first size from below that is accurate enough, every size tried in turn.

    Parameters
    ----------
    proposer : Proposer
        Its work is limited.
    last : Proposer
        The same one with enough work left to measure a single reduction, for the best of those that were not measured.
    wanted : float
        Largest error on the validation runs.
    least, most : int
        Sizes.
    """
    pick = _Pick(proposer, wanted)
    used_up = False
    try:
        for size in range(least, most + 1):
            if pick.accepts(proposer.proposals(size)):
                break
    except WorkLimitError:
        used_up = True
    return pick.found(last, used_up)


def smallest_within(
    proposer: Proposer[M],
    last: Proposer[M],
    wanted: float,
    least: int,
    most: int,
    refine: Callable[[], Proposer[M]] | None = None,
) -> SizeSearch[M]:
    """The smallest size that is accurate enough, with refinement where the algorithm alone comes near.

    First by the algorithm alone; then refined at the smaller sizes that come near; then refined downwards, size by
    size, until two in turn fail.

    Parameters
    ----------
    proposer, last, wanted, least, most
        As in :func:`first_within`.
    refine : callable, optional
        Gives the same one with more work, for thorough refinement: that begins where the search would end, so that it
        cannot do worse.
    """
    search = _Descent(_Pick(proposer, wanted), proposer, least, most)
    used_up = False
    try:
        search.run()
    except WorkLimitError:
        used_up = True
    if refine is not None:
        try:
            search.go_on(refine())
        except WorkLimitError:
            used_up = True
    return search.pick.found(last, used_up)


class _Descent(Generic[M]):
    def __init__(self, pick: _Pick[M], proposer: Proposer[M], least: int, most: int) -> None:
        self.pick = pick
        self._proposer = proposer
        self._least, self._most = least, most
        self._size: int | None = None  # the smallest one that was accepted

    def run(self) -> None:
        """Without thorough refinement."""
        self._plain()
        self._downwards(self._refines)

    def go_on(self, proposer: Proposer[M]) -> None:
        """Thorough refinement at the sizes below what was found; at that size itself, for its accuracy."""
        self._proposer = self.pick._proposer = proposer
        before = self._size
        self._downwards(lambda size: self._tried(size, proposer.thorough(size, self.pick.wanted)))
        if before is not None and self._size == before:
            self.pick.better(proposer.thorough(before))

    def _tried(self, size: int, proposals: Iterable[Proposal], remembered: bool = False) -> bool:
        if not self.pick.accepts(proposals, size if remembered else None):
            return False
        self._size = size if self._size is None else min(size, self._size)
        return True

    def _plain(self) -> None:
        """The algorithm alone: sizes one by one, later in doubling steps whose last gap is filled."""
        below = self._least - 1
        for size in sizes(self._least, self._most):
            if self._tried(size, self._proposer.proposals(size), True):
                self._fill(below, size)
                return
            below = size

    def _fill(self, below: int, above: int) -> None:
        """Sizes between one that failed and one that was accepted: halved while there are many, then one by one."""
        while above - below - 1 > _GAP:
            middle = (below + above) // 2
            if self._tried(middle, self._proposer.proposals(middle), True):
                above = middle
            else:
                below = middle
        for size in range(below + 1, above):
            if self._tried(size, self._proposer.proposals(size), True):
                return

    def _downwards(self, attempt: _Attempt) -> None:
        """Sizes that came near, from below; then from what was found downwards, until two in turn fail."""
        pick = self.pick
        top = self._most + 1 if self._size is None else self._size
        failed: set[int] = set()
        for size in [size for size, worst in sorted(pick.seen.items()) if size < top and worst <= _NEAR * pick.wanted]:
            if attempt(size):
                break
            failed.add(size)
        failures = 0
        start = self._most if self._size is None else self._size - 1
        for size in range(start, self._least - 1, -1):
            if size not in failed and attempt(size):
                failures = 0
                continue
            failures += 1
            if failures >= _FAILURES_IN_TURN:
                break

    def _refines(self, size: int) -> bool:
        """Whether refinement reaches the wanted error; from more runs where it only does on those it learnt from."""
        improved = self._proposer.improved(size, self.pick.wanted)
        if self._tried(size, improved):
            return True
        if not improved:
            return False
        again = self._proposer.relearned(size, self.pick.wanted, improved[0][1])
        return any(self._tried(size, [one]) for one in again)


class _Attempt(Protocol):
    def __call__(self, size: int, /) -> bool: ...


def sizes(least: int, most: int) -> list[int]:
    """The first sizes one by one, then in doubling steps, ``most`` in any case."""
    found = list(range(least, min(least + _ONE_BY_ONE, most + 1)))
    step = 2
    while found and found[-1] < most:
        found.append(min(found[-1] + step, most))
        step *= 2
    return found


def best_up_to(
    proposer: Proposer[M],
    last: Proposer[M],
    least: int,
    most: int,
    *,
    every_size: bool = True,
    polish: bool = True,
    refine: Callable[[], Proposer[M]] | None = None,
) -> SizeSearch[M]:
    """The most accurate reduction with at most ``most`` states, by the training runs.

    Parameters
    ----------
    proposer, last, least, most
        As in :func:`first_within`.
    every_size : bool
        Look at smaller sizes than ``most`` too.
    polish : bool
        Refine at the size ``most``.
    refine : callable, optional
        Gives the same one with more work, to refine thoroughly at the largest sizes; what comes of it is taken if it
        is the more accurate one on the validation runs.
    """
    used_up = False
    best: list[Proposal] = []
    try:
        for size in range(most, least - 1, -1) if every_size else (most,):
            extra = proposer.improved(size) if polish and size == most else []
            for one in [*extra, *_first(proposer.proposals(size))]:
                best = [one] if not best or one[1] < best[0][1] else best
    except WorkLimitError:
        used_up = True
    found = last.measured(*best[0]) if best else None
    if refine is not None:
        thorough = refine()
        try:
            for size in range(most, max(least, most - _ENOUGH) - 1, -1):
                for one in _first(thorough.thorough(size)):
                    tried = thorough.measured(*one)
                    found = tried if found is None or tried.worst < found.worst else found
        except WorkLimitError:
            used_up = True
    return SizeSearch(found, found is not None, used_up)


def _first(proposals: Iterable[Proposal]) -> list[Proposal]:
    one = next(iter(proposals), None)
    return [] if one is None else [one]
