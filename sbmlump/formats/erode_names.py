"""What each name of an ``.ode`` file is: state, constant, assigned quantity; and every name that is none of them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from sbmlump.formats.erode_expression import KNOWN_FUNCTIONS
from sbmlump.formats.erode_record import NamedExpression, RawOde

__all__ = ["Names", "check_uses", "sort_names", "unknown_name"]

_DECLARING: Final = frozenset({"parameters", "init", "inits"})


@dataclass(slots=True)
class Names:
    """What each name of the file is.

    ``resting``: declared under init, but nothing changes it. ``undefined``: stands in rates of a file that declares
    nothing. ``idle``: stands in a view of itself in such a file, and nowhere else.
    """

    states: list[str]
    resting: list[NamedExpression]
    assigned: list[NamedExpression]
    undefined: list[str]
    idle: set[str]
    taken: set[str]


def sort_names(raw: RawOde) -> Names:
    """Sort the names of a file into roles.

    Raises
    ------
    InputError
        Code ``ode-duplicate-name`` for a name with two roles.
    """
    graph = raw.graph
    changed = dict.fromkeys([*raw.participants, *(entry.name for entry in raw.equations)])
    algebraic = {entry.name for entry in raw.algebraic}
    _check_roles(raw, changed, algebraic)
    declared = [entry.name for entry in raw.init if entry.name in changed]
    states = list(dict.fromkeys([*declared, *changed]))
    resting = [entry for entry in raw.init if entry.name not in changed and entry.name not in algebraic]
    taken = {*states, *(e.name for e in (*raw.parameters, *resting))}
    idle: set[str] = set()
    assigned: list[NamedExpression] = []
    for entry in (*raw.algebraic, *raw.views):
        if entry.value == graph.symbol(entry.name):
            # a view of a species under its own name adds nothing, nor does one of a species nothing else mentions
            idle.add(entry.name)
            continue
        if entry.name in taken:
            message = f"'{entry.name}' is defined already; give this one another name"
            raw.tokens.fail(entry.index, message, "ode-duplicate-name", entry.name)
        taken.add(entry.name)
        assigned.append(entry)
    return Names(states, resting, assigned, [], idle, taken)


def _check_roles(raw: RawOde, changed: Collection[str], algebraic: Collection[str]) -> None:
    _unique(raw, raw.equations, "has two equations")
    _unique(raw, [*raw.parameters, *raw.init], "is declared twice")
    for entry in raw.equations:
        if entry.name in raw.participants:
            message = f"'{entry.name}' takes part in reactions and has an equation; one of them has to go"
            raw.tokens.fail(entry.index, message, "ode-duplicate-name", entry.name)
    for entry in (*raw.parameters, *raw.algebraic):
        if entry.name in changed:
            what = "an algebraic variable" if entry.name in algebraic else "a parameter"
            message = f"'{entry.name}' is {what}, and a reaction or an equation changes it"
            raw.tokens.fail(entry.index, message, "ode-duplicate-name", entry.name)


def _unique(raw: RawOde, entries: Iterable[NamedExpression], complaint: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raw.tokens.fail(entry.index, f"'{entry.name}' {complaint}", "ode-duplicate-name", entry.name)
        seen.add(entry.name)


def check_uses(raw: RawOde, names: Names) -> None:
    """Every name in an expression is declared; in a file that declares nothing, an unknown rate is a constant."""
    rates = _names_in_rates(raw)
    declares = bool(_DECLARING & raw.blocks)
    for name, index in raw.first_use.items():
        if name in names.taken or (name not in rates and not declares and name in names.idle):
            continue
        if declares or name in KNOWN_FUNCTIONS or name not in rates:
            unknown_name(raw, name, index, names.taken)
        names.undefined.append(name)
    names.taken.update(names.undefined)


def _names_in_rates(raw: RawOde) -> set[str]:
    return raw.graph.symbols(
        [*(r.flux for r in raw.reactions), *(e.value for e in raw.equations if e.value is not None)]
    )


def unknown_name(raw: RawOde, name: str, index: int, known: Iterable[str]) -> NoReturn:
    """Refuse a name that nothing declares, with names like it."""
    near = difflib.get_close_matches(name, list(known)[:20_000], n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else "; declare it under parameters or init"
    raw.tokens.fail(index, f"'{name}' is not declared{hint}", "ode-unknown-name", name)
