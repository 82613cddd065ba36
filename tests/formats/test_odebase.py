"""Systems of ODEbase: read exactly, refused with a sentence, and compared with SBML files."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.errors import InputError
from sbmlump.formats import compare_systems, load_odebase, parse_odebase
from sbmlump.model import Constant, Graph, OdeSystem, Quantity, parse_expression

ODES = """[Eq(Derivative(x1, t), -k1*x1 + k2*x2**2/(x2 + x3)),
Eq(Derivative(x2(t), t), k1*x1(t) - (k2*x2(t)**2)/(x2(t) + x3)),
]"""
PARAMETERS = "k1 = 1/500\nk2 = 3\n"


def test_reads_equations_values_and_maps() -> None:
    found = parse_odebase(ODES, PARAMETERS, "x1 = A\nx2 = B-2\nx3 = C", "k1 = kf\nk2 = kb", id="M")
    system = found.system
    assert system.id == "M"
    assert system.states == ("x1", "x2")
    assert [c.id for c in system.constants] == ["k1", "k2", "x3"]
    values = {name: system.graph.number_of(node) for name, node in system.constant_values.items()}
    assert values == {"k1": Fraction(1, 500), "k2": Fraction(3)}
    assert dict(found.species) == {"x1": "A", "x2": "B-2", "x3": "C"}
    assert dict(found.parameters) == {"k1": "kf", "k2": "kb"}
    assert np.isnan(system.initial_state()).all()
    filled = system.with_values({"x3": Fraction(2)})
    rate = -2 / 500 + 3 * 9 / (3 + 2)
    np.testing.assert_allclose(filled.rates(0.0, [2.0, 3.0]), [rate, -rate], rtol=1e-15)


@pytest.mark.parametrize(
    ("odes", "parameters", "told"),
    [
        ("", "", "not a list in brackets"),
        ("[]", "", "no equation"),
        ("[Eq(Derivative(x1, t), x1", "", "not a list in brackets"),
        ("[Eq(Derivative(x1, t), (x1)]", "", "not closed"),
        ("[Eq(Derivative(x1, t), x1) Eq(Derivative(x2, t), x1)]", "", "comma"),
        ("[Eq(x1, x2)]", "", "an equation was expected"),
        ("[Eq(Derivative(x1, t), x1 +)]", "", "ends too early"),
        ("[Eq(Derivative(x1, t), __import__('os'))]", "", "the expression of x1"),
        ("[Eq(Derivative(x1, t), x1), Eq(Derivative(x1, t), x1)]", "", "defined twice"),
        ("[Eq(Derivative(x1, t), k*x1)]", "k", "not 'name = value'"),
        ("[Eq(Derivative(x1, t), k*x1)]", "k = 1\nk = 2", "two values"),
        ("[Eq(Derivative(x1, t), k*x1)]", "k = j", "the expression of k"),
        ("[Eq(Derivative(x1, t), k*x1)]", "k = 1/0", "k"),
        ("[Eq(Derivative(x1, t), k*x1)]", "x1 = 1", "defined twice"),
    ],
)
def test_refuses_with_a_sentence(odes: str, parameters: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        parse_odebase(odes, parameters, file="M.json")
    (reason,) = caught.value.reasons
    assert reason.code == "odebase-syntax"
    assert reason.message.startswith("M.json: ")


def test_thousands_of_levels_are_no_recursion() -> None:
    deep = "(" * 5000 + "x1" + "+1)" * 5000
    system = parse_odebase(f"[Eq(Derivative(x1, t), {deep})]", "").system
    assert system.rates(0.0, [1.0])[0] == 5001.0


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_read_or_refused(odes: str, parameters: str) -> None:
    for text in (odes, f"[Eq(Derivative(x1, t), {odes})]"):
        try:
            parse_odebase(text, parameters)
        except InputError:
            continue


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "M.odebase.json"
    texts = {"odes": ODES, "parameters": PARAMETERS, "species_map": "", "parameter_map": ""}
    path.write_text(json.dumps({"format": 1, "id": "M", "ref": "1300", **texts}))
    assert load_odebase(path).system.size == 2
    for wrong in ('{"format": 2}', "{", '{"format": 1}', "[]"):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"M\.odebase\.json"):
            load_odebase(path)
    with pytest.raises(InputError, match="there is no file"):
        load_odebase(tmp_path / "absent")


# -- comparison --------------------------------------------------------------------------------------


def ours(rates: dict[str, str], constants: dict[str, str | None], names: dict[str, str] | None = None) -> OdeSystem:
    graph = Graph()
    symbols = {name: graph.symbol(name) for name in (*rates, *constants)}
    return OdeSystem(
        graph,
        tuple(rates),
        tuple(graph.number(1) for _ in rates),
        tuple(parse_expression(graph, text, symbols) for text in rates.values()),
        tuple(
            Constant(name, None if value is None else graph.number(Fraction(value)))
            for name, value in constants.items()
        ),
        quantities={id: Quantity(id, "species", name=name) for id, name in (names or {}).items()},
    )


RATES = {"A": "-kf*A + kb*B^2/(B + C)", "B": "kf*A - kb*B^2/(B + C)"}
VALUES: dict[str, str | None] = {"kf": "1/500", "kb": "3", "C": "2"}
MAP = "x1 = A\nx2 = B\nx3 = C"


def test_equal_systems_agree_by_name_and_by_order() -> None:
    named = compare_systems(parse_odebase(ODES, PARAMETERS, MAP), ours(RATES, VALUES))
    assert (named.verdict, named.matched_by, named.states) == ("agrees", "name map", 2)
    ordered = compare_systems(parse_odebase(ODES, PARAMETERS + "x3 = 2"), ours(RATES, VALUES))
    assert (ordered.verdict, ordered.matched_by) == ("agrees", "order")
    turned = {"B": RATES["B"], "A": RATES["A"]}
    assert compare_systems(parse_odebase(ODES, PARAMETERS, MAP), ours(turned, VALUES)).matched_by == "name map"
    plain = compare_systems(parse_odebase(ODES, PARAMETERS + "x3 = 2"), ours(turned, VALUES))
    assert plain.verdict == "differs", "in another order, and without a map, they are not the same"
    labels = {"A": "first", "B": "second"}
    by_label = parse_odebase(ODES, PARAMETERS + "x3 = 2", "x1 = first\nx2 = second")
    assert compare_systems(by_label, ours(turned, VALUES, labels)).matched_by == "name map"


def test_a_small_difference_is_found_and_named() -> None:
    theirs = parse_odebase(ODES, PARAMETERS, MAP)
    found = compare_systems(theirs, ours({**RATES, "B": "kf*A - kb*B^2/(B + C) + A/100000"}, VALUES))
    assert found.verdict == "differs"
    assert found.differences == (("x2", "B"),)
    assert "x2 (B)" in found.explanation
    assert found.error is not None
    assert 1e-9 < found.error < 1e-3


def test_other_values_are_told_apart_from_other_equations() -> None:
    theirs = parse_odebase(ODES, "k1 = 1/400\nk2 = 3", MAP, "k1 = kf\nk2 = kb")
    found = compare_systems(theirs, ours(RATES, VALUES))
    assert found.verdict == "agrees-with-other-values"
    assert "kf = 0.0025" in found.explanation
    unmapped = compare_systems(parse_odebase(ODES, "k1 = 1/400\nk2 = 3", MAP), ours(RATES, VALUES))
    assert unmapped.verdict == "differs"


def test_what_cannot_be_compared_says_why() -> None:
    theirs = parse_odebase(ODES, PARAMETERS, MAP)
    assert compare_systems(theirs, ours(RATES, {**VALUES, "C": None})).verdict == "not-compared"
    three = compare_systems(theirs, ours({**RATES, "D": "0"}, VALUES))
    assert (three.verdict, "2 states and the SBML file 3" in three.explanation) == ("differs", True)
    infinite = compare_systems(theirs, ours({"A": "A/(A - A)", "B": "B"}, VALUES))
    assert infinite.verdict == "not-compared"
