"""What a crawl costs: requests and seconds, without faults, repeated, with faults, and killed again and again.

Needs ``SBMLUMP_CORPUS`` and the stand-in of the services beside it (``../tools/repository_mirror.py``). Without
options, the faultless crawl of all models and its repetition; ``--faults`` adds the crawl with faults (about four
minutes, most of them Retry-After), ``--kill`` the one that is killed at ten random moments.

The last line is the number of requests with faults (without ``--faults``: of the first crawl) over the least possible:
one record for each model, one zip for each hundred, one page of the list for each hundred, and the list of ids.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from crawler_mirror import (
    FAULTS,
    Mirror,
    crawl_command,
    kill_at_random,
    mirror_script,
    run_crawl,
    running_mirror,
    wrong_files,
)

HEADER = f"{'crawl':<22}{'requests':>9}{'seconds':>9}{'files':>7}{'wrong':>7}{'at once':>9}"


def report(label: str, mirror: Mirror, store: Path, source: Path, before: int, begin: float) -> int:
    """Print a row; the number of requests."""
    log = mirror.requests()[before:]
    files = len(list(store.glob("*/*.xml")))
    peak = max(each["active"] for each in log)
    seconds = time.monotonic() - begin
    print(f"{label:<22}{len(log):>9}{seconds:>9.1f}{files:>7}{len(wrong_files(store, source)):>7}{peak:>9}", flush=True)
    return len(log)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    corpus = Path(os.environ.get("SBMLUMP_CORPUS", ""))
    script = mirror_script(corpus.resolve()) if corpus != Path() else None
    if script is None:
        print("set SBMLUMP_CORPUS to a corpus with ../tools/repository_mirror.py beside it")
        return 2
    source, systems = corpus / "biomodels", corpus / "ode" / "odebase"
    count = len(list(source.glob("*.xml")))
    least = count + 2 * -(-count // 100) + 1
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with running_mirror(script, source, systems, place / "log") as mirror:
            command = crawl_command("biomodels", place / "calm", mirror.biomodels)
            last = 0
            for label in ("faultless", "repeated"):
                before, begin = len(mirror.requests()) if mirror.log.exists() else 0, time.monotonic()
                run_crawl(command, 600)
                asked = report(label, mirror, place / "calm", source, before, begin)
                last = last or asked
        if options.faults:
            with running_mirror(script, source, systems, place / "log-faults", FAULTS, options.seed) as mirror:
                begin = time.monotonic()
                run_crawl(crawl_command("biomodels", place / "faults", mirror.biomodels), 1800)
                last = report("with faults", mirror, place / "faults", source, 0, begin)
        if options.kill:
            with running_mirror(script, source, systems, place / "log-kill", FAULTS, options.seed) as mirror:
                begin = time.monotonic()
                command = crawl_command("biomodels", place / "kill", mirror.biomodels)
                killed = kill_at_random(command, mirror, 10, max(2, count // 12), options.seed)
                run_crawl(command, 1800)
                report(f"killed {killed} times", mirror, place / "kill", source, 0, begin)
    print(f"requests over the least possible: {last / least:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
