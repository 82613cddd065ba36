"""What the equations and the written network of a model have: conservation laws, deficiency, balance, signs.

:func:`structure_of` collects everything for ``sbmlump inspect --structure``; :func:`kept_properties` holds a reduced
model against its original.
"""

from __future__ import annotations

from sbmlump.structure.laws import ConservationLaw, linear_integrals, near_laws, stoichiometric_laws
from sbmlump.structure.network import Balance, Network, balance_of, network_of, non_negative_rates
from sbmlump.structure.summary import Kept, Structure, kept_properties, structure_of

__all__ = [
    "Balance",
    "Kept",
    "ConservationLaw",
    "Network",
    "Structure",
    "balance_of",
    "kept_properties",
    "linear_integrals",
    "near_laws",
    "network_of",
    "non_negative_rates",
    "stoichiometric_laws",
    "structure_of",
]
