"""Reactions of large networks whose text differs in ids alone: libSBML is asked about one of each kind.

A generated network has tens of thousands of reactions and a few dozen kinds of them: the same attributes, the same
stoichiometries, the same rate law, only other species and other constants. What libSBML makes of an element is decided
by its text and by the namespaces around it, so once it has been asked about one reaction, the others of that kind are
filled in from their text. A kind is used only if its text has the one plain shape in which the meaning of every id is
known, and only if libSBML gives the ids of the reaction it was learnt from in just these places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sbmlump.sbml.read.mathml import Program, compile_ast, name_instruction
from sbmlump.sbml.read.precheck import READ_LIMITS, ReadLimits

__all__ = ["AlikeReaction", "ReactionKind", "alike_reactions"]


_SLOT: Final = "\0"
"""Stands for an id in the text of a kind; no XML has it."""
_IN_LAW: Final = re.compile(r"<ci>\s*([A-Za-z_][A-Za-z0-9_]*)\s*</ci>")
#: Attributes that say the same in every reaction of a kind, none of which refers to the element or describes it.
_ATTRIBUTES: Final = (
    r'(?:\s+(?:(?:reversible|constant|compartment)="[^"<>&\0]*"|fast="false"'
    r'|stoichiometry="[0-9]{1,9}(?:\.[0-9]{0,9})?"))*'
)


def _list_of(name: str, element: str) -> str:
    item = rf'<{element}{_ATTRIBUTES}\s+species="\0"{_ATTRIBUTES}\s*/>\s*'
    return rf"(?:<{name}>\s*(?P<{name}>(?:{item})*)</{name}>\s*)?"


_PLAIN: Final = re.compile(
    rf'<reaction{_ATTRIBUTES}\s+id="\0"{_ATTRIBUTES}\s*>\s*'
    + _list_of("listOfReactants", "speciesReference")
    + _list_of("listOfProducts", "speciesReference")
    + _list_of("listOfModifiers", "modifierSpeciesReference")
    + r'<kineticLaw>\s*<math(?:\s+xmlns="[^"<>&\0]*")?>'
    # operators whose operands libSBML keeps in the order of the text, and numbers without units
    + r"(?:\s|<ci>\0</ci>|</?apply>|<(?:times|plus|minus|divide|power)/>"
    + r'|<cn(?:\s+type="[a-z-]+")?>[^<>&\0]*(?:<sep/>[^<>&\0]*)?</cn>)*+</math>\s*</kineticLaw>\s*'
)


@dataclass(frozen=True, slots=True, eq=False)
class ReactionKind:
    """What the reactions of one kind have in common.

    Attributes
    ----------
    first : int
        Number, from 0, of the reaction that it was learnt from.
    reactants, products, modifiers : int
        How many ids of each follow on the reaction's own; the rest stand in the law.
    program : Program
        The law of the first.
    places : tuple of int
        Steps of ``program`` that are ids, in the order of the text.
    """

    first: int
    reactants: int
    products: int
    modifiers: int
    program: Program
    places: tuple[int, ...]

    def law(self, names: Sequence[str]) -> Program:
        """The law of a reaction with these ids: of all its elements, in the order of the text."""
        steps = list(self.program)
        for place, name in zip(self.places, names[-len(self.places) :] if self.places else (), strict=True):
            steps[place] = name_instruction(name)
        return tuple(steps)


class AlikeReaction(NamedTuple):
    """A reaction of a known kind: all ids in its text, its own first, and the line it begins in."""

    kind: ReactionKind
    names: Sequence[str]
    line: int


def alike_reactions(text: str, model: Any, limits: ReadLimits = READ_LIMITS) -> list[AlikeReaction | None]:
    """For each reaction of a model its kind and its ids, ``None`` where libSBML has to be asked.

    Parameters
    ----------
    text : str
        The file, in which every ``<`` and ``>`` stands for a tag and there are no comments
        (:func:`~sbmlump.sbml.read.precheck.is_on_fast_path`).
    model : libsbml.Model
        What libSBML made of it.
    limits : ReadLimits
    """
    count = model.getNumReactions()
    reactions: list[AlikeReaction | None] = []
    kinds: dict[str, ReactionKind | None] = {}
    slots: dict[str, list[int]] = {}
    for block, line in _blocks(text):
        # cut at quotation marks, which is many times as fast as to look for patterns
        head, _, law = block.partition("<math")
        pieces = head.split('"')
        values = pieces[1::2]
        frame = '"'.join(pieces[::2])
        if frame not in slots and len(slots) < limits.kinds:
            slots[frame] = [k for k, piece in enumerate(pieces[:-1:2]) if piece.endswith((" id=", " species="))]
        if frame not in slots or "&" in block:
            reactions.append(None)
            continue
        names = [values[k] for k in slots[frame]]
        for k in slots[frame]:
            values[k] = _SLOT
        parts = _IN_LAW.split(law)
        names += parts[1::2]
        shape = '"'.join([frame, *values, _SLOT.join(parts[::2])])
        if shape not in kinds and len(kinds) < limits.kinds:
            number = len(reactions)
            pieces[1::2] = values
            whole = '"'.join(pieces) + "<math" + f"<ci>{_SLOT}</ci>".join(parts[::2])
            kinds[shape] = _kind(whole, names, model.getReaction(number), number) if number < count else None
        kind = kinds.get(shape)
        reactions.append(None if kind is None else AlikeReaction(kind, names, line))
    return reactions if len(reactions) == count else [None] * count


def _blocks(text: str) -> Iterator[tuple[str, int]]:
    """The text of each reaction without its end tag, and the line that it begins in.

    Ends where a reaction has no end tag of its own, or another one inside: then there are fewer than libSBML found.
    """
    begin, end = text.find("<listOfReactions"), text.rfind("</listOfReactions>")
    if begin < 0 or end < 0 or text.find("<listOfReactions", begin + 1) >= 0:
        return
    begin = text.index(">", begin) + 1
    line = 1 + text.count("\n", 0, begin)
    while (stop := text.find("</reaction>", begin, end)) >= 0:
        start = text.find("<", begin)
        line += text.count("\n", begin, start)
        if text.find("<reaction", begin, stop) != start or text.find("<reaction", start + 1, stop) >= 0:
            return
        yield text[start:stop], line
        line += text.count("\n", start, stop)
        begin = stop + len("</reaction>")


def _kind(shape: str, names: Sequence[str], item: Any, number: int) -> ReactionKind | None:
    """What a shape means, learnt from libSBML's reading of one reaction that has it; ``None`` if it is not plain."""
    if _PLAIN.fullmatch(shape) is None:
        return None
    program = compile_ast(item.getKineticLaw().getMath())
    places = tuple(k for k, step in enumerate(program) if step.kind == "name")
    sides = (
        [item.getReactant(k).getSpecies() for k in range(item.getNumReactants())],
        [item.getProduct(k).getSpecies() for k in range(item.getNumProducts())],
        [item.getModifier(k).getSpecies() for k in range(item.getNumModifiers())],
    )
    if [item.getId(), *sides[0], *sides[1], *sides[2], *(program[k].payload for k in places)] != names:
        return None
    return ReactionKind(number, len(sides[0]), len(sides[1]), len(sides[2]), program, places)
