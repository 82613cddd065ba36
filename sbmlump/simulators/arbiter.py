"""Whom to believe, where a simulation contradicts a proof.

Beside a proof a difference of two trajectories has one of four causes: the simulator reads one of the two files in
another way than the specification does, or sbmlump does; the model itself wavers more than the difference (it is
chaotic, or a small error moves an event); or the proof is wrong. Our own integration of both models, from the
equations as sbmlump reads them, tells these apart, but for one thing: that sbmlump reads a file wrongly it cannot see,
as the proof rests on the same reading. So where a simulator has another value, it is taken for the simulator's error
only where such an error is known, or where COPASI finds what sbmlump finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from sbmlump.arrays import Array
from sbmlump.errors import Reason, SbmlumpError
from sbmlump.isolate import Limits
from sbmlump.simulators.comparison import Definition, ErrorReport, Scale, magnitude, run_apart, simulator_named
from sbmlump.simulators.copasi import CopasiSimulator
from sbmlump.simulators.own import OwnModel, OwnSimulator
from sbmlump.simulators.protocol import PRECISE, QuantitySelection, SimulatedModel, Trajectory

__all__ = ["ARBITER", "ArbiterSettings", "Verdict", "explain_difference", "known_difference"]


@dataclass(frozen=True, slots=True)
class ArbiterSettings:
    """When a difference has to be explained, and what explains it.

    Attributes
    ----------
    suspicious : float
        Relative error beside a proof from which on it has to be explained. Tolerances are 1e-10; over published models
        and the test suite exact reductions differ by 1e-8 and less where nothing is wrong.
    waver : float
        Times what the original itself changes by when its initial values move by ``nudge`` and its tolerances grow by
        ``looser``: the errors of two runs with different right-hand sides are not equal, but of that order.
    nudge : float
        Of each initial value.
    looser : float
        Times both tolerances.
    gross : float
        Relative error that loosened tolerances and state resets that two runs meet at different times do not make.
    witness : float
        Relative difference up to which COPASI is taken to find the same: it has one absolute tolerance for all states.
    named : int
        Observables that a message lists.
    """

    suspicious: float = 1e-6
    waver: float = 1e3
    nudge: float = 1e-12
    looser: float = 10.0
    gross: float = 1e-3
    witness: float = 1e-3
    named: int = 5


ARBITER: Final = ArbiterSettings()

Outcome = Literal["simulator-differs", "sensitive", "contradicted", "undecided"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a difference beside a proof comes from.

    Attributes
    ----------
    outcome : str
        ``simulator-differs``: our own integrations agree, the simulator reads a file in another way;
        ``sensitive``: the original wavers as much by itself; ``contradicted``: our own integrations disagree, too, the
        proof cannot be right (so, too, where there is no integration of our own, and the difference is a gross one);
        ``undecided``: there is no integration of our own, and the difference is small.
    reason : Reason
        For the user.
    """

    outcome: Outcome
    reason: Reason


@dataclass(frozen=True)
class _Runs:
    """Runs of one simulator on one grid: the original, the reduced model, and the original moved and less exact."""

    original: Trajectory
    reduced: Trajectory
    moved: Trajectory


@dataclass(frozen=True)
class _RunRequest:
    """What is asked of a simulator: selections of both models on one grid."""

    original: SimulatedModel
    reduced: SimulatedModel
    selections: Mapping[str, QuantitySelection]
    reduced_selections: Mapping[str, QuantitySelection]
    times: Array
    points: int
    settings: ArbiterSettings


def explain_difference(
    original: SimulatedModel,
    reduced: SimulatedModel,
    report: ErrorReport,
    definitions: Mapping[str, Definition],
    limits: Limits | None,
    settings: ArbiterSettings = ARBITER,
) -> Verdict | None:
    """Explain the difference in ``report`` between a model and a reduction of it that is proved.

    Parameters
    ----------
    original, reduced : SimulatedModel
    report : ErrorReport
    definitions : mapping of observable to Definition
        As in the comparison.
    limits : Limits or None
        Of a child process; in this process where it is ``None``.
    settings : ArbiterSettings

    Returns
    -------
    Verdict or None
        ``None`` where nothing has to be explained.
    """
    if report.max_relative_error <= settings.suspicious:
        return None
    compared = report.compared
    needs = {name: definitions[name].needs if name in definitions else (name,) for name in compared.original}
    selections = original.index.selections(need for several in needs.values() for need in several)
    selections |= original.index.selections(original.index.species)
    there = {name: _selection_in_reduced(name, needs[name], selections, reduced) for name in needs}
    request = _RunRequest(original, reduced, selections, there, compared.times, len(report.times), settings)
    runs = _runs(OwnSimulator.name, request, limits)
    if isinstance(runs, Reason):
        return _undecided(report, runs, settings)
    opinion = _opinion(
        runs, compared.original, compared.reduced, definitions, report.scales, settings, settings.suspicious
    )
    if opinion.wrong:
        return _contradicted(report, opinion, settings)
    if not opinion.differing:
        return _sensitive(report, opinion, settings)
    files = {"original": original, "reduced model": reduced}
    known = dict.fromkeys(name for where in opinion.differing for name in files[where].index.undiluted)
    if known:
        why = f"{_undiluted(tuple(known), settings)}; by the specification the rule is all that changes it"
        return _differs(report, opinion, why, settings)
    if report.simulator != CopasiSimulator.name:
        witness = _runs(CopasiSimulator.name, request, limits)
        if isinstance(witness, _Runs):
            once = {name: _observed(witness.original, name, definitions) for name in compared.original}
            agreed = _opinion(
                runs, once, witness.reduced.values, definitions, report.scales, settings, settings.witness
            )
            if not agreed.differing:
                return _differs(report, opinion, "COPASI finds the same as sbmlump", settings)
    return _unsettled(report, opinion, settings)


def known_difference(
    original: SimulatedModel, reduced: SimulatedModel, report: ErrorReport, settings: ArbiterSettings = ARBITER
) -> str | None:
    """What is said of a difference where simulators are known to read one of two files otherwise; None elsewhere."""
    if report.max_relative_error <= settings.suspicious or report.simulator not in _DILUTING:
        return None
    names = tuple(dict.fromkeys((*original.index.undiluted, *reduced.index.undiluted)))
    if not names:
        return None
    return (
        f"{report.simulator} may integrate one of the files in another way than the specification says: "
        f"{_undiluted(names, settings)}; by the specification the rule is all that changes it; sbmlump check "
        "--simulator own simulates it so."
    )


_DILUTING: Final = frozenset({"roadrunner", "copasi"})


def _undiluted(names: Sequence[str], settings: ArbiterSettings) -> str:
    listed = ", ".join(names[: settings.named])
    return f"{listed}: a rate rule for a concentration in a compartment whose size changes"


def _undecided(report: ErrorReport, why: Reason, settings: ArbiterSettings) -> Verdict:
    """Without a witness of our own a small difference is taken for one of the integration, a large one for an error."""
    gross = not report.max_relative_error <= settings.gross
    message = (
        f"{report.simulator} finds a relative difference of {report.max_relative_error:.1e} between the original and "
        f"the reduced model, though the reduction was proved, and sbmlump cannot integrate them itself to tell why "
        f"({why.message.rstrip('.')})"
    )
    if gross:
        message += "; this may be an internal error of sbmlump, please report it with the model. Nothing is written"
        return Verdict("contradicted", Reason("proof-contradicted", message, why.element))
    return Verdict("undecided", Reason("difference-unexplained", message, why.element))


def _selection_in_reduced(
    name: str, needs: tuple[str, ...], selections: Mapping[str, QuantitySelection], reduced: SimulatedModel
) -> QuantitySelection:
    """How an observable is read in the reduced model: as the original means it, where both are species."""
    selection = reduced.index.selection(name)
    assert selection is not None  # it has been compared
    here = selections.get(name)
    species = ("amount", "concentration")
    if needs == (name,) and here is not None and here.kind in species and selection.kind in species:
        return here
    return selection


def _runs(simulator: str, request: _RunRequest, limits: Limits | None) -> _Runs | Reason:
    ended = run_apart(_runs_job, (simulator, request), limits)
    if ended.how != "finished":
        return ended.reason
    assert isinstance(ended.value, (_Runs, Reason))
    return ended.value


def _runs_job(simulator: str, request: _RunRequest, _emit: Callable[[Any], None]) -> _Runs | Reason:
    """Runs by our own simulator or by COPASI, or why there are none.

    One model after the other: COPASI keeps the functions of one that is in use for the next.
    """
    until, points, times, settings = float(request.times[-1]), request.points, request.times, request.settings
    try:
        model = simulator_named(simulator).load(request.original)
        original = moved = model.run(request.selections, until, points, between=times)
        if isinstance(model, OwnModel):
            looser = PRECISE.looser(settings.looser)
            moved = model.run(request.selections, until, points, looser, between=times, nudge=settings.nudge)
        del model
        other = simulator_named(simulator).load(request.reduced)
        return _Runs(original, other.run(request.reduced_selections, until, points, between=times), moved)
    except SbmlumpError as error:
        return error.reasons[0]


@dataclass(frozen=True, slots=True)
class _Opinion:
    """Observables by what the trajectories say of them.

    Attributes
    ----------
    wrong : tuple of str
        Our own two trajectories differ.
    wavering : tuple of str
        Those of the simulator differ no more than the original does from itself.
    differing : mapping of str to tuple of str
        For each of the two models, observables whose trajectory by the simulator is not ours.
    agreement : float
        Largest relative difference of our own trajectories, apart from those that are wrong.
    """

    wrong: tuple[str, ...]
    wavering: tuple[str, ...]
    differing: Mapping[str, tuple[str, ...]]
    agreement: float


def _opinion(
    runs: _Runs,
    original: Mapping[str, Array],
    reduced: Mapping[str, Array],
    definitions: Mapping[str, Definition],
    scales: Mapping[str, Scale],
    settings: ArbiterSettings,
    least: float,
) -> _Opinion:
    """Hold the trajectories of a simulator against ours; relative differences below ``least`` are none."""
    wrong: list[str] = []
    wavering: list[str] = []
    elsewhere: dict[str, list[str]] = {"original": [], "reduced model": []}
    agreement = 0.0
    with np.errstate(all="ignore"):
        for name, simulated in original.items():
            ours, theirs = _observed(runs.original, name, definitions), runs.reduced.values[name]
            moved = _observed(runs.moved, name, definitions)
            allowed = _allowed(ours, moved, _size(name, definitions, runs.original), settings.waver, least)
            if name in scales:  # what counts as 0 in both models differs in nothing
                allowed = np.maximum(allowed, min(scales[name].zero, scales[name].zero_in_reduced))
            if _differ(theirs, ours, allowed):
                wrong.append(name)
                continue
            agreement = max(agreement, magnitude(theirs - ours) / (magnitude(ours) or 1.0))
            if not _differ(reduced[name], simulated, allowed):
                wavering.append(name)
            for where, one, other in (("original", simulated, ours), ("reduced model", reduced[name], theirs)):
                if name not in wavering and _differ(one, other, allowed):
                    elsewhere[where].append(name)
    differing = {where: tuple(names) for where, names in elsewhere.items() if names}
    return _Opinion(tuple(wrong), tuple(wavering), differing, agreement)


def _observed(run: Trajectory, name: str, definitions: Mapping[str, Definition]) -> Array:
    definition = definitions.get(name)
    return run.values[name] if definition is None else definition.value(run.times, run.values)


def _contradicted(report: ErrorReport, opinion: _Opinion, settings: ArbiterSettings) -> Verdict:
    message = (
        f"the reduction was proved, but simulations contradict it in {_listed(opinion.wrong, settings)}, by "
        f"{report.simulator} (relative difference {report.max_relative_error:.1e}) and by sbmlump's own integration of "
        "both models, beyond what the original varies by itself; this is an internal error of sbmlump, please report "
        "it with the model. Nothing is written"
    )
    return Verdict("contradicted", Reason("proof-contradicted", message, opinion.wrong[0]))


def _differs(report: ErrorReport, opinion: _Opinion, why: str, settings: ArbiterSettings) -> Verdict:
    parts = [f"the {where} in {_listed(names, settings)}" for where, names in opinion.differing.items()]
    message = (
        f"the relative difference of {report.max_relative_error:.1e} is one of {report.simulator}, which integrates "
        f"{' and '.join(parts)} in another way than the specification says ({why}). Integrated by sbmlump, original "
        f"and reduced model agree to {opinion.agreement:.1e}; sbmlump check --simulator own simulates them so"
    )
    return Verdict("simulator-differs", Reason("simulator-differs", message, next(iter(opinion.differing.values()))[0]))


def _unsettled(report: ErrorReport, opinion: _Opinion, settings: ArbiterSettings) -> Verdict:
    parts = [f"the {where} in {_listed(names, settings)}" for where, names in opinion.differing.items()]
    gross = not report.max_relative_error <= settings.gross
    message = (
        f"sbmlump and {report.simulator} read {' and '.join(parts)} in different ways (relative difference "
        f"{report.max_relative_error:.1e} beside a proof): one of them is wrong, and if that is sbmlump, the "
        "reduction is, too"
    )
    if gross:
        message += "; please report it with the model. Nothing is written"
        element = next(iter(opinion.differing.values()))[0]
        return Verdict("contradicted", Reason("proof-contradicted", message, element))
    return Verdict("undecided", Reason("difference-unexplained", message))


def _sensitive(report: ErrorReport, opinion: _Opinion, settings: ArbiterSettings) -> Verdict:
    tolerance = PRECISE.looser(settings.looser).relative
    message = (
        f"the relative difference of {report.max_relative_error:.1e} is explained by the original itself: with initial "
        f"values that differ by {settings.nudge:g} and a tolerance of {tolerance:g} it differs from itself "
        f"as much in {_listed(opinion.wavering, settings)}"
    )
    return Verdict("sensitive", Reason("sensitive-model", message, opinion.wavering[0] if opinion.wavering else None))


def _listed(names: Sequence[str], settings: ArbiterSettings) -> str:
    return ", ".join(names[: settings.named]) + (" …" if len(names) > settings.named else "")


def _size(name: str, definitions: Mapping[str, Definition], run: Trajectory) -> float:
    needs = definitions[name].needs if name in definitions else (name,)
    return max((magnitude(run.values[need]) for need in needs), default=0.0)


def _allowed(ours: Array, moved: Array, size: float, factor: float, least: float) -> Array:
    """How far two right trajectories may be apart, at each time: what is small, and what the original wavers by."""
    waver = np.abs(moved - ours)
    waver = np.maximum.accumulate(np.where(np.isfinite(waver), waver, 0.0))
    return least * (magnitude(ours) or size or 1.0) + factor * waver


def _differ(first: Array, second: Array, allowed: Array) -> bool:
    known = np.isfinite(first)
    if not np.array_equal(known, np.isfinite(second)):
        return True
    return bool((np.abs(first - second)[known] > allowed[known]).any())
