"""Refinement of projections: its derivative, its constraints, and what tournament and training make of candidates."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from lumping_cases import assert_derivative

from sbmlump.dynamics import Budget, WorkLimitError, joined_samples
from sbmlump.examples import multisite, network_from_reactions
from sbmlump.methods import Approximate, Descent, Job, Proposal, Ranked, hardest_first, largest_but_few
from sbmlump.model import OdeSystem, parse_observables


def cascade() -> OdeSystem:
    """A saturating cascade of five states in which nothing lumps exactly."""
    return network_from_reactions(
        [("A -> B", 1), ("B -> C", Fraction(3, 2)), ("C + D -> E", 2), ("E -> C + D", Fraction(1, 2)), ("C -> A", 1)],
        initial={"A": Fraction(2), "B": Fraction(0), "C": Fraction(1, 2), "D": Fraction(1), "E": Fraction(0)},
    )


def job(system: OdeSystem, observe: str, **options: object) -> Job:
    method = Approximate(**{"until": 2.0, "ensemble": 4, **options})
    return Job(system, parse_observables(system, [observe]), method, lambda _: None)


def test_the_derivative_is_that_of_the_errors() -> None:
    search = job(cascade(), "E").candidates.search
    assert_derivative(Descent(search, 6, runs=3), search.candidates(2)[0], [40, 90], 4, seed=0)


def test_a_change_keeps_the_constraints() -> None:
    search = job(multisite(2, noise=Fraction(1, 20), seed=3), "kinase").candidates.search
    start = search.candidates(3)[0]
    descent = Descent(search, 6, runs=2)
    state = descent.states_of([start])[0]
    changes = descent.changes(state)
    assert len(changes) > 1
    for one in [moved for moved in (descent.moved(start, change) for change in changes) if moved is not None]:
        assert one.matrix @ one.lift == pytest.approx(np.eye(3), abs=1e-8)
        assert one.matrix @ one.offset == pytest.approx(np.zeros((3, one.offset.shape[1])), abs=1e-8)
        assert one.matrix[0] == pytest.approx(start.matrix[0], abs=1e-15)


def test_refined_candidates_are_better_where_it_counts() -> None:
    candidates = job(cascade(), "E", ensemble=24).candidates
    before = candidates.search.ranked(2)[0].worst
    (one, worst), *_ = candidates.improved(2)
    assert one.label.endswith("refined")
    assert worst < 0.7 * before
    *_, (last, _) = candidates.thorough(2)
    further = candidates.training.further
    assert further is not None
    judges = candidates.search.on(further.judges)
    rows = np.arange(len(judges.training.states))
    unrefined, refined = judges.errors([candidates.search.ranked(2)[0].map, last], rows).max(axis=1)
    assert refined < 0.7 * unrefined


def test_entrants_are_of_each_kind_of_offset() -> None:
    search = job(cascade(), "E").candidates.search
    entrants = search.entrants(2, 6)
    assert entrants[0] is search.ranked(2)[0].map
    kinds = [one.label.partition(",")[0] for one in entrants]
    assert len(set(kinds[: len(set(kinds))])) == len(set(kinds)) > 1


def test_what_is_trained_on_takes_no_part_in_the_validation() -> None:
    runs = job(cascade(), "E").runs
    further = runs.further(Budget())
    assert len(further.training.states) == 1 + 4 + 72
    assert further.training.states[:5] == pytest.approx(runs.training.states, rel=1e-6, abs=1e-7)
    start = runs.problem.start[0]
    pool, judges, checks = (sample.starts[:, 0] / start for sample in (further.pool, further.judges, runs.checking))
    assert not (np.abs(pool[:, None] - checks) < 1e-9).any()
    assert not (np.abs(judges[:, None] - checks) < 1e-9).any()
    assert 0.2 < np.abs(pool - 1).max() <= 0.25
    assert np.abs(judges - 1).max() <= 0.2


def test_the_hardest_initial_values_are_joined_to_the_others() -> None:
    further = job(cascade(), "E").runs.further(Budget())
    both = joined_samples(further.training, further.pool, np.array([7, 3]))
    assert len(both.states) == len(further.training.states) + 2
    assert (both.starts[-2:] == further.pool.starts[[7, 3]]).all()
    assert (both.numbers[-2:] == further.pool.numbers[[7, 3]]).all()


def test_decompositions_of_more_runs_are_ranked_by_those_that_are_hardest_first() -> None:
    candidates = job(cascade(), "E").candidates
    before = candidates.search
    best = before.ranked(2)[0].map
    assert candidates.widened(2)
    after = candidates.search
    sample = after.training
    assert len(sample.states) == 1 + 4 + 72
    assert (sample.scale == before.training.scale).all()
    assert sample.starts[0] == pytest.approx(before.training.starts[0])
    errors = before.on(sample).errors([best], np.arange(len(sample.states)))[0]
    order = hardest_first(errors, 25)
    assert errors[order] == pytest.approx(errors, rel=1e-3)  # they are in that order already
    assert after.ranked(2)[0].worst < largest_but_few(errors)
    assert candidates.training.search is after
    (refined, told), *_ = candidates.improved(2)
    both = after.errors([refined, after.ranked(2)[0].map], np.arange(len(sample.states)))
    assert told == largest_but_few(both[0]) < largest_but_few(both[1])
    assert not candidates.widened(2)  # there are no more


def test_more_runs_are_not_simulated_where_they_would_cost_more_than_is_left() -> None:
    candidates = job(cascade(), "E").candidates
    budget = candidates.search.budget
    spent = budget.spent
    budget.limit = 2.0 * spent
    assert not candidates.widened(2)
    assert budget.spent == spent


def test_hard_runs_come_first_and_the_few_that_do_not_count_after_those_that_are_compared() -> None:
    errors = np.concatenate([[5.0], np.linspace(0.01, 1.0, 95), [np.inf]])
    order = hardest_first(errors, 25)
    assert sorted(order.tolist()) == list(range(97))
    assert order[:4].tolist() == [0, 96, 93, 92]  # the nominal run, what fails, the third worst
    assert sorted(order[25:27].tolist()) == [94, 95]
    assert (np.diff(errors[order[27:]]) < 0).all()


def test_of_many_runs_the_few_worst_ones_do_not_count() -> None:
    one = job(cascade(), "E").candidates.search.candidates(2)[0]
    errors = np.linspace(1.0, 0.01, 100)
    assert Ranked(one, errors).worst == errors[2]
    assert Ranked(one, errors[:39]).worst == 1.0
    assert Ranked(one, np.append(errors, np.inf)).worst == np.inf


def test_what_was_learnt_when_the_work_is_used_up_is_proposed() -> None:
    """A training that is cut short after some steps gives what it reached, with its largest error."""
    whole = job(cascade(), "E", ensemble=24).candidates
    whole.improved(2)
    before = whole.search.budget.spent
    (one, worst) = next(iter(whole.relearned(2, 0.01, 0.0)))
    spent = whole.search.budget.spent - before
    found: list[list[Proposal]] = []
    for share in (0.02, 0.6):
        cut = job(cascade(), "E", ensemble=24).candidates
        cut.improved(2)
        assert cut.training.further is not None  # these runs are not what is cut short
        cut.search.budget.limit = cut.search.budget.spent + share * spent
        found.append([])
        with pytest.raises(WorkLimitError):
            found[-1].extend(cut.relearned(2, 0.01, 0.0))  # what came before the error stays
    assert found[0] == []
    ((part, error),) = found[1]
    assert part.size == one.size
    assert 0 < worst <= error * 1.01
    further = whole.training.further
    assert further is not None
    again = whole.search.on(further.training).errors([part], np.arange(len(further.training.states))).max()
    assert error == pytest.approx(again, rel=0.05)


def test_a_tournament_without_a_chance_ends_before_its_steps() -> None:
    candidates = job(cascade(), "E", ensemble=24).candidates
    worst = candidates.search.ranked(1)[0].worst
    before = candidates.search.budget.spent
    assert candidates.improved(1, worst / 100) == []
    hopeless = candidates.search.budget.spent - before
    assert candidates.improved(1, worst / 3) != []
    assert candidates.search.budget.spent - before > 5 * hopeless


def test_a_lift_of_degree_two_does_not_repeat_a_tournament_without_a_chance() -> None:
    candidates = job(cascade(), "E", ensemble=24).candidates
    wanted = candidates.search.ranked(1)[0].worst / 100
    assert candidates.improved(1, wanted) == []
    before = candidates.search.budget.spent
    assert list(candidates.curved(1, wanted)) == []
    assert candidates.search.budget.spent == before
