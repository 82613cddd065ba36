"""Measurements of PEtab problems (format 1) simulated by libRoadRunner.

Nothing of sbmlump's reading of models is used: the SBML file goes to libRoadRunner as it is, with the values of each
condition put in, so that original and reduced problem are simulated by a third party.

References
----------
Schmiester et al., PEtab — interoperable specification of parameter estimation problems in systems biology,
PLoS Comput. Biol. 17 (2021), doi 10.1371/journal.pcbi.1008646.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.errors import LimitError, Reason
from sbmlump.sbml.values import with_initial_values

__all__ = ["PetabSimulationSettings", "condition_values", "nominal_values", "simulated_measurements"]


@dataclass(frozen=True, slots=True)
class PetabSimulationSettings:
    """How a condition is simulated.

    Attributes
    ----------
    relative, absolute : float
        Tolerances of CVODE.
    steps : int
        Between two outputs.
    first : float
        End of the first run towards a steady state; each further one is ten times as long.
    runs : int
        So many are tried.
    at_rest : float
        What the states change by in one such run, relative to the largest, where they are at steady state.
    """

    relative: float = 1e-10
    absolute: float = 1e-14
    steps: int = 100_000
    first: float = 1e3
    runs: int = 8
    at_rest: float = 1e-9


_SETTINGS: Final = PetabSimulationSettings()
_NOT_VALUES: Final = frozenset({"conditionName"})


def simulated_measurements(
    problem: Any, parameters: Mapping[str, float] | None = None, settings: PetabSimulationSettings = _SETTINGS
) -> Any:
    """The measurement table with simulated values.

    Parameters
    ----------
    problem : petab.v1.Problem
    parameters : mapping of str to float, optional
        Values of the parameter table that take the place of nominal ones, not scaled.
    settings : PetabSimulationSettings

    Returns
    -------
    pandas.DataFrame
        With a column ``simulation``; it has no column ``measurement``.

    Raises
    ------
    LimitError
        Code ``simulation-failed``.
    """
    import petab.v1 as petab

    known = {**nominal_values(problem), **(parameters or {})}
    table = problem.measurement_df.rename(columns={petab.C.MEASUREMENT: petab.C.SIMULATION}).copy()
    table[petab.C.SIMULATION] = np.nan
    experiments = problem.get_simulation_conditions_from_measurement_df()
    for _, experiment in experiments.iterrows():
        rows = petab.get_rows_for_condition(table, experiment)
        first = experiment.get(petab.C.PREEQUILIBRATION_CONDITION_ID) or None
        last = experiment[petab.C.SIMULATION_CONDITION_ID]
        run = _Experiment(problem, known, first, last, settings)
        for index, value in zip(rows.index, run.values(rows), strict=True):
            table.loc[index, petab.C.SIMULATION] = value
    return table


def nominal_values(problem: Any) -> dict[str, float]:
    """What the parameter table gives; estimated parameters may be without."""
    column = problem.parameter_df.get("nominalValue")
    return {} if column is None else {str(name): float(value) for name, value in column.dropna().items()}


def condition_values(problem: Any, condition: str, known: Mapping[str, float]) -> dict[str, float]:
    """What a condition sets, with the values of parameters in it; without what it leaves as it is (NaN)."""
    row = problem.condition_df.loc[condition]
    found: dict[str, float] = {}
    for name, cell in row.items():
        if name in _NOT_VALUES:
            continue
        value = _number(cell, known)
        if not math.isnan(value):
            found[str(name)] = value
    return found


def _number(cell: Any, known: Mapping[str, float]) -> float:
    """A number, or the value of the parameter that is named."""
    if isinstance(cell, str):
        return float(known[cell]) if cell in known else float(cell)
    return float(cell)


class _Experiment:
    """One simulation, after a preequilibration if there is one."""

    def __init__(
        self,
        problem: Any,
        known: Mapping[str, float],
        first: str | None,
        last: str,
        settings: PetabSimulationSettings,
    ) -> None:
        self._problem = problem
        self._known = known
        self._settings = settings
        self._last = last
        model = problem.model.sbml_model
        self._model = model
        self._text = problem.model.to_sbml_str().encode()
        lists = [model.getListOfSpecies(), model.getListOfCompartments(), model.getListOfParameters()]
        lists.append(model.getListOfReactions())  # a flux
        self._entities = {item.getId() for items in lists for item in items}
        self._concentrations = {
            item.getId() for item in model.getListOfSpecies() if not item.getHasOnlySubstanceUnits()
        }
        self._begin = self._preequilibrated(first) if first is not None else None

    # -- running -------------------------------------------------------------------------------------

    def _loaded(self, condition: str) -> Any:
        """A model with the values of a condition."""
        import roadrunner

        roadrunner.Logger.disableLogging()
        values = {name: float(v) for name, v in self._known.items() if name in self._entities}
        values |= condition_values(self._problem, condition, self._known)
        runner = roadrunner.RoadRunner(with_initial_values(self._text, values).decode())
        integrator = runner.getIntegrator()
        settings = self._settings
        integrator.setValue("relative_tolerance", settings.relative)
        integrator.setValue("absolute_tolerance", settings.absolute)
        integrator.setValue("maximum_num_steps", settings.steps)
        return runner

    def _select(self, name: str) -> str:
        return f"[{name}]" if name in self._concentrations else name

    def _preequilibrated(self, condition: str) -> dict[str, float]:
        """Values of states at the steady state of a condition."""
        runner = self._loaded(condition)
        self._to_rest(runner, 0.0)
        model = runner.getModel()
        names = [model.getStateVectorId(i) for i in range(len(runner.getRatesOfChange()))]
        return {name: float(runner.getValue(self._select(name))) for name in names}

    def _to_rest(self, runner: Any, start: float) -> None:
        """Go on until nothing moves any more."""
        settings = self._settings
        end = start + settings.first
        for _ in range(settings.runs):
            old = self._state(runner)
            self._go(runner, start, end, 2)
            new = self._state(runner)
            if np.abs(new - old).max(initial=0.0) <= settings.at_rest * np.abs(new).max(initial=1e-300):
                return
            start, end = end, 10 * end
        message = f"{self._model.getId()}: condition {self._last} comes to no steady state by time {end:g}"
        raise LimitError(Reason("simulation-failed", message))

    def _state(self, runner: Any) -> Array:
        model = runner.getModel()
        names = [model.getStateVectorId(i) for i in range(len(runner.getRatesOfChange()))]
        return np.array([runner.getValue(self._select(name)) for name in names], dtype=np.float64)

    def _go(self, runner: Any, start: float, end: float, points: int) -> None:
        try:
            runner.simulate(start, end, points)
        except RuntimeError as error:
            message = f"{self._model.getId()}: condition {self._last} is not simulated to time {end:g}: {error}"
            raise LimitError(Reason("simulation-failed", message)) from error

    # -- values --------------------------------------------------------------------------------------

    def values(self, rows: Any) -> Array:
        """The simulated value of each row of the measurement table."""
        import petab.v1 as petab

        runner = self._loaded(self._last)
        if self._begin is not None:
            set_anew = condition_values(self._problem, self._last, self._known)
            for name, value in self._begin.items():
                if name not in set_anew:
                    runner.setValue(self._select(name), value)
        times = sorted({float(time) for time in rows[petab.C.TIME]})
        formulas = {name: self._formula(name) for name in set(rows[petab.C.OBSERVABLE_ID])}
        names = sorted({name for needs, _ in formulas.values() for name in needs} & self._entities)
        table: dict[float, dict[str, float]] = {}
        now = 0.0
        for time in times:
            if math.isinf(time):
                self._to_rest(runner, now)
            elif time > now:
                self._go(runner, now, time, 2)
                now = time
            table[time] = {name: float(runner.getValue(self._select(name))) for name in names}
        found = []
        for _, row in rows.iterrows():
            needs, evaluate = formulas[row[petab.C.OBSERVABLE_ID]]
            time = float(row[petab.C.TIME])
            values = {**self._known, "time": time, **self._overrides(row), **table[time]}
            found.append(float(evaluate(*(values[name] for name in needs))))
        return np.array(found)

    def _formula(self, observable: str) -> tuple[tuple[str, ...], Callable[..., float]]:
        """What an observable's formula needs, and the formula as a function of that."""
        import petab.v1 as petab
        import sympy
        from petab.v1.math import sympify_petab

        expression = sympify_petab(self._problem.observable_df.loc[observable, petab.C.OBSERVABLE_FORMULA])
        symbols = sorted(expression.free_symbols, key=str)
        return tuple(map(str, symbols)), sympy.lambdify(symbols, expression, "numpy")

    def _overrides(self, row: Any) -> dict[str, float]:
        """The values of a formula's placeholders in one row."""
        import petab.v1 as petab

        given: Sequence[Any] = petab.split_parameter_replacement_list(row.get(petab.C.OBSERVABLE_PARAMETERS))
        stem = row[petab.C.OBSERVABLE_ID]
        return {f"observableParameter{i + 1}_{stem}": _number(one, self._known) for i, one in enumerate(given)}
