"""The smallest exact constrained lumping, by random vector–Jacobian products over GF(p).

The smallest row space that holds the gradients of the observables and is closed under r ↦ r·J(x) for every x is found
without ever forming J: a random combination r of the rows present is pulled back through the right-hand side at a
random point; what is left modulo the space is a new row. The reduced row echelon form modulo one or more primes is
lifted to Q by rational reconstruction, or, where its entries are too long for that, short integer rows are found by
lattice reduction (:mod:`sbmlump.linalg.basis`). Nothing here is trusted: :mod:`sbmlump.proof.claims` proves the
result.

References
----------
Li and Rabitz, Chem. Eng. Sci. 44 (1989), doi 10.1016/0009-2509(89)85014-6: rowsp(LJ(x)) ⊆ rowsp(L).
Ovchinnikov, Pérez Verona, Pogudin, Tribastone, Bioinformatics 37 (2021), doi 10.1093/bioinformatics/btab010:
Lemma I.1, the dimension modulo p never exceeds the one over Q.
Jiménez-Pastor, Jacob, Pogudin, CMSB 2022, arXiv 2201.13373: sampling for rational systems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from sbmlump.arrays import Indices
from sbmlump.errors import LimitError, Reason
from sbmlump.linalg.basis import short_integer_rows
from sbmlump.linalg.connected import components
from sbmlump.linalg.finite_field import Confirmed, Residues, RowSpace, SparseResidues, has_residues, single_threaded
from sbmlump.model.domains import BadPrimeError, PrimeField, below
from sbmlump.model.graph import Graph, Node
from sbmlump.model.program import Program, branched_nodes, row_colours, where_defined
from sbmlump.model.properties import with_double_constants
from sbmlump.model.sparse import SparseMatrix
from sbmlump.proof.real_points import with_positive_arguments

__all__ = [
    "ClosureProblem",
    "LiftedSpace",
    "SpaceSettings",
    "invariant_dimension",
    "smallest_invariant_space",
]


@dataclass(frozen=True, slots=True)
class SpaceSettings:
    """How the smallest space is searched and lifted to Q. None of these can make a result wrong: it is proved later.

    Attributes
    ----------
    misses : int
        Consecutive misses that end the search. The proof decides; this only saves a second try.
    most_work : int
        Elementary operations that the lift to Q may take, about half a minute: entries of some hundred digits for a
        hundred states. Longer ones are of no use to anyone. A sweep costs the slots of the program times its width, and
        the rows times the columns of the space times the width.
    overhead : int
        Operations at which what Python itself costs is put for each sweep.
    row_overhead : int
        The same for a row of a chain: two sparse products.
    prime_bits : int
        One BLAS product a step (see ``matmul_mod``); the proof uses 31 bits.
    long_prime_bits : int
        Of the primes from number ``few_primes`` on: a step costs more, but large coefficients need a quarter fewer.
    few_primes : int
    lattice_primes : tuple of int
        Numbers of primes at which short rows are looked for where the echelon form is not lifted yet: below the first
        an entry has 40 digits at most and is lifted soon; each reduction takes some ten seconds for a hundred columns.
    dimension_primes : int
        Tried for the size alone.
    most_bad_primes : int
        A prime of 23 bits is bad with a probability of about 1e-5.
    sweep_bytes : int
        Memory of one backward sweep.
    widest_sweep : int
        Columns of one: more bring no further gain per column.
    shortest_chain, longest_chain : int
        Rows r, rJ, rJ², … that are reduced together where the Jacobian J is one matrix: twice as many each time, as
        most spaces are small; at the longest, matrix products cost what they cost for longer ones.
    """

    misses: int = 3
    most_work: int = 20_000_000_000
    overhead: int = 1_000_000
    row_overhead: int = 40_000
    prime_bits: int = 23
    long_prime_bits: int = 31
    few_primes: int = 8
    lattice_primes: tuple[int, ...] = (12, 18, 32)
    dimension_primes: int = 8
    most_bad_primes: int = 200
    sweep_bytes: int = 256 << 20
    widest_sweep: int = 64
    shortest_chain: int = 8
    longest_chain: int = 256


@dataclass(frozen=True)
class ClosureProblem:
    """What has to be closed: the vector fields under which rows move, and the rows that must be inside.

    Attributes
    ----------
    graph : Graph
    variables : tuple of Node
        Columns: symbols of states first, then of symbolic parameters, then time. q in number.
    n_states : int
        The first columns, those with a derivative.
    rhs : tuple of Node
        One for each state column: a row r moves to Σ r_i ∇rhs_i.
    resets : tuple of tuple of Node
        Further maps with one component a state column (what an event does to the state); rows move alike.
    seeds : tuple of Node
        Expressions whose gradients, at every point, must lie in the space.
    opaque : frozenset of Node
        Logarithms and powers of whose derivatives nothing is to be known, see :class:`~sbmlump.model.program.Program`.
    """

    graph: Graph
    variables: tuple[Node, ...]
    n_states: int
    rhs: tuple[Node, ...]
    seeds: tuple[Node, ...]
    resets: tuple[tuple[Node, ...], ...] = ()
    opaque: frozenset[Node] = frozenset()

    def with_double_constants(self) -> ClosureProblem | None:
        """The problem with irrational constants replaced by the doubles nearest to them; ``None`` without any."""
        roots, replaced = with_double_constants(
            self.graph, [*self.rhs, *self.seeds, *(node for reset in self.resets for node in reset)]
        )
        return self._with_roots(roots) if replaced else None

    def with_positive_arguments(self) -> ClosureProblem | None:
        """The problem with arguments of roots as powers of these; ``None`` if nothing changes.

        As long as derivatives of logarithms and powers are taken for known here, they are there, too; where some are
        not, none is there, and what is found holds on the whole domain (see :mod:`sbmlump.proof.real_points`).
        """
        roots = [*self.rhs, *self.seeds, *(node for reset in self.resets for node in reset)]
        if not branched_nodes(self.graph, roots):
            return None
        rewritten = with_positive_arguments(self.graph, roots)
        if rewritten == roots:
            return None
        opaque = branched_nodes(self.graph, rewritten) if self.opaque else frozenset[Node]()
        return replace(self._with_roots(rewritten), opaque=opaque)

    def _with_roots(self, roots: Sequence[Node]) -> ClosureProblem:
        """Other expressions in place of those here: right-hand side, seeds, resets."""
        n, start = self.n_states, self.n_states + len(self.seeds)
        resets = tuple(tuple(roots[start + k * n : start + (k + 1) * n]) for k in range(len(self.resets)))
        return replace(self, rhs=tuple(roots[:n]), seeds=tuple(roots[n:start]), resets=resets)

    def roots(self) -> list[Node]:
        """All expressions: seeds, right-hand side, resets."""
        return [*self.seeds, *self.rhs, *(node for reset in self.resets for node in reset)]

    def restricted(self) -> tuple[ClosureProblem, Indices, Program]:
        """The same problem on the states that influence the seeds, the columns that were kept, and its program.

        The dependency graph bounds the space from above: columns that no path leads to stay zero.
        """
        n = self.n_states
        maps = (self.rhs, *self.resets)
        program = Program(self.graph, self.roots(), self.variables, self.opaque)
        pattern = program.dependencies().first_columns(n)
        count = len(self.seeds)
        # the last node stands for the seeds
        nodes = np.concatenate([np.full(count, n), np.tile(np.arange(n), len(maps))])
        steps = SparseMatrix.of(pattern.data, nodes[pattern.owners], pattern.indices, (n + 1, n + 1))
        reached = below(np.array([n]), steps.indptr, steps.indices, np.zeros(n + 1, dtype=np.bool_))
        states = reached[reached < n]
        columns = np.concatenate([states, np.arange(n, len(self.variables))])
        if len(states) == n:
            return self, columns, program
        smaller = ClosureProblem(
            self.graph,
            tuple(self.variables[j] for j in columns),
            len(states),
            tuple(self.rhs[j] for j in states),
            self.seeds,
            tuple(tuple(reset[j] for j in states) for reset in self.resets),
            self.opaque,
        )
        return smaller, columns, Program(self.graph, smaller.roots(), smaller.variables, self.opaque)


@dataclass(frozen=True, slots=True)
class LiftedSpace:
    """A space over Q: its reduced row echelon form, or short rows where that is too long.

    Attributes
    ----------
    rows : tuple of mappings column → Fraction
        In order of their pivots; the pivot's entry is 1. In a component (rows connected by common columns) whose
        echelon form is too long to be lifted: short integer rows that span the same space instead.
    pivots : tuple of int
        Columns on which the rows are an invertible square.
    primes : tuple of int
        Primes used to find it.
    """

    rows: tuple[Mapping[int, Fraction], ...]
    pivots: tuple[int, ...]
    primes: tuple[int, ...]


class _SpaceSearch:
    """The search over one prime."""

    def __init__(
        self,
        problem: ClosureProblem,
        program: Program,
        generator: np.random.Generator,
        settings: SpaceSettings,
        bits: int | None = None,
    ) -> None:
        self._settings = settings
        self._problem = problem
        self._program = program
        self._generator = generator
        self._field = PrimeField.random(generator, bits or settings.prime_bits)
        self._width = max(1, min(settings.widest_sweep, settings.sweep_bytes // (32 * max(program.size, 1))))
        self.space = RowSpace(len(problem.variables), self._field.prime)
        self.work = 0

    @property
    def prime(self) -> int:
        return self._field.prime

    def run(self) -> RowSpace:
        """Grow the space from the seeds until some random sweeps in a row bring nothing new."""
        problem, space = self._problem, self.space
        self._seed()
        n = problem.n_states
        rates = slice(len(problem.seeds), len(problem.seeds) + n)
        if not problem.resets and self._program.jacobian_is_constant(rates):
            self._follow_chains(self._jacobian(rates))
            return space
        maps = 1 + len(problem.resets)
        misses = 0
        while misses < self._settings.misses and self._states_missing():
            width = min(self._width, max(4, len(space) // 2))
            new_rows = 0
            for k in range(maps):
                weights = np.zeros((len(self._program.roots), width), dtype=np.int64)
                low = len(problem.seeds) + k * n
                weights[low : low + n] = self._combinations(width)
                new_rows += space.extend(self._pull(weights).T)
            misses = 0 if new_rows else misses + width
        return space

    def _jacobian(self, roots: slice) -> SparseResidues:
        """The Jacobian of some roots where it is the same at all points."""
        program, field = self._program, self._field
        pattern = program.dependencies().rows(np.arange(roots.start, roots.stop))
        colours, count = row_colours(pattern, fullest_first=True)
        rows, columns = pattern.owners, pattern.indices
        values = np.zeros(len(rows), dtype=np.int64)
        for low in range(0, count, self._width):
            width = min(self._width, count - low)
            weights = np.zeros((len(program.roots), width), dtype=np.int64)
            chosen = np.flatnonzero((colours >= low) & (colours < low + width))
            weights[roots.start + chosen, colours[chosen] - low] = 1
            swept = self._pull(weights)
            here = np.flatnonzero((colours[rows] >= low) & (colours[rows] < low + width))
            values[here] = swept[columns[here], colours[rows[here]] - low]
        return SparseResidues(rows, columns, values, pattern.shape, field.prime)

    def _follow_chains(self, jacobian: SparseResidues) -> None:
        """Close the space under one matrix J: from each row r present follow r, rJ, rJ², … until nothing new comes.

        What a linear vector field makes of a random combination of all rows is one new dimension, however many
        combinations are tried; a chain of k rows brings up to k, and they are reduced together.
        """
        n, settings = self._problem.n_states, self._settings
        for row in self.space.rows.copy():
            length, new = settings.shortest_chain, 1
            while new and self._states_missing():
                chain = np.empty((length, self.space.width), dtype=np.int64)
                for k in range(length):
                    chain[k] = row = jacobian.after(row[:n])
                self._spend(length, jacobian.entries + settings.row_overhead)
                new = self.space.extend(chain)
                # the first row that depends on those before it ends the chain
                new = new if new == length else 0
                length = min(2 * length, settings.longest_chain)

    def _states_missing(self) -> bool:
        """Whether the space could still grow: some state column is not a pivot yet or constants are tracked."""
        return len(self.space) < len(self._problem.variables) or not len(self.space)

    def _seed(self) -> None:
        for position in range(len(self._problem.seeds)):
            misses = 0
            while misses < self._settings.misses:
                weights = np.zeros((len(self._program.roots), 4), dtype=np.int64)
                weights[position] = 1
                misses = 0 if self.space.extend(self._pull(weights).T) else misses + 4

    def _combinations(self, width: int) -> Residues:
        """Random combinations of the rows present, state part, (n_states, width)."""
        combined = self.space.random_combinations(self._generator, width)
        return combined[:, : self._problem.n_states].T

    def _spend(self, columns: int, operations: int) -> None:
        """Count so many rows that take so many operations each and are then reduced against the space."""
        self.work += self._settings.overhead + columns * (operations + len(self.space) * self.space.width)

    def _pull(self, weights: Residues) -> Residues:
        """Pull rows back at fresh random points; columns where something is undefined are dropped."""
        width = weights.shape[1]
        self._spend(width, self._program.size)
        return where_defined(
            self._program,
            self._field,
            lambda: self._field.draw(self._generator, len(self._program.inputs), width),
            lambda tape: self._program.pull_back(self._field, tape, weights),
            "a denominator of the right-hand side or of an observable is zero everywhere",
        )


def smallest_invariant_space(
    problem: ClosureProblem,
    seed: int = 0,
    *,
    more_primes: int = 0,
    most_primes: int | None = None,
    settings: SpaceSettings = SpaceSettings(),
) -> tuple[LiftedSpace, ClosureProblem, Indices]:
    """Find the smallest space and lift it to Q.

    Parameters
    ----------
    problem : ClosureProblem
    seed : int
        Of the random numbers.
    more_primes : int
        Use at least this many primes beyond the first before believing a reconstruction.
    most_primes : int, optional
        Give up beyond this many; without, the work alone is bounded.
    settings : SpaceSettings

    Returns
    -------
    space : LiftedSpace
        Over the columns of the restricted problem.
    restricted : ClosureProblem
    columns : ndarray of int64
        Which columns of ``problem`` the restricted problem has.

    Raises
    ------
    LimitError
        If the entries are too large to be reconstructed with so much work (``coefficients-too-large``).
    UnsupportedModelError
        If the right-hand side is undefined everywhere.
    """
    restricted, columns, program = problem.restricted()
    generator = np.random.default_rng([seed, 0x5B31])
    lift = _Lift(restricted.n_states)
    work = failures = 0
    most = math.inf if most_primes is None else most_primes
    while lift.primes < most and work < settings.most_work and failures < settings.most_bad_primes:
        few = lift.primes < settings.few_primes
        bits = settings.prime_bits if few else settings.long_prime_bits
        search = _SpaceSearch(restricted, program, generator, settings, bits)
        if search.prime in lift:
            continue
        try:
            with single_threaded():  # the products are small: threads that wait for each other cost more than they save
                rows, pivots = search.run().sorted_rows()
        except BadPrimeError:
            failures += 1
            continue
        work += search.work
        if not lift.add(rows, pivots, search.prime):
            failures += 1
            continue
        if lift.primes <= more_primes:
            continue
        lifted = lift.lifted()
        if lifted is None and lift.primes in settings.lattice_primes:
            lifted = lift.with_short_rows()
        if lifted is not None:
            return lifted, restricted, columns
    raise LimitError(
        Reason(
            "coefficients-too-large",
            f"a lumping with {lift.states} of {problem.n_states} states exists, but its coefficients have so many "
            f"digits that {lift.primes} primes do not suffice for them; observe other quantities, or use "
            "'--method approximate'",
        )
    )


def invariant_dimension(problem: ClosureProblem, seed: int = 0, settings: SpaceSettings = SpaceSettings()) -> int:
    """State columns that the smallest space has as pivots, modulo one prime.

    Never more than over Q (Lemma I.1), and with a probability of about 1 − 2⁻²³ a pivot the same: the size of the
    exact lumping without its coefficients and without a proof.

    Raises
    ------
    UnsupportedModelError
        If the right-hand side is undefined everywhere.
    """
    restricted, _, program = problem.restricted()
    generator = np.random.default_rng([seed, 0x5B31])
    for _ in range(settings.dimension_primes):
        try:
            with single_threaded():
                _, pivots = _SpaceSearch(restricted, program, generator, settings).run().sorted_rows()
        except BadPrimeError:
            continue
        return int((pivots < restricted.n_states).sum())
    return restricted.n_states


class _Lift:
    """Spaces modulo primes, and the rational entries that they are the residues of, confirmed by one of the primes."""

    def __init__(self, n_states: int) -> None:
        self._n_states = n_states
        self._spaces: list[tuple[Residues, Residues, int]] = []
        self._hardest: tuple[int, int] | None = None  # the entry that could not be reconstructed last time
        self._known: dict[tuple[int, int], tuple[Fraction, int]] = {}  # entries, and the number of primes behind them

    def __contains__(self, prime: int) -> bool:
        return any(prime == known for _, _, known in self._spaces)

    @property
    def primes(self) -> int:
        """Number of primes that agree."""
        return len(self._spaces)

    @property
    def states(self) -> int:
        """Pivots among the columns of states: lumps."""
        return int((self._spaces[0][1] < self._n_states).sum()) if self._spaces else 0

    def add(self, rows: Residues, pivots: Residues, prime: int) -> bool:
        """Add a space; ``False`` if it, or those before it, turned out to belong to bad primes.

        A larger dimension or earlier pivots win (Lemma I.1).
        """
        if self._spaces:
            old_key = (-len(self._spaces[0][1]), tuple(self._spaces[0][1].tolist()))
            new_key = (-len(pivots), tuple(pivots.tolist()))
            if new_key > old_key:
                return False
            if new_key < old_key:
                self._spaces = []
                self._hardest = None
                self._known = {}
        self._spaces.append((rows, pivots, prime))
        return True

    def lifted(self) -> LiftedSpace | None:
        """The rational rows, or ``None`` if more primes are needed; a hopeless attempt costs one entry."""
        primes = [prime for _, _, prime in self._spaces]
        restore = Confirmed(primes)
        if self._hardest is not None and self._value(restore, self._hardest) is None:
            return None
        first = self._spaces[0][0]
        nonzero = np.zeros(first.shape, dtype=np.bool_)
        for rows, _, _ in self._spaces:
            nonzero |= rows != 0
        i, j = np.nonzero(nonzero)
        table = np.stack([rows[i, j] for rows, _, _ in self._spaces], axis=1)
        _, places, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
        values: list[Fraction] = []
        for place in places.tolist():
            value = self._value(restore, (int(i[place]), int(j[place])))
            if value is None:
                self._hardest = int(i[place]), int(j[place])
                return None
            values.append(value)
        rows_out: list[dict[int, Fraction]] = [{} for _ in range(len(first))]
        for row, column, index in zip(i.tolist(), j.tolist(), inverse.ravel().tolist(), strict=True):
            rows_out[row][column] = values[index]
        pivots = tuple(int(pivot) for pivot in self._spaces[0][1])
        return LiftedSpace(tuple(rows_out), pivots, tuple(primes))

    def with_short_rows(self) -> LiftedSpace | None:
        """As :meth:`lifted`, with short integer rows for the components whose entries are too long."""
        primes = [prime for _, _, prime in self._spaces]
        restore = Confirmed(primes)
        first, pivots, _ = self._spaces[0]
        nonzero = np.logical_or.reduce([rows != 0 for rows, _, _ in self._spaces])
        supports = [np.flatnonzero(row).tolist() for row in nonzero]
        leads = [int(pivot) for pivot in pivots]
        out: list[Mapping[int, Fraction]] = [{} for _ in range(len(first))]
        for group in components(supports, leads):
            rows = self._echelon_rows(restore, group, supports) or self._short_rows(group, supports, leads)
            if rows is None:
                return None
            for i, row in zip(group, rows, strict=True):
                out[i] = row
        return LiftedSpace(tuple(out), tuple(leads), tuple(primes))

    def _echelon_rows(
        self, restore: Confirmed, group: Sequence[int], supports: Sequence[Sequence[int]]
    ) -> list[dict[int, Fraction]] | None:
        out: list[dict[int, Fraction]] = []
        for i in group:
            row: dict[int, Fraction] = {}
            for j in supports[i]:
                value = self._value(restore, (i, j))
                if value is None:
                    return None
                row[j] = value
            out.append(row)
        return out

    def _short_rows(
        self, group: Sequence[int], supports: Sequence[Sequence[int]], leads: Sequence[int]
    ) -> list[dict[int, Fraction]] | None:
        """Short rows of one component; not where it holds rows of constants alone beside others."""
        if len({leads[i] < self._n_states for i in group}) > 1:
            return None
        columns = sorted({j for i in group for j in supports[i]})
        place = {j: k for k, j in enumerate(columns)}
        short = short_integer_rows(
            [(rows[np.ix_(group, columns)], prime) for rows, _, prime in self._spaces],
            [place[leads[i]] for i in group],
        )
        if short is None:
            return None
        return [{columns[k]: Fraction(value) for k, value in row.items()} for row in short]

    def _value(self, restore: Confirmed, entry: tuple[int, int]) -> Fraction | None:
        """The rational whose residues stand at an entry.

        One that was found before stays as long as the primes that came since confirm it, too.
        """
        residues = [(int(rows[entry]), prime) for rows, _, prime in self._spaces]
        known = self._known.get(entry)
        if known is not None and has_residues(known[0], residues[known[1] :]):
            return known[0]
        value = restore([residue for residue, _ in residues])
        if value is not None and len(residues) > 1:
            self._known[entry] = value, len(residues)
        return value
