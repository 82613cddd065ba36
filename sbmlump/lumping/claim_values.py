"""Values at time 0 as a part of a claim: initial values and constants, compared as formulas in the symbolic constants.

"For all values of k" says something of the initial values and of the constants too that are computed from k. With the
computed constants opened and the symbolic ones that are not computed left as symbols, each value is an expression of
these on both sides, and the two have to be identical: as numbers where nothing symbolic is in them, else over Q, with
functions taken as generic (equal arguments, equal values), as right-hand sides are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import Reason
from sbmlump.expr.domains import PrimeField
from sbmlump.expr.graph import Graph, Node
from sbmlump.expr.irrational import with_double_constants
from sbmlump.expr.program import Program
from sbmlump.expr.same import same_value
from sbmlump.lumping.identity import MAX_VARIABLES, TARGET, expand_polynomials, failure_bound, run_trials
from sbmlump.reduced import ExactProof
from sbmlump.system import OdeSystem

__all__ = ["ComparedValues", "ValuePair", "ValueTable", "compare_values", "constant_pairs", "with_values"]

Residues = NDArray[np.int64]
_SEED: Final = 0x1417


class ValueTable:
    """Values at time 0 of one system over the symbolic constants that are not computed.

    Parameters
    ----------
    system : OdeSystem
    free : set of str
        Constants that stay symbols.
    """

    def __init__(self, system: OdeSystem, free: AbstractSet[str]) -> None:
        self.graph = system.graph
        self._start = system.at_start(free)
        self._given = {c.id: c.value for c in system.constants if c.id in free}
        self._inside: Mapping[Node, Node] | None = None

    @staticmethod
    def free_of(original: OdeSystem, symbolic: AbstractSet[str]) -> frozenset[str]:
        """Those of the symbolic constants that the original does not compute from something else."""
        graph = original.graph
        return frozenset(
            c.id for c in original.constants if c.id in symbolic and (c.value is None or not graph.symbols([c.value]))
        )

    def get(self, name: str) -> Node | None:
        """Value of a state or constant; of a free constant the value that the file gives it."""
        if name not in self._given:
            return self._start.get(name)
        value = self._given[name]
        return value if value is None or self.graph.number_of(value) is not None else self.formula(value)

    def formula(self, node: Node) -> Node:
        """Value at time 0 of an expression."""
        if self._inside is None:
            others = ((n, start) for n, start in self._start.items() if n not in self._given)
            self._inside = {self.graph.time(): self.graph.number(0)} | {self.graph.symbol(n): v for n, v in others}
        return self.graph.substitute([node], self._inside)[0]

    def combined(self, row: Mapping[str, Fraction]) -> Node | None:
        """Σ weight · value; ``None`` if one is missing."""
        values = [(weight, self.get(name)) for name, weight in row.items()]
        known = [self.graph.scaled(weight, node) for weight, node in values if node is not None]
        return self.graph.add(known) if len(known) == len(values) else None


@dataclass(frozen=True, slots=True)
class ValuePair:
    """Two values that have to agree, each in the graph of its system; ``None`` where there is none."""

    left: Node | None
    right: Node | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class ComparedValues:
    """What a comparison of values found.

    Attributes
    ----------
    wrong : tuple of ValuePair
    failure_probability : float
        Upper bound for "some pair differs and no trial showed it".
    primes : tuple of int
        Of the trials, where there were any.
    """

    wrong: tuple[ValuePair, ...] = ()
    failure_probability: float = 0.0
    primes: tuple[int, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """One for each pair that differs."""
        return tuple(dict.fromkeys(pair.reason for pair in self.wrong))


def constant_pairs(original: OdeSystem, reduced: OdeSystem, left: ValueTable, right: ValueTable) -> list[ValuePair]:
    """One pair for each constant that both systems have; what the reduced one gives no value is not compared."""
    shared = {c.id for c in original.constants if c.value is not None}
    shared &= {c.id for c in reduced.constants if c.value is not None}
    pairs: list[ValuePair] = []
    for name in sorted(shared):
        a, b = left.get(name), right.get(name)
        if a is not None and b is not None:
            text = f"the constant {name} has another value than in the original"
            pairs.append(ValuePair(a, b, Reason("constant-differs", text, name)))
    return pairs


def compare_values(original: Graph, reduced: Graph, pairs: Iterable[ValuePair], seed: int = 0) -> ComparedValues:
    """The pairs that are not identical.

    References
    ----------
    Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225: identity testing.
    """
    wrong: list[ValuePair] = []
    formulas: list[ValuePair] = []
    symbolic = _Symbols(original), _Symbols(reduced)
    for pair in pairs:
        if pair.left is None or pair.right is None:
            if pair.left is not pair.right:
                wrong.append(pair)
        elif symbolic[0](pair.left) or symbolic[1](pair.right):
            formulas.append(pair)
        elif not same_value(original, pair.left, reduced, pair.right):
            wrong.append(pair)
    if not formulas:
        return ComparedValues(tuple(wrong))
    graph = Graph()
    left = graph.transplant(original, [one.left for one in formulas if one.left is not None], {})
    right = graph.transplant(reduced, [one.right for one in formulas if one.right is not None], {})
    outcome = _identical(graph, left, right, seed)
    if outcome.wrong:
        both, replaced = with_double_constants(graph, [*left, *right])
        if replaced:
            again = _identical(graph, both[: len(left)], both[len(left) :], seed)
            outcome = again if len(again.wrong) < len(outcome.wrong) else outcome
    wrong += [formulas[i] for i in outcome.wrong]
    return ComparedValues(tuple(wrong), outcome.failure_probability, outcome.primes)


class _Symbols:
    """Whether a value mentions a symbol; most are numbers."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __call__(self, node: Node) -> bool:
        return self._graph.number_of(node) is None and bool(self._graph.symbols([node]))


@dataclass(frozen=True, slots=True)
class _Outcome:
    wrong: tuple[int, ...] = ()
    failure_probability: float = 0.0
    primes: tuple[int, ...] = ()


def _identical(graph: Graph, left: Sequence[Node], right: Sequence[Node], seed: int) -> _Outcome:
    """Positions at which two expressions of one graph are not identical."""
    open_pairs = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
    if not open_pairs:
        return _Outcome()
    a, b = [left[i] for i in open_pairs], [right[i] for i in open_pairs]
    variables = [graph.symbol(name) for name in sorted(graph.symbols([*a, *b]))]
    both = expand_polynomials(graph, [*a, *b], variables) if len(variables) <= MAX_VARIABLES else None
    if both is not None:
        half = len(a)
        return _Outcome(tuple(open_pairs[i] for i in range(half) if both[i] != both[half + i]))
    found = _tested(graph, a, b, variables, seed)
    if found is not None:
        return _Outcome(tuple(open_pairs[i] for i in found.wrong), found.failure_probability, found.primes)
    # some pair is defined nowhere; one by one, so that it hides no other
    alone = [_tested(graph, [x], [y], variables, seed) for x, y in zip(a, b, strict=True)]
    wrong = tuple(i for i, one in zip(open_pairs, alone, strict=True) if one is None or one.wrong)
    chance = sum(one.failure_probability for one in alone if one is not None)
    return _Outcome(wrong, min(1.0, chance), tuple(p for one in alone if one is not None for p in one.primes))


def _tested(
    graph: Graph, left: Sequence[Node], right: Sequence[Node], variables: Sequence[Node], seed: int
) -> _Outcome | None:
    """By trials at random points; ``None`` if no point was found at which all is defined.

    A difference that the trials are too few for (numbers that are too large) counts as one.
    """
    program = Program(graph, [*left, *right], variables)
    half = len(left)
    compare = _comparison(program, half)
    degree = program.degree() + 1
    bound = failure_bound(degree, degree * (program.height() + 64))
    trial = run_trials(compare, np.random.default_rng([seed, _SEED]), bound)
    if not trial.primes:
        return None
    wrong = trial.wrong
    if not wrong and trial.failure_probability > TARGET:
        wrong = tuple(range(half))
    return _Outcome(wrong, 0.0 if wrong else trial.failure_probability, trial.primes)


def _comparison(program: Program, half: int) -> Callable[[PrimeField, np.random.Generator, int], Residues | None]:
    def compare(finite: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        x = generator.integers(1, finite.prime, (len(program.inputs), points))
        tape = program.run(finite, x)
        good = ~tape.bad
        if not good.any():
            return None
        values = program.outputs(tape)[:, good]
        return np.asarray((values[:half] - values[half:]) % finite.prime)

    return compare


def with_values(proof: ExactProof, values: ComparedValues) -> ExactProof:
    """The proof of the whole: that of the rates, and that of the values at time 0."""
    if not values.failure_probability:
        return proof
    return replace(
        proof,
        method="identity-test",
        failure_probability=min(1.0, proof.failure_probability + values.failure_probability),
        primes=tuple(dict.fromkeys((*proof.primes, *values.primes))),
    )
