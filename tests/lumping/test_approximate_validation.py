"""What is measured and estimated: written and projected equations, other parameters, lifts that are far off."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_files import holds_in_files

from sbmlump.dynamics import (
    Budget,
    Ensemble,
    ReductionProblem,
    Sample,
    WorkLimitError,
    integrate,
    pose,
    run_ensemble,
    trajectories,
    within_bounds,
    without_poles,
)
from sbmlump.errors import LimitError
from sbmlump.examples import multisite, network_from_reactions
from sbmlump.methods import (
    Affine,
    Approximate,
    UnreachableError,
    Validation,
    WrittenSystem,
    closer_lift,
    conserved_totals,
    constants_of,
    estimate_errors,
    validate,
    write_projection,
)
from sbmlump.model import Constant, ErrorEstimate, Event, ExactProof, Graph, OdeSystem, parse_observables
from sbmlump.sbml import write_reduction


def chain(event: bool = False) -> OdeSystem:
    """A → B ⇌ C → D →, with a pulse of A and C at time 2 if asked for."""
    base = network_from_reactions(
        [("A -> B", 1), ("B -> C", 2), ("C -> B", 1), ("C -> D", 3), ("D ->", 1)],
        initial={"A": Fraction(1), "B": Fraction(1, 2), "C": Fraction(0), "D": Fraction(1, 4)},
    )
    if not event:
        return base
    g = base.graph
    trigger = g.call("gt", (g.time(), g.number(2)))
    return replace(base, events=(Event(trigger, (("A", g.number(3)), ("C", g.number(1))), id="pulse"),))


def dropped(system: OdeSystem) -> tuple[ReductionProblem, Affine, WrittenSystem, Sample]:
    """D and C kept, A and B lifted by a poor guess: B = C/2."""
    problem = pose(system, parse_observables(system, ["D"]))
    (sample,) = run_ensemble(problem, 6.0, (Ensemble(4),), 0)
    place = {name: j for j, name in enumerate(problem.names)}
    matrix, lift = np.zeros((2, 4)), np.zeros((4, 2))
    matrix[0, place["D"]] = matrix[1, place["C"]] = 1.0
    lift[place["D"], 0] = lift[place["C"], 1] = 1.0
    lift[place["B"], 1] = 0.5
    one = Affine(matrix, lift, np.zeros((4, 1)), "poor")
    return problem, one, write_projection(problem, one, np.empty((0, 4)), sample.scale), sample


def checked(system: OdeSystem, change: str = "") -> Validation:
    problem, one, written, sample = dropped(system)
    small = written.system
    if change == "rate":
        g = small.graph
        small = replace(small, rhs=(g.add((small.rhs[0], g.decimal(0.001))), *small.rhs[1:]))
    if change == "event":
        (event,) = small.events
        g = small.graph
        small = replace(small, events=(replace(event, assignments=(("D", g.number(1)),)),))
    return validate(problem, one, replace(written, system=small), np.empty((0, 4)), sample)


@pytest.mark.parametrize("event", [False, True])
def test_the_projection_is_followed_where_the_written_equations_agree(event: bool) -> None:
    found = checked(chain(event))
    assert "agree" in found.how
    assert not found.why
    assert np.isfinite(found.errors).all()


@pytest.mark.parametrize(("event", "change"), [(False, "rate"), (True, "event")])
def test_written_equations_that_differ_are_followed_themselves(event: bool, change: str) -> None:
    """What counts is what will be in the file, not what was meant to be."""
    meant, told = checked(chain(event)), checked(chain(event), change)
    assert told.how == "the written equations"
    assert np.abs(told.errors - meant.errors).max() > 1e-4


def test_the_two_ways_to_follow_a_reduction_give_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    projected = checked(chain(True))
    monkeypatch.setattr("sbmlump.methods.approximate.validate._Told.agrees", lambda *_: False)
    written = checked(chain(True))
    assert written.how == "the written equations"
    assert written.errors == pytest.approx(projected.errors, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(("wanted", "claimed"), [(1e-2, 5e-6), (4e-7, 4e-7)])
def test_no_claim_is_smaller_than_two_integrations_may_differ(wanted: float, claimed: float) -> None:
    """Decisions are made by errors as they were measured: what is wanted exactly is still found."""
    names = "ABCDEF"
    fast = network_from_reactions(
        [(f"{a} -> {b}", rate) for a, b, rate in zip(names, names[1:], (1, 5, 9, 13, 17), strict=False)],
        initial=dict.fromkeys(names, Fraction(1)) | {"A": Fraction(3)},
    )
    found = Approximate(max_error=wanted, until=2.0).reduce(fast, parse_observables(fast, ["E"]))
    assert found.system.size < 6
    certificate = found.certificate
    assert isinstance(certificate, ErrorEstimate)
    assert certificate.fresh is not None
    assert certificate.worst_error == certificate.fresh.worst == pytest.approx(claimed)
    assert max(certificate.details["validation_errors"]) < claimed


def test_perturbed_parameters_reach_the_reduction_that_is_measured() -> None:
    """The identity has no error on runs with other parameters: they are those of the written model too."""
    system = chain()
    problem = pose(system, parse_observables(system, ["D"]))
    (sample,) = run_ensemble(problem, 6.0, (Ensemble(4, parameters=0.3),), 0)
    one = Affine(
        np.eye(4)[[list(problem.names).index("D"), *(j for j in range(4) if problem.names[j] != "D")]],
        np.empty(0),
        np.zeros((4, 1)),
        "identity",
    )
    one = replace(one, lift=one.matrix.T)
    written = write_projection(problem, one, np.empty((0, 4)), sample.scale, keep_parameters=True)
    found = validate(problem, one, written, np.empty((0, 4)), sample)
    assert "agree" in found.how
    assert found.worst < 1e-5


def test_the_estimate_holds_where_lifted_states_are_far_off() -> None:
    """ẋ = y − x², ẏ = −y²·50 + …: y is lifted to a constant that is wrong by its own size, x hardly notices."""
    g = Graph()
    x, y = g.symbol("x"), g.symbol("y")
    rates = (
        g.sub(g.mul((g.decimal(0.2), y)), x),
        g.sub(g.number(1), g.mul((g.decimal(5.0), y, y))),
    )
    system = OdeSystem(g, ("x", "y"), (g.number(1), g.number(1)), rates)
    problem = pose(system, parse_observables(system, ["x"]))
    (sample,) = run_ensemble(problem, 4.0, (Ensemble(6),), 0)
    one = Affine(np.array([[1.0, 0.0]]), np.array([[1.0], [0.0]]), np.array([[0.0], [0.9]]), "constant y")
    totals = conserved_totals(problem, sample.scale)
    assert not len(totals)
    written = write_projection(problem, one, totals, sample.scale)
    found = validate(problem, one, written, totals, sample)
    constants = constants_of(totals, sample.scale, sample.starts)
    estimates = estimate_errors(problem, one, constants, sample, found.reduced, len(sample.states))
    assert found.errors.min() > 0.02
    assert estimates == pytest.approx(found.errors, rel=0.03)


def test_the_estimate_follows_a_jump() -> None:
    problem, one, written, sample = dropped(chain(True))
    found = validate(problem, one, written, np.empty((0, 4)), sample)
    constants = constants_of(np.empty((0, 4)), sample.scale, sample.starts)
    estimates = estimate_errors(problem, one, constants, sample, found.reduced, len(sample.states))
    assert found.errors.min() > 0.1  # the pulse goes into a state that is not there
    assert estimates == pytest.approx(found.errors, rel=0.1)


def test_work_is_counted_the_same_way_every_time() -> None:
    system = multisite(2, noise=Fraction(1, 20), seed=3)
    observables = parse_observables(system, ["kinase"])
    spent = []
    for _ in range(2):
        found = Approximate(until=2.0, max_error=0.01, ensemble=4).reduce(system, observables)
        assert isinstance(found.certificate, ErrorEstimate)
        assert not found.certificate.details["work_used_up"]
        spent.append(found.certificate.details["work"])
    assert spent[0] == spent[1] > 0


def test_a_search_that_may_do_little_ends_with_the_best_so_far() -> None:
    system = multisite(2, noise=Fraction(1, 20), seed=3)
    observables = parse_observables(system, ["kinase"])
    whole = Approximate(until=2.0, max_error=1e-5, ensemble=4).reduce(system, observables)
    assert isinstance(whole.certificate, ErrorEstimate)
    work = whole.certificate.details["work"] / 200
    little = Approximate(until=2.0, max_error=1e-5, ensemble=4, work=work)
    found = little.reduce(system, observables)
    assert isinstance(found.certificate, ExactProof)
    (reason,) = (reason for reason in found.reasons if reason.code == "exact-instead")
    assert "--work" in reason.message
    assert "exhausted" in reason.message
    with pytest.raises(UnreachableError) as caught:
        replace(little, max_size=whole.system.size).reduce(system, observables)
    best = caught.value.reduction
    assert caught.value.exit_code == 4
    assert [reason.code for reason in caught.value.reasons] == ["max-error-not-reached"]
    assert best is not None
    assert isinstance(best.certificate, ErrorEstimate)
    assert best.certificate.details["work_used_up"] is True
    assert best.certificate.fresh is not None
    assert best.certificate.fresh.above > 5


def test_a_simulation_that_takes_all_the_work_says_so() -> None:
    system = multisite(2, noise=Fraction(1, 20), seed=3)
    found = Approximate(until=2.0, work=1e-6).reduce(system, parse_observables(system, ["kinase"]))
    assert isinstance(found.certificate, ExactProof)
    assert any("units of work" in reason.message for reason in found.reasons if reason.code == "exact-instead")
    with pytest.raises(LimitError) as caught:
        Approximate(until=2.0, work=1e-6, max_size=2).reduce(system, parse_observables(system, ["kinase"]))
    assert [reason.code for reason in caught.value.reasons] == ["work-limit"]


def test_integration_stops_at_the_limit() -> None:
    system = chain()
    field = pose(system, parse_observables(system, ["D"])).vector_field()
    times = np.linspace(0.0, 6.0, 20)
    budget = Budget()
    integrate(field, system.initial_state()[None], times, budget=budget)
    assert budget.spent > 0
    with pytest.raises(WorkLimitError):
        integrate(field, system.initial_state()[None], times, budget=Budget(budget.spent / 2))


def test_a_state_behind_a_zero_constant_does_not_stay_in_the_equations() -> None:
    """k·W with k = 0: W does not influence anything, so it must not be mentioned either."""
    g = Graph()
    a, b, w, k, m, n = (g.symbol(name) for name in ("a", "b", "w", "k", "m", "n"))
    rates = (
        g.add((g.neg(a), g.mul((k, w)))),
        g.add((g.sub(a, b), g.mul((g.sub(m, n), w)))),
        g.neg(w),
    )
    constants = (Constant("k", g.number(0)), Constant("m", g.number(2)), Constant("n", g.number(2)))
    system = OdeSystem(g, ("a", "b", "w"), (g.number(1), g.number(0), g.number(5)), rates, constants)
    problem = pose(system, parse_observables(system, ["b"]))
    assert problem.names == ("a", "b")
    assert "w" not in g.symbols(problem.rhs())
    observables = parse_observables(system, ["b"])
    for parameters in (0.0, 0.1):
        found = Approximate(until=3.0, max_error=1e-4, ensemble=4, perturb_parameters=parameters).reduce(
            system, observables
        )
        mentioned = [*found.system.rhs, *(one.value for one in found.system.assigned)]
        assert "w" not in g.symbols(mentioned)


def saturating() -> OdeSystem:
    """A ring of saturating steps with small constants."""
    g = Graph()
    names = tuple(f"x{i}" for i in range(8))
    symbols = [g.symbol(name) for name in names]
    fluxes = [g.div(s, g.add((g.decimal(0.05 + 0.02 * i), s))) for i, s in enumerate(symbols)]
    rhs = tuple(g.sub(fluxes[i - 1], g.mul((g.number(1 + i), fluxes[i]))) for i in range(8))
    start = tuple(g.decimal(1.0 if i == 0 else 0.01) for i in range(8))
    return OdeSystem(g, names, start, rhs, id="saturating")


@pytest.mark.parametrize("size", [None, 3])
def test_what_is_given_comes_through_with_short_steps_too(size: int | None) -> None:
    """Saturating steps: denominators at lifted points have poles that a long step may pass over."""
    system = saturating()
    found = Approximate(until=5.0, max_size=size).reduce(system, parse_observables(system, ["x4"]))
    times = np.linspace(0.0, 5.0, 51)
    paths = trajectories(found.system, found.system.initial_state()[None], times, relative=1e-10)
    assert np.isfinite(paths).all()


def test_denominators_at_lifted_points_never_pass_through_zero(tmp_path: Path) -> None:
    """Three states lift some of eight below −K: the file keeps K + x away from 0 there, and libRoadRunner agrees."""
    system = saturating()
    found = Approximate(until=5.0, max_size=3).reduce(system, parse_observables(system, ["x7"]))
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.worst_error < 0.01
    assert b"<max/>" in holds_in_files(found, tmp_path, 5.0)
    # where no run comes near, the formulas stay as they are
    other = Approximate(until=5.0, max_size=3).reduce(system, parse_observables(system, ["x4"]))
    assert b"<max/>" not in write_reduction(other)


def test_bounds_change_nothing_along_the_runs() -> None:
    """x falls from 1 to e⁻³ and stays positive, y changes its sign, z is negative."""
    g = Graph()
    x, y, z, k = (g.symbol(name) for name in ("x", "y", "z", "k"))
    rhs = (
        g.neg(g.div(x, g.add((k, x)))),
        g.sub(g.div(g.number(1), g.sub(y, g.number(7))), g.pow(x, g.number(-2))),
        g.div(z, g.sub(z, x)),
    )
    start = (g.number(1), g.number(2), g.number(-1))
    system = OdeSystem(g, ("x", "y", "z"), start, rhs, (Constant("k", g.decimal(0.5)),))
    problem = pose(system, parse_observables(system, ["x", "y", "z"]))
    (sample,) = run_ensemble(problem, 1.0, (Ensemble(5),), 0)
    kept = without_poles(problem, [sample], 0.1)
    signs = {g.add((k, x)): 1, g.sub(y, g.number(7)): -1, x: 1, g.sub(z, x): -1}
    assert {node: np.sign(bound) for node, bound in kept.bounds.items()} == signs
    points = sample.states.reshape(-1, 3)
    run = np.zeros(len(points), dtype=np.int64)
    assert np.array_equal(kept.vector_field().rates(points, run), problem.vector_field().rates(points, run))
    assert within_bounds(kept, sample, sample.states, 2.0).all()
    # beyond them nothing is infinite, and it is told
    beyond = sample.states.copy()
    beyond[2, 5, 0] = -0.5
    assert within_bounds(kept, sample, beyond, 2.0).tolist() == [True, True, False, True, True, True]
    assert np.isfinite(kept.vector_field().rates(beyond[2, 5:6], run[:1])).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 2))
def test_a_closer_lift_is_a_projection(seed: int, k: int, totals: int) -> None:
    rng = np.random.default_rng(seed)
    n, states = 5, rng.uniform(0.1, 2.0, (6, 20, 5))
    matrix = rng.uniform(-1, 1, (k, n))
    lift = np.linalg.pinv(matrix)
    constants = np.concatenate([np.ones((6, 1)), rng.uniform(1, 2, (6, totals))], axis=1)
    offset = (np.eye(n) - lift @ matrix) @ rng.uniform(-1, 1, (n, 1 + totals))
    one = closer_lift(Affine(matrix, lift, offset, "given"), states, constants, np.full(n, 2.0))
    assert np.allclose(one.matrix @ one.lift, np.eye(k), atol=1e-7)
    assert np.allclose(one.matrix @ one.offset, 0.0, atol=1e-7)
    assert np.array_equal(one.matrix, matrix)


def test_a_closer_lift_keeps_small_states_above_zero() -> None:
    """One that grows from a hundredth of its scale, by a curve that is no line in what is kept."""
    times = np.linspace(0, 3, 200)
    paths = []
    for factor in (0.9, 1.0, 1.1):
        kept = factor * np.exp(-times)
        paths.append(np.stack([kept, 0.01 * factor + (1 - np.exp(-times)) ** 3], axis=1))
    states = np.array(paths)
    flat = states.reshape(-1, 2)
    line = np.linalg.lstsq(np.stack([flat[:, 0], np.ones(len(flat))], axis=1), flat[:, 1], rcond=None)[0]
    one = Affine(np.array([[1.0, 0.0]]), np.array([[1.0], [line[0]]]), np.array([[0.0], [line[1]]]), "least squares")
    constants = np.ones((3, 1))
    closer = closer_lift(one, states, constants, states.max(axis=(0, 1)))
    assert one.lifted(states[:, :, :1], constants).min() < -0.1
    assert closer.lifted(states[:, :, :1], constants).min() > -0.03


def test_what_is_not_followed_to_the_end_in_the_search_is_given_as_one_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a size and an error asked for, the best is attached though the work ended while it was decided upon."""
    from sbmlump.methods.approximate import run

    whole = run.validate

    def ends(problem: ReductionProblem, *arguments: object, **options: object) -> Validation:
        sample, budget = arguments[3], arguments[4]
        if len(sample.states) >= 100 and budget.limit < math.inf:
            budget.limit = 0.0
            budget.add(1.0)
        return whole(problem, *arguments, **options)

    monkeypatch.setattr(run, "validate", ends)
    system = chain()
    method = Approximate(until=4.0, ensemble=4, max_size=1, max_error=0.99)
    with pytest.raises(UnreachableError) as refused:
        method.reduce(system, parse_observables(system, ["D"]))
    reduction = refused.value.reduction
    assert reduction is not None
    assert isinstance(reduction.certificate, ErrorEstimate)
    assert reduction.certificate.worst_error == math.inf
