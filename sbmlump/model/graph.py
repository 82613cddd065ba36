"""Hash-consed expression graph over exact rationals.

Every mathematical expression of a model lives in one :class:`Graph`. A node is an integer; equal
sub-expressions are one node; arguments always have smaller numbers than the node that uses them, so
ascending order is a topological order and every algorithm here is a loop, never a recursion (a kinetic law
may be thousands of levels deep).

Numbers are exact (:class:`fractions.Fraction`; payloads are compared by ``type``, which ``isinstance`` would ask the
abstract base classes of numbers for). Functions without a rational value (``ln(2)``, ``pi``)
stay symbolic. The constructors fold what is certain: sums and products of numbers, neutral elements,
branches whose condition is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from fractions import Fraction
from itertools import chain
from math import ceil, floor
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sbmlump.arrays import Indices
from sbmlump.errors import LimitError, Reason
from sbmlump.model.domains import below

__all__ = [
    "FUNCTIONS",
    "LOGIC",
    "RELATIONS",
    "Graph",
    "Node",
    "Op",
    "MAX_BITS",
    "bits",
    "bounded",
    "fold_function",
    "rational_root",
]

K = TypeVar("K")


# -- functions of numbers ----------------------------------------------------------------------------
# Their exact values over Q, where these are rational and certain.


MAX_BITS: Final = 14_000
"""Bits that numerator and denominator of an exact number may have.

Ten times what occurs in any of 711 published models (1,410 bits), and below the 4,300 digits from which Python refuses
to print integers, so that every number can be shown and written. Sums and products of rationals double in length with
each step where a file squares what it squared before; without a bound, forty rules fill the memory.
"""


def bits(value: Fraction) -> int:
    """Size of the larger of numerator and denominator, in bits."""
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def bounded(value: Fraction) -> Fraction:
    """``value`` itself.

    Raises
    ------
    LimitError
        Code ``too-large`` if it has more than :data:`MAX_BITS` bits.
    """
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        message = (
            f"an exact number with more than {MAX_BITS * 3 // 10} digits arises; "
            "the model multiplies or raises numbers beyond what any simulator holds"
        )
        raise LimitError(Reason("too-large", message))
    return value


def rational_root(value: Fraction, degree: int) -> Fraction | None:
    """The exact positive ``degree``-th root of a positive rational, if it is rational and small to find."""
    if value <= 0 or degree > 8 or value.numerator.bit_length() > 512 or value.denominator.bit_length() > 512:
        return None
    parts = []
    for part in (value.numerator, value.denominator):
        low, high = 0, 1 << (part.bit_length() // degree + 1)
        while low < high:
            middle = (low + high + 1) // 2
            if middle**degree <= part:
                low = middle
            else:
                high = middle - 1
        if low**degree != part:
            return None
        parts.append(low)
    return Fraction(parts[0], parts[1])


def fold_function(name: str, values: list[Fraction]) -> Fraction | None:
    """Exact value of a function of numbers where it is rational and certain."""
    x = values[0]
    if name in ("exp", "cos", "cosh", "sec", "sech") and x == 0:
        return Fraction(1)
    if name in ("sin", "tan", "sinh", "tanh", "arcsin", "arctan", "arcsinh", "arctanh") and x == 0:
        return Fraction(0)
    if name == "ln" and x == 1:
        return Fraction(0)
    if name == "abs":
        return abs(x)
    if name == "floor":
        return Fraction(floor(x))
    if name == "ceiling":
        return Fraction(ceil(x))
    if name == "min":
        return min(values)
    if name == "max":
        return max(values)
    if name == "factorial" and x.denominator == 1 and 0 <= x <= 170:
        product = 1
        for i in range(2, int(x) + 1):
            product *= i
        return Fraction(product)
    if name in ("rem", "quotient") and values[1] != 0:
        # truncated division, as in C and in libRoadRunner
        ratio = x / values[1]
        quotient = floor(ratio) if ratio >= 0 else ceil(ratio)
        return Fraction(quotient) if name == "quotient" else x - quotient * values[1]
    return None


# -- the graph ---------------------------------------------------------------------------------------


Payload = Fraction | str | None
Node = int
"""A node of a :class:`Graph`: an index, meaningful only together with its graph."""


class Op(IntEnum):
    """What a node is."""

    NUMBER = 0  #: exact rational; payload Fraction
    SYMBOL = 1  #: quantity of the model; payload its id
    TIME = 2  #: the independent variable
    CONSTANT = 3  #: pi, exponentiale, infinity, notanumber, true, false; payload the name
    ADD = 4  #: sum of two or more
    MUL = 5  #: product of two or more
    DIV = 6  #: quotient of two
    POW = 7  #: power of two (base, exponent)
    CALL = 8  #: function, relation or logical operator; payload the name
    PIECEWISE = 9  #: value, condition, value, condition, …, otherwise (always an odd number of arguments)


FUNCTIONS: Final[frozenset[str]] = frozenset(
    "exp ln abs floor ceiling factorial "
    "sin cos tan sec csc cot sinh cosh tanh sech csch coth "
    "arcsin arccos arctan arcsec arccsc arccot arcsinh arccosh arctanh arcsech arccsch arccoth "
    "min max rem quotient".split()
)
"""Names of real-valued functions. ``rem`` and ``quotient`` take two arguments, ``min`` and ``max`` one or
more, all others one. Roots are powers, logarithms to a base are quotients of ``ln``."""

RELATIONS: Final[frozenset[str]] = frozenset("lt leq gt geq eq neq".split())
"""Binary relations (n-ary ones of MathML are conjunctions of these)."""

LOGIC: Final[frozenset[str]] = frozenset("and or not xor".split())
"""Logical operators."""
_TRUTHS: Final = RELATIONS | LOGIC

_MAX_FLAT_PRODUCT: Final = 8  # factors; a longer product that stands in another one stays a shared node
_MANY_ROOTS: Final = 1_000  # from here on the walk over arrays is faster, although they have to be made


class Graph:
    """Append-only store of hash-consed expression nodes.

    Nodes are never changed or removed, so a node handed out stays valid and several systems may share a
    graph.
    """

    __slots__ = ("_args", "_arrays", "_index", "_numbers", "_one", "_ops", "_payload", "_undefined", "_zero")

    def __init__(self) -> None:
        self._ops: list[Op] = []
        self._args: list[tuple[Node, ...]] = []
        self._payload: list[Payload] = []
        self._undefined: set[Node] = set()
        self._numbers: dict[tuple[int, int], Node] = {}
        self._arrays: tuple[NDArray[np.int8], Indices, Indices] | None = None
        self._index: dict[tuple[Op, tuple[Node, ...], Payload], Node] = {}
        self._zero = self._one = -1  # the nodes of the numbers 0 and 1, as soon as there are such

    # -- reading -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._ops)

    def op(self, node: Node) -> Op:
        """Kind of ``node``."""
        return self._ops[node]

    def args(self, node: Node) -> tuple[Node, ...]:
        """Arguments of ``node``, each smaller than ``node``."""
        return self._args[node]

    def payload(self, node: Node) -> Payload:
        """Number, id or name carried by ``node``."""
        return self._payload[node]

    def name(self, node: Node) -> str:
        """Id of a symbol, name of a constant or of a called function."""
        payload = self._payload[node]
        if not isinstance(payload, str):
            raise TypeError(f"node {node} ({self._ops[node].name}) has no name")
        return payload

    def number_of(self, node: Node) -> Fraction | None:
        """Exact value of a NUMBER node, else ``None``."""
        payload = self._payload[node]
        return payload if type(payload) is Fraction else None

    def is_undefined(self, node: Node) -> bool:
        """Whether ``node`` certainly has no value: it divides by the number 0, takes ln 0, and so on."""
        return node in self._undefined

    # -- leaves --------------------------------------------------------------------------------------

    def number(self, value: Fraction | int) -> Node:
        """The exact rational ``value``.

        Raises
        ------
        LimitError
            Code ``too-large`` if it has more than :data:`~sbmlump.model.graph.MAX_BITS` bits.
        """
        # hashing a Fraction costs a modular inverse: numbers have an index of their own
        key = (value.numerator, value.denominator)
        node = self._numbers.get(key)
        if node is None:
            exact = bounded(value if type(value) is Fraction else Fraction(value))
            node = self._numbers[key] = self._new(Op.NUMBER, (), exact, undefined=False)
            if exact == 0:
                self._zero = node
            elif exact == 1:
                self._one = node
        return node

    def decimal(self, value: float) -> Node:
        """The rational that the shortest decimal text of the finite double ``value`` denotes (0.1 is 1/10).

        Infinities and NaN become the constants ``infinity`` (negated where needed) and ``notanumber``.
        """
        if value != value:
            return self.constant("notanumber")
        if value in (float("inf"), float("-inf")):
            inf = self.constant("infinity")
            return inf if value > 0 else self.neg(inf)
        return self.number(Fraction(repr(float(value))))

    def symbol(self, name: str) -> Node:
        """The quantity with id ``name``."""
        return self._intern(Op.SYMBOL, (), name)

    def time(self) -> Node:
        """The independent variable."""
        return self._intern(Op.TIME, (), None)

    def constant(self, name: str) -> Node:
        """One of ``pi``, ``exponentiale``, ``infinity``, ``notanumber``, ``true``, ``false``."""
        if name not in ("pi", "exponentiale", "infinity", "notanumber", "true", "false"):
            raise ValueError(f"unknown constant {name!r}")
        return self._intern(Op.CONSTANT, (), name)

    def truth(self, value: bool) -> Node:
        """``true`` or ``false``."""
        return self.constant("true" if value else "false")

    # -- arithmetic ----------------------------------------------------------------------------------

    def add(self, args: Iterable[Node]) -> Node:
        """Sum; numbers are folded into one, zeros dropped, the order of the rest kept."""
        total: Fraction | None = None  # arithmetic of Fractions is slow, and most sums have none or one
        rest: list[Node] = []
        payload, zero = self._payload, self._zero
        for node in args:
            if node == zero:
                continue
            value = payload[node]
            if type(value) is Fraction:
                total = value if total is None else bounded(total + value)
            else:
                rest.append(node)
        if not rest:
            return self.number(0 if total is None else total)
        if total:
            rest.append(self.number(total))
        if len(rest) == 1:
            return rest[0]
        return self._intern(Op.ADD, tuple(rest), None)

    def mul(self, args: Iterable[Node]) -> Node:
        """Product in canonical form c·(x·y·…): numbers folded into one factor, small products flattened,
        factors ordered. The numeric factor stands outside, so that ±x·y share the node of x·y.
        """
        factor: Fraction | None = None
        rest: list[Node] = []
        payload, ops = self._payload, self._ops
        zero, one = self._zero, self._one
        vanishes = False
        for node in args:
            if node == one:
                continue
            if node == zero:
                vanishes = True
                continue
            value = payload[node]
            if value is None and ops[node] is Op.MUL:
                inner = self._args[node]
                value = payload[inner[0]]
                if type(value) is Fraction:
                    factor = value if factor is None else bounded(factor * value)
                    node = inner[1]
                    inner = self._args[node] if ops[node] is Op.MUL else (node,)
                if len(rest) + len(inner) <= _MAX_FLAT_PRODUCT:
                    rest.extend(inner)
                else:
                    rest.append(node)
            elif type(value) is Fraction:
                factor = value if factor is None else bounded(factor * value)
            else:
                rest.append(node)
        if vanishes or (factor is not None and not factor):
            if not self._undefined or self._undefined.isdisjoint(rest):
                return self.number(0)
            factor = Fraction(0)
        if not rest:
            return self.number(1 if factor is None else factor)
        if len(rest) > 1:
            rest.sort()
            core = self._intern(Op.MUL, tuple(rest), None)
        else:
            core = rest[0]
        if factor is None or factor == 1:
            return core
        return self._intern(Op.MUL, (self.number(factor), core), None)

    def neg(self, node: Node) -> Node:
        """Additive inverse."""
        return self.mul((self.number(-1), node))

    def sub(self, left: Node, right: Node) -> Node:
        """Difference; 0 when both are the same node."""
        if left == right and left not in self._undefined:
            return self.number(0)
        return self.add((left, self.neg(right)))

    def div(self, top: Node, bottom: Node) -> Node:
        """Quotient; division by the number 0 is kept and marked undefined."""
        divisor = self.number_of(bottom)
        if divisor is not None and divisor:
            return self.mul((top, self.number(1 / divisor)))
        if divisor is None and self.number_of(top) == 0 and bottom not in self._undefined:
            return self.number(0)
        return self._intern(Op.DIV, (top, bottom), None, undefined=divisor is not None)

    def pow(self, base: Node, exponent: Node) -> Node:
        """Power. Exponents 0 and 1 and small integer powers of numbers are folded."""
        e, b = self.number_of(exponent), self.number_of(base)
        if e is not None:
            if e == 1:
                return base
            if e == 0 and base not in self._undefined:
                return self.number(1)
            if b is not None:
                if b == 0:
                    if e > 0:
                        return base
                    return self._intern(Op.POW, (base, exponent), None, undefined=True)
                if e.denominator == 1 and abs(e) * bits(b) <= MAX_BITS:
                    return self.number(b ** int(e))
                root = rational_root(b, e.denominator)
                if root is not None and abs(e.numerator) * bits(root) <= MAX_BITS:
                    return self.number(root**e.numerator)
        if b == 1 and exponent not in self._undefined:
            return base
        return self._intern(Op.POW, (base, exponent), None)

    def call(self, name: str, args: Sequence[Node]) -> Node:
        """Function, relation or logical operator ``name`` of ``args``."""
        args = tuple(args)
        if name in LOGIC:
            return self._logic(name, args)
        if name in RELATIONS:
            return self._relation(name, args)
        if name not in FUNCTIONS:
            raise ValueError(f"unknown function {name!r}")
        values = [self.number_of(node) for node in args]
        known = [value for value in values if value is not None]
        undefined = False
        if len(known) == len(args):
            folded = fold_function(name, known)
            if folded is not None:
                return self.number(folded)
            undefined = name == "ln" and known[0] == 0
        elif name in ("min", "max") and len(set(args)) == 1:
            return args[0]
        return self._intern(Op.CALL, args, name, undefined=undefined)

    def piecewise(self, pieces: Iterable[tuple[Node, Node]], otherwise: Node | None = None) -> Node:
        """First value whose condition is true, else ``otherwise`` (``notanumber`` when there is none)."""
        flat: list[Node] = []
        end = otherwise if otherwise is not None else self.constant("notanumber")
        for value, condition in pieces:
            truth = self._truth_of(condition)
            if truth is False:
                continue
            if truth is True:
                end = value
                break
            flat += (value, condition)
        if all(value == end for value in flat[::2]):
            return end
        return self._intern(Op.PIECEWISE, (*flat, end), None)

    # -- linear forms --------------------------------------------------------------------------------

    def linear_terms(self, node: Node, limit: int = 1_000_000) -> dict[Node, Fraction]:
        """Write ``node`` as Σ c·term by opening sums and numeric factors (not products of sums).

        The constant part stands under the node of the number 1. At most ``limit`` sums are opened, what is
        beyond stays a term of its own.
        """
        one = self.number(1)
        terms: dict[Node, Fraction] = {}
        sums: set[Node] = set()
        unit = Fraction(1)
        # arithmetic of Fractions is slow, and most factors are 1 and most terms stand once: it is done where it must
        stack: list[tuple[Node, Fraction]] = [(node, unit)]
        opened = 0
        payload, ops = self._payload, self._ops
        while stack:
            current, factor = stack.pop()
            term = current
            value = payload[current]
            if type(value) is Fraction:
                term, factor = one, value if factor is unit else factor * value
            elif ops[current] is Op.ADD and opened < limit:
                if current in sums:  # met twice: a walk along every path may have no end
                    return self._linear_terms_of_shared(node, limit)
                sums.add(current)
                opened += 1
                stack.extend((arg, factor) for arg in reversed(self._args[current]))
                continue
            elif ops[current] is Op.MUL:
                args = self._args[current]
                value = payload[args[0]]
                if type(value) is Fraction:
                    stack.append((args[1], value if factor is unit else bounded(factor * value)))
                    continue
            known = terms.get(term)
            terms[term] = factor if known is None else known + factor
        return {term: c for term, c in terms.items() if c}

    def _linear_terms_of_shared(self, root: Node, limit: int) -> dict[Node, Fraction]:
        """:meth:`linear_terms` where sums are used several times: each is opened once, with the sum of its factors.

        Terms come in the order in which a walk from the left meets them first.
        """
        payload, ops = self._payload, self._ops
        inner: dict[Node, tuple[tuple[Node, Fraction], ...]] = {}  # sums and scaled sums, with what they are made of
        terms: dict[Node, Fraction] = {}
        one, unit = self.number(1), Fraction(1)
        stack = [root]
        opened = 0
        while stack:
            node = stack.pop()
            if node in inner or node in terms:
                continue
            value = payload[node]
            args = self._args[node]
            scale = payload[args[0]] if ops[node] is Op.MUL else None
            if type(value) is Fraction:
                terms.setdefault(one, Fraction(0))
                if node != one:
                    inner[node] = ((one, value),)
            elif ops[node] is Op.ADD and opened < limit:
                opened += 1
                inner[node] = tuple((arg, unit) for arg in args)
                stack.extend(reversed(args))
            elif type(scale) is Fraction:
                inner[node] = ((args[1], scale),)
                stack.append(args[1])
            else:
                terms[node] = Fraction(0)
        weights: dict[Node, Fraction] = {root: unit}
        for node in sorted(inner, reverse=True):  # users before what they use
            factor = weights[node]
            for part, scale in inner[node]:
                share = bounded(factor * scale)
                if part in terms:
                    terms[part] = bounded(terms[part] + share)
                else:
                    weights[part] = bounded(weights.get(part, Fraction(0)) + share)
        return {term: c for term, c in terms.items() if c}

    def from_terms(self, terms: Mapping[Node, Fraction]) -> Node:
        """Σ c·term, the inverse of :meth:`linear_terms`."""
        return self.add([self.scaled(c, term) for term, c in terms.items() if c])

    def scaled(self, factor: Fraction | int, node: Node) -> Node:
        """``factor`` · ``node``, the same node as :meth:`mul` gives."""
        if factor == 1 or node == self._zero:
            return node
        args = self._args[node]
        known = self._payload[args[0] if self._ops[node] is Op.MUL else node]
        if not factor or type(known) is Fraction:
            return self.mul((self.number(factor), node))
        return self._intern(Op.MUL, (self.number(factor), node), None)

    def weighted_sum(self, row: Mapping[K, Fraction | int], of: Callable[[K], Node]) -> Node:
        """Σ weight · expression over a row of weights by what ``of`` takes: names, positions or nodes."""
        return self.add(self.scaled(weight, of(key)) for key, weight in row.items())

    # -- walking -------------------------------------------------------------------------------------

    def reachable(self, roots: Iterable[Node]) -> list[Node]:
        """All nodes below ``roots``, roots included, in ascending (topological) order."""
        stack = list(roots)
        if len(stack) > _MANY_ROOTS:
            return [int(node) for node in self._reachable_array(stack).tolist()]
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(arg for arg in self._args[node] if arg not in seen)
        return sorted(seen)

    def _reachable_array(self, roots: Sequence[Node]) -> Indices:
        _, pointers, flat = self.arrays()
        everywhere = np.zeros(len(self._ops), dtype=np.bool_)
        return below(np.array(roots, dtype=np.int64), pointers, flat, everywhere)

    def leaves(self, roots: Iterable[Node]) -> tuple[set[str], bool]:
        """Ids of all symbols below ``roots``, and whether the time symbol is among their leaves."""
        roots = list(roots)
        if len(roots) > _MANY_ROOTS:
            nodes = self._reachable_array(roots)
            kinds = self.arrays()[0][nodes]
            names = {self.name(node) for node in nodes[kinds == Op.SYMBOL].tolist()}
            return names, bool((kinds == Op.TIME).any())
        reached = self.reachable(roots)
        symbols = {self.name(node) for node in reached if self._ops[node] is Op.SYMBOL}
        return symbols, any(self._ops[node] is Op.TIME for node in reached)

    def symbols(self, roots: Iterable[Node]) -> set[str]:
        """Ids of all symbols below ``roots``."""
        return self.leaves(roots)[0]

    def depends_on_time(self, roots: Iterable[Node]) -> bool:
        """Whether the time symbol stands anywhere below ``roots``."""
        return self.leaves(roots)[1]

    def depth(self, root: Node) -> int:
        """Number of levels below and including ``root``."""
        level: dict[Node, int] = {}
        for node in self.reachable([root]):
            level[node] = 1 + max((level[arg] for arg in self._args[node]), default=0)
        return level[root]

    def substitute(self, roots: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Node]:
        """``roots`` with every node of ``mapping`` replaced, simplified on the way (simultaneous, one pass)."""
        return self.transplant(self, roots, mapping) if mapping else list(roots)

    def transplant(self, source: Graph, roots: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Node]:
        """Copy ``roots`` of ``source`` into this graph; nodes of ``mapping`` become the given nodes of this graph."""
        image: dict[Node, Node] = dict(mapping)
        own = source is self
        zero = self.number(0)
        for node in source._below(roots, mapping):
            if node in image:
                continue
            args, op = source._args[node], source._ops[node]
            new = tuple([image[arg] for arg in args])
            if own and new == args:
                image[node] = node
            elif op is Op.MUL and zero in new and not self._undefined:
                image[node] = zero  # what mul says too; where most states are put to 0, most products are
            else:
                image[node] = self.rebuild(op, new, source._payload[node])
        return [image[root] for root in roots]

    def _below(self, roots: Sequence[Node], stop: Mapping[Node, Node]) -> list[Node]:
        if len(roots) > _MANY_ROOTS:
            _, pointers, flat = self.arrays()
            closed = np.zeros(len(self._ops), dtype=np.bool_)
            closed[np.fromiter(stop, dtype=np.int64, count=len(stop))] = True
            return [int(node) for node in below(np.array(roots, dtype=np.int64), pointers, flat, closed).tolist()]
        seen: set[Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                if node not in stop:
                    stack.extend(arg for arg in self._args[node] if arg not in seen)
        return sorted(seen)

    def rebuild(self, op: Op, args: Sequence[Node], payload: Payload) -> Node:
        """A node of kind ``op`` through the folding constructors."""
        if type(payload) is Fraction:
            return self.number(payload)
        if op is Op.ADD:
            return self.add(args)
        if op is Op.MUL:
            return self.mul(args)
        if op is Op.DIV:
            return self.div(args[0], args[1])
        if op is Op.POW:
            return self.pow(args[0], args[1])
        if op is Op.CALL:
            assert isinstance(payload, str)
            return self.call(payload, args)
        if op is Op.PIECEWISE:
            return self.piecewise(zip(args[:-1:2], args[1::2], strict=True), args[-1])
        return self._intern(op, (), payload)

    def arrays(self) -> tuple[NDArray[np.int8], Indices, Indices]:
        """The whole graph as arrays: kinds (N,), argument pointers (N + 1,), arguments (CSR layout)."""
        cached = self._arrays
        if cached is None:
            cached = (np.empty(0, np.int8), np.zeros(1, np.int64), np.empty(0, np.int64))
        known, count = len(cached[0]), len(self._ops)
        if known != count:  # nodes are only ever added
            args = self._args[known:]
            lengths = np.fromiter(map(len, args), dtype=np.int64, count=len(args))
            ops = np.fromiter(self._ops[known:], dtype=np.int8, count=len(args))
            pointers = cached[1][-1] + np.cumsum(lengths)
            flat = np.fromiter(chain.from_iterable(args), dtype=np.int64, count=int(lengths.sum()))
            cached = (
                np.concatenate([cached[0], ops]),
                np.concatenate([cached[1], pointers]),
                np.concatenate([cached[2], flat]),
            )
        self._arrays = cached
        return cached

    # -- differentiation -----------------------------------------------------------------------------

    def derivative(self, root: Node, seeds: Mapping[Node, Node]) -> Node:
        """Directional derivative of ``root``: each leaf of ``seeds`` moves at the given rate, others rest.

        With ``seeds = {x_i: f_i, time: 1}`` this is the time derivative along the flow. Functions that are not
        differentiable everywhere (abs, floor, min …) are refused.

        Raises
        ------
        ValueError
            If ``root`` depends on a seed through a function whose derivative is not an expression here.
        """
        zero = self.number(0)
        rate: dict[Node, Node] = {}
        for node in self.reachable([root]):
            if node in seeds:
                rate[node] = seeds[node]
                continue
            args = self._args[node]
            if all(rate[arg] == zero for arg in args):
                rate[node] = zero
                continue
            rate[node] = self._differentiate(node, args, rate)
        return rate[root]

    def _differentiate(self, node: Node, args: tuple[Node, ...], rate: Mapping[Node, Node]) -> Node:
        op = self._ops[node]
        zero = self.number(0)
        if op is Op.ADD:
            return self.add(rate[arg] for arg in args)
        if op is Op.MUL:
            return self.add(
                self.mul((*args[:i], rate[arg], *args[i + 1 :])) for i, arg in enumerate(args) if rate[arg] != zero
            )
        if op is Op.DIV:
            top, bottom = args
            if rate[bottom] == zero:
                return self.div(rate[top], bottom)
            numerator = self.sub(self.mul((rate[top], bottom)), self.mul((top, rate[bottom])))
            return self.div(numerator, self.pow(bottom, self.number(2)))
        if op is Op.POW:
            base, exponent = args
            parts = [self.mul((exponent, self.pow(base, self.sub(exponent, self.number(1))), rate[base]))]
            if rate[exponent] != zero:
                parts.append(self.mul((node, self.call("ln", (base,)), rate[exponent])))
            return self.add(parts)
        if op is Op.PIECEWISE:
            pieces = [(rate[v], c) for v, c in zip(args[:-1:2], args[1::2], strict=True)]
            return self.piecewise(pieces, rate[args[-1]])
        name = self.name(node)
        rule = _DERIVATIVES.get(name)
        if rule is None:
            raise ValueError(f"no derivative of {name}")
        return self.mul((rule(self, args[0], node), rate[args[0]]))

    # -- inside --------------------------------------------------------------------------------------

    def _intern(self, op: Op, args: tuple[Node, ...], payload: Payload, *, undefined: bool = False) -> Node:
        key = (op, args, payload)
        node = self._index.get(key)
        if node is None:
            node = self._index[key] = self._new(op, args, payload, undefined=undefined)
        return node

    def _new(self, op: Op, args: tuple[Node, ...], payload: Payload, *, undefined: bool) -> Node:
        node = len(self._ops)
        self._ops.append(op)
        self._args.append(args)
        self._payload.append(payload)
        if undefined or (self._undefined and not self._undefined.isdisjoint(args)):
            self._undefined.add(node)
        return node

    def _truth_of(self, node: Node) -> bool | None:
        payload = self._payload[node]
        if payload == "true" and self._ops[node] is Op.CONSTANT:
            return True
        if payload == "false" and self._ops[node] is Op.CONSTANT:
            return False
        if type(payload) is Fraction:
            return payload != 0
        return None

    def _logic(self, name: str, args: tuple[Node, ...]) -> Node:
        truths = [self._truth_of(node) for node in args]
        if name == "not":
            return self.truth(not truths[0]) if truths[0] is not None else self._intern(Op.CALL, args, name)
        if name == "xor":
            if all(truth is not None for truth in truths):
                return self.truth(sum(map(bool, truths)) % 2 == 1)
            return self._intern(Op.CALL, args, name)
        absorbing = name == "or"
        if absorbing in truths:
            return self.truth(absorbing)
        rest = tuple(dict.fromkeys(node for node, truth in zip(args, truths, strict=True) if truth is None))
        if not rest:
            return self.truth(not absorbing)
        if len(rest) == 1 and self._ops[rest[0]] is Op.CALL and self._payload[rest[0]] in _TRUTHS:
            return rest[0]
        # any other single operand stays wrapped: it is a number-valued expression whose truth is meant
        return self._intern(Op.CALL, rest, name)

    def _relation(self, name: str, args: tuple[Node, ...]) -> Node:
        left, right = args
        a, b = self.number_of(left), self.number_of(right)
        if a is not None and b is not None:
            outcome = {"lt": a < b, "leq": a <= b, "gt": a > b, "geq": a >= b, "eq": a == b, "neq": a != b}
            return self.truth(outcome[name])
        return self._intern(Op.CALL, args, name)


_Rule = Callable[[Graph, Node, Node], Node]


def _one_over(power: int, sign: int, offset: int) -> _Rule:
    """u ↦ 1/(offset + sign·u²) raised to 1 or 1/2."""

    def rule(g: Graph, u: Node, _: Node) -> Node:
        inner = g.add((g.mul((g.number(sign), g.pow(u, g.number(2)))), g.number(offset)))
        return g.div(g.number(1), inner if power == 2 else g.pow(inner, g.number(Fraction(1, 2))))

    return rule


_DERIVATIVES: Final[Mapping[str, _Rule]] = {
    "exp": lambda g, u, f: f,
    "ln": lambda g, u, f: g.div(g.number(1), u),
    "sin": lambda g, u, f: g.call("cos", (u,)),
    "cos": lambda g, u, f: g.neg(g.call("sin", (u,))),
    "tan": lambda g, u, f: g.add((g.number(1), g.pow(f, g.number(2)))),
    "sinh": lambda g, u, f: g.call("cosh", (u,)),
    "cosh": lambda g, u, f: g.call("sinh", (u,)),
    "tanh": lambda g, u, f: g.sub(g.number(1), g.pow(f, g.number(2))),
    "arctan": _one_over(2, 1, 1),
    "arcsin": _one_over(1, -1, 1),
    "arcsinh": _one_over(1, 1, 1),
    "arctanh": _one_over(2, -1, 1),
}
