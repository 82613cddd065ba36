"""Small SBML files for the tests of the reader, written as text so that nothing stands between them and the reader."""

from __future__ import annotations

import re
from pathlib import Path

import libsbml

from sbmlump.model import OdeSystem
from sbmlump.sbml import ReadResult, read_sbml

MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
_CORE = {1: "level1", 2: "level2/version{v}", 3: "level3/version{v}/core"}
L3 = 'hasOnlySubstanceUnits="{h}" boundaryCondition="{b}" constant="{c}"'


def math(formula: str) -> str:
    """MathML of an infix formula."""
    tree = libsbml.parseL3Formula(formula)
    assert tree is not None, libsbml.getLastParseL3Error()
    return re.sub(r"^<\?xml[^>]*\?>\s*", "", libsbml.writeMathMLToString(tree))


def sbml(body: str, *, level: int = 3, version: int = 2, model: str = 'id="m"', root: str = "") -> str:
    """A whole document around the content of its model."""
    uri = "http://www.sbml.org/sbml/" + _CORE[level].format(v=version)
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<sbml xmlns="{uri}" level="{level}" version="{version}" {root}>'
    return f"{head}<model {model}>{body}</model></sbml>"


def compartment(name: str = "c", size: str | None = "2", *, dimensions: str = "3", constant: bool = True) -> str:
    """A Level 3 compartment."""
    given = f'size="{size}"' if size is not None else ""
    return f'<compartment id="{name}" spatialDimensions="{dimensions}" {given} constant="{_flag(constant)}"/>'


def species(
    name: str,
    value: str = 'initialConcentration="1"',
    *,
    where: str = "c",
    amounts: bool = False,
    boundary: bool = False,
    constant: bool = False,
    more: str = "",
) -> str:
    """A Level 3 species."""
    flags = L3.format(h=_flag(amounts), b=_flag(boundary), c=_flag(constant))
    return f'<species id="{name}" compartment="{where}" {value} {flags} {more}/>'


def parameter(name: str, value: str | None = "1", *, constant: bool = True) -> str:
    """A Level 3 parameter."""
    given = f'value="{value}"' if value is not None else ""
    return f'<parameter id="{name}" {given} constant="{_flag(constant)}"/>'


def reaction(name: str, left: str, right: str, law: str | None, *, local: dict[str, str] | None = None) -> str:
    """A Level 3 reaction; sides are ids separated by blanks, each with an optional number in front (``2*A``)."""
    parameters = "".join(f'<localParameter id="{n}" value="{v}"/>' for n, v in (local or {}).items())
    parameters = f"<listOfLocalParameters>{parameters}</listOfLocalParameters>" if parameters else ""
    kinetic = f"<kineticLaw>{math(law)}{parameters}</kineticLaw>" if law is not None else ""
    sides = side("Reactants", left) + side("Products", right)
    return f'<reaction id="{name}" reversible="false">{sides}{kinetic}</reaction>'


def side(kind: str, text: str) -> str:
    """List of reactants or products."""
    references = []
    for part in text.split():
        number, _, name = part.rpartition("*")
        references.append(f'<speciesReference species="{name}" stoichiometry="{number or 1}" constant="true"/>')
    return f"<listOf{kind}>{''.join(references)}</listOf{kind}>" if references else ""


def listed(kind: str, *items: str) -> str:
    """``<listOfKind>`` around the items."""
    return f"<listOf{kind}>{''.join(items)}</listOf{kind}>" if items else ""


def rule(kind: str, target: str, formula: str) -> str:
    """``assignmentRule`` or ``rateRule``."""
    return f'<{kind} variable="{target}">{math(formula)}</{kind}>'


def assignment(target: str, formula: str) -> str:
    """An initial assignment."""
    return f'<initialAssignment symbol="{target}">{math(formula)}</initialAssignment>'


def event(trigger: str, sets: dict[str, str], *, more: str = "", flags: str = "", use: bool = True) -> str:
    """A Level 3 event; ``flags`` are attributes of the trigger, ``more`` holds delay and priority."""
    flags = flags or 'initialValue="true" persistent="true"'
    assigned = "".join(f'<eventAssignment variable="{n}">{math(f)}</eventAssignment>' for n, f in sets.items())
    parts = f"<trigger {flags}>{math(trigger)}</trigger>{more}{listed('EventAssignments', assigned)}"
    return f'<event id="e" useValuesFromTriggerTime="{_flag(use)}">{parts}</event>'


def read_text(folder: Path, text: str, name: str = "model.xml") -> ReadResult:
    """Write ``text`` to a file and read it."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_sbml(path)


def system_of(folder: Path, text: str) -> OdeSystem:
    """The system in ``text``, which has to be readable."""
    result = read_text(folder, text)
    assert result.system is not None, [str(reason) for reason in result.reasons]
    return result.system


def codes_of(folder: Path, text: str) -> list[str]:
    """Codes of the reasons why ``text`` is refused."""
    result = read_text(folder, text)
    assert result.system is None
    return [reason.code for reason in result.reasons]


def _flag(value: bool) -> str:
    return "true" if value else "false"
