"""Constraints of the original on what a reduced model still has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sbmlump.errors import Reason
from sbmlump.expr.generic_values import field_values
from sbmlump.expr.graph import Graph, Node
from sbmlump.expr.text import to_text
from sbmlump.reduced import Embedding, ErrorEstimate, LinearLumping, ReducedSystem
from sbmlump.sbml.write_descriptions import counted
from sbmlump.system import Constraint

__all__ = ["carried_constraints", "lost_constraints"]

_LONGEST_FORMULA: Final = 60
"""Characters of a condition in a message."""


def carried_constraints(reduced: ReducedSystem) -> tuple[tuple[Constraint, ...], tuple[Constraint, ...]]:
    """Constraints of the reduced model, and those of the original that it cannot have.

    A condition stays if all states in it are still there under their ids, as states or assigned quantities, or if it is
    a function of the lumps of an exact reduction: taken at the lift and back at the original states, it is the
    condition that it was. Constants that are gone are put in by their values.
    """
    original, system = reduced.original, reduced.system
    if len(system.constraints) == len(original.constraints) or system.graph is not original.graph:
        return system.constraints, () if system.constraints else original.constraints
    graph = system.graph
    alone = {lump.id for lump in reduced.lumps if lump.is_single}
    ids = {graph.symbol(name): graph.symbol(name) for name in alone}
    ids |= {graph.symbol(a.id): a.value for a in system.assigned if a.id in original.state_index}
    resting = {c.id for c in system.constants}
    start = original.at_start()
    constants = {
        graph.symbol(c.id): graph.symbol(c.id) if c.id in resting else start[c.id]
        for c in original.constants
        if c.id in resting or c.id in start
    }
    conditions = [one.condition for one in original.constraints]
    by_ids = graph.substitute(conditions, ids | constants)
    known = {*map(graph.name, ids), *map(graph.name, constants)}
    named = [graph.symbols([condition]) <= known for condition in conditions]
    lifted = _at_lift(reduced, conditions)
    kept: list[Constraint] = []
    lost: list[Constraint] = []
    for constraint, own, here, lump in zip(original.constraints, by_ids, named, lifted, strict=True):
        node = own if here else lump
        if node is None:
            lost.append(constraint)
        else:
            kept.append(Constraint(graph.substitute([node], constants)[0], constraint.message, constraint.description))
    return tuple(kept), tuple(lost)


def _at_lift(reduced: ReducedSystem, conditions: Sequence[Node]) -> list[Node | None]:
    """Each of ``conditions`` over the lumps, where it is a function of them."""
    way = reduced.map
    exact = isinstance(way, Embedding) or type(way) is LinearLumping
    if not exact or isinstance(reduced.certificate, ErrorEstimate):
        return [None] * len(conditions)
    graph, states = reduced.system.graph, reduced.original.states
    lumps = [graph.symbol(name) for name in reduced.system.states]
    parts: dict[int, list[Node]] = {j: [graph.number(value)] for j, value in way.offset.items()}
    for lump, row in zip(lumps, way.lift.rows, strict=True):
        for j, value in row.items():
            parts.setdefault(j, []).append(graph.scaled(value, lump))
    lift = {graph.symbol(name): graph.add(parts.get(j, ())) for j, name in enumerate(states)}
    lifted = graph.substitute(list(conditions), lift)
    if isinstance(way, Embedding):
        return list(lifted)  # on the embedded states it is the same
    symbols = [graph.symbol(name) for name in states]
    back = {
        lump: graph.add(graph.scaled(value, symbols[j]) for j, value in row.items())
        for lump, row in zip(lumps, way.matrix.rows, strict=True)
    }
    again = graph.substitute(lifted, back)
    values = field_values(graph, [*conditions, *again])
    return [
        node if values[before] == values[after] else None
        for before, node, after in zip(conditions, lifted, again, strict=True)
    ]


def lost_constraints(graph: Graph, lost: Sequence[Constraint]) -> tuple[Reason, ...]:
    """One reason that names the constraints, by their ids and names or else by their formulas."""
    if not lost:
        return ()
    said = [one.description.id or one.description.name for one in lost]
    names = [n or to_text(graph, one.condition, _LONGEST_FORMULA) for n, one in zip(said, lost, strict=True)]
    text = f"not kept: constraints on what the reduced model does not have ({counted(names)})"
    return (Reason("not-kept", text),)
