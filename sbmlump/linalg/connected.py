"""What hangs together: rows by common columns, nodes by the steps between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["components", "reached", "strong_components"]


def components(rows: Sequence[Collection[int]], pivots: Sequence[int]) -> list[list[int]]:
    """Groups of rows connected by common columns, by union–find; in the order of the least pivot of each."""
    parent = list(range(len(rows)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    owner: dict[int, int] = {}
    for i, row in enumerate(rows):
        for j in row:
            if j in owner:
                parent[find(i)] = find(owner[j])
            else:
                owner[j] = i
    groups: dict[int, list[int]] = {}
    for i in range(len(rows)):
        groups.setdefault(find(i), []).append(i)
    return sorted(groups.values(), key=lambda group: min(pivots[i] for i in group))


def strong_components(steps: Sequence[Collection[int]]) -> list[list[int]]:
    """Nodes of a directed graph that reach each other, as a depth-first search leaves them: those reached come first.

    Parameters
    ----------
    steps : sequence of collections of int
        For each node those that it leads to.

    References
    ----------
    R. Tarjan, Depth-first search and linear graph algorithms, SIAM Journal on Computing 1 (1972), 146-160,
    doi:10.1137/0201010.
    """
    order, low, closed = [-1] * len(steps), [0] * len(steps), [False] * len(steps)
    found: list[list[int]] = []
    stack: list[int] = []
    count = 0
    for root in range(len(steps)):
        path = [] if order[root] >= 0 else [(root, iter(steps[root]))]
        while path:
            node, targets = path[-1]
            if order[node] < 0:
                order[node] = low[node] = count
                count += 1
                stack.append(node)
            fresh = None
            for target in targets:
                if order[target] < 0:
                    fresh = target
                    break
                if not closed[target]:
                    low[node] = min(low[node], order[target])
            if fresh is not None:
                path.append((fresh, iter(steps[fresh])))
                continue
            path.pop()
            if path:
                low[path[-1][0]] = min(low[path[-1][0]], low[node])
            if low[node] == order[node]:
                first = len(stack) - 1
                while stack[first] != node:
                    first -= 1
                members = stack[first:]
                del stack[first:]
                for member in members:
                    closed[member] = True
                found.append(members)
    return found


def reached(steps: Sequence[Collection[int]]) -> list[int]:
    """What each node of a directed graph reaches, itself included, as the bits of a number."""
    sets = [0] * len(steps)
    for members in strong_components(steps):
        bits = 0
        for member in members:
            bits |= 1 << member
            for target in steps[member]:
                bits |= sets[target]
        for member in members:
            sets[member] = bits
    return sets
