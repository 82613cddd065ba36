"""Levenberg-Marquardt steps: between the steepest descent and the Gauss-Newton step, whatever the units."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sbmlump.linalg import DampingSettings, damped_steps


def problem(rows: int, columns: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, columns)) * np.geomspace(1e-2, 1e2, columns), rng.standard_normal(rows)


@pytest.mark.parametrize(("rows", "columns"), [(40, 6), (12, 30), (5, 5)])
def test_less_damping_explains_more(rows: int, columns: int) -> None:
    jacobian, residual = problem(rows, columns, rows)
    steps = damped_steps(jacobian, residual)
    left = np.linalg.norm(residual[:, None] + jacobian @ steps.T, axis=0)
    assert (np.diff(left) <= 1e-12).all()
    assert left[0] < np.linalg.norm(residual)


def test_steps_solve_the_damped_equations() -> None:
    jacobian, residual = problem(40, 6, 1)
    sizes = np.linalg.norm(jacobian, axis=0)
    units = np.sqrt(sizes**2 + np.median(sizes) ** 2)
    scaled = jacobian / units
    singular = np.linalg.svd(scaled, compute_uv=False)
    steps = damped_steps(jacobian, residual, DampingSettings(count=50))
    assert len(steps) == 6
    for step, value in zip(steps, singular, strict=True):
        stacked = np.concatenate([scaled, value * np.eye(6)])
        wanted = np.linalg.lstsq(stacked, np.concatenate([-residual, np.zeros(6)]), rcond=None)[0]
        assert step * units == pytest.approx(wanted, rel=1e-8, abs=1e-12)


def test_wide_and_tall_agree() -> None:
    """A matrix with as good as equal rows and columns takes either way to the same step."""
    jacobian, residual = problem(8, 8, 3)
    more = np.concatenate([jacobian, np.zeros((1, 8))])
    assert damped_steps(more, np.append(residual, 0.0)) == pytest.approx(damped_steps(jacobian, residual), rel=1e-4)
    wide = np.concatenate([jacobian, np.zeros((8, 1))], axis=1)
    padded = damped_steps(wide, residual)
    assert padded[:, :-1] == pytest.approx(damped_steps(jacobian, residual), rel=1e-4)
    assert not padded[:, -1].any()


def test_what_has_no_effect_is_not_changed() -> None:
    assert damped_steps(np.zeros((4, 3)), np.ones(4)).shape == (0, 3)


def test_unknowns_without_effect_do_not_decide_how_far_others_go() -> None:
    rng = np.random.default_rng(4)
    felt = rng.standard_normal((30, 5))
    residual = rng.standard_normal(30)
    unfelt = 1e-12 * rng.standard_normal((30, 40))  # rounding, and the most
    few = damped_steps(felt, residual)
    many = damped_steps(np.concatenate([felt, unfelt], axis=1), residual)
    assert np.abs(many[:, 5:]).max() < 1e-6 * np.abs(few).max()
    assert np.abs(many[-1, :5] - few[-1]).max() < 1e-3 * np.abs(few).max()
