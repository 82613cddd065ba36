"""From the entries of an ``.ode`` file to a system: what each name is, rates, and everything that does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sbmlump.errors import Reason
from sbmlump.expr.graph import Node
from sbmlump.formats.erode_names import Names, check_uses, sort_names, unknown_name
from sbmlump.formats.erode_record import NamedExpression, OdeReaction, RawOde
from sbmlump.system import Assigned, Constant, OdeSystem, Origin, Participant, Quantity, Reaction

__all__ = ["build_system", "partition_blocks"]

_MOST_LINES: Final = 10
_SID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def build_system(raw: RawOde, file: str, sha256: str | None) -> OdeSystem:
    """The system of a parsed file.

    Raises
    ------
    InputError
        Codes ``ode-unknown-name``, ``ode-duplicate-name``, ``ode-circular``.
    """
    names = sort_names(raw)
    check_uses(raw, names)
    inlined = _inline(raw, names)
    graph = raw.graph
    zero = graph.number(0)
    start = {entry.name: entry for entry in raw.init}
    states = tuple(names.states)
    assigned = tuple(Assigned(entry.name, inlined[graph.symbol(entry.name)]) for entry in names.assigned)
    compartment = _free("cell", names.taken) if raw.reactions else None
    if compartment is not None:
        names.taken.add(compartment)
    reactions, rates = _reactions(raw, names, inlined)
    rates.update(zip((e.name for e in raw.equations), _substituted(raw, raw.equations, inlined), strict=True))
    constants = [
        Constant(entry.name, entry.value, entry.value is not None and graph.number_of(entry.value) is None)
        for entry in raw.parameters
    ]
    constants += [Constant(entry.name, zero if entry.value is None else entry.value) for entry in names.resting]
    constants += [Constant(name, None) for name in names.undefined]
    if compartment is not None:
        constants.append(Constant(compartment, graph.number(1)))
    initial = [start[s].value if s in start else None for s in states]
    return OdeSystem(
        graph,
        states,
        tuple(zero if node is None else node for node in initial),
        tuple(rates[s] for s in states),
        tuple(constants),
        assigned,
        reactions,
        id=_model_id(raw.title),
        name=raw.title or None,
        quantities=_quantities(raw, names, compartment),
        origin=Origin("erode", file, sha256, remarks=tuple(_doubts(raw))),
    )


_READINGS: Final = {
    "signed": "a power after a sign is read as in mathematics (-x^2 is -(x^2)); ERODE's own grammar reads (-x)^2",
    "nested": "a power of a power is read from the right (2^3^2 is 2^9); ERODE's own grammar reads (2^3)^2",
}


def _doubts(raw: RawOde) -> Iterator[Reason]:
    """What was assumed where ERODE's grammar, in which a power takes a signed base and binds to the left, differs."""
    for kind, places in raw.doubtful.items():
        lines = sorted({raw.tokens.line(place) for place in places})
        shown = ", ".join(map(str, lines[:_MOST_LINES])) + (" …" if len(lines) > _MOST_LINES else "")
        word = "line" if len(lines) == 1 else "lines"
        message = f"{raw.tokens.file}, {word} {shown}: {_READINGS[kind]}; write parentheses to be sure"
        yield Reason("ode-power", message, line=lines[0])


def partition_blocks(raw: RawOde, system: OdeSystem) -> tuple[frozenset[str], ...]:
    """Blocks of states as the file gives them, the rest in a further block.

    Species that nothing changes may stand in a block; they are left out.

    Raises
    ------
    InputError
        If a name is unknown or stands in two blocks.
    """
    known = set(system.states)
    constant = {c.id for c in system.constants}
    seen: set[str] = set()
    blocks: list[frozenset[str]] = []
    for block in raw.partition:
        for name, index in block:
            if name not in known and name not in constant:
                unknown_name(raw, name, index, known)
            if name in seen:
                raw.tokens.fail(index, f"'{name}' stands twice in the partition", "ode-duplicate-name", name)
            seen.add(name)
        members = frozenset(name for name, _ in block) & known
        if members:
            blocks.append(members)
    rest = known - seen
    return (*blocks, frozenset(rest)) if rest else tuple(blocks)


# -- mathematics -------------------------------------------------------------------------------------


def _inline(raw: RawOde, names: Names) -> dict[Node, Node]:
    """Algebraic variables and views over states and constants; also checks that no values go round in a circle."""
    graph = raw.graph
    assigned = {entry.name: entry for entry in names.assigned}
    for entry, needs in _in_order(raw, {e.name: e for e in (*raw.parameters, *raw.init)}):
        stray = sorted(needs & set(assigned))
        if stray:
            message = f"the value of '{entry.name}' uses '{stray[0]}', which is no parameter or species"
            raw.tokens.fail(entry.index, message, "ode-unknown-name", stray[0])
    plain = {name: entry.value for name, entry in assigned.items() if entry.value is not None}
    done = {graph.symbol(name): value for name, value in plain.items() if graph.number_of(value) is not None}
    for entry, _ in _in_order(raw, assigned):
        assert entry.value is not None
        done[graph.symbol(entry.name)] = graph.substitute([entry.value], done)[0]
    return done


def _in_order(raw: RawOde, table: Mapping[str, NamedExpression]) -> list[tuple[NamedExpression, set[str]]]:
    """Entries whose values are no numbers, each after those it uses, with the names it uses."""
    graph = raw.graph
    uses = {
        name: graph.symbols([entry.value])
        for name, entry in table.items()
        if entry.value is not None and graph.number_of(entry.value) is None
    }
    waiting = {name: needs & set(uses) for name, needs in uses.items()}
    users: dict[str, list[str]] = {}
    for name, needs in waiting.items():
        for need in needs:
            users.setdefault(need, []).append(name)
    ready = [name for name, needs in waiting.items() if not needs]
    order: list[tuple[NamedExpression, set[str]]] = []
    while ready:
        name = ready.pop()
        order.append((table[name], uses[name]))
        for user in users.get(name, ()):
            waiting[user].discard(name)
            if not waiting[user]:
                ready.append(user)
    if len(order) < len(uses):
        stuck = {name for name, needs in waiting.items() if needs}
        first = next(name for name in uses if name in stuck)
        raw.tokens.fail(table[first].index, f"the value of '{first}' depends on itself", "ode-circular", first)
    return order


def _substituted(raw: RawOde, entries: Iterable[NamedExpression], inlined: Mapping[Node, Node]) -> list[Node]:
    nodes = [entry.value for entry in entries if entry.value is not None]
    return raw.graph.substitute(nodes, inlined) if inlined else nodes


def _reactions(raw: RawOde, names: Names, inlined: Mapping[Node, Node]) -> tuple[tuple[Reaction, ...], dict[str, Node]]:
    """Reactions as records, and the rate of every species: Σ (net change)·flux."""
    graph = raw.graph
    fluxes = [reaction.flux for reaction in raw.reactions]
    if inlined:
        fluxes = graph.substitute(fluxes, inlined)
    change: dict[str, dict[Node, int]] = {name: {} for name in raw.participants}
    made: list[Reaction] = []
    parts: dict[tuple[str, int], Participant] = {}
    labels = _labels(raw.reactions, names.taken)
    states = set(names.states)
    for reaction, flux, (id, name) in zip(raw.reactions, fluxes, labels, strict=True):
        left, right = reaction.reactants, reaction.products
        for species, count in left.items():
            terms = change[species]
            terms[flux] = terms.get(flux, 0) - count
        for species, count in right.items():
            terms = change[species]
            terms[flux] = terms.get(flux, 0) + count
        for item in (*left.items(), *right.items()):
            if item not in parts:
                parts[item] = Participant(item[0], graph.number(item[1]))
        modifiers: tuple[str, ...] = ()
        if reaction.rate is None or reaction.rate in states:
            modifiers = tuple(sorted((graph.symbols([flux]) & states) - left.keys() - right.keys()))
        made.append(
            Reaction(
                id,
                flux,
                tuple([parts[item] for item in left.items()]),
                tuple([parts[item] for item in right.items()]),
                modifiers,
                False,
                name,
            )
        )
    return tuple(made), _rates(raw, change)


def _rates(raw: RawOde, change: Mapping[str, Mapping[Node, int]]) -> dict[str, Node]:
    """Σ count·flux for each species; a flux times a count is made once."""
    graph = raw.graph
    scaled: dict[tuple[int, Node], Node] = {}
    rates: dict[str, Node] = {}
    for species, terms in change.items():
        total: list[Node] = []
        for flux, count in terms.items():
            if count == 1:
                total.append(flux)
            elif count:
                node = scaled.get((count, flux))
                if node is None:
                    node = scaled[count, flux] = graph.scaled(count, flux)
                total.append(node)
        rates[species] = graph.add(total)
    return rates


def _labels(reactions: Iterable[OdeReaction], taken: set[str]) -> list[tuple[str, str | None]]:
    """An id for each reaction (its label where that is a new valid id, else r1, r2, …), and the label as its name."""
    used = set(taken)
    found: list[tuple[str, str | None]] = []
    for number, reaction in enumerate(reactions, 1):
        label = reaction.label or None
        id = label if label is not None and _SID.match(label) and label not in used else _free(f"r{number}", used)
        used.add(id)
        found.append((id, label))
    return found


# -- the rest ----------------------------------------------------------------------------------------


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _model_id(title: str) -> str:
    """A valid id from the title of the model."""
    id = re.sub(r"[^A-Za-z0-9_]+", "_", title).strip("_") or "model"
    return f"model_{id}" if id[0].isdigit() else id


def _quantities(raw: RawOde, names: Names, compartment: str | None) -> dict[str, Quantity]:
    """Species that react are amounts in one compartment; remarks of the file become names."""
    notes = {entry.name: entry.note for entry in raw.init}
    table: dict[str, Quantity] = {}
    for state in names.states:
        if state in raw.participants:
            table[state] = Quantity(
                state, "species", notes.get(state), compartment=compartment, amount=True, given_as_amount=True
            )
        else:
            table[state] = Quantity(state, "parameter", notes.get(state))
    for entry in (*raw.parameters, *names.resting):
        table[entry.name] = Quantity(entry.name, "parameter", notes.get(entry.name), written_constant=True)
    if compartment is not None:
        table[compartment] = Quantity(compartment, "compartment", written_constant=True, spatial_dimensions=3.0)
    return table
