"""Make docs/gallery.md and its pictures: ten published models, before and after.

The models are not part of the project: name the folder of the corpus in SBMLUMP_CORPUS. Models may be named to make
only their parts again; the page is put together from what ``docs/images/gallery.json`` remembers of the others.
Written are pictures and numbers, and what is said here about them; nothing of a model's text.

    SBMLUMP_CORPUS=/path/to/corpus python docs/make_gallery.py [MODEL … | --page]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import sbmlump
from sbmlump.plot_style import ORIGINAL, PAPER, REDUCED

HERE = Path(__file__).resolve().parent
MEMORY = HERE / "images" / "gallery.json"


@dataclass(frozen=True)
class Entry:
    """A model, what is observed and how; a title and what the reduction says, in our words."""

    model: str
    observe: str
    title: str
    learned: str
    method: str = "exact"
    until: float | None = None


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "MODEL1001150000",
        "CaM_0_1",
        "Calmodulin and CaMKII",
        "Calmodulin with one calcium, free. The nine lumps add up states that differ only in the calcium of a"
        " calmodulin that is held by a *phosphorylated* kinase, alone or in a complex with a second one. What"
        " this calmodulin binds is never felt by the rest: in this model, phosphorylation closes a door.",
        until=2.0,
    ),
    Entry(
        "BIOMD0000000501",
        "S1",
        "STAT1 on DNA with two binding sites",
        "The free dimer, which binds four positions of a DNA cooperatively. An occupancy and its mirror "
        "image are counted together (`0001` with `1000`), and so are some that differ only in where the "
        "contacts between neighbours lie. The symmetry was not written into the file; it was found.",
    ),
    Entry(
        "BIOMD0000000599",
        "species_20",
        "CXCL12 and β-arrestin",
        "A free receptor (R7). All lumps are pairs of one complex with two variants of β-arrestin, whose "
        "names differ in a letter. The receptors cannot tell them apart, so an experiment that sees the "
        "receptors alone cannot, either.",
    ),
    Entry(
        "BIOMD0000000448",
        "IRS1",
        "Insulin in fat cells",
        "The insulin receptor substrate, unphosphorylated. To follow it one needs the receptor, Akt (here PKB), both "
        "mTOR complexes and what feeds back from them, but not AS160 and the glucose transporter, nor S6 and its "
        "kinase: these are readouts.",
        until=30.0,
    ),
    Entry(
        "BIOMD0000000243",
        "C3",
        "CD95: life or death",
        "Procaspase-3. The branch to NF-κB has no influence on it, and of the complexes with the two "
        "inhibitors FLIP-L and FLIP-S only the sum counts: for the death branch of this model it does not "
        "matter which of the two sits there.",
    ),
    Entry(
        "BIOMD0000000437",
        "frq_mRNA",
        "Circadian clock of Neurospora",
        "The messenger of the clock gene frq. Half of the states are counters of what was degraded, and others "
        "that nothing reads; the clock itself has twenty states. Such counters are common in models that "
        "were drawn in an editor.",
        until=48.0,
    ),
    Entry(
        "BIOMD0000000526",
        "PrER_mGFP",
        "Caspase-8 and two fluorescent probes",
        "The probe at the endoplasmic reticulum. The other probe, its products, and Bid do not feed back "
        "(observing that one needs 8 states, too), so each probe can be fitted with a model of half the "
        "size, with the same parameters.",
    ),
    Entry(
        "BIOMD0000000328",
        "ASLpOH_b",
        "Atorvastatin in liver cells",
        "The para-hydroxylated lactone. What becomes of the ortho metabolites does not enter, nor does "
        "the para acid: nine of the eighteen states are enough for this product. For the ortho lactone it"
        " is the same with the roles exchanged.",
    ),
    Entry(
        "BIOMD0000000482",
        "PEPCK",
        "Insulin and a gluconeogenic enzyme",
        "The enzyme is controlled by the signalling alone (IRS, Akt, mTOR, Foxo and the messenger); glucose "
        "metabolism reads it and does not write back in this model. If you expected a feedback from glucose "
        "here, the reduction tells you that there is none.",
    ),
    Entry(
        "BIOMD0000000504",
        "JAK1",
        "Cartilage breakdown",
        "JAK1. Fifteen of 72 states: oncostatin M, its receptor, JAK, STAT3 and SOCS3, a module of its "
        "own. Interleukin-1, AP-1, the proteases and the cartilage are downstream or beside. Observing "
        "`Collagen2` instead needs 67.",
        until=100000.0,
    ),
)

INTRODUCTION = """# Gallery

*This page is made by `docs/make_gallery.py` from published models; do not edit it.*

Ten models of BioModels, each with one observable. Left: the observable in the original (grey) and in the reduced
model (orange), both simulated by libRoadRunner. Right: which of the states (columns) each state of the reduced model
(rows) counts; what no row counts has no influence on the observable. All reductions here are exact and proved; to
repeat one, give its command. What is said of biology is said of the *model*, by its equations.

| model | observed | states | reduced | holds for | largest difference |
|---|---|---|---|---|---|
"""


def main() -> int:
    """Write the pictures, the numbers and the page."""
    folder = os.environ.get("SBMLUMP_CORPUS", "")
    page_only = sys.argv[1:] == ["--page"]
    if not folder and not page_only:
        print("name the folder of the corpus in SBMLUMP_CORPUS", file=sys.stderr)
        return 2
    matplotlib.rcParams.update({"svg.hashsalt": "sbmlump"})
    memory: dict[str, Any] = json.loads(MEMORY.read_text(encoding="utf-8")) if MEMORY.exists() else {}
    wanted = set() if page_only else set(sys.argv[1:]) or {entry.model for entry in ENTRIES}
    for entry in ENTRIES:
        if entry.model in wanted:
            print(entry.model, flush=True)
            memory[entry.model] = made(entry, Path(folder) / "biomodels" / f"{entry.model}.xml")
            MEMORY.write_text(json.dumps(memory, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    memory = {entry.model: memory[entry.model] for entry in ENTRIES}
    MEMORY.write_text(json.dumps(memory, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (HERE / "gallery.md").write_text(page(memory), encoding="utf-8")
    return 0


def made(entry: Entry, path: Path) -> dict[str, Any]:
    """Reduce, compare and draw one model; what the page needs of it."""
    system = sbmlump.load(path)
    reduction = sbmlump.reduce(system, observe=[entry.observe], method=entry.method)
    assert isinstance(reduction.certificate, sbmlump.ExactProof)
    (observable,) = reduction.observables
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder) / "reduced.xml"
        reduction.write(smaller)
        report = sbmlump.compare(path, smaller, observables=[observable.id], until=entry.until)
    draw(entry, system, reduction, report, observable.id)
    return {
        "name": name_in(system, entry.observe),
        "states": system.size,
        "reduced": reduction.system.size,
        "holds_for": reduction.certificate.holds_for,
        "proof": reduction.certificate.statement,
        "difference": report.max_relative_error,
        "until": float(report.times[-1]),
        "unobservable": len(reduction.vanished),
        "largest_lump": max(len(lump.members) for lump in reduction.lumps),
    }


def draw(
    entry: Entry,
    system: sbmlump.OdeSystem,
    reduction: sbmlump.ReducedSystem,
    report: sbmlump.ErrorReport,
    observable: str,
) -> None:
    """Trajectories beside the matrix."""
    figure = PAPER.figure(2.7, 8.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    left.plot(
        report.times, report.original[observable], color=ORIGINAL, linewidth=6, alpha=0.6, label=f"{system.size} states"
    )
    left.plot(
        report.times, report.reduced[observable], color=REDUCED, linewidth=1.6, label=f"{reduction.system.size} states"
    )
    left.set_xlabel("time")
    left.set_ylabel(name_in(system, entry.observe))
    left.legend(frameon=False)
    left.margins(x=0.01)
    left.ticklabel_format(style="sci", axis="both", scilimits=(-3, 4))
    # states in the order of the lumps that count them first: blocks become visible
    matrix = reduction.matrix.array() != 0
    first = np.where(matrix.any(axis=0), matrix.argmax(axis=0), len(matrix))
    order = np.argsort(first, kind="stable")
    rows, columns = np.nonzero(matrix[:, order])
    right.scatter(columns, rows, s=max(4, min(40, 2500 / system.size)), color=REDUCED, marker="s", linewidths=0)
    right.set_xlim(-0.8, system.size - 0.2)
    right.set_ylim(len(matrix) - 0.4, -0.6)
    right.set_xlabel(f"which of the {system.size} states")
    right.set_ylabel("reduced states")
    right.locator_params(axis="y", integer=True)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "images" / f"gallery-{entry.model}.svg", metadata={"Date": None})


def page(memory: dict[str, Any]) -> str:
    """The page as Markdown."""
    words = {"all-parameter-values": "all parameter values", "file-values": "the file's values", "domain": "a domain"}
    lines = [INTRODUCTION.rstrip()]
    for entry in ENTRIES:
        facts = memory[entry.model]
        shown = entry.observe if facts["name"] == entry.observe else f"{entry.observe} ({facts['name']})"
        lines.append(
            f"| [{entry.title}](#{anchor(entry)}) | `{shown}` | {facts['states']} | {facts['reduced']} "
            f"| {words[facts['holds_for']]} | {facts['difference']:.0e} |"
        )
    for entry in ENTRIES:
        facts = memory[entry.model]
        gone = facts["unobservable"]
        lines += [
            "",
            f"({anchor(entry)})=",
            f"## {entry.title}",
            "",
            f"[{entry.model}](https://identifiers.org/biomodels.db/{entry.model}): {facts['states']} states → "
            f"**{facts['reduced']}**; the largest lump counts {facts['largest_lump']}"
            + (f", {gone} have no influence" if gone else "")
            + f"; {facts['proof'].rstrip('.')}.",
            "",
            f"![{entry.title}: trajectories, and which states are counted together](images/gallery-{entry.model}.svg)",
            "",
            entry.learned,
            "",
            "```sh",
            f"sbmlump reduce {entry.model} --observe '{entry.observe}'"
            + ("" if entry.method == "exact" else f" --method {entry.method}")
            + " -o small.xml",
            "```",
        ]
    return "\n".join([*lines, ""])


def name_in(system: sbmlump.OdeSystem, observable: str) -> str:
    """The name that the model has for an observable, else its id."""
    quantity = system.quantities.get(observable)
    return (quantity.name if quantity is not None else None) or observable


def anchor(entry: Entry) -> str:
    """Of a model's part of the page."""
    return f"gallery-{entry.model.lower()}"


if __name__ == "__main__":
    sys.exit(main())
