"""What a method writes has finite values at its own initial values, and along the way, where the original has them."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import roadrunner

import sbmlump
from sbmlump.errors import UnsupportedModelError
from sbmlump.examples import network_from_reactions
from sbmlump.methods import METHODS
from sbmlump.model import Assigned, ErrorEstimate, Event, OdeSystem, ReducedSystem
from tests.network_models import saved, sbml_model

HERE = {"until": 6.0, "ensemble": 1}


def values_in_roadrunner(reduction: ReducedSystem, path: Path, *ids: str) -> np.ndarray:
    """Every value at time 0 is finite; those of ``ids`` at times 0 to 6."""
    reduction.write(path)
    runner = roadrunner.RoadRunner(str(path))
    model = runner.model
    known = [*model.getFloatingSpeciesIds(), *model.getBoundarySpeciesIds(), *model.getGlobalParameterIds()]
    assert all(math.isfinite(runner.getValue(name)) for name in [*known, *model.getReactionIds()])
    runner.selections = list(ids)
    return np.asarray(runner.simulate(0, 6, 7))


def ligand_from_outside() -> OdeSystem:
    """R + L ⇌ C fast; L is made and lost, and absent at first, as C is; C decays slowly."""
    return network_from_reactions(
        [("R + L -> C", 2000), ("C -> R + L", 400), ("-> L", 1), ("L ->", Fraction(1, 2)), ("C -> R", Fraction(1, 5))],
        initial={"R": 3, "L": 0, "C": 0},
    )


@pytest.mark.parametrize("observed", ["R", "L", "C"])
def test_an_equilibrium_that_begins_without_its_complex(tmp_path: Path, observed: str) -> None:
    system = ligand_from_outside()
    found = sbmlump.reduce(system, observed, "quasi-equilibrium", fast="r1", **HERE)
    assert found.system.size == 2
    table = values_in_roadrunner(found, tmp_path / "r.xml", "R", "L", "C")
    assert table[0] == pytest.approx([3, 0, 0], abs=1e-12)
    # R + C = 3 and R L = C/5 at all times
    assert table[:, 0] + table[:, 2] == pytest.approx(3)
    assert table[1:, 0] * table[1:, 1] == pytest.approx(table[1:, 2] / 5, rel=1e-6)
    original = values_in_roadrunner(sbmlump.reduce(system, observed, "none"), tmp_path / "o.xml", "R", "L", "C")
    assert np.abs(table - original).max() < 5e-3


def passed_on() -> OdeSystem:
    """S → I, I + H → Q + H fast; H is made from nothing, so that I would be infinite at first."""
    return network_from_reactions(
        [("S -> I", Fraction(1, 2)), ("I + H -> Q + H", 900), ("-> H", 2)], initial={"S": 4, "I": 0, "H": 0, "Q": 0}
    )


def test_a_flux_stays_finite_where_the_fast_state_does_not(tmp_path: Path) -> None:
    found = sbmlump.reduce(passed_on(), "Q", "qssa", fast="I", **HERE)
    assert "I" not in found.system.definitions
    assert any(remark.startswith("I is left out") for remark in found.remarks)
    table = values_in_roadrunner(found, tmp_path / "r.xml", "Q")
    assert table[:, 0] == pytest.approx(4 * (1 - np.exp(-np.arange(7) / 2)), rel=1e-5)


def test_a_flux_that_is_not_finite_either_is_left_out_with_it(tmp_path: Path) -> None:
    """B makes itself and saturates its sink: its quadratic equation has no root later on."""
    text = sbml_model(
        {"A": 4.5, "B": 0.0, "D": 1.0},
        {
            "feed": ({"A": 1}, {"B": 1}, "0.9 * A * cell"),
            "grow": ({}, {"B": 1}, "k2 * B * cell"),
            "sink": ({"B": 1}, {}, "k3 * B / (w + B) * cell"),
            "use": ({"D": 1}, {}, "0.3 * A * D * cell"),
        },
        {"k2": 0.5, "k3": 1.6, "w": 0.65},
    )
    found = sbmlump.reduce(sbmlump.load(saved(tmp_path, text)), "D", "qssa", fast="B", until=4.0)
    assert any(remark.startswith("B, grow, sink are left out") for remark in found.remarks)
    assert {one.id for one in found.system.reactions} == {"feed", "use"}
    assert np.isfinite(values_in_roadrunner(found, tmp_path / "r.xml", "D", "feed", "use")).all()
    # what stands in the value of a constant is needed
    begin = '<initialAssignment symbol="c"><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>feed</ci></math>'
    begin = begin.replace("feed", "grow")
    text = text.replace('<parameter id="k2"', '<parameter id="c" constant="true"/><parameter id="k2"')
    text = text.replace("</listOfParameters>", f"</listOfParameters><listOfInitialAssignments>{begin}"
                        "</initialAssignment></listOfInitialAssignments>")  # fmt: skip
    found = sbmlump.reduce(sbmlump.load(saved(tmp_path, text)), ["D", "c"], "qssa", fast="B", until=4.0)
    assert found.system.graph.number_of(found.system.constant_values["c"]) == 0


def test_a_fast_state_that_is_observed_has_to_be_finite() -> None:
    with pytest.raises(UnsupportedModelError, match="no finite value") as caught:
        sbmlump.reduce(passed_on(), ["Q", "I"], "qssa", fast="I", **HERE)
    assert [(one.code, one.element) for one in caught.value.reasons] == [("undefined-at-start", "I")]


def test_fractions_that_vanish_together_are_refused() -> None:
    system = network_from_reactions(
        [("X + A -> A + P", 500), ("X + B -> B", 700), ("A + B -> A + B + X", 600), ("-> A", 1), ("-> B", 1)],
        initial={"X": 0, "A": 0, "B": 0, "P": 0},
    )
    with pytest.raises(UnsupportedModelError) as caught:
        sbmlump.reduce(system, "P", "qssa", fast="X", **HERE)
    assert {one.code for one in caught.value.reasons} == {"undefined-at-start"}


def test_a_denominator_that_an_event_makes_zero(tmp_path: Path) -> None:
    system = network_from_reactions(
        [("S -> I", Fraction(1, 2)), ("I + H -> Q + H", 900)], initial={"S": 4, "I": 0, "H": 2, "Q": 0}
    )
    graph = system.graph
    late = graph.call("gt", (graph.time(), graph.number(3)))
    system = replace(system, events=(Event(late, (("H", graph.number(0)),), id="gone"),))
    found = sbmlump.reduce(system, "S", "qssa", fast="I", **HERE)
    assert "I" not in found.system.definitions
    assert np.isfinite(values_in_roadrunner(found, tmp_path / "r.xml", "S", "Q")).all()


def test_both_roots_are_written_so_that_they_are_defined() -> None:
    """2 M ⇌ D: of the two ways to write a root of the quadratic equation one is 0/0 where nothing is there."""
    for start in ({"M": 0, "D": 0}, {"M": 5, "D": 0}, {"M": 0, "D": 5}):
        system = network_from_reactions(
            [("2 M -> D", 800), ("D -> 2 M", 300), ("-> M", 1), ("D ->", Fraction(1, 3))], initial=start
        )
        found = sbmlump.reduce(system, "D", "quasi-equilibrium", fast="r1", **HERE)
        values = found.lift(found.system.initial_state())
        assert np.isfinite(values).all()
        assert values[0] + 2 * values[1] == pytest.approx(start["M"] + 2 * start["D"])


def test_every_method_is_refused_what_is_undefined_at_its_initial_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard looks at what comes out, whichever method made it."""
    system = ligand_from_outside()
    graph = system.graph
    broken = Assigned("share", graph.div(graph.symbol("L"), graph.symbol("C")))

    def with_a_share(*_: object) -> ReducedSystem:
        made = sbmlump.reduce(system, "R", "none")
        return replace(made, system=replace(made.system, assigned=(broken,)))

    for name in METHODS:
        whole = with_a_share()
        monkeypatch.setattr(METHODS[name], "reduce", lambda *_, whole=whole: whole)
        with pytest.raises(UnsupportedModelError, match="share"):
            sbmlump.reduce(system, "R", name)
        monkeypatch.undo()


def test_what_is_undefined_in_the_original_too_is_no_obstacle() -> None:
    system = ligand_from_outside()
    graph = system.graph
    share = Assigned("share", graph.div(graph.symbol("L"), graph.symbol("C")))
    found = sbmlump.reduce(replace(system, assigned=(share,)), "R", "exact")
    assert found.system.definitions["R"] is not None


def test_a_reduction_that_cannot_be_followed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    system = ligand_from_outside()
    lost = ErrorEstimate("qssa", 6.0, 2, 0.2, math.inf, math.inf, details={"nominal_error": None})
    whole = replace(sbmlump.reduce(system, "R", "none"), certificate=lost)
    monkeypatch.setattr(METHODS["exact"], "reduce", lambda *_: whole)
    with pytest.raises(UnsupportedModelError) as caught:
        sbmlump.reduce(system, "R")
    assert caught.value.reasons[0].code == "not-followed"


@pytest.mark.parametrize("method", ["pooling", "exact,pooling", "none,pooling", "pooling,pooling"])
def test_an_observed_flux_keeps_its_id_where_reactions_are_pooled(tmp_path: Path, method: str) -> None:
    text = sbml_model(
        {"A": 2, "B": 1, "C": 0, "D": 0},
        {
            "r1": ({"A": 1}, {"C": 1}, "cell * k * A"),
            "r2": ({"B": 1}, {"D": 1}, "cell * k * B"),
            "twin": ({"A": 1}, {"C": 1}, "cell * h * A"),
        },
        {"k": 0.4, "h": 0.1},
    )
    path = saved(tmp_path, text)
    for observed in (["r1"], ["twin", "C"], ["r2"], ["r1", "r2"]):
        found = sbmlump.reduce(sbmlump.load(path), observed, method)
        found.write(tmp_path / "r.xml")
        assert sbmlump.compare(path, tmp_path / "r.xml", until=3.0, observables=observed).max_relative_error < 1e-6
