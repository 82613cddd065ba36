"""Conservation laws against the left null space of the stoichiometric matrix; what is said of totals is true."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import UnsupportedModelError, UsageError
from sbmlump.model import ExactProof
from sbmlump.structure import structure_of
from tests.network_models import saved, sbml_model

SIZES = {"cell": 2.0, "core": 0.5, "bud": 1.0}
GROWING = {"bud": ("0.1 * bud", "1 + 0.2 * time")}
CONVERSIONS = {"half": 0.5, "three": 3.0}
RATES = (0.3, 0.7, 1.1, 1.3, 1.7)


@dataclass(frozen=True)
class Network:
    """Reactions with generic rates and what their amounts are multiplied by."""

    text: str
    matrix: sympy.Matrix
    species: tuple[str, ...]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    names = [f"S{i}" for i in range(draw(st.integers(2, 4)))]
    homes = {name: draw(st.sampled_from(list(SIZES))) for name in names}
    amounts = [name for name in names if draw(st.booleans())]
    boundary = [name for name in names[1:] if draw(st.integers(0, 7)) == 0]
    factors = {name: draw(st.sampled_from(list(CONVERSIONS))) for name in names if draw(st.integers(0, 3)) == 0}
    growth = draw(st.sampled_from([None, 0, 1]))
    reactions = {}
    named = {}
    free = [name for name in names if name not in boundary]
    matrix = sympy.zeros(len(free), 0)
    for j in range(draw(st.integers(1, 4))):
        left, right = (
            draw(st.dictionaries(st.sampled_from(names), st.sampled_from([1.0, 2.0, 0.5]), max_size=2))
            for _ in range(2)
        )
        # every flux has a time course of its own, so that no two are proportional
        reactions[f"r{j}"] = (left, right, f"{RATES[j]} * exp(-{j + 1} * time)" + "".join(f" * {n}" for n in left))
        named |= {(f"r{j}", n): f"n{j}_{n}" for n in left if n not in right and draw(st.booleans())}
        column = [right.get(n, 0.0) - left.get(n, 0.0) for n in free]
        scale = [CONVERSIONS[factors[n]] if n in factors else 1.0 for n in free]
        exact = [sympy.Rational(str(a)) * sympy.Rational(str(b)) for a, b in zip(column, scale, strict=True)]
        matrix = matrix.row_join(sympy.Matrix(exact)) if free else matrix
    rules: Mapping[str, Mapping[str, str]] = (
        {} if growth is None else {("rate_rules", "assignment_rules")[growth]: {"bud": GROWING["bud"][growth]}}
    )
    text = sbml_model(
        {name: float(i + 1) for i, name in enumerate(names)},
        reactions,
        CONVERSIONS,
        homes=homes,
        sizes=SIZES,
        amounts=amounts,
        boundary=boundary,
        factors=factors,
        named=named,
        **rules,  # type: ignore[arg-type]
    )
    return Network(text, matrix, tuple(free))


@settings(max_examples=12, deadline=None)
@given(networks())
def test_the_laws_are_the_left_null_space_and_each_can_be_named(tmp_path_factory: object, network: Network) -> None:
    folder = tmp_path_factory.mktemp("laws")  # type: ignore[attr-defined]
    path = saved(folder, network.text)
    system = sbmlump.load(path)
    moving = [i for i, name in enumerate(network.species) if name in system.states]
    rows = network.matrix.extract(moving, list(range(network.matrix.cols)))
    inspected = structure_of(system).as_json()["conservation_laws"]
    laws = [law["expression"] for law in inspected if set(law["weights"]) <= set(network.species)]
    assert len(laws) == rows.rows - rows.rank()
    if not system.states:
        return
    whole = sbmlump.reduce(system, system.states[0], "conservation")
    assert whole.system.size == system.size - len(inspected)
    assert isinstance(whole.certificate, ExactProof)
    for text in laws:
        assert sbmlump.reduce(system, system.states[0], "conservation", totals=text).system.size == system.size - 1
    if whole.reducible:
        whole.write(folder / "reduced.xml")
        assert isinstance(sbmlump.verify(path, folder / "reduced.xml"), ExactProof)
    for reason in whole.reasons:
        total = re.fullmatch(r"the total (.*) is not constant: .*", reason.message)
        assert total is not None
        with pytest.raises(UnsupportedModelError):
            sbmlump.reduce(system, system.states[0], "conservation", totals=total[1])


def dimer(rate: str = "0.2 * M * M", **options: object) -> str:
    """2 M ⇌ D, D ⇌ W, with whatever else is asked for; M + 2 D + 2 W is constant, in amounts."""
    return sbml_model(
        {"M": 6, "D": 1, "W": 0},
        {
            "join": ({"M": 2}, {"D": 1}, rate),
            "split": ({"D": 1}, {"M": 2}, "0.7 * D"),
            "move": ({"D": 1}, {"W": 1}, "0.3 * D - 0.1 * W"),
        },
        {},
        **options,  # type: ignore[arg-type]
    )


def test_a_stoichiometry_with_an_id_has_the_value_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, dimer("0.1 * n * M * M", named={("join", "M"): "n"}))
    assert run(["inspect", str(path), "--structure"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"conservation laws +1\n +M \+ 2\*D \+ 2\*W +\(for the values in the file of n\)", said)
    system = sbmlump.load(path)
    found = sbmlump.reduce(system, "W", "conservation")
    assert found.system.size == 2
    assert isinstance(found.certificate, ExactProof)
    assert found.certificate.valid_for == {"n": "2"}
    assert "n" not in found.certificate.symbolic
    found.write(tmp_path / "reduced.xml")
    assert isinstance(sbmlump.verify(path, tmp_path / "reduced.xml"), ExactProof)
    changed = path.read_text(encoding="utf-8").replace('stoichiometry="2"', 'stoichiometry="3"', 1)
    assert not isinstance(sbmlump.verify(saved(tmp_path, changed, "o.xml"), tmp_path / "reduced.xml"), ExactProof)


def test_a_stoichiometry_that_is_kept_symbolic_makes_no_total(tmp_path: Path) -> None:
    system = sbmlump.load(saved(tmp_path, dimer("0.1 * n * M * M", named={("join", "M"): "n"})))
    kept = sbmlump.reduce(system, "W", "conservation", keep_parameters=["n"])
    assert kept.system.size == 3
    (reason,) = kept.reasons
    assert (reason.code, reason.element) == ("total-not-constant", "n")
    assert "for the value of n in the file only" in reason.message
    with pytest.raises(UnsupportedModelError, match="for the value of n in the file only"):
        sbmlump.reduce(system, "W", "conservation", keep_parameters=["n"], totals="M + 2*D + 2*W")


MIXED = {"homes": {"M": "cell", "D": "cell", "W": "core"}, "sizes": SIZES, "amounts": ["M"]}


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (MIXED, "M + 2*cell*D + core*2*W"),
        (MIXED, "M + 4*D + W"),
        ({"rate_rules": {"cell": "0.1 * cell"}}, "cell*(M + 2*D + 2*W)"),
        ({"assignment_rules": {"cell": "2 + time"}}, "cell*M + 2*cell*D + 2*cell*W"),
    ],
)
def test_totals_that_people_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: Mapping[str, object], total: str
) -> None:
    path = saved(tmp_path, dimer(**options))
    command = ["reduce", str(path), "--method", "conservation", "--observe", "M", "--until", "3", "--json"]
    code = run([*command, "--total", total, "-o", str(tmp_path / "r.xml")])
    told = json.loads(capsys.readouterr().out)
    assert (code, told["original_size"] - told["reduced_size"]) == (0, 1)
    assert told["simulation"]["max_relative_error"] < 1e-6
    assert isinstance(sbmlump.verify(path, tmp_path / "r.xml"), ExactProof)


def test_concentrations_of_different_compartments_are_no_total(tmp_path: Path) -> None:
    system = sbmlump.load(saved(tmp_path, dimer(homes={"M": "cell", "D": "cell", "W": "core"}, sizes=SIZES)))
    with pytest.raises(UsageError, match="different compartments"):
        sbmlump.reduce(system, "M", "conservation", totals="M + 2*D + 2*W")
    growing = sbmlump.load(saved(tmp_path, dimer(rate_rules={"cell": "0.1 * cell"})))
    with pytest.raises(UsageError, match="no total"):
        sbmlump.reduce(growing, "M", "conservation", totals="M + 2*D + 2*W")


def test_an_amount_at_rest_in_a_growing_compartment_is_diluted(tmp_path: Path) -> None:
    text = sbml_model(
        {"A": 2, "E": 3},
        {"r": ({"A": 1, "E": 1}, {"E": 1}, "0.4 * cell * A * E")},
        {},
        rate_rules={"cell": "0.1 * cell"},
    )
    path = saved(tmp_path, text)
    found = sbmlump.reduce(sbmlump.load(path), "A", "conservation")
    assert set(found.system.states) == {"A", "cell"}
    found.write(tmp_path / "r.xml")
    assert isinstance(sbmlump.verify(path, tmp_path / "r.xml"), ExactProof)
    assert sbmlump.compare(path, tmp_path / "r.xml", until=4.0).max_relative_error < 1e-6


def test_what_is_fed_and_drained_alike_is_constant(tmp_path: Path) -> None:
    text = sbml_model(
        {"A": 2, "B": 1, "C": 0},
        {
            "ab": ({"A": 1}, {"B": 1}, "0.3 * A"),
            "feed": ({}, {"A": 1}, "k * C"),
            "drain": ({"B": 1}, {}, "h * C"),
            "make": ({}, {"C": 1}, "1 - C"),
        },
        {"k": 0.5, "h": 0.5},
    )
    system = sbmlump.load(saved(tmp_path, text))
    found = sbmlump.reduce(system, "C", "conservation")
    assert found.system.size == 2
    assert isinstance(found.certificate, ExactProof)
    assert set(found.certificate.valid_for) == {"h", "k"}
    assert not any("A + B" in reason.message for reason in found.reasons)
    kept = sbmlump.reduce(system, "C", "conservation", keep_parameters="k")
    assert kept.system.size == 3
