"""Damaged models: read, or refused with a reason; nothing else, whatever is broken."""

from __future__ import annotations

import os
import random
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sbml.read_models import (
    assignment,
    compartment,
    event,
    listed,
    math,
    parameter,
    reaction,
    rule,
    sbml,
    species,
)

from sbmlump.errors import InputError, Reason
from sbmlump.model import OdeSystem
from sbmlump.sbml import read_sbml

EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 300

_MADE = '<speciesReference id="n" species="B" stoichiometry="2" constant="false"/>'
_MODEL = sbml(
    listed(
        "FunctionDefinitions",
        *(f'<functionDefinition id="{n}">{math(f)}</functionDefinition>' for n, f in (("f", "lambda(x, x/(1+x))"),)),
    )
    + listed("UnitDefinitions", '<unitDefinition id="u"><listOfUnits/></unitDefinition>')
    + listed("Compartments", compartment(constant=False), compartment("d", "3", dimensions="0"))
    + listed("Species", species("A"), species("B", 'initialAmount="3"', amounts=True), species("C", boundary=True))
    + listed("Parameters", *(parameter(n, "2", constant=False) for n in ("p", "q", "s", "u")), parameter("k"))
    + listed("InitialAssignments", assignment("k", "2*A"), assignment("s", "r"), assignment("A", "c/2"))
    + listed(
        "Rules",
        rule("assignmentRule", "p", "f(A) + piecewise(1, time > 3, q)"),
        rule("rateRule", "q", "rateOf(A) - q^2"),
        rule("rateRule", "c", "0.1"),
        f"<algebraicRule>{math('u + 2*A - p')}</algebraicRule>",
    )
    + listed("Constraints", f"<constraint>{math('A > 0')}</constraint>")
    + listed(
        "Reactions",
        reaction("r", "A", "", "c*k*A*w", local={"w": "5"}).replace(
            "<kineticLaw>", f"<listOfProducts>{_MADE}</listOfProducts><kineticLaw>"
        ),
        reaction("t", "2*B", "A C", "log10(10 + B)*u"),
    )
    + listed("Events", event("A < 0.5 && time > 1", {"n": "n + 1", "c": "2*c"}, more=f"<delay>{math('p')}</delay>"))
).replace("><", ">\n<")

_NAMES = (
    "plus minus times divide power root log ln exp piecewise piece otherwise lt eq and or not min max rem floor lambda "
    "bvar ci cn apply true pi degree logbase csymbol rateRule assignmentRule species parameter listOfRules math"
).split()
_VALUES = ("", "0", "-1", "NaN", "INF", "1e308", "1e-320", "99999999999", "A", "c", "true", "x y", "\u00e4", "&lt;")


def damaged(text: str, rng: random.Random) -> str:
    """``text`` with one to four things broken."""
    for _ in range(rng.randint(1, 4)):
        text = rng.choice((_other_value, _other_content, _other_element, _lines_twice, _lines_gone, _other_byte))(
            text, rng
        )
    return text


def _replaced(text: str, pattern: str, new: str, rng: random.Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start(1)] + new + text[one.end(1) :]


def _other_value(text: str, rng: random.Random) -> str:
    return _replaced(text, r'"([^"]*)"', rng.choice((*_VALUES, *re.findall(r'id="(\w+)"', text))), rng)


def _other_content(text: str, rng: random.Random) -> str:
    return _replaced(text, r"<c[in][^>]*>([^<]*)<", rng.choice(_VALUES), rng)


def _other_element(text: str, rng: random.Random) -> str:
    return _replaced(text, r"</?(\w+)", rng.choice(_NAMES), rng)


def _lines_twice(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    first = rng.randrange(len(lines))
    lines[first:first] = lines[first : first + rng.randint(1, 12)]
    return "\n".join(lines)


def _lines_gone(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    first = rng.randrange(len(lines))
    del lines[first : first + rng.randint(1, 4)]
    return "\n".join(lines)


def _other_byte(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + chr(rng.randrange(1, 0x250)) + text[place + 1 :]


def test_the_model_to_be_damaged_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(_MODEL, encoding="utf-8")
    system = read_sbml(path).system
    assert system is not None
    assert system.states == ("A", "B", "c", "q", "n")


@settings(max_examples=EXAMPLES)
@given(st.integers(0, 2**63))
def test_damaged_models_are_read_or_refused(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.xml"
        path.write_text(damaged(_MODEL, random.Random(seed)), encoding="utf-8")
        reasons, system = outcome(path)
        assert (system is None) == bool(reasons)
        assert all(reason.code and reason.message for reason in reasons)
        if system is not None:
            assert len(system.rates(0.0, system.initial_state())) == system.size
        assert [found.name for found in Path(folder).iterdir()] == ["m.xml"]


def outcome(path: Path) -> tuple[tuple[Reason, ...], OdeSystem | None]:
    """Reasons and system, whichever way the refusal comes."""
    try:
        result = read_sbml(path)
    except InputError as error:
        return error.reasons, None
    return result.reasons, result.system
