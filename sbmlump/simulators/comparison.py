"""Simulate a model and its reduction on one grid and say how far they differ (errors: see ``measure``).

A quantity is compared as what its id means in the *original* file (a species with ``hasOnlySubstanceUnits`` as amount,
any other as concentration). Where the reduced file holds it as a parameter, its value is taken as it is; where it
holds it as a species too, it is read as the original means it.

The grid is uniform, with more points where one of the two models moves faster than it shows: at and after the times at
which a model changes by itself, after events, where the integrator had to take small steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics.ensemble import relative_error
from sbmlump.dynamics.multistep import cvode_installed
from sbmlump.dynamics.rounding import ROUNDING, TermSizes
from sbmlump.dynamics.time_span import TimeSpan
from sbmlump.errors import (
    LimitError,
    Reason,
    SbmlumpError,
    UsageError,
    did_you_mean,
    near_matches,
    shortened,
    some_names,
)
from sbmlump.isolate import Ended, Limits, run_isolated, silent_output
from sbmlump.model.graph import Graph, Node
from sbmlump.model.reduced import finite_or_none
from sbmlump.model.system import OdeSystem
from sbmlump.model.tables import frame_of
from sbmlump.model.units import time_unit_of, unit_of
from sbmlump.options import POINTS, SIMULATOR, UNTIL
from sbmlump.plot_style import ORIGINAL, PAPER, REDUCED, SERIES
from sbmlump.simulators.copasi import CopasiSimulator
from sbmlump.simulators.own import OwnSimulator, ScipySimulator
from sbmlump.simulators.protocol import (
    NO_CONDITIONS,
    NO_TRIGGERS,
    PRECISE,
    Conditions,
    IntegrationError,
    LoadedModel,
    ModelIndex,
    QuantitySelection,
    SimulatedModel,
    Simulator,
    Steps,
    Trajectory,
    Triggers,
    before_failure,
    beyond_changes,
    conditions_of,
    merged_grid,
    simulated_file,
    time_span_of_model,
    triggers_of,
    values_along,
)
from sbmlump.simulators.roadrunner import RoadRunnerSimulator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Comparison",
    "Definition",
    "ErrorReport",
    "QuantityError",
    "compare_simulated",
    "quantity_errors",
    "ERRORS",
    "ErrorSettings",
    "GridSettings",
    "Scale",
    "largest",
    "magnitude",
    "ORIGINAL",
    "REDUCED",
    "draw_error",
    "draw_trajectory",
    "report_figure",
    "PairRequest",
    "PairRun",
    "run_apart",
    "simulate_pair",
    "COMPILE_LIMITS",
    "ChosenSimulator",
    "SIMULATORS",
    "CompileLimits",
    "simulators_for",
    "simulator_named",
]


# -- Simulators by name --------------------------------------------------------------------------


SIMULATORS: Mapping[str, Callable[[], Simulator]] = MappingProxyType(
    {"roadrunner": RoadRunnerSimulator, "copasi": CopasiSimulator, "scipy": ScipySimulator, "own": OwnSimulator}
)
"""What ``--simulator`` takes."""


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """The largest model that libRoadRunner compiles in seconds.

    Attributes
    ----------
    reactions : int
        It compiles about 10 s for these, and superlinearly beyond.
    operands : int
        With assignment rules written out, as it compiles them: 0.1 s for a thousand, superlinearly beyond.
    quick : int
        The same where the comparison is to cost little beside what is compared: COPASI, which keeps assigned quantities
        apart, needs 1 s where libRoadRunner needs 3 s, and hardly more where it needs 20 s.
    """

    reactions: int = 2_500
    operands: int = 50_000
    quick: int = 20_000


COMPILE_LIMITS: Final = CompileLimits()


def simulator_named(name: str) -> Simulator:
    """The simulator called ``name``.

    Raises
    ------
    UsageError
        If there is none (code ``unknown-simulator``).
    """
    return SIMULATORS[SIMULATOR.read("simulator", name)]()


@dataclass(frozen=True, slots=True)
class ChosenSimulator:
    """What simulates, and why it is not what was named.

    Attributes
    ----------
    name : str
    remark : str, optional
    """

    name: str
    remark: str | None = None


def simulators_for(
    name: str, *models: ModelIndex, copasi_beyond: int | None, limits: CompileLimits = COMPILE_LIMITS
) -> tuple[ChosenSimulator, ...]:
    """What is to simulate, in the order to be tried: ``name``, or what does not compile where that would take long.

    Parameters
    ----------
    name : str
    models : ModelIndex
    copasi_beyond : int or None
        From so many operands on COPASI is asked first; never where it is ``None``.
    limits : CompileLimits

    Raises
    ------
    UsageError
        As :func:`simulator_named`.
    """
    simulator_named(name)
    reactions = max((index.reactions for index in models), default=0)
    operands = max((index.operands for index in models), default=0)
    many = reactions > limits.reactions
    by_copasi = copasi_beyond is not None and operands > copasi_beyond and not many
    if name != RoadRunnerSimulator.name or not (many or by_copasi or operands > limits.operands):
        return (ChosenSimulator(name),)
    compiled = (
        f"{reactions} reactions" if many else f"formulas of {operands} operands (it writes assigned quantities out)"
    )
    why = f"libRoadRunner would take long to compile {compiled}"
    by = "CVODE" if cvode_installed() else "LSODA"
    own = ChosenSimulator(OwnSimulator.name, f"simulated by sbmlump itself ({by}): {why}.")
    last = own if many or operands > limits.operands else ChosenSimulator(name)
    return (ChosenSimulator(CopasiSimulator.name, f"simulated by COPASI: {why}."), last) if by_copasi else (last,)


# -- Simulate a model and its reduction on one grid ------------------------------------------------


# -- Observables that the original file does not hold as such ------------------------------------


@dataclass(frozen=True, slots=True)
class Definition:
    """How an observable that the original file does not hold follows from what it holds.

    Attributes
    ----------
    needs : tuple of str
        Ids of the original file, each read as what it means there.
    value : callable
        From the times, shape (k,), and the values of ``needs``, each of shape (k,), to the observable, shape (k,).
    coefficients : mapping of str to float, optional
        Of ``needs``, where the observable is a combination of them (and of a constant).
    expression : Graph and Node, optional
        The observable over ``needs`` and time.
    """

    needs: tuple[str, ...]
    value: Callable[[Array, Mapping[str, Array]], Array]
    coefficients: Mapping[str, float] | None = None
    expression: tuple[Graph, Node] | None = None

    @classmethod
    def linear(cls, coefficients: Mapping[str, float], offset: float = 0.0) -> Definition:
        """Σ coefficients[id] · id + offset."""
        fixed = dict(coefficients)

        def value(times: Array, columns: Mapping[str, Array]) -> Array:
            total = np.full_like(times, offset)
            for name, factor in fixed.items():
                total += factor * columns[name]
            return total

        graph = Graph()
        terms = [graph.mul((graph.decimal(factor), graph.symbol(name))) for name, factor in fixed.items()]
        return cls(tuple(fixed), value, fixed, (graph, graph.add((*terms, graph.decimal(offset)))))

    @classmethod
    def of_node(cls, graph: Graph, node: Node) -> Definition:
        """The expression ``node`` over ids of the original file and time."""
        needs = tuple(sorted(graph.symbols([node])))

        def value(times: Array, columns: Mapping[str, Array]) -> Array:
            return values_along(graph, [node], needs, times, columns)[:, 0]

        terms = graph.linear_terms(node)
        symbols = {graph.symbol(name): name for name in needs}
        linear = all(term in symbols or graph.number_of(term) is not None for term in terms)
        coefficients = {symbols[term]: float(c) for term, c in terms.items() if term in symbols} if linear else None
        return cls(needs, value, coefficients, (graph, node))

    @property
    def observed(self) -> tuple[Mapping[str, float], ...]:
        """What decides the end time: the observable, or all that it is computed from."""
        return (self.coefficients,) if self.coefficients is not None else tuple({name: 1.0} for name in self.needs)


# -- The errors of a comparison ------------------------------------------------------------------

# Errors are those of the contract. For a quantity q on the grid, with ε the absolute tolerance:
#
# - relative error: max |q_red − q_orig| / max(max |q_orig|, ε)
# - final relative error: |q_red(T) − q_orig(T)| / max(|q_orig(T)|, 1e-3 · max |q_orig|, ε)
# - absolute error: max |q_red − q_orig|
#
# Between the points of a uniform grid a comparison has further ones where something moves fast. They count
# where the grid
# does not show the difference: where it is more than a tenth larger than at both neighbours on the grid.
#
# ε is 1e-14 times the own size of q: the largest magnitude in the original of q or of what it is computed from. Where
# that is 0, the size of what q is of one kind with (for a species, and for what is computed from species, of
# any species
# that changes); 1 where all vanish. Where q is very small beside those, integration errors of the large ones may be all
# that there is of it: ε is then at least a hundred times what a run with looser tolerances changes in q.
#
# A quantity of which nothing is left but the rounding of the terms that it is the sum of (at most 1e-14 of them, see
# ``dynamics/rounding``) counts as 0: where it does so in both models its relative errors are 0, where it does so in the
# original alone ε is at least that part of its terms. Over several quantities the largest error counts.


@dataclass(frozen=True, slots=True)
class ErrorSettings:
    """What errors are held against.

    Attributes
    ----------
    absolute : float
        ε as a part of the size of a quantity.
    final_floor : float
        Of the largest magnitude: a final value below it is not divided by.
    unseen : float
        Times the difference on the neighbouring points of the grid; a smooth one is hardly larger between.
    small : float
        Of the largest of its kind: below that a quantity may be noise (tolerances are 1e-10 of each state).
    noise : float
        Times the change by looser tolerances, which are those of a comparison times ten.
    agreeing : float
        Relative error up to which it is not asked whether there is more than rounding in a quantity: those of the
        integration are larger.
    """

    absolute: float = ROUNDING.part
    final_floor: float = 1e-3
    unseen: float = 1.1
    small: float = ROUNDING.small
    noise: float = 100.0
    agreeing: float = 1e-10


ERRORS: Final = ErrorSettings()


@dataclass(frozen=True, slots=True)
class Scale:
    """What errors of a quantity are held against.

    Attributes
    ----------
    own : float
        Largest magnitude in the original of what it is computed from.
    kind : float
        Largest magnitude of what it is of one kind with, itself included.
    noise : float or None
        What a run with looser tolerances changes in it, where it is small beside its kind.
    zero, zero_in_reduced : float
        Magnitude up to which it counts as 0 in the original and in the reduced model: what rounding leaves of the
        terms that it is the sum of.
    settings : ErrorSettings
    """

    own: float
    kind: float
    noise: float | None = None
    zero: float = 0.0
    zero_in_reduced: float = 0.0
    settings: ErrorSettings = ERRORS

    @property
    def tolerance(self) -> float:
        """ε."""
        size = self.own or self.kind or 1.0
        return max(self.settings.absolute * size, 0.0 if self.noise is None else self.settings.noise * self.noise)


@dataclass(frozen=True, slots=True)
class QuantityError:
    """How far one quantity is off (see the module)."""

    max_relative_error: float
    final_relative_error: float
    max_absolute_error: float

    def as_json(self) -> dict[str, float | None]:
        """Fields as JSON values; what is not finite becomes null."""
        return {
            "max_relative_error": finite_or_none(self.max_relative_error),
            "final_relative_error": finite_or_none(self.final_relative_error),
            "max_absolute_error": finite_or_none(self.max_absolute_error),
        }


def quantity_errors(
    original: Mapping[str, Array],
    reduced: Mapping[str, Array],
    scales: Mapping[str, Scale] | None = None,
    grid: Indices | None = None,
) -> dict[str, QuantityError]:
    """Errors of each quantity of ``original`` (see the module).

    Points where neither has a finite value are left out; where only one has, or none at all, errors are NaN.

    Parameters
    ----------
    original, reduced : mapping from quantity to ndarray of float64, shape (k,)
        On the same grid, k at least 1.
    scales : mapping from quantity to Scale, optional
        Scale of each; where it is missing the quantity's own largest magnitude in ``original``.
    grid : ndarray of int, optional
        Ascending places of the points of the uniform grid among the k, the first and the last included; all by default.
    """
    known = scales or {}
    return {
        name: _error(q, reduced[name], known.get(name) or Scale(magnitude(q), magnitude(q)), grid)
        for name, q in original.items()
    }


def magnitude(q: Array) -> float:
    """Largest |value| among the finite ones of ``q``; 0 if there are none."""
    return float(np.abs(q[np.isfinite(q)]).max(initial=0.0))


def _error(q: Array, r: Array, scale: Scale, grid: Indices | None) -> QuantityError:
    tolerance = scale.tolerance
    known = np.isfinite(q)
    if not np.array_equal(known, np.isfinite(r)) or not known.any():
        return QuantityError(np.nan, np.nan, np.nan)
    difference = np.where(known, np.abs(r - q), 0.0)
    if grid is not None:
        place = np.searchsorted(grid, np.arange(len(q)))  # the next point of the grid
        beside = np.maximum(difference[grid[np.maximum(place - 1, 0)]], difference[grid[place]])
        on_grid = np.isin(np.arange(len(q)), grid)
        difference = np.where(on_grid | (difference > scale.settings.unseen * beside), difference, 0.0)
    top, off = float(np.abs(q[known]).max()), float(difference.max())
    if top <= scale.zero:
        if magnitude(r) <= scale.zero_in_reduced:
            return QuantityError(0.0, 0.0, off)
        tolerance = max(tolerance, scale.zero)
    final = max(abs(float(q[-1])), scale.settings.final_floor * top, tolerance)
    return QuantityError(
        float(relative_error(np.array(off), np.array(top), tolerance)), abs(float(r[-1]) - float(q[-1])) / final, off
    )


def largest(values: Sequence[float]) -> float:
    """Maximum in which NaN wins: an error that is not known is not small."""
    return float(np.max(np.array(values, dtype=np.float64)))


# -- Figures of a comparison, without any global state ---------------------------------------------


_MAX_PANELS = 12


def draw_trajectory(axes: Axes, report: ErrorReport, name: str) -> None:
    """Original as a broad line, reduced as dashes upon it, so that both are seen where they agree."""
    shown = report.compared
    axes.plot(
        shown.times,
        shown.original[name],
        color=ORIGINAL,
        linewidth=4.0,
        alpha=0.55,
        label="original",
        solid_capstyle="round",
    )
    axes.plot(shown.times, shown.reduced[name], color=REDUCED, linewidth=1.9, dashes=(5, 2.5), label="reduced")
    axes.set_title(report.title_of(name), loc="left", parse_math=False)
    unit = report.units.get(name)
    if unit is not None:
        axes.set_ylabel(unit, parse_math=False)
    axes.margins(x=0.0)
    both = np.concatenate([shown.original[name], shown.reduced[name]])
    if float(both[np.isfinite(both)].min(initial=0.0)) >= 0:
        axes.set_ylim(bottom=0.0)


def draw_error(axes: Axes, report: ErrorReport, names: Sequence[str]) -> None:
    """|difference| over the largest magnitude of the original, logarithmic; no line where both agree exactly."""
    lowest = 1.0
    compared = report.compared
    for i, name in enumerate(names):
        q = compared.original[name]
        top = float(np.abs(q[np.isfinite(q)]).max(initial=0.0)) or 1.0
        error = np.abs(compared.reduced[name] - q) / top
        seen = error[np.isfinite(error) & (error > 0)]
        lowest = min(lowest, float(seen.min(initial=1.0)))
        shown = np.where(error > 0, error, np.nan)
        axes.semilogy(compared.times, shown, color=SERIES[i % len(SERIES)], linewidth=1.4, label=name)
    axes.set_ylim(bottom=max(lowest / 3, 1e-18) if lowest < 1.0 else 1e-16)
    axes.set_xlim(float(report.times[0]), float(report.times[-1]))


def report_figure(report: ErrorReport) -> Figure:
    """Panels of the trajectories (at most 12) and one of the errors."""
    names = list(report.original)[:_MAX_PANELS]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = PAPER.figure(2.6 * (rows + 1), 4.2 * columns if columns > 1 else None)
    grid = figure.add_gridspec(rows + 1, columns)
    for i, name in enumerate(names):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        draw_trajectory(axes, report, name)
        PAPER.quiet(axes)
        if i == 0:
            PAPER.legend(axes)
    axes = figure.add_subplot(grid[rows, :])
    draw_error(axes, report, list(report.original)[: len(SERIES)])
    axes.set_xlabel(f"time ({report.time_unit})" if report.time_unit else "time", parse_math=False)
    axes.set_title("relative error", loc="left")
    PAPER.quiet(axes)
    return figure


# -- two models simulated side by side -------------------------------------------------------------

# Simulators are foreign code that compiles what it is given: they crash, hang and do not hear Ctrl-C. What is asked of
# them is a value that can be sent to a child process, and so is what they answer.


@dataclass(frozen=True, slots=True)
class GridSettings:
    """Where a grid gets further points.

    Attributes
    ----------
    most_between : int
        Points put into one interval of the grid: a transient within it rises and falls over several of them.
    clear : float
        Of an interval of the grid: so near to an event that a state triggers nothing is compared, the two models may
        have it so much apart.
    beside : float
        Of a time: so near to both sides of a jump whose time is known values are compared.
    after : tuple of float
        Of an interval of the grid: where, after a jump or an event, a transient is looked for. The steps of an
        integrator are no substitute: which of them are first after an event depends on the last bit of its time.
    most_events : int
        Events after which points are put: as many as times at which a model changes by itself (five points each).
    looser : float
        Of the tolerances: how much looser a run is that shows what the integration leaves uncertain.
    """

    most_between: int = 8
    clear: float = 1e-5
    beside: float = 1e-8
    after: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 0.3)
    most_events: int = 1000
    looser: float = 10.0


GRID: Final = GridSettings()


@dataclass(frozen=True)
class PairRequest:
    """What is to be simulated.

    Attributes
    ----------
    simulator : str or Simulator
        An object that simulates cannot be sent to a child process.
    original, reduced : SimulatedModel
    until : float, TimeSpan or None
        End time as the user gave it, or as it was chosen; chosen from the original where it is ``None``.
    points : int
        Of the uniform grid.
    observed : tuple of mappings of str to float
        Combinations of ``wanted`` whose time scale decides the end time.
    wanted, reduced_wanted : mapping of str to QuantitySelection
        What is read in the original and in the reduced model.
    triggers : Triggers
        Events of the original; their ``needs`` are a part of ``wanted``.
    conditions : Conditions
        Of its piecewise expressions, likewise.
    grid : GridSettings
    """

    simulator: str | Simulator
    original: SimulatedModel
    reduced: SimulatedModel
    until: float | TimeSpan | None
    points: int
    observed: tuple[Mapping[str, float], ...]
    wanted: Mapping[str, QuantitySelection]
    reduced_wanted: Mapping[str, QuantitySelection]
    triggers: Triggers = NO_TRIGGERS
    conditions: Conditions = NO_CONDITIONS
    grid: GridSettings = GRID


@dataclass(frozen=True)
class PairRun:
    """What a pair of simulations gave.

    Attributes
    ----------
    span : TimeSpan
    original, reduced : Trajectory
        On one grid: the uniform one and what had to be put between its points.
    looser : Trajectory or None
        The original once more with a looser tolerance, where something in it is very small.
    engine : str
        Name of the simulator.
    """

    span: TimeSpan
    original: Trajectory
    reduced: Trajectory
    looser: Trajectory | None = None
    engine: str = "roadrunner"


def _simulated(request: PairRequest) -> PairRun:
    engine = simulator_named(request.simulator) if isinstance(request.simulator, str) else request.simulator
    model = engine.load(request.original)
    points = request.points
    if isinstance(request.until, TimeSpan):
        span = request.until
    elif request.until is None:
        span = time_span_of_model(model, request.original.switches.named, request.observed, request.wanted)
        if request.triggers.nodes or request.conditions.nodes:
            span = beyond_changes(model, span, request.triggers, request.conditions, request.wanted)
    else:
        span = TimeSpan(request.until, "given by the user")
    other = engine.load(request.reduced)
    between = _between(model, other, request, span.until)
    try:
        run = model.run(request.wanted, span.until, points, between=between)
    except IntegrationError as error:
        if error.reached <= 0 or isinstance(request.until, float):
            raise
        # an end time of our own that a precise run does not reach is shortened once
        span = before_failure(span, error.reached)
        between = _between(model, other, request, span.until)
        run = model.run(request.wanted, span.until, points, between=between)
    reduced = other.run(request.reduced_wanted, span.until, points, between=between)
    looser = None
    if _something_small(run):
        try:
            looser = model.run(request.wanted, span.until, points, PRECISE.looser(request.grid.looser), between=between)
        except IntegrationError:
            looser = None  # without it a small quantity is held against the others
    return PairRun(span, run, reduced, looser, engine.name)


def _something_small(run: Trajectory) -> bool:
    sizes = [magnitude(values) for values in run.values.values()]
    return any(0 < size < ERRORS.small * max(sizes) for size in sizes)


def _between(model: LoadedModel, other: LoadedModel, request: PairRequest, until: float) -> Array:
    """Times at which the grid has to be finer: where one of the two models moves within an interval, and at jumps."""
    grid, settings = merged_grid(until, request.points), request.grid
    width = until / (request.points - 1)
    known = np.array(
        sorted({*request.original.switches.until(until), *request.reduced.switches.until(until)}), dtype=np.float64
    )
    taken: list[Array] = []
    events: list[Array] = []
    for one in (model, other):
        try:
            steps: Steps = one.steps(until)
        except IntegrationError:
            continue  # the precise run says so, or does better
        taken.append(steps.times)
        events.append(steps.events)
    times = np.unique(np.concatenate([*taken, np.zeros(1)]))
    times = times[(times > 0) & (times < until)]
    met = np.setdiff1d(np.concatenate([*events, np.zeros(1)]), known)
    met = met[(met > 0) & (met < until)]
    after = np.concatenate([met[_spread(len(met), settings.most_events)] + part * width for part in settings.after])
    for moment in met:
        times = times[np.abs(times - moment) > settings.clear * width]
        after = after[np.abs(after - moment) > settings.clear * width]
    for moment in known:
        times = times[np.abs(times - moment) > settings.beside * moment]
    place = np.searchsorted(grid, times)
    kept: list[Array] = [known * (1 - settings.beside), known * (1 + settings.beside)]
    kept += [known + part * width for part in settings.after]
    kept.append(after)
    for interval in np.unique(place):
        inside = times[place == interval]
        kept.append(inside[_spread(len(inside), settings.most_between)])
    return np.unique(np.concatenate(kept))


def _spread(count: int, most: int) -> Indices:
    """Indices of ``count`` things in order, or of ``most`` of them from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


# -- in a process of its own -------------------------------------------------------------------------


def run_apart(job: Callable[..., Any], arguments: tuple[Any, ...], limits: Limits | None) -> Ended:
    """Run ``job(*arguments, emit)`` in a child process with limits; in this process where there are none."""
    if limits is None:
        with silent_output():
            return Ended("finished", job(*arguments, lambda _: None), "", 0.0, 0)
    return run_isolated(job, arguments, limits, copied=True)


def simulate_pair(request: PairRequest, limits: Limits | None = None) -> PairRun:
    """Simulate both models, in a child process where there are limits.

    Raises
    ------
    UsageError, UnsupportedModelError, IntegrationError
        As the simulator says.
    LimitError
        If the simulator did not come back: codes ``simulator-crashed``, ``simulator-time-limit``,
        ``simulator-memory``.
    SbmlumpError
        Code ``simulator-fault``, if our own code around it failed.
    """
    ended = run_apart(_pair_job, (request,), limits)
    if ended.how == "finished":
        if isinstance(ended.value, SbmlumpError):
            raise ended.value
        assert isinstance(ended.value, PairRun)
        return ended.value
    code = _CODES.get(ended.how, "simulator-fault")
    message = f"{request.original.path.name}: the simulation by {request.simulator} did not come back: {ended.message}"
    if code == "simulator-fault":
        raise SbmlumpError(Reason(code, message))
    other = "own" if request.simulator != "own" else "roadrunner"
    raise LimitError(Reason(code, f"{message}; another simulator may do it (sbmlump check --simulator {other})"))


_CODES: Final = {
    "crashed": "simulator-crashed",
    "time-limit": "simulator-time-limit",
    "out-of-memory": "simulator-memory",
}


def _pair_job(request: PairRequest, _emit: Any) -> PairRun | SbmlumpError:
    try:
        return _simulated(request)
    except SbmlumpError as error:
        return error


# -- the comparison ------------------------------------------------------------------------------------


_LONGEST_NAME = 32  # in the title of a panel
_MOST_NAMED = 5  # events and quantities that a remark lists


@dataclass(frozen=True, eq=False)
class Comparison:
    """Trajectories of the observables on the grid on which they were compared.

    Attributes
    ----------
    times : ndarray of float64, shape (m,)
        The uniform grid, and the times that were put between its points.
    original, reduced : mapping from observable to ndarray of float64, shape (m,)
    """

    times: Array
    original: Mapping[str, Array]
    reduced: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class ErrorReport:
    """What a comparison found.

    Attributes
    ----------
    until : float
        End time T, in the model's unit of time.
    horizon_reason : str
        Who chose it, or how it was chosen.
    times : ndarray of float64, shape (k,)
        Uniform grid from 0 to T.
    original, reduced : mapping from observable to ndarray of float64, shape (k,)
        Trajectories on that grid.
    per_observable : mapping from observable to QuantityError
    max_relative_error, final_relative_error, max_absolute_error : float
        The largest over the observables.
    seconds_original, seconds_reduced : float
        Wall time of the two integrations (loading and compiling not included).
    simulator : str
        By which they were made.
    remarks : tuple of str
        What differs from what was asked for, such as loosened tolerances.
    resolved : Comparison, optional
        Trajectories with the points that were put between those of the grid; errors are the largest over these.
    scales : mapping from observable to Scale
        What its errors are held against.
    names, units : mapping of observable to str
        As the original has them, where it does.
    time_unit : str or None
    """

    until: float
    horizon_reason: str
    times: Array = field(repr=False)
    original: Mapping[str, Array] = field(repr=False)
    reduced: Mapping[str, Array] = field(repr=False)
    per_observable: Mapping[str, QuantityError]
    max_relative_error: float
    final_relative_error: float
    max_absolute_error: float
    seconds_original: float
    seconds_reduced: float
    simulator: str = "roadrunner"
    remarks: tuple[str, ...] = ()
    resolved: Comparison | None = field(default=None, repr=False)
    scales: Mapping[str, Scale] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    units: Mapping[str, str] = field(default_factory=dict, repr=False)
    time_unit: str | None = None

    def title_of(self, id: str) -> str:
        """``Erk2-PP (MAPK_PP)`` where the model has a name for it; the id alone elsewhere."""
        name = self.names.get(id)
        return id if name is None or name == id else f"{shortened(name, _LONGEST_NAME)} ({id})"

    @property
    def compared(self) -> Comparison:
        """``resolved``, or what is on the uniform grid where there is no more."""
        return self.resolved or Comparison(self.times, self.original, self.reduced)

    def as_json(self) -> dict[str, Any]:
        """The ``simulation`` object of the command line's JSON; what is not finite becomes null."""
        return {
            "until": finite_or_none(self.until),
            "max_relative_error": finite_or_none(self.max_relative_error),
            "final_relative_error": finite_or_none(self.final_relative_error),
            "max_absolute_error": finite_or_none(self.max_absolute_error),
            "per_observable": {name: error.as_json() for name, error in self.per_observable.items()},
            "seconds_original": finite_or_none(self.seconds_original),
            "seconds_reduced": finite_or_none(self.seconds_reduced),
        }

    def _repr_html_(self) -> str:
        """A table of the errors, for notebooks."""
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{error.max_relative_error:.2e}</td>"
            f"<td>{error.final_relative_error:.2e}</td><td>{error.max_absolute_error:.2e}</td></tr>"
            for name, error in self.per_observable.items()
        )
        head = f"until {self.until:g} ({self.horizon_reason}), simulated by {self.simulator}"
        remarks = "".join(f"<br>{escape(remark)}" for remark in self.remarks)
        titles = "<tr><th>quantity</th><th>max relative</th><th>at the end</th><th>max absolute</th></tr>"
        return f"<p>{escape(head)}{remarks}</p><table>{titles}{rows}</table>"

    def to_pandas(self) -> Any:
        """Both trajectories on the uniform grid, as a data frame of pandas, a row for each time.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        columns = [(name, model) for name in self.original for model in ("original", "reduced")]
        sides = {"original": self.original, "reduced": self.reduced}
        rows = np.stack([sides[model][name] for name, model in columns], axis=1)
        return frame_of([f"{name} ({model})" for name, model in columns], rows.tolist(), self.times.tolist())

    def plot(self) -> Figure:
        """Trajectories, original against reduced, and the error over time, as a new matplotlib figure."""
        return report_figure(self)


def compare_simulated(
    original: str | Path | SimulatedModel,
    reduced: str | Path | SimulatedModel,
    *,
    until: float | TimeSpan | None = None,
    points: int = 201,
    observables: Sequence[str] | None = None,
    definitions: Mapping[str, Definition] | None = None,
    leading: Sequence[str] = (),
    simulator: str | Simulator = "roadrunner",
    copasi_beyond: int | None = COMPILE_LIMITS.operands,
    limits: Limits | None = None,
) -> ErrorReport:
    """Simulate both SBML files and compare the quantities they share.

    Parameters
    ----------
    original, reduced : path or SimulatedModel
        SBML files, or what has been made of them already.
    until : float or TimeSpan, optional
        End time in the model's unit of time; chosen from the time scale of the observables when absent. One that was
        chosen already is shortened where a precise run does not reach it, one that was given is not.
    points : int
        Points of the uniform grid, both ends included (at least 2).
    observables : sequence of str, or str, optional
        Ids in the reduced file; one alone may be a text. Without it: all ids that stand in both files and that may
        change in the reduced one (states and assigned quantities; reactions only where they are named here), and all
        of ``definitions``.
    definitions : mapping from observable to Definition, optional
        How observables follow from quantities of the original, for those that it does not hold under the same id.
    leading : sequence of str
        Ids that come first where ``observables`` does not say which are compared; those that are not shared are left
        out.
    simulator : str or Simulator
        A name in :data:`~sbmlump.simulators.comparison.SIMULATORS`, or an object that runs SBML files. A model that is
        too large for ``roadrunner`` to compile is simulated by ``copasi``, where its formulas are long and that is
        installed and takes it, or by ``own``; a remark says so.
    copasi_beyond : int or None
        See :func:`simulators_for`.
    limits : Limits, optional
        Where given, the simulations run in a child process with these limits, so that a simulator that crashes or
        hangs is an error like any other. In this process otherwise.

    Raises
    ------
    UsageError
        If an observable is unknown, nothing is shared, or ``until`` or ``points`` make no sense.
    InputError, UnsupportedModelError
        If a file cannot be read or the simulator refuses it.
    IntegrationError
        If a simulation does not reach the end time (code ``simulation-failed``).
    LimitError
        If a child process crashes or meets a limit (codes of :func:`simulate_pair`).
    """
    UNTIL.read("until", until.until if isinstance(until, TimeSpan) else until, optional=True)
    POINTS.read("points", points)
    if isinstance(observables, str):
        observables = [observables]  # as in reduce; its letters are meant by nobody
    first, second = simulated_file(original), simulated_file(reduced)
    index = first.index
    remarks: tuple[str, ...] = (*first.remarks, *second.remarks)
    chosen: tuple[ChosenSimulator, ...] = ()
    if isinstance(simulator, str):
        chosen = simulators_for(simulator, index, second.index, copasi_beyond=copasi_beyond)
    pairs = _pairs(first, second, observables, dict(definitions or {}), leading)
    triggers, conditions = triggers_of(first.system), conditions_of(first.system)
    needs = index.selections(need for pair in pairs.values() for need in pair.definition.needs)
    states = () if first.system is None else first.system.states
    wanted = {**needs, **index.selections((*index.species, *states, *triggers.needs, *conditions.needs))}
    states_of_reduced = () if second.system is None else second.system.states
    held = second.index.selections(states_of_reduced)
    request = PairRequest(
        chosen[0].name if chosen else simulator,
        first,
        second,
        until if until is None or isinstance(until, TimeSpan) else float(until),
        points,
        tuple(row for pair in pairs.values() for row in pair.definition.observed),
        wanted,
        {
            **{_state_label(name): selection for name, selection in held.items()},
            **{name: pair.selection for name, pair in pairs.items()},
        },
        triggers,
        conditions,
    )
    run, remark = _first_that_does(request, chosen, limits)
    remarks = remarks if remark is None else (*remarks, remark)
    report = _report(run, pairs, (first, second), points, triggers, conditions)
    report = replace(report, remarks=(*remarks, *report.remarks))
    return report if first.system is None else _with_words(report, first.system)


def _first_that_does(
    request: PairRequest, chosen: Sequence[ChosenSimulator], limits: Limits | None
) -> tuple[PairRun, str | None]:
    """Simulate by the first simulator that takes both models to the end, and what is to be said of it."""
    if not chosen:
        return simulate_pair(request, limits), None
    last, early = chosen[-1], None
    for one in chosen[:-1]:
        try:
            run = simulate_pair(replace(request, simulator=one.name), limits)
        except SbmlumpError:
            continue  # not installed, or not for these models: the next one says what is wrong, if anything is
        ends_early = isinstance(request.until, TimeSpan) and run.span.until < request.until.until
        if not ends_early or last.remark is not None:
            return run, one.remark
        early = run, one.remark  # what was named compiles for long, but may get to the end
    try:
        return simulate_pair(replace(request, simulator=last.name), limits), last.remark
    except SbmlumpError:
        if early is None:
            raise
        return early


def _with_words(report: ErrorReport, system: OdeSystem) -> ErrorReport:
    """The report with the names and units of the original."""
    called = {one.id: one.name for one in system.quantities.values()} | {one.id: one.name for one in system.reactions}
    names = {id: name for id in report.original if (name := called.get(id))}
    units = {id: unit for id in report.original if (unit := unit_of(system, id))}
    return replace(report, names=names, units=units, time_unit=time_unit_of(system))


@dataclass(frozen=True, slots=True)
class _ObservablePair:
    """An observable: how it follows from the original, and how it is read in the reduced model."""

    definition: Definition
    selection: QuantitySelection


def _pairs(
    first: SimulatedModel,
    second: SimulatedModel,
    observables: Sequence[str] | None,
    definitions: dict[str, Definition],
    leading: Sequence[str],
) -> dict[str, _ObservablePair]:
    original, reduced = first.path, second.path
    index, reduced_index = first.index, second.index
    if observables is not None:
        names = list(dict.fromkeys(observables))
    else:
        shared = [*definitions, *(name for name in reduced_index.moving if name in index.kinds)]
        ahead = [n for n in leading if n in definitions or (n in index.kinds and n in reduced_index.kinds)]
        names = list(dict.fromkeys((*ahead, *shared)))
    if not names:
        message = f"{original} and {reduced} share no quantity that changes; name what to compare."
        raise UsageError(Reason("nothing-to-compare", message))
    pairs: dict[str, _ObservablePair] = {}
    reasons: list[Reason] = []
    for name in names:
        here, there = index.selection(name), reduced_index.selection(name)
        if there is None:
            reasons.append(_unknown(name, reduced, reduced_index))
            continue
        definition = definitions.get(name)
        if definition is None:
            if here is None:
                reasons.append(_unknown(name, original, index))
                continue
            definition = _itself(name)
            species = ("amount", "concentration")
            if here.kind in species and there.kind in species:
                there = here
        reasons += [_unknown(need, original, index) for need in definition.needs if need not in index.kinds]
        pairs[name] = _ObservablePair(definition, there)
    if reasons:
        raise UsageError(reasons)
    return pairs


def _itself(name: str) -> Definition:
    graph = Graph()
    return Definition((name,), lambda _, columns: columns[name], {name: 1.0}, (graph, graph.symbol(name)))


def _state_label(name: str) -> str:
    """Of a state of the reduced model, beside the observables, which may be read in another form."""
    return f"state {name}"


def _unknown(name: str, path: Path, index: ModelIndex) -> Reason:
    hint = did_you_mean(near_matches(name, index.kinds), "'sbmlump inspect' lists what the file has")
    return Reason("unknown-quantity", f"{path}: there is no quantity {name!r}; {hint}", name)


def _scales(
    pairs: Mapping[str, _ObservablePair],
    models: tuple[SimulatedModel, SimulatedModel],
    run: PairRun,
    original: Mapping[str, Array],
    reduced: Mapping[str, Array],
    grid: Indices,
) -> dict[str, Scale]:
    """Sizes that errors of each observable are held against: see :class:`~sbmlump.simulators.comparison.Scale`.

    An observable has the sizes of what it is computed from; species are of one kind, by what they are read as. Terms
    are added up only where the two models do not agree anyway.
    """
    index = models[0].index
    largest_of: dict[str, float] = {}
    for name in index.species:
        kind = index.kinds[name]
        largest_of[kind] = max(largest_of.get(kind, 0.0), magnitude(run.original.values[name]))
    species = set(index.species)
    looser = run.looser
    terms = _term_sizes(models[0].system, run.original, {name: name for name in index.kinds})
    others = _term_sizes(models[1].system, run.reduced, {name: _state_label(name) for name in models[1].index.kinds})

    def noise_of(pair: _ObservablePair, own: float, kind: float) -> float | None:
        if looser is None or not 0 < own < ERRORS.small * kind:
            return None
        with np.errstate(all="ignore"):
            once = pair.definition.value(run.original.times, run.original.values)
            again = pair.definition.value(looser.times, looser.values)
        return magnitude(again - once)

    def of(name: str, pair: _ObservablePair) -> Scale:
        needs = pair.definition.needs
        own = max((magnitude(run.original.values[need]) for need in needs), default=0.0)
        kind = max((largest_of[index.kinds[need]] for need in needs if need in species), default=0.0)
        kind = max(kind, own)
        scale = Scale(own, kind, noise_of(pair, own, kind))
        if terms is None or pair.definition.expression is None:
            return scale
        error = quantity_errors({name: original[name]}, {name: reduced[name]}, {name: scale}, grid)[name]
        if not error.max_relative_error > ERRORS.agreeing:
            return scale
        size = terms.of_expression(*pair.definition.expression)
        kind = max(kind, size)
        zero = ERRORS.absolute * size
        zero_in_reduced = zero
        if others is not None:
            zero_in_reduced = max(zero, ERRORS.absolute * others.of_expression(*_as_read(pair.selection, models[1])))
        return Scale(own, kind, noise_of(pair, own, kind), zero, zero_in_reduced)

    return {name: of(name, pair) for name, pair in pairs.items()}


def _as_read(selection: QuantitySelection, model: SimulatedModel) -> tuple[Graph, Node]:
    """A quantity over the ids of ``model``, in the form in which it is read."""
    graph = Graph()
    node = graph.symbol(selection.id)
    quantity = None if model.system is None else model.system.quantities.get(selection.id)
    if model.index.kinds.get(selection.id) == selection.kind or quantity is None or quantity.compartment is None:
        return graph, node
    size = graph.symbol(quantity.compartment)
    return graph, graph.mul((node, size)) if selection.kind == "amount" else graph.div(node, size)


def _term_sizes(system: OdeSystem | None, run: Trajectory, labels: Mapping[str, str]) -> TermSizes | None:
    """The terms of a model along its trajectory; none where the reader does not take it, or a state is not read."""
    if system is None or any(labels.get(name) not in run.values for name in system.states):
        return None
    return TermSizes(system, run.times, {name: run.values[labels[name]] for name in system.states})


def _report(
    run: PairRun,
    pairs: Mapping[str, _ObservablePair],
    models: tuple[SimulatedModel, SimulatedModel],
    points: int,
    triggers: Triggers,
    conditions: Conditions,
) -> ErrorReport:
    times = run.original.times
    with np.errstate(all="ignore"):
        original = {name: pair.definition.value(times, run.original.values) for name, pair in pairs.items()}
    reduced = {name: run.reduced.values[name] for name in pairs}
    uniform = np.linspace(0.0, run.span.until, points)
    place = np.searchsorted(times, uniform)
    scales = _scales(pairs, models, run, original, reduced, place)
    errors = quantity_errors(original, reduced, scales, place)
    remarks = [
        *_not_finite(original, reduced, place),
        *(remark for name in pairs if (remark := _size_remark(name, original[name], reduced[name], scales[name]))),
        *_unfired(triggers, run),
        *_passed(conditions, run),
    ]
    return ErrorReport(
        until=run.span.until,
        horizon_reason=run.span.reason,
        times=uniform,
        original={name: values[place] for name, values in original.items()},
        reduced={name: values[place] for name, values in reduced.items()},
        per_observable=errors,
        max_relative_error=largest([e.max_relative_error for e in errors.values()]),
        final_relative_error=largest([e.final_relative_error for e in errors.values()]),
        max_absolute_error=largest([e.max_absolute_error for e in errors.values()]),
        seconds_original=run.original.seconds,
        seconds_reduced=run.reduced.seconds,
        resolved=Comparison(times, original, reduced),
        scales=scales,
        simulator=run.engine,
        remarks=(*run.original.remarks, *run.reduced.remarks, *remarks),
    )


def _not_finite(original: Mapping[str, Array], reduced: Mapping[str, Array], grid: Indices) -> list[str]:
    """What is said of points at which a quantity has no value; those of the grid are counted."""
    remarks = []
    for name, values in original.items():
        if np.isfinite(values).all():
            continue
        count = int((~np.isfinite(values[grid])).sum())
        alike = np.array_equal(np.isfinite(values), np.isfinite(reduced[name]))
        told = (
            "it has none there in the reduced model either, these points are left out."
            if alike
            else "the reduced model differs there, so its error is unknown."
        )
        remarks.append(f"{name} has no finite value at {count} of {len(grid)} points of the original; {told}")
    return remarks


def _size_remark(name: str, original: Array, reduced: Array, scale: Scale) -> str | None:
    """What is said of a quantity that is very small, or zero, beside others of its kind."""
    own, other = magnitude(original), magnitude(reduced)
    alike = other <= scale.zero_in_reduced
    if 0.0 < own <= scale.zero or (own == 0.0 < other and alike):
        return (
            f"{name} is at most {own:.2g} in the original, no more than rounding leaves of the terms of its sum (about "
            f"{max(scale.zero, scale.zero_in_reduced):.1g}): it counts as 0"
            + (" in both models." if alike else f"; in the reduced model it is up to {other:.2g}.")
        )
    if own == 0.0 and other > 0.0:
        return f"{name} is 0 all the time in the original and up to {other:.2g} in the reduced model."
    if scale.noise is None:
        return None
    if scale.tolerance > 1e-3 * own:
        return (
            f"{name} is at most {own:.2g} beside others of {scale.kind:.2g}: below what the integration leaves "
            f"uncertain (about {scale.tolerance:.1g}), so nothing is said of it."
        )
    return f"{name} is at most {own:.2g} beside others of {scale.kind:.2g}; its error is relative to itself."


def _unfired(triggers: Triggers, run: PairRun) -> list[str]:
    """What is said of events that have not been triggered."""
    if not triggers.nodes:
        return []
    fired = triggers.first_fired(run.original)
    names = [label for label, time in zip(triggers.labels, fired, strict=True) if time == np.inf]
    if not names:
        return []
    listed = some_names(names, _MOST_NAMED)
    message = (
        f"not seen to be triggered until time {run.span.until:g}: {listed}; what comes after such an event is not "
        "compared (--until T simulates longer)."
    )
    return [message]


def _passed(conditions: Conditions, run: PairRun) -> list[str]:
    """What is said of a branch that may have come and gone between two points."""
    between = conditions.passed(run.original.times, run.original.values)
    if between is None:
        return []
    message = (
        f"between time {between[0]:g} and {between[1]:g} several conditions of a piecewise expression change; a branch "
        "that holds for so short a time may not have been simulated, and is not compared then (more points show it: "
        "--points N)."
    )
    return [message]
