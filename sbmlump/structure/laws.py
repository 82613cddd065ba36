"""Conservation laws: combinations of states that never change, exactly, whatever the values of the constants.

A law is written in amounts: Σ nᵢ·Vᵢ·xᵢ, with small integers nᵢ and Vᵢ the size of the compartment of a concentration (a
symbol, so that the law holds for every size). Two ways lead to them: the left null space of the stoichiometric matrix,
and, beyond it, all linear first integrals of the right-hand side, found at random points modulo random primes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.errors import LimitError, Reason, UnsupportedModelError
from sbmlump.expr.domains import BadPrimeError, PrimeField
from sbmlump.expr.graph import Node
from sbmlump.expr.program import Program
from sbmlump.expr.text import to_text
from sbmlump.lumping.basis import choose_basis, primitive
from sbmlump.lumping.field import RowSpace, chinese_remainder, random_prime, rational_from_residue
from sbmlump.lumping.identity import failure_bound, run_trials
from sbmlump.structure.exact_linear import left_null_space
from sbmlump.system import OdeSystem, Participant

__all__ = [
    "Law",
    "amount_factors",
    "changing_compartment",
    "linear_integrals",
    "near_laws",
    "stoichiometric_laws",
    "stoichiometry",
]

Residues = NDArray[np.int64]
_BLOCK: Final = 128
_MAX_PRIMES: Final = 24
_MAX_STATES: Final = 5_000
_MOST_NEAR: Final = 20


@dataclass(frozen=True, slots=True)
class Law:
    """A combination of states that stays constant.

    Attributes
    ----------
    weights : mapping of state id to Fraction
        Coprime integers nᵢ.
    expression : Node
        Σ nᵢ·Vᵢ·xᵢ, or Σ nᵢ·xᵢ where all members count alike.
    symbolic : bool
        Whether it holds for all values of the constants; otherwise for those in the file.
    """

    weights: Mapping[str, Fraction]
    expression: Node
    symbolic: bool = True

    @property
    def non_negative(self) -> bool:
        """Whether no weight is negative."""
        return all(value >= 0 for value in self.weights.values())

    def text(self, system: OdeSystem) -> str:
        """The law as people write it, such as ``E + ES``."""
        return to_text(system.graph, self.expression)


def amount_factors(system: OdeSystem) -> tuple[Node, ...]:
    """Factor from each state to the amount it stands for: the symbol of a compartment of constant size, or 1."""
    graph = system.graph
    one = graph.number(1)
    constants = {c.id: c for c in system.constants}
    factors: list[Node] = []
    for name in system.states:
        quantity = system.quantities.get(name)
        size = None if quantity is None or quantity.kind != "species" or quantity.amount else quantity.compartment
        resting = constants.get(size) if size is not None else None
        if resting is None or resting.value is None:
            factors.append(one)
        else:
            factors.append(graph.symbol(resting.id))
    return tuple(factors)


def changing_compartment(system: OdeSystem, name: str) -> str | None:
    """The compartment of a state that is a concentration, if its size is no constant; else ``None``."""
    quantity = system.quantities.get(name)
    if quantity is None or quantity.kind != "species" or quantity.amount or quantity.compartment is None:
        return None
    return None if quantity.compartment in system.constant_values else quantity.compartment


def law_expression(system: OdeSystem, weights: Mapping[str, Fraction], factors: Sequence[Node]) -> Node:
    """Σ nᵢ·Vᵢ·xᵢ without the common factor of all members."""
    graph = system.graph
    index = system.state_index
    common = {factors[index[name]] for name in weights}
    return graph.add(
        graph.mul((graph.number(value), graph.symbol(name), *(() if len(common) == 1 else (factors[index[name]],))))
        for name, value in weights.items()
    )


# -- from the stoichiometry --------------------------------------------------------------------------


def stoichiometry(system: OdeSystem) -> list[dict[int, Fraction]] | None:
    """Rows of S, one for each state, columns by position of the reaction; ``None`` if a stoichiometry is no number.

    Only what takes part in reactions has entries; conversion factors make it ``None`` where they differ.
    """
    rows: list[dict[int, Fraction]] = [{} for _ in system.states]
    index = system.state_index
    factors = {
        quantity.conversion_factor or system.origin.conversion_factor
        for name, quantity in system.quantities.items()
        if name in index and quantity.kind == "species"
    }
    if len(factors) > 1:
        return None
    for column, reaction in enumerate(system.reactions):
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            for one in side:
                value = number_of(system, one)
                if value is None:
                    return None
                i = index.get(one.species)
                if i is not None and not system.quantities[one.species].boundary:
                    rows[i][column] = rows[i].get(column, Fraction(0)) + sign * value
    return [{j: value for j, value in row.items() if value} for row in rows]


def number_of(system: OdeSystem, participant: Participant) -> Fraction | None:
    """Stoichiometry as a number, constants opened."""
    node = system.graph.substitute([participant.stoichiometry], system.specialised())[0]
    return system.graph.number_of(node)


def stoichiometric_laws(system: OdeSystem) -> tuple[Law, ...]:
    """Integer basis of the left null space of S, as far as its vectors are laws of the right-hand side too.

    Non-negative where the space has such a basis. Empty if there are no reactions.
    """
    rows = stoichiometry(system)
    if rows is None or not system.reactions:
        return ()
    basis, pivots = left_null_space(rows, len(system.reactions))
    return _proved(system, basis, pivots, symbolic=True)


def near_laws(system: OdeSystem) -> tuple[tuple[Mapping[str, Fraction], str, str], ...]:
    """Totals that a naive look at the reactions would take for constant, each with what feeds or drains it.

    Only reactions with something on both sides are looked at first; a total that they keep is then held against
    every reaction and every rate rule.

    Returns
    -------
    tuple of (weights, element, kind)
        ``element`` is the id of the culprit, ``kind`` one of ``source``, ``sink``, ``rate rule``.
    """
    index = system.state_index
    inner: list[dict[int, Fraction]] = [{} for _ in system.states]
    outer: list[tuple[str, str, dict[int, Fraction]]] = []
    zero = system.graph.number(0)
    for column, reaction in enumerate(system.reactions):
        change: dict[int, Fraction] = {}
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            for one in side:
                value = number_of(system, one)
                if value is None:
                    return ()
                if one.species in index:
                    j = index[one.species]
                    change[j] = change.get(j, Fraction(0)) + sign * value
        ends = [any(one.species in index for one in side) for side in (reaction.reactants, reaction.products)]
        if all(ends):
            for j, value in change.items():
                inner[j][column] = value
        elif reaction.flux != zero:
            outer.append((reaction.id, "source" if ends[1] else "sink", change))
    members = [j for j, row in enumerate(inner) if row]
    basis, pivots = left_null_space([inner[j] for j in members], len(system.reactions))
    ruled = {j for j in members if (q := system.quantities.get(system.states[j])) is not None and q.boundary}
    found: list[tuple[Mapping[str, Fraction], str, str]] = []
    for local in choose_basis(basis, pivots).rows[: 20 * _MOST_NEAR]:
        row = {members[k]: value for k, value in primitive(local).items()}
        weights = {system.states[j]: value for j, value in row.items()}
        rule = next((system.states[j] for j in row if j in ruled), None)
        fed = next((one for one in outer if sum(row.get(j, 0) * v for j, v in one[2].items())), None)
        if rule is not None:
            found.append((weights, rule, "rate rule"))
        elif fed is not None:
            found.append((weights, fed[0], fed[1]))
        if len(found) == _MOST_NEAR:
            break
    return tuple(found)


# -- from the right-hand side ------------------------------------------------------------------------


def linear_integrals(system: OdeSystem, *, symbolic: bool = True, seed: int = 0) -> tuple[Law, ...]:
    """All linear first integrals Σ nᵢ·Vᵢ·xᵢ of the right-hand side, a readable integer basis.

    Parameters
    ----------
    symbolic : bool
        Ask that they hold for all values of the constants; otherwise only for those in the file (there may be more).
    seed : int
        Of the random numbers; a law that is returned has been proved with an error probability below 1e-18.

    Raises
    ------
    LimitError
        If there are more than 5,000 states (``too-large``).
    UnsupportedModelError
        If the right-hand side is defined at no random point (``undefined-right-hand-side``).
    """
    if system.size > _MAX_STATES:
        raise LimitError(
            Reason("too-large", f"first integrals are looked for up to {_MAX_STATES} states, not {system.size}")
        )
    if not system.size:
        return ()
    basis, pivots = _candidate_integrals(system, symbolic, seed)
    return _proved(system, basis, pivots, symbolic=symbolic, seed=seed)


def _rates_program(system: OdeSystem, symbolic: bool) -> Program:
    """Vᵢ·fᵢ over states, constants and time."""
    graph = system.graph
    roots = [graph.mul((v, f)) for v, f in zip(amount_factors(system), system.rhs, strict=True)]
    if not symbolic:
        roots = graph.substitute(roots, system.specialised())
    others = sorted(graph.symbols(roots) - set(system.states))
    inputs = [graph.symbol(name) for name in (*system.states, *others)]
    return Program(graph, roots, [*inputs, graph.time()])


def _candidate_integrals(system: OdeSystem, symbolic: bool, seed: int) -> tuple[list[dict[int, Fraction]], list[int]]:
    program = _rates_program(system, symbolic)
    generator = np.random.default_rng([seed, 0x1A75])
    spaces: list[tuple[tuple[int, ...], Residues, Residues, int]] = []
    for _ in range(_MAX_PRIMES):
        field = PrimeField(random_prime(generator), int(generator.integers(1 << 62)))
        try:
            space = _span_of_rates(program, field, generator, system.size)
        except BadPrimeError:
            continue
        rows, pivots = space.sorted_rows()
        key = (-len(pivots), *pivots.tolist())
        if spaces and key != spaces[0][0]:
            spaces = [min(spaces[0], (key, rows, pivots, field.prime), key=lambda one: one[0])]
            continue
        if any(prime == field.prime for *_, prime in spaces):
            continue
        spaces.append((key, rows, pivots, field.prime))
        lifted = _null_space_over_q(spaces, system.size)
        if lifted is not None:
            return lifted
    raise LimitError(Reason("coefficients-too-large", "the conservation laws need more than 24 primes of 31 bits"))


def _span_of_rates(program: Program, field: PrimeField, generator: np.random.Generator, n: int) -> RowSpace:
    """Span of the rate vectors, columns from the last state to the first."""
    space = RowSpace(n, field.prime)
    empty = 0
    while len(space) < n:
        points = generator.integers(1, field.prime, (len(program.inputs), _BLOCK))
        tape = program.run(field, points)
        good = ~tape.bad
        if not good.any():
            empty += 1
            if empty == 8:
                message = "a denominator of the right-hand side is zero everywhere"
                raise UnsupportedModelError(Reason("undefined-right-hand-side", message))
            continue
        if space.extend(program.outputs(tape)[::-1, good].T.copy()) < int(good.sum()):
            break  # random rows that all lie in the span: it is complete but with a tiny probability; laws are proved
    return space


def _null_space_over_q(
    spaces: Sequence[tuple[tuple[int, ...], Residues, Residues, int]], n: int
) -> tuple[list[dict[int, Fraction]], list[int]] | None:
    """Null space of the lifted span, in echelon form, free columns first; ``None`` if more primes are needed."""
    primes = [prime for *_, prime in spaces]
    pivots = spaces[0][2].tolist()
    taken = set(pivots)
    basis: list[dict[int, Fraction]] = []
    for free in sorted((j for j in range(n) if j not in taken), reverse=True):
        row = {n - 1 - free: Fraction(1)}
        for i, pivot in enumerate(pivots):
            residues = [int(rows[i, free]) for _, rows, _, _ in spaces]
            if any(residues):
                value = rational_from_residue(*chinese_remainder(residues, primes))
                if value is None:
                    return None
                row[n - 1 - pivot] = -value
        basis.append(dict(sorted(row.items())))
    return basis, [min(row) for row in basis]


def _proved(
    system: OdeSystem,
    basis: Sequence[Mapping[int, Fraction]],
    pivots: Sequence[int],
    *,
    symbolic: bool,
    seed: int = 0,
) -> tuple[Law, ...]:
    """Readable rows of the space that are laws indeed: Σ nᵢVᵢfᵢ ≡ 0 at random points modulo random primes."""
    if not basis:
        return ()
    factors = amount_factors(system)
    rows = [primitive(row) for row in choose_basis(basis, pivots).rows]
    program = _rates_program(system, symbolic)
    while rows:
        wrong = _wrong_rows(program, rows, seed)
        if not wrong:
            break
        rows = [row for i, row in enumerate(rows) if i not in wrong]
    laws: list[Law] = []
    for row in rows:
        weights = {system.states[j]: value for j, value in sorted(row.items())}
        laws.append(Law(weights, law_expression(system, weights, factors), symbolic))
    return tuple(laws)


def _wrong_rows(program: Program, rows: Sequence[Mapping[int, Fraction]], seed: int) -> set[int]:
    """Rows that were seen not to be laws; empty if all are, with an error probability below 1e-18."""
    bits = sum(float(v.numerator.bit_length()) for row in rows for v in row.values())
    degree = program.degree() + 1
    bound = failure_bound(degree, degree * (program.height() + bits + 64))

    def compare(field: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        x = generator.integers(1, field.prime, (len(program.inputs), points))
        tape = program.run(field, x)
        good = ~tape.bad
        if not good.any():
            return None
        rates = program.outputs(tape)[:, good].astype(object)
        sums = [sum(field.residue(v) * rates[j] for j, v in row.items()) % field.prime for row in rows]
        return np.array(sums, dtype=np.int64)

    trial = run_trials(compare, np.random.default_rng([seed, 0x1A76]), bound)
    return set(trial.wrong) if trial.primes else set(range(len(rows)))
