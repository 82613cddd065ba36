"""COPASI behind :class:`~sbmlump.simulate.protocol.Simulator`: the only module that imports basico (an extra)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.simulate.facts import Facts, read_facts
from sbmlump.simulate.protocol import PRECISE, ROUGH, IntegrationError, Reading, Tolerances, Trajectory

__all__ = ["CopasiModel", "CopasiSimulator"]

_TIME: Final = "Time"
_LOOSENINGS: Final = 4
_SCALE_POINTS: Final = 101
_VANISHING: Final = 1e-12  # of the largest state: below that a state is of no account beside it


class CopasiSimulator:
    """Loads SBML files into COPASI."""

    name = "copasi"

    def load(self, path: Path) -> CopasiModel:
        """Import ``path``.

        Raises
        ------
        InputError
            If the file cannot be read or is not XML.
        UnsupportedModelError
            If basico is not installed (code ``extra-missing``), or COPASI refuses the model (``simulator-refused``).
        """
        facts = read_facts(path)
        try:
            import basico
        except ImportError as error:
            message = "COPASI is not installed; install it with: pip install 'sbmlump[copasi]'"
            raise UnsupportedModelError(Reason("extra-missing", message)) from error
        loaded = basico.load_model(str(path.resolve()), remove_user_defined_functions=True)
        if loaded is None:
            raise UnsupportedModelError(Reason("simulator-refused", f"{path}: COPASI does not load this model."))
        return CopasiModel(path, facts, loaded, basico)


class CopasiModel:
    """One imported model."""

    def __init__(self, path: Path, facts: Facts, loaded: Any, basico: Any) -> None:
        self._path = path
        self._facts = facts
        self._loaded = loaded
        self._basico = basico
        model = loaded.getModel()
        groups = (model.getMetabolites(), model.getModelValues(), model.getCompartments(), model.getReactions())
        self._objects = {group.get(i).getSBMLId(): group.get(i) for group in groups for i in range(group.size())}
        moving = [name for name in facts.moving if name in self._objects]
        species = set(facts.species)
        self._states = {
            name: Reading(name, "amount" if name in species else "value")
            for name in moving
            if not self._is_assigned(name)
        }

    def __del__(self) -> None:
        self._basico.remove_datamodel(self._loaded)

    def _is_assigned(self, name: str) -> bool:
        import COPASI

        status = self._objects[name].getStatus()
        return bool(status in (COPASI.CModelEntity.Status_ASSIGNMENT, COPASI.CModelEntity.Status_FIXED))

    @property
    def path(self) -> Path:
        """File it came from."""
        return self._path

    @property
    def states(self) -> Mapping[str, Reading]:
        """Species that reactions change and targets of rate rules."""
        return self._states

    def initial_rates(self) -> Mapping[str, float]:
        """Rates of change at time 0."""
        model = self._loaded.getModel()
        model.applyInitialValues()
        container = model.getMathContainer()
        container.updateSimulatedValues(False)
        container.updateTransientDataValues()
        container.pushAllTransientValues()
        rates: dict[str, float] = {}
        for name, reading in self._states.items():
            one = self._objects[name]
            if reading.form == "value":
                rates[name] = float(one.getRate())
                continue
            size = float(one.getCompartment().getValue()) if reading.form == "amount" else 1.0
            rates[name] = float(one.getConcentrationRate()) * size
        return rates

    def run(
        self, readings: Mapping[str, Reading], until: float, points: int, tolerances: Tolerances = PRECISE
    ) -> Trajectory:
        """See :meth:`sbmlump.simulate.protocol.LoadedModel.run`.

        COPASI has one absolute tolerance for all states: that of the smallest one, which a first run tells.
        """
        smallest = 1.0
        if tolerances.retry and self._states:
            rough = self.run(self._states, until, _SCALE_POINTS, ROUGH)
            scales = [float(np.abs(values).max()) for values in rough.values.values()]
            smallest = min([1.0, *(scale for scale in scales if scale > _VANISHING * max(scales))])
        columns, products = self._selections(readings)
        failure = IntegrationError.at(self._path, 0.0, until, "COPASI returned no result")
        for k in range(_LOOSENINGS if tolerances.retry else 1):
            relative = tolerances.relative * 10.0**k
            begin = time.perf_counter()
            frame = self._basico.run_time_course_with_output(
                [_TIME, *columns],
                model=self._loaded,
                duration=float(until),
                intervals=points - 1,
                start_time=0.0,
                automatic=False,
                update_model=False,
                use_initial_values=True,
                method="deterministic",
                r_tol=relative,
                a_tol=tolerances.absolute * smallest * 10.0**k,
                max_steps=max(tolerances.max_steps, 10_000),
            )
            seconds = time.perf_counter() - begin
            table = np.asarray(frame, dtype=np.float64)
            if len(table) == points and table.shape[1] == 1 + len(columns):
                values = {label: _product(table, at) for label, at in products.items()}
                bad = [label for label in self._states if label in values and not np.isfinite(values[label]).all()]
                if not bad:
                    grid = np.linspace(0.0, until, points)
                    remarks = (f"{self._path.name}: COPASI needed a relative tolerance of {relative:g}.",) if k else ()
                    return Trajectory(grid, values, seconds, remarks)
            reached = float(table[-1, 0]) if len(table) else 0.0
            failure = IntegrationError.at(self._path, reached, until, "COPASI did not reach the end")
        raise failure

    def _selections(self, readings: Mapping[str, Reading]) -> tuple[list[str], dict[str, tuple[int, ...]]]:
        """Common names of what COPASI is to record, and for each label the columns whose product it is."""
        columns: dict[str, None] = {}
        products: dict[str, tuple[str, ...]] = {}
        for label, reading in readings.items():
            one = self._objects.get(reading.id)
            if one is None:
                message = f"{self._path}: COPASI has no quantity {reading.id!r}."
                if reading.id in self._facts.forms:
                    raise UnsupportedModelError(Reason("simulator-refused", message, reading.id))
                raise UsageError(Reason("unknown-quantity", message, reading.id))
            if reading.form == "flux":
                references = [one.getFluxReference()]
            elif reading.form == "value":
                references = [one.getValueReference()]
            elif reading.form == "concentration":
                references = [one.getConcentrationReference()]
            else:
                references = [one.getConcentrationReference(), one.getCompartment().getValueReference()]
            products[label] = tuple(reference.getCN().getString() for reference in references)
            columns.update(dict.fromkeys(products[label]))
        place = {name: 1 + i for i, name in enumerate(columns)}
        return list(columns), {label: tuple(place[name] for name in names) for label, names in products.items()}


def _product(table: NDArray[np.float64], columns: tuple[int, ...]) -> NDArray[np.float64]:
    return np.ascontiguousarray(np.prod(table[:, list(columns)], axis=1))
