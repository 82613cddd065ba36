"""Number domains a program runs over: the doubles, and the integers modulo a prime.

Over GF(p) only rational operations have a meaning. Every other function is *uninterpreted*: its value is a hash of its
name and its arguments' values, so equal arguments give equal values and nothing else is assumed. Derivatives are
known for ``exp`` (itself), for trigonometric and hyperbolic functions (meromorphic in the whole plane, like ``exp``),
and for powers, as u^a = exp(a·φ(u)) with φ a function of which nothing is known; every other function (abs, floor,
relations, piecewise, inverse functions …) gets a fresh hash for each argument as its derivative. An identity found so
holds for every choice of smooth functions, so also, point by point, for the true ones: for any two states there are
entire functions that have the true values at the finitely many arguments that occur. It holds wherever both sides are
defined, on whichever side of a singularity.

Of ``ln`` (1/u) and of powers (a·u^a/u) the derivatives are known, too, unless a program takes the node for a generic
function (``opaque``, see :class:`~sbmlump.model.program.Program`). What is found with these may hold on one connected
piece of the domain only: the derivative of exp(ln(u²)/2)/u is 0, but its value is 1 on one side of u = 0 and −1 on the
other. Whoever uses them has to look at real points on both sides (:mod:`sbmlump.proof.real_points`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Final, Protocol, Self, TypeVar

import flint
import numpy as np
from numpy.typing import NDArray

from sbmlump.arrays import Array, Indices, Mask
from sbmlump.model.sparse import SparseMatrix, ranges

__all__ = [
    "BadPrimeError",
    "Domain",
    "FloatDomain",
    "OneProgramDomain",
    "PrimeField",
    "Scalar",
    "nearest_double",
    "random_prime",
    "FLOAT_FUNCTIONS",
    "FLOAT_SLOPES",
    "below",
]


# -- functions over float64, with their partial derivatives ------------------------------------------


def _truth(condition: Mask) -> Array:
    return condition.astype(np.float64)


def _piecewise(*args: Array) -> Array:
    conditions = [arg != 0 for arg in args[1::2]]
    return np.select(conditions, list(args[:-1:2]), default=args[-1]) if conditions else args[-1]


def _quotient(a: Array, b: Array) -> Array:
    return np.trunc(a / b)


def _inverse_cotangent(x: Array) -> Array:
    return np.arctan(1.0 / x)


def _factorial(x: Array) -> Array:
    from scipy.special import gamma  # a large library for a rare function

    return np.asarray(gamma(x + 1.0))


def _factorial_slope(x: Array, value: Array) -> Array:
    from scipy.special import digamma

    return np.asarray(value * digamma(x + 1.0))


FLOAT_FUNCTIONS: Final[Mapping[str, Callable[..., Array]]] = {
    "exp": np.exp,
    "ln": np.log,
    "generic-ln": np.log,
    "abs": np.abs,
    "floor": np.floor,
    "ceiling": np.ceil,
    "factorial": _factorial,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sec": lambda x: 1 / np.cos(x),
    "csc": lambda x: 1 / np.sin(x),
    "cot": lambda x: 1 / np.tan(x),
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sech": lambda x: 1 / np.cosh(x),
    "csch": lambda x: 1 / np.sinh(x),
    "coth": lambda x: 1 / np.tanh(x),
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "arcsec": lambda x: np.arccos(1 / x),
    "arccsc": lambda x: np.arcsin(1 / x),
    "arccot": _inverse_cotangent,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "arcsech": lambda x: np.arccosh(1 / x),
    "arccsch": lambda x: np.arcsinh(1 / x),
    "arccoth": lambda x: np.arctanh(1 / x),
    "min": lambda *a: reduce(np.minimum, a),
    "max": lambda *a: reduce(np.maximum, a),
    "quotient": _quotient,
    "rem": lambda a, b: a - b * _quotient(a, b),
    "power": np.power,
    "generic-power": np.power,
    "piecewise": _piecewise,
    "lt": lambda a, b: _truth(a < b),
    "leq": lambda a, b: _truth(a <= b),
    "gt": lambda a, b: _truth(a > b),
    "geq": lambda a, b: _truth(a >= b),
    "eq": lambda a, b: _truth(a == b),
    "neq": lambda a, b: _truth(a != b),
    "and": lambda *a: _truth(np.logical_and.reduce([x != 0 for x in a])),
    "or": lambda *a: _truth(np.logical_or.reduce([x != 0 for x in a])),
    "xor": lambda *a: _truth(np.logical_xor.reduce([x != 0 for x in a])),
    "not": lambda a: _truth(a == 0),
}

_Slopes = Callable[[Sequence[Array], Array], list[Array]]


def _one(slope: Callable[[Array, Array], Array]) -> _Slopes:
    """Rule of a function of one argument from ``slope(argument, value)``."""
    return lambda args, value: [slope(args[0], value)]


def _power_slopes(args: Sequence[Array], value: Array) -> list[Array]:
    base, exponent = args
    by_base = exponent * np.power(base, exponent - 1)
    # at base 0 the exponent has no influence (0^b is 0 for b > 0): the limit of value·ln(base) is 0 there
    log = np.log(np.where(base > 0, base, 1.0))
    return [by_base, np.where(base < 0, np.nan, value * log)]


def _select_slopes(pick: Callable[[Array, Array], Mask]) -> _Slopes:
    """Slopes of min and max: 1 for the first argument that attains the value."""

    def rule(args: Sequence[Array], value: Array) -> list[Array]:
        taken = np.zeros(value.shape, dtype=np.bool_)
        slopes = []
        for arg in args:
            here = pick(arg, value) & ~taken
            taken |= here
            slopes.append(_truth(here))
        return slopes

    return rule


def _piecewise_slopes(args: Sequence[Array], value: Array) -> list[Array]:
    open_ = np.ones(value.shape, dtype=np.bool_)
    slopes: list[Array] = []
    for condition in args[1::2]:
        here = open_ & (condition != 0)
        open_ &= ~here
        slopes += [_truth(here), np.zeros_like(value)]
    return [*slopes, _truth(open_)]


FLOAT_SLOPES: Final[Mapping[str, _Slopes]] = {
    "exp": _one(lambda u, f: f),
    "ln": _one(lambda u, f: 1 / u),
    "generic-ln": _one(lambda u, f: 1 / u),
    "abs": _one(lambda u, f: np.sign(u)),
    "factorial": _one(_factorial_slope),
    "sin": _one(lambda u, f: np.cos(u)),
    "cos": _one(lambda u, f: -np.sin(u)),
    "tan": _one(lambda u, f: 1 + f * f),
    "sec": _one(lambda u, f: f * np.tan(u)),
    "csc": _one(lambda u, f: -f / np.tan(u)),
    "cot": _one(lambda u, f: -(1 + f * f)),
    "sinh": _one(lambda u, f: np.cosh(u)),
    "cosh": _one(lambda u, f: np.sinh(u)),
    "tanh": _one(lambda u, f: 1 - f * f),
    "sech": _one(lambda u, f: -f * np.tanh(u)),
    "csch": _one(lambda u, f: -f / np.tanh(u)),
    "coth": _one(lambda u, f: 1 - f * f),
    "arcsin": _one(lambda u, f: 1 / np.sqrt(1 - u * u)),
    "arccos": _one(lambda u, f: -1 / np.sqrt(1 - u * u)),
    "arctan": _one(lambda u, f: 1 / (1 + u * u)),
    "arcsec": _one(lambda u, f: 1 / (np.abs(u) * np.sqrt(u * u - 1))),
    "arccsc": _one(lambda u, f: -1 / (np.abs(u) * np.sqrt(u * u - 1))),
    "arccot": _one(lambda u, f: -1 / (1 + u * u)),
    "arcsinh": _one(lambda u, f: 1 / np.sqrt(1 + u * u)),
    "arccosh": _one(lambda u, f: 1 / np.sqrt(u * u - 1)),
    "arctanh": _one(lambda u, f: 1 / (1 - u * u)),
    "arcsech": _one(lambda u, f: -1 / (u * np.sqrt(1 - u * u))),
    "arccsch": _one(lambda u, f: -1 / (np.abs(u) * np.sqrt(1 + u * u))),
    "arccoth": _one(lambda u, f: 1 / (1 - u * u)),
    "rem": lambda args, f: [np.ones_like(f), -_quotient(args[0], args[1])],
    "power": _power_slopes,
    "generic-power": _power_slopes,
    "min": _select_slopes(lambda a, v: a == v),
    "max": _select_slopes(lambda a, v: a == v),
    "piecewise": _piecewise_slopes,
}


# -- domains -----------------------------------------------------------------------------------------


Scalar = TypeVar("Scalar", np.float64, np.int64)


class BadPrimeError(ArithmeticError):
    """The prime divides the denominator of a number of the model: draw another one."""


class Domain(Protocol[Scalar]):
    """Arithmetic of a number domain on arrays (g, k)."""

    dtype: type[Scalar]

    def leaves(self, leaves: Sequence[Fraction | str]) -> NDArray[Scalar]: ...
    def linear(self, matrix: SparseMatrix, values: NDArray[Scalar]) -> NDArray[Scalar]: ...
    def accumulate(self, total: NDArray[Scalar], matrix: SparseMatrix, values: NDArray[Scalar]) -> NDArray[Scalar]: ...
    def negative(self, a: NDArray[Scalar]) -> NDArray[Scalar]: ...
    def times(self, a: NDArray[Scalar], b: NDArray[Scalar]) -> NDArray[Scalar]: ...
    def weigh(self, adjoint: NDArray[Scalar], slope: NDArray[Scalar]) -> NDArray[Scalar]: ...
    def inverse(self, a: NDArray[Scalar], bad: Mask) -> NDArray[Scalar]: ...
    def quotient(self, a: NDArray[Scalar], b: NDArray[Scalar], inverse_b: NDArray[Scalar]) -> NDArray[Scalar]: ...
    def power(self, a: NDArray[Scalar], exponents: Indices, bad: Mask) -> NDArray[Scalar]: ...
    def power_slope(self, a: NDArray[Scalar], exponents: Indices, bad: Mask) -> NDArray[Scalar]: ...
    def call(self, name: str, args: Sequence[NDArray[Scalar]], bad: Mask) -> NDArray[Scalar]: ...
    def slopes(
        self, name: str, args: Sequence[NDArray[Scalar]], value: NDArray[Scalar], bad: Mask
    ) -> list[NDArray[Scalar]]: ...
    def scatter_rows(self, target: NDArray[Scalar], rows: Indices, values: NDArray[Scalar]) -> None: ...


class FloatDomain:
    """IEEE doubles. Values that do not exist come out as NaN or infinite; nothing is marked bad."""

    dtype = np.float64

    def leaves(self, leaves: Sequence[Fraction | str]) -> Array:
        """Doubles nearest to numbers, and named constants."""
        return np.array([_FLOAT_CONSTANTS[x] if isinstance(x, str) else nearest_double(x) for x in leaves])

    def linear(self, matrix: SparseMatrix, values: Array) -> Array:
        """Matrix times values."""
        return np.asarray(matrix @ values)

    def accumulate(self, total: Array, matrix: SparseMatrix, values: Array) -> Array:
        """Total + matrix times values."""
        return np.asarray(total + matrix @ values)

    def negative(self, a: Array) -> Array:
        """−a."""
        return -a

    def times(self, a: Array, b: Array) -> Array:
        """a·b."""
        return a * b

    def weigh(self, adjoint: Array, slope: Array) -> Array:
        """adjoint·slope, 0 where the adjoint is 0: a branch not taken passes nothing on, be it infinite."""
        return np.where(adjoint == 0, 0.0, adjoint * slope)

    def inverse(self, a: Array, bad: Mask) -> Array:
        """1/a."""
        return 1.0 / a

    def quotient(self, a: Array, b: Array, inverse_b: Array) -> Array:
        """a/b, correctly rounded (not a·(1/b))."""
        return a / b

    def power(self, a: Array, exponents: Indices, bad: Mask) -> Array:
        """a to integer powers, one exponent a row."""
        return np.power(a, exponents[:, None].astype(np.float64))

    def power_slope(self, a: Array, exponents: Indices, bad: Mask) -> Array:
        """e·a^(e − 1)."""
        e = exponents[:, None].astype(np.float64)
        return e * np.power(a, e - 1)

    def call(self, name: str, args: Sequence[Array], bad: Mask) -> Array:
        """Value of a function."""
        return np.asarray(FLOAT_FUNCTIONS[name](*args), dtype=np.float64)

    def slopes(self, name: str, args: Sequence[Array], value: Array, bad: Mask) -> list[Array]:
        """Partial derivatives by each argument (one-sided or 0 where there is a jump)."""
        rule = FLOAT_SLOPES.get(name)
        if rule is None:  # piecewise constant: relations, logic, floor, ceiling, quotient, factorial
            return [np.zeros_like(value) for _ in args]
        return rule(args, value)

    def scatter_rows(self, target: Array, rows: Indices, values: Array) -> None:
        """target[rows] += values, rows may repeat."""
        np.add.at(target, rows, values)


def nearest_double(value: Fraction) -> float:
    """The double nearest to an exact rational; infinite beyond the range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


_FLOAT_CONSTANTS: Final = {
    "pi": math.pi,
    "exponentiale": math.e,
    "infinity": math.inf,
    "notanumber": math.nan,
    "true": 1.0,
    "false": 0.0,
}


class OneProgramDomain(FloatDomain):
    """Doubles, with the numbers of the one program it is used for converted once."""

    def __init__(self) -> None:
        self._leaves: Array | None = None

    def leaves(self, leaves: Sequence[Fraction | str]) -> Array:
        """Doubles nearest to numbers, and named constants."""
        if self._leaves is None:
            self._leaves = super().leaves(leaves)
        return self._leaves


def random_prime(generator: np.random.Generator, bits: int = 31) -> int:
    """A random prime with ``bits`` bits: about 5·10^7 of them for 31, 3·10^5 for 23."""
    while True:
        candidate = int(generator.integers(1 << (bits - 1), 1 << bits)) | 1
        if flint.fmpz(candidate).is_prime():
            return candidate


class PrimeField:
    """Integers modulo a prime p < 2^31, in int64 (products do not overflow).

    Parameters
    ----------
    prime : int
    salt : int
        Seeds the hashes that stand for uninterpreted functions.
    """

    dtype = np.int64

    def __init__(self, prime: int, salt: int = 0) -> None:
        if not 2 < prime < 1 << 31:
            raise ValueError("the prime must lie below 2^31")
        self.prime = prime
        self._salt = salt

    @classmethod
    def random(cls, generator: np.random.Generator, bits: int = 31) -> Self:
        """A field with a random prime of so many bits and random hashes."""
        return cls(random_prime(generator, bits), int(generator.integers(1 << 62)))

    def draw(self, generator: np.random.Generator, *shape: int) -> Indices:
        """Random elements that are not 0."""
        return generator.integers(1, self.prime, shape)

    def leaves(self, leaves: Sequence[Fraction | str]) -> Indices:
        """Residues of numbers; hashes of named constants (taken as generic)."""
        return np.array([self._opaque(x) if isinstance(x, str) else self.residue(x) for x in leaves], dtype=np.int64)

    def residue(self, value: Fraction) -> int:
        """A rational modulo p.

        Raises
        ------
        BadPrimeError
            If p divides the denominator.
        """
        bottom = value.denominator % self.prime
        if not bottom:
            raise BadPrimeError(f"{self.prime} divides a denominator")
        return value.numerator * pow(bottom, -1, self.prime) % self.prime

    def linear(self, matrix: SparseMatrix, values: Indices) -> Indices:
        """Small-integer matrix times values."""
        return np.asarray((matrix @ values) % self.prime)

    def accumulate(self, total: Indices, matrix: SparseMatrix, values: Indices) -> Indices:
        """Total + small-integer matrix times values (one division for both)."""
        return np.asarray((total + matrix @ values) % self.prime)

    def negative(self, a: Indices) -> Indices:
        """−a."""
        return (-a) % self.prime

    def times(self, a: Indices, b: Indices) -> Indices:
        """a·b."""
        return (a * b) % self.prime

    def weigh(self, adjoint: Indices, slope: Indices) -> Indices:
        """adjoint·slope."""
        return self.times(adjoint, slope)

    def inverse(self, a: Indices, bad: Mask) -> Indices:
        """1/a by Fermat; columns with a zero are marked in ``bad``."""
        bad |= (a == 0).any(axis=0)
        result = np.ones_like(a)
        base = a
        exponent = self.prime - 2
        while exponent:
            if exponent & 1:
                result = self.times(result, base)
            exponent >>= 1
            if exponent:
                base = self.times(base, base)
        return result

    def quotient(self, a: Indices, b: Indices, inverse_b: Indices) -> Indices:
        """a/b."""
        return self.times(a, inverse_b)

    def power(self, a: Indices, exponents: Indices, bad: Mask) -> Indices:
        """a to integer powers, one exponent a row."""
        base = a
        negative = exponents < 0
        if negative.any():
            base = a.copy()
            base[negative] = self.inverse(a[negative], bad)
        size = np.abs(exponents)
        result = np.ones_like(a)
        while size.any():
            odd = (size & 1).astype(np.bool_)
            result[odd] = self.times(result[odd], base[odd])
            size >>= 1
            if size.any():
                base = self.times(base, base)
        return result

    def power_slope(self, a: Indices, exponents: Indices, bad: Mask) -> Indices:
        """e·a^(e − 1)."""
        return self.times(self.power(a, exponents - 1, bad), (exponents % self.prime)[:, None])

    def call(self, name: str, args: Sequence[Indices], bad: Mask) -> Indices:
        """Hash that stands for the value of an uninterpreted function; known values where they are rational.

        An expression that is 0 without being written so, such as x/3 − x/3, has the functions that 0 has: a quotient
        by its sine has no value, and its logarithm has none (columns with one are marked in ``bad``).
        """
        value = self._hash(_VALUES.get(name, name), args)
        if name in _AT_ZERO:
            return np.where(args[0] == 0, _AT_ZERO[name], value)
        if name in ("ln", "generic-ln"):
            bad |= (args[0] == 0).any(axis=0)
            return np.where(args[0] == 1, 0, value)
        if name in ("power", "generic-power"):
            known = np.where((args[1] == 0) | (args[0] == 1), 1, value)
            return np.where((args[0] == 0) & (args[1] != 0), 0, known)
        return value

    def slopes(self, name: str, args: Sequence[Indices], value: Indices, bad: Mask) -> list[Indices]:
        """Derivatives where they are known to be safe, fresh hashes elsewhere."""
        if name == "exp":
            return [value]
        if name in _CIRCULAR:
            return [self._circular_slope(name, args[0], value)]
        if name == "ln":
            return [self.inverse(args[0], bad)]
        if name == "generic-ln":
            return [self._hash("ln'0", args)]
        if name in ("power", "generic-power"):
            base, exponent = args
            slope = self.inverse(base, bad) if name == "power" else self._hash("ln'0", [base])
            return [
                self.times(self.times(exponent, value), slope),
                self.times(value, self._hash("ln", [base])),
            ]
        return [self._hash(f"{name}'{i}", args) for i in range(len(args))]

    def _circular_slope(self, name: str, arg: Indices, value: Indices) -> Indices:
        """Derivative of a function that is meromorphic in the whole plane, from its value and that of a partner."""
        partner, sign = _CIRCULAR[name]
        if not partner:  # tan and its like: ±1 ± value²
            of_one, of_square = sign
            return (of_one + of_square * self.times(value, value)) % self.prime
        other = self._hash(partner, [arg])
        product = other if len(sign) == 1 else self.times(value, other)
        return (sign[0] * product) % self.prime

    def scatter_rows(self, target: Indices, rows: Indices, values: Indices) -> None:
        """target[rows] += values, rows may repeat."""
        np.add.at(target, rows, values)
        target %= self.prime

    def _opaque(self, name: str) -> int:
        return int(self._hash(name, [np.zeros((1, 1), dtype=np.int64)])[0, 0])

    def _hash(self, name: str, args: Sequence[Indices]) -> Indices:
        seed = np.uint64((_text_hash(name) ^ (self._salt * 0x9E3779B97F4A7C15)) & _MASK)
        state = np.full(args[0].shape, seed, dtype=np.uint64)
        for arg in args:
            state = _mix(state * np.uint64(0x100000001B3) + arg.astype(np.uint64))
        return (state % np.uint64(self.prime)).astype(np.int64)


_MASK: Final = (1 << 64) - 1
_CIRCULAR: Final[Mapping[str, tuple[str, tuple[int, ...]]]] = {
    # ±partner
    "sin": ("cos", (1,)),
    "cos": ("sin", (-1,)),
    "sinh": ("cosh", (1,)),
    "cosh": ("sinh", (1,)),
    # ±value·partner
    "sec": ("tan", (1, 1)),
    "csc": ("cot", (-1, 1)),
    "sech": ("tanh", (-1, 1)),
    "csch": ("coth", (-1, 1)),
    # a + b·value²
    "tan": ("", (1, 1)),
    "cot": ("", (-1, -1)),
    "tanh": ("", (1, -1)),
    "coth": ("", (1, -1)),
}
_AT_ZERO: Final = dict.fromkeys(("exp", "cos", "cosh", "sec", "sech"), 1) | dict.fromkeys(
    ("sin", "tan", "sinh", "tanh", "arcsin", "arctan", "arcsinh", "arctanh", "abs"), 0
)
"""Values at 0, as :func:`sbmlump.model.graph.fold_function` has them for the number 0."""
_VALUES: Final = {"generic-power": "power", "generic-ln": "ln"}
"""Functions that differ by what is known of their derivatives, not by their values."""


def _text_hash(text: str) -> int:
    """FNV-1a, the same in every process (Python's own hash of str is not)."""
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = (state ^ byte) * 0x100000001B3 & _MASK
    return state


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of splitmix64: every bit of the input moves every bit of the output."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# -- walks over a graph given as arrays ---------------------------------------------------------------
# Arguments are in CSR layout; a level of the walk at a time.


def below(roots: Indices, pointers: Indices, args: Indices, stop: Mask) -> Indices:
    """Nodes below the roots (roots included), not looking below ``stop``, ascending."""
    seen = np.zeros(len(pointers) - 1, dtype=np.bool_)
    place = np.empty(len(seen), dtype=np.int64)  # to tell the last of several equal nodes without sorting them
    frontier = roots
    while len(frontier):
        order = np.arange(len(frontier))
        place[frontier] = order
        frontier = frontier[place[frontier] == order]
        seen[frontier] = True
        open_nodes = frontier[~stop[frontier]]
        found = args[ranges(pointers[open_nodes], pointers[open_nodes + 1] - pointers[open_nodes])]
        frontier = found[~seen[found]]
    return np.flatnonzero(seen)
