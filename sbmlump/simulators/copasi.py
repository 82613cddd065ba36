"""COPASI behind :class:`~sbmlump.simulators.protocol.Simulator`: the only module that imports its bindings (an extra).

Not by way of basico, which the extra names: with pandas, it takes half a second to import, and COPASI a tenth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.errors import Reason, UnsupportedModelError, UsageError, extra_missing
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
    merged_grid,
    simulated_file,
)

__all__ = ["CopasiModel", "CopasiSimulator"]


@dataclass(frozen=True, slots=True)
class CopasiSettings:
    """How COPASI is asked.

    Attributes
    ----------
    loosenings : int
        Attempts, each with ten times the tolerance of the one before.
    steps_between : int
        Steps at least from one jump to the next.
    most_steps : int
        Of a run: where the bound on a step asks for more, the bound gives way.
    least_allowed : int
        Steps that COPASI is allowed between two points at least; it stops with fewer where LSODA starts anew.
    scale_points : int
        Points of the rough run that tells how large states become.
    vanishing : float
        Of the largest state: below that a state is negligible beside it.
    same : float
        Of the end time: a row that is so near to an output time is that one, where the next one is farther. COPASI
        misses some by rounding, and may write them twice.
    """

    loosenings: int = 4
    steps_between: int = 4
    most_steps: int = 200_000
    least_allowed: int = 10_000
    scale_points: int = 101
    vanishing: float = 1e-12
    same: float = 1e-9


COPASI_SETTINGS: Final = CopasiSettings()


class CopasiSimulator:
    """Loads SBML files into COPASI."""

    name = "copasi"

    def __init__(self, settings: CopasiSettings = COPASI_SETTINGS) -> None:
        self.settings = settings

    def load(self, model: Path | SimulatedModel) -> CopasiModel:
        """Import a model, as text: COPASI does not open files whose names have letters beyond ASCII.

        Raises
        ------
        InputError
            If the file cannot be read or is not XML.
        UnsupportedModelError
            If COPASI is not installed (code ``extra-missing``), or COPASI refuses the model (``simulator-refused``).
        """
        source = simulated_file(model)
        try:
            import COPASI
        except ImportError as error:
            raise UnsupportedModelError(extra_missing("COPASI is not installed", "copasi")) from error
        root = COPASI.CRootContainer
        if not root.getDatamodelList().size():
            # of earlier models, which COPASI would take for those of this one; not while those are in use
            _remove_functions(root.getFunctionList())
        loaded = root.addDatamodel()
        if not loaded.importSBMLFromString(source.text, None, True):
            root.removeDatamodel(loaded)
            raise UnsupportedModelError(Reason("simulator-refused", f"{source.path}: COPASI does not load this model."))
        return CopasiModel(source, loaded, root.removeDatamodel, self.settings)


def _remove_functions(known: Any) -> None:
    """Take functions that are not COPASI's own out of its list."""
    functions = known.loadedFunctions()
    every = [functions.get(i) for i in range(functions.size())]
    for key in [one.getKey() for one in every if one is not None and not one.isReadOnly()]:
        known.removeFunction(key)


class CopasiModel(ModelOfSource):
    """One imported model."""

    def __init__(
        self, source: SimulatedModel, loaded: Any, remove: Callable[[Any], object], settings: CopasiSettings
    ) -> None:
        super().__init__(source)
        self._settings = settings
        self._loaded, self._remove = loaded, remove
        model = loaded.getModel()
        groups = (model.getMetabolites(), model.getModelValues(), model.getCompartments(), model.getReactions())
        self._objects = {group.get(i).getSBMLId(): group.get(i) for group in groups for i in range(group.size())}
        moving = [name for name in source.index.moving if name in self._objects]
        species = set(source.index.species)
        self._states = {
            name: QuantitySelection(name, "amount" if name in species else "value")
            for name in moving
            if not self._is_assigned(name)
        }

    def __del__(self) -> None:
        self._remove(self._loaded)

    def _is_assigned(self, name: str) -> bool:
        import COPASI

        status = self._objects[name].getStatus()
        return bool(status in (COPASI.CModelEntity.Status_ASSIGNMENT, COPASI.CModelEntity.Status_FIXED))

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0."""
        model = self._loaded.getModel()
        model.applyInitialValues()
        container = model.getMathContainer()
        container.updateSimulatedValues(False)
        container.updateTransientDataValues()
        container.pushAllTransientValues()
        rates: dict[str, float] = {}
        for name, selection in self._states.items():
            one = self._objects[name]
            if selection.kind == "value":
                rates[name] = float(one.getRate())
                continue
            size = float(one.getCompartment().getValue()) if selection.kind == "amount" else 1.0
            rates[name] = float(one.getConcentrationRate()) * size
        return rates

    def run(
        self,
        selections: Mapping[str, QuantitySelection],
        until: float,
        points: int,
        tolerances: Tolerances = PRECISE,
        between: Array | None = None,
    ) -> Trajectory:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.run`.

        COPASI has one absolute tolerance for all states: that of the smallest one, which a first run tells. It is
        not started anew where the model changes by itself; a bound on its steps keeps it from stepping over a pulse.
        """
        smallest = 1.0
        if tolerances.retry and self._states:
            rough = self.run(self._states, until, self._settings.scale_points, ROUGH)
            scales = [float(np.abs(values).max()) for values in rough.values.values()]
            smallest = min([1.0, *(scale for scale in scales if scale > self._settings.vanishing * max(scales))])
        columns, products = self._selections(selections)
        grid = merged_grid(until, points, between)
        failure = IntegrationError.at(self._path, 0.0, until, "COPASI returned no result")
        for k in range(self._settings.loosenings if tolerances.retry else 1):
            asked = replace(tolerances, absolute=tolerances.absolute * smallest).looser(10.0**k)
            begin = time.perf_counter()
            complete, table = self._table(columns, until, asked, grid)
            seconds = time.perf_counter() - begin
            rows = self._rows_at(grid, table[:, 0])
            if complete and rows is not None:
                values = {label: _product(table[rows], at) for label, at in products.items()}
                bad = [label for label in self._states if label in values and not np.isfinite(values[label]).all()]
                if not bad:
                    remark = f"{self._path.name}: COPASI needed a relative tolerance of {asked.relative:g}."
                    return Trajectory(grid, values, seconds, (remark,) if k else ())
            reached = float(table[-1, 0]) if len(table) else 0.0
            failure = IntegrationError.at(self._path, reached, until, "COPASI did not reach the end")
        raise failure

    def _rows_at(self, grid: Array, times: Array) -> Indices | None:
        """The row of each output time; ``None`` where one is missing."""
        if not len(times):
            return None
        after = np.searchsorted(times, grid).clip(max=len(times) - 1)
        before = (after - 1).clip(min=0)
        rows = np.where(np.abs(times[before] - grid) <= np.abs(times[after] - grid), before, after)
        gaps = np.concatenate([[np.inf], np.diff(grid), [np.inf]])
        allowed = np.minimum(self._settings.same * grid[-1], 0.5 * np.minimum(gaps[:-1], gaps[1:]))
        near = np.abs(times[rows] - grid) <= allowed
        return rows if near.all() else None

    def steps(self, until: float) -> Steps:
        """See :meth:`sbmlump.simulators.protocol.LoadedModel.steps`."""
        _, table = self._table([], until, ROUGH, None)
        times = table[:, 0] if len(table) else np.zeros(1)
        if times[-1] < until * (1 - 1e-9):
            raise IntegrationError.at(self._path, float(times[-1]), until, "COPASI did not reach the end")
        twice = times[1:][np.diff(times) == 0]
        return Steps(np.unique(times), np.unique(np.concatenate([twice, self._switches.until(until)])))

    def _table(
        self, columns: list[str], until: float, tolerances: Tolerances, grid: Array | None
    ) -> tuple[bool, Array]:
        """Whether COPASI came to the end; time and what is recorded, at each output time or, without any, step."""
        import COPASI

        model = self._loaded.getModel()
        model.compileIfNecessary()
        handler = COPASI.CDataHandler()
        time_name = model.getValueReference().getCN().getString()
        for name in (time_name, *columns):
            handler.addDuringName(COPASI.CRegisteredCommonName(name, self._loaded))
        task = self._loaded.getTask("Time-Course")
        task.setUpdateModel(False)
        task.setMethodType(COPASI.CTaskEnum.Method_deterministic)
        problem, method = task.getProblem(), task.getMethod()
        problem.setDuration(float(until))
        problem.setAutomaticStepSize(grid is None)
        problem.setOutputEvent(grid is None)
        problem.setOutputStartTime(0.0)
        problem.setUseValues(grid is not None)
        if grid is not None:
            problem.setValues(" ".join(map(str, grid.tolist())))
        problem.setTimeSeriesRequested(True)
        longest = method.getParameter("Max Internal Step Size")
        if longest is not None:  # older versions of COPASI have no such bound
            longest.setDblValue(self._longest_step(until))
        method.getParameter("Absolute Tolerance").setDblValue(tolerances.absolute)
        method.getParameter("Relative Tolerance").setDblValue(tolerances.relative)
        steps = max(tolerances.max_steps, self._settings.least_allowed)
        method.getParameter("Max Internal Steps").setIntValue(steps)
        self._loaded.addInterface(handler)
        try:
            complete = bool(task.initializeRaw(COPASI.CCopasiTask.OUTPUT_UI) and task.processRaw(True))
            task.restore(True)
            rows = [list(handler.getNthRow(i)) for i in range(handler.getNumRowsDuring())]
        finally:
            self._loaded.removeInterface(handler)
        return complete, np.array(rows, dtype=np.float64).reshape(-1, 1 + len(columns))

    def _longest_step(self, until: float) -> float:
        """A bound on steps: a part of the shortest time between two known jumps, so that none is stepped over."""
        gaps = np.diff([0.0, *self._switches.until(until), until])
        shortest = float(gaps[gaps > 0].min())
        return max(min(until / LEAST_STEPS, shortest / self._settings.steps_between), until / self._settings.most_steps)

    def _selections(self, selections: Mapping[str, QuantitySelection]) -> tuple[list[str], dict[str, tuple[int, ...]]]:
        """Common names of what COPASI is to record, and for each label the columns whose product it is."""
        columns: dict[str, None] = {}
        products: dict[str, tuple[str, ...]] = {}
        for label, selection in selections.items():
            one = self._objects.get(selection.id)
            if one is None:
                message = f"{self._path}: COPASI has no quantity {selection.id!r}."
                if selection.id in self._index.kinds:
                    raise UnsupportedModelError(Reason("simulator-refused", message, selection.id))
                raise UsageError(Reason("unknown-quantity", message, selection.id))
            if selection.kind == "flux":
                references = [one.getFluxReference()]
            elif selection.kind == "value":
                references = [one.getValueReference()]
            elif selection.kind == "concentration":
                references = [one.getConcentrationReference()]
            else:
                references = [one.getConcentrationReference(), one.getCompartment().getValueReference()]
            products[label] = tuple(reference.getCN().getString() for reference in references)
            columns.update(dict.fromkeys(products[label]))
        place = {name: 1 + i for i, name in enumerate(columns)}
        return list(columns), {label: tuple(place[name] for name in names) for label, names in products.items()}


def _product(table: Array, columns: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.prod(table[:, list(columns)], axis=1))
