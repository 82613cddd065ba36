"""Put definitions in the place of names until only states, constants and time are left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sbmlump.errors import LimitError, Reason
from sbmlump.expr.graph import Graph, Node
from sbmlump.sbml.mathml import rate_of

__all__ = ["CircularError", "NoRateError", "Resolver"]


class CircularError(ValueError):
    """Quantities that depend on each other in a circle; ``names`` in order."""

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
        names = [name for name in graph.symbols(roots) if self._is_defined(name)]
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
            circle = [need for need in waiting if need in on_path]
            if circle:
                start = path.index(circle[0])
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
        seeds = {graph.symbol(s): graph.symbol(rate_of(s)) for s in graph.symbols([value]) if rate_of(s) in self._rates}
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
