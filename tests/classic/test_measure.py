"""Perturbed initial values, end times, and errors measured on them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import sbmlump
from sbmlump.dynamics import (
    Budget,
    Ensemble,
    EnsembleSettings,
    WorkLimitError,
    difference,
    ensemble_trajectories,
    measure,
    reference_ensemble,
    time_grid,
    time_span_of,
)
from sbmlump.examples import michaelis_menten, multisite, network_from_reactions
from sbmlump.jobs import method_rows, row_differences
from sbmlump.methods import quasi_steady_state
from sbmlump.methods.elimination import timescales
from sbmlump.model import AffineLumping, ErrorEstimate, OdeSystem, parse_observables
from sbmlump.proof import reduction_of_files
from sbmlump.sbml import write_reduction, write_system


def drained() -> OdeSystem:
    """A ⇌ B → C, and D that nothing makes."""
    return network_from_reactions(
        [("A -> B", "k1"), ("B -> A", "km1"), ("B -> C", "k2"), ("D -> C", "k2")],
        initial={"A": 10, "B": 0, "C": 0, "D": 0},
        constants={"k1": 10, "km1": 20, "k2": 1},
        id="drained",
    )


def test_starts_are_scaled_and_what_is_zero_is_raised_by_what_it_reaches() -> None:
    system = drained()
    starts, states = ensemble_trajectories(system, time_grid(20.0), Ensemble(40, 0.2), 0)
    assert states.shape[:2] == (41, len(time_grid(20.0)))
    assert starts[0] == pytest.approx(system.initial_state())
    assert np.array_equal(states[:, 0], starts)
    reached = states[0].max(axis=0)
    a, b, c, d = starts[1:].T
    assert 8 <= a.min() < 8.5 < 11.5 < a.max() <= 12
    for column, most in ((b, reached[1]), (c, reached[2])):
        assert 0 < column.min() < 0.05 * most
        assert 0.15 * most < column.max() <= 0.2 * most
    assert not d.any()  # it stays zero in the nominal run: there is nothing to say how large it may be


def test_the_end_time_is_not_beyond_when_only_the_tolerance_moves_states() -> None:
    """A and B are used up while E stays near 100: what is then left of them is noise of the integration, no motion."""
    system = network_from_reactions(
        [("A + E -> B", "f"), ("B -> A + E", "g"), ("B -> C", "k"), ("C -> D", "k")],
        initial={"A": 1, "B": 0, "C": 0, "D": 0, "E": 100},
        constants={"f": Fraction(1, 10), "k": Fraction(1, 10), "g": Fraction(1, 100)},
    )
    # the slowest decay takes 10
    assert 100 <= time_span_of(system, parse_observables(system, list(system.states))).until <= 500


def test_a_reduction_read_from_files_is_measured_as_the_one_that_was_written(tmp_path: Path) -> None:
    system = multisite(2, noise=Fraction(1, 20), seed=3)
    (tmp_path / "original.xml").write_bytes(write_system(system))
    trial = EnsembleSettings(until=2.0, ensemble=3)
    made = sbmlump.reduce(system, "kinase", "approximate", max_error=0.05, until=2.0)
    assert isinstance(made.map, AffineLumping)
    assert made.map.totals
    (tmp_path / "reduced.xml").write_bytes(write_reduction(made))
    read = reduction_of_files(tmp_path / "original.xml", tmp_path / "reduced.xml")
    assert isinstance(read.map, AffineLumping)
    assert dict(read.map.totals) == dict(made.map.totals)
    assert read.map.offset == made.map.offset
    ruler = reference_ensemble(system, made.observables, trial)
    wanted = measure(made, ruler).errors
    assert wanted.max() < 0.1
    assert measure(read, ruler).errors == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def test_too_much_work_is_no_figure() -> None:
    system = drained()
    observables = parse_observables(system, ["C"])
    methods = ("qssa", "quasi-equilibrium")
    rows = method_rows(system, observables, methods, fast=("B", "r1", "r2"), until=10.0, ensemble=1)
    first, second = (row.reduction for row in rows)
    assert first is not None
    assert second is not None
    assert len(row_differences(rows, EnsembleSettings(until=10.0, ensemble=1))) == 1
    with pytest.raises(WorkLimitError):
        difference(first, second, EnsembleSettings(until=10.0, ensemble=0), budget=Budget(1e-9))


def test_a_choice_that_cannot_be_measured_finely_says_how_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    system = michaelis_menten()
    observables = parse_observables(system, [system.states[-1]])
    trial = EnsembleSettings(until=10.0, ensemble=1)
    fine = quasi_steady_state(system, observables, trial=trial)

    def too_much(*_: object, **__: object) -> ErrorEstimate:
        Budget(1e-9).add(1e9)
        raise AssertionError

    monkeypatch.setattr(timescales, "error_estimate", too_much)
    rough = quasi_steady_state(system, observables, trial=trial)
    assert isinstance(rough.certificate, ErrorEstimate)
    assert isinstance(fine.certificate, ErrorEstimate)
    assert rough.certificate.details["work_used_up"] is True
    assert rough.certificate.details["measured_with_tolerance"] == pytest.approx(1e-4)
    assert rough.certificate.worst_error == pytest.approx(fine.certificate.worst_error, rel=0.05, abs=1e-3)
