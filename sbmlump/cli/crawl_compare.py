"""What ``sbmlump crawl compare`` does: ODEbase against our reader, for all systems of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from crawler.store import Store
from sbmlump.cli.output import print_json, say
from sbmlump.errors import SbmlumpError
from sbmlump.formats.odebase import load_odebase
from sbmlump.formats.odebase_compare import TranslationComparison, compare_systems
from sbmlump.loading import load

__all__ = ["compare_store", "print_comparisons"]


def compare_store(
    store: Store, points: int, tolerance: float, seed: int, step: Callable[[int, int], None]
) -> list[TranslationComparison]:
    """Compare each ODEbase system of a store with the SBML file of the same id."""
    records = sorted(store.records.values(), key=lambda record: record.source == "biomodels")
    files = {  # those of BioModels last: they count, where another source has a file of the same id
        record.id: store.path / record.path
        for record in records
        if record.sha256 and record.path and record.path.endswith((".xml", ".sbml"))
    }
    systems = sorted(
        (record.id, store.path / record.path)
        for record in store.records.values()
        if record.sha256 and record.path and record.source == "odebase"
    )
    found: list[TranslationComparison] = []
    for number, (id, path) in enumerate(systems, 1):
        if id not in files:
            found.append(TranslationComparison(id, "not-compared", "its SBML file is not in the store"))
        else:
            try:
                found.append(
                    compare_systems(load_odebase(path), load(files[id]), points=points, tolerance=tolerance, seed=seed)
                )
            except SbmlumpError as error:
                found.append(TranslationComparison(id, "not-compared", str(error)))
        step(number, len(systems))
    return found


def print_comparisons(found: Sequence[TranslationComparison], as_json: bool) -> int:
    """Tell the result; the exit code."""
    counts = Counter(each.verdict for each in found)
    compared = len(found) - counts["not-compared"]
    if as_json:
        systems = [
            {
                "id": each.id, "verdict": each.verdict, "explanation": each.explanation, "matched_by": each.matched_by,
                "states": each.states, "max_relative_error": each.error,
                "differences": [list(pair) for pair in each.differences],
            }
            for each in found
        ]  # fmt: skip
        reasons = [
            {"code": each.verdict, "element": each.id, "message": each.explanation}
            for each in found
            if each.verdict != "agrees"
        ]
        summary = {
            "wanted": len(found), "present": compared, "fetched": 0, "unchanged": compared, "failed": counts["differs"],
            "bytes": 0, "requests": 0, "seconds": None, "verdicts": dict(counts),
        }  # fmt: skip
        print_json({**summary, "systems": systems, "reasons": reasons})
    else:
        for each in found:
            how = f" ({each.states} states by {each.matched_by}, {each.error:.1e})" if each.error is not None else ""
            told = "" if each.verdict == "agrees" else f": {each.explanation}"
            say(f"{each.id}  {each.verdict}{how}{told}")
        say(f"{compared} of {len(found)} compared, {counts['differs']} differ")
    return 1 if counts["differs"] else 0
