"""Trajectories by the compiled engine, by NumPy, and by libRoadRunner's CVODE.

    SBMLUMP_CORPUS=… OMP_NUM_THREADS=1 python benchmarks/engines.py

The same field, starts and tolerances go through both engines of :func:`sbmlump.dynamics.advance`, so the steps are the
same; only the time differs. libRoadRunner integrates the file with relative tolerance 1e-6. CPU time, best of three.
Without the corpus the model is multisite phosphorylation.

The last line is the median ratio NumPy : compiled for 25 runs at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np

from sbmlump.dynamics import StepControl, VectorField, advance, compiled, field_of, time_grid
from sbmlump.examples import multisite
from sbmlump.formats.load import load
from sbmlump.model import OdeSystem

MODELS = ("BIOMD0000000102", "BIOMD0000000347", "BIOMD0000000407")
RUNS = 25
UNTIL = 100.0


def field(system: OdeSystem) -> VectorField:
    return field_of(system.graph, system.rhs, system.states, system.constant_values)


def seconds(job: Callable[[], object]) -> float:
    job()
    times = []
    for _ in range(3):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return min(times)


def roadrunner_seconds(path: Path) -> float:
    import roadrunner

    model = roadrunner.RoadRunner(str(path))
    model.integrator.relative_tolerance = 1e-6
    points = len(time_grid(UNTIL))

    def run() -> None:
        model.reset()
        model.simulate(0, UNTIL, points)

    return seconds(run)


def main() -> None:
    folder = os.environ.get("SBMLUMP_CORPUS")
    paths = [Path(folder) / "biomodels" / f"{name}.xml" for name in MODELS] if folder else []
    systems = [(path.stem, load(path), path) for path in paths] or [("multisite(3)", multisite(3), None)]
    ratios = []
    print(f"{'model':18}{'states':>7}{'runs':>6}{'NumPy s':>10}{'compiled s':>12}{'ratio':>8}{'CVODE s':>10}")
    for name, system, path in systems:
        start = system.initial_state()
        random = np.random.default_rng(0)
        starts = start * (1 + 0.2 * random.uniform(-1, 1, (RUNS, len(start))))
        starts[0] = start
        size = np.maximum(np.abs(start), 1e-3 * np.abs(start).max(initial=1e-30))
        times = time_grid(UNTIL)
        for runs in (1, RUNS):
            ours = field(system)
            begin = np.pad(starts[:runs], ((0, 0), (0, int(ours.timed))))
            control = StepControl(1e-6, np.pad(1e-8 * size, (0, int(ours.timed)), constant_values=1e-8), 20_000)
            fast = seconds(partial(advance, ours, begin, times, tolerances=control))
            with mock.patch.object(compiled, "kernels", return_value=None):
                slow = seconds(partial(advance, field(system), begin, times, tolerances=control))
            other = f"{roadrunner_seconds(path):10.4f}" if runs == 1 and path is not None else ""
            print(f"{name:18}{len(start):7}{runs:6}{slow:10.4f}{fast:12.4f}{slow / fast:8.1f}{other}")
            if runs > 1:
                ratios.append(slow / fast)
    print(f"NumPy : compiled = {median(ratios):.1f}")


if __name__ == "__main__":
    main()
