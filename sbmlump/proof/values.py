"""Values at time 0 as a part of a claim: initial values and constants, compared as formulas in the symbolic constants.

"For all values of k" says something of the initial values and of the constants too that are computed from k. With the
computed constants opened and the symbolic ones that are not computed left as symbols, each value is an expression of
these on both sides, and the two have to be identical: as numbers where nothing symbolic is in them, else over Q, with
functions taken as generic (equal arguments, equal values), as right-hand sides are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from sbmlump.arrays import Mask
from sbmlump.errors import Reason
from sbmlump.model.domains import BadPrimeError, PrimeField
from sbmlump.model.equality import same_value
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.program import Program
from sbmlump.model.properties import with_double_constants
from sbmlump.model.reduced import ExactProof
from sbmlump.model.system import OdeSystem
from sbmlump.proof.identity import (
    DEFAULT,
    IdentitySettings,
    IdentityTest,
    Stream,
    bound_of,
    compare_halves,
    run_trials,
    unequal_polynomials,
)

__all__ = [
    "ComparedValues",
    "ValiditySettings",
    "ValuePair",
    "ValueTable",
    "compare_values",
    "constant_pairs",
    "fixed_sets",
    "ids_below",
    "inside_functions",
    "resting_values",
    "with_sources",
    "with_compared_values",
]


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

    @staticmethod
    def initial(name: str, left: Node | None, right: Node | None, text: str) -> ValuePair:
        """A pair of initial values; ``{}`` in the text stands for the name."""
        if left is None or right is None:
            text = "{} has an initial value on one side only"
        return ValuePair(left, right, Reason("initial-value-differs", text.format(name), name))


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


def compare_values(
    original: Graph,
    reduced: Graph,
    pairs: Iterable[ValuePair],
    seed: int = 0,
    settings: IdentitySettings = DEFAULT,
) -> ComparedValues:
    """The pairs that are not identical.

    References
    ----------
    Schwartz, J. ACM 27 (1980), doi 10.1145/322217.322225: identity testing.
    """
    wrong: list[ValuePair] = []
    formulas: list[ValuePair] = []
    for pair in pairs:
        if pair.left is None or pair.right is None:
            if pair.left is not pair.right:
                wrong.append(pair)
        elif _is_symbolic(original, pair.left) or _is_symbolic(reduced, pair.right):
            formulas.append(pair)
        elif not same_value(original, pair.left, reduced, pair.right):
            wrong.append(pair)
    if not formulas:
        return ComparedValues(tuple(wrong))
    graph = Graph()
    left = graph.transplant(original, [pair.left for pair in formulas if pair.left is not None], {})
    right = graph.transplant(reduced, [pair.right for pair in formulas if pair.right is not None], {})
    outcome = _identical(graph, left, right, seed, settings)
    if outcome.wrong:
        both, replaced = with_double_constants(graph, [*left, *right])
        if replaced:
            again = _identical(graph, both[: len(left)], both[len(left) :], seed, settings)
            outcome = again if len(again.wrong) < len(outcome.wrong) else outcome
    wrong += [formulas[i] for i in outcome.wrong]
    return ComparedValues(tuple(wrong), outcome.failure_probability, outcome.primes)


def _is_symbolic(graph: Graph, node: Node) -> bool:
    return graph.number_of(node) is None and bool(graph.symbols([node]))  # most are numbers


def _identical(
    graph: Graph, left: Sequence[Node], right: Sequence[Node], seed: int, settings: IdentitySettings
) -> IdentityTest:
    """Positions at which two expressions of one graph are not identical."""
    open_pairs = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
    if not open_pairs:
        return IdentityTest()
    a, b = [left[i] for i in open_pairs], [right[i] for i in open_pairs]
    variables = [graph.symbol(name) for name in sorted(graph.symbols([*a, *b]))]
    unequal = unequal_polynomials(graph, a, b, variables)
    if unequal is not None:
        return IdentityTest(tuple(open_pairs[i] for i in unequal))
    test = _tested(Program(graph, [*a, *b], variables), seed, settings)
    if test is not None:
        return replace(test, wrong=tuple(open_pairs[i] for i in test.wrong))
    # some pair is defined nowhere; one by one, so that it hides no other
    alone = [_tested(Program(graph, both, variables), seed, settings) for both in zip(a, b, strict=True)]
    wrong = tuple(i for i, test in zip(open_pairs, alone, strict=True) if test is None or test.wrong)
    known = [test for test in alone if test is not None]
    chance = min(1.0, sum(test.failure_probability for test in known))
    return IdentityTest(wrong, tuple(p for test in known for p in test.primes), 0, chance)


def _tested(program: Program, seed: int, settings: IdentitySettings) -> IdentityTest | None:
    """By trials at random points; ``None`` if no point was found at which all is defined.

    A difference that the trials are too few for (numbers that are too large) counts as one.
    """
    bound = bound_of(program, settings=settings)[1]
    test = run_trials(compare_halves(program), Stream.VALUES.generator(seed), bound, settings)
    if not test.primes:
        return None
    if not test.wrong and test.failure_probability > settings.target:
        test = replace(test, wrong=tuple(range(len(program.roots) // 2)))
    return replace(test, failure_probability=0.0) if test.wrong else test


def with_compared_values(proof: ExactProof, values: ComparedValues) -> ExactProof:
    """The proof of the whole: that of the rates, and that of the values at time 0."""
    if not values.failure_probability:
        return proof
    return replace(
        proof,
        method="identity-test",
        failure_probability=min(1.0, proof.failure_probability + values.failure_probability),
        primes=tuple(dict.fromkeys((*proof.primes, *values.primes))),
    )


# -- For which values of the constants a reduction holds -------------------------------------------

# For which values of the constants a reduction holds: all of them where that can be proved, else what it rests on.
#
# A reduction may use the values in the file, but most do not need them. So what was found is proved with every constant
# symbolic first. Where that fails, the constants that matter are looked for: both sides are evaluated modulo a
# prime with
# some constants at their values and the others random, and a constant that cannot be set free without a difference is
# fixed. That search is trusted with nothing; the claim is proved again with the rest symbolic.


Joined = tuple[Graph, Sequence[Node], Sequence[Node]]
"""A graph, and both sides of what has to be identical in it."""


@dataclass(frozen=True, slots=True)
class ValiditySettings:
    """How long constants that matter are looked for.

    Attributes
    ----------
    work : int
        Nodes times columns (a few seconds); beyond it every constant of what differs counts as one that matters.
    column_bytes : int
        Of one block of columns: it stays within the memory of a small machine.
    tries : int
        Primes, until one divides no denominator; each of 50 million is one with the same small chance.
    """

    work: int = 200_000_000
    column_bytes: int = 64 << 20
    tries: int = 8


def inside_functions(graph: Graph, left: Sequence[Node], right: Sequence[Node]) -> frozenset[str]:
    """Ids in exponents and in arguments of functions: with their values such an expression may be a rational one."""
    nodes = graph.reachable([*left, *right])
    called = [arg for node in nodes if graph.op(node) is Op.CALL for arg in graph.args(node)]
    exponents = [graph.args(node)[1] for node in nodes if graph.op(node) is Op.POW]
    return frozenset(graph.symbols([*called, *exponents]))


def with_sources(system: OdeSystem, names: Iterable[str]) -> frozenset[str]:
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
    below: set[str] = set()
    new = set(names)
    while new:
        below |= new
        new = graph.symbols([given[name] for name in new if name in given]) - below
    return below


# -- which constants matter --------------------------------------------------------------------------


def fixed_sets(
    system: OdeSystem,
    symbolic: AbstractSet[str],
    joined: Joined,
    seed: int,
    settings: ValiditySettings,
) -> Iterator[frozenset[str]]:
    """Constants to fix so that two lists of expressions are identical, the smallest set first.

    Parameters
    ----------
    system : OdeSystem
        The original.
    symbolic : set of str
        Constants that are not to be fixed.
    joined : graph, expressions, expressions
        Over states, and constants as symbols.
    seed : int
    settings : ValiditySettings
    """
    constants = [c.id for c in system.constants if c.id not in symbolic]
    search = _ConstantSearch(system, joined, constants, seed, settings)
    if search.differing:
        yield search.needed()
        yield search.mentioned


class _ConstantSearch:
    """Looks for the constants without whose values two lists of expressions differ.

    Every column is one point: the same states, with some of the constants at random values and the others at those of
    the file.
    """

    def __init__(
        self,
        system: OdeSystem,
        joined: Joined,
        constants: Sequence[str],
        seed: int,
        settings: ValiditySettings,
    ) -> None:
        self._generator = Stream.VALIDITY.generator(seed)
        self._settings = settings
        graph, left, right = joined
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
        if size * len(open_names) > self._settings.work:
            return frozenset(fixed) | frozenset(open_names)
        alone = self._differing([frozenset({name}) for name in open_names])
        fixed |= {name for i, name in enumerate(open_names) if alone[:, i].any()}
        undecided = [name for name in open_names if name not in fixed]
        free: list[str] = []
        while undecided:
            # set free one after the other; the first that makes a difference together with those before it stays
            columns = [frozenset((*free, *undecided[: i + 1])) for i in range(len(undecided))]
            wrong = self._differing(columns)
            first = next((i for i in range(len(undecided)) if wrong[:, i].any()), len(undecided))
            free += undecided[:first]
            fixed |= set(undecided[first : first + 1])
            undecided = undecided[first + 1 :]
        return frozenset(fixed)

    def _draw(self) -> None:
        """A prime that divides no denominator of the values, and the random values of everything."""
        for _ in range(self._settings.tries):
            self._field = PrimeField.random(self._generator)
            try:
                self._fixed = {name: self._field.residue(value) for name, value in self._values.items()}
            except BadPrimeError:
                continue
            break
        else:
            self._fixed = {}
        drawn = self._generator.integers(1, self._field.prime, len(self._names) + 1)
        self._random = dict(zip([*self._names, ""], drawn.tolist(), strict=True))

    def _differing(self, columns: Sequence[frozenset[str]]) -> Mask:
        """Which pairs differ at the points at which these constants are free, shape (pairs, columns)."""
        graph, prime = self._graph, self._field.prime
        roots = [node for pair in self._pairs for node in pair]
        program = Program(graph, roots, [*(graph.symbol(name) for name in self._names), graph.time()])
        differing = np.zeros((len(self._pairs), len(columns)), dtype=np.bool_)
        width = max(1, self._settings.column_bytes // (8 * max(program.size, 1)))
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
                differing[:, low : low + width] = True
                continue
            values = program.outputs(tape)
            different = (values[0::2] - values[1::2]) % prime != 0
            # where something is undefined nothing was shown: as good as a difference
            differing[:, low : low + width] = different | tape.bad[None, :]
        return differing


def _numbers(system: OdeSystem, names: Sequence[str]) -> dict[str, Fraction]:
    """Values of constants as rationals; irrational ones as the doubles nearest to them, none where it is not finite."""
    graph, values = system.graph, system.constant_values
    numbers: dict[str, Fraction] = {}
    for name in names:
        node = values.get(name)
        if node is None:
            continue
        number = graph.number_of(node)
        if number is None:
            value = float(values_of(graph, [node])[0])
            number = Fraction(value) if np.isfinite(value) else None
        if number is not None:
            numbers[name] = number
    return numbers
