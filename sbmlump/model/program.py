"""A graph levelled into a straight-line program over a number domain.

The program evaluates some roots of a :class:`~sbmlump.model.graph.Graph` at many points at once, and sweeps backwards
for vector–Jacobian products. All nodes of one level and one kind are one NumPy call. The same program runs over float64
and over GF(p) (see :mod:`sbmlump.model.domains`).

Layout: *slots* are renumbered nodes. First the inputs, then numbers and named constants, then level by level and
group by group, so that each group writes a contiguous slice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Generic

import numpy as np
from numpy.typing import NDArray

from sbmlump.arrays import Indices, Mask
from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.model.domains import Domain, PrimeField, Scalar, below
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.sparse import Pattern, SparseMatrix, distinct, ranges, union_of_rows

__all__ = ["NodeList", "Program", "Tape", "branched_nodes", "row_colours", "where_defined"]


_MAX_COEFFICIENT: Final = 1 << 20  # keeps Σ|c|·p below 2^63 for sums of a few thousand terms
_MAX_ROW_WEIGHT: Final = 1 << 31  # Σ|c| of a sum, for the same reason
_EXACT_POWER: Final = 1 << 16  # larger exponents are generic functions: they could not be written out

_RATIONAL: Final = {"linear": "sum", "product": "product", "quotient": "division", "power": "whole-power"}


@dataclass(frozen=True, slots=True)
class _NodeGroup:
    """Nodes of one level and one kind; ``out`` is their slice of slots."""

    kind: str  # linear | product | quotient | power | call
    out: slice
    name: str
    args: Indices  # (arity, g) slots; empty for linear
    sources: Indices  # distinct slots the group reads
    matrix: SparseMatrix | None  # linear: (g, len(sources)), integer coefficients
    scatter: SparseMatrix  # (len(sources), g) for linear, (len(sources), arity·g) else
    exponents: Indices  # power: (g,)


@dataclass(frozen=True, slots=True)
class Tape(Generic[Scalar]):
    """Values of every slot at k points, with what the backward sweep needs again.

    ``bad`` marks the points (k,) at which something has no value in the domain (a zero denominator).
    """

    values: NDArray[Scalar]
    inverses: dict[int, NDArray[Scalar]]
    bad: Mask

    def repeated(self, copies: int) -> Tape[Scalar]:
        """The tape with each point ``copies`` times in a row."""
        if copies == 1:
            return self
        inverses = {key: np.repeat(value, copies, axis=1) for key, value in self.inverses.items()}
        return Tape(np.repeat(self.values, copies, axis=1), inverses, np.repeat(self.bad, copies))


@dataclass(frozen=True, slots=True)
class NodeList:
    """A program node by node.

    Attributes
    ----------
    leaves : tuple of Fraction or str
        Numbers and named constants, in the slots behind those of the inputs.
    kinds : tuple of str (g,)
        ``sum``, ``product``, ``division``, ``whole-power``, or the name of a function.
    pointers : ndarray of int (g + 1,)
        Where the arguments of each node begin.
    args : ndarray of int (a,)
        Slots.
    coefficients : ndarray of int (a,)
        Of the terms of sums.
    exponents : ndarray of int (g,)
        Of powers.
    """

    leaves: tuple[Fraction | str, ...]
    kinds: tuple[str, ...]
    pointers: Indices
    args: Indices
    coefficients: Indices
    exponents: Indices


class Program:
    """Straight-line program for ``roots`` as functions of ``inputs``.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Outputs, r of them; repetitions and inputs are allowed.
    inputs : sequence of Node
        Symbol or time nodes, n of them, in the order of the input vector. Every symbol below the roots must be
        among them.
    opaque : collection of Node
        Logarithms and powers of whose derivatives nothing is to be known (see :mod:`sbmlump.model.domains`).

    Raises
    ------
    ValueError
        If a symbol is not among the inputs.
    """

    def __init__(
        self, graph: Graph, roots: Sequence[Node], inputs: Sequence[Node], opaque: Collection[Node] = frozenset()
    ) -> None:
        self.graph = graph
        self.inputs = tuple(inputs)
        self.roots = tuple(roots)
        layout = _Layout(graph, self.roots, self.inputs, opaque)
        self.size: int = layout.size
        self._leaves = layout.leaves
        self._groups = layout.groups
        self.calls: int = len(self._groups)
        """Array routines that one evaluation takes."""
        self.input_slots = np.arange(len(self.inputs), dtype=np.int64)
        self.root_slots: Indices = layout.slot_of[np.asarray(self.roots, dtype=np.int64)]
        self.generic: bool = any(group.kind == "call" for group in self._groups) or bool(layout.opaque)
        self._bound: dict[int, NDArray[np.generic]] = {}

    # -- running -------------------------------------------------------------------------------------

    def run(self, domain: Domain[Scalar], points: NDArray[Scalar]) -> Tape[Scalar]:
        """Evaluate every slot.

        Parameters
        ----------
        domain : Domain
        points : array (n, k) of domain values
            One column a point.
        """
        n, k = len(self.inputs), points.shape[1]
        values = np.empty((self.size, k), dtype=domain.dtype)
        values[:n] = points
        if self._leaves:
            values[n : n + len(self._leaves)] = domain.leaves(self._leaves)[:, None]
        inverses: dict[int, NDArray[Scalar]] = {}
        bad = np.zeros(k, dtype=np.bool_)
        for position, group in enumerate(self._groups):
            if group.kind == "linear":
                assert group.matrix is not None
                values[group.out] = domain.linear(group.matrix, values[group.sources])
            elif group.kind == "product":
                product = values[group.args[0]]
                for row in group.args[1:]:
                    product = domain.times(product, values[row])
                values[group.out] = product
            elif group.kind == "quotient":
                inverse = domain.inverse(values[group.args[1]], bad)
                inverses[position] = inverse
                values[group.out] = domain.quotient(values[group.args[0]], values[group.args[1]], inverse)
            elif group.kind == "power":
                values[group.out] = domain.power(values[group.args[0]], group.exponents, bad)
            else:
                values[group.out] = domain.call(group.name, [values[row] for row in group.args], bad)
        return Tape(values, inverses, bad)

    def outputs(self, tape: Tape[Scalar]) -> NDArray[Scalar]:
        """Values of the roots, (r, k)."""
        return tape.values[self.root_slots]

    def pull_back(self, domain: Domain[Scalar], tape: Tape[Scalar], weights: NDArray[Scalar]) -> NDArray[Scalar]:
        """Vector–Jacobian products: column j is weights[:, j]ᵀ · ∂roots/∂inputs at point j.

        Parameters
        ----------
        weights : array (r, k), or (r, q) when the tape holds a single point

        Returns
        -------
        array (n, k) or (n, q)
        """
        k = weights.shape[1]
        adjoint = np.zeros((self.size, k), dtype=domain.dtype)
        domain.scatter_rows(adjoint, self.root_slots, weights)
        values = tape.values
        for position in range(len(self._groups) - 1, -1, -1):
            group = self._groups[position]
            out = adjoint[group.out]
            if group.kind == "linear":
                flow = out
            elif group.kind == "product":
                flow = self._product_flow(domain, values, group, out)
            elif group.kind == "quotient":
                top = domain.weigh(out, tape.inverses[position])
                bottom = domain.negative(domain.weigh(top, values[group.out]))
                flow = np.concatenate([top, bottom])
            elif group.kind == "power":
                slope = domain.power_slope(values[group.args[0]], group.exponents, tape.bad)
                flow = domain.weigh(out, slope)
            else:
                slopes = domain.slopes(group.name, [values[row] for row in group.args], values[group.out], tape.bad)
                flow = np.concatenate([domain.weigh(out, s) for s in slopes])
            adjoint[group.sources] = domain.accumulate(adjoint[group.sources], group.scatter, flow)
        return adjoint[: len(self.inputs)]

    def _product_flow(
        self, domain: Domain[Scalar], values: NDArray[Scalar], group: _NodeGroup, out: NDArray[Scalar]
    ) -> NDArray[Scalar]:
        """out · (product of the other factors), for each factor, stacked (arity·g, k)."""
        factors = [values[row] for row in group.args]
        if len(factors) == 2:
            return np.concatenate([domain.weigh(out, factors[1]), domain.weigh(out, factors[0])])
        before = [out]
        for factor in factors[:-1]:
            before.append(domain.weigh(before[-1], factor))
        flows: list[NDArray[Scalar]] = [before[-1]]
        after = factors[-1]
        for i in range(len(factors) - 2, -1, -1):
            flows.append(domain.weigh(before[i], after))
            if i:
                after = domain.times(after, factors[i])
        return np.concatenate(flows[::-1])

    # -- structure -----------------------------------------------------------------------------------

    def dependencies(self) -> SparseMatrix:
        """Boolean (r, n): which inputs each root mentions, after folding."""
        n = len(self.inputs)
        lengths = np.zeros(n + len(self._leaves), dtype=np.int64)
        lengths[:n] = 1
        columns = np.arange(n)
        for group in self._groups:
            g = group.out.stop - group.out.start
            # structure, not values: a symbol that cancels in a sum (b + c − c) is still read
            if group.matrix is not None:
                owners, sources = group.matrix.owners, group.sources[group.matrix.indices]
            else:
                owners, sources = np.tile(np.arange(g), len(group.args)), group.args.ravel()
            added, found = union_of_rows(owners, sources, g, lengths, columns, n)
            lengths, columns = np.concatenate([lengths, added]), np.concatenate([columns, found])
        pointers = np.concatenate([[0], np.cumsum(lengths)])
        table = SparseMatrix(np.ones(len(columns), dtype=np.int8), columns, pointers, (len(lengths), n))
        return table.rows(self.root_slots)

    def degree(self) -> float:
        """Upper bound on the degree, in the inputs, of numerator plus denominator over all roots together.

        Function values count as further variables of degree 1. Used for the Schwartz–Zippel bound.
        """
        top = np.zeros(self.size)
        bottom = np.zeros(self.size)
        top[: len(self.inputs)] = 1
        for group in self._groups:
            if group.kind == "linear":
                assert group.matrix is not None
                total = group.matrix.sums(bottom[group.sources])
                bottom[group.out] = total
                excess = np.maximum(top[group.sources] - bottom[group.sources], 0)
                top[group.out] = total + group.matrix.largest(excess)
            elif group.kind == "product":
                top[group.out] = top[group.args].sum(axis=0)
                bottom[group.out] = bottom[group.args].sum(axis=0)
            elif group.kind == "quotient":
                a, b = group.args
                top[group.out] = top[a] + bottom[b]
                bottom[group.out] = bottom[a] + top[b]
            elif group.kind == "power":
                a, e = group.args[0], group.exponents
                size = np.abs(e)
                top[group.out] = size * np.where(e > 0, top[a], bottom[a])
                bottom[group.out] = size * np.where(e > 0, bottom[a], top[a])
            else:
                top[group.out] = 1
        slots = distinct(self.root_slots)
        return float(top[slots].max(initial=0) + bottom[slots].sum()) if len(slots) else 0.0

    def jacobian_is_constant(self, roots: slice) -> bool:
        """Whether some of the roots are seen to be affine in the inputs, so that their Jacobian is one matrix.

        What is affine only once it is multiplied out is not seen.
        """
        degree = np.zeros(self.size)
        degree[: len(self.inputs)] = 1
        for group in self._groups:
            if group.kind == "linear":
                assert group.matrix is not None
                degree[group.out] = group.matrix.largest(degree[group.sources])
            elif group.kind == "product":
                degree[group.out] = degree[group.args].sum(axis=0)
            elif group.kind == "power":
                base = degree[group.args[0]]
                degree[group.out] = np.where((base > 0) & (group.exponents < 0), np.inf, base * np.abs(group.exponents))
            else:  # a quotient by a constant has the degree of its numerator
                moving = group.args[1:] if group.kind == "quotient" else group.args
                beyond = (degree[moving] > 0).any(axis=0)
                top = degree[group.args[0]] if group.kind == "quotient" else 0.0
                degree[group.out] = np.where(beyond, np.inf, top)
        return bool(degree[self.root_slots[roots]].max(initial=0) <= 1)

    def height(self) -> float:
        """Upper bound on the total bit length of all numbers that stand in the program."""
        bits = 0
        for leaf in self._leaves:
            if isinstance(leaf, Fraction):
                bits += leaf.numerator.bit_length() + leaf.denominator.bit_length()
        return float(
            bits + 2 * len(self._leaves) + sum(g.matrix.nnz for g in self._groups if g.matrix is not None) ** 0.5
        )

    def nodes(self) -> NodeList:
        """Every node with its arguments, in the order of the slots behind those of inputs and leaves."""
        kinds: list[str] = []
        lengths, args, coefficients, exponents = ([np.empty(0, dtype=np.int64)] for _ in range(4))
        for group in self._groups:
            g = group.out.stop - group.out.start
            kinds += [group.name if group.kind == "call" else _RATIONAL[group.kind]] * g
            if group.matrix is not None:
                lengths.append(np.diff(group.matrix.indptr))
                args.append(group.sources[group.matrix.indices])
                coefficients.append(group.matrix.data)
            else:
                lengths.append(np.full(g, len(group.args)))
                args.append(group.args.T.ravel())
                coefficients.append(np.ones(group.args.size, dtype=np.int64))
            exponents.append(group.exponents if group.kind == "power" else np.zeros(g, dtype=np.int64))
        pointers = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        return NodeList(
            tuple(self._leaves), tuple(kinds), pointers, *(np.concatenate(x) for x in (args, coefficients, exponents))
        )

    def function_names(self) -> frozenset[str]:
        """Names of the functions that are not rational operations."""
        return frozenset(group.name for group in self._groups if group.kind == "call")


def row_colours(pattern: Pattern, *, fullest_first: bool = False) -> tuple[Indices, int]:
    """A colour for each row of a Jacobian, and how many there are; −1 for empty rows.

    Rows of one colour share no column, so that one backward sweep gives them all. Greedy, row by row or the fullest
    first, which takes fewer colours where a few rows are long.

    References
    ----------
    Curtis, Powell, Reid, IMA J. Appl. Math. 13 (1974), doi 10.1093/imamat/13.1.117 (there by columns).
    """
    pointers = pattern.indptr
    order = np.argsort(-np.diff(pointers), kind="stable") if fullest_first else np.arange(pattern.shape[0])
    colour = np.full(pattern.shape[0], -1, dtype=np.int64)
    used = [0] * pattern.shape[1]  # colours of the rows in each column, as the bits of an integer: there are few
    for row in order.tolist():
        columns = pattern.indices[pointers[row] : pointers[row + 1]].tolist()
        if not columns:
            continue
        taken = 0
        for column in columns:
            taken |= used[column]
        free = ~taken & (taken + 1)  # the lowest bit that is not set
        colour[row] = free.bit_length() - 1
        for column in columns:
            used[column] |= free
    return colour, int(colour.max(initial=-1)) + 1


def where_defined(
    program: Program,
    field: PrimeField,
    draw: Callable[[], Indices],
    result: Callable[[Tape[np.int64]], Indices],
    undefined: str,
    attempts: int = 8,
) -> Indices:
    """``result`` of the tape at random points, without the columns of those at which something has no value.

    Parameters
    ----------
    draw : callable () → array (n, k)
        Points; drawn again while none of them will do.
    result : callable (tape) → array (…, k)
        May mark further points as bad.
    undefined : str
        What is wrong where no point will do.
    attempts : int
        A rational function that is defined somewhere is defined at a random point but with a probability of about
        its degree / p: a second attempt is rare, and eight in a row are a denominator that is 0 everywhere.

    Raises
    ------
    UnsupportedModelError
        ``undefined-right-hand-side``.
    """
    for _ in range(attempts):
        tape = program.run(field, draw())
        values = result(tape)
        good = ~tape.bad
        if good.any():
            return values[..., good]
    raise UnsupportedModelError(Reason("undefined-right-hand-side", undefined))


def branched_nodes(graph: Graph, roots: Sequence[Node]) -> frozenset[Node]:
    """Logarithms, and powers that are no whole ones: their derivatives say nothing across a singularity."""
    return frozenset(
        node
        for node in graph.reachable(roots)
        if (graph.op(node) is Op.CALL and graph.name(node) == "ln")
        or (graph.op(node) is Op.POW and not _is_whole(graph.number_of(graph.args(node)[1])))
    )


def _is_whole(exponent: Fraction | None) -> bool:
    return exponent is not None and exponent.denominator == 1 and abs(exponent.numerator) < _EXACT_POWER


class _Layout:
    """Chooses the slots: vectorised over the arrays of the graph, no loop over nodes."""

    def __init__(
        self, graph: Graph, roots: tuple[Node, ...], inputs: tuple[Node, ...], opaque: Collection[Node]
    ) -> None:
        ops, pointers, flat = graph.arrays()
        count = len(ops)
        sum_args, sum_coefficients = self._open_scaled_terms(graph, ops, pointers, flat)
        is_input = np.zeros(count, dtype=np.bool_)
        is_input[list(inputs)] = True
        nodes = below(np.asarray(roots, dtype=np.int64), pointers, sum_args, is_input)
        self.slot_of: Indices = np.full(count, -1, dtype=np.int64)
        self.slot_of[list(inputs)] = np.arange(len(inputs))

        inner = nodes[~is_input[nodes]]
        leaf_nodes = inner[pointers[inner + 1] == pointers[inner]]
        for node in leaf_nodes[np.isin(ops[leaf_nodes], (Op.SYMBOL, Op.TIME))]:
            what = "time" if ops[node] == Op.TIME else repr(graph.name(int(node)))
            raise ValueError(f"{what} is not among the inputs of the program")
        self.leaves: list[Fraction | str] = []
        for node in leaf_nodes.tolist():
            payload = graph.payload(node)
            assert payload is not None
            self.leaves.append(payload)
        self.opaque = [leaf for leaf in self.leaves if isinstance(leaf, str)]
        self.slot_of[leaf_nodes] = len(inputs) + np.arange(len(leaf_nodes))

        working = inner[pointers[inner + 1] > pointers[inner]]
        levels = _levels(working, pointers, sum_args, count)
        kinds, names, exponents = self._classify(graph, working, ops, pointers, flat, opaque)
        order = np.lexsort((working, kinds, levels))
        working, levels, kinds, exponents = working[order], levels[order], kinds[order], exponents[order]
        start = len(inputs) + len(leaf_nodes)
        self.slot_of[working] = start + np.arange(len(working))
        self.size = start + len(working)

        self.groups: list[_NodeGroup] = []
        if not len(working):
            return
        change = np.flatnonzero((np.diff(levels) != 0) | (np.diff(kinds) != 0)) + 1
        for low, high in zip([0, *change.tolist()], [*change.tolist(), len(working)], strict=True):
            members = working[low:high]
            kind, name = names[int(kinds[low])]
            out = slice(start + low, start + high)
            if kind == "linear":
                self.groups.append(self._linear(members, out, pointers, sum_args, sum_coefficients))
            else:
                arity = 1 if kind == "power" else int(pointers[members[0] + 1] - pointers[members[0]])
                args = self.slot_of[flat[pointers[members][None, :] + np.arange(arity)[:, None]]]
                self.groups.append(self._other(kind, name, out, args, exponents[low:high]))

    @staticmethod
    def _open_scaled_terms(
        graph: Graph, ops: NDArray[np.int8], pointers: Indices, flat: Indices
    ) -> tuple[Indices, Indices]:
        """Arguments and coefficients of sums with c·x read as (c, x) for small integers c."""
        arity = np.diff(pointers)
        small = np.zeros(len(ops), dtype=np.int64)
        for node in np.flatnonzero(ops == Op.NUMBER).tolist():
            value = graph.number_of(node)
            if value is not None and value.denominator == 1 and abs(value.numerator) <= _MAX_COEFFICIENT:
                small[node] = value.numerator
        pairs = np.flatnonzero((ops == Op.MUL) & (arity == 2))
        first = flat[pointers[pairs]]
        scaled = pairs[(ops[first] == Op.NUMBER) & (small[first] != 0)]
        factor = np.ones(len(ops), dtype=np.int64)
        core = np.arange(len(ops))
        factor[scaled] = small[flat[pointers[scaled]]]
        core[scaled] = flat[pointers[scaled] + 1]
        in_sum = np.repeat(ops == Op.ADD, arity)
        # a very long sum with large coefficients could overflow: then keep the scaled terms as they are
        weight = np.zeros(len(ops), dtype=np.int64)
        owner = np.repeat(np.arange(len(ops)), arity)
        np.add.at(weight, owner[in_sum], np.abs(factor[flat[in_sum]]))
        in_sum &= (weight <= _MAX_ROW_WEIGHT)[owner]
        # the backward sweep adds along columns: a term that many sums take with large coefficients, likewise
        weight[:] = 0
        np.add.at(weight, core[flat[in_sum]], np.abs(factor[flat[in_sum]]))
        in_sum &= (weight <= _MAX_ROW_WEIGHT)[core[flat]]
        return np.where(in_sum, core[flat], flat), np.where(in_sum, factor[flat], 1)

    @staticmethod
    def _classify(
        graph: Graph,
        working: Indices,
        ops: NDArray[np.int8],
        pointers: Indices,
        flat: Indices,
        opaque: Collection[Node],
    ) -> tuple[Indices, dict[int, tuple[str, str]], Indices]:
        """A number for (kind, name, arity) of each working node, their meaning, and integer exponents."""
        kinds = np.zeros(len(working), dtype=np.int64)
        exponents = np.zeros(len(working), dtype=np.int64)
        names: dict[int, tuple[str, str]] = {0: ("linear", "sum"), 1: ("quotient", "quotient"), 2: ("power", "power")}
        arity = pointers[working + 1] - pointers[working]
        op = ops[working]
        kinds[op == Op.DIV] = 1
        codes: dict[tuple[str, str, int], int] = {}

        def code(kind: str, name: str, width: int) -> int:
            key = (kind, name, width)
            if key not in codes:
                codes[key] = 3 + len(codes)
                names[codes[key]] = (kind, name)
            return codes[key]

        for width in distinct(arity[op == Op.MUL]).tolist():
            kinds[(op == Op.MUL) & (arity == width)] = code("product", "product", width)
        for position in np.flatnonzero((op == Op.POW) | (op == Op.CALL) | (op == Op.PIECEWISE)).tolist():
            node = int(working[position])
            width = int(arity[position])
            if op[position] == Op.CALL:
                name = graph.name(node)
                kinds[position] = code("call", f"generic-{name}" if name == "ln" and node in opaque else name, width)
            elif op[position] == Op.PIECEWISE:
                kinds[position] = code("call", "piecewise", width)
            else:
                exponent = graph.number_of(int(flat[pointers[node] + 1]))
                if exponent is not None and _is_whole(exponent):
                    kinds[position] = 2
                    exponents[position] = exponent.numerator
                else:
                    kinds[position] = code("call", "generic-power" if node in opaque else "power", 2)
        return kinds, names, exponents

    def _linear(
        self, members: Indices, out: slice, pointers: Indices, args: Indices, coefficients: Indices
    ) -> _NodeGroup:
        lengths = pointers[members + 1] - pointers[members]
        entries = ranges(pointers[members], lengths)
        slots = self.slot_of[args[entries]]
        sources, columns = np.unique(slots, return_inverse=True)
        rows = np.repeat(np.arange(len(members)), lengths)
        shape = (len(members), len(sources))
        matrix = SparseMatrix.of(coefficients[entries], rows, columns, shape)
        empty = np.empty((0, len(members)), dtype=np.int64)
        return _NodeGroup("linear", out, "sum", empty, sources, matrix, matrix.transposed(), empty[:0, 0])

    @staticmethod
    def _other(kind: str, name: str, out: slice, args: Indices, exponents: Indices) -> _NodeGroup:
        sources, columns = np.unique(args.ravel(), return_inverse=True)
        entries = np.arange(args.size)
        ones = np.ones(args.size, dtype=np.int64)
        scatter = SparseMatrix.of(ones, columns.ravel(), entries, (len(sources), args.size))
        return _NodeGroup(kind, out, name, args, sources, None, scatter, exponents)


def _levels(working: Indices, pointers: Indices, args: Indices, count: int) -> Indices:
    """Length of the longest way down to a leaf, for the working nodes (Kahn's algorithm, a level a round)."""
    if not len(working):
        return np.empty(0, dtype=np.int64)
    is_working = np.zeros(count, dtype=np.bool_)
    is_working[working] = True
    lengths = pointers[working + 1] - pointers[working]
    users = np.repeat(working, lengths)
    used = args[ranges(pointers[working], lengths)]
    keep = is_working[used]
    users, used = users[keep], used[keep]
    order = np.argsort(used, kind="stable")
    users, used = users[order], used[order]
    first = np.searchsorted(used, np.arange(count + 1))
    waiting = np.bincount(users, minlength=count)
    level = np.zeros(count, dtype=np.int64)
    frontier = working[waiting[working] == 0]
    depth = 1
    while len(frontier):
        level[frontier] = depth
        depth += 1
        met = users[ranges(first[frontier], first[frontier + 1] - first[frontier])]
        touched, times = np.unique(met, return_counts=True)
        waiting[touched] -= times
        frontier = touched[waiting[touched] == 0]
    return level[working]
