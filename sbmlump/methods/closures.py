"""Closures ẏ = Kφ(y, u): a library of features, weak regression of the rates, and training on trajectories.

y = Lx are lumps, u what a trajectory keeps from its initial values (conserved totals) and time where the model depends
on it; φ are the products of two factors of z = (1, y, u). With denominators each rate is a quotient p_i/(1 + q_i) of
such sums. Everything is in scaled units: each component of y and u is at most about 1.

*Weak form.* The residual ρ(t) = L f(x(t)) − Kφ(Lx(t), u) is integrated against bump functions over windows of several
widths. What is small in that sense does not add up along a trajectory, and an exact closure has no residual whatever
the quadrature.

*Training.* What counts is the trajectory of ẏ = Kφ(y, u) from y(0) = Lx(0), not its rate. The errors of the observables
at many times are minimised over K and over the rows of L beside the observables by a Levenberg–Marquardt method, whose
derivatives come from one backward recursion of the small system.

References
----------
S. L. Brunton, J. L. Proctor, J. N. Kutz, PNAS 113 (2016), doi 10.1073/pnas.1517384113: sparse regression for dynamics.
D. A. Messenger, D. M. Bortz, Multiscale Model. Simul. 19 (2021), doi 10.1137/20M1343166: its weak form.
Levenberg, Quart. Appl. Math. 2 (1944), doi 10.1090/qam/10666; Marquardt, SIAM J. 11 (1963), doi 10.1137/0111030.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from scipy.linalg import qr

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.dynamics import Budget, Runs, Sample, StepControl, advance, exponentials, integrate
from sbmlump.dynamics.rosenbrock import Observer, piecewise
from sbmlump.dynamics.solve import sweep_back
from sbmlump.dynamics.vector_field import PRODUCT
from sbmlump.linalg.least_squares import DampedProblem
from sbmlump.methods.method import Progress, unheard

__all__ = [
    "RateClosure",
    "ClosureField",
    "ClosureRun",
    "Library",
    "RegressionSettings",
    "Resets",
    "ClosureTraining",
    "TrainingRuns",
    "TrajectoryFitSettings",
    "WeakForm",
    "train",
]


# -- Features and closures -------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """The features φ: all products of two factors of z = (1, y, u), that is, everything up to degree two.

    Attributes
    ----------
    size : int
        Components k of y.
    given : int
        Components c of u.
    timed : bool
        Whether the last component of u is time, in units of `until`.
    until : float
    """

    size: int
    given: int
    timed: bool = False
    until: float = 1.0
    first: Indices = field(init=False)
    second: Indices = field(init=False)

    def __post_init__(self) -> None:
        first, second = np.triu_indices(1 + self.size + self.given)
        object.__setattr__(self, "first", first.astype(np.int64))
        object.__setattr__(self, "second", second.astype(np.int64))

    @property
    def features(self) -> int:
        """How many there are."""
        return len(self.first)

    def factors(self, y: Array, given: Array) -> Array:
        """z at N points, (N, k) and (N, c) to (N, 1 + k + c)."""
        return np.concatenate([np.ones((len(y), 1)), y, given], axis=1)

    def values(self, factors: Array) -> Array:
        """φ at N points, (N, 1 + k + c) to (N, F)."""
        return np.asarray(factors[:, self.first] * factors[:, self.second])

    def tables(self, coefficients: Array) -> Array:
        """Symmetric matrices S with Kφ = zᵀSz/2, (…, F) to (…, 1 + k + c, 1 + k + c)."""
        width = 1 + self.size + self.given
        out = np.zeros((*coefficients.shape[:-1], width, width))
        out[..., self.first, self.second] = coefficients
        return np.asarray(out + np.swapaxes(out, -1, -2))


@dataclass(frozen=True, slots=True)
class RateClosure:
    """ẏ_i = (top_i·φ)/(1 + bottom_i·φ) from y(0) = Lx(0), in scaled units.

    Attributes
    ----------
    matrix : ndarray (k, n)
        L; the first p rows are the observed ones, each divided by its scale.
    top, bottom : ndarray (k, F)
        Coefficients; `bottom` is 0 where the rates are polynomials.
    free_top, free_bottom : ndarray of bool (k, F)
        Which of them training may change.
    jumps : ndarray (e, k, 1 + k + c)
        What each state reset adds to y, over z.
    label : str
        How it was found.
    """

    matrix: Array
    top: Array
    bottom: Array
    free_top: Mask
    free_bottom: Mask
    jumps: Array
    label: str = ""

    @property
    def size(self) -> int:
        """Components of y."""
        return len(self.matrix)

    @property
    def rational(self) -> bool:
        """Whether a rate has a denominator."""
        return bool(self.bottom.any())

    @property
    def terms(self) -> int:
        """Terms of all rates."""
        return int(np.count_nonzero(self.top) + np.count_nonzero(self.bottom))


@dataclass(frozen=True, slots=True)
class _ChosenRuns:
    run: Indices
    given: Array
    top: Array
    bottom: Array
    top_table: Array
    bottom_table: Array


class ClosureField:
    """Many closures of one size as one field for batched integration; run i·r + j is closure i from initial value j.

    Parameters
    ----------
    library : Library
    closures : sequence of RateClosure
    given : array (r, c)
        u of each initial value, without time.
    """

    def __init__(self, library: Library, closures: Sequence[RateClosure], given: Array) -> None:
        self.library = library
        self.timed = library.timed
        self.size = library.size + int(library.timed)
        self._given = given
        self._top = np.stack([one.top for one in closures])
        self._bottom = np.stack([one.bottom for one in closures])
        self._top_table, self._bottom_table = library.tables(self._top), library.tables(self._bottom)
        self._rational = bool(self._bottom.any())
        self._now: _ChosenRuns | None = None

    def rates(self, x: Array, run: Indices) -> Array:
        """ẏ at each point, (N, k) or with time (N, k + 1)."""
        now = self._chosen(run)
        return self._timed(self._rates(now, self.library.values(self._factors(now, x)))[0])

    def jacobians(self, x: Array, run: Indices) -> Array:
        """∂ẏ/∂y at each point."""
        now, k = self._chosen(run), self.library.size
        z = self._factors(now, x)
        slopes = (now.top_table @ z[:, None, :, None])[..., 0]
        if self._rational:
            rates, below = self._rates(now, self.library.values(z))
            slopes = slopes - rates[:, :, None] * (now.bottom_table @ z[:, None, :, None])[..., 0]
            slopes = slopes / below[:, :, None]
        if not self.timed:
            return np.ascontiguousarray(slopes[:, :, 1 : 1 + k])
        out = np.zeros((len(x), k + 1, k + 1))
        out[:, :k, :k] = slopes[:, :, 1 : 1 + k]
        out[:, :k, k] = slopes[:, :, -1] / self.library.until
        return out

    def parts(self, x: Array, run: Indices) -> tuple[Array, Array, Array]:
        """φ (N, F), ẏ (N, k) and the denominators (N, k)."""
        now = self._chosen(run)
        features = self.library.values(self._factors(now, x))
        return features, *self._rates(now, features)

    def step_work(self) -> float:
        """What a step costs: six right-hand sides and a Jacobian."""
        library = self.library
        parts = 2 if self._rational else 1
        width = 1 + library.size + library.given
        products = library.size * (6 * library.features + width * width)
        return parts * products + 12 * library.features

    def _factors(self, now: _ChosenRuns, x: Array) -> Array:
        k = self.library.size
        if not self.timed:
            return self.library.factors(x, now.given)
        return self.library.factors(x[:, :k], np.concatenate([now.given, x[:, k:] / self.library.until], axis=1))

    def _rates(self, now: _ChosenRuns, features: Array) -> tuple[Array, Array]:
        top = (now.top @ features[:, :, None])[:, :, 0]
        if not self._rational:
            return top, np.ones_like(top)
        below = 1.0 + (now.bottom @ features[:, :, None])[:, :, 0]
        return top / below, below

    def _timed(self, rates: Array) -> Array:
        return np.concatenate([rates, np.ones((len(rates), 1))], axis=1) if self.timed else rates

    def _chosen(self, run: Indices) -> _ChosenRuns:
        """What belongs to these runs; an integrator asks many times for the same ones, by the same array."""
        if self._now is None or self._now.run is not run:
            which, start = np.divmod(run, len(self._given))
            self._now = _ChosenRuns(
                run,
                self._given[start],
                self._top[which],
                self._bottom[which],
                self._top_table[which],
                self._bottom_table[which],
            )
        return self._now


# -- Trajectories to learn from --------------------------------------------------------------------


@dataclass(frozen=True)
class Resets:
    """State resets along the trajectories of the original.

    Attributes
    ----------
    times : ndarray (e,)
        Ascending.
    before, after : ndarray (e, r, n)
        States of each trajectory.
    same : tuple of int
        Number of the event that each belongs to: all its resets add the same function of y.
    """

    times: Array
    before: Array
    after: Array
    same: tuple[int, ...]

    @classmethod
    def along(cls, sample: Sample, same: Sequence[int], budget: Budget | None) -> Resets:
        """Those of a sample: the original is integrated from the last time of the grid to each reset."""
        n = sample.states.shape[2]
        before, after = [], []
        now = 0.0
        x = sample.with_time(sample.states)[:, 0]
        for reset in sample.resets:
            at = int(np.searchsorted(sample.times, reset.time)) - 1
            if sample.times[at] >= now:  # nothing happened since
                now, x = float(sample.times[at]), sample.with_time(sample.states)[:, at]
            if reset.time > now:
                grid = np.array([now, reset.time])
                x = integrate(sample.vector_field, x, grid, run=sample.numbers, budget=budget).states[:, -1]
            new = reset.new_state.rates(x, sample.numbers)
            before.append(x[:, :n])
            after.append(new[:, :n])
            now, x = reset.time, new
        shape = (len(before), len(sample.states), n)
        times = np.array([reset.time for reset in sample.resets])
        return cls(times, np.array(before).reshape(shape), np.array(after).reshape(shape), tuple(same))

    def jumps(self, library: Library, matrix: Array, given: Array, settings: RegressionSettings) -> Array:
        """What the resets add to y over z, by least squares; a constant where that says it all, (e, k, 1 + k + c)."""
        k, width = library.size, 1 + library.size + library.given
        out = np.zeros((len(self.times), k, width))
        for event in dict.fromkeys(self.same):
            rows = [i for i, number in enumerate(self.same) if number == event]
            factors, moved = [], []
            for i in rows:
                clock = np.full((len(given), int(library.timed)), self.times[i] / library.until)
                y = self.before[i] @ matrix.T
                factors.append(library.factors(y, np.concatenate([given, clock], axis=1)))
                moved.append((self.after[i] - self.before[i]) @ matrix.T)
            z, goal = np.concatenate(factors), np.concatenate(moved)
            for component in range(k):
                out[rows, component] = _affine(z, goal[:, component], settings)
        return out


def _affine(factors: Array, goal: Array, settings: RegressionSettings) -> Array:
    """Coefficients over (1, y, u) of what a reset adds."""
    found = np.zeros(factors.shape[1])
    size = float(np.abs(goal).max(initial=0.0))
    mean = float(goal.mean()) if len(goal) else 0.0
    if np.abs(goal - mean).max(initial=0.0) <= settings.constant_jump * max(size, 1.0):
        found[0] = mean if size > settings.constant_jump else 0.0
        return found
    return np.asarray(np.linalg.lstsq(factors, goal, rcond=settings.dependent)[0])


@dataclass(frozen=True)
class TrainingRuns:
    """Trajectories of the original as training sees them.

    Attributes
    ----------
    sample : Sample
    given : ndarray (r, c)
        u of each, without time.
    observed : ndarray (p, n)
        The pinned rows, each divided by its scale.
    resets : Resets
    """

    sample: Sample
    given: Array
    observed: Array
    resets: Resets

    def some(self, rows: Indices) -> TrainingRuns:
        """Some of the trajectories."""
        sample = replace(self.sample, states=self.sample.states[rows], numbers=self.sample.numbers[rows])
        resets = replace(self.resets, before=self.resets.before[:, rows], after=self.resets.after[:, rows])
        return replace(self, sample=sample, given=self.given[rows], resets=resets)

    def and_some(self, other: TrainingRuns, rows: Indices) -> TrainingRuns:
        """These and some of the trajectories of another sample of the same problem."""
        more = other.some(rows)
        states = np.concatenate([self.sample.states, more.sample.states])
        numbers = np.concatenate([self.sample.numbers, more.sample.numbers])
        resets = replace(
            self.resets,
            before=np.concatenate([self.resets.before, more.resets.before], axis=1),
            after=np.concatenate([self.resets.after, more.resets.after], axis=1),
        )
        sample = replace(self.sample, states=states, numbers=numbers)
        return replace(self, sample=sample, given=np.concatenate([self.given, more.given]), resets=resets)

    def factors(self, library: Library, matrix: Array) -> Array:
        """z along all trajectories, (r, m, 1 + k + c)."""
        r, m, _ = self.sample.states.shape
        y = self.sample.states @ matrix.T
        given = np.broadcast_to(self.given[:, None, :], (r, m, self.given.shape[1]))
        parts = [np.ones((r, m, 1)), y, given]
        if library.timed:
            parts.append(np.broadcast_to((self.sample.times / library.until)[None, :, None], (r, m, 1)))
        return np.concatenate(parts, axis=2)


# -- Weak regression -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegressionSettings:
    """How rates are regressed on features.

    Attributes
    ----------
    widths : tuple of int
        Times of the grid under a bump, which is half logarithmic and half uniform: so all time scales are seen.
    even : float
        A bump over a window of length τ is divided by τ to this power: 0 weighs by what a residual adds up to, which
        leaves out fast beginnings, 1 by its mean, which leaves out slow drift.
    rounds : int
        Of fitting and dropping; it nearly always ends before.
    dependent : float
        Singular values below this part of the largest are 0.
    most_features : int
        More are not fitted: 400 are 26 factors beside the constant.
    least_denominator : float
        Part of its median that a denominator must keep along all trajectories.
    constant_jump : float
        A reset whose effect varies by less than that (in scaled units) adds a constant.
    """

    widths: tuple[int, ...] = (6, 18, 54)
    even: float = 0.5
    rounds: int = 10
    dependent: float = 1e-11
    most_features: int = 400
    least_denominator: float = 0.05
    constant_jump: float = 1e-7


REGRESSION: Final = RegressionSettings()


class WeakForm:
    """Rates along trajectories, integrated against bump functions.

    Parameters
    ----------
    runs : TrainingRuns
    rates : array (r, m, n)
        f along the trajectories.
    settings : RegressionSettings
    """

    def __init__(self, runs: TrainingRuns, rates: Array, settings: RegressionSettings = REGRESSION) -> None:
        self.runs, self.settings = runs, settings
        # where a rate is not defined, such as at the edge of a domain, nothing is asked of it
        self._defined = np.isfinite(rates).all(axis=2, keepdims=True)
        self._rates = np.where(self._defined, rates, 0.0)
        self._bumps = _bumps(runs.sample.times, runs.resets.times, settings)

    def regressed(
        self,
        library: Library,
        matrix: Array,
        thresholds: Sequence[float],
        *,
        rational: bool = False,
        prior: tuple[Array, Array, float] | None = None,
    ) -> Iterator[tuple[Array, Array]]:
        """Coefficients (k, F) above and below the line, for each threshold.

        Parameters
        ----------
        library : Library
        matrix : array (k, n)
            L in scaled units.
        thresholds : sequence of float
            Terms below this share of the rate are dropped.
        rational : bool
            p(y) − ẏ·q(y) = ẏ for ẏ = p/(1 + q), in the place of the polynomial.
        prior : (points (N, 1 + k + c), rates (N, k), weight), optional
            Rates at other points, such as those of a projection of the original.
        """
        k, many = library.size, library.features
        factors = self.runs.factors(library, matrix)
        r, m, width = factors.shape
        features = library.values(factors.reshape(r * m, width)).reshape(r, m, many) * self._defined
        target = self._rates @ matrix.T
        design = (self._bumps @ features).reshape(-1, many)
        goal = (self._bumps @ target).reshape(-1, k)
        if prior is not None:
            points, slopes, weight = prior
            part = weight * np.linalg.norm(goal, axis=0) / np.maximum(np.linalg.norm(slopes, axis=0), TINY)
            share = float(np.median(part[part > 0])) if (part > 0).any() else 0.0
            design = np.concatenate([design, share * library.values(points)])
            goal = np.concatenate([goal, share * slopes])
        if rational:
            found = [self._quotients(features, target[..., i], design, goal[:, i], thresholds, many) for i in range(k)]
        else:
            # one triangle for all components and thresholds
            triangle = _triangle(np.concatenate([design, goal], axis=1))
            zeros = np.zeros(many)
            found = [
                [
                    (_thresholded(triangle[:, :many], triangle[:, many + i], threshold, self.settings), zeros)
                    for threshold in thresholds
                ]
                for i in range(k)
            ]
        for place in range(len(thresholds)):
            yield np.stack([found[i][place][0] for i in range(k)]), np.stack([found[i][place][1] for i in range(k)])

    def work(self, library: Library) -> float:
        """Operations of a regression."""
        r, m = self._rates.shape[:2]
        rows = r * len(self._bumps)
        return float(PRODUCT * library.features * (rows * m + 2 * rows * library.features) + r * m * library.features)

    def left_over(self, library: Library, closure: RateClosure) -> float:
        """The part of the lumps' rates, integrated against the bumps, that the closure leaves: 0 where it is exact."""
        factors = self.runs.factors(library, closure.matrix)
        r, m, width = factors.shape
        features = library.values(factors.reshape(r * m, width))
        rates = (features @ closure.top.T) / (1.0 + features @ closure.bottom.T)
        target = self._rates @ closure.matrix.T
        missed = self._bumps @ (target - rates.reshape(r, m, -1) * self._defined)
        whole = np.maximum(np.linalg.norm(self._bumps @ target, axis=(0, 1)), TINY)
        return float((np.linalg.norm(missed, axis=(0, 1)) / whole).max(initial=0.0))

    def _quotients(
        self, features: Array, target: Array, design: Array, goal: Array, thresholds: Sequence[float], many: int
    ) -> list[tuple[Array, Array]]:
        """The polynomial where the denominator would not stay positive."""
        below = -(self._bumps @ (features[:, :, 1:] * target[:, :, None])).reshape(-1, many - 1)
        below = np.concatenate([below, np.zeros((len(design) - len(below), many - 1))])
        triangle = _triangle(np.concatenate([design, below, goal[:, None]], axis=1))
        found = []
        for threshold in thresholds:
            both = _thresholded(triangle[:, :-1], triangle[:, -1], threshold, self.settings)
            bottom = np.concatenate([[0.0], both[many:]])
            along = 1.0 + features @ bottom
            if along.min() < self.settings.least_denominator * float(np.median(np.abs(along))):
                plain = _thresholded(triangle[:, :many], triangle[:, -1], threshold, self.settings)
                found.append((plain, np.zeros(many)))
            else:
                found.append((both[:many], bottom))
        return found


TINY: Final = 1e-300  # keeps a quotient by a largest value finite where that is 0


def _bumps(times: Array, resets: Array, settings: RegressionSettings) -> Array:
    """Weights of the values at the times of the grid in ∫ψ·dt, (windows, m); no window holds a reset."""
    m = len(times)
    rows = []
    # the value at the time of a reset is the one after it
    edges = [0, *np.searchsorted(times, np.unique(resets)).tolist(), m]
    for low, high in itertools.pairwise(edges):
        for width in settings.widths:
            for begin in range(low, max(high - 2, low), max(1, width // 2)):
                end = min(begin + width, high - 1)
                if end - begin < 2:
                    continue
                part = times[begin : end + 1]
                length = float(part[-1] - part[0])
                share = (part - part[0]) / length
                row = np.zeros(m)
                row[begin : end + 1] = 16 * (share * (1 - share)) ** 2 * np.gradient(part)
                rows.append(row / length**settings.even)
    return np.array(rows).reshape(len(rows), m)


def _triangle(table: Array) -> Array:
    """R of a QR decomposition: a least-squares problem has the same solution with it."""
    return np.asarray(qr(table, mode="r", check_finite=False)[0][: table.shape[1]])


def _thresholded(design: Array, goal: Array, threshold: float, settings: RegressionSettings) -> Array:
    """Thresholded least squares: fit, drop terms of little size, fit again."""
    size = float(np.linalg.norm(goal))
    columns = np.linalg.norm(design, axis=0)
    active = columns > TINY
    solution = np.zeros(design.shape[1])
    if size == 0.0:
        return solution
    for _ in range(settings.rounds):
        solution = np.zeros(design.shape[1])
        scaled = design[:, active] / columns[active]
        solution[active] = np.linalg.lstsq(scaled, goal, rcond=settings.dependent)[0] / columns[active]
        small = active & (np.abs(solution) * columns < threshold * size)
        if not small.any():
            break
        active &= ~small
    return solution


# -- Training on trajectories ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrajectoryFitSettings:
    """Levenberg–Marquardt training.

    Attributes
    ----------
    ranks : tuple of int
        Dampings to try: the squares of these singular values of the derivative, so that so many directions move freely.
    lengths : tuple of float
        Parts of a step that are tried.
    give_up : float
        Relative error beyond which a trajectory is not followed further.
    points : int
        Times that take part.
    end_times : int
        At which derivatives are taken.
    steps, least_steps : int
        Most steps of the integration of a trial; so many any may take.
    patience : float
        Times the steps that the original would need: a closure that asks for more has become stiffer than that.
    least_times : int
        That all trajectories must reach for training to begin.
    sharpness : float
        Errors are weighed by their own size to this power, so that the worst ones count most.
    least_weight : float
        Of an error beside the largest one.
    idle : int
        Steps in turn that bring less than `progress` before training ends.
    progress : float
        Part of the error that a step must take away to count.
    """

    ranks: tuple[int, ...] = (0, 3, 10, 25, 60, 150)
    lengths: tuple[float, ...] = (1.0, 0.3)
    give_up: float = 2.0
    points: int = 100
    end_times: int = 20
    steps: int = 10_000
    least_steps: int = 200
    patience: float = 1.5
    least_times: int = 3
    sharpness: float = 4.0
    least_weight: float = 1e-2
    idle: int = 3
    progress: float = 0.03


FITTING: Final = TrajectoryFitSettings()


@dataclass(frozen=True, slots=True)
class ClosureRun:
    """A closure with its trajectories.

    Attributes
    ----------
    closure : RateClosure
    paths : ndarray (r, m, k)
    errors : ndarray (r, m, p)
        Signed relative errors of the observed quantities; infinite where a trajectory was given up.
    alive : int
        Times that all trajectories reached.
    sharpness : float
    """

    closure: RateClosure
    paths: Array
    errors: Array
    alive: int
    sharpness: float

    def cost(self, upto: int) -> float:
        """Norm of the errors of the first times, the larger the error the more it counts."""
        if upto > self.alive:
            return np.inf
        return float(np.mean(np.abs(self.errors[:, :upto]) ** self.sharpness) ** (1 / self.sharpness))

    @property
    def complete(self) -> bool:
        """Whether all trajectories reached the end time."""
        return bool(self.alive == self.errors.shape[1])

    @property
    def worst_each(self) -> Array:
        """Largest error of each trajectory, (r,)."""
        return np.asarray(np.abs(self.errors).max(axis=(1, 2), initial=0.0))

    @property
    def worst(self) -> float:
        """Largest error."""
        return float(self.worst_each.max(initial=0.0))

    @property
    def order(self) -> tuple[int, float]:
        """Sorts the better ones first: those that come further, then those with smaller errors."""
        return -self.alive, self.cost(self.alive)


class ClosureTraining:
    """Closures of one size on one set of trajectories.

    Parameters
    ----------
    library : Library
    runs : TrainingRuns
    budget : Budget
    relative : float
        Tolerance of the integration.
    fixed_map : bool
        Whether L stays as it is.
    settings, regression
    """

    def __init__(
        self,
        library: Library,
        runs: TrainingRuns,
        budget: Budget,
        *,
        relative: float = 1e-6,
        fixed_map: bool = False,
        settings: TrajectoryFitSettings = FITTING,
        regression: RegressionSettings = REGRESSION,
    ) -> None:
        self.library, self.runs, self.budget, self.settings = library, runs, budget, settings
        self._fixed, self._regression = fixed_map, regression
        self._relative = relative
        sample = runs.sample
        step = max(1, len(sample.times) // settings.points)
        index = np.unique(np.concatenate([np.arange(0, len(sample.times), step), [len(sample.times) - 1]]))
        self.times = sample.times[index]
        self.states = sample.states[:, index]
        self.wanted = self.states @ runs.observed.T
        largest = np.abs(sample.states @ runs.observed.T).max(axis=1)
        # what is negligible beside the other trajectories counts as zero
        self.sizes = np.maximum(largest, 1e-12 * max(float(largest.max(initial=0.0)), TINY))

    def courses(self, closures: Sequence[RateClosure], give_up: float | Array | None = None) -> list[ClosureRun]:
        """Follow closures side by side; what is off by more than ``give_up`` (of each) is not followed further."""
        limits = np.broadcast_to(self.settings.give_up if give_up is None else give_up, (len(closures),))
        library, runs, r = self.library, self.runs, len(self.states)
        p, m, k = len(runs.observed), len(self.times), library.size
        vector_field = ClosureField(library, closures, runs.given)
        starts = np.concatenate([self.states[:, 0] @ one.matrix.T for one in closures])
        if library.timed:
            starts = np.concatenate([starts, np.zeros((len(starts), 1))], axis=1)
        failed = np.full(len(starts), m)

        def observer(places: Indices, index: Indices, values: Array) -> Mask:
            run = places % r
            with np.errstate(all="ignore"):
                off = np.abs(values[:, :p] - self.wanted[run, index]) / self.sizes[run]
            bad = ~(off.max(axis=1, initial=0.0) < limits[places // r])
            failed[places[bad]] = np.minimum(failed[places[bad]], index[bad])
            return np.asarray(bad)

        relative = self._relative
        absolute = np.full(k + int(library.timed), 1e-2 * relative)
        if library.timed:
            absolute[-1] *= library.until
        most = runs.sample.most_steps(relative, self.settings.steps, self.settings.least_steps, self.settings.patience)
        control = StepControl(relative, absolute, most, runs.sample.stops)

        def segment(x: Array, grid: Array, alive: Indices, watch: Observer | None) -> Runs:
            with np.errstate(all="ignore"):
                return advance(vector_field, x, grid, alive, control, watch, self.budget)

        jumps = np.stack([one.jumps for one in closures])

        def after(number: int, x: Array, alive: Indices) -> Array:
            which, start = np.divmod(alive, r)
            z = library.factors(x[:, :k], self._given_at(runs.given[start], runs.resets.times[number]))
            new = x.copy()
            new[:, :k] += (jumps[which, number] @ z[:, :, None])[:, :, 0]
            return new

        done = piecewise(segment, starts, self.times, runs.resets.times.tolist(), after, observer)
        paths = done.states[:, :, :k].reshape(len(closures), r, m, k)
        finite = np.isfinite(paths).all(axis=3) & (np.arange(m) < failed.reshape(len(closures), r, 1))
        alive = np.where(finite.all(axis=2), m, np.argmin(finite, axis=2)).min(axis=1)
        errors = (paths[..., :p] - self.wanted) / self.sizes[:, None, :]
        errors[~finite] = np.inf
        return [
            ClosureRun(one, path, error, int(reached), self.settings.sharpness)
            for one, path, error, reached in zip(closures, paths, errors, alive, strict=True)
        ]

    def _given_at(self, given: Array, time: float) -> Array:
        if not self.library.timed:
            return given
        return np.concatenate([given, np.full((len(given), 1), time / self.library.until)], axis=1)

    def step(self, course: ClosureRun) -> list[RateClosure]:
        """A Levenberg–Marquardt step for each damping and length."""
        m = course.alive
        ends = np.unique(np.linspace(1, m - 1, min(self.settings.end_times, m - 1)).round().astype(np.int64))
        self.budget.add(self._step_work(course.closure, m, len(ends)))
        jacobian = self._derivative(course, ends)
        if jacobian is None or not np.isfinite(jacobian).all():
            return []
        residual = course.errors[:, ends].reshape(-1)
        weight = np.abs(residual) ** (self.settings.sharpness / 2 - 1)
        weight = np.maximum(weight / max(float(weight.max(initial=0.0)), TINY), self.settings.least_weight)
        changes = steps_of_ranks(jacobian * weight[:, None], residual * weight, self.settings.ranks)
        moved = (self._moved(course.closure, length * one) for one in changes for length in self.settings.lengths)
        return [one for one in moved if one is not None]

    def _step_work(self, closure: RateClosure, m: int, ends: int) -> float:
        """Operations of a step: derivatives along the trajectories, and an eigenproblem."""
        r, p, n = len(self.states), len(self.runs.observed), self.states.shape[2]
        rows = r * ends * p
        columns = closure.size * self.library.features + (0 if self._fixed else (closure.size - p) * n)
        least = min(rows, columns)
        along = PRODUCT * rows * m * closure.size * self.library.features
        return float(along + 0.5 * PRODUCT * rows * columns * least + 2.5 * PRODUCT * least**3)

    def _derivative(self, course: ClosureRun, ends: Indices) -> Array | None:
        """Of the errors at the end times by what may change, (r·E·p, parameters)."""
        one, library, k = course.closure, self.library, self.library.size
        r, p, last = len(self.states), len(self.runs.observed), int(ends[-1])
        times = self.times[: last + 1]
        h = np.diff(times)
        vector_field = ClosureField(library, [one], self.runs.given)
        y = course.paths[:, : last + 1]
        numbers = np.repeat(np.arange(r), last + 1)
        slopes = vector_field.rates(self._clocked(y, times), numbers)[:, :k].reshape(r, last + 1, k)
        middle = 0.5 * (y[:, :-1] + y[:, 1:]) + h[None, :, None] * (slopes[:, :-1] - slopes[:, 1:]) / 8
        resets = self._intervals_of_resets(times)
        for interval in resets:  # what is at its end is after the reset
            middle[:, interval] = y[:, interval]
        numbers = np.repeat(np.arange(r), last)
        points = self._clocked(middle, 0.5 * (times[:-1] + times[1:]))
        jacobians = vector_field.jacobians(points, numbers)[:, :k, :k].reshape(r, last, k, k)
        features, rates, below = vector_field.parts(points, numbers)
        try:
            phi, psi = exponentials(jacobians * h[:, None, None], np.broadcast_to(h, (r, last)))
        except np.linalg.LinAlgError:
            return None
        for interval, count in resets.items():
            through = np.eye(k)
            for number in count:
                through = (np.eye(k) + one.jumps[number][:, 1 : 1 + k]) @ through
            phi[:, interval], psi[:, interval] = through @ phi[:, interval], through @ psi[:, interval]
        tips = np.zeros((r, len(ends), p, k))
        tips[:, :, np.arange(p), np.arange(p)] = 1.0 / self.sizes[:, None, :]
        adjoint = sweep_back(phi, ends, tips).reshape(r, last + 1, -1, k)
        carried = (adjoint[:, 1:] @ psi) / below.reshape(r, last, 1, k)
        return np.concatenate(self._columns(one, carried, features, rates, adjoint), axis=1)

    def _columns(self, one: RateClosure, carried: Array, features: Array, rates: Array, adjoint: Array) -> list[Array]:
        r, last, many, k = carried.shape
        phi = features.reshape(r, last, -1)

        def against(weights: Array) -> Array:
            """∫ λᵀ φ dt of each component, (r·E·p, k, F)."""
            table = weights.transpose(0, 2, 3, 1).reshape(r, many * k, last) @ phi
            return np.asarray(table.reshape(r * many, k, -1))

        parts = [against(carried)[:, one.free_top]]
        if one.free_bottom.any():
            parts.append(-against(carried * rates.reshape(r, last, 1, k))[:, one.free_bottom])
        if not self._fixed:
            p = len(self.runs.observed)
            start = adjoint[:, 0, :, p:, None] * (self.states[:, 0] / self.runs.sample.scale)[:, None, None, :]
            parts.append(start.reshape(r * many, -1))
        return parts

    def _intervals_of_resets(self, times: Array) -> dict[int, list[int]]:
        """Numbers of the resets within each interval that has one."""
        found: dict[int, list[int]] = {}
        for number, time in enumerate(self.runs.resets.times.tolist()):
            if time <= times[-1]:
                found.setdefault(int(np.searchsorted(times, time)) - 1, []).append(number)
        return found

    def _clocked(self, y: Array, times: Array) -> Array:
        r, m, k = y.shape
        if not self.library.timed:
            return y.reshape(r * m, k)
        clock = np.broadcast_to(times[None, :, None], (r, m, 1))
        return np.concatenate([y, clock], axis=2).reshape(r * m, k + 1)

    def _moved(self, one: RateClosure, change: Array) -> RateClosure | None:
        """The closure after a change of what may change."""
        top, bottom, matrix = one.top.copy(), one.bottom.copy(), one.matrix
        a = int(one.free_top.sum())
        b = a + int(one.free_bottom.sum())
        top[one.free_top] += change[:a]
        bottom[one.free_bottom] += change[a:b]
        p = len(self.runs.observed)
        jumps = one.jumps
        if not self._fixed and one.size > p:
            matrix = matrix.copy()
            matrix[p:] += change[b:].reshape(one.size - p, -1) / self.runs.sample.scale
            jumps = self.jumps(matrix)
        moved = replace(one, matrix=matrix, top=top, bottom=bottom, jumps=jumps)
        return moved if all(np.isfinite(part).all() for part in (top, bottom, matrix, jumps)) else None

    def without_small_terms(self, course: ClosureRun, share: float) -> RateClosure:
        """Without the terms that are nowhere along the trajectories more than this part of the largest rate.

        Parameters
        ----------
        course : ClosureRun
        share : float
        """
        one, library = course.closure, self.library
        r, m, _ = course.paths.shape
        vector_field = ClosureField(library, [one], self.runs.given)
        points = self._clocked(course.paths, self.times)
        features, rates, below = vector_field.parts(points, np.repeat(np.arange(r), m))
        largest = np.abs(features).max(axis=0)
        top = np.abs(one.top) * largest < share * np.abs(rates * below).max(axis=0)[:, None]
        bottom = np.abs(one.bottom) * largest < share * np.abs(below).max(axis=0)[:, None]
        return replace(
            one,
            top=np.where(top, 0.0, one.top),
            bottom=np.where(bottom, 0.0, one.bottom),
            free_top=one.free_top & ~top,
            free_bottom=one.free_bottom & ~bottom,
        )

    def jumps(self, matrix: Array) -> Array:
        """What the state resets add to y = Lx."""
        return self.runs.resets.jumps(self.library, matrix, self.runs.given, self._regression)


def steps_of_ranks(jacobian: Array, residual: Array, ranks: Sequence[int]) -> list[Array]:
    """Levenberg–Marquardt steps whose dampings are squares of singular values, and one without where nothing is lost.

    Parameters
    ----------
    jacobian : array (N, M)
    residual : array (N,)
    ranks : sequence of int
        Places of the singular values, the largest one 0.
    """
    problem = DampedProblem.of(jacobian, residual)
    if problem is None:
        return []
    values = problem.values
    least = 1e-14 * values[0]  # below it they are rounding
    usable = itertools.takewhile(lambda rank: rank < len(values) and values[rank] > least, ranks)
    found = [problem.step(float(values[rank])) for rank in usable]
    return [*found, problem.step(0.0)] if found and values[-1] > least else found


def train(
    job: ClosureTraining,
    starts: Sequence[RateClosure],
    iterations: int,
    target: float = 0.0,
    progress: Progress = unheard,
) -> list[ClosureRun]:
    """Improve closures side by side; the best one first.

    A trajectory that does not come through is followed as far as it goes: the time span that counts grows as the
    closure improves. What all of them try is integrated as one batch.

    Parameters
    ----------
    job : ClosureTraining
    starts : sequence of RateClosure
    iterations : int
        Steps at most.
    target : float
        Largest error at which training ends: that of one of the closures.
    """
    settings = job.settings
    descents = [_ClosureDescent(course, settings) for course in job.courses(starts)]
    for iteration in range(iterations):
        going = [one for one in descents if one.goes_on]
        if not going or any(one.course.complete and one.course.worst <= target for one in descents):
            break
        progress(f"training, step {iteration + 1}")
        moved = [job.step(one.course) for one in going]
        limits = [one.limit for one, tries in zip(going, moved, strict=True) for _ in tries]
        tried = job.courses([each for tries in moved for each in tries], np.array(limits)) if limits else []
        for one, tries in zip(going, moved, strict=True):
            one.take(tried[: len(tries)])
            tried = tried[len(tries) :]
    return sorted((one.course for one in descents), key=lambda course: course.order)


class _ClosureDescent:
    """One closure under training."""

    def __init__(self, course: ClosureRun, settings: TrajectoryFitSettings) -> None:
        self.course = course
        self.goes_on = course.alive >= settings.least_times
        self._settings = settings
        self._idle = 0

    @property
    def limit(self) -> float:
        """The error at which what is tried is given up."""
        give_up = self._settings.give_up
        return min(give_up, 2.0 * self.course.worst + 1e-3) if self.course.complete else give_up

    def take(self, tried: Sequence[ClosureRun]) -> None:
        """Go on with the best of what was tried, if it is better."""
        course, settings = self.course, self._settings
        if not tried:
            self.goes_on = False
            return
        old = course.cost(course.alive)
        best = min(tried, key=lambda one: one.order)
        if best.alive > course.alive and best.cost(course.alive) < 2 * old + 1e-3:
            self.course, self._idle = best, 0
            return
        same = min(tried, key=lambda one: one.cost(course.alive))
        new = same.cost(course.alive)
        if not new < old:
            self.goes_on = False
            return
        self._idle = self._idle + 1 if new > (1 - settings.progress) * old else 0
        self.course = same
        self.goes_on = self._idle < settings.idle
