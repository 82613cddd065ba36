"""From an OdeSystem and what is to be observed to a proved, smaller OdeSystem."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.errors import LimitError, Reason, SbmlumpError, UnsupportedModelError, some_names
from sbmlump.linalg.basis import Basis, choose_basis
from sbmlump.linalg.rational import Span, add_multiple, dot, echelon, right_inverse, without_zeros
from sbmlump.methods.exact.space import ClosureProblem, LiftedSpace, invariant_dimension, smallest_invariant_space
from sbmlump.methods.method import Clock, Progress, identity, unheard
from sbmlump.model.domains import nearest_double
from sbmlump.model.evaluate import Evaluator, values_of
from sbmlump.model.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.model.names import lump_names, pool_name
from sbmlump.model.program import branched_nodes
from sbmlump.model.reduced import (
    Certificate,
    ExactProof,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Observable,
    ReducedSystem,
)
from sbmlump.model.system import (
    Assigned,
    Constant,
    Event,
    OdeSystem,
    event_label,
    new_values,
    overwrites_others,
    refuse_two_moments,
    two_moments,
    values_are_old,
    with_trigger_values,
)
from sbmlump.proof.claims import Claim, LumpedStates, Refutation, certify, certify_widest
from sbmlump.proof.identity import Sides
from sbmlump.proof.real_points import RealClaim, contradicted_at, surfaces_of

__all__ = [
    "Lift",
    "StateLiftSettings",
    "LumpingSettings",
    "agrees",
    "amount_scale",
    "assemble",
    "claim_of",
    "closure_problem",
    "lump_exactly",
    "reduced_system",
    "state_lifts",
    "NO_POOLED_CONSTANTS",
    "PooledConstants",
    "pool_constants",
    "constants_of_lost_states",
    "initial_formulas",
    "written_constants",
    "event_resets",
    "event_seeds",
    "reduced_events",
]


# -- Events under a lumping: what they ask of the row space ----------------------------------------

# Events under a lumping: what they ask of the row space, and what becomes of them.
#
# An event fires by its trigger and resets the state from x to R(x). A lumping y = Lx carries it over when the trigger,
# delay and priority are functions of Lx and rowsp(L) is closed under the Jacobian of R. Where the values
# assigned belong
# to an earlier moment than the rest of the state (a delay, or other events in between), the assigned part and the rest
# have to be closed each by itself. The proof (:mod:`sbmlump.proof.claims`) knows nothing of this.


def _numeric_leaves(graph: Graph, condition: Node) -> list[Node]:
    """Numeric expressions a condition is made of: both sides of every relation, left to right."""
    leaves: list[Node] = []
    stack = [condition]
    while stack:
        node = stack.pop()
        name = graph.name(node) if graph.op(node) is Op.CALL else None
        if name in LOGIC or name in RELATIONS:
            stack.extend(reversed(graph.args(node)))
        elif graph.op(node) is not Op.CONSTANT:
            leaves.append(node)
    return leaves


def event_seeds(system: OdeSystem) -> list[Node]:
    """Expressions whose gradients must lie in the row space.

    Where single values that an event leads to are made of two moments, these are all states: only the original event
    says both.
    """
    seeds: list[Node] = []
    for event in system.events:
        seeds += _numeric_leaves(system.graph, event.trigger)
        seeds += [node for node in (event.delay, event.priority) if node is not None]
        if two_moments(system, event):
            seeds += [system.graph.symbol(name) for name in system.states]
    return seeds


def event_resets(system: OdeSystem) -> list[tuple[Node, ...]]:
    """Maps of the state, one component a state, under whose Jacobians the row space must be closed."""
    graph = system.graph
    zero = graph.number(0)
    resets: list[tuple[Node, ...]] = []
    for event in system.events:
        new = new_values(event)
        if values_are_old(system, event) and not overwrites_others(system, event):
            resets.append(tuple(zero if s in new else graph.symbol(s) for s in system.states))
            resets.append(tuple(new.get(s, zero) for s in system.states))
        else:
            resets.append(tuple(new.get(s, graph.symbol(s)) for s in system.states))
    return resets


def reduced_events(
    system: OdeSystem,
    names: Sequence[str],
    rows: Sequence[Mapping[int, Fraction]],
    mapping: Mapping[Node, Node],
) -> tuple[Event, ...]:
    """The events of the reduced system.

    Parameters
    ----------
    names : sequence of str
        Ids of the lumps.
    rows : sequence of mappings column → Fraction
        Rows of L.
    mapping : mapping of Node to Node
        Lift: symbols of original states to expressions of lumps.

    Raises
    ------
    UnsupportedModelError
        If a lump would need values of two moments in one assignment (``event-not-lumpable``, ``event-resizes``).
    """
    refuse_two_moments(system)
    return tuple(_reduced_event(system, event, names, rows, mapping) for event in system.events)


def _reduced_event(
    system: OdeSystem,
    event: Event,
    names: Sequence[str],
    rows: Sequence[Mapping[int, Fraction]],
    mapping: Mapping[Node, Node],
) -> Event:
    graph = system.graph
    new = new_values(event)
    old = values_are_old(system, event)
    overwrites = overwrites_others(system, event)
    assignments: list[tuple[str, Node]] = []
    for name, row in zip(names, rows, strict=True):
        touched = [j for j in row if system.states[j] in new]
        if not touched:
            continue
        if old and not overwrites and len(touched) < len(row):
            message = f"{event_label(event)} would need values of two moments for the pool {name}"
            raise UnsupportedModelError(Reason("event-not-lumpable", message, event.id))
        parts = [
            graph.mul((graph.number(v), new.get(system.states[j], graph.symbol(system.states[j]))))
            for j, v in row.items()
        ]
        value = graph.substitute([graph.add(parts)], mapping)[0]
        value = graph.from_terms(graph.linear_terms(value))
        # a pool set to what it was at the trigger is not left alone: it may have changed since
        if old or value != graph.symbol(name):
            assignments.append((name, value))

    moved = event.carried(lambda node: graph.substitute([node], mapping)[0], assignments)
    return replace(moved, use_trigger_values=with_trigger_values(system, event, [value for _, value in assignments]))


# -- From an OdeSystem and what is to be observed to a proved --------------------------------------


# -- symbolic parameters ------------------------------------------------------------------------------
# The space found over states and symbolic parameters holds, besides the rows of the lumps, combinations of constants
# alone. Where all that is needed of some constants is a combination (two decay rates that only act as their sum), it
# becomes one constant of the reduced system, defined by an initial assignment.


@dataclass(frozen=True, slots=True)
class PooledConstants:
    """New constants and what takes the place of the old ones.

    Attributes
    ----------
    constants : tuple of Constant
        Each an exact integer combination of constants of the original.
    mapping : mapping of Node to Node
        Symbols of old constants to expressions of the new ones, a right inverse.
    needed : int
        Combinations of constants that the reduced system depends on, single constants included.
    """

    constants: tuple[Constant, ...]
    mapping: Mapping[Node, Node]
    needed: int


NO_POOLED_CONSTANTS = PooledConstants((), {}, 0)


def pool_constants(
    system: OdeSystem, space: LiftedSpace, problem: ClosureProblem, taken: frozenset[str]
) -> PooledConstants:
    """Combinations of symbolic parameters that suffice.

    Parameters
    ----------
    space : LiftedSpace
        Over the columns of ``problem``: states, symbolic parameters, time.
    taken : frozenset of str
        Ids that new constants must not have.
    """
    graph = system.graph
    n = problem.n_states
    columns = [j for j in range(n, len(problem.variables)) if graph.op(problem.variables[j]) is Op.SYMBOL]
    parts = [{j: row[j] for j in columns if j in row} for row in space.rows]
    rows, pivots = echelon([part for part in parts if part], columns)
    basis = choose_basis(rows, pivots)
    constants: list[Constant] = []
    mapping: dict[Node, Node] = {}
    used = set(taken)
    for row, lift in zip(basis.rows, basis.lift, strict=True):
        if len(row) == 1:
            continue
        members = [graph.name(problem.variables[j]) for j in row]
        name = pool_name(members, used)
        used.add(name)
        value = graph.weighted_sum(row, problem.variables.__getitem__)
        constants.append(Constant(name, value, computed=True))
        for j in row:
            mapping.setdefault(problem.variables[j], graph.number(0))
        for j, v in lift.items():
            term = graph.scaled(v, graph.symbol(name))
            mapping[problem.variables[j]] = graph.add((mapping[problem.variables[j]], term))
    return PooledConstants(tuple(constants), mapping, len(basis.rows))


# -- initial values and constants of a reduced system ------------------------------------------------
# They are written as formulas over what the reduced system has. A value that the original computes (an initial
# assignment, an amount in a compartment sized by a rule) may mention states that the reduction removes. Putting one
# number in its place would freeze every parameter in the formula. So such a value is opened until only constants and
# lumps are left: a lump's symbol stands for its initial value, and what no lump gives is replaced by the formula of its
# own initial value. Only what depends on no constant becomes a number.


def initial_formulas(system: OdeSystem) -> tuple[Node, ...]:
    """Initial value of each state as a formula over constants and numbers.

    Where it hangs on something without a value it is left as the model has it.
    """
    graph = system.graph
    constants = {c.id for c in system.constants}
    if graph.symbols(system.initial) <= constants and not graph.depends_on_time(system.initial):
        return system.initial
    known = system.at_start(constants)
    return tuple(known.get(name, node) for name, node in zip(system.states, system.initial, strict=True))


def written_constants(
    system: OdeSystem,
    image: Mapping[str, Node],
    lumps: Mapping[str, Node],
    own: AbstractSet[str],
    constants: Sequence[Constant],
) -> tuple[Constant, ...]:
    """The constants of the original with values that a system of other states can compute.

    Parameters
    ----------
    system : OdeSystem
        The original.
    image : mapping of state id to Node
        What each state is at time 0, over lumps and over states for the part that no lump gives.
    lumps : mapping of lump id to Node
        Initial value of each lump, over constants.
    own : set of str
        States that are lumps under their own ids.
    constants : sequence of Constant
        Those to be written.

    Returns
    -------
    tuple of Constant
        In the same order. A value that mentions lumps follows when their initial values are changed; it does so where
        it depends on the states through the lumps alone, or through states that are lumps themselves.
    """
    graph = system.graph
    known = {c.id for c in system.constants}
    if not any(c.value is not None and graph.symbols([c.value]) - known for c in constants):
        return tuple(constants)
    start = dict(zip(system.states, initial_formulas(system), strict=True))
    by_lumps = _ByLumps(system, image, start, lumps.keys(), own)
    by_start = {graph.symbol(name): node for name, node in start.items()}
    users = _Dependence(system, lumps)
    moved: list[Constant] = []
    for constant in constants:
        if constant.value is None or graph.symbols([constant.value]) <= known:
            moved.append(constant)
            continue
        value = _opened(system, constant.value)
        formula = by_lumps(value)
        if formula is None or constant.id in users.constants_below([formula]):
            formula = collected(graph, graph.substitute([value], by_start)[0])
        if graph.symbols([formula]) - known - lumps.keys():
            # it hangs on something without a value; the number, where there is one, is all that can be written
            moved.append(replace(constant, value=system.constant_values.get(constant.id)))
            continue
        moved.append(replace(constant, value=formula))
        users.follow(constant.id, formula)
    return tuple(moved)


def constants_of_lost_states(
    system: OdeSystem, reduced: OdeSystem, rows: Mapping[str, Mapping[str, Fraction]]
) -> tuple[str, ...]:
    """Constants of a reduced system that do not follow all initial values that the original computes them from.

    Also those that nothing depends on: they are written, and may be what is observed.

    Parameters
    ----------
    system, reduced : OdeSystem
        Of one graph.
    rows : mapping of lump id to row
        Each lump as a combination of states.
    """
    graph = system.graph
    known = {c.id for c in system.constants}
    given = {c.id: c.value for c in system.constants if c.value is not None and graph.symbols([c.value]) - known}
    if not given:
        return ()
    back = {graph.symbol(name): graph.weighted_sum(row, graph.symbol) for name, row in rows.items()}
    lost: list[str] = []
    for constant in reduced.constants:
        value = given.get(constant.id)
        if value is None or constant.value is None:
            continue
        mine, theirs = _opened(system, value), graph.substitute([constant.value], back)[0]
        if collected(graph, mine) != collected(graph, theirs):
            lost.append(constant.id)
    return tuple(lost)


def collected(graph: Graph, root: Node) -> Node:
    """The expression with equal terms of every sum inside it collected, so that what cancels is gone."""
    if not graph.args(root):
        return root
    moved: dict[Node, Node] = {}
    for node in graph.reachable([root]):
        args = graph.args(node)
        if not args:
            moved[node] = node
            continue
        new = tuple(moved[arg] for arg in args)
        rebuilt = node if new == args else graph.rebuild(graph.op(node), new, graph.payload(node))
        moved[node] = graph.from_terms(graph.linear_terms(rebuilt)) if graph.op(rebuilt) is Op.ADD else rebuilt
    return moved[root]


def _opened(system: OdeSystem, value: Node) -> Node:
    """A value at time 0 over states and constants: assigned quantities and fluxes are replaced by what they are."""
    graph = system.graph
    inner = graph.symbols([value]) - set(system.states) - {c.id for c in system.constants}
    definitions = system.definitions
    mapping = {graph.symbol(name): definitions[name] for name in inner if name in definitions}
    (value,) = graph.substitute([value], mapping)
    return graph.substitute([value], {graph.time(): graph.number(0)})[0]


class _ByLumps:
    """Puts lumps in the place of states where that is all a value depends on."""

    def __init__(
        self,
        system: OdeSystem,
        image: Mapping[str, Node],
        start: Mapping[str, Node],
        names: Iterable[str],
        own: AbstractSet[str],
    ) -> None:
        graph = system.graph
        self._graph = graph
        self._states = frozenset(system.states)
        self._lumps = frozenset(names)
        self._image = {graph.symbol(name): node for name, node in image.items()}
        self._start = {graph.symbol(name): node for name, node in start.items()}
        # members of pools; what is left over of them cannot be told from the lump
        self._pooled = frozenset(name for name in image if name not in own)
        self._except_own = {symbol: node for symbol, node in self._start.items() if graph.name(symbol) not in own}

    def __call__(self, value: Node) -> Node | None:
        """``value`` over lumps and constants, ``None`` where no lump gives any part of it."""
        graph = self._graph
        moved = collected(graph, graph.substitute([value], self._image)[0])
        left = (graph.symbols([moved]) & self._states) - self._lumps
        if left & self._pooled:
            moved = graph.substitute([value], self._except_own)[0]
        else:
            moved = graph.substitute([moved], {graph.symbol(n): self._start[graph.symbol(n)] for n in left})[0]
        moved = collected(graph, moved)
        return moved if graph.symbols([moved]) & self._lumps else None


class _Dependence:
    """Which constants an expression mentions, also through the values of constants and the initial values of lumps."""

    def __init__(self, system: OdeSystem, lumps: Mapping[str, Node]) -> None:
        self._graph = system.graph
        self._below = {c.id: c.value for c in system.constants if c.value is not None}
        self._below |= dict(zip(system.states, system.initial, strict=True)) | dict(lumps)
        self._constants = frozenset(c.id for c in system.constants)

    def follow(self, name: str, value: Node) -> None:
        """Take ``value`` for that of the constant ``name`` from now on."""
        self._below[name] = value

    def constants_below(self, nodes: Sequence[Node]) -> set[str]:
        """Every constant that the values of ``nodes`` at time 0 hang on."""
        graph, below = self._graph, self._below
        mentioned: set[str] = set()
        names = graph.symbols(nodes)
        while names:
            mentioned |= names
            names = graph.symbols([below[name] for name in names if name in below]) - mentioned
        return mentioned & self._constants


# -- the smallest lumping ----------------------------------------------------------------------------


_MOST_NAMED: Final = 8  # ids within a sentence, which is to stay one


@dataclass(frozen=True, slots=True)
class StateLiftSettings:
    """Which right inverses are tried.

    Attributes
    ----------
    largest_entry : int
        Entries of drawn states lie between minus this and this, so that lifts at them have short numbers.
    drawn_states : int
        A pattern of signs of 5 arguments is among so many nearly surely.
    most_drawn : int
        Of them tried.
    most_surfaces : int
        Arguments of logarithms, roots and quotients that a lift may hold constant.
    dense_cells : int
        Of a matrix that is inverted over Q for that, in a few seconds.
    """

    largest_entry: int = 9
    drawn_states: int = 200
    most_drawn: int = 4
    most_surfaces: int = 100
    dense_cells: int = 40_000


@dataclass(frozen=True, slots=True)
class LumpingSettings:
    """What is tried where a lumping that was found is not proved at once.

    Attributes
    ----------
    lifts : StateLiftSettings
    most_doubtful : int
        Claims that a few points contradict, of which it is asked which functions are to blame.
    most_rounds : int
        In which some more functions are taken as generic; after them all are.
    generic_primes : int
        Beyond which irrational constants that are taken as generic give way to doubles.
    """

    lifts: StateLiftSettings = StateLiftSettings()
    most_doubtful: int = 2
    most_rounds: int = 6
    generic_primes: int = 4


def lump_exactly(
    system: OdeSystem,
    observables: Sequence[Observable],
    *,
    keep: frozenset[str] = frozenset(),
    seed: int = 0,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
    settings: LumpingSettings = LumpingSettings(),
) -> ReducedSystem:
    """The smallest exact constrained lumping, with its proof.

    Parameters
    ----------
    system : OdeSystem
    observables : sequence of Observable
        What must stay a function of the reduced state.
    keep : frozenset of str
        Symbolic parameters: the reduction then holds for all their values.
    seed : int
        Of the random numbers; the result does not depend on it but for the primes in the certificate.
    settings : LumpingSettings

    Raises
    ------
    UnsupportedModelError
        If the system has events or no defined right-hand side.
    LimitError
        If the coefficients of the lumping are too large.
    SbmlumpError
        If no lumping that was found could be proved (an internal error).

    References
    ----------
    See :mod:`sbmlump.methods.exact.space` and :mod:`sbmlump.proof.claims`.
    """
    start = clock()
    failures: list[Reason] = []
    opaque: frozenset[Node] = frozenset()  # functions whose derivatives led to what holds on one side only
    exhausted: list[ClosureProblem] = []  # problems whose coefficients are too large: to try again would not help
    attempt, rounds = -1, 0
    pending = deque(_problems(system, observables, keep, settings.generic_primes))
    while pending:
        attempt += 1
        asked, most_primes = pending.popleft()
        problem = replace(asked, opaque=asked.opaque | opaque)
        if problem in exhausted:
            continue
        progress("finding the smallest lumping")
        try:
            space, restricted, columns = _smallest_space(
                problem, seed + attempt, more_primes=attempt % 2, most_primes=most_primes
            )
        except LimitError as error:
            failures = list(error.reasons)
            exhausted.append(problem)
            continue
        rows, pivots = _rows_of_states(space, restricted.n_states, columns)
        lump_seconds = clock() - start
        if len(rows) == system.size:
            why = "every state is needed to close the equations of the observables"
            return identity(system, observables, "exact", why, seconds={"lump": lump_seconds})
        progress("choosing a basis")
        begin = clock()
        basis = choose_basis(rows, pivots, amount_scale(system))
        pooled = pool_constants(system, space, restricted, system.taken_ids | {o.id for o in observables})
        lumping = _Lumping(system, observables, keep, problem, basis, pooled, seed + attempt)
        proved, failures, suspects = lumping.proved(settings, progress, clock)
        if proved is not None:
            return replace(proved, seconds={"lump": lump_seconds, "certify": clock() - begin, **proved.seconds})
        if suspects and rounds < settings.most_rounds:  # less is known of them, more states are kept
            rounds += 1
            opaque |= suspects
            pending.appendleft((asked, most_primes))
    if failures[0].code == "coefficients-too-large":
        raise LimitError(failures)
    raise SbmlumpError(failures)


def _rows_of_states(space: LiftedSpace, n_states: int, columns: Indices) -> tuple[list[dict[int, Fraction]], list[int]]:
    """Rows of the lumping by state, and their pivots: what belongs to constants is left out."""
    kept = [(row, pivot) for row, pivot in zip(space.rows, space.pivots, strict=True) if pivot < n_states]
    rows = [{int(columns[j]): v for j, v in row.items() if j < n_states} for row, _ in kept]
    return rows, [int(columns[pivot]) for _, pivot in kept]


@dataclass(frozen=True, slots=True)
class _Lumping:
    """A lumping that was found: to be proved at one of its lifts, where everything is defined."""

    system: OdeSystem
    observables: Sequence[Observable]
    keep: frozenset[str]
    problem: ClosureProblem
    basis: Basis
    pooled: PooledConstants
    seed: int

    def proved(
        self, settings: LumpingSettings, progress: Progress, clock: Clock
    ) -> tuple[ReducedSystem | None, list[Reason], frozenset[Node]]:
        """The reduction with its proof; or why there is none, and the functions that are to blame."""
        system, basis = self.system, self.basis
        failures = [Reason("proof-failed", "a lumping was found, but no state to lift it to at which it is defined")]
        suspects: frozenset[Node] = frozenset()
        doubtful: list[Claim] = []  # made at lifts at which a few points show a difference already
        for lifted, constants in _lifts(system, basis, self.pooled, settings.lifts):
            reduced = reduced_system(system, basis, lifted, self.observables, constants)
            claim = claim_of(system, reduced, basis, lifted, self.observables, self.keep)
            if not agrees(system, reduced, basis):
                doubtful.append(claim)
                continue
            doubtful.clear()
            progress("proving")
            begin = clock()
            proof = certify_widest(claim, self.seed)
            if isinstance(proof, ExactProof):
                seconds = {"prove": clock() - begin}
                needed = self.pooled.needed
                return assemble(system, reduced, basis, lifted, self.observables, proof, seconds, needed), [], suspects
            failures = [Reason("proof-failed", f"a lumping was found but refuted: {_why(proof)}")]
            suspects = _blamed(proof, self.problem)
            if not {reason.code for reason in proof.reasons} <= {"real-point-undefined", "undefined"}:
                break  # another lift gives the same
        known = branched_nodes(self.problem.graph, self.problem.roots()) - self.problem.opaque
        for claim in doubtful[-settings.most_doubtful :] if known else ():  # the last lifts are where all is defined
            doubt = certify(claim, self.seed)
            if isinstance(doubt, Refutation) and (suspects := _blamed(doubt, self.problem)):
                break
        return None, failures, suspects


def _problems(
    system: OdeSystem, observables: Sequence[Observable], keep: frozenset[str], most_generic_primes: int
) -> Iterator[tuple[ClosureProblem, int | None]]:
    """The problem as it is, twice (with more primes); then with irrational constants as doubles, if there are any.

    Irrational constants are taken as generic first: that finds every lumping that does not need their values. Last
    of all, logarithms and powers are taken as functions of which nothing is known: a lumping that rests on their
    derivatives may hold on one side of a singularity only. (Where real points contradict it, this is done for those
    functions first that are to blame.)
    """
    problem = closure_problem(system, observables, keep)
    rounded = problem.with_double_constants()
    generic_primes = None if rounded is None else most_generic_primes
    yield problem, generic_primes
    yield problem, generic_primes
    if rounded is not None:
        yield rounded, None
        yield rounded, None
    branched = branched_nodes(problem.graph, problem.roots())
    if branched:
        yield replace(problem, opaque=branched), generic_primes
        yield replace(problem, opaque=branched), None
        if rounded is not None:
            yield replace(rounded, opaque=branched_nodes(rounded.graph, rounded.roots())), None


def _smallest_space(
    problem: ClosureProblem, seed: int, *, more_primes: int, most_primes: int | None
) -> tuple[LiftedSpace, ClosureProblem, Indices]:
    """The smaller one of two spaces: of the problem as it stands, and with arguments of roots as powers of these."""
    positive = problem.with_positive_arguments()
    chosen = problem
    if positive is not None and invariant_dimension(positive, seed) < invariant_dimension(problem, seed):
        chosen = positive
    return smallest_invariant_space(chosen, seed, more_primes=more_primes, most_primes=most_primes)


def _blamed(refutation: Refutation, problem: ClosureProblem) -> frozenset[Node]:
    """Functions that real points put the blame on, the fewest of which not all are taken as generic already."""
    return next((nodes for nodes in refutation.suspects if not nodes <= problem.opaque), frozenset())


def _why(refutation: Refutation) -> str:
    return "; ".join(str(r) for r in refutation.reasons[:3])


def closure_problem(system: OdeSystem, observables: Sequence[Observable], keep: frozenset[str]) -> ClosureProblem:
    """What has to be closed: the values of all constants but those in ``keep`` are put in."""
    graph = system.graph
    n = system.size
    seeds = [*(o.expression for o in observables), *event_seeds(system)]
    resets = event_resets(system)
    roots = graph.substitute(
        [*system.rhs, *seeds, *(node for reset in resets for node in reset)], system.specialised(keep)
    )
    symbols, needs_time = graph.leaves(roots)
    mentioned = symbols - set(system.states)
    system.require_values(roots, keep)
    variables = [graph.symbol(name) for name in system.states]
    variables += [graph.symbol(c.id) for c in system.constants if c.id in mentioned]
    if needs_time:
        variables.append(graph.time())
    start = n + len(seeds)
    return ClosureProblem(
        graph,
        tuple(variables),
        n,
        tuple(roots[:n]),
        tuple(roots[n:start]),
        tuple(tuple(roots[start + k * n : start + (k + 1) * n]) for k in range(len(resets))),
    )


def amount_scale(system: OdeSystem) -> dict[int, Fraction]:
    """Factor from each state to the amount it stands for, where the compartment has a rational constant size."""
    scale: dict[int, Fraction] = {}
    for j, name in enumerate(system.states):
        compartment = system.compartment_of(name)
        node = None if compartment is None else system.constant_values.get(compartment)
        size = None if node is None else system.graph.number_of(node)
        if size:
            scale[j] = size
    return scale


@dataclass(frozen=True, slots=True)
class Lift:
    """x = Σ lift_i y_i + offset, columns by index."""

    rows: tuple[Mapping[int, Fraction], ...]
    offset: Mapping[int, Fraction]


def _lifts(
    system: OdeSystem, basis: Basis, pooled: PooledConstants, settings: StateLiftSettings
) -> Iterator[tuple[Lift, PooledConstants]]:
    """Lifts of states, each with pooled constants first (where there are any), then with all of them."""
    for lift in state_lifts(system, basis, settings):
        if pooled.constants:
            yield lift, pooled
        yield lift, NO_POOLED_CONSTANTS


def state_lifts(system: OdeSystem, basis: Basis, settings: StateLiftSettings = StateLiftSettings()) -> Iterator[Lift]:
    """Right inverses to try, the one with the fewest terms first.

    By exactness all give the same reduced right-hand side, but at a sparse one some node may be undefined
    (a zero denominator, ln 0): then the members share the lump, or the point is moved along the fibre.
    """
    yield Lift(basis.lift, {})
    yield Lift(_shared_lift(basis), {})
    points = _states_with_rates(system, basis, settings)
    yield from _lifts_beside_singularities(system, basis, points, settings)
    yield Lift(basis.lift, _along_fibre(basis, {j: Fraction(1) for j in range(system.size)}))
    start: dict[int, Fraction] = {}
    for j, node in enumerate(system.initial_values):
        value = None if node is None else system.graph.number_of(node)
        if value:
            start[j] = value
    yield Lift(basis.lift, _along_fibre(basis, start))
    uneven = {j: Fraction(1 + j % 7, 3 + j % 5) for j in range(system.size)}
    yield Lift(basis.lift, _along_fibre(basis, uneven))
    for point in points:
        yield Lift(basis.lift, _along_fibre(basis, point))


def _states_with_rates(system: OdeSystem, basis: Basis, settings: StateLiftSettings) -> list[dict[int, Fraction]]:
    """The initial state and states of small integers of both signs, as far as the rates exist there."""
    members = sorted(basis.members)
    generator = np.random.default_rng(11)
    drawn = generator.integers(
        -settings.largest_entry, settings.largest_entry + 1, (settings.drawn_states, system.size)
    )
    start = [None if node is None else system.graph.number_of(node) for node in system.initial_values]
    known = [value for value in start if value is not None]
    first = [known] if len(known) == system.size else []
    points = [*first, *([Fraction(int(value)) for value in row] for row in drawn)]
    table = np.array([[nearest_double(value) for value in point] for point in points])
    with np.errstate(all="ignore"):
        defined = np.isfinite(_rates_of(system, members, table)).all(axis=1)
    return [
        {j: v for j, v in enumerate(points[k]) if v} for k in np.flatnonzero(defined)[: settings.most_drawn].tolist()
    ]


def _lifts_beside_singularities(
    system: OdeSystem, basis: Basis, points: Sequence[Mapping[int, Fraction]], settings: StateLiftSettings
) -> Iterator[Lift]:
    """Lifts at which linear arguments of logarithms, roots and quotients do not change with the lumps.

    Where such an argument is no function of the lumps, it is held at the value it has at a state where all is defined.
    Else it might vanish, or change its sign, at some lumps, and the reduced equations would have no value there.
    """
    forms = _linear_surfaces(system, basis, settings.most_surfaces)
    if not forms or not points:
        return
    rows = [*basis.rows, *forms]
    columns = sorted({j for row in rows for j in row})
    if len(rows) * len(columns) > settings.dense_cells:
        return
    span: Span[int] = Span()
    independent = [row for row in rows if span.add(row)]
    if independent[: len(basis.rows)] != rows[: len(basis.rows)]:
        return  # the rows of a basis are independent
    right = right_inverse(independent, columns)
    assert right is not None
    m = len(basis.rows)
    for point in points:
        offset: dict[int, Fraction] = {}
        for row, column in zip(independent[m:], right[m:], strict=True):
            add_multiple(offset, column, dot(row, point))
        yield Lift(tuple(right[:m]), without_zeros(offset))


def _linear_surfaces(system: OdeSystem, basis: Basis, most: int) -> list[dict[int, Fraction]]:
    """Gradients of those arguments of logarithms, roots and quotients that are linear in the states."""
    graph = system.graph
    place = {graph.symbol(name): j for name, j in system.state_index.items()}
    mapping = system.specialised()
    roots = graph.substitute([system.rhs[j] for j in sorted(basis.members)], mapping)
    one = graph.number(1)
    forms: list[dict[int, Fraction]] = []
    for node in list(surfaces_of(graph, roots))[:most]:
        terms = graph.linear_terms(node)
        if all(term in place or term == one for term in terms) and len(terms) > (one in terms):
            forms.append({place[term]: value for term, value in terms.items() if term != one})
    return forms


def _shared_lift(basis: Basis) -> tuple[Mapping[int, Fraction], ...]:
    """Members of a lump share it equally, where none of them is in another lump."""
    users = Counter(j for row in basis.rows for j in row)
    lifts: list[Mapping[int, Fraction]] = []
    for row, lift in zip(basis.rows, basis.lift, strict=True):
        if any(users[j] > 1 for j in row):
            lifts.append(lift)
            continue
        total = sum((abs(value) for value in row.values()), Fraction(0))
        lifts.append({j: (1 if value > 0 else -1) / total for j, value in row.items()})
    return tuple(lifts)


def _along_fibre(basis: Basis, point: Mapping[int, Fraction]) -> dict[int, Fraction]:
    """(I − L̄L)·point, which L maps to 0."""
    moved = dict(point)
    for row, lift in zip(basis.rows, basis.lift, strict=True):
        add_multiple(moved, lift, -dot(row, point))
    return without_zeros(moved)


def reduced_system(
    system: OdeSystem,
    basis: Basis,
    lift: Lift,
    observables: Sequence[Observable],
    pooled: PooledConstants = NO_POOLED_CONSTANTS,
) -> OdeSystem:
    """The system of the rows of ``basis``, its right-hand sides taken at the lift."""
    graph = system.graph
    names = lump_names(system, basis.rows, {o.id for o in observables} | {c.id for c in pooled.constants})
    new_symbols = [graph.symbol(name) for name in names]
    image: dict[int, list[Node]] = {j: [] for j in range(system.size)}
    for symbol, row in zip(new_symbols, lift.rows, strict=True):
        for j, value in row.items():
            image[j].append(graph.scaled(value, symbol))
    for j, value in lift.offset.items():
        image[j].append(graph.number(value))
    mapping = {graph.symbol(system.states[j]): graph.add(parts) for j, parts in image.items()} | dict(pooled.mapping)
    rhs = _lumped_rates(system, basis, mapping)
    initial = _initial_nodes(system, basis)
    kept = graph.substitute([o.expression for o in observables], mapping)
    own = {*names, *(c.id for c in system.constants)}  # a constant that is observed stays the constant it is
    assigned = tuple(Assigned(o.id, root) for o, root in zip(observables, kept, strict=True) if o.id not in own)
    taken = {*names, *(a.id for a in assigned)}
    return OdeSystem(
        graph,
        names,
        tuple(initial),
        tuple(rhs),
        (*_constants(system, basis, names, initial, taken), *pooled.constants),
        assigned,
        events=reduced_events(system, names, basis.rows, mapping),
        id=system.id,
        name=system.name,
        quantities=system.quantities_of(
            [*names, *(c.id for c in system.constants if c.id not in taken), *(o.id for o in observables)]
        ),
        origin=system.origin,
    )


def _lumped_rates(system: OdeSystem, basis: Basis, mapping: Mapping[Node, Node]) -> list[Node]:
    """g(y) = L f(L̄y + c), with equal terms collected, so that inner fluxes of a pool cancel.

    At a sparse lift most fluxes vanish: sums are opened after it.
    """
    graph = system.graph
    members = sorted({j for row in basis.rows for j in row})
    lifted = dict(zip(members, graph.substitute([system.rhs[j] for j in members], mapping), strict=True))
    terms = {j: graph.linear_terms(node) for j, node in lifted.items()}
    rates: list[Node] = []
    for row in basis.rows:
        total: dict[Node, Fraction] = {}
        for j, value in row.items():
            add_multiple(total, terms[j], value)
        rates.append(graph.from_terms(total))
    return rates


def _initial_nodes(system: OdeSystem, basis: Basis) -> list[Node]:
    """Lumped initial values as expressions of the constants, so that they follow when those are changed."""
    graph = system.graph
    start = initial_formulas(system)
    return [graph.weighted_sum(row, start.__getitem__) for row in basis.rows]


def _constants(
    system: OdeSystem, basis: Basis, names: Sequence[str], initial: Sequence[Node], taken: Collection[str]
) -> tuple[Constant, ...]:
    """The constants of the original that get no other meaning, with values over lumps and constants.

    A state is what its lumps lift it to, and what is left: x_j = Σ l_ij y_i + (x_j − Σ l_ij Σ L_ik x_k).
    """
    graph = system.graph
    kept = [c for c in system.constants if c.id not in taken]
    lifted: dict[int, list[tuple[int, Fraction]]] = {}
    if graph.symbols(c.value for c in kept if c.value is not None) - {c.id for c in system.constants}:
        lifted = {j: [] for row in basis.rows for j in row}
    for i, lift in enumerate(basis.lift):
        for j, value in lift.items():
            lifted.get(j, []).append((i, value))
    image: dict[str, Node] = {}
    for j, parts in lifted.items():
        terms: dict[Node, Fraction] = {graph.symbol(system.states[j]): Fraction(1)}
        for i, value in parts:
            back = {graph.symbol(system.states[k]): v for k, v in basis.rows[i].items()}
            add_multiple(terms, back, -value)
        # after the subtraction: a lump that is a state has its symbol
        add_multiple(terms, {graph.symbol(names[i]): value for i, value in parts}, Fraction(1))
        image[system.states[j]] = graph.from_terms(terms)
    own = {
        name for name, row in zip(names, basis.rows, strict=True) if row == {system.state_index.get(name): Fraction(1)}
    }
    return written_constants(system, image, dict(zip(names, initial, strict=True)), own, kept)


def agrees(system: OdeSystem, reduced: OdeSystem, basis: Basis, tolerance: float = 1e-6) -> bool:
    """Whether g(Lx) exists and is L f(x), at the initial state and at a few positive states.

    Doubles are asked first; where these see a difference beyond the (relative) tolerance, it may be their own
    (coefficients of many digits that cancel), and balls decide. A proof that is exact follows in any case.
    """
    graph = system.graph
    if any(graph.is_undefined(node) for node in (*reduced.rhs, *(a.value for a in reduced.assigned))):
        return False
    generator = np.random.default_rng(7)
    start = np.nan_to_num(system.initial_state())
    size = np.where(start > 0, start, max(1e-3, float(np.abs(start).max(initial=0.0)) or 1.0))
    members = sorted({j for row in basis.rows for j in row})
    with np.errstate(all="ignore"):  # initial values and coefficients may lie beyond the doubles
        points = np.vstack([start, size * generator.uniform(0.5, 1.5, (4, system.size))])
        if _doubles_agree(system, reduced, basis, members, points, tolerance):
            return True
    place = {j: k for k, j in enumerate(members)}
    sides = Sides(
        graph,
        graph,
        tuple(graph.substitute([system.rhs[j] for j in members], system.specialised())),
        tuple({place[j]: value for j, value in row.items()} for row in basis.rows),
        tuple(graph.substitute(reduced.rhs, reduced.specialised())),
        (*map(graph.symbol, system.states), graph.time()),
        (*map(graph.symbol, reduced.states), graph.time()),
    )
    claim = RealClaim(sides, basis.rows, basis.lift, start, np.empty(0))
    return not contradicted_at(claim, np.vstack([points.T, np.zeros(len(points))]))


def _doubles_agree(
    system: OdeSystem,
    reduced: OdeSystem,
    basis: Basis,
    members: Sequence[int],
    points: Array,
    tolerance: float,
) -> bool:
    full = np.zeros_like(points)
    full[:, members] = _rates_of(system, members, points)
    matrix = LumpingMatrix(system.states, basis.rows).array()
    expected, got = full @ matrix.T, reduced.rates(0.0, points @ matrix.T)
    weight = np.abs(full) @ np.abs(matrix.T)
    known = np.isfinite(expected)
    if not np.isfinite(got[known]).all():
        return False
    # rates may cancel at one point (a steady start): each lump is measured by its largest terms over all points
    size_of_terms = np.where(np.isfinite(weight), weight, 0.0).max(axis=0)
    close = np.abs(got - expected) <= tolerance * np.maximum(size_of_terms, 1e-300)
    return bool(close[known].all() and known.any(axis=0).all())


def _rates_of(system: OdeSystem, members: Sequence[int], points: Array) -> Array:
    """Rates of some states, (k, len(members)) as doubles; constants are inputs, as putting them in costs a copy."""
    graph = system.graph
    roots = [system.rhs[j] for j in members]
    names = sorted(graph.symbols(roots) - set(system.states))
    # also of constants kept symbolic: a lift is chosen, and the model written, with the values of the file
    system.require_values(roots)
    constants = values_of(graph, [system.constant_values[name] for name in names])
    table = np.hstack([points, np.broadcast_to(constants, (len(points), len(names)))])
    return Evaluator(graph, roots, (*system.states, *names), {}).values(0.0, table)


def claim_of(
    system: OdeSystem,
    reduced: OdeSystem,
    basis: Basis,
    lift: Lift,
    observables: Sequence[Observable],
    keep: frozenset[str],
) -> Claim:
    """What is to be proved, by ids instead of columns."""

    def named(row: Mapping[int, Fraction]) -> dict[str, Fraction]:
        return {system.states[j]: value for j, value in row.items()}

    lumping = LumpedStates(
        {name: named(row) for name, row in zip(reduced.states, basis.rows, strict=True)},
        {name: named(row) for name, row in zip(reduced.states, lift.rows, strict=True)},
        named(lift.offset),
    )
    return Claim(system, reduced, lumping, {o.id: o.expression for o in observables}, keep)


def assemble(
    system: OdeSystem,
    reduced: OdeSystem,
    basis: Basis,
    lift: Lift,
    observables: Sequence[Observable],
    proof: Certificate,
    seconds: Mapping[str, float],
    constants_needed: int,
) -> ReducedSystem:
    """Everything of a lumping and its certificate together."""
    matrix = LumpingMatrix(system.states, basis.rows)
    lumps = tuple(
        Lump(name, {system.states[j]: value for j, value in sorted(row.items())})
        for name, row in zip(reduced.states, basis.rows, strict=True)
    )
    remarks = []
    if constants_needed:
        remarks.append(f"{constants_needed} constants or combinations of constants kept symbolic take part")
    lost = constants_of_lost_states(system, reduced, {lump.id: lump.members for lump in lumps})
    if lost:
        listed = some_names(lost, _MOST_NAMED)
        remarks.append(
            f"computed from initial values of states that the reduced model does not have: {listed}; for other initial "
            "values of these, reduce again"
        )
    return ReducedSystem(
        system,
        reduced,
        tuple(observables),
        lumps,
        LinearLumping(matrix, LumpingMatrix(system.states, lift.rows), lift.offset),
        proof,
        "exact",
        dict(seconds),
        tuple(remarks),
    )
