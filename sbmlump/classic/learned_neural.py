"""A small neural closure, as an extra: a map ℒ with pinned observables and a field g, both trained on runs.

Needs PyTorch (``pip install sbmlump[neural]``). The result is a file of weights beside the SBML; it is not written
as SBML, whose mathematics has no place for a network (and an expression of thousands of tanh would be no model).

y = (observables / spread, encoder(x / scale)) and dy/dτ = field(y), with τ = t / horizon.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from sbmlump.classic.measure import STANDARD, EnsembleSettings, ReferenceEnsemble, reference_ensemble
from sbmlump.classic.simulation import ensemble_runs, refuse_events, values
from sbmlump.errors import LimitError, Reason, UnsupportedModelError, UsageError
from sbmlump.files import write_atomically
from sbmlump.lumping.training import Ensemble
from sbmlump.reduced import Observable
from sbmlump.system import OdeSystem

__all__ = ["NeuralClosure", "learn_neural", "load_neural", "neural_not_writable", "require_torch"]

Array = NDArray[np.float64]
_BATCH: Final = 4096
_AWAY: Final = 1e6  # a run whose scaled state is larger has run away


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
        Mean squared closure error over the validation runs, relative to the mean square of the lumped rates.
    trajectory_error : float
        Largest relative error of an observable over the validation runs, each integrated from y(0) = ℒ(x(0)); infinite
        if one runs away.
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
    width: int = 32,
    steps: int = 3000,
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
    width, steps : int
        Units of the hidden layers, steps of the optimiser (Adam).
    trial : Trial
        Horizon, and the starts of the validation runs; the training runs have others.

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
    ensemble = Ensemble(2 * ruler.trial.ensemble, 1.25 * ruler.trial.spread)
    runs = ensemble_runs(system, ruler.times, ensemble, ruler.trial.seed + 1)[1]
    runs = runs[np.isfinite(runs).all(axis=(1, 2))]
    if not len(runs):
        message = f"model {system.id} cannot be integrated to {ruler.until:g}; choose a shorter horizon with --until"
        raise LimitError(Reason("not-simulated", message))
    scale = np.maximum(np.abs(runs).max(axis=(0, 1)), 1e-300)
    pinned = values(system, [o.expression for o in observables], ruler.times, runs)
    spread = np.maximum(pinned.std(axis=(0, 1)), 1e-300)
    torch.manual_seed(trial.seed)
    network = _network(torch, system.size, len(observables), size, width)
    training = _tensors(torch, system, observables, ruler, runs, scale, spread)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(trial.seed)
    for _ in range(steps):
        optimiser.zero_grad()
        chosen = torch.randperm(len(training[0]), generator=generator)[:_BATCH]
        error, variance = _loss(torch, network, [table[chosen] for table in training])
        (error + variance).backward()
        optimiser.step()
    with torch.no_grad():
        found, _ = _loss(torch, network, _tensors(torch, system, observables, ruler, ruler.states, scale, spread))
    off = _trajectory_error(torch, network, ruler, scale, spread)
    return NeuralClosure(
        system.states,
        tuple(o.id for o in observables),
        size,
        width,
        ruler.until,
        scale,
        spread,
        network,
        float(found),
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
    graph = system.graph
    seeds = {graph.symbol(name): rate for name, rate in zip(system.states, system.rhs, strict=True)}
    seeds |= {graph.time(): graph.number(1)}
    seen = values(system, [o.expression for o in observables], ruler.times, runs).reshape(r * m, -1)
    flow = values(system, [graph.derivative(o.expression, seeds) for o in observables], ruler.times, runs)
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


def _trajectory_error(torch: Any, network: Any, ruler: ReferenceEnsemble, scale: Array, spread: Array) -> float:
    """Largest relative error of the observables over the validation runs, integrated by the field alone."""
    worst = 0.0
    fixed = len(spread)

    def rate(_: float, y: Array) -> Array:
        with torch.no_grad():
            return np.asarray(network.field(torch.tensor(y)).numpy())

    def away(_: float, y: Array) -> float:
        return _AWAY - float(np.abs(y).max())

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
        size = np.maximum(np.abs(expected).max(axis=0), 1e-300)
        worst = max(worst, float((np.abs(got - expected) / size).max()))
    return worst
