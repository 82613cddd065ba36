"""Detailed and complex balance of a mass-action network, decided from its rate constants.

Both are questions about a positive equilibrium x. Taking logarithms they become linear systems in ln x:

- detailed balance: k₊ x^source = k₋ x^target for every pair of opposite directions;
- complex balance: x^complex / κ is the same for all complexes of a linkage class, κ being the positive vector that the
  Laplacian of the class maps to 0 (the tree constants).

A linear system in logarithms is solvable if and only if Π b^w = 1 for every integer w that is orthogonal to its matrix
(for detailed balance these are the Wegscheider conditions). With rational rate constants that is decided exactly.
The equilibrium itself is then found numerically and put into the equations.

References
----------
M. Feinberg, Foundations of Chemical Reaction Network Theory, Springer 2019, chapters 14 and 15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import log
from typing import Final

import flint
import numpy as np

from sbmlump.lumping.basis import primitive
from sbmlump.structure.exact_linear import left_null_space
from sbmlump.structure.network import Network

__all__ = ["Balance", "balance_of"]

Number = Fraction | float
_LOG_TOLERANCE: Final = 1e-9  # of Σ w ln b for rate constants that are not rational
_RESIDUAL: Final = 1e-6  # of the balance at the equilibrium that was found, relative to the fluxes
_MAX_EXACT_BITS: Final = 400_000
_MAX_CLASS: Final = 400


@dataclass(frozen=True, slots=True)
class Balance:
    """What is known of the balance of a network; ``None`` where it is not defined or was not decided.

    Attributes
    ----------
    detailed, complex : bool or None
        At a positive equilibrium.
    realisation : str
        Of which network.
    why : str
        One sentence.
    exact : bool
        Whether it was decided by exact arithmetic.
    equilibrium : mapping of str to float
        A positive equilibrium at which the balance holds, checked numerically; empty if there is none.
    """

    detailed: bool | None
    complex: bool | None
    realisation: str
    why: str
    exact: bool = True
    equilibrium: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _LogSystem:
    """Rows over species and right-hand sides b: row · ln x = ln b."""

    rows: list[dict[int, Fraction]]
    values: list[Number]


def balance_of(network: Network | None) -> Balance:
    """Whether a network is detailed balanced and complex balanced at a positive equilibrium."""
    if network is None:
        return Balance(None, None, "none", "the equations have no canonical network; balance is not defined")
    if not network.directions:
        return Balance(None, None, network.realisation, "there are no reactions")
    if not network.mass_action:
        listed = ", ".join(network.obstacles[:4])
        return Balance(None, None, network.realisation, f"not a mass-action network ({listed}); balance is not defined")
    if not network.weakly_reversible:
        return Balance(False, False, network.realisation, "the network is not weakly reversible")
    by_complexes = _complex_system(network)
    complex_balanced, complex_exact = (None, True) if by_complexes is None else _solvable(by_complexes, network)
    pairs = _pair_system(network)
    detailed, pairs_exact = (False, True) if pairs is None else _solvable(pairs, network)
    exact = pairs_exact and (detailed or complex_exact)
    if detailed:
        complex_balanced = True
    equilibrium: Mapping[str, float] = {}
    if complex_balanced:
        found = _equilibrium(network, pairs if detailed and pairs is not None else by_complexes)
        equilibrium = found or {}
        if found is None:
            return Balance(
                None, None, network.realisation, "the balanced equilibrium could not be confirmed numerically", False
            )
    why = _why(detailed, complex_balanced, pairs)
    return Balance(detailed, complex_balanced, network.realisation, why, exact, equilibrium)


def _why(detailed: bool, complex_balanced: bool | None, pairs: _LogSystem | None) -> str:
    if detailed:
        return "every reaction is reversible and the Wegscheider conditions hold"
    first = "a reaction has no opposite" if pairs is None else "a Wegscheider condition does not hold"
    if complex_balanced is None:
        return f"{first}; complex balance was not decided (too large)"
    second = "the complexes are balanced all the same" if complex_balanced else "the complexes are not balanced either"
    return f"{first}; {second}"


def _difference(network: Network, a: int, b: int) -> dict[int, Fraction]:
    place = {name: i for i, name in enumerate(network.species)}
    row: dict[int, Fraction] = {}
    for sign, which in ((1, a), (-1, b)):
        for name, value in network.complexes[which]:
            row[place[name]] = row.get(place[name], Fraction(0)) + sign * value
    return {j: value for j, value in row.items() if value}


def _pair_system(network: Network) -> _LogSystem | None:
    """(target − source)·ln x = ln(k₊/k₋); ``None`` if a direction has no opposite.

    Several reactions between the same complexes are taken pair by pair where they come from one reaction, else summed.
    """
    table: dict[tuple[str, int, int], Number] = {}
    for one in network.directions:
        assert one.rate is not None
        key = (one.reaction, one.source, one.target)
        table[key] = table.get(key, Fraction(0)) + one.rate
    if any((name, target, source) not in table for name, source, target in table):
        summed: dict[tuple[str, int, int], Number] = {}
        for (_, source, target), rate in table.items():
            summed["", source, target] = summed.get(("", source, target), Fraction(0)) + rate
        table = summed
    rows: list[dict[int, Fraction]] = []
    values: list[Number] = []
    for (name, source, target), rate in table.items():
        back = table.get((name, target, source))
        if back is None:
            return None
        if source < target:
            rows.append(_difference(network, target, source))
            values.append(rate / back)
    return _LogSystem(rows, values)


def _complex_system(network: Network) -> _LogSystem | None:
    """(complex − first complex of its class)·ln x = ln(κ/κ₁)."""
    rows: list[dict[int, Fraction]] = []
    values: list[Number] = []
    for group in network.linkage_classes:
        if len(group) > _MAX_CLASS:
            return None
        constants = _tree_constants(network, group)
        if constants is None:
            return None
        for which, value in zip(group[1:], constants[1:], strict=True):
            rows.append(_difference(network, which, group[0]))
            values.append(value / constants[0])
    return _LogSystem(rows, values)


def _tree_constants(network: Network, group: Sequence[int]) -> list[Number] | None:
    """The positive vector in the kernel of the Laplacian of a strongly connected class."""
    place = {which: i for i, which in enumerate(group)}
    size = len(group)
    inside = [one for one in network.directions if one.source in place]
    if all(isinstance(one.rate, Fraction) for one in inside):
        table = [[Fraction(0)] * size for _ in group]
        for one in inside:
            assert isinstance(one.rate, Fraction)
            table[place[one.target]][place[one.source]] += one.rate
            table[place[one.source]][place[one.source]] -= one.rate
        exact = flint.fmpq_mat([[flint.fmpq(v.numerator, v.denominator) for v in row] for row in table])
        reduced, count = exact.rref()
        if count != size - 1:
            return None
        last = [Fraction(int(reduced[i, size - 1].p), int(reduced[i, size - 1].q)) for i in range(size - 1)]
        return [*(-value for value in last), Fraction(1)]
    dense = np.zeros((size, size))
    for one in inside:
        assert one.rate is not None
        dense[place[one.target], place[one.source]] += float(one.rate)
        dense[place[one.source], place[one.source]] -= float(one.rate)
    _, _, right = np.linalg.svd(dense)
    kernel = right[-1] / right[-1][np.argmax(np.abs(right[-1]))]
    return None if (kernel <= 0).any() else [float(value) for value in kernel]


def _solvable(system: _LogSystem, network: Network) -> tuple[bool, bool]:
    """Whether Π b^w = 1 for every integer w orthogonal to the rows, and whether exact arithmetic says so."""
    basis, _ = left_null_space(system.rows, len(network.species))
    exact = True
    for row in map(primitive, basis):
        exponents = {i: int(value) for i, value in row.items()}
        one, sure = _product_is_one([(system.values[i], e) for i, e in exponents.items()])
        if not one:
            return False, sure
        exact = exact and sure
    return True, exact


def _product_is_one(powers: Sequence[tuple[Number, int]]) -> tuple[bool, bool]:
    """The answer, and whether it was found in exact arithmetic (not for irrational or very long numbers)."""
    bits = sum(
        abs(e) * (value.numerator.bit_length() + value.denominator.bit_length())
        for value, e in powers
        if isinstance(value, Fraction)
    )
    if all(isinstance(value, Fraction) for value, _ in powers) and bits <= _MAX_EXACT_BITS:
        product = Fraction(1)
        for value, e in powers:
            assert isinstance(value, Fraction)
            product *= value**e
        return product == 1, True
    logarithms = [e * _log(value) for value, e in powers]
    return abs(sum(logarithms)) <= _LOG_TOLERANCE * max(1.0, sum(map(abs, logarithms))), False


def _log(value: Number) -> float:
    if isinstance(value, Fraction):
        return log(value.numerator) - log(value.denominator)
    return log(value)


def _equilibrium(network: Network, system: _LogSystem | None) -> dict[str, float] | None:
    """x from ln x by least squares, and whether inflow and outflow of every complex agree there."""
    if system is None:
        return None
    matrix = np.zeros((len(system.rows), len(network.species)))
    for i, row in enumerate(system.rows):
        for j, value in row.items():
            matrix[i, j] = float(value)
    target = np.array([_log(value) for value in system.values])
    logarithms = np.linalg.lstsq(matrix, target, rcond=None)[0] if len(target) else np.zeros(len(network.species))
    place = {name: i for i, name in enumerate(network.species)}
    powers = [
        float(np.exp(sum(float(value) * logarithms[place[name]] for name, value in one))) for one in network.complexes
    ]
    inflow, outflow = np.zeros(len(powers)), np.zeros(len(powers))
    for one in network.directions:
        flux = float(one.rate or 0) * powers[one.source]
        outflow[one.source] += flux
        inflow[one.target] += flux
    if not (np.abs(inflow - outflow) <= _RESIDUAL * np.maximum(inflow, outflow)).all():
        return None
    return {name: float(np.exp(logarithms[i])) for name, i in place.items()}
