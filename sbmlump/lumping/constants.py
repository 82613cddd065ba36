"""Constants kept symbolic: which combinations of them a reduced system still needs.

The space found over states and kept constants holds, besides the rows of the lumps, combinations of constants alone.
Where all that is needed of some constants is a combination (two decay rates that only act as their sum), it becomes
one constant of the reduced system, defined by an initial assignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import flint

from sbmlump.expr.graph import Node, Op
from sbmlump.lumping.basis import choose_basis
from sbmlump.lumping.exact import ClosureProblem, LiftedSpace
from sbmlump.lumping.names import pool_name
from sbmlump.system import Constant, OdeSystem

__all__ = ["NO_POOLED_CONSTANTS", "PooledConstants", "pool_constants"]


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
    """Combinations of kept constants that suffice.

    Parameters
    ----------
    space : LiftedSpace
        Over the columns of ``problem``: states, kept constants, time.
    taken : frozenset of str
        Ids that new constants must not have.
    """
    graph = system.graph
    n = problem.n_states
    columns = [j for j in range(n, len(problem.variables)) if graph.op(problem.variables[j]) is Op.SYMBOL]
    parts = [{j: row[j] for j in columns if j in row} for row in space.rows]
    rows, pivots = _echelon([part for part in parts if part], columns)
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
        value = graph.add(graph.scaled(v, problem.variables[j]) for j, v in row.items())
        constants.append(Constant(name, value, computed=True))
        for j in row:
            mapping.setdefault(problem.variables[j], graph.number(0))
        for j, v in lift.items():
            term = graph.scaled(v, graph.symbol(name))
            mapping[problem.variables[j]] = graph.add((mapping[problem.variables[j]], term))
    return PooledConstants(tuple(constants), mapping, len(basis.rows))


def _echelon(
    rows: Sequence[Mapping[int, Fraction]], columns: Sequence[int]
) -> tuple[list[dict[int, Fraction]], list[int]]:
    """Reduced row echelon form over Q of sparse rows."""
    if not rows:
        return [], []
    zero = Fraction(0)
    table = flint.fmpq_mat([[flint.fmpq(*row.get(j, zero).as_integer_ratio()) for j in columns] for row in rows])
    reduced, rank = table.rref()
    out: list[dict[int, Fraction]] = []
    pivots: list[int] = []
    for i in range(rank):
        row = {
            columns[k]: Fraction(int(reduced[i, k].p), int(reduced[i, k].q))
            for k in range(len(columns))
            if reduced[i, k] != 0
        }
        out.append(row)
        pivots.append(min(row))
    return out, pivots
