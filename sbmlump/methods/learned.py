"""Data-driven closure: a linear map with the observables as pinned rows, and a sparse right-hand side fitted to runs.

What is minimised is ∫‖L f(x(t)) − g(Lx(t))‖² dt over simulated runs. L = 0, g = 0 would be a minimiser, so the
observables are rows of L as they stand, and the other rows are the leading directions of what they leave of the
(scaled) runs, each of unit variance. g is a polynomial of degree two, sparse by thresholded least squares, or a
quotient of such polynomials whose denominator stays positive along the runs. Candidates are judged by the error of
their trajectories.

References
----------
S. L. Brunton, J. L. Proctor, J. N. Kutz, PNAS 113 (2016), doi 10.1073/pnas.1517384113: sparse regression for dynamics.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations_with_replacement
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import qr

from sbmlump.dynamics.ensemble import (
    DRAFT,
    STANDARD,
    Ensemble,
    EnsembleSettings,
    ReferenceEnsemble,
    ensemble_trajectories,
    error_estimate,
    reference_ensemble,
    refuse_events,
    time_grid,
    values,
)
from sbmlump.errors import LimitError, Reason, UnsupportedModelError, UsageError
from sbmlump.files import write_atomically
from sbmlump.linalg.rational import rank, right_inverse
from sbmlump.model.graph import Node
from sbmlump.model.names import lump_names
from sbmlump.model.reduced import ErrorEstimate, LinearLumping, Lump, LumpingMatrix, Observable, ReducedSystem
from sbmlump.model.system import Assigned, OdeSystem

__all__ = [
    "LearningSettings",
    "NeuralClosure",
    "TrainingSettings",
    "learn",
    "learn_neural",
    "load_neural",
    "neural_not_writable",
    "require_torch",
]


Array = NDArray[np.float64]
Row = Mapping[int, Fraction]
Clock = Callable[[], float]
_TINY: Final = 1e-300  # keeps a quotient by a largest value finite where that is 0


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How a small system is learned.

    Attributes
    ----------
    size : int
        States tried at most where none are asked for.
    error : float
        At which a size is good enough where none is asked for.
    thresholds : tuple of float
        Below which a term is dropped, as a share of the rate that is fitted.
    most_terms : int
        Monomials of a right-hand side; 400 are 26 states.
    rounds : int
        Of fitting and dropping; it nearly always ends before.
    digits : int
        Of coefficients, as they are written: a fit knows fewer.
    training_points : int
        Times of each training trajectory.
    training_spread : float
        How much wider the initial values of the training trajectories are spread than those on which errors are
        measured; there are twice as many.
    least_denominator : float
        Part of its median that a denominator must keep along all trajectories.
    """

    size: int = 6
    error: float = 0.01
    thresholds: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 0.0)
    most_terms: int = 400
    rounds: int = 10
    digits: int = 12
    training_points: int = 60
    training_spread: float = 1.25
    least_denominator: float = 0.05


def learn(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    max_size: int | None = None,
    max_error: float | None = None,
    rational: bool = False,
    trial: EnsembleSettings = STANDARD,
    clock: Clock = time.perf_counter,
    settings: LearningSettings = LearningSettings(),
) -> ReducedSystem:
    """Learn a small system that follows the observables.

    Parameters
    ----------
    observables : sequence of Observable
        Linear combinations of states.
    max_size : int, optional
        At most so many states (6 by default), and fewer than the system has.
    max_error : float, optional
        Take the smallest size whose measured error is at most this. If absent, the smallest with at most 0.01, or
        else the best.
    rational : bool
        Try right-hand sides with denominators too.

    Raises
    ------
    UnsupportedModelError
        ``non-linear-observable``, ``event-not-lumpable``.
    UsageError
        ``bad-option`` if the size is below the number of independent observables.
    LimitError
        ``target-not-reached`` if no size meets `max_error`, or there are as many independent observables as states;
        ``not-simulated``.
    """
    begin = clock()
    refuse_events(system, "learned")
    pinned = _pinned(system, observables)
    if len(pinned) >= system.size:
        message = (
            f"the observables need all {system.size} states of model {system.id}; there is no smaller system to learn"
        )
        raise LimitError(Reason("target-not-reached", message))
    limit = min(max_size if max_size is not None else max(settings.size, len(pinned)), system.size - 1)
    if limit < len(pinned):
        message = f"{len(pinned)} independent observables need at least {len(pinned)} states, not {limit}"
        raise UsageError(Reason("bad-option", message))
    ruler = reference_ensemble(system, observables, trial)
    data = _data(system, ruler, settings)
    extra = _directions(system, pinned, data, settings.digits)
    best: tuple[float, ReducedSystem] | None = None
    for size in range(len(pinned), limit + 1):
        if size > len(pinned) + len(extra):
            break
        rows = [*pinned, *extra[: size - len(pinned)]]
        for reduction in _candidates(system, observables, rows, data, rational, ruler, settings):
            certificate = reduction.certificate
            assert isinstance(certificate, ErrorEstimate)
            if best is None or certificate.worst_error < best[0]:
                best = certificate.worst_error, reduction
        if best is not None and best[0] <= (settings.error if max_error is None else max_error):
            break
    if best is None or not np.isfinite(best[0]) or (max_error is not None and best[0] > max_error):
        found = (
            "every candidate diverges" if best is None or not np.isfinite(best[0]) else f"the best has {best[0]:.3g}"
        )
        wanted = "" if max_error is None else f" with an error of at most {max_error:g}"
        message = f"no learned system of at most {limit} states was found{wanted}: {found}; allow more with --max-size"
        raise LimitError(Reason("target-not-reached", message))
    return replace(best[1], seconds={"lump": clock() - begin})


@dataclass(frozen=True, slots=True)
class _Data:
    """Points of the training runs: states (k, n), rates (k, n), weights (k,) of the integral over time."""

    states: Array
    rates: Array
    weights: Array


def _pinned(system: OdeSystem, observables: Sequence[Observable]) -> list[Row]:
    """Independent rows that give the observables."""
    graph = system.graph
    index = system.state_index
    rows: list[Row] = []
    for one in observables:
        row: dict[int, Fraction] = {}
        for term, value in graph.linear_terms(one.expression).items():
            if graph.number_of(term) is not None:
                continue
            if not system.is_symbol(term) or graph.name(term) not in index:
                message = f"the observable {one.text} is no linear combination of states; learned maps are linear"
                raise UnsupportedModelError(Reason("non-linear-observable", message, one.id))
            row[index[graph.name(term)]] = value
        if row and rank([*rows, row], system.size) > len(rows):
            rows.append(row)
    if not rows:
        raise UsageError(Reason("no-observable", "a learned system needs an observable that depends on states"))
    return rows


def _data(system: OdeSystem, ruler: ReferenceEnsemble, settings: LearningSettings) -> _Data:
    trial = ruler.trial
    times = time_grid(ruler.until, settings.training_points)
    # other runs than those on which the error is measured
    ensemble = Ensemble(2 * trial.ensemble, settings.training_spread * trial.spread)
    runs = ensemble_trajectories(system, times, ensemble, trial.seed + 1)[1]
    if not np.isfinite(runs[0]).all():
        message = f"model {system.id} cannot be integrated to {ruler.until:g}; choose an earlier end time with --until"
        raise LimitError(Reason("not-simulated", message))
    r, m, n = runs.shape
    rates = system.rates(np.tile(times, r), runs.reshape(r * m, n))
    steps = np.gradient(times)
    # half of the weight follows the clock, half its logarithm, so that fast beginnings count
    weights = steps / steps.sum() + 1.0 / m
    return _Data(runs.reshape(r * m, n), rates, np.tile(weights, r))


def _directions(system: OdeSystem, pinned: Sequence[Row], data: _Data, digits: int) -> list[Row]:
    """Leading directions of the scaled runs beside the pinned rows, of unit variance, as exact short decimals."""
    scale = np.maximum(np.abs(data.states).max(axis=0), _TINY)
    table = data.states / scale
    fixed = np.zeros((len(pinned), system.size))
    for i, row in enumerate(pinned):
        for j, value in row.items():
            fixed[i, j] = float(value) * scale[j]
    seen = table @ fixed.T
    design = np.column_stack([seen, np.ones(len(table))])
    rest = table - design @ np.linalg.lstsq(design, table, rcond=None)[0]
    _, singular, right = np.linalg.svd(rest * np.sqrt(data.weights)[:, None], full_matrices=False)
    rows: list[Row] = []
    for value, direction in zip(singular, right, strict=True):
        if value <= 1e-9 * max(float(singular[0]), _TINY):
            break
        spread = float(np.std(table @ direction)) or 1.0
        entries = direction / scale / spread
        keep = np.abs(direction) > 1e-6
        rows.append({int(j): Fraction(f"{entries[j]:.{digits}g}") for j in np.flatnonzero(keep)})
    return rows


def _in_doubles(coefficients: Array, powers: Sequence[tuple[int, ...]], scale: Array) -> bool:
    """Whether the coefficients of scaled monomials have finite values as coefficients of the monomials themselves."""
    with np.errstate(all="ignore"):
        sizes = np.prod(scale ** np.array(powers), axis=1)
        return bool(np.isfinite(coefficients[coefficients != 0] / sizes[coefficients != 0]).all())


def _candidates(
    system: OdeSystem,
    observables: Sequence[Observable],
    rows: Sequence[Row],
    data: _Data,
    rational: bool,
    ruler: ReferenceEnsemble,
    settings: LearningSettings,
) -> Iterator[ReducedSystem]:
    matrix = LumpingMatrix(system.states, tuple(rows)).array()
    y, rates = data.states @ matrix.T, data.rates @ matrix.T
    scale = np.maximum(np.abs(y).max(axis=0), _TINY)
    powers = _powers(len(rows))
    if len(powers) > settings.most_terms:
        return
    library = np.column_stack([np.prod((y / scale) ** np.array(p), axis=1) for p in powers])
    names = lump_names(system, rows, {o.id for o in observables})
    for threshold in settings.thresholds:
        fits = [_fit(library, rates[:, i], data.weights, threshold, settings.rounds) for i in range(len(rows))]
        if not all(_in_doubles(fit, powers, scale) for fit in fits):
            continue  # the candidate is lost: a coefficient that no double holds cannot be written
        numerators = [(fit, None) for fit in fits]
        yield _assembled(system, observables, rows, names, powers, scale, numerators, ruler, threshold, settings.digits)
        if rational:
            quotients = [
                _fit_rational(library, rates[:, i], data.weights, threshold, settings) for i in range(len(rows))
            ]
            yield _assembled(
                system, observables, rows, names, powers, scale, quotients, ruler, threshold, settings.digits
            )


def _powers(size: int) -> list[tuple[int, ...]]:
    """Exponents of all monomials of degree 0, 1, 2."""
    powers: list[tuple[int, ...]] = []
    for degree in range(3):
        chosen = combinations_with_replacement(range(size), degree)
        powers.extend(tuple(one.count(i) for i in range(size)) for one in chosen)
    return powers


def _fit(library: Array, target: Array, weights: Array, threshold: float, rounds: int) -> Array:
    """Thresholded least squares: fit, drop terms of little size, fit again."""
    root = np.sqrt(weights)[:, None]
    design, goal = library * root, target * root[:, 0]
    size = np.linalg.norm(goal)
    if size == 0.0:
        return np.zeros(library.shape[1])
    columns = np.maximum(np.linalg.norm(design, axis=0), _TINY)
    active = columns > _TINY
    solution = np.zeros(library.shape[1])
    for _ in range(rounds):
        solution = np.zeros(library.shape[1])
        solution[active] = np.linalg.lstsq(design[:, active] / columns[active], goal, rcond=1e-10)[0] / columns[active]
        small = active & (np.abs(solution) * columns < threshold * size)
        if not small.any():
            break
        active &= ~small
    return solution


def _fit_rational(
    library: Array, target: Array, weights: Array, threshold: float, settings: LearningSettings
) -> tuple[Array, Array | None]:
    """p(y) − ẏ·q̃(y) = ẏ for ẏ = p/(1 + q̃); the polynomial where the denominator would not stay positive."""
    plain = _fit(library, target, weights, threshold, settings.rounds)
    terms = library.shape[1]
    both = np.concatenate([library, -target[:, None] * library[:, 1:]], axis=1)
    solution = _fit(both, target, weights, threshold, settings.rounds)
    bottom = np.concatenate([[0.0], solution[terms:]])
    along = 1.0 + library @ bottom
    if not bottom.any() or along.min() < settings.least_denominator * float(np.median(np.abs(along))):
        return plain, None
    return solution[:terms], bottom


def _assembled(
    system: OdeSystem,
    observables: Sequence[Observable],
    rows: Sequence[Row],
    names: Sequence[str],
    powers: Sequence[tuple[int, ...]],
    scale: Array,
    fits: Sequence[tuple[Array, Array | None]],
    ruler: ReferenceEnsemble,
    threshold: float,
    digits: int,
) -> ReducedSystem:
    graph = system.graph
    symbols = [graph.symbol(name) for name in names]

    def polynomial(coefficients: Array, constant: float = 0.0) -> Node:
        terms = [graph.decimal(constant)] if constant else []
        for value, exponents in zip(coefficients, powers, strict=True):
            if value:
                unscaled = float(value) / float(np.prod(scale ** np.array(exponents)))
                factors = [graph.pow(s, graph.number(e)) for s, e in zip(symbols, exponents, strict=True) if e]
                terms.append(graph.mul((graph.number(Fraction(f"{unscaled:.{digits}g}")), *factors)))
        return graph.add(terms)

    rhs = [
        polynomial(top) if bottom is None else graph.div(polynomial(top), polynomial(bottom, 1.0))
        for top, bottom in fits
    ]
    lift = _right_inverse(rows, system.size)
    initial = [graph.add(graph.scaled(v, _start(system, j)) for j, v in row.items()) for row in rows]
    back = {graph.symbol(state): graph.number(0) for state in system.states}
    image: dict[int, list[Node]] = {}
    for symbol, row in zip(symbols, lift, strict=True):
        for j, value in row.items():
            image.setdefault(j, []).append(graph.scaled(value, symbol))
    back |= {graph.symbol(system.states[j]): graph.add(parts) for j, parts in image.items()}
    kept = [
        graph.from_terms(graph.linear_terms(node))
        for node in graph.substitute([o.expression for o in observables], back)
    ]
    assigned = tuple(Assigned(o.id, node) for o, node in zip(observables, kept, strict=True) if o.id not in names)
    quantities = system.quantities_of([*names, *(a.id for a in assigned)])
    compartments = {q.compartment for q in quantities.values()}
    small = OdeSystem(
        graph,
        tuple(names),
        tuple(initial),
        tuple(rhs),
        tuple(c for c in system.constants if c.id in compartments),
        assigned,
        id=system.id,
        name=system.name,
        quantities=quantities,
        origin=system.origin,
    )
    lumps = tuple(
        Lump(name, {system.states[j]: v for j, v in sorted(row.items())}) for name, row in zip(names, rows, strict=True)
    )
    matrix = LumpingMatrix(system.states, tuple(rows))
    draft = ReducedSystem(
        system,
        small,
        tuple(observables),
        lumps,
        LinearLumping(matrix, LumpingMatrix(system.states, lift)),
        DRAFT,
        "learned",
    )
    details: dict[str, Any] = {
        "threshold": threshold,
        "terms": int(sum(np.count_nonzero(top) + (0 if b is None else np.count_nonzero(b)) for top, b in fits)),
        "rational": any(bottom is not None for _, bottom in fits),
    }
    return replace(draft, certificate=error_estimate(draft, "learned", ruler, details))


def _start(system: OdeSystem, j: int) -> Node:
    value = system.initial_values[j]
    assert value is not None  # it was simulated
    return value


def _right_inverse(rows: Sequence[Row], width: int) -> tuple[dict[int, Fraction], ...]:
    """Exact right inverse on as many well conditioned columns as there are rows."""
    dense = np.zeros((len(rows), width))
    for i, row in enumerate(rows):
        for j, value in row.items():
            dense[i, j] = float(value)
    size = np.maximum(np.abs(dense).max(axis=1, keepdims=True), _TINY)
    _, _, order = qr(dense / size, pivoting=True, mode="economic")
    columns = sorted(int(j) for j in order[: len(rows)])
    inverse = right_inverse(rows, columns)
    assert inverse is not None
    return tuple(inverse)


# -- a small neural closure --------------------------------------------------------------------------
# A map ℒ with pinned observables and a vector field g, both trained on trajectories: y = (observables / spread,
# encoder(x / scale)) and dy/dτ = field(y), with τ = t / end time.
#
# It is an extra that needs PyTorch (``pip install sbmlump[neural]``). The result is a file of weights beside the SBML;
# it is not written as SBML, whose mathematics has no place for a network (and an expression of thousands of tanh would
# be no model).


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a neural closure is trained.

    Attributes
    ----------
    width : int
        Units of the hidden layers.
    steps : int
        Of the optimiser (Adam).
    batch : int
        Points of a step.
    learning_rate : float
    divergence : float
        A trajectory whose scaled state is larger has diverged.
    """

    width: int = 32
    steps: int = 3000
    batch: int = 4096
    learning_rate: float = 3e-3
    divergence: float = 1e6


@dataclass(frozen=True)
class NeuralClosure:
    """A trained closure.

    Attributes
    ----------
    states, observables : tuple of str
        Of the original, in the order of x; what the first components of y are.
    size, width : int
        Components of y; units of the hidden layers.
    horizon : float
        T of the training; the unit of τ.
    scale : ndarray (n,)
        Of each original state.
    spread : ndarray (o,)
        Of each observable.
    network : object
        A PyTorch module with ``encoder`` (x/scale → learned components) and ``field`` (y → dy/dτ).
    closure_error : float
        Mean squared closure error over the validation trajectories, relative to the mean square of the lumped rates.
    trajectory_error : float
        Largest relative error of an observable over the validation trajectories, each integrated from y(0) = ℒ(x(0));
        infinite if one diverges.
    """

    states: tuple[str, ...]
    observables: tuple[str, ...]
    size: int
    width: int
    horizon: float
    scale: Array
    spread: Array
    network: Any
    closure_error: float
    trajectory_error: float

    def save(self, path: str | Path) -> None:
        """Write everything to a file that :func:`load_neural` reads; the whole file appears, or nothing does.

        Raises
        ------
        OutputError
            See :func:`sbmlump.files.write_atomically`.
        """
        torch = require_torch()
        content = {
            "format": "sbmlump-neural-closure-1",
            "states": list(self.states),
            "observables": list(self.observables),
            "size": self.size,
            "width": self.width,
            "horizon": self.horizon,
            "scale": torch.tensor(self.scale),
            "spread": torch.tensor(self.spread),
            "closure_error": self.closure_error,
            "trajectory_error": self.trajectory_error,
            "weights": self.network.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(path, buffer.getvalue())

    def write(self, path: str | Path) -> NoReturn:
        """Refused: SBML cannot hold it.

        Raises
        ------
        UnsupportedModelError
            ``neural-not-writable``.
        """
        raise UnsupportedModelError(neural_not_writable(path))


def neural_not_writable(path: str | Path) -> Reason:
    """Why there is no SBML of a neural closure."""
    message = (
        f"a neural closure has no SBML form, so {path} does not hold it: SBML's mathematics has no place for a network"
    )
    return Reason("neural-not-writable", message)


def require_torch() -> Any:
    """The module ``torch``.

    Raises
    ------
    UsageError
        ``extra-missing`` if it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        message = (
            "the neural closure needs PyTorch, which is not installed: pip install 'sbmlump[neural]'; the method "
            "learned works without it"
        )
        raise UsageError(Reason("extra-missing", message)) from error
    return torch


def load_neural(path: str | Path) -> NeuralClosure:
    """Read what :meth:`NeuralClosure.save` wrote.

    Raises
    ------
    UsageError
        ``extra-missing`` without PyTorch; ``unreadable-file`` if the file is none of these.
    """
    torch = require_torch()
    try:
        content = torch.load(str(path), weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise UsageError(Reason("unreadable-file", f"cannot read {path}: {error}")) from error
    if not isinstance(content, dict) or content.get("format") != "sbmlump-neural-closure-1":
        raise UsageError(Reason("unreadable-file", f"{path} holds no neural closure of sbmlump"))
    network = _network(torch, len(content["states"]), len(content["observables"]), content["size"], content["width"])
    network.load_state_dict(content["weights"])
    return NeuralClosure(
        tuple(content["states"]),
        tuple(content["observables"]),
        content["size"],
        content["width"],
        content["horizon"],
        content["scale"].numpy(),
        content["spread"].numpy(),
        network,
        content["closure_error"],
        content["trajectory_error"],
    )


def learn_neural(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    size: int,
    training: TrainingSettings = TrainingSettings(),
    trial: EnsembleSettings = STANDARD,
) -> NeuralClosure:
    """Train ℒ(x) = (observables, network(x)) and g(y) on runs of the model.

    The closure error ‖J_ℒ f − g(ℒ)‖² is weighted by the mean square of each component's rate; a second term keeps the
    learned components at unit variance, which keeps the trivial minimiser (a constant ℒ) away.

    Parameters
    ----------
    observables : sequence of Observable
        Differentiable functions of the states; they need not be linear.
    size : int
        Components of y.
    training : TrainingSettings
    trial : EnsembleSettings
        End time, and the initial values of the validation trajectories; the training trajectories have others.

    Raises
    ------
    UsageError
        ``extra-missing`` without PyTorch; ``bad-option`` if `size` is below the number of observables.
    UnsupportedModelError
        ``event-not-lumpable`` if the model has events.
    LimitError
        ``not-simulated``.
    """
    torch = require_torch()
    refuse_events(system, "learned")
    if size < len(observables):
        raise UsageError(
            Reason("bad-option", f"{len(observables)} observables need at least as many states, not {size}")
        )
    ruler = reference_ensemble(system, observables, trial)
    ensemble = Ensemble(2 * ruler.trial.ensemble, LearningSettings().training_spread * ruler.trial.spread)
    runs = ensemble_trajectories(system, ruler.times, ensemble, ruler.trial.seed + 1)[1]
    runs = runs[np.isfinite(runs).all(axis=(1, 2))]
    if not len(runs):
        message = f"model {system.id} cannot be integrated to {ruler.until:g}; choose an earlier end time with --until"
        raise LimitError(Reason("not-simulated", message))
    scale = np.maximum(np.abs(runs).max(axis=(0, 1)), _TINY)
    pinned = values(system, [o.expression for o in observables], ruler.times, runs)
    spread = np.maximum(pinned.std(axis=(0, 1)), _TINY)
    torch.manual_seed(trial.seed)
    network = _network(torch, system.size, len(observables), size, training.width)
    tables = _tensors(torch, system, observables, ruler, runs, scale, spread)
    optimiser = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    generator = torch.Generator().manual_seed(trial.seed)
    for _ in range(training.steps):
        optimiser.zero_grad()
        chosen = torch.randperm(len(tables[0]), generator=generator)[: training.batch]
        error, variance = _loss(torch, network, [table[chosen] for table in tables])
        (error + variance).backward()
        optimiser.step()
    with torch.no_grad():
        closure_error, _ = _loss(
            torch, network, _tensors(torch, system, observables, ruler, ruler.states, scale, spread)
        )
    off = _trajectory_error(torch, network, ruler, scale, spread, training.divergence)
    return NeuralClosure(
        system.states,
        tuple(o.id for o in observables),
        size,
        training.width,
        ruler.until,
        scale,
        spread,
        network,
        float(closure_error),
        off,
    )


def _network(torch: Any, n: int, fixed: int, size: int, width: int) -> Any:
    def block(inside: int, outside: int) -> Any:
        return torch.nn.Sequential(
            torch.nn.Linear(inside, width), torch.nn.Tanh(), torch.nn.Linear(width, max(outside, 1))
        )

    network = torch.nn.Module()
    network.free = size - fixed
    network.encoder = block(n, size - fixed)
    network.field = block(size, size)
    return network.double()


def _tensors(
    torch: Any,
    system: OdeSystem,
    observables: Sequence[Observable],
    ruler: ReferenceEnsemble,
    runs: Array,
    scale: Array,
    spread: Array,
) -> list[Any]:
    """x/scale, its rate, observables/spread and their rates, with τ as the time; one row a point of a run."""
    r, m, n = runs.shape
    flat = runs.reshape(r * m, n)
    seen = values(system, [o.expression for o in observables], ruler.times, runs).reshape(r * m, -1)
    flow = values(system, system.along_flow(o.expression for o in observables), ruler.times, runs)
    rates = system.rates(np.tile(ruler.times, r), flat)
    tables = (
        flat / scale,
        ruler.until * rates / scale,
        seen / spread,
        ruler.until * flow.reshape(r * m, -1) / spread,
    )
    return [torch.tensor(table, dtype=torch.float64) for table in tables]


def _loss(torch: Any, network: Any, tensors: Sequence[Any]) -> tuple[Any, Any]:
    x, dx, pinned, moved = tensors
    parts, rates = [pinned], [moved]
    variance = torch.zeros((), dtype=torch.float64)
    if network.free:
        learned, change = torch.func.jvp(network.encoder, (x,), (dx,))
        parts.append(learned)
        rates.append(change)
        variance = ((learned.std(dim=0) - 1.0) ** 2).sum()
    y, flow = torch.cat(parts, dim=1), torch.cat(rates, dim=1)
    size = flow.pow(2).mean(dim=0).clamp_min(1e-12)
    return ((network.field(y) - flow).pow(2).mean(dim=0) / size).mean(), variance


def _trajectory_error(
    torch: Any, network: Any, ruler: ReferenceEnsemble, scale: Array, spread: Array, divergence: float
) -> float:
    """Largest relative error of the observables over the validation trajectories, from the vector field alone."""
    worst = 0.0
    fixed = len(spread)

    def rate(_: float, y: Array) -> Array:
        with torch.no_grad():
            return np.asarray(network.field(torch.tensor(y)).numpy())

    def away(_: float, y: Array) -> float:
        return divergence - float(np.abs(y).max())

    away.terminal = True  # type: ignore[attr-defined]  # how SciPy is told
    for start, expected in zip(ruler.states[:, 0], ruler.expected, strict=True):
        first = expected[0] / spread
        if network.free:
            with torch.no_grad():
                first = np.concatenate([first, network.encoder(torch.tensor(start / scale)).numpy()])
        run = solve_ivp(
            rate, (0.0, 1.0), first, method="LSODA", t_eval=ruler.times / ruler.until, rtol=1e-6, atol=1e-9, events=away
        )
        if not run.success or run.y.shape[1] < len(ruler.times):
            return float("inf")
        got = run.y[:fixed].T * spread
        size = np.maximum(np.abs(expected).max(axis=0), _TINY)
        worst = max(worst, float((np.abs(got - expected) / size).max()))
    return worst
