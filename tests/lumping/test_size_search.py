"""The search for a size: which sizes it looks at, what it gives, and how it ends when the work is used up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from sbmlump.dynamics import Budget, WorkLimitError
from sbmlump.errors import Reason
from sbmlump.methods import Affine, Proposal, best_up_to, first_within, sizes, smallest_within


@dataclass(frozen=True)
class Told:
    """A measured reduction."""

    size: int
    worst: float
    label: str

    def keeps(self, wanted: float) -> bool:
        return self.worst <= wanted


@dataclass
class Table:
    """A model whose errors are known: by size, on the training runs and (where they differ) on the validation runs."""

    plain: Mapping[int, float]
    refined: Mapping[int, float] = field(default_factory=dict)
    relearnt: Mapping[int, float] = field(default_factory=dict)
    deep: Mapping[int, float] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    close: Mapping[int, float] = field(default_factory=dict)
    wide: Mapping[int, float] = field(default_factory=dict)
    kind: str = "plain"
    true: Mapping[tuple[str, int], float] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    visits: list[tuple[str, int]] = field(default_factory=list)

    def _made(self, kind: str, table: Mapping[int, float], size: int) -> list[Proposal]:
        self.visits.append((kind, size))
        self.budget.add(1e9)
        if not math.isfinite(table.get(size, math.inf)):
            return []
        shape = np.zeros((size, 1))
        return [(Affine(shape, shape.T, np.zeros((1, 1)), kind), table[size])]

    def proposals(self, size: int) -> Iterator[Proposal]:
        return iter(self._made(self.kind, self.plain, size))

    def widened(self, size: int) -> bool:
        if not self.wide:
            return False
        self.visits.append(("widened", size))
        self.kind, self.plain, self.wide = "wide", self.wide, {}
        return True

    def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
        return self._made("refined", self.refined, size)

    def relearned(self, size: int, wanted: float, near: float) -> Iterator[Proposal]:
        return iter(self._made("relearnt", self.relearnt, size))

    def thorough(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        return iter(self._made("deep", self.deep, size))

    def curved(self, size: int, wanted: float | None = None) -> Iterator[Proposal]:
        return iter(self._made("curved", self.curve, size) if self.curve else [])

    def closer(self, one: Affine) -> Iterator[Proposal]:
        return iter(self._made("closer", self.close, one.size) if self.close else [])

    def measured(self, one: Affine, training_worst: float) -> Told:
        worst = self.true.get((one.label, one.size), training_worst)
        return Told(one.size, worst, one.label)


def test_sizes_one_by_one_then_in_doubling_steps() -> None:
    assert sizes(1, 20) == [1, 2, 3, 4, 5, 6, 8, 12, 20]
    assert sizes(2, 9) == [2, 3, 4, 5, 6, 7, 9]
    assert sizes(3, 3) == [3]
    assert sizes(3, 2) == []


def test_the_gap_of_the_last_step_is_filled() -> None:
    table = Table({n: 1.0 if n < 10 else 0.001 for n in range(1, 30)})
    found = smallest_within(table, table, 0.01, 1, 29)
    assert found.accepted
    assert found.best is not None
    assert found.best.size == 10
    assert [n for kind, n in table.visits if kind == "plain"] == [1, 2, 3, 4, 5, 6, 8, 12, 9, 10]


def test_a_wide_gap_is_halved() -> None:
    table = Table({n: 1.0 if n < 40 else 0.001 for n in range(1, 70)})
    found = smallest_within(table, table, 0.01, 1, 68)
    assert found.best is not None
    assert found.best.size == 40
    assert len([n for kind, n in table.visits if kind == "plain"]) < 25


def test_refinement_goes_down_and_over_one_size_that_fails() -> None:
    table = Table(
        {n: 1.0 if n < 6 else 0.005 for n in range(1, 20)}, refined={5: 0.004, 4: 0.5, 3: 0.004, 2: 0.9, 1: 0.9}
    )
    found = smallest_within(table, table, 0.01, 1, 19)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (3, "refined")
    assert [n for kind, n in table.visits if kind == "refined"] == [5, 4, 3, 2, 1]


def test_sizes_that_came_near_below_a_gap_are_refined_too() -> None:
    plain = dict.fromkeys(range(1, 30), 1.0) | {4: 0.1, 12: 0.02} | dict.fromkeys(range(13, 30), 0.001)
    table = Table(plain, refined={12: 0.005, 4: 0.005})
    found = smallest_within(table, table, 0.01, 1, 29)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (4, "refined")
    assert [n for kind, n in table.visits if kind == "refined"] == [12, 11, 10, 4, 3, 2]


def test_refinement_goes_on_above_the_size_that_came_nearest() -> None:
    plain = dict.fromkeys(range(1, 30), math.inf) | {2: 0.15} | dict.fromkeys(range(12, 30), 0.001)
    table = Table(plain, refined={2: 0.05, 3: 0.5, 4: 0.005})
    found = smallest_within(table, table, 0.01, 1, 29)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (4, "refined")


@pytest.mark.parametrize(("wide", "size"), [({}, 12), ({5: 0.2, 8: 0.004}, 8)])
def test_what_holds_on_its_own_runs_only_is_made_anew_from_more(wide: Mapping[int, float], size: int) -> None:
    plain = dict.fromkeys(range(1, 30), 1.0) | {5: 0.004, 8: 0.002} | dict.fromkeys(range(12, 30), 0.001)
    table = Table(plain, true={("plain", 5): 0.3, ("plain", 8): 0.2}, wide=wide)
    found = smallest_within(table, table, 0.01, 1, 29)
    assert found.best is not None
    assert found.best.size == size
    made = [("widened", 5), ("wide", 5), ("wide", 8)]
    assert [visit for visit in table.visits if visit[0] in ("widened", "wide")] == (made if wide else [])


@pytest.mark.parametrize("wide", [{5: math.inf, 6: 1.0}, {5: 0.25}, {5: 1.0}])
def test_what_more_runs_do_not_help_is_refined_all_the_same(wide: Mapping[int, float]) -> None:
    plain = dict.fromkeys(range(1, 30), 1.0) | {5: 0.004} | dict.fromkeys(range(12, 30), 0.001)
    table = Table(plain, refined={5: 0.005}, true={("plain", 5): 0.3, ("wide", 5): 0.3}, wide=wide)
    found = smallest_within(table, table, 0.01, 1, 29)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (5, "refined")


def test_a_size_is_not_forgotten_where_the_work_ends_as_it_is_made_anew() -> None:
    plain = dict.fromkeys(range(1, 30), 1.0) | {5: 0.004} | dict.fromkeys(range(12, 30), 0.001)
    table = Table(plain, refined={5: 0.005}, true={("plain", 5): 0.3}, wide=plain)
    alone = dataclasses.replace(table, wide={}, visits=[], budget=Budget())
    smallest_within(alone, alone, 0.01, 1, 29)
    before = [kind for kind, _ in alone.visits].index("refined")  # units that the sizes alone take
    table.budget.limit = before + 0.5

    def rest() -> None:
        table.budget.limit = math.inf

    found = smallest_within(table, table, 0.01, 1, 29, rest=rest)
    assert found.best is not None
    assert ("widened", 5) in table.visits
    assert (found.best.size, found.best.label) == (5, "refined")


def test_thorough_refinement_tries_sizes_below_a_gap_too() -> None:
    plain = dict.fromkeys(range(1, 30), 1.0) | {4: 0.1, 12: 0.02} | dict.fromkeys(range(13, 30), 0.001)
    table = Table(plain, deep={12: 0.005, 4: 0.005, 13: 0.0005})
    found = smallest_within(table, table, 0.01, 1, 29, refine=lambda: table)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (4, "deep")


def test_refinement_stops_after_two_failures_in_turn() -> None:
    table = Table({n: 1.0 if n < 6 else 0.005 for n in range(1, 20)}, refined={5: 0.5, 4: 0.5, 3: 0.001})
    found = smallest_within(table, table, 0.01, 1, 19)
    assert found.best is not None
    assert found.best.size == 6
    assert ("refined", 3) not in table.visits


def test_promising_sizes_are_refined_from_below_then_others_that_come_near() -> None:
    table = Table({1: 1.0, 2: 0.09, 3: 0.05, 4: 0.05, 5: 0.005}, refined={2: 0.004, 1: 0.5})
    found = smallest_within(table, table, 0.01, 1, 8)
    assert found.best is not None
    assert found.best.size == 2
    assert [n for kind, n in table.visits if kind == "refined"] == [3, 4, 2, 1]


def test_from_a_promising_size_refinement_goes_on_downwards() -> None:
    plain = {1: 1.0, 2: 0.15, 3: 0.09, 4: 0.06, 5: 0.04, 6: 0.035, 7: 0.005, 8: 0.005}
    table = Table(plain, refined={5: 0.004, 4: 0.008, 3: 0.05, 2: 0.1})
    found = smallest_within(table, table, 0.01, 1, 9)
    assert found.best is not None
    assert found.best.size == 4
    assert [n for kind, n in table.visits if kind == "refined"] == [5, 4, 3, 2]


def test_what_does_not_hold_on_the_validation_runs_is_not_accepted() -> None:
    table = Table({1: 1.0, 2: 0.005, 3: 0.005}, true={("plain", 2): 0.2})
    found = smallest_within(table, table, 0.01, 1, 3)
    assert found.best is not None
    assert (found.best.size, found.best.worst) == (3, 0.005)


def test_refinement_learns_from_more_runs_where_it_has_to() -> None:
    table = Table({1: 1.0, 2: 0.05, 3: 0.005}, refined={2: 0.005}, relearnt={2: 0.006}, true={("refined", 2): 0.1})
    found = smallest_within(table, table, 0.01, 1, 3)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (2, "relearnt")


def test_an_error_that_is_not_reached_gives_what_came_closest() -> None:
    table = Table({1: 0.9, 2: 0.8, 3: 0.02, 4: 0.025}, refined={3: 0.018, 4: 0.3})
    found = smallest_within(table, table, 0.01, 1, 4)
    assert not found.accepted
    assert not found.used_up
    assert found.best is not None
    assert (found.best.size, found.best.worst) == (3, 0.018)


def test_what_was_never_measured_is_measured_at_the_end() -> None:
    table = Table({1: 0.9, 2: 0.5})
    found = smallest_within(table, table, 0.01, 1, 2)
    assert not found.accepted
    assert found.best == Told(2, 0.5, "plain")


def test_nothing_comes_through() -> None:
    found = smallest_within(Table({}), Table({}), 0.01, 1, 5)
    assert found.best is None
    assert not found.accepted


@pytest.mark.parametrize("limit", range(1, 12))
def test_used_up_work_ends_the_search_with_the_best_so_far(limit: int) -> None:
    """Size 6 is the seventh thing looked at; what is accepted by then is given, else what came closest."""
    errors = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.5, 6: 0.005}
    free = Table(errors, refined={5: 0.004})
    limited = Table(errors, refined={5: 0.004}, budget=Budget(limit))
    found = smallest_within(limited, free, 0.01, 1, 10)
    assert len(limited.visits) <= limit + 1
    assert found.best is not None
    if limit < 6:
        assert found.used_up
        assert not found.accepted
        assert found.best == Told(limit, errors[limit], "plain")
    else:
        assert found.accepted
        assert found.best.size == (6 if limit < 7 else 5)


def test_thorough_refinement_is_never_worse_than_the_default() -> None:
    plain = {n: 1.0 if n < 6 else 0.005 for n in range(1, 20)}
    refined = {5: 0.004, 4: 0.004, 3: 0.5, 2: 0.5}
    usual = smallest_within(Table(plain, refined), Table(plain, refined), 0.01, 1, 19).best
    worse = Table(plain, refined, deep={4: 0.9, 3: 0.5, 2: 0.9})
    better = Table(plain, refined, deep={4: 0.002, 3: 0.004, 2: 0.9})
    sharper = Table(plain, refined, deep={4: 0.002, 3: 0.5, 2: 0.9})
    assert usual is not None
    assert usual.size == 4
    assert smallest_within(worse, worse, 0.01, 1, 19, lambda: worse).best == usual
    assert smallest_within(better, better, 0.01, 1, 19, lambda: better).best == Told(3, 0.004, "deep")
    assert smallest_within(sharper, sharper, 0.01, 1, 19, lambda: sharper).best == Told(4, 0.002, "deep")


def test_the_default_comes_first_when_the_work_is_short() -> None:
    plain, refined = {1: 1.0, 2: 0.005}, {1: 0.5}
    table = Table(plain, refined, deep={1: 0.004})
    short = Table(plain, refined, deep={1: 0.004}, budget=Budget(0.5))
    found = smallest_within(table, table, 0.01, 1, 3, lambda: short)
    assert found.best == Told(2, 0.005, "plain")
    assert found.used_up


def test_a_lift_of_degree_two_is_tried_one_state_below() -> None:
    plain, curve = {n: 1.0 if n < 6 else 0.005 for n in range(1, 20)}, {5: 0.004, 4: 0.004, 3: 0.5, 2: 0.001}
    once = Table(plain, curve=curve)
    found = smallest_within(once, once, 0.01, 1, 19)
    assert found.best == Told(5, 0.004, "curved")
    further = Table(plain, curve=curve)
    assert smallest_within(further, further, 0.01, 1, 19, curved=19).best == Told(4, 0.004, "curved")
    assert [n for kind, n in further.visits if kind == "curved"] == [5, 4, 3]
    untrue = Table(plain, curve=curve, true={("curved", 5): 0.02})
    assert smallest_within(untrue, untrue, 0.01, 1, 19).best == Told(6, 0.005, "plain")


def test_one_by_one_without_refinement() -> None:
    table = Table({1: 0.9, 2: 0.9, 3: 0.005, 4: 0.001})
    found = first_within(table, table, 0.01, 1, 4)
    assert found.best == Told(3, 0.005, "plain")
    assert [n for _, n in table.visits] == [1, 2, 3]


def test_the_best_up_to_a_size_may_be_smaller() -> None:
    table = Table({1: 0.9, 2: 0.01, 3: 0.3, 4: 0.2}, refined={4: 0.1})
    assert best_up_to(table, table, 1, 4).best == Told(2, 0.01, "plain")
    table = Table({1: 0.9, 2: 0.01, 3: 0.3, 4: 0.2}, refined={4: 0.001})
    assert best_up_to(table, table, 1, 4).best == Told(4, 0.001, "refined")


def test_the_best_up_to_a_size_when_the_work_is_used_up() -> None:
    free = Table({1: 0.9, 2: 0.01, 3: 0.3, 4: 0.2})
    limited = Table({1: 0.9, 2: 0.01, 3: 0.3, 4: 0.2}, budget=Budget(3))
    found = best_up_to(limited, free, 1, 4)
    assert found.used_up
    assert found.best == Told(4, 0.2, "plain")


def test_a_meter_says_so_when_it_has_counted_enough() -> None:
    budget = Budget(2)
    budget.add(1e9)
    budget.add(1e9)
    with pytest.raises(WorkLimitError, match="2 units") as caught:
        budget.add(1.0)
    assert caught.value.reasons[0].code == "work-limit"
    assert caught.value.exit_code == 4


@dataclass
class Costly(Table):
    """Measuring on the validation runs is what uses up the work."""

    def measured(self, one: Affine, training_worst: float) -> Told:
        self.budget.add(100e9)
        return super().measured(one, training_worst)


@pytest.mark.parametrize("search", [first_within, smallest_within])
def test_a_proposal_whose_validation_uses_up_the_work_is_not_lost(search) -> None:
    proposer = Costly({3: 0.001}, budget=Budget(50.0))
    found = search(proposer, Table({3: 0.001}), 0.01, 1, 5)
    assert found.used_up
    assert found.best is not None
    assert found.best.size == 3


def test_refinement_does_not_forget_that_the_search_was_cut_off() -> None:
    proposer = Table(dict.fromkeys(range(1, 9), 1.0), budget=Budget(2.5))
    more = Table(dict.fromkeys(range(1, 9), 1.0))
    found = smallest_within(proposer, more, 0.01, 1, 8, lambda: more)
    assert found.used_up
    assert not found.accepted


def test_sizes_above_one_that_came_close_are_refined_whatever_they_look_like() -> None:
    plain = {1: 1.0, 2: 1.0, 3: 0.1, 20: 0.001}  # nothing of 4 to 19 states comes through before it is refined
    refined = {3: 0.009, 4: 0.004}
    table = Table(plain, refined, true={("refined", 3): 0.02})
    found = smallest_within(table, table, 0.01, 1, 30)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (4, "refined")
    visited = [size for kind, size in table.visits if kind == "refined"]
    assert visited.index(4) == visited.index(3) + 1


def test_sizes_above_one_that_is_far_off_are_not() -> None:
    plain = {1: 1.0, 2: 1.0, 3: 0.1, 20: 0.001}
    table = Table(plain, {3: 0.08, 4: 0.004})
    found = smallest_within(table, table, 0.01, 1, 30)
    assert found.best is not None
    assert found.best.size == 20
    assert 4 not in {size for kind, size in table.visits if kind == "refined"}


def test_what_is_accepted_is_not_given_up_for_what_is_not() -> None:
    """A reduction is accepted by how often it is off; one that is not accepted may have the smaller worst error."""

    @dataclass(frozen=True)
    class Often(Told):
        def keeps(self, wanted: float) -> bool:
            return self.size >= 3

    @dataclass
    class Counted(Table):
        def measured(self, one: Affine, training_worst: float) -> Told:
            return Often(one.size, 0.02 if one.size == 3 else 0.015, one.label)

    table = Counted({1: 1.0, 2: 0.02, 3: 0.005, 4: 0.005}, refined={2: 0.009})
    found = smallest_within(table, table, 0.01, 1, 4)
    assert found.accepted
    assert found.best is not None
    assert found.best.size == 3


def test_what_diverges_is_lifted_closer_to_the_trajectories_once() -> None:
    true = {("plain", 2): math.inf, ("plain", 3): math.inf, ("closer", 2): 0.3}
    table = Table({1: 1.0, 2: 0.005, 3: 0.004, 4: 0.001}, close={2: 0.006, 3: 0.007}, true=true)
    found = smallest_within(table, table, 0.01, 1, 4)
    assert found.accepted
    assert found.best is not None
    assert (found.best.size, found.best.label) == (3, "closer")
    assert [visit for visit in table.visits if visit[0] == "closer"] == [("closer", 2), ("closer", 3)]
    # one that is only too far off is no such case, and one that is far off after that is not measured
    table = Table({1: 0.02, 2: 0.005}, close={1: 1.0}, true={("plain", 1): math.inf})
    found = smallest_within(table, table, 0.01, 1, 2)
    assert found.best is not None
    assert found.best.size == 2


def test_a_size_that_is_known_is_tried_before_the_largest() -> None:
    table = Table({n: 0.001 if n == 17 else 1.0 for n in range(1, 21)})
    assert not smallest_within(table, table, 0.01, 1, 20).accepted
    found = smallest_within(table, table, 0.01, 1, 20, known=[17, 40])
    assert found.best is not None
    assert found.best.size == 17


def test_larger_sizes_come_before_refinement_where_nothing_was_accepted() -> None:
    errors = {n: 1.0 if n < 12 else 0.001 for n in range(1, 20)}
    budget = Budget(4.5)  # ends after the fifth size
    table = Table(errors, budget=budget)

    def more(limit: float) -> None:
        budget.limit = limit

    found = smallest_within(table, table, 0.01, 1, 19, None, lambda: more(99.0), upwards=lambda: more(50.0))
    assert found.accepted
    assert found.best is not None
    assert found.best.size == 12
    kinds = [kind for kind, _ in table.visits]
    assert ("plain", 12) in table.visits
    assert "refined" not in kinds[: table.visits.index(("plain", 12))]


def test_few_runs_come_before_many_and_the_smallest_close_size_before_others() -> None:
    """To learn from more runs takes many times as long; what comes near, but diverges elsewhere, comes last."""
    plain = {1: 0.9, 2: 0.15, 3: 0.05, 4: 0.05, 5: 0.05, 6: 0.005}
    refined = {5: 0.012, 4: 0.02, 3: 0.014, 2: 0.013}
    true = {("refined", 2): math.inf}
    table = Table(plain, refined, relearnt={4: 0.004}, true=true)
    found = smallest_within(table, table, 0.01, 1, 8)
    assert found.best is not None
    assert (found.best.size, found.best.label) == (4, "relearnt")
    visits = [visit for visit in table.visits if visit[0] in ("refined", "relearnt")]
    first = visits.index(("relearnt", 3))
    assert {visit[0] for visit in visits[:first]} == {"refined"}
    assert visits[first:] == [("relearnt", size) for size in (3, 5, 2, 4)]


def test_what_is_reached_by_learning_from_more_runs_is_gone_down_from() -> None:
    plain = {1: 0.9, 2: 0.9, 3: 0.9, 4: 0.05, 5: 0.005}
    table = Table(plain, {4: 0.012, 2: 0.006}, relearnt={4: 0.004})
    found = smallest_within(table, table, 0.01, 1, 8)
    assert found.best is not None
    assert found.best.size == 2


def test_what_is_being_measured_when_the_work_is_used_up_is_measured() -> None:
    @dataclass
    class Short(Table):
        def measured(self, one: Affine, training_worst: float) -> Told:
            if one.label == "refined":
                raise WorkLimitError(Reason("work-limit", "no more"))
            return super().measured(one, training_worst)

    plain, refined = {1: 0.9, 2: 0.05, 3: 0.005}, {2: 0.006}
    for error, size in ((0.006, 2), (0.02, 3)):
        true = {("refined", 2): error}
        last = Table(plain, refined, true=true)
        found = smallest_within(Short(plain, refined), last, 0.01, 1, 5)
        assert found.used_up
        assert found.accepted
        assert found.best is not None
        assert found.best.size == size
        # nor is it forgotten where thorough refinement goes on
        again = smallest_within(
            Short(plain, refined), last, 0.01, 1, 5, partial(Table, plain, deep={2: 0.9}, true=true)
        )
        assert again.best is not None
        assert again.best.size == size


def test_what_fails_on_a_training_run_is_not_given() -> None:
    class Failing(Table):
        def improved(self, size: int, wanted: float | None = None) -> list[Proposal]:
            shape = np.zeros((size, 1))
            return [(Affine(shape, shape.T, np.zeros((1, 1)), "refined"), math.inf)]

    table = Failing(dict.fromkeys(range(1, 6), math.inf))
    assert best_up_to(table, table, 1, 3).best is None
    assert smallest_within(table, table, 0.01, 1, 3).best is None
