"""Linear networks of hundreds to thousands of nodes, exactly: one table, ``python benchmarks/linear_networks.py``.

A directed network grows from a fixed seed: each new node is joined to earlier ones that are drawn with probabilities
proportional to their degrees, in a random direction. The rate of a state is a weighted sum of the nodes that an edge
leads from to it, all weights being distinct; one node is observed. Each row runs the command
line in a process of its own, so that time and peak memory are the row's.

Columns: nodes, edges, reduced size or the reason why there is none, seconds of processor time (all threads), peak
memory, and the sentence of the certificate or the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sbmlump.model.graph import Graph, Node
from sbmlump.model.system import OdeSystem, Origin
from sbmlump.sbml import write_system


def linear_network(
    nodes: int, seed: int, *, edges: int = 2, reverse: float = 0.5, distinct: bool = True, decay: bool = False
) -> OdeSystem:
    """A degree-weighted, directed network of linear rates.

    Parameters
    ----------
    nodes : int
        States ``x_1`` to ``x_nodes``.
    seed : int
        Of network and weights.
    edges : int
        Of each new node to earlier ones.
    reverse : float
        Probability that an edge leads from the earlier node to the new one.
    distinct : bool
        Whether all weights differ; otherwise all are 1, which makes nodes alike.
    decay : bool
        Whether each state decays, too, with a weight of its own: then every node is needed that a path leads from.
    """
    draw = random.Random(seed)
    ends: list[int] = [0]  # every node as often as its degree, and the first once more
    pairs: set[tuple[int, int]] = set()
    for new in range(1, nodes):
        for old in {draw.choice(ends) for _ in range(edges)}:
            pairs.add((old, new) if draw.random() < reverse else (new, old))
            ends += [old, new]
    order = sorted(pairs) + [(i, i) for i in range(nodes) if decay]
    weights = draw.sample(range(1, 1000 * nodes), len(order)) if distinct else [1000] * len(order)
    graph = Graph()
    states = tuple(f"x_{i + 1}" for i in range(nodes))
    symbols = [graph.symbol(name) for name in states]
    terms: list[list[Node]] = [[] for _ in range(nodes)]
    for (source, target), weight in zip(order, weights, strict=True):
        sign = -1 if source == target else 1
        terms[target].append(graph.scaled(Fraction(sign * weight, 1000), symbols[source]))
    return OdeSystem(
        graph=graph,
        states=states,
        initial=tuple(graph.number(1 + i % 7) for i in range(nodes)),
        rhs=tuple(graph.add(each) for each in terms),
        constants=(),
        id=f"linear_network_{nodes}",
        name=f"Linear network of {nodes} nodes",
        origin=Origin(format="python"),
    )


@dataclass(frozen=True)
class Row:
    """One network."""

    nodes: int
    edges: int
    distinct: bool = True
    decay: bool = False

    @property
    def kind(self) -> str:
        """What it is like, in words."""
        return ("distinct" if self.distinct else "equal") + (", decay" if self.decay else "")


ROWS = [
    Row(nodes, edges, distinct, decay)
    for nodes in (500, 1000, 3000)
    for edges, distinct, decay in (
        (1, True, False),
        (2, True, False),
        (3, True, False),
        (2, False, False),
        (2, True, True),
    )
]


def measure(row: Row, seed: int, folder: Path) -> tuple[str, float, float, str]:
    """Reduced size or ``-``, seconds of processor time and peak memory (MB) of one reduction, and what was said."""
    file, out = folder / "network.xml", folder / "reduced.xml"
    file.write_bytes(
        write_system(linear_network(row.nodes, seed, edges=row.edges, distinct=row.distinct, decay=row.decay))
    )
    out.unlink(missing_ok=True)
    program = "from sbmlump.cli import main; main()"
    arguments = ["reduce", str(file), "--method", "exact", "--observe", "x_1", "-o", str(out), "--no-check", "--json"]
    with (folder / "answer.json").open("w+") as answer:
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=answer)
        _, _, usage = os.wait4(process.pid, 0)
        answer.seek(0)
        said = json.load(answer)
    text = (
        said["reasons"][0]["message"] if said.get("reasons") else said["certificate"].get("statement", said["outcome"])
    )
    return str(said.get("reduced_size") or "-"), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def main() -> int:
    """Print the table; 1 if a row took longer than the two minutes that are promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=3000, help="nodes of the largest networks")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| nodes | edges of a node | weights | reduced size | CPU s | peak MB | what is said |")
    print("|---|---|---|---|---|---|---|")
    slow = 0
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            if row.nodes > options.largest:
                continue
            size, seconds, memory, text = measure(row, options.seed, Path(folder))
            slow += seconds > 120
            print(
                f"| {row.nodes} | {row.edges} | {row.kind} | {size} | {seconds:.1f} | {memory:.0f} | {text} |",
                flush=True,
            )
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
