"""Identity of two sets of expressions: by exact expansion, or at random points modulo random primes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Final

import flint
import numpy as np
from numpy.typing import NDArray

from sbmlump.linalg.finite_field import random_prime
from sbmlump.model.domains import BadPrimeError, PrimeField
from sbmlump.model.graph import Graph, Node, Op, bits
from sbmlump.model.program import Program

__all__ = ["MAX_VARIABLES", "IdentityTest", "expand_polynomials", "failure_bound", "run_trials"]


Residues = NDArray[np.int64]
TARGET: Final = 1e-18
"""Certificates are to be wrong with a smaller probability than this."""
PRIMES_AVAILABLE: Final = 5.0e7  # primes in [2^30, 2^31): 50,697,537
_BITS_A_PRIME: Final = 30
_POINTS: Final = 2
_MAX_ROUNDS: Final = 400
_MOST_EMPTY: Final = 24  # random points without a value, after which there is none: one is missed once in 10^7 times
_MAX_TERMS: Final = 20_000
_MAX_WORK: Final = 200_000
_BITS_A_UNIT: Final = 1_024  # of a coefficient; ordinary coefficients count once
MAX_VARIABLES: Final = 400


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

    wrong: tuple[int, ...]
    primes: tuple[int, ...]
    points: int
    failure_probability: float


def failure_bound(degree: float, bits: float) -> float:
    """Probability that one round (one prime, two points) does not show a difference that exists.

    A non-zero polynomial of degree d vanishes at a random point of GF(p) with probability at most d/p
    (Schwartz–Zippel); a non-zero rational number with a numerator of B bits is divisible by at most B/30 of the
    primes in [2^30, 2^31).
    """
    by_points: float = min(1.0, degree / (1 << 30)) ** _POINTS
    by_prime: float = min(1.0, (bits / _BITS_A_PRIME + 1.0) / PRIMES_AVAILABLE)
    return min(1.0, by_points + by_prime)


def run_trials(
    compare: Callable[[PrimeField, np.random.Generator, int], Residues | None],
    generator: np.random.Generator,
    bound: float,
) -> IdentityTest:
    """Repeat ``compare`` with fresh primes until the bound is below 1e-18.

    Parameters
    ----------
    compare : callable (field, generator, points) → array (r, points) or None
        Difference of the two sides at random points; ``None`` when no point was defined.
    bound : float
        Failure probability of one round.
    """
    needed = max(3, ceil(log10(TARGET) / log10(bound))) if 0 < bound < 1 else 3
    primes: list[int] = []
    wrong: set[int] = set()
    attempts = 0
    while len(primes) < min(needed, _MAX_ROUNDS) and attempts < (4 * _MAX_ROUNDS if primes else _MOST_EMPTY):
        attempts += 1
        field = PrimeField(random_prime(generator), int(generator.integers(1 << 62)))
        try:
            difference = compare(field, generator, _POINTS)
        except BadPrimeError:
            continue
        if difference is None:
            continue
        primes.append(field.prime)
        wrong.update(np.flatnonzero(difference.any(axis=1)).tolist())
        if wrong:
            break
    probability = min(1.0, bound ** len(primes)) if primes else 1.0
    return IdentityTest(tuple(sorted(wrong)), tuple(primes), len(primes) * _POINTS, probability)


def expand_polynomials(graph: Graph, roots: Sequence[Node], variables: Sequence[Node]) -> list[flint.fmpq_mpoly] | None:
    """Expanded polynomials of ``roots`` over Q in ``variables``, or ``None`` where that would be too large.

    Every other symbol must have been replaced before. The sizes are bounded in advance by products of term counts, and
    by the bits of coefficients: a power of a power of a number is one term of any length.
    """
    if len(variables) > MAX_VARIABLES:
        return None
    nodes = graph.reachable(roots)
    if not _small_enough(graph, nodes, set(variables)):
        return None
    context = flint.fmpq_mpoly_ctx.get([f"v{i}" for i in range(max(1, len(variables)))], "degrevlex")
    value: dict[Node, flint.fmpq_mpoly] = dict(zip(variables, context.gens(), strict=False))
    for node in nodes:
        if node in value:
            continue
        args = graph.args(node)
        number = graph.number_of(node)
        if number is not None:
            value[node] = context.constant(flint.fmpq(number.numerator, number.denominator))
        elif graph.op(node) is Op.ADD:
            total = context.constant(0)
            for arg in args:
                total += value[arg]
            value[node] = total
        elif graph.op(node) is Op.MUL:
            product = value[args[0]]
            for arg in args[1:]:
                product *= value[arg]
            value[node] = product
        else:  # POW with a small positive integer exponent, see _small_enough
            exponent = graph.number_of(args[1])
            assert exponent is not None
            value[node] = value[args[0]] ** int(exponent)
    return [value[root] for root in roots]


def _small_enough(graph: Graph, nodes: Sequence[Node], variables: set[Node]) -> bool:
    terms: dict[Node, int] = {}
    length: dict[Node, int] = {}  # bits of coefficients, about
    work = 0
    for node in nodes:
        op = graph.op(node)
        if op is Op.NUMBER or node in variables:
            terms[node] = 1
            value = graph.number_of(node)
            length[node] = 1 if value is None else bits(value)
            continue
        args = graph.args(node)
        longest = [length[arg] for arg in args]
        if op is Op.ADD:
            terms[node] = sum(terms[arg] for arg in args)
            length[node] = max(longest) + len(args).bit_length()
        elif op is Op.MUL:
            count = 1
            for arg in args:
                count *= terms[arg]
            terms[node] = count
            length[node] = sum(longest)
        elif op is Op.POW:
            exponent = graph.number_of(args[1])
            if exponent is None or exponent.denominator != 1 or not 0 < exponent <= 64:
                return False
            terms[node] = min(terms[args[0]] ** int(exponent), _MAX_TERMS + 1)
            length[node] = longest[0] * int(exponent)
        else:
            return False
        work += terms[node] * (1 + length[node] // _BITS_A_UNIT)
        if terms[node] > _MAX_TERMS or work > _MAX_WORK:
            return False
    return True


def difference_of_programs(
    left: Program, right: Program, field: PrimeField, left_points: Residues, right_points: Residues
) -> tuple[Residues, NDArray[np.bool_]]:
    """Values of left − right at matching points, and which points were defined for both."""
    a, b = left.run(field, left_points), right.run(field, right_points)
    good = ~(a.bad | b.bad)
    return (left.outputs(a) - right.outputs(b)) % field.prime, good
