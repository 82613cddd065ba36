"""How large the terms are that a quantity is the sum of: what a simulation gives far below them is rounding.

A quantity that is 0 because large terms cancel comes out of a simulation as noise, some 1e-16 of those terms. Its
magnitude alone does not tell it from a quantity that is as small and right to ten digits; its terms do. They are added
up as the rounding errors of a computation are (first order, without signs): each operation adds its own result, and
passes on what its arguments bring, times its derivative. A state collects those of its rate,

    de/dt = E(t) + min(∂f/∂x, 0) e,    e(0) = 0,

with E the terms of its rate f where the state is 0 (what is left there does not come from itself), and ∂f/∂x its
derivative by the state, so that a fast turnover is not taken for cancellation. Growth is left out: a peak of ∂f/∂x at
one point of a grid would make everything 0. Other states bring their own magnitude, or, where they are 0 by this
definition, their own e; where something has no derivative or no value it brings nothing. So errors of this estimate
are on the side on which a quantity is compared in full. All is linear in the units of the quantities: a model all of
whose values are tiny has tiny terms.

References
----------
N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, section 3.3 (running error analysis),
doi 10.1137/1.9780898718027.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.system import OdeSystem

__all__ = ["ROUNDING", "RoundingSettings", "TermSizes"]


@dataclass(frozen=True, slots=True)
class RoundingSettings:
    """What counts as rounding.

    Attributes
    ----------
    part : float
        Of the terms: 45 units of rounding, as an integrator sums up over its stages and steps. Below that a quantity
        counts as 0.
    small : float
        Of the largest state: only states below that are looked at where others depend on them (tolerances are 1e-10).
    values : int
        Doubles held at once; a large model is looked at at fewer times.
    """

    part: float = 1e-14
    small: float = 1e-9
    values: int = 8_000_000


ROUNDING: Final = RoundingSettings()


class TermSizes:
    """Sizes of the terms along one trajectory of a system.

    Parameters
    ----------
    system : OdeSystem
    times : ndarray, shape (m,)
    states : mapping of id to ndarray, shape (m,)
        Every state, in the form that the system has it in.
    settings : RoundingSettings
    """

    def __init__(
        self, system: OdeSystem, times: Array, states: Mapping[str, Array], settings: RoundingSettings = ROUNDING
    ) -> None:
        self._system = system
        self._settings = settings
        self._times = times
        self._states = {name: states[name] for name in system.states}
        self._magnitudes = {name: float(np.nanmax(np.abs(x), initial=0.0)) for name, x in self._states.items()}
        self._graph = Graph()
        self._values = system.specialised()
        self._cancelled: dict[str, Array] = {}  # e of each state that counts as 0

    def of_states(self, names: Iterable[str]) -> dict[str, float]:
        """Largest e of each of the states ``names``."""
        wanted = list(dict.fromkeys(names))
        sizes: dict[str, float] = {}
        waiting = self._with_small_ones(wanted)
        while waiting:
            found = self._collected([name for name in waiting if name not in self._cancelled])
            sizes |= {name: float(e.max(initial=0.0)) for name, e in found.items()}
            new = {name: e for name, e in found.items() if self._magnitudes[name] <= self._settings.part * sizes[name]}
            self._cancelled |= new
            # what depends on them may count as 0, too
            waiting = [name for name in found if name not in new] if new else []
        known = {name: float(e.max(initial=0.0)) for name, e in self._cancelled.items()}
        return {name: known.get(name, sizes.get(name, 0.0)) for name in wanted}

    def least_scales(self, absolute: float) -> Array:
        """Scales of the states, (n,), below which an absolute tolerance would be one below rounding.

        0 for the states that are not small beside the largest: their relative tolerance is all that counts.

        Parameters
        ----------
        absolute : float
            Tolerance as a part of the scale.
        """
        sizes = self.of_states(name for name in self._states if name in self._small)
        unit = float(np.finfo(np.float64).eps) / absolute
        return np.array([unit * sizes.get(name, 0.0) for name in self._states], dtype=np.float64)

    def of_expression(self, graph: Graph, node: Node) -> float:
        """Largest sum of the terms of an expression over ids of the system and time."""
        definitions = self._system.definitions
        ids = sorted(graph.symbols([node]))
        bound = self._bound([definitions[name] for name in ids])
        mapping = {graph.symbol(name): image for name, image in zip(ids, bound, strict=True)}
        root = self._graph.transplant(graph, [node], mapping)[0]
        if self._graph.op(root) is Op.SYMBOL:
            name = self._graph.name(root)
            return self.of_states([name])[name]
        self.of_states(name for name in self._graph.symbols([root]) if name in self._small)
        step = self._step([root])
        return float(self._terms([root], step)[root].max(initial=0.0))

    # -- inside --------------------------------------------------------------------------------------

    @cached_property
    def _small(self) -> frozenset[str]:
        largest = max(self._magnitudes.values(), default=0.0)
        return frozenset(name for name, size in self._magnitudes.items() if size <= self._settings.small * largest)

    @cached_property
    def _rates(self) -> Mapping[str, Node]:
        return dict(zip(self._system.states, self._bound(self._system.rhs), strict=True))

    def _bound(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes of the system in the graph of this object, with the constants' values."""
        source = self._system.graph
        return self._graph.transplant(source, source.substitute(list(nodes), self._values), {})

    def _with_small_ones(self, names: Sequence[str]) -> list[str]:
        """The states, and the small ones that they depend on by small ones."""
        found = dict.fromkeys(names)
        waiting = list(names)
        while waiting:
            for name in sorted(self._graph.symbols([self._rates[waiting.pop()]])):
                if name in self._small and name not in found:
                    found[name] = None
                    waiting.append(name)
        return list(found)

    def _collected(self, names: Sequence[str]) -> dict[str, Array]:
        """e of states along the trajectory."""
        graph = self._graph
        roots = [self._rates[name] for name in names]
        slopes = [self._slope(root, graph.symbol(name)) for name, root in zip(names, roots, strict=True)]
        derived = [slope for slope in slopes if slope is not None]
        step = self._step([*roots, *derived])
        terms = self._terms(roots, step, frozenset(names))
        along = self._along(derived, step)
        width = np.diff(self._times[::step])
        found = {}
        for name, root, slope in zip(names, roots, slopes, strict=True):
            e = np.zeros(len(width) + 1)
            if slope is not None:
                decay = np.minimum(_known(along[slope]), 0.0)
                decay = 0.5 * (decay[1:] + decay[:-1]) * width
                added = 0.5 * (terms[root][1:] + terms[root][:-1]) * width
                mean = np.where(decay < 0, np.expm1(decay) / np.where(decay < 0, decay, 1.0), 1.0)
                for k, factor in enumerate(np.exp(decay)):
                    e[k + 1] = e[k] * factor + added[k] * mean[k]
            found[name] = np.interp(self._times, self._times[::step], e) if step > 1 else e
        return found

    def _slope(self, rate: Node, state: Node) -> Node | None:
        try:
            return self._graph.derivative(rate, {state: self._graph.number(1)})
        except ValueError:  # not differentiable everywhere
            return None

    def _step(self, roots: Sequence[Node]) -> int:
        """Every how many points are looked at."""
        count = 3 * len(self._graph.reachable(roots))  # values, derivatives and terms
        return max(1, -(-count * len(self._times) // self._settings.values))

    def _along(self, nodes: Sequence[Node], step: int, absent: frozenset[str] = frozenset()) -> dict[Node, Array]:
        """Values along the trajectory, with the states ``absent`` at 0."""
        names = sorted(self._graph.symbols(nodes))
        times = self._times[::step]
        table = np.zeros((len(times), len(names)))
        for i, name in enumerate(names):
            if name not in absent:
                table[:, i] = self._states[name][::step]
        values = Evaluator(self._graph, list(nodes), names, {}).values(times, table)
        return {node: values[:, i] for i, node in enumerate(nodes)}

    def _terms(self, roots: Sequence[Node], step: int, absent: frozenset[str] = frozenset()) -> dict[Node, Array]:
        """The terms of ``roots`` along the trajectory, each of shape (m / step,); the states ``absent`` are 0."""
        graph = self._graph
        below = graph.reachable(roots)
        partials = {node: self._partials(node) for node in below}
        nodes = dict.fromkeys([*below, *(part for parts in partials.values() for _, part in parts)])
        value = self._along(list(nodes), step, absent)
        terms: dict[Node, Array] = {}
        zero = np.zeros(len(self._times[::step]))
        with np.errstate(all="ignore"):
            for node in below:
                op, args = graph.op(node), graph.args(node)
                if op is Op.SYMBOL:
                    cancelled = self._cancelled.get(graph.name(node))
                    own = _known(np.abs(value[node]) if cancelled is None else cancelled[::step])
                elif op is Op.CALL and graph.name(node) in RELATIONS | LOGIC:
                    own = zero
                elif op is Op.PIECEWISE:
                    own = terms[args[-1]]
                    for branch, condition in reversed(list(zip(args[:-1:2], args[1::2], strict=True))):
                        own = np.where(value[condition] > 0.5, terms[branch], own)
                else:
                    own = _known(np.abs(value[node]))
                    if op is Op.ADD:
                        own = own + sum((terms[arg] for arg in args), zero)
                    for arg, part in partials[node]:
                        own = own + _known(np.abs(value[part]) * terms[arg])
                terms[node] = own
        return {root: terms[root] for root in roots}

    def _partials(self, node: Node) -> list[tuple[Node, Node]]:
        """Arguments of a product, quotient, power or function that are not numbers, and the derivatives by them."""
        graph = self._graph
        op, args = graph.op(node), graph.args(node)
        if op is Op.MUL:
            return [
                (arg, graph.mul((*args[:i], *args[i + 1 :])) if len(args) > 2 else args[1 - i])
                for i, arg in enumerate(args)
                if graph.number_of(arg) is None
            ]
        if op not in {Op.DIV, Op.POW, Op.CALL} or (op is Op.CALL and graph.name(node) in RELATIONS | LOGIC):
            return []
        found = []
        slots = [graph.symbol(f"argument {i}") for i in range(len(args))]  # no id has a blank
        numbers = [graph.number_of(arg) is not None for arg in args]
        plain = graph.rebuild(
            op,
            [arg if fixed else slot for arg, slot, fixed in zip(args, slots, numbers, strict=True)],
            graph.payload(node),
        )
        for arg, slot, fixed in zip(args, slots, numbers, strict=True):
            if not fixed:
                slope = self._slope(plain, slot)
                if slope is not None:
                    found.append((arg, graph.substitute([slope], dict(zip(slots, args, strict=True)))[0]))
        return found


def _known(values: Array) -> Array:
    """What is not finite counts for nothing: it must not make a quantity 0."""
    return np.where(np.isfinite(values), values, 0.0)
