"""One case of the SBML Test Suite: read, write back, simulate what was written, compare with what is expected.

Each case runs in a child process: a crash of a library is a result, not the end of the run.
"""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from sbmlump.arrays import Array

TIME_LIMIT = 60.0


@dataclass(frozen=True)
class CaseResult:
    """``passed``, ``refused`` (with a code), ``unsimulated`` (by libRoadRunner), ``wrong`` or ``crash``."""

    case: str
    status: str
    code: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Settings:
    start: float
    duration: float
    steps: int
    variables: tuple[str, ...]
    absolute: float
    relative: float
    amounts: frozenset[str]
    concentrations: frozenset[str]


def read_settings(folder: Path) -> Settings:
    text = next(folder.glob("*-settings.txt")).read_text(encoding="utf-8")
    values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def names(key: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in values.get(key, "").split(",") if name.strip())

    return Settings(
        float(values["start"]),
        float(values["duration"]),
        int(values["steps"]),
        names("variables"),
        float(values["absolute"]),
        float(values["relative"]),
        frozenset(names("amount")),
        frozenset(names("concentration")),
    )


def read_expected(folder: Path) -> dict[str, Array]:
    with next(folder.glob("*-results.csv")).open() as handle:
        rows = [row for row in csv.reader(handle) if row]
    header = [name.strip() for name in rows[0]]
    table = np.array([[_number(cell) for cell in row] for row in rows[1:]])
    return {name: table[:, i] for i, name in enumerate(header)}


def _number(cell: str) -> float:
    return float(cell.strip().replace("INF", "inf").replace("NaN", "nan"))


def run_case(folder: Path) -> CaseResult:
    """Run one case in a child process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(folder, sender))
    child.start()
    sender.close()
    result = None
    if receiver.poll(TIME_LIMIT):
        try:
            result = receiver.recv()
        except EOFError:
            result = None
    else:
        child.kill()
    child.join()
    if isinstance(result, CaseResult):
        return result
    return CaseResult(folder.name, "crash", detail=f"the child ended with {child.exitcode}")


def _child(folder: Path, sender: Connection) -> None:
    sender.send(check_case(folder))
    sender.close()


def check_case(folder: Path) -> CaseResult:
    """Run one case here."""
    from sbmlump import load
    from sbmlump.errors import SbmlumpError
    from sbmlump.sbml import write_system

    try:
        written = write_system(load(next(folder.glob("*-sbml-*.xml")), fast_reactions="equilibrium")).decode()
    except SbmlumpError as error:
        return CaseResult(folder.name, "refused", error.reasons[0].code, str(error))
    settings = read_settings(folder)
    try:
        columns = simulate(written, settings)
    except RuntimeError as error:
        return CaseResult(folder.name, "unsimulated", detail=str(error)[:300])
    return compare(folder, settings, columns)


def simulate(text: str, settings: Settings) -> Mapping[str, Array]:
    """Trajectories from libRoadRunner, read as the settings ask."""
    import roadrunner

    roadrunner.Logger.disableLogging()
    model = roadrunner.RoadRunner(text)
    integrator = model.getIntegrator()
    integrator.setValue("relative_tolerance", min(1e-9, settings.relative * 1e-4))
    integrator.setValue("absolute_tolerance", min(1e-13, settings.absolute * 1e-5))
    integrator.setValue("maximum_num_steps", 100_000)
    species = set(model.model.getFloatingSpeciesIds()) | set(model.model.getBoundarySpeciesIds())
    concentrations = species & settings.concentrations
    model.timeCourseSelections = ["time", *(f"[{n}]" if n in concentrations else n for n in settings.variables)]
    end = settings.start + settings.duration
    if settings.start:
        points = round(settings.steps * end / settings.duration) + 1
        table = np.array(model.simulate(0, end, points))[-(settings.steps + 1) :]
    else:
        table = np.array(model.simulate(0, end, settings.steps + 1))
    return {name: table[:, i + 1] for i, name in enumerate(settings.variables)}


def compare(folder: Path, settings: Settings, columns: Mapping[str, Array]) -> CaseResult:
    expected = read_expected(folder)
    for name in settings.variables:
        want, got = expected[name], columns[name]
        with np.errstate(invalid="ignore"):
            close = np.abs(got - want) <= settings.absolute + settings.relative * np.abs(want)
        close |= (got == want) | (np.isnan(got) & np.isnan(want))
        if not close.all():
            row = int(np.flatnonzero(~close)[0])
            return CaseResult(folder.name, "wrong", detail=f"{name} at row {row}: {got[row]:.8g}, not {want[row]:.8g}")
    return CaseResult(folder.name, "passed")
