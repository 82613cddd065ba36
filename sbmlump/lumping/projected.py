"""Many candidate reductions as one field: ẏ = L f(L̄y + c), a run for each candidate and start.

For right-hand sides of degree two the reduced one is a small table (k + k² + k³ numbers a run), so that a thousand
runs cost a matrix product; others go through the full program at the lifted points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sbmlump.integrate.fields import QuadraticField, VectorField
from sbmlump.integrate.rosenbrock import BatchField
from sbmlump.integrate.work import CALL, PRODUCT, StepWork
from sbmlump.lumping.balanced import Affine

__all__ = ["LiftedField", "TabledField", "lifted_field"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_MAX_TABLE: Final = 40_000_000  # numbers in the tables of all candidates


def lifted_field(field: VectorField, maps: Sequence[Affine], constants: Array, numbers: Indices) -> BatchField:
    """The reduced fields of candidates of one size as one field.

    Run i·r + j is candidate i from start j.

    Parameters
    ----------
    field : Field
        Of the full system.
    maps : sequence of Affine
        All with k states.
    constants : array (r, 1 + c)
        w of each start.
    numbers : array of int (r,)
        The runs of `field` that the starts belong to.
    """
    k = maps[0].size
    if isinstance(field, QuadraticField) and len(maps) * len(constants) * k * (k + 1) + len(maps) * k**3 <= _MAX_TABLE:
        return TabledField(field, maps, constants)
    return LiftedField(field, maps, constants, numbers)


@dataclass(frozen=True, slots=True)
class _Places:
    run: Indices
    numbers: Indices
    offset: Array
    matrix: Array
    blocks: tuple[tuple[int, slice], ...]


class LiftedField:
    """Through the lifted point: rates L f(x̂), Jacobian L J(x̂) L̄; the clock, if there is one, is carried along."""

    def __init__(self, field: VectorField, maps: Sequence[Affine], constants: Array, numbers: Indices) -> None:
        self._field = field
        timed = int(field.timed)
        self.size = maps[0].size + timed
        self.timed = field.timed
        self._starts = len(constants)
        self._numbers = numbers
        self._matrix = np.stack([_with_clock(m.matrix, timed) for m in maps])
        self._lift = np.stack([_with_clock(m.lift, timed) for m in maps])
        offsets = np.stack([constants @ m.offset.T for m in maps])
        self._offset = np.concatenate([offsets, np.zeros((*offsets.shape[:2], timed))], axis=2)
        self._now: _Places | None = None

    def lifted(self, y: Array, run: Indices) -> Array:
        """x̂ of each point, (k, n)."""
        now = self._places(run)
        out = now.offset.copy()
        for c, part in now.blocks:
            out[part] += y[part] @ self._lift[c].T
        return out

    def rates(self, y: Array, run: Indices) -> Array:
        """ẏ at each point."""
        now = self._places(run)
        return self._onto(self._field.rates(self.lifted(y, run), now.numbers), now.blocks)

    def project(self, x: Array, which: Indices) -> Array:
        """L times each point, by the candidate it belongs to, (k, n) to (k, size)."""
        return self._onto(x, tuple(_blocks(which)))

    def _onto(self, x: Array, blocks: Sequence[tuple[int, slice]]) -> Array:
        out = np.empty((len(x), self.size))
        for c, part in blocks:
            out[part] = x[part] @ self._matrix[c].T
        return out

    def jacobians(self, y: Array, run: Indices) -> Array:
        """∂ẏ/∂y at each point."""
        now = self._places(run)
        rows = self._field.left_products(self.lifted(y, run), now.numbers, now.matrix)
        out = np.empty((len(y), self.size, self.size))
        for c, part in now.blocks:
            out[part] = rows[part] @ self._lift[c]
        return out

    def step_work(self) -> StepWork:
        """What a step costs: the full program, k rows through its Jacobian, and the products with L and L̄."""
        k, n = self.size, self._field.size
        full = self._field.step_work(k)
        return StepWork(full.call + 14 * len(self._matrix) * CALL / 2, full.point + PRODUCT * (14 * n * k + n * k * k))

    def _places(self, run: Indices) -> _Places:
        """What belongs to these runs; an integrator asks many times for the same ones, by the same array."""
        if self._now is None or self._now.run is not run:
            which, start = np.divmod(run, self._starts)
            blocks = tuple(_blocks(which))
            self._now = _Places(run, self._numbers[start], self._offset[which, start], self._matrix[which], blocks)
        return self._now


def _blocks(which: Indices) -> Iterator[tuple[int, slice]]:
    """Stretches of equal numbers; runs stay in their order, so there are as many as candidates."""
    if not len(which):
        return
    edges = np.flatnonzero(np.diff(which)) + 1
    for low, high in zip([0, *edges.tolist()], [*edges.tolist(), len(which)], strict=True):
        yield int(which[low]), slice(low, high)


def _with_clock(table: Array, timed: int) -> Array:
    if not timed:
        return table
    out = np.zeros((table.shape[0] + 1, table.shape[1] + 1))
    out[:-1, :-1] = table
    out[-1, -1] = 1.0
    return out


@dataclass(frozen=True, slots=True)
class _Chosen:
    run: Indices
    linear: Array
    constant: Array
    blocks: tuple[tuple[int, slice], ...]


class TabledField:
    """Degree two: ẏ = a + My + T(y ⊗ y), with a and M of each run and T of each candidate."""

    def __init__(self, field: QuadraticField, maps: Sequence[Affine], constants: Array) -> None:
        form = field.form
        k, r = maps[0].size, len(constants)
        self.size = k
        self.timed = False
        self._starts = r
        self._square = np.empty((len(maps), k * k, k))
        self._slope = np.empty((len(maps), k, k, k))
        self._constant = np.empty((len(maps) * r, k))
        self._linear = np.empty((len(maps) * r, k, k))
        self._now: _Chosen | None = None
        for i, one in enumerate(maps):
            lq = one.matrix @ form.products
            left, right = one.lift[form.left], one.lift[form.right]
            offset = constants @ one.offset.T
            part = slice(i * r, (i + 1) * r)
            self._constant[part] = form.values(offset) @ one.matrix.T
            linear = one.matrix @ (form.linear @ one.lift)
            if len(form.left):
                a, b = offset[:, form.left], offset[:, form.right]
                cross = np.einsum("kp,rp,pj->rkj", lq, a, right, optimize=True)
                cross += np.einsum("kp,rp,pj->rkj", lq, b, left, optimize=True)
                square = np.einsum("kp,pi,pj->ijk", lq, left, right, optimize=True)
            else:
                cross, square = np.zeros((r, k, k)), np.zeros((k, k, k))
            self._linear[part] = linear + cross
            self._square[i] = square.reshape(k * k, k)
            self._slope[i] = (square + square.transpose(1, 0, 2)).transpose(0, 2, 1)

    def rates(self, y: Array, run: Indices) -> Array:
        """ẏ at each point."""
        now = self._chosen(run)
        pairs = (y[:, :, None] * y[:, None, :]).reshape(len(y), -1)
        out = (now.linear @ y[:, :, None])[:, :, 0] + now.constant
        for c, part in now.blocks:
            out[part] += pairs[part] @ self._square[c]
        return np.asarray(out)

    def jacobians(self, y: Array, run: Indices) -> Array:
        """∂ẏ/∂y at each point."""
        k = self.size
        now = self._chosen(run)
        # Σ_i y_i (T_ij + T_ji): slope is (i, component, j)
        out = now.linear.copy()
        for c, part in now.blocks:
            out[part] += (y[part] @ self._slope[c].reshape(k, k * k)).reshape(-1, k, k)
        return out

    def step_work(self) -> StepWork:
        """What a step costs."""
        k = self.size
        return StepWork(7 * (4 + len(self._slope) / 2) * CALL, PRODUCT * 7 * k**3 + 14 * k * k)

    def _chosen(self, run: Indices) -> _Chosen:
        """The tables of these runs; an integrator asks many times for the same ones, by the same array."""
        if self._now is None or self._now.run is not run:
            blocks = tuple(_blocks(run // self._starts))
            self._now = _Chosen(run, self._linear[run], self._constant[run], blocks)
        return self._now
