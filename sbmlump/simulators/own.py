"""The project's own right-hand side behind :class:`~sbmlump.simulators.protocol.Simulator`.

``own`` integrates it by CVODE (BDF; dense Jacobian for small systems, GMRES for large ones), ``scipy`` by SciPy's
LSODA. Both start within the time it takes to read the file, where a compiler works for a minute on a model of some
thousand reactions. ``own`` executes events, ``scipy`` refuses models that have them. An adapter: the runs are those of
:mod:`sbmlump.dynamics.events`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.events import SingleRun, Solve, by_cvode, by_lsoda, single_run, unsupported_events
from sbmlump.dynamics.multistep import cvode_installed
from sbmlump.dynamics.rosenbrock import StepControl
from sbmlump.dynamics.rounding import TermSizes
from sbmlump.errors import Reason, UnsupportedModelError, UsageError, extra_missing
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import Node
from sbmlump.simulators.protocol import (
    LEAST_STEPS,
    PRECISE,
    ROUGH,
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

__all__ = ["OwnModel", "OwnSimulator", "ScipySimulator"]


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """How a run is retried.

    Attributes
    ----------
    scale_points : int
        Of the rough run that tells how large each state becomes.
    vanishing : float
        Of the largest state: below that a state is negligible beside it.
    loosenings : int
        Tenfold looser tolerances that are tried.
    """

    scale_points: int = 101
    vanishing: float = 1e-12
    loosenings: int = 5


OWN: Final = OwnSettings()


class OwnSimulator:
    """Own right-hand side, CVODE."""

    name = "own"

    def load(self, model: Path | SimulatedModel) -> OwnModel:
        """Read a model.

        Raises
        ------
        InputError
            If the file cannot be read.
        UnsupportedModelError
            If it cannot become an ODE system, or has events that are not executed here (code ``simulator-refused``), or
            any without CVODE (``extra-missing``).
        """
        source = simulated_file(model)
        if cvode_installed():
            return OwnModel(source, by_cvode)
        if source.system is not None and source.system.events:
            what = f"{source.path} has events, which CVODE (scikit-sundae) finds; it is not installed"
            raise UnsupportedModelError(extra_missing(what, "cvode"))
        remark = "integrated by SciPy's LSODA, as CVODE is not installed (pip install 'sbmlump[cvode]')."
        return OwnModel(source, by_lsoda, remark)


class ScipySimulator:
    """Own right-hand side, SciPy's LSODA."""

    name = "scipy"

    def load(self, model: Path | SimulatedModel) -> OwnModel:
        """As :meth:`OwnSimulator.load`."""
        return OwnModel(simulated_file(model), by_lsoda)


class OwnModel(ModelOfSource):
    """One model as an ODE system."""

    def __init__(self, source: SimulatedModel, solve: Solve, remark: str = "") -> None:
        super().__init__(source)
        self._solve = solve
        self._remarks = (f"{source.path.name}: {remark}",) if remark else ()
        system = source.system
        if system is None:
            message = f"{source.path}: sbmlump does not read this model as differential equations (see sbmlump inspect)"
            raise UnsupportedModelError(Reason("simulator-refused", message))
        if system.events:
            why = unsupported_events(system) if solve is by_cvode else "the solver of SciPy finds no events"
            if why is not None:
                message = f"{source.path}: its events are not executed here: {why}; use --simulator roadrunner"
                raise UnsupportedModelError(Reason("simulator-refused", message))
        self._system = system
        # species are scaled as amounts, like the other simulators do; what lies in a changing compartment is as it is
        self._states = {name: QuantitySelection(name, self._form(name)) for name in system.states}

    def _form(self, name: str) -> Any:
        form = self._index.kinds.get(name, "value")
        return "amount" if form == "concentration" and self._size(name) in self._system.constant_values else form

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0 (NaN where the mathematics has no value)."""
        rates = self._system.rates(0.0, self._system.initial_state())
        return dict(zip(self._states, (rates * self._factors()).tolist(), strict=True))

    def run(
        self,
        selections: Mapping[str, QuantitySelection],
        until: float,
        points: int,
        tolerances: Tolerances = PRECISE,
        between: Array | None = None,
        nudge: float = 0.0,
    ) -> Trajectory:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.run`.

        ``nudge`` moves each initial value by that part of itself, up and down in turn.
        """
        evaluator = self._reader(selections)
        start = self._system.initial_state()
        if not np.isfinite(start).all():
            name = self._system.states[int(np.argmin(np.isfinite(start)))]
            raise IntegrationError.at(self._path, 0.0, until, f"{name} has no finite initial value")
        start = start * (1 + nudge * np.where(np.arange(len(start)) % 2, 1.0, -1.0))
        grid = merged_grid(until, points, between)
        scales = self._first_scales(start, until)
        if not tolerances.retry:
            return self._attempt(evaluator, selections, start, grid, tolerances, scales)
        coarse = np.linspace(0.0, until, OWN.scale_points)
        rough = self._single_run(start, coarse, replace(ROUGH, events=tolerances.events), scales).states
        if rough is not None:
            terms = TermSizes(self._system, coarse, dict(zip(self._system.states, rough.T, strict=True)))
            scales = np.maximum(_lifted(np.abs(rough).max(axis=0)), terms.least_scales(tolerances.absolute))

        def attempt(asked: Tolerances) -> Trajectory:
            return self._attempt(evaluator, selections, start, grid, asked, scales)

        ways = [(tolerances.looser(10.0**k), "", attempt) for k in range(OWN.loosenings)]
        return first_to_end(self._path, ways)

    def steps(self, until: float) -> Steps:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.steps`."""
        start = self._system.initial_state()
        run = self._single_run(start, np.array([0.0, until]), ROUGH, self._first_scales(start, until), own_steps=True)
        if run.states is None:
            raise IntegrationError.at(self._path, run.reached, until, run.failure)
        stops = self._switches.until(until)
        return Steps(np.unique(np.concatenate([[0.0, until], *run.steps])), np.unique([*run.events, *stops]))

    # -- inside --------------------------------------------------------------------------------------

    def _attempt(
        self,
        evaluator: Evaluator,
        readings: Mapping[str, QuantitySelection],
        start: Array,
        grid: Array,
        tolerances: Tolerances,
        scales: Array,
    ) -> Trajectory:
        begin = time.perf_counter()
        run = self._single_run(start, grid, tolerances, scales)
        seconds = time.perf_counter() - begin
        if run.states is None:
            raise IntegrationError.at(self._path, run.reached, float(grid[-1]), run.failure)
        values = evaluator.values(grid, run.states)
        columns = {label: np.ascontiguousarray(values[:, i]) for i, label in enumerate(readings)}
        return Trajectory(grid, columns, seconds, self._remarks, run.fired)

    def _single_run(
        self, start: Array, grid: Array, tolerances: Tolerances, scales: Array, *, own_steps: bool = False
    ) -> SingleRun:
        until = float(grid[-1])
        largest = float(scales.max(initial=0.0)) or 1.0
        absolute = np.maximum(tolerances.absolute * np.where(scales > 0, scales, largest), 1e-290)
        return single_run(
            self._system,
            start,
            grid,
            StepControl(tolerances.relative, absolute, tolerances.max_steps),
            longest=until / LEAST_STEPS,
            stops=self._switches.until(until),
            solve=self._solve,
            own_steps=own_steps,
            most_events=tolerances.events,
        )

    def _first_scales(self, start: Array, until: float) -> Array:
        """Magnitudes of the states as far as time 0 tells."""
        values = np.abs(start)
        largest = float(values.max(initial=0.0))
        if largest > 0:
            return np.maximum(values, 1e-3 * largest)
        rates = np.abs(self._system.rates(0.0, start))
        guess = float(rates[np.isfinite(rates)].max(initial=0.0)) * until
        return np.full(len(start), guess if 0 < guess < np.inf else 1.0)

    def _reader(self, readings: Mapping[str, QuantitySelection]) -> Evaluator:
        nodes = [self._node(reading) for reading in readings.values()]
        system = self._system
        return Evaluator(system.graph, nodes, system.states, system.constant_values)

    def _node(self, reading: QuantitySelection) -> Node:
        """Value of a quantity in the form in which it is wanted."""
        system = self._system
        node = system.definitions.get(reading.id)
        own = self._index.kinds.get(reading.id)
        if node is None or own is None:
            raise UsageError(
                Reason("unknown-quantity", f"{self._path}: there is no quantity {reading.id!r}.", reading.id)
            )
        if own == reading.kind:
            return node
        inside = self._size(reading.id)
        size = None if inside is None else system.definitions.get(inside)
        if size is None or {own, reading.kind} != {"amount", "concentration"}:
            message = f"{self._path}: {reading.id} cannot be read as {reading.kind}."
            raise UsageError(Reason("unknown-quantity", message, reading.id))
        graph = system.graph
        return graph.mul((node, size)) if reading.kind == "amount" else graph.div(node, size)

    def _size(self, name: str) -> str | None:
        quantity = self._system.quantities.get(name)
        return None if quantity is None else quantity.compartment

    def _factors(self) -> Array:
        """What turns each state into the form in which ``states`` reads it."""
        system = self._system
        nodes = []
        for name, reading in self._states.items():
            inside = self._size(name)
            changed = reading.kind == "amount" and self._index.kinds.get(name) == "concentration"
            nodes.append(system.graph.symbol(inside) if changed and inside is not None else system.graph.number(1))
        return Evaluator(system.graph, nodes, (), system.constant_values).values(0.0, np.empty(0))


def _lifted(scales: Array) -> Array:
    """Scales with those of vanishing states lifted to 1e-12 of the largest."""
    return np.maximum(scales, OWN.vanishing * float(scales.max(initial=0.0)))
