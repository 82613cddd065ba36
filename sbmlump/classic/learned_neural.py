"""A small neural closure, as an extra: a map ℒ with pinned observables and a field g, both trained on runs.

Needs PyTorch, which is not among the dependencies. The result is a file of weights beside the SBML; it is not written
as SBML, whose mathematics has no place for a network (and an expression of thousands of tanh would be no model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sbmlump.classic.measure import STANDARD, Trial, yardstick
from sbmlump.classic.simulation import refuse_events
from sbmlump.errors import Reason, UnsupportedModelError, UsageError
from sbmlump.reduced import Observable
from sbmlump.system import OdeSystem

__all__ = ["NeuralClosure", "learn_neural"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NeuralClosure:
    """A trained closure.

    Attributes
    ----------
    size : int
        Components of y; the first ones are the observables.
    network : object
        A PyTorch module with ``lump(x)`` and ``field(y)``.
    closure_error : float
        Mean squared closure error over the validation runs, relative to the mean square of the lumped rates.
    """

    size: int
    network: Any
    closure_error: float

    def save(self, path: str | Path) -> None:
        """Write the weights (``state_dict``) to a file."""
        torch = _torch()
        torch.save(self.network.state_dict(), str(path))

    def write(self, path: str | Path) -> NoReturn:
        """Refused: SBML cannot hold it.

        Raises
        ------
        UnsupportedModelError
            ``neural-not-writable``.
        """
        message = (
            f"a neural closure has no SBML form, so {path} is not written; use the method learned for one that has"
        )
        raise UnsupportedModelError(Reason("neural-not-writable", message))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        message = "the neural closure needs PyTorch, which is not installed; use the method learned without it"
        raise UsageError(Reason("extra-missing", message)) from error
    return torch


def learn_neural(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    size: int,
    width: int = 32,
    steps: int = 3000,
    trial: Trial = STANDARD,
) -> NeuralClosure:
    """Train ℒ(x) = (observables, network(x)) and g(y) on runs of the model.

    The closure error ‖J_ℒ f − g(ℒ)‖² is weighted by the variance of each component, which keeps the trivial minimiser
    (a constant ℒ) away; a second term keeps the learned components at unit variance.

    Raises
    ------
    UsageError
        ``extra-missing`` without PyTorch; ``bad-option`` if `size` is below the number of observables.
    UnsupportedModelError
        ``event-not-lumpable`` if the model has events.
    """
    torch = _torch()
    refuse_events(system, "learned")
    if size < len(observables):
        raise UsageError(
            Reason("bad-option", f"{len(observables)} observables need at least as many states, not {size}")
        )
    ruler = yardstick(system, observables, trial)
    r, m, n = ruler.states.shape
    flat = ruler.states.reshape(r * m, n)
    rates = system.rates(np.tile(ruler.times, r), flat)
    graph = system.graph
    seeds = {graph.symbol(name): rate for name, rate in zip(system.states, system.rhs, strict=True)}
    from sbmlump.classic.simulation import values

    flow = values(system, [graph.derivative(o.expression, seeds) for o in observables], ruler.times, ruler.states)
    pinned = ruler.expected.reshape(r * m, -1)
    moved = flow.reshape(r * m, -1)
    scale = np.maximum(np.abs(flat).max(axis=0), 1e-300)
    torch.manual_seed(trial.seed)
    network = _network(torch, n, len(observables), size, width)
    tensors = [torch.tensor(a, dtype=torch.float64) for a in (flat / scale, rates / scale, pinned, moved)]
    spread = tensors[2].std(dim=0).clamp_min(1e-12)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    error = torch.tensor(float("inf"))
    for _ in range(steps):
        optimiser.zero_grad()
        error, variance = _loss(torch, network, tensors, spread)
        (error + variance).backward()
        optimiser.step()
    return NeuralClosure(size, network, float(error.detach()))


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


def _loss(torch: Any, network: Any, tensors: Sequence[Any], spread: Any) -> tuple[Any, Any]:
    x, dx, pinned, moved = tensors
    parts, rates = [pinned / spread], [moved / spread]
    variance = torch.zeros((), dtype=torch.float64)
    if network.free:
        learned, change = torch.func.jvp(network.encoder, (x,), (dx,))
        parts.append(learned)
        rates.append(change)
        variance = ((learned.std(dim=0) - 1.0) ** 2).sum()
    y, flow = torch.cat(parts, dim=1), torch.cat(rates, dim=1)
    size = flow.pow(2).mean(dim=0).clamp_min(1e-12)
    return ((network.field(y) - flow).pow(2).mean(dim=0) / size).mean(), variance
