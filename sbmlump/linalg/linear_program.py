"""Linear programs in doubles, by HiGHS itself: SciPy's interface to it takes ten times as long to import."""

from __future__ import annotations

import math

import highspy
import numpy as np

from sbmlump.arrays import Array
from sbmlump.isolate import silent_output

__all__ = ["least_combination"]


def least_combination(cost: Array, table: Array, column: int) -> Array | None:
    """Weights x of the rows of a table with xᵀ·table ≥ 0, entry ``column`` of it 1, and least cost·x.

    Parameters
    ----------
    cost : ndarray, shape (m,)
    table : ndarray, shape (m, q)
    column : int

    Returns
    -------
    ndarray, shape (m,), or None
        ``None`` if there are none.

    References
    ----------
    Huangfu and Hall, Math. Prog. Comp. 10 (2018), doi 10.1007/s12532-017-0130-5: the dual simplex method of HiGHS.
    """
    m, q = table.shape
    # q rows −tableᵀ·x ≤ 0 and the one that fixes the entry, columns by x
    matrix = np.concatenate([-table.T, table[:, [column]].T])
    places, rows = np.nonzero(matrix.T)
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = m, q + 1
    program.col_cost_ = cost
    program.col_lower_, program.col_upper_ = np.full(m, -math.inf), np.full(m, math.inf)
    program.row_lower_ = np.append(np.full(q, -math.inf), 1.0)
    program.row_upper_ = np.append(np.zeros(q), 1.0)
    sparse = program.a_matrix_
    sparse.format_ = highspy.MatrixFormat.kColwise
    sparse.num_col_, sparse.num_row_ = m, q + 1
    sparse.start_ = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=m))]).astype(np.int32)
    sparse.index_ = rows.astype(np.int32)
    sparse.value_ = matrix.T[places, rows]
    with silent_output():  # HiGHS prints who it is before it can be told not to
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("solver", "simplex")  # a vertex, and the same one on every machine
        solver.setOptionValue("presolve", "on")
        solver.setOptionValue("parallel", "off")
        solver.passModel(program)
        solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return np.array(solver.getSolution().col_value)
