"""libRoadRunner behind :class:`~sbmlump.simulate.protocol.Simulator`: the only module that imports roadrunner.

It guards against what the library does silently: it continues from the current state (every run resets first), keeps
parameters that events changed through a plain ``reset`` (``resetToOrigin`` does not), leaves an empty selection after
a rejected one (ids are checked, columns counted), prints to the console (silenced, errors become reasons), and
returns NaN where the mathematics has no value (found here).
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.simulate.facts import Facts, read_facts
from sbmlump.simulate.protocol import PRECISE, ROUGH, IntegrationError, Reading, Tolerances, Trajectory

__all__ = ["RoadRunnerModel", "RoadRunnerSimulator"]

_SCALE_POINTS = 101
_VANISHING = 1e-12  # of the largest species: below that a species is of no account beside it
_SKIP = 1e-12  # of a time: how far after a jump of the right-hand side a run begins anew
_FLOOR = 1e-6  # of the largest state: scale given to small states when the strict tolerances fail


class RoadRunnerSimulator:
    """Loads SBML files into libRoadRunner."""

    name = "roadrunner"

    def load(self, path: Path) -> RoadRunnerModel:
        """Compile ``path``.

        Raises
        ------
        InputError
            If the file cannot be read or is not XML.
        UnsupportedModelError
            If libRoadRunner refuses the model (code ``simulator-refused``).
        """
        facts = read_facts(path)
        with _library() as library:
            try:
                runner = library.RoadRunner(str(path.resolve()))
            except RuntimeError as error:
                message = f"{path}: libRoadRunner does not load this model: {_tidy(error)}."
                raise UnsupportedModelError(Reason("simulator-refused", message)) from error
        return RoadRunnerModel(path, facts, runner)


class RoadRunnerModel:
    """One compiled model."""

    def __init__(self, path: Path, facts: Facts, runner: Any) -> None:
        self._path = path
        self._facts = facts
        self._runner = runner
        model = runner.model
        # The order of CVODE's state vector: targets of rate rules, then the floating species without one (as amounts).
        self._state_ids = tuple(model.getStateVectorId(i) for i in range(len(runner.getRatesOfChange())))
        species = {*model.getFloatingSpeciesIds(), *model.getBoundarySpeciesIds()}
        self._states = {name: Reading(name, "amount" if name in species else "value") for name in self._state_ids}

    @property
    def path(self) -> Path:
        """File it came from."""
        return self._path

    @property
    def states(self) -> Mapping[str, Reading]:
        """What CVODE integrates: targets of rate rules and floating species, species as amounts."""
        return self._states

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0 (NaN where the mathematics has no value)."""
        if not self._state_ids:
            return {}
        with _library():
            self._runner.resetToOrigin()
            rates = np.asarray(self._runner.getRatesOfChange(), dtype=np.float64)
        return dict(zip(self._state_ids, rates.tolist(), strict=True))

    def run(
        self, readings: Mapping[str, Reading], until: float, points: int, tolerances: Tolerances = PRECISE
    ) -> Trajectory:
        """See :meth:`sbmlump.simulate.protocol.LoadedModel.run`."""
        with _library():
            scales = self._initial_scales(until)
            if not tolerances.retry:
                return self._attempt(readings, until, points, tolerances, scales)
            try:
                rough = self._attempt(self._states, until, _SCALE_POINTS, ROUGH, scales, self._stops(until))
                scales = self._lifted(np.array([np.abs(rough.values[name]).max() for name in self._state_ids]))
            except IntegrationError:
                pass  # the attempts below fail for the same cause, or succeed with scales from the initial state
            return self._persist(readings, until, points, tolerances, scales)

    def _persist(
        self,
        readings: Mapping[str, Reading],
        until: float,
        points: int,
        tolerances: Tolerances,
        scales: NDArray[np.float64],
    ) -> Trajectory:
        """Attempts from the tolerances asked for to looser ones; the first failure is reported if all fail."""
        floored = np.maximum(scales, _FLOOR * scales.max(initial=0.0))
        stops = self._stops(until)
        ways = [(1.0, scales, False), *([(1.0, scales, True)] if stops else [])]
        ways += [(10.0**k, floored, bool(stops)) for k in range(5)]
        first: IntegrationError | None = None
        for factor, scale, split in ways:
            asked = Tolerances(
                tolerances.relative * factor, tolerances.absolute * factor, tolerances.max_steps, retry=False
            )
            try:
                done = self._attempt(readings, until, points, asked, scale, stops if split else ())
            except IntegrationError as error:
                first = first or error
                continue
            if first is None:
                return done
            remark = f"{self._path.name}: the integrator failed at time {first.reached:.6g}; the run "
            remark += "was started anew at the times that the model mentions" if split else ""
            if factor > 1 or scale is floored:
                remark += " and " if split else ""
                remark += f"used a relative tolerance of {asked.relative:g}, and {asked.absolute:g} of the scale of "
                remark += "each state, no state's scale below a millionth of the largest"
            remark += "."
            return Trajectory(done.times, done.values, done.seconds, (remark,))
        assert first is not None
        raise first

    def _lifted(self, scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scales with those of vanishing species lifted to 1e-12 of the largest species (they share a unit)."""
        amounts = self._amounts()
        lowest = _VANISHING * scales[amounts].max(initial=0.0)
        return np.where(amounts, np.maximum(scales, lowest), scales)

    def _amounts(self) -> NDArray[np.bool_]:
        """Which states are amounts of species."""
        return np.array([reading.form == "amount" for reading in self._states.values()], dtype=np.bool_)

    def _initial_scales(self, until: float) -> NDArray[np.float64]:
        """Magnitude of each state as far as time 0 tells: initial values, else what the first rates lead to."""
        self._runner.resetToOrigin()
        values = np.array([abs(self._runner.getValue(name)) for name in self._state_ids], dtype=np.float64)
        largest = np.nanmax(values, initial=0.0)
        if not self._state_ids or largest > 0:
            # amounts share a unit among themselves, not with the parameters that rate rules change
            amounts = self._amounts()
            tops = [np.nanmax(values[kind], initial=0.0) for kind in (amounts, ~amounts)]
            top = np.where(amounts, tops[0] or largest, tops[1] or largest)
            return np.where(np.isfinite(values), np.maximum(values, 1e-3 * top), top)
        rates = np.abs(np.asarray(self._runner.getRatesOfChange(), dtype=np.float64))
        rates = rates[np.isfinite(rates)]
        guess = float(rates.max(initial=0.0)) * until
        return np.full(len(self._state_ids), guess if 0 < guess < np.inf else 1.0)

    def _attempt(
        self,
        readings: Mapping[str, Reading],
        until: float,
        points: int,
        tolerances: Tolerances,
        scales: NDArray[np.float64],
        stops: tuple[float, ...] = (),
    ) -> Trajectory:
        runner = self._runner
        selections = ["time", *(_selection(reading) for reading in readings.values())]
        self._select(selections, readings)
        runner.resetToOrigin()
        self._set_tolerances(tolerances, scales)
        start = time.perf_counter()
        try:
            table = self._table(until, points, stops)
        except RuntimeError as error:
            reached = float(runner.getCurrentTime())
            raise IntegrationError.at(self._path, reached, until, _tidy(error)) from error
        seconds = time.perf_counter() - start
        if table.shape != (points, len(selections)):
            why = f"libRoadRunner returned a table of shape {table.shape} for {points} points"
            raise IntegrationError.at(self._path, 0.0, until, why)
        self._require_finite_states(table, list(readings.values()), until)
        columns = {label: np.ascontiguousarray(table[:, i + 1]) for i, label in enumerate(readings)}
        return Trajectory(table[:, 0].copy(), columns, seconds)

    def _stops(self, until: float) -> tuple[float, ...]:
        """Times at which a run may be started anew: those the model compares the time with.

        Not for models with events: one that is due just then could be passed over.
        """
        if self._runner.model.getNumEvents():
            return ()
        return tuple(stop for stop in self._facts.times if _SKIP * until < stop < until * (1 - _SKIP))

    def _table(self, until: float, points: int, stops: tuple[float, ...]) -> NDArray[np.float64]:
        """Time and selected values, (points, 1 + selections), from the current state on.

        CVODE cannot step over a jump of the right-hand side that lies where an output interval begins: such runs are
        cut there, and each piece begins just after the jump (the state does not change in between).
        """
        if not stops:
            return np.array(self._runner.simulate(0.0, float(until), int(points)), dtype=np.float64)
        grid = np.linspace(0.0, until, points)
        edges = [0.0, *stops, until]
        rows = []
        for low, high in itertools.pairwise(edges):
            inside = grid[(grid > low) & (grid < high)]
            begin = low * (1 + _SKIP)
            piece = [begin, *inside[inside > begin].tolist(), high]
            table = np.array(self._runner.simulate(times=piece), dtype=np.float64)
            wanted = np.isin(table[:, 0], inside) | (np.isin(table[:, 0], grid) & (table[:, 0] == high))
            rows.append(table[wanted | (table[:, 0] == 0.0)])
        whole = np.concatenate(rows)
        whole[:, 0] = grid if len(whole) == points else whole[:, 0]
        return whole

    def _select(self, selections: list[str], readings: Mapping[str, Reading]) -> None:
        try:
            self._runner.timeCourseSelections = selections
        except RuntimeError as error:
            message = f"{self._path}: libRoadRunner cannot read a quantity: {_tidy(error)}."
            unknown = [r.id for r in readings.values() if r.id not in self._facts.forms]
            if unknown:
                raise UsageError(Reason("unknown-quantity", message, unknown[0])) from error
            raise UnsupportedModelError(Reason("simulator-refused", message)) from error
        if len(self._runner.timeCourseSelections) != len(selections):
            message = f"{self._path}: libRoadRunner dropped some of the quantities asked for."
            raise UsageError(Reason("unknown-quantity", message))

    def _set_tolerances(self, tolerances: Tolerances, scales: NDArray[np.float64]) -> None:
        integrator = self._runner.getIntegrator()
        integrator.setValue("stiff", True)
        integrator.setValue("maximum_num_steps", int(tolerances.max_steps))
        integrator.setValue("relative_tolerance", float(tolerances.relative))
        largest = float(scales.max(initial=0.0)) or 1.0
        absolute = tolerances.absolute * np.where(scales > 0, scales, largest)
        # Denormal tolerances would underflow inside CVODE's error weights.
        absolute = np.maximum(absolute, 1e-290)
        if len(absolute):
            integrator.setValue("absolute_tolerance", absolute.tolist())

    def _require_finite_states(self, table: NDArray[np.float64], readings: list[Reading], until: float) -> None:
        bad = ~np.isfinite(table)
        if not bad.any():
            return
        bad[:, 1:] &= np.array([reading.id in self._states for reading in readings], dtype=bool)
        if not bad.any():
            return
        row = int(np.argmax(bad.any(axis=1)))
        column = int(np.argmax(bad[row]))
        what = "time" if column == 0 else readings[column - 1].id
        reached = float(table[row - 1, 0]) if row else 0.0
        raise IntegrationError.at(self._path, reached, until, f"{what} has no finite value there")


def _selection(reading: Reading) -> str:
    return f"[{reading.id}]" if reading.form == "concentration" else reading.id


def _tidy(error: RuntimeError) -> str:
    """The library's message on one line, without C++ signatures and the closing full stop."""
    text = str(error).split("; In ")[0]
    text = re.sub(r"^(static |virtual )?[\w:<> ]*::\w+\(.*?\)( const)?,\s*", "", text)
    text = " ".join(text.split())
    return (text[:400].rstrip(" .;") or "no cause given").replace("CVODE Error: ", "")


@contextmanager
def _library() -> Iterator[Any]:
    """The roadrunner module, quiet and configured; the caller's settings are put back afterwards.

    CVODE writes warnings to the process's own standard output, where a JSON object may be expected; it takes the
    place to write to from the environment when its context is made.
    """
    channels = ("SUNLOGGER_WARNING_FILENAME", "SUNLOGGER_ERROR_FILENAME", "SUNLOGGER_INFO_FILENAME")
    added = [name for name in channels if name not in os.environ]
    for name in added:
        os.environ[name] = os.devnull
    import roadrunner

    logger, config = roadrunner.Logger, roadrunner.Config
    level = logger.getLevel()
    logger.setLevel(logger.LOG_FATAL)
    # LLJIT halves the time of compilation (libRoadRunner 2.10, 1,536 reactions: 5.3 s by default, 2.5 s with LLJIT).
    # MUTABLE_INITIAL_CONDITIONS=False would save another third, but with LLJIT it breaks some published models: symbols
    # of the compiled code are not found, and values are wrong without an error.
    wanted = {config.LLVM_BACKEND: config.LLJIT, config.LOADSBMLOPTIONS_MUTABLE_INITIAL_CONDITIONS: True}
    before = {key: config.getValue(key) for key in wanted}
    for key, value in wanted.items():
        config.setValue(key, value)
    try:
        yield roadrunner
    finally:
        for key, value in before.items():
            config.setValue(key, value)
        logger.setLevel(level)
        for name in added:
            os.environ.pop(name, None)
