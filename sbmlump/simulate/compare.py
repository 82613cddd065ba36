"""Simulate a model and its reduction on one grid and say how far they differ (errors: see ``measure``).

A quantity is compared as what its id means in the *original* file (a species with ``hasOnlySubstanceUnits`` as amount,
any other as concentration). Where the reduced file holds it as a parameter, its value is taken as it is; where it
holds it as a species too, it is read in the form that the original uses.

The grid is uniform, with more points where one of the two models moves faster than it shows: at and after the times at
which a model changes by itself, after events, where the integrator had to take small steps.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason, UsageError
from sbmlump.isolate import Limits
from sbmlump.simulate.conditions import Conditions, conditions_of
from sbmlump.simulate.definition import Definition
from sbmlump.simulate.facts import ModelIndex
from sbmlump.simulate.measure import SMALL, QuantityError, Scale, finite, largest, magnitude, quantity_errors
from sbmlump.simulate.pair import PairRequest, PairRun, simulate_pair, simulate_pair_apart
from sbmlump.simulate.protocol import QuantitySelection, Simulator
from sbmlump.simulate.simulators import simulator_for
from sbmlump.simulate.source import SimulatedModel, simulated_file
from sbmlump.simulate.triggers import Triggers, triggers_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "Definition", "ErrorReport", "QuantityError", "compare", "quantity_errors"]

Array = NDArray[np.float64]
_MOST_NAMED = 5  # events and quantities that a remark lists


@dataclass(frozen=True, eq=False)
class Comparison:
    """Trajectories of the observables on the grid on which they were compared.

    Attributes
    ----------
    times : ndarray of float64, shape (m,)
        The uniform grid, and the times that were put between its points.
    original, reduced : mapping from observable to ndarray of float64, shape (m,)
    """

    times: Array
    original: Mapping[str, Array]
    reduced: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class ErrorReport:
    """What a comparison found.

    Attributes
    ----------
    until : float
        Horizon T, in the model's unit of time.
    horizon_reason : str
        Who chose it, or how it was chosen.
    times : ndarray of float64, shape (k,)
        Uniform grid from 0 to T.
    original, reduced : mapping from observable to ndarray of float64, shape (k,)
        Trajectories on that grid.
    per_observable : mapping from observable to QuantityError
    max_relative_error, final_relative_error, max_absolute_error : float
        The largest over the observables.
    seconds_original, seconds_reduced : float
        Wall time of the two integrations (loading and compiling not included).
    simulator : str
        By which they were made.
    remarks : tuple of str
        What differs from what was asked for, such as loosened tolerances.
    resolved : Comparison, optional
        Trajectories with the points that were put between those of the grid; errors are the largest over these.
    """

    until: float
    horizon_reason: str
    times: Array = field(repr=False)
    original: Mapping[str, Array] = field(repr=False)
    reduced: Mapping[str, Array] = field(repr=False)
    per_observable: Mapping[str, QuantityError]
    max_relative_error: float
    final_relative_error: float
    max_absolute_error: float
    seconds_original: float
    seconds_reduced: float
    simulator: str = "roadrunner"
    remarks: tuple[str, ...] = ()
    resolved: Comparison | None = field(default=None, repr=False)

    @property
    def compared(self) -> Comparison:
        """``resolved``, or what is on the uniform grid where there is no more."""
        return self.resolved or Comparison(self.times, self.original, self.reduced)

    def as_json(self) -> dict[str, Any]:
        """The ``simulation`` object of the command line's JSON; what is not finite becomes null."""
        return {
            "until": finite(self.until),
            "max_relative_error": finite(self.max_relative_error),
            "final_relative_error": finite(self.final_relative_error),
            "max_absolute_error": finite(self.max_absolute_error),
            "per_observable": {name: error.as_json() for name, error in self.per_observable.items()},
            "seconds_original": finite(self.seconds_original),
            "seconds_reduced": finite(self.seconds_reduced),
        }

    def _repr_html_(self) -> str:
        """A table of the errors, for notebooks."""
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{error.max_relative_error:.2e}</td>"
            f"<td>{error.final_relative_error:.2e}</td><td>{error.max_absolute_error:.2e}</td></tr>"
            for name, error in self.per_observable.items()
        )
        head = f"until {self.until:g} ({self.horizon_reason}), simulated by {self.simulator}"
        remarks = "".join(f"<br>{escape(remark)}" for remark in self.remarks)
        titles = "<tr><th>quantity</th><th>max relative</th><th>at the end</th><th>max absolute</th></tr>"
        return f"<p>{escape(head)}{remarks}</p><table>{titles}{rows}</table>"

    def plot(self) -> Figure:
        """Trajectories, original against reduced, and the error over time, as a new matplotlib figure."""
        from sbmlump.simulate.plot import report_figure

        return report_figure(self)


def compare(
    original: str | Path | SimulatedModel,
    reduced: str | Path | SimulatedModel,
    *,
    until: float | None = None,
    points: int = 201,
    observables: Sequence[str] | None = None,
    definitions: Mapping[str, Definition] | None = None,
    simulator: str | Simulator = "roadrunner",
    limits: Limits | None = None,
) -> ErrorReport:
    """Simulate both SBML files and compare the quantities they share.

    Parameters
    ----------
    original, reduced : path or SimulatedModel
        SBML files, or what has been made of them already.
    until : float, optional
        Horizon in the model's unit of time; chosen from the original's own time scale when absent.
    points : int
        Points of the uniform grid, both ends included (at least 2).
    observables : sequence of str, or str, optional
        Ids in the reduced file; one alone may be a text. Without it: all ids that stand in both files and that may
        change in the reduced one (states and assigned quantities; reactions only where they are named here), and all
        of ``definitions``.
    definitions : mapping from observable to Definition, optional
        How observables follow from quantities of the original, for those that it does not hold under the same id.
    simulator : str or Simulator
        A name in :data:`~sbmlump.simulate.simulators.SIMULATORS`, or an object that runs SBML files. A model that is
        too large for ``roadrunner`` to compile is simulated by ``own``; a remark says so.
    limits : Limits, optional
        Where given, the simulations run in a child process with these limits, so that a simulator that crashes or
        hangs is an error like any other. In this process otherwise.

    Raises
    ------
    UsageError
        If an observable is unknown, nothing is shared, or ``until`` or ``points`` make no sense.
    InputError, UnsupportedModelError
        If a file cannot be read or the simulator refuses it.
    IntegrationError
        If a simulation does not reach the horizon (code ``simulation-failed``).
    LimitError
        If a child process crashes or meets a limit (codes of
        :func:`~sbmlump.simulate.pair.simulate_pair_apart`).
    """
    _check_grid(until, points)
    if isinstance(observables, str):
        observables = [observables]  # as in reduce; its letters are meant by nobody
    first = original if isinstance(original, SimulatedModel) else simulated_file(original)
    second = reduced if isinstance(reduced, SimulatedModel) else simulated_file(reduced)
    facts = first.facts
    remarks: tuple[str, ...] = (*first.remarks, *second.remarks)
    engine: str | Simulator = simulator
    if isinstance(simulator, str):
        engine, why = simulator_for(simulator, facts, second.facts)
        remarks = (*remarks, *why)
    pairs = _pairs(first, second, observables, dict(definitions or {}))
    triggers, conditions = triggers_of(first.system), conditions_of(first.system)
    needs = _readings(facts, [need for pair in pairs.values() for need in pair.definition.needs])
    wanted = {**needs, **_readings(facts, facts.species), **_readings(facts, (*triggers.needs, *conditions.needs))}
    request = PairRequest(
        engine,
        first,
        second,
        until,
        points,
        needs,
        wanted,
        {name: pair.reading for name, pair in pairs.items()},
        triggers,
    )
    run = simulate_pair(request) if limits is None else simulate_pair_apart(request, limits)
    report = _report(run, pairs, facts, points, triggers, conditions)
    return replace(report, remarks=(*remarks, *report.remarks))


def _readings(facts: ModelIndex, names: Sequence[str]) -> dict[str, QuantitySelection]:
    return {name: reading for name in names if (reading := facts.reading(name)) is not None}


@dataclass(frozen=True, slots=True)
class _Pair:
    """An observable: how it follows from the original, and how it is read in the reduced model."""

    definition: Definition
    reading: QuantitySelection


def _check_grid(until: object, points: object) -> None:
    # from Python anything may come; a truth value is an int there, and a text is no number
    if until is not None and (
        not isinstance(until, (int, float, np.integer, np.floating))
        or isinstance(until, bool)
        or not 0 < until < float("inf")
    ):
        raise UsageError(Reason("bad-horizon", f"The horizon must be a positive number, not {until!r}."))
    if not isinstance(points, (int, np.integer)) or isinstance(points, bool) or points < 2:
        raise UsageError(Reason("bad-grid", f"The grid needs at least 2 points, a whole number, not {points!r}."))


def _pairs(
    first: SimulatedModel,
    second: SimulatedModel,
    observables: Sequence[str] | None,
    definitions: dict[str, Definition],
) -> dict[str, _Pair]:
    original, reduced = first.path, second.path
    facts, reduced_facts = first.facts, second.facts
    names = (
        list(dict.fromkeys(observables))
        if observables is not None
        else [*definitions, *(n for n in reduced_facts.moving if n in facts.forms and n not in definitions)]
    )
    if not names:
        message = f"{original} and {reduced} share no quantity that changes; name what to compare."
        raise UsageError(Reason("nothing-to-compare", message))
    pairs: dict[str, _Pair] = {}
    reasons: list[Reason] = []
    for name in names:
        here, there = facts.reading(name), reduced_facts.reading(name)
        if there is None:
            reasons.append(_unknown(name, reduced, reduced_facts))
            continue
        definition = definitions.get(name)
        if definition is None:
            if here is None:
                reasons.append(_unknown(name, original, facts))
                continue
            definition = _itself(name)
            species = ("amount", "concentration")
            if here.form in species and there.form in species:
                there = here
        reasons += [_unknown(need, original, facts) for need in definition.needs if need not in facts.forms]
        pairs[name] = _Pair(definition, there)
    if reasons:
        raise UsageError(reasons)
    return pairs


def _itself(name: str) -> Definition:
    return Definition((name,), lambda _, columns: columns[name])


def _unknown(name: str, path: Path, facts: ModelIndex) -> Reason:
    near = difflib.get_close_matches(name, list(facts.forms), n=3)
    hint = f"; near matches: {', '.join(near)}" if near else ""
    return Reason("unknown-quantity", f"{path}: there is no quantity {name!r}{hint}.", name)


def _scales(pairs: Mapping[str, _Pair], facts: ModelIndex, run: PairRun) -> dict[str, Scale]:
    """Sizes that errors of each observable are held against: see :class:`~sbmlump.simulate.measure.Scale`.

    An observable has the sizes of what it is computed from; species are of one kind, by the form they are read in.
    """
    kinds: dict[str, float] = {}
    for name in facts.species:
        form = facts.forms[name]
        kinds[form] = max(kinds.get(form, 0.0), magnitude(run.original.values[name]))
    species = set(facts.species)
    looser = run.looser

    def of(pair: _Pair) -> Scale:
        needs = pair.definition.needs
        own = max((magnitude(run.original.values[need]) for need in needs), default=0.0)
        kind = max((kinds[facts.forms[need]] for need in needs if need in species), default=0.0)
        kind = max(kind, own)
        if looser is None or not 0 < own < SMALL * kind:
            return Scale(own, kind, None)
        with np.errstate(all="ignore"):
            once = pair.definition.value(run.original.times, run.original.values)
            again = pair.definition.value(looser.times, looser.values)
        return Scale(own, kind, magnitude(again - once))

    return {name: of(pair) for name, pair in pairs.items()}


def _report(
    run: PairRun,
    pairs: Mapping[str, _Pair],
    facts: ModelIndex,
    points: int,
    triggers: Triggers,
    conditions: Conditions,
) -> ErrorReport:
    times = run.original.times
    with np.errstate(all="ignore"):
        original = {name: pair.definition.value(times, run.original.values) for name, pair in pairs.items()}
    reduced = {name: run.reduced.values[name] for name in pairs}
    scales = _scales(pairs, facts, run)
    uniform = np.linspace(0.0, run.horizon.until, points)
    place = np.searchsorted(times, uniform)
    errors = quantity_errors(original, reduced, scales, place)
    remarks = [
        *_not_finite(original, reduced, place),
        *(remark for name in pairs if (remark := _size_remark(name, original[name], reduced[name], scales[name]))),
        *_unfired(triggers, run),
        *_passed(conditions, run),
    ]
    return ErrorReport(
        until=run.horizon.until,
        horizon_reason=run.horizon.reason,
        times=uniform,
        original={name: values[place] for name, values in original.items()},
        reduced={name: values[place] for name, values in reduced.items()},
        per_observable=errors,
        max_relative_error=largest([e.max_relative_error for e in errors.values()]),
        final_relative_error=largest([e.final_relative_error for e in errors.values()]),
        max_absolute_error=largest([e.max_absolute_error for e in errors.values()]),
        seconds_original=run.original.seconds,
        seconds_reduced=run.reduced.seconds,
        resolved=Comparison(times, original, reduced),
        simulator=run.engine,
        remarks=(*run.original.remarks, *run.reduced.remarks, *remarks),
    )


def _not_finite(original: Mapping[str, Array], reduced: Mapping[str, Array], grid: NDArray[np.int64]) -> list[str]:
    """What is said of points at which a quantity has no value; those of the grid are counted."""
    remarks = []
    for name, values in original.items():
        if np.isfinite(values).all():
            continue
        count = int((~np.isfinite(values[grid])).sum())
        alike = np.array_equal(np.isfinite(values), np.isfinite(reduced[name]))
        told = (
            "it has none there in the reduced model either, these points are left out."
            if alike
            else "the reduced model differs there, so its error is unknown."
        )
        remarks.append(f"{name} has no finite value at {count} of {len(grid)} points of the original; {told}")
    return remarks


def _size_remark(name: str, original: Array, reduced: Array, scale: Scale) -> str | None:
    """What is said of a quantity that is very small, or zero, beside others of its kind."""
    own, other = magnitude(original), magnitude(reduced)
    if own == 0.0 and other > 0.0:
        return f"{name} is 0 all the time in the original and up to {other:.2g} in the reduced model."
    if scale.noise is None:
        return None
    if scale.tolerance > 1e-3 * own:
        return (
            f"{name} is at most {own:.2g} beside others of {scale.kind:.2g}: below what the integration leaves "
            f"uncertain (about {scale.tolerance:.1g}), so nothing is said of it."
        )
    return f"{name} is at most {own:.2g} beside others of {scale.kind:.2g}; its error is relative to itself."


def _unfired(triggers: Triggers, run: PairRun) -> list[str]:
    """What is said of events that have not been triggered."""
    if not triggers.nodes:
        return []
    fired = triggers.first_fired(run.original.times, run.original.values)
    names = [label for label, time in zip(triggers.labels, fired, strict=True) if time == np.inf]
    if not names:
        return []
    listed = ", ".join(names[:_MOST_NAMED]) + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )
    message = (
        f"not seen to be triggered until time {run.horizon.until:g}: {listed}; what comes after such an event is not "
        "compared (--until T simulates longer)."
    )
    return [message]


def _passed(conditions: Conditions, run: PairRun) -> list[str]:
    """What is said of a branch that may have come and gone between two points."""
    between = conditions.passed(run.original.times, run.original.values)
    if between is None:
        return []
    message = (
        f"between time {between[0]:g} and {between[1]:g} several conditions of a piecewise expression change; a branch "
        "that holds for so short a time may not have been simulated, and is not compared then (more points show it: "
        "--points N)."
    )
    return [message]
