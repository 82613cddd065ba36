"""Lifts of degree two: x̂ = L̄y + Gψ(y, w) with products of reduced states, and of reduced states and totals, in ψ.

A linear lift says where the original is by a plane; trajectories that fast processes have drawn onto a curved surface
need fewer reduced states with a curved one. The products y·w matter as much as y·y: the surface lies elsewhere for
other conserved totals. All else is as for :class:`~sbmlump.methods.approximate.subspaces.Affine`: LL̄ = I, LG = 0,
ẏ = L f(x̂).

References
----------
Geelen, Wright, Willcox, Comput. Methods Appl. Mech. Eng. 403 (2023), doi 10.1016/j.cma.2022.115717.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.methods.approximate.subspaces import Affine

__all__ = ["QuadraticLift", "product_slopes", "variables", "with_products"]


@dataclass(frozen=True, slots=True)
class QuadraticLift(Affine):
    """y = Lx, x̂ = L̄y + Gψ with ψ = (w, products of two of v = (y, w without its 1)).

    Attributes
    ----------
    products : tuple of (int, int)
        Places in v of the factors of each product, the smaller one first: that is a component of y. Their columns are
        the last ones of the offset G.
    """

    products: tuple[tuple[int, int], ...] = ()

    def factors(self) -> Indices:
        """Places in v of the factors of each product, (2, P)."""
        return np.array(self.products, dtype=np.int64).reshape(-1, 2).T

    def features(self, y: Array, w: Array) -> Array:
        """What the columns of G multiply, (r, m, k) and (r, 1 + c) to (r, m, 1 + c + P)."""
        v = variables(y, w)
        left, right = self.factors()
        shape = (*y.shape[:2], w.shape[1])
        return np.concatenate([np.broadcast_to(w[:, None, :], shape), v[..., left] * v[..., right]], axis=2)

    def slopes(self, y: Array, w: Array) -> Array:
        """∂x̂/∂y, (r, m, n, k)."""
        return np.asarray(self.lift + self.columns() @ product_slopes(variables(y, w), self.factors(), self.size))

    def columns(self) -> Array:
        """Columns of G of the products, (n, P)."""
        return self.offset[:, self.offset.shape[1] - len(self.products) :]

    def rescaled(self, sizes: Array) -> QuadraticLift:
        """The same projection with components y / sizes."""
        units = np.append(sizes, np.ones(max(map(max, self.products), default=0) + 1))
        left, right = self.factors()
        offset = self.offset.copy()
        offset[:, offset.shape[1] - len(self.products) :] *= units[left] * units[right]
        return replace(self, matrix=self.matrix / sizes[:, None], lift=self.lift * sizes, offset=offset)

    def zeroed(self, places: Sequence[int], means: Array) -> QuadraticLift:
        """The lift with zero columns for some of its products, whose means go to the constant.

        Parameters
        ----------
        places : sequence of int
            Of the products.
        means : array (P,)
            Of all products along trajectories.
        """
        first = self.offset.shape[1] - len(self.products)
        offset = self.offset.copy()
        for place in places:
            offset[:, 0] += means[place] * offset[:, first + place]
            offset[:, first + place] = 0.0
        return replace(self, offset=offset)

    def without(self, places: Sequence[int]) -> QuadraticLift:
        """The lift without some of its products, whose columns are zero."""
        first = self.offset.shape[1] - len(self.products)
        gone = set(places)
        kept = tuple(product for place, product in enumerate(self.products) if place not in gone)
        return replace(self, offset=np.delete(self.offset, [first + place for place in gone], axis=1), products=kept)


def variables(y: Array, w: Array) -> Array:
    """v = (y, w without its 1), (r, m, k) and (r, 1 + c) to (r, m, k + c)."""
    totals = np.broadcast_to(w[:, None, 1:], (*y.shape[:2], w.shape[1] - 1))
    return np.concatenate([y, totals], axis=2)


def product_slopes(v: Array, factors: Indices, size: int) -> Array:
    """Derivatives of the products by the first ``size`` of v, (…, k + c) to (…, P, size)."""
    left, right = factors
    count = np.arange(len(left))
    out = np.zeros((*v.shape[:-1], len(left), v.shape[-1]))
    out[..., count, left] += v[..., right]
    out[..., count, right] += v[..., left]
    return out[..., :size]


def with_products(one: Affine, scale: Array, most: int) -> QuadraticLift:
    """A lift with products of two reduced states and of a reduced state and a total, their columns still zero.

    Parameters
    ----------
    one : Affine
        As refined as may be: what it starts from.
    scale : array (n,)
        Largest values of the states.
    most : int
        Products; with more totals than that allows, those are taken that move the lift most.
    """
    k = one.size
    moved = np.linalg.norm(one.offset[:, 1:] / scale[:, None], axis=0)
    count = max(0, (most - k * (k + 1) // 2) // k)
    totals = sorted(np.argsort(-moved, kind="stable")[:count].tolist())
    products = [(i, j) for i in range(k) for j in range(i, k)]
    products += [(i, k + j) for i in range(k) for j in totals]
    offset = np.concatenate([one.offset, np.zeros((len(one.offset), len(products)))], axis=1)
    same = {part.name: getattr(one, part.name) for part in fields(Affine)}
    changed = {"offset": offset, "label": f"{one.label}, quadratic", "products": tuple(products)}
    return QuadraticLift(**{**same, **changed})
