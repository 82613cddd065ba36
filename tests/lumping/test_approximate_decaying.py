"""Totals that decay as functions of time in approximate reductions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import libsbml
import numpy as np
import pytest
import roadrunner
from network_models import saved, sbml_model

import sbmlump
from sbmlump.dynamics import Budget
from sbmlump.methods import Approximate, ApproximateOptions, Job, LearningRuns, decaying_totals_of, learning_runs
from sbmlump.model import AffineLumping, Event, OdeSystem, ReducedSystem, parse_observables

START = {"R": 2.0, "Ra": 0.5, "K": 3.0, "Ka": 0.2, "RK": 0.1, "P": 0.0}
TOTALS = {"R": ("R", "Ra", "RK"), "K": ("K", "Ka", "RK")}


def cascade() -> str:
    """A receptor and a kinase, made and diluted at one rate, bind and activate each other; P is their product."""
    laws = {
        "on": ({"R": 1}, {"Ra": 1}, "cell * 0.3 * R"),
        "off": ({"Ra": 1}, {"R": 1}, "cell * 0.8 * Ra"),
        "bind": ({"Ra": 1, "K": 1}, {"RK": 1}, "cell * 1.5 * Ra * K"),
        "act": ({"RK": 1}, {"Ra": 1, "Ka": 1}, "cell * 0.9 * RK"),
        "back": ({"Ka": 1}, {"K": 1}, "cell * 0.25 * Ka"),
        "make": ({"Ka": 1}, {"Ka": 1, "P": 1}, "cell * 0.6 * Ka"),
        "lose": ({"P": 1}, {}, "cell * 0.4 * P"),
        "feed_R": ({}, {"R": 1}, "cell * 0.1"),
        "feed_K": ({}, {"K": 1}, "cell * 0.05"),
    }
    laws |= {f"out_{name}": ({name: 1}, {}, f"cell * 0.08 * {name}") for name in START if name != "P"}
    return sbml_model(START, laws, {})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, ReducedSystem]:
    folder = tmp_path_factory.mktemp("decaying")
    source, target = saved(folder, cascade()), folder / "reduced.xml"
    reduction = sbmlump.reduce(sbmlump.load(source), ["P"], "approximate", until=20.0, max_size=3, ensemble=8)
    reduction.write(target)
    return source, target, reduction


def runs_of(system: OdeSystem, perturb_parameters: float = 0.0) -> LearningRuns:
    chosen = ApproximateOptions(until=5.0, ensemble=2, perturb_parameters=perturb_parameters)
    return learning_runs(system, parse_observables(system, ["P"]), chosen, Budget(), lambda _: None)


def test_totals_are_no_states_but_functions_of_time(files: tuple[Path, Path, ReducedSystem]) -> None:
    _, _, reduction = files
    details = reduction.certificate.as_json()
    assert reduction.system.size == 3
    assert details["decaying_totals"] == 2
    assert isinstance(reduction.map, AffineLumping)
    members = {frozenset(reduction.original.states[j] for j in row) for _, row in reduction.map.decaying}
    assert members == {frozenset(members) for members in TOTALS.values()}
    assert reduction.system.graph.depends_on_time([one.value for one in reduction.system.assigned])
    lifted = reduction.lift(reduction.project(reduction.original.initial_state()))
    place = reduction.original.state_index
    for names in TOTALS.values():
        assert sum(lifted[place[name]] for name in names) == pytest.approx(sum(START[name] for name in names))


def simulated(path: Path, values: dict[str, float], names: list[str]) -> np.ndarray:
    document = libsbml.readSBMLFromFile(str(path))
    model = document.getModel()
    for name, value in values.items():
        start = model.getParameter(f"{name}_at_start")
        if start is not None:
            start.setValue(value)
        else:
            model.getSpecies(name).setInitialConcentration(value)
    runner = roadrunner.RoadRunner(libsbml.writeSBMLToString(document))
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-13
    runner.timeCourseSelections = names
    return np.array(runner.simulate(0, 20, 41))


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (0.85, 1.15, 1.1), (1.2, 0.9, 0.8)])
def test_the_written_rules_are_the_totals_of_the_original(
    files: tuple[Path, Path, ReducedSystem], factors: tuple[float, float, float]
) -> None:
    source, target, reduction = files
    values = {"R": START["R"] * factors[0], "K": START["K"] * factors[1], "Ka": START["Ka"] * factors[2]}
    before = simulated(source, values, [f"[{name}]" for name in START])
    rules = {frozenset(one.split("_")[1:]): one for one in (a.id for a in reduction.system.assigned) if "pool" in one}
    after = simulated(target, values, [*(rules[frozenset(names)] for names in TOTALS.values()), "[P]"])
    place = list(START)
    for column, names in enumerate(TOTALS.values()):
        whole = sum(before[:, place.index(name)] for name in names)
        np.testing.assert_allclose(after[:, column], whole, rtol=1e-7)
    error = np.abs(after[:, -1] - before[:, -1]).max() / before[:, -1].max()
    assert error <= max(3 * float(reduction.certificate.as_json()["worst_error"]), 1e-5)


def test_they_are_left_out_where_they_do_not_hold(files: tuple[Path, Path, ReducedSystem]) -> None:
    system = sbmlump.load(files[0])
    runs = runs_of(system)
    found = decaying_totals_of(runs)
    assert found is not None
    assert {one.rate for one in found.rows} == {Fraction(-2, 25)}
    assert {one.level for one in found.rows} == {Fraction(5, 4), Fraction(5, 8)}
    assert len(found.problem.pinned) == 3
    graph = system.graph
    trigger = graph.call("gt", (graph.time(), graph.number(1)))
    dosed = replace(system, events=(Event(trigger, (("R", graph.number(5)),), id="dose"),))
    assert decaying_totals_of(runs_of(dosed)) is None
    assert decaying_totals_of(runs_of(system, perturb_parameters=0.1)) is None
    assert decaying_totals_of(replace(runs, options=replace(runs.options, algorithm="krylov"))) is None


def test_both_kinds_of_candidates_are_made_anew_from_more_runs(files: tuple[Path, Path, ReducedSystem]) -> None:
    system = sbmlump.load(files[0])
    method = Approximate(until=5.0, ensemble=2)
    candidates = Job(system, parse_observables(system, ["P"]), method, lambda _: None).candidates
    before = dict.fromkeys(one.decaying for one, _ in candidates.proposals(2))
    assert set(before) == {0, 2}
    assert candidates.widened(2)
    after = list(candidates.proposals(2))
    assert {one.decaying for one, _ in after} == {0, 2}
    assert all(one.size == 2 + one.decaying for one, _ in after)
    assert not candidates.widened(2)
