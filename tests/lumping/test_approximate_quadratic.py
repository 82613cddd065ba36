"""Lifts of degree two: their derivatives, their rescaling, what they reach, and what is written."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from lumping_cases import assert_derivative
from numpy.typing import NDArray

from sbmlump.dynamics import integrate, pose
from sbmlump.examples import michaelis_menten, network_from_reactions
from sbmlump.methods import Approximate, Descent, Job, QuadraticLift, lifted_field, with_products
from sbmlump.model import ErrorEstimate, OdeSystem, ReducedSystem, parse_observables
from sbmlump.sbml import write_reduction


def curved() -> OdeSystem:
    """Z is drawn to the square of X within a hundredth of a unit of time: one state, with a curved lift."""
    return network_from_reactions([("2 X -> 2 X + Z", 100), ("Z ->", 100), ("X + Z -> Z", 1)], initial={"X": 2, "Z": 4})


def lift(system: OdeSystem, observe: str, size: int, seed: int = 0) -> tuple[Job, QuadraticLift]:
    """A lift with products whose columns are drawn, brought onto the constraint."""
    job = Job(system, parse_observables(system, [observe]), Approximate(until=2.0, ensemble=4), lambda _: None)
    search = job.candidates.search
    start = with_products(search.candidates(size)[0], search.training.scale, 60)
    rng = np.random.default_rng(seed)
    free = 0.02 * rng.standard_normal(start.columns().shape) * search.training.scale[:, None]
    free -= start.lift @ (start.matrix @ free)
    first = start.offset.shape[1] - len(start.products)
    return job, replace(start, offset=np.concatenate([start.offset[:, :first], free], axis=1))


@pytest.fixture(scope="module")
def drawn() -> tuple[Job, QuadraticLift]:
    return lift(michaelis_menten(), "P", 2)


def points(job: Job, one: QuadraticLift) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    training = job.runs.training
    return training.states[:3, ::20] @ one.matrix.T, job.candidates.search.constants[:3]


def test_slopes_are_those_of_the_lifted_point(drawn: tuple[Job, QuadraticLift]) -> None:
    job, one = drawn
    y, w = points(job, one)
    assert w.shape[1] == 3  # two totals
    assert any(right >= one.size for _, right in one.products)
    for i in range(one.size):
        h = 1e-5 * np.eye(one.size)[i]
        wanted = (one.lifted(y + h, w) - one.lifted(y - h, w)) / 2e-5
        assert one.slopes(y, w)[..., i] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_other_units_lift_to_the_same_point(drawn: tuple[Job, QuadraticLift]) -> None:
    job, one = drawn
    y, w = points(job, one)
    sizes = np.array([1.0, 0.37])
    assert one.rescaled(sizes).lifted(y / sizes, w) == pytest.approx(one.lifted(y, w), rel=1e-12)


def test_a_product_that_is_left_out_leaves_its_mean(drawn: tuple[Job, QuadraticLift]) -> None:
    job, one = drawn
    y, w = points(job, one)
    means = one.features(y, w).mean(axis=(0, 1))[-len(one.products) :]
    less = one.zeroed([1], means)
    assert less.lifted(y, w).mean(axis=(0, 1)) == pytest.approx(one.lifted(y, w).mean(axis=(0, 1)), rel=1e-12)
    assert less.without([1]).lifted(y, w) == pytest.approx(less.lifted(y, w), rel=1e-14)
    assert len(less.without([1]).products) == len(one.products) - 1


def test_the_field_is_the_projected_one(drawn: tuple[Job, QuadraticLift]) -> None:
    job, one = drawn
    training, constants = job.runs.training, job.candidates.search.constants
    field = lifted_field(training.vector_field, [one, one.rescaled(np.array([1.0, 2.0]))], constants, training.numbers)
    run = np.arange(2 * len(constants))
    y = np.concatenate([training.states[:, 50] @ one.matrix.T] * 2)
    y[len(constants) :, 1] /= 2.0
    rates = field.rates(y, run)
    x = one.lifted(y[: len(constants), None], constants)[:, 0]
    assert rates[: len(constants)] == pytest.approx(training.vector_field.rates(x, training.numbers) @ one.matrix.T)
    assert rates[len(constants) :] * [1.0, 2.0] == pytest.approx(rates[: len(constants)], rel=1e-9, abs=1e-12)
    jacobians = field.jacobians(y, run)
    for i in range(2):
        h = 1e-6 * np.eye(2)[i]
        wanted = (field.rates(y + h, run) - field.rates(y - h, run)) / 2e-6
        assert jacobians[..., i] == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def test_the_derivative_is_that_of_the_errors(drawn: tuple[Job, QuadraticLift]) -> None:
    job, one = drawn
    assert_derivative(Descent(job.candidates.search, 6, runs=3), one, [60, 120], 3, seed=1)


def reduced(algorithm: str) -> ReducedSystem:
    system = curved()
    options = Approximate(algorithm=algorithm, until=2.0, max_size=1, ensemble=24)
    return options.reduce(system, parse_observables(system, ["X"]))


@pytest.fixture(scope="module")
def small() -> ReducedSystem:
    return reduced("quadratic")


def test_a_curved_surface_needs_fewer_states(small: ReducedSystem) -> None:
    assert small.system.size == 1
    assert isinstance(small.certificate, ErrorEstimate)
    assert small.certificate.details["lift"] == "quadratic"
    flat = reduced("balanced").certificate
    assert isinstance(flat, ErrorEstimate)
    assert small.certificate.worst_error < 0.5 * flat.worst_error


def test_what_is_written_behaves_so_elsewhere(small: ReducedSystem, tmp_path: Path) -> None:
    """From another start, set by the constants of the file, in libRoadRunner."""
    roadrunner = pytest.importorskip("roadrunner")
    assert isinstance(small.certificate, ErrorEstimate)
    start = {"X": Fraction(9, 5), "Z": Fraction(18, 5)}
    known = {c.id for c in small.system.constants}
    changed = {f"{name}_at_start": value for name, value in start.items() if f"{name}_at_start" in known}
    assert changed
    path = tmp_path / "small.xml"
    path.write_bytes(write_reduction(replace(small, system=small.system.with_values(changed))))
    runner = roadrunner.RoadRunner(str(path))
    got = np.asarray(runner.simulate(0, 2, 41, ["time", "X"]))
    problem = pose(curved(), parse_observables(curved(), ["X"]))
    begin = np.array([[float(start[name]) for name in problem.names]])
    wanted = integrate(problem.vector_field(), begin, got[:, 0]).states[0, :, problem.names.index("X")]
    assert np.abs(got[:, 1] - wanted).max() <= 1.5 * small.certificate.worst_error * np.abs(wanted).max()
