"""Identity of two sets of expressions: by exact expansion, or at random points modulo random primes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from math import ceil, log10
from typing import Final

import numpy as np

from sbmlump.errors import Reason
from sbmlump.linalg.finite_field import Residues
from sbmlump.linalg.polynomial import expand_over_q
from sbmlump.linalg.rational import add_to
from sbmlump.model.domains import BadPrimeError, PrimeField
from sbmlump.model.graph import Graph, Node
from sbmlump.model.program import Program

__all__ = [
    "DEFAULT",
    "IdentitySettings",
    "IdentityTest",
    "ModularRows",
    "Pair",
    "Sides",
    "Stream",
    "bound_of",
    "compare_halves",
    "compare_matching",
    "failure_bound",
    "unequal_polynomials",
    "run_trials",
]


Compare = Callable[[PrimeField, np.random.Generator, int], Residues | None]


class Stream(IntEnum):
    """Each part of a proof draws from random numbers of its own: what one part found decides nothing in another."""

    LUMPING = 0xCE27
    COPIES = 0xE3BD
    ELIMINATION = 0xE11
    VALUES = 0x1417
    VALIDITY = 0xF1EE
    REAL_POINTS = 0x4EA1
    RANK = 0x4A4B

    def generator(self, seed: int) -> np.random.Generator:
        """The random numbers of this part for a seed of the user."""
        return np.random.default_rng([seed, int(self)])


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """How long an identity is tested at random points.

    Attributes
    ----------
    target : float
        Certificates are to be wrong with a smaller probability than this, so that no number of proofs anybody makes
        lets one error be expected. It costs three or four primes.
    points : int
        In one round, modulo one prime. Two: the bound of a round is then mostly that of the prime, and a third point
        would not lower it.
    least_rounds, most_rounds : int
        Three primes at least, whatever the bound says; after 400 the degree is called too high.
    most_empty : int
        Random points without a value, after which there is none: one is missed once in 10^7 times.
    primes : float
        In [2^30, 2^31), from which they are drawn: 50,697,537, rounded down.
    prime_bits : int
        Each of them has more.
    spare_bits : int
        Of a numerator, for the small numbers of derivatives and sums that no program counts.
    """

    target: float = 1e-18
    points: int = 2
    least_rounds: int = 3
    most_rounds: int = 400
    most_empty: int = 24
    primes: float = 5.0e7
    prime_bits: int = 30
    spare_bits: int = 64


DEFAULT: Final = IdentitySettings()


@dataclass(frozen=True, slots=True)
class IdentityTest:
    """What a series of random trials found.

    Attributes
    ----------
    wrong : tuple of int
        Positions at which the two sides differ; empty if no difference was seen.
    primes : tuple of int
    points : int
        In all.
    failure_probability : float
        Upper bound for "they differ and no trial showed it".
    """

    wrong: tuple[int, ...] = ()
    primes: tuple[int, ...] = ()
    points: int = 0
    failure_probability: float = 0.0


def failure_bound(degree: float, bits: float, settings: IdentitySettings = DEFAULT) -> float:
    """Probability that one round (one prime, two points) does not show a difference that exists.

    A non-zero polynomial of degree d vanishes at a random point of GF(p) with probability at most d/p
    (Schwartz–Zippel); a non-zero rational number with a numerator of B bits is divisible by at most B/30 of the
    primes in [2^30, 2^31).
    """
    by_points: float = min(1.0, degree / (1 << settings.prime_bits)) ** settings.points
    by_prime: float = min(1.0, (bits / settings.prime_bits + 1.0) / settings.primes)
    return min(1.0, by_points + by_prime)


def bound_of(*programs: Program, bits: float = 0.0, settings: IdentitySettings = DEFAULT) -> tuple[float, float]:
    """Degree and :func:`failure_bound` of differences of outputs, with ``bits`` of numbers that stand in no program."""
    degree = sum(program.degree() for program in programs) + 1
    heights = sum(program.height() for program in programs)
    return degree, failure_bound(degree, degree * (heights + bits + settings.spare_bits), settings)


def run_trials(
    compare: Compare, generator: np.random.Generator, bound: float, settings: IdentitySettings = DEFAULT
) -> IdentityTest:
    """Repeat ``compare`` with fresh primes until the bound is below 1e-18.

    Parameters
    ----------
    compare : callable (field, generator, points) → array (r, points) or None
        Difference of the two sides at random points; ``None`` when no point was defined.
    bound : float
        Failure probability of one round.
    """
    least, most = settings.least_rounds, settings.most_rounds
    needed = max(least, ceil(log10(settings.target) / log10(bound))) if 0 < bound < 1 else least
    primes: list[int] = []
    wrong: set[int] = set()
    attempts = 0
    while len(primes) < min(needed, most) and attempts < (4 * most if primes else settings.most_empty):
        attempts += 1
        field = PrimeField.random(generator)
        try:
            difference = compare(field, generator, settings.points)
        except BadPrimeError:
            continue
        if difference is None:
            continue
        primes.append(field.prime)
        wrong.update(np.flatnonzero(difference.any(axis=1)).tolist())
        if wrong:
            break
    probability = min(1.0, bound ** len(primes)) if primes else 1.0
    return IdentityTest(tuple(sorted(wrong)), tuple(primes), len(primes) * settings.points, probability)


# -- what is compared --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Two expressions that have to be equal along the map between two systems.

    Attributes
    ----------
    what : str
        In words, such as ``the rate of y``.
    left : mapping of Node to Fraction
        A linear combination of expressions of the original.
    right : Node
        An expression of the reduced system.
    code : str
        Why the claim is false if they differ.
    element : str or None
    text : str
        Says so; ``{}`` stands for ``what``.
    """

    what: str
    left: Mapping[Node, Fraction]
    right: Node
    code: str
    element: str | None = None
    text: str = "{} is not what it is in the original"

    @property
    def reason(self) -> Reason:
        """Why the claim is false if the two differ."""
        return Reason(self.code, self.text.format(self.what), self.element)


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides of pairs, with the values of the constants that are not symbolic put in.

    Attributes
    ----------
    left, right : Graph
    left_roots : tuple of Node
        What the left sides are combinations of (and, after that, what inputs of the right side may be).
    weights : tuple of mappings position → Fraction
        The left side of each pair over ``left_roots``.
    right_roots : tuple of Node
        The right side of each pair.
    left_inputs, right_inputs : tuple of Node
        Symbols, and time at the end.
    replaced : bool
        Whether irrational constants were replaced by the doubles nearest to them.
    """

    left: Graph
    right: Graph
    left_roots: tuple[Node, ...]
    weights: tuple[Mapping[int, Fraction], ...]
    right_roots: tuple[Node, ...]
    left_inputs: tuple[Node, ...]
    right_inputs: tuple[Node, ...]
    replaced: bool = False

    def combined(self, position: int) -> dict[Node, Fraction]:
        """The left side of a pair: expressions with their factors."""
        terms: dict[Node, Fraction] = {}
        for k, factor in self.weights[position].items():
            root = self.left_roots[k]
            add_to(terms, root, factor)
        return terms

    def left_program(self, opaque: frozenset[Node] = frozenset()) -> Program:
        """Program of the left roots; nothing is known of the derivatives of ``opaque`` functions."""
        return Program(self.left, self.left_roots, self.left_inputs, opaque)

    def right_program(self) -> Program:
        """Program of the right sides."""
        return Program(self.right, self.right_roots, self.right_inputs)

    def unknown(self) -> list[str]:
        """Symbols that are among the inputs of neither side: constants without a value."""
        left = self.left.symbols(self.left_roots) - {self.left.name(node) for node in self.left_inputs[:-1]}
        right = self.right.symbols(self.right_roots) - {self.right.name(node) for node in self.right_inputs[:-1]}
        return sorted(left | right)

    def joined(self, image: Mapping[Node, Node]) -> tuple[list[Node], list[Node]]:
        """Both sides in the graph of the left one; ``image`` says there what the inputs of the right one are."""
        graph = self.left
        left = [graph.weighted_sum(self.combined(i), lambda root: root) for i in range(len(self.weights))]
        return left, graph.transplant(self.right, self.right_roots, image)


def unequal_polynomials(
    graph: Graph, left: Sequence[Node], right: Sequence[Node], variables: Sequence[Node]
) -> tuple[int, ...] | None:
    """Positions at which two lists of polynomials over Q differ, by expansion; ``None`` where that would be too large.

    Variables are symbols, and time.
    """
    both = expand_over_q(graph, [*left, *right], variables)
    half = len(left)
    return None if both is None else tuple(i for i in range(half) if both[i] != both[half + i])


def compare_halves(program: Program) -> Compare:
    """Difference of the first and the second half of a program's outputs, for :func:`run_trials`."""
    half = len(program.roots) // 2

    def compare(finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        tape = program.run(finite, finite.draw(generator, len(program.inputs), points))
        good = ~tape.bad
        if not good.any():
            return None
        values = program.outputs(tape)[:, good]
        return np.asarray((values[:half] - values[half:]) % finite.prime)

    return compare


def compare_matching(
    left: Program,
    right: Program,
    weights: ModularRows,
    matching: Callable[[PrimeField, np.random.Generator, Residues, Residues], Residues],
) -> Compare:
    """Difference of two programs at matching points, for :func:`run_trials`.

    Parameters
    ----------
    left, right : Program
    weights : ModularRows
        Combinations of the outputs of ``left`` that are compared with those of ``right``.
    matching : callable (field, generator, points, outputs) → points
        Inputs of ``right`` that belong to inputs and outputs of ``left``.
    """

    def compare(finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        x = finite.draw(generator, len(left.inputs), points)
        tape = left.run(finite, x)
        outputs = left.outputs(tape)
        other = right.run(finite, matching(finite, generator, x, outputs))
        good = ~(tape.bad | other.bad)
        if not good.any():
            return None
        return np.asarray(((weights.times(finite, outputs) - right.outputs(other)) % finite.prime)[:, good])

    return compare


class ModularRows:
    """Sparse rows over Q, to be used modulo one prime after the other."""

    def __init__(self, rows: Sequence[Mapping[int, Fraction]], width: int) -> None:
        self.shape = len(rows), width
        codes: dict[tuple[int, int], int] = {}  # few values differ, and each costs a modular inverse
        entries = [
            (i, column, codes.setdefault(value.as_integer_ratio(), len(codes)))
            for i, row in enumerate(rows)
            for column, value in row.items()
        ]
        self._rows, self._columns, self._codes = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        self._values = [Fraction(*pair) for pair in codes]
        self.bits = float(
            sum(v.numerator.bit_length() + v.denominator.bit_length() for row in rows for v in row.values())
        )

    def _residues(self, finite: PrimeField) -> Residues:
        return np.array([finite.residue(value) for value in self._values], dtype=np.int64)[self._codes]

    def times(self, finite: PrimeField, values: Residues) -> Residues:
        """The product with (width or more, points) values; residues below 2^31 are summed without overflow."""
        product = np.zeros((self.shape[0], values.shape[1]), dtype=np.int64)
        np.add.at(product, self._rows, self._residues(finite)[:, None] * values[self._columns] % finite.prime)
        return product % finite.prime

    def lumped(self, finite: PrimeField, _: np.random.Generator, x: Residues, __: Residues) -> Residues:
        """Points Lx, with the further inputs as they are: what :func:`compare_matching` asks for under y = Lx."""
        return np.concatenate([self.times(finite, x), x[self.shape[1] :]])

    def dense(self, finite: PrimeField) -> Residues:
        """All of it as an array."""
        table = np.zeros(self.shape, dtype=np.int64)
        table[self._rows, self._columns] = self._residues(finite)
        return table
