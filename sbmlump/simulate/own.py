"""The project's own right-hand side behind :class:`~sbmlump.simulate.protocol.Simulator`.

``own`` integrates it by CVODE (BDF; dense Jacobian for small systems, GMRES for large ones), ``scipy`` by SciPy's
LSODA. Both start within the time it takes to read the file, where a compiler works for a minute on a model of some
thousand reactions. Models with events are refused: libRoadRunner and COPASI run them.

References
----------
Hindmarsh et al., SUNDIALS, ACM TOMS 31 (2005), doi 10.1145/1089014.1089020.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.expr.evaluate import Evaluator
from sbmlump.expr.graph import Node
from sbmlump.sbml.reader import load_sbml
from sbmlump.simulate.facts import Facts, read_facts
from sbmlump.simulate.protocol import PRECISE, ROUGH, IntegrationError, Reading, Tolerances, Trajectory
from sbmlump.system import OdeSystem

__all__ = ["OwnModel", "OwnSimulator", "ScipySimulator"]

Array = NDArray[np.float64]
_MOST_DENSE: Final = 150
_KRYLOV: Final = 30
_SCALE_POINTS: Final = 101
_VANISHING: Final = 1e-12  # of the largest state: below that a state is of no account beside it
_SKIP: Final = 1e-12  # of a time: how far after a jump of the right-hand side a run begins anew
_LOOSENINGS: Final = 5
_LEAST_RELATIVE: Final = 1e-13  # LSODA refuses less
_STEPS_FACTOR: Final = 5  # steps of a whole run; those of CVODE count from one point of the grid to the next
_PIECE: Final = 3  # points of a piece at least, so that the solver reports the grid and not its own steps


@dataclass(frozen=True, slots=True)
class _Solved:
    """States on a grid as far as the solver got, (k, n), and what it said if that is not the end."""

    states: Array
    why: str | None


Solve = Callable[["OdeSystem", Array, Array, Tolerances, Array], _Solved]
"""From the system, the grid (k,), the start (n,), tolerances and the absolute tolerance of each state."""


class OwnSimulator:
    """Own right-hand side, CVODE."""

    name = "own"

    def load(self, path: Path) -> OwnModel:
        """Read ``path``.

        Raises
        ------
        InputError
            If the file cannot be read.
        UnsupportedModelError
            If it cannot become an ODE system, or has events (code ``simulator-refused``).
        """
        return OwnModel(path, _cvode)


class ScipySimulator:
    """Own right-hand side, SciPy's LSODA."""

    name = "scipy"

    def load(self, path: Path) -> OwnModel:
        """As :meth:`OwnSimulator.load`."""
        return OwnModel(path, _lsoda)


class OwnModel:
    """One model as an ODE system."""

    def __init__(self, path: Path, solve: Solve) -> None:
        self._path = path
        self._solve = solve
        self._facts: Facts = read_facts(path)
        system = load_sbml(path)
        if system.events:
            message = f"{path}: has events, which sbmlump does not integrate itself; use --simulator roadrunner"
            raise UnsupportedModelError(Reason("simulator-refused", message))
        self._system = system
        # species are scaled as amounts, like the other simulators do; what lies in a changing compartment is as it is
        self._states = {name: Reading(name, self._form(name)) for name in system.states}

    def _form(self, name: str) -> Any:
        form = self._facts.forms.get(name, "value")
        return "amount" if form == "concentration" and self._size(name) in self._system.constant_values else form

    @property
    def path(self) -> Path:
        """File it came from."""
        return self._path

    @property
    def states(self) -> Mapping[str, Reading]:
        """States of the system."""
        return self._states

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0 (NaN where the mathematics has no value)."""
        rates = self._system.rates(0.0, self._system.initial_state())
        return dict(zip(self._states, (rates * self._factors()).tolist(), strict=True))

    def run(
        self, readings: Mapping[str, Reading], until: float, points: int, tolerances: Tolerances = PRECISE
    ) -> Trajectory:
        """See :meth:`sbmlump.simulate.protocol.LoadedModel.run`."""
        evaluator = self._reader(readings)
        start = self._system.initial_state()
        if not np.isfinite(start).all():
            name = self._system.states[int(np.argmin(np.isfinite(start)))]
            raise IntegrationError.at(self._path, 0.0, until, f"{name} has no finite initial value")
        scales = self._first_scales(start, until)
        if not tolerances.retry:
            return self._attempt(evaluator, readings, start, until, points, tolerances, scales)
        rough, _ = self._states_on(start, np.linspace(0.0, until, _SCALE_POINTS), ROUGH, scales)
        if rough is not None:
            scales = _lifted(np.abs(rough).max(axis=0))
        first: IntegrationError | None = None
        for k in range(_LOOSENINGS):
            factor = 10.0**k
            asked = Tolerances(
                tolerances.relative * factor, tolerances.absolute * factor, tolerances.max_steps, retry=False
            )
            try:
                done = self._attempt(evaluator, readings, start, until, points, asked, scales)
            except IntegrationError as error:
                first = first or error
                continue
            if first is None:
                return done
            remark = f"{self._path.name}: the integrator failed at time {first.reached:.6g}; the run used a relative "
            remark += f"tolerance of {asked.relative:g}."
            return Trajectory(done.times, done.values, done.seconds, (remark,))
        assert first is not None
        raise first

    # -- inside --------------------------------------------------------------------------------------

    def _attempt(
        self,
        evaluator: Evaluator,
        readings: Mapping[str, Reading],
        start: Array,
        until: float,
        points: int,
        tolerances: Tolerances,
        scales: Array,
    ) -> Trajectory:
        grid = np.linspace(0.0, until, points)
        begin = time.perf_counter()
        table, failure = self._states_on(start, grid, tolerances, scales)
        seconds = time.perf_counter() - begin
        if table is None:
            reached, why = failure
            raise IntegrationError.at(self._path, reached, until, why)
        values = evaluator.values(grid, table)
        columns = {label: np.ascontiguousarray(values[:, i]) for i, label in enumerate(readings)}
        return Trajectory(grid, columns, seconds)

    def _states_on(
        self, start: Array, grid: Array, tolerances: Tolerances, scales: Array
    ) -> tuple[Array | None, tuple[float, str]]:
        """States on ``grid``, (k, n), solved piecewise between the times that the model mentions."""
        largest = float(scales.max(initial=0.0)) or 1.0
        absolute = np.maximum(tolerances.absolute * np.where(scales > 0, scales, largest), 1e-290)
        until = float(grid[-1])
        if not len(start):
            return np.empty((len(grid), 0)), (until, "")
        stops = [stop for stop in self._facts.times if _SKIP * until < stop < until * (1 - _SKIP)]
        table = np.full((len(grid), len(start)), np.nan)
        table[0] = start
        now = start
        for low, high in itertools.pairwise([0.0, *stops, until]):
            wanted = np.flatnonzero((grid > low) & (grid <= high))
            begin = low * (1 + _SKIP)
            piece = np.unique(np.concatenate([[begin], grid[wanted][grid[wanted] > begin], [high]]))
            if len(piece) < _PIECE:
                piece = np.linspace(piece[0], piece[-1], _PIECE)
            solved = self._solve(self._system, piece, now, tolerances, absolute)
            finite = np.asarray(np.isfinite(solved.states).all(axis=1))
            count = len(finite) if finite.all() else int(np.argmin(finite))
            if solved.why is not None or count < len(piece):
                reached = float(piece[count - 1]) if count else low
                return None, (reached, solved.why or "a state has no finite value there")
            place = np.searchsorted(piece, grid[wanted])
            table[wanted] = solved.states[np.minimum(place, len(piece) - 1)]
            now = solved.states[-1]
        return table, (until, "")

    def _first_scales(self, start: Array, until: float) -> Array:
        """Magnitudes of the states as far as time 0 tells."""
        values = np.abs(start)
        largest = float(values.max(initial=0.0))
        if largest > 0:
            return np.maximum(values, 1e-3 * largest)
        rates = np.abs(self._system.rates(0.0, start))
        guess = float(rates[np.isfinite(rates)].max(initial=0.0)) * until
        return np.full(len(start), guess if 0 < guess < np.inf else 1.0)

    def _reader(self, readings: Mapping[str, Reading]) -> Evaluator:
        nodes = [self._node(reading) for reading in readings.values()]
        system = self._system
        return Evaluator(system.graph, nodes, system.states, system.constant_values)

    def _node(self, reading: Reading) -> Node:
        """Value of a quantity in the form in which it is wanted."""
        system = self._system
        node = system.definitions.get(reading.id)
        own = self._facts.forms.get(reading.id)
        if node is None or own is None:
            raise UsageError(
                Reason("unknown-quantity", f"{self._path}: there is no quantity {reading.id!r}.", reading.id)
            )
        if own == reading.form:
            return node
        inside = self._size(reading.id)
        size = None if inside is None else system.definitions.get(inside)
        if size is None or {own, reading.form} != {"amount", "concentration"}:
            message = f"{self._path}: {reading.id} cannot be read as {reading.form}."
            raise UsageError(Reason("unknown-quantity", message, reading.id))
        graph = system.graph
        return graph.mul((node, size)) if reading.form == "amount" else graph.div(node, size)

    def _size(self, name: str) -> str | None:
        quantity = self._system.quantities.get(name)
        return None if quantity is None else quantity.compartment

    def _factors(self) -> Array:
        """What turns each state into the form in which ``states`` reads it."""
        system = self._system
        nodes = []
        for name, reading in self._states.items():
            inside = self._size(name)
            changed = reading.form == "amount" and self._facts.forms.get(name) == "concentration"
            nodes.append(system.graph.symbol(inside) if changed and inside is not None else system.graph.number(1))
        return Evaluator(system.graph, nodes, (), system.constant_values).values(0.0, np.empty(0))


def _lifted(scales: Array) -> Array:
    """Scales with those of vanishing states lifted to 1e-12 of the largest."""
    return np.maximum(scales, _VANISHING * float(scales.max(initial=0.0)))


def _cvode(system: OdeSystem, grid: Array, start: Array, tolerances: Tolerances, absolute: Array) -> _Solved:
    from sksundae.cvode import CVODE

    def rates(t: float, y: Array, yp: Array) -> None:
        yp[:] = system.rates(t, y)

    # a Jacobian-vector product by differences costs one evaluation of the right-hand side, the Jacobian a thousand
    options: dict[str, Any] = {"linsolver": "dense"}
    if system.size > _MOST_DENSE:
        options = {"linsolver": "gmres", "krylov_dim": _KRYLOV}
    solver = CVODE(
        rates,
        method="BDF",
        rtol=tolerances.relative,
        atol=absolute,
        max_num_steps=tolerances.max_steps,
        **options,
    )
    solution = solver.solve(grid, start)
    got = np.asarray(solution.y, dtype=np.float64)[: len(grid)]
    return _Solved(got, None if solution.success and len(got) == len(grid) else f"CVODE: {solution.message}")


def _lsoda(system: OdeSystem, grid: Array, start: Array, tolerances: Tolerances, absolute: Array) -> _Solved:
    from scipy.integrate import LSODA

    solver = LSODA(
        system.rates, grid[0], start, grid[-1], rtol=max(tolerances.relative, _LEAST_RELATIVE), atol=absolute
    )
    rows, place = [start], 1
    for _ in range(tolerances.max_steps * _STEPS_FACTOR):
        if place == len(grid):
            break
        message = solver.step()
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            return _Solved(np.array(rows), f"LSODA: {message or 'a state has no finite value'}")
        end = int(np.searchsorted(grid, solver.t, side="right"))
        if end > place:
            rows.extend(np.atleast_2d(solver.dense_output()(grid[place:end]).T))
            place = end
    return _Solved(np.array(rows), None if place == len(grid) else "LSODA: too many steps")
