"""Which of some fast quantities to take: those that leave the error small, within a limited amount of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from sbmlump.classic.measure import Measurement, ReferenceEnsemble, error_estimate, estimate_of, measure
from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.integrate.work import Meter, WorkLimitError
from sbmlump.reduced import ErrorEstimate, ReducedSystem

__all__ = ["Proposal", "best_choice"]

Fast = TypeVar("Fast")
_SMALL_ERROR: Final = 0.05
_USELESS: Final = 0.5
_MOST_TRIED: Final = 24
_ROUGH: Final = 1e-4  # tolerance of a measurement that only has to tell small errors from large ones
_WORK: Final = 30.0  # units that the choice may take, and as many the measurement of what was chosen


@dataclass(frozen=True, slots=True)
class Proposal(Generic[Fast]):
    """Fast quantities that a method proposes, and what it makes of them.

    Attributes
    ----------
    method : str
    candidates : tuple
        Fastest first.
    reduce : callable
        The reduction for some of them, not yet measured; raises UnsupportedModelError where there is none.
    covered : callable
        Whether a reduction has dealt with a candidate, although it was not asked to.
    refusal : callable
        The reason to give, from what is to be said of the attempts.
    """

    method: str
    candidates: tuple[Fast, ...]
    reduce: Callable[[tuple[Fast, ...]], ReducedSystem]
    covered: Callable[[ReducedSystem, Fast], bool]
    refusal: Callable[[str], Reason]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A reduction with a rough measurement of its error."""

    draft: ReducedSystem
    rough: Measurement

    @property
    def error(self) -> float:
        """The worst one."""
        return float(self.rough.errors.max(initial=0.0))


class _Choices(Generic[Fast]):
    """Fast quantities tried out: each choice is measured roughly, all of them with a limited amount of work."""

    def __init__(self, proposal: Proposal[Fast], ruler: ReferenceEnsemble) -> None:
        self.ruler = ruler
        self.tried: list[_Choice] = []
        self.refusals: list[UnsupportedModelError] = []
        self._proposal = proposal
        self._meter = Meter(_WORK)

    def attempt(self, chosen: tuple[Fast, ...]) -> _Choice | None:
        """The reduction by these, if its error is small."""
        try:
            draft = self._proposal.reduce(chosen)
        except UnsupportedModelError as error:
            self.refusals.append(error)
            return None
        choice = _Choice(draft, measure(draft, self.ruler, relative=_ROUGH, meter=self._meter))
        self.tried.append(choice)
        return choice if choice.error <= _SMALL_ERROR else None

    def certified(self, choice: _Choice, used_up: bool) -> tuple[ReducedSystem, float]:
        """With its error measured properly; where that is too much work, as roughly as it was for the choice."""
        assert isinstance(choice.draft.certificate, ErrorEstimate)
        method = self._proposal.method
        details = dict(choice.draft.certificate.details) | ({"work_used_up": True} if used_up else {})
        try:
            found = error_estimate(choice.draft, method, self.ruler, details, meter=Meter(_WORK))
        except WorkLimitError:
            details |= {"work_used_up": True, "measured_with_tolerance": _ROUGH}
            found = estimate_of(choice.rough, method, self.ruler.trial, details)
        return replace(choice.draft, certificate=found), found.worst_error


def best_choice(proposal: Proposal[Fast], ruler: ReferenceEnsemble) -> ReducedSystem:
    """All candidates if that gives a small error; else one after the other, the fastest first, those that do.

    Where none does, the best of what was tried, unless it is of no use.

    Raises
    ------
    UnsupportedModelError
        The first refusal of the method if nothing could be tried; otherwise the proposal's own, if the best error is
        above 50 %.
    """
    choices = _Choices(proposal, ruler)
    accepted: list[_Choice] = []
    used_up = False
    try:
        whole = choices.attempt(proposal.candidates)
        if whole is not None:
            accepted.append(whole)
        else:
            _one_after_another(choices, proposal, accepted)
    except WorkLimitError:
        used_up = True
    for choice in reversed(accepted):
        found, error = choices.certified(choice, used_up)
        if error <= _SMALL_ERROR:  # the rough measurement may have been a little too good
            return found
    within = " in what was tried before the work that is allowed was used up" if used_up else ""
    if not choices.tried:
        if choices.refusals:
            raise choices.refusals[0]
        raise UnsupportedModelError(proposal.refusal(within))
    found, error = choices.certified(min(choices.tried, key=lambda choice: choice.error), used_up)
    if not error <= _USELESS:
        size = f"an error of {100 * error:.0f} %" if error < float("inf") else "no finite solution"
        raise UnsupportedModelError(proposal.refusal(f"{within}: the best choice has {size}"))
    return found


def _one_after_another(choices: _Choices[Fast], proposal: Proposal[Fast], accepted: list[_Choice]) -> None:
    """Take the candidates that leave the error small, together with those before them."""
    chosen: tuple[Fast, ...] = ()
    several: Sequence[Fast] = proposal.candidates[:_MOST_TRIED] if len(proposal.candidates) > 1 else ()
    for one in several:
        if accepted and proposal.covered(accepted[-1].draft, one):
            continue  # it went with others already
        found = choices.attempt((*chosen, one))
        if found is not None:
            chosen = (*chosen, one)
            accepted.append(found)
