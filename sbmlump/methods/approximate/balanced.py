"""Observable-pinned balanced lumping: a family of oblique projections from one set of snapshots and gradients.

Snapshots X say where the trajectories go, gradients Y how much a disturbance there moves the observables later. The
part of X that the observables and the conserved totals do not explain is decomposed so that directions come in the
order of how much they matter: YᵀX = USVᵀ, as in balanced proper orthogonal decomposition. The observables themselves
are the first rows of L.

References
----------
Rowley, Int. J. Bifurcation Chaos 15 (2005), doi 10.1142/S0218127405012429 (balanced proper orthogonal decomposition).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sbmlump.dynamics.solve import MAX_DENSE

__all__ = ["ALPHAS", "BETAS", "Affine", "Decomposition", "Offset", "Snapshots"]


Array = NDArray[np.float64]
Offset = Literal["totals", "fixed-totals", "constant", "none"]
ALPHAS: Final = (0.0, 1e-3, 1e-2, 0.1, 0.5)
BETAS: Final = (0.0, 1e-3, 1e-2)
_RANK: Final = 1e-11
_RIDGE: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Affine:
    """y = Lx, x̂ = L̄y + Gw with w = (1, Wx(0)) constants of a run; LL̄ = I, LG = 0; in units of the model.

    Attributes
    ----------
    matrix : ndarray (k, n)
        L; the first p rows are the pinned ones.
    lift : ndarray (n, k)
    offset : ndarray (n, 1 + c)
        G; all zero columns where no offset is used.
    label : str
        Which candidate it was.
    """

    matrix: Array
    lift: Array
    offset: Array
    label: str = ""

    @property
    def size(self) -> int:
        """Number of reduced states k."""
        return len(self.matrix)


@dataclass(frozen=True)
class Snapshots:
    """What a decomposition starts from.

    Attributes
    ----------
    states : ndarray (n, N)
        Snapshots, in units of the model.
    constants : ndarray (1 + c, N)
        w of the run each snapshot belongs to.
    gradients : ndarray (n, M)
        Columns λ.
    pinned : ndarray (p, n)
    totals : ndarray (c, n)
        W, orthonormal in scaled units (acts on x / scale).
    scale : ndarray (n,)
    """

    states: Array
    constants: Array
    gradients: Array
    pinned: Array
    totals: Array
    scale: Array


class Decomposition:
    """All candidates of all sizes, for one way to treat the offset and one weighting of the gradients."""

    def __init__(self, snapshots: Snapshots, offset: Offset, gradients: Array, weighting: str) -> None:
        self.offset = offset
        self.weighting = weighting
        self._s = snapshots.scale
        self._c = snapshots.pinned * self._s
        self._regress(snapshots)
        self._y = _compressed(gradients * self._s[:, None])
        self._svd: dict[tuple[float, float], tuple[Array, Array, Array]] = {}

    def _regress(self, snapshots: Snapshots) -> None:
        """X = G_c(CX) + G_w w + X_d with CG_c = I, CG_w = 0."""
        x = snapshots.states / self._s[:, None]
        c = self._c
        p, n = c.shape
        w = snapshots.constants
        rest = x
        g_w = np.zeros((n, len(w)))
        if self.offset == "fixed-totals":
            # the part of x along the conserved rows is known exactly; only the rest is regressed
            g_w[:, 1:] = snapshots.totals.T
            rest = x - g_w @ w
            used = w[:1]
        else:
            used = {"totals": w, "constant": w[:1], "none": w[:0]}[self.offset]
        z = c @ x
        regressors = np.concatenate([z, used])
        size = np.linalg.norm(regressors, axis=1, keepdims=True)
        size[size == 0] = 1.0
        scaled = regressors / size
        gram = scaled @ scaled.T
        solved = np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), scaled @ rest.T).T / size.T
        right = c.T @ np.linalg.inv(c @ c.T)
        g_c = solved[:, :p]
        g_c = g_c + right @ (np.eye(p) - c @ g_c)
        g_w[:, : len(used)] += solved[:, p:]
        g_w = g_w - g_c @ (c @ g_w)
        x_d = x - g_c @ z - g_w @ w
        self._g_c, self._g_w = g_c, g_w
        self._x = _compressed(x_d - g_c @ (c @ x_d))

    def rank(self, alpha: float, beta: float) -> int:
        """Largest number of directions beside the pinned ones."""
        s = self._decomposed(alpha, beta)[1]
        return int((s > _RANK * s.max(initial=0.0)).sum()) if len(s) and s[0] > 0 else 0

    def _decomposed(self, alpha: float, beta: float) -> tuple[Array, Array, Array]:
        key = (alpha, beta)
        if key not in self._svd:
            y, x = self._augmented(alpha, beta)
            u, s, vt = np.linalg.svd(y.T @ x, full_matrices=False)
            keep = min(len(s), self._c.shape[1])
            self._svd[key] = (y @ u[:, :keep], s[:keep], x @ vt[:keep].T)
        return self._svd[key]

    def _augmented(self, alpha: float, beta: float) -> tuple[Array, Array]:
        n = self._c.shape[1]
        y, x = _unit(self._y), _unit(self._x)
        if alpha:
            y = np.concatenate([y, alpha * np.eye(n) / np.sqrt(n)], axis=1)
        if beta:
            x = np.concatenate([x, beta * (np.eye(n) - self._g_c @ self._c) / np.sqrt(n)], axis=1)
        return y, x

    def candidate(self, size: int, alpha: float, beta: float) -> Affine | None:
        """The projection with ``size`` states, or ``None`` if the rank does not allow it."""
        p = len(self._c)
        q = size - p
        if q < 0 or q > self.rank(alpha, beta):
            return None
        yu, s, xv = self._decomposed(alpha, beta)
        root = np.sqrt(s[:q])
        l2 = (yu[:, :q] / root).T
        b = xv[:, :q] / root
        with np.errstate(all="ignore"):
            b = b - self._g_c @ (self._c @ b)
            try:
                b = b @ np.linalg.inv(l2 @ b)
            except np.linalg.LinAlgError:
                return None
        return self._assembled(l2, b, f"{self.offset}, {self.weighting}, α={alpha:g}, β={beta:g}")

    def _assembled(self, l2: Array, b: Array, label: str) -> Affine | None:
        c, g_c, g_w, s = self._c, self._g_c, self._g_w, self._s
        lift = np.concatenate([g_c - b @ (l2 @ g_c), b], axis=1)
        offset = g_w - b @ (l2 @ g_w)
        matrix = np.concatenate([c, l2])
        if not (np.isfinite(lift).all() and np.isfinite(matrix).all() and np.isfinite(offset).all()):
            return None
        return Affine(matrix / s, lift * s[:, None], offset * s[:, None], label)


def _unit(table: Array) -> Array:
    size = np.linalg.norm(table)
    return table / size if size > 0 else table


def _compressed(table: Array) -> Array:
    """At most n columns with the same table·tableᵀ."""
    n, columns = table.shape
    if columns <= n or n > 4 * MAX_DENSE:
        return table
    u, s, _ = np.linalg.svd(table, full_matrices=False)
    return np.asarray(u * s)
