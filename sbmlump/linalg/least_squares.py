"""Levenberg-Marquardt steps for nonlinear least squares: several dampings from one decomposition.

References
----------
Levenberg, Quart. Appl. Math. 2 (1944), doi 10.1090/qam/10666; Marquardt, SIAM J. 11 (1963), doi 10.1137/0111030.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sbmlump.arrays import Array

__all__ = ["DampedProblem", "DampingSettings", "damped_steps"]


@dataclass(frozen=True, slots=True)
class DampingSettings:
    """Which dampings are tried.

    Attributes
    ----------
    count : int
        Dampings of a step: they are simulated side by side, and a dozen costs little more than one.
    most_rank : int
        Directions that move freely at the smallest damping.
    felt : float
        Of the largest column: smaller ones do not count for the median, so that unknowns without any effect, be they
        the most, do not decide how far the others may go.
    rounding : float
        Squares of singular values below this part of the largest are rounding.
    """

    count: int = 12
    most_rank: int = 250
    felt: float = 1e-5
    rounding: float = 1e-14


DAMPING: Final = DampingSettings()


@dataclass(frozen=True, slots=True)
class DampedProblem:
    """min ‖Jx + r‖ in units of its own, decomposed: steps for any damping cost next to nothing.

    Attributes
    ----------
    units : ndarray (M,)
        D = (‖column‖² + median²)^½, so that no unknown moves far for being of little effect.
    scaled : ndarray (N, M)
        JD⁻¹.
    wide : bool
        Whether it has more columns than rows: then its rows are decomposed.
    values : ndarray (k,)
        Squares of its singular values, the largest first.
    vectors : ndarray (k, k)
    onto : ndarray (k,)
        The residual (``wide``), or the gradient, along the vectors.
    """

    units: Array
    scaled: Array
    wide: bool
    values: Array
    vectors: Array
    onto: Array

    @classmethod
    def of(cls, jacobian: Array, residual: Array, felt: float = 0.0) -> DampedProblem | None:
        """Of a matrix (N, M) and what it is to take away (N,); ``None`` where the matrix is zero.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the decomposition does not converge.
        """
        sizes = np.linalg.norm(jacobian, axis=0)
        largest = float(sizes.max(initial=0.0))
        if not largest > 0:
            return None
        units = np.sqrt(sizes**2 + float(np.median(sizes[sizes > felt * largest])) ** 2)
        scaled = jacobian / units
        wide = len(scaled) < scaled.shape[1]
        values, vectors = np.linalg.eigh(scaled @ scaled.T if wide else scaled.T @ scaled)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        onto = vectors.T @ (residual if wide else scaled.T @ residual)
        return cls(units, scaled, wide, values, vectors, onto)

    def step(self, damping: float) -> Array:
        """−(JᵀJ + μD²)⁻¹Jᵀr for one damping μ, (M,)."""
        change = -(self.vectors @ (self.onto / (self.values + damping)))
        return np.asarray((self.scaled.T @ change if self.wide else change) / self.units)


def damped_steps(jacobian: Array, residual: Array, settings: DampingSettings = DAMPING) -> Array:
    """Changes of the unknowns, the most damped first.

    Unknowns are measured in units of (‖column‖² + median²)^½, the median of those that are felt, so that unknowns with
    hardly any effect do not run away. The
    damping is the square of a singular value of the scaled matrix: so many directions move freely.

    Parameters
    ----------
    jacobian : array (rows, columns)
    residual : array (rows,)
    settings : DampingSettings

    Returns
    -------
    ndarray (count, columns)
        Fewer rows where the matrix has a small rank; none where it is zero.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the decomposition does not converge.
    """
    problem = DampedProblem.of(jacobian, residual, settings.felt)
    if problem is None:
        return np.empty((0, jacobian.shape[1]))
    values = problem.values
    most = min(int((values > settings.rounding * values[0]).sum()), settings.most_rank)
    ranks = np.unique(np.geomspace(1, max(most, 1), settings.count).round().astype(np.int64)) - 1
    changes = -(problem.vectors @ (problem.onto[:, None] / (values[:, None] + values[ranks])))
    changes = problem.scaled.T @ changes if problem.wide else changes
    return np.ascontiguousarray((changes / problem.units[:, None]).T)
