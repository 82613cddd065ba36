"""Writes docs/conformance.md from the SBML Test Suite: ``SBMLUMP_CORPUS=… python docs/make_conformance.py``."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from corpus_files import corpus_folder, suite_cases  # noqa: E402
from suite_case import CaseResult, run_case  # noqa: E402

INTRODUCTION = """\
# Conformance with the SBML Test Suite

Made by `docs/make_conformance.py`; not edited by hand.

Each case is read, written back by `convert` as SBML Level 3 Version 2, simulated by libRoadRunner, and compared with
the suite's expected results by the case's own tolerances. *Refused* means that sbmlump says with a code what it does
not translate; *wrong* would be a result outside the tolerances, *crash* a child process that died.
"""


def tags_of(folder: Path) -> set[str]:
    """Component and test tags of a case."""
    text = next(folder.glob("*-tags.txt")).read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {
        tag.strip() for key in ("componentTags", "testTags") for tag in fields.get(key, "").split(",") if tag.strip()
    }


def main() -> int:
    """Run every case and write the table."""
    import roadrunner  # noqa: F401  (loaded once, before the children are forked)

    import sbmlump.sbml.read.load
    import sbmlump.sbml.write.document  # noqa: F401

    folder = corpus_folder()
    if folder is None:
        print("set SBMLUMP_CORPUS to the folder of the corpus", file=sys.stderr)
        return 2
    cases = suite_cases(folder)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run_case, cases))
    (HERE / "conformance.md").write_text(table(cases, results))
    counts = Counter(result.status for result in results)
    print(dict(counts))
    for result in results:
        if result.status not in ("passed", "refused"):
            print(result)
    return 1 if counts["wrong"] or counts["crash"] else 0


def table(cases: list[Path], results: list[CaseResult]) -> str:
    """The page as Markdown."""
    counts = Counter(result.status for result in results)
    codes = Counter(result.code for result in results if result.status == "refused")
    by_tag: dict[str, Counter[str]] = defaultdict(Counter)
    codes_by_tag: dict[str, Counter[str]] = defaultdict(Counter)
    for case, result in zip(cases, results, strict=True):
        for tag in tags_of(case):
            by_tag[tag][result.status] += 1
            if result.code:
                codes_by_tag[tag][result.code] += 1
    lines = [INTRODUCTION, "| cases | passed | refused | not simulated | wrong | crash |", "|---|---|---|---|---|---|"]
    names = ("passed", "refused", "unsimulated", "wrong", "crash")
    lines.append(f"| {len(results)} | " + " | ".join(str(counts[name]) for name in names) + " |")
    lines += ["", "Codes of refusals:", ""]
    lines += [f"- `{code}`: {number}" for code, number in codes.most_common()]
    lines += ["", "| tag | passed | refused | not simulated | wrong | crash | codes |", "|---|---|---|---|---|---|---|"]
    for tag in sorted(by_tag):
        row = by_tag[tag]
        why = ", ".join(f"`{code}` {number}" for code, number in codes_by_tag[tag].most_common())
        lines.append(f"| {tag} | " + " | ".join(str(row[name]) for name in names) + f" | {why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
