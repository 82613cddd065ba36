"""The stand-in that lies beside the corpus (``../tools/repository_mirror.py``), and crawls of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULTS = (
    "busy:.1,limit:.05,reset:.08,short:.08,corrupt:.08,html:.08,stall:.02,"
    "ftp-redirect:.1,bare-host:.08,bad-request:.08,big-file:.05,empty-page:.3"
)


def mirror_script(corpus: Path) -> Path | None:
    """The stand-in's program, if it is there."""
    script = corpus.parent / "tools" / "repository_mirror.py"
    return script if script.is_file() else None


@dataclass(frozen=True)
class Mirror:
    """A running stand-in: addresses, and the log of what was asked."""

    biomodels: str
    odebase: str
    log: Path

    def count(self) -> int:
        """How many requests so far."""
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@contextmanager
def running_mirror(
    script: Path, models: Path, systems: Path, log: Path, faults: str = "", seed: int = 1, stall: float = 5.0
) -> Iterator[Mirror]:
    """Serve two folders on loopback until left."""
    command = [sys.executable, str(script), "--biomodels", str(models), "--odebase", str(systems), "--log", str(log)]
    command += ["--seed", str(seed), "--stall", str(stall), *(["--faults", faults] if faults else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Mirror(ready["biomodels"], ready["odebase"], log)
        finally:
            process.kill()


def crawl_command(kind: str, store: Path, url: str, *more: str) -> list[str]:
    """``sbmlump crawl``, without a limit on the rate."""
    base = [sys.executable, "-m", "sbmlump", "crawl", kind, "--store", str(store), "--base-url", url]
    return [*base, "--rate", "0", "--json", "-q", *more]


def run_crawl(command: Sequence[str], seconds: float) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and standard error."""
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=seconds, check=False)
    return ended.returncode, json.loads(ended.stdout or "{}"), ended.stderr


def run_and_kill(command: Sequence[str], mirror: Mirror, requests: int, pause: float) -> bool:
    """Start a crawl, kill it a moment after so many requests of its; whether it was still at work."""
    wanted = mirror.count() + requests
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and mirror.count() < wanted:
            time.sleep(0.005)
        time.sleep(pause)
        if process.poll() is not None:
            return False
        os.kill(process.pid, signal.SIGKILL)
        return True


def kill_at_random(command: Sequence[str], mirror: Mirror, times: int, most: int, seed: int = 5) -> int:
    """Kill a crawl so many times, each after 1 to ``most`` requests and a moment; how often it was at work.

    Moments are counted in requests, not in seconds: how fast the machine is must not decide what is tested.
    """
    draw = random.Random(seed)
    return sum(run_and_kill(command, mirror, draw.randint(1, most), draw.uniform(0, 0.03)) for _ in range(times))


def wrong_files(store: Path, source: Path) -> list[str]:
    """Files of a store that are not byte for byte those of the source, half-written and foreign ones included."""
    wrong = []
    for path in sorted(store.glob("*/*.xml")):
        original = source / path.name
        if path.parent.name != path.stem or not original.exists() or original.read_bytes() != path.read_bytes():
            wrong.append(str(path))
    return wrong
