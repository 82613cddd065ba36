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

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.solve import MAX_DENSE
from sbmlump.dynamics.vector_field import QuadraticField, VectorField, at_time_zero
from sbmlump.errors import LimitError, Reason

__all__ = [
    "Affine",
    "Decomposition",
    "decompositions",
    "Offset",
    "Snapshots",
    "StateSide",
    "CoefficientSpan",
    "JacobianSpan",
    "MatrixSpan",
    "approximate_rows",
    "closer_lift",
    "bisect_tolerance",
    "jacobian_span",
    "pinned_projection",
    "singular_values",
    "tolerance_ceiling",
    "Kind",
    "bisect_epsilon",
    "block_projection",
    "epsilon_partition",
    "usable_columns",
]


Offset = Literal["totals", "fixed-totals", "constant", "none"]


@dataclass(frozen=True, slots=True)
class BalancingSettings:
    """Which metrics are tried, and what is zero in a decomposition.

    Attributes
    ----------
    alphas : tuple[float, ...]
        Weights of all directions alike beside the gradients of the observables; 0 takes the gradients as they are.
    betas : tuple[float, ...]
        Weights of all directions that are not observed beside the states that were seen.
    rank : float
        Singular values below this part of the largest are rounding.
    ridge : float
        Added to the diagonal of the Gram matrix in the least squares of the offset: solvable also where rows depend.
    outlying : float
        Times the norm of the gradients at their own end times (and of the median one): longer ones come from
        propagators that rounding has blown up (end times of 1e8 and more in stiff models), and would be all that a
        decomposition sees.
    """

    alphas: tuple[float, ...] = (0.0, 1e-3, 1e-2, 0.1, 0.5)
    betas: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    rank: float = 1e-11
    ridge: float = 1e-8
    outlying: float = 1e6


BALANCING: Final = BalancingSettings()


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
    decaying : int
        Pinned rows behind those of the observables whose totals decay at one rate: functions of time, no states.
    """

    matrix: Array
    lift: Array
    offset: Array
    label: str = ""
    decaying: int = 0

    @property
    def size(self) -> int:
        """Number of reduced states k."""
        return len(self.matrix)

    def features(self, y: Array, w: Array) -> Array:
        """What the columns of G multiply, (r, m, k) and (r, 1 + c) to (r, m, f), or (r, 1, f) where y has no part."""
        return w[:, None, :]

    def lifted(self, y: Array, w: Array) -> Array:
        """x̂ along r runs of m points, (r, m, k) and (r, 1 + c) to (r, m, n)."""
        return np.asarray(y @ self.lift.T + self.features(y, w) @ self.offset.T)

    def slopes(self, y: Array, w: Array) -> Array:
        """∂x̂/∂y, (r, m, n, k), or what broadcasts to it."""
        return self.lift

    def rescaled(self, sizes: Array) -> Affine:
        """The same projection with components y / sizes."""
        return replace(self, matrix=self.matrix / sizes[:, None], lift=self.lift * sizes)


@dataclass(frozen=True, slots=True)
class LiftSettings:
    """How a lift is brought near the trajectories.

    Attributes
    ----------
    floor : float
        Of the scale of a state: smaller values need not be met more exactly.
    allowed : float
        Relative deviation of a point that gets no more weight.
    most : float
        Times which the weight of a point grows at most from round to round.
    rounds : int
        After four no run of BIOMD0000000219 meets a pole any more; with more, single points weigh down all others.
    small : float
        Quantile of the magnitudes of a state that counts as small for it.
    ridge : float
        Of the trace of a Gram matrix, added to its diagonal: rounding.
    """

    floor: float = 0.01
    allowed: float = 0.3
    most: float = 10.0
    rounds: int = 4
    small: float = 0.02
    ridge: float = 1e-13


LIFT: Final = LiftSettings()


def closer_lift(one: Affine, states: Array, constants: Array, scale: Array) -> Affine:
    """The same L with the lift that keeps every state near its trajectories *in relation to its own value there*.

    A lift that is near in relation to the scale of each state may take a state that is small at first below zero, as
    far as a pole of a rate law. Here each state is regressed on y with the reciprocals of its values as weights, which
    grow where the deviation is large (iteratively reweighted least squares, towards the least maximum); what LL̄ = I and
    LG = 0 then ask for is taken from the states that have room for it.

    Parameters
    ----------
    one : Affine
    states : array (r, m, n)
        Runs of the full model.
    constants : array (r, 1 + c)
        w of each run.
    scale : array (n,)

    Raises
    ------
    numpy.linalg.LinAlgError
        If the rows of L depend on each other.
    """
    r, m, n = states.shape
    k, matrix = one.size, one.matrix
    x = states.reshape(r * m, n)
    used = np.r_[True, np.abs(one.offset[:, 1:]).any(axis=0)]
    regressors = np.concatenate([x @ matrix.T, np.repeat(constants[:, used], m, axis=0)], axis=1)
    size = np.linalg.norm(regressors, axis=0)
    size[size == 0] = 1.0
    regressors = regressors / size
    room = np.maximum(np.quantile(np.abs(x), LIFT.small, axis=0), LIFT.floor * scale) ** 2
    right = (room[:, None] * matrix.T) @ np.linalg.inv((matrix * room) @ matrix.T)
    wanted = np.zeros((k, regressors.shape[1]))
    wanted[:, :k] = np.diag(size[:k])
    allowed = np.abs(x) + LIFT.floor * scale
    weights = 1 / allowed
    found = np.zeros((n, regressors.shape[1]))
    for _ in range(LIFT.rounds):
        for j in range(n):
            weighed = regressors.T * weights[:, j] ** 2
            gram = weighed @ regressors
            gram.flat[:: len(gram) + 1] += LIFT.ridge * gram.trace()
            found[j] = np.linalg.solve(gram, weighed @ x[:, j])
        found = found + right @ (wanted - matrix @ found)
        away = np.abs(regressors @ found.T - x) / allowed
        weights = weights * np.clip(away / LIFT.allowed, 1, LIFT.most)
    found = found / size
    offset = np.zeros_like(one.offset)
    offset[:, used] = found[:, k:]
    return replace(one, lift=found[:, :k], offset=offset, label=f"{one.label}, closer lift")


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


@dataclass(frozen=True, slots=True)
class StateSide:
    """Snapshots X = G_c(CX) + G_w w + X_d with CG_c = I, CG_w = 0, in scaled units.

    Attributes
    ----------
    offset : str
        Of which constants of a run w is.
    pinned : ndarray (p, n)
        C.
    from_pinned, from_constants : ndarray (n, p), (n, 1 + c)
        G_c and G_w.
    rest : ndarray (n, ≤ N)
        X_d without what belongs to the pinned rows, compressed.
    scale : ndarray (n,)
    """

    offset: Offset
    pinned: Array
    from_pinned: Array
    from_constants: Array
    rest: Array
    scale: Array

    @classmethod
    def of(cls, snapshots: Snapshots, offset: Offset) -> StateSide:
        """The regression of the snapshots on what is pinned and the constants of a run."""
        x = snapshots.states / snapshots.scale[:, None]
        c = snapshots.pinned * snapshots.scale
        p, n = c.shape
        w = snapshots.constants
        rest = x
        g_w = np.zeros((n, len(w)))
        if offset == "fixed-totals":
            # the part of x along the conserved rows is known exactly; only the rest is regressed
            g_w[:, 1:] = snapshots.totals.T
            rest = x - g_w @ w
            used = w[:1]
        else:
            used = {"totals": w, "constant": w[:1], "none": w[:0]}[offset]
        z = c @ x
        regressors = np.concatenate([z, used])
        size = np.linalg.norm(regressors, axis=1, keepdims=True)
        size[size == 0] = 1.0
        scaled = regressors / size
        gram = scaled @ scaled.T
        solved = np.linalg.solve(gram + BALANCING.ridge * np.eye(len(gram)), scaled @ rest.T).T / size.T
        right = c.T @ np.linalg.inv(c @ c.T)
        g_c = solved[:, :p]
        g_c = g_c + right @ (np.eye(p) - c @ g_c)
        g_w[:, : len(used)] += solved[:, p:]
        g_w = g_w - g_c @ (c @ g_w)
        x_d = x - g_c @ z - g_w @ w
        return cls(offset, c, g_c, g_w, _compressed(x_d - g_c @ (c @ x_d)), snapshots.scale)


def decompositions(
    snapshots: Snapshots, offsets: Sequence[Offset], weightings: Mapping[str, Array]
) -> list[Decomposition]:
    """One decomposition for each offset and each weighting of the gradients, (n, M); what they share is made once.

    What does not converge is left out: the others may do.
    """
    sides: list[StateSide] = []
    compressed: dict[str, Array] = {}
    for offset in offsets:
        with suppress(np.linalg.LinAlgError):
            sides.append(StateSide.of(snapshots, offset))
    for name, table in weightings.items():
        with suppress(np.linalg.LinAlgError):
            compressed[name] = _compressed(table * snapshots.scale[:, None])
    return [Decomposition(side, table, name) for side in sides for name, table in compressed.items()]


class Decomposition:
    """All candidates of all sizes, for one way to treat the offset and one weighting of the gradients.

    Parameters
    ----------
    side : StateSide
    gradients : array (n, ≤ M)
        Compressed, in scaled units.
    weighting : str
        Its name, for labels.
    """

    def __init__(self, side: StateSide, gradients: Array, weighting: str) -> None:
        self.offset = side.offset
        self.weighting = weighting
        self._s, self._c = side.scale, side.pinned
        self._g_c, self._g_w, self._x = side.from_pinned, side.from_constants, side.rest
        self._y = gradients
        self._svd: dict[tuple[float, float], tuple[Array, Array, Array]] = {}

    def rank(self, alpha: float, beta: float) -> int:
        """Largest number of directions beside the pinned ones."""
        s = self._decomposed(alpha, beta)[1]
        return int((s > BALANCING.rank * s.max(initial=0.0)).sum()) if len(s) and s[0] > 0 else 0

    def left_out(self, directions: int) -> float:
        """The part of the singular values beyond the first ``directions``, without regularisation."""
        s = self._decomposed(0.0, 0.0)[1]
        whole = float(s.sum())
        return float(s[directions:].sum()) / whole if whole > 0 else 0.0

    def _decomposed(self, alpha: float, beta: float) -> tuple[Array, Array, Array]:
        key = (alpha, beta)
        if key not in self._svd:
            y, x = self._augmented(alpha, beta)
            u, s, vt = singular_values(y.T @ x)
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
    # of a wide table only the triangular factor counts: neither Q nor the long right vectors are formed
    triangle = np.asarray(np.linalg.qr(table.T, mode="r"))
    u, s, _ = singular_values(triangle.T)
    return np.asarray(u * s)


def singular_values(table: Array, *, full: bool = False) -> tuple[Array, Array, Array]:
    """U, s, Vᵀ by divide and conquer; by the slower QR iteration where that does not converge.

    Raises
    ------
    numpy.linalg.LinAlgError
        If neither converges: the table is not finite.
    """
    try:
        u, s, vt = np.linalg.svd(table, full_matrices=full)
    except np.linalg.LinAlgError:
        if not np.isfinite(table).all():
            raise
        from scipy.linalg import svd  # a tenth of a second, and seldom needed

        u, s, vt = svd(table, full_matrices=full, lapack_driver="gesvd")
    return np.asarray(u), np.asarray(s), np.asarray(vt)


def usable_columns(columns: Array, scale: Array, own: float) -> Array:
    """Gradients (n, M) without those that are zero, not finite, or far too long.

    Parameters
    ----------
    columns : array (n, M)
    scale : array (n,)
        Units in which they are measured.
    own : float
        Largest norm of a gradient at its own end time, in these units.
    """
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(columns * scale[:, None], axis=0)
    good = np.isfinite(norms) & (norms > 0)
    if good.any():
        good &= norms <= BALANCING.outlying * max(own, float(np.median(norms[good])))
    return columns[:, good]


# -- The published approximate constrained lumping -------------------------------------------------

# Order of work, which changes the result and is therefore fixed: rows of L are taken in the order in which they were
# appended, and for each the matrices J_1 … J_N in their order. One pass is enough: a product that was within ε of the
# row space stays so when the space grows. The matrices are, for right-hand sides of degree two, the constant
# part of the
# Jacobian and then the coefficient of each variable in the order of the states; for others, Jacobians at points drawn
# uniformly from a box until a new one is a combination of the earlier ones.
#
# References
# ----------
# Leguizamón-Robayo, Jiménez-Pastor, Tribastone, Tschaikowski, Vandin, CMSB 2023, LNBI 14137, 106–123, and the extended
# journal version.


_SAME: Final = 1e-10
_ROUNDING: Final = 1e-11
_MAX_SAMPLES: Final = 2_000
_MAX_BYTES: Final = 1 << 30


class JacobianSpan(Protocol):
    """Matrices J_1 … J_N that span the Jacobians, and the size of each, (N,)."""

    @property
    def norms(self) -> Array:
        """Frobenius norm of each matrix, (N,)."""
        ...

    def products(self, row: Array) -> Array:
        """r·J_i for every i, (N, n)."""
        ...


@dataclass(frozen=True, slots=True)
class MatrixSpan:
    """Given matrices, (N, n, n)."""

    matrices: Array

    @property
    def norms(self) -> Array:
        """Frobenius norm of each matrix, (N,)."""
        return np.asarray(np.sqrt((self.matrices**2).sum(axis=(1, 2))))

    def products(self, row: Array) -> Array:
        """r·J_i for every i, (N, n)."""
        return np.asarray(row @ self.matrices)


class CoefficientSpan:
    """Coefficient matrices of a quadratic field, never formed: r·J_i comes from the sparse table of products."""

    def __init__(self, field: QuadraticField) -> None:
        self._form = field.form
        touched = np.unique(np.concatenate([field.form.left, field.form.right]))
        self._place = np.full(field.size, -1, dtype=np.int64)
        self._place[touched] = np.arange(len(touched)) + 1
        self._count = len(touched) + 1
        squares = np.zeros(self._count)
        squares[0] = float((field.form.linear.data**2).sum())
        weight = np.asarray(field.form.products.multiply(field.form.products).sum(axis=0)).ravel()
        np.add.at(squares, self._place[field.form.left], weight)
        np.add.at(squares, self._place[field.form.right], weight)
        self.norms = np.sqrt(squares)

    def products(self, row: Array) -> Array:
        """r·J_i for every i, (N, n): first the constant part, then each variable that stands in a product."""
        form = self._form
        out = np.zeros((self._count, len(row)))
        out[0] = form.linear.T @ row
        weight = form.products.T @ row
        used = np.flatnonzero(weight)
        left, right = form.left[used], form.right[used]
        np.add.at(out, (self._place[left], right), weight[used])
        np.add.at(out, (self._place[right], left), weight[used])
        return out


def jacobian_span(field: VectorField, box: Array, seed: int = 0) -> JacobianSpan:
    """Algorithm 1.

    Parameters
    ----------
    field : Field
    box : array (n,)
        Points are drawn uniformly from the product of [0, box_j]; not used for degree two.
    seed : int

    Raises
    ------
    LimitError
        ``too-many-jacobians`` if the span is not found in time or memory.
    """
    if isinstance(field, QuadraticField):
        return CoefficientSpan(field)
    n = field.size
    rng = np.random.default_rng([seed, 0xA1])
    limit = min(_MAX_SAMPLES, max(2, _MAX_BYTES // (16 * n * n)))
    basis = np.empty((0, n * n))
    found: list[Array] = []
    while len(found) < limit:
        points = box * rng.uniform(0, 1, (16, len(box)))
        for jacobian in field.jacobians(points, np.zeros(16, dtype=np.int64)):
            if not np.isfinite(jacobian).all():
                continue
            flat = jacobian.ravel()
            rest = flat - basis.T @ (basis @ flat)
            rest -= basis.T @ (basis @ rest)
            size = float(np.linalg.norm(rest))
            if size <= _SAME * max(float(np.linalg.norm(flat)), 1e-300):
                return MatrixSpan(np.array(found))
            basis = np.vstack([basis, rest / size])
            found.append(jacobian)
    message = f"more than {limit} Jacobians are needed to span all of them; use the balanced algorithm"
    raise LimitError(Reason("too-many-jacobians", message))


def tolerance_ceiling(span: JacobianSpan, observed: Array) -> float:
    """Lemma 1: the smallest ε at which nothing is added to the observables."""
    rows = _orthonormal(observed)
    worst = 0.0
    for row in rows:
        moved = span.products(row)
        rest = moved - (moved @ rows.T) @ rows
        worst = max(worst, float(np.sqrt((rest * rest).sum(axis=1)).max(initial=0.0)))
    return worst


def approximate_rows(
    span: JacobianSpan, observed: Array, tolerance: float, max_size: int | None = None
) -> Array | None:
    """Algorithm 4: orthonormal rows of L; ``None`` as soon as there are more than ``max_size``.

    Parameters
    ----------
    span : JacobianSpan
    observed : array (p, n)
        M.
    tolerance : float
        ε ≥ 0.
    max_size : int, optional
    """
    n = observed.shape[1]
    rows = np.zeros((n, n)) if n <= 512 else np.zeros((min(n, 512), n))
    start = _orthonormal(observed)
    size = len(start)
    if max_size is not None and size > max_size:
        return None
    rows[:size] = start
    done = 0
    # at ε = 0 what is left of a product that lies in the space is rounding, as large as the matrix makes it
    floor = np.maximum(tolerance, _ROUNDING * span.norms)
    while done < size:
        moved = span.products(rows[done])
        rest = moved - (moved @ rows[:size].T) @ rows[:size]
        rest -= (rest @ rows[:size].T) @ rows[:size]
        sizes = np.sqrt((rest * rest).sum(axis=1))
        for i in range(len(rest)):
            if not sizes[i] > floor[i]:
                continue
            new = rest[i] / sizes[i]
            if max_size is not None and size >= max_size:
                return None
            if size == len(rows):
                rows = np.concatenate([rows, np.zeros_like(rows)])[:n]
            rows[size] = new
            size += 1
            rest[i:] -= np.outer(rest[i:] @ new, new)
            sizes[i:] = np.sqrt((rest[i:] * rest[i:]).sum(axis=1))
            if size == n:
                return rows[:size]
        done += 1
    return rows[:size]


@dataclass(frozen=True, slots=True)
class EpsilonSearch:
    """Rows of L and the ε that gave them."""

    rows: Array
    tolerance: float


def bisect_tolerance(span: JacobianSpan, observed: Array, max_size: int, width: float = 1e-6) -> EpsilonSearch:
    """Algorithm 5: the largest size of at most ``max_size``.

    As printed it would return ε = 0 whenever ``max_size`` is below the exact size, and the size need not fall as ε
    grows: this bisects for a size of at most ``max_size`` and keeps the largest seen.

    Parameters
    ----------
    width : float
        d_min, relative to the ceiling of Lemma 1.
    """
    high = tolerance_ceiling(span, observed) * (1 + 1e-12)
    best = EpsilonSearch(_orthonormal(observed), high)
    low = 0.0
    exact = approximate_rows(span, observed, 0.0, max_size)
    if exact is not None:
        return EpsilonSearch(exact, 0.0)
    least = width * high
    while high - low > least:
        middle = 0.5 * (low + high)
        rows = approximate_rows(span, observed, middle, max_size)
        if rows is None:
            low = middle
            continue
        high = middle
        if len(rows) > len(best.rows):
            best = EpsilonSearch(rows, middle)
        if len(rows) == max_size:
            break
    return best


def pinned_projection(rows: Array, pinned: Array, tolerance: float, offset_width: int = 1) -> Affine:
    """The orthonormal rows with the pinned ones put back in front: the same reduction in another basis.

    Parameters
    ----------
    rows : array (k, n)
        Orthonormal; the first p span the pinned ones.
    pinned : array (p, n)
    """
    p = len(pinned)
    inside = pinned @ rows[:p].T
    matrix = np.concatenate([pinned, rows[p:]])
    lift = np.concatenate([rows[:p].T @ np.linalg.inv(inside), rows[p:].T], axis=1)
    return Affine(matrix, lift, np.zeros((rows.shape[1], offset_width)), f"krylov, ε={tolerance:.6g}")


def _orthonormal(observed: Array | Sequence[Sequence[float]]) -> Array:
    """Gram–Schmidt in the order of the rows."""
    found: list[Array] = []
    for row in np.asarray(observed, dtype=np.float64):
        rest = row.copy()
        for _ in range(2):
            for one in found:
                rest -= (rest @ one) * one
        size = float(np.linalg.norm(rest))
        if size > 1e-12 * max(float(np.linalg.norm(row)), 1e-300):
            found.append(rest / size)
    return np.array(found).reshape(len(found), np.asarray(observed).shape[1])


# -- ε-variants of forward and backward equivalence ------------------------------------------------

# Two states may be in one block of a forward ε-equivalence if their effects on every block's rate differ by at most ε,
# and in one block of a backward one if their rates differ by at most ε wherever states of one block have one
# value. Both
# are looked at in a number of random points of the range of the runs (forward: columns of the Jacobian of the block
# sums; backward: rates); ε is relative to the largest entry that is compared.
#
# Refinement splits a block by clustering what is compared: states are taken in their order and join the first cluster
# whose first member is within ε (the relation "within ε" is not transitive, so the order matters and is fixed).
#
# References
# ----------
# Cardelli, Tribastone, Tschaikowski, Vandin, PNAS 114 (2017), doi 10.1073/pnas.1702697114 (the equivalences);
# Cardelli, Tribastone, Tschaikowski, Vandin, Theor. Comput. Sci. 777 (2019) (the approximate ones).


Blocks = tuple[tuple[int, ...], ...]
Kind = Literal["forward", "backward"]
_POINTS: Final = 24


def epsilon_partition(
    field: VectorField, scale: Array, pinned: Array, tolerance: float, kind: Kind, *, seed: int = 0
) -> Blocks:
    """The coarsest partition that refinement finds.

    Parameters
    ----------
    field : Field
    scale : array (n,)
        Of the states: points are drawn from 0.1 to 1 times it.
    pinned : array (p, n)
        The partition starts from the states that have equal coefficients in all observables.
    tolerance : float
        ε ≥ 0, relative to the largest difference that occurs.
    kind : str
        ``forward`` or ``backward``.
    seed : int
        Of the points at which right-hand sides and Jacobians are compared.
    """
    n = len(scale)
    blocks = _by_value(np.round(pinned.T, 12), 0.0, [tuple(range(n))])
    rng = np.random.default_rng([seed, 0xE5])
    while True:
        points = rng.uniform(0.1, 1.0, (_POINTS, n)) * scale
        features = _forward(field, blocks, points) if kind == "forward" else _backward(field, blocks, points)
        level = float(np.abs(features).max(initial=0.0))
        finer = _by_value(features, tolerance * level + 1e-12 * level, blocks)
        if len(finer) == len(blocks):
            return tuple(blocks)
        blocks = finer


def _forward(field: VectorField, blocks: Sequence[tuple[int, ...]], points: Array) -> Array:
    """For each state its column in the Jacobian of the block sums at every point, (n, features)."""
    n = points.shape[1]
    rows = np.zeros((len(points), len(blocks), field.size))
    for i, block in enumerate(blocks):
        rows[:, i, list(block)] = 1.0
    columns = field.left_products(at_time_zero(points, field.timed), np.zeros(len(points), dtype=np.int64), rows)[
        :, :, :n
    ]
    return np.ascontiguousarray(columns.transpose(2, 0, 1).reshape(n, -1))


def _backward(field: VectorField, blocks: Sequence[tuple[int, ...]], points: Array) -> Array:
    """For each state its rate at points where the states of a block have one value, (n, points)."""
    n = points.shape[1]
    flat = points.copy()
    for block in blocks:
        flat[:, list(block)] = flat[:, [block[0]]]
    rates = field.rates(at_time_zero(flat, field.timed), np.zeros(len(points), dtype=np.int64))[:, :n]
    return np.ascontiguousarray(rates.T)


def bisect_epsilon(
    field: VectorField, scale: Array, pinned: Array, max_size: int, kind: Kind, *, seed: int = 0, steps: int = 24
) -> tuple[Blocks, float]:
    """The finest partition of at most ``max_size`` blocks that bisection over ε sees, and its ε.

    Sizes need not fall as ε grows; the largest seen is kept. If even the coarsest has more blocks, it is returned.
    """
    low, high = 0.0, 2.0
    best = (epsilon_partition(field, scale, pinned, high, kind, seed=seed), high)
    for _ in range(steps):
        middle = 0.5 * (low + high) if low > 0 else high / 4
        found = epsilon_partition(field, scale, pinned, middle, kind, seed=seed)
        if len(found) > max_size:
            low = middle
            continue
        high = middle
        if len(found) > len(best[0]) or len(best[0]) > max_size:
            best = (found, middle)
        if len(found) == max_size:
            break
    return best


def _by_value(features: Array, tolerance: float, blocks: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    finer: list[tuple[int, ...]] = []
    for block in blocks:
        leaders: list[int] = []
        groups: list[list[int]] = []
        for state in block:
            for leader, group in zip(leaders, groups, strict=True):
                if np.abs(features[state] - features[leader]).max(initial=0.0) <= tolerance:
                    group.append(state)
                    break
            else:
                leaders.append(state)
                groups.append([state])
        finer += [tuple(group) for group in groups]
    return finer


def block_projection(
    blocks: Blocks, kind: Kind, start: Array, pinned: Array, tolerance: float, width: int = 1
) -> Affine:
    """The lumping of a partition, in a basis that begins with the pinned rows.

    Forward: sums, lifted in the proportions of the start. Backward: averages, lifted to equal members.
    """
    n = sum(len(block) for block in blocks)
    matrix, lift = np.zeros((len(blocks), n)), np.zeros((n, len(blocks)))
    for i, block in enumerate(blocks):
        members = list(block)
        if kind == "forward":
            matrix[i, members] = 1.0
            total = float(start[members].sum())
            lift[members, i] = start[members] / total if total > 0 else 1.0 / len(members)
        else:
            matrix[i, members] = 1.0 / len(members)
            lift[members, i] = 1.0
    basis = _begin_with(pinned @ lift)
    label = f"{kind} equivalence, ε={tolerance:.6g}"
    return Affine(basis @ matrix, lift @ np.linalg.inv(basis), np.zeros((n, width)), label)


def _begin_with(first: Array) -> Array:
    """An invertible matrix whose first rows are given, completed by unit rows."""
    from scipy.linalg import qr

    p, k = first.shape
    _, _, order = qr(first, mode="economic", pivoting=True)
    rest = np.sort(order[p:])
    return np.concatenate([first, np.eye(k)[rest]])
