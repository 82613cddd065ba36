"""Linear algebra over Q against SymPy."""

from __future__ import annotations

from fractions import Fraction

import sympy
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.linalg import (
    Span,
    add_multiple,
    combined,
    content,
    dot,
    echelon,
    left_null_space,
    null_space,
    own_column_inverse,
    primitive,
    rank,
    right_inverse,
    solve_rows,
    solved_in_order,
    without_zeros,
)

WIDTH = 6
entries = st.fractions(-3, 3, max_denominator=4) | st.just(Fraction(0)) | st.integers(-2, 2).map(Fraction)
tables = st.lists(st.lists(entries, min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=5)
Sparse = dict[int, Fraction]


def sparse(table: list[list[Fraction]]) -> list[Sparse]:
    return [without_zeros(dict(enumerate(row))) for row in table]


def matrix(rows: list[Sparse], width: int = WIDTH) -> sympy.Matrix:
    return sympy.Matrix(len(rows), width, lambda i, j: sympy.Rational(*rows[i].get(j, Fraction(0)).as_integer_ratio()))


def fractions(vector: sympy.Matrix) -> list[Fraction]:
    return [Fraction(int(value.p), int(value.q)) for value in vector]


@given(tables)
def test_echelon_form_and_rank_are_those_of_sympy(table: list[list[Fraction]]) -> None:
    rows = sparse(table)
    reduced, pivots = echelon(rows, range(WIDTH))
    expected, leads = matrix(rows).rref()
    assert pivots == list(leads)
    assert rank(rows, WIDTH) == len(leads)
    assert [[row.get(j, 0) for j in range(WIDTH)] for row in reduced] == [
        fractions(expected[i, :]) for i in range(len(leads))
    ]


@given(tables, st.permutations(range(WIDTH)))
def test_pivots_are_looked_for_in_the_order_given(table: list[list[Fraction]], order: list[int]) -> None:
    rows = sparse(table)
    reduced, pivots = echelon(rows, order)
    moved = [{order.index(j): value for j, value in row.items()} for row in rows]
    expected, leads = matrix(moved).rref()
    assert pivots == [order[k] for k in leads]
    for i, row in enumerate(reduced):
        assert {order.index(j): value for j, value in row.items()} == without_zeros(
            dict(enumerate(fractions(expected[i, :])))
        )


@given(tables)
def test_null_spaces_are_those_of_sympy_in_echelon_form(table: list[list[Fraction]]) -> None:
    rows = sparse(table)
    basis, pivots = null_space(rows, WIDTH)
    expected = matrix(rows).nullspace()
    assert len(basis) == len(expected)
    assert all(dot(row, vector) == 0 for row in rows for vector in basis)
    assert (basis, pivots) == echelon(basis, range(WIDTH))
    left, _ = left_null_space(rows, WIDTH)
    assert len(left) == len(rows) - rank(rows, WIDTH)
    assert all(combined(rows, weights) == {} for weights in left)


@given(tables)
def test_right_inverses_invert(table: list[list[Fraction]]) -> None:
    rows = sparse(table)
    inverse = right_inverse(rows, range(WIDTH))
    assert (inverse is None) == (matrix(rows).rank() < len(rows))
    for candidate in (inverse, own_column_inverse(rows)):
        if candidate is not None:
            product = [[dot(row, column) for column in candidate] for row in rows]
            assert product == [[Fraction(i == k) for k in range(len(rows))] for i in range(len(rows))]
    if inverse is not None:
        _, pivots = matrix(rows).rref()
        square = matrix(rows)[:, list(pivots)].inv()
        assert inverse == [
            without_zeros(dict(zip(pivots, fractions(square[:, i]), strict=True))) for i in range(len(rows))
        ]


def test_a_right_inverse_takes_the_columns_it_is_given() -> None:
    rows = [{"A": Fraction(1), "B": Fraction(2)}, {"B": Fraction(1), "C": Fraction(3)}]
    assert right_inverse(rows, ["B", "C"]) == [
        {"B": Fraction(1, 2), "C": Fraction(-1, 6)},
        {"C": Fraction(1, 3)},
    ]
    assert right_inverse([{"A": Fraction(1)}, {"A": Fraction(2)}], ["A", "B"]) is None
    assert right_inverse([], []) == []


def test_a_column_with_the_entry_1_is_preferred() -> None:
    rows = [{0: Fraction(2), 1: Fraction(1)}, {2: Fraction(3), 3: Fraction(4)}]
    assert own_column_inverse(rows) == [{1: Fraction(1)}, {2: Fraction(1, 3)}]
    assert own_column_inverse([rows[0], rows[0]]) is None


@given(tables, st.lists(entries, min_size=5, max_size=5))
def test_combinations_are_found_where_there_are_some(table: list[list[Fraction]], weights: list[Fraction]) -> None:
    *rows, other = sparse(table)
    target = combined(rows, dict(enumerate(weights[: len(rows)])))
    found = solve_rows(rows, target)
    assert found is not None
    assert combined(rows, dict(enumerate(found))) == target
    inside = matrix([*rows, other]).rank() == (matrix(rows).rank() if rows else 0)
    assert (solve_rows(rows, other) is not None) == inside


@given(tables)
def test_a_span_tells_what_is_new(table: list[list[Fraction]]) -> None:
    rows = sparse(table)
    span: Span[int] = Span()
    for i, row in enumerate(rows):
        assert span.add(row) == (matrix(rows[: i + 1]).rank() > (matrix(rows[:i]).rank() if i else 0))
    assert len(span) == matrix(rows).rank()


@given(tables, st.permutations(range(WIDTH)))
def test_rows_solved_in_an_order_are_the_echelon_form_in_that_order(
    table: list[list[Fraction]], order: list[int]
) -> None:
    rows = sparse(table)
    solved, columns = solved_in_order(rows, order)
    reduced, pivots = echelon(rows, order)
    by_column = {column: solved[i] for i, column in columns.items()}
    assert by_column == dict(zip(pivots, reduced, strict=True))
    assert all(not solved[i] for i in range(len(rows)) if i not in columns)


@given(st.lists(entries, min_size=1, max_size=6))
def test_content_leaves_coprime_integers(values: list[Fraction]) -> None:
    row = without_zeros(dict(enumerate(values)))
    if not row:
        assert content(values) == 0
        return
    integers = [value / content(row.values()) for value in row.values()]
    assert all(value.denominator == 1 for value in integers)
    assert sympy.igcd(0, *(value.numerator for value in integers)) == 1
    whole = primitive(row)
    assert whole[min(whole)] > 0
    assert [abs(value) for value in whole.values()] == [abs(value) for value in integers]


def test_sums_keep_zeros_until_they_are_taken_out() -> None:
    total = {"A": Fraction(1)}
    add_multiple(total, {"A": Fraction(1, 2), "B": Fraction(3)}, -2)
    assert total == {"A": 0, "B": -6}
    assert without_zeros(total) == {"B": -6}
