"""Writes docs/exact.md: what exact lumping does to the corpus, ``SBMLUMP_CORPUS=… python docs/make_exact.py``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import sbmlump
from sbmlump.errors import SbmlumpError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from corpus_files import biomodels, corpus_folder  # noqa: E402

MOST_STATES = 400

TEXT = """\
# Exact lumping on the corpus

Made by `docs/make_exact.py`; not edited by hand. Sizes and times of single models: `benchmarks/exact.py`.

Of {files} files, {read} become an ODE system with at least one and at most {most} states. With the first state of each
observed:

| | models |
|---|---|
| lumped and proved | {reduced} |
| every state is needed | {same} |
| refused by the exact lumping, with a code | {refused} |

## On a compatibility class

`--on-class` takes conserved totals that are left after the lumping as constants, with initial assignments, so that
the reduced model holds for every start. With the first state observed, **{gain} of {asked}** models get smaller still
by it (models whose lumping has a single state are not asked).

Refusals by code: {codes}.
"""


def main() -> int:
    """Reduce every model twice and count."""
    folder = corpus_folder()
    if folder is None:
        print("set SBMLUMP_CORPUS to the folder of the corpus", file=sys.stderr)
        return 2
    count: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for path in biomodels(folder):
        count["files"] += 1
        try:
            system = sbmlump.load(path)
        except SbmlumpError:
            continue
        if not 0 < system.size <= MOST_STATES:
            continue
        count["read"] += 1
        try:
            lumped = sbmlump.reduce(system, system.states[0])
            count["reduced" if lumped.reducible else "same"] += 1
            if lumped.system.size > 1:
                count["asked"] += 1
                more = sbmlump.reduce(system, system.states[0], on_class=True)
                count["gain"] += more.system.size < lumped.system.size
        except SbmlumpError as error:
            count["refused"] += 1
            codes[error.reasons[0].code] += 1
    listed = ", ".join(f"`{code}` {number}" for code, number in codes.most_common()) or "none"
    names = ("files", "read", "reduced", "same", "refused", "gain", "asked")
    (HERE / "exact.md").write_text(TEXT.format(**{n: count[n] for n in names}, most=MOST_STATES, codes=listed))
    print(dict(count), dict(codes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
