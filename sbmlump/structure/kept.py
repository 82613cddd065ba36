"""Which properties of the original a reduced model kept, and which it lost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from sbmlump.errors import SbmlumpError
from sbmlump.linalg.rational import add_multiple, add_to, solve_rows
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import Node
from sbmlump.model.reduced import AffineLumping, Elimination, Embedding, ExactProof, ReducedSystem
from sbmlump.model.system import OdeSystem, targets
from sbmlump.structure.laws import law_measures, linear_integrals
from sbmlump.structure.network import balance_of, network_for_balance, non_negative_rates

__all__ = ["Kept", "element_counts", "formulas_of", "kept_properties"]

_PART: Final = re.compile(r"([A-Z][a-z]?)(\d*)")
_FORMULA: Final = re.compile(r"(?:chemicalFormula\s*=\s*[\"']|\bFORMULA:\s*)([A-Za-z0-9]+)")


@dataclass(frozen=True, slots=True)
class Kept:
    """One property.

    Attributes
    ----------
    name : str
        Such as ``detailed balance``.
    original, reduced : object
        Its value before and after; ``None`` where it is not defined or not known.
    kept : bool or None
        ``None`` if that cannot be said.
    remark : str
    """

    name: str
    original: Any
    reduced: Any
    kept: bool | None
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {
            "name": self.name,
            "original": self.original,
            "reduced": self.reduced,
            "kept": self.kept,
            "remark": self.remark,
        }


def kept_properties(reduction: ReducedSystem, *, formulas: Mapping[str, str] | None = None) -> tuple[Kept, ...]:
    """Hold a reduced model against its original.

    Parameters
    ----------
    reduction : ReducedSystem
    formulas : mapping of state id to chemical formula, optional
        Those found in the file are used where none are given.

    Returns
    -------
    tuple of Kept
        Conservation laws, total of the states, each chemical element, non-negativity, balance, weak reversibility,
        deficiency.
    """
    original, system = reduction.original, reduction.system
    found = _laws(reduction)
    if not _all_there(reduction):  # what is eliminated is not pooled: it follows from what is retained
        found.append(_total(reduction))
        found += _elements(reduction, formulas if formulas is not None else formulas_of(original))
    found.append(_non_negativity(reduction))
    networks = network_for_balance(original), network_for_balance(system)
    balances = balance_of(networks[0]), balance_of(networks[1])
    realisation = f"of the {balances[1].realisation}; {balances[1].why}"
    reversible = [None if one is None else one.weakly_reversible for one in networks]
    table: list[tuple[str, bool | None, bool | None]] = [
        ("detailed balance", balances[0].detailed, balances[1].detailed),
        ("complex balance", balances[0].complex, balances[1].complex),
        ("weak reversibility", reversible[0], reversible[1]),
    ]
    for name, a, b in table:
        found.append(Kept(name, a, b, _kept(a, b), realisation))
    numbers = [None if one is None else one.deficiency for one in networks]
    same = None if None in numbers else numbers[0] == numbers[1]
    found.append(Kept("deficiency", numbers[0], numbers[1], same, f"of the {balances[1].realisation}"))
    return tuple(found)


def _non_negativity(reduction: ReducedSystem) -> Kept:
    """Shown or not shown: the test is sufficient only. States kept by an exact elimination move as they did."""
    before, after = non_negative_rates(reduction.original), non_negative_rates(reduction.system)
    was = all(before.values()) or None
    now = all(after.values()) or None
    doubtful = [name for name, fine in after.items() if not fine]
    remark = "not shown for " + ", ".join(doubtful[:5]) if doubtful else ""
    if not reduction.matrix.non_negative:
        return Kept("non-negativity", was, None, None, "lumps with negative weights may start below 0")
    if was and _all_there(reduction) and isinstance(reduction.certificate, ExactProof):
        return Kept("non-negativity", was, True, True, "the states that stay move as in the original")
    return Kept("non-negativity", was, now, now if was else None, remark)


def _kept(before: bool | None, after: bool | None) -> bool | None:
    """A property that was not there cannot be lost."""
    if before is None:
        return None
    if not before:
        return True
    return after


def _laws(reduction: ReducedSystem) -> list[Kept]:
    """How many independent conservation laws of the original hold in the reduced system."""
    original = reduction.original
    name = "conservation laws"
    try:
        laws = linear_integrals(original, symbolic=False)
        if not laws:
            return [Kept(name, 0, len(linear_integrals(reduction.system, symbolic=False)), True)]
    except SbmlumpError as error:
        return [Kept(name, None, None, None, error.reasons[0].message)]
    index = original.state_index
    measures = law_measures(original)
    names = sorted({name for law in laws for name in law.weights}, key=index.__getitem__)
    factors = original.graph.substitute([measures[index[name]].factor for name in names], original.specialised())
    sizes = {name: original.graph.number_of(node) for name, node in zip(names, factors, strict=True)}
    held = 0
    for law in laws:
        target = {index[name]: value * (sizes[name] or 1) for name, value in law.weights.items()}
        if any(
            sizes[name] is None for name in law.weights
        ):  # amounts in a compartment that changes are no sum of states
            exact = isinstance(reduction.certificate, ExactProof)
            held += exact and all(name in reduction.system.definitions for name in law.weights)
        else:
            held += _holds(reduction, target)
    remark = "those that are functions of the reduced state and constant there" if held < len(laws) else ""
    return [Kept(name, len(laws), held, held == len(laws), remark)]


def _holds(reduction: ReducedSystem, law: Mapping[int, Fraction]) -> bool:
    """Whether Σ law[j]·x_j is a function of the reduced state, and a constant one."""
    system, names = reduction.system, reduction.original.states
    graph = system.graph
    kind = reduction.map
    if isinstance(kind, Elimination):
        defined = system.definitions
        if isinstance(reduction.certificate, ExactProof):
            # what is eliminated follows from what is retained, as it was; lumps of an earlier step hold some sums only
            whole = all(names[j] in defined for j in law)
            return whole or solve_rows(_known_rows(reduction), law) is not None
        if any(names[j] not in defined for j in law):
            # pools stand for their members, which are defined too where they are eliminated
            return False
        return _is_constant(system, [graph.scaled(w, defined[names[j]]) for j, w in law.items()])
    if isinstance(kind, Embedding):
        return isinstance(reduction.certificate, ExactProof)  # every state is one of the reduced system
    rows = list(reduction.matrix.rows)
    totals = [row for _, row in kind.totals] if isinstance(kind, AffineLumping) else []
    weights = solve_rows([*rows, *totals], law)
    if weights is None:
        return False
    if isinstance(reduction.certificate, ExactProof):
        return True
    parts = [graph.scaled(weights[i], graph.symbol(name)) for i, name in enumerate(system.states) if weights[i]]
    return _is_constant(system, parts)


def _is_constant(system: OdeSystem, parts: Sequence[Node], points: int = 6, rounding: float = 1e-9) -> bool:
    """Whether a sum is constant along the flow: its rate is rounding beside those of its parts, at random states.

    An event that sets one of its states counts as motion.
    """
    graph = system.graph
    if any(targets(event) & graph.symbols(parts) for event in system.events):
        return False
    try:
        flows = system.along_flow(parts)
    except ValueError:
        return False  # not shown
    generator = np.random.default_rng(0x1A35)
    initial = np.abs(np.nan_to_num(system.initial_state()))
    largest = float(initial.max(initial=0.0)) or 1.0
    states = np.where(initial > 0, initial, largest) * generator.uniform(0.2, 2.0, (points, system.size))
    rates = Evaluator(graph, flows, system.states, system.constant_values).values(0.0, states)
    return bool((np.abs(rates.sum(axis=1)) <= rounding * np.abs(rates).sum(axis=1)).all())


def _all_there(reduction: ReducedSystem) -> bool:
    """Whether every state of the original is a quantity of the reduced system still, as eliminations leave them."""
    defined = reduction.system.definitions
    return isinstance(reduction.map, Elimination) and all(name in defined for name in reduction.original.states)


def _known_rows(reduction: ReducedSystem) -> list[Mapping[int, Fraction]]:
    """Combinations of original states that are states of the reduced system, or totals that are constants of it."""
    rows = list(reduction.matrix.rows)
    if not isinstance(reduction.map, Elimination):
        return rows
    system, starts = reduction.system, reduction.map.starts
    graph, index = system.graph, reduction.original.state_index
    table = {lump.id: lump.members for lump in reduction.lumps} | dict(starts)
    acting = graph.symbols([*system.rhs, *(one.value for one in system.assigned)])
    numbers = {graph.symbol(name): node for name, node in system.constant_values.items() if name not in table}
    for constant in system.constants:
        if constant.id in starts and constant.id in acting:
            rows.append({index[name]: v for name, v in starts[constant.id].items()})
        elif constant.id not in starts and constant.value is not None and graph.symbols([constant.value]) & set(table):
            total: dict[int, Fraction] = {}
            terms = graph.linear_terms(graph.substitute([constant.value], numbers)[0])
            parts = {term: table.get(graph.name(term)) if system.is_symbol(term) else None for term in terms}
            for term, factor in terms.items():
                for name, v in (parts[term] or {}).items():
                    add_to(total, index[name], factor * v)
            if None not in parts.values():
                rows.append(total)
    return rows


def _total(reduction: ReducedSystem) -> Kept:
    """1ᵀL = 1ᵀ: the sum of the lumps is the sum of the states (after an elimination: it follows from what is known)."""
    size = reduction.original.size
    if isinstance(reduction.map, Elimination):
        ones = dict.fromkeys(range(size), Fraction(1))
        whole = solve_rows(_known_rows(reduction), ones) is not None
        return Kept("total of the states", True, whole, whole, "" if whole else "it does not follow from the lumps")
    sums: dict[int, Fraction] = {}
    for row in reduction.matrix.rows:
        add_multiple(sums, row, 1)
    whole = len(sums) == size and all(value == 1 for value in sums.values())
    return Kept("total of the states", True, whole, whole, "" if whole else "the sum of the lumps is another one")


def _elements(reduction: ReducedSystem, formulas: Mapping[str, str]) -> list[Kept]:
    """Whether the amount of each chemical element follows from the lumps."""
    original = reduction.original
    if not formulas:
        return []
    counts = {name: element_counts(text) for name, text in formulas.items() if name in original.state_index}
    found: list[Kept] = []
    for element in sorted({element for one in counts.values() for element in one}):
        target = {
            original.state_index[name]: Fraction(one[element]) for name, one in counts.items() if one.get(element)
        }
        held = solve_rows(_known_rows(reduction), target) is not None
        found.append(Kept(f"total of {element}", True, held, held, f"{len(counts)} states have a formula"))
    return found


def element_counts(formula: str) -> dict[str, int]:
    """Atoms by element of a formula such as ``C6H12O6``; empty if it is none.

    >>> element_counts("C6H12O6")
    {'C': 6, 'H': 12, 'O': 6}
    """
    counts: dict[str, int] = {}
    end = 0
    for match in _PART.finditer(formula):
        if match.start() != end:
            return {}
        end = match.end()
        counts[match[1]] = counts.get(match[1], 0) + int(match[2] or 1)
    return counts if end == len(formula) else {}


def formulas_of(system: OdeSystem) -> dict[str, str]:
    """Chemical formulas that the notes or annotations of species carry (``FORMULA: C6H12O6``, fbc)."""
    found: dict[str, str] = {}
    for name in system.states:
        quantity = system.quantities.get(name)
        if quantity is None:
            continue
        for text in (quantity.annotation, quantity.notes):
            match = _FORMULA.search(text) if text else None
            if match and element_counts(match[1]):
                found[name] = match[1]
                break
    return found
