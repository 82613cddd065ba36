"""How often ``reduce --method approximate`` ends well on models it was not made for, and what its claims are worth.

    SBMLUMP_CORPUS=… python benchmarks/approximate_breadth.py --limit 20
    SBMLUMP_CORPUS=… python benchmarks/approximate_breadth.py --limit 100 --results breadth.json --write-docs

Models of the corpus are drawn by a fixed seed: those with 8 to 80 states, without events, which libRoadRunner
integrates. One state of each, drawn too, is observed; all options are the defaults. Each command runs in a process of
its own, one after the other, so that its CPU seconds are its own. The errors that certificates claim are then, with so
many workers, measured again, from the files alone: libRoadRunner simulates the
original and what was written from five further initial values within ±20 %, and the largest relative error of the
observable is divided by the claim. A claim holds if that is at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sbmlump.arrays import Array
from sbmlump.errors import SbmlumpError
from sbmlump.formats.load import load

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "approximate.md"


@dataclass(frozen=True)
class Draw:
    """What is drawn and how it is measured again.

    Attributes
    ----------
    least, most : int
        States of a model.
    starts : int
        Further initial values of a claim.
    spread : float
        How far these lie from the file's own.
    points : int
        Of the grid on which the trajectories are compared.
    holds : float
        Times the claim: so large an error may be.
    noise : float
        Smaller errors are those of two integrations.
    zero : float
        Of the largest initial value: an observable that stays below is 0, and its error counts as a part of that value.
    seconds : float
        CPU seconds after which a command is ended.
    measuring : float
        Seconds after which a claim is not measured again.
    tolerance : float
        Relative tolerance of libRoadRunner; the absolute one is 1e-6 of it, times the largest initial value.
    """

    least: int = 8
    most: int = 80
    starts: int = 5
    spread: float = 0.2
    points: int = 401
    holds: float = 1.5
    noise: float = 1e-6
    zero: float = 1e-12
    seconds: float = 1800.0
    measuring: float = 200.0
    tolerance: float = 1e-8


DRAW = Draw()


@dataclass
class Row:
    """What became of one model; ``job`` is what is still to be measured."""

    model: str
    observe: str
    states: int
    exit_code: int = -1
    exact: int | None = None
    size: int | None = None
    proved: bool = False
    claim: float | None = None
    until: float | None = None
    again: float | None = None
    cpu: float = 0.0
    reasons: list[str] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Error measured again by the claim; errors of the integrations count as none."""
        if self.again is None or self.claim is None:
            return None
        return self.again / max(self.claim, DRAW.noise)

    @property
    def broken(self) -> bool:
        """Whether the claim does not hold."""
        return self.ratio is not None and not self.ratio <= DRAW.holds


def main() -> int:
    """Draw, run, print; exit code 1 where a claim does not hold or a command failed in itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1, help="of the draw of models and observables")
    parser.add_argument("--limit", type=int, default=10, help="how many models")
    parser.add_argument("--workers", type=int, default=1, help="that measure claims again")
    parser.add_argument("--only", help="ids of models, joined by commas: of those drawn, these alone")
    parser.add_argument("--results", type=Path, help="JSON file that rows are added to; what is in it is not run again")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/approximate.md")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # one claim, in this process
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured_again(json.loads(options.measure))))
        return 0
    corpus = os.environ.get("SBMLUMP_CORPUS")
    if not corpus:
        print("SBMLUMP_CORPUS is not set: there are no models to draw from")
        return 2
    known: dict[str, dict[str, Any]] = {}
    if options.results is not None and options.results.exists():
        known = json.loads(options.results.read_text(encoding="utf-8"))
    rows: dict[str, Row] = {name: Row(**row) for name, row in known.get(str(options.seed), {}).items()}
    drawn = list(draw(Path(corpus) / "biomodels", options.seed, options.limit))
    wanted = None if options.only is None else set(options.only.split(","))
    waiting = [one for one in drawn if one.model not in rows and (wanted is None or one.model in wanted)]

    def keep(row: Row) -> None:
        rows[row.model] = row
        told = [reason for reason in row.reasons if not reason.startswith(("not-kept", "simulation-remark"))]
        waits = "measured later" if row.job else ""
        print(table([row]).splitlines()[-1], waits, "; ".join(told)[:300], flush=True)
        if options.results is not None:
            known[str(options.seed)] = {name: asdict(one) for name, one in rows.items()}
            options.results.write_text(json.dumps(known, indent=1), encoding="utf-8")

    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.workers) as pool:
        # what was reduced before an interruption is measured after it
        files = Path(place) if options.results is None else options.results.with_suffix(".files")
        files.mkdir(exist_ok=True)
        for one in waiting:
            run(Path(corpus) / "biomodels", one, options.seed, files / f"{options.seed}-{one.model}.xml")
            keep(one)
        for done in as_completed([pool.submit(measure, row) for row in rows.values() if row.job]):
            keep(done.result())
    found = [rows[one.model] for one in drawn if one.model in rows]
    print(table(found))
    print(summary(found))
    if options.write_docs:
        write_docs(
            found,
            options.seed,
            {seed: [Row(**row) for row in one.values()] for seed, one in known.items() if seed != str(options.seed)},
        )
    return int(any(row.broken or row.exit_code == 70 for row in found))


# -- the draw ----------------------------------------------------------------------------------------


def draw(folder: Path, seed: int, limit: int) -> Iterator[Row]:
    """Models in the order of the draw, with what is observed of each."""
    names = sorted(path.stem for path in folder.glob("*.xml"))
    random.Random(seed).shuffle(names)
    count = 0
    for name in names:
        try:
            system = load(folder / f"{name}.xml")
        except SbmlumpError:
            continue
        if system.events or not DRAW.least <= system.size <= DRAW.most or not integrates(folder / f"{name}.xml"):
            continue
        yield Row(name, random.Random(f"{seed} {name}").choice(system.states), system.size)
        count += 1
        if count >= limit:
            return


def integrates(path: Path) -> bool:
    """Whether libRoadRunner integrates the file; in a process of its own, as it may crash."""
    job = json.dumps({"file": str(path), "probe": True})
    done = subprocess.run(
        [sys.executable, __file__, "--measure", job],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) == 0.0


# -- one model ---------------------------------------------------------------------------------------


def run(folder: Path, one: Row, seed: int, output: Path) -> None:
    """Reduce a model; its row says what has to be known to measure again what is claimed."""
    path = folder / f"{one.model}.xml"
    words = ["reduce", str(path), "--observe", one.observe, "--json", "-o", str(output)]
    one.exit_code, exact, _ = command([*words, "--no-check", "--method", "exact"])
    one.exact = exact.get("reduced_size")
    output.unlink(missing_ok=True)
    one.exit_code, found, one.cpu = command([*words, "--method", "approximate"])
    certificate = found.get("certificate") or {}
    one.size, one.until = found.get("reduced_size"), certificate.get("horizon")
    one.proved = certificate.get("kind") == "exact-proof"
    one.claim = 0.0 if one.proved else certificate.get("worst_error")
    one.reasons = [f"{reason['code']}: {reason['message']}" for reason in found.get("reasons", [])]
    if one.exit_code or (one.proved and found.get("outcome") != "reduced") or not output.exists():
        return
    simulated = (found.get("simulation") or {}).get("until")
    one.job = {
        "file": str(path),
        "reduced": str(output),
        "observe": one.observe,
        "until": one.until or simulated or 100.0,
        "lumping": None if certificate.get("kind") != "exact-proof" else found["lumping"],
        "seed": seed,
    }


def measure(one: Row) -> Row:
    """The row with its claim measured again; until then it keeps its job, for when it is interrupted."""
    code, text = _bounded([sys.executable, __file__, "--measure", json.dumps(one.job)])
    one.again = json.loads(text.splitlines()[-1]) if code == 0 else None
    if code:
        one.reasons.insert(0, f"not measured again: {text.strip().splitlines()[-1] if text.strip() else code}")
    one.job = {}
    return one


def command(words: Sequence[str]) -> tuple[int, dict[str, Any], float]:
    """Exit code, JSON and CPU seconds of a command."""
    # modules are compiled once, as where the package is installed
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sbmlump", *words], stdout=out, stderr=subprocess.DEVNULL, env=environment
        )
        seconds = int(DRAW.seconds)
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, seconds))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = {}
    return process.returncode, found, usage.ru_utime + usage.ru_stime


def _bounded(words: Sequence[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, encoding="utf-8", check=False, timeout=DRAW.measuring
        )
    except subprocess.TimeoutExpired:
        return -1, f"more than {DRAW.measuring:g} s"
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


# -- a claim measured again --------------------------------------------------------------------------


def measured_again(job: Mapping[str, Any]) -> float:
    """The largest relative error of the observable over further initial values, by libRoadRunner from the two files."""
    system = load(job["file"])
    start = system.initial_state()
    if job.get("probe"):
        simulate(Path(job["file"]).read_text(encoding="utf-8"), {}, [], 1.0, float(np.abs(start).max(initial=1e-9)))
        return 0.0
    generator = np.random.default_rng([job["seed"], 0xF5E5])
    text, reduced = (Path(job[name]).read_text(encoding="utf-8") for name in ("file", "reduced"))
    worst = 0.0
    for _ in range(DRAW.starts):
        initial = start * (1 + DRAW.spread * generator.uniform(-1, 1, len(start)))
        size = float(np.abs(initial).max(initial=0.0)) or 1.0
        values = dict(zip(system.states, initial.tolist(), strict=True))
        expected = simulate(text, values, [job["observe"]], job["until"], size)
        own, now = text_and_values(reduced, values) if job["lumping"] is None else (reduced, lumped(job, values))
        got = simulate(own, now, [job["observe"]], job["until"], size)
        largest = float(np.abs(expected).max())
        off = float(np.abs(got - expected).max())
        worst = max(worst, off / largest if largest > DRAW.zero * size else off / size)
    return worst if math.isfinite(worst) else 1e300


def lumped(job: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, float]:
    """Initial values of the lumps of an exact reduction."""
    from fractions import Fraction

    return {
        lump["id"]: sum(float(Fraction(weight)) * values[name] for name, weight in lump["members"].items())
        for lump in job["lumping"]
    }


def text_and_values(text: str, values: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """The file with its constants ``A_at_start`` set: its initial assignments make the rest of them."""
    import libsbml

    document = libsbml.readSBMLFromString(text)
    model = document.getModel()
    for name, value in values.items():
        parameter = model.getParameter(f"{name}_at_start")
        if parameter is not None:
            model.removeInitialAssignment(parameter.getId())
            parameter.setValue(value)
    return str(libsbml.writeSBMLToString(document)), {}


def simulate(text: str, values: Mapping[str, float], wanted: Sequence[str], until: float, size: float) -> Array:
    """Columns ``wanted`` on a uniform grid, from values that are set in place of the file's."""
    import libsbml
    import roadrunner

    roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
    document = libsbml.readSBMLFromString(text)
    model = document.getModel()
    selection = _selection(model)
    runner = roadrunner.RoadRunner(text)
    for name, value in values.items():
        runner[selection(name)] = value
    runner.integrator.setValue("relative_tolerance", DRAW.tolerance)
    runner.integrator.setValue("absolute_tolerance", 1e-6 * DRAW.tolerance * size)
    runner.integrator.setValue("maximum_num_steps", 50_000)
    found = runner.simulate(0.0, until, DRAW.points, ["time", *(selection(name) for name in wanted)])
    return np.array(found)[:, 1:]


def _selection(model: Any) -> Callable[[str], str]:
    def of(name: str) -> str:
        species = model.getSpecies(name)
        return name if species is None or species.getHasOnlySubstanceUnits() else f"[{name}]"

    return of


# -- tables ------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    lines = [
        "| model | observed | states | exact | approximate | claimed | again / claimed | T | CPU s | exit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        claim = "exact" if row.proved else "–" if row.claim is None else f"{100 * row.claim:.2g} %"
        ratio = "–" if row.proved or row.ratio is None else f"{row.ratio:.2g}{' (!)' if row.broken else ''}"
        until = "–" if row.until is None else f"{row.until:g}"
        cells = [row.model, row.observe, row.states, row.exact, row.size, claim, ratio, until, f"{row.cpu:.1f}"]
        lines.append("| " + " | ".join("–" if c is None else str(c) for c in [*cells, row.exit_code]) + " |")
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Counts, and the distribution of the CPU seconds."""
    if not rows:
        return "no models"
    cpu = np.array([row.cpu for row in rows])
    done = [row for row in rows if row.exit_code == 0]
    smaller = [row for row in done if row.size is not None and row.size < (row.exact or row.states)]
    claimed = [row for row in done if row.ratio is not None and not row.proved]
    return (
        f"{len(done)} of {len(rows)} ended with exit code 0, {sum(row.exit_code == 70 for row in rows)} with 70; "
        f"{len(smaller)} are smaller than the exact lumping; {sum(not row.broken for row in claimed)} of "
        f"{len(claimed)} claims hold within {DRAW.holds:g}; CPU seconds: median {np.median(cpu):.1f}, 95th percentile "
        f"{np.percentile(cpu, 95):.1f}"
    )


def write_docs(rows: Sequence[Row], seed: int, others: Mapping[str, Sequence[Row]]) -> None:
    """Put the table of one draw between its markers, and the counts of the others of the results file."""
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = "<!-- breadth -->\n", "<!-- end of breadth -->"
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    counts = "".join(f"\n\nSeed {other}: {summary(found)}." for other, found in others.items())
    body = f"Seed {seed}: {summary(rows)}.{counts}\n\n{table(rows)}\n"
    DOCUMENT.write_text(f"{head}{begin}{body}{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
