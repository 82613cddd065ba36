"""Reactions whose text differs in ids alone are read like any others."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest

from sbmlump.examples import multisite
from sbmlump.files import ModelFile
from sbmlump.sbml import READ_LIMITS, ReadResult, open_sbml, read_opened, write_system

KINDS = replace(READ_LIMITS, at_a_glance=1)
NO_KINDS = replace(KINDS, kinds=0)


def both(text: str) -> tuple[ReadResult, ReadResult]:
    """A text read by kinds of reactions, and reaction by reaction."""
    file = ModelFile(text.encode(), "x.xml", ".xml", None)
    found, expected = (read_opened(open_sbml(file, limits), limits=limits) for limits in (KINDS, NO_KINDS))
    return found, expected


def assert_same(text: str) -> ReadResult:
    found, expected = both(text)
    # the records hold everything that is taken of a file, lines included
    assert repr(found._raw) == repr(expected._raw)
    assert found.reasons == expected.reasons
    assert found.remarks == expected.remarks
    if found.system is not None and expected.system is not None:
        assert write_system(found.system) == write_system(expected.system)
    return found


NETWORK = write_system(multisite(2, with_reactions=True)).decode()


def test_a_network_is_the_same() -> None:
    assert assert_same(NETWORK).required().size == 18


def reactions(text: str) -> list[str]:
    return re.findall(r"<reaction .*?</reaction>", text, re.DOTALL)


CHANGES = {
    "prefix": lambda r: r.replace("<ci> ", "<ci>\n "),
    "metaid": lambda r: r.replace("<reaction ", '<reaction metaid="m{n}" '),
    "described reactant": lambda r: r.replace("<speciesReference ", '<speciesReference metaid="m{n}" ', 1),
    "named reactant": lambda r: r.replace("<speciesReference ", '<speciesReference id="ref{n}" ', 1),
    "notes": lambda r: r.replace("<listOfR", '<notes><p xmlns="http://www.w3.org/1999/xhtml">a</p></notes><listOfR', 1),
    "annotation with a reaction": lambda r: r.replace(
        "<listOfR", '<annotation><r xmlns="urn:x"><reaction id="x"></reaction></r></annotation><listOfR', 1
    ),
    "annotation with an empty reaction": lambda r: r.replace(
        "<listOfR", '<annotation><r xmlns="urn:x"><reaction id="x"/></r></annotation><listOfR', 1
    ),
    "other stoichiometry": lambda r: r.replace('stoichiometry="1"', 'stoichiometry="2"', 1),
    "no stoichiometry": lambda r: r.replace(' stoichiometry="1"', "", 1),
    "stoichiometry that is no number": lambda r: r.replace('stoichiometry="1"', 'stoichiometry="NaN"', 1),
    "other law": lambda r: r.replace("<times/>", "<divide/>").replace("<ci> kinase </ci>", ""),
    "subtraction": lambda r: r.replace("<times/>", "<minus/>").replace("<ci> kinase </ci>", ""),
    "function in the place of an operator": lambda r: r.replace("<times/>", "<ci> a1 </ci>"),
    "unknown species": lambda r: r.replace('species="S', 'species="T', 1),
    "unknown id in the law": lambda r: r.replace("<ci> S", "<ci> T"),
    "number": lambda r: r.replace("<times/>", "<times/><cn> 0.1 </cn>"),
    "number with units": lambda r: r.replace(
        "<times/>", '<times/><cn xmlns:sbml="http://www.sbml.org/sbml/level3/version2/core" sbml:units="second">2</cn>'
    ),
    "time": lambda r: r.replace(
        "<times/>", '<times/><csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
    ),
    "local parameter": lambda r: r.replace(
        "</kineticLaw>",
        '<listOfLocalParameters><localParameter id="kinase" value="2"/></listOfLocalParameters></kineticLaw>',
    ),
    "twice the same id": lambda r: re.sub(r'<reaction id="\w+"', '<reaction id="twice"', r),
    "id of a species": lambda r: re.sub(r'<reaction id="\w+"', '<reaction id="kinase"', r),
    "no law": lambda r: re.sub(r"<kineticLaw>.*</kineticLaw>", "", r, flags=re.DOTALL),
    "no mathematics": lambda r: re.sub(r"<math .*</math>", "", r, flags=re.DOTALL),
    "products first": lambda r: re.sub(
        r"(<listOfReactants>.*</listOfReactants>)\s*(<listOfProducts>.*</listOfProducts>)",
        r"\2\n\1",
        r,
        flags=re.DOTALL,
    ),
    "modifier": lambda r: r.replace(
        "<kineticLaw>", '<listOfModifiers><modifierSpeciesReference species="kinase"/></listOfModifiers><kineticLaw>'
    ),
    "reversible": lambda r: r.replace('reversible="false"', 'reversible="true"'),
    "no end tag": lambda r: re.sub(
        r'<reaction id="(\w+)".*', r'<reaction id="\1" reversible="false"/>', r, flags=re.DOTALL
    ),
    "an entity": lambda r: r.replace('species="S', 'species="&#83;', 1),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_few_reactions_that_are_otherwise(change: str) -> None:
    text = NETWORK
    blocks = reactions(text)
    for n in Random(change).sample(range(len(blocks)), 5):
        text = text.replace(blocks[n], CHANGES[change](blocks[n]).replace("{n}", str(n)), 1)
    assert text != NETWORK
    assert_same(text)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_all_reactions_otherwise(change: str) -> None:
    text = NETWORK
    for n, block in enumerate(reactions(text)):
        text = text.replace(block, CHANGES[change](block).replace("{n}", str(n)), 1)
    assert_same(text)
