"""Evaluation of right-hand sides as doubles: values and sparse Jacobians."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import ArrayLike

from sbmlump.arrays import Array, Indices
from sbmlump.errors import LimitError, Reason
from sbmlump.model.domains import FloatDomain, OneProgramDomain, nearest_double
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.program import NodeList, Program, row_colours

if TYPE_CHECKING:
    import scipy.sparse

__all__ = [
    "EvaluationCosts",
    "Evaluator",
    "values_of",
    "PRIME",
    "field_values",
    "symbol_value",
    "resolve_initial_values",
]


_FLOAT = FloatDomain()


@dataclass(frozen=True, slots=True)
class EvaluationCosts:
    """What the parts of an evaluation at one point take, in microseconds (measured): they choose how it is made.

    Attributes
    ----------
    group : float
        A group of nodes by an array routine.
    node, argument : float
        A sum, product or quotient in plain numbers, and each of its terms or factors.
    call : float
        A function or a power in plain numbers: an array routine for one number.
    """

    group: float = 5.0
    node: float = 0.25
    argument: float = 0.12
    call: float = 8.0


_COSTS: Final = EvaluationCosts()
_PLAIN: Final = frozenset({"sum", "product", "division"})


def values_of(graph: Graph, nodes: Sequence[Node]) -> Array:
    """Doubles of nodes that hold no symbol and no time, shape (len(nodes),)."""
    if not nodes:
        return np.empty(0)
    program = Program(graph, nodes, ())
    with np.errstate(all="ignore"):
        tape = program.run(_FLOAT, np.empty((0, 1)))
        return program.outputs(tape)[:, 0]


class _NodeByNode:
    """A program of doubles at one point, one node after the other in plain numbers.

    An array routine takes some twenty times as long as the sum or product of a few numbers. Where its groups are small
    (formulas that stand one upon the other), a program is run through faster in this way. The numbers are those of
    :meth:`~sbmlump.model.program.Program.run`, bit by bit: functions and powers go through the same routines.
    """

    def __init__(self, program: Program, nodes: NodeList, domain: FloatDomain) -> None:
        self._domain = domain
        self._leaves: list[float] = domain.leaves(nodes.leaves).tolist()
        self._roots: list[int] = program.root_slots.tolist()
        args, coefficients = nodes.args.tolist(), nodes.coefficients.astype(np.float64).tolist()
        exponents, ends = nodes.exponents.astype(np.float64).tolist(), nodes.pointers.tolist()
        # kind, slots of the arguments, and weights of the terms of a sum or the exponent of a power
        self._nodes: list[tuple[str, list[int], list[float]]] = [
            (kind, args[low:high], [exponents[i]] if kind == "whole-power" else coefficients[low:high])
            for i, (kind, low, high) in enumerate(zip(nodes.kinds, ends[:-1], ends[1:], strict=True))
        ]

    @classmethod
    def where_faster(cls, program: Program, domain: FloatDomain, costs: EvaluationCosts) -> Self | None:
        """The program node by node, where its groups are so small that this is the faster way."""
        most = costs.group * program.calls
        if program.size - len(program.inputs) > most / costs.node + len(program.roots):
            return None  # without looking at each: there are too many
        nodes = program.nodes()
        plain = sum(kind in _PLAIN for kind in nodes.kinds)
        cost = costs.node * plain + costs.argument * len(nodes.args) + costs.call * (len(nodes.kinds) - plain)
        return cls(program, nodes, domain) if cost < most else None

    def values(self, point: Sequence[float]) -> Array:
        """Roots at a point (n,), shape (r,)."""
        values = [*point, *self._leaves]
        for kind, args, numbers in self._nodes:
            if kind == "sum":
                total = 0.0
                for weight, slot in zip(numbers, args, strict=True):
                    total += weight * values[slot]
            elif kind == "product":
                total = values[args[0]]
                for slot in args[1:]:
                    total *= values[slot]
            elif kind == "division" and values[args[1]]:
                total = values[args[0]] / values[args[1]]
            else:
                total = self._by_array(kind, [values[slot] for slot in args], numbers)
            values.append(total)
        return np.array([values[slot] for slot in self._roots])

    def _by_array(self, kind: str, args: list[float], numbers: list[float]) -> float:
        domain, bad = self._domain, np.zeros(1, dtype=np.bool_)
        arrays = [np.array([[value]]) for value in args]
        if kind == "division":
            top, bottom = arrays
            return float(domain.quotient(top, bottom, domain.inverse(bottom, bad))[0, 0])
        if kind == "whole-power":
            return float(domain.power(arrays[0], np.array(numbers, dtype=np.int64), bad)[0, 0])
        return float(domain.call(kind, [array[0] for array in arrays], bad)[0])


class Evaluator:
    """Roots as functions of (t, x), with the constants' values put in.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        r outputs.
    states : sequence of str
        Ids of the n variables.
    constants : mapping of str to Node
        Values (nodes without symbols) of all other symbols.
    points_at_once : int
        Evaluated in one pass; they bound the memory.
    costs : EvaluationCosts
        Choose how a single point is evaluated; the numbers are the same.
    """

    def __init__(
        self,
        graph: Graph,
        roots: Sequence[Node],
        states: Sequence[str],
        constants: Mapping[str, Node],
        points_at_once: int = 4096,
        costs: EvaluationCosts = _COSTS,
    ) -> None:
        self._points_at_once = points_at_once
        self._costs = costs
        mapping = {graph.symbol(name): node for name, node in constants.items()}
        bound = graph.substitute(roots, mapping)
        inputs = [*(graph.symbol(name) for name in states), graph.time()]
        self._program = Program(graph, bound, inputs)
        self._n = len(states)
        self._domain = OneProgramDomain()

    def values(self, t: ArrayLike, x: ArrayLike) -> Array:
        """Outputs, (r,) for one point or (k, r) for k points."""
        points, single = self._points(t, x)
        blocks = []
        with np.errstate(all="ignore"):
            if single and self._one is not None:
                return self._one.values(points[:, 0].tolist())
            for low in range(0, points.shape[1], self._points_at_once):
                block = points[:, low : low + self._points_at_once]
                blocks.append(self._program.outputs(self._program.run(self._domain, block)))
        out = np.concatenate(blocks, axis=1).T
        return out[0] if single else np.ascontiguousarray(out)

    def jacobian(self, t: float, x: ArrayLike) -> scipy.sparse.csr_array:
        """∂outputs/∂x at one point, (r, n) sparse, with the structural pattern."""
        from scipy.sparse import csr_array

        points, _ = self._points(t, np.asarray(x, dtype=np.float64))
        rows, columns, colour, colours = self._pattern
        weights = np.zeros((len(self._program.roots), colours))
        weights[rows, colour[rows]] = 1.0
        with np.errstate(all="ignore"):
            tape = self._program.run(self._domain, points)
            rates = self._program.pull_back(self._domain, tape, weights)
        data = rates[columns, colour[rows]]
        return csr_array((data, (rows, columns)), shape=(len(self._program.roots), self._n))

    @cached_property
    def _one(self) -> _NodeByNode | None:
        return _NodeByNode.where_faster(self._program, self._domain, self._costs)

    def _points(self, t: ArrayLike, x: ArrayLike) -> tuple[Array, bool]:
        x = np.asarray(x, dtype=np.float64)
        single = x.ndim == 1
        table = np.atleast_2d(x)
        if table.shape[1] != self._n:
            raise ValueError(f"expected {self._n} values a state, got {table.shape[1]}")
        times = np.broadcast_to(np.asarray(t, dtype=np.float64), (table.shape[0],))
        return np.concatenate([table, times[:, None]], axis=1).T.copy(), single

    @cached_property
    def _pattern(self) -> tuple[Indices, Indices, Indices, int]:
        """Non-zero places, and a colour for each row."""
        pattern = self._program.dependencies().first_columns(self._n)
        colour, colours = row_colours(pattern)
        return pattern.owners, pattern.indices, colour, max(1, colours)


# -- values at one pseudo-random point of a prime field ----------------------------------------------
# A quick test whether two expressions are the same. Every symbol gets a fixed value derived from its id; a function
# that is not arithmetic gets a value derived from its name and the values of its arguments. So only what follows from
# arithmetic counts as equal, and besides that the order and the grouping of the arguments of ``and``, ``or``, ``min``
# and ``max`` do not matter, of several numbers in ``min`` and ``max`` one is left, and exp(x) is e^x however e is
# spelled. Two expressions with different values differ; equal values of different expressions have a probability of
# about degree/2^61.


PRIME: Final = 2**61 - 1
_GROUPED: Final = frozenset({"and", "or", "min", "max"})
"""Associative, commutative and idempotent: their arguments are a set."""
_EXTREMES: Final[Mapping[str, Callable[[Fraction, Fraction], Fraction]]] = {"min": min, "max": max}
"""Of their arguments that are numbers, one is left: a reader to which min has two arguments folds min(min(1, 2), x)."""
_COMMUTATIVE: Final = frozenset({"xor", "eq", "neq"})


def symbol_value(name: str) -> int:
    """Value of the symbol ``name``, in GF(2^61 − 1), never 0."""
    return _scrambled("symbol", name)


def field_values(
    graph: Graph, roots: Iterable[Node], symbols: Mapping[str, int] | None = None, *, as_doubles: bool = False
) -> dict[Node, int]:
    """Value in GF(2^61 − 1) of every node below ``roots``.

    Parameters
    ----------
    graph : Graph
    roots : iterable of Node
    symbols : mapping of id to int, optional
        Values of symbols; those that are absent have :func:`symbol_value`.
    as_doubles : bool
        Take every number for the double nearest to it, so that numbers that are one double are one number.
    """
    given = symbols or {}
    values: dict[Node, int] = {}
    grouped: dict[Node, _Operands] = {}
    for node in graph.reachable(roots):
        op, args = graph.op(node), graph.args(node)
        if op is Op.SYMBOL:
            name = graph.name(node)
            known = given.get(name)
            values[node] = symbol_value(name) if known is None else known
        elif op is Op.NUMBER:
            number = graph.number_of(node)
            assert number is not None
            values[node] = _rational(_rounded(number) if as_doubles else number)
        elif op is Op.CALL and graph.name(node) in _GROUPED:
            group = grouped[node] = _group(graph, node, values, grouped)
            members = group.members
            if group.number is not None:
                members |= {_rational(_rounded(group.number) if as_doubles else group.number)}
            values[node] = _scrambled(op.name, graph.name(node), *map(str, sorted(members)))
        else:
            values[node] = _value(graph, node, [values[arg] for arg in args])
    return values


@dataclass(frozen=True, slots=True)
class _Operands:
    """The arguments of an associative function: values in GF(2^61 − 1), and the one number that is left of several."""

    members: frozenset[int]
    number: Fraction | None


def _group(graph: Graph, node: Node, values: Mapping[Node, int], grouped: Mapping[Node, _Operands]) -> _Operands:
    """All arguments of ``node``, those of calls of the same function among its arguments included."""
    name = graph.name(node)
    extreme = _EXTREMES.get(name)
    members: set[int] = set()
    number: Fraction | None = None
    for arg in graph.args(node):
        other = graph.number_of(arg) if extreme is not None else None
        if arg in grouped and graph.name(arg) == name:
            members |= grouped[arg].members
            other = grouped[arg].number
        elif other is None:
            members.add(values[arg])
        if extreme is not None and other is not None:
            number = other if number is None else extreme(number, other)
    return _Operands(frozenset(members), number)


def _value(graph: Graph, node: Node, args: Sequence[int]) -> int:
    op = graph.op(node)
    if op is Op.ADD:
        return sum(args) % PRIME
    if op is Op.MUL:
        product = 1
        for arg in args:
            product = product * arg % PRIME
        return product
    if op is Op.DIV and args[1]:
        return args[0] * pow(args[1], -1, PRIME) % PRIME
    if op is Op.POW:
        if args[0] == _EULER:  # by its value: a format without a word for e has exp(1) as the base
            return _exponential(args[1])
        exponent = graph.number_of(graph.args(node)[1])
        if exponent is not None and exponent.denominator == 1 and args[0]:
            return pow(args[0], int(exponent), PRIME)
    if op is Op.CALL:
        name = graph.name(node)
        if name in _COMMUTATIVE:
            args = sorted(args)
        elif name == "exp":
            return _exponential(args[0])
        elif name == "arctan" and args[0] == 1:  # pi where a format has no word for it
            return _scrambled(Op.CONSTANT.name, "pi") * pow(4, -1, PRIME) % PRIME
    return _scrambled(op.name, str(graph.payload(node)), *map(str, args))


def _exponential(argument: int) -> int:
    """exp(x) and e^x are one function, exp(1) and e one number."""
    if argument == 1:
        return _EULER
    return _scrambled(Op.CALL.name, "exp", str(argument))


def _rounded(value: Fraction) -> Fraction:
    double = nearest_double(value)
    return Fraction(double) if double - double == 0 else value  # beyond the range of doubles a number stays what it is


def _rational(value: Fraction) -> int:
    bottom = value.denominator % PRIME
    if not bottom:
        return _scrambled("number", str(value))
    if bottom == 1:
        return value.numerator % PRIME
    return value.numerator * pow(bottom, -1, PRIME) % PRIME


def _scrambled(*parts: str) -> int:
    digest = blake2b("\0".join(parts).encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big") % (PRIME - 1) + 1


_EULER: Final = _scrambled(Op.CONSTANT.name, "exponentiale")


# -- values at time 0 --------------------------------------------------------------------------------
# Expressions that mention each other, resolved in the order of their dependence.


def resolve_initial_values(
    graph: Graph, given: Mapping[str, Node], keep: AbstractSet[str] = frozenset()
) -> dict[str, Node]:
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
        If values depend on each other in a cycle.
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
    cycle = set(given) - set(resolved) - _hanging(given, waiting, users)
    if cycle:
        raise ValueError("initial values depend on each other in a circle: " + ", ".join(sorted(cycle)[:5]))
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
