"""SciPy's LSODA for single runs, with the interface of :func:`sbmlump.dynamics.cvode.solve_cvode`: a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.cvode import Solution
from sbmlump.dynamics.rosenbrock import StepControl

__all__ = ["solve_lsoda"]


Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LsodaSettings:
    """How LSODA is used.

    Attributes
    ----------
    least_relative : float
        LSODA refuses less.
    steps_factor : int
        Steps of a whole run; those of CVODE count from one point of the grid to the next.
    stalled : int
        Steps in which time has to get on by more than their number of rounding units: before a pole LSODA takes steps
        without end that no longer change the time (CVODE gives up by itself).
    """

    least_relative: float = 1e-13
    steps_factor: int = 5
    stalled: int = 1000


LSODA_SETTINGS: Final = LsodaSettings()


def solve_lsoda(
    rates: Callable[[float, Array], Array],
    times: Array,
    initial: Array,
    control: StepControl,
    *,
    longest: float,
    own_steps: bool = False,
) -> Solution:
    """Integrate from ``times[0]`` on; parameters as of :func:`sbmlump.dynamics.cvode.solve_cvode`."""
    from scipy.integrate import LSODA

    settings = LSODA_SETTINGS
    solver = LSODA(
        rates,
        times[0],
        initial,
        times[-1],
        rtol=max(control.relative, settings.least_relative),
        atol=control.absolute,
        max_step=longest,
    )
    rows, taken, place = [initial], [times[0]], 1
    before = -np.inf
    for count in range(control.steps * settings.steps_factor):
        if place == len(times):
            break
        if count % settings.stalled == 0:
            if solver.t - before <= settings.stalled * np.spacing(abs(solver.t)):
                return Solution(np.array(taken), np.array(rows), "LSODA: steps no longer change the time")
            before = solver.t
        message = solver.step()
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            why = f"LSODA: {message or 'a state has no finite value'}"
            return Solution(np.array(taken), np.array(rows), why)
        end = int(np.searchsorted(times, solver.t, side="right"))
        if own_steps:
            rows.append(solver.y.copy())
            taken.append(solver.t)
            place = end
        elif end > place:
            rows.extend(np.atleast_2d(solver.dense_output()(times[place:end]).T))
            taken.extend(times[place:end])
            place = end
    return Solution(np.array(taken), np.array(rows), None if place == len(times) else "LSODA: too many steps")
