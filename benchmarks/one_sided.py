"""Proofs about functions with branches, on random systems: ``python benchmarks/one_sided.py [--systems 2000]``.

Systems are those of ``tests/one_sided.py``: hidden by changes of variables, with identities that hold on one side of a
singularity only, or everywhere. Printed: how many reductions were proved, how many of these the rates on all sides
contradict (there must be none), and how many of the true lumpings were found. These figures stand behind the defaults
of ``sbmlump.proof.real_points.RealPointSettings``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from one_sided import OneSided, contradicted, one_sided_system, tally

from sbmlump.errors import SbmlumpError
from sbmlump.methods import lump_exactly
from sbmlump.model import parse_observables


def main() -> int:
    """Run and print; exit code 1 if a proof was contradicted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    outcome: Counter[str] = Counter()
    results: list[tuple[OneSided, int | None]] = []
    for seed in range(options.first, options.first + options.systems):
        case = one_sided_system(Random(seed))
        size: int | None = None
        try:
            reduction = lump_exactly(case.system, parse_observables(case.system, [case.observable]))
        except SbmlumpError as error:
            outcome[f"refused: {error.reasons[0].code}"] += 1
            print(seed, "refused", case.terms, error.reasons[0].message[:300])
        else:
            size = reduction.system.size
            outcome["proved" if size < case.system.size else "irreducible"] += 1
            if contradicted(case, reduction):
                outcome["CONTRADICTED"] += 1
                print(seed, "CONTRADICTED", case.terms, reduction.certificate.heuristic)
        results.append((case, size))
        if case.true and (size is None or size > case.size):
            print(seed, "lost", case.terms, f"{size} instead of {case.size}")
    for term, (total, found) in sorted(tally(results).items()):
        print(f"{found:5d} of {total:5d}  {term}")
    true = [(case, size) for case, size in results if case.true]
    print(f"true lumpings found: {sum(s is not None and s <= c.size for c, s in true)} of {len(true)}")
    print(dict(outcome), f"{time.perf_counter() - began:.0f} s")
    return int(outcome["CONTRADICTED"] > 0)


if __name__ == "__main__":
    sys.exit(main())
