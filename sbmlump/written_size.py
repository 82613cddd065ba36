"""Systems whose expressions cannot be written out in full."""

from __future__ import annotations

from sbmlump.expr.size import require_writable
from sbmlump.system import OdeSystem

__all__ = ["require_writable_system"]


def require_writable_system(system: OdeSystem, what: str) -> None:
    """Refuse a system with an expression that is out of proportion when it is written out as a tree.

    Parameters
    ----------
    system : OdeSystem
    what : str
        Where it is to be written, or who writes it out: ``an .ode file``.

    Raises
    ------
    LimitError
        Code ``too-large``, with the id of the largest.
    """
    named = [*zip(system.states, system.rhs, strict=True), *((one.id, one.value) for one in system.assigned)]
    named += [*zip(system.states, system.initial, strict=True), *system.constant_values.items()]
    named += [(name, node) for name, node in zip(system.states, system.initial_values, strict=True) if node is not None]
    named += [(one.id, one.value) for one in system.constants if one.value is not None]
    named += [(one.id, one.flux) for one in system.reactions]
    require_writable(system.graph, [node for _, node in named], [name for name, _ in named], what)
