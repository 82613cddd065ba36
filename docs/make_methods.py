"""Make docs/methods.md and its pictures: every reduction method on four published models, side by side.

The models are not part of the project: name the folder of the corpus in SBMLUMP_CORPUS. Models may be named to make
only their parts again; the page is put together from what ``docs/images/methods.json`` remembers of the others.

    SBMLUMP_CORPUS=/path/to/corpus python docs/make_methods.py [MODEL …]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sbmlump.cli.compare_methods import draw
from sbmlump.dynamics.ensemble import EnsembleSettings
from sbmlump.formats.load import load
from sbmlump.methods.compare_methods import MethodRow, compare_methods
from sbmlump.methods.steps import MethodOptions
from sbmlump.model.observables import parse_observables
from sbmlump.model.system import OdeSystem

HERE = Path(__file__).parent
MEMORY = HERE / "images" / "methods.json"
#: every method that looks for a size looks for the smallest with this error
MAX_ERROR = 0.05
CHAINS = (
    "exact",
    "forward-equivalence",
    "backward-equivalence",
    "conservation",
    "exact,conservation",
    "qssa",
    "quasi-equilibrium",
    "relation-graph",
    "learned",
    "approximate",
)
#: model, observable, horizon in the model's unit of time, and why this one
MODELS: tuple[tuple[str, str, float, str], ...] = (
    ("BIOMD0000000102", "C3", 5_000.0, "as published"),
    ("BIOMD0000000447", "species_6", 200.0, "at rest after 80"),
    ("BIOMD0000000504", "MMP1", 1e5, "about a day in seconds"),
    ("BIOMD0000000488", "Tau", 5e5, "beyond the immunisation at 345,600"),
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

The methods that look for a size (`relation-graph`, `learned`, `approximate`) look for the smallest model with an error
of at most 5 % here; `qssa` and `quasi-equilibrium` take as much of what they find to be fast as
leaves the error at most 5 %, or else the best choice they tried. Errors are the largest relative
error of the observable over the whole [time span](end-time.md), from the initial values of the file and from four
perturbed ones
(±20 %; what is zero is raised by up to 20 % of what it reaches), all methods on the same runs. `relation-graph`,
`learned` and the time-scale methods choose by these very runs;
`approximate` validates on runs of its own, so its error may come out above what was looked for. Events
that time triggers are followed. Searches do a bounded amount of work ([approximate.md](approximate.md)), so on the two
larger models there may be smaller reductions than those found.

*kept* and *lost* are the properties of the original that the reduced model has and has not
([structure.md](structure.md)).

Two classical approximations of one network differ. For A ⇌ B → C (k1, k−1, k2) with B fast, quasi-steady state
gives the rate k1·k2/(k−1 + k2)·A, quasi-equilibrium k2·K/(1 + K)·(A + B) with K = k1/k−1;
`compare-methods` reports how far the observables of the two are apart (`difference` of `sbmlump.dynamics`).
"""


def main() -> int:
    """Write the page and the pictures."""
    folder = os.environ.get("SBMLUMP_CORPUS")
    if not folder:
        print("name the folder of the corpus in SBMLUMP_CORPUS", file=sys.stderr)
        return 2
    wanted = set(sys.argv[1:]) or {name for name, *_ in MODELS}
    memory: dict[str, Any] = json.loads(MEMORY.read_text(encoding="utf-8")) if MEMORY.exists() else {}
    for name, observable, until, why in MODELS:
        if name in wanted:
            memory[name] = compared(Path(folder) / "biomodels" / f"{name}.xml", name, observable, until, why)
            # after each model, so that what takes long loses nothing
            text = json.dumps(memory, indent=1, ensure_ascii=False, sort_keys=True)
            MEMORY.write_text(f"{text}\n", encoding="utf-8")
            print(name, "done", file=sys.stderr)
    parts = [INTRODUCTION, *(section(name, memory[name]) for name, *_ in MODELS if name in memory)]
    (HERE / "methods.md").write_text("\n".join(parts), encoding="utf-8")
    return 0


def compared(path: Path, name: str, observable: str, until: float, why: str) -> dict[str, Any]:
    """Run the methods on one model and draw the picture."""
    system = load(path)
    observables = parse_observables(system, [observable])
    options = MethodOptions(max_error=MAX_ERROR, trial=EnsembleSettings(until=until, ensemble=4))
    rows = compare_methods(system, observables, CHAINS, options, progress=lambda m: print(m, file=sys.stderr))
    picture = HERE / "images" / f"methods-{name}.svg"
    picture.write_bytes(draw(rows, system.size, f"{name}, {observable}"))
    return {"title": system.name or system.id, "what": what(system, observable, until, why), "rows": listed(rows)}


def what(system: OdeSystem, observable: str, until: float, why: str) -> str:
    """One line about the model."""
    count = len(system.events)
    events = f", {count} event{'s' if count > 1 else ''}" if count else ""
    counts = f"{system.size} states, {len(system.reactions)} reactions{events}"
    return f"{counts}; observed: `{observable}`, to time {until:g} ({why})."


def listed(rows: Sequence[MethodRow]) -> list[dict[str, Any]]:
    """What the page shows of each row."""
    return [
        {
            "method": row.method,
            "size": row.size,
            "exact": row.exact,
            "error": row.error,
            "kept": list(row.kept),
            "lost": list(row.lost),
            "reason": row.reason.message if row.reason else "",
        }
        for row in rows
    ]


def section(name: str, found: Mapping[str, Any]) -> str:
    """Table and picture of one model."""
    lines = [
        f"## {name}: {found['title']}",
        "",
        found["what"],
        "",
        "| method | states | worst error | kept | lost | remark |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        size = "–" if row["size"] is None else str(row["size"])
        error = "–" if row["error"] is None else f"{row['error']:.2g}"
        error = "proved" if row["exact"] else error
        remark = row["reason"].replace("|", "/")
        kept, lost = ", ".join(row["kept"]), ", ".join(row["lost"])
        lines.append(f"| {row['method']} | {size} | {error} | {kept} | {lost} | {remark} |")
    lines += ["", f"![size and error of each method](images/methods-{name}.svg)", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
