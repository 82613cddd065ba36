"""Exact reduced sizes for every state of a model as the observable, in one computation.

The space of a state depends on the states that stand in it by themselves. Random Jacobians modulo a prime are sampled
once. The span of each state's own row shows which other states its space holds for
certain (unit rows); what can be reached along such steps is a set of states, and two states with one set have one
space. Where the set is all that the state depends on, the space is that set and nothing is left to compute; elsewhere
the rest is closed under the sampled Jacobians as in :mod:`sbmlump.methods.exact.space`.

Sizes are those of :func:`sbmlump.methods.exact.lump.lump_exactly`, which proves them; nothing is proved here. A size
equal to the number of states needs no proof (the dimension modulo p never exceeds the one over Q); a smaller one is
wrong with a probability below the degree of the Jacobian over 2^22, to the third power.

References
----------
See :mod:`sbmlump.methods.exact.space`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sbmlump.arrays import Indices, Mask
from sbmlump.errors import SbmlumpError, UnsupportedModelError
from sbmlump.linalg.basis import choose_basis
from sbmlump.linalg.connected import components, reached
from sbmlump.linalg.finite_field import Residues, RowSpace, rows_from_residues, single_threaded
from sbmlump.linalg.rational import Row
from sbmlump.methods.exact.lump import amount_scale, closure_problem, lump_exactly
from sbmlump.methods.exact.space import ClosureProblem
from sbmlump.model.domains import BadPrimeError, PrimeField
from sbmlump.model.program import Program, Tape, branched_nodes, row_colours, where_defined
from sbmlump.model.reduced import LumpingMatrix, Observable
from sbmlump.model.sparse import SparseMatrix
from sbmlump.model.system import OdeSystem

__all__ = ["PerSpeciesSettings", "StateFailure", "StateSize", "exact_sizes", "per_species_sizes", "SampledJacobians"]


@dataclass(frozen=True, slots=True)
class PerSpeciesSettings:
    """How sizes for every state are found.

    Attributes
    ----------
    prime_bits : int
        Products of residues are summed in int64 and in doubles without overflow.
    sweep_cells : int
        Slots times columns of one backward sweep: 32 MB.
    most_samples : int
        Jacobians sampled at once, as long as a sweep holds them.
    misses : int
        Consecutive samples that bring nothing new, as in :class:`~sbmlump.methods.exact.space.SpaceSettings`.
    most_samples_a_row : int
        Jacobians from which the span of a state's own row is made; rows with more entries are left to the search.
    least_width, most_width : int
        Random combinations a sample: few confirm, many find.
    most_primes : tuple of (states, primes)
        For the coefficients of the rows, by the number of states; where they do not suffice, only the number of rows is
        given.
    basis_work : int
        rows · columns² of a component whose signs are looked for by linear programs.
    most_components : int
        Remembered at a time.
    most_states_in_sets : int
        Up to which what every state reaches is found at once and remembered, in 32 MB.
    """

    prime_bits: int = 23
    sweep_cells: int = 1 << 22
    most_samples: int = 8
    misses: int = 3
    most_samples_a_row: int = 12
    least_width: int = 4
    most_width: int = 64
    most_primes: tuple[tuple[int, int], ...] = ((60, 12), (200, 4), (1 << 62, 2))
    basis_work: int = 60_000
    most_components: int = 1_000
    most_states_in_sets: int = 1 << 14


class SampledJacobians:
    """Values of the Jacobian of all roots of a closure problem, at as many random points as are asked for.

    They are sampled once and shared by the searches for all states. Rows that touch different columns are pulled back
    together, so that a sample costs as many sweeps as there are colours, not as there are states.

    Attributes
    ----------
    prime : int
    indptr, indices : ndarray of int64
        Pattern of the Jacobian, roots (seeds, right-hand side, resets in turn) by states, as in CSR.
    """

    def __init__(
        self,
        problem: ClosureProblem,
        program: Program,
        generator: np.random.Generator,
        settings: PerSpeciesSettings = PerSpeciesSettings(),
    ) -> None:
        self._settings = settings
        self._program = program
        self._generator = generator
        self._field = PrimeField.random(generator, self._settings.prime_bits)
        self.prime: int = self._field.prime
        self.n: int = problem.n_states
        pattern = program.dependencies().first_columns(self.n)
        self.indptr: Indices = pattern.indptr
        self.indices: Indices = pattern.indices
        self._rows: Indices = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        self._colour, self._colours = row_colours(pattern, fullest_first=True)
        self._data: list[Residues] = []
        self._moves: dict[int, SparseMatrix] = {}

    def entries(self, position: int) -> Residues:
        """Entries, in the order of the pattern, at the sample of that number.

        Raises
        ------
        UnsupportedModelError
            If some denominator is zero everywhere (``undefined-right-hand-side``).
        BadPrimeError
            If the prime divides the denominator of a number.
        """
        while len(self._data) <= position:
            fitting = self._settings.sweep_cells // max(1, self._program.size * self._colours)
            self._sample(max(1, min(self._settings.most_samples, fitting)))
        return self._data[position]

    def moves(self, position: int, low: int, maps: int) -> SparseMatrix:
        """Transposed Jacobians of ``maps`` maps with n roots each, from root ``low`` on, at a sample; (maps·n, n)."""
        if position not in self._moves:
            n = self.n
            begin = self.indptr[low]
            rows = self._rows[begin:] - low
            targets = (rows // n) * n + self.indices[begin:]
            self._moves[position] = SparseMatrix.of(self.entries(position)[begin:], targets, rows % n, (maps * n, n))
        return self._moves[position]

    def _sample(self, count: int) -> None:
        """Add the entries at ``count`` fresh points; those where something is undefined are drawn again."""
        width = len(self._program.inputs)
        columns = where_defined(
            self._program,
            self._field,
            lambda: self._field.draw(self._generator, width, count),
            self._sweep,  # slopes may be undefined where values are not: it marks those points too
            "a denominator of the right-hand side is zero everywhere",
        )
        self._data.extend(columns.T)

    def _sweep(self, tape: Tape[np.int64]) -> Residues:
        """Entries at every point of a tape, one column a point."""
        count = tape.values.shape[1]
        colours = max(1, min(self._colours, self._settings.sweep_cells // max(1, self._program.size * count)))
        out = np.zeros((count, len(self.indices)), dtype=np.int64)
        colour = self._colour[self._rows]
        for low in range(0, self._colours, colours):
            high = min(low + colours, self._colours)
            wide = tape.repeated(high - low)
            weights = np.zeros((len(self._colour), high - low), dtype=np.int64)
            swept = np.flatnonzero((self._colour >= low) & (self._colour < high))
            weights[swept, self._colour[swept] - low] = 1
            rows = self._program.pull_back(self._field, wide, np.tile(weights, (1, count)))
            tape.bad[:] |= wide.bad.reshape(count, high - low).any(axis=1)
            places = np.flatnonzero((colour >= low) & (colour < high))
            for k in range(count):
                out[k, places] = rows[self.indices[places], k * (high - low) + colour[places] - low]
        return out.T


# -- the spaces of all states -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateSize:
    """What is left of a model when one state is observed.

    Attributes
    ----------
    state : str
    size : int
        Number of states of the smallest exact lumping.
    singles : int
        Rows that are original states.
    proper : bool or None
        Whether no state is a member of two lumps; ``None`` if the rows were not made explicit.
    non_negative : bool or None
        Whether the rows are non-negative in the basis that the reduction would choose; ``None`` if unknown.
    kept : tuple of int
        Columns of the original states that are states of the small model.
    pools : tuple of rows or None
        The other rows, by column; ``None`` where their coefficients are too large or too costly to find.
    """

    state: str
    size: int
    proper: bool | None
    non_negative: bool | None
    kept: tuple[int, ...]
    pools: tuple[Row, ...] | None

    @property
    def singles(self) -> int:
        """Number of rows that are original states."""
        return len(self.kept)


@dataclass(frozen=True, slots=True)
class StateFailure:
    """A state whose lumping could not be found, with the error that ``lump_exactly`` would raise."""

    state: str
    error: SbmlumpError


def per_species_sizes(
    system: OdeSystem,
    states: Sequence[str] | None = None,
    seed: int = 0,
    settings: PerSpeciesSettings = PerSpeciesSettings(),
) -> Iterator[StateSize | StateFailure]:
    """Size, properness and signs of the smallest exact lumping for each state as the only observable.

    States come in an order of their dependencies, not in that of the system.

    Parameters
    ----------
    system : OdeSystem
    states : sequence of str, optional
        Which ones; all by default.
    seed : int
        Of the random numbers; sizes do not depend on it.
    settings : PerSpeciesSettings

    Raises
    ------
    UnsupportedModelError
        If no lumping of the system can be found whatever is observed (``missing-value``, ``event-not-lumpable``).
    """
    signs = _Signs(amount_scale(system), settings)
    for name, found in _spaces_of(system, states, seed, settings):
        if found is None:
            yield _by_whole_reduction(system, name, seed)
        else:
            with single_threaded():
                yield found.describe(name, system.state_index[name], signs)


def exact_sizes(
    system: OdeSystem,
    states: Sequence[str] | None = None,
    seed: int = 0,
    settings: PerSpeciesSettings = PerSpeciesSettings(),
) -> dict[str, int]:
    """Only the sizes that :func:`per_species_sizes` finds: no row is made explicit, states that fail are left out.

    Raises
    ------
    UnsupportedModelError
        As :func:`per_species_sizes`.
    """
    sizes: dict[str, int] = {}
    for name, found in _spaces_of(system, states, seed, settings):
        if found is not None:
            sizes[name] = found.size(system.state_index[name])
            continue
        whole = _by_whole_reduction(system, name, seed)
        if isinstance(whole, StateSize):
            sizes[name] = whole.size
    return sizes


def _spaces_of(
    system: OdeSystem, states: Sequence[str] | None, seed: int, settings: PerSpeciesSettings
) -> Iterator[tuple[str, _Spaces | None]]:
    """States with where their spaces are found; ``None``: by a whole reduction of its own."""
    wanted = tuple(system.states if states is None else states)
    problem = closure_problem(system, (), frozenset())
    try:
        with single_threaded():
            spaces = _Spaces(problem, seed, settings)
            others = [_Spaces(other, seed + 1, settings) for other in _other_problems(problem)]
    except UnsupportedModelError:  # undefined somewhere, which need not be where a state depends on
        yield from ((name, None) for name in wanted)
        return
    for i in spaces.order([system.state_index[name] for name in dict.fromkeys(wanted)]):
        with single_threaded():
            size = spaces.size(i)
            agreed = all(other.size(i) == size for other in others)
        yield system.states[i], spaces if agreed else None


def _other_problems(problem: ClosureProblem) -> Iterator[ClosureProblem]:
    """The same problem as it is also tried by a reduction: where the sizes differ, a proof has to decide.

    Generic irrational constants may hide a lumping that their values allow. The derivatives of logarithms and powers
    may show one that holds on one side of a singularity only; without them, and with arguments of roots as powers of
    these, what is found holds everywhere.
    """
    rounded = problem.with_double_constants()
    if rounded is not None:
        yield rounded
    branched = branched_nodes(problem.graph, problem.roots())
    if branched:
        yield replace(problem, opaque=branched)
    positive = problem.with_positive_arguments()
    if positive is not None:
        yield positive


def _by_whole_reduction(system: OdeSystem, name: str, seed: int) -> StateSize | StateFailure:
    """By the whole reduction, proof included."""
    observable = Observable(name, system.graph.symbol(name), name)
    try:
        reduction = lump_exactly(system, (observable,), seed=seed)
    except SbmlumpError as error:
        return StateFailure(name, error)
    rows = reduction.matrix.rows
    kept = tuple(next(iter(row)) for row in rows if len(row) == 1)
    pools = tuple(row for row in rows if len(row) > 1)
    return StateSize(name, len(rows), reduction.matrix.proper, reduction.matrix.non_negative, kept, pools)


@dataclass(frozen=True, slots=True)
class _Space:
    """Unit rows, and the reduced row echelon form of the rest over the columns that are left."""

    units: Mask
    columns: Indices
    rows: NDArray[np.int32]
    pivots: Indices

    @property
    def size(self) -> int:
        return int(self.units.sum()) + len(self.pivots)

    @property
    def rank_key(self) -> tuple[int, tuple[int, ...]]:
        """Smaller is nearer to the space over Q (larger dimension, then earlier pivots)."""
        return -self.size, tuple(np.sort(np.concatenate([np.flatnonzero(self.units), self.columns[self.pivots]])))

    def full_rows(self) -> tuple[Residues, tuple[int, ...]]:
        """Rows that are not single states, over all columns, and the columns of those that are."""
        single = np.count_nonzero(self.rows, axis=1) == 1
        wide = np.zeros((int((~single).sum()), len(self.units)), dtype=np.int64)
        wide[:, self.columns] = self.rows[~single]
        kept = np.sort(np.concatenate([np.flatnonzero(self.units), self.columns[self.pivots[single]]]))
        return wide, tuple(kept.tolist())


class _OnePrime:
    """Everything about one prime: samples, unit steps, spaces found so far."""

    def __init__(
        self,
        problem: ClosureProblem,
        program: Program,
        generator: np.random.Generator,
        settings: PerSpeciesSettings,
    ) -> None:
        self._settings = settings
        self._samples = SampledJacobians(problem, program, generator, settings)
        self._generator = generator
        self._n = n = problem.n_states
        self._seeds = len(problem.seeds)
        self._maps = 1 + len(problem.resets)
        self.prime = self._samples.prime
        widest = int(np.diff(self._samples.indptr).max(initial=0))
        self._first = min(widest + 2, self._settings.most_samples_a_row)
        self._spaces: dict[bytes, _Space] = {}
        self._of_state: dict[int, _Space] = {}
        spans = [self._span_of(self._roots_of(i)) for i in range(n)]
        self._wide = [wide for _, wide in spans]
        self._steps = steps = [units for units, _ in spans]
        seeds = [self._span_of([k]) for k in range(self._seeds)]
        self._seed_rows = [row for _, wide in seeds for row in wide]
        self._unit_reach = _Reach(n, steps, [j for units, _ in seeds for j in units], settings)
        pointer, flat = self._samples.indptr, self._samples.indices
        edges = [
            np.unique(np.concatenate([flat[pointer[r] : pointer[r + 1]] for r in self._roots_of(i)])).tolist()
            for i in range(n)
        ]
        self._reach = _Reach(n, edges, np.unique(flat[: pointer[self._seeds]]).tolist(), settings)

    def _roots_of(self, i: int) -> list[int]:
        return [self._seeds + m * self._n + i for m in range(self._maps)]

    def _span_of(self, roots: Sequence[int]) -> tuple[list[int], list[tuple[Indices, Residues]]]:
        """Span of the gradients of some roots at the first samples: states in it, and its other rows, sparse."""
        pointer, flat = self._samples.indptr, self._samples.indices
        places = [np.arange(pointer[r], pointer[r + 1]) for r in roots]
        columns = np.unique(np.concatenate([flat[place] for place in places]))
        if not len(columns):
            return [], []
        table = np.zeros((len(roots) * self._first, len(columns)), dtype=np.int64)
        for k in range(self._first):
            entries = self._samples.entries(k)
            for m, place in enumerate(places):
                table[k * len(roots) + m, np.searchsorted(columns, flat[place])] = entries[place]
        space = RowSpace(len(columns), self.prime)
        space.extend(table)
        single = np.count_nonzero(space.rows, axis=1) == 1
        return columns[space.pivots[single]].tolist(), [(columns, row) for row in space.rows[~single]]

    def space(self, i: int) -> _Space:
        """The smallest space that holds state ``i``."""
        units = self._unit_reach.of(i)
        key = units.tobytes()
        if key not in self._spaces:
            joined = self._joined(i, units)
            self._spaces[key] = self._close(units, self._reach.of(i)) if joined is None else joined
        self._of_state[i] = self._spaces[key]
        return self._spaces[key]

    def fills(self, i: int) -> bool:
        """Whether the space of state ``i`` is all that it depends on: it cannot be larger over Q."""
        return self.space(i).size == int(self._reach.of(i).sum())

    def _joined(self, i: int, units: Mask) -> _Space | None:
        """The space of a state whose rate depends on single states, all with known spaces that it is in none of:
        itself and the sum of those, which needs no search.
        """
        below = [j for j in self._steps[i] if j != i]
        if self._wide[i] or not below or any(j not in self._of_state or self._of_state[j].units[i] for j in below):
            return None
        largest_first = sorted({id(one): one for one in map(self._of_state.get, below) if one}.values(), key=_by_size)
        columns = np.flatnonzero(self._reach.of(i) & ~units)
        space = self._adopted(largest_first[0], units, columns)
        for one in largest_first[1:]:
            space.extend(self._all_rows(one)[:, columns])
        rows, pivots = space.sorted_rows()
        return _Space(units, columns, rows.astype(np.int32), pivots)

    def order(self, states: Sequence[int]) -> list[int]:
        """States with few dependencies first (spaces that hold others are made from them), space by space."""

        def key(i: int) -> tuple[int, int, bytes, int]:
            units = self._unit_reach.of(i)
            return int(self._reach.of(i).sum()), int(units.sum()), units.tobytes(), i

        return sorted(states, key=key)

    def _start(self, units: Mask, columns: Indices) -> RowSpace:
        """Rows that are known to be in the space of ``units``, over ``columns``."""
        if not len(columns):
            return RowSpace(0, self.prime)
        inside = np.flatnonzero(units).tolist()
        held = [self._of_state[j] for j in inside if j in self._of_state]
        space = self._adopted(min(held, key=_by_size), units, columns) if held else RowSpace(len(columns), self.prime)
        own = [row for j in inside for row in self._wide[j]] + self._seed_rows
        space.extend(_dense(own, self._n)[:, columns])
        return space

    def _all_rows(self, space: _Space) -> Residues:
        """Rows of a space beside its units, over all states."""
        wide = np.zeros((len(space.rows), self._n), dtype=np.int64)
        wide[:, space.columns] = space.rows
        return wide

    def _adopted(self, held: _Space, units: Mask, columns: Indices) -> RowSpace:
        """The rows of a space over ``columns``, what is in ``units`` left out."""
        space = RowSpace(len(columns), self.prime)
        wide = self._all_rows(held)
        # rows whose pivot is still a column stay reduced when other columns are dropped
        pivots = held.columns[held.pivots]
        retained = ~units[pivots]
        space.adopt(wide[np.ix_(retained, columns)], np.searchsorted(columns, pivots[retained]))
        space.extend(wide[np.ix_(~retained, columns)])
        return space

    def _close(self, units: Mask, reach: Mask) -> _Space:
        columns = np.flatnonzero(reach & ~units)
        space = self._start(units, columns)
        position, misses, width = self._first, 0, self._settings.least_width
        while len(space) < len(columns) and misses < self._settings.misses:
            rows = self._combinations(units, columns, space, width)
            moved = (self._samples.moves(position, self._seeds, self._maps) @ rows.T) % self.prime
            moved = moved.reshape(self._maps, self._n, len(rows)).transpose(0, 2, 1)[:, :, columns]
            new_rows = space.extend(moved.reshape(-1, len(columns)))
            misses = 0 if new_rows else misses + 1
            width = min(self._settings.most_width, 2 * width) if new_rows >= width else self._settings.least_width
            position += 1
        rows, pivots = space.sorted_rows()
        return _Space(units, columns, rows.astype(np.int32), pivots)  # residues have 23 bits

    def _combinations(self, units: Mask, columns: Indices, space: RowSpace, width: int) -> Residues:
        """Random combinations of all rows present, (width, n)."""
        rows = np.zeros((width, self._n), dtype=np.int64)
        rows[:, units] = self._generator.integers(1, self.prime, (width, int(units.sum())))
        if len(space):
            rows[:, columns] = space.random_combinations(self._generator, width)
        return rows


def _by_size(space: _Space) -> int:
    return -space.size


def _dense(rows: Sequence[tuple[Indices, Residues]], n: int) -> Residues:
    out = np.zeros((len(rows), n), dtype=np.int64)
    for k, (columns, row) in enumerate(rows):
        out[k, columns] = row
    return out


class _Reach:
    """What each state reaches along given steps, together with what the seeds reach; itself included."""

    def __init__(
        self, n: int, steps: Sequence[Sequence[int]], seeds: Sequence[int], settings: PerSpeciesSettings
    ) -> None:
        self._n = n
        everything = [*steps, seeds]  # a further node stands for the seeds, of which there need be none
        self._sets = reached(everything) if n <= settings.most_states_in_sets else None
        if self._sets is None:
            counts = [len(targets) for targets in everything]
            rows, columns = np.repeat(np.arange(n + 1), counts), np.array([j for one in everything for j in one], int)
            self._graph = SparseMatrix.of(np.ones(len(rows), dtype=np.int8), rows, columns, (n + 1, n + 1))
        self._from_seeds = self._follow(n)

    def _follow(self, i: int) -> Mask:
        if self._sets is not None:
            packed = np.frombuffer(self._sets[i].to_bytes(self._n // 8 + 1, "little"), dtype=np.uint8)
            return np.unpackbits(packed, bitorder="little")[: self._n].view(np.bool_)
        from scipy.sparse.csgraph import breadth_first_order

        mask = np.zeros(self._n + 1, dtype=np.bool_)
        mask[breadth_first_order(self._graph.scipy(), i, directed=True, return_predecessors=False)] = True
        return mask[: self._n]

    def of(self, i: int) -> Mask:
        """Boolean (n,)."""
        return self._follow(i) | self._from_seeds


class _Spaces:
    """Spaces of all states over as many primes as their coefficients need."""

    def __init__(self, problem: ClosureProblem, seed: int, settings: PerSpeciesSettings) -> None:
        self._settings = settings
        self._problem = problem
        self._program = Program(problem.graph, problem.roots(), problem.variables, problem.opaque)
        self._generator = np.random.default_rng([seed, 0x5B31])
        self._primes: list[_OnePrime] = []
        self._lifted: tuple[bytes, tuple[Row, ...] | None] | None = None  # of the last space: all may take gigabytes
        self._prime(0)

    def _prime(self, position: int) -> _OnePrime:
        while len(self._primes) <= position:
            try:
                new = _OnePrime(self._problem, self._program, self._generator, self._settings)
            except BadPrimeError:
                continue
            if all(new.prime != old.prime for old in self._primes):
                self._primes.append(new)
        return self._primes[position]

    def order(self, states: Sequence[int]) -> list[int]:
        return self._prime(0).order(states)

    def size(self, i: int) -> int:
        first = self._prime(0)
        return first.space(i).size if first.fills(i) else self._best(i, 2)[0].size

    def _best(self, i: int, count: int) -> list[_Space]:
        """Spaces over the first ``count`` primes that agree with the best of them, with their primes in order."""
        spaces = [self._prime(k).space(i) for k in range(count)]
        best = min(space.rank_key for space in spaces)
        return [space for space in spaces if space.rank_key == best]

    def describe(self, name: str, i: int, signs: _Signs) -> StateSize:
        """Everything about state ``i``; the rows that are not single states are lifted to Q."""
        space = self._prime(0).space(i)
        rest, kept = space.full_rows()
        if not len(rest):
            return StateSize(name, space.size, True, True, kept, ())
        pools = self._lift(i)
        if pools is None:
            proper = bool((np.count_nonzero(rest, axis=0) <= 1).all())
            return StateSize(name, self.size(i), proper, None, kept, None)
        rows, non_negative = signs.choose(pools)
        both = (*({j: Fraction(1)} for j in kept), *rows)
        proper = LumpingMatrix(tuple(map(str, range(self._problem.n_states))), both).proper
        return StateSize(name, len(both), proper, non_negative, kept, rows)

    def _lift(self, i: int) -> tuple[Row, ...] | None:
        """Rows over Q that agree with one more prime than they were made from; ``None`` without any."""
        key = self._prime(0).space(i).units.tobytes()
        if self._lifted is None or self._lifted[0] != key:
            self._lifted = key, self._lift_anew(i)
        return self._lifted[1]

    def _lift_anew(self, i: int) -> tuple[Row, ...] | None:
        most = next(count for states, count in self._settings.most_primes if self._problem.n_states <= states)
        for count in range(1, most):
            spaces = [(self._prime(k).prime, self._prime(k).space(i)) for k in range(count + 1)]
            best = min(space.rank_key for _, space in spaces)
            tables = [(prime, space.full_rows()) for prime, space in spaces if space.rank_key == best]
            if len(tables) < 2 or len({(kept, rows.shape) for _, (rows, kept) in tables}) > 1:
                continue
            values = rows_from_residues([(rows, prime) for prime, (rows, _) in tables])
            if values is not None:
                return tuple(values)
        return None


class _Signs:
    """Readable rows and their signs, component by component; components recur from state to state."""

    def __init__(self, scale: Mapping[int, Fraction], settings: PerSpeciesSettings) -> None:
        self._settings = settings
        self._scale = scale
        self._known: dict[tuple[tuple[tuple[int, Fraction], ...], ...], tuple[Row, ...]] = {}

    def choose(self, rows: Sequence[Row]) -> tuple[tuple[Row, ...], bool | None]:
        """The basis that a reduction would choose, and whether it is non-negative (``None``: too large to tell)."""
        chosen: list[Row] = []
        unknown = False
        for group in components(rows, range(len(rows))):
            component = [rows[k] for k in group]
            columns = {j for row in component for j in row}
            if len(component) * len(columns) ** 2 > self._settings.basis_work and len(component) > 1:
                chosen.extend(component)
                unknown = unknown or any(value < 0 for row in component for value in row.values())
                continue
            key = tuple(tuple(sorted(row.items())) for row in component)
            if len(self._known) > self._settings.most_components:
                self._known.clear()
            if key not in self._known:
                self._known[key] = choose_basis(component, [min(row) for row in component], self._scale).rows
            chosen.extend(self._known[key])
        if unknown:
            return tuple(chosen), None
        return tuple(chosen), all(value >= 0 for row in chosen for value in row.values())
