"""Real points against a claim: what arithmetic modulo a prime cannot see.

Over GF(p) there are no signs: an identity between functions with logarithms, roots, absolute values or jumps, found by
their derivatives, may hold on one side of a singularity and not on the other. Here both systems are evaluated at real
points on lines that cross such surfaces: lines through the initial state, near it, and elsewhere, half of them within a
fibre of the lumping (states with the same lumps), with steps from small to very large in both directions. The points
are told apart by the signs of everything that can change sign there: arguments of logarithms and roots, denominators,
absolute values, differences in minima, maxima and conditions. Doubles look at all points; of those at which they see a
difference, and of one for each pattern of signs, ball arithmetic decides (:mod:`sbmlump.model.balls`).

A point at which the original has no real value says nothing. Where the original has one and the reduced system has
none, or surely another, the claim is false.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.linalg.polynomial import expand_over_q, term_nodes
from sbmlump.linalg.rational import Row
from sbmlump.model.balls import Ball, BallProgram, Missing, ball_of
from sbmlump.model.domains import FloatDomain, nearest_double
from sbmlump.model.graph import RELATIONS, Graph, Node, Op
from sbmlump.model.program import Program
from sbmlump.model.sparse import SparseMatrix
from sbmlump.proof.identity import Sides, Stream

__all__ = [
    "BRIEF",
    "Contradiction",
    "RealClaim",
    "RealPointSettings",
    "RealPoints",
    "compare_at_real_points",
    "contradicted_at",
    "factors_of",
    "surfaces_of",
    "with_positive_arguments",
]


Points = Array
_FLOAT: Final = FloatDomain()


@dataclass(frozen=True, slots=True)
class RealPointSettings:
    """How many real points are looked at.

    Of 2,000 random systems (``benchmarks/one_sided.py``, seeds 40000 to 41999) with identities that hold on one side
    only, on pieces, or everywhere, 1,029 of 1,031 true lumpings were found, and one proof was contradicted, by points
    in a small region that neither lines nor patterns met; since then there is the ``cloud``. Lines alone, without
    ``patterns``, missed a wedge of a few degrees; a brief look missed reduced systems without a value in a half-space.

    Attributes
    ----------
    lines : int
        Lines through the space of states.
    steps : int
        Points in each of the two directions of a line; the steps grow from 2⁻⁹ to 2²⁰ times the scale of the state.
    work : int
        Operations in doubles in all: the lines become fewer in large systems.
    ball_work : int
        Operations in ball arithmetic, about 1 µs each. At the first point and where doubles see a difference balls are
        always asked.
    most_suspects : int
        Points at which doubles see a difference that balls are asked about.
    tolerance : float
        Difference in doubles, relative to the terms that are added, from which on balls are asked.
    bits : tuple of int
        Precisions of balls, the next one where the one before could say nothing.
    most_surfaces : int
        Expressions whose signs tell points apart.
    rounds : int
        Refinements of a line around the smallest sizes of these expressions, each to a quarter.
    most_minima : int
        Places refined in one round.
    patterns : int
        For each line, further points at which factors of these expressions have randomly chosen signs.
    cloud : int
        Further points in all directions at once and at all distances, where no line and no pattern leads: with two
        identities in one system the region in which one of them fails and the other is defined may be a small one.
    factors_at_once : int
        Whose signs are chosen together: 64 patterns.
    newton_steps : int
        Towards the chosen signs; one is exact for linear factors, six are for most others.
    most_factored : int
        Nodes or terms of a polynomial that is factored, some milliseconds.
    sharp : int
        Digits, in bits, at which two balls that meet are taken for the same number.
    """

    lines: int = 16
    steps: int = 36
    work: int = 20_000_000
    ball_work: int = 120_000
    most_suspects: int = 24
    tolerance: float = 1e-9
    bits: tuple[int, ...] = (128, 1024)
    most_surfaces: int = 200
    rounds: int = 6
    most_minima: int = 12
    patterns: int = 24
    cloud: int = 4_000
    factors_at_once: int = 6
    newton_steps: int = 6
    most_factored: int = 120
    sharp: int = 40


BRIEF: Final = RealPointSettings(lines=3, ball_work=10_000, rounds=1, cloud=400)
"""For claims that are proved on the whole domain: what is looked for is a reduced system without a value."""


@dataclass(frozen=True, slots=True)
class RealClaim:
    """What is to be equal under y = Lx.

    Attributes
    ----------
    sides : Sides
        Inputs are states, then constants that both share, then time.
    rows : tuple of mappings column → Fraction
        Rows of L, one a lump.
    lift : tuple of mappings column → Fraction
        A right inverse, or empty.
    state : array (n,)
        Initial state; what is not known is NaN.
    constants : array
        Values of the constants that both share.
    """

    sides: Sides
    rows: tuple[Row, ...]
    lift: tuple[Row, ...]
    state: Points
    constants: Points


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A real point at which the two sides are certainly different.

    Attributes
    ----------
    position : int
        Of the pair.
    point : tuple of float
        Values of the inputs of the left side.
    original, reduced : float or None
        Values of both sides; ``None`` where the reduced side has none.
    """

    position: int
    point: tuple[float, ...]
    original: float
    reduced: float | None


@dataclass(frozen=True, slots=True)
class RealPoints:
    """What was looked at.

    Attributes
    ----------
    contradictions : tuple of Contradiction
        At most one for each position.
    points : int
        Points at which both sides were compared.
    patterns : int
        Different patterns of signs among them.
    """

    contradictions: tuple[Contradiction, ...]
    points: int
    patterns: int


def compare_at_real_points(claim: RealClaim, seed: int = 0, settings: RealPointSettings | None = None) -> RealPoints:
    """Look for a real point that contradicts a claim.

    Parameters
    ----------
    claim : RealClaim
    seed : int
        Of the random lines; the same points every time.
    settings : RealPointSettings, optional
    """
    return _PointComparison(claim, seed, settings or RealPointSettings()).run()


def contradicted_at(claim: RealClaim, points: Points, settings: RealPointSettings | None = None) -> bool:
    """Whether balls contradict a claim at one of the given points, (inputs, points); those not finite say nothing.

    A reduced system of which nothing can be said at any of them contradicts a claim, too, if doubles do not agree
    either: x/3 − x/3 is a ball around 0 at every precision, and its logarithm is nothing at all.
    """
    comparison = _PointComparison(claim, 0, settings or RealPointSettings())
    return bool(comparison.contradictions_at(points))


class _Decider:
    """Both sides over balls."""

    def __init__(self, claim: RealClaim, settings: RealPointSettings) -> None:
        self._claim = claim
        self._settings = settings
        sides = claim.sides
        self._left = BallProgram(sides.left, sides.left_roots, sides.left_inputs)
        self._right = BallProgram(sides.right, sides.right_roots, sides.right_inputs)
        self._decided: set[int] = set()
        self._waiting: dict[int, Contradiction] = {}

    def agreed(self, positions: Mask) -> None:
        """Take note that doubles of both sides agree at some point: the reduced system has values there."""
        self._decided.update(np.flatnonzero(positions).tolist())

    def never_decided(self) -> list[Contradiction]:
        """Positions of which the original had a value at some point asked for, and the reduced system at none."""
        return [blank for position, blank in sorted(self._waiting.items()) if position not in self._decided]

    def __len__(self) -> int:
        return len(self._left) + len(self._right)

    def contradictions(self, point: Points) -> list[Contradiction]:
        """What is certainly different at a point: exact inputs, values as balls."""
        if not np.isfinite(point).all():
            return []
        exact = [Fraction(float(value)) for value in point]
        claim = self._claim
        n = len(claim.state)
        lumps = [sum((v * exact[j] for j, v in row.items()), Fraction(0)) for row in claim.rows]
        waiting = set(range(len(claim.sides.right_roots)))
        certain: list[Contradiction] = []
        for bits in self._settings.bits:
            with ctx.workprec(bits):
                left = self._left.run([ball_of(value) for value in exact], bits)
                right = self._right.run([ball_of(value) for value in (*lumps, *exact[n:])], bits)
                for position in sorted(waiting):
                    mine, other = self._combined(left, position), right[position]
                    verdict = _verdict(mine, other, self._settings.sharp)
                    if verdict is not None:
                        waiting.discard(position)
                    if isinstance(mine, Missing):
                        continue
                    if verdict is None and other is Missing.UNKNOWN:
                        blank = Contradiction(position, tuple(point.tolist()), float(mine), None)
                        self._waiting.setdefault(position, blank)
                    else:
                        self._decided.add(position)
                    if verdict is False:
                        theirs = None if isinstance(other, Missing) else float(other)
                        certain.append(Contradiction(position, tuple(point.tolist()), float(mine), theirs))
            if not waiting:
                break
        return certain

    def _combined(self, left: Sequence[Ball], position: int) -> Ball:
        """The left side of a pair: a combination of the left roots."""
        total = arb(0)
        unknown = False
        for k, factor in self._claim.sides.weights[position].items():
            term = left[k]
            if term is Missing.UNDEFINED:
                return term
            if isinstance(term, Missing) or not term.is_finite():
                unknown = True
            else:
                total += ball_of(factor) * term
        return Missing.UNKNOWN if unknown else total


class _PointComparison:
    """Both sides as programs over doubles, and what decides."""

    def __init__(self, claim: RealClaim, seed: int, settings: RealPointSettings) -> None:
        self._claim = claim
        self._settings = settings
        self._generator = Stream.REAL_POINTS.generator(seed)
        sides = claim.sides
        self._left, self._right = sides.left_program(), sides.right_program()
        most = settings.most_surfaces
        of_left = list(surfaces_of(sides.left, sides.left_roots))
        of_right = list(surfaces_of(sides.right, sides.right_roots))
        self._surfaces = (
            Program(sides.left, of_left[:most], sides.left_inputs),
            Program(sides.right, of_right[:most], sides.right_inputs),
        )
        factors = factors_of(sides.left, of_left, sides.left_inputs, settings.most_factored)
        self._factors = Program(sides.left, factors[:most], sides.left_inputs)
        self._n = len(claim.state)
        self._matrix = _matrix(claim.rows, self._n)
        self._weights = _matrix(sides.weights, len(sides.left_roots))
        self._decider = _Decider(claim, settings)

    def run(self) -> RealPoints:
        settings = self._settings
        size = self._left.size + self._right.size + sum(program.size for program in self._surfaces)
        lines = max(2, min(settings.lines, settings.work // (2 * settings.steps * max(1, size))))
        most = max(1, settings.ball_work // max(1, len(self._decider)))
        certain: dict[int, Contradiction] = {}
        patterns: set[bytes] = set()
        compared = asked = 0
        cloud = min(settings.cloud, settings.work // max(1, size))
        for source in (self._lines(lines), self._patterns(lines), self._cloud(cloud)):
            suspects = 0
            for points in source:
                with np.errstate(all="ignore"):
                    suspicious, defined, signs = self._doubles(points)
                compared += int(defined.sum())
                for k in range(points.shape[1]):
                    pattern = signs[:, k].tobytes()
                    new = pattern not in patterns
                    patterns.add(pattern)
                    if suspicious[k] and suspects < settings.most_suspects:
                        suspects += 1
                    elif not new or asked >= most:
                        continue
                    else:
                        asked += 1
                    for contradiction in self._decider.contradictions(points[:, k]):
                        certain.setdefault(contradiction.position, contradiction)
                if certain:
                    break
            if certain:
                break
        for contradiction in self._decider.never_decided():
            certain.setdefault(contradiction.position, contradiction)
        return RealPoints(tuple(certain[position] for position in sorted(certain)), compared, len(patterns))

    def contradictions_at(self, points: Points) -> list[Contradiction]:
        """What balls are sure of at the given points."""
        with np.errstate(all="ignore"):
            self._doubles(points)
        certain = [c for k in range(points.shape[1]) for c in self._decider.contradictions(points[:, k])]
        return certain + self._decider.never_decided()

    # -- points --------------------------------------------------------------------------------------

    def _lines(self, lines: int) -> Iterator[Points]:
        """Points of one line after the other, (inputs, points); the points of the first include the initial state."""
        generator, n = self._generator, self._n
        start, scale = self._scale()
        steps = self._settings.steps
        for number in range(lines):
            kind = number % 4
            if kind < 2:
                base = start if number < 2 else start + scale * generator.uniform(-0.3, 0.3, n)
            elif kind == 2:
                base = scale * np.exp(generator.uniform(-1.5, 1.5, n))
            else:
                base = scale * generator.choice([-1.0, 1.0], n) * np.exp(generator.uniform(-1.5, 1.5, n))
            direction = self._direction(scale, sparse=bool(number // 2 % 2))
            if number % 2 == 0:
                direction = self._within_fibre(direction)
            ladder = 2.0 ** (np.linspace(-9.0, 20.0, steps) + generator.uniform(-0.3, 0.3, steps))
            others = self._others()
            t = np.sort(np.concatenate([[0.0], ladder, -ladder]))
            points = _on_line(base, direction, others, t)
            with np.errstate(all="ignore"):
                for _ in range(self._settings.rounds):
                    added = _between(t, self._surface_values(points), self._settings.most_minima)
                    if not len(added):
                        break
                    t = np.unique(np.concatenate([t, added]))
                    points = _on_line(base, direction, others, t)
            order = np.argsort(np.abs(t), kind="stable")  # from the base outwards: moderate numbers first
            yield points[:, order]

    def _patterns(self, batches: int) -> Iterator[Points]:
        """Points at which randomly chosen factors of the surfaces have randomly chosen signs.

        Where something is defined in a narrow wedge only, lines miss it; Newton's method finds it. It is exact after
        one step for linear factors, and the step is the smallest one where there are fewer factors than states.
        """
        factors, generator, n = self._factors, self._generator, self._n
        count = len(factors.roots)
        if not count:
            return
        width = min(count, n, self._settings.factors_at_once)
        start, scale = self._scale()
        for batch in range(batches):
            size = self._settings.patterns
            spread = np.exp(generator.uniform(-1.5, 1.5, (n, size))) * generator.choice([-1.0, 1.0], (n, size))
            states = start[:, None] + scale[:, None] * (
                spread if batch % 2 else generator.uniform(-0.5, 0.5, (n, size))
            )
            points = np.concatenate([states, np.repeat(self._others()[:, None], size, axis=1)])
            chosen = np.stack([generator.choice(count, width, replace=False) for _ in range(size)])
            with np.errstate(all="ignore"):
                sizes = np.abs(factors.outputs(factors.run(_FLOAT, points))).T[np.arange(size)[:, None], chosen]
                sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0) * generator.uniform(
                    0.2, 1.0, sizes.shape
                )
                wanted = generator.choice([-1.0, 1.0], sizes.shape) * sizes
                for _ in range(self._settings.newton_steps):
                    points = self._newton_step(points, chosen, wanted)
            yield points

    def _cloud(self, size: int) -> Iterator[Points]:
        """Points around 0 in random directions, from a tenth to a hundred times the sizes of the states."""
        if size < 1:
            return
        generator, n = self._generator, self._n
        _, scale = self._scale()
        distance = np.exp(generator.uniform(-2.3, 4.6, size))
        states = scale[:, None] * distance * generator.standard_normal((n, size))
        yield np.concatenate([states, np.repeat(self._others()[:, None], size, axis=1)])

    def _newton_step(self, points: Points, chosen: Indices, wanted: Points) -> Points:
        """Points moved so that the linearised factors have the values wanted; those that cannot be moved stay."""
        factors, n = self._factors, self._n
        size, width = chosen.shape
        wide = np.repeat(points, width, axis=1)
        tape = factors.run(_FLOAT, wide)
        weights = np.zeros((len(factors.roots), size * width))
        weights[chosen.ravel(), np.arange(size * width)] = 1.0
        slopes = factors.pull_back(_FLOAT, tape, weights)[:n].T.reshape(size, width, n)
        missing = wanted - factors.outputs(tape)[chosen.ravel(), np.arange(size * width)].reshape(size, width)
        fine = np.isfinite(slopes).all(axis=(1, 2)) & np.isfinite(missing).all(axis=1)
        step = np.zeros((size, n))
        step[fine] = np.einsum("pnk,pk->pn", np.linalg.pinv(slopes[fine]), missing[fine])
        moved = points.copy()
        moved[:n] += np.where(np.isfinite(step), step, 0.0).T
        return moved

    def _scale(self) -> tuple[Points, Points]:
        """The initial state, and a size for each state."""
        start = np.where(np.isfinite(self._claim.state), self._claim.state, 1.0)
        sizes = np.abs(start[start != 0])
        typical = float(np.median(sizes)) if len(sizes) else 1.0
        return start, np.where(start != 0, np.abs(start), typical)

    def _direction(self, scale: Points, *, sparse: bool) -> Points:
        direction = scale * self._generator.standard_normal(self._n)
        if sparse and self._n > 2:
            kept = self._generator.choice(self._n, 2, replace=False)
            direction[np.setdiff1d(np.arange(self._n), kept)] = 0.0
        return direction

    def _within_fibre(self, direction: Points) -> Points:
        """(I − L̄L)·direction, along which the lumps do not change; the direction itself if nothing is left."""
        claim = self._claim
        if not claim.lift:
            return direction
        moved = direction.copy()
        for value, row in zip(self._matrix @ direction, claim.lift, strict=True):
            for column, factor in row.items():
                moved[column] -= nearest_double(factor) * value
        fine = np.isfinite(moved).all() and np.abs(moved).max(initial=0.0) > 1e-9 * np.abs(direction).max(initial=0.0)
        return moved if fine else direction

    def _others(self) -> Points:
        """Constants near their values (or just these, so that an exponent 2 stays one), then time."""
        constants = np.where(np.isfinite(self._claim.constants), self._claim.constants, 1.0)
        if self._generator.random() < 0.5:
            constants = constants * np.exp(self._generator.uniform(-0.7, 0.7, len(constants)))
        return np.append(constants, self._generator.uniform(0.0, 10.0))

    # -- values --------------------------------------------------------------------------------------

    def _doubles(self, points: Points) -> tuple[Mask, Mask, NDArray[np.int8]]:
        """At which points the sides seem to differ, at which something was compared, and signs of the surfaces."""
        left = self._left.outputs(self._left.run(_FLOAT, points))
        right = self._right.outputs(self._right.run(_FLOAT, self._lumped(points)))
        mine = self._weights @ left
        weight = abs(self._weights) @ np.abs(left)
        known = np.isfinite(mine)
        close = np.abs(mine - right) <= self._settings.tolerance * (weight + np.abs(right))
        self._decider.agreed((known & close).any(axis=1))
        signs = np.nan_to_num(np.sign(self._surface_values(points)), nan=2.0).astype(np.int8)
        return (known & ~close).any(axis=0), known.any(axis=0), np.ascontiguousarray(signs)

    def _surface_values(self, points: Points) -> Points:
        """Values of what can change its sign, (surfaces, points)."""
        both = zip(self._surfaces, (points, self._lumped(points)), strict=True)
        return np.concatenate([program.outputs(program.run(_FLOAT, where)) for program, where in both])

    def _lumped(self, points: Points) -> Points:
        """Inputs of the right side."""
        return np.concatenate([self._matrix @ points[: self._n], points[self._n :]])


def _verdict(original: Ball, reduced: Ball, bits: int) -> bool | None:
    """Whether both are certainly the same, as far as so many digits say; ``None`` if more digits are needed."""
    if original is Missing.UNDEFINED:
        return True
    if isinstance(original, Missing) or reduced is Missing.UNKNOWN:
        return None
    if isinstance(reduced, Missing) or not original.overlaps(reduced):
        return False
    sharp = original.is_exact() or original.rel_accuracy_bits() > bits
    return True if sharp and reduced.rel_accuracy_bits() > bits else None


def surfaces_of(graph: Graph, roots: Sequence[Node]) -> dict[Node, None]:
    """Expressions that vanish where a function of ``roots`` may change its branch, jump, or cease to be defined."""
    surfaces: dict[Node, None] = {}
    for node in graph.reachable(roots):
        op, args = graph.op(node), graph.args(node)
        name = graph.name(node) if op is Op.CALL else ""
        if op is Op.DIV:
            surfaces[args[1]] = None
        elif op is Op.POW:
            exponent = graph.number_of(args[1])
            if exponent is None or exponent.denominator != 1 or exponent < 0:
                surfaces[args[0]] = None
        elif name in RELATIONS or name in ("min", "max"):
            for other in args[1:]:
                surfaces[graph.sub(args[0], other)] = None
        elif name in ("ln", "abs", "floor", "ceiling", "rem", "quotient", "factorial", "arcsec", "arccsc", "arccot"):
            surfaces[args[0]] = None
        elif name in ("arcsin", "arccos", "arctanh", "arccosh", "arcsech", "arccoth"):
            for bound in (-1, 0, 1):
                surfaces[graph.sub(args[0], graph.number(bound))] = None
    return {node: None for node in surfaces if graph.number_of(node) is None}


def factors_of(graph: Graph, surfaces: Sequence[Node], inputs: Sequence[Node], most: int) -> list[Node]:
    """What surfaces are products of, so that each can change its sign by itself: (u − v)² also where multiplied out."""
    factors: dict[Node, None] = {}
    stack, seen = list(surfaces), set[Node]()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        op, args = graph.op(node), graph.args(node)
        if op in (Op.MUL, Op.DIV):
            stack.extend(args)
        elif op is Op.POW:
            stack.append(args[0])
        elif graph.number_of(node) is None:
            parts = _polynomial_factors(graph, node, inputs, most) if op is Op.ADD else [node]
            factors.update(dict.fromkeys(parts))
    return list(factors)


def _polynomial_factors(graph: Graph, node: Node, inputs: Sequence[Node], most: int) -> list[Node]:
    """Irreducible factors over Q of a small polynomial; the node itself where it is large or no polynomial."""
    below = set(graph.reachable([node]))
    variables = [symbol for symbol in inputs if symbol in below]
    if len(below) > most or not variables:
        return [node]
    expanded = expand_over_q(graph, [node], variables)
    if expanded is None or len(expanded[0]) > most:
        return [node]
    _, powers = expanded[0].factor()
    if len(powers) == 1 and powers[0][1] == 1:
        return [node]
    return [graph.add(term_nodes(graph, factor, variables)) for factor, _ in powers]


def _on_line(base: Points, direction: Points, others: Points, t: Points) -> Points:
    states = base[:, None] + t * direction[:, None]
    return np.concatenate([states, np.repeat(others[:, None], len(t), axis=1)])


def _between(t: Points, surfaces: Points, most: int) -> Points:
    """Steps around the smallest sizes of each surface along a line, where it may reach zero between two points.

    Without these a surface that is crossed twice between two neighbours, or only touched, stays unseen.
    """
    sizes = np.abs(surfaces)
    lower = (sizes[:, 1:-1] <= sizes[:, :-2]) & (sizes[:, 1:-1] <= sizes[:, 2:]) & (sizes[:, 1:-1] > 0)
    same = (surfaces[:, 1:-1] * surfaces[:, :-2] > 0) & (surfaces[:, 1:-1] * surfaces[:, 2:] > 0)
    # signs that change are seen already, and so are minima at which the numbers do not differ any more
    resolved = np.abs(t[2:] - t[:-2]) > 1e-9 * np.maximum(1.0, np.abs(t[1:-1]))
    places = np.flatnonzero((lower & same).any(axis=0) & resolved)[:most]
    low, middle, high = t[places], t[places + 1], t[places + 2]
    shares = np.array([0.25, 0.5, 0.75])
    added = [middle + share * (high - middle) for share in shares] + [
        middle - share * (middle - low) for share in shares
    ]
    return np.concatenate(added)


def _matrix(rows: Sequence[Row], width: int) -> SparseMatrix:
    entries = [(i, j, nearest_double(value)) for i, row in enumerate(rows) for j, value in row.items()]
    data = np.array([value for _, _, value in entries], dtype=np.float64)
    owners, columns = (np.array([entry[k] for entry in entries], dtype=np.int64) for k in (0, 1))
    return SparseMatrix.of(data, owners, columns, (len(rows), width))


# -- Arguments of roots and logarithms as powers ---------------------------------------------------

# Arguments of roots and logarithms as powers of one positive quantity, so that √u·√u is seen to be u.
#
# Over GF(p) the value and the derivative of every power and logarithm are hashes of their own, and what they have to do
# with their argument is not known. Where a rational power of u, its logarithm, or u itself stand side by side, all of
# them are written here as whole powers of one root: u = r^q and u^(n/q) = r^n, with r a function of u of which nothing
# else is known; further exp(c·ln u) = u^c for rational c, and (u^k)^c = u^(k·c) and ln(u^k) = k·ln u for odd k, and
# ln(exp(a)·u) = a + ln u.
#
# **What is proved about the rewritten expressions holds on the whole real domain of the original ones**, on both sides
# of every singularity. Let F be an expression, x and x′ two states of one fibre of the lumping at which F has a real
# value, and F̂ the rewritten expression, whose derivatives along the fibre vanish when every r, and every other
# function of which nothing is known, is *any* function. A power u^(n/q) that is not a whole one, and ln u, have a real
# value for u > 0 (and u = 0) only. So there is at x and at x′ a real r ≥ 0 with r^q = u, and (r^q)^(n/q) = r^n; where F
# mentions u without such a root, u may be negative, a complex r with r^q = u will do, and F̂ mentions r^q alone. Choose
# entire functions r(·) that have these values at the arguments that occur at x and at x′ (interpolation: there are
# finitely many). Then F̂ is a meromorphic function on the fibre, which is an affine space and stays connected without
# the poles; its derivative is 0; so F(x) = F̂(x) = F̂(x′) = F(x′). Nothing was said about the sign of anything: u and,
# say, u·u in √(u·u)/u remain two quantities with two roots that have nothing to do with each other, and no relation
# between them is used.


def with_positive_arguments(graph: Graph, roots: Sequence[Node], most_degree: int = 60) -> list[Node]:
    """The expressions, rewritten as described above; the very same nodes where there is nothing to rewrite.

    Parameters
    ----------
    graph : Graph
        Takes the new nodes.
    roots : sequence of Node
    most_degree : int
        Of a root, so that degrees, and with them the chance of error, stay small.
    """
    powers = _without_exponentials_of_logarithms(graph, roots)
    degrees = _root_degrees(graph, powers, most_degree)
    return _by_roots(graph, powers, degrees) if degrees else powers


def _without_exponentials_of_logarithms(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """exp(c·ln u + rest) as u^c·exp(rest), and powers and logarithms of odd powers by those of their base."""
    new: dict[Node, Node] = {}
    for node in graph.reachable(roots):
        args = tuple(new[arg] for arg in graph.args(node))
        op = graph.op(node)
        name = graph.name(node) if op is Op.CALL else ""
        if name == "exp":
            new[node] = _exponential(graph, args[0])
        elif name == "ln":
            new[node] = _logarithm(graph, args[0])
        elif op is Op.POW and (outer := graph.number_of(args[1])) is not None:
            new[node] = _power(graph, args[0], outer)
        else:
            new[node] = graph.rebuild(op, args, graph.payload(node))
    return [new[root] for root in roots]


def _exponential(graph: Graph, exponent: Node) -> Node:
    terms = graph.linear_terms(exponent)
    logarithms = {t: c for t, c in terms.items() if graph.op(t) is Op.CALL and graph.name(t) == "ln"}
    if not logarithms:
        return graph.call("exp", (exponent,))
    others = graph.from_terms({t: c for t, c in terms.items() if t not in logarithms})
    factors = [_power(graph, graph.args(t)[0], c) for t, c in logarithms.items()]
    return graph.mul((*factors, graph.call("exp", (others,))))


def _logarithm(graph: Graph, argument: Node) -> Node:
    """ln u, with exponentials among the factors of u, which are positive, and an odd power of u taken out."""
    factors = graph.args(argument) if graph.op(argument) is Op.MUL else (argument,)
    exponentials = [node for node in factors if graph.op(node) is Op.CALL and graph.name(node) == "exp"]
    others = argument if not exponentials else graph.mul(node for node in factors if node not in exponentials)
    base, exponent = _base_of(graph, others)
    parts = [graph.args(node)[0] for node in exponentials]
    return graph.add((*parts, graph.scaled(exponent, graph.call("ln", (base,)))))


def _power(graph: Graph, base: Node, exponent: Fraction) -> Node:
    """base^exponent; a power of an odd power, and of one that is no whole one, with the product of the exponents."""
    if exponent.denominator != 1:
        base, inner = _base_of(graph, base)
        exponent *= inner
    elif graph.op(base) is Op.POW:
        inner_exponent = graph.number_of(graph.args(base)[1])
        if inner_exponent is not None and inner_exponent.denominator != 1:
            base, exponent = graph.args(base)[0], exponent * inner_exponent
    return graph.pow(base, graph.number(exponent))


def _base_of(graph: Graph, node: Node) -> tuple[Node, Fraction]:
    """u and k where ``node`` is u^k and positive for positive u only, or else itself and 1."""
    if graph.op(node) is Op.POW:
        base, exponent = graph.args(node)
        number = graph.number_of(exponent)
        if number is not None and (number.denominator != 1 or number.numerator % 2):
            return base, number
    return node, Fraction(1)


def _root_degrees(graph: Graph, roots: Sequence[Node], most: int) -> dict[Node, int]:
    """For each base of powers that are no whole ones, the common denominator of their exponents."""
    degrees: dict[Node, int] = {}
    for node in graph.reachable(roots):
        if graph.op(node) is not Op.POW:
            continue
        base, exponent = graph.args(node)
        number = graph.number_of(exponent)
        if number is None or number.denominator == 1 or graph.op(base) in (Op.NUMBER, Op.CONSTANT):
            continue
        degrees[base] = lcm(degrees.get(base, 1), number.denominator)
    return {base: degree for base, degree in degrees.items() if degree <= most}


def _by_roots(graph: Graph, roots: Sequence[Node], degrees: dict[Node, int]) -> list[Node]:
    """Every base by its root of that degree, and its powers by powers of that root.

    A base c·v is written so at v, as r^q/c: sums have v in them with factors of their own.
    """
    new: dict[Node, Node] = {}
    of_base: dict[Node, Node] = {}
    cores: dict[Node, Node] = {}
    for base in degrees:
        if graph.op(base) is Op.MUL and graph.number_of(graph.args(base)[0]) is not None:
            core = graph.args(base)[1]
            if core not in degrees:
                cores.setdefault(core, base)
    for node in graph.reachable(roots):
        args = graph.args(node)
        if graph.op(node) is Op.POW and args[0] in of_base and (number := graph.number_of(args[1])) is not None:
            whole = number * degrees[args[0]]
            new[node] = graph.pow(of_base[args[0]], graph.number(whole))
        else:
            new[node] = graph.rebuild(graph.op(node), [new[arg] for arg in args], graph.payload(node))
        if node in cores:
            base = cores[node]
            factor = graph.number_of(graph.args(base)[0])
            assert factor is not None
            of_base[base] = graph.pow(graph.scaled(factor, new[node]), graph.number(Fraction(1, degrees[base])))
            new[node] = graph.scaled(1 / factor, graph.pow(of_base[base], graph.number(degrees[base])))
        elif node in degrees and node not in of_base:
            of_base[node] = graph.pow(new[node], graph.number(Fraction(1, degrees[node])))
            new[node] = graph.pow(of_base[node], graph.number(degrees[node]))
    return [new[root] for root in roots]
