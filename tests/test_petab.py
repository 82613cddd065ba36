"""PEtab problems with smaller models: valid, and with the likelihood of the original, by PEtab's own functions."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from petab_problems import PROBLEMS, Problem, estimated, observable
from sbml.read_models import compartment, listed, parameter, reaction, sbml, species

import sbmlump
from sbmlump import InputError, UnsupportedModelError, UsageError
from sbmlump.cli import run

petab = pytest.importorskip("petab.v1", reason="the extra petab is not installed")
pytest.importorskip("roadrunner")


def simulator(problem: Any, parameters: dict[str, float]) -> Any:
    """PEtab's interface for simulators, over libRoadRunner."""
    from petab.v1.simulate import Simulator

    from sbmlump.simulators import simulated_measurements

    class RoadRunnerSimulator(Simulator):
        def simulate_without_noise(self) -> Any:
            found = simulated_measurements(self.petab_problem, parameters)
            return found.rename(columns={"simulation": "measurement"})

    return RoadRunnerSimulator(problem)


def likelihood(problem: Any, parameters: dict[str, float]) -> float:
    simulated = simulator(problem, parameters)
    table = problem.parameter_df.copy()
    for name, value in parameters.items():
        table.loc[name, "nominalValue"] = value
    found = petab.calculate_llh(problem.measurement_df, simulated.simulate(), problem.observable_df, table)
    simulated.remove_working_dir()
    return float(found)


def drawn(problem: Any, count: int) -> list[dict[str, float]]:
    """Values of the estimated parameters within their bounds, uniform on their scales."""
    rng = np.random.default_rng(5)
    points = rng.uniform(problem.lb_scaled, problem.ub_scaled, (count, len(problem.x_ids)))
    estimated = set(problem.x_free_ids)
    found = [problem.unscale_parameters(dict(zip(problem.x_ids, point, strict=True))) for point in points]
    return [{name: value for name, value in values.items() if name in estimated} for values in found]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_likelihood_is_that_of_the_original(name: str, tmp_path: Path) -> None:
    path = PROBLEMS[name].write(tmp_path / "in")
    outcome = sbmlump.reduce_petab(path, tmp_path / "out")
    assert outcome.reduction is not None
    assert (outcome.model.states, outcome.reduction.system.size) == PROBLEMS[name].size
    assert "petab-compared" in [reason.code for reason in outcome.reasons]
    before, after = petab.Problem.from_yaml(str(path)), petab.Problem.from_yaml(str(outcome.output))
    assert petab.lint_problem(after) is False
    assert after.x_ids == before.x_ids
    values = []
    for parameters in drawn(before, 10):
        values.append(likelihood(before, parameters))
        assert likelihood(after, parameters) == pytest.approx(values[-1], rel=1e-6)
    assert len({round(value, 3) for value in values}) == 10  # the parameters reach the simulations


SIZE = 2.0  # of the compartment
DECAY = Problem(
    sbml(
        listed("Compartments", compartment())
        + listed("Species", species("A"), species("B", 'initialConcentration="0"'))
        + listed("Parameters", parameter("k", "1"))
        + listed("Reactions", reaction("r", "A", "B", "c*k*A"))
    ),
    [estimated("k", 0.5), estimated("a0", 3), estimated("sd", 1)],
    [{"conditionId": "one", "A": "a0"}, {"conditionId": "two", "A": 2}],
    [observable("both", "A + 2*B", "sd")],
    [("both", condition, "", (0, 1, 2), {}) for condition in ("one", "two")],
)


def test_conditions_and_parameters_are_simulated_as_they_say(tmp_path: Path) -> None:
    decayed(DECAY, tmp_path, lambda left: 2 - left)


def test_fluxes_may_be_observed(tmp_path: Path) -> None:
    problem = replace(DECAY, observables=[observable("both", "3*r + B", "sd")])
    decayed(problem, tmp_path, lambda left: 3 * 0.7 * SIZE * left + 1 - left)


def decayed(problem: Problem, folder: Path, observed: Callable[[float], float]) -> None:
    """The observable is what is said of the part of A that is left, in every condition, before and after."""
    path = problem.write(folder / "in")
    outcome = sbmlump.reduce_petab(path, folder / "out")
    for file in (path, outcome.output):
        found = simulator(petab.Problem.from_yaml(str(file)), {"k": 0.7}).simulate()
        for _, row in found.iterrows():
            begin = {"one": 3, "two": 2}[row["simulationConditionId"]]
            assert row["simulation"] == pytest.approx(begin * observed(math.exp(-0.7 * row["time"])), rel=1e-8)


def test_what_is_lumped_goes_by_constants_for_initial_values(tmp_path: Path) -> None:
    path = PROBLEMS["dose response"].write(tmp_path / "in")
    outcome = sbmlump.reduce_petab(path, tmp_path / "out")
    written = petab.Problem.from_yaml(str(outcome.output))
    assert list(written.condition_df.columns) == ["initial_L", "initial_R00"]
    assert written.condition_df.loc["high", "initial_L"] == "high_dose"
    assert written.observable_df.loc["phosphorylated", "observableFormula"] == "observed_phosphorylated*scale + offset"
    system = sbmlump.load(tmp_path / "out" / "model.xml")
    assert system.with_values({}).graph.symbols(system.initial) >= {"initial_L", "initial_R00"}


def test_what_conditions_leave_is_what_the_model_has(tmp_path: Path) -> None:
    problem = PROBLEMS["dose response"]
    conditions = [{**row, "L": "" if row["conditionId"] == "none" else row["L"]} for row in problem.conditions]
    path = replace(problem, conditions=conditions).write(tmp_path / "in")
    outcome = sbmlump.reduce_petab(path, tmp_path / "out", {"check": False})
    written = petab.Problem.from_yaml(str(outcome.output))
    assert float(written.condition_df.loc["none", "initial_L"]) == 1.0  # as in the model
    assert float(written.condition_df.loc["low", "initial_L"]) == 0.4


def test_parameters_may_be_without_nominal_values(tmp_path: Path) -> None:
    problem = PROBLEMS["dose response"]
    rows = [{name: value for name, value in row.items() if name != "nominalValue"} for row in problem.parameters]
    outcome = sbmlump.reduce_petab(replace(problem, parameters=rows).write(tmp_path / "in"), tmp_path / "out")
    (compared,) = [reason.message for reason in outcome.reasons if reason.code == "petab-compared"]
    assert compared.endswith("at 2 values of the parameters")  # those that are drawn


def test_a_model_that_does_not_get_smaller_keeps_its_tables(tmp_path: Path) -> None:
    path = DECAY.write(tmp_path / "in")
    outcome = sbmlump.reduce_petab(path, tmp_path / "out")
    assert outcome.name == "not-reducible"
    before, after = petab.Problem.from_yaml(str(path)), petab.Problem.from_yaml(str(outcome.output))
    assert before.condition_df.equals(after.condition_df)
    assert before.observable_df.equals(after.observable_df)


def refused(problem: Problem, folder: Path, **options: Any) -> tuple[str, str]:
    path = problem.write(folder / "in")
    with pytest.raises((UnsupportedModelError, InputError, UsageError)) as caught:
        sbmlump.reduce_petab(path, folder / "out", options)
    assert not (folder / "out").exists()
    (reason,) = caught.value.reasons
    return reason.code, reason.message


PREEQUILIBRATED = PROBLEMS["after a preequilibration"]


def test_a_species_that_is_set_after_a_preequilibration_stays_a_state(tmp_path: Path) -> None:
    conditions = [
        {**row, "R10": 0.1 if row["conditionId"] == "stimulated" else ""} for row in PREEQUILIBRATED.conditions
    ]
    path = replace(PREEQUILIBRATED, conditions=conditions).write(tmp_path / "in")
    outcome = sbmlump.reduce_petab(path, tmp_path / "out", {"check": False})
    assert "R10" in sbmlump.load(tmp_path / "out" / "model.xml").states
    before, after = petab.Problem.from_yaml(str(path)), petab.Problem.from_yaml(str(outcome.output))
    (parameters,) = drawn(before, 1)
    assert likelihood(after, parameters) == pytest.approx(likelihood(before, parameters), rel=1e-6)


def test_a_compartment_is_not_resized_after_a_preequilibration(tmp_path: Path) -> None:
    conditions = [{**row, "c": 2} for row in PREEQUILIBRATED.conditions]
    code, says = refused(replace(PREEQUILIBRATED, conditions=conditions), tmp_path, check=False)
    assert (code, says.startswith("c: ")) == ("petab-not-kept", True)


def test_initial_values_before_a_preequilibration_are_not_constants_of_conservation_laws(tmp_path: Path) -> None:
    code, says = refused(PREEQUILIBRATED, tmp_path, method="exact+conservation", check=False)
    assert (code, "before the preequilibration" in says) == ("petab-not-kept", True)


def test_conservation_laws_are_solved_where_there_is_none(tmp_path: Path) -> None:
    path = PROBLEMS["dose response"].write(tmp_path / "in")
    outcome = sbmlump.reduce_petab(path, tmp_path / "out", {"method": "exact+conservation"})
    assert outcome.reduction is not None
    assert outcome.reduction.system.size < PROBLEMS["dose response"].size[1]
    before, after = petab.Problem.from_yaml(str(path)), petab.Problem.from_yaml(str(outcome.output))
    for parameters in drawn(before, 2):
        assert likelihood(after, parameters) == pytest.approx(likelihood(before, parameters), rel=1e-6)


def test_approximations_are_refused(tmp_path: Path) -> None:
    assert refused(DECAY, tmp_path, method="approximate", max_size=1, until=2.0)[0] == "petab-not-kept"


def test_what_is_no_problem_of_format_1_is_refused(tmp_path: Path) -> None:
    code, says = refused(replace(DECAY, version="2.0.0"), tmp_path / "two")
    assert (code, "format 2" in says) == ("petab-format", True)
    code, says = refused(replace(DECAY, parameters=DECAY.parameters[:2]), tmp_path / "incomplete")
    assert (code, "sd" in says) == ("petab-invalid", True)
    with pytest.raises(InputError, match="there is no file"):
        sbmlump.reduce_petab(tmp_path / "nothing.yaml", tmp_path / "out")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = PROBLEMS["fractions"].write(tmp_path / "in"), tmp_path / "out"
    assert run(["reduce", "--petab", str(path), "-o", str(out), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["original_size"], found["output"]) == ("reduced", 9, str(out / "problem.yaml"))
    assert sorted(file.name for file in out.iterdir()) == [
        "conditions.tsv", "measurements.tsv", "model.xml", "observables.tsv", "parameters.tsv", "problem.yaml",
    ]  # fmt: skip
    request = ["reduce", "--petab", str(path), "-o", str(out), "--report", str(tmp_path / "page"), "-q"]
    assert run(request) == 0
    assert f"page: {tmp_path / 'page' / 'index.html'}" in capsys.readouterr().out
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "Simulated by libRoadRunner, the observables of both problems agree to" in page
    assert "The two models were not simulated" not in page
    assert run(["reduce", "--petab", str(path), "-o", str(out), "--no-check", "-q"]) == 0  # what we wrote is replaced
    assert run(["reduce", "--petab", str(path), "-o", str(path.parent), "-q"]) == 2
    assert run(["reduce", "--petab", str(path), "-q"]) == 2
    assert run(["reduce", str(path.parent / "the_model.xml"), "--petab", str(path), "-o", str(out), "-q"]) == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "conditions.tsv").write_text("mine\n")
    assert run(["reduce", "--petab", str(path), "-o", str(tmp_path / "other"), "-q"]) == 2
    assert (tmp_path / "other" / "conditions.tsv").read_text() == "mine\n"


@pytest.mark.parametrize("content", [b"PK\x03\x04x", b"<a b='c: d'>: e", b"a\xff: b", b"x", b"- 1", b"", b"a: b"])
def test_what_is_no_problem_at_all_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / os.fsdecode(b"a\xff.yaml")
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        sbmlump.reduce_petab(path, tmp_path / "out")
    assert [one.code for one in caught.value.reasons] == ["petab-invalid"]
