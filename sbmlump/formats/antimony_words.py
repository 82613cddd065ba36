"""Words of Antimony that cannot be ids, and new ids in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["RESERVED", "RESERVED_FOR_UNITS", "SPECIAL_UNITS", "is_reserved", "renamed"]

_KEYWORDS: Final = (
    "after at compartment const constraint delete DNA end event ext formula function gene geneProduct has import in is "
    "maximize minimize model module operator reaction species substanceOnly unit var"
)
_CONSTANT_WORDS: Final = "avogadro exponentiale false False FALSE inf INF infinity nan NaN NAN pi time true True TRUE"
_FUNCTION_WORDS: Final = (
    "abs acos acosh acot acoth acsc acsch and arccos arccosh arccot arccoth arccsc arccsch arcsec arcsech arcsin "
    "arcsinh arctan arctanh asec asech asin asinh atan atanh bernoulli binomial cauchy ceil ceiling chisquare cos cosh "
    "cot coth csc csch delay divide eq equals exp exponential factorial floor gamma geq gt implies laplace leq ln log "
    "log10 lognormal lt max min minus neq normal not or piecewise plus poisson pow power quotient rateOf rayleigh rem "
    "root sec sech sin sinh sqr sqrt tan tanh times truncatedExponential truncatedGamma truncatedNormal "
    "truncatedPoisson uniform xor"
)
SPECIAL_UNITS: Final = {
    "substanceUnits": "substance",
    "timeUnits": "time_unit",
    "volumeUnits": "volume",
    "areaUnits": "area",
    "lengthUnits": "length",
    "extentUnits": "extent",
}
"""Attributes of a model, each with the unit that says the same in Antimony."""

_BASE_UNITS: Final = (
    "ampere becquerel candela celsius coulomb dimensionless farad gram gray henry hertz item joule katal kelvin "
    "kilogram liter litre lumen lux meter metre mole newton ohm pascal radian second siemens sievert steradian tesla "
    "volt watt weber degrees kinetics notes model_entity_is"
)
_OTHERS: Final = "__main default_compartment sbo SBO Sbo"  # `sbo:` begins a term, the others are the library's own

RESERVED: Final = frozenset(
    [
        *_KEYWORDS.split(),
        *_CONSTANT_WORDS.split(),
        *_FUNCTION_WORDS.split(),
        *_OTHERS.split(),
        *SPECIAL_UNITS.values(),
    ]
)
"""What cannot be the id of a quantity, a reaction, an event or the model."""

RESERVED_FOR_UNITS: Final = frozenset(word.lower() for word in (*RESERVED, *_BASE_UNITS.split())) - frozenset(
    SPECIAL_UNITS.values()
)
"""What cannot be the id of a unit, in whatever case."""


_WITHIN: Final = re.compile("truncated(?=Exponential|Gamma|Normal|Poisson)")
"""The library replaces these words within ids, too."""


def is_reserved(name: str) -> bool:
    """Whether ``name`` cannot be the id of a quantity, a reaction, an event or the model."""
    return name in RESERVED or _WITHIN.search(name) is not None


def renamed(ids: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A new id for each of ``ids`` that is reserved (with an underscore, or a number); none is used twice.

    Parameters
    ----------
    ids : iterable of str
        Ids that may be reserved.
    taken : iterable of str
        All ids of the model.
    """
    used = set(taken)
    table: dict[str, str] = {}
    for name in ids:
        if not is_reserved(name) or name in table:
            continue
        base = _WITHIN.sub("truncated_", name)
        new, number = f"{name}_" if base == name else base, 1
        while new in used or is_reserved(new):
            number += 1
            new = f"{base}_{number}"
        used.add(new)
        table[name] = new
    return table
