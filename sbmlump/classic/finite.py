"""Whether what a reduction writes has finite values where the original has them: at its initial values, along a run.

A formula may be right almost everywhere and still be 0/0 where the model begins: a quasi-steady state X = k₁A/(k₂B)
while nothing of B is there. Every simulator stops on it, so it is looked for in what will be written (initial values,
right-hand sides, fluxes, assigned quantities), evaluated as a simulator does, operation by operation: putting numbers
in place of constants first would fold 0·(1/0) to 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sbmlump.classic.rational import Fractions
from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.domains import FloatDomain
from sbmlump.expr.evaluate import values_of
from sbmlump.expr.graph import Graph, Node
from sbmlump.expr.program import Program
from sbmlump.expr.text import to_text
from sbmlump.reduced import ErrorEstimate, ReducedSystem, with_observables
from sbmlump.system import OdeSystem, Reaction

__all__ = ["finite_along", "refuse_undefined", "undefined_parts", "with_defined_parts"]

Array = NDArray[np.float64]
Part = tuple[Literal["initial value", "rate", "value"], str]
"""What of which id: its initial value, its rate, or its value at all times (assigned quantities, fluxes)."""
_FLOAT: Final = FloatDomain()
_CODE: Final = "undefined-at-start"
_MOST_SHOWN: Final = 160  # characters of a formula within a message


def undefined_parts(
    system: OdeSystem, times: Array | None = None, states: Array | None = None
) -> dict[Part, Node | None]:
    """What has no finite value at the initial values or at one of some points, with its formula.

    Parameters
    ----------
    system : OdeSystem
    times : array (k,), optional
    states : array (k, n), optional
        Further points beside the initial one, such as those of a run.
    """
    start = system.initial_state()
    found: dict[Part, Node | None] = {
        ("initial value", name): None
        for name, value in zip(system.states, start, strict=True)
        if not np.isfinite(value)
    }
    found |= {("initial value", name): None for name, value in _constants(system).items() if not np.isfinite(value)}
    parts = _parts(system)
    points = start[None, :] if states is None else np.vstack([start, states])
    clock = np.zeros(1) if times is None else np.concatenate([[0.0], times])
    finite = finite_along(system, list(parts.values()), clock, points)
    found |= {part: node for (part, node), good in zip(parts.items(), finite, strict=True) if not good}
    return found


def finite_along(system: OdeSystem, nodes: Sequence[Node], times: Array, states: Array) -> NDArray[np.bool_]:
    """Whether each expression is finite at all points, (len(nodes),), evaluated as a simulator evaluates it.

    Parameters
    ----------
    times : array (k,)
    states : array (k, n)
    """
    graph = system.graph
    constants = _constants(system)
    inputs = [*map(graph.symbol, system.states), *map(graph.symbol, constants), graph.time()]
    fixed = np.broadcast_to(np.array(list(constants.values()))[:, None], (len(constants), len(times)))
    with np.errstate(all="ignore"):
        program = Program(graph, nodes, inputs)
        tape = program.run(_FLOAT, np.concatenate([states.T, fixed, times[None, :]]))
        return np.asarray(np.isfinite(program.outputs(tape)).all(axis=1))


def _constants(system: OdeSystem) -> dict[str, float]:
    """Every constant as a double, NaN where the file gives no value."""
    known = system.constant_values
    numbers = dict(zip(known, values_of(system.graph, list(known.values())), strict=True))
    return {c.id: float(numbers.get(c.id, np.nan)) for c in system.constants}


def _parts(system: OdeSystem) -> dict[Part, Node]:
    parts: dict[Part, Node] = {("rate", name): node for name, node in zip(system.states, system.rhs, strict=True)}
    parts |= {("value", one.id): one.value for one in system.assigned}
    parts |= {("value", one.id): one.flux for one in system.reactions}
    return parts


# -- another form ------------------------------------------------------------------------------------


def with_defined_parts(
    system: OdeSystem, times: Array, states: Array, droppable: Collection[str]
) -> tuple[OdeSystem, tuple[str, ...]]:
    """The system with formulas in lowest terms where they have no finite value as they are, and what was left out.

    Lowest terms take away what may be cancelled: k₂·B·(k₁·A/(k₂·B)) is k₁·A, also where B is 0. An assigned quantity
    that has no finite value in lowest terms either is left out if that is allowed: it has none at that point.

    Parameters
    ----------
    times, states
        See :func:`undefined_parts`.
    droppable : collection of str
        Assigned quantities that nothing else needs.
    """
    bad = undefined_parts(system, times, states)
    if not bad:
        return system, ()
    mapping = {node: _lowest(system.graph, node) for node in bad.values() if node is not None}
    system = replace(
        system,
        rhs=tuple(mapping.get(node, node) if ("rate", name) in bad else node for name, node in _rates(system)),
        assigned=tuple(
            replace(one, value=mapping[one.value]) if ("value", one.id) in bad else one for one in system.assigned
        ),
        reactions=tuple(
            replace(one, flux=mapping[one.flux]) if ("value", one.id) in bad else one for one in system.reactions
        ),
    )
    left = {name for what, name in undefined_parts(system, times, states) if what == "value"} & set(droppable)
    gone = tuple(one.id for one in system.assigned if one.id in left)
    return (_left_out(system, frozenset(gone)), gone) if gone else (system, ())


def _rates(system: OdeSystem) -> list[tuple[str, Node]]:
    return list(zip(system.states, system.rhs, strict=True))


def _lowest(graph: Graph, node: Node) -> Node:
    fractions = Fractions(graph, [node])
    quotient = fractions.of(node) if fractions.fits else None
    return node if quotient is None else fractions.node(quotient)


def _left_out(system: OdeSystem, gone: frozenset[str]) -> OdeSystem:
    """Without assigned quantities; the reactions go on without them."""

    def moved(reaction: Reaction) -> Reaction:
        return replace(
            reaction,
            reactants=tuple(one for one in reaction.reactants if one.species not in gone),
            products=tuple(one for one in reaction.products if one.species not in gone),
            modifiers=tuple(name for name in reaction.modifiers if name not in gone),
        )

    return replace(
        system,
        assigned=tuple(one for one in system.assigned if one.id not in gone),
        reactions=tuple(moved(one) for one in system.reactions),
        quantities={name: one for name, one in system.quantities.items() if name not in gone},
    )


# -- the guard ---------------------------------------------------------------------------------------


def refuse_undefined(reduction: ReducedSystem) -> None:
    """Refuse a reduction that has no finite value at its own initial values where the original has one.

    So is an approximation that could not be followed from there to the end time.

    Raises
    ------
    UnsupportedModelError
        With code ``undefined-at-start`` and the formula; ``not-followed``.
    """
    bad = undefined_parts(reduction.system)
    if bad:
        before = set(undefined_parts(with_observables(reduction.original, reduction.observables)))
        lost = {part: node for part, node in bad.items() if not _was_undefined(reduction, part, before)}
        if lost:
            raise UnsupportedModelError([_reason(reduction, part, node) for part, node in lost.items()])
    certificate = reduction.certificate
    if isinstance(certificate, ErrorEstimate) and certificate.details.get("nominal_error", 0.0) is None:
        message = (
            f"the model that the method {reduction.method} leaves cannot be followed from its own initial values to "
            f"time {certificate.horizon:g}, although the original can; choose other options or another method"
        )
        raise UnsupportedModelError(Reason("not-followed", message))


def _was_undefined(reduction: ReducedSystem, part: Part, before: Collection[Part]) -> bool:
    """Whether the original has no finite value there either, or, for new ids, in what they may be made of."""
    what, name = part
    original = reduction.original
    if name in original.state_index or name in original.definitions:
        return part in before or ("initial value", name) in before
    members = next((lump.members for lump in reduction.lumps if lump.id == name), None)
    if members is not None:
        return any((what, member) in before for member in members)
    if any(one.id == name for one in reduction.observables):
        return part in before
    return any(kind == what for kind, _ in before)


def _reason(reduction: ReducedSystem, part: Part, node: Node | None) -> Reason:
    what, name = part
    text = "" if node is None else _short(to_text(reduction.system.graph, node))
    meant = {"initial value": "initial value", "rate": f"rate ({text})", "value": f"value ({text})"}[what]
    message = (
        f"by the method {reduction.method} {name} would have no finite {meant} at the initial values of the file, "
        "although it has one in the original; choose other options, such as other fast quantities, or another method"
    )
    return Reason(_CODE, message, name)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 2]} …"
