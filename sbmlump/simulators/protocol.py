"""What a simulator has to offer, so that libRoadRunner, COPASI and our own integrator are interchangeable.

A :class:`Simulator` loads a file; a :class:`LoadedModel` runs from time 0 as often as it is asked to, each run
independent of the ones before. Comparison and choice of the end time are written against these two alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.switches import TimeSwitches
from sbmlump.errors import LimitError, Reason
from sbmlump.sbml.read.index import ModelIndex, QuantitySelection, SelectionKind
from sbmlump.simulators.simulated import SimulatedModel, simulated_file

__all__ = [
    "LEAST_STEPS",
    "PRECISE",
    "ROUGH",
    "IntegrationError",
    "LoadedModel",
    "ModelIndex",
    "ModelOfSource",
    "QuantitySelection",
    "SelectionKind",
    "SimulatedModel",
    "Simulator",
    "Steps",
    "TimeSwitches",
    "Tolerances",
    "Trajectory",
    "merged_grid",
    "simulated_file",
]


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Accuracy asked of the integrator.

    Attributes
    ----------
    relative : float
        Relative tolerance of each state.
    absolute : float
        Absolute tolerance of each state, *relative to the scale* of that state (its largest magnitude in the run).
    max_steps : int
        Internal steps allowed between two points of the output grid.
    retry : bool
        Whether a run that fails is tried again with looser tolerances (and says so).
    """

    relative: float
    absolute: float
    max_steps: int
    retry: bool

    def looser(self, factor: float) -> Tolerances:
        """The same with both tolerances larger by ``factor``."""
        return replace(self, relative=self.relative * factor, absolute=self.absolute * factor)


PRECISE = Tolerances(relative=1e-10, absolute=1e-14, max_steps=20_000, retry=True)
"""For comparisons."""

ROUGH = Tolerances(relative=1e-8, absolute=1e-12, max_steps=2_000, retry=False)
"""For finding scales and the end time."""


LEAST_STEPS: Final = 200
"""A run takes at least so many internal steps: a pulse wider than that part of it, or a trigger that is true for so
long, is not stepped over. Published models take 300 to 3,000 steps at the tolerances of a comparison anyway."""


@dataclass(frozen=True)
class Steps:
    """Where an integrator had to go.

    Attributes
    ----------
    times : ndarray of float64
        Ends of its internal steps, ascending.
    events : ndarray of float64
        Times at which events were executed or the run was started anew, ascending.
    """

    times: NDArray[np.float64]
    events: NDArray[np.float64]


def merged_grid(until: float, points: int, between: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The uniform grid from 0 to ``until`` with the times ``between`` put in, less those that are points of it.

    What differs by rounding alone is one point: no integrator takes two outputs so near to each other.
    """
    rounding = 1e-13 * until
    grid = np.linspace(0.0, until, points)
    if between is None or not len(between):
        return grid
    inside = np.unique(between[(between > 0) & (between < until)])
    inside = inside[np.concatenate([[True], np.diff(inside) > rounding])[: len(inside)]]
    place = np.searchsorted(grid, inside)
    near = np.minimum(np.abs(grid[place] - inside), np.abs(inside - grid[place - 1]))
    return np.sort(np.concatenate([grid, inside[near > rounding]]))


@dataclass(frozen=True)
class Trajectory:
    """One run.

    Attributes
    ----------
    times : ndarray of float64, shape (k,)
        Uniform grid from 0, in the model's unit of time, with the times that were wanted between its points.
    values : mapping from label to ndarray of float64, shape (k,)
        Finite for states; an assigned quantity may have no value (NaN) at some times, such as 0/0 at time 0.
    seconds : float
        Wall time of the integration alone (not of loading).
    remarks : tuple of str
        What differs from what was asked for (tolerances loosened), one sentence each.
    """

    times: NDArray[np.float64]
    values: Mapping[str, NDArray[np.float64]]
    seconds: float
    remarks: tuple[str, ...] = ()


class IntegrationError(LimitError):
    """A model could not be integrated to the end time (code ``simulation-failed``, exit code 4).

    Attributes
    ----------
    reached : float
        Time up to which the integration went.
    """

    reached: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons,), {"reached": self.reached}

    @classmethod
    def at(cls, file: str | Path, reached: float, until: float, why: str) -> IntegrationError:
        """The error for a run of ``file`` that ended at time ``reached`` because of ``why``."""
        message = (
            f"{file}: the simulation stopped at time {reached:.6g} of {until:.6g}: {why}. "
            f"An earlier end time may work (for example --until {0.9 * reached:.3g})."
            if reached > 0
            else f"{file}: the simulation to time {until:.6g} failed at its start: {why}."
        )
        error = cls(Reason("simulation-failed", message))
        error.reached = reached
        return error


class LoadedModel(Protocol):
    """A model ready to run."""

    @property
    def path(self) -> Path:
        """File it came from."""
        ...

    @property
    def states(self) -> Mapping[str, QuantitySelection]:
        """Everything that the integrator integrates, by id."""
        ...

    def initial_rates(self) -> Mapping[str, float]:
        """Rate of change of each of ``states`` at time 0, in the form in which ``states`` reads it."""
        ...

    def run(
        self,
        selections: Mapping[str, QuantitySelection],
        until: float,
        points: int,
        tolerances: Tolerances = PRECISE,
        between: NDArray[np.float64] | None = None,
    ) -> Trajectory:
        """Simulate from time 0 to ``until`` and return ``selections`` (label to selection) on ``points`` points.

        The run is started anew at the times at which the model changes by itself, and takes at least
        :data:`LEAST_STEPS` steps. ``between`` are further times at which values are wanted.

        Raises
        ------
        IntegrationError
            If the integration does not reach ``until`` or a state is not finite.
        UsageError
            If the model has no such quantity.
        """
        ...

    def steps(self, until: float) -> Steps:
        """The internal steps of a rough run to ``until``.

        Raises
        ------
        IntegrationError
            If the integration does not reach ``until``.
        """
        ...


class ModelOfSource:
    """What every loaded model keeps of the model that it was given."""

    def __init__(self, source: SimulatedModel) -> None:
        self._path = source.path
        self._index = source.index
        self._switches = source.switches
        self._states: Mapping[str, QuantitySelection] = {}

    @property
    def path(self) -> Path:
        """File it came from."""
        return self._path

    @property
    def states(self) -> Mapping[str, QuantitySelection]:
        """Everything that the integrator integrates, by id."""
        return self._states


class Simulator(Protocol):
    """A program or library that runs SBML files."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def load(self, model: Path | SimulatedModel) -> LoadedModel:
        """Prepare a model, or the SBML file at a path.

        Raises
        ------
        InputError
            If there is no such file.
        UnsupportedModelError
            If the simulator refuses the model (code ``simulator-refused``).
        """
        ...
