"""Put definitions in the place of names until only states, constants and time are left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from sbmlump.errors import LimitError, Reason
from sbmlump.linalg.polynomial import like_terms_collected, root_of_linear
from sbmlump.model.graph import Graph, Node
from sbmlump.sbml.read.mathml import rate_of

__all__ = ["CircularError", "NoRateError", "Resolver", "Unsolved", "solve"]


class CircularError(ValueError):
    """Quantities that depend on each other in a cycle; ``names`` in order."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


class NoRateError(ValueError):
    """A quantity whose rate of change is asked for but has no expression."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class Resolver:
    """Inlines assigned quantities, reaction fluxes and rates of change.

    Parameters
    ----------
    graph : Graph
        Holds all nodes.
    definitions : mapping of str to Node
        What an assigned quantity or a reaction's flux is, possibly in terms of others.
    rates : mapping of str to Node
        Right-hand side of each state, possibly in terms of others.
    """

    def __init__(self, graph: Graph, definitions: Mapping[str, Node], rates: Mapping[str, Node]) -> None:
        self.graph = graph
        self.definitions = definitions
        self._known: dict[str, Node] = {}
        self._rates = {rate_of(name): (name, node) for name, node in rates.items()}
        self._needs: dict[Node, tuple[str, ...]] = {}

    def resolve(self, roots: Sequence[Node], *, only_rates: bool = False) -> list[Node]:
        """``roots`` with every name replaced that has a definition.

        Parameters
        ----------
        roots : sequence of Node
            Expressions over any ids.
        only_rates : bool
            Leave assigned quantities and reactions as they stand, replace rates of change only.

        Raises
        ------
        CircularError
            If a definition needs itself.
        NoRateError
            If a rate of change has no expression.
        LimitError
            If an exact number grows beyond all measure; the reason names the quantity.
        """
        graph = self.graph
        # in order: the numbers of new nodes, and so the order of factors, must not hang on the hashes of a process
        names = sorted(name for name in graph.symbols(roots) if self._is_defined(name))
        if only_rates:
            names = [name for name in names if name not in self.definitions]
        mapping = {graph.symbol(name): self.value(name) for name in names}
        return graph.substitute(roots, mapping) if mapping else list(roots)

    def value(self, name: str) -> Node:
        """What ``name`` is, over states, constants and time."""
        path: list[str] = [name]
        on_path = {name}
        while path:
            current = path[-1]
            if current in self._known:
                on_path.discard(path.pop())
                continue
            waiting = [need for need in self._required(current) if need not in self._known]
            cycle = [need for need in waiting if need in on_path]
            if cycle:
                start = path.index(cycle[0])
                raise CircularError([_plain(step) for step in path[start:]])
            if waiting:
                path.append(waiting[0])
                on_path.add(waiting[0])
                continue
            try:
                self._known[current] = self._inserted(self._expression(current))
            except LimitError as error:
                raise LimitError([_of(_plain(current), reason) for reason in error.reasons]) from None
        return self._known[name]

    # -- inside ---------------------------------------------------------------------------------------

    def _is_defined(self, name: str) -> bool:
        return name in self.definitions or name.startswith(rate_of(""))

    def _required(self, name: str) -> Iterable[str]:
        if name in self.definitions or name in self._rates:
            return self._names(self._expression(name))
        target = _plain(name)
        if target in self.definitions:  # its value first, then the rates of the states in it
            return self._names(self._expression(name)) if target in self._known else (target,)
        return ()

    def _expression(self, name: str) -> Node:
        graph = self.graph
        if name in self.definitions:
            return self.definitions[name]
        if name in self._rates:
            return self._rates[name][1]
        target = _plain(name)
        if target not in self.definitions:
            return graph.number(0)
        value = self._known[target]
        seeds = {
            graph.symbol(s): graph.symbol(rate_of(s))
            for s in sorted(graph.symbols([value]))
            if rate_of(s) in self._rates
        }
        seeds[graph.time()] = graph.number(1)
        try:
            return graph.derivative(value, seeds)
        except ValueError as error:
            raise NoRateError(target, str(error)) from None

    def _names(self, node: Node) -> tuple[str, ...]:
        names = self._needs.get(node)
        if names is None:
            names = tuple(sorted(name for name in self.graph.symbols([node]) if self._is_defined(name)))
            self._needs[node] = names
        return names

    def _inserted(self, node: Node) -> Node:
        graph = self.graph
        mapping = {graph.symbol(need): self._known[need] for need in self._names(node)}
        return graph.substitute([node], mapping)[0] if mapping else node


def _of(name: str, reason: Reason) -> Reason:
    return reason if reason.element else replace(reason, message=f"{name}: {reason.message}", element=name)


def _plain(name: str) -> str:
    return name.removeprefix(rate_of(""))


# -- Solve algebraic rules for the quantities that nothing else determines -----------------------

# Each equation 0 = e is written as a polynomial in one unknown over a denominator; where the degree is 1 the unknown is
# solved for and put into the others (Gaussian elimination with expressions as coefficients).


class Unsolved(NamedTuple):
    """An equation that could not be solved: its number, and the end of a sentence that says why."""

    equation: int
    why: str


def solve(
    graph: Graph, equations: Sequence[Node], unknowns: Sequence[str], resting: Set[str] = frozenset()
) -> tuple[dict[str, tuple[int, Node]], list[Unsolved]]:
    """Solve 0 = each of ``equations`` for as many of ``unknowns``.

    Parameters
    ----------
    graph : Graph
        Holds the equations.
    equations : sequence of Node
        Each is to be 0.
    unknowns : sequence of str
        Ids to solve for, those preferred first.
    resting : set of str
        Unknowns that keep their value where no equation is needed for them (boundary species).

    Returns
    -------
    solutions : dict
        Unknown to the number of the equation that gave it and its expression, free of all solved unknowns.
    unsolved : list of Unsolved
        What is left.
    """
    open_ones = dict(enumerate(equations))
    solutions: dict[str, tuple[int, Node]] = {}
    unsolved: list[Unsolved] = []
    while open_ones:
        step = _next(graph, open_ones, unknowns, unsolved)
        if step is None:
            break
        number, unknown, value = step
        del open_ones[number]
        mapping = {graph.symbol(unknown): value}
        open_ones = {i: like_terms_collected(graph, graph.substitute([e], mapping)[0]) for i, e in open_ones.items()}
        solutions = {u: (i, graph.substitute([v], mapping)[0]) for u, (i, v) in solutions.items()}
        solutions[unknown] = (number, value)
    for number, equation in open_ones.items():
        names = sorted(graph.symbols([equation]) & set(unknowns))
        if names:
            unsolved.append(Unsolved(number, f"cannot be solved for {', '.join(names)} by linear or rational algebra"))
    left = (graph.symbols([value for _, value in solutions.values()]) & set(unknowns)) - resting
    for number, value in solutions.values():
        loose = sorted(graph.symbols([value]) & left)
        if loose:
            unsolved.append(Unsolved(number, f"leaves open what determines {', '.join(loose)}"))
    return solutions, unsolved


def _next(
    graph: Graph, equations: dict[int, Node], unknowns: Sequence[str], unsolved: list[Unsolved]
) -> tuple[int, str, Node] | None:
    """The equation with the fewest unknowns that can be solved for one; takes out equations without unknowns."""
    ranked: list[tuple[int, int, list[str]]] = []
    for number, equation in list(equations.items()):
        symbols = graph.symbols([equation])
        names = [name for name in unknowns if name in symbols]
        if names:
            ranked.append((len(names), number, names))
            continue
        del equations[number]
        if graph.number_of(equation) != 0:
            unsolved.append(Unsolved(number, "holds no quantity that is left to be determined by it"))
    for _, number, names in sorted(ranked):
        for name in names:
            value = root_of_linear(graph, equations[number], graph.symbol(name))
            if value is not None:
                return number, name, value
    return None
