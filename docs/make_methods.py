"""Make docs/methods.md and its pictures: every reduction method on four published models, side by side.

The tables of methods and options come from the registry. The models are not part of the project: name the folder of the
corpus in SBMLUMP_CORPUS. Models may be named to make only their parts again; the page is put together from what
``docs/images/methods.json`` remembers of the others. With ``--page`` no model is read.

    SBMLUMP_CORPUS=/path/to/corpus python docs/make_methods.py [MODEL … | --page]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sbmlump.formats.load import load
from sbmlump.jobs import MethodRow, method_rows, methods_figure
from sbmlump.methods import METHODS, OPTIONS, methods_with
from sbmlump.model import OdeSystem, parse_observables
from sbmlump.options import declared
from sbmlump.plot_style import svg_file

HERE = Path(__file__).parent
MEMORY = HERE / "images" / "methods.json"
#: every method that looks for a size looks for the smallest with this error
MAX_ERROR = 0.05
CHAINS = (
    "exact",
    "forward-equivalence",
    "backward-equivalence",
    "conservation",
    "exact+conservation",
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

METHOD_TABLE

Methods that are joined by `+` are a chain: each is applied to what the one before left, and the certificate is of the
whole.

OPTION_TABLE

## Learned closures

`learned` gives lumps y = Lx equations of their own, ẏ = Kφ(y, u), instead of evaluating the model's rates at a lifted
state. The map is that of the balanced lumping, whose first rows are the observables, or the user's
(`--method learned --lumping FILE`); u are up to four conserved totals, constants of a run (`total_1` …), and time
where the model depends on it. The features φ are all products of two factors of (1, y, u); with `--rational` each rate
is also tried as a quotient p/(1 + q) of such sums.

1. *Regression in weak form*: L f(x(t)) − Kφ(Lx(t), u) is integrated along 25 trajectories against bump functions over
   windows of several widths, and terms of little size are dropped. Rates that the balanced projection has around the
   trajectories are a prior, of different weights.
2. *Training*: the best of these are improved on the trajectories themselves by Levenberg–Marquardt, over K and the
   rows of L beside the observables; then small terms are dropped as long as the error holds.
3. *Enrichment*: of 48 further initial values those that are missed worst join the training, as long as that helps.
4. *Acceptance*: at least 100 fresh initial values from ±`--spread`: none diverges, and at most one in twenty is above
   the wanted error. The certificate says the worst and the median error and how many are above (`fresh`).

Sizes are tried from the number of observables on, up to `--max-size` (6 by default), as long as `--work` lasts. Events
that time triggers restart the closure: what they add to y is an affine function of y and u, fitted to what they do to
the trajectories. Where no size is accurate enough the best one is given, with the reasons
[`target-not-reached`](reasons.md) and [`closure-limited`](reasons.md): the latter says which part of the lumps' rates
no closure of this kind gives, and how much of what moves the observables the lumps leave out. The error is measured,
not proved.

## Four published models

The methods that look for a size (`relation-graph`, `learned`, `approximate`) look for the smallest model with an error
of at most 5 % here; `qssa` and `quasi-equilibrium` take as much of what they find to be fast as
leaves the error at most 5 %, or else the best choice they tried. Errors are the largest relative
error of the observable over the whole [time span](end-time.md), from the initial values of the file and from four
perturbed ones
(±20 %; what is zero is raised by up to 20 % of what it reaches), all methods on the same runs. `relation-graph`
and the time-scale methods choose by these very runs;
`approximate` and `learned` validate on runs of their own, so their error may come out above what was looked for. Events
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
    folder = os.environ.get("SBMLUMP_CORPUS", "")
    page_only = sys.argv[1:] == ["--page"]
    if not folder and not page_only:
        print("name the folder of the corpus in SBMLUMP_CORPUS", file=sys.stderr)
        return 2
    wanted = set() if page_only else set(sys.argv[1:]) or {name for name, *_ in MODELS}
    memory: dict[str, Any] = json.loads(MEMORY.read_text(encoding="utf-8")) if MEMORY.exists() else {}
    for name, observable, until, why in MODELS:
        if name in wanted:
            memory[name] = compared(Path(folder) / "biomodels" / f"{name}.xml", name, observable, until, why)
            # after each model, so that what takes long loses nothing
            text = json.dumps(memory, indent=1, ensure_ascii=False, sort_keys=True)
            MEMORY.write_text(f"{text}\n", encoding="utf-8")
            print(name, "done", file=sys.stderr)
    parts = [introduction(), *(section(name, memory[name]) for name, *_ in MODELS if name in memory)]
    (HERE / "methods.md").write_text("\n".join(parts), encoding="utf-8")
    return 0


def introduction() -> str:
    """The first part of the page, with the tables of the registry."""
    return INTRODUCTION.replace("METHOD_TABLE", method_table()).replace("OPTION_TABLE", option_table())


def method_table() -> str:
    """What each method does."""
    lines = ["| method | what it does | what vouches for it |", "|---|---|---|"]
    for name, method in METHODS.items():
        summary = (method.__doc__ or "").strip().splitlines()[0].rstrip(".")
        lines.append(f"| `{name}` | {summary[0].lower()}{summary[1:]} | {method.vouched} |")
    return "\n".join(lines)


def option_table() -> str:
    """The options of the methods."""
    lines = ["| option | in Python | of the methods | default | means |", "|---|---|---|---|---|"]
    for name, each in OPTIONS.items():
        users = methods_with(name)
        if not users:
            continue
        defaults = dict.fromkeys(shown(declared(METHODS[user])[name].default) for user in users)
        value = f" {each.option.metavar}" if each.option.metavar else ""
        cells = (f"`{each.flag}{value}`", f"`{name}`", ", ".join(users), " or ".join(defaults), each.option.help)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def shown(default: object) -> str:
    """A default value in the table."""
    return "" if default in (None, (), False) else f"{default:g}" if isinstance(default, float) else str(default)


def compared(path: Path, name: str, observable: str, until: float, why: str) -> dict[str, Any]:
    """Run the methods on one model and draw the picture."""
    system = load(path)
    observables = parse_observables(system, [observable])
    rows = method_rows(
        system,
        observables,
        CHAINS,
        progress=lambda message: print(message, file=sys.stderr),
        max_error=MAX_ERROR,
        until=until,
        ensemble=4,
    )
    picture = HERE / "images" / f"methods-{name}.svg"
    picture.write_bytes(svg_file(methods_figure(rows, system.size, f"{name}, {observable}"), "methods"))
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
