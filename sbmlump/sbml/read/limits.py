"""How much of a file is read: bounds that keep hostile and broken files from hanging or crashing a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["READ_LIMITS", "ReadLimits"]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds of reading one SBML file; beyond them it is refused with a reason, or looked at more slowly.

    Attributes
    ----------
    depth : int
        Of nested elements, and of the syntax tree of an infix formula. libSBML recurses and crashes at some ten
        thousand; published models reach 60, generated ones 300.
    formula : int
        Characters of an infix formula (Level 1), which has no XML depth.
    digits : int
        Of an integer; a double holds 309 before the point.
    exponent : int
        Of a number with a decimal exponent: more than a double holds, and it bounds the size of the exact number.
    at_a_glance : int
        Bytes from which a file is looked over with arrays, where that is enough: a handler of expat costs a
        microsecond, and files of generated networks have millions of tags. Below, expat is the faster one.
    most_at_a_glance : int
        Bytes up to which that is done: arrays take nine times the memory of the file.
    depth_at_a_glance : int
        Depth beyond which expat looks: its stack is exact, the arrays' sum is not where tags are not balanced.
    declaration : int
        Characters in which the XML declaration is looked for.
    instances : int
        Models that a hierarchy of submodels may unfold to; libSBML takes some 10 s for so many.
    files : int
        Files that external model definitions may lead to.
    called_steps : int
        Steps inside function definitions that are done however small a model is: less than a second of work.
    called_steps_a_step : int
        Further ones for each step outside of them; a call of a function of 200 operators in every place.
    errors : int
        Errors of libSBML's log that are told.
    error_text : int
        Characters of each of them.
    named : int
        Reactions without a kinetic law that are named one by one.
    """

    depth: int = 1000
    formula: int = 100_000
    digits: int = 400
    exponent: int = 400
    at_a_glance: int = 256 * 1024
    most_at_a_glance: int = 128 * 1024 * 1024
    depth_at_a_glance: int = 200
    declaration: int = 1000
    instances: int = 20_000
    files: int = 100
    called_steps: int = 250_000
    called_steps_a_step: int = 200
    errors: int = 50
    error_text: int = 200
    named: int = 10


READ_LIMITS: Final = ReadLimits()
"""What holds where nothing else is said."""
