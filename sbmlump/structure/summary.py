"""Everything about the structure of one model, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sbmlump.errors import SbmlumpError
from sbmlump.linalg.rational import rank
from sbmlump.model.system import OdeSystem
from sbmlump.structure.laws import (
    ConservationLaw,
    changing_event,
    conserved_laws,
    law_measures,
    law_of,
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

__all__ = ["Structure", "structure_of"]


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
