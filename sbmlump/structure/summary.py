"""Everything about the structure of one model, as data and as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from sbmlump.errors import SbmlumpError
from sbmlump.linalg.rational import add_multiple, add_to, rank, solve_rows
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import Node
from sbmlump.model.reduced import AffineLumping, Elimination, Embedding, ExactProof, ReducedSystem
from sbmlump.model.system import OdeSystem, targets
from sbmlump.model.text import to_text
from sbmlump.structure.laws import (
    ConservationLaw,
    DecayingTotal,
    changing_event,
    conserved_laws,
    decaying_totals,
    law_measures,
    law_of,
    linear_integrals,
    near_laws,
    rows_kept_by_events,
    stoichiometric_laws,
    stoichiometry,
)
from sbmlump.structure.network import (
    Balance,
    BalanceSettings,
    Network,
    balance_of,
    network_for_balance,
    network_of,
    non_negative_rates,
)

__all__ = ["Structure", "structure_of", "Kept", "element_counts", "formulas_of", "kept_properties"]


@dataclass(frozen=True)
class Structure:
    """The structure of one model.

    Attributes
    ----------
    system : OdeSystem
    stoichiometric_rank : int or None
        Rank of S over the states; ``None`` if a stoichiometry is no number or there are no reactions.
    laws : tuple of Law
        Conservation laws that hold for the values of the file: first those that hold for all values of the constants.
    from_stoichiometry : int
        How many of them (as a dimension) the stoichiometry alone gives.
    at_values : int
        Number of independent linear first integrals with the values of the file.
    decaying : tuple of DecayingTotal
        Totals that relax at one rate.
    near : tuple of (text, element, kind)
        Totals that look conserved but are fed or drained.
    network : Network or None
    balance : Balance
    non_negative : mapping of state to bool
        Whether its rate is certainly not negative at 0.
    remarks : tuple of str
    set_by_events : tuple of (str or None)
        For each law the event that does not keep it: that law holds between the events only.
    """

    system: OdeSystem
    stoichiometric_rank: int | None
    laws: tuple[ConservationLaw, ...]
    from_stoichiometry: int
    at_values: int
    decaying: tuple[DecayingTotal, ...]
    near: tuple[tuple[str, str, str], ...]
    network: Network | None
    balance: Balance
    non_negative: Mapping[str, bool]
    remarks: tuple[str, ...]
    set_by_events: tuple[str | None, ...]

    def _laws(self) -> list[tuple[ConservationLaw, str | None]]:
        return list(zip(self.laws, self.set_by_events, strict=True))

    def _line(self, law: ConservationLaw, event: str | None) -> str:
        listed = ", ".join(law.rests_on)
        values = f"  (for the values in the file of {listed})" if listed else ""
        return f"    {law.text(self.system)}{values}" + (
            f"  (between events: {event} sets it)" if event is not None else ""
        )

    def _decaying_line(self, total: DecayingTotal) -> str:
        """The total, and its rate of change: the total is written T in it."""
        graph = self.system.graph
        rate = to_text(graph, total.rate)
        rate = rate if graph.number_of(total.rate) is not None or rate.replace("_", "").isalnum() else f"({rate})"
        inflow = "" if graph.number_of(total.inflow) == 0 else f" + {to_text(graph, total.inflow)}"
        return self._line(total, total.set_by) + f"  (T' = {rate}*T{inflow})"

    def as_json(self) -> dict[str, Any]:
        """The object that ``inspect --structure --json`` adds."""
        network = self.network
        return {
            "stoichiometric_rank": self.stoichiometric_rank,
            "conservation_laws": [
                {
                    "expression": law.text(self.system),
                    "weights": {name: str(value) for name, value in law.weights.items()},
                    "non_negative": law.non_negative,
                    "set_by_event": event,
                    "rests_on": list(law.rests_on),
                }
                for law, event in self._laws()
            ],
            "decaying_totals": [
                {
                    "expression": total.text(self.system),
                    "weights": {name: str(value) for name, value in total.weights.items()},
                    "rate": to_text(self.system.graph, total.rate),
                    "inflow": to_text(self.system.graph, total.inflow),
                    "rate_at_these_values": str(total.value),
                    "set_by_event": total.set_by,
                    "rests_on": list(total.rests_on),
                }
                for total in self.decaying
            ],
            "laws_from_stoichiometry": self.from_stoichiometry,
            "first_integrals_at_these_values": self.at_values,
            "not_conserved": [
                {"expression": text, "element": element, "kind": kind} for text, element, kind in self.near
            ],
            "network": None
            if network is None
            else {
                "realisation": network.realisation,
                "complexes": len(network.complexes),
                "linkage_classes": len(network.linkage_classes),
                "rank": network.rank,
                "deficiency": network.deficiency,
                "reversible": network.reversible,
                "weakly_reversible": network.weakly_reversible,
                "mass_action": network.mass_action,
                "not_mass_action": list(network.obstacles),
            },
            "detailed_balance": self.balance.detailed,
            "complex_balance": self.balance.complex,
            "balance_realisation": self.balance.realisation,
            "balance_remark": self.balance.why,
            "balance_exact": self.balance.exact,
            "equilibrium": dict(self.balance.equilibrium),
            "non_negative": all(self.non_negative.values()),
            "may_become_negative": [name for name, fine in self.non_negative.items() if not fine],
            "remarks": list(self.remarks),
        }

    def as_text(self, most: int = 30) -> str:
        """For ``inspect --structure``: lines indented by two, at most so many laws."""
        lines: list[str] = ["Structure:"]
        rank_text = "not defined" if self.stoichiometric_rank is None else str(self.stoichiometric_rank)
        lines.append(f"  rank of the stoichiometric matrix  {rank_text} of {self.system.size} states")
        lines.append(f"  conservation laws                  {len(self.laws)}")
        lines += [self._line(law, event) for law, event in self._laws()[:most]]
        if len(self.laws) > most:
            lines.append(f"    … and {len(self.laws) - most} more")
        lines += [f"    not conserved: {text} ({kind} {element})" for text, element, kind in self.near[:most]]
        if self.decaying:
            lines.append(f"  totals that decay at one rate      {len(self.decaying)}")
            lines += [self._decaying_line(total) for total in self.decaying[:most]]
            if len(self.decaying) > most:
                lines.append(f"    … and {len(self.decaying) - most} more")
        lines += self._network_lines()
        doubtful = [name for name, fine in self.non_negative.items() if not fine]
        shown = "shown for all states" if not doubtful else "not shown for " + ", ".join(doubtful[:8])
        lines.append(f"  states stay non-negative           {shown}")
        lines += [f"  {remark}" for remark in self.remarks]
        return "\n".join(lines)

    def _network_lines(self) -> list[str]:
        network = self.network
        if network is None:
            return ["  network                            not defined: rate rules, or stoichiometries that vary"]
        words = {True: "yes", False: "no", None: "not defined"}
        other = self.balance.realisation != network.realisation
        inexact = "" if self.balance.exact else "; decided in floating point"
        why = f"of the {self.balance.realisation}; {self.balance.why}" if other else self.balance.why
        return [
            f"  network                            {network.realisation}",
            f"  complexes, linkage classes         {len(network.complexes)}, {len(network.linkage_classes)}",
            f"  deficiency                         {network.deficiency}",
            f"  weakly reversible                  {words[network.weakly_reversible]}",
            f"  detailed balance                   {words[self.balance.detailed]}",
            f"  complex balance                    {words[self.balance.complex]} ({why}{inexact})",
        ]


def structure_of(system: OdeSystem, balance: BalanceSettings | None = None) -> Structure:
    """Look into the structure of a model.

    A part that cannot be found (too large, undefined everywhere) is left out with a remark.
    """
    remarks: list[str] = []
    try:
        laws = conserved_laws(system)
    except SbmlumpError as error:
        remarks += [reason.message for reason in error.reasons]
        laws = stoichiometric_laws(system)
    try:
        decaying = decaying_totals(system)
    except SbmlumpError as error:
        remarks += [reason.message for reason in error.reasons if reason.message not in remarks]
        decaying = ()
    rows = stoichiometry(system) if system.reactions else None
    distinct = () if rows is None else {tuple(sorted(row.items())): row for row in rows if row}.values()
    network = network_of(system)
    measures = law_measures(system)
    near = tuple(
        (law_of(system, weights, measures).text(system), element, kind) for weights, element, kind in near_laws(system)
    )
    return Structure(
        system,
        None if rows is None else rank(list(distinct), len(system.reactions)),
        laws,
        len(stoichiometric_laws(system)),
        len(laws),
        decaying,
        near,
        network,
        balance_of(network_for_balance(system), balance or BalanceSettings()),
        non_negative_rates(system),
        tuple(remarks),
        _set_by_events(system, laws),
    )


def _set_by_events(system: OdeSystem, laws: Sequence[ConservationLaw]) -> tuple[str | None, ...]:
    rows = [{system.state_index[name]: value for name, value in law.weights.items()} for law in laws]
    kept = rows_kept_by_events(system, rows) if system.events else rows
    found = (changing_event(system, row, kept) if system.events else None for row in rows)
    return tuple(None if event is None else event.id or "an event" for event in found)


# -- Which properties of the original a reduced model kept -----------------------------------------


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
