"""Make docs/methods.md and its pictures: every reduction method on four published models, side by side.

The models are not part of the project: name the folder of the corpus in SBMLUMP_CORPUS.

    SBMLUMP_CORPUS=/path/to/corpus python docs/make_methods.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sbmlump.classic.comparison import MethodRow, compare_methods
from sbmlump.classic.measure import Trial
from sbmlump.classic.method import MethodOptions
from sbmlump.cli.compare_methods import draw
from sbmlump.observables import parse_observables
from sbmlump.pipeline import load
from sbmlump.system import OdeSystem

HERE = Path(__file__).parent
CHAINS = (
    "exact",
    "conservation",
    "qssa",
    "quasi-equilibrium",
    "relation-graph",
    "learned",
    "approximate",
)
#: model, observable, horizon in the model's unit of time
MODELS: tuple[tuple[str, str, float], ...] = (
    ("BIOMD0000000102", "C3", 20_000.0),
    ("BIOMD0000000447", "species_6", 500.0),
    ("BIOMD0000000504", "MMP1", 1e5),
    ("BIOMD0000000488", "Tau", 1e5),
)

INTRODUCTION = """# The reduction methods side by side

*This page is made by `docs/make_methods.py` from published models; do not edit it.*

`sbmlump compare-methods MODEL --observe X` makes such a table and picture for any model.

| method | what it does | what vouches for it |
|---|---|---|
| `exact` | the smallest exact linear lumping | proof |
| `forward-equivalence`, `backward-equivalence` | partitions of the states | proof |
| `conservation` | a constant with an initial assignment for each conserved total, one state less | proof |
| `pooling` | the lumped model as a reaction network, LS = S̃Q | proof |
| `qssa` | fast states follow at once: 0 = f_fast, solved symbolically | measured error |
| `quasi-equilibrium` | fast reversible reactions at equilibrium, pools instead of their species | measured error |
| `relation-graph` | states that matter little for making the observable are pruned | measured error |
| `learned` | linear map and sparse right-hand side fitted to runs | measured error |
| `approximate` | observable-pinned balanced lumping | measured error |

Errors are the largest relative error of the observable from the initial values of the file and from four perturbed
ones (±20 %), all methods on the same runs. A model with events is not simulated here: proofs stand, and the approximate
lumping, which follows events at known times, reports its own validation.

Two classical approximations of one network differ. For A ⇌ B → C (k1, k−1, k2) with B fast, quasi-steady state
gives the rate k1·k2/(k−1 + k2)·A, quasi-equilibrium k2·K/(1 + K)·(A + B) with K = k1/k−1;
`sbmlump.classic.measure.difference` reports how far their observables are apart.
"""


def main() -> int:
    """Write the page and the pictures."""
    folder = os.environ.get("SBMLUMP_CORPUS")
    if not folder:
        print("name the folder of the corpus in SBMLUMP_CORPUS", file=sys.stderr)
        return 2
    parts = [INTRODUCTION]
    for name, observable, until in MODELS:
        path = Path(folder) / "biomodels" / f"{name}.xml"
        system = load(path)
        observables = parse_observables(system, [observable])
        options = MethodOptions(max_size=min(8, system.size - 1), trial=Trial(until=until, ensemble=4))
        rows = compare_methods(system, observables, CHAINS, options, progress=lambda m: print(m, file=sys.stderr))
        picture = HERE / "images" / f"methods-{name}.svg"
        picture.write_bytes(draw(rows, system.size, f"{name}, {observable}"))
        parts.append(section(name, observable, until, system, rows))
        # after each model, so that what takes long loses nothing
        (HERE / "methods.md").write_text("\n".join(parts), encoding="utf-8")
        print(name, "done", file=sys.stderr)
    return 0


def section(name: str, observable: str, until: float, system: OdeSystem, rows: Sequence[MethodRow]) -> str:
    """Table and picture of one model."""
    title = f"## {name}: {system.name or system.id}"
    events = f", {len(system.events)} events" if system.events else ""
    what = f"{system.size} states, {len(system.reactions)} reactions{events}"
    lines = [
        title,
        "",
        f"{what}; observed: `{observable}`, to time {until:g}.",
        "",
        "| method | states | worst error | lost | remark |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        remark = row.reason.message if row.reason and row.size is None else ""
        size = "–" if row.size is None else str(row.size)
        error = "proved" if row.exact else "–" if row.error is None else f"{row.error:.2g}"
        lines.append(f"| {row.method} | {size} | {error} | {', '.join(row.lost)} | {remark.replace('|', '/')} |")
    lines += ["", f"![size and error of each method](images/methods-{name}.svg)", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
