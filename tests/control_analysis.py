"""Steady states and control coefficients of a model and its reduced form, as Tellurium and COPASI find them.

Reactions of a reduced model are pooled, so coefficients of single reactions have no counterpart. What has one: all
reactions that change the lumps in one direction, scaled together. Scaling each rate by one factor scales their sum, so
the coefficients of the members add up, and the flux is the sum of theirs, weighted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sbmlump.model import OdeSystem, ReducedSystem

CLOSE = 1e-6
"""Relative difference up to which two tools' numbers count as one, as in the table."""
_STEP = 1e-3
"""Relative step of libRoadRunner's differences of fourth order: errors of 1e-12."""
_MODULATION = 1e-5
"""Relative step of COPASI's central differences: errors of 1e-10."""
_NO_FLUX = 1e-9
"""Of the largest gross flux, or of what would move the largest species within the end time: less is rounding."""
_LONGER = 10.0
"""Times the end time, where COPASI finds no steady state at first."""
_POINTS = 51
"""On the way to the end time."""
_VANISHING = 1e-3
"""Of its peak: a species below that is measured by its peak, as in ``sbmlump check``; a part of 1e-6 of it is 0."""
_EQUILIBRIUM = 2
_FOUND = (1, _EQUILIBRIUM)
"""What COPASI calls a steady state: one, or an equilibrium (all fluxes 0); not one with negative values."""


@dataclass(frozen=True)
class Analysis:
    """A steady state by one tool: values of species, fluxes, scaled coefficients by (species or reaction, reaction).

    ``peaks`` are the largest values of species on the way to the end time ``end``.
    """

    end: float
    peaks: Mapping[str, float]
    values: Mapping[str, float]
    fluxes: Mapping[str, float]
    concentration: Mapping[tuple[str, str], float]
    flux: Mapping[tuple[str, str], float]


class Analyse(Protocol):
    """Analyses SBML after a simulation up to an end time; ``again``: once more in other ways where the first fails.

    Raises
    ------
    RuntimeError
        Where there is no steady state.
    """

    def __call__(self, text: str, before: float, *, again: bool = False) -> Analysis: ...


@dataclass
class Comparison:
    """How far the reduced model is from the original; ``None`` where the original has no such thing."""

    steady: float | None = None
    concentration: float | None = None
    flux: float | None = None
    remarks: list[str] = field(default_factory=list)


# -- the tools ---------------------------------------------------------------------------------------


def roadrunner_analysis(*, moieties: bool) -> Analyse:
    """Of libRoadRunner, which Tellurium is; ``moieties`` turns conservedMoietyAnalysis on."""

    def analyse(text: str, before: float, *, again: bool = False) -> Analysis:
        import roadrunner

        runner = roadrunner.RoadRunner(text)
        runner.conservedMoietyAnalysis = moieties
        runner.setDiffStepSize(_STEP)
        runner.integrator.setValue("relative_tolerance", 1e-10)
        runner.integrator.setValue("maximum_num_steps", 100_000)
        course = runner.simulate(0.0, before, _POINTS)
        peaks = {str(name).strip("[]"): float(np.abs(course[name]).max()) for name in course.colnames}
        totals, largest = _conserved(runner)
        try:
            residual = runner.steadyState()
        except RuntimeError:
            if not again:
                raise
            runner.getSteadyStateSolver().setValue("allow_presimulation", True)
            residual = runner.steadyState()
        if not residual < CLOSE:
            raise RuntimeError(f"no steady state: residual {residual:.1e}")
        if np.abs(_conserved(runner)[0] - totals).max(initial=0.0) > CLOSE * largest:
            raise RuntimeError("libRoadRunner's steady state has other conserved totals than the model")
        species = runner.model.getFloatingSpeciesIds()
        values = {name: float(runner.getValue(f"[{name}]")) for name in species}
        fluxes = {name: float(runner.getValue(name)) for name in runner.model.getReactionIds()}
        try:
            return Analysis(
                before,
                peaks,
                values,
                fluxes,
                _table(runner.getScaledConcentrationControlCoefficientMatrix()),
                _table(runner.getScaledFluxControlCoefficientMatrix()),
            )
        except RuntimeError:
            return Analysis(before, peaks, values, fluxes, {}, {})

    return analyse


def _conserved(runner: Any) -> tuple[NDArray[np.float64], float]:
    """Totals that reactions conserve, orthonormal combinations of amounts, and the largest amount."""
    from scipy.linalg import null_space

    stoichiometry = runner.getFullStoichiometryMatrix()
    matrix = np.asarray(stoichiometry)
    reacting = np.abs(matrix).sum(axis=1) > 0
    amounts = runner.getFloatingSpeciesAmountsNamedArray()
    by_id = dict(zip(map(str, amounts.colnames), np.asarray(amounts)[0].tolist(), strict=True))
    values = np.array([by_id[str(name)] for name in stoichiometry.rownames])[reacting]
    return null_space(matrix[reacting].T).T @ values, float(np.abs(values).max(initial=0.0))


def _table(matrix: Any) -> dict[tuple[str, str], float]:
    rows, columns = [str(name).strip("[]") for name in matrix.rownames], list(map(str, matrix.colnames))
    values = np.asarray(matrix)
    return {(row, column): float(values[i, j]) for i, row in enumerate(rows) for j, column in enumerate(columns)}


def copasi_analysis(text: str, before: float, *, again: bool = False) -> Analysis:
    """Of COPASI, which finds conservation laws by itself, and integrates where Newton's method fails."""
    import basico
    import COPASI

    model = basico.load_model_from_string(text)
    try:
        accuracy = {"r_tol": 1e-10, "a_tol": 1e-14}
        course = basico.run_time_course(
            duration=before, intervals=_POINTS, update_model=True, use_sbml_id=True, model=model, **accuracy
        )
        peaks = {str(name): float(np.abs(np.asarray(course[name])).max()) for name in course.columns}
        basico.set_task_settings(
            "Metabolic Control Analysis", {"method": {"Modulation Factor": _MODULATION}}, model=model
        )
        found = basico.run_steadystate(update_model=True, model=model)
        if found not in _FOUND and again:
            basico.run_time_course(
                duration=_LONGER * before, intervals=_POINTS, update_model=True, model=model, **accuracy
            )
            found = basico.run_steadystate(update_model=True, model=model)
        if found not in _FOUND:
            raise RuntimeError("COPASI finds no steady state")
        species, reactions = basico.get_species(model=model), basico.get_reactions(model=model)
        if species is None or reactions is None:
            raise RuntimeError("no species or no reactions")
        ids = {str(name).replace('"', ""): str(row["sbml_id"]) for name, row in species.iterrows()}
        rates = {str(name): str(row["sbml_id"]) for name, row in reactions.iterrows()}
        values = {str(row["sbml_id"]): float(row["concentration"]) for _, row in species.iterrows()}
        fluxes = {str(row["sbml_id"]): float(row["flux"]) for _, row in reactions.iterrows()}
        if found == _EQUILIBRIUM:  # nothing flows; what COPASI gives then as coefficients was never computed
            return Analysis(before, peaks, values, fluxes, {}, {})
        task = model.getTask("Metabolic Control Analysis")  # basico.run_mca does not tell that it failed
        if not (task.initializeRaw(COPASI.CCopasiTask.OUTPUT_UI) and task.processRaw(True)):
            return Analysis(before, peaks, values, fluxes, {}, {})
        task.restore(True)
        concentration = basico.get_concentration_control_coefficients(scaled=True, run_first=False, model=model)
        flux = basico.get_flux_control_coefficients(scaled=True, run_first=False, model=model)
        return Analysis(before, peaks, values, fluxes, _frame(concentration, ids, rates), _frame(flux, rates, rates))
    finally:
        basico.remove_datamodel(model)


def _frame(frame: Any, rows: Mapping[str, str], columns: Mapping[str, str]) -> dict[tuple[str, str], float]:
    if frame is None:
        return {}

    def known(label: object, names: Mapping[str, str]) -> str:
        text = str(label)
        return names.get(text) or names.get(text.removeprefix("(").removesuffix(")")) or text

    values = frame.to_numpy(dtype=float)
    return {
        (known(row, rows), known(column, columns)): float(values[i, j])
        for i, row in enumerate(frame.index)
        for j, column in enumerate(frame.columns)
    }


# -- reactions by what they do to the lumps ----------------------------------------------------------


Direction = tuple[float, ...]


def directions(
    system: OdeSystem, lumps: NDArray[np.float64], *, without: str = ""
) -> dict[Direction, dict[str, float]]:
    """Reactions by the direction in which they change the lumps, with the length of the change by each.

    ``lumps`` has a row for each lump. A direction in which there is a reaction whose id begins with ``without`` is left
    out, as are reactions that change no lump.
    """
    graph, constants = system.graph, system.constant_values
    place = {name: index for index, name in enumerate(system.states)}
    found: dict[Direction, dict[str, float]] = {}
    excluded: set[Direction] = set()
    for reaction in system.reactions:
        column = np.zeros(len(place))
        for sign, parts in ((-1, reaction.reactants), (1, reaction.products)):
            for part in parts:
                quantity = system.quantities.get(part.species)
                if part.species not in place or quantity is None or quantity.boundary:
                    continue
                number = graph.number_of(part.stoichiometry)
                size = Fraction(1)
                if not quantity.amount and quantity.compartment is not None:
                    node = constants.get(quantity.compartment)
                    value = None if node is None else graph.number_of(node)
                    if value is None:
                        raise RuntimeError(f"the compartment {quantity.compartment} has no constant size")
                    size = value
                if number is None or not size:
                    raise RuntimeError(f"{reaction.id} has no constant stoichiometry")
                column[place[part.species]] += sign * float(number / size)
        change = lumps @ column
        moved = np.flatnonzero(np.abs(change) > 1e-12 * max(1.0, np.abs(column).max(initial=0.0)))
        if not moved.size:
            continue
        length = float(change[moved[0]])
        direction = tuple(float(f"{value:.9e}") + 0.0 for value in change / length)
        found.setdefault(direction, {})[reaction.id] = length
        if without and reaction.id.startswith(without):
            excluded.add(direction)
    return {direction: members for direction, members in found.items() if direction not in excluded}


def _flows(analysis: Analysis, groups: Mapping[Direction, Mapping[str, float]]) -> dict[Direction, float]:
    """Fluxes of groups of reactions, of those that are not 0 beside the others."""
    fluxes = {key: sum(w * analysis.fluxes[name] for name, w in group.items()) for key, group in groups.items()}
    gross = [sum(abs(w * analysis.fluxes[name]) for name, w in group.items()) for group in groups.values()]
    peaks = [peak for name, peak in analysis.peaks.items() if name in analysis.values]
    least = _NO_FLUX * max([*gross, max(peaks, default=0.0) / analysis.end])
    return {key: flux for key, flux in fluxes.items() if abs(flux) > least}


def _pooled(
    analysis: Analysis, groups: Mapping[Direction, Mapping[str, float]], observed: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Concentration control coefficients of ``observed``, and flux control coefficients, by groups of reactions.

    A flux that is 0 beside the others has no coefficients (NaN).
    """
    flowing = _flows(analysis, groups)
    fluxes = {key: flowing.get(key, np.nan) for key in groups}
    own = [sum(analysis.concentration[observed, name] for name in group) for group in groups.values()]
    rows = []
    for key, group in groups.items():
        shares = {name: w * analysis.fluxes[name] / fluxes[key] for name, w in group.items()}
        rows.append(
            [
                sum(share * sum(analysis.flux[name, other] for other in others) for name, share in shares.items())
                for others in groups.values()
            ]
        )
    return np.array(own), np.array(rows)


# -- original against reduced ------------------------------------------------------------------------


def compare_analyses(
    reduction: ReducedSystem, original: str, reduced: str, read_back: OdeSystem, until: float, analyse: Analyse
) -> Comparison:
    """The reduced model against the original in one tool.

    ``read_back`` is the system in the text ``reduced``.

    The original counts as having a steady state if the tool finds the same one from where the original is at ``until``
    and at twice that time, and likewise coefficients: nothing can follow it more closely than it follows itself.
    """
    result = Comparison()
    observed = reduction.observables[0].id
    try:
        first, second = analyse(original, until), analyse(original, 2 * until)
        peak = first.peaks[observed]
        scale = max(abs(first.values[observed]), _VANISHING * peak)
        if not scale or not abs(first.values[observed] - second.values[observed]) <= CLOSE * scale:
            return result
    except (RuntimeError, ValueError, KeyError) as error:
        result.remarks.append(f"original: {_short(error)}")
        return result
    place = {name: index for index, name in enumerate(read_back.states)}
    chosen = np.zeros((len(reduction.lumps), read_back.size))
    for row, lump in enumerate(reduction.lumps):
        if lump.id in place:
            chosen[row, place[lump.id]] = 1.0
    try:
        known = directions(reduction.original, reduction.matrix.array())
        made = directions(read_back, chosen, without="from_")
    except RuntimeError as error:
        result.remarks.append(f"original: {_short(error)}")
        known = made = {}
    shared = [key for key in made if key in known]
    before, after = {key: known[key] for key in shared}, {key: made[key] for key in shared}
    ours: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    if shared:
        try:
            ours = _pooled(first, before, observed)
            theirs = _pooled(second, before, observed)
        except KeyError as error:
            result.remarks.append(f"original: no coefficient of {_short(error)}")
    sure = [] if ours is None else [_apart(a, b) <= CLOSE for a, b in zip(ours, theirs, strict=True)]
    if sure and abs(first.values[observed]) <= CLOSE * peak:
        sure[0] = False  # nothing to be controlled
    try:
        # that the tool gets there with the original is luck of its iteration; the reduced model has a second chance
        own = analyse(reduced, until, again=True)
        result.steady = abs(own.values[observed] - first.values[observed]) / scale
        if shared and not own.concentration and not _flows(first, before):
            result.remarks.append("what is kept is at an equilibrium, at which the tool gives no coefficients")
        elif ours is not None and any(sure):
            found = _pooled(own, after, observed)
            result.concentration, result.flux = (
                _apart(a, b) if certain else None for a, b, certain in zip(ours, found, sure, strict=True)
            )
    except (RuntimeError, ValueError, KeyError) as error:
        result.remarks.append(f"reduced: {_short(error)}")
        result.steady = np.inf if result.steady is None else result.steady
        if any(sure):
            result.concentration, result.flux = (np.inf if certain else None for certain in sure)
    return result


def _apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The largest difference of what the first has, relative to the largest coefficient where that is above 1."""
    there = np.isfinite(first)
    if not there.any() or not np.isfinite(second[there]).all():
        return np.inf
    first, second = first[there], second[there]
    return float(np.abs(first - second).max() / max(1.0, float(np.abs(first).max())))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
