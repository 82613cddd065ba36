"""The written network: complexes, reactions between them, and whether they obey mass action.

A reaction is split into its forward and its backward direction where its flux is a difference of two mass-action terms.
Balance and deficiency belong to a written network. A model of rate rules has none; where its equations are of first
order with non-negative couplings it has a canonical realisation, conversions Yⱼ → Yᵢ, which is then used and named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import log
from typing import Final

import numpy as np

from sbmlump.linalg.connected import components, strong_components
from sbmlump.linalg.polynomial import Monomial, expand, monomial_node
from sbmlump.linalg.rational import add_to, left_null_space, null_space, primitive, rank, without_zeros
from sbmlump.model.evaluate import values_of
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.system import OdeSystem, Reaction
from sbmlump.structure.laws import changing_compartment, number_of

__all__ = [
    "Direction",
    "Network",
    "network_for_balance",
    "network_of",
    "Balance",
    "BalanceSettings",
    "balance_of",
    "non_negative_rates",
    "sign_of",
]


Complex = tuple[tuple[str, Fraction], ...]
"""(species, stoichiometry) in order of the ids; the empty tuple is the zero complex."""

AS_WRITTEN = "reactions as written"
FIRST_ORDER = "canonical first-order realisation of the rate rules"


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a reaction.

    Attributes
    ----------
    source, target : int
        Positions of the complexes.
    rate : Fraction or float or None
        Value of the mass-action rate constant (exact where it is rational); ``None`` if the flux is not mass action.
    reaction : str
        Id of the reaction.
    """

    source: int
    target: int
    rate: Fraction | float | None
    reaction: str


@dataclass(frozen=True, slots=True)
class Network:
    """Complexes and directions between them.

    Attributes
    ----------
    species : tuple of str
        States that take part.
    complexes : tuple of Complex
    directions : tuple of Direction
    realisation : str
        Where it comes from, in words.
    mass_action : bool
        Whether every direction has a mass-action rate, known and positive.
    obstacles : tuple of str
        Ids of reactions that are not mass action.
    """

    species: tuple[str, ...]
    complexes: tuple[Complex, ...]
    directions: tuple[Direction, ...]
    realisation: str
    mass_action: bool
    obstacles: tuple[str, ...] = ()

    @property
    def vectors(self) -> list[dict[int, Fraction]]:
        """Reaction vectors target − source, one for each direction, columns by species."""
        place = {name: i for i, name in enumerate(self.species)}
        return [_difference(self, one.target, one.source, place) for one in self.directions]

    @property
    def rank(self) -> int:
        """Dimension of the stoichiometric subspace."""
        distinct = {tuple(sorted(row.items())): row for row in self.vectors if row}
        return rank(list(distinct.values()), len(self.species))

    @property
    def linkage_classes(self) -> tuple[tuple[int, ...], ...]:
        """Complexes connected by reactions, as positions."""
        return tuple(map(tuple, components(self._steps(), range(len(self.complexes)))))

    @property
    def weakly_reversible(self) -> bool:
        """Whether every linkage class is strongly connected."""
        return len(self.linkage_classes) == len(strong_components(self._steps()))

    @property
    def reversible(self) -> bool:
        """Whether every direction has its opposite."""
        ends = {(one.source, one.target) for one in self.directions}
        return all((target, source) in ends for source, target in ends)

    @property
    def deficiency(self) -> int:
        """Complexes − linkage classes − rank."""
        return len(self.complexes) - len(self.linkage_classes) - self.rank

    def _steps(self) -> list[set[int]]:
        """Of each complex, itself and those that it becomes."""
        steps = [{i} for i in range(len(self.complexes))]
        for one in self.directions:
            steps[one.source].add(one.target)
        return steps


class _Builder:
    """Collects complexes and directions."""

    def __init__(self) -> None:
        self.complexes: dict[Complex, int] = {}
        self.directions: list[Direction] = []
        self.obstacles: list[str] = []

    def complex(self, side: Mapping[str, Fraction]) -> int:
        key = tuple(sorted((name, value) for name, value in side.items() if value))
        return self.complexes.setdefault(key, len(self.complexes))

    def add(self, source: int, target: int, rate: Fraction | float | None, reaction: str) -> None:
        if source != target:
            self.directions.append(Direction(source, target, rate, reaction))

    def network(self, realisation: str) -> Network:
        used = {name for key in self.complexes for name, _ in key}
        ends = {one.source for one in self.directions} | {one.target for one in self.directions}
        keep = sorted(ends)
        place = {old: new for new, old in enumerate(keep)}
        keys = list(self.complexes)
        directions = tuple(
            Direction(place[one.source], place[one.target], one.rate, one.reaction) for one in self.directions
        )
        fine = bool(directions) and all(one.rate is not None for one in directions)
        return Network(
            tuple(sorted(used)), tuple(keys[i] for i in keep), directions, realisation, fine, tuple(self.obstacles)
        )


def network_of(system: OdeSystem) -> Network | None:
    """The network of a model: its reactions, or the canonical realisation of first-order rate rules.

    Returns
    -------
    Network or None
        ``None`` if the right-hand side is not that of the reactions (rate rules besides them, stoichiometries that are
        no numbers, concentrations in a compartment whose size changes), or if rate rules have no canonical realisation:
        nothing is said of balance then.
    """
    if system.reactions:
        return _written_network(system)
    return _first_order_network(system)


def network_for_balance(system: OdeSystem) -> Network | None:
    """The written network if it obeys mass action, else the canonical first-order realisation where there is one."""
    written = network_of(system)
    if written is None or written.mass_action:
        return written
    return _first_order_network(system) or written


def _written_network(system: OdeSystem) -> Network | None:
    moved = set(system.states)
    builder = _Builder()
    touched: set[str] = set()
    for reaction in system.reactions:
        sides: list[dict[str, Fraction]] = []
        for side in (reaction.reactants, reaction.products):
            amounts: dict[str, Fraction] = {}
            for one in side:
                value = number_of(system, one)
                if value is None:
                    return None
                if one.species in moved:
                    add_to(amounts, one.species, value)
                    touched.add(one.species)
            sides.append(amounts)
        _add_reaction(system, builder, reaction, sides[0], sides[1])
    zero = system.graph.number(0)
    ruled = [
        name
        for name, rhs in zip(system.states, system.rhs, strict=True)
        if (name not in touched and rhs != zero) or (name in touched and system.is_boundary(name))
    ]
    # a concentration in a compartment that grows is diluted, which no reaction says
    diluted = any(_moves(system, changing_compartment(system, name)) for name in touched)
    return None if ruled or diluted else builder.network(AS_WRITTEN)


def _moves(system: OdeSystem, name: str | None) -> bool:
    """Whether a quantity changes, as one that a rule makes of constants does not."""
    if name is None or name not in system.definitions:
        return False
    node = system.definitions[name]
    return bool(system.graph.symbols([node]) & set(system.states)) or system.graph.depends_on_time([node])


def _add_reaction(
    system: OdeSystem,
    builder: _Builder,
    reaction: Reaction,
    left: Mapping[str, Fraction],
    right: Mapping[str, Fraction],
) -> None:
    source, target = builder.complex(left), builder.complex(right)
    parts = _mass_action_parts(system, reaction, left, right)
    if parts is None:
        builder.obstacles.append(reaction.id)
        builder.add(source, target, None, reaction.id)
        if reaction.reversible:
            builder.add(target, source, None, reaction.id)
        return
    forward, backward = parts
    if forward:
        builder.add(source, target, forward, reaction.id)
    if backward:
        builder.add(target, source, backward, reaction.id)


def _mass_action_parts(
    system: OdeSystem, reaction: Reaction, left: Mapping[str, Fraction], right: Mapping[str, Fraction]
) -> tuple[Fraction | float, Fraction | float] | None:
    """Rate constants forwards and backwards (0 where there is none), ``None`` if the flux is not mass action."""
    terms = expand(system.graph, reaction.flux, set(system.states))
    if terms is None:
        return None
    forward_monomial, backward_monomial = _monomial(left), _monomial(right)
    if forward_monomial is None:
        return None
    values = dict(zip(terms, _numbers(system, list(terms.values())), strict=True))
    values = without_zeros(values)
    forward = values.pop(forward_monomial, Fraction(0))
    backward = -values.pop(backward_monomial, Fraction(0)) if backward_monomial is not None else Fraction(0)
    if values or forward < 0 or backward < 0 or not _is_finite(forward) or not _is_finite(backward):
        return None
    return forward, backward


def _monomial(side: Mapping[str, Fraction]) -> Monomial | None:
    if any(value.denominator != 1 or value < 0 for value in side.values()):
        return None
    return tuple(sorted((name, int(value)) for name, value in side.items() if value))


def _is_finite(value: Fraction | float) -> bool:
    return isinstance(value, Fraction) or bool(np.isfinite(value))


def _numbers(system: OdeSystem, nodes: Sequence[Node]) -> list[Fraction | float]:
    """Values of expressions of constants, exact where rational; NaN where one has none."""
    graph = system.graph
    closed = graph.substitute(nodes, system.specialised())
    if graph.symbols(closed) or graph.depends_on_time(closed):
        closed = [node if not graph.symbols([node]) else graph.constant("notanumber") for node in closed]
    numbers: list[Fraction | float] = []
    for node in closed:
        exact = graph.number_of(node)
        numbers.append(exact if exact is not None else float(values_of(graph, [node])[0]))
    return numbers


def _first_order_network(system: OdeSystem) -> Network | None:
    """Conversions Yⱼ → Yᵢ with the off-diagonal entries as rates; what is left over leaves or multiplies."""
    states = set(system.states)
    builder = _Builder()
    coupling: dict[str, dict[str, Fraction | float]] = {}
    for name, rhs in zip(system.states, system.rhs, strict=True):
        terms = expand(system.graph, rhs, states)
        if terms is None or any(sum(e for _, e in monomial) > 1 for monomial in terms):
            return None
        values = dict(zip(terms, _numbers(system, list(terms.values())), strict=True))
        for monomial, value in values.items():
            source = monomial[0][0] if monomial else ""
            if not _is_finite(value) or (source != name and value < 0):
                return None
            coupling.setdefault(source, {})[name] = value
    for source, row in coupling.items():
        start: dict[str, Fraction] = {source: Fraction(1)} if source else {}
        total = _sum(row.values()) if source else Fraction(0)
        for target, value in row.items():
            if target != source and value:
                end = builder.complex({target: Fraction(1)})
                builder.add(builder.complex(start), end, value, f"{source or 'source'} -> {target}")
        if _is_negligible(total, row):
            continue
        rest: dict[str, Fraction] = {} if total < 0 else {source: Fraction(2)}
        builder.add(
            builder.complex(start), builder.complex(rest), total if total > 0 else -total, f"{source} left over"
        )
    return builder.network(FIRST_ORDER)


def _sum(values: Iterable[Fraction | float]) -> Fraction | float:
    total: Fraction | float = Fraction(0)
    for value in values:
        total = total + value
    return total


def _is_negligible(total: Fraction | float, row: Mapping[str, Fraction | float], rounding: float = 1e-12) -> bool:
    if isinstance(total, Fraction):
        return not total
    return abs(total) <= rounding * max(abs(float(value)) for value in row.values())


# -- balance -----------------------------------------------------------------------------------------
# Detailed and complex balance of a mass-action network, decided from its rate constants. Both are questions about a
# positive equilibrium x. Taking logarithms they become linear systems in ln x:
#
# - detailed balance: k₊ x^source = k₋ x^target for every pair of opposite directions;
# - complex balance: x^complex / κ is the same for all complexes of a linkage class, κ being the positive vector that
#   the Laplacian of the class maps to 0 (the tree constants).
#
# A linear system in logarithms is solvable if and only if Π b^w = 1 for every integer w that is orthogonal to its
# matrix (for detailed balance these are the Wegscheider conditions). With rational rate constants that is decided
# exactly. The equilibrium itself is then found numerically and put into the equations.
#
# References
# ----------
# M. Feinberg, Foundations of Chemical Reaction Network Theory, Springer 2019, chapters 14 and 15.


Number = Fraction | float


@dataclass(frozen=True, slots=True)
class BalanceSettings:
    """How balance is decided.

    Attributes
    ----------
    log_tolerance : float
        Of Σ w ln b, relative to its terms, for rate constants that are not rational.
    residual : float
        Of the balance at the equilibrium that was found, relative to the fluxes.
    most_exact_bits : int
        Of a product of powers of rational rate constants; longer ones are decided by logarithms.
    most_complexes : int
        Of a linkage class, whose tree constants need an elimination over Q; complex balance is not decided beyond.
    """

    log_tolerance: float = 1e-9
    residual: float = 1e-6
    most_exact_bits: int = 400_000
    most_complexes: int = 400


@dataclass(frozen=True, slots=True)
class Balance:
    """What is known of the balance of a network; ``None`` where it is not defined or was not decided.

    Attributes
    ----------
    detailed, complex : bool or None
        At a positive equilibrium.
    realisation : str
        Of which network.
    why : str
        One sentence.
    exact : bool
        Whether it was decided by exact arithmetic.
    equilibrium : mapping of str to float
        A positive equilibrium at which the balance holds, checked numerically; empty if there is none.
    """

    detailed: bool | None
    complex: bool | None
    realisation: str
    why: str
    exact: bool = True
    equilibrium: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _LogSystem:
    """Rows over species and right-hand sides b: row · ln x = ln b."""

    rows: list[dict[int, Fraction]]
    values: list[Number]


def balance_of(network: Network | None, settings: BalanceSettings = BalanceSettings()) -> Balance:
    """Whether a network is detailed balanced and complex balanced at a positive equilibrium."""
    if network is None:
        return Balance(None, None, "none", "the equations have no canonical network; balance is not defined")
    if not network.directions:
        return Balance(None, None, network.realisation, "there are no reactions")
    if not network.mass_action:
        listed = ", ".join(network.obstacles[:4])
        return Balance(None, None, network.realisation, f"not a mass-action network ({listed}); balance is not defined")
    if not network.weakly_reversible:
        return Balance(False, False, network.realisation, "the network is not weakly reversible")
    by_complexes = _complex_system(network, settings.most_complexes)
    complex_balanced, complex_exact = (
        (None, True) if by_complexes is None else _solvable(by_complexes, network, settings)
    )
    pairs = _pair_system(network)
    detailed, pairs_exact = (False, True) if pairs is None else _solvable(pairs, network, settings)
    exact = pairs_exact and (detailed or complex_exact)
    if detailed:
        complex_balanced = True
    equilibrium: Mapping[str, float] = {}
    if complex_balanced:
        conditions = pairs if detailed and pairs is not None else by_complexes
        solution = _equilibrium(network, conditions, settings.residual)
        equilibrium = solution or {}
        if solution is None:
            return Balance(
                None, None, network.realisation, "the balanced equilibrium could not be confirmed numerically", False
            )
    why = _why(detailed, complex_balanced, pairs)
    return Balance(detailed, complex_balanced, network.realisation, why, exact, equilibrium)


def _why(detailed: bool, complex_balanced: bool | None, pairs: _LogSystem | None) -> str:
    if detailed:
        return "every reaction is reversible and the Wegscheider conditions hold"
    first = "a reaction has no opposite" if pairs is None else "a Wegscheider condition does not hold"
    if complex_balanced is None:
        return f"{first}; complex balance was not decided (too large)"
    second = "the complexes are balanced all the same" if complex_balanced else "the complexes are not balanced either"
    return f"{first}; {second}"


def _difference(network: Network, a: int, b: int, place: Mapping[str, int] | None = None) -> dict[int, Fraction]:
    """Complex ``a`` − complex ``b``, columns by species."""
    place = place or {name: i for i, name in enumerate(network.species)}
    row: dict[int, Fraction] = {}
    for sign, which in ((1, a), (-1, b)):
        for name, value in network.complexes[which]:
            add_to(row, place[name], sign * value)
    return without_zeros(row)


def _pair_system(network: Network) -> _LogSystem | None:
    """(target − source)·ln x = ln(k₊/k₋); ``None`` if a direction has no opposite.

    Several reactions between the same complexes are taken pair by pair where they come from one reaction, else summed.
    """
    table: dict[tuple[str, int, int], Number] = {}
    for one in network.directions:
        assert one.rate is not None
        key = (one.reaction, one.source, one.target)
        add_to(table, key, one.rate)
    if any((name, target, source) not in table for name, source, target in table):
        summed: dict[tuple[str, int, int], Number] = {}
        for (_, source, target), rate in table.items():
            add_to(summed, ("", source, target), rate)
        table = summed
    rows: list[dict[int, Fraction]] = []
    values: list[Number] = []
    for (name, source, target), rate in table.items():
        back = table.get((name, target, source))
        if back is None:
            return None
        if source < target:
            rows.append(_difference(network, target, source))
            values.append(rate / back)
    return _LogSystem(rows, values)


def _complex_system(network: Network, most_complexes: int) -> _LogSystem | None:
    """(complex − first complex of its class)·ln x = ln(κ/κ₁)."""
    rows: list[dict[int, Fraction]] = []
    values: list[Number] = []
    for group in network.linkage_classes:
        if len(group) > most_complexes:
            return None
        constants = _tree_constants(network, group)
        if constants is None:
            return None
        for which, value in zip(group[1:], constants[1:], strict=True):
            rows.append(_difference(network, which, group[0]))
            values.append(value / constants[0])
    return _LogSystem(rows, values)


def _tree_constants(network: Network, group: Sequence[int]) -> list[Number] | None:
    """The positive vector in the kernel of the Laplacian of a strongly connected class."""
    place = {which: i for i, which in enumerate(group)}
    size = len(group)
    inside = [one for one in network.directions if one.source in place]
    if all(isinstance(one.rate, Fraction) for one in inside):
        laplacian: list[dict[int, Fraction]] = [{} for _ in group]
        for one in inside:
            assert isinstance(one.rate, Fraction)
            add_to(laplacian[place[one.target]], place[one.source], one.rate)
            add_to(laplacian[place[one.source]], place[one.source], -one.rate)
        vectors, _ = null_space(laplacian, size)
        return [vectors[0][i] for i in range(size)] if len(vectors) == 1 else None
    dense = np.zeros((size, size))
    for one in inside:
        assert one.rate is not None
        dense[place[one.target], place[one.source]] += float(one.rate)
        dense[place[one.source], place[one.source]] -= float(one.rate)
    _, _, right = np.linalg.svd(dense)
    kernel = right[-1] / right[-1][np.argmax(np.abs(right[-1]))]
    return None if (kernel <= 0).any() else [float(value) for value in kernel]


def _solvable(system: _LogSystem, network: Network, settings: BalanceSettings) -> tuple[bool, bool]:
    """Whether Π b^w = 1 for every integer w orthogonal to the rows, and whether exact arithmetic says so."""
    basis, _ = left_null_space(system.rows, len(network.species))
    exact = True
    for row in map(primitive, basis):
        exponents = {i: int(value) for i, value in row.items()}
        one, sure = _product_is_one([(system.values[i], e) for i, e in exponents.items()], settings)
        if not one:
            return False, sure
        exact = exact and sure
    return True, exact


def _product_is_one(powers: Sequence[tuple[Number, int]], settings: BalanceSettings) -> tuple[bool, bool]:
    """The answer, and whether it was found in exact arithmetic (not for irrational or very long numbers)."""
    bits = sum(
        abs(e) * (value.numerator.bit_length() + value.denominator.bit_length())
        for value, e in powers
        if isinstance(value, Fraction)
    )
    if all(isinstance(value, Fraction) for value, _ in powers) and bits <= settings.most_exact_bits:
        product = Fraction(1)
        for value, e in powers:
            assert isinstance(value, Fraction)
            product *= value**e
        return product == 1, True
    logarithms = [e * _log(value) for value, e in powers]
    return abs(sum(logarithms)) <= settings.log_tolerance * max(1.0, sum(map(abs, logarithms))), False


def _log(value: Number) -> float:
    if isinstance(value, Fraction):
        return log(value.numerator) - log(value.denominator)
    return log(value)


def _equilibrium(network: Network, system: _LogSystem | None, residual: float) -> dict[str, float] | None:
    """x from ln x by least squares, and whether inflow and outflow of every complex agree there."""
    if system is None:
        return None
    matrix = np.zeros((len(system.rows), len(network.species)))
    for i, row in enumerate(system.rows):
        for j, value in row.items():
            matrix[i, j] = float(value)
    target = np.array([_log(value) for value in system.values])
    logarithms = np.linalg.lstsq(matrix, target, rcond=None)[0] if len(target) else np.zeros(len(network.species))
    place = {name: i for i, name in enumerate(network.species)}
    powers = [
        float(np.exp(sum(float(value) * logarithms[place[name]] for name, value in one))) for one in network.complexes
    ]
    inflow, outflow = np.zeros(len(powers)), np.zeros(len(powers))
    for one in network.directions:
        flux = float(one.rate or 0) * powers[one.source]
        outflow[one.source] += flux
        inflow[one.target] += flux
    if not (np.abs(inflow - outflow) <= residual * np.maximum(inflow, outflow)).all():
        return None
    return {name: float(np.exp(logarithms[i])) for name, i in place.items()}


# -- signs -------------------------------------------------------------------------------------------
# A sufficient test that states cannot become negative: gᵢ ≥ 0 on yᵢ = 0, all others being non-negative.


_POSITIVE_FUNCTIONS: Final = frozenset({"exp", "cosh", "abs"})
_MONOTONE: Final = frozenset({"tanh", "arctan", "sinh", "floor"})  # of the sign of their argument, 0 at 0


def non_negative_rates(system: OdeSystem) -> Mapping[str, bool]:
    """For each state, whether its rate is certainly not negative where it is 0 and no state is negative.

    True for all of them: no state with an initial value of 0 or above becomes negative. False means "not shown"; a
    state that an event sets must also be set to what is certainly not negative. Constants have the values of the file.
    """
    graph = system.graph
    bound = graph.substitute(system.rhs, system.specialised())
    zero = graph.number(0)
    states = set(system.states)
    outcome: dict[str, bool] = {}
    for name, rhs in zip(system.states, bound, strict=True):
        edge = graph.substitute([rhs], {graph.symbol(name): zero})[0]
        outcome[name] = _is_non_negative(graph, edge, states)
    for event in system.events:
        for name, node in (*event.assignments, *event.implied):
            if name in outcome:
                value = graph.substitute([node], system.specialised())[0]
                outcome[name] = outcome[name] and _is_non_negative(graph, value, states)
    return outcome


def _is_non_negative(graph: Graph, root: Node, states: Collection[str]) -> bool:
    collected = graph.from_terms(graph.linear_terms(root))
    if sign_of(graph, collected, states) in (0, 1):
        return True
    terms = expand(graph, collected, states)
    if terms is None:
        return False
    nodes = [graph.mul((coefficient, monomial_node(graph, monomial))) for monomial, coefficient in terms.items()]
    return all(sign_of(graph, node, states) in (0, 1) for node in nodes)


def sign_of(graph: Graph, root: Node, states: Collection[str]) -> int | None:
    """1 for ≥ 0, -1 for ≤ 0, 0 for = 0, ``None`` for unknown, where states and time are non-negative."""
    signs: dict[Node, int | None] = {}
    free: dict[Node, bool] = {}
    for node in graph.reachable([root]):
        op, args = graph.op(node), graph.args(node)
        number = graph.number_of(node)
        free[node] = op not in (Op.SYMBOL, Op.TIME) and all(free[arg] for arg in args)
        if number is not None:
            signs[node] = (number > 0) - (number < 0)
        elif op is Op.SYMBOL:
            signs[node] = 1 if graph.name(node) in states else None
        elif op is Op.TIME:
            signs[node] = 1
        elif free[node]:
            value = float(values_of(graph, [node])[0])
            signs[node] = None if np.isnan(value) else int(value > 0) - int(value < 0)
        else:
            signs[node] = _sign(graph, node, op, [signs[arg] for arg in args])
    return signs[root]


def _sign(graph: Graph, node: Node, op: Op, parts: list[int | None]) -> int | None:
    if op is Op.PIECEWISE:
        parts = [*parts[:-1:2], parts[-1]]
    if op in (Op.ADD, Op.PIECEWISE):
        distinct = set(parts) - {0}
        return 0 if not distinct else distinct.pop() if len(distinct) == 1 else None
    known = [part for part in parts if part is not None]
    if op in (Op.MUL, Op.DIV):
        if op is Op.MUL and 0 in known:
            return 0
        if len(known) < len(parts):
            return None
        sign = 1
        for part in known:
            sign *= part
        return sign
    if op is Op.POW:
        exponent = graph.number_of(graph.args(node)[1])
        even = exponent is not None and exponent.denominator == 1 and exponent.numerator % 2 == 0
        return 1 if parts[0] in (0, 1) or even else None
    if op is Op.CALL:
        name = graph.name(node)
        if name in _POSITIVE_FUNCTIONS:
            return 1
        if name in _MONOTONE:
            return parts[0]
        if name in ("min", "max"):
            distinct = set(parts)
            return distinct.pop() if len(distinct) == 1 else 1 if name == "max" and 1 in distinct else None
    return None
