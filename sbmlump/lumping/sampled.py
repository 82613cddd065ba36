"""Jacobians of a whole model at random points modulo a prime, sampled once and shared by many searches.

Rows of the Jacobian that touch different columns are pulled back together (the colouring of Curtis, Powell and Reid,
here by rows), so that a sample costs as many sweeps as there are colours, not as there are states.

References
----------
Curtis, Powell, Reid, IMA J. Appl. Math. 13 (1974), doi 10.1093/imamat/13.1.117.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.domains import PrimeField
from sbmlump.expr.program import Program, Tape
from sbmlump.lumping.exact import ClosureProblem
from sbmlump.lumping.field import random_prime

__all__ = ["SampledJacobians"]

_PRIME_BITS: Final = 23  # products of residues are summed in int64 and in doubles without overflow
_MAX_EMPTY_DRAWS: Final = 8
_SWEEP_CELLS: Final = 1 << 22  # slots times columns of one backward sweep, 32 MB
Residues = NDArray[np.int64]
Indices = NDArray[np.int64]


class SampledJacobians:
    """Values of the Jacobian of all roots of a closure problem, at as many random points as are asked for.

    Attributes
    ----------
    prime : int
    indptr, indices : ndarray of int64
        Pattern of the Jacobian, roots (seeds, right-hand side, resets in turn) by states, as in CSR.
    """

    def __init__(self, problem: ClosureProblem, program: Program, generator: np.random.Generator) -> None:
        self._program = program
        self._generator = generator
        self._field = PrimeField(random_prime(generator, _PRIME_BITS), int(generator.integers(1 << 62)))
        self.prime: int = self._field.prime
        self.n: int = problem.n_states
        pattern = sp.csr_array(program.dependencies()[:, : self.n])
        pattern.sort_indices()
        self.indptr: Indices = pattern.indptr.astype(np.int64)
        self.indices: Indices = pattern.indices.astype(np.int64)
        self._rows: Indices = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        self._colour = _colours(self.indptr, self.indices)
        self._count = int(self._colour.max(initial=-1)) + 1
        self._data: list[Residues] = []
        self._moves: dict[int, sp.csr_array] = {}

    def entries(self, position: int) -> Residues:
        """Entries, in the order of the pattern, at the sample of that number.

        Raises
        ------
        UnsupportedModelError
            If some denominator is zero everywhere (``undefined-right-hand-side``).
        BadPrimeError
            If the prime divides the denominator of a number.
        """
        while len(self._data) <= position:
            self._sample(max(1, min(8, _SWEEP_CELLS // max(1, self._program.size * self._count))))
        return self._data[position]

    def moves(self, position: int, low: int, maps: int) -> sp.csr_array:
        """Transposed Jacobians of ``maps`` maps with n roots each, from root ``low`` on, at a sample; (maps·n, n)."""
        if position not in self._moves:
            n = self.n
            begin = self.indptr[low]
            rows = self._rows[begin:] - low
            places = ((rows // n) * n + self.indices[begin:], rows % n)
            self._moves[position] = sp.csr_array((self.entries(position)[begin:], places), shape=(maps * n, n))
        return self._moves[position]

    def _sample(self, count: int) -> None:
        """Add the entries at ``count`` fresh points; those where something is undefined are drawn again."""
        for _ in range(_MAX_EMPTY_DRAWS):
            points = self._generator.integers(1, self.prime, (len(self._program.inputs), count))
            tape = self._program.run(self._field, points)
            rows = self._sweep(tape)
            # slopes may be undefined where values are not: a sweep marks those points too
            good = np.flatnonzero(~tape.bad)
            if len(good):
                self._data += [rows[k] for k in good]
                return
        message = "a denominator of the right-hand side is zero everywhere"
        raise UnsupportedModelError(Reason("undefined-right-hand-side", message))

    def _sweep(self, tape: Tape[np.int64]) -> list[Residues]:
        """Entries at every point of a tape."""
        count = tape.values.shape[1]
        colours = max(1, min(self._count, _SWEEP_CELLS // max(1, self._program.size * count)))
        out = [np.zeros(len(self.indices), dtype=np.int64) for _ in range(count)]
        for low in range(0, self._count, colours):
            here = np.arange(low, min(low + colours, self._count))
            wide = Tape(
                np.repeat(tape.values, len(here), axis=1),
                {k: np.repeat(v, len(here), axis=1) for k, v in tape.inverses.items()},
                np.repeat(tape.bad, len(here)),
            )
            weights = np.zeros((len(self._colour), len(here)), dtype=np.int64)
            mine = np.flatnonzero((self._colour >= low) & (self._colour < low + len(here)))
            weights[mine, self._colour[mine] - low] = 1
            rows = self._program.pull_back(self._field, wide, np.tile(weights, (1, count)))
            tape.bad[:] |= wide.bad.reshape(count, len(here)).any(axis=1)
            colour = self._colour[self._rows]
            taken = np.flatnonzero((colour >= low) & (colour < low + len(here)))
            for k in range(count):
                out[k][taken] = rows[self.indices[taken], k * len(here) + colour[taken] - low]
        return out


def _colours(indptr: Indices, indices: Indices) -> Indices:
    """A colour for each row so that rows of one colour share no column; −1 for empty rows. Greedy, fullest first."""
    colour = np.full(len(indptr) - 1, -1, dtype=np.int64)
    used: list[int] = []  # columns of each colour as the bits of an integer
    for i in np.argsort(-np.diff(indptr), kind="stable").tolist():
        mask = 0
        for j in indices[indptr[i] : indptr[i + 1]].tolist():
            mask |= 1 << j
        if not mask:
            continue
        place = next((c for c, taken in enumerate(used) if not taken & mask), len(used))
        if place == len(used):
            used.append(0)
        used[place] |= mask
        colour[i] = place
    return colour
