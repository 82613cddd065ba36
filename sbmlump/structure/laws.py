"""Conservation laws: combinations of states that never change, exactly, whatever the values of the constants.

A law is written in amounts: Σ nᵢ·Vᵢ·xᵢ, with small integers nᵢ and Vᵢ the size of the compartment of a concentration (a
symbol, so that the law holds for every size, also for one that changes; over the conversion factor where species have
different ones). Two ways lead to them: the left null space of the stoichiometric matrix, and, beyond it, all linear
first integrals of the right-hand side, found at random points modulo random primes. Some hold for the values in the
file only, such as that of a stoichiometry with an id; of those it is said on which constants they rest.

A total that decays is the next best: T' = μT + β with one rate μ ≠ 0, as growth and turnover at one rate make it, so
that T(t) = a + (T(0) − a)·exp(μt), a = −β/μ, is known at all times. Such rows are the left eigenvectors for rational
eigenvalues of the affine part of the rates, in the largest space that it maps into itself and on which nothing but that
part acts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction

import flint
import numpy as np

from sbmlump.errors import LimitError, Reason
from sbmlump.linalg.basis import choose_basis
from sbmlump.linalg.finite_field import Residues, RowSpace, rows_from_residues
from sbmlump.linalg.polynomial import expand, in_lowest_terms
from sbmlump.linalg.rational import (
    Row,
    add_to,
    combined,
    dot,
    echelon,
    fraction,
    kernel,
    left_null_space,
    null_space,
    of_fraction,
    primitive,
    solve_rows,
    without_zeros,
)
from sbmlump.model.domains import BadPrimeError, PrimeField
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.program import Program, Tape, where_defined
from sbmlump.model.properties import with_double_constants
from sbmlump.model.system import (
    Event,
    OdeSystem,
    Participant,
    new_values,
    overwrites_others,
    targets,
    two_moments,
    values_are_old,
)
from sbmlump.model.text import to_text
from sbmlump.proof.identity import ModularRows, failure_bound, run_trials

__all__ = [
    "ConservationLaw",
    "DecayingRow",
    "DecayingTotal",
    "LawSettings",
    "Measure",
    "amount_factors",
    "changing_compartment",
    "conserved_laws",
    "decaying_rows",
    "decaying_totals",
    "is_law",
    "law_expression",
    "law_measures",
    "law_of",
    "linear_integrals",
    "moved_by_reactions",
    "near_laws",
    "number_of",
    "rests_on",
    "stoichiometric_constants",
    "stoichiometric_laws",
    "stoichiometry",
    "changing_event",
    "rows_kept_by_events",
]


@dataclass(frozen=True, slots=True)
class LawSettings:
    """How conservation laws are searched.

    Attributes
    ----------
    points : int
        Random points evaluated at once.
    most_primes : int
        Of 31 bits for the coefficients: laws with longer ones are of no use to anyone.
    most_states : int
        The search is cubic in their number.
    most_near : int
        Totals that look conserved that are listed.
    most_states_decaying : int
        The search for totals that decay takes twice as many columns as there are states.
    most_affine_rows : int
        Dimension of the space of totals with affine rates: the work for its eigenvalues grows with the fourth power.
    same_rate : float
        Relative difference of rates that irrational constants in them may make: these were taken as doubles.
    most_weight_bits : int
        Of the weights of a total that decays: where they differ by more than a double holds, a total less its other
        members is no number any more.
    """

    points: int = 128
    most_primes: int = 24
    most_states: int = 5_000
    most_near: int = 20
    most_states_decaying: int = 1_000
    most_affine_rows: int = 120
    same_rate: float = 1e-12
    most_weight_bits: int = 40


@dataclass(frozen=True, slots=True)
class ConservationLaw:
    """A combination of states that stays constant.

    Attributes
    ----------
    weights : mapping of state id to Fraction
        Coprime integers nᵢ.
    expression : Node
        Σ nᵢ·Vᵢ·xᵢ, or Σ nᵢ·xᵢ where all members count alike: over states, constants and time.
    written : Node
        The same with the id of a compartment whose size a rule gives, as people write it.
    rests_on : tuple of str
        Constants for whose values in the file it holds; empty if it holds for all values of all constants.
    """

    weights: Mapping[str, Fraction]
    expression: Node
    written: Node
    rests_on: tuple[str, ...] = ()

    @property
    def non_negative(self) -> bool:
        """Whether no weight is negative."""
        return all(value >= 0 for value in self.weights.values())

    def text(self, system: OdeSystem) -> str:
        """The law as people write it, such as ``E + ES``."""
        return to_text(system.graph, self.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayingTotal(ConservationLaw):
    """A combination T of states that relaxes at one rate: T' = μT + β along the flow, μ ≠ 0.

    Attributes
    ----------
    rate : Node
        μ, over constants.
    inflow : Node
        β, over constants, of ``expression``.
    value : Fraction
        μ at the values of the file.
    set_by : str or None
        The event that sets a member: then it holds between the events only.
    """

    rate: Node
    inflow: Node
    value: Fraction
    set_by: str | None = None

    def level(self, graph: Graph) -> Node:
        """a = −β/μ, where the total comes to rest."""
        return in_lowest_terms(graph, graph.div(graph.neg(self.inflow), self.rate))

    def factor(self, graph: Graph) -> Node:
        """exp(μt)."""
        return graph.call("exp", (graph.mul((self.rate, graph.time())),))

    def constant(self, graph: Graph) -> Node:
        """a + (T − a)/exp(μt): the value of the total at time 0, which never changes, over states, constants and time.

        The factor is divided by, not multiplied with exp(−μt), so that it is one function of one argument everywhere.
        """
        level = self.level(graph)
        return graph.add((level, graph.div(graph.sub(self.expression, level), self.factor(graph))))

    def at_time(self, graph: Graph, start: Node) -> Node:
        """a + (T(0) − a)·exp(μt), the total at all times by its value at time 0."""
        level = self.level(graph)
        return graph.add((level, graph.mul((graph.sub(start, level), self.factor(graph)))))


def amount_factors(system: OdeSystem) -> tuple[Node, ...]:
    """Factor from each state to the amount it stands for: the symbol of a compartment of constant size, or 1."""
    graph = system.graph
    one = graph.number(1)
    with_value = {c.id for c in system.constants if c.value is not None}
    sizes = [system.compartment_of(name) for name in system.states]
    return tuple(graph.symbol(size) if size is not None and size in with_value else one for size in sizes)


def changing_compartment(system: OdeSystem, name: str) -> str | None:
    """The compartment of a state that is a concentration, if its size is no constant; else ``None``."""
    compartment = system.compartment_of(name)
    return None if compartment in system.constant_values else compartment


@dataclass(frozen=True, slots=True)
class Measure:
    """What a state is counted by in laws.

    Attributes
    ----------
    factor : Node
        V (over the conversion factor), or 1: the state times it is an amount.
    written : Node
        The factor with the compartment's id.
    growth : Node or None
        Its rate along the flow; ``None`` if it is constant.
    """

    factor: Node
    written: Node
    growth: Node | None = None


def law_measures(system: OdeSystem) -> tuple[Measure, ...]:
    """What each state is counted by.

    In a compartment whose size changes a species that reactions change is counted as an amount; one with a rate rule is
    what its rule says. Conversion factors count where species that reactions change have different ones.
    """
    graph = system.graph
    moved = moved_by_reactions(system)
    conversions = {name: system.conversion_factor_of(name) for name in moved}
    differing = len(set(conversions.values())) > 1
    growing: dict[str, Measure | None] = {}
    measures: list[Measure] = []
    for name, size in zip(system.states, amount_factors(system), strict=True):
        measure = Measure(size, size)
        changing = changing_compartment(system, name) if name in moved else None
        if changing is not None and changing in system.definitions:
            if changing not in growing:
                growing[changing] = _growing(system, changing)
            measure = growing[changing] or measure
        factor = conversions.get(name) if differing else None
        if factor is not None:
            by = graph.symbol(factor)
            growth = None if measure.growth is None else graph.div(measure.growth, by)
            measure = Measure(graph.div(measure.factor, by), graph.div(measure.written, by), growth)
        measures.append(measure)
    return tuple(measures)


def law_expression(
    system: OdeSystem, weights: Mapping[str, Fraction], measures: Sequence[Measure], *, written: bool = False
) -> Node:
    """Σ nᵢ·Vᵢ·xᵢ, without a constant factor that all members share."""
    graph = system.graph
    index = system.state_index
    own = {name: measures[index[name]] for name in weights}
    shared = len({one.factor for one in own.values()}) == 1 and all(one.growth is None for one in own.values())
    factors = {name: () if shared else (one.written if written else one.factor,) for name, one in own.items()}
    return graph.add(
        graph.mul((graph.number(value), graph.symbol(name), *factors[name])) for name, value in weights.items()
    )


def law_of(
    system: OdeSystem, weights: Mapping[str, Fraction], measures: Sequence[Measure], rests_on: Sequence[str] = ()
) -> ConservationLaw:
    """The law with these weights."""
    expression = law_expression(system, weights, measures)
    return ConservationLaw(
        weights, expression, law_expression(system, weights, measures, written=True), tuple(rests_on)
    )


def moved_by_reactions(system: OdeSystem) -> set[str]:
    """States that reactions change: species that take part in one and are no boundary species."""
    taking_part = frozenset[str]().union(*(reaction.taking_part for reaction in system.reactions))
    return {name for name in system.states if name in taking_part and not system.is_boundary(name)}


def _growing(system: OdeSystem, compartment: str) -> Measure | None:
    """The measure of a compartment that changes; ``None`` if its size has no derivative that can be written."""
    size = system.definitions[compartment]
    try:
        (growth,) = system.along_flow([size])
    except ValueError:
        return None
    return Measure(size, system.graph.symbol(compartment), growth)


# -- from the stoichiometry --------------------------------------------------------------------------


def stoichiometry(system: OdeSystem) -> list[dict[int, Fraction]] | None:
    """Rows of S, one for each state, columns by position of the reaction; ``None`` if a stoichiometry is no number.

    Only what takes part in reactions has entries. They are in extents, before conversion factors.
    """
    rows: list[dict[int, Fraction]] = [{} for _ in system.states]
    index = system.state_index
    for column, reaction in enumerate(system.reactions):
        for sign, participant in reaction.participants:
            value = number_of(system, participant)
            if value is None:
                return None
            i = index.get(participant.species)
            if i is not None and not system.is_boundary(participant.species):
                add_to(rows[i], column, sign * value)
    return [without_zeros(row) for row in rows]


def number_of(system: OdeSystem, participant: Participant) -> Fraction | None:
    """Stoichiometry as a number, constants opened."""
    node = system.graph.substitute([participant.stoichiometry], system.specialised())[0]
    return system.graph.number_of(node)


def stoichiometric_laws(system: OdeSystem) -> tuple[ConservationLaw, ...]:
    """Integer basis of the left null space of S, as far as its vectors are laws of the right-hand side too.

    Non-negative where the space has such a basis. Empty if there are no reactions. Stoichiometries have the values of
    the file, also those with an id; rate constants may have any.
    """
    rows = stoichiometry(system)
    if rows is None or not system.reactions:
        return ()
    basis, pivots = left_null_space(rows, len(system.reactions))
    named = stoichiometric_constants(system)
    fixed = system.specialised(frozenset(c.id for c in system.constants) - named) if named else {}
    return tuple(_with_constants(system, law, frozenset()) for law in _proved(system, basis, pivots, fixed))


def stoichiometric_constants(system: OdeSystem) -> frozenset[str]:
    """Constants that stoichiometries hold, such as a species reference with an id."""
    graph = system.graph
    nodes = [participant.stoichiometry for r in system.reactions for _, participant in r.participants]
    return frozenset(graph.symbols(nodes) & {c.id for c in system.constants})


def near_laws(
    system: OdeSystem, settings: LawSettings = LawSettings()
) -> tuple[tuple[Mapping[str, Fraction], str, str], ...]:
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
    values = system.specialised()
    for column, reaction in enumerate(system.reactions):
        change: dict[int, Fraction] = {}
        for sign, participant in reaction.participants:
            value = number_of(system, participant)
            if value is None:
                return ()
            if participant.species in index:
                j = index[participant.species]
                add_to(change, j, sign * value)
        ends = [any(one.species in index for one in side) for side in (reaction.reactants, reaction.products)]
        if all(ends):
            for j, value in change.items():
                inner[j][column] = value
        elif system.graph.substitute([reaction.flux], values)[0] != zero:
            outer.append((reaction.id, "source" if ends[1] else "sink", change))
    members = [j for j, row in enumerate(inner) if row]
    basis, pivots = left_null_space([inner[j] for j in members], len(system.reactions))
    ruled = {j for j in members if system.is_boundary(system.states[j])}
    found: list[tuple[Mapping[str, Fraction], str, str]] = []
    for local in choose_basis(basis, pivots).rows[: 20 * settings.most_near]:
        row = {members[k]: value for k, value in primitive(local).items()}
        weights = {system.states[j]: value for j, value in row.items()}
        rule = next((system.states[j] for j in row if j in ruled), None)
        fed = next((one for one in outer if dot(one[2], row)), None)
        if rule is not None:
            found.append((weights, rule, "rate rule"))
        elif fed is not None:
            found.append((weights, fed[0], fed[1]))
        if len(found) == settings.most_near:
            break
    # what feeds it may be what another reaction drains, or nothing at the values of the file
    candidates = [{index[name]: value for name, value in weights.items()} for weights, _, _ in found]
    laws = _laws_among(_rates_program(system, system.specialised()), candidates, 0) if found else set()
    return tuple(one for i, one in enumerate(found) if i not in laws)


# -- from the right-hand side ------------------------------------------------------------------------


def linear_integrals(
    system: OdeSystem,
    *,
    symbolic: bool = True,
    keep: AbstractSet[str] = frozenset(),
    seed: int = 0,
    settings: LawSettings = LawSettings(),
) -> tuple[ConservationLaw, ...]:
    """All linear first integrals Σ nᵢ·Vᵢ·xᵢ of the right-hand side, a readable integer basis.

    Parameters
    ----------
    symbolic : bool
        Ask that they hold for all values of the constants; otherwise only for those in the file (there may be more).
    keep : set of str
        Constants for all of whose values they are to hold also then.
    seed : int
        Of the random numbers; a law that is returned has been proved with an error probability below 1e-18.
    settings : LawSettings

    Raises
    ------
    LimitError
        If there are more than 5,000 states (``too-large``).
    UnsupportedModelError
        If the right-hand side is defined at no random point (``undefined-right-hand-side``).
    """
    if system.size > settings.most_states:
        message = f"first integrals are looked for up to {settings.most_states} states, not {system.size}"
        raise LimitError(Reason("too-large", message))
    if not system.size:
        return ()
    fixed: Mapping[Node, Node] = {} if symbolic else system.specialised(frozenset(keep))
    basis, pivots = _candidate_integrals(system, fixed, seed, settings)
    return _proved(system, basis, pivots, fixed, seed=seed)


def conserved_laws(
    system: OdeSystem, *, keep: AbstractSet[str] = frozenset(), seed: int = 0
) -> tuple[ConservationLaw, ...]:
    """A basis of all laws that hold for the values of the file and for all values of the constants in ``keep``.

    First those that hold for all values of all constants, then the others, each with the constants that it rests on.

    Raises
    ------
    LimitError, UnsupportedModelError
        As :func:`linear_integrals`.
    """
    every = linear_integrals(system, seed=seed)
    if len(every) == system.size or not system.constants:
        return every
    more = linear_integrals(system, symbolic=False, keep=keep, seed=seed)
    if len(more) <= len(every):
        return every
    index = system.state_index
    rows: list[Mapping[int, Fraction]] = [{index[n]: v for n, v in law.weights.items()} for law in every]
    extra: list[ConservationLaw] = []
    for law in more:
        row = {index[n]: v for n, v in law.weights.items()}
        if solve_rows(rows, row) is None:
            rows.append(row)
            extra.append(_with_constants(system, law, keep, seed))
    return (*every, *extra)


def is_law(system: OdeSystem, weights: Mapping[str, Fraction], fixed: AbstractSet[str], seed: int = 0) -> bool:
    """Whether Σ nᵢ·Vᵢ·xᵢ is constant with the constants in ``fixed`` at their values, for all values of the others."""
    free = frozenset(c.id for c in system.constants) - fixed
    index = system.state_index
    program = _rates_program(system, system.specialised(free) if fixed else {})
    return not _wrong_rows(program, [{index[name]: value for name, value in weights.items()}], seed)


def rests_on(
    system: OdeSystem, weights: Mapping[str, Fraction], keep: AbstractSet[str] = frozenset(), seed: int = 0
) -> tuple[str, ...] | None:
    """Constants, none of ``keep``, for whose values in the file this is a law; ``None`` if it is none for them either.

    No one of them can be left out. Stoichiometries with an id are named rather than constants that could take their
    place.
    """
    every = frozenset(c.id for c in system.constants)
    if is_law(system, weights, frozenset(), seed):
        return ()
    if not is_law(system, weights, every - keep, seed):
        return None
    graph = system.graph
    index = system.state_index
    measures = law_measures(system)
    rates = _law_rates(system, measures)
    mentioned = graph.symbols([rates[index[name]] for name in weights])
    last = stoichiometric_constants(system)
    left = sorted((every & mentioned) - keep, key=lambda name: (name in last, name))
    if not is_law(system, weights, frozenset(left), seed):
        left = sorted(every - keep)  # constants that others are computed from matter too
    return _least(left, lambda fixed: is_law(system, weights, fixed, seed))


def _least(names: Sequence[str], holds: Callable[[frozenset[str]], bool]) -> tuple[str, ...]:
    """Names of which none can be left out, out of some for which it holds: halves, quarters, … are left out first."""
    left = list(names)
    size = max(1, len(left) // 2)
    while True:
        place = 0
        while place < len(left):
            rest = left[:place] + left[place + size :]
            if holds(frozenset(rest)):
                left = rest
            else:
                place += size
        if size == 1:
            return tuple(sorted(left))
        size = max(1, size // 2)


def _with_constants(system: OdeSystem, law: ConservationLaw, keep: AbstractSet[str], seed: int = 0) -> ConservationLaw:
    return replace(law, rests_on=rests_on(system, law.weights, keep, seed) or ())


def _law_rates(system: OdeSystem, measures: Sequence[Measure]) -> list[Node]:
    """Rates of Vᵢ·xᵢ along the flow."""
    graph = system.graph
    rates: list[Node] = []
    for name, rhs, measure in zip(system.states, system.rhs, measures, strict=True):
        rate = graph.mul((measure.factor, rhs))
        if measure.growth is not None:
            rate = graph.add((rate, graph.mul((measure.growth, graph.symbol(name)))))
        rates.append(rate)
    return rates


def _rates_program(system: OdeSystem, fixed: Mapping[Node, Node]) -> Program:
    """Rates of Vᵢ·xᵢ over states, constants and time, with some constants at their values."""
    roots = _law_rates(system, law_measures(system))
    return _program_of(system, system.graph.substitute(roots, fixed) if fixed else roots)


def _program_of(system: OdeSystem, roots: Sequence[Node]) -> Program:
    graph = system.graph
    others = sorted(graph.symbols(roots) - set(system.states))
    inputs = [graph.symbol(name) for name in (*system.states, *others)]
    return Program(graph, roots, [*inputs, graph.time()])


def _candidate_integrals(
    system: OdeSystem, fixed: Mapping[Node, Node], seed: int, settings: LawSettings
) -> tuple[list[dict[int, Fraction]], list[int]]:
    return _null_space_of(_rates_program(system, fixed), seed, settings)


def _null_space_of(
    program: Program,
    seed: int,
    settings: LawSettings,
    rows: Sequence[Mapping[int, Fraction]] | None = None,
) -> tuple[list[dict[int, Fraction]], list[int]]:
    """Combinations of the outputs that vanish at random points modulo random primes, in echelon form, and its pivots.

    Parameters
    ----------
    rows : sequence of mappings, optional
        Combinations of outputs to take in the place of the outputs.
    """
    width = len(program.roots) if rows is None else len(rows)
    weights = None if rows is None else ModularRows(rows, len(program.roots))
    generator = np.random.default_rng([seed, 0x1A75])
    spaces: list[tuple[tuple[int, ...], Residues, Residues, int]] = []
    for _ in range(settings.most_primes):
        field = PrimeField.random(generator)
        try:
            space = _span_of_outputs(program, field, generator, width, weights, settings.points)
        except BadPrimeError:
            continue
        found, pivots = space.sorted_rows()
        key = (-len(pivots), *pivots.tolist())
        if spaces and key != spaces[0][0]:
            spaces = [min(spaces[0], (key, found, pivots, field.prime), key=lambda one: one[0])]
            continue
        if any(prime == field.prime for *_, prime in spaces):
            continue
        spaces.append((key, found, pivots, field.prime))
        if len(spaces) == 1 and len(pivots) < width:
            continue  # a prime of its own has to confirm every entry, if there are any
        lifted = _null_space_over_q(spaces, width)
        if lifted is not None:
            return lifted
    message = f"the conservation laws need more than {settings.most_primes} primes of 31 bits"
    raise LimitError(Reason("coefficients-too-large", message))


def _span_of_outputs(
    program: Program,
    field: PrimeField,
    generator: np.random.Generator,
    width: int,
    weights: ModularRows | None,
    points: int,
) -> RowSpace:
    """Span of the vectors of outputs, columns from the last to the first."""
    space = RowSpace(width, field.prime)

    def result(tape: Tape[np.int64]) -> Residues:
        outputs = program.outputs(tape)
        return outputs if weights is None else weights.times(field, outputs)

    while len(space) < width:
        outputs = where_defined(
            program,
            field,
            lambda: field.draw(generator, len(program.inputs), points),
            result,
            "a denominator of the right-hand side is zero everywhere",
        )
        if space.extend(outputs[::-1].T.copy()) < outputs.shape[1]:
            break  # random rows that all lie in the span: it is complete but with a tiny probability; laws are proved
    return space


def _null_space_over_q(
    spaces: Sequence[tuple[tuple[int, ...], Residues, Residues, int]], n: int
) -> tuple[list[dict[int, Fraction]], list[int]] | None:
    """Null space of the lifted span, in echelon form, free columns first; ``None`` if more primes are needed."""
    lifted = rows_from_residues([(rows, prime) for _, rows, _, prime in spaces])
    if lifted is None:
        return None
    # the columns of the span run from the last state to the first
    rows = [{n - 1 - j: value for j, value in row.items()} for row in lifted]
    return kernel(rows, [n - 1 - pivot for pivot in spaces[0][2].tolist()], n)


def _proved(
    system: OdeSystem,
    basis: Sequence[Mapping[int, Fraction]],
    pivots: Sequence[int],
    fixed: Mapping[Node, Node],
    *,
    seed: int = 0,
) -> tuple[ConservationLaw, ...]:
    """Readable rows of the space that are laws indeed: Σ nᵢ·(Vᵢxᵢ)' ≡ 0 at random points modulo random primes."""
    if not basis:
        return ()
    measures = law_measures(system)
    rows = [primitive(row) for row in choose_basis(basis, pivots).rows]
    good = _laws_among(_rates_program(system, fixed), rows, seed)
    return tuple(
        law_of(system, {system.states[j]: value for j, value in sorted(row.items())}, measures)
        for i, row in enumerate(rows)
        if i in good
    )


def _laws_among(program: Program, rows: Sequence[Mapping[int, Fraction]], seed: int) -> set[int]:
    """Positions of the rows that are laws."""
    left = list(range(len(rows)))
    while left:
        wrong = _wrong_rows(program, [rows[i] for i in left], seed)
        if not wrong:
            break
        left = [i for k, i in enumerate(left) if k not in wrong]
    return set(left)


def _wrong_rows(program: Program, rows: Sequence[Mapping[int, Fraction]], seed: int) -> set[int]:
    """Rows that were seen not to be laws; empty if all are, with an error probability below 1e-18."""
    bits = sum(float(v.numerator.bit_length()) for row in rows for v in row.values())
    degree = program.degree() + 1
    bound = failure_bound(degree, degree * (program.height() + bits + 64))

    def compare(field: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        x = field.draw(generator, len(program.inputs), points)
        tape = program.run(field, x)
        good = ~tape.bad
        if not good.any():
            return None
        rates = program.outputs(tape)[:, good].astype(object)
        sums = [sum(field.residue(v) * rates[j] for j, v in row.items()) % field.prime for row in rows]
        return np.array(sums, dtype=np.int64)

    trial = run_trials(compare, np.random.default_rng([seed, 0x1A76]), bound)
    return set(trial.wrong) if trial.primes else set(range(len(rows)))


# -- totals that decay --------------------------------------------------------------------------------
# A row v with v·R = μ v·X + β, X the amounts and R their rates, for all states and at all times. At the values of the
# file those are found over Q: the rows u with u·R + w·X + b ≡ 0 for some w and b are the left null space of (R, X, 1)
# at random points; in it lies the largest space that u ↦ −w maps into itself, and there eigenvectors. Which of them
# hold for all values of the constants is asked next, with the rate that the symbols of the rates give.


def decaying_totals(
    system: OdeSystem, *, keep: AbstractSet[str] = frozenset(), seed: int = 0, settings: LawSettings = LawSettings()
) -> tuple[DecayingTotal, ...]:
    """All rows whose total relaxes at one rate, for the values of the file and all values of the constants in ``keep``.

    For each rate, the slowest first, a readable basis: rows that hold for all values of all constants, then others,
    each with the constants that it rests on, then those that an event sets.

    Raises
    ------
    LimitError
        ``too-large``, ``coefficients-too-large``.
    UnsupportedModelError
        ``undefined-right-hand-side``.

    References
    ----------
    Trefethen and Bau, Numerical Linear Algebra (1997): invariant subspaces.
    """
    if system.size > settings.most_states_decaying:
        message = f"totals that decay are looked for up to {settings.most_states_decaying} states, not {system.size}"
        raise LimitError(Reason("too-large", message))
    if not system.size:
        return ()
    search = _DecayingTotals(system, keep, seed, settings)
    return tuple(total for value, rows in search.spaces() for total in search.totals(value, rows))


@dataclass(frozen=True, slots=True)
class DecayingRow:
    """v·x relaxes at one rate for the values of the file: (v·x)' = μ (v·x − a).

    Attributes
    ----------
    row : mapping of int to Fraction
        v, by position of the state.
    rate, level : Fraction
        μ and a.
    """

    row: Row
    rate: Fraction
    level: Fraction


def decaying_rows(
    system: OdeSystem,
    states: Collection[int] | None = None,
    *,
    seed: int = 0,
    settings: LawSettings = LawSettings(),
) -> tuple[DecayingRow, ...]:
    """As :func:`decaying_totals` for the values of the file alone, over states as they are; the slowest first.

    Irrational constants stand for the doubles nearest to them; what an event sets takes no part.

    Parameters
    ----------
    states : collection of int, optional
        Positions of the states that may take part.

    Raises
    ------
    LimitError, UnsupportedModelError
        As :func:`decaying_totals`.
    """
    if not 0 < system.size <= settings.most_states_decaying:
        return ()
    search = _DecayingTotals(system, frozenset(), seed, settings)
    left_out = set(search.touched) | (set(range(system.size)) - set(range(system.size) if states is None else states))
    found: list[DecayingRow] = []
    for value, rows in search.spaces():
        for row in _readable_rows(_without(rows, sorted(left_out), system.size), system.size):
            one = search.at_values(value, row)
            if one is not None:
                found.append(one)
    return tuple(found)


class _DecayingTotals:
    """The search of :func:`decaying_totals` in one system."""

    def __init__(self, system: OdeSystem, keep: AbstractSet[str], seed: int, settings: LawSettings) -> None:
        self.system, self.keep, self.seed, self.settings = system, keep, seed, settings
        self.graph = system.graph
        self.measures = law_measures(system)
        self.rates = _law_rates(system, self.measures)
        self.amounts = [
            self.graph.mul((one.factor, self.graph.symbol(name)))
            for name, one in zip(system.states, self.measures, strict=True)
        ]
        self.values = system.specialised()
        set_by_events = {name for event in system.events for name in targets(event)}
        self.touched = [
            j
            for j, (name, measure) in enumerate(zip(system.states, self.measures, strict=True))
            if name in set_by_events or not set_by_events.isdisjoint(self.graph.symbols([measure.factor]))
        ]

    def spaces(self) -> list[tuple[Fraction, list[dict[int, Fraction]]]]:
        """For each rate at the values of the file its rows, the slowest first."""
        n = self.system.size
        roots = [*self.rates, *self.amounts, self.graph.number(1)]
        # amounts and 1 come last and so are what rates are expressed by
        program = self._program(self.graph.substitute(roots, self.values), doubles=True)
        basis, free = _null_space_of(program, self.seed, self.settings)
        rows = [{j: v for j, v in row.items() if j < n} for row, column in zip(basis, free, strict=True) if column < n]
        images = [
            {j - n: -v for j, v in row.items() if n <= j < 2 * n}
            for row, column in zip(basis, free, strict=True)
            if column < n
        ]
        rows, images = _invariant_part(rows, images, n)
        if len(rows) > self.settings.most_affine_rows:
            message = (
                f"totals that decay are looked for where at most {self.settings.most_affine_rows} totals have rates "
                f"that are linear in them, not {len(rows)}"
            )
            raise LimitError(Reason("too-large", message))
        return _eigenspaces(rows, images) if rows else []

    def totals(self, value: Fraction, rows: Sequence[Row]) -> list[DecayingTotal]:
        """Readable totals that span the rows of one rate."""
        found: list[DecayingTotal] = []
        chosen: list[Row] = []
        untouched = _without(rows, self.touched, self.system.size) if self.touched else rows
        for space, set_by in ((untouched, False), (rows, True)):
            if len(chosen) == len(space):
                continue
            for row, rate in self._for_all_values(value, space):
                if solve_rows(chosen, row) is None:
                    chosen.append(row)
                    found.append(self._total(row, rate, value, (), set_by=set_by))
            for row in _readable_rows(space, self.system.size):
                if solve_rows(chosen, row) is None:
                    chosen.append(row)
                    found += self._for_some_values(row, value, set_by=set_by)
        found = [other for one in found for other in self._without_conditions(one)]
        limit = self.settings.most_weight_bits
        return [one for one in found if all(v.numerator.bit_length() <= limit for v in one.weights.values())]

    def _without_conditions(self, total: DecayingTotal) -> list[DecayingTotal]:
        """The total with the constants that conditions in its rate and inflow ask about at their values.

        No infix text holds conditions. Nothing where such a constant is kept.
        """
        graph = self.graph
        conditional = [
            node
            for node in graph.reachable([total.rate, total.inflow])
            if graph.op(node) is Op.PIECEWISE or (graph.op(node) is Op.CALL and graph.name(node) in LOGIC | RELATIONS)
        ]
        asked = graph.symbols(conditional)
        if not conditional:
            return [total]
        if asked & self.keep:
            return []
        fixed = self.system.specialised({c.id for c in self.system.constants} - asked)
        rate, inflow = graph.substitute([total.rate, total.inflow], fixed)
        return [replace(total, rate=rate, inflow=inflow, rests_on=tuple(sorted({*total.rests_on, *asked})))]

    def at_values(self, value: Fraction, row: Row) -> DecayingRow | None:
        """A row over states as they are; ``None`` where sizes of compartments that change weigh them."""
        graph, system = self.graph, self.system
        total = self._total(row, graph.number(value), value, (), set_by=False)
        roots = graph.substitute([total.expression, total.inflow], self.values)
        (expression, inflow), _ = with_double_constants(graph, roots)
        source = graph.number_of(inflow)
        place = {graph.symbol(name): j for j, name in enumerate(system.states)}
        terms = graph.linear_terms(expression)
        if source is None or not terms.keys() <= place.keys():
            return None
        return DecayingRow({place[term]: v for term, v in terms.items()}, value, -source / value)

    def _for_all_values(self, value: Fraction, rows: Sequence[Row]) -> Iterator[tuple[Row, Node]]:
        """Rows for which a rate over constants holds for all of their values, with it."""
        candidates = [node for row in _readable_rows(rows, self.system.size) for node in self._symbolic(row, value)]
        covered: list[Row] = []
        for rate in sorted(dict.fromkeys([*candidates, self.graph.number(value)]), key=self._length):
            program = self._program(self._changes(rate, {}), doubles=True)
            weights, _ = _null_space_of(program, self.seed, self.settings, rows)
            space = _readable_rows([combined(rows, row) for row in weights], self.system.size)
            good = _laws_among(self._program(self._changes(rate, {})), space, self.seed)
            for row in (space[i] for i in sorted(good)):
                if solve_rows(covered, row) is None:
                    covered.append(row)
                    yield row, rate
            if len(covered) == len(rows):
                return

    def _for_some_values(self, row: Row, value: Fraction, *, set_by: bool) -> list[DecayingTotal]:
        """The total of a row that does not hold for all values; nothing if it rests on a constant that is kept."""
        every = frozenset(c.id for c in self.system.constants)
        names = sorted(every - self.keep)
        for rate in (*self._symbolic(row, value), self.graph.number(value)):

            def holds(fixed: frozenset[str], rate: Node = rate) -> bool:
                program = self._program(self._changes(rate, self.system.specialised(every - fixed)))
                return not _wrong_rows(program, [primitive(row)], self.seed)

            if holds(frozenset(names)):
                # those that the members' rates mention are enough, but for what others are computed from
                mentioned = self.graph.symbols([self.rates[j] for j in row])
                near = [name for name in names if name in mentioned]
                resting = _least(near if holds(frozenset(near)) else names, holds)
                return [self._total(row, rate, value, resting, set_by=set_by)]
        return []

    def _total(self, row: Row, rate: Node, value: Fraction, resting: Sequence[str], *, set_by: bool) -> DecayingTotal:
        graph, system = self.graph, self.system
        weights = {system.states[j]: v for j, v in sorted(primitive(row).items())}
        expression = law_expression(system, weights, self.measures)
        fixed = system.specialised({c.id for c in system.constants} - set(resting)) if resting else {}
        flow = self._flow(expression)
        rate, inflow = graph.substitute([rate, graph.sub(flow, graph.mul((rate, expression)))], fixed)
        inflow = in_lowest_terms(graph, graph.from_terms(graph.linear_terms(inflow)))
        # it hangs on no state and not on time, so that it has its value wherever it has one
        anywhere = {graph.symbol(name): graph.number(1) for name in system.states} | {graph.time(): graph.number(0)}
        (inflow,) = graph.substitute([inflow], anywhere)
        event = next((one for one in system.events if targets(one) & set(weights)), None) if set_by else None
        return DecayingTotal(
            weights,
            expression,
            law_expression(system, weights, self.measures, written=True),
            tuple(resting),
            rate=rate,
            inflow=inflow,
            value=value,
            set_by=None if event is None else event.id or "an event",
        )

    def _flow(self, expression: Node) -> Node:
        (flow,) = self.system.along_flow([expression])
        return self.graph.from_terms(self.graph.linear_terms(flow))

    def _symbolic(self, row: Row, value: Fraction) -> list[Node]:
        """Rates over constants that the coefficients of members give, and that have the value of the file."""
        graph, states = self.graph, self.system.states
        weights = {states[j]: v for j, v in row.items()}
        expression = law_expression(self.system, weights, self.measures)
        flow = self._flow(expression)
        image = expand(graph, flow, states)
        if image is None:
            image = expand(graph, in_lowest_terms(graph, flow), states)
        own = expand(graph, expression, states)
        if image is None or own is None:
            return []
        ratios = [
            in_lowest_terms(graph, graph.div(image[monomial], factor))
            for monomial, factor in own.items()
            if monomial in image
        ]
        numbers, _ = with_double_constants(graph, graph.substitute(ratios, self.values))
        return [
            node
            for node, number in dict(zip(ratios, numbers, strict=True)).items()
            if graph.number_of(node) is None and self._is_near(graph.number_of(number), value)
        ]

    def _is_near(self, number: Fraction | None, value: Fraction) -> bool:
        return number is not None and abs(number - value) <= abs(value) * Fraction(self.settings.same_rate)

    def _changes(self, rate: Node, fixed: Mapping[Node, Node]) -> list[Node]:
        """R − μX at one state less that at another, with the same constants: 0 for rows that decay at the rate μ."""
        graph = self.graph
        here = [graph.sub(r, graph.mul((rate, x))) for r, x in zip(self.rates, self.amounts, strict=True)]
        here = graph.substitute(here, fixed) if fixed else here
        # ids hold no spaces
        moved = {graph.symbol(name): graph.symbol(f"{name} elsewhere") for name in self.system.states}
        moved[graph.time()] = graph.symbol("time elsewhere")
        return [graph.sub(a, b) for a, b in zip(here, graph.substitute(here, moved), strict=True)]

    def _program(self, roots: Sequence[Node], *, doubles: bool = False) -> Program:
        """With doubles in the place of irrational constants, combinations are rational: to search, not to prove."""
        return _program_of(self.system, with_double_constants(self.graph, roots)[0] if doubles else roots)

    def _length(self, node: Node) -> tuple[int, Node]:
        return len(self.graph.reachable([node])), node


def _invariant_part(
    rows: list[dict[int, Fraction]], images: list[dict[int, Fraction]], width: int
) -> tuple[list[dict[int, Fraction]], list[dict[int, Fraction]]]:
    """The largest part of a space of rows whose images lie in it, and these images."""
    while rows:
        relations, _ = left_null_space([*images, *rows], width)
        weights = [{i: v for i, v in row.items() if i < len(rows)} for row in relations]
        if len(weights) == len(rows):
            break
        rows, images = [combined(rows, row) for row in weights], [combined(images, row) for row in weights]
    return rows, images


def _eigenspaces(rows: Sequence[Row], images: Sequence[Row]) -> list[tuple[Fraction, list[dict[int, Fraction]]]]:
    """Rational eigenvalues but 0 of the map rows → images, and a basis of the space of each, the smallest first."""
    columns = sorted({j for row in (*rows, *images) for j in row})
    reduced, pivots = echelon(list(rows), columns)
    # in reduced echelon form the coordinates of a row are its entries at the pivots
    weights = [{i: row[p] for i, p in enumerate(pivots) if p in row} for row in rows]
    k = len(reduced)
    basis = flint.fmpq_mat(k, k, [of_fraction(row.get(i, Fraction(0))) for row in weights for i in range(k)])
    moved = flint.fmpq_mat(k, k, [of_fraction(row.get(pivot, Fraction(0))) for row in images for pivot in pivots])
    matrix = basis.solve(moved) if k else basis  # images of the reduced rows
    found: list[tuple[Fraction, list[dict[int, Fraction]]]] = []
    for root, _ in matrix.charpoly().roots():
        value = fraction(root)
        if not value:
            continue
        shifted = [
            without_zeros({j: fraction(matrix[i, j]) - (value if i == j else 0) for j in range(k)}) for i in range(k)
        ]
        kernel_rows, _ = left_null_space(shifted, k)
        found.append((value, [combined(reduced, row) for row in kernel_rows]))
    return sorted(found, key=lambda one: (abs(one[0]), one[0]))


def _readable_rows(rows: Sequence[Row], width: int) -> list[dict[int, Fraction]]:
    """A readable basis of coprime integers."""
    if not rows:
        return []
    orthogonal, _ = null_space(rows, width)
    basis, pivots = null_space(orthogonal, width)
    return [primitive(row) for row in choose_basis(basis, pivots).rows]


# -- which laws the events keep -----------------------------------------------------------------------
# An event keeps Σ nᵢXᵢ if what it sets the states to has the same sum, for every state and all values of the constants.
# Where it assigns values of its trigger that may have changed by its execution, what it sets and what it leaves belong
# to two moments: then it keeps a law only if all members are set, or none is.


def rows_kept_by_events(system: OdeSystem, rows: Sequence[Row]) -> list[dict[int, Fraction]]:
    """The largest space of combinations of ``rows`` that every event keeps.

    Parameters
    ----------
    system : OdeSystem
    rows : sequence of mappings column → Fraction
        Independent laws of the flow, weights of amounts by position of the state.

    Returns
    -------
    list of dict
        A basis over Q; ``rows`` themselves where no event sets a member.
    """
    kept = [dict(row) for row in rows]
    before = -1
    while len(kept) != before:  # the parts of a law that an event splits have to be kept by the others too
        before = len(kept)
        for event in system.events:
            kept = _kept_rows(system, event, kept)
    return kept


def changing_event(system: OdeSystem, row: Row, kept: Sequence[Row]) -> Event | None:
    """The event to name for a law that is not in the space ``kept`` by all events; ``None`` if it is."""
    if solve_rows(kept, row) is not None:
        return None
    members = {system.states[j] for j in row}
    setting = [event for event in system.events if targets(event) & members]
    # where every event keeps the whole, it is a sum of parts of which some event changes one
    return next((event for event in setting if not _kept_rows(system, event, [dict(row)])), setting[0])


def _kept_rows(system: OdeSystem, event: Event, rows: list[dict[int, Fraction]]) -> list[dict[int, Fraction]]:
    set_by_event = targets(event)
    graph = system.graph
    # what an event does to the size of a compartment it does to the amounts in it
    touched = [
        j
        for j, (name, measure) in enumerate(zip(system.states, law_measures(system), strict=True))
        if name in set_by_event or not set_by_event.isdisjoint(graph.symbols([measure.factor]))
    ]
    if not any(j in row for row in rows for j in touched):
        return rows
    if not values_are_old(system, event) or overwrites_others(system, event):
        return _with_the_sum_kept(system, event, rows, touched)
    others = sorted({j for row in rows for j in row} - set(touched))
    left = _without(rows, touched, system.size)
    if two_moments(system, event):
        return left
    return left + _with_the_sum_kept(system, event, _without(rows, others, system.size), touched)


def _without(rows: Sequence[Row], columns: Sequence[int], width: int) -> list[dict[int, Fraction]]:
    """Combinations of the rows that have nothing in some columns."""
    inside = [{j: row[j] for j in columns if j in row} for row in rows]
    return [combined(rows, weights) for weights in left_null_space(inside, width)[0]]


def _with_the_sum_kept(
    system: OdeSystem, event: Event, rows: Sequence[Row], touched: Sequence[int]
) -> list[dict[int, Fraction]]:
    """Combinations w of the rows with Σ wᵢ(VᵢRᵢ − vᵢxᵢ) ≡ 0, Vᵢ the new sizes: laws of a system that moves so."""
    if not rows:
        return []
    graph = system.graph
    new = new_values(event)
    names = tuple(system.states[j] for j in touched)
    measures = law_measures(system)
    amounts = [graph.mul((measures[j].factor, graph.symbol(system.states[j]))) for j in touched]
    afterwards = graph.substitute(amounts, {graph.symbol(name): node for name, node in new.items()})
    resetting = replace(
        system,
        states=names,
        initial=tuple(system.initial[j] for j in touched),
        rhs=tuple(graph.sub(after, before) for after, before in zip(afterwards, amounts, strict=True)),
        quantities={},  # these are amounts already
        assigned=(),
        reactions=(),
        events=(),
        constraints=(),
        algebraic=(),
    )
    place = {name: k for k, name in enumerate(names)}
    laws = [{place[name]: value for name, value in law.weights.items()} for law in linear_integrals(resetting)]
    conditions, _ = null_space(laws, len(names))
    products: list[dict[int, Fraction]] = []
    for row in rows:
        mine = {k: row[j] for k, j in enumerate(touched) if j in row}
        products.append(without_zeros({i: dot(condition, mine) for i, condition in enumerate(conditions)}))
    return [combined(rows, weights) for weights in left_null_space(products, len(conditions))[0]]
