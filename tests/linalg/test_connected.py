"""What hangs together, against SciPy's graph routines."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from sbmlump.linalg import components, reached, strong_components


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 9))
    node = st.integers(0, n - 1)
    return [draw(st.sets(node, max_size=3)) for _ in range(n)]


def table(steps):
    dense = np.zeros((len(steps), len(steps)), dtype=np.int8)
    for node, targets in enumerate(steps):
        dense[node, list(targets)] = 1
    return sp.csr_array(dense)


def groups(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


@given(graphs())
def test_strong_components_are_those_of_scipy_and_leave_what_they_reach_first(steps):
    found = strong_components(steps)
    assert {frozenset(part) for part in found} == groups(connected_components(table(steps), connection="strong")[1])
    place = {node: i for i, part in enumerate(found) for node in part}
    assert all(place[target] <= place[node] for node, targets in enumerate(steps) for target in targets)


@given(graphs())
def test_reached_is_the_transitive_closure(steps):
    closure = np.eye(len(steps), dtype=bool) | (table(steps).toarray() > 0)
    for _ in steps:
        closure = closure | ((closure.astype(int) @ closure.astype(int)) > 0)
    assert [[bits >> j & 1 == 1 for j in range(len(steps))] for bits in reached(steps)] == closure.tolist()


@given(graphs())
def test_rows_with_common_columns_are_the_weak_components(steps):
    rows = [{node, *targets} for node, targets in enumerate(steps)]
    found = components(rows, range(len(rows)))
    assert {frozenset(part) for part in found} == groups(connected_components(table(steps), connection="weak")[1])
    assert [min(part) for part in found] == sorted(min(part) for part in found)


def test_a_long_chain_and_a_long_ring_take_one_walk():
    n = 200_000
    chain = [[i + 1] for i in range(n - 1)] + [[]]
    assert len(strong_components(chain)) == n
    assert len(strong_components([*chain[:-1], [0]])) == 1
