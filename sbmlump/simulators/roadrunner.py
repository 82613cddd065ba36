"""libRoadRunner behind :class:`~sbmlump.simulators.protocol.Simulator`: the only module that imports roadrunner.

It guards against what the library does silently: it continues from the current state (every run resets first), keeps
parameters that events changed through a plain ``reset`` (``resetToOrigin`` does not), leaves an empty selection after
a rejected one (ids are checked, columns counted), prints to the console (silenced, errors become reasons), shows ids
of the model as attributes of its objects, over its own methods (switched off), takes an id called ``time`` for the
time (renamed in the text that it is given), and returns NaN where the mathematics has no value (found here).
"""

from __future__ import annotations

import itertools
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array, Mask
from sbmlump.dynamics.events import TOO_MANY_EVENTS
from sbmlump.dynamics.rounding import TermSizes
from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.sbml.read.document import with_other_ids
from sbmlump.simulators.protocol import (
    LEAST_STEPS,
    PRECISE,
    ROUGH,
    Attempt,
    IntegrationError,
    ModelOfSource,
    QuantitySelection,
    SimulatedModel,
    Steps,
    Tolerances,
    Trajectory,
    first_to_end,
    merged_grid,
    simulated_file,
)

__all__ = ["RoadRunnerModel", "RoadRunnerSettings", "RoadRunnerSimulator"]


_SELECTED = ("time", "Time")  # what a selection takes for the time


@dataclass(frozen=True, slots=True)
class RoadRunnerSettings:
    """How libRoadRunner is asked.

    Attributes
    ----------
    scale_points : int
        Points of the rough run that tells how large states become.
    rows : int
        Steps of a rough run that are looked at.
    before : float
        Of a time: how far before a jump a run with events begins anew.
    after : float
        Of a time: how far after a jump of the right-hand side a run without events begins anew.
    vanishing : float
        Of the largest species: below that a species is negligible beside it.
    floor : float
        Of the largest state: scale given to small states when the strict tolerances fail.
    loosenings : int
        Attempts with that floor, each with ten times the tolerance of the one before.
    least_absolute : float
        Absolute tolerance at least: denormal ones would underflow inside CVODE's error weights.
    """

    scale_points: int = 101
    rows: int = 50_000
    before: float = 1e-9
    after: float = 1e-12
    vanishing: float = 1e-12
    floor: float = 1e-6
    loosenings: int = 5
    least_absolute: float = 1e-290


ROADRUNNER_SETTINGS: Final = RoadRunnerSettings()


class RoadRunnerSimulator:
    """Loads SBML files into libRoadRunner."""

    name = "roadrunner"

    def __init__(self, settings: RoadRunnerSettings = ROADRUNNER_SETTINGS) -> None:
        self.settings = settings

    def load(self, model: Path | SimulatedModel) -> RoadRunnerModel:
        """Compile a model.

        Raises
        ------
        InputError
            If the file cannot be read or is not SBML.
        UnsupportedModelError
            If libRoadRunner refuses the model (code ``simulator-refused``).
        """
        source = simulated_file(model)
        text, aliases = _without_names_of_time(source)
        with _library() as library:
            try:
                runner = library.RoadRunner(text)
            except RuntimeError as error:
                message = f"{source.path}: libRoadRunner does not load this model: {_tidy(error)}."
                raise UnsupportedModelError(Reason("simulator-refused", message)) from error
        return RoadRunnerModel(source, runner, aliases, self.settings)


class _EventLog:
    """Which events were triggered in a run, and when; what is called by the library holds nothing of the model."""

    def __init__(self) -> None:
        self.fired: dict[str, float] = {}
        self.last = 0.0
        self._count = 0
        self._most: int | None = None

    def clear(self, most: int | None) -> None:
        """Before a run with at most so many events."""
        self.fired, self.last, self._count, self._most = {}, 0.0, 0, most

    @property
    def full(self) -> bool:
        """Whether there have been more."""
        return self._most is not None and self._count > self._most

    def listener(self, name: str) -> Callable[[Any, int, str], int]:
        """What is called when the event of that id is triggered; what it returns halts the run, or not."""

        def triggered(model: Any, _index: int, _id: str) -> int:
            self.last = float(model.getTime())
            self.fired.setdefault(name, self.last)
            self._count += 1
            return int(self.full)  # EventListener.HALT_SIMULATION is 1

        return triggered


class RoadRunnerModel(ModelOfSource):
    """One compiled model."""

    def __init__(
        self, source: SimulatedModel, runner: Any, aliases: Mapping[str, str], settings: RoadRunnerSettings
    ) -> None:
        super().__init__(source)
        self._system = source.system
        self._settings = settings
        self._runner = runner
        self._aliases = aliases
        self._events = _EventLog()
        model = runner.getModel()
        named = [] if source.system is None else [event.id for event in source.system.events if event.id]
        # it is not asked for the ids: where an event has none the library writes beyond its memory
        if len(named) == model.getNumEvents():
            for name in named:
                model.getEvent(aliases.get(name, name)).setOnTrigger(self._events.listener(name))
        # The order of CVODE's state vector: targets of rate rules, then the floating species without one (as amounts).
        self._selected = tuple(model.getStateVectorId(i) for i in range(len(runner.getRatesOfChange())))
        own = {alias: name for name, alias in aliases.items()}
        self._state_ids = tuple(own.get(name, name) for name in self._selected)
        species = {*model.getFloatingSpeciesIds(), *model.getBoundarySpeciesIds()}
        # what CVODE integrates: targets of rate rules and floating species, species as amounts
        self._states = {
            own.get(name, name): QuantitySelection(own.get(name, name), "amount" if name in species else "value")
            for name in self._selected
        }

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0 (NaN where the mathematics has no value)."""
        if not self._state_ids:
            return {}
        with _library():
            self._begin()
            rates = np.asarray(self._runner.getRatesOfChange(), dtype=np.float64)
        return dict(zip(self._state_ids, rates.tolist(), strict=True))

    def run(
        self,
        selections: Mapping[str, QuantitySelection],
        until: float,
        points: int,
        tolerances: Tolerances = PRECISE,
        between: Array | None = None,
    ) -> Trajectory:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.run`."""
        grid = merged_grid(until, points, between)
        with _library():
            scales = self._initial_scales(until)
            if not tolerances.retry:
                return self._attempt(selections, grid, tolerances, scales, self._stops(until))
            try:
                coarse = merged_grid(until, self._settings.scale_points)
                read = {**self._states, **self._read_as_meant()}
                rough = self._attempt(
                    read, coarse, replace(ROUGH, events=tolerances.events), scales, self._stops(until)
                )
                scales = self._lifted(np.array([np.abs(rough.values[name]).max() for name in self._state_ids]))
                scales = np.maximum(scales, self._least_scales(rough, tolerances.absolute))
            except IntegrationError:
                pass  # the attempts below fail for the same cause, or succeed with scales from the initial state
            return self._persist(selections, grid, tolerances, scales)

    def steps(self, until: float) -> Steps:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.steps`."""
        with _library():
            runner = self._runner
            self._select(["time"], {})
            self._begin()
            self._set_tolerances(ROUGH, self._initial_scales(until), until)
            integrator = runner.getIntegrator()
            integrator.setValue("maximum_time_step", float(until) / LEAST_STEPS)
            try:
                # where CVODE gets stuck (a rate that is not a number), steps of its own choice shrink without end,
                # and the library goes on; with output at given times it counts them and fails
                runner.simulate(0.0, float(until), LEAST_STEPS + 1)
                self._begin()
                integrator.setValue("variable_step_size", True)
                integrator.setValue("max_output_rows", self._settings.rows)
                # in one go: pieces with steps of its own choice the library refuses, or never ends
                table = np.array(runner.simulate(0.0, float(until)), dtype=np.float64)
            except RuntimeError as error:
                reached = float(runner.getCurrentTime())
                raise IntegrationError.at(self._path, reached, until, _tidy(error)) from error
            finally:
                integrator.setValue("variable_step_size", False)
        times = table[:, 0]
        # an event has two rows, before and after it: at one time, or at both ends of the interval in which CVODE has
        # found it, which of the two depends on the last bit of a sum
        twice = times[1:][np.diff(times) <= self._settings.before * times[1:]]
        return Steps(np.unique(times), np.unique(np.concatenate([twice, self._stops(until)])))

    def _persist(
        self,
        selections: Mapping[str, QuantitySelection],
        grid: Array,
        tolerances: Tolerances,
        scales: Array,
    ) -> Trajectory:
        """Attempts from the tolerances asked for to looser ones; the first failure is reported if all fail."""
        floored = np.maximum(scales, self._settings.floor * scales.max(initial=0.0))
        stops = self._stops(float(grid[-1]))
        ways = [(1.0, scales, stops), *([(1.0, scales, ())] if stops and self._index.events else [])]
        ways += [(10.0**k, floored, stops) for k in range(self._settings.loosenings)]
        attempts: list[Attempt] = []
        for factor, scale, cuts in ways:
            asked = tolerances.looser(factor)
            said = ""
            if scale is floored:
                said += f", and {asked.absolute:g} of the scale of each state, no state's scale below a millionth of "
                said += "the largest"
            if cuts != stops:
                said += ", and was not started anew at the times that the model mentions"
            attempts.append((asked, said, partial(self._attempt, selections, grid, scales=scale, stops=cuts)))
        return first_to_end(self._path, attempts)

    def _lifted(self, scales: Array) -> Array:
        """Scales with those of vanishing species lifted to 1e-12 of the largest species (they share a unit)."""
        amounts = self._amounts()
        lowest = self._settings.vanishing * scales[amounts].max(initial=0.0)
        return np.where(amounts, np.maximum(scales, lowest), scales)

    def _read_as_meant(self) -> dict[str, QuantitySelection]:
        """States of the equations in the form that they have there, and the sizes they are in, by labels."""
        if self._system is None:
            return {}
        sizes = {q.compartment for name in self._system.states if (q := self._system.quantities.get(name))}
        names = [*self._system.states, *sorted(size for size in sizes if size is not None)]
        return {f"meant {name}": selection for name, selection in self._index.selections(names).items()}

    def _least_scales(self, rough: Trajectory, absolute: float) -> Array:
        """Scales of the states below which a tolerance would be one below the rounding of their terms."""
        system = self._system
        columns = {name: rough.values.get(f"meant {name}") for name in (() if system is None else system.states)}
        known = {name: values for name, values in columns.items() if values is not None}
        if system is None or len(known) < len(columns):
            return np.zeros(len(self._state_ids))
        least = TermSizes(system, rough.times, known).least_scales(absolute)
        found = dict(zip(system.states, least.tolist(), strict=True))
        for name, selection in self._states.items():
            quantity = system.quantities.get(name)
            if found.get(name) and quantity is not None and selection.kind != self._index.kinds.get(name):
                found[name] *= float(np.abs(rough.values[f"meant {quantity.compartment}"]).max())
        return np.array([found.get(name, 0.0) for name in self._state_ids], dtype=np.float64)

    def _amounts(self) -> Mask:
        """Which states are amounts of species."""
        return np.array([selection.kind == "amount" for selection in self._states.values()], dtype=np.bool_)

    def _initial_scales(self, until: float) -> Array:
        """Magnitude of each state as far as time 0 tells: initial values, else what the first rates lead to."""
        self._begin()
        values = np.array([abs(self._runner.getValue(name)) for name in self._selected], dtype=np.float64)
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
        selections: Mapping[str, QuantitySelection],
        grid: Array,
        tolerances: Tolerances,
        scales: Array,
        stops: tuple[float, ...],
    ) -> Trajectory:
        runner, until = self._runner, float(grid[-1])
        columns = ["time", *(self._selection(selection) for selection in selections.values())]
        self._select(columns, selections)
        self._begin(tolerances.events)
        self._set_tolerances(tolerances, scales, until)
        start = time.perf_counter()
        try:
            table = self._table(grid, stops)
        except RuntimeError as error:
            reached = float(runner.getCurrentTime())
            raise IntegrationError.at(self._path, reached, until, _tidy(error)) from error
        seconds = time.perf_counter() - start
        if table.shape != (len(grid), len(columns)):
            why = f"libRoadRunner returned a table of shape {table.shape} for {len(grid)} points"
            raise IntegrationError.at(self._path, 0.0, until, why)
        self._require_finite_states(table, list(selections.values()), until)
        values = {label: np.ascontiguousarray(table[:, i + 1]) for i, label in enumerate(selections)}
        return Trajectory(grid, values, seconds, fired=dict(self._events.fired))

    def _begin(self, events: int | None = None) -> None:
        """Back to time 0, where events may be executed already; a run halts after so many ``events``."""
        self._events.clear(events)
        try:
            self._runner.resetToOrigin()
        except RuntimeError as error:
            if not self._events.full:
                raise
            raise IntegrationError.at(self._path, 0.0, 0.0, TOO_MANY_EVENTS) from error

    def _stops(self, until: float) -> tuple[float, ...]:
        """Times at which a run is started anew: those at which the model changes by itself."""
        return tuple(
            stop
            for stop in self._switches.until(until)
            if self._settings.after * until < stop < until * (1 - self._settings.after)
        )

    def _edges(self, stops: tuple[float, ...]) -> list[float]:
        """Where a run is cut for ``stops``: there, or just before where an event could be due, lest it is missed."""
        return [stop * (1 - self._settings.before) for stop in stops] if self._index.events else list(stops)

    def _after(self, edge: float) -> float:
        """Where the piece after an edge begins: without events just after the jump, the state does not change there."""
        return edge if self._index.events else edge * (1 + self._settings.after)

    def _table(self, grid: Array, stops: tuple[float, ...]) -> Array:
        """Time and selected values, (points, 1 + selections), from the current state on.

        CVODE cannot step over a jump of the right-hand side that lies where an output interval begins, and steps over
        pulses: runs are cut at jumps.
        """
        rows = []
        for low, high in itertools.pairwise([0.0, *self._edges(stops), float(grid[-1])]):
            begin = self._after(low)
            wanted = grid[(grid > low) & (grid <= high)] if low else grid[grid <= high]
            # an output so near to the beginning that the first step is a short one; nothing is asked for on the jump
            # itself, where the library would have to stop twice: the value there is the one before it
            near = low * (1 + 2 * self._settings.before)
            piece = np.unique([begin, *([near] if begin < near < high else []), *wanted[wanted > near], high])
            table = np.array(self._runner.simulate(times=piece.tolist()), dtype=np.float64)
            if self._events.full:  # the table is not filled beyond
                raise IntegrationError.at(self._path, self._events.last, float(grid[-1]), TOO_MANY_EVENTS)
            if len(table) != len(piece):
                return table
            rows.append(table[np.searchsorted(piece, np.where(wanted > near, wanted, begin))])
        whole = np.concatenate(rows)
        whole[:, 0] = grid
        return whole

    def _selection(self, selection: QuantitySelection) -> str:
        name = self._aliases.get(selection.id, selection.id)
        return f"[{name}]" if selection.kind == "concentration" else name

    def _select(self, columns: list[str], selections: Mapping[str, QuantitySelection]) -> None:
        try:
            self._runner.timeCourseSelections = columns
        except RuntimeError as error:
            message = f"{self._path}: libRoadRunner cannot read a quantity: {_tidy(error)}."
            unknown = [r.id for r in selections.values() if r.id not in self._index.kinds]
            if unknown:
                raise UsageError(Reason("unknown-quantity", message, unknown[0])) from error
            raise UnsupportedModelError(Reason("simulator-refused", message)) from error
        if len(self._runner.timeCourseSelections) != len(columns):
            message = f"{self._path}: libRoadRunner dropped some of the quantities asked for."
            raise UsageError(Reason("unknown-quantity", message))

    def _set_tolerances(self, tolerances: Tolerances, scales: Array, until: float) -> None:
        integrator = self._runner.getIntegrator()
        integrator.setValue("stiff", True)
        # where a run is looked at once only, or has failed with a bound, steps are not bounded (0)
        bounded = tolerances.relative < ROUGH.relative
        integrator.setValue("maximum_time_step", float(until) / LEAST_STEPS if bounded else 0.0)
        integrator.setValue("maximum_num_steps", int(tolerances.max_steps))
        integrator.setValue("relative_tolerance", float(tolerances.relative))
        largest = float(scales.max(initial=0.0)) or 1.0
        absolute = tolerances.absolute * np.where(scales > 0, scales, largest)
        absolute = np.maximum(absolute, self._settings.least_absolute)
        if len(absolute):
            integrator.setValue("absolute_tolerance", absolute.tolist())

    def _require_finite_states(self, table: Array, selections: list[QuantitySelection], until: float) -> None:
        bad = ~np.isfinite(table)
        if not bad.any():
            return
        bad[:, 1:] &= np.array([selection.id in self._states for selection in selections], dtype=bool)
        if not bad.any():
            return
        row = int(np.argmax(bad.any(axis=1)))
        column = int(np.argmax(bad[row]))
        what = "time" if column == 0 else selections[column - 1].id
        reached = float(table[row - 1, 0]) if row else 0.0
        raise IntegrationError.at(self._path, reached, until, f"{what} has no finite value there")


def _without_names_of_time(source: SimulatedModel) -> tuple[str, Mapping[str, str]]:
    """The text with other ids for quantities whose own mean something else in a selection, and those ids."""
    clashing = [name for name in source.index.kinds if name in _SELECTED]
    if not clashing:
        return source.text, {}
    from sbmlump.model.names import free_id

    aliases = {name: free_id(f"{name}_", source.index.kinds) for name in clashing}
    return with_other_ids(source.text, aliases, file=source.path.name), aliases


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
    wanted = {
        config.LLVM_BACKEND: config.LLJIT,
        config.LOADSBMLOPTIONS_MUTABLE_INITIAL_CONDITIONS: True,
        config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES: True,
    }
    before = {key: config.getValue(key) for key in wanted}
    for key, value in wanted.items():
        config.setValue(key, value)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Simulation requested end time point")  # where it was halted
            yield roadrunner
    finally:
        for key, value in before.items():
            config.setValue(key, value)
        logger.setLevel(level)
        for name in added:
            os.environ.pop(name, None)
