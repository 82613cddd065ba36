"""Values at time 0: expressions that mention each other, resolved in the order of their dependence."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from sbmlump.errors import LimitError, Reason
from sbmlump.expr.graph import Graph, Node

__all__ = ["resolve_start"]


def resolve_start(graph: Graph, given: Mapping[str, Node], keep: AbstractSet[str] = frozenset()) -> dict[str, Node]:
    """Put values in place of ids until only those in ``keep`` are left; time is 0.

    Parameters
    ----------
    given : mapping of id to Node
        An id in an expression means the value of that quantity at time 0.
    keep : set of str
        Ids that stay symbols.

    Returns
    -------
    dict
        Ids that hang on something not given are absent.

    Raises
    ------
    ValueError
        If values depend on each other in a circle.
    LimitError
        If an exact value is longer than is kept (``too-large``).
    """
    numbers = {name for name, node in given.items() if graph.number_of(node) is not None}  # most of them, as a rule
    waiting = {name: set() if name in numbers else graph.symbols([node]) - keep for name, node in given.items()}
    needs = {name: frozenset(wanted) for name, wanted in waiting.items()}
    users: dict[str, list[str]] = {}
    for name, wanted in needs.items():
        for need in wanted:
            users.setdefault(need, []).append(name)
    at_zero = {graph.time(): graph.number(0)}
    resolved: dict[str, Node] = {}
    ready = [name for name, wanted in waiting.items() if not wanted]
    while ready:
        name = ready.pop()
        if name in numbers:
            resolved[name] = given[name]
        else:
            mapping = at_zero | {graph.symbol(need): resolved[need] for need in needs[name]}
            try:
                resolved[name] = graph.substitute([given[name]], mapping)[0]
            except LimitError as error:
                message = f"the initial value of {name}: {error.reasons[0].message}"
                raise LimitError(Reason(error.reasons[0].code, message, name)) from None
        for user in users.get(name, ()):
            waiting[user].discard(name)
            if not waiting[user]:
                ready.append(user)
    circle = set(given) - set(resolved) - _hanging(given, waiting, users)
    if circle:
        raise ValueError("initial values depend on each other in a circle: " + ", ".join(sorted(circle)[:5]))
    return resolved


def _hanging(given: Mapping[str, Node], waiting: Mapping[str, set[str]], users: Mapping[str, list[str]]) -> set[str]:
    """Ids that cannot be resolved because something below them is not given."""
    stack = [need for wanted in waiting.values() for need in wanted if need not in given]
    hanging: set[str] = set()
    while stack:
        for user in users.get(stack.pop(), ()):
            if user not in hanging:
                hanging.add(user)
                stack.append(user)
    return hanging
