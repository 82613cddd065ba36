"""What the sizes for every state cost: once for the whole model, over one reduction after the other.

The last line is the time of one reduction for each state over the time of ``per_species_sizes``. With
``SBMLUMP_CORPUS`` and ``--corpus``, published models are measured too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import sbmlump
from sbmlump.methods import lump_exactly, per_species_sizes
from sbmlump.model import Observable

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="store_true")
    options = parser.parse_args()
    paths = [ROOT / "data" / f"{name}.xml" for name in ("ring", "multisite_2", "multisite_3")]
    if options.corpus:
        folder = os.environ.get("SBMLUMP_CORPUS")
        if not folder:
            print("set SBMLUMP_CORPUS to measure published models")
            return 2
        paths += [Path(folder) / "biomodels" / f"BIOMD0000000{n}.xml" for n in ("182", "243", "448")]
    print(f"{'model':<20}{'states':>7}{'together':>11}{'one by one':>12}")
    total_together = total_single = 0.0
    for path in paths:
        system = sbmlump.load(path)
        start = time.perf_counter()
        sizes = {size.state: size for size in per_species_sizes(system)}
        together = time.perf_counter() - start
        start = time.perf_counter()
        for name in system.states:
            reduction = lump_exactly(system, (Observable(name, system.graph.symbol(name), name),))
            assert sizes[name].size == reduction.system.size
        single = time.perf_counter() - start
        print(f"{path.stem:<20}{system.size:>7}{together:>10.2f}s{single:>11.2f}s")
        total_together, total_single = total_together + together, total_single + single
    print(f"one by one over together: {total_single / total_together:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
