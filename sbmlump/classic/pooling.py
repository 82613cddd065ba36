"""Reaction pooling: a lumped model as a reaction network again, LS = S̃Q.

Reactions whose columns of LS have the same direction are one pooled reaction, with the sum of their fluxes (each times
its factor) as its rate. Where every pooled rate is a function of the lumps, the lumped model has reactions and needs no
rate rules. L may be the identity: then parallel reactions become one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.classic.elimination import free_id, with_fluxes
from sbmlump.expr.domains import PrimeField
from sbmlump.expr.graph import Node
from sbmlump.expr.program import Program
from sbmlump.lumping.identity import IdentityTest, failure_bound, run_trials
from sbmlump.reduced import Elimination, ExactProof, ReducedSystem
from sbmlump.structure.laws import amount_factors, changing_compartment, stoichiometry
from sbmlump.system import OdeSystem, Participant, Quantity, Reaction

__all__ = ["PooledReaction", "Pooling", "pool_reactions", "pooled"]

Residues = NDArray[np.int64]
_LONGEST_POOL_ID: Final = 40


@dataclass(frozen=True, slots=True)
class PooledReaction:
    """One reaction of the lumped network.

    Attributes
    ----------
    id : str
        That of the only member, or ``pooled_…``.
    members : mapping of reaction id to Fraction
        Row of Q: the pooled flux is Σ factor · flux.
    change : mapping of lump id to Fraction
        Column of S̃: coprime integers.
    flux : Node
        Over the lumps, constants and time, in the graph of both systems.
    """

    id: str
    members: Mapping[str, Fraction]
    change: Mapping[str, Fraction]
    flux: Node


@dataclass(frozen=True, slots=True)
class Pooling:
    """Pooled reactions of a lumping.

    Attributes
    ----------
    reactions : tuple of PooledReaction
        Of the groups whose rate is a function of the lumps.
    open_groups : tuple of tuple of str
        Ids of reactions of the other groups.
    inner : tuple of str
        Reactions inside the lumps: they change none of them.
    trial : Trial or None
        How it was tested that the rates are functions of the lumps.
    why : str
        What is wrong where there are open groups or no pooling at all.
    """

    reactions: tuple[PooledReaction, ...]
    open_groups: tuple[tuple[str, ...], ...]
    inner: tuple[str, ...]
    trial: IdentityTest | None
    why: str = ""

    @property
    def complete(self) -> bool:
        """Whether the pooled reactions give the right-hand side of every lump."""
        return bool(self.reactions) and not self.open_groups and not self.why


def pool_reactions(reduction: ReducedSystem, seed: int = 0) -> Pooling:
    """Group the reactions of the original by what they do to the lumps.

    Parameters
    ----------
    reduction : ReducedSystem
        An exact linear lumping (the identity included); its lift gives the pooled rates.
    seed : int
        Of the random numbers of the test.
    """
    original = reduction.original
    obstacle = _obstacle(reduction)
    if obstacle:
        return Pooling((), (), (), None, obstacle)
    rows = stoichiometry(original)
    assert rows is not None
    columns = _lumped_columns(reduction, rows)
    groups, inner = _groups(original, columns)
    lifted = _lifted(reduction)
    graph = original.graph
    candidates: list[tuple[dict[str, Fraction], tuple[tuple[int, Fraction], ...], Node, Node]] = []
    fluxes = {one.id: one.flux for one in original.reactions}
    for direction, members in groups.items():
        whole = graph.add(graph.scaled(v, fluxes[name]) for name, v in members.items())
        small = graph.substitute([whole], lifted)[0]
        candidates.append((members, direction, whole, graph.from_terms(graph.linear_terms(small))))
    trial = _test(reduction, [(whole, small) for _, _, whole, small in candidates], seed)
    wrong = _all_wrong(reduction, candidates, trial, seed)
    taken = set(original.definitions) | set(original.quantities) | set(reduction.system.definitions)
    made: list[PooledReaction] = []
    open_groups: list[tuple[str, ...]] = []
    names = reduction.system.states
    for i, (members, direction, _, small) in enumerate(candidates):
        if i in wrong:
            open_groups.append(tuple(members))
            continue
        own = next(iter(members)) if len(members) == 1 and next(iter(members.values())) == 1 else None
        name = own or free_id(_pooled_name(list(members)), taken)
        taken.add(name)
        made.append(PooledReaction(name, members, {names[k]: v for k, v in direction}, small))
    why = "" if not open_groups else f"the rate of {len(open_groups)} groups of reactions is no function of the lumps"
    return Pooling(tuple(made), tuple(open_groups), tuple(inner), trial, why)


def pooled(reduction: ReducedSystem, seed: int = 0) -> ReducedSystem:
    """The reduction with its lumped model written as a reaction network, where that is possible.

    Otherwise the reduction as it was, with a remark that says why. The certificate covers the pooling.
    """
    pooling = pool_reactions(reduction, seed)
    method = "pooling" if reduction.method in ("exact", "none") else f"{reduction.method},pooling"
    if not pooling.complete or pooling.trial is None:
        remark = f"not written as reactions: {pooling.why or 'there are no reactions'}"
        return replace(reduction, method=method, remarks=(*reduction.remarks, remark))
    system = _with_reactions(reduction, pooling)
    proof = reduction.certificate
    if isinstance(proof, ExactProof):
        count = len(reduction.original.reactions)
        proof = replace(
            proof,
            statement=f"{proof.statement}; {count} reactions became {len(pooling.reactions)}, each with a rate that is "
            "a function of the lumps, and LS = S̃Q",
            method=proof.method if proof.method == "identity-test" else "chain",
            failure_probability=min(1.0, proof.failure_probability + pooling.trial.failure_probability),
            primes=tuple(dict.fromkeys((*proof.primes, *pooling.trial.primes))),
        )
    return replace(reduction, system=system, certificate=proof, method=method)


# -- inside ------------------------------------------------------------------------------------------


def _obstacle(reduction: ReducedSystem) -> str:
    original = reduction.original
    if isinstance(reduction.map, Elimination):
        return "states were eliminated; only linear lumpings are pooled"
    if not original.reactions:
        return "the model has no reactions"
    if any(q.conversion_factor for q in original.quantities.values()) or original.origin.conversion_factor:
        return "the model has conversion factors"
    if stoichiometry(original) is None:
        return "a stoichiometry is no number"
    factors = amount_factors(original)
    for row in reduction.matrix.rows:
        if len({factors[j] for j in row}) > 1:
            return "a lump mixes concentrations of different compartments"
    for row in reduction.matrix.rows:
        for j in row:
            size = changing_compartment(original, original.states[j])
            if size is not None:  # no species stands for such a lump: its amount is not what moves by itself
                return f"the compartment {size} of {original.states[j]} changes its size"
    touched = {one.species for r in original.reactions for one in (*r.reactants, *r.products)}
    index = original.state_index
    zero = original.graph.number(0)
    for name, j in index.items():
        quantity = original.quantities.get(name)
        ruled = quantity is not None and quantity.boundary
        if (name not in touched or ruled) and original.rhs[j] != zero:
            return f"{name} has a rate rule"
    return ""


def _lumped_columns(reduction: ReducedSystem, rows: Sequence[Mapping[int, Fraction]]) -> list[dict[int, Fraction]]:
    """Columns of LS."""
    columns: list[dict[int, Fraction]] = [{} for _ in reduction.original.reactions]
    for k, row in enumerate(reduction.matrix.rows):
        for j, value in row.items():
            for column, amount in rows[j].items():
                columns[column][k] = columns[column].get(k, Fraction(0)) + value * amount
    return [{k: value for k, value in column.items() if value} for column in columns]


def _groups(
    original: OdeSystem, columns: Sequence[Mapping[int, Fraction]]
) -> tuple[dict[tuple[tuple[int, Fraction], ...], dict[str, Fraction]], list[str]]:
    """Reactions by the direction of their column, with their factors; and those that change nothing."""
    groups: dict[tuple[tuple[int, Fraction], ...], dict[str, Fraction]] = {}
    inner: list[str] = []
    for reaction, column in zip(original.reactions, columns, strict=True):
        if not column:
            inner.append(reaction.id)
            continue
        common = lcm(*(value.denominator for value in column.values()))
        divisor = gcd(*(int(value * common) for value in column.values()))
        factor = Fraction(divisor, common)
        direction = tuple(sorted((k, value / factor) for k, value in column.items()))
        groups.setdefault(direction, {})[reaction.id] = factor
    return groups, inner


def _lifted(reduction: ReducedSystem) -> dict[Node, Node]:
    """Symbols of original states as expressions of the lumps."""
    original = reduction.original
    graph = original.graph
    image: dict[int, list[Node]] = {j: [] for j in range(original.size)}
    for name, row in zip(reduction.system.states, reduction.map.lift.rows, strict=True):
        for j, value in row.items():
            image[j].append(graph.scaled(value, graph.symbol(name)))
    for j, value in reduction.map.offset.items():
        image[j].append(graph.number(value))
    return {graph.symbol(original.states[j]): graph.add(parts) for j, parts in image.items()}


def _test(reduction: ReducedSystem, pairs: Sequence[tuple[Node, Node]], seed: int) -> IdentityTest:
    """Whether w(x) = w̃(Lx) at random points modulo random primes, constants being random too."""
    original = reduction.original
    graph = original.graph
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if not reduction.system.states or not pairs:
        return IdentityTest((), (), 0, 0.0)
    # constants for all of whose values the lumping is proved stay free: the pooled rates have to hold for them too
    proof = reduction.certificate
    free = set(map(graph.symbol, proof.symbolic)) if isinstance(proof, ExactProof) else set()
    bound_values = original.specialised() if reduction.method != "none" else {}
    fixed = {symbol: value for symbol, value in bound_values.items() if symbol not in free}
    left, right = graph.substitute(left, fixed), graph.substitute(right, fixed)
    names = sorted((graph.symbols(left) | graph.symbols(right)) - set(original.states) - set(reduction.system.states))
    shared = [graph.symbol(name) for name in names]
    first = Program(graph, left, [*map(graph.symbol, original.states), *shared, graph.time()])
    second = Program(graph, right, [*map(graph.symbol, reduction.system.states), *shared, graph.time()])
    degree = first.degree() + second.degree() + 1
    bound = failure_bound(degree, degree * (first.height() + second.height() + 64))
    rows = reduction.matrix.rows
    n = original.size

    def compare(field: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        x = generator.integers(1, field.prime, (len(first.inputs), points))
        exact = x.astype(object)
        y = np.array(
            [sum(field.residue(v) * exact[j] for j, v in row.items()) % field.prime for row in rows], dtype=np.int64
        )
        a, b = first.run(field, x), second.run(field, np.concatenate([y, x[n:]]))
        good = ~(a.bad | b.bad)
        if not good.any():
            return None
        return np.asarray(((first.outputs(a) - second.outputs(b)) % field.prime)[:, good])

    return run_trials(compare, np.random.default_rng([seed, 0x9001]), bound)


def _all_wrong(
    reduction: ReducedSystem,
    candidates: Sequence[tuple[dict[str, Fraction], tuple[tuple[int, Fraction], ...], Node, Node]],
    trial: IdentityTest,
    seed: int,
) -> set[int]:
    """Groups whose rate is no function of the lumps; a series of trials stops at its first find, so it is repeated."""
    graph = reduction.original.graph
    wrong = set(trial.wrong) | {i for i, one in enumerate(candidates) if graph.is_undefined(one[3])}
    if not trial.primes:
        return set(range(len(candidates)))
    while trial.wrong:
        rest = [i for i in range(len(candidates)) if i not in wrong]
        trial = _test(reduction, [(candidates[i][2], candidates[i][3]) for i in rest], seed + 1)
        wrong |= {rest[i] for i in trial.wrong}
    return wrong


def _pooled_name(members: Sequence[str]) -> str:
    joined = "pooled_" + "_".join(members)
    return (
        joined
        if len(members) <= 3 and len(joined) <= _LONGEST_POOL_ID
        else f"pooled_{members[0]}_and_{len(members) - 1}_more"
    )


def _with_reactions(reduction: ReducedSystem, pooling: Pooling) -> OdeSystem:
    system, original = reduction.system, reduction.original
    graph = system.graph
    moved = set(system.states)
    reactions: list[Reaction] = []
    known = {one.id: one for one in original.reactions}
    for one in pooling.reactions:
        reactants = tuple(Participant(n, graph.number(-v)) for n, v in one.change.items() if v < 0)
        products = tuple(Participant(n, graph.number(v)) for n, v in one.change.items() if v > 0)
        acting = graph.symbols([one.flux]) & moved
        modifiers = tuple(sorted(acting - {p.species for p in (*reactants, *products)}))
        reversible = any(known[name].reversible for name in one.members)
        name = None if one.id in one.members else " + ".join(one.members)[:200]
        reactions.append(Reaction(one.id, one.flux, reactants, products, modifiers, reversible, name=name))
    quantities = dict(system.quantities)
    for lump in reduction.lumps:
        if lump.is_single:
            continue
        member = original.quantities.get(next(iter(lump.members)))
        if member is not None and member.kind == "species":
            quantities[lump.id] = Quantity(
                lump.id,
                "species",
                compartment=member.compartment,
                amount=member.amount,
                given_as_amount=member.amount,
            )
            home = member.compartment
            if home is not None and home in original.quantities:
                quantities.setdefault(home, original.quantities[home])
    pooled_system = replace(
        system,
        # a flux that is observed is an assigned quantity of the lumped model; as a reaction it has its id again
        assigned=tuple(one for one in system.assigned if one.id not in {r.id for r in reactions}),
        reactions=tuple(reactions),
        quantities=quantities,
    )
    return with_fluxes(pooled_system, system, (one.id for one in reduction.observables))
