"""Hold a system of ODEbase against our own translation of the same SBML file.

Both are evaluated at the same random states. States are matched by the name map where it names ids or names of the
SBML file, else by the order of the species, which ODEbase keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sbmlump.formats.odebase import OdebaseSystem
from sbmlump.system import OdeSystem

__all__ = ["TranslationComparison", "Verdict", "compare_systems"]

Verdict = Literal["agrees", "agrees-with-other-values", "differs", "not-compared"]


@dataclass(frozen=True, slots=True)
class TranslationComparison:
    """How two translations of one model relate.

    Attributes
    ----------
    id : str
    verdict : str
        ``agrees``; ``agrees-with-other-values``: the equations agree when parameter values of ODEbase that differ
        from the file's are put in their place; ``differs``; ``not-compared``.
    explanation : str
        One sentence.
    matched_by : str or None
        ``name map`` or ``order``.
    states : int or None
        Number compared.
    error : float or None
        Largest relative difference of a rate.
    differences : tuple of str
        Ids (ODEbase, ours) of the states whose rates differ.
    """

    id: str
    verdict: Verdict
    explanation: str
    matched_by: str | None = None
    states: int | None = None
    error: float | None = None
    differences: tuple[tuple[str, str], ...] = ()


def compare_systems(
    theirs: OdebaseSystem, ours: OdeSystem, *, points: int = 8, tolerance: float = 1e-9, seed: int = 0
) -> TranslationComparison:
    """Compare the rates at random states.

    Parameters
    ----------
    theirs : OdebaseSystem
    ours : OdeSystem
        From the SBML file of the same id.
    points : int
        Random states; values are drawn from [1/2, 3/2].
    tolerance : float
        Relative difference (of a rate, by the larger of both and 1e-12 of the largest) that still agrees.
    seed : int
    """
    id = theirs.system.id
    matches = [m for m in (_by_names(theirs, ours), _by_order(theirs, ours)) if m is not None]
    if not matches:
        counts = f"ODEbase has {theirs.system.size} states and the SBML file {ours.size}"
        return TranslationComparison(
            id, "differs", f"the states cannot be matched: {counts}, and the name map does not help"
        )
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 1.5, (points, theirs.system.size))
    best: TranslationComparison | None = None
    for matched_by, names in matches:
        found = _compare_matched(theirs, ours, (matched_by, names), x, tolerance)
        if found.verdict == "agrees":
            return found
        best = best or found
    assert best is not None
    other = _with_their_values(theirs, ours)
    if other is not None:
        changed, renamed = other
        for match in matches:
            found = _compare_matched(theirs, renamed, match, x, tolerance)
            if found.verdict == "agrees":
                told = f"the equations agree; values differ from those of the file: {changed}"
                return replace(found, verdict="agrees-with-other-values", explanation=told)
    return best


_Match = tuple[str, Mapping[str, str]]


def _by_names(theirs: OdebaseSystem, ours: OdeSystem) -> _Match | None:
    """Match by the name map: every original name is an id or the one name of a state."""
    by_name: dict[str, list[str]] = {}
    for state in ours.states:
        quantity = ours.quantities.get(state)
        by_name.setdefault((quantity.name if quantity else None) or state, []).append(state)
    names: dict[str, str] = {}
    for state in theirs.system.states:
        original = theirs.species.get(state, "")
        alike = by_name.get(original, [])
        if original in ours.state_index:
            names[state] = original
        elif len(alike) == 1:
            names[state] = alike[0]
    complete = len(names) == theirs.system.size == ours.size and len(set(names.values())) == len(names)
    return ("name map", names) if complete else None


def _by_order(theirs: OdebaseSystem, ours: OdeSystem) -> _Match | None:
    if theirs.system.size != ours.size:
        return None
    return "order", dict(zip(theirs.system.states, ours.states, strict=True))


def _compare_matched(
    theirs: OdebaseSystem, ours: OdeSystem, match: _Match, x: NDArray[np.float64], tolerance: float
) -> TranslationComparison:
    matched_by, names = match
    filled = _with_missing_values(theirs, ours)
    if isinstance(filled, str):
        return TranslationComparison(
            theirs.system.id, "not-compared", f"ODEbase gives no value of {filled}, nor does the file"
        )
    columns = [ours.state_index[names[state]] for state in filled.states]
    arranged = np.empty_like(x)
    arranged[:, columns] = x
    a, b = filled.rates(0.0, x), ours.rates(0.0, arranged)[:, columns]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        finite = np.isfinite(a) & np.isfinite(b)
        bad = [state for state, column in zip(filled.states, finite.T, strict=True) if not column.all()]
        text = f"the rates of {_some(bad)} have no finite value at random states"
        return TranslationComparison(theirs.system.id, "not-compared", text, matched_by, filled.size)
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-12 * np.abs(b).max(axis=1, keepdims=True))
    error = np.divide(np.abs(a - b), scale, out=np.zeros_like(a), where=scale > 0).max(axis=0)
    wrong = [state for state, e in zip(filled.states, error, strict=True) if not e <= tolerance]
    largest = float(error.max())
    if not wrong:
        return TranslationComparison(theirs.system.id, "agrees", "agrees", matched_by, filled.size, largest)
    pairs = tuple((state, names[state]) for state in wrong)
    text = f"the rates of {_some(f'{p} ({q})' for p, q in pairs)} differ, by up to {largest:.2g} of their size"
    return TranslationComparison(theirs.system.id, "differs", text, matched_by, filled.size, largest, pairs)


def _with_missing_values(theirs: OdebaseSystem, ours: OdeSystem) -> OdeSystem | str:
    """Constants without a value (constant species) take that of the quantity the maps name; else their name."""
    missing = [c.id for c in theirs.system.constants if c.value is None]
    values: dict[str, Fraction] = {}
    for name in missing:
        original = theirs.species.get(name) or theirs.parameters.get(name) or name
        node = ours.constant_values.get(original)
        value = ours.graph.number_of(node) if node is not None else None
        if value is None:
            return name
        values[name] = value
    return theirs.system.with_values(values) if values else theirs.system


def _with_their_values(theirs: OdebaseSystem, ours: OdeSystem) -> tuple[str, OdeSystem] | None:
    """Our system with the parameter values of ODEbase, and what changed; ``None`` if nothing does."""
    graph = theirs.system.graph
    changed: dict[str, Fraction] = {}
    for name, node in theirs.system.constant_values.items():
        original, value = theirs.parameters.get(name, ""), graph.number_of(node)
        own = ours.constant_values.get(original)
        if value is not None and own is not None and ours.graph.number_of(own) != value:
            changed[original] = value
    if not changed:
        return None
    return _some(f"{name} = {float(value):g}" for name, value in changed.items()), ours.with_values(changed)


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
