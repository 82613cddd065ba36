"""Totals that decay at one rate as known functions of time beside the states of a reduced model.

Rows v with v·f(x) = μ(v·x − a) for every x, as growth and turnover at one rate make them, are pinned in L beside the
observables. Then v·x̂ = τ for the component τ = v·x of the reduced state, because L L̄ = I, so that its rate is μ(τ − a)
whatever the rest of the projection is, and τ(t) = a + (v·x(0) − a)·exp(μt). What is written has a rule in time in its
place; x̂ = L̄y + Gw(t) with w(t) = (1, Wx(0), τ(t)) is all that is left of it. So the search, the refinement and the
measuring treat such a component as a pinned state, and only sizes are counted without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from sbmlump.dynamics.ensemble import ReductionProblem
from sbmlump.errors import SbmlumpError
from sbmlump.linalg.rational import solve_rows
from sbmlump.methods.approximate.learning_runs import LearningRuns
from sbmlump.methods.approximate.write import Course, WrittenSystem
from sbmlump.model.graph import Node
from sbmlump.model.names import claim_id
from sbmlump.model.reduced import AffineLumping, LumpingMatrix
from sbmlump.model.system import Assigned, Constant, Quantity
from sbmlump.structure.laws import DecayingRow, decaying_rows

__all__ = ["DecayingTotals", "decaying_totals_of"]


@dataclass(frozen=True, slots=True)
class DecayingSettings:
    """Which totals take part.

    Attributes
    ----------
    most_states : int
        Of a model in which they are looked for.
    most_rates : int
        Different rates: a linear model has one a state, and is then solved rather than reduced.
    most_totals : int
        Each is a component that candidates are integrated with.
    """

    most_states: int = 200
    most_rates: int = 3
    most_totals: int = 8


DECAYING: Final = DecayingSettings()


def decaying_totals_of(runs: LearningRuns, settings: DecayingSettings = DECAYING) -> DecayingTotals | None:
    """Totals of a problem that decay; ``None`` without any, or where they are of no use.

    They are exact for one set of values of the constants, and hold between events only. At least one state has to be
    left beside them and the observables.
    """
    options, problem = runs.options, runs.problem
    usable = options.balances and not options.perturb_parameters
    if not usable or problem.system.events or problem.size > settings.most_states or runs.large:
        return None
    try:
        found = decaying_rows(problem.system, problem.kept, seed=options.seed)
    except SbmlumpError:  # too large or too long numbers: an offset less
        return None
    place = {j: i for i, j in enumerate(problem.kept)}
    sharing: dict[Fraction, list[DecayingRow]] = {}
    for one in found:
        moved = replace(one, row={place[j]: value for j, value in one.row.items()})
        sharing.setdefault(one.rate, []).append(moved)
    most = min(settings.most_totals, problem.size - len(problem.pinned) - len(runs.totals) - 1)
    chosen: list[DecayingRow] = []
    # rates that several share first: they make the most of one function of time
    for rows in sorted(sharing.values(), key=len, reverse=True)[: settings.most_rates]:
        for one in rows:
            known = [*problem.pinned, *(other.row for other in chosen)]
            if len(chosen) < most and solve_rows(known, one.row) is None:
                chosen.append(one)
    if not chosen:
        return None
    pinned = replace(problem, pinned=(*problem.pinned, *(one.row for one in chosen)))
    return DecayingTotals(pinned, len(problem.pinned), tuple(chosen))


@dataclass(frozen=True, slots=True)
class DecayingTotals:
    """A problem whose pinned rows are those of the observables, and then totals that decay.

    Attributes
    ----------
    problem : ReductionProblem
    observed : int
        Rows of the observables.
    rows : tuple of DecayingRow
        Over the columns of the problem.
    """

    problem: ReductionProblem
    observed: int
    rows: tuple[DecayingRow, ...]

    def solved(self, written: WrittenSystem) -> WrittenSystem:
        """The system with functions of time in the place of the totals, which are states of ``written``."""
        system, lumping = written.system, written.map
        graph = system.graph
        solved = range(self.observed, self.observed + len(self.rows))
        kept = [i for i in range(system.size) if i not in solved]
        taken = set(system.taken_ids)
        functions: dict[Node, Node] = {}
        constants: list[Constant] = []
        quantities = dict(system.quantities)
        decaying: list[tuple[str, Mapping[int, Fraction]]] = []
        offset = dict(lumping.offset)
        numbers = system.initial_state()
        for one, i in zip(self.rows, solved, strict=True):
            name, start = system.states[i], system.initial[i]
            if not system.is_symbol(start):
                id = claim_id(f"{name}_at_start", taken)
                constants.append(Constant(id, start, computed=True))
                quantities[id] = Quantity(id, "parameter", name=f"initial value of {name}", written_constant=True)
                decaying.append((id, lumping.matrix.rows[i]))
                start = graph.symbol(id)
            level = graph.number(one.level)
            factor = graph.call("exp", (graph.mul((graph.number(one.rate), graph.time())),))
            functions[graph.symbol(name)] = graph.add((level, graph.mul((graph.sub(start, level), factor))))
            for j, value in lumping.lift.rows[i].items():
                offset[j] = offset.get(j, Fraction(0)) + value * Fraction(repr(float(numbers[i])))
        rhs = graph.substitute([system.rhs[i] for i in kept], functions)
        values = graph.substitute([one.value for one in system.assigned], functions)
        assigned = [Assigned(graph.name(symbol), node) for symbol, node in functions.items()]
        assigned += [replace(one, value=node) for one, node in zip(system.assigned, values, strict=True)]
        smaller = replace(
            system,
            states=tuple(system.states[i] for i in kept),
            initial=tuple(system.initial[i] for i in kept),
            rhs=tuple(rhs),
            constants=(*system.constants, *constants),
            assigned=tuple(assigned),
            quantities=quantities,
        )
        states = lumping.matrix.states
        rows, lift = (
            LumpingMatrix(states, tuple(table.rows[i] for i in kept)) for table in (lumping.matrix, lumping.lift)
        )
        return replace(
            written,
            system=smaller,
            map=AffineLumping(rows, lift, {j: v for j, v in offset.items() if v}, lumping.totals, tuple(decaying)),
            lumps=tuple(written.lumps[i] for i in kept),
            courses=tuple(
                Course(i, float(one.rate), float(one.level)) for one, i in zip(self.rows, solved, strict=True)
            ),
        )
