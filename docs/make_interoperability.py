"""Writes docs/interoperability.md from published models: ``SBMLUMP_CORPUS=… python docs/make_interoperability.py``.

Each model runs in a child process with a time limit: libraries crash and hang on some of them. It needs Tellurium and
COPASI (extras) and a Python that has biosimulators-utils (extra ``biosimulators``), which ``SBMLUMP_BIOSIMULATORS``
names.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from control_analysis import CLOSE, Comparison  # noqa: E402
from corpus_files import biomodels, corpus_folder  # noqa: E402
from interoperability import (  # noqa: E402
    AGREEMENT,
    TOOLS,
    Result,
    analyse,
    biosimulators,
    examine,
    preload,
    reducible_observable,
    validate_archives,
)

MODELS = 100
SEED = 20240229
CPU_SECONDS = 180
SECONDS = 3000.0
INTRODUCTION = """\
# What other tools make of reduced models

Made by `docs/make_interoperability.py`; not edited by hand.

{count} published models, drawn with a fixed seed among those without events that have 3 to 120 states and of which
one of eight states (drawn by the name of the file) can be observed with fewer states. Each is reduced with the method
`exact` and written as SBML; what comes out is checked by libSBML, proved again by `sbmlump verify`, simulated, and
given to the other tools.

Where the difference is above 1e-6, the original is simulated once more, at tighter tolerances (10 times the difference
of that counts) and, as `sbmlump reduce` does it, with initial values that differ by 1e-12.

Steady states and control coefficients are those of the observed species. The original counts as having one in a tool
that finds the same from its state at the end time and at twice that time, with the conserved totals that the model has
there (without `conservedMoietyAnalysis`, Tellurium's solver may leave them); the reduced model starts at the end time,
too, in Tellurium with presimulation where the solver fails without. A tool that fails to compute coefficients, or gives
none at an equilibrium, has none. Reactions count by what they do to the lumps: the
coefficients of all reactions that change the lumps in one direction add up to that of the reaction into which they
are pooled.
"""


def worker(path: Path, pipe: Connection) -> None:
    """Child process: all checks of one model, then its steady states tool by tool."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # Tellurium runs an experiment from a file of a fixed name there
        _checks(path, pipe)


def _checks(path: Path, pipe: Connection) -> None:
    reduction = reducible_observable(path)
    if reduction is None:
        pipe.send(None)
        return
    result = examine(path, reduction)
    pipe.send(result)
    for found in analyse(path, reduction, result.until or 100.0):
        pipe.send(found)


def known(path: Path) -> Result | str | None:
    """The result of one model, from the folder ``RESULTS`` if it is there: an interrupted run goes on."""
    folder = os.environ.get("RESULTS")
    if folder is None:
        return examined(path)
    kept = Path(folder) / f"{path.stem}.pickle"
    if not kept.exists():
        content = pickle.dumps(examined(path))
        half = kept.with_suffix(f".{os.getpid()}")
        half.write_bytes(content)
        half.replace(kept)
    found: Result | str | None = pickle.loads(kept.read_bytes())
    return found


def examined(path: Path) -> Result | str | None:
    """The result of one model, ``None`` if it is not one of those looked for, or how the child ended."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.Process(target=worker, args=(path, theirs))
    child.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            return "time"
        result = ours.recv()
        return _with_analyses(result, ours) if isinstance(result, Result) else result
    except EOFError:
        child.join()
        return "time" if child.exitcode in (-signal.SIGXCPU, -signal.SIGKILL) else "crash"
    finally:
        child.kill()
        child.join()


def _with_analyses(result: Result, pipe: Connection) -> Result:
    """The result with what a tool finds of steady states; a tool that dies or hangs says nothing."""
    for _ in TOOLS:
        try:
            if not pipe.poll(SECONDS):
                result.remarks.append(f"no steady state in {SECONDS:g} s")
                break
            tool, found = pipe.recv()
            result.analyses[tool] = found
        except EOFError:
            if "Tellurium" not in result.analyses:
                result.remarks.append("a steady state in Tellurium takes too long or ends the process")
            break
    return result


def main() -> None:
    """Examine the models and write the page."""
    folder = corpus_folder()
    if folder is None:
        raise SystemExit("set SBMLUMP_CORPUS to the folder of the corpus")
    if biosimulators() is None:
        raise SystemExit("set SBMLUMP_BIOSIMULATORS to a Python that has biosimulators-utils 0.2.3")
    files = biomodels(folder)
    random.Random(SEED).shuffle(files)
    results: list[Result] = []
    ends: Counter[str] = Counter()
    preload()
    wanted = int(os.environ.get("MODELS", MODELS))
    with ThreadPoolExecutor(int(os.environ.get("WORKERS", "1"))) as pool:
        for path, found in zip(files, pool.map(known, files), strict=True):
            if isinstance(found, Result):
                results.append(found)
                print(len(results), found, flush=True)
            elif found is not None:
                ends[found] += 1
                print(path.name, found, flush=True)
            if len(results) == wanted:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    validate_archives(results)
    page = HERE / "interoperability.md"
    # paths of the machine it was made on say nothing to a reader
    text = page_of(results, ends).replace(f"{corpus_folder()}/biomodels/", "")
    page.write_text(text, encoding="utf-8")


def page_of(results: list[Result], ends: Counter[str]) -> str:
    """The page."""
    proper = [r for r in results if r.proper]
    simulated = [r for r in results if r.error is not None]
    both = [r for r in results if r.copasi is not None]
    rows = [
        ("proper lumpings (no state in two lumps, no negative member)", len(proper), len(results)),
        ("… written as a reaction network", sum(r.form == "reactions" for r in proper), len(proper)),
        ("… with reactions and rate rules", sum(r.form == "both" for r in proper), len(proper)),
        ("… with rate rules alone", sum(r.form == "rate rules" for r in proper), len(proper)),
        ("valid: libSBML's full check finds no error", sum(r.errors == 0 for r in results), len(results)),
        ("no kind of warning that the original has not", sum(not r.new_warnings for r in results), len(results)),
        ("read again and proved by `sbmlump verify`", sum(r.verified is True for r in results), len(results)),
        (
            "libRoadRunner, original against reduced: ≤ 1e-6, or as far as the original is from itself",
            sum(r.within is True for r in simulated),
            len(simulated),
        ),
        ("… ≤ 1e-6", sum((r.error or 0) <= 1e-6 for r in simulated), len(simulated)),
        (
            "reduced file, libRoadRunner against COPASI: ≤ 1e-5 at relative tolerances of 1e-12",
            sum(r.agrees is True for r in both),
            len(both),
        ),
        ("… at 1e-10 already", sum((r.copasi or 0) <= AGREEMENT for r in both), len(both)),
        ("Tellurium loads the SBML", sum(r.tellurium is True for r in results), len(results)),
        ("Tellurium loads the Antimony", sum(r.antimony is True for r in results), len(results)),
        (
            "the archive is read by libCombine and runs in Tellurium",
            sum(r.omex is True for r in simulated),
            len(simulated),
        ),
        (
            "the archive passes the validation of BioSimulators (`biosimulators-utils` 0.2.3)",
            sum(r.biosimulators is True for r in results),
            len(results),
        ),
        (
            "… or it is the original that does not",
            sum(r.biosimulators is True or r.original_is_at_fault for r in results),
            len(results),
        ),
        ("COPASI opens the reduced model of the archive", sum(r.copasi_opens is True for r in results), len(results)),
    ]
    for name in TOOLS:
        rows += _analysis_rows(name, [r.analyses[name] for r in results if name in r.analyses])
    table = "\n".join(f"| {name} | {count} of {total} |" for name, count, total in rows)
    lines = [INTRODUCTION.format(count=len(results)), "| check | models |", "|---|---|", table, ""]
    lines += [
        (
            f"The {len(results)} reduced models hold {sum(r.literals for r in results)} literals in mathematics, of "
            f"which {sum(r.literals_with_units for r in results)} have a unit: no literal of the originals has one. "
            "Where an original differs from itself at tighter tolerances, nothing can follow it more closely than that."
        ),
        "",
    ]
    numbers = Counter(number for r in results for number in r.new_warnings)
    loose = [r for r in results if r.copasi_tight is not None]
    if loose:
        lines += [
            (
                "Where libRoadRunner and COPASI differ by more than 1e-5 at a relative tolerance of 1e-10, and how "
                "they do at 1e-12; what is left then is not due to the reduction if the original has it as well:"
            ),
            "",
            "| model | observable | 1e-10, reduced | 1e-12, reduced | 1e-12, original |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {r.file} | {r.observable} | {r.copasi:.1e} | {r.copasi_tight:.1e} | {r.original_copasi_tight:.1e} |"
            for r in loose
            if r.original_copasi_tight is not None
        ]
        lines.append("")
    if numbers:
        lines += ["Warnings that an original did not have, by libSBML's number:", ""]
        lines += [f"- {number}: {count} models" for number, count in sorted(numbers.items())]
        lines.append("")
    if ends:
        lines += [f"Models that took longer than {CPU_SECONDS} s or ended the process: {dict(ends)}.", ""]
    odd = [r for r in results if not good(r)]
    if odd:
        lines += ["## What is not as it should be", "", "| model | observable | what |", "|---|---|---|"]
        lines += [f"| {r.file} | {r.observable} | {said(r)} |" for r in odd]
        lines.append("")
    return "\n".join(lines)


def _analysis_rows(tool: str, found: list[Comparison]) -> list[tuple[str, int, int]]:
    """Of the models for which the original has them: how many have the same."""
    rows = []
    for what, name in (
        ("steady", f"{tool}: steady state, original against reduced: ≤ 1e-6"),
        ("concentration", "… scaled concentration control coefficients: ≤ 1e-6"),
        ("flux", "… scaled flux control coefficients: ≤ 1e-6"),
    ):
        values = [value for one in found if (value := getattr(one, what)) is not None]
        rows.append((name, sum(value <= CLOSE for value in values), len(values)))
    return rows


def good(result: Result) -> bool:
    """Whether nothing is to be said of a model."""
    return not said(result)


def said(result: Result) -> str:
    """What is to be said of a model."""
    words = []
    if result.errors:
        words.append(f"{result.errors} errors of libSBML")
    if not result.verified:
        words.append("not proved")
    if result.new_warnings:
        words.append(f"new warnings {sorted(result.new_warnings)}")
    if result.within is False:
        words.append(f"error {result.error:.1e}, original against itself {result.self_error}")
    if result.agrees is False:
        original = result.original_copasi_tight
        beside = "unknown" if original is None else f"{original:.1e}"
        words.append(f"COPASI differs by {result.copasi_tight or result.copasi:.1e}, on the original by {beside}")
    for name, one in result.analyses.items():
        apart = {"steady state": one.steady, "concentration control": one.concentration, "flux control": one.flux}
        words += [f"{name}: {what} differs by {v:.1e}" for what, v in apart.items() if v is not None and not v <= CLOSE]
        words += [f"{name}: {remark}" for remark in one.remarks if remark.startswith("reduced")]
    if result.copasi_opens is False:
        words.append("COPASI opens another model of the archive")
    words += result.remarks
    return "; ".join(words).replace("|", "/").replace("\n", " ")


if __name__ == "__main__":
    main()
