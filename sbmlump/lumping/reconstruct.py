"""Original quantities that the lumps determine, put back into the reduced model by assignment rules.

A state is determined by exact lumps if its unit vector lies in the row space of L; any other quantity if its value at
the lift is its value at every state with the same lumps. On the manifold of an embedding or an elimination every state
is determined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sbmlump.errors import Reason, UsageError
from sbmlump.expr.generic_values import field_values
from sbmlump.expr.graph import Node
from sbmlump.lumping.species import homes, lifted_states
from sbmlump.reduced import Elimination, Embedding, ErrorEstimate, LinearLumping, ReducedSystem
from sbmlump.system import Assigned

__all__ = ["reconstruct"]

_MOST_TOLD: Final = 5


def reconstruct(reduced: ReducedSystem, ids: str | Sequence[str]) -> ReducedSystem:
    """The reduction with assigned quantities for original ones.

    Parameters
    ----------
    reduced : ReducedSystem
    ids : "all" or sequence of str
        ``all``: every original state that the lumps determine. Otherwise ids of the original (states, assigned
        quantities); those that the reduced model has already are left as they are. A string of ids is separated by
        commas.

    Raises
    ------
    UsageError
        Codes ``unknown-quantity``, and ``not-determined`` for an id that is no function of the lumps.
    """
    original, system = reduced.original, reduced.system
    everything = ids == "all"
    names = list(original.states) if everything else _listed(ids)
    unknown = [name for name in names if name not in original.definitions]
    if unknown:
        raise UsageError(
            [
                Reason(
                    "unknown-quantity", f"{name!r} is no quantity of model {original.id}; nothing to reconstruct", name
                )
                for name in unknown
            ]
        )
    wanted = [name for name in dict.fromkeys(names) if name not in system.definitions]
    found = _determined(reduced, wanted)
    missing = [name for name in wanted if name not in found]
    if missing and not everything:
        raise UsageError(
            [
                Reason(
                    "not-determined",
                    f"{name} is no function of the lumps and cannot be reconstructed; observe it to keep it",
                    name,
                )
                for name in missing[:_MOST_TOLD]
            ]
        )
    quantities = dict(system.quantities)
    quantities.update((name, original.quantities[name]) for name in found if name in original.quantities)
    assigned = (*system.assigned, *(Assigned(name, node) for name, node in found.items()))
    return replace(reduced, system=replace(system, assigned=assigned, quantities=quantities))


def _listed(ids: str | Sequence[str]) -> list[str]:
    listed = ids.split(",") if isinstance(ids, str) else list(ids)
    return [name.strip() for name in listed if name.strip()]


def _determined(reduced: ReducedSystem, names: Sequence[str]) -> dict[str, Node]:
    """Expressions over the reduced system of those of ``names`` that it determines."""
    original, system, graph = reduced.original, reduced.system, reduced.system.graph
    certificate = reduced.certificate
    symbolic = frozenset(() if isinstance(certificate, ErrorEstimate) else certificate.symbolic)
    wanted = [original.definitions[name] for name in names]
    if isinstance(reduced.map, (Embedding, Elimination)):
        image = lifted_states(reduced, homes(reduced), symbolic)
        return dict(zip(names, graph.substitute(wanted, image), strict=True))
    if not isinstance(reduced.map, LinearLumping) or certificate.kind != "exact-proof":
        return {}
    image = lifted_states(reduced, homes(reduced), symbolic)
    small = graph.substitute(wanted, image)
    fixed: Mapping[Node, Node] = system.specialised(symbolic)
    states = [graph.symbol(name) for name in original.states]
    lumps = {
        graph.symbol(name): graph.add(graph.scaled(v, states[j]) for j, v in row.items())
        for name, row in zip(system.states, reduced.matrix.rows, strict=True)
    }
    left = graph.substitute(wanted, fixed)
    right = graph.substitute(small, dict(fixed) | lumps)
    values = field_values(graph, [*left, *right])
    return {
        name: node
        for name, node, a, b in zip(names, small, left, right, strict=True)
        if values[a] == values[b] and not graph.is_undefined(node)
    }
