"""Closure of user-given lumpings, and the reduction by them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from strategies import HiddenSystem, hidden_systems

from sbmlump.dynamics import EnsembleSettings
from sbmlump.errors import UsageError
from sbmlump.examples import ring, squares_example
from sbmlump.methods import closure, lump_by_user, read_lumping
from sbmlump.model import ErrorEstimate, ExactProof, parse_observables

SHORT = EnsembleSettings(until=5.0, ensemble=1)


def test_an_exact_matrix_is_said_to_be_exact(tmp_path: Path) -> None:
    path = tmp_path / "pools.csv"
    path.write_text("X_3,X_4,X_1,X_2\n0,0,1,1\n1,1,0,0\n")
    system = ring(4)
    found = lump_by_user(system, path, parse_observables(system, ["X_1 + X_2"]))
    assert isinstance(found.certificate, ExactProof)
    assert found.method == "lumping"
    assert [dict(lump.members) for lump in found.lumps] == [{"X_1": 1, "X_2": 1}, {"X_3": 1, "X_4": 1}]


def test_one_that_is_not_exact_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "pools.csv"
    path.write_text("# without a line of ids: columns in the order of the model\n1,1/2,0.5,0\n0,0,0,1\n")
    system = ring(4)
    found = lump_by_user(system, path, parse_observables(system, ["X_4"]), trial=SHORT)
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.worst_error > 0
    assert found.certificate.as_json()["closure_error"]["exact"] is False
    assert "not exact" in found.remarks[0]
    assert found.lumps[0].members == {"X_1": 1, "X_2": Fraction(1, 2), "X_3": Fraction(1, 2)}


def refused(path: Path, text: str, message: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_lumping(ring(4), path)
    (reason,) = caught.value.reasons
    assert reason.code == "bad-lumping"
    assert message in reason.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,0\n", "3 numbers, but the model has 4 columns"),
        ("1,1,0,0\n2,2,0,0\n", "their rank is 1"),
        ("X_1,nobody\n1,1\n", "'nobody' is no state"),
        ("1,1,many,0\n", "'many' is no number"),
        ("0,0,0,0\n", "a lump of nothing"),
        ("X_1,X_2,X_3,X_4\n", "no row of numbers"),
        ("X_1,X_1\n1,1\n", "stands there twice"),
        ("", "holds no matrix"),
        ("1/0,1,1,1\n", "is no number"),
    ],
)
def test_wrong_files_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    refused(tmp_path / "pools.csv", text, message)


def test_a_file_that_is_not_there_is_a_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the lumping"):
        read_lumping(ring(4), tmp_path / "nothing.csv")


def test_lumps_may_be_expressions(tmp_path: Path) -> None:
    system = ring(4)
    path = tmp_path / "pools.txt"
    path.write_text("# two pools\na = X_1 + X_2\nb = 2*X_3 + X_4/2\n")
    assert read_lumping(system, path) == ({0: 1, 1: 1}, {2: 2, 3: Fraction(1, 2)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = X_1 + X_9\n", "cannot read the lump a"),
        ("a = X_1\nX_2\n", "is no 'name = expression'"),
        ("a = X_1\na = X_2\n", "stands there twice"),
        ("a = X_1\nb = 2*X_1\n", "their rank is 1"),
        ("a = X_1*X_2\n", "no linear combination"),
        ("a = X_1 + 1\n", "no linear combination"),
    ],
)
def test_wrong_expressions_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    refused(tmp_path / "pools.txt", text, message)


def test_an_observable_outside_the_lumps_is_refused() -> None:
    system = ring(4)
    one = Fraction(1)
    with pytest.raises(UsageError) as caught:
        lump_by_user(system, ({0: one, 1: one},), parse_observables(system, ["X_1"]), trial=SHORT)
    assert "no combination of the lumps" in caught.value.reasons[0].message


@given(hidden_systems(max_small=2, max_extra=2))
def test_hidden_lumpings_close(sample: HiddenSystem) -> None:
    index = sample.system.state_index
    rows = tuple({index[name]: value for name, value in row.items()} for row in sample.rows)
    assert closure(sample.system, rows, trial=EnsembleSettings(until=1e-3, ensemble=0)).exact


def test_closure_error_is_symbolic_and_sampled() -> None:
    system = ring(4)
    found = closure(system, {"a": "X_1 + X_2 + X_3", "b": "X_4"}, trial=SHORT)
    assert (found.exact, found.linear) == (False, True)
    assert set(found.expressions) == {"a", "b"}
    assert found.worst > 0.1
    assert found.points > 0


def test_a_map_that_is_not_linear_is_proved_closed_or_sampled() -> None:
    system = squares_example()
    closed = closure(system, {"x1": "x1", "s": "(x2 + x3)^2 + (x2 + x4)^2"}, trial=SHORT)
    assert (closed.exact, closed.linear, closed.worst) == (True, False, 0.0)
    assert closed.proof is not None
    assert closed.proof.failure_probability < 1e-18
    open_ = closure(ring(4), {"p": "X_1*X_2"}, trial=SHORT)
    assert (open_.exact, open_.linear) == (False, False)
    assert open_.worst > 0.1
    assert np.isfinite(open_.mean)
    with pytest.raises(UsageError):
        closure(system, {"p": "x1 +"}, trial=SHORT)
    with pytest.raises(UsageError):
        closure(system, {"a": "x1", "b": "2*x1"}, trial=SHORT)
    with pytest.raises(UsageError, match="depend on each other"):
        closure(ring(4), {"a": "X_1*X_2", "b": "X_1^2*X_2^2"}, trial=SHORT)


def test_what_is_no_rational_map_is_sampled() -> None:
    found = closure(ring(4), {"e": "exp(X_1 + X_2 + X_3 + X_4)"}, trial=SHORT)
    assert (found.exact, found.linear) == (False, False)
    assert found.worst < 1e-9  # a function of a conserved total: closed, but not shown


def test_a_given_field_is_held_against_the_map() -> None:
    system = ring(3)
    lumps = {"a": "X_1 - X_2", "b": "X_3 - X_2"}
    # ẋ₁ − ẋ₂ of the ring with equal rates k is −3k(x₁ − x₂)
    right = {"a": "-3*kf*a", "b": "-(2*kf + kb)*b"}
    assert closure(system, lumps, right, trial=SHORT).exact
    wrong = closure(system, lumps, {**right, "b": "0"}, trial=SHORT)
    assert (wrong.exact, wrong.linear) == (False, True)
    assert set(wrong.expressions) == {"b"}
    assert wrong.per_lump["a"] < 1e-12
    assert wrong.worst == pytest.approx(1.0)
    with pytest.raises(UsageError, match="one rate for each lump"):
        closure(system, lumps, {"a": "0"}, trial=SHORT)
    with pytest.raises(UsageError, match="lumps, constants and time"):
        closure(system, lumps, {**right, "b": "X_3"}, trial=SHORT)
