"""Simulate a model and its reduction on one grid and say how far they differ (errors: see ``measure``).

A quantity is compared as what its id means in the *original* file (a species with ``hasOnlySubstanceUnits`` as amount,
any other as concentration). Where the reduced file holds it as a parameter, its value is taken as it is; where it
holds it as a species too, it is read in the form that the original uses.
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
from sbmlump.simulate.definition import Definition
from sbmlump.simulate.facts import Facts, read_facts
from sbmlump.simulate.horizon import Horizon, before_failure, choose_horizon
from sbmlump.simulate.measure import QuantityError, finite, largest, magnitude, quantity_errors
from sbmlump.simulate.protocol import IntegrationError, LoadedModel, Reading, Simulator, Trajectory
from sbmlump.simulate.simulators import simulator_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Definition", "ErrorReport", "QuantityError", "compare", "quantity_errors"]

Array = NDArray[np.float64]


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
        Trajectories.
    per_observable : mapping from observable to QuantityError
    max_relative_error, final_relative_error, max_absolute_error : float
        The largest over the observables.
    seconds_original, seconds_reduced : float
        Wall time of the two integrations (loading and compiling not included).
    simulator : str
        By which they were made.
    remarks : tuple of str
        What differs from what was asked for, such as loosened tolerances.
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
    original: str | Path,
    reduced: str | Path,
    *,
    until: float | None = None,
    points: int = 201,
    observables: Sequence[str] | None = None,
    definitions: Mapping[str, Definition] | None = None,
    simulator: str | Simulator = "roadrunner",
) -> ErrorReport:
    """Simulate both SBML files and compare the quantities they share.

    Parameters
    ----------
    original, reduced : path
        SBML files.
    until : float, optional
        Horizon in the model's unit of time; chosen from the original's own time scale when absent.
    points : int
        Points of the uniform grid, both ends included (at least 2).
    observables : sequence of str, optional
        Ids in the reduced file. Without it: all ids that stand in both files and that may change in the reduced one
        (states and assigned quantities; reactions only where they are named here), and all of ``definitions``.
    definitions : mapping from observable to Definition, optional
        How observables follow from quantities of the original, for those that it does not hold under the same id.
    simulator : str or Simulator
        A name in :data:`~sbmlump.simulate.simulators.SIMULATORS`, or an object that runs SBML files. A model that is
        too large for ``roadrunner`` to compile is simulated by ``own``; a remark says so.

    Raises
    ------
    UsageError
        If an observable is unknown, nothing is shared, or ``until`` or ``points`` make no sense.
    InputError, UnsupportedModelError
        If a file cannot be read or the simulator refuses it.
    IntegrationError
        If a simulation does not reach the horizon (code ``simulation-failed``).
    """
    _check_grid(until, points)
    first, second = Path(original), Path(reduced)
    facts, reduced_facts = read_facts(first), read_facts(second)
    remarks: tuple[str, ...] = ()
    engine: Simulator
    if isinstance(simulator, str):
        engine, remarks = simulator_for(simulator, facts, reduced_facts)
    else:
        engine = simulator
    pairs = _pairs(first, second, facts, reduced_facts, observables, dict(definitions or {}))
    model = engine.load(first)
    needs = _readings(facts, [need for pair in pairs.values() for need in pair.definition.needs])
    wanted = {**needs, **_readings(facts, facts.species)}
    if until is None:
        horizon, run = _run_to_own_horizon(model, facts, needs, wanted, points)
    else:
        horizon, run = Horizon(until, "given by the user"), model.run(wanted, until, points)
    other: LoadedModel = engine.load(second)
    reduced_run = other.run({name: pair.reading for name, pair in pairs.items()}, horizon.until, points)
    report = _report(horizon, pairs, facts, run, reduced_run, engine.name)
    return replace(report, remarks=(*remarks, *report.remarks))


def _run_to_own_horizon(
    model: LoadedModel, facts: Facts, watch: Mapping[str, Reading], wanted: Mapping[str, Reading], points: int
) -> tuple[Horizon, Trajectory]:
    """The original on a horizon of its own; one that its precise run does not reach is shortened once."""
    horizon = choose_horizon(model, facts.times, watch)
    try:
        return horizon, model.run(wanted, horizon.until, points)
    except IntegrationError as error:
        if error.reached <= 0:
            raise
        horizon = before_failure(horizon, error.reached)
    return horizon, model.run(wanted, horizon.until, points)


def _readings(facts: Facts, names: Sequence[str]) -> dict[str, Reading]:
    return {name: reading for name in names if (reading := facts.reading(name)) is not None}


@dataclass(frozen=True, slots=True)
class _Pair:
    """An observable: how it follows from the original, and how it is read in the reduced model."""

    definition: Definition
    reading: Reading


def _check_grid(until: float | None, points: int) -> None:
    if until is not None and not (0 < until < float("inf")):
        raise UsageError(Reason("bad-horizon", f"The horizon must be a positive number, not {until!r}."))
    if points < 2:
        raise UsageError(Reason("bad-grid", f"The grid needs at least 2 points, not {points}."))


def _pairs(
    original: Path,
    reduced: Path,
    facts: Facts,
    reduced_facts: Facts,
    observables: Sequence[str] | None,
    definitions: dict[str, Definition],
) -> dict[str, _Pair]:
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
    return Definition((name,), lambda columns: columns[name])


def _unknown(name: str, path: Path, facts: Facts) -> Reason:
    near = difflib.get_close_matches(name, list(facts.forms), n=3)
    hint = f"; near matches: {', '.join(near)}" if near else ""
    return Reason("unknown-quantity", f"{path}: there is no quantity {name!r}{hint}.", name)


def _scales(pairs: Mapping[str, _Pair], facts: Facts, run: Trajectory) -> dict[str, float]:
    """Scale of each observable: of what it is computed from; species are of one kind, by the form they are read in."""
    kinds: dict[str, float] = {}
    for name in facts.species:
        form = facts.forms[name]
        kinds[form] = max(kinds.get(form, 0.0), magnitude(run.values[name]))
    species = set(facts.species)

    def scale(need: str) -> float:
        return kinds[facts.forms[need]] if need in species else magnitude(run.values[need])

    return {name: max(map(scale, pair.definition.needs), default=0.0) for name, pair in pairs.items()}


def _report(
    horizon: Horizon,
    pairs: Mapping[str, _Pair],
    facts: Facts,
    run: Trajectory,
    reduced_run: Trajectory,
    engine: str,
) -> ErrorReport:
    columns = {**run.values, "time": run.times}
    with np.errstate(all="ignore"):
        original = {name: pair.definition.value(columns) for name, pair in pairs.items()}
    reduced = {name: reduced_run.values[name] for name in pairs}
    errors = quantity_errors(original, reduced, _scales(pairs, facts, run))
    missing = {name: int((~np.isfinite(original[name])).sum()) for name in pairs}
    remarks = tuple(
        f"{name} has no finite value at {count} of {len(run.times)} points of the original; "
        + (
            "it has none there in the reduced model either, these points are left out."
            if np.array_equal(np.isfinite(original[name]), np.isfinite(reduced[name]))
            else "the reduced model differs there, so its error is unknown."
        )
        for name, count in missing.items()
        if count
    )
    return ErrorReport(
        until=horizon.until,
        horizon_reason=horizon.reason,
        times=run.times,
        original=original,
        reduced=reduced,
        per_observable=errors,
        max_relative_error=largest([e.max_relative_error for e in errors.values()]),
        final_relative_error=largest([e.final_relative_error for e in errors.values()]),
        max_absolute_error=largest([e.max_absolute_error for e in errors.values()]),
        seconds_original=run.seconds,
        seconds_reduced=reduced_run.seconds,
        simulator=engine,
        remarks=(*run.remarks, *reduced_run.remarks, *remarks),
    )
