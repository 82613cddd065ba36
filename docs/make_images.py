"""Draws the pictures of the documentation: ``python docs/make_images.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import sbmlump

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "data" / "multisite_3.xml"
ORIGINAL, REDUCED, INK, FAINT = "#9db4c0", "#c1440e", "#20262c", "#c9d1d6"


def trajectory() -> Figure:
    """The free kinase of the three-site model: 66 equations against 6."""
    system = sbmlump.load(MODEL)
    reduction = sbmlump.reduce(system, observe=["kinase"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reduced.xml"
        reduction.write(path)
        report = sbmlump.compare(MODEL, path, observables=["kinase"])
    figure = Figure(figsize=(8.2, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    left.plot(
        report.times,
        report.original["kinase"],
        color=ORIGINAL,
        linewidth=7,
        solid_capstyle="round",
        label=f"original, {system.size} equations",
    )
    left.plot(
        report.times,
        report.reduced["kinase"],
        color=REDUCED,
        linewidth=1.8,
        label=f"reduced, {reduction.system.size} equations",
    )
    left.set_xlabel("time")
    left.set_ylabel("free kinase")
    left.legend(frameon=False)
    left.margins(x=0.01)
    _spy(right, reduction.matrix.array(), reduction.system.states)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
    return figure


def _spy(axes: matplotlib.axes.Axes, matrix: np.ndarray, names: tuple[str, ...]) -> None:
    """Which of the 66 species each of the 6 lumps holds."""
    rows, columns = np.nonzero(matrix)
    axes.scatter(columns, rows, s=5 + 7 * matrix[rows, columns], color=INK, marker="s", linewidths=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    labels = [name if len(name) < 14 else f"pool {k + 1}" for k, name in enumerate(names)]
    axes.set_yticks(range(len(names)), labels)
    axes.set_xlabel(f"which of the {matrix.shape[1]} species")
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def main() -> None:
    """Write every picture."""
    matplotlib.rcParams.update({"svg.hashsalt": "sbmlump", "svg.fonttype": "none", "font.size": 9})
    target = HERE / "images"
    target.mkdir(exist_ok=True)
    trajectory().savefig(target / "trajectory.svg", metadata={"Date": None})
    print(target / "trajectory.svg")


if __name__ == "__main__":
    main()
