"""Right-hand sides as functions of many points at once: values, Jacobians, transposed products.

A field is autonomous: where the model mentions time, time is its last component, with rate 1. Each point says to which
*run* it belongs, since runs may differ in the values of constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics import compiled
from sbmlump.errors import LimitError, Reason
from sbmlump.linalg.polynomial import Monomial, expand_doubles
from sbmlump.model.domains import OneProgramDomain
from sbmlump.model.graph import Graph, Node
from sbmlump.model.program import Program, Tape, row_colours
from sbmlump.stopping import stop_request

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sbmlump.dynamics.kernels import Tables

__all__ = [
    "VectorField",
    "ProgramField",
    "QuadraticField",
    "field_of",
    "QuadraticForm",
    "quadratic_form",
    "CALL",
    "PRODUCT",
    "Budget",
    "StopRequestedError",
    "WorkLimitError",
]


# -- How much work integrations may do -------------------------------------------------------------

# A *unit* stands for a thousand million elementary operations, about a second of one core by the compiled engine: what
# a step costs is estimated from the size of the right-hand side, never measured by a clock, and the same whichever
# engine makes it, so that a search that is ended by its limit ends at the same place everywhere.


CALL: Final = 1e4  # operations that one call of an array routine is worth, however small its arrays
PRODUCT: Final = 0.3  # operations that a multiplication within a matrix product is worth
_UNIT: Final = 1e9  # operations in a unit of work


class WorkLimitError(LimitError):
    """The work that was allowed is used up."""


class StopRequestedError(WorkLimitError):
    """The work has been asked to stop: see :mod:`sbmlump.stopping`."""


class Budget:
    """Counts work up to a limit.

    Parameters
    ----------
    limit : float
        In units; infinite by default.
    stoppable : bool
        Whether a request to stop ends the work, too: where what has been found until then is kept.
    """

    def __init__(self, limit: float = float("inf"), *, stoppable: bool = False) -> None:
        self.limit = limit
        self.spent = 0.0
        self.stoppable = stoppable

    def add(self, operations: float) -> None:
        """Count elementary operations.

        Raises
        ------
        WorkLimitError
            If the limit has been passed.
        StopRequestedError
            If the work has been asked to stop.
        """
        if self.stoppable and (reason := stop_request()) is not None:
            raise StopRequestedError(reason)
        self.spent += operations / _UNIT
        if self.spent > self.limit:
            raise WorkLimitError(
                Reason("work-limit", f"the {self.limit:g} units of work that are allowed were used up (--work)")
            )


# -- Right-hand sides of degree at most two as sparse tables ---------------------------------------

# Right-hand sides of degree at most two as sparse tables, read off the expression graph.


_HELD: Final = 1 << 20  # numbers of a table of products, as a processor keeps at hand; more points are done in turns


@dataclass(frozen=True, slots=True)
class QuadraticForm:
    """r components a + A·x + Q·(x_i x_j)_(i, j) over n variables, as doubles.

    Attributes
    ----------
    constant : ndarray (r,)
    linear : sparse (r, n)
    products : sparse (r, P)
        Coefficients of the P products ``x[left]·x[right]``.
    left, right : ndarray of int64 (P,)
    """

    constant: Array
    linear: csr_array
    products: csr_array
    left: Indices
    right: Indices

    def values(self, x: Array) -> Array:
        """Components at k points, (k, n) to (k, r)."""
        together = max(1, _HELD // (len(self.left) + len(self.constant) + x.shape[1]))
        if len(x) > together:
            out = np.empty((len(x), len(self.constant)))
            for low in range(0, len(x), together):
                out[low : low + together] = self.values(x[low : low + together])
            return out
        columns = x.T
        found = self.linear @ columns + self.constant[:, None]
        if len(self.left):
            found += self.products @ (columns[self.left] * columns[self.right])
        return np.ascontiguousarray(found.T)


def quadratic_form(graph: Graph, roots: Sequence[Node], variables: Sequence[Node]) -> QuadraticForm | None:
    """``roots`` as polynomials of degree at most two in ``variables``, or ``None`` where they are not.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Without any symbol but those of ``variables``.
    variables : sequence of Node
    """
    place = {graph.name(node): i for i, node in enumerate(variables)}
    polynomials = expand_doubles(graph, roots, place)
    return None if polynomials is None else _tables(polynomials, place)


def _tables(polynomials: Sequence[Mapping[Monomial, float]], place: Mapping[str, int]) -> QuadraticForm:
    r, n = len(polynomials), len(place)
    constant = np.zeros(r)
    linear: list[tuple[int, int, float]] = []
    products: list[tuple[int, int, float]] = []
    pairs: dict[tuple[int, ...], int] = {}
    for i, polynomial in enumerate(polynomials):
        for monomial, c in polynomial.items():
            factors = tuple(sorted(place[name] for name, exponent in monomial for _ in range(exponent)))
            if not c:
                continue
            if not factors:
                constant[i] = c
            elif len(factors) == 1:
                linear.append((i, factors[0], c))
            else:
                products.append((i, pairs.setdefault(factors, len(pairs)), c))
    table = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    return QuadraticForm(
        constant, _sparse(linear, (r, n)), _sparse(products, (r, len(pairs))), table[:, 0], table[:, 1]
    )


def _sparse(entries: list[tuple[int, int, float]], shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array

    rows, columns, data = ([e[k] for e in entries] for k in range(3))
    return csr_array((np.array(data, dtype=np.float64), (rows, columns)), shape=shape)


# -- Right-hand sides as functions of many points at once ------------------------------------------


_SLOT: Final = 5  # operations that a node of a program is worth, with what it takes to read and write it
_BYTES: Final = 192 << 20  # of a tape; more points are done in turns


class VectorField(Protocol):
    """dx/ds = rates(x), n components."""

    size: int
    timed: bool

    def rates(self, x: Array, run: Indices) -> Array:
        """Rates at k points: (k, n) and the run of each (k,) to (k, n)."""
        ...

    def jacobians(self, x: Array, run: Indices) -> Array:
        """Jacobians at k points, (k, n, n)."""
        ...

    def left_products(self, x: Array, run: Indices, rows: Array) -> Array:
        """Row vectors times Jacobian: rows (k, q, n) to (k, q, n)."""
        ...

    def sparse_jacobian(self, x: Array, run: int) -> csr_array:
        """Jacobian at one point, sparse (n, n)."""
        ...

    def sparse_jacobian_work(self) -> float:
        """Elementary operations of a sparse Jacobian at one point."""
        ...

    def step_work(self, rows: int | None = None) -> float:
        """Elementary operations of six rates and a Jacobian; with so many rows times it instead of all of it."""
        ...

    def rate_work(self) -> float:
        """Elementary operations of the rates at one point."""
        ...


def field_of(
    graph: Graph,
    rhs: Sequence[Node],
    states: Sequence[str],
    constants: Mapping[str, Node],
    free: Mapping[str, Array] | None = None,
) -> VectorField:
    """The field of dx/dt = rhs.

    Parameters
    ----------
    graph : Graph
    rhs : sequence of Node
        One for each state.
    states : sequence of str
        Ids.
    constants : mapping of str to Node
        Values of constants, free of symbols.
    free : mapping of str to array (runs,), optional
        Constants whose values differ between runs.
    """
    free = free or {}
    mapping = {graph.symbol(name): node for name, node in constants.items() if name not in free}
    bound = graph.substitute(rhs, mapping)
    timed = graph.depends_on_time(bound)
    variables = [graph.symbol(name) for name in states]
    if not timed and not free:
        form = quadratic_form(graph, bound, variables)
        if form is not None:
            return QuadraticField(form)
    inputs = [*variables, graph.time()] if timed else variables
    roots = [*bound, graph.number(1)] if timed else bound
    names = sorted(graph.symbols(bound) & set(free))
    table = np.stack([free[name] for name in names]) if names else np.empty((0, 0))
    return ProgramField(Program(graph, roots, [*inputs, *(graph.symbol(name) for name in names)]), table, timed)


def at_time_zero(states: Array, timed: bool) -> Array:
    """Initial states (r, n), with time appended where that is a state."""
    return np.concatenate([states, np.zeros((len(states), 1))], axis=1) if timed else states


class QuadraticField:
    """A field of degree at most two: a few sparse products a call."""

    def __init__(self, form: QuadraticForm) -> None:
        from scipy.sparse import csr_array

        self.form = form
        self.size = len(form.constant)
        self.timed = False
        n = self.size
        # J = A + Σ over products (i, j) of Q[:, ij]·(x_j e_i + x_i e_j): entries are affine functions of x
        q = form.products.tocoo()
        rows = np.concatenate([q.row, q.row]).astype(np.int64)
        columns = np.concatenate([form.left[q.col], form.right[q.col]])
        factors = np.concatenate([form.right[q.col], form.left[q.col]])
        a = form.linear.tocoo()
        keys = np.concatenate([a.row.astype(np.int64) * n + a.col, rows * n + columns])
        self._places, position = np.unique(keys, return_inverse=True)
        position = position.ravel()
        self._base = np.zeros(len(self._places))
        np.add.at(self._base, position[: a.nnz], a.data)
        self._slopes = csr_array(
            (np.concatenate([q.data, q.data]), (position[a.nnz :], factors)), shape=(len(self._places), n)
        )
        self._rows, self._columns = self._places // n, self._places % n
        self._pointers = np.searchsorted(self._rows, np.arange(n + 1))
        parts = form.constant, form.linear, form.products, form.left, form.right
        jacobian = self._rows, self._columns, self._base, self._slopes
        # no method of this field: what it is held by would never be given back before cycles are looked for
        self._engine = compiled.FieldTables(partial(compiled.quadratic_tables, *parts, *jacobian))

    def tables(self) -> Tables | None:
        """For the compiled engine."""
        return self._engine.tables

    def followed(self, steps: int) -> None:
        """So many steps were made with its tables."""
        self._engine.followed(steps)

    def rates(self, x: Array, run: Indices) -> Array:
        """Rates at k points, (k, n)."""
        return self.form.values(x)

    def jacobians(self, x: Array, run: Indices) -> Array:
        """Jacobians at k points, (k, n, n)."""
        out = np.zeros((len(x), self.size * self.size))
        out[:, self._places] = (self._slopes @ x.T + self._base[:, None]).T
        return out.reshape(len(x), self.size, self.size)

    def left_products(self, x: Array, run: Indices, rows: Array) -> Array:
        """Row vectors times Jacobian, (k, q, n)."""
        if (tables := self._engine.tables) is not None:
            return compiled.left_products(tables, x, run, rows)
        return np.asarray(rows @ self.jacobians(x, run))

    def sparse_jacobian(self, x: Array, run: int) -> csr_array:
        """Jacobian at one point, sparse (n, n)."""
        from scipy.sparse import csr_array

        data = self._slopes @ x + self._base
        return csr_array((data, self._columns, self._pointers), shape=(self.size, self.size))

    def sparse_jacobian_work(self) -> float:
        """Elementary operations of a sparse Jacobian at one point."""
        return 2.0 * self._slopes.nnz

    def rate_work(self) -> float:
        """Elementary operations of the rates at one point."""
        return 2.0 * (self.form.products.nnz + self.form.linear.nnz + 3 * len(self.form.left))

    def step_work(self, rows: int | None = None) -> float:
        """Elementary operations of six rates and a Jacobian, or so many rows times it."""
        product = self.size**2 if rows is None else rows * len(self._places)
        return 6 * self.rate_work() + 2 * self._slopes.nnz + product


class ProgramField:
    """Any field, by its program; Jacobians by backward sweeps with coloured rows."""

    def __init__(self, program: Program, free: Array, timed: bool) -> None:
        self.program = program
        self._domain = OneProgramDomain()
        self.timed = timed
        self.size = len(program.roots)
        self._free = free
        pattern = program.dependencies().first_columns(self.size)
        self._rows, self._columns = pattern.owners, pattern.indices
        colour, colours = row_colours(pattern)
        self._colour, self._colours = np.maximum(colour, 0), max(1, colours)
        self._width = max(1, _BYTES // (24 * max(program.size, 1)))
        self._engine = compiled.FieldTables(partial(compiled.program_tables, program, free, self._rows, self._columns))

    def tables(self) -> Tables | None:
        """For the compiled engine."""
        return self._engine.tables

    def followed(self, steps: int) -> None:
        """So many steps were made with its tables."""
        self._engine.followed(steps)

    def rates(self, x: Array, run: Indices) -> Array:
        """Rates at k points, (k, n)."""
        if (tables := self._engine.tables) is not None:
            return compiled.rates(tables, x, run)
        blocks = [self.program.outputs(tape).T for tape, _ in self._tapes(x, run, 1)]
        return np.ascontiguousarray(np.concatenate(blocks)) if blocks else np.empty((0, self.size))

    def jacobians(self, x: Array, run: Indices) -> Array:
        """Jacobians at k points, (k, n, n)."""
        if (tables := self._engine.tables) is not None:
            return compiled.jacobians(tables, x, run)
        n, colours = self.size, self._colours
        out = np.zeros((len(x), n, n))
        for tape, block in self._tapes(x, run, colours):
            k = block.stop - block.start
            weights = np.zeros((n, k, colours))
            weights[np.arange(n), :, self._colour] = 1.0
            swept = self._pull(tape.repeated(colours), weights.reshape(n, k * colours))
            swept = swept[:n].reshape(n, k, colours)
            out[block, self._rows, self._columns] = swept[self._columns, :, self._colour[self._rows]].T
        return out

    def left_products(self, x: Array, run: Indices, rows: Array) -> Array:
        """Row vectors times Jacobian, (k, q, n)."""
        if (tables := self._engine.tables) is not None:
            return compiled.left_products(tables, x, run, rows)
        q, n = rows.shape[1], self.size
        if q > self._colours:
            with np.errstate(all="ignore"):
                return np.asarray(rows @ self.jacobians(x, run))
        out = np.empty((len(x), q, n))
        for tape, block in self._tapes(x, run, q):
            k = block.stop - block.start
            weights = np.ascontiguousarray(rows[block].transpose(2, 0, 1)).reshape(n, k * q)
            swept = self._pull(tape.repeated(q), weights)[:n]
            out[block] = swept.reshape(n, k, q).transpose(1, 2, 0)
        return out

    def sparse_jacobian(self, x: Array, run: int) -> csr_array:
        """Jacobian at one point, sparse (n, n)."""
        from scipy.sparse import csr_array

        dense = self.jacobians(x[None, :], np.array([run]))[0]
        data = dense[self._rows, self._columns]
        return csr_array((data, (self._rows, self._columns)), shape=(self.size, self.size))

    def sparse_jacobian_work(self) -> float:
        """Elementary operations of a sparse Jacobian at one point: forwards, and a sweep back for each colour."""
        return self.rate_work() + 2 * self._colours * self.program.size + self.size**2

    def rate_work(self) -> float:
        """Elementary operations of the rates at one point."""
        return float(self.program.size * _SLOT)

    def step_work(self, rows: int | None = None) -> float:
        """Elementary operations of six rates and a Jacobian, or so many rows times it."""
        sweeps = self._colours if rows is None else min(rows, self._colours)
        product = rows * len(self._rows) if rows is not None and rows > self._colours else 0
        return self.rate_work() * (6 + 1 + 1) + 2 * sweeps * self.program.size + product

    def _tapes(self, x: Array, run: Indices, copies: int) -> list[tuple[Tape[np.float64], slice]]:
        points = x.T
        if len(self._free):
            points = np.concatenate([points, self._free[:, run]])
        width = max(1, self._width // copies)
        found = []
        with np.errstate(all="ignore"):
            for low in range(0, points.shape[1], width):
                block = slice(low, min(low + width, points.shape[1]))
                found.append((self.program.run(self._domain, points[:, block]), block))
        return found

    def _pull(self, tape: Tape[np.float64], weights: Array) -> Array:
        with np.errstate(all="ignore"):
            return self.program.pull_back(self._domain, tape, weights)
