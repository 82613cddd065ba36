"""Functions of the expression graph over float64, with their partial derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Final

import numpy as np
import scipy.special
from numpy.typing import NDArray

__all__ = ["FLOAT_FUNCTIONS", "FLOAT_SLOPES"]

Array = NDArray[np.float64]


def _truth(condition: NDArray[np.bool_]) -> Array:
    return condition.astype(np.float64)


def _piecewise(*args: Array) -> Array:
    conditions = [arg != 0 for arg in args[1::2]]
    return np.select(conditions, list(args[:-1:2]), default=args[-1]) if conditions else args[-1]


def _quotient(a: Array, b: Array) -> Array:
    return np.trunc(a / b)


def _inverse_cotangent(x: Array) -> Array:
    return np.arctan(1.0 / x)


FLOAT_FUNCTIONS: Final[Mapping[str, Callable[..., Array]]] = {
    "exp": np.exp,
    "ln": np.log,
    "generic-ln": np.log,
    "abs": np.abs,
    "floor": np.floor,
    "ceiling": np.ceil,
    "factorial": lambda x: scipy.special.gamma(x + 1.0),
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


def _select_slopes(pick: Callable[[Array, Array], NDArray[np.bool_]]) -> _Slopes:
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
    "factorial": _one(lambda u, f: f * scipy.special.digamma(u + 1.0)),
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
