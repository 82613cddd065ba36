"""Every method on one model: what is written is proved or has a reason, loads in libRoadRunner, and starts finite.

As a script it goes through a whole folder: ``python tests/every_method.py FOLDER [--workers 2] [--limit 60]``.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sbmlump
from sbmlump.errors import LimitError, SbmlumpError, UnsupportedModelError, UsageError
from sbmlump.isolate import Limits, run_isolated
from sbmlump.model import ExactProof

PROVED = (
    "none",
    "exact",
    "exact --keep-parameters all",
    "forward-equivalence",
    "backward-equivalence",
    "conservation",
    "pooling",
)
"""Methods whose results are proved."""
METHODS = (*PROVED, "qssa", "quasi-equilibrium", "relation-graph", "learned")
"""``approximate`` takes too long for a run over everything, and has tests of its own."""
HARMLESS = frozenset({"proved", "reason", "limit", "approximate"})


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one method on one model.

    Attributes
    ----------
    outcome : str
        ``proved``, ``approximate`` (verify says there is nothing to prove), ``reason`` (refused), ``limit``; or what
        must not be: ``refuted``, ``not-loaded``, ``not-finite``, ``fault``.
    """

    file: str
    method: str
    observable: str
    outcome: str
    detail: str = ""


def observable_of(system: sbmlump.OdeSystem, name: str) -> str | None:
    """One state or assigned quantity, the same every time."""
    choices = [*system.states, *(a.id for a in system.assigned)]
    return random.Random(name).choice(choices) if choices else None


def job(path: str, methods: Sequence[str], until: float | None, emit: Callable[[Any], None]) -> None:
    """Try ``methods`` on a file; one message a method."""
    file = Path(path)
    try:
        system = sbmlump.load(file)
    except SbmlumpError as error:
        for method in methods:
            emit(Result(file.stem, method, "", "reason", error.reasons[0].code))
        return
    observable = observable_of(system, file.stem)
    before = _odd_in_roadrunner(file)  # once: compiling it takes longer than most methods
    for method in methods:
        if observable is None:
            emit(Result(file.stem, method, "", "reason", "no states"))
            continue
        outcome, detail = _tried(file, before, system, method, observable, until)
        emit(Result(file.stem, method, observable, outcome, detail))


def _tried(
    file: Path,
    before: Sequence[str] | None,
    system: sbmlump.OdeSystem,
    method: str,
    observable: str,
    until: float | None,
) -> tuple[str, str]:
    name, _, keep = method.partition(" --keep-parameters ")
    options = {} if until is None or method in PROVED else {"until": until, "ensemble": 1}
    if name == "learned":
        options["work"] = 5.0
    try:
        reduction = sbmlump.reduce(system, [observable], name, keep_parameters=keep or "none", **options)
        with tempfile.TemporaryDirectory(prefix="sbmlump-test-") as folder:
            written = Path(folder) / "reduced.xml"
            reduction.write(written)
            start = _start_in_roadrunner(before, written)
            if start is not None:
                return start
            answer = sbmlump.verify(file, written)
    except (UnsupportedModelError, UsageError) as error:
        return "reason", error.reasons[0].code
    except LimitError as error:
        return "limit", error.reasons[0].code
    if isinstance(answer, ExactProof):
        return "proved", ""
    reasons = "; ".join(f"{one.code}: {one.message}" for one in answer.reasons)
    if type(answer).__name__ == "Refutation":
        return "refuted", reasons
    return "approximate", reasons


def _start_in_roadrunner(before: Sequence[str] | None, reduced: Path) -> tuple[str, str] | None:
    """What is wrong with the start of the reduced file in libRoadRunner; ``None`` if nothing is.

    ``before`` is what is odd about the original, which may fail for the same reason.
    """
    after = _odd_in_roadrunner(reduced)
    if after is None:
        return None if before is None else ("not-loaded", "libRoadRunner does not take the reduced file")
    return ("not-finite", ", ".join(after)) if after and before == [] else None


def _odd_in_roadrunner(file: Path) -> list[str] | None:
    """What is not finite at time 0; ``None`` if libRoadRunner does not take the file."""
    import roadrunner

    roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
    try:
        return _odd_at_start(roadrunner.RoadRunner(str(file)))
    except RuntimeError:
        return None


def _odd_at_start(runner: Any) -> list[str]:
    """Ids of values, and numbers of rates, that are not finite at time 0."""
    model = runner.model
    named = [
        *zip(model.getFloatingSpeciesIds(), model.getFloatingSpeciesConcentrations(), strict=True),
        *zip(model.getGlobalParameterIds(), model.getGlobalParameterValues(), strict=True),
        *zip(model.getCompartmentIds(), model.getCompartmentVolumes(), strict=True),
    ]
    rates = np.asarray(runner.getRatesOfChange())
    odd = [name for name, value in named if not np.isfinite(value)]
    return odd + [f"rate {i}" for i in np.flatnonzero(~np.isfinite(rates))]


def run_file(
    path: Path, methods: Sequence[str] = METHODS, limit: float = 60.0, until: float | None = None
) -> list[Result]:
    """All methods on one file, in child processes; what ends a child is the result of the method it was at."""
    results: list[Result] = []
    while len(results) < len(methods):
        left = methods[len(results) :]
        ended = run_isolated(job, (str(path), left, until), Limits(limit, 6 << 30), results.append)
        if ended.how != "finished":
            outcome = "limit" if ended.how in ("time-limit", "out-of-memory") else "fault"
            results.append(Result(path.stem, methods[len(results)], "", outcome, f"{ended.how} {ended.message}"))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Go through a folder; print what must not be as it is found, and a table of outcomes by method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a child may take")
    parser.add_argument("--methods", default="|".join(METHODS), help="separated by |")
    parser.add_argument("--until", type=float, help="of methods that simulate, in place of an end time of their own")
    parser.add_argument("--skip", type=int, default=0, help="so many files of that order, done before")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the files")
    options = parser.parse_args(arguments)
    files = sorted(options.folder.glob("*.xml"))
    random.Random(options.seed).shuffle(files)
    files = files[options.skip :]
    methods = options.methods.split("|")
    counts: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def one(path: Path) -> None:
        results = run_file(path, methods, options.limit, options.until)
        with lock:
            counts.update((r.method, r.outcome) for r in results)
            report(results)

    with ThreadPoolExecutor(options.workers) as pool:
        for done, _ in enumerate(pool.map(one, files), start=1):
            if done % 50 == 0:
                print(f"{done} of {len(files)} files: {table(counts, methods)}", flush=True)
    print(table(counts, methods))
    return int(any(outcome not in HARMLESS for _, outcome in counts))


def report(results: Iterable[Result]) -> None:
    """Print what must not be."""
    for r in results:
        if r.outcome not in HARMLESS:
            print(f"{r.outcome}: {r.file} {r.method} {r.observable}: {r.detail}", flush=True)


def table(counts: Counter[tuple[str, str]], methods: Sequence[str]) -> str:
    """Outcomes by method, one line each."""
    lines = []
    for method in methods:
        found = {outcome: n for (name, outcome), n in sorted(counts.items()) if name == method}
        lines.append(f"  {method}: " + ", ".join(f"{outcome} {n}" for outcome, n in found.items()))
    return "\n" + "\n".join(lines)


if __name__ == "__main__":
    import every_method  # by its name, which child processes can import

    sys.exit(every_method.main())
