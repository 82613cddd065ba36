"""For which values of the constants a reduction holds: all of them where that can be proved, else what it rests on.

A reduction may use the values in the file, but most do not need them. So what was found is proved with every constant
symbolic first. Where that fails, the constants that matter are looked for: both sides are evaluated modulo a prime with
some constants at their values and the others random, and a constant that cannot be set free without a difference is
fixed. That search is trusted with nothing; the claim is proved again with the rest symbolic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import LimitError
from sbmlump.expr.domains import BadPrimeError, PrimeField
from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.expr.program import Program
from sbmlump.lumping.field import random_prime
from sbmlump.reduced import ExactProof
from sbmlump.system import OdeSystem

__all__ = ["ids_below", "prove_widest", "resting_values"]

Residues = NDArray[np.int64]
Sides = tuple[Graph, list[Node], list[Node]]

MOST_WORK: Final = 200_000_000
"""Nodes times columns of the search for the constants that matter (a few seconds); beyond it every constant of what
differs counts as one that matters."""
_COLUMN_BYTES: Final = 64 << 20  # of one block of columns
_TRIES: Final = 8  # primes, until one divides no denominator
_VALIDITY_SEED: Final = 0xF1EE


class _Claim(Protocol):
    """What is proved: its systems, and the constants for all of whose values."""

    @property
    def original(self) -> OdeSystem: ...

    @property
    def symbolic(self) -> frozenset[str]: ...


_AnyClaim = TypeVar("_AnyClaim", bound=_Claim)
_Other = TypeVar("_Other")


def prove_widest(
    claim: _AnyClaim,
    prove: Callable[[_AnyClaim], ExactProof | _Other],
    symbolic: Callable[[_AnyClaim, frozenset[str]], _AnyClaim],
    sides: Callable[[_AnyClaim], Sides],
    seed: int = 0,
) -> ExactProof | _Other:
    """Prove a claim for as many constants symbolic as can be.

    Parameters
    ----------
    claim
        Its ``symbolic`` constants have to stay symbolic.
    prove : callable
        From a claim to a proof or a refutation.
    symbolic : callable (claim, constants) → claim
        The claim made for all values of these constants.
    sides : callable
        What has to be identical, both sides over states and symbolic constants of the original.
    seed : int

    Returns
    -------
    The proof with the most symbolic constants that was found, or what ``prove`` says of the claim as it is. A proof
    that holds everywhere for fewer constants is preferred to one that holds on a piece of the state space.
    """
    every = claim.symbolic | set(claim.original.given_constants)
    if every <= claim.symbolic:
        return prove(claim)
    widest = symbolic(claim, every)
    first = _proof_of(prove, widest)
    if first is not None and first.domain is None:
        return first
    both = sides(widest)
    tried = {every, claim.symbolic} if first is None else {every}  # the claim as it is comes last anyway
    for fixed in _fixed_sets(claim, both, seed) if first is None else [_inside_functions(*both)]:
        free = (every - _with_sources(claim.original, fixed & every)) | claim.symbolic
        if free in tried:
            continue
        tried.add(free)
        proof = _proof_of(prove, symbolic(claim, free))
        if proof is not None and (first is None or proof.domain is None):
            return proof
    return prove(claim) if first is None else first


def _inside_functions(graph: Graph, left: Sequence[Node], right: Sequence[Node]) -> frozenset[str]:
    """Ids in exponents and in arguments of functions: with their values such an expression may be a rational one."""
    nodes = graph.reachable([*left, *right])
    called = [arg for node in nodes if graph.op(node) is Op.CALL for arg in graph.args(node)]
    exponents = [graph.args(node)[1] for node in nodes if graph.op(node) is Op.POW]
    return frozenset(graph.symbols([*called, *exponents]))


def _proof_of(prove: Callable[[_AnyClaim], ExactProof | _Other], claim: _AnyClaim) -> ExactProof | None:
    try:
        found = prove(claim)
    except LimitError:  # degrees grow with the number of symbols; fewer of them may be within the limits
        return None
    return found if isinstance(found, ExactProof) else None


def _with_sources(system: OdeSystem, names: Iterable[str]) -> frozenset[str]:
    """Constants, and those that their values are computed from: fixed is only what rests on what is fixed."""
    return frozenset(c.id for c in system.constants) & ids_below(system, names)


# -- what a claim rests on ---------------------------------------------------------------------------


def resting_values(
    system: OdeSystem, symbolic: AbstractSet[str], members: Iterable[str], seen: Sequence[Node]
) -> dict[str, str]:
    """Values of the constants that a claim may rest on: those in it that are not symbolic.

    Parameters
    ----------
    system : OdeSystem
        The original.
    symbolic : set of str
        Constants for all of whose values the claim is made; what is computed from them follows them.
    members : iterable of str
        States whose initial values are part of the claim.
    seen : sequence of Node
        Expressions that are part of it: right-hand sides, observables, parts of events.

    Returns
    -------
    dict
        Exact where the value is rational, else ``irrational``, in the order of the constants.
    """
    graph = system.graph
    mentioned = ids_below(system, {*members, *graph.symbols(seen)})
    start = system.at_start(symbolic)
    used: dict[str, str] = {}
    for constant in system.constants:
        node = start.get(constant.id)
        if constant.id in symbolic or constant.id not in mentioned or node is None or graph.symbols([node]):
            continue
        number = graph.number_of(node)
        used[constant.id] = str(number) if number is not None else "irrational"
    return used


def ids_below(system: OdeSystem, names: Iterable[str]) -> set[str]:
    """Ids that the values of ``names`` at time 0 hang on, themselves included."""
    graph = system.graph
    given = {c.id: c.value for c in system.constants if c.value is not None}
    given |= dict(zip(system.states, system.initial, strict=True)) | {a.id: a.value for a in system.assigned}
    given |= {r.id: r.flux for r in system.reactions}
    found: set[str] = set()
    left = set(names)
    while left:
        found |= left
        left = graph.symbols([given[name] for name in left if name in given]) - found
    return found


# -- which constants matter --------------------------------------------------------------------------


def _fixed_sets(claim: _Claim, sides: Sides, seed: int) -> Iterator[frozenset[str]]:
    """Constants to fix, the smallest set first."""
    constants = [c.id for c in claim.original.constants if c.id not in claim.symbolic]
    graph, left, right = sides
    search = _Search(claim.original, graph, left, right, constants, seed)
    if search.differing:
        yield search.needed()
        yield search.mentioned


class _Search:
    """Looks for the constants without whose values two lists of expressions differ.

    Every column is one point: the same states, with some of the constants at random values and the others at those of
    the file.
    """

    def __init__(
        self,
        system: OdeSystem,
        graph: Graph,
        left: Sequence[Node],
        right: Sequence[Node],
        constants: Sequence[str],
        seed: int,
    ) -> None:
        self._generator = np.random.default_rng([seed, _VALIDITY_SEED])
        self._graph = graph
        pairs = [(a, b) for a, b in zip(left, right, strict=True) if a != b]
        names = sorted(graph.symbols(node for pair in pairs for node in pair))
        self._values = _numbers(system, [name for name in constants if name in set(names)])
        self._names = names
        self._pairs = pairs
        self._draw()
        differ = self._differing([frozenset(self._values)])[:, 0].tolist() if pairs else []
        self._pairs = [pair for pair, differs in zip(pairs, differ, strict=True) if differs]
        self.differing = bool(self._pairs)

    @property
    def mentioned(self) -> frozenset[str]:
        """Every constant in what differs when all of them are free."""
        inside = self._graph.symbols(node for pair in self._pairs for node in pair)
        return frozenset(name for name in self._values if name in inside)

    def needed(self) -> frozenset[str]:
        """Constants to fix so that nothing differs; functions may hide that some are not needed."""
        # what differs at the values of the file too is no identity of these expressions (functions whose derivatives
        # close): nothing can be seen of it here
        hidden = self._differing([frozenset()])[:, 0]
        unseen = [pair for pair, bad in zip(self._pairs, hidden, strict=True) if bad]
        fixed = {name for name in self._graph.symbols(n for pair in unseen for n in pair) if name in self._values}
        self._pairs = [pair for pair, bad in zip(self._pairs, hidden, strict=True) if not bad]
        inside = self._graph.symbols(node for pair in self._pairs for node in pair)
        open_names = [name for name in self._values if name in inside and name not in fixed]
        if not open_names:
            return frozenset(fixed)
        size = len(self._graph.reachable(node for pair in self._pairs for node in pair))
        if size * len(open_names) > MOST_WORK:
            return frozenset(fixed) | frozenset(open_names)
        alone = self._differing([frozenset({name}) for name in open_names])
        fixed |= {name for i, name in enumerate(open_names) if alone[:, i].any()}
        rest = [name for name in open_names if name not in fixed]
        free: list[str] = []
        while rest:
            # set free one after the other; the first that makes a difference together with those before it stays
            columns = [frozenset((*free, *rest[: i + 1])) for i in range(len(rest))]
            wrong = self._differing(columns)
            first = next((i for i in range(len(rest)) if wrong[:, i].any()), len(rest))
            free += rest[:first]
            fixed |= set(rest[first : first + 1])
            rest = rest[first + 1 :]
        return frozenset(fixed)

    def _draw(self) -> None:
        """A prime that divides no denominator of the values, and the random values of everything."""
        for _ in range(_TRIES):
            self._field = PrimeField(random_prime(self._generator), int(self._generator.integers(1 << 62)))
            try:
                self._fixed = {name: self._field.residue(value) for name, value in self._values.items()}
            except BadPrimeError:
                continue
            break
        else:
            self._fixed = {}
        drawn = self._generator.integers(1, self._field.prime, len(self._names) + 1)
        self._random = dict(zip([*self._names, ""], drawn.tolist(), strict=True))

    def _differing(self, columns: Sequence[frozenset[str]]) -> NDArray[np.bool_]:
        """Which pairs differ at the points at which these constants are free, shape (pairs, columns)."""
        graph, prime = self._graph, self._field.prime
        roots = [node for pair in self._pairs for node in pair]
        program = Program(graph, roots, [*(graph.symbol(name) for name in self._names), graph.time()])
        found = np.zeros((len(self._pairs), len(columns)), dtype=np.bool_)
        width = max(1, _COLUMN_BYTES // (8 * max(program.size, 1)))
        for low in range(0, len(columns), width):
            block = columns[low : low + width]
            points = np.array(
                [
                    [
                        self._fixed[name] if name in self._fixed and name not in free else self._random[name]
                        for free in block
                    ]
                    for name in (*self._names, "")
                ],
                dtype=np.int64,
            )
            try:
                tape = program.run(self._field, points)
            except BadPrimeError:
                found[:, low : low + width] = True
                continue
            values = program.outputs(tape)
            different = (values[0::2] - values[1::2]) % prime != 0
            # where something is undefined nothing was shown: as good as a difference
            found[:, low : low + width] = different | tape.bad[None, :]
        return found


def _numbers(system: OdeSystem, names: Sequence[str]) -> dict[str, Fraction]:
    """Values of constants as rationals; irrational ones as the doubles nearest to them, none where it is not finite."""
    graph, values = system.graph, system.constant_values
    found: dict[str, Fraction] = {}
    for name in names:
        node = values.get(name)
        if node is None:
            continue
        number = graph.number_of(node)
        if number is None:
            value = float(values_of(graph, [node])[0])
            number = Fraction(value) if np.isfinite(value) else None
        if number is not None:
            found[name] = number
    return found
