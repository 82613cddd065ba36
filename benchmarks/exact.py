"""Exact lumping against the published tool: one table, ``python benchmarks/exact.py``.

The figures of the published tool (CLUE 1.7.3, a 2-core machine) are those of its rerun; the ratios compare them with
ours on this machine, which is another one: read them as orders of magnitude. With SBMLUMP_CORPUS the files of its
examples are read; without it only the models built in Python are run. Each row runs in a process of its own, so that
the peak memory is the row's.

Columns: parse or build, lump (smallest space, lifted to Q), whole (a reduction from observables to certificate: the
space again, basis, reduced equations, proof), proof (that last step alone), peak memory, seconds of the published tool
for parse and lump, and how many times faster ours are. Last, every state of BIOMD0000000182 by itself, in one call.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One run: expected size and the published tool's seconds, where known."""

    model: str
    observe: tuple[str, ...]
    keep: str
    expected: int | None
    counts: str  # "all": lumps and combinations of constants, "states": lumps only
    their_parse: float | None = None
    their_lump: float | None = None


MULTISITE = [
    Row(f"multisite:{m}", ("kinase",), "all", 12, "all", p, t)
    for m, p, t in ((3, None, None), (4, None, None), (5, 3.0, 1.3), (6, 18.9, 7.5), (7, 146.0, 37.6), (8, None, None))
]
FILES = [
    Row("ode/Barua.ode", ("aS000",), "all", 349, "all", 1.9, 15.8),
    Row("ode/Barua.ode", ("aS027",), "all", 398, "all", 1.9, 20.5),
    Row("ode/fceri_ji.ode", ("S0",), "all", 8, "all", 1.4, 0.44),
    Row("ode/fceri_ji.ode", ("S2", "S178", "S267", "S77"), "all", 338, "all", 1.4, 20.9),
    Row("ode/fceri_ji.ode", ("S2 + S178 + S267 + S77",), "all", 84, "all", 1.4, 1.5),
    Row("ode/fceri_ji.ode", ("S7",), "all", 120, "all", 1.4, 25.8),
    Row("ode/fceri_ji.ode", ("S1",), "all", 31, "all", 1.4, 0.70),
    Row("ode/OrderedPhosphorylation.ode", ("s0",), "all", 6, "all", 1.0, 0.31),
    Row("biomodels/MODEL1001150000.xml", ("CaM_0_1",), "all", 75, "states", 0.24, 0.30),
    Row("biomodels/BIOMD0000000504.xml", ("cFos_P", "cJun_P"), "all", 41, "states", 0.14, 0.13),
    Row("biomodels/MODEL8262229752.xml", ("AI2_extra",), "all", 13, "states", 0.07, 0.006),
    Row("biomodels/BIOMD0000000182.xml", ("cAMP_cyto",), "none", 22, "states", None, 1800.0),
]


def measure(row: Row, corpus: str | None) -> dict[str, float | int]:
    """Run one row in this process."""
    import sbmlump
    import sbmlump.formats.ode
    import sbmlump.sbml.read.load  # imports are not what is measured
    from sbmlump.examples import multisite
    from sbmlump.methods import closure_problem, lump_exactly, smallest_invariant_space
    from sbmlump.model import parse_observables

    begin = time.perf_counter()
    kind, _, rest = row.model.partition(":")
    system = multisite(int(rest)) if kind == "multisite" else sbmlump.load(Path(corpus or "") / row.model)
    parsed = time.perf_counter()
    observables = parse_observables(system, row.observe or system.states[:1])
    keep = frozenset(c.id for c in system.constants) if row.keep == "all" else frozenset()
    problem = closure_problem(system, observables, keep)
    space, restricted, _ = smallest_invariant_space(problem)
    lumped = time.perf_counter()
    found = {
        "n": system.size,
        "all": len(space.rows),
        "states": sum(pivot < restricted.n_states for pivot in space.pivots),
        "parse": parsed - begin,
        "lump": lumped - parsed,
    }
    if system.size < 20_000:
        start = time.perf_counter()
        reduction = lump_exactly(system, observables, keep=keep)
        found["whole"] = time.perf_counter() - start
        found["proof"] = reduction.seconds["prove"]
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def every_state(path: Path) -> str:
    """All states of a model, each observed by itself, in one call."""
    import sbmlump
    from sbmlump.methods import StateSize, per_species_sizes

    system = sbmlump.load(path)
    best, sizes = float("inf"), []
    for _ in range(3):
        begin = time.perf_counter()
        found = list(per_species_sizes(system))
        best = min(best, time.perf_counter() - begin)
        sizes = sorted(one.size for one in found if isinstance(one, StateSize))
    return f"\n{path.name}, each of {system.size} states observed: {best:.3f} s; sizes {sizes[0]} to {sizes[-1]}"


def main() -> int:
    """Print the table; 1 if a size is not the expected one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", type=int)
    parser.add_argument("--largest", type=int, default=8, help="sites of the largest multisite model")
    arguments = parser.parse_args()
    corpus = os.environ.get("SBMLUMP_CORPUS")
    rows = [r for r in MULTISITE if int(r.model.partition(":")[2]) <= arguments.largest] + (FILES if corpus else [])
    if arguments.row is not None:
        print(json.dumps(measure(rows[arguments.row], corpus)))
        return 0
    print(
        "| model | observable | n | m | expected | parse s | lump s | proof s | whole s | peak MB "
        "| CLUE parse | CLUE lump | parse × | lump × |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    wrong = 0
    for number, row in enumerate(rows):
        command = [sys.executable, __file__, "--row", str(number), "--largest", str(arguments.largest)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)
        size = found[row.counts]
        wrong += row.expected is not None and size != row.expected
        faster = [
            f"{theirs / found[key]:.0f}" if theirs else ""
            for key, theirs in (("parse", row.their_parse), ("lump", row.their_lump))
        ]
        whole, proof = (f"{found[key]:.2f}" if key in found else "" for key in ("whole", "proof"))
        theirs = [f"{value:g}" if value else "" for value in (row.their_parse, row.their_lump)]
        print(
            f"| {row.model} | {', '.join(row.observe)} | {found['n']} | {size} | {row.expected or ''} "
            f"| {found['parse']:.3f} | {found['lump']:.3f} | {proof} | {whole} | {found['memory']:.0f} "
            f"| {' | '.join([*theirs, *faster])} |",
            flush=True,
        )
    if corpus:
        print(every_state(Path(corpus) / "biomodels" / "BIOMD0000000182.xml"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
