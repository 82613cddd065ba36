"""What each id of a model is: state, assigned quantity or constant. Structure only, no numbers."""

from __future__ import annotations

from dataclasses import dataclass

from sbmlump.sbml.mathml import Program
from sbmlump.sbml.read_record import Problems, RawModel, RawQuantity, RawRule

__all__ = ["VariableRoles", "classify"]

_ORDER = {"species": 0, "compartment": 1, "parameter": 2, "local-parameter": 3, "species-reference": 4}


@dataclass(frozen=True, slots=True)
class VariableRoles:
    """Attributes
    ----------
    states : tuple of str
        Species, then compartments, parameters, species references, each in the order of the file.
    changed : frozenset of str
        Species whose value reactions change.
    assigned : frozenset of str
        Targets of assignment rules.
    free : tuple of str
        Ids that may change (not constant) but that nothing determines: unknowns of algebraic rules.
    used_references : frozenset of str
        Species references that mathematics, rules, initial assignments or events name.
    """

    states: tuple[str, ...]
    changed: frozenset[str]
    assigned: frozenset[str]
    free: tuple[str, ...]
    used_references: frozenset[str]


def classify(raw: RawModel, problems: Problems) -> VariableRoles:
    """Sort the ids of ``raw`` into roles; a target that does not exist is a problem."""
    entries = raw.entries
    mentioned = _mentioned(raw)
    _define_old_references(raw, mentioned)
    tables = {"assignment rule": raw.assignments, "rate rule": raw.rates, "initial assignment": raw.initial}
    for what, table in tables.items():
        for target in [name for name in table if not _is_target(entries, name)]:
            text = f"the {what} sets {target!r}, which is no compartment, species, parameter or species reference"
            problems.add("unknown-id", text, target, table[target].line)
            del table[target]
    for name in [name for name in raw.initial if name in raw.assignments]:
        text = f"{name!r} has an assignment rule and an initial assignment; remove one"
        problems.add("duplicate-rule", text, name, raw.initial[name].line)
    _check_factors(raw, problems)
    events = _event_targets(raw, problems)
    for name in sorted({*raw.assignments, *raw.rates, *events}):
        if entries[name].quantity.written_constant:
            text = f"{name!r} is declared constant, but a rule or an event changes it; decide which holds"
            problems.add("constant-changes", text, name, entries[name].line)
    changed = _changed_by_reactions(raw, problems)
    states = (changed | set(raw.rates) | events) - set(raw.assignments)
    position = {name: i for i, name in enumerate(entries)}
    ordered = sorted(states, key=lambda name: (_ORDER[entries[name].quantity.kind], position[name]))
    determined = states | set(raw.assignments)
    free = tuple(
        name
        for name, entry in entries.items()
        if name not in determined and not entry.quantity.written_constant and entry.quantity.kind != "local-parameter"
    )
    references = {name for name, entry in entries.items() if entry.quantity.kind == "species-reference"}
    named = references & (mentioned | determined | set(raw.initial)) if references else set()
    return VariableRoles(tuple(ordered), frozenset(changed), frozenset(raw.assignments), free, frozenset(named))


def _define_old_references(raw: RawModel, mentioned: set[str]) -> None:
    """Make a rule of each Level 2 ``stoichiometryMath`` whose reference is named in mathematics.

    In Level 3 it would be one, and the id means the same wherever it stands.
    """
    for reaction in raw.reactions:
        for part in (*reaction.reactants, *reaction.products):
            if part.program is not None and part.id is not None and part.id in mentioned:
                raw.assignments.setdefault(part.id, RawRule(part.id, part.program, part.line))


def _is_target(entries: dict[str, RawQuantity], name: str) -> bool:
    return name in entries and entries[name].quantity.kind != "local-parameter"


def _check_factors(raw: RawModel, problems: Problems) -> None:
    factors = {None: raw.conversion_factor} | {e.id: e.quantity.conversion_factor for e in raw.entries.values()}
    for owner, factor in factors.items():
        if factor is not None and not _is_target(raw.entries, factor):
            text = f"the conversion factor {factor!r} of {owner or 'the model'} does not exist"
            problems.add("unknown-id", text, factor, raw.entries[owner].line if owner else None)


def _event_targets(raw: RawModel, problems: Problems) -> set[str]:
    targets: set[str] = set()
    for event in raw.events:
        seen: set[str] = set()
        for rule in event.assignments:
            if not _is_target(raw.entries, rule.target):
                text = f"{event.label} sets {rule.target!r}, which does not exist or has no value of its own"
                problems.add("unknown-id", text, rule.target, rule.line)
            elif rule.target in raw.assignments:
                text = f"{event.label} sets {rule.target!r}, which an assignment rule determines at all times"
                problems.add("event-sets-assigned", text, rule.target, rule.line)
            elif rule.target in seen:
                text = f"{event.label} sets {rule.target!r} twice; remove one"
                problems.add("duplicate-rule", text, rule.target, rule.line)
            else:
                targets.add(rule.target)
            seen.add(rule.target)
    return targets


def _changed_by_reactions(raw: RawModel, problems: Problems) -> set[str]:
    changed: set[str] = set()
    for reaction in raw.reactions:
        for part in (*reaction.reactants, *reaction.products):
            entry = raw.entries.get(part.species)
            if entry is None or entry.quantity.kind != "species":
                text = f"reaction {reaction.id!r} names the species {part.species!r}, which does not exist"
                problems.add("unknown-id", text, part.species, part.line)
                continue
            if entry.quantity.boundary:
                continue
            if entry.quantity.written_constant:
                text = f"species {part.species!r} is declared constant, but reactions change it; decide which holds"
                problems.add("constant-changes", text, part.species, entry.line)
            elif part.species in raw.rates or part.species in raw.assignments:
                text = f"species {part.species!r} has a rule, and reactions change it; make it a boundary species"
                problems.add("rule-and-reaction", text, part.species, entry.line)
            else:
                changed.add(part.species)
        for name in reaction.modifiers:
            if name not in raw.entries:
                text = f"reaction {reaction.id!r} names the modifier {name!r}, which does not exist"
                problems.add("unknown-id", text, name, reaction.line)
    return changed


def _mentioned(raw: RawModel) -> set[str]:
    """Ids that stand anywhere in mathematics outside function definitions.

    A local parameter is none of them: it hides what has the same id elsewhere.
    """
    found: set[str] = set()
    programs = [rule.program for rule in (*raw.assignments.values(), *raw.rates.values(), *raw.initial.values())]
    programs += [rule.program for rule in raw.algebraic]
    programs += [constraint.program for constraint in raw.constraints]
    for reaction in raw.reactions:
        if reaction.law is not None:
            found |= _names_in(reaction.law.program) - reaction.law.names.keys()
        programs += [p.program for p in (*reaction.reactants, *reaction.products) if p.program is not None]
    for event in raw.events:
        programs += [p for p in (event.trigger, event.delay, event.priority) if p is not None]
        programs += [rule.program for rule in event.assignments]
    return found.union(*(_names_in(program) for program in programs))


def _names_in(program: Program) -> set[str]:
    return {step.payload for step in program if step.kind in ("name", "rate-of")}
