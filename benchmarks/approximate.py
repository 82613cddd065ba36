"""Approximate reductions on the eight models of the published table, and on noisy multisite models.

    SBMLUMP_CORPUS=… python benchmarks/approximate.py --results approximate.json
    python benchmarks/approximate.py --results approximate.json --write-docs

Each model is a job of its own (``--only``), its figures are added to the results file, and ``--write-docs`` puts the
tables into docs/approximate.md and the pictures into docs/images. Without the corpus only the multisite models run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from sbmlump.examples import multisite
from sbmlump.formats.load import load
from sbmlump.methods import Approximate, CurvePoint, Job, bisect_tolerance, lump_exactly, size_curve
from sbmlump.model import ErrorEstimate, Observable, OdeSystem, parse_observables

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "approximate.md"


@dataclass(frozen=True)
class Case:
    """A model of the published table.

    ``published``: size and relative error at T of the published rows.
    """

    name: str
    file: str
    observe: str
    until: float
    why: str
    events: str
    published: tuple[tuple[int, float], ...]


CASES = (
    Case(
        "BIOMD102",
        "biomodels/BIOMD0000000102.xml",
        "C3",
        5000,
        "as published",
        "none",
        ((11, 11.6), (8, 4.86), (6, 1.26), (2, 15.0), (1, 15.0)),
    ),
    Case(
        "BIOMD103",
        "biomodels/BIOMD0000000103.xml",
        "C3",
        5000,
        "as published",
        "none",
        ((14, 1.02e-2), (12, 0.925), (7, 0.852), (2, 0.182)),
    ),
    Case(
        "BIOMD447",
        "biomodels/BIOMD0000000447.xml",
        "species_6",
        200,
        "at rest after 80",
        "none",
        ((11, 1.33e-3), (9, 1.35e-2), (7, 8.46e-3), (6, 6.99e-3), (3, 0.122)),
    ),
    Case(
        "BioNetGen_CCP",
        "ode/BioNetGen_CCP.ode",
        "D13PG",
        200,
        "at rest after 85",
        "none",
        ((30, 5.86e-6), (10, 0.314)),
    ),
    Case(
        "NIHMS80246_S6",
        "ode/NIHMS80246_S6.ode",
        "obsS2P",
        1000,
        "at rest after 400",
        "none",
        ((19, 3e-11), (17, 8e-5), (14, 8e-5), (9, 1.0), (8, 1.0), (1, 1.0)),
    ),
    Case(
        "BIOMD437",
        "biomodels/BIOMD0000000437.xml",
        "frq_mRNA",
        48,
        "two days (the period is 21 h)",
        "light on and off honoured (at 10⁷ h, beyond T); four that touch nothing observed are left out",
        ((21, 0.0), (12, 1.58e-4), (5, 1.58e-4), (4, 0.331)),
    ),
    Case(
        "BIOMD448",
        "biomodels/BIOMD0000000448.xml",
        "S6p",
        60,
        "an hour (in minutes)",
        "none",
        ((23, 0.0), (19, 7.5e-8), (1, 0.921)),
    ),
    Case(
        "BIOMD488",
        "biomodels/BIOMD0000000488.xml",
        "Tau",
        10,
        "where Tau is 0.0563, as in the published run",
        "honoured (at 345,600, beyond T)",
        ((59, 2.88e-2), (50, 0.197), (9, 9.06), (8, 9.06)),
    ),
)
SITES = (2, 3, 4, 5, 6)
SEEDS = (0, 1, 2)
"""Of the initial values that are learnt from and of those that decide."""
ASKED = {"5 %": (0.05, False), "1 %": (0.01, False), "0.1 %": (0.001, False), "1 %, refined": (0.01, True)}
"""Largest error, and whether with ``--refine``."""


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=Path("approximate.json"))
    parser.add_argument("--only", help="names of cases, joined by commas (multisite for the family)")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = (
        json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    )
    wanted = options.only.split(",") if options.only else [*(c.name for c in CASES), "multisite"]
    corpus = os.environ.get("SBMLUMP_CORPUS")
    if not options.write_docs:
        for case in CASES:
            if case.name in wanted and corpus:
                results[case.name] = run_case(case, Path(corpus))
                options.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
                print(json.dumps({k: v for k, v in results[case.name].items() if k != "points"}), flush=True)
        if "multisite" in wanted:
            results["multisite"] = [run_sites(sites) for sites in SITES]
            options.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    else:
        write_docs(results)


def run_case(case: Case, corpus: Path) -> dict[str, Any]:
    """All figures of one model."""
    system = load(corpus / case.file)
    observables = parse_observables(system, [case.observe])
    found = size_curve(system, observables, Approximate(until=case.until))
    points = [vars_of(p) for p in found.points]
    report: dict[str, Any] = {
        "states": system.size,
        "exact": exact_size(system, case.observe),
        "until": case.until,
        "points": points,
        "krylov_seconds": algorithm_five(system, observables, case),
    }
    report["asked"] = {
        label: [measured(system, case, wanted, refine, seed) for seed in SEEDS]
        for label, (wanted, refine) in ASKED.items()
    }
    report["published"] = [
        {"size": n, "published": error, "balanced": best(points, "balanced", n), "krylov": best(points, "krylov", n)}
        for n, error in case.published
    ]
    return report


def algorithm_five(system: OdeSystem, observables: tuple[Observable, ...], case: Case) -> float:
    """Seconds of the published algorithm (Algorithm 1, then Algorithm 5), the longest of the published sizes."""
    options = Approximate(algorithm="krylov", until=case.until, ensemble=1)
    job = Job(system, observables, options, lambda _: None)
    begin = time.perf_counter()
    span = job.candidates.span
    spanned = time.perf_counter() - begin
    seconds = []
    for size, _ in case.published:
        begin = time.perf_counter()
        bisect_tolerance(span, job.runs.clocked_pinned(), min(size, job.runs.problem.size))
        seconds.append(time.perf_counter() - begin)
    return spanned + max(seconds)


def vars_of(point: CurvePoint) -> dict[str, Any]:
    """A point as JSON values."""
    error = point.max_relative_error
    return {
        "size": point.size,
        "algorithm": point.algorithm,
        "worst": error if math.isfinite(error) else None,
        "median": point.median_relative_error if math.isfinite(point.median_relative_error) else None,
        "least": point.min_relative_error if math.isfinite(point.min_relative_error) else None,
        "seconds": point.seconds,
    }


def exact_size(system: OdeSystem, observe: str) -> int:
    return lump_exactly(system, parse_observables(system, [observe])).system.size


def best(points: list[dict[str, Any]], algorithm: str, size: int) -> float | None:
    """Worst error of the best reduction with at most ``size`` states."""
    mine = [p for p in points if p["algorithm"] == algorithm and p["size"] <= size]
    return min((p["worst"] for p in mine if p["worst"] is not None), default=None)


def measured(system: OdeSystem, case: Case, wanted: float, refine: bool, seed: int) -> dict[str, Any]:
    """The smallest reduction within an error, what its certificate says, and seconds of CPU."""
    begin = time.process_time()
    method = Approximate(until=case.until, max_error=wanted, refine=refine, seed=seed)
    reduction = method.reduce(system, parse_observables(system, [case.observe]))
    seconds = time.process_time() - begin
    certificate = reduction.certificate
    if not isinstance(certificate, ErrorEstimate):  # nothing smaller than the exact lumping was found
        exact = dict.fromkeys(("worst", "median", "estimate", "training"), 0.0)
        named = {"form": "exact", "candidate": "exact", "seconds": seconds}
        return {"size": reduction.system.size, **exact, **named}
    return {
        "size": reduction.system.size,
        "worst": certificate.worst_error,
        "median": certificate.median_error,
        "estimate": certificate.estimate,
        "training": certificate.details["training_worst_error"],
        "form": certificate.details["form"],
        "candidate": certificate.details["candidate"],
        "seconds": seconds,
    }


def run_sites(sites: int) -> dict[str, Any]:
    """The multisite model with ±5 % noise, three states, without and with the published algorithm."""
    system = multisite(sites, noise=Fraction(1, 20))
    observables = parse_observables(system, ["kinase"])
    report: dict[str, Any] = {"sites": sites, "states": system.size}
    for algorithm in ("balanced", "krylov"):
        begin = time.perf_counter()
        size = 3 if algorithm == "balanced" else 10
        reduction = Approximate(algorithm=algorithm, max_size=size, until=2.0).reduce(system, observables)
        certificate = reduction.certificate
        assert isinstance(certificate, ErrorEstimate)
        report[algorithm] = {
            "size": reduction.system.size,
            "worst": certificate.worst_error,
            "estimate": certificate.estimate,
            "seconds": time.perf_counter() - begin,
        }
    print(json.dumps(report), flush=True)
    return report


# -- the document --------------------------------------------------------------------------------------


def write_docs(results: dict[str, Any]) -> None:
    """Tables between the marks of the document, and the pictures."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for mark, table in (
        ("sizes", sizes_table(results)),
        ("published", published_table(results)),
        ("estimates", estimates_table(results)),
        ("multisite", multisite_table(results)),
    ):
        start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        head, rest = text.split(start)
        _, tail = rest.split(end)
        text = f"{head}{start}\n{table}{end}{tail}"
    DOCUMENT.write_text(text, encoding="utf-8")
    import matplotlib

    from sbmlump.jobs import curve_figure

    for case in CASES:
        if case.name not in results:
            continue
        report = results[case.name]
        points = [
            CurvePoint(
                p["size"], p["algorithm"], *(_error(p[key]) for key in ("worst", "median")), 0.0, _error(p["least"])
            )
            for p in report["points"]
        ]
        title = f"{case.name}: {case.observe} up to {case.until:g}"
        with matplotlib.rc_context({"svg.hashsalt": case.name, "svg.fonttype": "none"}):
            curve_figure(points, report["exact"], title).savefig(
                ROOT / "docs" / "images" / f"approximate-{case.name}.svg", metadata={"Date": None}
            )


def _error(value: float | None) -> float:
    return math.inf if value is None else value


def table_of(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def percent(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.2g} %" if 1e-5 <= value < 100 else f"{value:.1e}"


def krylov_size(report: dict[str, Any], wanted: float) -> str:
    sizes = [p["size"] for p in report["points"] if p["algorithm"] == "krylov" and (p["worst"] or math.inf) <= wanted]
    exact = min((p["size"] for p in report["points"] if p["worst"] == 0), default=None)
    return str(min(sizes, default=exact if exact is not None else "–"))


def sizes_table(results: dict[str, Any]) -> str:
    rows = []
    for case in CASES:
        if case.name not in results:
            continue
        r = results[case.name]
        rows.append(
            [
                case.name,
                str(r["states"]),
                f"{case.until:g}",
                str(r["exact"]),
                krylov_size(r, 0.01),
                *(", ".join(str(one["size"]) for one in r["asked"][label]) for label in ASKED),
                *(f"{max(one['seconds'] for one in r['asked'][label]):.0f} s" for label in ("1 %", "1 %, refined")),
                f"{1000 * r['krylov_seconds']:.0f} ms",
            ]
        )
    head = ["model", "states", "T", "exact", "published algorithm, 1 %", *ASKED]
    return table_of([*head, "1 % takes", "refined takes", "Algorithm 5 takes"], rows)


def published_table(results: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for case in CASES:
        rows += [
            [case.name, str(one["size"]), f"{one['published']:.3g}", percent(one["krylov"]), percent(one["balanced"])]
            for one in results.get(case.name, {}).get("published", [])
        ]
    return table_of(
        ["model", "size", "published (relative, at T)", "published algorithm, correct system", "balanced"], rows
    )


def estimates_table(results: dict[str, Any]) -> str:
    rows = []
    for case in CASES:
        for label, found in results.get(case.name, {}).get("asked", {}).items():
            one = found[0]
            if one["estimate"] is None or one["worst"] == 0:
                continue
            ratio = one["estimate"] / one["worst"]
            rows.append(
                [case.name, label, str(one["size"]), percent(one["worst"]), percent(one["estimate"]), f"{ratio:.2f}"]
            )
    return table_of(["model", "asked for", "size", "measured, worst", "estimated, worst", "ratio"], rows)


def multisite_table(results: dict[str, Any]) -> str:
    rows = []
    for one in results.get("multisite", []):
        b, k = one["balanced"], one["krylov"]
        rows.append(
            [
                str(one["sites"]),
                f"{one['states']:,}",
                str(b["size"]),
                percent(b["worst"]),
                f"{b['seconds']:.1f} s",
                str(k["size"]),
                percent(k["worst"]),
                f"{k['seconds']:.1f} s",
            ]
        )
    head = ["sites", "states", "balanced", "worst error", "everything", "published algorithm", "worst error"]
    return table_of([*head, "everything"], rows)


if __name__ == "__main__":
    main()
