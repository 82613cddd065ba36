"""What the user wants to keep: from text to expressions of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sbmlump.errors import Reason, UsageError, near_matches
from sbmlump.model.names import numbered_ids
from sbmlump.model.reduced import Observable
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import ExpressionError, parse_expression

__all__ = ["observable_ids", "parse_observables"]


_SID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def observable_ids(system: OdeSystem) -> tuple[str, ...]:
    """Ids that can be observed: states, assigned quantities, reactions (their flux)."""
    return (*system.states, *(a.id for a in system.assigned), *(r.id for r in system.reactions))


def parse_observables(system: OdeSystem, texts: Sequence[str]) -> tuple[Observable, ...]:
    """Read ``EXPR`` or ``name = EXPR``, each over ids of the model.

    Raises
    ------
    UsageError
        With every text that is wrong: codes ``unknown-observable`` (near matches named), ``bad-observable``,
        ``name-taken``, ``no-observable``.
    """
    if not texts:
        raise UsageError(Reason("no-observable", "nothing is observed: name a quantity to keep with --observe"))
    reasons: list[Reason] = []
    found: list[Observable] = []
    names: set[str] = set()
    split = [_split(text) for text in texts]
    wanted = {name for name, _ in split if name}
    for text, (name, body) in zip(texts, split, strict=True):
        try:
            expression = parse_expression(system.graph, body, system.definitions, doubles=True)
        except ExpressionError as error:
            reasons.append(_explain(system, text, error))
            continue
        if name:
            problem = _name_problem(system, name, names)
            if problem is not None:
                reasons.append(problem)
                continue
        elif body in system.definitions:
            name = body
            if name in names:
                continue  # the same quantity twice is no mistake
        else:
            name = _unnamed(system, names | wanted)
        names.add(name)
        found.append(Observable(name, expression, body))
    if reasons:
        raise UsageError(reasons)
    return tuple(found)


def _explain(system: OdeSystem, text: str, error: ExpressionError) -> Reason:
    if error.name is None:
        return Reason(
            "bad-observable", f"cannot read the observable {text!r}: {error} (character {error.position + 1})"
        )
    wanted = error.name
    known = observable_ids(system)
    near = near_matches(wanted, known, 4) or near_matches(wanted, known, likeness=0.3)
    lowered = {name.lower(): name for name in known}
    near += [lowered[wanted.lower()]] if wanted.lower() in lowered and lowered[wanted.lower()] not in near else []
    near += [q.id for q in system.quantities.values() if q.name and q.name.lower() == wanted.lower() and q.id in known]
    hint = "'sbmlump inspect' lists what can be observed"
    if near:
        hint = f"near matches: {', '.join(dict.fromkeys(near))}; {hint}"
    return Reason("unknown-observable", f"there is no {wanted!r} in model {system.id}; {hint}", wanted)


def _name_problem(system: OdeSystem, name: str, names: set[str]) -> Reason | None:
    if not _SID.match(name):
        return Reason("bad-observable", f"{name!r} cannot be the name of an observable: letters, digits, _ only", name)
    if name in system.taken_ids or name in names:
        return Reason("name-taken", f"the name {name!r} is taken already; choose another for the observable", name)
    return None


def _split(text: str) -> tuple[str, str]:
    name, _, body = text.rpartition("=")
    return name.strip(), body.strip()


def _unnamed(system: OdeSystem, names: set[str]) -> str:
    return next(numbered_ids("observable", names | system.taken_ids))
