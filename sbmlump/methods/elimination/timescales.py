"""Which quantities are fast: the Jacobian's spectrum along the trajectory, and pointers to what the fast modes move.

At points of the nominal trajectory the modes of the Jacobian are ordered by speed. A gap between the speeds of two
neighbours, with the faster one faster than the time span, separates fast modes from slow ones. The pointer of a state
is the share of it that lies in the fast modes, the diagonal of Σ aᵣbᵣ over these (right and left eigenvectors).

References
----------
S. H. Lam, D. A. Goussis, The CSP method for simplifying kinetics, Int. J. Chem. Kinet. 26 (1994),
doi 10.1002/kin.550260408.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

import numpy as np
import scipy.linalg

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics.ensemble import (
    EnsembleSettings,
    Measurement,
    ReferenceEnsemble,
    error_estimate,
    estimate_of,
    measure,
    not_integrated,
    refuse_untimed_events,
    time_grid,
    time_span_of,
    trajectories,
)
from sbmlump.dynamics.vector_field import Budget, WorkLimitError
from sbmlump.errors import LimitError, Reason, UnsupportedModelError
from sbmlump.model.reduced import ErrorEstimate, Observable, ReducedSystem
from sbmlump.model.system import OdeSystem

__all__ = ["TimeScales", "nominal_run", "time_scales", "Proposal", "best_choice"]


@dataclass(frozen=True, slots=True)
class TimeScaleSettings:
    """What counts as fast along the nominal trajectory.

    Attributes
    ----------
    points : int
        Points of the trajectory at which the Jacobian's spectrum is taken; a gap has to be there at most of them.
    gap : float
        Ratio of neighbouring time scales that is a gap; below it fast and slow run into each other.
    share : float
        Share in the fast modes from which a state is taken for fast.
    constant : float
        Modes slower than this part of the fastest belong to conserved totals.
    most_states : int
        Eigenvalues of larger Jacobians take minutes.
    """

    points: int = 24
    gap: float = 8.0
    share: float = 0.5
    constant: float = 1e-9
    most_states: int = 400


TIME_SCALES: Final = TimeScaleSettings()


@dataclass(frozen=True, slots=True)
class TimeScales:
    """What was seen along the trajectory.

    Attributes
    ----------
    times : ndarray (k,)
    scales : ndarray (k, n)
        1/|λ| of all modes, fastest first.
    fast_modes : ndarray of int (k,)
        How many modes lie before the gap at each point; 0 where there is none.
    pointers : mapping of state to float
        Mean share of each state in the fast modes, over the points with a gap.
    fast : tuple of str
        States with a pointer above 1/2, the most pointed to first.
    gap : float
        Median ratio of the speeds on both sides of the gap; 1 if there is none.
    """

    times: Array
    scales: Array
    fast_modes: Indices
    pointers: Mapping[str, float]
    fast: tuple[str, ...]
    gap: float

    def as_json(self) -> dict[str, Any]:
        """For the certificate: why these were taken for fast."""
        seen = self.fast_modes > 0
        return {
            "points": len(self.times),
            "points_with_gap": int(seen.sum()),
            "median_gap": round(self.gap, 3),
            "median_fast_modes": float(np.median(self.fast_modes[seen])) if seen.any() else 0.0,
            "pointers": {
                name: round(value, 3) for name, value in sorted(self.pointers.items(), key=lambda i: -i[1])[:20]
            },
        }


def nominal_run(system: OdeSystem, until: float, points: int = 80) -> tuple[Array, Array]:
    """Times (m,) and states (m, n) of the run from the initial values of the file.

    Raises
    ------
    LimitError
        If it does not reach ``until`` (code ``not-simulated``).
    """
    times = time_grid(until, points)
    states = trajectories(system, system.initial_state()[None, :], times)[0]
    if not np.isfinite(states).all():
        raise not_integrated(system, until)
    return times, states


def nominal_trial(
    system: OdeSystem, observables: Sequence[Observable], trial: EnsembleSettings, method: str
) -> tuple[EnsembleSettings, Array, Array]:
    """How the error is measured, with its end time, and the nominal run up to there, (m,) and (m, n).

    Raises
    ------
    UnsupportedModelError
        If events depend on states.
    LimitError
        As :func:`nominal_run`.
    """
    refuse_untimed_events(system, method)
    until = trial.until if trial.until is not None else time_span_of(system, observables).until
    return (replace(trial, until=until), *nominal_run(system, until))


def time_scales(system: OdeSystem, times: Array, states: Array, excluded: Sequence[str] = ()) -> TimeScales:
    """Look for a gap in the spectrum at points of a run.

    Parameters
    ----------
    times : array (m,)
    states : array (m, n)
    excluded : sequence of str
        States that are not proposed (observed ones).

    Raises
    ------
    LimitError
        If there are more than 400 states (code ``too-large``).
    """
    if system.size > TIME_SCALES.most_states:
        message = (
            f"time scales are looked for up to {TIME_SCALES.most_states} states, not {system.size}; name the fast ones"
        )
        raise LimitError(Reason("too-large", message))
    chosen = np.unique(np.linspace(1, len(times) - 1, TIME_SCALES.points).astype(int))
    until = float(times[-1])
    scales, counts, gaps = [], [], []
    total = np.zeros(system.size)
    for k in chosen:
        matrix = system.jacobian(float(times[k]), states[k]).toarray()
        speeds, pointer, count, gap = _modes(matrix, until)
        scales.append(1.0 / np.maximum(speeds, 1e-300))
        counts.append(count)
        if count:
            gaps.append(gap)
            total += pointer
    mean = total / max(1, len(gaps))
    pointers = {name: float(value) for name, value in zip(system.states, mean, strict=True)}
    enough = len(gaps) >= max(2, len(chosen) // 4)
    fast = [n for n, v in sorted(pointers.items(), key=lambda i: -i[1]) if v > TIME_SCALES.share and n not in excluded]
    seen = [count for count in counts if count]
    fast = fast[: int(np.median(seen))] if seen else []
    return TimeScales(
        times[chosen],
        np.array(scales),
        np.array(counts, dtype=np.int64),
        pointers,
        tuple(fast) if enough else (),
        float(np.median(gaps)) if gaps else 1.0,
    )


def _projector(matrix: Array, count: int, border: float) -> Array:
    """Onto the invariant subspace of the ``count`` fastest modes, along that of the others: Σ aᵣbᵣ.

    By an ordered Schur form and a Sylvester equation, which repeated eigenvalues do not disturb as eigenvectors are
    disturbed by them. NaN where the two sets of modes cannot be told apart.
    """
    ordered: Any = scipy.linalg.schur
    try:
        t, z, found = ordered(matrix, output="complex", sort=lambda value: abs(value) > border)
        if found != count:
            return np.full(matrix.shape, np.nan)
        # T (I X; 0 I) = (I X; 0 I) diag(T11, T22)
        x = scipy.linalg.solve_sylvester(t[:count, :count], -t[count:, count:], -t[:count, count:])
    except np.linalg.LinAlgError:  # eigenvalues too close to be put in order
        return np.full(matrix.shape, np.nan)
    block = np.zeros_like(t)
    block[:count, :count] = np.eye(count)
    block[:count, count:] = -x
    return np.asarray((z @ block @ z.conj().T).real)


def _modes(matrix: Array, until: float) -> tuple[Array, Array, int, float]:
    """Speeds in falling order, pointers of the states, number of fast modes, and the gap behind them."""
    size = len(matrix)
    if not np.isfinite(matrix).all():
        return np.zeros(size), np.zeros(size), 0, 1.0
    values = scipy.linalg.eigvals(matrix)
    values = values[np.argsort(-np.abs(values))]
    speeds = np.abs(values)
    best, gap = 0, TIME_SCALES.gap
    # conserved totals give modes of speed 0: they are no slow modes, something that moves has to stay
    moving = int((speeds > TIME_SCALES.constant * speeds.max(initial=0.0)).sum())
    for count in range(1, moving):
        # only decaying modes that are over long before the end
        if values[count - 1].real >= 0 or speeds[count - 1] * until < 10.0:
            break
        ratio = float(speeds[count - 1] / speeds[count])
        if ratio > gap:
            best, gap = count, ratio
    if not best:
        return speeds, np.zeros(size), 0, 1.0
    pointer = np.abs(np.diag(_projector(matrix, best, float(np.sqrt(speeds[best - 1] * speeds[best])))))
    if not np.isfinite(pointer).all():
        return speeds, np.zeros(size), 0, 1.0  # a gap whose modes cannot be told apart is none
    return speeds, np.minimum(pointer, 1.0), best, gap


# -- Which of some fast quantities to take ---------------------------------------------------------

# Which of some fast quantities to take: those that leave the error small, within a limited amount of work.


Fast = TypeVar("Fast")


@dataclass(frozen=True, slots=True)
class ChoiceSettings:
    """How many of the fast candidates are tried, and what is small enough.

    Attributes
    ----------
    small_error : float
        Relative error at which a choice is taken without looking further.
    useless : float
        Relative error above which an approximation says nothing about the model.
    most_tried : int
        Candidates that are measured one by one.
    rough : float
        Tolerance of a measurement that only has to tell small errors from large ones.
    work : float
        Units of work that the choice may take, and as many the measurement of what was chosen.
    """

    small_error: float = 0.05
    useless: float = 0.5
    most_tried: int = 24
    rough: float = 1e-4
    work: float = 30.0


CHOICE: Final = ChoiceSettings()


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
class _RoughlyMeasured:
    """A reduction with a rough measurement of its error."""

    draft: ReducedSystem
    rough: Measurement

    @property
    def error(self) -> float:
        """The worst one."""
        return float(self.rough.errors.max(initial=0.0))


class _Choices(Generic[Fast]):
    """Fast quantities tried out: each choice is measured roughly, all of them with a limited amount of work."""

    def __init__(self, proposal: Proposal[Fast], reference: ReferenceEnsemble) -> None:
        self.reference = reference
        self.tried: list[_RoughlyMeasured] = []
        self.refusals: list[UnsupportedModelError] = []
        self._proposal = proposal
        self._budget = Budget(CHOICE.work, stoppable=True)  # what was tried until a stop is chosen from

    def attempt(self, chosen: tuple[Fast, ...]) -> _RoughlyMeasured | None:
        """The reduction by these, if its error is small."""
        try:
            draft = self._proposal.reduce(chosen)
        except UnsupportedModelError as error:
            self.refusals.append(error)
            return None
        choice = _RoughlyMeasured(draft, measure(draft, self.reference, relative=CHOICE.rough, budget=self._budget))
        self.tried.append(choice)
        return choice if choice.error <= CHOICE.small_error else None

    def certified(self, choice: _RoughlyMeasured, used_up: bool) -> tuple[ReducedSystem, float]:
        """With its error measured properly; where that is too much work, as roughly as it was for the choice."""
        assert isinstance(choice.draft.certificate, ErrorEstimate)
        method = self._proposal.method
        details = dict(choice.draft.certificate.details) | ({"work_used_up": True} if used_up else {})
        try:
            found = error_estimate(choice.draft, method, self.reference, details, budget=Budget(CHOICE.work))
        except WorkLimitError:
            details |= {"work_used_up": True, "measured_with_tolerance": CHOICE.rough}
            found = estimate_of(choice.rough, method, self.reference.trial, details)
        return replace(choice.draft, certificate=found), found.worst_error


def best_choice(proposal: Proposal[Fast], reference: ReferenceEnsemble) -> ReducedSystem:
    """All candidates if that gives a small error; else one after the other, the fastest first, those that do.

    Where none does, the best of what was tried, unless it is of no use.

    Raises
    ------
    UnsupportedModelError
        The first refusal of the method if nothing could be tried; otherwise the proposal's own, if the best error is
        above 50 %.
    """
    choices = _Choices(proposal, reference)
    accepted: list[_RoughlyMeasured] = []
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
        if error <= CHOICE.small_error:  # the rough measurement may have been a little too good
            return found
    within = " in what was tried before the work that is allowed was used up" if used_up else ""
    if not choices.tried:
        if choices.refusals:
            raise choices.refusals[0]
        raise UnsupportedModelError(proposal.refusal(within))
    found, error = choices.certified(min(choices.tried, key=lambda choice: choice.error), used_up)
    if not error <= CHOICE.useless:
        size = f"an error of {100 * error:.0f} %" if error < float("inf") else "no finite solution"
        raise UnsupportedModelError(proposal.refusal(f"{within}: the best choice has {size}"))
    return found


def _one_after_another(choices: _Choices[Fast], proposal: Proposal[Fast], accepted: list[_RoughlyMeasured]) -> None:
    """Take the candidates that leave the error small, together with those before them."""
    chosen: tuple[Fast, ...] = ()
    several: Sequence[Fast] = proposal.candidates[: CHOICE.most_tried] if len(proposal.candidates) > 1 else ()
    for one in several:
        if accepted and proposal.covered(accepted[-1].draft, one):
            continue  # it went with others already
        found = choices.attempt((*chosen, one))
        if found is not None:
            chosen = (*chosen, one)
            accepted.append(found)
